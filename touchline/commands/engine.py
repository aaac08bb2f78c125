"""Commands about the engine, the machine and the scenarios."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import tyro
from rich.markup import escape

from touchline.commands.console import ProgressBar, say


@dataclass(frozen=True)
class Doctor:
    """Says what is missing on this machine and how to mend it."""

    def run(self) -> int:
        from rich.markup import escape

        from touchline.doctor import diagnose

        findings = diagnose()
        for finding in findings:
            mark = "[green]ok[/]  " if finding.ok else "[red]no[/]  " if finding.required else "[dim]--[/]  "
            say(f"{mark} {finding.name}: {escape(finding.found)}")
            if not finding.ok and finding.fix:
                say(f"      fix: [bold]{escape(finding.fix)}[/]")
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
        with ProgressBar("engine") as progress:
            files = build.build(force=self.force, pgo=self.pgo, progress=progress)
        say(f"engine: {files.library}")
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

        with ProgressBar("verify") as progress:
            report = verify.verify(level=self.level, scenarios=self.scenario or None, progress=progress)
        for row in report.rows:
            say(f"{'[green]equal[/]' if row.ok else '[red]DIFFERS[/]'}  {row}", highlight=False)
        say(f"{report.summary}", highlight=False)
        return int(not report.ok)


@dataclass(frozen=True)
class EngineWheel:
    """Makes a wheel of the built engine that needs no compiler and no system package."""

    out: Path = Path("dist")
    """Folder to write it to."""

    def run(self) -> int:
        from touchline.envs.engine.wheel import build_wheel

        with ProgressBar("wheel") as progress:
            path = build_wheel(self.out, progress=progress)
        say(f"{path}  ({path.stat().st_size / 1e6:.1f} MB)")
        return 0


@dataclass(frozen=True)
class Scenarios:
    """Lists the scenarios, and draws those that are named."""

    names: tyro.conf.Positional[tuple[str, ...]] = ()
    """Names, files or modules of scenarios to draw; none lists them all, `all` draws them all."""

    def run(self) -> int:
        from touchline import scenarios

        wanted = scenarios.names() if self.names in ((), ("all",)) else self.names
        for name in wanted:
            scenario = scenarios.load(name)
            say(f"[bold]{escape(scenario.name)}[/]  {escape(scenarios.describe(scenario))}", highlight=False)
            say(f"  {scenario.description}", markup=False, highlight=False)
            if self.names:
                print(scenarios.draw(scenario))
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
            with ProgressBar("throughput") as progress:
                table = player_throughput.measure(
                    num_envs=self.num_envs,
                    num_threads=self.num_threads,
                    rounds=self.rounds,
                    seconds=self.seconds,
                    progress=progress,
                )
            say(table.markdown(), markup=False, highlight=False)
            if self.out is not None:
                table.write(self.out)
            return 0
        with ProgressBar("throughput") as progress:
            report = throughput.measure(
                self.scenarios,
                num_envs=self.num_envs,
                num_threads=self.num_threads,
                rounds=self.rounds,
                seconds=self.seconds,
                progress=progress,
            )
        say(report.markdown(), markup=False, highlight=False)
        if self.out is not None:
            report.write(self.out)
            say(f"written: {self.out}")
        return 0
