"""PettingZoo's views: conformance, who is who, masks, rewards, what a central critic sees."""

import types
import warnings

import numpy as np
import pettingzoo
import pytest

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # of PettingZoo's own examples
    from pettingzoo.test import (
        api_test,
        max_cycles_test,
        parallel_api_test,
        parallel_seed_test,
        render_test,
        seed_test,
        state_test,
    )

import touchline
from touchline import scenarios
from touchline.envs.control import members
from touchline.envs.football_env import FootballEnv

pytestmark = pytest.mark.engine
DRILL = "academy_3_vs_1_with_keeper"
SIDES = [
    ("1_vs_1_easy", 1, 1),
    (DRILL, 1, 0),
    (DRILL, 2, 0),
    (DRILL, 3, 0),
    ("5_vs_5", 4, 4),
    ("11_vs_11_easy_stochastic", 11, 11),
]


def everyone(env, action):
    return dict.fromkeys(env.agents, action)


@pytest.mark.parametrize(("scenario", "left", "right"), SIDES)
@pytest.mark.filterwarnings("error")
def test_pettingzoo_s_own_tests_pass_without_a_warning(scenario, left, right):
    def parallel(**options):
        return touchline.parallel_env(scenario, left=left, right=right, **options)

    def aec(**options):
        return touchline.aec_env(scenario, left=left, right=right, **options)

    parallel_api_test(parallel(), 60)
    parallel_api_test(parallel(action_mask="observation"), 60)
    parallel_seed_test(parallel, 20)
    api_test(aec(), 60)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Observation")  # it is a dict, which the test does not expect
        api_test(aec(action_mask="observation"), 60)
    seed_test(aec, 20)
    max_cycles_test(types.SimpleNamespace(parallel_env=parallel, env=aec))
    state_test(aec(), parallel())


def test_it_renders_in_every_mode_that_it_names():
    render_test(lambda render_mode: touchline.aec_env(DRILL, left=2, render_mode=render_mode))


def test_both_registries_know_every_scenario():
    for name in scenarios.names():
        for registry in (pettingzoo.parallel_registry, pettingzoo.aec_registry):
            assert f"touchline/{name}-v0" in registry
    env = pettingzoo.make("parallel", f"touchline/{DRILL}-v0", left=2)
    assert env.possible_agents == ["left_0", "left_1"]
    assert pettingzoo.make("aec", f"touchline/{DRILL}-v0", left=2).possible_agents == ["left_0", "left_1"]


def test_agents_are_counted_left_first_and_each_drives_the_player_that_the_map_names():
    env = touchline.parallel_env("5_vs_5", left=4, right=2)
    observations, infos = env.reset(seed=3)
    assert list(observations) == env.agents == [f"left_{i}" for i in range(4)] + ["right_0", "right_1"]
    assert [env.players[agent].index for agent in env.agents] == [1, 2, 3, 4, 1, 2]
    keeper = env.members[0]
    assert (keeper.side, keeper.role, keeper.controllable, keeper.agent) == ("left", "GK", False, None)
    assert len(env.members) == 10 == len(members(scenarios.load("5_vs_5"), 4, 2))
    for _ in range(30):
        _, _, _, _, infos = env.step({agent: env.action_space(agent).sample() for agent in env.agents})
        assert all(info["on_pitch"] for info in infos.values())
        for side, number in (("left", 4), ("right", 2)):
            driven = env._env.match_state.get(f"{side}_controlled")[0, :number]
            assert driven.tolist() == [env.players[f"{side}_{i}"].index for i in range(number)]


def test_it_is_the_gymnasium_environment_step_for_step():
    options = {"left": 2, "right": 1, "rewards": ("scoring", "checkpoints")}
    env, other = touchline.parallel_env("5_vs_5", **options), FootballEnv("5_vs_5", control="fixed", **options)
    (seen, _), (expected, _) = env.reset(seed=9), other.reset(seed=9)
    draw = np.random.default_rng(0)
    for _ in range(40):
        assert np.array_equal(np.stack(list(seen.values())), expected)
        actions = draw.integers(0, 19, 3)
        seen, rewards, _, _, infos = env.step(dict(zip(env.agents, actions, strict=True)))
        expected, reward, _, _, info = other.step(actions)
        assert list(rewards.values()) == reward.tolist()
        assert infos["right_0"]["reward_terms"]["checkpoints"] == info["reward_terms"]["checkpoints"][2]
    snapshot = env.get_state()
    after = env.step(everyone(env, 5))[0]
    assert all(np.array_equal(x, seen[agent]) for agent, x in env.set_state(snapshot).items())
    assert all(np.array_equal(x, after[agent]) for agent, x in env.step(everyone(env, 5))[0].items())


def test_a_team_s_reward_is_the_mean_of_its_players(monkeypatch):
    given = np.array([[0.3, 0.0, 0.0, -1.0, 0.0]], np.float32)
    for team_reward, expected in ((True, [0.1] * 3 + [-0.5] * 2), (False, given[0].tolist())):
        env = touchline.parallel_env("5_vs_5", left=3, right=2, team_reward=team_reward)
        env.reset(seed=0)
        monkeypatch.setitem(env._env._env._terms, "scoring", lambda simulator: given)
        _, rewards, _, _, infos = env.step(everyone(env, 0))
        assert list(rewards.values()) == pytest.approx(expected)
        assert infos["left_0"]["reward_terms"]["scoring"] == pytest.approx(0.3)  # terms stay each player's own


def test_an_episode_ends_for_all_at_once_and_its_statistics_come_with_it():
    env = touchline.parallel_env(DRILL, left=2, max_cycles=5)
    env.reset(seed=0)
    for step in range(5):
        _, _, terminated, truncated, infos = env.step(everyone(env, 0))
        assert set(truncated.values()) == {step == 4} and not any(terminated.values())
    assert env.agents == [] and env.step({}) == ({}, {}, {}, {}, {})
    assert infos["left_0"]["episode"]["l"] == 5
    env.reset(seed=0)
    snapshot = env.get_state()
    for _ in range(2):  # from a snapshot there are five steps again, as often as one likes
        env.set_state(snapshot)
        for step in range(5):
            *_, truncated, _ = env.step(everyone(env, 0))
            assert set(truncated.values()) == {step == 4}
    env = touchline.parallel_env("academy_empty_goal_close")
    env.reset(seed=0)
    while env.agents:
        _, rewards, terminated, _, infos = env.step(everyone(env, 12))
    assert terminated["left_0"] and "goals_left" in infos["left_0"]["episode"]


@pytest.mark.parametrize("where", ["info", "observation", "none"])
def test_masks_are_offered_where_they_are_asked_for(where):
    env = touchline.parallel_env(DRILL, left=2, action_mask=where)
    observations, infos = env.reset(seed=0)
    masks = env.action_masks()
    assert all(mask.dtype == np.int8 and mask.shape == (19,) for mask in masks.values())
    assert ("action_mask" in infos["left_1"]) == (where == "info")
    assert isinstance(observations["left_1"], dict) == (where == "observation")
    assert env.observation_space("left_1").contains(observations["left_1"])
    if where != "none":
        offered = (infos if where == "info" else observations)["left_1"]["action_mask"]
        assert np.array_equal(offered, masks["left_1"])


def test_who_was_sent_off_stays_and_may_only_idle():
    """All run at the ball and slide until the referee has had enough, which he has with these seeds at step 84."""
    scenario = "11_vs_11_easy_stochastic"
    envs, draw = touchline.make_vec(scenario, 12, left=11, control="fixed"), np.random.default_rng(0)
    envs.reset(seed=5)
    state = envs.simulator.state
    while state.get("left_active").all():
        way = (state.get("ball_position")[:, None, :2] - state.get("left_position")) * [54.4, 83.6]
        towards = np.round(np.arctan2(way[..., 1], way[..., 0]) / (np.pi / 4)).astype(int) % 8
        actions = np.where(np.hypot(*np.moveaxis(way, -1, 0)) < 2.5, 16, np.array([5, 6, 7, 8, 1, 2, 3, 4])[towards])
        envs.step(np.where(draw.random(actions.shape) < 0.1, 13, actions))
    match, player = np.argwhere(state.get("left_active") == 0)[0]
    env, agent = touchline.parallel_env(scenario, left=11), f"left_{player}"
    env.reset(seed=0)
    env.set_state(envs.get_state()[match])
    _, _, _, _, infos = env.step(everyone(env, 0))
    assert env.players[agent].index == player and agent in env.agents and len(env.agents) == 11
    assert [name for name in env.agents if not infos[name]["on_pitch"]] == [agent]
    assert infos[agent]["action_mask"].tolist() == [1] + [0] * 18
    assert all(infos[name]["action_mask"].sum() > 9 for name in env.agents if name != agent)

    alone = FootballEnv(scenario, left=11, control="fixed")
    alone.set_state(envs.get_state()[match])
    *_, info = alone.step(np.zeros(11, int))
    assert np.flatnonzero(info["sent_off"]).tolist() == np.flatnonzero(info["were_off"]).tolist() == [player]


def test_the_state_holds_what_it_says():
    env = touchline.parallel_env("5_vs_5", left=4, right=4)
    env.reset(seed=1)
    for _ in range(25):
        env.step({agent: env.action_space(agent).sample() for agent in env.agents})
        state, match = env.state(), env._env.match_state
        assert state.dtype == np.float32 and env.state_space.contains(state)
        assert np.array_equal(state[:22].reshape(11, 2), match.get("left_position")[0])
        one_hots = state[-2 - 7 - 22 - 3 : -2]
        assert one_hots[:3].argmax() - 1 == match.get("ball_owned_team")[0] and one_hots[:3].sum() == 1
        assert one_hots[3:25].sum() == (match.get("ball_owned_team")[0] >= 0) and one_hots[25:].sum() == 1
    assert state[-1] == pytest.approx(match.get("steps_left")[0] / env.scenario.game_duration)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"action_mask": "hat"}, "no action_mask 'hat'; there are info, observation, none"),
        ({"left": 5}, "expected 0 to 4 controlled players on the left"),
        ({"render_mode": "ascii"}, "no render mode 'ascii'; there are human and rgb_array"),
    ],
)
def test_wrong_options_say_what_there_is(options, message):
    with pytest.raises(ValueError, match=message):
        touchline.parallel_env("5_vs_5", **options)


def test_an_agent_without_an_action_is_named():
    env = touchline.parallel_env("5_vs_5")
    env.reset(seed=0)
    with pytest.raises(ValueError, match="none of left_2, left_3"):
        env.step({"left_0": 0, "left_1": 0})


def test_an_action_that_is_no_whole_number_is_refused_as_everywhere():
    env = touchline.parallel_env(DRILL, left=2)
    env.reset(seed=0)
    with pytest.raises(TypeError, match="whole-number"):
        env.step({"left_0": 1.5, "left_1": 0})
    env.step({"left_0": 1, "left_1": 0})


def test_the_snapshot_of_an_ended_match_has_no_agents():
    env = touchline.parallel_env(DRILL, left=2)
    env.reset(seed=0)
    running = env.get_state()
    while env.agents:
        env.step(everyone(env, 0))
    ended = env.get_state()
    env.set_state(running)
    assert env.agents == env.possible_agents
    env.set_state(ended)
    assert env.agents == [] and env.step({}) == ({}, {}, {}, {}, {})


@pytest.mark.parametrize("kind", ["parallel", "aec"])
def test_videos_are_recorded_with_pettingzoos_wrappers(kind, tmp_path):
    import imageio.v3 as imageio
    from pettingzoo.utils.wrappers import RecordVideo, RecordVideoParallel

    options = {"left": 1, "render_mode": "rgb_array", "max_cycles": 6}
    if kind == "parallel":
        env = RecordVideoParallel(
            touchline.parallel_env("1_vs_1_easy", **options), str(tmp_path), episode_trigger=lambda episode: True
        )
        env.reset(seed=0)
        while env.agents:
            env.step(dict.fromkeys(env.agents, 5))
    else:
        env = RecordVideo(
            touchline.aec_env("1_vs_1_easy", **options), str(tmp_path), episode_trigger=lambda episode: True
        )
        env.reset(seed=0)
        for _agent in env.agent_iter():
            env.step(None if env.last()[2] or env.last()[3] else 5)
    env.close()
    (video,) = tmp_path.glob("*.mp4")
    frames = imageio.imread(video)
    assert len(frames) >= 6 and frames[0].shape[2] == 3 and (frames[0] != frames[-1]).any()
