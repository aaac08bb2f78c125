"""The real football engine as a `Simulator`: ctypes over the C interface of `native/driver.hpp`.

The only place that knows the engine. One library call steps the whole batch on a pool of C++ threads with the GIL
released; Python touches no object per match.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import os
from collections.abc import Sequence

import gymnasium as gym
import numpy as np

from touchline.envs.engine.build import EngineError, require
from touchline.envs.simulator import NUM_FLOATS, NUM_INTS, MatchState, empty_state
from touchline.types import MAX_PLAYERS, ROLES, Player, Scenario

FRAME_SIZE = (1280, 720)
"""Width and height in pixels of a rendered frame."""

MAX_SEED = 2**32 - 1


class _Player(ctypes.Structure):
    _fields_ = [
        ("x", ctypes.c_float),
        ("y", ctypes.c_float),
        ("role", ctypes.c_int32),
        ("lazy", ctypes.c_int32),
        ("controllable", ctypes.c_int32),
    ]


class _Team(ctypes.Structure):
    _fields_ = [("count", ctypes.c_int32), ("players", _Player * MAX_PLAYERS)]


class _Scenario(ctypes.Structure):
    _fields_ = [
        ("teams", (_Team * 2) * 2),
        ("ball_x", ctypes.c_float),
        ("ball_y", ctypes.c_float),
        ("left_difficulty", ctypes.c_float),
        ("right_difficulty", ctypes.c_float),
        *(
            (name, ctypes.c_int32)
            for name in (
                "offsides",
                "end_on_score",
                "end_on_out_of_play",
                "end_on_possession_change",
                "duration",
                "second_half",
                "deterministic",
                "control_all_players",
                "use_magnet",
                "left_agents",
                "right_agents",
                "clock_truncates",
            )
        ),
        ("fixed_seed", ctypes.c_uint32),
        ("identity", ctypes.c_uint64),
    ]


class _Arrays(ctypes.Structure):
    _fields_ = [
        *(
            (name, ctypes.c_void_p)
            for name in (
                "floats",
                "ints",
                "final_floats",
                "final_ints",
                "reward",
                "terminated",
                "truncated",
                "seeds",
                "episodes",
            )
        ),
        ("num_floats", ctypes.c_int32),
        ("num_ints", ctypes.c_int32),
    ]


class _Options(ctypes.Structure):
    _fields_ = [
        ("num_envs", ctypes.c_int32),
        ("num_threads", ctypes.c_int32),
        ("reset_pool", ctypes.c_int32),
        ("auto_reset", ctypes.c_int32),
        ("pool_seed", ctypes.c_uint64),
        ("render", ctypes.c_int32),
        ("render_width", ctypes.c_int32),
        ("render_height", ctypes.c_int32),
        ("data_dir", ctypes.c_char_p),
        ("font_file", ctypes.c_char_p),
    ]


@functools.cache
def _library() -> ctypes.CDLL:
    library = ctypes.CDLL(str(require().library))
    pointer, i32, i64, u64 = ctypes.c_void_p, ctypes.c_int32, ctypes.c_int64, ctypes.c_uint64
    double_pointer = ctypes.POINTER(ctypes.c_double)
    for name, result, arguments in (
        ("tl_error", ctypes.c_char_p, ()),
        ("tl_create", pointer, (pointer, pointer, pointer)),
        ("tl_destroy", None, (pointer,)),
        ("tl_reset", None, (pointer, pointer, pointer)),
        ("tl_step_async", None, (pointer, pointer)),
        ("tl_step_wait", None, (pointer,)),
        ("tl_get_state", i64, (pointer, i32, pointer, i64)),
        ("tl_set_state", i32, (pointer, i32, ctypes.c_char_p, i64)),
        ("tl_get_engine_state", i64, (pointer, i32, pointer, i64)),
        ("tl_set_engine_state", i32, (pointer, i32, ctypes.c_char_p, i64)),
        ("tl_render", i64, (pointer, i32, pointer, i64)),
        ("tl_bare_loop", None, (pointer, i32, u64, double_pointer, double_pointer)),
        ("tl_true_resets", i64, (pointer,)),
        ("tl_crash", None, (pointer, i32)),
    ):
        function = getattr(library, name)
        function.restype, function.argtypes = result, list(arguments)
    return library


def _team(players: Sequence[Player]) -> _Team:
    rows = [_Player(p.x, p.y, ROLES.index(p.role), bool(p.lazy), bool(p.controllable)) for p in players]
    return _Team(len(rows), (_Player * MAX_PLAYERS)(*rows))


def _native_scenario(scenario: Scenario, left: int, right: int) -> _Scenario:
    native = _Scenario(
        ball_x=scenario.ball_position[0],
        ball_y=scenario.ball_position[1],
        left_difficulty=scenario.left_team_difficulty,
        right_difficulty=scenario.right_team_difficulty,
        offsides=scenario.offsides,
        end_on_score=scenario.end_episode_on_score,
        end_on_out_of_play=scenario.end_episode_on_out_of_play,
        end_on_possession_change=scenario.end_episode_on_possession_change,
        duration=scenario.game_duration,
        second_half=scenario.second_half,
        deterministic=scenario.deterministic,
        control_all_players=scenario.control_all_players,
        use_magnet=scenario.use_magnet,
        left_agents=left,
        right_agents=right,
        clock_truncates=scenario.ends_by_clock_as_truncation,
        fixed_seed=scenario.game_engine_random_seed,
    )
    for line_up in range(2):
        for side, players in enumerate(scenario.line_ups(line_up)):
            native.teams[line_up][side] = _team(players)
    native.identity = int.from_bytes(hashlib.sha256(bytes(native)).digest()[:8], "little")
    return native


class EngineSimulator:
    """B matches of the real engine on C++ threads; see `Simulator` for the arrays.

    `scenario` must already name who is controllable (`control.controlled_scenario`).

    Args:
        num_threads: threads that step the batch, the caller's among them; any number gives the same results.
        reset_pool: start an unseeded episode from one of this many snapshots, each an exact replacement of a true
            reset with its seed and about 100 times cheaper; 0 makes every reset a true one.
        auto_reset: reset a match that ends inside the step. Without it the match waits for `reset`.
        render: build the engine's off-screen renderer (one match, one such simulator a process).
    """

    def __init__(
        self,
        scenario: Scenario,
        num_envs: int,
        *,
        left: int,
        right: int,
        num_threads: int = 1,
        reset_pool: int = 0,
        pool_seed: int = 0,
        auto_reset: bool = True,
        render: bool = False,
        arrays: dict[str, np.ndarray] | None = None,
    ) -> None:
        self._batch, self._process, self._stepping = None, os.getpid(), False
        if num_envs < 1 or num_threads < 1 or reset_pool < 0:
            raise ValueError(
                f"expected num_envs >= 1, num_threads >= 1, reset_pool >= 0; "
                f"got {num_envs}, {num_threads}, {reset_pool}"
            )
        files = require()
        self._lib = _library()
        self.scenario = scenario
        self.num_envs = num_envs
        self.num_left, self.num_right = left, right
        self.num_players = left + right
        held = arrays or simulator_arrays(num_envs)
        self.state = MatchState(held["floats"], held["ints"])
        self.final_state = MatchState(held["final_floats"], held["final_ints"])
        self.reward = held["reward"]
        self.terminated, self.truncated, self.lost = held["terminated"], held["truncated"], held["lost"]
        self.seeds, self.episodes = held["seeds"], held["episodes"]
        pointers = {name: held[name].ctypes.data for name, _ in _Arrays._fields_ if name in held}
        self._arrays = _Arrays(num_floats=NUM_FLOATS, num_ints=NUM_INTS, **pointers)
        self._native = _native_scenario(scenario, left, right)
        self._options = _Options(
            num_envs=num_envs,
            num_threads=min(num_threads, num_envs),
            reset_pool=reset_pool,
            auto_reset=auto_reset,
            pool_seed=pool_seed,
            render=render,
            render_width=FRAME_SIZE[0],
            render_height=FRAME_SIZE[1],
            data_dir=bytes(files.data_dir),
            font_file=bytes(files.font),
        )
        self._batch = self._lib.tl_create(
            ctypes.byref(self._native), ctypes.byref(self._options), ctypes.byref(self._arrays)
        )
        if not self._batch:
            raise EngineError(self._lib.tl_error().decode())
        self._buffer = np.empty(1 << 18, np.uint8)
        self._begun = np.zeros(num_envs, bool)  # matches that have an engine

    def reset(self, mask: np.ndarray | None = None, seeds: np.ndarray | None = None) -> None:
        """See `Simulator.reset`."""
        mask_pointer = seeds_pointer = None
        if mask is not None:
            mask = np.ascontiguousarray(mask, np.uint8)
            mask_pointer = mask.ctypes.data
        if seeds is not None:
            seeds = np.ascontiguousarray(seeds, np.int64)
            seeds_pointer = seeds.ctypes.data
        self._lib.tl_reset(self._open(), mask_pointer, seeds_pointer)
        self._begun |= True if mask is None else mask.astype(bool)

    def step(self, actions: np.ndarray) -> None:
        """See `Simulator.step`."""
        self.step_async(actions)
        self.step_wait()

    def step_async(self, actions: np.ndarray) -> None:
        """See `Simulator.step_async`; the actions are copied."""
        if not self._begun.all():
            self._check(int(np.flatnonzero(~self._begun)[0]))
        batch = self._open()
        self._stepping = True  # first: an interrupt may come right after the call, and waiting for nothing is harmless
        self._lib.tl_step_async(batch, actions.ctypes.data)

    def step_wait(self) -> None:
        """See `Simulator.step_wait`."""
        self._open()

    def get_state(self, index: int) -> bytes:
        """See `Simulator.get_state`."""
        return self._read(self._lib.tl_get_state, index)

    def set_state(self, index: int, snapshot: bytes) -> None:
        """See `Simulator.set_state`; anything but an intact snapshot is refused before the engine sees it."""
        self._check(index, begun=False)
        if self._lib.tl_set_state(self._open(), index, snapshot, len(snapshot)):
            raise ValueError(f"{self.scenario.name}: {self._lib.tl_error().decode()}")
        self._begun[index] = True

    def get_engine_state(self, index: int) -> bytes:
        """The engine's own state, the same bytes as upstream's `get_state("")` gives."""
        return self._read(self._lib.tl_get_engine_state, index)

    def set_engine_state(self, index: int, state: bytes) -> None:
        """Loads an engine state taken from another build of the engine. It is not checked: a wrong one is fatal."""
        self._check(index)
        self._lib.tl_set_engine_state(self._open(), index, state, len(state))

    def frame(self, index: int = 0) -> np.ndarray:
        """[720, 1280, 3] uint8, match `index` rendered by the engine."""
        self._check(index)
        if not self._options.render:
            raise EngineError("the engine was started without its renderer: make the environment with engine_rendering")
        width, height = FRAME_SIZE
        pixels = np.frombuffer(self._read(self._lib.tl_render, index), np.uint8)
        # The engine hands the picture out as rows of three planes, bottom row first.
        return np.ascontiguousarray(pixels.reshape(height, width, 3)[::-1])

    def bare_loop(self, steps: int, seed: int = 0) -> tuple[float, float]:
        """CPU and wall seconds of `steps` random steps of match 0 in a C++ loop: the yardstick of `throughput`."""
        cpu, wall = ctypes.c_double(), ctypes.c_double()
        self._check(0)
        self._lib.tl_bare_loop(self._open(), steps, seed, ctypes.byref(cpu), ctypes.byref(wall))
        return cpu.value, wall.value

    @property
    def true_resets(self) -> int:
        """How often an engine was reset in earnest, as opposed to taking a start state from the reset pool."""
        return self._lib.tl_true_resets(self._open())

    def crash(self, index: int = 0) -> None:
        """Causes a fatal error inside the engine, which ends the process: for tests of process workers."""
        self._check(index)
        self._lib.tl_crash(self._open(), index)

    def close(self) -> None:
        """See `Simulator.close`."""
        if self._batch and os.getpid() == self._process:  # a forked child has none of the threads that must end
            self._lib.tl_destroy(self._open())
        self._batch = None

    def __del__(self) -> None:
        if hasattr(self, "_batch"):  # there is none in what `copy.deepcopy` could not copy
            self.close()

    def _open(self) -> int:
        """The batch, at rest: it must not be asked about once it is freed, nor touched while its threads step it."""
        if not self._batch:
            raise EngineError(f"{self.scenario.name}: the environment has been closed")
        if self._stepping:
            self._lib.tl_step_wait(self._batch)
            self._stepping = False
        return self._batch

    def _check(self, index: int, *, begun: bool = True) -> None:
        if not 0 <= index < self.num_envs:
            raise IndexError(f"expected a match index from 0 to {self.num_envs - 1}, got {index}")
        if begun and not self._begun[index]:
            raise gym.error.ResetNeeded(f"match {index} has not been reset: call reset() first")

    def _read(self, function, index: int) -> bytes:
        self._check(index)
        size = function(self._open(), index, self._buffer.ctypes.data, self._buffer.size)
        if size > self._buffer.size:
            self._buffer = np.empty(size, np.uint8)
            size = function(self._open(), index, self._buffer.ctypes.data, self._buffer.size)
        return self._buffer[:size].tobytes()


def simulator_arrays(num_envs: int) -> dict[str, np.ndarray]:
    """The arrays of a simulator, by the names of the C interface (and `lost`, which only process workers write)."""
    state, final = empty_state(num_envs), empty_state(num_envs)
    return {
        "floats": state.floats,
        "ints": state.ints,
        "final_floats": final.floats,
        "final_ints": final.ints,
        "reward": np.zeros(num_envs, np.float32),
        "terminated": np.zeros(num_envs, bool),
        "truncated": np.zeros(num_envs, bool),
        "lost": np.zeros(num_envs, bool),
        "seeds": np.zeros(num_envs, np.int64),
        "episodes": np.zeros(num_envs, np.int64),
    }
