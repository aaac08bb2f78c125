"""`FootballVectorEnv`: B matches as one Gymnasium vector environment, the core that the other views share."""

from __future__ import annotations

import hashlib
import operator
import struct
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode

from touchline import scenarios
from touchline.envs import global_state
from touchline.envs.action_masks import action_masks
from touchline.envs.actions import check_actions, num_actions
from touchline.envs.control import controlled_scenario
from touchline.envs.global_state import WithGlobalState
from touchline.envs.observations import OBSERVATIONS, Observation
from touchline.envs.rewards import TermFactory, make_terms
from touchline.envs.simulator import MatchState, Simulator
from touchline.envs.stacking import FrameStack
from touchline.envs.statistics import EpisodeStatistics
from touchline.processes import usable_cores
from touchline.types import EnvSpec, Scenario

BACKENDS = ("gfootball",)
WORKERS = ("thread", "process")
MAX_SEED = 2**32 - 1
_ENDED = b"ended"  # the last part of a snapshot that waits for a reset
_SETTINGS = b"settings"  # how the second begins
UNCHOSEN_SEEDS = 10**9  # below this; those of evaluations begin here


class FootballVectorEnv(gym.vector.VectorEnv):
    """B football matches stepped together; `AutoresetMode.SAME_STEP`.

    Observations are `[B, *obs]` for one controlled player and `[B, N, *obs]` for N, left players first; rewards
    `[B]` or `[B, N]` float32 in the same way; `terminated` and `truncated` `[B]`. A match that ends is reset inside
    the step: its row of the observation is the new episode's first, the true last one is in `info["final_obs"]`.
    Arrays are valid until the next step unless `copy=True`.

    `info` always has `score` [B, 2] (left, right), `ball_owned_team`, `game_mode`, `steps_left` [B] of the matches as
    they stand, and after a step `reward_terms`, the step's unweighted terms. Where matches ended it has `final_obs`
    with the mask `_final_obs` [B], `final_info` (the first four keys of the ended matches, and `reward`) and `episode`
    with the mask `_episode`: r, l, goals, shots, passes, possession, defined in `statistics.py`. With process workers
    it has `lost` [B]: matches whose worker crashed in this step; they start anew and their last step means nothing.
    Where players have been sent off it has `sent_off` and `were_off` [B, N]: agents whose player was off the pitch at
    the end of the step and at its beginning.

    Args:
        scenario: a name, a file or module (see `scenarios.load`), or a `Scenario`.
        num_envs: B.
        backend: the simulator; "gfootball" is the only one for now.
        observation: "simple115v2", "smm", "egocentric", "egocentric_kicks", "egocentric_noise", or a factory
            `(num_left, num_right) -> Observation`.
        stack: frames stacked along the last axis.
        rewards: names ("scoring", "checkpoints", "attacks"; weight 1) or a dict of weights; in a name's place a class
            may stand that makes a `rewards.RewardTerm`.
        team_reward: every player gets the mean of his side's rewards, instead of his own.
        left, right: controlled players a side.
        control: "upstream" or "fixed", see `control.py`.
        action_set: "default" (19 actions) or "v2" (20, with the built-in AI).
        num_threads: threads that step the matches, which never changes a result; None takes one a core that this
            process may use.
        workers: "thread", or "process" for isolation: a crash inside the engine then costs only its episodes.
        reset_pool: start unseeded episodes from this many snapshots, about 100 times cheaper than true resets and
            exactly equal to them; 0 makes every reset a true one.
        pool_seed: what the seeds of the pool are drawn from.
        auto_reset: False leaves ended matches as they are until `reset(options={"reset_mask": ...})`.
        central_state: append the whole match (`global_state.py`) to every observation, for central critics.
        copy: return fresh arrays from every step.
        render_mode: None or "rgb_array" (a tuple of B pictures).
        engine_rendering: start the engine with its own off-screen renderer, for `simulator.frame`.
    """

    metadata = {
        "render_modes": ["rgb_array"],
        "render_fps": 10,
        "autoreset_mode": AutoresetMode.SAME_STEP,
    }

    def __init__(
        self,
        scenario: str | Scenario,
        num_envs: int = 1,
        *,
        backend: str = "gfootball",
        observation: str | Callable[[int, int], Observation] = "simple115v2",
        stack: int = 1,
        rewards: Sequence[str | TermFactory] | Mapping[str | TermFactory, float] | str = ("scoring",),
        team_reward: bool = False,
        left: int = 1,
        right: int = 0,
        control: str = "upstream",
        action_set: str = "default",
        num_threads: int | None = None,
        workers: str = "thread",
        reset_pool: int = 0,
        pool_seed: int = 0,
        auto_reset: bool = True,
        central_state: bool = False,
        copy: bool = False,
        render_mode: str | None = None,
        engine_rendering: bool = False,
    ) -> None:
        if backend not in BACKENDS:
            raise ValueError(f"no backend {backend!r}; there is {', '.join(BACKENDS)}")
        if workers not in WORKERS:
            raise ValueError(f"no workers {workers!r}; there are {', '.join(WORKERS)}")
        if render_mode not in (None, *self.metadata["render_modes"]):
            raise ValueError(f"no render mode {render_mode!r}; there is rgb_array, or None")
        if engine_rendering and workers == "process":
            raise ValueError("the engine renders in this process alone: engine_rendering wants workers='thread'")
        if num_envs < 1 or stack < 1:
            raise ValueError(f"expected num_envs >= 1 and stack >= 1, got {num_envs} and {stack}")
        self.scenario = scenario if isinstance(scenario, Scenario) else scenarios.load(scenario)
        self.num_envs, self.num_players, self.stack = num_envs, left + right, stack
        self.num_left, self.num_right, self.control, self.action_set = left, right, control, action_set
        self.render_mode = render_mode
        self.metadata = {
            **self.metadata,
            "autoreset_mode": AutoresetMode.SAME_STEP if auto_reset else AutoresetMode.DISABLED,
        }
        self._num_actions = num_actions(action_set)
        self._observe, self.central = make_observation(observation, left, right), 0
        if central_state:
            if stack > 1:
                raise ValueError(f"central_state needs observations that are not stacked, got stack={stack}")
            self._observe = WithGlobalState(self._observe, left, right, self.scenario.game_duration)
            self.central = global_state.SIZE
        self._auto_reset, self._copy = auto_reset, copy
        self._team_reward = team_reward
        self._closed = False
        controlled = controlled_scenario(self.scenario, left, right, control)
        self._terms, self._weights = make_terms(rewards, num_envs, left, right)
        self._statistics = EpisodeStatistics(num_envs, left)
        self.simulator = _make_simulator(
            controlled,
            num_envs,
            workers=workers,
            left=left,
            right=right,
            num_threads=usable_cores() if num_threads is None else num_threads,
            reset_pool=reset_pool,
            pool_seed=pool_seed,
            auto_reset=auto_reset,
            render=engine_rendering,
        )
        self._make_spaces(stack)
        self._frame = np.zeros((num_envs, self.num_players, *self._observe.shape), self._observe.dtype)
        self._final_frame = np.zeros_like(self._frame)
        self._stack = self._final_stack = None
        if stack > 1:
            size = (num_envs, self.num_players, self._observe.shape, self._observe.dtype, stack)
            self._stack, self._final_stack = FrameStack(*size), FrameStack(*size)
        self._all_rows = np.arange(num_envs)
        self._reward = np.zeros((num_envs, self.num_players), np.float32)
        self.needs_reset = np.ones(num_envs, bool)
        self._seeded = np.zeros(num_envs, bool)
        self._stepping = False  # between step_async and step_wait
        self._renderer = None

    def _make_spaces(self, stack: int) -> None:
        shape = (*self._observe.shape[:-1], self._observe.shape[-1] * stack)
        if self.num_players > 1:
            shape = (self.num_players, *shape)
        low, high, dtype = self._observe.low, self._observe.high, self._observe.dtype
        self.single_observation_space = gym.spaces.Box(low, high, shape, dtype)
        self.observation_space = gym.spaces.Box(low, high, (self.num_envs, *shape), dtype)
        if self.num_players == 1:
            self.single_action_space = gym.spaces.Discrete(self._num_actions)
        else:
            self.single_action_space = gym.spaces.MultiDiscrete([self._num_actions] * self.num_players)
        self.action_space = gym.vector.utils.batch_space(self.single_action_space, self.num_envs)

    @property
    def features(self) -> dict[str, tuple[int, ...]]:
        """Where observations hold what, see `types.FEATURES`; of stacked frames the newest, which is the last."""
        older = (self.stack - 1) * self._observe.shape[-1]
        places = getattr(self._observe, "features", {})
        return {name: tuple(older + place for place in where) for name, where in places.items()}

    @property
    def env_spec(self) -> EnvSpec:
        """Shapes and counts that an agent needs."""
        shape = self.single_observation_space.shape
        return EnvSpec(
            observation_shape=shape[1:] if self.num_players > 1 else shape,
            observation_dtype=np.dtype(self._observe.dtype).name,
            num_actions=self._num_actions,
            num_players=self.num_players,
            stack=self.stack,
            features=self.features,
            central=self.central,
        )

    # ------------------------------------------------------------------------------------------ reset and step

    def reset(
        self,
        *,
        seed: int | Sequence[int | None] | np.ndarray | None = None,
        options: dict[str, Any] | None = None,
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Starts new episodes.

        `seed=s` gives match i the engine seed s + i; a sequence [B] gives each its own (None or -1: the next of that
        match's own stream). `options={"reset_mask": [B] bool}` leaves the other matches as they are, but for those
        whose worker turns out to have crashed: they start anew, and info has them in `lost`. The result of a step that
        nobody waited for is lost.
        """
        mask = self._reset_mask(options)
        seeds = self._seeds(seed, mask)
        lost = np.zeros(self.num_envs, bool)
        if self._stepping and not mask.all():
            self.step_wait()  # in which those that go on made a step too
            lost = self.simulator.lost & ~mask
        self.simulator.reset(None if mask.all() else mask, seeds)
        self.simulator.lost |= lost
        self._stepping = False
        rows = np.flatnonzero(mask | self.simulator.lost)
        self._begin_episodes(rows)
        self.needs_reset[rows] = False
        return self._observation(), self._info() | self._lost()

    def _reset_mask(self, options: dict[str, Any] | None) -> np.ndarray:
        if unknown := set(options or {}) - {"reset_mask"}:
            raise ValueError(f"no reset option {', '.join(map(str, unknown))}; there is reset_mask")
        mask = (options or {}).get("reset_mask")
        if mask is None:
            return np.ones(self.num_envs, bool)
        mask = np.asarray(mask)
        if mask.shape != (self.num_envs,) or mask.dtype != bool:
            raise ValueError(f"expected reset_mask [B] = ({self.num_envs},) of bool, got {mask.shape} of {mask.dtype}")
        return mask

    def _seeds(self, seed: int | Sequence[int | None] | np.ndarray | None, mask: np.ndarray) -> np.ndarray | None:
        """Engine seeds [B] of a reset, -1 for the next of a match's own stream; the stream of one that never had a
        seed begins with a random one."""
        if isinstance(seed, int | np.integer):
            seeds = int(seed) + np.arange(self.num_envs, dtype=np.int64)
        else:
            if seed is not None and np.ndim(seed) != 1:
                raise TypeError(f"expected a whole number as the seed, or {self.num_envs} of them, got {seed!r}")
            each = [None] * self.num_envs if seed is None else seed
            seeds = np.array([-1 if s is None else operator.index(s) for s in each], np.int64)
            if len(seeds) != self.num_envs:
                raise ValueError(f"expected {self.num_envs} seeds, got {len(seeds)}")
        if seeds.min() < (0 if isinstance(seed, int | np.integer) else -1) or seeds.max() > MAX_SEED:
            raise ValueError(f"expected engine seeds from 0 to {MAX_SEED}, got {seeds.min()} to {seeds.max()}")
        fresh = mask & ~self._seeded & (seeds < 0)
        if fresh.any():
            seeds[fresh] = np.random.SeedSequence().generate_state(int(fresh.sum())) % UNCHOSEN_SEEDS
        self._seeded |= mask
        return None if (seeds < 0).all() else seeds

    def _begin_episodes(self, rows: np.ndarray) -> None:
        for term in self._terms.values():
            term.reset(rows)
        self._statistics.reset(rows)
        self._observe.write(self.simulator.state, rows, self._frame)
        if self._stack:
            self._stack.fill(self._frame, rows)

    def step(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """Steps all matches with `actions` [B] (one controlled player) or [B, N]."""
        self.step_async(actions)
        return self.step_wait()

    def step_async(self, actions: np.ndarray) -> None:
        """Starts a step on the threads; `step_wait` gives its result. Meanwhile nothing of the last step may be read
        unless it was copied."""
        if self.needs_reset.any():
            row = int(np.flatnonzero(self.needs_reset)[0])
            raise gym.error.ResetNeeded(f"match {row} has not been reset: call reset() before step()")
        if self._stepping:
            raise gym.error.AlreadyPendingCallError("a step is under way: call step_wait() first", "step")
        self._were_off = self._sent_off(self.simulator.state)
        checked = check_actions(actions, self.num_envs, self.num_players, self._num_actions)
        self._stepping = True  # first: an interrupt may come right after the call
        try:
            self.simulator.step_async(checked)
        except Exception:
            self._stepping = False
            raise

    def step_wait(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """Finishes the step that `step_async` started."""
        if not self._stepping:
            raise gym.error.NoAsyncCallError("no step is under way: call step_async() first", "step")
        simulator = self.simulator
        simulator.step_wait()
        self._stepping = False
        terms = {name: term(simulator) for name, term in self._terms.items()}
        reward = self._reward
        reward[:] = 0.0
        for name, values in terms.items():
            reward += self._weights[name] * values
        if self._team_reward:
            for side in (reward[:, : self.num_left], reward[:, self.num_left :]):
                if side.size:
                    side[:] = side.mean(1, keepdims=True)
        self._statistics.step(simulator, reward)
        ended = simulator.terminated | simulator.truncated
        any_ended = ended.any()
        final: dict[str, Any] = {}
        if any_ended:
            rows = np.flatnonzero(ended)
            final = self._final_info(rows, ended)
            if self._auto_reset:
                running = np.flatnonzero(~ended)
                self._begin_episodes(rows)
            else:
                running = self._all_rows
                self.needs_reset[rows] = True
        else:
            running = self._all_rows
        self._observe.write(simulator.state, running, self._frame)
        if self._stack:
            self._stack.push(self._frame, running)
        squeezed = reward[:, 0] if self.num_players == 1 else reward
        info = self._info() | final
        info["reward_terms"] = self._owned({name: self._squeezed(values) for name, values in terms.items()})
        info |= self._lost()
        sent_off = self._sent_off(simulator.final_state)
        if sent_off.any():
            info["sent_off"], info["were_off"] = sent_off, self._were_off
        terminated, truncated = simulator.terminated, simulator.truncated
        if self._copy:
            squeezed, terminated, truncated = squeezed.copy(), terminated.copy(), truncated.copy()
        return self._observation(), squeezed, terminated, truncated, info

    def _final_info(self, rows: np.ndarray, ended: np.ndarray) -> dict[str, Any]:
        final_state = self.simulator.final_state
        self._observe.write(final_state, rows, self._final_frame)
        final = self._final_frame
        if self._stack:
            self._final_stack.stacked[rows] = self._stack.stacked[rows]
            self._final_stack.push(final, rows)
            final = self._final_stack.stacked
        return {
            "final_obs": self._squeezed(final).copy(),
            "_final_obs": ended.copy(),
            "final_info": self._owned(_state_info(final_state)) | {"reward": self._squeezed(self._reward).copy()},
            "_final_info": ended.copy(),
            "episode": self._statistics.summary(),
            "_episode": ended.copy(),
        }

    def _sent_off(self, state: MatchState) -> np.ndarray:
        """[B, N] bool, agents whose player is not on the pitch any more."""
        left = state.get("left_controlled")[:, : self.num_left]
        return np.concatenate([left, state.get("right_controlled")[:, : self.num_right]], 1) < 0

    def _observation(self) -> np.ndarray:
        frame = self._squeezed(self._stack.stacked if self._stack else self._frame)
        return frame.copy() if self._copy else frame

    def _squeezed(self, array: np.ndarray) -> np.ndarray:
        return array[:, 0] if self.num_players == 1 else array

    def _info(self) -> dict[str, Any]:
        return self._owned(_state_info(self.simulator.state))

    def _lost(self) -> dict[str, np.ndarray]:
        return {"lost": self.simulator.lost.copy()} if self.simulator.lost.any() else {}

    def _owned(self, arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The arrays, or with `copy` copies, which later steps leave alone."""
        return {name: array.copy() for name, array in arrays.items()} if self._copy else arrays

    def episodes_so_far(self) -> dict[str, np.ndarray]:
        """{name: [B]} statistics of the episodes under way, as `info["episode"]` gives them at their ends."""
        return self._statistics.summary()

    def action_masks(self) -> np.ndarray:
        """[B, A] bool, [B, N, A] for N players: which actions make sense as the matches stand (`action_masks.py`)."""
        state = self.simulator.state
        return self._squeezed(action_masks(state, self.num_left, self.num_right, self.action_set))

    # ------------------------------------------------------------------------------------------ state, picture

    def get_state(self) -> list[bytes]:
        """A snapshot of every match: engine, rewards, statistics and frame stack."""
        self._check_at_rest()
        engines = [self.simulator.get_state(index) for index in range(self.num_envs)]
        self._begin_episodes(np.flatnonzero(self.simulator.lost))  # which a worker found dead just now may have begun
        return [self._with_the_rest(index, engine) for index, engine in enumerate(engines)]

    def _with_the_rest(self, index: int, engine: bytes) -> bytes:
        parts = [engine, self._settings()]
        parts += [term.get_state(index).tobytes() for term in self._terms.values()]
        parts.append(self._statistics.get_state(index).tobytes())
        if self._stack:
            parts.append(self._stack.stacked[index].tobytes())
        if self.needs_reset[index]:
            parts.append(_ENDED)
        return b"".join(struct.pack("<q", len(part)) + part for part in parts)

    def set_state(self, snapshots: Sequence[bytes]) -> np.ndarray:
        """Continues every match from a snapshot of the same scenario and settings; returns the observation.

        If one of them is refused, all matches stay as they were.
        """
        if len(snapshots) != self.num_envs:
            raise ValueError(f"expected {self.num_envs} snapshots, got {len(snapshots)}")
        self._check_at_rest()
        unpacked = [self._unpacked(index, snapshot) for index, snapshot in enumerate(snapshots)]
        before: list[bytes] = []
        for index, parts in enumerate(unpacked):
            try:
                now = self.simulator.get_state(index)
            except gym.error.ResetNeeded:  # nothing to go back to
                now = b""
            try:
                self.simulator.set_state(index, parts[0])
            except Exception:
                for i, old in enumerate(before):
                    if old:
                        self.simulator.set_state(i, old)
                raise
            before.append(now)
        for index, parts in enumerate(unpacked):
            self._take(index, parts)
        self._seeded[:] = True
        return self._observation()

    def _settings(self) -> bytes:
        """Stands for what gives the parts of a snapshot their meaning."""
        frames = (type(self._observe).__qualname__, self._observe.shape, self.stack) if self._stack else ()
        return _SETTINGS + hashlib.sha256(repr((list(self._terms), frames)).encode()).digest()[:8]

    def _check_at_rest(self) -> None:
        if self._stepping:
            raise gym.error.AlreadyPendingCallError("a step is under way: call step_wait() first", "step")

    def _unpacked(self, index: int, snapshot: bytes) -> list[bytes]:
        engine, *parts = _unpack(snapshot)
        if parts and parts[0].startswith(_SETTINGS):  # those of earlier versions have none
            fit = parts.pop(0) == self._settings()
        else:
            fit = True
        expected = [len(term.get_state(index).tobytes()) for term in self._terms.values()]
        expected.append(len(self._statistics.get_state(index).tobytes()))
        if self._stack:
            expected.append(self._stack.stacked[index].nbytes)
        if not fit or [len(part) for part in parts] not in (expected, [*expected, len(_ENDED)]):
            raise ValueError("not a snapshot of an environment with these rewards and observations")
        return [engine, *parts]

    def _take(self, index: int, parts: list[bytes]) -> None:
        """What a snapshot has beside the engine's part, which has been loaded."""
        rest = iter(parts[1:])
        for term in self._terms.values():
            now = term.get_state(index)
            term.set_state(index, np.frombuffer(next(rest), now.dtype).reshape(now.shape))
        self._statistics.set_state(index, np.frombuffer(next(rest), np.int32))
        row = np.array([index])
        self._observe.write(self.simulator.state, row, self._frame)
        if self._stack:
            stacked = self._stack.stacked
            stacked[index] = np.frombuffer(next(rest), stacked.dtype).reshape(stacked[index].shape)
        self.needs_reset[index] = next(rest, b"") == _ENDED

    def render(self) -> tuple[np.ndarray, ...] | None:
        """B pictures [H, W, 3] uint8 of the matches as they stand, with `render_mode="rgb_array"`."""
        if self.render_mode is None:
            gym.logger.warn('render() was called on an environment made without render_mode="rgb_array"')
            return None
        if self._renderer is None:
            from touchline.envs.render import Renderer

            self._renderer = Renderer()
        return tuple(self._renderer.frame(self.simulator.state, i) for i in range(self.num_envs))

    def close_extras(self, **kwargs: Any) -> None:
        """Frees the simulator."""
        self.simulator.close()


def make_observation(observation: str | Callable[[int, int], Observation], left: int, right: int) -> Observation:
    if not isinstance(observation, str):
        if not callable(observation):
            raise TypeError(
                f"expected an observation's name, or what makes one of (num_left, num_right), such as its class; "
                f"got {observation!r}"
            )
        return observation(left, right)
    if observation in ("raw", "pixels"):
        raise ValueError(
            f"observation {observation!r} exists for single environments only (gym.make); "
            f"a vector environment has {', '.join(OBSERVATIONS)}"
        )
    if observation not in OBSERVATIONS:
        raise ValueError(f"no observation {observation!r}; there are {', '.join([*OBSERVATIONS, 'raw', 'pixels'])}")
    return OBSERVATIONS[observation](left, right)


def _make_simulator(scenario: Scenario, num_envs: int, *, workers: str, **options: Any) -> Simulator:
    if workers == "process":
        from touchline.envs.engine.workers import ProcessSimulator

        return ProcessSimulator(scenario, num_envs, **options)
    from touchline.envs.engine.engine import EngineSimulator

    return EngineSimulator(scenario, num_envs, **options)


def _state_info(state: Any) -> dict[str, Any]:
    return {
        "score": np.stack((state.get("left_score"), state.get("right_score")), axis=1),
        "ball_owned_team": state.get("ball_owned_team"),
        "game_mode": state.get("game_mode"),
        "steps_left": state.get("steps_left"),
    }


def _unpack(snapshot: bytes) -> list[bytes]:
    snapshot, parts, at = bytes(snapshot), [], 0
    if not snapshot:
        raise ValueError("a damaged snapshot: it is empty")
    while at < len(snapshot):
        size = struct.unpack_from("<q", snapshot, at)[0] if at + 8 <= len(snapshot) else -1
        if size < 0 or at + 8 + size > len(snapshot):
            raise ValueError("a damaged snapshot: it ends too early")
        parts.append(snapshot[at + 8 : at + 8 + size])
        at += 8 + size
    return parts
