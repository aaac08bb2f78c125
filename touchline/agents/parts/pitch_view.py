"""What a scripted player sees and how it steers and kicks: shared by `agents.scripted` and `parts.anchor_teams`.

Everything is in the view of the side that acts: x in metres from the middle towards the opponent's goal (own goal
-54.4), y in metres downwards in the picture. A right agent sees the pitch turned by 180 degrees. All functions
work on whole batches; no row of a result depends on another row.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

import numpy as np

from touchline.types import ROLES

IDLE, LEFT, LONG_PASS, HIGH_PASS, SHORT_PASS, SHOT, SPRINT = 0, 1, 9, 10, 11, 12, 13
RELEASE_DIRECTION, RELEASE_SPRINT, BUILTIN_AI = 14, 15, 19
"""Action numbers; 1 to 8 are the directions left, top_left, top, ... clockwise to bottom_left."""

METRES = np.array([54.4, 83.6])
"""Metres in one observation unit along and across the pitch."""

GOAL = np.array([55.0, 0.0])
"""Middle of the opponent's goal, metres; the own goal is -GOAL."""

HALF_WIDTH = 36.0
"""Metres from the middle to a side line."""

_STEP = 0.1  # seconds
_STICKY_SPRINT = 8
_SIDES = ("left", "right")
_GOALKEEPER = ROLES.index("GK")
_CORNER, _THROW_IN = 4, 5  # of simulator.GAME_MODES
_KICK_TAKES = 7  # steps from the end of a press to the touch of the ball, with the slow ones
_COMPASS = np.array([[-1, 0], [-1, -1], [0, -1], [1, -1], [1, 0], [1, 1], [0, 1], [-1, 1]], np.float64)
_COMPASS /= np.sqrt((_COMPASS**2).sum(axis=1, keepdims=True))


class State(Protocol):
    """What a script reads: named views [B, *shape] of the state arrays (`envs.simulator` names them all)."""

    def get(self, name: str) -> np.ndarray: ...


def check_side(side: str) -> str:
    """The name of a side, or an error that says which there are."""
    if side not in _SIDES:
        raise ValueError(f"no side {side!r}; there are left, right")
    return side


def nearest_direction(offset: np.ndarray) -> np.ndarray:
    """Action (1 to 8) of the direction nearest to `offset` [..., 2], metres to the right and downwards."""
    eighths = np.rint(np.arctan2(offset[..., 1], offset[..., 0]) / (np.pi / 4)).astype(np.int32)
    return (eighths + 4) % 8 + LEFT


class Agents(NamedTuple):
    """The N agents of one side.

    Attributes:
        player: [B, N] int64, index of the player each drives, or -1.
        position: [B, N, 2] float64, observation units in the side's own view.
        directions: [B, N, 8] bool, the direction keys held, in the side's own view.
        sprinting: [B, N] bool, the sprint key is held.
    """

    player: np.ndarray
    position: np.ndarray
    directions: np.ndarray
    sprinting: np.ndarray


def agents_of(state: State, side: str, num_players: int) -> Agents:
    """The first `num_players` agents of a side."""
    own = 1.0 if check_side(side) == "left" else -1.0
    player = state.get(f"{side}_controlled")[:, :num_players].astype(np.int64)
    everyone = state.get(f"{side}_position").astype(np.float64) * own
    position = np.take_along_axis(everyone, np.maximum(player, 0)[..., None], axis=1)
    sticky = state.get(f"{side}_sticky")[:, :num_players] > 0
    directions = sticky[..., :8] if own > 0 else np.roll(sticky[..., :8], 4, axis=-1)
    return Agents(player, position, directions, sticky[..., _STICKY_SPRINT])


class View(NamedTuple):
    """A batch of matches as one side's N agents see them; metres and metres per second in their own view.

    Attributes:
        player: [B, N] int64, index of the player each agent drives, or -1.
        present: [B, N] bool, the agent drives a player.
        keeper: [B, N] bool, it drives a goalkeeper.
        position: [B, N, 2], metres.
        directions, sprinting: [B, N, 8] and [B, N] bool, the keys held.
        mates, mate_here: [B, P, 2] and [B, P] bool, the whole own team, agents included.
        opponents, opponent_here: [B, P, 2] and [B, P] bool, the other team.
        ball, ball_velocity: [B, 2], along the ground.
        carrying: [B, N] bool, the agent has the ball, or walks behind it with nobody nearer.
        taking: [B, N] bool, the agent takes the set piece that is on.
        mode: [B] int64, number of the game mode.
        attacking: [B] bool, the own team has the ball or is nearest to a free one.
        steps_left: [B] int64, steps on the clock.
    """

    player: np.ndarray
    present: np.ndarray
    keeper: np.ndarray
    position: np.ndarray
    directions: np.ndarray
    sprinting: np.ndarray
    mates: np.ndarray
    mate_here: np.ndarray
    opponents: np.ndarray
    opponent_here: np.ndarray
    ball: np.ndarray
    ball_velocity: np.ndarray
    carrying: np.ndarray
    taking: np.ndarray
    mode: np.ndarray
    attacking: np.ndarray
    steps_left: np.ndarray


def view_of(state: State, side: str, num_players: int) -> View:
    """The matches in the view of the first `num_players` agents of a side."""
    agents = agents_of(state, side, num_players)
    own, number, other = (1.0, 0, "right") if side == "left" else (-1.0, 1, "left")
    scale = METRES * own

    def team(of: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        here = state.get(f"{of}_active") > 0
        here = here & (np.arange(here.shape[1]) < state.get(f"{of}_count")[:, None])
        velocity = state.get(f"{of}_direction").astype(np.float64) * (scale / _STEP)
        return state.get(f"{of}_position").astype(np.float64) * scale, velocity, here

    mates, mate_velocity, mate_here = team(side)
    opponents, _, opponent_here = team(other)
    ball = state.get("ball_position")[:, :2].astype(np.float64) * scale
    ball_velocity = state.get("ball_direction")[:, :2].astype(np.float64) * (scale / _STEP)
    present, index = agents.player >= 0, np.maximum(agents.player, 0)
    position = agents.position * METRES
    keeper = present & (np.take_along_axis(state.get(f"{side}_role"), index, axis=1) == _GOALKEEPER)

    owner_team, owner = state.get("ball_owned_team").astype(np.int64), state.get("ball_owned_player")
    owning = present & (owner_team == number)[:, None] & (agents.player == owner[:, None])
    gap = distance(position, ball[:, None])
    ours = np.where(mate_here, distance(mates, ball[:, None]), np.inf).min(axis=1)
    theirs = np.where(opponent_here, distance(opponents, ball[:, None]), np.inf).min(axis=1)
    first = present & (gap <= np.minimum(ours, theirs)[:, None])
    pace = np.take_along_axis(mate_velocity, index[..., None], axis=1)
    # Between two touches of a sprint the ball is ahead of its owner and owned by nobody.
    behind_it = first & (gap < 2.0) & (distance(pace, ball_velocity[:, None]) < 6.0)
    mode = state.get("game_mode").astype(np.int64)
    taking = first & (mode > 0)[:, None] & (gap < 4.0) & ((owner_team < 0)[:, None] | owning)
    return View(
        player=agents.player,
        present=present,
        keeper=keeper,
        position=position,
        directions=agents.directions,
        sprinting=agents.sprinting,
        mates=mates,
        mate_here=mate_here,
        opponents=opponents,
        opponent_here=opponent_here,
        ball=ball,
        ball_velocity=ball_velocity,
        carrying=owning | (behind_it & (owner_team < 0)[:, None]),
        taking=taking,
        mode=mode,
        attacking=(owner_team == number) | ((owner_team < 0) & (ours <= theirs)),
        steps_left=state.get("steps_left").astype(np.int64),
    )


def distance(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """[...] metres between the points `a` and `b` [..., 2]."""
    return np.sqrt((a[..., 0] - b[..., 0]) ** 2 + (a[..., 1] - b[..., 1]) ** 2)


def nearest_opponent(view: View, points: np.ndarray) -> np.ndarray:
    """[B, K] metres from `points` [B, K, 2] to the nearest opponent; infinity without one."""
    gaps = distance(points[:, :, None], view.opponents[:, None])
    return np.where(view.opponent_here[:, None], gaps, np.inf).min(axis=2)


def meeting_point(view: View) -> np.ndarray:
    """[B, N, 2] metres: where each agent would meet the ball, were it to roll on for his way at 8 m/s."""
    seconds = np.minimum(distance(view.position, view.ball[:, None]) / 8.0, 1.5)
    # Grass takes about a third of the way of a rolling ball.
    return view.ball[:, None] + view.ball_velocity[:, None] * (0.7 * seconds)[..., None]


def nearest_agent(view: View, among: np.ndarray) -> np.ndarray:
    """[B, N] bool: of the agents `among` [B, N] bool the one who is first at the ball; none where there is none."""
    gaps = np.where(among, distance(view.position, meeting_point(view)), np.inf)
    return among & (np.arange(gaps.shape[1]) == gaps.argmin(axis=1)[:, None])


def offside_line(view: View) -> np.ndarray:
    """[B] metres: the x up to which a team-mate may wait (second-last opponent, ball or half-way line)."""
    xs = np.sort(np.where(view.opponent_here, view.opponents[..., 0], -np.inf), axis=1)
    return np.maximum(np.maximum(xs[:, -2], view.ball[:, 0]), 0.0)


def rank_across(view: View, among: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Place [B, N] of each agent of `among` [B, N] bool counted from the top line down, and their number [B, 1]."""
    order = np.argsort(np.where(among, view.position[..., 1], np.inf), axis=1, kind="stable")
    return np.argsort(order, axis=1, kind="stable"), among.sum(axis=1, keepdims=True)


def spread(view: View, among: np.ndarray, gap: float) -> np.ndarray:
    """[B, N] metres across from a middle: the agents `among` stand `gap` apart, in the order they are in now."""
    place, count = rank_across(view, among)
    return (place - (count - 1) / 2) * gap


def run_to(view: View, target: np.ndarray, *, sprint: bool | np.ndarray = True, arrive: float = 1.0) -> np.ndarray:
    """[B, N] int32: the key each agent presses now to get to `target` [B, N, 2] metres.

    Keys are sticky, so a held direction is kept while it is within 30 degrees of the wanted one; one key goes down
    a step.

    Args:
        sprint: whom to let sprint, [B, N] bool or for all.
        arrive: metres within which he stops; a standing one starts again beyond 2 metres more.
    """
    offset = target - view.position
    gap, held = distance(offset, np.zeros(2)), view.directions.any(axis=-1)
    along = (view.directions @ _COMPASS * offset).sum(axis=-1)
    keep = (view.directions.sum(axis=-1) == 1) & (along >= gap * np.cos(np.pi / 6))
    stop = gap <= np.where(held, arrive, arrive + 2.0 if arrive > 0 else 0.0)
    sprint = np.broadcast_to(sprint, gap.shape)
    actions = np.where(keep, IDLE, nearest_direction(offset))
    actions = np.where(view.sprinting & ~sprint & ~stop, RELEASE_SPRINT, actions)
    actions = np.where(~view.sprinting & sprint & held, SPRINT, actions)
    return np.where(stop, np.where(held, RELEASE_DIRECTION, IDLE), actions).astype(np.int32)


def faces(view: View, target: np.ndarray) -> np.ndarray:
    """[B, N] bool: the direction towards `target` [B, N, 2] is held, so that a kick goes there."""
    wanted = nearest_direction(target - view.position) - LEFT
    return np.take_along_axis(view.directions, wanted[..., None], axis=-1)[..., 0]


def aim(view: View, target: np.ndarray) -> np.ndarray:
    """[B, N] int32: the direction nearest to `target` [B, N, 2], or nothing where it is held."""
    return np.where(faces(view, target), IDLE, nearest_direction(target - view.position)).astype(np.int32)


def free_mate(
    view: View, *, near: float, far: float, ahead: float, room: float, lane: float
) -> tuple[np.ndarray, np.ndarray]:
    """Whom each agent could pass to: the place [B, N, 2] of the best team-mate, and whether there is one [B, N].

    Free is who stands `near` to `far` metres away, at least `ahead` metres further on (negative: up to so far
    behind), onside, with no opponent within `room` metres and none within `lane` metres of the ball's way. Of these
    the one with most metres ahead counts, half a metre for every metre of room up to 10.
    """
    here, there = view.position[:, :, None], view.mates[:, None]  # [B, N, 1, 2] and [B, 1, P, 2]
    way = there - here
    length = distance(there, here)
    space = nearest_opponent(view, view.mates)
    # Opponents beside the way: their projection on it, between the two ends, [B, N, P, P].
    to_opponent = (view.opponents[:, None] - here)[:, :, None]
    unit = (way / np.maximum(length, 1e-9)[..., None])[:, :, :, None]
    along = np.clip((to_opponent * unit).sum(axis=-1), 0.0, length[..., None])
    beside = distance(to_opponent, along[..., None] * unit)
    # One who already stands at the passer's feet is not in the way.
    beside = np.where(view.opponent_here[:, None, None] & (along > 1.5), beside, np.inf).min(axis=3)
    index = np.arange(view.mates.shape[1])
    free = view.mate_here[:, None] & (index != view.player[..., None]) & view.present[..., None]
    free &= (length > near) & (length < far) & (way[..., 0] >= ahead) & (beside > lane)
    free &= (space > room)[:, None] & (view.mates[..., 0] <= offside_line(view)[:, None])[:, None]
    value = np.where(free, way[..., 0] + 0.5 * np.minimum(space, 10.0)[:, None], -np.inf)
    best = value.argmax(axis=2)
    return np.take_along_axis(view.mates, best[..., None], axis=1), free.any(axis=2)


class Kicks:
    """Holds a kick key for some steps and then waits for the kick: to press it again only postpones the kick."""

    def __init__(self, num_players: int) -> None:
        self._num_players = num_players
        self._resize(0)

    def _resize(self, size: int) -> None:
        self._key = np.zeros((size, self._num_players), np.int32)
        self._said = np.zeros((size, self._num_players), np.int32)  # by the last `press`
        self._down = np.zeros((size, self._num_players), bool)  # the key was really down in the step before
        self._steps = np.zeros((size, self._num_players), np.int64)  # until he may kick again
        self._clock = np.zeros(size, np.int64)

    def begin(self, mask: np.ndarray) -> None:
        """Forgets the kicks of the matches in `mask` [B] bool."""
        if len(mask) != len(self._steps):
            self._resize(len(mask))
        self._steps[mask] = 0
        self._down[mask] = False

    def press(self, view: View, moves: np.ndarray, key: np.ndarray, steps: int | np.ndarray = 1) -> np.ndarray:
        """[B, N] int32: `moves`, but for the agents who kick.

        Args:
            key: [B, N] the kick each agent wants to start now, IDLE for none.
            steps: [B, N] or one for all: steps to hold the key. More of them aim a pass at somebody further away.
        """
        if len(moves) != len(self._steps):
            self._resize(len(moves))
        # A clock that does not run down belongs to a new episode.
        self._steps[view.steps_left >= self._clock] = 0
        self._clock = view.steps_left.copy()
        start = (self._steps == 0) & (key != IDLE)
        self._key = np.where(start, key, self._key).astype(np.int32)
        self._steps = np.where(start, np.broadcast_to(steps, key.shape) + _KICK_TAKES, self._steps)
        pressing = self._steps > _KICK_TAKES
        waiting = (self._steps > 0) & (view.carrying | view.taking)
        self._steps = np.maximum(self._steps - 1, 0)
        self._said = np.where(pressing, self._key, np.where(waiting, IDLE, moves)).astype(np.int32)
        return self._said.copy()

    def played(self, actions: np.ndarray) -> None:
        """Tells which actions [B, N] were really taken after `press`, where agents are free not to do as it said.

        A kick that nobody pressed is not under way, and one that was pressed on an agent's own account is.
        """
        kicked = (actions >= LONG_PASS) & (actions <= SHOT)
        said_kick = (self._said >= LONG_PASS) & (self._said <= SHOT)
        own = kicked & (actions != self._said)
        self._key = np.where(own, actions, self._key).astype(np.int32)
        self._steps[own | (said_kick & ~kicked & self._down)] = _KICK_TAKES
        self._steps[said_kick & ~kicked & ~self._down] = 0
        self._down = kicked


def take_set_piece(view: View, moves: np.ndarray, key: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """`moves` and `key` [B, N], where an agent takes a set piece: he turns to somebody free and plays the ball.

    A free kick or penalty within 25 metres is a shot, a corner a high pass at the goal; the rest are short passes.
    """
    if not view.taking.any():
        return moves, key
    to_goal = distance(view.position, GOAL)
    mate, found = free_mate(view, near=3.0, far=35.0, ahead=-20.0, room=2.0, lane=1.0)
    corner = view.taking & (view.mode == _CORNER)[:, None]
    shot = view.taking & (to_goal < 25.0) & (view.mode != _THROW_IN)[:, None] & ~corner
    target = np.where((view.taking & found & ~corner & ~shot)[..., None], mate, GOAL)
    kick = np.where(shot, SHOT, np.where(corner, HIGH_PASS, SHORT_PASS))
    ready = faces(view, target)
    return (
        np.where(view.taking, aim(view, target), moves),
        np.where(view.taking, np.where(ready, kick, IDLE), key).astype(np.int32),
    )
