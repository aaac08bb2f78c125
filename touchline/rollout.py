"""Rollouts, and `collect`, the only place where a policy meets a vector environment."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from touchline.types import EnvSpec

_CHUNK = 1 << 26  # numbers that one call of a value function is given at most, to bound memory on pictures


class Policy(Protocol):
    """What `collect` asks of an agent.

    One with a memory has `initial_state(B)`, the memory [2, B, H] at the start of an episode, or None, and then
    `act_recurrent(obs, state, generator)`, which gives the state after it beside actions and log-probabilities. Where
    several policies take turns in acting, `acting(state)` says which did, [B] int8, given the state after the step.
    """

    def act(self, obs: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Samples actions [B] int64 and their log-probabilities [B] for obs [B, *obs]."""


class Rollout(NamedTuple):
    """T steps of B columns, time-major. `obs[t]` led to `action[t]`, `reward[t]` and `next_obs()[t]`.

    N controlled players of an env are N neighbouring columns: B here is num_envs * N, env-major. The tensors live in
    a `Buffer` and are overwritten by the next `collect` into it.

    Attributes:
        obs: [T+1, B, *obs]; where an episode ended at t, obs[t+1] is already the next episode's first.
        action: [T, B] int64.
        reward: [T, B] float32, the environment's own reward.
        terminated, truncated: [T, B] bool.
        behaviour_log_prob: [T, B] log-probability of the action under the policy that acted.
        mask: [T, B] bool, False where the transition is meaningless (its match was lost with a crashed worker, or its
            player had been sent off before; the transition that sent him off counts as terminated).
        final_index: [K, 2] int64, (t, column) of the transitions that ended an episode.
        final_obs: [K, *obs], the observation each of them really ended in.
        num_players: N.
        episodes: statistics of the E episodes that ended, {name: [E]}.
        actor: which of the actors played it.
        initial_state: [2, B, H] memory of a recurrent policy before obs[0].
        priority: [T, B], how much its actor expects to be learned from each transition, if it was asked.
        acting: [T, B] int8, the stream whose policy acted, where several take turns (MULEX).
        taught: [T, B] int64, what a teacher would have done, where there is one.
    """

    obs: Tensor
    action: Tensor
    reward: Tensor
    terminated: Tensor
    truncated: Tensor
    behaviour_log_prob: Tensor
    mask: Tensor
    final_index: Tensor
    final_obs: Tensor
    num_players: int
    episodes: dict[str, np.ndarray]
    actor: int = 0
    initial_state: Tensor | None = None
    priority: Tensor | None = None
    acting: Tensor | None = None
    taught: Tensor | None = None

    def next_obs(self) -> Tensor:
        """[T, B, *obs] observations the transitions really ended in (a copy)."""
        out = self.obs[1:].clone()
        out[self.final_index[:, 0], self.final_index[:, 1]] = self.final_obs
        return out

    def values(self, value_of: Callable[[Tensor], Tensor]) -> tuple[Tensor, Tensor]:
        """Values [T+1, B, ...] of all observations, and [T, B, ...] of each transition's true next state.

        Args:
            value_of: [K, *obs] to [K, ...]; called on the few final observations apart.
        """
        values = _in_chunks(value_of, self.obs.flatten(0, 1)).unflatten(0, self.obs.shape[:2])
        return values, self.true_next(values, value_of)

    def true_next(self, values: Tensor, value_of: Callable[[Tensor], Tensor]) -> Tensor:
        """Values [T, B, ...] of each transition's true next state, given those [T+1, B, ...] of `obs`."""
        next_values = values[1:].clone()
        if len(self.final_index):
            finals = _in_chunks(value_of, self.final_obs)
            next_values[self.final_index[:, 0], self.final_index[:, 1]] = finals
        return next_values

    def clone(self) -> Rollout:
        """The same in memory of its own."""
        return self._replace(**{k: v.clone() for k, v in self._asdict().items() if isinstance(v, Tensor)})

    def columns(self, chosen: Tensor) -> Rollout:
        """The rollout of some columns [K] alone, in that order, each for itself; `episodes` are left out."""
        place = torch.full(self.action.shape[1:], -1, device=chosen.device)
        place[chosen] = torch.arange(len(chosen), device=chosen.device)
        kept = place[self.final_index[:, 1]] >= 0
        index = self.final_index[kept].clone()
        index[:, 1] = place[index[:, 1]]
        whole = {k: v for k, v in self._asdict().items() if isinstance(v, Tensor) and not k.startswith("final")}
        parts = {name: tensor[:, chosen] for name, tensor in whole.items()}
        return self._replace(**parts, final_index=index, final_obs=self.final_obs[kept], num_players=1, episodes={})

    def without_ends(self) -> Rollout:
        """The same for a stream whose return runs on through ends of episodes: only lost matches cut it."""
        cut = ~self.mask
        cut[:-1] |= ~self.mask[1:]
        return self._replace(terminated=torch.zeros_like(self.terminated), truncated=cut)

    def to(self, device: torch.device | str) -> Rollout:
        """The rollout with its tensors on a device."""
        return self._replace(**{k: v.to(device) for k, v in self._asdict().items() if isinstance(v, Tensor)})


def side_by_side(rollouts: Sequence[Rollout]) -> Rollout:
    """Rollouts of equal T as one, [T, B1 + B2 + ...]."""
    if len(rollouts) == 1:
        return rollouts[0]
    firsts = np.cumsum([0, *(rollout.action.shape[1] for rollout in rollouts)])
    shifts = [torch.tensor([0, int(first)]) for first in firsts[:-1]]
    names = [k for k, v in rollouts[0]._asdict().items() if isinstance(v, Tensor) and not k.startswith("final")]
    statistics = {name for rollout in rollouts for name in rollout.episodes}
    return rollouts[0]._replace(
        **{name: torch.cat([getattr(rollout, name) for rollout in rollouts], 1) for name in names},
        final_index=torch.cat([rollout.final_index + shift for rollout, shift in zip(rollouts, shifts, strict=True)]),
        final_obs=torch.cat([rollout.final_obs for rollout in rollouts]),
        episodes={
            name: np.concatenate([rollout.episodes[name] for rollout in rollouts if name in rollout.episodes])
            for name in statistics
        },
    )


class Buffer:
    """The memory of a rollout, allocated once: NumPy arrays that the same-named torch tensors look into.

    Args:
        spec: shapes of the environment.
        num_envs: matches; the columns are num_envs * spec.num_players.
        unroll_length: T.
        pinned: lock the pages of the observations, so that a GPU fetches them faster.
    """

    def __init__(self, spec: EnvSpec, num_envs: int, unroll_length: int, *, pinned: bool = False) -> None:
        T, B = unroll_length, num_envs * spec.num_players
        self.spec, self.num_envs, self.unroll_length, self.columns = spec, num_envs, T, B
        obs = torch.zeros((T + 1, B, *spec.observation_shape), dtype=getattr(torch, spec.observation_dtype))
        self.obs = (obs.pin_memory() if pinned else obs).numpy()
        self.action = np.zeros((T, B), np.int64)
        self.reward = np.zeros((T, B), np.float32)
        self.terminated = np.zeros((T, B), bool)
        self.truncated = np.zeros((T, B), bool)
        self.behaviour_log_prob = np.zeros((T, B), np.float32)
        self.mask = np.ones((T, B), bool)
        self.state: Tensor | None = None  # memory of a recurrent policy after the last rollout
        self.acting = torch.zeros((T, B), dtype=torch.int8)
        self.taught = torch.zeros((T, B), dtype=torch.int64)
        names = ("obs", "action", "reward", "terminated", "truncated", "behaviour_log_prob", "mask")
        self.tensors = {name: torch.from_numpy(getattr(self, name)) for name in names}


def env_spec(envs: Any) -> EnvSpec:
    """Shapes and counts of a vector env, one player's worth of each."""
    space, players = envs.single_observation_space, int(getattr(envs, "num_players", 1))
    shape = tuple(space.shape)
    if players > 1:
        if shape[:1] != (players,):
            raise ValueError(f"expected observations [N, *obs] with N = {players} players, got {shape}")
        shape = shape[1:]
    actions = envs.single_action_space
    num_actions = int(actions.nvec[0]) if hasattr(actions, "nvec") else int(actions.n)
    stack = int(getattr(envs, "stack", 1))
    features = dict(getattr(envs, "features", {}))
    central = int(getattr(envs, "central", 0))
    return EnvSpec(shape, str(np.dtype(space.dtype)), num_actions, players, stack, features, central)


class Recording:
    """A rollout in the making: what the policy did and what came of it, into a buffer, one step at a time."""

    def __init__(self, buffer: Buffer, obs: np.ndarray, policy: Policy) -> None:
        spec, columns = buffer.spec, (buffer.columns, *buffer.spec.observation_shape)
        if obs.size != np.prod(columns):
            raise ValueError(
                f"expected obs of {buffer.num_envs} envs, {columns} in all, got {obs.shape}: another env's?"
            )
        self.buffer, self._columns, self._players = buffer, columns, spec.num_players
        self._finals: dict[tuple[int, int], np.ndarray] = {}
        self._episodes: dict[str, list[np.ndarray]] = {}
        shape = (buffer.unroll_length, buffer.num_envs)
        self._env_actions = buffer.action if spec.num_players == 1 else buffer.action.reshape(*shape, spec.num_players)
        buffer.obs[0] = obs.reshape(columns)
        buffer.mask.fill(True)
        if buffer.state is None and hasattr(policy, "initial_state"):
            buffer.state = policy.initial_state(buffer.columns)
        self._first_state = None if buffer.state is None else buffer.state.clone()
        self._takes_turns = buffer.state is not None and hasattr(policy, "acting")
        self._is_taught = False

    def act(self, t: int, policy: Policy, generator: torch.Generator) -> np.ndarray:
        """The actions of step t, as the envs take them."""
        obs, state = self.buffer.tensors["obs"][t], self.buffer.state
        if state is None:
            action, log_prob = policy.act(obs, generator)
        else:
            action, log_prob, self.buffer.state = policy.act_recurrent(obs, state, generator)
            if self._takes_turns:
                self.buffer.acting[t] = policy.acting(self.buffer.state)
        self.buffer.action[t] = action.numpy(force=True)
        self.buffer.behaviour_log_prob[t] = log_prob.numpy(force=True)
        return self._env_actions[t]

    def saw(self, t: int, step: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]) -> None:
        """What came of step t."""
        buffer, N, (obs, reward, terminated, truncated, info) = self.buffer, self._players, step
        buffer.obs[t + 1] = obs.reshape(self._columns)
        buffer.reward[t] = reward.reshape(-1)
        buffer.terminated[t] = _per_player(terminated, N)
        buffer.truncated[t] = _per_player(truncated, N)
        if "taught" in info:
            self._is_taught = True
            buffer.taught[t] = torch.from_numpy(info["taught"].reshape(-1))
        if "sent_off" in info:
            were_off = info["were_off"].reshape(-1)
            buffer.mask[t] &= ~were_off
            buffer.terminated[t] |= info["sent_off"].reshape(-1) & ~were_off
        ended = terminated | truncated
        if buffer.state is not None and ended.any():
            buffer.state[:, torch.from_numpy(_per_player(ended, N))] = 0.0
        if "lost" in info and info["lost"].any():
            ended &= ~info["lost"]
            for column in np.flatnonzero(_per_player(info["lost"], N)):
                _lose(buffer, t, int(column), self._finals)
        if ended.any():
            if "final_obs" not in info:
                raise ValueError('an episode ended without info["final_obs"]: AutoresetMode.SAME_STEP?')
            rows = info["final_obs"].reshape(self._columns)
            for column in np.flatnonzero(_per_player(ended, N)):
                self._finals[t, int(column)] = rows[column].copy()
            for name, numbers in info.get("episode", {}).items():
                self._episodes.setdefault(name, []).append(np.asarray(numbers)[ended])

    def rollout(self) -> Rollout:
        """All of it."""
        finals = self._finals
        index = torch.tensor(list(finals), dtype=torch.int64).reshape(-1, 2)
        rows = np.stack(list(finals.values())) if finals else np.zeros((0, *self._columns[1:]), self.buffer.obs.dtype)
        return Rollout(
            **self.buffer.tensors,
            final_index=index,
            final_obs=torch.from_numpy(rows),
            num_players=self._players,
            episodes={name: np.concatenate(parts) for name, parts in self._episodes.items()},
            initial_state=self._first_state,
            acting=self.buffer.acting if self._takes_turns else None,
            taught=self.buffer.taught if self._is_taught else None,
        )


def collect(
    envs: Any, policy: Policy, obs: np.ndarray, buffer: Buffer, generator: torch.Generator
) -> tuple[Rollout, np.ndarray]:
    """Steps `envs` T times with `policy` and returns the rollout and the observation to go on from.

    A match whose worker crashed (`info["lost"]`) counts as truncated at its last valid observation: its
    meaningless transition is masked, and the one before it bootstraps from the observation it led to.

    Args:
        envs: a Gymnasium vector env with same-step automatic reset.
        obs: the observation of `envs.reset` or of the last `collect`, [num_envs, *obs] or [num_envs, N, *obs].
        buffer: memory, overwritten.
        generator: the source of the policy's randomness.
    """
    recording = Recording(buffer, obs, policy)
    for t in range(buffer.unroll_length):
        recording.saw(t, envs.step(recording.act(t, policy, generator)))
    return recording.rollout(), buffer.obs[-1]


def collect_alternating(
    halves: Sequence[Any],
    policy: Policy,
    obs: Sequence[np.ndarray],
    buffers: Sequence[Buffer],
    generator: torch.Generator,
) -> tuple[Rollout, list[np.ndarray]]:
    """As `collect`, from two vector envs in turns: one is stepped by a thread while the policy acts for the other.

    Worth it where acting keeps another processor busy, as on a GPU. The result depends on no timing.

    Args:
        halves: two vector envs (or more, or one: then there is nothing to alternate with); their columns lie side by
            side in the rollout.
        obs, buffers: of each half.
    """
    if len(halves) == 1:
        rollout, last = collect(halves[0], policy, obs[0], buffers[0], generator)
        return rollout, [last]
    recordings = [Recording(buffer, one, policy) for buffer, one in zip(buffers, obs, strict=True)]
    with ThreadPoolExecutor(len(halves)) as pool:
        running: list[Future[Any] | None] = [None] * len(halves)
        for t in range(buffers[0].unroll_length + 1):
            for h, envs in enumerate(halves):
                if running[h] is not None:
                    recordings[h].saw(t - 1, running[h].result())
                if t < buffers[0].unroll_length:
                    running[h] = pool.submit(envs.step, recordings[h].act(t, policy, generator))
    rollout = side_by_side([recording.rollout() for recording in recordings])
    return rollout, [buffer.obs[-1] for buffer in buffers]


def _lose(buffer: Buffer, t: int, column: int, finals: dict[tuple[int, int], np.ndarray]) -> None:
    buffer.mask[t, column] = False
    buffer.reward[t, column] = 0.0
    buffer.terminated[t, column], buffer.truncated[t, column] = False, True
    finals[t, column] = buffer.obs[t, column].copy()
    if t and not buffer.terminated[t - 1, column]:
        buffer.truncated[t - 1, column] = True  # its true next observation is obs[t], so no final_obs is needed


def _per_player(flags: np.ndarray, num_players: int) -> np.ndarray:
    return flags if num_players == 1 else np.repeat(flags, num_players)


def _in_chunks(function: Callable[[Tensor], Tensor], rows: Tensor) -> Tensor:
    size = max(1, _CHUNK // max(1, rows[0].numel()))
    return function(rows) if len(rows) <= size else torch.cat([function(part) for part in rows.split(size)])
