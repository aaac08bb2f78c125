"""`diagnose` on machines that lack something; what is missing is played by monkeypatching."""

import json
import shutil
import subprocess
import sys

import pytest

from touchline import doctor
from touchline.doctor import Outcome, diagnose
from touchline.envs.engine import build


@pytest.fixture(autouse=True)
def quick_machine(monkeypatch):
    """A machine as root that lacks nothing but an engine, with no process started."""
    answers = {
        doctor._TORCH: {"version": "2.13.0", "cuda": None, "device": None},
        doctor._NUMBA: {"version": "0.68"},
        doctor._MATCH: {"shape": [115]},
        doctor._LOAD: {},
    }
    monkeypatch.setattr(doctor, "_run", lambda code, *arguments: Outcome(True, answers[code], ""))
    monkeypatch.setattr(doctor, "_has_library", lambda module, file: True)
    monkeypatch.setattr(doctor.os, "geteuid", lambda: 0)
    monkeypatch.setattr(shutil, "which", lambda tool, path=None: f"/usr/bin/{tool}")
    monkeypatch.setattr(build, "locate", lambda: None)


def engine_at(folder, monkeypatch, **facts):
    files = build.EngineFiles(folder / build.LIBRARY_NAME, folder / "data", folder / "font.ttf")
    (folder / "build.json").write_text(json.dumps(facts))
    monkeypatch.setattr(build, "locate", lambda: files)


def named(name):
    return next(finding for finding in diagnose() if finding.name == name)


def test_missing_tools_give_the_exact_apt_command(monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda tool, path=None: None if tool in ("g++", "make", "cmake") else tool)
    finding = named("tools to build the engine")
    assert not finding.ok and finding.required
    assert finding.found == "missing: cmake, g++, make"
    assert finding.fix == "apt-get update && apt-get install -y cmake build-essential"


def test_missing_libraries_give_the_exact_apt_command_with_sudo_for_a_user(monkeypatch):
    monkeypatch.setattr(doctor.os, "geteuid", lambda: 1000)
    monkeypatch.setattr(doctor, "_has_library", lambda module, file: "SDL2_" not in file)
    finding = named("libraries to build the engine")
    assert finding.fix == (
        "sudo apt-get update && sudo apt-get install -y libsdl2-image-dev libsdl2-ttf-dev libsdl2-gfx-dev"
    )


def test_a_library_is_found_by_its_file_where_there_is_no_pkg_config(monkeypatch, tmp_path):
    monkeypatch.undo()
    monkeypatch.setattr(shutil, "which", lambda tool, path=None: None)
    monkeypatch.setattr(doctor, "LIBRARY_FOLDERS", (str(tmp_path),))
    assert not doctor._has_library("egl", "libEGL.so")
    (tmp_path / "libEGL.so").touch()
    assert doctor._has_library("egl", "libEGL.so")


def test_every_package_of_a_build_is_looked_for():
    assert set(build.DEBIAN_PACKAGES) == set(doctor.TOOLS.values()) | set(doctor.LIBRARIES)


def test_a_missing_engine_is_fixed_by_building_it():
    finding = named("engine")
    assert not finding.ok and finding.required
    assert finding.fix == "touchline engine build"


def test_tools_are_not_required_where_an_engine_is(monkeypatch, tmp_path):
    engine_at(tmp_path, monkeypatch)
    monkeypatch.setattr(shutil, "which", lambda tool, path=None: None)
    assert not named("tools to build the engine").required
    assert not any(finding.required and not finding.ok for finding in diagnose())


def test_an_engine_wheel_of_another_version_is_refused(monkeypatch, tmp_path):
    engine_at(tmp_path, monkeypatch, key=build.build_key("x86-64-v3"), march="x86-64-v3")
    assert named("engine").ok
    engine_at(tmp_path, monkeypatch, key="0" * 16, march="x86-64-v3")
    finding = named("engine")
    assert not finding.ok and "another version" in finding.found
    assert finding.fix == "touchline engine build"


@pytest.mark.parametrize(
    ("reason", "fix"),
    [
        ("OSError: libSDL2-2.0.so.0: cannot open shared object file", "apt-get install -y libgl1-mesa-dev"),
        ("the process was ended by SIGSEGV", "touchline engine build --force"),
    ],
)
def test_an_engine_that_does_not_load_is_told_apart_from_a_missing_library(monkeypatch, tmp_path, reason, fix):
    engine_at(tmp_path, monkeypatch)
    quick = doctor._run
    monkeypatch.setattr(
        doctor,
        "_run",
        lambda code, *arguments: Outcome(False, {}, reason) if code == doctor._LOAD else quick(code, *arguments),
    )
    finding = named("engine loads")
    assert finding.found == reason and fix in finding.fix
    assert "engine plays" not in [each.name for each in diagnose()]


def test_a_broken_library_cannot_end_the_doctor(monkeypatch, tmp_path):
    monkeypatch.undo()
    library = tmp_path / build.LIBRARY_NAME
    library.write_bytes(b"not a library")
    broken = doctor._run(doctor._LOAD, str(library))
    assert not broken.ok and str(library) in broken.reason
    killed = doctor._run("import os, signal; os.kill(os.getpid(), signal.SIGILL)")
    assert killed == Outcome(False, {}, "SIGILL: it was built for another processor")


def test_a_process_that_hangs_is_given_up(monkeypatch):
    monkeypatch.undo()

    def hang(command, *, timeout, **options):
        raise subprocess.TimeoutExpired(command, timeout)

    monkeypatch.setattr(subprocess, "run", hang)
    assert doctor._run("", limit=5.0) == Outcome(False, {}, "no answer within 5 seconds")


def test_a_torch_that_does_not_import_is_required_and_says_why(monkeypatch):
    quick = doctor._run
    broken = Outcome(False, {}, "ModuleNotFoundError: No module named 'torch'")
    monkeypatch.setattr(doctor, "_run", lambda code: broken if code == doctor._TORCH else quick(code))
    finding = named("torch")
    assert not finding.ok and finding.required and "No module named 'torch'" in finding.found
    assert finding.fix == "pip install -c constraints.txt torch"


def test_an_old_python_is_refused(monkeypatch):
    monkeypatch.setattr(sys, "version_info", (3, 10, 4, "final", 0))
    finding = named("Python")
    assert not finding.ok and finding.found == "3.10.4" and "3.11" in finding.fix


def test_a_cache_folder_that_does_not_exist_yet_is_judged_by_its_parent(monkeypatch, tmp_path):
    monkeypatch.setenv("TOUCHLINE_CACHE", str(tmp_path / "a" / "b"))
    finding = named("cache folder")
    assert finding.ok and str(tmp_path / "a" / "b") in finding.found
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_told_with_the_way_out(monkeypatch):
    usage = shutil.disk_usage("/")._replace(free=10**8)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    finding = named("cache folder")
    assert not finding.ok and "0.1 GB free" in finding.found and "TOUCHLINE_CACHE" in finding.fix


def test_extras_are_information(monkeypatch):
    monkeypatch.setitem(doctor.EXTRAS, "sb3", "no-such-package")
    finding = named("extra sb3")
    assert not finding.ok and not finding.required
    assert finding.fix == "pip install 'touchline[sb3]'"


@pytest.mark.engine
def test_this_machine_plays_a_match(monkeypatch):
    monkeypatch.undo()
    by_name = {finding.name: finding for finding in diagnose()}
    assert by_name["engine loads"].ok and by_name["engine plays"].ok
    assert by_name["engine plays"].found.endswith("observation (115,)")
