"""The scripted players, on hand-made states."""

import math

import numpy as np
import pytest

from touchline.agents import scripted
from touchline.agents.scripted import NAMES, RunAndShoot, make_scripted, nearest_direction
from touchline.envs.actions import ACTION_SETS
from touchline.envs.simulator import empty_state

V2 = ACTION_SETS["v2"]


def state_of(positions, *, side="left", sprint=True, pressed=None, steps_left=100):
    """One match a position: agent 0 drives the side's player 2, who stands there in the left team's view."""
    state = empty_state(len(positions))
    state.get(f"{side}_controlled")[...] = -1
    state.get(f"{side}_controlled")[:, 0] = 2
    state.get(f"{side}_position")[:, 2] = positions
    state.get(f"{side}_sticky")[:, 0, 8] = sprint
    if pressed is not None:
        state.get(f"{side}_sticky")[:, 0, V2.index(pressed) - 1] = 1
    state.get("steps_left")[...] = steps_left
    return state


def names_of(actions):
    return [V2[a] for a in actions.ravel()]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("num_players", [1, 3])
def test_every_script_gives_an_action_of_its_set_for_every_agent(name, side, num_players):
    policy = make_scripted(name, num_players)
    actions = policy.act(empty_state(5), side)
    assert actions.shape == (5, num_players)
    assert actions.dtype == np.int32
    assert 0 <= actions.min() <= actions.max() < len(ACTION_SETS[policy.action_set])


def test_action_numbers_are_those_of_the_action_sets():
    assert V2[scripted.IDLE] == "idle"
    assert V2[scripted.LEFT] == "left"
    assert V2[scripted.SHOT] == "shot"
    assert V2[scripted.SPRINT] == "sprint"
    assert V2[scripted.BUILTIN_AI] == "builtin_ai"
    assert len(ACTION_SETS["default"]) == scripted.NUM_DEFAULT_ACTIONS


def test_builtin_ai_and_idle_always_press_the_same():
    assert names_of(make_scripted("builtin_ai").act(empty_state(2), "left")) == ["builtin_ai"] * 2
    assert names_of(make_scripted("idle").act(empty_state(2), "right")) == ["idle"] * 2


def test_random_uses_every_action_about_equally_often():
    policy = make_scripted("random", 11, seed=3)
    counts = np.bincount(np.concatenate([policy.act(empty_state(20), "left").ravel() for _ in range(20)]), minlength=19)
    expected = 20 * 20 * 11 / 19
    assert len(counts) == 19
    assert (np.abs(counts - expected) < 5 * math.sqrt(expected)).all()


def test_random_plays_an_episode_alike_in_any_batch_and_touches_no_global_generator():
    np.random.seed(0)
    before = np.random.get_state()[1].copy()
    alone, together = make_scripted("random", 2, seed=1), make_scripted("random", 2, seed=1)
    alone.begin(np.ones(1, bool), np.array([77]))
    together.begin(np.ones(4, bool), np.array([5, 6, 77, 8]))
    together.act(empty_state(4), "left")
    together.begin(np.array([False, False, True, False]), np.array([-1, -1, 77, -1]))
    for _ in range(5):
        assert np.array_equal(alone.act(empty_state(1), "left")[0], together.act(empty_state(4), "left")[2])
    assert np.array_equal(before, np.random.get_state()[1])


def test_random_differs_between_matches_episodes_and_seeds():
    def play(seed, episode):
        policy = make_scripted("random", 8, seed=seed)
        policy.begin(np.ones(1, bool), np.array([episode]))
        return policy.act(empty_state(1), "left").tolist()

    assert play(0, 1) != play(0, 2)
    assert play(0, 1) != play(1, 1)
    fresh = make_scripted("random", 8).act(empty_state(2), "left")
    assert fresh[0].tolist() != fresh[1].tolist()


@pytest.mark.parametrize(
    ("offset", "name"),
    [
        ((1, 0), "right"),
        ((1, 1), "bottom_right"),
        ((0, 1), "bottom"),
        ((-1, 1), "bottom_left"),
        ((-1, 0), "left"),
        ((-1, -1), "top_left"),
        ((0, -1), "top"),
        ((1, -1), "top_right"),
        ((1, 0.4), "right"),
        ((1, 0.43), "bottom_right"),
        ((-1, -1e-9), "left"),
    ],
)
def test_the_nearest_direction_is_within_half_of_45_degrees(offset, name):
    assert V2[nearest_direction(np.array(offset, float))] == name


def test_the_runner_heads_for_the_middle_of_the_goal_in_metres():
    state = state_of([[0.0, 0.0], [0.5, -0.3], [0.5, 0.3], [0.9 - 0.1, 0.4], [-0.5, 0.1]])
    assert names_of(RunAndShoot().act(state, "left")) == [
        "right",
        "bottom_right",
        "top_right",
        "top",
        "right",
    ]


def test_the_runner_presses_sprint_first_and_a_direction_only_once():
    assert names_of(RunAndShoot().act(state_of([[0, 0]], sprint=False), "left")) == ["sprint"]
    assert names_of(RunAndShoot().act(state_of([[0, 0]]), "left")) == ["right"]
    assert names_of(RunAndShoot().act(state_of([[0, 0]], pressed="right"), "left")) == ["idle"]
    assert names_of(RunAndShoot().act(state_of([[0, 0]], pressed="top"), "left")) == ["right"]


def test_a_right_agent_runs_in_his_own_view_where_he_attacks_to_the_right():
    # In the left team's view he stands low (y > 0) and far from the left goal; in his own view high.
    state = state_of([[-0.5, 0.3], [0.0, 0.0]], side="right")
    assert names_of(RunAndShoot().act(state, "right")) == ["bottom_right", "right"]
    # Sticky bits are stored in the left team's view: his "right" is their "left".
    pressed = state_of([[0.0, 0.0]], side="right", pressed="left")
    assert names_of(RunAndShoot().act(pressed, "right")) == ["idle"]
    assert names_of(RunAndShoot().act(state_of([[-0.9, 0.0]], side="right"), "right")) == ["shot"]


def test_hold_repeats_the_shot_and_tap_presses_it_one_step_in_ten():
    near, far = [0.9, 0.0], [0.8, 0.0]
    for press, expected in (("hold", [1] * 12), ("tap", [1, *[0] * 9, 1, 0])):
        policy, shots = RunAndShoot(press=press), []
        for step in range(14):
            state = state_of([far if step < 2 else near], pressed="right", steps_left=100 - step)
            shots.append(names_of(policy.act(state, "left")) == ["shot"])
        assert shots == [False, False, *map(bool, expected)]


def test_tap_starts_anew_when_the_clock_does():
    policy = RunAndShoot(press="tap")
    near = [[0.9, 0.0]]
    assert names_of(policy.act(state_of(near, steps_left=50), "left")) == ["shot"]
    assert names_of(policy.act(state_of(near, steps_left=49), "left")) == ["idle"]
    assert names_of(policy.act(state_of(near, steps_left=401), "left")) == ["shot"]


def test_an_agent_without_a_player_presses_nothing():
    state = state_of([[0.9, 0.0]])
    state.get("left_controlled")[...] = -1
    assert names_of(RunAndShoot().act(state, "left")) == ["idle"]


def test_every_agent_of_a_side_steers_its_own_player():
    state = empty_state(1)
    state.get("left_controlled")[0, :2] = [1, 0]
    state.get("left_position")[0, :2] = [[0.9, 0.0], [0.5, 0.35]]
    state.get("left_sticky")[0, :2, 8] = 1
    assert names_of(RunAndShoot(2).act(state, "left")) == ["top_right", "shot"]


def test_wrong_names_say_what_exists():
    with pytest.raises(ValueError, match="there are builtin_ai, idle, random"):
        make_scripted("messi")
    with pytest.raises(ValueError, match="there are left, right"):
        make_scripted("idle").act(empty_state(1), "home")
    with pytest.raises(ValueError, match="there are hold, tap"):
        RunAndShoot(press="slam")
