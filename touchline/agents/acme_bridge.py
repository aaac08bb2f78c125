"""Acme and dm_env: `DmEnvironment` is a view of an environment as dm_env's; `AgentActor` and `AgentLearner` are views
of our agents as Acme's, for `acme.EnvironmentLoop` (Hoffman et al. 2020, https://arxiv.org/abs/2006.00979); `Seat` is
where an actor of Acme's kind, written by somebody else, plays a match of ours.

dm_env's conventions (https://github.com/google-deepmind/dm_env/blob/master/docs/index.md): a step is FIRST, MID or
LAST; LAST with discount 0 is terminated, LAST with discount 1 truncated, and its observation is the true last one.
The next episode's first observation comes with FIRST, a step of its own that consumes no action.
"""

from __future__ import annotations

import copy
import queue
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import dm_env
import gymnasium as gym
import numpy as np
import torch
from acme import core
from acme.specs import EnvironmentSpec
from acme.utils import counting, loggers
from dm_env import specs
from torch import Tensor

from touchline.networks import torch_threads
from touchline.rollout import Buffer, Recording, Rollout, side_by_side
from touchline.types import EnvSpec

POLICY = "policy"
"""The name under which a learner gives the weights that acting needs."""


# ---- environments ------------------------------------------------------------------------------------------


class DmEnvironment(dm_env.Environment):
    """A Gymnasium environment as dm_env's.

    Observations are copied, since Acme keeps them. N > 1 controlled players have one reward each, [N].

    Args:
        env: one match, e.g. `gymnasium.make("touchline/5_vs_5-v0")`; closed with this view.
        seed: of the first episode; later ones draw from the environment's own stream. None leaves the first to it too.

    Attributes:
        info: Gymnasium's `info` of the last step or reset, which dm_env has no place for.
    """

    def __init__(self, env: gym.Env, *, seed: int | None = None) -> None:
        self.env, self.info = env, {}
        self._seed, self._ended = seed, True
        players = int(getattr(env.unwrapped, "num_players", 1))
        self._reward = specs.Array((players,) if players > 1 else (), np.float32, "reward")
        self._observation, self._action = _spec(env.observation_space, "observation"), _spec(env.action_space, "action")

    def reset(self) -> dm_env.TimeStep:
        """Begins an episode."""
        observation, self.info = self.env.reset(seed=self._seed)
        self._seed, self._ended = None, False
        return dm_env.restart(_as_spec(observation, self._observation))

    def step(self, action: Any) -> dm_env.TimeStep:
        """Steps the match; after LAST, and on a fresh environment, it resets instead, whatever the action."""
        if self._ended:
            return self.reset()
        observation, reward, terminated, truncated, self.info = self.env.step(action)
        observation, reward = _as_spec(observation, self._observation), _as_spec(reward, self._reward)
        self._ended = terminated or truncated
        if terminated:
            return dm_env.TimeStep(dm_env.StepType.LAST, reward, np.float32(0.0), observation)
        kind = dm_env.StepType.LAST if truncated else dm_env.StepType.MID
        return dm_env.TimeStep(kind, reward, np.float32(1.0), observation)

    def observation_spec(self) -> Any:
        """Arrays; nested in dicts and tuples as the environment's space is."""
        return self._observation

    def action_spec(self) -> specs.Array:
        """A `DiscreteArray`, or a `BoundedArray` [N] of N players' actions."""
        return self._action

    def reward_spec(self) -> specs.Array:
        """A float32, or [N] of them."""
        return self._reward

    def discount_spec(self) -> specs.BoundedArray:
        """A float32, 0 where the match terminated."""
        return specs.BoundedArray((), np.float32, 0.0, 1.0, "discount")

    def close(self) -> None:
        """Closes the environment."""
        self.env.close()


def _spec(space: gym.Space, name: str) -> Any:
    """A space in dm_env's words."""
    if isinstance(space, gym.spaces.Box):
        return specs.BoundedArray(space.shape, space.dtype, space.low, space.high, name)
    if isinstance(space, gym.spaces.Discrete):
        if space.start == 0:
            return specs.DiscreteArray(int(space.n), space.dtype, name)
        return specs.BoundedArray((), space.dtype, space.start, space.start + space.n - 1, name)
    if isinstance(space, gym.spaces.MultiDiscrete):
        return specs.BoundedArray(space.shape, space.dtype, space.start, space.start + space.nvec - 1, name)
    if isinstance(space, gym.spaces.MultiBinary):
        return specs.BoundedArray(space.shape, space.dtype, 0, 1, name)
    if isinstance(space, gym.spaces.Dict):
        return {key: _spec(part, key) for key, part in space.items()}
    if isinstance(space, gym.spaces.Tuple):
        return tuple(_spec(part, f"{name}_{i}") for i, part in enumerate(space.spaces))
    raise ValueError(f"{name}: expected Box, Discrete, MultiDiscrete, MultiBinary, Dict or Tuple, got {space}")


def _as_spec(value: Any, spec: Any) -> Any:
    """A copy of a value as its spec has it."""
    if isinstance(spec, dict):
        return {key: _as_spec(value[key], part) for key, part in spec.items()}
    if isinstance(spec, tuple):
        return tuple(_as_spec(one, part) for one, part in zip(value, spec, strict=True))
    return np.array(value, spec.dtype)


def agent_spec(environment: dm_env.Environment) -> EnvSpec:
    """What our agents need to know of a dm_env environment with one array as its observation and discrete actions."""
    seen, action = environment.observation_spec(), environment.action_spec()
    if not isinstance(seen, specs.Array):
        raise ValueError(
            f"expected one array as the observation, got {type(seen).__name__}: choose another observation"
        )
    if isinstance(action, specs.DiscreteArray):
        shape, players, count = seen.shape, 1, action.num_values
    elif _are_alike_and_discrete(action):
        players, count = action.shape[0], int(action.maximum.flat[0]) + 1
        shape = seen.shape[1:]
        if seen.shape[:1] != (players,):
            raise ValueError(f"expected observations [N, *obs] with N = {players} players, got {seen.shape}")
    else:
        raise ValueError(f"expected discrete actions from 0, or [N] of them with as many choices each, got {action}")
    dtype = "uint8" if seen.dtype == np.uint8 else "float32"
    match = getattr(getattr(environment, "env", None), "unwrapped", None)  # under our own view of it
    stack, features = int(getattr(match, "stack", 1)), dict(getattr(match, "features", {}))
    return EnvSpec(tuple(shape), dtype, count, players, stack, features)


def _are_alike_and_discrete(action: specs.Array) -> bool:
    """[N] actions, each an integer from 0 to the same number."""
    if not isinstance(action, specs.BoundedArray) or len(action.shape) != 1 or action.shape[0] == 0:
        return False
    is_whole = np.issubdtype(action.dtype, np.integer)
    return bool(is_whole and not action.minimum.any() and (action.maximum == action.maximum.flat[0]).all())


# ---- our agents --------------------------------------------------------------------------------------------


class AgentLearner(core.Learner):
    """One of our agents as Acme's learner and source of variables.

    It learns from the unrolls that actors `add`. An agent with bonus streams is refused: `touchline train` pays them.

    Args:
        agent: what `agents.*.make` gives.
        seed: of the order in which it learns from transitions.
        num_unrolls: that a step learns from, side by side; None is what the agent wants of its actors (1 for PPO).
        total_steps: environment steps at which an annealed learning rate is 0; None never anneals.
        counter, logger: Acme's; None counts for itself and logs nothing.
        patience: seconds that a step waits for unrolls, and a full queue for a step: the learner may run in a thread
            of its own.
    """

    def __init__(
        self,
        agent: Any,
        *,
        seed: int = 0,
        num_unrolls: int | None = None,
        total_steps: int | None = None,
        counter: counting.Counter | None = None,
        logger: loggers.Logger | None = None,
        patience: float = 60.0,
    ) -> None:
        if extra := [stream.name for stream in agent.streams[1:]]:
            raise ValueError(f"an environment loop pays no bonus: expected the stream extrinsic alone, got {extra} too")
        if num_unrolls is not None and num_unrolls < 1:
            raise ValueError(f"expected num_unrolls of at least 1, got {num_unrolls}")
        if num_unrolls not in (None, 1) and hasattr(agent, "replay"):
            raise ValueError(f"a replay keeps an actor's unrolls in a row: expected num_unrolls=1, got {num_unrolls}")
        self.agent, self.env_steps, self.total_steps = agent, 0, total_steps
        self.num_unrolls = num_unrolls or getattr(agent, "columns_per_update", 1)
        self._counter, self._logger, self._patience = counter or counting.Counter(), logger, patience
        self._generator = torch.Generator().manual_seed(seed)
        self._unrolls: queue.Queue[Rollout] = queue.Queue(2 * self.num_unrolls)
        self._taken: list[Rollout] = []  # by the step that is being made, or that found too few
        self._learning = threading.Lock()

    def add(self, unroll: Rollout) -> None:
        """Hands over an unroll, in memory of its own, from any thread; TimeoutError where nobody learns from them."""
        try:
            self._unrolls.put(unroll, timeout=self._patience)
        except queue.Full:
            raise TimeoutError(
                f"{self._unrolls.qsize()} unrolls wait, and nobody has made a step in {self._patience:g} seconds: "
                "does the loop update its actor, or the learner run?"
            ) from None

    @property
    def ready(self) -> bool:
        """A step need not wait."""
        return len(self._taken) + self._unrolls.qsize() >= self.num_unrolls

    def step(self) -> None:
        """Learns from the next unrolls; TimeoutError where they do not come, and those that wait go on waiting."""
        try:
            while len(self._taken) < self.num_unrolls:
                self._taken.append(self._unrolls.get(timeout=self._patience))
        except queue.Empty:
            raise TimeoutError(
                f"expected {self.num_unrolls} unrolls to learn from, which did not come in {self._patience:g} seconds: "
                "does an AgentActor with this learner play?"
            ) from None
        unrolls, self._taken = self._taken, []
        rollout = side_by_side(unrolls)
        progress = self.env_steps / self.total_steps if self.total_steps else 0.0
        self.env_steps += rollout.action.numel() // rollout.num_players
        with self._learning:
            metrics = self.agent.learn(rollout, generator=self._generator, progress=min(1.0, progress))
        counts = self._counter.increment(steps=1)
        if self._logger is not None:
            self._logger.write({**metrics, **counts})

    def get_variables(self, names: Sequence[str]) -> list[Any]:
        """The weights that acting needs, nested NumPy arrays; there is "policy" alone."""
        if unknown := set(names) - {POLICY}:
            raise ValueError(f"no {', '.join(sorted(unknown))} in the variables; there is {POLICY}")
        with self._learning:
            return [_mapped(self.agent.policy_state(), Tensor, lambda tensor: tensor.numpy(force=True)) for _ in names]

    def save(self) -> dict[str, Any]:
        """All that `restore` needs, but for unrolls that wait; it does not change when the agent learns on."""
        state = {"agent": self.agent.state_dict(), "generator": self._generator.get_state()}
        return copy.deepcopy({**state, "env_steps": self.env_steps})

    def restore(self, state: Mapping[str, Any]) -> None:
        """Goes on from `save()`."""
        self.agent.load_state_dict(copy.deepcopy(state["agent"]))
        self._generator.set_state(state["generator"])
        self.env_steps = state["env_steps"]


class AgentActor(core.Actor):
    """One of our agents as Acme's actor in one environment.

    What it plays becomes unrolls [T, 1], or [T, N] of N players, the same that `rollout.collect` makes; each goes to
    the learner. Where an episode ends with an unroll, the unroll is whole with the next episode's first observation,
    and the update that was asked for in between is made then. An episode that is left before its LAST costs the unroll
    in the making.

    Args:
        agent: acts; the learner's own, or a copy that `variables` keep up to date.
        learner: takes the unrolls; None only plays.
        variables: where `update` takes weights, before an unroll, and before each episode without a learner; None is
            the learner, if it has another agent.
        steps_learner: `update` also makes the learner's steps that are due. False where it runs in another thread.
        greedy: the best actions instead of sampled ones; not to learn from.
        seed: of the actions.
    """

    def __init__(
        self,
        agent: Any,
        learner: AgentLearner | None = None,
        *,
        variables: core.VariableSource | None = None,
        steps_learner: bool = True,
        greedy: bool = False,
        seed: int = 0,
    ) -> None:
        if greedy and learner is not None:
            raise ValueError("greedy play is not to learn from: expected no learner, or greedy=False")
        if learner is not None and not steps_learner:
            learner.agent.check_lag()
            if learner.agent is agent:
                raise ValueError("the learner changes its agent in another thread: give the actor a copy to act with")
        self.agent, self._learner, self._steps_learner = agent, learner, steps_learner
        own = learner is None or learner.agent is agent
        self._variables = variables if variables is not None else None if own else learner
        self._policy = _Greedy(agent) if greedy else agent
        self._generator = torch.Generator().manual_seed(seed)
        self._buffer = Buffer(agent.spec, 1, agent.config.unroll_length)
        self._threads = 1 if len(agent.spec.observation_shape) == 1 else None
        self._recording: Recording | None = None
        self._time = 0  # in the unroll
        self._last: dm_env.TimeStep | None = None  # waits for the next episode's first observation
        self._due = False  # an update waits with it

    def observe_first(self, timestep: dm_env.TimeStep) -> None:
        """An episode begins; who only plays takes weights for it."""
        if self._learner is None or self._recording is None:
            self._take_weights()
        obs = self._row(timestep.observation)
        if self._last is not None:
            last, self._last = self._last, None
            terminated = np.array([last.discount == 0])
            final = {"final_obs": self._row(last.observation)}
            self._saw(obs, last.reward, terminated, ~terminated, final)
        else:
            self._buffer.state = None
            self._begin(obs)
        if self._due:
            self._due = False
            self._update()

    def select_action(self, observation: Any) -> np.ndarray:
        """The action in what was observed last, or [N] actions."""
        if self._recording is None or self._last is not None:
            raise ValueError("expected observe_first(timestep) before an episode's first select_action")
        with torch_threads(self._threads):
            return self._recording.act(self._time, self._policy, self._generator)[0].copy()

    def observe(self, action: Any, next_timestep: dm_env.TimeStep) -> None:
        """What came of the action."""
        if self._recording is None or self._last is not None:
            raise ValueError("expected observe_first(timestep) before an episode's first observe")
        chosen = self._buffer.action[self._time]
        if not np.array_equal(np.ravel(action), chosen):
            raise ValueError(f"expected the action that select_action gave, {chosen}, got {action}")
        if next_timestep.last():
            self._last = next_timestep._replace(observation=np.array(next_timestep.observation))
            return
        if next_timestep.discount != 1:
            raise ValueError(
                f"expected discount 1 within an episode, got {next_timestep.discount}: our agents discount by gamma"
            )
        runs_on = np.zeros(1, bool)
        self._saw(self._row(next_timestep.observation), next_timestep.reward, runs_on, runs_on.copy(), {})

    def update(self, wait: bool = False) -> None:
        """Makes the learner's steps that are due, and takes weights where an unroll begins; with `wait` anywhere."""
        if self._last is not None and self._time == self._buffer.unroll_length - 1:
            self._due = True
        else:
            self._update()
        if wait:
            self._take_weights()

    def _update(self) -> None:
        if self._learner is not None and self._steps_learner:
            while self._learner.ready:
                self._learner.step()
        if self._time == 0:
            self._take_weights()

    def _take_weights(self) -> None:
        if self._variables is not None:
            (weights,) = self._variables.get_variables([POLICY])
            self.agent.load_policy(_mapped(weights, np.ndarray, lambda array: torch.from_numpy(np.array(array))))

    def _row(self, observation: Any) -> np.ndarray:
        """A copy as the one match of a vector env has it, [1, *obs] or [1, N, *obs]."""
        return np.array(observation, self._buffer.obs.dtype)[None]

    def _begin(self, obs: np.ndarray) -> None:
        self._recording, self._time = Recording(self._buffer, obs, self._policy), 0

    def _saw(
        self, obs: np.ndarray, reward: Any, terminated: np.ndarray, truncated: np.ndarray, info: dict[str, Any]
    ) -> None:
        self._recording.saw(self._time, (obs, np.asarray(reward), terminated, truncated, info))
        self._time += 1
        if self._time < self._buffer.unroll_length:
            return
        if self._learner is not None:
            self._learner.add(self._recording.rollout()._replace(actor=self.agent.actor).clone())
        self._begin(obs)


class _Greedy:
    """An agent that takes the best actions, as `rollout.Recording` asks it; nobody learns from the probabilities."""

    def __init__(self, agent: Any) -> None:
        self._agent = agent

    def initial_state(self, num_columns: int) -> Tensor | None:
        return self._agent.initial_state(num_columns) if hasattr(self._agent, "initial_state") else None

    def act(self, obs: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        action = self._agent.act_greedy(obs)
        return action, torch.zeros(len(action))

    def act_recurrent(self, obs: Tensor, state: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        return self._agent.act_recurrent(obs, state, None)


def _mapped(tree: Any, kind: type, function: Callable[[Any], Any]) -> Any:
    """Dicts, lists and tuples with a function applied to whatever in them is of a kind."""
    if isinstance(tree, Mapping):
        return {name: _mapped(part, kind, function) for name, part in tree.items()}
    if isinstance(tree, list | tuple):
        return type(tree)(_mapped(part, kind, function) for part in tree)
    return function(tree) if isinstance(tree, kind) else tree


# ---- others' actors ----------------------------------------------------------------------------------------


def match_spec(observation: np.ndarray, num_actions: int, num_players: int = 1) -> EnvironmentSpec:
    """What an actor is told of a match; the bounds of observations are those of their type.

    Args:
        observation: one, [*obs] or [N, *obs].
        num_players: N; with more than one, actions and rewards are [N].
    """
    whole = np.issubdtype(observation.dtype, np.integer)
    low, high = (np.iinfo(observation.dtype).min, np.iinfo(observation.dtype).max) if whole else (-np.inf, np.inf)
    seen = specs.BoundedArray(observation.shape, observation.dtype, low, high, "observation")
    discount = specs.BoundedArray((), np.float32, 0.0, 1.0, "discount")
    if num_players == 1:
        action: specs.Array = specs.DiscreteArray(num_actions, np.int64, "action")
        return EnvironmentSpec(seen, action, specs.Array((), np.float32, "reward"), discount)
    action = specs.BoundedArray((num_players,), np.int64, 0, num_actions - 1, "action")
    return EnvironmentSpec(seen, action, specs.Array((num_players,), np.float32, "reward"), discount)


class Seat:
    """Where an actor plays one match; it is asked in the order in which `acme.EnvironmentLoop` asks.

    The reward is the change of the goal difference, as scenarios pay it. Who only plays is not told of a match's end,
    so there is no LAST: an actor serves one match and is then dropped.
    """

    def __init__(self, actor: core.Actor, spec: EnvironmentSpec) -> None:
        needed = ("select_action", "observe_first", "observe", "update")
        if missing := [name for name in needed if not callable(getattr(actor, name, None))]:
            raise ValueError(f"make_actor: expected an acme.core.Actor, got {actor!r} without {', '.join(missing)}")
        self._actor, self._reward = actor, spec.rewards
        self._action: Any = None
        self._difference = 0

    def act(self, observation: np.ndarray, difference: int) -> Any:
        """The actor's next action, for a copy of an observation and its side's goal difference."""
        observation = observation.copy()
        if self._action is None:
            self._actor.observe_first(dm_env.restart(observation))
        else:
            reward = np.full(self._reward.shape, difference - self._difference, self._reward.dtype)
            step = dm_env.TimeStep(dm_env.StepType.MID, reward, np.float32(1.0), observation)
            self._actor.observe(self._action, step)
            self._actor.update()
        self._action, self._difference = self._actor.select_action(observation), difference
        return self._action
