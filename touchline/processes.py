"""What processes share: the machine's cores, and folders that one of them works in at a time."""

from __future__ import annotations

import contextlib
import fcntl
import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_GROUPS, _MOUNT = Path("/proc/self/cgroup"), Path("/sys/fs/cgroup")


def usable_cores() -> int:
    """Cores that this process may use: those of its affinity (taskset, a cluster's scheduler), and no more than the
    quotas of its control group and of those around it (a container's, a job's)."""
    return max(1, min([len(os.sched_getaffinity(0)), *map(math.ceil, _quotas())]))


def _quotas() -> Iterator[float]:
    """Quotas in cores, of both versions of control groups.

    https://docs.kernel.org/admin-guide/cgroup-v2.html#cpu-interface-files,
    https://docs.kernel.org/scheduler/sched-bwc.html#management
    """
    for line in _lines(_GROUPS):
        _, controllers, path = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        mount, files = (
            (_MOUNT / "cpu", ("cpu.cfs_quota_us", "cpu.cfs_period_us")) if controllers else (_MOUNT, ("cpu.max",))
        )
        inner = mount / path.lstrip("/")
        for folder in (inner, *inner.parents):
            if not folder.is_relative_to(mount):
                break
            words = [word for name in files for line in _lines(folder / name) for word in line.split()]
            if len(words) == 2 and words[0].isdigit():  # neither "max" nor -1, which are no quota
                yield int(words[0]) / int(words[1])


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except OSError:  # no such control group here
        return []


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
    """Nobody else works in a folder meanwhile; one that was made for this, and stays empty, goes again.

    Raises:
        ValueError: another process is at `what` there.
    """
    lock, is_new = folder / ".lock", not folder.exists()
    with claim(lock) as mine:
        if not mine:
            raise ValueError(f"another process is at {what} in {folder}: wait, or give another --out")
        try:
            yield
        finally:
            with contextlib.suppress(OSError):  # somebody else may be at it
                if is_new and [*folder.iterdir()] == [lock]:
                    lock.unlink()
                    folder.rmdir()
