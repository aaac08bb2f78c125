"""The training loop: run directories, checkpoints, trackers; everything hangs on a generator of updates."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Protocol

from touchline import checkpoint, distributed, tracking
from touchline.agents.parts.actors import ActorError
from touchline.files import write_text
from touchline.networks import torch_threads
from touchline.processes import alone
from touchline.run import Run
from touchline.sharing import MakeEnvs, check_device, parts_of, share_of
from touchline.tracking import Tracker, Update
from touchline.train_config import SB3_MODEL, TrainConfig, config_of, make_envs

__all__ = ["Companion", "TrainConfig", "make_envs", "resume", "saved_config", "train"]
log = logging.getLogger(__name__)


class Stopped(Exception):
    """A companion was stopped within its work: the last checkpoint is what the training goes on from."""


class Paused(Exception):
    """A companion wants the training to end here, with a checkpoint to go on from."""


class Companion(Protocol):
    """Goes along with a training."""

    def __call__(self, run: Run, update: Update) -> bool:
        """Called after every update; whether a checkpoint should be written now. May raise `Stopped` or `Paused`."""

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state: Mapping[str, Any]) -> None: ...


def train(
    config: TrainConfig,
    *,
    make_envs: MakeEnvs = make_envs,
    trackers: Sequence[Tracker] = (),
    companions: Sequence[Companion] = (),
) -> dict[str, Any]:
    """Trains from the start; Ctrl-C or SIGTERM ends it after the running update, with a checkpoint.

    Args:
        make_envs: makes the vector env of a resolved config.
        trackers: told every update's metrics beside `metrics.csv` and TensorBoard; closed at the end.
        companions: called after every update; their state is part of the checkpoint.

    Returns:
        run (the directory), checkpoint, env_steps, interrupted, env_steps_per_second, and the last metrics.
    """
    config = config.resolved()
    with _alone(config.out):
        if any(Path(config.out, name).exists() for name in ("checkpoint.pt", SB3_MODEL)):
            raise FileExistsError(
                f"{config.out} holds a run already: go on with --resume {config.out}, or give another --out"
            )
        return _run(config, None, make_envs, trackers, companions)


def resume(
    run: Path | str,
    *,
    total_steps: int | None = None,
    make_envs: MakeEnvs = make_envs,
    trackers: Sequence[Tracker] = (),
    companions: Sequence[Companion] = (),
) -> dict[str, Any]:
    """Continues a run from its checkpoint, as if it had never stopped; the result is `train`'s.

    With actors nothing of the learner is lost, but matches begin anew and what was queued is gone. So do, under
    torchrun, the matches of all processes but the first.

    Args:
        total_steps: a new end of the training; it also moves an annealed learning rate.
    """
    path = Path(run, "checkpoint.pt")
    with _alone(run) if path.is_file() else nullcontext():  # no folder is made of a wrong name
        saved = checkpoint.load(path)
        config = replace(config_of(TrainConfig, json.loads(saved["config"])), out=str(run))
        if total_steps is not None:
            if total_steps <= saved["env_steps"]:
                raise ValueError(
                    f"{run} has made {saved['env_steps']:,} steps already; expected more of them, got total_steps "
                    f"{total_steps:,} (a run that was to be longer ends by being stopped)"
                )
            config = replace(config, total_steps=total_steps)
        return _run(config, saved, make_envs, trackers, companions)


def _alone(run: Path | str) -> AbstractContextManager[None]:
    """The run directory is this training's, whose first process writes to it."""
    return nullcontext() if distributed.rank() else alone(Path(run), "the training")


def saved_config(run: Path | str) -> TrainConfig:
    """The config of a run directory."""
    return config_of(TrainConfig, json.loads(checkpoint.load(Path(run, "checkpoint.pt"))["config"]))


def _run(
    config: TrainConfig,
    saved: Mapping[str, Any] | None,
    make_envs: MakeEnvs,
    trackers: Sequence[Tracker],
    companions: Sequence[Companion],
) -> dict[str, Any]:
    path, share = Path(config.out, "checkpoint.pt"), share_of(config)
    writes = distributed.rank() == 0
    check_device(share.device)
    with ExitStack() as stack:
        stack.enter_context(distributed.group(share.device))
        version = saved.get("version", 0) if saved else 0
        envs = []
        for part in parts_of(share):
            envs.append(make_envs(part))
            stack.callback(envs[-1].close)
        init = None if saved else config.init
        run = Run(config, envs, make_envs=make_envs, share=share, version=version, init=init)
        statistics = tracking.EpisodeStatistics()
        if run.actors is not None:
            stack.callback(run.actors.close)
        # Acting on vectors is too little work to share; Run.updates learns with more threads.
        vectors = len(run.agent.spec.observation_shape) == 1
        stack.enter_context(torch_threads(1 if vectors else config.torch_threads))
        if saved is not None:
            run.load_state_dict(saved)
            statistics.load_state_dict(saved["statistics"])
            states = saved.get("companions", [])
            if len(states) != len(companions):
                raise ValueError(f"{path.parent} is a part of a whole: go on with `touchline league` (or `tune`)")
            for companion, state in zip(companions, states, strict=True):
                companion.load_state_dict(state)
        else:
            run.pretrain()
            run.stagger()
            if run.env_steps >= config.total_steps:
                raise ValueError(
                    f"random play takes {run.env_steps:,} steps, and the whole training has {config.total_steps:,}: "
                    "give it more, or less to stagger or to the bonus' random_steps"
                )
        waits, left = getattr(run.agent, "transitions_before_learning", 0), config.total_steps - run.env_steps
        if waits and waits >= left * run.agent.spec.num_players:
            log.warning(
                "%s will learn nothing: its first gradient step comes after %d transitions (learning_starts), and the "
                "training has %d environment steps left",
                config.agent,
                waits,
                left,
            )
        if writes:
            write_text(path.with_name("config.json"), json.dumps(asdict(config), indent=2) + "\n")
            trackers = [*trackers, *tracking.files(path.parent, run.env_steps)]
        for tracker in trackers:
            stack.callback(tracker.close)

        def save() -> int:
            if writes:
                beside = {"statistics": statistics.state_dict(), "companions": [c.state_dict() for c in companions]}
                checkpoint.save(path, run.state_dict() | beside)
            return run.env_steps

        metrics, saved_at, paused = {}, run.env_steps, False
        stop = stack.enter_context(checkpoint.stop_on_signals())
        try:
            for update in tracking.track(run.updates(), statistics, trackers):
                metrics = update.metrics
                try:
                    due = [companion(run, update) for companion in companions]
                except Stopped:
                    return _result(path, run, metrics, interrupted=True, stopped=stop.is_set())
                except Paused:
                    paused = True
                    break
                if distributed.anyone(stop.is_set(), share.device):
                    break
                if any(due) or update.env_steps - saved_at >= config.checkpoint_interval:
                    saved_at = save()
        except ActorError:
            save()
            raise
        save()
    interrupted = run.env_steps < config.total_steps
    if interrupted and not paused:
        log.warning("stopped after %d env steps; checkpoint at %s", run.env_steps, path)
    return _result(path, run, metrics, interrupted=interrupted, stopped=stop.is_set())


def _result(path: Path, run: Run, metrics: Mapping[str, float], *, interrupted: bool, stopped: bool) -> dict[str, Any]:
    return {
        "run": path.parent,
        "checkpoint": path,
        "env_steps": run.env_steps,
        "interrupted": interrupted,  # before its last step
        "stopped": stopped,  # by a signal, be it after the last step: nothing more should begin
        "env_steps_per_second": metrics.get("time/env_steps_per_second"),
        "metrics": metrics,
    }
