"""One process a folder: locks that go with the process that holds them."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def claim(path: Path) -> Iterator[bool]:
    """Whether no other process holds the lock file `path`; none does meanwhile. One that dies gives it up.

    On a file system without locks everybody may.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        except OSError:
            pass
        yield True


@contextmanager
def alone(folder: Path, what: str) -> Iterator[None]:
    """Nobody else works in a folder meanwhile.

    Raises:
        ValueError: another process is at `what` there.
    """
    with claim(folder / ".lock") as mine:
        if not mine:
            raise ValueError(f"another process is at {what} in {folder}: wait, or give another --out")
        yield
