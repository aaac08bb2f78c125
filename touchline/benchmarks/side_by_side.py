"""Trainings side by side: processes that share a suite's runs, each on cores of its own.

Two trainings of one thread each take more steps than one of two: nobody waits for the other's last match, and torch's
threads do not wait for each other.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterable
from pathlib import Path

from touchline import checkpoint
from touchline.benchmarks import suites
from touchline.benchmarks.suites import Suite
from touchline.train_config import TrainConfig


def shares(cores: Iterable[int], jobs: int) -> list[set[int]]:
    """Cores for each of so many jobs, neighbours together; shares differ by one core at most.

    Raises:
        ValueError: there are more jobs than cores.
    """
    cores = sorted(cores)
    if not 1 <= jobs <= len(cores):
        raise ValueError(f"expected 1 to {len(cores)} jobs, a core each at least, got {jobs}")
    bounds = [len(cores) * job // jobs for job in range(jobs + 1)]
    return [set(cores[a:b]) for a, b in zip(bounds[:-1], bounds[1:], strict=True)]


def run_suite(suite: Suite, out: Path | str, *, jobs: int, tell: Callable[[str], None]) -> None:
    """Makes the runs of a suite that are not there yet, so many at a time; `suites.run_suite` has the rest.

    A signal is handed on to all of them: the first one ends them with checkpoints, the second at once.

    Args:
        tell: is told in a word what begins and what is done, in the processes, so it must be picklable.

    Raises:
        RuntimeError: a process failed, with its error above; the others went on until they came to the same run.
    """
    suites.refuse_other_settings(suite, out)
    context, mine = multiprocessing.get_context("spawn"), os.sched_getaffinity(0)
    processes = []
    with checkpoint.stop_on_signals() as stop:
        try:
            for cores in shares(mine, jobs):
                os.sched_setaffinity(0, cores)  # inherited; torch counts its cores when it is loaded
                processes.append(context.Process(target=_work, args=(suite, str(out), tell)))
                processes[-1].start()
            os.sched_setaffinity(0, mine)
            while any(process.is_alive() for process in processes) and not stop.is_set():
                for process in processes:
                    process.join(0.2)
        finally:
            os.sched_setaffinity(0, mine)
            _end(processes)
    failed = [process.exitcode for process in processes if process.exitcode]
    if failed and not stop.is_set():
        raise RuntimeError(f"{len(failed)} of {jobs} processes failed (exit codes {', '.join(map(str, failed))})")


def _end(processes: list[multiprocessing.Process]) -> None:
    """Ends the processes and waits until they have written their checkpoints, unless a second signal comes."""
    try:
        for process in processes:
            process.terminate()
        for process in processes:
            process.join()
    except KeyboardInterrupt:
        for process in processes:
            process.terminate()
        raise


def _work(suite: Suite, out: str, tell: Callable[[str], None]) -> None:
    os.setpgid(0, 0)  # Ctrl-C comes by way of the parent
    threading.Thread(target=_end_with_parent, daemon=True).start()

    def begins(config: TrainConfig) -> tuple[()]:
        tell(f"begins: {config.out}")
        return ()

    with contextlib.suppress(KeyboardInterrupt), checkpoint.stop_on_signals() as stop:
        # Trainings look for signals themselves; this is for what comes between them.
        for config, _ in suites.run_suite(suite, out, trackers=begins):
            tell(f"done: {config.out}")
            if stop.is_set():
                return


def _end_with_parent() -> None:
    """Waits until the parent is gone, be it killed, and then ends this process with a checkpoint."""
    multiprocessing.parent_process().join()
    os.kill(os.getpid(), signal.SIGTERM)
