"""Kickstarting: while the agent plays, a teacher says what it would have done (Schmitt et al. 2018,
https://arxiv.org/abs/1803.03835). Any policy teaches: a scripted team, a run directory, a Python file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from gymnasium.vector import VectorWrapper

from touchline.agents.scripted import IDLE, LEFT
from touchline.benchmarks.policies import ScriptedPolicy, checked_actions, is_engine, load_policy
from touchline.envs.actions import num_actions
from touchline.envs.side_view import SideView


class TaughtEnv(VectorWrapper):
    """A vector env of football matches with a teacher beside the left side's agents.

    `info["taught"]` of a step, [B] or [B, N] like the actions, is what the teacher would have done in the state that
    the step began with, after all that the pupil has done: a script waits for the kicks that he began, not for those
    that it would have. Instead of nothing it says the direction that is held already, which is the same to the engine:
    so the advice depends on where to run and not on when the key went down, which a pupil's most probable action can
    follow ("nothing" was four of five pieces of advice, and pupils then seldom turned).

    Args:
        envs: a `FootballVectorEnv` or an `OpponentEnv`.
        teacher: a scripted name, a run directory or a Python file, as `evaluate` takes them.
        action_set: that the agent acts in; the teacher must know no other actions.
        seed: of a scripted teacher's own draws.
        trust: the teacher may be an SB3 zip, which holds pickles.
    """

    def __init__(
        self, envs: Any, teacher: str, *, action_set: str = "default", seed: int = 0, trust: bool = False
    ) -> None:
        super().__init__(envs)
        if is_engine(teacher):
            raise ValueError(f"{teacher} cannot teach: the engine's own AI does not tell which actions it would take")
        if envs.num_players != envs.num_left:
            raise ValueError("a teacher stands beside the left side: give the right side's players an opponent")
        self._name, self._num_actions = teacher, num_actions(action_set)
        self._shape = envs.num_envs, envs.num_left
        self._player = load_policy(teacher, num_players=envs.num_left, seed=seed, trust=trust)
        if self._player.action_set not in (None, action_set):
            raise ValueError(f"{teacher} plays in the action set {self._player.action_set}, the agent in {action_set}")
        self._view, self._obs = None, np.zeros(0)
        if self._player.observation is not None:
            seen = {"observation": self._player.observation, "stack": self._player.stack or 1}
            self._view = SideView(envs.simulator.state, "left", envs.num_left, **seen)

    def __getattr__(self, name: str) -> Any:
        if name == "env":  # not there yet
            raise AttributeError(name)
        return getattr(self.env, name)

    def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict[str, Any]]:
        """As the env's; the teacher forgets the matches that start anew."""
        self._obs, info = self.env.reset(seed=seed, options=options)
        mask = (options or {}).get("reset_mask")
        self._begin(np.ones(self.num_envs, bool) if mask is None else np.asarray(mask, bool))
        return self._obs, info

    def step(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """As the env's, with `info["taught"]`."""
        taught = self._advice(actions.shape)
        if isinstance(self._player, ScriptedPolicy):
            self._player.played(np.asarray(actions, np.int32).reshape(self._shape))
        self._obs, reward, terminated, truncated, info = self.env.step(actions)
        ended = terminated | truncated
        if self._view is not None:
            self._view.push(np.flatnonzero(~ended))
        if ended.any():
            self._begin(ended)
        return self._obs, reward, terminated, truncated, info | {"taught": taught}

    def _advice(self, shape: tuple[int, ...]) -> np.ndarray:
        seen = self._obs
        if self._view is not None:
            seen = self._view.observations if self._shape[1] > 1 else self._view.observations[:, 0]
        wanted = self._player.act(seen, self.simulator.state, "left")
        wanted = checked_actions(wanted, policy=self._name, shape=self._shape, num_actions=self._num_actions)
        wanted = wanted.reshape(self._shape)
        held = self.simulator.state.get("left_sticky")[:, : self._shape[1], :8] > 0
        one_way = (wanted == IDLE) & (held.sum(axis=-1) == 1)
        return np.where(one_way, held.argmax(axis=-1) + LEFT, wanted).astype(np.int32).reshape(shape)

    def _begin(self, mask: np.ndarray) -> None:
        self._player.begin(mask, self.simulator.seeds)
        if self._view is not None:
            self._view.begin(np.flatnonzero(mask))

    def set_state(self, snapshots: Sequence[bytes]) -> np.ndarray:
        """As the env's, with the teacher as `load_teacher_state` leaves it."""
        self._obs = self.env.set_state(snapshots)
        return self._obs

    def teacher_state(self) -> dict[str, Any]:
        """What the teacher remembers, as a checkpoint can hold it."""
        view = None if self._view is None else torch.from_numpy(self._view.observations.copy())
        return {"memory": self._player.memory(), "view": view}

    def load_teacher_state(self, state: Mapping[str, Any]) -> None:
        """Restores `teacher_state()`."""
        self._player.remember(state["memory"])
        if self._view is not None:
            self._view.observations[...] = state["view"].numpy()
