"""Intrinsic curiosity module (Pathak et al. 2017, https://arxiv.org/abs/1705.05363).

Features are learned by telling the action from what it changed (inverse model); the bonus is how badly the next
features were foreseen (forward model, eq. 6). As in the code of Savinov et al. 2019, the forward loss is half the mean
squared error times the number of features, the bonus is cut at +-1, and the joint loss is
scale x ((1 - rho) inverse + rho forward).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from touchline.curiosity.parts.inputs import InputFilter
from touchline.networks import linear, make_encoder, mlp, observation_normaliser, scoped_seed
from touchline.rollout import Rollout
from touchline.types import EnvSpec, Stream


@dataclass(frozen=True)
class Config:
    """Hyper-parameters of ICM.

    Attributes:
        coef: weight of its advantage.
        gamma: discount per environment step.
        eta: the bonus is eta times the forward loss, cut at +-1.
        rho: weight of the forward loss, 0 to 1; the inverse loss has the rest.
        scale: of the joint loss.
        width: features.
        hidden: widths of the encoder's MLP.
        head: width of the hidden layer of inverse and forward model.
        learning_rate: of all networks, by Adam.
        num_epochs: passes over a rollout.
        batch_size: transitions per gradient step.
        freeze_features: leave the encoder as it was drawn: random features.
        strip_clocks: hide what tells time from the networks.
    """

    coef: float = 0.02
    gamma: float = 0.99
    eta: float = 0.1
    rho: float = 0.2
    scale: float = 10.0
    width: int = 64
    hidden: tuple[int, ...] = (128,)
    head: int = 256
    learning_rate: float = 3e-4
    num_epochs: int = 1
    batch_size: int = 512
    freeze_features: bool = False
    strip_clocks: bool = True

    def __post_init__(self) -> None:
        if not 0.0 <= self.rho <= 1.0:
            raise ValueError(f"rho: expected 0 to 1, got {self.rho}")
        for name in ("width", "head", "num_epochs", "batch_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: expected at least 1, got {getattr(self, name)}")


class _Networks(nn.Module):
    def __init__(self, spec: EnvSpec, config: Config) -> None:
        super().__init__()
        options = {"activation": "elu", "cnn_depths": (16, 32), "cnn_width": 128}
        self.normaliser = observation_normaliser(spec)
        body, width = make_encoder(spec, "auto", config.hidden, **options)
        self.encoder = nn.Sequential(body, linear(width, config.width, gain=1.0))
        if config.freeze_features:
            self.encoder.requires_grad_(False)
        inputs = 2 * config.width, config.width + spec.num_actions
        options = {"activation": "relu"}
        self.inverse = nn.Sequential(
            mlp(inputs[0], (config.head,), **options), linear(config.head, spec.num_actions, gain=0.01)
        )
        self.forward_model = nn.Sequential(
            mlp(inputs[1], (config.head,), **options), linear(config.head, config.width, gain=0.01)
        )
        self.num_actions = spec.num_actions

    def features(self, obs: Tensor) -> Tensor:
        """[K, F] of inputs [K, *inputs]."""
        return self.encoder(obs if self.normaliser is None else self.normaliser(obs))

    def forward_loss(self, features: Tensor, action: Tensor, next_features: Tensor) -> Tensor:
        """[K] half the squared error, summed over features."""
        inputs = torch.cat([features, F.one_hot(action, self.num_actions).to(features.dtype)], -1)
        return 0.5 * (self.forward_model(inputs) - next_features).square().sum(-1)


class IntrinsicCuriosity:
    """The `Bonus`; it carries nothing and can score replayed transitions."""

    def __init__(self, spec: EnvSpec, config: Config, *, seed: int, device: str) -> None:
        self.config, self.device = config, torch.device(device)
        self.streams = (Stream("icm", config.gamma, config.coef),)
        self._filter = InputFilter(spec, strip=config.strip_clocks)
        with scoped_seed(seed):
            self.net = _Networks(self._filter.spec, config).to(self.device)
        learned = [p for p in self.net.parameters() if p.requires_grad]
        self.optimiser = torch.optim.Adam(learned, lr=config.learning_rate)
        self.generator = torch.Generator().manual_seed(seed)

    def initial_carry(self, num_columns: int) -> None:
        """Nothing."""

    def reward(self, rollout: Rollout, carry: None) -> tuple[dict[str, Tensor], None]:
        """eta times the forward loss [T, B], cut at 1."""
        obs, action, after = _transitions(rollout)
        paid = self._paid(obs, action, after).view(rollout.action.shape)
        return {"icm": paid * rollout.mask.cpu()}, carry

    def score(self, batch: Any) -> dict[str, Tensor]:
        """{"icm": [K]}: what transitions of the replay would pay under today's networks."""
        return {"icm": self._paid(batch.obs, batch.action, batch.next_obs)}

    @torch.no_grad()
    def _paid(self, obs: Tensor, action: Tensor, after: Tensor) -> Tensor:
        parts = zip(obs.split(4096), action.split(4096), after.split(4096), strict=True)
        losses = [self.net.forward_loss(*self._seen(o), a.to(self.device), *self._seen(n)).cpu() for o, a, n in parts]
        return (self.config.eta * torch.cat(losses)).clamp(-1.0, 1.0)

    def _seen(self, obs: Tensor) -> tuple[Tensor]:
        return (self.net.features(self._filter(obs.to(self.device))),)

    def update(self, rollout: Rollout) -> dict[str, float]:
        """Trains all networks on the rollout."""
        config, kept = self.config, rollout.mask.flatten().cpu().nonzero()[:, 0]
        if not len(kept):
            return {}
        obs, action, after = (x.cpu() for x in _transitions(rollout))
        if self.net.normaliser is not None:
            self.net.normaliser.update(self._filter(obs[kept].to(self.device)))
        table = []
        for _ in range(config.num_epochs):
            shuffled = kept[torch.randperm(len(kept), generator=self.generator)]
            for rows in shuffled.split(config.batch_size):
                features, (chosen, next_features) = self._seen(obs[rows])[0], (action[rows], self._seen(after[rows])[0])
                chosen = chosen.to(self.device)
                inverse = F.cross_entropy(self.net.inverse(torch.cat([features, next_features], -1)), chosen)
                forward = self.net.forward_loss(features, chosen, next_features).mean()
                loss = config.scale * ((1 - config.rho) * inverse + config.rho * forward)
                self.optimiser.zero_grad()
                loss.backward()
                self.optimiser.step()
                table.append(torch.stack([inverse.detach(), forward.detach()]))
        inverse, forward = torch.stack(table).mean(0).tolist()
        return {"bonus/icm_inverse_loss": inverse, "bonus/icm_forward_loss": forward}

    def state_dict(self) -> dict[str, Any]:
        return {
            "net": self.net.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "generator": self.generator.get_state(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.net.load_state_dict(state["net"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.generator.set_state(state["generator"])


def _transitions(rollout: Rollout) -> tuple[Tensor, Tensor, Tensor]:
    """Observations, actions and where they led, [T * B, ...]."""
    return rollout.obs[:-1].flatten(0, 1), rollout.action.flatten(), rollout.next_obs().flatten(0, 1)


def make(spec: EnvSpec, config: Config | None = None, *, seed: int = 0, device: str = "cpu") -> IntrinsicCuriosity:
    """ICM for an environment; `seed` draws its networks."""
    return IntrinsicCuriosity(spec, config or Config(), seed=seed, device=device)
