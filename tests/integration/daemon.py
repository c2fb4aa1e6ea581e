"""A real `navarch server` in a process of its own, and how to speak to it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from integration.conftest import processes, until
from navarch.wire.client import ConnectClient


def free_port() -> int:
    """Find a port of loopback on which nobody listens."""
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Daemon:
    """One `navarch server`."""

    def __init__(
        self, process: subprocess.Popen[bytes], url: str, log: Path, token: str | None
    ) -> None:
        """Speak to `process` at `url`, as whoever holds `token`."""
        self.process = process
        self.url = url
        self._log = log
        self._token = token
        self.client = ConnectClient(url, token)
        self.environ: dict[str, str] = {}

    @property
    def log(self) -> str:
        """What it has written to its standard error."""
        return self._log.read_text()

    def call(self, method: str, **request: object) -> dict[str, Any]:
        """Make one call."""
        return self.client.call(method, request)

    def pool(self, name: str) -> dict[str, Any]:
        """One pool as the API shows it; proto3 leaves zeros out."""
        shown: dict[str, Any] = self.call("GetPool", poolName=name)["pool"]
        return shown

    def facts(self, *kinds: str) -> list[dict[str, Any]]:
        """Facts of some kinds, the oldest first."""
        events = self.call("ListEvents", limit=1000).get("events", [])
        return [event for event in events if event["kind"] in kinds]

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run a command of the CLI against it."""
        environ = {"NAVARCH_SERVER": self.url, "NAVARCH_AUTH_TOKEN": self._token or ""}
        environ.update(self.environ)
        return subprocess.run(
            [sys.executable, "-m", "navarch", *words],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            env={**os.environ, **environ},
        )

    def hang_up(self) -> None:
        """Send SIGHUP."""
        self.process.send_signal(signal.SIGHUP)


@contextmanager
def daemon(
    config: Path,
    port: int,
    *,
    environ: Mapping[str, str] | None = None,
    token: str | None = None,
    scheme: str = "http",
) -> Iterator[Daemon]:
    """Start one and wait until it listens; end it, and all that it started, afterwards.

    The configuration keeps its data below its own folder, by which its agents are found.
    """
    log = config.parent / "server.log"
    command = [sys.executable, "-m", "navarch", "server", "--config", str(config)]
    with log.open("wb") as stderr:
        process = subprocess.Popen(command, stderr=stderr, env={**os.environ, **(environ or {})})

    def listens() -> bool:
        assert process.poll() is None, log.read_text()
        with closing(socket.socket()) as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    try:
        until(listens, "the server listens")
        running = Daemon(process, f"{scheme}://127.0.0.1:{port}", log, token)
        running.environ.update(environ or {})
        with closing(running.client):
            yield running
    finally:
        process.kill()
        process.wait()
        for pid in processes(str(config.parent)):
            os.kill(pid, signal.SIGKILL)
