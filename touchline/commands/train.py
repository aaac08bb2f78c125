"""`touchline train`, whose flags are those of a training and of its agent."""

from __future__ import annotations

import contextlib
import dataclasses
import difflib
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import tyro

from touchline.commands.console import report_training
from touchline.commands.fields import nested, values

_RESUME = "the run goes on with its own settings, and only --total-steps is taken from the command line"


@dataclass(frozen=True)
class Train:
    """Trains an agent. Any field of the agent's own config is a flag too, e.g. `--learning-rate 1e-4`."""

    scenario: str = "academy_empty_goal_close"
    """Name, file or module of a scenario; see `touchline scenarios`."""
    preset: str | None = None
    """Where everything that is not given comes from (see benchmarks/presets.py); None is the agent's own, AGENT_cpu."""
    agent: str | None = None
    """ppo, impala, apex_dqn, or sb3:NAME for an algorithm of Stable-Baselines3 or sb3-contrib (PPO, DQN, QRDQN, ...);
    None is the preset's, and ppo without one."""
    sb3: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    """A hyper-parameter of an sb3 agent, e.g. `--sb3 learning_rate=3e-4`; may be given several times."""
    backend: str = "gfootball"
    observation: str | None = None
    """simple115v2, smm, egocentric, egocentric_kicks or egocentric_noise."""
    stack: int | None = None
    """Frames stacked."""
    rewards: tuple[str, ...] | None = None
    """Reward terms: scoring, checkpoints, attacks."""
    team_reward: bool = False
    """Every player gets the mean of his side's rewards, instead of his own."""
    left: int = 1
    """Controlled players of the left side."""
    right: int = 0
    """Controlled players of the right side."""
    control: Literal["upstream", "fixed"] = "upstream"
    action_set: Literal["default", "v2"] = "default"
    num_envs: int | None = None
    num_actors: int | None = None
    """Actors that play while the agent learns (impala, apex_dqn); 0 plays and learns in turns."""
    actors: Literal["thread", "process", "ray"] = "thread"
    """Where actors run: threads, processes, or the machines of a Ray cluster."""
    ray_address: str | None = None
    """A running Ray cluster (auto: that of this machine); none starts one for this training if there is none."""
    num_threads: int | None = None
    workers: Literal["thread", "process"] = "thread"
    """process isolates: a crash inside the engine then costs only its episodes."""
    reset_pool: int | None = None
    """Snapshots that episodes start from in place of true resets."""
    total_steps: int = 1_000_000
    """Environment steps, counted per env."""
    seed: int = 0
    device: str = "cpu"
    out: str | None = None
    """The run directory; None is a new one under runs/."""
    opponent: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    """Who drives the right side's players (as many as on the left, or --right): a scripted name, a run directory, a
    Python file, or self, the agent's own past; may be given several times. None is the engine's own AI."""
    opponent_config: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    """How they are drawn, e.g. `--opponent-config snapshot_interval=200000` (fields in touchline/opponents.py)."""
    trust: bool = False
    """Opponents may be SB3 zips: they hold pickles, which run code when they are opened."""
    teacher: str | None = None
    """A policy whose actions PPO imitates while it learns, less and less: a scripted name, a run directory, a file."""
    init: str | None = None
    """A run directory, or a trained policy's name, whose networks the training begins with."""
    stagger: int = 0
    """Steps of random play at most before the training begins, which spread the matches evenly over so many steps:
    those of one length (3,000 steps of a whole one) then do not all begin and end together."""
    bonus: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    """Name of an exploration module; may be given several times."""
    bonus_config: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    """A field of a module's config, e.g. `--bonus-config rnd.coef=0.1`; may be given several times."""
    value_target: str | None = None
    """gae, vtrace, n_step or adaptive_td."""
    value_target_config: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    """A field of its config, e.g. `--value-target-config num_members=3`; may be given several times."""
    checkpoint_interval: int = 500_000
    """Environment steps between checkpoints."""
    double_buffer: bool | None = None
    """Step one half of the envs while the policy acts for the other; none: with a GPU alone."""
    mixed_precision: bool = False
    """Networks compute in bfloat16."""
    compile: bool = False
    """The networks' learning pass goes through torch.compile."""
    torch_threads: int | None = None
    """Threads that learn, and that act on pictures (one acts on vectors); None is torch's own choice."""
    resume: Path | None = None
    """A run directory to continue; only --total-steps is then taken from the command line."""
    quiet: bool = False
    """No progress bar, and no lines of progress where the output is a file."""
    track: bool = False
    """Tell Weights & Biases the metrics too (pip install 'touchline[track]'); WANDB_MODE=offline keeps them here."""
    track_project: str | None = None
    """The project there; None is touchline."""

    def run(self, rest: Sequence[str], given: Sequence[str]) -> int:
        from touchline import distributed, tracking, training
        from touchline.train_config import sb3_name

        trackers: list[Any] = []
        quiet = self.quiet or distributed.rank() > 0
        if _is_sb3(self.agent, self.resume):
            from touchline import sb3_training as training
        elif self.sb3:
            raise ValueError(f"--sb3 {self.sb3[0]} belongs to an SB3 agent: give --agent sb3:PPO, or drop it")
        if self.resume is not None:
            if rest:
                raise ValueError(f"no flag {rest[0]} beside --resume: {_RESUME}")
            taken = ("resume", "total_steps", "quiet", "track", "track_project")
            for name in (field.name for field in dataclasses.fields(self) if field.name not in taken):
                if any(_was_given(f"--{word}{name.replace('_', '-')}", given) for word in ("", "no-")):
                    raise ValueError(f"--{name.replace('_', '-')} is not taken beside --resume: {_RESUME}")
            total = self.total_steps if _was_given("--total-steps", given) else None
            until = total or training.saved_config(self.resume).total_steps
            if not quiet:
                trackers.append(tracking.progress(until))
            trackers += self._wandb(dataclasses.replace(training.saved_config(self.resume), out=str(self.resume)))
            result = training.resume(self.resume, total_steps=total, trackers=trackers)
        else:
            own = ("resume", "quiet", "sb3", "track", "track_project")
            options = {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.name not in own}
            options["bonus_config"] = nested(self.bonus_config)
            options["value_target_config"] = values(self.value_target_config)
            options["opponent_config"] = values(self.opponent_config)
            config = training.TrainConfig(**options).resolved()
            chosen = _sb3_config(self.sb3, rest) if sb3_name(self.agent) else agent_config(config, rest)
            config = dataclasses.replace(config, agent_config=chosen)
            if not quiet:
                trackers.append(tracking.progress(config.total_steps))
            trackers += self._wandb(config)
            result = training.train(config, trackers=trackers)
        if distributed.rank() == 0:
            report_training(result)
        return 130 if result["interrupted"] else 0

    def _wandb(self, config: Any) -> list[Any]:
        """The tracker that --track asks for, in the first process alone."""
        from touchline import distributed

        if not self.track:
            if self.track_project is not None:
                raise ValueError("--track-project names a project of Weights & Biases: give --track too")
            return []
        from touchline.wandb_tracker import PROJECT, WandbTracker

        return [] if distributed.rank() else [WandbTracker(config, self.track_project or PROJECT)]


def _is_sb3(agent: str | None, run: Path | None) -> bool:
    """Whether SB3 trains: by the agent's name, or by what is in the run directory to go on with."""
    from touchline.benchmarks.policies import zip_of
    from touchline.train_config import sb3_name

    if run is None and not sb3_name(agent) or run is not None and zip_of(run) == run:
        return False
    try:
        import touchline.sb3_training  # noqa: F401
    except ModuleNotFoundError as error:
        raise ValueError(f"{agent or run} needs {error.name}: pip install 'touchline[sb3]'") from error
    return True


def _sb3_config(pairs: Sequence[str], rest: Sequence[str]) -> dict[str, Any]:
    """An SB3 agent's hyper-parameters."""
    if rest:
        meant = _meant(rest[0], Train)
        raise ValueError(f"no flag {rest[0]}{meant}; hyper-parameters of SB3 are given as --sb3 NAME=VALUE")
    return values(pairs)


def agent_config(config: Any, rest: Sequence[str]) -> dict[str, Any]:
    """The agent's config fields: the preset's, with those of the command line over them."""
    from touchline.train_config import config_of

    kind = _agent_config_kind(config.agent)
    _check_flags(rest, kind, config.agent)
    start = config_of(kind, config.agent_config)
    chosen = tyro.cli(kind, prog=f"touchline train --agent {config.agent}", args=list(rest), default=start)
    return {k: v for k, v in dataclasses.asdict(chosen).items() if k in config.agent_config or v != getattr(start, k)}


def _check_flags(rest: Sequence[str], kind: type, agent: str) -> None:
    """Refuses what is no flag of `train` (those are taken out of `rest` already) nor of its agent."""
    own = {f.name for f in dataclasses.fields(kind)}
    for word in rest:
        flag = word.split("=")[0]
        name = flag.removeprefix("--").replace("-", "_")
        if not flag.startswith("--") or name in own or name.removeprefix("no_") in own or flag == "--help":
            continue
        raise ValueError(
            f"no flag {flag}{_meant(flag, Train, kind)}; `touchline train --agent {agent} --help` lists them"
        )


def _meant(flag: str, *kinds: type) -> str:
    """A hint at the flag of `kinds` that is most like a wrong one; nothing, if none is."""
    names = {f.name for kind in kinds for f in dataclasses.fields(kind)}
    flags = sorted(f"--{name.replace('_', '-')}" for name in names)
    close = difflib.get_close_matches(flag.split("=")[0], flags, n=1)
    return f" (did you mean {close[0]}?)" if close else ""


def _agent_config_kind(agent: str) -> type:
    from touchline import plugins

    kind = getattr(plugins.load("agents", agent), "Config", None) if agent in plugins.names("agents") else None
    if kind is None:
        raise ValueError(f"no agent {agent!r} that trains; there are ppo, impala, apex_dqn and sb3:PPO, sb3:DQN, ...")
    return kind


def show_help(rest: list[str]) -> int:
    """Train's own flags, then those of the named agent's config with the defaults that its preset gives them."""
    from touchline.train_config import TrainConfig, config_of

    chosen = {name: value for name in ("agent", "preset") if (value := _value_of(f"--{name}", rest))}
    config = TrainConfig(**chosen).resolved()
    kind = None if _is_sb3(config.agent, None) else _agent_config_kind(config.agent)
    with contextlib.suppress(SystemExit):
        tyro.cli(Train, prog="touchline train", args=["--help"])
    if kind is None:
        from touchline.agents.sb3_learning import hyperparameters

        name = config.agent.partition(":")[2]
        print(f"\nHyper-parameters of {config.agent}, as --sb3 NAME=VALUE: {', '.join(hyperparameters(name))}")
        return 0
    own = f"of the preset {config.preset}" if config.agent_config else f"of {config.agent}"
    print(f"\nFields of the config of {config.agent}, with the defaults {own}:")
    tyro.cli(kind, prog="touchline train", args=["--help"], default=config_of(kind, config.agent_config))
    return 0


def _value_of(flag: str, arguments: Sequence[str]) -> str | None:
    """The value that `--flag VALUE` or `--flag=VALUE` gives."""
    for argument, after in itertools.pairwise((*arguments, "")):
        name, _, value = argument.partition("=")
        if name == flag:
            return value or after
    return None


def _was_given(flag: str, arguments: Sequence[str]) -> bool:
    spellings = {flag, flag.replace("-", "_").replace("__", "--", 1)}
    return any(argument.split("=")[0] in spellings for argument in arguments)
