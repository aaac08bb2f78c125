"""Proximal policy optimisation (Schulman et al. 2017, https://arxiv.org/abs/1707.06347).

What differs from the paper follows "What Matters In On-Policy RL?" (Andrychowicz et al. 2021,
https://arxiv.org/abs/2006.05990): separate policy and value networks, a small policy head, normalised
observations, shuffled single transitions, advantages and targets recomputed at the start of every epoch, a
plain squared value loss, and optionally a clip that is symmetric in log-space. Truncated episodes bootstrap
from their true last observation. Several reward streams, each with its own discount and value head, sum to
one advantage: A = sum_m coef_m A_m.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from touchline.agents.parts import value_targets
from touchline.curiosity.parts.seams import ValueTarget
from touchline.networks import ACTIVATIONS, ENCODERS, ActorCritic, scoped_seed
from touchline.rollout import Rollout
from touchline.types import EnvSpec, Stream


@dataclass(frozen=True)
class Config:
    """Hyper-parameters of PPO.

    Attributes:
        unroll_length: T, environment steps per env and rollout.
        num_epochs: passes over a rollout.
        minibatch_size: transitions per gradient step; a rollout is cut into minibatches of nearly this size.
        learning_rate: Adam's, at the start.
        anneal_learning_rate: fall linearly to 0 at `total_steps`.
        gamma: discount per environment step of the extrinsic stream.
        extrinsic_coef: weight of the extrinsic advantage.
        gae_lambda: trace decay of `gae` and `vtrace`.
        n_step: steps of the value target `n_step`.
        value_target: a name of `parts.value_targets`.
        clip_coef: the probability ratio is clipped to [1 - clip_coef, 1 + clip_coef].
        clip_in_log_space: clip to [1 / (1 + clip_coef), 1 + clip_coef] instead.
        value_coef: weight of the value loss, half the squared error.
        target_kl: a rollout's remaining minibatches are dropped once their KL estimate is above it.
        recompute_advantages: at the start of every epoch, not only of the first.
        normalise_advantages: to mean 0, deviation 1 in each minibatch.
        shared_encoder: policy and values share one encoder.
        policy_hidden, value_hidden: widths of the MLPs.
        cnn_depths: channels of the CNN's blocks.
    """

    unroll_length: int = 128
    num_epochs: int = 4
    minibatch_size: int = 1024
    learning_rate: float = 3e-4
    adam_eps: float = 1e-5
    anneal_learning_rate: bool = False
    gamma: float = 0.995
    extrinsic_coef: float = 1.0
    gae_lambda: float = 0.95
    n_step: int = 5
    value_target: str = "gae"
    clip_coef: float = 0.2
    clip_in_log_space: bool = False
    entropy_coef: float = 0.01
    value_coef: float = 0.5
    max_grad_norm: float = 0.5
    target_kl: float | None = None
    recompute_advantages: bool = True
    normalise_advantages: bool = True
    normalise_observations: bool = True
    normalise_values: bool = False
    encoder: str = "auto"
    shared_encoder: bool = False
    policy_hidden: tuple[int, ...] = (256, 256)
    value_hidden: tuple[int, ...] = (256, 256)
    activation: str = "tanh"
    cnn_depths: tuple[int, ...] = (16, 32, 32, 32)
    cnn_width: int = 256

    def __post_init__(self) -> None:
        for name in ("unroll_length", "num_epochs", "minibatch_size", "n_step"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: expected at least 1, got {getattr(self, name)}")
        for name in ("gamma", "gae_lambda"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise ValueError(f"{name}: expected 0 to 1, got {getattr(self, name)}")
        for name in ("learning_rate", "adam_eps", "clip_coef", "max_grad_norm"):
            if not getattr(self, name) > 0.0:
                raise ValueError(f"{name}: expected a number above 0, got {getattr(self, name)}")
        known = {"value_target": value_targets.NAMES, "encoder": ENCODERS, "activation": tuple(ACTIVATIONS)}
        for name, choices in known.items():
            if getattr(self, name) not in choices:
                raise ValueError(f"no {getattr(self, name)!r} in {name}; there are {', '.join(choices)}")


def ppo_clip_loss(
    log_prob: Tensor,
    behaviour_log_prob: Tensor,
    advantage: Tensor,
    *,
    clip_coef: float,
    log_space: bool = False,
) -> Tensor:
    """The clipped surrogate objective, negated (Schulman et al. 2017, eq. 7, https://arxiv.org/abs/1707.06347).

    Args:
        log_prob, behaviour_log_prob, advantage: [K].
        log_space: the lower bound is 1 / (1 + clip_coef) instead of 1 - clip_coef.
    """
    ratio = (log_prob - behaviour_log_prob).exp()
    low = 1 / (1 + clip_coef) if log_space else 1 - clip_coef
    return -torch.min(ratio * advantage, ratio.clamp(low, 1 + clip_coef) * advantage).mean()


def value_loss(values: Tensor, targets: Tensor) -> Tensor:
    """Half the mean squared error, summed over streams; values and targets [K, M]."""
    return 0.5 * (values - targets).square().mean(0).sum()


def entropy(log_probs: Tensor) -> Tensor:
    """Mean entropy in nats of distributions given as log-probabilities [K, A]."""
    return -(log_probs.exp() * log_probs).sum(-1).mean()


def approx_kl(log_prob: Tensor, behaviour_log_prob: Tensor) -> Tensor:
    """KL(behaviour, policy) from samples [K]: the mean of r - 1 - log r (http://joschu.net/blog/kl-approx.html)."""
    log_ratio = log_prob - behaviour_log_prob
    return (log_ratio.exp() - 1 - log_ratio).mean()


def explained_variance(values: Tensor, targets: Tensor) -> Tensor:
    """1 - var(targets - values) / var(targets), for flat tensors; nan if the targets do not vary."""
    spread = targets.var(unbiased=False)
    return torch.where(spread > 0, 1 - (targets - values).var(unbiased=False) / spread, torch.nan)


class Agent:
    """PPO with a policy, M value heads, an optimiser and a value target.

    Args:
        spec: shapes of the environment.
        config: hyper-parameters.
        streams: the reward streams, one value head each, in order.
        value_target: turns rewards into targets and advantages, the same way for every stream.
        device: of the networks; rollouts are moved there to learn.
    """

    def __init__(
        self,
        spec: EnvSpec,
        config: Config,
        streams: Sequence[Stream],
        value_target: ValueTarget,
        net: ActorCritic,
        device: torch.device | str = "cpu",
    ) -> None:
        self.spec, self.config, self.streams = spec, config, tuple(streams)
        self.value_target = value_target
        self.device = torch.device(device)
        self.net = net.to(self.device)
        self.optimiser = torch.optim.Adam(
            self.net.parameters(), lr=config.learning_rate, eps=config.adam_eps, fused=True
        )

    @torch.inference_mode()
    def act(self, obs: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Samples actions [B] and gives their log-probabilities [B] for obs [B, *obs].

        The action with the largest p / e, e exponential, is a sample of p (the Gumbel trick without
        logarithms).
        """
        log_probs = self.net.logits(obs.to(self.device)).to(generator.device).log_softmax(-1)
        noise = torch.empty_like(log_probs).exponential_(generator=generator)
        action = (log_probs.exp() / noise).argmax(-1)
        return action, log_probs.gather(-1, action[:, None])[:, 0]

    @torch.inference_mode()
    def act_greedy(self, obs: Tensor) -> Tensor:
        """The most probable actions [B] for obs [B, *obs]."""
        return self.net.logits(obs.to(self.device)).argmax(-1)

    def learn(
        self,
        rollout: Rollout,
        rewards: Mapping[str, Tensor] | None = None,
        *,
        generator: torch.Generator,
        progress: float = 0.0,
    ) -> dict[str, float]:
        """Improves policy and values on one rollout, and then moves the observations' statistics.

        Args:
            rollout: on-policy experience.
            rewards: {stream: [T, B]} for every stream; None means the rollout's own as "extrinsic".
            generator: shuffles the transitions.
            progress: part of the training that is over, 0 to 1, for the learning rate.

        Returns:
            Metrics, means over all minibatches.
        """
        config = self.config
        rollout = rollout.to(self.device)
        rewards = {"extrinsic": rollout.reward} if rewards is None else rewards
        rewards = {name: reward.to(self.device) for name, reward in rewards.items()}
        if set(rewards) != {stream.name for stream in self.streams}:
            expected = ", ".join(stream.name for stream in self.streams)
            raise ValueError(f"expected rewards of streams {expected}; got {', '.join(rewards)}")
        if config.anneal_learning_rate:
            for group in self.optimiser.param_groups:
                group["lr"] = config.learning_rate * max(0.0, 1.0 - progress)

        metrics = dict(self.value_target.update(rollout))
        obs, action = rollout.obs[:-1].flatten(0, 1), rollout.action.flatten()
        behaviour = rollout.behaviour_log_prob.flatten()
        valid = rollout.mask.flatten().nonzero()[:, 0]
        steps: list[Tensor] = []
        if not len(valid):
            return metrics

        for epoch in range(config.num_epochs):
            if epoch == 0 or config.recompute_advantages:
                targets, advantages, values = self._targets(rollout, rewards)
            if epoch == 0:
                metrics |= self._fit(values[valid], targets[valid])
                if self.net.value_normaliser is not None:
                    self.net.value_normaliser.update(targets[valid], self.net.value_head)
            order = torch.randperm(len(valid), generator=generator, device=generator.device)
            shuffled = valid[order.to(self.device)]
            for rows in shuffled.tensor_split(max(1, round(len(valid) / config.minibatch_size))):
                steps.append(self._step(obs[rows], action[rows], behaviour[rows], advantages[rows], targets[rows]))
                if config.target_kl is not None and steps[-1][0].item() > config.target_kl:
                    break
            else:
                continue
            break

        if self.net.normaliser is not None:
            self.net.normaliser.update(obs[valid])
        names = ("approx_kl", "clip_fraction", "entropy", "policy_loss", "value_loss", "grad_norm")
        table = torch.stack(steps)
        metrics |= {f"train/{name}": x for name, x in zip(names, table.mean(0).tolist(), strict=False)}
        metrics["train/first_ratio_error"] = table[0, -1].item()
        metrics["train/gradient_steps"] = float(len(steps))
        metrics["train/learning_rate"] = self.optimiser.param_groups[0]["lr"]
        return metrics

    def state_dict(self) -> dict[str, Any]:
        """Weights with all running statistics, optimiser and value target."""
        return {
            "net": self.net.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "value_target": self.value_target.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restores `state_dict()`."""
        self.net.load_state_dict(state["net"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.value_target.load_state_dict(state["value_target"])

    def load_policy(self, state: Mapping[str, Any]) -> None:
        """Restores of `state_dict()` what acting needs."""
        self.net.load_state_dict(state["net"])

    @torch.no_grad()
    def _targets(self, rollout: Rollout, rewards: Mapping[str, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """Targets [T*B, M], summed advantages [T*B] and values [T*B, M] under the present networks."""
        values, next_values = rollout.values(self.net.values)
        log_rhos = torch.zeros_like(rollout.reward)
        if self.value_target.uses_log_rhos:
            log_probs, _ = rollout.values(lambda obs: self.net.logits(obs).log_softmax(-1))
            log_rhos = log_probs[:-1].gather(-1, rollout.action[..., None])[..., 0]
            log_rhos -= rollout.behaviour_log_prob
        targets, advantages = [], torch.zeros_like(rollout.reward)
        for m, stream in enumerate(self.streams):
            result = self.value_target(
                rollout if stream.episodic else rollout.without_ends(),
                stream,
                reward=rewards[stream.name],
                values=values[:-1, :, m],
                next_values=next_values[..., m] if stream.episodic else values[1:, :, m],
                log_rhos=log_rhos,
            )
            targets.append(result.targets)
            advantages += stream.coef * result.advantages
        return torch.stack(targets, -1).flatten(0, 1), advantages.flatten(), values[:-1].flatten(0, 1)

    def _step(self, obs: Tensor, action: Tensor, behaviour: Tensor, advantage: Tensor, targets: Tensor) -> Tensor:
        """One gradient step; its numbers in the order of the metrics' names, the largest |ratio - 1| last."""
        config = self.config
        if config.normalise_advantages:
            advantage = (advantage - advantage.mean()) / (advantage.std(unbiased=False) + 1e-8)
        if self.net.value_normaliser is not None:
            targets = self.net.value_normaliser.normalise(targets)
        logits, values = self.net(obs)
        log_probs = logits.log_softmax(-1)
        log_prob = log_probs.gather(-1, action[:, None])[:, 0]
        policy_loss = ppo_clip_loss(
            log_prob,
            behaviour,
            advantage,
            clip_coef=config.clip_coef,
            log_space=config.clip_in_log_space,
        )
        critic_loss, spread = value_loss(values, targets), entropy(log_probs)
        self.optimiser.zero_grad()
        (policy_loss + config.value_coef * critic_loss - config.entropy_coef * spread).backward()
        grad_norm = nn.utils.clip_grad_norm_(self.net.parameters(), config.max_grad_norm)
        self.optimiser.step()
        with torch.no_grad():
            kl, error = approx_kl(log_prob, behaviour), ((log_prob - behaviour).exp() - 1).abs()
            clipped = (error > config.clip_coef).float().mean()
            return torch.stack([kl, clipped, spread, policy_loss, critic_loss, grad_norm, error.max()])

    def _fit(self, values: Tensor, targets: Tensor) -> dict[str, float]:
        """How well the values knew the targets before learning; the extrinsic stream without a suffix."""
        out = {}
        for m, stream in enumerate(self.streams):
            suffix = "" if m == 0 else f"_{stream.name}"
            known = explained_variance(values[:, m], targets[:, m])
            out[f"train/explained_variance{suffix}"] = known.item()
            out[f"train/value_mean{suffix}"] = values[:, m].mean().item()
        return out


def make(
    spec: EnvSpec,
    config: Config | None = None,
    *,
    bonus_streams: Sequence[Stream] = (),
    value_target: ValueTarget | None = None,
    seed: int = 0,
    device: torch.device | str = "cpu",
) -> Agent:
    """A PPO agent whose weights depend on `seed` alone.

    Args:
        bonus_streams: reward streams beside the extrinsic one, in the order of their value heads.
        value_target: one made elsewhere (adaptive TD, say) instead of `config.value_target`.
    """
    config = Config() if config is None else config
    streams = (Stream("extrinsic", config.gamma, config.extrinsic_coef), *bonus_streams)
    if value_target is None:
        value_target = value_targets.make(config.value_target, lam=config.gae_lambda, n=config.n_step)
    with scoped_seed(seed):
        net = ActorCritic(
            spec,
            num_values=len(streams),
            encoder=config.encoder,
            policy_hidden=config.policy_hidden,
            value_hidden=config.value_hidden,
            activation=config.activation,
            cnn_depths=config.cnn_depths,
            cnn_width=config.cnn_width,
            shared=config.shared_encoder,
            normalise_observations=config.normalise_observations,
            normalise_values=config.normalise_values,
        )
    return Agent(spec, config, streams, value_target, net, device)
