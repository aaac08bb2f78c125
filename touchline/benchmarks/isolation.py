"""Policies that may fail: every failure is a `Forfeit` with its reason, and users' code runs in a process of its own.

`load_guarded` gives a `Policy` for competitions. Scripts and run directories play in this process. Users' files and
SB3 zips play in a process that is killed when it exceeds its time: a crash, an endless loop or `os._exit` in there
costs nobody else anything. This guards against accidents, not against malice: it is no sandbox.
"""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
import random
import signal
import sys
import threading
import traceback
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from touchline.benchmarks.policies import Policy, PolicyFileError, checked_actions, kind_of, load_policy
from touchline.envs.actions import num_actions
from touchline.envs.simulator import MatchState

IN_PROCESS = ("script", "run")
"""Kinds of policies that are our own code."""

LONGEST_REASON = 300  # characters
_LONGEST_REPLY = 1 << 24  # bytes
_GRACE = 5.0  # seconds for a process whose pipe has closed to be gone


class Forfeit(Exception):
    """A policy could not play on.

    Attributes:
        policy: its name.
        reason: one line: what it did, or what was expected of it.
    """

    def __init__(self, policy: str, reason: str) -> None:
        self.policy, self.reason = policy, _one_line(reason)
        super().__init__(f"{policy}: {self.reason}")


class GuardedPolicy(Policy, Protocol):
    """A policy whose `begin` and `act` raise nothing but `Forfeit`; its actions [B, N] int32 are checked."""

    def close(self) -> None:
        """Ends its process, if it has one."""


def _one_line(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= LONGEST_REASON else line[: LONGEST_REASON - 3] + "..."


def _told(error: BaseException) -> str:
    """The last line of a traceback: the error's kind and message."""
    if isinstance(error, PolicyFileError) and error.__cause__ is not None:  # whose file it is needs no saying here
        error = error.__cause__
    return _one_line(traceback.format_exception_only(error)[-1])


@contextlib.contextmanager
def blaming(policy: str) -> Iterator[None]:
    """Whatever goes wrong within is the policy's forfeit."""
    try:
        yield
    except Forfeit:
        raise
    except Exception as error:
        raise Forfeit(policy, _told(error)) from error


def load_guarded(
    spec: str | Path,
    *,
    name: str | None = None,
    num_players: int = 1,
    seed: int = 0,
    trust: bool = False,
    time_limit: float = 10.0,
    load_limit: float = 60.0,
    log: Path | None = None,
) -> GuardedPolicy:
    """Loads a policy for a competition, in this process or in one of its own; a failure is a `Forfeit`.

    Args:
        spec: what `policies.load_policy` takes; ValueError if there is no such thing.
        name: what tables call it; None is the policy's own name.
        num_players: N agents of one side.
        seed: of a script's random numbers; in a process of its own, also of `random` and `numpy.random`.
        time_limit: seconds for one `act` or `begin` of all its matches, in a process of its own.
        load_limit: seconds for its process to start and to load it.
        log: what users' code prints is appended to this file; None drops it.
    """
    options = {"num_players": num_players, "seed": seed, "trust": trust}
    name = name or Path(spec).name
    if kind_of(spec) in IN_PROCESS:
        with blaming(name):
            return LocalPolicy(load_policy(spec, **options), name, num_players=num_players)
    policy = IsolatedPolicy(spec, name, options=options, time_limit=time_limit, log=log)
    try:
        policy.load(load_limit)
    except BaseException:  # Ctrl-C too: nobody else knows of the process yet
        policy.close()
        raise
    return policy


class LocalPolicy:
    """A policy in this process that fails like one in a process of its own, but for endless loops."""

    def __init__(self, policy: Policy, name: str, *, num_players: int) -> None:
        self.name = name
        self.observation, self.stack, self.action_set = policy.observation, policy.stack, policy.action_set
        self._policy, self._num_players = policy, num_players

    def begin(self, mask: np.ndarray, seeds: np.ndarray) -> None:
        """See `Policy.begin`."""
        with blaming(self.name):
            self._policy.begin(mask, seeds)

    def act(self, observations: np.ndarray, state: MatchState, side: str) -> np.ndarray:
        """[B, N] int32, see `Policy.act`."""
        with blaming(self.name):
            return _checked_act(self._policy, self._num_players, observations, state, side)

    def close(self) -> None:
        """Nothing to end."""


def _checked_act(
    policy: Policy, num_players: int, observations: np.ndarray, state: MatchState, side: str
) -> np.ndarray:
    return checked_actions(
        policy.act(observations, state, side),
        policy=policy.name,
        shape=(len(state.floats), num_players),
        num_actions=num_actions(policy.action_set or "default"),
    )


class IsolatedPolicy:
    """A policy in a process of its own, started afresh (`spawn`), killed at its first failure.

    Call `load` before anything else. Replies of the process are plain bytes: nothing of them is unpickled here.
    """

    def __init__(
        self, spec: str | Path, name: str, *, options: dict[str, Any], time_limit: float, log: Path | None = None
    ) -> None:
        self.name = name
        self.observation: str | None = None
        self.stack: int | None = None
        self.action_set: str | None = None
        self._num_players, self._time_limit = options["num_players"], time_limit
        self._failed: str | None = None
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        arguments = (theirs, str(spec), options, None if log is None else str(log))
        self._process = context.Process(target=_serve, args=arguments, daemon=True)
        self._process.start()
        theirs.close()

    def load(self, limit: float) -> None:
        """Waits until the process has loaded the policy, at most `limit` seconds."""
        reply = self._receive("loading", limit)
        try:
            about = json.loads(reply)
            self.observation, self.stack, self.action_set = about["observation"], about["stack"], about["action_set"]
            num_actions(self.action_set or "default")  # or an error that says what there is
        except (ValueError, KeyError) as error:
            raise self._forfeit(_told(error)) from error

    def begin(self, mask: np.ndarray, seeds: np.ndarray) -> None:
        """See `Policy.begin`."""
        self._ask("begin", mask, seeds)

    def act(self, observations: np.ndarray, state: MatchState, side: str) -> np.ndarray:
        """[B, N] int32, see `Policy.act`."""
        reply = self._ask("act", observations, state.floats, state.ints, side)
        shape = (len(state.floats), self._num_players)
        try:
            count = num_actions(self.action_set or "default")
            actions = np.frombuffer(reply, np.int32).reshape(shape)
            return checked_actions(actions, policy=self.name, shape=shape, num_actions=count)
        except ValueError as error:
            raise self._forfeit(str(error)) from error

    def _ask(self, command: str, *arguments: Any) -> bytes:
        if self._failed is not None:
            raise Forfeit(self.name, self._failed)
        with contextlib.suppress(OSError):  # it is dead: receiving will say so
            self._pipe.send((command, *arguments))
        return self._receive(command, self._time_limit)

    def _receive(self, command: str, limit: float) -> bytes:
        try:
            if not self._pipe.poll(limit):
                raise self._forfeit(f"{command} took longer than {limit:g} seconds")
            reply = self._pipe.recv_bytes(_LONGEST_REPLY)
        except (EOFError, OSError):
            self._process.join(_GRACE)
            raise self._forfeit(f"{_end_of(self._process.exitcode)} during {command}") from None
        if reply[:1] != b"+":
            raise self._forfeit(reply[1:].decode(errors="replace"))
        return reply[1:]

    def _forfeit(self, reason: str) -> Forfeit:
        """The process is ended; whoever asks again hears the same."""
        self._failed = reason
        self.close()
        return Forfeit(self.name, reason)

    def close(self) -> None:
        """Kills the process and all that it started."""
        if self._pipe.closed:
            return
        self._failed = self._failed or "it was closed"
        self._pipe.close()
        with contextlib.suppress(ProcessLookupError):  # it is not yet the head of a group, or nobody is left in it
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.kill()
        self._process.join()


def _end_of(exitcode: int | None) -> str:
    if exitcode is None:
        return "its process closed the pipe"
    if exitcode < 0:
        names = {number.value: number.name for number in signal.Signals}
        return f"its process was killed by {names.get(-exitcode, f'signal {-exitcode}')}"
    return f"its process ended with exit code {exitcode}"


# ---- in the policy's process -------------------------------------------------------------------------------


def _serve(pipe: Connection, spec: str, options: dict[str, Any], log: str | None) -> None:
    """The life of a policy's process: loads it, then obeys until the pipe closes or something fails."""
    os.setsid()  # Ctrl-C is the parent's, and whatever is started here can be killed with this process
    threading.Thread(target=_end_with_parent, daemon=True).start()
    output = os.open(log or os.devnull, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(output, 1)
    os.dup2(output, 2)
    random.seed(options["seed"])
    np.random.seed(options["seed"])
    try:
        policy = load_policy(spec, **options)
        about = {name: getattr(policy, name) for name in ("observation", "stack", "action_set")}
        _require_plain(about)
        pipe.send_bytes(b"+" + json.dumps(about).encode())
        while True:
            try:
                command, *arguments = pipe.recv()
            except EOFError:
                return
            pipe.send_bytes(b"+" + _obey(policy, options["num_players"], command, arguments))
    except Exception as error:
        traceback.print_exc()
        sys.stderr.flush()
        pipe.send_bytes(b"-" + _told(error).encode())


def _require_plain(about: dict[str, Any]) -> None:
    for name, kind in (("observation", str), ("stack", int), ("action_set", str)):
        if about[name] is not None and not isinstance(about[name], kind):
            raise ValueError(f"expected {name.upper()} as {kind.__name__}, got {about[name]!r}")


def _obey(policy: Policy, num_players: int, command: str, arguments: list[Any]) -> bytes:
    if command == "begin":
        policy.begin(*arguments)
        return b""
    observations, floats, ints, side = arguments
    return _checked_act(policy, num_players, observations, MatchState(floats, ints), side).tobytes()


def _end_with_parent() -> None:
    """An endless loop does not outlive a parent that was killed."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os.killpg(0, signal.SIGKILL)
