"""Commands that let policies play: to judge them, to watch them."""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import tyro

from touchline.commands.console import ProgressBar, say


@dataclass(frozen=True)
class Evaluate:
    """Plays a frozen policy on held-out seeds, beside the random and the built-in player on the same seeds."""

    policy: tyro.conf.Positional[str]
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

        settings = settings_of(self.policy)
        left = self.left if self.left is not None else settings["left"]
        out = self.out or (Path(self.policy) if Path(self.policy).is_dir() else None)
        with ProgressBar("episodes") as progress:
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
                right=right_players(self.right, self.opponent, left),
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
        say(evaluation.table(results))
        if out is not None:
            evaluation.write_json(results, out / "eval.json")
            (out / "eval.md").write_text(evaluation.markdown(results))
            say(f"written: {out / 'eval.json'}, {out / 'eval.md'}")
        return 0


@dataclass(frozen=True)
class Watch:
    """Writes a video (mp4) of a policy or of a saved replay, or a page for the browser."""

    who: tyro.conf.Positional[str | None] = None
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
        settings = settings_of(policy)
        replays = self._replays(policy, settings)
        if html:
            from touchline.html_replay import write_html

            versus = None if self.versus is None else self._replays(self.versus, settings)
            path = write_html(replays, out, versus=versus)
            say(f"page: {path}  ({path.stat().st_size / 1e6:.2f} MB)")
        else:
            path = write_video(replays, out, fps=self.fps)
            say(f"video: {path}")
        return 0

    def _replays(self, policy: str, settings: dict[str, Any]) -> list[Any]:
        """The saved replay, or episodes of the policy in what `settings` say."""
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
                right=right_players(self.right, self.opponent, settings["left"]),
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
            say(f"[bold]{name}[/]", highlight=False)
            for line in trained.describe(trained.card(name)).splitlines():
                say(f"  {line}", highlight=False)
        return 0


def settings_of(policy: str) -> dict[str, Any]:
    """What a run was trained on; for other policies the defaults."""
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


def right_players(right: int | None, opponent: str | None, left: int) -> int:
    """Controlled players of the right side."""
    if right is not None:
        return right
    return 0 if opponent is None else left
