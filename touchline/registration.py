"""Registers every scenario with Gymnasium, without importing an environment."""

from __future__ import annotations

import gymnasium

from touchline import scenarios


def env_id(scenario: str) -> str:
    """Gymnasium's id of a scenario."""
    return f"touchline/{scenario}-v0"


def register() -> None:
    """Makes `gymnasium.make(env_id(name))` and `gymnasium.make_vec` know all scenarios; safe to call again."""
    for name in scenarios.names():
        if env_id(name) not in gymnasium.registry:
            gymnasium.register(
                env_id(name),
                entry_point="touchline.envs.football_env:FootballEnv",
                vector_entry_point="touchline.envs.vector_env:FootballVectorEnv",
                kwargs={"scenario": name},
            )
