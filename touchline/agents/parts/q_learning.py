"""The maths of Q-learning with several reward streams: targets, loss, exploration."""

from __future__ import annotations

import torch
from torch import Tensor


def epsilon_ladder(num_actors: int, *, epsilon: float = 0.4, alpha: float = 7.0) -> Tensor:
    """epsilon^(1 + alpha i / (N - 1)) of actor i of N, [N] (Horgan et al. 2018, section 4.1)."""
    place = torch.arange(num_actors, dtype=torch.float64) / max(1, num_actors - 1)
    return (epsilon ** (1 + alpha * place)).float()


def n_step_targets(
    rewards: Tensor, num_steps: Tensor, terminated: Tensor, bootstrap: Tensor, *, gamma: Tensor
) -> Tensor:
    """sum_j gamma^j r_j + gamma^m bootstrap, the latter only where nothing terminated, [K, M].

    Args:
        rewards: [n, K, M], 0 after an end.
        num_steps: [K], m, up to n.
        terminated: [K] bool.
        bootstrap: [K, M] values of where the steps led.
        gamma: [M].
    """
    discounts = gamma ** torch.arange(len(rewards), device=gamma.device)[:, None]  # [n, M]
    follows = gamma ** num_steps[:, None] * (~terminated)[:, None]
    return (discounts[:, None] * rewards).sum(0) + follows * bootstrap


def huber(error: Tensor) -> Tensor:
    """Half the square up to 1, linear beyond (Mnih et al. 2015, https://doi.org/10.1038/nature14236)."""
    size = error.abs()
    return torch.where(size <= 1, 0.5 * error.square(), size - 0.5)


def of_action(values: Tensor, action: Tensor) -> Tensor:
    """[K, M] of actions [K] among action values [K, M, A]."""
    return values.gather(-1, action[:, None, None].expand(-1, values.shape[1], 1))[..., 0]
