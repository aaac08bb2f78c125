"""Episodic curiosity through reachability (Savinov et al. 2019, https://arxiv.org/abs/1810.02274), offline and online.

A network that tells whether two observations are within k steps of each other compares every new one with a memory of
the running episode; what is far from all of it pays beta - S, S the memory's similarity, and is stored. The network
learns from random play before the training (EC) or from the training's own play (ECO, `train="online"`).

What differs from the authors' code: the observation that follows an end is never taken for the episode's last; frames
on the pitch are vectors or mini maps, so networks are small; in vectors clocks are hidden from the network; stored ones
are embedded anew when the network was trained (pictures keep what they were stored as until the episode ends); every
episode's memory begins with its first observation, also that of the very first episode. As there, the last step of an
episode pays nothing.

A bonus that is negative on average teaches to end episodes, one that never is to prolong them. With beta 1/2 the first
holds where episodes may end early, so drills have beta 1 (the paper: 1/2 for episodes of fixed length, else 1).
"""

from __future__ import annotations

import warnings
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from touchline.curiosity.parts import reachability
from touchline.curiosity.parts.episodes import Episodes
from touchline.curiosity.parts.episodic_memory import AGGREGATIONS, REPLACEMENTS, EpisodicMemory, aggregate
from touchline.curiosity.parts.inputs import InputFilter
from touchline.curiosity.parts.reachability import RNetwork
from touchline.networks import scoped_seed
from touchline.rollout import Rollout
from touchline.types import EnvSpec, Stream

TRAINING = ("online", "offline", "never")
FLOATS_TO_KEEP = 4096
"""A memory keeps observations of so many numbers, to embed them anew; of larger ones only the embeddings."""


@dataclass(frozen=True)
class Config:
    """Hyper-parameters of episodic curiosity; defaults for drills are design choices.

    Attributes:
        coef: weight of its advantage.
        gamma: discount per environment step.
        train: the network learns "online", "offline" (from random play before the training, which counts as environment
            steps), or "never" (a control).
        beta: the bonus is beta - S.
        threshold: a new observation is stored if S is below it.
        memory_size: K, observations remembered an episode.
        replacement: of a full memory, "random" or "fifo".
        aggregation: of the similarities to one S, see `parts.episodic_memory.aggregate`.
        percentile, nth_largest: its parameters.
        k: environment steps within which two observations are near.
        gamma_neg: pairs further than k x gamma_neg apart are examples of far.
        pairing: "v1" to "v4", see `parts.reachability.pairs`.
        other_episodes: share of the far examples that come from two episodes, for episodes too short to hold far ones.
        random_steps: environment steps of random play for "offline".
        train_every: environment steps per env between online trainings; until the first the bonus is 0.
        buffer_steps: environment steps per env of ended episodes that the network is trained on, the newest; those that
            go on come on top.
        num_epochs, batch_size, learning_rate: of its training, by Adam.
        warmup_steps: environment steps per env during which the bonus is 0 in any case.
        hidden, comparator: widths of its layers.
        train_embedding: False leaves the embedding as it was drawn.
        shuffle_labels: the network learns nothing true (a control).
        strip_clocks: hide what tells time from it.
    """

    coef: float = 0.02
    gamma: float = 0.99
    train: str = "online"
    beta: float = 1.0
    threshold: float = 0.5
    memory_size: int = 200
    replacement: str = "random"
    aggregation: str = "percentile"
    percentile: float = 90.0
    nth_largest: int = 10
    k: int = 3
    gamma_neg: int = 4
    pairing: str = "v2"
    other_episodes: float = 0.0
    random_steps: int = 100_000
    train_every: int = 1024
    buffer_steps: int = 2048
    num_epochs: int = 4
    batch_size: int = 256
    learning_rate: float = 1e-3
    warmup_steps: int = 0
    hidden: tuple[int, ...] = (128, 64)
    comparator: tuple[int, ...] = (128, 128)
    train_embedding: bool = True
    shuffle_labels: bool = False
    strip_clocks: bool = True

    def __post_init__(self) -> None:
        choices = {
            "train": TRAINING,
            "replacement": REPLACEMENTS,
            "aggregation": AGGREGATIONS,
            "pairing": reachability.PAIRINGS,
        }
        for name, known in choices.items():
            if getattr(self, name) not in known:
                raise ValueError(f"no {getattr(self, name)!r} in {name}; there are {', '.join(known)}")
        sizes = ("memory_size", "k", "gamma_neg", "random_steps", "train_every", "buffer_steps", "nth_largest")
        for name in (*sizes, "num_epochs", "batch_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: expected at least 1, got {getattr(self, name)}")


class EpisodicCuriosity:
    """The `Bonus`; its carry is every column's memory of the running episode.

    Attributes:
        random_steps: environment steps of random play that `pretrain` wants before the training.
        ready: False while the bonus is 0 because the network knows nothing yet.
    """

    def __init__(self, spec: EnvSpec, config: Config, *, seed: int, device: str) -> None:
        self.config, self.device = config, torch.device(device)
        self.streams = (Stream("episodic_curiosity", config.gamma, config.coef),)
        self.random_steps = config.random_steps if config.train == "offline" else 0
        self.ready = config.train == "never"
        self._filter = InputFilter(spec, strip=config.strip_clocks)
        with scoped_seed(seed):
            self.net = RNetwork(
                self._filter.spec,
                hidden=config.hidden,
                comparator=config.comparator,
                train_embedding=config.train_embedding,
            ).to(self.device)
        learned = [p for p in self.net.parameters() if p.requires_grad]
        self.optimiser = torch.optim.Adam(learned, lr=config.learning_rate)
        shape = self._filter.spec.observation_shape
        self._keeps = int(np.prod(shape)) <= FLOATS_TO_KEEP
        self._sizes = {"half": (config.comparator[0],)} | ({"obs": shape} if self._keeps else {})
        self.generator = torch.Generator().manual_seed(seed)
        self._episodes = Episodes(self._filter)
        self._finished: deque[Tensor] = deque()
        self._columns = self._transitions = self._trained_at = 0
        self._trainings = 0
        self._notes: list[Tensor] = []

    def initial_carry(self, num_columns: int) -> dict[str, Any]:
        """Empty memories of B columns; what is asked for before the learning begins are all there will be."""
        if not self._transitions:
            self._columns += num_columns
        return self._memory(num_columns).state() | {"trainings": torch.tensor(self._trainings)}

    @property
    def steps(self) -> int:
        """Environment steps per env so far; beside actors a rollout holds some of the envs only."""
        return self._transitions // max(1, self._columns)

    def _memory(self, num_columns: int) -> EpisodicMemory:
        config = self.config
        return EpisodicMemory(
            num_columns, config.memory_size, self._sizes, replacement=config.replacement, device=self.device
        )

    @torch.no_grad()
    def reward(self, rollout: Rollout, carry: dict[str, Any]) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """beta - S [T, B] of where each step led, 0 at ends of episodes and while the network is not ready."""
        config, (T, B) = self.config, rollout.action.shape
        memory = self._memory(0).copy_of(carry)
        if self._keeps and int(carry["trainings"]) != self._trainings:
            memory.recompute("half", lambda obs: self.net.project(self.net.embed(obs)), "obs")
        inputs = self._filter(rollout.obs.to(self.device))
        embedded = torch.cat([self.net.embed(part) for part in inputs.flatten(0, 1).split(4096)])
        halves = self.net.project(embedded).unflatten(0, (T + 1, B))
        queries = self.net.query(embedded).unflatten(0, (T + 1, B))
        ended = (rollout.terminated | rollout.truncated | ~rollout.mask).to(self.device)
        similar = torch.zeros(T, B, device=self.device)

        def entries(t: int) -> dict[str, Tensor]:
            return {"half": halves[t]} | ({"obs": inputs[t].float()} if self._keeps else {})

        memory.add(memory.added == 0, entries(0), self.generator)
        for t in range(T):
            similar[t] = self._similarity(memory, queries[t + 1])
            memory.clear(ended[t])
            memory.add(ended[t] | (similar[t] < config.threshold), entries(t + 1), self.generator)
        paid = (config.beta - similar).masked_fill(ended, 0.0)
        self._notes.append(torch.stack([similar[~ended].mean(), memory.count.float().mean()]).cpu())
        if not self.ready or self.steps < config.warmup_steps:
            paid = torch.zeros_like(paid)
        return {"episodic_curiosity": paid.cpu()}, memory.state() | {"trainings": torch.tensor(self._trainings)}

    def _similarity(self, memory: EpisodicMemory, query: Tensor) -> Tensor:
        """S [B] of new observations, given their halves [B, H]: all pairs of all columns in one call."""
        config, most = self.config, int(memory.count.max())
        used = torch.arange(most, device=self.device) < memory.count[:, None]
        column, slot = used.nonzero().T
        table = torch.zeros(used.shape, device=self.device)
        table[column, slot] = self.net.compare(memory.held["half"][column, slot], query[column]).sigmoid()
        return aggregate(
            table, memory.count, how=config.aggregation, percentile=config.percentile, nth=config.nth_largest
        )

    def update(self, rollout: Rollout) -> dict[str, float]:
        """Keeps the rollout's trajectories and trains the network on them when its time has come."""
        config, metrics = self.config, {}
        if not self._columns:  # nobody asked for a carry; beside actors an update may hold an env's play twice
            self._columns = rollout.action.shape[1]
        self._transitions += rollout.action.numel()
        if self._notes:
            similarity, stored = torch.stack(self._notes).nanmean(0).tolist()
            self._notes.clear()
            metrics = {"bonus/ec_similarity": similarity, "bonus/ec_stored": stored}
        if config.train != "online":
            return metrics
        self._keep(rollout)
        if self.steps - self._trained_at >= config.train_every:
            self._trained_at = self.steps
            learned = self._train()
            if not learned and not self.ready:
                warnings.warn(f"episodic_curiosity still pays 0: play so far holds {self._no_pairs()}", stacklevel=2)
            metrics |= learned
        return metrics

    def _no_pairs(self) -> str:
        apart = self.config.k * self.config.gamma_neg
        return (
            f"no steps of an episode more than {apart} apart; take a smaller k or gamma_neg, or other_episodes above 0"
        )

    def pretrain(self, rollouts: Iterable[Rollout]) -> dict[str, float]:
        """Trains the network on random play, offline EC; further training leaves it as it is.

        Play without pairs to learn from gets a warning: the bonus then pays 0 for ever.
        """
        for rollout in rollouts:
            self._keep(rollout, limited=False)
        metrics = self._train()
        if not metrics:
            warnings.warn(f"episodic_curiosity will pay 0: random play holds {self._no_pairs()}", stacklevel=2)
        self._finished.clear()
        self._episodes = Episodes(self._filter)
        return metrics

    def _keep(self, rollout: Rollout, *, limited: bool = True) -> None:
        self._finished += [episode.obs for episode in self._episodes.add(rollout)]
        over = sum(map(len, self._finished)) - self.config.buffer_steps * self._columns
        while limited and over > 0:
            oldest = self._finished.popleft()
            if len(oldest) > over:
                self._finished.appendleft(oldest[over:].clone())
            over -= len(oldest)

    def _train(self) -> dict[str, float]:
        config = self.config
        seed = int(torch.randint(2**31, (1,), generator=self.generator))
        metrics = reachability.train(
            self.net,
            self.optimiser,
            [*self._finished, *(episode.obs for episode in self._episodes.open())],
            k=config.k,
            gamma_neg=config.gamma_neg,
            pairing=config.pairing,
            other_episodes=config.other_episodes,
            num_epochs=config.num_epochs,
            batch_size=config.batch_size,
            draw=np.random.default_rng(seed),
            shuffle_labels=config.shuffle_labels,
            device=self.device,
        )
        if metrics:
            self.ready, self._trainings = True, self._trainings + 1
        return metrics

    def state_dict(self) -> dict[str, Any]:
        return {
            "net": self.net.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "generator": self.generator.get_state(),
            "episodes": self._episodes.state_dict(),
            "finished": list(self._finished),
            "counters": [self._transitions, self._trained_at, self._trainings, int(self.ready)],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.net.load_state_dict(state["net"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.generator.set_state(state["generator"])
        self._episodes.load_state_dict(state["episodes"])
        self._finished = deque(state["finished"])
        self._transitions, self._trained_at, self._trainings, ready = state["counters"]
        self.ready = bool(ready)


def make(spec: EnvSpec, config: Config | None = None, *, seed: int = 0, device: str = "cpu") -> EpisodicCuriosity:
    """Episodic curiosity for an environment; `seed` draws its network."""
    return EpisodicCuriosity(spec, config or Config(), seed=seed, device=device)
