"""Measures leakage on football: values of a trained policy near changes of possession and far from them.

python scripts/football_leakage.py RUN --out results/curiosity/leakage [--seeds 0 1 2] [--states 64] [--restarts 100]
    [--episodes 200] [--epochs 40]
"""

import argparse
import json
from dataclasses import replace
from pathlib import Path

from touchline import checkpoint
from touchline.benchmarks.leakage import football_leakage
from touchline.networks import torch_threads
from touchline.train_config import make_envs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--episodes", type=int, default=200)
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--states", type=int, default=64)
    parser.add_argument("--restarts", type=int, default=100)
    chosen = parser.parse_args()
    policy = checkpoint.load_policy(chosen.run, greedy=False)
    envs = make_envs(replace(policy.config, num_envs=16, num_threads=1))
    chosen.out.mkdir(parents=True, exist_ok=True)
    rows = []
    for seed in chosen.seeds:
        file = chosen.out / f"seed-{seed}.json"
        options = {
            "num_episodes": chosen.episodes,
            "num_epochs": chosen.epochs,
            "num_states": chosen.states,
            "restarts": chosen.restarts,
        }
        about = {"run": str(chosen.run), "seed": seed, **options}
        if not file.exists():
            with torch_threads(1):
                result = football_leakage(envs, policy.agent, seed=seed, **options)
            file.write_text(json.dumps(about | result, indent=2) + "\n")
        rows.append(json.loads(file.read_text()))
        if other := {name: rows[-1].get(name) for name, value in about.items() if rows[-1].get(name) != value}:
            parser.error(f"{file} is of {other}: give another --out")
    lines = ["| values by | RMSE near a change | far from it | all |", "|---|---|---|---|"]
    for method in rows[0]["errors"]:
        cells = [", ".join(f"{row['errors'][method][part]:.3f}" for row in rows) for part in ("near", "far", "all")]
        lines.append(f"| {method} | " + " | ".join(cells) + " |")
    lines.append("")
    for name in ("near", "far", "truth_error", "truth_std", "switch_fraction"):
        lines.append(f"{name}: " + ", ".join(f"{row[name]:.3g}" for row in rows) + "  ")
    text = "\n".join(lines) + "\n"
    (chosen.out / "table.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
