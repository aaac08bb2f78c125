"""Observations as functions of the state arrays, written once for every backend.

`simple115v2`, `smm` and `raw` equal upstream's (gfootball 2.10.2, `wrappers.py`, `observation_preprocessing.py`) bit
for bit. A right-hand agent sees the pitch turned by 180 degrees, the teams, the score and the owner swapped.

An observation is an object with `shape`, `dtype`, `low`, `high`, and `write(state, rows, out)`, which fills
`out[rows]` ([B, N, *shape]) from the state. A user's own is the same: pass the object in place of a name.
"""

from __future__ import annotations

from typing import ClassVar, Protocol

import numpy as np
from numba import njit

from touchline.envs.simulator import FLOATS, INTS, KICK_MEMORY, KICKS, NUM_STICKY, MatchState
from touchline.types import MAX_PLAYERS, ROLES

SMM_HEIGHT, SMM_WIDTH, SMM_PLANES = 72, 96, 4
SIMPLE115_SIZE = 115
BOUND = 100.0
"""Bound of float observations; the largest value is the height of the ball, in metres."""

P = MAX_PLAYERS
_F = {name: field.start for name, field in FLOATS.items()}
_I = {name: field.start for name, field in INTS.items()}
_LEFT_POSITION, _RIGHT_POSITION = _F["left_position"], _F["right_position"]
_LEFT_DIRECTION, _RIGHT_DIRECTION = _F["left_direction"], _F["right_direction"]
_LEFT_TIRED, _RIGHT_TIRED = _F["left_tired"], _F["right_tired"]
_BALL, _BALL_DIRECTION = _F["ball_position"], _F["ball_direction"]
_LEFT_COUNT, _RIGHT_COUNT = _I["left_count"], _I["right_count"]
_LEFT_ACTIVE, _RIGHT_ACTIVE = _I["left_active"], _I["right_active"]
_LEFT_ROLE, _RIGHT_ROLE = _I["left_role"], _I["right_role"]
_LEFT_SCORE, _RIGHT_SCORE = _I["left_score"], _I["right_score"]
_LEFT_CONTROLLED, _RIGHT_CONTROLLED = _I["left_controlled"], _I["right_controlled"]
_LEFT_STICKY, _RIGHT_STICKY = _I["left_sticky"], _I["right_sticky"]
_OWNED_TEAM, _OWNED_PLAYER = _I["ball_owned_team"], _I["ball_owned_player"]
_GAME_MODE, _STEPS_LEFT = _I["game_mode"], _I["steps_left"]


class Observation(Protocol):
    """What the environments ask of an observation.

    Attributes:
        shape: of one player's observation. dtype: NumPy type. low, high: bounds of its Box space.
        features: what lies where on the last axis, see `types.FEATURES`; may be left out.
    """

    shape: tuple[int, ...]
    dtype: type
    low: float
    high: float

    def write(self, state: MatchState, rows: np.ndarray, out: np.ndarray) -> None:
        """Fills `out` [B, N, *shape] in `rows` [K] from `state`."""


# ------------------------------------------------------------------------------------------------ simple115v2


@njit(cache=True)
def _write_simple115v2(floats, ints, num_left, num_right, rows, out):
    for k in range(len(rows)):
        b = rows[k]
        f, n = floats[b], ints[b]
        for agent in range(num_left + num_right):
            o = out[b, agent]
            right = agent >= num_left
            sign = np.float32(-1.0) if right else np.float32(1.0)
            own_position = _RIGHT_POSITION if right else _LEFT_POSITION
            own_direction = _RIGHT_DIRECTION if right else _LEFT_DIRECTION
            other_position = _LEFT_POSITION if right else _RIGHT_POSITION
            other_direction = _LEFT_DIRECTION if right else _RIGHT_DIRECTION
            own_count = n[_RIGHT_COUNT] if right else n[_LEFT_COUNT]
            other_count = n[_LEFT_COUNT] if right else n[_RIGHT_COUNT]
            for i in range(2 * P):
                padded = np.float32(-1.0)
                o[i] = sign * f[own_position + i] if i < 2 * own_count else padded
                o[22 + i] = sign * f[own_direction + i] if i < 2 * own_count else padded
                o[44 + i] = sign * f[other_position + i] if i < 2 * other_count else padded
                o[66 + i] = sign * f[other_direction + i] if i < 2 * other_count else padded
            for axis in range(3):
                turn = sign if axis < 2 else np.float32(1.0)
                o[88 + axis] = turn * f[_BALL + axis]
                o[91 + axis] = turn * f[_BALL_DIRECTION + axis]
            for i in range(94, 115):
                o[i] = 0.0
            owner = n[_OWNED_TEAM]
            if owner >= 0:
                o[95 + (1 - owner if right else owner)] = 1.0
            else:
                o[94] = 1.0
            active = n[_RIGHT_CONTROLLED + agent - num_left] if right else n[_LEFT_CONTROLLED + agent]
            if active >= 0:
                o[97 + active] = 1.0
            o[108 + n[_GAME_MODE]] = 1.0


class Simple115v2:
    """Upstream's 115 floats, one vector per controlled player.

    Positions of the own team (22), its directions (22), the same of the other team (44), ball position and direction
    (6), who owns the ball (3: nobody, own, other), the controlled player (11), the game mode (7). Players that do not
    exist are -1.
    """

    shape = (SIMPLE115_SIZE,)
    dtype = np.float32
    low, high = -BOUND, BOUND
    features: ClassVar = {
        "ball": (88, 89),
        "own_team": tuple(range(22)),
        "controlled": tuple(range(97, 108)),
        "owner": (94, 95, 96),
        "game_mode": tuple(range(108, 115)),
        "clocks": tuple(range(97, 108)),
    }

    def __init__(self, num_left: int, num_right: int) -> None:
        self._agents = num_left, num_right

    def write(self, state: MatchState, rows: np.ndarray, out: np.ndarray) -> None:
        """See `Observation.write`."""
        _write_simple115v2(state.floats, state.ints, *self._agents, rows, out)


# ------------------------------------------------------------------------------------------------ super mini map


@njit(cache=True, inline="always")
def _smm_cell(x, y):
    # Upstream computes in double precision and in this order; int() cuts towards zero.
    column = int((x - -1.0) / (1.0 - -1.0) * SMM_WIDTH)
    row = int((y - -1.0 / 2.25) / (1.0 / 2.25 - -1.0 / 2.25) * SMM_HEIGHT)
    return max(0, min(SMM_HEIGHT - 1, row)), max(0, min(SMM_WIDTH - 1, column))


@njit(cache=True)
def _mark(plane_stack, plane, f, start, count, sign):
    for i in range(count):
        x, y = sign * np.float64(f[start + 2 * i]), sign * np.float64(f[start + 2 * i + 1])
        row, column = _smm_cell(x, y)
        plane_stack[row, column, plane] = 255


@njit(cache=True)
def _write_smm(floats, ints, num_left, num_right, rows, out):
    for k in range(len(rows)):
        b = rows[k]
        f, n = floats[b], ints[b]
        for agent in range(num_left + num_right):
            o = out[b, agent]
            o[:] = 0
            right = agent >= num_left
            sign = -1.0 if right else 1.0
            own = _RIGHT_POSITION if right else _LEFT_POSITION
            other = _LEFT_POSITION if right else _RIGHT_POSITION
            _mark(o, 0, f, own, n[_RIGHT_COUNT] if right else n[_LEFT_COUNT], sign)
            _mark(o, 1, f, other, n[_LEFT_COUNT] if right else n[_RIGHT_COUNT], sign)
            _mark(o, 2, f, _BALL, 1, sign)
            active = n[_RIGHT_CONTROLLED + agent - num_left] if right else n[_LEFT_CONTROLLED + agent]
            if active >= 0:
                _mark(o, 3, f, own + 2 * active, 1, sign)


class SuperMiniMap:
    """Upstream's mini map [72, 96, 4] of 0 and 255: own team, other team, ball, controlled player."""

    shape = (SMM_HEIGHT, SMM_WIDTH, SMM_PLANES)
    dtype = np.uint8
    low, high = 0, 255
    features: ClassVar = {"ball_plane": (2,), "player_plane": (3,)}

    def __init__(self, num_left: int, num_right: int) -> None:
        self._agents = num_left, num_right

    def write(self, state: MatchState, rows: np.ndarray, out: np.ndarray) -> None:
        """See `Observation.write`."""
        _write_smm(state.floats, state.ints, *self._agents, rows, out)


# ------------------------------------------------------------------------------------------------ egocentric

X_METRES, Y_METRES = 54.4, 83.6
GOAL_X, POST_Y = 55.0, 3.7
_LENGTH, _SPEED = 30.0, 10.0  # scales that bring metres and metres per second to about 1
_OWN, _STICKY, _BALL_PART, _GOAL, _CLOCK, _PER_PLAYER = 12 + len(ROLES), NUM_STICKY, 12, 9, 10, 6
EGOCENTRIC_SIZE = _OWN + _STICKY + _BALL_PART + _GOAL + _CLOCK + _PER_PLAYER * (2 * P - 1)
_BALL_AT = _OWN + _STICKY
_MODE_AT = _BALL_AT + _BALL_PART + _GOAL


@njit(cache=True)
def _write_neighbours(f, n, start, direction, active, count, skip, x, y, vx, vy, sign, slots, o, at, scratch):
    """Players of one team by distance: place and movement relative to the observer, distance, presence."""
    found = 0
    for i in range(count):
        if i == skip or n[active + i] == 0:
            continue
        dx = sign * f[start + 2 * i] * X_METRES - x
        dy = sign * f[start + 2 * i + 1] * Y_METRES - y
        distance = np.sqrt(dx * dx + dy * dy)
        j = found
        while j > 0 and scratch[j - 1, 0] > distance:
            scratch[j] = scratch[j - 1]
            j -= 1
        scratch[j, 0] = distance
        scratch[j, 1] = dx
        scratch[j, 2] = dy
        scratch[j, 3] = sign * f[direction + 2 * i] * X_METRES * 10.0 - vx
        scratch[j, 4] = sign * f[direction + 2 * i + 1] * Y_METRES * 10.0 - vy
        found += 1
    for j in range(slots):
        if j < found:
            o[at] = scratch[j, 1] / _LENGTH
            o[at + 1] = scratch[j, 2] / _LENGTH
            o[at + 2] = scratch[j, 3] / _SPEED
            o[at + 3] = scratch[j, 4] / _SPEED
            o[at + 4] = np.exp(-scratch[j, 0] / 8.0)
            o[at + 5] = 1.0
        else:
            for c in range(_PER_PLAYER):
                o[at + c] = 0.0
        at += _PER_PLAYER
    return at


@njit(cache=True)
def _write_egocentric(floats, ints, num_left, num_right, rows, out):
    scratch = np.empty((P, 5))
    for k in range(len(rows)):
        b = rows[k]
        f, n = floats[b], ints[b]
        for agent in range(num_left + num_right):
            o = out[b, agent]
            o[:] = 0.0
            right = agent >= num_left
            index = agent - num_left if right else agent
            sign = -1.0 if right else 1.0
            own_team = 1 if right else 0
            position, other_position = (_RIGHT_POSITION, _LEFT_POSITION) if right else (_LEFT_POSITION, _RIGHT_POSITION)
            direction, other_direction = (
                (_RIGHT_DIRECTION, _LEFT_DIRECTION) if right else (_LEFT_DIRECTION, _RIGHT_DIRECTION)
            )
            active, other_active = (_RIGHT_ACTIVE, _LEFT_ACTIVE) if right else (_LEFT_ACTIVE, _RIGHT_ACTIVE)
            count = n[_RIGHT_COUNT] if right else n[_LEFT_COUNT]
            other_count = n[_LEFT_COUNT] if right else n[_RIGHT_COUNT]
            me = n[_RIGHT_CONTROLLED + index] if right else n[_LEFT_CONTROLLED + index]
            driven = me >= 0
            if not driven:
                me = 0
            x = sign * f[position + 2 * me] * X_METRES
            y = sign * f[position + 2 * me + 1] * Y_METRES
            vx = sign * f[direction + 2 * me] * X_METRES * 10.0
            vy = sign * f[direction + 2 * me + 1] * Y_METRES * 10.0
            owner = n[_OWNED_TEAM]
            mine = owner == own_team and n[_OWNED_PLAYER] == me
            # myself
            o[0] = x / GOAL_X
            o[1] = y / 36.0
            o[2] = vx / _SPEED
            o[3] = vy / _SPEED
            o[4] = np.sqrt(vx * vx + vy * vy) / _SPEED
            o[5] = f[_RIGHT_TIRED + me] if right else f[_LEFT_TIRED + me]
            o[6] = 1.0 if driven else 0.0
            o[7] = 1.0 if mine else 0.0
            o[8] = 1.0 if owner == own_team else 0.0
            o[9] = 1.0 if owner == 1 - own_team else 0.0
            o[10] = 1.0 if owner < 0 else 0.0
            o[11] = n[active + me]
            o[12 + (n[_RIGHT_ROLE + me] if right else n[_LEFT_ROLE + me])] = 1.0
            at = _OWN
            # sticky actions, the eight directions turned into the observer's view
            sticky = (_RIGHT_STICKY if right else _LEFT_STICKY) + index * NUM_STICKY
            for s in range(NUM_STICKY):
                source = (s + 4) % 8 if right and s < 8 else s
                o[at + s] = n[sticky + source]
            at += _STICKY
            # the ball
            ball_x, ball_y = sign * f[_BALL] * X_METRES, sign * f[_BALL + 1] * Y_METRES
            dx, dy = ball_x - x, ball_y - y
            distance = np.sqrt(dx * dx + dy * dy)
            bvx = sign * f[_BALL_DIRECTION] * X_METRES * 10.0
            bvy = sign * f[_BALL_DIRECTION + 1] * Y_METRES * 10.0
            o[at] = dx / _LENGTH
            o[at + 1] = dy / _LENGTH
            o[at + 2] = min(max(dx / 3.0, -1.0), 1.0)
            o[at + 3] = min(max(dy / 3.0, -1.0), 1.0)
            o[at + 4] = np.exp(-distance / 8.0)
            o[at + 5] = np.exp(-distance)
            o[at + 6] = f[_BALL + 2] / 3.0
            o[at + 7] = bvx / (2.0 * _SPEED)
            o[at + 8] = bvy / (2.0 * _SPEED)
            o[at + 9] = f[_BALL_DIRECTION + 2] * 10.0 / _SPEED
            o[at + 10] = ball_x / GOAL_X
            o[at + 11] = ball_y / 36.0
            at += _BALL_PART
            # the goal I attack, and mine
            gx, gy = GOAL_X - x, -y
            goal_distance = np.sqrt(gx * gx + gy * gy)
            safe = max(goal_distance, 1e-6)
            o[at] = gx / _LENGTH
            o[at + 1] = gy / _LENGTH
            o[at + 2] = np.exp(-goal_distance / 15.0)
            o[at + 3] = gx / safe
            o[at + 4] = gy / safe
            near, far = np.arctan2(-POST_Y - y, gx), np.arctan2(POST_Y - y, gx)
            o[at + 5] = near / np.pi
            o[at + 6] = far / np.pi
            o[at + 7] = min(far - near, 1.5)
            o[at + 8] = np.sqrt((ball_x + GOAL_X) ** 2 + ball_y**2) / (2.0 * GOAL_X)
            at += _GOAL
            # mode, clock, score
            o[at + n[_GAME_MODE]] = 1.0
            o[at + 7] = min(n[_STEPS_LEFT] / 400.0, 1.0)
            o[at + 8] = n[_STEPS_LEFT] / 3000.0
            difference = n[_LEFT_SCORE] - n[_RIGHT_SCORE]
            o[at + 9] = sign * min(max(difference, -3), 3) / 3.0
            at += _CLOCK
            at = _write_neighbours(
                f, n, position, direction, active, count, me, x, y, vx, vy, sign, P - 1, o, at, scratch
            )
            _write_neighbours(
                f, n, other_position, other_direction, other_active, other_count, -1, x, y, vx, vy, sign, P, o, at,
                scratch,
            )  # fmt: skip


class Egocentric:
    """Floats as the controlled player sees them, scaled to about [-1, 1]; ours, made for small MLPs.

    Place, speed, role and sticky actions of the player himself; the ball, the attacked goal and its posts relative to
    him; game mode, clock and score; then team-mates and opponents sorted by distance, six floats each (relative place
    and movement, nearness, presence). Players who were sent off or do not exist are zeros.
    """

    shape = (EGOCENTRIC_SIZE,)
    dtype = np.float32
    low, high = -BOUND, BOUND
    features: ClassVar = {
        "ball": (_BALL_AT + 10, _BALL_AT + 11),
        "player": (0, 1),
        "owner": (10, 8, 9),
        "game_mode": tuple(range(_MODE_AT, _MODE_AT + 7)),
        "clocks": (5, 6, 11, *range(_OWN, _OWN + NUM_STICKY), _MODE_AT + 7, _MODE_AT + 8, _MODE_AT + 9),
    }

    def __init__(self, num_left: int, num_right: int) -> None:
        self._agents = num_left, num_right

    def write(self, state: MatchState, rows: np.ndarray, out: np.ndarray) -> None:
        """See `Observation.write`."""
        _write_egocentric(state.floats, state.ints, *self._agents, rows, out)


class EgocentricKicks(Egocentric):
    """`Egocentric` and which kicks the agent has begun, in four floats: long, high and short pass, shot.

    1 after the step in which he pressed the key (or the dead-ball rule did), 0.1 less after every other. Foot meets
    ball some seven steps after the key, and nothing else in an observation tells that a kick is under way. The four
    stay with the agent where he switches to another player.
    """

    shape = (EGOCENTRIC_SIZE + len(KICKS),)
    features: ClassVar = {
        **Egocentric.features,
        "clocks": (*Egocentric.features["clocks"], *range(EGOCENTRIC_SIZE, EGOCENTRIC_SIZE + len(KICKS))),
    }

    def write(self, state: MatchState, rows: np.ndarray, out: np.ndarray) -> None:
        """See `Observation.write`."""
        _write_egocentric(state.floats, state.ints, *self._agents, rows, out[..., :EGOCENTRIC_SIZE])
        left, right = self._agents
        kicks = np.concatenate([state.get("left_kicks")[rows, :left], state.get("right_kicks")[rows, :right]], axis=1)
        out[rows, :, EGOCENTRIC_SIZE:] = kicks / KICK_MEMORY


# ------------------------------------------------------------------------------------------------ noise

NOISE_BITS = 24


@njit(cache=True)
def _write_noise(floats, ints, rows, start, bits, out):
    for k in range(len(rows)):
        b = rows[k]
        # A hash (FNV-1a, http://www.isthe.com/chongo/tech/comp/fnv/) of where everything is: no generator to be kept.
        x = np.uint64(14695981039346656037)
        for i in range(floats.shape[1]):
            x = (x ^ np.uint64(np.int64(floats[b, i] * 1e6))) * np.uint64(1099511628211)
        x = (x ^ np.uint64(ints[b, _STEPS_LEFT])) * np.uint64(1099511628211)
        for bit in range(bits):
            # One xorshift round (Marsaglia 2003, https://doi.org/10.18637/jss.v008.i14) a bit.
            x ^= x << np.uint64(13)
            x ^= x >> np.uint64(7)
            x ^= x << np.uint64(17)
            for agent in range(out.shape[1]):
                out[b, agent, start + bit] = np.float32((x >> np.uint64(63)) & np.uint64(1))


class EgocentricNoise(Egocentric):
    """`Egocentric` and 24 bits that nobody can foresee, new in every step: a noisy television for football.

    They are a hash of the match's state, so that a snapshot brings them back; to any network they are noise. Which
    bonuses chase them is a question of Burda et al. 2019 (https://arxiv.org/abs/1808.04355).
    """

    shape = (EGOCENTRIC_SIZE + NOISE_BITS,)

    def write(self, state: MatchState, rows: np.ndarray, out: np.ndarray) -> None:
        """See `Observation.write`."""
        _write_egocentric(state.floats, state.ints, *self._agents, rows, out[..., :EGOCENTRIC_SIZE])
        _write_noise(state.floats, state.ints, rows, EGOCENTRIC_SIZE, NOISE_BITS, out)


# ------------------------------------------------------------------------------------------------ raw

OBSERVATIONS = {
    "simple115v2": Simple115v2,
    "smm": SuperMiniMap,
    "egocentric": Egocentric,
    "egocentric_kicks": EgocentricKicks,
    "egocentric_noise": EgocentricNoise,
}
"""Observations that are arrays. `raw` (dicts) and `pixels` (rendered by the engine) are made by `FootballEnv`."""


def raw_observation(state: MatchState, index: int, agent: int, num_left: int) -> dict[str, object]:
    """Upstream's raw dict of one agent in match `index`: the same keys and values (the score as an array [2]).

    Agents are counted left ones first; a right agent's dict is turned by 180 degrees.
    """
    right = agent >= num_left
    own, other = ("right", "left") if right else ("left", "right")
    slot = agent - num_left if right else agent

    def get(name: str) -> np.ndarray:
        return state.get(name)[index]

    def turn(array: np.ndarray) -> np.ndarray:
        return -array if right else array

    def turn_ball(array: np.ndarray) -> np.ndarray:
        array = array.astype(np.float64)
        return np.array([-array[0], -array[1], array[2]]) if right else array

    owner = int(get("ball_owned_team"))
    sticky = get(f"{own}_sticky")[slot]
    if right:
        sticky = np.concatenate([np.roll(sticky[:8], 4), sticky[8:]])
    result: dict[str, object] = {
        "ball": turn_ball(get("ball_position")),
        "ball_direction": turn_ball(get("ball_direction")),
        "ball_rotation": get("ball_rotation").astype(np.float64),
        "ball_owned_team": 1 - owner if right and owner >= 0 else owner,
        "ball_owned_player": int(get("ball_owned_player")),
        "score": np.array([get(f"{own}_score"), get(f"{other}_score")], np.int64),
        "game_mode": int(get("game_mode")),
        "steps_left": int(get("steps_left")),
        "designated": int(get(f"{own}_designated")),
        "active": int(get(f"{own}_controlled")[slot]),
        "sticky_actions": sticky.astype(np.uint8),
    }
    for name, side in (("left", own), ("right", other)):
        count = int(get(f"{side}_count"))
        result[f"{name}_team"] = turn(get(f"{side}_position")[:count].astype(np.float64))
        result[f"{name}_team_direction"] = turn(get(f"{side}_direction")[:count].astype(np.float64))
        result[f"{name}_team_tired_factor"] = get(f"{side}_tired")[:count].astype(np.float64)
        result[f"{name}_team_active"] = get(f"{side}_active")[:count].astype(bool)
        result[f"{name}_team_yellow_card"] = get(f"{side}_yellow")[:count].astype(bool)
        result[f"{name}_team_roles"] = get(f"{side}_role")[:count].astype(np.int64)
    return result
