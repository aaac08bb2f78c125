"""Drill of ours: from the own half past two defenders and the keeper; a lost ball may be won back."""

from touchline.scenarios._parts import DRILL, KEEPER
from touchline.types import Player, Scenario

SCENARIO = Scenario(
    name="build_up",
    left_team=(
        KEEPER,
        Player(-0.7, 0.0, "CB"),
        Player(-0.35, -0.2, "CM"),
        Player(-0.35, 0.2, "CM"),
        Player(0.1, 0.0, "CF"),
    ),
    right_team=(KEEPER, Player(-0.45, -0.1, "CB"), Player(-0.45, 0.1, "CB")),
    ball_position=(-0.68, 0.0),
    **{**DRILL, "end_episode_on_possession_change": False},
    description="Build up from the own half: four bring the ball past two defenders and the keeper; not in gfootball.",
)
