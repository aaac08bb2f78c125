"""A real browser for tests: Debian's Chromium, driven over WebDriver (https://www.w3.org/TR/webdriver2) by http.client.

Nothing but the standard library; the page under test comes from a file or a server of the test.
"""

from __future__ import annotations

import base64
import http.client
import json
import os
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

ARGUMENTS = (
    "--headless",
    "--no-sandbox",  # as root there is none
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--hide-scrollbars",
)


def missing() -> str | None:
    """Why there is no browser, or None."""
    for names in (("chromium", "google-chrome"), ("chromedriver",)):
        if not any(map(shutil.which, names)):
            return f"no {names[0]}: apt-get install chromium chromium-driver"
    return None


class Browser:
    """One window; use it as a context, or `close` it."""

    def __init__(self, scratch: Path) -> None:
        scratch.mkdir(parents=True, exist_ok=True)
        self._log = (scratch / "chromedriver.log").open("w")
        # Port 0: the driver takes a free one and says which.
        self._driver = subprocess.Popen(
            [shutil.which("chromedriver"), "--port=0"],
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            env=os.environ | {"HOME": str(scratch)},
        )
        self._session: str | None = None
        try:
            self._port = self._port_of_driver()
            options = {
                "binary": shutil.which("chromium") or shutil.which("google-chrome"),
                "args": [*ARGUMENTS, f"--user-data-dir={scratch / 'profile'}"],
            }
            asked = {"goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}
            answer = self._call("POST", "/session", {"capabilities": {"alwaysMatch": asked}})
            self._session = f"/session/{answer['sessionId']}"
        except BaseException:
            self.close()
            raise

    def _port_of_driver(self) -> int:
        assert self._driver.stdout is not None
        for line in self._driver.stdout:
            if "started successfully on port" in line:
                return int(line.rstrip(".\n").rpartition(" ")[2])
        raise RuntimeError("chromedriver did not start")

    def _call(self, method: str, path: str, body: Any = None) -> Any:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=120)
        try:
            text = None if body is None else json.dumps(body)
            connection.request(method, path, text, {"Content-Type": "application/json"})
            value = json.loads(connection.getresponse().read())["value"]
        finally:
            connection.close()
        if isinstance(value, dict) and "error" in value:
            raise RuntimeError(f"{path}: {value['error']}: {value['message']}")
        return value

    def devtools(self, command: str, **parameters: Any) -> Any:
        """A command of the Chrome DevTools protocol."""
        return self._call("POST", f"{self._session}/goog/cdp/execute", {"cmd": command, "params": parameters})

    def screen(self, width: int, height: int, *, dark: bool = False, scale: float = 1.0, mobile: bool = False) -> None:
        """The window's inner size in CSS pixels, and the colour scheme that the system prefers."""
        self.devtools(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=scale, mobile=mobile
        )
        self.devtools("Emulation.setTouchEmulationEnabled", enabled=mobile)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.devtools("Emulation.setEmulatedMedia", features=[scheme])

    def open(self, page: Path, where: str = "") -> None:
        """Loads a file and waits until it says that it is ready; `where` comes after the #."""
        self.visit(page.resolve().as_uri() + (f"#{where}" if where else ""))

    def visit(self, url: str, ready: str = "touchline.ready") -> None:
        """Loads a page from anywhere and waits for a promise of its."""
        self._call("POST", f"{self._session}/url", {"url": "about:blank"})  # else a new # is no new load
        self._call("POST", f"{self._session}/url", {"url": url})
        self.run(f"await {ready}")

    def run(self, code: str) -> Any:
        """The value that the body of an async function returns in the page."""
        script = (
            "const done = arguments[0];"
            f"(async () => {{ {code} }})()"
            ".then((value) => done([value, null]), (error) => done([null, String(error)]));"
        )
        value, error = self._call("POST", f"{self._session}/execute/async", {"script": script, "args": []})
        assert error is None, error
        return value

    def wait(self, condition: str, *, seconds: float = 30.0) -> Any:
        """Waits until an expression is true in the page."""
        end = time.monotonic() + seconds
        while not (value := self.run(f"return {condition}")):
            assert time.monotonic() < end, f"still not: {condition}"
            time.sleep(0.05)
        return value

    def press(self, key: str, *, shift: bool = False) -> None:
        """Presses and lets go of a key of WebDriver's alphabet, through the browser's own input."""
        strokes = [{"type": "keyDown", "value": key}, {"type": "keyUp", "value": key}]
        if shift:
            strokes = [{"type": "keyDown", "value": "\ue008"}, *strokes, {"type": "keyUp", "value": "\ue008"}]
        self._act({"type": "key", "id": "keys", "actions": strokes})

    def click(self, selector: str, x: float = 0.5, y: float = 0.5) -> None:
        """Clicks into an element, at a share of its width and height."""
        self.drag(selector, (x, y), (x, y))

    def drag(self, selector: str, start: tuple[float, float], stop: tuple[float, float]) -> None:
        """Presses the mouse at one share of an element's box and lets go at another."""
        self.run(f"document.querySelector({json.dumps(selector)}).scrollIntoView({{block: 'center'}})")
        box = self.run(
            f"const b = document.querySelector({json.dumps(selector)}).getBoundingClientRect();"
            "return [b.left, b.top, b.width, b.height]"
        )
        places = [(round(box[0] + x * box[2]), round(box[1] + y * box[3])) for x, y in (start, stop)]
        moves = [{"type": "pointerMove", "duration": 20, "x": x, "y": y} for x, y in places]
        down, up = {"type": "pointerDown", "button": 0}, {"type": "pointerUp", "button": 0}
        self._act({"type": "pointer", "id": "mouse", "actions": [moves[0], down, moves[1], up]})

    def _act(self, source: dict[str, Any]) -> None:
        self._call("POST", f"{self._session}/actions", {"actions": [source]})

    def console(self) -> list[str]:
        """What the console said since the last time: errors, warnings, refused requests."""
        log = self._call("POST", f"{self._session}/se/log", {"type": "browser"})
        return [f"{entry['level']} {entry['message']}" for entry in log]

    def screenshot(self, path: Path) -> Path:
        """What the window shows, as a png."""
        path.write_bytes(base64.b64decode(self.devtools("Page.captureScreenshot", format="png")["data"]))
        return path

    def close(self) -> None:
        """Ends the browser and its driver."""
        try:
            if self._session is not None:
                self._call("DELETE", self._session)
        finally:
            self._driver.terminate()
            self._driver.wait(timeout=20)
            if self._driver.stdout is not None:
                self._driver.stdout.close()
            self._log.close()

    def __enter__(self) -> Browser:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()
