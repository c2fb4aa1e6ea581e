"""Blocking HTTP for large files: connections that are kept, ranges read into a caller's buffer.

The standard library's client is the quickest way to get bytes from a socket into a buffer of ours
(see ``bench/loader.py``), and has nothing else: connections are kept here, redirects followed here.
Credentials are never sent to another host than the one that they are for.
"""

from __future__ import annotations

import contextlib
import http.client
import socket
import ssl
import threading
from collections.abc import Mapping
from typing import Final
from urllib.parse import SplitResult, urljoin, urlsplit

from msgspec import Struct

from navarch.errors import ModelError

TIMEOUT_SECONDS: Final = 30.0
"""How long a connection may give nothing: long for a server, short for whoever waits for it."""
REDIRECTS_MAX: Final = 5
IDLE_MAX: Final = 16
"""Connections kept to one host."""
BODY_BYTES_MAX: Final = 32 * 1024 * 1024
"""The longest answer that is read as a whole: a listing of 100,000 files is about 20 MB."""
REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})

_Place = tuple[str, str, int]


class Answered(Struct, frozen=True):
    """A whole answer."""

    status: int
    headers: Mapping[str, str]
    """By name in lower case; those of an answer that redirects are kept where the last has none."""
    body: bytes
    url: str
    """Where it came from in the end."""


class Incoming:
    """An answer whose body is read by whoever asked; it gives its connection back when it ends."""

    def __init__(self, web: Web, place: _Place, connection: http.client.HTTPConnection) -> None:
        """Wait for the answer. Raises `OSError` or `http.client.HTTPException`."""
        self._web, self._place, self._connection = web, place, connection
        self._closed = False
        self._lock = threading.Lock()
        self._sock = connection.sock
        self._response = connection.getresponse()
        self.status = self._response.status
        self.headers = {name.lower(): value for name, value in self._response.getheaders()}

    def readinto(self, buffer: memoryview) -> int:
        """Read what is there into a buffer; 0 at the end. Raises `ModelError`."""
        try:
            return self._response.readinto(buffer)
        except (OSError, ValueError, http.client.HTTPException, AttributeError) as error:
            # The last two: another thread has closed it while we read.
            raise ModelError(f"{self._place[1]}: {_said(error)}") from error

    def read(self, limit: int) -> bytes:
        """Read up to `limit` bytes. Raises `ModelError`."""
        try:
            return self._response.read(limit)
        except (OSError, http.client.HTTPException) as error:
            raise ModelError(f"{self._place[1]}: {_said(error)}") from error

    def close(self) -> None:
        """Keep the connection if all was read; end it otherwise, and whoever reads from it."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
        if self._response.isclosed() and not self._response.will_close:
            self._web.keep(self._place, self._connection)
            return
        if self._sock is not None:
            with contextlib.suppress(OSError):  # it has ended already, which is what is wanted
                self._sock.shutdown(socket.SHUT_RDWR)
        self._response.close()
        self._connection.close()


class Web:
    """Asks servers. Its methods block; any number of threads may use it."""

    def __init__(
        self, *, timeout: float = TIMEOUT_SECONDS, context: ssl.SSLContext | None = None
    ) -> None:
        """Wait `timeout` seconds for each step; `context` None: the system's certificates."""
        self._timeout = timeout
        self._context = context
        self._idle: dict[_Place, list[http.client.HTTPConnection]] = {}
        self._lock = threading.Lock()

    def open(
        self, url: str, headers: Mapping[str, str] | None = None, *, method: str = "GET"
    ) -> Incoming:
        """Ask, follow where that leads, and return the last answer with its body unread.

        `headers` named ``authorization`` go to the first host only. Raises `ModelError`.
        """
        sent = {"user-agent": "navarch", "accept-encoding": "identity", **(headers or {})}
        seen: dict[str, str] = {}
        first = _place(url)
        for _ in range(REDIRECTS_MAX + 1):
            place = _place(url)
            if place != first:
                sent = {key: value for key, value in sent.items() if key != "authorization"}
            incoming = self._ask(place, url, sent, method)
            seen.update(incoming.headers)
            target = incoming.headers.get("location", "")
            if incoming.status not in REDIRECTS or not target:
                incoming.headers = {**seen, **incoming.headers}
                return incoming
            incoming.read(BODY_BYTES_MAX)
            incoming.close()
            url = urljoin(url, target)
        raise ModelError(f"{first[1]}: more than {REDIRECTS_MAX} redirects", lasting=True)

    def get(
        self, url: str, headers: Mapping[str, str] | None = None, *, method: str = "GET"
    ) -> Answered:
        """Ask and read a whole answer of any status. Raises `ModelError`."""
        incoming = self.open(url, headers, method=method)
        try:
            body = incoming.read(BODY_BYTES_MAX + 1)
        finally:
            incoming.close()
        if len(body) > BODY_BYTES_MAX:
            raise ModelError(f"{shown(url)}: more than {BODY_BYTES_MAX} bytes", lasting=True)
        return Answered(incoming.status, incoming.headers, body, url)

    def keep(self, place: _Place, connection: http.client.HTTPConnection) -> None:
        """Take a connection back that can be used again."""
        with self._lock:
            idle = self._idle.setdefault(place, [])
            if len(idle) < IDLE_MAX:
                idle.append(connection)
                return
        connection.close()

    def close(self) -> None:
        """Close the connections that are kept."""
        with self._lock:
            kept = [each for idle in self._idle.values() for each in idle]
            self._idle.clear()
        for connection in kept:
            connection.close()

    def _ask(self, place: _Place, url: str, headers: Mapping[str, str], method: str) -> Incoming:
        target = _target(urlsplit(url))
        while True:
            with self._lock:
                idle = self._idle.get(place)
                kept = idle.pop() if idle else None
            connection = kept or self._connect(place)
            try:
                connection.request(method, target, headers=dict(headers))
                return Incoming(self, place, connection)
            except (OSError, ValueError, http.client.HTTPException) as error:
                connection.close()
                if kept is None:
                    raise ModelError(f"{shown(url)}: {_said(error)}") from error
                # The server has closed a connection that was kept: that says nothing about it.

    def _connect(self, place: _Place) -> http.client.HTTPConnection:
        scheme, host, port = place
        if scheme == "https":
            return http.client.HTTPSConnection(
                host, port, timeout=self._timeout, context=self._context
            )
        return http.client.HTTPConnection(host, port, timeout=self._timeout)


def shown(url: str) -> str:
    """Return an address for people: without what may be secret in it."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def demand(incoming: Incoming, wanted: int, url: str) -> None:
    """Close an answer of any other status than `wanted`, and raise the `ModelError` it means."""
    if incoming.status == wanted:
        return
    status = incoming.status
    incoming.close()
    raise refused(status, url)


def refused(status: int, url: str) -> ModelError:
    """Make the error that a status means: those of the asking side do not pass by themselves."""
    meaning = {401: "it wants credentials", 403: "it refuses our credentials", 404: "is not there"}
    lasting = 400 <= status < 500 and status not in (408, 425, 429)
    said = meaning.get(status, http.client.responses.get(status, "an unknown status"))
    return ModelError(f"{shown(url)}: {said} (status {status})", lasting=lasting)


def _place(url: str) -> _Place:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise ModelError(f"{url[:200]!r} is no address: {error}", lasting=True) from error
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ModelError(f"{url[:200]!r} is no address: expected http(s)://…", lasting=True)
    return parts.scheme, parts.hostname, port or (443 if parts.scheme == "https" else 80)


def _target(parts: SplitResult) -> str:
    path = parts.path or "/"
    return f"{path}?{parts.query}" if parts.query else path


def _said(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "no answer in time"
    return str(error) or type(error).__name__
