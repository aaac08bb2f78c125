"""Process workers: equal to threads, and a crash inside the engine costs only its episodes."""

import multiprocessing
import os
import signal
from multiprocessing.connection import Connection

import numpy as np
import pytest

import touchline
from touchline.rollout import Buffer, collect, env_spec

pytestmark = pytest.mark.engine
DRILL = "academy_empty_goal_close"


@pytest.fixture(scope="module")
def isolated():
    envs = touchline.make_vec(DRILL, 3, workers="process", num_threads=2, reset_pool=2)
    yield envs
    envs.close()


def test_processes_give_what_threads_give(isolated):
    threads = touchline.make_vec(DRILL, 3, num_threads=2, reset_pool=2)
    ours, theirs = isolated.reset(seed=5)[0], threads.reset(seed=5)[0]
    np.testing.assert_array_equal(ours, theirs)
    rng = np.random.default_rng(0)
    for _ in range(120):
        actions = rng.integers(0, 19, 3)
        ours, theirs = isolated.step(actions), threads.step(actions)
        for a, b in zip(ours[:4], theirs[:4], strict=True):
            np.testing.assert_array_equal(a, b)
    snapshots = isolated.get_state()
    np.testing.assert_array_equal(threads.set_state(snapshots), isolated.set_state(snapshots))


def test_ctrl_c_which_reaches_workers_too_leaves_their_matches_to_be_saved(isolated):
    isolated.reset(seed=0)
    isolated.step(np.zeros(3, int))
    before = isolated.get_state()
    for process in multiprocessing.active_children():
        os.kill(process.pid, signal.SIGINT)
    assert isolated.get_state() == before


def test_an_answer_that_nobody_heard_is_not_taken_for_the_next_ones(isolated, monkeypatch):
    isolated.reset(seed=0)
    with monkeypatch.context() as patch:  # Ctrl-C while the first worker is waited for
        patch.setattr(Connection, "poll", lambda self, timeout: signal.raise_signal(signal.SIGINT))
        with pytest.raises(KeyboardInterrupt):
            isolated.step(np.zeros(3, int))
    twin = touchline.make_vec(DRILL, 3)
    ours, theirs = isolated.reset(seed=7)[0], twin.reset(seed=7)[0]
    for _ in range(20):
        np.testing.assert_array_equal(ours, theirs)
        ours, theirs = isolated.step(np.full(3, 5))[0], twin.step(np.full(3, 5))[0]


def test_a_reset_of_a_dead_worker_keeps_the_seeds_that_were_asked_for(isolated, capfd):
    isolated.reset(seed=0)
    isolated.simulator.crash(2)
    isolated.reset(seed=40)
    assert isolated.simulator.seeds.tolist() == [40, 41, 42]
    assert not isolated.simulator.lost.any()


def test_a_crashed_worker_is_replaced_its_episodes_are_lost_and_the_others_play_on(isolated, capfd):
    isolated.reset(seed=0)
    isolated.step(np.zeros(3, int))
    isolated.simulator.crash(2)
    _, _, terminated, truncated, info = isolated.step(np.zeros(3, int))
    lost = info["lost"]
    assert lost[2]
    assert not lost.all()
    np.testing.assert_array_equal(truncated, lost)
    assert not terminated.any()
    seeds = isolated.simulator.seeds.copy()
    *_, info = isolated.step(np.zeros(3, int))
    assert "lost" not in info
    np.testing.assert_array_equal(isolated.simulator.seeds, seeds)


def test_training_goes_on_over_a_crash(isolated, capfd):
    class Idle:
        def __init__(self):
            self.steps = 0

        def act(self, obs, generator):
            self.steps += 1
            if self.steps == 4:
                isolated.simulator.crash(0)
            import torch

            return torch.zeros(len(obs), dtype=torch.int64), torch.zeros(len(obs))

    obs, _ = isolated.reset(seed=0)
    rollout, _ = collect(isolated, Idle(), obs, Buffer(env_spec(isolated), 3, 8), None)
    mask = rollout.mask.numpy()
    assert not mask[3, 0]
    assert mask.sum() == mask.size - (~mask[3]).sum()
    assert rollout.truncated[3, 0]


def test_an_error_in_a_worker_is_raised_here(isolated):
    isolated.reset(seed=0)
    with pytest.raises(ValueError, match="snapshot"):
        isolated.simulator.set_state(1, b"nonsense")
    isolated.step(np.zeros(3, int))
