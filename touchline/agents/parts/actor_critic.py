"""What PPO and IMPALA share: networks, acting, targets of several reward streams, checkpoints, terms of the loss."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor

from touchline.agents.parts import value_targets
from touchline.agents.parts.checks import check_choices, check_ranges
from touchline.curiosity.parts.seams import ValueTarget
from touchline.networks import ACTIVATIONS, ENCODERS, ActorCritic, scoped_seed
from touchline.rollout import Rollout
from touchline.types import EnvSpec, Stream


@dataclass(frozen=True)
class ActorCriticConfig:
    """Hyper-parameters of every agent with a policy and values.

    Attributes:
        unroll_length: T, environment steps per env and rollout.
        learning_rate: at the start.
        anneal_learning_rate: fall linearly to 0 at `total_steps`.
        gamma: discount per environment step of the extrinsic stream.
        extrinsic_coef: weight of the extrinsic advantage.
        gae_lambda: trace decay of `gae` and `vtrace`.
        n_step: steps of the value target `n_step`.
        rho_bar, c_bar: truncation levels of `vtrace`.
        value_target: a name of `parts.value_targets`.
        value_coef: weight of the value loss, half the squared error.
        shared_encoder: policy and values share one encoder.
        central_critic: the values see the whole match beside the player's own observation, the policy does not
            (MAPPO, Yu et al. 2022, https://arxiv.org/abs/2103.01955).
        policy_head_gain: of the policy head's first weights; a small one begins with all actions equally probable.
        policy_hidden, value_hidden: widths of the MLPs.
        cnn_depths: channels of the CNN's blocks.
    """

    unroll_length: int = 128
    learning_rate: float = 3e-4
    anneal_learning_rate: bool = False
    gamma: float = 0.995
    extrinsic_coef: float = 1.0
    gae_lambda: float = 0.95
    n_step: int = 5
    rho_bar: float = 1.0
    c_bar: float = 1.0
    value_target: str = "gae"
    entropy_coef: float = 0.01
    value_coef: float = 0.5
    max_grad_norm: float = 0.5
    normalise_observations: bool = True
    normalise_values: bool = False
    encoder: str = "auto"
    shared_encoder: bool = False
    central_critic: bool = False
    policy_head_gain: float = 0.01
    policy_hidden: tuple[int, ...] = (256, 256)
    value_hidden: tuple[int, ...] = (256, 256)
    activation: str = "tanh"
    cnn_depths: tuple[int, ...] = (16, 32, 32, 32)
    cnn_width: int = 256

    def __post_init__(self) -> None:
        above_0 = ("learning_rate", "max_grad_norm", "rho_bar", "c_bar", "policy_head_gain")
        check_ranges(self, at_least_1=("unroll_length", "n_step"), share=("gamma", "gae_lambda"), above_0=above_0)
        if self.central_critic and self.shared_encoder:
            raise ValueError("a central critic sees what the policy may not: shared_encoder must be False")
        check_choices(self, value_target=value_targets.NAMES, encoder=ENCODERS, activation=tuple(ACTIVATIONS))


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


def sample(logits: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Actions [B] drawn from logits [B, A], and their log-probabilities [B].

    The action with the largest p / e, e exponential, is a sample of p (the Gumbel trick without logarithms).
    """
    log_probs = logits.log_softmax(-1)
    noise = torch.empty_like(log_probs).exponential_(generator=generator)
    action = (log_probs.exp() / noise).argmax(-1)
    return action, log_probs.gather(-1, action[:, None])[:, 0]


AgentKind = TypeVar("AgentKind", bound="ActorCriticAgent")


class ActorCriticAgent:
    """A policy with M value heads, an optimiser and a value target; a subclass says how it learns.

    Args:
        spec: shapes of the environment.
        config: hyper-parameters.
        streams: the reward streams, one value head each, in order.
        value_target: turns rewards into targets and advantages, the same way for every stream.
        device: of the networks; rollouts are moved there to learn.

    Attributes:
        actor: which of the actors acts with it; all explore alike.
    """

    actor = 0

    def __init__(
        self,
        spec: EnvSpec,
        config: ActorCriticConfig,
        streams: Sequence[Stream],
        value_target: ValueTarget,
        net: ActorCritic,
        device: torch.device | str = "cpu",
    ) -> None:
        self.spec, self.config, self.streams = spec, config, tuple(streams)
        self.value_target = value_target
        self.device = torch.device(device)
        self.net = net.to(self.device)
        self.optimiser = self.make_optimiser()

    def make_optimiser(self) -> torch.optim.Optimizer:
        """The optimiser of `self.net`."""
        raise NotImplementedError

    def check_lag(self) -> None:
        """Refuses to learn from the play of older policies."""
        raise ValueError("this agent learns from its newest policy's play alone: num_actors must be 0")

    def as_opponent(self: AgentKind) -> AgentKind:
        """Itself, as others meet it in self-play."""
        return self

    @torch.inference_mode()
    def act(self, obs: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Samples actions [B] and gives their log-probabilities [B] for obs [B, *obs]."""
        return sample(self.net.logits(obs.to(self.device)).to(generator.device), generator)

    def initial_state(self, num_columns: int) -> Tensor | None:
        """[2, B, H] memory at the start of an episode; None for a policy without."""
        return None if self.net.core is None else self.net.initial_state(num_columns).cpu()

    @torch.no_grad()  # the memory is written to outside, which inference mode would forbid
    def act_recurrent(
        self, obs: Tensor, state: Tensor, generator: torch.Generator | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """As `act`, and the memory [2, B, H] after it, given the one before; without a generator the best actions."""
        logits, _, state = self.net.step(obs.to(self.device), state.to(self.device))
        logits, state = logits.cpu(), state.cpu()
        if generator is not None:
            return *sample(logits, generator), state
        best = logits.max(-1)
        return best.indices, best.values - logits.logsumexp(-1), state

    @torch.inference_mode()
    def act_greedy(self, obs: Tensor) -> Tensor:
        """The most probable actions [B] for obs [B, *obs]."""
        return self.net.logits(obs.to(self.device)).argmax(-1)

    def annotate(self, rollout: Rollout) -> Rollout:
        """What an actor sends: the rollout as it is."""
        return rollout

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

    def policy_state(self) -> dict[str, Any]:
        """What acting needs, for `load_policy` of a copy; it does not change when the agent learns on."""
        return {"net": {name: tensor.cpu().clone() for name, tensor in self.net.state_dict().items()}}

    def load_policy(self, state: Mapping[str, Any]) -> None:
        """Restores of `state_dict()` what acting needs."""
        self.net.load_state_dict(state["net"])

    def anneal(self, progress: float) -> None:
        """Sets the learning rate for the part of the training that is over, 0 to 1."""
        if self.config.anneal_learning_rate:
            for group in self.optimiser.param_groups:
                group["lr"] = self.config.learning_rate * max(0.0, 1.0 - progress)

    @torch.no_grad()
    def targets_of(self, rollout: Rollout, rewards: Mapping[str, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """Targets [T*B, M], summed advantages [T*B] and values [T*B, M] under the present networks."""
        values, next_values = rollout.values(self.net.values)
        log_rhos = torch.zeros_like(rollout.reward)
        if self.value_target.uses_log_rhos:
            log_probs, _ = rollout.values(lambda obs: self.net.logits(obs).log_softmax(-1))
            log_rhos = log_probs[:-1].gather(-1, rollout.action[..., None])[..., 0]
            log_rhos -= rollout.behaviour_log_prob
        targets, advantages = self.targets_from(rollout, rewards, values, next_values, log_rhos)
        return targets.flatten(0, 1), advantages.flatten(), values[:-1].flatten(0, 1)

    @torch.no_grad()
    def targets_from(
        self,
        rollout: Rollout,
        rewards: Mapping[str, Tensor],
        values: Tensor,
        next_values: Tensor,
        log_rhos: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Targets [T, B, M] and summed advantages [T, B].

        Args:
            values: [T+1, B, M] of all observations.
            next_values: [T, B, M] of the observations that the transitions really ended in.
            log_rhos: [T, B] log-probability of the actions, now minus when they were taken.
        """
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
        return torch.stack(targets, -1), advantages

    def unrolled(self, rollout: Rollout) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Logits [T+1, B, A] and raw values [T+1, B, M] with a gradient; values, and [T, B, M] of true next states."""
        in_reward = self.net.value_normaliser or (lambda raw: raw)
        if self.net.core is None:
            # All observations once with a gradient; the few last ones of episodes only for their values.
            logits, raw = (x.unflatten(0, rollout.obs.shape[:2]) for x in self.net(rollout.obs.flatten(0, 1)))
            values = in_reward(raw).detach()
            with torch.no_grad():
                return logits, raw, values, rollout.true_next(values, self.net.values)
        ended = rollout.terminated | rollout.truncated
        logits, raw, states = self.net.unroll(rollout.obs, rollout.initial_state, ended)
        values = in_reward(raw).detach()
        next_values = values[1:].clone()
        t, column = rollout.final_index.T
        with torch.no_grad():
            memory = states[t, :, column].transpose(0, 1)  # that met the last observation of each episode
            next_values[t, column] = in_reward(self.net.step(rollout.final_obs, memory)[1])
        return logits, raw, values, next_values

    def fit_of(self, values: Tensor, targets: Tensor) -> dict[str, float]:
        """How well the values knew the targets before learning; the extrinsic stream without a suffix."""
        out = {}
        for m, stream in enumerate(self.streams):
            suffix = "" if m == 0 else f"_{stream.name}"
            known = explained_variance(values[:, m], targets[:, m])
            out[f"train/explained_variance{suffix}"] = known.item()
            out[f"train/value_mean{suffix}"] = values[:, m].mean().item()
        return out


def make(
    kind: type[AgentKind],
    spec: EnvSpec,
    config: ActorCriticConfig,
    *,
    bonus_streams: Sequence[Stream] = (),
    value_target: ValueTarget | None = None,
    lstm: int = 0,
    seed: int = 0,
    device: torch.device | str = "cpu",
) -> AgentKind:
    """An agent of some kind whose weights depend on `seed` alone.

    Args:
        bonus_streams: reward streams beside the extrinsic one, in the order of their value heads.
        value_target: one made elsewhere (adaptive TD, say) instead of `config.value_target`.
        lstm: width of a memory between the shared encoder and the heads; 0 is none.
    """
    streams = (Stream("extrinsic", config.gamma, config.extrinsic_coef), *bonus_streams)
    with scoped_seed(seed):
        net = make_net(spec, config, num_values=len(streams), lstm=lstm)
    return kind(spec, config, streams, value_target or make_target(config), net, device)


def make_target(config: ActorCriticConfig) -> ValueTarget:
    """The value target that a config names."""
    return value_targets.make(
        config.value_target, lam=config.gae_lambda, n=config.n_step, rho_bar=config.rho_bar, c_bar=config.c_bar
    )


def make_net(spec: EnvSpec, config: ActorCriticConfig, *, num_values: int, lstm: int = 0) -> ActorCritic:
    """The networks of a config, with a value head a stream."""
    return ActorCritic(
        spec,
        num_values=num_values,
        encoder=config.encoder,
        policy_head_gain=config.policy_head_gain,
        policy_hidden=config.policy_hidden,
        value_hidden=config.value_hidden,
        activation=config.activation,
        cnn_depths=config.cnn_depths,
        cnn_width=config.cnn_width,
        shared=config.shared_encoder,
        lstm=lstm,
        normalise_observations=config.normalise_observations,
        normalise_values=config.normalise_values,
    )
