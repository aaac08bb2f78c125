"""Random network distillation (Burda et al. 2019, https://arxiv.org/abs/1810.12894).

A predictor learns what a fixed random network says of observations; where it errs, observations are new. As in the
paper, the bonus is divided by the deviation of its discounted returns, observations are normalised and cut at +-5, the
stream has its own value head and discount, and its return runs on through ends of episodes. The paper's numbers
(discounts 0.99 and 0.999, weights 1 and 2, a quarter of the data for the predictor) are from memory. Unlike there, the
predictor has an optimiser of its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from touchline.curiosity.parts.inputs import InputFilter
from touchline.curiosity.parts.scale import ReturnScale
from touchline.networks import linear, make_encoder, observation_normaliser, scoped_seed
from touchline.rollout import Rollout
from touchline.types import EnvSpec, Stream

SETTLED = 1000
"""Returns from which on the scale is one to divide by: those of a first few steps hardly differ yet."""


@dataclass(frozen=True)
class Config:
    """Hyper-parameters of RND.

    Attributes:
        coef: weight of its advantage; discounted returns of the bonus have a deviation of about 1, whatever the
            networks' outputs are (their mean may be many times that).
        gamma: discount per environment step.
        episodic: True cuts its return at ends of episodes; replay agents ask for that.
        width: outputs of both networks.
        hidden: widths of the MLP; the predictor has one layer more than the target.
        learning_rate: of the predictor, by Adam.
        update_share: part of a rollout's transitions that the predictor learns from.
        batch_size: transitions per gradient step.
        strip_clocks: hide what tells time from both networks.
        clip: normalised observations are kept within +-clip.
    """

    coef: float = 0.5
    gamma: float = 0.99
    episodic: bool = False
    width: int = 64
    hidden: tuple[int, ...] = (128,)
    learning_rate: float = 1e-4
    update_share: float = 0.25
    batch_size: int = 512
    strip_clocks: bool = True
    clip: float = 5.0

    def __post_init__(self) -> None:
        if not 0.0 < self.update_share <= 1.0:
            raise ValueError(f"update_share: expected above 0 and at most 1, got {self.update_share}")
        for name in ("width", "batch_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: expected at least 1, got {getattr(self, name)}")


class RandomNetworkDistillation:
    """The `Bonus`; its carry is the discounted return of every column, [B]."""

    def __init__(self, spec: EnvSpec, config: Config, *, seed: int, device: str) -> None:
        self.config, self.device = config, torch.device(device)
        self.streams = (Stream("rnd", config.gamma, config.coef, config.episodic),)
        self._filter = InputFilter(spec, strip=config.strip_clocks)
        inputs, options = self._filter.spec, {"activation": "relu", "cnn_depths": (16, 32), "cnn_width": 128}
        self.normaliser = observation_normaliser(inputs)
        if self.normaliser is not None:
            self.normaliser.clip = config.clip
            self.normaliser.to(self.device)
        with scoped_seed(seed):
            target, width = make_encoder(inputs, "auto", config.hidden, **options)
            self.target = nn.Sequential(target, linear(width, config.width, gain=2**0.5)).requires_grad_(False)
            body, width = make_encoder(inputs, "auto", config.hidden, **options)
            deeper = [linear(width, width, gain=2**0.5), nn.ReLU(), linear(width, config.width, gain=2**0.5)]
            self.predictor = nn.Sequential(body, *deeper)
        self.target.to(self.device), self.predictor.to(self.device)
        self.optimiser = torch.optim.Adam(self.predictor.parameters(), lr=config.learning_rate)
        self.scale = ReturnScale(config.gamma)
        self.generator = torch.Generator().manual_seed(seed)

    def initial_carry(self, num_columns: int) -> Tensor:
        """[B] returns of nothing."""
        return torch.zeros(num_columns)

    @torch.no_grad()
    def error(self, obs: Tensor) -> Tensor:
        """[K] half the mean squared error of the predictor for obs [K, *obs], the raw bonus."""
        return torch.cat([self._error(part).cpu() for part in obs.split(4096)])

    def _error(self, obs: Tensor) -> Tensor:
        obs = self._filter(obs.to(self.device))
        obs = obs if self.normaliser is None else self.normaliser(obs)
        return 0.5 * (self.predictor(obs) - self.target(obs)).square().mean(-1)

    def reward(self, rollout: Rollout, carry: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        """The error [T, B] where each step led, over the running scale, which it moves first; 0 until that settles."""
        raw = self.error(rollout.next_obs().flatten(0, 1)).view(rollout.action.shape) * rollout.mask.cpu()
        carry = self.scale.follow(raw, carry)
        return {"rnd": self._scaled(raw)}, carry

    def score(self, batch: Any) -> dict[str, Tensor]:
        """{"rnd": [K]}: what transitions of the replay would pay under today's predictor."""
        return {"rnd": self._scaled(self.error(batch.next_obs))}

    def _scaled(self, error: Tensor) -> Tensor:
        return error / self.scale.deviation if self.scale.count >= SETTLED else torch.zeros_like(error)

    def update(self, rollout: Rollout) -> dict[str, float]:
        """Moves the observations' statistics and trains the predictor on a share of the transitions."""
        obs = rollout.next_obs()[rollout.mask]
        if not len(obs):
            return {}
        if self.normaliser is not None:
            self.normaliser.update(self._filter(obs.to(self.device)))
        order = torch.randperm(len(obs), generator=self.generator)
        chosen = obs[order[: max(1, round(len(obs) * self.config.update_share))].to(obs.device)]
        losses = []
        for part in chosen.split(self.config.batch_size):
            loss = self._error(part).mean()
            self.optimiser.zero_grad()
            loss.backward()
            self.optimiser.step()
            losses.append(loss.detach())
        return {"bonus/rnd_loss": torch.stack(losses).mean().item(), "bonus/rnd_scale": self.scale.deviation}

    def state_dict(self) -> dict[str, Any]:
        return {
            "target": self.target.state_dict(),
            "predictor": self.predictor.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "normaliser": {} if self.normaliser is None else self.normaliser.state_dict(),
            "scale": self.scale.state_dict(),
            "generator": self.generator.get_state(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.target.load_state_dict(state["target"])
        self.predictor.load_state_dict(state["predictor"])
        self.optimiser.load_state_dict(state["optimiser"])
        if self.normaliser is not None:
            self.normaliser.load_state_dict(state["normaliser"])
        self.scale.load_state_dict(state["scale"])
        self.generator.set_state(state["generator"])


def make(
    spec: EnvSpec, config: Config | None = None, *, seed: int = 0, device: str = "cpu"
) -> RandomNetworkDistillation:
    """RND for an environment; `seed` draws both networks."""
    return RandomNetworkDistillation(spec, config or Config(), seed=seed, device=device)
