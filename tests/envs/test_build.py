"""Building the engine: a small project in its place, so that a build takes a second."""

import subprocess
import sys
from pathlib import Path

import pytest

from touchline.envs.engine import build

pytestmark = pytest.mark.skipif(bool(build.missing_tools()), reason=f"missing: {', '.join(build.missing_tools())}")

PROJECT = """
cmake_minimum_required(VERSION 3.18)
project(small CXX)
separate_arguments(FLAGS UNIX_COMMAND "${TOUCHLINE_FLAGS}")
message(STATUS "flags of the environment: [${CMAKE_CXX_FLAGS}${CMAKE_SHARED_LINKER_FLAGS}]")
add_library(touchline_engine SHARED a.cpp)
target_compile_options(touchline_engine PRIVATE ${FLAGS})
target_link_options(touchline_engine PRIVATE ${FLAGS})
"""


@pytest.fixture
def small(monkeypatch, tmp_path):
    """The cache folder of a machine whose engine is one function."""
    return put_small(tmp_path, monkeypatch.setenv, monkeypatch.setattr)


def put_small(folder, set_environment, set_attribute):
    native, source, cache = folder / "native", folder / "the source", folder / "the cache"
    for made in (native, source):
        made.mkdir(exist_ok=True)
    (native / "CMakeLists.txt").write_text(PROJECT)
    (native / "a.cpp").write_text('extern "C" int tl_one() { return 1; }\n')
    set_environment("TOUCHLINE_CACHE", str(cache))
    set_attribute(build, "NATIVE", native)
    set_attribute(build, "fetch_source", lambda: source)
    set_attribute(build, "source_dir", lambda: source)
    set_attribute(build, "_write_sources", lambda engine, target, rewrite: target.mkdir(parents=True, exist_ok=True))
    return cache


def log_of(files):
    return files.library.with_name("build.log").read_text()


def test_flags_of_the_environment_are_not_ours(small, monkeypatch):
    monkeypatch.setenv("CXXFLAGS", "-ffast-math")
    monkeypatch.setenv("LDFLAGS", "-lnothing_of_that_name")
    monkeypatch.setenv("CXX", "no-compiler-of-that-name")
    assert "flags of the environment: []" in log_of(build.build())


def test_force_builds_again_from_the_first_file_on(small):
    build.build()
    (object_file,) = small.glob("objects-*/**/a.cpp.o")
    object_file.write_bytes(b"cut short")
    files = build.build()  # cached
    files.library.unlink()
    with pytest.raises(build.EngineError, match="compiling the engine failed"):
        build.build()
    build.build(force=True)
    assert files.library.exists()


def test_objects_of_another_compiler_are_made_anew(small):
    files = build.build()
    (work,) = small.glob("objects-*")
    (object_file,) = work.glob("**/a.cpp.o")
    object_file.write_bytes(b"of another version")
    (work / "compiler.txt").write_text("g++ 1.0")
    files.library.unlink()
    build.build()
    assert files.library.exists()


def test_flags_with_a_space_in_a_path_reach_the_compiler_whole(small, tmp_path):
    work = small / "objects"
    work.mkdir(parents=True)
    flags = ("-O1", f"-fprofile-generate={small / 'profile'}")
    assert build._compile(work, (), tmp_path / "log", lambda what, share: None, flags).exists()


def test_a_cache_named_from_here_stays_where_it_is(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TOUCHLINE_CACHE", "cache")
    assert build.cache_dir() == tmp_path / "cache"
    monkeypatch.delenv("TOUCHLINE_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "cache")
    assert build.cache_dir() == tmp_path / "cache" / "touchline"


def test_a_cache_that_one_may_not_look_into_is_one_without_an_engine(monkeypatch):
    def refuse(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "stat", refuse)
    monkeypatch.setattr(build.os, "stat", refuse)
    assert build.source_dir() is None


_BUILD = """
import os, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import test_build
folder = Path(sys.argv[2])
test_build.put_small(folder, os.environ.__setitem__, setattr)
run = test_build.build._run
def noted(*arguments):
    run(*arguments)
    with (folder / "commands").open("a") as file:
        file.write(arguments[3] + "\\n")
test_build.build._run = noted
print(test_build.build.build().library)
"""


def test_two_builds_at_once_are_one_after_the_other_and_the_second_finds_the_first(tmp_path):
    command = [sys.executable, "-c", _BUILD, str(Path(__file__).parent), str(tmp_path)]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    first, second = (process.communicate()[0] for process in both)
    assert first == second and Path(first.strip()).exists()
    assert (tmp_path / "commands").read_text().split() == ["configuring", "compiling"]


def test_the_source_package_is_checked_before_any_of_its_code_is_run(monkeypatch, tmp_path):
    """Where pip has no sum to go by, it runs a source package's setup.py to ask for its name."""
    seen = []

    def pip(command, **options):
        seen.append((command, Path(command[command.index("--requirement") + 1]).read_text()))
        return subprocess.CompletedProcess(command, 1, "", "ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM ...\n")

    monkeypatch.setattr(build.subprocess, "run", pip)
    with pytest.raises(build.EngineError, match=f"another one than that of sha256 {build.GFOOTBALL_SHA256}"):
        build._download(tmp_path)
    ((command, wanted),) = seen
    assert "--require-hashes" in command
    assert wanted.split() == [f"gfootball=={build.GFOOTBALL_VERSION}", f"--hash=sha256:{build.GFOOTBALL_SHA256}"]


def test_cmakes_errors_are_told_with_their_reason():
    lines = [
        "-- looking\n",
        "CMake Error at CMakeLists.txt:3 (message):\n",
        "  GFOOTBALL_ENGINE must name\n",
        "\n",
        "x\n",
    ]
    assert build._first_error(lines) == "CMake Error at CMakeLists.txt:3 (message): GFOOTBALL_ENGINE must name x"
    assert build._first_error(["a.cpp:1: error: no such thing\n", "more\n"]) == "a.cpp:1: error: no such thing"
