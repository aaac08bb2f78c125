"""The match as one vector, and appended to what agents see."""

import numpy as np
import pytest

from touchline.envs import global_state
from touchline.envs.simulator import turned

pytestmark = pytest.mark.engine


def played(steps=40, **options):
    import touchline

    options = {"left": 2, "right": 2, "control": "fixed", "observation": "egocentric", "num_threads": 1} | options
    envs = touchline.make_vec("5_vs_5", 3, **options)
    envs.reset(seed=2)
    rng = np.random.default_rng(0)
    for _ in range(steps):
        obs = envs.step(rng.integers(0, 19, (3, 4)))[0]
    return envs, obs


def test_the_right_teams_view_is_what_its_agents_observe():
    """simple115v2 and egocentric turn the pitch by their own code; a turned state shown to the left gives the same."""
    from touchline.envs.side_view import SideView

    envs, _ = played()
    state = envs.simulator.state
    for observation in ("simple115v2", "egocentric"):
        right = SideView(state, "right", 2, observation=observation)
        left = SideView(turned(state), "left", 2, observation=observation)
        for view in (right, left):
            view.begin(np.arange(3))
        assert np.allclose(right.observations, left.observations, atol=1e-6), observation
    twice = turned(turned(state))
    assert np.array_equal(twice.floats, state.floats) and np.array_equal(twice.ints, state.ints)
    assert not np.array_equal(turned(state).floats, state.floats)
    envs.close()


def test_the_global_state_follows_an_agents_own_observation():
    envs, obs = played(central_state=True)
    plain, seen = played()
    state, size = plain.simulator.state, seen.shape[-1]
    duration = plain.scenario.game_duration
    assert np.array_equal(obs[..., :size], seen)
    assert envs.env_spec.central == global_state.SIZE == obs.shape[-1] - size
    assert envs.env_spec.own.observation_shape == (size,)
    expected = global_state.global_state(state, duration)
    assert np.array_equal(obs[:, 0, size:], expected) and np.array_equal(obs[:, 1, size:], expected)
    assert np.array_equal(obs[:, 3, size:], global_state.global_state(turned(state), duration))
    envs.close()
    plain.close()


def test_pictures_and_stacks_take_no_global_state():
    import touchline

    with pytest.raises(ValueError, match="egocentric or simple115v2"):
        touchline.make_vec("5_vs_5", 1, left=1, observation="smm", central_state=True)
    with pytest.raises(ValueError, match="stack=2"):
        touchline.make_vec("5_vs_5", 1, left=1, observation="egocentric", stack=2, central_state=True)
