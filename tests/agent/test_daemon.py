"""The agent as a real process against a small real control plane: it outlives what may go wrong.

The control plane is played by an HTTP server in this process. A test waits for what arrives there,
never for time to pass.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from navarch.agent.daemon import run_agent
from navarch.agent.sensors.injected import Xid, inject
from navarch.agent.settings import AgentSettings, read_token
from navarch.controlplane.clock import RealClock
from navarch.errors import ConfigError

PROGRAM = """
import json, logging, sys
from pathlib import Path
from navarch.agent.daemon import run_agent
from navarch.agent.settings import AgentSettings
from navarch.controlplane.clock import RealClock
logging.basicConfig(level="INFO", stream=sys.stderr)
given = json.loads(sys.argv[1])
given["servers"], given["state_dir"] = tuple(given["servers"]), Path(given["state_dir"])
given["diagnostic"] = tuple(given["diagnostic"])
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
            case "Heartbeat":
                return 200, {"acknowledged": True, "commandsPending": bool(self.commands)}
            case "PollCommands":
                return 200, {"commands": list(self.commands.values())}
            case "AckCommand":
                self.acks[body["commandId"]] = body
                self.commands.pop(body["commandId"], None)
            case _:
                pass
        return 200, {"acknowledged": True}

    def issue(self, command_id: str, kind: str) -> None:
        """Leave a command for the node."""
        with self._changed:
            command = {"commandId": command_id, "type": f"NODE_COMMAND_TYPE_{kind}"}
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


@pytest.fixture
def plane() -> Iterator[ControlPlane]:
    """Yield a control plane that listens."""
    plane = ControlPlane()
    yield plane
    plane.go()


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
            "diagnostic": [],
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

    def end(self) -> None:
        """Kill whatever still runs."""
        for process in self._processes:
            process.kill()
            process.communicate()


@pytest.fixture
def agents(plane: ControlPlane, tmp_path: Path) -> Iterator[Agents]:
    """Yield what starts agents of the control plane."""
    agents = Agents(plane, tmp_path / "state")
    yield agents
    agents.end()


def ended(process: subprocess.Popen[str]) -> str:
    """Wait for the end of an agent that ends well; return its log."""
    log = process.communicate(timeout=PATIENCE)[1]
    assert process.returncode == 0, log
    return log


# --- what it says ------------------------------------------------------------------------------


def test_it_registers_speaks_reports_and_ends_at_once(plane: ControlPlane, agents: Agents) -> None:
    agent = agents.start(token="secret-of-n1")
    plane.wait_for_next("Heartbeat")
    plane.wait_for(lambda: bool(plane.heard("ReportHealth")))
    assert (agents.folder / "agent.pid").read_text() == f"{agent.pid}\n"
    agent.send_signal(signal.SIGTERM)
    log = ended(agent)

    registration = plane.heard("RegisterNode")[0]
    assert len(registration["gpus"]) == 8
    assert registration["metadata"]["labels"] == {
        "navarch.dev/pool": "training",
        "navarch.dev/sensors": "injected",
        "navarch.dev/state-dir": str(agents.folder),
    }
    assert len(plane.heard("Heartbeat")[0]["metrics"]["gpuMetrics"]) == 8
    statuses = {result["status"] for result in plane.heard("ReportHealth")[0]["results"]}
    assert statuses == {"HEALTH_STATUS_HEALTHY"}
    assert plane.tokens == {"Bearer secret-of-n1"}
    assert "secret-of-n1" not in log
    assert "registered heartbeat_interval=1s" in log
    assert "stopping because=SIGTERM" in log
    assert not (agents.folder / "agent.pid").exists()


def test_an_injected_fault_is_reported(plane: ControlPlane, agents: Agents) -> None:
    agents.start()
    plane.wait_for_next("Heartbeat")
    inject(agents.folder, Xid(79, gpu=3), now=RealClock().now())
    plane.wait_for(lambda: any(body["events"] for body in plane.heard("ReportHealth")))
    event = next(body["events"] for body in plane.heard("ReportHealth") if body["events"])[0]
    assert event["metrics"] == {"xid_code": "79"}
    plane.wait_for_next("Heartbeat", 2)
    assert sum(len(body["events"]) for body in plane.heard("ReportHealth")) == 1


# --- a control plane in trouble ----------------------------------------------------------------


def test_a_server_that_is_not_there_yet_is_waited_for(plane: ControlPlane, agents: Agents) -> None:
    plane.go()
    agent = agents.start()
    assert agent.stderr is not None
    while "server_away" not in agent.stderr.readline():
        assert agent.poll() is None
    plane.come()
    plane.wait_for(lambda: bool(plane.heard("Heartbeat")))


def test_a_server_that_was_away_and_forgot_is_joined_again(
    plane: ControlPlane, agents: Agents
) -> None:
    agent = agents.start()
    plane.wait_for_next("Heartbeat")
    plane.go()
    assert agent.stderr is not None
    while "server_away" not in agent.stderr.readline():
        assert agent.poll() is None
    plane.known.clear()
    before = len(plane.calls)
    plane.come()
    plane.wait_for_next("RegisterNode")
    plane.wait_for_next("Heartbeat")
    assert plane.calls[before + 1][0] == "RegisterNode"


def test_another_address_is_tried_when_one_is_away(plane: ControlPlane, agents: Agents) -> None:
    agents.start(servers=["http://127.0.0.1:1", plane.url])
    plane.wait_for(lambda: bool(plane.heard("Heartbeat")))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_server_that_hangs_does_not_hold_up_the_end(
    plane: ControlPlane, agents: Agents, number: signal.Signals
) -> None:
    agent = agents.start()
    plane.wait_for_next("Heartbeat")
    plane.deaf.set()
    assert plane.hanging.wait(PATIENCE)
    agent.send_signal(number)
    agent.wait(timeout=2)
    ended(agent)


# --- commands ----------------------------------------------------------------------------------


def test_a_command_is_carried_out_and_its_result_told(plane: ControlPlane, agents: Agents) -> None:
    agents.start()
    plane.issue("c1", "RUN_DIAGNOSTIC")
    plane.wait_for(lambda: "c1" in plane.acks)
    assert plane.acks["c1"]["status"] == "COMMAND_STATUS_SUCCEEDED"
    assert plane.acks["c1"]["output"].startswith("8 GPUs read by injected sensors\n")


def test_terminate_ends_the_agent_after_its_result_was_told(
    plane: ControlPlane, agents: Agents
) -> None:
    agent = agents.start()
    plane.issue("c1", "TERMINATE")
    assert "stopping because='command c1 told the node to end'" in ended(agent)
    assert plane.acks["c1"]["status"] == "COMMAND_STATUS_SUCCEEDED"


def test_a_command_cut_short_by_a_kill_has_failed_and_is_not_repeated(
    plane: ControlPlane, agents: Agents, tmp_path: Path
) -> None:
    runs = tmp_path / "runs"
    os.mkfifo(tmp_path / "begun")
    script = f"echo $$ >> {runs}; echo begun > {tmp_path / 'begun'}; exec sleep 60"
    diagnostic = ["sh", "-c", script]
    plane.issue("c1", "RUN_DIAGNOSTIC")
    agent = agents.start(diagnostic=diagnostic)
    assert (tmp_path / "begun").read_text() == "begun\n"
    agent.kill()
    agent.wait()
    (pid,) = runs.read_text().split()
    os.kill(int(pid), signal.SIGKILL)

    agents.start(diagnostic=diagnostic)
    plane.wait_for(lambda: "c1" in plane.acks)
    assert plane.acks["c1"]["status"] == "COMMAND_STATUS_FAILED"
    assert plane.acks["c1"]["message"] == "the agent was restarted while it ran"
    assert runs.read_text().split() == [pid]


def test_the_end_of_an_agent_ends_the_diagnostic_it_runs(
    plane: ControlPlane, agents: Agents, tmp_path: Path
) -> None:
    os.mkfifo(tmp_path / "begun")
    script = f"echo $$ > {tmp_path / 'begun'}; exec sleep 60"
    plane.issue("c1", "RUN_DIAGNOSTIC")
    agent = agents.start(diagnostic=["sh", "-c", script])
    pid = int((tmp_path / "begun").read_text())
    agent.send_signal(signal.SIGTERM)
    ended(agent)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_two_agents_do_not_share_a_folder(plane: ControlPlane, agents: Agents) -> None:
    first = agents.start()
    plane.wait_for_next("Heartbeat")
    second = agents.start()
    log = second.communicate(timeout=PATIENCE)[1]
    assert second.returncode == 1
    assert f"belongs to a running agent (pid {first.pid})" in log


# --- wrong usage -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changes, problem",
    [
        ({"servers": ()}, "server: no address"),
        ({"servers": ("localhost:50051",)}, "server: 'localhost:50051' is no address"),
        ({"servers": ("http://localhost:99999",)}, "server: .* is no address"),
        ({"servers": ("http://a b",)}, "server: .* is no address"),
        ({"node_id": "no spaces"}, "node-id: 'no spaces' is no id"),
        ({"node_id": ""}, "node-id: '' is no id"),
        ({"token": "zwölf"}, "server: the token is empty or not plain ASCII"),
        ({"sensors": "nvml"}, "sensors: 'nvml' is no kind of sensors"),
        ({"gpu_count": 65}, "gpu_count: 65 injected GPUs, expected 0 to 64"),
        ({"state_dir": Path("/dev/null")}, "/dev/null is not a folder"),
        ({"state_dir": Path("/proc/nothing")}, "/proc/nothing cannot be used"),
    ],
)
def test_wrong_usage_is_one_clear_line(
    tmp_path: Path, changes: dict[str, Any], problem: str
) -> None:
    given = {"servers": ("http://localhost:1",), "node_id": "n1", "state_dir": tmp_path, **changes}
    with pytest.raises(ConfigError, match=problem) as caught:
        run_agent(AgentSettings(**given), now=RealClock().now)
    assert "\n" not in str(caught.value)


def test_a_token_comes_from_the_file_or_else_the_environment(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("from-file\n")
    environment = {"NAVARCH_NODE_TOKEN": "from-environment"}
    assert read_token(environment, file) == "from-file"
    assert read_token(environment) == "from-environment"
    assert read_token({"NAVARCH_NODE_TOKEN": ""}) is None


@pytest.mark.parametrize("content", [b"", b" \n", b"\xff\xfe"])
def test_a_token_file_without_a_token_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "token").write_bytes(content)
    with pytest.raises(ConfigError, match="token: "):
        read_token({}, tmp_path / "token")
    with pytest.raises(ConfigError, match="cannot be read"):
        read_token({}, tmp_path / "missing")
