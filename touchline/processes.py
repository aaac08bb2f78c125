"""What processes share: the machine's cores, and folders that one of them works in at a time."""

from __future__ import annotations

import contextlib
import fcntl
import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_QUOTA = Path("/sys/fs/cgroup/cpu.max")  # https://docs.kernel.org/admin-guide/cgroup-v2.html#cpu-interface-files


def usable_cores() -> int:
    """Cores that this process may use: those of its affinity (taskset, a cluster's scheduler), and no more than the
    quota of its control group (a container's)."""
    cores = len(os.sched_getaffinity(0))
    try:
        quota, period = _QUOTA.read_text().split()
        cores = min(cores, math.ceil(int(quota) / int(period)))
    except (OSError, ValueError):  # no control group, or "max": no quota
        pass
    return max(1, cores)


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
def in_turn(path: Path) -> Iterator[None]:
    """Waits until no other process holds the lock file `path`, and holds it meanwhile."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        with contextlib.suppress(OSError):  # a file system without locks
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


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
