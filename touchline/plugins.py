"""A plug-in is a file: what a room offers is what lies in its folder."""

from __future__ import annotations

import importlib
import pkgutil
from types import ModuleType


def names(room: str) -> list[str]:
    """Names of the plug-ins in a room ("agents", "curiosity", "scenarios"), sorted.

    Files that start with an underscore and sub-folders (`parts/`) are no plug-ins.
    """
    package = importlib.import_module(f"touchline.{room}")
    found = pkgutil.iter_modules(package.__path__)
    return sorted(m.name for m in found if not m.ispkg and not m.name.startswith("_"))


def load(room: str, name: str) -> ModuleType:
    """The module of a plug-in; a wrong name says what exists."""
    known = names(room)
    if name not in known:
        raise ValueError(f"no {name!r} in {room}; there are {', '.join(known)}")
    return importlib.import_module(f"touchline.{room}.{name}")
