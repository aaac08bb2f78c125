"""Commands that let policies play: to judge them, to watch them."""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import tyro

from touchline.commands.console import ProgressBar, say
from touchline.files import write_text

if TYPE_CHECKING:
    from touchline.replay import Replay


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
        from touchline.benchmarks.policies import load_policy

        settings = settings_of(self.policy)
        left = self.left if self.left is not None else settings["left"]
        out = self.out or folder_of(self.policy)
        if out is not None:
            out.mkdir(parents=True, exist_ok=True)
        for name in self.yardsticks:
            load_policy(name, num_players=left, trust=self.trust)  # a wrong name is told before anybody plays
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
            try:
                results += evaluation.yardsticks(result, names=self.yardsticks, opponent=self.opponent, **common)
            finally:
                if out is not None:
                    evaluation.write_json(results, out / "eval.json")
                    write_text(out / "eval.md", evaluation.markdown(results))
                say(evaluation.table(results))
                if out is not None:
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
    """None is the scenario that the run was trained on, or that of the replay."""
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
        from touchline.replay import Replay, write_video

        if self.who is not None and self.policy is not None:
            raise ValueError(f"expected one policy, got {self.who} and --policy {self.policy}")
        policy = self.who or self.policy or trained.DEFAULT
        html = self.html or (self.out.suffix == ".html" if self.out else not (self.who or self.policy))
        if self.versus is not None and not html:
            raise ValueError("--versus needs --html: a video shows one policy")
        if self.fps < 1 or self.episodes < 1:
            raise ValueError(f"expected fps and episodes of at least 1, got {self.fps} and {self.episodes}")
        out = self.out or (folder_of(policy) or Path(".")) / ("watch.html" if html else "watch.mp4")
        if out.suffix != (wanted := ".html" if html else ".mp4"):
            raise ValueError(f"expected a path that ends with {wanted}, got {out}")
        out.parent.mkdir(parents=True, exist_ok=True)
        saved = {who: Replay.load(who) for who in (policy, self.versus) if who and who.endswith(".npz")}
        settings, like = settings_of(policy), next(iter(saved.values()), None)
        replays, versus = (
            None if who is None else [saved[who]] if who in saved else self._played(who, settings, like)
            for who in (policy, self.versus)
        )
        if html:
            from touchline.html_replay import write_html

            path = write_html(replays, out, versus=versus)
            say(f"page: {path}  ({path.stat().st_size / 1e6:.2f} MB)")
        else:
            path = write_video(replays, out, fps=self.fps)
            say(f"video: {path}")
        return 0

    def _played(self, policy: str, settings: dict[str, Any], like: Replay | None) -> list[Replay]:
        """Episodes of the policy in what `settings` say; beside a saved replay one of its scenario and seed.

        A replay has its scenario's name alone: of a scenario in a file `--scenario` says where that lies.
        """
        from touchline import scenarios
        from touchline.benchmarks.evaluate import evaluate, evaluation_of
        from touchline.replay import Replay

        scenario, seed, episodes = self.scenario or settings["scenario"], self.seed, range(self.episodes)
        if like is not None:
            seed, number = evaluation_of(like.seed)
            scenario, episodes = self.scenario or like.scenario, range(number, number + 1)
        with tempfile.TemporaryDirectory() as scratch:
            result = evaluate(
                policy,
                scenario,
                episodes=episodes.stop,
                seed=seed,
                num_envs=min(episodes.stop, 16),
                backend=self.backend,
                rewards=settings["rewards"],
                left=settings["left"],
                right=right_players(self.right, self.opponent, settings["left"]),
                opponent=self.opponent,
                control=settings["control"],
                replays=episodes.stop,
                replay_dir=scratch,
                trust=self.trust,
            )
            played = [Replay.load(path) for path in result.replays[episodes.start :]]
        if like is not None and scenarios.load(scenario).name == like.scenario:
            played = [replace(replay, scenario=like.scenario) for replay in played]
        return played


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


def folder_of(policy: str) -> Path | None:
    """The run directory that a policy's results belong to, if there is one."""
    from touchline import trained

    return Path(policy) if Path(policy).is_dir() and trained.located(policy) == Path(policy) else None


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
        try:
            saved = json.loads(path.read_text())
            saved.items()
        except (ValueError, AttributeError) as error:
            raise ValueError(f"{path} is damaged: {error}") from error
        settings |= {name: saved[name] for name in settings if saved.get(name) is not None}
    return settings


def right_players(right: int | None, opponent: str | None, left: int) -> int:
    """Controlled players of the right side."""
    if right is not None:
        return right
    return 0 if opponent is None else left
