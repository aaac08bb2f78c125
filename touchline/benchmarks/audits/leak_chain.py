"""Row D1: leakage in a chain where everything can be computed (Penedones et al. 2018, https://arxiv.org/abs/1807.03064).

Two corridors of 8 cells whose values are 0 and 1; the two cells that face each other across the wall share a feature.
Monte Carlo errs at these two alone, TD's error spreads along both corridors, the farther the larger gamma is. Nothing
is random, so all seeds agree. The chain is a design choice.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from touchline.benchmarks.audits import Check
from touchline.benchmarks.leakage import corridors

NAME = "D1"
CLAIM = "In a chain, an error that features force at a jump of the value leaks far under TD, not under Monte Carlo."
COST = "milliseconds"

GAMMAS = (0.5, 0.9, 0.95, 0.99)
LAMBDAS = (0.0, 0.5, 0.9, 0.99, 1.0)


def run(seed: int, *, quick: bool = False) -> dict[str, Any]:
    """Errors by gamma and by lambda, Ollivier's identity, the bound, and the controls."""
    out: dict[str, Any] = {"gamma": {}, "lambda": {}, "controls": {}}
    for gamma in GAMMAS:
        chain, probe = corridors(gamma=gamma)
        td, mc = chain.td(gamma), chain.monte_carlo(gamma)
        errors = {"td": probe.errors(lambda _, td=td: td), "mc": probe.errors(lambda _, mc=mc: mc)}
        out["gamma"][str(gamma)] = {
            "far mc": errors["mc"]["far"],
            "far td": errors["td"]["far"],
            "ratio": errors["td"]["all"] / errors["mc"]["all"],
            "bound": 1 / float(np.sqrt(1 - gamma**2)),
            "to ollivier": float(np.abs(td - chain.least_dirichlet(gamma)).max()),
            "by distance": probe.by_distance(lambda _, td=td: td),
        }
    chain, probe = corridors(gamma=0.95)
    for lam in LAMBDAS:
        values = chain.td(0.95, lam)
        out["lambda"][str(lam)] = probe.errors(lambda _, values=values: values)["far"]
    for name, options, gamma in (
        ("no sharing", {"shared": False}, 0.95),
        ("flat value", {"flat": True}, 0.95),
        ("gamma 0", {"gamma": 0.0}, 0.0),
    ):
        chain, probe = corridors(**options)
        values = chain.td(gamma)
        out["controls"][name] = probe.errors(lambda _, values=values: values)["far"]
    return out


def checks(results: Sequence[dict[str, Any]], *, quick: bool = False) -> list[Check]:
    """The sheet's conditions, which hold exactly."""
    result = results[0]
    rows = list(result["gamma"].values())
    far, by_lambda = [row["far td"] for row in rows], list(result["lambda"].values())
    known = rows[GAMMAS.index(0.95)]["by distance"]
    return [
        Check("Monte Carlo is right far from the wall", max(row["far mc"] for row in rows) < 1e-12, "to 1e-12"),
        Check("TD is not, and errs more with a larger gamma", far[0] > 0.05 and far == sorted(far), _numbers(far)),
        Check(
            "within Tsitsiklis and Van Roy's bound", all(x["ratio"] <= x["bound"] for x in rows), "TD / MC, all cells"
        ),
        Check("TD is Ollivier's minimiser", max(row["to ollivier"] for row in rows) < 1e-12, "to 1e-12"),
        Check("the error falls with lambda", by_lambda == sorted(by_lambda, reverse=True), _numbers(by_lambda)),
        Check("and with the distance", known == sorted(known, reverse=True), _numbers(known)),
        *(
            Check(f"{name}: leaks", value < 1e-12, f"far error {value:.1e}", must_fail=True)
            for name, value in result["controls"].items()
        ),
    ]


def _numbers(values: Sequence[float]) -> str:
    return ", ".join(f"{x:.3f}" for x in values)


def plot(results: Sequence[dict[str, Any]], axes: Any) -> None:
    """TD's error by the distance from the wall, a line a gamma."""
    for gamma, row in results[0]["gamma"].items():
        axes.plot(row["by distance"], "o-", ms=3, label=f"TD, gamma {gamma}")
    axes.plot([0.5] + [0.0] * 7, "k--", lw=1, label="Monte Carlo")
    axes.set(xlabel="cells from the wall", ylabel="error of the value")
    axes.legend(frameon=False, fontsize=7)


def table(results: Sequence[dict[str, Any]]) -> str:
    """By gamma; every seed gives the same."""
    lines = ["| gamma | far, MC | far, TD | TD / MC, all cells | bound |", "|---|---|---|---|---|"]
    for gamma, row in results[0]["gamma"].items():
        lines.append(
            f"| {gamma} | {row['far mc']:.3f} | {row['far td']:.3f} | {row['ratio']:.2f} | {row['bound']:.2f} |"
        )
    return "\n".join(lines) + "\n"
