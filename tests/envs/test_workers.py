"""Process workers: equal to threads, and a crash inside the engine costs only its episodes."""

import multiprocessing
import os
import signal
import subprocess
import sys
from multiprocessing.connection import Connection

import numpy as np
import pytest

import touchline
from touchline.envs.engine.build import EngineError
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
        os.kill(process.pid, signal.SIGHUP)
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


def test_a_step_that_ctrl_c_cut_short_can_still_be_waited_for(isolated, monkeypatch):
    twin = touchline.make_vec(DRILL, 3)
    isolated.reset(seed=0), twin.reset(seed=0)
    with monkeypatch.context() as patch:
        patch.setattr(Connection, "poll", lambda self, timeout: signal.raise_signal(signal.SIGINT))
        with pytest.raises(KeyboardInterrupt):
            isolated.step(np.full(3, 5))
    for _ in range(2):
        ours, theirs = isolated.step_wait(), twin.step(np.full(3, 5))
        np.testing.assert_array_equal(ours[0], theirs[0])
        isolated.step_async(np.full(3, 5))
    isolated.step_wait()


def test_a_snapshot_asked_for_during_a_step_takes_no_answer_from_it(isolated):
    isolated.reset(seed=0)
    simulator, idle = isolated.simulator, np.zeros((3, 1), np.int32)
    simulator.step_async(idle)
    during = simulator.get_state(0)
    simulator.step_wait()
    assert during == simulator.get_state(0)
    assert not simulator.lost.any()


def test_a_snapshot_of_a_dead_workers_match_is_of_its_next_episode_and_the_next_step_tells(isolated, capfd):
    isolated.reset(seed=0)
    isolated.step(np.zeros(3, int))
    isolated.simulator.crash(0)
    snapshots = isolated.get_state()
    twin = touchline.make_vec(DRILL, 3)
    twin.set_state(snapshots)
    assert twin.simulator.seeds[2] == 2 and twin.simulator.seeds[0] != 0
    assert twin.episodes_so_far()["l"][[0, 2]].tolist() == [0, 1], "the old episode's statistics went with it"
    _, _, terminated, truncated, info = isolated.step(np.zeros(3, int))
    assert info["lost"][0] and not info["lost"].all()
    assert truncated[0] and not terminated.any()
    assert "lost" not in isolated.step(np.zeros(3, int))[-1]
    isolated.simulator.crash(0)
    isolated.set_state([*snapshots])
    assert not isolated.step(np.zeros(3, int))[-1].get("lost", np.zeros(3, bool))[0], "it was loaded anew"


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


def test_what_the_last_step_gave_may_be_read_after_the_end(tmp_path):
    script = tmp_path / "last.py"
    script.write_text(f"""
import numpy as np, touchline

def last(close):
    envs = touchline.make_vec({DRILL!r}, 2, workers="process", num_threads=1)
    envs.reset(seed=1)
    _, _, terminated, _, info = envs.step(np.zeros(2, int))
    if close:
        envs.close()
    return terminated, info

if __name__ == "__main__":
    for close in (True, False):
        terminated, info = last(close)
        print(terminated.tolist(), info["steps_left"].tolist())
""")
    run = subprocess.run([sys.executable, script], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert run.stdout == "[False, False] [400, 400]\n" * 2


def test_a_closed_environment_says_so():
    envs = touchline.make_vec(DRILL, 1, workers="process", num_threads=1)
    envs.reset(seed=0)
    simulator = envs.simulator
    simulator.close()
    for use in (simulator.reset, lambda: simulator.step(np.zeros((1, 1), np.int32)), lambda: simulator.get_state(0)):
        with pytest.raises(EngineError, match="has been closed"):
            use()


def test_why_a_worker_does_not_start_is_told():
    with pytest.raises(ValueError, match="reset_pool >= 0"):
        touchline.make_vec(DRILL, 1, workers="process", num_threads=1, reset_pool=-1)


def test_a_masked_reset_that_finds_a_dead_worker_tells_which_other_matches_begin_anew(isolated, capfd):
    isolated.reset(seed=3)
    isolated.step(np.zeros(3, int))
    part = next(part for part in isolated.simulator._slices if part.stop - part.start == 2)
    isolated.simulator.crash(part.start)
    _, info = isolated.reset(options={"reset_mask": np.arange(3) == part.start})
    np.testing.assert_array_equal(info["lost"], np.arange(3) == part.start + 1)
    _, _, _, _, info = isolated.step(np.zeros(3, int))
    assert "lost" not in info
    assert isolated.episodes_so_far()["l"][part.start + 1] == 1


def test_a_forked_child_leaves_its_parents_workers_alone(isolated):
    isolated.reset(seed=0)
    child = os.fork()
    if not child:
        isolated.close()
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    assert "lost" not in isolated.step(np.zeros(3, int))[4]
