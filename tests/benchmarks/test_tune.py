"""The search: quasi-random settings, racing, and going on after an interruption."""

import json
import math
import signal
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import optuna
import pytest
from scipy.stats import qmc

sys.path.insert(0, str(Path(__file__).parents[1]))
from toy_envs import Action

from touchline import benchmarks, cli, training
from touchline.benchmarks import tune
from touchline.benchmarks.tune import TuneConfig
from touchline.processes import alone

SPACE = {
    "learning_rate": (1e-5, 1e-2, "log"),
    "clip_coef": (0.1, 0.4, "linear"),
    "num_epochs": (1, 32, "int"),
    "gamma": [0.9, 0.95, 0.99, 0.999],
}
"""A dimension of each kind."""


def toy(config):
    return Action(num_envs=config.num_envs)


def judge(folder, config, episodes):
    metrics = {"score/success_rate": {"value": 1.0, "low": 0.9, "high": 1.0}}
    result = {"metrics": metrics, "episodes": episodes, "scenario": config.scenario, "opponent": "built-in AI"}
    (folder / "eval.json").write_text(json.dumps({"results": [result]}))


def search(out, **changes):
    """One in which some settings learn to take action 1 and others hardly learn."""
    start = {
        "scenario": "toy",
        "agent": "ppo",
        "trials": 6,
        "round_size": 3,
        "total_steps": 4096,
        "space": {"learning_rate": (1e-6, 1e-1, "log"), "num_epochs": (1, 2, "int")},
        "train": {
            "num_envs": 8,
            "agent_config": {"unroll_length": 16, "minibatch_size": 128, "policy_hidden": [8], "value_hidden": [8]},
        },
        "out": str(out),
    }
    return TuneConfig(**start | changes)


def run(config, **options):
    return tune.run_tune(config, make_envs=toy, judge=judge, **options)


def study_of(config):
    return tune.open_study(config)


@pytest.fixture(scope="module")
def raced(tmp_path_factory):
    """A search that was never stopped."""
    config = search(tmp_path_factory.mktemp("raced"))
    assert run(config)
    return config


def trials_of(config):
    return [(t.state, t.params, t.value, tune.blocks_of(t)) for t in study_of(config).trials]


class Stop:
    """Tracks one trial, and stops the search, or kills it, once that one has made so many steps."""

    def __init__(self, trial, env_steps, kill=False):
        self.trial, self.env_steps, self.kill, self.sent = trial, env_steps, kill, False

    def __call__(self, env_steps, metrics):
        if env_steps >= self.env_steps and not self.sent:
            if self.kill:
                raise MemoryError
            self.sent = True
            signal.raise_signal(signal.SIGINT)

    def of(self, config):
        return [self] if config.out.endswith(self.trial) else []

    def close(self):
        pass


def drawn(sampler, seed, number, folder):
    """[number, dimensions] what a study really samples, each dimension in its own units from 0 to 1."""
    config = TuneConfig(agent="ppo", sampler=sampler, seed=seed, out=str(folder))
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
    for _ in range(number):
        tune.ask(study, SPACE, config)
    settings = [tune.settings_of(SPACE, trial.params) for trial in study.trials]
    columns = [
        [math.log(one["learning_rate"] / 1e-5) / math.log(1e3) for one in settings],
        [(one["clip_coef"] - 0.1) / 0.3 for one in settings],
        [(one["num_epochs"] - 0.5) / 32 for one in settings],
        [(SPACE["gamma"].index(one["gamma"]) + 0.5) / 4 for one in settings],
    ]
    return np.clip(np.array(columns).T, 0, 1)


@pytest.mark.parametrize("number", [16, 64])
def test_what_is_sampled_is_spread_more_evenly_than_at_random(number, tmp_path):
    even = [qmc.discrepancy(drawn("qmc", seed, number, tmp_path)) for seed in range(5)]
    random = [qmc.discrepancy(drawn("random", seed, number, tmp_path)) for seed in range(5)]
    assert max(even) < min(random)
    assert np.mean(even) < 0.6 * np.mean(random)


def test_every_dimension_alone_is_even_from_the_first_trial_on(tmp_path):
    points = drawn("qmc", 3, 16, tmp_path)
    for column, cells in ((0, 16), (1, 16), (2, 16), (3, 4)):
        counts = np.bincount(np.minimum((points[:, column] * cells).astype(int), cells - 1), minlength=cells)
        assert counts.tolist() == [16 // cells] * cells, f"dimension {column}: one random point would break this"


def test_a_sequence_that_was_stopped_goes_on_and_repeats_nothing(tmp_path):
    config = search(tmp_path, space=SPACE)
    numbers = [tune.ask(study_of(config), SPACE, config) for _ in range(8)]
    assert numbers == list(range(8))
    halves = [trial.params for trial in study_of(config).trials]
    whole = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=9))
    for _ in range(8):
        tune.ask(whole, SPACE, config)
    assert halves == [trial.params for trial in whole.trials]


@pytest.mark.parametrize("sampler", ["random", "tpe"])
def test_other_samplers_do_not_repeat_after_a_restart_either(sampler, tmp_path):
    config = search(tmp_path, space=SPACE, sampler=sampler)
    for _ in range(4):
        tune.ask(study_of(config), SPACE, config)
    assert len({trial.params["learning_rate"] for trial in study_of(config).trials}) == 4


def test_a_trial_that_was_cut_off_while_it_was_begun_gets_its_own_point(tmp_path):
    config = search(tmp_path, space=SPACE)
    study = study_of(config)
    distributions = {name: tune._distribution(name, values) for name, values in SPACE.items()}
    wanted = tune.next_point(study, distributions, config.seed)
    study.enqueue_trial(wanted)
    study.ask()  # and killed before anything was suggested
    tune.complete(study, study.trials[0], SPACE)
    assert study.trials[0].params == wanted


def test_a_search_races_its_trials_and_evaluates_the_best(raced):
    config, folder = raced, Path(raced.out)
    study = study_of(config)
    states = [trial.state.name for trial in study.trials]
    assert set(states) == {"COMPLETE", "PRUNED"}
    best = json.loads((folder / "best.json").read_text())
    complete = {trial.number: trial.value for trial in study.trials if trial.state.name == "COMPLETE"}
    assert best["value"] == max(complete.values()) == complete[best["trial"]] > 0.9
    assert best["evaluation"]["episodes"] == 200
    assert best["interval"][0] <= best["value"] <= best["interval"][1]
    assert best["agent_config"] == tune.settings_of(config.space, study.trials[best["trial"]].params)
    assert [path.parent.name for path in folder.glob("*/eval.json")] == [best["run"]]
    for trial in study.trials:
        saved = training.saved_config(folder / f"trial-{trial.number:04d}")
        assert saved.agent_config["learning_rate"] == trial.params["learning_rate"]
        assert saved.total_steps == 4096, "annealing does not see the pauses"
        if trial.state.name == "PRUNED":
            assert len(tune.blocks_of(trial)) < config.looks
            assert trial.params["learning_rate"] < study.trials[best["trial"]].params["learning_rate"]
    rows = [line for line in (folder / "table.md").read_text().splitlines() if line.startswith("| ")]
    assert len(rows) == 1 + 6 and rows[1].startswith(f"| {best['trial']} | trained to its end | 4,096 |")
    before = (folder / "study.db").read_bytes()
    assert run(config), "what is done is left alone"
    assert (folder / "study.db").read_bytes() == before


def test_without_racing_every_trial_is_trained_to_its_end_and_pausing_changed_no_result(tmp_path, raced):
    whole = search(tmp_path, race=False)
    assert run(whole)
    for one, other in zip(study_of(raced).trials, study_of(whole).trials, strict=True):
        assert other.state.name == "COMPLETE"
        played = tune.blocks_of(one)
        assert one.params == other.params
        assert tune.blocks_of(other)[: len(played)] == played


def test_a_search_that_was_stopped_and_then_killed_goes_on_to_the_same_end(tmp_path, raced):
    config = search(tmp_path)
    assert not run(config, trackers=Stop("trial-0000", 2500).of)
    assert study_of(config).trials[0].state.name == "RUNNING"
    with pytest.raises(MemoryError):
        run(config, trackers=Stop("trial-0004", 1200, kill=True).of)
    assert study_of(config).trials[0].state.name == "COMPLETE"
    assert study_of(config).trials[4].state.name == "RUNNING"
    assert (tmp_path / "trial-0004" / "checkpoint.pt").exists()
    assert run(config)
    assert trials_of(config) == trials_of(raced)


@pytest.mark.parametrize("env_steps", ["the end of a block", "the last step"])
def test_one_signal_stops_a_search_wherever_it_comes(tmp_path, raced, env_steps):
    config = search(tmp_path)
    place = config.boundaries()[config.first_look - 1] if env_steps == "the end of a block" else config.total_steps
    stop = Stop("trial-0000", place)
    assert not run(config, trackers=stop.of)
    assert stop.sent
    assert run(config)
    assert trials_of(config) == trials_of(raced)


def test_more_trials_may_be_asked_for_and_other_settings_are_refused(tmp_path):
    config = search(tmp_path, trials=2, race=False, total_steps=1024)
    assert run(config) and run(replace(config, trials=3, episodes=300))
    assert json.loads((tmp_path / "best.json").read_text())["evaluation"]["episodes"] == 300
    assert len(study_of(config).trials) == 3
    with pytest.raises(ValueError, match="holds a search with another total_steps"):
        run(replace(config, total_steps=2048))
    with alone(tmp_path, "the test"), pytest.raises(ValueError, match="another process"):
        run(config)


def test_settings_that_trained_nothing_may_be_corrected(tmp_path):
    right = search(tmp_path, trials=1, race=False, total_steps=1024)
    with pytest.raises(ValueError, match="batch_size: expected at least 1"):
        run(replace(right, train=right.train | {"bonus": ("rnd",), "bonus_config": {"rnd": {"batch_size": 0}}}))
    assert run(right) and len(study_of(right).trials) == 1


def test_a_training_in_which_no_episode_ends_fails_and_the_search_goes_on(tmp_path):
    class Never(Action):
        terminates_after = 0

    config = search(tmp_path, trials=2, total_steps=512)
    assert tune.run_tune(config, make_envs=lambda c: Never(num_envs=c.num_envs), judge=judge)
    assert [trial.state.name for trial in study_of(config).trials] == ["FAIL", "FAIL"]
    assert "no episode ended" in study_of(config).trials[0].user_attrs["error"]
    assert not (tmp_path / "best.json").exists()


def test_a_replay_survives_the_pauses_of_a_race(tmp_path):
    config = TuneConfig(agent="apex_dqn", out=str(tmp_path))
    assert config.of_trial(0, {}).agent_config["checkpoint_replay"] is True
    assert "checkpoint_replay" not in replace(config, race=False).of_trial(0, {}).agent_config


@pytest.mark.parametrize("agent", tune.SPACES)
def test_the_spaces_name_fields_of_the_agents(agent):
    assert TuneConfig(agent=agent).searched() is tune.SPACES[agent]


def test_blocks_pool_as_if_their_episodes_were_one():
    random = np.random.default_rng(0)
    parts = [random.normal(i, 1 + i, size) for i, size in enumerate((1, 0, 7, 30))]
    assert tune.pooled([tune.summary(part) for part in parts]) == pytest.approx(tune.summary(np.concatenate(parts)))


def test_a_score_is_what_the_objective_says():
    episodes = {"r": np.array([0.5, 2.0]), "goals_left": np.array([1, 3]), "goals_right": np.array([2, 1])}
    found = {name: tune.scores(episodes, name).tolist() for name in tune.OBJECTIVES}
    assert found == {"success": [0, 1], "goal_difference": [-1, 2], "return": [0.5, 2.0]}
    assert all(len(tune.scores({}, name)) == 0 for name in tune.OBJECTIVES)


def test_a_space_is_read_from_texts():
    texts = ["learning_rate=1e-4:1e-2:log", "num_epochs=2:10:int", "gae_lambda=0.9:1", "gamma=0.9,0.99", "lstm=0,64"]
    assert tune.read_space(texts) == {
        "learning_rate": (1e-4, 1e-2, "log"),
        "num_epochs": (2.0, 10.0, "int"),
        "gae_lambda": (0.9, 1.0, "linear"),
        "gamma": [0.9, 0.99],
        "lstm": [0, 64],
    }


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--space", "learning_rat=1e-4:1e-2:log"], "no learning_rat in ppo's Config"),
        (["--space", "learning_rate=1e-4:1e-2:lag"], "no 'lag' in kinds"),
        (["--space", "learning_rate=0:1e-2:log"], "above 0 where log"),
        (["--space", "learning_rate"], "expected FIELD=LOW:HIGH:KIND"),
        (["--space", "clip_coef=a:b:log"], "two numbers"),
        (["--space", "activation=tanh,swiss"], "swiss"),
        (["--agent", "sb3:PPO"], "not searched"),
        (["--train", "seed=1"], "seed in train"),
        (["--train", "num_env=1"], "no num_env in TrainConfig"),
        (["--total-steps", "3"], "total_steps of at least"),
    ],
)
def test_a_mistake_is_one_line(arguments, message, tmp_path, capsys):
    assert cli.run(["tune", "--out", str(tmp_path / "out"), *arguments]) == 1
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists(), "nothing is made of a mistake"


def test_without_optuna_the_command_says_what_to_install(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "optuna", None)
    monkeypatch.delitem(sys.modules, "touchline.benchmarks.tune")
    monkeypatch.delattr(benchmarks, "tune")
    assert cli.run(["tune", "--out", str(tmp_path)]) == 1
    assert "pip install 'touchline[tune]'" in capsys.readouterr().err


@pytest.mark.engine
def test_the_command_searches_on_the_engine(tmp_path, capsys):
    arguments = ["tune", "--trials", "2", "--total-steps", "4096", "--episodes", "4", "--out", str(tmp_path), "--quiet"]
    arguments += ["--train", "num_envs=8", "--train", "reset_pool=2", "--space", "learning_rate=1e-4:1e-3:log"]
    arguments += ["--space", "num_epochs=1:2:int"]
    assert cli.run(arguments) == 0
    assert "table.md" in capsys.readouterr().out
    best = json.loads((tmp_path / "best.json").read_text())
    assert best["evaluation"]["episodes"] == 4 and 1e-4 <= best["agent_config"]["learning_rate"] <= 1e-3
    assert (tmp_path / best["run"] / "eval.json").exists()
