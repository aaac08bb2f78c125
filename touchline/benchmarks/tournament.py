"""Competitions between any mix of policies on the real engine: round robin or Swiss, both sides, resumable.

Rules:

- Every pairing plays two legs with the sides swapped, each of `games` games on the same held-out seeds (those of
  `evaluate.py`). All games of a leg run at once in one vector environment, and a game is one episode.
- `players` agents a side, all that both sides have unless told otherwise, each the same player for the whole game
  (`control="fixed"`); those not controlled are the engine's own. Each side sees the observation it asks for.
- `builtin_ai` leaves the players of its side to the engine at the scenario's difficulty, `builtin_ai:0.05` at 0.05.
- Policies are loaded anew for every pairing. One that crashes, takes too long or answers rubbish forfeits all games
  of the pairing that are not finished, and loses them 0:3. It may try again in later pairings until it has forfeited
  `max_forfeits` of them; the rest it forfeits unplayed.
- A finished game is on the disk before the next step. The same call goes on where a killed one stopped; a pairing that
  was cut off is played again as a whole, since a policy's answers may depend on its batch, and only what is missing of
  it is recorded.

Files in `out`: tournament.json (settings, policies, commit, machine), games.jsonl, table.md, table.csv, cross_table.md,
.csv and .png (with matplotlib), replays/ and logs/ (what users' code printed).
"""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import json
import math
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from touchline import scenarios, trained
from touchline.agents import scripted
from touchline.benchmarks import standings as tables
from touchline.benchmarks.curiosity_audit import commit_name
from touchline.benchmarks.evaluate import evaluation_seeds
from touchline.benchmarks.heat_map import draw_heat_map
from touchline.benchmarks.isolation import Forfeit, GuardedPolicy, blaming, load_guarded
from touchline.benchmarks.policies import FORMS, engine_difficulty, is_engine, kind_of, require_trust, zip_of
from touchline.benchmarks.standings import Game, GameLog, Standing
from touchline.benchmarks.throughput import machine_name
from touchline.envs.control import CONTROL_MODES
from touchline.envs.side_view import SIDES, SideView
from touchline.files import write_text
from touchline.processes import alone
from touchline.replay import Replay, ReplayWriter
from touchline.types import Scenario

FORMATS = ("round_robin", "swiss")
Progress = Callable[[str, float], None]


@dataclass(frozen=True)
class Settings:
    """What decides the games of a tournament, beside its policies and its scenario.

    Attributes:
        format: "round_robin", everybody meets everybody; "swiss", `rounds` rounds between neighbours in the table.
        games: in each of a pairing's two legs.
        players: agents a side; None is all that both sides can have controlled.
        rounds: of a Swiss tournament, at most half the number of policies; None is enough to find a winner.
        seed: number of the evaluation whose seeds are played, 0 to 999.
        control: "fixed" or "upstream", see `envs/control.py`.
        time_limit: seconds that a policy in a process of its own has for one step of all its games.
        load_limit: seconds that it has to start.
        max_forfeits: pairings that a policy may forfeit before the rest is forfeited unplayed.
    """

    format: str = "round_robin"
    games: int = 4
    players: int | None = None
    rounds: int | None = None
    seed: int = 0
    control: str = "fixed"
    time_limit: float = 10.0
    load_limit: float = 60.0
    max_forfeits: int = 2
    backend: str = "gfootball"

    def __post_init__(self) -> None:
        if self.format not in FORMATS:
            raise ValueError(f"no format {self.format!r}; there are {', '.join(FORMATS)}")
        if self.control not in CONTROL_MODES:
            raise ValueError(f"no control mode {self.control!r}; there are {', '.join(CONTROL_MODES)}")
        for name in ("games", "players", "rounds", "max_forfeits"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"expected {name} of at least 1, got {value}")
        if self.time_limit <= 0 or self.load_limit <= 0:
            raise ValueError(f"expected limits above 0 seconds, got {self.time_limit} and {self.load_limit}")
        if self.format != "swiss" and self.rounds is not None:
            raise ValueError(f"rounds belong to the swiss format, got rounds={self.rounds} in {self.format}")
        evaluation_seeds(self.seed, self.games)

    def resolved(self, scenario: Scenario, count: int) -> Settings:
        """The same with `players` and `rounds` filled in, for `count` policies."""
        available = {side: len(scenario.controllable(side)) for side in SIDES}
        most = min(available.values())
        if most < 1:
            raise ValueError(
                f"{scenario.name} has {available['left']} controllable players on the left and {available['right']} on "
                "the right; a tournament needs a scenario in which both sides can be played"
            )
        players = most if self.players is None else self.players
        if players > most:
            raise ValueError(f"{scenario.name}: expected at most {most} players, which both sides have, got {players}")
        rounds = self.rounds
        if self.format == "swiss":
            rounds = rounds or max(1, min(math.ceil(math.log2(count)), count // 2))
            if rounds > count // 2:
                raise ValueError(
                    f"expected at most {count // 2} rounds, got {rounds}: with more, {count} policies may have to "
                    "meet again; play round_robin"
                )
        return dataclasses.replace(self, players=players, rounds=rounds)


@dataclass(frozen=True)
class Participant:
    """Who takes part.

    Attributes:
        name: what tables call it.
        spec: what `load_policy` takes.
        difficulty: of the built-in AI on its side, 0 to 1; None is the one of the scenario's right team on either side.
        digest: of the file it was loaded from, so that a resumed tournament notices a change; None for scripts.
    """

    name: str
    spec: str
    difficulty: float | None = None
    digest: str | None = None


@dataclass(frozen=True)
class TournamentResult:
    """What a tournament came to; `notes` are for people, `files` are what was written."""

    title: str
    rows: tuple[Standing, ...]
    games: tuple[Game, ...]
    notes: tuple[str, ...]
    files: tuple[str, ...]


def participants(policies: Sequence[str | Path]) -> list[Participant]:
    """Who the words of a command name: what `load_policy` takes, and `builtin_ai:DIFFICULTY`."""
    texts = [str(policy) for policy in policies]
    if len(texts) < 2:
        raise ValueError(f"expected at least 2 policies, got {len(texts)}")
    levels = [engine_difficulty(text) if is_engine(text) else None for text in texts]
    specs = [text if level is None else text.partition(":")[0] for text, level in zip(texts, levels, strict=True)]
    same: dict[tuple[str | Path, float | None], list[str]] = {}
    for text, spec, difficulty in zip(texts, specs, levels, strict=True):
        same.setdefault((_place(spec), difficulty), []).append(text)
    if twice := [" and ".join(dict.fromkeys(spelt)) for spelt in same.values() if len(spelt) > 1]:
        raise ValueError(f"{', '.join(twice)}: named twice; a policy does not play against itself")
    short = Counter(Path(text).name for text in texts)
    out = []
    for text, spec, difficulty in zip(texts, specs, levels, strict=True):
        name = Path(text).name
        if short[name] > 1 or (name in scripted.NAMES and kind_of(spec) != "script"):
            name = text  # a folder called `random` is not the anchor of that name
        out.append(Participant(name, spec, difficulty, _digest(spec)))
    return out


def _place(spec: str) -> str | Path:
    """Where a policy lies, however that is spelt; a script's name."""
    return spec if kind_of(spec) == "script" else zip_of(trained.located(spec)).resolve()


def _digest(spec: str) -> str | None:
    kind = kind_of(spec)
    if kind == "script":
        return None
    path = trained.located(spec) / "checkpoint.pt" if kind == "run" else zip_of(spec)
    if not path.is_file():
        raise ValueError(f"{spec} holds no checkpoint.pt; expected {FORMS}")
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]


def run_tournament(
    policies: Sequence[str | Path],
    scenario: str | Scenario = "5_vs_5",
    settings: Settings | None = None,
    *,
    out: str | Path,
    trust: bool = False,
    replays: int = 1,
    num_threads: int | None = None,
    progress: Progress | None = None,
) -> TournamentResult:
    """Plays all games that `out` does not hold yet, and writes the tables; the module's text has the rules.

    Args:
        policies: run directories, SB3 zips, scripted names, `builtin_ai:DIFFICULTY`, Python files.
        out: a folder; one that holds a tournament must hold this one.
        trust: load SB3 zips, which hold pickles.
        replays: first games of every leg that are kept as traces.
        num_threads: threads that step the matches; no result depends on it.
        progress: is told who plays, and the share of games done.

    Raises:
        ValueError: a policy does not exist, or `out` holds another tournament.
    """
    if replays < 0:
        raise ValueError(f"expected 0 or more replays, got {replays}")
    people = participants(policies)
    for person in people:
        if kind_of(person.spec) == "zip":
            require_trust(person.spec, trust)
    scenario = scenario if isinstance(scenario, Scenario) else scenarios.load(scenario)
    settings = (settings or Settings()).resolved(scenario, len(people))
    out = Path(out)
    with alone(out, "the tournament"):
        about = _claim(out, people, scenario, settings)
        log = GameLog(out / "games.jsonl")
        field = _Field(scenario, settings, trust, replays, num_threads, out, log)
        total = _total_games(settings, len(people))
        for number, index, pair in _pairings(people, settings, log):
            if progress is not None:
                progress(f"{pair[0].name} v {pair[1].name}", len(log.games) / total)
            field.play(number, index, pair)
        if progress is not None:
            progress("done", 1.0)
        return _write_results(out, about, people, scenario, settings, log.in_order())


def _total_games(settings: Settings, count: int) -> int:
    pairings = count * (count - 1) // 2 if settings.format == "round_robin" else (settings.rounds or 0) * (count // 2)
    return pairings * 2 * settings.games


def _pairings(
    people: Sequence[Participant], settings: Settings, log: GameLog
) -> Iterator[tuple[int, int, tuple[Participant, Participant]]]:
    """(round, number in the round, pair); a Swiss round follows from the games of the rounds before."""
    named = {person.name: person for person in people}
    if settings.format == "round_robin":
        for index, (first, second) in enumerate(itertools.combinations(people, 2)):
            yield 1, index, (first, second)
        return
    for number in range(1, (settings.rounds or 0) + 1):
        before = [game for game in log.in_order() if game.round < number]
        for index, (first, second) in enumerate(tables.swiss_pairings(list(named), before)):
            yield number, index, (named[first], named[second])


# ---- the folder --------------------------------------------------------------------------------------------


def _claim(out: Path, people: Sequence[Participant], scenario: Scenario, settings: Settings) -> dict[str, Any]:
    """Writes tournament.json, or makes sure that the one that is there is of this tournament."""
    decides = {
        "scenario": scenario.name,
        "scenario_digest": hashlib.sha256(repr(scenario).encode()).hexdigest()[:16],
        "settings": asdict(settings),
        "policies": [asdict(person) for person in people],
    }
    about = {"format": "touchline-tournament", "version": 1, **decides, "runs": []}
    path = out / "tournament.json"
    if path.exists():
        there = json.loads(path.read_text())
        flat, known = _flat(decides), _flat({name: there.get(name) for name in decides})
        if changed := [name for name in flat | known if flat.get(name) != known.get(name)]:
            lines = [f"{name} {known.get(name)!r} there and {flat.get(name)!r} here" for name in changed]
            raise ValueError(f"{out} holds another tournament: {'; '.join(lines)}; give another folder")
        about = there
    elif (out / "games.jsonl").exists():
        raise ValueError(f"{out} holds games but no tournament.json; give another folder")
    run = {"commit": commit_name(), "machine": machine_name()}
    if run not in about["runs"]:
        about["runs"].append(run)
    out.mkdir(parents=True, exist_ok=True)
    write_text(path, json.dumps(about, indent=1) + "\n")
    return about


def _flat(values: dict[str, Any]) -> dict[str, Any]:
    settings = {f"settings.{name}": value for name, value in (values["settings"] or {}).items()}
    policies = {f"policy {person['spec']}": person for person in values["policies"] or []}
    order = {"policies": [person["name"] for person in values["policies"] or []]}
    return {name: values[name] for name in ("scenario", "scenario_digest")} | settings | order | policies


# ---- games -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Field:
    """Where pairings are played, and what is the same for all of them."""

    scenario: Scenario
    settings: Settings
    trust: bool
    replays: int
    num_threads: int | None
    out: Path
    log: GameLog

    def play(self, number: int, index: int, pair: tuple[Participant, Participant]) -> None:
        """Plays and records what is missing of one pairing."""
        seeds = evaluation_seeds(self.settings.seed, self.settings.games)
        slots = [(number, index, leg, int(seed)) for leg in (0, 1) for seed in seeds]
        names = tuple(person.name for person in pair)
        for slot in slots:
            game = self.log.games.get(slot)
            if game is not None and game.players != (names if slot[2] == 0 else names[::-1]):
                raise ValueError(f"games.jsonl: {' v '.join(game.players)} where {' v '.join(names)} belong: {slot}")
        if all(slot in self.log.games for slot in slots):
            return
        forfeits = self._exhausted(slots[0][:2], pair)
        lengths: dict[tuple[int, ...], int] = {}
        if not forfeits:
            forfeits = self._play_legs(slots[0][:2], pair, seeds, lengths)
        if forfeits:
            games = []
            for slot in slots:
                left, right = names if slot[2] == 0 else names[::-1]
                goals = tables.forfeited_goals(left, right, forfeits)
                games.append(Game(*slot[:3], left, right, slot[3], goals, lengths.get(slot[2:], 0), forfeits))
            self.log.append(games)

    def _exhausted(self, pairing: tuple[int, ...], pair: tuple[Participant, Participant]) -> dict[str, str]:
        """{name: reason} of who has forfeited too often already."""
        out = {}
        for person in pair:
            lost = {}
            for game in self.log.in_order():
                if person.name in game.forfeits and game.key[:2] != pairing:
                    lost.setdefault(game.key[:2], game.forfeits[person.name])
            if len(lost) >= self.settings.max_forfeits:
                first = next(iter(lost.values()))
                out[person.name] = f"not played, after {self.settings.max_forfeits} forfeited pairings: {first}"
        return out

    def _play_legs(
        self,
        pairing: tuple[int, ...],
        pair: tuple[Participant, Participant],
        seeds: np.ndarray,
        lengths: dict[tuple[int, ...], int],
    ) -> dict[str, str]:
        """Both legs; {name: reason} of who could not play on. `lengths` gets the steps of every begun game."""
        with ExitStack() as stack:
            loaded: list[GuardedPolicy] = []
            forfeits = {}
            for place, person in enumerate(pair):
                try:
                    loaded.append(self._load(person, place))
                    stack.callback(loaded[-1].close)
                except Forfeit as forfeit:
                    forfeits[person.name] = forfeit.reason
            if forfeits:
                return forfeits
            for leg in (0, 1):
                people, policies = (pair, loaded) if leg == 0 else (pair[::-1], loaded[::-1])
                played = _Leg(self, (*pairing, leg), people, policies, seeds)
                try:
                    played.play()
                except Forfeit as forfeit:
                    return {forfeit.policy: forfeit.reason}
                finally:
                    lengths |= {(leg, int(seed)): int(steps) for seed, steps in zip(seeds, played.steps, strict=True)}
        return {}

    def _load(self, person: Participant, place: int) -> GuardedPolicy:
        logs = self.out / "logs"
        logs.mkdir(exist_ok=True)
        return load_guarded(
            person.spec,
            name=person.name,
            num_players=self.settings.players or 1,
            seed=place,  # so that one script drawing on both sides draws apart
            trust=self.trust,
            time_limit=self.settings.time_limit,
            load_limit=self.settings.load_limit,
            log=logs / f"{_slug(person.name)}.log",
        )


class _Leg:
    """All games of a pairing in which each policy keeps its side.

    Attributes:
        steps: [B] int64, steps played of each game.
    """

    def __init__(
        self,
        field: _Field,
        key: tuple[int, ...],
        people: Sequence[Participant],
        policies: Sequence[GuardedPolicy],
        seeds: np.ndarray,
    ) -> None:
        self.steps = np.zeros(len(seeds), np.int64)
        self._field, self._key, self._seeds = field, key, seeds
        self._names = (people[0].name, people[1].name)
        self._policies = policies
        usual = field.scenario.right_team_difficulty  # of the engine's own team, which upstream has on the right
        levels = {
            f"{side}_team_difficulty": usual if person.difficulty is None else person.difficulty
            for side, person in zip(SIDES, people, strict=True)
            if is_engine(person.spec)
        }
        self._scenario = dataclasses.replace(field.scenario, **levels)
        self._writers: dict[int, ReplayWriter] = {}

    def play(self) -> None:
        """Plays the games to their ends and records each; `Forfeit` leaves the others unrecorded."""
        from touchline import make_vec

        settings, size = self._field.settings, len(self._seeds)
        players = settings.players or 1
        # The larger action set changes nothing for who does not use it; each policy is held to its own.
        envs = make_vec(
            self._scenario,
            size,
            backend=settings.backend,
            left=players,
            right=players,
            control=settings.control,
            action_set="v2",
            num_threads=self._field.num_threads,
            auto_reset=False,
        )
        try:
            state = envs.simulator.state
            views = []
            for side, policy in zip(SIDES, self._policies, strict=True):
                with blaming(policy.name):  # for an observation that does not exist
                    wanted = {"observation": policy.observation or "simple115v2", "stack": policy.stack or 1}
                    views.append(SideView(state, side, players, **wanted))
            running = np.ones(size, bool)
            self._begin(envs, views, running)
            self._start_replays(state)
            while running.any():
                actions = []
                for side, policy, view in zip(SIDES, self._policies, views, strict=True):
                    actions.append(policy.act(view.shown, state, side))
                running &= ~self._step(envs, views, np.concatenate(actions, axis=1), running)
        except Forfeit:
            for game, writer in self._writers.items():
                if self.steps[game]:
                    self._keep(game, writer.finish())
            raise
        finally:
            envs.close()

    def _begin(self, envs: Any, views: Sequence[SideView], mask: np.ndarray) -> None:
        envs.reset(seed=np.where(mask, self._seeds, -1), options={"reset_mask": mask})
        for view, policy in zip(views, self._policies, strict=True):
            view.begin(np.flatnonzero(mask))
            policy.begin(mask, self._seeds)

    def _step(self, envs: Any, views: Sequence[SideView], actions: np.ndarray, running: np.ndarray) -> np.ndarray:
        """One step of all games; [B] which of them ended. Who has finished plays on, and nobody counts it."""
        _, rewards, terminated, truncated, info = envs.step(actions)
        self.steps += running
        for view in views:
            view.push(np.arange(len(running)))
        for game, writer in self._writers.items():
            writer.add(actions[game], rewards[game], envs.simulator.final_state, index=game)
        ended = np.array(terminated | truncated)
        games = []
        for game in np.flatnonzero(ended & running):
            if game in self._writers:
                ends = {"terminated": bool(terminated[game]), "truncated": bool(truncated[game])}
                self._keep(game, self._writers.pop(game).finish(**ends))
            goals = tuple(int(info["episode"][f"goals_{side}"][game]) for side in SIDES)
            seed, steps = int(self._seeds[game]), int(self.steps[game])
            games.append(Game(*self._key, *self._names, seed, goals, steps))
        self._field.log.append(games)
        if ended.any() and (running & ~ended).any():
            self._begin(envs, views, ended)
        return ended

    def _start_replays(self, state: Any) -> None:
        for game in range(min(self._field.replays, len(self._seeds))):
            self._writers[game] = ReplayWriter(
                self._scenario.name,
                backend=self._field.settings.backend,
                seed=int(self._seeds[game]),
                state=state,
                index=game,
                policies=self._names,
                episode=game,
            )

    def _keep(self, game: int, replay: Replay) -> None:
        number, pairing, leg = self._key
        players = "-v-".join(_slug(name) for name in self._names)
        name = f"{number:02d}-{pairing:03d}-{leg}-{game:04d}-{players}.npz"
        replay.save(self._field.out / "replays" / name)


def _slug(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9.]+", "_", name).strip("_.") or "policy"


# ---- results -----------------------------------------------------------------------------------------------


def _write_results(
    out: Path,
    about: dict[str, Any],
    people: Sequence[Participant],
    scenario: Scenario,
    settings: Settings,
    games: Sequence[Game],
) -> TournamentResult:
    names = [person.name for person in people]
    rows = tables.standings(names, games)
    order = [row.name for row in rows]
    matrix = tables.cross_table(order, games)
    label = "goal difference a game, row against column"
    drawn = draw_heat_map(order, matrix, out / "cross_table.png", label=label)
    what = "round robin" if settings.format == "round_robin" else f"Swiss, {settings.rounds} rounds"
    title = f"{scenario.name} ({settings.backend}), {what}, {settings.games} games a side"
    notes = _notes(scenario, settings, games, order, drawn)
    steps = sum(game.length for game in games)
    seeds = evaluation_seeds(settings.seed, settings.games)
    runs = "; ".join(f"commit {run['commit'] or 'unknown'} on {run['machine']}" for run in about["runs"])
    conditions = (
        f"Engine seeds {seeds[0]} to {seeds[-1]} on each side of every pairing, {settings.players} players a side, "
        f"control {settings.control}; {len(games)} games, {steps} env steps; {runs}."
    )
    parts = [f"# {title}", conditions, tables.table_markdown(rows).rstrip(), tables.NOTE]
    parts += ["\n".join(f"- {note}" for note in notes)] if notes else []
    picture = ["![cross-table](cross_table.png)"] if drawn else []
    cross = [f"# {title}", f"Mean {label}.", tables.cross_table_markdown(order, matrix).rstrip(), *picture]
    written = {
        "table.md": "\n\n".join(parts) + "\n",
        "table.csv": tables.table_csv(rows),
        "cross_table.md": "\n\n".join(cross) + "\n",
        "cross_table.csv": tables.cross_table_csv(order, matrix),
    }
    for name, text in written.items():
        write_text(out / name, text)
    files = [*written, *(["cross_table.png"] if drawn else []), "games.jsonl", "tournament.json"]
    return TournamentResult(title, tuple(rows), tuple(games), tuple(notes), tuple(str(out / name) for name in files))


def _notes(
    scenario: Scenario, settings: Settings, games: Sequence[Game], names: Sequence[str], drawn: bool
) -> list[str]:
    """What a reader of the table must know of this tournament in particular."""
    notes = []
    for name in names:
        against: dict[str, list[str]] = {}
        for game in games:
            if name in game.forfeits:
                others = against.setdefault(game.forfeits[name], [])
                others += {*game.players} - {name, *others}
        notes += [f"{name} forfeited against {', '.join(others)}: {reason}" for reason, others in against.items()]
    for name, rounds in tables.byes(names, games).items():
        if rounds:
            number = ", ".join(map(str, rounds))
            notes.append(f"{name} had a bye in round {number}: points as for a round of wins, no games")
    if not scenario.sides_are_alike:
        notes.append(
            f"{scenario.name} is a drill: the sides have different tasks ({len(scenario.left_team)} against "
            f"{len(scenario.right_team)} players); everyone plays both"
        )
    if "random" not in names:
        notes.append("`random` did not take part: ratings can only be compared within this tournament")
    if not drawn:
        notes.append("there is no heat map: it needs matplotlib, pip install 'touchline[plots]'")
    return notes
