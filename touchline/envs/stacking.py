"""Frame stacking along the last axis, oldest first, as upstream stacks its mini maps."""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(cache=True)
def _push(stacked, frame, rows):
    """Drops the oldest frame of `rows` and appends the newest. stacked [B, M, C * stack], frame [B, M, C]."""
    channels = frame.shape[2]
    keep = stacked.shape[2] - channels
    for k in range(len(rows)):
        b = rows[k]
        for m in range(frame.shape[1]):
            for c in range(keep):
                stacked[b, m, c] = stacked[b, m, c + channels]
            for c in range(channels):
                stacked[b, m, keep + c] = frame[b, m, c]


@njit(cache=True)
def _fill(stacked, frame, rows):
    """Makes every frame of `rows` the newest."""
    channels = frame.shape[2]
    for k in range(len(rows)):
        b = rows[k]
        for m in range(frame.shape[1]):
            for c in range(stacked.shape[2]):
                stacked[b, m, c] = frame[b, m, c % channels]


class FrameStack:
    """The last `stack` frames of B matches; a reset fills them all with the first frame.

    Attributes:
        stacked: [B, N, *shape[:-1], shape[-1] * stack].
    """

    def __init__(self, num_envs: int, num_players: int, shape: tuple[int, ...], dtype: type, stack: int) -> None:
        self.stacked = np.zeros((num_envs, num_players, *shape[:-1], shape[-1] * stack), dtype)
        self._flat = self.stacked.reshape(num_envs, -1, shape[-1] * stack)
        self._channels = shape[-1]

    def push(self, frame: np.ndarray, rows: np.ndarray) -> None:
        """Appends the frames [B, N, *shape] of matches `rows` [K]."""
        _push(self._flat, self._flatten(frame), rows)

    def fill(self, frame: np.ndarray, rows: np.ndarray) -> None:
        """Restarts matches `rows` [K] with their first frames."""
        _fill(self._flat, self._flatten(frame), rows)

    def _flatten(self, frame: np.ndarray) -> np.ndarray:
        return frame.reshape(len(frame), -1, self._channels)
