"""The search for hyper-parameters: quasi-random settings, each a training, raced against each other; it may be stopped.

Settings come from a scrambled low-discrepancy sequence by default ("Critical Hyper-Parameters: No Random, No Cry",
Bousquet et al. 2017, https://arxiv.org/abs/1706.03200); runs are raced by `racing`. Optuna keeps the books:
OUT/study.db is an Optuna study, OUT/trial-0003 a run directory.
"""

from __future__ import annotations

import json
import logging
import math
import warnings
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial, TrialState

from touchline import checkpoint, plugins, training
from touchline.benchmarks import racing, suites
from touchline.benchmarks.evaluate import student_t_quantile, wilson_interval
from touchline.files import write_text
from touchline.processes import alone
from touchline.run import Run
from touchline.tracking import Tracker, Update
from touchline.train_config import TrainConfig, config_of, sb3_name

log = logging.getLogger(__name__)

Space = Mapping[str, Sequence[Any]]
"""{field of the agent's Config: (low, high, "log" | "linear" | "int"), or a list of choices in their order}."""

KINDS = ("log", "linear", "int")
SAMPLERS = ("qmc", "random", "tpe")
OBJECTIVES = ("success", "goal_difference", "return")

_GAMMAS = [0.98, 0.99, 0.995, 0.997, 0.999]
SPACES: dict[str, Space] = {
    "ppo": {
        "learning_rate": (5e-5, 2e-3, "log"),
        "entropy_coef": (3e-4, 3e-2, "log"),
        "clip_coef": (0.08, 0.4, "linear"),
        "gae_lambda": (0.9, 1.0, "linear"),
        "gamma": _GAMMAS,
        "num_epochs": (2, 12, "int"),
    },
    "impala": {
        "learning_rate": (5e-5, 2e-3, "log"),
        "entropy_coef": (3e-4, 3e-2, "log"),
        "clip_coef": (0.08, 0.4, "linear"),
        "gae_lambda": (0.9, 1.0, "linear"),
        "gamma": _GAMMAS,
        "num_epochs": (1, 10, "int"),
    },
    "apex_dqn": {
        "learning_rate": (5e-5, 2e-3, "log"),
        "replay_ratio": (1.0, 8.0, "log"),
        "gamma": _GAMMAS,
        "n_step": (1, 10, "int"),
        "target_interval": [100, 200, 500, 1000, 2000],
        "priority_exponent": (0.0, 0.8, "linear"),
    },
}
"""Where the search looks by default."""


@dataclass(frozen=True)
class TuneConfig:
    """What to search, where, and for how long.

    Attributes:
        agent, preset: as in `TrainConfig`; what the space leaves out is the preset's.
        trials: settings to try, one training each, all with the same seed. More may be asked for later.
        total_steps: environment steps of a training that is not stopped.
        space: see `Space`; empty is the agent's own of `SPACES`.
        sampler: "qmc" (scrambled Sobol), "random" or "tpe" (which learns from earlier trials).
        race: stop trainings that will not win.
        alpha: at most this share of searches stops the training that would be best (see `racing` for what is assumed).
            Asking for more trials later spends it anew.
        looks: blocks of equal length that a training is cut into.
        first_look: the block after which trainings are compared for the first time.
        tail: last blocks whose mean score is what the search maximises.
        round_size: trainings that go forward side by side; those of earlier rounds count as rivals.
        objective: of an episode: "success" (more goals than the other side), "goal_difference" or "return".
        episodes: of the best one's evaluation, on seeds that training never draws.
        train: fields of `TrainConfig`.
        seed: of the sampler and of every training.
        out: the folder of everything.
    """

    scenario: str = "academy_empty_goal_close"
    agent: str | None = None
    preset: str | None = None
    trials: int = 16
    total_steps: int = 200_000
    space: dict[str, Sequence[Any]] = field(default_factory=dict)
    sampler: str = "qmc"
    race: bool = True
    alpha: float = 0.1
    looks: int = 8
    first_look: int = 3
    tail: int = 2
    round_size: int = 4
    objective: str = "success"
    episodes: int = 200
    train: dict[str, Any] = field(default_factory=dict)
    seed: int = 0
    out: str = "runs/tune"

    def __post_init__(self) -> None:
        for name, known in (("sampler", SAMPLERS), ("objective", OBJECTIVES)):
            if getattr(self, name) not in known:
                raise ValueError(f"no {getattr(self, name)!r} in {name}s; there are {', '.join(known)}")
        if self.trials < 1 or self.round_size < 1:
            raise ValueError(f"expected at least 1 trial in a round, got {self.trials} and {self.round_size}")
        if not 1 <= self.first_look < self.looks or not 1 <= self.tail <= self.looks:
            given = f"{self.first_look}, {self.tail} and {self.looks}"
            raise ValueError(f"expected first_look from 1 to looks - 1 and tail from 1 to looks, got {given}")
        if not self.looks <= self.total_steps:
            raise ValueError(f"expected total_steps of at least the {self.looks} looks, got {self.total_steps}")
        if not 0 < self.alpha < 1:
            raise ValueError(f"expected alpha between 0 and 1, got {self.alpha}")
        own = sorted({"scenario", "agent", "preset", "total_steps", "seed", "out"} & set(self.train))
        if own:
            raise ValueError(f"{', '.join(own)} in train: the search has a setting of that name")

    def boundaries(self) -> list[int]:
        """[looks] environment steps at which blocks end."""
        return [self.total_steps * (i + 1) // self.looks for i in range(self.looks)]

    def base(self) -> TrainConfig:
        """The training that the settings are put into."""
        plain = {"scenario": self.scenario, "agent": self.agent, "preset": self.preset, "seed": self.seed}
        config = config_of(TrainConfig, {**plain, "total_steps": self.total_steps, **self.train})
        if sb3_name(config.agent):
            raise ValueError(f"{config.agent} is not searched, for it cannot pause; there are {', '.join(SPACES)}")
        return config

    def searched(self) -> Space:
        """The space, checked against the agent: its fields, and that both ends and every choice are allowed."""
        config = self.base().resolved()
        agent = config.agent
        kind = getattr(plugins.load("agents", agent), "Config", None)
        if kind is None:
            raise ValueError(f"{agent!r} in agents is not one that trains; there are {', '.join(SPACES)}")
        if not self.space and agent not in SPACES:
            raise ValueError(f"{agent} has no space of its own: give one")
        space = self.space or SPACES[agent]
        known = [f.name for f in fields(kind)]
        for name, values in space.items():
            if name not in known:
                raise ValueError(f"no {name} in {agent}'s Config; there are {', '.join(known)}")
            _distribution(name, values)
            for value in values[:2] if _is_range(values) else values:
                value = int(value) if _is_range(values) and values[2] == "int" else value
                config_of(kind, {**config.agent_config, name: value})
        return space

    def of_trial(self, number: int, settings: Mapping[str, Any]) -> TrainConfig:
        """The training of a trial."""
        base = self.base()
        agent_config = {**base.agent_config, **settings}
        kind = plugins.load("agents", base.resolved().agent).Config
        if self.race and "checkpoint_replay" in {f.name for f in fields(kind)}:
            agent_config.setdefault("checkpoint_replay", True)  # a pause must not cost the replay
        interval = min(base.checkpoint_interval, self.total_steps // self.looks)
        out = str(Path(self.out, f"trial-{number:04d}"))
        return replace(base, agent_config=agent_config, checkpoint_interval=interval, out=out)


# ---- settings ----------------------------------------------------------------------------------------------


def read_space(texts: Sequence[str]) -> dict[str, Sequence[Any]]:
    """A space of texts like `learning_rate=1e-4:1e-2:log`, `num_epochs=2:10:int` or `gamma=0.99,0.995`."""
    space: dict[str, Sequence[Any]] = {}
    for text in texts:
        name, equals, rest = text.partition("=")
        if not equals or not rest:
            raise ValueError(f"expected FIELD=LOW:HIGH:KIND or FIELD=A,B,C, got {text!r}")
        if ":" not in rest:
            space[name] = [_literal(word) for word in rest.split(",")]
            continue
        parts = rest.split(":")
        if len(parts) == 2:
            parts.append("linear")
        try:
            low, high, kind = parts
            space[name] = (float(low), float(high), kind)
        except ValueError as error:
            raise ValueError(f"expected FIELD=LOW:HIGH:KIND with two numbers, got {text!r}") from error
        _distribution(name, space[name])
    return space


def _literal(word: str) -> Any:
    try:
        return json.loads(word.lower())
    except ValueError:
        return word


def _distribution(name: str, values: Sequence[Any]) -> BaseDistribution:
    """What Optuna samples: a choice is its index, for quasi-random points have no categories (before Optuna 5)."""
    if not _is_range(values):
        if not values:
            raise ValueError(f"{name} has no choices")
        return IntDistribution(0, len(values) - 1)
    low, high, kind = values
    if kind not in KINDS:
        raise ValueError(f"no {kind!r} in kinds of a range ({name}); there are {', '.join(KINDS)}")
    if not low < high or (kind == "log" and low <= 0):
        raise ValueError(f"expected low < high for {name}, and above 0 where log, got {low} and {high}")
    if kind == "int":
        if low != int(low) or high != int(high):
            raise ValueError(f"expected whole numbers for {name}, got {low} and {high}")
        return IntDistribution(int(low), int(high))
    return FloatDistribution(float(low), float(high), log=kind == "log")


def _is_range(values: Sequence[Any]) -> bool:
    return isinstance(values, tuple) or (len(values) == 3 and values[2] in KINDS)


def settings_of(space: Space, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """{field: value} of Optuna's parameters."""
    return {
        name: parameters[name] if _is_range(values) else values[int(parameters[name])] for name, values in space.items()
    }


def open_study(config: TuneConfig) -> optuna.Study:
    """The study of a search, made where there is none."""
    if config.sampler == "tpe":
        sampler: optuna.samplers.BaseSampler = optuna.samplers.TPESampler(seed=config.seed)
    else:
        sampler = optuna.samplers.RandomSampler(seed=config.seed)
    storage = f"sqlite:///{Path(config.out).resolve() / 'study.db'}"
    study = optuna.create_study(
        study_name="touchline", storage=storage, sampler=sampler, direction="maximize", load_if_exists=True
    )
    # A sampler made anew begins anew: it must not repeat what an earlier session drew.
    if done := len(study.get_trials(deepcopy=False)):
        kind = type(sampler)
        study.sampler = kind(seed=config.seed + 1_000_003 * done)
    return study


def ask(study: optuna.Study, space: Space, config: TuneConfig) -> int:
    """Begins a trial and returns its number.

    Optuna's QMCSampler leaves the first trial of a study to random sampling, because it does not know the space yet.
    It is known here, so its points are asked for directly and put in the queue; the study's own sampler then draws
    nothing. The place in the sequence is kept in the study.
    """
    distributions = {name: _distribution(name, values) for name, values in space.items()}
    if config.sampler == "qmc" and not study.get_trials(deepcopy=False, states=(TrialState.WAITING,)):
        study.enqueue_trial(next_point(study, distributions, config.seed))
    return study.ask(fixed_distributions=distributions).number


def next_point(study: optuna.Study, distributions: dict[str, BaseDistribution], seed: int) -> dict[str, Any]:
    """Optuna's parameters of the next point of a scrambled Sobol sequence."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        points = optuna.samplers.QMCSampler(qmc_type="sobol", scramble=True, seed=seed)
    return points.sample_relative(study, None, distributions)  # type: ignore[arg-type]  # it looks at no trial


def complete(study: optuna.Study, trial: FrozenTrial, space: Space) -> None:
    """Draws what a trial lacks that was cut off while it was begun."""
    if set(trial.params) != set(space):
        handle = _handle(study, trial)
        for name, values in space.items():
            found = _distribution(name, values)
            if isinstance(found, IntDistribution):
                handle.suggest_int(name, found.low, found.high)
            elif isinstance(found, FloatDistribution):
                handle.suggest_float(name, found.low, found.high, log=found.log)


def _handle(study: optuna.Study, trial: FrozenTrial) -> optuna.trial.Trial:
    """Optuna has no other way to write to a trial of an earlier session."""
    return optuna.trial.Trial(study, trial._trial_id)


# ---- trials ------------------------------------------------------------------------------------------------


class Blocks:
    """The companion that sums up the scores of a training block by block, and pauses it after a given one.

    Args:
        objective: the score of an episode, of `OBJECTIVES`.
        boundaries: [L] environment steps at which blocks end; an update's episodes count to the block that it closes.
        until: the block after which to pause.
    """

    def __init__(self, objective: str, boundaries: Sequence[int], until: int) -> None:
        self.objective, self.boundaries, self.until = objective, list(boundaries), until
        self.rows: list[list[float]] = []
        """[count, mean, variance] of each closed block."""
        self.open: list[float] = []

    def __call__(self, run: Run, update: Update) -> bool:
        self.open += scores(update.episodes, self.objective).tolist()
        closed = bisect_right(self.boundaries, update.env_steps)
        if closed > len(self.rows):
            self.rows += [[0, 0.0, 0.0]] * (closed - len(self.rows) - 1)
            self.rows.append(summary(self.open))
            self.open = []
        if self.until <= len(self.rows) < len(self.boundaries):
            raise training.Paused
        return False

    def state_dict(self) -> dict[str, Any]:
        return {"json": json.dumps({"rows": self.rows, "open": self.open})}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        plain = json.loads(state["json"])
        self.rows, self.open = plain["rows"], plain["open"]


def scores(episodes: Mapping[str, np.ndarray], objective: str) -> np.ndarray:
    """[E] scores of ended episodes."""
    if objective == "return":
        return np.asarray(episodes.get("r", ()), float)
    difference = np.asarray(episodes.get("goals_left", ()), float) - np.asarray(episodes.get("goals_right", ()), float)
    return difference if objective == "goal_difference" else (difference > 0).astype(float)


def summary(values: Sequence[float]) -> list[float]:
    """[count, mean, unbiased variance] of scores; 0 where there are too few."""
    array = np.asarray(values, float)
    variance = array.var(ddof=1) if len(array) > 1 else 0.0
    return [len(array), float(array.mean()) if len(array) else 0.0, float(variance)]


def pooled(rows: Sequence[Sequence[float]]) -> list[float]:
    """[count, mean, variance] of blocks together."""
    count, mean, variance = np.asarray(rows, float).reshape(-1, 3).T
    total = count.sum()
    if total == 0:
        return [0, 0.0, 0.0]
    middle = (count * mean).sum() / total
    squares = (np.maximum(count - 1, 0) * variance + count * (mean - middle) ** 2).sum()
    return [int(total), float(middle), float(squares / max(total - 1, 1))]


def advance(
    config: TrainConfig,
    tune: TuneConfig,
    until: int,
    make_envs: Callable[[TrainConfig], Any],
    trackers: Callable[[TrainConfig], Sequence[Tracker]],
) -> Blocks | None:
    """Trains a trial to the end of block `until`, going on with what is there; None where it was interrupted."""
    folder = Path(config.out)
    blocks = Blocks(tune.objective, tune.boundaries(), until)
    going_on = (folder / "checkpoint.pt").exists()
    if going_on:
        blocks.load_state_dict(checkpoint.load(folder / "checkpoint.pt")["companions"][0])
        if len(blocks.rows) >= until:
            return blocks
    run = training.resume if going_on else training.train
    result = run(folder if going_on else config, make_envs=make_envs, trackers=trackers(config), companions=[blocks])
    return None if result["stopped"] or len(blocks.rows) < until else blocks


def run_tune(
    config: TuneConfig,
    *,
    make_envs: Callable[[TrainConfig], Any] = training.make_envs,
    judge: Callable[[Path, TrainConfig, int], None] = suites.evaluate_run,
    trackers: Callable[[TrainConfig], Sequence[Tracker]] = lambda config: (),
) -> bool:
    """Makes every trial that is not there yet, going on with those that were cut off, and evaluates the best.

    Args:
        judge: writes the best run's eval.json, given its folder, config and number of episodes.
        trackers: watch the training of a config.

    Returns:
        whether all is done; False where a training was interrupted.

    Raises:
        ValueError: the folder holds a search of other settings, or another process is at it.
    """
    space, out = config.searched(), Path(config.out)
    out.mkdir(parents=True, exist_ok=True)
    with alone(out, "the search"):
        _same_search(config, space)
        study = open_study(config)
        while True:
            cut_off = study.get_trials(states=(TrialState.RUNNING,))
            for trial in cut_off:
                complete(study, trial, space)
            running = [trial.number for trial in cut_off]
            missing = config.trials - sum(t.state != TrialState.WAITING for t in study.get_trials(deepcopy=False))
            if not running:
                if missing <= 0:
                    break
                running = [ask(study, space, config) for _ in range(min(config.round_size, missing))]
            if not _round(study, config, space, running, make_envs, trackers):
                return False
        _write(study, config, space)
        if (best := best_of(study)) is not None:
            train = config.of_trial(best.number, settings_of(space, best.params))
            if _episodes_judged(Path(train.out)) != config.episodes:
                judge(Path(train.out), train, config.episodes)
            _write(study, config, space)
    return True


def _episodes_judged(folder: Path) -> int:
    """Episodes of a run's frozen evaluation; 0 without one."""
    return json.loads((folder / "eval.json").read_text())["results"][0]["episodes"] if suites.is_done(folder) else 0


def _round(
    study: optuna.Study,
    config: TuneConfig,
    space: Space,
    numbers: Sequence[int],
    make_envs: Callable[[TrainConfig], Any],
    trackers: Callable[[TrainConfig], Sequence[Tracker]],
) -> bool:
    """Brings the trials of a round to their ends, side by side if they race; whether none was interrupted.

    A round that was cut off goes through the same looks again, with the same blocks and so the same verdicts.
    """
    alive = list(numbers)
    for look, together in _orders(config, numbers):
        for number in (number for number in together if number in alive):
            trial = study.get_trials(deepcopy=False)[number]
            train = config.of_trial(number, settings_of(space, trial.params))
            blocks = advance(train, config, look, make_envs, trackers)
            if blocks is None:
                return False
            _report(study, trial, config, blocks)
            if look == config.looks:
                count, mean, _ = pooled(blocks.rows[-config.tail :])
                if count and math.isfinite(mean):
                    study.tell(number, mean)
                else:
                    _fail(study, trial, "no episode ended in its last part: more total_steps are needed")
                alive.remove(number)
            _write(study, config, space)
        if config.race and config.first_look <= look < config.looks:
            for number in set(beaten(study, config, look)) & set(alive):
                study.tell(number, state=TrialState.PRUNED)
                alive.remove(number)
        _write(study, config, space)
    return True


def _orders(config: TuneConfig, numbers: Sequence[int]) -> list[tuple[int, Sequence[int]]]:
    """(block to end with, trials that train so far before they are compared), one after the other."""
    if config.race:
        return [(look, numbers) for look in range(config.first_look, config.looks + 1)]
    return [(config.looks, [number]) for number in numbers]


def beaten(study: optuna.Study, config: TuneConfig, look: int) -> list[int]:
    """The trials, of all that have been looked at then, that another one beats at a look (`racing`)."""
    trials = study.get_trials(deepcopy=False)
    shown = [t for t in trials if len(blocks_of(t)) >= look and t.state != TrialState.FAIL]
    if not shown:
        return []
    count, mean, variance = np.array([blocks_of(t)[look - 1] for t in shown], float).T
    looks = config.looks - config.first_look
    level = racing.corrected_level(config.alpha, runs=max(config.trials, len(trials)), looks=looks)
    lost = racing.losers(count, mean, variance, level=level, flags=config.objective == "success")
    return [trial.number for trial, gone in zip(shown, lost, strict=True) if gone]


def blocks_of(trial: FrozenTrial) -> list[list[float]]:
    """[count, mean, variance] of each block that a trial has trained."""
    return trial.user_attrs.get("blocks", [])


def best_of(study: optuna.Study) -> FrozenTrial | None:
    """The trial with the highest score of those that were trained to their end."""
    done = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    return max(done, key=lambda trial: trial.value, default=None)


def _report(study: optuna.Study, trial: FrozenTrial, config: TuneConfig, blocks: Blocks) -> None:
    handle = _handle(study, trial)
    handle.set_user_attr("blocks", blocks.rows)
    for step, (count, mean, _) in zip(config.boundaries(), blocks.rows, strict=False):
        if count and step not in trial.intermediate_values:
            handle.report(mean, step)


def _fail(study: optuna.Study, trial: FrozenTrial, why: str) -> None:
    log.warning("trial %d counts as failed: %s", trial.number, why)
    _handle(study, trial).set_user_attr("error", why)
    study.tell(trial.number, state=TrialState.FAIL)


# ---- files -------------------------------------------------------------------------------------------------


def _same_search(config: TuneConfig, space: Space) -> None:
    """Refuses a folder with other settings, unless nothing has been trained with them; `trials` and `episodes` may
    change."""
    path = Path(config.out, "tune.json")
    plain = {**asdict(config), "space": {name: list(values) for name, values in space.items()}}
    plain = json.loads(json.dumps({k: v for k, v in plain.items() if k not in ("trials", "episodes", "out")}))
    if path.exists() and (saved := json.loads(path.read_text())) != plain:
        if any(path.parent.glob("trial-*/checkpoint.pt")):
            names = ", ".join(name for name in plain if saved.get(name) != plain[name])
            raise ValueError(f"{path.parent} holds a search with another {names}: see {path}, or give another --out")
        path.with_name("study.db").unlink(missing_ok=True)
    write_text(path, json.dumps(plain, indent=2) + "\n")


def table(study: optuna.Study, config: TuneConfig, space: Space) -> str:
    """Every trial in Markdown, the best first; a stopped one shows the last block it played."""
    boundaries = config.boundaries()
    trials = [t for t in study.get_trials(deepcopy=False) if t.state != TrialState.WAITING]
    order = {TrialState.COMPLETE: 0, TrialState.RUNNING: 1, TrialState.PRUNED: 2, TrialState.FAIL: 3}
    trials.sort(key=lambda t: (order[t.state], -(t.value or 0.0) if t.state == TrialState.COMPLETE else 0.0, t.number))
    states = {"COMPLETE": "trained to its end", "PRUNED": "stopped", "RUNNING": "not done yet", "FAIL": "failed"}
    base = config.base().resolved()
    lines = [
        f"{base.agent} on `{config.scenario}`, {config.total_steps:,} steps a training, training seed {config.seed}, "
        f"{base.device}, {config.sampler} sampling.",
        "",
        f"| trial | state | steps | mean {config.objective} [95%] | {' | '.join(space)} |",
        "|---" * (4 + len(space)) + "|",
    ]
    steps = 0
    for trial in trials:
        blocks = blocks_of(trial)
        steps += boundaries[len(blocks) - 1] if blocks else 0
        tail = blocks[-config.tail :] if trial.state == TrialState.COMPLETE else blocks[-1:]
        done = f"{boundaries[len(blocks) - 1]:,}" if blocks else "0"
        cells = [f"{trial.number}", states[trial.state.name], done, _shown(pooled(tail), config.objective)]
        for value in settings_of(space, trial.params).values():
            cells.append(f"{value:.4g}" if isinstance(value, float) else str(value))
        lines.append(f"| {' | '.join(cells)} |")
    full = config.total_steps * len(trials)
    lines += ["", f"{steps:,} of {full:,} environment steps were trained."]
    lines.append(
        "Means are over the episodes of the last blocks, of one training each: the best of many is flattered, "
        "and its evaluation in `best.json` is of that one training."
    )
    return "\n".join(lines) + "\n"


def _interval(row: Sequence[float], objective: str) -> tuple[float, float] | None:
    """95%, as an evaluation's: Wilson for shares, Student-t for means; None with fewer than 2 episodes."""
    count, mean, variance = row
    if count < 2:
        return None
    if objective == "success":
        return wilson_interval(round(count * mean), int(count))
    half = student_t_quantile(0.975, int(count) - 1) * math.sqrt(variance / count)
    return mean - half, mean + half


def _shown(row: Sequence[float], objective: str) -> str:
    interval = _interval(row, objective)
    return "" if interval is None else f"{row[1]:.3f} [{interval[0]:.3f}, {interval[1]:.3f}]"


def _write(study: optuna.Study, config: TuneConfig, space: Space) -> None:
    """Writes table.md, and best.json once a trial was trained to its end."""
    out = Path(config.out)
    write_text(out / "table.md", table(study, config, space))
    best = best_of(study)
    if best is None:
        return
    train = config.of_trial(best.number, settings_of(space, best.params))
    found: dict[str, Any] = {
        "trial": best.number,
        "run": Path(train.out).name,
        "objective": config.objective,
        "value": best.value,
        "interval": _interval(pooled(blocks_of(best)[-config.tail :]), config.objective),
        "agent_config": settings_of(space, best.params),
        "scenario": config.scenario,
        "seed": config.seed,
        "total_steps": config.total_steps,
        "device": train.device,
        "evaluation": None,
    }
    if suites.is_done(Path(train.out)):
        result = json.loads((Path(train.out) / "eval.json").read_text())["results"][0]
        keys = ("metrics", "episodes", "seed", "commit", "opponent", "side")
        found["evaluation"] = {key: result[key] for key in keys if key in result}
    write_text(out / "best.json", json.dumps(found, indent=2) + "\n")
