"""Writes the tables of the documentation that are read from the code: `python scripts/docs_tables.py`.

They stand between `<!-- table: KIND NAMES... -->` and `<!-- end of table -->`; a test asks that they are up to date.
"""

import dataclasses
import importlib
import re
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
TABLE = re.compile(r"(<!-- table: ([^>]+?) -->\n).*?(<!-- end of table -->)", re.DOTALL)

USUAL = {
    "end_episode_on_out_of_play": "the ball out of play ends it",
    "end_episode_on_possession_change": "a lost ball ends it",
    "end_episode_on_score": "a goal ends the episode",
    "game_engine_random_seed": "see `deterministic`",
    "offsides": "are given",
    "activation": "of the networks' hidden layers",
    "cnn_depths": "channels of the CNN's blocks",
    "cnn_width": "outputs of the CNN",
    "encoder": "`mlp` or `impala_cnn`; `auto` goes by the observation's shape",
    "optimiser": "`adam` or `rmsprop`",
    "entropy_coef": "weight of the entropy",
    "max_grad_norm": "longer gradients are cut to this length",
    "normalise_observations": "by running mean and deviation; of vectors of floats",
    "normalise_values": "targets by running mean and deviation (PopArt)",
}
"""What docstrings take as known."""


def config(module, preset=None):
    """Fields of a module's Config, `agents.ppo` say: default, what a preset makes of it, meaning."""
    kind = importlib.import_module(f"touchline.{module}").Config
    about = USUAL | {name: text for base in reversed(kind.__mro__) for name, text in attributes(base.__doc__ or "")}
    chosen = {}
    if preset:
        from touchline.benchmarks import presets

        chosen = presets.load(preset).agent_config
    yield ["field", "default", *([f"`{preset}`"] if preset else []), "what it is"]
    for field in dataclasses.fields(kind):
        row = [f"`{field.name}`", shown(field.default)]
        if preset:
            row.append(shown(chosen[field.name]) if field.name in chosen else "")
        yield [*row, about.get(field.name, "")]


def attributes(docstring):
    """(name, text) of what the section Attributes of a docstring tells; one text may belong to several names."""
    section = docstring.partition("Attributes:\n")[2]
    entries = re.split(r"\n {8}(?=\S)", "\n" + section.rstrip())
    for entry in entries[1:]:
        # "a: text. b: more" is two entries on one line only in prose, which Config docstrings do not have.
        names, colon, text = entry.partition(": ")
        if colon:
            text = " ".join(text.split()).removesuffix(".").replace("|", "\\|")
            text = re.sub(r"(https?://[^\s,;)]+)", r"<\1>", text)
            yield from ((name.strip(), text) for name in names.split(","))


def shown(value):
    """A default as one would type it."""
    return "`" + (repr(value).replace("'", "") or '""') + "`"


def fields(module, name):
    """Fields of a dataclass of the vocabulary, `types Scenario`."""
    kind = getattr(importlib.import_module(f"touchline.{module}"), name)
    about = dict(attributes(kind.__doc__))
    yield ["field", "default", "what it is"]
    for field in dataclasses.fields(kind):
        needed = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        default = field.default_factory() if field.default is dataclasses.MISSING and not needed else field.default
        yield [f"`{field.name}`", "" if needed else shown(default), about.get(field.name, USUAL.get(field.name, ""))]


def scenarios():
    """Who plays where, for how long, and what ends it."""
    from touchline import scenarios

    yield ["scenario", "players", "can be controlled", "AI, left and right", "steps", "ends early on", "offsides"]
    for name in scenarios.names():
        s = scenarios.load(name)
        ends = {
            "goal": s.end_episode_on_score,
            "out of play": s.end_episode_on_out_of_play,
            "lost ball": s.end_episode_on_possession_change,
        }
        yield [
            f"`{name}`",
            f"{len(s.left_team)} v {len(s.right_team)}",
            f"{len(s.controllable('left'))} v {len(s.controllable('right'))}",
            f"{s.left_team_difficulty:g}, {s.right_team_difficulty:g}",
            str(s.game_duration),
            ", ".join(end for end, does in ends.items() if does) or "nothing",
            "yes" if s.offsides else "no",
        ]


KINDS = {"config": config, "fields": fields, "scenarios": scenarios}


def has_tables(page):
    """A page has tables that are written here."""
    return bool(TABLE.search(page.read_text()))


def filled_in(text):
    """A page with its tables as the code has them."""

    def fill(found):
        kind, *names = found[2].split()
        first, *rows = KINDS[kind](*names)
        table = [first, ["---"] * len(first), *rows]
        return found[1] + "\n" + "".join(f"| {' | '.join(row)} |\n" for row in table) + "\n" + found[3]

    return TABLE.sub(fill, text)


def main() -> None:
    """Fills in all pages."""
    for page in sorted((ROOT / "docs").rglob("*.md")):
        text = page.read_text()
        if (new := filled_in(text)) != text:
            page.write_text(new)
            print(page.relative_to(ROOT))


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    main()
