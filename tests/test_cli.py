"""The command line: its words, its errors, and a small training from start to film."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from touchline import cli
from touchline.benchmarks.evaluate import evaluate
from touchline.commands import engine, fields, play
from touchline.replay import Replay


def test_the_overview_names_every_command(capsys):
    assert cli.run(["--help"]) == 0
    shown = capsys.readouterr().out
    assert all(command in shown for command in cli.COMMANDS)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["trane"], "no command 'trane'"),
        (["engine", "bild"], "build, verify, wheel"),
        (["scenarios", "academy_corned"], "academy_corner"),
        (["train", "--preset", "ppo_gpu"], "ppo_cpu"),
        (["train", "--agent", "dqn"], "ppo"),
        (["train", "--agent", "scripted"], "scripted"),
        (["train", "--resume", "nowhere"], "nowhere"),
        (["evaluate", "nobody"], "a run directory"),
        (["evaluate", "academy_run_to_score_with_keper"], "did you mean academy_run_to_score_with_keeper?"),
        (["train", "--agent", "sb3_bridge"], "there are ppo, impala, apex_dqn and sb3:PPO"),
    ],
)
def test_a_mistake_is_one_line_that_says_what_exists(arguments, message, capsys):
    assert cli.run(arguments) != 0
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error


def test_a_command_that_is_interrupted_says_so_in_one_line(monkeypatch, capsys):
    def interrupted(self):
        raise KeyboardInterrupt

    monkeypatch.setattr(engine.Doctor, "run", interrupted)
    assert cli.run(["doctor"]) == 130
    assert capsys.readouterr().err == "\ntouchline doctor: stopped\n"


@pytest.mark.parametrize(
    ("flag", "meant"),
    [("--learning-rat", "--learning-rate"), ("--scenaro", "--scenario"), ("--total_step", "--total-steps")],
)
def test_an_unknown_flag_is_refused_with_the_one_that_was_meant(flag, meant, capsys):
    assert cli.run(["train", flag, "1"]) == 1
    assert f"no flag {flag} (did you mean {meant}?)" in capsys.readouterr().err


@pytest.mark.parametrize("beside", [["--resume", "runs/none"], ["--agent", "sb3:PPO"]])
def test_an_unknown_flag_is_refused_beside_resume_and_for_other_agents_too(beside, capsys):
    if "sb3:PPO" in beside:
        pytest.importorskip("stable_baselines3")
    assert cli.run(["train", *beside, "--total-stepz", "9"]) == 1
    assert "no flag --total-stepz" in capsys.readouterr().err


@pytest.mark.parametrize("flag", [["--num-envs", "8"], ["--bonus", "rnd"], ["--no-compile"], ["--seed=5"]])
def test_a_setting_beside_resume_is_refused_and_not_forgotten(flag, capsys):
    assert cli.run(["train", "--resume", "runs/none", *flag]) == 1
    assert "is not taken beside --resume" in capsys.readouterr().err


def test_a_leagues_teacher_and_agent_config_are_those_of_its_training(monkeypatch, tmp_path):
    class Asked(Exception):
        pass

    def ask(config, **options):
        raise Asked(config.train_config())

    monkeypatch.setattr("touchline.benchmarks.league.run_league", ask)
    own = ["--teacher", "finisher", "--agent-config", "num_epochs=2", "--train", "stagger=3"]
    with pytest.raises(Asked) as asked:
        cli.run(["league", "--preset", "ippo_taught", "--out", str(tmp_path), "--quiet", *own])
    (config,) = asked.value.args
    assert (config.teacher, config.stagger, config.observation) == ("finisher", 3, "egocentric_kicks")
    assert (config.agent_config["num_epochs"], config.agent_config["teacher_until"]) == (2, 1.0)


def test_the_help_of_train_shows_the_defaults_that_hold(capsys):
    with pytest.raises(SystemExit):
        cli.run(["train", "--preset", "ippo_cpu", "--help"])
    shown = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert "with the defaults of the preset ippo_cpu" in shown
    assert "passes over a rollout. (default: 5)" in shown, "4 is the agent's own"


def test_scenarios_are_drawn_when_they_are_named(capsys):
    assert cli.run(["scenarios"]) == 0
    assert "academy_corner" in capsys.readouterr().out
    assert cli.run(["scenarios", "academy_corner"]) == 0
    assert "●" in capsys.readouterr().out


@pytest.mark.engine
def test_a_run_is_trained_resumed_evaluated_and_filmed(tmp_path, capsys):
    run = tmp_path / "run"
    small = ["--num-envs", "2", "--num-threads", "2", "--unroll-length", "16", "--quiet", "--reset-pool", "2"]
    assert cli.run(["train", "--total-steps", "64", "--out", str(run), "--learning-rate", "0.001", *small]) == 0
    assert "env_steps_per_second" in capsys.readouterr().out
    config = json.loads((run / "config.json").read_text())
    assert config["agent_config"]["learning_rate"] == 0.001
    assert config["agent_config"]["unroll_length"] == 16
    assert config["agent_config"]["num_epochs"] == 10, "the preset's, where nothing else was said"
    assert cli.run(["train", "--total-steps", "64", "--out", str(run), *small]) == 1, "a run is not overwritten"
    assert cli.run(["train", "--resume", str(run), "--total-steps", "128", "--quiet"]) == 0
    rows = (run / "metrics.csv").read_text().splitlines()
    assert rows[-1].startswith("128,")
    assert cli.run(["evaluate", str(run), "--episodes", "3", "--replays", "1", "--num-envs", "3"]) == 0
    results = json.loads((run / "eval.json").read_text())["results"]
    assert [r["policy"] for r in results] == ["run", "random", "builtin_ai"]
    assert len({tuple(row["seed"] for row in r["rows"]) for r in results}) == 1, "all play the same seeds"
    assert cli.run(["watch", str(next((run / "replays").glob("*.npz"))), "--out", str(run / "film.mp4")]) == 0
    assert (run / "film.mp4").stat().st_size > 10_000
    capsys.readouterr()
    assert cli.run(["watch", str(run), "--versus", "random"]) == 1
    assert "--versus needs --html" in capsys.readouterr().err
    assert cli.run(["watch", str(run), "--html", "--versus", "random", "--episodes", "2"]) == 0
    page = (run / "watch.html").read_text()
    assert '"value","reward/scoring"' in page
    assert page.count('id="match-') == 4

    replay = str(next((run / "replays").glob("*.npz")))
    (run / "config.json").write_text(json.dumps(config | {"scenario": "academy_corner"}))
    assert cli.run(["watch", replay, "--html", "--versus", str(run), "--out", str(run / "beside.html")]) == 0
    page = (run / "beside.html").read_text()
    assert page.count('"seed":1000000000') + page.count('"seed": 1000000000') == 2, "the replay's match, not one's own"
    capsys.readouterr()
    (run / "config.json").write_text("[]")
    assert cli.run(["evaluate", str(run)]) == 1
    assert "config.json is damaged" in capsys.readouterr().err


@pytest.mark.engine
def test_a_replay_of_a_scenario_in_a_file_is_shown_beside_a_policy(tmp_path, capsys):
    file = tmp_path / "sm.py"
    file.write_text(
        "from dataclasses import replace\nfrom touchline import scenarios\n"
        "SCENARIO = replace(scenarios.load('5_vs_5'), name='short_match', game_duration=20)\n"
    )
    played = evaluate("idle", str(file), episodes=1, num_threads=1, replays=1, replay_dir=tmp_path)
    trace = replace(Replay.load(played.replays[0]), scenario="short_match")  # as tournaments write them
    watch = ["watch", str(trace.save(tmp_path / "cup.npz")), "--html", "--versus", "random"]
    watch += ["--out", str(tmp_path / "beside.html")]
    assert cli.run([*watch, "--scenario", str(file)]) == 0
    assert (tmp_path / "beside.html").read_text().count('"scenario":"short_match"') == 2
    assert cli.run([*watch, "--scenario", "5_vs_5"]) == 1
    assert "expected replays of one scenario, got short_match and 5_vs_5" in capsys.readouterr().err


@pytest.mark.engine
def test_what_was_played_is_shown_although_a_yardstick_fails(tmp_path, capsys):
    failing = tmp_path / "failing.py"
    failing.write_text("def act(observations):\n    raise RuntimeError('out of ideas')\n")
    play = ["evaluate", "idle", "--episodes", "2", "--num-envs", "2", "--out", str(tmp_path / "out")]
    assert cli.run([*play, "--yardsticks", str(failing)]) == 1
    shown = capsys.readouterr()
    assert "failing.py, line 2: RuntimeError: out of ideas" in shown.err
    results = json.loads((tmp_path / "out" / "eval.json").read_text())["results"]
    assert [result["policy"] for result in results] == ["idle"]
    (tmp_path / "out" / "eval.json").unlink()
    assert cli.run([*play, "--yardsticks", "chasr"]) == 1
    assert "did you mean chaser" in capsys.readouterr().err
    assert not (tmp_path / "out" / "eval.json").exists(), "a wrong name is told before anybody plays"


def test_a_folder_of_a_shipped_policys_name_does_not_get_its_results(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("5_vs_5").mkdir()
    assert play.folder_of("5_vs_5") is None
    Path("5_vs_5", "checkpoint.pt").touch()
    assert play.folder_of("5_vs_5") == Path("5_vs_5")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["watch", "idle", "--out", "film.gif"], r"ends with .mp4, got film.gif"),
        (["watch", "idle", "--fps", "0"], "fps and episodes of at least 1"),
        (["evaluate", "idle", "--out", "file/out"], "Not a directory"),
        (["train", "--out", "file/out"], "Not a directory"),
        (["train", "--device", "banana"], "no device 'banana'; there are cpu, cuda"),
        (["train", "--total-steps", "0"], "total_steps of at least 1, got 0"),
        (["train", "--init", "nobody"], "no checkpoint at nobody"),
        (["tune", "--space", "gamma=abc", "--trials", "1", "--quiet"], "gamma: expected a finite number, got 'abc'"),
        (["throughput", "--rounds", "0"], "at least one round"),
    ],
)
@pytest.mark.engine
def test_what_cannot_be_is_told_in_a_line_before_anybody_plays(arguments, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("file").touch()
    assert cli.run(arguments) == 1
    assert message in capsys.readouterr().err


def test_fields_of_bonuses_are_given_by_module_and_may_be_any_literal():
    pairs = ["rnd.coef=0.1", "rnd.episodic=True", "count.grid=(24, 16)", "episodic_curiosity.train=offline"]
    pairs += ["adaptive_td.width=inf"]
    assert fields.nested(pairs) == {
        "rnd": {"coef": 0.1, "episodic": True},
        "count": {"grid": (24, 16)},
        "episodic_curiosity": {"train": "offline"},
        "adaptive_td": {"width": float("inf")},
    }
    with pytest.raises(ValueError, match="expected MODULE.FIELD=VALUE, got coef=1"):
        fields.nested(["coef=1"])


@pytest.mark.parametrize("name", ["thesis.txt", "config.json"])
def test_the_demo_replaces_demos_and_nothing_else(name, tmp_path, capsys, monkeypatch):
    (tmp_path / name).write_text("{}")
    assert cli.run(["demo", "--out", str(tmp_path)]) == 1
    assert "holds something that no demo made" in capsys.readouterr().err
    assert (tmp_path / name).read_text() == "{}"

    monkeypatch.setattr("touchline.commands.train.Train.run", lambda self, *_: Path(self.out, "run").touch() or 3)
    again = tmp_path / "demo"
    for _ in range(2):
        assert cli.run(["demo", "--out", str(again)]) == 3  # as if interrupted
        assert (again / "run").exists()
