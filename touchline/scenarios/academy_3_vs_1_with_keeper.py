"""Drill: three attackers against a defender and the keeper."""

from touchline.scenarios._parts import DRILL, KEEPER
from touchline.types import Player, Scenario

SCENARIO = Scenario(
    name="academy_3_vs_1_with_keeper",
    left_team=(KEEPER, Player(0.6, 0.0, "CM"), Player(0.7, 0.2, "CM"), Player(0.7, -0.2, "CM")),
    right_team=(KEEPER, Player(-0.75, 0.0, "CB")),
    ball_position=(0.62, 0.0),
    **DRILL,
    description="Three attackers, the central one with the ball, against one defender and the keeper.",
)
