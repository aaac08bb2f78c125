"""Scenarios: equal to upstream's, loadable from users' files, refused with a reason, drawn for people."""

import subprocess
import sys
from dataclasses import asdict, replace
from types import ModuleType

import pytest

from touchline import scenarios
from touchline.types import Player, Scenario

# name: (left players, right players, ball, duration, left and right difficulty, offsides,
#        ends on score, on out of play, on possession change), typed in from upstream's files by hand.
FACTS = {
    "academy_empty_goal_close": (2, 1, (0.77, 0.0), 400, 1.0, 0.6, False, True, True, True),
    "academy_empty_goal": (2, 1, (0.02, 0.0), 400, 1.0, 0.6, False, True, True, True),
    "academy_run_to_score": (2, 6, (0.02, 0.0), 400, 1.0, 0.6, False, True, True, True),
    "academy_run_to_score_with_keeper": (2, 6, (0.02, 0.0), 400, 1.0, 0.6, False, True, True, True),
    "academy_pass_and_shoot_with_keeper": (3, 2, (0.7, -0.28), 400, 1.0, 0.6, False, True, True, True),
    "academy_run_pass_and_shoot_with_keeper": (3, 2, (0.7, -0.28), 400, 1.0, 0.6, False, True, True, True),
    "academy_3_vs_1_with_keeper": (4, 2, (0.62, 0.0), 400, 1.0, 0.6, False, True, True, True),
    "academy_corner": (11, 11, (0.99, 0.41), 400, 1.0, 0.6, False, True, True, False),
    "academy_counterattack_easy": (11, 11, (0.26, -0.11), 400, 1.0, 0.6, False, True, True, True),
    "academy_counterattack_hard": (11, 11, (0.26, -0.11), 400, 1.0, 0.6, False, True, True, True),
    "academy_single_goal_versus_lazy": (11, 11, (-0.48, -0.06356), 3000, 1.0, 0.6, False, True, True, True),
    "11_vs_11_easy_stochastic": (11, 11, (0.0, 0.0), 3000, 1.0, 0.05, True, False, False, False),
    "11_vs_11_stochastic": (11, 11, (0.0, 0.0), 3000, 1.0, 0.6, True, False, False, False),
    "11_vs_11_hard_stochastic": (11, 11, (0.0, 0.0), 3000, 1.0, 0.95, True, False, False, False),
    "11_vs_11_competition": (11, 11, (0.0, 0.0), 3000, 1.0, 1.0, True, False, False, False),
    "11_vs_11_kaggle": (11, 11, (0.0, 0.0), 3000, 1.0, 1.0, True, False, False, False),
    "5_vs_5": (5, 5, (0.0, 0.0), 3000, 0.05, 0.05, True, False, False, False),
    "1_vs_1_easy": (1, 1, (0.0, 0.0), 500, 0.0, 0.0, True, False, False, False),
}

GFOOTBALL_STYLE = """
from . import *

def build_scenario(builder):
    builder.config().game_duration = 120
    builder.config().end_episode_on_score = True
    builder.SetBallPosition(0.3, -0.1)
    builder.SetTeam(Team.e_Left)
    builder.AddPlayer(-1.0, 0.0, e_PlayerRole_GK, controllable=False)
    builder.AddPlayer(0.25, -0.1, e_PlayerRole_AM)
    builder.SetTeam(Team.e_Right)
    builder.AddPlayer(-0.9, 0.1, e_PlayerRole_GK, True)
"""

ROOM_OF_ONES_OWN = """
import gfootball_engine as libgame
Team = libgame.e_Team
globals().update(libgame.e_PlayerRole.__members__)
"""


@pytest.fixture
def write(tmp_path):
    """Writes a file into a folder of the test's own and returns its path."""

    def write(text, name="drill.py"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    return write


def builder_file(body):
    """A gfootball-style file with a keeper a side and a body of its own; `n` is the EpisodeNumber."""
    return (
        "from . import *\ncalls = 0\n\ndef build_scenario(builder):\n"
        "    global calls\n    calls += 1\n    n = builder.EpisodeNumber()\n"
        "    builder.SetTeam(Team.e_Right)\n    builder.AddPlayer(-1, 0, e_PlayerRole_GK)\n"
        f"    builder.SetTeam(Team.e_Left)\n    {body}\n"
    )


# The 18 scenarios.


@pytest.mark.engine
@pytest.mark.parametrize("name", FACTS)
def test_every_field_equals_what_upstreams_own_file_says(name):
    from touchline.envs.engine.build import source_dir

    root = source_dir()
    if root is None:
        pytest.skip("the sources of gfootball 2.10.2 are not here")
    ours = asdict(scenarios.load(name))
    theirs = asdict(scenarios.load(root / "gfootball" / "scenarios" / f"{name}.py"))
    assert ours.pop("description") and theirs.pop("description") == ""
    assert ours == theirs


@pytest.mark.engine
def test_upstream_has_no_scenario_that_is_missing_here():
    from touchline.envs.engine.build import source_dir

    root = source_dir()
    if root is None:
        pytest.skip("the sources of gfootball 2.10.2 are not here")
    theirs = {path.stem for path in (root / "gfootball" / "scenarios").glob("*.py")}
    assert theirs - {"__init__", "test_example_multiagent"} == set(FACTS)


@pytest.mark.parametrize("name", FACTS)
def test_the_facts_typed_in_by_hand_hold(name):
    s = scenarios.load(name)
    assert FACTS[name] == (
        len(s.left_team),
        len(s.right_team),
        s.ball_position,
        s.game_duration,
        s.left_team_difficulty,
        s.right_team_difficulty,
        s.offsides,
        s.end_episode_on_score,
        s.end_episode_on_out_of_play,
        s.end_episode_on_possession_change,
    )
    assert not s.deterministic
    assert s.use_magnet and not s.control_all_players


@pytest.mark.parametrize("name", scenarios.names())
def test_every_scenario_file_is_named_as_its_scenario_and_describes_itself_in_a_sentence(name):
    scenario = scenarios.load(name)
    assert scenario.name == name
    assert scenario.description.endswith(".")


def test_all_eighteen_names_are_there():
    assert set(FACTS) == set(scenarios.names(gfootball=True)) == set(scenarios.names()) - set(scenarios.OURS)
    assert len(FACTS) == 18


def test_left_kicks_off_in_the_first_episode_and_right_in_the_second():
    match = scenarios.load("11_vs_11_easy_stochastic")
    first, second = match.line_ups(0), match.line_ups(1)
    assert first[0][1] == Player(0.0, 0.02, "RM")
    assert first[1][1] == Player(-0.05, 0.0, "RM")
    assert second == first[::-1]
    assert match.line_ups(2) == first


def test_only_the_kaggle_match_has_two_halves_and_its_own_order_of_players():
    halves = {name for name in FACTS if scenarios.load(name).second_half < 3000}
    assert halves == {"11_vs_11_kaggle"}
    kaggle = scenarios.load("11_vs_11_kaggle")
    assert [p.role for p in kaggle.left_team] == [
        "GK",
        "LB",
        "CB",
        "CB",
        "RB",
        "CM",
        "CM",
        "CM",
        "LM",
        "CF",
        "RM",
    ]
    assert kaggle.second_half == 1500


def test_the_lazy_team_is_lazy_but_for_its_keeper():
    lazy = scenarios.load("academy_single_goal_versus_lazy")
    assert [player.lazy for player in lazy.right_team] == [False] + [True] * 10
    assert not any(player.lazy for player in lazy.left_team)


def test_keepers_are_out_of_the_agents_hands_in_five_a_side_only():
    assert scenarios.load("5_vs_5").controllable("left") == (1, 2, 3, 4)
    assert all(
        player.controllable
        for name in FACTS
        if name != "5_vs_5"
        for player in scenarios.load(name).left_team + scenarios.load(name).right_team
    )


def test_the_keeper_of_the_empty_goal_starts_at_the_wrong_end():
    assert scenarios.load("academy_empty_goal").right_team == (Player(1.0, 0.0, "GK"),)


def test_counterattack_easy_and_hard_differ_in_one_defender():
    easy, hard = (scenarios.load(f"academy_counterattack_{level}") for level in ("easy", "hard"))
    assert easy.left_team == hard.left_team
    differ = [(a, b) for a, b in zip(easy.right_team, hard.right_team, strict=True) if a != b]
    assert differ == [(Player(0.4, -0.06356, "CB"), Player(-0.4, -0.06356, "CB"))]


# Files of one's own.


@pytest.mark.parametrize("ending", ["SCENARIO = s", "def scenario():\n    return s"])
def test_a_file_may_define_a_scenario_or_a_function_that_returns_one(write, ending):
    path = write(
        "from touchline.types import Player, Scenario\n"
        "s = Scenario('mine', (Player(0, 0, 'GK'),), (Player(-1, 0, 'GK'),), game_duration=50)\n" + ending
    )
    assert scenarios.load(path) == scenarios.load(str(path))
    assert scenarios.load(path) == Scenario("mine", (Player(0, 0, "GK"),), (Player(-1, 0, "GK"),), game_duration=50)


@pytest.mark.parametrize(
    "imports",
    [
        "from . import *",
        "from gfootball.scenarios import *",
        ROOM_OF_ONES_OWN,
    ],
)
def test_a_gfootball_style_file_loads_unchanged_whatever_it_imports(write, imports):
    assert scenarios.load(write(GFOOTBALL_STYLE.replace("from . import *", imports))) == Scenario(
        name="drill",
        left_team=(Player(-1.0, 0.0, "GK", controllable=False), Player(0.25, -0.1, "AM")),
        right_team=(Player(-0.9, 0.1, "GK", lazy=True),),
        ball_position=(0.3, -0.1),
        game_duration=120,
        end_episode_on_score=True,
    )


def test_a_gfootball_style_file_may_build_on_a_file_beside_it(write):
    write(GFOOTBALL_STYLE, "base.py")
    path = write("from .base import build_scenario")
    assert scenarios.load(path).ball_position == (0.3, -0.1)


def test_every_role_has_its_engine_number(write):
    roles = ("GK", "CB", "LB", "RB", "DM", "CM", "LM", "RM", "AM", "CF")
    body = "; ".join(f"builder.AddPlayer(0, 0, e_PlayerRole_{role})" for role in roles)
    left = scenarios.load(write(builder_file(body))).left_team
    assert tuple(player.role for player in left) == roles
    body = "; ".join(f"builder.AddPlayer(0, 0, {number})" for number in range(10))
    assert scenarios.load(write(builder_file(body))).left_team == left


def test_a_team_without_players_gets_upstreams_keeper_in_the_corner(write):
    scenario = scenarios.load(write(builder_file("pass")))
    assert scenario.left_team == (Player(-1.0, 0.42, "GK", lazy=True),)


def test_line_ups_that_alternate_become_the_alternate_line_ups(write):
    body = "builder.AddPlayer(-0.5 if n % 2 == 0 else 0.25, 0, e_PlayerRole_GK)"
    scenario = scenarios.load(write(builder_file(body)))
    assert [scenario.line_ups(episode)[0][0].x for episode in range(4)] == [-0.5, 0.25, -0.5, 0.25]


def test_a_dotted_module_path_loads_every_kind(write, tmp_path, monkeypatch):
    write("", "my_pack/__init__.py")
    write(
        "from touchline.types import Player, Scenario\n"
        "SCENARIO = Scenario('own', (Player(0, 0, 'GK'),) * 2, (Player(0, 0, 'GK'),))",
        "my_pack/own.py",
    )
    write(GFOOTBALL_STYLE.replace("from . import", "from gfootball.scenarios import"), "my_pack/absolute.py")
    write(ROOM_OF_ONES_OWN, "my_pack/room/__init__.py")
    write(GFOOTBALL_STYLE, "my_pack/room/relative.py")
    monkeypatch.syspath_prepend(tmp_path)
    assert len(scenarios.load("my_pack.own").left_team) == 2
    for _ in range(2):
        assert scenarios.load("my_pack.absolute").name == "absolute"
        assert scenarios.load("my_pack.room.relative").game_duration == 120
    loaded = {name for name in sys.modules if name.startswith("my_pack")}
    assert loaded == {"my_pack", "my_pack.own"}, "what holds stand-ins must not outlive its load"
    for name in loaded:
        monkeypatch.delitem(sys.modules, name)


def test_stand_in_modules_are_gone_afterwards_even_when_the_file_fails(write, monkeypatch):
    installed = ModuleType("gfootball")
    monkeypatch.setitem(sys.modules, "gfootball", installed)
    monkeypatch.delitem(sys.modules, "gfootball_engine", raising=False)
    for text in (GFOOTBALL_STYLE, "from . import *\nimport no_such_package"):
        try:
            scenarios.load(write(text))
        except ModuleNotFoundError as error:
            assert error.name == "no_such_package"
        assert sys.modules["gfootball"] is installed
        assert not [name for name in sys.modules if name.startswith(("gfootball_engine", "gfootball."))]


# Refusals.


def test_a_wrong_name_gets_a_close_match_and_the_list():
    with pytest.raises(ValueError, match=r"no 'academy_cornr'.*did you mean academy_corner\?.*5_vs_5"):
        scenarios.load("academy_cornr")


def test_a_name_like_nothing_gets_the_list_only():
    with pytest.raises(ValueError, match="there are 11_vs_11_competition") as caught:
        scenarios.load("xyzzy")
    assert "did you mean" not in str(caught.value)


@pytest.mark.parametrize("name", ["missing.py", "no/such/folder/drill"])
def test_a_missing_file_is_said_to_be_missing(name):
    with pytest.raises(FileNotFoundError, match=f"no scenario file {name}"):
        scenarios.load(name)


def test_a_missing_module_is_said_to_be_missing():
    with pytest.raises(ValueError, match=r"no scenario module 'json\.no_such': no 'json\.no_such' to import"):
        scenarios.load("json.no_such")


def test_a_file_without_an_entry_point_hears_what_was_expected(write):
    with pytest.raises(ValueError, match=r"expected SCENARIO = .* scenario\(\) .* build_scenario\(builder\)"):
        scenarios.load(write("x = 1"))


def test_a_scenario_of_the_wrong_type_is_refused(write):
    with pytest.raises(ValueError, match="expected a touchline.types.Scenario, got dict"):
        scenarios.load(write("SCENARIO = {}"))


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("builder.AddPlayer(calls / 100, 0, e_PlayerRole_GK)", "when run twice"),
        ("builder.AddPlayer((n - 2) / 100, 0, e_PlayerRole_GK)", "does not repeat"),
        ("builder.config().offsides = n % 2 == 0", "here offsides differs too"),
        ("builder.SetBallPosition(n % 2, 0)", "here ball_position differs too"),
        ("builder.config().game_duratoin = 7", "no 'game_duratoin' in builder.config"),
        ("builder.config().game_duration = 'long'", "game_duration: expected int, got 'long'"),
        (
            "c = builder.config(); c.deterministic = c.reverse_team_processing = True",
            "reverse_team_processing",
        ),
        ("[builder.AddPlayer(0, 0, e_PlayerRole_CF) for _ in range(12)]", "1 to 11 players, got 12"),
    ],
)
def test_what_a_scenario_cannot_express_is_refused(write, body, message):
    with pytest.raises(ValueError, match=message):
        scenarios.load(write(builder_file(body)))


def test_what_upstream_overwrites_anyway_is_accepted_and_has_no_effect(write):
    keeper = "builder.AddPlayer(-1, 0, e_PlayerRole_GK)"
    plain = scenarios.load(write(builder_file(keeper)))
    body = f"c = builder.config(); c.left_agents = 3; c.real_time = c.reverse_team_processing = True; {keeper}"
    assert scenarios.load(write(builder_file(body))) == plain


# Drawings and facts.


@pytest.mark.parametrize("name", scenarios.names())
@pytest.mark.parametrize("width", [40, 72, 101])
def test_a_drawing_shows_everybody_the_ball_and_both_goals_within_its_width(name, width):
    scenario = scenarios.load(name)
    *pitch, legend = scenarios.draw(scenario, width).splitlines()
    text = "\n".join(pitch)
    assert sum(map(text.count, "▶▷")) == len(scenario.left_team)
    assert sum(map(text.count, "◀◁")) == len(scenario.right_team)
    assert text.count("●") == 1
    assert max(map(len, pitch)) in (width - 1, width)
    goals = [line for line in pitch if line.startswith("▒")]
    assert goals and goals == [line for line in pitch if line.endswith("▒")]
    assert f"left {len(scenario.left_team)}" in legend


def test_the_right_team_is_drawn_rotated_into_the_left_teams_view():
    corner = Scenario("x", (Player(-1.0, -0.42, "GK"),), (Player(-1.0, -0.42, "GK"),))
    lines = scenarios.draw(corner).splitlines()[:-1]
    assert lines[1].startswith(" │▶") and "◀" not in lines[1]
    assert lines[-2].endswith("◀│") and "▶" not in lines[-2]


def test_the_ball_at_the_centre_is_drawn_on_the_half_way_line():
    lines = scenarios.draw(scenarios.load("1_vs_1_easy")).splitlines()[:-1]
    middle = lines[len(lines) // 2]
    assert middle.index("●") == lines[0].index("┬") == len(lines[0].strip()) // 2 + 1


def test_lazy_players_are_told_apart_and_explained():
    drawing = scenarios.draw(scenarios.load("academy_single_goal_versus_lazy"))
    assert drawing.count("◁") == 11  # ten players and the legend
    assert "stand still" in drawing
    assert "stand still" not in scenarios.draw(scenarios.load("academy_corner"))


def test_a_drawing_too_narrow_to_read_is_refused():
    with pytest.raises(ValueError, match="at least 40 columns, got 20"):
        scenarios.draw(scenarios.load("academy_corner"), width=20)


@pytest.mark.parametrize(
    ("name", "facts"),
    [
        (
            "11_vs_11_kaggle",
            "11 v 11 · AI 1 v 1 · 3000 steps · ends by the clock · second half at 1500 · line-ups alternate",
        ),
        (
            "academy_corner",
            "11 v 11 · AI 1 v 0.6 · 400 steps · ends on a goal, ball out of play · no offside",
        ),
    ],
)
def test_the_line_of_facts_says_players_strength_duration_and_end(name, facts):
    assert scenarios.describe(scenarios.load(name)) == facts


def test_scenarios_import_neither_torch_nor_numba_nor_an_engine():
    code = (
        "import sys; from touchline import scenarios; [scenarios.load(n) for n in scenarios.names()];"
        "print([m for m in sys.modules if m.split('.')[0] in ('torch', 'numba', 'gfootball')"
        " or m.startswith('touchline.envs')])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


KEEPER, STRIKER = Player(-1.0, 0.0, "GK"), Player(0.0, 0.0, "CF")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"left_team": (STRIKER, KEEPER)}, r"x\.left_team: expected the goalkeeper \(GK\) first.* got CF"),
        ({"right_team": (STRIKER,)}, r"x\.right_team: expected the goalkeeper"),
        (
            {"alternate_left_team": (KEEPER,), "alternate_right_team": (STRIKER,)},
            r"x\.alternate_right_team: expected the goalkeeper",
        ),
        (
            {"alternate_left_team": (KEEPER,) * 2, "alternate_right_team": (KEEPER,)},
            "as many players in a side's two line-ups",
        ),
        (
            {"alternate_left_team": (replace(KEEPER, controllable=False),), "alternate_right_team": (KEEPER,)},
            "the same ones controllable",
        ),
        ({"ball_position": (float("nan"), 0.0)}, r"x\.ball_position on the pitch, x from -1 to 1 .* got nan"),
        ({"ball_position": (50.0, 0.0)}, r"x\.ball_position on the pitch"),
        ({"game_duration": 10**10}, r"x\.game_duration: expected 1 to 2147483647, got 10000000000"),
        ({"game_engine_random_seed": -1}, r"x\.game_engine_random_seed: expected 0 to 4294967295, got -1"),
    ],
)
def test_what_the_engine_or_a_controlled_player_would_be_lost_in_is_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        Scenario(**{"name": "x", "left_team": (KEEPER,), "right_team": (KEEPER,), **fields})


def test_a_player_off_the_pitch_is_refused():
    with pytest.raises(ValueError, match="expected a player on the pitch"):
        Player(30.0, 0.0, "CB")


def test_a_module_path_from_nowhere_is_told_as_a_wrong_name():
    with pytest.raises(ValueError, match=r"no '\.\.a\.b' in scenarios"):
        scenarios.load("..a.b")
