"""Checkpoints: written atomically, read with `weights_only=True`, and the signals that ask for one.

A checkpoint is a dict of tensors, numbers, strings, lists and dicts; nothing in it is executed when it is
read.
"""

from __future__ import annotations

import json
import os
import pickle
import signal
import threading
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from touchline import plugins
from touchline.networks import torch_threads
from touchline.train_config import TrainConfig, config_of
from touchline.types import EnvSpec, Stream

FORMAT_VERSION = 2


class CheckpointError(RuntimeError):
    """A checkpoint could not be written or read; the message says why and what is left."""


def save(path: Path | str, contents: Mapping[str, Any]) -> None:
    """Writes a checkpoint beside `path`, reads it back, and only then puts it in the place of the old one.

    Raises:
        CheckpointError: nothing was written; an older checkpoint at `path` is untouched.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "wb") as file:
            torch.save({"format_version": FORMAT_VERSION, **contents}, file)
            file.flush()
            os.fsync(file.fileno())
        load(temporary)
        os.replace(temporary, path)
    except (OSError, RuntimeError, pickle.PicklingError) as error:
        kept = f"the checkpoint of before is kept: {path}" if path.exists() else "there is none of before"
        raise CheckpointError(f"could not write {path} ({error}); {kept}") from error
    finally:
        temporary.unlink(missing_ok=True)
    _sync_folder(path.parent)


def load(path: Path | str) -> dict[str, Any]:
    """Reads a checkpoint onto the CPU.

    Raises:
        CheckpointError: there is none, or it is damaged, or of another format.
    """
    if not Path(path).is_file():
        raise CheckpointError(f"no checkpoint at {path}")
    try:
        with zipfile.ZipFile(path) as archive:  # torch.load checks no sums
            if damaged := archive.testzip():
                raise ValueError(f"the check sum of {damaged} does not fit")
        contents = torch.load(path, map_location="cpu", weights_only=True)
    except MemoryError:  # of a whole file
        raise
    except Exception as error:  # there is no list of what a damaged file may raise
        reason = str(error).partition("\n")[0]
        raise CheckpointError(f"{path} is damaged or not a checkpoint of touchline: {reason}") from error
    version = contents.get("format_version") if isinstance(contents, dict) else None
    if version != FORMAT_VERSION:
        raise CheckpointError(f"{path}: expected format_version {FORMAT_VERSION}, got {version}")
    return contents


class TrainedPolicy:
    """The policy of a run directory, for `evaluate`, `watch` and `tournament`.

    Attributes:
        observation, stack, action_set: what it was trained with.
        greedy: the most probable action instead of a sampled one.
        agent, config: as they were trained; not greedy, the agent as others meet it in self-play, which explores no
            more than it must (MULEX's exploiter, Ape-X at its smallest epsilons).
        trained_steps: environment steps of its training, None if nobody said.
    """

    trained_steps: int | None = None

    def __init__(self, agent: Any, config: TrainConfig, *, greedy: bool, seed: int) -> None:
        self.agent, self.config = agent if greedy else getattr(agent, "as_opponent", lambda: agent)(), config
        self.observation, self.stack = config.observation, config.stack
        self.action_set, self.greedy = config.action_set, greedy
        self._generator = torch.Generator().manual_seed(seed)
        self._state: Tensor | None = None

    def begin(self, mask: np.ndarray, seeds: np.ndarray) -> None:
        """New episodes begin in the matches of `mask` [B]: a recurrent policy forgets. A batch of another size begins
        with all of its matches."""
        if mask.all():
            self._state = None
        if self._state is not None:
            players = self._state.shape[1] // len(mask)
            self._state[:, torch.from_numpy(np.repeat(mask, players))] = 0.0

    def act(self, observations: np.ndarray) -> np.ndarray:
        """Actions [B] or [B, N] for observations [B, *obs] or [B, N, *obs]."""
        shape = self.agent.spec.own.observation_shape
        batch = observations.shape[: observations.ndim - len(shape)]
        if observations.shape[len(batch) :] != shape:
            raise ValueError(f"expected observations [..., {shape}], got {observations.shape}")
        obs = torch.from_numpy(np.ascontiguousarray(observations).reshape(-1, *shape))
        with torch_threads(1 if len(shape) == 1 else None):
            action = self._act(obs)
        return action.numpy(force=True).reshape(batch)

    def value_estimates(self, observations: np.ndarray) -> dict[str, np.ndarray]:
        """What the agent expects of the observations that `act` comes to next, in units of reward and still discounted.

        Args:
            observations: [B, *obs] or [B, N, *obs].

        Returns:
            {"value": [B] or [B, N]}, with "value/STREAM" for each bonus stream; nothing where the agent has no network
            of values, or one that reads a central part which only training shows.
        """
        net, shape = getattr(self.agent, "net", None), self.agent.spec.own.observation_shape
        if not hasattr(net, "values") or self.agent.spec.central:
            return {}
        batch = observations.shape[: observations.ndim - len(shape)]
        obs = torch.from_numpy(np.ascontiguousarray(observations).reshape(-1, *shape)).to(self.agent.device)
        with torch.no_grad(), torch_threads(1 if len(shape) == 1 else None):
            if getattr(net, "core", None) is None:
                values = net.values(obs)
            else:
                state = net.initial_state(len(obs)) if self._state is None else self._state
                values = net.step(obs, state.to(self.agent.device))[1]
                values = values if net.value_normaliser is None else net.value_normaliser(values)
        names = ["value", *(f"value/{stream.name}" for stream in self.agent.streams[1:])]
        columns = values.unbind(-1)  # of MULEX's exploiter only its own
        return {name: x.numpy(force=True).reshape(batch) for name, x in zip(names, columns, strict=False)}

    def memory(self) -> dict[str, Any]:
        """What it remembers between steps: a recurrent policy's state, and where its sampling stands."""
        return {"state": self._state, "generator": self._generator.get_state()}

    def remember(self, memory: Mapping[str, Any]) -> None:
        """Goes on from `memory()`."""
        self._state = memory["state"]
        self._generator.set_state(memory["generator"])

    def _act(self, obs: Tensor) -> Tensor:
        if self._state is None and hasattr(self.agent, "initial_state"):
            self._state = self.agent.initial_state(len(obs))
        if self._state is not None:
            generator = None if self.greedy else self._generator
            action, _, self._state = self.agent.act_recurrent(obs, self._state, generator)
            return action
        return self.agent.act_greedy(obs) if self.greedy else self.agent.act(obs, self._generator)[0]


def load_policy(run: Path | str, *, greedy: bool = True, seed: int = 0) -> TrainedPolicy:
    """The policy of a run directory; `seed` is of its sampling where it is not greedy."""
    saved = load(Path(run, "checkpoint.pt"))
    config = config_of(TrainConfig, json.loads(saved["config"]))
    spec = config_of(EnvSpec, json.loads(saved["spec"]))
    streams = [Stream(**stream) for stream in json.loads(saved["streams"])]
    module = plugins.load("agents", config.agent)
    agent_config = config_of(module.Config, config.agent_config)
    agent = module.make(spec, agent_config, bonus_streams=streams[1:])
    agent.load_policy(saved["agent"])
    policy = TrainedPolicy(agent, config, greedy=greedy, seed=seed)
    policy.trained_steps = saved.get("env_steps")
    return policy


def bytes_to_tensor(data: bytes) -> Tensor:
    """Bytes as a uint8 tensor, the form in which a checkpoint can hold them."""
    return torch.from_numpy(np.frombuffer(data, np.uint8).copy())


def tensor_to_bytes(data: Tensor) -> bytes:
    """The bytes in a uint8 tensor."""
    return data.numpy().tobytes()


class _Stop:
    """What signals do meanwhile."""

    def __init__(self) -> None:
        self.asked = threading.Event()

    def __call__(self, _signal: int, _frame: FrameType | None) -> None:
        if self.asked.is_set():
            raise KeyboardInterrupt
        self.asked.set()


@contextmanager
def stop_on_signals() -> Iterator[threading.Event]:
    """The first SIGINT, SIGTERM or SIGHUP sets the event, to be heeded between updates; the second interrupts at once.

    A SIGHUP that is ignored (`nohup`) stays so.

    One within another yields the same event: who was asked to stop before a training began stops in it too. Only the
    main thread can do this; elsewhere the event is never set.
    """
    if threading.current_thread() is not threading.main_thread():
        yield threading.Event()
        return
    outer = signal.getsignal(signal.SIGINT)
    stop = outer if isinstance(outer, _Stop) else _Stop()
    numbers = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        numbers.append(signal.SIGHUP)
    before = {number: signal.signal(number, stop) for number in numbers}
    try:
        yield stop.asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _sync_folder(folder: Path) -> None:
    """Makes the new name survive a power cut too, where the system can (POSIX)."""
    if hasattr(os, "O_DIRECTORY"):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
