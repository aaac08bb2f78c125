"""Upstream's own gfootball, built as its setup.py builds it, and what it plays.

It lives in a virtual environment of its own that serves nothing but the comparison in `verify.py`. There
`upstream_trace.py` plays a job; what comes out is a trace: raw dicts, simple115v2, mini maps and stacks of them, both
rewards, ends, and the engine's whole state after every step.

The engine's states hold a few bytes that nothing ever wrote: padding, mostly in its angle class (a float and a bool,
three bytes short of eight). They are told apart by proof, not by guess: upstream plays each job twice, with malloc
filling new memory with one value in the first run and another in the second (glibc's MALLOC_PERTURB_). A byte is left
out of the comparison only where both runs show their own filling; any other difference between the two is reported.

Results of libm may differ between processors, so traces are compared with nothing but a build on the same machine;
they are cached by job, upstream library and processor.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import numpy as np

from touchline.envs.engine import build
from touchline.envs.engine.build import EngineError, Progress
from touchline.envs.engine.verify_jobs import Job
from touchline.processes import in_turn

UPSTREAM_DEBIAN_PACKAGES = ("libboost-python-dev", "python3-dev")
"""What upstream's own build needs from Debian beyond `build.DEBIAN_PACKAGES`."""

UPSTREAM_TOOLS = ("psutil", "setuptools<81", "wheel", "six")
UPSTREAM_PACKAGES = ("gym>=0.22,<0.26", "opencv-python-headless", f"gfootball=={build.GFOOTBALL_VERSION}")

_TRACE_SCRIPT = Path(__file__).with_name("upstream_trace.py")
_FILLINGS = (0x11, 0xEE)
"""What malloc fills new memory with in upstream's first and second run."""
_GAME_STATE = slice(4, 8)
"""Where a state (after its empty pickle string) says whether the episode is over. Upstream's Python writes it at an
end, ours has no need to, so these four bytes are left out of the states of last steps."""
_STEPS_A_CALL = 6000
"""Steps that one upstream process plays before its traces are packed: bounds the temporary files."""


def upstream_dir() -> Path:
    """Where upstream's environment and its traces are cached."""
    return build.cache_dir() / f"upstream-{build.GFOOTBALL_VERSION}"


def find_upstream_python() -> Path | None:
    """Python of upstream's environment, if that has been built on this machine."""
    python = _python(upstream_dir())
    return python if (upstream_dir() / "ready.json").exists() and python.exists() else None


def _python(folder: Path) -> Path:
    return folder / "venv/bin/python"


def upstream_python(progress: Progress | None = None) -> Path:
    """Python of an environment with upstream's own gfootball, built with its stock flags unless that has been done.

    Takes 4 to 5 minutes on 2 cores, or seconds where pip still has the wheel that it built.
    """
    report = progress or (lambda what, share: None)
    folder = upstream_dir()
    with in_turn(folder / "lock"):
        if found := find_upstream_python():
            return found
        _check_upstream_needs()
        report("building upstream's own package (4 to 5 minutes)", 0.0)
        shutil.rmtree(folder / "venv", ignore_errors=True)
        log = folder / "build.log"
        python = _python(folder)
        # Its build script calls `python3 -c "import psutil"`, so the environment must come first on the path.
        environment = os.environ | {"PATH": f"{python.parent}{os.pathsep}{os.environ.get('PATH', '')}"}
        pip = (str(python), "-m", "pip", "install")
        commands = (
            (sys.executable, "-m", "venv", str(folder / "venv")),
            (*pip, *UPSTREAM_TOOLS),
            (*pip, "--no-build-isolation", *UPSTREAM_PACKAGES),
            (str(python), "-c", "import gfootball.env, gfootball_engine"),
        )
        with log.open("w") as out:
            for step, command in enumerate(commands):
                report("building upstream's own package (4 to 5 minutes)", step / len(commands))
                done = subprocess.run(
                    command, stdout=out, stderr=subprocess.STDOUT, env=environment, cwd=folder, check=False
                )
                if done.returncode:
                    raise EngineError(_why_upstream_failed(log))
        facts = {"gfootball": build.GFOOTBALL_VERSION, "python": sys.version.split()[0]}
        (folder / "ready.json").write_text(json.dumps(facts) + "\n")
    return python


def _check_upstream_needs() -> None:
    absent = build.missing_tools()
    if not absent:
        probe = "#if !__has_include(<boost/python.hpp>)\n#error\n#endif\n"
        command = ("g++", "-E", "-x", "c++", "-", "-o", os.devnull)
        result = subprocess.run(command, input=probe, capture_output=True, text=True, check=False)
        absent = ["Boost.Python"] if result.returncode else []
    if absent:
        packages = " ".join((*build.DEBIAN_PACKAGES, *UPSTREAM_DEBIAN_PACKAGES))
        raise EngineError(
            f"upstream's own package needs {', '.join(absent)}: run `apt-get install {packages}` (as root)"
        )


def _why_upstream_failed(log: Path) -> str:
    text = log.read_text(errors="replace")
    if "Boost Python not found" in text:
        version = ".".join(map(str, sys.version_info[:2]))
        return (
            f"upstream's own package needs Boost.Python for Python {version}: run `apt-get install "
            f"{' '.join(UPSTREAM_DEBIAN_PACKAGES)}`, which serves the Python of the distribution (the whole log: {log})"
        )
    errors = [line.strip() for line in text.splitlines() if "rror" in line] or ["no output"]
    return f"upstream's own package could not be built: {errors[0]} (the whole log: {log})"


# ---------------------------------------------------------------------------------------- upstream's traces


class Trace:
    """What upstream returned in a job. `columns` are arrays by name: of every observation, of every step."""

    def __init__(self, columns: dict[str, np.ndarray]) -> None:
        self.columns = columns
        if "mask_counts" in columns:
            self._mask_ends = np.cumsum(columns["mask_counts"])

    def masked(self, index: int) -> np.ndarray:
        """Places of state `index` that upstream never wrote."""
        end = self._mask_ends[index]
        return self.columns["mask"][end - self.columns["mask_counts"][index] : end]


@functools.cache
def _traces_dir(python: Path) -> Path:
    library = next(python.parent.parent.glob("lib/python*/site-packages/gfootball_engine/_gameplayfootball.so"))
    digest = hashlib.sha256()
    for part in (
        library.read_bytes(),
        _TRACE_SCRIPT.read_bytes(),
        build._cpu_name().encode(),
        bytes(_FILLINGS),
    ):
        digest.update(hashlib.sha256(part).digest())
    return upstream_dir() / f"traces-{digest.hexdigest()[:16]}"


def _trace_path(python: Path, job: Job) -> Path:
    fields = asdict(job) | {"what": None}
    if job.start:
        fields["start"] = hashlib.sha256(Path(job.start).read_bytes()).hexdigest()
    return _traces_dir(python) / f"{hashlib.sha256(json.dumps(fields).encode()).hexdigest()[:24]}.npz"


def traces(python: Path, wanted: Sequence[Job], progress: Progress | None = None) -> Iterator[Trace]:
    """Upstream's traces of `wanted`, in order; what is not cached is played first."""
    report = progress or (lambda what, share: None)
    missing = [job for job in wanted if not _trace_path(python, job).exists()]
    _traces_dir(python).mkdir(parents=True, exist_ok=True)
    total, played = sum(job.steps for job in missing), 0
    while missing:
        batch, steps = [], 0
        while missing and (not batch or steps + missing[0].steps <= _STEPS_A_CALL):
            batch.append(missing.pop(0))
            steps += batch[-1].steps
        report("playing upstream's engine", played / total)
        with played_twice(python, batch) as pairs:
            for job, pair in zip(batch, pairs, strict=True):
                target = _trace_path(python, job)
                part = target.with_suffix(f".{os.getpid()}")
                with part.open("wb") as out:
                    np.savez_compressed(out, **_merged(*pair, job))
                part.replace(target)
        played += steps
    for job in wanted:
        with np.load(_trace_path(python, job)) as arrays:
            yield Trace(dict(arrays))


@contextmanager
def played_twice(python: Path, batch: Sequence[Job]) -> Iterator[list[tuple[dict, dict]]]:
    """Both runs' arrays of every job, played by two processes of upstream's at a time."""
    with tempfile.TemporaryDirectory(dir=upstream_dir()) as name:
        folder, processes = Path(name), []
        for filling in _FILLINGS:
            listed = [asdict(job) | {"out": str(folder / f"{filling}-{n}.npz")} for n, job in enumerate(batch)]
            (folder / f"{filling}.json").write_text(json.dumps(listed))
            # malloc writes the complement; its caches per thread, which would hand memory out as it was, are off.
            environment = os.environ | {
                "MALLOC_PERTURB_": str(0xFF ^ filling),
                "GLIBC_TUNABLES": "glibc.malloc.tcache_count=0",
            }
            command = [str(python), "-W", "ignore", str(_TRACE_SCRIPT), str(folder / f"{filling}.json")]
            with (folder / f"{filling}.log").open("w") as log:
                processes.append(
                    subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, env=environment, cwd=folder)
                )
        codes = [process.wait() for process in processes]
        if any(codes):
            log = (folder / f"{_FILLINGS[0] if codes[0] else _FILLINGS[1]}.log").read_text(errors="replace")
            raise EngineError(f"upstream's environment failed: {(log.strip() or 'no output').splitlines()[-1]}")
        yield [tuple(dict(np.load(folder / f"{f}-{n}.npz")) for f in _FILLINGS) for n in range(len(batch))]


def unpacked_states(columns: dict[str, np.ndarray]) -> Iterator[np.ndarray]:
    """[size] uint8 of every state; the script stores each as its difference from the one before."""
    packed, at, last = columns["states"].tobytes(), 0, np.zeros(0, np.uint8)
    for size in columns["state_sizes"]:
        state = np.frombuffer(zlib.decompress(packed[at : at + size]), np.uint8).copy()
        at += size
        shared = min(len(state), len(last))
        state[:shared] ^= last[:shared]
        last = state
        yield state


def _merged(first: dict, second: dict, job: Job) -> dict[str, np.ndarray]:
    """The trace of two runs: `problem` where upstream does not agree with itself, states as digest and mask."""
    merged = {name: array for name, array in first.items() if not name.startswith("state")}
    problem = next((name for name in merged if name != "kept" and not same(first[name], second[name])), "")
    if job.states:
        digests, sizes, masks = [], [], []
        for a, b in zip(unpacked_states(first), unpacked_states(second), strict=True):
            unwritten = np.flatnonzero((a == _FILLINGS[0]) & (b == _FILLINGS[1])) if len(a) == len(b) else []
            differing = np.flatnonzero(a != b) if len(a) == len(b) else [0]
            if len(differing) != len(unwritten):
                problem = problem or f"state {len(digests)}"
            masks.append(np.array(unwritten, np.int32))
            sizes.append(len(a))
            digests.append(digest(a, masks[-1]))
        merged |= {
            "state_digest": np.array(digests),
            "state_size": np.array(sizes, np.int64),
            "mask": np.concatenate(masks),
            "mask_counts": np.array([len(mask) for mask in masks], np.int64),
        }
    merged["problem"] = np.array(problem)
    return merged


def digest(state: np.ndarray, masked: np.ndarray) -> list[str]:
    """[2] digests of a state: the whole of it, and without the four bytes that say whether the episode is over."""
    state = state.copy()
    state[masked] = 0
    whole = hashlib.sha1(state.tobytes()).hexdigest()
    state[_GAME_STATE] = 0
    return [whole, hashlib.sha1(state.tobytes()).hexdigest()]


def same(upstream: np.ndarray, ours: np.ndarray) -> bool:
    """Equal type, shape and bits (so that -0 is not 0)."""
    if upstream.dtype != ours.dtype or upstream.shape != ours.shape:
        return False
    return upstream.tobytes() == ours.tobytes()
