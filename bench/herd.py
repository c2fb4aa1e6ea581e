"""A hundred thousand agents that register at once, and what an operator sees meanwhile.

    python bench/herd.py [--agents N] [--clients N] [--json FILE]

A real server process with its journal in SQLite, and real sockets. The agents are the state
machines of the daemon (`navarch.agent.duties`), in a few client processes: each begins within one
second, asks to be registered, and obeys what it is told, ``retry-after`` and its own backoff. An
agent takes a free connection of its process for a call, and waits for one as it would wait for a
place in a listening socket's queue; there are many more connections than registrations that may be
under way, so most are refused at first and told when to come back. Beside them an operator lists
the pools and issues a command, again and again. At the end all agents must be known, and none
twice.

The clients and the server share the processors of this machine, so the figures say how little time
is enough here, not how quick a server of its own would be.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import multiprocessing
import os
import re
import resource
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter, deque
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, cast

AGENTS: Final = 100_000
CONNECTIONS: Final = 10_000
"""Of all client processes together: a server lets in half as many again."""
CONNECT_SECONDS: Final = 6.0
"""When connections are made before all begin: a server hangs up on whoever is silent for ten."""
SECONDS_MAX: Final = 600
TOKEN: Final = "bench-bench-bench-bench"  # noqa: S105 - it opens nothing
RUN_NOW: Final = timedelta(milliseconds=20)

CONFIG: Final = """
server:
  address: 127.0.0.1:{port}
  data: {data}
  external_nodes_max: 1000000
  heartbeat_interval: 30s
  limits: {{connections_per_address: 100000}}
  auth:
    tokens:
      - {{name: bench, role: admin, token_env: NAVARCH_BENCH_TOKEN}}
"""

Queue = Any
"""One of another process; its type depends on how that is begun."""


def registration(number: int) -> Any:  # noqa: ANN401 - imported where it is used
    """Describe a machine with eight GPUs."""
    from navarch.core.model.gpu import GPU  # noqa: PLC0415 - the client processes' own
    from navarch.core.model.messages import RegisterNode  # noqa: PLC0415
    from navarch.core.model.node import Metadata  # noqa: PLC0415

    gpus = tuple(
        GPU(
            index,
            f"GPU-{number:08x}-{index:04x}-4d5c-9a1b-0123456789ab",
            "NVIDIA H100 80GB HBM3",
            f"00000000:{index + 16:02x}:00.0",
            85_899_345_920,
            "535.129.03",
            "12.2",
        )
        for index in range(8)
    )
    address = f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"
    metadata = Metadata(f"host-{number}", address, "", "6.1.0", {"rack": f"r{number // 32}"})
    name = f"node-{number:06}"
    return RegisterNode(name, "own", "r1", "a", "h100-8x", gpus=gpus, metadata=metadata)


def unchunked(body: bytes) -> bytes:
    """Put a body together that came in chunks."""
    parts: list[bytes] = []
    while True:
        size, _, body = body.partition(b"\r\n")
        if not int(size, 16):
            return b"".join(parts)
        parts.append(body[: int(size, 16)])
        body = body[int(size, 16) + 2 :]


class Connection(asyncio.Protocol):
    """One connection of a client process, which carries one call at a time."""

    def __init__(self, swarm: Swarm) -> None:
        self._swarm = swarm
        self._transport: asyncio.Transport | None = None
        self._received = b""
        self._agent = -1

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Say something, and be free once that was answered."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is no subclass
        # A connection that never said anything is hung up on soon; one that did may be idle.
        self._transport.write(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")

    def carry(self, agent: int, request: bytes) -> None:
        """Make the call of an agent."""
        assert self._transport is not None
        self._agent = agent
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        """Take an answer, which may come in parts."""
        self._received += data
        end = self._received.find(b"\r\n\r\n")
        if end < 0:
            return
        head = self._received[:end].lower()
        body = self._received[end + 4 :]
        length = re.search(rb"content-length: (\d+)", head)
        if length is None:
            if not body.endswith(b"0\r\n\r\n"):
                return
            body = unchunked(body)
        elif len(body) < int(length[1]):
            return
        self._received = b""
        agent, self._agent = self._agent, -1
        if agent < 0:
            self._swarm.free(self)
            return
        advice = re.search(rb"retry-after: (\d+)", head)
        self._swarm.answered(agent, int(head[9:12]), body, int(advice[1]) if advice else None)
        self._swarm.free(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Have another made."""
        self._swarm.lost(self, self._agent)


class Swarm:
    """Many agents in one process."""

    def __init__(self, port: int, numbers: range, connections: int) -> None:
        from navarch.agent.duties import Duties  # noqa: PLC0415 - of the client processes

        self._port = port
        self._connections_max = connections
        self._numbers = numbers
        self._duties: dict[int, Duties] = {}
        self._calls: dict[int, Any] = {}
        self._idle: deque[Connection] = deque()
        self._queue: deque[int] = deque()
        self._left = len(numbers)
        self._done = asyncio.Event()
        self.statuses: Counter[int] = Counter()
        self.broken = 0
        self.finished: list[float] = []

    async def run(self, start_at: float) -> None:
        """Begin at `start_at`, each agent within a second, and end when all are registered."""
        from navarch.agent.duties import Duties  # noqa: PLC0415 - of the client processes

        loop = asyncio.get_running_loop()
        now = datetime.now(UTC)
        for number in self._numbers:
            spread = number * 0.618034 % 1.0
            self._duties[number] = Duties(registration(number), start=now, spread=spread)
        await asyncio.sleep(max(0.0, start_at - CONNECT_SECONDS - time.time()))
        for _ in range(0, self._connections_max, 250):
            made = (
                loop.create_connection(lambda: Connection(self), "127.0.0.1", self._port)
                for _ in range(250)
            )
            await asyncio.gather(*made)
        await asyncio.sleep(max(0.0, start_at - time.time()))
        for number in self._numbers:
            loop.call_later(number * 0.754878 % 1.0, self._step, number, None)
        async with asyncio.timeout(SECONDS_MAX):
            await self._done.wait()

    def _step(self, number: int, given: Any) -> None:  # noqa: ANN401 - any input of an agent
        from navarch.agent import turns  # noqa: PLC0415 - of the client processes

        duties = self._duties[number]
        now = datetime.now(UTC)
        outputs = duties.step(given or turns.Tick(), now)
        if duties.registered:
            self.finished.append(time.time())
            del self._duties[number]
            self._left -= 1
            if not self._left:
                self._done.set()
            return
        for output in outputs:
            if isinstance(output, turns.ReadSensors):
                duties.step(turns.SensorsRead(), now)
            elif isinstance(output, turns.Send):
                self._calls[number] = output
                self._queue.append(number)
                self._dispatch()
                return
        if number not in self._calls:
            wait = max(duties.next_due() - datetime.now(UTC), RUN_NOW)
            asyncio.get_running_loop().call_later(wait.total_seconds(), self._step, number, None)

    def _dispatch(self) -> None:
        from navarch.agent import calls  # noqa: PLC0415 - of the client processes

        while self._queue and self._idle:
            number = self._queue.popleft()
            method, body = calls.encode(self._calls[number].request)
            text = json.dumps(body).encode()
            head = (
                f"POST /navarch.ControlPlaneService/{method} HTTP/1.1\r\nHost: x\r\n"
                f"Authorization: Bearer {TOKEN}\r\nContent-Type: application/json\r\n"
                f"Connect-Protocol-Version: 1\r\nContent-Length: {len(text)}\r\n\r\n"
            )
            self._idle.popleft().carry(number, head.encode() + text)

    def answered(self, number: int, status: int, body: bytes, advice: int | None) -> None:
        """Give an agent the answer to its call."""
        from navarch.agent import calls, turns  # noqa: PLC0415 - of the client processes

        self.statuses[status] += 1
        send = self._calls.pop(number)
        told = {"code": "unavailable", "message": "no answer of a control plane"}
        with contextlib.suppress(ValueError):
            told = json.loads(body)
        given: turns.Answer
        if status == 200:
            given = calls.decode(send.request, told, call=send.call)
        else:
            wait = None if advice is None else timedelta(seconds=advice)
            given = turns.CallFailed(send.call, told["code"], told["message"], wait)
        self._step(number, given)

    def free(self, connection: Connection) -> None:
        """Let a connection carry the next call."""
        self._idle.append(connection)
        self._dispatch()

    def lost(self, connection: Connection, number: int) -> None:
        """Make another connection; the call that it carried has failed."""
        from navarch.agent import turns  # noqa: PLC0415 - of the client processes

        if self._done.is_set():
            return
        self.broken += 1
        with contextlib.suppress(ValueError):
            self._idle.remove(connection)
        if number >= 0:
            send = self._calls.pop(number)
            self._step(number, turns.CallFailed(send.call, "unavailable", "connection broke"))
        asyncio.get_running_loop().create_task(self._connect_again())

    async def _connect_again(self) -> None:
        loop = asyncio.get_running_loop()
        while not self._done.is_set():
            try:
                await loop.create_connection(lambda: Connection(self), "127.0.0.1", self._port)
            except OSError:
                await asyncio.sleep(1)
            else:
                return


def be_agents(port: int, numbers: range, connections: int, start_at: float, told: Queue) -> None:
    """Be a client process."""
    import uvloop  # noqa: PLC0415 - of the client processes

    swarm = Swarm(port, numbers, connections)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(swarm.run(start_at))
    told.put((dict(swarm.statuses), swarm.broken, swarm.finished))


class Operator(threading.Thread):
    """Lists pools and issues commands until it is told to stop."""

    def __init__(self, port: int) -> None:
        super().__init__(name="operator", daemon=True)
        self._url = f"http://127.0.0.1:{port}"
        self.stopped = threading.Event()
        self.seconds: dict[str, list[float]] = {"ListPools": [], "IssueCommand": []}
        self.failed: list[str] = []

    def run(self) -> None:
        """Call ten times a second, as long as answers allow."""
        from navarch.errors import WireError  # noqa: PLC0415
        from navarch.wire.client import ConnectClient  # noqa: PLC0415

        words = ("NODE_COMMAND_TYPE_CORDON", "NODE_COMMAND_TYPE_UNCORDON")
        turn = 0
        with ConnectClient(self._url, TOKEN, timeout=30) as client:
            while not self.stopped.wait(0.1):
                turn += 1
                wanted = {"nodeId": "probe", "commandType": words[turn % 2], "reason": "a bench"}
                for method, body in (("ListPools", {}), ("IssueCommand", wanted)):
                    began = time.perf_counter()
                    try:
                        answer = client.call(method, body)
                        self.seconds[method].append(time.perf_counter() - began)
                        if "commandId" in answer:
                            done = {"nodeId": "probe", "commandId": answer["commandId"]}
                            done["status"] = "COMMAND_STATUS_SUCCEEDED"
                            client.call("AckCommand", done)
                    except WireError as error:
                        self.failed.append(f"{method}: {error}")


def free_port() -> int:
    """Find a port that nobody listens on."""
    import socket  # noqa: PLC0415

    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def percentile(values: list[float], part: float) -> float:
    """Return the value that so large a part does not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))] if ordered else 0.0


def peak_mb(pid: int) -> float:
    """Return the largest resident memory of a process so far, in MB."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+)", status)[1]) / 1024  # type: ignore[index]


def cpu_seconds(pid: int) -> float:
    """Return how long a process has computed."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def start_server(folder: Path, port: int) -> subprocess.Popen[bytes]:
    """Start a control plane, and wait until it serves."""
    from navarch.errors import WireError  # noqa: PLC0415
    from navarch.wire.client import ConnectClient  # noqa: PLC0415

    config = folder / "navarch.yaml"
    config.write_text(CONFIG.format(port=port, data=folder / "data"))
    environ = {**os.environ, "NAVARCH_BENCH_TOKEN": TOKEN, "LOG_LEVEL": "WARNING"}
    command = [sys.executable, "-m", "navarch", "server", "--config", str(config)]
    with (folder / "server.log").open("wb") as log:
        server = subprocess.Popen(command, env=environ, stderr=log, stdout=log)
    deadline = time.monotonic() + 60
    with ConnectClient(f"http://127.0.0.1:{port}", TOKEN, timeout=5) as client:
        while True:
            try:
                client.call("RegisterNode", {"nodeId": "probe", "provider": "own"})
            except WireError:
                if server.poll() is not None or time.monotonic() > deadline:
                    print((folder / "server.log").read_text(), file=sys.stderr)
                    raise
                time.sleep(0.1)
            else:
                return server


def count_nodes(port: int) -> int:
    """Count the nodes that the control plane knows, page by page."""
    from navarch.wire.client import ConnectClient  # noqa: PLC0415

    known: set[str] = set()
    token = ""
    with ConnectClient(f"http://127.0.0.1:{port}", TOKEN, timeout=60) as client:
        while True:
            page = client.call("ListNodes", {"pageSize": 1000, "pageToken": token})
            names = [node["nodeId"] for node in page["nodes"]]
            assert known.isdisjoint(names), "a node is listed twice"
            known.update(names)
            token = page.get("nextPageToken", "")
            if not token:
                return len(known)


def herd(agents: int, clients: int) -> dict[str, float]:
    """Let all agents come at once; return the figures."""
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="navarch-herd-") as name:
        server = start_server(Path(name), port)
        context = multiprocessing.get_context("spawn")
        told: Any = context.Queue()
        start_at = time.time() + 4 + CONNECT_SECONDS + agents / 5_000
        each = min(CONNECTIONS, agents) // clients
        processes = [
            context.Process(
                target=be_agents,
                args=(port, range(number, agents, clients), each, start_at, told),
                daemon=True,
            )
            for number in range(clients)
        ]
        operator = Operator(port)
        try:
            for process in processes:
                process.start()
            time.sleep(max(0.0, start_at - time.time()))
            cpu = cpu_seconds(server.pid)
            operator.start()
            answers = [told.get(timeout=SECONDS_MAX + 60) for _ in processes]
            operator.stopped.set()
            operator.join(60)
            cpu = cpu_seconds(server.pid) - cpu
            known, peak = count_nodes(port), peak_mb(server.pid)
        finally:
            for process in processes:
                process.terminate()
            server.terminate()
            server.wait(60)
    statuses: Counter[int] = Counter()
    for counted, _, _ in answers:
        statuses.update(counted)
    finished = sorted(moment for _, _, moments in answers for moment in moments)
    assert known == agents + 1, f"{known} nodes are known of {agents} and the probe"
    assert not operator.failed, operator.failed[:3]
    latencies = operator.seconds
    return {
        "agents": agents,
        "seconds": finished[-1] - start_at,
        "median_s": statistics.median(finished) - start_at,
        "refused": statuses[429],
        "other_errors": sum(n for status, n in statuses.items() if status not in (200, 429)),
        "broken_connections": sum(broken for _, broken, _ in answers),
        "server_cpu_us": cpu / agents * 1e6,
        "peak_mb": peak,
        "list_pools_p99_ms": percentile(latencies["ListPools"], 0.99) * 1e3,
        "issue_command_p99_ms": percentile(latencies["IssueCommand"], 0.99) * 1e3,
        "operator_calls": sum(map(len, latencies.values())),
    }


UNITS: Final = {
    "agents": "agents",
    "seconds": "s until all are registered",
    "median_s": "s until half of them are",
    "refused": "registrations refused with advice",
    "other_errors": "answers that are neither",
    "broken_connections": "connections that broke",
    "server_cpu_us": "µs of the server's processor for each agent",
    "peak_mb": "MB of the server at its largest",
    "list_pools_p99_ms": "ms for ListPools, 99th percentile",
    "issue_command_p99_ms": "ms for IssueCommand, 99th percentile",
    "operator_calls": "calls of the operator, none failed",
}


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--agents", type=int, default=AGENTS)
    parser.add_argument("--clients", type=int, default=2, help="client processes")
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--json", type=Path, help="write the figures here")
    asked = parser.parse_args()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))  # the server inherits it
    runs = [herd(asked.agents, asked.clients) for _ in range(asked.runs)]
    figures = []
    for name, unit in UNITS.items():
        values = [run[name] for run in runs]
        value = statistics.median(values)
        print(f"{value:12,.1f} {unit}")
        figures.append({"name": f"herd.{name}", "value": value, "unit": unit, "runs": values})
    if asked.json:
        asked.json.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
