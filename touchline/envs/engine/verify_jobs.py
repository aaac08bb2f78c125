"""What `engine verify` plays: scenarios, seeds, controlled players and mixes of actions, for every level."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from touchline import scenarios as scenario_room
from touchline.envs.actions import ACTION_SETS
from touchline.envs.engine.engine import EngineSimulator

LEVELS = ("short", "full")


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
    for number, scenario in enumerate(sorted(scenario_room.names(gfootball=True))):
        yield scenario, 100 + number, 300, {}


def _more_seeds() -> Iterator[Plan]:
    for number, scenario in enumerate(sorted(scenario_room.names(gfootball=True))):
        for turn, mix in enumerate(("shooting", "built-in AI")):
            options = {"mix": mix, "action_set": "v2", "observations": ("simple115v2",)}
            yield scenario, 1001 + 3 * number + turn, 600, options
        for turn, mix in enumerate(("random", "sliding", "forward")):
            yield scenario, 2001 + 7 * number + turn, 2000, {"mix": mix, "observations": ()}


MATCH, EASY, THREE = "11_vs_11_stochastic", "11_vs_11_easy_stochastic", "academy_3_vs_1_with_keeper"

_VARIANTS: list[Plan] = [
    (EASY, 8, 300, {"mix": "built-in AI", "action_set": "v2"}),
    (THREE, 9, 300, {"mix": "built-in AI", "action_set": "v2"}),
    ("academy_corner", 10, 300, {"mix": "built-in AI", "action_set": "v2"}),
    (MATCH, 11, 300, {"left": 1, "right": 1}),
    (MATCH, 12, 300, {"left": 11, "right": 11, "observations": ("simple115v2",)}),
    (MATCH, 13, 300, {"left": 11, "right": 11, "observations": (), "mix": "sliding"}),
    (THREE, 14, 300, {"left": 3, "mix": "forward"}),
    ("5_vs_5", 15, 300, {"left": 4, "right": 4}),
    ("academy_counterattack_hard", 16, 300, {"left": 2, "right": 1, "mix": "shooting"}),
    (EASY, 17, 300, {"left": 0, "right": 1, "mix": "shooting"}),
    ("1_vs_1_easy", 18, 300, {"left": 0, "right": 1}),
    ("11_vs_11_hard_stochastic", 19, 300, {"mix": "sliding"}),
    ("11_vs_11_hard_stochastic", 20, 300, {"left": 2, "right": 2, "mix": "sliding", "action_set": "v2"}),
    ("academy_pass_and_shoot_with_keeper", 21, 300, {"mix": "shooting"}),
    ("academy_run_to_score", 22, 300, {"mix": "forward"}),
    ("academy_run_to_score_with_keeper", 23, 300, {"mix": "forward"}),
    ("academy_empty_goal_close", 24, 300, {"mix": "forward"}),
    (THREE, 25, 300, {"representation": "extracted", "stacked": True}),
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
    (MATCH, 33, 3050, {"observations": ()}),
    (EASY, 34, 3050, {"left": 11, "right": 11, "mix": "sliding", "observations": ()}),
    ("11_vs_11_hard_stochastic", 35, 3050, {"mix": "built-in AI", "action_set": "v2", "observations": ()}),
    (MATCH, 75, 3000, {"left": 11, "mix": HUNTING, "observations": ()}),  # three players are sent off
    *(
        (MATCH, 80 + n, 3050, {"left": n % 2, "right": 1, "mix": m, "action_set": "v2", "observations": ()})
        for n, m in enumerate(("built-in AI", "shooting", "random", "sliding"))
    ),
    *(
        (name, 90 + n, 3050, {"mix": "built-in AI", "action_set": "v2", "observations": ()})
        for n, name in enumerate(("5_vs_5", EASY, "11_vs_11_competition", "11_vs_11_kaggle"))
    ),
    *(
        ("11_vs_11_kaggle", 100 + n, 3050, {"left": 11, "right": 11, "mix": "random", "observations": ()})
        for n in range(4)
    ),
]
