"""Actors: they play with a copy of the policy, which may be older than the learner's, and queue what they saw.

Every actor owns a vector env and calls `rollout.collect`, as the synchronous loop does. Weights are published once a
version; an actor takes the newest before each unroll. Actors are threads of this process, or run elsewhere: in
processes of this machine, or wherever Ray puts them (`ray_actors.py`). Those that die are replaced.
"""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import multiprocessing.connection
import pickle
import queue
import signal
import threading
import traceback
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol

import torch

from touchline.agents.parts.packing import pack, unpack
from touchline.rollout import Buffer, Rollout, collect, env_spec

log = logging.getLogger(__name__)

IN_FLIGHT = 2
"""Unrolls asked of a remote actor at a time: it plays the second while the first travels and waits."""

MAX_DEATHS = 5
"""So often may an actor die without having sent an unroll in between."""


class ActorError(RuntimeError):
    """Actors cannot go on: one has failed, or dies again and again. What the learner knows is whole."""


class Unroll(NamedTuple):
    """What one actor saw in T steps of its B envs.

    Attributes:
        rollout: in memory of its own.
        version: of the weights that acted.
        life: how often the actor had been replaced; the matches of a new one have begun anew.
    """

    rollout: Rollout
    version: int
    life: int = 0


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

    def play_packed(self, version: int, weights: Mapping[str, Any]) -> Unroll:
        """The same for a learner in another process: to be unpacked there."""
        unroll = self.play(version, weights)
        return unroll._replace(rollout=pack(unroll.rollout, self.buffer.spec.stack))

    def close(self) -> None:
        """Closes its envs."""
        self.envs.close()


ActorFactory = Callable[[int, int], Actor]
"""(index, version) to an actor; the version of the learner's weights lets one that is made later play other matches."""


class Actors(Protocol):
    """What the learner asks of its actors.

    Attributes:
        replaced: actors that died and were made anew.
    """

    replaced: int

    def publish(self, version: int, weights: Mapping[str, Any]) -> None:
        """Hands out new weights, which must not change any more; the first call starts the actors."""

    def take(self) -> Unroll:
        """The oldest unroll that waits; raises `ActorError` if an actor has failed."""

    def close(self) -> None:
        """Ends the actors."""


class ThreadActors:
    """Actors on threads of this process: the engine and torch release Python's lock while they work.

    Args:
        make: makes an actor.
        number: of actors.
        version: of the learner's weights.
        queue_length: unrolls that wait for the learner at most, then the actors wait, which bounds the lag; None is
            one an actor.
    """

    def __init__(self, make: ActorFactory, number: int, *, version: int = 0, queue_length: int | None = None) -> None:
        self.replaced = 0
        self._actors = [make(index, version) for index in range(number)]
        self._queue: queue.Queue[Unroll | BaseException] = queue.Queue(queue_length or number)
        self._newest: tuple[int, Mapping[str, Any]] | None = None
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._serve, args=(actor,), daemon=True) for actor in self._actors]

    def publish(self, version: int, weights: Mapping[str, Any]) -> None:
        starting = self._newest is None
        self._newest = (version, weights)
        if starting:
            for thread in self._threads:
                thread.start()

    def take(self) -> Unroll:
        item = self._queue.get()
        if isinstance(item, BaseException):
            raise ActorError(f"an actor failed: {item}") from item
        return item

    def close(self) -> None:
        """Ends the actors after their running unroll."""
        self._stop.set()
        for thread in self._threads:
            while thread.is_alive():
                self._drain()
                thread.join(0.05)
        for actor in self._actors:
            actor.close()

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


class Died(NamedTuple):
    """In place of an unroll: the actor is gone, and why."""

    reason: str


class Failed(NamedTuple):
    """In place of an unroll: the actor's own error, as text, since not every exception can travel."""

    text: str


class Transport(Protocol):
    """How remote actors are started, asked and heard."""

    def start(self, index: int, version: int) -> None:
        """Starts an actor, in place of one that was there before."""

    def publish(self, version: int, weights: Mapping[str, Any]) -> None:
        """Makes weights the newest."""

    def ask(self, index: int) -> None:
        """Asks an actor for an unroll with the newest weights."""

    def wait(self) -> tuple[int, Unroll | Died | Failed]:
        """The next answer, packed, and whose it is."""

    def close(self) -> None:
        """Ends all actors."""


class RemoteActors:
    """Actors beyond this process; one that dies is replaced and training goes on.

    Args:
        transport: starts them and carries weights and unrolls.
        number: of actors.
        version: of the learner's weights.
    """

    def __init__(self, transport: Transport, number: int, *, version: int = 0) -> None:
        self._transport, self._number, self._version = transport, number, version
        self._started, self._deaths, self._lives = False, [0] * number, [0] * number

    def publish(self, version: int, weights: Mapping[str, Any]) -> None:
        self._version = version
        self._transport.publish(version, weights)
        if not self._started:
            self._started = True
            for index in range(self._number):
                self._begin(index)

    def _begin(self, index: int) -> None:
        self._transport.start(index, self._version)
        for _ in range(IN_FLIGHT):
            self._transport.ask(index)

    def take(self) -> Unroll:
        while True:
            index, answer = self._transport.wait()
            if isinstance(answer, Failed):
                raise ActorError(f"actor {index} failed:\n{answer.text}")
            if isinstance(answer, Unroll):
                self._deaths[index] = 0
                self._transport.ask(index)
                return answer._replace(rollout=unpack(answer.rollout), life=self._lives[index])
            self._deaths[index] += 1
            self._lives[index] += 1
            if self._deaths[index] >= MAX_DEATHS:
                raise ActorError(f"actor {index} died {MAX_DEATHS} times in a row, at last: {answer.reason}")
            log.warning("actor %d died (%s); another takes its place", index, answer.reason)
            self._begin(index)

    @property
    def replaced(self) -> int:
        """How many actors took the place of one that died."""
        return sum(self._lives)

    def close(self) -> None:
        self._transport.close()


class ProcessTransport:
    """Actors in processes of this machine; a crash of the engine costs one unroll.

    Every actor has a thread that sends what it is asked, so that the learner never waits for one that is still busy
    sending: what both want to send may be more than a pipe holds.

    Args:
        make: makes an actor, in its process; it must be picklable.
    """

    def __init__(self, make: ActorFactory) -> None:
        self._make = pickle.dumps(make)
        self._context = multiprocessing.get_context("spawn")
        self._processes: dict[int, Any] = {}
        self._pipes: dict[int, multiprocessing.connection.Connection] = {}
        self._asked: dict[int, queue.SimpleQueue[tuple[int, bytes | None] | None]] = {}
        self._senders: dict[int, threading.Thread] = {}
        self._has: dict[int, int] = {}  # version of the weights that were asked with last
        self._ready: list[int] = []
        self._newest: tuple[int, bytes] = (0, b"")

    def start(self, index: int, version: int) -> None:
        if index in self._processes:
            self._end(index)
        here, there = self._context.Pipe()
        process = self._context.Process(target=_serve_process, args=(there, self._make, index, version), daemon=True)
        process.start()
        there.close()
        self._processes[index], self._pipes[index], self._has[index] = process, here, -1
        self._asked[index] = queue.SimpleQueue()
        self._senders[index] = threading.Thread(target=_send, args=(self._asked[index], here), daemon=True)
        self._senders[index].start()

    def publish(self, version: int, weights: Mapping[str, Any]) -> None:
        self._newest = (version, pickle.dumps(weights))

    def ask(self, index: int) -> None:
        version, weights = self._newest
        known = self._has[index] == version
        self._has[index] = version
        self._asked[index].put((version, None if known else weights))

    def wait(self) -> tuple[int, Unroll | Died | Failed]:
        while not self._ready:  # all that have answered get their turn before any is heard again
            answered = multiprocessing.connection.wait(self._pipes.values())
            self._ready = [index for index, pipe in self._pipes.items() if pipe in answered]
        index = self._ready.pop(0)
        try:
            return index, self._pipes[index].recv()
        except (EOFError, OSError):
            self._processes[index].join(5)
            return index, Died(f"exit code {self._processes[index].exitcode}")

    def close(self) -> None:
        for index in list(self._processes):
            self._end(index)

    def _end(self, index: int) -> None:
        process = self._processes.pop(index)
        process.terminate()
        process.join()
        self._asked.pop(index).put(None)
        self._senders.pop(index).join()  # the other end is gone, so it does not wait there
        self._pipes.pop(index).close()


def _send(asked: queue.SimpleQueue[tuple[int, bytes | None] | None], pipe: Any) -> None:
    """Sends a process what it is asked, until None comes."""
    with contextlib.suppress(OSError):  # it is dead: `wait` says so
        while (question := asked.get()) is not None:
            pipe.send(question)


def _serve_process(pipe: Any, make: bytes, index: int, version: int) -> None:
    for number in (signal.SIGINT, signal.SIGHUP):  # Ctrl-C reaches us too; the learner has an update to finish first
        signal.signal(number, signal.SIG_IGN)
    torch.set_num_threads(1)
    try:
        actor, weights = pickle.loads(make)(index, version), None
        while True:
            version, changed = pipe.recv()
            weights = weights if changed is None else pickle.loads(changed)
            pipe.send(actor.play_packed(version, weights))
    except (EOFError, BrokenPipeError, ConnectionResetError):
        pass  # the learner is gone
    except BaseException:
        pipe.send(Failed(traceback.format_exc()))
