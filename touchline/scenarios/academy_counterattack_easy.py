"""Drill: four break away, one defender is back."""

from touchline.scenarios._parts import COUNTERATTACKERS, DRILL, KEEPER
from touchline.types import Player, Scenario

SCENARIO = Scenario(
    name="academy_counterattack_easy",
    left_team=COUNTERATTACKERS,
    right_team=(
        KEEPER,
        Player(0.128, -0.19576, "LB"),
        Player(0.4, -0.06356, "CB"),
        Player(-0.4, 0.063559, "CB"),
        Player(0.128, -0.19576, "RB"),
        Player(0.365, -0.10568, "CM"),
        Player(0.282, 0.0, "CM"),
        Player(0.365, 0.10568, "CM"),
        Player(0.54, -0.3161, "LM"),
        Player(0.51, 0.0, "RM"),
        Player(0.54, 0.316102, "CF"),
    ),
    ball_position=(0.26, -0.11),
    **DRILL,
    description="Four attackers break away past the half-way line with one defender and the keeper ahead.",
)
