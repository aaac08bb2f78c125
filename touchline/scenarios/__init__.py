"""Scenarios: who stands where and when it ends. One file each; users' and gfootball's own files load too."""

from __future__ import annotations

import difflib
import importlib
import os
from pathlib import Path
from types import ModuleType

from touchline import plugins
from touchline.scenarios._drawing import describe, draw
from touchline.scenarios._gfootball_files import execute, scenario_from_builder, stand_ins
from touchline.types import Scenario

__all__ = ["OURS", "describe", "draw", "load", "names"]

OURS = ("build_up",)
"""Scenarios that gfootball does not have."""


def names(*, gfootball: bool = False) -> list[str]:
    """Names of the scenarios that come with touchline, sorted; with `gfootball` those of gfootball 2.10.2 alone."""
    return [name for name in plugins.names("scenarios") if not (gfootball and name in OURS)]


def load(name: str | os.PathLike[str]) -> Scenario:
    """A scenario by name (or id, `touchline/NAME-v0`), by path of a Python file, or by dotted module path.

    A file or module of your own defines one of: `SCENARIO`, a `touchline.types.Scenario`; `scenario()`, which
    returns one; or gfootball's `build_scenario(builder)`, taken as it is and without gfootball.
    """
    text = os.fspath(name)
    if text.startswith("touchline/") and text.endswith("-v0"):  # the id of its environment
        text = text.removeprefix("touchline/").removesuffix("-v0")
    if text in names():
        return _scenario_of(plugins.load("scenarios", text), text)
    if isinstance(name, os.PathLike) or text.endswith(".py") or os.sep in text:
        return _load_file(Path(text).expanduser())
    if "." in text.strip(".") and not text.startswith("."):
        return _load_module(text)
    close = difflib.get_close_matches(text, names(), n=1, cutoff=0.6)
    hint = f" (did you mean {close[0]}?)" if close else ""
    raise ValueError(
        f"no {text!r} in scenarios{hint}; there are {', '.join(names())}, "
        "or give the path of a Python file or a dotted module path"
    )


def _load_file(path: Path) -> Scenario:
    if not path.is_file():
        raise FileNotFoundError(f"no scenario file {path} (looked in {Path.cwd()})")
    with stand_ins(path.resolve().parent):
        return _scenario_of(execute(path), str(path))


def _load_module(dotted: str) -> Scenario:
    try:
        module = importlib.import_module(dotted)
    except ImportError:
        # Perhaps it wants gfootball, which is not here; a second failure is the real one.
        with stand_ins(evict=dotted.split(".")[0]):
            try:
                module = importlib.import_module(dotted)
            except ModuleNotFoundError as error:
                if error.name is None or not f"{dotted}.".startswith(f"{error.name}."):
                    raise
                raise ValueError(
                    f"no scenario module {dotted!r}: no {error.name!r} to import (is it on PYTHONPATH?)"
                ) from None
            return _scenario_of(module, dotted)
    return _scenario_of(module, dotted)


def _scenario_of(module: ModuleType, source: str) -> Scenario:
    """The scenario a module defines, in whichever of the three ways."""
    if hasattr(module, "SCENARIO"):
        found, what = module.SCENARIO, "SCENARIO"
    elif callable(getattr(module, "scenario", None)):
        found, what = module.scenario(), "scenario()"
    elif hasattr(module, "build_scenario"):
        return scenario_from_builder(module.__name__.rpartition(".")[2], module.build_scenario)
    else:
        raise ValueError(
            f"{source} defines no scenario: expected SCENARIO = touchline.types.Scenario(...), "
            "a function scenario() that returns one, or gfootball's build_scenario(builder)"
        )
    if not isinstance(found, Scenario):
        raise ValueError(f"{what} in {source}: expected a touchline.types.Scenario, got {type(found).__name__}")
    return found
