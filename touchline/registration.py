"""Registers every scenario with Gymnasium and PettingZoo, without importing an environment.

gfootball's scenarios are known by the ids of gfootball and EnvPool too, unless somebody has registered those before.
"""

from __future__ import annotations

import gymnasium
import pettingzoo

from touchline import scenarios


def env_id(scenario: str) -> str:
    """Gymnasium's and PettingZoo's id of a scenario."""
    return f"touchline/{scenario}-v0"


GFOOTBALL_IDS = {"SMM": "extracted", "Pixels": "pixels", "simple115": "simple115", "simple115v2": "simple115v2"}
"""What stands in gfootball's ids, and the representation that it means."""


def gfootball_id(scenario: str, kind: str = "SMM") -> str:
    """gfootball's id of a scenario; `kind` is one of `GFOOTBALL_IDS`."""
    return f"GFootball-{scenario}-{kind}-v0"


def envpool_id(scenario: str) -> str:
    """EnvPool's id of a scenario."""
    return f"gfootball/{scenario}-v1"


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
    for name in scenarios.names(gfootball=True):
        _register_aliases(name)


def _register_aliases(scenario: str) -> None:
    for kind, representation in GFOOTBALL_IDS.items():
        pictures = representation == "pixels"  # one renderer a process, so there is no vector environment
        if gfootball_id(scenario, kind) not in gymnasium.registry:
            gymnasium.register(
                gfootball_id(scenario, kind),
                entry_point="touchline.compat:create_environment",
                vector_entry_point=None if pictures else "touchline.compat:create_vector_environment",
                kwargs={"env_name": scenario, "representation": representation},
            )
    if envpool_id(scenario) not in gymnasium.registry:
        gymnasium.register(
            envpool_id(scenario),
            entry_point="touchline.envs.football_env:FootballEnv",
            vector_entry_point="touchline.envs.vector_env:FootballVectorEnv",
            kwargs={"scenario": scenario, "observation": "smm"},
        )
