"""Racing on synthetic curves: how often the best run is stopped, and what is saved."""

import numpy as np
import pytest
from scipy import stats

from touchline.benchmarks import racing

ALPHA, RUNS, LOOKS, EPISODES, REPEATS = 0.1, 8, 6, 60, 250
MOST_ERRORS = stats.binom.ppf(0.999, REPEATS, ALPHA)
"""So many or fewer are seen in 999 of 1000 tries where the rate is alpha."""


def race(curves, random, level, *, skew=False, rivals=EPISODES):
    """[K] looks that each run lived through; curves: [K, L] expected scores, of flags or of skewed numbers.

    The first run ends EPISODES episodes in a block, the others `rivals`.
    """
    alive, lived = np.ones(len(curves), bool), np.zeros(len(curves), int)
    sizes = np.array([EPISODES] + [rivals] * (len(curves) - 1))
    for expected in curves.T:
        lived += alive
        if skew:
            scores = [share + random.exponential(size=size) - 1 for share, size in zip(expected, sizes, strict=True)]
        else:
            scores = [random.random(size) < share for share, size in zip(expected, sizes, strict=True)]
        mean, variance = np.array([(block.mean(), block.var(ddof=1)) for block in scores]).T
        count = np.where(alive, sizes, 0)
        alive &= ~racing.losers(count, mean, variance, level=level, flags=not skew)
    return lived, alive


def errors(curves, level, *, best=0, **options):
    """Of REPEATS races, those in which the best run was stopped."""
    random = np.random.default_rng(0)
    return sum(not race(curves, random, level, **options)[1][best] for _ in range(REPEATS))


def rising(ends):
    """[K, L] curves of the same shape, so that they never cross."""
    return np.outer(ends, 0.2 + 0.8 * np.linspace(0, 1, LOOKS))


CORRECTED = racing.corrected_level(ALPHA, runs=RUNS, looks=LOOKS)


@pytest.mark.parametrize("chance", [0.2, 0.5])
def test_among_equals_the_best_run_is_stopped_at_most_in_a_share_alpha_and_without_the_correction_more(chance):
    equal = np.full((RUNS, LOOKS), chance)
    assert errors(equal, CORRECTED) <= MOST_ERRORS
    assert errors(equal, ALPHA) > 2 * MOST_ERRORS


@pytest.mark.parametrize("chance", [0.02, 0.3])
@pytest.mark.parametrize("rivals", [40, 400])
def test_the_bound_holds_for_runs_whose_episodes_are_longer_or_shorter_than_those_of_the_others(chance, rivals):
    equal = np.full((RUNS, LOOKS), chance)
    assert errors(equal, CORRECTED, rivals=rivals) <= MOST_ERRORS


def test_a_short_block_without_a_success_is_not_taken_for_a_certain_loser():
    count, mean = np.array([60, 240]), np.array([0.0, 10 / 240])
    variance = mean * (1 - mean) * count / (count - 1)
    assert racing.t_p_values(count, mean, variance, equal_variances=False)[0, 1] < 0.001, "as Welch's test does"
    assert not racing.losers(count, mean, variance, level=0.02, flags=True).any()
    assert not racing.losers(count, mean, variance, level=0.02).any()


@pytest.mark.parametrize("rivals", [EPISODES, 240])
def test_the_bound_holds_for_skewed_scores_too(rivals):
    equal = np.zeros((RUNS, LOOKS))
    assert errors(equal, CORRECTED, skew=True, rivals=rivals) <= MOST_ERRORS
    assert errors(equal, ALPHA, skew=True, rivals=rivals) > 2 * MOST_ERRORS


def test_correcting_for_the_runs_alone_or_the_looks_alone_errs_more_than_for_both():
    equal = np.full((RUNS, LOOKS), 0.5)
    both = errors(equal, CORRECTED)
    assert both < errors(equal, racing.corrected_level(ALPHA, runs=RUNS, looks=1))
    assert both < errors(equal, racing.corrected_level(ALPHA, runs=2, looks=LOOKS))


def test_among_unequal_runs_steps_are_saved_and_the_best_is_kept():
    curves = rising(np.linspace(0.9, 0.2, RUNS))
    assert errors(curves, CORRECTED) <= MOST_ERRORS
    random = np.random.default_rng(1)
    lived = np.array([race(curves, random, CORRECTED)[0] for _ in range(100)])
    assert lived.mean() / LOOKS < 0.7, "of the steps that all runs would take"
    assert (lived[:, 0] == LOOKS).mean() > 0.9
    assert lived[:, -1].mean() < 3, "the worst goes early"


def test_a_run_that_begins_slowly_and_overtakes_is_lost_for_this_is_what_the_rule_assumes_away():
    curves = rising([0.6, 0.6, 0.6, 0.6, 0.6, 0.6, 0.6, 0.6])
    curves[0] = [0, 0, 0, 0, 0.9, 0.9]
    assert errors(curves, CORRECTED) > 0.9 * REPEATS
    late = errors(curves[:, 4:], racing.corrected_level(ALPHA, runs=RUNS, looks=2))
    assert late <= MOST_ERRORS, "looks that begin late keep it"


def test_the_p_values_are_those_of_scipy():
    random = np.random.default_rng(0)
    blocks = [random.normal(shift, 1 + shift, size) for shift, size in ((0, 31), (0.4, 50), (1, 90))]
    count = np.array([len(b) for b in blocks])
    mean, variance = np.array([b.mean() for b in blocks]), np.array([b.var(ddof=1) for b in blocks])
    for equal in (False, True):
        found = racing.t_p_values(count, mean, variance, equal_variances=equal)
        for i, first in enumerate(blocks):
            for j, second in enumerate(blocks):
                expected = stats.ttest_ind(first, second, equal_var=equal, alternative="less").pvalue
                assert found[i, j] == pytest.approx(expected)
    wins = np.array([3, 9, 50])
    found = racing.fisher_p_values(count, wins / count)
    for i in range(3):
        for j in range(3):
            table = [[wins[i], count[i] - wins[i]], [wins[j], count[j] - wins[j]]]
            assert found[i, j] == pytest.approx(stats.fisher_exact(table, alternative="less").pvalue)


def test_constant_scores_and_short_blocks_are_told_apart():
    count, mean, variance = np.array([40, 40, 40, 5, 0]), np.array([0.0, 0.0, 1.0, 0.0, np.nan]), np.zeros(5)
    assert racing.losers(count, mean, variance, level=0.01).tolist() == [True, True, False, False, False]
    assert racing.losers(np.full(5, 29), mean, variance, level=0.01).tolist() == [False] * 5


def test_a_level_says_what_it_expects():
    assert racing.corrected_level(0.06, runs=4, looks=2) == pytest.approx(0.01)
    assert racing.corrected_level(0.06, runs=1, looks=2) == pytest.approx(0.03)
    with pytest.raises(ValueError, match="expected alpha in"):
        racing.corrected_level(0.0, runs=4, looks=2)
