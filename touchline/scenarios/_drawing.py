"""Scenarios for people: a picture of the start positions and a line of facts."""

from __future__ import annotations

from touchline.types import Player, Scenario

# Metres; a terminal cell is taken to be twice as high as it is wide.
_LENGTH, _WIDTH = 110.0, 72.0
_BOX_DEPTH, _BOX_HALF_WIDTH, _GOAL_HALF_WIDTH, _CIRCLE = 16.5, 20.15, 3.7, 9.15
_PLAYERS = {("left", False): "▶", ("right", False): "◀", ("left", True): "▷", ("right", True): "◁"}
_BALL = "●"
_MIN_WIDTH = 40


def draw(scenario: Scenario, width: int = 72) -> str:
    """A terminal drawing of the start positions, in the left team's view and at most `width` columns wide.

    Players point the way they attack. Whoever would share a cell is drawn in the nearest free one.
    Shown are the line-ups of even episodes.
    """
    if width < _MIN_WIDTH:
        raise ValueError(f"width: expected at least {_MIN_WIDTH} columns, got {width}")
    # Odd numbers both, for a spot in the middle; touchlines and goals take another 4 columns.
    columns = (width - 5) // 2 * 2 + 1
    rows = round(columns * _WIDTH / _LENGTH / 2) // 2 * 2 + 1
    grid = _pitch(columns, rows)
    taken: set[tuple[int, int]] = set()

    def put(x: float, y: float, glyph: str) -> None:
        """Position in scenario units; x from -1 to 1, y from -0.42 (top) to 0.42."""
        column, row = (x + 1) / 2 * (columns - 1), (y + 0.42) / 0.84 * (rows - 1)
        cells = ((r, c) for r in range(rows) for c in range(columns) if (r, c) not in taken)
        r, c = min(cells, key=lambda cell: (2 * abs(cell[0] - row)) ** 2 + (cell[1] - column) ** 2)
        taken.add((r, c))
        grid[r + 1][c + 2] = glyph

    for player in scenario.left_team:
        put(player.x, player.y, _PLAYERS["left", player.lazy])
    for player in scenario.right_team:
        put(-player.x, -player.y, _PLAYERS["right", player.lazy])
    put(*scenario.ball_position, _BALL)
    return "\n".join(["".join(row).rstrip() for row in grid] + [_legend(scenario)])


def _pitch(columns: int, rows: int) -> list[list[str]]:
    """The empty pitch: `rows + 2` lines of `columns + 4` cells, the lines of the pitch included."""
    grid = [[" "] * (columns + 4) for _ in range(rows + 2)]
    middle, centre = (rows + 1) // 2, (columns + 3) // 2
    per_metre = columns / _LENGTH
    for row in range(1, rows + 1):
        grid[row][1] = grid[row][-2] = "│"
        grid[row][centre] = "┊"
    for row, corners in ((0, "┌┐"), (rows + 1, "└┘")):
        grid[row][1:-1] = [corners[0], *"─" * columns, corners[1]]
        grid[row][centre] = "┬" if row == 0 else "┴"

    circle = _CIRCLE * per_metre
    for row in range(1, rows + 1):
        across = circle**2 - (2 * (row - middle)) ** 2
        if across >= 0:
            for side in (-1, 1):
                grid[row][centre + side * max(1, round(across**0.5))] = "·"

    depth = round(_BOX_DEPTH * per_metre)
    half = round(_BOX_HALF_WIDTH * per_metre / 2)
    for line, inward, joint, corners in ((1, 1, "├", "┐┘"), (columns + 2, -1, "┤", "┌└")):
        front = line + inward * depth
        for row, corner in ((middle - half, corners[0]), (middle + half, corners[1])):
            for column in range(line, front, inward):
                grid[row][column] = "─"
            grid[row][line], grid[row][front] = joint, corner
        for row in range(middle - half + 1, middle + half):
            grid[row][front] = "│"

    goal = max(1, round(_GOAL_HALF_WIDTH * per_metre / 2))
    for row in range(middle - goal, middle + goal + 1):
        grid[row][0] = grid[row][-1] = "▒"
        grid[row][1] = grid[row][-2] = "┃"
    return grid


def _legend(scenario: Scenario) -> str:
    parts = [f"▶ left {len(scenario.left_team)}", f"◀ right {len(scenario.right_team)}", f"{_BALL} ball"]
    if any(player.lazy for player in scenario.left_team + scenario.right_team):
        parts.insert(2, "▷ ◁ stand still")
    return " " + "   ".join(parts)


def describe(scenario: Scenario) -> str:
    """One line of facts: players a side, strength of the built-in AIs, duration, how it ends."""
    ends = [
        word
        for flag, word in (
            (scenario.end_episode_on_score, "a goal"),
            (scenario.end_episode_on_out_of_play, "ball out of play"),
            (scenario.end_episode_on_possession_change, "loss of the ball"),
        )
        if flag
    ]
    facts = [
        f"{_count(scenario.left_team)} v {_count(scenario.right_team)}",
        f"AI {scenario.left_team_difficulty:g} v {scenario.right_team_difficulty:g}",
        f"{scenario.game_duration} steps",
        "ends on " + ", ".join(ends) if ends else "ends by the clock",
    ]
    if scenario.second_half < scenario.game_duration:
        facts.append(f"second half at {scenario.second_half}")
    if scenario.alternate_left_team is not None:
        facts.append("line-ups alternate")
    if not scenario.offsides:
        facts.append("no offside")
    if scenario.deterministic:
        facts.append(f"engine seed always {scenario.game_engine_random_seed}")
    return " · ".join(facts)


def _count(team: tuple[Player, ...]) -> str:
    lazy = sum(player.lazy for player in team)
    return f"{len(team)} ({lazy} stand still)" if lazy else str(len(team))
