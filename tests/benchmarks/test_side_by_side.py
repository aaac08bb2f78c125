"""Trainings side by side: every run once, each process on cores of its own, stopped with checkpoints."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from touchline import checkpoint, processes
from touchline.benchmarks import side_by_side, suites
from touchline.benchmarks.suites import Suite

LONG = 200_000  # a minute and more; the signals come within seconds
SMALL = {"agent": "ppo", "num_envs": 2, "agent_config": {"unroll_length": 64, "num_epochs": 1}}


def suite(steps):
    return Suite({"small": SMALL}, {"academy_empty_goal_close": steps}, (0, 1, 2), episodes=2)


def steps_of(folder):
    return checkpoint.load(folder / "checkpoint.pt")["env_steps"]


def note(text):
    """What processes tell, in a file of theirs, with the cores that they have."""
    with Path("told.txt").open("a") as file:
        file.write(f"{text} {sorted(os.sched_getaffinity(0))}\n")


def test_shares_are_of_neighbours_and_as_even_as_can_be():
    assert side_by_side.shares({3, 0, 1, 2}, 2) == [{0, 1}, {2, 3}]
    assert side_by_side.shares(range(7), 3) == [{0, 1}, {2, 3}, {4, 5, 6}]
    assert side_by_side.shares([5], 1) == [{5}]
    for jobs in (0, 3):
        with pytest.raises(ValueError, match=f"expected 1 to 2 jobs, a core each at least, got {jobs}"):
            side_by_side.shares([0, 1], jobs)


@pytest.mark.engine
@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="one core")
def test_two_processes_make_every_run_once_on_cores_of_their_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = os.sched_getaffinity(0)
    side_by_side.run_suite(suite(512), "runs", jobs=2, tell=note)
    assert os.sched_getaffinity(0) == before
    told = [line.partition(" [") for line in Path("told.txt").read_text().splitlines()]
    runs = [config.out for config in suite(512).runs("runs")]
    assert sorted(what for what, *_ in told) == sorted(f"{word}: {run}" for run in runs for word in ("begins", "done"))
    cores = {frozenset(where.rstrip("]").split(", ")) for *_, where in told}
    # On a busy machine one of the two may make all runs before the other has begun.
    assert cores <= {frozenset(map(str, share)) for share in side_by_side.shares(before, 2)}
    assert all(suites.is_done(Path(run)) for run in runs)
    side_by_side.run_suite(suite(512), "runs", jobs=2, tell=note)
    assert sum("begins" in line for line in Path("told.txt").read_text().splitlines()) == 3


@pytest.mark.engine
@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="one core")
def test_a_signal_ends_all_with_checkpoints(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folders = [Path(config.out) for config in suite(LONG).runs("runs")][:2]

    def stop():
        while not all((folder / "metrics.csv").is_file() for folder in folders):
            time.sleep(0.1)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=stop, daemon=True).start()
    side_by_side.run_suite(suite(LONG), "runs", jobs=2, tell=note)
    assert all(0 < steps_of(folder) < LONG for folder in folders)


def stop_before(text):
    """Tells a process to stop before the training that it begins."""
    if text.startswith("begins"):
        signal.raise_signal(signal.SIGTERM)


@pytest.mark.engine
def test_a_signal_between_two_trainings_stops_the_second_after_its_first_update(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    side_by_side.run_suite(suite(LONG), "runs", jobs=1, tell=stop_before)
    first, second, _ = (Path(config.out) for config in suite(LONG).runs("runs"))
    assert 0 < steps_of(first) < LONG
    assert not second.exists()


@pytest.mark.engine
def test_nobody_goes_on_when_the_parent_is_killed(tmp_path):
    folder = tmp_path / "academy_empty_goal_close" / "small-0"
    here = "import sys; sys.path.insert(0, sys.argv[1]); import test_side_by_side as tests; "
    call = f"tests.side_by_side.run_suite(tests.suite({LONG}), sys.argv[2], jobs=1, tell=print)"
    command = [sys.executable, "-c", here + call, str(Path(__file__).parent), str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as parent:
        while not (folder / "metrics.csv").is_file():
            assert parent.poll() is None
            time.sleep(0.1)
        parent.kill()
    while True:  # the child holds this lock until it has ended
        with processes.claim(suites._lock(folder)) as ended:
            if ended:
                break
        time.sleep(0.1)
    assert 0 < steps_of(folder) < LONG


@pytest.mark.engine
@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="one core")
def test_a_run_that_fails_is_an_error_after_what_came_before_it(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    broken = Path("runs/academy_empty_goal_close/small-2")
    broken.mkdir(parents=True)
    (broken / "checkpoint.pt").write_bytes(b"no checkpoint")
    with pytest.raises(RuntimeError, match=r"of 2 processes failed \(exit codes 1"):
        side_by_side.run_suite(suite(512), "runs", jobs=2, tell=note)
    assert [suites.is_done(broken.with_name(f"small-{seed}")) for seed in range(3)] == [True, True, False]
