"""A cross-table as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from touchline.files import whole

COLOURS = "PuOr"
"""Purple to orange (ColorBrewer, https://colorbrewer2.org): diverging, and apart for every kind of colour vision."""


def draw_heat_map(names: Sequence[str], matrix: np.ndarray, path: Path, *, label: str) -> bool:
    """Draws [K, K] numbers, white at 0; nan is left grey. False if there is no matplotlib to draw with."""
    try:
        from matplotlib import colormaps
        from matplotlib.figure import Figure
    except ImportError:
        return False
    size = len(names)
    shown = np.ma.masked_invalid(matrix)
    most = float(np.abs(shown).max()) if shown.count() else 0.0
    side = 2.5 + 0.75 * size
    figure = Figure(figsize=(side + 1.0, side), dpi=120, layout="constrained")
    axes = figure.add_subplot()
    colours = colormaps[COLOURS].with_extremes(bad="0.9")
    picture = axes.imshow(shown, cmap=colours, vmin=-(most or 1.0), vmax=most or 1.0)
    axes.set_xticks(range(size), names, rotation=45, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(size), names)
    axes.set_xlabel("against")
    for row, column in zip(*np.nonzero(~shown.mask & np.ones(shown.shape, bool)), strict=True):
        value = float(matrix[row, column])
        colour = "white" if abs(value) > 0.65 * most else "black"
        axes.text(column, row, f"{value:+.2f}", ha="center", va="center", color=colour, fontsize=8)
    figure.colorbar(picture, ax=axes, label=label, shrink=0.8)
    with whole(path) as part:
        figure.savefig(part, format="png", bbox_inches="tight")
    return True
