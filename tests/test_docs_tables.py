"""The tables of docs/environments.md say what the code says."""

import inspect
import re
from pathlib import Path

import numpy as np
import pytest

from touchline.benchmarks import presets
from touchline.envs import global_state
from touchline.envs import observations as obs
from touchline.envs.actions import ACTION_SETS
from touchline.envs.football_env import FootballEnv
from touchline.envs.rewards import REWARDS
from touchline.envs.simulator import GAME_MODES
from touchline.envs.statistics import EpisodeStatistics
from touchline.envs.vector_env import FootballVectorEnv
from touchline.types import ROLES

DOCS = Path(__file__).parents[1] / "docs"
PAGE = (DOCS / "environments.md").read_text()


def rows(heading, page=PAGE):
    """Cells of the first table under a heading, without its head."""
    section = re.split(rf"^#+ {re.escape(heading)}$", page, flags=re.MULTILINE)[1]
    table = re.search(r"((?:^\|.*\n)+)", section, re.MULTILINE)[1]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()[2:]]


def names(cell):
    return re.findall(r"`([^`]+)`", cell)


def slots(cell):
    first, _, last = cell.partition(":")
    return range(int(first), int(last) if last else int(first) + 1)


@pytest.mark.parametrize(("heading", "kind"), [("simple115v2", obs.Simple115v2), ("egocentric", obs.Egocentric)])
def test_slots_tile_the_vector(heading, kind):
    places = [place for row in rows(heading) for place in slots(row[0])]
    assert places == list(range(kind.shape[0]))


@pytest.mark.parametrize(
    ("heading", "kind", "word", "feature"),
    [
        ("simple115v2", obs.Simple115v2, "who owns the ball", "owner"),
        ("simple115v2", obs.Simple115v2, "controlled", "controlled"),
        ("simple115v2", obs.Simple115v2, "game mode", "game_mode"),
        ("simple115v2", obs.Simple115v2, "own team: x, y", "own_team"),
        ("egocentric", obs.Egocentric, "his x, y", "player"),
        ("egocentric", obs.Egocentric, "place of the ball", "ball"),
        ("egocentric", obs.Egocentric, "game mode", "game_mode"),
    ],
)
def test_slots_are_those_of_the_features(heading, kind, word, feature):
    found = [row for row in rows(heading) if word in row[1]]
    assert len(found) == 1
    assert tuple(slots(found[0][0])) == kind.features[feature]


def test_shapes_are_those_of_the_observations():
    told = {names(name)[0]: (shape, kind) for name, shape, kind, _ in rows("Observations")}
    assert set(told) == {*obs.OBSERVATIONS, "raw", "pixels"}
    for name, kind in obs.OBSERVATIONS.items():
        assert told[name] == (str(list(kind.shape)), np.dtype(kind.dtype).name)
    assert len(rows("smm")) == obs.SMM_PLANES


@pytest.mark.engine
def test_what_egocentric_says_is_what_the_table_says():
    env = FootballEnv("academy_3_vs_1_with_keeper", observation="egocentric")
    seen, _ = env.reset(seed=3)
    for action in (5, 13, 3, 0, 0, 0):
        seen, *_ = env.step(action)
    raw = obs.raw_observation(env.match_state, 0, 0, 1)
    me, metres, speed = raw["active"], np.array([54.4, 83.6]), np.array([544.0, 836.0])
    own, ball = raw["left_team"][me] * metres, raw["ball"][:2] * metres
    expected = {
        "his x, y": own / (55, 36),
        "his velocity": raw["left_team_direction"][me] * speed / 10,
        "his tiredness": raw["left_team_tired_factor"][me],
        "his [role]": np.eye(len(ROLES))[raw["left_team_roles"][me]],
        "sticky actions": raw["sticky_actions"],
        "way to the ball": (ball - own) / 30,
        "nearness of the ball, exp(-d / 8 m)": np.exp(-np.linalg.norm(ball - own) / 8),
        "height of the ball": raw["ball"][2] / 3,
        "velocity of the ball, x and y": raw["ball_direction"][:2] * speed / 20,
        "velocity of the ball, upwards": raw["ball_direction"][2],
        "place of the ball": ball / (55, 36),
        "way to the middle of the attacked goal": (np.array([55.0, 0.0]) - own) / 30,
        "distance from the ball to his own goal": np.linalg.norm(ball + (55, 0)) / 110,
    }
    for words, value in expected.items():
        (row,) = [row for row in rows("egocentric") if row[1].startswith(words)]
        np.testing.assert_allclose(seen[list(slots(row[0]))], np.atleast_1d(value), atol=1e-5, err_msg=words)
    env.close()


def test_actions_are_numbered_as_in_the_code():
    assert [(int(number), names(name)[0]) for number, name, _ in rows("Actions")] == list(enumerate(ACTION_SETS["v2"]))


def test_modes_and_roles_are_numbered_as_in_the_code():
    table = rows("Game modes and roles")
    assert [names(row[1])[0] for row in table if row[1]] == list(GAME_MODES)
    assert [names(row[2])[0] for row in table] == list(ROLES)


def test_rewards_and_options_are_all_there():
    assert {names(row[0])[0] for row in rows("Rewards")} == set(REWARDS)
    everywhere, vector = (
        {name for row in rows(heading) for name in names(row[0])}
        for heading in ("Options", "Of vector environments alone")
    )
    assert everywhere == set(inspect.signature(FootballEnv.__init__).parameters) - {"self"}
    assert everywhere | vector == set(inspect.signature(FootballVectorEnv.__init__).parameters) - {"self"}
    assert not everywhere & vector


@pytest.mark.engine
def test_keys_of_raw_and_info_are_all_there():
    env = FootballEnv("academy_empty_goal_close", observation="raw")
    raw, info = env.reset(seed=1)
    assert {name for row in rows("raw") for name in names(row[0])} == set(raw)
    told = rows("Info")
    always = {name for row in told if row[1] == "always" for name in names(row[0])}
    assert always == set(info)
    terminated = truncated = False
    while not (terminated or truncated):
        *_, terminated, truncated, info = env.step(5)
    single = {name for row in told if row[2] != "not there" for name in names(row[0])}
    assert single == set(info)
    env.close()
    envs = FootballVectorEnv("academy_empty_goal_close", 1)
    envs.reset(seed=1)
    info = {}
    while "episode" not in info:
        *_, info = envs.step([5])
    rare = {"lost", "sent_off", "were_off"}
    vector = {name for row in told if row[3] != "not there" for cell in (row[0], row[3]) for name in names(cell)}
    assert vector - rare - {"reward"} == set(info)
    envs.close()


def test_statistics_are_all_there():
    told = re.split(r"^Statistics of an episode:", PAGE, flags=re.MULTILINE)[1].split("\n\n")[0]
    assert set(EpisodeStatistics(1).summary()) <= set(names(told))


def test_every_preset_is_on_the_page_on_training():
    page = (DOCS / "training.md").read_text()
    assert {name for row in rows("Training", page) for name in names(row[0])} == set(presets.PRESETS)


def test_the_global_state_is_tiled():
    page = (DOCS / "multi_agent.md").read_text()
    places = [place for row in rows("The whole match as one vector", page) for place in slots(row[0])]
    assert places == list(range(global_state.SIZE))
