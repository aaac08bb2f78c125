"""A folder of runs is read while it is written: rows appear, files are cut off, damaged or written anew."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from touchline import run_folders
from touchline.run_folders import MAX_POINTS, MetricsFile, RunFolder, inside, markdown_tables, scan
from touchline.tracking import CsvTracker

NOW = 2_000_000_000.0


def write_run(folder, rows, *, config=None, header="env_steps,episode/success_rate,time/collect_seconds"):
    """A run whose metrics were written at `NOW`."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps({"total_steps": 1000, "agent": "ppo"} if config is None else config))
    (folder / "metrics.csv").write_text("".join(f"{line}\n" for line in (header, *rows)))
    os.utime(folder / "metrics.csv", (NOW, NOW))
    return folder


def appended(folder, text):
    with (folder / "metrics.csv").open("a", newline="") as file:
        file.write(text)


# ---- metrics.csv ---------------------------------------------------------------------------------------------------


def test_what_the_tracker_writes_is_read_as_it_grows_and_gets_new_columns(tmp_path):
    tracker, metrics = CsvTracker(tmp_path / "metrics.csv"), MetricsFile(tmp_path / "metrics.csv")
    tracker(10, {"train/loss": 0.5})
    metrics.refresh()
    version = metrics.version
    assert (metrics.steps.tolist(), metrics.column("train/loss").tolist()) == ([10], [0.5])
    tracker(20, {"train/loss": 0.25})
    metrics.refresh()
    assert (metrics.version, metrics.steps.tolist()) == (version, [10, 20])
    tracker(30, {"episode/return": 3.0})  # the file is written anew with one more column
    metrics.refresh()
    assert metrics.version != version
    assert metrics.columns == ["train/loss", "episode/return"]
    assert np.isnan(metrics.column("episode/return")[:2]).all()
    assert metrics.column("episode/return")[2] == 3.0
    tracker.close()
    resumed = CsvTracker(tmp_path / "metrics.csv", 10)  # drops the rows past its checkpoint
    before = metrics.version
    metrics.refresh()
    assert metrics.version != before
    assert metrics.steps.tolist() == [10]
    resumed.close()


@pytest.mark.parametrize("tail", [b"30", b"30,0.1", b"\0" * 40, b"\0" * 40 + b"\n", b"\xff\xfe,1\n"])
def test_a_training_goes_on_where_a_crash_has_left_half_a_row(tmp_path, tail):
    path = tmp_path / "metrics.csv"
    tracker = CsvTracker(path)
    for step in (10, 20):
        tracker(step, {"train/loss": step / 10, "train/entropy": 1.0})
    tracker.close()
    path.write_bytes(path.read_bytes() + tail)
    resumed = CsvTracker(path, 1000)
    resumed(1010, {"train/loss": 3.0, "train/entropy": 1.0})
    resumed.close()
    metrics = MetricsFile(path)
    metrics.refresh()
    assert (metrics.steps.tolist(), metrics.num_bad) == ([10, 20, 1010], 0)


def test_a_new_column_never_leaves_the_file_without_its_rows(tmp_path, monkeypatch):
    path = tmp_path / "metrics.csv"
    tracker = CsvTracker(path)
    tracker(10, {"train/loss": 0.5})
    before = path.read_bytes()

    def crash(source, target):
        raise OSError("no space left")

    monkeypatch.setattr(os, "replace", crash)
    with pytest.raises(OSError, match="no space"):
        tracker(20, {"episode/return": 1.0})
    assert path.read_bytes() == before


def test_the_time_of_rows_that_tell_it_in_one_number_is_theirs(tmp_path):
    write_run(tmp_path, ["500,5000,0.1", "1000,910,1.0"], header="env_steps,time/env_steps_per_second,time/seconds")
    metrics = MetricsFile(tmp_path / "metrics.csv")
    metrics.refresh()
    assert metrics.seconds().tolist() == pytest.approx([0.1, 1.1])


def test_half_a_line_waits_for_its_other_half(tmp_path):
    run = write_run(tmp_path, ["100,0.5,1"])
    metrics = MetricsFile(run / "metrics.csv")
    appended(run, "200,0.7")
    metrics.refresh()
    assert metrics.steps.tolist() == [100]
    appended(run, "5,1\n300,")
    metrics.refresh()
    assert metrics.steps.tolist() == [100, 200]
    assert metrics.column("episode/success_rate")[1] == 0.75
    assert metrics.num_bad == 0
    (tmp_path / "metrics.csv").write_text("env_st")  # and so does half a header
    metrics.refresh()
    assert (metrics.num_rows, metrics.columns) == (0, [])


def test_a_file_that_is_cut_off_or_written_anew_is_read_from_its_start(tmp_path):
    run = write_run(tmp_path, [f"{i},0.{i},1" for i in range(1, 9)])
    metrics = MetricsFile(run / "metrics.csv")
    metrics.refresh()
    versions = [metrics.version]
    write_run(tmp_path, ["1,0.1,1", "2,0.2,1"])
    metrics.refresh()
    assert metrics.steps.tolist() == [1, 2]
    write_run(tmp_path, [f"{i},0.5,1" for i in range(20, 40)])  # longer than what was read, but another beginning
    metrics.refresh()
    assert metrics.steps[0] == 20
    assert len({*versions, metrics.version}) == 2


def test_damaged_lines_are_counted_and_the_others_are_read(tmp_path):
    run = write_run(tmp_path, ["1,0.1,1", "2,zwei,1", "3,0.3", ",0.4,1", "5,,", "6,inf,1"])
    metrics = MetricsFile(run / "metrics.csv")
    metrics.refresh()
    assert metrics.steps.tolist() == [1, 5, 6]
    assert metrics.num_bad == 3
    assert run_folders.numbers(metrics.column("episode/success_rate")) == [0.1, None, None]
    assert "3 damaged lines" in RunFolder(run).summary(NOW)["errors"][0]


@pytest.mark.parametrize("rows", [0, 1, MAX_POINTS, MAX_POINTS + 1, 7001])
def test_a_curve_has_no_more_points_than_it_may_and_their_means_are_right(tmp_path, rows):
    values = np.random.default_rng(0).normal(size=rows).astype(np.float32)
    run = write_run(tmp_path, [f"{i},{value},1" for i, value in enumerate(values)])
    metrics = MetricsFile(run / "metrics.csv")
    metrics.refresh()
    part = metrics.part(["episode/success_rate"])
    assert len(part.steps) == -(-rows // part.stride) <= MAX_POINTS
    expected = [values[i : i + part.stride].astype(float).mean() for i in range(0, rows, part.stride)]
    assert np.allclose(part.columns["episode/success_rate"], expected, atol=1e-6)


def test_the_parts_that_a_reader_fetches_one_by_one_make_the_whole(tmp_path):
    run, rng = write_run(tmp_path, []), np.random.default_rng(1)
    metrics = MetricsFile(run / "metrics.csv")
    have, version, stride, done, sent, step = [], "", 0, 0, 0, 0
    for count in rng.integers(0, 400, 30):
        for _ in range(count):
            step += 1
            appended(run, f"{step},{rng.random():.4f},1\n")
        metrics.refresh()
        part = metrics.part(["episode/success_rate"], version, stride, done)
        have = have[: part.start] + part.columns["episode/success_rate"].tolist()
        version, stride, done, sent = part.version, part.stride, part.done, sent + len(part.steps)
        assert have == metrics.part(["episode/success_rate"]).columns["episode/success_rate"].tolist()
    assert step > 4 * MAX_POINTS
    assert sent < 3 * step / 2, "mostly what is new"


def test_a_number_that_a_row_leaves_out_is_no_zero_in_a_mean():
    values = np.array([1, np.nan, 3, np.nan, np.nan, np.nan], np.float32)
    assert run_folders.numbers(run_folders.thinned(values, 2)) == [1.0, 3.0, None]


# ---- runs ----------------------------------------------------------------------------------------------------------


def test_a_run_is_running_finished_or_stopped_and_says_how_long_it_takes(tmp_path):
    rows = [f"{100 * i},0.{i},2" for i in range(1, 6)]
    header = "env_steps,episode/success_rate,time/collect_seconds,time/learn_seconds"
    run = RunFolder(write_run(tmp_path / "a", [f"{row},2" for row in rows], header=header))
    about = run.summary(NOW + 30)
    assert (about["state"], about["env_steps"], about["total_steps"]) == ("running", 500, 1000)
    assert about["env_steps_per_second"] == 25  # 100 steps in 2 s of collecting and 2 s of learning
    assert about["eta_seconds"] == 20
    assert about["success_rate"] == pytest.approx(0.5)
    assert run.summary(NOW + 61)["state"] == "stopped"
    slow = [f"{100 * i},0.5,100,20" for i in range(1, 4)]
    slow = RunFolder(write_run(tmp_path / "b", slow, header=header))
    assert slow.summary(NOW + 500)["state"] == "running", "its rows are two minutes apart"
    assert slow.summary(NOW + 601)["state"] == "stopped"
    done = RunFolder(write_run(tmp_path / "c", ["1024,1,1,1"], header=header))
    assert done.summary(NOW + 5)["state"] == "finished"
    (tmp_path / "league.json").write_text("{}")  # rated games take their time
    assert run.summary(NOW + 600)["state"] == "running"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("metrics.csv", bytes(range(256)) * 50, "metrics.csv"),
        ("metrics.csv", b"step,loss\n1,2\n", "no column env_steps"),
        ("config.json", b'{"total_steps": 10', "config.json"),
        ("config.json", b"[1, 2]", "holds no object"),
        ("config.json", b"[" * 100_000, "config.json"),
        ("config.json", b"\xff\xfe", "config.json"),
    ],
)
def test_an_unreadable_file_is_a_message_and_no_error(tmp_path, name, content, message):
    run = write_run(tmp_path, ["10,0.5,1"])
    (run / name).write_bytes(content)
    about = RunFolder(run).summary(NOW)
    assert message in " ".join(about["errors"])
    assert (about["env_steps"] == 10) == (name == "config.json")


@pytest.mark.parametrize("total", ["many", None, -5, True, [3]])
def test_a_config_with_a_strange_budget_has_none(tmp_path, total):
    about = RunFolder(write_run(tmp_path, ["10,0.5,1"], config={"total_steps": total})).summary(NOW)
    assert about["total_steps"] in (None, 1)
    json.dumps(about, allow_nan=False)


# ---- folders -------------------------------------------------------------------------------------------------------


def test_everything_is_found_at_any_depth_and_links_lead_nowhere_else(tmp_path):
    root, outside = tmp_path / "runs", tmp_path / "outside"
    write_run(root / "a" / "b" / "ppo-0", ["1,1,1"])
    write_run(outside / "ppo-9", ["1,1,1"])
    (root / "linked").symlink_to(outside)
    (root / "half").mkdir()
    (root / "half" / "config.json").write_text("{}")
    (root / "half" / "metrics.csv").symlink_to(outside / "ppo-9" / "metrics.csv")
    (root / "cup" / "replays").mkdir(parents=True)
    (root / "cup" / "tournament.json").write_text("{}")
    (root / "cup" / "table.md").write_text("")
    (root / "cup" / "replays" / "one.npz").write_bytes(b"")
    (root / "cup" / "replays" / ".one.npz.part").write_bytes(b"")
    (root / "suite").mkdir()
    (root / "suite" / "table.md").write_text("")
    (root / ".hidden").mkdir()
    write_run(root / ".hidden" / "x", [])
    write_run(root, ["1,1,1"])
    (root / "league.json").write_text("{}")
    (root / "watch.html").write_text("")
    found = scan(root)
    assert found.runs == ["", "a/b/ppo-0"]
    assert found.tournaments == ["cup"]
    assert found.tables == ["suite"]
    assert found.leagues == [""]
    assert found.replays == {"": ["watch.html"], "cup": ["replays/one.npz"]}


def test_a_file_outside_is_refused_however_it_is_named(tmp_path):
    root = tmp_path / "runs"
    root.mkdir()
    (tmp_path / "secret.html").write_text("secret")
    (root / "link.html").symlink_to(tmp_path / "secret.html")
    (root / "own.html").write_text("own")
    assert inside(root, "own.html").read_text() == "own"
    for path in ("../secret.html", "x/../../secret.html", str(tmp_path / "secret.html"), "link.html"):
        with pytest.raises(PermissionError, match="outside"):
            inside(root, path)
    for path in ("none.html", "", ".", "own.html\0"):
        with pytest.raises(FileNotFoundError):
            inside(root, path)


def test_ratings_and_anchors_of_a_league_are_read_beside_what_is_damaged(tmp_path):
    (tmp_path / "league.json").write_text('{"scenario": "5_vs_5"}')
    (tmp_path / "ratings.csv").write_text("generation,env_steps,member,mu,sigma\n1,100,self-100,16.5,4\n2,200,x,,\n")
    (tmp_path / "anchors.json").write_text("{nonsense")
    found = run_folders.league(tmp_path)
    assert found["rows"][0] == {"generation": 1, "env_steps": 100, "member": "self-100", "mu": 16.5, "sigma": 4}
    assert found["rows"][1]["mu"] is None
    assert found["scenario"] == "5_vs_5"
    assert [error.split(":")[0] for error in found["errors"]] == ["anchors.json"]


def test_a_cross_table_keeps_its_gaps_and_a_crooked_one_is_a_message(tmp_path):
    (tmp_path / "cross_table.csv").write_text("policy,a,b\na,,1.5\nb,-1.5,\n")
    assert run_folders.tournament(tmp_path)["cross"] == {
        "columns": ["a", "b"],
        "rows": ["a", "b"],
        "values": [[None, 1.5], [-1.5, None]],
    }
    (tmp_path / "cross_table.csv").write_text("policy,a,b\na,1\n")
    found = run_folders.tournament(tmp_path)
    assert found["cross"] is None
    assert "other lengths" in found["errors"][0]


def test_markdown_tables_are_read_with_their_bars_and_sides():
    text = "# Title\n\n| a | b |\n|---|---:|\n| `x\\|y` | 1 |\n\nwords\n| no table |\n"
    assert markdown_tables(text) == [{"head": ["a", "b"], "right": [False, True], "rows": [["x|y", "1"]]}]
    assert run_folders.title_of(text) == "Title"


def test_folders_are_read_without_torch(tmp_path):
    write_run(tmp_path / "run", ["1,1,1"])
    code = (
        "import sys; sys.modules['torch'] = None; from touchline.dashboard import Dashboard;"
        f"d = Dashboard({str(tmp_path)!r}); assert d.overview()['runs'][0]['env_steps'] == 1;"
        "import touchline.html_replay; assert 'numba' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
