"""Row A-audit: what bonuses pay for standing still, watching television, going to and fro, and exploring.

"Shuttle" goes to and fro between two cells, "patrol" between two rooms: what was new the first time is not any more.

Four rooms with a television (`benchmarks.four_rooms`). Episodic curiosity (Savinov et al. 2019,
https://arxiv.org/abs/1810.02274), ICM (Pathak et al. 2017, https://arxiv.org/abs/1705.05363) and RND (Burda et al.
2019, https://arxiv.org/abs/1810.12894) learn from 120 episodes of 400 steps of random play and then judge the scripted
walks. World and sizes are design choices.

A picture that stays between two looks at the television is a clock: the network tells near from far by it, better than
before, and what it pays for exploring falls.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from touchline.benchmarks.audits import Check
from touchline.benchmarks.four_rooms import WATCH, FourRooms, path
from touchline.curiosity import episodic_curiosity, icm, rnd
from touchline.rollout import Buffer, Rollout, collect, env_spec

NAME = "A-audit"
CLAIM = (
    "On a toy, episodic curiosity pays for exploring and not for watching noise; ICM and RND pay most for the noise."
)
COST = "1 min"

START = (1, 1)
CORNERS = ((0, 0), (0, 7), (7, 7), (7, 0))
TOUR = (START, *((x + i, y + j) for x, y in CORNERS for i in (0, 2, 3, 5) for j in ((0, 5) if i in (0, 3) else (5, 0))))
"""Four rows of every room, there and back."""

EXPLORE = path(TOUR)
LENGTH = len(EXPLORE)
WALKS = {
    "still": [1] * LENGTH,  # against the wall
    "tv": [WATCH] * LENGTH,
    "shuttle": ([0, 1] * LENGTH)[:LENGTH],
    "patrol": (path((START, (1, 11), START)) * LENGTH)[:LENGTH],
    "explore": EXPLORE,
}
EC = {"train": "offline", "k": 5, "gamma_neg": 5, "beta": 0.5, "pairing": "v4", "num_epochs": 6, "batch_size": 64}
EC_ARMS = {
    "transient": ("transient", {}),
    "always": ("always", {}),
    "persistent (control)": ("persistent", {}),
    "untrained network (control)": ("transient", {"train": "never"}),
    "shuffled labels (control)": ("transient", {"shuffle_labels": True}),
    "memory of one (control)": ("transient", {"memory_size": 1, "replacement": "fifo"}),
}


class Sticky:
    """Random play that repeats its action in 65% of steps."""

    def __init__(self, num_columns: int) -> None:
        self._last = torch.zeros(num_columns, dtype=torch.int64)

    def act(self, obs: torch.Tensor, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        drawn = torch.randint(5, (len(obs),), generator=generator)
        stays = torch.rand(len(obs), generator=generator) < 0.65
        self._last = torch.where(stays, self._last, drawn)
        return self._last.clone(), torch.zeros(len(obs))


class Scripted:
    """Plays lists of actions, one a column."""

    def __init__(self, walks: Sequence[Sequence[int]]) -> None:
        self._actions = torch.tensor(list(walks)).T
        self._time = 0

    def act(self, obs: torch.Tensor, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        self._time += 1
        return self._actions[self._time - 1], torch.zeros(len(obs))


def play(policy: Any, num_envs: int, steps: int, *, seed: int, **world: Any) -> Rollout:
    """One episode of every walk, [steps, num_envs]; `world` are options of `FourRooms`."""
    envs = FourRooms(num_envs, length=steps, **world)
    obs, _ = envs.reset(seed=seed)
    generator = torch.Generator().manual_seed(seed)
    return collect(envs, policy, obs, Buffer(env_spec(envs), num_envs, steps), generator)[0]


def run(seed: int, *, quick: bool = False) -> dict[str, Any]:
    """{arm: {walk: mean bonus of a step}}, and for episodic curiosity what was stored and the network's accuracy."""
    episodes, steps = (40, 200) if quick else (120, 400)
    out: dict[str, Any] = {}
    for tv in ("transient", "always", "persistent"):
        learned = play(Sticky(episodes), episodes, steps, tv=tv, seed=seed)
        judged = play(Scripted(list(WALKS.values())), len(WALKS), LENGTH, tv=tv, seed=seed + 1000, start=START)
        spec = env_spec(FourRooms())
        for arm, (mode, fields) in EC_ARMS.items():
            if mode == tv:
                config = episodic_curiosity.Config(**{**EC, **fields})
                out[f"EC, {arm}"] = _curiosity(episodic_curiosity.make(spec, config, seed=seed), learned, judged)
        if tv == "transient":
            out["ICM"] = _errors(icm.make(spec, icm.Config(), seed=seed), learned, judged, passes=1 if quick else 3)
            out["RND"] = _errors(rnd.make(spec, rnd.Config(), seed=seed), learned, judged, passes=1 if quick else 3)
    return out


def _curiosity(bonus: episodic_curiosity.EpisodicCuriosity, learned: Rollout, judged: Rollout) -> dict[str, Any]:
    metrics = bonus.pretrain([learned]) if bonus.random_steps else {}
    # The last step is judged too: it is no end here, and leads to the walk's true last observation.
    obs = torch.cat([judged.obs[:-1], judged.next_obs()[-1:]])
    part = judged._replace(obs=obs, truncated=torch.zeros_like(judged.truncated))
    paid, carry = bonus.reward(part, bonus.initial_carry(len(WALKS)))
    mean = paid["episodic_curiosity"].mean(0).tolist()
    return {
        "bonus": dict(zip(WALKS, mean, strict=True)),
        "stored": dict(zip(WALKS, carry["count"].tolist(), strict=True)),
        "accuracy": metrics.get("bonus/r_network_accuracy"),
    }


def _errors(bonus: Any, learned: Rollout, judged: Rollout, *, passes: int) -> dict[str, Any]:
    """Mean bonus of each walk after learning from random play some times over."""
    for _ in range(passes):
        bonus.reward(learned, bonus.initial_carry(learned.action.shape[1]))
        bonus.update(learned)
    paid, _ = bonus.reward(judged, bonus.initial_carry(len(WALKS)))
    mean = next(iter(paid.values())).mean(0).tolist()
    return {"bonus": dict(zip(WALKS, mean, strict=True))}


def margin(paid: dict[str, float]) -> float:
    """How much more exploring pays a step than the best of the other walks."""
    return paid["explore"] - max(value for walk, value in paid.items() if walk != "explore")


def mean_of(results: Sequence[dict[str, Any]], arm: str) -> dict[str, float]:
    """{walk: bonus}, the mean over the seeds."""
    return {walk: float(np.mean([result[arm]["bonus"][walk] for result in results])) for walk in WALKS}


def checks(results: Sequence[dict[str, Any]], *, quick: bool = False) -> list[Check]:
    """The thresholds on means over the seeds; in quick runs the persistent television's is left out."""
    out = []
    for tv in ("transient", "always"):
        found = margin(mean_of(results, f"EC, {tv}"))
        stored = float(np.mean([result[f"EC, {tv}"]["stored"]["explore"] for result in results]))
        out.append(Check(f"EC, {tv}: exploring pays 0.1 more than anything else", found > 0.1, f"{found:+.3f}"))
        out.append(Check(f"EC, {tv}: exploring stores more than 20", stored > 20, f"{stored:.0f}"))
    for name in ("ICM", "RND"):
        paid = mean_of(results, name)
        best = max(paid, key=paid.__getitem__)
        out.append(Check(f"{name} pays most for the television", best == "tv", f"most for {best}"))
    for arm in EC_ARMS:
        if arm.endswith("(control)") and "persistent" not in arm:
            found = margin(mean_of(results, f"EC, {arm}"))
            name = f"EC, {arm.removesuffix(' (control)')}: exploring pays 0.1 more"
            out.append(Check(name, not found > 0.1, f"{found:+.3f}", must_fail=True))
    if not quick:  # the network of quick runs has seen too little to be fooled
        kept = "EC, persistent (control)"
        found, stored = margin(mean_of(results, kept)), float(np.mean([r[kept]["stored"]["explore"] for r in results]))
        name = "EC, persistent: exploring pays 0.1 more and stores more than 20"
        out.append(Check(name, not (found > 0.1 and stored > 20), f"{found:+.3f}, {stored:.0f} stored", must_fail=True))
    accuracy = float(np.mean([result["EC, shuffled labels (control)"]["accuracy"] for result in results]))
    out.append(Check("shuffled labels: the network learns", accuracy < 0.6, f"accuracy {accuracy:.2f}", must_fail=True))
    return out


def plot(results: Sequence[dict[str, Any]], axes: Any) -> None:
    """Bars of the mean bonus of each walk under episodic curiosity, a dot a seed."""
    arms = [arm for arm in results[0] if arm.startswith("EC")]
    for i, walk in enumerate(WALKS):
        for j, arm in enumerate(arms):
            values = [result[arm]["bonus"][walk] for result in results]
            place = j + (i - 2) * 0.16
            axes.bar(place, np.mean(values), 0.15, color=f"C{i}", label=walk if j == 0 else None)
            axes.plot([place] * len(values), values, "k.", ms=3)
    labels = [arm.removeprefix("EC, ").replace(" (control)", "\n(control)") for arm in arms]
    axes.set_xticks(range(len(arms)), labels, fontsize=6)
    axes.axhline(0.0, color="k", lw=0.5)
    axes.set_ylabel("EC bonus a step")
    axes.legend(frameon=False, fontsize=7)


def table(results: Sequence[dict[str, Any]]) -> str:
    """Mean bonus a step of every walk, every seed; for episodic curiosity also what exploring stored, and accuracy."""
    lines = ["| bonus | " + " | ".join(WALKS) + " | stored exploring | accuracy |", "|---" * (len(WALKS) + 3) + "|"]
    for arm in results[0]:
        cells = [", ".join(f"{result[arm]['bonus'][walk]:.3f}" for result in results) for walk in WALKS]
        stored = ", ".join(str(result[arm]["stored"]["explore"]) for result in results if "stored" in result[arm])
        known = [result[arm].get("accuracy") for result in results]
        accuracy = ", ".join(f"{x:.2f}" for x in known if x is not None)
        lines.append(f"| {arm} | " + " | ".join(cells) + f" | {stored} | {accuracy} |")
    return "\n".join(lines) + "\n"
