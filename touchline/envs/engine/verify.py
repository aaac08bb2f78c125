"""`touchline engine verify`: our engine against upstream's own package (`upstream.py`), played live on this machine.

Every job (`verify_jobs.py`) that upstream has played is played again by our environments, and what comes out is
compared to the last bit: raw dicts, simple115v2, mini maps and stacks of them, both rewards, ends, and the engine's
whole state after every step, but for the bytes of it that upstream never wrote.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import os
import pickle
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from touchline import scenarios as scenario_room
from touchline.envs.engine import build, speedups
from touchline.envs.engine.build import Progress
from touchline.envs.engine.engine import EngineSimulator
from touchline.envs.engine.state_fields import field_of
from touchline.envs.engine.upstream import (
    Trace,
    digest,
    find_upstream_python,
    played_twice,
    same,
    traces,
    unpacked_states,
    upstream_python,
)
from touchline.envs.engine.verify_jobs import LEVELS, MATCH, THREE, Job, jobs, make_job
from touchline.envs.observations import SuperMiniMap, raw_observation
from touchline.envs.stacking import FrameStack
from touchline.envs.vector_env import FootballVectorEnv


@dataclass(frozen=True)
class Row:
    """The outcome of one job.

    Attributes:
        scenario: what was played; what: how.
        steps: environment steps compared; states: whole engine states compared.
        goals, episodes: what happened in them.
        masked: bytes of the states that upstream itself never wrote.
        difference: the first one (where, upstream's value, ours), or None.
        place: if it is one of the state, the number of the observation and of the byte.
        field: the engine's field that this byte belongs to.
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
    place: tuple[int, int] | None = None
    field: str = ""
    culprit: str = ""

    @property
    def ok(self) -> bool:
        """No difference."""
        return self.difference is None

    def __str__(self) -> str:
        text = f"{self.scenario}: {self.what}: {self.steps} steps, {self.states} states"
        return text if self.ok else "; ".join(filter(None, (f"{text}: {self.difference}", self.field, self.culprit)))


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
        if name not in scenario_room.names(gfootball=True):
            raise ValueError(f"no {name!r} in scenarios; there are {', '.join(scenario_room.names(gfootball=True))}")
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
            field = field_of(job, *rows[-1].place, report) if rows[-1].place else ""
            rows[-1] = replace(rows[-1], field=field, culprit=_culprit(job, report))
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


def _row(
    job: Job, trace: Trace, steps: int, states: int, difference: str | None, place: tuple[int, int] | None = None
) -> Row:
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
        place=place,
    )


class _Follower:
    """Walks along one trace and remembers the first difference."""

    def __init__(self, job: Job, trace: Trace, observation: int = 0, step: int = 0) -> None:
        self.job, self.trace = job, trace
        self.observation, self.step = observation, step  # of the trace, to be compared next
        self.steps = self.states = 0  # compared
        self.difference: str | None = None
        self.place: tuple[int, int] | None = None

    @property
    def done(self) -> bool:
        """There is nothing left to compare."""
        return self.difference is not None or self.step >= len(self.trace.columns["done"])

    @property
    def row(self) -> Row:
        """The outcome."""
        return _row(self.job, self.trace, self.steps, self.states, self.difference, self.place)

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
        if self.difference is None and not same(upstream, np.asarray(ours)):
            self.difference = f"{self._place}: {name}: {_values(upstream, np.asarray(ours))}"

    def _check_state(self, ours: np.ndarray, last: bool) -> None:
        columns, index = self.trace.columns, self.observation
        if self.difference is not None:
            return
        size = int(columns["state_size"][index])
        if len(ours) != size:
            self.difference = f"{self._place}: state: upstream {size} bytes, ours {len(ours)}"
        elif digest(ours, self.trace.masked(index))[last] != columns["state_digest"][index][int(last)]:
            byte, words = _differing_bytes(self.job, index, ours)
            self.difference, self.place = f"{self._place}: state: {words}", (index, byte)
        else:
            self.states += 1

    @property
    def _place(self) -> str:
        done = self.trace.columns["done"][: max(self.step - 1, 0)]
        return f"step {self.step} of the run, episode {int(done.sum())}"


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


def _differing_bytes(job: Job, index: int, ours: np.ndarray) -> tuple[int, str]:
    """The first byte of state `index` that differs, and words for them all.

    Upstream plays the job again, since traces keep only digests of states.
    """
    python = find_upstream_python()
    with played_twice(python, [job]) as ((first, second),):
        for number, (a, b) in enumerate(zip(unpacked_states(first), unpacked_states(second), strict=True)):
            if number == index:
                places = np.flatnonzero((a == b) & (a != ours))
                break
    at = int(places[0]) if len(places) else 0
    around = slice(max(at - 8, 0), at + 8)
    return at, (
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
    for scenario in (MATCH, THREE, "academy_corner"):
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
    cases = ((MATCH, 61, 150, "random"), (THREE, 62, 15, "built-in AI"), ("5_vs_5", 63, 100, "shooting"))
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
