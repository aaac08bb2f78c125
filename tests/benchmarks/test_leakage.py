"""Leakage: exact in a chain, learned in a maze; every control shows none."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

sys.path.insert(0, str(Path(__file__).parents[1]))
from toy_envs import Corridor

from touchline.benchmarks.audits import adaptive_td, leak_chain
from touchline.benchmarks.leakage import (
    HEIGHT,
    WIDTH,
    LeakageProbe,
    corridors,
    fit_network,
    football_leakage,
    maze,
    owners,
    restarted_returns,
    sampled_states,
    steps_to_change,
)

FAR = {0.5: 0.053, 0.9: 0.153, 0.95: 0.206, 0.99: 0.364}


def far(probe, values):
    return probe.errors(lambda states: values)["far"]


def test_a_probe_tells_errors_at_a_jump_from_those_far_away():
    probe = LeakageProbe(np.arange(4), np.zeros(4), np.array([1, 0, 0, 0], bool), np.array([0, 1, 3, 3]))
    errors = probe.errors(lambda states: np.array([2.0, 1.0, 3.0, 4.0]))
    assert errors == pytest.approx({"all": np.sqrt(30 / 4), "near": 2.0, "far": np.sqrt(12.5)})
    assert probe.by_distance(lambda states: np.array([2.0, 1.0, 3.0, 4.0]))[:2] == [2.0, 1.0]


@pytest.mark.parametrize(("gamma", "expected"), FAR.items())
def test_td_leaks_in_the_chain_as_computed_by_hand_and_monte_carlo_does_not(gamma, expected):
    chain, probe = corridors(gamma=gamma)
    assert far(probe, chain.td(gamma)) == pytest.approx(expected, abs=5e-4)
    assert far(probe, chain.monte_carlo(gamma)) < 1e-12
    assert np.abs(chain.td(gamma) - chain.least_dirichlet(gamma)).max() < 1e-12


def test_td_s_values_of_the_left_corridor_are_those_of_the_sheet():
    chain, _ = corridors()
    assert chain.td(0.95)[:8] == pytest.approx([0.089, 0.099, 0.118, 0.150, 0.199, 0.267, 0.365, 0.5], abs=6e-4)
    by_lambda = [far(corridors()[1], chain.td(0.95, lam)) for lam in (0.0, 0.5, 0.9, 0.99, 1.0)]
    assert by_lambda == pytest.approx([0.206, 0.175, 0.079, 0.011, 0.0], abs=6e-4)


@pytest.mark.parametrize(
    ("options", "gamma"), [({"shared": False}, 0.95), ({"flat": True}, 0.95), ({"gamma": 0.0}, 0.0)]
)
def test_the_chain_s_controls_do_not_leak(options, gamma):
    chain, probe = corridors(**options)
    assert far(probe, chain.td(gamma)) < 1e-12


def test_td_s_fixed_point_is_where_the_expected_updates_end():
    chain, _ = corridors()
    w = np.zeros(chain.features.shape[1])
    for _ in range(20_000):
        values = chain.features @ w
        w += 0.5 * chain.features.T @ (chain.rewards + 0.95 * chain.transitions @ values - values) / 2
    assert chain.features @ w == pytest.approx(chain.td(0.95), abs=1e-6)


def test_the_maze_s_value_jumps_at_the_wall_alone_and_the_two_sides_look_alike():
    world = maze(gap=0.01)
    truth = world.probe.true_values.reshape(WIDTH, HEIGHT)
    assert truth[:8] == pytest.approx(0.0) and truth[8:] == pytest.approx(1.0)
    x = world.coordinates[:, 0].reshape(WIDTH, HEIGHT)[:, 0]
    assert x[8] - x[7] == pytest.approx(0.01) and (np.diff(x)[[0, 14]] > 0.1).all()
    assert world.probe.edge_mask.sum() == 2 * HEIGHT
    assert np.allclose(world.transitions, world.transitions.T) and np.allclose(world.transitions.sum(1), 1.0)


def test_successor_features_tell_the_rooms_apart_where_coordinates_hardly_do():
    seen = maze(gap=0.01).successor_features().reshape(WIDTH, HEIGHT, 8)
    across, along = np.linalg.norm(seen[8] - seen[7], axis=-1), np.linalg.norm(seen[7] - seen[6], axis=-1)
    assert across.min() > 2 * along.max()


def test_a_network_at_a_thin_wall_leaks_under_td_and_less_under_monte_carlo():
    world = maze(gap=0.002)
    errors = {
        method: far(world.probe, fit_network(world, world.coordinates, method=method, iterations=1500))
        for method in ("mc", "td")
    }
    assert errors["td"] > 2 * errors["mc"]
    with pytest.raises(ValueError, match="there are mc, td"):
        fit_network(world, world.coordinates, method="sarsa")


def test_the_row_on_the_chain_passes_and_would_not_if_td_did_not_leak():
    result = leak_chain.run(0)
    assert all(check.passed for check in leak_chain.checks([result]))
    for row in result["gamma"].values():
        row["far td"] = 0.0
    assert not all(check.passed for check in leak_chain.checks([result]))


def test_the_row_on_adaptive_td_knows_td_s_fixed_point_and_the_truth():
    walks = adaptive_td.Walks(adaptive_td.Setting(True, 0.0, 40), 0)
    td = walks.td()
    w = td.copy()
    for _ in range(3):
        w = walks.regress(walks.reward + 0.95 * (walks.phi @ w)[walks.next])
    assert np.abs(walks.phi @ (w - td)).max() < 1e-4
    assert walks.truth.reshape(WIDTH, HEIGHT)[[0, 15], 0] == pytest.approx([0.0, 1.0])
    assert all(check.passed for check in adaptive_td.checks([adaptive_td.run(0, quick=True)], quick=True))


# Football.


def test_a_change_of_possession_is_another_team_s_first_touch_and_nobody_changes_nothing():
    owner = np.array([-1, 0, 0, -1, -1, 1, 1, -1, 1, 0])
    assert steps_to_change(owner).tolist() == [5, 4, 3, 2, 1, 0, 1, 2, 1, 0]
    assert steps_to_change(np.array([0, -1, 0])).tolist() == [3, 3, 3]


def test_owners_are_read_where_the_observation_says():
    obs = np.array([[1, 0, 0.0], [0, 1, 0], [0, 0, 1]])
    assert owners(obs, {"owner": (0, 1, 2)}).tolist() == [-1, 0, 1]
    assert owners(obs, {"owner": (1, 2)}).tolist() == [-1, 0, 1]
    with pytest.raises(ValueError, match="take simple115v2 or egocentric"):
        owners(obs, {})


class Owned(Corridor):
    """The sign says who has the ball: the own team's episodes and the other's."""

    features = {"owner": (0, 1)}
    terminates_after, truncates_after = 7, 0

    def _observe(self):
        out = super()._observe()
        return np.stack([out[:, 0] > 0, out[:, 0] < 0, out[:, 2]], -1).astype(np.float32)


class Clocked(Owned):
    """Episodes end by the clock."""

    terminates_after, truncates_after = 0, 7


class Lost(Owned):
    """The last step of every episode loses the ball."""

    def step(self, action):
        obs, reward, terminated, truncated, info = super().step(action)
        if "final_obs" in info:
            info["final_obs"] = info["final_obs"][:, [1, 0, 2]]
        return obs, reward, terminated, truncated, info


class Always:
    """One action for ever."""

    def act(self, obs, generator):
        return torch.ones(len(obs), dtype=torch.int64), torch.zeros(len(obs))


def test_restarts_from_a_state_give_the_return_of_the_rest_of_its_episode():
    envs, states = Owned(2), []
    obs, _ = envs.reset(seed=0)
    for _ in range(3):
        states.append(envs.get_state()[0])
        obs, *_ = envs.step(np.ones(2, int))
    sign = 1.0 if obs[0, 0] else -1.0
    mean, error = restarted_returns(Owned(2), Always(), states, 3, gamma=0.5, seed=0)
    # rewards fall at the times 0, 3 and 6 of the seven steps
    assert mean == pytest.approx(sign * np.array([1 + 0.5**3 + 0.5**6, 0.5**2 + 0.5**5, 0.5 + 0.5**4]), rel=1e-6)
    assert error == pytest.approx(0.0)


def test_a_change_of_possession_that_ends_the_episode_is_one():
    _, _, distance = sampled_states(Lost(4), Always(), 8, near=3, seed=0, every=1)
    assert (distance <= 3).sum() == 4 and distance.min() >= 1 and distance.max() <= 7


@pytest.mark.parametrize("world", [Owned, Clocked])
def test_the_whole_probe_runs_and_a_policy_without_chance_is_valued_well(world):
    result = football_leakage(
        world(4), Always(), gamma=0.5, num_episodes=40, num_states=8, restarts=2, methods=("mc", "td0"), num_epochs=400
    )
    assert result["near"] == 0 and result["far"] == 8 and result["truth_error"] == pytest.approx(0.0)
    assert max(errors["far"] for errors in result["errors"].values()) < 0.1 < result["truth_std"]
