"""Trains an algorithm of Stable-Baselines3 or sb3-contrib as an agent of ours: `touchline train --agent sb3:PPO`.

The run directory is that of our own agents, with `model.zip`, which SB3 itself opens, in the place of `checkpoint.pt`.
It holds pickles, so whoever plays it must trust it; to continue a run only weights and numbers are read from it.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from touchline import checkpoint, exploration, tracking
from touchline.agents import sb3_learning
from touchline.agents.sb3_bonus import BonusVecEnv
from touchline.agents.sb3_bridge import Sb3VecEnv, algorithm
from touchline.files import write_text
from touchline.networks import torch_threads
from touchline.processes import alone
from touchline.rollout import env_spec
from touchline.sharing import MakeEnvs, check_device
from touchline.tracking import Tracker
from touchline.train_config import SB3_MODEL, TrainConfig, config_of, make_envs, sb3_name

BONUSES = "bonuses.pt"
"""What the exploration modules of a run have learned."""

LOG_STEPS = 2048
"""Environment steps between rows of metrics.csv, at least."""

log = logging.getLogger(__name__)


def train(config: TrainConfig, *, make_envs: MakeEnvs = make_envs, trackers: Sequence[Tracker] = ()) -> dict[str, Any]:
    """Trains from the start; Ctrl-C or SIGTERM ends it after the running step, with the model saved.

    Args:
        config: its agent is `sb3:NAME`, its agent_config holds the algorithm's hyper-parameters.
        make_envs: makes the vector env of a resolved config.
        trackers: told the metrics beside `metrics.csv` and TensorBoard; closed at the end.

    Returns:
        What `training.train` does.
    """
    config = config.resolved()
    with alone(Path(config.out), "the training"):
        if any(Path(config.out, name).exists() for name in (SB3_MODEL, "checkpoint.pt")):
            raise FileExistsError(
                f"{config.out} holds a run already: go on with --resume {config.out}, or give another --out"
            )
        return _run(config, make_envs, trackers, go_on=False)


def resume(
    run: Path | str,
    *,
    total_steps: int | None = None,
    make_envs: MakeEnvs = make_envs,
    trackers: Sequence[Tracker] = (),
) -> dict[str, Any]:
    """Continues a run from its zip, with new matches (and an empty replay); `total_steps` is a new end."""
    saved_config(run)  # no folder is made of a wrong name
    with alone(Path(run), "the training"):
        config = replace(saved_config(run), out=str(run))
        if total_steps is not None:
            done = sb3_learning.saved_settings(Path(run, SB3_MODEL))["num_timesteps"] + steps_before_learning(run)
            if total_steps <= done:
                raise ValueError(
                    f"{run} has made {done:,} steps already; expected more of them, got total_steps {total_steps:,}"
                )
            config = replace(config, total_steps=total_steps)
        return _run(config, make_envs, trackers, go_on=True)


def saved_config(run: Path | str) -> TrainConfig:
    """The config of a run directory."""
    return config_of(TrainConfig, json.loads(Path(run, "config.json").read_text()))


def steps_before_learning(run: Path | str) -> int:
    """Environment steps of the random play that a run's exploration modules learned from."""
    saved = Path(run, BONUSES)
    return checkpoint.load(saved)["offset"] if saved.exists() else 0


def check(config: TrainConfig) -> None:
    """Refuses what SB3 has no place for, with what to do."""
    name = sb3_name(config.agent)
    algorithm(name)
    sb3_learning.checked(name, config.agent_config)
    wrong = {
        "left": (config.left != 1, "SB3 trains one player: take --left 1, or an agent of ours"),
        "opponent": ("self" in config.opponent, "an opponent from SB3's past is not there: name other players"),
        "teacher": (config.teacher is not None, "only our PPO learns from a teacher"),
        "right": (config.right > 1, "SB3's opponent drives one player: take --right 1"),
        "value_target": (config.value_target is not None, "SB3's agents make their own targets"),
        "num_actors": (bool(config.num_actors), "actors are for impala and apex_dqn"),
        "init": (config.init is not None, "go on from SB3's zip with --resume RUN"),
        "stagger": (config.stagger > 0, "only agents of ours play before the training"),
        "mixed_precision": (config.mixed_precision, "SB3 has none"),
        "compile": (config.compile, "SB3's networks are not compiled"),
    }
    for field, (refused, advice) in wrong.items():
        if refused:
            raise ValueError(f"{field}={getattr(config, field)!r} does not go with {config.agent}: {advice}")


class _Log:
    """Collects what happens and tells the trackers; its call is SB3's callback."""

    def __init__(self, model: Any, layers: Sequence[BonusVecEnv], trackers: Sequence[Tracker], offset: int) -> None:
        self.model, self.layers, self.trackers, self.offset = model, layers, trackers, offset
        self.losses, self.statistics = sb3_learning.Losses(model), tracking.EpisodeStatistics()
        self.episodes: list[dict[str, float]] = []
        self.metrics: dict[str, float] = {}
        self.told = self.first = self.env_steps
        self.started = self.last = time.perf_counter()

    @property
    def env_steps(self) -> int:
        """Steps so far, random play of exploration modules among them."""
        return self.model.num_timesteps + self.offset

    def collect(self, infos: Sequence[dict[str, Any]]) -> None:
        """Takes the infos of one step of all environments."""
        self.episodes += [{k: v for k, v in info["episode"].items() if k != "t"} for info in infos if "episode" in info]

    def tell(self) -> None:
        """A row of metrics."""
        ended, self.episodes = self.episodes, []
        columns = {name: np.array([row[name] for row in ended]) for name in (ended[0] if ended else ())}
        self.metrics = {**self.losses.latest, **self.statistics(columns)}
        for layer in self.layers:
            self.metrics |= layer.metrics
        now = time.perf_counter()
        self.metrics["time/seconds"] = now - self.last
        self.metrics["time/env_steps_per_second"] = (self.env_steps - self.first) / (now - self.started)
        self.last = now
        for tracker in self.trackers:
            tracker(self.env_steps, self.metrics)
        self.told = self.env_steps


def _run(config: TrainConfig, make_envs: MakeEnvs, trackers: Sequence[Tracker], *, go_on: bool) -> dict[str, Any]:
    check(config)
    check_device(config.device)
    out, offset = Path(config.out), 0
    path = out / SB3_MODEL
    with ExitStack() as stack:
        envs = make_envs(config)
        stack.callback(envs.close)
        spec = env_spec(envs)
        bonuses = exploration.bonuses_of(config, spec, config.device)
        stack.enter_context(torch_threads(config.torch_threads or (1 if len(spec.observation_shape) == 1 else None)))
        if go_on and bonuses:
            saved = checkpoint.load(out / BONUSES)
            offset = saved["offset"]
            for name, bonus in bonuses.items():
                bonus.load_state_dict(saved["bonuses"][name])
        elif wanted := max((getattr(bonus, "random_steps", 0) for bonus in bonuses.values()), default=0):
            rollouts = list(exploration.random_play(envs, spec, wanted, seed=config.seed))
            offset = sum(rollout.action.numel() for rollout in rollouts)
            if offset >= config.total_steps:
                raise ValueError(
                    f"random play takes {offset:,} steps, and the whole training has {config.total_steps:,}: give it "
                    "more, or less to the bonus' random_steps"
                )
            for bonus in bonuses.values():
                if getattr(bonus, "random_steps", 0):
                    bonus.pretrain(iter(rollouts))
        view, layers = Sb3VecEnv(envs), []
        for bonus in bonuses.values():
            view = BonusVecEnv(view, bonus)
            layers.append(view)
        seed = config.seed
        if go_on:  # other matches than the run began with
            seed += int(sb3_learning.saved_settings(path)["num_timesteps"])
        name = sb3_name(config.agent)
        model = sb3_learning.make_model(name, view, config.agent_config, seed=seed, device=config.device)
        if go_on:
            sb3_learning.restore(model, path)
        write_text(out / "config.json", json.dumps(asdict(config), indent=2) + "\n")
        trackers = [*trackers, *tracking.files(out, model.num_timesteps + offset)]
        for tracker in trackers:
            stack.callback(tracker.close)
        told = _Log(model, layers, trackers, offset)
        saved_at = told.env_steps

        def save() -> int:
            sb3_learning.save(model, path)
            if bonuses:
                states = {name: bonus.state_dict() for name, bonus in bonuses.items()}
                checkpoint.save(out / BONUSES, {"bonuses": states, "offset": offset})
            return told.env_steps

        def on_step(infos: list[dict[str, Any]]) -> bool:
            nonlocal saved_at
            told.collect(infos)
            if told.env_steps - told.told >= LOG_STEPS:
                told.tell()
            if told.env_steps - saved_at >= config.checkpoint_interval:
                saved_at = save()
            return not stop.is_set()

        stop = stack.enter_context(checkpoint.stop_on_signals())
        sb3_learning.learn(model, config.total_steps - offset, on_step)
        if told.env_steps > told.told:
            told.tell()
        save()
    interrupted = told.env_steps < config.total_steps
    if interrupted:
        log.warning("stopped after %d env steps; model at %s", told.env_steps, path)
    return {
        "run": out,
        "checkpoint": path,
        "env_steps": told.env_steps,
        "interrupted": interrupted,
        "stopped": stop.is_set(),
        "env_steps_per_second": told.metrics.get("time/env_steps_per_second"),
        "metrics": told.metrics,
    }
