"""The vector view: shapes, same-step resets, seeds, copies, what is refused."""

import dataclasses
import os
import signal

import gymnasium as gym
import numpy as np
import pytest

import touchline
from touchline import scenarios
from touchline.envs.engine.build import EngineError

pytestmark = pytest.mark.engine
DRILL = "academy_3_vs_1_with_keeper"


def short(duration, scenario=DRILL):
    return dataclasses.replace(scenarios.load(scenario), game_duration=duration)


def random_actions(envs, rng):
    shape = (envs.num_envs,) if envs.num_players == 1 else (envs.num_envs, envs.num_players)
    return rng.integers(0, 19, shape)


@pytest.mark.parametrize("players", [{"left": 1}, {"left": 3}, {"left": 3, "right": 2}])
def test_one_player_has_no_player_axis_and_several_have_one(players):
    envs = touchline.make_vec(DRILL, 2, **players)
    count = sum(players.values())
    observation, _ = envs.reset(seed=0)
    shape = (2, 115) if count == 1 else (2, count, 115)
    assert observation.shape == shape == envs.observation_space.shape
    assert envs.env_spec.observation_shape == (115,)
    observation, reward, terminated, truncated, _ = envs.step(random_actions(envs, np.random.default_rng(0)))
    assert observation.shape == shape
    assert reward.shape == ((2,) if count == 1 else (2, count))
    assert reward.dtype == np.float32
    assert terminated.shape == truncated.shape == (2,)
    envs.close()


def test_a_match_that_ends_is_reset_in_the_same_step_and_its_last_observation_is_kept():
    envs = touchline.make_vec(short(5), 3)
    alone = touchline.make_vec(short(5), 1, auto_reset=False)
    envs.reset(seed=10)
    alone.reset(seed=11)
    for _ in range(5):
        envs.step(np.array([5, 3, 0]))
        alone.step(np.array([3]))
    observation, _, terminated, truncated, info = envs.step(np.array([5, 3, 0]))
    last, *_ = alone.step(np.array([3]))
    assert not terminated.any()
    assert truncated.all()
    np.testing.assert_array_equal(info["final_obs"][1], last[0])
    assert (info["final_obs"][1] != observation[1]).any()
    fresh, _ = alone.reset()
    np.testing.assert_array_equal(observation[1], fresh[0])
    assert info["_final_obs"].all()
    assert (info["episode"]["l"] == 6).all()
    assert (info["steps_left"] == 6).all(), "info tells of the new episode"
    assert (info["final_info"]["steps_left"] == 0).all(), "final_info of the old one"
    envs.close()
    alone.close()


def test_stacked_final_observations_end_in_the_last_frame_and_new_episodes_start_from_one_frame():
    envs = touchline.make_vec(short(4), 1, observation="smm", stack=3)
    plain = touchline.make_vec(short(4), 1, observation="smm")
    envs.reset(seed=2)
    plain.reset(seed=2)
    frames = []
    for _ in range(5):
        observation, *_, info = envs.step(np.array([5]))
        frame, *_, plain_info = plain.step(np.array([5]))
        frames.append(plain_info["final_obs"].copy() if "final_obs" in plain_info else frame.copy())
    np.testing.assert_array_equal(info["final_obs"], np.concatenate(frames[-3:], axis=-1))
    np.testing.assert_array_equal(observation, np.concatenate([frame] * 3, axis=-1))


def test_match_i_is_seeded_with_seed_plus_i_and_a_sequence_gives_each_its_own():
    envs = touchline.make_vec(DRILL, 3)
    envs.reset(seed=40)
    assert envs.simulator.seeds.tolist() == [40, 41, 42]
    envs.reset(seed=[7, None, 9])
    assert envs.simulator.seeds[[0, 2]].tolist() == [7, 9]
    assert envs.simulator.episodes.tolist() == [0, 1, 0]
    with pytest.raises(ValueError, match="3 seeds"):
        envs.reset(seed=[1, 2])


def test_a_match_whose_first_seed_is_left_open_gets_one_of_its_own():
    envs = touchline.make_vec(DRILL, 4)
    envs.reset(seed=[1, None, None, None])
    first = envs.simulator.seeds.tolist()
    assert first[0] == 1 and len(set(first)) == 4 and max(first) < 1_000_000_000
    envs.reset()
    assert len(set(envs.simulator.seeds.tolist())) == 4
    again = touchline.make_vec(DRILL, 4)
    again.reset(seed=3, options={"reset_mask": np.array([True, False, False, False])})
    again.reset()
    assert len(set(again.simulator.seeds.tolist())) == 4 and again.simulator.seeds[0] != 3
    assert set(again.simulator.seeds[1:]) - set(first), "as in every process"


def test_seeds_that_nobody_chose_stay_below_those_of_evaluations():
    envs = touchline.make_vec(short(1), 4, reset_pool=3)
    envs.reset(seed=1_000_000_000)
    seen = set()
    for _ in range(40):
        envs.step(np.zeros(4, int))
        seen |= set(envs.simulator.seeds.tolist()) - {1_000_000_000 + i for i in range(4)}
    assert 1 < len(seen) <= 12
    assert max(seen) < 1_000_000_000


def test_a_reset_mask_leaves_the_other_matches_alone():
    envs = touchline.make_vec(DRILL, 2, copy=True)
    envs.reset(seed=0)
    before, *_ = envs.step(np.array([5, 5]))
    after, _ = envs.reset(seed=[3, 4], options={"reset_mask": np.array([False, True])})
    np.testing.assert_array_equal(before[0], after[0])
    assert (before[1] != after[1]).any()
    with pytest.raises(ValueError, match="reset_mask"):
        envs.reset(options={"reset_mask": np.array([1, 0])})


def test_arrays_are_reused_unless_a_copy_is_asked_for():
    shared, copied = touchline.make_vec(DRILL, 1), touchline.make_vec(DRILL, 1, copy=True)
    for envs, same in ((shared, True), (copied, False)):
        first, _ = envs.reset(seed=0)
        kept = first.copy()
        envs.step(np.array([5]))
        assert (first == kept).all() != same


@pytest.mark.parametrize("copy", [False, True])
def test_with_copy_infos_are_fresh_arrays_too(copy):
    envs = touchline.make_vec(short(2), 1, copy=copy)
    envs.reset(seed=0)
    infos = [envs.step(np.array([5]))[-1] for _ in range(6)]
    ends = [info["final_info"] for info in infos if "final_info" in info]
    assert len(ends) == 2
    for each in (infos, ends):
        for name in ("ball_owned_team", "game_mode", "steps_left"):
            assert np.shares_memory(each[0][name], each[1][name]) != copy, name
    assert np.shares_memory(*(info["reward_terms"]["scoring"] for info in infos[:2])) != copy
    assert ([int(info["steps_left"][0]) for info in infos] == [2, 1, 3, 2, 1, 3]) == copy


def test_gymnasiums_make_vec_takes_our_vector_environment():
    envs = gym.make_vec(f"touchline/{DRILL}-v0", 2)
    assert envs.metadata["autoreset_mode"] is gym.vector.AutoresetMode.SAME_STEP
    assert type(envs.unwrapped).__name__ == "FootballVectorEnv"
    recorded = gym.wrappers.vector.RecordEpisodeStatistics(envs, stats_key="recorded")
    recorded.reset(seed=0)
    recorded.step(np.array([0, 1]))
    envs.close()


def test_without_automatic_resets_an_ended_match_wants_a_reset():
    envs = touchline.make_vec(short(1), 2, auto_reset=False)
    envs.reset(seed=0)
    envs.step(np.zeros(2, int))
    *_, truncated, _ = envs.step(np.zeros(2, int))
    assert truncated.all()
    with pytest.raises(gym.error.ResetNeeded):
        envs.step(np.zeros(2, int))


def test_steps_may_run_in_the_background():
    envs = touchline.make_vec(DRILL, 2, num_threads=2, copy=True)
    twin = touchline.make_vec(DRILL, 2, num_threads=1, copy=True)
    envs.reset(seed=0)
    twin.reset(seed=0)
    for action in (5, 13, 12):
        actions = np.full(2, action)
        envs.step_async(actions)
        actions[:] = 0  # the simulator holds its own copy
        ours, theirs = envs.step_wait(), twin.step(np.full(2, action))
        np.testing.assert_array_equal(ours[0], theirs[0])


def test_a_wrong_shape_of_actions_says_what_was_expected():
    envs = touchline.make_vec(DRILL, 2, left=2)
    envs.reset(seed=0)
    with pytest.raises(ValueError, match=r"\(2, 2\)"):
        envs.step(np.zeros(2, int))
    with pytest.raises(TypeError, match="integer"):
        envs.step(np.zeros((2, 2)))


def test_a_missing_engine_says_how_to_get_one(monkeypatch, tmp_path):
    from touchline.envs.engine import build

    monkeypatch.setenv("TOUCHLINE_CACHE", str(tmp_path))
    monkeypatch.setattr(build.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(build.EngineError, match="touchline engine build"):
        touchline.make_vec(DRILL, 1)


def test_a_users_own_observation_is_an_object_that_writes_from_the_state():
    class BallOnly:
        shape, dtype, low, high = (3,), np.float32, -100.0, 100.0

        def __init__(self, num_left, num_right):
            self.agents = num_left + num_right

        def write(self, state, rows, out):
            out[rows] = state.get("ball_position")[rows, None]

    envs = touchline.make_vec(DRILL, 2, observation=BallOnly)
    reference = touchline.make_vec(DRILL, 2)
    ours, theirs = envs.reset(seed=0)[0], reference.reset(seed=0)[0]
    np.testing.assert_array_equal(ours, theirs[:, 88:91])


def test_misuse_is_an_error_of_pythons_not_of_the_engine():
    envs = touchline.make_vec(DRILL, 2)
    for misuse in (envs.get_state, envs.simulator.frame, lambda: envs.simulator.step(np.zeros((2, 1), np.int32))):
        with pytest.raises(gym.error.ResetNeeded, match="match 0 has not been reset"):
            misuse()
    envs.reset(seed=0)
    snapshots = envs.get_state()
    with pytest.raises(IndexError, match="from 0 to 1, got 2"):
        envs.simulator.set_state(2, envs.simulator.get_state(0))
    envs.step(np.zeros(2, int))
    envs.close()
    for misuse in (envs.reset, envs.get_state, lambda: envs.step(np.zeros(2, int)), lambda: envs.set_state(snapshots)):
        with pytest.raises(EngineError, match="has been closed"):
            misuse()


def test_a_snapshot_may_come_before_any_reset():
    envs, fresh = touchline.make_vec(DRILL, 2, copy=True), touchline.make_vec(DRILL, 2, copy=True)
    envs.reset(seed=0)
    envs.step(np.full(2, 5))
    fresh.set_state(envs.get_state())
    np.testing.assert_array_equal(fresh.step(np.full(2, 5))[0], envs.step(np.full(2, 5))[0])


def test_a_step_under_way_is_waited_for_or_refused_but_never_stepped_on():
    envs, twin = (touchline.make_vec(DRILL, 4, num_threads=2, copy=True) for _ in range(2))
    idle = np.zeros(4, int)
    envs.reset(seed=0)
    with pytest.raises(gym.error.NoAsyncCallError, match="call step_async"):
        envs.step_wait()
    for _ in range(20):
        envs.step_async(idle)
        for use in (lambda: envs.step_async(idle), envs.get_state, lambda: envs.set_state([b""] * 4)):
            with pytest.raises(gym.error.AlreadyPendingCallError, match="call step_wait"):
                use()
        envs.step_wait()
    envs.step_async(idle)  # and an interrupt
    ours, theirs = envs.reset(seed=5)[0], twin.reset(seed=5)[0]
    for _ in range(20):
        np.testing.assert_array_equal(ours, theirs)
        ours, theirs = envs.step(idle)[0], twin.step(idle)[0]
    envs.step_async(idle)
    envs.close()


@pytest.mark.parametrize("place", [-1, 300])
def test_a_snapshot_that_is_refused_leaves_all_matches_as_they_were(place):
    envs = touchline.make_vec(DRILL, 3, copy=True)
    envs.reset(seed=0)
    early = envs.get_state()
    damaged = bytearray(early[2])
    damaged[place] ^= 1
    if place < 0:
        del damaged[place]
    for _ in range(5):
        envs.step(np.full(3, 5))
    before = envs.get_state()
    with pytest.raises(ValueError, match="snapshot"):
        envs.set_state([early[0], early[1], bytes(damaged)])
    assert envs.get_state() == before


def test_a_snapshot_of_an_ended_match_waits_for_a_reset_too():
    envs, other = (touchline.make_vec(short(3), 2, auto_reset=False) for _ in range(2))
    envs.reset(seed=0)
    running = envs.get_state()
    for _ in range(4):
        *_, truncated, _ = envs.step(np.zeros(2, int))
    assert truncated.all()
    other.set_state(envs.get_state())
    with pytest.raises(gym.error.ResetNeeded):
        other.step(np.zeros(2, int))
    other.set_state(running)
    other.step(np.zeros(2, int))


def test_a_reset_of_some_lets_the_others_finish_the_step_under_way():
    envs, twin = (touchline.make_vec(DRILL, 2, num_threads=2, copy=True) for _ in range(2))
    envs.reset(seed=0), twin.reset(seed=0)
    envs.step_async(np.full(2, 5))
    ours = envs.reset(seed=[7, None], options={"reset_mask": np.array([True, False])})[0]
    theirs = twin.step(np.full(2, 5))[0]
    np.testing.assert_array_equal(ours[1], theirs[1])
    assert envs.episodes_so_far()["l"].tolist() == [0, 1]
    assert envs.simulator.seeds.tolist() == [7, 1]
    np.testing.assert_array_equal(envs.step(np.full(2, 5))[0][1], twin.step(np.full(2, 5))[0][1])


def test_a_match_lost_in_the_step_that_a_partial_reset_ends_is_told(monkeypatch):
    envs = touchline.make_vec(DRILL, 3)
    envs.reset(seed=0)
    wait, reset = envs.simulator.step_wait, envs.simulator.reset

    def lose():
        wait()
        envs.simulator.lost[:] = [True, False, True]

    def forget(mask, seeds):
        reset(mask, seeds)
        envs.simulator.lost[:] = False

    monkeypatch.setattr(envs.simulator, "step_wait", lose)
    monkeypatch.setattr(envs.simulator, "reset", forget)
    envs.step_async(np.zeros(3, int))
    _, info = envs.reset(options={"reset_mask": np.array([True, False, False])})
    assert info["lost"].tolist() == [False, False, True]


def test_a_refused_seed_leaves_the_step_under_way_to_be_waited_for():
    envs = touchline.make_vec(DRILL, 2)
    envs.reset(seed=0)
    envs.step_async(np.zeros(2, int))
    with pytest.raises(TypeError):
        envs.reset(seed=[1.5, None], options={"reset_mask": np.array([True, False])})
    envs.step_wait()


def test_a_step_that_could_not_begin_is_none_to_wait_for(monkeypatch):
    envs = touchline.make_vec(DRILL, 1)
    envs.reset(seed=0)

    def refuse(actions):
        raise RuntimeError("no")

    with monkeypatch.context() as patch:
        patch.setattr(envs.simulator, "step_async", refuse)
        with pytest.raises(RuntimeError):
            envs.step(np.zeros(1, int))
    envs.step(np.zeros(1, int))


class Memory:
    """A term that remembers the last y of the ball, in a float."""

    def __init__(self, num_envs, num_left, num_right):
        self.last = np.zeros((num_envs, 1))
        self.out = np.zeros((num_envs, num_left + num_right), np.float32)

    def reset(self, rows):
        self.last[rows] = 0.1

    def __call__(self, simulator):
        now = simulator.final_state.get("ball_position")[:, 1:2]
        self.out[:] = now - self.last
        self.last[:] = now
        return self.out

    def get_state(self, index):
        return self.last[index]

    def set_state(self, index, state):
        self.last[index] = state


class Other(Memory):
    """Another term of the same size."""


def test_a_term_gets_back_what_it_remembered_in_its_own_numbers():
    envs, other = (touchline.make_vec(DRILL, 1, rewards=Memory, copy=True) for _ in range(2))
    envs.reset(seed=0)
    for action in (5, 3, 3, 9):
        envs.step(np.array([action]))
    other.set_state([bytearray(envs.get_state()[0])])
    for action in (5, 12, 0):
        ours, theirs = envs.step(np.array([action])), other.step(np.array([action]))
        assert ours[1] == theirs[1] and abs(ours[1]).max() < 0.1


def test_a_snapshot_of_other_rewards_or_observations_of_the_same_size_is_refused():
    envs = touchline.make_vec(DRILL, 1, rewards=Memory)
    envs.reset(seed=0)
    other = touchline.make_vec(DRILL, 1, rewards=Other)
    with pytest.raises(ValueError, match="these rewards and observations"):
        other.set_state(envs.get_state())
    with pytest.raises(ValueError, match="it is empty"):
        envs.set_state([b""])


def test_the_rewards_at_an_end_have_the_shape_of_all_rewards():
    for left, shape in ((1, (2,)), (2, (2, 2))):
        envs = touchline.make_vec(short(1), 2, left=left)
        envs.reset(seed=0)
        envs.step(np.zeros(shape, int))
        *_, info = envs.step(np.zeros(shape, int))
        assert info["final_info"]["reward"].shape == shape


@pytest.mark.parametrize(
    ("misuse", "error", "message"),
    [
        (lambda envs: envs.reset(options={"mask": 1}), ValueError, "no reset option mask; there is reset_mask"),
        (lambda envs: envs.reset(seed="12"), TypeError, "expected a whole number as the seed, or 2 of them"),
        (lambda envs: envs.reset(seed=[1.5, 2]), TypeError, "integer"),
        (lambda envs: envs.simulator.frame(0), EngineError, "with engine_rendering"),
        (lambda envs: touchline.make_vec(DRILL, 1, observation=object()), TypeError, "an observation's name"),
        (
            lambda envs: touchline.make_vec(DRILL, 1, workers="process", engine_rendering=True),
            ValueError,
            "wants workers='thread'",
        ),
        (lambda envs: dataclasses.replace(envs.scenario, ball_position=(0, 0, 1)), ValueError, r"expected \(x, y\)"),
    ],
)
def test_a_mistake_says_what_was_expected(misuse, error, message):
    envs = touchline.make_vec(DRILL, 2)
    envs.reset(seed=0)
    with pytest.raises(error, match=message):
        misuse(envs)
    envs.step(np.zeros(2, int))


def test_a_forked_child_may_close_and_leave():
    envs = touchline.make_vec(DRILL, 4, num_threads=2)
    envs.reset(seed=0)
    child = os.fork()
    if not child:
        signal.alarm(60)  # in place of hanging for ever
        envs.close()
        os._exit(7)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    envs.step(np.zeros(4, int))


def test_no_threads_at_all_is_refused():
    with pytest.raises(ValueError, match="num_threads >= 1"):
        touchline.make_vec(DRILL, 1, num_threads=0)
