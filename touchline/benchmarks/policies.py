"""Who can play in `evaluate`, `watch`, `tournament`: one interface over run directories, scripts, files."""

from __future__ import annotations

import hashlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol

import numpy as np

from touchline.agents import scripted
from touchline.agents.parts.memory import memory_of, remember
from touchline.envs.simulator import MatchState

FORMS = "a run directory, a Python file with act(observations), or one of " + ", ".join(scripted.NAMES)


class Policy(Protocol):
    """One side's player.

    Attributes:
        name: what tables and scoreboards call it.
        action_set: "default" or "v2", the action set its numbers belong to; None plays with either.
        observation: name of the observation it reads; None plays with any.
        stack: frames stacked in it; None plays with any.
    """

    name: str
    action_set: str | None
    observation: str | None
    stack: int | None

    def begin(self, mask: np.ndarray, seeds: np.ndarray) -> None:
        """New episodes start in the matches of `mask` [B] bool, with engine seeds `seeds` [B] int64."""

    def act(self, observations: np.ndarray, state: MatchState, side: str) -> np.ndarray:
        """Actions [B] (one agent) or [B, N] of the agents of `side`; observations [B, *obs], [B, N, *obs]."""


class ScriptedPolicy:
    """A player of `agents.scripted`; it reads the state, not the observations."""

    def __init__(self, name: str, *, num_players: int = 1, seed: int = 0) -> None:
        self.name = name
        self.observation = None
        self.stack = None
        self._script = scripted.make_scripted(name, num_players, seed=seed)
        self.action_set: str | None = "v2" if self._script.action_set == "v2" else None

    def begin(self, mask: np.ndarray, seeds: np.ndarray) -> None:
        self._script.begin(mask, seeds)

    def act(self, observations: np.ndarray, state: MatchState, side: str) -> np.ndarray:
        return self._script.act(state, side)

    def memory(self) -> str:
        """What it remembers, for `remember` of the same player."""
        return memory_of(self._script)

    def remember(self, memory: str) -> None:
        """Goes on from `memory()`."""
        remember(self._script, memory)


class ObservingPolicy:
    """Anything with `act(observations)`: a module from a file, or an agent from a run directory.

    It may also have `begin(mask, seeds)`, called where episodes start (recurrent state, random streams), and
    say what it was made for with `observation`, `stack` and `action_set` (a file: OBSERVATION, STACK and
    ACTION_SET).
    """

    def __init__(self, player: Any, name: str) -> None:
        if not callable(getattr(player, "act", None)):
            raise ValueError(f"{name} has no function act(observations)")
        self.name = name
        self._player = player
        self.observation: str | None = _made_for(player, "observation")
        self.stack: int | None = _made_for(player, "stack")
        self.action_set: str | None = _made_for(player, "action_set")

    def begin(self, mask: np.ndarray, seeds: np.ndarray) -> None:
        begin = getattr(self._player, "begin", None)
        if begin is not None:
            begin(mask, seeds)

    def act(self, observations: np.ndarray, state: MatchState, side: str) -> np.ndarray:
        return self._player.act(observations)

    def memory(self) -> Any:
        """What it remembers, for `remember` of the same player; None where a player does not say."""
        memory = getattr(self._player, "memory", None)
        return memory() if callable(memory) else None

    def remember(self, memory: Any) -> None:
        """Goes on from `memory()`."""
        if memory is not None:
            self._player.remember(memory)


def _made_for(player: Any, name: str) -> Any:
    return getattr(player, name, getattr(player, name.upper(), None))


def load_policy(name_or_path: str | Path, *, num_players: int = 1, seed: int = 0) -> Policy:
    """The policy of a scripted name, a Python file or a run directory.

    Args:
        num_players: N agents of one side it will drive.
        seed: of a script's own random numbers.
    """
    text, path = str(name_or_path), Path(name_or_path)
    if text in scripted.NAMES:
        return ScriptedPolicy(text, num_players=num_players, seed=seed)
    if path.suffix == ".py":
        return ObservingPolicy(_load_file(path), path.name)
    if path.is_dir():
        from touchline.checkpoint import load_policy as load_run  # torch, only where it is needed

        return ObservingPolicy(load_run(path), path.name)
    if path.suffix == ".zip":
        raise ValueError(f"{path}: SB3 zips cannot be evaluated yet; expected {FORMS}")
    raise ValueError(f"no policy {text!r}; expected {FORMS}")


def _load_file(path: Path) -> ModuleType:
    """Imports a user's file under a name of its own, so that two files called agent.py can meet."""
    if not path.is_file():
        raise ValueError(f"no policy file {path}")
    digest = hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:12]
    spec = importlib.util.spec_from_file_location(f"touchline_policy_{digest}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses and pickling look a module up there
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[spec.name]
        raise ValueError(f"{path} cannot be imported: {type(error).__name__}: {error}") from error
    if not callable(getattr(module, "act", None)):
        raise ValueError(
            f"{path} has no function act(observations) -> actions, batched: "
            "observations [B, *obs] (or [B, N, *obs]) to integers [B] (or [B, N])"
        )
    return module


def checked_actions(actions: object, *, policy: str, shape: tuple[int, int], num_actions: int) -> np.ndarray:
    """A policy's actions as [B, N] int32, or an error that names the policy and what was expected."""
    array = np.asarray(actions)
    if array.ndim == 1 and shape[1] == 1:
        array = array[:, None]
    if array.shape != shape:
        wanted = f"({shape[0]},) or {shape}" if shape[1] == 1 else str(shape)
        raise ValueError(f"{policy}: expected actions of shape {wanted}, got {np.shape(actions)}")
    if not np.issubdtype(array.dtype, np.integer):
        raise ValueError(f"{policy}: expected integer actions, got {array.dtype}")
    if array.size and (array.min() < 0 or array.max() >= num_actions):
        raise ValueError(f"{policy}: expected actions 0 to {num_actions - 1}, got {array.min()} to {array.max()}")
    return array.astype(np.int32)
