"""Estimates over seeds and scenarios with stratified bootstrap intervals: rliable (Agarwal et al. 2021).

"Deep Reinforcement Learning at the Edge of the Statistical Precipice", https://arxiv.org/abs/2108.13264. The estimators
and the resampling are the package's own, with two differences. rliable 1.2 resamples with NumPy's global generator,
whatever `random_state` it is given; here every interval draws from a generator of its own with a fixed seed, so that a
report is the same whenever it is written. And what is averaged thousands of times is computed without loops.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy import stats

try:
    from rliable import library, metrics
except ModuleNotFoundError as error:
    if error.name not in ("rliable", "arch", "absl", "pandas"):
        raise
    raise ValueError(f"a report needs {error.name}: pip install 'touchline[report]'") from error

CONFIDENCE = 0.95
SEED = 20_210_813
REPETITIONS = {"aggregates": 5_000, "others": 2_000}
FEWEST_SEEDS = 3
"""With fewer there is no interval: half of what a bootstrap draws from two seeds is one of them twice."""

AGGREGATES: dict[str, Callable[[np.ndarray], float]] = {
    "IQM": metrics.aggregate_iqm,
    "Median": metrics.aggregate_median,
    "Mean": metrics.aggregate_mean,
    "Optimality gap": metrics.aggregate_optimality_gap,
}
THRESHOLDS = np.linspace(0.0, 1.0, 101)


class Interval(NamedTuple):
    """Estimates with their bounds; the bounds are None where there are too few seeds."""

    value: np.ndarray
    low: np.ndarray | None
    high: np.ndarray | None


class _Strata(library.StratifiedBootstrap):
    """Draws runs anew in every scenario, from `generator`."""

    def update_indices(self) -> tuple[np.ndarray, ...]:
        return (self.generator.integers(self._num_items, size=self._args_shape), *self._strata_indices)


class _IndependentStrata(library.StratifiedIndependentBootstrap):
    """The same of several arrays, each by itself."""

    def _get_indices(self, num_runs, array_shape, strata_indices):
        return (self.generator.integers(num_runs, size=array_shape), *strata_indices)


def aggregates(scores: np.ndarray) -> Interval:
    """[4] `AGGREGATES` of scores [runs, scenarios] in [0, 1]."""

    def every(scores: np.ndarray) -> np.ndarray:
        return np.array([function(scores) for function in AGGREGATES.values()])

    return _interval(every, scores, what="aggregates")


def profile(scores: np.ndarray) -> Interval:
    """[THRESHOLDS] share of runs [runs, scenarios] whose score is above each threshold (the paper's eq. 3)."""
    return _interval(lambda x: (x[..., None] > THRESHOLDS).mean((0, 1)), scores)


def improvement(x: np.ndarray, y: np.ndarray) -> Interval:
    """[1] probability that a run of x scores more than one of y on a scenario, averaged over scenarios; [runs, M]."""
    found = _interval(_improvement, x, y)
    return found._replace(value=np.array([metrics.probability_of_improvement(x, y)]))


def _improvement(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """rliable's `probability_of_improvement`, fifty times as fast: pairs counted, ties as halves."""
    above = (x[:, None] > y[None]).mean() + 0.5 * (x[:, None] == y[None]).mean()
    return np.array([above])


def mean(values: np.ndarray) -> Interval:
    """[1] the mean over seeds [seeds]."""
    return _interval(lambda x: x.mean(0), values[:, None])


def iqm_band(curves: np.ndarray) -> Interval:
    """[K] interquartile mean over seeds of curves [seeds, K]; whole curves are drawn."""
    value = stats.trim_mean(curves, 0.25, axis=0)
    if len(curves) < FEWEST_SEEDS:
        return Interval(value, None, None)
    drawn = np.random.default_rng(SEED).integers(len(curves), size=(1_000, len(curves)))
    means = stats.trim_mean(curves[drawn], 0.25, axis=1)
    low, high = np.quantile(means, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2], axis=0)
    return Interval(value, low, high)


def _interval(function: Callable[..., np.ndarray], *scores: np.ndarray, what: str = "others") -> Interval:
    value = function(*scores)
    if min(map(len, scores)) < FEWEST_SEEDS:
        return Interval(value, None, None)
    strata = _Strata(*scores) if len(scores) == 1 else _IndependentStrata(*scores)
    strata.generator = np.random.default_rng(SEED)
    low, high = strata.conf_int(function, reps=REPETITIONS[what], size=CONFIDENCE, method="percentile")
    return Interval(value, low, high)
