"""Who can play in `evaluate`, `watch`, `tournament`: one interface over run directories, scripts, files."""

from __future__ import annotations

import difflib
import hashlib
import importlib.util
import json
import math
import os
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol

import numpy as np

from touchline import scenarios, trained
from touchline.agents import scripted
from touchline.agents.parts.memory import memory_of, remember
from touchline.envs.actions import ACTION_SETS, num_actions
from touchline.envs.simulator import MatchState
from touchline.train_config import SB3_MODEL
from touchline.types import Scenario

FORMS = (
    "a run directory, an SB3 zip, a Python file with act(observations), a Kaggle-style agent(obs) or "
    "make_actor(environment_spec) for Acme, or one of " + ", ".join((*scripted.NAMES, *trained.names()))
)
MOST_FRAMES = 16
"""Frames that the observation of an SB3 zip may stack."""


def is_engine(name: object) -> bool:
    """An opponent is the engine's own AI: `builtin_ai`, or `builtin_ai:0.6` at a difficulty from 0 to 1."""
    return isinstance(name, str) and name.partition(":")[0] == "builtin_ai"


def engine_difficulty(name: str) -> float | None:
    """The difficulty that `builtin_ai:DIFFICULTY` names; None for plain `builtin_ai`, which has the scenario's."""
    _, colon, level = name.partition(":")
    if not colon:
        return None
    try:
        difficulty = float(level)
    except ValueError:
        difficulty = math.nan
    if not 0.0 <= difficulty <= 1.0:
        raise ValueError(f"{name}: expected builtin_ai:DIFFICULTY with a difficulty from 0 to 1")
    return difficulty


def against(scenario: str | Scenario, opponents: Sequence[object]) -> Scenario:
    """The scenario with the right team's AI, its keeper and whoever else no agent drives, at the difficulty that the
    engine among the opponents names."""
    scenario = scenario if isinstance(scenario, Scenario) else scenarios.load(scenario)
    named = [name for name in opponents if is_engine(name)]
    if len(named) > 1:
        raise ValueError(f"expected the engine's AI once, all matches share its difficulty, got {', '.join(named)}")
    difficulty = engine_difficulty(named[0]) if named else None
    return scenario if difficulty is None else replace(scenario, right_team_difficulty=difficulty)


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

    def played(self, actions: np.ndarray) -> None:
        """Tells which actions [B, N] were really taken after `act`, where others decide (a teacher's pupils)."""
        if hasattr(self._script, "played"):
            self._script.played(actions)

    def memory(self) -> str:
        """What it remembers, for `remember` of the same player."""
        return memory_of(self._script)

    def remember(self, memory: str) -> None:
        """Goes on from `memory()`."""
        remember(self._script, memory)


class PolicyFileError(ValueError):
    """A policy of a user's file failed; the message names the file and the line."""


@contextmanager
def blamed_on(file: Path | None) -> Iterator[None]:
    """Errors within are told as errors of a file, if there is one."""
    try:
        yield
    except Exception as error:
        if file is None or isinstance(error, PolicyFileError):
            raise
        own = os.path.abspath(file)
        frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == own]
        line = f", line {frames[-1].lineno}" if frames else ""
        raise PolicyFileError(f"{file}{line}: {type(error).__name__}: {error}") from error


class ObservingPolicy:
    """Anything with `act(observations)`: a module from a file, or an agent from a run directory.

    It may also have `begin(mask, seeds)`, called where episodes start (recurrent state, random streams), and
    say what it was made for with `observation`, `stack` and `action_set` (a file: OBSERVATION, STACK and
    ACTION_SET).

    Args:
        file: that the player comes from, which its errors are told of.
    """

    def __init__(self, player: Any, name: str, *, file: Path | None = None) -> None:
        if not callable(getattr(player, "act", None)):
            raise ValueError(f"{name} has no function act(observations)")
        self.name = name
        self._player, self._file = player, file
        self.observation: str | None = _made_for(player, "observation")
        self.stack: int | None = _made_for(player, "stack")
        self.action_set: str | None = _made_for(player, "action_set")

    @property
    def trained_steps(self) -> int | None:
        """Environment steps of its training; None where a player does not say."""
        return getattr(self._player, "trained_steps", None)

    def begin(self, mask: np.ndarray, seeds: np.ndarray) -> None:
        begin = getattr(self._player, "begin", None)
        if begin is not None:
            with blamed_on(self._file):
                begin(mask, seeds)

    def act(self, observations: np.ndarray, state: MatchState, side: str) -> np.ndarray:
        with blamed_on(self._file):
            return self._player.act(observations)

    def value_estimates(self, observations: np.ndarray) -> dict[str, np.ndarray]:
        """What it expects, {name: [B] or [B, N]}; empty where a player does not say."""
        estimates = getattr(self._player, "value_estimates", None)
        return estimates(observations) if callable(estimates) else {}

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


class _Forgetful:
    """No memory that could travel: after a resume it goes on as in a new episode."""

    def memory(self) -> None:
        """Nothing."""

    def remember(self, memory: Any) -> None:
        """Nothing to do."""


class KagglePolicy(_Forgetful):
    """A file with `agent(obs)`, as Kaggle's football competition has them.

    Such agents keep what they remember in globals, so every match has a copy of the module of its own, made anew
    where an episode begins. `obs` is a dict whose keys are attributes too: `players_raw`, the raw dict of each
    controlled player with lists in place of arrays, and `controlled_players`, N. The answer is a list of N actions;
    a whole number will do for N = 1.
    """

    def __init__(self, path: Path, *, num_players: int = 1) -> None:
        from touchline.envs.observations import raw_observation  # numba, only where it is needed

        self.name = path.name
        self.observation = None
        self.stack = None
        self._path, self._num_players, self._raw = path, num_players, raw_observation
        self.action_set: str | None = _made_for(_load_file(path), "action_set")
        self._copies: dict[int, ModuleType] = {}

    def begin(self, mask: np.ndarray, seeds: np.ndarray) -> None:
        for i in np.flatnonzero(mask):
            self._copies[int(i)] = _load_file(self._path, copy=f"_{i}")

    def act(self, observations: np.ndarray, state: MatchState, side: str) -> np.ndarray:
        return np.stack([self._act(state, i, side) for i in range(len(state.floats))])

    def _act(self, state: MatchState, index: int, side: str) -> np.ndarray:
        """[N] actions in one match."""
        if index not in self._copies:
            self._copies[index] = _load_file(self._path, copy=f"_{index}")
        left = self._num_players if side == "left" else 0
        seen = [_plain(self._raw(state, index, slot, left)) for slot in range(self._num_players)]
        with blamed_on(self._path):
            answer = self._copies[index].agent(_Struct(players_raw=seen, controlled_players=self._num_players))
        shape = (1, self._num_players)
        count = num_actions(self.action_set or "default")
        return checked_actions([np.atleast_1d(answer)], policy=self.name, shape=shape, num_actions=count)[0]


class _Struct(dict):
    """A dict whose keys are attributes too."""

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(name) from None


def _plain(raw: dict[str, object]) -> _Struct:
    return _Struct({name: x.tolist() if isinstance(x, np.ndarray) else x for name, x in raw.items()})


class Sb3Policy(_Forgetful):
    """A model of Stable-Baselines3, trained for one player; it drives each of several for himself."""

    def __init__(self, path: Path) -> None:
        try:
            from touchline.agents.sb3_bridge import load_model
        except ModuleNotFoundError as error:
            raise ValueError(f"{path} needs {error.name}: pip install 'touchline[sb3]'") from error
        from touchline.networks import torch_threads  # torch, only where it is needed

        self.name = path.name
        self._path, self._model, self._threads = path, load_model(zip_of(path)), torch_threads
        self.action_set: str | None = _action_set_of(path, getattr(self._model.action_space, "n", None))
        self.observation, self.stack = _observation_of(path, self._model.observation_space.shape)
        kind = type(self._model).__name__
        self._masked, self._recurrent = kind == "MaskablePPO", kind == "RecurrentPPO"
        self._memory: Any = None
        self._begun = np.zeros(0, bool)

    @property
    def trained_steps(self) -> int:
        """Environment steps of its training; in a run directory, random play of exploration modules among them."""
        from touchline.sb3_training import steps_before_learning

        return self._model.num_timesteps + steps_before_learning(self._path)

    def begin(self, mask: np.ndarray, seeds: np.ndarray) -> None:
        """Where episodes begin, a recurrent model forgets. A batch of another size begins with all of its matches."""
        if mask.all():
            self._memory = None
        self._begun = mask | self._begun if len(self._begun) == len(mask) else mask.copy()

    def act(self, observations: np.ndarray, state: MatchState, side: str) -> np.ndarray:
        # One player's observation has as many axes as the model's; the axes before are matches and players.
        own = observations.shape[observations.ndim - len(self._model.observation_space.shape) :]
        batch = observations.shape[: observations.ndim - len(own)]
        options: dict[str, Any] = {"deterministic": True}
        if self._masked:
            options["action_masks"] = self._masks(state, side, batch)
        if self._recurrent:
            players = int(np.prod(batch[1:], dtype=int))
            starts = np.repeat(self._begun, players) if len(self._begun) == batch[0] else np.ones(batch[0] * players)
            options |= {"state": self._memory, "episode_start": starts.astype(bool)}
        with self._threads(1 if len(own) == 1 else None):
            actions, memory = self._model.predict(observations.reshape(-1, *own), **options)
        if self._recurrent:
            self._memory, self._begun = memory, np.zeros(batch[0], bool)
        return actions.reshape(batch)

    def _masks(self, state: MatchState, side: str, batch: tuple[int, ...]) -> np.ndarray:
        """[B * N, A] bool, what makes sense for this side's agents."""
        from touchline.envs.action_masks import action_masks  # numba, only where it is needed

        players = int(np.prod(batch[1:], dtype=int))
        sides = (players, 0) if side == "left" else (0, players)
        return action_masks(state, *sides, self.action_set or "default").reshape(batch[0] * players, -1)


class AcmePolicy(_Forgetful):
    """A file with `make_actor(environment_spec)`, which gives an `acme.core.Actor`.

    An actor serves one match and is made anew where an episode begins, so that no result depends on how many matches
    are played at once; what is slow to load belongs to the file's module. It drives all N players of its side: with
    N > 1 its observations, actions and rewards are [N, *obs], [N] and [N].
    """

    def __init__(self, module: ModuleType, name: str, *, num_players: int = 1) -> None:
        try:
            from touchline.agents import acme_bridge
        except ModuleNotFoundError as error:
            raise ValueError(f"{name} needs {error.name}: pip install 'touchline[acme]'") from error
        self.name = name
        self.observation: str | None = _made_for(module, "observation")
        self.stack: int | None = _made_for(module, "stack")
        self.action_set: str | None = _made_for(module, "action_set")
        self._make, self._bridge, self._num_players = module.make_actor, acme_bridge, num_players
        self._seats: dict[int, Any] = {}

    def begin(self, mask: np.ndarray, seeds: np.ndarray) -> None:
        for i in np.flatnonzero(mask):
            self._seats.pop(int(i), None)

    def act(self, observations: np.ndarray, state: MatchState, side: str) -> np.ndarray:
        differences = state.get("left_score") - state.get("right_score")
        if side == "right":
            differences = -differences
        return np.stack([self._act(i, observations[i], int(differences[i])) for i in range(len(observations))])

    def _act(self, index: int, observation: np.ndarray, difference: int) -> np.ndarray:
        """[N] actions in one match."""
        count, shape = num_actions(self.action_set or "default"), (1, self._num_players)
        if index not in self._seats:
            spec = self._bridge.match_spec(observation, count, self._num_players)
            self._seats[index] = self._bridge.Seat(self._make(spec), spec)
        answer = np.atleast_1d(self._seats[index].act(observation, difference))
        return checked_actions(answer[None], policy=self.name, shape=shape, num_actions=count)[0]


def _action_set_of(path: Path, count: int | None) -> str:
    for name in ACTION_SETS:
        if count == num_actions(name):
            return name
    known = ", ".join(f"Discrete({num_actions(name)})" for name in ACTION_SETS)
    raise ValueError(f"{path}: expected an action space of {known}, got {count or 'one that is not discrete'}")


def _observation_of(path: Path, shape: tuple[int, ...]) -> tuple[str, int]:
    """(name, stack) of the observation with a model's shape; SB3 puts the planes of pictures first."""
    from touchline.envs.observations import OBSERVATIONS

    saved = path / "config.json"
    if saved.is_file():
        config = json.loads(saved.read_text())
        return config["observation"], config["stack"] or 1
    for name, kind in OBSERVATIONS.items():
        one = kind(1, 0).shape
        for wanted in (shape, (*shape[1:], *shape[:1])):
            frames, rest = divmod(wanted[-1], one[-1]) if len(wanted) == len(one) else (0, 0)
            if wanted[:-1] == one[:-1] and not rest and 1 <= frames <= MOST_FRAMES:
                return name, frames
    known = ", ".join(f"{name} {kind(1, 0).shape}" for name, kind in OBSERVATIONS.items())
    raise ValueError(f"{path} wants observations {shape}, which none has; there are {known}, and stacks of them")


def kind_of(name_or_path: str | Path) -> str:
    """What kind of policy this names: "script", "file", "zip" or "run"; ValueError where there is no such thing."""
    text, path = str(name_or_path), trained.located(name_or_path)
    if text in scripted.NAMES:
        return "script"
    if path.suffix == ".py":
        if not path.is_file():
            raise ValueError(f"no policy file {path}")
        return "file"
    if path.is_dir():
        return "zip" if zip_of(path) != path else "run"
    if path.suffix == ".zip":
        if not path.is_file():
            raise ValueError(f"no SB3 zip {path}")
        return "zip"
    close = difflib.get_close_matches(text, (*scripted.NAMES, *trained.names()), n=1, cutoff=0.7)
    hint = f" (did you mean {close[0]}?)" if close else ""
    raise ValueError(f"no policy {text!r}{hint}; expected {FORMS}")


def zip_of(path: str | Path) -> Path:
    """The SB3 zip of a run directory in which SB3 learned; any other path as it is."""
    path = Path(path)
    inside = path / SB3_MODEL
    return inside if inside.is_file() and not (path / "checkpoint.pt").exists() else path


def require_trust(path: str | Path, trust: bool) -> None:
    """Refuses to open an SB3 zip that nobody vouched for."""
    if not trust:
        raise ValueError(
            f"{path} holds pickles, which can run any code when they are loaded: "
            "if you trust whoever made it, say so with --trust (trust=True)"
        )


def load_policy(name_or_path: str | Path, *, num_players: int = 1, seed: int = 0, trust: bool = False) -> Policy:
    """The policy of a scripted or trained name, a Python file, an SB3 zip or a run directory.

    Args:
        num_players: N agents of one side it will drive.
        seed: of a script's own random numbers.
        trust: load SB3 zips, which hold pickles.
    """
    kind, path = kind_of(name_or_path), trained.located(name_or_path)
    if kind == "script":
        return ScriptedPolicy(str(name_or_path), num_players=num_players, seed=seed)
    if kind == "file":
        module = _load_file(path)
        if callable(getattr(module, "act", None)):
            return ObservingPolicy(module, path.name, file=path)
        if callable(getattr(module, "make_actor", None)):
            return AcmePolicy(module, path.name, num_players=num_players)
        return KagglePolicy(path, num_players=num_players)
    if kind == "zip":
        require_trust(zip_of(path), trust)
        return Sb3Policy(path)
    from touchline.checkpoint import load_policy as load_run  # torch, only where it is needed

    return ObservingPolicy(load_run(path), path.name)


def _load_file(path: Path, *, copy: str = "") -> ModuleType:
    """Imports a user's file under a name of its own, so that two files called agent.py, or copies, can meet."""
    digest = hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:12]
    spec = importlib.util.spec_from_file_location(f"touchline_policy_{digest}{copy}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses and pickling look a module up there
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[spec.name]
        raise ValueError(f"{path} cannot be imported: {type(error).__name__}: {error}") from error
    if not any(callable(getattr(module, name, None)) for name in ("act", "agent", "make_actor")):
        raise ValueError(
            f"{path} has no function act(observations) -> actions, batched: "
            "observations [B, *obs] (or [B, N, *obs]) to integers [B] (or [B, N]); "
            "nor a Kaggle-style agent(obs) -> N integers, "
            "nor make_actor(environment_spec) -> acme.core.Actor"
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
