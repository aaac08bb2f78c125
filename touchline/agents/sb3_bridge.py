"""Stable-Baselines3 and sb3-contrib: `Sb3VecEnv` is a view of one of our vector environments as SB3's `VecEnv`.

SB3's conventions at an end of an episode (https://stable-baselines3.readthedocs.io/en/master/guide/vec_envs.html):
`infos[i]["terminal_observation"]` is the true last observation, `infos[i]["TimeLimit.truncated"]` says that the clock
ended it, so that SB3 bootstraps there, and `infos[i]["episode"]` has return and length.

`algorithm` finds an algorithm by name; `load_model` opens a model that one has saved. sb3-contrib is imported only for
its own algorithms.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import stable_baselines3
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.vec_env.base_vec_env import VecEnv

ALGORITHMS = ("A2C", "DQN", "PPO")
"""SB3's algorithms for discrete actions."""

CONTRIB = ("MaskablePPO", "QRDQN", "RecurrentPPO", "TRPO")
"""Those of sb3-contrib. ARS, which learns from whole evaluations alone, is left out."""

_POLICIES = {"maskable": "MaskablePPO", "recurrent": "RecurrentPPO", "qrdqn": "QRDQN"}
_SETTINGS = {"cg_max_steps": "TRPO", "clip_range": "PPO", "exploration_fraction": "DQN", "gae_lambda": "A2C"}
"""How a zip, which does not name its algorithm, gives it away: by a part of its policy's module, or by a setting that
no algorithm further down saves."""


def algorithm(name: str) -> type[BaseAlgorithm]:
    """The class of an algorithm for discrete actions, by its name; a wrong name says what exists."""
    if name in ALGORITHMS:
        return getattr(stable_baselines3, name)
    if name not in CONTRIB:
        raise ValueError(f"no {name!r} in SB3's algorithms for discrete actions; there are {', '.join(_known())}")
    try:
        import sb3_contrib
    except ModuleNotFoundError as error:
        raise ValueError(f"{name} needs {error.name}: pip install 'touchline[sb3]'") from error
    return getattr(sb3_contrib, name)


def _known() -> list[str]:
    return sorted((*ALGORITHMS, *CONTRIB))


class Sb3VecEnv(VecEnv):
    """A Gymnasium vector environment with same-step automatic reset, as SB3 wants it.

    Observations and rewards are copied, since SB3 keeps them. A match whose worker crashed is cut short where it was
    before the step: no reward, `infos[i]["lost"]`, and no `episode`.

    Args:
        envs: for one controlled player, e.g. `touchline.make_vec(...)`.
    """

    def __init__(self, envs: gym.vector.VectorEnv) -> None:
        if envs.metadata.get("autoreset_mode") is not gym.vector.AutoresetMode.SAME_STEP:
            raise ValueError(
                f"expected an environment with AutoresetMode.SAME_STEP, got {envs.metadata.get('autoreset_mode')}"
            )
        if (players := getattr(envs.unwrapped, "num_players", 1)) != 1:
            raise ValueError(f"SB3 trains one player an environment, got {players} controlled players")
        self.envs, self._threaded = envs, hasattr(envs, "step_async")
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
        self._last = np.array(observations)
        return self._last.copy()

    def step_async(self, actions: np.ndarray) -> None:
        """Starts a step."""
        self._actions = actions
        if self._threaded:
            self.envs.step_async(actions)

    def step_wait(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[dict[str, Any]]]:
        """Finishes it: observations, rewards, dones [B] each, and a dict a match."""
        stepped = self.envs.step_wait() if self._threaded else self.envs.step(self._actions)
        observations, rewards, terminated, truncated, info = stepped
        dones = terminated | truncated
        infos = [_row(info, i) for i in range(self.num_envs)]
        rewards, lost = np.array(rewards), info.get("lost", np.zeros(self.num_envs, bool))
        for i in np.flatnonzero(lost):
            rewards[i], infos[i] = 0.0, infos[i] | {"lost": True, "terminal_observation": self._last[i].copy()}
            infos[i]["TimeLimit.truncated"] = True
        for i in np.flatnonzero(dones & ~lost):
            infos[i] |= _row(info.get("final_info", {}), i)
            infos[i]["terminal_observation"] = np.array(info["final_obs"][i])
            infos[i]["TimeLimit.truncated"] = bool(truncated[i] and not terminated[i])
            if "episode" in info:  # environments of others may keep no statistics
                statistics = {k: values[i].item() for k, values in info["episode"].items() if not k.startswith("_")}
                infos[i]["episode"] = {"t": 0.0} | statistics  # t, seconds, is what SB3's loggers expect
        self._last = np.array(observations)
        return self._last.copy(), rewards, dones, infos

    def close(self) -> None:
        """Closes the environment."""
        self.envs.close()

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        """An attribute of the vector environment, once a chosen match."""
        return [getattr(self._owner(attr_name), attr_name) for _ in self._get_indices(indices)]

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        """Sets an attribute of the vector environment, for all its matches."""
        setattr(self.envs, attr_name, value)

    def env_method(self, method_name: str, *args: Any, indices: Any = None, **kwargs: Any) -> list[Any]:
        """Calls a method of the vector environment, once a chosen match; masks are each match's own, [A] bool."""
        if method_name == "action_masks":
            masks = self._owner("action_masks").action_masks()
            return [masks[i].copy() for i in self._get_indices(indices)]
        method = getattr(self._owner(method_name), method_name)
        return [method(*args, **kwargs) for _ in self._get_indices(indices)]

    def _owner(self, name: str) -> gym.vector.VectorEnv:
        """The environment or, of wrapped ones, the outermost that has an attribute of that name."""
        envs = self.envs
        while not hasattr(envs, name) and isinstance(envs, gym.vector.VectorWrapper):
            envs = envs.env
        return envs

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
    """A model that SB3 or sb3-contrib saved, on the CPU. It unpickles: load only what you trust."""
    settings = saved_settings(path)
    module = str((settings.get("policy_class") or {}).get("__module__"))
    name = next((name for part, name in _POLICIES.items() if part in module.split(".")), None)
    name = name or next((name for key, name in _SETTINGS.items() if key in settings), None)
    if not module.startswith(("stable_baselines3.", "sb3_contrib.")) or name is None:
        raise ValueError(f"{path} was not saved by one of SB3's {', '.join(_known())} (its policy is from {module})")
    # Schedules are functions, and pickles of functions do not survive another Python; none is needed to play.
    constant: dict[str, Any] = dict.fromkeys(("lr_schedule", "clip_range", "exploration_schedule"), _zero)
    unused = {"learning_rate": 0.0, "buffer_size": 1, "optimize_memory_usage": False, **constant}
    replaced = {name: value for name, value in unused.items() if name in settings}
    return algorithm(name).load(path, device="cpu", custom_objects=replaced)


def saved_settings(path: str | Path) -> dict[str, Any]:
    """What a zip says of itself, read as JSON: nothing is unpickled."""
    try:
        with zipfile.ZipFile(path) as archive:
            return dict(json.loads(archive.read("data")))
    except (OSError, zipfile.BadZipFile, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is no model that SB3 saved ({error})") from error


def _zero(_progress: float) -> float:
    return 0.0
