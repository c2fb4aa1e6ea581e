"""Two control planes that are told the same: one with the quick path, one without.

Both listen on real sockets, have the same nodes and the same clock, and differ in nothing else. A
test sends a request to both and compares what comes back, and what they have learned.
"""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import http.client
import io
import socket
import threading
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import pytest
import uvloop

from factories import at
from navarch.controlplane import control_plane as module
from navarch.controlplane.control_plane import ControlPlane
from navarch.controlplane.server_config import ServerConfig
from navarch.core import fold
from navarch.core.model import events as ev
from navarch.core.model import messages as msg
from navarch.core.model.command import CommandType
from navarch.wire import listener, protocols
from navarch.wire.admission import Rates
from navarch.wire.auth import Authenticator, Role, StaticToken, mint_node_token
from navarch.wire.hot import Counts

EASY = Rates(node_rate=1e6, node_burst=1_000_000, caller_rate=1e6, caller_burst=1_000_000)
"""Nobody calls too often: both are asked more than an agent ever asks."""
SECRET = b"sixteen bytes and a few more"
RELAY = "relay-token"
VIEWER = "viewer-token"
PATH = "/navarch.ControlPlaneService/"
BINARY = "application/proto"
JSON = "application/json"
TIED = ("content-type", "content-encoding", "vary", "connection", "allow", "accept-post")
"""The headers that matter: how a body is framed does not, nor the time of day."""

QUIET = [f"n{number}" for number in range(1, 9)]
"""Nodes of which nothing more is expected."""
ORDERED = "ordered"
"""A command waits for it."""
OLD = "old"
"""It was given a command and never acknowledges."""
LOST = "lost"
ENDED = "ended"


class StillClock:
    """A clock that is moved by the test, while waiting takes real time."""

    jumps = True

    def __init__(self) -> None:
        self.moment = at()

    def now(self) -> datetime:
        """Where the test has put it."""
        return self.moment

    async def sleep(self, duration: timedelta) -> None:
        """Wait so long that no tick comes in between."""
        await asyncio.sleep(max(duration.total_seconds(), 3_600))


class Answered(NamedTuple):
    """What came back, as far as it matters."""

    status: int
    headers: dict[str, str | None]
    body: bytes


class World:
    """A control plane on a socket."""

    def __init__(self, control_plane: ControlPlane, port: int, counts: Counts | None) -> None:
        self.control_plane = control_plane
        self.port = port
        self.counts = counts
        self._kept = http.client.HTTPConnection("127.0.0.1", port, timeout=10)

    def ask(
        self, path: str, headers: Sequence[tuple[str, str]], body: bytes, method: str
    ) -> Answered:
        """Send a request over the connection that is kept."""
        self._kept.putrequest(method, path, skip_accept_encoding=True)
        for name, value in headers:
            self._kept.putheader(name, value)
        if not any(name.lower() == "content-length" for name, _ in headers):
            self._kept.putheader("Content-Length", str(len(body)))
        self._kept.endheaders(body)
        return answered(self._kept.getresponse())

    def send(self, *parts: bytes, answers: int = 1) -> list[Answered]:
        """Send bytes on a connection of their own, with a moment between the parts."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=10) as connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for part in parts[:-1]:
                connection.sendall(part)
                threading.Event().wait(0.02)
            connection.sendall(parts[-1])
            stream = _Stream(socket.SocketIO(connection, "r"))
            return [next_of(stream) for _ in range(answers)]

    def close(self) -> None:
        """Let go of the connection."""
        self._kept.close()

    @property
    def learned(self) -> dict[str, Any]:
        """All that requests may change."""
        machine = self.control_plane.runtime.machine
        seen, fleet = machine.sightings, machine.fleet
        return {
            "heard": seen.heard.moments(),
            "samples": {
                id_: (seen.samples.newest_at(id_), seen.samples.newest(id_)) for id_ in seen.samples
            },
            "serving": dict(seen.serving),
            "nodes": dict(fleet.nodes),
            "commands": dict(fleet.commands),
            "pending": dict(fleet.pending),
        }

    @property
    def histories(self) -> dict[str, Any]:
        """All samples."""
        samples = self.control_plane.runtime.machine.sightings.samples
        return {node_id: samples.history(node_id) for node_id in samples}


class _Stream(io.BufferedReader):
    """What answers are read of, when several come on one connection: it stays open in between."""

    def makefile(self, mode: str) -> _Stream:
        """Return the same stream each time, as it may hold the next answer already."""
        del mode
        return self

    def close(self) -> None:
        """Do nothing: `http.client` closes what an answer was read of."""


def next_of(stream: _Stream) -> Answered:
    """Read the next answer."""
    response = http.client.HTTPResponse(stream)  # type: ignore[arg-type]  # it only has to be read
    response.begin()
    return answered(response)


def answered(response: http.client.HTTPResponse) -> Answered:
    """Read an answer to its end."""
    body = response.read()
    if response.headers["content-encoding"] == "gzip":
        body = b"gzip: " + gzip.decompress(body)  # its header has the time of day
    return Answered(response.status, {name: response.headers[name] for name in TIED}, body)


class Twins:
    """One with the quick path, one without."""

    def __init__(self, quick: World, plain: World, clock: StillClock) -> None:
        self.quick = quick
        self.plain = plain
        self.clock = clock

    @property
    def served(self) -> int:
        """How many calls were answered the quick way."""
        counts = self.quick.counts
        assert counts is not None
        return counts.heartbeats + counts.batches + counts.polls

    def ask(
        self,
        method: str,
        body: bytes,
        form: str = BINARY,
        *,
        token: str | None = RELAY,
        more: Sequence[tuple[str, str]] = (),
        verb: str = "POST",
    ) -> Answered:
        """Send a request to both, compare, and return the answer."""
        headers = [("Content-Type", form), *more]
        if token is not None:
            headers.append(("Authorization", f"Bearer {token}"))
        return self.tell(f"{PATH}{method}", headers, body, verb)

    def tell(
        self, path: str, headers: Sequence[tuple[str, str]], body: bytes, verb: str = "POST"
    ) -> Answered:
        """Send exactly this to both, compare, and return the answer."""
        self.clock.moment += timedelta(milliseconds=10)
        mine, others = (each.ask(path, headers, body, verb) for each in (self.quick, self.plain))
        assert mine == others
        self.compare()
        return mine

    def send(self, *parts: bytes, answers: int = 1) -> list[Answered]:
        """Send bytes to both, compare, and return the answers."""
        self.clock.moment += timedelta(milliseconds=10)
        mine = self.quick.send(*parts, answers=answers)
        assert mine == self.plain.send(*parts, answers=answers)
        self.compare()
        return mine

    def compare(self) -> None:
        """Check that both have learned the same."""
        assert self.quick.learned == self.plain.learned


async def _founded(clock: StillClock, authenticator: Authenticator) -> ControlPlane:
    """Start a control plane and have it know the nodes."""
    control_plane = ControlPlane(ServerConfig(clock=clock, rates=EASY), authenticator=authenticator)
    await control_plane.start()
    runtime = control_plane.runtime
    for node_id in (*QUIET, ORDERED, OLD, LOST, ENDED):
        await runtime.ask(msg.RegisterNode(node_id))
    for node_id in (ORDERED, OLD):
        await runtime.ask(msg.IssueCommand(node_id, CommandType.CORDON))
    await runtime.ask(msg.PollCommands(OLD, acknowledges=False))
    fold.apply(runtime.machine.fleet, ev.NodeLost(clock.now(), LOST, "silent"))
    fold.apply(runtime.machine.fleet, ev.NodeRetired(clock.now(), ENDED, "it was told to end"))
    return control_plane


async def _end(server: listener.EmbeddedServer, serving: asyncio.Task[None]) -> None:
    server.should_exit = True
    await serving


async def _serve(
    started: list[World], clock: StillClock, ready: threading.Event, stop: threading.Event
) -> None:
    tokens = [
        StaticToken("relay", Role.OPERATOR, RELAY),
        StaticToken("eyes", Role.VIEWER, VIEWER),
    ]
    async with contextlib.AsyncExitStack() as stack:
        for quick in (True, False):
            control_plane = await _founded(clock, Authenticator(tokens, SECRET))
            stack.push_async_callback(control_plane.stop)
            application = control_plane.asgi_app
            if not quick:
                application.hot = None
            listening = listener.bind("127.0.0.1", 0)
            stack.callback(listening.close)
            up = asyncio.Event()
            settings = listener.config(application, protocol=protocols.spoken(http2=True))
            server = listener.EmbeddedServer(settings, up.set)
            serving = asyncio.create_task(server.serve(sockets=[listening]))
            stack.push_async_callback(_end, server, serving)
            await up.wait()
            counts = application.hot.counts if application.hot else None
            started.append(World(control_plane, listening.getsockname()[1], counts))
        ready.set()
        await asyncio.to_thread(stop.wait)
        for world in started:
            world.close()


@contextlib.contextmanager
def twins() -> Iterator[Twins]:
    """Run both until the block ends."""
    clock, ready, stop = StillClock(), threading.Event(), threading.Event()
    started: list[World] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "new_tag", lambda: "k3f9")
        thread = threading.Thread(
            target=uvloop.run, args=(_serve(started, clock, ready, stop),), name="twins"
        )
        thread.start()
        try:
            assert ready.wait(20)
            yield Twins(started[0], started[1], clock)
        finally:
            stop.set()
            thread.join(20)
            assert not thread.is_alive()


def token_of(node_id: str) -> str:
    """Make the token with which a node speaks for itself."""
    return mint_node_token(SECRET, node_id)
