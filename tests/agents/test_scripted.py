"""The scripted players, on hand-made states."""

import math
from dataclasses import replace

import numpy as np
import pytest

from touchline import scenarios
from touchline.agents import scripted
from touchline.agents.scripted import NAMES, RunAndShoot, make_scripted, nearest_direction
from touchline.benchmarks.evaluate import evaluate
from touchline.envs.actions import ACTION_SETS
from touchline.envs.simulator import FLOATS, GAME_MODES, INTS, empty_state
from touchline.envs.vector_env import FootballVectorEnv

V2 = ACTION_SETS["v2"]


def state_of(positions, *, side="left", sprint=True, pressed=None, steps_left=100):
    """One match a position: agent 0 drives the side's player 2, who stands there in the left team's view."""
    state = empty_state(len(positions))
    state.get(f"{side}_controlled")[...] = -1
    state.get(f"{side}_controlled")[:, 0] = 2
    state.get(f"{side}_position")[:, 2] = positions
    state.get(f"{side}_sticky")[:, 0, 8] = sprint
    if pressed is not None:
        state.get(f"{side}_sticky")[:, 0, V2.index(pressed) - 1] = 1
    state.get("steps_left")[...] = steps_left
    return state


def names_of(actions):
    return [V2[a] for a in actions.ravel()]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("num_players", [1, 3])
def test_every_script_gives_an_action_of_its_set_for_every_agent(name, side, num_players):
    policy = make_scripted(name, num_players)
    actions = policy.act(empty_state(5), side)
    assert actions.shape == (5, num_players)
    assert actions.dtype == np.int32
    assert 0 <= actions.min() <= actions.max() < len(ACTION_SETS[policy.action_set])


def test_action_numbers_are_those_of_the_action_sets():
    assert V2[scripted.IDLE] == "idle"
    assert V2[scripted.LEFT] == "left"
    assert V2[scripted.SHOT] == "shot"
    assert V2[scripted.SPRINT] == "sprint"
    assert V2[scripted.BUILTIN_AI] == "builtin_ai"
    assert len(ACTION_SETS["default"]) == scripted.NUM_DEFAULT_ACTIONS


def test_builtin_ai_and_idle_always_press_the_same():
    assert names_of(make_scripted("builtin_ai").act(empty_state(2), "left")) == ["builtin_ai"] * 2
    assert names_of(make_scripted("idle").act(empty_state(2), "right")) == ["idle"] * 2


def test_random_uses_every_action_about_equally_often():
    policy = make_scripted("random", 11, seed=3)
    counts = np.bincount(np.concatenate([policy.act(empty_state(20), "left").ravel() for _ in range(20)]), minlength=19)
    expected = 20 * 20 * 11 / 19
    assert len(counts) == 19
    assert (np.abs(counts - expected) < 5 * math.sqrt(expected)).all()


def test_random_plays_an_episode_alike_in_any_batch_and_touches_no_global_generator():
    np.random.seed(0)
    before = np.random.get_state()[1].copy()
    alone, together = make_scripted("random", 2, seed=1), make_scripted("random", 2, seed=1)
    alone.begin(np.ones(1, bool), np.array([77]))
    together.begin(np.ones(4, bool), np.array([5, 6, 77, 8]))
    together.act(empty_state(4), "left")
    together.begin(np.array([False, False, True, False]), np.array([-1, -1, 77, -1]))
    for _ in range(5):
        assert np.array_equal(alone.act(empty_state(1), "left")[0], together.act(empty_state(4), "left")[2])
    assert np.array_equal(before, np.random.get_state()[1])


def test_random_differs_between_matches_episodes_and_seeds():
    def play(seed, episode):
        policy = make_scripted("random", 8, seed=seed)
        policy.begin(np.ones(1, bool), np.array([episode]))
        return policy.act(empty_state(1), "left").tolist()

    assert play(0, 1) != play(0, 2)
    assert play(0, 1) != play(1, 1)
    fresh = make_scripted("random", 8).act(empty_state(2), "left")
    assert fresh[0].tolist() != fresh[1].tolist()


@pytest.mark.parametrize(
    ("offset", "name"),
    [
        ((1, 0), "right"),
        ((1, 1), "bottom_right"),
        ((0, 1), "bottom"),
        ((-1, 1), "bottom_left"),
        ((-1, 0), "left"),
        ((-1, -1), "top_left"),
        ((0, -1), "top"),
        ((1, -1), "top_right"),
        ((1, 0.4), "right"),
        ((1, 0.43), "bottom_right"),
        ((-1, -1e-9), "left"),
    ],
)
def test_the_nearest_direction_is_within_half_of_45_degrees(offset, name):
    assert V2[nearest_direction(np.array(offset, float))] == name


def test_the_runner_heads_for_the_middle_of_the_goal_in_metres():
    state = state_of([[0.0, 0.0], [0.5, -0.3], [0.5, 0.3], [0.9 - 0.1, 0.4], [-0.5, 0.1]])
    assert names_of(RunAndShoot().act(state, "left")) == [
        "right",
        "bottom_right",
        "top_right",
        "top",
        "right",
    ]


def test_the_runner_presses_sprint_first_and_a_direction_only_once():
    assert names_of(RunAndShoot().act(state_of([[0, 0]], sprint=False), "left")) == ["sprint"]
    assert names_of(RunAndShoot().act(state_of([[0, 0]]), "left")) == ["right"]
    assert names_of(RunAndShoot().act(state_of([[0, 0]], pressed="right"), "left")) == ["idle"]
    assert names_of(RunAndShoot().act(state_of([[0, 0]], pressed="top"), "left")) == ["right"]


def test_a_right_agent_runs_in_his_own_view_where_he_attacks_to_the_right():
    # In the left team's view he stands low (y > 0) and far from the left goal; in his own view high.
    state = state_of([[-0.5, 0.3], [0.0, 0.0]], side="right")
    assert names_of(RunAndShoot().act(state, "right")) == ["bottom_right", "right"]
    # Sticky bits are stored in the left team's view: his "right" is their "left".
    pressed = state_of([[0.0, 0.0]], side="right", pressed="left")
    assert names_of(RunAndShoot().act(pressed, "right")) == ["idle"]
    assert names_of(RunAndShoot().act(state_of([[-0.9, 0.0]], side="right"), "right")) == ["shot"]


def test_hold_repeats_the_shot_and_tap_presses_it_one_step_in_ten():
    near, far = [0.9, 0.0], [0.8, 0.0]
    for press, expected in (("hold", [1] * 12), ("tap", [1, *[0] * 9, 1, 0])):
        policy, shots = RunAndShoot(press=press), []
        for step in range(14):
            state = state_of([far if step < 2 else near], pressed="right", steps_left=100 - step)
            shots.append(names_of(policy.act(state, "left")) == ["shot"])
        assert shots == [False, False, *map(bool, expected)]


def test_tap_starts_anew_when_the_clock_does():
    policy = RunAndShoot(press="tap")
    near = [[0.9, 0.0]]
    assert names_of(policy.act(state_of(near, steps_left=50), "left")) == ["shot"]
    assert names_of(policy.act(state_of(near, steps_left=49), "left")) == ["idle"]
    assert names_of(policy.act(state_of(near, steps_left=401), "left")) == ["shot"]


def test_an_agent_without_a_player_presses_nothing():
    state = state_of([[0.9, 0.0]])
    state.get("left_controlled")[...] = -1
    assert names_of(RunAndShoot().act(state, "left")) == ["idle"]


def test_every_agent_of_a_side_steers_its_own_player():
    state = empty_state(1)
    state.get("left_controlled")[0, :2] = [1, 0]
    state.get("left_position")[0, :2] = [[0.9, 0.0], [0.5, 0.35]]
    state.get("left_sticky")[0, :2, 8] = 1
    assert names_of(RunAndShoot(2).act(state, "left")) == ["top_right", "shot"]


def test_wrong_names_say_what_exists():
    with pytest.raises(ValueError, match="there are builtin_ai, idle, random"):
        make_scripted("messi")
    with pytest.raises(ValueError, match="there are left, right"):
        make_scripted("idle").act(empty_state(1), "home")
    with pytest.raises(ValueError, match="there are hold, tap"):
        RunAndShoot(press="slam")


# ---- the anchor teams -------------------------------------------------------------------------------------

ANCHORS = ("chaser", "keeper_rush", "finisher", "long_ball", "possession")
DIRECTIONS = V2[1:9]
KICKS = ("long_pass", "high_pass", "short_pass", "shot")


def match_of(mine, others=(), *, ball=(0.0, 0.0), owner=None, pressed=None, steps_left=100, rows=1):
    """Matches of one kind: left agents drive all field players, who stand at `mine`, metres; keepers in the goals.

    `owner` is an agent, or "theirs"; `pressed` a direction that all agents hold, with sprint.
    """
    state = empty_state(rows)
    for side, places, own in (("left", mine, -1.0), ("right", others, 1.0)):
        places = np.array([(54.0 * own, 0.0), *places]) / scripted.METRES
        state.get(f"{side}_position")[:, : len(places)] = places
        state.get(f"{side}_active")[:, : len(places)] = 1
        state.get(f"{side}_count")[:] = len(places)
        state.get(f"{side}_role")[:, 1:] = 9
        state.get(f"{side}_controlled")[...] = -1
        state.get(f"{side}_controlled")[:, : len(places) - 1] = np.arange(1, len(places))
    state.get("ball_position")[:, :2] = np.array(ball) / scripted.METRES
    state.get("ball_owned_team")[:] = -1 if owner is None else int(owner == "theirs")
    state.get("ball_owned_player")[:] = -1 if owner is None else 1 if owner == "theirs" else owner + 1
    if pressed is not None:
        state.get("left_sticky")[:, : len(mine), V2.index(pressed) - 1] = 1
        state.get("left_sticky")[:, : len(mine), 8] = 1
    state.get("steps_left")[:] = steps_left
    return state


def act(name, state, side="left", num_players=4):
    return names_of(make_scripted(name, num_players).act(state, side))


def random_matches(rng, size, *, steps_left=100):
    """Five a side in any position, with any keys held, and the ball at somebody's feet in two of three."""
    state = match_of([(0, 0)] * 4, [(0, 0)] * 4, rows=size, steps_left=steps_left)
    for side in ("left", "right"):
        state.get(f"{side}_position")[:, :5] = rng.uniform([-1, -0.42], [1, 0.42], (size, 5, 2))
        state.get(f"{side}_direction")[:, :5] = rng.normal(0, 0.008, (size, 5, 2))
        keys = rng.integers(-1, 8, (size, 4))
        state.get(f"{side}_sticky")[:, :4, :8] = keys[..., None] == np.arange(8)
        state.get(f"{side}_sticky")[:, :4, 8] = rng.integers(2, size=(size, 4))
    state.get("ball_position")[:, :2] = rng.uniform([-1, -0.42], [1, 0.42], (size, 2))
    state.get("ball_direction")[:, :2] = rng.normal(0, 0.015, (size, 2))
    team, player = rng.integers(-1, 2, size), rng.integers(0, 5, size)
    state.get("ball_owned_team")[:] = team
    state.get("ball_owned_player")[:] = np.where(team < 0, -1, player)
    for row in np.flatnonzero(team >= 0):
        feet = state.get(("left_position", "right_position")[team[row]])[row, player[row]]
        state.get("ball_position")[row, :2] = feet + np.float32(0.01)
    state.get("game_mode")[:] = np.where(rng.random(size) < 0.2, rng.integers(2, 7, size), 0)
    return state


def turned(state):
    """The same matches with the sides exchanged and the pitch turned by 180 degrees."""
    result = empty_state(len(state.floats))
    for name in (*FLOATS, *INTS):
        result.get(name)[...] = state.get(name)
    for side, other in (("left", "right"), ("right", "left")):
        for name in ("count", "active", "role", "designated", "controlled", "score"):
            result.get(f"{side}_{name}")[...] = state.get(f"{other}_{name}")
        for name in ("position", "direction"):
            result.get(f"{side}_{name}")[...] = -state.get(f"{other}_{name}")
        sticky = state.get(f"{other}_sticky")
        result.get(f"{side}_sticky")[..., :8] = np.roll(sticky[..., :8], 4, axis=-1)
        result.get(f"{side}_sticky")[..., 8:] = sticky[..., 8:]
    for name in ("ball_position", "ball_direction"):
        result.get(name)[:, :2] = -state.get(name)[:, :2]
    team = state.get("ball_owned_team")
    result.get("ball_owned_team")[:] = np.where(team < 0, -1, 1 - team)
    return result


@pytest.mark.parametrize("name", ANCHORS)
def test_a_turned_match_is_played_alike_by_the_other_side(name):
    rng = np.random.default_rng(1)
    left, right, kinds = make_scripted(name, 4), make_scripted(name, 4), set()
    for step in range(15):
        state = random_matches(rng, 60, steps_left=100 - step)
        actions = left.act(state, "left")
        assert np.array_equal(actions, right.act(turned(state), "right"))
        kinds.update(names_of(actions))
    # All that was compared: it ran, kicked and changed its speed.
    assert kinds >= {*DIRECTIONS, "idle", "sprint", "shot", "short_pass"}


@pytest.mark.parametrize("name", ANCHORS)
def test_a_match_is_played_alike_in_any_batch(name):
    rng = np.random.default_rng(2)
    together, alone = make_scripted(name, 4), [make_scripted(name, 4) for _ in range(6)]
    together.begin(np.ones(6, bool), np.arange(6))
    for step in range(30):
        state = random_matches(rng, 6, steps_left=100 - step)
        actions = together.act(state, "left")
        for row, policy in enumerate(alone):
            part = type(state)(state.floats[row : row + 1], state.ints[row : row + 1])
            assert np.array_equal(policy.act(part, "left")[0], actions[row])


@pytest.mark.parametrize("name", ANCHORS)
def test_a_new_episode_forgets_the_last_one(name):
    rng = np.random.default_rng(3)
    used, begun, fresh = make_scripted(name, 4), make_scripted(name, 4), make_scripted(name, 4)
    state = random_matches(rng, 40, steps_left=100)
    for policy in (used, begun):
        policy.act(state, "left")
    begun.begin(np.ones(40, bool), np.arange(40))
    again, later = random_matches(rng, 40, steps_left=100), random_matches(rng, 40, steps_left=99)
    expected = fresh.act(again, "left")
    assert np.array_equal(used.act(again, "left"), expected)  # the clock alone tells it
    assert np.array_equal(begun.act(later, "left"), make_scripted(name, 4).act(later, "left"))


@pytest.mark.parametrize("name", ANCHORS)
def test_agents_of_the_anchors_without_a_player_press_nothing(name):
    state = random_matches(np.random.default_rng(4), 50)
    assert set(names_of(make_scripted(name, 4).act(state, "left")[:, 2])) > {"idle"}
    state.get("left_controlled")[:, 2] = -1
    assert set(names_of(make_scripted(name, 4).act(state, "left")[:, 2])) == {"idle"}


@pytest.mark.parametrize("name", ANCHORS)
def test_an_owner_in_range_turns_to_the_goal_and_shoots_once(name):
    near = [(44.0, 0.0), (20.0, 20.0), (0.0, -10.0), (0.0, 10.0)]
    assert act(name, match_of(near, ball=(44.5, 0.0), owner=0, pressed="bottom"))[0] == "right"
    policy = make_scripted(name, 4)
    keys = []
    for step in range(10):
        state = match_of(near, ball=(44.5, 0.0), owner=0, pressed="right", steps_left=100 - step)
        keys.append(names_of(policy.act(state, "left"))[0])
    # To press it again before the foot meets the ball would postpone the kick.
    assert keys[:8] == ["shot", *["idle"] * 7]
    assert keys.count("shot") == 2
    far = [(10.0, 0.0), *near[1:]]
    assert act(name, match_of(far, ball=(10.5, 0.0), owner=0, pressed="right"))[0] == "idle"


def test_the_rusher_shoots_from_further_away_than_the_chaser():
    state = match_of([(34.0, 0.0), (0.0, 10.0)], ball=(34.5, 0.0), owner=0, pressed="right")
    assert act("keeper_rush", state, num_players=2)[0] == "shot"
    assert act("chaser", state, num_players=2)[0] == "idle"


def chance_of(keeper, *, defender=(-30.0, 0.0), pressed="right", y=0.0, steps_left=100):
    """Agent 0 alone with the ball 30 metres before the goal, and a keeper somewhere."""
    mine = [(25.0, y), (-10.0, 10.0)]
    state = match_of(mine, [defender], ball=(25.5, y), owner=0, pressed=pressed, steps_left=steps_left)
    state.get("right_position")[:, 0] = np.array(keeper) / scripted.METRES
    return state


def first_of(state, name="finisher"):
    return act(name, state, num_players=2)[0]


def test_the_finisher_runs_past_a_keeper_who_comes_out_and_shoots_early():
    assert first_of(chance_of((46.0, 2.0))) == "top_right"  # still 21 metres away, and below
    assert first_of(chance_of((46.0, -2.0))) == "bottom_right"
    assert first_of(chance_of((46.0, 0.1), y=1.0)) == "bottom_right"  # straight ahead: away from the middle
    assert first_of(chance_of((42.0, 2.0), pressed="top_right")) == "shot"
    # 30 metres from the goal the rusher goes on towards it.
    assert first_of(chance_of((42.0, 2.0), pressed="top_right"), "keeper_rush") == "right"


def test_the_finisher_takes_no_keeper_on_his_line_and_no_opponent_in_the_way_for_a_chance():
    shooting = {"pressed": "top_right"}
    assert first_of(chance_of((42.0, 2.0), **shooting)) == "shot"
    assert first_of(chance_of((53.0, 2.0), **shooting)) == "right"  # the keeper is at home
    assert first_of(chance_of((42.0, 2.0), defender=(35.0, 2.0), **shooting)) == "right"
    assert first_of(chance_of((42.0, 2.0), defender=(35.0, 4.0), **shooting)) == "shot"  # beside the lane
    assert first_of(chance_of((42.0, 2.0), defender=(24.0, 0.5), **shooting)) == "shot"  # behind the ball
    assert first_of(chance_of((20.0, 2.0), **shooting)) == "shot"  # the keeper is passed


def test_the_finisher_keeps_the_side_that_it_began_to_pass_the_keeper_on():
    policy = make_scripted("finisher", 2)

    def run(keeper, step):
        return names_of(policy.act(chance_of(keeper, steps_left=100 - step), "left"))[0]

    assert run((46.0, 2.0), 0) == "top_right"
    assert run((46.0, -2.0), 1) == "top_right"
    policy.begin(np.ones(1, bool), np.zeros(1))
    assert run((46.0, -2.0), 2) == "bottom_right"


@pytest.mark.engine
def test_the_finisher_scores_against_a_keeper_alone_where_the_rusher_does_not():
    drill = {"episodes": 40, "num_envs": 20, "num_threads": 2}
    scenario = "academy_run_to_score_with_keeper"
    finisher, rusher = (evaluate(name, scenario, **drill) for name in ("finisher", "keeper_rush"))
    assert finisher.metrics["score/success_rate"].value > rusher.metrics["score/success_rate"].value + 0.2


def test_all_chasers_run_at_the_ball_and_sprint():
    places = [(-20.0, 0.0), (20.0, 0.0), (0.0, -20.0), (15.0, 15.0)]
    assert act("chaser", match_of(places)) == ["right", "left", "bottom", "top_left"]
    running = match_of(places)
    running.get("left_sticky")[0, range(4), [V2.index(d) - 1 for d in ("right", "left", "bottom", "top_left")]] = 1
    assert act("chaser", running) == ["sprint"] * 4
    # A rolling ball is met, not followed.
    rolling = match_of([(0.0, -10.0)], [], ball=(0.0, 0.0))
    rolling.get("ball_direction")[0, 0] = 1.5 / scripted.METRES[0]
    assert act("chaser", rolling, num_players=1) == ["bottom_right"]


def test_only_the_nearest_rusher_presses_and_the_others_stand_between_ball_and_goal():
    theirs = [(0.5, 10.0)]
    # Agent 2 is nearest; the line is 10 metres from the ball on the way to the goal, 6 metres apart.
    state = match_of([(-9.8, -4.0), (30.0, 0.0), (5.0, 10.0), (-40.0, 30.0)], theirs, ball=(0.0, 10.0), owner="theirs")
    actions = act("keeper_rush", state)
    assert actions[2] == "left"
    assert actions[1] == "left"
    assert actions[0] == "bottom"
    assert actions[3] == "top_right"
    middle = np.array([0.0, 10.0]) + 10.0 * np.array([-55.0, -10.0]) / math.hypot(55.0, 10.0)
    line = [middle + (0, -6.0), middle, middle + (0, 6.0)]
    assert act("keeper_rush", match_of([(5.0, 10.0), *line], theirs, ball=(0.0, 10.0), owner="theirs")) == [
        "left",
        *["idle"] * 3,
    ]


def test_the_striker_stays_at_the_last_line_while_the_others_defend():
    theirs = [(30.0, 10.0), (20.0, 5.0), (-30.0, 0.0), (-20.0, 0.0)]
    mine = [(28.0, 0.0), (-28.0, 2.0), (-40.0, 5.0), (-35.0, -15.0)]
    state = match_of(mine, theirs, ball=(-30.5, 0.0), owner="theirs")
    # The last man but the keeper is at 30 metres: there he waits, short of offside; when too far up he walks back.
    assert act("long_ball", state)[:2] == ["idle", "top_left"]
    mine[0] = (10.0, 0.0)
    assert act("long_ball", match_of(mine, theirs, ball=(-30.5, 0.0), owner="theirs"))[0] == "right"
    mine[0] = (45.0, 0.0)
    assert act("long_ball", match_of(mine, theirs, ball=(-30.5, 0.0), owner="theirs"))[0] == "left"


def test_the_striker_is_the_same_for_a_whole_episode():
    policy = make_scripted("long_ball", 2)
    theirs = [(30.0, 10.0), (30.0, -10.0)]
    first = match_of([(10.0, 0.0), (-10.0, 0.0)], theirs, ball=(-20.0, 0.0), owner="theirs", steps_left=100)
    assert names_of(policy.act(first, "left")) == ["right", "left"]
    passed = match_of([(10.0, 0.0), (20.0, 0.0)], theirs, ball=(-20.0, 0.0), owner="theirs", steps_left=99)
    assert names_of(policy.act(passed, "left")) == ["right", "left"]
    policy.begin(np.ones(1, bool), np.array([7]))
    again = match_of([(10.0, 0.0), (20.0, 0.0)], theirs, ball=(-20.0, 0.0), owner="theirs", steps_left=98)
    assert names_of(policy.act(again, "left")) == ["left", "right"]


def test_long_balls_go_high_to_the_striker_from_the_own_half_or_under_pressure():
    def owner(x, *, opponent=(40.0, 0.0), pressed="right"):
        mine = [(35.0, 0.0), (x, 0.0), (-30.0, 10.0), (-30.0, -10.0)]
        state = match_of(mine, [opponent, (36.0, 20.0)], ball=(x + 0.5, 0.0), owner=1, pressed=pressed)
        return act("long_ball", state)[1]

    assert owner(-10.0) == "high_pass"
    assert owner(-10.0, pressed="top") == "right"  # first he turns to him
    assert owner(5.0) == "idle"  # free in the other half he runs on
    assert owner(5.0, opponent=(7.0, 2.0)) == "high_pass"
    assert owner(20.0, opponent=(22.0, 2.0)) == "long_pass"


def test_a_long_press_looks_for_a_striker_far_away():
    policy, keys = make_scripted("long_ball", 2), []
    for step in range(6):
        state = match_of([(35.0, 0.0), (-10.0, 0.0)], ball=(-9.5, 0), owner=1, pressed="right", steps_left=100 - step)
        keys.append(names_of(policy.act(state, "left"))[1])
    assert keys == ["high_pass"] * 3 + ["idle"] * 3


def test_possession_passes_short_when_pressed_and_runs_on_when_free():
    mine = [(0.0, 0.0), (10.0, -10.0), (-8.0, 0.0), (-10.0, 15.0)]

    def owner(opponents, pressed="top_right"):
        return act("possession", match_of(mine, opponents, ball=(0.5, 0.0), owner=0, pressed=pressed))[0]

    close, away, in_lane, at_mate = (3.0, 1.0), (40.0, 20.0), (5.0, -5.5), (12.0, -11.0)
    assert owner([close, away]) == "short_pass"
    assert owner([close, away], pressed="right") == "top_right"  # first he turns to him
    assert owner([away, (35.0, 0.0)]) == "right"  # free: he runs at the goal
    assert owner([close, away, in_lane]) == "right"  # nobody to pass to
    assert owner([close, away, at_mate]) == "right"
    assert owner([close, (8.0, 20.0)]) == "right"  # his mate is offside


def test_possession_holds_the_pass_longer_for_a_mate_further_away():
    def keys(mate):
        policy, pressed = make_scripted("possession", 2), []
        for step in range(4):
            theirs = [(3.0, 1.0), (40.0, 20.0)]
            state = match_of([(0.0, 0.0), mate], theirs, ball=(0.5, 0.0), owner=0, pressed="top_right")
            state.get("steps_left")[:] = 100 - step
            pressed.append(names_of(policy.act(state, "left"))[0])
        return pressed

    assert keys((6.0, -6.0)) == ["short_pass", "idle", "idle", "idle"]
    assert keys((15.0, -15.0)) == ["short_pass", "short_pass", "idle", "idle"]


def test_in_range_possession_shoots_although_a_mate_is_free():
    theirs = [(41.0, 2.0), (53.0, 30.0)]
    state = match_of([(40.0, 0.0), (49.0, 0.0)], theirs, ball=(40.5, 0.0), owner=0, pressed="right")
    assert act("possession", state, num_players=2)[0] == "shot"


@pytest.mark.parametrize("name", ANCHORS)
def test_whoever_runs_behind_his_ball_has_it_between_two_touches(name):
    def runner(others, pace):
        state = match_of([(44.0, 0.0), (0.0, 10.0)], others, ball=(45.5, 0.0), pressed="right")
        state.get("left_direction")[:, 1, 0] = pace / 10 / scripted.METRES[0]
        state.get("ball_direction")[:, 0] = 8.5 / 10 / scripted.METRES[0]
        return act(name, state, num_players=2)[0]

    assert runner([(30.0, 0.0)], 7.5) == "shot"
    assert runner([(46.0, 0.5)], 7.5) != "shot"  # an opponent is nearer to it
    assert runner([(30.0, 0.0)], 0.0) != "shot"  # it rolls away from him


@pytest.mark.parametrize("name", ["keeper_rush", "long_ball", "possession"])
def test_a_short_way_to_a_place_is_walked(name):
    mine = [(0.0, 0.0), (-12.0, 0.0), (-14.0, 0.0), (-16.0, 0.0)]
    keys = set()
    for x in range(-40, 40, 2):
        mine[3] = (float(x), 7.0)
        for held in ("right", "left"):
            state = match_of(mine, [(0.5, 0.0)], ball=(0.0, 0.0), owner="theirs", pressed=held)
            keys.update(act(name, state)[3:])
    assert "release_sprint" in keys


def test_team_mates_of_possession_spread_out_and_rushers_stay_together():
    def others(name):
        """What the three agents without the ball press, who all stand near the owner."""
        mine = [(0.0, 0.0), (-6.0, -3.0), (-6.0, 0.0), (-6.0, 3.0)]
        return act(name, match_of(mine, [(30.0, 0.0), (30.0, 5.0)], ball=(0.5, 0.0), owner=0))[1:]

    assert others("possession") == ["top_right", "idle", "bottom_right"]
    assert others("keeper_rush") == ["top_left", "left", "bottom_left"]


@pytest.mark.parametrize("name", ["keeper_rush", "long_ball", "possession"])
def test_a_driven_keeper_stays_before_his_goal(name):
    state = match_of([(-54.0, 0.0), (0.0, 0.0), (-10.0, 5.0)], [(-20.0, 0.0)], ball=(-20.5, 0.0), owner="theirs")
    state.get("left_role")[:, 1] = 0
    assert act(name, state, num_players=3)[0] == "idle"
    state.get("left_role")[:, 1] = 9
    # A field player from there comes out, in each of these teams.
    assert act(name, state, num_players=3)[0] != "idle"


@pytest.mark.parametrize(
    ("mode", "place", "key"),
    [
        ("throw_in", (0.0, 36.0), "short_pass"),
        ("corner", (55.0, 36.0), "high_pass"),
        ("free_kick", (37.0, 0.0), "shot"),
    ],
)
@pytest.mark.parametrize("name", ANCHORS)
def test_the_taker_of_a_set_piece_plays_it(name, mode, place, key):
    mine = [place, (0.0, 10.0), (-20.0, 0.0), (-20.0, 20.0)]
    facing = {"throw_in": "top", "corner": "top", "free_kick": "right"}[mode]
    state = match_of(mine, [(50.0, 5.0), (-10.0, -20.0)], ball=place, pressed=facing)
    state.get("game_mode")[:] = GAME_MODES.index(mode)
    assert act(name, state)[0] == key
    # Nobody takes it who is not the nearest of all.
    state.get("right_position")[:, 1] = state.get("ball_position")[:, :2]
    state.get("left_position")[:, 1] += 1.5 / scripted.METRES
    assert act(name, state)[0] not in KICKS


@pytest.mark.engine
@pytest.mark.parametrize("name", ANCHORS)
def test_the_anchors_outplay_random_agents_on_either_side(name):
    short = replace(scenarios.load("5_vs_5"), game_duration=500)

    def make_short(scenario, **options):
        return FootballVectorEnv(short, **options)

    options = {"left": 4, "right": 4, "control": "fixed", "episodes": 8, "num_threads": 2, "make_vec": make_short}
    at_home = evaluate(name, "5_vs_5", opponent="random", **options)
    away = evaluate("random", "5_vs_5", opponent=name, **options)
    goals = [result.metrics["score/goal_difference_per_game"].value * 8 for result in (at_home, away)]
    assert goals[0] >= 3
    assert goals[1] <= -3
