"""What training makes of the exploration modules that a config names."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields
from typing import Any, NamedTuple

import torch
from torch import Tensor

from touchline import plugins
from touchline.agents.parts import value_targets
from touchline.rollout import Buffer, Rollout, collect
from touchline.train_config import TrainConfig, config_of
from touchline.types import EnvSpec

SHARED = ("gamma", "lam", "inner", "n_step", "rho_bar", "c_bar")
"""Fields of a value target's config that training takes from the agent's."""

RANDOM_UNROLL = 128
"""Steps of a rollout of random play."""


class Assembled(NamedTuple):
    """An agent with its exploration modules.

    Attributes:
        agent: that learns.
        agent_config: its `Config`.
        options: of its `make`, which make others like it.
        bonuses: {name: Bonus}.
    """

    agent: Any
    agent_config: Any
    options: dict[str, Any]
    bonuses: dict[str, Any]


def assemble(config: TrainConfig, spec: EnvSpec, *, device: str = "cpu") -> Assembled:
    """The agent of a resolved config with its bonuses and value target; what is not sound together is refused."""
    module, values = plugins.load("agents", config.agent), dict(config.agent_config)
    if values.get("mulex") and "mulex" not in {field.name for field in fields(module.Config)}:
        raise ValueError(
            f"MULEX's policies learn from each other's play, {config.agent} from its own alone: take apex_dqn or impala"
        )
    if config.value_target in value_targets.NAMES:
        values["value_target"] = config.value_target
    agent_config = config_of(module.Config, values)
    if config.teacher is not None and not hasattr(agent_config, "teacher_coef"):
        raise ValueError(f"{config.agent} does not learn from a teacher: take ppo")
    bonuses = bonuses_of(config, spec, device)
    target = target_of(config, agent_config, spec, device)
    options: dict[str, Any] = {"bonus_streams": [s for bonus in bonuses.values() for s in bonus.streams]}
    scores = {}
    if getattr(module, "REPLAYS", False):
        options["num_actors"] = config.num_actors or 1
        scores["scores"] = [bonus.score for bonus in bonuses.values() if hasattr(bonus, "score")]
    agent = module.make(spec, agent_config, value_target=target, seed=config.seed, device=device, **options, **scores)
    if config.num_actors:
        agent.check_lag()
    return Assembled(agent, agent_config, options, bonuses)


def bonuses_of(config: TrainConfig, spec: EnvSpec, device: str) -> dict[str, Any]:
    """{name: Bonus} of a config, in its order; `config.bonus_config` holds their fields."""
    if others := sorted(set(config.bonus_config) - set(config.bonus)):
        raise ValueError(f"bonus_config of {', '.join(others)}, but not bonus: give --bonus {others[0]} too")
    bonuses = {}
    for name in config.bonus:
        module = load_kind(name, "bonus")
        bonuses[name] = module.make(
            spec, config_of(module.Config, config.bonus_config.get(name, {})), seed=config.seed, device=device
        )
    return bonuses


def target_of(config: TrainConfig, agent_config: Any, spec: EnvSpec, device: str) -> Any:
    """The value target that an exploration module makes, or None where the agent makes its own.

    What the module's config has in common with the agent's (discount, trace decay) is the agent's, and its `inner`
    target the one the agent would have made itself.
    """
    if config.value_target is None or config.value_target == getattr(agent_config, "value_target", None):
        if unread := ", ".join(sorted(config.value_target_config)):
            raise ValueError(f"value_target_config of {unread}, but no value_target that is a module: give adaptive_td")
        return None
    module = load_kind(config.value_target, "value_target")
    theirs = {"lam": "gae_lambda", "inner": "value_target"}
    names = [field.name for field in fields(module.Config)]
    shared = {name: getattr(agent_config, theirs.get(name, name), None) for name in SHARED if name in names}
    given = config.value_target_config
    if "gamma" in given and given["gamma"] != shared.get("gamma"):
        own, wanted = shared.get("gamma"), given["gamma"]
        raise ValueError(f"{config.value_target}: its gamma is the agent's, {own}; give --gamma {wanted} instead")
    values = {k: v for k, v in shared.items() if v is not None} | given
    return module.make(spec, config_of(module.Config, values), seed=config.seed, device=device)


def load_kind(name: str, kind: str) -> Any:
    """An exploration module of some kind, "bonus" or "value_target"; a wrong name says which there are.

    What a module is, it says itself with KIND; one that says nothing is a bonus.
    """
    if name not in (known := names_of(kind)):
        built_in = value_targets.NAMES if kind == "value_target" else ()
        there = ", ".join((*built_in, *known))
        raise ValueError(f"no {name!r} among {kind.replace('_', ' ')} modules; there are {there}")
    return plugins.load("curiosity", name)


def names_of(kind: str) -> list[str]:
    """The exploration modules of some kind."""
    names = plugins.names("curiosity")
    return [name for name in names if getattr(plugins.load("curiosity", name), "KIND", "bonus") == kind]


class _RandomPolicy:
    """Any action, equally often."""

    def __init__(self, num_actions: int) -> None:
        self._num_actions = num_actions

    def act(self, obs: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        action = torch.randint(self._num_actions, (len(obs),), generator=generator)
        return action, torch.full((len(obs),), 1 / self._num_actions).log()


def random_play(envs: Any, spec: EnvSpec, steps: int, *, seed: int) -> Iterator[Rollout]:
    """At least so many environment steps of random play, from a reset on, in rollouts of their own memory."""
    buffer, generator = Buffer(spec, envs.num_envs, RANDOM_UNROLL), torch.Generator().manual_seed(seed)
    obs, _ = envs.reset(seed=seed)
    for _ in range(-(-steps // (RANDOM_UNROLL * envs.num_envs))):
        rollout, obs = collect(envs, _RandomPolicy(spec.num_actions), obs, buffer, generator)
        yield rollout.clone()
