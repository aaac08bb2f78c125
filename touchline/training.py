"""The training loop: collect, reward, learn; everything else hangs on its generator of updates."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch

from touchline import checkpoint, plugins, tracking
from touchline.agents.parts import value_targets
from touchline.networks import torch_threads
from touchline.rollout import Buffer, collect, env_spec
from touchline.tracking import Tracker, Update
from touchline.train_config import TrainConfig, config_of, make_envs

__all__ = ["Run", "TrainConfig", "make_envs", "resume", "saved_config", "train"]
log = logging.getLogger(__name__)


class Run:
    """All that training moves forward: envs, agent, bonuses, randomness and counters."""

    learner_threads = torch.get_num_threads()  # torch's own choice

    def __init__(self, config: TrainConfig, envs: Any) -> None:
        self.config, self.envs, spec = config, envs, env_spec(envs)
        seed, device = config.seed, config.device
        self.bonuses = {}
        for name in config.bonus:
            module = plugins.load("curiosity", name)
            bonus_config = config_of(module.Config, config.bonus_config.get(name, {}))
            self.bonuses[name] = module.make(spec, bonus_config, seed=seed, device=device)
        agent, values, target = plugins.load("agents", config.agent), dict(config.agent_config), None
        if config.value_target in value_targets.NAMES:
            values["value_target"] = config.value_target
        elif config.value_target is not None:
            module = plugins.load("curiosity", config.value_target)
            target = module.make(spec, module.Config(), seed=seed, device=device)
        agent_config = config_of(agent.Config, values)
        streams = [stream for bonus in self.bonuses.values() for stream in bonus.streams]
        self.agent = agent.make(
            spec, agent_config, bonus_streams=streams, value_target=target, seed=seed, device=device
        )
        self.buffer = Buffer(spec, envs.num_envs, agent_config.unroll_length)
        self.generator = torch.Generator().manual_seed(seed)
        self.carries = {name: b.initial_carry(self.buffer.columns) for name, b in self.bonuses.items()}
        self.env_steps, (self.obs, _) = 0, envs.reset(seed=seed)

    def updates(self) -> Iterator[Update]:
        """Trains until `total_steps`, one rollout an update."""
        started, first = time.perf_counter(), self.env_steps
        while self.env_steps < self.config.total_steps:
            begun = time.perf_counter()
            rollout, self.obs = collect(self.envs, self.agent, self.obs, self.buffer, self.generator)
            collected = time.perf_counter()
            rewards, metrics = {"extrinsic": rollout.reward}, {}
            for name, bonus in self.bonuses.items():
                paid, self.carries[name] = bonus.reward(rollout, self.carries[name])
                rewards |= paid
                metrics |= {f"reward/{stream}": reward.mean().item() for stream, reward in paid.items()}
            progress = self.env_steps / self.config.total_steps
            with torch_threads(self.config.torch_threads or self.learner_threads):
                metrics |= self.agent.learn(rollout, rewards, generator=self.generator, progress=progress)
                for bonus in self.bonuses.values():
                    metrics |= bonus.update(rollout)
            self.env_steps += self.buffer.unroll_length * self.buffer.num_envs
            now = time.perf_counter()
            metrics["time/collect_seconds"] = collected - begun
            metrics["time/learn_seconds"] = now - collected
            metrics["time/env_steps_per_second"] = (self.env_steps - first) / (now - started)
            yield Update(self.env_steps, metrics, rollout.episodes)

    def state_dict(self) -> dict[str, Any]:
        return {
            "config": json.dumps(asdict(self.config)),
            "spec": json.dumps(asdict(self.agent.spec)),
            "streams": json.dumps([asdict(stream) for stream in self.agent.streams]),
            "agent": self.agent.state_dict(),
            "generator": self.generator.get_state(),
            "env_steps": self.env_steps,
            "bonuses": {name: bonus.state_dict() for name, bonus in self.bonuses.items()},
            "carries": self.carries,
            "env_states": [checkpoint.bytes_to_tensor(state) for state in self.envs.get_state()],
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.agent.load_state_dict(state["agent"])
        self.generator.set_state(state["generator"])
        self.env_steps, self.carries = state["env_steps"], state["carries"]
        for name, bonus in self.bonuses.items():
            bonus.load_state_dict(state["bonuses"][name])
        self.obs = self.envs.set_state([checkpoint.tensor_to_bytes(t) for t in state["env_states"]])


def train(
    config: TrainConfig,
    *,
    make_envs: Callable[[TrainConfig], Any] = make_envs,
    trackers: Sequence[Tracker] = (),
) -> dict[str, Any]:
    """Trains from the start; Ctrl-C or SIGTERM ends it after the running update, with a checkpoint.

    Args:
        make_envs: makes the vector env of a resolved config.
        trackers: told every update's metrics beside `metrics.csv` and TensorBoard; closed at the end.

    Returns:
        run (the directory), checkpoint, env_steps, interrupted, env_steps_per_second, and the last metrics.
    """
    config = config.resolved()
    if Path(config.out, "checkpoint.pt").exists():
        raise FileExistsError(f"{config.out} holds a run already: resume it, or give another `out`")
    return _run(config, None, make_envs, trackers)


def resume(
    run: Path | str,
    *,
    total_steps: int | None = None,
    make_envs: Callable[[TrainConfig], Any] = make_envs,
    trackers: Sequence[Tracker] = (),
) -> dict[str, Any]:
    """Continues a run from its checkpoint, as if it had never stopped; the result is `train`'s.

    Args:
        total_steps: a new end of the training; it also moves an annealed learning rate.
    """
    saved = checkpoint.load(Path(run, "checkpoint.pt"))
    config = replace(config_of(TrainConfig, json.loads(saved["config"])), out=str(run))
    if total_steps is not None:
        config = replace(config, total_steps=total_steps)
    return _run(config, saved, make_envs, trackers)


def saved_config(run: Path | str) -> TrainConfig:
    """The config of a run directory."""
    return config_of(TrainConfig, json.loads(checkpoint.load(Path(run, "checkpoint.pt"))["config"]))


def _run(
    config: TrainConfig,
    saved: Mapping[str, Any] | None,
    make_envs: Callable[[TrainConfig], Any],
    trackers: Sequence[Tracker],
) -> dict[str, Any]:
    path = Path(config.out, "checkpoint.pt")
    with ExitStack() as stack:
        envs = make_envs(config)
        stack.callback(envs.close)
        # Acting on vectors is too little work to share; Run.updates learns with more threads.
        vectors = len(env_spec(envs).observation_shape) == 1
        stack.enter_context(torch_threads(1 if vectors else config.torch_threads))
        run, statistics = Run(config, envs), tracking.EpisodeStatistics()
        if saved is not None:
            run.load_state_dict(saved)
            statistics.load_state_dict(saved["statistics"])
        path.parent.mkdir(parents=True, exist_ok=True)
        path.with_name("config.json").write_text(json.dumps(asdict(config), indent=2) + "\n")
        trackers = [*trackers, *tracking.files(path.parent, run.env_steps)]
        for tracker in trackers:
            stack.callback(tracker.close)

        def save() -> int:
            checkpoint.save(path, run.state_dict() | {"statistics": statistics.state_dict()})
            return run.env_steps

        metrics, saved_at = {}, run.env_steps
        stop = stack.enter_context(checkpoint.stop_on_signals())
        for update in tracking.track(run.updates(), statistics, trackers):
            metrics = update.metrics
            if stop.is_set():
                break
            if update.env_steps - saved_at >= config.checkpoint_interval:
                saved_at = save()
        save()
    interrupted = run.env_steps < config.total_steps
    if interrupted:
        log.warning("stopped after %d env steps; checkpoint at %s", run.env_steps, path)
    return {
        "run": path.parent,
        "checkpoint": path,
        "env_steps": run.env_steps,
        "interrupted": interrupted,
        "env_steps_per_second": metrics.get("time/env_steps_per_second"),
        "metrics": metrics,
    }
