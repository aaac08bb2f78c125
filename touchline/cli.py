"""The command line: `touchline COMMAND ...`. Each command is a dataclass of its flags; `--help` is the manual."""

from __future__ import annotations

import contextlib
import dataclasses
import difflib
import itertools
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import tyro

Positional = tyro.conf.Positional


@dataclass(frozen=True)
class Doctor:
    """Says what is missing on this machine and how to mend it."""

    def run(self) -> int:
        from rich.markup import escape

        from touchline.doctor import diagnose

        findings = diagnose()
        for finding in findings:
            mark = "[green]ok[/]  " if finding.ok else "[red]no[/]  " if finding.required else "[dim]--[/]  "
            _print(f"{mark} {finding.name}: {escape(finding.found)}")
            if not finding.ok and finding.fix:
                _print(f"      fix: [bold]{escape(finding.fix)}[/]")
        return int(any(finding.required and not finding.ok for finding in findings))


@dataclass(frozen=True)
class EngineBuild:
    """Builds the football engine for this machine, unless that has been done (about 4 minutes on 2 cores)."""

    force: bool = False
    """Build again even if the library is there."""
    pgo: bool = False
    """Build twice, the second time guided by a profile of the first at play; no result changes."""
    without: tuple[str, ...] = ()
    """Optimisations to leave out, or `all`. Such a build is used where TOUCHLINE_ENGINE_WITHOUT names the same."""

    def run(self) -> int:
        from touchline.envs.engine import build

        if self.without:
            os.environ[build.WITHOUT] = ",".join(self.without)
        with _progress("engine") as progress:
            files = build.build(force=self.force, pgo=self.pgo, progress=progress)
        _print(f"engine: {files.library}")
        return 0


@dataclass(frozen=True)
class EngineVerify:
    """Compares our engine with upstream's own package, built here with its stock flags, step by step."""

    level: Literal["short", "full"] = "short"
    """short: all scenarios, 300 steps each; full: more seeds, whole matches, states handed to and fro."""
    scenario: tuple[str, ...] = ()
    """Only these scenarios."""

    def run(self) -> int:
        from touchline.envs.engine import verify

        with _progress("verify") as progress:
            report = verify.verify(level=self.level, scenarios=self.scenario or None, progress=progress)
        for row in report.rows:
            _print(f"{'[green]equal[/]' if row.ok else '[red]DIFFERS[/]'}  {row}", highlight=False)
        _print(f"{report.summary}", highlight=False)
        return int(not report.ok)


@dataclass(frozen=True)
class EngineWheel:
    """Makes a wheel of the built engine that needs no compiler and no system package."""

    out: Path = Path("dist")
    """Folder to write it to."""

    def run(self) -> int:
        from touchline.envs.engine.wheel import build_wheel

        with _progress("wheel") as progress:
            path = build_wheel(self.out, progress=progress)
        _print(f"{path}  ({path.stat().st_size / 1e6:.1f} MB)")
        return 0


@dataclass(frozen=True)
class Scenarios:
    """Lists the scenarios, and draws those that are named."""

    names: Positional[tuple[str, ...]] = ()
    """Names, files or modules of scenarios to draw; none lists them all, `all` draws them all."""

    def run(self) -> int:
        from touchline import scenarios

        wanted = scenarios.names() if self.names in ((), ("all",)) else self.names
        for name in wanted:
            scenario = scenarios.load(name)
            _print(f"[bold]{scenario.name}[/]  {scenarios.describe(scenario)}", highlight=False)
            _print(f"  {scenario.description}", highlight=False)
            if self.names:
                print(scenarios.draw(scenario))
        return 0


@dataclass(frozen=True)
class Train:
    """Trains an agent. Any field of the agent's own config is a flag too, e.g. `--learning-rate 1e-4`."""

    scenario: str = "academy_empty_goal_close"
    """Name, file or module of a scenario; see `touchline scenarios`."""
    preset: str | None = None
    """Where everything that is not given comes from (see benchmarks/presets.py); None is the agent's own, AGENT_cpu."""
    agent: str | None = None
    """ppo, impala, apex_dqn, or sb3:NAME for an algorithm of Stable-Baselines3 or sb3-contrib (PPO, DQN, QRDQN, ...);
    None is the preset's, and ppo without one."""
    sb3: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    """A hyper-parameter of an sb3 agent, e.g. `--sb3 learning_rate=3e-4`; may be given several times."""
    backend: str = "gfootball"
    observation: str | None = None
    """simple115v2, smm, egocentric, egocentric_kicks or egocentric_noise."""
    stack: int | None = None
    """Frames stacked."""
    rewards: tuple[str, ...] | None = None
    """Reward terms: scoring, checkpoints, attacks."""
    team_reward: bool = False
    """Every player gets the mean of his side's rewards, instead of his own."""
    left: int = 1
    """Controlled players of the left side."""
    right: int = 0
    """Controlled players of the right side."""
    control: Literal["upstream", "fixed"] = "upstream"
    action_set: Literal["default", "v2"] = "default"
    num_envs: int | None = None
    num_actors: int | None = None
    """Actors that play while the agent learns (impala, apex_dqn); 0 plays and learns in turns."""
    actors: Literal["thread", "process", "ray"] = "thread"
    """Where actors run: threads, processes, or the machines of a Ray cluster."""
    ray_address: str | None = None
    """A running Ray cluster (auto: that of this machine); none starts one for this training."""
    num_threads: int | None = None
    workers: Literal["thread", "process"] = "thread"
    """process isolates: a crash inside the engine then costs only its episodes."""
    reset_pool: int | None = None
    """Snapshots that episodes start from in place of true resets."""
    total_steps: int = 1_000_000
    """Environment steps, counted per env."""
    seed: int = 0
    device: str = "cpu"
    out: str | None = None
    """The run directory; None is a new one under runs/."""
    opponent: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    """Who drives the right side's players (as many as on the left, or --right): a scripted name, a run directory, a
    Python file, or self, the agent's own past; may be given several times. None is the engine's own AI."""
    opponent_config: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    """How they are drawn, e.g. `--opponent-config snapshot_interval=200000` (fields in touchline/opponents.py)."""
    trust: bool = False
    """Opponents may be SB3 zips: they hold pickles, which run code when they are opened."""
    teacher: str | None = None
    """A policy whose actions PPO imitates while it learns, less and less: a scripted name, a run directory, a file."""
    init: str | None = None
    """A run directory, or a trained policy's name, whose networks the training begins with."""
    stagger: int = 0
    """Steps of random play before the training begins, after which match i of B has played i / B of them: matches of
    one length (3,000 steps of a whole one) then do not all begin and end together."""
    bonus: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    """Name of an exploration module; may be given several times."""
    bonus_config: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    """A field of a module's config, e.g. `--bonus-config rnd.coef=0.1`; may be given several times."""
    value_target: str | None = None
    """gae, vtrace, n_step or adaptive_td."""
    value_target_config: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    """A field of its config, e.g. `--value-target-config num_members=3`; may be given several times."""
    checkpoint_interval: int = 500_000
    """Environment steps between checkpoints."""
    double_buffer: bool | None = None
    """Step one half of the envs while the policy acts for the other; none: with a GPU alone."""
    mixed_precision: bool = False
    """Networks compute in bfloat16."""
    compile: bool = False
    """The networks' learning pass goes through torch.compile."""
    torch_threads: int | None = None
    """Threads that learn, and that act on pictures (one acts on vectors); None is torch's own choice."""
    resume: Path | None = None
    """A run directory to continue; only --total-steps is then taken from the command line."""
    quiet: bool = False
    """No progress bar, and no lines of progress where the output is a file."""
    track: bool = False
    """Tell Weights & Biases the metrics too (pip install 'touchline[track]'); WANDB_MODE=offline keeps them here."""
    track_project: str | None = None
    """The project there; None is touchline."""

    def run(self, rest: Sequence[str], given: Sequence[str]) -> int:
        from touchline import distributed, tracking, training
        from touchline.train_config import sb3_name

        trackers: list[Any] = []
        quiet = self.quiet or distributed.rank() > 0
        if _is_sb3(self.agent, self.resume):
            from touchline import sb3_training as training
        elif self.sb3:
            raise ValueError(f"--sb3 {self.sb3[0]} belongs to an SB3 agent: give --agent sb3:PPO, or drop it")
        if self.resume is not None:
            if rest:
                raise ValueError(f"no flag {rest[0]} beside --resume: {_RESUME}")
            taken = ("resume", "total_steps", "quiet", "track", "track_project")
            for name in (field.name for field in dataclasses.fields(self) if field.name not in taken):
                if any(_was_given(f"--{word}{name.replace('_', '-')}", given) for word in ("", "no-")):
                    raise ValueError(f"--{name.replace('_', '-')} is not taken beside --resume: {_RESUME}")
            total = self.total_steps if _was_given("--total-steps", given) else None
            until = total or training.saved_config(self.resume).total_steps
            if not quiet:
                trackers.append(tracking.progress(until))
            trackers += self._wandb(dataclasses.replace(training.saved_config(self.resume), out=str(self.resume)))
            result = training.resume(self.resume, total_steps=total, trackers=trackers)
        else:
            own = ("resume", "quiet", "sb3", "track", "track_project")
            options = {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.name not in own}
            options["bonus_config"] = _nested(self.bonus_config)
            options["value_target_config"] = _values(self.value_target_config)
            options["opponent_config"] = _values(self.opponent_config)
            config = training.TrainConfig(**options).resolved()
            agent_config = _sb3_config(self.sb3, rest) if sb3_name(self.agent) else _agent_config(config, rest)
            config = dataclasses.replace(config, agent_config=agent_config)
            if not quiet:
                trackers.append(tracking.progress(config.total_steps))
            trackers += self._wandb(config)
            result = training.train(config, trackers=trackers)
        if distributed.rank() == 0:
            _report_training(result)
        return 130 if result["interrupted"] else 0

    def _wandb(self, config: Any) -> list[Any]:
        """The tracker that --track asks for, in the first process alone."""
        from touchline import distributed

        if not self.track:
            if self.track_project is not None:
                raise ValueError("--track-project names a project of Weights & Biases: give --track too")
            return []
        from touchline.wandb_tracker import PROJECT, WandbTracker

        return [] if distributed.rank() else [WandbTracker(config, self.track_project or PROJECT)]


_RESUME = "the run goes on with its own settings, and only --total-steps is taken from the command line"


def _values(pairs: Sequence[str]) -> dict[str, Any]:
    """{field: value} of texts like `coef=0.1`; values are Python literals, or words."""
    import ast

    out = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals:
            raise ValueError(f"expected FIELD=VALUE, got {pair!r}")
        try:
            value = ast.literal_eval(text)
        except (ValueError, SyntaxError):
            value = {"true": True, "false": False, "none": None}.get(text.lower(), text)
        out[name] = value
    return out


def _nested(pairs: Sequence[str]) -> dict[str, dict[str, Any]]:
    """{module: {field: value}} of texts like `rnd.coef=0.1`."""
    out: dict[str, dict[str, Any]] = {}
    for name, value in _values(pairs).items():
        module, dot, field = name.partition(".")
        if not dot:
            raise ValueError(f"expected MODULE.FIELD=VALUE, got {name}={value}")
        out.setdefault(module, {})[field] = value
    return out


def _is_sb3(agent: str | None, run: Path | None) -> bool:
    """Whether SB3 trains: by the agent's name, or by what is in the run directory to go on with."""
    from touchline.benchmarks.policies import zip_of
    from touchline.train_config import sb3_name

    if run is None and not sb3_name(agent) or run is not None and zip_of(run) == run:
        return False
    try:
        import touchline.sb3_training  # noqa: F401
    except ModuleNotFoundError as error:
        raise ValueError(f"{agent or run} needs {error.name}: pip install 'touchline[sb3]'") from error
    return True


def _sb3_config(pairs: Sequence[str], rest: Sequence[str]) -> dict[str, Any]:
    """An SB3 agent's hyper-parameters."""
    if rest:
        meant = _meant(rest[0], Train)
        raise ValueError(f"no flag {rest[0]}{meant}; hyper-parameters of SB3 are given as --sb3 NAME=VALUE")
    return _values(pairs)


def _agent_config(config: Any, rest: Sequence[str]) -> dict[str, Any]:
    """The agent's config fields: the preset's, with those of the command line over them."""
    from touchline.train_config import config_of

    kind = _agent_config_kind(config.agent)
    _check_flags(rest, kind, config.agent)
    start = config_of(kind, config.agent_config)
    chosen = tyro.cli(kind, prog=f"touchline train --agent {config.agent}", args=list(rest), default=start)
    return {k: v for k, v in dataclasses.asdict(chosen).items() if k in config.agent_config or v != getattr(start, k)}


def _check_flags(rest: Sequence[str], kind: type, agent: str) -> None:
    """Refuses what is no flag of `train` (those are taken out of `rest` already) nor of its agent."""
    own = {f.name for f in dataclasses.fields(kind)}
    for word in rest:
        flag = word.split("=")[0]
        name = flag.removeprefix("--").replace("-", "_")
        if not flag.startswith("--") or name in own or name.removeprefix("no_") in own or flag == "--help":
            continue
        raise ValueError(
            f"no flag {flag}{_meant(flag, Train, kind)}; `touchline train --agent {agent} --help` lists them"
        )


def _meant(flag: str, *kinds: type) -> str:
    """A hint at the flag of `kinds` that is most like a wrong one; nothing, if none is."""
    names = {f.name for kind in kinds for f in dataclasses.fields(kind)}
    flags = sorted(f"--{name.replace('_', '-')}" for name in names)
    close = difflib.get_close_matches(flag.split("=")[0], flags, n=1)
    return f" (did you mean {close[0]}?)" if close else ""


def _agent_config_kind(agent: str) -> type:
    from touchline import plugins

    kind = getattr(plugins.load("agents", agent), "Config", None) if agent in plugins.names("agents") else None
    if kind is None:
        raise ValueError(f"no agent {agent!r} that trains; there are ppo, impala, apex_dqn and sb3:PPO, sb3:DQN, ...")
    return kind


def _report_training(result: dict[str, Any]) -> None:
    if result["interrupted"]:
        _print(f"stopped after {result['env_steps']:,} steps; go on with --resume {result['run']}")
    _print(f"run: {result['run']}   checkpoint: {result['checkpoint']}")
    speed = result["env_steps_per_second"]
    if speed:
        _print(f"env_steps_per_second: {speed:.0f}")
    players = result["metrics"].get("time/player_steps_per_second")
    if players:
        _print(f"player_steps_per_second: {players:.0f}")


@dataclass(frozen=True)
class Evaluate:
    """Plays a frozen policy on held-out seeds, beside the random and the built-in player on the same seeds."""

    policy: Positional[str]
    """A run directory, a scripted name (random, builtin_ai, run_and_shoot, ...), a Python file with act(), a
    Kaggle-style agent() or make_actor() for Acme, or an SB3 zip."""
    scenario: str | None = None
    """None is the scenario that the run was trained on."""
    episodes: int = 200
    seed: int = 0
    """Number of the evaluation; other numbers play other seeds."""
    backend: str = "gfootball"
    observation: str | None = None
    left: int | None = None
    right: int | None = None
    """Controlled players of the other side; None is none, and with an opponent as many as the policy's."""
    opponent: str | None = None
    """Who drives the other side; None is the engine's own AI."""
    side: Literal["left", "right", "both"] = "left"
    """That the policy plays on; both: a match from left and right in turn."""
    num_envs: int = 16
    num_threads: int | None = None
    yardsticks: tuple[str, ...] = ("random", "builtin_ai")
    """Scripted players that play the same seeds."""
    out: Path | None = None
    """Folder for eval.json, eval.md and replays; None is the run directory."""
    replays: int = 0
    """Traces of so many episodes to keep."""
    trust: bool = False
    """Load SB3 zips: they hold pickles, which can run any code."""

    def run(self) -> int:
        from touchline.benchmarks import evaluate as evaluation

        settings = _settings(self.policy)
        left = self.left if self.left is not None else settings["left"]
        out = self.out or (Path(self.policy) if Path(self.policy).is_dir() else None)
        with _progress("episodes") as progress:
            common = {
                "num_envs": self.num_envs,
                "num_threads": self.num_threads,
                "trust": self.trust,
                "progress": lambda done, total: progress("playing", done / total),
            }
            result = evaluation.evaluate(
                self.policy,
                self.scenario or settings["scenario"],
                episodes=self.episodes,
                seed=self.seed,
                backend=self.backend,
                observation=self.observation,
                rewards=settings["rewards"],
                left=left,
                right=_opponents(self.right, self.opponent, left),
                opponent=self.opponent,
                control=settings["control"],
                side=self.side,
                replays=self.replays,
                replay_dir=(out or Path(".")) / "replays",
                **common,
            )
            results = [result]
            if self.yardsticks:
                results += evaluation.yardsticks(result, names=self.yardsticks, opponent=self.opponent, **common)
        _print(evaluation.table(results))
        if out is not None:
            evaluation.write_json(results, out / "eval.json")
            (out / "eval.md").write_text(evaluation.markdown(results))
            _print(f"written: {out / 'eval.json'}, {out / 'eval.md'}")
        return 0


@dataclass(frozen=True)
class Watch:
    """Writes a video (mp4) of a policy or of a saved replay, or a page for the browser."""

    who: Positional[str | None] = None
    """A run directory, a trained or scripted name, a Python file with act() or agent(), an SB3 zip, or a replay (.npz);
    nobody is a trained policy, as a page unless --out ends with .mp4."""
    policy: str | None = None
    """The same as a flag, e.g. the name of a trained policy (`touchline policies`)."""
    scenario: str | None = None
    episodes: int = 3
    seed: int = 900
    """Number of the evaluation whose first seeds are played; other numbers play other seeds."""
    backend: str = "gfootball"
    opponent: str | None = None
    right: int | None = None
    fps: int = 30
    trust: bool = False
    """Load SB3 zips: they hold pickles, which can run any code."""
    html: bool = False
    """A page (html) instead of a video: one file without a network, to play, step, scrub and jump to goals."""
    versus: str | None = None
    """With --html, a second policy (or replay) on the same seeds, side by side with the first."""
    out: Path | None = None
    """The file; None is watch.mp4, or watch.html, in the run directory, or in the current folder."""

    def run(self) -> int:
        from touchline import trained
        from touchline.replay import write_video

        if self.who is not None and self.policy is not None:
            raise ValueError(f"expected one policy, got {self.who} and --policy {self.policy}")
        policy = self.who or self.policy or trained.DEFAULT
        html = self.html or (self.out.suffix == ".html" if self.out else not (self.who or self.policy))
        if self.versus is not None and not html:
            raise ValueError("--versus needs --html: a video shows one policy")
        folder = Path(policy) if Path(policy).is_dir() else Path(".")
        out = self.out or folder / ("watch.html" if html else "watch.mp4")
        settings = _settings(policy)
        replays = self._replays(policy, settings)
        if html:
            from touchline.html_replay import write_html

            versus = None if self.versus is None else self._replays(self.versus, settings)
            path = write_html(replays, out, versus=versus)
            _print(f"page: {path}  ({path.stat().st_size / 1e6:.2f} MB)")
        else:
            path = write_video(replays, out, fps=self.fps)
            _print(f"video: {path}")
        return 0

    def _replays(self, policy: str, settings: dict[str, Any]) -> list[Any]:
        """The saved replay, or episodes of the policy in what `settings` say."""
        import tempfile

        from touchline.benchmarks.evaluate import evaluate
        from touchline.replay import Replay

        if policy.endswith(".npz"):
            return [Replay.load(policy)]
        with tempfile.TemporaryDirectory() as scratch:
            result = evaluate(
                policy,
                self.scenario or settings["scenario"],
                episodes=self.episodes,
                seed=self.seed,
                num_envs=min(self.episodes, 16),
                backend=self.backend,
                rewards=settings["rewards"],
                left=settings["left"],
                right=_opponents(self.right, self.opponent, settings["left"]),
                opponent=self.opponent,
                control=settings["control"],
                replays=self.episodes,
                replay_dir=scratch,
                trust=self.trust,
            )
            return [Replay.load(path) for path in result.replays]


@dataclass(frozen=True)
class Policies:
    """Lists the trained policies that come with touchline, with what they can do."""

    def run(self) -> int:
        from touchline import trained

        for name in trained.names():
            _print(f"[bold]{name}[/]", highlight=False)
            for line in trained.describe(trained.card(name)).splitlines():
                _print(f"  {line}", highlight=False)
        return 0


@dataclass(frozen=True)
class Benchmark:
    """Trains and evaluates every run of a suite that is not there yet; may be stopped and started again at any time."""

    suite: str = "agents"
    """academy: PPO, IMPALA and Ape-X DQN on the drills of Football Academy; football: PPO on 11 against 11, easy to
    hard; agents: the three agents on three drills, longer, three seeds each; ppo_ablations, ppo_preset: what PPO's
    settings are worth; curiosity_small: exploration modules on two drills; curiosity: bonuses on six, a large study;
    multi_agent: three attackers with shared weights (see benchmarks/suites.py)."""
    variants: tuple[str, ...] = ()
    """Only these variants of the suite; the table shows all."""
    budget: int | None = None
    """Environment steps of a run at most, where the suite has more; None leaves the suite's."""
    out: Path | None = None
    """Folder of all runs; None is results/SUITE, and with a budget results/SUITE-BUDGET."""
    quiet: bool = False
    """No progress bars, or lines of progress."""

    def run(self) -> int:
        from touchline import tracking
        from touchline.benchmarks import suites

        suite, folder = suites.load(self.suite), self.suite.replace("-", "_")
        if self.budget is not None:
            suite, folder = suite.within(self.budget), f"{folder}-{self.budget}"
        out = self.out or Path("results", folder)
        suites.refuse_other_lengths(suite, out)  # all variants stand in the table
        chosen = suite.of(self.variants) if self.variants else suite
        runs = [Path(config.out) for config in chosen.runs(out)]

        def trackers(config: Any) -> list[Any]:
            _print(f"run {1 + runs.index(Path(config.out))} of {len(runs)}: {config.out}", highlight=False)
            return [] if self.quiet else [tracking.progress(config.total_steps)]

        for _ in suites.run_suite(chosen, out, trackers=trackers):
            (out / "table.md").write_text(suites.table(suite, out))
        print(suites.table(suite, out))
        missing = sum(not suites.is_done(run) for run in runs)
        if missing:
            _print(f"{missing} of {len(runs)} runs are missing; the same command goes on")
        return 130 if missing else 0


@dataclass(frozen=True)
class Report:
    """Writes what runs amount to, with intervals and pictures, as an HTML page and as Markdown."""

    runs: Positional[tuple[str, ...]]
    """Run directories, or folders that hold some at any depth; LABEL=FOLDER adds the label to its variants' names."""
    out: Path = Path("report")
    """Folder for report.html, report.md and figures/."""

    def run(self) -> int:
        from touchline.benchmarks import report

        _print(f"written: {', '.join(map(str, report.write_report(self.runs, self.out)))}")
        return 0


@dataclass(frozen=True)
class Tune:
    """Searches an agent's hyper-parameters: quasi-random settings, raced against each other.

    The same command on the same folder goes on with a search that was stopped.
    """

    scenario: str = "academy_empty_goal_close"
    agent: str | None = None
    """ppo, impala or apex_dqn; None is the preset's, and ppo without one."""
    preset: str | None = None
    """Where everything that is not searched comes from; None is the agent's own, AGENT_cpu."""
    trials: int = 16
    """Settings to try, one training each; more may be asked for later."""
    total_steps: int = 200_000
    """Environment steps of a training that is not stopped."""
    space: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    """Where to search, in the place of the agent's own space: `--space learning_rate=1e-4:1e-2:log` (or linear, int),
    or choices, `--space gamma=0.99,0.995`; may be given several times."""
    sampler: Literal["qmc", "random", "tpe"] = "qmc"
    """qmc: a scrambled Sobol sequence; tpe learns from earlier trials."""
    race: bool = True
    """Stop trainings once a corrected test says that they will not win."""
    alpha: float = 0.1
    """At most in this share of searches is the training stopped that would be best."""
    round_size: int = 4
    """Trainings that go forward side by side, in turns."""
    objective: Literal["success", "goal_difference", "return"] = "success"
    """What is maximised: its mean over the last quarter of a training."""
    episodes: int = 200
    """Of the best one's evaluation on held-out seeds."""
    train: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    """A field of the trainings' config, e.g. `--train num_envs=16` (fields in touchline/train_config.py)."""
    seed: int = 0
    """Of the settings' sequence and of every training."""
    out: str = "runs/tune"
    quiet: bool = False
    """No progress bars, or lines of progress."""

    def run(self) -> int:
        import logging

        from rich.markdown import Markdown

        from touchline import tracking

        try:
            from touchline.benchmarks import tune
        except ModuleNotFoundError as error:
            raise ValueError(f"the search needs {error.name}: pip install 'touchline[tune]'") from error
        logging.getLogger("optuna").setLevel(logging.WARNING)
        options = {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.name != "quiet"}
        options |= {"space": tune.read_space(self.space), "train": _values(self.train)}

        def trackers(config: Any) -> list[Any]:
            _print(f"training {config.out}", highlight=False)
            return [] if self.quiet else [tracking.progress(config.total_steps)]

        try:
            done = tune.run_tune(tune.TuneConfig(**options), trackers=trackers)
        except KeyboardInterrupt:
            done = False
        if (Path(self.out) / "table.md").exists():
            _print(Markdown((Path(self.out) / "table.md").read_text()))
        files = f"written: {Path(self.out, 'table.md')}, {Path(self.out, 'best.json')}"
        _print(files if done else "stopped; the same command goes on")
        return 0 if done else 130


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
        options |= {"train": _values(self.train), "opponent_config": _values(self.opponent_config)}
        given = {"agent_config": _values(options.pop("agent_config")), "teacher": options.pop("teacher")}
        options["train"] |= {name: value for name, value in given.items() if value}
        config = league.LeagueConfig(**options)
        trackers = [] if self.quiet else [tracking.progress(config.total_steps)]
        result = league.run_league(config, trackers=trackers, tell=lambda text: _print(Markdown(text)))
        _report_training(result)
        _print(f"champion: {Path(self.out, 'champion')}   ratings: {Path(self.out, 'ratings.csv')}")
        return 130 if result["interrupted"] else 0


@dataclass(frozen=True)
class CuriosityAudit:
    """Shows on toys what the exploration modules claim, beside controls that must fail; a stopped audit goes on."""

    seeds: int | None = None
    """Seeds of every row; None is 5, and 1 with --quick."""
    out: Path | None = None
    """Folder of all runs and the report; None is results/curiosity/audit, with --quick runs/curiosity_audit_quick. Runs
    that are there are kept, also those of an older commit: remove the folder to make them again."""
    quick: bool = False
    """About two minutes in all, for CI."""
    rows: tuple[str, ...] = ()
    """Only these rows (see benchmarks/curiosity_audit.py)."""

    def run(self) -> int:
        from touchline.benchmarks import curiosity_audit

        out = self.out or Path("runs/curiosity_audit_quick" if self.quick else "results/curiosity/audit")
        seeds = self.seeds if self.seeds is not None else 1 if self.quick else 5
        try:
            with _progress("audit") as progress:
                audit = curiosity_audit.run_audit(
                    out, seeds=seeds, quick=self.quick, rows=self.rows or None, progress=progress
                )
        except KeyboardInterrupt:
            _print(f"stopped; finished runs are in {out}, and the same command goes on")
            return 130
        for row in audit.rows:
            for check in row.checks:
                line = f"{row.name}  {check.name}: {curiosity_audit.outcome(check)} ({check.detail})"
                _print(line, markup=False, highlight=False)
        print(audit.summary())
        _print(f"written: {out / 'report.md'}")
        return int(not audit.passed)


@dataclass(frozen=True)
class Tournament:
    """Lets policies play against each other, on both sides; a stopped tournament goes on with the same command."""

    policies: Positional[tuple[str, ...]]
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
            with _progress("tournament") as progress:
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
            _print(f"stopped; finished games are in {self.out}, and the same command goes on")
            return 130
        _print(standings.rich_table(result.rows, result.title))
        for note in result.notes:
            _print(note, markup=False, highlight=False)
        _print(f"written: {', '.join(result.files)}")
        return 0


@dataclass(frozen=True)
class Dashboard:
    """Serves a page, to this machine alone, with live curves, ratings, tables and replays of all runs in a folder."""

    runs: Positional[Path] = Path("runs")
    """The folder; runs, leagues, tournaments and suites are found at any depth."""
    port: int = 8642
    """0 takes a free one."""

    def run(self) -> int:
        from touchline import dashboard

        server = dashboard.DashboardServer(dashboard.Dashboard(self.runs), self.port)
        _print(f"dashboard of {self.runs}: {server.url}  (Ctrl-C ends it)", markup=False, highlight=False)
        dashboard.serve(server)
        return 0


@dataclass(frozen=True)
class Throughput:
    """Measures environment steps per second, side by side in one run, and names the machine."""

    scenarios: tuple[str, ...] = ("11_vs_11_easy_stochastic", "academy_3_vs_1_with_keeper")
    num_envs: int = 16
    num_threads: int | None = None
    rounds: int = 5
    """Every candidate is measured once a round, in turn."""
    seconds: float = 4.0
    """Length of one measurement."""
    players: bool = False
    """Instead: what 1 to 22 controlled players cost beside the bare engine loop (writes players.json, players.md)."""
    out: Path | None = None
    """Folder for throughput.json and throughput.md."""

    def run(self) -> int:
        from touchline.benchmarks import player_throughput, throughput

        if self.players:
            with _progress("throughput") as progress:
                table = player_throughput.measure(
                    num_envs=self.num_envs,
                    num_threads=self.num_threads,
                    rounds=self.rounds,
                    seconds=self.seconds,
                    progress=progress,
                )
            _print(table.markdown(), markup=False, highlight=False)
            if self.out is not None:
                table.write(self.out)
            return 0
        with _progress("throughput") as progress:
            report = throughput.measure(
                self.scenarios,
                num_envs=self.num_envs,
                num_threads=self.num_threads,
                rounds=self.rounds,
                seconds=self.seconds,
                progress=progress,
            )
        _print(report.markdown(), markup=False, highlight=False)
        if self.out is not None:
            report.write(self.out)
            _print(f"written: {self.out}")
        return 0


@dataclass(frozen=True)
class Demo:
    """Trains PPO to score into an empty goal, compares it with the random and the built-in player, and films it."""

    out: Path = Path("runs/demo")
    total_steps: int = 200_000
    episodes: int = 200
    seed: int = 0

    def run(self) -> int:
        import shutil

        if self.out.exists():
            _print(f"replacing the run in {self.out}")
            shutil.rmtree(self.out)
        train = Train(total_steps=self.total_steps, seed=self.seed, out=str(self.out))
        if code := train.run((), ()):
            return code
        Evaluate(str(self.out), episodes=self.episodes).run()
        Watch(str(self.out)).run()
        _print(f"everything is in {self.out}; curves: tensorboard --logdir {self.out}")
        return 0


COMMANDS: dict[str, type | dict[str, type]] = {
    "demo": Demo,
    "doctor": Doctor,
    "engine": {"build": EngineBuild, "verify": EngineVerify, "wheel": EngineWheel},
    "scenarios": Scenarios,
    "train": Train,
    "evaluate": Evaluate,
    "watch": Watch,
    "policies": Policies,
    "league": League,
    "tune": Tune,
    "benchmark": Benchmark,
    "report": Report,
    "tournament": Tournament,
    "dashboard": Dashboard,
    "throughput": Throughput,
    "curiosity-audit": CuriosityAudit,
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of `touchline`."""
    sys.exit(run(sys.argv[1:] if arguments is None else list(arguments)))


def run(arguments: list[str]) -> int:
    """Runs one command and returns its exit code; what the user can mend is one line, not a traceback."""
    name, found, rest = "touchline", COMMANDS, arguments
    while isinstance(found, dict):
        if not rest or rest[0] in ("-h", "--help"):
            print(_overview(name, found))
            return 0 if rest else 2
        if rest[0] not in found:
            print(f"no command {rest[0]!r}; there are {', '.join(found)}", file=sys.stderr)
            return 2
        name, found, rest = f"{name} {rest[0]}", found[rest[0]], rest[1:]
    try:
        if found is Train:
            if {"-h", "--help"} & set(rest):
                return _train_help(rest)
            command, unknown = tyro.cli(found, prog=name, args=rest, return_unknown_args=True)
            return command.run(unknown, rest)
        return tyro.cli(found, prog=name, args=rest).run()
    except tuple(_mendable()) as error:
        print(f"{name}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"\n{name}: stopped", file=sys.stderr)
        return 130


def _train_help(rest: list[str]) -> int:
    """Train's own flags, then those of the named agent's config with the defaults that its preset gives them."""
    from touchline.train_config import TrainConfig, config_of

    chosen = {name: value for name in ("agent", "preset") if (value := _value_of(f"--{name}", rest))}
    config = TrainConfig(**chosen).resolved()
    kind = None if _is_sb3(config.agent, None) else _agent_config_kind(config.agent)
    with contextlib.suppress(SystemExit):
        tyro.cli(Train, prog="touchline train", args=["--help"])
    if kind is None:
        from touchline.agents.sb3_learning import hyperparameters

        name = config.agent.partition(":")[2]
        print(f"\nHyper-parameters of {config.agent}, as --sb3 NAME=VALUE: {', '.join(hyperparameters(name))}")
        return 0
    own = f"of the preset {config.preset}" if config.agent_config else f"of {config.agent}"
    print(f"\nFields of the config of {config.agent}, with the defaults {own}:")
    tyro.cli(kind, prog="touchline train", args=["--help"], default=config_of(kind, config.agent_config))
    return 0


def _mendable() -> list[type[BaseException]]:
    """Errors whose message already says what to do."""
    kinds: list[type[BaseException]] = [ValueError, FileNotFoundError, FileExistsError]
    for module, kind in (
        ("touchline.envs.engine.build", "EngineError"),
        ("touchline.checkpoint", "CheckpointError"),
    ):
        if module in sys.modules:
            kinds.append(getattr(sys.modules[module], kind))
    return kinds


def _overview(name: str, commands: dict[str, Any]) -> str:
    lines = [f"usage: {name} COMMAND [--help] ...", ""]
    for command, found in commands.items():
        about = found.__doc__ if not isinstance(found, dict) else " · ".join(found)
        lines.append(f"  {command:<15} {about.splitlines()[0]}")
    return "\n".join(lines)


def _settings(policy: str) -> dict[str, Any]:
    """What a run was trained on; for other policies the defaults."""
    import json

    settings = {
        "scenario": "academy_empty_goal_close",
        "rewards": ("scoring",),
        "left": 1,
        "control": "upstream",
    }
    from touchline import trained

    path = trained.located(policy) / "config.json"
    if path.is_file():
        saved = json.loads(path.read_text())
        settings |= {name: saved[name] for name in settings if saved.get(name) is not None}
    return settings


def _opponents(right: int | None, opponent: str | None, left: int) -> int:
    """Controlled players of the right side."""
    if right is not None:
        return right
    return 0 if opponent is None else left


def _value_of(flag: str, arguments: Sequence[str]) -> str | None:
    """The value that `--flag VALUE` or `--flag=VALUE` gives."""
    for argument, after in itertools.pairwise((*arguments, "")):
        name, _, value = argument.partition("=")
        if name == flag:
            return value or after
    return None


def _was_given(flag: str, arguments: Sequence[str]) -> bool:
    spellings = {flag, flag.replace("-", "_").replace("__", "--", 1)}
    return any(argument.split("=")[0] in spellings for argument in arguments)


def _print(what: object, **options: Any) -> None:
    from rich.console import Console

    Console(soft_wrap=True).print(what, **options)


class _progress:
    """A progress bar as a context; what it yields is called with what is being done and the share done."""

    def __init__(self, title: str) -> None:
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.percentage:3.0f}%"),
            TimeElapsedColumn(),
        )
        self._task = self._bar.add_task(title, total=1.0)

    def __enter__(self) -> Any:
        self._bar.start()
        return lambda what, share: self._bar.update(self._task, description=what, completed=share)

    def __exit__(self, *error: object) -> None:
        self._bar.stop()


if __name__ == "__main__":
    main()
