"""Our exploration bonuses for Stable-Baselines3: `BonusVecEnv` pays a bonus beside the environment's reward."""

from __future__ import annotations

import copy
import warnings
from typing import Any

import numpy as np
import torch
from stable_baselines3.common.vec_env.base_vec_env import VecEnv, VecEnvWrapper

from touchline.rollout import Buffer, Rollout
from touchline.types import EnvSpec


class BonusVecEnv(VecEnvWrapper):
    """A `VecEnv` whose reward is the environment's plus coef times the bonus, which learns from what is collected.

    SB3 knows one reward with one discount, so a bonus has no stream of its own here: its discount and `episodic` do
    nothing, and its coef weighs its reward, not its advantage. SB3 wants the reward of a step at once, so the bonus is
    asked step by step, with its carry, and learns every `unroll_length` steps; a bonus that counts visits within a
    rollout counts them only then.

    `infos[i]["bonus"]` has what was paid, unweighted, by name; `infos[i]["episode"]` stays the environment's own.

    Args:
        venv: for one player, as `Sb3VecEnv` makes it; pictures as they come, before SB3 transposes them.
        bonus: of an exploration module, made for the environment's spec.
        unroll_length: T, steps between updates of the bonus.

    Attributes:
        metrics: of the bonus' last update, and the mean of what it paid since the one before.
    """

    def __init__(self, venv: VecEnv, bonus: Any, *, unroll_length: int = 128) -> None:
        if unroll_length < 1:
            raise ValueError(f"expected unroll_length of at least 1, got {unroll_length}")
        if getattr(bonus, "random_steps", 0) and not getattr(bonus, "ready", True):
            warnings.warn(
                "the bonus will pay 0: it has learned nothing yet, and learns from random play alone; call "
                "bonus.pretrain(exploration.random_play(envs, spec, bonus.random_steps, seed=...)) first",
                stacklevel=2,
            )
        super().__init__(venv)
        space = venv.observation_space
        spec = EnvSpec(tuple(space.shape), str(space.dtype), int(venv.action_space.n))
        self.bonus, self.metrics = bonus, dict[str, float]()
        self._coefs = {stream.name: stream.coef for stream in bonus.streams}
        self._buffer = Buffer(spec, venv.num_envs, unroll_length)
        self._first_carry: Any = None
        self._begin(None)

    def _begin(self, carry: Any) -> None:
        self._carry, self._t = carry, 0
        self._finals: dict[tuple[int, int], np.ndarray] = {}
        self._paid = dict.fromkeys(self._coefs, 0.0)

    def reset(self) -> np.ndarray:
        """Starts all episodes; steps that the bonus has not learned from yet are dropped."""
        observations = self.venv.reset()
        if self._first_carry is None:  # asked for once: a bonus may count by it how many columns there are
            self._first_carry = self.bonus.initial_carry(self.num_envs)
        self._begin(copy.deepcopy(self._first_carry))
        self._buffer.obs[0] = observations
        return observations

    def step_async(self, actions: np.ndarray) -> None:
        """Starts a step."""
        self._buffer.action[self._t] = actions
        self.venv.step_async(actions)

    def step_wait(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[dict[str, Any]]]:
        """Finishes it, with the bonus in the rewards [B]."""
        observations, rewards, dones, infos = self.venv.step_wait()
        t, buffer = self._t, self._buffer
        buffer.obs[t + 1], buffer.reward[t] = observations, rewards
        buffer.truncated[t] = dones & np.array([info.get("TimeLimit.truncated", False) for info in infos])
        buffer.terminated[t] = dones & ~buffer.truncated[t]
        buffer.mask[t] = [not info.get("lost", False) for info in infos]
        for i in np.flatnonzero(dones):
            self._finals[t, int(i)] = infos[i]["terminal_observation"]
        paid, self._carry = self.bonus.reward(self._rollout(t, t + 1), self._carry)
        rewards = np.array(rewards, np.float32)
        for name, values in paid.items():
            values = values[0].numpy(force=True)
            rewards += self._coefs[name] * values
            self._paid[name] += float(values.mean())
            for info, value in zip(infos, values, strict=True):
                info["bonus"] = {**info.get("bonus", {}), name: float(value)}
        self._t += 1
        if self._t == buffer.unroll_length:
            self._update()
        return observations, rewards, dones, infos

    def _update(self) -> None:
        metrics = self.bonus.update(self._rollout(0, self._t))
        self.metrics |= metrics | {f"reward/{name}": total / self._t for name, total in self._paid.items()}
        self._buffer.obs[0] = self._buffer.obs[self._t]
        self._begin(self._carry)

    def _rollout(self, start: int, stop: int) -> Rollout:
        """The steps from `start` up to `stop`."""
        tensors = {name: tensor[start:stop] for name, tensor in self._buffer.tensors.items()}
        tensors["obs"] = self._buffer.tensors["obs"][start : stop + 1]
        finals = {place: obs for place, obs in self._finals.items() if start <= place[0] < stop}
        index = torch.tensor([(t - start, i) for t, i in finals], dtype=torch.int64).reshape(-1, 2)
        rows = np.stack(list(finals.values())) if finals else np.zeros((0, *self._buffer.obs.shape[2:]))
        final_obs = torch.from_numpy(rows.astype(self._buffer.obs.dtype))
        return Rollout(**tensors, final_index=index, final_obs=final_obs, num_players=1, episodes={})
