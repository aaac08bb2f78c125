"""Draws a league's ratings and rated games, generation by generation (needs matplotlib).

python scripts/plot_league.py LEAGUE OUT.png
"""

import argparse
import json
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

from touchline.benchmarks.league import rating_rows

PREFIX = "points_against_"


def main() -> None:
    """The rating of every member on joining beside the anchors', and its points a rated game."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("league", type=Path)
    parser.add_argument("out")
    chosen = parser.parse_args()
    rows = list(rating_rows(chosen.league))
    steps = [int(row["env_steps"]) / 1e6 for row in rows]
    figure, (ratings, games) = plt.subplots(1, 2, figsize=(9.5, 3.4), dpi=120)
    mu, sigma = ([float(row[name]) for row in rows] for name in ("mu", "sigma"))
    ratings.errorbar(steps, mu, yerr=sigma, marker="o", color="C0", capsize=3)
    for name, level in json.loads((chosen.league / "anchors.json").read_text()).items():
        ratings.axhline(level, color="0.6", lw=0.8)
        ratings.annotate(name, (1.01, level), xycoords=("axes fraction", "data"), fontsize=7, va="center")
    ratings.set(xlabel="environment steps, millions", ylabel="mu, sigma", title="rating on joining; lines: anchors")
    for name in (name for name in rows[0] if name.startswith(PREFIX)):
        points = [float(row[name]) if row[name] else float("nan") for row in rows]
        games.plot(steps, points, marker="o", label=name.removeprefix(PREFIX))
    games.set(xlabel="environment steps, millions", ylabel="points a game", ylim=(-0.02, 1.02), title="rated games")
    games.legend(frameon=False, fontsize=7)
    figure.tight_layout()
    figure.savefig(chosen.out)


if __name__ == "__main__":
    main()
