"""Traces survive the disk, damaged ones say so, and videos show every moment once."""

import zipfile

import imageio_ffmpeg
import numpy as np
import pytest

from touchline.envs.render import Renderer
from touchline.envs.simulator import INTS, empty_state
from touchline.replay import Replay, ReplayError, ReplayWriter, frames, interpolate, write_video

RENDERER = Renderer(320)


def played(steps=5, *, terminated=True, truncated=False, changes=None, **about) -> Replay:
    """The ball rolls 0.05 a step to the right; `changes` {step: {field: value}} come on top."""
    state = empty_state(2)
    state.get("left_count")[...] = state.get("right_count")[...] = 1
    state.get("left_active")[:, 0] = 1
    state.get("steps_left")[...] = 100
    state.get("ball_direction")[..., 0] = 0.05
    about = {"scenario": "toy", "backend": "toy", "seed": 7} | about
    writer = ReplayWriter(state=state, index=1, **about)
    for step in range(1, steps + 1):
        state.get("ball_position")[1, 0] += 0.05
        state.get("steps_left")[1] -= 1
        for name, value in (changes or {}).get(step, {}).items():
            state.get(name)[1] = value
        writer.add([step, 2], 0.5, state, index=1, value=step / 10)
    return writer.finish(terminated=terminated, truncated=truncated)


def test_a_replay_reads_back_as_it_was_written(tmp_path):
    replay = played(policies=("runs/ppo", "random"), episode=3, agent=1)
    again = Replay.load(replay.save(tmp_path / "deep" / "trace.npz"))
    for name in ("floats", "ints", "actions", "rewards"):
        assert np.array_equal(getattr(again, name), getattr(replay, name))
        assert getattr(again, name).dtype == getattr(replay, name).dtype
    for name in ("scenario", "backend", "seed", "terminated", "truncated", "policies", "episode", "agent"):
        assert getattr(again, name) == getattr(replay, name)
    assert again.series.keys() == {"value"}
    assert again.series["value"] == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5])


def test_the_writer_copies_because_the_simulator_rewrites_its_arrays():
    replay = played(3)
    assert replay.states.get("ball_position")[:, 0] == pytest.approx([0, 0.05, 0.1, 0.15])
    assert replay.actions.tolist() == [[1, 2], [2, 2], [3, 2]]
    assert replay.rewards.tolist() == [[0.5, 0.5]] * 3


def test_saving_leaves_no_part_files_and_replaces_the_old_file(tmp_path):
    played(2).save(tmp_path / "trace.npz")
    played(4).save(tmp_path / "trace.npz")
    assert [path.name for path in tmp_path.iterdir()] == ["trace.npz"]
    assert Replay.load(tmp_path / "trace.npz").num_steps == 4


@pytest.mark.parametrize("damage", ["half", "text", "empty", "flipped", "other npz", "pickle", "npy", "header"])
def test_a_damaged_file_is_called_damaged_with_its_name(tmp_path, damage):
    path = played().save(tmp_path / "trace.npz")
    data = path.read_bytes()
    if damage == "half":
        path.write_bytes(data[: len(data) // 2])
    elif damage == "text":
        path.write_text("this is no archive")
    elif damage == "empty":
        path.write_bytes(b"")
    elif damage == "flipped":
        path.write_bytes(data[:200] + bytes(255 - b for b in data[200:260]) + data[260:])
    elif damage == "other npz":
        np.savez(path, x=np.zeros(3))
    elif damage == "pickle":
        np.savez(path, about=np.array([{"format": "touchline-replay"}], dtype=object))
    elif damage == "npy":
        with path.open("wb") as file:
            np.save(file, np.zeros(3))
    elif damage == "header":  # which numpy parses as Python
        about = b"\x93NUMPY\x01\x00\x10\x00{'descr': (((\x00\n"
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("about.npy", about)
    with pytest.raises(ReplayError, match=r"trace\.npz is no replay or is damaged"):
        Replay.load(path)


def rewritten(path, old, new):
    """The archive with a piece of its JSON text exchanged (equal length, little-endian unicode)."""
    assert len(old) == len(new)
    out = path.with_name("changed.npz")
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(out, "w") as target:
        for name in source.namelist():
            data = source.read(name)
            if name == "about.npy":
                assert old.encode("utf-32-le") in data
                data = data.replace(old.encode("utf-32-le"), new.encode("utf-32-le"))
            target.writestr(name, data)
    return out


def test_a_newer_version_asks_for_an_update_instead_of_misreading(tmp_path):
    path = rewritten(played().save(tmp_path / "trace.npz"), '"version": 1', '"version": 9')
    with pytest.raises(ReplayError, match="version 9; this touchline reads up to 1"):
        Replay.load(path)


def test_a_trace_of_before_it_named_its_agent_is_of_the_first(tmp_path):
    path = rewritten(played(agent=1).save(tmp_path / "trace.npz"), '"agent"', '"agen_"')
    assert Replay.load(path).agent == 0


def test_a_trace_outlives_a_change_of_the_state_layout(tmp_path):
    path = played(changes={5: {"left_score": 2}}).save(tmp_path / "trace.npz")
    old = f'"steps_left": [{INTS["steps_left"].start}, []]'
    again = Replay.load(rewritten(path, old, old.replace("steps_left", "steps_gone")))
    assert again.score == (2, 0)
    assert not again.states.get("steps_left").any()


def test_a_missing_file_stays_a_file_not_found_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        Replay.load(tmp_path / "none.npz")


def test_arrays_of_wrong_length_are_refused():
    replay = played(3)
    with pytest.raises(ValueError, match="expected floats"):
        Replay("toy", "toy", 1, replay.floats[:-1], replay.ints, replay.actions, replay.rewards)
    with pytest.raises(ValueError, match=r"actions \[T, N\]"):
        Replay("toy", "toy", 1, replay.floats, replay.ints, replay.actions[:, 0], replay.rewards)
    with pytest.raises(ValueError, match="series 'value'"):
        Replay(
            "toy",
            "toy",
            1,
            replay.floats,
            replay.ints,
            replay.actions,
            replay.rewards,
            series={"value": np.zeros(2)},
        )


def test_a_series_must_be_given_in_every_step():
    state = empty_state(1)
    writer = ReplayWriter("toy", backend="toy", seed=1, state=state)
    writer.add(0, 0.0, state, value=1.0)
    with pytest.raises(ValueError, match=r"expected the series \['value'\]"):
        writer.add(0, 0.0, state, novelty=1.0)


@pytest.mark.parametrize(
    ("changes", "ends", "result"),
    [
        ({"left_score": 1}, {"terminated": True}, "GOAL"),
        ({"right_score": 1}, {"terminated": True}, "GOAL CONCEDED"),
        ({"game_mode": 2}, {"terminated": True}, "GOAL KICK"),
        ({}, {"terminated": True}, "BALL LOST"),
        ({"steps_left": 0}, {"terminated": True}, "FULL TIME"),
        ({}, {"terminated": False, "truncated": True}, "TIME"),
        ({}, {"terminated": False}, "CUT"),
    ],
)
def test_the_result_names_how_the_episode_ended(changes, ends, result):
    assert played(3, changes={3: changes}, **ends).result == result


def test_positions_are_interpolated_between_steps():
    replay = played(2)
    assert interpolate(replay, 0.5).get("ball_position")[0, 0] == pytest.approx(0.025)
    assert interpolate(replay, 1.25).get("ball_position")[0, 0] == pytest.approx(0.0625)
    assert interpolate(replay, 2.0).get("ball_position")[0, 0] == pytest.approx(0.1)


def test_a_jump_is_not_interpolated():
    replay = played(2, changes={2: {"ball_position": [0.9, 0.4, 0.11]}})
    before = interpolate(replay, 1.0)
    assert np.array_equal(interpolate(replay, 1.9).floats, before.floats)
    assert interpolate(replay, 2.0).get("ball_position")[0, 0] == pytest.approx(0.9)


def test_the_score_changes_with_the_step_not_before():
    replay = played(2, changes={2: {"left_score": 1}})
    assert interpolate(replay, 1.99).get("left_score")[0] == 0
    assert interpolate(replay, 2.0).get("left_score")[0] == 1


def test_a_ball_that_scored_flies_on_instead_of_standing_still_before_the_kick_off():
    replay = played(2, changes={1: {"ball_position": [0.97, 0, 0.5]}, 2: {"left_score": 1, "ball_position": 0.0}})
    assert interpolate(replay, 1.4).get("ball_position")[0, 0] == pytest.approx(0.97 + 0.4 * 0.05)
    assert 1.0 < interpolate(replay, 1.99).get("ball_position")[0, 0] <= 1.04


@pytest.mark.parametrize(("fps", "count"), [(10, 6), (30, 16), (25, 13), (5, 3)])
def test_play_has_one_picture_a_moment_at_every_frame_rate(fps, count):
    pictures = list(frames(played(5), fps=fps, renderer=RENDERER, intro_seconds=0, outro_seconds=0))
    assert len(pictures) == count


def test_cards_and_pauses_add_their_seconds():
    goal = played(4, changes={2: {"left_score": 1}})
    plain = list(frames(goal, fps=10, renderer=RENDERER, intro_seconds=0, outro_seconds=0))
    carded = list(frames(goal, fps=10, renderer=RENDERER, intro_seconds=0.5, outro_seconds=0.8))
    assert len(plain) == 5 + 10  # the goal within the episode is held for a second
    assert len(carded) == len(plain) + 5 + 8
    assert np.array_equal(carded[5 + len(plain)], carded[-1])


def test_the_last_picture_of_a_goal_shows_the_goal_not_the_kick_off():
    replay = played(2, changes={1: {"ball_position": [0.97, 0, 0.5]}, 2: {"left_score": 1, "ball_position": 0.0}})
    last = list(frames(replay, fps=30, renderer=RENDERER, intro_seconds=0, outro_seconds=0.1))[-1]
    column, row = (round(v) for v in RENDERER.pixel(0.0, 0.0))
    kicked_off = RENDERER.frame(replay.states, 2, names=("Left", "built-in AI"))
    spot = np.s_[row - 3 : row + 4, column - 3 : column + 4]
    assert (last[spot] != kicked_off[spot]).any()


def test_a_video_reads_back_with_the_frames_and_the_size_it_was_given(tmp_path):
    path = tmp_path / "videos" / "match.mp4"
    two = [played(5), played(3)]
    assert write_video(two, path, fps=30, renderer=RENDERER, intro_seconds=0.2, outro_seconds=0.1) == path
    count, _ = imageio_ffmpeg.count_frames_and_secs(str(path))
    assert count == (6 + 16 + 3) + (6 + 10 + 3)
    about = next(imageio_ffmpeg.read_frames(str(path)))
    assert about["size"] == (RENDERER.width, RENDERER.height)
    assert about["fps"] == 30
    assert about["pix_fmt"].startswith("yuv420p")
    assert [p.name for p in path.parent.iterdir()] == ["match.mp4"]


def test_the_video_shows_the_ball_moving_to_the_right(tmp_path):
    path = write_video(played(10), tmp_path / "a.mp4", fps=10, renderer=RENDERER, intro_seconds=0, outro_seconds=0)
    reader = imageio_ffmpeg.read_frames(str(path))
    size = next(reader)["size"]
    pictures = [np.frombuffer(f, np.uint8).reshape(size[1], size[0], 3).astype(int) for f in reader]
    column, row = (round(v) for v in RENDERER.pixel(0.4, 0.0))
    brightness = [p[row - 2 : row + 2, column - 2 : column + 2].mean() for p in pictures]
    assert np.argmax(brightness) in (8, 9)  # the ball, or the head of its trail
    assert brightness[8] > brightness[2] + 12


def test_a_video_that_fails_half_way_leaves_no_file(tmp_path):
    broken = played(5, changes={3: {"ball_position": np.nan}})
    with pytest.raises(ValueError, match="not finite"):
        write_video(broken, tmp_path / "a.mp4", renderer=RENDERER)
    assert not list(tmp_path.iterdir())


def test_wrong_requests_for_a_video_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"ends with \.mp4"):
        write_video(played(2), tmp_path / "a.avi")
    with pytest.raises(ValueError, match="at least one replay"):
        write_video([], tmp_path / "a.mp4")
