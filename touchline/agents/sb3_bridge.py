"""Stable-Baselines3 trains on our vector environments: `Sb3VecEnv` is a view of one as SB3's `VecEnv`.

SB3's conventions at an end of an episode (https://stable-baselines3.readthedocs.io/en/master/guide/vec_envs.html):
`infos[i]["terminal_observation"]` is the true last observation, `infos[i]["TimeLimit.truncated"]` says that the clock
ended it, so that SB3 bootstraps there, and `infos[i]["episode"]` has return and length.

`load_model` goes the other way: it opens a saved model.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
from stable_baselines3 import A2C, DQN, PPO
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.vec_env.base_vec_env import VecEnv

ALGORITHMS = {"clip_range": PPO, "exploration_fraction": DQN, "n_steps": A2C}
"""What only this one of SB3's algorithms for discrete actions saves; looked for in this order."""


class Sb3VecEnv(VecEnv):
    """A Gymnasium vector environment with same-step automatic reset, as SB3 wants it.

    Observations and rewards are copied, since SB3 keeps them.

    Args:
        envs: for one controlled player, e.g. `touchline.make_vec(...)`.
    """

    def __init__(self, envs: gym.vector.VectorEnv) -> None:
        if envs.metadata.get("autoreset_mode") is not gym.vector.AutoresetMode.SAME_STEP:
            raise ValueError(
                f"expected an environment with AutoresetMode.SAME_STEP, got {envs.metadata.get('autoreset_mode')}"
            )
        if getattr(envs, "num_players", 1) != 1:
            raise ValueError(f"SB3 trains one player an environment, got {envs.num_players} controlled players")
        self.envs = envs
        self.render_mode = envs.render_mode
        super().__init__(envs.num_envs, envs.single_observation_space, envs.single_action_space)

    def reset(self) -> np.ndarray:
        """Starts all episodes; uses the seeds given to `seed()` once."""
        seeds = self._seeds
        seed = None if all(s is None for s in seeds) else list(seeds)
        self._reset_seeds()
        self._reset_options()
        observations, infos = self.envs.reset(seed=seed)
        self.reset_infos = [_row(infos, i) for i in range(self.num_envs)]
        return np.array(observations)

    def step_async(self, actions: np.ndarray) -> None:
        """Starts a step."""
        self.envs.step_async(actions)

    def step_wait(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[dict[str, Any]]]:
        """Finishes it: observations, rewards, dones [B] each, and a dict a match."""
        observations, rewards, terminated, truncated, info = self.envs.step_wait()
        dones = terminated | truncated
        infos = [_row(info, i) for i in range(self.num_envs)]
        for i in np.flatnonzero(dones):
            infos[i] |= _row(info["final_info"], i)
            infos[i]["terminal_observation"] = np.array(info["final_obs"][i])
            infos[i]["TimeLimit.truncated"] = bool(truncated[i] and not terminated[i])
            infos[i]["episode"] = {name: values[i].item() for name, values in info["episode"].items()}
            infos[i]["episode"]["t"] = 0.0  # seconds since the start, which SB3's loggers expect
        return np.array(observations), np.array(rewards), dones, infos

    def close(self) -> None:
        """Closes the environment."""
        self.envs.close()

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        """An attribute of the vector environment, once a chosen match."""
        return [getattr(self.envs, attr_name) for _ in self._get_indices(indices)]

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        """Sets an attribute of the vector environment, for all its matches."""
        setattr(self.envs, attr_name, value)

    def env_method(self, method_name: str, *args: Any, indices: Any = None, **kwargs: Any) -> list[Any]:
        """Calls a method of the vector environment, once a chosen match."""
        return [getattr(self.envs, method_name)(*args, **kwargs) for _ in self._get_indices(indices)]

    def env_is_wrapped(self, wrapper_class: type, indices: Any = None) -> list[bool]:
        """No match has a wrapper of its own."""
        return [False for _ in self._get_indices(indices)]

    def get_images(self) -> Sequence[np.ndarray | None]:
        """A picture a match, with `render_mode="rgb_array"`."""
        return self.envs.render() or [None] * self.num_envs


_PER_MATCH = ("score", "ball_owned_team", "game_mode", "steps_left")


def _row(info: dict[str, Any], index: int) -> dict[str, Any]:
    return {name: np.array(info[name][index]).tolist() for name in _PER_MATCH if name in info}


def load_model(path: str | Path) -> BaseAlgorithm:
    """A model that SB3 saved, of PPO, A2C or DQN, on the CPU. It unpickles: load only what you trust.

    A zip does not name its algorithm, but its settings do, which are read as JSON.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            settings = json.loads(archive.read("data"))
        module = settings["policy_class"]["__module__"]
    except (OSError, zipfile.BadZipFile, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is no model that SB3 saved ({error})") from error
    found = [algorithm for key, algorithm in ALGORITHMS.items() if key in settings]
    if not module.startswith("stable_baselines3.") or not found:
        known = ", ".join(algorithm.__name__ for algorithm in ALGORITHMS.values())
        raise ValueError(f"{path} was not saved by one of SB3's {known} (its policy is from {module})")
    # Schedules are functions, and pickles of functions do not survive another Python; none is needed to play.
    constant: dict[str, Any] = dict.fromkeys(("lr_schedule", "clip_range", "exploration_schedule"), _zero)
    unused = {"learning_rate": 0.0, "buffer_size": 1, "optimize_memory_usage": False, **constant}
    replaced = {name: value for name, value in unused.items() if name in settings}
    return found[0].load(path, device="cpu", custom_objects=replaced)


def _zero(_progress: float) -> float:
    return 0.0
