"""Line-ups and flags that several scenarios share: data only."""

from typing import Any

from touchline.types import Player

KEEPER = Player(-1.0, 0.0, "GK")

BLOCK = (
    Player(-0.422, -0.19576, "LB"),
    Player(-0.5, -0.06356, "CB"),
    Player(-0.5, 0.063559, "CB"),
    Player(-0.422, 0.19576, "RB"),
    Player(-0.184212, -0.10568, "CM"),
    Player(-0.267574, 0.0, "CM"),
    Player(-0.184212, 0.10568, "CM"),
    Player(-0.01, -0.2161, "LM"),
)
"""The eight outfield players who stand in the same place whoever kicks off."""

KICKING_OFF = (KEEPER, Player(0.0, 0.02, "RM"), Player(0.0, -0.02, "CF"), *BLOCK)
RECEIVING = (KEEPER, Player(-0.05, 0.0, "RM"), Player(-0.01, 0.216102, "CF"), *BLOCK)

COUNTERATTACKERS = (
    KEEPER,
    Player(-0.672, -0.19576, "LB"),
    Player(-0.75, -0.06356, "CB"),
    Player(-0.75, 0.063559, "CB"),
    Player(-0.672, 0.19576, "RB"),
    Player(-0.434, -0.10568, "CM"),
    Player(-0.434, 0.10568, "CM"),
    Player(0.5, -0.3161, "CM"),
    Player(0.25, -0.1, "LM"),
    Player(0.25, 0.1, "RM"),
    Player(0.35, 0.316102, "CF"),
)

CHASERS = (
    Player(0.12, 0.2, "LB"),
    Player(0.12, 0.1, "CB"),
    Player(0.12, 0.0, "CM"),
    Player(0.12, -0.1, "CB"),
    Player(0.12, -0.2, "RB"),
)
"""Five opponents in a row just behind the runner of the run-to-score drills."""

DRILL: dict[str, Any] = {
    "game_duration": 400,
    "offsides": False,
    "end_episode_on_score": True,
    "end_episode_on_out_of_play": True,
    "end_episode_on_possession_change": True,
}
"""What nearly every academy drill has in common: one attack, over as soon as it succeeds or fails."""
