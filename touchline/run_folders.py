"""What lies under a folder of runs, read while trainings write it: metrics, leagues, tournaments, tables, replays.

Only files are read; no checkpoint is opened and torch is not needed. What cannot be read becomes a message beside the
folder it belongs to.
"""

from __future__ import annotations

import csv
import io
import json
import math
import os
import re
import secrets
import tokenize
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

MAX_POINTS = 1000
"""Of a curve."""

QUIET_SECONDS = 60.0
"""A training that has written nothing for so long has stopped, unless its own updates take longer."""

LEAGUE_QUIET_SECONDS = 900.0
"""The same where a league plays rated games between two updates."""

MAX_FOLDERS = 20_000
MAX_TEXT_BYTES = 8_000_000
RECENT_ROWS = 20
"""Rows that the present speed is taken from."""

SHOWN = (".npz", ".html", ".mp4")
"""What replays are kept as."""

UNREADABLE = (
    *(OSError, ValueError, LookupError, TypeError, AttributeError, OverflowError, EOFError, RuntimeError),
    *(MemoryError, SyntaxError, tokenize.TokenError, zipfile.BadZipFile, zlib.error, csv.Error),
)
"""What reading a damaged file may raise."""


# ---- which folders there are -----------------------------------------------------------------------------------


@dataclass
class Folders:
    """Paths relative to the root, in order, "" for the root itself, and what could not be looked at."""

    runs: list[str] = field(default_factory=list)
    leagues: list[str] = field(default_factory=list)
    tournaments: list[str] = field(default_factory=list)
    tables: list[str] = field(default_factory=list)
    replays: dict[str, list[str]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def scan(root: Path) -> Folders:
    """Looks for everything under `root`; links to folders, or to files that lie elsewhere, are passed over."""
    found = Folders()
    root = root.resolve()

    def note(error: OSError) -> None:
        found.notes.append(f"{error.filename}: {error.strerror}")

    for number, (place, folders, files) in enumerate(os.walk(root, onerror=note)):
        if number >= MAX_FOLDERS:
            found.notes.append(f"only the first {MAX_FOLDERS:,} folders were looked at: name a folder further down")
            break
        odd = [name for name in folders if not _is_text(name)]
        found.notes += [f"left out, its name is not UTF-8: {name.encode(errors='replace').decode()}" for name in odd]
        folder = Path(place)
        names = {name for name in files if _is_text(name) and _in(root, folder / name)}
        path = "" if folder == root else folder.relative_to(root).as_posix()
        _sort_in(found, folder, path, names)
        folders[:] = sorted(name for name in {*folders} - {"replays", *odd} if not name.startswith((".", "__")))
    return found


def _sort_in(found: Folders, folder: Path, path: str, names: set[str]) -> None:
    """Adds one folder to all lists that it belongs to."""
    if "metrics.csv" in names and names & {"config.json", "league.json"}:
        found.runs.append(path)
    if names & {"ratings.csv", "league.json"}:
        found.leagues.append(path)
    if names & {"tournament.json", "cross_table.csv"}:
        found.tournaments.append(path)
    elif "table.md" in names:
        found.tables.append(path)
    traces = folder / "replays"
    files = []
    if traces.is_dir() and not traces.is_symlink():
        try:
            files = [f"replays/{name}" for name in sorted(os.listdir(traces)) if _shown(name)]
        except OSError as error:
            found.notes.append(f"{traces}: {error.strerror}")
    if names & {"config.json", "eval.json", "league.json", "tournament.json", "table.md"}:
        files += [name for name in sorted(names) if _shown(name)]
    if files:
        found.replays[path] = files


def _shown(name: str) -> bool:
    return name.endswith(SHOWN) and not name.startswith(".") and _is_text(name)


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _in(root: Path, path: Path) -> bool:
    """It is no link, or one that leads to what lies under the root."""
    return not path.is_symlink() or path.resolve().is_relative_to(root)


def inside(root: Path, path: str) -> Path:
    """The file that a relative path names.

    Raises:
        PermissionError: it lies outside of `root`, also by way of a link.
        FileNotFoundError: there is none.
    """
    root = root.resolve()
    if "\0" in path:
        raise FileNotFoundError(path)
    full = (root / path).resolve()
    if not full.is_relative_to(root):
        raise PermissionError(f"{path} lies outside of the folder that is shown")
    if not full.is_file():
        raise FileNotFoundError(f"no file {path}")
    return full


def read_text(path: Path) -> str:
    """A small text file; a link is not followed, since it may lead out of the folder that is shown."""
    if path.is_symlink():
        raise ValueError("a link, which is not followed")
    with path.open("rb") as file:
        text = file.read(MAX_TEXT_BYTES + 1)
    if len(text) > MAX_TEXT_BYTES:
        raise ValueError(f"larger than {MAX_TEXT_BYTES // 10**6} MB")
    return text.decode()


def read_object(path: Path) -> dict[str, Any]:
    """A JSON file that holds an object."""
    found = json.loads(read_text(path))
    if not isinstance(found, dict):
        raise ValueError("holds no object")
    return found


# ---- metrics.csv -----------------------------------------------------------------------------------------------


class Part(NamedTuple):
    """Points of a curve from number `start` on; those before `done` will never change.

    Attributes:
        version: another one means other numbers: forget all points.
        stride: rows averaged in a point; another one means the same.
        steps, seconds: [P] env steps, and seconds spent on collecting and learning.
        columns: {name: [P]}, nan where a row said nothing.
    """

    version: str
    stride: int
    start: int
    done: int
    steps: np.ndarray
    seconds: np.ndarray
    columns: dict[str, np.ndarray]


class MetricsFile:
    """A `metrics.csv` that grows, is cut off, or written anew with other columns; only what is new is parsed.

    Attributes:
        version: changes whenever rows that had been read are no longer what they were.
        columns: names of all but `env_steps`.
        steps: [R] float64, environment steps.
        num_bad: lines that are no row.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._signature: tuple[int, ...] | None = None
        self._forget()

    def _forget(self) -> None:
        self.version = secrets.token_hex(4)
        self.columns: list[str] = []
        self.num_bad, self.num_rows = 0, 0
        self._offset, self._header, self._last = 0, b"", b""
        self._steps, self._values = np.empty(0), np.empty((0, 0), np.float32)
        self._place = 0

    @property
    def steps(self) -> np.ndarray:
        return self._steps[: self.num_rows]

    def column(self, name: str) -> np.ndarray:
        """[R] float32, nan where a row said nothing."""
        if name not in self.columns:
            return np.full(self.num_rows, np.nan, np.float32)
        return self._values[: self.num_rows, self.columns.index(name)]

    def refresh(self) -> float:
        """Reads what is new; the time of the last change, in seconds since 1970.

        Raises:
            OSError, ValueError: it cannot be read, or is no file of metrics.
        """
        about = self.path.stat()
        signature = (about.st_ino, about.st_size, about.st_mtime_ns)
        if signature == self._signature:
            return about.st_mtime
        self._signature = None  # an error is found again next time
        with self.path.open("rb") as file:
            if not self._goes_on(file):
                self._forget()
                self._begin(file)
            if self._header:
                file.seek(self._offset)
                self._append(file.read())
        self._signature = signature
        return about.st_mtime

    def _goes_on(self, file: io.BufferedReader) -> bool:
        """The file begins with what has been read; the header and the last line stand for all of it."""
        if not self._header or file.read(len(self._header)) != self._header:
            return False
        file.seek(self._offset - len(self._last))
        return file.read(len(self._last)) == self._last

    def _begin(self, file: io.BufferedReader) -> None:
        file.seek(0)
        header = file.readline(1_000_000)
        text = header.decode("utf-8-sig")
        if not text.endswith("\n"):
            if len(header) == 1_000_000 or "\0" in text:
                raise ValueError("no header")
            return  # just being written
        names = next(csv.reader([text]), [])
        if "env_steps" not in names:
            raise ValueError("no column env_steps")
        self._place = names.index("env_steps")
        self.columns = [name for i, name in enumerate(names) if i != self._place]
        self._values = np.empty((0, len(self.columns)), np.float32)
        self._header = self._last = header
        self._offset = len(header)

    def _append(self, text: bytes) -> None:
        text = text[: text.rfind(b"\n") + 1]  # the last line may be half of one
        if not text:
            return
        rows, bad = parse_rows(text, 1 + len(self.columns), self._place)
        self.num_bad += bad
        end = self.num_rows + len(rows)
        if end > len(self._steps):
            size = end if not self.num_rows else end + end // 2
            self._steps = _grown(self._steps, size)
            self._values = _grown(self._values, size)
        self._steps[self.num_rows : end] = rows[:, self._place]
        with np.errstate(over="ignore"):
            self._values[self.num_rows : end] = np.delete(rows, self._place, 1)
        self.num_rows = end
        self._offset += len(text)
        self._last = text[text.rfind(b"\n", 0, -1) + 1 :][-10_000:]

    def latest(self, name: str) -> float | None:
        """The last number of a column."""
        values = self.column(name)
        there = np.flatnonzero(np.isfinite(values))
        return float(values[there[-1]]) if len(there) else None

    def seconds(self) -> np.ndarray:
        """[R] seconds of collecting and learning up to each row; nan where nothing tells."""
        spent = self.column("time/collect_seconds") + self.column("time/learn_seconds").astype(np.float64)
        if not np.isfinite(spent).any():
            spent = self.column("time/seconds").astype(np.float64)  # SB3's, which are not told apart
        if not np.isfinite(spent).any():
            with np.errstate(divide="ignore", invalid="ignore"):
                spent = np.diff(self.steps, prepend=0.0) / self.column("time/env_steps_per_second")
        known = np.isfinite(spent)
        total = np.cumsum(np.where(known, spent, 0.0))
        return total if known.any() else np.full(self.num_rows, np.nan)

    def part(self, columns: Sequence[str], version: str = "", stride: int = 0, done: int = 0) -> Part:
        """The points that a reader lacks who has `done` of them of a version and stride; none of them: all."""
        now = stride_of(self.num_rows)
        start = done if (version, stride) == (self.version, now) and 0 <= done <= self.num_rows // now else 0
        rows = slice(start * now, None)
        return Part(
            self.version,
            now,
            start,
            self.num_rows // now,
            thinned(self.steps[rows], now),
            thinned(self.seconds()[rows], now),
            {name: thinned(self.column(name)[rows], now) for name in columns},
        )


def parse_rows(text: bytes, width: int, place: int) -> tuple[np.ndarray, int]:
    """[R, width] numbers of whole lines, nan for empty fields, and how many lines were no rows.

    Args:
        place: the column that every row must have a number in.
    """
    plain = text.replace(b"\r", b"")
    for _ in range(2):  # of three commas in a row one replacement sees two
        plain = plain.replace(b",,", b",nan,")
    lines = plain.replace(b",\n", b",nan\n").decode(errors="replace").split("\n")
    lines = [line for line in lines if line]
    try:
        rows = np.loadtxt(lines, delimiter=",", comments=None, ndmin=2) if lines else np.empty((0, width))
        if rows.shape[1] != width:
            raise ValueError("other columns")
    except ValueError:  # a damaged line: take them one by one
        rows = np.array(list(_whole_rows(lines, width)), np.float64).reshape(-1, width)
    rows = rows[np.isfinite(rows[:, place])]
    return rows, len(lines) - len(rows)


def _whole_rows(lines: Iterable[str], width: int) -> Iterator[list[float]]:
    for line in lines:
        try:
            numbers = [float(word) if word else math.nan for word in line.split(",")]
        except ValueError:
            continue
        if len(numbers) == width:
            yield numbers


def _grown(array: np.ndarray, size: int) -> np.ndarray:
    out = np.empty((size, *array.shape[1:]), array.dtype)
    out[: len(array)] = array
    return out


def stride_of(num_rows: int) -> int:
    """The smallest power of two that leaves at most `MAX_POINTS` points; so it changes seldom."""
    stride = 1
    while num_rows > stride * MAX_POINTS:
        stride *= 2
    return stride


def thinned(values: np.ndarray, stride: int) -> np.ndarray:
    """[ceil(R / stride)] means of `stride` numbers each, leaving out what is not finite; of none, nan."""
    if stride == 1 or not len(values):
        return np.where(np.isfinite(values), values, np.nan)
    starts = np.arange(0, len(values), stride)
    known = np.isfinite(values)
    total = np.add.reduceat(np.where(known, values, 0.0).astype(np.float64), starts)
    count = np.add.reduceat(known.astype(np.int64), starts)
    return total / np.where(count, count, np.nan)


# ---- runs ------------------------------------------------------------------------------------------------------


class RunFolder:
    """A run directory: its config and its metrics, read anew where they changed.

    Args:
        folder: holds metrics.csv, and config.json or league.json.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.metrics = MetricsFile(folder / "metrics.csv")
        self._config: dict[str, Any] = {}
        self._signature: tuple[Any, ...] | None = None

    def config(self) -> dict[str, Any]:
        """What config.json says, or league.json where there is none."""
        path = self.folder / "config.json"
        if not path.exists():
            path = self.folder / "league.json"
        about = path.stat()
        signature = (path, about.st_size, about.st_mtime_ns)
        if signature != self._signature:
            self._config = read_object(path)
            self._signature = signature
        return self._config

    def summary(self, now: float) -> dict[str, Any]:
        """How far it is, and what is wrong with it; `now` in seconds since 1970."""
        errors, config, written = [], {}, None
        try:
            config = self.config()
        except UNREADABLE as error:
            errors.append(f"config.json: {_say(error)}")
        try:
            written = self.metrics.refresh()
        except UNREADABLE as error:
            errors.append(f"metrics.csv: {_say(error)}")
        metrics = self.metrics
        if metrics.num_bad:
            errors.append(f"metrics.csv: {metrics.num_bad} damaged {'line' if metrics.num_bad == 1 else 'lines'}")
        total = _positive(config.get("total_steps"))
        steps = int(metrics.steps[-1]) if metrics.num_rows else 0
        speed, seconds_a_row = self._speed()
        quiet = max(QUIET_SECONDS, 5 * seconds_a_row)
        if (self.folder.parent / "league.json").exists():
            quiet = max(quiet, LEAGUE_QUIET_SECONDS)
        finished = total is not None and steps >= total
        fresh = written is not None and now - written < quiet
        state = "finished" if finished else "running" if fresh else "stopped"
        if written is None:
            state = "unreadable"
        left = (total - steps) / speed if state == "running" and total and speed else None
        return {
            "state": state,
            "env_steps": steps,
            "total_steps": total,
            "env_steps_per_second": _rounded(speed),
            "eta_seconds": _rounded(left),
            "quiet_seconds": None if written is None else max(0, round(now - written)),
            "success_rate": _rounded(metrics.latest("episode/success_rate")),
            "goal_difference": _rounded(metrics.latest("score/goal_difference_per_game")),
            "episode_return": _rounded(metrics.latest("episode/return")),
            "scenario": _word(config.get("scenario")),
            "agent": _word(config.get("agent") or config.get("preset")),
            "seed": _seed(config.get("seed")),
            "rows": metrics.num_rows,
            "version": metrics.version,
            "errors": errors,
        }

    def _speed(self) -> tuple[float | None, float]:
        """(env steps a second, seconds a row) over the last rows."""
        metrics = self.metrics
        if not metrics.num_rows:
            return None, 0.0
        seconds = metrics.seconds()
        first = max(0, metrics.num_rows - 1 - RECENT_ROWS)
        rows, spent = metrics.num_rows - 1 - first, float(seconds[-1] - seconds[first])
        if rows and spent > 0:
            return float(metrics.steps[-1] - metrics.steps[first]) / spent, spent / rows
        return metrics.latest("time/env_steps_per_second"), 0.0

    def changed(self) -> float:
        """When a row was last written, in seconds since 1970; 0 where that cannot be told."""
        try:
            return self.metrics.path.stat().st_mtime
        except OSError:
            return 0.0

    @property
    def is_read(self) -> bool:
        """Its metrics have been parsed before, so that a look at them is quick."""
        return self.metrics.num_rows > 0

    def details(self) -> dict[str, Any]:
        """Config and frozen evaluation, for reading."""
        out: dict[str, Any] = {"config": None, "evaluation": [], "errors": []}
        try:
            out["config"] = json.dumps(self.config(), indent=1)
        except UNREADABLE as error:
            out["errors"].append(f"config.json: {_say(error)}")
        path = self.folder / "eval.json"
        if path.exists():
            try:
                out["evaluation"] = [_evaluation(result) for result in read_object(path)["results"]]
            except UNREADABLE as error:
                out["errors"].append(f"eval.json: {_say(error)}")
        return out


def _evaluation(result: Mapping[str, Any]) -> dict[str, Any]:
    metrics = {
        name: {end: _rounded(float(estimate[end])) for end in ("value", "low", "high")}
        for name, estimate in result["metrics"].items()
    }
    about = {name: _word(result.get(name)) for name in ("policy", "opponent", "scenario", "episodes", "commit")}
    return about | {"metrics": metrics}


# ---- leagues, tournaments, tables ------------------------------------------------------------------------------


def league(folder: Path) -> dict[str, Any]:
    """Ratings on joining, the anchors' own, and the table of today."""
    out: dict[str, Any] = {"rows": [], "columns": [], "anchors": {}, "tables": [], "scenario": "", "errors": []}
    with _noting(out, "league.json", folder) as path:
        if path:
            out["scenario"] = _word(read_object(path).get("scenario"))
    with _noting(out, "anchors.json", folder) as path:
        if path:
            out["anchors"] = {name: _rounded(float(mu)) for name, mu in read_object(path).items()}
    with _noting(out, "ratings.csv", folder) as path:
        if path:
            reader = csv.DictReader(io.StringIO(read_text(path)))
            for name in ("generation", "member", "mu", "sigma"):
                if name not in (reader.fieldnames or ()):
                    raise ValueError(f"no column {name}")
            out["columns"] = list(reader.fieldnames or ())
            for row in reader:
                numbers = {name: _number(row.get(name)) for name in out["columns"] if name != "member"}
                out["rows"].append(numbers | {"member": row["member"] or ""})
    with _noting(out, "league.md", folder) as path:
        if path:
            out["tables"] = markdown_tables(read_text(path))
    return out


def tournament(folder: Path) -> dict[str, Any]:
    """The table, and the cross table as numbers."""
    out: dict[str, Any] = {"title": "", "tables": [], "cross": None, "errors": []}
    with _noting(out, "table.md", folder) as path:
        if path:
            text = read_text(path)
            out["title"], out["tables"] = title_of(text), markdown_tables(text)
    with _noting(out, "cross_table.csv", folder) as path:
        if path:
            header, *lines = csv.reader(io.StringIO(read_text(path)))
            values = [[_number(word) for word in line[1:]] for line in lines]
            if any(len(line) != len(header) - 1 for line in values):
                raise ValueError("lines of other lengths than the header")
            out["cross"] = {"columns": header[1:], "rows": [line[0] for line in lines], "values": values}
    games = folder / "games.jsonl"
    if games.exists() and not games.is_symlink():
        with _noting(out, "games.jsonl", folder), games.open("rb") as file:
            out["games"] = sum(chunk.count(b"\n") for chunk in iter(lambda: file.read(1 << 20), b""))
    return out


def tables(folder: Path) -> dict[str, Any]:
    """The tables of table.md."""
    out: dict[str, Any] = {"title": "", "tables": [], "errors": []}
    with _noting(out, "table.md", folder) as path:
        if path:
            text = read_text(path)
            out["title"], out["tables"] = title_of(text), markdown_tables(text)
    return out


class _noting:
    """A context with the path of a file, None where there is none; what goes wrong within is noted in `errors`."""

    def __init__(self, out: dict[str, Any], name: str, folder: Path) -> None:
        self.out, self.name, self.path = out, name, folder / name

    def __enter__(self) -> Path | None:
        return self.path if self.path.is_file() else None

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> bool:
        if isinstance(error, UNREADABLE):
            self.out["errors"].append(f"{self.name}: {_say(error)}")
            return True
        return False


def title_of(markdown: str) -> str:
    """The first heading."""
    return next((line[2:].strip() for line in markdown.splitlines() if line.startswith("# ")), "")


def markdown_tables(text: str) -> list[dict[str, Any]]:
    """Tables as {head: [..], right: [aligned to the right?], rows: [[..]]}, all words plain."""
    found: list[dict[str, Any]] = []
    block: list[list[str]] = []
    for line in [*text.splitlines(), ""]:
        if line.startswith("|"):
            cells = re.split(r"(?<!\\)\|", line.strip().removeprefix("|").removesuffix("|"))
            block.append([cell.replace("\\|", "|").strip() for cell in cells])
            continue
        if len(block) >= 2 and all(re.fullmatch(r":?-+:?", cell) for cell in block[1]):
            head, marks, *rows = block
            plain = [[cell.strip("`*") for cell in row] for row in (head, *rows)]
            found.append({"head": plain[0], "right": [mark.endswith(":") for mark in marks], "rows": plain[1:]})
        block = []
    return found


# ---- replays ---------------------------------------------------------------------------------------------------


def about_trace(path: Path) -> dict[str, Any]:
    """What the header of a replay says; the states stay on the disk."""
    with np.load(path, allow_pickle=False) as archive:
        about = json.loads(str(archive["about"]))
    left, right = about["policies"]
    return {
        "scenario": _word(about["scenario"]),
        "policies": [Path(_word(left)).name, Path(_word(right)).name],
        "seed": _word(about["seed"]),
        "episode": int(about["episode"]),
    }


# ---- small things ----------------------------------------------------------------------------------------------


def _say(error: BaseException) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    if isinstance(error, KeyError):
        return f"no {error.args[0]}"
    return str(error) or type(error).__name__


def _word(value: object) -> str:
    return "" if value is None else str(value)


def _positive(value: object) -> int | None:
    return int(value) if isinstance(value, int | float) and 0 < value < 2**53 else None


def _seed(value: object) -> int | None:
    return value if isinstance(value, int) and 0 <= value < 2**53 else None


def _rounded(value: float | None) -> float | None:
    return float(f"{value:.6g}") if value is not None and math.isfinite(value) else None


def _number(word: str | None) -> float | None:
    return _rounded(float(word)) if word else None


def numbers(values: np.ndarray) -> list[float | None]:
    """For JSON: six digits, None for nan."""
    return [_rounded(value) for value in values.tolist()]


def steps_of(values: np.ndarray) -> list[float]:
    """For JSON: env steps with all their digits."""
    return [round(value, 1) for value in values.tolist()]
