"""Trained policies in the package: complete cards, small files, and they can do what the card says."""

import json
import shutil

import numpy as np
import pytest

import touchline
from touchline import checkpoint, cli, trained, training
from touchline.benchmarks import evaluate, policies
from touchline.train_config import TrainConfig

NAMES = trained.names()
METRICS = dict.fromkeys(
    ("score/success_rate", "score/goal_difference_per_game"), {"value": 0.5, "low": 0.4, "high": 0.6}
)
SMALL = {"unroll_length": 8, "num_epochs": 1, "policy_hidden": (8,), "value_hidden": (8,)}


def test_there_is_one_that_plays_where_nobody_is_named():
    assert trained.DEFAULT in NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_card_is_complete_and_the_policy_small(name):
    about = trained.card(name)
    assert about["name"] == name and about["commit"] and about["command"].startswith("touchline ")
    assert about["env_steps"] > 0 and about["results"]
    for result in about["results"]:
        low, value, high = (result["success"][key] for key in ("low", "value", "high"))
        assert 0 <= low <= value <= high <= 1 and result["episodes"] >= 100
    assert (trained.FOLDER / name / "checkpoint.pt").stat().st_size <= trained.LARGEST
    saved = json.loads((trained.FOLDER / name / "config.json").read_text())
    assert saved["out"] is None and saved["init"] is None
    assert "/" not in json.dumps([saved.get(key) for key in ("scenario", "opponent", "teacher")])
    assert f"{about['env_steps']:,} steps" in trained.describe(about)


@pytest.mark.engine
@pytest.mark.parametrize("name", [name for name in NAMES if name.startswith("academy_")])
def test_it_succeeds_as_often_as_its_card_says(name):
    about = trained.card(name)
    result = evaluate.evaluate(
        name, about["scenario"], episodes=30, seed=1, left=about["left"], control=about["control"], num_threads=1
    )
    promised = about["results"][0]["success"]["value"]
    assert result.metrics["score/success_rate"].high >= promised
    assert result.metrics["score/success_rate"].value >= promised - 0.2


def test_a_policy_by_name_acts_on_batches():
    policy = touchline.load_policy(NAMES[0])
    shape = policy.agent.spec.own.observation_shape
    actions = policy.act(np.zeros((5, *shape), np.float32))
    assert actions.shape == (5,) and policy.observation == trained.card(NAMES[0])["observation"]
    with pytest.raises(checkpoint.CheckpointError, match=f"no checkpoint at nobody.*{NAMES[0]}"):
        touchline.load_policy("nobody")


def test_what_lies_here_goes_before_a_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert trained.located(NAMES[0]) == trained.FOLDER / NAMES[0]
    assert policies.kind_of(NAMES[0]) == "run"
    (tmp_path / NAMES[0]).mkdir()  # as a suite's folder of a scenario
    assert trained.located(NAMES[0]) == trained.FOLDER / NAMES[0]
    (tmp_path / NAMES[0] / "checkpoint.pt").touch()
    assert trained.located(NAMES[0]) == (tmp_path / NAMES[0]).relative_to(tmp_path)
    assert str(trained.located("runs/mine")) == "runs/mine" and str(trained.located("..")) == ".."


@pytest.mark.engine
def test_shipping_keeps_the_policy_and_drops_the_rest(tmp_path):
    run = tmp_path / "run"
    config = TrainConfig(total_steps=64, num_envs=4, num_threads=1, reset_pool=2, out=str(run), agent_config=SMALL)
    training.train(config)
    evaluate.write_json([evaluate.evaluate(run, config.scenario, episodes=3, num_threads=1)], run / "eval.json")
    folder = trained.ship(run, "mine", command="touchline train", folder=tmp_path / "policies")
    assert "optimiser" in checkpoint.load(run / "checkpoint.pt")["agent"]
    assert set(checkpoint.load(folder / "checkpoint.pt")["agent"]) == {"net"}
    assert (folder / "checkpoint.pt").stat().st_size < (run / "checkpoint.pt").stat().st_size / 2
    before, after = checkpoint.load_policy(run), checkpoint.load_policy(folder)
    shape = before.agent.spec.own.observation_shape
    obs = np.random.default_rng(0).normal(size=(50, *shape)).astype(np.float32)
    assert np.array_equal(before.act(obs), after.act(obs))
    assert np.array_equal(before.value_estimates(obs)["value"], after.value_estimates(obs)["value"])
    about = json.loads((folder / "card.json").read_text())
    assert about["results"][0]["episodes"] == 3 and about["env_steps"] == 64
    assert "64 steps, seed" in trained.describe(about)
    assert "64 steps (of 100), seed" in trained.describe(about | {"total_steps": 100})


@pytest.mark.engine
def test_a_large_policy_is_not_shipped(tmp_path, monkeypatch):
    monkeypatch.setattr(trained, "LARGEST", 100)
    shutil.copytree(trained.FOLDER / NAMES[0], tmp_path / "run")
    (tmp_path / "run" / "eval.json").write_text(
        json.dumps({"results": [{"commit": "x", "opponent": "built-in AI", "rows": [], "metrics": METRICS}]})
    )
    with pytest.raises(ValueError, match="has 100 at most"):
        trained.ship(tmp_path / "run", "large", folder=tmp_path / "policies")
    assert not (tmp_path / "policies" / "large").exists()


@pytest.mark.engine
def test_watch_without_a_run_shows_one(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert cli.run(["watch", "--episodes", "1"]) == 0
    assert "page: watch.html" in capsys.readouterr().out and trained.DEFAULT in (tmp_path / "watch.html").read_text()
    assert cli.run(["watch", "--policy", NAMES[0], "--html", "--episodes", "1", "--out", "other.html"]) == 0
    assert NAMES[0] in (tmp_path / "other.html").read_text()
    assert cli.run(["policies"]) == 0
    assert NAMES[0] in capsys.readouterr().out
    assert cli.run(["watch", "random", "--policy", NAMES[0]]) != 0


@pytest.mark.engine
def test_a_trained_policy_plays_a_tournament_and_teaches(tmp_path):
    name = next(name for name in NAMES if trained.card(name)["left"] == 1)
    about = trained.card(name)
    config = TrainConfig(
        scenario=about["scenario"],
        teacher=name,
        init=name,
        total_steps=32,
        num_envs=2,
        num_threads=1,
        reset_pool=2,
        out=str(tmp_path / "run"),
        agent_config={"unroll_length": 16, "num_epochs": 1},
    )
    result = training.train(config)
    assert result["metrics"]["train/teacher_agreement"] > 0.9  # it began as its teacher
    arguments = [
        "tournament",
        name,
        "random",
        "--scenario",
        "1_vs_1_easy",
        "--games",
        "2",
        "--out",
        str(tmp_path / "cup"),
    ]
    assert cli.run(arguments) == 0
    assert name in (tmp_path / "cup" / "table.md").read_text()
