"""Our faster, bit-exact replacements of engine functions, and the patcher that builds them in.

Every `*.cpp` beside this file is one optimisation: a comment that says what it does and why the result stays equal to
the last bit, then sections, each headed by a directive that names a place in the engine's checksummed sources:

    // @replace FILE NAME        the definition of function NAME in FILE is replaced by the section
    // @before FILE NAME         the section goes before that definition
    // @after FILE NAME          the section goes after that definition
    // @enter FILE NAME          the section goes to the start of its body
    // @members FILE CLASS       the section goes to the end of the definition of class CLASS
    // @top FILE                 the section goes after the last #include of FILE
    // @rename FILE NAME OLD NEW [COUNT]   inside the definition of NAME (its head included), identifier OLD becomes
                                 NEW, which must happen COUNT times (once if it is not given)
    // @needs OPTIMISATION       this one builds upon another, and is left out where that is

FILE is relative to the engine's `src`; NAME is written as in the definition (`Match::Mirror`); of overloads, the one
whose head contains the text after a bar is meant (`Vector3::Normalize|ifNull`). A place must exist exactly once: what
does not raises a `PatchError` that names it, and the build goes on without any of the optimisations.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).parent


class PatchError(RuntimeError):
    """A place that an optimisation names does not exist exactly once."""


@dataclass(frozen=True)
class Section:
    """One directive and the text under it."""

    verb: str
    file: str
    arguments: tuple[str, ...]
    text: str


@dataclass(frozen=True)
class Speedup:
    """One optimisation, as its file describes it."""

    name: str
    about: str
    needs: tuple[str, ...]
    sections: tuple[Section, ...]


_DIRECTIVE = re.compile(r"^// @(\w+) +(.*?)\s*$", re.MULTILINE)
_ARGUMENTS = {
    "replace": (1,),
    "before": (1,),
    "after": (1,),
    "enter": (1,),
    "members": (1,),
    "top": (0,),
    "rename": (3, 4),
}


def load() -> tuple[Speedup, ...]:
    """All optimisations, by name; those that build upon others come after them."""
    found = {path.stem: parse(path.stem, path.read_text()) for path in sorted(FOLDER.glob("*.cpp"))}
    ordered: dict[str, Speedup] = {}

    def add(name: str) -> None:
        if name not in found:
            raise PatchError(f"there is no optimisation {name!r}")
        for needed in found[name].needs:
            if needed not in ordered:
                add(needed)
        ordered[name] = found[name]

    for name in found:
        add(name)
    return tuple(ordered.values())


def parse(name: str, text: str) -> Speedup:
    """Reads one file of directives and sections."""
    marks = list(_DIRECTIVE.finditer(text))
    needs, sections = [], []
    for number, mark in enumerate(marks):
        verb, arguments = mark[1], mark[2].split()
        if verb == "needs":
            needs += arguments
            continue
        if verb not in _ARGUMENTS or len(arguments) - 1 not in _ARGUMENTS[verb]:
            raise PatchError(f"{name}: cannot read the directive {mark[0]!r}")
        section = text[mark.end() : marks[number + 1].start() if mark is not marks[-1] else None].strip("\n")
        sections.append(Section(verb, arguments[0], tuple(arguments[1:]), section))
    about = text[: marks[0].start()] if marks else text
    return Speedup(name, re.sub(r"^// ?", "", about, flags=re.MULTILINE).strip(), tuple(needs), tuple(sections))


def chosen(without: Iterable[str] = ()) -> tuple[Speedup, ...]:
    """The optimisations that a build has: all but `without` ("all" for none) and what builds upon those."""
    everything, left_out = load(), set(without)
    names = {speedup.name for speedup in everything}
    if "all" in left_out:
        return ()
    if unknown := left_out - names:
        raise ValueError(f"there is no optimisation {', '.join(sorted(unknown))}; there are {', '.join(sorted(names))}")
    kept = []
    for speedup in everything:
        if speedup.name in left_out or left_out.intersection(speedup.needs):
            left_out.add(speedup.name)
        else:
            kept.append(speedup)
    return tuple(kept)


def digest(speedups: Iterable[Speedup]) -> str:
    """Changes with anything that would change a build."""
    text = "\0".join(f"{s.name}\0{s.sections}" for s in speedups)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def patched(source: Path, speedups: Iterable[Speedup]) -> dict[str, str]:
    """New text of every file under `source` that the optimisations change, by its relative name."""
    texts: dict[str, str] = {}
    for speedup in speedups:
        for section in speedup.sections:
            if section.file not in texts:
                path = source / section.file
                if not path.exists():
                    raise PatchError(f"{speedup.name}: the engine has no file {section.file}")
                texts[section.file] = path.read_text()
            try:
                texts[section.file] = _apply(texts[section.file], section)
            except PatchError as problem:
                raise PatchError(f"{speedup.name}: {section.file}: {problem}") from None
    return texts


def write_tree(
    engine: Path, target: Path, speedups: Iterable[Speedup], rewrite: Callable[[str, str], str] | None = None
) -> None:
    """Copies the engine's sources (`sources.cmake`, `src`) to `target`, patched.

    `rewrite` takes the name of every C++ file and its patched text, and gives the text to be written. A file whose
    text would stay is not touched, so that a build compiles what changed and nothing else.
    """
    texts = patched(engine / "src", speedups)
    if rewrite:
        for path in (engine / "src").rglob("*.[ch]pp"):
            name = path.relative_to(engine / "src").as_posix()
            texts[name] = rewrite(name, texts.get(name) or path.read_text())
    changed = {f"src/{name}": text.encode() for name, text in texts.items()}
    for path in [engine / "sources.cmake", *(engine / "src").rglob("*")]:
        if path.is_file():
            name = path.relative_to(engine).as_posix()
            data, place = changed.get(name) or path.read_bytes(), target / name
            if not place.exists() or place.read_bytes() != data:
                place.parent.mkdir(parents=True, exist_ok=True)
                place.write_bytes(data)


# ------------------------------------------------------------------------------------------------ places in C++ text


def _apply(text: str, section: Section) -> str:
    if section.verb == "top":
        at = _after_includes(text)
        return f"{text[:at]}\n{section.text}\n{text[at:]}"
    if section.verb == "members":
        at = _class_end(text, section.arguments[0])
        return f"{text[:at]}\n{section.text}\n{text[at:]}"
    start, body, end = _definition(text, section.arguments[0])
    if section.verb == "replace":
        return f"{text[:start]}{section.text}{text[end:]}"
    if section.verb == "before":
        return f"{text[:start]}{section.text}\n\n{text[start:]}"
    if section.verb == "enter":
        return f"{text[: body + 1]}\n{section.text}\n{text[body + 1 :]}"
    if section.verb == "after":
        return f"{text[:end]}\n\n{section.text}\n{text[end:]}"
    old, new, *count = section.arguments[1:]
    wanted = int(count[0]) if count else 1
    renamed, done = re.subn(rf"(?<![\w]){re.escape(old)}(?![\w])", new, text[start:end])
    if done != wanted:
        raise PatchError(f"{old} occurs {done} times in {section.arguments[0]}, not {wanted}")
    return text[:start] + renamed + text[end:]


def _blanked(text: str) -> str:
    """The text with comments, strings and characters blanked out, so that braces and names can be found in it."""

    def blank(match: re.Match[str]) -> str:
        return re.sub(r"[^\n]", " ", match[0])

    return re.sub(r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])+\'', blank, text, flags=re.DOTALL)


def _after_includes(text: str) -> int:
    """Where the #include lines outside of any #if end; the guard of a header does not count as one."""
    at, depth = 0, None
    for line in re.finditer(r"^[ \t]*#[ \t]*(\w+)[^\n]*\n", text, re.MULTILINE):
        if depth is None:
            depth = -1 if line[1] == "ifndef" else 0
        if line[1] in ("if", "ifdef", "ifndef"):
            depth += 1
        elif line[1] == "endif":
            depth -= 1
        elif line[1] == "include" and depth == 0:
            at = line.end()
    return at


def _closing(blank: str, at: int) -> int:
    """Index after the bracket that closes the one at `at`."""
    opening = blank[at]
    closing = {"{": "}", "(": ")"}[opening]
    depth = 0
    for i in range(at, len(blank)):
        if blank[i] == opening:
            depth += 1
        elif blank[i] == closing:
            depth -= 1
            if depth == 0:
                return i + 1
    raise PatchError(f"a {opening!r} is never closed")


def _class_end(text: str, name: str) -> int:
    blank = _blanked(text)
    heads = list(re.finditer(rf"\b(?:class|struct)\s+{re.escape(name)}\b[^;{{()]*\{{", blank))
    if len(heads) != 1:
        raise PatchError(f"class {name} is defined {len(heads)} times, not once")
    return _closing(blank, heads[0].end() - 1) - 1


def _definition(text: str, name: str) -> tuple[int, int, int]:
    """Where the definition of a function begins (with its return type), its body does, and both end."""
    name, _, mark = name.partition("|")
    blank = _blanked(text)
    found = [span for head in re.finditer(rf"(?<![\w:~]){re.escape(name)}\s*\(", blank) for span in _span(blank, head)]
    found = [(start, body, end) for start, body, end in found if mark in text[start:body]]
    if len(found) != 1:
        raise PatchError(f"function {name} is defined {len(found)} times, not once")
    return found[0]


def _span(blank: str, head: re.Match[str]) -> Iterator[tuple[int, int, int]]:
    """Start, start of the body and end of the definition with this head; nothing if it is only named there."""
    after = _closing(blank, head.end() - 1)
    body = re.match(r"(?:\s|const\b|override\b|noexcept\b)*(?::(?!:)[^;{}]*)?\{", blank[after:])
    if not body:
        return
    start = max(blank.rfind(mark, 0, head.start()) for mark in ";{}") + 1
    directive = blank.rfind("\n#", 0, head.start())
    if directive >= start:
        start = blank.index("\n", directive + 1)
    access = re.match(r"\s*(?:public|private|protected)\s*:", blank[start:])
    start += access.end() if access else 0
    start += len(blank[start : head.start()]) - len(blank[start : head.start()].lstrip())
    opening = after + body.end() - 1
    if not re.search(r"[\w>&*]\s*$", blank[start : head.start()]) and "::" not in head[0]:
        return  # a call such as `if (f(x)) {`
    yield start, opening, _closing(blank, opening)
