"""Builds the football engine: upstream's checksummed sources and our driver, compiled into one cached library.

The sources are those of the package gfootball 2.10.2, taken from the package registry by pip. Its Boost.Python module
is left out; `native/driver.cpp` stands in its place. The flags give the same results to the last bit as upstream's
own build (`touchline engine verify` shows it): no FMA contraction, no fast-math.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import json
import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
import tarfile
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from touchline.envs.engine import speedups
from touchline.processes import in_turn, usable_cores

GFOOTBALL_VERSION = "2.10.2"
GFOOTBALL_SHA256 = "1b0fdcfa78b7fadc3730585ee7f0f412ba825c27e422b2b85ea0cf7ba57800b6"
LIBRARY_NAME = "libtouchline_engine.so"
WHEEL_PACKAGE = "touchline_engine"

EXACT_FLAGS = (
    "-O3",
    "-ffp-contract=off",
    "-fno-semantic-interposition",
    "-fno-math-errno",
    "-fno-trapping-math",
    "-ftls-model=initial-exec",
    "-fvisibility=hidden",
)
"""Optimisation flags that leave every result as a stock build has it. `-ffp-contract=off` is the one that must stay."""

NATIVE = Path(__file__).parent / "native"

DEBIAN_PACKAGES = tuple((NATIVE / "debian_packages.txt").read_text().split())
"""What a build needs from Debian or Ubuntu; a text file, since `scripts/setup.sh` reads it before Python can."""

WITHOUT = "TOUCHLINE_ENGINE_WITHOUT"
"""Environment variable with the names of optimisations (`speedups/`) to leave out, or "all"."""

Progress = Callable[[str, float], None]
"""Called with what is being done and the share that is done, 0 to 1."""


class EngineError(RuntimeError):
    """The engine is missing or could not be built; the message says what to do."""


class EngineFiles(NamedTuple):
    """Where a usable engine lies."""

    library: Path
    data_dir: Path
    font: Path


def cache_dir() -> Path:
    """The user's cache folder for sources and builds; `TOUCHLINE_CACHE` overrides it."""
    if chosen := os.environ.get("TOUCHLINE_CACHE"):
        return Path(chosen).expanduser().absolute()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache").absolute() / "touchline"


def flags(march: str = "native", *, lto: bool = True) -> tuple[str, ...]:
    """Compiler flags of a build; `march` is "native" or "x86-64-v3" for a library that travels."""
    return (*EXACT_FLAGS, f"-march={march}", *((f"-flto={usable_cores()}",) if lto else ()))


def _cpu_name() -> str:
    """What -march=native depends on: the processor's model and its instruction sets."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    kept = (line for line in lines if line.startswith(("model name", "flags", "Features")))
    return "\n".join(sorted(set(kept)))


def _objects_key(march: str) -> str:
    """Name of the compiled upstream objects: changes with the engine's version, the flags and the processor."""
    digest = hashlib.sha256()
    stable_flags = [flag for flag in flags(march) if not flag.startswith("-flto")]
    for part in (GFOOTBALL_VERSION, *stable_flags, "lto", _cpu_name() if march == "native" else march):
        digest.update(part.encode() + b"\0")
    return digest.hexdigest()[:16]


def _work_dir(march: str, cmake_arguments: tuple[str, ...]) -> Path:
    """Where objects are kept, so that a change of ours compiles what it touches and links.

    CMake remembers arguments, so a build with some has a folder of its own; so have, together, all builds without
    some optimisations, for that changes files.
    """
    suffix = "-" + hashlib.sha256("\0".join(cmake_arguments).encode()).hexdigest()[:8] if cmake_arguments else ""
    return cache_dir() / f"objects-{_objects_key(march)}{suffix}{'-without' if without() else ''}"


def _write_sources(engine: Path, target: Path, rewrite: Callable[[str, str], str] | None = None) -> tuple[str, ...]:
    """Writes the engine's sources with our optimisations to `target`, and returns the names of those.

    If one of them does not fit the sources, a warning says so and all are left out.
    """
    chosen = speedups.chosen(without())
    try:
        speedups.write_tree(engine, target, chosen, rewrite)
    except speedups.PatchError as problem:
        warnings.warn(f"the engine is built without its optimisations: {problem}", stacklevel=2)
        chosen = ()
        speedups.write_tree(engine, target, chosen, rewrite)
    return tuple(speedup.name for speedup in chosen)


def without() -> tuple[str, ...]:
    """Optimisations that this process leaves out of the engine: what the environment variable `WITHOUT` names."""
    return tuple(sorted(set(re.findall(r"\w+", os.environ.get(WITHOUT, "")))))


def build_key(march: str = "native") -> str:
    """Name of a build: changes with the upstream objects, with our native sources and with the optimisations."""
    digest = hashlib.sha256(_objects_key(march).encode())
    digest.update(speedups.digest(speedups.chosen(without())).encode())
    for path in sorted(NATIVE.iterdir()):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:16]


def source_dir() -> Path | None:
    """Root of the unpacked gfootball source package, or None if it has not been fetched."""
    root = cache_dir() / f"gfootball-{GFOOTBALL_VERSION}"
    return root if os.path.exists(root / "third_party/gfootball_engine/sources.cmake") else None


def locate() -> EngineFiles | None:
    """The engine to use: the cached build for this machine, else an installed engine wheel, else None."""
    library = cache_dir() / f"engine-{build_key()}" / LIBRARY_NAME
    if os.path.exists(library) and (root := source_dir()):
        return _files(library, root)
    spec = importlib.util.find_spec(WHEEL_PACKAGE)
    if spec and spec.submodule_search_locations:
        root = Path(next(iter(spec.submodule_search_locations)))
        if _wheel_fits(root):
            return EngineFiles(root / LIBRARY_NAME, root / "data", root / "font.ttf")
    return None


def _wheel_fits(root: Path) -> bool:
    """Whether an installed wheel was built from this version of our driver: its interface must be the one we call."""
    try:
        return json.loads((root / "build.json").read_text())["key"] == build_key("x86-64-v3")
    except (OSError, KeyError, json.JSONDecodeError):
        return False


def _files(library: Path, root: Path) -> EngineFiles:
    third_party = root / "third_party"
    return EngineFiles(
        library, third_party / "gfootball_engine/data", third_party / "fonts/AlegreyaSansSC-ExtraBold.ttf"
    )


def require() -> EngineFiles:
    """The engine to use, or an `EngineError` that says how to get one."""
    found = locate()
    if found is None:
        raise EngineError(
            "the football engine is not built for this machine yet: run `touchline engine build` "
            "(about 4 minutes on 2 cores; `touchline doctor` names what it needs)"
        )
    return found


def missing_tools() -> list[str]:
    """Names of the programs a build needs and this machine lacks."""
    return [tool for tool in ("cmake", "g++", "make", "pkg-config") if shutil.which(tool) is None]


def fetch_source() -> Path:
    """Downloads and unpacks the engine's source package, unless that has been done; returns its root."""
    if root := source_dir():
        return root
    with in_turn(cache_dir() / ".fetch.lock"):
        return source_dir() or _fetched(cache_dir())


def _fetched(target: Path) -> Path:
    with tempfile.TemporaryDirectory(dir=target) as folder:
        archive = _download(Path(folder))
        with tarfile.open(archive) as tar:
            tar.extractall(folder, filter="data")
        unpacked = Path(folder) / f"gfootball-{GFOOTBALL_VERSION}"
        final = target / unpacked.name
        if final.exists():  # an interrupted earlier attempt
            shutil.rmtree(final)
        unpacked.rename(final)
    return final


def _download(folder: Path) -> Path:
    # pip runs a source package's setup.py for its metadata: with --require-hashes only once its sum is the right one.
    wanted = folder / "wanted.txt"
    wanted.write_text(f"gfootball=={GFOOTBALL_VERSION} --hash=sha256:{GFOOTBALL_SHA256}\n")
    pip = (sys.executable, "-m", "pip", "download", "--no-deps", "--no-binary", ":all:", "--require-hashes")
    command = [*pip, "--requirement", str(wanted), "--dest", str(folder)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    archives = list(folder.glob("gfootball-*.tar.gz"))
    if "DO NOT MATCH THE HASHES" in result.stderr:
        raise EngineError(
            f"the source package gfootball {GFOOTBALL_VERSION} is another one than that of sha256 {GFOOTBALL_SHA256}: "
            "refusing to build it"
        )
    if result.returncode or not archives:
        reason = (result.stderr or result.stdout).strip().splitlines()[-1:] or ["no output"]
        raise EngineError(f"pip could not download the source package gfootball {GFOOTBALL_VERSION}: {reason[0]}")
    return archives[0]


def build(
    *,
    march: str = "native",
    force: bool = False,
    into: Path | None = None,
    cmake_arguments: tuple[str, ...] = (),
    rewrite: Callable[[str, str], str] | None = None,
    pgo: bool = False,
    progress: Progress | None = None,
) -> EngineFiles:
    """Builds the library, unless it is cached, and returns where it lies.

    The log is kept beside the library (`build.log`); a failure raises `EngineError` with the first error in it.
    Builds in one cache folder wait for each other. `force` builds what is cached again, from the first file on.
    `cmake_arguments` are handed to CMake after our own, `rewrite` changes sources (see `speedups.write_tree`); such a
    build is not the cached one, so it needs `into`.
    With `pgo` it is built twice, the second time guided by a profile of the first at play: no result changes.
    """
    if (cmake_arguments or rewrite) and into is None:
        raise ValueError("a build with cmake_arguments or rewrite differs from the cached one: say where with `into`")
    folder = into or cache_dir() / f"engine-{build_key(march)}"

    def found() -> EngineFiles | None:
        there = all(os.path.exists(folder / name) for name in (LIBRARY_NAME, "build.json"))
        usable = there and source_dir() and (not pgo or _is_guided(folder))
        return _files(folder / LIBRARY_NAME, source_dir()) if usable else None

    if not force and (cached := found()):
        return cached
    with in_turn(cache_dir() / ".build.lock"):  # builds share the folders of objects
        if not force and (cached := found()):
            return cached
        _build(folder, march, force, cmake_arguments, rewrite, pgo, progress or (lambda what, share: None))
    return _files(folder / LIBRARY_NAME, source_dir())


def _build(
    folder: Path,
    march: str,
    force: bool,
    cmake_arguments: tuple[str, ...],
    rewrite: Callable[[str, str], str] | None,
    pgo: bool,
    report: Progress,
) -> None:
    if absent := missing_tools():
        raise EngineError(
            f"a build needs {', '.join(absent)}: run `apt-get install {' '.join(DEBIAN_PACKAGES)}` (as root)"
        )
    report("fetching the engine's sources", 0.0)
    root = fetch_source()
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / "build.log"
    log.write_text("")
    chosen = flags(march)
    work = _work_dir(march, (*cmake_arguments, *(("pgo",) if pgo else ()), *((rewrite.__name__,) if rewrite else ())))
    if force:
        shutil.rmtree(work, ignore_errors=True)
    included = _write_sources(root / "third_party/gfootball_engine", work / "engine", rewrite)
    compiled = functools.partial(_compile, work, cmake_arguments, log, report)
    if pgo:
        chosen = (*chosen, *_profile(work, chosen, compiled, root, report))
    finished = folder / f".{LIBRARY_NAME}.{os.getpid()}"
    shutil.copy2(compiled(chosen), finished)
    facts = {
        "gfootball": GFOOTBALL_VERSION,
        "flags": chosen,
        "march": march,
        "compiler": _compiler(),
        "speedups": included,
    }
    about = finished.with_suffix(".json")
    about.write_text(json.dumps(facts, indent=2) + "\n")
    os.replace(finished, folder / LIBRARY_NAME)
    os.replace(about, folder / "build.json")
    report("done", 1.0)


_SETTINGS = ("CC", "CXX", "CFLAGS", "CXXFLAGS", "LDFLAGS")
"""Environment variables by which CMake would take another compiler or other flags than ours."""


def _compile(
    work: Path, cmake_arguments: tuple[str, ...], log: Path, report: Progress, chosen: tuple[str, ...]
) -> Path:
    """Compiles what is not up to date in a work folder; returns the library there."""
    _forget_other_checkout(work / "CMakeCache.txt")
    _forget_other_compiler(work)
    with log.open("a") as out:
        configure = [
            "cmake",
            "-S",
            str(NATIVE),
            "-B",
            str(work),
            f"-DGFOOTBALL_ENGINE={work / 'engine'}",
            f"-DTOUCHLINE_FLAGS={shlex.join(chosen)}",
            "-DCMAKE_AR=" + (shutil.which("gcc-ar") or shutil.which("ar") or "ar"),
            *(f"-DCMAKE_{name}_FLAGS=" for name in ("C", "CXX", "SHARED_LINKER")),  # no older ones from the cache
            *cmake_arguments,
        ]
        _run(configure, out, log, "configuring", report)
        _run(["cmake", "--build", str(work), "-j", str(usable_cores())], out, log, "compiling", report)
    return work / LIBRARY_NAME


def _forget_other_checkout(settings: Path) -> None:
    """CMake refuses a work folder that it set up for sources elsewhere, such as those of another clone."""
    if settings.exists() and f"CMAKE_HOME_DIRECTORY:INTERNAL={NATIVE}\n" not in settings.read_text():
        settings.unlink()


def _forget_other_compiler(work: Path) -> None:
    """Objects of another compiler do not link with this one's."""
    note, compiler = work / "compiler.txt", _compiler()
    if note.exists() and note.read_text() != compiler:
        shutil.rmtree(work / "CMakeFiles", ignore_errors=True)
        (work / "CMakeCache.txt").unlink(missing_ok=True)
    note.write_text(compiler)


_PLAY = """
import sys
from touchline.envs.engine import build
from pathlib import Path
build.locate = lambda: build._files(Path(sys.argv[1]), Path(sys.argv[2]))
import touchline
for name in ("11_vs_11_stochastic", "11_vs_11_easy_stochastic", "academy_3_vs_1_with_keeper", "5_vs_5"):
    envs = touchline.make_vec(name, 2, num_threads=1, reset_pool=4)
    envs.reset(seed=1)
    envs.simulator.bare_loop(1500, seed=1)
"""


def _is_guided(folder: Path) -> bool:
    """Whether the build in a folder was guided by a profile."""
    try:
        return any("-fprofile-use" in flag for flag in json.loads((folder / "build.json").read_text())["flags"])
    except (OSError, KeyError, json.JSONDecodeError):
        return False


def _profile(
    work: Path, plain: tuple[str, ...], compiled: Callable[[tuple[str, ...]], Path], root: Path, report: Progress
) -> tuple[str, ...]:
    """Builds an engine that counts, lets it play, and returns the flags by which a build uses the counts."""
    counts = work / "profile"
    shutil.rmtree(counts, ignore_errors=True)
    library = compiled((*plain, f"-fprofile-generate={counts}"))
    report("playing for the profile", 0.0)
    command = (sys.executable, "-c", _PLAY, str(library), str(root))
    played = subprocess.run(command, capture_output=True, text=True, check=False)
    if played.returncode or not counts.exists():
        raise EngineError(f"the engine that counts for the profile failed: {played.stderr.strip()[-500:]}")
    return (f"-fprofile-use={counts}", "-fprofile-correction", "-fprofile-partial-training", "-Wno-missing-profile")


def _compiler() -> str:
    return subprocess.run(["g++", "--version"], capture_output=True, text=True, check=True).stdout.splitlines()[0]


def _run(command: list[str], out, log: Path, what: str, report: Progress) -> None:
    report(what, 0.0)
    environment = {name: value for name, value in os.environ.items() if name not in _SETTINGS}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment)
    lines = []
    for line in process.stdout:
        out.write(line)
        lines.append(line)
        if share := re.match(r"\[\s*(\d+)%\]", line):
            report(what, int(share[1]) / 100)
    if process.wait():
        raise EngineError(f"{what} the engine failed: {_first_error(lines)} (the whole log: {log})")


def _first_error(lines: list[str]) -> str:
    text = "".join(lines)
    for pattern, package in _KNOWN_FAILURES:
        if re.search(pattern, text):
            return f"{package} is missing; run `apt-get install {package}` (as root)"
    found = [number for number, line in enumerate(lines) if re.search(r"\berror\b|Error", line)]
    if not found:
        return lines[-1].strip() if lines else "no output"
    said = lines[found[0]].strip()
    # CMake says where, and in the following lines what.
    return f"{said} {' '.join(' '.join(lines[found[0] + 1 : found[0] + 4]).split())}" if said.endswith(":") else said


_KNOWN_FAILURES = (
    (r"No package 'sdl2' found", "libsdl2-dev"),
    (r"No package 'SDL2_image' found", "libsdl2-image-dev"),
    (r"No package 'SDL2_ttf' found", "libsdl2-ttf-dev"),
    (r"No package 'SDL2_gfx' found", "libsdl2-gfx-dev"),
    (r"Could NOT find OpenGL", "libgl1-mesa-dev libegl1-mesa-dev"),
    (
        r"Could NOT find Boost|[Bb]oost_\w+.*not.*found",
        "libboost-thread-dev libboost-filesystem-dev libboost-system-dev",
    ),
    (r"Could NOT find PkgConfig", "pkg-config"),
)
