"""Coming from gfootball: `create_environment` takes upstream's arguments and gives a Gymnasium environment of ours.

The arguments are those of gfootball 2.10.2's function of the same name, and the ids that gfootball and EnvPool
register make the same matches here. What cannot be had is refused; what only loses a side effect (dumps, videos) warns.
`docs/migrating.md` puts old and new side by side.
"""

from __future__ import annotations

import warnings
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

import gymnasium as gym
import numpy as np

from touchline.envs.football_env import FootballEnv
from touchline.envs.observations import BOUND, SMM_HEIGHT, SMM_WIDTH, Simple115v2
from touchline.envs.simulator import MatchState
from touchline.envs.vector_env import FootballVectorEnv

STACK = 4
"""Frames that upstream's `stacked` stacks."""

REPRESENTATIONS = ("extracted", "simple115v2", "simple115", "raw", "pixels", "pixels_gray")
REWARDS = ("scoring", "checkpoints")

_LUMA = np.array([0.299, 0.587, 0.114])  # of red, green and blue, ITU-R BT.601

_DROPPED = (
    "custom_display_stats",
    "display_game_stats",
    "dump_full_episodes",
    "dump_scores",
    "real_time",
    "render_resolution_x",
    "render_resolution_y",
    "tracesdir",
    "video_format",
    "video_quality_level",
    "write_video",
)
"""Keys of `other_config_options` that change nothing that an agent sees."""

_REFUSED = {
    "level": "name the scenario in env_name",
    "players": "say number_of_left_players_agent_controls and number_of_right_players_agent_controls",
    "physics_steps_per_frame": "the engine makes 10 physics steps a frame here",
    "reverse_team_processing": "an odd engine seed turns it on: choose the seed",
}

_SAVE_INSTEAD = (
    "for videos wrap the environment, made with render_mode='rgb_array', in gymnasium.wrappers.RecordVideo, or run "
    "`touchline watch POLICY`; for traces run `touchline evaluate POLICY --replays N`"
)


class Simple115:
    """Upstream's older 115 floats: as `simple115v2`, but smaller teams leave no gaps.

    Own positions, own directions, the others' positions and the others' directions follow one another without
    padding; what is missing to 88 numbers is -1, after all of them. With eleven players a side the two are equal.
    """

    shape = Simple115v2.shape
    dtype = np.float32
    low, high = -BOUND, BOUND

    def __init__(self, num_left: int, num_right: int) -> None:
        self._num_left = num_left
        self._wide = Simple115v2(num_left, num_right)

    def write(self, state: MatchState, rows: np.ndarray, out: np.ndarray) -> None:
        """See `Observation.write`."""
        self._wide.write(state, rows, out)
        counts = state.get("left_count"), state.get("right_count")
        for b in rows:
            left, right = (int(count[b]) for count in counts)
            for agent in range(out.shape[1]):
                own, other = (left, right) if agent < self._num_left else (right, left)
                parts = [out[b, agent, 22 * i : 22 * i + 2 * n] for i, n in enumerate((own, own, other, other))]
                dense = np.concatenate(parts)
                out[b, agent, : len(dense)] = dense
                out[b, agent, len(dense) : 88] = -1.0


class UpstreamEnv(gym.Wrapper):
    """A `FootballEnv` with what gfootball's environments have beside it.

    `info["score_reward"]` is the goal difference of a step (1.0, 0.0 or -1.0), whatever the reward. With a seed given
    to `create_environment` every reset without one plays that seed, as upstream does.

    Args:
        env: what is played.
        seed: engine seed of resets without one; None draws.
        gray: pictures lose their colours: [72, 96, 1].
        stacked: pictures are stacked here, [72, 96, C * stacked], oldest first; 1 leaves observations alone.
    """

    def __init__(self, env: FootballEnv, *, seed: int | None = None, gray: bool = False, stacked: int = 1) -> None:
        super().__init__(env)
        self._seed, self._gray, self._lead = seed, gray, 0
        self._frames: deque[np.ndarray] = deque(maxlen=stacked)
        if gray or stacked > 1:
            channels = (1 if gray else 3) * stacked
            space: gym.Space = gym.spaces.Box(0, 255, (SMM_HEIGHT, SMM_WIDTH, channels), np.uint8)
            players = env.num_players
            self.observation_space = space if players == 1 else gym.spaces.Tuple([space] * players)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Starts an episode; `seed` is the engine's seed."""
        self._frames.clear()
        observation, info = self.env.reset(seed=self._seed if seed is None else seed, options=options)
        self._lead = info["score"][0] - info["score"][1]
        return self._seen(observation), info

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Steps the match; gymnasium's five values."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        lead = info["score"][0] - info["score"][1]
        info["score_reward"], self._lead = float(lead - self._lead), lead
        return self._seen(observation), reward, terminated, truncated, info

    def get_state(self) -> bytes:
        """A snapshot from which `set_state` continues exactly; stacked pictures are not part of it."""
        return self.env.unwrapped.get_state()

    def set_state(self, snapshot: bytes) -> Any:
        """Continues from a snapshot; returns the observation, which upstream's does not."""
        self._frames.clear()
        observation = self.env.unwrapped.set_state(snapshot)
        state = self.env.unwrapped.match_state
        self._lead = int(state.get("left_score")[0] - state.get("right_score")[0])
        return self._seen(observation)

    def action_masks(self) -> np.ndarray:
        """[N * A] bool, see `FootballEnv.action_masks`."""
        return self.env.unwrapped.action_masks()

    def _seen(self, observation: Any) -> Any:
        if not self._gray and self._frames.maxlen == 1:
            return observation
        players = self.env.unwrapped.num_players
        frame = observation if players == 1 else observation[0]  # all players see the same picture
        if self._gray:
            frame = np.rint(frame @ _LUMA)[..., None].astype(np.uint8)
        self._frames.extend([frame] * (1 if self._frames else self._frames.maxlen or 1))
        stacked = np.concatenate(self._frames, -1)
        return stacked if players == 1 else (stacked,) * players


def create_environment(
    env_name: str = "",
    stacked: bool = False,
    representation: str = "extracted",
    rewards: str = "scoring",
    write_goal_dumps: bool = False,
    write_full_episode_dumps: bool = False,
    render: bool = False,
    write_video: bool = False,
    dump_frequency: int = 1,
    logdir: str = "",
    extra_players: Sequence[str] | None = None,
    number_of_left_players_agent_controls: int = 1,
    number_of_right_players_agent_controls: int = 0,
    channel_dimensions: tuple[int, int] = (SMM_WIDTH, SMM_HEIGHT),
    other_config_options: Mapping[str, Any] | None = None,
    render_mode: str | None = None,
) -> UpstreamEnv:
    """The environment that gfootball makes of these arguments, as a Gymnasium one.

    Args:
        env_name: a scenario's name, a file, or a dotted module with `build_scenario`.
        stacked: four frames along the last axis.
        representation: one of `REPRESENTATIONS`; "extracted" is the mini map [72, 96, 4].
        rewards: "scoring" or "scoring,checkpoints".
        render: open a window, as `render_mode="human"` does.
        number_of_left_players_agent_controls: N of the left side; with N > 1 in all, observations, actions and rewards
            have an N axis ("raw" and pictures: a tuple of N).
        number_of_right_players_agent_controls: N of the right side.
        channel_dimensions: (96, 72), the only size there is.
        other_config_options: game_engine_random_seed, action_set, and what concerns dumps and displays.
        render_mode: Gymnasium's, "human" or "rgb_array"; upstream has none.

    The other arguments write files, which this environment never does: they warn and say what does.
    """
    config = dict(other_config_options or {})
    observation, stack, terms, action_set = _wanted(representation, stacked, rewards, config)
    _refuse_players(extra_players)
    if tuple(channel_dimensions) != (SMM_WIDTH, SMM_HEIGHT):
        raise ValueError(
            f"expected channel_dimensions (96, 72), got {tuple(channel_dimensions)}: give another size as an "
            "observation of your own, touchline.make_vec(..., observation=FACTORY), see envs/observations.py"
        )
    files = {
        "write_goal_dumps": write_goal_dumps,
        "write_full_episode_dumps": write_full_episode_dumps,
        "write_video": write_video,
    }
    files |= {key: config.get(key) for key in ("dump_full_episodes", "dump_scores", "write_video") if key in config}
    if lost := [name for name, asked in files.items() if asked]:
        warnings.warn(f"no files are written here ({', '.join(lost)}): {_SAVE_INSTEAD}", UserWarning, stacklevel=2)
    pictures = representation.startswith("pixels")
    env = FootballEnv(
        env_name,
        observation=observation,
        stack=1 if pictures else stack,
        rewards=terms,
        left=number_of_left_players_agent_controls,
        right=number_of_right_players_agent_controls,
        action_set=action_set,
        render_mode=render_mode or ("human" if render else None),
    )
    seed = config.get("game_engine_random_seed")
    return UpstreamEnv(env, seed=seed, gray=representation == "pixels_gray", stacked=stack if pictures else 1)


def create_vector_environment(
    num_envs: int = 1,
    env_name: str = "",
    stacked: bool = False,
    representation: str = "extracted",
    rewards: str = "scoring",
    number_of_left_players_agent_controls: int = 1,
    number_of_right_players_agent_controls: int = 0,
    other_config_options: Mapping[str, Any] | None = None,
    render_mode: str | None = None,
) -> FootballVectorEnv:
    """Many matches of `create_environment`'s arguments at once; what `gymnasium.make_vec` makes of gfootball's ids.

    Args:
        num_envs: B.
        other_config_options: action_set; seeds are given to `reset`, where match i plays seed + i.
    """
    config = dict(other_config_options or {})
    if config.get("game_engine_random_seed") is not None:
        raise ValueError("game_engine_random_seed would make all matches the same: give the seed to reset(seed=...)")
    observation, stack, terms, action_set = _wanted(representation, stacked, rewards, config)
    return FootballVectorEnv(
        env_name,
        num_envs,
        observation=observation,
        stack=stack,
        rewards=terms,
        left=number_of_left_players_agent_controls,
        right=number_of_right_players_agent_controls,
        action_set=action_set,
        render_mode=render_mode,
    )


def _wanted(
    representation: str, stacked: bool, rewards: str, config: Mapping[str, Any]
) -> tuple[Any, int, tuple[str, ...], str]:
    """(observation, stack, rewards, action_set) in our words."""
    if representation not in REPRESENTATIONS:
        raise ValueError(f"no representation {representation!r}; there are {', '.join(REPRESENTATIONS)}")
    if representation == "raw" and stacked:
        raise ValueError("representation 'raw' cannot be stacked: keep the last dicts yourself")
    terms = tuple(term.strip() for term in rewards.split(","))
    if "scoring" not in terms or not set(terms) <= set(REWARDS):
        raise ValueError(
            f"expected rewards 'scoring' or 'scoring,checkpoints', as upstream does, got {rewards!r}; "
            "touchline.make_vec takes any terms and weights"
        )
    for key, value in config.items():
        if key in _REFUSED and not (key == "physics_steps_per_frame" and value == 10):
            raise ValueError(f"other_config_options[{key!r}] = {value!r} cannot be set: {_REFUSED[key]}")
        if key not in (*_REFUSED, *_DROPPED, "game_engine_random_seed", "action_set"):
            known = ", ".join(sorted(("game_engine_random_seed", "action_set", *_DROPPED)))
            raise ValueError(f"no {key!r} in other_config_options; there are {known}")
    names = {"extracted": "smm", "simple115": Simple115, "pixels_gray": "pixels"}
    action_set = config.get("action_set", "default")
    return names.get(representation, representation), STACK if stacked else 1, terms, action_set


def _refuse_players(extra_players: Sequence[str] | None) -> None:
    if not extra_players:
        return
    raise ValueError(
        f"extra_players={list(extra_players)} cannot join a Gymnasium environment here. An opponent joins a training "
        "with `touchline train --opponent POLICY`, an evaluation with `touchline evaluate POLICY --opponent OTHER`; "
        "to drive its players yourself say number_of_right_players_agent_controls, or take touchline.parallel_env"
    )
