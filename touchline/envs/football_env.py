"""`FootballEnv`: one match as a Gymnasium environment, the B = 1 view of the vector environment."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import gymnasium as gym
import numpy as np

from touchline.envs.observations import BOUND, SMM_HEIGHT, SMM_WIDTH, Observation, raw_observation
from touchline.envs.rewards import TermFactory
from touchline.envs.simulator import GAME_MODES, MatchState
from touchline.envs.vector_env import FootballVectorEnv
from touchline.types import MAX_PLAYERS, ROLES, Scenario

_renderer_of: int | None = None  # the process that has had it: a forked child has not


class FootballEnv(gym.Env):
    """One football match or drill.

    Observations, rewards and most options are those of `FootballVectorEnv`; two observations exist only here: `raw`
    (upstream's dict; a tuple of dicts for N > 1 players) and `pixels` ([72, 96, 3] uint8, rendered by the engine).
    With N > 1 controlled players the observation and the action carry an N axis and the reward is an array [N], as
    upstream's are.

    `reset(seed=s)` plays the engine seed s: the first episode that upstream plays with `game_engine_random_seed=s`,
    bit for bit. A reset without a seed takes the next seed of the environment's own generator; the kick-off side
    alternates with the episode.

    `info` has `score` (left, right), `ball_owned_team`, `game_mode`, `steps_left`, `engine_seed`, after a step
    `reward_terms`, at an end `episode` (statistics, see `statistics.py`), and once a controlled player has been sent
    off `sent_off` and `were_off` [N] as in `FootballVectorEnv`. To use Gymnasium's `RecordEpisodeStatistics` give it
    another `stats_key`.
    """

    metadata = {"render_modes": ["human", "rgb_array"], "render_fps": 10}

    def __init__(
        self,
        scenario: str | Scenario = "academy_empty_goal_close",
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
        reset_pool: int = 0,
        pool_seed: int = 0,
        render_mode: str | None = None,
    ) -> None:
        special = observation if observation in ("raw", "pixels") else None
        if special and stack != 1:
            raise ValueError(f"observation {special!r} cannot be stacked; got stack={stack}")
        if render_mode not in (None, *self.metadata["render_modes"]):
            raise ValueError(f"no render mode {render_mode!r}; there are human and rgb_array, or None")
        if special == "pixels":
            _check_renderer()
        self._special = special
        self._window = None
        if render_mode == "human":
            from touchline.envs.window import Window

            self._window = Window("touchline", self.metadata["render_fps"])
        self._env = FootballVectorEnv(
            scenario,
            1,
            backend=backend,
            observation=_NoObservation if special else observation,
            stack=stack,
            rewards=rewards,
            team_reward=team_reward,
            left=left,
            right=right,
            control=control,
            action_set=action_set,
            num_threads=1,
            reset_pool=reset_pool,
            pool_seed=pool_seed,
            auto_reset=False,
            render_mode="rgb_array" if render_mode else None,
            engine_rendering=special == "pixels",
        )
        if special == "pixels":
            _take_renderer()
        self.render_mode = render_mode
        self.num_players, self.stack = left + right, self._env.stack
        self.features = dict(self._env.features) if special is None else {}
        self.action_space = self._env.single_action_space
        self.observation_space = self._make_observation_space()

    def _make_observation_space(self) -> gym.Space:
        if self._special is None:
            return self._env.single_observation_space
        if self._special == "pixels":
            space: gym.Space = gym.spaces.Box(0, 255, (SMM_HEIGHT, SMM_WIDTH, 3), np.uint8)
        else:
            scenario = self._env.scenario
            sizes = len(scenario.left_team), len(scenario.right_team)
            own_first = [sizes] * self._env.num_left + [sizes[::-1]] * self._env.num_right
            spaces = [raw_space(*each, scenario.game_duration) for each in own_first]
            return spaces[0] if self.num_players == 1 else gym.spaces.Tuple(spaces)
        return space if self.num_players == 1 else gym.spaces.Tuple([space] * self.num_players)

    @property
    def scenario(self) -> Scenario:
        """What is played."""
        return self._env.scenario

    @property
    def match_state(self) -> MatchState:
        """The match as it stands, B = 1."""
        return self._env.simulator.state

    @property
    def has_ended(self) -> bool:
        """Whether the match waits for `reset`."""
        return bool(self._env.needs_reset[0])

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Starts an episode; see the class for what `seed` means. There are no options."""
        if options:
            raise ValueError(f"expected no reset options, got {', '.join(map(str, options))}")
        super().reset(seed=seed)
        observation, info = self._env.reset(seed=seed)
        self._show()
        return self._observation(observation), self._info(info)

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Steps the match with an action (one player) or [N] actions."""
        actions = np.asarray(action)
        expected = () if self.num_players == 1 else (self.num_players,)
        if actions.shape not in (expected, (self.num_players,)):
            raise ValueError(f"expected an action of shape {expected}, got {actions.shape}")
        observation, reward, terminated, truncated, info = self._env.step(actions.reshape(1, -1))
        flat = {"reward_terms": {name: _scalar(values[0]) for name, values in info["reward_terms"].items()}}
        if "episode" in info:
            flat["episode"] = _first_of(info["episode"])
        flat |= {name: info[name][0].copy() for name in ("sent_off", "were_off") if name in info}
        self._show()
        return (
            self._observation(observation),
            _scalar(reward[0]),
            bool(terminated[0]),
            bool(truncated[0]),
            self._info(info) | flat,
        )

    def _observation(self, observation: np.ndarray) -> Any:
        if self._special is None:
            return observation[0].copy()
        if self._special == "pixels":
            shrunk = _shrink(self._env.simulator.frame(0))
            return shrunk if self.num_players == 1 else (shrunk,) * self.num_players
        state = self._env.simulator.state
        each = tuple(raw_observation(state, 0, n, self._env.num_left) for n in range(self.num_players))
        return each[0] if self.num_players == 1 else each

    def _info(self, info: dict[str, Any]) -> dict[str, Any]:
        return {
            "score": (int(info["score"][0, 0]), int(info["score"][0, 1])),
            "ball_owned_team": int(info["ball_owned_team"][0]),
            "game_mode": int(info["game_mode"][0]),
            "steps_left": int(info["steps_left"][0]),
            "engine_seed": int(self._env.simulator.seeds[0]),
        }

    def episode_so_far(self) -> dict[str, Any]:
        """The statistics of `info["episode"]`, of an episode that somebody cuts here."""
        return _first_of(self._env.episodes_so_far())

    def action_masks(self) -> np.ndarray:
        """[A] bool, [N * A] for N players one after the other: which actions make sense as the match stands.

        The form is the one that sb3-contrib's MaskablePPO asks for; the rules are in `action_masks.py`.
        """
        return self._env.action_masks()[0].ravel()

    def get_state(self) -> bytes:
        """A snapshot from which `set_state` continues exactly."""
        return self._env.get_state()[0]

    def set_state(self, snapshot: bytes) -> Any:
        """Continues from a snapshot of the same scenario and settings; returns the observation."""
        return self._observation(self._env.set_state([snapshot]))

    def render(self) -> np.ndarray | None:
        """The match as a 2-D picture [H, W, 3] uint8, with `render_mode="rgb_array"`; "human" has a window for it."""
        if self._window is not None:
            self._show()
            return None
        frames = self._env.render()
        return None if frames is None else frames[0]

    def _show(self) -> None:
        if self._window is not None:
            self._window.show(self._env.render()[0])

    def close(self) -> None:
        """Frees the match."""
        self._env.close()
        if self._window is not None:
            self._window.close()


class _NoObservation:
    """Stands where the observation is not an array."""

    shape = (1,)
    dtype = np.float32
    low, high = 0.0, 0.0

    def __init__(self, num_left: int, num_right: int) -> None:
        pass

    def write(self, state: MatchState, rows: np.ndarray, out: np.ndarray) -> None:
        """Writes nothing."""


def _check_renderer() -> None:
    if _renderer_of == os.getpid():
        raise RuntimeError(
            "the engine can render one environment a process, and this process has had one; use "
            'gymnasium.make_vec(..., vectorization_mode="async", vector_kwargs={"context": "spawn"}) for several, each '
            "in a process of its own"
        )


def _take_renderer() -> None:
    global _renderer_of
    _renderer_of = os.getpid()


def _first_of(arrays: Mapping[str, np.ndarray]) -> dict[str, Any]:
    return {name: values[0].item() for name, values in arrays.items()}


def _scalar(value: np.ndarray) -> Any:
    return value.copy() if np.ndim(value) else float(value)


def _shrink(frame: np.ndarray) -> np.ndarray:
    from PIL import Image

    return np.asarray(Image.fromarray(frame).resize((SMM_WIDTH, SMM_HEIGHT), Image.Resampling.BOX))


def raw_space(num_own_players: int, num_other_players: int, game_duration: int) -> gym.spaces.Dict:
    """The space of upstream's raw dict, in which an agent's own team is the left one."""
    box, discrete = gym.spaces.Box, gym.spaces.Discrete
    fields: dict[str, gym.Space] = {
        "ball": box(-BOUND, BOUND, (3,), np.float64),
        "ball_direction": box(-BOUND, BOUND, (3,), np.float64),
        "ball_rotation": box(-BOUND, BOUND, (3,), np.float64),
        "ball_owned_team": discrete(3, start=-1),
        "ball_owned_player": discrete(MAX_PLAYERS + 1, start=-1),
        "score": box(0, 1000, (2,), np.int64),
        "game_mode": discrete(len(GAME_MODES)),
        "steps_left": discrete(game_duration + 2),
        "designated": discrete(MAX_PLAYERS + 1, start=-1),
        "active": discrete(MAX_PLAYERS + 1, start=-1),
        "sticky_actions": box(0, 1, (10,), np.uint8),
    }
    for side, count in (("left", num_own_players), ("right", num_other_players)):
        fields |= {
            f"{side}_team": box(-BOUND, BOUND, (count, 2), np.float64),
            f"{side}_team_direction": box(-BOUND, BOUND, (count, 2), np.float64),
            f"{side}_team_tired_factor": box(0.0, 1.0, (count,), np.float64),
            f"{side}_team_active": gym.spaces.MultiBinary(count),
            f"{side}_team_yellow_card": gym.spaces.MultiBinary(count),
            f"{side}_team_roles": box(0, len(ROLES) - 1, (count,), np.int64),
        }
    return gym.spaces.Dict(fields)
