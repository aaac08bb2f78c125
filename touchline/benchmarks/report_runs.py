"""Run directories, read for a report: what was trained and how it was judged, kept apart by what must not be mixed."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from touchline import scenarios
from touchline.run_folders import MetricsFile
from touchline.tracking import EpisodeStatistics

WINDOW = EpisodeStatistics().window
"""Training episodes that `metrics.csv` averages over."""

SUCCESS, DIFFERENCE, RETURN = "episode/success_rate", "score/goal_difference_per_game", "episode/return"
_COLUMNS = (SUCCESS, DIFFERENCE, RETURN, "episode/count", "time/collect_seconds", "time/learn_seconds")
_COLUMNS += ("env_steps", "time/env_steps_per_second")


@dataclass(frozen=True)
class Run:
    """A training with what it wrote.

    Attributes:
        folder: as the report names it, from the folder that was given on.
        metrics: columns of metrics.csv, [rows] each, nan where a row has none.
        result: of the frozen policy, from eval.json; None of a run that is not finished.
        yardsticks: results of scripted players on the same seeds.
        trouble: why there is no result, in words.
    """

    folder: str
    variant: str
    config: Mapping[str, Any]
    metrics: Mapping[str, np.ndarray]
    result: Mapping[str, Any] | None
    yardsticks: tuple[Mapping[str, Any], ...] = ()
    trouble: str = ""

    @property
    def scenario(self) -> str:
        return self.config["scenario"]

    @property
    def seed(self) -> int:
        return self.config["seed"]

    @property
    def env_steps(self) -> int:
        steps = self.metrics["env_steps"]
        return int(steps[-1]) if len(steps) else 0

    @property
    def wall_seconds(self) -> float:
        """Of acting and learning, all sessions together; nan if that was not written down (SB3's algorithms)."""
        seconds = self.metrics["time/collect_seconds"] + self.metrics["time/learn_seconds"]
        return float(np.nansum(seconds)) if np.isfinite(seconds).any() else math.nan

    @property
    def steps_per_second(self) -> float:
        """Over the whole training where its seconds are known, else what it said of itself at the end."""
        if math.isfinite(self.wall_seconds) and len(self.metrics["env_steps"]) > 1:
            seconds = self.metrics["time/collect_seconds"] + self.metrics["time/learn_seconds"]
            steps = self.metrics["env_steps"]
            return float((steps[-1] - steps[0]) / np.nansum(seconds[1:]))
        said = self.metrics["time/env_steps_per_second"]
        return float(said[-1]) if len(said) else math.nan

    def curve(self, column: str) -> np.ndarray:
        """[2, K] environment steps and a column, where it has a number."""
        steps, values = self.metrics["env_steps"], self.metrics[column]
        known = np.isfinite(values)
        return np.stack([steps[known], values[known]])

    def last_episodes(self, column: str) -> float:
        """A column's last number: the mean of the last `WINDOW` training episodes, or of all if there were fewer."""
        values = self.curve(column)[1]
        return float(values[-1]) if len(values) else math.nan

    def score(self, name: str) -> tuple[float, float, float]:
        """An estimate of the frozen policy with its interval over episodes, e.g. "score/success_rate"."""
        return estimate(self.result, name)

    @property
    def is_match(self) -> bool:
        """Goals are counted to the clock's end; a drill ends with the first."""
        if self.scenario in scenarios.names():
            return not scenarios.load(self.scenario).end_episode_on_score
        goals = [abs(row["goal_difference"]) for row in self.result["rows"]] if self.result else []
        return max([*goals, *np.abs(self.curve(DIFFERENCE)[1])], default=0) > 1


def estimate(result: Mapping[str, Any] | None, name: str) -> tuple[float, float, float]:
    """Value and bounds of a metric of eval.json; nan where there is none."""
    if result is None:
        return math.nan, math.nan, math.nan
    found = result["metrics"][name]
    return tuple(math.nan if found[key] is None else found[key] for key in ("value", "low", "high"))


class Conditions(NamedTuple):
    """What results must share to stand in one table."""

    backend: str
    trained_on: str
    left: int
    control: str
    opponent: str

    def __str__(self) -> str:
        backend = self.backend
        if self.trained_on != self.backend:
            backend = f"{self.backend}, trained on {self.trained_on}"
        players = "one controlled player" if self.left == 1 else f"{self.left} controlled players"
        return f"{backend}: {players} ({self.control}) against {self.opponent or 'an opponent not yet known'}"


@dataclass
class Section:
    """Runs under the same conditions.

    Attributes:
        runs: {(variant, scenario): runs, by seed}, finished ones and others.
    """

    conditions: Conditions
    runs: dict[tuple[str, str], list[Run]] = field(default_factory=dict)

    def sides(self, scenario: str) -> dict[str, str]:
        """{side that policies were evaluated from: a run's folder}."""
        runs = [run for (_, name), runs in self.runs.items() if name == scenario for run in runs]
        return {run.result.get("side", "left"): run.folder for run in runs if run.result is not None}

    @property
    def variants(self) -> list[str]:
        return list(dict.fromkeys(variant for variant, _ in self.runs))

    def scenarios(self, *, matches: bool) -> list[str]:
        """Names of the drills, or of the matches."""
        found = {scenario: runs[0].is_match for (_, scenario), runs in self.runs.items()}
        return [scenario for scenario, is_match in found.items() if is_match == matches]

    def finished(self, variant: str, scenario: str) -> list[Run]:
        return [run for run in self.runs.get((variant, scenario), []) if run.result is not None]

    def all_runs(self) -> list[Run]:
        return [run for runs in self.runs.values() for run in runs]


@dataclass(frozen=True)
class Comparison:
    """Drills that several variants have all played, with equally many seeds.

    Attributes:
        runs: {variant: {scenario: runs}}.
        left_out: finished runs of these variants and drills that are beyond the common number.
    """

    runs: Mapping[str, Mapping[str, Sequence[Run]]]
    left_out: int

    @property
    def scenarios(self) -> list[str]:
        return list(next(iter(self.runs.values())))

    @property
    def seeds(self) -> int:
        return len(next(iter(next(iter(self.runs.values())).values())))

    def unequal_steps(self) -> list[str]:
        """Scenarios on which not all variants were trained for as many steps."""
        steps = {s: {run.config["total_steps"] for row in self.runs.values() for run in row[s]} for s in self.scenarios}
        return [scenario for scenario, found in steps.items() if len(found) > 1]

    def scores(self) -> dict[str, np.ndarray]:
        """{variant: [seeds, scenarios]}: success rates of the frozen policies."""
        return {
            variant: np.array([[run.score("score/success_rate")[0] for run in runs] for runs in cells.values()]).T
            for variant, cells in self.runs.items()
        }


def comparisons(section: Section) -> list[Comparison]:
    """On the drills that all variants have played, and on the most drills that at least two have, where they differ."""
    drills = section.scenarios(matches=False)
    played = {v: frozenset(s for s in drills if section.finished(v, s)) for v in section.variants}
    played = {variant: done for variant, done in played.items() if done}
    if not played:
        return []
    wanted = [frozenset.intersection(*played.values())]
    shared = [done for done in played.values() if sum(done <= other for other in played.values()) > 1]
    wanted.append(max(shared, key=len, default=frozenset()))
    if not any(wanted):
        wanted = [max(played.values(), key=len)]
    found = [_compare(section, played, common) for common in dict.fromkeys(wanted) if common]
    return found


def _compare(section: Section, played: Mapping[str, frozenset[str]], common: frozenset[str]) -> Comparison:
    drills = [scenario for scenario in section.scenarios(matches=False) if scenario in common]
    cells = {v: {s: section.finished(v, s) for s in drills} for v, done in played.items() if common <= done}
    every = [runs for row in cells.values() for runs in row.values()]
    number = min(map(len, every))
    shared = set.intersection(*({run.seed for run in runs} for runs in every))

    def chosen(runs: list[Run]) -> list[Run]:
        """Seeds that all have come first."""
        return sorted(runs, key=lambda run: (run.seed not in shared, run.seed))[:number]

    return Comparison(
        {v: {s: chosen(runs) for s, runs in row.items()} for v, row in cells.items()},
        left_out=sum(map(len, every)) - number * len(every),
    )


# ---- reading -----------------------------------------------------------------------------------------------


def read(paths: Iterable[str | Path]) -> tuple[list[Run], list[str]]:
    """All runs in and below the paths, and the folders that look like one but hold none.

    A path may be LABEL=PATH: the label is then added to its variants' names, which tells equal ones apart.
    """
    found: dict[Path, Run] = {}
    others = []
    for text in map(str, paths):
        label, root = "", Path(text)
        if not root.exists() and "=" in text:
            label, _, rest = text.partition("=")
            root = Path(rest)
        if not root.is_dir():
            raise FileNotFoundError(f"no folder {root}: give run directories, or folders that hold some")
        configs = sorted(root.rglob("config.json"))
        for config in configs:
            folder = config.parent
            if folder.resolve() in found:
                continue
            name = "/".join([root.resolve().name, *folder.relative_to(root).parts])
            settings = _json(config)
            if not {"scenario", "agent", "seed", "total_steps"} <= set(settings) or not _has_rows(folder):
                others.append(name)
                continue
            found[folder.resolve()] = _run(folder, name, settings, label)
        if not configs:
            raise ValueError(f"no run in {root}: a run directory holds config.json and metrics.csv")
    return list(found.values()), others


def _has_rows(folder: Path) -> bool:
    return (folder / "metrics.csv").is_file()


def _run(folder: Path, name: str, config: dict[str, Any], label: str) -> Run:
    shape = re.fullmatch(r"(.+)-(\d+)", folder.resolve().name)
    variant = shape[1] if shape and int(shape[2]) == config["seed"] else config["agent"] or "ppo"
    result, yardsticks, trouble = None, (), "not evaluated yet"
    if (folder / "eval.json").is_file():
        results = _json(folder / "eval.json").get("results", [])
        same = [one for one in results if one["scenario"] == config["scenario"]]
        if same:
            result, yardsticks, trouble = same[0], tuple(same[1:]), ""
        elif results:
            trouble = f"evaluated on {results[0]['scenario']} alone"
    metrics = _metrics(folder / "metrics.csv")
    if result is not None:
        steps = int(metrics["env_steps"][-1]) if len(metrics["env_steps"]) else 0
        judged = result.get("trained_steps") or steps  # results of before 2026-11-26 do not say
        if judged != steps or steps < config["total_steps"]:
            trouble = f"evaluated after {judged:,} of {max(steps, config['total_steps']):,} steps"
            result, yardsticks = None, ()
    return Run(name, f"{variant} ({label})" if label else variant, config, metrics, result, yardsticks, trouble)


def _json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text())
    except json.JSONDecodeError as error:
        raise ValueError(f"{path} is not JSON: {error}") from error
    return found if isinstance(found, dict) else {}


def _metrics(path: Path) -> dict[str, np.ndarray]:
    file = MetricsFile(path)
    try:
        file.refresh()
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    return {name: file.steps if name == "env_steps" else file.column(name) for name in _COLUMNS}


def sections(runs: Iterable[Run]) -> list[Section]:
    """The runs by their conditions; two of one variant, scenario and seed are refused, and so are unequal lengths, and
    evaluations of one scenario from different sides.

    A run without a result goes where the finished ones of its training's conditions are.
    """
    ordered = sorted(runs, key=lambda run: (run.result is None, run.seed, run.folder))
    found: dict[Conditions, Section] = {}
    for run in ordered:
        conditions = _conditions(run)
        if run.result is None:
            like = [other for other in found if other[1:4] == conditions[1:4]]
            conditions = like[0] if like else conditions
        cell = found.setdefault(conditions, Section(conditions)).runs.setdefault((run.variant, run.scenario), [])
        for other in cell:
            if other.seed == run.seed:
                raise ValueError(
                    f"{other.folder} and {run.folder} are both {run.variant} on {run.scenario} with seed {run.seed}: "
                    "report them apart, or tell them apart by a label, e.g. old=FOLDER new=FOLDER"
                )
            if other.config["total_steps"] != run.config["total_steps"]:
                raise ValueError(
                    f"{other.folder} is of {other.config['total_steps']:,} environment steps and {run.folder} of "
                    f"{run.config['total_steps']:,}, both {run.variant}: label their folders, e.g. long=FOLDER"
                )
        cell.append(run)
    for section in found.values():
        for scenario in {scenario for _, scenario in section.runs}:
            sides = section.sides(scenario)
            if len(sides) > 1:
                evaluated = " and ".join(f"{folder} from {_FROM[side]}" for side, folder in sorted(sides.items()))
                raise ValueError(f"{evaluated} on {scenario}: evaluate both alike (touchline evaluate --side ...)")
        order = sorted(section.runs, key=lambda key: _order(section, key))
        section.runs = {key: sorted(section.runs[key], key=lambda run: run.seed) for key in order}
    return sorted(found.values(), key=lambda section: section.conditions)


_FROM = {"left": "the left", "right": "the right", "both": "both sides"}


def _order(section: Section, key: tuple[str, str]) -> tuple[Any, ...]:
    """Short scenarios first, and variants by name, plain ones before what is made of them."""
    variant, scenario = key
    steps = max(run.config["total_steps"] for (_, s), runs in section.runs.items() if s == scenario for run in runs)
    return (section.runs[key][0].is_match, steps, scenario, variant)


def _conditions(run: Run) -> Conditions:
    config, result = run.config, run.result
    trained_on = config.get("backend", "gfootball")
    if result is None:
        return Conditions(trained_on, trained_on, config.get("left", 1), config.get("control", "upstream"), "")
    opponent = result["opponent"]
    return Conditions(result["backend"], trained_on, result["left"], result["control"], f"the {opponent}")
