"""The two action sets, by upstream's numbers (gfootball 2.10.2, `football_action_set.py`)."""

from __future__ import annotations

import numpy as np

DEFAULT = (
    "idle",
    "left",
    "top_left",
    "top",
    "top_right",
    "right",
    "bottom_right",
    "bottom",
    "bottom_left",
    "long_pass",
    "high_pass",
    "short_pass",
    "shot",
    "sprint",
    "release_direction",
    "release_sprint",
    "sliding",
    "dribble",
    "release_dribble",
)
ACTION_SETS = {"default": DEFAULT, "v2": (*DEFAULT, "builtin_ai")}
"""Names of the actions; an action is its position here. Directions, sprint and dribble last until released."""


def num_actions(action_set: str) -> int:
    """A, the number of actions in a set."""
    if action_set not in ACTION_SETS:
        raise ValueError(f"no action set {action_set!r}; there are {', '.join(ACTION_SETS)}")
    return len(ACTION_SETS[action_set])


def check_actions(actions: object, num_envs: int, num_players: int, count: int) -> np.ndarray:
    """`actions` as [B, N] int32, or an error that says what was expected.

    Takes [B] or [B, N] for one controlled player, [B, N] for more.
    """
    array = np.asarray(actions)
    if array.dtype.kind not in "iu":
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise ValueError("actions hold NaN or infinity; expected whole numbers")
        raise TypeError(f"expected whole-number actions (an integer dtype), got {array.dtype}")
    expected = (num_envs, num_players)
    if num_players == 1 and array.shape == (num_envs,):
        array = array[:, None]
    if array.shape != expected:
        raise ValueError(f"expected actions [B, N] = {expected}, got {array.shape}")
    if array.size and (array.min() < 0 or array.max() >= count):
        bad = array[(array < 0) | (array >= count)][0]
        raise ValueError(f"action {bad} is out of range; this action set has 0 to {count - 1}")
    return np.ascontiguousarray(array, dtype=np.int32)
