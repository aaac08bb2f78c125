"""Scenario files written for gfootball, without gfootball: stand-in modules and a builder that records."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import MISSING, dataclass, fields
from enum import IntEnum
from numbers import Real
from pathlib import Path
from types import ModuleType
from typing import Any

from touchline.types import ROLES, Player, Scenario

Team = IntEnum("Team", {"e_Left": 0, "e_Right": 1})
Role = IntEnum("Role", {f"e_PlayerRole_{role}": number for number, role in enumerate(ROLES)})
EPISODES = (2, 3, 4, 5)
"""Upstream's numbers of our episodes 0 to 3: its constructor uses up number 1."""

_TEAMS = ("left_team", "right_team")
_NO_FLAGS = ("alternate_left_team", "alternate_right_team", "ball_position", "description")
_FLAGS = {f.name: f.default for f in fields(Scenario) if f.default is not MISSING and f.name not in _NO_FLAGS}
# Upstream sets these after the scenario file has run, the last one unless the scenario is deterministic.
_SET_BY_THE_ENV = {"left_agents": 1, "right_agents": 0, "real_time": False, "reverse_team_processing": False}


@dataclass
class FormationEntry:
    """The engine's record of a player, for files that fill `builder.config().left_team` by hand."""

    x: float
    y: float
    role: int
    lazy: bool = False
    controllable: bool = True


class Config:
    """Records what a scenario file sets; a field that the engine does not have is refused."""

    def __init__(self) -> None:
        values = {
            **_FLAGS,
            **_SET_BY_THE_ENV,
            "ball_position": [0.0, 0.0, 0.0],
            "left_team": [],
            "right_team": [],
        }
        self.__dict__.update(values)

    def __setattr__(self, name: str, value: Any) -> None:
        if name not in self.__dict__:
            raise ValueError(f"no {name!r} in builder.config(); there are {', '.join(sorted(self.__dict__))}")
        default = _FLAGS.get(name)
        if default is not None:
            if not isinstance(value, Real) or type(default)(value) != value:
                raise ValueError(f"config().{name}: expected {type(default).__name__}, got {value!r}")
            value = type(default)(value)
        self.__dict__[name] = value


class Builder:
    """What `build_scenario(builder)` is handed; the method names are gfootball's."""

    def __init__(self, episode_number: int) -> None:
        self._config, self._episode_number, self._side = Config(), episode_number, Team.e_Left

    def config(self) -> Config:
        return self._config

    ScenarioConfig = config

    def EpisodeNumber(self) -> int:
        return self._episode_number

    def SetTeam(self, team: int) -> None:
        self._side = Team(int(team))

    def SetBallPosition(self, ball_x: float, ball_y: float) -> None:
        self._config.ball_position[:2] = ball_x, ball_y

    def AddPlayer(self, x: float, y: float, role: int, lazy: bool = False, controllable: bool = True) -> None:
        getattr(self._config, _TEAMS[self._side]).append(FormationEntry(x, y, role, lazy, controllable))


def _run(build_scenario: Callable[[Any], None], episode_number: int) -> dict[str, Any]:
    """Everything a scenario file says for one episode, as fields of `Scenario`."""
    builder = Builder(episode_number)
    build_scenario(builder)
    config = builder.config()
    if config.deterministic and config.reverse_team_processing:
        raise ValueError("config().reverse_team_processing is not supported: touchline derives it from the seed")
    said = {name: getattr(config, name) for name in _FLAGS}
    said["ball_position"] = tuple(float(v) for v in list(config.ball_position)[:2])
    for side in _TEAMS:
        # An empty team gets a keeper in the corner who never moves, as upstream's scenario_builder.py does.
        entries = getattr(config, side) or [FormationEntry(-1.0, 0.42, Role.e_PlayerRole_GK, lazy=True)]
        said[side] = tuple(
            Player(float(e.x), float(e.y), ROLES[int(e.role)], bool(e.lazy), bool(e.controllable)) for e in entries
        )
    return said


def scenario_from_builder(name: str, build_scenario: Callable[[Any], None]) -> Scenario:
    """The scenario that a gfootball-style `build_scenario(builder)` describes.

    Raises:
        ValueError: the line-ups do not repeat every two episodes, or more than line-ups changes.
    """
    even, odd, *later = (_run(build_scenario, number) for number in EPISODES)
    for number, first in zip(EPISODES, (even, odd), strict=False):
        if _run(build_scenario, number) != first:
            raise ValueError(
                f"{name}: build_scenario says different things when run twice for EpisodeNumber() {number} "
                "(random, or counting its calls?); a scenario is fixed, it may depend on EpisodeNumber() only"
            )
    if later != [even, odd]:
        raise ValueError(
            f"{name}: build_scenario does not repeat after two episodes; "
            "line-ups may differ between even and odd EpisodeNumber() only"
        )
    changed = [key for key in even if key not in _TEAMS and even[key] != odd[key]]
    if changed:
        raise ValueError(
            f"{name}: only line-ups may differ between even and odd EpisodeNumber(), "
            f"here {', '.join(changed)} differs too"
        )
    if all(even[side] == odd[side] for side in _TEAMS):
        return Scenario(name=name, **even)
    return Scenario(name=name, alternate_left_team=odd["left_team"], alternate_right_team=odd["right_team"], **even)


@contextmanager
def stand_ins(folder: Path | None = None, evict: str = "gfootball") -> Iterator[None]:
    """Makes `from . import *`, `from gfootball.scenarios import *`, `import gfootball_engine` work inside it.

    Args:
        folder: where `from .other_scenario import ...` looks.
        evict: top-level package; what of it is first imported inside the block is forgotten afterwards.
    """
    engine, package, room = (ModuleType(n) for n in ("gfootball_engine", "gfootball", "gfootball.scenarios"))
    engine.__dict__.update(e_Team=Team, e_PlayerRole=Role, FormationEntry=FormationEntry)
    room.__dict__.update(libgame=engine, Team=Team, **Role.__members__)
    package.__path__, room.__path__ = [], [str(folder)] if folder else []
    package.scenarios = room  # type: ignore[attr-defined]

    def loaded(*packages: str) -> dict[str, ModuleType]:
        return {name: m for name, m in sys.modules.items() if name.split(".")[0] in packages}

    before = loaded("gfootball", "gfootball_engine", evict)
    for name in loaded("gfootball", "gfootball_engine"):
        del sys.modules[name]
    sys.modules.update({m.__name__: m for m in (engine, package, room)})
    try:
        yield
    finally:
        for name in loaded("gfootball", "gfootball_engine", evict):
            del sys.modules[name]
        sys.modules.update(before)


def execute(path: Path) -> ModuleType:
    """Runs a file as if it lay in gfootball's scenarios folder; call inside `stand_ins`."""
    module = ModuleType(f"gfootball.scenarios.{path.stem.replace('.', '_')}")
    module.__file__, module.__package__ = str(path), "gfootball.scenarios"
    sys.modules[module.__name__] = module  # dataclasses in the file look themselves up here
    # Compiled here and not imported: no __pycache__ beside the user's file, and never a stale one.
    exec(compile(path.read_bytes(), str(path), "exec"), module.__dict__)
    return module
