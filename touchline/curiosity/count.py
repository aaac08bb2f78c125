"""Counts: places that were seen less pay more, 1 / sqrt(n), over the whole training.

Football's places are cells of the pitch in which the ball is, times who owns it and in which game mode; other
observations are hashed to a few bits by random projections (SimHash: Tang et al. 2017, section 2.2,
https://arxiv.org/abs/1611.04717). The bonus is theirs, equation 1, with the coefficient in the stream.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from touchline.curiosity.parts.inputs import InputFilter, Pitch, cells, ranks
from touchline.rollout import Rollout
from touchline.types import EnvSpec, Stream


@dataclass(frozen=True)
class Config:
    """Hyper-parameters of the count bonus.

    Attributes:
        coef: weight of its advantage.
        gamma: discount per environment step.
        episodic: False lets its return run on through ends of episodes, so that ending one is not punished.
        grid: cells along and across the pitch.
        per_action: count pairs of where one is and what one does, n(s, a), instead of where that led, n(s').
        hash_bits: of observations that are not football's.
    """

    coef: float = 0.01
    gamma: float = 0.99
    episodic: bool = True
    grid: tuple[int, int] = (12, 8)
    per_action: bool = False
    hash_bits: int = 16

    def __post_init__(self) -> None:
        if min(self.grid) < 1 or not 1 <= self.hash_bits <= 24:
            raise ValueError(f"expected a grid of cells and 1 to 24 hash_bits, got {self.grid} and {self.hash_bits}")


class Count:
    """The `Bonus`; it can score replayed transitions under today's counts."""

    def __init__(self, spec: EnvSpec, config: Config, *, seed: int, device: str) -> None:
        self.config = config
        self.streams = (Stream("count", config.gamma, config.coef, config.episodic),)
        self._num_actions = spec.num_actions if config.per_action else 1
        self._pitch = Pitch(spec) if {"ball", "ball_plane"} & set(spec.features) else None
        self._filter = InputFilter(spec)
        size = int(np.prod(self._filter.spec.observation_shape))
        generator = torch.Generator().manual_seed(seed)
        self._directions = torch.randn(size, config.hash_bits, generator=generator)
        places = 1 << config.hash_bits
        if self._pitch is not None:
            example = torch.zeros(1, *spec.observation_shape)
            places = config.grid[0] * config.grid[1] * self._pitch.situation(example)[1]
        self._counts = torch.zeros(places * self._num_actions, dtype=torch.int64)

    def initial_carry(self, num_columns: int) -> None:
        """Nothing: counts are of all columns and of all episodes."""

    def places(self, obs: Tensor) -> Tensor:
        """[K] number of each observation's place, for obs [K, *obs]."""
        obs = obs.cpu()
        if self._pitch is None:
            bits = self._filter(obs).flatten(1).float() @ self._directions > 0
            return (bits * 2 ** torch.arange(bits.shape[1])).sum(1)
        situation, number = self._pitch.situation(obs)
        return cells(self._pitch.ball(obs), self.config.grid) * number + situation

    def reward(self, rollout: Rollout, carry: None) -> tuple[dict[str, Tensor], None]:
        """1 / sqrt(n) [T, B], where n counts this visit and all before it, within the rollout in the order of time;
        unrolls of several actors that are learned from together do not see each other."""
        visited = self._visited(rollout)
        before = torch.from_numpy(ranks(visited.numpy()))
        paid = (self._counts[visited] + before + 1).double().rsqrt().float()
        return {"count": paid.view(rollout.action.shape) * rollout.mask.cpu()}, carry

    def update(self, rollout: Rollout) -> dict[str, float]:
        """Counts the rollout's visits."""
        visited = self._visited(rollout)[rollout.mask.cpu().flatten()]
        self._counts += torch.bincount(visited, minlength=len(self._counts))
        return {"bonus/count_places": float((self._counts > 0).sum())}

    def score(self, batch: Any) -> dict[str, Tensor]:
        """{"count": [K]}: what transitions of the replay would pay under today's counts."""
        obs, action = (batch.obs, batch.action) if self.config.per_action else (batch.next_obs, None)
        return {"count": self._counts[self._index(obs, action)].clamp(min=1).double().rsqrt().float()}

    def _visited(self, rollout: Rollout) -> Tensor:
        if self.config.per_action:
            return self._index(rollout.obs[:-1].flatten(0, 1), rollout.action.flatten())
        return self._index(rollout.next_obs().flatten(0, 1), None)

    def _index(self, obs: Tensor, action: Tensor | None) -> Tensor:
        places = self.places(obs)
        return places if action is None else places * self._num_actions + action.cpu()

    def state_dict(self) -> dict[str, Any]:
        return {"counts": self._counts.clone(), "directions": self._directions}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._counts, self._directions = state["counts"].clone(), state["directions"].clone()


def make(spec: EnvSpec, config: Config | None = None, *, seed: int = 0, device: str = "cpu") -> Count:
    """The count bonus of an environment; `seed` draws SimHash's projections."""
    return Count(spec, config or Config(), seed=seed, device=device)
