"""Two processes that learn as one, by Gloo on the CPU."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))
from toy_envs import Corridor

from touchline import checkpoint, training
from touchline.run import Run
from touchline.sharing import share_of
from touchline.train_config import TrainConfig

AGENTS = {
    "ppo": {"unroll_length": 8, "minibatch_size": 16, "num_epochs": 2, "normalise_values": True, "target_kl": 0.02},
    "impala": {"unroll_length": 8, "batch_size": 2, "num_epochs": 2, "normalise_values": True},
    "apex_dqn": {"unroll_length": 8, "batch_size": 16, "replay_capacity": 2000, "learning_starts": 40},
}
HERE = """
import json, os, signal, sys
sys.path.insert(0, {folder!r})
import torch
torch.set_num_threads(1)
from test_distributed import config, envs_of
from touchline import training
from touchline.run import Run

class Stop:
    def __call__(self, env_steps, metrics):
        if {stop} and int(os.environ["RANK"]) == 1:
            signal.raise_signal(signal.SIGTERM)
    def close(self):
        pass

made, original = [], Run.__init__
def remember(self, *arguments, **options):
    original(self, *arguments, **options)
    made.append(self)
Run.__init__ = remember
result = training.train(config({agent!r}, {out!r}), make_envs=envs_of, trackers=[Stop()])
torch.save({{"agent": made[0].agent.state_dict(), "steps": result["env_steps"], "interrupted": result["interrupted"],
            "obs": torch.as_tensor(made[0].obs[0].copy())}}, {out!r} + os.environ["RANK"] + ".pt")
"""


def config(agent, out, updates=6):
    return TrainConfig(
        scenario="toy", agent=agent, num_envs=8, total_steps=updates * 64, out=out, seed=3, agent_config=AGENTS[agent]
    )


def envs_of(share):
    return Corridor(num_envs=share.num_envs)


def two(agent, out, *, stop=False):
    """What both processes hold in the end."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    code = HERE.format(folder=str(Path(__file__).parent), agent=agent, out=str(out), stop=stop)
    common = {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    processes = [
        subprocess.Popen([sys.executable, "-c", code], env=os.environ | common | {"RANK": str(r), "LOCAL_RANK": str(r)})
        for r in range(2)
    ]
    assert [process.wait(timeout=120) for process in processes] == [0, 0]
    return [torch.load(f"{out}{r}.pt") for r in range(2)]


def leaves(state):
    if isinstance(state, dict):
        return [leaf for value in state.values() for leaf in leaves(value)]
    return [leaf for value in state for leaf in leaves(value)] if isinstance(state, list) else [state]


@pytest.mark.parametrize("agent", AGENTS)
def test_two_processes_end_with_the_same_learner_and_one_run_directory(agent, tmp_path):
    first, second = two(agent, tmp_path / "run")
    assert first["steps"] == second["steps"] == 6 * 64
    assert not torch.equal(first["obs"], second["obs"])  # of matches of their own
    pairs = list(zip(leaves(first["agent"]), leaves(second["agent"]), strict=True))
    assert len(pairs) > 10
    for a, b in pairs:
        assert torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b
    saved = checkpoint.load(tmp_path / "run" / "checkpoint.pt")
    assert saved["env_steps"] == 6 * 64
    assert json.loads(saved["config"])["num_envs"] == 8
    rows = (tmp_path / "run" / "metrics.csv").read_text().splitlines()
    assert len(rows) == 1 + 6
    alone = tmp_path / "alone"
    training.train(config(agent, str(alone)), make_envs=envs_of)
    weights = [checkpoint.load(run / "checkpoint.pt")["agent"]["net"] for run in (tmp_path / "run", alone)]
    assert any(not torch.equal(a, b) for a, b in zip(*(leaves(w) for w in weights), strict=True))


def test_a_signal_to_one_stops_both_with_a_checkpoint(tmp_path):
    first, second = two("ppo", tmp_path / "run", stop=True)
    assert first["interrupted"]
    assert second["interrupted"]
    assert first["steps"] == second["steps"] == 64
    assert checkpoint.load(tmp_path / "run" / "checkpoint.pt")["env_steps"] == 64


def test_gradients_are_the_mean_and_rows_are_everyones(tmp_path):
    code = """
import os, torch
from touchline import distributed
rank = distributed.rank()
with distributed.group("cpu"):
    p = torch.nn.Parameter(torch.zeros(2, 3)); q = torch.nn.Parameter(torch.zeros(1))
    p.grad, q.grad = torch.full((2, 3), 1.0 + rank), torch.tensor([10.0 * rank])
    distributed.average_gradients([p, q])
    assert torch.equal(p.grad, torch.full((2, 3), 1.5)) and q.grad.item() == 5.0
    rows = distributed.everyones(torch.arange(2 + rank)[:, None])
    assert rows[:, 0].tolist() == [0, 1, 0, 1, 2], rows
    assert distributed.anyone(rank == 1, "cpu") and not distributed.anyone(False, "cpu")
    assert distributed.mean(torch.tensor(float(rank))) == 0.5
"""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    common = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    processes = [
        subprocess.Popen([sys.executable, "-c", code], env=os.environ | common | {"RANK": str(r)}) for r in range(2)
    ]
    assert [process.wait(timeout=60) for process in processes] == [0, 0]


def test_envs_that_cannot_be_shared_equally_are_refused(monkeypatch, tmp_path):
    monkeypatch.setenv("WORLD_SIZE", "3")
    with pytest.raises(ValueError, match="num_envs to be a multiple of 3 processes, got 8"):
        training.train(config("ppo", str(tmp_path / "run")), make_envs=envs_of)


@pytest.mark.parametrize("fields", [{"bonus": ("rnd",)}, {"value_target": "adaptive_td"}])
def test_what_learns_in_one_process_alone_is_refused(monkeypatch, fields):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ValueError, match="in one process alone; do without torchrun"):
        share_of(TrainConfig(agent="ppo", num_envs=8, **fields).resolved())


def test_each_process_has_a_gpu_of_its_own(monkeypatch):
    from touchline import distributed

    assert distributed.local_device("cuda") == "cuda"
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert distributed.local_device("cuda") == "cuda:1"
    assert distributed.local_device("cpu") == "cpu"
    share = share_of(config("ppo", "run").resolved())
    assert share.num_envs == 4
    assert share.seed != 3


def test_a_resumed_process_draws_numbers_and_matches_that_no_other_does(monkeypatch, tmp_path):
    def made(rank, version, world=2):
        monkeypatch.setenv("WORLD_SIZE", str(world))
        monkeypatch.setenv("RANK", str(rank))
        settings = config("ppo", str(tmp_path)).resolved()
        share, seeds = share_of(settings), []

        class Watched(Corridor):
            def reset(self, *, seed=None, options=None):
                seeds.append(seed)
                return super().reset(seed=seed, options=options)

        run = Run(settings, [Watched(num_envs=share.num_envs)], share=share)
        saved = run.state_dict() if rank == 0 and version == 0 else made(0, 0)[0].state_dict()
        monkeypatch.setenv("RANK", str(rank))
        monkeypatch.setenv("WORLD_SIZE", str(world))
        run.load_state_dict(saved | {"version": version})
        return run, seeds[-1]

    runs = [made(0, 0), made(1, 5), made(1, 6), made(0, 5, world=1)]
    draws = [torch.rand(4, generator=run.generator).tolist() for run, _ in runs]
    assert len({tuple(draw) for draw in draws}) == 4
    assert len({seed for _, seed in runs}) == 4
    alone, _ = runs[-1]
    assert alone.obs[0].shape[0] == 8  # all matches, where the checkpoint holds four
    next(alone.updates())
