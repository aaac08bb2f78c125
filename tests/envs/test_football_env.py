"""The Gymnasium view: conformance, contracts, bad input."""

import dataclasses
import subprocess
import sys
import warnings

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

import touchline  # noqa: F401, registers the ids
from touchline import scenarios
from touchline.envs import football_env, rewards
from touchline.envs.football_env import FootballEnv
from touchline.envs.vector_env import FootballVectorEnv

pytestmark = pytest.mark.engine
DRILL = "academy_3_vs_1_with_keeper"


def make(scenario=DRILL, **options):
    return gym.make(f"touchline/{scenario}-v0", **options)


def short(scenario, duration):
    return FootballEnv(dataclasses.replace(scenarios.load(scenario), game_duration=duration))


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"observation": "smm", "stack": 4},
        {"observation": "egocentric"},
        {"observation": "raw"},
        {"render_mode": "rgb_array"},
    ],
    ids=["simple115v2", "smm", "egocentric", "raw", "rgb_array"],
)
def test_gymnasiums_checker_finds_nothing_to_complain_about(options):
    env = make(**options)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", message=".*not within the suggested.*")
        check_env(env.unwrapped, skip_render_check=False)
    env.close()


def test_stable_baselines_checker_accepts_the_environment():
    checker = pytest.importorskip("stable_baselines3.common.env_checker")
    env = make()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        checker.check_env(env.unwrapped, warn=True, skip_render_check=True)
    env.close()


@pytest.mark.parametrize("scenario", scenarios.names())
def test_every_scenario_is_registered_made_reset_and_stepped(scenario):
    env = make(scenario)
    observation, info = env.reset(seed=1)
    assert env.observation_space.contains(observation)
    assert {"score", "ball_owned_team", "game_mode", "steps_left"} <= set(info)
    assert info["engine_seed"] == 1
    observation, reward, terminated, truncated, info = env.step(5)
    assert env.observation_space.contains(observation)
    assert isinstance(reward, float)
    assert info["reward_terms"] == {"scoring": reward}
    env.close()


def test_the_spec_survives_json():
    spec = gym.spec(f"touchline/{DRILL}-v0")
    assert gym.envs.registration.EnvSpec.from_json(spec.to_json()).kwargs == {"scenario": DRILL}


def test_several_players_get_an_axis_of_their_own():
    env = make(left=3, right=1)
    observation, _ = env.reset(seed=0)
    assert observation.shape == (4, 115)
    observation, reward, *_ = env.step([0, 5, 12, 1])
    assert observation.shape == (4, 115)
    assert reward.shape == (4,)
    env.close()


def test_a_right_hand_player_sees_the_pitch_turned_by_180_degrees():
    env = make("11_vs_11_kaggle", left=1, right=1)
    observation, _ = env.reset(seed=4)
    for _ in range(20):
        observation, *_ = env.step([5, 5])
    left, right = observation
    np.testing.assert_array_equal(right[:22], -left[44:66])  # own positions
    np.testing.assert_array_equal(right[66:88], -left[22:44])  # the other team's directions
    np.testing.assert_array_equal(right[88:90], -left[88:90])
    assert right[90] == left[90]
    # "right" moves each player towards the goal he attacks
    raw = make("11_vs_11_kaggle", left=1, right=1, observation="raw")
    raw.reset(seed=4)
    for _ in range(20):
        (first, second), *_ = raw.step([5, 5])
    assert first["sticky_actions"][4] == 1
    assert second["sticky_actions"][4] == 1


def test_rewards_are_summed_with_their_weights_and_reported_apart():
    env = make("academy_empty_goal_close", rewards={"scoring": 2.0, "checkpoints": 0.5})
    env.reset(seed=3)
    total = {"scoring": 0.0, "checkpoints": 0.0}
    returned, ended = 0.0, False
    plan = [5, 13] + [0] * 8 + [12] * 80  # run right, then shoot
    for action in plan:
        _, reward, ended, truncated, info = env.step(action)
        assert reward == pytest.approx(
            2.0 * info["reward_terms"]["scoring"] + 0.5 * info["reward_terms"]["checkpoints"]
        )
        returned += reward
        for name, value in info["reward_terms"].items():
            total[name] += value
        if ended or truncated:
            break
    assert total == {"scoring": 1.0, "checkpoints": pytest.approx(1.0)}, "expected a goal"
    episode = info["episode"]
    assert episode["goals_left"] == 1
    assert episode["shots_left"] == 1
    assert episode["possession_left"] == 1.0
    assert episode["r"] == pytest.approx(returned)
    env.close()


def test_the_clock_of_a_drill_truncates_after_duration_plus_one_steps():
    env = short(DRILL, 30)
    env.reset(seed=0)
    steps, ended, truncated = 0, False, False
    while not (ended or truncated):
        *_, ended, truncated, info = env.step(0)
        steps += 1
    assert (steps, ended, truncated) == (31, False, True)
    assert info["episode"]["l"] == 31


def test_the_clock_of_a_match_terminates():
    env = short("11_vs_11_easy_stochastic", 10)
    env.reset(seed=0)
    for _ in range(11):
        *_, ended, truncated, _ = env.step(0)
    assert (ended, truncated) == (True, False)


def test_stepping_before_a_reset_and_after_an_end_is_refused():
    env = short(DRILL, 10)
    with pytest.raises(gym.error.ResetNeeded, match="reset"):
        env.step(0)
    env.reset(seed=0)
    for _ in range(11):
        env.step(0)
    with pytest.raises(gym.error.ResetNeeded, match="reset"):
        env.step(0)
    env.reset()
    env.step(0)


@pytest.mark.parametrize(
    ("action", "message"),
    [(19, "0 to 18"), (-1, "0 to 18"), (float("nan"), "NaN"), (1.5, "whole-number"), ([1, 2], "shape")],
)
def test_a_bad_action_is_refused_and_the_episode_goes_on(action, message):
    env = make().unwrapped
    env.reset(seed=0)
    with pytest.raises((ValueError, TypeError), match=message):
        env.step(action)
    env.step(0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"observation": "simple116"}, "simple115v2"),
        ({"rewards": ("goals",)}, "scoring, checkpoints"),
        ({"rewards": ()}, "at least one reward"),
        ({"backend": "unity"}, "gfootball"),
        ({"left": 0}, "at least one controlled player"),
        ({"left": 12}, "0 to 4 controlled players"),
        ({"right": 3}, "0 to 2 controlled players"),
        ({"action_set": "full"}, "default, v2"),
        ({"control": "magic"}, "upstream, fixed"),
        ({"stack": 0}, "stack >= 1"),
        ({"render_mode": "ansi"}, "rgb_array"),
        ({"observation": "raw", "stack": 4}, "cannot be stacked"),
    ],
)
def test_a_bad_option_says_what_exists(options, message):
    with pytest.raises(ValueError, match=message):
        FootballEnv(DRILL, **options)


def test_raw_observations_of_the_right_fit_their_space_where_the_teams_are_not_equally_many():
    env = FootballEnv(DRILL, observation="raw", left=1, right=1)
    observation, _ = env.reset(seed=0)
    assert [len(seen["left_team"]) for seen in observation] == [4, 2]
    assert env.observation_space.contains(observation)


def test_a_single_class_is_a_reward_and_an_id_is_a_scenario():
    env = FootballEnv(f"touchline/{DRILL}-v0", rewards=rewards.Scoring)
    assert env.scenario == scenarios.load(DRILL)
    env.reset(seed=0)
    assert list(env.step(0)[-1]["reward_terms"].values()) == [0.0]


def test_an_unknown_reset_option_is_refused():
    with pytest.raises(ValueError, match="reset option"):
        FootballEnv(DRILL).reset(options={"seed": 3})


def test_a_wrong_scenario_says_what_exists():
    with pytest.raises(ValueError, match="academy_3_vs_1_with_keeper"):
        FootballEnv("academy_3_vs_1_with_keepr")


def test_a_seed_the_engine_cannot_take_is_refused():
    env = make().unwrapped
    with pytest.raises(ValueError, match="4294967295"):
        env.reset(seed=2**32)


def test_fixed_control_keeps_every_agent_on_its_player():
    env = make(left=2, control="fixed", observation="raw")
    observation, _ = env.reset(seed=0)
    mine = [each["active"] for each in observation]
    rng = np.random.default_rng(0)
    for _ in range(60):
        observation, _, ended, truncated, _ = env.step(rng.integers(0, 19, 2))
        assert [each["active"] for each in observation] == mine
        if ended or truncated:
            env.reset()


def test_upstream_control_switches_the_player_with_the_play():
    env = make("11_vs_11_easy_stochastic", observation="raw")
    env.reset(seed=0)
    seen = set()
    for step in range(150):
        observation, *_ = env.step(11 if step % 4 == 0 else 0)
        seen.add(observation["active"])
    assert len(seen) > 1


def test_the_built_in_ai_plays_under_action_set_v2():
    env = make("academy_empty_goal_close", action_set="v2", observation="raw")
    env.reset(seed=0)
    reward, ended = 0.0, False
    while not ended:
        _, reward, ended, truncated, _ = env.step(19)
        ended |= truncated
    assert reward == 1.0


def test_get_state_and_set_state_continue_exactly_with_rewards_and_stack():
    options = {"observation": "smm", "stack": 4, "rewards": ("scoring", "checkpoints")}
    env, other = make(**options).unwrapped, make(**options).unwrapped
    env.reset(seed=5)
    other.reset(seed=99)
    rng = np.random.default_rng(1)
    for _ in range(12):
        env.step(5)
    snapshot = env.get_state()
    np.testing.assert_array_equal(other.set_state(snapshot), env.set_state(snapshot))
    for action in rng.integers(0, 9, 25):
        ours, theirs = env.step(int(action)), other.step(int(action))
        np.testing.assert_array_equal(ours[0], theirs[0])
        assert ours[1:4] == theirs[1:4]
        if ours[2] or ours[3]:
            break


@pytest.mark.parametrize("damage", [lambda s: s[:-9], lambda s: b"", lambda s: s[:200] + b"x" + s[201:]])
def test_a_damaged_snapshot_is_refused_and_the_match_goes_on(damage):
    env = make().unwrapped
    env.reset(seed=0)
    snapshot = env.get_state()
    with pytest.raises(ValueError, match="snapshot"):
        env.set_state(damage(snapshot))
    env.step(0)


def test_a_snapshot_of_another_scenario_is_refused_before_the_engine_sees_it():
    drill, match = make().unwrapped, make("academy_corner").unwrapped
    drill.reset(seed=0)
    match.reset(seed=0)
    with pytest.raises(ValueError, match="another scenario"):
        drill.set_state(match.get_state())
    drill.step(0)


def test_record_video_writes_a_film(tmp_path):
    pytest.importorskip("moviepy")
    env = gym.wrappers.RecordVideo(make(render_mode="rgb_array"), str(tmp_path), disable_logger=True)
    env.reset(seed=0)
    for _ in range(5):
        env.step(5)
    env.close()
    assert next(tmp_path.glob("*.mp4")).stat().st_size > 1000


@pytest.mark.slow
def test_pixels_come_from_the_engines_own_renderer_in_a_process_of_its_own():
    envs = gym.make_vec(
        f"touchline/{DRILL}-v0",
        1,
        vectorization_mode="async",
        observation="pixels",
        vector_kwargs={"context": "spawn"},
    )
    first, _ = envs.reset(seed=0)
    for _ in range(6):
        later, *_ = envs.step([5])
    envs.close()
    assert first.shape == (1, 72, 96, 3)
    green = first[0].reshape(-1, 3).mean(0)
    assert green[1] > green[0]
    assert green[1] > green[2]
    assert (later != first).any()


def test_a_process_has_had_its_renderer_only_once_an_environment_with_it_was_made(monkeypatch):
    monkeypatch.setattr(football_env, "_renderer_of", None)
    with pytest.raises(ValueError, match="no 'academy_emty_goal'"):
        FootballEnv("academy_emty_goal", observation="pixels")

    class Without(FootballVectorEnv):
        """Has no renderer, of which this process may make one only."""

        def __init__(self, *arguments, engine_rendering, **options):
            super().__init__(*arguments, **options)

    monkeypatch.setattr(football_env, "FootballVectorEnv", Without)
    FootballEnv(observation="pixels")
    with pytest.raises(RuntimeError, match='one environment a process.*"context": "spawn"'):
        FootballEnv(observation="pixels")
    monkeypatch.setattr(football_env.os, "getpid", lambda: -1)  # as in a forked child
    FootballEnv(observation="pixels")


@pytest.mark.slow
def test_looking_twice_at_the_engines_picture_does_not_move_its_camera():
    code = (
        "import numpy as np, touchline\n"
        f"envs = touchline.make_vec({DRILL!r}, 1, num_threads=1, engine_rendering=True)\n"
        "envs.reset(seed=0)\n"
        "for _ in range(3):\n"
        "    envs.step(np.array([5]))\n"
        "first, second = envs.simulator.frame(0), envs.simulator.frame(0)\n"
        "assert first.std() > 5 and (first == second).all()\n"
        "start = envs.get_state()\n"
        "envs.step(np.array([5]))\n"
        "assert (envs.simulator.frame(0) != first).any()\n"
        "envs.set_state(start)\n"
        "assert envs.simulator.frame(0).std() > 5\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
