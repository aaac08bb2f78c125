"""What commands show on the terminal."""

from __future__ import annotations

from typing import Any

from touchline.terminal import console


def say(what: object, **options: Any) -> None:
    """Prints with markup; lines are as long as they are."""
    console(soft_wrap=True).print(what, **options)


class ProgressBar:
    """A progress bar as a context; what it yields is called with what is being done and the share done."""

    def __init__(self, title: str) -> None:
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.percentage:3.0f}%"),
            TimeElapsedColumn(),
            console=console(),
        )
        self._task = self._bar.add_task(title, total=1.0)

    def __enter__(self) -> Any:
        self._bar.start()
        return lambda what, share: self._bar.update(self._task, description=what, completed=share)

    def __exit__(self, *error: object) -> None:
        self._bar.stop()


def report_training(result: dict[str, Any], *, go_on: str = "") -> None:
    """What came of a training, given `training.train`'s result; `go_on` says how to, if not with --resume."""
    if result["interrupted"]:
        go_on = go_on or f"go on with --resume {result['run']}"
        say(f"stopped after {result['env_steps']:,} steps; {go_on}")
    say(f"run: {result['run']}   checkpoint: {result['checkpoint']}")
    speed = result["env_steps_per_second"]
    if speed:
        say(f"env_steps_per_second: {speed:.0f}")
    players = result["metrics"].get("time/player_steps_per_second")
    if players:
        say(f"player_steps_per_second: {players:.0f}")
