"""Drill: one goal against a team that stands still."""

from dataclasses import replace

from touchline.scenarios._parts import DRILL, KEEPER, KICKING_OFF, RECEIVING
from touchline.types import Scenario

SCENARIO = Scenario(
    name="academy_single_goal_versus_lazy",
    left_team=KICKING_OFF,
    right_team=(KEEPER, *(replace(player, lazy=True) for player in RECEIVING[1:])),
    ball_position=(-0.48, -0.06356),
    **{**DRILL, "game_duration": 3000},
    description="Build up from defence with a full team against eleven of whom only the keeper moves.",
)
