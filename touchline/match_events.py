"""What happened in a match and when, read from its states: goals, shots, passes, lost balls, restarts and cards.

Goals, shots and passes are those of `envs/statistics.py`: so many are found here as are counted there.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from touchline.envs.simulator import GAME_MODES, MatchState

KINDS = ("goal", "shot", "pass", "possession", "restart", "yellow", "red")
SIDES = ("left", "right")

_SHOT_SPEED, _SHOT_RANGE, _SHOT_Y = 15.0, 40.0, 3.7 + 3.0  # m/s, m, m: the shots of statistics.py
_METRES_X, _METRES_Y, _GOAL_LINE = 54.4, 83.6, 55.0


class Event(NamedTuple):
    """One moment of a match.

    Attributes:
        step: index of the first state that shows it, 1 to T.
        kind: one of `KINDS`.
        side: 0 left, 1 right, -1 if nobody's.
        player: index in his team, or -1 if unknown.
        text: for people; players are called by their numbers, index + 1.
    """

    step: int
    kind: str
    side: int
    player: int
    text: str


def match_events(states: MatchState) -> list[Event]:
    """The events of one episode, in their order.

    Args:
        states: T + 1 states of one match, from its reset on, as if they were a batch.
    """
    steps = range(1, len(states.floats))
    found = [event for part in (_play, _restarts, _cards) for event in part(states, steps)]
    return sorted(found, key=lambda event: (event.step, event.kind == "goal"))


def _play(states: MatchState, steps: range) -> Iterator[Event]:
    """Goals, shots, passes and changes of possession."""
    scores = np.stack([states.get("left_score"), states.get("right_score")], 1)
    teams, players = states.get("ball_owned_team"), states.get("ball_owned_player")
    owner, player, counted = -1, -1, False  # of the running flight
    for t in steps:
        for side in np.flatnonzero(scores[t] > scores[t - 1]).tolist():
            own_goal = owner == 1 - side
            scorer = player if owner == side else -1
            if not (owner == side and counted):
                yield Event(t, "shot", side, scorer, "Shot" + _by(scorer))
            counted = True
            what = "Own goal, " if own_goal else f"Goal{_by(scorer)}, "
            yield Event(t, "goal", side, scorer, what + f"{scores[t][0]}:{scores[t][1]}")
        team = int(teams[t])
        if team >= 0:
            now = int(players[t])
            if team == owner and now != player:
                yield Event(t, "pass", team, now, f"Pass{_number(player)} to{_number(now)}")
            elif owner == 1 - team:
                yield Event(t, "possession", team, now, f"Ball won{_by(now)}")
            owner, player, counted = team, now, False
        elif owner >= 0 and not counted and _is_shot(states, t, owner):
            yield Event(t, "shot", owner, player, "Shot" + _by(player))
            counted = True


def _is_shot(states: MatchState, t: int, team: int) -> bool:
    """The ball flies fast from within range to a goal's neighbourhood, see `statistics.py`."""
    sign = 1.0 if team == 0 else -1.0
    ball, direction = states.get("ball_position")[t], states.get("ball_direction")[t]
    x, y = sign * float(ball[0]) * _METRES_X, sign * float(ball[1]) * _METRES_Y
    vx, vy = sign * float(direction[0]) * _METRES_X * 10, sign * float(direction[1]) * _METRES_Y * 10
    ahead = _GOAL_LINE - x
    if not 0.0 < ahead <= _SHOT_RANGE or vx <= 0.0 or math.hypot(vx, vy) < _SHOT_SPEED:
        return False
    return abs(y + vy * ahead / vx) <= _SHOT_Y


def _restarts(states: MatchState, steps: range) -> Iterator[Event]:
    """Where play stops for a throw-in and the like; whose it is shows in who has the ball next."""
    modes, teams = states.get("game_mode"), states.get("ball_owned_team")
    for t in steps:
        mode = int(modes[t]) % len(GAME_MODES)
        if modes[t] == modes[t - 1] or mode == 0:
            continue
        owners = teams[t:][teams[t:] >= 0]
        side = int(owners[0]) if len(owners) else -1
        yield Event(t, "restart", side, -1, GAME_MODES[mode].replace("_", "-").capitalize().replace("-k", " k"))


def _cards(states: MatchState, steps: range) -> Iterator[Event]:
    for side, name in enumerate(SIDES):
        yellow, active = states.get(f"{name}_yellow"), states.get(f"{name}_active")
        for t, player in np.argwhere(np.diff(yellow, axis=0) > 0).tolist():
            yield Event(t + 1, "yellow", side, player, f"Yellow card for{_number(player)}")
        for t, player in np.argwhere(np.diff(active, axis=0) < 0).tolist():
            yield Event(t + 1, "red", side, player, f"Sent off:{_number(player)}")


def _number(player: int) -> str:
    return f" {player + 1}" if player >= 0 else ""


def _by(player: int) -> str:
    return f" by{_number(player)}" if player >= 0 else ""
