"""Presets: named choices of environment options and an agent's hyper-parameters, as plain data."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Preset:
    """What `TrainConfig` takes from here where it is given nothing else.

    Attributes:
        agent: name of the agent.
        agent_config: fields of the agent's `Config` that differ from its defaults.
        num_actors: threads that play while the agent learns; 0 plays and learns in turns.
        observation, rewards, num_envs, stack, reset_pool: options of `make_vec`; None leaves them to it.
        note: where the numbers are from, and what differs from there.
    """

    agent: str
    agent_config: dict[str, Any] = field(default_factory=dict)
    observation: str = "simple115v2"
    rewards: tuple[str, ...] = ("scoring",)
    num_envs: int = 32
    num_actors: int = 0
    stack: int | None = None
    reset_pool: int | None = None
    note: str = ""


_PAPER = {
    "unroll_length": 512,
    "num_epochs": 2,
    "gae_lambda": 0.95,
    "value_coef": 0.5,
    "shared_encoder": True,
    "recompute_advantages": False,
    "cnn_depths": (16, 32, 32, 32),
}
_PAPER_NOTE = (
    "PPO of Kurach et al. 2020 (https://arxiv.org/abs/1907.11180): OpenAI Baselines, 16 envs x 512, 50M steps; "
    "differs: value loss not clipped, truncation bootstraps, policy head initialised 100x smaller."
)

_APEX_NOTE = (
    "Settings of Horgan et al. 2018 (https://arxiv.org/abs/1803.00933) on the mini maps of Kurach et al. 2020: batch "
    "512, 3 steps, centred RMSProp, 50k transitions before learning. Kurach et al. are said to have tuned the learning "
    "rate to 1.475e-5 (scoring) or 1.15e-5 (checkpoints) and the discount to 0.999, with 150 actors; the rest of their "
    "settings we have not seen, so these are Horgan's own. Also differs: tied to playing by a replay ratio, 1M instead "
    "of 2M transitions, orthogonal initialisation."
)

_SEED_IMPALA = {"unroll_length": 32, "batch_size": 32, "gamma": 0.997, "shared_encoder": True, "max_grad_norm": 1e9}
_SEED_NOTE = (
    "V-trace learner of SEED RL's football experiments (Espeholt et al. 2020, https://arxiv.org/abs/1910.06591): "
    "200 envs, Adam, no gradient clipping, 500M steps; differs: truncation bootstraps, orthogonal initialisation."
)

PRESETS = {
    "ppo_cpu": Preset(
        agent="ppo",
        agent_config={
            "unroll_length": 128,
            "num_epochs": 10,
            "minibatch_size": 1024,
            "learning_rate": 3e-4,
            "anneal_learning_rate": True,
            "gamma": 0.995,
            "gae_lambda": 0.95,
            "clip_coef": 0.2,
            "entropy_coef": 0.02,
            "policy_hidden": (256, 256),
            "value_hidden": (256, 256),
        },
        observation="egocentric",
        rewards=("scoring", "checkpoints"),
        num_envs=32,
        reset_pool=256,
        note="Ours, for two CPU cores; its entropy bonus comes from results/ppo_preset.",
    ),
    "ippo_cpu": Preset(
        agent="ppo",
        agent_config={
            "unroll_length": 128,
            "num_epochs": 5,
            "minibatch_size": 4096,
            "learning_rate": 5e-4,
            "anneal_learning_rate": True,
            "gamma": 0.995,
            "gae_lambda": 0.95,
            "clip_coef": 0.2,
            "entropy_coef": 0.005,
            "policy_hidden": (128, 128),
            "value_hidden": (128, 128),
        },
        observation="egocentric",
        rewards=("scoring", "checkpoints"),
        num_envs=64,
        reset_pool=256,
        note="Ours, for two CPU cores and several players with shared weights (IPPO, de Witt et al. 2020, "
        "https://arxiv.org/abs/2011.09533): players multiply the experience, so fewer passes, larger minibatches and "
        "narrower networks than ppo_cpu. With --central-critic it is MAPPO.",
    ),
    "ippo_taught": Preset(
        agent="ppo",
        agent_config={
            "unroll_length": 128,
            "num_epochs": 4,
            "minibatch_size": 1024,
            "learning_rate": 5e-4,
            "anneal_learning_rate": True,
            "gamma": 0.995,
            "gae_lambda": 0.95,
            "clip_coef": 0.2,
            "entropy_coef": 0.001,
            "policy_hidden": (256, 256),
            "value_hidden": (128, 128),
            "teacher_until": 1.0,
        },
        observation="egocentric_kicks",
        rewards=("scoring",),
        num_envs=64,
        reset_pool=256,
        note="As ippo_cpu, for a team with a teacher (results/league_kicks): the teacher says more than rewards, so "
        "more gradient steps, a wider policy, little entropy and goals alone; players see which kicks they have begun.",
    ),
    "ppo_paper_scoring": Preset(
        agent="ppo",
        agent_config={
            **_PAPER,
            "minibatch_size": 16 * 512 // 4,
            "learning_rate": 1.1879e-4,
            "clip_coef": 0.115,
            "gamma": 0.997,
            "entropy_coef": 0.00155,
            "max_grad_norm": 0.76,
        },
        observation="smm",
        rewards=("scoring",),
        num_envs=16,
        stack=4,
        note=_PAPER_NOTE,
    ),
    "ppo_paper_checkpoints": Preset(
        agent="ppo",
        agent_config={
            **_PAPER,
            "minibatch_size": 16 * 512 // 8,
            "learning_rate": 3.43e-4,
            "clip_coef": 0.08,
            "gamma": 0.993,
            "entropy_coef": 0.003,
            "max_grad_norm": 0.64,
        },
        observation="smm",
        rewards=("scoring", "checkpoints"),
        num_envs=16,
        stack=4,
        note=_PAPER_NOTE,
    ),
    "impala_cpu": Preset(
        agent="impala",
        agent_config={
            "unroll_length": 32,
            "batch_size": 32,
            "num_epochs": 8,
            "clip_coef": 0.2,
            "learning_rate": 3e-4,
            "anneal_learning_rate": True,
            "gamma": 0.995,
            "gae_lambda": 0.95,
            "entropy_coef": 0.02,
            "normalise_advantages": True,
            "max_grad_norm": 0.5,
            "shared_encoder": False,
        },
        observation="egocentric",
        rewards=("scoring", "checkpoints"),
        num_envs=128,
        reset_pool=256,
        note="Ours, for two CPU cores: many short columns, for minibatches of few long ones learn half as "
        "much; no actors beside the learner: two cores play no faster with them, and their lag costs samples. Since "
        "2026-12-01 four times the entropy bonus of before (results/impala_entropy).",
    ),
    "impala_paper_scoring": Preset(
        agent="impala",
        agent_config={**_SEED_IMPALA, "gae_lambda": 0.9, "learning_rate": 5.534e-5, "entropy_coef": 3.195e-5},
        observation="smm",
        rewards=("scoring",),
        num_envs=200,
        num_actors=2,
        stack=4,
        note=_SEED_NOTE,
    ),
    "impala_paper_checkpoints": Preset(
        agent="impala",
        agent_config={**_SEED_IMPALA, "gae_lambda": 1.0, "learning_rate": 1.2542e-4, "entropy_coef": 7.331e-4},
        observation="smm",
        rewards=("scoring", "checkpoints"),
        num_envs=200,
        num_actors=2,
        stack=4,
        note=_SEED_NOTE,
    ),
    "apex_dqn_cpu": Preset(
        agent="apex_dqn",
        agent_config={
            "unroll_length": 16,
            "batch_size": 256,
            "replay_ratio": 4.0,
            "replay_capacity": 500_000,
            "learning_starts": 20_000,
            "learning_rate": 5e-4,
            "anneal_learning_rate": True,
            "gamma": 0.99,
            "n_step": 5,
            "target_interval": 200,
        },
        observation="egocentric",
        rewards=("scoring", "checkpoints"),
        num_envs=32,
        reset_pool=256,
        note="Ours, for two CPU cores.",
    ),
    "apex_dqn_paper": Preset(
        agent="apex_dqn",
        agent_config={
            "unroll_length": 50,
            "batch_size": 512,
            "replay_ratio": 4.0,
            "replay_capacity": 1_000_000,
            "learning_starts": 50_000,
            "learning_rate": 6.25e-5,
            "optimiser": "rmsprop",
            "optimiser_eps": 1.5e-7,
            "gamma": 0.99,
            "n_step": 3,
            "target_interval": 2500,
        },
        observation="smm",
        rewards=("scoring",),
        num_envs=152,
        num_actors=2,
        stack=4,
        note=_APEX_NOTE,
    ),
}


def own(agent: str) -> str | None:
    """The preset that an agent gets where none is named, if it has one."""
    return f"{agent}_cpu" if f"{agent}_cpu" in PRESETS else None


def plain(agent: str) -> Preset:
    """What an agent without a preset of its own gets; SB3's algorithms the environment of `ppo_cpu`, fewer at once."""
    if not agent.startswith("sb3:"):
        return Preset(agent=agent)
    like = PRESETS["ppo_cpu"]
    return Preset(agent, {}, like.observation, like.rewards, num_envs=8, reset_pool=like.reset_pool)


def load(name: str) -> Preset:
    """A preset by name; a wrong name says what exists."""
    if name not in PRESETS:
        raise ValueError(f"no {name!r} in presets; there are {', '.join(sorted(PRESETS))}")
    return PRESETS[name]
