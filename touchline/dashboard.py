"""A page of the runs in a folder, served on this machine alone: live curves, ratings, tables and replays.

The server is the standard library's, bound to 127.0.0.1. It answers GET, only to requests that name this machine as
their host (a foreign page whose name is made to point here does not), and only with what lies in the folder. Replays
and pages found there are shown in a sandbox without an origin, so that a script in them can read nothing here.
"""

from __future__ import annotations

import errno
import json
import logging
import shutil
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import resources
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from touchline import run_folders
from touchline.run_folders import UNREADABLE, Folders, RunFolder

HOST = "127.0.0.1"
PORT = 8642
HOSTS = ("127.0.0.1", "localhost")
"""Names of this machine that a browser may ask for."""

SCAN_SECONDS = 4.0
"""Between two looks for new folders, and at least ten times as long as a look takes."""

READING_SECONDS = 1.0
"""Spent in one answer on metrics that nobody has asked for before; the next one goes on."""

MAX_TRACES = 500
"""Listed of one folder, the newest."""

ASSETS = {
    "/": ("dashboard.html", "text/html; charset=utf-8"),
    "/dashboard.css": ("dashboard.css", "text/css; charset=utf-8"),
    "/dashboard.js": ("dashboard.js", "text/javascript; charset=utf-8"),
}
PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
REPLAY_POLICY = (
    "sandbox allow-scripts allow-downloads; default-src 'none'; script-src 'unsafe-inline'; "
    "style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
DATA_POLICY = "default-src 'none'; media-src 'self'; frame-ancestors 'none'"

log = logging.getLogger(__name__)


class Dashboard:
    """What the page asks for, as plain values; may be asked by several threads.

    Args:
        root: the folder of runs.
        clock: gives the time, in seconds since 1970.
    """

    def __init__(self, root: Path | str, *, clock: Callable[[], float] = time.time) -> None:
        self.root = Path(root).resolve()
        if not self.root.is_dir():
            raise FileNotFoundError(f"no folder {root}: name one that holds runs")
        self._clock, self._lock = clock, threading.Lock()
        self._folders, self._next_scan = Folders(), 0.0
        self._runs: dict[str, RunFolder] = {}
        self._traces: dict[tuple[str, int], dict[str, Any]] = {}
        self._pages: OrderedDict[tuple[str, int], bytes] = OrderedDict()

    def folders(self) -> Folders:
        """What there is, looked for at most every `SCAN_SECONDS`."""
        begun = time.monotonic()
        if begun >= self._next_scan:
            self._folders = run_folders.scan(self.root)
            self._runs = {path: self._runs.get(path) or RunFolder(self.root / path) for path in self._folders.runs}
            ended = time.monotonic()
            self._next_scan = ended + max(SCAN_SECONDS, 10 * (ended - begun))
        return self._folders

    def overview(self) -> dict[str, Any]:
        """All runs with their state, those first that were written last, and what else there is."""
        with self._lock:
            found, now, begun = self.folders(), self._clock(), time.monotonic()
            runs, columns, waiting = [], {}, 0
            for path, run in sorted(self._runs.items(), key=lambda item: -item[1].changed()):
                if not run.is_read and time.monotonic() - begun > READING_SECONDS:
                    waiting += 1
                    runs.append({"path": path, "state": "reading"})
                    continue
                runs.append({"path": path, **run.summary(now)})
                columns |= dict.fromkeys(run.metrics.columns)
            return {
                "root": str(self.root),
                "runs": runs,
                "waiting": waiting,
                "columns": list(columns),
                "leagues": [self._stamped(path, "ratings.csv", "league.md", "league.json") for path in found.leagues],
                "tournaments": [
                    self._stamped(path, "table.md", "cross_table.csv", "games.jsonl") for path in found.tournaments
                ],
                "tables": [self._stamped(path, "table.md") for path in found.tables],
                "replays": [{"path": path, "number": len(names)} for path, names in found.replays.items()],
                "notes": found.notes,
            }

    def _stamped(self, path: str, *names: str) -> dict[str, Any]:
        """A folder, and a number that changes when one of its files does."""
        stamp = 0
        for name in names:
            try:
                stamp = max(stamp, (self.root / path / name).stat().st_mtime_ns)
            except OSError:
                continue
        return {"path": path, "stamp": str(stamp)}

    def curves(self, ask: Mapping[str, Any]) -> dict[str, Any]:
        """New points of some runs.

        Args:
            ask: columns, and runs as [path, version, stride, done]: the points that the page has (see
                `run_folders.Part`), or ["path", "", 0, 0] for all.
        """
        columns = [str(name) for name in ask["columns"]]
        out: dict[str, Any] = {}
        with self._lock:
            self.folders()
            for path, version, stride, done in ask["runs"]:
                run = self._runs.get(path)
                if run is None:
                    out[path] = {"error": "there is no such run any more"}
                    continue
                try:
                    run.metrics.refresh()
                except UNREADABLE as error:
                    out[path] = {"error": str(error)}
                    continue
                part = run.metrics.part(columns, str(version), int(stride), int(done))
                out[path] = part._asdict() | {
                    "rows": run.metrics.num_rows,
                    "steps": run_folders.steps_of(part.steps),
                    "seconds": run_folders.numbers(part.seconds),
                    "columns": {name: run_folders.numbers(values) for name, values in part.columns.items()},
                }
        return {"runs": out}

    def run(self, path: str) -> dict[str, Any]:
        """Config and evaluation of a run."""
        with self._lock:
            self.folders()
            return _known(path, self._runs).details()

    def league(self, path: str) -> dict[str, Any]:
        """See `run_folders.league`."""
        return run_folders.league(self._folder(path, "leagues"))

    def tournament(self, path: str) -> dict[str, Any]:
        """See `run_folders.tournament`."""
        return run_folders.tournament(self._folder(path, "tournaments"))

    def tables(self, path: str) -> dict[str, Any]:
        """See `run_folders.tables`."""
        return run_folders.tables(self._folder(path, "tables"))

    def _folder(self, path: str, kind: str) -> Path:
        with self._lock:
            there = getattr(self.folders(), kind)
        _known(path, dict.fromkeys(there))
        return self.root / path

    def replays(self, path: str) -> dict[str, Any]:
        """Traces, pages and videos of a folder, newest first."""
        with self._lock:
            names = _known(path, self.folders().replays)
        files = []
        for name in names:
            try:
                full = run_folders.inside(self.root, f"{path}/{name}" if path else name)
                about = full.stat()
            except OSError:
                continue  # it has gone, or leads elsewhere
            files.append((about.st_mtime_ns, about.st_size, name, full))
        files.sort(key=lambda file: (-file[0] // 10**9, file[2]))
        out = []
        for changed, size, name, full in files[:MAX_TRACES]:
            entry = {"name": name, "bytes": size, "changed": changed // 10**9}
            if full.suffix == ".npz":
                key = (str(full), changed)
                if key not in self._traces:
                    self._traces[key] = _about(full)
                entry |= self._traces[key]
            out.append(entry)
        return {"files": out, "more": max(0, len(files) - MAX_TRACES)}

    def viewer(self, path: Path) -> bytes:
        """A trace as the page that `touchline watch --html` writes; the last ones are kept."""
        key = (str(path), path.stat().st_mtime_ns)
        with self._lock:
            if key in self._pages:
                self._pages.move_to_end(key)
                return self._pages[key]
        from touchline.html_replay import html_page  # not for the curves' sake
        from touchline.replay import Replay

        page = html_page(Replay.load(path), titles=[path.stem]).encode()
        with self._lock:
            self._pages[key] = page
            while len(self._pages) > 8:
                self._pages.popitem(last=False)
        return page


def _known(path: str, there: Mapping[str, Any]) -> Any:
    if path not in there:
        raise FileNotFoundError(f"nothing of that kind in {path or 'the folder itself'}")
    return there[path]


def _about(path: Path) -> dict[str, Any]:
    try:
        return run_folders.about_trace(path)
    except UNREADABLE as error:
        return {"error": str(error) or type(error).__name__}


class DashboardServer(ThreadingHTTPServer):
    """Serves a dashboard on the loopback interface.

    Args:
        port: 0 takes a free one; `url` tells.
    """

    daemon_threads = True

    def __init__(self, dashboard: Dashboard, port: int = PORT) -> None:
        self.dashboard = dashboard
        self.assets = {}
        for path, (name, kind) in ASSETS.items():
            body = resources.files("touchline").joinpath(name).read_bytes()
            self.assets[path] = (body, kind)
        try:
            super().__init__((HOST, port), _Handler)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise ValueError(f"port {port} is taken: give another one, or --port 0 for a free one") from error
            raise
        except OverflowError as error:
            raise ValueError(f"expected a port from 0 to 65535, got {port}") from error

    @property
    def url(self) -> str:
        """Where the page is."""
        return f"http://{HOST}:{self.server_address[1]}/"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A browser that hangs up is no news."""
        log.debug("a request from %s ended early", client_address, exc_info=True)


class _Refused(Exception):
    """An answer other than 200."""

    def __init__(self, status: HTTPStatus, message: str) -> None:
        super().__init__(message)
        self.status = status


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "touchline", ""
    timeout = 60
    server: DashboardServer

    def do_GET(self) -> None:
        try:
            self._check_host()
            self._answer()
        except _Refused as refused:
            self._send_text(refused.status, str(refused))
        except PermissionError as error:
            self._send_text(HTTPStatus.FORBIDDEN, str(error))
        except (FileNotFoundError, NotADirectoryError) as error:
            self._send_text(HTTPStatus.NOT_FOUND, str(error))
        except ConnectionError:
            raise
        except UNREADABLE as error:
            self._send_text(HTTPStatus.UNPROCESSABLE_ENTITY, str(error) or type(error).__name__)
        except Exception as error:
            log.exception("no answer to %s", self.path)
            self._send_text(HTTPStatus.INTERNAL_SERVER_ERROR, type(error).__name__)

    def _refuse_method(self) -> None:
        self.close_connection = True  # what the body says stays unread
        self._send(HTTPStatus.METHOD_NOT_ALLOWED, b"only GET\n", "text/plain; charset=utf-8", Allow="GET")

    do_HEAD = do_POST = do_PUT = do_DELETE = do_PATCH = do_OPTIONS = do_TRACE = do_CONNECT = _refuse_method

    def _check_host(self) -> None:
        """A name that an attacker makes point here (DNS rebinding) is not this machine's own."""
        hosts = self.headers.get_all("Host") or []
        name, _, port = (hosts[0] if len(hosts) == 1 else "").partition(":")
        if name.lower() not in HOSTS or not (port.isdigit() or not port):
            raise _Refused(HTTPStatus.FORBIDDEN, f"this page is at {self.server.url} alone")

    def _answer(self) -> None:
        dashboard, url = self.server.dashboard, urlsplit(self.path)
        if url.path in self.server.assets:
            self._send(HTTPStatus.OK, *self.server.assets[url.path], policy=PAGE_POLICY, cache="no-cache")
            return
        if url.path.startswith("/open/"):
            self._open(unquote(url.path.removeprefix("/open/"), errors="strict"))
            return
        values = parse_qs(url.query, keep_blank_values=True)
        if url.path == "/api/overview":
            self._send_json(dashboard.overview())
        elif url.path == "/api/curves":
            try:
                answer = dashboard.curves(json.loads(values["ask"][0]))
            except (KeyError, TypeError, ValueError, RecursionError) as error:
                message = "expected ask={columns: [name], runs: [[path, version, stride, done]]}"
                raise _Refused(HTTPStatus.BAD_REQUEST, message) from error
            self._send_json(answer)
        elif url.path in ("/api/run", "/api/league", "/api/tournament", "/api/tables", "/api/replays"):
            ask = getattr(dashboard, url.path.removeprefix("/api/"))
            self._send_json(ask(values.get("path", [""])[0]))
        else:
            raise _Refused(HTTPStatus.NOT_FOUND, "there is no such page")

    def _open(self, path: str) -> None:
        """A trace in its viewer, a page in a sandbox, or a video."""
        full = run_folders.inside(self.server.dashboard.root, path)
        if full.suffix not in run_folders.SHOWN or not path.endswith(full.suffix):
            raise PermissionError(f"only {', '.join(run_folders.SHOWN)} are shown, not {path}")
        if full.suffix == ".mp4":
            self._send_video(full)
            return
        page = self.server.dashboard.viewer(full) if full.suffix == ".npz" else full.read_bytes()
        self._send(HTTPStatus.OK, page, "text/html; charset=utf-8", policy=REPLAY_POLICY)

    def _send_json(self, answer: Mapping[str, Any]) -> None:
        text = json.dumps(answer, separators=(",", ":"), allow_nan=False)
        self._send(HTTPStatus.OK, text.encode(), "application/json")

    def _send_text(self, status: HTTPStatus, text: str) -> None:
        self._send(status, f"{text}\n".encode(errors="replace"), "text/plain; charset=utf-8")

    def _send_video(self, path: Path) -> None:
        with path.open("rb") as file:
            size = path.stat().st_size
            self._head(HTTPStatus.OK, size, "video/mp4", DATA_POLICY, "no-store", {})
            self.close_connection = True  # should the file change its length meanwhile
            shutil.copyfileobj(file, self.wfile)

    def _send(
        self,
        status: HTTPStatus,
        body: bytes,
        kind: str,
        *,
        policy: str = DATA_POLICY,
        cache: str = "no-store",
        **more: str,
    ) -> None:
        self._head(status, len(body), kind, policy, cache, more)
        if self.command != "HEAD":
            self.wfile.write(body)

    def _head(self, status: HTTPStatus, size: int, kind: str, policy: str, cache: str, more: Mapping[str, str]) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(size))
        self.send_header("Cache-Control", cache)
        self.send_header("Content-Security-Policy", policy)
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Referrer-Policy", "no-referrer")
        self.send_header("Cross-Origin-Resource-Policy", "same-origin")
        for name, value in more.items():
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        log.debug(format, *args)


def serve(server: DashboardServer) -> None:
    """Answers until Ctrl-C."""
    try:
        server.serve_forever(poll_interval=0.2)
    except KeyboardInterrupt:
        pass
    finally:
        server.server_close()
