"""A league: generations, ratings that anchors hold, exploiters, a champion, and going on exactly."""

import csv
import json
import os
import signal
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from touchline import checkpoint, training
from touchline.benchmarks import evaluate, league
from touchline.benchmarks.league import LeagueConfig, run_league
from touchline.benchmarks.ratings import Ratings
from touchline.processes import alone

pytestmark = pytest.mark.engine
UPDATE = 2 * 16


@pytest.fixture(scope="module")
def short(tmp_path_factory):
    path = tmp_path_factory.mktemp("scenarios") / "short.py"
    path.write_text(
        "from dataclasses import replace\nfrom touchline import scenarios\n"
        "SCENARIO = replace(scenarios.load('5_vs_5'), name='short', game_duration=30)\n"
    )
    return str(path)


def config(short, out, **fields):
    values = {
        "scenario": short,
        "players": 2,
        "total_steps": 12 * UPDATE,
        "generation_steps": 4 * UPDATE,
        "anchors": ("random", "idle", "builtin_ai"),
        "games": 2,
        "capacity": 2,
        "num_threads": 1,
        "out": str(out),
        "train": {
            "num_envs": 2,
            "reset_pool": 2,
            "agent_config": {"unroll_length": 16, "num_epochs": 1, "anneal_learning_rate": False},
        },
    }
    return LeagueConfig(**values | fields)


def rows(out):
    with Path(out, "ratings.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def stop_after(steps):
    class Stop:
        def __call__(self, env_steps, metrics):
            if env_steps == steps:
                os.kill(os.getpid(), signal.SIGINT)

        def close(self):
            pass

    return Stop()


@pytest.fixture(scope="module")
def held(short, tmp_path_factory):
    out = tmp_path_factory.mktemp("league") / "whole"
    told = []
    fields = {"exploiter_every": 2, "exploiter_steps": 2 * UPDATE}
    result = run_league(config(short, out, **fields), tell=told.append)
    return out, result, told, fields


def test_every_generation_is_rated_against_every_anchor_and_the_past(held):
    out, result, told, _ = held
    assert not result["interrupted"] and len(told) == 3
    table = rows(out)
    assert [row["member"] for row in table] == ["self-128", "self-256", "exploiter-2", "self-384"]
    for row in table:
        assert all(row[f"points_against_{anchor}"] for anchor in ("random", "idle", "builtin_ai"))
    assert table[0]["points_against_past"] == "" and table[1]["points_against_past"] != ""
    pool = checkpoint.load(out / "main" / "checkpoint.pt")["opponents"][0]["pool"]["members"]
    past = [member["name"] for member in pool if member["weights"] is not None]
    assert len(past) == 2 and past[-1] == "self-384"


def test_anchors_hold_the_scale(held):
    out, *_ = held
    anchors = json.loads((out / "anchors.json").read_text())
    assert anchors["random"] == 15.0 and set(anchors) == {"random", "idle", "builtin_ai"}
    state = json.loads(checkpoint.load(out / "main" / "checkpoint.pt")["companions"][0]["json"])
    ratings = state["ratings"]["ratings"]
    assert {name: ratings[name][0] for name in anchors} == anchors
    assert len({tuple(ratings[name]) for name in ("self-128", "self-256", "self-384")}) > 1


def test_the_champion_joined_with_the_best_conservative_rating_and_plays(held, short):
    out, *_ = held
    state = json.loads(checkpoint.load(out / "main" / "checkpoint.pt")["companions"][0]["json"])
    members = checkpoint.load(out / "main" / "checkpoint.pt")["opponents"][0]["pool"]["members"]
    joined = {row["member"]: float(row["ordinal"]) for row in rows(out)}
    assert state["champion"] == max(joined, key=joined.get)
    assert [m["name"] for m in members if m["weights"] and m["protected"]] == [state["champion"]]
    saved = checkpoint.load(out / "champion" / "checkpoint.pt")["agent"]["net"]
    (weights,) = (m["weights"]["net"] for m in members if m["name"] == state["champion"])
    assert all(torch.equal(saved[name], weight) for name, weight in weights.items())
    result = evaluate.evaluate(out / "champion", short, episodes=2, left=2, control="fixed", num_threads=1)
    assert len(result.rows) == 2


def test_an_exploiter_began_as_the_self_that_it_learned_to_beat(held):
    out, *_ = held
    target = checkpoint.load(out / "exploiters" / "target-2" / "checkpoint.pt")["agent"]["net"]
    learned = checkpoint.load(out / "exploiters" / "exploiter-2" / "checkpoint.pt")
    (target_in_pool,) = learned["opponents"][0]["pool"]["members"]
    assert all(torch.equal(w, target[name]) for name, w in target_in_pool["weights"]["net"].items())
    names = [name for name in target if name.endswith("weight")]
    distance = sum((learned["agent"]["net"][name] - target[name]).norm() for name in names)
    assert 0 < distance < 0.2 * sum(target[name].norm() for name in names)


def test_a_league_that_was_stopped_goes_on_exactly(held, short):
    out, _, _, fields = held
    parts = out.parent / "parts"
    result = run_league(config(short, parts, **fields), trackers=[stop_after(6 * UPDATE)])
    assert result["interrupted"] and result["env_steps"] == 6 * UPDATE
    run_league(config(short, parts, **fields))
    assert rows(parts) == rows(out)
    whole, again = (checkpoint.load(folder / "main" / "checkpoint.pt") for folder in (out, parts))
    assert all(torch.equal(w, again["agent"]["net"][name]) for name, w in whole["agent"]["net"].items())
    assert whole["companions"] == again["companions"]


def test_another_config_on_the_same_folder_is_refused(held, short):
    out, *_, fields = held
    with pytest.raises(ValueError, match="other settings"):
        run_league(config(short, out, **fields, seed=1))


def test_settings_that_trained_nothing_may_be_corrected(tmp_path, short):
    right = config(short, tmp_path / "league", total_steps=4 * UPDATE, generation_steps=4 * UPDATE)
    with pytest.raises(ValueError, match="egocentrik"):
        run_league(replace(right, anchors=("random", "idle"), train=right.train | {"observation": "egocentrik"}))
    assert run_league(right)["env_steps"] == 4 * UPDATE


def test_every_member_joins_after_equally_many_rated_games(tmp_path, short, monkeypatch):
    played, record = Counter(), Ratings.record

    def counted(self, first, second, difference):
        played[first] += 1
        record(self, first, second, difference)

    monkeypatch.setattr(Ratings, "record", counted)
    fields = {"total_steps": 4 * UPDATE, "generation_steps": UPDATE, "rated_past": 2, "capacity": 5}
    run_league(config(short, tmp_path, **fields))
    joined = rows(tmp_path)
    assert [played[row["member"]] for row in joined] == [2 * (3 + 2)] * 4, "two games against anchors and past selves"
    assert [row["points_against_past"] == "" for row in joined] == [True, False, False, False]


def test_both_sides_are_played_and_goals_count_for_who_scored_them(short, tmp_path, monkeypatch):
    path = tmp_path / "longer.py"
    path.write_text(Path(short).read_text().replace("game_duration=30", "game_duration=500"))
    settings = replace(config(str(path), "unused"), games=4)

    def differences(home, away, seed, episodes=2):
        right = 0 if away is None else 2
        options = {
            "episodes": episodes,
            "num_envs": episodes,
            "seed": seed,
            "left": 2,
            "control": "fixed",
            "num_threads": 1,
        }
        result = evaluate.evaluate(home, str(path), right=right, opponent=away, **options)
        return [row["goal_difference"] for row in result.rows]

    from_left, from_right = differences("chaser", "idle", 3), differences("idle", "chaser", 3)
    assert sum(from_left) > 0 > sum(from_right)
    assert league.play("chaser", "idle", settings, players=2, number=3) == from_left + [-x for x in from_right]
    engine = differences("idle", None, 3, episodes=4)  # all from the left: four games of four seeds
    assert league.play("idle", "builtin_ai", settings, players=2, number=3) == engine
    assert league.play("builtin_ai", "idle", settings, players=2, number=3) == [-x for x in engine]

    played, real = [], evaluate.evaluate
    monkeypatch.setattr(
        evaluate, "evaluate", lambda *args, **options: played.append(real(*args, **options)) or played[-1]
    )
    league.play("idle", "builtin_ai", settings, players=2, number=3)
    assert len({row["seed"] for result in played for row in result.rows}) == 4, "a game counts once"


def test_a_league_that_is_stopped_within_an_exploiters_training_does_that_generation_again(held, short, monkeypatch):
    out, _, _, fields = held
    parts, train = out.parent / "exploited", league.training.train

    def interrupted(config, **options):
        if "exploiters" in config.out:
            options["trackers"] = [stop_after(UPDATE)]
        return train(config, **options)

    monkeypatch.setattr(league.training, "train", interrupted)
    result = run_league(config(short, parts, **fields))
    assert result["interrupted"] and [row["member"] for row in rows(parts)] == ["self-128"]
    monkeypatch.undo()
    run_league(config(short, parts, **fields))
    assert rows(parts) == rows(out)


def test_a_leagues_training_is_not_resumed_without_its_league(held):
    out, *_ = held
    with pytest.raises(ValueError, match="touchline league"):
        training.resume(out / "main", total_steps=20 * UPDATE)


def test_the_engine_is_an_anchor_at_any_difficulty(short, tmp_path):
    settings = config(short, tmp_path / "levels", anchors=("random", "builtin_ai:0.9"))
    settings = replace(settings, total_steps=4 * UPDATE)
    run_league(settings)
    assert set(json.loads((tmp_path / "levels" / "anchors.json").read_text())) == {"random", "builtin_ai:0.9"}
    assert rows(tmp_path / "levels")[0]["points_against_builtin_ai:0.9"]


def test_settings_that_make_no_league_are_refused():
    with pytest.raises(ValueError, match="no strength in TrainConfig"):
        LeagueConfig(train={"strength": 1})
    with pytest.raises(ValueError, match="seed: the league sets that"):
        LeagueConfig(train={"seed": 1})
    with pytest.raises(ValueError, match="even number of games"):
        LeagueConfig(games=3)
    with pytest.raises(ValueError, match="different anchors"):
        LeagueConfig(anchors=("random", "random"))
    with pytest.raises(ValueError, match="generation_steps from 1"):
        LeagueConfig(total_steps=10)


def test_a_refused_league_leaves_the_folder_to_the_corrected_one(short, tmp_path):
    with pytest.raises(ValueError, match="did you mean chaser"):
        run_league(config(short, tmp_path / "a", anchors=("random", "chasr")))
    assert not (tmp_path / "a" / "league.json").exists()
    (tmp_path / "a").mkdir(exist_ok=True)
    (tmp_path / "a" / "anchors.json").write_text('{"random": 15.0, "chaser": 27.3}')  # of another league
    run_league(config(short, tmp_path / "a", anchors=("random", "idle"), total_steps=4 * UPDATE))
    assert set(json.loads((tmp_path / "a" / "anchors.json").read_text())) == {"random", "idle"}


def test_a_league_s_own_settings_are_not_given_twice(short, tmp_path):
    with pytest.raises(ValueError, match="generation_steps and capacity of its own"):
        config(short, tmp_path, opponent_config={"snapshot_interval": 10})


def test_random_play_before_the_training_closes_no_generation(short, tmp_path):
    """Ten steps of two matches, and generations of one update: the first self there is to rate comes after both."""
    fields = config(short, tmp_path).train
    run_league(config(short, tmp_path, total_steps=5 * UPDATE, generation_steps=UPDATE, train=fields | {"stagger": 30}))
    members = [row["member"] for row in rows(tmp_path)]
    assert "self-0" not in members and len(set(members)) == len(members) >= 2


def test_two_processes_do_not_hold_one_league(short, tmp_path):
    with alone(tmp_path / "main", "the test"), pytest.raises(ValueError, match="another process is at the training in"):
        run_league(config(short, tmp_path))
