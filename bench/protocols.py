"""What a heartbeat of 8 GPUs costs the server's processor, by the protocol it comes in.

    python bench/protocols.py [--runs 5] [--requests 3000] [--nodes 4000] [--json FILE]

Starts `navarch server` with HTTP/2 as an operator would, and sends it unary heartbeats, each with
the token of its node, over 64 connections that are kept: Connect over HTTP/1.1 and HTTP/2, gRPC-Web
over HTTP/1.1, and gRPC by Google's client, also with all nodes on one connection. Peers in the same
run: Google's own server for asyncio (grpc.aio, on uvloop), and the Connect library on uvicorn's
HTTP/2 without anything of ours. Peers know no tokens.

An answer counts when it acknowledges the heartbeat: in gRPC an HTTP status of 200 says nothing.
What is measured is the processor time of the server's process alone, all threads, a heartbeat, less
what it takes at rest; the medians of the runs. No node speaks as often as the server limits it to.
"by the library" is Connect in a form that the quick path leaves alone, as it leaves gRPC-Web.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import socket
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import grpc
import zttp
from heartbeat import (
    BINARY,
    BY_LIBRARY,
    CONNECTIONS,
    SERVICE,
    Connections,
    Server,
    cpu_seconds,
    free_port,
    heartbeat,
    idle,
    navarch,
    node,
    request,
    started,
)

from navarch.wire.generated import navarch_pb2 as pb

PATH: Final = f"{SERVICE}Heartbeat"
WEB: Final = "application/grpc-web+proto"
PEERS: Final = Path(__file__).with_name("peers") / "grpc_server.py"

Sent = Sequence[tuple[str, bytes]]
"""Heartbeats, each with its node's token."""

Run = Callable[[int, Sent], int]
"""Sends heartbeats to a port, so many at a time, and counts those acknowledged."""


def framed(message: bytes) -> bytes:
    """Put a message into the frame of gRPC."""
    return b"\0" + len(message).to_bytes(4, "big") + message


def acknowledged(message: bytes) -> int:
    """Count an answer."""
    return int(pb.HeartbeatResponse.FromString(message).acknowledged)


# --- HTTP/1.1 --------------------------------------------------------------------------------


def http1(form: str) -> Run:
    """Send over HTTP/1.1, in a form."""

    def run(port: int, sent: Sent) -> int:
        web = form == WEB
        asked = [request(PATH, form, token, framed(body) if web else body) for token, body in sent]
        got: list[bytes] = []
        connections = Connections(port)
        connections.ask(asked, got.append)
        connections.close()
        return sum(map(_web_answer if web else acknowledged, got))

    return run


def _web_answer(body: bytes) -> int:
    size = int.from_bytes(body[1:5], "big")
    return acknowledged(body[5 : 5 + size]) if b"grpc-status: 0" in body[5 + size :] else 0


# --- HTTP/2 ----------------------------------------------------------------------------------


class Http2:
    """A connection on which one request waits at a time."""

    def __init__(self, port: int) -> None:
        """Open it."""
        self._line = socket.create_connection(("127.0.0.1", port), 30)
        self._line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._parser = zttp.Connection(zttp.CLIENT, protocol=zttp.HTTP2)

    def close(self) -> None:
        """Close it."""
        self._line.close()

    def send(self, token: str, body: bytes) -> None:
        """Send a call of Connect."""
        headers = {"host": "127.0.0.1", "content-type": BINARY, "connect-protocol-version": "1"}
        headers |= {"authorization": f"Bearer {token}", "connect-timeout-ms": "30000"}
        told = [(name.encode(), text.encode()) for name, text in headers.items()]
        stream = self._parser.send_request(b"POST", PATH.encode(), b"2", told)
        stream.send_data(body)
        stream.end_message()
        self._line.sendall(self._parser.data_to_send())

    def answer(self) -> bytes:
        """Wait for the answer; empty when it is a refusal."""
        body, status = b"", 0
        while True:
            while (event := self._parser.next_event()) is not zttp.NEED_DATA:
                if isinstance(event, zttp.Response):
                    status = event.status_code
                elif isinstance(event, zttp.Data):
                    body += event.data
                elif isinstance(event, zttp.EndOfMessage):
                    return body if status == 200 else b""
            self._line.sendall(self._parser.data_to_send())
            self._parser.receive_data(self._line.recv(65_536))


def http2(port: int, sent: Sent) -> int:
    """Send Connect over HTTP/2."""
    lines = [Http2(port) for _ in range(CONNECTIONS)]
    taken = 0
    for first in range(0, len(sent), CONNECTIONS):
        wave = list(zip(lines, sent[first : first + CONNECTIONS], strict=False))
        for line, (token, body) in wave:
            line.send(token, body)
        taken += sum(acknowledged(line.answer()) for line, _ in wave)
    for line in lines:
        line.close()
    return taken


def google(*, channels: int) -> Run:
    """Send gRPC by Google's client, over so many connections."""

    def run(port: int, sent: Sent) -> int:
        with contextlib.ExitStack() as stack:
            options = (("grpc.use_local_subchannel_pool", 1),)
            opened = [
                stack.enter_context(grpc.insecure_channel(f"127.0.0.1:{port}", options))
                for _ in range(channels)
            ]
            calls = [channel.unary_unary(PATH) for channel in opened]
            taken = 0
            for first in range(0, len(sent), CONNECTIONS):
                waiting: list[Any] = [
                    calls[at % channels].future(
                        body, timeout=30, metadata=(("authorization", f"Bearer {token}"),)
                    )
                    for at, (token, body) in enumerate(sent[first : first + CONNECTIONS])
                ]
                taken += sum(acknowledged(each.result()) for each in waiting)
        return taken

    return run


# --- measuring -------------------------------------------------------------------------------


class Case(NamedTuple):
    """How heartbeats are sent."""

    name: str
    run: Run


OURS: Final = (
    Case("navarch, Connect, HTTP/1.1", http1(BINARY)),
    Case("navarch, Connect, HTTP/2", http2),
    Case("navarch, Connect, HTTP/1.1, by the library", http1(BY_LIBRARY)),
    Case("navarch, gRPC-Web, HTTP/1.1", http1(WEB)),
    Case("navarch, gRPC, 64 connections", google(channels=CONNECTIONS)),
    Case("navarch, gRPC, one connection", google(channels=1)),
)
OTHERS: Final = {
    "aio": (
        Case("grpc.aio, 64 connections", google(channels=CONNECTIONS)),
        Case("grpc.aio, one connection", google(channels=1)),
    ),
    "connect": (
        Case("Connect library alone, gRPC, 64 connections", google(channels=CONNECTIONS)),
        Case("Connect library alone, Connect, HTTP/2", http2),
    ),
}


@contextlib.contextmanager
def peer(name: str) -> Iterator[Server]:
    """Run one of the servers of `PEERS`."""
    port = free_port()
    with started([sys.executable, str(PEERS), name, str(port)], port) as pid:
        yield Server(pid, port, node)


def measured(case: Case, server: Server, sent: Sent, resting: float) -> float:
    """Send, and return the server's microseconds a heartbeat, less what it takes `resting`."""
    before, began = cpu_seconds(server.pid), time.perf_counter()
    taken = case.run(server.port, sent)
    spent = cpu_seconds(server.pid) - before - resting * (time.perf_counter() - began)
    if taken != len(sent):
        raise SystemExit(f"{case.name}: {taken} of {len(sent)} were acknowledged")
    return spent / taken * 1e6


def main() -> int:
    """Measure all, print a table, and write a file if one is named."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--requests", type=int, default=3_000, help="heartbeats of one run")
    parser.add_argument("--nodes", type=int, default=4_000, help="registered nodes")
    parser.add_argument("--only", default="", help="cases whose name contains this")
    parser.add_argument("--json", type=Path, help="write the figures there")
    options = parser.parse_args()
    nodes = max(options.nodes, CONNECTIONS)
    found: dict[str, list[float]] = {}

    def run(cases: Sequence[Case], server: Server) -> None:
        whose = itertools.cycle([(number, server.token_of(number)) for number in range(nodes)])

        def heartbeats(count: int) -> Sent:
            return [
                (token, bytes(heartbeat(number).SerializeToString()))
                for number, token in itertools.islice(whose, count)
            ]

        resting = idle(server.pid)
        for case in (each for each in cases if options.only in each.name):
            measured(case, server, heartbeats(CONNECTIONS * 4), resting)
            found[case.name] = [
                measured(case, server, heartbeats(options.requests), resting)
                for _ in range(options.runs)
            ]

    with navarch(nodes, "  http2: true\n") as server:
        run(OURS, server)
    for name, cases in OTHERS.items():
        with peer(name) as server:
            run(cases, server)
    if options.json:
        rows = [
            {"name": name, "value": statistics.median(runs), "unit": "µs CPU", "runs": runs}
            for name, runs in found.items()
        ]
        options.json.write_text(json.dumps(rows, indent=2, ensure_ascii=False) + "\n")
    print(f"{'µs of the server a heartbeat':<50} {'median':>7} {'least':>7} {'most':>7}")
    for name, runs in found.items():
        print(f"{name:<50} {statistics.median(runs):7.1f} {min(runs):7.1f} {max(runs):7.1f}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
