"""What a training moves forward from update to update: envs or actors, agent, bonuses, opponents, counters."""

from __future__ import annotations

import json
import logging
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from itertools import accumulate, islice, tee
from typing import Any

import numpy as np
import torch
from torch import Tensor

from touchline import checkpoint, distributed, exploration, plugins, trained
from touchline.agents.parts.actors import Unroll
from touchline.networks import ObservationNormaliser, torch_threads
from touchline.opponents import metrics_of
from touchline.processes import usable_cores
from touchline.rollout import Buffer, Rollout, collect_alternating, env_spec, side_by_side
from touchline.sharing import MakeEnvs, actors_of, make_actor
from touchline.tracking import Update
from touchline.train_config import TrainConfig, make_envs

log = logging.getLogger(__name__)


def begin_with(agent: Any, run: str) -> None:
    """Gives an agent the networks of a run directory; target networks become copies of them.

    Statistics of observations weigh as a million samples from then on, so that they follow what is seen now.
    """
    saved = checkpoint.load(trained.located(run) / "checkpoint.pt")
    try:
        agent.load_policy(saved["agent"])
    except (RuntimeError, KeyError) as error:
        raise ValueError(f"{run} has other networks: take its agent, preset and widths ({error})") from error
    for part in getattr(agent, "parts", [agent]):
        for module in part.net.modules():
            if isinstance(module, ObservationNormaliser):
                module.count.clamp_(max=1e6)
        if hasattr(part, "target_net"):
            part.target_net.load_state_dict(part.net.state_dict())


def _refuse_nan(metrics: Mapping[str, float], env_steps: int) -> None:
    """Ends a training whose networks are lost, before a checkpoint keeps them."""
    for name, value in metrics.items():
        if not math.isfinite(value) and ("loss" in name or "grad_norm" in name):
            raise FloatingPointError(
                f"{name} is {value} after {env_steps:,} environment steps: a reward or an observation was not finite, "
                "or the learning rate is too high; the last checkpoint is from before"
            )


class Run:
    """All that training moves forward: envs or actors, agent, bonuses, randomness and counters.

    Args:
        config: resolved.
        envs: stepped in turns with learning, one vector env, or two that are stepped in turns with acting
            (`config.double_buffer`); beside actors the first only tells the shapes.
        make_envs: makes the vector envs of actors.
        share: what this process does of it, see `share_of`; None is everything.
        version: updates made before; actors of a resumed run draw other matches than they began with.
        init: a run directory whose networks the agent begins with.
    """

    learner_threads = min(torch.get_num_threads(), usable_cores())  # torch's own choice does not know of quotas

    def __init__(
        self,
        config: TrainConfig,
        envs: Sequence[Any],
        *,
        make_envs: MakeEnvs = make_envs,
        share: TrainConfig | None = None,
        version: int = 0,
        init: str | None = None,
    ) -> None:
        share = share or config
        self.config, self.envs, self.actors, self.device = config, list(envs), None, share.device
        self.seed = share.seed
        spec, device, number = env_spec(envs[0]), share.device, config.num_actors or 1
        self.agent, agent_config, options, self.bonuses = exploration.assemble(config, spec, device=device)
        if config.compile:
            if getattr(agent_config, "lstm", 0):
                raise ValueError("a memory learns step by step, which compile=True leaves as it is: lstm must be 0")
            for net in getattr(self.agent, "nets", [self.agent.net]):
                net.compile()
        self.generator = torch.Generator().manual_seed(share.seed)
        count = share.num_envs // number if config.num_actors else sum(one.num_envs for one in envs)
        self.columns, self.lives = count * spec.num_players, [0] * number
        self.carries = {
            name: [bonus.initial_carry(self.columns) for _ in range(number)] for name, bonus in self.bonuses.items()
        }
        self.env_steps, self.version = 0, version
        if init is not None:
            begin_with(self.agent, init)
        self.opponents = [] if config.num_actors else [one for one in envs if hasattr(one, "opponents_state")]
        self._taught = [one for one in envs if hasattr(one, "teacher_state")]
        if "self" in config.opponent:
            kind = plugins.load("agents", config.agent)
            for one in self.opponents:
                one.play_itself(partial(kind.make, spec, agent_config, **options), self.agent.policy_state())
        if config.num_actors:
            self.actors = actors_of(config, partial(make_actor, share, make_envs, agent_config, options), version)
        else:
            pinned = torch.device(device).type == "cuda"
            self.buffers = [Buffer(spec, one.num_envs, agent_config.unroll_length, pinned=pinned) for one in envs]
            firsts = accumulate((one.num_envs for one in envs), initial=share.seed)
            self.obs = [one.reset(seed=first)[0] for one, first in zip(envs, firsts, strict=False)]

    def updates(self) -> Iterator[Update]:
        """Trains until `total_steps`; an update is a rollout, or what actors have queued of a batch's size."""
        started, first = time.perf_counter(), self.env_steps
        while self.env_steps < self.config.total_steps:
            begun = time.perf_counter()
            with self._precision(weights_move=False):
                unrolls = self._play()
            collected = time.perf_counter()
            rewards, metrics = self._rewards(unrolls)
            rollout = side_by_side([unroll.rollout for unroll in unrolls])
            if self.actors:
                metrics["train/policy_lag"] = sum(self.version - unroll.version for unroll in unrolls) / len(unrolls)
                metrics["train/replaced_actors"] = float(self.actors.replaced)
            progress = self.env_steps / self.config.total_steps
            threads = self.config.torch_threads or (1 if self.actors else self.learner_threads)
            with torch_threads(threads), self._precision(weights_move=True):
                metrics |= self.agent.learn(rollout, rewards, generator=self.generator, progress=progress)
                _refuse_nan(metrics, self.env_steps)
                for bonus in self.bonuses.values():
                    metrics |= bonus.update(rollout)
            self.version += 1
            before = self.env_steps
            self.env_steps += rollout.action.numel() // rollout.num_players * distributed.world_size()
            for one in self.opponents:
                one.learned(self.env_steps, before, self.agent.policy_state)
            if self.opponents:
                metrics |= metrics_of([one.pool for one in self.opponents])
            now = time.perf_counter()
            metrics["time/collect_seconds"] = collected - begun
            metrics["time/learn_seconds"] = now - collected
            speed = (self.env_steps - first) / (now - started)
            metrics["time/env_steps_per_second"] = speed
            if rollout.num_players > 1:
                metrics["time/player_steps_per_second"] = speed * rollout.num_players
            yield Update(self.env_steps, metrics, rollout.episodes)

    def pretrain(self) -> None:
        """Random play for the bonuses that learn before the training; its steps count."""
        wanted = {name: bonus for name, bonus in self.bonuses.items() if getattr(bonus, "random_steps", 0)}
        if not wanted:
            return
        steps = max(bonus.random_steps for bonus in wanted.values())
        rollouts = self._counted(exploration.random_play(self.envs[0], self.agent.spec, steps, seed=self.config.seed))
        for (name, bonus), part in zip(wanted.items(), tee(rollouts, len(wanted)), strict=True):
            metrics = bonus.pretrain(part)
            log.info("%s learned from random play: %s", name, metrics)
        if self.actors is None:
            self.obs[0], _ = self.envs[0].reset(seed=self.config.seed)
        self._forget_random_play()

    def stagger(self) -> None:
        """Random play that leaves the matches at different minutes (`TrainConfig.stagger`); its steps count."""
        length = self.config.stagger
        if not length:
            return
        draw = np.random.default_rng(self.seed)
        here = sum(one.num_envs for one in self.envs)
        first, total = here * distributed.rank(), here * distributed.world_size()
        for index, one in enumerate(self.envs):
            shape = (one.num_envs, self.agent.spec.num_players)[: 1 + (self.agent.spec.num_players > 1)]
            kick_off = (first + np.arange(one.num_envs)) * length // total
            first += one.num_envs
            for step in range(length):
                if step and (due := kick_off == step).any():
                    one.reset(options={"reset_mask": due})
                actions = draw.integers(0, self.agent.spec.num_actions, shape).astype(np.int32)
                self.obs[index] = one.step(actions)[0]
            self.env_steps += length * one.num_envs * distributed.world_size()
        self._forget_random_play()

    def _forget_random_play(self) -> None:
        """Opponents are drawn by the learner's own record against them."""
        for one in self.opponents:
            one.pool.forget_records()

    def _counted(self, rollouts: Iterator[Rollout]) -> Iterator[Rollout]:
        for rollout in rollouts:
            self.env_steps += rollout.action.numel() // rollout.num_players
            yield rollout

    def _precision(self, *, weights_move: bool) -> torch.autocast:
        """bfloat16 for the networks, if asked for; weights that do not move are converted once."""
        return torch.autocast(
            torch.device(self.device).type,
            dtype=torch.bfloat16,
            enabled=self.config.mixed_precision,
            cache_enabled=not weights_move,
        )

    def _play(self) -> list[Unroll]:
        """The next experience: played now, or taken from the actors' queue."""
        if self.actors is None:
            rollout, self.obs = collect_alternating(self.envs, self.agent, self.obs, self.buffers, self.generator)
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
            actor = unroll.rollout.actor
            begun_anew, self.lives[actor] = unroll.life != self.lives[actor], unroll.life
            for name, bonus in self.bonuses.items():
                carries = self.carries[name]
                if begun_anew:
                    carries[actor] = bonus.initial_carry(self.columns)
                paid, carries[actor] = bonus.reward(unroll.rollout, carries[actor])
                parts[-1] |= paid
        rewards = {name: torch.cat([part[name] for part in parts], 1) for name in parts[0]}
        return rewards, {f"reward/{name}": x.mean().item() for name, x in rewards.items() if name != "extrinsic"}

    def about(self) -> dict[str, str]:
        """What `load_policy` must know beside the weights."""
        return {
            "config": json.dumps(asdict(self.config)),
            "spec": json.dumps(asdict(self.agent.spec)),
            "streams": json.dumps([asdict(stream) for stream in self.agent.streams]),
        }

    def state_dict(self) -> dict[str, Any]:
        return {
            **self.about(),
            "agent": self.agent.state_dict(),
            "generator": self.generator.get_state(),
            "env_steps": self.env_steps,
            "bonuses": {name: bonus.state_dict() for name, bonus in self.bonuses.items()},
            "carries": self.carries,
            "version": self.version,
            "policy_states": [] if self.actors else [buffer.state for buffer in self.buffers],
            "env_states": [] if self.actors else self._env_states(),
            "opponents": [one.opponents_state() for one in self.opponents],
            "teachers": [one.teacher_state() for one in self._taught],
            "world_size": distributed.world_size(),
        }

    def _begin_anew(self) -> None:
        """Matches and draws that neither the run's beginning nor another process has seen."""
        sequence = np.random.SeedSequence([self.seed, self.version])
        draws, *firsts = (int(seed) for seed in sequence.generate_state(1 + len(self.envs)) % 10**9)
        self.generator.manual_seed(draws)
        self.obs = [one.reset(seed=first)[0] for one, first in zip(self.envs, firsts, strict=True)]

    def _env_states(self) -> list[Tensor]:
        """A snapshot of every match, in the order of the columns."""
        return [checkpoint.bytes_to_tensor(state) for one in self.envs for state in one.get_state()]

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.agent.load_state_dict(state["agent"])
        self.generator.set_state(state["generator"])
        self.env_steps, self.version = state["env_steps"], state.get("version", 0)
        for name, bonus in self.bonuses.items():
            bonus.load_state_dict(state["bonuses"][name])
        if distributed.rank() or distributed.world_size() != state.get("world_size", 1):
            # The matches of the others begin anew, those of other processes than it had do so as well.
            self._begin_anew()
            for one in self.opponents:
                one.pool.load_members(state["opponents"][0]["pool"])
            return
        if self.actors is None:  # the matches of actors begin anew, and so do the carries that follow them
            before_actors = "version" not in state
            self.carries = {name: [x] if before_actors else x for name, x in state["carries"].items()}
            for buffer, policy_state in zip(self.buffers, state.get("policy_states", []), strict=False):
                buffer.state = policy_state
            for one, opponents in zip(self.opponents, state.get("opponents", []), strict=False):
                one.load_opponents_state(opponents)
            for one, teacher in zip(self._taught, state.get("teachers", []), strict=True):
                one.load_teacher_state(teacher)
            states = iter(checkpoint.tensor_to_bytes(t) for t in state["env_states"])
            self.obs = [one.set_state(list(islice(states, one.num_envs))) for one in self.envs]
