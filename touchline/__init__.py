"""touchline: train, pit against each other and benchmark football agents on Google Research Football.

`import touchline` registers `touchline/<scenario>-v0` with Gymnasium and PettingZoo. Heavy parts are imported when they
are first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from touchline import registration as _registration

if TYPE_CHECKING:
    from pettingzoo import AECEnv

    from touchline.checkpoint import TrainedPolicy
    from touchline.envs.parallel_env import FootballParallelEnv
    from touchline.envs.vector_env import FootballVectorEnv

__version__ = "0.1.0"

__all__ = ["__version__", "aec_env", "load_policy", "make_vec", "parallel_env"]

_registration.register()


def make_vec(scenario: str, num_envs: int = 1, **options: Any) -> FootballVectorEnv:
    """`num_envs` matches of a scenario as one vector environment; the options are `FootballVectorEnv`'s."""
    from touchline.envs.vector_env import FootballVectorEnv

    return FootballVectorEnv(scenario, num_envs, **options)


def parallel_env(scenario: str = "5_vs_5", **options: Any) -> FootballParallelEnv:
    """A match as a PettingZoo parallel environment; the options are `FootballParallelEnv`'s."""
    from touchline.envs.parallel_env import FootballParallelEnv

    return FootballParallelEnv(scenario, **options)


def aec_env(scenario: str = "5_vs_5", **options: Any) -> AECEnv:
    """A match as a PettingZoo AEC environment, in which the agents choose one after the other."""
    from touchline.envs.parallel_env import aec_env

    return aec_env(scenario, **options)


def load_policy(name: str, *, greedy: bool = True, seed: int = 0) -> TrainedPolicy:
    """A trained policy of the package (`touchline policies` lists them) or of a run directory.

    Its `act(observations)` takes [B, *obs], or [B, N, *obs] for N players, of the observation that its `observation`
    names, and gives actions [B] or [B, N]; `begin(mask, seeds)` tells a policy with a memory where episodes begin.

    Args:
        greedy: the most probable action instead of a sampled one.
        seed: of the sampling.

    Raises:
        CheckpointError: there is neither.
    """
    from touchline import checkpoint, trained

    try:
        return checkpoint.load_policy(trained.located(name), greedy=greedy, seed=seed)
    except checkpoint.CheckpointError as error:
        raise checkpoint.CheckpointError(f"{error}; trained policies: {', '.join(trained.names())}") from error
