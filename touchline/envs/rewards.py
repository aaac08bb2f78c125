"""Reward terms: named, summed with a weight, each logged apart.

A term is an object with `reset(rows)`, `__call__(simulator) -> [B, N] float32` for the step just made, and
`get_state(index)` / `set_state(index, array)` for what it remembers. It reads `simulator.final_state`, the state in
which the step really ended, and `simulator.reward`, the change of the goal difference.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import numpy as np
from numba import njit

from touchline.envs.simulator import FLOATS, INTS, Simulator

NUM_CHECKPOINTS = 10
CHECKPOINT_REWARD = 0.1

_BALL = FLOATS["ball_position"].start
_OWNED_TEAM, _OWNED_PLAYER = INTS["ball_owned_team"].start, INTS["ball_owned_player"].start
_LEFT_CONTROLLED, _RIGHT_CONTROLLED = INTS["left_controlled"].start, INTS["right_controlled"].start


class RewardTerm(Protocol):
    """One named term of the reward, for all B matches and N agents at once."""

    def reset(self, rows: np.ndarray) -> None:
        """Forgets the episode in matches `rows` [K]."""

    def __call__(self, simulator: Simulator) -> np.ndarray:
        """[B, N] float32, this term's reward for the step just made."""

    def get_state(self, index: int) -> np.ndarray:
        """What the term remembers of match `index`, [...] numbers of a fixed shape and dtype."""

    def set_state(self, index: int, state: np.ndarray) -> None:
        """Sets what the term remembers of match `index`."""


TermFactory = Callable[[int, int, int], RewardTerm]
"""Makes a term, given num_envs, num_left and num_right."""


class Scoring:
    """+1 for a goal of the agent's team, -1 for a goal against it."""

    def __init__(self, num_envs: int, num_left: int, num_right: int) -> None:
        self._signs = np.array([1.0] * num_left + [-1.0] * num_right, np.float32)
        self._out = np.zeros((num_envs, num_left + num_right), np.float32)

    def reset(self, rows: np.ndarray) -> None:
        """Nothing to forget."""

    def __call__(self, simulator: Simulator) -> np.ndarray:
        """See `RewardTerm`."""
        np.multiply(simulator.reward[:, None], self._signs, out=self._out)
        return self._out

    def get_state(self, index: int) -> np.ndarray:
        """Nothing to remember."""
        return np.zeros(0, np.int32)

    def set_state(self, index: int, state: np.ndarray) -> None:
        """Nothing to set."""


@njit(cache=True)
def _checkpoints(floats, ints, goal_difference, num_left, num_right, collected, out):
    for b in range(len(floats)):
        for agent in range(num_left + num_right):
            right = agent >= num_left
            out[b, agent] = 0.0
            scored = -goal_difference[b] if right else goal_difference[b]
            if scored == 1.0:
                out[b, agent] = np.float32(CHECKPOINT_REWARD * (NUM_CHECKPOINTS - collected[b, agent]))
                collected[b, agent] = NUM_CHECKPOINTS
                continue
            controlled = ints[b, _RIGHT_CONTROLLED + agent - num_left] if right else ints[b, _LEFT_CONTROLLED + agent]
            if ints[b, _OWNED_TEAM] != (1 if right else 0) or ints[b, _OWNED_PLAYER] != controlled:
                continue
            sign = -1.0 if right else 1.0
            x, y = sign * np.float64(floats[b, _BALL]), sign * np.float64(floats[b, _BALL + 1])
            distance = np.sqrt((x - 1.0) ** 2 + y**2)
            while collected[b, agent] < NUM_CHECKPOINTS:
                if distance > 0.99 - 0.8 / (NUM_CHECKPOINTS - 1) * collected[b, agent]:
                    break
                out[b, agent] += np.float32(CHECKPOINT_REWARD)
                collected[b, agent] += 1


class Checkpoints:
    """+0.1 for each of ten rings around the opponent's goal that the agent's player is first to carry the ball into.

    Rings lie at distances 0.99 to 0.19 (observation units) from the centre of the goal line; a goal pays the rings
    that are left. At most 1 an episode and agent. Kurach et al. 2020, https://arxiv.org/abs/1907.11180, section 3.
    """

    def __init__(self, num_envs: int, num_left: int, num_right: int) -> None:
        self._agents = num_left, num_right
        self._collected = np.zeros((num_envs, num_left + num_right), np.int32)
        self._out = np.zeros((num_envs, num_left + num_right), np.float32)

    def reset(self, rows: np.ndarray) -> None:
        """No ring is collected any more."""
        self._collected[rows] = 0

    def __call__(self, simulator: Simulator) -> np.ndarray:
        """See `RewardTerm`."""
        floats, ints = simulator.final_state
        _checkpoints(floats, ints, simulator.reward, *self._agents, self._collected, self._out)
        return self._out

    def get_state(self, index: int) -> np.ndarray:
        """[N] int32, rings collected so far by each agent."""
        return self._collected[index]

    def set_state(self, index: int, state: np.ndarray) -> None:
        """Sets the rings collected so far."""
        self._collected[index] = state


class Attacks(Checkpoints):
    """As `Checkpoints`, but the rings come back to all agents of a side when the other side owns the ball or scores.

    For whole matches, in which checkpoints that are paid once are soon used up: every attack pays anew, at most 1 an
    agent. Ours.
    """

    def __call__(self, simulator: Simulator) -> np.ndarray:
        """See `RewardTerm`."""
        super().__call__(simulator)
        owner, left = simulator.final_state.get("ball_owned_team"), self._agents[0]
        self._collected[(owner == 1) | (simulator.reward != 0), :left] = 0
        self._collected[(owner == 0) | (simulator.reward != 0), left:] = 0
        return self._out


REWARDS: dict[str, TermFactory] = {"scoring": Scoring, "checkpoints": Checkpoints, "attacks": Attacks}


def make_terms(
    rewards: Sequence[str | TermFactory] | Mapping[str | TermFactory, float] | TermFactory | str,
    num_envs: int,
    num_left: int,
    num_right: int,
) -> tuple[dict[str, RewardTerm], dict[str, float]]:
    """(terms, weights) by name.

    Args:
        rewards: names (weight 1 each, also "scoring,checkpoints") or a dict of weights; in a name's place a factory may
            stand, whose `__name__` in lower case is the term's name.
    """
    if isinstance(rewards, str):
        rewards = [name.strip() for name in rewards.split(",") if name.strip()]
    if callable(rewards):
        rewards = [rewards]
    weights = dict(rewards) if isinstance(rewards, Mapping) else dict.fromkeys(rewards, 1.0)
    if not weights:
        raise ValueError(f"expected at least one reward; there are {', '.join(REWARDS)}")
    terms, named = {}, {}
    for key, weight in weights.items():
        name = getattr(key, "__name__", "").lower() if callable(key) else key
        if not name or not callable(key) and key not in REWARDS:
            raise ValueError(f"no reward {key!r}; there are {', '.join(REWARDS)}, or give a class")
        if name in terms:
            raise ValueError(f"expected every reward once, got {name} twice")
        terms[name] = (key if callable(key) else REWARDS[key])(num_envs, num_left, num_right)
        named[name] = weight
    return terms, named
