"""The value of a policy from episodes it played, with and without bootstrapping; the setting of the adaptive-TD paper.

Penedones, Riquelme et al. 2019 (https://arxiv.org/abs/1906.07987), algorithm 1 as its summaries tell it; networks,
optimiser and number of passes are design choices.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor

from touchline import returns
from touchline.curiosity.parts.episodes import Episode
from touchline.curiosity.parts.intervals import Ensemble, predictive_interval, switched
from touchline.networks import scoped_seed
from touchline.types import EnvSpec

METHODS = ("adaptive", "mc", "n_step", "td0", "td_lambda")

TargetsOf = Callable[[Tensor], Tensor]
"""Rows [K] of the logs to what their values are to become, [K]."""


def discounted(reward: Tensor, gamma: float, last: float = 0.0) -> Tensor:
    """[L] r_t + gamma r_(t+1) + ... of an episode's rewards [L], then `last` for the state after it."""
    out = np.empty(len(reward))
    for t, r in reversed(list(enumerate(reward.tolist()))):
        last = r + gamma * last
        out[t] = last
    return torch.from_numpy(out).float()


class Logs:
    """The steps of episodes, one after the other.

    Args:
        episodes: `ended` ones; others are left out.
        gamma: discount per step.
        n: rewards before a bootstrap.

    Attributes:
        obs: [S, *obs] of all states, last ones included.
        at: [R] which state a step began in.
        episode: [R] number of its episode.
        returns: [R] of the rest of its episode; a time limit ends it.
        num_episodes: E.
    """

    def __init__(self, episodes: Sequence[Episode], gamma: float, n: int = 1) -> None:
        episodes = [episode for episode in episodes if episode.ended]
        if not episodes:
            raise ValueError("no episode has ended: nothing tells returns")
        self._episodes, self._gamma, self.num_episodes = episodes, gamma, len(episodes)
        lengths = torch.tensor([len(episode.action) for episode in episodes])
        self.obs = torch.cat([episode.obs for episode in episodes])
        self.episode = torch.arange(len(episodes)).repeat_interleave(lengths)
        self.at = torch.arange(int(lengths.sum())) + self.episode
        self.returns = torch.cat([discounted(episode.reward, gamma) for episode in episodes])
        remaining = torch.cumsum(lengths, 0)[self.episode] - torch.arange(len(self.at))
        left = remaining.clamp(max=n)
        over = torch.tensor([episode.terminated for episode in episodes])[self.episode] & (remaining <= n)
        self._leads_to, self._discount = self.at + left, gamma**left * ~over
        reward = torch.cat([*(episode.reward for episode in episodes), torch.zeros(n)])
        rows = torch.arange(len(self.at))
        self._rewards = sum(gamma**k * reward[rows + k] * (left > k) for k in range(n))

    def bootstrapped(self, values: Callable[[Tensor], Tensor], rows: Tensor) -> Tensor:
        """[K] n rewards of rows [K], fewer where the episode ends, and the value of where they led."""
        return self._rewards[rows] + self._discount[rows] * values(self.obs[self._leads_to[rows]])

    def lambda_returns(self, values: Callable[[Tensor], Tensor], lam: float) -> Tensor:
        """[R] `returns.lambda_return` of all steps."""
        V, out, first = values(self.obs), [], 0
        for episode in self._episodes:
            L = len(episode.action)
            ends = torch.zeros(2, L, 1, dtype=torch.bool)
            ends[0, -1], ends[1, -1] = episode.terminated, not episode.terminated
            after = V[first + 1 : first + L + 1, None]
            G = returns.lambda_return(episode.reward[:, None], after, ends[0], ends[1], gamma=self._gamma, lam=lam)
            out.append(G[:, 0])
            first += L + 1
        return torch.cat(out)

    def bootstrap(self, draw: torch.Generator) -> Tensor:
        """[R] how often each step counts if episodes are drawn anew, as many as there are."""
        drawn = torch.randint(self.num_episodes, (self.num_episodes,), generator=draw)
        return torch.bincount(drawn, minlength=self.num_episodes)[self.episode].float()


@dataclass(frozen=True)
class FittedValues:
    """Values of the policy that made some episodes.

    Attributes:
        net: observations to values in deviations of the returns.
        shift, scale: in units of reward a value is shift + scale net(obs).
        switch_fraction: of the last pass' targets, those outside the interval; 0 for other methods.
    """

    net: Ensemble
    shift: float
    scale: float
    switch_fraction: float = 0.0

    @torch.no_grad()
    def __call__(self, obs: Tensor) -> Tensor:
        """[K] values of obs [K, *obs]."""
        return self.shift + self.scale * self.net(obs)[0]


def fit_values(
    episodes: Sequence[Episode],
    spec: EnvSpec,
    *,
    gamma: float,
    method: str = "adaptive",
    n: int = 5,
    lam: float = 0.9,
    num_epochs: int = 40,
    batch_size: int = 128,
    learning_rate: float = 1e-3,
    hidden: tuple[int, ...] = (64, 64),
    num_members: int = 5,
    confidence: float = 0.95,
    width: float = 1.0,
    outside: str = "mid",
    seed: int = 0,
) -> FittedValues:
    """Estimates the value of the policy that made the episodes.

    Every method begins with the same network, learns from the same batches by Adam and differs in its targets alone:
    r + gamma V(s') ("td0"), n rewards and the value they lead to ("n_step"), the lambda-return under the values at
    the beginning of a pass ("td_lambda"), the episode's return ("mc"), or td0's where it lies in the interval of an
    ensemble fitted to returns of bootstrapped episodes, and elsewhere the interval's middle ("adaptive"). TD goes
    on through a time limit; a return ends there.

    Args:
        episodes: of one policy; those that are not `ended` are left out.
        spec: of what the episodes hold as observations.
        gamma: discount per step.
        method: one of `METHODS`.
        num_epochs: passes, of every member of the ensemble too.
        confidence, width, outside: of the interval, as in `adaptive_td.Config`.
        seed: draws networks, batches and bootstraps.
    """
    if method not in METHODS:
        raise ValueError(f"no {method!r} in methods; there are {', '.join(METHODS)}")
    logs = Logs(episodes, gamma, n if method == "n_step" else 1)
    shift, scale = logs.returns.mean().item(), max(logs.returns.std().item(), 1e-6)

    def fresh(number: int) -> FittedValues:
        with scoped_seed(seed + number):
            net = Ensemble(spec, 1, hidden)
        if net.normaliser is not None:
            net.normaliser.update(logs.obs[logs.at])
        return FittedValues(net, shift, scale)

    def learn(values: FittedValues, begin: Callable[[], TargetsOf], weights: Tensor | None = None) -> None:
        """`begin` is called at every pass and gives its targets."""
        optimiser = torch.optim.Adam(values.net.members.parameters(), lr=learning_rate)
        draw = torch.Generator().manual_seed(seed)
        for _ in range(num_epochs):
            targets_of = begin()
            for rows in torch.randperm(len(logs.at), generator=draw).split(batch_size):
                wanted = (targets_of(rows) - shift) / scale
                errors = (values.net(logs.obs[logs.at[rows]])[0] - wanted).square()
                loss = (errors if weights is None else errors * weights[rows]).mean()
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()

    def returns_of(rows: Tensor) -> Tensor:
        return logs.returns[rows]

    values = fresh(0)
    if method == "mc":
        learn(values, lambda: returns_of)
    elif method == "td_lambda":
        learn(values, lambda: logs.lambda_returns(values, lam).__getitem__)
    elif method != "adaptive":
        learn(values, lambda: partial(logs.bootstrapped, values))
    else:
        members, draw = [fresh(1 + number) for number in range(num_members)], torch.Generator().manual_seed(seed)
        for member in members:
            learn(member, lambda: returns_of, logs.bootstrap(draw))
        predictions = torch.stack([member(logs.obs[logs.at]) for member in members])
        middle, half = predictive_interval(predictions, confidence, width=width)
        out = torch.zeros(len(logs.at), dtype=torch.bool)

        def kept_inside(rows: Tensor) -> Tensor:
            target = logs.bootstrapped(values, rows)
            target, out[rows] = switched(target, middle[rows], half[rows], outside=outside)
            return target

        learn(values, lambda: kept_inside)
        return FittedValues(values.net, shift, scale, out.float().mean().item())
    return values
