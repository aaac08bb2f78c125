"""Reports: what is put together, what is kept apart, what is refused, and that the same runs give the same bytes."""

import csv
import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from itertools import combinations
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))
from matplotlib.figure import Figure
from report_folders import EPISODES, make_match, make_run
from rliable import metrics

from touchline import cli, training
from touchline.benchmarks import (
    evaluate,
    published,
    report,
    report_figures,
    report_runs,
    report_statistics,
    report_tables,
)
from touchline.benchmarks.report_runs import SUCCESS, WINDOW
from touchline.train_config import TrainConfig

ROOT = Path(__file__).parents[2]
CLOSE, THREE = "academy_empty_goal_close", "academy_3_vs_1_with_keeper"


@pytest.fixture(autouse=True)
def short_bootstraps(monkeypatch):
    monkeypatch.setattr(report_statistics, "REPETITIONS", {"aggregates": 400, "others": 200})


def written(paths, out):
    page, text = report.write_report(paths, out)
    return page.read_text(), text.read_text()


def row(text, *cells):
    """The first line of a Markdown table that begins with these cells, as a list."""
    for line in text.splitlines():
        found = [cell.strip() for cell in line.strip("|").split(" | ")]
        if line.startswith("|") and found[: len(cells)] == list(cells):
            return found
    raise AssertionError(f"no row {cells} in\n{text}")


# ---- estimators --------------------------------------------------------------------------------------------


def test_the_interquartile_mean_is_that_of_the_middle_half():
    scores = np.array([[0.0, 0.1], [0.2, 0.4], [0.6, 0.8], [0.9, 1.0]])
    found = report_statistics.aggregates(scores)
    names = list(report_statistics.AGGREGATES)
    assert found.value[names.index("IQM")] == pytest.approx((0.2 + 0.4 + 0.6 + 0.8) / 4)
    assert found.value[names.index("Mean")] == pytest.approx(0.5)
    assert found.value[names.index("Median")] == pytest.approx((0.425 + 0.575) / 2)
    assert found.value[names.index("Optimality gap")] == pytest.approx(0.5)


def test_the_interval_of_the_iqm_holds_the_truth_about_as_often_as_it_says():
    rng, inside = np.random.default_rng(0), 0
    for _ in range(60):
        scores = rng.beta(4, 4, size=(10, 4))  # symmetric: its IQM is 0.5
        found = report_statistics.aggregates(scores)
        inside += found.low[0] <= 0.5 <= found.high[0]
    assert 52 <= inside <= 60


def test_intervals_do_not_depend_on_the_global_generator_and_leave_it_alone():
    scores = np.random.default_rng(1).random((5, 3))
    np.random.seed(3)
    before = np.random.get_state()[1].copy()
    first = report_statistics.aggregates(scores)
    assert (np.random.get_state()[1] == before).all()
    np.random.seed(4)
    assert all((a == b).all() for a, b in zip(first, report_statistics.aggregates(scores), strict=True))


@pytest.mark.parametrize("seed", range(4))
def test_the_fast_probability_of_improvement_is_rliables(seed):
    rng = np.random.default_rng(seed)
    x, y = rng.integers(0, 5, (4, 3)) / 4, rng.integers(0, 5, (6, 3)) / 4  # many ties
    assert report_statistics._improvement(x, y)[0] == pytest.approx(metrics.probability_of_improvement(x, y))


def test_the_better_one_improves_with_more_than_half_and_equals_with_half():
    rng = np.random.default_rng(0)
    x = rng.uniform(0.3, 0.7, (5, 4))
    better = report_statistics.improvement(x + 0.2, x)
    assert better.value[0] > 0.8 and better.low[0] > 0.5
    same = report_statistics.improvement(x, x.copy())
    assert same.value[0] == 0.5 and same.low[0] < 0.5 < same.high[0]


def test_a_profile_falls_from_all_runs_to_none():
    found = report_statistics.profile(np.array([[0.25, 0.75], [0.25, 0.75], [0.25, 0.75]]))
    assert found.value[[0, 24, 50, 75]].tolist() == [1.0, 1.0, 0.5, 0.0]


def test_many_pairs_are_a_matrix_in_the_order_of_the_variants():
    names = ["a", "b", "c", "d", "e", "f"]
    pairs = {}
    for x, y in combinations(range(6), 2):  # the later the better: it comes first in its pair
        pairs[names[y], names[x]] = report_statistics.Interval(np.array([0.9]), None, None)
    axes = Figure().add_subplot()
    report_figures.improvements(names, pairs, "p").draw(axes)
    assert [label.get_text() for label in axes.get_yticklabels()] == names
    shown = {(round(t.get_position()[1]), round(t.get_position()[0])): t.get_text() for t in axes.texts}
    assert shown[5, 0] == "90" and shown[0, 5] == "10" and (2, 2) not in shown


def test_two_seeds_have_no_interval():
    assert report_statistics.aggregates(np.array([[0.1], [0.9]])).low is None
    assert report_statistics.iqm_band(np.zeros((2, 5))).low is None
    assert report_statistics.mean(np.array([0.1, 0.5, 0.9])).low[0] < 0.5


# ---- what a report says ------------------------------------------------------------------------------------


def test_both_protocols_stand_side_by_side(tmp_path):
    trained = []
    for seed, success in enumerate((120, 140, 160)):
        folder = make_run(tmp_path, "ppo", CLOSE, seed, success)
        with (folder / "metrics.csv").open(newline="") as file:
            trained.append(100 * float(list(csv.DictReader(file))[-1]["episode/success_rate"]))
    _, text = written([tmp_path], tmp_path / "out")
    found = row(text, "ppo", "3 (0–2)")
    assert found[2] == "40,960"
    assert re.fullmatch(r"\*\*70\.0 \[\d+\.\d, \d+\.\d\]\*\*", found[3])
    assert [cell.split(" [")[0] for cell in found[4].split("<br>")] == ["60.0", "70.0", "80.0"]
    assert found[6] == f"{np.mean(trained):.1f} ± {np.std(trained, ddof=1):.1f}"
    assert f"training, last {WINDOW} episodes: success, % ± std" in text


def test_drills_are_put_together_over_what_all_have_played_and_the_rest_is_named(tmp_path):
    for seed in range(4):
        make_run(tmp_path, "ppo", CLOSE, seed, 180)
        make_run(tmp_path, "ppo", THREE, seed, 100)
    for seed in range(3):
        make_run(tmp_path, "impala", CLOSE, seed, 90)
    _, text = written([tmp_path], tmp_path / "out")
    assert f"Over `{CLOSE}`; 3 seeds of each variant on each." in text
    assert f"Not in it, as not all of these variants have finished runs there: `{THREE}`." in text
    assert "One finished run more of these variants and drills left out, as others have fewer seeds." in text
    assert row(text, "ppo", "90.0 [90.0, 90.0]") and row(text, "impala", "45.0 [45.0, 45.0]")
    assert row(text, "ppo", "impala")[2] == "100.0 [100.0, 100.0]", "the better one comes first"


def test_a_comparison_says_where_trainings_were_not_of_equal_length(tmp_path):
    for seed in range(3):
        for scenario in (CLOSE, THREE):
            make_run(tmp_path, "ppo", scenario, seed, 180)
            make_run(tmp_path, "dqn", scenario, seed, 90, total_steps=20_480 if scenario == THREE else 40_960)
    _, text = written([tmp_path], tmp_path / "out")
    assert f"**Not of equal length** on `{THREE}`: the tables" in text


def test_drills_and_matches_from_both_sides_share_a_part_but_a_match_has_one_way_of_judging(tmp_path):
    match = "11_vs_11_easy_stochastic"
    make_run(tmp_path / "one", "a", CLOSE, 0, 10)
    make_run(tmp_path / "one", "a", CLOSE, 1, 10, finished=False)
    make_match(tmp_path / "one", "a", match, 0, 0.5, side="both")
    (section,) = report_runs.sections(report_runs.read([tmp_path / "one"])[0])
    assert (list(section.sides(match)), list(section.sides(CLOSE))) == (["both"], ["left"])
    _, text = written([tmp_path / "one"], tmp_path / "out")
    assert f"#### `{match}`, from both sides" in text and f"#### `{CLOSE}`\n" in text
    make_match(tmp_path / "two", "b", match, 0, 0.5)
    with pytest.raises(ValueError, match=r"a-0 from both sides and .*b-0 from the left on 11_vs_11_easy"):
        report_runs.sections(report_runs.read([tmp_path])[0])


def test_the_drills_that_most_variants_share_get_a_comparison_of_their_own(tmp_path):
    for variant in ("a", "b"):
        make_run(tmp_path, variant, CLOSE, 0, 10)
        make_run(tmp_path, variant, THREE, 0, 10)
    make_run(tmp_path, "c", CLOSE, 0, 10)
    (section,) = report_runs.sections(report_runs.read([tmp_path])[0])
    found = [(list(one.runs), one.scenarios) for one in report_runs.comparisons(section)]
    assert [(variants, sorted(drills)) for variants, drills in found] == [
        (["a", "b", "c"], [CLOSE]),
        (["a", "b"], sorted([CLOSE, THREE])),
    ]


def test_backends_numbers_of_players_and_ways_of_control_are_kept_apart(tmp_path):
    for seed in range(3):
        make_run(tmp_path / "real", "ppo", CLOSE, seed, 100)
        make_run(tmp_path / "fast", "ppo", CLOSE, seed, 200, backend="turf")
        make_run(tmp_path / "team", "ppo", CLOSE, seed, 50, left=3, control="fixed")
    html, text = written([tmp_path], tmp_path / "out")
    parts = re.split(r"^## ", text, flags=re.MULTILINE)
    titles = [part.splitlines()[0] for part in parts[1:4]]
    assert [title.split(" against")[0] for title in titles] == [
        "gfootball: one controlled player (upstream)",
        "gfootball: 3 controlled players (fixed)",
        "turf: one controlled player (upstream)",
    ]
    assert [row(part, "ppo", "3 (0–2)")[3] for part in parts[1:4]] == [
        "**50.0 [50.0, 50.0]**",
        "**25.0 [25.0, 25.0]**",
        "**100.0 [100.0, 100.0]**",
    ]
    assert html.count("nothing here is compared across the parts") == 1


def test_what_was_trained_on_one_backend_and_judged_on_another_is_a_part_of_its_own(tmp_path):
    make_run(tmp_path, "ppo", CLOSE, 0, 100)
    folder = make_run(tmp_path, "ppo", CLOSE, 1, 100)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"backend": "turf"}))
    _, text = written([tmp_path], tmp_path / "out")
    assert "## gfootball, trained on turf: one controlled player" in text


def test_an_unfinished_run_is_listed_with_its_curve_and_in_no_result(tmp_path):
    for seed in range(3):
        make_run(tmp_path / "runs", "ppo", CLOSE, seed, 100)
    make_run(tmp_path / "runs", "ppo", CLOSE, 3, 200, finished=False)
    make_run(tmp_path / "runs", "slow", CLOSE, 0, 200, finished=False)
    html, text = written([tmp_path / "runs"], tmp_path / "out")
    state = f"`runs/{CLOSE}/ppo-3` (not evaluated yet; 15,360 of 40,960 steps)"
    assert state in text
    assert row(text, "ppo", "3 (0–2)")[3] == "**50.0 [50.0, 50.0]**"
    assert row(text, "*slow*", "none finished")
    assert row(text, f"*`runs/{CLOSE}/ppo-3`*")[2] == "not evaluated yet"
    assert 'class="v-1"' in html, "the curve of a variant that has nothing else"


def test_matches_have_goal_differences_that_no_aggregate_holds(tmp_path):
    for seed in range(3):
        make_match(tmp_path, "ppo", "11_vs_11_easy_stochastic", seed, 2.0)
        make_run(tmp_path, "ppo", CLOSE, seed, 100)
    _, text = written([tmp_path], tmp_path / "out")
    assert "Matches are not in it" in text
    assert row(text, "ppo", "50.0 [50.0, 50.0]"), "the aggregates are of the drill alone"
    matches = text[text.index("### Matches") :]
    found = row(matches, "ppo", "3 (0–2)")
    assert 1.5 < float(found[3].strip("*").split(" [")[0]) < 2.5
    assert sum(int(rate) for rate in found[5].split(" / ")) in (99, 100, 101)
    assert "8.16 ± 1.05 goals" in matches, "the paper's Table 5"


def test_a_match_of_a_users_own_scenario_is_told_by_its_goals(tmp_path):
    make_match(tmp_path, "ppo", "mine", 0, 3.0)
    make_run(tmp_path, "ppo", "drill", 0, 100)
    (section,) = report_runs.sections(report_runs.read([tmp_path])[0])
    assert (section.scenarios(matches=True), section.scenarios(matches=False)) == (["mine"], ["drill"])


def test_published_figures_are_marked_and_apart(tmp_path):
    for seed in range(3):
        make_run(tmp_path, "ppo", THREE, seed, 100, left=3, control="fixed")
    html, text = written([tmp_path], tmp_path / "out")
    assert "**Published, by other protocols: for orientation, not the same measurement**" in text
    assert row(text, "*MAPPO*")[1:4] == ["88.0 ± 4.2 %", "25 M", "3"]
    table = html[html.index('<div class="table published">') :]
    table = table[: table.index("</table>")]
    assert "MAPPO" in table and table.count('<tr class="published">') == len(published.of(THREE))
    assert "MAPPO" not in re.sub(r'<div class="table published">.*?</table>', "", html).replace("published: MAPPO", "")


def test_every_published_number_has_a_source_and_a_scenario_that_exists():
    from touchline import scenarios

    for one in published.PUBLISHED:
        assert one.source in published.SOURCES and one.scenario in scenarios.names()
        assert one.metric in ("success", "score", "goal_difference", "return")
        assert one.metric not in ("success", "score") or 0 <= one.value <= 1


def test_provenance_says_commit_machine_and_cost_or_that_they_are_not_known(tmp_path):
    folder = make_run(tmp_path / "runs", "ppo", CLOSE, 0, 100)
    _, text = written([tmp_path / "runs"], tmp_path / "out")
    found = row(text, f"`runs/{CLOSE}/ppo-0`")
    assert found[2:8] == ["finished", "40,960 of 40,960", "0:01:20", "512", "0123456789ab", "a machine, 2 cores"]
    results = json.loads((folder / "eval.json").read_text())
    del results["results"][0]["machine"]
    (folder / "eval.json").write_text(json.dumps(results))
    _, text = written([tmp_path / "runs"], tmp_path / "out")
    assert row(text, f"`runs/{CLOSE}/ppo-0`")[7] == "not recorded"


def test_scripted_players_on_the_same_seeds_stand_in_the_table(tmp_path):
    folder = make_run(tmp_path, "ppo", CLOSE, 0, 100)
    results = json.loads((folder / "eval.json").read_text())
    results["results"].append(results["results"][0] | {"policy": "random"})
    (folder / "eval.json").write_text(json.dumps(results))
    _, text = written([tmp_path], tmp_path / "out")
    assert row(text, "*random*", "scripted")[4].startswith("50.0 [")


# ---- what is read and refused ------------------------------------------------------------------------------


def test_a_variant_is_named_by_its_folder_or_else_by_its_agent(tmp_path):
    make_run(tmp_path, "rnd", CLOSE, 2, 100)
    make_run(tmp_path, "x", CLOSE, 5, 100, folder=tmp_path / "first", agent="impala")
    make_run(tmp_path, "x", CLOSE, 6, 100, folder=tmp_path / "run-7", agent="apex_dqn")
    runs, others = report_runs.read([tmp_path])
    assert sorted((run.variant, run.seed) for run in runs) == [("apex_dqn", 6), ("impala", 5), ("rnd", 2)]
    assert others == []


def test_the_same_run_given_twice_is_read_once(tmp_path):
    folder = make_run(tmp_path, "ppo", CLOSE, 0, 100)
    assert len(report_runs.read([tmp_path, folder])[0]) == 1


def test_two_runs_of_a_seed_are_refused_and_a_label_tells_them_apart(tmp_path):
    make_run(tmp_path / "old", "ppo", CLOSE, 0, 100)
    make_run(tmp_path / "new", "ppo", CLOSE, 0, 120)
    with pytest.raises(ValueError, match=r"are both ppo on academy_empty_goal_close with seed 0: .* label"):
        report.write_report([tmp_path / "old", tmp_path / "new"], tmp_path / "out")
    _, text = written([f"old={tmp_path / 'old'}", f"new={tmp_path / 'new'}"], tmp_path / "out")
    assert row(text, "ppo (new)", "1 (0)")[3] == "**60.0**"
    assert row(text, "ppo (old)", "1 (0)")[3] == "**50.0**"


def test_different_lengths_of_one_variant_are_refused(tmp_path):
    make_run(tmp_path, "ppo", CLOSE, 0, 100)
    make_run(tmp_path, "ppo", CLOSE, 1, 100, total_steps=81_920)
    with pytest.raises(ValueError, match="is of 40,960 environment steps and .* of 81,920"):
        report.write_report([tmp_path], tmp_path / "out")


def test_an_evaluation_on_another_scenario_is_not_taken_for_the_runs_own(tmp_path):
    folder = make_run(tmp_path, "ppo", CLOSE, 0, 100)
    text = (folder / "eval.json").read_text()
    (folder / "eval.json").write_text(text.replace(CLOSE, THREE))
    (run,) = report_runs.read([tmp_path])[0]
    assert run.result is None and run.trouble == f"evaluated on {THREE} alone"


def test_a_checkpoint_without_metrics_is_named_as_left_out(tmp_path):
    make_run(tmp_path / "runs", "ppo", CLOSE, 0, 100)
    (make_run(tmp_path / "runs", "ppo", CLOSE, 1, 100) / "metrics.csv").unlink()
    _, text = written([tmp_path / "runs"], tmp_path / "out")
    assert f"Left out, as they hold no metrics of a training: `runs/{CLOSE}/ppo-1`." in text


def test_a_folder_without_runs_is_refused(tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    assert cli.run(["report", str(tmp_path / "empty"), "--out", str(tmp_path / "out")]) == 1
    assert "no run in" in capsys.readouterr().err
    assert cli.run(["report", str(tmp_path / "nowhere"), "--out", str(tmp_path / "out")]) == 1
    assert "no folder" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("package", ["rliable", "matplotlib"])
def test_a_missing_package_is_told_with_the_extra_that_brings_it(package, tmp_path):
    code = (
        "import sys; sys.modules[sys.argv[1]] = None; from touchline import cli;"
        "sys.exit(cli.run(['report', sys.argv[2], '--out', sys.argv[3]]))"
    )
    make_run(tmp_path / "runs", "ppo", CLOSE, 0, 100)
    command = [sys.executable, "-c", code, package, str(tmp_path / "runs"), str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr == f"touchline report: a report needs {package}: pip install 'touchline[report]'\n"


def test_wall_clock_and_speed_of_a_run_that_has_no_seconds_are_not_made_up(tmp_path):
    folder = make_run(tmp_path, "sb3", CLOSE, 0, 100)
    text = (folder / "metrics.csv").read_text()
    (folder / "metrics.csv").write_text(text.replace("time/collect_seconds,time/learn_seconds", "a,b"))
    (run,) = report_runs.read([tmp_path])[0]
    assert report_tables.clock(run.wall_seconds) == "–"
    assert run.steps_per_second == 500, "what the training itself said at its end"


def test_the_last_episodes_are_the_last_row_that_has_any(tmp_path):
    folder = make_run(tmp_path, "ppo", CLOSE, 0, 100)
    with (folder / "metrics.csv").open("a") as file:
        file.write("41000,1,1,500,,,,\n")
    (run,) = report_runs.read([tmp_path])[0]
    assert run.env_steps == 41_000
    assert run.last_episodes(SUCCESS) == pytest.approx(run.curve(SUCCESS)[1, -1])
    assert run.curve(SUCCESS).shape[1] == 40


# ---- the files ---------------------------------------------------------------------------------------------


class _Addresses(HTMLParser):
    def __init__(self):
        super().__init__()
        self.found, self.tags = [], []

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.found += [(tag, name, value) for name, value in attributes if value and "//" in value]


def test_the_page_loads_nothing_and_links_to_papers_alone(tmp_path):
    for seed in range(3):
        make_run(tmp_path, "ppo", THREE, seed, 100)
    html, _ = written([tmp_path], tmp_path / "out")
    parser = _Addresses()
    parser.feed(html)
    assert {(tag, name) for tag, name, _ in parser.found} == {("a", "href")}
    assert not re.search(r"@import|url\((?!#)", html)
    assert "svg" in parser.tags and "img" not in parser.tags


def test_names_in_a_page_are_text_and_never_markup(tmp_path):
    make_run(tmp_path / "runs", "<b>x", CLOSE, 0, 100)
    html, _ = written([tmp_path / "runs"], tmp_path / "out")
    assert "<b>x" not in html and "&lt;b&gt;x" in html


def test_a_link_in_a_config_is_a_link_and_nothing_else(tmp_path):
    class Links(HTMLParser):
        found: ClassVar = []

        def handle_starttag(self, tag, attributes):
            self.found += [dict(attributes)] if tag == "a" else []

    device = """[me](https://a"onmouseover="document.title=1"x='y)"""
    make_run(tmp_path / "runs", "ppo", CLOSE, 0, 100, device=device)
    parser = Links()
    parser.feed(written([tmp_path / "runs"], tmp_path / "out")[0])
    assert {"href": device[5:-1], "rel": "noreferrer"} in parser.found
    assert {name for link in parser.found for name in link} <= {"href", "rel"}


def test_numbers_that_people_read_are_not_shortened_with_the_coordinates(tmp_path):
    for variant in ("lr0.0003", "lr0.0001"):
        for seed in range(3):
            make_run(tmp_path / "runs", variant, CLOSE, seed, 100)
    html, _ = written([tmp_path / "runs"], tmp_path / "out")
    read = [text.strip() for text in re.findall(r"<text[^>]*>([^<]*)</text>", html)]
    assert any("lr0.0003" in text for text in read) and any("lr0.0001" in text for text in read)
    assert (
        max(len(number) for number in re.findall(r'[ "]-?\d+\.(\d+)', " ".join(re.findall(r' d="[^"]*"', html)))) == 1
    )


def test_ids_in_a_page_are_unique(tmp_path):
    for variant in ("a", "b"):
        for seed in range(3):
            make_run(tmp_path, variant, CLOSE, seed, 100)
            make_run(tmp_path, variant, THREE, seed, 100)
    html, _ = written([tmp_path], tmp_path / "out")
    ids = re.findall(r' id="([^"]+)"', html)
    assert len(ids) == len(set(ids))
    assert set(re.findall(r'(?:url\(|href=")#([^")]+)', html)) <= set(ids)


def test_the_same_runs_give_the_same_bytes(tmp_path):
    for variant, success in (("ppo", 150), ("impala", 90)):
        for seed in range(3):
            make_run(tmp_path / "runs", variant, CLOSE, seed, success + 10 * seed)
            make_run(tmp_path / "runs", variant, THREE, seed, success - 30 * seed)
    first, again = tmp_path / "first", tmp_path / "again"
    report.write_report([tmp_path / "runs"], first)
    code = (
        "import sys; from touchline.benchmarks import report, report_statistics as statistics;"
        "statistics.REPETITIONS.update(eval(sys.argv[3])); report.write_report([sys.argv[1]], sys.argv[2])"
    )
    short = repr(report_statistics.REPETITIONS)
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "runs"), str(again), short], check=True)
    files = sorted(path.relative_to(first) for path in first.rglob("*") if path.is_file())
    assert len(files) > 4
    for file in files:
        assert (first / file).read_bytes() == (again / file).read_bytes(), file


def test_an_earlier_report_is_replaced_and_other_files_are_left(tmp_path):
    make_run(tmp_path / "runs", "ppo", CLOSE, 0, 100)
    figures = tmp_path / "out" / "figures"
    figures.mkdir(parents=True)
    (figures / "part-9-curves.png").write_bytes(b"old")
    (figures / "mine.png").write_bytes(b"mine")
    _, text = written([tmp_path / "runs"], tmp_path / "out")
    assert not (figures / "part-9-curves.png").exists() and (figures / "mine.png").exists()
    for picture in re.findall(r"\]\((figures/[^)]+)\)", text):
        assert (tmp_path / "out" / picture).stat().st_size > 1000


def test_twenty_variants_make_a_page_of_less_than_three_megabytes(tmp_path):
    for number in range(20):
        for seed in range(3):
            make_run(tmp_path, f"variant{number}", CLOSE, seed, (number * 37 + seed * 11) % EPISODES)
    html, _ = written([tmp_path], tmp_path / "out")
    assert len(html) < 3_000_000
    assert html.count("<button") == 2 * 20


def test_the_committed_runs_become_a_report(tmp_path):
    assert cli.run(["report", str(ROOT / "results" / "agents"), "--out", str(tmp_path)]) == 0
    text = (tmp_path / "report.md").read_text()
    runs = [path.parent for path in (ROOT / "results" / "agents").rglob("eval.json")]
    assert runs and all(f"`agents/{run.relative_to(ROOT / 'results/agents')}`" in text for run in runs)
    rate = json.loads((runs[0] / "eval.json").read_text())["results"][0]["metrics"]["score/success_rate"]["value"]
    assert f"{100 * rate:.1f} [" in text
    assert (tmp_path / "report.html").stat().st_size < 3_000_000


def test_a_policy_judged_before_its_training_ended_is_no_result(tmp_path):
    for seed in (0, 1):
        make_run(tmp_path, "ppo", CLOSE, seed, 40)
    path = next(tmp_path.rglob("ppo-1/eval.json"))
    content = json.loads(path.read_text())
    content["results"][0]["trained_steps"] = 1024
    path.write_text(json.dumps(content))
    runs, _ = report_runs.read([tmp_path])
    troubles = {run.folder.rpartition("/")[2]: (run.result is None, run.trouble) for run in runs}
    assert troubles["ppo-0"] == (False, "")
    assert troubles["ppo-1"][0] and troubles["ppo-1"][1].startswith("evaluated after 1,024 of ")


@pytest.mark.engine
def test_an_evaluation_knows_how_long_its_policy_was_trained(tmp_path):
    small = {"unroll_length": 8, "num_epochs": 1, "policy_hidden": (8,), "value_hidden": (8,)}
    config = TrainConfig(total_steps=64, num_envs=4, num_threads=1, out=str(tmp_path / "ppo-0"), agent_config=small)
    run = training.train(config)["run"]
    result = evaluate.evaluate(run, config.scenario, episodes=2, num_threads=1)
    evaluate.write_json([result], run / "eval.json")
    assert report_runs.read([tmp_path])[0][0].trouble == ""
    training.resume(run, total_steps=640)
    assert report_runs.read([tmp_path])[0][0].trouble == "evaluated after 64 of 640 steps"
