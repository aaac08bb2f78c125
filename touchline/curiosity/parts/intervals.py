"""Intervals in which the value of a state lies, from an ensemble; what adaptive TD does with them.

Penedones, Riquelme et al. 2019 (https://arxiv.org/abs/1906.07987); the form of the interval is from memory.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor, nn

from touchline.networks import linear, make_encoder, observation_normaliser
from touchline.types import EnvSpec

OUTSIDE = ("mid", "clip")
"""What takes the place of a target outside: the interval's middle, or its nearest bound."""


def student_t(confidence: float, freedom: int) -> float:
    """The t with P(|T| <= t) = confidence for Student's T with `freedom` degrees of freedom.

    With T = sqrt(freedom) tan(a), the density in a is proportional to cos(a)^(freedom - 1), which is integrated
    numerically and inverted by bisection.
    """
    nodes, weights = np.polynomial.legendre.leggauss(100)

    def mass(angle: float) -> float:
        return angle / 2 * float(weights @ np.cos(angle / 2 * (nodes + 1)) ** (freedom - 1))

    low, high, wanted = 0.0, math.pi / 2, confidence * mass(math.pi / 2)
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if mass(middle) < wanted else (low, middle)
    return math.sqrt(freedom) * math.tan(low)


def predictive_interval(predictions: Tensor, confidence: float = 0.95, *, width: float = 1.0) -> tuple[Tensor, Tensor]:
    """Middle and half width [...] of the interval for one more member, given those of m members [m, ...].

    mean +- t(confidence, m - 1) sd sqrt(1 + 1 / m), the deviation with m - 1: a predictive interval under normality.
    """
    m, deviation = len(predictions), predictions.std(0)
    if math.isinf(width):
        half = torch.full_like(deviation, math.inf)
    else:
        half = deviation * (width * student_t(confidence, m - 1) * math.sqrt(1 + 1 / m))
    return predictions.mean(0), half


def switched(target: Tensor, middle: Tensor, half: Tensor, *, outside: str = "mid") -> tuple[Tensor, Tensor]:
    """Targets [...] with those outside middle +- half replaced, and which those are, [...] bool."""
    out = (target - middle).abs() > half
    instead = middle if outside == "mid" else middle + (target - middle).clamp(-half, half)
    return torch.where(out, instead, target), out


class Ensemble(nn.Module):
    """m value networks on [K, *obs] that learn from differently weighted episodes; pictures get small CNNs."""

    def __init__(self, spec: EnvSpec, num_members: int, hidden: tuple[int, ...]) -> None:
        super().__init__()
        self.normaliser = observation_normaliser(spec)
        self.members = nn.ModuleList()
        for _ in range(num_members):
            body, width = make_encoder(spec, "auto", hidden, activation="relu", cnn_depths=(8, 16), cnn_width=64)
            self.members.append(nn.Sequential(body, linear(width, 1, gain=1.0)))

    def forward(self, obs: Tensor) -> Tensor:
        """[m, K]"""
        obs = obs if self.normaliser is None else self.normaliser(obs)
        return torch.stack([member(obs)[:, 0] for member in self.members])
