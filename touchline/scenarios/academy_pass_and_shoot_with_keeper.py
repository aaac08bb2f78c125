"""Drill: a marked winger and a free team-mate in front of goal."""

from touchline.scenarios._parts import DRILL, KEEPER
from touchline.types import Player, Scenario

SCENARIO = Scenario(
    name="academy_pass_and_shoot_with_keeper",
    left_team=(KEEPER, Player(0.7, 0.0, "CB"), Player(0.7, -0.3, "CB")),
    right_team=(KEEPER, Player(-0.75, 0.3, "CB")),
    ball_position=(0.7, -0.28),
    **DRILL,
    description="Two attackers: the wide one has the ball and a marker, the central one is free.",
)
