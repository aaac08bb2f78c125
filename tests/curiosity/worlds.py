"""Rollouts with known answers for the exploration modules."""

import sys
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parents[1]))
from toy_envs import SPEC, Corridor, Pictures

from touchline.rollout import Buffer, Rollout, collect, env_spec
from touchline.types import EnvSpec

# x and y of ball and player, owner (nobody, own, other), two game modes, a clock
PITCH = EnvSpec(
    (10,),
    "float32",
    2,
    features={"ball": (0, 1), "player": (2, 3), "owner": (4, 5, 6), "game_mode": (7, 8), "clocks": (9,)},
)


class Uniform:
    """Any of `num_actions` actions."""

    def __init__(self, num_actions=2):
        self.num_actions = num_actions

    def act(self, obs, generator):
        return torch.randint(self.num_actions, (len(obs),), generator=generator), torch.zeros(len(obs))


def played(envs=None, unroll_length=12, rollouts=1, seed=0):
    """Rollouts of random play, each in its own memory, and the spec."""
    envs = envs or Corridor()
    spec, generator = env_spec(envs), torch.Generator().manual_seed(seed)
    buffer, (obs, _) = Buffer(spec, envs.num_envs, unroll_length), envs.reset(seed=seed)
    out = []
    for _ in range(rollouts):
        rollout, obs = collect(envs, Uniform(spec.num_actions), obs, buffer, generator)
        out.append(rollout.clone())
    return out, spec


def rollout_of(obs, ends=(), *, truncated=(), finals=None, action=None, lost=(), reward=None):
    """A rollout [T, B] of observations [T+1, B, F]; ends and lost are (t, column), finals {(t, column): [F]}."""
    obs = torch.as_tensor(np.asarray(obs), dtype=torch.float32)
    T, B = obs.shape[0] - 1, obs.shape[1]
    flags = {name: torch.zeros(T, B, dtype=torch.bool) for name in ("terminated", "truncated", "lost")}
    for name, places in (("terminated", ends), ("truncated", truncated), ("lost", lost)):
        for t, b in places:
            flags[name][t, b] = True
    finals = finals or {}
    return Rollout(
        obs=obs,
        action=torch.zeros(T, B, dtype=torch.int64) if action is None else torch.as_tensor(action),
        reward=torch.zeros(T, B) if reward is None else torch.as_tensor(reward, dtype=torch.float32),
        terminated=flags["terminated"],
        truncated=flags["truncated"] | flags["lost"],
        behaviour_log_prob=torch.zeros(T, B),
        mask=~flags["lost"],
        final_index=torch.tensor(list(finals), dtype=torch.int64).reshape(-1, 2),
        final_obs=torch.tensor(np.array(list(finals.values())), dtype=torch.float32).reshape(-1, *obs.shape[2:]),
        num_players=1,
        episodes={},
    )


def on_pitch(places):
    """Observations [..., 10] of `PITCH` with ball and player both at places [..., 2]; the own team owns the ball."""
    places = torch.as_tensor(places, dtype=torch.float32)
    rest = torch.tensor([0.0, 1.0, 0.0, 1.0, 0.0, 0.0]).expand(*places.shape[:-1], 6)
    return torch.cat([places, places, rest], -1)


__all__ = ["PITCH", "SPEC", "Pictures", "Uniform", "on_pitch", "played", "rollout_of"]
