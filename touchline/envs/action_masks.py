"""Which actions make sense: one set of rules, for every view of a match.

A masked action does what `idle` does, or cannot come to anything before it could be given later:

- a release of what is not held, a sprint or dribble that is held already: the same as idle, to the last bit (tested);
- passes and shots with the ball farther than 20 m: the fastest ball (about 30 m/s) needs 7 steps to come so far, and
  a kick can be ordered until it is there (tested: the ball's way in the next six steps is the same);
- sliding with the ball owned by the player himself, in set pieces (the engine disables it), or with the ball farther
  than 12 m: a slide meets it within 0.32 s and 3.4 m or not at all, and without the ball near it can only be a foul
  (from facts of the engine, not tested on it);
- everything but idle for the agent of a player who was sent off.

Idle, the eight directions and `builtin_ai` are never masked for a player on the pitch.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from touchline.envs.actions import ACTION_SETS, num_actions
from touchline.envs.simulator import FLOATS, INTS, NUM_STICKY, MatchState

KICK_REACH = 20.0
"""Metres to the ball up to which passes and shots are allowed."""

SLIDE_REACH = 12.0
"""Metres to the ball up to which sliding is allowed."""

_X_METRES, _Y_METRES = 54.4, 83.6
_BALL = FLOATS["ball_position"].start
_LEFT_POSITION, _RIGHT_POSITION = FLOATS["left_position"].start, FLOATS["right_position"].start
_LEFT_CONTROLLED, _RIGHT_CONTROLLED = INTS["left_controlled"].start, INTS["right_controlled"].start
_LEFT_STICKY, _RIGHT_STICKY = INTS["left_sticky"].start, INTS["right_sticky"].start
_OWNED_TEAM, _OWNED_PLAYER = INTS["ball_owned_team"].start, INTS["ball_owned_player"].start
_MODE = INTS["game_mode"].start

_NAMES = ACTION_SETS["default"]
_FIRST_KICK, _LAST_KICK = _NAMES.index("long_pass"), _NAMES.index("shot")
_SPRINT, _RELEASE_SPRINT = _NAMES.index("sprint"), _NAMES.index("release_sprint")
_DRIBBLE, _RELEASE_DRIBBLE = _NAMES.index("dribble"), _NAMES.index("release_dribble")
_RELEASE_DIRECTION, _SLIDING = _NAMES.index("release_direction"), _NAMES.index("sliding")


def action_masks(state: MatchState, num_left: int, num_right: int, action_set: str = "default") -> np.ndarray:
    """[B, N, A] bool, True where an action makes sense; left agents first, A as in `actions.ACTION_SETS`."""
    out = np.ones((len(state.floats), num_left + num_right, num_actions(action_set)), np.bool_)
    _write(state.floats, state.ints, num_left, out)
    return out


@njit(cache=True)
def _write(floats, ints, num_left, out):
    for b in range(out.shape[0]):
        for agent in range(out.shape[1]):
            right = agent >= num_left
            slot = agent - num_left if right else agent
            player = ints[b, (_RIGHT_CONTROLLED if right else _LEFT_CONTROLLED) + slot]
            if player < 0:  # he was sent off
                out[b, agent, 1:] = False
                continue
            sticky = (_RIGHT_STICKY if right else _LEFT_STICKY) + slot * NUM_STICKY
            place = (_RIGHT_POSITION if right else _LEFT_POSITION) + 2 * player
            dx = (floats[b, place] - floats[b, _BALL]) * _X_METRES
            dy = (floats[b, place + 1] - floats[b, _BALL + 1]) * _Y_METRES
            distance = np.sqrt(dx * dx + dy * dy)
            owns = ints[b, _OWNED_TEAM] == (1 if right else 0) and ints[b, _OWNED_PLAYER] == player
            held = False
            for direction in range(8):
                held |= ints[b, sticky + direction] == 1
            out[b, agent, _RELEASE_DIRECTION] = held
            sprints, dribbles = ints[b, sticky + 8] == 1, ints[b, sticky + 9] == 1
            out[b, agent, _SPRINT], out[b, agent, _RELEASE_SPRINT] = not sprints, sprints
            out[b, agent, _DRIBBLE], out[b, agent, _RELEASE_DRIBBLE] = not dribbles, dribbles
            out[b, agent, _FIRST_KICK : _LAST_KICK + 1] = owns or distance <= KICK_REACH
            out[b, agent, _SLIDING] = not owns and ints[b, _MODE] == 0 and distance <= SLIDE_REACH
