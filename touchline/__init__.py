"""touchline: train, pit against each other and benchmark football agents on Google Research Football.

`import touchline` registers `touchline/<scenario>-v0` with Gymnasium. Heavy parts are imported when first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from touchline import registration as _registration

if TYPE_CHECKING:
    from touchline.envs.vector_env import FootballVectorEnv

__version__ = "0.1.0"

__all__ = ["__version__", "make_vec"]

_registration.register()


def make_vec(scenario: str, num_envs: int = 1, **options: Any) -> FootballVectorEnv:
    """`num_envs` matches of a scenario as one vector environment; the options are `FootballVectorEnv`'s."""
    from touchline.envs.vector_env import FootballVectorEnv

    return FootballVectorEnv(scenario, num_envs, **options)
