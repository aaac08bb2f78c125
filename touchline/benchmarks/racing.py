"""Racing: a run is stopped once a test, corrected for how often it is made, says that it will not win.

The idea is that of "Toward Optimal Run Racing" (Bousquet et al. 2017, https://arxiv.org/abs/1706.03199): many runs
side by side, stopped by tests under a bound for all of them together. The rule here is ours, in its spirit; it is not
claimed to be the paper's.

K runs are looked at L times, at the same environment steps. At a look each run shows a block: the scores of the
episodes that ended since the look before. Run i is stopped where some run j is better by a one-sided test at level
alpha / ((K - 1) L): Fisher's exact test where scores are flags, else the larger p-value of Welch's and Student's. What
is assumed:

- Order: at every look the run that would be best in the end is expected to score no less than any other does. One that
  begins slowly and overtakes breaks this and may be stopped; looks may begin late (`tune.TuneConfig.first_look`).
- Within a block episodes are independent given what the run has learned, and there are enough of them (`min_count`).
  Runs may depend on each other, and so may looks. Runs may end different numbers of episodes.

Then the best run is stopped with a probability of at most alpha: only its own (K - 1) L comparisons can do that, and
their levels add up to alpha, whatever depends on what. That is exact for flags; for other scores it is as exact as the
t tests are. (Welch's alone is not where a short block happens to vary little: then it takes that for certainty. Hence
Student's, which looks at the variance of both.) It is about runs: that one run of a setting lost says nothing of the
setting's other seeds. A stopped run still counts as a rival where it has been looked at.
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


def t_p_values(count: np.ndarray, mean: np.ndarray, variance: np.ndarray, *, equal_variances: bool) -> np.ndarray:
    """[K, K]: entry i, j is small where run i scores less than run j; 1 where one of them has fewer than 2 episodes.

    One-sided, Student's or, for unequal variances, Welch's (1947, https://doi.org/10.1093/biomet/34.1-2.28).

    Args:
        count: [K] episodes in the block.
        mean: [K] of their scores.
        variance: [K] of their scores, unbiased.
    """
    enough = np.asarray(count) >= 2
    count = np.where(enough, count, 2).astype(float)
    mean, variance = np.where(enough, mean, 0.0), np.where(enough, variance, 0.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        if equal_variances:
            squares = (count - 1) * variance
            degrees = (count - 1)[:, None] + (count - 1)[None, :]
            squared = (squares[:, None] + squares[None, :]) / degrees * (1 / count[:, None] + 1 / count[None, :])
        else:
            part = variance / count
            squared = part[:, None] + part[None, :]
            terms = part**2 / (count - 1)
            degrees = squared**2 / (terms[:, None] + terms[None, :])
        p = stats.t.sf((mean[None, :] - mean[:, None]) / np.sqrt(squared), degrees)
    certain = np.where(mean[:, None] < mean[None, :], 0.0, 1.0)  # neither varies
    p = np.where(squared > 0, p, certain)
    return np.where(enough[:, None] & enough[None, :], p, 1.0)


def fisher_p_values(count: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """[K, K]: entry i, j is small where run i has a smaller share of successes than run j; one-sided, exact (Fisher
    1922, https://doi.org/10.2307/2340521).

    Args:
        count: [K] episodes in the block.
        mean: [K] share of successes; of runs without episodes it says nothing.
    """
    count = np.asarray(count, int)
    successes = np.rint(count * np.where(count > 0, mean, 0.0)).astype(int)
    episodes, in_all = count[:, None] + count[None, :], successes[:, None] + successes[None, :]
    return stats.hypergeom.cdf(successes[:, None], np.maximum(episodes, 1), in_all, count[:, None])


def losers(
    count: np.ndarray,
    mean: np.ndarray,
    variance: np.ndarray,
    *,
    level: float,
    flags: bool = False,
    min_count: int = 30,
) -> np.ndarray:
    """[K] bool: the runs that some other one beats at this look.

    Args:
        count, mean, variance: [K] of the scores in each run's block, see `t_p_values`.
        level: of one comparison, see `corrected_level`.
        flags: all scores are 0 or 1.
        min_count: runs with fewer episodes in the block neither beat nor are beaten.
    """
    shown = np.asarray(count) >= min_count
    if flags:
        p = fisher_p_values(count, mean)
    else:
        p = np.maximum(*(t_p_values(count, mean, variance, equal_variances=equal) for equal in (False, True)))
    return ((p <= level) & shown[:, None] & shown[None, :]).any(axis=1)
