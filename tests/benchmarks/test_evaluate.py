"""Evaluation against a toy environment whose episodes are known functions of seed and actions."""

import dataclasses
import io
import json
import math
import re
import types

import numpy as np
import pytest
from gymnasium.vector import AutoresetMode
from rich.console import Console

from touchline.benchmarks import evaluate as module
from touchline.benchmarks.evaluate import (
    FIRST_EVALUATION_SEED,
    evaluate,
    evaluation_of,
    evaluation_seeds,
    markdown,
    mean,
    share,
    student_t_cdf,
    student_t_quantile,
    table,
    wilson_interval,
    write_json,
    yardsticks,
)
from touchline.benchmarks.policies import checked_actions, load_policy
from touchline.envs.engine.build import locate
from touchline.envs.simulator import MatchState, empty_state
from touchline.replay import Replay
from touchline.scenarios import load
from touchline.train_config import MAX_SEED


class ToyEnv:
    """Episode of seed s: 1 + s mod 5 steps; the left side scores if the sum of all actions and s is even, the
    right side if s is divisible by 4. The observation of every agent is (s mod 1000, steps so far)."""

    def __init__(self, scenario, *, num_envs, left, right, auto_reset, **options):
        self.num_envs, self.num_players, self.left = num_envs, left + right, left
        self.options = {"scenario": scenario, "num_envs": num_envs, "left": left, "right": right, **options}
        mode = AutoresetMode.SAME_STEP if auto_reset else AutoresetMode.DISABLED
        self.metadata = {"autoreset_mode": mode}
        self.simulator = types.SimpleNamespace(
            state=empty_state(num_envs), final_state=empty_state(num_envs), seeds=np.zeros(num_envs, np.int64)
        )
        self.time = np.zeros(num_envs, int)
        self.total = np.zeros(num_envs, int)
        self.needs_reset = np.ones(num_envs, bool)
        self.played: list[int] = []
        self.closed = False

    def reset(self, *, seed, options):
        mask = options["reset_mask"]
        assert len(seed) == len(mask) == self.num_envs
        for i in np.flatnonzero(mask):
            self.simulator.seeds[i] = seed[i] if seed[i] >= 0 else 17
            self.time[i] = self.total[i] = 0
            self.needs_reset[i] = False
            self._fill(self.simulator.state, i)
        return self._observations(), {}

    def step(self, actions):
        assert not self.needs_reset.any(), "a match that ended was stepped"
        expected = (self.num_envs,) if self.num_players == 1 else (self.num_envs, self.num_players)
        assert actions.shape == expected
        self.time += 1
        self.total += actions.reshape(self.num_envs, -1).sum(1)
        seeds = self.simulator.seeds
        ended = self.time >= 1 + seeds % 5
        scored = (self.total + seeds) % 2 == 0
        conceded = seeds % 4 == 0
        for i in range(self.num_envs):
            self._fill(self.simulator.state, i)
            if ended[i]:
                self.simulator.state.get("left_score")[i] = scored[i]
                self.simulator.state.get("right_score")[i] = conceded[i]
                self.played.append(int(seeds[i]))
        self.simulator.final_state.floats[...] = self.simulator.state.floats
        self.simulator.final_state.ints[...] = self.simulator.state.ints
        self.needs_reset |= ended
        reward = np.where(ended, scored.astype(np.float32) - conceded, 0.0).astype(np.float32)
        if self.num_players > 1:
            reward = np.repeat(reward[:, None], self.num_players, axis=1)
        info = {}
        if ended.any():
            info["episode"] = {
                "r": np.where(ended, scored.astype(np.float32) - conceded, np.float32(99)),
                "l": self.time.copy(),
                "goals_left": scored.astype(np.int32),
                "goals_right": conceded.astype(np.int32),
                "shots_left": self.total.copy(),
            }
            info["_episode"] = ended.copy()
        return self._observations(), reward, ended, np.zeros(self.num_envs, bool), info

    def _fill(self, state: MatchState, i):
        state.get("ball_position")[i, 0] = self.time[i] / 100
        state.get("steps_left")[i] = 100 - self.time[i]
        state.get("left_score")[i] = state.get("right_score")[i] = 0

    def _observations(self):
        seen = np.stack([self.simulator.seeds % 1000, self.time], axis=1).astype(np.float32)
        return seen if self.num_players == 1 else np.repeat(seen[:, None], self.num_players, axis=1)

    def close(self):
        self.closed = True


class Maker:
    """make_vec that remembers the environments it made."""

    def __init__(self):
        self.made = []

    def __call__(self, scenario, **options):
        self.made.append(ToyEnv(scenario, **options))
        return self.made[-1]


class Always:
    """Presses one action, and notes the episodes it was told of."""

    name, action_set, observation, stack = "always", None, None, None

    def __init__(self, action=0, num_players=1):
        self.action, self.num_players, self.begun = action, num_players, []

    def begin(self, mask, seeds):
        self.begun += [int(s) for s in seeds[mask]]

    def act(self, observations, state, side):
        return np.full((len(observations), self.num_players), self.action)


def play(policy="random", *, make=None, **options):
    return evaluate(policy, "toy", **({"episodes": 23, "num_envs": 4} | options), make_vec=make or Maker())


# ---- intervals: golden values -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("hits", "trials", "low", "high"),
    [  # from the table of the fact sheet, and 0 of n: z^2 / (n + z^2)
        (8, 80, 0.0515, 0.1851),
        (24, 60, 0.2857, 0.5263),
        (1, 80, 0.0022, 0.0675),
        (60, 60, 0.9398, 1.0),
        (0, 80, 0.0, 0.0458),
    ],
)
def test_wilson_intervals_have_their_known_values(hits, trials, low, high):
    assert wilson_interval(hits, trials) == pytest.approx((low, high), abs=5e-5)


def test_wilson_intervals_touch_the_ends_exactly_and_are_symmetric():
    assert wilson_interval(0, 7)[0] == 0.0
    assert wilson_interval(7, 7)[1] == 1.0
    low, high = wilson_interval(2, 9)
    assert wilson_interval(7, 9) == pytest.approx((1 - high, 1 - low))
    assert all(math.isnan(x) for x in wilson_interval(0, 0))


@pytest.mark.parametrize(
    ("p", "degrees", "quantile"),
    [
        (0.975, 1, 12.7062),
        (0.975, 2, 4.30265),
        (0.975, 3, 3.18245),
        (0.975, 4, 2.77645),
        (0.975, 9, 2.26216),
        (0.975, 29, 2.04523),
        (0.975, 199, 1.97196),
        (0.95, 10, 1.81246),
        (0.5, 5, 0.0),
    ],
)
def test_student_quantiles_have_their_known_values(p, degrees, quantile):
    assert student_t_quantile(p, degrees) == pytest.approx(quantile, abs=2e-5)


def test_student_distribution_is_cauchy_with_one_degree_and_normal_with_many():
    assert student_t_cdf(1.0, 1) == pytest.approx(0.75)
    assert student_t_cdf(1.96, 100_000) == pytest.approx(0.975, abs=1e-4)


def test_a_mean_carries_the_student_interval():
    value, low, high = mean([1.0, 2.0, 3.0, 4.0])
    half = 3.18245 * math.sqrt(5 / 3) / 2
    assert (value, low, high) == pytest.approx((2.5, 2.5 - half, 2.5 + half), abs=1e-4)
    assert mean([2.0]).value == 2.0
    assert math.isnan(mean([2.0]).low)
    assert math.isnan(mean([]).value)
    assert math.isnan(share([]).value)


# ---- seeds and scheduling ---------------------------------------------------------------------------------


def test_evaluation_seeds_are_disjoint_between_evaluations_and_from_training():
    first, second = evaluation_seeds(0, 500), evaluation_seeds(1, 500)
    assert first.min() == FIRST_EVALUATION_SEED == 1_000_000_000
    assert not set(first.tolist()) & set(second.tolist())
    assert evaluation_seeds(999, 1_000_000).max() < 2**31
    assert evaluation_seeds(0, 1_000_000).max() < evaluation_seeds(1, 1)[0]
    # Each of the largest training's processes and actors, and each match of theirs, counts on from its seed.
    assert MAX_SEED + 64 * 1_000_003 + 1_000 * 1_009 + 500_009 + 100_000 < FIRST_EVALUATION_SEED


def test_an_engine_seed_tells_its_evaluation_and_episode():
    assert evaluation_of(evaluation_seeds(7, 30)[29]) == (7, 29)
    with pytest.raises(ValueError, match="engine seed 42 is not of an evaluation"):
        evaluation_of(42)


def test_results_do_not_depend_on_the_number_of_matches_at_once():
    alone = play("random", num_envs=1)
    for num_envs in (2, 7, 23, 64):
        together = play("random", num_envs=num_envs)
        assert together.rows == alone.rows
        assert together.metrics == alone.metrics


def test_every_policy_plays_every_seed_once_and_rows_are_in_their_order():
    maker, policy = Maker(), Always()
    result = play(policy, make=maker, num_envs=7)
    seeds = evaluation_seeds(0, 23).tolist()
    assert [row["seed"] for row in result.rows] == seeds
    assert [row["episode"] for row in result.rows] == list(range(23))
    assert sorted(policy.begun) == seeds
    counted = [seed for seed in maker.made[0].played if seed >= FIRST_EVALUATION_SEED]
    assert sorted(counted) == seeds
    assert [row["seed"] for row in play("idle").rows] == seeds


def test_rows_hold_what_the_seed_and_the_actions_decide():
    for row in play(Always(1)).rows:
        seed = row["seed"]
        length = 1 + seed % 5
        scored, conceded = (seed + length) % 2 == 0, seed % 4 == 0
        assert row["length"] == length
        assert row["goal_difference"] == scored - conceded
        assert row["success"] == (scored and not conceded)
        assert row["return"] == scored - conceded
        assert row["shots_left"] == length
        assert row["terminated"]
        assert not row["truncated"]


def test_the_summary_counts_the_rows():
    result = play(Always(1), episodes=40)
    difference = [row["goal_difference"] for row in result.rows]
    metrics = result.metrics
    wins = sum(d > 0 for d in difference)
    assert 0 < wins < 40
    assert metrics["score/success_rate"].value == wins / 40
    assert metrics["score/success_rate"][1:] == wilson_interval(wins, 40)
    assert metrics["score/win_rate"].value == wins / 40
    assert metrics["score/draw_rate"].value == difference.count(0) / 40
    assert metrics["score/loss_rate"].value == sum(d < 0 for d in difference) / 40
    assert metrics["score/goal_difference_per_game"].value == pytest.approx(np.mean(difference))
    assert metrics["time/length_steps"].value == pytest.approx(np.mean([row["length"] for row in result.rows]))
    assert result.env_steps == sum(row["length"] for row in result.rows)


def test_two_sides_get_their_own_columns_and_draw_apart():
    class Watching(Always):
        def act(self, observations, state, side):
            shapes.add((side, observations.shape))
            return super().act(observations, state, side)

    shapes = set()
    play(Watching(3, 2), left=2, right=1, opponent=Watching(4), num_envs=5)
    assert shapes == {("left", (5, 2, 2)), ("right", (5, 2))}


def test_the_same_script_on_both_sides_draws_apart(tmp_path):
    options = {"left": 2, "right": 2, "opponent": "random", "replays": 1, "replay_dir": tmp_path}
    replay = Replay.load(play("random", **options, episodes=5).replays[0])
    assert replay.actions.shape[1] == 4
    assert replay.policies == ("random", "random")
    assert (replay.actions[:, :2] != replay.actions[:, 2:]).any()


class Paying(ToyEnv):
    """Pays the second agent 10 in every step, the third 20: who was paid is plain."""

    def step(self, actions):
        observations, reward, *rest = super().step(actions)
        return (
            observations,
            np.repeat(10.0 * np.arange(self.num_players, dtype=np.float32)[None], len(reward), 0),
            *rest,
        )


class PayingMaker(Maker):
    def __call__(self, scenario, **options):
        self.made.append(Paying(scenario, **options))
        return self.made[-1]


class Remembering(Always):
    """Has a memory as large as the first batch that it was told of."""

    def begin(self, mask, seeds):
        super().begin(mask, seeds)
        self.steps = np.where(mask, 0, getattr(self, "steps", np.zeros(len(mask), int)))


def test_both_sides_in_turn_with_all_counts_those_of_the_policys_side():
    maker, home, away, shown = PayingMaker(), Remembering(3, 2), Always(4), []
    result = evaluate(
        home,
        "11_vs_11_easy_stochastic",
        side="both",
        left=2,
        right=1,
        opponent=away,
        episodes=7,
        num_envs=16,
        make_vec=maker,
        progress=lambda done, total: shown.append((done, total)),
    )
    seeds, sides = evaluation_seeds(0, 7), ["left", "left", "right", "right", "left", "left", "right"]
    assert [row["side"] for row in result.rows] == sides
    assert [row["seed"] for row in result.rows] == list(seeds)
    assert home.begun == away.begun == [*seeds[[0, 1, 4, 5]], *seeds[[2, 3, 6]]]
    assert shown == [(done, 7) for done in range(1, 8)]
    right = np.array(sides) == "right"
    own, other = (np.array([row[f"goals_{side}"] for row in result.rows]) for side in ("left", "right"))
    ahead = np.where(right, other - own, own - other)
    assert [row["goal_difference"] for row in result.rows] == ahead.tolist() and len({*(own - other).tolist()}) > 1
    assert [row["success"] for row in result.rows] == (ahead > 0).tolist()
    assert [row["return"] / row["length"] for row in result.rows] == (10.0 * right).tolist()
    first, second = (made.options for made in maker.made)
    assert [(made["left"], made["right"], made["num_envs"]) for made in (first, second)] == [(2, 1, 3), (1, 2, 3)]
    assert (second["scenario"].left_team_difficulty, second["scenario"].right_team_difficulty) == (0.05, 1.0)
    others = yardsticks(result, names=("idle",), opponent=Always(4), make_vec=Maker())
    assert [row["side"] for row in others[0].rows] == sides
    assert "from left and right in turn" in markdown([result, *others]) and result.to_json()["side"] == "both"
    with pytest.raises(ValueError, match="one side"):
        markdown([result, dataclasses.replace(result, side="left")])


def test_replays_from_both_sides_name_who_played_where(tmp_path):
    options = {"side": "both", "right": 1, "opponent": "idle", "replays": 3, "replay_dir": tmp_path}
    result = evaluate("random", "5_vs_5", **options, episodes=4, make_vec=Maker())
    replays = sorted((Replay.load(path) for path in result.replays), key=lambda replay: replay.episode)
    assert [replay.policies for replay in replays] == [("random", "idle"), ("random", "idle"), ("idle", "random")]
    assert [replay.agent for replay in replays] == [0, 0, 1]


def test_a_drill_is_played_from_the_left():
    with pytest.raises(ValueError, match="academy_corner is a drill"):
        evaluate("random", "academy_corner", side="both", make_vec=Maker())
    match = load("5_vs_5")
    lazy = tuple(dataclasses.replace(player, lazy=True) for player in match.right_team)
    assert match.sides_are_alike
    for change in ({"ball_position": (0.5, 0.0)}, {"right_team": lazy}):
        assert not dataclasses.replace(match, **change).sides_are_alike
    with pytest.raises(ValueError, match="no side 'middle'; there are left, right, both"):
        evaluate("random", "5_vs_5", side="middle", make_vec=Maker())


def test_the_environment_is_closed_even_when_the_policy_fails():
    maker = Maker()
    with pytest.raises(ValueError, match="always: expected actions 0 to 18, got 19 to 19"):
        play(Always(19), make=maker)
    assert maker.made[0].closed


def test_the_environment_is_made_for_the_policy():
    maker = Maker()
    wanting = Always()
    wanting.observation, wanting.stack, wanting.action_set = "smm", 4, "v2"
    result = play(wanting, make=maker, num_threads=3, control="fixed", rewards={"scoring": 2.0})
    options = maker.made[0].options
    assert (options["observation"], options["stack"], options["action_set"]) == ("smm", 4, "v2")
    assert (options["num_threads"], options["control"], options["rewards"]) == (3, "fixed", {"scoring": 2.0})
    assert (result.observation, result.action_set, result.control) == ("smm", "v2", "fixed")
    play("builtin_ai", make=maker)
    assert maker.made[1].options["action_set"] == "v2"
    play("idle", make=maker, num_envs=100, episodes=3)
    assert maker.made[2].options["num_envs"] == 3
    assert maker.made[2].options["action_set"] == "default"


def test_who_knows_the_ai_as_an_action_meets_who_does_not():
    maker, away = Maker(), Always(num_players=1)
    away.action_set = "default"
    play("builtin_ai", opponent=away, right=1, make=maker)
    assert maker.made[0].options["action_set"] == "v2"
    away.action = 19
    with pytest.raises(ValueError, match="always: expected actions 0 to 18, got 19"):
        play("builtin_ai", opponent=away, right=1)


def test_every_side_sees_the_matches_in_its_own_observation():
    class Noting(Always):
        def act(self, observations, state, side):
            self.seen = [*getattr(self, "seen", []), observations.copy()]
            return super().act(observations, state, side)

    maker, home, away = Maker(), Noting(), Noting()
    home.observation, away.observation, away.stack = "egocentric", "simple115v2", 2
    result = play(home, opponent=away, right=1, make=maker)
    options = maker.made[0].options
    assert (options["observation"], options["stack"], result.observation) == ("egocentric", 1, "egocentric")
    steps, matches = np.concatenate(home.seen)[:, 1], np.concatenate(away.seen)
    ball, before = matches[:, 88 + 115], matches[:, 88]
    assert matches.shape[1:] == (230,) and steps.max() > 2
    assert ball == pytest.approx(-steps / 100) and before == pytest.approx(-np.maximum(steps - 1, 0) / 100)
    script = Maker()
    play("random", opponent=away, right=1, make=script)
    options = script.made[0].options
    assert (options["observation"], options["stack"]) == ("simple115v2", 2), "a script has no wish"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"episodes": 0}, "1 to 1000000 episodes"),
        ({"seed": 1000}, "seed from 0 to 999"),
        ({"num_envs": 0}, "num_envs of at least 1"),
        ({"left": 0}, "at least 1 agent"),
        ({"right": 1}, "expected an opponent"),
        ({"opponent": "idle"}, "expected an opponent"),
        ({"replays": 1}, "expected replay_dir"),
        ({"replays": -1}, "replays of at least 0"),
        ({"policy": "builtin_ai", "action_set": "default"}, "needs the action set 'v2'"),
        ({"policy": "nobody"}, "no policy 'nobody'; expected a run directory"),
    ],
)
def test_wrong_requests_are_refused_with_what_was_expected(options, message):
    with pytest.raises(ValueError, match=message):
        play(**options)


def test_replays_carry_reward_terms_and_what_the_first_agent_expects(tmp_path):
    class Paying(ToyEnv):
        def step(self, actions):
            *rest, info = super().step(actions)
            terms = np.arange(self.num_envs)[:, None] + np.arange(self.num_players) / 10
            return *rest, info | {"reward_terms": {"toy": terms[:, 0] if self.num_players == 1 else terms}}

    class Expecting(Always):
        def value_estimates(self, observations):
            return {"value": observations[..., 1]}  # the steps so far

    for left in (1, 2):
        policy, options = Expecting(1, left), {"replays": 3, "replay_dir": tmp_path, "left": left, "num_envs": 3}
        for index, path in enumerate(play(policy, make=Paying, **options).replays):
            series = Replay.load(path).series
            steps = len(series["value"])
            assert series["value"].tolist() == list(range(steps))
            assert series["reward/toy"].tolist() == [index] * steps


# ---- replays, tables, files -------------------------------------------------------------------------------


def test_replays_are_the_first_episodes_with_their_true_last_state(tmp_path):
    result = play(Always(1), replays=3, replay_dir=tmp_path, num_envs=2)
    assert len(result.replays) == 3
    for episode, path in enumerate(result.replays):
        replay, row = Replay.load(path), result.rows[episode]
        assert (replay.seed, replay.episode, replay.num_steps) == (row["seed"], episode, row["length"])
        assert replay.actions.tolist() == [[1]] * row["length"]
        assert replay.score == (row["goals_left"], row["goals_right"])
        assert replay.rewards.sum() == row["return"]
        assert replay.states.get("ball_position")[:, 0] == pytest.approx(np.arange(row["length"] + 1) / 100)
        assert replay.policies == ("always", "built-in AI")
        assert replay.terminated


def test_yardsticks_play_the_same_seeds_under_the_same_conditions():
    result = play(Always(1), episodes=9, seed=5, rewards={"scoring": 1.0, "checkpoints": 0.5}, control="fixed")
    others = yardsticks(result, num_envs=3, make_vec=Maker())
    assert [other.policy for other in others] == ["random", "builtin_ai"]
    for other in others:
        assert [row["seed"] for row in other.rows] == [row["seed"] for row in result.rows]
        assert (other.rewards, other.control) == (result.rewards, "fixed")
    assert [other.policy for other in yardsticks(others[0], make_vec=Maker())] == ["builtin_ai"]


def test_tables_show_every_policy_with_its_intervals():
    results = [play(Always(1)), play("idle")]
    text = markdown(results)
    low, high = wilson_interval(sum(row["success"] for row in results[0].rows), 23)
    assert f"[{100 * low:.1f}, {100 * high:.1f}]" in text
    assert text.count("\n| ") == 4
    assert "engine seeds 1000000000 to 1000000022" in text
    console = Console(width=200, record=True, file=io.StringIO())
    console.print(table(results))
    shown = console.export_text()
    assert "always" in shown
    assert "idle" in shown


def test_results_on_different_seeds_are_not_put_in_one_table():
    with pytest.raises(ValueError, match="different seeds"):
        markdown([play("idle"), play("random", seed=1)])
    with pytest.raises(ValueError, match="one scenario"):
        markdown([play("idle"), evaluate("idle", "other", episodes=23, make_vec=Maker())])


def test_eval_json_holds_metrics_conditions_and_every_episode(tmp_path):
    results = [play(Always(1)), play("idle", episodes=1)]
    content = json.loads(write_json(results, tmp_path / "run" / "eval.json").read_text())
    assert content["format"] == "touchline-eval"
    first, single = content["results"]
    assert first["metrics"]["score/success_rate"]["value"] == results[0].metrics["score/success_rate"].value
    assert first["rows"] == list(results[0].rows)
    assert {"scenario", "backend", "control", "seed", "episodes", "env_steps", "commit", "machine"} <= first.keys()
    assert re.search(r", \d+ cores", first["machine"])
    assert single["metrics"]["time/length_steps"]["low"] is None
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["eval.json"]


def test_the_commit_is_that_of_this_checkout_or_none(monkeypatch, tmp_path):
    monkeypatch.setattr(module, "__file__", str(tmp_path / "site" / "touchline" / "benchmarks" / "evaluate.py"))
    assert module._commit() is None


# ---- policies ---------------------------------------------------------------------------------------------


def written(path, text):
    path.write_text(text)
    return path


def test_a_python_file_plays(tmp_path):
    path = written(
        tmp_path / "agent.py",
        "import numpy as np\nOBSERVATION = 'egocentric'\n"
        "def act(observations):\n    return observations[:, 1].astype(int) % 2\n",
    )
    maker = Maker()
    result = play(path, make=maker)
    assert result.policy == "agent.py"
    assert maker.made[0].options["observation"] == "egocentric"
    for row in result.rows:
        assert row["shots_left"] == row["length"] // 2


def test_two_files_of_one_name_do_not_mix(tmp_path):
    players = []
    for action in (1, 2):
        (tmp_path / str(action)).mkdir()
        path = written(tmp_path / str(action) / "agent.py", f"def act(observations):\n    return [{action}]\n")
        players.append(load_policy(path))
    assert [player.act(None, None, "left") for player in players] == [[1], [2]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("def play(x): return x", r"no function act\(observations\)"),
        ("act = 3", r"no function act\(observations\)"),
        ("import no_such_module_here", "cannot be imported: ModuleNotFoundError"),
        ("def act(:", "cannot be imported: SyntaxError"),
    ],
)
def test_a_broken_policy_file_says_what_is_wrong(tmp_path, text, message):
    with pytest.raises(ValueError, match=message) as caught:
        load_policy(written(tmp_path / "agent.py", text))
    assert "agent.py" in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "import numpy as np\ndef act(observations):\n    return np.zeros(3).reshape(2, 2)\n",
        "import numpy as np\ndef agent(obs):\n    return np.zeros(3).reshape(2, 2)\n",
        "import numpy as np\ndef begin(mask, seeds):\n    np.zeros(3).reshape(2, 2)\ndef act(observations): pass\n",
    ],
)
def test_an_error_in_a_policy_file_names_the_file_and_the_line(tmp_path, text):
    path = written(tmp_path / "mine.py", text)
    with pytest.raises(ValueError, match=r"mine\.py, line 3: ValueError: cannot reshape"):
        play(path)


def test_a_kaggle_style_file_plays(tmp_path):
    path = written(tmp_path / "agent.py", "n = 0\ndef agent(obs):\n    global n\n    n += 1\n    return [n % 2]\n")
    for row in play(path).rows:
        assert row["shots_left"] == -(-row["length"] // 2), "every episode has globals of its own"


def test_a_file_that_is_not_there_and_an_untrusted_sb3_zip_are_refused(tmp_path):
    with pytest.raises(ValueError, match="no policy file"):
        load_policy(tmp_path / "none.py")
    with pytest.raises(ValueError, match="no SB3 zip"):
        load_policy(tmp_path / "model.zip")
    written(tmp_path / "model.zip", "")
    with pytest.raises(ValueError, match="pickles.*--trust"):
        play(tmp_path / "model.zip")
    with pytest.raises(ValueError, match="no model that SB3 saved"):
        play(tmp_path / "model.zip", trust=True)


def test_a_run_directory_is_loaded_by_the_checkpoint_module(tmp_path, monkeypatch):
    from touchline import checkpoint

    player = types.SimpleNamespace(act=lambda seen: np.zeros(len(seen), int), observation="smm", begun=[])
    player.begin = lambda mask, seeds: player.begun.extend(seeds[mask].tolist())
    monkeypatch.setattr(checkpoint, "load_policy", lambda path: player, raising=False)
    maker = Maker()
    result = play(tmp_path, make=maker)
    assert result.policy == tmp_path.name
    assert maker.made[0].options["observation"] == "smm"
    assert sorted(player.begun) == evaluation_seeds(0, 23).tolist()


@pytest.mark.parametrize(
    ("actions", "message"),
    [
        ([0, 1], "shape"),
        ([[0, 1], [1, 2], [2, 3]], "shape"),
        ([0.0, 1.0, 2.0], "integer actions, got float64"),
        ([0, 1, -1], "expected actions 0 to 18, got -1"),
    ],
)
def test_wrong_actions_are_refused_with_the_policys_name(actions, message):
    with pytest.raises(ValueError, match=f"mine: .*{message}"):
        checked_actions(actions, policy="mine", shape=(3, 1), num_actions=19)


def test_actions_of_one_agent_may_come_with_or_without_their_own_axis():
    for actions in ([0, 1, 2], [[0], [1], [2]]):
        assert checked_actions(actions, policy="mine", shape=(3, 1), num_actions=19).tolist() == [
            [0],
            [1],
            [2],
        ]


# ---- the real engine --------------------------------------------------------------------------------------


@pytest.mark.engine
@pytest.mark.skipif(locate() is None, reason="the engine is not built on this machine")
def test_run_and_shoot_always_scores_into_the_empty_goal(tmp_path):
    results = [
        evaluate(
            "run_and_shoot",
            "academy_empty_goal_close",
            episodes=6,
            num_envs=num_envs,
            num_threads=2,
            replays=1,
            replay_dir=tmp_path,
        )
        for num_envs in (1, 4)
    ]
    assert results[0].rows == results[1].rows
    assert results[0].metrics["score/success_rate"].value == 1.0
    assert Replay.load(results[0].replays[0]).result == "GOAL"


@pytest.mark.engine
@pytest.mark.skipif(locate() is None, reason="the engine is not built on this machine")
@pytest.mark.parametrize("opponent", [None, "idle"])
def test_whoever_wins_from_the_left_wins_from_the_right_too(tmp_path, opponent):
    short = tmp_path / "short_match.py"
    short.write_text(
        "from dataclasses import replace\n"
        "from touchline.scenarios import load\n"
        "SCENARIO = replace(load('5_vs_5'), name='short_match', game_duration=900)\n"
    )
    players = {"left": 4, "right": 4 if opponent else 0}
    result = evaluate("finisher", str(short), side="both", episodes=8, opponent=opponent, control="fixed", **players)
    assert all(row["goal_difference"] == row["return"] for row in result.rows)
    for side in ("left", "right"):
        assert sum(row["goal_difference"] for row in result.rows if row["side"] == side) > 0
