"""The vocabulary: plain values that every room shares. Imports neither torch nor an engine.

Axis letters, fixed everywhere: T time, B envs (matches), N controlled players, A actions, M reward streams.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

ROLES = ("GK", "CB", "LB", "RB", "DM", "CM", "LM", "RM", "AM", "CF")
"""Player roles; the position in this tuple is the engine's number of the role."""

MAX_PLAYERS = 11
"""Players a side can have, and so the length of every per-player axis in the state arrays."""


@dataclass(frozen=True)
class Player:
    """One player of a line-up, in the view of his own team, which always attacks towards +x.

    Attributes:
        x: start position along the pitch, -1 (own goal line) to 1.
        y: start position across the pitch, -0.42 (top of the picture) to 0.42.
        role: one of `ROLES`.
        lazy: the built-in AI never moves him of its own accord.
        controllable: an agent may be given control of him.
    """

    x: float
    y: float
    role: str
    lazy: bool = False
    controllable: bool = True

    def __post_init__(self) -> None:
        if self.role not in ROLES:
            raise ValueError(f"no role {self.role!r}; there are {', '.join(ROLES)}")
        check_place(self.x, self.y, "a player")


def check_place(x: float, y: float, what: str) -> None:
    """Refuses places off the pitch and its surroundings, such as those given in metres."""
    if not (math.isfinite(x) and math.isfinite(y) and abs(x) <= 1.1 and abs(y) <= 0.5):
        raise ValueError(
            f"expected {what} on the pitch, x from -1 to 1 and y from -0.42 to 0.42 (or a little outside), got {x}, {y}"
        )


@dataclass(frozen=True)
class Scenario:
    """A football drill or match: who stands where, who is how strong, and when the episode ends.

    The fields carry the names and the meaning of the engine's own scenario configuration (gfootball 2.10.2).

    Attributes:
        name: the id, as in `touchline/<name>-v0`.
        left_team, right_team: 1 to 11 players each, each in his own team's view, the goalkeeper first.
        alternate_left_team, alternate_right_team: line-ups of every second episode (the kick-off side of the
            full matches alternates this way); None means the same line-ups in every episode.
        ball_position: (x, y) start of the ball, in the left team's view, x in [-1, 1], y in [-0.42, 0.42].
        left_team_difficulty, right_team_difficulty: strength of the built-in AI, 0 to 1.
        game_duration: steps (0.1 s each) on the clock; an episode lasts at most `game_duration + 1` steps.
        second_half: step at which the second half starts; the default is never.
        deterministic: the engine seed is always `game_engine_random_seed`, whatever seed a reset is given.
        control_all_players: agents must control either none or all of a side's controllable players.
        use_magnet: the engine pulls the active player towards the ball.
        description: one sentence for people.
    """

    name: str
    left_team: tuple[Player, ...]
    right_team: tuple[Player, ...]
    alternate_left_team: tuple[Player, ...] | None = None
    alternate_right_team: tuple[Player, ...] | None = None
    ball_position: tuple[float, float] = (0.0, 0.0)
    left_team_difficulty: float = 1.0
    right_team_difficulty: float = 0.6
    offsides: bool = True
    end_episode_on_score: bool = False
    end_episode_on_out_of_play: bool = False
    end_episode_on_possession_change: bool = False
    game_duration: int = 3000
    second_half: int = 999999999
    deterministic: bool = False
    game_engine_random_seed: int = 42
    control_all_players: bool = False
    use_magnet: bool = True
    description: str = ""

    def __post_init__(self) -> None:
        for side in ("left_team", "right_team", "alternate_left_team", "alternate_right_team"):
            team = getattr(self, side)
            if team is None:
                continue
            if not 1 <= len(team) <= MAX_PLAYERS:
                raise ValueError(f"{self.name}.{side}: expected 1 to {MAX_PLAYERS} players, got {len(team)}")
            if team[0].role != "GK":
                raise ValueError(
                    f"{self.name}.{side}: expected the goalkeeper (GK) first, without whom the engine never comes out "
                    f"of its first steps; got {team[0].role}"
                )
        if (self.alternate_left_team is None) != (self.alternate_right_team is None):
            raise ValueError(f"{self.name}: give alternate line-ups for both sides or for neither")
        for usual, other in zip(self.line_ups(0), self.line_ups(1), strict=True):
            if [player.controllable for player in usual] != [player.controllable for player in other]:
                raise ValueError(
                    f"{self.name}: expected as many players in a side's two line-ups, and the same ones controllable"
                )
        for side in ("left_team_difficulty", "right_team_difficulty"):
            if not 0.0 <= getattr(self, side) <= 1.0:
                raise ValueError(f"{self.name}.{side}: expected 0 to 1, got {getattr(self, side)}")
        if len(self.ball_position) != 2:
            raise ValueError(f"{self.name}.ball_position: expected (x, y), got {self.ball_position}")
        check_place(*self.ball_position, f"{self.name}.ball_position")
        for name, low, end in (
            ("game_duration", 1, 2**31),
            ("second_half", 1, 2**31),
            ("game_engine_random_seed", 0, 2**32),
        ):
            if not low <= getattr(self, name) < end:
                raise ValueError(f"{self.name}.{name}: expected {low} to {end - 1}, got {getattr(self, name)}")

    def line_ups(self, episode: int) -> tuple[tuple[Player, ...], tuple[Player, ...]]:
        """(left, right) line-ups of an episode, counted from 0 after a seeded reset."""
        if episode % 2 and self.alternate_left_team is not None and self.alternate_right_team is not None:
            return self.alternate_left_team, self.alternate_right_team
        return self.left_team, self.right_team

    def controllable(self, side: str) -> tuple[int, ...]:
        """Indices of a side's ("left" or "right") controllable players."""
        team = self.left_team if side == "left" else self.right_team
        return tuple(i for i, player in enumerate(team) if player.controllable)

    @property
    def sides_are_alike(self) -> bool:
        """A match: the ball in the middle, and equal teams, up to where they stand, with the same task."""
        left, right = (
            sorted((player.role, player.lazy, player.controllable) for player in team)
            for team in (self.left_team, self.right_team)
        )
        return left == right and self.ball_position == (0.0, 0.0) and not self.ends_by_clock_as_truncation

    @property
    def ends_by_clock_as_truncation(self) -> bool:
        """The clock of a drill truncates; the clock of a full match is the end of the game and terminates."""
        return self.end_episode_on_score or self.end_episode_on_out_of_play or self.end_episode_on_possession_change


@dataclass(frozen=True)
class Stream:
    """A named reward stream, with its own discount, value head and weight in the advantage.

    Attributes:
        name: "extrinsic", or the name of a bonus.
        gamma: discount per environment step.
        coef: weight of the stream's advantage in the policy's advantage.
        episodic: False lets the stream's return run on through ends of episodes (RND's intrinsic stream).
    """

    name: str
    gamma: float
    coef: float = 1.0
    episodic: bool = True

    def __post_init__(self) -> None:
        if not 0.0 <= self.gamma <= 1.0:
            raise ValueError(f"gamma of {self.name}: expected 0 to 1, got {self.gamma}")


@dataclass(frozen=True)
class EnvSpec:
    """What an agent needs to know of an environment: shapes and counts, no simulator.

    Attributes:
        observation_shape: shape of one observation of one player.
        observation_dtype: NumPy name of its type, "float32" or "uint8".
        num_actions: A, size of the discrete action set.
        num_players: N controlled players; arrays carry an N axis only if N > 1.
        stack: frames that an observation holds along its last axis, oldest first; a reset fills all with the first.
        features: where observations hold what, {name: places on their last axis, in the newest frame}; the names are
            in `FEATURES`, and an environment without football has none.
        central: numbers at the end of an observation that central critics alone read.
    """

    observation_shape: tuple[int, ...]
    observation_dtype: str
    num_actions: int
    num_players: int = 1
    stack: int = 1
    features: dict[str, tuple[int, ...]] = field(default_factory=dict)
    central: int = 0

    @property
    def own(self) -> EnvSpec:
        """The same without what central critics alone read: what a player sees."""
        shape = (*self.observation_shape[:-1], self.observation_shape[-1] - self.central)
        return replace(self, observation_shape=shape, central=0)


FEATURES = {
    "ball": "x and y of the ball, each in [-1, 1] on the pitch",
    "player": "x and y of the controlled player, each in [-1, 1] on the pitch",
    "own_team": "x and y of all eleven of the own team",
    "controlled": "which of the eleven is controlled, one-hot",
    "owner": "who owns the ball: nobody, own team, other team, one-hot; two numbers leave nobody out",
    "game_mode": "of the engine's seven, one-hot",
    "clocks": "what tells time, not place: steps left, score, tiredness, held actions, who is controlled",
    "ball_plane": "the picture's plane of the ball",
    "player_plane": "the picture's plane of the controlled player",
}
"""What `EnvSpec.features` may say of an observation's last axis."""
