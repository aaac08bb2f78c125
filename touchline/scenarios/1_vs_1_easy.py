"""Match: one a side, keeper against keeper."""

from touchline.scenarios._parts import KEEPER
from touchline.types import Scenario

SCENARIO = Scenario(
    name="1_vs_1_easy",
    left_team=(KEEPER,),
    right_team=(KEEPER,),
    left_team_difficulty=0.0,
    right_team_difficulty=0.0,
    game_duration=500,
    description="A short match of one player a side, built-in AIs at their weakest.",
)
