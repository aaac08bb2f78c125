"""Actors: they play with a copy of the policy, which may be older than the learner's, and queue what they saw.

Every actor owns a vector env and calls `rollout.collect`, as the synchronous loop does. Weights are published once a
version; an actor takes the newest before each unroll.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch

from touchline.rollout import Buffer, Rollout, collect, env_spec


class Unroll(NamedTuple):
    """What one actor saw in T steps of its B envs.

    Attributes:
        rollout: in memory of its own.
        version: of the weights that acted.
    """

    rollout: Rollout
    version: int


class Actor:
    """A vector env, a policy and the memory of an unroll.

    Args:
        index: which of the actors it is.
        envs: stepped by nobody else.
        policy: a copy of its own, as `agents.*.make` gives it.
        seed: of its envs and of the actions it draws.
    """

    def __init__(self, index: int, envs: Any, policy: Any, unroll_length: int, *, seed: int) -> None:
        self.index, self.envs, self.policy, self.version = index, envs, policy, -1
        policy.actor = index
        self.buffer = Buffer(env_spec(envs), envs.num_envs, unroll_length)
        self.generator = torch.Generator().manual_seed(seed)
        self.obs, _ = envs.reset(seed=seed)

    def play(self, version: int, weights: Mapping[str, Any]) -> Unroll:
        """T steps with these weights."""
        if version != self.version:
            self.policy.load_policy(weights)
            self.version = version
        rollout, self.obs = collect(self.envs, self.policy, self.obs, self.buffer, self.generator)
        rollout = self.policy.annotate(rollout._replace(actor=self.index))
        return Unroll(rollout.clone(), version)  # the learner may keep it as long as it likes


class ThreadActors:
    """Actors on threads of this process: the engine and torch release Python's lock while they work.

    Args:
        actors: started at the first `publish`.
        queue_length: unrolls that wait for the learner at most; then the actors wait, which bounds the lag.
    """

    def __init__(self, actors: Sequence[Actor], *, queue_length: int) -> None:
        self._actors = list(actors)
        self._queue: queue.Queue[Unroll | BaseException] = queue.Queue(queue_length)
        self._newest: tuple[int, Mapping[str, Any]] | None = None
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._serve, args=(actor,), daemon=True) for actor in self._actors]

    def publish(self, version: int, weights: Mapping[str, Any]) -> None:
        """Hands out new weights; they must not change any more."""
        starting = self._newest is None
        self._newest = (version, weights)
        if starting:
            for thread in self._threads:
                thread.start()

    def take(self) -> Unroll:
        """The oldest unroll that waits; an error of an actor is raised here."""
        item = self._queue.get()
        if isinstance(item, BaseException):
            raise item
        return item

    def close(self) -> None:
        """Ends the actors after their running unroll."""
        self._stop.set()
        for thread in self._threads:
            while thread.is_alive():
                self._drain()
                thread.join(0.05)

    def _serve(self, actor: Actor) -> None:
        torch.set_num_threads(1)  # of this thread alone
        try:
            while not self._stop.is_set():
                self._queue.put(actor.play(*self._newest))
        except BaseException as error:
            self._queue.put(error)

    def _drain(self) -> None:
        while not self._queue.empty():
            self._queue.get_nowait()
