"""Training by Stable-Baselines3 and sb3-contrib: hyper-parameters, run directories, playing what was learned."""

import csv
import dataclasses
import json
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

sb3 = pytest.importorskip("stable_baselines3")
pytest.importorskip("sb3_contrib")

sys.path.insert(0, str(Path(__file__).parents[1]))
from toy_envs import Corridor, Recall  # noqa: E402

from touchline import cli, sb3_training  # noqa: E402
from touchline.agents import sb3_learning  # noqa: E402
from touchline.agents.sb3_bridge import ALGORITHMS, CONTRIB, Sb3VecEnv, algorithm, load_model  # noqa: E402
from touchline.benchmarks.policies import load_policy, zip_of  # noqa: E402
from touchline.envs.action_masks import action_masks  # noqa: E402
from touchline.processes import alone  # noqa: E402
from touchline.sb3_training import resume, train  # noqa: E402
from touchline.train_config import TrainConfig  # noqa: E402

ON_POLICY = {"n_steps": 8, "batch_size": 16}
SMALL = {
    "A2C": {"n_steps": 8},
    "DQN": {"buffer_size": 100, "learning_starts": 8},
    "MaskablePPO": ON_POLICY | {"n_epochs": 1},
    "PPO": ON_POLICY | {"n_epochs": 1},
    "QRDQN": {"buffer_size": 100, "learning_starts": 8},
    "RecurrentPPO": ON_POLICY | {"n_epochs": 1},
    "TRPO": ON_POLICY,
}


def config(tmp_path, name="PPO", **options):
    options = {"agent_config": SMALL[name], "total_steps": 64, "num_envs": 2, "num_threads": 1, **options}
    return TrainConfig(agent=f"sb3:{name}", out=str(tmp_path / name), **options)


def corridors(resolved):
    return Corridor(num_envs=resolved.num_envs)


def rows(run):
    with open(run / "metrics.csv", newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def played(tmp_path_factory):
    """A run directory of every algorithm, trained on the engine for a moment."""
    out = tmp_path_factory.mktemp("runs")
    runs = {}
    for name in SMALL:
        runs[name] = train(config(out, name, reset_pool=2, torch_threads=1))["run"]
    return runs


def test_every_algorithm_is_tried_here():
    assert set(SMALL) == {*ALGORITHMS, *CONTRIB}


# ------------------------------------------------------------------------------------------------ hyper-parameters


def test_values_are_taken_as_rl_zoo_writes_them():
    values = {
        "learning_rate": "lin_4e-4",
        "clip_range": 0.1,
        "policy_kwargs": "dict(net_arch=dict(pi=[64, 32], vf=[16]), activation_fn=nn.ReLU, ortho_init=False)",
    }
    taken = sb3_learning.checked("PPO", values)
    assert taken["learning_rate"](1.0) == pytest.approx(4e-4)
    assert taken["learning_rate"](0.25) == pytest.approx(1e-4)
    assert taken["clip_range"] == 0.1
    kwargs = {"net_arch": {"pi": [64, 32], "vf": [16]}, "activation_fn": torch.nn.ReLU, "ortho_init": False}
    assert taken["policy_kwargs"] == kwargs
    assert sb3_learning.checked("DQN", {"train_freq": [1, "episode"]})["train_freq"] == (1, "episode")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"learning_rat": 1}, "no 'learning_rat' in PPO; there are policy, learning_rate"),
        ({"n_envs": 8}, "n_envs is not set with --sb3: say --num-envs"),
        ({"normalize": True}, "egocentric"),
        ({"policy_kwargs": "__import__('os').getcwd()"}, "no dict that can be read"),
        ({"policy_kwargs": "[64]"}, "expected a dict"),
        ({"policy_kwargs": {"activation_fn": "Rely"}}, "no activation_fn 'Rely' in torch.nn"),
        ({"policy_kwargs": "dict(features_extractor_class=NatureCNN)"}, "only activation_fn and optimizer_class"),
        ({"ent_coef": "lin_0.01"}, "schedules of learning_rate, clip_range, clip_range_vf alone"),
    ],
)
def test_a_wrong_hyper_parameter_says_what_to_do(values, message):
    with pytest.raises(ValueError, match=message):
        sb3_learning.checked("PPO", values)


def test_a_wrong_algorithm_says_what_exists():
    with pytest.raises(ValueError, match="no 'SAC' in SB3's algorithms.*; there are A2C, DQN, MaskablePPO, PPO, QRDQN"):
        algorithm("SAC")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"left": 2}, "take --left 1"),
        ({"opponent": ("self",)}, "name other players"),
        ({"opponent": ("random",), "right": 2}, "take --right 1"),
        ({"value_target": "vtrace"}, "make their own targets"),
        ({"init": "runs/other"}, "--resume RUN"),
        ({"num_actors": 2}, "impala and apex_dqn"),
        ({"mixed_precision": True}, "SB3 has none"),
        ({"compile": True}, "not compiled"),
        ({"bonus": ("noise",)}, "no 'noise' among bonus modules"),
        ({"agent_config": {"n_step": 1}}, "no 'n_step' in PPO"),
    ],
)
def test_what_sb3_has_no_place_for_is_refused_before_anything_is_written(tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        train(config(tmp_path, **options), make_envs=corridors)
    assert not (tmp_path / "PPO").exists()


# ------------------------------------------------------------------------------------------------ run directories


def test_ppo_learns_to_walk_a_corridor_and_its_metrics_say_so(tmp_path, monkeypatch):
    monkeypatch.setattr(sb3_training, "LOG_STEPS", 256)
    hyper = {"n_steps": 32, "batch_size": 64, "learning_rate": 0.01, "gamma": 0.9}
    result = train(config(tmp_path, agent_config=hyper, total_steps=6000, num_envs=8), make_envs=corridors)
    table = rows(result["run"])
    assert float(table[-1]["episode/success_rate"]) > 0.9
    assert float(table[-1]["episode/return"]) > float(table[0]["episode/return"])
    assert int(table[-1]["env_steps"]) == result["env_steps"] >= 6000
    assert float(table[-1]["train/n_updates"]) > 0
    assert not result["interrupted"]
    spent = sum(float(row["time/seconds"]) for row in table)
    assert spent == pytest.approx(result["env_steps"] / float(table[-1]["time/env_steps_per_second"]), rel=0.01)
    saved = json.loads((result["run"] / "config.json").read_text())
    assert (saved["agent"], saved["agent_config"]["n_steps"]) == ("sb3:PPO", 32)
    with pytest.raises(FileExistsError, match="holds a run already"):
        train(config(tmp_path), make_envs=corridors)


def test_resume_goes_on_from_the_zip_and_unpickles_nothing(tmp_path, monkeypatch):
    result = train(config(tmp_path), make_envs=corridors)
    before = load_model(result["checkpoint"])

    def refuse(*_arguments, **_options):
        raise AssertionError("unpickled")

    monkeypatch.setattr("cloudpickle.loads", refuse)
    learned = []
    monkeypatch.setattr(sb3_learning, "learn", lambda model, *_arguments: learned.append(model))
    resume(result["run"], total_steps=128, make_envs=corridors)
    for old, new in zip(before.policy.parameters(), learned[0].policy.parameters(), strict=True):
        torch.testing.assert_close(old, new)
    moments = learned[0].policy.optimizer.state_dict()["state"][0]["exp_avg"]
    torch.testing.assert_close(moments, before.policy.optimizer.state_dict()["state"][0]["exp_avg"])
    assert learned[0].num_timesteps == before.num_timesteps == 64


@pytest.mark.parametrize("name", ["PPO", "DQN"])
def test_a_resumed_run_counts_on_and_keeps_its_rows(tmp_path, name):
    first = train(config(tmp_path, name), make_envs=corridors)
    second = resume(first["run"], total_steps=128, make_envs=corridors)
    assert second["env_steps"] == 128
    assert [int(row["env_steps"]) for row in rows(first["run"])] == [64, 128]
    whole = resume(first["run"], make_envs=corridors)
    assert (whole["env_steps"], whole["interrupted"], len(rows(first["run"]))) == (128, False, 2), "nothing to do"


def test_a_run_cannot_be_made_shorter_than_it_is(tmp_path):
    run = train(config(tmp_path), make_envs=corridors)["run"]
    before = (run / "config.json").read_text()
    with pytest.raises(ValueError, match="has made 64 steps already; expected more of them, got total_steps 64"):
        resume(run, total_steps=64, make_envs=corridors)
    assert (run / "config.json").read_text() == before


def test_the_directory_is_claimed_before_anything_is_made(tmp_path):
    def refuse(_config):
        raise AssertionError("matches were made")

    with alone(tmp_path / "PPO", "the training"), pytest.raises(ValueError, match="another process is at"):
        train(config(tmp_path), make_envs=refuse)
    with pytest.raises(FileNotFoundError):
        resume(tmp_path / "wrong")
    assert not [*tmp_path.iterdir()]


def test_a_zip_of_other_networks_is_refused(tmp_path):
    result = train(config(tmp_path), make_envs=corridors)
    path = result["run"] / "config.json"
    saved = json.loads(path.read_text())
    path.write_text(json.dumps(saved | {"agent_config": {**SMALL["PPO"], "policy_kwargs": {"net_arch": [8]}}}))
    with pytest.raises(ValueError, match=r"does not fit this run's config\.json"):
        resume(result["run"], total_steps=128, make_envs=corridors)


def test_bonuses_are_paid_and_what_they_learned_is_resumed(tmp_path, monkeypatch):
    settings = config(tmp_path, bonus=("rnd",), total_steps=1280, bonus_config={"rnd": {"update_share": 1.0}})
    first = train(settings, make_envs=corridors)
    assert float(rows(first["run"])[-1]["reward/rnd"]) > 0
    saved = torch.load(first["run"] / "bonuses.pt", weights_only=True)["bonuses"]["rnd"]["predictor"]
    bonuses, layer = [], sb3_training.BonusVecEnv
    monkeypatch.setattr(sb3_training, "BonusVecEnv", lambda view, bonus: layer(view, bonuses.append(bonus) or bonus))
    monkeypatch.setattr(sb3_learning, "learn", lambda *_arguments: None)
    resume(first["run"], total_steps=2048, make_envs=corridors)
    torch.testing.assert_close(bonuses[0].predictor.state_dict(), saved)


def test_random_play_of_a_bonus_counts(tmp_path):
    offline = {"train": "offline", "random_steps": 512}
    settings = config(tmp_path, bonus=("episodic_curiosity",), bonus_config={"episodic_curiosity": offline})
    result = train(dataclasses.replace(settings, total_steps=600), make_envs=corridors)
    assert 600 <= result["env_steps"] < 632, "512 of them before SB3's"
    learned = load_model(result["checkpoint"]).num_timesteps
    assert sb3_training.steps_before_learning(result["run"]) + learned == result["env_steps"]


def test_a_training_that_random_play_would_use_up_is_refused(tmp_path):
    offline = {"train": "offline", "random_steps": 512}
    settings = config(tmp_path, bonus=("episodic_curiosity",), bonus_config={"episodic_curiosity": offline})
    with pytest.raises(ValueError, match="random play takes 512 steps, and the whole training has 512"):
        train(dataclasses.replace(settings, total_steps=512), make_envs=corridors)


def test_a_checkpoint_is_written_on_the_way_and_a_stop_leaves_one(tmp_path, monkeypatch):
    saves, save = [], sb3_learning.save
    monkeypatch.setattr(
        sb3_learning, "save", lambda model, path: saves.append(model.num_timesteps) or save(model, path)
    )
    train(config(tmp_path, checkpoint_interval=24), make_envs=corridors)
    assert saves == [24, 48, 64]
    stop = sb3_training.checkpoint.stop_on_signals

    class Stopped:
        def __enter__(self):
            self.inner = stop()
            event = self.inner.__enter__()
            event.set()
            return event

        def __exit__(self, *error):
            return self.inner.__exit__(*error)

    monkeypatch.setattr(sb3_training.checkpoint, "stop_on_signals", Stopped)
    result = train(config(tmp_path, "A2C"), make_envs=corridors)
    assert result["interrupted"]
    assert result["checkpoint"].is_file()


# ------------------------------------------------------------------------------------------------ playing


@pytest.mark.engine
@pytest.mark.parametrize("name", sorted(SMALL))
def test_a_run_directory_plays_as_its_model_does(played, name):
    run = played[name]
    assert zip_of(run) == run / "model.zip"
    with pytest.raises(ValueError, match=r"model\.zip holds pickles.*--trust"):
        load_policy(run)
    policy = load_policy(run, trust=True)
    assert (policy.name, policy.observation, policy.stack, policy.action_set) == (name, "egocentric", 1, "default")
    model = load_model(run / "model.zip")
    assert type(model).__name__ == name
    import touchline

    envs = touchline.make_vec("academy_empty_goal_close", 3, observation="egocentric", num_threads=1)
    seen, _ = envs.reset(seed=1)
    policy.begin(np.ones(3, bool), np.arange(3))
    memory, starts = None, np.ones(3, bool)
    for _ in range(3):
        options = {"action_masks": envs.action_masks()} if name == "MaskablePPO" else {}
        if name == "RecurrentPPO":
            options = {"state": memory, "episode_start": starts}
        expected, memory = model.predict(seen, deterministic=True, **options)
        starts = np.zeros(3, bool)
        actions = policy.act(seen, envs.simulator.state, "left")
        np.testing.assert_array_equal(actions, expected)
        seen = envs.step(actions)[0]
    envs.close()


@pytest.mark.engine
def test_a_recurrent_model_forgets_where_episodes_begin(played):
    policy = load_policy(played["RecurrentPPO"], trust=True)
    state = None
    seen = np.random.default_rng(0).normal(size=(2, *policy._model.observation_space.shape)).astype(np.float32)
    policy.begin(np.ones(2, bool), np.arange(2))
    policy.act(seen, state, "left")
    fresh = [x.copy() for x in policy._memory]
    policy.act(seen, state, "left")
    policy.begin(np.array([True, False]), np.arange(2))
    policy.act(seen, state, "left")
    again = policy._memory
    for old, new in zip(fresh, again, strict=True):
        np.testing.assert_allclose(old[:, 0], new[:, 0], rtol=1e-5)
        assert not np.allclose(old[:, 1], new[:, 1], rtol=1e-5)


@pytest.mark.engine
def test_masked_actions_are_never_learned_from_and_never_played(played):
    import touchline

    envs = touchline.make_vec("academy_empty_goal_close", 2, observation="egocentric", num_threads=1)
    view = Sb3VecEnv(envs)
    view.reset()
    masks = np.stack(view.env_method("action_masks"))
    assert masks.shape == (2, 19)
    np.testing.assert_array_equal(masks, envs.action_masks())
    assert [len(view.env_method("action_masks", indices=i)) for i in (0, [1, 0])] == [1, 2]
    model = algorithm("MaskablePPO")("MlpPolicy", view, n_steps=16, batch_size=32, n_epochs=1, seed=0)
    model.learn(32)
    buffer = model.rollout_buffer
    allowed = buffer.action_masks.reshape(-1, 19)
    assert not allowed.all()
    assert allowed[np.arange(len(allowed)), buffer.actions.reshape(-1).astype(int)].all()
    envs.close()
    right = load_policy(played["MaskablePPO"], trust=True)
    both = touchline.make_vec("5_vs_5", 2, observation="egocentric", left=1, right=2, num_threads=1)
    seen, _ = both.reset(seed=0)
    actions = right.act(seen[:, 1:], both.simulator.state, "right")
    allowed = action_masks(both.simulator.state, 1, 2)[:, 1:]
    assert actions.shape == (2, 2)
    assert np.take_along_axis(allowed, actions[..., None], -1).all()
    both.close()


@pytest.mark.engine
def test_stacked_mini_maps_are_learned_from_with_a_bonus_and_played(tmp_path):
    options = {"observation": "smm", "stack": 2, "reset_pool": 2, "bonus": ("rnd",), "total_steps": 16}
    run = train(config(tmp_path, "A2C", agent_config={"n_steps": 4}, torch_threads=1, **options))["run"]
    policy = load_policy(run, trust=True)
    assert (policy.observation, policy.stack) == ("smm", 2)
    assert type(policy._model.policy.features_extractor).__name__ == "NatureCNN"
    seen = np.zeros((2, 72, 96, 8), np.uint8)
    seen[1, 10, 10] = 255
    expected, _ = policy._model.predict(seen, deterministic=True)
    np.testing.assert_array_equal(policy.act(seen, None, "left"), expected)


@pytest.mark.engine
@pytest.mark.parametrize("name", ["PPO", "MaskablePPO"])
def test_sb3_learns_against_an_opponent_of_ours(tmp_path, name):
    result = train(config(tmp_path, name, scenario="5_vs_5", opponent=("random",), torch_threads=1))
    assert result["env_steps"] == 64
    assert json.loads((result["run"] / "config.json").read_text())["right"] == 1
    policy = load_policy(result["run"], trust=True)
    assert (policy.observation, policy.trained_steps) == ("egocentric", 64)


def test_a_resumed_replay_is_filled_with_random_play_before_it_is_learned_from(tmp_path, monkeypatch):
    first = train(config(tmp_path, "DQN"), make_envs=corridors)
    models, learn = [], sb3_learning.learn
    monkeypatch.setattr(sb3_learning, "learn", lambda model, *rest: models.append(model) or learn(model, *rest))
    resume(first["run"], total_steps=128, make_envs=corridors)
    assert models[0].learning_starts == 64 + 8
    assert models[0].replay_buffer.pos == 32, "rows of two matches"
    assert models[0].exploration_rate < 0.1, "it goes on where the schedule was"


@pytest.mark.engine
def test_the_command_line_trains_resumes_plays_and_holds_a_tournament(tmp_path, capsys):
    run = str(tmp_path / "run")
    small = ["--num-envs", "2", "--num-threads", "1", "--reset-pool", "2", "--quiet", "--torch-threads", "1"]
    hyper = [word for pair in ("n_steps=16", "batch_size=16", "learning_rate=lin_3e-4") for word in ("--sb3", pair)]
    assert cli.run(["train", "--agent", "sb3:PPO", "--total-steps", "32", "--out", run, *hyper, *small]) == 0
    assert "env_steps_per_second" in capsys.readouterr().out
    assert cli.run(["train", "--resume", run, "--total-steps", "64", "--quiet"]) == 0
    assert rows(tmp_path / "run")[-1]["env_steps"] == "64"
    play = ["--episodes", "2", "--num-envs", "2"]
    assert cli.run(["evaluate", run, *play]) == 1
    assert "--trust" in capsys.readouterr().err
    assert cli.run(["evaluate", run, *play, "--trust"]) == 0
    assert json.loads((tmp_path / "run/eval.json").read_text())["results"][0]["policy"] == "run"
    cup = [run, "random", "--scenario", "academy_3_vs_1_with_keeper", "--games", "2", "--out", str(tmp_path / "cup")]
    assert cli.run(["tournament", *cup]) == 1
    assert "--trust" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--agent", "sb3:PPX"], "no 'PPX' in SB3's algorithms"),
        (["--agent", "sb3:PPO", "--sb3", "n_env=3"], "no 'n_env' in PPO"),
        (["--agent", "sb3:PPO", "--learning-rate", "3"], "--sb3 NAME=VALUE"),
        (["--sb3", "n_steps=3"], "give --agent sb3:PPO"),
    ],
)
def test_a_mistake_on_the_command_line_is_one_line(arguments, message, capsys):
    assert cli.run(["train", *arguments]) == 1
    assert message in capsys.readouterr().err


def test_help_of_an_sb3_agent_names_its_hyper_parameters(capsys):
    assert cli.run(["train", "--agent", "sb3:TRPO", "--help"]) == 0
    assert "cg_max_steps" in capsys.readouterr().out


def test_a_zip_with_a_policy_of_somebody_elses_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "odd.zip", "w") as archive:
        archive.writestr("data", json.dumps({"policy_class": {"__module__": "theirs.maskable"}, "n_steps": 1}))
    with pytest.raises(ValueError, match="was not saved by one of SB3's A2C, DQN.*policy is from theirs"):
        load_model(tmp_path / "odd.zip")


def test_recurrent_ppo_trains_on_worlds_that_need_a_memory(tmp_path):
    result = train(config(tmp_path, "RecurrentPPO"), make_envs=lambda resolved: Recall(num_envs=resolved.num_envs))
    assert "lstm" in " ".join(name for name, _ in load_model(result["checkpoint"]).policy.named_parameters())
