"""Football statistics of an episode, counted from the state arrays alone.

Definitions (both sides alike, `<x>` is left or right):

- `goals_<x>`: goals in this episode.
- `passes_<x>`: completed passes, i.e. changes of the ball's owner to a team-mate with no opponent owning it between.
- `shots_<x>`: flights of the ball, played by this side, that at some step within 40 m of the opponent's goal line had
  a horizontal speed of at least 15 m/s and were heading to cross that line no more than 3 m outside a post. A goal
  always counts as a shot; a flight counts once and ends when somebody owns the ball.
- `possession_<x>`: share of the steps with an owner in which this side owned the ball, 0 to 1; 0 if nobody ever did.
- `ball_cells`, `player_cells`: pitch coverage, how many of the pitch's 12 x 8 equal cells (9.2 x 9 m) the ball was
  in, and the first controlled player (0 without one).
- `r`: return of the first agent (weighted sum of all reward terms); `l`: length in steps.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from touchline.envs.simulator import FLOATS, INTS, Simulator

_BALL, _BALL_DIRECTION = FLOATS["ball_position"].start, FLOATS["ball_direction"].start
_OWNED_TEAM, _OWNED_PLAYER = INTS["ball_owned_team"].start, INTS["ball_owned_player"].start
_LEFT_SCORE = INTS["left_score"].start
_CONTROLLED = INTS["left_controlled"].start, INTS["right_controlled"].start
_POSITION = FLOATS["left_position"].start, FLOATS["right_position"].start

GRID = (12, 8)
"""Cells along and across the pitch."""

# columns of the counters; a pair is left, right
_LENGTH, _GOALS, _PASSES, _SHOTS, _OWNED, _OWNER_TEAM, _OWNER_PLAYER, _SHOT_COUNTED = 0, 1, 3, 5, 7, 9, 10, 11
_BALL_CELLS, _PLAYER_CELLS, _NUM = 12, 15, 18  # three numbers each, a bit a cell

_SHOT_SPEED, _SHOT_RANGE, _SHOT_Y = 15.0, 40.0, 3.7 + 3.0


@njit(cache=True)
def _visit(cells, x, y):
    """Sets the bit of the cell of a place (in the engine's units) among the 96 of three numbers."""
    column = max(0, min(GRID[0] - 1, int((x + 1.0) / 2.0 * GRID[0])))
    row = max(0, min(GRID[1] - 1, int((y + 0.42) / 0.84 * GRID[1])))
    cell = column * GRID[1] + row
    cells[cell // 32] |= np.int32(np.int64(1) << np.int64(cell % 32))


@njit(cache=True)
def _count(floats, ints, counters, side):
    for b in range(len(floats)):
        c, n, f = counters[b], ints[b], floats[b]
        c[_LENGTH] += 1
        _visit(c[_BALL_CELLS : _BALL_CELLS + 3], f[_BALL], f[_BALL + 1])
        me = n[_CONTROLLED[side]]
        if me >= 0:  # not sent off
            at = _POSITION[side] + 2 * me
            _visit(c[_PLAYER_CELLS : _PLAYER_CELLS + 3], f[at], f[at + 1])
        owner, player = n[_OWNED_TEAM], n[_OWNED_PLAYER]
        for team in range(2):
            scored = n[_LEFT_SCORE + team] - c[_GOALS + team]
            if scored > 0:
                c[_GOALS + team] += scored
                if not (c[_OWNER_TEAM] == team and c[_SHOT_COUNTED]):
                    c[_SHOTS + team] += 1
                c[_SHOT_COUNTED] = 1
        if owner >= 0:
            c[_OWNED + owner] += 1
            if c[_OWNER_TEAM] == owner and c[_OWNER_PLAYER] != player:
                c[_PASSES + owner] += 1
            c[_OWNER_TEAM], c[_OWNER_PLAYER], c[_SHOT_COUNTED] = owner, player, 0
        elif c[_OWNER_TEAM] >= 0 and c[_SHOT_COUNTED] == 0:
            team = c[_OWNER_TEAM]
            sign = 1.0 if team == 0 else -1.0
            x, y = sign * f[_BALL] * 54.4, sign * f[_BALL + 1] * 83.6
            vx, vy = sign * f[_BALL_DIRECTION] * 544.0, sign * f[_BALL_DIRECTION + 1] * 836.0
            ahead = 55.0 - x
            if (
                0.0 < ahead <= _SHOT_RANGE
                and vx > 0.0
                and vx * vx + vy * vy >= _SHOT_SPEED**2
                and abs(y + vy * ahead / vx) <= _SHOT_Y
            ):
                c[_SHOTS + team] += 1
                c[_SHOT_COUNTED] = 1


class EpisodeStatistics:
    """Counts for B matches at once; see the module's text for what is counted.

    Args:
        num_left: controlled players on the left; without any the first agent is on the right.
    """

    def __init__(self, num_envs: int, num_left: int = 1) -> None:
        self._side = 0 if num_left else 1
        self._counters = np.zeros((num_envs, _NUM), np.int32)
        self._returns = np.zeros(num_envs, np.float32)
        self.reset(np.arange(num_envs))

    def reset(self, rows: np.ndarray) -> None:
        """Starts new episodes in matches `rows` [K]."""
        self._counters[rows] = 0
        self._counters[rows, _OWNER_TEAM] = self._counters[rows, _OWNER_PLAYER] = -1
        self._returns[rows] = 0.0

    def step(self, simulator: Simulator, reward: np.ndarray) -> None:
        """Counts a step; `reward` [B, N] is the weighted sum of the terms."""
        _count(simulator.final_state.floats, simulator.final_state.ints, self._counters, self._side)
        self._returns += reward[:, 0]

    def summary(self) -> dict[str, np.ndarray]:
        """Statistics of all running episodes, each [B]."""
        c = self._counters
        owned = np.maximum(c[:, _OWNED] + c[:, _OWNED + 1], 1)
        result = {"r": self._returns.copy(), "l": c[:, _LENGTH].copy()}
        for team, side in enumerate(("left", "right")):
            for name, column in (("goals", _GOALS), ("passes", _PASSES), ("shots", _SHOTS)):
                result[f"{name}_{side}"] = c[:, column + team].copy()
            result[f"possession_{side}"] = (c[:, _OWNED + team] / owned).astype(np.float32)
        for name, column in (("ball", _BALL_CELLS), ("player", _PLAYER_CELLS)):
            bits = np.ascontiguousarray(c[:, column : column + 3]).view(np.uint8)
            result[f"{name}_cells"] = np.unpackbits(bits, axis=1).sum(1).astype(np.int32)
        return result

    def get_state(self, index: int) -> np.ndarray:
        """What is remembered of match `index`, [19] int32."""
        return np.append(self._counters[index], self._returns[index : index + 1].view(np.int32))

    def set_state(self, index: int, state: np.ndarray) -> None:
        """Sets what is remembered of match `index`."""
        self._counters[index] = state[:-1]
        self._returns[index] = state[-1:].view(np.float32)[0]
