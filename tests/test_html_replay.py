"""Pages of replays: what is written reads back, what happened is found, and a real browser plays it."""

import json
import re
import shutil
from dataclasses import replace
from types import SimpleNamespace

import browser
import numpy as np
import pytest

from touchline.envs.simulator import MatchState, empty_state
from touchline.envs.statistics import EpisodeStatistics
from touchline.html_replay import CENTIMETRES, pack, unpack, write_html
from touchline.match_events import match_events
from touchline.replay import Replay

LEFT, RIGHT, SHIFT = "\ue012", "\ue014", True
HOME, END = "\ue011", "\ue010"


def blank(steps: int, players: int = 11) -> MatchState:
    """T + 1 states of a match where everybody stands in the middle and nobody has the ball."""
    states = empty_state(steps + 1)
    for side in ("left", "right"):
        states.get(f"{side}_count")[...] = players
        states.get(f"{side}_active")[:, :players] = 1
        states.get(f"{side}_controlled")[...] = -1
    states.get("left_controlled")[:, 0] = min(1, players - 1)
    states.get("ball_position")[:, 2] = 0.11
    for name in ("ball_owned_team", "ball_owned_player"):
        states.get(name)[...] = -1
    states.get("steps_left")[...] = np.arange(steps, -1, -1)
    return states


def replay_of(states: MatchState, *, agents: int = 1, **about) -> Replay:
    """A trace of these states with seeded actions, rewards at goals, and values."""
    steps, rng = len(states.floats) - 1, np.random.default_rng(5)
    rewards = np.zeros((steps, agents), np.float32)
    rewards += np.diff(states.get("left_score") - states.get("right_score"))[:, None]
    about = {"scenario": "11_vs_11_toy", "backend": "toy", "seed": 7, "policies": ("runs/mine", "built-in AI")} | about
    series = {"value": np.sin(np.arange(steps) / 20).astype(np.float32), "reward/scoring": rewards[:, 0].copy()}
    return Replay(
        floats=states.floats,
        ints=states.ints,
        actions=rng.integers(0, 19, (steps, agents), dtype=np.int32),
        rewards=rewards,
        **{"terminated": True, "series": series} | about,
    )


def long_match(steps: int = 3000) -> Replay:
    """22 players and a ball that run about smoothly, at some 5 m/s, with goals, passes, restarts and cards."""
    rng, states = np.random.default_rng(1), blank(steps)
    for name, shape, reach in (("left", (11, 2), 0.012), ("right", (11, 2), 0.012), ("ball", (2,), 0.02)):
        pace = rng.normal(size=(steps + 1, *shape)).astype(np.float32)
        for t in range(1, steps + 1):  # a direction that turns slowly
            pace[t] = 0.9 * pace[t - 1] + 0.3 * pace[t]
        walk = reach * np.cumsum(pace, 0) + rng.uniform(-0.3, 0.3, shape)
        field = np.array([0.95, 0.4])
        states.get(f"{name}_position")[..., :2] = field * np.sin(walk / field)  # turns round at the edges
    states.get("ball_position")[:, 2] = 0.11 + 4 * np.maximum(np.sin(np.arange(steps + 1) / 15), 0) ** 2
    for start in range(5, steps, 20):
        owned = np.s_[start : start + 12]
        states.get("ball_owned_team")[owned] = rng.integers(2)
        states.get("ball_owned_player")[owned] = rng.integers(11)
    for t, side in ((700, "left"), (1500, "right"), (2400, "left")):
        states.get(f"{side}_score")[t:] += 1
        states.get("game_mode")[t : t + 10] = 1
    states.get("left_yellow")[900:, 4] = 1
    states.get("right_active")[2000:, 6] = 0
    return replay_of(states)


def about_of(page: str) -> dict:
    """The JSON text in a page."""
    return json.loads(re.search(r'<script type="application/json" id="about">(.*?)</script>', page, re.DOTALL)[1])


# ---- the numbers --------------------------------------------------------------------------------------------------


def test_what_is_packed_reads_back_to_half_a_centimetre():
    replay = long_match(400)
    out = unpack(*pack(replay))
    states = replay.states
    for axis, name in enumerate("xy"):
        sides = [states.get(f"{side}_position")[..., axis] for side in ("left", "right")]
        error = out[name] - np.concatenate(sides, 1) * CENTIMETRES[axis]
        assert np.abs(error).max() <= 0.5 + 1e-3
    assert np.abs(out["ball"] - states.get("ball_position") * CENTIMETRES).max() <= 0.5 + 1e-3
    for name in ("ball_owned_team", "ball_owned_player", "game_mode", "left_score", "right_score", "steps_left"):
        assert np.array_equal(out[name][:, 0], states.get(name)), name
    assert np.array_equal(out["action"][:-1], replay.actions)
    assert (out["action"][-1] == -1).all()
    assert np.array_equal(out["value"], replay.series["value"])
    assert out["active"][:, 11 + 6].tolist() == states.get("right_active")[:, 6].tolist()


def test_players_of_the_right_side_come_after_those_of_the_left():
    states = blank(3, players=4)
    states.get("left_controlled")[:, :2] = [3, 1]
    states.get("right_controlled")[:, 0] = 2
    about, data = pack(replay_of(states, agents=3))
    assert about["counts"] == [4, 4]
    assert about["agents"] == [2, 1]
    assert unpack(about, data)["controlled"].tolist() == [[3, 1, 4 + 2]] * 4


def test_far_away_places_are_clipped_and_no_numbers_are_refused():
    states = blank(2)
    states.get("ball_position")[1, 0] = 1e6
    assert unpack(*pack(replay_of(states)))["ball"][1, 0] == 32767
    states.get("ball_position")[1, 0] = np.nan
    with pytest.raises(ValueError, match="episode 0 are not finite"):
        pack(replay_of(states))


def test_an_episode_without_a_step_is_a_page_too(tmp_path):
    page = write_html(replay_of(blank(0)), tmp_path / "empty.html").read_text()
    assert about_of(page)["episodes"][0]["panes"][0]["steps"] == 0


def test_the_only_reward_term_is_not_shown_twice_and_more_series_are():
    replay = replay_of(blank(3))
    about, _ = pack(replay, series={"bonus/rnd": np.arange(3.0)})
    assert about["series"] == ["value", "reward/scoring", "bonus/rnd"]
    two = replay_of(blank(3), series={"reward/scoring": np.ones(3), "reward/checkpoints": np.ones(3)})
    assert pack(two)[0]["series"] == ["reward", "reward/scoring", "reward/checkpoints"]
    with pytest.raises(ValueError, match=r"series 'bonus' \[T\] = \(3,\), got \(4,\)"):
        pack(replay, series={"bonus": np.zeros(4)})


# ---- what happened ------------------------------------------------------------------------------------------------


def test_the_page_is_of_the_policy_where_it_plays_on_the_right_against_agents():
    states = blank(5)
    states.get("right_score")[3:] = 1
    replay = replay_of(states, agents=2)
    replay.rewards[:, 1] *= -1
    series = {"reward/scoring": replay.rewards[:, 1]}
    about, data = pack(replace(replay, agent=1, series=series))
    assert about["agent"] == 1 and about["series"] == ["reward/scoring"], "its only term, and not the opponent's reward"
    assert unpack(about, data)["reward/scoring"].tolist() == [0, 0, 1, 0, 0]
    with pytest.raises(ValueError, match="an agent from 0 to 1, got 2"):
        replace(replay, agent=2)


def test_every_kind_of_event_is_found_at_its_step():
    states = blank(12)
    teams, players = states.get("ball_owned_team"), states.get("ball_owned_player")
    teams[1:3], players[1:3] = 0, 4
    teams[4:6], players[4:6] = 0, 8  # a pass
    teams[6], players[6] = 1, 2  # lost
    states.get("game_mode")[7:9] = 5
    teams[9], players[9] = 0, 9
    states.get("ball_position")[10:, 0] = 0.8
    states.get("ball_direction")[10:, 0] = 0.05  # 27 m/s at the goal
    states.get("left_score")[11:] = 1
    states.get("right_yellow")[8:, 3] = 1
    states.get("right_active")[12:, 3] = 0
    assert [tuple(event) for event in match_events(states)] == [
        (4, "pass", 0, 8, "Pass 5 to 9"),
        (6, "possession", 1, 2, "Ball won by 3"),
        (7, "restart", 0, -1, "Throw-in"),
        (8, "yellow", 1, 3, "Yellow card for 4"),
        (9, "possession", 0, 9, "Ball won by 10"),
        (10, "shot", 0, 9, "Shot by 10"),
        (11, "goal", 0, 9, "Goal by 10, 1:0"),
        (12, "red", 1, 3, "Sent off: 4"),
    ]


@pytest.mark.parametrize("seed", range(5))
def test_as_many_goals_shots_and_passes_are_found_as_the_statistics_count(seed):
    rng, steps = np.random.default_rng(seed), 400
    states = blank(steps)
    teams = states.get("ball_owned_team")
    teams[...] = rng.integers(-1, 2, steps + 1)
    states.get("ball_owned_player")[...] = np.where(teams < 0, -1, rng.integers(0, 11, steps + 1))
    states.get("ball_position")[:, :2] = rng.uniform(-1, 1, (steps + 1, 2)) * [1, 0.4]
    states.get("ball_direction")[:, :2] = rng.normal(size=(steps + 1, 2)) * 0.05
    for side in ("left", "right"):
        states.get(f"{side}_score")[1:] = np.cumsum(rng.random(steps) < 0.02)
    statistics = EpisodeStatistics(1)
    for t in range(1, steps + 1):
        now = MatchState(states.floats[t : t + 1], states.ints[t : t + 1])
        statistics.step(SimpleNamespace(final_state=now), np.zeros((1, 1), np.float32))
    counted = statistics.summary()
    found = match_events(states)
    for kind, name in (("goal", "goals"), ("shot", "shots"), ("pass", "passes")):
        for side, which in enumerate(("left", "right")):
            number = sum(event.kind == kind and event.side == side for event in found)
            assert number == counted[f"{name}_{which}"][0], (kind, which)


# ---- the file -----------------------------------------------------------------------------------------------------


def test_a_match_of_3000_steps_with_22_players_is_well_under_3_megabytes(tmp_path):
    path = write_html(long_match(), tmp_path / "match.html")
    assert path.stat().st_size < 1_000_000
    assert [p.name for p in tmp_path.iterdir()] == ["match.html"]


def test_the_page_asks_for_nothing_from_anywhere(tmp_path):
    page = write_html(replay_of(blank(5)), tmp_path / "a.html").read_text()
    assert "default-src 'none'" in page
    assert not re.findall(r"https?:|\bsrc=|@import|url\(|fetch\(|XMLHttp|WebSocket|\bimport\b", page)
    assert re.findall(r"<link[^>]*>", page) == ['<link rel="icon" href="data:,">']


def test_names_and_titles_cannot_become_part_of_the_page(tmp_path):
    evil = "</script><script>alert(1)</script><!--data-->&amp;"
    replay = replay_of(blank(5), scenario=evil, policies=(evil, evil), series={evil: np.zeros(5)})
    page = write_html(replay, tmp_path / "a.html", titles=[evil]).read_text()
    assert "alert(1)</script>" not in page.replace("&lt;/script&gt;", "")
    assert about_of(page)["episodes"][0]["title"] == evil
    assert "<title>&lt;/script&gt;" in page


def test_wrong_requests_for_a_page_are_refused(tmp_path):
    one = replay_of(blank(2))
    with pytest.raises(ValueError, match=r"ends with \.html"):
        write_html(one, tmp_path / "a.htm")
    with pytest.raises(ValueError, match="at least one replay"):
        write_html([], tmp_path / "a.html")
    with pytest.raises(ValueError, match="as many replays on either side, got 2 and 1"):
        write_html([one, one], tmp_path / "a.html", versus=[one])
    with pytest.raises(ValueError, match="titles for 1 replays, got 2"):
        write_html(one, tmp_path / "a.html", titles=["a", "b"])
    with pytest.raises(ValueError, match="of one scenario, got .* and academy_corner"):
        write_html(one, tmp_path / "a.html", versus=replace(one, scenario="academy_corner"))


# ---- a real browser -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def chromium(tmp_path_factory):
    reason = browser.missing()
    if reason:
        pytest.skip(reason)
    with browser.Browser(tmp_path_factory.mktemp("chromium")) as window:
        yield window


@pytest.fixture(scope="module")
def match_page(tmp_path_factory):
    return write_html([long_match(), replay_of(blank(40))], tmp_path_factory.mktemp("page") / "match.html")


def test_the_browser_shows_what_was_written_and_says_nothing(chromium, match_page):
    chromium.screen(1280, 800)
    chromium.console()
    chromium.open(match_page)
    replay = long_match()
    shown = chromium.run(
        "const m = touchline.matches[0]; return {steps: m.steps, x: [...m.x[15]], y: [...m.y[3]], z: [...m.ball[2]],"
        "value: [...m.series.value], names: m.names}"
    )
    out = unpack(*pack(replay))
    assert shown["steps"] == 3000
    assert shown["names"] == ["mine", "built-in AI"]
    assert shown["x"] == out["x"][:, 15].tolist()
    assert shown["y"] == out["y"][:, 3].tolist()
    assert shown["z"] == out["ball"][:, 2].tolist()
    assert shown["value"] == pytest.approx(out["value"].tolist())
    drawn = "const c = document.querySelector('.pane canvas'); return new Set(c.getContext('2d').getImageData("
    assert chromium.run(drawn + "0, 0, c.width, c.height).data).size") > 50
    assert chromium.run("return touchline.errors") == []
    assert chromium.console() == []


def test_playing_goes_on_pausing_stops_and_the_end_is_the_end(chromium, match_page):
    chromium.open(match_page, "step=10")
    assert chromium.run("return [touchline.step, touchline.playing]") == [10, False]
    chromium.press(" ")
    chromium.wait("touchline.playing && touchline.step > 12")
    chromium.press(" ")
    step, playing = chromium.run("return [touchline.step, touchline.playing]")
    assert not playing
    assert chromium.run("await new Promise((go) => setTimeout(go, 200)); return touchline.step") == step
    chromium.press("+")
    assert chromium.run("return touchline.speed") == 2
    chromium.press(END)
    assert chromium.run("return touchline.step") == 3000
    chromium.run("touchline.seek(2990); touchline.play()")
    chromium.wait("!touchline.playing && touchline.step === 3000")


def test_keys_step_and_jump_to_the_goals_with_the_score_of_each(chromium, match_page):
    chromium.open(match_page)
    steps = []
    for key, shift in ((RIGHT, False), (RIGHT, SHIFT), (LEFT, False), (LEFT, SHIFT), (LEFT, False)):
        chromium.press(key, shift=shift)
        steps.append(chromium.run("return touchline.step"))
    assert steps == [1, 11, 10, 0, 0]
    seen = []
    for _ in range(4):
        chromium.press("g")
        seen.append(chromium.run("return [touchline.step, touchline.score[0]]"))
    assert seen == [[700, "1 : 0"], [1500, "1 : 1"], [2400, "2 : 1"], [700, "1 : 0"]]
    chromium.press("g", shift=SHIFT)
    assert chromium.run("return touchline.step") == 2400
    chromium.press(HOME)
    assert chromium.run("return [touchline.step, touchline.score[0]]") == [0, "0 : 0"]


def test_the_mouse_jumps_to_events_and_scrubs_the_timeline(chromium, match_page):
    chromium.screen(1280, 800)
    chromium.open(match_page)
    chromium.click("#goal")
    assert chromium.run("return touchline.score[0]") == "1 : 0"
    chromium.click("#events button.goal:not(.now)")
    assert chromium.run("return [touchline.step, touchline.score[0]]") == [1500, "1 : 1"]
    listed = "return document.querySelectorAll('#events button').length"
    few = chromium.run(listed)  # so many passes would bury the goals: a click on their name lists them
    chromium.click("#chips button[aria-pressed=false]")
    assert chromium.run(listed) > few
    chromium.drag("#line", (0.1, 0.5), (0.5, 0.5))
    assert chromium.run("return touchline.step") == pytest.approx(1500, abs=10)
    chromium.click("#play")
    chromium.wait("touchline.playing")
    chromium.click("#after")
    chromium.wait("touchline.episode === 1")
    assert chromium.run("return [touchline.steps, touchline.step, touchline.playing]") == [40, 0, False]


def test_a_shot_that_scores_is_seen_in_the_net_not_at_the_kick_off(chromium, tmp_path):
    states = blank(20)
    ball = states.get("ball_position")
    ball[:10, 0] = np.linspace(0.5, 0.99, 10)
    ball[10:, 0] = 0.0
    states.get("left_position")[:10, 1:, 0] = 0.7  # at the kick-off they are back in the middle
    states.get("left_score")[10:] = 1
    chromium.open(write_html(replay_of(states), tmp_path / "goal.html"))
    ball, player = chromium.run(
        "const m = touchline.matches[0]; return [m.ball[0].slice(9, 12), m.x[5].slice(9, 12)].map((a) => [...a])"
    )
    assert 5500 < ball[1] < 5800
    assert ball[2] == 0
    assert player == [round(0.7 * 5440)] * 2 + [0]


def test_two_policies_stand_side_by_side_and_under_each_other_on_a_phone(chromium, tmp_path):
    early, late = blank(60), blank(90)
    early.get("left_score")[30:] = 1
    late.get("right_score")[50:] = 1
    other = replace(replay_of(late, policies=("random", "built-in AI")), seed=8)
    page = write_html(replay_of(early), tmp_path / "two.html", versus=other)
    boxes = "return [...document.querySelectorAll('.pane')].map((p) => [p.getBoundingClientRect().left, p.offsetTop])"
    chromium.screen(1280, 800)
    chromium.open(page)
    assert chromium.run("return [touchline.steps, touchline.goals]") == [90, [30, 50]]
    assert "and random on different seeds" in chromium.run("return document.getElementById('subtitle').textContent")
    (left, top), (right, beside) = chromium.run(boxes)
    assert left < right
    assert top == beside
    for step, score in ((29, ["0 : 0", "0 : 0"]), (30, ["1 : 0", "0 : 0"]), (80, ["1 : 0", "0 : 1"])):
        chromium.run(f"touchline.seek({step})")
        assert chromium.run("return touchline.score") == score
    chromium.screen(390, 844, dark=True, scale=2, mobile=True)
    chromium.open(page)
    (left, top), (right, below) = chromium.run(boxes)
    assert left == right
    assert top < below
    assert chromium.run("return touchline.errors") == []


def test_the_policys_own_player_and_action_are_told_where_it_plays_on_the_right(chromium, tmp_path):
    states = blank(5)
    states.get("right_controlled")[:, 0] = 7
    replay = replay_of(states, agents=2)
    replay.actions[:] = [1, 12]  # left: left, right: shot
    chromium.screen(1280, 800)
    chromium.open(write_html(replace(replay, agent=1), tmp_path / "right.html"))
    told = chromium.run("return document.querySelector('.facts').textContent")
    assert "2 controlled; first on the right is 8" in told and "action shot" in told


@pytest.mark.parametrize("width", [360, 390, 844])
def test_nothing_sticks_out_of_a_phone_and_buttons_are_large_enough(chromium, match_page, width):
    chromium.screen(width, 740, scale=2, mobile=True)
    chromium.open(match_page, "step=1500")
    assert chromium.run("return [document.documentElement.scrollWidth, innerWidth]") == [width, width]
    sizes = chromium.run(
        "return [...document.querySelectorAll('.controls button')].map((b) => b.getBoundingClientRect())"
        ".filter((b) => b.width).map((b) => [b.width, b.height])"
    )
    assert len(sizes) >= 8
    assert min(min(size) for size in sizes) >= 39
    chromium.screen(1280, 800)


def test_a_damaged_page_says_so(chromium, match_page, tmp_path):
    page = tmp_path / "damaged.html"
    text = match_page.read_text()
    at = text.index('id="match-0">') + 400
    page.write_text(text[:at] + "AAAA" * 20 + text[at + 80 :])
    with pytest.raises(AssertionError):
        chromium.open(page)
    chromium.wait("touchline.errors.length > 0")
    assert "cannot be shown" in chromium.run("return document.getElementById('failure').textContent")
    chromium.console()


def test_the_browser_of_the_tests_is_named_where_it_is_missing(monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    assert "apt-get install chromium chromium-driver" in browser.missing()
