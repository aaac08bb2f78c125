"""Adaptive TD (Penedones, Riquelme et al. 2019, https://arxiv.org/abs/1906.07987): bootstrap where it can be trusted.

Bootstrapped targets spread local errors of the values; returns of whole episodes do not, but are noisy. An ensemble
fitted to Monte-Carlo returns says in which interval the value of a state lies; a bootstrapped target inside it is
taken, one outside gives way to the middle of the interval. That much is the paper's (as its authors summarise it); size
of the ensemble, bootstrap over episodes, networks and optimiser are design choices here. The paper evaluates a fixed
policy from a fixed batch of episodes (`parts.offline_values`). As the critic's target of an agent that improves it is
our extension: data are short-lived there, so expect wide intervals, and few switches.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from touchline import returns
from touchline.curiosity.parts.episodes import Episode, Episodes
from touchline.curiosity.parts.intervals import OUTSIDE, Ensemble, predictive_interval, switched
from touchline.curiosity.parts.offline_values import discounted
from touchline.networks import scoped_seed
from touchline.returns import Returns
from touchline.rollout import Rollout
from touchline.types import EnvSpec, Stream

KIND = "value_target"
INNER = ("gae", "n_step", "td0", "vtrace")


@dataclass(frozen=True)
class Config:
    """Hyper-parameters of adaptive TD; training fills in what the agent has too.

    Attributes:
        gamma: discount per environment step of the extrinsic stream.
        inner: the bootstrapped target, one of `INNER`; `vtrace` alone can learn from the play of older policies.
        lam: trace decay of `gae` and `vtrace`.
        n_step: steps of `n_step`.
        rho_bar, c_bar: truncation levels of `vtrace`.
        outside: what takes the place of a target outside: the interval's "mid", or its nearest bound ("clip").
        num_members: m networks of the ensemble.
        confidence: of the interval.
        width: multiplies the interval's width; 0 regresses on the ensemble's mean, infinity never switches.
        hidden: widths of the members' MLP.
        learning_rate: of the members, by Adam.
        kept: transitions of ended episodes that the ensemble is fitted to, the newest.
        min_episodes: ended episodes before the first fit; until then no target is replaced.
        batch_size, num_batches: gradient steps after a rollout.
    """

    gamma: float = 0.995
    inner: str = "gae"
    lam: float = 0.95
    n_step: int = 5
    rho_bar: float = 1.0
    c_bar: float = 1.0
    outside: str = "mid"
    num_members: int = 5
    confidence: float = 0.95
    width: float = 1.0
    hidden: tuple[int, ...] = (64, 64)
    learning_rate: float = 1e-3
    kept: int = 16_384
    min_episodes: int = 32
    batch_size: int = 512
    num_batches: int = 32

    def __post_init__(self) -> None:
        for name, choices in (("inner", INNER), ("outside", OUTSIDE)):
            if getattr(self, name) not in choices:
                raise ValueError(f"no {getattr(self, name)!r} in {name}; there are {', '.join(choices)}")
        if self.num_members < 2:
            raise ValueError(f"num_members: an interval takes at least 2, got {self.num_members}")
        if not 0.0 < self.confidence < 1.0:
            raise ValueError(f"confidence: expected above 0 and below 1, got {self.confidence}")
        if not self.width >= 0.0:
            raise ValueError(f"width: expected at least 0, got {self.width}")
        for name in ("kept", "min_episodes", "batch_size", "num_batches"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: expected at least 1, got {getattr(self, name)}")


class AdaptiveTD:
    """The `ValueTarget`: the inner target, kept inside the ensemble's interval; advantages are the inner target's.

    Only the extrinsic stream has intervals, others get the inner target: their rewards change while they are
    learned from, so that returns of older episodes are not theirs any more. Memory: `kept` observations, and
    the episodes that go on; pictures of long matches take gigabytes.
    """

    def __init__(self, spec: EnvSpec, config: Config, *, seed: int, device: str) -> None:
        self.config, self.device = config, torch.device(device)
        self.uses_log_rhos = config.inner == "vtrace"
        with scoped_seed(seed):
            self.ensemble = Ensemble(spec, config.num_members, config.hidden).to(self.device)
        self.optimiser = torch.optim.Adam(self.ensemble.members.parameters(), lr=config.learning_rate)
        self.generator = torch.Generator().manual_seed(seed)
        self.num_episodes = 0
        self._episodes = Episodes()
        shape = (0, *spec.observation_shape)
        self._obs = torch.empty(shape, dtype=getattr(torch, spec.observation_dtype))
        self._returns, self._weights = torch.empty(0), torch.empty(0, config.num_members)
        self._switches = torch.zeros(2, dtype=torch.int64)  # targets replaced, of so many, since the last update

    @property
    def has_intervals(self) -> bool:
        """Enough episodes have ended."""
        return self.num_episodes >= self.config.min_episodes

    def update(self, rollout: Rollout) -> dict[str, float]:
        """Takes in the episodes that ended, and fits the ensemble to their returns."""
        self._keep([episode for episode in self._episodes.add(rollout) if episode.ended])
        if not self.has_intervals:
            return {"value/ended_episodes": float(self.num_episodes)}
        loss = self._fit()
        middle, half = self.interval(rollout.obs[:-1].flatten(0, 1))
        metrics = {
            "value/ensemble_loss": loss,
            "value/ensemble_mean": middle.mean().item(),
            "value/interval_width": 2 * half.mean().item(),
        }
        if self._switches[1]:  # the learning that came before
            metrics["value/switch_fraction"] = (self._switches[0] / self._switches[1]).item()
            self._switches.zero_()
        return metrics

    def _keep(self, episodes: Sequence[Episode]) -> None:
        """Their steps' returns, and how much each member learns from them.

        At a time limit the return goes on with what the ensemble expects, before the first fit with 0. A member counts
        an episode as often as a bootstrap would draw it, Poisson(1) (Oza 2005, "Online bagging and boosting"),
        whole episodes since the steps of one are alike.
        """
        if not episodes:
            return
        last = torch.zeros(len(episodes))
        if self.has_intervals:
            last = self.interval(torch.stack([episode.obs[-1] for episode in episodes]))[0].cpu()
        last *= torch.tensor([not episode.terminated for episode in episodes])
        G = [discounted(e.reward, self.config.gamma, v) for e, v in zip(episodes, last.tolist(), strict=True)]
        drawn = torch.poisson(torch.ones(len(episodes), self.config.num_members), generator=self.generator)
        weights = drawn.repeat_interleave(torch.tensor([len(x) for x in G]), 0)
        kept = self.config.kept
        self._obs = torch.cat([self._obs, *(episode.obs[:-1] for episode in episodes)])[-kept:].clone()
        self._returns = torch.cat([self._returns, *G])[-kept:].clone()
        self._weights = torch.cat([self._weights, weights])[-kept:].clone()
        self.num_episodes += len(episodes)

    def _fit(self) -> float:
        """Some gradient steps on what is kept; the mean loss."""
        config, losses = self.config, []
        if self.ensemble.normaliser is not None:
            newest = self._obs[-config.batch_size * config.num_batches :]
            self.ensemble.normaliser.update(newest.to(self.device))
        for _ in range(config.num_batches):
            rows = torch.randint(len(self._returns), (config.batch_size,), generator=self.generator)
            values = self.ensemble(self._obs[rows].to(self.device))
            errors = (values - self._returns[rows].to(self.device)).square()
            loss = (errors * self._weights[rows].T.to(self.device)).mean()
            self.optimiser.zero_grad()
            loss.backward()
            self.optimiser.step()
            losses.append(loss.detach())
        return torch.stack(losses).mean().item()

    @torch.no_grad()
    def interval(self, obs: Tensor) -> tuple[Tensor, Tensor]:
        """Middle and half width [K] for obs [K, *obs]; infinitely wide before the first fit."""
        parts = [self.ensemble(part.to(self.device)) for part in obs.split(4096)]
        middle, half = predictive_interval(torch.cat(parts, 1), self.config.confidence, width=self.config.width)
        return middle, half if self.has_intervals else torch.full_like(half, math.inf)

    def __call__(
        self,
        rollout: Rollout,
        stream: Stream,
        *,
        reward: Tensor,
        values: Tensor,
        next_values: Tensor,
        log_rhos: Tensor,
    ) -> Returns:
        """Targets and advantages [T, B] of one stream; advantages, and targets of other streams, are the inner's."""
        config = self.config
        tensors = (reward, values, next_values, rollout.terminated, rollout.truncated)
        if config.inner == "gae":
            inner = returns.gae(*tensors, gamma=stream.gamma, lam=config.lam)
        elif config.inner == "vtrace":
            options = {"lam": config.lam, "rho_bar": config.rho_bar, "c_bar": config.c_bar}
            inner = returns.vtrace(*tensors, log_rhos, gamma=stream.gamma, **options)
        else:
            inner = returns.n_step(*tensors, gamma=stream.gamma, n=1 if config.inner == "td0" else config.n_step)
        if stream.name != "extrinsic" or not self.has_intervals:
            return inner
        if stream.gamma != config.gamma:
            raise ValueError(f"returns with gamma {config.gamma}, but a stream with {stream.gamma}: give both the same")
        middle, half = self.interval(rollout.obs[:-1].flatten(0, 1))
        targets, out = switched(inner.targets, middle.view_as(reward), half.view_as(reward), outside=config.outside)
        self._switches += torch.stack([out.sum().cpu(), torch.tensor(out.numel())])
        return Returns(targets, inner.advantages)

    def state_dict(self) -> dict[str, Any]:
        return {
            "ensemble": self.ensemble.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "generator": self.generator.get_state(),
            "num_episodes": self.num_episodes,
            "episodes": self._episodes.state_dict(),
            "obs": self._obs,
            "returns": self._returns,
            "weights": self._weights,
            "switches": self._switches.clone(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.ensemble.load_state_dict(state["ensemble"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.generator.set_state(state["generator"])
        self.num_episodes = state["num_episodes"]
        self._episodes.load_state_dict(state["episodes"])
        self._obs, self._returns, self._weights = state["obs"], state["returns"], state["weights"]
        self._switches = state["switches"].clone()


def make(spec: EnvSpec, config: Config | None = None, *, seed: int = 0, device: str = "cpu") -> AdaptiveTD:
    """Adaptive TD for an environment; `seed` draws the ensemble."""
    return AdaptiveTD(spec, config or Config(), seed=seed, device=device)
