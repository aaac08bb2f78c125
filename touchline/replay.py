"""One trace format for a match: what videos, viewers, tournaments and evaluations write and read.

A replay is an npz archive without pickles: the state arrays of one episode as the simulator filled them, with
the names and places of their slices, so that a trace outlives a change of the layout; the actions and rewards
of the controlled players; named float series; and a JSON text with the rest.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from touchline.envs.simulator import FLOATS, GAME_MODES, INTS, NUM_FLOATS, NUM_INTS, Field, MatchState
from touchline.files import whole

if TYPE_CHECKING:
    from touchline.envs.render import Renderer

FORMAT = "touchline-replay"
VERSION = 1
STEPS_PER_SECOND = 10
TELEPORT = 0.1
"""Observation units a step; a restart moves players further, nothing on legs or in flight does."""

TRAIL_SECONDS = 0.8
GOAL_PAUSE_SECONDS = 1.0


class ReplayError(ValueError):
    """A file that is no replay, is damaged, or was written by a newer touchline."""


@dataclass(frozen=True)
class Replay:
    """One episode of one match.

    Attributes:
        scenario: name of the scenario.
        backend: simulator that played it, "gfootball" or "turf".
        seed: engine seed of the episode; -1 if unknown.
        floats: [T+1, NUM_FLOATS] float32 and
        ints: [T+1, NUM_INTS] int32: the states from the reset to the last one before the next reset.
        actions: [T, N] int32, left agents first.
        rewards: [T, N] float32.
        terminated, truncated: how the episode ended; both False for a trace cut off by the recorder.
        policies: (left, right) names of who played.
        series: named float series [T] for later strips (values, bonuses).
        episode: number of the episode in its evaluation or match, from 0.
        agent: 0 to N - 1, the first agent of the policy that the trace is of: not 0 where that plays on the right
            against agents. `series` are its numbers.
    """

    scenario: str
    backend: str
    seed: int
    floats: np.ndarray
    ints: np.ndarray
    actions: np.ndarray
    rewards: np.ndarray
    terminated: bool = False
    truncated: bool = False
    policies: tuple[str, str] = ("", "built-in AI")
    series: Mapping[str, np.ndarray] = field(default_factory=dict)
    episode: int = 0
    agent: int = 0

    def __post_init__(self) -> None:
        steps = len(self.actions)
        expected = {
            "floats": (self.floats, (steps + 1, NUM_FLOATS)),
            "ints": (self.ints, (steps + 1, NUM_INTS)),
            "rewards": (self.rewards, self.actions.shape),
        }
        expected |= {f"series {name!r}": (values, (steps,)) for name, values in self.series.items()}
        if self.actions.ndim != 2:
            raise ValueError(f"expected actions [T, N], got {self.actions.shape}: give N = 1 its own axis")
        for name, (array, shape) in expected.items():
            if array.shape != shape:
                raise ValueError(f"expected {name} {shape} for T = {steps} steps, got {array.shape}")
        if steps and not 0 <= self.agent < max(1, self.actions.shape[1]):
            raise ValueError(f"expected an agent from 0 to {self.actions.shape[1] - 1}, got {self.agent}")

    @property
    def num_steps(self) -> int:
        """T."""
        return len(self.actions)

    @property
    def states(self) -> MatchState:
        """The T + 1 states as if they were a batch: `replay.states.get("ball_position")` is [T+1, 3]."""
        return MatchState(self.floats, self.ints)

    @property
    def score(self) -> tuple[int, int]:
        """Goals of the left and the right side at the end."""
        return int(self.states.get("left_score")[-1]), int(self.states.get("right_score")[-1])

    @property
    def result(self) -> str:
        """How the episode ended, for people: the headline of the last frame."""
        left, right = (self.states.get(f"{side}_score") for side in ("left", "right"))
        if self.num_steps and not (self.terminated or self.truncated):
            return "CUT"
        if self.num_steps and left[-1] > left[-2]:
            return "GOAL"
        if self.num_steps and right[-1] > right[-2]:
            return "GOAL CONCEDED"
        if self.truncated:
            return "TIME"
        if self.states.get("steps_left")[-1] <= 0:
            return "FULL TIME"
        mode = GAME_MODES[int(self.states.get("game_mode")[-1]) % len(GAME_MODES)]
        return "BALL LOST" if mode == "normal" else mode.replace("_", " ").upper()

    def save(self, path: str | Path) -> Path:
        """Writes the replay in one go: a reader sees the old file or the whole new one."""
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        about = {
            "format": FORMAT,
            "version": VERSION,
            "scenario": self.scenario,
            "backend": self.backend,
            "seed": int(self.seed),
            "episode": int(self.episode),
            "agent": int(self.agent),
            "terminated": bool(self.terminated),
            "truncated": bool(self.truncated),
            "policies": list(self.policies),
            "series": list(self.series),
            "float_layout": {name: [part.start, list(part.shape)] for name, part in FLOATS.items()},
            "int_layout": {name: [part.start, list(part.shape)] for name, part in INTS.items()},
        }
        arrays = {
            "about": np.array(json.dumps(about)),
            "floats": np.asarray(self.floats, np.float32),
            "ints": np.asarray(self.ints, np.int32),
            "actions": np.asarray(self.actions, np.int32),
            "rewards": np.asarray(self.rewards, np.float32),
        }
        arrays |= {f"series_{i}": np.asarray(values, np.float32) for i, values in enumerate(self.series.values())}
        with whole(path) as part, part.open("wb") as file:
            np.savez_compressed(file, **arrays)
        return path

    @classmethod
    def load(cls, path: str | Path) -> Replay:
        """Reads a replay; ReplayError says what is wrong with a file that is none."""
        path = Path(path)
        try:
            with np.load(path, allow_pickle=False) as archive:
                arrays = {name: archive[name] for name in archive.files}
            about = json.loads(str(arrays["about"]))
            if about["format"] != FORMAT:
                raise ReplayError(f"{path} is no replay: its format is {about['format']!r}, not {FORMAT!r}")
            if about["version"] > VERSION:
                raise ReplayError(
                    f"{path} has replay version {about['version']}; this touchline reads up to {VERSION}: "
                    "update touchline"
                )
            return cls(
                scenario=str(about["scenario"]),
                backend=str(about["backend"]),
                seed=int(about["seed"]),
                floats=_arrange(arrays["floats"], about["float_layout"], FLOATS, NUM_FLOATS, np.float32),
                ints=_arrange(arrays["ints"], about["int_layout"], INTS, NUM_INTS, np.int32),
                actions=arrays["actions"],
                rewards=arrays["rewards"],
                terminated=bool(about["terminated"]),
                truncated=bool(about["truncated"]),
                policies=(str(about["policies"][0]), str(about["policies"][1])),
                series={name: arrays[f"series_{i}"] for i, name in enumerate(about["series"])},
                episode=int(about["episode"]),
                agent=int(about.get("agent", 0)),  # older traces do not say
            )
        except (FileNotFoundError, IsADirectoryError, PermissionError, ReplayError):
            raise
        except Exception as error:  # there is no list of what a damaged file may raise
            raise ReplayError(f"{path} is no replay or is damaged ({error})") from error


def _arrange(
    array: np.ndarray,
    written: Mapping[str, Sequence],
    layout: Mapping[str, Field],
    width: int,
    dtype: type,
) -> np.ndarray:
    """Rows of a stored state in today's layout; slices that the writer did not know are 0."""
    if array.ndim != 2:
        raise ValueError(f"expected a state array [T+1, S], got {array.shape}")
    out = np.zeros((len(array), width), dtype)
    for name, part in layout.items():
        if name not in written:
            continue
        start, shape = written[name]
        if tuple(shape) != part.shape:
            raise ValueError(f"{name} was stored with shape {tuple(shape)}, expected {part.shape}")
        stop = start + (part.stop - part.start)
        if not 0 <= start <= stop <= array.shape[1]:
            raise ValueError(f"{name} lies outside of the stored state")
        out[:, part.start : part.stop] = array[:, start:stop]
    return out


class ReplayWriter:
    """Collects one episode of one match of a batch; `finish` makes the `Replay`.

    >>> writer = ReplayWriter("academy_corner", backend="gfootball", seed=7, state=simulator.state, index=3)
    >>> writer.add(actions[3], rewards[3], simulator.state, index=3, value=0.2)     # every step
    >>> replay = writer.finish(terminated=True)

    The state of the last step is `simulator.final_state`: `simulator.state` has already been reset.
    """

    def __init__(
        self,
        scenario: str,
        *,
        backend: str,
        seed: int,
        state: MatchState,
        index: int = 0,
        policies: tuple[str, str] = ("", "built-in AI"),
        episode: int = 0,
        agent: int = 0,
    ) -> None:
        self._about = {
            "scenario": scenario,
            "backend": backend,
            "seed": int(seed),
            "policies": policies,
            "episode": int(episode),
            "agent": int(agent),
        }
        self._floats = [np.array(state.floats[index])]
        self._ints = [np.array(state.ints[index])]
        self._actions: list[np.ndarray] = []
        self._rewards: list[np.ndarray] = []
        self._series: dict[str, list[float]] = {}

    def add(
        self,
        actions: np.ndarray | int,
        rewards: np.ndarray | float,
        state: MatchState,
        index: int = 0,
        **series: float,
    ) -> None:
        """Adds one step: actions [N], rewards [N] or the team's, the state after it, and named numbers."""
        taken = np.atleast_1d(np.asarray(actions, np.int32))
        gained = np.asarray(rewards, np.float32)
        if self._actions and set(series) != set(self._series):
            raise ValueError(f"expected the series {sorted(self._series)} in every step, got {sorted(series)}")
        self._actions.append(taken)
        self._rewards.append(np.broadcast_to(gained, taken.shape).copy())
        self._floats.append(np.array(state.floats[index]))
        self._ints.append(np.array(state.ints[index]))
        for name, value in series.items():
            self._series.setdefault(name, []).append(float(value))

    def finish(self, *, terminated: bool = False, truncated: bool = False) -> Replay:
        """The replay of the steps so far."""
        no_steps = np.zeros((0, 1))
        return Replay(
            floats=np.stack(self._floats).astype(np.float32),
            ints=np.stack(self._ints).astype(np.int32),
            actions=np.stack(self._actions) if self._actions else no_steps.astype(np.int32),
            rewards=np.stack(self._rewards) if self._rewards else no_steps.astype(np.float32),
            terminated=terminated,
            truncated=truncated,
            series={name: np.array(values, np.float32) for name, values in self._series.items()},
            **self._about,
        )


# ---- video ------------------------------------------------------------------------------------------------


def _jumps(before: MatchState, after: MatchState) -> bool:
    """Something moved further than anything can run or fly in one step: a restart."""
    for name in ("left_position", "right_position", "ball_position"):
        moved = np.abs(after.get(name) - before.get(name))[..., :2]
        if moved.size and moved.max() > TELEPORT:
            return True
    return False


def interpolate(replay: Replay, time: float) -> MatchState:
    """The state at `time` (in steps, 0 to T) as a batch of one.

    Between two steps everything moves in a straight line; across a jump the earlier state stands still until
    the later one begins. The engine skips the moments between a goal and the kick-off, so there the ball
    flies on in its last direction, at most into the net.
    """
    step = min(int(time), replay.num_steps)
    share = time - step
    before = MatchState(replay.floats[step : step + 1], replay.ints[step : step + 1])
    if share <= 0.0 or step >= replay.num_steps:
        return before
    after = MatchState(replay.floats[step + 1 : step + 2], replay.ints[step + 1 : step + 2])
    if not _jumps(before, after):
        return MatchState(before.floats + np.float32(share) * (after.floats - before.floats), before.ints)
    if _scorer(before, after) is None:
        return before
    flying = MatchState(before.floats.copy(), before.ints)
    ball = flying.get("ball_position")
    ball += np.float32(share) * flying.get("ball_direction")
    ball[:, 0] = np.clip(ball[:, 0], -1.04, 1.04)
    ball[:, 2] = np.maximum(ball[:, 2], 0.11)
    return flying


def _scorer(before: MatchState, after: MatchState) -> str | None:
    for side in ("left", "right"):
        if after.get(f"{side}_score")[0] > before.get(f"{side}_score")[0]:
            return side
    return None


def frames(
    replay: Replay,
    *,
    fps: int = 30,
    renderer: Renderer | None = None,
    intro_seconds: float = 1.0,
    outro_seconds: float = 1.5,
    label: str | None = None,
) -> Iterator[np.ndarray]:
    """The pictures of one episode at real time (10 steps a second).

    A card with the names first, then floor(T·fps/10) + 1 pictures of play, one second of pause at every goal
    within the episode, and the last picture held with the result.
    """
    if not 1 <= fps <= 240:
        raise ValueError(f"expected 1 to 240 frames per second, got {fps}")
    if renderer is None:
        from touchline.envs.render import Renderer

        renderer = Renderer()
    names = tuple(_short(name) or side for name, side in zip(replay.policies, ("Left", "Right"), strict=True))
    line = label or f"{replay.scenario}  ·  seed {replay.seed}"

    def caption(step: int) -> str:
        numbers = [f"{name} {values[step]:+.3f}" for name, values in replay.series.items()] if step >= 0 else []
        return "  ·  ".join([line, *numbers])

    start = interpolate(replay, 0.0)
    card = None
    for _ in range(round(intro_seconds * fps)):
        if card is None:
            card = renderer.frame(
                start, title=f"{names[0]}  v  {names[1]}", subtitle=line, caption=caption(-1), names=names
            )
        yield card

    unseen_goal = _ends_with_unseen_goal(replay)
    trail: list[np.ndarray] = []
    longest = max(2, round(TRAIL_SECONDS * fps))
    last = start
    shown = 0
    for k in range(replay.num_steps * fps // STEPS_PER_SECOND + 1):
        time = k * STEPS_PER_SECOND / fps
        state = interpolate(replay, time)
        # Steps that ended since the last picture; at the end of the episode the result card takes over.
        for step in range(shown + 1, min(int(time), replay.num_steps - 1) + 1):
            before, after = (MatchState(replay.floats[i : i + 1], replay.ints[i : i + 1]) for i in (step - 1, step))
            scorer = _scorer(before, after)
            if scorer is not None:
                held = renderer.frame(
                    MatchState(last.floats, after.ints),
                    trail=np.array(trail),
                    title=f"GOAL  {names[0 if scorer == 'left' else 1]}",
                    caption=caption(step - 1),
                    names=names,
                )
                for _ in range(round(GOAL_PAUSE_SECONDS * fps)):
                    yield held
        shown = max(shown, min(int(time), replay.num_steps - 1))
        if int(time) >= replay.num_steps and unseen_goal:
            # The state after a goal shows the kick-off; the moment of the goal says more.
            state = MatchState(last.floats, state.ints)
        elif _jumps(last, state):
            trail.clear()
        trail.append(state.get("ball_position")[0].copy())
        del trail[:-longest]
        step = min(int(time), replay.num_steps - 1)
        yield renderer.frame(state, trail=np.array(trail), caption=caption(step), names=names)
        last = state

    if replay.num_steps:
        final = MatchState(
            last.floats if unseen_goal else replay.floats[-1:],
            replay.ints[-1:],
        )
        left, right = replay.score
        seconds = replay.num_steps / STEPS_PER_SECOND
        held = None
        for _ in range(round(outro_seconds * fps)):
            if held is None:
                held = renderer.frame(
                    final,
                    trail=np.array(trail),
                    title=replay.result,
                    subtitle=f"{names[0]}  {left} : {right}  {names[1]}  ·  {seconds:.1f} s",
                    caption=caption(replay.num_steps - 1),
                    names=names,
                )
            yield held


def _ends_with_unseen_goal(replay: Replay) -> bool:
    """The last step scored, and its state already shows the players lined up for the kick-off."""
    if not replay.num_steps or not replay.result.startswith("GOAL"):
        return False
    before, after = (
        MatchState(replay.floats[i : i + 1], replay.ints[i : i + 1]) for i in (replay.num_steps - 1, replay.num_steps)
    )
    return _jumps(before, after)


def _short(policy: str) -> str:
    """A run directory or file by its last part."""
    return Path(policy).name if policy else ""


def write_video(
    replays: Replay | Sequence[Replay],
    path: str | Path,
    *,
    fps: int = 30,
    renderer: Renderer | None = None,
    intro_seconds: float = 1.0,
    outro_seconds: float = 1.5,
    quality: int = 22,
) -> Path:
    """Writes one or several episodes as an mp4 (H.264, yuv420p) that every browser plays.

    Args:
        quality: x264's constant rate factor, 0 (lossless) to 51; 22 is good and small.
    """
    import imageio_ffmpeg

    path = Path(path)
    if path.suffix != ".mp4":
        raise ValueError(f"expected a path that ends with .mp4, got {path}")
    if isinstance(replays, Replay):
        replays = [replays]
    if not replays:
        raise ValueError("expected at least one replay to make a video of, got none")
    if renderer is None:
        from touchline.envs.render import Renderer

        renderer = Renderer()
    path.parent.mkdir(parents=True, exist_ok=True)
    with (
        whole(path, suffix=".mp4") as part,
        closing(
            imageio_ffmpeg.write_frames(
                str(part),
                (renderer.width, renderer.height),
                fps=fps,
                codec="libx264",
                pix_fmt_out="yuv420p",
                quality=None,
                macro_block_size=2,
                ffmpeg_log_level="error",
                output_params=["-crf", str(quality), "-preset", "veryfast", "-movflags", "+faststart"],
            )
        ) as writer,
    ):
        writer.send(None)
        for number, replay in enumerate(replays, 1):
            label = f"{replay.scenario}  ·  seed {replay.seed}"
            if len(replays) > 1:
                label = f"episode {number} of {len(replays)}  ·  {label}"
            for picture in frames(
                replay,
                fps=fps,
                renderer=renderer,
                intro_seconds=intro_seconds,
                outro_seconds=outro_seconds,
                label=label,
            ):
                writer.send(picture)
    return path
