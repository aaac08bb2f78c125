"""What controlled players cost: the vector environment beside the bare engine loop, with 1 to 22 of them.

The bare loop is the C++ driver stepping the same number of matches with the same number of controlled players on the
same threads; what the environment adds is observations, rewards, statistics and Python. Both are measured in turn,
round by round, with random actions; an overhead is the median of the rounds' own.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from touchline.benchmarks.throughput import POOL, machine_name
from touchline.processes import usable_cores

CASES = (
    ("academy_3_vs_1_with_keeper", 1, 0),
    ("academy_3_vs_1_with_keeper", 3, 0),
    ("5_vs_5", 4, 4),
    ("11_vs_11_easy_stochastic", 11, 11),
)
"""(scenario, controlled players on the left, on the right)."""

MOST = {"11_vs_11_easy_stochastic 11+11": 0.10}
"""Wall time that the environment may add to the bare loop's."""


class _Stepped:
    """Matches stepped by the bare driver, or through the whole vector environment."""

    def __init__(self, case: tuple[str, int, int], num_envs: int, num_threads: int, *, bare: bool) -> None:
        import touchline

        scenario, left, right = case
        options = {"left": left, "right": right, "control": "fixed", "reset_pool": POOL, "num_threads": num_threads}
        self.envs = touchline.make_vec(scenario, num_envs, observation="simple115v2", **options)
        players = left + right
        self._actions = np.random.default_rng(0).integers(0, 19, (512, num_envs, players)).astype(np.int32)
        single = players == 1 and not bare
        self._step = self.envs.simulator.step if bare else self.envs.step
        self._actions = self._actions[..., 0] if single else self._actions
        self._at = 0

    def warm_up(self) -> None:
        """Starts the matches, compiles, fills the pool of start states."""
        self.envs.reset(seed=0)
        self.measure(1.0)

    def measure(self, seconds: float) -> float:
        """Microseconds of wall time a step of all matches."""
        steps, started = 0, time.perf_counter()
        while (wall := time.perf_counter() - started) < seconds:
            self._step(self._actions[self._at % len(self._actions)])
            self._at, steps = self._at + 1, steps + 1
        return 1e6 * wall / steps


@dataclass
class PlayerReport:
    """Measured times by case, round by round, in microseconds a step of all matches."""

    machine: str
    num_envs: int
    num_threads: int
    bare: dict[str, list[float]] = field(default_factory=dict)
    vector: dict[str, list[float]] = field(default_factory=dict)

    def overhead(self, case: str) -> float:
        """Share of the bare loop's wall time that the environment adds."""
        return statistics.median(v / b for v, b in zip(self.vector[case], self.bare[case], strict=True)) - 1

    def markdown(self) -> str:
        """The table as Markdown."""
        lines = [
            f"Machine: {self.machine}. {self.num_envs} matches on {self.num_threads} threads, simple115v2, "
            f"control=fixed, random actions, reset_pool={POOL}, medians.",
            "",
            "| scenario and controlled players | bare loop, env steps/s | vector env, env steps/s | player steps/s | "
            "wall time added | at most |",
            "|---|---:|---:|---:|---:|---:|",
        ]
        for case in self.bare:
            bare, vector = (1e6 * self.num_envs / statistics.median(times[case]) for times in (self.bare, self.vector))
            players = sum(map(int, case.rpartition(" ")[2].split("+")))
            bar = f"{100 * MOST[case]:.0f}%" if case in MOST else ""
            lines.append(
                f"| {case} | {bare:.0f} | {vector:.0f} | {vector * players:.0f} | "
                f"{100 * self.overhead(case):.1f}% | {bar} |"
            )
        return "\n".join(lines) + "\n"

    def write(self, folder: Path) -> None:
        """Writes players.json and players.md."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "players.json").write_text(json.dumps(asdict(self), indent=1) + "\n")
        (folder / "players.md").write_text(self.markdown())


def measure(
    *,
    cases: tuple[tuple[str, int, int], ...] = CASES,
    num_envs: int = 16,
    num_threads: int | None = None,
    rounds: int = 5,
    seconds: float = 4.0,
    progress: Callable[[str, float], None] | None = None,
) -> PlayerReport:
    """Measures all cases; see the module's text for how."""
    threads = num_threads or usable_cores()
    report = PlayerReport(machine_name(), num_envs, threads)
    for index, case in enumerate(cases):
        name = f"{case[0]} {case[1]}+{case[2]}"
        bare, vector = (_Stepped(case, num_envs, threads, bare=bare) for bare in (True, False))
        report.bare[name], report.vector[name] = [], []
        bare.warm_up()
        vector.warm_up()
        for done in range(rounds):
            if progress:
                progress(name, (index + done / rounds) / len(cases))
            report.bare[name].append(bare.measure(seconds))
            report.vector[name].append(vector.measure(seconds))
        bare.envs.close()
        vector.envs.close()
    return report
