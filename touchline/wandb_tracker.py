"""Weights & Biases as a tracker (needs wandb, the extra `track`): `touchline train --track`.

Metrics have the names of `metrics.csv` and environment steps as their step. What Weights & Biases itself is told
(account, server, offline) is told in its own way: `wandb login`, WANDB_MODE, WANDB_ENTITY and so on. With
WANDB_MODE=offline nothing leaves the machine; `wandb sync` sends the files in the run directory later.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from types import ModuleType
from typing import Any

from touchline.train_config import TrainConfig

PROJECT = "touchline"
"""The project where none is named."""

ID_FILE = "wandb_id"
"""The file of a run directory with the name that Weights & Biases knows it by: a resumed run goes on there."""


class WandbTracker:
    """Tells Weights & Biases the metrics of every update; the run there begins with the first.

    Args:
        config: resolved; it becomes the run's config, and its `out` names the run and holds wandb's files.
        project: the run's project.
    """

    def __init__(self, config: TrainConfig, project: str = PROJECT) -> None:
        if config.out is None:
            raise ValueError("expected a resolved config, got one without `out`")
        self.config, self.project = config, project
        self._wandb = _wandb()
        self._run: Any = None

    def __call__(self, env_steps: int, metrics: Mapping[str, float]) -> None:
        if self._run is None:
            self._run = self._begin()
        self._run.log(dict(metrics), step=env_steps)

    def close(self) -> None:
        if self._run is not None:
            self._run.finish()

    def _begin(self) -> Any:
        folder = Path(str(self.config.out))
        folder.mkdir(parents=True, exist_ok=True)
        known = folder / ID_FILE
        before = known.read_text().strip() if known.is_file() else None
        try:
            run = self._wandb.init(
                project=self.project,
                name=folder.name,
                dir=folder,
                config=asdict(self.config),
                id=before,
                resume=None if before is None else "allow",
                mode=os.environ.get("WANDB_MODE"),  # wandb remembers what it was at its first use
                settings=self._wandb.Settings(console="off", silent=True),
            )
        except self._wandb.errors.Error as error:
            raise ValueError(f"Weights & Biases: {error} ({_ADVICE})") from error
        known.write_text(run.id + "\n")
        return run


_ADVICE = "log in with `wandb login`, or set WANDB_MODE=offline, which writes into the run directory"


def _wandb() -> ModuleType:
    try:
        import wandb
    except ModuleNotFoundError as error:
        raise ValueError(f"--track needs {error.name}: pip install 'touchline[track]'") from error
    mode = os.environ.get("WANDB_MODE") or wandb.setup().settings.mode  # which `wandb offline` sets
    if mode == "online" and not wandb.api.api_key:
        raise ValueError(f"--track has no account of Weights & Biases: {_ADVICE}")
    return wandb
