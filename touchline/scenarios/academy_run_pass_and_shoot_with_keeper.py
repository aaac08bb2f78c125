"""Drill: a free winger and a marked team-mate in front of goal."""

from touchline.scenarios._parts import DRILL, KEEPER
from touchline.types import Player, Scenario

SCENARIO = Scenario(
    name="academy_run_pass_and_shoot_with_keeper",
    left_team=(KEEPER, Player(0.7, 0.0, "CB"), Player(0.7, -0.3, "CB")),
    right_team=(KEEPER, Player(-0.75, 0.1, "CB")),
    ball_position=(0.7, -0.28),
    **DRILL,
    description="Two attackers: the wide one has the ball and space, the central one has a marker.",
)
