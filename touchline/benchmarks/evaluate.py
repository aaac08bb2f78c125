"""How good is a policy? Seeded episodes on seeds that training never uses, with intervals, beside yardsticks.

Rules of an evaluation:

- Seeds: evaluation s plays the engine seeds 1,000,000,000 + 1,000,000·s + 0, 1, 2, ...; training keeps below
  1,000,000,000. Every policy plays the same seeds.
- Episode i is played by match i mod B, and every episode begins with a reset of that match to the episode's
  own seed. All episodes are played to their end, so short ones are not over-represented, and the result does
  not depend on B. (A network's output can differ in the last bit between batch sizes; scripts are exact.)
- The policy plays on the left. A match, whose sides have the same task, it can also play from the right, or the
  episodes from left and right, two by two in turn: `side="both"`. (Whether a seed is even decides which team the
  engine moves first.) On the left it kicks off, on the right its opponent does.
- Success: the policy's side scored more goals than the other.
- Shares carry Wilson intervals, means Student-t intervals, both at 95 %.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from rich.table import Table

from touchline import scenarios
from touchline.benchmarks.policies import Policy, against, checked_actions, is_engine, load_policy
from touchline.benchmarks.throughput import machine_name
from touchline.envs.actions import num_actions
from touchline.envs.simulator import MatchState
from touchline.files import write_text
from touchline.replay import ReplayWriter
from touchline.types import Scenario

if TYPE_CHECKING:
    from touchline.envs.side_view import SideView

FIRST_EVALUATION_SEED = 1_000_000_000
BUILTIN = "built-in AI"
"""Engine seeds from here on belong to evaluations; training draws below."""

SEEDS_PER_EVALUATION = 1_000_000
YARDSTICKS = ("random", "builtin_ai")
SIDES = {"left": ("left",), "right": ("right",), "both": ("left", "right")}
"""Sides that a policy plays its episodes from, in turn."""


class Estimate(NamedTuple):
    """A number with its 95 % interval; without enough episodes for one, `low` and `high` are nan."""

    value: float
    low: float
    high: float


def evaluation_seeds(seed: int, episodes: int) -> np.ndarray:
    """[episodes] int64: the engine seeds of evaluation number `seed` (0 to 999)."""
    if not 0 <= seed < 1000:
        raise ValueError(f"expected an evaluation seed from 0 to 999, got {seed}")
    if not 1 <= episodes <= SEEDS_PER_EVALUATION:
        raise ValueError(f"expected 1 to {SEEDS_PER_EVALUATION} episodes, got {episodes}")
    return FIRST_EVALUATION_SEED + SEEDS_PER_EVALUATION * seed + np.arange(episodes, dtype=np.int64)


def evaluation_of(seed: int) -> tuple[int, int]:
    """(number of the evaluation, episode) that an engine seed is of."""
    number, episode = divmod(int(seed) - FIRST_EVALUATION_SEED, SEEDS_PER_EVALUATION)
    if not 0 <= number < 1000:
        raise ValueError(f"engine seed {seed} is not of an evaluation: nobody else can be put on it")
    return number, episode


# ---- intervals ---------------------------------------------------------------------------------------------


def wilson_interval(successes: int, trials: int, *, z: float = 1.959963984540054) -> tuple[float, float]:
    """Wilson's score interval of a share (Wilson 1927, https://doi.org/10.1080/01621459.1927.10502953)."""
    if trials == 0:
        return math.nan, math.nan
    share = successes / trials
    scale = 1 + z * z / trials
    centre = (share + z * z / (2 * trials)) / scale
    half = z / scale * math.sqrt(share * (1 - share) / trials + z * z / (4 * trials * trials))
    # The formula gives exactly 0 and 1 at the ends, up to rounding.
    low = 0.0 if successes == 0 else max(0.0, centre - half)
    high = 1.0 if successes == trials else min(1.0, centre + half)
    return low, high


def student_t_quantile(p: float, degrees: int) -> float:
    """The p-quantile (0.5 <= p < 1) of Student's t distribution, by bisecting its distribution function."""
    if not 0.5 <= p < 1.0 or degrees < 1:
        raise ValueError(f"expected 0.5 <= p < 1 and degrees >= 1, got {p} and {degrees}")
    low, high = 0.0, 1.0
    while student_t_cdf(high, degrees) < p:
        low, high = high, high * 2
    for _ in range(200):
        middle = (low + high) / 2
        if middle in (low, high):
            break
        if student_t_cdf(middle, degrees) < p:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def student_t_cdf(t: float, degrees: int) -> float:
    """P(T <= t), t >= 0, in closed form (Abramowitz and Stegun 1964, eqs. 26.7.3 and 26.7.4)."""
    theta = math.atan2(t, math.sqrt(degrees))
    cos2 = math.cos(theta) ** 2
    if degrees % 2:
        total, term = 0.0, math.cos(theta)
        for k in range(1, degrees - 1, 2):
            total += term
            term *= cos2 * (k + 1) / (k + 2)
        inside = 2 / math.pi * (theta + math.sin(theta) * total)
    else:
        total, term = 0.0, 1.0
        for k in range(0, degrees - 1, 2):
            total += term
            term *= cos2 * (k + 1) / (k + 2)
        inside = math.sin(theta) * total
    return 0.5 + inside / 2


def share(flags: Sequence[bool]) -> Estimate:
    """The share of true flags with its Wilson interval."""
    if not len(flags):
        return Estimate(math.nan, math.nan, math.nan)
    hits = int(np.count_nonzero(flags))
    return Estimate(hits / len(flags), *wilson_interval(hits, len(flags)))


def mean(values: Sequence[float]) -> Estimate:
    """The mean with its Student-t interval."""
    array = np.asarray(values, np.float64)
    if not len(array):
        return Estimate(math.nan, math.nan, math.nan)
    middle = float(array.mean())
    if len(array) < 2:
        return Estimate(middle, math.nan, math.nan)
    error = float(array.std(ddof=1)) / math.sqrt(len(array))
    half = student_t_quantile(0.975, len(array) - 1) * error
    return Estimate(middle, middle - half, middle + half)


# ---- results -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class EvalResult:
    """What a policy did in an evaluation, episode by episode, and under which conditions.

    Attributes:
        rows: one dict an episode, in the order of the seeds: episode, seed, side, success, goal_difference, return,
            length, terminated, truncated, and the numbers of the environment's episode statistics. Success, goal
            difference and return are the policy's, whichever side it plays on; `player_cells` are those of the first
            agent, who is the opponent's where the policy plays on the right against agents.
        left, right: players that the policy drives, and that its opponent does, whichever side they play on.
        env_steps: steps of all counted episodes together.
        replays: files written on request.
        machine: that it was played on: processor, number of cores, and the graphics card that torch sees.
        side: that the policy played on: left, right, or both in turn.
        trained_steps: environment steps of the training up to then, of policies that know.
    """

    policy: str
    opponent: str
    scenario: str
    backend: str
    observation: str
    action_set: str
    control: str
    left: int
    right: int
    rewards: Mapping[str, float]
    seed: int
    env_steps: int
    commit: str | None
    rows: tuple[dict[str, Any], ...]
    replays: tuple[str, ...] = ()
    machine: str | None = None
    side: str = "left"
    trained_steps: int | None = None

    @property
    def metrics(self) -> dict[str, Estimate]:
        """The summary with 95 % intervals."""
        difference = np.array([row["goal_difference"] for row in self.rows])
        return {
            "score/success_rate": share([row["success"] for row in self.rows]),
            "score/goal_difference_per_game": mean(difference),
            "score/win_rate": share(difference > 0),
            "score/draw_rate": share(difference == 0),
            "score/loss_rate": share(difference < 0),
            "score/return_per_game": mean([row["return"] for row in self.rows]),
            "time/length_steps": mean([row["length"] for row in self.rows]),
        }

    def to_json(self) -> dict[str, Any]:
        """Plain values for `eval.json`; an interval that does not exist is null."""
        plain = asdict(self) | {"rewards": dict(self.rewards), "rows": list(self.rows)}
        plain["replays"] = list(self.replays)
        plain["episodes"] = len(self.rows)
        plain["metrics"] = {
            name: {key: None if math.isnan(x) else x for key, x in estimate._asdict().items()}
            for name, estimate in self.metrics.items()
        }
        return plain


def evaluate(
    policy: str | Path | Policy,
    scenario: str,
    *,
    episodes: int = 200,
    seed: int = 0,
    num_envs: int = 16,
    observation: str | None = None,
    stack: int | None = None,
    rewards: Sequence[str] | Mapping[str, float] = ("scoring",),
    left: int = 1,
    right: int = 0,
    opponent: str | Path | Policy | None = None,
    control: str = "upstream",
    action_set: str | None = None,
    side: str = "left",
    backend: str = "gfootball",
    num_threads: int | None = None,
    replays: int = 0,
    replay_dir: str | Path | None = None,
    trust: bool = False,
    make_vec: Callable[..., Any] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> EvalResult:
    """Plays `episodes` seeded episodes with a policy; the module's text has the rules.

    Args:
        policy: a name or path (see `policies.load_policy`), or a policy.
        seed: number of the evaluation, 0 to 999; other numbers play other, disjoint seeds.
        num_envs: B matches at once; it changes the speed, not the result.
        observation, stack, action_set: None takes what the policy says it was made for, or else
            "simple115v2", 1 and "default". An opponent that says so sees the matches in its own observation.
        left: agents of the policy's side, which is the left one unless `side` says otherwise.
        right, opponent: agents of the other side and who drives them; none is the built-in AI, and so is
            `builtin_ai:0.6`, at that difficulty.
        side: left, right, or both: two episodes from the left, two from the right, and so on. A drill is played from
            the left. With `control="fixed"` and a part of a team, the players are those nearest to the ball in the
            line-up of that side, which may have other roles.
        replays: traces of the first episodes are written to `replay_dir`.
        trust: load SB3 zips, which hold pickles.
        make_vec: makes the environment; None is `touchline.make_vec`.
        progress: called with (episodes finished, all episodes).
    """
    seeds = evaluation_seeds(seed, episodes)
    if num_envs < 1:
        raise ValueError(f"expected num_envs of at least 1, got {num_envs}")
    if left < 1:
        raise ValueError(f"expected at least 1 agent of the policy's, got left={left}")
    if side not in SIDES:
        raise ValueError(f"no side {side!r}; there are {', '.join(SIDES)}")
    rival, played = BUILTIN, scenario
    if is_engine(opponent):
        played, rival, right, opponent = against(scenario, [opponent]), str(opponent), 0, None
    if (right > 0) != (opponent is not None):
        raise ValueError(f"expected an opponent exactly where it drives players, got {opponent!r} and right={right}")
    if side != "left":
        played = played if isinstance(played, Scenario) else scenarios.load(played)
        if not played.sides_are_alike:
            raise ValueError(f"{played.name} is a drill, whose sides have different tasks: it is played from the left")
    if replays < 0:
        raise ValueError(f"expected replays of at least 0, got {replays}")
    if replays and replay_dir is None:
        raise ValueError("expected replay_dir, the folder for the replays")
    # The sides' scripts draw from different streams although their episodes share a seed.
    home = _policy(policy, left, 0, trust)
    away = None if opponent is None else _policy(opponent, right, 1, trust)
    players = [home] if away is None else [home, away]
    shown = home if away is None or home.observation or home.stack else away
    observation, stack = observation or shown.observation or "simple115v2", stack or shown.stack or 1
    if action_set is None:  # "v2" has all that "default" has
        made_for = {player.action_set for player in players}
        action_set = "v2" if "v2" in made_for else "default"
    for player in players:
        if player.action_set == "v2" and action_set != "v2":
            raise ValueError(f"{player.name} needs the action set 'v2', got {action_set!r}")
    if make_vec is None:
        from touchline import make_vec
    size = max(1, min(num_envs, episodes // len(SIDES[side])))  # the same on both sides, for policies with a memory
    rows: dict[int, dict[str, Any]] = {}
    traces: list[Any] = []
    for turn, own in enumerate(SIDES[side]):
        # The episodes that are played from this side.
        numbers = np.flatnonzero(np.arange(episodes) // 2 % len(SIDES[side]) == turn)
        if not len(numbers):
            continue
        counts = (left, right) if own == "left" else (right, left)
        envs = make_vec(
            played if own == "left" else _strengths_swapped(played),
            num_envs=size,
            backend=backend,
            observation=observation,
            stack=stack,
            rewards=rewards,
            left=counts[0],
            right=counts[1],
            control=control,
            action_set=action_set,
            num_threads=num_threads,
            auto_reset=False,
        )
        parts = {"left": slice(0, counts[0]), "right": slice(counts[0], sum(counts))}
        before = len(rows)
        try:
            sides = [_Side(home, own, parts[own])]
            if away is not None:
                other, there = _other(own), {"observation": observation, "stack": stack}
                view = _view(away, other, right, envs.simulator.state, **there)
                sides.append(_Side(away, other, parts[other], view))
            more, kept = _play(
                envs,
                sides,
                seeds,
                numbers,
                action_set=action_set,
                replays=replays,
                about={"scenario": scenario, "backend": backend},
                progress=progress and (lambda done, before=before: progress(before + done, episodes)),
            )
        finally:
            envs.close()
        rows |= more
        traces += kept
    paths = []
    for trace in traces:
        rival_name = f"-v-{away.name}" if away is not None else ""
        name = f"{scenario}-{home.name}{rival_name}-{seed:03d}-{trace.episode:04d}.npz".replace(os.sep, "_")
        paths.append(str(trace.save(Path(replay_dir or ".") / name)))
    return EvalResult(
        policy=home.name,
        opponent=rival if away is None else away.name,
        scenario=scenario,
        backend=backend,
        observation=observation,
        action_set=action_set,
        control=control,
        left=left,
        right=right,
        rewards=dict(rewards) if isinstance(rewards, Mapping) else dict.fromkeys(rewards, 1.0),
        seed=seed,
        env_steps=sum(row["length"] for row in rows.values()),
        commit=_commit(),
        rows=tuple(rows[number] for number in range(episodes)),
        replays=tuple(sorted(paths)),
        machine=_machine(),
        side=side,
        trained_steps=getattr(home, "trained_steps", None),
    )


def _other(side: str) -> str:
    return "right" if side == "left" else "left"


def _strengths_swapped(scenario: Scenario) -> Scenario:
    """The scenario with the strengths of the engine's players where a policy on the right expects them."""
    return replace(
        scenario,
        left_team_difficulty=scenario.right_team_difficulty,
        right_team_difficulty=scenario.left_team_difficulty,
    )


def _policy(policy: str | Path | Policy, num_players: int, seed: int, trust: bool) -> Policy:
    if isinstance(policy, str | Path):
        return load_policy(policy, num_players=num_players, seed=seed, trust=trust)
    return policy


def _view(
    player: Policy, side: str, num_players: int, state: MatchState, *, observation: str, stack: int
) -> SideView | None:
    """A player's own view of the matches; None where any view will do, or the one that is there."""
    if player.observation is None and player.stack is None:
        return None
    own = (player.observation or observation, player.stack or 1)
    if own == (observation, stack):
        return None
    from touchline.envs.side_view import SideView  # numba, only where it is needed

    return SideView(state, side, num_players, observation=own[0], stack=own[1])


class _Side(NamedTuple):
    """Who plays on a side ("left" or "right"), which agents it drives, and its view where it has one of its own."""

    player: Policy
    name: str
    part: slice
    view: SideView | None = None


def _play(
    envs: Any,
    sides: Sequence[_Side],
    seeds: np.ndarray,
    numbers: np.ndarray,
    *,
    action_set: str,
    replays: int,
    about: Mapping[str, str],
    progress: Callable[[int], None] | None,
) -> tuple[dict[int, dict[str, Any]], list[Any]]:
    """The episodes `numbers` [K], match i playing the i-th, (i+B)-th, ... of them: their rows, and traces of those
    below `replays`. Of `sides` the first is the policy's."""
    size, total = envs.num_envs, len(numbers)
    num_players = sum(side.part.stop - side.part.start for side in sides)
    own, own_part = sides[0].name, sides[0].part
    drivers = {side.name: side.player.name for side in sides}
    views = [side.view for side in sides if side.view is not None]
    place = np.arange(size)  # of the episode that each match plays, in `numbers`; from `total` on it idles
    returns = np.zeros(size, np.float32)
    rows: dict[int, dict[str, Any]] = {}
    writers: dict[int, ReplayWriter] = {}
    traces: list[Any] = []

    def begin(mask: np.ndarray) -> np.ndarray:
        """Resets the matches of `mask`, each to its episode's seed; idle ones to seeds nobody counts."""
        episode = numbers[np.minimum(place, total - 1)]
        starting = mask & (place < total)
        starts = np.where(starting, seeds[episode], -1)
        returns[mask] = 0.0
        observations, _ = envs.reset(seed=starts, options={"reset_mask": mask})
        for view in views:
            view.begin(np.flatnonzero(mask))
        for side in sides:
            side.player.begin(starting, starts)
        for i in np.flatnonzero(starting & (episode < replays)):
            writers[i] = ReplayWriter(
                **about,
                seed=int(envs.simulator.seeds[i]),
                state=envs.simulator.state,
                index=i,
                policies=(drivers.get("left", BUILTIN), drivers.get("right", BUILTIN)),
                episode=int(episode[i]),
                agent=own_part.start,
            )
        return observations

    observations = begin(np.ones(size, bool))
    while len(rows) < total:
        actions = np.empty((size, num_players), np.int32)
        estimates: Mapping[str, np.ndarray] = {}
        for player, side, part, view in sides:
            if view is not None:
                seen = view.shown
            else:
                seen = observations if num_players == 1 else observations[:, part]
                if num_players > 1 and part.stop - part.start == 1:
                    seen = seen[:, 0]
            if writers and side == own and hasattr(player, "value_estimates"):
                estimates = player.value_estimates(seen)  # before it acts: its memory is then that of this step
            actions[:, part] = checked_actions(
                player.act(seen, envs.simulator.state, side),
                policy=player.name,
                shape=(size, part.stop - part.start),
                num_actions=num_actions(player.action_set or action_set),
            )
        played = envs.simulator.seeds.copy()
        observations, rewards, terminated, truncated, info = envs.step(actions[:, 0] if num_players == 1 else actions)
        for view in views:
            view.push(np.arange(size))
        # Of several agents the first of the policy's.
        paid = {name: _of_agent(x, own_part.start) for name, x in info.get("reward_terms", {}).items()}
        returns += _of_agent(rewards, own_part.start)
        for i, writer in writers.items():
            series = {name: float(np.ravel(values[i])[0]) for name, values in estimates.items()}
            series |= {f"reward/{name}": float(values[i]) for name, values in paid.items()}
            writer.add(actions[i], rewards[i], envs.simulator.final_state, index=i, **series)
        ended = np.array(terminated | truncated)
        for i in np.flatnonzero(ended & (place < total)):
            episode = int(numbers[place[i]])
            statistics = {name: values[i].item() for name, values in info["episode"].items()} | {"r": returns[i].item()}
            ends = {"terminated": bool(terminated[i]), "truncated": bool(truncated[i])}
            rows[episode] = _row(episode, int(played[i]), own, statistics, ends)
            if i in writers:
                traces.append(writers.pop(i).finish(**ends))
            if progress is not None:
                progress(len(rows))
        if ended.any() and len(rows) < total:
            place = np.where(ended & (place < total), place + size, place)
            observations = begin(ended)
    return rows, traces


def _of_agent(values: np.ndarray, agent: int) -> np.ndarray:
    """[B] of values [B] (one agent) or [B, N]."""
    return values if values.ndim == 1 else values[:, agent]


def _row(episode: int, seed: int, side: str, statistics: Mapping[str, Any], ends: Mapping[str, bool]) -> dict[str, Any]:
    difference = statistics[f"goals_{side}"] - statistics[f"goals_{_other(side)}"]
    rest = {name: value for name, value in statistics.items() if name not in ("r", "l")}
    return {
        "episode": episode,
        "seed": seed,
        "side": side,
        "success": difference > 0,
        "goal_difference": difference,
        "return": statistics["r"],
        "length": statistics["l"],
        **ends,
        **rest,
    }


def _commit() -> str | None:
    """The commit this code was checked out from, with a + if files were changed; None outside a checkout."""
    root = Path(__file__).parents[2]
    if not (root / ".git").exists():  # installed, perhaps inside a checkout of something else
        return None
    command = ["git", "describe", "--always", "--dirty=+", "--abbrev=12", "--exclude=*"]
    try:
        done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() or None


def _machine() -> str:
    """Processor, cores, and the graphics card if torch is there and sees one."""
    torch = sys.modules.get("torch")  # scripted players do without it
    card = f", {torch.cuda.get_device_name()}" if torch is not None and torch.cuda.is_available() else ""
    return machine_name() + card


# ---- tables ------------------------------------------------------------------------------------------------


def yardsticks(
    result: EvalResult,
    *,
    names: Sequence[str] = YARDSTICKS,
    opponent: str | Path | Policy | None = None,
    num_envs: int = 16,
    num_threads: int | None = None,
    trust: bool = False,
    make_vec: Callable[..., Any] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> list[EvalResult]:
    """The scripted `names` on the seeds and under the conditions of a result; the one it is of is left out.

    `opponent` must be given again where the result had one.
    """
    return [
        evaluate(
            name,
            result.scenario,
            episodes=len(result.rows),
            seed=result.seed,
            num_envs=num_envs,
            rewards=result.rewards,
            left=result.left,
            right=result.right,
            opponent=opponent,
            control=result.control,
            side=result.side,
            backend=result.backend,
            num_threads=num_threads,
            trust=trust,
            make_vec=make_vec,
            progress=progress,
        )
        for name in names
        if name != result.policy
    ]


def _cells(result: EvalResult) -> list[str]:
    def percent(estimate: Estimate) -> str:
        return f"{100 * estimate.value:.1f} [{100 * estimate.low:.1f}, {100 * estimate.high:.1f}]"

    def number(estimate: Estimate, digits: int, sign: str = "") -> str:
        low, high = (f"{x:{sign}.{digits}f}" for x in (estimate.low, estimate.high))
        return f"{estimate.value:{sign}.{digits}f} [{low}, {high}]"

    metrics = result.metrics
    record = "/".join(
        str(round(metrics[f"score/{name}_rate"].value * len(result.rows))) for name in ("win", "draw", "loss")
    )
    return [
        result.policy,
        percent(metrics["score/success_rate"]),
        number(metrics["score/goal_difference_per_game"], 2, "+"),
        record,
        number(metrics["score/return_per_game"], 2, "+"),
        number(metrics["time/length_steps"], 1),
    ]


_COLUMNS = ("policy", "success, %", "goal difference", "W/D/L", "return", "length, steps")


_FROM = {"left": "", "right": ", from the right", "both": ", from left and right in turn"}


def _title(results: Sequence[EvalResult]) -> str:
    first = results[0]
    low, high = first.rows[0]["seed"], first.rows[-1]["seed"]
    for other in results[1:]:
        if any(getattr(other, name) != getattr(first, name) for name in ("scenario", "backend", "right", "side")):
            raise ValueError("one table holds one scenario, one backend, one side and one kind of opponent")
        if [row["seed"] for row in other.rows] != [row["seed"] for row in first.rows]:
            raise ValueError(f"{first.policy} and {other.policy} played different seeds; evaluate both again")
    return (
        f"{first.scenario} ({first.backend}), {len(first.rows)} episodes, engine seeds {low} to {high}, "
        f"against {first.opponent}{_FROM[first.side]}"
    )


_NOTE = "Mean [95 % interval]: Wilson for shares, Student-t for means."


def table(results: Sequence[EvalResult]) -> Table:
    """Policies side by side, for a terminal."""
    out = Table(*_COLUMNS, title=_title(results), caption=_NOTE)
    for column in out.columns:
        column.overflow = "fold"
    for column in out.columns[1:]:
        column.justify = "right"
    for result in results:
        out.add_row(*_cells(result))
    return out


def markdown(results: Sequence[EvalResult]) -> str:
    """Policies side by side, as a Markdown table."""
    rows = [_COLUMNS, ("---", *["---:"] * (len(_COLUMNS) - 1)), *(_cells(result) for result in results)]
    lines = ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
    return "\n".join([f"{_title(results)}", "", *lines, "", _NOTE, ""])


def write_json(results: Sequence[EvalResult], path: str | Path) -> Path:
    """Writes results, each with all its episodes, as `eval.json`, in one go."""
    content = {"format": "touchline-eval", "version": 1, "results": [result.to_json() for result in results]}
    return write_text(path, json.dumps(content, indent=1, allow_nan=False) + "\n")
