"""Match: eleven a side against a strong built-in AI."""

from touchline.scenarios._parts import KICKING_OFF, RECEIVING
from touchline.types import Scenario

SCENARIO = Scenario(
    name="11_vs_11_hard_stochastic",
    left_team=KICKING_OFF,
    right_team=RECEIVING,
    alternate_left_team=RECEIVING,
    alternate_right_team=KICKING_OFF,
    left_team_difficulty=1.0,
    right_team_difficulty=0.95,
    description="A full match against an opponent of strength 0.95.",
)
