"""Leakage: how TD's errors at a jump of the value spread through bootstrapping to where the value is smooth.

Penedones et al. 2018, "Temporal difference learning with neural networks - study of the leakage propagation problem"
(https://arxiv.org/abs/1807.03064). Definitions of near and far, worlds and sizes are design choices.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from touchline.networks import linear, mlp, scoped_seed


@dataclass(frozen=True)
class LeakageProbe:
    """Errors of values near a jump and far from it.

    Attributes:
        states: [S, ...] what a value function is asked about.
        true_values: [S].
        edge_mask: [S] bool, states at a jump of the value.
        distance: [S] steps to the nearest of them.
        far: states at least so many steps away are far.
    """

    states: Any
    true_values: np.ndarray
    edge_mask: np.ndarray
    distance: np.ndarray
    far: int = 3

    def errors(self, values: Callable[[Any], Any]) -> dict[str, float]:
        """Root mean squared errors of a value function over all states, those at a jump, and those far from it."""
        error = np.asarray(values(self.states), float) - self.true_values
        parts = {"all": np.ones(len(error), bool), "near": self.edge_mask, "far": self.distance >= self.far}
        return {
            name: float(np.sqrt(np.mean(error[part] ** 2))) if part.any() else np.nan for name, part in parts.items()
        }

    def by_distance(self, values: Callable[[Any], Any]) -> list[float]:
        """Mean absolute error at each distance that occurs."""
        error = np.abs(np.asarray(values(self.states), float) - self.true_values)
        return [float(error[self.distance == d].mean()) for d in np.unique(self.distance)]


# The exact chain.


@dataclass(frozen=True)
class Chain:
    """A reversible Markov chain with linear features; every state is as often visited.

    Attributes:
        transitions: [S, S].
        rewards: [S] of leaving each state.
        features: [S, F].
    """

    transitions: np.ndarray
    rewards: np.ndarray
    features: np.ndarray

    def true_values(self, gamma: float) -> np.ndarray:
        """[S] V = (I - gamma P)^-1 r."""
        return np.linalg.solve(np.eye(len(self.rewards)) - gamma * self.transitions, self.rewards)

    def monte_carlo(self, gamma: float) -> np.ndarray:
        """[S] the least-squares fit of the true values, what Monte Carlo tends to."""
        return self.features @ np.linalg.lstsq(self.features, self.true_values(gamma), rcond=None)[0]

    def td(self, gamma: float, lam: float = 0.0) -> np.ndarray:
        """[S] TD(lambda)'s fixed point: F' L (I - gamma P) F w = F' L r, L = (I - gamma lam P)^-1."""
        F, P = self.features, self.transitions
        eye = np.eye(len(P))
        left = F.T @ np.linalg.inv(eye - gamma * lam * P)
        return F @ np.linalg.solve(left @ (eye - gamma * P) @ F, left @ self.rewards)

    def least_dirichlet(self, gamma: float) -> np.ndarray:
        """[S] the f in the span of the features that is least in (1 - gamma) |f - V|^2 + gamma |f - V|_Dir^2.

        For a reversible chain this is TD(0)'s fixed point (Ollivier 2018, https://arxiv.org/abs/1805.00869), with
        |h|_Dir^2 = 1/2 sum P_ij (h_i - h_j)^2, both norms weighted by how often states are visited.
        """
        F, P = self.features, self.transitions
        metric = (1 - gamma) * np.eye(len(P)) + gamma * (np.diag(P.sum(1)) - P)
        return F @ np.linalg.solve(F.T @ metric @ F, F.T @ metric @ self.true_values(gamma))


def corridors(
    *, shared: bool = True, flat: bool = False, gamma: float = 0.95, length: int = 8
) -> tuple[Chain, LeakageProbe]:
    """Two reflecting corridors with a wall between; in the right one every step pays 1 - gamma, so V is 0 | 1.

    One feature a state, but the two cells that face each other across the wall share theirs: the only error that
    the features force is there.

    Args:
        shared: False gives every state a feature of its own (a control).
        flat: the right corridor pays nothing (a control).
    """
    S = 2 * length
    P = np.zeros((S, S))
    for s in range(S):
        for there in (s - 1, s + 1):
            stays = there < 0 or there >= S or {s, there} == {length - 1, length}
            P[s, s if stays else there] += 0.5
    features = np.eye(S)
    if shared:
        features[length] = features[length - 1]
        features = np.delete(features, length, 1)
    rewards = (1 - gamma) * (np.arange(S) >= length) * (not flat)
    chain, s = Chain(P, rewards, features), np.arange(S)
    distance = np.where(s < length, length - 1 - s, s - length)
    return chain, LeakageProbe(s, chain.true_values(gamma), distance == 0, distance, far=1)


# Mazes for networks.

WIDTH, HEIGHT = 16, 8


@dataclass(frozen=True)
class Maze:
    """A random walk on 16 x 8 cells whose right half pays 1 - gamma a step.

    Attributes:
        transitions: [128, 128].
        rewards: [128].
        coordinates: [128, 2], x and y in [-1, 1].
        gamma: discount.
        probe: with the cells on both sides of the middle as edge, and the distance to it in cells.
    """

    transitions: np.ndarray
    rewards: np.ndarray
    coordinates: np.ndarray
    gamma: float
    probe: LeakageProbe

    def successor_features(self, number: int = 8, gamma: float = 0.9) -> np.ndarray:
        """[128, number] the first left singular vectors of (I - gamma P)^-1, of length sqrt(128)."""
        S = len(self.rewards)
        return np.linalg.svd(np.linalg.inv(np.eye(S) - gamma * self.transitions))[0][:, :number] * np.sqrt(S)


def maze(*, wall: bool = True, gap: float | None = 0.01, gamma: float = 0.95, far: int = 3) -> Maze:
    """A maze of two rooms.

    Args:
        wall: between the rooms, so that V jumps from 0 to 1; without it V is smooth (a control).
        gap: in x, between the cells that face each other across the middle, all others are spread over the rest; small
            it is a thin wall, which a network can hardly fit; None spaces all cells alike (a control).
        far: cells from the middle.
    """
    S = WIDTH * HEIGHT
    P = np.zeros((S, S))
    for s in range(S):
        x, y = divmod(s, HEIGHT)
        for i, j in ((x + 1, y), (x - 1, y), (x, y + 1), (x, y - 1)):
            stays = not (0 <= i < WIDTH and 0 <= j < HEIGHT) or (wall and {x, i} == {7, 8})
            P[s, s if stays else i * HEIGHT + j] += 0.25
    x, y = np.divmod(np.arange(S), HEIGHT)
    across = np.linspace(-1, 1, WIDTH) if gap is None else np.r_[np.linspace(-1, 0, 8), np.linspace(gap, 1, 8)]
    rewards = (1 - gamma) * (x >= 8)
    distance = np.where(x < 8, 7 - x, x - 8)
    truth = np.linalg.solve(np.eye(S) - gamma * P, rewards)
    coordinates = np.stack([across[x], np.linspace(-1, 1, HEIGHT)[y]], -1)
    return Maze(P, rewards, coordinates, gamma, LeakageProbe(np.arange(S), truth, distance == 0, distance, far))


def fit_network(
    world: Maze,
    inputs: np.ndarray,
    *,
    method: str,
    hidden: tuple[int, ...] = (32, 32),
    activation: str = "relu",
    iterations: int = 2000,
    learning_rate: float = 1e-3,
    seed: int = 0,
) -> np.ndarray:
    """[S] values of a network after full-batch steps of Adam on expected targets, so that nothing is sampled.

    Args:
        inputs: [S, F] what the network sees of each state.
        method: "mc" regresses on the true values, "td" on r + gamma P V under the present ones.
    """
    if method not in ("mc", "td"):
        raise ValueError(f"no {method!r} in methods; there are mc, td")
    with scoped_seed(seed):
        net = torch.nn.Sequential(mlp(inputs.shape[1], hidden, activation=activation), linear(hidden[-1], 1, gain=1.0))
    seen, P, r, truth = (
        torch.tensor(array, dtype=torch.float32)
        for array in (inputs, world.transitions, world.rewards, world.probe.true_values)
    )
    optimiser = torch.optim.Adam(net.parameters(), lr=learning_rate)
    for _ in range(iterations):
        values = net(seen)[:, 0]
        target = truth if method == "mc" else r + world.gamma * P @ values.detach()
        loss = (values - target).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    with torch.no_grad():
        return net(seen)[:, 0].double().numpy()
