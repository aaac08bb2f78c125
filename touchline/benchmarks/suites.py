"""Suites: many trainings of one purpose, each with a frozen evaluation; stopped, they go on at the next call."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from touchline import plugins, scenarios, training
from touchline.benchmarks import evaluate
from touchline.processes import claim
from touchline.run_folders import MetricsFile
from touchline.tracking import Tracker
from touchline.train_config import TrainConfig, sb3_name


@dataclass(frozen=True)
class Suite:
    """Variants times drills times seeds, and how each run is judged; chosen before any result is looked at.

    Attributes:
        variants: {name: fields of `TrainConfig`}; an agent's own preset fills in the rest.
        total_steps: {scenario: environment steps of a run}.
        seeds: of the runs; seed 0 of everything comes first.
        episodes: of the frozen evaluation, on seeds that training never draws.
        only: {variant: scenarios} of those that do not play all.
        at_most: {variant: environment steps} of those whose runs are shorter.
        seeds_of: {variant: seeds} of those that do not play all.
        yardsticks: scripted players who play the same held-out seeds beside a scenario's first finished run.
        averages: {heading: column of metrics.csv} that the table shows besides, averaged over a training.
        about: one sentence for people.
    """

    variants: dict[str, dict[str, Any]]
    total_steps: dict[str, int]
    seeds: tuple[int, ...]
    episodes: int = 200
    only: dict[str, tuple[str, ...]] = field(default_factory=dict)
    at_most: dict[str, int] = field(default_factory=dict)
    seeds_of: dict[str, tuple[int, ...]] = field(default_factory=dict)
    yardsticks: tuple[str, ...] = ()
    averages: dict[str, str] = field(default_factory=dict)
    about: str = ""

    def __post_init__(self) -> None:
        for variant, seeds in self.seeds_of.items():
            if others := set(seeds) - set(self.seeds):
                raise ValueError(f"seeds_of {variant}: {sorted(others)} are not among the suite's {self.seeds}")

    def plays(self, variant: str, scenario: str) -> bool:
        """There are runs of a variant on a scenario."""
        return scenario in self.only.get(variant, self.total_steps)

    def steps(self, variant: str, scenario: str) -> int:
        """Environment steps of a variant's runs on a scenario."""
        return min(self.total_steps[scenario], self.at_most.get(variant, self.total_steps[scenario]))

    def seeds_for(self, variant: str) -> tuple[int, ...]:
        """The seeds of a variant's runs."""
        return self.seeds_of.get(variant, self.seeds)

    def of(self, variants: Sequence[str]) -> Suite:
        """The same with some of its variants alone; a wrong name says which there are."""
        for name in variants:
            if name not in self.variants:
                raise ValueError(f"no variant {name!r} in this suite; there are {', '.join(self.variants)}")
        return replace(self, variants={name: self.variants[name] for name in variants})

    def within(self, budget: int) -> Suite:
        """The same with at most so many environment steps a run."""
        if budget < 1:
            raise ValueError(f"expected a budget of at least one environment step a run, got {budget}")
        return replace(self, total_steps={name: min(steps, budget) for name, steps in self.total_steps.items()})

    def runs(self, out: Path | str) -> Iterator[TrainConfig]:
        """The configs of all runs; they lie in OUT/SCENARIO/VARIANT-SEED."""
        for seed in self.seeds:
            for scenario in self.total_steps:
                for name, fields in self.variants.items():
                    if not self.plays(name, scenario) or seed not in self.seeds_for(name):
                        continue
                    yield TrainConfig(
                        scenario=scenario,
                        total_steps=self.steps(name, scenario),
                        seed=seed,
                        out=str(folder_of(out, scenario, name, seed)),
                        checkpoint_interval=250_000,
                        **fields,
                    )


def _ppo_before(**agent_config: Any) -> dict[str, Any]:
    """PPO as the preset `ppo_cpu` had it until the study `ppo_preset`, for studies that began with it."""
    return {"agent": "ppo", "agent_config": {"entropy_coef": 0.005, **agent_config}}


_SPARSE: dict[str, Any] = {"rewards": ("scoring",), "num_threads": 1, "torch_threads": 1}
"""Goals alone pay; one thread, so that a process takes one core."""

_ECO = {"episodic_curiosity": {"other_episodes": 0.2}}  # the default when the study was planned
_EC = {"episodic_curiosity": {"other_episodes": 0.2, "train": "offline", "random_steps": 50_000}}
_BONUSES: dict[str, dict[str, Any]] = {
    "ppo": {},
    "ec": {"bonus": ("episodic_curiosity",), "bonus_config": _EC},
    "eco": {"bonus": ("episodic_curiosity",), "bonus_config": _ECO},
    "icm": {"bonus": ("icm",)},
    "rnd": {"bonus": ("rnd",)},
    "count": {"bonus": ("count",)},
    "oracle": {"bonus": ("visit_oracle",)},
}
_CURIOSITY = {name: {**_ppo_before(), **_SPARSE, **fields} for name, fields in _BONUSES.items()}
_APEX: dict[str, Any] = {"agent": "apex_dqn", **_SPARSE}
_CURIOSITY_BESIDES = {
    "apex_dqn": _APEX,
    "apex_dqn_count": {**_APEX, "bonus": ("count",)},
    "apex_dqn_mulex_count": {**_APEX, "bonus": ("count",), "agent_config": {"mulex": "episode"}},
    "ppo_adaptive_td": {**_ppo_before(), **_SPARSE, "value_target": "adaptive_td"},
} | {
    f"{name}_noise": {**_CURIOSITY[name], "observation": "egocentric_noise"}
    for name in ("ppo", "ec", "eco", "icm", "rnd")
}
_ACADEMY = {
    "academy_empty_goal_close": 300_000,
    "academy_empty_goal": 500_000,
    "academy_run_to_score": 500_000,
    "academy_run_to_score_with_keeper": 1_000_000,
    "academy_pass_and_shoot_with_keeper": 2_000_000,
    "academy_run_pass_and_shoot_with_keeper": 2_000_000,
    "academy_3_vs_1_with_keeper": 2_000_000,
    "academy_corner": 1_000_000,
    "academy_counterattack_easy": 1_000_000,
    "academy_counterattack_hard": 1_000_000,
    "academy_single_goal_versus_lazy": 1_000_000,
}
_FIVE_DRILLS = (
    "academy_empty_goal_close",
    "academy_empty_goal",
    "academy_run_to_score",
    "academy_run_to_score_with_keeper",
    "academy_3_vs_1_with_keeper",
)
_COVERAGE = {
    "cells of 96 the player saw in an episode": "episode/player_cells",
    "the ball": "episode/ball_cells",
    "steps of an episode": "episode/length_steps",
}

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
    "academy": Suite(
        variants={name: {"agent": name} for name in ("ppo", "impala", "apex_dqn")},
        total_steps=_ACADEMY,
        seeds=(0, 1, 2),
        only={"impala": _FIVE_DRILLS, "apex_dqn": _FIVE_DRILLS},
        at_most={"impala": 1_000_000, "apex_dqn": 1_000_000},
        seeds_of={"impala": (0, 1), "apex_dqn": (0, 1)},
        yardsticks=("random", "builtin_ai"),
        about="The eleven drills of Football Academy, one controlled player: PPO on all, IMPALA and Ape-X DQN on five.",
    ),
    "football": Suite(
        variants={
            "ppo": _ppo_before(),
            "ppo_taught": {
                "teacher": "long_ball",
                "observation": "egocentric_kicks",
                "stagger": 3000,
                **_ppo_before(teacher_until=1.0),
            },
        },
        total_steps=dict.fromkeys(
            ("11_vs_11_easy_stochastic", "11_vs_11_stochastic", "11_vs_11_hard_stochastic"), 3_000_000
        ),
        seeds=(0,),
        episodes=100,
        yardsticks=("random", "builtin_ai", "long_ball"),
        about="Football Benchmarks, one controlled player: PPO alone, and PPO that imitates a scripted player less and "
        "less. The teacher was chosen among four by eight games of each of them on every level, beside a fifth by 16; "
        "how it teaches, after a league of five a side and before any of these runs.",
    ),
    "multi_agent": Suite(
        variants={
            "ippo": {"preset": "ippo_cpu", "left": 3, "control": "fixed"},
            "ippo_1024": {
                "preset": "ippo_cpu",
                "left": 3,
                "control": "fixed",
                "agent_config": {"minibatch_size": 1024, "learning_rate": 3e-4},
            },
            "ippo_team": {"preset": "ippo_cpu", "left": 3, "control": "fixed", "team_reward": True},
            "mappo": {
                "preset": "ippo_cpu",
                "left": 3,
                "control": "fixed",
                "agent_config": {"central_critic": True},
            },
        },
        total_steps={"academy_3_vs_1_with_keeper": 5_000_000},
        seeds=(0, 1),
        about="PPO with shared weights over three attackers, each with its own observation (IPPO); with four times as "
        "many gradient steps; with rewards shared by the team; with a critic that sees the whole match (MAPPO).",
    ),
    "ppo_ablations": Suite(
        variants={
            "ppo": _ppo_before(),
            "advantages_once": _ppo_before(recompute_advantages=False),
            "large_policy_head": _ppo_before(policy_head_gain=1.0),
            "shuffled_advantages": _ppo_before(shuffle_advantages=True),
        },
        total_steps={"academy_empty_goal_close": 100_000},
        seeds=(0, 1, 2, 3, 4),
        about="What the advice of Andrychowicz et al. 2021 is worth in the demo; shuffled advantages must fail.",
    ),
    "ppo_preset": Suite(
        variants={
            "ppo": _ppo_before(),
            "more_entropy": _ppo_before(entropy_coef=0.02),
            "short_horizon": _ppo_before(gamma=0.99),
            "large_batch": {"num_envs": 64, **_ppo_before(minibatch_size=2048)},
        },
        total_steps={"academy_run_to_score_with_keeper": 600_000},
        seeds=(100, 101, 102),
        about="Why two of three seeds of PPO stay below 60% on this drill in the suite of agents, and what helps: four "
        "times the entropy bonus, half the horizon, twice the batch. The preset takes the variant with the best mean "
        "success of its frozen policies, if that is 10 points above today's.",
    ),
    "impala_preset": Suite(
        variants={
            name: {"agent": "impala", "agent_config": {"entropy_coef": bonus}}
            for name, bonus in {"impala": 0.005, "more_entropy": 0.02}.items()
        },
        total_steps={"academy_run_to_score_with_keeper": 600_000},
        seeds=(102, 103, 104),
        about="Seed 1 of IMPALA ended at 56.5% on this drill in the suite of agents (seed 0: 98.5), as seeds of PPO "
        "did with the same entropy bonus: whether four times as much, which helped PPO, helps it too. The preset takes "
        "the variant with the better mean success of its frozen policies, if that is more_entropy by 10 points. Seeds "
        "that no study of IMPALA has looked at.",
    ),
    "impala_entropy": Suite(
        variants={"more_entropy": {"agent": "impala", "agent_config": {"entropy_coef": 0.02}}},
        total_steps={"academy_run_to_score_with_keeper": 2_000_000},
        seeds=(105, 106, 107),
        about="Seeds 0, 1 and 2 of IMPALA ended at 98.5, 56.5 and 40.5% on this drill in the suite of agents: two of "
        "them run for the goal's checkpoints and hardly shoot. In 600,000 steps (impala_preset) more entropy was still "
        "learning; this is the suite of agents' length. The preset takes it if the mean of its frozen policies is 10 "
        "points above those three's. Seeds that no study has looked at.",
    ),
    "curiosity": Suite(
        variants=_CURIOSITY,
        total_steps=dict.fromkeys(
            (
                "academy_run_to_score_with_keeper",
                "academy_pass_and_shoot_with_keeper",
                "academy_3_vs_1_with_keeper",
                "academy_counterattack_easy",
                "academy_single_goal_versus_lazy",
                "build_up",
            ),
            2_000_000,
        ),
        seeds=(0, 1, 2, 3, 4),
        averages=_COVERAGE,
        about="Exploration bonuses for PPO, on sparse rewards: the large study.",
    ),
    "curiosity_small": Suite(
        variants=_CURIOSITY | _CURIOSITY_BESIDES,
        total_steps={"academy_run_to_score_with_keeper": 300_000, "build_up": 300_000},
        seeds=(0, 1, 2),
        only=dict.fromkeys(_CURIOSITY_BESIDES, ("academy_run_to_score_with_keeper",)),
        averages=_COVERAGE,
        about="Exploration bonuses for PPO, Ape-X with MULEX, adaptive TD and noisy observations, on sparse rewards, "
        "in a budget that leaves plain PPO with little or nothing.",
    ),
}


def load(name: str) -> Suite:
    """A suite by name, with - for _ as one likes; a wrong name says what exists."""
    name = name.replace("-", "_")
    if name not in SUITES:
        raise ValueError(f"no {name!r} in suites; there are {', '.join(sorted(SUITES))}")
    return SUITES[name]


def folder_of(out: Path | str, scenario: str, variant: str, seed: int) -> Path:
    """Where a run of a suite lies."""
    return Path(out, scenario, f"{variant}-{seed}")


def is_done(folder: Path) -> bool:
    """Trained to its end, and its last policy evaluated on what it was trained on, against the engine's AI."""
    path = folder / "eval.json"
    if not path.exists():
        return False
    first, config = json.loads(path.read_text())["results"][0], json.loads((folder / "config.json").read_text())
    steps = _steps_trained(folder)
    return (
        steps >= config["total_steps"]
        and first.get("trained_steps") in (None, steps)  # results of before 2026-11-26 do not say
        and (first["scenario"], first["opponent"]) == (config["scenario"], evaluate.BUILTIN)
    )


def _steps_trained(folder: Path) -> int:
    file = MetricsFile(folder / "metrics.csv")
    file.refresh()
    return int(file.steps[-1]) if len(file.steps) else 0


def refuse_other_settings(suite: Suite, out: Path | str) -> None:
    """Raises if there are runs of the suite in a folder that were made with other settings, an older preset's, say."""
    for config in suite.runs(out):
        path = Path(config.out, "config.json")
        if not path.exists():
            continue
        whole = config.resolved()
        saved, wanted = (_complete(one, whole.agent) for one in (json.loads(path.read_text()), asdict(whole)))
        if saved["total_steps"] != wanted["total_steps"]:
            raise ValueError(
                f"{config.out} is a run of {saved['total_steps']:,} environment steps, and {config.total_steps:,} are "
                "asked for: runs of different lengths do not go into one table; give another --out, or that --budget"
            )
        for name in ("out", "num_threads", "torch_threads"):
            del saved[name]
        if saved["double_buffer"] is None:  # as configs had it before it was filled in
            del saved["double_buffer"]
        if lines := _differences(saved, wanted):
            raise ValueError(
                f"{config.out} is a run with other settings, which do not go into one row: {'; '.join(lines)}; "
                "give another --out, or move that run away"
            )


def _complete(config: dict[str, Any], agent: str) -> dict[str, Any]:
    """A config as JSON has it, with the defaults of all that it does not name, the agent's among them."""
    agent_config = {} if sb3_name(agent) else asdict(plugins.load("agents", agent).Config())
    whole = asdict(TrainConfig()) | config | {"agent_config": agent_config | config["agent_config"]}
    return json.loads(json.dumps(whole))


def _differences(saved: dict[str, Any], wanted: dict[str, Any], within: str = "") -> list[str]:
    """What a saved config says differently; of bonuses it says nothing of what was their default."""
    lines = []
    for name, value in saved.items():
        if isinstance(value, dict) and isinstance(wanted.get(name), dict):
            lines += _differences(value, wanted[name], f"{within}{name}.")
        elif value != wanted.get(name):
            lines.append(f"{within}{name} {value!r} there and {wanted.get(name)!r} here")
    return lines


def run_suite(
    suite: Suite,
    out: Path | str,
    *,
    make_envs: Callable[[TrainConfig], Any] = training.make_envs,
    judge: Callable[..., None] | None = None,
    trackers: Callable[[TrainConfig], Sequence[Tracker]] = lambda config: (),
) -> Iterator[tuple[TrainConfig, Path]]:
    """Makes every run that is not there yet, going on with one that was stopped; yields each when it is finished.

    Args:
        out: gets SCENARIO/AGENT-SEED/ a run.
        judge: writes a finished run's eval.json; called as `evaluate_run`, which it replaces.
        trackers: watch the training of a config.

    Ends early, without an error, when a training is interrupted. Several processes may share a suite: each leaves the
    runs alone that another is at. Runs with other settings in `out` are refused.
    """
    judge = judge or evaluate_run
    refuse_other_settings(suite, out)
    for config in suite.runs(out):
        folder = Path(config.out)
        with claim(_lock(folder)) as mine:
            if not mine or is_done(folder):
                continue
            run = training.resume if (folder / "checkpoint.pt").exists() else training.train
            result = run(folder if run is training.resume else config, make_envs=make_envs, trackers=trackers(config))
            if result["interrupted"] or result["stopped"]:
                return
            judge(folder, config, suite.episodes, () if _has_yardsticks(folder.parent) else suite.yardsticks)
        yield config, folder


def _lock(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}.lock")


def evaluate_run(folder: Path, config: TrainConfig, episodes: int, yardsticks: Sequence[str] = ()) -> None:
    """Plays the frozen, greedy policy of a run on held-out seeds, and then yardsticks, and writes its eval.json.

    A match is played by turns from left and right.
    """
    side = "both" if scenarios.load(config.scenario).sides_are_alike else "left"
    result = evaluate.evaluate(
        folder, config.scenario, episodes=episodes, left=config.left, control=config.control, side=side
    )
    beside = evaluate.yardsticks(result, names=yardsticks)
    evaluate.write_json([result, *beside], folder / "eval.json")


def _has_yardsticks(scenario: Path) -> bool:
    """A finished run of a scenario's folder has yardsticks beside it."""
    return any(len(json.loads(path.read_text())["results"]) > 1 for path in scenario.glob("*/eval.json"))


def table(suite: Suite, out: Path | str) -> str:
    """Every seed in Markdown: a line a drill and variant, and the runs that are still missing."""
    headings = [
        "drill",
        "agent",
        "steps",
        "frozen policy, success of each seed, % [95%]",
        "mean success in training, %",
    ]
    headings += suite.averages
    lines = [f"| {' | '.join(headings)} |", "|---" * len(headings) + "|"]
    for scenario in suite.total_steps:
        for variant in suite.variants:
            if not suite.plays(variant, scenario):
                continue
            folders = [folder_of(out, scenario, variant, seed) for seed in suite.seeds_for(variant)]
            frozen = ", ".join(_success(folder) if is_done(folder) else "not run yet" for folder in folders)
            cells = [f"`{scenario}`", variant, f"{suite.steps(variant, scenario):,}", frozen]
            for column in ("episode/success_rate", *suite.averages.values()):
                factor = 100 if column == "episode/success_rate" else 1
                means = [factor * average(folder, column) for folder in folders if is_done(folder)]
                cells.append(", ".join(f"{mean:.1f}" for mean in means))
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def average(folder: Path, column: str) -> float:
    """A column of a training's metrics over the whole run; of success, the area under the learning curve."""
    file = MetricsFile(folder / "metrics.csv")
    file.refresh()
    return float(np.nanmean(file.column(column), dtype=np.float64))


def _success(folder: Path) -> str:
    """The share of successes; where matches go on after a goal, the goal difference a game besides."""
    first = json.loads((folder / "eval.json").read_text())["results"][0]
    rate = first["metrics"]["score/success_rate"]
    text = f"{100 * rate['value']:.1f} [{100 * rate['low']:.1f}, {100 * rate['high']:.1f}]"
    if all(abs(row["goal_difference"]) <= 1 for row in first.get("rows", ())):
        return text
    goals = first["metrics"]["score/goal_difference_per_game"]
    return f"{text} ({goals['value']:+.2f} [{goals['low']:+.2f}, {goals['high']:+.2f}] goals)"
