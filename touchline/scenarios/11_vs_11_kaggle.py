"""Match: the rules of the 2020 Kaggle competition."""

from touchline.scenarios._parts import BLOCK, KEEPER
from touchline.types import Player, Scenario

# The players of the other full matches in another order, with the two front roles exchanged.
_KICKING_OFF = (KEEPER, *BLOCK, Player(0.0, 0.02, "CF"), Player(0.0, -0.02, "RM"))
_RECEIVING = (KEEPER, *BLOCK, Player(-0.05, 0.0, "CF"), Player(-0.01, 0.216102, "RM"))

SCENARIO = Scenario(
    name="11_vs_11_kaggle",
    left_team=_KICKING_OFF,
    right_team=_RECEIVING,
    alternate_left_team=_RECEIVING,
    alternate_right_team=_KICKING_OFF,
    left_team_difficulty=1.0,
    right_team_difficulty=1.0,
    second_half=1500,
    description="A full match in two halves with both built-in AIs at full strength.",
)
