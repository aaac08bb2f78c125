"""Run directories as a suite leaves them, made up: scores are chosen, curves rise towards them."""

import csv
import json
from pathlib import Path

import numpy as np

from touchline.benchmarks import evaluate

EPISODES = 200


def make_run(root, variant, scenario, seed, success, *, finished=True, left=1, folder=None, **config):
    """A run whose frozen policy succeeds in the first `success` of `EPISODES` episodes; its training in less."""
    folder = Path(folder or Path(root, scenario, f"{variant}-{seed}"))
    folder.mkdir(parents=True)
    config = {
        "backend": "gfootball",
        "total_steps": 40_960,
        "control": "upstream",
        "observation": "egocentric",
    } | config
    config = {
        "scenario": scenario,
        "agent": "ppo",
        "seed": seed,
        "left": left,
        "num_envs": 32,
        "device": "cpu",
    } | config
    (folder / "config.json").write_text(json.dumps(config))
    goals = np.arange(EPISODES) < success
    _metrics(folder / "metrics.csv", config, success / EPISODES, finished)
    if finished:
        differences = np.where(goals, 1, 0)
        _evaluation(folder / "eval.json", config, f"{variant}-{seed}", differences)
    return folder


def make_match(root, variant, scenario, seed, difference, *, side="left", **config):
    """A run on a full match, whose goal differences are around `difference`."""
    folder = make_run(root, variant, scenario, seed, 0, finished=False, **config)
    settings = json.loads((folder / "config.json").read_text())
    _metrics(folder / "metrics.csv", settings, difference, True, match=True)
    differences = np.random.default_rng(seed).normal(difference, 1.5, EPISODES).round().astype(int)
    _evaluation(folder / "eval.json", settings, f"{variant}-{seed}", differences, side)
    return folder


def _evaluation(path, config, policy, differences, side="left"):
    rows = tuple(
        {"episode": i, "seed": 10**9 + i, "success": bool(d > 0), "goal_difference": int(d), "return": d, "length": 50}
        for i, d in enumerate(differences.tolist())
    )
    result = evaluate.EvalResult(
        policy=policy,
        opponent="built-in AI",
        scenario=config["scenario"],
        backend=config["backend"],
        observation=config["observation"],
        action_set="default",
        control=config["control"],
        left=config["left"],
        right=0,
        rewards={"scoring": 1.0},
        seed=0,
        env_steps=50 * len(rows),
        commit="0123456789ab",
        rows=rows,
        machine="a machine, 2 cores",
        side=side,
    )
    evaluate.write_json([result], path)


def _metrics(path, config, level, finished, match=False):
    updates = 40 if finished else 15
    random = np.random.default_rng([config["seed"], len(config["scenario"])])
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(
            ["env_steps", "time/collect_seconds", "time/learn_seconds", "time/env_steps_per_second", "episode/count"]
            + ["episode/success_rate", "score/goal_difference_per_game", "episode/return"]
        )
        for update in range(1, updates + 1):
            steps = update * config["total_steps"] // 40
            rise = 1 - np.exp(-5 * update / 40)
            now = level * rise + random.normal(0, 0.02 if not match else 0.15)
            success = float(np.clip(now, 0, 1))
            writer.writerow([steps, 1.5, 0.5, 500, 30 * update, success, now if match else success, 2 * success])
