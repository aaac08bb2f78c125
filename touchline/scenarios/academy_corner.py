"""Drill: a corner kick with full teams."""

from touchline.scenarios._parts import DRILL, KEEPER
from touchline.types import Player, Scenario

SCENARIO = Scenario(
    name="academy_corner",
    left_team=(
        KEEPER,
        Player(1.0, 0.42, "LB"),
        Player(0.7, 0.15, "CB"),
        Player(0.7, 0.05, "CB"),
        Player(0.7, -0.05, "RB"),
        Player(0.0, 0.0, "CM"),
        Player(0.6, 0.35, "CM"),
        Player(0.8, 0.07, "CM"),
        Player(0.8, -0.03, "LM"),
        Player(0.8, -0.13, "RM"),
        Player(0.7, -0.3, "CF"),
    ),
    right_team=(
        KEEPER,
        Player(-0.75, -0.18, "LB"),
        Player(-0.75, -0.08, "CB"),
        Player(-0.75, 0.02, "CB"),
        Player(-1.0, -0.1, "RB"),
        Player(-0.8, -0.25, "CM"),
        Player(-0.88, -0.07, "CM"),
        Player(-0.88, 0.03, "CM"),
        Player(-0.88, 0.13, "LM"),
        Player(-0.75, 0.25, "RM"),
        Player(-0.2, 0.0, "CF"),
    ),
    ball_position=(0.99, 0.41),
    **{**DRILL, "end_episode_on_possession_change": False},
    description="Eleven against eleven with the ball at the corner flag; losing it does not end the attack.",
)
