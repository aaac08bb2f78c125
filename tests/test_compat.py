"""What gfootball's and EnvPool's users type."""

import subprocess
import sys
import warnings

import gymnasium as gym
import numpy as np
import pytest

import touchline
from touchline import scenarios
from touchline.compat import Simple115, UpstreamEnv, create_environment
from touchline.envs.observations import Simple115v2
from touchline.envs.simulator import empty_state
from touchline.registration import GFOOTBALL_IDS, envpool_id, gfootball_id

pytestmark = pytest.mark.engine
DRILL = "academy_3_vs_1_with_keeper"
NAMES = scenarios.names(gfootball=True)
ALIASES = [gfootball_id(name, kind) for name in NAMES for kind in GFOOTBALL_IDS if kind != "Pixels"]
SHAPES = {"SMM": (72, 96, 4), "simple115": (115,), "simple115v2": (115,)}
PLAY_PIXELS = """
import os, sys
import gymnasium as gym
import touchline.compat
failed = []
for name in sys.argv[1:]:
    child = os.fork()  # the engine renders one environment a process
    if child == 0:
        env = gym.make(name)
        first, _ = env.reset(seed=1)
        later, *_ = env.step(5)
        os._exit(0 if first.shape == later.shape == (72, 96, 3) and later.std() > 5 else 1)
    if os.waitpid(child, 0)[1]:
        failed.append(name)
assert not failed, failed
"""


@pytest.mark.parametrize("alias", ALIASES + [envpool_id(name) for name in NAMES])
def test_every_alias_is_made_reset_and_stepped_as_our_own_id_is(alias):
    name = alias.removeprefix("gfootball/").removeprefix("GFootball-").split("-")[0]
    env = gym.make(alias)
    first, _ = env.reset(seed=3)
    later, reward, terminated, truncated, info = env.step(5)
    kind = alias.split("-")[2] if alias.startswith("GFootball-") else "SMM"
    assert first.shape == later.shape == SHAPES[kind] == env.observation_space.shape
    assert env.observation_space.contains(later)
    assert env.action_space == gym.spaces.Discrete(19)
    env.close()
    if kind == "simple115":  # ours has no such observation; see the tests of the layout
        return
    ours = gym.make(f"touchline/{name}-v0", observation={"SMM": "smm"}.get(kind, kind))
    np.testing.assert_array_equal(ours.reset(seed=3)[0], first)
    np.testing.assert_array_equal(ours.step(5)[0], later)
    ours.close()


@pytest.mark.slow
def test_every_alias_of_pictures_is_made_reset_and_stepped():
    subprocess.run([sys.executable, "-c", PLAY_PIXELS, *(gfootball_id(name, "Pixels") for name in NAMES)], check=True)


def test_the_ids_of_pictures_and_spec_strings_are_upstreams():
    assert gfootball_id("5_vs_5", "Pixels") == "GFootball-5_vs_5-Pixels-v0"
    assert envpool_id("5_vs_5") == "gfootball/5_vs_5-v1"
    assert "build_up" not in NAMES
    assert gfootball_id("build_up") not in gym.registry
    for alias in ALIASES:
        assert gym.envs.registration.EnvSpec.from_json(gym.spec(alias).to_json()) == gym.spec(alias)


def test_registering_imports_no_environment_and_replaces_nobodys_id():
    code = (
        "import sys, gymnasium;"
        "gymnasium.register('gfootball/5_vs_5-v1', entry_point='theirs:Env');"
        "import touchline;"
        "assert gymnasium.spec('gfootball/5_vs_5-v1').entry_point == 'theirs:Env';"
        "assert not {'numba', 'touchline.envs', 'touchline.compat'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("alias", [gfootball_id(DRILL), envpool_id(DRILL)])
def test_a_vector_of_an_alias_is_ours(alias):
    envs = gym.make_vec(alias, num_envs=3)
    ours = touchline.make_vec(DRILL, 3, observation="smm")
    np.testing.assert_array_equal(envs.reset(seed=5)[0], ours.reset(seed=5)[0])
    for action in (5, 12):
        left, right = envs.step(np.full(3, action)), ours.step(np.full(3, action))
        np.testing.assert_array_equal(left[0], right[0])
        np.testing.assert_array_equal(left[1], right[1])
    envs.close(), ours.close()


def test_create_environment_plays_what_make_vec_plays_with_stacked_maps_and_checkpoints():
    env = create_environment(env_name=DRILL, stacked=True, rewards="scoring,checkpoints", representation="extracted")
    ours = touchline.make_vec(DRILL, 1, observation="smm", stack=4, rewards=("scoring", "checkpoints"))
    np.testing.assert_array_equal(env.reset(seed=2)[0], ours.reset(seed=2)[0][0])
    total = 0.0
    for _ in range(12):
        observation, reward, *_ = env.step(5)
        theirs, their_reward, *_ = ours.step(np.array([5]))
        np.testing.assert_array_equal(observation, theirs[0])
        assert reward == their_reward[0]
        total += reward
    assert total > 0, "the run towards the goal passes a checkpoint"
    env.close(), ours.close()


def test_a_goal_is_one_score_reward_whatever_else_is_paid():
    env = create_environment(env_name="academy_empty_goal_close", rewards="scoring,checkpoints")
    env.reset(seed=0)
    scores, total, terminated = [], 0.0, False
    while not terminated:
        _, reward, terminated, truncated, info = env.step(12 if len(scores) > 3 else 5)
        scores.append(info["score_reward"])
        total += reward
        assert not truncated, "the shot goes in"
    assert scores[-1] == 1.0
    assert set(scores[:-1]) == {0.0}
    assert total == pytest.approx(2.0), "a goal and all checkpoints"
    env.close()


def test_the_seed_of_the_options_is_played_by_every_reset_without_one():
    env = create_environment(env_name=DRILL, other_config_options={"game_engine_random_seed": 9})
    first, info = env.reset()
    again, _ = env.reset()
    assert info["engine_seed"] == 9
    np.testing.assert_array_equal(first, again)
    assert env.reset(seed=4)[1]["engine_seed"] == 4
    env.close()


def test_several_players_of_both_sides_have_an_axis():
    env = create_environment(
        env_name="5_vs_5",
        representation="simple115v2",
        number_of_left_players_agent_controls=2,
        number_of_right_players_agent_controls=1,
        other_config_options={"action_set": "v2", "display_game_stats": False},
    )
    assert env.reset(seed=0)[0].shape == (3, 115)
    _, reward, *_ = env.step([19, 19, 19])
    assert reward.shape == (3,)
    env.close()


def test_the_older_115_floats_are_packed_without_gaps_from_each_sides_view():
    state = empty_state(1)
    state.get("left_count")[0], state.get("right_count")[0] = 2, 1
    state.get("left_position")[0].flat[:4] = (0.1, 0.2, 0.3, 0.4)
    state.get("left_direction")[0].flat[:4] = (0.5, 0.6, 0.7, 0.8)
    state.get("right_position")[0].flat[:2] = (-0.1, -0.2)
    state.get("right_direction")[0].flat[:2] = (-0.3, -0.4)
    wide, dense = np.zeros((1, 2, 115), np.float32), np.zeros((1, 2, 115), np.float32)
    rows = np.arange(1)
    Simple115v2(1, 1).write(state, rows, wide)
    Simple115(1, 1).write(state, rows, dense)
    left = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, -0.1, -0.2, -0.3, -0.4]
    right = [0.1, 0.2, 0.3, 0.4, -0.1, -0.2, -0.3, -0.4, -0.5, -0.6, -0.7, -0.8]
    np.testing.assert_allclose(dense[0, 0, :12], left)
    np.testing.assert_allclose(dense[0, 1, :12], right)
    assert (dense[..., 12:88] == -1).all()
    np.testing.assert_array_equal(dense[..., 88:], wide[..., 88:])


def test_the_older_115_floats_hold_the_raw_dict_of_both_sides_in_a_row():
    players = {"number_of_left_players_agent_controls": 1, "number_of_right_players_agent_controls": 1}
    raw = create_environment(env_name="5_vs_5", representation="raw", **players)
    flat = create_environment(env_name="5_vs_5", representation="simple115", **players)
    raw.reset(seed=3), flat.reset(seed=3)
    for _ in range(5):
        dicts, vectors = raw.step([5, 3])[0], flat.step([5, 3])[0]
    for seen, vector in zip(dicts, vectors, strict=True):
        teams = [seen[f"{side}_team{what}"] for side in ("left", "right") for what in ("", "_direction")]
        placed = np.concatenate([team.ravel() for team in teams])
        assert len(placed) == 4 * 5 * 2
        np.testing.assert_array_equal(vector[:40], placed.astype(np.float32))
        assert (vector[40:88] == -1).all()
        np.testing.assert_array_equal(vector[88:91], seen["ball"].astype(np.float32))
        assert vector[97 + seen["active"]] == 1
    raw.close(), flat.close()


def test_the_older_115_floats_are_the_newer_ones_with_eleven_a_side():
    old = create_environment(env_name="11_vs_11_stochastic", representation="simple115")
    new = create_environment(env_name="11_vs_11_stochastic", representation="simple115v2")
    np.testing.assert_array_equal(old.reset(seed=1)[0], new.reset(seed=1)[0])
    old.close(), new.close()


def test_raw_is_upstreams_dict():
    env = create_environment(env_name=DRILL, representation="raw")
    observation, _ = env.reset(seed=1)
    assert set(observation) >= {"ball", "left_team", "sticky_actions", "steps_left"}
    env.close()


class Pictures(gym.Env):
    """Two players see a picture that is red in the beginning and then as bright as there were steps."""

    num_players = 2
    info = {"score": (0, 0)}

    def reset(self, *, seed=None, options=None):
        self.steps = 0
        return (np.full((72, 96, 3), (100, 0, 0), np.uint8),) * 2, dict(self.info)

    def step(self, action):
        self.steps += 1
        return (np.full((72, 96, 3), self.steps, np.uint8),) * 2, 0.0, False, False, dict(self.info)


def test_grey_pictures_stack_along_the_last_axis_oldest_first():
    env = UpstreamEnv(Pictures(), gray=True, stacked=4)
    first, _ = env.reset()
    assert len(first) == 2
    assert env.observation_space.contains(first)
    assert (first[0] == 30).all(), "0.299 of the red"
    env.step(0)
    later = env.step(0)[0][1]
    assert later[0, 0].tolist() == [30, 30, 1, 2]
    assert env.reset()[0][0][0, 0].tolist() == [30] * 4


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"representation": "simple116"}, "there are extracted, simple115v2"),
        ({"rewards": "checkpoints"}, "expected rewards 'scoring' or"),
        ({"rewards": "scoring,passes"}, "expected rewards"),
        ({"extra_players": ["bot:right_players=1"]}, "touchline train --opponent"),
        ({"channel_dimensions": (42, 42)}, r"expected channel_dimensions \(96, 72\)"),
        ({"representation": "raw", "stacked": True}, "cannot be stacked"),
        ({"other_config_options": {"level": DRILL}}, "env_name"),
        ({"other_config_options": {"physics_steps_per_frame": 5}}, "10 physics steps"),
        ({"other_config_options": {"physics": 5}}, "no 'physics' in other_config_options; there are action_set"),
        ({"other_config_options": {"action_set": "full"}}, "there are default, v2"),
        ({"env_name": "academy_3_vs_2"}, "no 'academy_3_vs_2' in scenarios"),
    ],
)
def test_what_cannot_be_had_is_refused_with_what_to_do(options, message):
    with pytest.raises(ValueError, match=message):
        create_environment(**{"env_name": DRILL, **options})


def test_a_lost_video_is_one_warning_that_says_what_makes_videos():
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        env = create_environment(
            env_name=DRILL, write_video=True, write_goal_dumps=True, dump_frequency=5, logdir="dumps"
        )
    (warning,) = caught
    assert "RecordVideo" in str(warning.message)
    assert "write_goal_dumps, write_video" in str(warning.message)
    env.close()


def test_what_writes_nothing_upstream_either_warns_of_nothing():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        create_environment(env_name=DRILL, logdir="dumps", dump_frequency=5).close()
