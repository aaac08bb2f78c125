"""What to train, on what, for how long."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from datetime import datetime
from numbers import Integral, Real
from pathlib import Path
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from touchline.benchmarks import presets

ACTORS = ("thread", "process", "ray")

MAX_SEED = 900_000_000

SB3 = "sb3:"
"""What stands before the name of an algorithm of Stable-Baselines3 or sb3-contrib, as agent."""

SB3_MODEL = "model.zip"
"""The file of a run directory that stands for `checkpoint.pt` where SB3 learned."""


def sb3_name(agent: str | None) -> str | None:
    """ "PPO" of the agent `sb3:PPO`; None of an agent of ours."""
    return agent.removeprefix(SB3) if agent is not None and agent.startswith(SB3) else None


@dataclass(frozen=True)
class TrainConfig:
    """What to train, on what, for how long; what is None is taken from the preset.

    Attributes:
        preset: a name of `benchmarks.presets`; None is the agent's own, AGENT_cpu.
        agent: None is the preset's, and ppo without one; `sb3:PPO` is SB3's (see `sb3_training`).
        total_steps: environment steps, counted per env.
        num_actors: that play while the agent learns, with policies that lag behind it; they share `num_envs` and
            `num_threads` equally. 0 plays and learns in turns.
        actors: "thread", "process" (a crash in one costs an unroll) or "ray" (on any machine of a cluster).
        ray_address: of a running Ray cluster, "auto" for the one on this machine; None takes the one that
            RAY_ADDRESS or this machine has, and else starts one for this training.
        double_buffer: step one half of the envs while the policy acts for the other; None does so with a GPU and an
            even number of envs alone.
        mixed_precision: networks compute in bfloat16 (`torch.autocast`).
        compile: the networks' learning pass goes through `torch.compile`.
        torch_threads: threads that learn, and that act on pictures (one acts on vectors); None is torch's own choice,
            and one beside actors, which act with one each.
        out: the run directory; None is a new one under `runs/`.
        opponent: who drives the right side's controlled players, drawn anew for every episode: names of scripted
            players, `builtin_ai:0.6` (the engine's at a difficulty), run directories, Python files, and "self", the
            agent's own past. `opponent_config` holds fields of
            `opponents.OpponentConfig`. With none the engine's own AI plays on the right.
        team_reward: every player gets the mean of his side's rewards, instead of his own.
        right: controlled players of the right side; with opponents 0 means as many as on the left.
        trust: opponents may be SB3 zips, which hold pickles and so run code when they are opened.
        teacher: a policy as `evaluate` takes them (not the engine's AI), whose actions PPO imitates while it learns;
            how much and for how long is the agent's `teacher_coef` and `teacher_until`.
        init: a run directory whose policy and values the training begins with; the networks must be alike.
        stagger: environment steps a match at most of random play before the training begins, which leave the B matches
            at B different minutes, evenly spread. Otherwise all matches of one length end together, and every update
            sees the same minute of all. They count as steps of the training.
        bonus: names of exploration modules; `bonus_config` holds {name: {field: number}} for them.
        value_target: a name of `agents.parts.value_targets` or of an exploration module that makes one;
            `value_target_config` holds its fields.
        agent_config: fields of the agent's own config, over the preset's.
        checkpoint_interval: environment steps between checkpoints.
    """

    scenario: str = "academy_empty_goal_close"
    preset: str | None = None
    agent: str | None = None
    backend: str = "gfootball"
    observation: str | None = None
    stack: int | None = None
    rewards: tuple[str, ...] | dict[str, float] | None = None
    team_reward: bool = False
    left: int = 1
    right: int = 0
    control: str = "upstream"
    action_set: str = "default"
    num_envs: int | None = None
    num_actors: int | None = None
    actors: str = "thread"
    ray_address: str | None = None
    num_threads: int | None = None
    workers: str = "thread"
    reset_pool: int | None = None
    double_buffer: bool | None = None
    mixed_precision: bool = False
    compile: bool = False
    torch_threads: int | None = None
    total_steps: int = 1_000_000
    seed: int = 0
    device: str = "cpu"
    out: str | None = None
    opponent: tuple[str, ...] = ()
    opponent_config: dict[str, Any] = field(default_factory=dict)
    trust: bool = False
    teacher: str | None = None
    init: str | None = None
    stagger: int = 0
    bonus: tuple[str, ...] = ()
    bonus_config: dict[str, dict[str, Any]] = field(default_factory=dict)
    value_target: str | None = None
    value_target_config: dict[str, Any] = field(default_factory=dict)
    agent_config: dict[str, Any] = field(default_factory=dict)
    checkpoint_interval: int = 500_000

    def __post_init__(self) -> None:
        if not 0 <= self.seed < MAX_SEED:  # its matches, of all envs, processes and actors, are not to be evaluations'
            raise ValueError(f"expected a seed from 0 to {MAX_SEED - 1:,}, got {self.seed}")
        if self.total_steps < 1:
            raise ValueError(f"expected total_steps of at least 1, got {self.total_steps}")
        if self.torch_threads is not None and self.torch_threads < 1:
            raise ValueError(f"expected torch_threads of at least 1, got {self.torch_threads}")
        if self.actors not in ACTORS:
            raise ValueError(f"no {self.actors!r} in actors; there are {', '.join(ACTORS)}")
        number = self.num_actors or 0
        if number < 0 or (number and self.num_envs is not None and self.num_envs % number):
            raise ValueError(f"expected num_envs to be a multiple of num_actors, got {self.num_envs} and {number}")
        if self.opponent_config and not self.opponent:
            raise ValueError(
                f"opponent_config of {', '.join(self.opponent_config)}, but no opponent: give --opponent self"
            )
        if self.stagger < 0 or (self.stagger and number):
            raise ValueError(f"expected stagger >= 0, and 0 beside actors, got {self.stagger}")
        if "self" in self.opponent and number:
            raise ValueError("self-play beside actors is not there: num_actors must be 0 with opponent self")
        if self.double_buffer and self.num_envs is not None and self.num_envs % 2:
            raise ValueError(f"expected an even num_envs to step in two halves, got {self.num_envs}")

    def resolved(self) -> TrainConfig:
        """The same, complete: what was None is filled in from the preset."""
        name = self.preset or presets.own(self.agent or "ppo")
        preset = presets.load(name) if name else presets.plain(self.agent)
        options = ("agent", "observation", "stack", "rewards", "num_envs", "num_actors", "reset_pool")
        filled = {name: getattr(preset, name) for name in options if getattr(self, name) is None}
        same_agent = self.agent in (None, preset.agent)
        if not same_agent and self.num_actors is None:
            filled["num_actors"] = 0
        agent_config = {**(preset.agent_config if same_agent else {}), **self.agent_config}
        if self.double_buffer is None:
            actors = self.num_actors if self.num_actors is not None else filled["num_actors"]
            num_envs = self.num_envs if self.num_envs is not None else filled["num_envs"]
            filled["double_buffer"] = self.device.startswith("cuda") and not actors and num_envs % 2 == 0
        stamp = f"{datetime.now():%Y%m%d-%H%M%S}"
        if self.opponent and not self.right:
            filled["right"] = self.left
        scenario = Path(self.scenario).stem if os.sep in self.scenario else self.scenario  # a file's
        out = self.out or f"runs/{scenario}-{(self.agent or preset.agent).replace(':', '-')}-{self.seed}-{stamp}"
        return replace(self, preset=name, **filled, agent_config=agent_config, out=out)


def config_of(kind: type, values: Mapping[str, Any]) -> Any:
    """A config dataclass from plain (JSON) values.

    Raises:
        ValueError: an unknown field, a value of another type than its field's, or a number that is not finite.
    """
    known = [f.name for f in fields(kind)]
    if unknown := sorted(set(values) - set(known)):
        raise ValueError(f"no {', '.join(unknown)} in {kind.__qualname__}; there are {', '.join(known)}")
    types = get_type_hints(kind)
    for name, value in values.items():
        if not _fits(value, types[name]):
            raise ValueError(f"{name}: expected {_words(types[name])}, got {value!r}")
    return kind(**{k: tuple(v) if isinstance(v, list) else v for k, v in values.items()})


def _fits(value: Any, kind: Any) -> bool:
    """Whether a value is of an annotated type; of those that configs do not have, everything is."""
    origin, inner = get_origin(kind), get_args(kind)
    if kind is Any:
        return True
    if origin in (Union, UnionType):
        return any(_fits(value, one) for one in inner)
    if origin is tuple:
        if not isinstance(value, (tuple, list)):
            return False
        if inner[1:] == (...,):
            return all(_fits(one, inner[0]) for one in value)
        return len(value) == len(inner) and all(map(_fits, value, inner))
    if origin is dict:
        return isinstance(value, Mapping) and all(_fits(one, inner[1]) for one in value.values())
    if kind is float:
        return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)
    if kind is int:
        return isinstance(value, Integral) and not isinstance(value, bool)
    if isinstance(kind, type):
        return isinstance(value, kind)
    return not isinstance(origin, type) or isinstance(value, origin)


_WORDS = {int: "a whole number", float: "a finite number", str: "text", bool: "True or False", type(None): "None"}


def _words(kind: Any) -> str:
    """A type in words."""
    origin, inner = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        return " or ".join(map(_words, inner))
    if origin is tuple and inner[1:] == (...,):
        return f"a list, of {_words(inner[0])} each"
    if origin is tuple:
        return f"a list of {', '.join(map(_words, inner))}"
    return _WORDS.get(kind, "a mapping" if origin is dict else str(kind))


def make_envs(config: TrainConfig) -> Any:
    """The vector env a resolved config asks for."""
    import touchline

    names = ("backend", "observation", "stack", "rewards", "team_reward", "left", "right", "control", "action_set")
    names += ("num_envs", "num_threads", "workers", "reset_pool")
    options = {name: getattr(config, name) for name in names} | {"pool_seed": config.seed}
    options["central_state"] = bool(config.agent_config.get("central_critic"))
    if config.opponent:
        from touchline.opponents import make_opponent_env  # it imports this module

        envs = make_opponent_env(config, options)
    else:
        envs = touchline.make_vec(config.scenario, **{k: v for k, v in options.items() if v is not None})
    if config.teacher is None:
        return envs
    from touchline.teacher import TaughtEnv  # torch, only where it is needed

    return TaughtEnv(envs, config.teacher, action_set=config.action_set, seed=config.seed, trust=config.trust)
