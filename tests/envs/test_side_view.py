"""Two sides may see the same matches in different observations."""

import numpy as np
import pytest

from touchline.envs.side_view import SideView

pytestmark = pytest.mark.engine


def test_a_side_sees_what_a_vector_env_with_its_observation_would_show_it():
    import touchline

    options = {"num_envs": 3, "left": 2, "right": 2, "control": "fixed", "num_threads": 1}
    shown = touchline.make_vec("5_vs_5", observation="egocentric", stack=2, **options)
    other = touchline.make_vec("5_vs_5", observation="simple115v2", **options)
    expected, _ = shown.reset(seed=5)
    other.reset(seed=5)
    views = {
        side: SideView(other.simulator.state, side, 2, observation="egocentric", stack=2) for side in ("left", "right")
    }
    everyone = np.arange(3)
    for view in views.values():
        view.begin(everyone)
    rng = np.random.default_rng(0)
    for step in range(30):
        for side, part in (("left", slice(0, 2)), ("right", slice(2, 4))):
            assert np.array_equal(views[side].observations, expected[:, part]), (step, side)
        assert not np.array_equal(views["left"].observations, views["right"].observations)
        actions = rng.integers(0, 19, (3, 4))
        expected = shown.step(actions)[0]
        other.step(actions)
        for view in views.values():
            view.push(everyone)
    shown.close()
    other.close()


def test_a_side_is_left_or_right():
    from touchline.envs.simulator import empty_state

    with pytest.raises(ValueError, match="there are left, right"):
        SideView(empty_state(1), "home", 1)
