"""Registers every scenario with Gymnasium and PettingZoo, without importing an environment."""

from __future__ import annotations

import gymnasium
import pettingzoo

from touchline import scenarios


def env_id(scenario: str) -> str:
    """Gymnasium's and PettingZoo's id of a scenario."""
    return f"touchline/{scenario}-v0"


def register() -> None:
    """Makes `gymnasium.make`, `gymnasium.make_vec` and `pettingzoo.make` ("parallel" and "aec") know all scenarios by
    `env_id(name)`; safe to call again."""
    for name in scenarios.names():
        if env_id(name) not in gymnasium.registry:
            gymnasium.register(
                env_id(name),
                entry_point="touchline.envs.football_env:FootballEnv",
                vector_entry_point="touchline.envs.vector_env:FootballVectorEnv",
                kwargs={"scenario": name},
            )
            for kind, maker in (("parallel", "FootballParallelEnv"), ("aec", "aec_env")):
                entry_point = f"touchline.envs.parallel_env:{maker}"
                pettingzoo.register(kind, env_id(name), entry_point, kwargs={"scenario": name})
