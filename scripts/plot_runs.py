"""Draws learning curves of run directories: `python scripts/plot_runs.py OUT.png RUN...` (needs matplotlib)."""

import sys
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

from touchline.run_folders import MetricsFile


def main(out: str, *runs: str) -> None:
    """Success rate of the last 100 training episodes (sampled actions) over environment steps."""
    figure, axes = plt.subplots(figsize=(8, 4.5), dpi=120)
    for run in runs:
        file = MetricsFile(Path(run) / "metrics.csv")
        file.refresh()
        success = file.column("episode/success_rate")
        known = np.isfinite(success)
        axes.plot(file.steps[known] / 1e6, 100 * success[known], label=Path(run).name)
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
