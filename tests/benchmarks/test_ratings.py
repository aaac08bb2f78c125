"""Ratings that anchors hold, and Nash averaging on games with known answers."""

import json

import numpy as np
import pytest

from touchline.benchmarks.ratings import Rating, Ratings, nash_averaging

ROCK_PAPER_SCISSORS = np.array([[0, -1, 1], [1, 0, -1], [-1, 1, 0]], float)


def rated(*games, anchors=None):
    ratings = Ratings(anchors)
    for name in dict.fromkeys(name for first, second, _ in games for name in (first, second)):
        ratings.add(name)
    for game in games:
        ratings.record(*game)
    return ratings


def test_the_winner_rises_and_the_loser_falls_by_as_much():
    ratings = rated(("a", "b", 1))
    a, b = ratings.of("a"), ratings.of("b")
    assert a.mu > 25 > b.mu
    assert a.mu - 25 == pytest.approx(25 - b.mu)
    assert a.sigma == pytest.approx(b.sigma)
    assert a.sigma < 25 / 3
    assert rated(("a", "b", 9)).of("a") == a, "the size of a win does not count"
    assert rated(("b", "a", -1)).of("a") == pytest.approx(a), "nor who is named first"


def test_a_draw_brings_two_players_together():
    before = rated(("a", "b", 1))
    after = rated(("a", "b", 1), ("a", "b", 0))
    assert after.of("a").mu < before.of("a").mu
    assert after.of("b").mu > before.of("b").mu
    assert rated(("a", "b", 0)).of("a").mu == pytest.approx(25)


def test_an_anchor_never_moves_and_pulls_the_scale_to_itself():
    games = [("a", "random", 1), ("b", "random", -1), ("a", "b", 1)] * 30
    ratings = rated(*games)
    assert ratings.of("random") == Rating(15.0, 0.5)
    assert ratings.of("b").mu < 15 < ratings.of("a").mu
    drifting = rated(*games, anchors={})
    assert drifting.of("random").mu != 15
    assert rated(*games, anchors={"a": 40.0}).of("a").mu == 40.0


def test_equal_play_against_an_anchor_ends_at_the_anchor():
    ratings = rated(*[("a", "random", 1), ("a", "random", -1)] * 200)
    assert ratings.of("a").mu == pytest.approx(15, abs=1)


def test_the_ordinal_is_three_sigma_below():
    assert Rating(20.0, 2.0).ordinal == 14.0


def test_win_probability_follows_the_ratings():
    ratings = rated(*[("a", "b", 1)] * 10)
    ratings.add("a2")
    ratings.add("b2")
    assert ratings.win_probability("a", "b") > 0.8
    assert ratings.win_probability("a", "b") + ratings.win_probability("b", "a") == pytest.approx(1)
    assert ratings.win_probability("a2", "b2") == pytest.approx(0.5)


def test_a_state_is_plain_json_and_goes_on_as_if_nothing_happened():
    ratings = rated(("a", "random", 1), ("b", "a", 1))
    other = Ratings(anchors={})
    other.load_state_dict(json.loads(json.dumps(ratings.state_dict())))
    assert other.names == ratings.names == ("a", "random", "b")
    for kept in (ratings, other):
        kept.record("b", "random", 0)
    assert [other.of(name) for name in other.names] == [ratings.of(name) for name in ratings.names]
    assert other.of("random").mu == 15.0


def test_adding_twice_keeps_the_rating_and_a_stranger_is_refused():
    ratings = rated(("a", "b", 1))
    before = ratings.of("a")
    ratings.add("a")
    assert ratings.of("a") == before
    with pytest.raises(ValueError, match="no 'c' among the rated; there are a, b"):
        ratings.record("a", "c", 1)
    with pytest.raises(ValueError, match="'a' twice"):
        ratings.record("a", "a", 1)


# ---- Nash averaging ----------------------------------------------------------------------------------------


def test_rock_paper_scissors_are_played_equally_and_have_skill_zero():
    mixture, skill = nash_averaging(ROCK_PAPER_SCISSORS)
    assert mixture == pytest.approx([1 / 3] * 3, abs=1e-6)
    assert skill == pytest.approx([0] * 3, abs=1e-6)


def test_a_biased_cycle_has_its_known_equilibrium():
    # Payoffs a, b, c along a cycle are played in the proportion of the payoff between the other two.
    mixture, skill = nash_averaging(np.array([[0, -3, 1], [3, 0, -2], [-1, 2, 0]], float))
    assert mixture == pytest.approx([2 / 6, 1 / 6, 3 / 6], abs=1e-6)
    assert skill == pytest.approx([0] * 3, abs=1e-5)


def test_a_dominating_player_takes_all_and_the_others_skill_is_what_they_lose():
    payoff = np.array([[0, 0.5, 1], [-0.5, 0, 1], [-1, -1, 0]], float)
    mixture, skill = nash_averaging(payoff)
    assert mixture == pytest.approx([1, 0, 0], abs=1e-9)
    assert skill == pytest.approx([0, -0.5, -1], abs=1e-9)


def test_copies_share_their_weight_and_change_nobodys_skill():
    rng = np.random.default_rng(0)
    for _ in range(5):
        upper = np.triu(rng.normal(size=(4, 4)), 1)
        payoff = upper - upper.T
        mixture, skill = nash_averaging(payoff)
        copied = [0, 1, 2, 3, 1, 1]
        more, skills = nash_averaging(payoff[np.ix_(copied, copied)])
        assert skills == pytest.approx(skill[copied], abs=1e-4)
        assert more[[1, 4, 5]] == pytest.approx([mixture[1] / 3] * 3, abs=1e-4)
        assert more[[0, 2, 3]] == pytest.approx(mixture[[0, 2, 3]], abs=1e-4)


def test_a_mixture_is_an_equilibrium_of_larger_entropy_than_its_neighbours():
    # Two players who draw and beat the third alike: every split is an equilibrium, the even one has most entropy.
    payoff = np.array([[0, 0, 1, 2], [0, 0, 1, 0], [-1, -1, 0, 0], [-2, 0, 0, 0]], float)
    mixture, skill = nash_averaging(payoff)
    assert (payoff @ mixture <= 1e-6).all()
    assert mixture == pytest.approx([0.5, 0.5, 0, 0], abs=1e-5)
    assert skill[2] == pytest.approx(-1, abs=1e-5)
    assert nash_averaging(np.zeros((3, 3)))[0] == pytest.approx([1 / 3] * 3)
    assert nash_averaging(np.zeros((1, 1)))[0] == pytest.approx([1.0])


def test_a_matrix_that_is_no_game_is_refused():
    with pytest.raises(ValueError, match=r"\[K, K\]"):
        nash_averaging(np.zeros((2, 3)))
    with pytest.raises(ValueError, match=r"-payoff\[j, i\]"):
        nash_averaging(np.ones((2, 2)))
