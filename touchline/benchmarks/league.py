"""A self-play league: one agent learns against scripted anchors and its own past; ratings tell whether it gets better.

After every generation the agent's policy joins the pool as a past self, plays rated games against the anchors and
some of the pool, and becomes champion if nobody who joined before had a higher conservative rating then. Every few
generations an exploiter may learn to beat the newest self alone and join the pool too (Vinyals et al. 2019, AlphaStar,
https://doi.org/10.1038/s41586-019-1724-z). The anchors play each other once, before anything is learned; then their
ratings stand still, so that the scale means the same at every generation.

A league's folder holds `main/` (a run directory), `champion/` (one that `evaluate`, `watch` and `tournament` take),
`anchors.json`, `ratings.csv` (a row a rated member and generation) and `league.md`.
"""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import combinations, cycle, islice
from pathlib import Path
from typing import Any

import numpy as np

from touchline import checkpoint, scenarios, training
from touchline.benchmarks import evaluate
from touchline.benchmarks.policies import ObservingPolicy, is_engine
from touchline.benchmarks.ratings import Ratings
from touchline.checkpoint import TrainedPolicy
from touchline.files import whole, write_text
from touchline.opponents import SELF, OpponentEnv
from touchline.run import Run
from touchline.tracking import Tracker, Update
from touchline.train_config import TrainConfig, config_of

FIRST_RATING_SEED = 100
"""Number of the evaluation whose seeds the anchors play; generation g plays those of number 100 + g, up to 799."""

OWN = ("scenario", "preset", "left", "right", "control", "opponent", "opponent_config", "total_steps", "seed", "out")
"""Fields of a training that a league sets itself."""


@dataclass(frozen=True)
class LeagueConfig:
    """What is played, by whom, for how long.

    Attributes:
        scenario: with controllable players on both sides.
        players: controlled players a side; None is all that can be controlled on the left.
        preset: of the learning agent.
        total_steps: environment steps of the learning agent; those of exploiters and rated games come on top.
        generation_steps: between two generations.
        anchors: scripted players who stay in the pool; `random` holds the scale.
        games: a rated pairing; half of them are played from either side, but the engine's AI always plays on the right.
        rated_past: past selves and exploiters that a new generation plays rated games against, drawn at random.
        capacity: past selves and exploiters kept in the pool; the champion always is.
        exploiter_every: generations between exploiters, 0 for none.
        exploiter_steps: environment steps that an exploiter learns.
        opponent_config: fields of `opponents.OpponentConfig`.
        train: fields of `TrainConfig` over the preset's, but for those that the league sets.
    """

    scenario: str = "5_vs_5"
    players: int | None = None
    preset: str = "ippo_cpu"
    total_steps: int = 10_000_000
    generation_steps: int = 500_000
    anchors: tuple[str, ...] = ("random", "chaser", "builtin_ai")
    games: int = 8
    rated_past: int = 2
    capacity: int = 12
    exploiter_every: int = 0
    exploiter_steps: int = 500_000
    seed: int = 0
    num_threads: int | None = None
    out: str = "runs/league"
    opponent_config: dict[str, Any] | None = None
    train: dict[str, Any] | None = None

    def __post_init__(self) -> None:
        if self.generation_steps < 1 or self.total_steps < self.generation_steps:
            raise ValueError(
                f"expected generation_steps from 1 to total_steps, got {self.generation_steps} and {self.total_steps}"
            )
        if self.games < 2 or self.games % 2:
            raise ValueError(f"expected an even number of games, half of them from either side, got {self.games}")
        if len(set(self.anchors)) != len(self.anchors) or not self.anchors:
            raise ValueError(f"expected different anchors, at least one, got {', '.join(self.anchors) or 'none'}")
        if set(self.opponent_config or {}) & {"snapshot_interval", "capacity"}:
            raise ValueError("opponent_config: a league's are generation_steps and capacity of its own")
        if own := sorted({*OWN, "num_threads"} & set(self.train or {})):
            raise ValueError(f"{', '.join(own)}: the league sets that of the training itself")
        config_of(TrainConfig, self.train or {})

    def train_config(self) -> TrainConfig:
        """The training of the main agent."""
        scenario = scenarios.load(self.scenario)
        players = self.players or len(scenario.controllable("left"))
        rules = {"snapshot_interval": self.generation_steps, "capacity": self.capacity, **(self.opponent_config or {})}
        return TrainConfig(
            scenario=self.scenario,
            preset=self.preset,
            left=players,
            right=players,
            control="fixed",
            opponent=(SELF, *self.anchors),
            opponent_config=rules,
            total_steps=self.total_steps,
            seed=self.seed,
            num_threads=self.num_threads,
            out=str(Path(self.out, "main")),
            **(self.train or {}),
        ).resolved()


def play(first: Any, second: Any, config: LeagueConfig, *, players: int, number: int) -> list[int]:
    """[games] goal differences of `first`: half of the games from the left, then the others from the right.

    Args:
        first, second: scripted names or policies; the engine's own AI, `builtin_ai`, plays all games on the right.
        number: of the evaluation whose seeds are played, the same ones from either side.
    """
    if is_engine(first) and not is_engine(second):
        return [-difference for difference in play(second, first, config, players=players, number=number)]
    legs = [(first, second, 1)] if is_engine(second) else [(first, second, 1), (second, first, -1)]
    games, differences = config.games // len(legs), []
    for home, away, sign in legs:
        result = evaluate.evaluate(
            home,
            config.scenario,
            episodes=games,
            seed=number,
            left=players,
            right=players,
            opponent=away,
            control="fixed",
            num_envs=games,
            num_threads=config.num_threads,
        )
        differences += [sign * int(row["goal_difference"]) for row in result.rows]
    return differences


class League:
    """What goes along with the main agent's training: generations, ratings, exploiters, the champion.

    Args:
        config: of the league.
        tell: called with the table of ratings, in words, after every generation.
    """

    def __init__(self, config: LeagueConfig, *, tell: Callable[[str], None] = lambda text: None) -> None:
        self.config, self.out, self.tell = config, Path(config.out), tell
        self.players = config.train_config().left
        self.generation, self.champion = 0, ""
        self._random = np.random.default_rng(config.seed)
        self.rows: list[dict[str, Any]] = []
        self.ratings = Ratings(self._anchors())
        for name in config.anchors:
            self.ratings.add(name)

    def _anchors(self) -> dict[str, float]:
        """{anchor: mu} from games among themselves, with `random` held; played once, then read from the folder."""
        path = self.out / "anchors.json"
        if path.exists() and set(mus := json.loads(path.read_text())) == set(self.config.anchors):
            return mus
        ratings = Ratings()
        for name in self.config.anchors:
            ratings.add(name)
        for first, second in combinations(self.config.anchors, 2):
            for difference in self._games(first, second, FIRST_RATING_SEED):
                ratings.record(first, second, difference)
        mus = {name: ratings.of(name).mu for name in self.config.anchors}
        write_text(path, json.dumps(mus, indent=1) + "\n")
        return mus

    def _games(self, first: Any, second: Any, number: int) -> list[int]:
        return play(first, second, self.config, players=self.players, number=number)

    def __call__(self, run: Run, update: Update) -> bool:
        """Whether a generation has been closed; it is, where a newer self has joined the pool."""
        if update.env_steps // self.config.generation_steps == self.generation:
            return False
        env: OpponentEnv = run.opponents[0]  # all have the same members
        newest = [member.name for member in env.pool.past if member.name.startswith(f"{SELF}-")][-1]
        self.generation = update.env_steps // self.config.generation_steps
        if newest == f"{SELF}-0" or any(row["member"] == newest for row in self.rows):
            return False  # random play before the training went beyond the end of a generation
        players = {member.name: self._policy(run, member.weights) for member in env.pool.past}
        self._rate(newest, players, update.env_steps)
        if self.config.exploiter_every and self.generation % self.config.exploiter_every == 0:
            name, weights = self._exploiter(run, env.pool[newest].weights)
            for one in run.opponents:
                one.pool.add(name, weights)
            players[name] = self._policy(run, weights)
            self._rate(name, players, update.env_steps)
        self._crown(run)
        self._write()
        return True

    def _policy(self, run: Run, weights: Mapping[str, Any]) -> ObservingPolicy:
        agent = run.opponents[0].make_agent()
        agent.load_policy(weights)
        policy = TrainedPolicy(agent, run.config, greedy=False, seed=self.config.seed)
        return ObservingPolicy(policy, "league")

    def _rate(self, name: str, players: Mapping[str, Any], env_steps: int) -> None:
        """Rated games of a new member against every anchor and some of the pool, with anchors in place of members that
        the pool does not have yet: ratings on joining rest on equally many games."""
        self.ratings.add(name)
        others = sorted(player for player in players if player != name and player in self.ratings.names)
        drawn = self._random.permutation(len(others))[: self.config.rated_past]
        past = [others[i] for i in drawn]
        missing = islice(cycle(self.config.anchors), self.config.rated_past - len(past))
        points: dict[str, list[float]] = {}
        for rival in (*self.config.anchors, *past, *missing):
            number = FIRST_RATING_SEED + 1 + (self.generation - 1) % 699
            differences = self._games(players[name], players.get(rival, rival), number)
            for difference in differences:
                self.ratings.record(name, rival, difference)
            points.setdefault(rival, []).extend((np.sign(difference) + 1) / 2 for difference in differences)
        rating = self.ratings.of(name)
        row = {"generation": self.generation, "env_steps": env_steps, "member": name}
        row |= {"mu": round(rating.mu, 3), "sigma": round(rating.sigma, 3), "ordinal": round(rating.ordinal, 3)}
        row |= {f"points_against_{rival}": float(np.mean(points[rival])) for rival in self.config.anchors}
        against_past = [float(np.mean(points[rival])) for rival in past]
        self.rows.append(row | {"points_against_past": float(np.mean(against_past)) if past else ""})

    def _exploiter(self, run: Run, weights: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
        """One that has learned, beginning as the newest self, to beat that one alone."""
        name = f"exploiter-{self.generation}"
        folder, target = self.out / "exploiters" / name, self.out / "exploiters" / f"target-{self.generation}"
        save_policy(target, run, weights)
        # Its only past self is the one it begins as: the target, which goes on playing as it does in the league.
        config = replace(
            run.config,
            opponent=(SELF,),
            opponent_config={"snapshot_interval": 10**15},
            init=str(target),
            teacher=None,
            stagger=0,
            total_steps=self.config.exploiter_steps,
            seed=run.config.seed + 1000 * self.generation,
            out=str(folder),
        )
        shutil.rmtree(folder, ignore_errors=True)  # of a league that was killed here
        if training.train(config)["interrupted"]:
            raise training.Stopped(f"{name} was stopped")
        agent = run.opponents[0].make_agent()
        agent.load_policy(checkpoint.load(folder / "checkpoint.pt")["agent"])
        return name, agent.policy_state()

    def _crown(self, run: Run) -> None:
        """Who had the highest conservative rating on joining is champion; it stays in the pool, its policy on disk.

        The rating on joining, because all have played equally many games then; later ones make the old more certain.
        """
        joined = {row["member"]: row["ordinal"] for row in self.rows}
        pools = [one.pool for one in run.opponents]
        best = max(pools[0].past, key=lambda member: joined.get(member.name, -np.inf))
        if best.name == self.champion:
            return
        for member in (member for pool in pools for member in pool.past):
            member.protected = member.name == best.name
        self.champion = best.name
        save_policy(self.out / "champion", run, best.weights)

    def table(self) -> str:
        """All that are rated, highest mu first, in Markdown."""
        lines = ["| member | mu - 3 sigma | mu | sigma |", "|---|---:|---:|---:|"]
        for name in sorted(self.ratings.names, key=lambda name: -self.ratings.of(name).mu):
            rating = self.ratings.of(name)
            if name in self.config.anchors:
                lines.append(f"| {name} (anchor) | | {rating.mu:.1f} | held |")
            else:
                mark = " (champion)" if name == self.champion else ""
                lines.append(f"| {name}{mark} | {rating.ordinal:.1f} | {rating.mu:.1f} | {rating.sigma:.1f} |")
        return "\n".join(lines) + "\n"

    def _write(self) -> None:
        names = list(dict.fromkeys(name for row in self.rows for name in row))
        with whole(self.out / "ratings.csv") as part, part.open("w", newline="") as file:
            writer = csv.DictWriter(file, names)
            writer.writeheader()
            writer.writerows(self.rows)
        title = f"League of {self.config.scenario}, generation {self.generation}\n\n"
        write_text(self.out / "league.md", title + self.table())
        self.tell(title + self.table())

    def state_dict(self) -> dict[str, Any]:
        plain = {
            "generation": self.generation,
            "champion": self.champion,
            "random": self._random.bit_generator.state,
            "rows": self.rows,
            "ratings": self.ratings.state_dict(),
        }
        return {"json": json.dumps(plain)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        plain = json.loads(state["json"])
        self.generation, self.champion, self.rows = plain["generation"], plain["champion"], plain["rows"]
        self._random.bit_generator.state = plain["random"]
        self.ratings.load_state_dict(plain["ratings"])


def save_policy(folder: Path, run: Run, weights: Mapping[str, Any]) -> None:
    """Writes a run directory that `load_policy` takes, with the policy of some weights and nothing else."""
    folder.mkdir(parents=True, exist_ok=True)
    checkpoint.save(folder / "checkpoint.pt", {**run.about(), "agent": dict(weights)})
    write_text(folder / "config.json", json.dumps(asdict(run.config), indent=2) + "\n")


def run_league(
    config: LeagueConfig,
    *,
    trackers: Sequence[Tracker] = (),
    tell: Callable[[str], None] = lambda text: None,
) -> dict[str, Any]:
    """Holds a league, or goes on with the one in `config.out`; the result is `training.train`'s.

    Raises:
        ValueError: the folder holds a league of another config.
    """
    out = Path(config.out)
    plain = json.dumps(asdict(config), indent=2) + "\n"
    settings = out / "league.json"
    main = Path(config.out, "main")
    if settings.exists() and json.loads(settings.read_text()) != json.loads(plain):
        if (main / "checkpoint.pt").exists():
            raise ValueError(f"{out} holds a league with other settings: see {settings}, or give another folder")
        (out / "anchors.json").unlink(missing_ok=True)  # of a league that never was
    league = League(config, tell=tell)  # which may refuse what the config names: the folder is not this league's yet
    write_text(settings, plain)
    if (main / "checkpoint.pt").exists():
        return training.resume(main, trackers=trackers, companions=[league])
    return training.train(config.train_config(), trackers=trackers, companions=[league])


def rating_rows(out: Path | str) -> Iterator[dict[str, str]]:
    """The rows of a league's `ratings.csv`."""
    with Path(out, "ratings.csv").open(newline="") as file:
        yield from csv.DictReader(file)
