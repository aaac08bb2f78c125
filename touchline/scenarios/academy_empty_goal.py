"""Drill: an open goal from the half-way line."""

from touchline.scenarios._parts import DRILL, KEEPER
from touchline.types import Player, Scenario

SCENARIO = Scenario(
    name="academy_empty_goal",
    left_team=(KEEPER, Player(0.0, 0.0, "CB")),
    # x = 1 in his own view: the opposing keeper starts at the far end and has to run home.
    right_team=(Player(1.0, 0.0, "GK"),),
    ball_position=(0.02, 0.0),
    **DRILL,
    description="One attacker with the ball on the half-way line and nobody in the goal.",
)
