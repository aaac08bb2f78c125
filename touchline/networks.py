"""Encoders, heads and running normalisers.

Defaults follow "What Matters In On-Policy RL?" (Andrychowicz et al. 2021, https://arxiv.org/abs/2006.05990):
separate policy and value networks, orthogonal initialisation, a policy head 100 times smaller, normalised
observations. Nothing here touches the global random state as long as networks are built inside `scoped_seed`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from touchline.types import EnvSpec

ACTIVATIONS = {"tanh": nn.Tanh, "relu": nn.ReLU, "elu": nn.ELU}
ENCODERS = ("auto", "mlp", "impala_cnn")


@contextmanager
def scoped_seed(seed: int) -> Iterator[None]:
    """Weights drawn inside depend on `seed` alone; torch's global random state is restored afterwards."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


@contextmanager
def torch_threads(number: int | None) -> Iterator[None]:
    """That many torch threads inside; None changes nothing.

    With small networks, threads wait for each other longer than they compute: on a shared machine with two cores,
    acting for 32 matches took 40 ms with two threads and 0.2 ms with one.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(before if number is None else number)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def linear(inputs: int, outputs: int, *, gain: float) -> nn.Linear:
    """A linear layer with orthogonal weights of the given gain and zero bias."""
    layer = nn.Linear(inputs, outputs)
    nn.init.orthogonal_(layer.weight, gain)
    nn.init.zeros_(layer.bias)
    return layer


def apply_head(head: nn.Linear, features: Tensor) -> Tensor:
    """What a head makes of features, in single precision also where `torch.autocast` computes them in bfloat16.

    Eight bits would round values by more than what one step changes, and probabilities by a percent.
    """
    with torch.autocast(features.device.type, enabled=False):
        return head(features.float())


def mlp(inputs: int, hidden: tuple[int, ...], *, activation: str = "tanh") -> nn.Sequential:
    """Hidden layers of a perceptron, [B, inputs] to [B, hidden[-1]], each followed by the activation."""
    layers: list[nn.Module] = []
    for width in hidden:
        layers += [linear(inputs, width, gain=math.sqrt(2)), ACTIVATIONS[activation]()]
        inputs = width
    return nn.Sequential(*layers)


class _ResidualUnit(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = _conv(channels, channels)
        self.second = _conv(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.second(F.relu(self.first(F.relu(x))))


class ImpalaCnn(nn.Module):
    """The residual network of GRF's experiments (Kurach et al. 2020, https://arxiv.org/abs/1907.11180).

    Blocks of conv 3x3, max-pool 3x3 with stride 2 and two residual units; then ReLU, a dense layer, ReLU. The
    GRF code has four blocks, 16, 32, 32, 32; IMPALA (https://arxiv.org/abs/1802.01561) and OpenAI Baselines
    have 16, 32, 32.

    Args:
        shape: (height, width, channels) of uint8 pictures, as in [B, 72, 96, 16].
        depths: channels of the blocks.
        width: size of the dense layer and so of the output [B, width].
    """

    def __init__(
        self, shape: tuple[int, int, int], *, depths: tuple[int, ...] = (16, 32, 32, 32), width: int = 256
    ) -> None:
        super().__init__()
        height, breadth, channels = shape
        blocks: list[nn.Module] = []
        for depth in depths:
            pool = nn.MaxPool2d(3, stride=2, padding=1)
            blocks += [_conv(channels, depth), pool, _ResidualUnit(depth), _ResidualUnit(depth)]
            height, breadth, channels = (height + 1) // 2, (breadth + 1) // 2, depth
        # A contiguous [B, H, W, C] picture is channels_last once permuted: no copy, and faster on CPUs.
        self.blocks = nn.Sequential(*blocks).to(memory_format=torch.channels_last)
        self.dense = linear(height * breadth * channels, width, gain=math.sqrt(2))

    def forward(self, obs: Tensor) -> Tensor:
        x = self.blocks(obs.permute(0, 3, 1, 2).float() / 255)
        return F.relu(self.dense(F.relu(x).flatten(1)))


def _conv(inputs: int, outputs: int) -> nn.Conv2d:
    layer = nn.Conv2d(inputs, outputs, 3, padding=1)
    nn.init.orthogonal_(layer.weight, math.sqrt(2))
    nn.init.zeros_(layer.bias)
    return layer


class ObservationNormaliser(nn.Module):
    """Running mean and deviation over all data seen, each feature apart; the identity before any data.

    Statistics move only in `update`, which belongs after a rollout was learned from: moving them between
    acting and learning would make the learner's first ratio differ from 1. They are buffers, so checkpoints
    carry them.

    Args:
        shape: shape of one observation.
        floor: smallest standard deviation divided by.
        clip: normalised numbers are kept within +-clip, since a flag that was never up has a deviation of
            zero.
    """

    def __init__(self, shape: tuple[int, ...], *, floor: float = 1e-6, clip: float = 10.0) -> None:
        super().__init__()
        self.floor, self.clip = floor, clip
        self.register_buffer("count", torch.zeros((), dtype=torch.float64))
        self.register_buffer("mean", torch.zeros(shape, dtype=torch.float64))
        self.register_buffer("var", torch.ones(shape, dtype=torch.float64))
        self.register_buffer("shift", torch.zeros(shape))
        self.register_buffer("scale", torch.ones(shape))

    @torch.no_grad()
    def update(self, obs: Tensor) -> None:
        """Merges a batch [K, *shape] (Chan et al. 1983, the batched form of Welford's algorithm)."""
        if not len(obs):
            return
        batch = obs.double()
        count, mean, var = len(batch), batch.mean(0), batch.var(0, unbiased=False)
        total, delta = self.count + count, mean - self.mean
        spread = self.var * self.count + var * count + delta.square() * self.count * count / total
        self.mean += delta * count / total
        self.var.copy_(spread / total)
        self.count.copy_(total)
        self.shift.copy_(self.mean)
        self.scale.copy_(1 / self.var.sqrt().clamp(min=self.floor))

    def forward(self, obs: Tensor) -> Tensor:
        if obs.dtype != torch.float32:
            obs = obs.float()
        return ((obs - self.shift) * self.scale).clamp_(-self.clip, self.clip)


class ValueNormaliser(nn.Module):
    """Targets of M value heads brought to mean 0, deviation 1, outputs preserved when the statistics move.

    PopArt (van Hasselt et al. 2016, eq. 9, https://arxiv.org/abs/1602.07714) with debiased running moments.
    """

    def __init__(self, num_values: int, *, decay: float = 0.99, floor: float = 1e-4) -> None:
        super().__init__()
        self.decay, self.floor = decay, floor
        self.register_buffer("weight", torch.zeros((), dtype=torch.float64))
        self.register_buffer("first", torch.zeros(num_values, dtype=torch.float64))
        self.register_buffer("second", torch.zeros(num_values, dtype=torch.float64))
        self.register_buffer("mean", torch.zeros(num_values))
        self.register_buffer("std", torch.ones(num_values))

    @torch.no_grad()
    def update(self, targets: Tensor, head: nn.Linear) -> None:
        """Takes targets [K, M] in and rescales `head`, so that its outputs in units of reward stay."""
        old_mean, old_std = self.mean.clone(), self.std.clone()
        new = 1 - self.decay
        self.weight.mul_(self.decay).add_(new)
        self.first.mul_(self.decay).add_(new * targets.double().mean(0))
        self.second.mul_(self.decay).add_(new * targets.double().square().mean(0))
        mean = self.first / self.weight
        self.mean.copy_(mean)
        self.std.copy_((self.second / self.weight - mean.square()).clamp(min=0).sqrt().clamp(min=self.floor))
        head.weight.mul_((old_std / self.std)[:, None])
        head.bias.copy_((old_std * head.bias + old_mean - self.mean) / self.std)

    def normalise(self, targets: Tensor) -> Tensor:
        return (targets - self.mean) / self.std

    def forward(self, values: Tensor) -> Tensor:
        """[..., M] outputs of the head back in units of reward."""
        return values * self.std + self.mean


def make_encoder(
    spec: EnvSpec,
    encoder: str,
    hidden: tuple[int, ...],
    *,
    activation: str,
    cnn_depths: tuple[int, ...],
    cnn_width: int,
) -> tuple[nn.Module, int]:
    """An encoder [B, *obs] to [B, width], and its width.

    Args:
        encoder: "mlp", "impala_cnn", or "auto": the CNN for pictures [H, W, C], else the MLP.
        hidden: widths of the MLP.
    """
    shape = spec.observation_shape
    if encoder not in ENCODERS:
        raise ValueError(f"no {encoder!r} in encoders; there are {', '.join(ENCODERS)}")
    if encoder == "auto":
        encoder = "impala_cnn" if len(shape) == 3 else "mlp"
    if encoder == "impala_cnn":
        if len(shape) != 3:
            raise ValueError(f"impala_cnn expects pictures [H, W, C], got {shape}: observation='smm'?")
        return ImpalaCnn(shape, depths=cnn_depths, width=cnn_width), cnn_width
    size = math.prod(shape)
    body = mlp(size, hidden, activation=activation)
    return (body if len(shape) == 1 else nn.Sequential(nn.Flatten(), body)), (size, *hidden)[-1]


def observation_normaliser(spec: EnvSpec) -> ObservationNormaliser | None:
    """For observations of floats; pictures are divided by 255 instead."""
    return ObservationNormaliser(spec.observation_shape) if spec.observation_dtype == "float32" else None


class ActorCritic(nn.Module):
    """A policy over A actions and M value heads, one a reward stream.

    Args:
        spec: shapes of the environment; of its observations the policy reads the player's own part, the values the
            central one too (`EnvSpec.central`).
        num_values: M.
        encoder: "mlp", "impala_cnn", or "auto": the CNN for pictures [H, W, C], else the MLP.
        shared: policy and values read one encoder (GRF's and Baselines' way) instead of one each.
        lstm: width of an LSTM (Hochreiter and Schmidhuber 1997, https://doi.org/10.1162/neco.1997.9.8.1735) between the
            shared encoder and the heads; 0 is none. Then `step` and `unroll` take the place of `logits` and `values`.
        normalise_observations: only observations of floats are; pictures are divided by 255.
    """

    def __init__(
        self,
        spec: EnvSpec,
        *,
        num_values: int = 1,
        encoder: str = "auto",
        policy_head_gain: float = 0.01,
        policy_hidden: tuple[int, ...] = (256, 256),
        value_hidden: tuple[int, ...] = (256, 256),
        activation: str = "tanh",
        cnn_depths: tuple[int, ...] = (16, 32, 32, 32),
        cnn_width: int = 256,
        shared: bool = False,
        lstm: int = 0,
        normalise_observations: bool = True,
        normalise_values: bool = False,
    ) -> None:
        super().__init__()
        if lstm and not shared:
            raise ValueError("an LSTM serves policy and values alike: shared_encoder must be True")
        options = {"activation": activation, "cnn_depths": cnn_depths, "cnn_width": cnn_width}
        if spec.central and shared:
            raise ValueError("a central critic sees what the policy may not: shared_encoder must be False")
        self.shared, self._own = shared, spec.own.observation_shape[-1]
        self.normaliser = observation_normaliser(spec.own) if normalise_observations else None
        centre = replace(spec, observation_shape=(spec.central,))
        self.central_normaliser = observation_normaliser(centre) if spec.central and normalise_observations else None
        self.policy_encoder, policy_width = make_encoder(spec.own, encoder, policy_hidden, **options)
        if shared:
            self.value_encoder, value_width = self.policy_encoder, policy_width
        else:
            self.value_encoder, value_width = make_encoder(spec, encoder, value_hidden, **options)
        self.core = nn.LSTMCell(policy_width, lstm) if lstm else None
        if lstm:
            policy_width = value_width = lstm
        self.policy_head = linear(policy_width, spec.num_actions, gain=policy_head_gain)
        self.value_head = linear(value_width, num_values, gain=1.0)
        self.value_normaliser = ValueNormaliser(num_values) if normalise_values else None

    def logits(self, obs: Tensor) -> Tensor:
        """[B, A] unnormalised log-probabilities for obs [B, *obs]."""
        return apply_head(self.policy_head, self.policy_encoder(self._seen(obs)))

    def values(self, obs: Tensor) -> Tensor:
        """[B, M] values in units of reward."""
        values = apply_head(self.value_head, self.value_encoder(self._known(obs)))
        return values if self.value_normaliser is None else self.value_normaliser(values)

    def forward(self, obs: Tensor) -> tuple[Tensor, Tensor]:
        """Logits [B, A] and raw values [B, M]; raw means before the value normaliser's denormalisation."""
        features = self.policy_encoder(self._seen(obs))
        value_features = features if self.shared else self.value_encoder(self._known(obs))
        return apply_head(self.policy_head, features), apply_head(self.value_head, value_features)

    def initial_state(self, num_columns: int) -> Tensor:
        """The LSTM's memory [2, B, H] where an episode begins: its hidden and its cell state, zeros."""
        like = self.policy_head.weight
        return torch.zeros(2, num_columns, self.core.hidden_size, dtype=like.dtype, device=like.device)

    def step(self, obs: Tensor, state: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Logits [B, A], raw values [B, M] and the state after them [2, B, H], for obs [B, *obs] and the one before."""
        state = torch.stack(self.core(self.policy_encoder(self._seen(obs)), tuple(state)))
        return apply_head(self.policy_head, state[0]), apply_head(self.value_head, state[0]), state.float()

    def unroll(self, obs: Tensor, state: Tensor, ended: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The same for T steps and the observation after them, with an empty memory after every end.

        Args:
            obs: [T+1, B, *obs].
            state: [2, B, H] before the first.
            ended: [T, B] bool.

        Returns:
            Logits [T+1, B, A], raw values [T+1, B, M], and the states [T+1, 2, B, H] after each observation.
        """
        features = self.policy_encoder(self._seen(obs.flatten(0, 1))).unflatten(0, obs.shape[:2])
        states = []
        for t, inputs in enumerate(features):
            if t:
                state = state * ~ended[t - 1][:, None]
            state = torch.stack(self.core(inputs, tuple(state))).float()
            states.append(state)
        after = torch.stack(states)
        return apply_head(self.policy_head, after[:, 0]), apply_head(self.value_head, after[:, 0]), after

    @property
    def normalises_observations(self) -> bool:
        """Whether there are statistics of observations to move."""
        return self.normaliser is not None or self.central_normaliser is not None

    def update_normalisers(self, obs: Tensor) -> None:
        """Moves the statistics of observations, if there are any, by those of obs [K, *obs]."""
        if self.normaliser is not None:
            self.normaliser.update(obs[..., : self._own])
        if self.central_normaliser is not None:
            self.central_normaliser.update(obs[..., self._own :])

    def _seen(self, obs: Tensor) -> Tensor:
        """What the policy reads: the player's own observation. Obs may come with or without the central part."""
        obs = obs[..., : self._own]
        return obs if self.normaliser is None else self.normaliser(obs)

    def _known(self, obs: Tensor) -> Tensor:
        """What the values read: all there is."""
        if obs.shape[-1] == self._own:
            return self._seen(obs)
        centre = obs[..., self._own :]
        centre = centre if self.central_normaliser is None else self.central_normaliser(centre)
        return torch.cat([self._seen(obs), centre], -1)


class DuelingQ(nn.Module):
    """Action values of M reward streams from one encoder.

    Dueling (Wang et al. 2016, eq. 9, https://arxiv.org/abs/1511.06581): Q = V + A - mean_a A, for each stream apart.

    Args:
        spec: shapes of the environment.
        num_values: M.
        dueling: False has one head of action values instead.
        normalise_observations: only observations of floats are; pictures are divided by 255.
    """

    def __init__(
        self,
        spec: EnvSpec,
        *,
        num_values: int = 1,
        encoder: str = "auto",
        hidden: tuple[int, ...] = (256, 256),
        activation: str = "relu",
        cnn_depths: tuple[int, ...] = (16, 32, 32, 32),
        cnn_width: int = 256,
        dueling: bool = True,
        normalise_observations: bool = True,
    ) -> None:
        super().__init__()
        self.shape = (num_values, spec.num_actions)
        self.normaliser = observation_normaliser(spec) if normalise_observations else None
        options = {"activation": activation, "cnn_depths": cnn_depths, "cnn_width": cnn_width}
        self.encoder, width = make_encoder(spec, encoder, hidden, **options)
        self.advantage_head = linear(width, math.prod(self.shape), gain=0.1)
        self.value_head = linear(width, num_values, gain=1.0) if dueling else None

    def forward(self, obs: Tensor) -> Tensor:
        """Action values [B, M, A] for obs [B, *obs]."""
        features = self.encoder(obs if self.normaliser is None else self.normaliser(obs))
        values = apply_head(self.advantage_head, features).unflatten(-1, self.shape)
        if self.value_head is None:
            return values
        return apply_head(self.value_head, features)[..., None] + values - values.mean(-1, keepdim=True)
