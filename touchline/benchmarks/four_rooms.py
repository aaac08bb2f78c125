"""Four rooms with a television: the world in which exploration bonuses are audited."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any

import numpy as np
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, VectorEnv

SIZE, TV_SIZE = 13, 24
TV_MODES = ("transient", "always", "persistent")
MOVES = np.array([(1, 0), (-1, 0), (0, 1), (0, -1), (0, 0)])
WATCH = 4
"""The action that looks at the television, and stays in place."""


def rooms(size: int = SIZE) -> np.ndarray:
    """[size, size] bool, free cells: four rooms, a door in the middle of every wall between two."""
    middle, free = size // 2, np.ones((size, size), bool)
    free[middle, :] = free[:, middle] = False
    for door in (middle // 2, middle + 1 + middle // 2):
        free[middle, door] = free[door, middle] = True
    return free


class FourRooms(VectorEnv):
    """B walks through N x N cells without a reward (world and sizes are design choices).

    Observations [B, 2N + 26] float32: column and row, one of N each, 24 numbers on television, and the place once more,
    as two numbers in [-1, 1] where football's bonuses look for player and ball. Actions: four moves, which walls stop,
    and watching. Episodes last `length` steps; `info["episode"]["cells"]` says how many cells one saw.

    Args:
        num_envs: B.
        length: steps of an episode, ended by truncation.
        tv: noise is shown while one watches ("transient") or in any case ("always"), or there is a picture that changes
            when one watches and else stays ("persistent").
        start: cell of every episode's beginning; None draws one.
        size: N, odd.
    """

    metadata = {"autoreset_mode": AutoresetMode.SAME_STEP}

    def __init__(
        self,
        num_envs: int = 8,
        *,
        length: int = 200,
        tv: str = "transient",
        start: tuple[int, int] | None = None,
        size: int = SIZE,
    ) -> None:
        if tv not in TV_MODES:
            raise ValueError(f"no {tv!r} in television modes; there are {', '.join(TV_MODES)}")
        self.num_envs, self._length, self._tv, self._start = num_envs, length, tv, start
        self._size, self._free = size, rooms(size)
        self._cells = np.argwhere(self._free)
        place = (2 * size + TV_SIZE, 2 * size + TV_SIZE + 1)
        self.features = {"ball": place, "player": place}
        self.single_observation_space = spaces.Box(-np.inf, np.inf, (2 * size + TV_SIZE + 2,), np.float32)
        self.single_action_space = spaces.Discrete(len(MOVES))
        self._draw = np.random.default_rng(0)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict]:
        """All walks begin anew."""
        self._draw = np.random.default_rng(seed)
        B = self.num_envs
        self.place, self._time = np.zeros((B, 2), int), np.zeros(B, int)
        self._screen, self._seen = np.zeros((B, TV_SIZE)), np.zeros((B, self._size, self._size), bool)
        self._begin(np.arange(B))
        return self._observe(), {}

    def step(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, dict]:
        """One step of every walk."""
        actions, B = np.asarray(actions), self.num_envs
        there = self.place + MOVES[actions]
        inside = ((there >= 0) & (there < self._size)).all(-1)
        go = inside & self._free[tuple(np.where(inside[:, None], there, 0).T)]
        self.place[go] = there[go]
        self._seen[np.arange(B), *self.place.T] = True
        noise = self._draw.standard_normal((B, TV_SIZE))
        watched = (actions == WATCH)[:, None]
        if self._tv == "transient":
            self._screen = np.where(watched, noise, 0.0)
        else:
            self._screen = np.where(watched | (self._tv == "always"), noise, self._screen)
        self._time += 1
        ended, info = self._time == self._length, {}
        if ended.any():
            info["final_obs"], info["_final_obs"] = self._observe().copy(), ended
            info["episode"] = {"cells": self._seen.sum((1, 2)), "l": self._time.copy(), "r": np.zeros(B)}
            info["_episode"] = ended
            self._begin(np.flatnonzero(ended))
        return self._observe(), np.zeros(B, np.float32), np.zeros(B, bool), ended, info

    def close(self, **_options: Any) -> None:
        """Nothing to close."""

    def _begin(self, chosen: np.ndarray) -> None:
        drawn = self._cells[self._draw.integers(len(self._cells), size=len(chosen))]
        self.place[chosen] = drawn if self._start is None else self._start
        self._time[chosen], self._seen[chosen] = 0, False
        picture = self._draw.standard_normal((len(chosen), TV_SIZE))
        self._screen[chosen] = 0.0 if self._tv == "transient" else picture
        self._seen[chosen, *self.place[chosen].T] = True

    def _observe(self) -> np.ndarray:
        x, y = np.eye(self._size)[self.place[:, 0]], np.eye(self._size)[self.place[:, 1]]
        place = (2 * self.place + 1) / self._size - 1
        return np.concatenate([x, y, self._screen, place], -1).astype(np.float32)


def path(cells: Sequence[tuple[int, int]]) -> list[int]:
    """Actions of the shortest way that passes some cells of the 13 x 13 world in their order."""
    free, out = rooms(), []
    for start, goal in zip(cells, cells[1:], strict=False):
        came: dict[tuple[int, int], tuple[tuple[int, int], int] | None] = {start: None}
        waiting = deque([start])
        while goal not in came:
            here = waiting.popleft()
            for action, (dx, dy) in enumerate(MOVES[:WATCH]):
                there = (here[0] + int(dx), here[1] + int(dy))
                if there in came or not (0 <= there[0] < SIZE and 0 <= there[1] < SIZE) or not free[there]:
                    continue
                came[there] = (here, action)
                waiting.append(there)
        back = []
        at = goal
        while step := came[at]:
            at, action = step
            back.append(action)
        out += back[::-1]
    return out
