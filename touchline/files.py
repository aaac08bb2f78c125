"""Files that are there whole or not at all: written beside, then put in the place of the old one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def whole(path: Path | str, suffix: str = ".part") -> Iterator[Path]:
    """A path beside `path` to write to; what lies there takes the place of `path` when the context ends well.

    Args:
        suffix: of the name beside, for writers that go by it.
    """
    path = Path(path)
    part = path.with_name(f".{path.name}.{os.getpid()}{suffix}")
    try:
        yield part
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def write_text(path: Path | str, text: str) -> Path:
    """Writes a whole file (UTF-8) and the folders it lies in, and returns its path."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole(path) as part:
        part.write_text(text, encoding="utf-8")
    return path
