"""The loop: run directories, resuming bitwise, interrupts, presets, bonuses."""

import csv
import errno
import importlib
import json
import signal
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))
from toy_envs import SPEC, Corridor, ObservationAction, ToyEnv

import touchline.curiosity
from touchline import checkpoint, distributed, exploration, plugins, training
from touchline.agents import impala, ppo
from touchline.benchmarks import presets
from touchline.processes import alone
from touchline.run import Run, begin_with
from touchline.sharing import make_actor, parts_of
from touchline.tracking import CsvTracker, EpisodeStatistics, ProgressBar, ProgressLines, progress
from touchline.train_config import config_of
from touchline.training import TrainConfig, resume, train
from touchline.types import EnvSpec

AGENT = {
    "unroll_length": 8,
    "num_epochs": 2,
    "minibatch_size": 32,
    "policy_hidden": (8,),
    "value_hidden": (8,),
    "anneal_learning_rate": False,
}
UPDATE = 8 * 8  # env steps


def toy(_config):
    return Corridor(num_envs=8)


def config(out, updates=4, **fields):
    fields.setdefault("agent_config", AGENT)
    return TrainConfig(scenario="toy", out=str(out), total_steps=updates * UPDATE, seed=5, **fields)


def weights(run):
    state = checkpoint.load(Path(run, "checkpoint.pt"))
    return torch.cat([w.double().flatten() for w in state["agent"]["net"].values()])


def read(folder):
    with open(folder / "metrics.csv", newline="") as file:
        return list(csv.DictReader(file))


def everything(state):
    """The leaves of a checkpoint, paths of the run directory aside."""
    if isinstance(state, dict):
        return [leaf for k, v in sorted(state.items(), key=str) if k != "config" for leaf in everything(v)]
    if isinstance(state, list | tuple):
        return [leaf for v in state for leaf in everything(v)]
    return [state]


def same(first, second):
    pairs = zip(everything(first), everything(second), strict=True)
    return all(torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b for a, b in pairs)


def test_a_run_directory_holds_what_was_promised(tmp_path):
    result = train(config(tmp_path / "run"), make_envs=toy)
    assert result["run"] == tmp_path / "run"
    assert (result["env_steps"], result["interrupted"]) == (4 * UPDATE, False)
    assert result["env_steps_per_second"] > 0
    names = {p.name for p in result["run"].iterdir()}
    assert {"config.json", "metrics.csv", "checkpoint.pt"} <= names
    assert any(name.startswith("events.out.tfevents") for name in names)
    saved = json.loads((result["run"] / "config.json").read_text())
    assert (saved["agent"], saved["seed"], saved["agent_config"]["unroll_length"]) == ("ppo", 5, 8)
    rows = read(result["run"])
    assert [int(row["env_steps"]) for row in rows] == [UPDATE * i for i in (1, 2, 3, 4)]
    for name in ("train/approx_kl", "time/env_steps_per_second", "episode/return", "episode/success_rate"):
        assert rows[-1][name]


@pytest.mark.parametrize("options", [{}, {"normalise_values": True}, {"value_target": "vtrace"}], ids=str)
def test_stopping_and_resuming_changes_no_bit(tmp_path, options):
    settings = AGENT | options
    whole = config(tmp_path / "whole", 6, agent_config=settings)
    train(whole, make_envs=toy)
    train(replace(whole, out=str(tmp_path / "parts"), total_steps=3 * UPDATE), make_envs=toy)
    resume(tmp_path / "parts", total_steps=6 * UPDATE, make_envs=toy)
    first, second = (checkpoint.load(tmp_path / name / "checkpoint.pt") for name in ("whole", "parts"))
    assert same(first, second)


def test_another_seed_would_have_been_noticed(tmp_path):
    train(config(tmp_path / "a"), make_envs=toy)
    train(replace(config(tmp_path / "b"), seed=6), make_envs=toy)
    assert not torch.equal(weights(tmp_path / "a"), weights(tmp_path / "b"))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_resumes_as_if_nothing_had_happened(tmp_path, number, caplog):
    class Interrupted(Corridor):
        def step(self, actions):
            if self.steps == 13:  # in the middle of the second rollout
                signal.raise_signal(number)
            return super().step(actions)

    annealed = AGENT | {"anneal_learning_rate": True}
    train(config(tmp_path / "whole", agent_config=annealed), make_envs=toy)
    settings = config(tmp_path / "parts", agent_config=annealed)
    result = train(settings, make_envs=lambda _: Interrupted(num_envs=8))
    assert (result["interrupted"], result["env_steps"]) == (True, 2 * UPDATE)
    assert str(tmp_path / "parts" / "checkpoint.pt") in caplog.text
    result = resume(tmp_path / "parts", make_envs=toy)
    assert (result["interrupted"], result["env_steps"]) == (False, 4 * UPDATE)
    first, second = (checkpoint.load(tmp_path / name / "checkpoint.pt") for name in ("whole", "parts"))
    assert same(first, second)


def test_metrics_go_on_in_the_same_file(tmp_path):
    train(config(tmp_path / "run", 2), make_envs=toy)
    with open(tmp_path / "run" / "metrics.csv", "a") as file:
        file.write("9999\n")  # a row of after the checkpoint, as a crash leaves it
    resume(tmp_path / "run", total_steps=4 * UPDATE, make_envs=toy)
    rows = read(tmp_path / "run")
    assert [int(row["env_steps"]) for row in rows] == [UPDATE * i for i in (1, 2, 3, 4)]


def test_a_run_cannot_be_made_shorter_than_it_is(tmp_path):
    train(config(tmp_path / "run", 4), make_envs=toy)
    with pytest.raises(ValueError, match="steps already; expected more of them, got total_steps"):
        resume(tmp_path / "run", total_steps=2 * UPDATE, make_envs=toy)
    assert json.loads((tmp_path / "run" / "config.json").read_text())["total_steps"] == 4 * UPDATE


def test_a_second_run_in_the_same_directory_is_refused(tmp_path):
    train(config(tmp_path / "run"), make_envs=toy)
    before = weights(tmp_path / "run")
    with pytest.raises(FileExistsError, match="holds a run already: go on with --resume"):
        train(config(tmp_path / "run"), make_envs=toy)
    assert torch.equal(before, weights(tmp_path / "run"))


def test_the_directory_is_claimed_before_anything_is_made_or_read(tmp_path):
    def refuse(_config):
        raise AssertionError("matches were made")

    train(config(tmp_path / "old"), make_envs=toy)
    for name, begin in (
        ("new", lambda run: train(config(run), make_envs=refuse)),
        ("old", lambda run: resume(run, total_steps=100 * UPDATE, make_envs=refuse)),
    ):
        with alone(tmp_path / name, "the training"), pytest.raises(ValueError, match="another process is at"):
            begin(tmp_path / name)
    with pytest.raises(checkpoint.CheckpointError, match="no checkpoint at"):
        resume(tmp_path / "wrong")
    assert {path.name for path in tmp_path.iterdir()} == {"old"}


def test_a_config_is_never_half_written(tmp_path, monkeypatch):
    train(config(tmp_path / "run"), make_envs=toy)
    before = (tmp_path / "run" / "config.json").read_text()

    def fill(path, text, **options):
        with path.open("w") as file:
            file.write(text[: len(text) // 2])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_text", fill)
    with pytest.raises(OSError, match="No space"):
        resume(tmp_path / "run", total_steps=100 * UPDATE, make_envs=toy)
    assert (tmp_path / "run" / "config.json").read_text() == before


def test_checkpoints_come_at_the_interval(tmp_path, monkeypatch):
    saves = []
    original = checkpoint.save
    monkeypatch.setattr(checkpoint, "save", lambda *a: (saves.append(a[1]["env_steps"]), original(*a)))
    train(config(tmp_path / "run", 5, checkpoint_interval=2 * UPDATE), make_envs=toy)
    assert saves == [2 * UPDATE, 4 * UPDATE, 5 * UPDATE]


def test_trackers_and_envs_are_closed_even_when_a_tracker_fails(tmp_path):
    closed = []

    class Env(Corridor):
        def close(self, **_options):
            closed.append("envs")

    class Failing:
        def __call__(self, env_steps, metrics):
            raise RuntimeError("no")

        def close(self):
            closed.append("tracker")

    with pytest.raises(RuntimeError, match="no"):
        train(config(tmp_path / "run"), make_envs=lambda _: Env(8), trackers=[Failing()])
    assert sorted(closed) == ["envs", "tracker"]


def test_a_trained_policy_acts_as_the_agent_did(tmp_path):
    envs = Corridor(num_envs=8, num_players=2)
    train(config(tmp_path / "run"), make_envs=lambda _: envs)
    policy = checkpoint.load_policy(tmp_path / "run")
    assert (policy.observation, policy.action_set) == ("egocentric", "default")
    obs, _ = envs.reset(seed=1)
    actions = policy.act(obs)
    assert actions.shape == (8, 2)
    assert (policy.act(obs[:, 0]) == actions[:, 0]).all()
    sampling = checkpoint.load_policy(tmp_path / "run", greedy=False, seed=3)
    assert sampling.act(obs).shape == (8, 2)
    with pytest.raises(ValueError, match="expected observations"):
        policy.act(np.zeros((8, 4), np.float32))


# Presets and configs.


@pytest.mark.parametrize("name", sorted(presets.PRESETS))
def test_every_preset_is_a_valid_config(name):
    resolved = TrainConfig(preset=name).resolved()
    module = plugins.load("agents", resolved.agent)
    config_of(module.Config, resolved.agent_config)
    assert resolved.resolved() == resolved
    assert None not in (resolved.observation, resolved.rewards, resolved.num_envs)


def test_the_paper_presets_hold_the_published_numbers():
    scoring = TrainConfig(preset="ppo_paper_scoring").resolved()
    made = config_of(ppo.Config, scoring.agent_config)
    assert (scoring.num_envs, made.unroll_length, made.num_epochs, made.minibatch_size) == (16, 512, 2, 2048)
    assert (made.learning_rate, made.clip_coef, made.gamma) == (1.1879e-4, 0.115, 0.997)
    assert (made.entropy_coef, made.max_grad_norm, made.gae_lambda) == (0.00155, 0.76, 0.95)
    checkpoints = TrainConfig(preset="ppo_paper_checkpoints").resolved()
    made = config_of(ppo.Config, checkpoints.agent_config)
    assert checkpoints.rewards == ("scoring", "checkpoints")
    assert (made.learning_rate, made.clip_coef, made.gamma, made.minibatch_size) == (
        3.43e-4,
        0.08,
        0.993,
        1024,
    )
    assert (made.entropy_coef, made.max_grad_norm) == (0.003, 0.64)


def test_the_paper_presets_of_impala_hold_the_published_numbers():
    for rewards, lam, learning_rate, entropy in (
        ("scoring", 0.9, 5.534e-5, 3.195e-5),
        ("checkpoints", 1.0, 1.2542e-4, 7.331e-4),
    ):
        resolved = TrainConfig(preset=f"impala_paper_{rewards}").resolved()
        made = config_of(impala.Config, resolved.agent_config)
        assert (resolved.num_envs, made.unroll_length, made.batch_size, made.gamma) == (200, 32, 32, 0.997)
        assert (made.gae_lambda, made.learning_rate, made.entropy_coef) == (lam, learning_rate, entropy)
        assert (made.value_coef, made.rho_bar, made.c_bar, made.shared_encoder) == (0.5, 1.0, 1.0, True)


def test_an_agent_without_a_preset_gets_its_own():
    assert TrainConfig().resolved().preset == "ppo_cpu"
    resolved = TrainConfig(agent="impala").resolved()
    assert (resolved.preset, resolved.agent) == ("impala_cpu", "impala")
    assert resolved.agent_config == presets.load("impala_cpu").agent_config


def test_what_is_given_goes_before_the_preset():
    resolved = TrainConfig(num_envs=3, rewards=("scoring",), agent_config={"gamma": 0.9}).resolved()
    assert (resolved.num_envs, resolved.rewards) == (3, ("scoring",))
    assert resolved.agent_config["gamma"] == 0.9
    assert resolved.agent_config["num_epochs"] == presets.load("ppo_cpu").agent_config["num_epochs"]


def test_unknown_names_say_what_exists(tmp_path):
    with pytest.raises(ValueError, match="no 'dqn' in presets; there are .*ppo_cpu"):
        TrainConfig(preset="dqn").resolved()
    with pytest.raises(ValueError, match="no lr in Config; there are unroll_length"):
        train(config(tmp_path / "run", agent_config={"lr": 1.0}), make_envs=toy)
    with pytest.raises(ValueError, match="no 'dqn' in agents; there are"):
        train(config(tmp_path / "run", agent="dqn"), make_envs=toy)
    assert not (tmp_path / "run").exists()


# Bonuses.


STEPS = '''"""Pays for action 0 and carries, per column, how many steps it has seen."""

from dataclasses import dataclass

import torch

from touchline.types import Stream


@dataclass(frozen=True)
class Config:
    coef: float = 0.5


class CountSteps:
    def __init__(self, coef):
        self.streams = (Stream("novelty", gamma=0.9, coef=coef),)
        self.updates = 0

    def initial_carry(self, num_columns):
        return torch.zeros(num_columns)

    def reward(self, rollout, carry):
        return {"novelty": 1.0 - rollout.action.float()}, carry + len(rollout.action)

    def update(self, rollout):
        self.updates += 1
        return {"novelty/updates": float(self.updates)}

    def state_dict(self):
        return {"updates": self.updates}

    def load_state_dict(self, state):
        self.updates = state["updates"]


def make(spec, config, *, seed, device):
    return CountSteps(config.coef)
'''


@pytest.fixture
def steps_bonus(tmp_path, monkeypatch):
    """A bonus that is one file, put where the exploration modules lie."""
    folder = tmp_path / "more"
    folder.mkdir()
    (folder / "steps.py").write_text(STEPS)
    monkeypatch.setattr(touchline.curiosity, "__path__", [*touchline.curiosity.__path__, str(folder)])
    monkeypatch.delitem(sys.modules, "touchline.curiosity.steps", raising=False)
    importlib.invalidate_caches()


def test_a_bonus_gets_a_stream_and_its_state_and_carry_are_resumed(tmp_path, steps_bonus):
    settings = config(tmp_path / "whole", 6, bonus=("steps",), bonus_config={"steps": {"coef": 1.0}})
    result = train(settings, make_envs=toy)
    assert result["metrics"]["novelty/updates"] == 6
    assert 0 <= result["metrics"]["reward/novelty"] <= 1
    assert "train/explained_variance_novelty" in result["metrics"]
    train(replace(settings, out=str(tmp_path / "parts"), total_steps=3 * UPDATE), make_envs=toy)
    resume(tmp_path / "parts", total_steps=6 * UPDATE, make_envs=toy)
    first, second = (checkpoint.load(tmp_path / name / "checkpoint.pt") for name in ("whole", "parts"))
    assert same(first, second)
    assert second["carries"]["steps"][0].tolist() == [48.0] * 8
    assert checkpoint.load_policy(tmp_path / "whole").act(np.zeros((2, 3), np.float32)).shape == (2,)


def test_a_wrong_bonus_says_which_there_are_and_fields_of_a_bonus_that_was_not_asked_for_are_refused(tmp_path):
    with pytest.raises(ValueError, match="no 'curious' among bonus modules; there are count, episodic_curiosity, icm"):
        train(config(tmp_path / "a", bonus=("curious",)), make_envs=toy)
    with pytest.raises(
        ValueError, match="no 'count' among value target modules; there are gae, n_step, vtrace, adaptive_td"
    ):
        train(config(tmp_path / "b", value_target="count"), make_envs=toy)
    with pytest.raises(ValueError, match="bonus_config of rnd, but not bonus: give --bonus rnd too"):
        train(config(tmp_path / "c", bonus_config={"rnd": {"coef": 1.0}}), make_envs=toy)
    with pytest.raises(ValueError, match="no colour in Config; there are coef"):
        train(config(tmp_path / "d", bonus=("rnd",), bonus_config={"rnd": {"colour": 1.0}}), make_envs=toy)


def test_random_play_before_a_training_counts_as_steps_of_it(tmp_path):
    curious = {"train": "offline", "random_steps": 1500, "batch_size": 32, "k": 1, "gamma_neg": 1}
    fields = {"bonus": ("episodic_curiosity",), "bonus_config": {"episodic_curiosity": curious}}
    result = train(config(tmp_path / "a", 40, **fields), make_envs=toy)
    rows = (tmp_path / "a" / "metrics.csv").read_text().splitlines()
    played = exploration.RANDOM_UNROLL * 8 * 2  # whole rollouts of eight walks
    assert played == 2048 and result["env_steps"] >= 40 * UPDATE
    assert len(rows) - 1 == -(-(40 * UPDATE - played) // UPDATE)


class LongMatches(ToyEnv):
    """Nothing happens for 40 steps."""

    truncates_after = 40

    def pay(self, action):
        return np.zeros(len(action))


def test_staggered_matches_stand_at_different_minutes_and_the_others_at_the_same(tmp_path):
    def minutes(stagger):
        envs = LongMatches(num_envs=8)
        run = Run(config(tmp_path, stagger=stagger).resolved(), [envs])
        run.stagger()
        assert run.env_steps == 8 * stagger
        assert np.allclose(run.obs[0][:, 2] * 10, envs.time)
        return envs.time.tolist()

    assert minutes(0) == [0] * 8
    assert minutes(40) == [0, 35, 30, 25, 20, 15, 10, 5]  # the first match has just begun anew


def test_halves_and_processes_stagger_their_matches_together(tmp_path, monkeypatch):
    minutes = []
    monkeypatch.setattr(distributed, "world_size", lambda: 2)
    for rank in range(2):
        monkeypatch.setattr(distributed, "rank", lambda rank=rank: rank)
        halves = [LongMatches(num_envs=2), LongMatches(num_envs=2)]
        run = Run(config(tmp_path, stagger=40).resolved(), halves)
        run.stagger()
        assert run.env_steps == 2 * 4 * 40
        minutes += [*halves[0].time.tolist(), *halves[1].time.tolist()]
    assert minutes == [0, 35, 30, 25, 20, 15, 10, 5]


class WorthNothing(Corridor):
    """Pays what is no number once 40 steps are over."""

    def pay(self, action):
        return super().pay(action) * (np.nan if self.steps > 40 else 1.0)


@pytest.mark.parametrize("agent", ["ppo", "impala"])
def test_a_training_that_has_lost_its_networks_ends_and_keeps_the_last_good_ones(agent, tmp_path):
    fields = {"agent": agent, "checkpoint_interval": UPDATE, "bonus": ()}
    own = {name: x for name, x in AGENT.items() if agent == "ppo" or name not in ("minibatch_size",)}
    with pytest.raises(FloatingPointError, match="is nan after 320 environment steps"):
        train(config(tmp_path / "run", 20, agent_config=own, **fields), make_envs=lambda _: WorthNothing(num_envs=8))
    saved = checkpoint.load(tmp_path / "run/checkpoint.pt")
    assert saved["env_steps"] == 320
    assert all(w.isfinite().all() for w in saved["agent"]["net"].values())


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ({"bonus": "rnd"}, "bonus: expected a list, of text each, got 'rnd'"),
        ({"total_steps": 1e6}, "total_steps: expected a whole number, got 1000000.0"),
        ({"seed": True}, "seed: expected a whole number"),
        ({"stack": "4"}, "stack: expected a whole number or None, got '4'"),
        ({"rewards": {"scoring": float("nan")}}, "rewards: expected a list, of text each or a mapping or None"),
        ({"agent_config": 3}, "agent_config: expected a mapping"),
    ],
)
def test_values_of_another_type_are_refused(values, problem):
    with pytest.raises(ValueError, match=problem):
        config_of(TrainConfig, values)


def test_numbers_that_are_not_finite_are_refused(tmp_path):
    with pytest.raises(ValueError, match="entropy_coef: expected a finite number, got nan"):
        train(config(tmp_path / "run", agent_config=AGENT | {"entropy_coef": float("nan")}), make_envs=toy)
    with pytest.raises(ValueError, match="coef: expected a finite number, got 'abc'"):
        train(config(tmp_path / "run", bonus=("rnd",), bonus_config={"rnd": {"coef": "abc"}}), make_envs=toy)
    with pytest.raises(ValueError, match="hidden: expected a list, of a whole number each, got 64"):
        train(config(tmp_path / "run", bonus=("icm",), bonus_config={"icm": {"hidden": 64}}), make_envs=toy)


@pytest.mark.parametrize("bonus", ["rnd", "icm", "episodic_curiosity"])
def test_a_bonus_without_a_batch_is_refused(bonus):
    with pytest.raises(ValueError, match="batch_size: expected at least 1, got 0"):
        config_of(plugins.load("curiosity", bonus).Config, {"batch_size": 0})


def test_a_training_on_no_threads_is_refused():
    with pytest.raises(ValueError, match="expected torch_threads of at least 1, got 0"):
        TrainConfig(torch_threads=0)


def test_a_discount_is_a_share(tmp_path):
    with pytest.raises(ValueError, match="gamma of count: expected 0 to 1, got 1.5"):
        train(config(tmp_path / "run", bonus=("count",), bonus_config={"count": {"gamma": 1.5}}), make_envs=toy)


def test_a_wrong_value_target_is_told_of_all_there_are():
    with pytest.raises(
        ValueError, match="no .foo. among value target modules; there are gae, n_step, vtrace, adaptive_td"
    ):
        exploration.load_kind("foo", "value_target")


def test_a_training_too_short_to_learn_from_replay_says_so(tmp_path, caplog):
    short = {"agent": "apex_dqn", "agent_config": {"learning_starts": 100, "hidden": (8,), "unroll_length": 8}}
    for updates, told in ((1, True), (4, False)):
        caplog.clear()
        train(config(tmp_path / str(updates), updates, **short), make_envs=toy)
        assert ("apex_dqn will learn nothing" in caplog.text) == told


def test_a_folder_of_sb3_s_is_not_written_over(tmp_path):
    (tmp_path / training.SB3_MODEL).touch()
    with pytest.raises(FileExistsError, match="holds a run already"):
        train(config(tmp_path), make_envs=toy)


def test_a_gpu_steps_in_halves_where_there_are_two():
    assert TrainConfig(device="cuda", num_envs=4).resolved().double_buffer
    assert not TrainConfig(device="cuda", num_envs=3).resolved().double_buffer
    with pytest.raises(ValueError, match="even num_envs"):
        TrainConfig(device="cuda", num_envs=3, double_buffer=True)


def test_beginning_with_a_run_makes_all_statistics_of_observations_movable(tmp_path):
    spec = EnvSpec(observation_shape=(6,), observation_dtype="float32", num_actions=5, central=2)
    own = AGENT | {"central_critic": True}
    before, after = (exploration.assemble(config(tmp_path, agent_config=own).resolved(), spec).agent for _ in range(2))
    counts = [name for name in before.net.state_dict() if name.endswith("normaliser.count")]
    assert len(counts) == 2, "the player's and the critic's"
    for name in counts:
        before.net.state_dict()[name].fill_(5e8)
    checkpoint.save(tmp_path / "checkpoint.pt", {"agent": before.state_dict()})
    begin_with(after, str(tmp_path))
    assert all(after.net.state_dict()[name] == 1e6 for name in counts)


def test_a_value_target_module_takes_discount_trace_and_inner_target_from_the_agent(tmp_path):
    own = {"value_target": "n_step", "gamma": 0.7, "gae_lambda": 0.6, "n_step": 3}
    made = exploration.assemble(config(tmp_path, 3, value_target="adaptive_td", agent_config=own).resolved(), SPEC)
    target = made.agent.value_target.config
    assert (target.inner, target.gamma, target.lam, target.n_step) == ("n_step", 0.7, 0.6, 3)
    with pytest.raises(ValueError, match=r"its gamma is the agent's, 0\.7; give --gamma 0\.9"):
        other = config(tmp_path, 3, value_target="adaptive_td", value_target_config={"gamma": 0.9}, agent_config=own)
        train(other, make_envs=toy)
    given = {"inner": "td0", "colour": 1}
    with pytest.raises(ValueError, match="no colour in Config"):
        train(config(tmp_path, 3, value_target="adaptive_td", value_target_config=given), make_envs=toy)
    for target in (None, "gae"):
        with pytest.raises(ValueError, match="value_target_config of lam, but no value_target that is a module"):
            train(config(tmp_path, 3, value_target=target, value_target_config={"lam": 0.1}), make_envs=toy)


# Actors that play while the agent learns.

OFF_POLICY = {
    "num_epochs": 1,
    "unroll_length": 8,
    "batch_size": 4,
    "learning_rate": 0.01,
    "gamma": 0.5,
    "entropy_coef": 0.0,
    "policy_hidden": (16,),
    "value_hidden": (16,),
    "shared_encoder": False,
    "anneal_learning_rate": False,
}


QUICK = {
    "ppo": AGENT,
    "impala": OFF_POLICY,
    "apex_dqn": {"unroll_length": 8, "hidden": (16,), "learning_starts": 64, "batch_size": 16, "replay_capacity": 512},
}


def asynchronous(out, updates, **fields):
    fields = {"agent": "impala", "num_actors": 2, "num_envs": 8, "agent_config": OFF_POLICY} | fields
    return config(out, updates, **fields)


def test_actors_that_lag_teach_impala_what_pays(tmp_path):
    result = train(asynchronous(tmp_path / "run", 150), make_envs=lambda c: ObservationAction(num_envs=c.num_envs))
    assert result["metrics"]["episode/return"] > 0.8
    assert result["env_steps"] >= 150 * UPDATE
    assert 0 <= result["metrics"]["train/policy_lag"] <= 8
    assert max(float(row["train/policy_lag"]) for row in read(tmp_path / "run")) > 0


def test_an_asynchronous_run_resumes_with_all_that_the_learner_had(tmp_path):
    def make(c):
        return Corridor(num_envs=c.num_envs)

    train(asynchronous(tmp_path / "run", 5), make_envs=make)
    before = checkpoint.load(tmp_path / "run/checkpoint.pt")
    assert before["env_states"] == []
    assert before["version"] == before["env_steps"] // (4 * 8)
    result = resume(tmp_path / "run", total_steps=9 * UPDATE, make_envs=make)
    after = checkpoint.load(tmp_path / "run/checkpoint.pt")
    assert after["env_steps"] == result["env_steps"] >= 9 * UPDATE
    assert after["version"] == after["env_steps"] // (4 * 8)
    steps = [state["step"].item() for state in after["agent"]["optimiser"]["state"].values()]
    assert steps == [after["version"]] * len(steps)


def test_every_actor_and_every_resumption_begins_with_other_matches(tmp_path):
    settings = asynchronous(tmp_path / "run", 1).resolved()
    seen = []

    class Watched(Corridor):
        def reset(self, *, seed=None, options=None):
            seen.append(seed)
            return super().reset(seed=seed, options=options)

    for version in (0, 0, 7):
        training.Run(settings, [Corridor()], make_envs=lambda c: Watched(num_envs=c.num_envs), version=version)
    assert seen[:2] == seen[2:4]
    assert len(set(seen)) == 4


def test_a_failing_actor_ends_the_training_with_its_error_a_checkpoint_and_closed_envs(tmp_path):
    closed = []

    class Broken(Corridor):
        def step(self, actions):
            if self.steps == 80:
                raise RuntimeError("the pitch is flooded")
            return super().step(actions)

        def close(self):
            closed.append(self)

    with pytest.raises(RuntimeError, match="the pitch is flooded"):
        train(asynchronous(tmp_path / "run", 100), make_envs=lambda c: Broken(num_envs=c.num_envs))
    assert checkpoint.load(tmp_path / "run/checkpoint.pt")["env_steps"] >= UPDATE
    assert len(closed) == 3  # of two actors, and the one that tells the shapes


def test_another_agent_than_the_presets_gets_no_actors():
    assert TrainConfig(preset="impala_paper_scoring", agent="ppo").resolved().num_actors == 0
    assert TrainConfig(preset="impala_paper_scoring").resolved().num_actors == 2


def test_what_actors_cannot_do_is_refused(tmp_path):
    with pytest.raises(ValueError, match="this value target takes the play of an older policy for the newest's"):
        train(asynchronous(tmp_path / "c", 1, value_target="gae"), make_envs=lambda c: Corridor(num_envs=c.num_envs))
    with pytest.raises(ValueError, match="a multiple of num_actors, got 8 and -2"):
        asynchronous(tmp_path / "d", 1, num_actors=-2)
    with pytest.raises(ValueError, match="this agent learns from its newest policy's play alone"):
        train(asynchronous(tmp_path / "a", 1, agent="ppo", agent_config=AGENT), make_envs=toy)
    with pytest.raises(ValueError, match="a multiple of num_actors, got 8 and 3"):
        asynchronous(tmp_path / "b", 1, num_actors=3)
    with pytest.raises(ValueError, match="no 'fork' in actors; there are thread, process, ray"):
        asynchronous(tmp_path / "e", 1, actors="fork")


def test_a_training_that_random_play_would_use_up_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"random play takes 512 steps, and the whole training has 512"):
        train(config(tmp_path / "run", updates=8, stagger=64), make_envs=toy)
    assert not (tmp_path / "run/checkpoint.pt").exists()


def test_seeds_that_evaluations_play_are_not_for_training():
    with pytest.raises(ValueError, match="expected a seed from 0 to 899,999,999, got 1000000000"):
        TrainConfig(seed=1_000_000_000)
    with pytest.raises(ValueError, match="got -1"):
        TrainConfig(seed=-1)


# Halves, devices, precision.


def halves(config):
    return Corridor(num_envs=config.num_envs)


def test_two_halves_in_turns_learn_and_resume_bitwise(tmp_path):
    settings = {"double_buffer": True, "num_envs": 8}
    train(config(tmp_path / "whole", updates=6, **settings), make_envs=halves)
    train(config(tmp_path / "parts", updates=3, **settings), make_envs=halves)
    resume(tmp_path / "parts", total_steps=6 * UPDATE, make_envs=halves)
    first, second = (checkpoint.load(tmp_path / name / "checkpoint.pt") for name in ("whole", "parts"))
    assert same(first, second)
    assert len(first["env_states"]) == 8


def test_a_memory_is_resumed_bitwise_and_forgets_where_episodes_begin(tmp_path):
    fields = OFF_POLICY | {"lstm": 8, "shared_encoder": True}
    settings = {"agent": "impala", "num_actors": 0, "num_envs": 8, "agent_config": fields}
    train(config(tmp_path / "whole", updates=6, **settings), make_envs=toy)
    train(config(tmp_path / "parts", updates=3, **settings), make_envs=toy)
    resume(tmp_path / "parts", total_steps=6 * UPDATE, make_envs=toy)
    first, second = (checkpoint.load(tmp_path / name / "checkpoint.pt") for name in ("whole", "parts"))
    assert same(first, second)

    policy, obs = checkpoint.load_policy(tmp_path / "whole", greedy=True), np.ones((4, 3), np.float32)
    policy.begin(np.ones(4, bool), np.arange(4))
    policy.act(obs)
    fresh = policy._state.clone()
    policy.act(obs)
    remembered = policy._state.clone()
    policy.begin(np.array([True, False, True, False]), np.arange(4))
    policy.act(obs)
    assert torch.equal(policy._state[:, 0], fresh[:, 0])
    assert not torch.equal(policy._state[:, 1], fresh[:, 1])
    assert not torch.equal(remembered, fresh)


def test_halves_are_alternated_only_on_a_gpu_unless_told_otherwise():
    assert TrainConfig().resolved().double_buffer is False
    assert TrainConfig(device="cuda:0").resolved().double_buffer is True
    assert TrainConfig(device="cuda", double_buffer=False).resolved().double_buffer is False
    with pytest.raises(ValueError, match="expected an even num_envs to step in two halves, got 7"):
        TrainConfig(double_buffer=True, num_envs=7)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_refused_in_words(tmp_path):
    with pytest.raises(ValueError, match="device 'cuda': torch .* take device='cpu'"):
        train(config(tmp_path / "run", device="cuda", num_envs=8), make_envs=halves)


@pytest.mark.parametrize("agent", ["ppo", "impala", "apex_dqn"])
def test_every_agent_trains_in_bfloat16(tmp_path, agent):
    settings = {"agent": agent, "agent_config": QUICK[agent], "mixed_precision": True}
    result = train(config(tmp_path / "run", updates=8, **settings), make_envs=halves)
    assert result["metrics"]["train/gradient_steps"] > 0
    losses = [value for name, value in result["metrics"].items() if name.endswith(("loss", "grad_norm"))]
    assert losses and np.isfinite(losses).all()


@pytest.mark.parametrize("agent", ["ppo", "impala"])
def test_a_gradient_step_in_bfloat16_starts_from_the_weights_of_the_one_before(tmp_path, agent):
    fields = QUICK[agent] | {"num_epochs": 8, "learning_rate": 3e-3}
    settings = config(tmp_path, agent=agent, num_envs=8, agent_config=fields).resolved()

    def moved(**changes):
        metrics = next(Run(replace(settings, **changes), [Corridor(num_envs=8)]).updates()).metrics
        assert metrics["train/gradient_steps"] >= 16
        return metrics["train/approx_kl"]

    assert moved(mixed_precision=True) == pytest.approx(moved(), rel=0.02)


@pytest.mark.slow
def test_a_compiled_update_is_the_plain_one(tmp_path):
    settings = config(tmp_path, num_envs=8).resolved()
    plain, compiled = (
        next(Run(replace(settings, compile=compile), [Corridor(num_envs=8)]).updates()).metrics
        for compile in (False, True)
    )
    for name in ("train/approx_kl", "train/policy_loss", "train/value_loss", "train/entropy"):
        assert compiled[name] == pytest.approx(plain[name], rel=1e-3, abs=1e-6), name


def test_a_memory_is_not_compiled(tmp_path):
    fields = AGENT | {"lstm": 8, "shared_encoder": True}
    with pytest.raises(ValueError, match="lstm must be 0"):
        train(config(tmp_path / "run", agent_config=fields, compile=True), make_envs=toy)


def test_actors_step_no_halves_beside_a_gpu_s_learner():
    settings = asynchronous("run", 1, device="cuda", double_buffer=None, num_envs=6).resolved()
    assert settings.double_buffer is False
    for double_buffer in (False, True):
        assert [part.num_envs for part in parts_of(replace(settings, double_buffer=double_buffer))] == [1]
    odd = replace(settings, double_buffer=True, device="cpu")
    actor = make_actor(odd, halves, impala.Config(**OFF_POLICY), {}, index=0, version=0)
    assert actor.envs.num_envs == 3


@pytest.mark.gpu
@pytest.mark.parametrize("agent", ["ppo", "impala", "apex_dqn"])
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
def test_every_agent_trains_on_a_gpu(tmp_path, agent):
    settings = {"agent": agent, "num_envs": 8, "agent_config": QUICK[agent], "device": "cuda"}
    result = train(config(tmp_path / "run", updates=8, **settings), make_envs=halves)
    assert result["metrics"]["train/gradient_steps"] > 0
    resume(tmp_path / "run", total_steps=12 * UPDATE, make_envs=halves)


# Statistics and trackers.


def test_statistics_are_means_over_the_last_episodes():
    statistics = EpisodeStatistics(window=3)
    assert statistics({}) == {}
    episodes = {
        "r": np.array([9.0, 1.0, 2.0]),
        "l": np.array([9, 10, 20]),
        "goals_left": np.array([9, 1, 0]),
        "goals_right": np.array([0, 1, 2]),
    }
    statistics(episodes)
    metrics = statistics({k: v[-1:] for k, v in episodes.items()})
    assert metrics["episode/count"] == 4
    assert metrics["episode/return"] == pytest.approx(5 / 3)
    assert metrics["episode/length_steps"] == pytest.approx(50 / 3)
    assert metrics["episode/success_rate"] == 0.0
    assert metrics["score/goal_difference_per_game"] == pytest.approx(-4 / 3)


def test_a_metric_that_turns_up_later_becomes_a_column(tmp_path):
    tracker = CsvTracker(tmp_path / "metrics.csv")
    tracker(1, {"a": 1.0})
    tracker(2, {"a": 2.0, "b": 3.0})
    tracker(3, {"b": 4.0})
    tracker.close()
    rows = [tuple(row.values()) for row in read(tmp_path)]
    assert rows == [("1", "1", ""), ("2", "2", "3"), ("3", "", "4")]


# The engine.


@pytest.mark.engine
def test_a_run_on_the_engine_resumes_bitwise(tmp_path):
    whole = TrainConfig(
        scenario="academy_empty_goal_close",
        num_envs=2,
        reset_pool=2,
        total_steps=4 * 80,
        seed=3,
        out=str(tmp_path / "whole"),
        agent_config=AGENT | {"unroll_length": 40},
    )
    assert train(whole)["metrics"]["episode/count"] > 0
    train(replace(whole, out=str(tmp_path / "parts"), total_steps=2 * 80))
    resume(tmp_path / "parts", total_steps=4 * 80)
    first, second = (checkpoint.load(tmp_path / name / "checkpoint.pt") for name in ("whole", "parts"))
    assert torch.equal(weights(tmp_path / "whole"), weights(tmp_path / "parts"))
    assert same(first["agent"], second["agent"])
    assert same(first["statistics"], second["statistics"])


def test_a_bar_leaves_the_terminal_alone_until_there_is_progress():
    bar = ProgressBar(400)
    assert not bar.progress.live.is_started, "a training that is refused never closes it"
    bar(100, {})
    assert bar.progress.live.is_started
    bar.close()
    assert not bar.progress.live.is_started


def test_progress_in_a_file_is_a_line_at_first_after_every_interval_and_at_the_end(capsys, monkeypatch):
    shown = progress(400)  # the output is captured, so no terminal
    assert isinstance(shown, ProgressLines)
    now = [1000.0]
    monkeypatch.setattr("touchline.tracking.time.monotonic", lambda: now[0])
    for steps in (100, 200, 300, 400):
        shown(steps, {"time/env_steps_per_second": 2345.6, "episode/success_rate": 0.25})
        now[0] += 45.0
    assert [line.split("%")[0].strip() for line in capsys.readouterr().out.splitlines()] == ["25", "75"]
    shown.close()
    assert capsys.readouterr().out.split() == ["100%", "400", "steps", "2,346/s", "success", "0.25"]
    shown.close()
    assert capsys.readouterr().out == ""
