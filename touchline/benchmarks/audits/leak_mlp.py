"""Row D2: leakage under networks, and what a better representation does (Penedones et al. 2018).

https://arxiv.org/abs/1807.03064. Two rooms with a wall that is thin in the coordinates a network sees, so that it can
hardly fit the jump of the value there. Updates are expected ones over all states, so nothing is sampled. The successor
representation's directions tell the rooms apart and mend it; a thick wall, or none, has no leak. Mazes, networks and
budgets are design choices.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from touchline.benchmarks.audits import Check
from touchline.benchmarks.leakage import fit_network, maze
from touchline.networks import torch_threads

NAME = "D2"
CLAIM = "On toy mazes, a network's error at a thin wall leaks under TD; a representation that sees the wall mends it."
COST = "1 min"

NETWORKS: dict[str, dict[str, Any]] = {
    "2 x 16 tanh, gap 0.01": {"hidden": (16, 16), "activation": "tanh", "iterations": 2000},
    "2 x 32 ReLU, gap 0.01": {"hidden": (32, 32), "iterations": 2000},
    "2 x 32 ReLU, gap 0.002": {"hidden": (32, 32), "iterations": 3000},
    "2 x 64 ReLU, thick wall (control)": {"hidden": (64, 64), "iterations": 1500},
}
WORLDS: dict[str, dict[str, Any]] = {
    "2 x 16 tanh, gap 0.01": {"gap": 0.01},
    "2 x 32 ReLU, gap 0.01": {"gap": 0.01},
    "2 x 32 ReLU, gap 0.002": {"gap": 0.002},
    "2 x 64 ReLU, thick wall (control)": {"gap": None, "far": 2},
}
NO_WALL = "xy, no wall, cells evenly spaced"
"""Without a wall there is no gap to leave beside it."""
INPUTS = ("xy", "SR", NO_WALL)
THICK = "2 x 64 ReLU, thick wall (control)"
QUICK = ("2 x 32 ReLU, gap 0.002",)


def run(seed: int, *, quick: bool = False) -> dict[str, Any]:
    """{network: {inputs: {method: far RMSE}}}."""
    out: dict[str, Any] = {}
    with torch_threads(1):
        for name in QUICK if quick else NETWORKS:
            out[name] = {}
            for kind in INPUTS:
                world = maze(**WORLDS[name] | ({"wall": False, "gap": None} if kind == NO_WALL else {}))
                seen = world.successor_features() if kind == "SR" else world.coordinates
                out[name][kind] = {
                    method: world.probe.errors(
                        lambda _, m=method, w=world, s=seen, n=name: fit_network(
                            w, s, method=m, seed=seed, **NETWORKS[n]
                        )
                    )["far"]
                    for method in ("mc", "td")
                }
    return out


def checks(results: Sequence[dict[str, Any]], *, quick: bool = False) -> list[Check]:
    """The sheet's thresholds on means over the seeds."""
    out = []
    for name in results[0]:
        mc, td, sr_mc, sr_td, free_mc, free_td = (
            float(np.mean([result[name][kind][method] for result in results]))
            for kind in INPUTS
            for method in ("mc", "td")
        )
        leak, detail = td > 2 * mc, f"far error {td:.4f} against {mc:.4f}"
        if name == THICK:
            out.append(Check(f"{name.removesuffix(' (control)')}: TD leaks", not leak, detail, must_fail=True))
            continue
        out.append(Check(f"{name}: TD errs more than twice as much as MC far from the wall", leak, detail))
        mended = f"{sr_td:.4f} against {sr_mc:.4f}"
        out.append(Check(f"{name}: at most 1.5 x with SR inputs", sr_td <= 1.5 * sr_mc, mended))
        none = f"{free_td:.4f} against {free_mc:.4f}"
        free = f"the network of {name}, no wall, cells evenly spaced: TD leaks"
        out.append(Check(free, not free_td > 2 * free_mc, none, must_fail=True))
    return out


def plot(results: Sequence[dict[str, Any]], axes: Any) -> None:
    """Far RMSE of TD over Monte Carlo's, a dot a seed."""
    for i, kind in enumerate(INPUTS):
        for j, name in enumerate(results[0]):
            ratios = [result[name][kind]["td"] / result[name][kind]["mc"] for result in results]
            place = j + (i - 1) * 0.25
            axes.bar(place, np.mean(ratios), 0.22, color=f"C{i}", label=kind if j == 0 else None)
            axes.plot([place] * len(ratios), ratios, "k.", ms=3)
    axes.set_yscale("log")
    axes.axhline(1.0, color="k", lw=0.5)
    axes.set_xticks(range(len(results[0])), [name.replace(", ", "\n") for name in results[0]], fontsize=6)
    axes.set_ylabel("far error, TD / Monte Carlo")
    axes.legend(frameon=False, fontsize=7)


def table(results: Sequence[dict[str, Any]]) -> str:
    """Far RMSE of every seed, Monte Carlo / TD."""
    lines = ["| network | " + " | ".join(f"{kind}: MC / TD" for kind in INPUTS) + " |", "|---|---|---|---|"]
    for name in results[0]:
        cells = [
            ", ".join(f"{result[name][kind]['mc']:.4f} / {result[name][kind]['td']:.4f}" for result in results)
            for kind in INPUTS
        ]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"
