"""A report's text, tables and pictures, written twice: as one HTML file that loads nothing, and as Markdown."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from importlib import resources
from pathlib import Path

from touchline.benchmarks import report_figures
from touchline.benchmarks.report_figures import Look, Panel


@dataclass(frozen=True)
class Heading:
    """A title of level 2 to 4; on level 2 a part of the report begins."""

    level: int
    text: str


@dataclass(frozen=True)
class Text:
    """A paragraph; `code`, **bold** and [links](address) are written as in Markdown. A note stands out."""

    text: str
    note: bool = False


@dataclass(frozen=True)
class Facts:
    """A few numbers with their names."""

    facts: Mapping[str, str]


@dataclass(frozen=True)
class Table:
    """Cells are texts as in `Text`, with line breaks.

    Attributes:
        kinds: of each row: "" is ours, "yardstick" a scripted player, "published" somebody else's, "unfinished".
        caption: above it.
        fold: it is shown on demand in HTML.
    """

    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    kinds: Sequence[str] = ()
    caption: str = ""
    fold: bool = False


@dataclass(frozen=True)
class Figures:
    """Panels that belong together.

    Attributes:
        name: of the PNG file.
        looks: of the legend's variants; none for panels that name them on an axis.
        only: "html" or "markdown" where the other shows the panels elsewhere.
    """

    name: str
    panels: Sequence[Panel]
    looks: Mapping[str, Look] = field(default_factory=dict)
    only: str = ""


_WIDE = 5.0
"""Inches; wider panels take two columns of a page."""

Block = Heading | Text | Facts | Table | Figures


# ---- HTML --------------------------------------------------------------------------------------------------


def html(title: str, blocks: Sequence[Block]) -> str:
    """One page, with its style, its little script and its pictures inside."""
    body, parts = [], 0
    links = []
    for block in blocks:
        if isinstance(block, Heading) and block.level == 2:
            body.append(("</section>" if parts else "") + f'<section id="part-{parts}">')
            links.append(f'<a href="#part-{parts}">{_inline(block.text)}</a>')
            parts += 1
        body.append(_html(block))
    body.append("</section>" if parts else "")
    most = max((len(block.looks) for block in blocks if isinstance(block, Figures)), default=0)
    hidden = "".join(f".hide-{i} .v-{i}{{display:none}}" for i in range(most))
    page = resources.files("touchline").joinpath("benchmarks/report.html").read_text()
    page = page.replace("<!--title-->", escape(title)).replace("/*hidden*/", hidden)
    return page.replace("<!--links-->", "".join(links)).replace("<!--body-->", "\n".join(body))


def _html(block: Block) -> str:
    match block:
        case Heading(level, text):
            return f"<h{level}>{_inline(text)}</h{level}>"
        case Text(text, note):
            return f'<p class="note">{_inline(text)}</p>' if note else f"<p>{_inline(text)}</p>"
        case Facts(facts):
            cells = "".join(f"<div><dt>{_inline(k)}</dt><dd>{_inline(v)}</dd></div>" for k, v in facts.items())
            return f'<dl class="facts">{cells}</dl>'
        case Table():
            return _html_table(block)
        case Figures(only="markdown"):
            return ""
        case Figures(panels=panels, looks=looks):
            pictures = "".join(map(_html_figure, panels))
            return f'{_legend(looks)}<div class="figures">{pictures}</div>'


def _html_figure(panel: Panel) -> str:
    wide = ' class="wide"' if panel.size[0] > _WIDE else ""
    return f"<figure{wide}>{report_figures.svg(panel)}</figure>"


def _legend(looks: Mapping[str, Look]) -> str:
    """Buttons that show and hide a variant in the pictures of their part."""
    if not looks:
        return ""
    buttons = []
    for variant, look in looks.items():
        dashes = f' stroke-dasharray="{look.dashes[0] * 1.9:g} {look.dashes[1] * 1.9:g}"' if look.dashes else ""
        colour = "var(--ink)" if look.colour == report_figures.INK else f"var(--c{look.number % 7})"
        line = f'<svg viewBox="0 0 26 8" aria-hidden="true"><path d="M1 4h24" stroke="{colour}"{dashes}/></svg>'
        buttons.append(f'<button data-v="{look.number}" aria-pressed="true">{line}{escape(variant)}</button>')
    return f'<div class="legend">{"".join(buttons)}</div>'


def _html_table(table: Table) -> str:
    kinds = list(table.kinds) or [""] * len(table.rows)
    head = "".join(f"<th>{_inline(cell)}</th>" for cell in table.head)
    rows = []
    for kind, row in zip(kinds, table.rows, strict=True):
        cells = "".join(f"<td>{_inline(cell)}</td>" for cell in row)
        rows.append(f'<tr class="{kind}">{cells}</tr>' if kind else f"<tr>{cells}</tr>")
    name = " published" if kinds and set(kinds) == {"published"} else ""
    inside = f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"
    caption = f"<p>{_inline(table.caption)}</p>" if table.caption and not table.fold else ""
    whole = f'<div class="table{name}">{caption}<div class="scroll" tabindex="0">{inside}</div></div>'
    return f"<details><summary>{_inline(table.caption)}</summary>{whole}</details>" if table.fold else whole


def _inline(text: str) -> str:
    text = escape(text).replace("\n", "<br>")
    text = re.sub(r"`([^`]+)`", r"<code>\1</code>", text)
    text = re.sub(r"\*\*([^*]+)\*\*", r"<b>\1</b>", text)
    return re.sub(r"\[([^\]]+)\]\((https?://[^)\s]+)\)", r'<a href="\2" rel="noreferrer">\1</a>', text)


# ---- Markdown ----------------------------------------------------------------------------------------------


def markdown(title: str, blocks: Sequence[Block], figures: Path) -> str:
    """The same in Markdown; the pictures are written into the folder `figures`, beside the text."""
    parts = [f"# {title}"]
    for block in blocks:
        match block:
            case Heading(level, text):
                parts.append(f"{'#' * level} {text}")
            case Text(text, note):
                parts.append(f"> {text}" if note else text)
            case Facts(facts):
                parts.append(_markdown_table(list(facts), [list(facts.values())]))
            case Table():
                parts += [f"**{block.caption}**"] if block.caption else []
                parts.append(_markdown_table(block.head, block.rows, block.kinds))
            case Figures(name, panels, looks, only) if only != "html" and panels:
                report_figures.write_png(panels, figures / f"{name}.png", looks)
                about = "; ".join(panel.about for panel in panels)
                parts.append(f"![{about}]({figures.name}/{name}.png)")
    return "\n\n".join(parts) + "\n"


def _markdown_table(head: Sequence[str], rows: Sequence[Sequence[str]], kinds: Sequence[str] = ()) -> str:
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for kind, row in zip(list(kinds) or [""] * len(rows), rows, strict=True):
        cells = [cell.replace("|", "\\|").replace("\n", "<br>") for cell in row]
        if kind:
            cells[0] = f"*{cells[0]}*"
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)
