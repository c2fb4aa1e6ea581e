"""What a heartbeat of 8 GPUs costs the server's processor, and what it costs others.

    python bench/heartbeat.py [--runs 5] [--requests 8000] [--nodes 10000] [--json FILE]

Starts `navarch server` as an operator would: tokens, SQLite, 10,000 registered nodes. From this
process, 800 nodes, each on a connection that is kept and with its own token, send it heartbeats,
each with other values, binary and JSON; and a relay sends batches of 100 and 1,000. "the library"
is the same server asked in a way that its quick path leaves to the Connect library. Every answer
has to be 200 and to acknowledge all that was sent.

Peers run in turn on the same machine: the Connect library alone with the same protocol definition,
FastAPI with pydantic, and an application that reads a body and answers nothing, which is what
uvicorn itself costs. They keep each node's newest sample in a dictionary, know no tokens, and have
no journal.

What is measured is the processor time of the server's process alone, user and system, all threads,
a heartbeat; the medians of the runs. What the server spends while nobody speaks to it, such as
looking at 10,000 nodes twice a second, is measured before and taken off; it stands in the table.
Budget: 25 µs binary, 30 JSON, 3 in batches of 1,000.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import os
import random
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from navarch.core.model.gpu import GPU
from navarch.wire.asgi import JsonCodec
from navarch.wire.auth import mint_node_token
from navarch.wire.generated import navarch_pb2 as pb

CONNECTIONS: Final = 800
"""One for each node that speaks for itself: none of them comes too often, and the usual limit on
open files suffices."""
IDLE_SECONDS: Final = 3.0
GPUS: Final = 8
TOKEN: Final = "the-token-of-a-relay"  # noqa: S105 - of a server that lives for a minute
SERVICE: Final = "/navarch.ControlPlaneService/"
BINARY: Final = "application/proto"
JSON: Final = "application/json"
BY_LIBRARY: Final = "application/proto; charset=utf-8"
"""No quick path takes a parameter of a content type."""

PEERS: Final = Path(__file__).with_name("peers") / "heartbeat_servers.py"

_dice = random.Random(20)  # noqa: S311 - it makes up readings
_json = JsonCodec()


# --- requests --------------------------------------------------------------------------------


def node(number: int) -> str:
    """Name a node."""
    return f"lab-{number:07}"


def heartbeat(number: int) -> pb.HeartbeatRequest:
    """Make a heartbeat of a node, with values that no other has."""
    return pb.HeartbeatRequest(
        node_id=node(number),
        timestamp=Timestamp(seconds=int(time.time()), nanos=_dice.randrange(10**6) * 1000),
        metrics=pb.NodeMetrics(
            cpu_usage_percent=_dice.uniform(0, 100),
            memory_usage_percent=_dice.uniform(0, 100),
            gpu_metrics=[
                pb.GPUMetrics(
                    gpu_index=index,
                    temperature=_dice.randrange(35, 85),
                    power_usage=_dice.randrange(150, 700),
                    utilization_percent=_dice.uniform(0, 100),
                    memory_used=_dice.randrange(2**33, 80 * 2**30),
                )
                for index in range(GPUS)
            ],
        ),
    )


def encoded(message: Message, form: str) -> bytes:
    """Write a message as its content type says."""
    return _json.encode(message) if form == JSON else bytes(message.SerializeToString())


def request(path: str, form: str, token: str, body: bytes) -> bytes:
    """Write an HTTP request as an agent does."""
    lines = (
        f"POST {path} HTTP/1.1",
        "Host: 127.0.0.1:50051",
        "Accept-Encoding: identity",
        f"Content-Length: {len(body)}",
        "Connect-Protocol-Version: 1",
        "User-Agent: navarch",
        f"Authorization: Bearer {token}",
        f"Content-Type: {form}",
        "Connect-Timeout-Ms: 30000",
    )
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


# --- the other side of the wire --------------------------------------------------------------


class Connections:
    """Connections that are kept, on each of which one request waits at a time."""

    def __init__(self, port: int, count: int = CONNECTIONS) -> None:
        """Open them."""
        self._open = [socket.create_connection(("127.0.0.1", port), 30) for _ in range(count)]

    def close(self) -> None:
        """Close them."""
        for each in self._open:
            each.close()

    def ask(self, requests: Sequence[bytes], check: Callable[[bytes], None]) -> None:
        """Send all requests, the first on the first connection, and check the answers' bodies."""
        for first in range(0, len(requests), len(self._open)):
            wave = requests[first : first + len(self._open)]
            for each, sent in zip(self._open, wave, strict=False):
                each.sendall(sent)
            for each, _ in zip(self._open, wave, strict=False):
                check(answer(each))


def answer(connection: socket.socket) -> bytes:
    """Read one answer and return its body; anything but 200 ends the program."""
    got = b""
    while b"\r\n\r\n" not in got:
        got += _more(connection)
    head, _, body = got.partition(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 200 "):
        raise SystemExit(f"not 200 but: {got[:400]!r}")
    lines = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
    if b"content-length" in lines:
        while len(body) < int(lines[b"content-length"]):
            body += _more(connection)
        return body
    while not body.endswith(b"0\r\n\r\n"):
        body += _more(connection)
    whole = b""
    while body != b"0\r\n\r\n":
        size, _, body = body.partition(b"\r\n")
        whole, body = whole + body[: int(size, 16)], body[int(size, 16) + 2 :]
    return whole


def _more(connection: socket.socket) -> bytes:
    part = connection.recv(65_536)
    if not part:
        raise SystemExit("the server hung up")
    return part


# --- servers ---------------------------------------------------------------------------------


class Server(NamedTuple):
    """A server that runs as a process of its own."""

    pid: int
    port: int
    token_of: Callable[[int], str]


def cpu_seconds(pid: int) -> float:
    """Return what all threads of a process have run so far."""
    tasks = Path(f"/proc/{pid}/task")
    spent = (int((task / "schedstat").read_text().split()[0]) for task in tasks.iterdir())
    return sum(spent) / 1e9


def free_port() -> int:
    """Find a port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def started(command: list[str], port: int, **environ: str) -> Iterator[int]:
    """Run a server until the block ends."""
    process = subprocess.Popen(command, env={**os.environ, **environ}, stderr=subprocess.DEVNULL)
    try:
        for _ in range(300):
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            if process.poll() is not None:
                raise SystemExit(f"{command} ended with {process.returncode}")
            time.sleep(0.05)
        yield process.pid
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(20)


@contextlib.contextmanager
def navarch(nodes: int, server: str = "") -> Iterator[Server]:
    """Run a control plane that knows so many nodes, with more lines of ``server``."""
    with tempfile.TemporaryDirectory(prefix="heartbeat-") as folder:
        port, config = free_port(), Path(folder, "navarch.yaml")
        config.write_text(
            f'server:\n{server}  address: "127.0.0.1:{port}"\n  data: {folder}/data\n  auth:\n'
            "    tokens:\n    - {name: relay, role: operator, token_env: RELAY_TOKEN}\n"
        )
        program = str(Path(sys.executable).with_name("navarch"))
        command = [program, "server", "--config", str(config)]
        with started(command, port, RELAY_TOKEN=TOKEN) as pid:
            secret = Path(folder, "data", "node-tokens.key").read_bytes().strip()
            register(port, nodes)
            yield Server(pid, port, lambda number: mint_node_token(secret, node(number)))


def register(port: int, nodes: int) -> None:
    """Have all nodes known."""
    gpus = [
        pb.GPUInfo(index=gpu.index, uuid=gpu.uuid, name=gpu.name)
        for gpu in (GPU(index, f"GPU-{index}", "H100") for index in range(GPUS))
    ]
    calls = [
        request(
            f"{SERVICE}RegisterNode",
            BINARY,
            TOKEN,
            pb.RegisterNodeRequest(node_id=node(number), gpus=gpus).SerializeToString(),
        )
        for number in range(nodes)
    ]
    bodies: list[bytes] = []
    connections = Connections(port, 256)
    connections.ask(calls, bodies.append)
    connections.close()


@contextlib.contextmanager
def peer(name: str) -> Iterator[Server]:
    """Run one of the servers of `PEERS`."""
    port = free_port()
    with started([sys.executable, str(PEERS), name, str(port)], port) as pid:
        yield Server(pid, port, node)


# --- measuring -------------------------------------------------------------------------------


class Case(NamedTuple):
    """What is sent, and who takes it."""

    name: str
    form: str
    batch: int
    """Heartbeats of one request; 1: not a batch."""
    path: str


CASES: Final = (
    Case("navarch, binary", BINARY, 1, f"{SERVICE}Heartbeat"),
    Case("navarch, JSON", JSON, 1, f"{SERVICE}Heartbeat"),
    Case("navarch, binary, batches of 100", BINARY, 100, f"{SERVICE}HeartbeatBatch"),
    Case("navarch, binary, batches of 1,000", BINARY, 1_000, f"{SERVICE}HeartbeatBatch"),
    Case("navarch, JSON, batches of 1,000", JSON, 1_000, f"{SERVICE}HeartbeatBatch"),
    Case("navarch, binary, by the library", BY_LIBRARY, 1, f"{SERVICE}Heartbeat"),
)
OTHERS: Final = {
    "connect": (
        Case("the Connect library alone, binary", BINARY, 1, f"{SERVICE}Heartbeat"),
        Case("the Connect library alone, JSON", JSON, 1, f"{SERVICE}Heartbeat"),
    ),
    "fastapi": (Case("FastAPI and pydantic, JSON", JSON, 1, "/heartbeat"),),
    "null": (Case("uvicorn, reading and answering nothing", BINARY, 1, "/"),),
}


def requests(case: Case, server: Server, count: int, nodes: int) -> list[bytes]:
    """Make requests with so many heartbeats in all, or more to fill the last batch."""
    if case.batch == 1:
        tokens = [server.token_of(number) for number in range(CONNECTIONS)]
        return [
            request(
                case.path,
                case.form,
                tokens[number % CONNECTIONS],
                encoded(heartbeat(number % CONNECTIONS), case.form),
            )
            for number in range(count)
        ]
    whose = itertools.cycle(range(nodes))
    return [
        request(case.path, case.form, TOKEN, encoded(batch, case.form))
        for batch in (
            pb.HeartbeatBatchRequest(heartbeats=[heartbeat(next(whose)) for _ in range(case.batch)])
            for _ in range(-(-count // case.batch))
        )
    ]


def idle(pid: int) -> float:
    """Return how much of a processor a server takes while nobody speaks to it."""
    before, began = cpu_seconds(pid), time.perf_counter()
    time.sleep(IDLE_SECONDS)
    return (cpu_seconds(pid) - before) / (time.perf_counter() - began)


def measured(case: Case, server: Server, count: int, nodes: int, resting: float) -> float:
    """Send, and return the server's microseconds a heartbeat, less what it takes `resting`."""
    sent = requests(case, server, count, nodes)
    # What comes back is decoded afterwards: this process shares the machine with the server.
    bodies: list[bytes] = []
    connections = Connections(server.port)
    connections.ask(sent[:CONNECTIONS], bodies.append)
    bodies.clear()
    before, began = cpu_seconds(server.pid), time.perf_counter()
    connections.ask(sent, bodies.append)
    spent = cpu_seconds(server.pid) - before - resting * (time.perf_counter() - began)
    connections.close()
    accepted = sum(acknowledged(case, body) for body in bodies)
    if accepted != len(sent) * case.batch:
        raise SystemExit(f"{case.name}: {accepted} of {len(sent) * case.batch} were accepted")
    return spent / accepted * 1e6


def acknowledged(case: Case, body: bytes) -> int:
    """Count what an answer says it has taken."""
    if case.path == "/":
        return int(body == b"")
    if case.form == JSON:
        return int(json.loads(body)["acknowledged"])
    kind: Any = pb.HeartbeatResponse if case.batch == 1 else pb.HeartbeatBatchResponse
    return int(kind.FromString(body).acknowledged)


def main() -> int:
    """Measure all, and print a table or write a file."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--requests", type=int, default=8_000, help="heartbeats of one run")
    parser.add_argument("--nodes", type=int, default=10_000, help="registered nodes")
    parser.add_argument("--only", default="", help="cases whose name contains this")
    parser.add_argument("--json", type=Path, help="write the figures there")
    options = parser.parse_args()
    found: dict[str, list[float]] = {}

    def run(cases: Sequence[Case], server: Server) -> float:
        chosen = [case for case in cases if options.only in case.name]
        resting = idle(server.pid) if chosen else 0.0
        for _, case in itertools.product(range(options.runs), chosen):
            count = options.requests * (5 if case.batch > 1 else 1)
            spent = measured(case, server, count, options.nodes, resting)
            found.setdefault(case.name, []).append(spent)
        return resting

    with navarch(options.nodes) as server:
        resting = run(CASES, server)
    for name, cases in OTHERS.items():
        if any(options.only in case.name for case in cases):
            with peer(name) as server:
                run(cases, server)
    if options.json:
        rows = [
            {"name": name, "value": statistics.median(runs), "unit": "µs CPU", "runs": runs}
            for name, runs in found.items()
        ]
        options.json.write_text(json.dumps(rows, indent=2, ensure_ascii=False) + "\n")
    print(f"{'µs of the server a heartbeat':<44} {'median':>7} {'least':>7} {'most':>7}")
    for name, runs in found.items():
        print(f"{name:<44} {statistics.median(runs):7.2f} {min(runs):7.2f} {max(runs):7.2f}")
    print(f"navarch takes {resting:.1%} of a processor while nobody speaks")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
