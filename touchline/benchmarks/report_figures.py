"""The pictures of a report: panels that are written both as SVG for a page and as PNG beside Markdown."""

from __future__ import annotations

import io
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from touchline.benchmarks import report_runs
from touchline.benchmarks.published import Published
from touchline.benchmarks.report_runs import Section
from touchline.benchmarks.report_statistics import AGGREGATES, THRESHOLDS, Interval, iqm_band, mean

try:
    import matplotlib
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D
except ModuleNotFoundError as error:
    if error.name != "matplotlib":
        raise
    raise ValueError("a report needs matplotlib: pip install 'touchline[report]'") from error

INK, DIM, GRID = "#1b2431", "#5d6779", "#dde2ea"
PALETTE = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", INK)
"""Okabe and Ito's colours without the yellow (https://jfly.uni-koeln.de/color); INK stands for their black."""

DASHES = ((), (4.5, 1.5), (1.2, 1.2))
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
MOST_POINTS, MOST_PAIRS = 300, 10
_STYLE = {
    "svg.fonttype": "none",
    "svg.hashsalt": "touchline",
    "font.family": "DejaVu Sans",
    "font.size": 8.5,
    "axes.edgecolor": DIM,
    "axes.labelcolor": DIM,
    "axes.labelsize": 8.5,
    "axes.linewidth": 0.7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlecolor": INK,
    "axes.titlelocation": "left",
    "axes.titlesize": 9.5,
    "axes.titleweight": "bold",
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "grid.linewidth": 0.7,
    "text.color": INK,
    "xtick.color": DIM,
    "ytick.color": DIM,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "lines.solid_capstyle": "round",
}
_VARIABLES = {INK: "ink", DIM: "dim", GRID: "line"} | {c: f"c{i}" for i, c in enumerate(PALETTE) if c != INK}


class Look(NamedTuple):
    """How a variant is drawn: seven colours, each with a marker of its own, then again with dashes, then dotted."""

    number: int
    colour: str
    dashes: tuple[float, ...]
    marker: str


def looks(variants: Sequence[str]) -> dict[str, Look]:
    """A look for every variant."""
    found = {}
    for number, variant in enumerate(variants):
        turn, place = divmod(number, len(PALETTE))
        marker = MARKERS[(place + turn) % len(MARKERS)]
        found[variant] = Look(number, PALETTE[place], DASHES[turn % len(DASHES)], marker)
    return found


@dataclass(frozen=True)
class Panel:
    """One picture.

    Attributes:
        name: of its file, and of what is inside it.
        about: what it shows, for those who cannot see it.
        draw: draws on matplotlib axes.
        size: width and height in inches.
    """

    name: str
    about: str
    draw: Callable[[Any], None]
    size: tuple[float, float] = (4.3, 2.9)


# ---- panels ------------------------------------------------------------------------------------------------


def curves(section: Section, scenario: str, styles: Mapping[str, Look]) -> Panel:
    """Learning curves: a thin line a seed, the interquartile mean over seeds thick, and its interval."""
    column = report_runs.DIFFERENCE if any(_is_match(section, scenario)) else report_runs.SUCCESS
    scale = 100.0 if column == report_runs.SUCCESS else 1.0

    def draw(axes: Any) -> None:
        for variant in section.variants:
            runs, look = section.runs.get((variant, scenario), []), styles[variant]
            _curves(axes, [(run.curve(column), run.result is not None) for run in runs], look, scale)
        axes.set_title(scenario)
        every = [run.curve(column) for (_, name), runs in section.runs.items() if name == scenario for run in runs]
        _step_axis(axes, max((curve[0].max(initial=1) for curve in every), default=1))
        if scale == 100.0:
            most = max((100 * curve[1].max(initial=0) for curve in every), default=0)
            axes.set(ylim=(0, 101 if most > 40 else max(5, 1.25 * most)), ylabel="success in training, %")
        else:
            axes.axhline(0, color=DIM, lw=0.8)
            axes.set_ylabel("goal difference in training")

    return Panel(f"curves-{scenario}", f"Learning curves on {scenario}", draw)


def _is_match(section: Section, scenario: str) -> list[bool]:
    return [runs[0].is_match for (_, name), runs in section.runs.items() if name == scenario]


def _curves(axes: Any, found: Sequence[tuple[np.ndarray, bool]], look: Look, scale: float) -> None:
    finished = [curve for curve, done in found if done and curve.shape[1]]
    for curve, done in found:
        if not curve.shape[1] or (done and len(finished) == 1):
            continue
        kept = np.unique(np.linspace(0, curve.shape[1] - 1, MOST_POINTS).astype(int))
        (line,) = axes.plot(*(curve[:, kept] * [[1], [scale]]), color=look.colour, lw=0.6, alpha=0.5, gid=_gid(look))
        if not done:
            line.set(dashes=(1.0, 1.5), lw=1.1, alpha=0.9)
    if not finished:
        return
    begin, end = max(curve[0, 0] for curve in finished), min(curve[0, -1] for curve in finished)
    points = min(MOST_POINTS, max(curve.shape[1] for curve in finished))
    grid = np.linspace(begin, end, points)
    band = iqm_band(scale * np.array([np.interp(grid, *curve) for curve in finished]))
    (line,) = axes.plot(grid, band.value, color=look.colour, lw=1.9, gid=_gid(look))
    if look.dashes:
        line.set_dashes(look.dashes)
    if band.low is not None:
        axes.fill_between(grid, band.low, band.high, color=look.colour, alpha=0.14, lw=0, gid=_gid(look))


def _gid(look: Look) -> str:
    return f"v-{look.number}"


def _step_axis(axes: Any, most: float) -> None:
    """Steps in thousands or millions."""
    unit, name = (1e6, "millions") if most >= 1e6 else (1e3, "thousands")
    axes.set(xlabel=f"environment steps, {name}", xlim=(0, most))
    axes.xaxis.set_major_locator(matplotlib.ticker.MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]))
    axes.xaxis.set_major_formatter(lambda x, _: f"{x / unit:g}")


def _share_limits(low: float, high: float) -> tuple[float, float]:
    """Where an axis of shares in percent begins and ends: all of it, or the end where everything is."""
    if high < 40:
        return -0.02 * max(5.0, 1.25 * high), max(5.0, 1.25 * high)
    if low > 60:
        return 100 - max(25.0, 1.25 * (100 - low)), 100.5
    return -2.0, 102.0


def outcomes(
    section: Section, scenario: str, styles: Mapping[str, Look], beside: Sequence[Published] = ()
) -> Panel | None:
    """Frozen policies of every seed, their mean with its interval, and published numbers, hollow and grey."""
    is_match = any(_is_match(section, scenario))
    name, scale = ("score/goal_difference_per_game", 1.0) if is_match else ("score/success_rate", 100.0)
    metrics = ("goal_difference",) if is_match else ("success", "score")
    rows = [(variant, section.finished(variant, scenario)) for variant in section.variants]
    rows = [(variant, runs) for variant, runs in rows if runs]
    beside = [one for one in beside if one.metric in metrics and one.players == str(section.conditions.left)]
    if not rows:
        return None

    def draw(axes: Any) -> None:
        for height, (variant, runs) in enumerate(rows):
            _outcome(axes, height, np.array([run.score(name) for run in runs]) * scale, styles[variant])
        for height, one in enumerate(beside, len(rows)):
            spread = scale * (one.spread or 0.0)
            bar = {"color": DIM, "lw": 1.0, "ls": (0, (2, 2))}
            axes.plot([scale * one.value - spread, scale * one.value + spread], [height] * 2, **bar)
            axes.plot(scale * one.value, height, "D", mfc="none", mec=DIM, ms=5)
        labels = [variant for variant, _ in rows] + [_published_label(one) for one in beside]
        axes.set_yticks(range(len(labels)), labels)
        for number, label in enumerate(axes.get_yticklabels()):
            label.set(color=INK) if number < len(rows) else label.set(color=DIM, style="italic")
        axes.set_title(scenario, loc="right")  # there is room for it, however long the labels are
        axes.set_ylim(len(labels) - 0.4, -0.6)
        axes.grid(False, axis="y")
        if is_match:
            axes.axvline(0, color=DIM, lw=0.8)
            axes.set_xlabel("goal difference per game")
        else:
            shown = [scale * x for _, runs in rows for run in runs for x in run.score(name)]
            shown += [scale * (one.value + sign * (one.spread or 0)) for one in beside for sign in (-1, 1)]
            axes.set(xlim=_share_limits(max(0.0, min(shown)), min(100.0, max(shown))), xlabel="success, %")

    height = 0.85 + 0.23 * (len(rows) + len(beside))
    return Panel(f"outcomes-{scenario}", f"Frozen policies on {scenario}", draw, (4.3, height))


def _published_label(one: Published) -> str:
    steps = "" if one.steps is None else f", {one.steps:g} M"
    return f"published: {one.method}{steps}"


def _outcome(axes: Any, height: int, scores: np.ndarray, look: Look) -> None:
    """Scores [seeds, 3] with their intervals over episodes."""
    colour, gid = look.colour, _gid(look)
    if len(scores) == 1:
        value, low, high = scores[0]
        axes.plot([low, high], [height] * 2, color=colour, lw=1.1, alpha=0.7, gid=gid)
        axes.plot(value, height, look.marker, color=colour, ms=5.5, gid=gid)
        return
    found = mean(scores[:, 0])
    if found.low is not None:
        axes.plot([found.low[0], found.high[0]], [height] * 2, color=colour, lw=6, alpha=0.28, gid=gid)
    axes.plot(scores[:, 0], [height] * len(scores), look.marker, mfc="none", mec=colour, ms=4, mew=0.9, gid=gid)
    axes.plot(found.value, [height], "|", color=colour, ms=12, mew=2.2, gid=gid)


def aggregate(number: int, found: Mapping[str, Interval], styles: Mapping[str, Look], name: str) -> Panel:
    """One of `AGGREGATES` of every variant."""
    title = list(AGGREGATES)[number]

    def draw(axes: Any) -> None:
        for height, (variant, interval) in enumerate(found.items()):
            look = styles[variant]
            if interval.low is not None:
                ends = [100 * interval.low[number], 100 * interval.high[number]]
                axes.plot(
                    ends, [height] * 2, color=look.colour, lw=7, alpha=0.35, solid_capstyle="butt", gid=_gid(look)
                )
            axes.plot(100 * interval.value[number], height, "|", color=look.colour, ms=11, mew=2.4, gid=_gid(look))
        axes.set_yticks(range(len(found)), list(found))
        for label in axes.get_yticklabels():
            label.set_color(INK)
        better = "lower is better" if number == len(AGGREGATES) - 1 else "higher is better"
        every = [100 * x[number] for interval in found.values() for x in interval if x is not None]
        limits = _share_limits(min(every), max(every))
        axes.set(title=title, ylim=(len(found) - 0.4, -0.6), xlim=limits, xlabel=f"%, {better}")
        axes.grid(False, axis="y")

    return Panel(f"{name}-{number}", f"{title} over runs", draw, (4.3, 0.85 + 0.23 * len(found)))


def profiles(found: Mapping[str, Interval], styles: Mapping[str, Look], name: str) -> Panel:
    """Performance profiles: the share of runs above every threshold."""

    def draw(axes: Any) -> None:
        for variant, interval in found.items():
            look, x = styles[variant], 100 * THRESHOLDS
            (line,) = axes.step(x, 100 * interval.value, where="post", color=look.colour, lw=1.7, gid=_gid(look))
            if look.dashes:
                line.set_dashes(look.dashes)
            if interval.low is not None:
                edges = (100 * interval.low, 100 * interval.high)
                axes.fill_between(x, *edges, step="post", color=look.colour, alpha=0.12, lw=0, gid=_gid(look))
        edges = [100 * THRESHOLDS[x > 0] for interval in found.values() for x in interval if x is not None]
        most = max((edge.max(initial=0.0) for edge in edges), default=0.0)
        axes.set(xlim=(0, 100 if most > 40 else max(5.0, 1.25 * most)), ylim=(-1, 102))
        axes.set(xlabel="success τ, %", ylabel="runs with more than τ, %")
        axes.set_title("Performance profiles")

    return Panel(name, "Performance profiles", draw)


def improvements(variants: Sequence[str], found: Mapping[tuple[str, str], Interval], name: str) -> Panel:
    """Probabilities of improvement: of few pairs with intervals, of many as a matrix in the variants' order."""
    if len(found) > MOST_PAIRS:
        return _matrix(variants, found, name)

    def draw(axes: Any) -> None:
        for height, interval in enumerate(found.values()):
            if interval.low is not None:
                ends = [100 * interval.low[0], 100 * interval.high[0]]
                axes.plot(ends, [height] * 2, color=PALETTE[0], lw=7, alpha=0.35, solid_capstyle="butt")
            axes.plot(100 * interval.value[0], height, "|", color=PALETTE[0], ms=11, mew=2.4)
        axes.axvline(50, color=DIM, lw=0.9)
        axes.set_yticks(range(len(found)), [f"{x} > {y}" for x, y in found])
        for label in axes.get_yticklabels():
            label.set_color(INK)
        axes.set(title="Probability of improvement", ylim=(len(found) - 0.4, -0.6), xlim=(-2, 102))
        axes.set_xlabel("P(X > Y), %; equal ones have 50")
        axes.grid(False, axis="y")

    return Panel(name, "Probability of improvement, pair by pair", draw, (4.3, 0.85 + 0.23 * max(2, len(found))))


def _matrix(names: Sequence[str], found: Mapping[tuple[str, str], Interval], name: str) -> Panel:
    values = np.full((len(names), len(names)), math.nan)
    for (x, y), interval in found.items():
        i, j = names.index(x), names.index(y)
        values[i, j], values[j, i] = interval.value[0], 1 - interval.value[0]

    def draw(axes: Any) -> None:
        edges = np.arange(len(names) + 1) - 0.5
        axes.pcolormesh(edges, edges, np.ma.masked_invalid(values), cmap="PuOr_r", vmin=0, vmax=1, rasterized=False)
        for i, j in zip(*np.nonzero(np.isfinite(values)), strict=True):
            colour = "#ffffff" if abs(values[i, j] - 0.5) > 0.33 else "#000000"
            text = f"{100 * values[i, j]:.0f}"
            axes.text(j, i, text, ha="center", va="center", color=colour, fontsize=6.5 if len(names) > 8 else 8)
        axes.set_xticks(range(len(names)), names, rotation=45, ha="right", rotation_mode="anchor")
        axes.set_yticks(range(len(names)), names)
        axes.set(title="P(row > column), %", ylim=(len(names) - 0.5, -0.5))
        axes.grid(False)

    side = 1.4 + 0.29 * len(names)
    return Panel(name, "Probability of improvement of the row over the column", draw, (side + 0.3, side))


# ---- files -------------------------------------------------------------------------------------------------


def svg(panel: Panel) -> str:
    """The panel as an element for HTML: no fixed size, colours by the page's variables, no ids but its own."""
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=panel.size, layout="constrained")
        panel.draw(figure.add_subplot(facecolor="none"))
        text = io.StringIO()
        figure.savefig(
            text, format="svg", transparent=True, metadata=dict.fromkeys(("Date", "Creator", "Format", "Type"))
        )
    found = text.getvalue()
    found = found[found.index("<svg") :]
    found = re.sub(r"<metadata>.*?</metadata>", "", found, flags=re.DOTALL)
    found = re.sub(r' xmlns(:\w+)?="[^"]*"| version="1.1"| (width|height)="[\d.]+pt"', "", found)
    found = re.sub(r'<g id="(v-\d+)"', r'<g class="\1"', found)
    found = re.sub(r'<g id="[^"]*"', "<g", found)
    found = re.sub(r'(id="|href="#|url\(#)(?=[mp][0-9a-f])', rf"\g<1>{panel.name}-", found).replace("xlink:", "")
    found = re.sub(r' transform="rotate\(-0 [^"]*"', "", found)
    found = re.sub(r" ?font-family: [^;\"]*;?", "", found)
    found = re.sub(r"<[^>]*>", lambda tag: _shortened(tag[0]), found)  # what people read stays as it is
    found = re.sub(r"\s*\n\s*", " ", found).replace("> <", "><")
    return found.replace("<svg", f'<svg role="img" aria-label="{escape(panel.about)}"', 1).strip()


def _shortened(tag: str) -> str:
    """A tag with coordinates of one decimal, and the page's variables in the place of colours."""
    tag = re.sub(r"-?\d+\.\d{2,}", lambda number: f"{float(number[0]):.1f}".removesuffix(".0"), tag)
    for colour, variable in _VARIABLES.items():
        tag = tag.replace(colour, f"var(--{variable})")
    return tag


def write_png(panels: Sequence[Panel], path: Path, styles: Mapping[str, Look], *, columns: int = 3) -> None:
    """Panels beside and below each other in one picture, with a legend of the variants."""
    columns = min(columns, len(panels))
    rows = [panels[i : i + columns] for i in range(0, len(panels), columns)]
    heights = [max(panel.size[1] for panel in row) for row in rows]
    widest = max(panel.size[0] for panel in panels)
    legend = 0.25 * math.ceil(len(styles) / (columns * 3)) + 0.15 if styles else 0.0
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(widest * columns, sum(heights) + legend), dpi=130, layout="constrained")
        cells = figure.add_gridspec(len(rows), columns, height_ratios=heights)
        for i, row in enumerate(rows):
            for j, panel in enumerate(row):
                panel.draw(figure.add_subplot(cells[i, j]))
        if styles:
            handles = [
                Line2D([], [], color=look.colour, lw=1.9, dashes=look.dashes or (None, None), marker=look.marker, ms=4)
                for look in styles.values()
            ]
            figure.legend(handles, list(styles), loc="outside lower center", ncols=columns * 3, frameon=False)
        figure.get_layout_engine().set(w_pad=0.1, h_pad=0.1)
        picture = io.BytesIO()
        figure.savefig(picture, format="png")
    with Image.open(picture) as full:  # a palette is a third of the size
        full.convert("RGB").quantize(256, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE).save(path)
