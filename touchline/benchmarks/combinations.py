"""What combines with what: agents, bonuses and value targets; the agents themselves say what they refuse."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from touchline import exploration
from touchline.train_config import TrainConfig
from touchline.types import EnvSpec

SETUPS: dict[str, dict[str, Any]] = {
    "ppo": {"agent": "ppo"},
    "ppo beside actors": {"agent": "ppo", "num_actors": 2},
    "ppo with MULEX": {"agent": "ppo", "agent_config": {"mulex": "episode"}},
    "impala": {"agent": "impala"},
    "impala beside actors": {"agent": "impala", "num_actors": 2},
    "impala with MULEX": {"agent": "impala", "agent_config": {"mulex": "episode"}},
    "impala with MULEX beside actors": {"agent": "impala", "agent_config": {"mulex": "episode"}, "num_actors": 2},
    "apex_dqn": {"agent": "apex_dqn"},
    "apex_dqn beside actors": {"agent": "apex_dqn", "num_actors": 2},
    "apex_dqn with MULEX": {"agent": "apex_dqn", "agent_config": {"mulex": "episode"}},
    "apex_dqn with MULEX beside actors": {"agent": "apex_dqn", "agent_config": {"mulex": "episode"}, "num_actors": 2},
}
"""{name: fields of `TrainConfig`} of agents."""

BONUSES: dict[str, dict[str, Any]] = {
    "none": {},
    "count": {"bonus": ("count",)},
    "icm": {"bonus": ("icm",)},
    "rnd": {"bonus": ("rnd",)},
    "rnd, episodic": {"bonus": ("rnd",), "bonus_config": {"rnd": {"episodic": True}}},
    "episodic_curiosity": {"bonus": ("episodic_curiosity",)},
    "episodic_curiosity, offline": {
        "bonus": ("episodic_curiosity",),
        "bonus_config": {"episodic_curiosity": {"train": "offline"}},
    },
    "visit_oracle": {"bonus": ("visit_oracle",)},
}

VALUE_TARGETS: tuple[str | None, ...] = (None, "gae", "vtrace", "n_step", "adaptive_td")
"""None is the agent's own."""

SPEC = EnvSpec((4,), "float32", 2, features={"ball": (0, 1), "player": (2, 3)})


def config_of(setup: str, bonus: str = "none", value_target: str | None = None, **fields: Any) -> TrainConfig:
    """The config of a combination, complete but for the preset; `fields` are further ones of `TrainConfig`."""
    own = {"observation": "simple115v2", "rewards": ("scoring",), "num_envs": 8, "num_actors": 0, "out": "nowhere"}
    return TrainConfig(**{**own, **SETUPS[setup], **BONUSES[bonus], "value_target": value_target, **fields})


def refusal(setup: str, bonus: str = "none", value_target: str | None = None, **fields: Any) -> str | None:
    """Why a combination is refused, in the words that the agent has for it; None if it is sound."""
    try:
        exploration.assemble(config_of(setup, bonus, value_target, **fields), SPEC)
    except ValueError as error:
        return str(error)
    return None


def tables() -> str:
    """Two tables in Markdown, agents by bonuses and agents by value targets, and the reasons of what is refused."""
    reasons: dict[str, int] = {}

    def rows(kind: str, names: tuple[str | None, ...], ask: Any) -> Iterator[str]:
        yield f"| {kind} | " + " | ".join(name or "the agent's own" for name in names) + " |"
        yield "|---" * (len(names) + 1) + "|"
        for setup in SETUPS:
            cells = []
            for name in names:
                reason = ask(setup, name)
                number = reasons.setdefault(reason, len(reasons) + 1) if reason else 0
                cells.append(f"no ({number})" if number else "yes")
            yield f"| `{setup}` | " + " | ".join(cells) + " |"

    lines = [*rows("agent \\ bonus", tuple(BONUSES), refusal), ""]
    lines += [*rows("agent \\ value target", VALUE_TARGETS, lambda setup, name: refusal(setup, "rnd, episodic", name))]
    lines += ["", *(f"{number}. {reason}" for reason, number in reasons.items())]
    return "\n".join(lines) + "\n"
