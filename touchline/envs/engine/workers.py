"""`ProcessSimulator`: the same batch in worker processes, so that a crash inside the engine costs only its episodes.

Each worker holds a slice of the matches in an `EngineSimulator` of its own, over arrays in shared memory; the parent
only passes commands. A worker that dies is started again: its matches begin new episodes with the next seeds of their
own streams, and are marked in `lost`.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
from multiprocessing.connection import Connection
from multiprocessing.shared_memory import SharedMemory
from typing import Any

import numpy as np

from touchline.envs.engine.build import EngineError, require
from touchline.envs.engine.engine import simulator_arrays
from touchline.envs.simulator import MatchState
from touchline.types import Scenario

_START_LIMIT = 120.0  # seconds a new worker may take to say that its engines stand


class WorkerError(RuntimeError):
    """A worker could not do what it was told, or could not be started."""


class ProcessSimulator:
    """B matches in `num_threads` processes of one thread each; see `Simulator` for arrays and methods.

    Results equal those of `EngineSimulator` with the same arguments, to the last bit.
    """

    def __init__(self, scenario: Scenario, num_envs: int, *, num_threads: int = 1, **options: Any) -> None:
        if num_envs < 1 or num_threads < 1:
            raise ValueError(f"expected num_envs >= 1 and num_threads >= 1, got {num_envs} and {num_threads}")
        require()
        self._process = os.getpid()
        self.scenario, self.num_envs = scenario, num_envs
        self.num_players = options["left"] + options["right"]
        self._options = options
        self._context = multiprocessing.get_context("spawn")
        self._workers: list[_Worker] = []
        self._memory, arrays = _shared_arrays(num_envs)
        self.state = MatchState(arrays["floats"], arrays["ints"])
        self.final_state = MatchState(arrays["final_floats"], arrays["final_ints"])
        self.reward = arrays["reward"]
        self.terminated, self.truncated, self.lost = arrays["terminated"], arrays["truncated"], arrays["lost"]
        self.seeds, self.episodes = arrays["seeds"], arrays["episodes"]
        bounds = np.linspace(0, num_envs, min(num_threads, num_envs) + 1).astype(int)
        self._slices = [slice(int(a), int(b)) for a, b in zip(bounds[:-1], bounds[1:], strict=True)]
        self._restarts = np.zeros(num_envs, np.int64)
        self._untold = np.zeros(num_envs, bool)  # matches lost between steps, which the next result must tell
        for part in self._slices:
            self._workers.append(self._start(part))
        for worker in self._workers:
            worker.wait_until_ready()

    @property
    def process_ids(self) -> list[int]:
        """Process ids of the workers."""
        return [worker.process.pid for worker in self._workers]

    def _start(self, part: slice) -> _Worker:
        arguments = (self._memory.name, self.num_envs, part, self.scenario, self._options)
        return _Worker(self._context, part, arguments)

    def reset(self, mask: np.ndarray | None = None, seeds: np.ndarray | None = None) -> None:
        """See `Simulator.reset`; matches of a worker that died beside those of `mask` are marked in `lost`."""
        self._settle()
        mask = np.ones(self.num_envs, bool) if mask is None else np.asarray(mask, bool)
        chosen = [i for i, part in enumerate(self._slices) if mask[part].any()]
        commands = {}
        for i in chosen:
            part = self._slices[i]
            commands[i] = ("reset", mask[part], None if seeds is None else seeds[part])
            self._workers[i].send(*commands[i])
        for i in chosen:
            if self._workers[i].receive():
                continue
            self._replace(i)  # which begins all its matches with seeds of its own
            self._workers[i].send(*commands[i])
            if not self._workers[i].receive():
                raise WorkerError(f"{self.scenario.name}: a new worker crashed while resetting its matches")
        self.lost[:] = self._untold & ~mask
        self._untold[:] = False

    def step(self, actions: np.ndarray) -> None:
        """See `Simulator.step`."""
        self.step_async(actions)
        self.step_wait()

    def step_async(self, actions: np.ndarray) -> None:
        """See `Simulator.step_async`."""
        for worker in self._open():
            worker.send("step", np.ascontiguousarray(actions[worker.part]))

    def step_wait(self) -> None:
        """See `Simulator.step_wait`; matches of a worker that died are marked in `lost`."""
        self._settle()
        self.lost[:] = self._untold
        self._untold[:] = False
        self.reward[self.lost] = 0.0
        self.terminated[self.lost], self.truncated[self.lost] = False, True

    def _settle(self) -> None:
        """Hears all answers under way, and replaces the workers that died over them."""
        errors = []
        for index, worker in enumerate(self._open()):
            try:
                if worker.awaited and not worker.receive():
                    self._replace(index)
            except Exception as error:  # the others have answers too
                errors.append(error)
        if errors:
            raise errors[0]

    def _replace(self, index: int) -> None:
        """Starts a dead worker again and begins new episodes in its matches."""
        part = self._slices[index]
        self._workers[index].stop()
        self._workers[index] = worker = self._start(part)
        worker.wait_until_ready()
        # The match's stream of seeds died with it; the new one is a function of the lost seed and of how often
        # this has happened, so that a crash that repeats does not meet the same episode for ever.
        self._restarts[part] += 1
        mixed = (self.seeds[part] * 1_000_003 + self._restarts[part] * 7_919 + 1) % 1_000_000_000
        worker.send("reset", np.ones(part.stop - part.start, bool), mixed)
        if not worker.receive():
            raise WorkerError(f"{self.scenario.name}: a new worker crashed while starting its first episode")
        for state, final in zip(self.state, self.final_state, strict=True):
            final[part] = state[part]
        self.lost[part] = self._untold[part] = True

    def get_state(self, index: int) -> bytes:
        """See `Simulator.get_state`."""
        worker = self._worker_of(index)
        if not self._ask(worker, "get_state", index):
            self._replace(self._workers.index(worker))  # its matches begin anew, and the next step tells so
            worker = self._worker_of(index)
            if not self._ask(worker, "get_state", index):
                raise WorkerError(f"{self.scenario.name}: a new worker of match {index} died over its snapshot")
        return worker.answer

    def set_state(self, index: int, snapshot: bytes) -> None:
        """See `Simulator.set_state`."""
        if not self._ask(self._worker_of(index), "set_state", index, snapshot):
            raise WorkerError(f"{self.scenario.name}: the worker of match {index} died over a snapshot")
        self.lost[index] = self._untold[index] = False  # the lost match is nobody's any more

    def crash(self, index: int = 0) -> None:
        """Causes a fatal error inside the engine of match `index`; the next step finds its worker dead."""
        worker = self._worker_of(index)
        worker.send("crash", index - worker.part.start)
        worker.process.join(_START_LIMIT)

    def _worker_of(self, index: int) -> _Worker:
        if not 0 <= index < self.num_envs:
            raise IndexError(f"expected a match index from 0 to {self.num_envs - 1}, got {index}")
        self._settle()
        return next(worker for worker in self._workers if worker.part.start <= index < worker.part.stop)

    def _open(self) -> list[_Worker]:
        if not self._workers:
            raise EngineError(f"{self.scenario.name}: the environment has been closed")
        return self._workers

    def _ask(self, worker: _Worker, command: str, index: int, *arguments: Any) -> bool:
        """Whether the worker lived to answer."""
        worker.send(command, index - worker.part.start, *arguments)
        return worker.receive()

    def close(self) -> None:
        """See `Simulator.close`."""
        mine = os.getpid() == self._process  # a forked child leaves its parent's workers and memory alone
        for worker in self._workers if mine else ():
            worker.stop()
        self._workers = []
        if memory := self._memory:
            self._memory = None
            memory._buf = memory._mmap = None  # the mapping goes with the last array that looks into it
            memory.close()
            if mine:
                memory.unlink()

    def __del__(self) -> None:
        if hasattr(self, "_workers"):
            self.close()


class _Worker:
    """The parent's end of one worker process."""

    def __init__(self, context: Any, part: slice, arguments: tuple) -> None:
        self.part = part
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(theirs, *arguments), daemon=True)
        self.process.start()
        theirs.close()
        self.answer: Any = None
        self.awaited = True  # an answer is under way, the first to say that it is ready

    def wait_until_ready(self) -> None:
        try:
            ready = self.pipe.poll(_START_LIMIT) and self.receive()
        except Exception:  # its own word on why
            self.stop()
            raise
        if not ready:
            self.stop()
            raise WorkerError(f"a worker for matches {self.part.start} to {self.part.stop - 1} did not start")

    def send(self, *command: Any) -> None:
        if self.awaited:  # an interrupt, or another worker's error, came before it was heard
            with contextlib.suppress(Exception):
                self.receive()
        self.awaited = True
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # it is dead: receive() will say so
            self.pipe.send(command)

    def receive(self) -> bool:
        """Waits for the answer; False if the worker died. An error in the worker is raised here."""
        try:
            self.pipe.poll(None)  # Ctrl-C comes while waiting, not within an answer
            failed, self.answer = self.pipe.recv()
        except (EOFError, OSError):
            self.awaited = False
            return False
        self.awaited = False
        if failed:
            raise self.answer
        return True

    def stop(self) -> None:
        self.pipe.close()
        self.process.terminate()
        self.process.join()


def _shared_arrays(num_envs: int) -> tuple[SharedMemory, dict[str, np.ndarray]]:
    size = sum(_room(array) for array in simulator_arrays(num_envs).values())
    memory = SharedMemory(create=True, size=size)
    return memory, _views(memory, num_envs)


def _room(array: np.ndarray) -> int:
    return -(-array.nbytes // 64) * 64  # whole cache lines, so that arrays start aligned


def _views(memory: SharedMemory, num_envs: int) -> dict[str, np.ndarray]:
    views, at = {}, 0
    for name, array in simulator_arrays(num_envs).items():
        views[name] = np.ndarray(array.shape, array.dtype, memory.buf, at)
        at += _room(array)
    return views


def _serve(
    pipe: Connection,
    memory_name: str,
    num_envs: int,
    part: slice,
    scenario: Scenario,
    options: dict[str, Any],
) -> None:
    """A worker's life: builds its matches over its rows of the shared arrays, then obeys."""
    from touchline.envs.engine.engine import EngineSimulator

    for number in (signal.SIGINT, signal.SIGHUP):  # Ctrl-C reaches us too; who steps us may want a last snapshot
        signal.signal(number, signal.SIG_IGN)
    memory = SharedMemory(memory_name)
    arrays = {name: view[part] for name, view in _views(memory, num_envs).items()}
    try:
        simulator = EngineSimulator(scenario, part.stop - part.start, num_threads=1, arrays=arrays, **options)
    except Exception as error:
        pipe.send((True, error))
        return
    commands = {
        "reset": simulator.reset,
        "step": simulator.step,
        "get_state": simulator.get_state,
        "set_state": simulator.set_state,
        "crash": simulator.crash,
    }
    pipe.send((False, None))
    while True:
        try:
            command, *arguments = pipe.recv()
        except EOFError:
            return
        try:
            pipe.send((False, commands[command](*arguments)))
        except Exception as error:
            pipe.send((True, error))
