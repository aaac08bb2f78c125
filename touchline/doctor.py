"""What this machine has and lacks: `diagnose()` looks, the command line prints.

Whatever could kill or hang the process (loading the engine, importing torch) runs in a process of its own.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from touchline.envs.engine import build
from touchline.processes import usable_cores

OLDEST_PYTHON = (3, 11)
BUILD_SPACE = 1.0
"""GB that a build and its sources take in the cache folder, with room to spare."""

TOOLS = {"cmake": "cmake", "g++": "build-essential", "make": "build-essential", "pkg-config": "pkg-config"}
"""Programs that a build of the engine needs, and their Debian packages."""

LIBRARIES = {
    "libgl1-mesa-dev": ("opengl", "libOpenGL.so"),
    "libegl1-mesa-dev": ("egl", "libEGL.so"),
    "libsdl2-dev": ("sdl2", "libSDL2.so"),
    "libsdl2-image-dev": ("SDL2_image", "libSDL2_image.so"),
    "libsdl2-ttf-dev": ("SDL2_ttf", "libSDL2_ttf.so"),
    "libsdl2-gfx-dev": ("SDL2_gfx", "libSDL2_gfx.so"),
    "libboost-thread-dev": ("", "libboost_thread.so"),
    "libboost-filesystem-dev": ("", "libboost_filesystem.so"),
    "libboost-system-dev": ("", "libboost_system.so"),
}
"""Debian packages that a build needs: the name pkg-config knows, if any, and the file the linker looks for."""

LIBRARY_FOLDERS = (
    "/usr/lib",
    "/usr/lib/x86_64-linux-gnu",
    "/usr/lib/aarch64-linux-gnu",
    "/usr/lib64",
    "/usr/local/lib",
)

EXTRAS = {
    "sb3": "stable-baselines3",
    "plots": "matplotlib",
    "report": "rliable",
    "envpool": "envpool",
    "track": "wandb",
}
"""Optional parts: the extra of touchline, and the package that it brings."""

_LOAD = "import ctypes, sys; ctypes.CDLL(sys.argv[1])"

_TORCH = """
import json, torch
cuda = torch.cuda.is_available()
name = torch.cuda.get_device_name(0) if cuda else None
print(json.dumps({"version": torch.__version__, "cuda": torch.version.cuda, "device": name}))
"""

_NUMBA = "import json, numba; print(json.dumps({'version': numba.__version__}))"

_MATCH = """
import json
from touchline.envs.football_env import FootballEnv
env = FootballEnv("academy_empty_goal_close")
env.reset(seed=1)
for _ in range(3):
    observation, *_ = env.step(0)
env.close()
print(json.dumps({"shape": observation.shape}))
"""


class Finding(NamedTuple):
    """One thing that was looked at."""

    name: str
    ok: bool
    found: str
    fix: str = ""
    """A command or a deed that mends it; empty if there is nothing to mend."""
    required: bool = True
    """False: touchline works without it, and it is told for information."""


class Outcome(NamedTuple):
    """How a process ended."""

    ok: bool
    facts: dict
    """What it printed as JSON, if it did."""
    reason: str
    """Why it failed, in one line; empty if it did not."""


def diagnose() -> list[Finding]:
    """Looks at everything that touchline needs or can use; takes some seconds."""
    engine = build.locate()
    findings = [_python(), *_torch(), _numba()]
    findings += [_tools(needed=engine is None), _libraries(needed=engine is None)]
    findings += _engine(engine)
    findings += [_cache(needed=engine is None), _processors(), _ffmpeg()]
    findings += [_extra(extra, package) for extra, package in EXTRAS.items()]
    return findings


def _python() -> Finding:
    found = ".".join(map(str, sys.version_info[:3]))
    oldest = ".".join(map(str, OLDEST_PYTHON))
    ok = sys.version_info[:2] >= OLDEST_PYTHON
    return Finding("Python", ok, found, "" if ok else f"install Python {oldest} or newer and touchline in it")


def _torch() -> Iterator[Finding]:
    outcome = _run(_TORCH)
    if not outcome.ok:
        yield Finding("torch", False, outcome.reason, "pip install -c constraints.txt torch")
        return
    yield Finding("torch", True, outcome.facts["version"])
    if outcome.facts["device"]:
        yield Finding("CUDA", True, f"{outcome.facts['device']}, CUDA {outcome.facts['cuda']}", required=False)
    elif outcome.facts["cuda"]:
        yield Finding("CUDA", False, "no device found", "check the driver with nvidia-smi", required=False)
    else:
        yield Finding("CUDA", False, "torch is a CPU build", "", required=False)


def _numba() -> Finding:
    outcome = _run(_NUMBA)
    if outcome.ok:
        return Finding("numba", True, outcome.facts["version"])
    return Finding("numba", False, outcome.reason, "pip install numba")


def _tools(*, needed: bool) -> Finding:
    absent = [tool for tool in TOOLS if shutil.which(tool) is None]
    name = "tools to build the engine"
    if not absent:
        return Finding(name, True, ", ".join(TOOLS), required=needed)
    packages = dict.fromkeys(TOOLS[tool] for tool in absent)
    return Finding(name, False, f"missing: {', '.join(absent)}", install_command(packages), required=needed)


def _libraries(*, needed: bool) -> Finding:
    absent = [package for package in LIBRARIES if not _has_library(*LIBRARIES[package])]
    name = "libraries to build the engine"
    if not absent:
        return Finding(name, True, f"all {len(LIBRARIES)}", required=needed)
    return Finding(name, False, f"missing: {', '.join(absent)}", install_command(absent), required=needed)


def _has_library(module: str, file: str) -> bool:
    if module and shutil.which("pkg-config"):
        return subprocess.run(["pkg-config", "--exists", module], check=False).returncode == 0
    return any(Path(folder, file).exists() for folder in LIBRARY_FOLDERS)


def install_command(packages: list[str] | dict[str, None]) -> str:
    """The command that installs Debian packages."""
    sudo = "" if os.geteuid() == 0 else "sudo "
    return f"{sudo}apt-get update && {sudo}apt-get install -y {' '.join(packages)}"


def _engine(engine: build.EngineFiles | None) -> Iterator[Finding]:
    if engine is None:
        yield Finding("engine", False, "not built for this machine", "touchline engine build")
        return
    path = engine.library.with_name("build.json")
    try:
        facts = json.loads(path.read_text()) if path.exists() else {}
    except json.JSONDecodeError:
        yield Finding("engine", False, f"{path} is damaged", "touchline engine build --force")
        return
    # Only a wheel's facts name the sources it was made from; a cached build is found by them.
    if "key" in facts and facts["key"] != build.build_key(facts["march"]):
        found = f"{engine.library} was made for another version of touchline"
        yield Finding("engine", False, found, "touchline engine build")
        return
    yield Finding("engine", True, str(engine.library))
    loaded = _run(_LOAD, str(engine.library))
    if not loaded.ok:
        yield Finding("engine loads", False, loaded.reason, _fix_for_loading(loaded.reason))
        return
    yield Finding("engine loads", True, "yes")
    match = _run(_MATCH)
    if match.ok:
        shape = tuple(match.facts["shape"])
        yield Finding("engine plays", True, f"a match was stepped; observation {shape}")
    else:
        yield Finding("engine plays", False, match.reason, "touchline engine build --force")


def _fix_for_loading(reason: str) -> str:
    if "cannot open shared object file" in reason:
        return install_command([package for package in build.DEBIAN_PACKAGES if package.startswith("lib")])
    return "touchline engine build --force"


def _cache(*, needed: bool) -> Finding:
    folder = build.cache_dir()
    existing = next(path for path in (folder, *folder.parents) if os.path.exists(path))
    elsewhere = "set TOUCHLINE_CACHE to a folder "
    try:
        with tempfile.TemporaryFile(dir=existing):
            pass
    except OSError as error:
        found = f"{folder} cannot be written: {error.strerror}"
        return Finding("cache folder", False, found, elsewhere + "you may write to", required=needed)
    free = shutil.disk_usage(existing).free / 1e9
    ok = free >= BUILD_SPACE
    fix = "" if ok else f"free {BUILD_SPACE:.0f} GB there, or {elsewhere}on another disk"
    return Finding("cache folder", ok, f"{folder}, {free:.1f} GB free", fix, required=needed)


def _processors() -> Finding:
    usable = usable_cores()
    load = os.getloadavg()[0]
    busy = "; others are using them, so speeds will be low" if load > 0.7 * usable else ""
    return Finding("processors", True, f"{usable} usable, load {load:.1f}{busy}", required=False)


def _ffmpeg() -> Finding:
    name = "ffmpeg for videos"
    try:
        import imageio_ffmpeg

        found = imageio_ffmpeg.get_ffmpeg_exe()
    except (ImportError, RuntimeError) as error:
        return Finding(name, False, str(error), "pip install imageio-ffmpeg", required=False)
    return Finding(name, True, found, required=False)


def _extra(extra: str, package: str) -> Finding:
    name = f"extra {extra}"
    try:
        return Finding(name, True, f"{package} {importlib.metadata.version(package)}", required=False)
    except importlib.metadata.PackageNotFoundError:
        return Finding(name, False, f"{package} is not there", f"pip install 'touchline[{extra}]'", required=False)


def _run(code: str, *arguments: str, limit: float = 120.0) -> Outcome:
    """Runs Python code in a process of its own, for at most `limit` seconds."""
    command = [sys.executable, "-c", code, *arguments]
    try:
        result = subprocess.run(command, capture_output=True, text=True, timeout=limit, check=False)
    except subprocess.TimeoutExpired:
        return Outcome(False, {}, f"no answer within {limit:.0f} seconds")
    if result.returncode < 0:
        return Outcome(False, {}, _killed_by(-result.returncode))
    lines = (result.stderr.strip() or "no output").splitlines()
    if result.returncode:
        return Outcome(False, {}, lines[-1])
    # The engine writes to stdout too, so take the line that is ours.
    facts = [line for line in result.stdout.splitlines() if line.startswith("{")]
    return Outcome(True, json.loads(facts[-1]) if facts else {}, "")


def _killed_by(number: int) -> str:
    name = signal.Signals(number).name
    if number == signal.SIGILL:
        return f"{name}: it was built for another processor"
    return f"the process was ended by {name}"
