"""The rules of the masks one by one, and on the engine: what is masked is idle, or leaves the ball alone."""

import numpy as np
import pytest

from touchline import make_vec, parallel_env
from touchline.envs.action_masks import KICK_REACH, SLIDE_REACH, action_masks
from touchline.envs.actions import ACTION_SETS
from touchline.envs.football_env import FootballEnv
from touchline.envs.simulator import FLOATS, GAME_MODES, empty_state

NAMES = ACTION_SETS["default"]
KICKS = ("long_pass", "high_pass", "short_pass", "shot")
STICKY = ("release_direction", "sprint", "release_sprint", "dribble", "release_dribble")


def match(**fields):
    """One match with a left and a right agent, each driving his team's player 2, ball and both at the centre spot."""
    state = empty_state(1)
    values = {"left_active": 1, "right_active": 1, "left_controlled": 2, "right_controlled": 2, "ball_owned_team": -1}
    for name, value in (values | fields).items():
        state.get(name)[:] = value
    return state


def allowed(state, agent=0, action_set="default"):
    mask = action_masks(state, 1, 1, action_set)[0, agent]
    return {name for name, yes in zip(ACTION_SETS[action_set], mask, strict=True) if yes}


def test_a_free_player_at_a_free_ball_may_do_all_but_release_what_he_does_not_hold():
    assert set(NAMES) - allowed(match()) == {"release_direction", "release_sprint", "release_dribble"}
    assert allowed(match(), 1) == allowed(match())


def test_what_is_held_can_be_released_and_not_be_held_twice():
    state = match()
    state.get("left_sticky")[0, 0, [3, 8, 9]] = 1
    assert set(NAMES) - allowed(state) == {"sprint", "dribble"}
    assert set(NAMES) - allowed(state, 1) == {"release_direction", "release_sprint", "release_dribble"}


@pytest.mark.parametrize(("metres", "gone"), [(11.9, ()), (12.1, ("sliding",)), (20.1, ("sliding", *KICKS))])
def test_far_from_the_ball_there_are_no_slides_and_farther_no_kicks(metres, gone):
    state = match()
    state.get("ball_position")[0, 1] = metres / 83.6
    assert allowed(match()) - allowed(state) == set(gone) == allowed(match(), 1) - allowed(state, 1)
    assert (SLIDE_REACH, KICK_REACH) == (12.0, 20.0)


def test_who_has_the_ball_does_not_slide_and_may_kick_it_from_anywhere():
    state = match(ball_owned_team=1, ball_owned_player=2)
    state.get("right_position")[0, 2] = 0.9, 0.4
    assert "sliding" in allowed(state) and "sliding" not in allowed(state, 1)
    assert set(KICKS) <= allowed(state, 1)
    assert "sliding" not in allowed(match(game_mode=GAME_MODES.index("corner")))


def test_who_is_off_the_pitch_idles():
    state = match(left_controlled=-1)
    assert allowed(state) == {"idle"} and len(allowed(state, 1)) > 10
    assert allowed(state, 0, "v2") == {"idle"} and "builtin_ai" in allowed(state, 1, "v2")


@pytest.mark.engine
@pytest.mark.parametrize(("left", "shape"), [(1, (19,)), (2, (2, 19))])
def test_every_view_has_the_same_masks(left, shape):
    options = {"left": left, "control": "fixed"}
    vec, env = make_vec("5_vs_5", 3, **options), FootballEnv("5_vs_5", **options)
    par = parallel_env("5_vs_5", left=left)
    vec.reset(seed=4), env.reset(seed=4), par.reset(seed=4)
    draw = np.random.default_rng(0)
    for _ in range(50):
        masks = vec.action_masks()
        assert masks.shape == (3, *shape) and masks.dtype == bool and not masks.all()
        assert np.array_equal(env.action_masks(), masks[0].ravel())
        assert np.array_equal(np.stack(list(par.action_masks().values())), masks[0].reshape(left, 19))
        actions = draw.integers(0, 19, (3, left))
        vec.step(actions), env.step(actions[0] if left > 1 else actions[0, 0])
        par.step(dict(zip(par.agents, actions[0], strict=True)))


@pytest.mark.engine
def test_on_the_engine_a_masked_action_is_idle_or_leaves_the_ball_alone():
    """From states of random play: the masked action in one copy, idle in the other, and idle for five steps more.

    Releases and repeated holds change no bit of the state; a kick may turn the player himself, but not the ball's way.
    """
    B = 32
    options = {"num_threads": 2, "observation": "egocentric", "left": 1, "control": "fixed"}
    envs, draw = make_vec("11_vs_11_easy_stochastic", B, **options), np.random.default_rng(0)
    envs.reset(seed=0)
    tried = dict.fromkeys((*STICKY, *KICKS), 0)
    kicked = 0
    for _ in range(12):
        for _ in range(20):
            envs.step(draw.choice([1, 3, 5, 14, 14, 13, 15, 17, 18, 11], B))
        begin, ball, masks = (
            envs.get_state(),
            slice(*FLOATS["ball_position"][:2]),
            action_masks(envs.simulator.state, 1, 0)[:, 0],
        )
        futures = {}
        for name in ("idle", *tried):
            envs.set_state(begin)
            states = []
            for step in range(6):
                envs.step(np.full(B, NAMES.index(name) if step == 0 else 0))
                states.append((envs.simulator.state.floats.copy(), envs.simulator.state.ints.copy()))
            futures[name] = states
        for name in tried:
            rows = np.flatnonzero(~masks[:, NAMES.index(name)])
            tried[name] += len(rows)
            for (floats, ints), (idle_floats, idle_ints) in zip(futures[name], futures["idle"], strict=True):
                if name in STICKY:
                    assert np.array_equal(floats[rows], idle_floats[rows]), name
                    assert np.array_equal(ints[rows], idle_ints[rows]), name
                else:
                    moved = (floats[:, ball] != idle_floats[:, ball]).any(1)
                    assert not moved[rows].any(), name
                    kicked += moved.any()
        envs.set_state(begin)
    assert min(tried.values()) > 30, tried
    assert kicked > 0  # the control: kicks that are allowed do move the ball
