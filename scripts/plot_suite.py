"""Draws a suite's learning curves, a panel a drill of which there are runs (needs matplotlib).

python scripts/plot_suite.py SUITE OUT.png [--runs results/SUITE] [--column episode/success_rate] [--variants NAME ...]
"""

import argparse
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from PIL import Image

from touchline.benchmarks import suites
from touchline.run_folders import MetricsFile


def curve(folder, column):
    """Steps and a column, which averages the last 100 training episodes."""
    file = MetricsFile(folder / "metrics.csv")
    file.refresh()
    values = file.column(column)
    known = np.isfinite(values)
    return file.steps[known], values[known]


def main() -> None:
    """Every seed as a thin line, and between the lowest and the highest of them the area."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("suite")
    parser.add_argument("out")
    parser.add_argument("--runs", type=Path)
    parser.add_argument("--column", default="episode/success_rate")
    parser.add_argument("--variants", nargs="+")
    chosen = parser.parse_args()
    suite, root = suites.load(chosen.suite), chosen.runs or Path("results", chosen.suite)
    share = chosen.column == "episode/success_rate"
    names = chosen.variants or list(suite.variants)
    done = [
        scenario
        for scenario in suite.total_steps
        if any(suites.is_done(suites.folder_of(root, scenario, name, seed)) for name in names for seed in suite.seeds)
    ]
    if not done:
        parser.error(f"no run of {chosen.suite} in {root} is finished yet")
    columns = min(len(done), 4)
    rows = -(-len(done) // columns)
    figure, grid = plt.subplots(rows, columns, figsize=(4 * columns, 3.4 * rows), dpi=120, squeeze=False)
    for panel in grid.flat[len(done) :]:
        panel.set_visible(False)
    for panel, scenario in zip(grid.flat, done, strict=False):
        for number, variant in enumerate(name for name in names if suite.plays(name, scenario)):
            seeds, total = suite.seeds_for(variant), suite.steps(variant, scenario)
            folders = [suites.folder_of(root, scenario, variant, seed) for seed in seeds]
            curves = [curve(folder, chosen.column) for folder in folders if suites.is_done(folder)]
            curves = [(steps / 1e6, (100 if share else 1) * values) for steps, values in curves]
            for steps, values in curves:
                panel.plot(steps, values, color=f"C{number}", lw=0.7)
            if curves:
                points = np.linspace(0, total, 200) / 1e6
                every = np.array([np.interp(points, *one, left=np.nan) for one in curves])
                label = f"{variant} ({len(curves)} of {len(folders)} seeds)"
                panel.plot(points, every.mean(0), color=f"C{number}", lw=2, label=label)
                panel.fill_between(points, every.min(0), every.max(0), color=f"C{number}", alpha=0.15)
        panel.set(title=scenario, xlabel="environment steps, millions")
        if share:
            panel.set_ylim(0, 102)
        panel.grid(alpha=0.3)
        if panel.get_legend_handles_labels()[0]:
            panel.legend(frameon=False, fontsize=7)
    label = "success in training, % of the last 100" if share else f"{chosen.column}, mean of the last 100"
    for panel in grid[:, 0]:
        panel.set_ylabel(label)
    figure.tight_layout()
    figure.savefig(chosen.out)
    with Image.open(chosen.out) as picture:  # a third of the size, and nobody sees it
        picture.convert("RGB").quantize(64).save(chosen.out, optimize=True)


if __name__ == "__main__":
    main()
