"""Real relays, each in a process of its own, before a real `navarch server` with tokens."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

from integration.conftest import until
from integration.daemon import Daemon, daemon, free_port
from navarch.wire.auth import mint_node_token
from navarch.wire.client import ConnectClient
from navarch.wiring.parts import fleet_secret

OPERATOR = "an-operator-of-the-tests"
ENVIRON = {"HANDS": OPERATOR}


def write_config(folder: Path, port: int) -> Path:
    """A control plane that has tokens and no machines of its own."""
    path = folder / "navarch.yaml"
    path.write_text(
        f"""
server:
  address: "127.0.0.1:{port}"
  data: {folder / "data"}
  heartbeat_interval: 1s
  auth:
    tokens: [{{name: hands, role: operator, token_env: HANDS}}]
providers:
  fake: {{type: fake}}
pools:
  training: {{provider: fake, min_nodes: 0, max_nodes: 4}}
""",
        encoding="utf-8",
    )
    return path


@contextmanager
def guarded(folder: Path) -> Iterator[Daemon]:
    """Start a control plane with tokens."""
    port = free_port()
    with daemon(write_config(folder, port), port, environ=ENVIRON, token=OPERATOR) as running:
        yield running


class Relay:
    """One `navarch relay`, which can be killed and started again at its address."""

    def __init__(self, folder: Path, servers: Sequence[str], *, token: str = OPERATOR) -> None:
        """Start it and wait until it listens."""
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._log = folder / f"relay-{self.port}.log"
        self._command = [sys.executable, "-m", "navarch", "relay", "--interval", "100ms"]
        self._command += ["--listen", f"127.0.0.1:{self.port}"]
        for server in servers:
            self._command += ["--server", server]
        self._environ = {**os.environ, "NAVARCH_RELAY_TOKEN": token}
        self.process = self.start()

    def start(self) -> subprocess.Popen[bytes]:
        """Start it, again."""
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(self._command, stderr=log, env=self._environ)
        until(self._listens, "the relay listens")
        return self.process

    def _listens(self) -> bool:
        assert self.process.poll() is None, self.log
        return self.get("/healthz")[0] == 200

    @property
    def log(self) -> str:
        """What it has written."""
        return self._log.read_text()

    def get(self, path: str) -> tuple[int, str]:
        """Fetch a page; status 0: nobody listens."""
        with closing(HTTPConnection("127.0.0.1", self.port, timeout=10)) as connection:
            try:
                connection.request("GET", path)
                answer = connection.getresponse()
                return answer.status, answer.read().decode()
            except OSError:
                return 0, ""

    def is_ready(self) -> bool:
        """Whether heartbeats get through."""
        return self.get("/readyz")[0] == 200

    def kill(self) -> None:
        """End it without any warning."""
        self.process.kill()
        self.process.wait()


@contextmanager
def relay(folder: Path, *servers: str, token: str = OPERATOR) -> Iterator[Relay]:
    """Start a relay, and end it afterwards."""
    running = Relay(folder, servers, token=token)
    try:
        yield running
    finally:
        running.kill()


def token_of(folder: Path, node_id: str) -> str:
    """The token with which a node speaks for itself."""
    return mint_node_token(fleet_secret(folder / "data"), node_id)


class Node:
    """A node that is driven by hand."""

    def __init__(self, folder: Path, url: str, node_id: str) -> None:
        """Call `url` as this node."""
        self.id = node_id
        self.client = ConnectClient(url, token_of(folder, node_id), timeout=12)

    def call(self, method: str, **said: object) -> dict[str, Any]:
        """Make a call that names the node."""
        return self.client.call(method, {"nodeId": self.id, **said})

    def close(self) -> None:
        """Hang up."""
        self.client.close()


@contextmanager
def agent(folder: Path, node_id: str, *servers: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run a real agent with injected sensors."""
    command = [sys.executable, "-m", "navarch", "agent", "--node-id", node_id]
    command += ["--state-dir", str(folder / node_id), "--sensors", "injected"]
    for server in servers:
        command += ["--server", server]
    environ = {**os.environ, "NAVARCH_NODE_TOKEN": token_of(folder, node_id)}
    with (folder / f"{node_id}.log").open("ab") as log:
        process = subprocess.Popen(command, stderr=log, env=environ)
    try:
        yield process
    finally:
        process.kill()
        process.wait()
