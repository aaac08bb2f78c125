"""Our PPO against Stable-Baselines3's on this machine, side by side in one run (needs the extra `sb3`).

    python scripts/compare_sb3.py --out results/sb3

1. Environment steps a second, end to end: same vector env (through our adapter), same network (two layers of 256,
   policy and values apart), epochs and minibatches; the two train in turns, round by round.
2. The learner alone against a bare loop over the same networks and data, written by hand below.
3. Wall time to a success rate of 80% in training: our preset against SB3's default settings, each from scratch.
"""

import argparse
import json
import statistics
import time
from collections import deque
from pathlib import Path

import numpy as np
import torch
from stable_baselines3 import PPO as Sb3Ppo
from stable_baselines3.common.callbacks import BaseCallback

import touchline
from touchline import training
from touchline.agents import ppo
from touchline.agents.sb3_bridge import Sb3VecEnv
from touchline.benchmarks import presets
from touchline.benchmarks.throughput import machine_name
from touchline.networks import torch_threads
from touchline.rollout import Buffer, collect, env_spec
from touchline.train_config import TrainConfig

NUM_ENVS, UNROLL, EPOCHS, MINIBATCH = 32, 128, 4, 1024
CONFIG = ppo.Config(
    unroll_length=UNROLL,
    num_epochs=EPOCHS,
    minibatch_size=MINIBATCH,
    recompute_advantages=False,  # as SB3
    normalise_observations=False,
    policy_hidden=(256, 256),
    value_hidden=(256, 256),
)


def make_envs(scenario, num_envs=NUM_ENVS):
    return touchline.make_vec(
        scenario, num_envs, observation="egocentric", rewards=("scoring", "checkpoints"), reset_pool=256
    )


class Ours:
    """Rollout after rollout, learned from, as the training loop does."""

    def __init__(self, scenario):
        self.envs = make_envs(scenario)
        self.agent = ppo.make(env_spec(self.envs), CONFIG, seed=0)
        self.buffer = Buffer(self.agent.spec, NUM_ENVS, UNROLL)
        self.generator = torch.Generator().manual_seed(0)
        self.obs, _ = self.envs.reset(seed=0)
        self.learner_threads = torch.get_num_threads()

    def update(self):
        with torch_threads(1):
            rollout, self.obs = collect(self.envs, self.agent, self.obs, self.buffer, self.generator)
        with torch_threads(self.learner_threads):
            self.agent.learn(rollout, generator=self.generator)
        return rollout


class Theirs:
    def __init__(self, scenario):
        self.model = Sb3Ppo(
            "MlpPolicy",
            Sb3VecEnv(make_envs(scenario)),
            n_steps=UNROLL,
            n_epochs=EPOCHS,
            batch_size=MINIBATCH,
            gamma=CONFIG.gamma,
            ent_coef=CONFIG.entropy_coef,
            policy_kwargs={"net_arch": {"pi": [256, 256], "vf": [256, 256]}, "activation_fn": torch.nn.Tanh},
            device="cpu",
            seed=0,
        )
        self.model.learn(NUM_ENVS * UNROLL)

    def update(self):
        self.model.learn(NUM_ENVS * UNROLL, reset_num_timesteps=False)


def end_to_end(scenario, rounds, updates):
    """Steps/s of both, a list of rounds each."""
    players = {"touchline": Ours(scenario), "sb3": Theirs(scenario)}
    players["touchline"].update()
    speeds = {name: [] for name in players}
    for _ in range(rounds):
        for name, player in players.items():
            started = time.perf_counter()
            for _ in range(updates):
                player.update()
            speeds[name].append(updates * NUM_ENVS * UNROLL / (time.perf_counter() - started))
    return speeds


def bare_learn(net, optimiser, rollout, generator):
    """PPO's update without streams, masks, metrics or options: the least that the same result takes."""
    with torch.no_grad():
        values = net.values(rollout.obs.flatten(0, 1)).unflatten(0, rollout.obs.shape[:2])[..., 0]
        next_values = values[1:].clone()
        if len(rollout.final_index):
            next_values[rollout.final_index[:, 0], rollout.final_index[:, 1]] = net.values(rollout.final_obs)[:, 0]
        ended = rollout.terminated | rollout.truncated
        delta = rollout.reward + CONFIG.gamma * ~rollout.terminated * next_values - values[:-1]
        advantages, later = torch.empty_like(delta), torch.zeros_like(delta[0])
        for t in range(len(delta) - 1, -1, -1):
            later = delta[t] + CONFIG.gamma * CONFIG.gae_lambda * ~ended[t] * later
            advantages[t] = later
        targets = (advantages + values[:-1]).flatten()
    obs, action = rollout.obs[:-1].flatten(0, 1), rollout.action.flatten()
    behaviour, advantages = rollout.behaviour_log_prob.flatten(), advantages.flatten()
    for _ in range(EPOCHS):
        for rows in torch.randperm(len(action), generator=generator).split(MINIBATCH):
            advantage = advantages[rows]
            advantage = (advantage - advantage.mean()) / (advantage.std() + 1e-8)
            logits, value = net(obs[rows])
            log_probs = logits.log_softmax(-1)
            log_prob = log_probs.gather(-1, action[rows, None])[:, 0]
            ratio = (log_prob - behaviour[rows]).exp()
            clipped = ratio.clamp(1 - CONFIG.clip_coef, 1 + CONFIG.clip_coef)
            policy_loss = -torch.min(ratio * advantage, clipped * advantage).mean()
            value_loss = 0.5 * (value[:, 0] - targets[rows]).square().mean()
            entropy = -(log_probs.exp() * log_probs).sum(-1).mean()
            optimiser.zero_grad()
            (policy_loss + CONFIG.value_coef * value_loss - CONFIG.entropy_coef * entropy).backward()
            torch.nn.utils.clip_grad_norm_(net.parameters(), CONFIG.max_grad_norm)
            optimiser.step()


def learner(scenario, rounds, updates):
    """Seconds an update of our learner and of the bare one, a list of rounds each."""
    ours = Ours(scenario)
    rollout, bare = ours.update().clone(), ppo.make(ours.agent.spec, CONFIG, seed=0)
    generator = torch.Generator().manual_seed(0)
    ways = {
        "touchline": lambda: ours.agent.learn(rollout, generator=generator),
        "bare": lambda: bare_learn(bare.net, bare.optimiser, rollout, generator),
    }
    seconds = {name: [] for name in ways}
    for turn in range(rounds + 1):
        for name, update in ways.items():
            started = time.perf_counter()
            for _ in range(updates):
                update()
            if turn:  # the first round warms up
                seconds[name].append((time.perf_counter() - started) / updates)
    return seconds


class UntilSuccess(BaseCallback):
    """Ends SB3's training at a share of goals in the last 100 episodes."""

    def __init__(self, goal, limit):
        super().__init__()
        self.goal, self.limit, self.recent, self.started = goal, limit, deque(maxlen=100), time.perf_counter()

    def _on_step(self):
        for info in self.locals["infos"]:
            if "episode" in info:
                self.recent.append(info["episode"]["goals_left"] > info["episode"]["goals_right"])
        self.seconds = time.perf_counter() - self.started
        self.reached = len(self.recent) == 100 and np.mean(self.recent) >= self.goal
        return not self.reached and self.seconds < self.limit


def ours_to_success(scenario, goal, limit, seed, total_steps):
    """(seconds, reached, env steps) of our preset, engine start included."""
    started = time.perf_counter()
    config = TrainConfig(scenario=scenario, agent="ppo", seed=seed, total_steps=total_steps).resolved()
    envs = training.make_envs(config)
    run = training.Run(config, [envs])
    recent = deque(maxlen=100)
    try:
        for update in run.updates():
            episodes = update.episodes
            if episodes:
                recent.extend(np.asarray(episodes["goals_left"]) > np.asarray(episodes["goals_right"]))
            seconds = time.perf_counter() - started
            if len(recent) == 100 and np.mean(recent) >= goal:
                return seconds, True, update.env_steps
            if seconds > limit:
                break
        return seconds, False, update.env_steps
    finally:
        envs.close()


def theirs_to_success(scenario, goal, limit, seed):
    """(seconds, reached, env steps) of SB3's defaults on 8 of our envs."""
    until = UntilSuccess(goal, limit)
    envs = make_envs(scenario, num_envs=8)
    model = Sb3Ppo("MlpPolicy", Sb3VecEnv(envs), device="cpu", seed=seed)
    model.learn(10**9, callback=until)
    envs.close()
    return until.seconds, bool(until.reached), model.num_timesteps


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--scenario", default="academy_run_to_score_with_keeper")
    parser.add_argument("--out", type=Path, default=Path("results/sb3"))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--updates", type=int, default=4, help="of each, a round")
    parser.add_argument("--goal", type=float, default=0.8)
    parser.add_argument("--limit", type=float, default=600.0, help="seconds to the goal, at most")
    parser.add_argument("--seeds", type=int, nargs="*", default=[0])
    parser.add_argument("--total-steps", type=int, default=1_000_000, help="our learning rate falls to 0 there")
    options = parser.parse_args()
    scenario = options.scenario

    facts = {"machine": machine_name(), "scenario": scenario, "preset": presets.load("ppo_cpu").agent_config}
    facts["steps_per_second"] = end_to_end(scenario, options.rounds, options.updates)
    facts["learner_seconds"] = learner(scenario, options.rounds, options.updates)
    pairs = zip(facts["steps_per_second"]["touchline"], facts["steps_per_second"]["sb3"], strict=True)
    end = statistics.median(ours / theirs for ours, theirs in pairs)
    pairs = zip(facts["learner_seconds"]["bare"], facts["learner_seconds"]["touchline"], strict=True)
    learn = statistics.median(bare / ours for bare, ours in pairs)
    lines = [
        f"`{scenario}`, {facts['machine']}. Medians of {options.rounds} rounds, both in turns.",
        "",
        "| | touchline | the other | ratio | wanted |",
        "|---|---|---|---|---|",
        f"| env steps/s, same network, epochs, minibatches; other: SB3 | "
        f"{statistics.median(facts['steps_per_second']['touchline']):.0f} | "
        f"{statistics.median(facts['steps_per_second']['sb3']):.0f} | {end:.2f} | 1.2 |",
        f"| ms a learner's update; other: bare loop | "
        f"{1e3 * statistics.median(facts['learner_seconds']['touchline']):.0f} | "
        f"{1e3 * statistics.median(facts['learner_seconds']['bare']):.0f} | {learn:.2f} | 0.9 |",
    ]
    print("\n".join(lines), flush=True)
    facts["to_success"] = []
    for seed in options.seeds:
        ours = ours_to_success(scenario, options.goal, options.limit, seed, options.total_steps)
        theirs = theirs_to_success(scenario, options.goal, options.limit, seed)
        facts["to_success"].append({"seed": seed, "touchline": ours, "sb3": theirs})
        words = [
            f"{seconds:.0f} s ({steps:,} steps{'' if reached else ', not reached'})"
            for seconds, reached, steps in (ours, theirs)
        ]
        lines.append(
            f"| {options.goal:.0%} success in training, our preset; other: SB3's defaults, 8 envs; seed {seed} | "
            f"{words[0]} | {words[1]} | {'' if theirs[1] else '> '}{theirs[0] / ours[0]:.1f} | 1.5 |"
        )
        print(lines[-1], flush=True)
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "sb3.json").write_text(json.dumps(facts, indent=1) + "\n")
    (options.out / "sb3.md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
