"""IMPALA's learner: an actor-critic whose experience may be older than its policy (Espeholt et al. 2018,
https://arxiv.org/abs/1802.01561).

V-trace (section 4) corrects values and policy gradient for the lag between the policy that acted and the one that
learns. The loss is equation 4 and the terms after it: -rho A log pi(a|s), half the squared distance of the values to
their V-trace targets, and the entropy. Unlike the paper's code, terms are means over all transitions instead of sums,
so that a learning rate does not depend on the batch's size (SEED RL does the same,
https://arxiv.org/abs/1910.06591); truncated episodes bootstrap from their true last observation.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from touchline import distributed
from touchline.agents.parts import actor_critic
from touchline.agents.parts.actor_critic import ActorCriticAgent, ActorCriticConfig
from touchline.agents.parts.checks import check_choices, check_ranges, rewards_of
from touchline.agents.parts.mulex_agent import MulexAgent, learn_one_by_one, make_parts
from touchline.curiosity import mulex
from touchline.curiosity.parts.seams import ValueTarget
from touchline.rollout import Rollout
from touchline.types import EnvSpec, Stream

OPTIMISERS = ("adam", "rmsprop")


@dataclass(frozen=True)
class Config(ActorCriticConfig):
    """Hyper-parameters of IMPALA, beside those of every actor-critic (`parts.actor_critic.ActorCriticConfig`).

    Attributes:
        batch_size: unrolls (columns of T steps) per gradient step.
        num_epochs: times that an unroll is used; V-trace corrects for the steps made in between.
        optimiser: "adam" or "rmsprop" (not centred, no momentum); torch adds epsilon outside the root, the paper's
            TensorFlow inside.
        optimiser_eps: its epsilon.
        rmsprop_decay: of the running mean square.
        lstm: width of an LSTM after the shared encoder; 0 is none. The memory is stored where an unroll begins.
        clip_coef: drops the policy gradient of transitions whose ratio has left 1 +- clip_coef in the direction of
            their advantage, as PPO's clip does (IMPACT: Luo et al. 2020, https://arxiv.org/abs/1912.00167, with the
            policy that acted in place of a target network); None follows IMPALA.
        normalise_advantages: divide them by their deviation in the batch, so that the entropy's weight does not depend
            on how large rewards are (the paper does not).
        reward_clip: the extrinsic reward is clipped to +-this; None leaves it as it is.
        mulex: None has one policy, whose advantage is the streams' weighted sum; a schedule of `curiosity.mulex` gives
            each stream a policy of its own, which take turns in acting.
        mulex_steps: of a turn of the schedule "steps".
        share_experience: MULEX's policies learn from each other's transitions too (False is an ablation).
        share_encoder: MULEX's networks share one encoder.
    """

    unroll_length: int = 32
    value_target: str = "vtrace"
    gae_lambda: float = 1.0
    max_grad_norm: float = 40.0
    shared_encoder: bool = True
    batch_size: int = 32
    num_epochs: int = 1
    optimiser: str = "adam"
    optimiser_eps: float = 1e-7
    rmsprop_decay: float = 0.99
    lstm: int = 0
    clip_coef: float | None = None
    normalise_advantages: bool = False
    reward_clip: float | None = None
    mulex: str | None = None
    mulex_steps: int = 50
    share_experience: bool = True
    share_encoder: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.lstm < 0:
            raise ValueError(f"lstm: expected at least 0, got {self.lstm}")
        check_ranges(self, at_least_1=("batch_size", "num_epochs"), share=("rmsprop_decay",))
        check_ranges(self, above_0=("optimiser_eps",))
        check_choices(self, optimiser=OPTIMISERS)
        if self.reward_clip is not None:
            check_ranges(self, above_0=("reward_clip",))
        if self.clip_coef is not None:
            check_ranges(self, above_0=("clip_coef",), share=("clip_coef",))
        if self.mulex is not None:
            check_choices(self, mulex=mulex.SCHEDULES)
            check_ranges(self, at_least_1=("mulex_steps",))
            if self.lstm or self.value_target != "vtrace":
                raise ValueError(
                    "MULEX's policies learn from each other's play: value_target must be vtrace, and lstm 0"
                )


def beyond_clip(log_rhos: Tensor, advantages: Tensor, *, clip_coef: float) -> Tensor:
    """[T, B] bool, where PPO's clipped objective has no gradient: the ratio went as far as the advantage may take it.

    Args:
        log_rhos: [T, B] logarithms of the ratios.
        advantages: [T, B].
    """
    ratio = log_rhos.exp()
    return ((ratio > 1 + clip_coef) & (advantages > 0)) | ((ratio < 1 - clip_coef) & (advantages < 0))


class Agent(ActorCriticAgent):
    """IMPALA, learning from a batch of unrolls at a time."""

    config: Config

    @property
    def columns_per_update(self) -> int:
        """Columns that it wants from actors for an update."""
        return self.config.batch_size

    def check_lag(self) -> None:
        """Refuses a value target that cannot correct for the lag of actors."""
        if not self.value_target.uses_log_rhos:
            raise ValueError(
                "this value target takes the play of an older policy for the newest's: use vtrace, or no actors"
            )

    def make_optimiser(self) -> torch.optim.Optimizer:
        """What the config names."""
        config = self.config
        if config.optimiser == "adam":
            return torch.optim.Adam(
                self.net.parameters(), lr=config.learning_rate, eps=config.optimiser_eps, fused=True
            )
        return torch.optim.RMSprop(
            self.net.parameters(), lr=config.learning_rate, alpha=config.rmsprop_decay, eps=config.optimiser_eps
        )

    def learn(
        self,
        rollout: Rollout,
        rewards: Mapping[str, Tensor] | None = None,
        *,
        generator: torch.Generator,
        progress: float = 0.0,
    ) -> dict[str, float]:
        """`num_epochs` gradient steps for every `batch_size` columns of a rollout; then moves the normaliser.

        Args:
            rollout: experience of this or an older policy; its columns are taken in a random order.
            rewards: {stream: [T, B]} for every stream; None means the rollout's own as "extrinsic".
            generator: shuffles the columns.
            progress: part of the training that is over, 0 to 1, for the learning rate.

        Returns:
            Metrics, means over the gradient steps.
        """
        config = self.config
        rollout = rollout.to(self.device)
        rewards = rewards_of(rollout, rewards, self.streams, self.device)
        if config.reward_clip is not None and "extrinsic" in rewards:
            rewards["extrinsic"] = rewards["extrinsic"].clamp(-config.reward_clip, config.reward_clip)
            rollout = rollout._replace(reward=rewards["extrinsic"])  # a value target that keeps returns sees the same
        self.anneal(progress)
        metrics = dict(self.value_target.update(rollout))
        if not rollout.mask.any():
            return metrics
        columns = rollout.action.shape[1]
        steps = []
        for _ in range(config.num_epochs):
            order = torch.randperm(columns, generator=generator, device=generator.device).to(self.device)
            for chosen in order.tensor_split(max(1, round(columns / config.batch_size))):
                part = rollout.columns(chosen)
                if part.mask.any():
                    steps.append(self._step(part, {name: reward[:, chosen] for name, reward in rewards.items()}))
        if self.net.normalises_observations:
            self.net.update_normalisers(distributed.everyones(rollout.obs[:-1][rollout.mask]))
        names = ("approx_kl", "entropy", "policy_loss", "value_loss", "grad_norm", "mean_rho", "explained_variance")
        table = torch.stack(steps)
        metrics |= {f"train/{name}": x for name, x in zip(names, table.mean(0).tolist(), strict=True)}
        metrics["train/gradient_steps"] = float(len(steps))
        metrics["train/learning_rate"] = self.optimiser.param_groups[0]["lr"]
        return metrics

    def _step(self, rollout: Rollout, rewards: Mapping[str, Tensor]) -> Tensor:
        """One gradient step; its numbers in the order of the metrics' names."""
        config = self.config
        logits, raw, values, next_values = self.unrolled(rollout)
        log_probs = logits[:-1].log_softmax(-1)
        log_prob = log_probs.gather(-1, rollout.action[..., None])[..., 0]
        log_rhos = (log_prob - rollout.behaviour_log_prob).detach()
        targets, advantages = self.targets_from(rollout, rewards, values, next_values, log_rhos)

        valid = rollout.mask
        if config.normalise_advantages:
            advantages = advantages / (advantages[valid].std(unbiased=False) + 1e-8)
        predicted, targets = raw[:-1][valid], targets[valid]
        normaliser = self.net.value_normaliser
        wanted = targets if normaliser is None else normaliser.normalise(targets)
        if config.clip_coef is not None:
            advantages = advantages * ~beyond_clip(log_rhos, advantages, clip_coef=config.clip_coef)
        policy_loss = -(log_prob * advantages)[valid].mean()
        critic_loss = actor_critic.value_loss(predicted, wanted)
        spread = actor_critic.entropy(log_probs[valid])
        self.optimiser.zero_grad()
        (policy_loss + config.value_coef * critic_loss - config.entropy_coef * spread).backward()
        distributed.average_gradients(self.net.parameters())
        grad_norm = nn.utils.clip_grad_norm_(self.net.parameters(), config.max_grad_norm)
        self.optimiser.step()
        if normaliser is not None:
            normaliser.update(distributed.everyones(targets), self.net.value_head)
        with torch.no_grad():
            kl = actor_critic.approx_kl(log_prob[valid], rollout.behaviour_log_prob[valid])
            rho = log_rhos[valid].exp().clamp(max=config.rho_bar).mean()
            known = actor_critic.explained_variance(predicted[:, 0], wanted[:, 0])
            return torch.stack([kl, spread, policy_loss, critic_loss, grad_norm, rho, known])


def make(
    spec: EnvSpec,
    config: Config | None = None,
    *,
    bonus_streams: Sequence[Stream] = (),
    value_target: ValueTarget | None = None,
    seed: int = 0,
    device: torch.device | str = "cpu",
) -> Agent | MulexAgent:
    """An IMPALA agent, or one for each stream that take turns (MULEX); the options are those of `actor_critic.make`."""
    config = config or Config()
    options = {"bonus_streams": bonus_streams, "value_target": value_target, "seed": seed, "device": device}
    if config.mulex is None:
        return actor_critic.make(Agent, spec, config, lstm=config.lstm, **options)
    if value_target is not None:
        raise ValueError("MULEX's policies learn from each other's play: value_target must be vtrace")
    streams = [Stream("extrinsic", config.gamma), *(replace(stream, coef=1.0) for stream in bonus_streams)]
    parts = make_parts(
        streams,
        lambda: actor_critic.make_net(spec, config, num_values=1),
        lambda stream, net: Agent(spec, config, (stream,), actor_critic.make_target(config), net, device),
        encoders=("policy_encoder", "value_encoder") if config.share_encoder else (),
        seed=seed,
    )
    scheduler = mulex.Scheduler(config.mulex, len(streams), steps=config.mulex_steps)
    return MulexAgent(parts, scheduler, share_experience=config.share_experience, learn=learn_one_by_one)
