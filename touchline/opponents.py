"""Who drives the other side while an agent trains: fixed players, and the agent's own past (self-play).

For every episode of every match an opponent is drawn from a pool: with some probability the newest past self, with
some anybody, otherwise by prioritised fictitious self-play (Vinyals et al. 2019, AlphaStar,
https://doi.org/10.1038/s41586-019-1724-z, methods), which prefers whom the agent does not beat yet.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from gymnasium import spaces

from touchline.benchmarks.policies import Policy, against, checked_actions, is_engine, load_policy
from touchline.envs.actions import num_actions
from touchline.envs.side_view import SideView
from touchline.train_config import TrainConfig, config_of

SELF = "self"
"""Stands for the learning agent's own past among the names of opponents."""

CHOICES = ("pfsp", "uniform")
WEIGHTINGS = ("hard", "even")


@dataclass(frozen=True)
class OpponentConfig:
    """How opponents are drawn, and when the agent's past becomes one.

    Attributes:
        choice: "pfsp", or "uniform" over all members.
        weighting: of "pfsp", with x the learner's expected points: "hard" (1 - x)^power, "even" x (1 - x).
        power: of "hard".
        latest_share: share of the episodes against the newest arrival, a past self or an exploiter.
        uniform_share: share of the episodes against anybody, all alike.
        snapshot_interval: environment steps between copies of the learning policy.
        capacity: past selves kept; beyond it the one that the learner beats most surely goes.
        memory: games after which a result has lost two thirds of its weight in a member's record.
    """

    choice: str = "pfsp"
    weighting: str = "hard"
    power: float = 2.0
    latest_share: float = 0.3
    uniform_share: float = 0.2
    snapshot_interval: int = 500_000
    capacity: int = 20
    memory: float = 100.0

    def __post_init__(self) -> None:
        for name, known in (("choice", CHOICES), ("weighting", WEIGHTINGS)):
            if getattr(self, name) not in known:
                raise ValueError(f"no {name} {getattr(self, name)!r}; there are {', '.join(known)}")
        shares = (self.latest_share, self.uniform_share)
        if min(shares) < 0 or sum(shares) > 1:
            raise ValueError(f"expected latest_share and uniform_share of 0 or more, at most 1 together, got {shares}")
        if self.snapshot_interval < 1 or self.capacity < 1 or self.power <= 0 or self.memory < 1:
            raise ValueError("expected snapshot_interval, capacity and memory of at least 1, and power above 0")


@dataclass
class Member:
    """One opponent and the learner's record against it.

    Attributes:
        name: unique in its pool.
        weights: of a past self (`policy_state` of the agent); None for a fixed player.
        points, games: the learner's, a win 1 and a draw 1/2, older games weighing less.
        protected: never dropped.
    """

    name: str
    weights: dict[str, Any] | None = None
    points: float = 0.0
    games: float = 0.0
    protected: bool = False

    @property
    def expected(self) -> float:
        """The learner's expected points in a game, 0 to 1, one half before any is known."""
        return (self.points + 1.0) / (self.games + 2.0)


def pfsp_weights(expected: np.ndarray, *, weighting: str = "hard", power: float = 2.0) -> np.ndarray:
    """Probabilities [K] to meet opponents against whom the learner expects `expected` [K] points a game."""
    x = np.asarray(expected, np.float64)
    weights = (1 - x) ** power if weighting == "hard" else x * (1 - x)
    total = weights.sum()
    return weights / total if total > 0 else np.full(len(x), 1 / len(x))


class OpponentPool:
    """Fixed players and past selves, and the choice among them.

    Args:
        fixed: names of fixed players, unique.
        config: how opponents are drawn.
        seed: of the draws.
    """

    def __init__(self, fixed: Sequence[str], config: OpponentConfig | None = None, *, seed: int = 0) -> None:
        if len(set(fixed)) != len(fixed):
            raise ValueError(f"expected every opponent once, got {', '.join(fixed)}")
        self.config = config or OpponentConfig()
        self.members = [Member(name, protected=True) for name in fixed]
        self._generator = np.random.default_rng(seed)

    @property
    def past(self) -> list[Member]:
        """Past selves, oldest first."""
        return [member for member in self.members if member.weights is not None]

    def __getitem__(self, name: str) -> Member:
        for member in self.members:
            if member.name == name:
                return member
        raise KeyError(f"no {name!r} in the pool; there are {', '.join(member.name for member in self.members)}")

    def add(self, name: str, weights: Mapping[str, Any]) -> None:
        """A past self enters; where there are too many, the one that is beaten most surely leaves."""
        self.members.append(Member(name, dict(weights)))
        while len(past := self.past) > self.config.capacity:
            leaving = [member for member in past[:-1] if not member.protected]
            if not leaving:
                break
            self.members.remove(max(leaving, key=lambda member: member.expected))

    def choose(self) -> str:
        """The opponent of a new episode."""
        if not self.members:
            raise ValueError("a pool without members: name an opponent, or `self` and call `add` first")
        config, draw, past = self.config, self._generator.random(), self.past
        if past and draw < config.latest_share:
            return past[-1].name
        if config.choice == "uniform" or draw > 1 - config.uniform_share:
            return self.members[self._generator.integers(len(self.members))].name
        expected = np.array([member.expected for member in self.members])
        weights = pfsp_weights(expected, weighting=config.weighting, power=config.power)
        return self.members[self._generator.choice(len(self.members), p=weights)].name

    def report(self, name: str, points: float) -> None:
        """The learner made `points` (1, 1/2, 0) in a game against a member; one that has left is forgotten."""
        for member in self.members:
            if member.name == name:
                kept = 1 - 1 / self.config.memory
                member.points, member.games = member.points * kept + points, member.games * kept + 1

    def forget_records(self) -> None:
        """Nobody has played against anybody yet."""
        for member in self.members:
            member.points = member.games = 0.0

    def state_dict(self) -> dict[str, Any]:
        return {
            "members": [vars(member).copy() for member in self.members],
            "generator": json.dumps(self._generator.bit_generator.state),
        }

    def load_members(self, state: Mapping[str, Any]) -> None:
        """Takes the members of a `state_dict()`, not its random numbers."""
        self.members = [Member(**member) for member in state["members"]]

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.load_members(state)
        self._generator.bit_generator.state = json.loads(state["generator"])


def metrics_of(pools: Sequence[OpponentPool]) -> dict[str, float]:
    """The learner's expected points against every fixed player and, on average, against its past, in all pools."""
    points: dict[str, list[float]] = {}
    for pool in pools:
        for member in pool.members:
            name = member.name if member.weights is None else "past"
            points.setdefault(f"opponents/points_against_{name}", []).append(member.expected)
    out = {name: float(np.mean(values)) for name, values in points.items()}
    past = [len(pool.past) for pool in pools]
    return out | ({"opponents/past_selves": float(past[0])} if any(past) else {})


@dataclass
class _Seat:
    """A fixed player at the other side, and what it sees."""

    player: Policy
    view: SideView | None


@dataclass
class _Past:
    """A past self at the other side, which plays its games to the end even if it has left the pool meanwhile."""

    agent: Any
    weights: Mapping[str, Any]
    memory: torch.Tensor | None = field(default=None)


class OpponentEnv(gym.vector.VectorEnv):
    """A vector env whose right side is driven by opponents: the agent sees and drives the left players alone.

    Args:
        envs: a `FootballVectorEnv` with controlled players on both sides, in the action set "v2" if an opponent needs
            that.
        pool: opponents.
        action_set: that the agent acts in.
        seed: of the opponents' own random draws.
        trust: SB3 zips, which hold pickles, may be opponents.

    Attributes:
        playing: name of each match's opponent, [B].
        make_agent: makes an agent like the learning one; None without self-play.
    """

    def __init__(
        self, envs: Any, pool: OpponentPool, *, action_set: str = "default", seed: int = 0, trust: bool = False
    ) -> None:
        if not (envs.num_left and envs.num_right):
            raise ValueError(
                f"opponents need controlled players on both sides, got left={envs.num_left} and right={envs.num_right}"
            )
        self.envs, self.pool, self.num_envs = envs, pool, envs.num_envs
        self.num_left, self.num_right, self.num_players = envs.num_left, envs.num_right, envs.num_left
        self.metadata, self.render_mode, self.scenario = envs.metadata, envs.render_mode, envs.scenario
        self.stack, self.features, self.central = envs.stack, envs.features, envs.central
        self.simulator = envs.simulator
        space, actions = envs.single_observation_space, num_actions(action_set)
        left = (slice(0, self.num_left), slice(None)) if self.num_left > 1 else 0
        self.single_observation_space = spaces.Box(space.low[left], space.high[left], dtype=space.dtype)
        many = spaces.MultiDiscrete([actions] * self.num_left)
        self.single_action_space = many if self.num_left > 1 else spaces.Discrete(actions)
        self.observation_space = gym.vector.utils.batch_space(self.single_observation_space, self.num_envs)
        self.action_space = gym.vector.utils.batch_space(self.single_action_space, self.num_envs)
        self._own_actions, self._num_actions = actions, int(envs.single_action_space.nvec[0])
        self._seed, self._trust, self._generator = seed, trust, torch.Generator().manual_seed(seed)
        self._actions = np.zeros((self.num_envs, self.num_left + self.num_right), np.int32)
        self._rows = np.arange(self.num_envs)
        self._views: dict[tuple[str, int], SideView] = {}
        self._seats = {member.name: self._seat(member.name) for member in pool.members if member.weights is None}
        self._past: dict[str, _Past] = {}
        self.make_agent: Callable[[], Any] | None = None
        self._obs = np.zeros(0)
        self.playing = np.full(self.num_envs, "", object)

    def _seat(self, name: str) -> _Seat:
        plain = name.partition(":")[0] if is_engine(name) else name
        player = load_policy(plain, num_players=self.num_right, seed=self._seed, trust=self._trust)
        if player.observation is None:
            return _Seat(player, None)
        key = player.observation, player.stack or 1
        if key not in self._views:
            self._views[key] = SideView(self.simulator.state, "right", self.num_right, observation=key[0], stack=key[1])
        return _Seat(player, self._views[key])

    # ------------------------------------------------------------------------------------------ the agent's past

    @property
    def plays_itself(self) -> bool:
        """Past selves may be among the opponents."""
        return self.make_agent is not None

    def play_itself(self, make_agent: Callable[[], Any], weights: Mapping[str, Any]) -> None:
        """The agent's past may play from here on, beginning with `weights`."""
        self.make_agent = make_agent
        self.pool.add("self-0", weights)

    def learned(self, env_steps: int, before: int, weights: Callable[[], Mapping[str, Any]]) -> None:
        """The agent has learned, from `before` to `env_steps` environment steps; takes a copy of it if one is due."""
        interval = self.pool.config.snapshot_interval
        if self.plays_itself and env_steps // interval > before // interval:
            self.pool.add(f"self-{env_steps}", weights())

    def _past_self(self, name: str) -> _Past:
        if name not in self._past:
            self._past[name] = self._seated(self.pool[name].weights)
        return self._past[name]

    def _seated(self, weights: Mapping[str, Any], memory: torch.Tensor | None = None) -> _Past:
        agent = self.make_agent()
        agent.load_policy(weights)
        return _Past(getattr(agent, "as_opponent", lambda: agent)(), weights, memory)

    # ------------------------------------------------------------------------------------------ reset and step

    def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict[str, Any]]:
        """As `FootballVectorEnv.reset`; matches that start anew draw opponents."""
        self._obs, info = self.envs.reset(seed=seed, options=options)
        mask = (options or {}).get("reset_mask")
        self._begin(self._rows if mask is None else np.flatnonzero(mask))
        return self._left(self._obs), info

    def step(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """As `FootballVectorEnv.step`, with the left side's actions; `info["opponent"]` [B] names who played."""
        self._actions[:, : self.num_left] = np.asarray(actions).reshape(self.num_envs, self.num_left)
        self._act()
        self._obs, reward, terminated, truncated, info = self.envs.step(self._actions)
        ended = terminated | truncated
        info = self._left_info(info) | {"opponent": self.playing.copy()}
        rows = np.flatnonzero(ended)
        running = np.flatnonzero(~ended) if len(rows) else self._rows
        for view in self._views.values():
            view.push(running)
        if len(rows):
            lost = info.get("lost", np.zeros(self.num_envs, bool))
            ahead = info["episode"]["goals_left"] - info["episode"]["goals_right"]
            for b in rows[~lost[rows]]:
                self.pool.report(self.playing[b], (float(np.sign(ahead[b])) + 1) / 2)
            self._begin(rows)
        return self._left(self._obs), self._left(reward), terminated, truncated, info

    def action_masks(self) -> np.ndarray:
        """As `FootballVectorEnv.action_masks`, of the left side's agents and the actions that they have."""
        return self._left(self.envs.action_masks())[..., : self._own_actions]

    def _begin(self, rows: np.ndarray) -> None:
        """New episodes have started in matches `rows` [K]: they draw opponents, who forget the old ones."""
        for b in rows:
            self.playing[b] = name = self.pool.choose()
            if name not in self._seats:  # now, for it may leave the pool before it plays
                self._past_self(name)
        mask = np.zeros(self.num_envs, bool)
        mask[rows] = True
        for seat in self._seats.values():
            seat.player.begin(mask, self.simulator.seeds)
        for view in self._views.values():
            view.begin(rows)
        self._past = {name: past for name, past in self._past.items() if name in self.playing}
        columns = torch.from_numpy(np.repeat(mask, self.num_right))
        for past in self._past.values():
            if past.memory is not None:
                past.memory[:, columns] = 0.0

    def _act(self) -> None:
        """Fills in the right side's actions, opponent by opponent."""
        shape, right = (self.num_envs, self.num_right), self._actions[:, self.num_left :]
        for name in dict.fromkeys(self.playing):
            mine = np.flatnonzero(self.playing == name)
            if name in self._seats:
                seat = self._seats[name]
                seen = self._obs[:, self.num_left :] if seat.view is None else seat.view.observations
                seen = seen[:, 0] if self.num_right == 1 else seen
                wanted = seat.player.act(seen, self.simulator.state, "right")
                wanted = checked_actions(wanted, policy=name, shape=shape, num_actions=self._num_actions)
                right[mine] = wanted[mine]
            else:
                right[mine] = self._act_as_past(self._past_self(name), mine)

    def _act_as_past(self, past: _Past, mine: np.ndarray) -> np.ndarray:
        """Actions [K, R] of a past self in matches `mine` [K]."""
        size = past.agent.spec.own.observation_shape[-1]
        obs = torch.from_numpy(np.ascontiguousarray(self._obs[mine, self.num_left :, ..., :size])).flatten(0, 1)
        if past.memory is None:
            begin = getattr(past.agent, "initial_state", lambda columns: None)
            past.memory = begin(self.num_envs * self.num_right)
        if past.memory is None:
            action, _ = past.agent.act(obs, self._generator)
        else:
            columns = (mine[:, None] * self.num_right + np.arange(self.num_right)).reshape(-1)
            action, _, after = past.agent.act_recurrent(obs, past.memory[:, columns], self._generator)
            past.memory[:, columns] = after
        return action.numpy(force=True).reshape(len(mine), self.num_right)

    def _left(self, array: np.ndarray) -> np.ndarray:
        """The left players' part of [B, N, ...]; without their axis if there is one."""
        return array[:, 0] if self.num_left == 1 else array[:, : self.num_left]

    def _left_info(self, info: dict[str, Any]) -> dict[str, Any]:
        out = dict(info)
        if "final_obs" in info:
            out["final_obs"] = self._left(info["final_obs"])
            out["final_info"] = info["final_info"] | {"reward": self._left(info["final_info"]["reward"])}
        out["reward_terms"] = {name: self._left(values) for name, values in info["reward_terms"].items()}
        if "sent_off" in info:
            out |= {name: info[name][:, : self.num_left] for name in ("sent_off", "were_off")}
        return out

    # ------------------------------------------------------------------------------------------ state

    def get_state(self) -> list[bytes]:
        """A snapshot of every match; `opponents_state` has the rest."""
        return self.envs.get_state()

    def set_state(self, snapshots: Sequence[bytes]) -> np.ndarray:
        """Continues every match from a snapshot, with opponents as `load_opponents_state` left them."""
        self._obs = self.envs.set_state(snapshots)
        return self._left(self._obs)

    def opponents_state(self) -> dict[str, Any]:
        """The pool, who plays where, and what opponents remember, as a checkpoint can hold it."""
        return {
            "pool": self.pool.state_dict(),
            "playing": list(self.playing),
            "generator": self._generator.get_state(),
            "seats": {name: seat.player.memory() for name, seat in self._seats.items()},
            "views": [torch.from_numpy(view.observations.copy()) for view in self._views.values()],
            "past": {name: {"weights": p.weights, "memory": p.memory} for name, p in self._past.items()},
        }

    def load_opponents_state(self, state: Mapping[str, Any]) -> None:
        """Restores `opponents_state()`."""
        self.pool.load_state_dict(state["pool"])
        self.playing[:] = state["playing"]
        self._generator.set_state(state["generator"])
        for name, seat in self._seats.items():
            seat.player.remember(state["seats"][name])
        for view, observations in zip(self._views.values(), state["views"], strict=True):
            view.observations[...] = observations.numpy()
        self._past = {name: self._seated(**past) for name, past in state["past"].items()}

    def close_extras(self, **kwargs: Any) -> None:
        """Frees the matches."""
        self.envs.close()


def make_opponent_env(config: TrainConfig, options: Mapping[str, Any]) -> OpponentEnv:
    """The vector env of a config with opponents; `options` are those of `make_vec`."""
    import touchline

    fixed = [name for name in config.opponent if name != SELF]
    pool = OpponentPool(fixed, config_of(OpponentConfig, config.opponent_config), seed=config.seed)
    needs_v2 = any(is_engine(name) or load_policy(name, trust=config.trust).action_set == "v2" for name in fixed)
    sets = {**options, "action_set": "v2" if needs_v2 else config.action_set}
    envs = touchline.make_vec(against(config.scenario, fixed), **{k: v for k, v in sets.items() if v is not None})
    return OpponentEnv(envs, pool, action_set=config.action_set, seed=config.seed, trust=config.trust)
