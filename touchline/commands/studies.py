"""Commands that train many agents, and those that say what came of them."""

from __future__ import annotations

import dataclasses
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import tyro

from touchline.commands.console import ProgressBar, say
from touchline.commands.fields import values
from touchline.files import write_text


@dataclass(frozen=True)
class Benchmark:
    """Trains and evaluates every run of a suite that is not there yet; may be stopped and started again at any time."""

    suite: str = "agents"
    """academy: PPO, IMPALA and Ape-X DQN on the drills of Football Academy; football: PPO on 11 against 11, easy to
    hard; agents: the three agents on three drills, longer, three seeds each; ppo_ablations, ppo_preset, impala_preset,
    impala_entropy: what settings are worth; curiosity_small: exploration modules on two drills; curiosity: bonuses on
    six, a large study; multi_agent: three attackers with shared weights (see benchmarks/suites.py)."""
    variants: tuple[str, ...] = ()
    """Only these variants of the suite; the table shows all."""
    budget: int | None = None
    """Environment steps of a run at most, where the suite has more; None leaves the suite's."""
    out: Path | None = None
    """Folder of all runs; None is results/SUITE, and with a budget results/SUITE-BUDGET."""
    jobs: int = 1
    """Trainings at a time, each on its share of the cores; on two cores two take more steps than one after the other.
    Their progress is told by run, not by steps."""
    quiet: bool = False
    """No progress bars, or lines of progress."""

    def run(self) -> int:
        from touchline import tracking
        from touchline.benchmarks import side_by_side, suites

        suite, folder = suites.load(self.suite), self.suite.replace("-", "_")
        if self.budget is not None:
            suite, folder = suite.within(self.budget), f"{folder}-{self.budget}"
        out = self.out or Path("results", folder)
        suites.refuse_other_settings(suite, out)  # all variants stand in the table
        chosen = suite.of(self.variants) if self.variants else suite
        runs = [Path(config.out) for config in chosen.runs(out)]

        def trackers(config: Any) -> list[Any]:
            say(f"run {1 + runs.index(Path(config.out))} of {len(runs)}: {config.out}", highlight=False)
            return [] if self.quiet else [tracking.progress(config.total_steps)]

        if self.jobs == 1:
            for _ in suites.run_suite(chosen, out, trackers=trackers):
                write_text(out / "table.md", suites.table(suite, out))
        else:
            side_by_side.run_suite(chosen, out, jobs=self.jobs, tell=say)
            write_text(out / "table.md", suites.table(suite, out))
        print(suites.table(suite, out))
        missing = sum(not suites.is_done(run) for run in runs)
        if missing:
            say(f"{missing} of {len(runs)} runs are missing; the same command goes on")
        return 130 if missing else 0


@dataclass(frozen=True)
class Report:
    """Writes what runs amount to, with intervals and pictures, as an HTML page and as Markdown."""

    runs: tyro.conf.Positional[tuple[str, ...]]
    """Run directories, or folders that hold some at any depth; LABEL=FOLDER adds the label to its variants' names."""
    out: Path = Path("report")
    """Folder for report.html, report.md and figures/."""

    def run(self) -> int:
        from touchline.benchmarks import report

        say(f"written: {', '.join(map(str, report.write_report(self.runs, self.out)))}")
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
        from rich.markdown import Markdown

        from touchline import tracking

        try:
            from touchline.benchmarks import tune
        except ModuleNotFoundError as error:
            raise ValueError(f"the search needs {error.name}: pip install 'touchline[tune]'") from error
        logging.getLogger("optuna").setLevel(logging.WARNING)
        options = {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.name != "quiet"}
        options |= {"space": tune.read_space(self.space), "train": values(self.train)}

        def trackers(config: Any) -> list[Any]:
            say(f"training {config.out}", highlight=False)
            return [] if self.quiet else [tracking.progress(config.total_steps)]

        try:
            done = tune.run_tune(tune.TuneConfig(**options), trackers=trackers)
        except KeyboardInterrupt:
            done = False
        if (Path(self.out) / "table.md").exists():
            say(Markdown((Path(self.out) / "table.md").read_text()))
        files = f"written: {Path(self.out, 'table.md')}, {Path(self.out, 'best.json')}"
        say(files if done else "stopped; the same command goes on")
        return 0 if done else 130


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
            with ProgressBar("audit") as progress:
                audit = curiosity_audit.run_audit(
                    out, seeds=seeds, quick=self.quick, rows=self.rows or None, progress=progress
                )
        except KeyboardInterrupt:
            say(f"stopped; finished runs are in {out}, and the same command goes on")
            return 130
        for row in audit.rows:
            for check in row.checks:
                line = f"{row.name}  {check.name}: {curiosity_audit.outcome(check)} ({check.detail})"
                say(line, markup=False, highlight=False)
        print(audit.summary())
        say(f"written: {out / 'report.md'}")
        return int(not audit.passed)


@dataclass(frozen=True)
class Dashboard:
    """Serves a page, to this machine alone, with live curves, ratings, tables and replays of all runs in a folder."""

    runs: tyro.conf.Positional[Path] = Path("runs")
    """The folder; runs, leagues, tournaments and suites are found at any depth."""
    port: int = 8642
    """0 takes a free one."""

    def run(self) -> int:
        from touchline import dashboard

        server = dashboard.DashboardServer(dashboard.Dashboard(self.runs), self.port)
        say(f"dashboard of {self.runs}: {server.url}  (Ctrl-C ends it)", markup=False, highlight=False)
        dashboard.serve(server)
        return 0
