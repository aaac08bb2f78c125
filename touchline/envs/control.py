"""Who is driven by agents: the two control modes, checked at the border."""

from __future__ import annotations

from dataclasses import dataclass, replace

from touchline.types import Player, Scenario

CONTROL_MODES = ("upstream", "fixed")
"""upstream: the engine's own rule. Agents drive the players nearest to the play and switch with it, unless all of a
side's controllable players are controlled. fixed: agent i always drives the same player."""


def controlled_scenario(scenario: Scenario, left: int, right: int, control: str) -> Scenario:
    """The scenario as the simulator must see it so that `left` and `right` players are controlled in this mode."""
    if control not in CONTROL_MODES:
        raise ValueError(f"no control mode {control!r}; there are {', '.join(CONTROL_MODES)}")
    if left + right == 0:
        raise ValueError("expected at least one controlled player, got left=0 and right=0")
    counts = {"left": left, "right": right}
    for side, count in counts.items():
        available = len(scenario.controllable(side))
        if not 0 <= count <= available:
            raise ValueError(
                f"{scenario.name}: expected 0 to {available} controlled players on the {side} "
                f"(it has {available} controllable ones), got {count}"
            )
    if control == "fixed":
        return _with_fixed_players(scenario, left, right)
    if scenario.control_all_players and any(
        count not in (0, len(scenario.controllable(side))) for side, count in counts.items()
    ):
        raise ValueError(
            f"{scenario.name} wants none or all of a side's players controlled: "
            f"left 0 or {len(scenario.controllable('left'))}, right 0 or {len(scenario.controllable('right'))}"
        )
    return scenario


@dataclass(frozen=True)
class TeamMember:
    """A player of a line-up, and which agent drives him in the fixed mode, for the whole of every episode.

    Attributes:
        side: "left" or "right".
        index: his place in his team's line-up, which is the engine's number of him.
        role: one of `types.ROLES`, in the first line-up; GK keeps the goal.
        controllable: an agent could drive him.
        agent: "left_0", ..., or None if no agent does.
    """

    side: str
    index: int
    role: str
    controllable: bool
    agent: str | None


def members(scenario: Scenario, left: int, right: int) -> tuple[TeamMember, ...]:
    """All players of both sides, left ones first, each side in the order of its line-up.

    Agents are counted in that order too: left_0 drives the first of `fixed_players`.
    """
    out = []
    for side, count in (("left", left), ("right", right)):
        driven = fixed_players(scenario, side, count)
        team = scenario.left_team if side == "left" else scenario.right_team
        for index, player in enumerate(team):
            agent = f"{side}_{driven.index(index)}" if index in driven else None
            out.append(TeamMember(side, index, player.role, player.controllable, agent))
    return tuple(out)


def fixed_players(scenario: Scenario, side: str, count: int) -> tuple[int, ...]:
    """Players that agents 0 to count - 1 drive in the fixed mode, as indices in ascending order.

    They are the controllable ones that start nearest to the ball in the first line-up, keepers last of all.
    """
    team = scenario.left_team if side == "left" else scenario.right_team
    sign = 1.0 if side == "left" else -1.0
    ball_x, ball_y = scenario.ball_position

    def remoteness(index: int) -> tuple[bool, float, int]:
        player = team[index]
        dx, dy = (player.x - sign * ball_x) * 54.4, (player.y - sign * ball_y) * 83.6
        return player.role == "GK", dx * dx + dy * dy, index

    return tuple(sorted(sorted(scenario.controllable(side), key=remoteness)[:count]))


def _with_fixed_players(scenario: Scenario, left: int, right: int) -> Scenario:
    changes: dict[str, tuple[Player, ...] | None] = {}
    for side, count in (("left", left), ("right", right)):
        if count == 0:
            continue
        chosen = fixed_players(scenario, side, count)
        for field in (f"{side}_team", f"alternate_{side}_team"):
            team = getattr(scenario, field)
            if team is not None:
                changes[field] = tuple(replace(p, controllable=i in chosen) for i, p in enumerate(team))
    return replace(scenario, **changes)
