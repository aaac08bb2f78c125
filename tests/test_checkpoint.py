"""Checkpoints: nothing is executed, nothing is lost."""

import errno
import os
import signal
import threading

import numpy as np
import pytest
import torch

from touchline import checkpoint
from touchline.agents import apex_dqn, impala, ppo
from touchline.checkpoint import (
    CheckpointError,
    TrainedPolicy,
    bytes_to_tensor,
    load,
    save,
    stop_on_signals,
    tensor_to_bytes,
)
from touchline.train_config import TrainConfig
from touchline.types import EnvSpec, Stream


def test_what_is_saved_comes_back(tmp_path):
    generator = torch.Generator().manual_seed(3)
    contents = {
        "weights": {"w": torch.arange(6.0).view(2, 3)},
        "generator": generator.get_state(),
        "config": '{"seed": 3}',
        "env_steps": 10**12,
        "carries": {"novelty": None},
        "env_states": [bytes_to_tensor(b"\x00match\xff"), bytes_to_tensor(b"")],
    }
    save(tmp_path / "checkpoint.pt", contents)
    back = load(tmp_path / "checkpoint.pt")
    assert torch.equal(back["weights"]["w"], contents["weights"]["w"])
    assert (back["config"], back["env_steps"], back["carries"]) == ('{"seed": 3}', 10**12, {"novelty": None})
    assert [tensor_to_bytes(t) for t in back["env_states"]] == [b"\x00match\xff", b""]
    generator.set_state(back["generator"])
    assert [p.name for p in tmp_path.iterdir()] == ["checkpoint.pt"]


def test_a_full_disk_leaves_the_old_checkpoint_and_says_so(tmp_path, monkeypatch):
    path = tmp_path / "checkpoint.pt"
    save(path, {"env_steps": 1})

    def full(_descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(checkpoint.os, "fsync", full)
    with pytest.raises(CheckpointError, match=r"No space left on device.*checkpoint of before is kept"):
        save(path, {"env_steps": 2})
    assert load(path)["env_steps"] == 1
    assert [p.name for p in tmp_path.iterdir()] == ["checkpoint.pt"]


def test_a_disk_that_fills_up_in_the_middle_leaves_the_old_checkpoint(tmp_path, monkeypatch):
    path = tmp_path / "checkpoint.pt"
    save(path, {"env_steps": 1})
    original = open

    class Full:
        def __init__(self, *args):
            self.file, self.room = original(*args), 1000

        def write(self, data):
            self.room -= len(data)
            if self.room < 0:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return self.file.write(data)

        def __getattr__(self, name):
            return getattr(self.file, name)

        def __enter__(self):
            return self

        def __exit__(self, *_):
            self.file.close()

    monkeypatch.setattr(
        "builtins.open", lambda p, mode="r", *a: Full(p, mode) if mode == "wb" else original(p, mode, *a)
    )
    with pytest.raises(CheckpointError, match="could not write"):
        save(path, {"weights": torch.zeros(10_000)})
    monkeypatch.undo()
    assert load(path)["env_steps"] == 1
    assert [p.name for p in tmp_path.iterdir()] == ["checkpoint.pt"]


def test_what_could_not_be_read_safely_is_never_written(tmp_path):
    path = tmp_path / "checkpoint.pt"
    save(path, {"env_steps": 1})
    with pytest.raises(CheckpointError, match="checkpoint of before is kept"):
        save(path, {"bonus": np.random.default_rng(0)})
    assert load(path)["env_steps"] == 1


def test_a_damaged_file_is_named(tmp_path):
    path = tmp_path / "checkpoint.pt"
    save(path, {"weights": torch.zeros(1000)})
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(CheckpointError, match=r"checkpoint\.pt is damaged"):
        load(path)
    path.write_bytes(b"")
    with pytest.raises(CheckpointError, match="is damaged"):
        load(path)
    path.write_text("goal")
    with pytest.raises(CheckpointError, match="is damaged"):
        load(path)


def test_a_damaged_weight_is_noticed(tmp_path):
    path = tmp_path / "checkpoint.pt"
    weights = torch.arange(1000.0)
    save(path, {"weights": weights})
    contents = bytearray(path.read_bytes())
    contents[contents.index(weights.numpy().tobytes()) + 1003] ^= 1
    path.write_bytes(contents)
    with pytest.raises(CheckpointError, match=r"damaged.*check sum"):
        load(path)


def test_code_in_a_checkpoint_is_not_run(tmp_path):
    class Malice:
        def __reduce__(self):
            return (os.mkdir, (str(tmp_path / "run"),))

    torch.save({"format_version": 1, "x": Malice()}, tmp_path / "checkpoint.pt")
    with pytest.raises(CheckpointError):
        load(tmp_path / "checkpoint.pt")
    assert not (tmp_path / "run").exists()


def test_a_missing_file_and_another_format_are_told_apart(tmp_path):
    with pytest.raises(CheckpointError, match="no checkpoint at"):
        load(tmp_path / "checkpoint.pt")
    torch.save({"format_version": 99}, tmp_path / "checkpoint.pt")
    with pytest.raises(CheckpointError, match="expected format_version 2, got 99"):
        load(tmp_path / "checkpoint.pt")


def test_the_first_signal_asks_and_the_second_interrupts():
    before = signal.getsignal(signal.SIGINT)
    with stop_on_signals() as stop:
        assert not stop.is_set()
        signal.raise_signal(signal.SIGINT)
        assert stop.is_set()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before


def test_a_terminal_that_closes_asks_too_unless_that_is_ignored():
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    try:
        with stop_on_signals() as stop:
            signal.raise_signal(signal.SIGHUP)
            assert stop.is_set()
        signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does
        with stop_on_signals() as stop:
            signal.raise_signal(signal.SIGHUP)
            assert not stop.is_set()
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_stop_within_another_is_the_same_one():
    with stop_on_signals() as outer:
        signal.raise_signal(signal.SIGTERM)
        with stop_on_signals() as inner:
            assert inner.is_set()
            with pytest.raises(KeyboardInterrupt):
                signal.raise_signal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGTERM)
        assert inner is outer
    with stop_on_signals() as later:
        assert not later.is_set()


def test_outside_the_main_thread_signals_are_left_alone():
    seen = []

    def work():
        with stop_on_signals() as stop:
            seen.append(stop.is_set())

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [False]


# ---- what a trained policy expects ---------------------------------------------------------------------------------

SPEC = EnvSpec(observation_shape=(4,), observation_dtype="float32", num_actions=5)
OBS = np.random.default_rng(0).normal(size=(6, 3, 4)).astype(np.float32)  # [B, N, *obs]


def trained(kind=ppo, spec=SPEC, streams=(), greedy=True, **fields):
    agent = kind.make(spec, kind.Config(**fields), bonus_streams=streams)
    return TrainedPolicy(agent, TrainConfig(), greedy=greedy, seed=0)


def test_value_estimates_are_the_networks_one_for_every_stream():
    policy = trained(streams=[Stream("rnd", 0.99)], normalise_values=True)
    estimates = policy.value_estimates(OBS)
    expected = policy.agent.net.values(torch.from_numpy(OBS).flatten(0, 1)).detach().numpy().reshape(6, 3, 2)
    assert list(estimates) == ["value", "value/rnd"]
    assert np.array_equal(estimates["value"], expected[..., 0])
    assert np.array_equal(estimates["value/rnd"], expected[..., 1])
    assert trained().value_estimates(OBS[:, 0])["value"].shape == (6,)


def test_of_mulex_the_exploiter_tells_and_plays():
    mulex = {"kind": impala, "streams": [Stream("count", 0.99)], "mulex": "episode", "policy_head_gain": 100.0}
    policy = trained(**mulex)
    assert list(policy.value_estimates(OBS)) == ["value"]
    sampled = trained(greedy=False, **mulex)
    exploiter = trained(impala, greedy=False, policy_head_gain=100.0)
    exploiter.agent.net.load_state_dict(policy.agent.net.state_dict())
    sampled.agent.net.load_state_dict(policy.agent.net.state_dict())
    assert np.array_equal(sampled.act(OBS), exploiter.act(OBS))


def test_sampling_from_action_values_hardly_explores_however_many_matches():
    policy = trained(apex_dqn, greedy=False)
    best = trained(apex_dqn)
    best.agent.net.load_state_dict(policy.agent.net.state_dict())
    played = [policy.act(OBS) == best.act(OBS) for _ in range(50)]
    assert 0.95 < np.mean(played) < 1.0


def test_value_estimates_of_a_memory_are_those_of_the_coming_step_and_leave_it_alone():
    policy, undisturbed = (trained(lstm=8, shared_encoder=True) for _ in range(2))
    seen = [policy.value_estimates(OBS)["value"]]
    for _ in range(2):
        assert np.array_equal(policy.act(OBS), undisturbed.act(OBS))
        seen.append(policy.value_estimates(OBS)["value"])
    assert torch.equal(policy.memory()["state"], undisturbed.memory()["state"])
    assert not np.array_equal(seen[0], seen[1]), "the same observation, another memory"
    assert not np.array_equal(seen[1], seen[2])


def test_a_memory_begins_anew_with_a_batch_of_another_size():
    policy = trained(lstm=8, shared_encoder=True)
    everybody = np.ones(6, bool)
    policy.begin(everybody, np.arange(6))
    first = policy.act(OBS)
    policy.begin(np.ones(4, bool), np.arange(4))
    assert policy.act(OBS[:4]).shape == (4, 3)
    policy.begin(everybody, np.arange(6))
    assert np.array_equal(policy.act(OBS), first)


def test_there_are_no_value_estimates_without_values_or_without_what_they_read():
    assert trained(apex_dqn).value_estimates(OBS) == {}
    central = EnvSpec(observation_shape=(6,), observation_dtype="float32", num_actions=5, central=2)
    assert trained(spec=central).value_estimates(OBS) == {}
