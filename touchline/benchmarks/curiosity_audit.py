"""The curiosity audit: the claims that the curiosity room rests on, each on a toy and beside controls that must fail.

A row is a module of `touchline.benchmarks.audits`: NAME, CLAIM, COST, and functions `run(seed, quick=...)` (all numbers
of one seed), `checks(results, quick=...)`, `plot(results, axes)` and `table(results)` over the results of all seeds.
Every run is a file, so an audit that was stopped goes on where it was; files of an older commit are kept, and the
report names their commits. A toy that behaves as claimed says that the method is built as described; it does not
reproduce a paper.
"""

from __future__ import annotations

import importlib
import json
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from touchline.benchmarks.audits import Check
from touchline.benchmarks.throughput import machine_name
from touchline.files import write_text

ROWS: tuple[str, ...] = ("episodic", "episodic_agent", "mulex", "adaptive_td", "leak_chain", "leak_mlp")

Progress = Callable[[str, float], None]
"""Called with what is being done and the share done."""


@dataclass(frozen=True)
class Run:
    """One seed of a row.

    Attributes:
        result: what the row's `run` returned.
        seconds: it took.
        quick: it is of the quick audit.
        commit: of the code, with a + if its files were changed; None outside a checkout.
    """

    row: str
    seed: int
    result: dict[str, Any]
    seconds: float
    quick: bool
    commit: str | None
    machine: str


@dataclass(frozen=True)
class Row:
    """What the runs of a row amount to.

    Attributes:
        row: the module's name, under which its files lie.
        name: as in the list of claims, e.g. "B".
        cost: about how long a seed takes.
        table: Markdown, every seed.
    """

    row: str
    name: str
    claim: str
    cost: str
    checks: tuple[Check, ...]
    runs: tuple[Run, ...]
    table: str

    @property
    def passed(self) -> bool:
        """All checks did, those of the controls by failing; a row that checks nothing has not passed."""
        return bool(self.checks) and all(check.passed for check in self.checks)


@dataclass(frozen=True)
class Audit:
    """All rows, over the same seeds 0 to `seeds` - 1; `pictures` are the files drawn, none without matplotlib."""

    rows: tuple[Row, ...]
    seeds: int
    quick: bool
    pictures: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        """Every row did."""
        return all(row.passed for row in self.rows)

    def summary(self) -> str:
        """Markdown: how many checks passed, and a line a row."""
        checks = [check for row in self.rows for check in row.checks]
        controls = sum(check.must_fail for check in checks)
        lines = [
            f"**{'Passed' if self.passed else 'FAILED'}**: {sum(check.passed for check in checks)} of {len(checks)} "
            f"checks, {controls} of them of controls, which pass by failing. "
            f"{_seeds(self.seeds)} a row{', the quick version' if self.quick else ''}.",
            "",
            "| row | claim | checks passed | seconds a seed |",
            "|---|---|---|---|",
        ]
        for row in self.rows:
            passed = f"{sum(check.passed for check in row.checks)} of {len(row.checks)}"
            seconds = sum(run.seconds for run in row.runs) / len(row.runs)
            lines.append(f"| {_cell(row.name)} `{row.row}` | {_cell(row.claim)} | {passed} | {seconds:.1f} |")
        return "\n".join(lines) + "\n"

    def markdown(self) -> str:
        """The whole report."""
        runs = [run for row in self.rows for run in row.runs]
        command = f"touchline curiosity-audit --seeds {self.seeds}{' --quick' if self.quick else ''}"
        if tuple(row.row for row in self.rows) != ROWS:
            command += f" --rows {' '.join(row.row for row in self.rows)}"
        lines = [
            "# The curiosity audit",
            "",
            "Claims about exploration and value learning, each on a toy and beside controls that must fail. A row that "
            "passes says that our code behaves as claimed there; it does not reproduce a paper's figures.",
            "",
            f"`{command}`, {_seeds(self.seeds)} (0 to {self.seeds - 1}), {sum(run.seconds for run in runs):.0f} "
            f"seconds in all. Machine: {_each(run.machine for run in runs)}. "
            f"Commit: {_each(run.commit or 'unknown' for run in runs)} (a + marks changed files).",
            "",
            self.summary(),
        ]
        if not self.pictures:
            lines += ["There are no pictures: they need matplotlib, `pip install 'touchline[plots]'`.", ""]
        for row in self.rows:
            lines += [f"## {row.name}: `{row.row}`", "", row.claim, ""]
            lines += ["| check | kind | outcome | detail |", "|---|---|---|---|"]
            for check in row.checks:
                cells = (check.name, "control, must fail" if check.must_fail else "must hold", outcome(check))
                lines.append(f"| {' | '.join(map(_cell, (*cells, check.detail)))} |")
            seconds = ", ".join(f"{run.seconds:.1f}" for run in row.runs)
            lines += ["", row.table.rstrip(), ""]
            lines += [f"Seeds {', '.join(str(run.seed) for run in row.runs)} took {seconds} seconds.", ""]
            if f"{row.row}.png" in self.pictures:
                lines += [f"![{row.name}]({row.row}.png)", ""]
        return "\n".join(lines)

    def to_json(self) -> dict[str, Any]:
        """Plain values: every check, and of every run all but its result, which has a file of its own."""
        rows = []
        for row in self.rows:
            runs = [{name: value for name, value in asdict(run).items() if name != "result"} for run in row.runs]
            checks = [asdict(check) for check in row.checks]
            about = {"row": row.row, "name": row.name, "claim": row.claim, "cost": row.cost}
            rows.append({**about, "passed": row.passed, "checks": checks, "runs": runs})
        return {"passed": self.passed, "seeds": self.seeds, "quick": self.quick, "rows": rows}


def outcome(check: Check) -> str:
    """How a check went, in words that keep controls apart."""
    if check.must_fail:
        return "failed, as it must" if check.passed else "**DID NOT FAIL**"
    return "passed" if check.passed else "**FAILED**"


def load_row(name: str) -> ModuleType:
    """A row's module by name; a wrong name says what exists."""
    if name not in ROWS:
        raise ValueError(f"no {name!r} in the rows of the audit; there are {', '.join(ROWS)}")
    return importlib.import_module(f"touchline.benchmarks.audits.{name}")


def run_audit(
    out: Path | str,
    *,
    seeds: int,
    quick: bool = False,
    rows: Sequence[str] | None = None,
    progress: Progress | None = None,
) -> Audit:
    """Makes every run that is not there yet, then judges all of them.

    Args:
        out: gets ROW/seed-N.json of every run, report.md, report.json and, with matplotlib, ROW.png.
        seeds: of every row, 0 to `seeds` - 1.
        quick: smaller runs, for CI; they need a folder of their own.
        rows: names out of `ROWS`; None is all of them.
        progress: is told what is being done, and the share of runs done.

    Raises:
        ValueError: no such row, no seeds, or `out` holds runs of the full audit and the quick one is asked for.
    """
    if seeds < 1:
        raise ValueError(f"expected at least one seed, got {seeds}")
    out, names = Path(out), tuple(dict.fromkeys(ROWS if rows is None else rows))
    if not names:
        raise ValueError(f"expected at least one row of {', '.join(ROWS)}")
    modules = [load_row(name) for name in names]
    todo = [(name, module, seed) for name, module in zip(names, modules, strict=True) for seed in range(seeds)]
    done = {(name, seed): _done(_file(out, name, seed), quick) for name, _, seed in todo}
    commit, machine = commit_name(), machine_name()
    for index, (name, module, seed) in enumerate(todo):
        if done[name, seed] is None:
            if progress is not None:
                progress(f"{name}, seed {seed}", index / len(todo))
            started = time.perf_counter()
            result = module.run(seed, quick=quick)
            seconds = round(time.perf_counter() - started, 3)
            write_text(_file(out, name, seed), _json(asdict(Run(name, seed, result, seconds, quick, commit, machine))))
            # From the file, so that a run judged now and one judged after a stop are the same values.
            done[name, seed] = _done(_file(out, name, seed), quick)
    judged = []
    for name, module in zip(names, modules, strict=True):
        runs = tuple(done[name, seed] for seed in range(seeds))
        results = [run.result for run in runs]
        checks = tuple(module.checks(results, quick=quick))
        judged.append(Row(name, module.NAME, module.CLAIM, module.COST, checks, runs, module.table(results)))
    pictures = _draw(out, zip(judged, modules, strict=True))
    audit = Audit(tuple(judged), seeds, quick, pictures)
    write_text(out / "report.json", _json(audit.to_json()))
    write_text(out / "report.md", audit.markdown())
    if progress is not None:
        progress("done", 1.0)
    return audit


def commit_name() -> str | None:
    """The commit this package was checked out at, with a + if files of it were changed; None outside a checkout."""
    root = Path(__file__).parents[2]
    if not (root / ".git").exists():  # installed, perhaps inside a checkout of something else
        return None
    try:
        head = _git(root, "rev-parse", "--short=12", "HEAD")
        changed = _git(root, "status", "--porcelain", "--", "touchline")
    except (OSError, subprocess.SubprocessError):
        return None
    return head + "+" * bool(changed)


def _git(root: Path, *arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, timeout=10, check=True)
    return done.stdout.strip()


def _draw(out: Path, rows: Any) -> tuple[str, ...]:
    """Draws a picture a row; names of the files, none without matplotlib."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return ()
    names = []
    for row, module in rows:
        figure = Figure(figsize=(7, 4.2), dpi=120, layout="constrained")
        axes = figure.add_subplot()
        module.plot([run.result for run in row.runs], axes)
        names.append(f"{row.row}.png")
        figure.savefig(out / names[-1])
    return tuple(names)


def _file(out: Path, row: str, seed: int) -> Path:
    return out / row / f"seed-{seed}.json"


def _done(path: Path, quick: bool) -> Run | None:
    """The run in a file, if it is there and of this audit; one of the quick audit gives way to the full one."""
    if not path.exists():
        return None
    run = Run(**json.loads(path.read_text()))
    if quick and not run.quick:
        raise ValueError(f"{path} is of the full audit: give the quick one another folder")
    return run if run.quick == quick else None


def _json(content: dict[str, Any]) -> str:
    return json.dumps(content, indent=1) + "\n"


def _seeds(number: int) -> str:
    return f"{number} seed{'s' * (number != 1)}"


def _each(names: Any) -> str:
    return ", ".join(dict.fromkeys(names))


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
