"""Where the control plane listens, and how patient its connections are.

uvicorn bounds how long an idle connection is kept after an answer. It does not bound how long a
new one may stay silent, how slowly headers may trickle, or how large they may get, so that one
patient peer could hold every descriptor that the process has. `PatientProtocol` adds these three;
the time that a body may take is bounded in `asgi`, where the answer can say so.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
import ssl
from collections.abc import Callable, Iterator
from typing import Final

import httptools
import uvicorn
from msgspec import Struct
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from navarch.errors import ConfigError
from navarch.wire.asgi import Application

HEADER_SECONDS_MAX: Final = 10.0
"""From the first byte of a request, or from the connection, until its headers are complete."""

HEADER_BYTES_MAX: Final = 32 * 1024
"""Of all header names and values of one request; nginx and Apache default to 32 and 800 KiB."""

IDLE_SECONDS_MAX: Final = 75
"""How long a connection is kept between requests: longer than two heartbeats of 30 seconds, so
that an agent connects once and not for each."""

CONNECTIONS_MAX: Final = 16_384
"""Connections at one time; the next one is answered with 503. Each holds a descriptor."""

STOP_SECONDS_MAX: Final = 5
"""How long requests in flight may take when the server stops."""


class Tls(Struct, frozen=True):
    """The files of a server that speaks TLS."""

    cert_file: str
    key_file: str
    client_ca_file: str | None = None
    """Who signs the certificates that clients must show; None lets clients come without."""


class PatientProtocol(HttpToolsProtocol):
    """uvicorn's HTTP/1.1, with an end to its patience."""

    _headers_due: asyncio.TimerHandle | None = None
    _header_bytes: int = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Expect the first request soon."""
        super().connection_made(transport)
        self._expect_headers()

    def connection_lost(self, exc: Exception | None) -> None:
        """Expect nothing more."""
        self._expect_nothing()
        super().connection_lost(exc)

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
        await super().startup(sockets)
        if self.started and self._on_started is not None:
            self._on_started()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the process's signal handlers alone."""
        yield


def config(
    application: Application, *, tls: Tls | None = None, connections_max: int = CONNECTIONS_MAX
) -> uvicorn.Config:
    """The settings with which uvicorn serves the application; the socket comes from `bind`.

    Without `tls` it speaks plain HTTP. Raises `ConfigError` when the files of `tls` can not be
    used.
    """
    settings = uvicorn.Config(
        application,
        loop="uvloop",
        http=PatientProtocol,
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
        ssl_certfile=tls.cert_file if tls else None,
        ssl_keyfile=tls.key_file if tls else None,
        ssl_ca_certs=tls.client_ca_file if tls else None,
        ssl_cert_reqs=ssl.CERT_REQUIRED if tls and tls.client_ca_file else ssl.CERT_NONE,
    )
    try:
        settings.load()
    except OSError as error:  # ssl.SSLError is one
        raise ConfigError(f"cannot use the TLS files: {error}", key="server.auth.tls") from error
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
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
    except OSError as error:
        listening.close()
        reason = error.strerror or str(error)
        raise ConfigError(
            f"cannot listen on {shown}: {reason}; is another server running there?",
            key="server.address",
        ) from error
    return listening


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach the address. An empty host is every interface."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
