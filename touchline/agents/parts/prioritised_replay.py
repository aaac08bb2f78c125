"""Prioritised replay (Schaul et al. 2016, https://arxiv.org/abs/1511.05952) that stores every frame once.

Transitions lie in one ring a column (an env's player), in the order they were played. A sample is put together when it
is asked for: its n rewards, the observation it leads to, and stacked observations from the frames before it. So a
frame is stored once instead of 2 x stack times, and mini maps, whose pixels are 0 or 255, take a bit a pixel.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from numba import njit
from torch import Tensor

from touchline.rollout import Rollout
from touchline.types import EnvSpec

_RUNNING, _TERMINATED, _TRUNCATED = 0, 1, 2


class Batch(NamedTuple):
    """K sampled transitions of n steps; fewer where the episode ended before.

    Attributes:
        index: [K] where they lie, for `PrioritisedReplay.update`.
        obs: [K, *obs].
        action: [K] int64.
        rewards: [n, K, M] of the M streams, 0 after an end.
        num_steps: [K] int64, how many of them count, 1 to n.
        last_obs: [K, *obs], where the last of these steps led; true last observation of an episode that ended.
        terminated: [K] bool, the last of these steps terminated its episode: nothing follows.
        weight: [K] float32, importance weights, at most 1 where `norm` is "batch".
    """

    index: np.ndarray
    obs: Tensor
    action: Tensor
    rewards: Tensor
    num_steps: Tensor
    last_obs: Tensor
    terminated: Tensor
    weight: Tensor


class Transitions(NamedTuple):
    """K single steps: what a bonus scores.

    Attributes:
        obs, next_obs: [K, *obs]; `next_obs` is where the step really led.
        action: [K] int64.
    """

    obs: Tensor
    action: Tensor
    next_obs: Tensor


@njit(cache=True)
def _set_leaves(sums, lows, leaves, index, numbers):
    for k in range(len(index)):
        node = leaves + index[k]
        sums[node] = numbers[k]
        lows[node] = numbers[k] if numbers[k] > 0 else np.inf
        node >>= 1
        while node:
            # Added anew from both children: differences would let rounding errors pile up.
            sums[node] = sums[2 * node] + sums[2 * node + 1]
            lows[node] = min(lows[2 * node], lows[2 * node + 1])
            node >>= 1


@njit(cache=True)
def _find_leaves(sums, leaves, masses):
    out = np.empty(len(masses), np.int64)
    for k in range(len(masses)):
        node, mass = 1, masses[k]
        while node < leaves:
            node *= 2
            # Rounding may leave a mass just beyond the last number: an empty half is never entered.
            if mass >= sums[node] and sums[node + 1] > 0:
                mass -= sums[node]
                node += 1
        out[k] = node - leaves
    return out


class SumTree:
    """Numbers of which one can be drawn in proportion, in O(log size) (Schaul et al. 2016, appendix B.2.1).

    Args:
        size: numbers, all 0 at first.
    """

    def __init__(self, size: int) -> None:
        self._leaves = 1 << max(0, size - 1).bit_length()
        self._sums = np.zeros(2 * self._leaves)
        self._lows = np.full(2 * self._leaves, np.inf)

    @property
    def total(self) -> float:
        """The sum of all."""
        return float(self._sums[1])

    @property
    def lowest(self) -> float:
        """The smallest that is not 0; inf if all are."""
        return float(self._lows[1])

    def __getitem__(self, index: np.ndarray) -> np.ndarray:
        return self._sums[self._leaves + index]

    def __setitem__(self, index: np.ndarray, numbers: np.ndarray) -> None:
        _set_leaves(self._sums, self._lows, self._leaves, index, np.ascontiguousarray(numbers, np.float64))

    def find(self, masses: np.ndarray) -> np.ndarray:
        """Where the running sum exceeds each of `masses` [K] (0 to total), never at a 0."""
        return _find_leaves(self._sums, self._leaves, masses)


@njit(cache=True)
def _unpack_bits(frames, finals, rows, channels, out):
    for k in range(rows.shape[0]):
        for j in range(rows.shape[1]):
            row = rows[k, j]
            frame = frames[row] if row >= 0 else finals[-row - 1]
            for p in range(out.shape[1]):
                for c in range(channels):
                    bit = p * channels + c
                    out[k, p, j * channels + c] = 255 * ((frame[bit >> 3] >> (7 - (bit & 7))) & 1)


@njit(cache=True)
def _gather(frames, finals, rows, channels, out):
    for k in range(rows.shape[0]):
        for j in range(rows.shape[1]):
            row = rows[k, j]
            frame = frames[row] if row >= 0 else finals[-row - 1]
            for p in range(out.shape[1]):
                for c in range(channels):
                    out[k, p, j * channels + c] = frame[p * channels + c]


class _Frames:
    """Frames by row, and a growing store beside it for the few last frames of episodes.

    Args:
        rows: of frames.
        binary: the frames' bytes are 0 or 255 and are stored as bits.
    """

    def __init__(self, spec: EnvSpec, rows: int, *, binary: bool) -> None:
        self._shape, self._dtype, self._binary = spec.observation_shape, np.dtype(spec.observation_dtype), binary
        self._channels = self._shape[-1] // spec.stack
        self._size = int(np.prod(self._shape)) // spec.stack
        self._packed = (self._size + 7) // 8 if binary else self._size
        self.frames = np.zeros((rows, self._packed), self._dtype)
        self.finals = np.zeros((64, self._packed), self._dtype)
        self._free = list(range(64))

    def newest(self, obs: np.ndarray) -> np.ndarray:
        """The stored form [K, F] of the newest frame of observations [K, *obs]."""
        frames = obs[..., -self._channels :].reshape(len(obs), self._size)
        if not self._binary:
            return frames
        if ((frames != 0) & (frames != 255)).any():
            raise ValueError("the first observations held 0 and 255 alone, these others: give pack_frames=False")
        return np.packbits(frames, axis=1)  # of a byte that is not 0 it makes a 1

    def keep(self, frame: np.ndarray) -> int:
        """Stores the last frame [F] of an episode; its place."""
        if not self._free:
            more = len(self.finals)
            self.finals = np.concatenate([self.finals, np.zeros_like(self.finals)])
            self._free = list(range(more, 2 * more))
        place = self._free.pop()
        self.finals[place] = frame
        return place

    def release(self, places: np.ndarray) -> None:
        """Gives the places of last frames free."""
        self._free.extend(places.tolist())

    def observations(self, rows: np.ndarray) -> Tensor:
        """[K, *obs] of the rows [K, stack] of their frames, oldest first; last frame i of an episode is -i - 1."""
        out = np.empty((len(rows), self._size // self._channels, self._shape[-1]), self._dtype)
        kernel = _unpack_bits if self._binary else _gather
        kernel(self.frames, self.finals, rows, self._channels, out)
        return torch.from_numpy(out.reshape(len(rows), *self._shape))

    def state_dict(self) -> dict[str, Any]:
        return {
            "binary": self._binary,
            "frames": torch.from_numpy(self.frames),
            "finals": torch.from_numpy(self.finals),
            "free": self._free,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.frames[:] = state["frames"].numpy()
        self.finals, self._free = state["finals"].numpy().copy(), list(state["free"])


class PrioritisedReplay:
    """The last transitions of some columns, drawn with P(i) = p_i^alpha / sum_k p_k^alpha (Schaul et al. 2016, eq. 1).

    Args:
        spec: shapes of the environment; of observations that are `spec.stack` frames only the newest is stored.
        capacity: transitions in all; every column gets an equal share of them.
        num_columns: envs times players, of all actors.
        num_streams: M.
        num_learners: that draw from it, each with priorities of its own.
        n_step: steps of a sampled transition.
        alpha: how much priorities count, 0 draws uniformly.
        priority_eps: added to every priority.
        pack_frames: store pictures of zeros and 255s as bits; None does where the first ones are such.
    """

    def __init__(
        self,
        spec: EnvSpec,
        *,
        capacity: int,
        num_columns: int,
        num_streams: int = 1,
        num_learners: int = 1,
        n_step: int = 3,
        alpha: float = 0.6,
        priority_eps: float = 1e-6,
        pack_frames: bool | None = None,
    ) -> None:
        self.spec, self.n_step, self.alpha, self.priority_eps = spec, n_step, alpha, priority_eps
        self.num_columns, self._length = num_columns, capacity // num_columns
        if self._length < 2 * (n_step + spec.stack):
            needed = 2 * (n_step + spec.stack) * num_columns
            raise ValueError(f"expected a capacity of at least {needed} for {num_columns} columns, got {capacity}")
        rows = self._length * num_columns
        self._pack_frames, self._frames = pack_frames, None
        self._action = np.zeros(rows, np.int32)
        self._reward = np.zeros((rows, num_streams), np.float32)
        self._end = np.zeros(rows, np.uint8)
        self._final = np.full(rows, -1, np.int32)  # where the last frame of the episode lies
        self._age = np.zeros(rows, np.uint8)  # steps since the episode's first frame, at most stack - 1
        self._first_priority = np.zeros((rows, num_learners), np.float32)
        self._head = np.zeros(num_columns, np.int64)  # slot of the observation that was not acted on yet
        self._stored = np.zeros(num_columns, np.int64)
        self._trees = [SumTree(rows) for _ in range(num_learners)]
        self._sizes = np.zeros(num_learners, np.int64)

    def __len__(self) -> int:
        """Transitions that can be drawn: the newest of a column lack the steps that follow."""
        return int(self._sizes[0])

    def of(self, learner: int) -> Share:
        """The replay as one of its learners sees it."""
        return Share(self, learner)

    def drawable(self, learner: int = 0) -> int:
        """Transitions that a learner can draw."""
        return int(self._sizes[learner])

    @property
    def nbytes(self) -> int:
        """Bytes of everything stored, the part for frames that did not come yet included."""
        arrays = [x for x in vars(self).values() if isinstance(x, np.ndarray)]
        arrays += [x for tree in self._trees for x in (tree._sums, tree._lows)]
        if self._frames is not None:
            arrays += [self._frames.frames, self._frames.finals]
        return sum(x.nbytes for x in arrays)

    def add(self, rollout: Rollout, rewards: Tensor, priorities: Tensor, *, drawable: Tensor | None = None) -> None:
        """Takes the next rollout of an actor in, T transitions each of its B columns.

        Args:
            rollout: the one that follows the last of its actor; its columns are actor x B to actor x B + B - 1.
            rewards: [T, B, M] of all streams.
            priorities: [T, B], or [T, B, L] of the learners, without alpha; not negative.
            drawable: [T, B, L] bool, which transitions each learner may draw; None is all.
        """
        obs = rollout.obs.numpy(force=True)
        T, B = rollout.action.shape
        columns = rollout.actor * B + np.arange(B)
        if columns[-1] >= self.num_columns or self._length <= T + self.n_step + self.spec.stack:
            raise ValueError(
                f"expected rollouts of {self.num_columns} columns in all and fewer than {self._length} steps, got "
                f"columns up to {columns[-1]} and {T} steps: a larger replay_capacity?"
            )
        if self._frames is None:
            self._frames = self._make_frames(obs)
        head, base = self._head[columns], columns * self._length
        rows = base + (head + np.arange(T)[:, None]) % self._length
        pending = base + (head + T) % self._length
        mask = rollout.mask.numpy(force=True)

        stored = self._frames.newest(obs.reshape(-1, *obs.shape[2:]))
        self._cut(columns, rows[0], stored[:B], mask[0])
        old = self._final[rows]
        self._frames.release(old[old >= 0])
        self._final[rows] = -1
        self._frames.frames[np.concatenate([rows.ravel(), pending])] = stored
        self._action[rows] = rollout.action.numpy(force=True)
        self._reward[rows] = rewards.numpy(force=True)
        terminated, truncated = rollout.terminated.numpy(force=True), rollout.truncated.numpy(force=True)
        self._end[rows] = np.where(terminated, _TERMINATED, np.where(truncated, _TRUNCATED, _RUNNING))
        self._keep_finals(rollout, rows)
        age = self._age[rows[0]]
        for t in range(T):
            self._age[rows[t]] = age
            age = np.where(self._final[rows[t]] >= 0, 0, np.minimum(age + 1, self.spec.stack - 1)).astype(np.uint8)
        self._age[pending] = age
        numbers = priorities.numpy(force=True).reshape(T, B, len(self._trees))
        allowed = mask[..., None] if drawable is None else mask[..., None] & drawable.numpy(force=True)
        self._first_priority[rows] = np.where(allowed, (numbers + self.priority_eps) ** self.alpha, 0.0)
        self._open(columns, T)
        self._shut(columns, pending)
        self._head[columns] = (head + T) % self._length
        self._stored[columns] = np.minimum(self._stored[columns] + T, self._length - 1)

    def _make_frames(self, obs: np.ndarray) -> _Frames:
        pack = self._pack_frames
        if pack is None:
            pack = obs.dtype == np.uint8 and bool(((obs == 0) | (obs == 255)).all())
        return _Frames(self.spec, self._length * self.num_columns, binary=pack)

    def _cut(self, columns: np.ndarray, rows: np.ndarray, frames: np.ndarray, kept: np.ndarray) -> None:
        """Ends what the rollout before left open, where this one does not follow from it.

        A match that was lost in this rollout's first step ended with the step before, which still led to it. A match
        that goes on from another frame is a new one (a resumed training): the old one ended with the frame held.
        """
        before = self._history(rows, np.ones(len(rows), np.int64))
        known = self._stored[columns] > 0
        other = known & (self._frames.frames[rows] != frames).any(1)
        open_ = known & (self._end[before] == _RUNNING)
        for row, place in zip(before[open_ & other], rows[open_ & other], strict=True):
            self._final[row] = self._frames.keep(self._frames.frames[place])
        self._end[before[open_ & (other | ~kept)]] = _TRUNCATED
        self._age[rows[other]] = 0

    def _keep_finals(self, rollout: Rollout, rows: np.ndarray) -> None:
        index = rollout.final_index.numpy(force=True)
        if len(index):
            stored = self._frames.newest(rollout.final_obs.numpy(force=True))
            for (t, column), frame in zip(index, stored, strict=True):
                self._final[rows[t, column]] = self._frames.keep(frame)

    def _open(self, columns: np.ndarray, T: int) -> None:
        """Makes those transitions drawable whose n steps are known now: they were played, or an episode ended."""
        n, head, base = self.n_step, self._head[columns], columns * self._length
        for slot in range(-(n - 1), T):
            rows = base + (head + slot) % self._length
            known = np.full(len(columns), T - slot >= n)
            for later in range(slot, min(slot + n, T)):
                known |= self._end[base + (head + later) % self._length] != _RUNNING
            if slot < 0:  # of an earlier rollout, and perhaps drawn and given another priority since
                known &= self._stored[columns] >= -slot
                for learner, tree in enumerate(self._trees):
                    opened = rows[known & (tree[rows] == 0)]
                    self._put(learner, opened, self._first_priority[opened, learner])
            else:
                for learner in range(len(self._trees)):
                    self._put(learner, rows, np.where(known, self._first_priority[rows, learner], 0.0))

    def _shut(self, columns: np.ndarray, pending: np.ndarray) -> None:
        """Transitions are not drawn any more whose frame, or one of its stack, was overwritten."""
        shut = [pending]
        for later in range(1, self.spec.stack):
            rows = self._history(pending, np.full(len(pending), -later))
            shut.append(rows[self._age[rows] >= later])
        for rows in shut:
            for learner in range(len(self._trees)):
                self._put(learner, rows, np.zeros(len(rows)))

    def _put(self, learner: int, rows: np.ndarray, numbers: np.ndarray) -> None:
        tree = self._trees[learner]
        self._sizes[learner] += int((numbers > 0).sum()) - int((tree[rows] > 0).sum())
        tree[rows] = numbers

    def update(self, index: np.ndarray, priorities: Tensor, *, learner: int = 0) -> None:
        """Gives drawn transitions [K] new priorities [K], without alpha."""
        numbers = (priorities.numpy(force=True).astype(np.float64) + self.priority_eps) ** self.alpha
        self._trees[learner][index] = numbers

    def probabilities(self) -> np.ndarray:
        """P(i) of every place."""
        tree = self._trees[0]
        return tree[np.arange(self._length * self.num_columns)] / tree.total

    def sample(
        self,
        size: int,
        *,
        beta: float = 0.4,
        norm: str = "batch",
        generator: torch.Generator | None = None,
        learner: int = 0,
    ) -> Batch:
        """Draws transitions, one from each of `size` equal parts of the probability.

        Args:
            size: K.
            beta: weights are (N P(i))^-beta (Schaul et al. 2016, section 3.4), over the largest.
            norm: the largest "batch" or "buffer" weight.
        """
        if not self.drawable(learner):
            raise ValueError("the replay holds no transition yet: add() first")
        parts = torch.rand(size, generator=generator, dtype=torch.float64).numpy()
        tree = self._trees[learner]
        index = tree.find((np.arange(size) + parts) * (tree.total / size))
        priorities = tree[index]
        # N and the total cancel: w_i / max w = (p_i / p_min)^-beta.
        lowest = priorities.min() if norm == "batch" else tree.lowest
        weight = torch.from_numpy((priorities / lowest) ** -beta).float()

        column, slot = np.divmod(index, self._length)
        base = column * self._length
        rewards = np.zeros((self.n_step, size, self._reward.shape[1]), np.float32)
        running, num_steps, last = np.ones(size, bool), np.zeros(size, np.int64), index.copy()
        for j in range(self.n_step):
            row = base + (slot + j) % self._length
            rewards[j, running] = self._reward[row[running]]
            last[running] = row[running]
            num_steps += running
            running &= self._end[row] == _RUNNING
        return Batch(
            index=index,
            obs=self._observations(index),
            action=torch.from_numpy(self._action[index].astype(np.int64)),
            rewards=torch.from_numpy(rewards),
            num_steps=torch.from_numpy(num_steps),
            last_obs=self._next_observations(last),
            terminated=torch.from_numpy(self._end[last] == _TERMINATED),
            weight=weight,
        )

    def transitions(self, index: np.ndarray, step: int) -> Transitions:
        """The single step number `step` (0 is the first) of drawn transitions [K], whatever ended before it."""
        column, slot = np.divmod(index, self._length)
        rows = column * self._length + (slot + step) % self._length
        action = torch.from_numpy(self._action[rows].astype(np.int64))
        return Transitions(self._observations(rows), action, self._next_observations(rows))

    def _history(self, rows: np.ndarray, back: np.ndarray) -> np.ndarray:
        base = rows // self._length * self._length
        return base + (rows - base - back) % self._length

    def _observations(self, rows: np.ndarray) -> Tensor:
        age, stack = self._age[rows].astype(np.int64), self.spec.stack
        return self._frames.observations(
            np.stack([self._history(rows, np.minimum(k, age)) for k in range(stack - 1, -1, -1)], 1)
        )

    def _next_observations(self, rows: np.ndarray) -> Tensor:
        """Where the transitions led: their episode's last observation, or the next one in the ring."""
        age, final, stack = self._age[rows].astype(np.int64), self._final[rows].astype(np.int64), self.spec.stack
        after = self._history(rows, np.full(len(rows), -1))
        next_age = np.where(final >= 0, age + 1, self._age[after])
        frames = [self._history(after, np.minimum(k, next_age)) for k in range(stack - 1, 0, -1)]
        return self._frames.observations(np.stack([*frames, np.where(final >= 0, -final - 1, after)], 1))

    def state_dict(self) -> dict[str, Any]:
        """Everything stored."""
        arrays = {k: torch.from_numpy(v) for k, v in vars(self).items() if isinstance(v, np.ndarray)}
        rows = np.arange(self._length * self.num_columns)
        frames = None if self._frames is None else self._frames.state_dict()
        return {
            "arrays": arrays,
            "priorities": torch.from_numpy(np.stack([tree[rows] for tree in self._trees])),
            "frames": frames,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restores `state_dict()` of a replay of the same shape."""
        for name, tensor in state["arrays"].items():
            mine = getattr(self, name)
            if mine.shape != tuple(tensor.shape):
                raise ValueError(f"expected a replay of {mine.shape} in {name}, got {tuple(tensor.shape)}")
            mine[:] = tensor.numpy()
        priorities = state["priorities"].numpy()
        for tree, numbers in zip(self._trees, priorities, strict=True):
            tree[np.arange(len(numbers))] = numbers
        self._sizes[:] = (priorities > 0).sum(1)
        if state["frames"] is not None:
            self._frames = _Frames(self.spec, self._length * self.num_columns, binary=state["frames"]["binary"])
            self._frames.load_state_dict(state["frames"])


class Share:
    """A replay as one of its learners sees it: that learner's priorities, and the stream of the same number."""

    def __init__(self, replay: PrioritisedReplay, learner: int) -> None:
        self._replay, self._learner = replay, learner

    def __len__(self) -> int:
        return self._replay.drawable(self._learner)

    def add(self, *arguments: Any, **options: Any) -> None:
        """`PrioritisedReplay.add`, for all learners."""
        self._replay.add(*arguments, **options)

    def sample(self, size: int, **options: Any) -> Batch:
        """`PrioritisedReplay.sample`, with rewards [n, K, 1]."""
        batch = self._replay.sample(size, **options, learner=self._learner)
        return batch._replace(rewards=batch.rewards[..., self._learner : self._learner + 1])

    def update(self, index: np.ndarray, priorities: Tensor) -> None:
        """`PrioritisedReplay.update`."""
        self._replay.update(index, priorities, learner=self._learner)

    def transitions(self, index: np.ndarray, step: int) -> Transitions:
        """`PrioritisedReplay.transitions`."""
        return self._replay.transitions(index, step)

    def state_dict(self) -> dict[str, Any]:
        """`PrioritisedReplay.state_dict`."""
        return self._replay.state_dict()
