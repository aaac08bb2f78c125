"""The whole match as one vector, what a central critic sees; the left team's view, or the right team's, turned."""

from __future__ import annotations

import numpy as np

from touchline.envs.observations import Observation
from touchline.envs.simulator import FLOATS, GAME_MODES, INTS, MatchState, turned
from touchline.types import MAX_PLAYERS

_PLAIN = ("left_active", "right_active", "left_yellow", "right_yellow")
_SPEED_SCALE = 50.0
"""Displacements per step are multiplied by it: 1 is then about 11 m/s along the pitch."""

SIZE = (
    max(field.stop for field in FLOATS.values())
    + sum(INTS[name].stop - INTS[name].start for name in _PLAIN)
    + 3
    + 2 * MAX_PLAYERS
    + len(GAME_MODES)
    + 2
)
"""S, numbers in the vector."""


def global_state(state: MatchState, game_duration: int) -> np.ndarray:
    """[B, S] float32: every float of the state, movements scaled; who is on the pitch and booked; the ball's owner by
    team (nobody, left, right) and by player (22), and the game mode, one-hot; goal difference / 5 and the share of
    the clock that is left."""
    B = len(state.floats)
    floats = state.floats.copy()
    for name in ("left_direction", "right_direction", "ball_direction"):
        floats[:, FLOATS[name].start : FLOATS[name].stop] *= _SPEED_SCALE
    team, player = state.get("ball_owned_team"), state.get("ball_owned_player")
    owner = np.zeros((B, 2 * MAX_PLAYERS), np.float32)
    rows = np.flatnonzero((team >= 0) & (player >= 0))
    owner[rows, team[rows] * MAX_PLAYERS + player[rows]] = 1.0
    parts = [floats, *(state.get(name).astype(np.float32) for name in _PLAIN)]
    parts += [np.eye(3, dtype=np.float32)[team + 1], owner]
    parts.append(np.eye(len(GAME_MODES), dtype=np.float32)[state.get("game_mode")])
    ahead = (state.get("left_score") - state.get("right_score")) / 5.0
    clock = state.get("steps_left") / game_duration
    return np.concatenate([*parts, np.stack([ahead, clock], 1).astype(np.float32)], 1)


class WithGlobalState:
    """An observation with the global state appended, in the view of the agent's own side; see `Observation`.

    Args:
        inner: an observation of vectors.
        num_left, num_right: agents a side.
        game_duration: steps on the clock at the start.
    """

    dtype = np.float32

    def __init__(self, inner: Observation, num_left: int, num_right: int, game_duration: int) -> None:
        if len(inner.shape) != 1 or np.dtype(inner.dtype) != np.float32:
            raise ValueError(
                f"the global state can be appended to vectors of floats alone, got {inner.shape} of "
                f"{np.dtype(inner.dtype)}: take egocentric or simple115v2"
            )
        self._inner, self._num_left, self._num_right = inner, num_left, num_right
        self._duration, self._size = game_duration, inner.shape[0]
        self.shape = (self._size + SIZE,)
        self.low, self.high = inner.low, inner.high
        self.features = dict(getattr(inner, "features", {}))

    def write(self, state: MatchState, rows: np.ndarray, out: np.ndarray) -> None:
        """See `Observation.write`."""
        self._inner.write(state, rows, out[..., : self._size])
        chosen, left = MatchState(state.floats[rows], state.ints[rows]), self._num_left
        if left:
            out[rows, :left, self._size :] = global_state(chosen, self._duration)[:, None]
        if self._num_right:
            out[rows, left:, self._size :] = global_state(turned(chosen), self._duration)[:, None]
