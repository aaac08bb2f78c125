"""PettingZoo's views of a match: `FootballParallelEnv`, all agents at once, and `aec_env`, one after the other."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
from pettingzoo import AECEnv, ParallelEnv
from pettingzoo.utils.conversions import parallel_to_aec

from touchline import scenarios
from touchline.envs import global_state
from touchline.envs.control import TeamMember, members
from touchline.envs.football_env import FootballEnv
from touchline.envs.observations import BOUND
from touchline.types import Scenario

MASKS = ("info", "observation", "none")


class FootballParallelEnv(ParallelEnv[str, Any, int]):
    """One match, an agent a controlled player: left_0, left_1, ..., right_0, ...

    `players` says whom each agent drives with control="fixed" (the default here) and `members` lists both line-ups.
    Agents of the right side see the pitch turned by 180 degrees, as if they played from left to right. All agents live
    as long as the episode; one whose player was sent off stays, and may only idle.

    Observations, rewards and other options are those of `FootballEnv`. Each agent's `info` has `score`,
    `ball_owned_team`, `game_mode`, `steps_left` of the match, `reward_terms` of its own, `on_pitch` (its player has
    not been sent off), `engine_seed`, and at the end `episode` (statistics of the match).

    Args:
        scenario: a name, a file or module, or a `Scenario`.
        left, right: controlled players a side; None for `left` takes all that can be controlled.
        control: "fixed", or "upstream", where agents drive those nearest to the play (see `control.py`).
        action_mask: where the masks of `action_masks.py` are offered: "info" (`info[agent]["action_mask"]`),
            "observation" (a dict of `observation` and `action_mask`), or "none". [A] int8, as PettingZoo has them.
        max_cycles: truncate the episode after so many steps.
    """

    metadata = {
        "name": "touchline_football_v0",
        "render_modes": FootballEnv.metadata["render_modes"],
        "render_fps": FootballEnv.metadata["render_fps"],
        "is_parallelizable": True,
    }

    def __init__(
        self,
        scenario: str | Scenario = "5_vs_5",
        *,
        left: int | None = None,
        right: int = 0,
        control: str = "fixed",
        action_mask: str = "info",
        max_cycles: int | None = None,
        **options: Any,
    ) -> None:
        if action_mask not in MASKS:
            raise ValueError(f"no action_mask {action_mask!r}; there are {', '.join(MASKS)}")
        scenario = scenario if isinstance(scenario, Scenario) else scenarios.load(scenario)
        left = len(scenario.controllable("left")) if left is None else left
        self._env = FootballEnv(scenario, left=left, right=right, control=control, **options)
        self.render_mode = self._env.render_mode
        self.max_cycles, self._cycles = max_cycles, 0
        self._offer = action_mask
        self.possible_agents = [f"left_{i}" for i in range(left)] + [f"right_{i}" for i in range(right)]
        self.agents: list[str] = []
        self.members: tuple[TeamMember, ...] = members(scenario, left, right) if control == "fixed" else ()
        self.players = {member.agent: member for member in self.members if member.agent is not None}
        self.state_space = gym.spaces.Box(-BOUND, BOUND, (global_state.SIZE,), np.float32)
        actions = self._env.action_space
        count = int(actions.n if len(self.possible_agents) == 1 else actions.nvec[0])
        self.action_spaces = {agent: gym.spaces.Discrete(count) for agent in self.possible_agents}
        self.observation_spaces = {agent: self._space_of(n, count) for n, agent in enumerate(self.possible_agents)}

    def _space_of(self, agent: int, num_actions: int) -> gym.Space:
        space = self._env.observation_space
        if isinstance(space, gym.spaces.Tuple):
            space = space[agent]
        elif len(self.possible_agents) > 1:
            space = gym.spaces.Box(space.low[agent], space.high[agent], dtype=space.dtype)
        if self._offer != "observation":
            return space
        mask = gym.spaces.Box(0, 1, (num_actions,), np.int8)
        return gym.spaces.Dict({"observation": space, "action_mask": mask})

    def observation_space(self, agent: str) -> gym.Space:
        """What an agent sees; always the same object."""
        return self.observation_spaces[agent]

    def action_space(self, agent: str) -> gym.Space:
        """Discrete(A); always the same object."""
        return self.action_spaces[agent]

    @property
    def scenario(self) -> Scenario:
        """What is played."""
        return self._env.scenario

    def reset(
        self, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
        """Starts an episode; `seed` is the engine's, as in `FootballEnv.reset`."""
        observation, info = self._env.reset(seed=seed)
        self.agents, self._cycles = self.possible_agents[:], 0
        masks = self.action_masks()
        return self._observations(observation, masks), self._infos(info, masks)

    def step(self, actions: dict[str, int]) -> tuple[dict, dict, dict, dict, dict]:
        """Steps the match; `actions` names an action for every agent."""
        if not self.agents:
            return {}, {}, {}, {}, {}
        if missing := [agent for agent in self.agents if agent not in actions]:
            raise ValueError(f"expected an action of every agent; none of {', '.join(missing)}")
        chosen = np.array([np.asarray(actions[agent]).item() for agent in self.agents])
        observation, reward, terminated, truncated, info = self._env.step(chosen[0] if len(chosen) == 1 else chosen)
        self._cycles += 1
        if self.max_cycles is not None and self._cycles >= self.max_cycles and not (terminated or truncated):
            truncated = True
            info |= {"episode": self._env.episode_so_far()}
        rewards = np.atleast_1d(np.asarray(reward, np.float64))
        masks = self.action_masks()
        result = (
            self._observations(observation, masks),
            dict(zip(self.agents, rewards.tolist(), strict=True)),
            dict.fromkeys(self.agents, terminated),
            dict.fromkeys(self.agents, truncated),
            self._infos(info, masks),
        )
        if terminated or truncated:
            self.agents = []
        return result

    def _observations(self, observation: Any, masks: dict[str, np.ndarray]) -> dict[str, Any]:
        each = [observation] if len(self.possible_agents) == 1 else observation
        seen = dict(zip(self.possible_agents, each, strict=True))
        if self._offer == "observation":
            return {agent: {"observation": seen[agent], "action_mask": masks[agent]} for agent in seen}
        return seen

    def _infos(self, info: dict[str, Any], masks: dict[str, np.ndarray]) -> dict[str, dict[str, Any]]:
        terms, out = info.get("reward_terms", {}), {}
        for n, agent in enumerate(self.possible_agents):
            own = {name: float(np.atleast_1d(values)[n]) for name, values in terms.items()}
            out[agent] = info | {"on_pitch": self._on_pitch(n)} | ({"reward_terms": own} if terms else {})
            if self._offer == "info":
                out[agent]["action_mask"] = masks[agent]
        return out

    def _on_pitch(self, agent: int) -> bool:
        side, slot = self.possible_agents[agent].split("_")
        return bool(self._env.match_state.get(f"{side}_controlled")[0, int(slot)] >= 0)

    def action_masks(self) -> dict[str, np.ndarray]:
        """{agent: [A] int8}, 1 where an action makes sense as the match stands; the rules are in `action_masks.py`."""
        masks = self._env.action_masks().reshape(len(self.possible_agents), -1).astype(np.int8)
        return dict(zip(self.possible_agents, masks, strict=True))

    def state(self) -> np.ndarray:
        """[S] float32, the whole match in the left team's view, for central critics; see `global_state.py`."""
        return global_state.global_state(self._env.match_state, self.scenario.game_duration)[0]

    def get_state(self) -> bytes:
        """A snapshot from which `set_state` continues exactly; the count of `max_cycles` begins anew there."""
        return self._env.get_state()

    def set_state(self, snapshot: bytes) -> dict[str, Any]:
        """Continues from a snapshot of the same scenario and settings; returns the observations."""
        observation = self._env.set_state(snapshot)
        self.agents, self._cycles = [] if self._env.has_ended else self.possible_agents[:], 0
        return self._observations(observation, self.action_masks())

    def render(self) -> np.ndarray | None:
        """The match as a 2-D picture [H, W, 3] uint8, with `render_mode="rgb_array"`; "human" has a window for it."""
        return self._env.render()

    def close(self) -> None:
        """Frees the match."""
        self._env.close()


def aec_env(scenario: str | Scenario = "5_vs_5", **options: Any) -> AECEnv:
    """The same match as an AEC environment: agents choose one after the other, the match steps when all have."""
    return parallel_to_aec(FootballParallelEnv(scenario, **options))
