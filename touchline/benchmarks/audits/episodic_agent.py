"""Row A-agent: how much of four rooms PPO sees without any reward of the world's, with and without bonuses.

The world of `benchmarks.four_rooms` with 31 x 31 cells, episodes of 200 steps from places drawn at random, a television
that shows noise while it is watched. PPO plays 16 walks at a time, 160,000 steps in all, and then 64 episodes on seeds
of their own. Episodic curiosity (Savinov et al. 2019, https://arxiv.org/abs/1810.02274) learned before from 120
episodes of 400 steps of random play, which come on top. World, sizes and budget are design choices: found on seed 100,
after worlds of 13 x 13 cells, in which a policy without memory has to find a whole tour, showed no gain.

A memory of one and a network whose labels are shuffled are the controls. A smaller beta is none: all episodes are as
long, and a constant added to every step's bonus changes no policy's rank. Beside them, without a threshold: the online
network (ECO), which here learns from the policy's own narrow play that it cannot tell places apart, and far examples
from other episodes.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from touchline.benchmarks.audits import Check
from touchline.benchmarks.audits.episodic import Sticky, play
from touchline.benchmarks.four_rooms import FourRooms, rooms
from touchline.networks import torch_threads
from touchline.rollout import Buffer, collect
from touchline.run import Run
from touchline.train_config import TrainConfig

NAME = "A-agent"
CLAIM = "On a toy, episodic curiosity makes PPO see more of a world without rewards; ICM stays at the television."
COST = "5 min"

SIZE, LENGTH, WALKS, TOTAL, EPISODES = 31, 200, 16, 160_000, 64
PPO = {
    "unroll_length": 128,
    "num_epochs": 4,
    "minibatch_size": 512,
    "learning_rate": 1e-3,
    "gamma": 0.99,
    "entropy_coef": 0.005,
    "policy_hidden": (64, 64),
    "value_hidden": (64, 64),
}
EC = {"beta": 0.5, "k": 5, "gamma_neg": 5, "other_episodes": 0.0}
OFFLINE = {**EC, "train": "offline", "pairing": "v4", "num_epochs": 6, "batch_size": 64}
RANDOM_EPISODES, RANDOM_LENGTH = 120, 400


def _curious(**fields: Any) -> dict[str, Any]:
    return {"bonus": ("episodic_curiosity",), "bonus_config": {"episodic_curiosity": fields}}


ARMS: dict[str, dict[str, Any]] = {
    "none": {},
    "oracle": {"bonus": ("visit_oracle",), "bonus_config": {"visit_oracle": {"grid": (SIZE, SIZE)}}},
    "EC": _curious(**OFFLINE),
    "ICM": {"bonus": ("icm",)},
    "EC, memory of one (control)": _curious(**OFFLINE | {"memory_size": 1, "replacement": "fifo"}),
    "EC, shuffled labels (control)": _curious(**OFFLINE | {"shuffle_labels": True}),
    "EC, far examples from other episodes": _curious(**OFFLINE | {"other_episodes": 0.2}),
    "ECO": _curious(**EC, train_every=512, buffer_steps=2048),
}
QUICK = ("none", "oracle")


def cells_seen(arm: str, seed: int, *, total_steps: int = TOTAL) -> float:
    """Cells that the policy of an arm sees in an episode, the mean over held-out ones."""
    config = TrainConfig(
        scenario="four_rooms",
        agent="ppo",
        observation="cells",
        rewards=(),
        num_envs=WALKS,
        num_actors=0,
        total_steps=total_steps,
        seed=seed,
        out="nowhere",
        agent_config=PPO,
        **ARMS[arm],
    )
    with torch_threads(1):
        run = Run(config, [FourRooms(WALKS, length=LENGTH, size=SIZE)])
        for bonus in run.bonuses.values():
            if getattr(bonus, "random_steps", 0):
                bonus.pretrain([play(Sticky(RANDOM_EPISODES), RANDOM_EPISODES, RANDOM_LENGTH, seed=seed, size=SIZE)])
        for _ in run.updates():
            pass
        held_out = FourRooms(EPISODES, length=LENGTH, size=SIZE)
        obs, _ = held_out.reset(seed=1_000_000 + seed)
        buffer, generator = Buffer(run.agent.spec, EPISODES, LENGTH), torch.Generator().manual_seed(seed)
        rollout, _ = collect(held_out, run.agent, obs, buffer, generator)
    return float(rollout.episodes["cells"].mean())


def run(seed: int, *, quick: bool = False) -> dict[str, Any]:
    """{arm: cells seen in an episode}."""
    return {arm: cells_seen(arm, seed, total_steps=60_000 if quick else TOTAL) for arm in (QUICK if quick else ARMS)}


def checks(results: Sequence[dict[str, Any]], *, quick: bool = False) -> list[Check]:
    """The thresholds on means over the seeds; a quick run only sees that the oracle helps."""
    cells = {arm: float(np.mean([result[arm] for result in results])) for arm in results[0]}
    out = [Check("the oracle sees more than no bonus", cells["oracle"] > cells["none"], _pair(cells, "oracle"))]
    if quick:
        return out
    out += [
        Check("EC sees 1.3 x what no bonus does", cells["EC"] >= 1.3 * cells["none"], _pair(cells, "EC")),
        Check("the oracle sees more than EC", cells["oracle"] > cells["EC"], _pair(cells, "oracle", "EC")),
        Check("ICM sees less than no bonus", cells["ICM"] < cells["none"], _pair(cells, "ICM")),
    ]
    for arm in ARMS:
        if arm.endswith("(control)"):
            name = f"{arm.removesuffix(' (control)')}: sees 1.3 x what no bonus does"
            out.append(Check(name, cells[arm] < 1.3 * cells["none"], _pair(cells, arm), must_fail=True))
    return out


def _pair(cells: dict[str, float], arm: str, other: str = "none") -> str:
    return f"{cells[arm]:.1f} and {cells[other]:.1f} of {rooms(SIZE).sum()} cells"


def plot(results: Sequence[dict[str, Any]], axes: Any) -> None:
    """A bar an arm, a dot a seed."""
    for i, arm in enumerate(results[0]):
        values = [result[arm] for result in results]
        axes.bar(i, np.mean(values), 0.7, color=f"C{i}")
        axes.plot([i] * len(values), values, "k.", ms=4)
    axes.set_xticks(range(len(results[0])), [textwrap.fill(arm, 14) for arm in results[0]])
    axes.tick_params(axis="x", labelsize=6)
    axes.set_ylabel("cells seen in an episode")


def table(results: Sequence[dict[str, Any]]) -> str:
    """Cells seen in an episode, every seed."""
    lines = ["| PPO with | cells of every seed | mean |", "|---|---|---|"]
    for arm in results[0]:
        values = [result[arm] for result in results]
        lines.append(f"| {arm} | {', '.join(f'{x:.1f}' for x in values)} | {np.mean(values):.1f} |")
    return "\n".join(lines) + "\n"
