"""Five scripted teams with styles of their own, the fixed anchors of a rating scale.

They are functions of the state and of a small memory (which kick is under way, who is the striker) and draw no
random numbers. They drive any N players of either side; distances are in metres in the side's own view (see
`parts.pitch_view`). A goalkeeper driven by an agent guards his goal, except among chasers.
"""

from __future__ import annotations

import numpy as np

from touchline.agents.parts.pitch_view import (
    GOAL,
    HALF_WIDTH,
    HIGH_PASS,
    IDLE,
    LONG_PASS,
    SHORT_PASS,
    SHOT,
    Kicks,
    State,
    View,
    aim,
    distance,
    faces,
    free_mate,
    meeting_point,
    nearest_agent,
    nearest_opponent,
    offside_line,
    rank_across,
    run_to,
    spread,
    take_set_piece,
    view_of,
)


def _on_pitch(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Points [..., 2] of x and y, kept on the pitch."""
    x, y = np.broadcast_arrays(x, y)
    return np.stack([np.clip(x, -53.0, 53.0), np.clip(y, 2.0 - HALF_WIDTH, HALF_WIDTH - 2.0)], axis=-1)


def _run_and_shoot(view: View, shot_range: float) -> tuple[np.ndarray, np.ndarray]:
    """Moves and kick keys [B, N] of whoever has the ball: sprint at the goal, shoot within `shot_range` metres."""
    goal = np.broadcast_to(GOAL, view.position.shape)
    shoot = view.carrying & (distance(view.position, goal) < shot_range)
    moves = np.where(shoot, aim(view, goal), run_to(view, goal, arrive=0.0))
    return moves, np.where(shoot & faces(view, goal), SHOT, IDLE).astype(np.int32)


def _finish(view: View, kicks: Kicks, moves: np.ndarray, key: np.ndarray, steps: int | np.ndarray = 1) -> np.ndarray:
    """Actions [B, N] int32: set pieces, the kicks under way, and nothing for agents without a player."""
    moves, key = take_set_piece(view, moves, key)
    steps = np.where(view.taking, 1, steps)
    actions = kicks.press(view, moves, np.where(view.present, key, IDLE), steps)
    return np.where(view.present, actions, IDLE).astype(np.int32)


def _guard(view: View, targets: np.ndarray) -> np.ndarray:
    """`targets` [B, N, 2] with the goalkeepers four metres before their goal, on the ball's side."""
    to_ball = view.ball + GOAL
    length = np.maximum(distance(view.ball, -GOAL), 1e-9)[:, None]
    spot = to_ball / length * np.minimum(length, 4.0) - GOAL
    return np.where(view.keeper[..., None], spot[:, None], targets)


def _chance(view: View) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Who has the ball with nobody but a keeper off his line before him, [B, N] bool.

    Also that keeper's place, [B, 1, 2] metres, and the direction from each agent to the goal, [B, N, 2] of length 1.
    """
    keeper = view.opponents[:, :1]
    goal = np.broadcast_to(GOAL, view.position.shape)
    gap = distance(view.position, goal)
    ahead = (goal - view.position) / np.maximum(gap, 1e-9)[..., None]
    to_opponent = view.opponents[:, None] - view.position[:, :, None]  # [B, N, P, 2]
    along = (to_opponent * ahead[:, :, None]).sum(axis=-1)
    beside = np.abs(to_opponent[..., 1] * ahead[:, :, None, 0] - to_opponent[..., 0] * ahead[:, :, None, 1])
    in_the_way = view.opponent_here[:, None] & (along > 0) & (along < gap[..., None]) & (beside < 3.0)
    in_the_way[..., 0] = False
    central = np.abs(view.position[..., 1]) < GOAL[0] - view.position[..., 0]
    off_line = view.opponent_here[:, :1] & (distance(keeper, GOAL) > 5.0)
    chance = view.carrying & ~in_the_way.any(axis=2) & central & off_line & (gap > 9.0) & (gap < 42.0)
    return chance & (distance(view.position, keeper) < 30.0), keeper, ahead


class _Team:
    """What the teams share: their number of agents and the kicks under way."""

    action_set = "default"

    def __init__(self, num_players: int) -> None:
        self.num_players = num_players
        self._kicks = Kicks(num_players)

    def begin(self, mask: np.ndarray, seeds: np.ndarray) -> None:
        """Forgets what was under way in the matches in `mask` [B] bool."""
        self._kicks.begin(mask)

    def played(self, actions: np.ndarray) -> None:
        """Tells which actions [B, N] the agents really took after `act`, if not those (a teacher's pupils)."""
        self._kicks.played(actions)


class Chaser(_Team):
    """Every agent sprints at the ball all the time; who has it sprints at the goal and shoots from 16 metres."""

    def __init__(self, num_players: int = 1, *, shot_range: float = 16.0) -> None:
        super().__init__(num_players)
        self.shot_range = shot_range

    def act(self, state: State, side: str) -> np.ndarray:
        """[B, N] int32."""
        view = view_of(state, side, self.num_players)
        chase = run_to(view, meeting_point(view), arrive=0.0)
        attack, key = _run_and_shoot(view, self.shot_range)
        return _finish(view, self._kicks, np.where(view.carrying, attack, chase), key)


class KeeperRush(_Team):
    """The nearest agent presses the ball, the others stand in a compact line between it and the own goal.

    With the ball the agent sprints at the goal and shoots early, from 24 metres.
    """

    def __init__(
        self, num_players: int = 1, *, shot_range: float = 24.0, line_gap: float = 6.0, line_depth: float = 10.0
    ) -> None:
        super().__init__(num_players)
        self.shot_range = shot_range
        self.line_gap = line_gap
        self.line_depth = line_depth

    def act(self, state: State, side: str) -> np.ndarray:
        """[B, N] int32."""
        view = view_of(state, side, self.num_players)
        presser = nearest_agent(view, view.present & ~view.keeper)
        # The line's middle lies on the way from the ball to the own goal; close to the goal it stands on it.
        to_goal = -GOAL - view.ball
        length = np.maximum(distance(view.ball, -GOAL), 1e-9)[:, None]
        middle = view.ball + to_goal / length * np.minimum(self.line_depth, 0.6 * length)
        offset = spread(view, view.present & ~presser & ~view.keeper, self.line_gap)
        line = _on_pitch(middle[:, None, 0], middle[:, None, 1] + offset)
        target = np.where(presser[..., None], meeting_point(view), _guard(view, line))
        defend = run_to(view, target, sprint=distance(view.position, target) > 4.0)
        defend = np.where(presser, run_to(view, target, arrive=0.0), defend)
        attack, key, steps = self._attack(view)
        return _finish(view, self._kicks, np.where(view.carrying, attack, defend), key, steps)

    def _attack(self, view: View) -> tuple[np.ndarray, np.ndarray, np.ndarray | int]:
        """Moves and kick keys [B, N] of whoever has the ball, and for how many steps he holds the key."""
        return *_run_and_shoot(view, self.shot_range), 1


class Finisher(KeeperRush):
    """As `KeeperRush`, but alone before a goalkeeper who comes out the owner runs past him at an angle, and shoots.

    A keeper runs out at whoever comes alone, and then saves what is shot straight at him. Here the owner turns away
    from him, by `angle` degrees, and shoots early, while the keeper is `shot_gap` metres away: when foot meets ball
    he is near, the goal behind him is empty, and the ball passes at his side. What a policy trained on
    `academy_run_to_score_with_keeper` does was the model.
    """

    def __init__(
        self,
        num_players: int = 1,
        *,
        shot_range: float = 24.0,
        line_gap: float = 6.0,
        line_depth: float = 10.0,
        shot_gap: float = 18.0,
        angle: float = 45.0,
        press: int = 2,
    ) -> None:
        super().__init__(num_players, shot_range=shot_range, line_gap=line_gap, line_depth=line_depth)
        self.shot_gap = shot_gap
        self.angle = angle
        self.press = press
        self._side = np.zeros((0, num_players))  # that the owner passes the keeper on, 0 while there is no chance

    def begin(self, mask: np.ndarray, seeds: np.ndarray) -> None:
        """Forgets the kicks and chances of the matches in `mask` [B] bool."""
        super().begin(mask, seeds)
        if len(mask) == len(self._side):
            self._side[mask] = 0.0

    def _attack(self, view: View) -> tuple[np.ndarray, np.ndarray, np.ndarray | int]:
        moves, key, steps = super()._attack(view)
        chance, keeper, ahead = _chance(view)
        if len(self._side) != len(chance):
            self._side = np.zeros(chance.shape)
        to_keeper = keeper - view.position
        beside = to_keeper[..., 1] * ahead[..., 0] - to_keeper[..., 0] * ahead[..., 1]
        # Away from the keeper; from one who is straight ahead, away from the middle of the pitch.
        away = np.where(np.abs(beside) > 0.3, -np.sign(beside), np.where(view.position[..., 1] <= 0, -1.0, 1.0))
        self._side = np.where(chance, np.where(self._side == 0, away, self._side), 0.0)
        turn = np.radians(self.angle) * self._side
        way = np.stack(
            [
                ahead[..., 0] * np.cos(turn) - ahead[..., 1] * np.sin(turn),
                ahead[..., 0] * np.sin(turn) + ahead[..., 1] * np.cos(turn),
            ],
            axis=-1,
        )
        past = run_to(view, view.position + 10.0 * way, arrive=0.0)
        shoot = chance & (distance(keeper, view.position) < self.shot_gap)
        moves = np.where(chance, past, moves)
        key = np.where(chance, np.where(shoot, SHOT, IDLE), key).astype(np.int32)
        return moves, key, np.where(chance, self.press, steps)


class LongBall(_Team):
    """One striker waits at the opponent's last line and gets the ball high and long; the others hold their places.

    The owner plays to him from the own half or when an opponent is within `pressed` metres, and otherwise runs and
    shoots. Without the ball the nearest of the others chases it. The striker is the most advanced agent of the first
    state of an episode.
    """

    def __init__(self, num_players: int = 1, *, shot_range: float = 20.0, pressed: float = 4.0) -> None:
        super().__init__(num_players)
        self.shot_range = shot_range
        self.pressed = pressed
        self._striker = np.zeros(0, np.int64)
        self._clock = np.zeros(0, np.int64)

    def begin(self, mask: np.ndarray, seeds: np.ndarray) -> None:
        """Forgets the strikers and the kicks of the matches in `mask` [B] bool."""
        super().begin(mask, seeds)
        if len(mask) == len(self._striker):
            self._striker[mask] = -1

    def _strikers(self, view: View) -> np.ndarray:
        """[B, N] bool; a side with a single agent has none."""
        if len(self._striker) != len(view.ball):
            self._striker = np.full(len(view.ball), -1)
            self._clock = view.steps_left + 1
        fit = view.present & ~view.keeper
        everyone = np.arange(self.num_players)
        gone = ~(fit & (everyone == self._striker[:, None])).any(axis=1) | (view.steps_left >= self._clock)
        self._clock = view.steps_left.copy()
        most_advanced = np.where(fit, view.position[..., 0], -np.inf).argmax(axis=1)
        self._striker = np.where(gone, most_advanced, self._striker)
        return fit & (everyone == self._striker[:, None]) & (fit.sum(axis=1, keepdims=True) > 1)

    def act(self, state: State, side: str) -> np.ndarray:
        """[B, N] int32."""
        view = view_of(state, side, self.num_players)
        striker = self._strikers(view)
        others = view.present & ~striker & ~view.keeper
        # He goes for what comes near him; the long balls are his.
        his_ball = striker & (distance(view.position, meeting_point(view)) < 12.0)
        carried = view.carrying.any(axis=1, keepdims=True)
        his_ball &= view.attacking[:, None] & ~carried
        chasing = nearest_agent(view, others) & ~carried

        depth = np.clip(0.4 * view.ball[:, :1] - 20.0, -44.0, 5.0)
        post = _on_pitch(depth, spread(view, others & ~chasing, 16.0) + 0.3 * view.ball[:, 1:])
        wait = _on_pitch(offside_line(view)[:, None] - 1.5, np.clip(view.ball[:, 1:], -12.0, 12.0))
        target = _guard(view, np.where(striker[..., None], wait, post))
        hunting = chasing | his_ball
        target = np.where(hunting[..., None], meeting_point(view), target)
        walk = run_to(view, target, sprint=hunting | (distance(view.position, target) > 6.0))
        moves = np.where(hunting, run_to(view, target, arrive=0.0), walk)

        attack, key = _run_and_shoot(view, self.shot_range)
        moves = np.where(view.carrying, attack, moves)
        place = np.where(striker[..., None], view.position, 0.0).sum(axis=1)[:, None]
        up_front = np.broadcast_to(place, view.position.shape)
        way = distance(view.position, up_front)
        away = (view.position[..., 0] < 0.0) | (nearest_opponent(view, view.position) < self.pressed)
        far = view.carrying & ~striker & striker.any(axis=1, keepdims=True) & away & (way > 10.0)
        far &= (key == IDLE) & (up_front[..., 0] > view.position[..., 0])
        kick = np.where(way > 18.0, HIGH_PASS, LONG_PASS)
        moves = np.where(far, aim(view, up_front), moves)
        key = np.where(far & faces(view, up_front), kick, key)
        # Longer presses look for the mate further away: about 11, 21 and 28 metres.
        steps = np.where(far, np.clip(np.rint(way / 10.0), 1, 3), 1).astype(np.int64)
        return _finish(view, self._kicks, moves, key, steps)


class Possession(_Team):
    """Short passes: the owner plays to a free mate ahead when an opponent is near, else runs on; shoots in range.

    The team-mates spread across the pitch around the ball, by turns ahead of it and behind it, and step away from
    their markers. Without the ball the nearest presses and the others close the space between ball and goal.
    """

    def __init__(self, num_players: int = 1, *, shot_range: float = 16.0, pressed: float = 8.0) -> None:
        super().__init__(num_players)
        self.shot_range = shot_range
        self.pressed = pressed

    def _offer(self, view: View, others: np.ndarray) -> np.ndarray:
        """[B, N, 2] metres: places around the ball, onside, away from the nearest opponent."""
        place, _ = rank_across(view, others)
        x = view.ball[:, :1] + np.where(place % 2 == 0, 11.0, -8.0)
        y = 0.6 * view.ball[:, 1:] + spread(view, others, 14.0)
        gaps = distance(view.position[:, :, None], view.opponents[:, None])
        gaps = np.where(view.opponent_here[:, None], gaps, np.inf)
        marker = np.take_along_axis(view.opponents, gaps.argmin(axis=2)[..., None], axis=1)
        gap = gaps.min(axis=2)
        push = np.where(gap < 6.0, 6.0 - np.minimum(gap, 6.0), 0.0) / np.maximum(gap, 0.5)
        step = (view.position - marker) * push[..., None]
        onside = np.minimum(x + step[..., 0], offside_line(view)[:, None] - 1.0)
        return _on_pitch(onside, y + step[..., 1])

    def act(self, state: State, side: str) -> np.ndarray:
        """[B, N] int32."""
        view = view_of(state, side, self.num_players)
        field = view.present & ~view.keeper
        carried = view.carrying.any(axis=1, keepdims=True)
        presser = nearest_agent(view, field) & ~carried
        others = field & ~presser & ~view.carrying
        middle = 0.5 * view.ball - 0.5 * GOAL
        block = _on_pitch(middle[:, :1], middle[:, 1:] + spread(view, others, 9.0))
        target = np.where(view.attacking[:, None, None], self._offer(view, others), block)
        target = np.where(presser[..., None], meeting_point(view), _guard(view, target))
        moves = run_to(view, target, sprint=distance(view.position, target) > 5.0)
        moves = np.where(presser, run_to(view, target, arrive=0.0), moves)

        attack, key = _run_and_shoot(view, self.shot_range)
        moves = np.where(view.carrying, attack, moves)
        near = view.carrying & (nearest_opponent(view, view.position) < self.pressed) & (key == IDLE)
        if not near.any():
            return _finish(view, self._kicks, moves, key)
        mate, found = free_mate(view, near=5.0, far=28.0, ahead=0.0, room=3.0, lane=1.5)
        give = near & found
        moves = np.where(give, aim(view, mate), moves)
        key = np.where(give & faces(view, mate), SHORT_PASS, key)
        length = distance(view.position, mate)
        return _finish(view, self._kicks, moves, key, np.where(give & (length > 12.0), 2, 1))
