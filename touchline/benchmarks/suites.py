"""Suites: many trainings of one purpose, each with a frozen evaluation; stopped, they go on at the next call."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from touchline import training
from touchline.benchmarks import evaluate
from touchline.tracking import Tracker
from touchline.train_config import TrainConfig


@dataclass(frozen=True)
class Suite:
    """Agents times drills times seeds, and how each run is judged; chosen before any result is looked at.

    Attributes:
        agents: names of agents, trained with their own presets.
        total_steps: {scenario: environment steps of a run}.
        seeds: of the runs; seed 0 of everything comes first.
        episodes: of the frozen evaluation, on seeds that training never draws.
        about: one sentence for people.
    """

    agents: tuple[str, ...]
    total_steps: dict[str, int]
    seeds: tuple[int, ...]
    episodes: int = 200
    about: str = ""

    def runs(self) -> Iterator[TrainConfig]:
        """The configs of all runs, without folders."""
        for seed in self.seeds:
            for scenario, steps in self.total_steps.items():
                for agent in self.agents:
                    yield TrainConfig(scenario=scenario, agent=agent, total_steps=steps, seed=seed)


SUITES = {
    "agents": Suite(
        agents=("ppo", "impala", "apex_dqn"),
        total_steps={
            "academy_empty_goal_close": 300_000,
            "academy_run_to_score_with_keeper": 2_000_000,
            "academy_3_vs_1_with_keeper": 3_000_000,
        },
        seeds=(0, 1, 2),
        about="Our three agents with their own presets on three drills, one controlled player. The presets of IMPALA "
        "and Ape-X were chosen on seed 100 of the first two drills, in runs of 150,000 to 500,000 steps.",
    ),
}


def load(name: str) -> Suite:
    """A suite by name; a wrong name says what exists."""
    if name not in SUITES:
        raise ValueError(f"no {name!r} in suites; there are {', '.join(sorted(SUITES))}")
    return SUITES[name]


def folder_of(out: Path | str, config: TrainConfig) -> Path:
    """Where a run of a suite lies."""
    return Path(out, config.scenario, f"{config.agent}-{config.seed}")


def is_done(folder: Path) -> bool:
    """Trained to its end and evaluated."""
    return (folder / "eval.json").exists()


def run_suite(
    suite: Suite,
    out: Path | str,
    *,
    make_envs: Callable[[TrainConfig], Any] = training.make_envs,
    judge: Callable[[Path, TrainConfig, int], None] | None = None,
    trackers: Callable[[TrainConfig], Sequence[Tracker]] = lambda config: (),
) -> Iterator[tuple[TrainConfig, Path]]:
    """Makes every run that is not there yet, going on with one that was stopped; yields each when it is finished.

    Args:
        out: gets SCENARIO/AGENT-SEED/ a run.
        judge: writes a finished run's eval.json, given its folder, config and number of episodes.
        trackers: watch the training of a config.

    Ends early, without an error, when a training is interrupted.
    """
    judge = judge or evaluate_run
    for config in suite.runs():
        folder = folder_of(out, config)
        if is_done(folder):
            continue
        if (folder / "checkpoint.pt").exists():
            result = training.resume(folder, make_envs=make_envs, trackers=trackers(config))
        else:
            run = TrainConfig(
                scenario=config.scenario,
                agent=config.agent,
                total_steps=config.total_steps,
                seed=config.seed,
                out=str(folder),
                checkpoint_interval=250_000,
            )
            result = training.train(run, make_envs=make_envs, trackers=trackers(config))
        if result["interrupted"]:
            return
        judge(folder, config, suite.episodes)
        yield config, folder


def evaluate_run(folder: Path, config: TrainConfig, episodes: int) -> None:
    """Plays the frozen, greedy policy of a run on held-out seeds and writes its eval.json."""
    result = evaluate.evaluate(folder, config.scenario, episodes=episodes)
    evaluate.write_json([result], folder / "eval.json")


def table(suite: Suite, out: Path | str) -> str:
    """Success of every seed in Markdown: a line a drill and agent, and the runs that are still missing."""
    lines = ["| drill | agent | steps | success of each seed, % [95%] |", "|---|---|---|---|"]
    for scenario, steps in suite.total_steps.items():
        for agent in suite.agents:
            cells = []
            for seed in suite.seeds:
                folder = folder_of(out, TrainConfig(scenario=scenario, agent=agent, seed=seed))
                cells.append(_success(folder) if is_done(folder) else "not run yet")
            lines.append(f"| `{scenario}` | {agent} | {steps:,} | {', '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _success(folder: Path) -> str:
    first = json.loads((folder / "eval.json").read_text())["results"][0]
    rate = first["metrics"]["score/success_rate"]
    return f"{100 * rate['value']:.1f} [{100 * rate['low']:.1f}, {100 * rate['high']:.1f}]"
