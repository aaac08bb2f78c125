"""`touchline engine verify`: our engine against upstream's own package, played live on this machine.

Upstream's gfootball 2.10.2 is built as its setup.py builds it, in a virtual environment of its own that serves nothing
but this comparison. There `upstream_trace.py` plays a job; here the same job is played by our environments, and what
comes out is compared to the last bit: raw dicts, simple115v2, mini maps and stacks of them, both rewards, ends, and the
engine's whole state after every step.

The engine's states hold a few bytes that nothing ever wrote: padding, mostly in its angle class (a float and a bool,
three bytes short of eight). They are told apart by proof, not by guess: upstream plays each job twice, with malloc
filling new memory with one value in the first run and another in the second (glibc's MALLOC_PERTURB_). A byte is left
out of the comparison only where both runs show their own filling; any other difference between the two is reported.

Results of libm may differ between processors, so traces are compared with nothing but a build on the same machine;
they are cached by job, upstream library and processor.
"""

from __future__ import annotations

import dataclasses
import fcntl
import functools
import hashlib
import json
import os
import pickle
import shutil
import subprocess
import sys
import tempfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from touchline import scenarios as scenario_room
from touchline.envs.actions import ACTION_SETS
from touchline.envs.engine import build, speedups
from touchline.envs.engine.build import EngineError, Progress
from touchline.envs.engine.engine import EngineSimulator
from touchline.envs.observations import SuperMiniMap, raw_observation
from touchline.envs.stacking import FrameStack
from touchline.envs.vector_env import FootballVectorEnv

UPSTREAM_DEBIAN_PACKAGES = ("libboost-python-dev", "python3-dev")
"""What upstream's own build needs from Debian beyond `build.DEBIAN_PACKAGES`."""

UPSTREAM_TOOLS = ("psutil", "setuptools<81", "wheel", "six")
UPSTREAM_PACKAGES = ("gym>=0.22,<0.26", "opencv-python-headless", f"gfootball=={build.GFOOTBALL_VERSION}")

LEVELS = ("short", "full")

_TRACE_SCRIPT = Path(__file__).with_name("upstream_trace.py")
_FILLINGS = (0x11, 0xEE)
"""What malloc fills new memory with in upstream's first and second run."""
_GAME_STATE = slice(4, 8)
"""Where a state (after its empty pickle string) says whether the episode is over. Upstream's Python writes it at an
end, ours has no need to, so these four bytes are left out of the states of last steps."""
_STEPS_A_CALL = 6000
"""Steps that one upstream process plays before its traces are packed: bounds the temporary files."""


# ---------------------------------------------------------------------------------------- upstream's environment


def upstream_dir() -> Path:
    """Where upstream's environment and its traces are cached."""
    return build.cache_dir() / f"upstream-{build.GFOOTBALL_VERSION}"


def find_upstream_python() -> Path | None:
    """Python of upstream's environment, if that has been built on this machine."""
    return _python(upstream_dir()) if (upstream_dir() / "ready.json").exists() else None


def _python(folder: Path) -> Path:
    return folder / "venv/bin/python"


def upstream_python(progress: Progress | None = None) -> Path:
    """Python of an environment with upstream's own gfootball, built with its stock flags unless that has been done.

    Takes 4 to 5 minutes on 2 cores, or seconds where pip still has the wheel that it built.
    """
    report = progress or (lambda what, share: None)
    folder = upstream_dir()
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
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


# ---------------------------------------------------------------------------------------- jobs


@dataclass(frozen=True)
class Job:
    """What upstream plays, and we play again; the fields are those that `upstream_trace.py` reads.

    Attributes:
        scenario: a name of both suites.
        seeds: engine seeds of the successive episodes.
        left, right: controlled players a side.
        action_set: "default" or "v2".
        actions: [T][N] action numbers; they go on through the ends of episodes.
        observations: which of "simple115v2" and "smm" upstream's converters make beside the raw dict.
        representation: "raw", or "simple115v2" or "extracted" for a run of upstream's whole stack of wrappers.
        stacked: the latter with four stacked frames.
        rewards: upstream's comma-separated names.
        states: compare the engine's whole state after every step.
        start: path of an engine state to begin with.
        keep: step after which upstream's own snapshot is kept, or -1.
        what: the job in words.
    """

    scenario: str
    seeds: tuple[int, ...]
    left: int
    right: int
    action_set: str
    actions: tuple[tuple[int, ...], ...]
    what: str
    observations: tuple[str, ...] = ("simple115v2", "smm")
    representation: str = "raw"
    stacked: bool = False
    rewards: str = "scoring,checkpoints"
    states: bool = True
    start: str | None = None
    keep: int = -1

    @property
    def steps(self) -> int:
        """T."""
        return len(self.actions)


MIXES: dict[str, dict[str, float]] = {
    "random": {},
    "sliding": {"sliding": 8.0, "sprint": 2.0},
    "shooting": {
        "shot": 6.0,
        "short_pass": 3.0,
        "high_pass": 3.0,
        "right": 6.0,
        "top_right": 2.0,
        "bottom_right": 2.0,
    },
    "forward": {"right": 60.0, "sprint": 20.0, "shot": 6.0, "short_pass": 3.0},
    "built-in AI": {"builtin_ai": 60.0},
}
"""Mixes of actions: weights of some, the others weigh 1."""
HUNTING = "hunting"
"""A mix that is played rather than drawn, see `_hunt`."""


def make_job(
    scenario: str,
    seed: int,
    steps: int,
    *,
    left: int = 1,
    right: int = 0,
    mix: str = "random",
    action_set: str = "default",
    **options: object,
) -> Job:
    """A job with actions drawn from a mix; its later episodes have the seeds that ours take by themselves."""
    if mix == HUNTING:
        drawn = _hunt(scenario, seed, steps, left)
    else:
        names = ACTION_SETS[action_set]
        weights = np.array([MIXES[mix].get(name, 1.0) for name in names])
        generator = np.random.default_rng([seed, steps, left, right])
        drawn = generator.choice(len(names), size=(steps, left + right), p=weights / weights.sum())
    actions = tuple(tuple(map(int, row)) for row in drawn)
    what = f"{mix} actions ({action_set}), {left} left, {right} right, seed {seed}"
    job = Job(scenario, (seed,), left, right, action_set, actions, what, **options)
    if job.representation != "raw":
        job = replace(job, what=f"{what}, {job.representation}{' stacked' if job.stacked else ''}", states=False)
    return replace(job, seeds=_seeds(job))


def _hunt(scenario: str, seed: int, steps: int, left: int) -> np.ndarray:
    """[T, left] actions of a left team that runs at the ball and slides at whoever has it: it earns red cards."""
    simulator = EngineSimulator(scenario_room.load(scenario), 1, left=left, right=0)
    simulator.reset(seeds=np.array([seed]))
    state, chosen = simulator.state, np.zeros((steps, left), np.int32)
    slide, sprint = (ACTION_SETS["default"].index(name) for name in ("sliding", "sprint"))
    for step in range(steps):
        way = (state.get("ball_position")[0, :2] - state.get("left_position")[0, :left]) * (54.4, 83.6)  # metres
        chosen[step] = 1 + np.round((np.pi - np.arctan2(-way[:, 1], way[:, 0])) / (np.pi / 4)).astype(int) % 8
        if state.get("ball_owned_team")[0] == 1:
            chosen[step, np.hypot(way[:, 0], way[:, 1]) < 3.0] = slide
        if step % 10 == 0:
            chosen[step] = sprint
        simulator.step(chosen[step][None])
    simulator.close()
    return chosen


def _seeds(job: Job) -> tuple[int, ...]:
    scenario = scenario_room.load(job.scenario)
    if not scenario.ends_by_clock_as_truncation and job.steps <= scenario.game_duration:
        return job.seeds  # one episode, so no need to play for it
    simulator = EngineSimulator(scenario, 1, left=job.left, right=job.right)
    simulator.reset(seeds=np.array(job.seeds))
    seeds = list(job.seeds)
    for actions in np.array(job.actions, np.int32):
        simulator.step(actions)
        if simulator.terminated[0] or simulator.truncated[0]:
            seeds.append(int(simulator.seeds[0]))
    simulator.close()
    return tuple(seeds)


Plan = tuple[str, int, int, dict[str, object]]
"""Scenario, seed, steps and options of `make_job`."""


def jobs(level: str = "short", scenarios: Sequence[str] | None = None) -> Iterator[Job]:
    """The jobs of a level, one at a time: a drill is played once to find the seeds of its episodes."""
    plans = [*_every_scenario(), *_VARIANTS]
    if level == "full":
        plans += [*_more_seeds(), *_WHOLE_MATCHES]
    for scenario, seed, steps, options in plans:
        if not scenarios or scenario in scenarios:
            yield make_job(scenario, seed, steps, **options)


def _every_scenario() -> Iterator[Plan]:
    """Odd seeds let the right team be processed first, so both kinds take turns."""
    for number, scenario in enumerate(sorted(scenario_room.names())):
        yield scenario, 100 + number, 300, {}


def _more_seeds() -> Iterator[Plan]:
    for number, scenario in enumerate(sorted(scenario_room.names())):
        for turn, mix in enumerate(("shooting", "built-in AI")):
            options = {"mix": mix, "action_set": "v2", "observations": ("simple115v2",)}
            yield scenario, 1001 + 3 * number + turn, 600, options
        for turn, mix in enumerate(("random", "sliding", "forward")):
            yield scenario, 2001 + 7 * number + turn, 2000, {"mix": mix, "observations": ()}


_MATCH, _EASY, _THREE = "11_vs_11_stochastic", "11_vs_11_easy_stochastic", "academy_3_vs_1_with_keeper"

_VARIANTS: list[Plan] = [
    (_EASY, 8, 300, {"mix": "built-in AI", "action_set": "v2"}),
    (_THREE, 9, 300, {"mix": "built-in AI", "action_set": "v2"}),
    ("academy_corner", 10, 300, {"mix": "built-in AI", "action_set": "v2"}),
    (_MATCH, 11, 300, {"left": 1, "right": 1}),
    (_MATCH, 12, 300, {"left": 11, "right": 11, "observations": ("simple115v2",)}),
    (_MATCH, 13, 300, {"left": 11, "right": 11, "observations": (), "mix": "sliding"}),
    (_THREE, 14, 300, {"left": 3, "mix": "forward"}),
    ("5_vs_5", 15, 300, {"left": 4, "right": 4}),
    ("academy_counterattack_hard", 16, 300, {"left": 2, "right": 1, "mix": "shooting"}),
    (_EASY, 17, 300, {"left": 0, "right": 1, "mix": "shooting"}),
    ("1_vs_1_easy", 18, 300, {"left": 0, "right": 1}),
    ("11_vs_11_hard_stochastic", 19, 300, {"mix": "sliding"}),
    ("11_vs_11_hard_stochastic", 20, 300, {"left": 2, "right": 2, "mix": "sliding", "action_set": "v2"}),
    ("academy_pass_and_shoot_with_keeper", 21, 300, {"mix": "shooting"}),
    ("academy_run_to_score", 22, 300, {"mix": "forward"}),
    ("academy_run_to_score_with_keeper", 23, 300, {"mix": "forward"}),
    ("academy_empty_goal_close", 24, 300, {"mix": "forward"}),
    (_THREE, 25, 300, {"representation": "extracted", "stacked": True}),
    (
        "11_vs_11_competition",
        26,
        300,
        {"representation": "extracted", "stacked": True, "left": 2, "right": 1},
    ),
    ("5_vs_5", 27, 300, {"representation": "simple115v2", "rewards": "scoring"}),
]


_WHOLE_MATCHES: list[Plan] = [
    ("11_vs_11_kaggle", 31, 3050, {"mix": "built-in AI", "action_set": "v2", "observations": ()}),
    ("11_vs_11_kaggle", 32, 3050, {"left": 1, "right": 1, "mix": "shooting", "observations": ()}),
    (_MATCH, 33, 3050, {"observations": ()}),
    (_EASY, 34, 3050, {"left": 11, "right": 11, "mix": "sliding", "observations": ()}),
    ("11_vs_11_hard_stochastic", 35, 3050, {"mix": "built-in AI", "action_set": "v2", "observations": ()}),
    (_MATCH, 75, 3000, {"left": 11, "mix": HUNTING, "observations": ()}),  # three players are sent off
    *(
        (_MATCH, 80 + n, 3050, {"left": n % 2, "right": 1, "mix": m, "action_set": "v2", "observations": ()})
        for n, m in enumerate(("built-in AI", "shooting", "random", "sliding"))
    ),
    *(
        (name, 90 + n, 3050, {"mix": "built-in AI", "action_set": "v2", "observations": ()})
        for n, name in enumerate(("5_vs_5", _EASY, "11_vs_11_competition", "11_vs_11_kaggle"))
    ),
    *(
        ("11_vs_11_kaggle", 100 + n, 3050, {"left": 11, "right": 11, "mix": "random", "observations": ()})
        for n in range(4)
    ),
]


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
        with _played_twice(python, batch) as pairs:
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
def _played_twice(python: Path, batch: Sequence[Job]) -> Iterator[list[tuple[dict, dict]]]:
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


def _unpacked_states(columns: dict[str, np.ndarray]) -> Iterator[np.ndarray]:
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
    problem = next((name for name in merged if name != "kept" and not _same(first[name], second[name])), "")
    if job.states:
        digests, sizes, masks = [], [], []
        for a, b in zip(_unpacked_states(first), _unpacked_states(second), strict=True):
            unwritten = np.flatnonzero((a == _FILLINGS[0]) & (b == _FILLINGS[1])) if len(a) == len(b) else []
            differing = np.flatnonzero(a != b) if len(a) == len(b) else [0]
            if len(differing) != len(unwritten):
                problem = problem or f"state {len(digests)}"
            masks.append(np.array(unwritten, np.int32))
            sizes.append(len(a))
            digests.append(_digest(a, masks[-1]))
        merged |= {
            "state_digest": np.array(digests),
            "state_size": np.array(sizes, np.int64),
            "mask": np.concatenate(masks),
            "mask_counts": np.array([len(mask) for mask in masks], np.int64),
        }
    merged["problem"] = np.array(problem)
    return merged


def _digest(state: np.ndarray, masked: np.ndarray) -> list[str]:
    """[2] digests of a state: the whole of it, and without the four bytes that say whether the episode is over."""
    state = state.copy()
    state[masked] = 0
    whole = hashlib.sha1(state.tobytes()).hexdigest()
    state[_GAME_STATE] = 0
    return [whole, hashlib.sha1(state.tobytes()).hexdigest()]


# ---------------------------------------------------------------------------------------- the comparison


@dataclass(frozen=True)
class Row:
    """The outcome of one job.

    Attributes:
        scenario: what was played; what: how.
        steps: environment steps compared; states: whole engine states compared.
        goals, episodes: what happened in them.
        masked: bytes of the states that upstream itself never wrote.
        difference: the first one (where, upstream's value, ours), or None.
        culprit: the optimisation of our engine that causes it, or what is known about that.
    """

    scenario: str
    what: str
    steps: int
    states: int
    goals: int
    episodes: int
    masked: int
    difference: str | None
    culprit: str = ""

    @property
    def ok(self) -> bool:
        """No difference."""
        return self.difference is None

    def __str__(self) -> str:
        text = f"{self.scenario}: {self.what}: {self.steps} steps, {self.states} states"
        return text if self.ok else f"{text}: {self.difference}{f' ({self.culprit})' if self.culprit else ''}"


@dataclass(frozen=True)
class Report:
    """All rows of a verification."""

    rows: tuple[Row, ...]

    @property
    def ok(self) -> bool:
        """Every row is."""
        return all(row.ok for row in self.rows)

    @property
    def summary(self) -> str:
        """One sentence."""
        steps, states = sum(row.steps for row in self.rows), sum(row.states for row in self.rows)
        goals, episodes = sum(row.goals for row in self.rows), sum(row.episodes for row in self.rows)
        differing = sum(not row.ok for row in self.rows)
        verdict = f"{differing} of {len(self.rows)} runs differ" if differing else "equal to the last bit"
        names = len({row.scenario for row in self.rows})
        return (
            f"{verdict}: {len(self.rows)} runs of {names} scenarios, {steps} steps, {states} whole engine states, "
            f"{episodes} episodes, {goals} goals"
        )


def verify(level: str = "short", scenarios: Sequence[str] | None = None, progress: Progress | None = None) -> Report:
    """Plays every job of a level in upstream's environment and in ours, and compares; builds the former if need be.

    "short" (about 12 000 steps): every scenario 300 steps with one agent; the other action set and the built-in AI,
    several agents, both sides, the right side alone, tackling and shooting, upstream's whole stack of wrappers.
    "full" makes it more than 200 000: more seeds, whole matches into the next one, a batch of matches on threads, and
    states taken from one engine and continued in the other.
    """
    if level not in LEVELS:
        raise ValueError(f"no level {level!r}; there are {', '.join(LEVELS)}")
    for name in scenarios or ():
        if name not in scenario_room.names():
            raise ValueError(f"no {name!r} in scenarios; there are {', '.join(scenario_room.names())}")
    report = progress or (lambda what, share: None)
    build.require()
    python = upstream_python(progress)
    report("drawing actions", 0.0)
    planned = list(jobs(level, scenarios))
    rows = []
    for number, (job, trace) in enumerate(zip(planned, traces(python, planned, progress), strict=True)):
        report(f"comparing {job.scenario}", number / len(planned))
        rows.append(compare(job, trace))
        if not rows[-1].ok and not any(row.culprit for row in rows):
            rows[-1] = replace(rows[-1], culprit=_culprit(job, report))
    if level == "full":
        for check in (_on_threads, _states_to_and_fro):
            rows += check(python, scenarios, report)
    report("done", 1.0)
    return Report(tuple(rows))


def compare(job: Job, trace: Trace) -> Row:
    """Plays `job` in our environment and compares every value with upstream's trace of it."""
    if problem := str(trace.columns["problem"]):
        difference = f"upstream's two runs of this job differ from each other in {problem}"
        return _row(job, trace, 0, 0, difference)
    if job.representation != "raw":
        return _compare_wrappers(job, trace)
    return _compare_batch([job], [trace], num_threads=1)[0]


def _culprit(job: Job, report: Progress) -> str:
    """Which optimisation makes `job` differ: it is played by an engine without any, then by engines that lack one."""
    for name in ("all", *(speedup.name for speedup in speedups.chosen(build.without()))):
        report(f"building the engine without {name}", 0.0)
        environment = os.environ | {build.WITHOUT: ",".join((*build.without(), name))}
        command = (sys.executable, "-c", f"from {__name__} import replay; replay()")
        done = subprocess.run(command, input=pickle.dumps(job), capture_output=True, env=environment, check=False)
        if done.returncode:
            return f"the search for the optimisation that causes it failed: {done.stderr.decode()[-300:]}"
        equal = done.stdout.decode().splitlines()[-1] == "equal"
        if name == "all" and not equal:
            return "it is there without any optimisation"
        if name != "all" and equal:
            return f"caused by the optimisation {name}"
    return "no single optimisation causes it"


def replay() -> None:
    """Plays the job on standard input with the engine that the environment asks for, and prints "equal" if it is."""
    job = pickle.load(sys.stdin.buffer)
    build.build()
    equal = compare(job, next(traces(find_upstream_python(), [job]))).ok
    sys.stdout.write("equal\n" if equal else "differs\n")


def _row(job: Job, trace: Trace, steps: int, states: int, difference: str | None) -> Row:
    columns = trace.columns
    return Row(
        job.scenario,
        job.what,
        steps,
        states,
        goals=int(np.abs(columns["score_reward"][:steps]).sum()),
        episodes=int(columns["done"][:steps].sum()),
        masked=int(columns["mask_counts"][:states].sum()) if states else 0,
        difference=difference,
    )


class _Follower:
    """Walks along one trace and remembers the first difference."""

    def __init__(self, job: Job, trace: Trace, observation: int = 0, step: int = 0, only: Iterable[str] = ()) -> None:
        self.job, self.trace = job, trace
        self.observation, self.step = observation, step  # of the trace, to be compared next
        self.steps = self.states = 0  # compared
        self.difference: str | None = None
        self._only = frozenset(only)

    @property
    def done(self) -> bool:
        """There is nothing left to compare."""
        return self.difference is not None or self.step >= len(self.trace.columns["done"])

    @property
    def row(self) -> Row:
        """The outcome."""
        return _row(self.job, self.trace, self.steps, self.states, self.difference)

    def check_step(self, values: dict[str, object]) -> None:
        """Compares what a step returned beside the observation."""
        for name, value in values.items():
            self._check(name, self.trace.columns[name][self.step], value)
        self.step += 1
        self.steps += self.difference is None

    def check_observation(self, values: dict[str, object], state: Callable[[], bytes], *, last: bool) -> None:
        """Compares an observation and the engine's state; `last` if the episode ended with it."""
        for name, value in values.items():
            self._check(name, self.trace.columns[name][self.observation], value)
        if self.job.states:
            self._check_state(np.frombuffer(state(), np.uint8), last)
        self.observation += 1

    def _check(self, name: str, upstream: np.ndarray, ours: object) -> None:
        if self.difference is None and not _same(upstream, np.asarray(ours)):
            self.difference = f"{self._place}: {name}: {_values(upstream, np.asarray(ours))}"

    def _check_state(self, ours: np.ndarray, last: bool) -> None:
        columns, index = self.trace.columns, self.observation
        if self.difference is not None:
            return
        size = int(columns["state_size"][index])
        if len(ours) != size:
            self.difference = f"{self._place}: state: upstream {size} bytes, ours {len(ours)}"
        elif _digest(ours, self.trace.masked(index))[last] != columns["state_digest"][index][int(last)]:
            self.difference = f"{self._place}: state: {_differing_bytes(self.job, index, ours)}"
        else:
            self.states += 1

    @property
    def _place(self) -> str:
        done = self.trace.columns["done"][: max(self.step - 1, 0)]
        return f"step {self.step} of the run, episode {int(done.sum())}"


def _same(upstream: np.ndarray, ours: np.ndarray) -> bool:
    """Equal type, shape and bits (so that -0 is not 0)."""
    if upstream.dtype != ours.dtype or upstream.shape != ours.shape:
        return False
    return upstream.tobytes() == ours.tobytes()


def _values(upstream: np.ndarray, ours: np.ndarray) -> str:
    if upstream.dtype != ours.dtype or upstream.shape != ours.shape:
        return f"upstream {upstream.dtype}{upstream.shape}, ours {ours.dtype}{ours.shape}"
    if upstream.ndim == 0:
        return f"upstream {upstream}, ours {ours}"
    differing = upstream != ours
    if upstream.dtype.kind == "f":
        differing |= np.signbit(upstream) != np.signbit(ours)
    at = tuple(int(i[0]) for i in np.nonzero(differing))
    return f"{int(differing.sum())} values differ, at {list(at)} upstream {upstream[at]!r}, ours {ours[at]!r}"


def _differing_bytes(job: Job, index: int, ours: np.ndarray) -> str:
    """Where state `index` differs: upstream plays the job again, since traces keep only digests of states."""
    python = find_upstream_python()
    with _played_twice(python, [job]) as ((first, second),):
        for number, (a, b) in enumerate(zip(_unpacked_states(first), _unpacked_states(second), strict=True)):
            if number == index:
                places = np.flatnonzero((a == b) & (a != ours))
                break
    at = int(places[0]) if len(places) else 0
    around = slice(max(at - 8, 0), at + 8)
    return (
        f"{len(places)} of {len(ours)} bytes differ, at {places[:8].tolist()}: "
        f"upstream {a[around].tobytes().hex(' ')}, ours {ours[around].tobytes().hex(' ')}"
    )


class _Views:
    """Everything upstream returns, from the arrays of our environment."""

    def __init__(self, env: FootballVectorEnv, job: Job) -> None:
        self._env, self._job = env, job
        self._smm = SuperMiniMap(job.left, job.right) if "smm" in job.observations else None
        size = (env.num_envs, env.num_players, *SuperMiniMap.shape)
        self._frame = np.zeros(size if self._smm else 0, np.uint8)
        self._stack = FrameStack(*size[:2], SuperMiniMap.shape, np.uint8, 4) if self._smm else None

    def update(self, rows: np.ndarray, *, first: bool) -> None:
        """Makes the mini maps of matches `rows`."""
        if self._smm:
            self._smm.write(self._env.simulator.state, rows, self._frame)
            (self._stack.fill if first else self._stack.push)(self._frame, rows)

    def get(self, index: int, observation: np.ndarray) -> dict[str, object]:
        """Columns of match `index`; `observation` [B, ...] is the environment's own simple115v2."""
        job, state = self._job, self._env.simulator.state
        raw = [raw_observation(state, index, agent, job.left) for agent in range(job.left + job.right)]
        columns: dict[str, object] = {"keys": ",".join(sorted(raw[0]))}
        for side, agent in (("left", 0), ("right", job.left)):
            if getattr(job, side):
                columns |= {
                    f"{side}/{name}": value
                    for name, value in raw[agent].items()
                    if name not in ("active", "sticky_actions")
                }
        for name in ("active", "sticky_actions"):
            columns[name] = np.stack([np.asarray(one[name]) for one in raw])
        if "simple115v2" in job.observations:
            columns["simple115v2"] = observation[index].reshape(len(raw), -1)
        if self._smm:
            columns["smm"] = np.packbits(self._frame[index])
            columns["smm_stacked_sha"] = _sha(self._stack.stacked[index])
        return columns


def _sha(array: np.ndarray) -> str:
    return hashlib.sha1(array.dtype.str.encode() + np.ascontiguousarray(array).tobytes()).hexdigest()


def _make_env(job: Job, num_envs: int, num_threads: int, **options: object) -> FootballVectorEnv:
    return FootballVectorEnv(
        job.scenario,
        num_envs,
        left=job.left,
        right=job.right,
        action_set=job.action_set,
        rewards=job.rewards.split(","),
        num_threads=num_threads,
        **options,
    )


def _compare_batch(batch: Sequence[Job], their_traces: Sequence[Trace], *, num_threads: int) -> list[Row]:
    """Plays jobs that differ in seeds and actions only as one batch; state and all observations at every step."""
    env = _make_env(batch[0], len(batch), num_threads, auto_reset=False)
    views = _Views(env, batch[0])
    followers = [_Follower(job, trace) for job, trace in zip(batch, their_traces, strict=True)]
    actions = np.array([job.actions for job in batch], np.int32)  # [B, T, N]

    def follow(rows: np.ndarray, observation: np.ndarray, last: np.ndarray, *, first: bool) -> None:
        views.update(rows, first=first)
        for index in rows:
            if followers[index].difference is None:
                state = functools.partial(env.simulator.get_engine_state, index)
                followers[index].check_observation(views.get(index, observation), state, last=bool(last[index]))

    everyone, nobody = np.arange(len(batch)), np.zeros(len(batch), bool)
    observation, _ = env.reset(seed=[job.seeds[0] for job in batch])
    follow(everyone, observation, nobody, first=True)
    for step in range(actions.shape[1]):
        observation, reward, terminated, truncated, info = env.step(actions[:, step])
        ended = terminated | truncated
        rewards = reward.reshape(len(batch), -1)
        for index, follower in enumerate(followers):
            if follower.difference is None:
                goals = env.simulator.reward[index]
                follower.check_step({"reward": rewards[index], "score_reward": goals, "done": ended[index]})
        follow(everyone, observation, ended, first=False)
        if ended.any():
            observation, _ = env.reset(options={"reset_mask": ended.copy()})
            follow(np.flatnonzero(ended), observation, nobody, first=True)
        if all(follower.done for follower in followers):
            break
    env.close()
    return [follower.row for follower in followers]


def _compare_wrappers(job: Job, trace: Trace) -> Row:
    """Our environment as users have it, with resets inside the step, against upstream's whole stack of wrappers."""
    ours = {"simple115v2": "simple115v2", "extracted": "smm"}[job.representation]
    env = _make_env(job, 1, 1, observation=ours, stack=4 if job.stacked else 1)
    follower = _Follower(job, trace)
    observation, _ = env.reset(seed=job.seeds[0])
    follower.check_observation({"observation_sha": _sha(observation[0])}, bytes, last=False)
    for actions in np.array(job.actions, np.int32):
        observation, reward, terminated, truncated, info = env.step(actions[None])
        ended = bool(terminated[0] or truncated[0])
        goals = env.simulator.reward[0]
        follower.check_step({"reward": reward.reshape(-1), "score_reward": goals, "done": np.bool_(ended)})
        if ended:
            follower.check_observation({"observation_sha": _sha(info["final_obs"][0])}, bytes, last=True)
        follower.check_observation({"observation_sha": _sha(observation[0])}, bytes, last=False)
        if follower.difference:
            break
    env.close()
    return follower.row


# ---------------------------------------------------------------------------------------- full: threads, snapshots


def _on_threads(python: Path, scenarios: Sequence[str] | None, report: Progress) -> list[Row]:
    """Eight matches a scenario, stepped as one batch on four threads, each against a run of its own upstream."""
    rows = []
    for scenario in (_MATCH, _THREE, "academy_corner"):
        if scenarios and scenario not in scenarios:
            continue
        report(f"comparing {scenario} on threads", 0.0)
        batch = [make_job(scenario, 500 + n, 300, mix="shooting", observations=("simple115v2",)) for n in range(8)]
        batch = [replace(job, what=f"{job.what}, match {n} of 8 on 4 threads") for n, job in enumerate(batch)]
        rows += _compare_batch(batch, list(traces(python, batch, report)), num_threads=4)
    return rows


def _states_to_and_fro(python: Path, scenarios: Sequence[str] | None, report: Progress) -> list[Row]:
    """A state taken from upstream and continued in ours; a state taken from ours and continued in upstream."""
    rows = []
    cases = ((_MATCH, 61, 150, "random"), (_THREE, 62, 15, "built-in AI"), ("5_vs_5", 63, 100, "shooting"))
    for scenario, seed, at, mix in cases:
        if scenarios and scenario not in scenarios:
            continue
        report(f"handing over states of {scenario}", 0.0)
        job = make_job(scenario, seed, 300, mix=mix, action_set="v2", observations=(), keep=at)
        job = replace(job, what=f"{job.what}, upstream's state of step {at} continued in ours")
        rows.append(_continue_theirs(job, next(traces(python, [job], report))))
        with tempfile.TemporaryDirectory() as folder:
            rows.append(_continue_ours(replace(job, keep=-1), at, Path(folder) / "state", python, report))
    return rows


def _follow_bare(simulator: EngineSimulator, follower: _Follower, actions: np.ndarray) -> Row:
    """Follows a trace to the end of an episode without rewards and ends: an engine state does not hold those."""
    job = follower.job
    for step in actions:
        simulator.step(step[None])
        last = bool(follower.trace.columns["done"][follower.step])
        follower.check_step({})
        raw = [raw_observation(simulator.state, 0, agent, job.left) for agent in range(job.left + job.right)]
        values = {"active": np.stack([np.asarray(one.pop("active")) for one in raw])}
        values["sticky_actions"] = np.stack([one.pop("sticky_actions") for one in raw])
        values |= {f"left/{name}": value for name, value in raw[0].items()}
        follower.check_observation(values, functools.partial(simulator.get_engine_state, 0), last=last)
        if last or follower.difference:
            break
    return follower.row


def _bare_simulator(job: Job) -> EngineSimulator:
    scenario = scenario_room.load(job.scenario)
    return EngineSimulator(scenario, 1, left=job.left, right=job.right, auto_reset=False)


def _continue_theirs(job: Job, trace: Trace) -> Row:
    simulator = _bare_simulator(job)
    simulator.reset(seeds=np.array([job.seeds[0] + 1000]))
    if trace.columns["done"][: job.keep + 1].any():
        return _row(job, trace, 0, 0, f"the episode ended before step {job.keep}: choose another seed")
    simulator.set_engine_state(0, trace.columns["kept"][0].tobytes())
    follower = _Follower(job, trace, observation=job.keep + 2, step=job.keep + 1)
    row = _follow_bare(simulator, follower, np.array(job.actions[job.keep + 1 :], np.int32))
    simulator.close()
    return row


def _continue_ours(job: Job, at: int, path: Path, python: Path, report: Progress) -> Row:
    simulator = _bare_simulator(job)
    simulator.reset(seeds=np.array(job.seeds[:1]))
    actions = np.array(job.actions, np.int32)
    for step in actions[: at + 1]:
        simulator.step(step[None])
    path.write_bytes(simulator.get_engine_state(0))
    rest = dataclasses.replace(
        job,
        actions=job.actions[at + 1 :],
        seeds=(job.seeds[0] + 1000,),
        start=str(path),
        what=job.what.replace("upstream's", "our").replace("in ours", "in upstream's"),
    )
    trace = next(traces(python, [rest], report))
    follower = _Follower(rest, trace, observation=1)
    row = _follow_bare(simulator, follower, actions[at + 1 :])
    simulator.close()
    return row
