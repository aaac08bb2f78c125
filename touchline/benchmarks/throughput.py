"""Environment steps per second of our environments, the bare engine loop and the peers, side by side in one run.

Every candidate is measured once a round and the rounds alternate, so that what else the machine does falls on all
alike; a ratio is the median of the rounds' own ratios. Actions are random, episodes are reset as they end, and the
first steps (compilation, filling the pool of start states) are not counted. Peers that are not installed are skipped
with a word: upstream needs `touchline engine verify` to have been run, EnvPool the package `envpool`.
"""

from __future__ import annotations

import importlib.util
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np

from touchline.processes import usable_cores

POOL = 32
"""Start states in the pool of every candidate that has one."""

BARE, STOCK = "bare C++ loop, 1 engine", "stock engine, inside upstream's env"


class Candidate(Protocol):
    """Something that can be asked to step for a while."""

    def measure(self, seconds: float) -> float:
        """Environment steps per second of wall time over about `seconds`."""

    def close(self) -> None:
        """Frees it."""


class BareLoop:
    """One engine stepped by a C++ loop on one thread: what the hardware gives, nothing handed out."""

    def __init__(self, scenario: str) -> None:
        import touchline

        self._envs = touchline.make_vec(scenario, 1, num_threads=1, reset_pool=POOL)
        self._envs.reset(seed=0)
        self._steps = 200
        self._envs.simulator.bare_loop(POOL * 60, seed=1)

    def measure(self, seconds: float) -> float:
        steps, wall, seed = 0, 0.0, 2
        while wall < seconds:
            wall += self._envs.simulator.bare_loop(self._steps, seed)[1]
            steps, seed = steps + self._steps, seed + 1
        return steps / wall

    def close(self) -> None:
        self._envs.close()


class VectorEnv:
    """Our vector environment."""

    def __init__(self, scenario: str, num_envs: int, num_threads: int, **options: object) -> None:
        import touchline

        self._envs = touchline.make_vec(scenario, num_envs, num_threads=num_threads, reset_pool=POOL, **options)
        self._envs.reset(seed=0)
        self._actions = np.random.default_rng(0).integers(0, 19, (4096, num_envs)).astype(np.int32)
        self._at = 0
        self._run(POOL * 60)

    def _run(self, steps: int) -> None:
        for _ in range(max(1, steps // self._envs.num_envs)):
            self._envs.step(self._actions[self._at % len(self._actions)])
            self._at += 1

    def measure(self, seconds: float) -> float:
        steps, started = 0, time.perf_counter()
        while (wall := time.perf_counter() - started) < seconds:
            self._run(self._envs.num_envs)
            steps += self._envs.num_envs
        return steps / wall

    def close(self) -> None:
        self._envs.close()


class SingleEnv:
    """Our Gymnasium environment."""

    def __init__(self, scenario: str, **options: object) -> None:
        from touchline.envs.football_env import FootballEnv

        self._env = FootballEnv(scenario, reset_pool=POOL, **options)
        self._env.reset(seed=0)
        self._actions = np.random.default_rng(0).integers(0, 19, 4096).tolist()
        self._at = 0
        self._run(POOL * 60)

    def _run(self, steps: int) -> None:
        for _ in range(steps):
            _, _, terminated, truncated, _ = self._env.step(self._actions[self._at % len(self._actions)])
            self._at += 1
            if terminated or truncated:
                self._env.reset()

    def measure(self, seconds: float) -> float:
        steps, started = 0, time.perf_counter()
        while (wall := time.perf_counter() - started) < seconds:
            self._run(20)
            steps += 20
        return steps / wall

    def close(self) -> None:
        self._env.close()


class Peer:
    """A peer in a process of its own: it answers each line with seconds by a line with steps per second."""

    def __init__(self, python: Path | str, code: str, *arguments: object) -> None:
        command = [str(python), "-W", "ignore", "-c", code, *map(str, arguments)]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        self._answer()

    def _answer(self) -> float:
        # Peers print words of their own; answers are marked.
        for line in self._process.stdout:
            if line.startswith("answer "):
                return float(line.split()[1])
        raise RuntimeError("a peer's process died")

    def measure(self, seconds: float) -> float:
        self._process.stdin.write(f"{seconds}\n")
        self._process.stdin.flush()
        return self._answer()

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()


_PEER_LOOP = """
import sys, time
def serve(step, count):
    for _ in range(40): step()
    print("answer 0", flush=True)
    for line in sys.stdin:
        steps, started = 0, time.perf_counter()
        while (wall := time.perf_counter() - started) < float(line):
            step()
            steps += count
        print("answer", steps / wall, flush=True)
"""

_UPSTREAM = (
    _PEER_LOOP
    + """
import numpy as np
import gfootball.env as football
env = football.create_environment(env_name=sys.argv[1], representation="simple115v2", rewards="scoring",
                                  other_config_options={"game_engine_random_seed": 0})
env.reset()
rng = np.random.default_rng(0)
def step():
    if env.step(int(rng.integers(19)))[2]:
        env.reset()
serve(step, 1)
"""
)

# The time inside upstream's engine alone, whatever its Python layer adds: what a stock build gives.
_STOCK = (
    _PEER_LOOP.replace("time.perf_counter()", "clock()")
    + """
import numpy as np
import gfootball.env as football
inside = 0.0
def clock():
    return inside
class Timed:
    def __init__(self, engine):
        self.__dict__["engine"] = engine
    def __getattr__(self, name):
        return getattr(self.engine, name)
    def __setattr__(self, name, value):
        setattr(self.engine, name, value)
    def timed(self, call, *arguments):
        global inside
        started = time.perf_counter()
        result = call(*arguments)
        inside += time.perf_counter() - started
        return result
    def perform_action(self, *arguments):
        return self.timed(self.engine.perform_action, *arguments)
    def step(self):
        return self.timed(self.engine.step)
env = football.create_environment(env_name=sys.argv[1], representation="raw", rewards="scoring",
                                  other_config_options={"game_engine_random_seed": 0})
env.reset()
core = env.unwrapped._env
core._env = Timed(core._env)
rng = np.random.default_rng(0)
def step():
    if env.step(int(rng.integers(19)))[2]:
        engine, core._env = core._env, core._env.engine
        env.reset()
        core._env = engine
serve(step, 1)
"""
)

_ENVPOOL = (
    _PEER_LOOP
    + """
import numpy as np
import envpool
count, threads = int(sys.argv[2]), int(sys.argv[3])
env = envpool.make(f"gfootball/{sys.argv[1]}-v1", env_type="gymnasium", num_envs=count, num_threads=threads, seed=0)
env.reset()
rng = np.random.default_rng(0)
def step():
    env.step(rng.integers(0, 19, count).astype(np.int32))
serve(step, count)
"""
)


# One process: memory of further engines, then the time of a true reset and of one from the pool.
_COSTS = """
import sys, time
import numpy as np
import touchline
def resident():
    return int(open("/proc/self/statm").read().split()[1]) * 4096 / 2**20
def engine(pool):
    envs = touchline.make_vec(sys.argv[1], 1, num_threads=1, reset_pool=pool, auto_reset=False)
    envs.reset(seed=0)
    for _ in range(200): envs.simulator.step(np.zeros((1, 1), np.int32))
    return envs
def reset_ms(envs, times):
    mask, spent = np.ones(1, bool), []
    for _ in range(times):
        started = time.perf_counter()
        envs.simulator.reset(mask)
        spent.append(1000 * (time.perf_counter() - started))
    return float(np.median(spent))
kept = [engine(0)]
before = resident()
kept += [engine(0) for _ in range(8)]
memory = (resident() - before) / 8
true = reset_ms(kept[0], 100)
pooled = engine(2)
reset_ms(pooled, 100)
print(memory, true, reset_ms(pooled, 300))
"""


class Costs(NamedTuple):
    """What a further engine costs in memory, and resets in time."""

    engine_mib: float
    true_reset_ms: float
    pool_reset_ms: float


COST_BARS = Costs(70.0, 3.0, 0.1)
"""What we want of an 11 against 11 match at most."""


def costs(scenario: str) -> Costs:
    """Measures `Costs` in a process of its own."""
    command = [sys.executable, "-W", "ignore", "-c", _COSTS, scenario]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return Costs(*map(float, done.stdout.split()[-3:]))


class Ratio(NamedTuple):
    """What is compared: the speed of `of` over `times` that of `over`; `bars` are what we want, by scenario."""

    what: str
    of: str
    over: str
    times: float
    bars: dict[str, float]


def _ratios(num_threads: int) -> tuple[Ratio, ...]:
    match, drill, duel = "11_vs_11_easy_stochastic", "academy_3_vs_1_with_keeper", "academy_empty_goal_close"
    return (
        Ratio("engine / stock engine", BARE, STOCK, 1, {match: 5.0, drill: 5.0, duel: 5.0}),
        Ratio(
            f"vector simple115v2 / {num_threads} x bare loop",
            "vector simple115v2",
            BARE,
            num_threads,
            {match: 0.93, drill: 0.9},
        ),
        Ratio("vector smm / vector simple115v2", "vector smm", "vector simple115v2", 1, {match: 0.9, drill: 0.9}),
        Ratio("Gymnasium env / upstream env", "Gymnasium env", "upstream env", 1, {match: 6.0, drill: 3.0}),
        Ratio("vector smm / EnvPool smm", "vector smm", "EnvPool smm", 1, {match: 6.5, drill: 8.0}),
    )


@dataclass
class Report:
    """Measured speeds by scenario and candidate, and how they compare."""

    machine: str
    num_envs: int
    num_threads: int
    seconds: float
    speeds: dict[str, dict[str, list[float]]] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    costs: dict[str, Costs] = field(default_factory=dict)

    def ratio(self, scenario: str, ratio: Ratio) -> float | None:
        """Median over the rounds, or None where a side was not measured."""
        speeds = self.speeds[scenario]
        if ratio.of not in speeds or ratio.over not in speeds:
            return None
        pairs = zip(speeds[ratio.of], speeds[ratio.over], strict=True)
        return statistics.median(a / (ratio.times * b) for a, b in pairs)

    def markdown(self) -> str:
        """The tables as Markdown."""
        lines = [
            f"Machine: {self.machine}. {self.num_envs} environments on {self.num_threads} threads, random actions, "
            f"reset_pool={POOL}, median of {self._rounds} rounds of {self.seconds:g} s (lowest to highest).",
            "",
            "| scenario | candidate | env steps/s |",
            "|---|---|---|",
        ]
        for scenario, speeds in self.speeds.items():
            for name, values in speeds.items():
                spread = f"{min(values):.0f} to {max(values):.0f}"
                lines.append(f"| {scenario} | {name} | {statistics.median(values):.0f} ({spread}) |")
        lines += ["", "| scenario | ratio | measured | wanted |", "|---|---|---|---|"]
        for scenario in self.speeds:
            for ratio in _ratios(self.num_threads):
                measured = self.ratio(scenario, ratio)
                bar = ratio.bars.get(scenario)
                shown = "not measured" if measured is None else f"{measured:.2f}"
                lines.append(f"| {scenario} | {ratio.what} | {shown} | {'' if bar is None else f'≥ {bar}'} |")
        lines += [
            "",
            "| scenario | MiB a further engine | ms a true reset | ms a reset from the pool |",
            "|---|---|---|---|",
        ]
        for scenario, cost in self.costs.items():
            lines.append(f"| {scenario} | {cost[0]:.1f} | {cost[1]:.2f} | {cost[2]:.3f} |")
        lines.append(f"| wanted, at most | {COST_BARS[0]:g} | {COST_BARS[1]:g} | {COST_BARS[2]:g} |")
        lines += [f"\nSkipped: {name} ({why})." for name, why in self.skipped.items()]
        return "\n".join(lines)

    @property
    def _rounds(self) -> int:
        return max((len(values) for speeds in self.speeds.values() for values in speeds.values()), default=0)

    def write(self, folder: Path) -> None:
        """Writes throughput.json and throughput.md."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "throughput.json").write_text(json.dumps(asdict(self), indent=1) + "\n")
        (folder / "throughput.md").write_text(self.markdown() + "\n")


def machine_name() -> str:
    """Processor model and number of cores."""
    model = platform.processor() or platform.machine()
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                model = line.split(":", 1)[1].strip()
                break
    except OSError:
        pass
    return f"{model}, {os.cpu_count()} cores"


def measure(
    scenarios: Sequence[str],
    *,
    num_envs: int = 16,
    num_threads: int | None = None,
    rounds: int = 5,
    seconds: float = 4.0,
    progress: Callable[[str, float], None] | None = None,
) -> Report:
    """Measures all candidates on the scenarios; see the module's text for how."""
    if rounds < 1 or not seconds > 0:
        raise ValueError(f"expected at least one round, of more than 0 seconds, got {rounds} of {seconds}")
    threads = num_threads or usable_cores()
    report = Report(machine_name(), num_envs, threads, seconds)
    for index, scenario in enumerate(scenarios):
        makers = _makers(scenario, num_envs, threads, report.skipped)
        candidates = {name: make() for name, make in makers.items()}
        speeds: dict[str, list[float]] = {name: [] for name in candidates}
        for done in range(rounds):
            for name, candidate in candidates.items():
                if progress:
                    progress(f"{scenario}: {name}", (index + done / rounds) / len(scenarios))
                speeds[name].append(candidate.measure(seconds))
        for candidate in candidates.values():
            candidate.close()
        report.speeds[scenario] = speeds
        report.costs[scenario] = costs(scenario)
    return report


def _makers(scenario: str, num_envs: int, threads: int, skipped: dict[str, str]) -> dict[str, Callable[[], Candidate]]:
    makers: dict[str, Callable[[], Candidate]] = {
        BARE: lambda: BareLoop(scenario),
        "vector simple115v2": lambda: VectorEnv(scenario, num_envs, threads),
        "vector smm": lambda: VectorEnv(scenario, num_envs, threads, observation="smm"),
        "Gymnasium env": lambda: SingleEnv(scenario),
    }
    from touchline.envs.engine.upstream import find_upstream_python

    upstream = find_upstream_python()
    if upstream is None:
        skipped["upstream env"] = skipped[STOCK] = "not built here; `touchline engine verify` builds it"
    else:
        makers[STOCK] = lambda: Peer(upstream, _STOCK, scenario)
        makers["upstream env"] = lambda: Peer(upstream, _UPSTREAM, scenario)
    if importlib.util.find_spec("envpool") is None:
        skipped["EnvPool smm"] = "the package envpool is not installed"
    else:
        makers["EnvPool smm"] = lambda: Peer(sys.executable, _ENVPOOL, scenario, num_envs, threads)
    return makers
