"""Replays as one web page: a file that any browser of today plays, without a network or a server.

The page is the template `html_replay.html` with a JSON text of what there is, and one text a match with its numbers:
whole centimetres and other whole numbers as int16 [C, T+1], each channel by its differences in time, low bytes before
high bytes (so that zlib finds the many zeros), then the float32 series [S, T]; zlib, base64. Little-endian throughout.
"""

from __future__ import annotations

import base64
import html
import json
import zlib
from collections.abc import Mapping, Sequence
from importlib import resources
from itertools import accumulate, zip_longest
from pathlib import Path
from typing import Any

import numpy as np

from touchline.envs import render
from touchline.envs.actions import ACTION_SETS
from touchline.envs.simulator import GAME_MODES
from touchline.files import write_text
from touchline.match_events import match_events
from touchline.replay import STEPS_PER_SECOND, TELEPORT, Replay

FORMAT = "touchline-page"
VERSION = 1
CENTIMETRES = np.array([render.METRES_X * 100, render.METRES_Y * 100, 100.0])
"""In one observation unit: x, y and z (which is in metres)."""

_LOW, _HIGH = -32768, 32767
_PITCH = {
    "half_length": render.HALF_LENGTH,
    "half_width": render.HALF_WIDTH,
    "goal_half_width": render.GOAL_HALF_WIDTH,
    "goal_depth": render.GOAL_DEPTH,
    "box_depth": render.BOX_DEPTH,
    "box_half_width": render.BOX_HALF_WIDTH,
    "six_depth": render.SIX_DEPTH,
    "six_half_width": render.SIX_HALF_WIDTH,
    "spot": render.SPOT,
    "circle": render.CIRCLE,
    "margin_x": render.MARGIN_X,
    "margin_y": render.MARGIN_Y,
    "jump_x": TELEPORT * render.METRES_X,
    "jump_y": TELEPORT * render.METRES_Y,
}


def write_html(
    replays: Replay | Sequence[Replay],
    path: str | Path,
    *,
    versus: Replay | Sequence[Replay] | None = None,
    titles: Sequence[str] | None = None,
    series: Sequence[Mapping[str, np.ndarray]] | None = None,
) -> Path:
    """Writes one or several episodes as a page.

    Args:
        versus: as many episodes of somebody else, shown beside the first ones step by step.
        titles: names of the episodes; None is "Episode 1" and so on.
        series: for each of `replays` more named float series [T] for strips under the timeline; their own
            (`Replay.series`) and the rewards of the policy's first agent are shown in any case.
    """
    path = Path(path)
    if path.suffix != ".html":
        raise ValueError(f"expected a path that ends with .html, got {path}")
    return write_text(path, html_page(replays, versus=versus, titles=titles, series=series))


def html_page(
    replays: Replay | Sequence[Replay],
    *,
    versus: Replay | Sequence[Replay] | None = None,
    titles: Sequence[str] | None = None,
    series: Sequence[Mapping[str, np.ndarray]] | None = None,
) -> str:
    """The text of the page that `write_html` writes; the arguments are the same."""
    first = [replays] if isinstance(replays, Replay) else list(replays)
    second = [versus] if isinstance(versus, Replay) else list(versus or ())
    if not first:
        raise ValueError("expected at least one replay to make a page of, got none")
    if second and len(second) != len(first):
        raise ValueError(f"expected as many replays on either side, got {len(first)} and {len(second)}")
    for one, other in zip(first, second, strict=False):
        if one.scenario != other.scenario:
            raise ValueError(f"expected replays of one scenario, got {one.scenario} and {other.scenario}")
    for name, values in (("titles", titles), ("series", series)):
        if values is not None and len(values) != len(first):
            raise ValueError(f"expected {name} for {len(first)} replays, got {len(values)}")
    episodes: list[dict[str, Any]] = []
    texts: list[str] = []
    for number, (left, right) in enumerate(zip_longest(first, second)):
        more = series[number] if series is not None else {}
        panes = []
        for replay, extra in ((left, more), (right, {})):
            if replay is not None:
                about, data = pack(replay, series=extra)
                panes.append(about | {"data": len(texts)})
                texts.append(data)
        title = titles[number] if titles is not None else f"Episode {number + 1}"
        episodes.append({"title": title, "panes": panes})
    about = {
        "format": FORMAT,
        "version": VERSION,
        "rate": STEPS_PER_SECOND,
        "pitch": _PITCH,
        "actions": ACTION_SETS["v2"],
        "modes": GAME_MODES,
        "episodes": episodes,
    }
    return _page(f"{first[0].scenario} · touchline", about, texts)


def pack(replay: Replay, *, series: Mapping[str, np.ndarray] | None = None) -> tuple[dict[str, Any], str]:
    """(what the page must know of a match, its numbers as base64); `series` are more [T] than the replay's own."""
    if not np.isfinite(replay.floats).all():
        raise ValueError(f"the states of episode {replay.episode} are not finite")
    floats = _series(replay, series or {})
    counts = [int(replay.states.get(f"{side}_count").max()) for side in ("left", "right")]
    parts, agents = _channels(replay, counts)
    table = np.clip(np.concatenate(list(parts.values()), 1), _LOW, _HIGH).astype(np.int16).T  # [C, T+1]
    starts = accumulate([part.shape[1] for part in parts.values()], initial=0)
    deltas = np.diff(table, axis=1, prepend=np.int16(0)).astype("<i2")  # wraps, and so does the sum that undoes it
    planes = np.ascontiguousarray(deltas).view(np.uint8).reshape(-1, 2).T
    numbers = np.array(list(floats.values()), "<f4").tobytes()
    about = {
        "scenario": replay.scenario,
        "backend": replay.backend,
        "seed": int(replay.seed),
        "steps": replay.num_steps,
        "names": [Path(n).name or side for n, side in zip(replay.policies, ("Left", "Right"), strict=True)],
        "counts": counts,
        "agents": agents,
        "agent": replay.agent,
        "keepers": [
            np.flatnonzero(replay.states.get(f"{side}_role")[0, :count] == 0).tolist()
            for side, count in zip(("left", "right"), counts, strict=True)
        ],
        "result": replay.result,
        "channels": {name: [start, part.shape[1]] for (name, part), start in zip(parts.items(), starts, strict=False)},
        "series": list(floats),
        "events": [list(event) for event in match_events(replay.states)],
    }
    return about, base64.b64encode(zlib.compress(planes.tobytes() + numbers, 9)).decode("ascii")


def unpack(about: Mapping[str, Any], data: str) -> dict[str, np.ndarray]:
    """What `pack` wrote, as the page reads it: channels [T+1, count] int16 and series [T] float32 by name."""
    raw = zlib.decompress(base64.b64decode(data))
    steps, width = about["steps"], sum(count for _, count in about["channels"].values())
    size = width * (steps + 1)
    planes = np.frombuffer(raw[: 2 * size], np.uint8).reshape(2, size)
    table = np.ascontiguousarray(planes.T).view("<i2").reshape(width, steps + 1).cumsum(1, dtype=np.int16)
    values = np.frombuffer(raw[2 * size :], "<f4").reshape(len(about["series"]), steps)
    out = {name: table[start : start + count].T for name, (start, count) in about["channels"].items()}
    return out | dict(zip(about["series"], values, strict=True))


def _channels(replay: Replay, counts: Sequence[int]) -> tuple[dict[str, np.ndarray], list[int]]:
    """Named whole numbers [T+1, count], and how many agents (left, right) acted; left players come first."""
    states, sides = replay.states, tuple(zip(("left", "right"), counts, strict=True))
    places = np.concatenate([states.get(f"{side}_position")[:, :count] for side, count in sides], 1)
    places = np.rint(places.astype(np.float64) * CENTIMETRES[:2])
    num_agents = replay.actions.shape[1]
    driven, agents = [], []
    for (side, _), first in zip(sides, (0, counts[0]), strict=True):
        players = states.get(f"{side}_controlled")
        number = min(int((players >= 0).any(0).sum()), num_agents - sum(agents))
        agents.append(number)
        driven.append(np.where(players >= 0, players + first, -1)[:, :number])
    idle = np.full((1, num_agents), -1)
    one = ("ball_owned_team", "ball_owned_player", "game_mode", "left_score", "right_score", "steps_left")
    return {
        "x": places[:, :, 0],
        "y": places[:, :, 1],
        "ball": np.rint(states.get("ball_position").astype(np.float64) * CENTIMETRES),
        **{name: states.get(name)[:, None] for name in one},
        "active": np.concatenate([states.get(f"{side}_active")[:, :count] for side, count in sides], 1),
        "yellow": np.concatenate([states.get(f"{side}_yellow")[:, :count] for side, count in sides], 1),
        "controlled": np.concatenate(driven, 1),
        "action": np.concatenate([replay.actions, idle], 0),
    }, agents


def _series(replay: Replay, more: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The strips [T]: the reward of the policy's first agent, then what the replay and the caller have."""
    named = {**replay.series, **more}
    for name, values in named.items():
        if np.shape(values) != (replay.num_steps,):
            raise ValueError(f"expected series {name!r} [T] = ({replay.num_steps},), got {np.shape(values)}")
    paid = replay.num_steps and replay.rewards.shape[1]
    total = replay.rewards[:, replay.agent] if paid else np.zeros(replay.num_steps, np.float32)
    terms = [values for name, values in named.items() if name.startswith("reward/")]
    if len(terms) == 1 and np.array_equal(terms[0], total):  # the only term says it all
        return named
    return {"reward": total, **named}


def _page(title: str, about: Mapping[str, Any], texts: Sequence[str]) -> str:
    """The template with its three holes filled; no text of a replay can end a script or begin a tag."""
    template = resources.files("touchline").joinpath("html_replay.html").read_text(encoding="utf-8")
    plain = json.dumps(about, ensure_ascii=True, separators=(",", ":"), allow_nan=False)
    for sign in "<>&":
        plain = plain.replace(sign, f"\\u{ord(sign):04x}")
    data = "\n".join(f'<script type="text/plain" id="match-{i}">{text}</script>' for i, text in enumerate(texts))
    # The title goes in last: what it says is then not searched for holes.
    for hole, filling in (("<!--data-->", data), ("<!--about-->", plain), ("<!--title-->", html.escape(title))):
        before, found, after = template.partition(hole)
        assert found, hole
        template = before + filling + after
    return template
