"""Proximal policy optimisation (Schulman et al. 2017, https://arxiv.org/abs/1707.06347).

What differs from the paper follows "What Matters In On-Policy RL?" (Andrychowicz et al. 2021,
https://arxiv.org/abs/2006.05990): separate policy and value networks, a small policy head, normalised
observations, shuffled single transitions, advantages and targets recomputed at the start of every epoch, a
plain squared value loss, and optionally a clip that is symmetric in log-space. Truncated episodes bootstrap
from their true last observation. Several reward streams, each with its own discount and value head, sum to
one advantage: A = sum_m coef_m A_m.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from touchline import distributed
from touchline.agents.parts import actor_critic
from touchline.agents.parts.actor_critic import ActorCriticAgent, ActorCriticConfig
from touchline.agents.parts.checks import check_ranges, rewards_of
from touchline.rollout import Rollout
from touchline.types import EnvSpec


@dataclass(frozen=True)
class Config(ActorCriticConfig):
    """Hyper-parameters of PPO, beside those of every actor-critic (`parts.actor_critic.ActorCriticConfig`).

    Attributes:
        num_epochs: passes over a rollout.
        minibatch_size: transitions per gradient step; a rollout is cut into minibatches of nearly this size.
        adam_eps: of the optimiser, Adam.
        clip_coef: the probability ratio is clipped to [1 - clip_coef, 1 + clip_coef].
        clip_in_log_space: clip to [1 / (1 + clip_coef), 1 + clip_coef] instead.
        target_kl: a rollout's remaining minibatches are dropped once their KL estimate is above it.
        recompute_advantages: at the start of every epoch, not only of the first.
        normalise_advantages: to mean 0, deviation 1 in each minibatch.
        lstm: width of a memory, one a player, between shared encoder and heads; 0 is none. With one, minibatches
            are whole columns, and `shared_encoder` must be True.
        teacher_coef: weight, at the start, of the cross-entropy to a teacher's actions (Schmitt et al. 2018, eq. 3,
            https://arxiv.org/abs/1803.03835), where a training has a teacher.
        teacher_until: part of the training, 0 to 1, over which that weight falls linearly to 0; it never rises again,
            even if the training is made longer.
        shuffle_advantages: gives every transition the advantage of another one: a control, with which nothing can be
            learned.
    """

    num_epochs: int = 4
    minibatch_size: int = 1024
    adam_eps: float = 1e-5
    clip_coef: float = 0.2
    clip_in_log_space: bool = False
    target_kl: float | None = None
    recompute_advantages: bool = True
    normalise_advantages: bool = True
    shuffle_advantages: bool = False
    teacher_coef: float = 1.0
    teacher_until: float = 0.5
    lstm: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.lstm < 0:
            raise ValueError(f"lstm: expected at least 0, got {self.lstm}")
        check_ranges(self, at_least_1=("num_epochs", "minibatch_size"), above_0=("adam_eps", "clip_coef"))
        if self.teacher_coef < 0 or not 0 < self.teacher_until <= 1:
            raise ValueError(
                f"expected teacher_coef >= 0 and 0 < teacher_until <= 1, got {self.teacher_coef}, {self.teacher_until}"
            )
        if self.lstm and not self.shared_encoder:
            raise ValueError("an LSTM serves policy and values alike: shared_encoder must be True")


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


class Agent(ActorCriticAgent):
    """PPO, learning from one rollout at a time."""

    config: Config
    _teacher_coef = math.inf  # what the last update gave the teacher

    def state_dict(self) -> dict[str, Any]:
        """Beside the rest, how far the agent has been weaned from a teacher."""
        return super().state_dict() | {"teacher_coef": self._teacher_coef}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restores `state_dict()`."""
        super().load_state_dict(state)
        self._teacher_coef = state.get("teacher_coef", math.inf)

    def make_optimiser(self) -> torch.optim.Optimizer:
        """Adam."""
        return torch.optim.Adam(
            self.net.parameters(), lr=self.config.learning_rate, eps=self.config.adam_eps, fused=True
        )

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
        rewards = rewards_of(rollout, rewards, self.streams, self.device)
        self.anneal(progress)

        metrics = dict(self.value_target.update(rollout))
        action, behaviour = rollout.action.flatten(), rollout.behaviour_log_prob.flatten()
        taught = None if rollout.taught is None else rollout.taught.flatten()
        weight = config.teacher_coef * max(0.0, 1.0 - progress / config.teacher_until)
        self._teacher_coef = min(self._teacher_coef, weight)
        valid = rollout.mask.flatten().nonzero()[:, 0]
        steps: list[Tensor] = []
        if not len(valid):
            return metrics

        for epoch in range(config.num_epochs):
            if epoch == 0 or config.recompute_advantages:
                targets, advantages, values = self._targets(rollout, rewards)
                if config.shuffle_advantages:
                    others = torch.randperm(len(valid), generator=generator, device=generator.device)
                    advantages[valid] = advantages[valid[others.to(self.device)]]
            if epoch == 0:
                metrics |= self.fit_of(values[valid], targets[valid])
                if self.net.value_normaliser is not None:
                    self.net.value_normaliser.update(distributed.everyones(targets[valid]), self.net.value_head)
            for rows, logits, raw in self._minibatches(rollout, valid, generator):
                advice = None if taught is None else (taught[rows], self._teacher_coef)
                steps.append(
                    self._step(logits, raw, action[rows], behaviour[rows], advantages[rows], targets[rows], advice)
                )
                if config.target_kl is not None and distributed.mean(steps[-1][1]) > config.target_kl:
                    break
            else:
                continue
            break

        if self.net.normalises_observations:
            self.net.update_normalisers(distributed.everyones(rollout.obs[:-1].flatten(0, 1)[valid]))
        names = ["approx_kl", "clip_fraction", "entropy", "policy_loss", "value_loss", "grad_norm"]
        if taught is not None:
            names += ["teacher_loss", "teacher_agreement"]
            metrics["train/teacher_coef"] = self._teacher_coef
        table = torch.stack(steps)
        metrics |= {f"train/{name}": x for name, x in zip(names, table[:, 1:].mean(0).tolist(), strict=True)}
        metrics["train/first_ratio_error"] = table[0, 0].item()
        metrics["train/gradient_steps"] = float(len(steps))
        metrics["train/learning_rate"] = self.optimiser.param_groups[0]["lr"]
        return metrics

    def _targets(self, rollout: Rollout, rewards: Mapping[str, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """Targets [T*B, M], summed advantages [T*B] and values [T*B, M] under the present networks."""
        if not self.config.lstm:
            return self.targets_of(rollout, rewards)
        with torch.no_grad():
            logits, _, values, next_values = self.unrolled(rollout)
            log_prob = logits[:-1].log_softmax(-1).gather(-1, rollout.action[..., None])[..., 0]
            log_rhos = log_prob - rollout.behaviour_log_prob
        targets, advantages = self.targets_from(rollout, rewards, values, next_values, log_rhos)
        return targets.flatten(0, 1), advantages.flatten(), values[:-1].flatten(0, 1)

    def _minibatches(
        self, rollout: Rollout, valid: Tensor, generator: torch.Generator
    ) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """A pass over a rollout: flat indices [K] of transitions of its T x B, their logits [K, A], raw values [K, M].

        Single transitions are shuffled; with a memory whole columns are.
        """
        number = max(1, round(rollout.action.numel() / self.config.minibatch_size))
        if not self.config.lstm:
            obs = rollout.obs[:-1].flatten(0, 1)
            order = torch.randperm(len(valid), generator=generator, device=generator.device)
            for rows in valid[order.to(self.device)].tensor_split(number):
                yield rows, *self.net(obs[rows])
            return
        columns = rollout.action.shape[1]
        places = torch.arange(rollout.action.numel(), device=self.device).view_as(rollout.action)
        order = torch.randperm(columns, generator=generator, device=generator.device).to(self.device)
        for chosen in order.tensor_split(min(number, columns)):
            part = rollout.columns(chosen)
            if part.mask.any():
                logits, raw, _, _ = self.unrolled(part)
                yield places[:, chosen][part.mask], logits[:-1][part.mask], raw[:-1][part.mask]

    def _step(
        self,
        logits: Tensor,
        values: Tensor,
        action: Tensor,
        behaviour: Tensor,
        advantage: Tensor,
        targets: Tensor,
        advice: tuple[Tensor, float] | None = None,
    ) -> Tensor:
        """One gradient step; the largest |ratio - 1|, then its numbers in the order of the metrics' names.

        `advice` is a teacher's actions [K] and what their cross-entropy weighs.
        """
        config = self.config
        if config.normalise_advantages:
            advantage = (advantage - advantage.mean()) / (advantage.std(unbiased=False) + 1e-8)
        if self.net.value_normaliser is not None:
            targets = self.net.value_normaliser.normalise(targets)
        log_probs = logits.log_softmax(-1)
        log_prob = log_probs.gather(-1, action[:, None])[:, 0]
        policy_loss = ppo_clip_loss(
            log_prob,
            behaviour,
            advantage,
            clip_coef=config.clip_coef,
            log_space=config.clip_in_log_space,
        )
        critic_loss, spread = actor_critic.value_loss(values, targets), actor_critic.entropy(log_probs)
        loss = policy_loss + config.value_coef * critic_loss - config.entropy_coef * spread
        if advice is not None:
            teacher_loss = nn.functional.nll_loss(log_probs, advice[0])
            loss = loss + advice[1] * teacher_loss
        self.optimiser.zero_grad()
        loss.backward()
        distributed.average_gradients(self.net.parameters())
        grad_norm = nn.utils.clip_grad_norm_(self.net.parameters(), config.max_grad_norm)
        self.optimiser.step()
        with torch.no_grad():
            kl, error = actor_critic.approx_kl(log_prob, behaviour), ((log_prob - behaviour).exp() - 1).abs()
            clipped = (error > config.clip_coef).float().mean()
            numbers = [error.max(), kl, clipped, spread, policy_loss, critic_loss, grad_norm]
            if advice is not None:
                numbers += [teacher_loss, (log_probs.argmax(-1) == advice[0]).float().mean()]
            return torch.stack(numbers)


def make(spec: EnvSpec, config: Config | None = None, **options: Any) -> Agent:
    """A PPO agent; the options are those of `actor_critic.make`."""
    config = config or Config()
    return actor_critic.make(Agent, spec, config, lstm=config.lstm, **options)
