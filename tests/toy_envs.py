"""Tiny vector environments with known answers, same contract as `touchline.make_vec`'s."""

from __future__ import annotations

import pickle
from collections.abc import Callable

import numpy as np
import torch
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, VectorEnv

from touchline.types import EnvSpec

torch.set_num_threads(1)  # toy networks are a hundred times slower with more, where cores are shared


class ToyEnv(VectorEnv):
    """B worlds of at most a few steps; subclasses say what a step pays and when it ends.

    The observation of a world is [its random sign, whether it is at its start, the time in it / 10].
    """

    metadata = {"autoreset_mode": AutoresetMode.SAME_STEP}
    pay: Callable[[ToyEnv, np.ndarray], np.ndarray]
    terminates_after: int = 0
    truncates_after: int = 0

    def __init__(self, num_envs: int = 8, num_players: int = 1, lost_at: dict[int, int] | None = None) -> None:
        self.num_envs, self.num_players = num_envs, num_players
        self.lost_at = lost_at or {}
        shape = (3,) if num_players == 1 else (num_players, 3)
        self.single_observation_space = spaces.Box(-np.inf, np.inf, shape, np.float32)
        self.single_action_space = spaces.Discrete(2) if num_players == 1 else spaces.MultiDiscrete([2] * num_players)
        self.sign = np.ones(num_envs)
        self.time = np.zeros(num_envs, int)
        self.total = np.zeros(num_envs)
        self.steps = 0
        self.generators = [np.random.default_rng(0)] * num_envs
        self.out = np.zeros((num_envs, *shape), np.float32)

    def reset(self, *, seed=None, options=None):
        if (mask := (options or {}).get("reset_mask")) is None:
            mask = np.ones(self.num_envs, bool)
            self.generators = [np.random.default_rng([seed or 0, b]) for b in range(self.num_envs)]
        for b in np.flatnonzero(mask):
            self._restart(b)
        return self._observe(), {}

    def step(self, actions):
        actions = np.asarray(actions)
        first = actions if self.num_players == 1 else actions[:, 0]
        reward = self.pay(first).astype(np.float32)
        self.time += 1
        self.total += reward
        terminated = self.time == self.terminates_after
        truncated = (self.time == self.truncates_after) & ~terminated
        lost = np.zeros(self.num_envs, bool)
        if self.steps in self.lost_at:
            b = self.lost_at[self.steps]
            lost[b], truncated[b], reward[b] = True, True, 1e9
        self.steps += 1
        ended, info = (terminated | truncated), {}
        if self.lost_at:
            info["lost"] = lost
        if ended.any():
            info["final_obs"], info["_final_obs"] = self._observe().copy(), ended & ~lost
            if lost.any():  # bytes have no NaN
                info["final_obs"][lost] = np.nan
            goals = (self.total > 0).astype(int)
            info["episode"] = {
                "r": self.total.copy(),
                "l": self.time.copy(),
                "goals_left": goals,
                "goals_right": 1 - goals,
            }
            info["_episode"] = ended.copy()  # as touchline.make_vec: lost ones too
            for b in np.flatnonzero(ended):
                self._restart(b)
        if self.num_players > 1:
            reward = np.repeat(reward[:, None], self.num_players, 1) * np.arange(1, 1 + self.num_players)
        return self._observe(), reward.astype(np.float32), terminated, truncated, info

    def get_state(self) -> list[bytes]:
        rows = zip(self.sign, self.time, self.total, self.generators, strict=True)
        return [pickle.dumps((self.steps, row)) for row in rows]

    def set_state(self, states: list[bytes]) -> np.ndarray:
        for b, state in enumerate(states):
            self.steps, row = pickle.loads(state)
            self.sign[b], self.time[b], self.total[b], self.generators[b] = row
        return self._observe()

    def close(self, **_options) -> None:
        pass

    def _restart(self, b: int) -> None:
        self.sign[b] = self.generators[b].choice([-1, 1])
        self.time[b], self.total[b] = 0, 0.0

    def _observe(self) -> np.ndarray:
        numbers = np.stack([self.sign, self.time == 0, self.time / 10], -1)
        if self.num_players == 1:
            self.out[:] = numbers
        else:  # player i sees i times the numbers
            self.out[:] = numbers[:, None] * np.arange(1, 1 + self.num_players)[None, :, None]
        return self.out


SPEC = EnvSpec(observation_shape=(3,), observation_dtype="float32", num_actions=2)


class ConstantValue(ToyEnv):
    """One step that pays 1: the value is 1."""

    terminates_after = 1

    def pay(self, action):
        return np.ones(self.num_envs)


class ValueFromObservation(ToyEnv):
    """One step that pays the sign: the value is the sign."""

    terminates_after = 1

    def pay(self, action):
        return self.sign


class Discounted(ToyEnv):
    """Two steps, the second pays 1: the values are gamma and 1."""

    terminates_after = 2

    def pay(self, action):
        return (self.time == 1).astype(float)


class Action(ToyEnv):
    """One step that pays 1 for action 1, else -1."""

    terminates_after = 1

    def pay(self, action):
        return 2.0 * action - 1.0


class ObservationAction(ToyEnv):
    """One step that pays 1 for action 1 at sign 1 and for action 0 at sign -1, else -1."""

    terminates_after = 1

    def pay(self, action):
        return (2.0 * action - 1.0) * self.sign


class Endless(ToyEnv):
    """Pays 1 a step for ever, -3 for the first; a clock truncates it after 4 steps.

    Away from the start the value is 1 / (1 - gamma), whatever the clock does.
    """

    truncates_after = 4

    def pay(self, action):
        return np.where(self.time == 0, -3.0, 1.0)


class Corridor(ToyEnv):
    """Up to 7 steps that pay for the right action by sign; a little of everything for resuming."""

    truncates_after = 7

    def pay(self, action):
        return (2.0 * action - 1.0) * self.sign * (self.time % 3 == 0)


class Pictures(Corridor):
    """`Corridor`, seen as two stacked pictures of one pixel, of 0 and 255: its sign, whether it starts, odd times."""

    stack = 2

    def __init__(self, num_envs: int = 8) -> None:
        super().__init__(num_envs)
        self.single_observation_space = spaces.Box(0, 255, (1, 1, 3 * self.stack), np.uint8)

    def _observe(self) -> np.ndarray:
        frames = [self._frame(np.maximum(self.time - age, 0)) for age in reversed(range(self.stack))]
        return np.concatenate(frames, -1)[:, None, None]

    def _frame(self, time: np.ndarray) -> np.ndarray:
        return 255 * np.stack([self.sign > 0, time == 0, time % 2 == 1], -1).astype(np.uint8)


class Chain(ToyEnv):
    """Cells in a row; action 1 goes right, action 0 left. The last cell pays 1 and ends, the left wall pays `KNOCK`.

    The observation is the cell, one-hot; a clock truncates after `CLOCK` steps. Normal noise of deviation `noise` is
    added to every reward.
    """

    CELLS, KNOCK, CLOCK = 10, 0.02, 40

    def __init__(self, num_envs: int = 8, noise: float = 0.0) -> None:
        super().__init__(num_envs)
        self.noise, self.random = noise, np.random.default_rng(0)
        self.single_observation_space = spaces.Box(0, 1, (self.CELLS,), np.float32)
        self.out = np.zeros((num_envs, self.CELLS), np.float32)
        self.cell = np.zeros(num_envs, int)
        self.truncates_after = self.CLOCK

    @classmethod
    def all_observations(cls) -> torch.Tensor:
        """[cells, cells], one row a cell."""
        return torch.eye(cls.CELLS)

    def step(self, actions):
        self.cell += np.where(np.asarray(actions) == 1, 1, -1)
        fell = self.cell < 0
        self.cell = np.clip(self.cell, 0, self.CELLS - 1)
        reward = np.where(self.cell == self.CELLS - 1, 1.0, np.where(fell, self.KNOCK, 0.0))
        reward = (reward + self.noise * self.random.normal(size=self.num_envs)).astype(np.float32)
        self.time += 1
        self.total += reward
        terminated = self.cell == self.CELLS - 1
        truncated = (self.time == self.truncates_after) & ~terminated
        ended, info = terminated | truncated, {}
        if ended.any():
            info = {"final_obs": self._observe().copy(), "_final_obs": ended}
            for b in np.flatnonzero(ended):
                self._restart(b)
        return self._observe(), reward, terminated, truncated, info

    def _restart(self, b: int) -> None:
        super()._restart(b)
        self.cell[b] = 0

    def _observe(self) -> np.ndarray:
        self.out[:] = np.eye(self.CELLS)[self.cell]
        return self.out


class LongChain(Chain):
    """Twenty cells and nothing but the end that pays."""

    CELLS, KNOCK, CLOCK = 20, 0.0, 100


class RareReward(ToyEnv):
    """One step that pays 1 once in ten times, whatever is done: the value is 0.1."""

    terminates_after = 1

    def pay(self, action):
        self.random = getattr(self, "random", np.random.default_rng(0))
        return (self.random.random(self.num_envs) < 0.1).astype(float)


class Recall(ToyEnv):
    """Three steps; the sign is shown in the first alone, and the last pays 1 for the action that suits it, else -1."""

    terminates_after = 3

    def pay(self, action):
        return np.where(self.time == 2, (2.0 * action - 1.0) * self.sign, 0.0)

    def _observe(self):
        super()._observe()[self.time > 0, 0] = 0.0
        return self.out
