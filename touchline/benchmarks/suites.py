"""Suites: many trainings of one purpose, each with a frozen evaluation; stopped, they go on at the next call."""

from __future__ import annotations

import csv
import json
import statistics
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
    """Variants times drills times seeds, and how each run is judged; chosen before any result is looked at.

    Attributes:
        variants: {name: fields of `TrainConfig`}; an agent's own preset fills in the rest.
        total_steps: {scenario: environment steps of a run}.
        seeds: of the runs; seed 0 of everything comes first.
        episodes: of the frozen evaluation, on seeds that training never draws.
        about: one sentence for people.
    """

    variants: dict[str, dict[str, Any]]
    total_steps: dict[str, int]
    seeds: tuple[int, ...]
    episodes: int = 200
    about: str = ""

    def runs(self, out: Path | str) -> Iterator[TrainConfig]:
        """The configs of all runs; they lie in OUT/SCENARIO/VARIANT-SEED."""
        for seed in self.seeds:
            for scenario, steps in self.total_steps.items():
                for name, fields in self.variants.items():
                    yield TrainConfig(
                        scenario=scenario,
                        total_steps=steps,
                        seed=seed,
                        out=str(folder_of(out, scenario, name, seed)),
                        checkpoint_interval=250_000,
                        **fields,
                    )


SUITES = {
    "agents": Suite(
        variants={name: {"agent": name} for name in ("ppo", "impala", "apex_dqn")},
        total_steps={
            "academy_empty_goal_close": 300_000,
            "academy_run_to_score_with_keeper": 2_000_000,
            "academy_3_vs_1_with_keeper": 3_000_000,
        },
        seeds=(0, 1, 2),
        about="Our three agents with their own presets on three drills, one controlled player. The presets of IMPALA "
        "and Ape-X were chosen on seeds 100 and 101 of the first two drills, in runs of 150,000 to 1,000,000 steps.",
    ),
    "ppo_ablations": Suite(
        variants={
            "ppo": {"agent": "ppo"},
            "advantages_once": {"agent": "ppo", "agent_config": {"recompute_advantages": False}},
            "large_policy_head": {"agent": "ppo", "agent_config": {"policy_head_gain": 1.0}},
            "shuffled_advantages": {"agent": "ppo", "agent_config": {"shuffle_advantages": True}},
        },
        total_steps={"academy_empty_goal_close": 100_000},
        seeds=(0, 1, 2, 3, 4),
        about="What the advice of Andrychowicz et al. 2021 is worth in the demo; shuffled advantages must fail.",
    ),
}


def load(name: str) -> Suite:
    """A suite by name; a wrong name says what exists."""
    if name not in SUITES:
        raise ValueError(f"no {name!r} in suites; there are {', '.join(sorted(SUITES))}")
    return SUITES[name]


def folder_of(out: Path | str, scenario: str, variant: str, seed: int) -> Path:
    """Where a run of a suite lies."""
    return Path(out, scenario, f"{variant}-{seed}")


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
    for config in suite.runs(out):
        folder = Path(config.out)
        if is_done(folder):
            continue
        run = training.resume if (folder / "checkpoint.pt").exists() else training.train
        result = run(folder if run is training.resume else config, make_envs=make_envs, trackers=trackers(config))
        if result["interrupted"]:
            return
        judge(folder, config, suite.episodes)
        yield config, folder


def evaluate_run(folder: Path, config: TrainConfig, episodes: int) -> None:
    """Plays the frozen, greedy policy of a run on held-out seeds and writes its eval.json."""
    result = evaluate.evaluate(folder, config.scenario, episodes=episodes)
    evaluate.write_json([result], folder / "eval.json")


def table(suite: Suite, out: Path | str) -> str:
    """Every seed in Markdown: a line a drill and variant, and the runs that are still missing."""
    lines = ["| drill | agent | steps | frozen policy, success of each seed, % [95%] | mean success in training, % |"]
    lines.append("|---|---|---|---|---|")
    for scenario, steps in suite.total_steps.items():
        for variant in suite.variants:
            folders = [folder_of(out, scenario, variant, seed) for seed in suite.seeds]
            frozen = ", ".join(_success(folder) if is_done(folder) else "not run yet" for folder in folders)
            curves = ", ".join(f"{100 * _mean_success(folder):.1f}" for folder in folders if is_done(folder))
            lines.append(f"| `{scenario}` | {variant} | {steps:,} | {frozen} | {curves} |")
    return "\n".join(lines) + "\n"


def _mean_success(folder: Path) -> float:
    """Of the last 100 training episodes at every update, averaged over the run: the area under the learning curve."""
    with (folder / "metrics.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row.get("episode/success_rate")]
    return statistics.fmean(float(row["episode/success_rate"]) for row in rows)


def _success(folder: Path) -> str:
    first = json.loads((folder / "eval.json").read_text())["results"][0]
    rate = first["metrics"]["score/success_rate"]
    return f"{100 * rate['value']:.1f} [{100 * rate['low']:.1f}, {100 * rate['high']:.1f}]"
