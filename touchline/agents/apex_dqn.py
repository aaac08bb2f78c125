"""Ape-X DQN (Horgan et al. 2018, https://arxiv.org/abs/1803.00933): actors that explore unequally, one prioritised
replay, a double dueling Q-network with n-step returns.

What differs from the paper: learning is tied to playing by `replay_ratio` instead of running as fast as it can, so
that a seed repeats a training; with `num_actors` 0 the envs of one process are the actors, each with its own epsilon.
Truncated episodes bootstrap from their true last observation. Several reward streams have a head of action values
each, with its own discount; actions are greedy in their weighted sum. A bonus that can score replayed transitions
is asked again at every sample, and what it paid when they were played is not used.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from touchline import distributed, returns
from touchline.agents.parts.checks import check_choices, check_ranges, rewards_of
from touchline.agents.parts.mulex_agent import MulexAgent, make_parts
from touchline.agents.parts.prioritised_replay import Batch, PrioritisedReplay, Transitions
from touchline.agents.parts.q_learning import epsilon_ladder, huber, n_step_targets, of_action
from touchline.curiosity import mulex
from touchline.networks import ACTIVATIONS, ENCODERS, DuelingQ, scoped_seed
from touchline.rollout import Rollout
from touchline.types import EnvSpec, Stream

REPLAYS = True
"""Learns from replay: `make` takes `num_actors` and `scores`."""

OPTIMISERS = ("adam", "rmsprop")
NORMS = ("batch", "buffer")


@dataclass(frozen=True)
class Config:
    """Hyper-parameters of Ape-X DQN.

    Attributes:
        unroll_length: T, environment steps per env between updates.
        batch_size: transitions per gradient step.
        replay_ratio: times that a transition is drawn, on average.
        replay_capacity: transitions kept.
        learning_starts: transitions played before the first gradient step.
        checkpoint_replay: write the replay into checkpoints too; without it a resumed run fills a new one first.
        pack_frames: keep pictures as a bit a pixel; None does where they hold 0 and 255 alone.
        learning_rate: of the optimiser, "adam" or "rmsprop" (centred, decay 0.95, as the paper's).
        optimiser_eps: its epsilon.
        anneal_learning_rate: fall linearly to 0 at `total_steps`.
        gamma: discount per environment step of the extrinsic stream.
        extrinsic_coef: weight of the extrinsic action values in the choice of actions.
        value_target: "n_step", the only one that replay allows.
        n_step: steps before the bootstrap.
        double: the online network chooses the action that the target network values (van Hasselt et al. 2016,
            https://arxiv.org/abs/1509.06461).
        dueling: values and advantages apart.
        target_interval: gradient steps between copies to the target network.
        priority_exponent: alpha, how much priorities count; 0 draws uniformly.
        importance_exponent: beta, how much importance weights make up for that.
        weight_norm: weights are divided by the largest of the "batch" or the "buffer".
        epsilon, epsilon_alpha: of the ladder, see `parts.q_learning.epsilon_ladder`.
        rescore: ask bonuses again what drawn transitions pay (where they can say); False keeps what they paid when they
            were played.
        mulex: None acts greedily in the weighted sum of all streams' values; a schedule of `curiosity.mulex` gives each
            stream a policy of its own, which take turns.
        mulex_steps: of a turn of the schedule "steps".
        share_experience: MULEX's policies learn from each other's transitions too (False is an ablation).
        share_encoder: MULEX's networks share one encoder.
        hidden: widths of the MLP.
        cnn_depths: channels of the CNN's blocks.
    """

    unroll_length: int = 16
    batch_size: int = 256
    replay_ratio: float = 2.0
    replay_capacity: int = 500_000
    learning_starts: int = 10_000
    checkpoint_replay: bool = False
    pack_frames: bool | None = None
    learning_rate: float = 2.5e-4
    optimiser: str = "adam"
    optimiser_eps: float = 1e-5
    anneal_learning_rate: bool = False
    max_grad_norm: float = 40.0
    gamma: float = 0.995
    extrinsic_coef: float = 1.0
    value_target: str = "n_step"
    n_step: int = 3
    double: bool = True
    dueling: bool = True
    target_interval: int = 500
    priority_exponent: float = 0.6
    importance_exponent: float = 0.4
    weight_norm: str = "batch"
    epsilon: float = 0.4
    epsilon_alpha: float = 7.0
    rescore: bool = True
    mulex: str | None = None
    mulex_steps: int = 50
    share_experience: bool = True
    share_encoder: bool = False
    normalise_observations: bool = True
    encoder: str = "auto"
    hidden: tuple[int, ...] = (256, 256)
    activation: str = "relu"
    cnn_depths: tuple[int, ...] = (16, 32, 32, 32)
    cnn_width: int = 256

    def __post_init__(self) -> None:
        counts = ("unroll_length", "batch_size", "replay_capacity", "learning_starts", "n_step", "target_interval")
        shares = ("gamma", "epsilon", "priority_exponent", "importance_exponent")
        check_ranges(self, at_least_1=counts, share=shares)
        check_ranges(self, above_0=("replay_ratio", "learning_rate", "optimiser_eps", "max_grad_norm"))
        check_choices(self, optimiser=OPTIMISERS, weight_norm=NORMS, encoder=ENCODERS, activation=tuple(ACTIVATIONS))
        if self.mulex is not None:
            check_choices(self, mulex=mulex.SCHEDULES)
            check_ranges(self, at_least_1=("mulex_steps",))
        if self.value_target != "n_step":
            raise ValueError(
                f"{self.value_target} follows a whole rollout of the policy that learns; replay holds single "
                "transitions of older ones: value_target must be n_step, or take ppo or impala"
            )


Score = Callable[[Transitions], Mapping[str, Tensor]]

OPPONENT_EPSILON = 0.01
"""Of a past self: enough to leave a circle, too little to lose a game by."""


class Agent:
    """A Q-network, its target, a replay, and a policy that explores as its place in the ladder says.

    Args:
        streams: reward streams, a head of action values each.
        net: of action values.
        num_actors: actors that fill the replay, each with as many columns.
        scores: of bonuses that can be asked again, `Bonus.score`.

    Attributes:
        actor: which of the actors acts with it.
        epsilons: [B] or one for all, in place of the ladder's, if not None.
    """

    def __init__(
        self,
        spec: EnvSpec,
        config: Config,
        streams: Sequence[Stream],
        net: DuelingQ,
        *,
        num_actors: int = 1,
        scores: Sequence[Score] = (),
        device: torch.device | str = "cpu",
    ) -> None:
        self.spec, self.config, self.streams = spec, config, tuple(streams)
        self.device = torch.device(device)
        self.net, self.target_net = net.to(self.device), copy.deepcopy(net).to(self.device).requires_grad_(False)
        self.num_actors, self.scores = num_actors, tuple(scores)
        self.actor, self.epsilons = 0, None
        self._gamma = torch.tensor([stream.gamma for stream in streams], device=self.device)
        self._coef = torch.tensor([stream.coef for stream in streams], device=self.device)
        self.replay: PrioritisedReplay | None = None  # its columns are known with the first rollout
        self._replay_state: Mapping[str, Any] | None = None
        self._played = 0  # transitions, into this replay
        self._owed = 0.0  # gradient steps
        self.gradient_steps = 0
        options = {"lr": config.learning_rate, "eps": config.optimiser_eps}
        if config.optimiser == "adam":
            self.optimiser = torch.optim.Adam(self.net.parameters(), fused=True, **options)
        else:
            self.optimiser = torch.optim.RMSprop(self.net.parameters(), alpha=0.95, centered=True, **options)

    columns_per_update = 1  # an unroll of whichever actor comes first

    def check_lag(self) -> None:
        """Any older policy's play may be learned from."""

    @property
    def transitions_before_learning(self) -> int:
        """Transitions still to be played before the first gradient step."""
        return max(0, self.config.learning_starts - self._played)

    def as_opponent(self) -> Agent:
        """Itself for good as others meet it in self-play: hardly exploring, in however many matches it plays."""
        self.epsilons = torch.tensor(OPPONENT_EPSILON)
        return self

    @torch.inference_mode()
    def act(self, obs: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Epsilon-greedy actions [B] and their log-probabilities [B] for obs [B, *obs]."""
        best, A, B = self.act_greedy(obs).to(generator.device), self.spec.num_actions, len(obs)
        epsilon = self.epsilons if self.epsilons is not None else self._epsilons(B)
        explores = torch.rand(B, generator=generator) < epsilon
        action = torch.where(explores, torch.randint(A, (B,), generator=generator), best)
        return action, (epsilon / A + (1 - epsilon) * (action == best)).log()

    def _epsilons(self, columns: int) -> Tensor:
        """[B] of this actor's columns; those of all actors interleave, so that each has steady and curious ones."""
        ladder = epsilon_ladder(columns * self.num_actors, epsilon=self.config.epsilon, alpha=self.config.epsilon_alpha)
        return ladder[self.actor :: self.num_actors]

    @torch.inference_mode()
    def act_greedy(self, obs: Tensor) -> Tensor:
        """The actions [B] of the highest value for obs [B, *obs]."""
        return self._best(self.net(obs.to(self.device)))

    def _best(self, values: Tensor) -> Tensor:
        """[K] actions of the highest weighted sum of action values [K, M, A]."""
        return (self._coef[:, None] * values).sum(-2).argmax(-1)

    @torch.no_grad()
    def annotate(self, rollout: Rollout, rewards: Mapping[str, Tensor] | None = None) -> Rollout:
        """The rollout with an actor's own priorities: its n-step errors, with fewer steps at the rollout's end.

        An actor knows only the environment's reward; those of bonuses count from the learner's first draw on.
        """
        rewards = {"extrinsic": rollout.reward} if rewards is None else rewards
        values, next_values = rollout.values(self.net)  # [T+1, B, M, A]
        best = self._best(next_values)[..., None, None].expand(*next_values.shape[:-1], 1)
        bootstrap = next_values.gather(-1, best)[..., 0]
        played = rollout.action[..., None, None].expand(*next_values.shape[:-1], 1)
        predicted = values[:-1].gather(-1, played)[..., 0]
        priority = torch.zeros_like(rollout.reward)
        for m, stream in enumerate(self.streams):
            if stream.name in rewards:
                ends = (rollout.terminated, rollout.truncated)
                tensors = (rewards[stream.name], predicted[..., m], bootstrap[..., m], *ends)
                errors = returns.n_step(*tensors, gamma=stream.gamma, n=self.config.n_step).advantages
                priority += (stream.coef * errors).abs()
        return rollout._replace(priority=priority)

    def learn(
        self,
        rollout: Rollout,
        rewards: Mapping[str, Tensor] | None = None,
        *,
        generator: torch.Generator,
        progress: float = 0.0,
    ) -> dict[str, float]:
        """Stores a rollout, moves the observations' statistics, and makes as many gradient steps as are due.

        Args:
            rollout: the next one of its actor.
            rewards: {stream: [T, B]} for every stream; None means the rollout's own as "extrinsic".
            generator: draws from the replay.
            progress: part of the training that is over, 0 to 1, for the learning rate.

        Returns:
            Metrics, means over the gradient steps.
        """
        rewards = rewards_of(rollout, rewards, self.streams, "cpu")
        priority = rollout.priority
        if priority is None:
            priority = self.priorities(rollout, rewards)
        if self.replay is None:
            self.replay = self.make_replay(rollout.action.shape[1], len(self.streams))
        self.replay.add(rollout, torch.stack(list(rewards.values()), -1), priority)
        return self.improve(rollout, generator=generator, progress=progress)

    def priorities(self, rollout: Rollout, rewards: Mapping[str, Tensor]) -> Tensor:
        """[T, B] first priorities of a rollout with the rewards of all streams."""
        on_device = {name: reward.to(self.device) for name, reward in rewards.items()}
        return self.annotate(rollout.to(self.device), on_device).priority

    def improve(self, rollout: Rollout, *, generator: torch.Generator, progress: float = 0.0) -> dict[str, float]:
        """What `learn` does once the rollout is stored."""
        config = self.config
        if self.net.normaliser is not None:
            self.net.normaliser.update(distributed.everyones(rollout.obs[:-1][rollout.mask].to(self.device)))
        metrics = {"train/replay_transitions": float(len(self.replay))}
        self._played += rollout.action.numel()
        if self._played < config.learning_starts or not len(self.replay):
            return metrics
        self._owed += rollout.action.numel() * config.replay_ratio / config.batch_size
        if config.anneal_learning_rate:
            for group in self.optimiser.param_groups:
                group["lr"] = config.learning_rate * max(0.0, 1.0 - progress)
        steps = [self._step(generator) for _ in range(math.floor(self._owed))]
        self._owed -= len(steps)
        metrics["train/gradient_steps"] = float(len(steps))
        metrics["train/learning_rate"] = self.optimiser.param_groups[0]["lr"]
        if steps:
            names = ("td_error", "q_value", "loss", "grad_norm", "mean_weight")
            metrics |= {f"train/{k}": x for k, x in zip(names, torch.stack(steps).mean(0).tolist(), strict=True)}
        return metrics

    def make_replay(self, columns: int, num_streams: int, *, num_learners: int = 1) -> PrioritisedReplay:
        """An empty replay for rollouts of so many columns, or the one of the checkpoint."""
        config = self.config
        replay = PrioritisedReplay(
            self.spec,
            capacity=config.replay_capacity,
            num_columns=columns * self.num_actors,
            num_streams=num_streams,
            num_learners=num_learners,
            n_step=config.n_step,
            alpha=config.priority_exponent,
            pack_frames=config.pack_frames,
        )
        if self._replay_state is not None:
            replay.load_state_dict(self._replay_state)
            self._replay_state = None
        return replay

    def _step(self, generator: torch.Generator) -> Tensor:
        """One gradient step; its numbers in the order of the metrics' names."""
        config = self.config
        batch = self.replay.sample(
            config.batch_size, beta=config.importance_exponent, norm=config.weight_norm, generator=generator
        )
        rewards = self._rescored(batch)
        obs, last_obs, action, rewards, num_steps, terminated, weight = (
            x.to(self.device)
            for x in (batch.obs, batch.last_obs, batch.action, rewards, batch.num_steps, batch.terminated, batch.weight)
        )
        with torch.no_grad():
            target_values = self.target_net(last_obs)
            best = self._best(self.net(last_obs) if config.double else target_values)
            bootstrap = of_action(target_values, best)
            targets = n_step_targets(rewards, num_steps, terminated, bootstrap, gamma=self._gamma)
        predicted = of_action(self.net(obs), action)
        errors = targets - predicted
        loss = (weight[:, None] * huber(errors)).sum(1).mean()
        self.optimiser.zero_grad()
        loss.backward()
        distributed.average_gradients(self.net.parameters())
        grad_norm = nn.utils.clip_grad_norm_(self.net.parameters(), config.max_grad_norm)
        self.optimiser.step()
        self.gradient_steps += 1
        if self.gradient_steps % config.target_interval == 0:
            self.target_net.load_state_dict(self.net.state_dict())
        with torch.no_grad():
            sizes = (self._coef * errors).abs().sum(1)
            self.replay.update(batch.index, sizes)
            return torch.stack([sizes.mean(), predicted[:, 0].mean(), loss, grad_norm, weight.mean()])

    def _rescored(self, batch: Batch) -> Tensor:
        """The batch's rewards [n, K, M], those of bonuses that can say what they would pay today put in anew."""
        if not self.scores or not self.config.rescore:
            return batch.rewards
        rewards, names = batch.rewards.clone(), [stream.name for stream in self.streams]
        for j in range(len(rewards)):
            transitions = self.replay.transitions(batch.index, j)
            transitions = Transitions(*(x.to(self.device) for x in transitions))
            for score in self.scores:
                for name, paid in score(transitions).items():
                    if name not in names:  # another MULEX policy's
                        continue
                    rewards[j, :, names.index(name)] = paid.cpu() * (j < batch.num_steps)
        return rewards

    def state_dict(self) -> dict[str, Any]:
        """Networks, optimiser and counters, and the replay where the config asks for it."""
        state = {
            "net": self.net.state_dict(),
            "target_net": self.target_net.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "owed": self._owed,
            "played": self._played,
            "gradient_steps": self.gradient_steps,
        }
        if self.config.checkpoint_replay and self.replay is not None:
            state["replay"] = self.replay.state_dict()
        return state

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restores `state_dict()`."""
        self.net.load_state_dict(state["net"])
        self.target_net.load_state_dict(state["target_net"])
        self.optimiser.load_state_dict(state["optimiser"])
        self._owed, self.gradient_steps = state["owed"], state["gradient_steps"]
        self.replay, self._replay_state = None, state.get("replay")
        self._played = state["played"] if "replay" in state else 0

    def policy_state(self) -> dict[str, Any]:
        """What acting needs, for `load_policy` of a copy; it does not change when the agent learns on."""
        return {"net": {name: tensor.cpu().clone() for name, tensor in self.net.state_dict().items()}}

    def load_policy(self, state: Mapping[str, Any]) -> None:
        """Restores of `state_dict()` what acting needs."""
        self.net.load_state_dict(state["net"])


def make(
    spec: EnvSpec,
    config: Config | None = None,
    *,
    bonus_streams: Sequence[Stream] = (),
    value_target: Any = None,
    num_actors: int = 1,
    scores: Sequence[Score] = (),
    seed: int = 0,
    device: torch.device | str = "cpu",
) -> Agent | MulexAgent:
    """An Ape-X DQN agent whose weights depend on `seed` alone.

    Args:
        bonus_streams: reward streams beside the extrinsic one.
        value_target: refused, see `Config.value_target`.
        num_actors, scores: see `Agent`.
    """
    config = config or Config()
    if value_target is not None:
        raise ValueError("a value target follows whole rollouts; replay holds single transitions: take ppo or impala")
    if cut := [stream.name for stream in bonus_streams if not stream.episodic]:
        raise ValueError(f"{', '.join(cut)}: returns that run on through ends of episodes need rollouts, not replay")
    streams = (Stream("extrinsic", config.gamma, config.extrinsic_coef), *bonus_streams)

    def make_net(num_values: int) -> DuelingQ:
        return DuelingQ(
            spec,
            num_values=num_values,
            encoder=config.encoder,
            hidden=config.hidden,
            activation=config.activation,
            cnn_depths=config.cnn_depths,
            cnn_width=config.cnn_width,
            dueling=config.dueling,
            normalise_observations=config.normalise_observations,
        )

    options = {"num_actors": num_actors, "scores": scores, "device": device}
    if config.mulex is None:
        with scoped_seed(seed):
            return Agent(spec, config, streams, make_net(len(streams)), **options)
    parts = make_parts(
        streams,
        partial(make_net, 1),
        lambda stream, net: Agent(spec, config, (stream,), net, **options),
        encoders=("encoder",) if config.share_encoder else (),
        seed=seed,
    )
    scheduler = mulex.Scheduler(config.mulex, len(streams), steps=config.mulex_steps)
    return MulexAgent(parts, scheduler, share_experience=config.share_experience, learn=learn_from_one_replay)


def learn_from_one_replay(
    parts: Sequence[Agent],
    rollout: Rollout,
    rewards: Mapping[str, Tensor],
    drawable: Tensor,
    *,
    generator: torch.Generator,
    progress: float,
) -> list[dict[str, float]]:
    """`learn` of several agents, a stream each, that share what is stored and each have priorities of their own.

    Args:
        rewards: {stream: [T, B]} of all of them, in their order.
        drawable: [T, B, M] bool, what each of them may learn from.

    Returns:
        Metrics of each.
    """
    names = list(rewards)
    if parts[0].replay is None:
        columns = rollout.action.shape[1]
        storage = parts[0].make_replay(columns, len(parts), num_learners=len(parts))
        for m, part in enumerate(parts):
            part.replay = storage.of(m)
    firsts = [part.priorities(rollout, {name: rewards[name]}) for part, name in zip(parts, names, strict=True)]
    parts[0].replay.add(
        rollout, torch.stack([rewards[name] for name in names], -1), torch.stack(firsts, -1), drawable=drawable
    )
    return [part.improve(rollout, generator=generator, progress=progress) for part in parts]
