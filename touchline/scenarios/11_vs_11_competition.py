"""Match: eleven a side, both sides at full strength."""

from touchline.scenarios._parts import KICKING_OFF, RECEIVING
from touchline.types import Scenario

SCENARIO = Scenario(
    name="11_vs_11_competition",
    left_team=KICKING_OFF,
    right_team=RECEIVING,
    alternate_left_team=RECEIVING,
    alternate_right_team=KICKING_OFF,
    left_team_difficulty=1.0,
    right_team_difficulty=1.0,
    description="A full match with both AIs at full strength, for pitting agents against each other.",
)
