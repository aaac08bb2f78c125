"""Draws a suite's learning curves, a panel a drill: `python scripts/plot_suite.py SUITE OUT.png` (needs matplotlib)."""

import csv
import sys
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

from touchline.benchmarks import suites


def curve(folder):
    """Steps and success of the last 100 training episodes."""
    with (folder / "metrics.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row.get("episode/success_rate")]
    return np.array([[float(row["env_steps"]), float(row["episode/success_rate"])] for row in rows]).T


def main(name: str, out: str) -> None:
    """Every seed as a thin line, and between the lowest and the highest of them the area."""
    suite, root = suites.load(name), Path("results", name)
    figure, panels = plt.subplots(1, len(suite.total_steps), figsize=(4 * len(suite.total_steps), 3.4), dpi=120)
    for panel, (scenario, total) in zip(np.atleast_1d(panels), suite.total_steps.items(), strict=True):
        for number, variant in enumerate(suite.variants):
            folders = [suites.folder_of(root, scenario, variant, seed) for seed in suite.seeds]
            curves = [curve(folder) for folder in folders if suites.is_done(folder)]
            for steps, success in curves:
                panel.plot(steps / 1e6, 100 * success, color=f"C{number}", lw=0.7)
            if curves:
                grid = np.linspace(0, total, 200)
                every = np.array([np.interp(grid, *one) for one in curves])
                label = f"{variant} ({len(curves)} of {len(folders)} seeds)"
                panel.plot(grid / 1e6, 100 * every.mean(0), color=f"C{number}", lw=2, label=label)
                panel.fill_between(grid / 1e6, 100 * every.min(0), 100 * every.max(0), color=f"C{number}", alpha=0.15)
        panel.set(title=scenario, xlabel="environment steps, millions", ylim=(0, 102))
        panel.grid(alpha=0.3)
        if panel.get_legend_handles_labels()[0]:
            panel.legend(frameon=False, fontsize=7)
    np.atleast_1d(panels)[0].set_ylabel("success in training, % of the last 100")
    figure.tight_layout()
    figure.savefig(out)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])
