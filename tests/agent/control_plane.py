"""A small real control plane, and real agent processes that speak to it.

The control plane is an HTTP server in this process. A test waits for what arrives there, never for
time to pass.
"""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

PROGRAM = """
import json, logging, sys
from pathlib import Path
import msgspec
from navarch.agent.commands import Means
from navarch.agent.daemon import run_agent
from navarch.agent.settings import AgentSettings, Serving
from navarch.controlplane.clock import RealClock
logging.basicConfig(level="INFO", stream=sys.stderr)
given = json.loads(sys.argv[1])
given["servers"], given["state_dir"] = tuple(given["servers"]), Path(given["state_dir"])
if "kernel_log" in given:
    given["kernel_log"] = Path(given["kernel_log"])
given["means"] = msgspec.convert(given["means"], Means, dec_hook=lambda kind, text: kind(text))
if "serving" in given:
    given["serving"] = Serving()
given["boot_checks"] = tuple(map(tuple, given.get("boot_checks", ())))
run_agent(AgentSettings(**given), now=RealClock().now)
"""

PATIENCE = 10.0
"""Seconds until a test gives up. Nothing here should take more than two."""

Body = dict[str, Any]


class ControlPlane:
    """What the agents need of a control plane; it can go away and come back at one address."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, Body]] = []
        self.tokens: set[str | None] = set()
        self.known: set[str] = set()
        self.commands: dict[str, Body] = {}
        self.acks: dict[str, Body] = {}
        self.refused: set[str] = set()
        """Methods that are answered with a fault of ours."""
        self.deaf = threading.Event()
        self.hanging = threading.Event()
        self._changed = threading.Condition()
        self._server: ThreadingHTTPServer | None = None
        self.port = 0
        self.come()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def come(self) -> None:
        """Listen, at the same port as last time."""
        plane = self

        class Service(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                size = int(self.headers["Content-Length"])
                body = json.loads(self.rfile.read(size))
                token = self.headers["Authorization"]
                status, answer = plane.answer(self.path.rpartition("/")[2], body, token)
                content = json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(content)))
                self.send_header("Connection", "close")
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *parts: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), Service)
        self._server.daemon_threads = True
        self._server.block_on_close = False
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def go(self) -> None:
        """Stop listening."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def answer(self, method: str, body: Body, token: str | None) -> tuple[int, Body]:
        """Do what a control plane does, and tell whoever waits."""
        if self.deaf.is_set():
            self.hanging.set()
            threading.Event().wait(PATIENCE)
        with self._changed:
            self.calls.append((method, body))
            self.tokens.add(token)
            self._changed.notify_all()
            return self._answer(method, body)

    def _answer(self, method: str, body: Body) -> tuple[int, Body]:
        node = body["nodeId"]
        match method:
            case "RegisterNode":
                self.known.add(node)
                return 200, {"success": True, "config": {"heartbeatIntervalSeconds": 1}}
            case _ if node not in self.known:
                return 404, {"code": "not_found", "message": f"node {node} is not known"}
            case _ if method in self.refused:
                return 500, {"code": "internal", "message": "broken"}
            case "Heartbeat":
                return 200, {"acknowledged": True, "commandsPending": bool(self.commands)}
            case "PollCommands":
                return 200, {"commands": list(self.commands.values())}
            case "AckCommand" if body["status"] != "COMMAND_STATUS_RUNNING":
                self.acks[body["commandId"]] = body
                self.commands.pop(body["commandId"], None)
            case _:
                pass
        return 200, {"acknowledged": True}

    def issue(self, command_id: str, kind: str, **parameters: str) -> None:
        """Leave a command for the node."""
        with self._changed:
            command: Body = {"commandId": command_id, "type": f"NODE_COMMAND_TYPE_{kind}"}
            if parameters:
                command["parameters"] = parameters
            self.commands[command_id] = command

    def heard(self, method: str) -> list[Body]:
        """Return the bodies of all calls of a method."""
        return [body for name, body in self.calls if name == method]

    def wait_for(self, what: Callable[[], bool]) -> None:
        """Wait until calls have made something true."""
        with self._changed:
            if not self._changed.wait_for(what, PATIENCE):
                pytest.fail(f"it did not happen; heard {[name for name, _ in self.calls]}")

    def wait_for_next(self, method: str, count: int = 1) -> None:
        """Wait until a method was called so many times more."""
        before = len(self.heard(method))
        self.wait_for(lambda: len(self.heard(method)) >= before + count)


class Agents:
    """Starts agent processes, and leaves none behind."""

    def __init__(self, plane: ControlPlane, folder: Path) -> None:
        self._plane = plane
        self.folder = folder
        self._processes: list[subprocess.Popen[str]] = []

    def start(self, **changes: object) -> subprocess.Popen[str]:
        """Start an agent; every one has the same state folder."""
        settings = {
            "servers": [self._plane.url],
            "node_id": "n1",
            "state_dir": str(self.folder),
            "sensors": "injected",
            "means": {},
            "labels": {"navarch.dev/pool": "training"},
            **changes,
        }
        process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, json.dumps(settings)],
            stderr=subprocess.PIPE,
            text=True,
        )
        self._processes.append(process)
        # A test that waits for a line of a log waits no longer than the process lives.
        watch = threading.Timer(3 * PATIENCE, process.kill)
        watch.daemon = True
        watch.start()
        return process

    def kill(self) -> None:
        """Kill whatever still runs, as a crash would."""
        for process in self._processes:
            process.kill()
            process.wait()

    def end(self) -> None:
        """Leave nothing behind."""
        for process in self._processes:
            process.kill()
            process.communicate()


def word_from(pipe: Path) -> str:
    """Wait for a line that a process writes into a pipe with a name."""
    descriptor = os.open(pipe, os.O_RDWR)
    with os.fdopen(descriptor, "r+b", buffering=0) as opened:
        if not select.select([opened], [], [], PATIENCE)[0]:
            pytest.fail(f"nobody wrote to {pipe}")
        return opened.read(1000).decode()


def ended(process: subprocess.Popen[str]) -> str:
    """Wait for the end of an agent that ends well; return its log."""
    log = process.communicate(timeout=PATIENCE)[1]
    assert process.returncode == 0, log
    return log
