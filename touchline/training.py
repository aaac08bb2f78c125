"""The training loop: collect, reward, learn; everything else hangs on its generator of updates."""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from touchline import checkpoint, plugins, tracking
from touchline.agents.parts import value_targets
from touchline.agents.parts.actors import Actor, ThreadActors, Unroll
from touchline.networks import torch_threads
from touchline.rollout import Buffer, collect, env_spec, side_by_side
from touchline.tracking import Tracker, Update
from touchline.train_config import TrainConfig, config_of, make_envs

__all__ = ["Run", "TrainConfig", "make_envs", "resume", "saved_config", "train"]
log = logging.getLogger(__name__)


class Run:
    """All that training moves forward: envs, agent, bonuses, randomness and counters.

    Args:
        config: resolved.
        envs: one vector env that is stepped in turns with learning, or one for each of `config.num_actors` actors.
        version: updates made before; actors of a resumed run draw other matches than they began with.
    """

    learner_threads = torch.get_num_threads()  # torch's own choice

    def __init__(self, config: TrainConfig, envs: Sequence[Any], *, version: int = 0) -> None:
        self.config, self.envs, spec = config, envs, env_spec(envs[0])
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
        options = {"bonus_streams": streams, "seed": seed}
        if getattr(agent, "REPLAYS", False):
            options["num_actors"] = len(envs)
        self.agent = self._make_agent(agent, agent_config, options, target)
        self.generator = torch.Generator().manual_seed(seed)
        columns = envs[0].num_envs * spec.num_players
        self.carries = {name: [b.initial_carry(columns) for _ in envs] for name, b in self.bonuses.items()}
        self.env_steps, self.version = 0, version
        self.actors = self._make_actors(agent, agent_config, options) if config.num_actors else None
        if self.actors is None:
            self.buffer = Buffer(spec, envs[0].num_envs, agent_config.unroll_length)
            self.obs, _ = envs[0].reset(seed=seed)

    def _make_agent(self, agent: ModuleType, config: Any, options: Mapping[str, Any], value_target: Any) -> Any:
        """The one that learns."""
        if getattr(agent, "REPLAYS", False):
            scores = [bonus.score for bonus in self.bonuses.values() if hasattr(bonus, "score")]
            options = {**options, "scores": scores}
        return agent.make(
            env_spec(self.envs[0]), config, value_target=value_target, device=self.config.device, **options
        )

    def _make_actors(self, agent: ModuleType, config: Any, options: Mapping[str, Any]) -> ThreadActors:
        """One for every vector env, each with a copy of the policy and with first matches of its own."""
        self.agent.check_lag()
        actors, seed = [], self.config.seed
        for index, envs in enumerate(self.envs):
            policy = agent.make(self.agent.spec, config, **options)
            own = np.random.SeedSequence([seed, index, self.version]).generate_state(1)[0] % 10**9
            actors.append(Actor(index, envs, policy, config.unroll_length, seed=int(own)))
        return ThreadActors(actors, queue_length=len(actors))

    def updates(self) -> Iterator[Update]:
        """Trains until `total_steps`; an update is a rollout, or what actors have queued of a batch's size."""
        started, first = time.perf_counter(), self.env_steps
        while self.env_steps < self.config.total_steps:
            begun = time.perf_counter()
            unrolls = self._play()
            collected = time.perf_counter()
            rewards, metrics = self._rewards(unrolls)
            rollout = side_by_side([unroll.rollout for unroll in unrolls])
            if self.actors:
                metrics["train/policy_lag"] = sum(self.version - unroll.version for unroll in unrolls) / len(unrolls)
            progress = self.env_steps / self.config.total_steps
            with torch_threads(self.config.torch_threads or (1 if self.actors else self.learner_threads)):
                metrics |= self.agent.learn(rollout, rewards, generator=self.generator, progress=progress)
                for bonus in self.bonuses.values():
                    metrics |= bonus.update(rollout)
            self.version += 1
            self.env_steps += rollout.action.numel() // rollout.num_players
            now = time.perf_counter()
            metrics["time/collect_seconds"] = collected - begun
            metrics["time/learn_seconds"] = now - collected
            metrics["time/env_steps_per_second"] = (self.env_steps - first) / (now - started)
            yield Update(self.env_steps, metrics, rollout.episodes)

    def _play(self) -> list[Unroll]:
        """The next experience: played now, or taken from the actors' queue."""
        if self.actors is None:
            rollout, self.obs = collect(self.envs[0], self.agent, self.obs, self.buffer, self.generator)
            return [Unroll(rollout, self.version)]
        self.actors.publish(self.version, self.agent.policy_state())
        unrolls: list[Unroll] = []
        while sum(unroll.rollout.action.shape[1] for unroll in unrolls) < self.agent.columns_per_update:
            unrolls.append(self.actors.take())
        return unrolls

    def _rewards(self, unrolls: Sequence[Unroll]) -> tuple[dict[str, Tensor], dict[str, float]]:
        """{stream: [T, B]} of all unrolls side by side, and the bonuses' means."""
        parts: list[dict[str, Tensor]] = []
        for unroll in unrolls:
            parts.append({"extrinsic": unroll.rollout.reward})
            for name, bonus in self.bonuses.items():
                carries = self.carries[name]
                actor = unroll.rollout.actor
                paid, carries[actor] = bonus.reward(unroll.rollout, carries[actor])
                parts[-1] |= paid
        rewards = {name: torch.cat([part[name] for part in parts], 1) for name in parts[0]}
        return rewards, {f"reward/{name}": x.mean().item() for name, x in rewards.items() if name != "extrinsic"}

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
            "version": self.version,
            "env_states": [] if self.actors else [checkpoint.bytes_to_tensor(s) for s in self.envs[0].get_state()],
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.agent.load_state_dict(state["agent"])
        self.generator.set_state(state["generator"])
        self.env_steps, self.version = state["env_steps"], state.get("version", 0)
        for name, bonus in self.bonuses.items():
            bonus.load_state_dict(state["bonuses"][name])
        if self.actors is None:  # the matches of actors begin anew, and so do the carries that follow them
            before_actors = "version" not in state
            self.carries = {name: [x] if before_actors else x for name, x in state["carries"].items()}
            self.obs = self.envs[0].set_state([checkpoint.tensor_to_bytes(t) for t in state["env_states"]])


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

    With actors nothing of the learner is lost, but matches begin anew and what was queued is gone.

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


def _envs(config: TrainConfig, make_envs: Callable[[TrainConfig], Any]) -> Iterator[Any]:
    """The vector env of a run, or one an actor, which share `num_envs` and `num_threads` equally."""
    actors = config.num_actors or 0
    if not actors:
        yield make_envs(config)
        return
    if actors < 0 or config.num_envs % actors:
        raise ValueError(f"expected num_envs to be a multiple of num_actors, got {config.num_envs} and {actors}")
    threads = max(1, (config.num_threads or os.cpu_count() or 1) // actors)
    for _ in range(actors):
        yield make_envs(replace(config, num_envs=config.num_envs // actors, num_threads=threads))


def _run(
    config: TrainConfig,
    saved: Mapping[str, Any] | None,
    make_envs: Callable[[TrainConfig], Any],
    trackers: Sequence[Tracker],
) -> dict[str, Any]:
    path = Path(config.out, "checkpoint.pt")
    with ExitStack() as stack:
        envs = []
        for one in _envs(config, make_envs):
            stack.callback(one.close)
            envs.append(one)
        # Acting on vectors is too little work to share; Run.updates learns with more threads.
        vectors = len(env_spec(envs[0]).observation_shape) == 1
        stack.enter_context(torch_threads(1 if vectors else config.torch_threads))
        version = saved.get("version", 0) if saved else 0
        run, statistics = Run(config, envs, version=version), tracking.EpisodeStatistics()
        if run.actors is not None:
            stack.callback(run.actors.close)
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
