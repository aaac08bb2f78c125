"""Match: five a side, keepers left to the engine."""

from touchline.types import Player, Scenario

_KEEPER = Player(-1.0, 0.0, "GK", controllable=False)
_BACKS = (Player(-0.1, -0.1, "LB"), Player(-0.1, 0.1, "CB"))
_KICKING_OFF = (_KEEPER, Player(0.0, 0.02, "RM"), Player(0.0, -0.02, "CF"), *_BACKS)
_RECEIVING = (_KEEPER, Player(-0.04, 0.04, "RM"), Player(-0.04, -0.04, "CF"), *_BACKS)

SCENARIO = Scenario(
    name="5_vs_5",
    left_team=_KICKING_OFF,
    right_team=_RECEIVING,
    alternate_left_team=_RECEIVING,
    alternate_right_team=_KICKING_OFF,
    left_team_difficulty=0.05,
    right_team_difficulty=0.05,
    description="A match of five a side on the full pitch; agents control the four outfield players.",
)
