"""The terminal that work is shown on, and that it goes on without."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from typing import Any


class Unheard:
    """A stream (the standard output) whose writes come to nothing once nobody reads it any more: the pipe was closed,
    as `head` does, or the terminal is gone. From then on the process' own descriptor leads nowhere too, so that no
    other print ends the work either."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        self._try(self._stream.write, text)
        return len(text)

    def flush(self) -> None:
        self._try(self._stream.flush)

    def _try(self, function: Any, *arguments: Any) -> None:
        try:
            function(*arguments)
        except OSError as error:
            if error.errno not in (errno.EPIPE, errno.EIO):
                raise
            with contextlib.suppress(OSError, ValueError):  # a stream without a descriptor
                nowhere = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nowhere, self._stream.fileno())
                os.close(nowhere)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def console(**options: Any) -> Any:
    """A rich console on the standard output that never ends the work it tells of."""
    from rich.console import Console

    stream = getattr(sys.stdout, "rich_proxied_file", sys.stdout)  # what a live bar stands before
    return Console(file=Unheard(stream), **options)
