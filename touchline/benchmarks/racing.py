"""Racing: a run is stopped once a test, corrected for how often it is made, says that it will not win.

The idea is that of "Toward Optimal Run Racing" (Bousquet et al. 2017, https://arxiv.org/abs/1706.03199): many runs
side by side, stopped by tests under a bound for all of them together. The rule here is ours, in its spirit; it is not
claimed to be the paper's.

K runs are looked at L times, at the same environment steps. At a look each run shows a block: the scores of the
episodes that ended since the look before. Run i is stopped where some run j is better by a one-sided test of Welch at
level alpha / ((K - 1) L). What is assumed:

- Order: at every look the run that would be best in the end is expected to score no less than any other does. One that
  begins slowly and overtakes breaks this and may be stopped; looks may begin late (`tune.TuneConfig.first_look`).
- Within a block episodes are independent given what the run has learned, and there are enough of them for a t test
  (`min_count`). Runs may depend on each other, and so may looks.

Then the best run is stopped with a probability of at most alpha: only its own (K - 1) L comparisons can do that, and
their levels add up to alpha, whatever depends on what. As far as a t test is exact; the tests try flags and skewed
scores. It is about runs: that one run of a setting lost says nothing of the setting's other seeds. A stopped run still
counts as a rival where it has been looked at.
"""

from __future__ import annotations

import numpy as np
from scipy import stats


def corrected_level(alpha: float, *, runs: int, looks: int) -> float:
    """The level of one comparison (Bonferroni), so that the best of K `runs` is stopped at most in a share `alpha`.

    Args:
        alpha: between 0 and 1.
        runs: K, of which each is compared to all others.
        looks: L, at which they are.
    """
    if not 0 < alpha < 1 or runs < 1 or looks < 1:
        raise ValueError(f"expected alpha in (0, 1), runs and looks of at least 1, got {alpha}, {runs} and {looks}")
    return alpha / (max(runs - 1, 1) * looks)


def welch_p_values(count: np.ndarray, mean: np.ndarray, variance: np.ndarray) -> np.ndarray:
    """[K, K]: entry i, j is small where run i scores less than run j; 1 where one of them has fewer than 2 episodes.

    One-sided, for unequal variances (Welch 1947, https://doi.org/10.1093/biomet/34.1-2.28).

    Args:
        count: [K] episodes in the block.
        mean: [K] of their scores.
        variance: [K] of their scores, unbiased.
    """
    enough = np.asarray(count) >= 2
    count = np.where(enough, count, 2).astype(float)
    mean, variance = np.where(enough, mean, 0.0), np.where(enough, variance, 0.0)
    part = variance / count
    squared = part[:, None] + part[None, :]
    terms = part**2 / (count - 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        t = (mean[None, :] - mean[:, None]) / np.sqrt(squared)
        degrees = squared**2 / (terms[:, None] + terms[None, :])
        p = stats.t.sf(t, degrees)
    certain = np.where(mean[:, None] < mean[None, :], 0.0, 1.0)  # neither varies
    p = np.where(squared > 0, p, certain)
    return np.where(enough[:, None] & enough[None, :], p, 1.0)


def losers(
    count: np.ndarray, mean: np.ndarray, variance: np.ndarray, *, level: float, min_count: int = 30
) -> np.ndarray:
    """[K] bool: the runs that some other one beats at this look.

    Args:
        count, mean, variance: [K] of the scores in each run's block, see `welch_p_values`.
        level: of one comparison, see `corrected_level`.
        min_count: runs with fewer episodes in the block neither beat nor are beaten.
    """
    shown = np.asarray(count) >= min_count
    beaten = (welch_p_values(count, mean, variance) <= level) & shown[:, None] & shown[None, :]
    return beaten.any(axis=1)
