"""Leakage: how TD's errors at a jump of the value spread through bootstrapping to where the value is smooth.

Penedones et al. 2018, "Temporal difference learning with neural networks - study of the leakage propagation problem"
(https://arxiv.org/abs/1807.03064). Definitions of near and far, worlds and sizes are design choices.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import count
from typing import Any

import numpy as np
import torch

from touchline.curiosity.parts.episodes import Episode, Episodes
from touchline.curiosity.parts.offline_values import fit_values
from touchline.networks import linear, mlp, scoped_seed
from touchline.rollout import Buffer, collect, env_spec


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


# Football.


def steps_to_change(owner: np.ndarray) -> np.ndarray:
    """[L] steps to the nearest moment at which another team has the ball than had it last, L if there is none.

    Args:
        owner: [L] 0 for the own team, 1 for the other, -1 for nobody, who changes nothing.
    """
    last = owner.copy()
    for t in range(1, len(last)):
        last[t] = last[t - 1] if last[t] < 0 else last[t]
    changes = np.flatnonzero((last[1:] != last[:-1]) & (last[:-1] >= 0)) + 1
    if not len(changes):
        return np.full(len(owner), len(owner))
    return np.abs(np.arange(len(owner))[:, None] - changes).min(1)


def owners(obs: np.ndarray, features: dict[str, tuple[int, ...]]) -> np.ndarray:
    """[K] who owns the ball in obs [K, F]: 0 the own team, 1 the other, -1 nobody."""
    if "owner" not in features:
        raise ValueError("these observations do not say who owns the ball: take simple115v2 or egocentric")
    teams = obs[:, list(features["owner"][-2:])]
    return np.where(teams.max(1) > 0.5, teams.argmax(1), -1)


def played_episodes(envs: Any, policy: Any, number: int, *, seed: int) -> list[Episode]:
    """At least so many ended episodes of a policy."""
    spec, generator, episodes, out = env_spec(envs), torch.Generator().manual_seed(seed), Episodes(), []
    buffer, (obs, _) = Buffer(spec, envs.num_envs, 128), envs.reset(seed=seed)
    while len(out) < number:
        rollout, obs = collect(envs, policy, obs, buffer, generator)
        out += [episode for episode in episodes.add(rollout) if episode.ended]
    return out


def sampled_states(
    envs: Any, policy: Any, number: int, *, near: int, seed: int, every: int = 4, max_steps: int = 50_000
) -> tuple[list[bytes], np.ndarray, np.ndarray]:
    """States that a policy visits, half of them within `near` steps of a change of possession if so many are found.

    Args:
        every: steps between the states that are looked at.
        max_steps: of every env, after which it makes do with what was found.

    Returns:
        snapshots [number], observations [number, F], steps to the nearest change [number].
    """
    spec, B = env_spec(envs), envs.num_envs
    draw, generator = np.random.default_rng(seed), torch.Generator().manual_seed(seed)
    obs, _ = envs.reset(seed=seed)
    tracks: list[list[np.ndarray]] = [[] for _ in range(B)]
    kept: list[dict[int, bytes]] = [{} for _ in range(B)]
    found: dict[bool, list[tuple[bytes, np.ndarray, int]]] = {True: [], False: []}
    for step in count():
        if step % every == 0:
            for b, state in enumerate(envs.get_state()):
                kept[b][len(tracks[b])] = state
        for b in range(B):
            tracks[b].append(obs[b].copy())
        action, _ = policy.act(torch.from_numpy(np.ascontiguousarray(obs)), generator)
        obs, _, terminated, truncated, info = envs.step(action.numpy())
        for b in np.flatnonzero(terminated | truncated):
            track = np.stack([*tracks[b], info["final_obs"][b]])  # the change may be what ended it
            distance = steps_to_change(owners(track, spec.features))
            for close in (True, False):
                places = [t for t in kept[b] if (distance[t] <= near) == close]
                for t in draw.permutation(places)[:2]:  # few of an episode, whose states are alike
                    found[close].append((kept[b][t], track[t], int(distance[t])))
            tracks[b], kept[b] = [], {}
        if step == max_steps or min(len(found[True]), len(found[False])) >= number // 2:
            break
    closest = found[True][: max(number // 2, number - len(found[False]))]
    chosen = closest + found[False][: number - len(closest)]
    if not chosen:
        raise ValueError(f"no episode ended within {max_steps} steps")
    return [x[0] for x in chosen], np.stack([x[1] for x in chosen]), np.array([x[2] for x in chosen])


def restarted_returns(
    envs: Any, policy: Any, states: Sequence[bytes], restarts: int, *, gamma: float, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Mean discounted return [S] of restarts from each state with other action noise, and its standard error [S]."""
    B, generator = envs.num_envs, torch.Generator().manual_seed(seed)
    jobs = np.repeat(np.arange(len(states)), restarts)
    returns = np.zeros(len(jobs))
    for first in range(0, len(jobs), B):
        chosen = np.arange(first, min(first + B, len(jobs)))
        padded = np.r_[chosen, np.full(B - len(chosen), chosen[-1])]
        obs, running, discount = envs.set_state([states[jobs[i]] for i in padded]), np.ones(B, bool), 1.0
        total = np.zeros(B)
        while running.any():
            action, _ = policy.act(torch.from_numpy(np.ascontiguousarray(obs)), generator)
            obs, reward, terminated, truncated, _ = envs.step(action.numpy())
            total += running * discount * reward
            running &= ~(terminated | truncated)
            discount *= gamma
        returns[chosen] = total[: len(chosen)]
    table = returns.reshape(len(states), restarts)
    return table.mean(1), table.std(1, ddof=1) / np.sqrt(restarts)


def football_leakage(
    envs: Any,
    policy: Any,
    *,
    gamma: float = 0.99,
    num_episodes: int = 200,
    num_states: int = 64,
    restarts: int = 100,
    near: int = 3,
    methods: Sequence[str] = ("mc", "td0", "td_lambda", "n_step", "adaptive"),
    num_epochs: int = 40,
    seed: int = 0,
) -> dict[str, Any]:
    """Errors of a frozen policy's values near changes of possession and far from them, by how they were fitted.

    Values are fitted to logged episodes; the truth of other visited states is the mean of many restarts. All are of the
    rest of the episode: a time limit is an end here, for every method, as it is for the restarts.

    Args:
        envs: a vector env with `get_state` and `set_state` and vectors as observations.
        policy: `act(obs, generator)`.
        gamma: discount per environment step.
        num_episodes: of the logs.
        num_states, restarts: of the truth.
        near: steps within which a state is near a change.

    Returns:
        {"errors": {method: {"all", "near", "far"}}, "near", "far": how many states, "truth_error": the truth's own mean
        standard error, "truth_std": how much it varies over states, "switch_fraction"}.
    """
    spec = env_spec(envs)
    logs = [replace(episode, terminated=True) for episode in played_episodes(envs, policy, num_episodes, seed=seed)]
    states, obs, distance = sampled_states(envs, policy, num_states, near=near, seed=seed + 1)
    truth, error = restarted_returns(envs, policy, states, restarts, gamma=gamma, seed=seed + 2)
    probe = LeakageProbe(torch.from_numpy(obs), truth, distance <= near, distance, far=near + 1)
    out: dict[str, Any] = {"errors": {}}
    for method in methods:
        values = fit_values(logs, spec, gamma=gamma, method=method, outside="clip", num_epochs=num_epochs, seed=seed)
        out["errors"][method] = probe.errors(values)
        if method == "adaptive":
            out["switch_fraction"] = values.switch_fraction
    return out | {
        "near": int((distance <= near).sum()),
        "far": int((distance > near).sum()),
        "truth_error": float(error.mean()),
        "truth_std": float(truth.std()),
    }
