"""Suites: every run once, stopped ones go on, finished ones are left alone."""

import csv
import json
import signal
import sys
from dataclasses import replace
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))
from toy_envs import Corridor

from touchline import cli, plugins, training
from touchline.benchmarks import suites
from touchline.benchmarks.suites import Suite
from touchline.processes import claim
from touchline.train_config import config_of

SUITE = Suite(
    variants={
        "ppo": {"agent": "ppo", "num_envs": 8, "agent_config": {"unroll_length": 64, "num_epochs": 1}},
        "dqn": {"agent": "apex_dqn", "num_envs": 8, "agent_config": {"batch_size": 16, "replay_ratio": 0.5}},
    },
    total_steps={"toy": 4_000, "other": 4_000},
    seeds=(0, 1),
    episodes=7,
)


def toy(config):
    return Corridor(num_envs=config.num_envs)


def judge(folder, config, episodes, yardsticks=()):
    rate = {"value": config.seed / 2, "low": 0.0, "high": 1.0}
    result = {"metrics": {"score/success_rate": rate}, "episodes": episodes}
    result |= {"scenario": config.scenario, "opponent": "built-in AI"}
    (folder / "eval.json").write_text(json.dumps({"results": [result]}))


def run(out, **options):
    return [folder for _, folder in suites.run_suite(SUITE, out, make_envs=toy, judge=judge, **options)]


def test_every_run_is_made_once_seed_by_seed(tmp_path):
    made = run(tmp_path)
    names = [str(folder.relative_to(tmp_path)) for folder in made]
    first = ["toy/ppo-0", "toy/dqn-0", "other/ppo-0", "other/dqn-0"]
    assert names == first + [name.replace("-0", "-1") for name in first]
    assert run(tmp_path) == []
    (made[3] / "eval.json").unlink()
    assert run(tmp_path) == [made[3]]


def test_a_stopped_suite_goes_on_where_it_was(tmp_path):
    class Stop:
        def __call__(self, env_steps, metrics):
            if env_steps > 1000:
                signal.raise_signal(signal.SIGINT)

        def close(self):
            pass

    stopped = {str(tmp_path / "toy/dqn-0")}

    def trackers(config):
        return [Stop()] if config.out in stopped else []

    assert [folder.name for folder in run(tmp_path, trackers=trackers)] == ["ppo-0"]
    half = tmp_path / "toy" / "dqn-0"
    assert training.saved_config(half).total_steps == 4_000
    assert not suites.is_done(half)
    stopped.clear()
    before = (half / "metrics.csv").read_text()
    rest = run(tmp_path)
    assert rest[0] == half
    assert len(rest) == 7
    assert (half / "metrics.csv").read_text().startswith(before)


def test_a_signal_at_the_last_step_of_a_run_begins_no_other(tmp_path):
    class StopAtTheEnd:
        sent = False

        def __call__(self, env_steps, metrics):
            if env_steps >= 4_000 and not self.sent:
                self.sent = True
                signal.raise_signal(signal.SIGINT)

        def close(self):
            pass

    stop = StopAtTheEnd()
    assert run(tmp_path, trackers=lambda config: [stop]) == []
    assert stop.sent and not (tmp_path / "toy" / "dqn-0").exists()
    assert run(tmp_path)[0] == tmp_path / "toy" / "ppo-0", "judged now"


def test_the_table_shows_every_seed_and_what_is_missing(tmp_path):
    folder = tmp_path / "toy" / "ppo-1"
    folder.mkdir(parents=True)
    judge(folder, next(c for c in SUITE.runs(tmp_path) if c.seed == 1), 7)
    (folder / "metrics.csv").write_text("env_steps,episode/success_rate\n1,\n2,0.25\n3,0.5\n")
    (folder / "config.json").write_text('{"scenario": "toy", "total_steps": 3}')
    lines = suites.table(SUITE, tmp_path).splitlines()
    assert "| `toy` | ppo | 4,000 | not run yet, 50.0 [0.0, 100.0] | 37.5 |" in lines
    assert len(lines) == 2 + 4


@pytest.mark.parametrize("name", suites.SUITES)
def test_the_runs_of_every_suite_are_well_formed(name, tmp_path):
    runs = list(suites.load(name).runs(tmp_path))
    assert len({config.out for config in runs}) == len(runs)
    for config in runs:
        resolved = config.resolved()
        config_of(plugins.load("agents", resolved.agent).Config, resolved.agent_config)


def test_a_wrong_name_says_what_exists():
    with pytest.raises(
        ValueError,
        match="no 'agent' in suites; there are academy, agents, curiosity, curiosity_small, football, ",
    ):
        suites.load("agent")


@pytest.mark.engine
def test_the_command_makes_a_suite_on_the_engine_and_shows_its_table(tmp_path, monkeypatch, capsys):
    tiny = Suite(
        variants={"small": {"agent": "ppo", "num_envs": 4, "agent_config": {"unroll_length": 64, "num_epochs": 1}}},
        total_steps={"academy_empty_goal_close": 2048},
        seeds=(0,),
        episodes=4,
    )
    monkeypatch.setitem(suites.SUITES, "tiny", tiny)
    arguments = ["benchmark", "--suite", "tiny", "--out", str(tmp_path), "--quiet"]
    assert cli.run(arguments) == 0
    out = capsys.readouterr().out
    assert "| `academy_empty_goal_close` | small | 2,048 |" in out
    assert "not run yet" not in out
    assert (tmp_path / "table.md").read_text() in out
    before = (tmp_path / "academy_empty_goal_close" / "small-0" / "eval.json").stat().st_mtime_ns
    assert cli.run(arguments) == 0
    assert (tmp_path / "academy_empty_goal_close" / "small-0" / "eval.json").stat().st_mtime_ns == before


def test_only_the_last_policy_of_a_whole_training_judged_on_its_drill_is_done(tmp_path):
    _, folder = next(suites.run_suite(SUITE, tmp_path, make_envs=toy, judge=judge))
    assert suites.is_done(folder)
    path = folder / "eval.json"
    content = json.loads(path.read_text())

    def is_done(**changes):
        path.write_text(json.dumps({"results": [content["results"][0] | changes]}))
        return suites.is_done(folder)

    steps = int((folder / "metrics.csv").read_text().splitlines()[-1].split(",")[0])
    assert is_done(trained_steps=steps)
    assert not is_done(trained_steps=steps - 512)  # judged before its training went on
    assert not is_done(scenario="other")
    assert not is_done(opponent="chaser")
    lines = (folder / "metrics.csv").read_text().splitlines()
    (folder / "metrics.csv").write_text("\n".join(lines[:-1]) + "\n")
    assert not is_done()  # judged when half of it was trained
    path.unlink()
    assert not suites.is_done(folder)


def test_runs_with_other_settings_do_not_go_into_one_row(tmp_path):
    next(suites.run_suite(SUITE, tmp_path, make_envs=toy, judge=judge))
    suites.refuse_other_settings(SUITE, tmp_path)
    own = {"agent": "ppo", "num_envs": 8, "agent_config": {"unroll_length": 64, "num_epochs": 2}}
    changed = replace(SUITE, variants=SUITE.variants | {"ppo": own})
    with pytest.raises(
        ValueError, match=r"ppo-0 is a run with other settings.*agent_config.num_epochs 1 there and 2 here"
    ):
        next(suites.run_suite(changed, tmp_path, make_envs=toy, judge=judge))
    path = tmp_path / "toy/ppo-0/config.json"
    saved = json.loads(path.read_text())

    def check(suite=SUITE, agent_config=saved["agent_config"], **changes):
        path.write_text(json.dumps(saved | {"agent_config": agent_config} | changes))
        suites.refuse_other_settings(suite, tmp_path)

    check(double_buffer=None)  # as configs of before it was filled in
    del saved["stagger"], saved["agent_config"]["clip_coef"]
    check()
    with pytest.raises(ValueError, match=r"agent_config.shuffle_advantages True there and False here"):
        check(agent_config=saved["agent_config"] | {"shuffle_advantages": True})
    taught = replace(SUITE, variants=SUITE.variants | {"ppo": SUITE.variants["ppo"] | {"teacher": "chaser"}})
    with pytest.raises(ValueError, match=r"teacher None there and 'chaser' here"):
        check(taught, teacher=None)
    with pytest.raises(ValueError, match=r"bonus_config.rnd \{'update_share': 1.0\} there and None here"):
        check(bonus_config={"rnd": {"update_share": 1.0}})


def test_results_in_the_repository_are_of_their_suites():
    root = Path(__file__).parents[2] / "results"
    checked = 0
    for name in suites.SUITES:
        for folder in (root / name, root / "curiosity" / name.removeprefix("curiosity_")):
            suites.refuse_other_settings(suites.load(name), folder)
            checked += sum(suites.is_done(Path(config.out)) for config in suites.load(name).runs(folder))
    assert checked >= 100


def test_a_variant_may_have_fewer_steps_and_seeds_than_the_others(tmp_path):
    with pytest.raises(ValueError, match=r"seeds_of dqn: \[7\] are not among"):
        replace(SUITE, seeds_of={"dqn": (7,)})
    suite = replace(SUITE, at_most={"dqn": 1_000}, seeds_of={"dqn": (1,)})
    runs = [(Path(c.out).name, c.total_steps) for c in suite.runs(tmp_path) if c.scenario == "toy"]
    assert runs == [("ppo-0", 4_000), ("ppo-1", 4_000), ("dqn-1", 1_000)]
    lines = suites.table(suite, tmp_path).splitlines()
    assert "| `toy` | ppo | 4,000 | not run yet, not run yet |  |" in lines
    assert "| `toy` | dqn | 1,000 | not run yet |  |" in lines


def test_full_matches_show_their_goals_too(tmp_path):
    def match(folder, config, episodes, yardsticks):
        judge(folder, config, episodes)
        result = json.loads((folder / "eval.json").read_text())["results"][0]
        result["metrics"]["score/goal_difference_per_game"] = {"value": -1.5, "low": -2.0, "high": -1.0}
        result["rows"] = [{"goal_difference": -2}, {"goal_difference": -1}]
        (folder / "eval.json").write_text(json.dumps({"results": [result]}))

    next(suites.run_suite(SUITE, tmp_path, make_envs=toy, judge=match))
    assert "0.0 [0.0, 100.0] (-1.50 [-2.00, -1.00] goals), not run yet" in suites.table(SUITE, tmp_path)


@pytest.mark.engine
def test_a_scenarios_first_run_has_yardsticks_on_the_same_seeds(tmp_path):
    small = {"agent": "ppo", "num_envs": 4, "agent_config": {"unroll_length": 64, "num_epochs": 1}}
    suite = Suite({"small": small}, {"academy_empty_goal_close": 512}, (0, 1), episodes=3, yardsticks=("random",))
    folders = [folder for _, folder in suites.run_suite(suite, tmp_path)]
    results = [json.loads((folder / "eval.json").read_text())["results"] for folder in folders]
    assert [[result["policy"] for result in one] for one in results] == [["small-0", "random"], ["small-1"]]
    (folders[1] / "eval.json").unlink()
    for _ in suites.run_suite(suite, tmp_path):
        assert len(json.loads((folders[1] / "eval.json").read_text())["results"]) == 1
    seeds = [[row["seed"] for row in result["rows"]] for result in results[0]]
    assert seeds[0] == seeds[1] and len(seeds[0]) == 3


def test_a_run_that_another_process_is_at_is_left_to_it(tmp_path):
    with claim(suites._lock(tmp_path / "toy/ppo-0")) as mine:
        assert mine
        others = [str(folder.relative_to(tmp_path)) for folder in run(tmp_path)]
    assert len(others) == 7 and "toy/ppo-0" not in others
    assert [str(folder.relative_to(tmp_path)) for folder in run(tmp_path)] == ["toy/ppo-0"]


def test_a_variant_may_play_some_scenarios_only_and_the_table_shows_what_is_asked_for(tmp_path):
    suite = replace(SUITE, only={"dqn": ("other",)}, averages={"length": "episode/length_steps"}, seeds=(0,))
    made = list(suites.run_suite(suite, tmp_path, make_envs=toy, judge=judge))
    assert [str(folder.relative_to(tmp_path)) for _, folder in made] == ["toy/ppo-0", "other/ppo-0", "other/dqn-0"]
    head, _, *rows = suites.table(suite, tmp_path).splitlines()
    assert head.endswith("| length |") and len(rows) == 3
    with (tmp_path / "toy/ppo-0/metrics.csv").open(newline="") as file:
        lengths = [float(row["episode/length_steps"]) for row in csv.DictReader(file) if row["episode/length_steps"]]
    assert rows[0].endswith(f"| {sum(lengths) / len(lengths):.1f} |")


def test_a_budget_caps_the_longer_runs_alone():
    suite = replace(SUITE, total_steps={"toy": 4_000, "other": 300}).within(1_000)
    assert suite.total_steps == {"toy": 1_000, "other": 300}
    with pytest.raises(ValueError, match="at least one environment step"):
        SUITE.within(0)


def test_runs_of_another_length_are_refused_before_anything_is_trained(tmp_path):
    short = replace(SUITE.within(1_000), seeds=(0,), total_steps={"toy": 1_000})
    made = list(suites.run_suite(short, tmp_path, make_envs=toy, judge=judge))
    assert json.loads((made[0][1] / "config.json").read_text())["total_steps"] == 1_000
    with pytest.raises(ValueError, match="ppo-0 is a run of 1,000 environment steps, and 4,000 are asked for"):
        run(tmp_path)
    assert not (tmp_path / "other").exists()
    assert list(suites.run_suite(short, tmp_path, make_envs=toy, judge=judge)) == []


def test_the_command_runs_a_budget_in_a_folder_of_its_own(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(suites.SUITES, "tiny_one", replace(SUITE, variants={}))
    assert cli.run(["benchmark", "--suite", "tiny-one", "--budget", "500", "--quiet"]) == 0
    seen = []
    monkeypatch.setattr(suites, "run_suite", lambda suite, out, **options: seen.append((suite, str(out))) or ())
    assert cli.run(["benchmark", "--suite", "tiny-one", "--budget", "500", "--quiet"]) == 0
    assert cli.run(["benchmark", "--suite", "tiny_one", "--quiet"]) == 0
    assert [(suite.total_steps["toy"], out) for suite, out in seen] == [
        (500, "results/tiny_one-500"),
        (4_000, "results/tiny_one"),
    ]
