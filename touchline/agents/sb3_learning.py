"""Makes, teaches, saves and restores models of Stable-Baselines3 for `touchline train --agent sb3:NAME`.

Hyper-parameters have SB3's own names and defaults and may be written as rl-zoo writes them: `lin_3e-4` falls linearly
to 0, and `policy_kwargs` may be the text of a dict with `activation_fn=nn.ReLU`.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.logger import KVWriter, Logger
from stable_baselines3.common.utils import LinearSchedule
from stable_baselines3.common.vec_env.base_vec_env import VecEnv

from touchline.agents.sb3_bridge import algorithm, saved_settings
from touchline.files import whole

_OURS = {
    "n_envs": "say --num-envs",
    "n_timesteps": "say --total-steps",
    "total_timesteps": "say --total-steps",
    "seed": "say --seed",
    "device": "say --device",
    "frame_stack": "say --stack",
    "tensorboard_log": "the run directory has TensorBoard events anyway",
    "verbose": "there is a progress bar unless you say --quiet",
    "stats_window_size": "metrics are over the last 100 episodes",
    "normalize": "observations are within bounds as they are: take egocentric",
    "env_wrapper": "environments are chosen with --observation, --rewards and --stack",
    "use_sde": "it is for continuous actions, and ours are discrete",
    "sde_sample_freq": "it is for continuous actions, and ours are discrete",
    "env": "say --scenario",
    "_init_setup_model": "models are always set up",
    "rollout_buffer_class": "buffers are SB3's own",
    "rollout_buffer_kwargs": "buffers are SB3's own",
    "replay_buffer_class": "buffers are SB3's own",
    "replay_buffer_kwargs": "buffers are SB3's own",
}
"""Names that a habit from elsewhere may type, and what to do instead."""


def hyperparameters(name: str) -> list[str]:
    """Those of an algorithm that may be set."""
    return [word for word in inspect.signature(algorithm(name).__init__).parameters if word not in (*_OURS, "self")]


def checked(name: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """Hyper-parameters as the algorithm takes them; an unknown name is refused with those that exist."""
    known = hyperparameters(name)
    for word in values:
        if word not in known:
            if word in _OURS:
                raise ValueError(f"{word} is not set with --sb3: {_OURS[word]}")
            raise ValueError(f"no {word!r} in {name}; there are {', '.join(known)}")
    return {word: _taken(word, value) for word, value in values.items()}


_CLASSES: dict[str, tuple[Any, str]] = {
    "activation_fn": (torch.nn, "ReLU, Tanh, ELU, ..."),
    "optimizer_class": (torch.optim, "Adam, AdamW, RMSprop, ..."),
}
"""Classes that policy_kwargs may name, where they are, and some."""
_SCHEDULES = ("learning_rate", "clip_range", "clip_range_vf")


def _taken(word: str, value: Any) -> Any:
    if word == "policy_kwargs":
        kwargs = _dict_of(value) if isinstance(value, str) else dict(value)
        return {key: _class_of(key, part) if isinstance(part, str) else part for key, part in kwargs.items()}
    if isinstance(value, str) and value.startswith("lin_"):
        if word not in _SCHEDULES:
            raise ValueError(f"{word}={value}: SB3 has schedules of {', '.join(_SCHEDULES)} alone; give a number")
        return LinearSchedule(float(value.removeprefix("lin_")), 0.0, 1.0)
    return tuple(value) if word == "train_freq" and isinstance(value, list) else value


def _class_of(key: str, name: str) -> type:
    """The class that a name in policy_kwargs means."""
    if key not in _CLASSES:
        raise ValueError(f"policy_kwargs: {key}={name} cannot be named here, only {' and '.join(_CLASSES)}")
    room, some = _CLASSES[key]
    kind = getattr(room, name.rpartition(".")[2], None)
    if not isinstance(kind, type):
        raise ValueError(f"no {key} {name!r} in {room.__name__}; there are {some}")
    return kind


def _dict_of(text: str) -> dict[str, Any]:
    """The dict that a text like `dict(net_arch=[64], activation_fn=nn.ReLU)` means; nothing is executed."""

    def plain(node: ast.expr) -> Any:
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "dict" and not node.args:
            return {str(keyword.arg): plain(keyword.value) for keyword in node.keywords}
        if isinstance(node, ast.Dict):
            return {plain(k): plain(v) for k, v in zip(node.keys, node.values, strict=True) if k is not None}
        if isinstance(node, ast.List | ast.Tuple):
            return [plain(element) for element in node.elts]
        return ast.unparse(node) if isinstance(node, ast.Attribute | ast.Name) else ast.literal_eval(node)

    try:
        value = plain(ast.parse(text, mode="eval").body)
    except (SyntaxError, ValueError) as error:
        raise ValueError(f"policy_kwargs={text!r} is no dict that can be read ({error})") from error
    if not isinstance(value, dict):
        raise ValueError(f"policy_kwargs: expected a dict, got {text!r}")
    return value


def make_model(name: str, envs: VecEnv, values: Mapping[str, Any], *, seed: int, device: str) -> BaseAlgorithm:
    """A new model; `values` may name the policy, otherwise it is the one for pictures or for vectors.

    SB3 seeds the global generators of Python, NumPy and torch with `seed`.
    """
    values = checked(name, values)
    kind = "Cnn" if len(envs.observation_space.shape) == 3 else "Mlp"
    policy = values.pop("policy", f"{kind}LstmPolicy" if name == "RecurrentPPO" else f"{kind}Policy")
    return algorithm(name)(policy, envs, seed=seed, device=device, **values)


def learn(model: BaseAlgorithm, total_steps: int, on_step: Callable[[list[dict[str, Any]]], bool]) -> None:
    """Teaches a model until it has made `total_steps` environment steps; on-policy ones finish their unroll.

    Args:
        on_step: told the infos of every step of the environments; False ends the training.
    """

    def callback(local: dict[str, Any], _global: dict[str, Any]) -> bool:
        return on_step(local["infos"])

    rest = max(0, total_steps - model.num_timesteps)
    model.learn(rest, callback=callback, reset_num_timesteps=False)


class Losses(KVWriter):
    """Keeps the latest numbers that a model logs of its learning: `train/loss` and the like."""

    def __init__(self, model: BaseAlgorithm) -> None:
        self._written: dict[str, float] = {}
        self._logger = Logger(folder=None, output_formats=[self])
        model.set_logger(self._logger)

    @property
    def latest(self) -> dict[str, float]:
        """{name: number}."""
        self.write(self._logger.name_to_value, {})
        return dict(self._written)

    def write(self, key_values: dict[str, Any], key_excluded: dict[str, tuple[str, ...]], step: int = 0) -> None:
        """See SB3's `KVWriter`."""
        self._written |= {k: float(v) for k, v in key_values.items() if k.startswith("train/")}

    def close(self) -> None:
        """Nothing to close."""


def save(model: BaseAlgorithm, path: Path) -> None:
    """Writes a model's zip beside `path` and then puts it in the place of the old one."""
    with whole(path, suffix=".zip") as part:
        model.save(part)


def restore(model: BaseAlgorithm, path: Path) -> None:
    """Weights, optimiser and count of steps of a saved model of the same algorithm; nothing is unpickled.

    A replay is not in the zip: DQN and QRDQN fill theirs anew, with `learning_starts` steps of random play.
    """
    settings = saved_settings(path)
    try:
        model.set_parameters(str(path), device=model.device)
    except (RuntimeError, ValueError, KeyError) as error:
        raise ValueError(f"{path} does not fit this run's config.json: {error}") from error
    model.num_timesteps, model._n_updates = int(settings["num_timesteps"]), int(settings["_n_updates"])
    if hasattr(model, "learning_starts"):
        model.learning_starts += model.num_timesteps
