"""The running scale of a bonus: its discounted returns are brought to deviation 1."""

from __future__ import annotations

import torch
from torch import Tensor


class ReturnScale:
    """Running deviation of discounted returns, by which RND divides its bonus (Burda et al. 2019, section 2.4,
    https://arxiv.org/abs/1810.12894).

    Args:
        gamma: discount of the returns, which run on through ends of episodes.
    """

    def __init__(self, gamma: float) -> None:
        self.gamma = gamma
        self._moments = torch.zeros(3, dtype=torch.float64)  # count, mean, sum of squared distances to it

    @property
    def count(self) -> int:
        """Returns seen so far."""
        return int(self._moments[0])

    @property
    def deviation(self) -> float:
        """1 before any return was seen."""
        count, _, spread = self._moments.tolist()
        return max((spread / count) ** 0.5, 1e-8) if count > 1 and spread > 0 else 1.0

    def follow(self, paid: Tensor, carry: Tensor) -> Tensor:
        """Takes bonuses [T, B] in; returns [B] so far go in with the carry and come out of it."""
        returns, running = torch.empty_like(paid), carry
        for t, now in enumerate(paid):
            running = self.gamma * running + now
            returns[t] = running
        self._merge(returns.double().flatten())
        return running

    def _merge(self, batch: Tensor) -> None:
        count, mean, spread = self._moments.tolist()
        number, delta = len(batch), batch.mean().item() - mean
        total = count + number
        squares = ((batch - batch.mean()) ** 2).sum().item()
        self._moments = torch.tensor(
            [total, mean + delta * number / total, spread + squares + delta**2 * count * number / total],
            dtype=torch.float64,
        )

    def state_dict(self) -> dict[str, Tensor]:
        return {"moments": self._moments}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        self._moments = state["moments"].clone()
