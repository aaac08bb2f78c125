"""Scripted players: the yardsticks that every trained policy is measured with.

They act on the state arrays of a simulator (any object with `get(name)`), not on observations, so that one
script plays under every observation. `act(state, side)` gives the actions [B, N] of one side's N agents. A
right agent sees the pitch turned by 180 degrees, as in its observations: for both sides the action "right" is
towards the opponent's goal.

The simple ones are here; the teams for several agents (chaser, keeper_rush, finisher, long_ball, possession) are
in `parts.anchor_teams`.
"""

from __future__ import annotations

import numpy as np

from touchline.agents.parts.anchor_teams import Chaser, Finisher, KeeperRush, LongBall, Possession
from touchline.agents.parts.pitch_view import (
    BUILTIN_AI,
    IDLE,
    LEFT,
    METRES,
    SHOT,
    SPRINT,
    State,
    agents_of,
    check_side,
    nearest_direction,
)

NUM_DEFAULT_ACTIONS = 19


def _batch(state: State) -> int:
    return len(state.get("ball_position"))


class Idle:
    """Presses nothing."""

    action_set = "default"

    def __init__(self, num_players: int = 1) -> None:
        self.num_players = num_players

    def begin(self, mask: np.ndarray, seeds: np.ndarray) -> None:
        """Nothing to forget."""

    def act(self, state: State, side: str) -> np.ndarray:
        """[B, N] int32."""
        check_side(side)
        return np.full((_batch(state), self.num_players), IDLE, np.int32)


class BuiltinAI:
    """Leaves the player to the engine's own AI (action 19, which only the action set "v2" has)."""

    action_set = "v2"

    def __init__(self, num_players: int = 1) -> None:
        self.num_players = num_players

    def begin(self, mask: np.ndarray, seeds: np.ndarray) -> None:
        """Nothing to forget."""

    def act(self, state: State, side: str) -> np.ndarray:
        """[B, N] int32."""
        check_side(side)
        return np.full((_batch(state), self.num_players), BUILTIN_AI, np.int32)


class Random:
    """Uniform over the 19 default actions.

    Every match draws from a generator of its own, begun anew with the seed of its episode: what is played in
    an episode does not depend on how many matches run beside it.
    """

    action_set = "default"

    def __init__(self, num_players: int = 1, *, seed: int = 0, num_actions: int = NUM_DEFAULT_ACTIONS) -> None:
        self.num_players = num_players
        self.num_actions = num_actions
        self._seed = seed
        self._generators: list[np.random.Generator] = []

    def _grow(self, size: int) -> None:
        for i in range(len(self._generators), size):
            self._generators.append(np.random.default_rng([self._seed, i]))

    def begin(self, mask: np.ndarray, seeds: np.ndarray) -> None:
        """Starts the streams of the matches in `mask` [B] bool from `seeds` [B]."""
        self._grow(len(mask))
        for i in np.flatnonzero(mask):
            self._generators[i] = np.random.default_rng([self._seed, int(seeds[i])])

    def act(self, state: State, side: str) -> np.ndarray:
        """[B, N] int32."""
        # The two sides of one match draw apart only if they are given different seeds.
        check_side(side)
        size = _batch(state)
        self._grow(size)
        draws = [g.integers(self.num_actions, size=self.num_players) for g in self._generators[:size]]
        return np.array(draws, np.int32).reshape(size, self.num_players)


class RunAndShoot:
    """Sprints at the middle of the goal and shoots once beyond `shoot_from`: the reference of the fact sheet.

    Args:
        press: "hold" repeats the shot action in range, which postpones the kick until the gauge is full;
            "tap" presses it for one step in ten.
        shoot_from: x of the controlled player, in his own view (own goal -1, opponent's goal 1).
    """

    action_set = "default"

    def __init__(self, num_players: int = 1, *, press: str = "hold", shoot_from: float = 0.85) -> None:
        if press not in ("hold", "tap"):
            raise ValueError(f"no press {press!r}; there are hold, tap")
        self.num_players = num_players
        self.press = press
        self.shoot_from = shoot_from
        self._in_range = np.zeros((0, num_players), np.int64)
        self._steps_left = np.zeros(0, np.int64)

    def begin(self, mask: np.ndarray, seeds: np.ndarray) -> None:
        """Forgets how long the agents of the matches in `mask` [B] bool have been in range."""
        if len(mask) == len(self._in_range):
            self._in_range[mask] = 0

    def act(self, state: State, side: str) -> np.ndarray:
        """[B, N] int32."""
        size, n = _batch(state), self.num_players
        player, position, directions, sprinting = agents_of(state, side, n)
        wanted = nearest_direction((np.array([1.0, 0.0]) - position) * METRES)
        pressed = np.take_along_axis(directions, (wanted - LEFT)[..., None], axis=-1)[..., 0]
        running = np.where(pressed, IDLE, wanted)

        # A clock that does not run down belongs to a new episode.
        steps_left = state.get("steps_left").astype(np.int64)
        if len(self._in_range) != size:
            self._in_range = np.zeros((size, n), np.int64)
            self._steps_left = steps_left + 1
        self._in_range[steps_left >= self._steps_left] = 0
        self._steps_left = steps_left.copy()
        in_range = (position[..., 0] > self.shoot_from) & (player >= 0)
        shot = SHOT if self.press == "hold" else np.where(self._in_range % 10 == 0, SHOT, IDLE)
        self._in_range = np.where(in_range, self._in_range + 1, 0)

        actions = np.where(in_range, shot, running)
        actions = np.where(sprinting, actions, SPRINT)
        return np.where(player >= 0, actions, IDLE).astype(np.int32)


Script = Idle | BuiltinAI | Random | RunAndShoot | Chaser | KeeperRush | Finisher | LongBall | Possession
_ANCHORS = {
    "chaser": Chaser,
    "keeper_rush": KeeperRush,
    "finisher": Finisher,
    "long_ball": LongBall,
    "possession": Possession,
}

NAMES = ("builtin_ai", "idle", "random", "run_and_shoot", "run_and_shoot_tap", *_ANCHORS)


def make_scripted(name: str, num_players: int = 1, *, seed: int = 0) -> Script:
    """The scripted policy of a name, for N = `num_players` agents of one side."""
    if name in _ANCHORS:
        return _ANCHORS[name](num_players)
    if name == "builtin_ai":
        return BuiltinAI(num_players)
    if name == "idle":
        return Idle(num_players)
    if name == "random":
        return Random(num_players, seed=seed)
    if name == "run_and_shoot":
        return RunAndShoot(num_players)
    if name == "run_and_shoot_tap":
        return RunAndShoot(num_players, press="tap")
    raise ValueError(f"no scripted policy {name!r}; there are {', '.join(NAMES)}")
