"""Which field of the engine a byte of its state belongs to: what `engine verify` says of a difference.

A state is a run of values without names. The engine that is built here notes, for every value that it writes, the
function that writes it and the expression, so that a byte of a state that both engines have leads back to a line of
the engine's sources. It plays as the usual one does; it is built (some three minutes) when a difference is found.
"""

from __future__ import annotations

import ctypes
import hashlib
import pickle
import re
import subprocess
import sys
from bisect import bisect_right
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from touchline import scenarios as scenario_room
from touchline.envs.engine import build
from touchline.envs.engine.build import EngineError, Progress
from touchline.envs.engine.engine import EngineSimulator
from touchline.envs.engine.verify_jobs import Job

_NOTE = """
 public:
  struct Field { int position; const char *function, *expression; };
  EnvState *Note(const char *function, const char *expression) {
    Fields().push_back({pos, function, expression});
    return this;
  }
  static std::vector<Field> &Fields() {
    static std::vector<Field> fields;
    return fields;
  }
"""

_EXPORT = """
extern "C" __attribute__((visibility("default"))) int tl_state_fields(int capacity, int *positions,
                                                                     const char **functions,
                                                                     const char **expressions) {
  const auto &fields = EnvState::Fields();
  for (int i = 0; i < capacity && i < int(fields.size()); i++) {
    positions[i] = fields[i].position;
    functions[i] = fields[i].function;
    expressions[i] = fields[i].expression;
  }
  const int size = fields.size();
  if (capacity) EnvState::Fields().clear();
  return size;
}
"""


class Field(NamedTuple):
    """One value of a state: where it begins, the function that writes it, and how that calls it."""

    position: int
    function: str
    expression: str


def noting(name: str, text: str) -> str:
    """The text of the engine's source file `name`, with a note at every place that writes to a state."""
    text = re.sub(r"\bstate->process\(([^;\n]*)\);", r'state->Note(__PRETTY_FUNCTION__, R"_(\1)_")->process(\1);', text)
    if name == "defines.hpp":
        text, done = re.subn(r"class EnvState \{", lambda match: match[0] + _NOTE, text)
        if done != 1:
            raise EngineError(f"the engine's class EnvState is defined {done} times, not once")
    return text + _EXPORT if name == "defines.cpp" else text


def field_of(job: Job, observation: int, byte: int, progress: Progress | None = None) -> str:
    """Words for the value that holds `byte` of the state at `observation` (0: after the first reset) of `job`."""
    own = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()[:8]
    folder = build.cache_dir() / f"named-{build.build_key()}-{own}"
    try:
        files = build.build(into=folder, rewrite=noting, progress=progress)
    except EngineError as problem:
        return f"its field could not be found: {problem}"
    command = (sys.executable, "-c", f"from {__name__} import _print_fields; _print_fields()")
    played = subprocess.run(command, input=pickle.dumps((job, observation, files)), capture_output=True, check=False)
    if played.returncode:
        return f"its field could not be found: {played.stderr.decode()[-300:]}"
    return describe(pickle.loads(played.stdout), byte)


def describe(fields: Sequence[Field], byte: int) -> str:
    """The field that `byte` lies in, and which of the values of that name it is."""
    index = bisect_right([field.position for field in fields], byte) - 1
    if index < 0:
        return "before the first field"
    found = fields[index]
    alike = [n for n, field in enumerate(fields) if field[1:] == found[1:]]
    where = re.sub(r"^.*?([\w:~]+)\(.*$", r"\1", found.function)
    return (
        f"{found.expression} of {where}, byte {byte - found.position} of it, "
        f"number {alike.index(index) + 1} of {len(alike)} in the state"
    )


def _print_fields() -> None:
    """Plays the job on standard input up to an observation and prints the fields of its state, pickled."""
    job, observation, files = pickle.load(sys.stdin.buffer)
    build.locate = lambda: files
    sys.stdout.buffer.write(pickle.dumps(fields_at(job, observation)))


def fields_at(job: Job, observation: int) -> list[Field]:
    """The fields of the state at an observation; the process must use an engine that notes them."""
    simulator = EngineSimulator(scenario_room.load(job.scenario), 1, left=job.left, right=job.right, auto_reset=False)
    simulator.reset(seeds=np.array(job.seeds[:1]))
    seen, ended = 0, False
    actions = iter(np.array(job.actions, np.int32))
    while seen < observation:
        if ended:
            simulator.reset()
        else:
            simulator.step(next(actions)[None])
        ended = not ended and bool(simulator.terminated[0] or simulator.truncated[0])
        seen += 1
    library = ctypes.CDLL(str(build.require().library))
    _noted(library)
    simulator.get_engine_state(0)
    fields = _noted(library)
    simulator.close()
    return fields


def _noted(library: ctypes.CDLL) -> list[Field]:
    """What has been noted since the last call; `get_engine_state` may write a state twice, the first one counts."""
    capacity = library.tl_state_fields(0, None, None, None)
    positions = (ctypes.c_int * max(capacity, 1))()
    functions, expressions = (ctypes.c_char_p * max(capacity, 1))(), (ctypes.c_char_p * max(capacity, 1))()
    library.tl_state_fields(capacity, positions, functions, expressions)
    fields = [Field(positions[i], functions[i].decode(), expressions[i].decode()) for i in range(capacity)]
    again = next((i for i in range(1, capacity) if fields[i].position < fields[i - 1].position), capacity)
    return fields[:again]
