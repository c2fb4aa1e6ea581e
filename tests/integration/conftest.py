"""Real fleets: the command `navarch up` in a process of its own, and what it starts.

Whatever a test leaves running is ended by its process id, agents included, and counted as a fault.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import pytest

from navarch.errors import WireError
from navarch.wire.client import ConnectClient

T = TypeVar("T")

PATIENCE_SECONDS = 40.0
"""How long a test waits for anything: many times what it takes on an idle machine."""


def until(condition: Callable[[], T], what: str, seconds: float = PATIENCE_SECONDS) -> T:
    """Ask until the answer is true, and return it; fail when it takes too long."""
    deadline = time.monotonic() + seconds
    while True:
        answer = condition()
        if answer:
            return answer
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.05)


def processes(marker: str) -> dict[int, str]:
    """Process ids and command lines of everything that mentions `marker`, zombies left out."""
    found = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if marker in line:
            found[int(entry.name)] = line
    return found


class Up:
    """One `navarch up` on a data folder, and how to speak to it."""

    def __init__(
        self,
        data: Path,
        port: int = 0,
        nodes: int = 3,
        config: Path | None = None,
        *,
        program: Sequence[str] = ("-m", "navarch", "up"),
    ) -> None:
        """Start it and wait until it greets; a `config` takes the place of the local pool."""
        self.data = data
        self.log = data.parent / f"{data.name}.log"
        command = [sys.executable, *program, "--data", str(data)]
        command += ["--port", str(port), "--heartbeat-interval", "1s"]
        command += ["--nodes", str(nodes)] if config is None else ["--config", str(config)]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=log, text=True, start_new_session=True
            )
        assert self.process.stdout is not None
        greeting = self.process.stdout.readline()
        assert greeting.startswith("Navarch is up at http://"), greeting + self.log.read_text()
        self.url = greeting.split()[-1]
        self.port = int(self.url.rsplit(":", 1)[1])
        self.client = ConnectClient(self.url)

    def call(self, method: str, **request: object) -> dict[str, Any]:
        """Make one call."""
        return self.client.call(method, request)

    def nodes(self) -> dict[str, dict[str, Any]]:
        """All nodes by id."""
        return {node["nodeId"]: node for node in self.call("ListNodes").get("nodes", [])}

    def serving(self) -> dict[str, dict[str, Any]]:
        """Nodes that are ACTIVE."""
        return {
            id_: node
            for id_, node in self.nodes().items()
            if node["status"] == "NODE_STATUS_ACTIVE"
        }

    def wait_serving(
        self, number: int, seconds: float = PATIENCE_SECONDS
    ) -> dict[str, dict[str, Any]]:
        """Wait until that many nodes are ACTIVE, and return them."""
        until(lambda: len(self.serving()) == number, f"{number} active nodes", seconds)
        return self.serving()

    def machines(self) -> int:
        """How many instances may exist."""
        ended = ("INSTANCE_STATE_TERMINATED", "INSTANCE_STATE_FAILED")
        instances = self.call("ListInstances").get("instances", [])
        return sum(instance["state"] not in ended for instance in instances)

    def facts(self, **query: object) -> list[dict[str, Any]]:
        """Facts from the journal, oldest first."""
        return list(self.call("ListEvents", limit=1000, **query).get("events", []))

    def agents(self) -> dict[str, int]:
        """Process ids of the agents on this data folder, by node id."""
        found = {}
        for pid, line in processes(str(self.data)).items():
            words = line.split()
            if "agent" in words:
                found[words[words.index("--node-id") + 1]] = pid
        return found

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run a command of the CLI against it."""
        return subprocess.run(
            [sys.executable, "-m", "navarch", "-s", self.url, *words],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def kill(self) -> None:
        """End the control plane without any warning."""
        self.process.kill()
        self.process.wait()

    def interrupt(self) -> int:
        """Press Ctrl-C, and return the exit code."""
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(timeout=30)

    def is_there(self) -> bool:
        """Whether it answers."""
        try:
            self.call("ListPools")
        except WireError:
            return False
        return True


@pytest.fixture
def start_up(tmp_path: Path) -> Iterator[Callable[..., Up]]:
    """Start fleets; whatever is left of them at the end is ended."""
    started: list[Up] = []

    def start(
        data: str = "fleet", *, port: int = 0, nodes: int = 3, config: Path | None = None
    ) -> Up:
        fleet = Up(tmp_path / data, port, nodes, config)
        started.append(fleet)
        return fleet

    yield start
    for fleet in started:
        fleet.client.close()
        if fleet.process.poll() is None:
            fleet.kill()
        if fleet.process.stdout is not None:
            fleet.process.stdout.close()
    for pid in processes(str(tmp_path)):
        os.kill(pid, signal.SIGKILL)
