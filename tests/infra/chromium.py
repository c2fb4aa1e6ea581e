"""A real Chromium without a window, spoken to by its own protocol over a pair of pipes.

No driver is needed: with ``--remote-debugging-pipe`` it reads commands from descriptor 3 and writes
answers and events to descriptor 4, each a JSON object that a zero byte ends (the Chrome DevTools
Protocol, chromedevtools.github.io/devtools-protocol; read November 2026).
"""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import subprocess
from pathlib import Path
from typing import Any, Self

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome")
PATIENCE = 60.0
"""Seconds for one answer; a busy machine takes its time."""

FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-extensions",
    "--hide-scrollbars",
    "--host-resolver-rules=MAP * ~NOTFOUND",
    "--remote-debugging-pipe",
)


def program() -> str:
    """Find Chromium, or skip the test and say what is not tested."""
    found = next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        pytest.skip("NOT TESTED: pages in a real browser: chromium is absent (Debian: chromium)")
    return found


class Chromium:
    """One browser with one page."""

    def __init__(self, folder: Path) -> None:
        """Start it with a profile in `folder`."""
        ours_in, theirs_out = os.pipe()
        theirs_in, ours_out = os.pipe()
        self._in, self._out = ours_in, ours_out
        command = [program(), *FLAGS, f"--user-data-dir={folder}", "about:blank"]
        descriptors = f'exec 3<&{theirs_in} 4>&{theirs_out}; exec "$@"'
        with (folder / "log").open("wb") as log:
            self._process = subprocess.Popen(
                ["bash", "-c", descriptors, "chromium", *command],
                pass_fds=(theirs_in, theirs_out),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        os.close(theirs_in)
        os.close(theirs_out)
        self._rest = b""
        self._number = 0
        self._session = ""
        self.said: list[str] = []
        """What came to the console: warnings, errors, and what the page's policy forbade."""
        targets = self._ask("Target.getTargets")["targetInfos"]
        page = next(each["targetId"] for each in targets if each["type"] == "page")
        attached = self._ask("Target.attachToTarget", targetId=page, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self._ask(f"{domain}.enable")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        """End it."""
        self._session = ""
        self._ask("Browser.close")
        self._process.wait(PATIENCE)
        os.close(self._in)
        os.close(self._out)

    def show(self, path: Path, *, width: int, height: int = 900, dark: bool = False) -> None:
        """Open a file in a window of that size."""
        self.said.clear()
        narrow = width < 600
        self._ask(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=narrow,
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self._ask("Emulation.setEmulatedMedia", features=[scheme])
        self._ask("Page.navigate", url=path.as_uri())
        self._await("Page.loadEventFired")

    def run(self, script: str) -> Any:  # noqa: ANN401  # whatever the script returns
        """Evaluate an expression in the page."""
        answer = self._ask("Runtime.evaluate", expression=script, returnByValue=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def press(self, key: str, code: int, text: str = "") -> None:
        """Press a key."""
        common = {"key": key, "code": key, "windowsVirtualKeyCode": code}
        self._ask("Input.dispatchKeyEvent", type="keyDown", text=text, **common)
        self._ask("Input.dispatchKeyEvent", type="keyUp", **common)

    def write(self, text: str) -> None:
        """Type text into what has the focus."""
        self._ask("Input.insertText", text=text)

    def picture(self, path: Path, *, whole: bool = True) -> None:
        """Save what the page looks like."""
        shot = self._ask("Page.captureScreenshot", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(shot["data"]))

    # --- the protocol ----------------------------------------------------------------------

    def _ask(self, method: str, **parameters: object) -> Any:  # noqa: ANN401
        self._number += 1
        message: dict[str, object] = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") == self._number:
                assert "error" not in answer, (method, answer["error"])
                return answer["result"]

    def _await(self, event: str) -> None:
        while self._next().get("method") != event:
            continue

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            ready, _, _ = select.select([self._in], [], [], PATIENCE)
            more = os.read(self._in, 1 << 20) if ready else b""
            assert more, "Chromium has ended, or says nothing"
            self._rest += more
        raw, _, self._rest = self._rest.partition(b"\0")
        message: dict[str, Any] = json.loads(raw)
        self._listen(message)
        return message

    def _listen(self, message: dict[str, Any]) -> None:
        said = message.get("params", {})
        match message.get("method"):
            case "Runtime.consoleAPICalled":
                self.said.append(" ".join(str(each.get("value")) for each in said["args"]))
            case "Runtime.exceptionThrown":
                self.said.append(str(said["exceptionDetails"]))
            case "Log.entryAdded":
                self.said.append(said["entry"]["text"])
            case "Network.requestWillBeSent" if not _is_local(said["request"]["url"]):
                self.said.append(f"asked for {said['request']['url']}")
            case _:
                return


def _is_local(url: str) -> bool:
    return url.startswith(("file:", "data:", "about:"))
