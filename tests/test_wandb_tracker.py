"""Weights & Biases, offline."""

import socket
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

wandb = pytest.importorskip("wandb")
from wandb.proto import wandb_internal_pb2 as records  # noqa: E402

sys.path.insert(0, str(Path(__file__).parent))
from toy_envs import Corridor  # noqa: E402

from touchline import cli  # noqa: E402
from touchline.train_config import TrainConfig  # noqa: E402
from touchline.training import resume, train  # noqa: E402
from touchline.wandb_tracker import ID_FILE, WandbTracker  # noqa: E402


@pytest.fixture(autouse=True)
def offline(monkeypatch, tmp_path):
    """Nothing may leave the machine, and nothing may be read from its user's account."""
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_DISABLE_GIT", "true")
    for name in ("WANDB_CACHE_DIR", "WANDB_CONFIG_DIR", "WANDB_DATA_DIR"):
        monkeypatch.setenv(name, str(tmp_path / name.lower()))


def stored(path):
    """The records of a wandb file: after 7 bytes, blocks of 32 KiB with chunks, as LevelDB's log has them."""
    data, at, parts = path.read_bytes(), 7, b""
    while at + 7 <= len(data):
        left = 32768 - at % 32768
        if left < 7:
            at += left
            continue
        size, kind = int.from_bytes(data[at + 4 : at + 6], "little"), data[at + 6]
        if at + 7 + size > len(data):
            return  # still being written
        parts += data[at + 7 : at + 7 + size]
        at += 7 + size
        if kind in (1, 4):  # whole, or the last part
            yield records.Record.FromString(parts)
            parts = b""


def written(run, last_step):
    """What wandb wrote of a run directory: (projects and ids, {step: {name: value}}), once `last_step` is there.

    Its own process writes the file, and on a busy machine some time after the run has been finished.
    """
    until = time.monotonic() + 60
    runs, history = now_written(run)
    while not (runs and last_step in history) and time.monotonic() < until:
        time.sleep(0.1)
        runs, history = now_written(run)
    there = {str(path.relative_to(run)): path.stat().st_size for path in run.rglob("*") if path.is_file()}
    assert runs and last_step in history, f"not written: {there}"
    return runs, history


def now_written(run):
    runs, history = [], {}
    for path in sorted(run.glob("wandb/offline-run-*/run-*.wandb")):
        for record in stored(path):
            if record.HasField("run"):
                runs.append((record.run.project, record.run.run_id))
            if record.HasField("history"):
                items = {item.key or item.nested_key[0]: float(item.value_json) for item in record.history.item}
                history[int(items["_step"])] = items
    return runs, history


def make_envs(resolved):
    return Corridor(num_envs=resolved.num_envs)


def test_a_training_is_tracked_and_goes_on_in_the_same_run(tmp_path):
    out = tmp_path / "run"
    config = TrainConfig(num_envs=2, total_steps=32, agent_config={"unroll_length": 8}, out=str(out)).resolved()
    train(config, make_envs=make_envs, trackers=[WandbTracker(config, "pitch")])
    resume(out, total_steps=64, make_envs=make_envs, trackers=[WandbTracker(config, "pitch")])
    runs, history = written(out, 64)
    assert sorted(history) == [16, 32, 48, 64]
    assert {"train/approx_kl", "episode/return", "time/env_steps_per_second"} <= set(history[64])
    assert set(runs) == {("pitch", (out / ID_FILE).read_text().strip())}


def test_a_tracker_that_is_told_nothing_begins_no_run(tmp_path):
    WandbTracker(TrainConfig(out=str(tmp_path / "run"))).close()
    assert not (tmp_path / "run").exists()


def test_nobody_who_is_not_logged_in_trains_for_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "online")
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setattr(socket.socket, "connect", lambda *_arguments: pytest.fail("no network"))
    with pytest.raises(ValueError, match="no account.*WANDB_MODE=offline"):
        WandbTracker(TrainConfig(out=str(tmp_path / "run")))


def test_who_has_told_wandb_to_stay_offline_needs_no_account(tmp_path, monkeypatch):
    monkeypatch.delenv("WANDB_MODE")
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    settings = SimpleNamespace(settings=SimpleNamespace(mode="offline"))  # as `wandb offline` leaves them
    monkeypatch.setattr(wandb, "setup", lambda: settings)
    WandbTracker(TrainConfig(out=str(tmp_path / "run"))).close()


def test_without_the_package_it_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(ValueError, match=r"needs wandb: pip install 'touchline\[track\]'"):
        WandbTracker(TrainConfig(out=str(tmp_path / "run")))


def test_a_project_without_track_is_refused(tmp_path, capsys):
    arguments = ["train", "--track-project", "pitch", "--quiet", "--out", str(tmp_path / "run")]
    assert cli.run(arguments) == 1
    assert "give --track too" in capsys.readouterr().err


@pytest.mark.engine
@pytest.mark.parametrize("agent", ["ppo", "sb3:PPO"])
def test_the_command_line_tracks(tmp_path, agent):
    if agent.startswith("sb3"):
        pytest.importorskip("stable_baselines3")
    out = tmp_path / "run"
    small = ["--num-envs", "2", "--num-threads", "1", "--reset-pool", "2", "--quiet", "--total-steps", "32"]
    hyper = ["--unroll-length", "16"] if agent == "ppo" else ["--sb3", "n_steps=16", "--sb3", "batch_size=32"]
    track = ["--track", "--track-project", "pitch"]
    assert cli.run(["train", "--agent", agent, "--out", str(out), *small, *hyper, *track]) == 0
    runs, history = written(out, 32)
    assert {project for project, _ in runs} == {"pitch"}
    assert "time/env_steps_per_second" in history[32]
