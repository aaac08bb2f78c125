"""Commands that let policies compete."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import tyro

from touchline.commands.console import ProgressBar, report_training, say
from touchline.commands.fields import values


@dataclass(frozen=True)
class League:
    """Trains a team against scripted anchors and its own past, rates every generation and keeps the champion.

    The same command on the same folder goes on with a league that was stopped.
    """

    scenario: str = "5_vs_5"
    players: int | None = None
    """Controlled players a side; None is all that can be controlled."""
    preset: str = "ippo_cpu"
    total_steps: int = 10_000_000
    """Environment steps of the learning agent; exploiters and rated games come on top."""
    generation_steps: int = 500_000
    anchors: tuple[str, ...] = ("random", "chaser", "builtin_ai")
    """Scripted players who hold the scale of the ratings."""
    games: int = 8
    """Games of a rated pairing, half of them from either side."""
    rated_past: int = 2
    """Members of the pool that a new one plays rated games against."""
    capacity: int = 12
    """Past selves and exploiters kept in the pool."""
    exploiter_every: int = 0
    """Generations between exploiters, who learn to beat the newest self alone; 0 for none."""
    exploiter_steps: int = 500_000
    opponent_config: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    """How opponents are drawn, e.g. `--opponent-config latest_share=0.5` (fields in touchline/opponents.py)."""
    teacher: str | None = None
    """Who says what he would do while the team learns: a scripted name, a run directory or a Python file; see the
    preset ippo_taught."""
    agent_config: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    """A field of the agent's config, e.g. `--agent-config learning_rate=1e-4`."""
    train: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    """A field of the training's config, e.g. `--train num_envs=32` (fields in touchline/train_config.py)."""
    seed: int = 0
    num_threads: int | None = None
    out: str = "runs/league"
    quiet: bool = False
    """No progress bar, or lines of progress."""

    def run(self) -> int:
        from rich.markdown import Markdown

        from touchline import tracking
        from touchline.benchmarks import league

        options = {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.name != "quiet"}
        options |= {"train": values(self.train), "opponent_config": values(self.opponent_config)}
        given = {"agent_config": values(options.pop("agent_config")), "teacher": options.pop("teacher")}
        options["train"] |= {name: value for name, value in given.items() if value}
        config = league.LeagueConfig(**options)
        trackers = [] if self.quiet else [tracking.progress(config.total_steps)]
        result = league.run_league(config, trackers=trackers, tell=lambda text: say(Markdown(text)))
        report_training(result, go_on="the same command goes on")
        if Path(self.out, "champion").is_dir():  # a generation has been closed
            say(f"champion: {Path(self.out, 'champion')}   ratings: {Path(self.out, 'ratings.csv')}")
        return 130 if result["interrupted"] else 0


@dataclass(frozen=True)
class Tournament:
    """Lets policies play against each other, on both sides; a stopped tournament goes on with the same command."""

    policies: tyro.conf.Positional[tuple[str, ...]]
    """Run directories, SB3 zips, scripted names, builtin_ai:DIFFICULTY (0 to 1), Python files with act(observations),
    a Kaggle-style agent(obs) or make_actor(environment_spec) for Acme."""
    scenario: str = "5_vs_5"
    games: int = 4
    """Games of a pairing on each side; all of them run at once."""
    players: int | None = None
    """Controlled players a side; none is all that both sides have."""
    format: Literal["round_robin", "swiss"] = "round_robin"
    rounds: int | None = None
    """Of a Swiss tournament; none is enough to find a winner."""
    seed: int = 0
    """Number of the evaluation whose seeds are played; other numbers play other seeds."""
    time_limit: float = 10.0
    """Seconds that a file or zip has for one step of all its games, before it forfeits."""
    trust: bool = False
    """Load SB3 zips: they hold pickles, which can run any code."""
    replays: int = 1
    """Games of each pairing and side to keep as traces, for `touchline watch`."""
    out: Path = Path("runs/tournament")
    """Folder for games, tables and replays; games that are there are not played again."""
    num_threads: int | None = None

    def run(self) -> int:
        from rich.markup import escape

        from touchline.benchmarks import standings, tournament

        names = ("format", "games", "players", "rounds", "seed", "time_limit")
        settings = tournament.Settings(**{name: getattr(self, name) for name in names})
        try:
            with ProgressBar("tournament") as progress:
                result = tournament.run_tournament(
                    self.policies,
                    self.scenario,
                    settings,
                    out=self.out,
                    trust=self.trust,
                    replays=self.replays,
                    num_threads=self.num_threads,
                    progress=lambda what, share: progress(escape(what), share),
                )
        except KeyboardInterrupt:
            say(f"stopped; finished games are in {self.out}, and the same command goes on")
            return 130
        say(standings.rich_table(result.rows, result.title))
        for note in result.notes:
            say(note, markup=False, highlight=False)
        say(f"written: {', '.join(result.files)}")
        return 0
