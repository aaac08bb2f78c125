"""Tournaments: tables of games with known answers, Swiss rounds, and short matches on the real engine."""

import csv
import dataclasses
import json
import os
import random
import signal
import subprocess
import sys
import time
from itertools import combinations

import numpy as np
import pytest

from touchline import cli, scenarios, trained
from touchline.benchmarks import standings as tables
from touchline.benchmarks import tournament
from touchline.benchmarks.heat_map import draw_heat_map
from touchline.benchmarks.standings import Game, GameLog
from touchline.benchmarks.tournament import Settings, participants, run_tournament
from touchline.processes import alone
from touchline.replay import Replay


def game(left, right, goals, seed=0, pairing=0, leg=0, number=1, **forfeits):
    return Game(number, pairing, leg, left, right, seed, goals, 10, forfeits)


GAMES = [
    game("a", "b", (2, 0)),
    game("b", "a", (1, 1), leg=1),
    game("a", "c", (0, 0), pairing=1),
    game("c", "a", (0, 3), pairing=1, leg=1, c="it crashed"),
    game("b", "c", (0, 0), pairing=2, b="too slow", c="it crashed"),
    game("c", "b", (4, 1), pairing=2, leg=1),
]


# ---- tables ------------------------------------------------------------------------------------------------


def test_the_table_adds_up_wins_draws_losses_points_and_goals():
    rows = {row.name: row for row in tables.standings(["a", "b", "c"], GAMES)}
    record = {name: (row.wins, row.draws, row.losses, row.points, row.forfeits) for name, row in rows.items()}
    assert record == {"a": (2, 2, 0, 8, 0), "b": (0, 1, 3, 1, 1), "c": (1, 1, 2, 4, 2)}
    assert [row.rank for row in rows.values()] == [1, 2, 3]
    assert list(rows) == ["a", "c", "b"]
    assert rows["a"].goal_difference.value == (2 + 0 + 0 + 3) / 4
    assert rows["b"].goal_difference.value == (-2 + 0 - 3 - 3) / 4, "both lose a double forfeit 0:3"
    assert rows["a"].win_rate == tables.share([True, False, False, True])
    assert rows["a"].goal_difference.low < 1.25 < rows["a"].goal_difference.high


def test_the_cross_table_shows_the_row_against_the_column():
    matrix = tables.cross_table(["a", "b", "c"], GAMES)
    assert np.isnan(np.diag(matrix)).all()
    assert matrix[0].tolist()[1:] == [1.0, 1.5]
    assert matrix[1, 0] == -1.0
    assert (matrix[1, 2], matrix[2, 1]) == (-3.0, 0.0)
    payoff = tables.payoffs(["a", "b", "c"], GAMES)
    assert payoff[0, 1] == -payoff[1, 0] == 0.5
    assert payoff[2, 1] == -payoff[1, 2] == 0.5, "the double forfeit is worth nothing to either"
    assert np.isnan(tables.cross_table(["a", "b", "d"], GAMES[:2])[0, 2])


def test_ratings_do_not_depend_on_which_game_finished_first():
    names = ["a", "b", "c", "random"]
    rng = random.Random(0)
    pairs = list(combinations(names, 2))
    games = [
        game(*pair, (rng.randrange(3), rng.randrange(3)), seed=seed, pairing=i)
        for i, pair in enumerate(pairs)
        for seed in range(4)
    ]
    expected, ratings = tables.standings(names, games), tables.rate(names, games).state_dict()
    for _ in range(5):
        rng.shuffle(games)
        assert tables.standings(names, games) == expected
        assert tables.rate(names, games).state_dict() == ratings
    assert next(row for row in expected if row.name == "random").rating.mu == 15.0


def test_the_nash_share_needs_everybody_to_have_met():
    cycle = [game("a", "b", (1, 0)), game("b", "c", (1, 0), pairing=1), game("c", "a", (1, 0), pairing=2)]
    assert [row.nash for row in tables.standings("abc", cycle)] == pytest.approx([1 / 3] * 3, abs=1e-6)
    assert [row.nash for row in tables.standings("abc", cycle[:2])] == [None] * 3


def test_files_hold_what_the_table_holds():
    rows = tables.standings(["a", "b", "c"], GAMES)
    read = list(csv.DictReader(tables.table_csv(rows).splitlines()))
    assert [(r["policy"], int(r["points"]), int(r["draws"])) for r in read] == [("a", 8, 2), ("c", 4, 1), ("b", 1, 1)]
    assert float(read[0]["mu"]) == pytest.approx(rows[0].rating.mu, abs=1e-3)
    text = tables.table_markdown(tables.standings(["a|b", "c"], [game("a|b", "c", (1, 0))]))
    assert "| a\\|b | 1 | 1/0/0 | 3 |" in text, "one game has no interval of goal differences"
    assert "| +1.00 |" in text
    matrix = tables.cross_table(["a", "b", "c"], GAMES)
    assert "| a |  | +1.00 | +1.50 |" in tables.cross_table_markdown("abc", matrix)
    assert tables.cross_table_csv("abc", matrix).splitlines()[1] == "a,,1,1.5"


def test_a_heat_map_is_drawn_if_there_is_something_to_draw_with(tmp_path, monkeypatch):
    matrix = np.array([[np.nan, 1.0], [-1.0, np.nan]])
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert not draw_heat_map(["a", "b"], matrix, tmp_path / "map.png", label="x")
    assert not list(tmp_path.iterdir())
    monkeypatch.undo()
    pytest.importorskip("matplotlib")
    assert draw_heat_map(["a", "b"], matrix, tmp_path / "map.png", label="x")
    assert (tmp_path / "map.png").read_bytes().startswith(b"\x89PNG")


# ---- the log -----------------------------------------------------------------------------------------------


def test_a_torn_last_line_is_cut_off_and_a_damaged_one_before_is_refused(tmp_path):
    path = tmp_path / "games.jsonl"
    log = GameLog(path)
    log.append(GAMES[:2])
    log.append(GAMES[1:3])
    whole = path.read_bytes()
    assert len(whole.splitlines()) == 3, "a game is recorded once"
    path.write_bytes(whole + whole[:40])
    log = GameLog(path)
    assert log.in_order() == GAMES[:3]
    log.append(GAMES[3:4])
    assert GameLog(path).in_order() == GAMES[:4]
    path.write_bytes(b"{}\n" + whole)
    with pytest.raises(ValueError, match=r"games.jsonl, line 1 is no game"):
        GameLog(path)


# ---- Swiss -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", range(2, 12))
def test_swiss_rounds_have_no_rematch_and_everybody_rests_at_most_once(count):
    names = [f"p{i}" for i in range(count)]
    rng = random.Random(count)
    games = []
    for number in range(1, count // 2 + 1):
        pairings = tables.swiss_pairings(names, games)
        assert pairings == tables.swiss_pairings(names, rng.sample(games, len(games))), "only the games decide"
        assert len({name for pair in pairings for name in pair}) == 2 * (count // 2)
        for index, pair in enumerate(pairings):
            for leg, (left, right) in enumerate((pair, pair[::-1])):
                goals = rng.randrange(3), rng.randrange(3)
                games.append(game(left, right, goals, pairing=index, leg=leg, number=number))
    met = [frozenset(g.players) for g in games if g.leg == 0]
    assert len(met) == len(set(met))
    assert all(len(rounds) <= 1 for rounds in tables.byes(names, games).values())


def test_swiss_leaders_meet_and_a_bye_is_worth_a_round_of_wins():
    names = ["a", "b", "c", "d", "e"]
    assert tables.swiss_pairings(names, []) == [("a", "b"), ("c", "d")]
    games = [game("a", "b", (0, 1)), game("c", "d", (0, 5), pairing=1)]
    assert tables.scores(names, games)["e"] == (3, 0)
    # d leads by goals; b and e have as many points; a and c are last, and c has lost by more: it rests
    assert tables.swiss_pairings(names, games) == [("d", "b"), ("e", "a")]
    with pytest.raises(ValueError, match="without a rematch"):
        tables.swiss_pairings(["a", "b"], games[:1])


def test_nobody_rests_twice_before_everyone_has_rested():
    names = list("abcdefg")
    rounds = [["ab", "cd", "ef"], ["ga", "bc", "de"], ["gb", "ac", "df"]]  # g, f and e rest
    games = [
        game(*pair, (0, 9) if pair[0] == "g" else (0, 0), pairing=index, number=number)
        for number, pairs in enumerate(rounds, 1)
        for index, pair in enumerate(pairs)
    ]
    totals = tables.scores(names, games)
    assert min(totals, key=totals.get) == "g", "which would be the one to rest"
    playing = {name for pair in tables.swiss_pairings(names, games) for name in pair}
    assert {"e", "f", "g"} < playing


# ---- requests ----------------------------------------------------------------------------------------------


def test_names_are_short_while_that_tells_them_apart(tmp_path):
    for folder in ("x", "y"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "bot.py").write_text(f"# {folder}")
    (tmp_path / "x" / "other.py").touch()
    bots = [str(tmp_path / place) for place in ("x/bot.py", "y/bot.py", "x/other.py")]
    people = participants([*bots, "builtin_ai", "builtin_ai:0.05"])
    assert [person.name for person in people] == [*bots[:2], "other.py", "builtin_ai", "builtin_ai:0.05"]
    assert [person.difficulty for person in people] == [None, None, None, None, 0.05]
    assert people[0].digest != people[1].digest


def test_a_policy_is_the_same_however_its_path_is_spelt(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rego").mkdir()
    (tmp_path / "rego" / "checkpoint.pt").write_text("weights")
    with pytest.raises(ValueError, match=r"^rego and rego/ and \./rego: named twice"):
        participants(["rego", "random", "rego/", "./rego"])
    with pytest.raises(ValueError, match=r"^builtin_ai:0\.5 and builtin_ai:0\.50: named twice"):
        participants(["builtin_ai", "builtin_ai:0.5", "builtin_ai:0.50"])
    shipped = trained.names()[0]
    with pytest.raises(ValueError, match=f"^{shipped} and .*{shipped}: named twice"):
        participants([shipped, str(trained.FOLDER / shipped)])


@pytest.mark.parametrize(
    ("policies", "options", "message"),
    [
        (["random"], {}, "at least 2 policies, got 1"),
        (["random", "idle", "random"], {}, "random: named twice"),
        (["random", "nobody"], {}, "no policy 'nobody'; expected a run directory, an SB3 zip"),
        (["random", "builtin_ai:2"], {}, "builtin_ai:2: expected builtin_ai:DIFFICULTY"),
        (["random", "builtin_ai:hard"], {}, "difficulty from 0 to 1"),
        (["random", "random:1"], {}, "no policy 'random:1'"),
        (["random", "."], {}, r"\. holds no checkpoint.pt; expected a run directory"),
        (["random", "idle"], {"format": "cup"}, "no format 'cup'; there are round_robin, swiss"),
        (["random", "idle"], {"games": 0}, "games of at least 1"),
        (["random", "idle"], {"seed": 1000}, "seed from 0 to 999"),
        (["random", "idle"], {"rounds": 2}, "rounds belong to the swiss format"),
        (["random", "idle"], {"format": "swiss", "rounds": 2}, "at most 1 rounds"),
        (["random", "idle"], {"players": 5}, "at most 4 players, which both sides have"),
        (["random", "idle"], {"time_limit": 0.0}, "limits above 0"),
    ],
)
def test_wrong_requests_are_refused_with_what_was_expected(policies, options, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        run_tournament(policies, "5_vs_5", Settings(**options), out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_scenario_in_which_one_side_cannot_be_played_and_an_untrusted_zip_are_refused(tmp_path):
    drill = scenarios.load("academy_empty_goal")
    keepers = tuple(dataclasses.replace(player, controllable=False) for player in drill.right_team)
    with pytest.raises(ValueError, match="both sides can be played"):
        run_tournament(["random", "idle"], dataclasses.replace(drill, right_team=keepers), out=tmp_path / "out")
    (tmp_path / "model.zip").touch()
    with pytest.raises(ValueError, match="model.zip holds pickles.*--trust"):
        run_tournament(["random", tmp_path / "model.zip"], out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_folder_of_another_tournament_is_refused_with_the_difference(tmp_path):
    bot = tmp_path / "bot.py"
    bot.write_text("def act(observations): return [0]\n")

    def claim(settings=None, policies=("random", str(bot)), scenario="5_vs_5"):
        tournament._claim(tmp_path, participants(policies), scenarios.load(scenario), settings or Settings())

    claim()
    claim()
    with pytest.raises(ValueError, match="settings.games 4 there and 5 here; give another folder"):
        claim(Settings(games=5))
    with pytest.raises(ValueError, match="scenario '5_vs_5' there and '11_vs_11_kaggle' here"):
        claim(scenario="11_vs_11_kaggle")
    with pytest.raises(ValueError, match="policy idle"):
        claim(policies=("random", str(bot), "idle"))
    with pytest.raises(ValueError, match="policies.*there and"):
        claim(policies=(str(bot), "random"))
    bot.write_text("def act(observations): return [1]\n")
    with pytest.raises(ValueError, match="policy .*bot.py.*digest"):
        claim()
    (tmp_path / "tournament.json").unlink()
    (tmp_path / "games.jsonl").touch()
    with pytest.raises(ValueError, match="games but no tournament.json"):
        claim()


# ---- the real engine ---------------------------------------------------------------------------------------

SCENARIO = """import dataclasses
from touchline import scenarios
SCENARIO = dataclasses.replace(scenarios.load("5_vs_5"), name="short", game_duration={duration})
"""
BATCHED = """import numpy as np
OBSERVATION, STACK = "egocentric", 2
def act(observations):
    assert observations.shape[1:] == (4, 378) and observations.dtype == np.float32, observations.shape
    return np.where(observations[..., 7 + 189] > 0, 12, 5)
"""
KAGGLE = """import random
begun = False
def agent(obs):
    global begun
    raw = obs["players_raw"]
    assert len(raw) == 4 and raw[0]["left_team"][0][0] < -0.9 < 0.9 < raw[0]["right_team"][0][0]
    assert begun or raw[0]["steps_left"] == DURATION, raw[0]["steps_left"]
    begun = True
    return [random.choice((5, 12, 13)) for _ in raw]
"""
CRASHING = """steps = 0
def act(observations):
    global steps
    steps += 1
    if steps == 5:
        raise RuntimeError("out of ideas")
    return observations[..., 0].astype(int) * 0
"""
HANGING = """import os, pathlib, time
def act(observations):
    pathlib.Path(__file__).with_suffix(".pid").write_text(str(os.getpid()))
    while True: pass
"""
DURATION = 12


def short(duration=DURATION, name="5_vs_5"):
    return dataclasses.replace(scenarios.load(name), name="short", game_duration=duration)


def written(folder, **files):
    for name, text in files.items():
        (folder / f"{name}.py").write_text(text)
    return [str(folder / f"{name}.py") for name in files]


def lines(out):
    return [json.loads(line) for line in (out / "games.jsonl").read_text().splitlines()]


TABLES = ("table.md", "table.csv", "cross_table.md", "cross_table.csv")


@pytest.mark.engine
def test_six_mixed_policies_of_which_one_crashes_and_one_hangs_survive_kill_9(tmp_path, capsys):
    """The acceptance line: right table, two who forfeit, and a killed tournament ends as an undisturbed one."""
    kaggle = KAGGLE.replace("DURATION", str(DURATION + 1))
    files = written(tmp_path, batched=BATCHED, kaggle=kaggle, crashing=CRASHING, hanging=HANGING)
    (scenario,) = written(tmp_path, drill=SCENARIO.format(duration=DURATION))
    policies = ["random", "builtin_ai:0.3", *files]

    def command(out):
        flags = ["--scenario", scenario, "--games", "2", "--time-limit", "3", "--num-threads", "2", "--out", str(out)]
        return ["tournament", *policies, *flags]

    # killed while the hanging policy has the ball: its process, in an endless loop, must go too
    mark = tmp_path / "hanging.pid"
    process = subprocess.Popen(
        [sys.executable, "-m", "touchline.cli", *command(tmp_path / "killed")], stdout=subprocess.DEVNULL
    )
    while not mark.exists() or not mark.read_text():
        assert process.poll() is None
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    for _ in range(1000):
        if _gone(int(mark.read_text())):
            break
        time.sleep(0.01)
    outlived = not _gone(int(mark.read_text()))
    if outlived:
        os.kill(int(mark.read_text()), signal.SIGKILL)
    assert not outlived
    before = lines(tmp_path / "killed")
    assert 0 < len(before) < 60
    assert not (tmp_path / "killed" / "table.md").exists()
    with (tmp_path / "killed" / "games.jsonl").open("a") as file:
        file.write('{"round": 1, "pair')

    assert cli.run(command(tmp_path / "killed")) == 0
    assert "hanging.py" in capsys.readouterr().out
    assert lines(tmp_path / "killed")[: len(before)] == before, "what was played is not played again"
    assert cli.run(command(tmp_path / "whole")) == 0
    for name in TABLES:
        assert (tmp_path / "killed" / name).read_text() == (tmp_path / "whole" / name).read_text(), name

    games = lines(tmp_path / "whole")
    assert len(games) == 15 * 4
    forfeits = {name: {g["pairing"]: g["forfeits"][name] for g in games if name in g["forfeits"]} for name in NAMES}
    assert {name: len(found) for name, found in forfeits.items() if found} == {"crashing.py": 5, "hanging.py": 5}
    assert list(forfeits["crashing.py"].values())[:2] == ["RuntimeError: out of ideas"] * 2
    assert list(forfeits["hanging.py"].values())[:2] == ["act took longer than 3 seconds"] * 2
    for name in ("crashing.py", "hanging.py"):
        for reason in list(forfeits[name].values())[2:]:
            assert reason.startswith("not played, after 2 forfeited pairings: ")
    rows = {r["policy"]: r for r in csv.DictReader((tmp_path / "whole" / "table.csv").read_text().splitlines())}
    assert set(rows) == set(NAMES)
    for name, row in rows.items():
        own = [g for g in games if name in (g["left"], g["right"])]
        wins = sum(_won(g, name) for g in own)
        draws = sum(g["goals"][0] == g["goals"][1] and not g["forfeits"] for g in own)
        assert (int(row["played"]), int(row["wins"]), int(row["draws"])) == (20, wins, draws)
        assert int(row["points"]) == 3 * wins + draws
    assert {row["losses"] for name, row in rows.items() if name in ("crashing.py", "hanging.py")} == {"20"}
    replays = sorted((tmp_path / "whole" / "replays").iterdir())
    assert len([path for path in replays if "ing.py" not in path.name]) == 6 * 2, "the first game of every leg"
    kept = Replay.load(replays[0])
    assert (kept.policies, kept.seed, kept.num_steps) == (("random", "builtin_ai:0.3"), 10**9, DURATION + 1)
    assert (tmp_path / "whole" / "cross_table.png").exists()
    assert "RuntimeError: out of ideas" in (tmp_path / "whole" / "logs" / "crashing.py.log").read_text()

    recorded = (tmp_path / "whole" / "games.jsonl").stat().st_mtime_ns
    assert cli.run(command(tmp_path / "whole")) == 0, "a finished tournament only writes its tables"
    assert (tmp_path / "whole" / "games.jsonl").stat().st_mtime_ns == recorded
    assert cli.run([*command(tmp_path / "whole"), "--games", "3"]) == 1
    assert "settings.games 2 there and 3 here" in capsys.readouterr().err


NAMES = ["random", "builtin_ai:0.3", "batched.py", "kaggle.py", "crashing.py", "hanging.py"]


def _won(line, name):
    if line["forfeits"]:
        return name not in line["forfeits"]
    own, other = line["goals"] if name == line["left"] else line["goals"][::-1]
    return own > other


def _gone(process):
    try:
        with open(f"/proc/{process}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


@pytest.mark.engine
def test_a_pairing_that_was_cut_off_is_played_again_and_only_the_missing_games_are_recorded(tmp_path):
    settings = Settings(games=2, players=1)
    run_tournament(["random", "run_and_shoot"], short(), settings, out=tmp_path, num_threads=2)
    whole = {name: (tmp_path / name).read_text() for name in (*TABLES, "games.jsonl")}
    kept = whole["games.jsonl"].splitlines()
    (tmp_path / "games.jsonl").write_text("\n".join([kept[0], kept[3]]) + "\n")
    run_tournament(["random", "run_and_shoot"], short(), settings, out=tmp_path, num_threads=2)
    assert (tmp_path / "games.jsonl").read_text().splitlines() == [kept[0], kept[3], kept[1], kept[2]]
    assert {name: (tmp_path / name).read_text() for name in TABLES} == {name: whole[name] for name in TABLES}


@pytest.mark.engine
def test_the_difficulty_of_the_builtin_ai_is_set_on_its_own_side(tmp_path, monkeypatch):
    import touchline

    made, make_vec = [], touchline.make_vec

    def watch(scenario, *arguments, **options):
        made.append((scenario.left_team_difficulty, scenario.right_team_difficulty))
        assert options["control"] == "fixed"
        return make_vec(scenario, *arguments, **options)

    monkeypatch.setattr(touchline, "make_vec", watch)
    scenario = dataclasses.replace(short(5), left_team_difficulty=0.5, right_team_difficulty=0.6)
    run_tournament(["builtin_ai:0.1", "builtin_ai"], scenario, Settings(games=1), out=tmp_path, num_threads=1)
    assert made == [(0.1, 0.6), (0.6, 0.1)]  # the scenario's own is that of its right team, on either side


def test_two_processes_do_not_hold_one_tournament(tmp_path):
    with alone(tmp_path, "the test"), pytest.raises(ValueError, match="another process is at the tournament in"):
        run_tournament(["random", "idle"], short(5), Settings(games=1), out=tmp_path)


@pytest.mark.engine
def test_games_of_a_drill_end_one_by_one_and_nobody_counts_what_is_played_after(tmp_path):
    drill = short(60, "academy_empty_goal_close")
    policies = ["run_and_shoot", "random"]
    result = run_tournament(policies, drill, Settings(games=4), out=tmp_path, num_threads=2, replays=4)
    assert len(result.games) == 8
    for played in result.games:
        name = f"01-000-{played.leg}-{played.seed - 10**9:04d}-{played.left}-v-{played.right}.npz"
        kept = Replay.load(tmp_path / "replays" / name)
        assert (kept.seed, kept.num_steps, kept.score) == (played.seed, played.length, played.goals)
    assert len({played.length for played in result.games}) > 1
    assert any("drill" in note for note in result.notes)


@pytest.mark.engine
def test_a_swiss_tournament_is_the_same_when_its_last_round_is_played_later(tmp_path):
    policies = ["idle", "random", "run_and_shoot", "run_and_shoot_tap", "builtin_ai:1.0"]
    settings = Settings(format="swiss", games=1)
    result = run_tournament(policies, short(5), settings, out=tmp_path, num_threads=2)
    assert {g.round for g in result.games} == {1, 2}
    assert len({frozenset(g.players) for g in result.games}) == len(result.games) / 2 == 4
    assert sum("bye" in note for note in result.notes) == 2
    assert [row.nash for row in result.rows] == [None] * 5
    log = tmp_path / "games.jsonl"
    log.write_text("".join(f"{line}\n" for line in log.read_text().splitlines() if json.loads(line)["round"] == 1))
    for _ in range(2):  # once to play the last round, once with nothing left to play
        assert run_tournament(policies, short(5), settings, out=tmp_path, num_threads=2) == result
    log.write_text(log.read_text().replace('"idle"', '"random"'))
    with pytest.raises(ValueError, match=r"games.jsonl: .* belong"):
        run_tournament(policies, short(5), settings, out=tmp_path, num_threads=2)


@pytest.mark.engine
def test_a_run_directory_plays_an_sb3_zip(tmp_path):
    sb3 = pytest.importorskip("stable_baselines3")
    import touchline
    from touchline import training
    from touchline.agents.sb3_bridge import Sb3VecEnv

    run = tmp_path / "run"
    config = {"num_envs": 2, "reset_pool": 2, "num_threads": 1, "agent_config": {"unroll_length": 8}}
    training.train(training.TrainConfig(total_steps=16, out=str(run), **config).resolved())
    sb3.PPO("MlpPolicy", Sb3VecEnv(touchline.make_vec(short(), 1, observation="egocentric"))).save(tmp_path / "m.zip")
    policies = [run, tmp_path / "m.zip"]
    result = run_tournament(policies, short(), Settings(games=1), out=tmp_path / "out", trust=True, num_threads=1)
    assert {row.name for row in result.rows} == {"run", "m.zip"}
    assert [dict(played.forfeits) for played in result.games] == [{}, {}]
    assert [played.length for played in result.games] == [DURATION + 1] * 2


def test_a_folder_that_bears_a_scripts_name_is_not_that_script(tmp_path):
    folder = tmp_path / "random"
    folder.mkdir()
    (folder / "checkpoint.pt").write_bytes(b"weights")
    names = [person.name for person in participants([str(folder), "chaser", "builtin_ai:0.5"])]
    assert names == [str(folder), "chaser", "builtin_ai:0.5"]
