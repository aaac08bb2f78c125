"""Draws learning curves of run directories: `python scripts/plot_runs.py OUT.png RUN...` (needs matplotlib)."""

import csv
import sys
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt


def main(out: str, *runs: str) -> None:
    """Success rate of the last 100 training episodes (sampled actions) over environment steps."""
    figure, axes = plt.subplots(figsize=(8, 4.5), dpi=120)
    for run in runs:
        with (Path(run) / "metrics.csv").open(newline="") as file:
            rows = [row for row in csv.DictReader(file) if row.get("episode/success_rate")]
        steps = [int(row["env_steps"]) / 1e6 for row in rows]
        axes.plot(steps, [100 * float(row["episode/success_rate"]) for row in rows], label=Path(run).name)
    axes.set(
        xlabel="environment steps, millions", ylabel="success in training, % of the last 100 episodes", ylim=(0, 101)
    )
    axes.grid(alpha=0.3)
    axes.legend(loc="lower right", frameon=False)
    figure.tight_layout()
    figure.savefig(out)


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])
