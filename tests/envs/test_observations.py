"""Observations, rewards and statistics on small states made by hand."""

from functools import partial

import numpy as np
import pytest
import torch

from touchline.benchmarks.leakage import owners
from touchline.curiosity.parts.inputs import InputFilter, Pitch
from touchline.envs.actions import ACTION_SETS, check_actions
from touchline.envs.control import controlled_scenario, fixed_players
from touchline.envs.observations import (
    Egocentric,
    EgocentricKicks,
    EgocentricNoise,
    Simple115v2,
    SuperMiniMap,
    raw_observation,
)
from touchline.envs.rewards import Checkpoints, Scoring, make_terms
from touchline.envs.simulator import empty_state
from touchline.envs.statistics import EpisodeStatistics
from touchline.scenarios import load
from touchline.types import EnvSpec

ROWS = np.array([0])


def two_a_side():
    """One match: two players a side, the ball in the middle with left player 1, who is controlled."""
    state = empty_state(1)
    state.get("left_count")[0] = state.get("right_count")[0] = 2
    state.get("left_position")[0, :2] = [[-1.0, 0.0], [0.2, 0.1]]
    state.get("right_position")[0, :2] = [[1.0, 0.0], [0.5, -0.2]]
    state.get("left_active")[0, :2] = state.get("right_active")[0, :2] = 1
    state.get("ball_position")[0] = [0.21, 0.1, 0.11]
    state.get("ball_owned_team")[0], state.get("ball_owned_player")[0] = 0, 1
    state.get("left_controlled")[0] = state.get("right_controlled")[0] = -1
    state.get("left_controlled")[0, 0] = state.get("right_controlled")[0, 0] = 1
    state.get("steps_left")[0] = 100
    return state


def write(kind, state, num_left=1, num_right=0):
    observation = kind(num_left, num_right)
    out = np.full((1, num_left + num_right, *observation.shape), 7, observation.dtype)
    observation.write(state, ROWS, out)
    return out[0]


def test_simple115v2_pads_players_that_do_not_exist_with_minus_one():
    (vector,) = write(Simple115v2, two_a_side())
    np.testing.assert_allclose(vector[:4], [-1.0, 0.0, 0.2, 0.1], rtol=1e-6)
    assert (vector[4:22] == -1.0).all()
    np.testing.assert_allclose(vector[88:91], [0.21, 0.1, 0.11], rtol=1e-6)
    assert vector[94:97].tolist() == [0, 1, 0]
    assert np.flatnonzero(vector[97:108]).tolist() == [1]
    assert np.flatnonzero(vector[108:]).tolist() == [0]


def test_the_mini_map_marks_players_ball_and_the_controlled_one_in_planes_of_their_own():
    (planes,) = write(SuperMiniMap, two_a_side())
    assert set(np.unique(planes)) == {0, 255}
    assert [(planes[..., k] > 0).sum() for k in range(4)] == [2, 2, 1, 1]
    row, column = np.argwhere(planes[..., 3])[0]
    assert (row, column) == (int((0.1 + 1 / 2.25) * 72 / (2 / 2.25)), int((0.2 + 1) / 2 * 96))
    assert planes[row, column, 0] == 255


def test_mini_map_positions_beyond_the_map_are_marked_at_its_edge():
    state = two_a_side()
    state.get("ball_position")[0, :2] = [1.3, -0.6]
    (planes,) = write(SuperMiniMap, state)
    assert np.argwhere(planes[..., 2]).tolist() == [[0, 95]]


@pytest.mark.parametrize("kind", [Simple115v2, SuperMiniMap, Egocentric, EgocentricKicks])
def test_a_mirrored_match_looks_the_same_from_the_other_side(kind):
    state, mirrored = two_a_side(), two_a_side()
    state.get("left_sticky")[0, 0, 1] = 1  # left agent runs to the top left
    for own, other in (("left", "right"), ("right", "left")):
        for name in ("position", "direction"):
            mirrored.get(f"{own}_{name}")[0] = -state.get(f"{other}_{name}")[0]
    mirrored.get("right_sticky")[0, 0, 5] = 1  # the same seen from the left: bottom right
    state.get("left_kicks")[0, 0, 3] = mirrored.get("right_kicks")[0, 0, 3] = 7
    mirrored.get("ball_position")[0] = state.get("ball_position")[0] * [-1, -1, 1]
    mirrored.get("ball_owned_team")[0] = 1
    left = write(kind, state, 1, 0)[0]
    right = write(kind, mirrored, 0, 1)[0]
    np.testing.assert_array_equal(left, right)


def test_the_egocentric_view_moves_with_the_player_and_sorts_neighbours_by_distance():
    near, far = two_a_side(), two_a_side()
    far.get("left_position")[0, 1] = [0.7, 0.1]
    a, b = write(Egocentric, near)[0], write(Egocentric, far)[0]
    assert a[7] == 1.0  # he owns the ball
    goal = slice(12 + 10 + 10 + 12, 12 + 10 + 10 + 14)
    assert a[goal][0] > b[goal][0] > 0, "the goal comes nearer"
    opponents = slice(a.size - 6 * 11, a.size)
    first = a[opponents][:6]
    np.testing.assert_allclose(first[0] * 30, (0.5 - 0.2) * 54.4, rtol=1e-5)
    state = two_a_side()
    state.get("right_active")[0, 1] = 0  # sent off: the keeper is now the nearest
    np.testing.assert_allclose(write(Egocentric, state)[0][opponents][0] * 30, 0.8 * 54.4, rtol=1e-5)
    assert np.isfinite(a).all()
    assert np.abs(a).max() < 5


def test_raw_observations_carry_upstreams_keys():
    raw = raw_observation(two_a_side(), 0, 0, 1)
    assert raw["left_team"].shape == (2, 2)
    assert raw["active"] == 1
    assert raw["sticky_actions"].dtype == np.uint8
    assert len(raw) == 11 + 12


class Played:
    """A step as reward terms see it."""

    def __init__(self, state, goal_difference=0.0):
        self.final_state = state
        self.reward = np.array([goal_difference], np.float32)


def test_checkpoints_pay_a_tenth_for_each_ring_reached_with_the_ball_once():
    terms, weights = make_terms("checkpoints", 1, 1, 0)
    pay, state = terms["checkpoints"], two_a_side()
    assert weights == {"checkpoints": 1.0}
    # 0.99 - 0.8/9 k >= |(0.79, 0.1)| for k = 0, 1, 2
    np.testing.assert_allclose(pay(Played(state))[0], [0.2 + 0.1], rtol=1e-5)
    np.testing.assert_allclose(pay(Played(state))[0], [0.0])
    state.get("ball_position")[0, 0] = 0.95
    np.testing.assert_allclose(pay(Played(state))[0], [0.7], rtol=1e-5)
    pay.reset(ROWS)
    np.testing.assert_allclose(pay(Played(state))[0], [1.0], rtol=1e-5)


def test_a_goal_pays_the_rings_that_are_left_and_another_players_ball_pays_nothing():
    pay = Checkpoints(1, 1, 0)
    state = two_a_side()
    state.get("ball_owned_player")[0] = 0
    assert pay(Played(state))[0, 0] == 0.0
    np.testing.assert_allclose(pay(Played(state, 1.0))[0, 0], 1.0)
    assert pay(Played(state, 1.0))[0, 0] == 0.0


def test_attacks_pay_the_rings_anew_after_the_other_side_had_the_ball_or_a_goal():
    terms, _ = make_terms("attacks", 1, 1, 1)
    pay, state = terms["attacks"], two_a_side()
    np.testing.assert_allclose(pay(Played(state))[0], [0.3, 0.0], rtol=1e-5)
    state.get("ball_owned_team")[0] = -1  # loose
    pay(Played(state))
    state.get("ball_owned_team")[0] = 0
    np.testing.assert_allclose(pay(Played(state))[0], [0.0, 0.0])
    state.get("ball_owned_team")[0] = 1
    pay(Played(state))
    state.get("ball_owned_team")[0] = 0
    np.testing.assert_allclose(pay(Played(state))[0], [0.3, 0.0], rtol=1e-5)
    np.testing.assert_allclose(pay(Played(state, 1.0))[0], [0.7, 0.0], rtol=1e-5)
    np.testing.assert_allclose(pay(Played(state))[0], [0.3, 0.0], rtol=1e-5)
    assert pay.get_state(0).tolist() == [3, 0]


def test_scoring_has_the_sign_of_the_agents_side():
    terms, _ = make_terms(("scoring",), 1, 1, 2)
    assert terms["scoring"](Played(two_a_side(), -1.0))[0].tolist() == [-1.0, 1.0, 1.0]


def play(statistics, *steps):
    """Counts steps given as dicts of changed state slices; returns the summary of the only match."""
    state = two_a_side()
    for changes in steps:
        for name, value in changes.items():
            state.get(name)[0] = value
        statistics.step(Played(state), np.zeros((1, 1), np.float32))
    return {name: values[0] for name, values in statistics.summary().items()}


def test_a_change_of_owner_within_the_team_is_a_pass_and_to_the_other_team_is_none():
    counted = play(
        EpisodeStatistics(1),
        {"ball_owned_team": 0, "ball_owned_player": 1},
        {"ball_owned_team": -1},
        {"ball_owned_team": 0, "ball_owned_player": 0},
        {"ball_owned_team": 1, "ball_owned_player": 1},
        {"ball_owned_team": 0, "ball_owned_player": 1},
    )
    assert (counted["passes_left"], counted["passes_right"]) == (1, 0)
    assert counted["possession_left"] == pytest.approx(3 / 4)
    assert counted["l"] == 5


def test_a_fast_ball_towards_the_goal_is_one_shot_and_past_it_is_none():
    flying = {"ball_owned_team": -1, "ball_position": [0.7, 0.0, 0.5], "ball_direction": [0.04, 0.0, 0.0]}
    owned = {"ball_owned_team": 0, "ball_owned_player": 1}
    assert play(EpisodeStatistics(1), owned, flying, flying)["shots_left"] == 1
    wide = flying | {"ball_direction": [0.03, 0.03, 0.0]}
    assert play(EpisodeStatistics(1), owned, wide)["shots_left"] == 0
    slow = flying | {"ball_direction": [0.02, 0.0, 0.0]}
    assert play(EpisodeStatistics(1), owned, slow)["shots_left"] == 0
    goal = {"left_score": 1, "ball_position": [0.0, 0.0, 0.1], "ball_direction": [0.0, 0.0, 0.0]}
    after_shot = play(EpisodeStatistics(1), owned, flying, goal)
    tapped_in = play(EpisodeStatistics(1), owned, goal)
    assert (after_shot["shots_left"], after_shot["goals_left"]) == (1, 1)
    assert (tapped_in["shots_left"], tapped_in["goals_left"]) == (1, 1)


def test_actions_are_checked_and_come_out_as_matches_by_players():
    assert check_actions([3, 4], 2, 1, 19).tolist() == [[3], [4]]
    assert check_actions(np.array([[3, 4]], np.uint8), 1, 2, 19).dtype == np.int32
    assert [len(names) for names in ACTION_SETS.values()] == [19, 20]


def test_fixed_agents_are_the_controllable_players_nearest_to_the_ball_keepers_last():
    drill = load("academy_3_vs_1_with_keeper")
    assert fixed_players(drill, "left", 1) == (1,)
    assert 0 not in fixed_players(drill, "left", 3)
    assert fixed_players(drill, "left", 4) == (0, 1, 2, 3)
    fixed = controlled_scenario(drill, 2, 0, "fixed")
    assert len(fixed.controllable("left")) == 2
    assert fixed.right_team == drill.right_team


def test_cells_count_where_ball_and_controlled_player_were_once_each():
    here, beyond = {"ball_position": [-0.9, -0.4, 0.1]}, {"ball_position": [1.2, 0.6, 0.1]}
    walk = np.zeros((11, 2), np.float32)
    counted = play(
        EpisodeStatistics(1), here, here, beyond, {"left_position": walk, "ball_position": [0.99, 0.41, 0.1]}
    )
    assert (counted["ball_cells"], counted["player_cells"]) == (2, 2)  # beyond the line is the last cell
    assert play(EpisodeStatistics(1), here)["ball_cells"] == 1


def test_cells_are_the_first_agents_and_of_nobody_else_once_it_was_sent_off():
    for num_left, mine, other in ((1, "left", "right"), (0, "right", "left")):
        here, off = {f"{mine}_controlled": 0}, {f"{mine}_controlled": -1}
        walk = {f"{other}_controlled": 0, f"{other}_position": np.full((11, 2), 0.3, np.float32)}
        statistics = EpisodeStatistics(1, num_left)
        assert play(statistics, here, walk)["player_cells"] == 1
        assert play(statistics, off, walk)["player_cells"] == 1


def test_every_cell_has_a_bit_of_its_own_and_a_snapshot_keeps_them():
    places = [((i + 0.5) / 6 - 1, (j + 0.5) / 8 * 0.84 - 0.42) for i in range(12) for j in range(8)]
    statistics = EpisodeStatistics(1)
    counted = play(statistics, *({"ball_position": [x, y, 0.1]} for x, y in places))
    assert counted["ball_cells"] == 96 and counted["player_cells"] == 1
    other = EpisodeStatistics(1)
    other.set_state(0, statistics.get_state(0))
    assert other.summary()["ball_cells"][0] == 96


def test_egocentric_kicks_are_the_egocentric_view_and_each_agents_own_kicks():
    state = two_a_side()
    state.get("left_kicks")[0, 0] = [0, 0, 3, 10]
    state.get("right_kicks")[0, 0] = [7, 0, 0, 0]
    plain, kicks = write(Egocentric, state, 1, 1), write(EgocentricKicks, state, 1, 1)
    assert np.array_equal(kicks[:, : plain.shape[1]], plain)
    np.testing.assert_allclose(kicks[:, plain.shape[1] :], [[0, 0, 0.3, 1.0], [0.7, 0, 0, 0]], rtol=1e-6)


def test_egocentric_noise_is_the_egocentric_view_and_bits_that_change_with_the_match_alone():
    state = two_a_side()
    (plain,), (noisy,) = write(Egocentric, state), write(EgocentricNoise, state)
    assert np.array_equal(noisy[: len(plain)], plain) and len(noisy) == len(plain) + 24
    assert np.array_equal(write(EgocentricNoise, state)[0], noisy)
    bits = []
    for step in range(200):
        state.get("steps_left")[0] = step
        bits.append(write(EgocentricNoise, state)[0][len(plain) :])
    bits = np.stack(bits)
    assert set(np.unique(bits)) == {0.0, 1.0}
    assert (np.abs(bits.mean(0) - 0.5) < 0.15).all()
    assert abs(np.corrcoef(bits[:-1].ravel(), bits[1:].ravel())[0, 1]) < 0.1


@pytest.mark.parametrize("kind", [Simple115v2, Egocentric, EgocentricKicks, EgocentricNoise, SuperMiniMap])
def test_bonuses_find_ball_player_and_owner_where_an_observation_says_they_are(kind):
    observation = kind(1, 0)
    spec = EnvSpec(observation.shape, np.dtype(observation.dtype).name, 19, features=observation.features)
    pitch, obs = Pitch(spec), torch.from_numpy(write(kind, two_a_side()))
    coarse = 1 / 36 if kind is SuperMiniMap else 4e-3  # a pixel; the egocentric view ends at the goal, not the line
    assert pitch.ball(obs)[0].tolist() == pytest.approx([0.21, 0.1 / 0.42], abs=2 * coarse)
    assert pitch.player(obs)[0].tolist() == pytest.approx([0.2, 0.1 / 0.42], abs=2 * coarse)
    if kind is not SuperMiniMap:
        assert owners(obs.numpy(), spec.features).tolist() == [0]


def test_what_tells_time_is_hidden_from_bonuses_and_what_tells_places_is_not():
    state = two_a_side()
    observation = Egocentric(1, 0)
    spec = EnvSpec(observation.shape, "float32", 19, features=observation.features)
    hide = InputFilter(spec)

    def seen():
        return hide(torch.from_numpy(write(Egocentric, state)))

    before = seen()
    state.get("steps_left")[0], state.get("left_score")[0] = 7, 3
    state.get("left_tired")[0] = 0.5
    assert torch.equal(seen(), before) and len(hide(torch.zeros(1, *observation.shape))[0]) < observation.shape[0]
    state.get("ball_position")[0, 0] += 0.1
    assert not torch.equal(seen(), before)


def test_a_reward_term_of_ones_own_is_given_as_a_class():
    class Own(Scoring):
        pass

    terms, weights = make_terms({"scoring": 1.0, Own: 0.5}, 2, 1, 1)
    assert weights == {"scoring": 1.0, "own": 0.5} and type(terms["own"]) is Own
    assert make_terms([Own], 2, 1, 1)[1] == {"own": 1.0}
    with pytest.raises(ValueError, match="got scoring twice"):
        make_terms(["scoring", Scoring], 2, 1, 1)
    with pytest.raises(ValueError, match="or give a class"):
        make_terms([partial(Scoring)], 2, 1, 1)
