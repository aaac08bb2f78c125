"""Where things appear in the picture, read from the pixels."""

import numpy as np
import pytest

from touchline.envs.render import KITS, WHITE, Renderer
from touchline.envs.simulator import MatchState, empty_state

RENDERER = Renderer(480)


def match(**fields) -> MatchState:
    """One match with two players a side, far from the middle, and the ball on the centre spot."""
    state = empty_state(1)
    for side, x in (("left", -0.5), ("right", 0.5)):
        state.get(f"{side}_count")[...] = 2
        state.get(f"{side}_active")[:, :2] = 1
        state.get(f"{side}_role")[:, 1] = 5
        state.get(f"{side}_position")[0, :2] = [[2 * x, -0.2], [x, 0.2]]
        state.get(f"{side}_controlled")[...] = -1
    state.get("ball_position")[...] = [0.0, 0.0, 0.11]
    state.get("ball_owned_team")[...] = -1
    state.get("ball_owned_player")[...] = -1
    state.get("steps_left")[...] = 300
    for name, value in fields.items():
        state.get(name)[...] = value
    return state


def near(colour, tolerance=24):
    return lambda picture: (np.abs(picture.astype(int) - colour) <= tolerance).all(axis=-1)


def patch(picture, x, y, half=5):
    column, row = (round(v) for v in RENDERER.pixel(x, y))
    return picture[row - half : row + half + 1, column - half : column + half + 1]


def changed(a, b):
    """Bounding box (top, bottom, left, right) of what differs between two pictures."""
    rows, columns = np.nonzero((a != b).any(axis=-1))
    return rows.min(), rows.max(), columns.min(), columns.max()


@pytest.mark.parametrize("width", [320, 333, 960])
def test_a_picture_is_uint8_rgb_with_sides_that_video_codecs_accept(width):
    renderer = Renderer(width)
    picture = renderer.frame(match())
    assert picture.shape == (renderer.height, renderer.width, 3)
    assert picture.dtype == np.uint8
    assert renderer.width >= width
    assert renderer.width % 16 == renderer.height % 16 == 0


@pytest.mark.parametrize(("x", "y"), [(0.9, 0.3), (-0.9, 0.3), (0.9, -0.3), (-0.05, -0.4)])
def test_the_ball_colours_the_pixels_at_its_place_and_nowhere_else(x, y):
    with_ball = RENDERER.frame(match(ball_position=[x, y, 0.11]))
    without = RENDERER.frame(match(ball_position=[3.0, 3.0, 0.11]))
    top, bottom, left, right = changed(with_ball, without)
    column, row = RENDERER.pixel(x, y)
    assert abs((top + bottom) / 2 - row) <= 2
    assert abs((left + right) / 2 - column) <= 2
    assert near(WHITE, 40)(patch(with_ball, x, y)).any()


def test_positive_y_is_the_bottom_and_positive_x_the_right_of_the_picture():
    left, top = RENDERER.pixel(-1.0, -0.42)
    right, bottom = RENDERER.pixel(1.0, 0.42)
    assert 0 < left < right < RENDERER.width
    assert 0 < top < bottom < RENDERER.height


def test_the_lines_lie_where_the_pitch_ends():
    renderer = Renderer(960)
    white = renderer.frame(match(ball_position=[3.0, 3.0, 0.11])).min(axis=-1) > 170
    middle, top = (round(v) for v in renderer.pixel(0.3, -0.4306))
    assert white[top - 1 : top + 2, middle].any()
    assert not white[top + 4 : top + 12, middle].any()
    goal_line, row = (round(v) for v in renderer.pixel(1.011, 0.35))
    assert white[row, goal_line - 1 : goal_line + 2].any()
    box = round(renderer.pixel(1.011 - 16.5 / 54.4, 0.2)[0])
    assert white[round(renderer.pixel(0, 0.2)[1]), box - 1 : box + 2].any()


def test_the_teams_wear_their_colours_and_the_keepers_their_own():
    picture = RENDERER.frame(match())
    for side, kit in zip((-1, 1), KITS, strict=True):
        assert near(kit.shirt)(patch(picture, side * 0.5, 0.2)).any()
        assert not near(kit.keeper_shirt)(patch(picture, side * 0.5, 0.2)).any()
        assert near(kit.keeper_shirt)(patch(picture, side * 1.0, -0.2)).any()


def test_the_kits_differ_in_brightness_so_that_no_colour_sense_is_needed():
    grey = [np.dot(kit.shirt, [0.3, 0.59, 0.11]) for kit in KITS]
    assert abs(grey[0] - grey[1]) > 70


def test_a_player_who_was_sent_off_or_does_not_exist_is_not_drawn():
    sent_off = match()
    sent_off.get("left_active")[0, 1] = 0
    smaller_team = match(left_count=1)
    for state in (sent_off, smaller_team):
        assert not near(KITS[0].shirt)(patch(RENDERER.frame(state), -0.5, 0.2)).any()


def test_the_number_on_the_shirt_tells_two_players_apart():
    one, other = match(), match()
    other.get("left_position")[0, :2] = other.get("left_position")[0, 1::-1]
    other.get("left_role")[0, :2] = [5, 5]
    one.get("left_role")[0, :2] = [5, 5]
    assert (RENDERER.frame(one) != RENDERER.frame(other)).any()


def test_a_controlled_player_carries_a_mark():
    marked = match()
    marked.get("left_controlled")[0, 0] = 1
    box = changed(RENDERER.frame(marked), RENDERER.frame(match()))
    column, row = RENDERER.pixel(-0.5, 0.2)
    assert box[0] <= row <= box[1]
    assert box[2] <= column <= box[3]
    assert box[1] - box[0] < 40


def test_the_tick_points_where_the_player_runs():
    column, row = RENDERER.pixel(-0.5, 0.2)
    for direction, axis, sign in (
        ([0.01, 0], 1, 1),
        ([-0.01, 0], 1, -1),
        ([0, 0.007], 0, 1),
        ([0, -0.007], 0, -1),
    ):
        running = match()
        running.get("left_direction")[0, 1] = direction
        top, bottom, left, right = changed(RENDERER.frame(running), RENDERER.frame(match()))
        middle = ((top + bottom) / 2 - row, (left + right) / 2 - column)
        assert middle[axis] * sign > 4
        assert abs(middle[1 - axis]) < 3


def test_a_high_ball_is_drawn_larger_and_above_its_shadow():
    without = RENDERER.frame(match(ball_position=[3.0, 3.0, 0.11]))
    low = changed(RENDERER.frame(match(ball_position=[0.25, 0.1, 0.11])), without)
    high = changed(RENDERER.frame(match(ball_position=[0.25, 0.1, 8.0])), without)
    row = RENDERER.pixel(0.25, 0.1)[1]
    assert high[0] < low[0] - 10
    assert high[1] >= row
    assert high[3] - high[2] > low[3] - low[2]


def test_the_trail_is_drawn_along_the_balls_way():
    trail = np.array([[0.2, 0.1], [0.3, 0.1], [0.4, 0.1]])
    box = changed(RENDERER.frame(match(), trail=trail), RENDERER.frame(match()))
    assert box[2] == pytest.approx(RENDERER.pixel(0.2, 0.1)[0], abs=8)
    assert box[3] == pytest.approx(RENDERER.pixel(0.4, 0.1)[0], abs=8)


@pytest.mark.parametrize(
    ("field", "value", "half"),
    [
        ("left_score", 3, 0),
        ("right_score", 3, 1),
        ("steps_left", 7, 0),
        ("game_mode", 4, 1),
        ("ball_owned_team", 0, 1),
    ],
)
def test_the_scoreboard_shows_score_clock_mode_and_owner(field, value, half):
    top, bottom, left, right = changed(RENDERER.frame(match(**{field: value})), RENDERER.frame(match()))
    assert top >= 0
    assert bottom < RENDERER.pixel(0, -0.4306)[1]
    assert (left >= RENDERER.width / 2) == (half == 1)
    assert (right >= RENDERER.width / 2) == (half == 1)


def test_titles_and_captions_cover_neither_goal_nor_scoreboard():
    plain = RENDERER.frame(match())
    titled = changed(RENDERER.frame(match(), title="GOAL", subtitle="1 : 0"), plain)
    assert titled[0] > RENDERER.pixel(0, -0.4306)[1]
    assert titled[1] < RENDERER.pixel(0, -0.06)[1]
    captioned = changed(RENDERER.frame(match(), caption="seed 7"), plain)
    assert captioned[0] > RENDERER.pixel(0, 0.42)[1]


def test_a_long_name_is_cut_to_its_room():
    long = RENDERER.frame(match(), names=("x" * 300, "y"))
    box = changed(long, RENDERER.frame(match(), names=("", "y")))
    assert box[3] < RENDERER.width / 2
    assert box[2] > RENDERER.width / 4


def test_drawing_twice_gives_the_same_picture_and_leaves_the_state_alone():
    state = match()
    before = state.floats.copy(), state.ints.copy()
    first = RENDERER.frame(state, title="GOAL")
    RENDERER.frame(match(left_score=2))
    assert np.array_equal(RENDERER.frame(state, title="GOAL"), first)
    assert np.array_equal(state.floats, before[0])
    assert np.array_equal(state.ints, before[1])


def test_index_picks_the_match_of_a_batch():
    batch = empty_state(2)
    one = match(left_score=4)
    batch.floats[1], batch.ints[1] = one.floats[0], one.ints[0]
    assert np.array_equal(RENDERER.frame(batch, 1), RENDERER.frame(one))


def test_a_bad_index_a_broken_state_and_a_tiny_width_are_refused():
    with pytest.raises(ValueError, match="below 1 matches"):
        RENDERER.frame(match(), 1)
    with pytest.raises(ValueError, match="not finite"):
        RENDERER.frame(match(ball_position=[np.nan, 0, 0]))
    with pytest.raises(ValueError, match="at least 320"):
        Renderer(10)
