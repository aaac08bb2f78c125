"""What watches a training: statistics of episodes, and trackers that write or show the metrics."""

from __future__ import annotations

import csv
import math
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np

from touchline.files import whole
from touchline.terminal import console


class Update(NamedTuple):
    """One step of the training loop.

    Attributes:
        env_steps: environment steps so far, counted per env, not per player.
        metrics: numbers keyed `room/name`.
        episodes: statistics of the E episodes that ended, {name: [E]}.
    """

    env_steps: int
    metrics: dict[str, float]
    episodes: dict[str, np.ndarray]


class Tracker(Protocol):
    """Is told the metrics of every update."""

    def __call__(self, env_steps: int, metrics: Mapping[str, float]) -> None: ...

    def close(self) -> None: ...


class EpisodeStatistics:
    """Means over the last episodes that ended.

    Args:
        window: how many of them.
    """

    _NAMES = {"r": "episode/return", "l": "episode/length_steps"}

    def __init__(self, window: int = 100) -> None:
        self.window, self.count = window, 0
        self.recent: dict[str, deque[float]] = {}

    def __call__(self, episodes: Mapping[str, np.ndarray]) -> dict[str, float]:
        """Takes ended episodes in, {name: [E]}, and gives the metrics; none until an episode ended."""
        episodes = dict(episodes)
        if {"goals_left", "goals_right"} <= set(episodes):
            difference = episodes["goals_left"].astype(float) - episodes["goals_right"]
            episodes["goal_difference"], episodes["success"] = difference, difference > 0
        for name, numbers in episodes.items():
            if np.ndim(numbers) == 1:
                recent = self.recent.setdefault(name, deque(maxlen=self.window))
                recent.extend(np.asarray(numbers, float).tolist())
        self.count += len(episodes["r"]) if "r" in episodes else 0
        means = {name: float(np.mean(recent)) for name, recent in self.recent.items()}
        metrics = {"episode/count": float(self.count)} if means else {}
        if "success" in means:
            metrics["episode/success_rate"] = means.pop("success")
            metrics["score/goal_difference_per_game"] = means.pop("goal_difference")
        return metrics | {self._NAMES.get(name, f"episode/{name}"): x for name, x in means.items()}

    def state_dict(self) -> dict[str, Any]:
        return {"count": self.count, "recent": {name: list(x) for name, x in self.recent.items()}}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.count = state["count"]
        self.recent = {name: deque(x, maxlen=self.window) for name, x in state["recent"].items()}


def track(updates: Iterable[Update], statistics: EpisodeStatistics, trackers: Sequence[Tracker]) -> Iterator[Update]:
    """The same updates, episode statistics among their metrics, after every tracker was told."""
    for update in updates:
        update = update._replace(metrics=update.metrics | statistics(update.episodes))
        for tracker in trackers:
            tracker(update.env_steps, update.metrics)
        yield update


class CsvTracker:
    """A row an update in `metrics.csv`; a metric that turns up later becomes a new column.

    Args:
        path: the file; whole rows of an earlier session up to `env_steps` are kept, others dropped.
        env_steps: where training goes on from.
    """

    def __init__(self, path: Path | str, env_steps: int = 0) -> None:
        self.path, self.columns = Path(path), ["env_steps"]
        rows: list[dict[str, str]] = []
        if env_steps and self.path.exists():
            columns, rows = self._read()
            rows = [row for row in rows if int(row["env_steps"]) <= env_steps]
            self.columns = columns or self.columns
        self._rewrite(rows)

    def __call__(self, env_steps: int, metrics: Mapping[str, float]) -> None:
        new = [name for name in metrics if name not in self.columns]
        if new:
            self.file.close()
            rows = self._read()[1]
            self.columns += new
            self._rewrite(rows)
        self.writer.writerow({"env_steps": env_steps, **{k: f"{v:.6g}" for k, v in metrics.items()}})
        self.file.flush()

    def close(self) -> None:
        self.file.close()

    def _read(self) -> tuple[list[str], list[dict[str, str]]]:
        """Columns and whole rows; what a crash left of a last one is none."""
        text = self.path.read_bytes().decode(errors="replace")
        header, *lines = text[: text.rfind("\n") + 1].splitlines() or [""]
        columns = next(csv.reader([header]), [])
        whole = (row for row in csv.reader(line for line in lines if "\0" not in line) if len(row) == len(columns))
        rows = [dict(zip(columns, row, strict=True)) for row in whole]
        return columns, [row for row in rows if row.get("env_steps", "").isdigit()]

    def _rewrite(self, rows: list[dict[str, str]]) -> None:
        with whole(self.path) as part, open(part, "w", newline="") as file:
            writer = csv.DictWriter(file, self.columns, restval="")
            writer.writeheader()
            writer.writerows(rows)
        self.file = open(self.path, "a", newline="")  # noqa: SIM115, closed in close()
        self.writer = csv.DictWriter(self.file, self.columns, restval="")


class TensorBoardTracker:
    """TensorBoard events over environment steps; those of an earlier session past `env_steps` are hidden."""

    def __init__(self, folder: Path | str, env_steps: int = 0) -> None:
        from torch.utils.tensorboard import SummaryWriter  # takes a second: not for `touchline --help`

        self.writer = SummaryWriter(str(folder), purge_step=env_steps + 1 if env_steps else None)

    def __call__(self, env_steps: int, metrics: Mapping[str, float]) -> None:
        for name, number in metrics.items():
            self.writer.add_scalar(name, number, env_steps)

    def close(self) -> None:
        self.writer.close()


def files(folder: Path, env_steps: int = 0) -> list[Tracker]:
    """The trackers of a run directory: `metrics.csv` and TensorBoard events, continued from `env_steps`."""
    return [CsvTracker(folder / "metrics.csv", env_steps), TensorBoardTracker(folder, env_steps)]


def progress(total_steps: int) -> Tracker:
    """What shows a training's progress: a bar in a terminal, and lines where the output goes to a file."""
    return ProgressBar(total_steps) if console().is_terminal else ProgressLines(total_steps)


def _in_words(env_steps: int, metrics: Mapping[str, float]) -> str:
    parts = [f"{env_steps:,} steps", f"{metrics.get('time/env_steps_per_second', 0):,.0f}/s"]
    for name, label in (("episode/return", "return"), ("episode/success_rate", "success")):
        if name in metrics:
            parts.append(f"{label} {metrics[name]:.2f}")
    return "  ".join(parts)


class ProgressLines:
    """A line of speed, return and success rate after the first update, every `interval` seconds, and at the end.

    Args:
        total_steps: environment steps at which the training ends.
        interval: seconds.
    """

    def __init__(self, total_steps: int, interval: float = 60.0) -> None:
        self.total_steps, self.interval = total_steps, interval
        self._due, self._unsaid = -math.inf, ""
        self._console = console(soft_wrap=True, highlight=False)

    def __call__(self, env_steps: int, metrics: Mapping[str, float]) -> None:
        self._unsaid = f"{100 * env_steps / self.total_steps:3.0f}%  {_in_words(env_steps, metrics)}"
        if time.monotonic() >= self._due:
            self._say()

    def _say(self) -> None:
        self._console.print(self._unsaid)
        self._due, self._unsaid = time.monotonic() + self.interval, ""

    def close(self) -> None:
        if self._unsaid:
            self._say()


class ProgressBar:
    """A bar in the terminal, with speed, return and success rate.

    Args:
        total_steps: environment steps at which the training ends.
    """

    def __init__(self, total_steps: int) -> None:
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (BarColumn(), TextColumn("{task.percentage:3.0f}%"), TimeRemainingColumn())
        self.progress = Progress(*columns, TextColumn("{task.description}"), console=console())
        self.task = self.progress.add_task("", total=total_steps)

    def __call__(self, env_steps: int, metrics: Mapping[str, float]) -> None:
        self.progress.start()  # now, for a training that is refused would leave a terminal without its cursor
        self.progress.update(self.task, completed=env_steps, description=_in_words(env_steps, metrics))

    def close(self) -> None:
        self.progress.stop()
