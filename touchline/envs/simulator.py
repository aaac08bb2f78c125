"""What every simulator is: B matches in lock-step that fill one state layout.

Observations, rewards, pictures and statistics are functions of the arrays named here, so each is written once and
serves every backend. All positions are in observation units (x: metres / 54.4, left goal at -1; y: metres / 83.6
downwards, -0.42 is the top of the picture; z: metres), all directions in the same units per 0.1 s step.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

import numpy as np

from touchline.types import MAX_PLAYERS

P = MAX_PLAYERS
NUM_STICKY = 10
"""Sticky actions in order: the eight directions from left clockwise (left, top_left, top, ...), sprint, dribble."""

KICKS = ("long_pass", "high_pass", "short_pass", "shot")
"""The keys of a kick, as the last axis of `left_kicks` has them."""

KICK_MEMORY = 10
"""Steps for which `left_kicks` remembers that a key was pressed: foot meets ball some seven steps after it."""

GAME_MODES = ("normal", "kick_off", "goal_kick", "free_kick", "corner", "throw_in", "penalty")
"""Names of the numbers in `game_mode`."""


class Field(NamedTuple):
    """One named slice of a state array: `array[:, start:stop].reshape(B, *shape)`."""

    start: int
    stop: int
    shape: tuple[int, ...]
    meaning: str


def _layout(*fields: tuple[str, tuple[int, ...], str]) -> dict[str, Field]:
    layout, start = {}, 0
    for name, shape, meaning in fields:
        size = int(np.prod(shape, dtype=int))
        layout[name] = Field(start, start + size, shape, meaning)
        start += size
    return layout


FLOATS = _layout(
    ("left_position", (P, 2), "x, y of every left player; rows beyond the team's size are 0"),
    ("left_direction", (P, 2), "his displacement per step"),
    ("right_position", (P, 2), "x, y of every right player, in the left team's view like everything here"),
    ("right_direction", (P, 2), "his displacement per step"),
    ("ball_position", (3,), "x, y, and z in metres"),
    ("ball_direction", (3,), "displacement per step"),
    ("ball_rotation", (3,), "rotation per step, as the engine reports it"),
    ("left_tired", (P,), "0 fresh to 1 exhausted"),
    ("right_tired", (P,), "0 fresh to 1 exhausted"),
)
"""The float32 part of the state, [B, NUM_FLOATS]."""

INTS = _layout(
    ("left_count", (), "players in the left team, 1 to 11"),
    ("right_count", (), "players in the right team, 1 to 11"),
    ("left_active", (P,), "1 on the pitch, 0 sent off"),
    ("right_active", (P,), "1 on the pitch, 0 sent off"),
    ("left_yellow", (P,), "1 after a yellow card"),
    ("right_yellow", (P,), "1 after a yellow card"),
    ("left_role", (P,), "index into types.ROLES"),
    ("right_role", (P,), "index into types.ROLES"),
    ("left_designated", (), "index of the left player the engine holds to be nearest to the play, or -1"),
    ("right_designated", (), "index of the right player the engine holds to be nearest to the play, or -1"),
    ("ball_owned_team", (), "-1 nobody, 0 left, 1 right"),
    ("ball_owned_player", (), "index of the owner in his team, or -1"),
    ("game_mode", (), "index into GAME_MODES"),
    ("left_score", (), "goals of the left team in this episode"),
    ("right_score", (), "goals of the right team in this episode"),
    ("steps_left", (), "steps on the clock"),
    ("left_controlled", (P,), "player that left agent i drives now, or -1"),
    ("right_controlled", (P,), "player that right agent i drives now, or -1"),
    ("left_sticky", (P, NUM_STICKY), "sticky actions of left agent i, 0 or 1, in the left team's view"),
    ("right_sticky", (P, NUM_STICKY), "sticky actions of right agent i, 0 or 1, in the left team's view"),
    ("left_kicks", (P, len(KICKS)), "10 if left agent i pressed the key in the last step, 9 in the one before, ... 0"),
    ("right_kicks", (P, len(KICKS)), "the same of right agent i"),
)
"""The int32 part of the state, [B, NUM_INTS]."""

NUM_FLOATS = max(f.stop for f in FLOATS.values())
NUM_INTS = max(f.stop for f in INTS.values())


class MatchState(NamedTuple):
    """The state of B matches.

    Attributes:
        floats: [B, NUM_FLOATS] float32, sliced by `FLOATS`.
        ints: [B, NUM_INTS] int32, sliced by `INTS`.
    """

    floats: np.ndarray
    ints: np.ndarray

    def get(self, name: str) -> np.ndarray:
        """[B, *shape] view of a named slice."""
        array, layout = (self.floats, FLOATS) if name in FLOATS else (self.ints, INTS)
        try:
            part = layout[name]
        except KeyError:
            known = ", ".join([*FLOATS, *INTS])
            raise KeyError(f"no {name!r} in the state; there are {known}") from None
        return array[:, part.start : part.stop].reshape(len(array), *part.shape)


def turned(state: MatchState) -> MatchState:
    """The same matches as the right team sees them, a copy: the pitch turned by 180 degrees, the teams swapped.

    As upstream has it, the ball's rotation is not turned.
    """
    floats, ints = state.floats.copy(), state.ints.copy()
    out = MatchState(floats, ints)
    for name in (*FLOATS, *INTS):
        side, _, rest = name.partition("_")
        other = {"left": "right", "right": "left"}.get(side)
        if other is not None:
            out.get(name)[...] = state.get(f"{other}_{rest}")
    for name in ("left_position", "left_direction", "right_position", "right_direction"):
        np.negative(out.get(name), out=out.get(name))
    for name in ("ball_position", "ball_direction"):
        out.get(name)[:, :2] *= -1
    for name in ("left_sticky", "right_sticky"):
        directions = out.get(name)[..., :8]
        directions[...] = np.roll(directions, 4, axis=-1)
    owner = out.get("ball_owned_team")
    owner[...] = np.where(owner >= 0, 1 - owner, owner)
    return out


def empty_state(num_envs: int) -> MatchState:
    """A zeroed state of `num_envs` matches."""
    return MatchState(np.zeros((num_envs, NUM_FLOATS), np.float32), np.zeros((num_envs, NUM_INTS), np.int32))


class Simulator(Protocol):
    """B matches stepped in lock-step. All arrays are owned by the simulator and rewritten in place.

    Attributes:
        num_envs: B.
        num_players: N = left + right controlled players; columns of `actions`, left agents first.
        state: the matches as they stand now; a match that ended in the last step has already been reset.
        final_state: the matches as the last step left them, before any reset (equal to `state` where none happened).
        reward: [B] float32, change of the goal difference in the last step, seen from the left team.
        terminated, truncated: [B] bool, how the last step ended, if it did.
        lost: [B] bool, the match was lost with a crashed worker and restarted; its last step is meaningless.
        seeds: [B] int64, engine seed of the running episode.
        episodes: [B] int64, number of the running episode since the last seeded reset, from 0.
    """

    num_envs: int
    num_players: int
    state: MatchState
    final_state: MatchState
    reward: np.ndarray
    terminated: np.ndarray
    truncated: np.ndarray
    lost: np.ndarray
    seeds: np.ndarray
    episodes: np.ndarray

    def reset(self, mask: np.ndarray | None = None, seeds: np.ndarray | None = None) -> None:
        """Starts a new episode in the matches of `mask` [B] bool (None: all).

        `seeds` [B] int64 makes the episode a pure function of its seed and starts the match's own stream of later
        seeds and its count of episodes anew; -1, or None, takes the next seed of that stream.
        """

    def step(self, actions: np.ndarray) -> None:
        """Steps every match with `actions` [B, N] int32 and resets the ones that end."""

    def step_async(self, actions: np.ndarray) -> None:
        """Starts a step in the background; `step_wait` finishes it."""

    def step_wait(self) -> None:
        """Waits for `step_async`."""

    def get_state(self, index: int) -> bytes:
        """Everything needed to continue match `index` exactly."""

    def set_state(self, index: int, snapshot: bytes) -> None:
        """Continues match `index` from a snapshot of the same scenario; ValueError if it is not one."""

    def close(self) -> None:
        """Frees the matches and their threads or processes."""
