"""Cores and folders that processes share."""

import os
import subprocess
import sys

import pytest

from touchline import processes
from touchline.processes import alone, claim, usable_cores


def test_cores_are_those_of_the_affinity_and_of_the_quota(monkeypatch, tmp_path):
    groups, mount = tmp_path / "groups", tmp_path / "mount"
    monkeypatch.setattr(processes, "_GROUPS", groups)
    monkeypatch.setattr(processes, "_MOUNT", mount)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(8)))
    assert usable_cores() == 8
    job = mount / "jobs" / "mine"
    job.mkdir(parents=True)
    groups.write_text("3:memory:/elsewhere\n0::/jobs/mine\n")
    for folder in (job, job.parent, mount):  # its own, or of a group around it
        for quota, cores in (("250000 100000", 3), ("10000 100000", 1), ("9900000 100000", 8), ("max 100000", 8)):
            (folder / "cpu.max").write_text(quota + "\n")
            assert usable_cores() == cores

    old = mount / "cpu" / "jobs"
    old.mkdir(parents=True)
    groups.write_text("4:cpu,cpuacct:/jobs\n0::/\n")
    (old / "cpu.cfs_period_us").write_text("50000\n")
    for quota, cores in (("-1", 8), ("100000", 2)):
        (old / "cpu.cfs_quota_us").write_text(quota + "\n")
        assert usable_cores() == cores


def test_a_process_on_one_core_has_one_thread_for_matches_and_one_for_learning():
    code = (
        "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))});"
        "from touchline.run import Run; from touchline.processes import usable_cores;"
        "assert (usable_cores(), Run.learner_threads) == (1, 1)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_folder_is_one_processes_at_a_time_and_free_when_that_has_died(tmp_path):
    with (
        alone(tmp_path, "the work"),
        pytest.raises(ValueError, match="another process is at the work in"),
        alone(tmp_path, "the work"),
    ):
        pass
    code = (
        "import os, pathlib; from touchline.processes import claim\n"
        f"with claim(pathlib.Path({str(tmp_path)!r}, '.lock')) as mine:\n    os._exit(0 if mine else 1)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    with claim(tmp_path / ".lock") as mine:
        assert mine


def test_a_folder_made_for_work_that_left_nothing_goes_again(tmp_path):
    new, old = tmp_path / "new", tmp_path / "old"
    old.mkdir()
    for folder in (new, old):
        with alone(folder, "the work"):
            assert folder.is_dir()
    assert not new.exists() and old.exists()
    with alone(new, "the work"):
        (new / "result").touch()
    assert (new / "result").exists()
