"""Drill: outrun five chasers towards an open goal."""

from touchline.scenarios._parts import CHASERS, DRILL, KEEPER
from touchline.types import Player, Scenario

SCENARIO = Scenario(
    name="academy_run_to_score",
    left_team=(KEEPER, Player(0.0, 0.0, "CB")),
    # x = 1 in his own view: the opposing keeper starts at the far end and has to run home.
    right_team=(Player(1.0, 0.0, "GK"), *CHASERS),
    ball_position=(0.02, 0.0),
    **DRILL,
    description="One attacker runs from the half-way line at an open goal with five opponents on his heels.",
)
