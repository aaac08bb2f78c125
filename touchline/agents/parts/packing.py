"""Rollouts that travel between processes: mini maps as bits, and every frame of a stack once."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from touchline.rollout import Rollout


class PackedRollout(NamedTuple):
    """A rollout whose pictures were packed.

    Attributes:
        rollout: everything but `obs` and `final_obs`, which hold nothing.
        shape: of an observation.
        first: [B, F] bits of the first observations, all frames.
        newest: [T, B, F / stack] bits of the newest frame of each observation after them.
        finals: [K, F / stack] bits of the newest frame of each episode's last observation.
        stack: frames in an observation.
    """

    rollout: Rollout
    shape: tuple[int, ...]
    first: np.ndarray
    newest: np.ndarray
    finals: np.ndarray
    stack: int


def pack(rollout: Rollout, stack: int) -> Rollout | PackedRollout:
    """A rollout as it should travel: packed if its observations are pictures of 0 and 255 alone, else as it is.

    Args:
        stack: frames along the observations' last axis, oldest first.
    """
    obs, final_obs = rollout.obs.numpy(), rollout.final_obs.numpy()
    if obs.dtype != np.uint8 or not all(((x == 0) | (x == 255)).all() for x in (obs, final_obs)):
        return rollout
    channels = obs.shape[-1] // stack

    def bits(pictures: np.ndarray, axes: int) -> np.ndarray:
        rows = pictures.reshape(*pictures.shape[:axes], int(np.prod(pictures.shape[axes:])))
        return np.packbits(rows, axis=-1)  # a byte that is not 0 is a 1

    nothing = torch.empty(0, dtype=torch.uint8)
    return PackedRollout(
        rollout=rollout._replace(obs=nothing, final_obs=nothing),
        shape=obs.shape[2:],
        first=bits(obs[0], 1),
        newest=bits(obs[1:, ..., -channels:], 2),
        finals=bits(final_obs[..., -channels:], 1),
        stack=stack,
    )


def unpack(packed: Rollout | PackedRollout) -> Rollout:
    """What `pack` was given.

    Only the last observation of a match that was lost with its worker, which means nothing, may be another one.
    """
    if isinstance(packed, Rollout):
        return packed
    rollout, shape, channels = packed.rollout, packed.shape, packed.shape[-1] // packed.stack
    T, B = rollout.action.shape

    def pictures(bits: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
        flat = np.unpackbits(bits, axis=-1, count=int(np.prod(shape)))
        return 255 * flat.reshape(*bits.shape[:-1], *shape)

    frame = (*shape[:-1], channels)
    newest, finals = pictures(packed.newest, frame), pictures(packed.finals, frame)
    t, column = rollout.final_index.numpy().T
    restarts = np.zeros((T, B), bool)
    restarts[t, column] = True
    obs = np.empty((T + 1, B, *shape), np.uint8)
    obs[0] = pictures(packed.first, shape)
    for step in range(T):
        obs[step + 1] = np.concatenate([obs[step, ..., channels:], newest[step]], -1)
        fresh = restarts[step]
        obs[step + 1, fresh] = np.concatenate([newest[step, fresh]] * packed.stack, -1)
    final_obs = np.concatenate([obs[t, column][..., channels:], finals], -1)
    return rollout._replace(obs=torch.from_numpy(obs), final_obs=torch.from_numpy(final_obs))


def nbytes(travelling: Rollout | PackedRollout) -> int:
    """Bytes of its arrays."""
    if isinstance(travelling, Rollout):
        return sum(x.nbytes for x in travelling if isinstance(x, Tensor))
    return nbytes(travelling.rollout) + sum(x.nbytes for x in travelling if isinstance(x, np.ndarray))
