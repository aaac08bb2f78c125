"""The command line: `touchline COMMAND ...`. Each command is a dataclass of its flags; `--help` is the manual."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import tyro

from touchline.commands import competitions, demo, engine, play, studies, train

COMMANDS: dict[str, type | dict[str, type]] = {
    "demo": demo.Demo,
    "doctor": engine.Doctor,
    "engine": {"build": engine.EngineBuild, "verify": engine.EngineVerify, "wheel": engine.EngineWheel},
    "scenarios": engine.Scenarios,
    "train": train.Train,
    "evaluate": play.Evaluate,
    "watch": play.Watch,
    "policies": play.Policies,
    "league": competitions.League,
    "tune": studies.Tune,
    "benchmark": studies.Benchmark,
    "report": studies.Report,
    "tournament": competitions.Tournament,
    "dashboard": studies.Dashboard,
    "throughput": engine.Throughput,
    "curiosity-audit": studies.CuriosityAudit,
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of `touchline`."""
    sys.exit(run(sys.argv[1:] if arguments is None else list(arguments)))


def run(arguments: list[str]) -> int:
    """Runs one command and returns its exit code; what the user can mend is one line, not a traceback."""
    name, found, rest = "touchline", COMMANDS, arguments
    while isinstance(found, dict):
        if not rest or rest[0] in ("-h", "--help"):
            print(_overview(name, found))
            return 0 if rest else 2
        if rest[0] not in found:
            print(f"no command {rest[0]!r}; there are {', '.join(found)}", file=sys.stderr)
            return 2
        name, found, rest = f"{name} {rest[0]}", found[rest[0]], rest[1:]
    try:
        if found is train.Train:
            if {"-h", "--help"} & set(rest):
                return train.show_help(rest)
            command, unknown = tyro.cli(found, prog=name, args=rest, return_unknown_args=True)
            return command.run(unknown, rest)
        return tyro.cli(found, prog=name, args=rest).run()
    except tuple(_mendable()) as error:
        print(f"{name}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"\n{name}: stopped", file=sys.stderr)
        return 130


def _mendable() -> list[type[BaseException]]:
    """Errors whose message already says what to do."""
    kinds: list[type[BaseException]] = [ValueError, OSError, FloatingPointError]
    for module, kind in (
        ("touchline.envs.engine.build", "EngineError"),
        ("touchline.envs.engine.workers", "WorkerError"),
        ("touchline.checkpoint", "CheckpointError"),
    ):
        if module in sys.modules:
            kinds.append(getattr(sys.modules[module], kind))
    return kinds


def _overview(name: str, commands: dict[str, Any]) -> str:
    lines = [f"usage: {name} COMMAND [--help] ...", ""]
    for command, found in commands.items():
        about = found.__doc__ if not isinstance(found, dict) else " · ".join(found)
        lines.append(f"  {command:<15} {about.splitlines()[0]}")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
