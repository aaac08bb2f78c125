"""What the agents of one side see of a batch of matches, in an observation of their own choice."""

from __future__ import annotations

import numpy as np

from touchline.envs.observations import Observation
from touchline.envs.simulator import MatchState
from touchline.envs.stacking import FrameStack
from touchline.envs.vector_env import make_observation

SIDES = ("left", "right")


class SideView:
    """Observations of one side's N agents, of matches that may be shown to the other side in another way.

    Call `begin` for matches that start anew and `push` for those that went a step on; both read `state` as it is then.

    Args:
        state: of the matches, rewritten in place by their simulator.
        side: "left" or "right".
        num_agents: N, controlled players of that side.
        observation: a name, or a factory as `FootballVectorEnv` takes it.
        stack: frames stacked along the last axis.

    Attributes:
        observations: [B, N, *obs], rewritten in place.
    """

    def __init__(
        self, state: MatchState, side: str, num_agents: int, *, observation: str = "simple115v2", stack: int = 1
    ) -> None:
        if side not in SIDES:
            raise ValueError(f"no side {side!r}; there are {', '.join(SIDES)}")
        counts = (num_agents, 0) if side == "left" else (0, num_agents)
        self._state = state
        self._observe: Observation = make_observation(observation, *counts)
        size = (len(state.floats), num_agents)
        self._frame = np.zeros((*size, *self._observe.shape), self._observe.dtype)
        self._stack = FrameStack(*size, self._observe.shape, self._observe.dtype, stack) if stack > 1 else None
        self.observations = self._frame if self._stack is None else self._stack.stacked

    @property
    def shown(self) -> np.ndarray:
        """What a policy of this side is given: [B, *obs] where it drives one agent, otherwise [B, N, *obs]."""
        return self.observations[:, 0] if self.observations.shape[1] == 1 else self.observations

    def begin(self, rows: np.ndarray) -> None:
        """New episodes have started in matches `rows` [K]."""
        self._observe.write(self._state, rows, self._frame)
        if self._stack is not None:
            self._stack.fill(self._frame, rows)

    def push(self, rows: np.ndarray) -> None:
        """Matches `rows` [K] have made a step."""
        self._observe.write(self._state, rows, self._frame)
        if self._stack is not None:
            self._stack.push(self._frame, rows)
