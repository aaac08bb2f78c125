"""How a training is shared out: among processes that learn together, halves of its envs, and actors."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from touchline import distributed, plugins
from touchline.agents.parts.actors import (
    Actor,
    ActorFactory,
    Actors,
    ProcessTransport,
    RemoteActors,
    ThreadActors,
)
from touchline.processes import usable_cores
from touchline.rollout import env_spec
from touchline.train_config import TrainConfig

MakeEnvs = Callable[[TrainConfig], Any]


def share_of(config: TrainConfig) -> TrainConfig:
    """What this process does of a training: all of it, or under torchrun a part of the envs with seeds of its own."""
    world, rank = distributed.world_size(), distributed.rank()
    if world == 1:
        return config
    if config.num_envs % world:
        raise ValueError(f"expected num_envs to be a multiple of {world} processes, got {config.num_envs}")
    if config.bonus:
        raise ValueError(f"{', '.join(config.bonus)}: a bonus learns in one process alone; do without torchrun")
    if config.value_target == "adaptive_td":
        raise ValueError("adaptive_td: its ensemble learns in one process alone; do without torchrun")
    num_envs = config.num_envs // world
    threads = max(1, (config.num_threads or usable_cores()) // int(os.environ.get("LOCAL_WORLD_SIZE", world)))
    return replace(
        config,
        num_envs=num_envs,
        double_buffer=config.double_buffer and num_envs % 2 == 0,
        num_threads=threads,
        seed=config.seed + 1_000_003 * rank,
        device=distributed.local_device(config.device),
    )


def check_device(device: str) -> None:
    """Refuses what is no device of torch's, and a GPU that is not there."""
    try:
        torch.device(device)
    except RuntimeError as error:
        raise ValueError(f"no device {device!r}; there are cpu, cuda, and cuda:0 and so on") from error
    if torch.device(device).type == "cuda" and not torch.cuda.is_available():
        built = "for CUDA, but finds no GPU" if torch.version.cuda else "for the CPU alone"
        raise ValueError(f"device {device!r}: torch {torch.__version__} was built {built}; take device='cpu'")


def parts_of(config: TrainConfig) -> list[TrainConfig]:
    """The vector envs that a run steps itself: one, two halves, or beside actors a small one for its shapes."""
    if config.num_actors:
        return [replace(config, num_envs=1, num_actors=0, reset_pool=0, double_buffer=False)]
    if not config.double_buffer:
        return [config]
    half = replace(config, num_envs=config.num_envs // 2)
    return [half, replace(half, seed=config.seed + 500_009)]  # start states and opponents of its own


def make_actor(
    config: TrainConfig, make_envs: MakeEnvs, agent_config: Any, options: Mapping[str, Any], index: int, version: int
) -> Actor:
    """One of `config.num_actors` actors: its share of the envs, a copy of the policy, and matches of its own."""
    number = config.num_actors
    threads = config.num_threads or usable_cores()
    envs = make_envs(
        replace(
            config,
            num_actors=0,
            double_buffer=False,
            num_envs=config.num_envs // number,
            num_threads=max(1, threads // number),
            seed=config.seed + 1_009 * index,  # start states and opponents of its own
        )
    )
    policy = plugins.load("agents", config.agent).make(env_spec(envs), agent_config, seed=config.seed, **options)
    seed = np.random.SeedSequence([config.seed, index, version]).generate_state(1)[0] % 10**9
    return Actor(index, envs, policy, agent_config.unroll_length, seed=int(seed))


def actors_of(config: TrainConfig, make: ActorFactory, version: int) -> Actors:
    """The actors that a config asks for, on threads, in processes or on Ray."""
    if config.actors == "thread":
        return ThreadActors(make, config.num_actors, version=version)
    if config.actors == "process":
        return RemoteActors(ProcessTransport(make), config.num_actors, version=version)
    from touchline.agents.parts.ray_actors import RayTransport  # Ray is optional

    threads = max(1, (config.num_threads or 1) // config.num_actors)
    transport = RayTransport(make, address=config.ray_address, cpus=threads)
    transport.warn_if_short(config.num_actors)
    return RemoteActors(transport, config.num_actors, version=version)
