"""The view of our vector environment as Stable-Baselines3's."""

import dataclasses

import gymnasium as gym
import numpy as np
import pytest

sb3 = pytest.importorskip("stable_baselines3")
import touchline  # noqa: E402
from touchline import scenarios  # noqa: E402
from touchline.agents.sb3_bridge import Sb3VecEnv  # noqa: E402

pytestmark = pytest.mark.engine


def short(name, duration):
    return dataclasses.replace(scenarios.load(name), game_duration=duration)


def test_the_clock_of_a_drill_is_a_time_limit_and_the_terminal_observation_is_the_true_last():
    ours = touchline.make_vec(short("academy_3_vs_1_with_keeper", 3), 2, copy=True)
    envs = Sb3VecEnv(touchline.make_vec(short("academy_3_vs_1_with_keeper", 3), 2))
    ours.reset(seed=6)
    envs.seed(6)
    envs.reset()
    for _ in range(4):
        observation, _, _, _, info = ours.step(np.zeros(2, int))
        theirs, _, dones, infos = envs.step(np.zeros(2, int))
        np.testing.assert_array_equal(observation, theirs)
    assert dones.all()
    for i in range(2):
        np.testing.assert_array_equal(infos[i]["terminal_observation"], info["final_obs"][i])
        assert infos[i]["TimeLimit.truncated"]
        assert infos[i]["episode"]["l"] == 4


def test_the_clock_of_a_match_is_no_time_limit():
    envs = Sb3VecEnv(touchline.make_vec(short("11_vs_11_easy_stochastic", 2), 1))
    envs.reset()
    for _ in range(3):
        *_, dones, infos = envs.step(np.zeros(1, int))
    assert dones[0]
    assert not infos[0]["TimeLimit.truncated"]


def test_sb3s_ppo_trains_on_it():
    envs = Sb3VecEnv(touchline.make_vec("academy_empty_goal_close", 4, reset_pool=4, observation="egocentric"))
    model = sb3.PPO("MlpPolicy", envs, n_steps=16, batch_size=32, seed=0)
    before = [p.detach().clone() for p in model.policy.parameters()]
    model.learn(128)
    assert any((a != b).any() for a, b in zip(before, model.policy.parameters(), strict=True))


def test_wrapped_matches_are_viewed_too_with_the_statistics_and_masks_of_ours():
    match = short("academy_empty_goal_close", 3)
    wrapped = gym.wrappers.vector.RecordEpisodeStatistics(touchline.make_vec(match, 2), stats_key="recorded")
    envs = Sb3VecEnv(wrapped)
    envs.reset()
    for _ in range(4):
        _, _, dones, infos = envs.step(np.zeros(2, int))
    assert dones.all()
    assert [info["episode"]["l"] for info in infos] == [4, 4]
    assert envs.get_attr("scenario") == [match, match]
    assert np.array_equal(envs.env_method("action_masks", indices=1)[0], wrapped.unwrapped.action_masks()[1])
    with pytest.raises(AttributeError, match="no_such_thing"):
        envs.get_attr("no_such_thing")


def test_environments_of_others_need_keep_no_statistics():
    envs = Sb3VecEnv(
        gym.make_vec(
            "CartPole-v1",
            2,
            vectorization_mode="sync",
            vector_kwargs={"autoreset_mode": gym.vector.AutoresetMode.SAME_STEP},
        )
    )
    envs.reset()
    for _ in range(30):  # always to one side: the pole falls
        _, _, dones, infos = envs.step(np.ones(2, int))
        if dones.any():
            break
    ended = infos[int(np.flatnonzero(dones)[0])]
    assert "episode" not in ended and ended["terminal_observation"].shape == (4,)


def test_several_controlled_players_are_refused():
    with pytest.raises(ValueError, match="one player"):
        Sb3VecEnv(touchline.make_vec("academy_3_vs_1_with_keeper", 1, left=2))
