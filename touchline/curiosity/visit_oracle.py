"""The visit oracle: the first visit to a cell of the pitch in an episode pays 1, later ones nothing.

It is told what the others must learn, where the player is, and so bounds from above what curiosity may gain (the grid
oracle of Savinov et al. 2019, https://arxiv.org/abs/1810.02274; cells are floored here, while the authors' code
truncates towards zero, which makes the cells around the origin twice as wide).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from touchline.curiosity.parts.inputs import Pitch, cells
from touchline.rollout import Rollout
from touchline.types import EnvSpec, Stream

PLACES = ("player", "ball")


@dataclass(frozen=True)
class Config:
    """Hyper-parameters of the visit oracle.

    Attributes:
        coef: weight of its advantage.
        gamma: discount per environment step.
        grid: cells along and across the pitch.
        of: whose visits, "player" (the controlled one) or "ball".
    """

    coef: float = 0.02
    gamma: float = 0.99
    grid: tuple[int, int] = (24, 16)
    of: str = "player"

    def __post_init__(self) -> None:
        if self.of not in PLACES or min(self.grid) < 1:
            raise ValueError(f"expected of player or ball and a grid of cells, got {self.of} and {self.grid}")


class VisitOracle:
    """The `Bonus`; its carry is which cells were visited in the running episodes, [B, cells] bool."""

    def __init__(self, spec: EnvSpec, config: Config) -> None:
        self.config, self._pitch = config, Pitch(spec)
        if config.of == "player":
            self._pitch.check_player()
        self.streams = (Stream("visit_oracle", config.gamma, config.coef),)

    def initial_carry(self, num_columns: int) -> Tensor:
        """[B, cells] bool, none visited."""
        return torch.zeros(num_columns, self.config.grid[0] * self.config.grid[1], dtype=torch.bool)

    @torch.no_grad()
    def reward(self, rollout: Rollout, carry: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        """1 [T, B] where a step led to a cell that its episode had not seen."""
        place = self._pitch.ball if self.config.of == "ball" else self._pitch.player
        starts = cells(place(rollout.obs.flatten(0, 1)), self.config.grid).view(rollout.obs.shape[:2]).cpu()
        leads = cells(place(rollout.next_obs().flatten(0, 1)), self.config.grid).view(rollout.action.shape).cpu()
        ended, seen = (rollout.terminated | rollout.truncated).cpu(), carry.clone()
        columns, paid = torch.arange(seen.shape[0]), torch.zeros(leads.shape)
        seen[columns, starts[0]] = True
        for t, visited in enumerate(leads):
            paid[t] = (~seen[columns, visited]).float()
            seen[columns, visited] = True
            seen &= ~ended[t][:, None]
            seen[columns, starts[t + 1]] = True
        return {"visit_oracle": paid * rollout.mask.cpu()}, seen

    def update(self, rollout: Rollout) -> dict[str, float]:
        """Nothing to be learned."""
        return {}

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        pass


def make(spec: EnvSpec, config: Config | None = None, *, seed: int = 0, device: str = "cpu") -> VisitOracle:
    """The visit oracle of a football environment."""
    return VisitOracle(spec, config or Config())
