"""What a tournament's games add up to: the log of games, tables, ratings, and the next round of a Swiss system.

Everything here is a function of the recorded games. Ratings depend on the order of games, so they take them sorted by
round, pairing, side and seed, whichever finished first.

A game is a win, a draw or a loss by its goals. Who forfeits loses 0:3; where both do, both lose 0:3, which moves
neither rating. Forfeits count in every table, like games.
"""

from __future__ import annotations

import csv
import io
import json
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from rich.markup import escape
from rich.table import Table

from touchline.benchmarks.evaluate import Estimate, mean, share
from touchline.benchmarks.ratings import Rating, Ratings, nash_averaging

FORFEIT_GOALS = 3
WIN_POINTS, DRAW_POINTS = 3, 1


@dataclass(frozen=True)
class Game:
    """One game, a line of games.jsonl.

    Attributes:
        round, pairing: from 1 and from 0; a pairing plays the same seeds in both legs.
        leg: 0 or 1, the sides are swapped between them.
        left, right: who played there.
        seed: the engine's.
        goals: of the left and the right side; of a forfeited game those it counts as.
        length: steps that were played.
        forfeits: {name: reason} of who could not play on.
    """

    round: int
    pairing: int
    leg: int
    left: str
    right: str
    seed: int
    goals: tuple[int, int]
    length: int
    forfeits: Mapping[str, str] = field(default_factory=dict)

    @property
    def key(self) -> tuple[int, int, int, int]:
        """What makes it this game, and its place in the order that ratings take."""
        return self.round, self.pairing, self.leg, self.seed

    @property
    def players(self) -> tuple[str, str]:
        """Left, right."""
        return self.left, self.right

    def difference(self, name: str) -> int:
        """Goal difference in the view of `name`; of a double forfeit -3 for both."""
        if name in self.forfeits:
            return -FORFEIT_GOALS
        if self.forfeits:
            return FORFEIT_GOALS
        difference = self.goals[0] - self.goals[1]
        return difference if name == self.left else -difference


def forfeited_goals(left: str, right: str, forfeits: Mapping[str, str]) -> tuple[int, int]:
    """What a forfeited game counts as: 0:3, and 0:0 where both forfeit (both have lost it all the same)."""
    if left in forfeits and right in forfeits:
        return 0, 0
    return (0, FORFEIT_GOALS) if left in forfeits else (FORFEIT_GOALS, 0)


# ---- the log -----------------------------------------------------------------------------------------------


class GameLog:
    """games.jsonl: a line a game, on the disk before the next one counts; a torn last line is dropped and cut off.

    Attributes:
        games: {key: game} of all that is recorded.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.games: dict[tuple[int, int, int, int], Game] = {}
        text = path.read_bytes() if path.exists() else b""
        whole = text.rfind(b"\n") + 1
        for number, line in enumerate(text[:whole].splitlines(), 1):
            game = _parsed(line, f"{path}, line {number}")
            self.games.setdefault(game.key, game)
        if whole < len(text):  # written while the power went
            os.truncate(path, whole)

    def append(self, games: Sequence[Game]) -> None:
        """Records games; those that are there already stay as they are."""
        new = [game for game in games if game.key not in self.games]
        if not new:
            return
        with self._path.open("ab") as file:
            file.write("".join(json.dumps(asdict(game), allow_nan=False) + "\n" for game in new).encode())
            file.flush()
            os.fsync(file.fileno())
        self.games |= {game.key: game for game in new}

    def in_order(self) -> list[Game]:
        """All games, sorted by round, pairing, leg and seed."""
        return [self.games[key] for key in sorted(self.games)]


def _parsed(line: bytes, where: str) -> Game:
    try:
        values = json.loads(line)
        return Game(**(values | {"goals": tuple(values["goals"])}))
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(f"{where} is no game ({error}); repair or remove it") from error


# ---- tables ------------------------------------------------------------------------------------------------


class Standing(NamedTuple):
    """A line of the table; `nash` is None where not everybody has met everybody."""

    rank: int
    name: str
    played: int
    wins: int
    draws: int
    losses: int
    points: int
    win_rate: Estimate
    goal_difference: Estimate
    rating: Rating
    nash: float | None
    forfeits: int


def rate(names: Sequence[str], games: Iterable[Game]) -> Ratings:
    """Ratings after all games, taken in their fixed order."""
    ratings = Ratings()
    for name in names:
        ratings.add(name)
    for game in sorted(games, key=lambda game: game.key):
        if len(game.forfeits) < 2:
            ratings.record(game.left, game.right, game.difference(game.left))
    return ratings


def cross_table(names: Sequence[str], games: Iterable[Game]) -> np.ndarray:
    """[K, K] mean goal difference a game of the row against the column; nan where they have not met."""
    return _matrix(names, games, float)


def payoffs(names: Sequence[str], games: Iterable[Game]) -> np.ndarray:
    """[K, K] share of games won less share lost, -1 to 1, row against column; nan where they have not met."""
    matrix = _matrix(names, games, np.sign)
    return (matrix - matrix.T) / 2  # a double forfeit is lost by both: it is worth nothing to either


def _matrix(names: Sequence[str], games: Iterable[Game], value: Any) -> np.ndarray:
    place = {name: i for i, name in enumerate(names)}
    total, count = np.zeros((len(names), len(names))), np.zeros((len(names), len(names)))
    for game in games:
        for own, other in (game.players, game.players[::-1]):
            total[place[own], place[other]] += value(game.difference(own))
            count[place[own], place[other]] += 1
    with np.errstate(invalid="ignore"):
        return total / np.where(count, count, np.nan)


def points_of(difference: int) -> int:
    """3 for a win, 1 for a draw."""
    return WIN_POINTS if difference > 0 else DRAW_POINTS if difference == 0 else 0


def scores(names: Sequence[str], games: Sequence[Game]) -> dict[str, tuple[int, int]]:
    """{name: (points, goal difference)}; a round without a game is a bye and worth a round of wins."""
    totals = {name: [0, 0] for name in names}
    for game in games:
        for name in game.players:
            totals[name][0] += points_of(game.difference(name))
            totals[name][1] += game.difference(name)
    for name, rounds in byes(names, games).items():
        for number in rounds:
            most = max(sum(name in g.players for g in games if g.round == number) for name in names)
            totals[name][0] += WIN_POINTS * most
    return {name: (points, goals) for name, (points, goals) in totals.items()}


def byes(names: Sequence[str], games: Sequence[Game]) -> dict[str, list[int]]:
    """{name: rounds in which the others played}."""
    seen = {(game.round, name) for game in games for name in game.players}
    rounds = sorted({game.round for game in games})
    return {name: [number for number in rounds if (number, name) not in seen] for name in names}


def standings(names: Sequence[str], games: Iterable[Game]) -> list[Standing]:
    """The table: by points, then goal difference, then rating, then name."""
    games = sorted(games, key=lambda game: game.key)  # sums of floats depend on their order too
    ratings, totals = rate(names, games), scores(names, games)
    matrix = payoffs(names, games)
    np.fill_diagonal(matrix, 0.0)
    nash = None if np.isnan(matrix).any() else nash_averaging(matrix)[0]
    order = sorted(names, key=lambda name: (*(-x for x in totals[name]), -ratings.of(name).ordinal, name))
    rows = []
    for rank, name in enumerate(order, 1):
        own = [game for game in games if name in game.players]
        differences = [game.difference(name) for game in own]
        rows.append(
            Standing(
                rank=rank,
                name=name,
                played=len(own),
                wins=sum(d > 0 for d in differences),
                draws=sum(d == 0 for d in differences),
                losses=sum(d < 0 for d in differences),
                points=totals[name][0],
                win_rate=share([d > 0 for d in differences]),
                goal_difference=mean(differences),
                rating=ratings.of(name),
                nash=None if nash is None else float(nash[list(names).index(name)]),
                forfeits=len({(game.round, game.pairing) for game in own if name in game.forfeits}),
            )
        )
    return rows


COLUMNS = (
    "rank",
    "policy",
    "games",
    "W/D/L",
    "points",
    "wins, %",
    "goal diff.",
    "rating",
    "ordinal",
    "Nash, %",
    "forfeits",
)
TERMINAL_COLUMNS = ("policy", "W/D/L", "points", "goal diff.", "rating", "Nash, %", "forfeits")
NOTE = (
    "Mean [95 % interval] of games: Wilson for wins, Student-t for goal differences. Points: 3 a win, 1 a draw. "
    "Rating: mu ± sigma (Plackett-Luce; `random` is pinned at 15 where it takes part), ordinal: mu - 3 sigma; games "
    "are rated in the order of round, pairing, side and seed. Nash: share in the maximum-entropy Nash mixture of wins "
    "less losses. Forfeits: pairings not played to their end; every unfinished game of such a pairing is lost 0:3."
)


def _cells(row: Standing) -> list[str]:
    return [
        str(row.rank),
        row.name,
        str(row.played),
        f"{row.wins}/{row.draws}/{row.losses}",
        str(row.points),
        _with_interval(row.win_rate, lambda x: f"{100 * x:.1f}"),
        _with_interval(row.goal_difference, lambda x: f"{x:+.2f}"),
        f"{row.rating.mu:.1f} ± {row.rating.sigma:.1f}",
        f"{row.rating.ordinal:.1f}",
        "-" if row.nash is None else f"{100 * row.nash:.1f}",
        str(row.forfeits),
    ]


def _with_interval(estimate: Estimate, show: Any) -> str:
    if math.isnan(estimate.value):
        return "-"
    value, low, high = map(show, estimate)
    return value if math.isnan(estimate.low) else f"{value} [{low}, {high}]"


def rich_table(rows: Sequence[Standing], title: str) -> Table:
    """The table for a terminal, without what fits into a file only."""
    shown = [COLUMNS.index(name) for name in TERMINAL_COLUMNS]
    out = Table(*TERMINAL_COLUMNS, title=title, caption=NOTE)
    for column in out.columns:
        column.justify = "left" if column.header == "policy" else "right"
        column.no_wrap = column.header in ("policy", "W/D/L", "rating")
        column.min_width = max(map(len, column.header.split()))
    for row in rows:
        cells = _cells(row)
        out.add_row(*(escape(cells[place]) for place in shown))
    return out


def table_markdown(rows: Sequence[Standing]) -> str:
    """The table as Markdown."""
    return _markdown(COLUMNS, [_cells(row) for row in rows])


def table_csv(rows: Sequence[Standing]) -> str:
    """The table with all digits; intervals, mu and sigma in columns of their own."""
    header = ["rank", "policy", "played", "wins", "draws", "losses", "points"]
    header += [f"{name}{end}" for name in ("win_rate", "goal_difference") for end in ("", "_low", "_high")]
    header += ["mu", "sigma", "ordinal", "nash", "forfeits"]
    lines = []
    for row in rows:
        numbers = [*row.win_rate, *row.goal_difference, *row.rating, row.rating.ordinal, row.nash]
        lines.append([*row[:7], *map(_number, numbers), row.forfeits])
    return _csv(header, lines)


def cross_table_markdown(names: Sequence[str], matrix: np.ndarray) -> str:
    """[K, K] mean goal differences as Markdown, the row's view."""
    rows = [[name, *(_signed(x) for x in line)] for name, line in zip(names, matrix, strict=True)]
    return _markdown(("row against column", *names), rows)


def cross_table_csv(names: Sequence[str], matrix: np.ndarray) -> str:
    """The same as CSV."""
    return _csv(["policy", *names], [[n, *map(_number, line)] for n, line in zip(names, matrix, strict=True)])


def _signed(value: float) -> str:
    return "" if math.isnan(value) else f"{value:+.2f}"


def _number(value: float | None) -> str:
    return "" if value is None or math.isnan(value) else f"{value:.6g}"


def _csv(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows([header, *rows])
    return out.getvalue()


def _markdown(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
    return "".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |\n" for line in lines)


# ---- Swiss system ------------------------------------------------------------------------------------------


def swiss_pairings(names: Sequence[str], games: Sequence[Game]) -> list[tuple[str, str]]:
    """The next round: neighbours in the table meet who have not met before; of an odd number the lowest has a bye.

    Nobody has a second bye before everyone has had one. There is always such a round while no more than K // 2 rounds
    are played, K players: everybody then has at least half of the others left to meet (Dirac's theorem).

    Raises:
        ValueError: everybody cannot be paired without a rematch.
    """
    totals, rested = scores(names, games), byes(names, games)
    seat = {name: i for i, name in enumerate(names)}
    order = sorted(names, key=lambda name: (-totals[name][0], -totals[name][1], seat[name]))
    met = {frozenset(game.players) for game in games}
    resting: list[str | None] = [None]
    if len(order) % 2:
        resting = sorted(order, key=lambda name: (len(rested[name]), -order.index(name)))
    for name in resting:
        pairings = _matching([other for other in order if other != name], met)
        if pairings is not None:
            return pairings
    raise ValueError("no further round without a rematch; play fewer rounds, or round_robin")


def _matching(order: Sequence[str], met: set[frozenset[str]]) -> list[tuple[str, str]] | None:
    """The first meets the next he has not met for whom the rest can be paired too."""
    if not order:
        return []
    first, *others = order
    for other in others:
        if frozenset((first, other)) not in met:
            rest = _matching([name for name in others if name != other], met)
            if rest is not None:
                return [(first, other), *rest]
    return None
