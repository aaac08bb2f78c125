"""Drill: outrun five chasers and beat the keeper."""

from touchline.scenarios._parts import CHASERS, DRILL, KEEPER
from touchline.types import Player, Scenario

SCENARIO = Scenario(
    name="academy_run_to_score_with_keeper",
    left_team=(KEEPER, Player(0.0, 0.0, "CB")),
    right_team=(KEEPER, *CHASERS),
    ball_position=(0.02, 0.0),
    **DRILL,
    description="One attacker runs from the half-way line at the keeper with five opponents on his heels.",
)
