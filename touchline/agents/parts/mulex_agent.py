"""MULEX's side of an agent: several agents, a reward stream each, that take turns in acting and share what they saw."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from touchline.agents.parts.checks import rewards_of
from touchline.curiosity.mulex import Scheduler, acting_stream
from touchline.networks import scoped_seed
from touchline.rollout import Rollout
from touchline.types import Stream

Learn = Callable[..., list[dict[str, float]]]
"""(parts, rollout, rewards, drawable [T, B, M] bool, *, generator, progress) to the metrics of each part."""


def make_parts(
    streams: Sequence[Stream],
    make_net: Callable[[], nn.Module],
    make_agent: Callable[[Stream, nn.Module], Any],
    *,
    encoders: Sequence[str],
    seed: int,
) -> list[Any]:
    """An agent a stream, with networks of their own, drawn one after the other.

    Args:
        encoders: attributes of the networks that all share with the first; each agent's optimiser moves them.
    """
    with scoped_seed(seed):
        nets = [make_net() for _ in streams]
    for net in nets[1:]:
        for name in encoders:
            setattr(net, name, getattr(nets[0], name))
    return [make_agent(stream, net) for stream, net in zip(streams, nets, strict=True)]


class MulexAgent:
    """Agents of a stream each behind the interface of one (Beyer et al. 2019, https://arxiv.org/abs/1907.00868).

    The scheduler says whose policy acts in each column. Every part learns from all transitions, off-policy, its own
    stream alone; evaluated is the first, the exploiter.

    Args:
        parts: agents of one stream each, the extrinsic one first.
        scheduler: who acts.
        share_experience: False lets a part learn only from transitions that its own policy made.
        learn: how they learn together.
    """

    def __init__(self, parts: Sequence[Any], scheduler: Scheduler, *, share_experience: bool, learn: Learn) -> None:
        self.parts, self.scheduler, self.share_experience, self._learn = list(parts), scheduler, share_experience, learn
        first = self.parts[0]
        self.spec, self.config, self.device, self.net = first.spec, first.config, first.device, first.net
        self.streams = tuple(stream for part in parts for stream in part.streams)

    @property
    def nets(self) -> list[nn.Module]:
        """The networks of all parts."""
        return [part.net for part in self.parts]

    @property
    def actor(self) -> int:
        """Which of the actors acts with it."""
        return self.parts[0].actor

    @actor.setter
    def actor(self, index: int) -> None:
        for part in self.parts:
            part.actor = index

    @property
    def columns_per_update(self) -> int:
        """Columns that it wants from actors for an update."""
        return self.parts[0].columns_per_update

    @property
    def transitions_before_learning(self) -> int:
        """As the parts'."""
        return getattr(self.parts[0], "transitions_before_learning", 0)

    def check_lag(self) -> None:
        """As the parts'."""
        self.parts[0].check_lag()

    def initial_state(self, num_columns: int) -> Tensor:
        """[2, B, 1] of the scheduler at the start of episodes."""
        return self.scheduler.initial_state(num_columns)

    acting = staticmethod(acting_stream)

    def as_opponent(self) -> Any:
        """The exploiter, as others meet it in self-play."""
        return self.parts[0].as_opponent()

    def act(self, obs: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Samples actions [B] of the exploiter, and their log-probabilities."""
        return self.parts[0].act(obs, generator)

    def act_greedy(self, obs: Tensor) -> Tensor:
        """The exploiter's best actions [B] for obs [B, *obs]."""
        return self.parts[0].act_greedy(obs)

    def act_recurrent(
        self, obs: Tensor, state: Tensor, generator: torch.Generator | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Actions [B] of the policies whose turn it is, their log-probabilities under those, and the state after it;
        without a generator the exploiter's best."""
        if generator is None:
            best = self.act_greedy(obs).cpu()
            return best, torch.zeros(len(best)), state
        chosen, state = self.scheduler.choose(state, generator)
        played = [part.act(obs, generator) for part in self.parts]
        actions, log_probs = (torch.stack([x.to(chosen.device) for x in both]) for both in zip(*played, strict=True))
        return actions.gather(0, chosen[None])[0], log_probs.gather(0, chosen[None])[0], state

    def annotate(self, rollout: Rollout) -> Rollout:
        """What an actor sends: the rollout as it is, since it does not know what bonuses pay."""
        return rollout

    def learn(
        self,
        rollout: Rollout,
        rewards: Mapping[str, Tensor] | None = None,
        *,
        generator: torch.Generator,
        progress: float = 0.0,
    ) -> dict[str, float]:
        """All parts learn, one after the other; see theirs. Metrics of the explorers carry their stream's name."""
        rewards = rewards_of(rollout, rewards, self.streams, "cpu")
        number = len(self.parts)
        drawable = torch.ones(*rollout.action.shape, number, dtype=torch.bool)
        shares = {}
        if rollout.acting is not None:
            mine = rollout.acting.cpu()[..., None] == torch.arange(number)
            shares = {
                f"acting/{s.name}": x for s, x in zip(self.streams, mine.float().mean((0, 1)).tolist(), strict=True)
            }
            if not self.share_experience:
                drawable = mine
        table = self._learn(self.parts, rollout, rewards, drawable, generator=generator, progress=progress)
        metrics = dict(table[0])
        for stream, part in zip(self.streams[1:], table[1:], strict=True):
            metrics |= {f"{name}_{stream.name}": x for name, x in part.items()}
        return metrics | shares

    def state_dict(self) -> dict[str, Any]:
        """All parts and whose turn it is; a replay that they share is the first one's."""
        states = [part.state_dict() for part in self.parts]
        for state in states[1:]:
            if "replay" in state:
                state["replay"] = None
        return {"parts": states, "scheduler": self.scheduler.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restores `state_dict()`."""
        for part, saved in zip(self.parts, state["parts"], strict=True):
            part.load_state_dict(saved)
        self.scheduler.load_state_dict(state["scheduler"])

    def policy_state(self) -> dict[str, Any]:
        """What acting needs, for `load_policy` of a copy; it does not change when the agent learns on."""
        return {"parts": [part.policy_state() for part in self.parts]}

    def load_policy(self, state: Mapping[str, Any]) -> None:
        """Restores of `state_dict()` what acting needs."""
        for part, saved in zip(self.parts, state["parts"], strict=True):
            part.load_policy(saved)


def learn_one_by_one(
    parts: Sequence[Any],
    rollout: Rollout,
    rewards: Mapping[str, Tensor],
    drawable: Tensor,
    *,
    generator: torch.Generator,
    progress: float,
) -> list[dict[str, float]]:
    """Every part learns its own stream from the whole rollout, or from what it may."""
    out = []
    for m, (part, (name, reward)) in enumerate(zip(parts, rewards.items(), strict=True)):
        mine = rollout._replace(mask=rollout.mask & drawable[..., m].to(rollout.mask.device), initial_state=None)
        out.append(part.learn(mine, {name: reward}, generator=generator, progress=progress))
    return out
