"""The curiosity audit: every run once, every check in the report, and a failure of any of them is an exit code."""

import json
import sys
from types import ModuleType

import pytest

from touchline import cli, plugins
from touchline.benchmarks import curiosity_audit
from touchline.benchmarks.audits import Check
from touchline.benchmarks.curiosity_audit import run_audit


def passing(results, *, quick=False):
    values = [result["values"] for result in results]
    return [
        Check("seeds count up", values == [[seed, seed + 1] for seed in range(len(values))], f"{values} | all"),
        Check("the blind arm", True, "saw nothing", must_fail=True),
    ]


@pytest.fixture
def toy(monkeypatch):
    """A row called toy, which is all the audit has; `toy.ran` lists what was run."""
    module = ModuleType("touchline.benchmarks.audits.toy")
    module.NAME, module.CLAIM, module.COST = "T", "On a toy, seeds count up.", "no time"
    module.ran = []

    def run(seed, *, quick=False):
        module.ran.append((seed, quick))
        return {"values": (seed, seed + 1)}

    def plot(results, axes):
        axes.plot([result["values"][0] for result in results])

    module.run, module.checks, module.plot = run, passing, plot
    module.table = lambda results: "| values |\n|---|\n" + "".join(f"| {r['values']} |\n" for r in results)
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setattr(curiosity_audit, "ROWS", ("toy",))
    return module


def command(out, *flags):
    return cli.run(["curiosity-audit", "--out", str(out), *flags])


def test_every_seed_is_run_once_and_a_second_call_runs_only_what_is_missing(toy, tmp_path):
    first = run_audit(tmp_path, seeds=3)
    assert toy.ran == [(0, False), (1, False), (2, False)]
    again = run_audit(tmp_path, seeds=3)
    assert len(toy.ran) == 3
    assert again == first, "a run judged at once and one read back are the same values"
    (tmp_path / "toy" / "seed-1.json").unlink()
    run_audit(tmp_path, seeds=4)
    assert toy.ran[3:] == [(1, False), (3, False)]


def test_a_stopped_audit_keeps_what_is_finished_and_goes_on(toy, tmp_path, capsys):
    whole = toy.run

    def stopped(seed, *, quick=False):
        if seed == 1:
            raise KeyboardInterrupt
        return whole(seed, quick=quick)

    toy.run = stopped
    assert command(tmp_path, "--seeds", "3") == 130
    assert "the same command goes on" in capsys.readouterr().out
    assert [path.name for path in (tmp_path / "toy").iterdir()] == ["seed-0.json"]
    toy.run = whole
    assert command(tmp_path, "--seeds", "3") == 0
    assert toy.ran == [(0, False), (1, False), (2, False)]


def test_a_run_that_cannot_be_written_leaves_no_file(toy, tmp_path):
    toy.run = lambda seed, *, quick=False: {"value": object()}
    with pytest.raises(TypeError, match="JSON"):
        run_audit(tmp_path, seeds=1)
    assert not list(tmp_path.rglob("*seed-0*"))


def test_a_file_is_written_whole_or_not_at_all(toy, tmp_path, monkeypatch):
    def full_disk(source, target):
        raise OSError("no space left")

    monkeypatch.setattr("os.replace", full_disk)
    with pytest.raises(OSError, match="no space"):
        run_audit(tmp_path, seeds=1)
    assert not list((tmp_path / "toy").iterdir())


def test_the_report_names_seeds_machine_commit_command_checks_and_every_seed(toy, tmp_path, monkeypatch):
    monkeypatch.setattr(curiosity_audit, "commit_name", lambda: "0123456789ab+")
    monkeypatch.setattr(curiosity_audit, "machine_name", lambda: "an abacus, 2 cores")
    audit = run_audit(tmp_path, seeds=2)
    assert audit.passed
    report = (tmp_path / "report.md").read_text()
    for wanted in (
        "`touchline curiosity-audit --seeds 2`, 2 seeds (0 to 1)",
        "an abacus, 2 cores",
        "0123456789ab+",
        "**Passed**: 2 of 2 checks, 1 of them of controls",
        "On a toy, seeds count up.",
        "| seeds count up | must hold | passed | [[0, 1], [1, 2]] \\| all |",
        "| the blind arm | control, must fail | failed, as it must | saw nothing |",
        "| [0, 1] |\n| [1, 2] |",
        "Seeds 0, 1 took",
        "![T](toy.png)",
    ):
        assert wanted in report, wanted
    assert (tmp_path / "toy.png").read_bytes().startswith(b"\x89PNG")
    saved = json.loads((tmp_path / "report.json").read_text())
    assert (saved["passed"], saved["seeds"], saved["quick"]) == (True, 2, False)
    assert [check["name"] for check in saved["rows"][0]["checks"]] == ["seeds count up", "the blind arm"]
    assert [(run["seed"], run["commit"]) for run in saved["rows"][0]["runs"]] == [
        (0, "0123456789ab+"),
        (1, "0123456789ab+"),
    ]
    run = json.loads((tmp_path / "toy" / "seed-1.json").read_text())
    assert run["result"] == {"values": [1, 2]}
    assert run["machine"] == "an abacus, 2 cores"
    assert run["seconds"] >= 0


def test_a_claim_that_does_not_hold_is_exit_code_1_and_in_the_report(toy, tmp_path, capsys):
    toy.checks = lambda results, *, quick=False: [*passing(results), Check("rain is dry", False, "3 of 5")]
    assert command(tmp_path, "--seeds", "1") == 1
    assert "rain is dry: **FAILED** (3 of 5)" in capsys.readouterr().out
    report = (tmp_path / "report.md").read_text()
    assert "**FAILED**: 2 of 3 checks" in report
    assert "| rain is dry | must hold | **FAILED** | 3 of 5 |" in report


def test_a_control_that_does_not_fail_fails_the_audit(toy, tmp_path):
    toy.checks = lambda results, *, quick=False: [Check("the blind arm", False, "saw it all", must_fail=True)]
    assert command(tmp_path, "--seeds", "1") == 1
    assert (
        "| the blind arm | control, must fail | **DID NOT FAIL** | saw it all |" in (tmp_path / "report.md").read_text()
    )


def test_a_row_that_checks_nothing_has_not_passed(toy, tmp_path):
    toy.checks = lambda results, *, quick=False: []
    assert not run_audit(tmp_path, seeds=1).passed


def test_without_matplotlib_the_report_has_its_tables_and_says_what_pictures_need(toy, tmp_path, monkeypatch):
    for name in ("matplotlib", "matplotlib.figure"):
        monkeypatch.setitem(sys.modules, name, None)
    assert run_audit(tmp_path, seeds=1).passed
    report = (tmp_path / "report.md").read_text()
    assert "pip install 'touchline[plots]'" in report
    assert "| [0, 1] |" in report
    assert ".png" not in report


def test_the_quick_audit_has_a_folder_of_its_own_and_one_seed(toy, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert cli.run(["curiosity-audit", "--quick"]) == 0
    assert toy.ran == [(0, True)]
    assert "the quick version" in (tmp_path / "runs" / "curiosity_audit_quick" / "report.md").read_text()
    assert cli.run(["curiosity-audit"]) == 0
    assert toy.ran[1:] == [(seed, False) for seed in range(5)]
    assert (tmp_path / "results" / "curiosity" / "audit" / "report.md").exists()


def test_quick_runs_give_way_to_full_ones_and_never_the_other_way_round(toy, tmp_path, capsys):
    run_audit(tmp_path, seeds=1, quick=True)
    run_audit(tmp_path, seeds=1)
    assert toy.ran == [(0, True), (0, False)]
    assert command(tmp_path, "--quick") == 1
    assert "another folder" in capsys.readouterr().err
    assert json.loads((tmp_path / "toy" / "seed-0.json").read_text())["quick"] is False


def test_a_wrong_row_or_number_of_seeds_is_refused_before_anything_runs(toy, tmp_path, capsys):
    assert command(tmp_path, "--rows", "toy", "toi") == 1
    assert "no 'toi' in the rows of the audit; there are toy" in capsys.readouterr().err
    with pytest.raises(ValueError, match="at least one seed, got 0"):
        run_audit(tmp_path, seeds=0)
    with pytest.raises(ValueError, match="at least one row of toy"):
        run_audit(tmp_path, seeds=1, rows=())
    assert toy.ran == []


def test_only_the_named_rows_are_run_and_the_report_gives_the_command_for_them(toy, tmp_path, monkeypatch):
    monkeypatch.setattr(curiosity_audit, "ROWS", ("not_there", "toy"))
    assert command(tmp_path, "--seeds", "1", "--rows", "toy") == 0
    assert "`touchline curiosity-audit --seeds 1 --rows toy`" in (tmp_path / "report.md").read_text()


def test_progress_tells_the_row_the_seed_and_the_share_done(toy, tmp_path):
    told = []
    run_audit(tmp_path, seeds=2, progress=lambda what, share: told.append((what, share)))
    assert told == [("toy, seed 0", 0.0), ("toy, seed 1", 0.5), ("done", 1.0)]


def test_the_commit_carries_a_plus_where_files_of_the_package_were_changed(monkeypatch):
    answers = {"rev-parse": "0123456789ab", "status": ""}
    monkeypatch.setattr(curiosity_audit, "_git", lambda root, command, *rest: answers[command])
    monkeypatch.setattr("pathlib.Path.exists", lambda path: True)
    assert curiosity_audit.commit_name() == "0123456789ab"
    answers["status"] = " M touchline/cli.py"
    assert curiosity_audit.commit_name() == "0123456789ab+"
    monkeypatch.setattr("pathlib.Path.exists", lambda path: False)
    assert curiosity_audit.commit_name() is None


@pytest.mark.parametrize("name", plugins.names("benchmarks.audits"))
def test_every_row_is_in_the_audit_and_has_what_it_needs(name):
    assert name in curiosity_audit.ROWS
    row = curiosity_audit.load_row(name)
    assert all(isinstance(text, str) and text for text in (row.NAME, row.CLAIM, row.COST))
    assert all(callable(part) for part in (row.run, row.checks, row.plot, row.table))
