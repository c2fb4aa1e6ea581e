"""Where the control plane listens, and how patient its connections are.

uvicorn bounds how long an idle connection is kept after an answer. It does not bound how long a
new one may stay silent, how slowly headers may trickle, or how large they may get, so that one
patient peer could hold every descriptor that the process has. `PatientProtocol` adds these three,
and what `connections` bounds; the time that a body may take is bounded in `asgi`, where the answer
can say so.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import ipaddress
import socket
import ssl
import sys
from collections.abc import Awaitable, Callable, Iterable, Iterator
from typing import Final

import httptools
import uvicorn
from uvicorn.config import STARTUP_FAILURE

from navarch.errors import ConfigError
from navarch.wire.asgi import Application
from navarch.wire.bodies import Event, Receive, Send
from navarch.wire.connections import POLITE_MAX, Place
from navarch.wire.hot_lane import HotLane

HEADER_SECONDS_MAX: Final = 10.0
"""From the first byte of a request, or from the connection, until its headers are complete."""

HEADER_BYTES_MAX: Final = 32 * 1024
"""Of all header names and values of one request; nginx and Apache default to 32 and 800 KiB."""

IDLE_SECONDS_MAX: Final = 75
"""How long a connection is kept between requests: longer than two heartbeats of 30 seconds, so
that an agent connects once and not for each."""

CONNECTIONS_MAX: Final = 16_384
"""Connections at one time; the next one is answered with 503. Each holds a descriptor."""

DEAD_PEER: Final = {"TCP_KEEPIDLE": 60, "TCP_KEEPINTVL": 15, "TCP_KEEPCNT": 4}
"""After how many silent seconds the kernel asks a peer, how often, and how many times: a peer that
has vanished is given up after two minutes."""

STOP_SECONDS_MAX: Final = 5
"""How long requests in flight may take when the server stops."""

Asgi = Callable[[Event, Receive, Send], Awaitable[None]]
"""What is served: an ASGI 3 application."""


class PatientProtocol(HotLane):
    """uvicorn's HTTP/1.1, with a quick way for frequent calls, and with an end to its patience."""

    _headers_due: asyncio.TimerHandle | None = None
    _header_bytes: int = 0
    _place: Place | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Expect the first request soon; one connection too many is told so, or hung up on."""
        super().connection_made(transport)
        self._expect_headers()
        application = self.config.app
        if isinstance(application, Application):
            self._place = Place(transport, self.loop, application.admission)
            if self._place.beyond:  # refused for all that it asks, frequent calls too
                self.app = application.refuse_crowd
                self._path = None
            if self._place.beyond > POLITE_MAX:
                transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Expect nothing more."""
        self._expect_nothing()
        if self._place is not None:
            self._place.lost()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """Wait for the peer to read, but not for ever."""
        super().pause_writing()
        if self._place is not None:
            self._place.writing_paused()

    def resume_writing(self) -> None:
        """Go on writing."""
        super().resume_writing()
        if self._place is not None:
            self._place.writing_resumed()

    def on_message_begin(self) -> None:
        """Expect the headers soon."""
        super().on_message_begin()
        self._header_bytes = 0
        self._expect_headers()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header.

        Raises `httptools.HttpParserError` when they get too many, which is answered with 400.
        """
        self._header_bytes += len(name) + len(value)
        if self._header_bytes > HEADER_BYTES_MAX:
            raise httptools.HttpParserError(f"more than {HEADER_BYTES_MAX} bytes of headers")
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Be patient again: the application looks after the body."""
        self._expect_nothing()
        super().on_headers_complete()

    def _expect_headers(self) -> None:
        self._expect_nothing()
        self._headers_due = self.loop.call_later(HEADER_SECONDS_MAX, self.transport.close)

    def _expect_nothing(self) -> None:
        if self._headers_due is not None:
            self._headers_due.cancel()
            self._headers_due = None


class EmbeddedServer(uvicorn.Server):
    """A uvicorn that leaves signals to the process it runs in.

    ``await server.serve(sockets=[...])`` runs until its `should_exit` is set to True.
    """

    def __init__(
        self, settings: uvicorn.Config, on_started: Callable[[], None] | None = None
    ) -> None:
        """Serve with these settings, and call `on_started` once when requests are answered."""
        super().__init__(settings)
        self._on_started = on_started

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to answer requests."""
        if self.config.ssl is None or sockets is None:
            await super().startup(sockets)
        else:
            await self._startup_tls(sockets)
        if self.started and self._on_started is not None:
            self._on_started()

    async def _startup_tls(self, sockets: Iterable[socket.socket]) -> None:
        """Do what uvicorn does, but do not wait for a handshake for a minute."""
        await self.lifespan.startup()
        if self.lifespan.should_exit:
            sys.exit(STARTUP_FAILURE)
        loop = asyncio.get_running_loop()
        protocol: Callable[..., asyncio.Protocol] = self.config.http_protocol_class
        make = functools.partial(protocol, self.config, self.server_state, self.lifespan.state)
        self.servers = [
            await loop.create_server(
                make,
                sock=each,
                ssl=self.config.ssl,
                backlog=self.config.backlog,
                ssl_handshake_timeout=HEADER_SECONDS_MAX,
            )
            for each in sockets
        ]
        self.started = True

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the process's signal handlers alone."""
        yield


def config(
    application: Asgi,
    *,
    protocol: type[asyncio.Protocol] = PatientProtocol,
    tls: ssl.SSLContext | None = None,
    connections_max: int = CONNECTIONS_MAX,
) -> uvicorn.Config:
    """The settings with which uvicorn serves the application; the socket comes from `bind`.

    Without `tls` it speaks plain HTTP. `protocols.spoken` says what `protocol` may be.
    """
    settings = uvicorn.Config(
        application,
        loop="uvloop",
        http=protocol,
        ws="none",
        lifespan="on",
        log_config=None,  # logging belongs to the process
        access_log=False,
        proxy_headers=False,  # nobody's word about where a request came from is taken
        server_header=False,
        limit_concurrency=connections_max,
        timeout_keep_alive=IDLE_SECONDS_MAX,
        timeout_graceful_shutdown=STOP_SECONDS_MAX,
        reset_contextvars=True,  # `calls.current_principal` ends with its request
        ssl_context_factory=None if tls is None else lambda *_: tls,
    )
    settings.load()
    return settings


def bind(host: str, port: int) -> socket.socket:
    """Take the address, so that a port in use is known before anything else starts.

    An empty `host` means every interface; port 0 means any free one. Where a name has several
    addresses, IPv4 goes first. Raises `ConfigError` when the address can not be had.
    """
    shown = f"{host or '*'}:{port}"
    if not 0 <= port <= 65_535:
        raise ConfigError(
            f"cannot listen on {shown}: a port is from 0 to 65535", key="server.address"
        )
    try:
        found = socket.getaddrinfo(
            host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        family, _, _, _, address = min(found, key=lambda entry: entry[0] != socket.AF_INET)
    except (OSError, UnicodeError) as error:
        raise ConfigError(f"cannot listen on {shown}: {error}", key="server.address") from error
    # Named, for asyncio sends small packets at once only where it sees that it is TCP.
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        _notice_dead_peers(listening)
        listening.bind(address)
    except OSError as error:
        listening.close()
        reason = error.strerror or str(error)
        raise ConfigError(
            f"cannot listen on {shown}: {reason}; is another server running there?",
            key="server.address",
        ) from error
    return listening


def _notice_dead_peers(listening: socket.socket) -> None:
    """Have the kernel ask peers that say nothing whether they are there; connections inherit it.

    A watcher whose machine lost its power would hold a place among the watchers otherwise, for as
    long as nothing happens in the fleet.
    """
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in DEAD_PEER.items():
        option = getattr(socket, name, None)  # not every system has all three
        if option is not None:
            listening.setsockopt(socket.IPPROTO_TCP, option, value)


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach the address. An empty host is every interface."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
