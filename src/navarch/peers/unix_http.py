"""HTTP over a Unix socket, or over TCP with certificates of both sides: how engines are asked.

`navarch.peers.endpoint` stands on pyqwest, which (0.12, read 2026-11-22) connects to TCP addresses
only and shows no certificate of its own. The part of HTTP that is easy to get wrong, which is what
bytes mean, is done by h11; what is left is a connection, a deadline and limits. The SDK for the
engine of Docker (``docker`` 7.2) blocks its thread, brings requests and urllib3, and has no
deadline for a whole answer.

Rules that hold:

- Each request has a connection of its own: one that broke is never met again, and engines are near.
- Every failure is an `Unanswered`. `Unsent` is one before anything was asked: surely nothing was
  done.
- Not more than the limit is read, of an answer and of all that comes before it.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping
from datetime import timedelta
from typing import Final
from urllib.parse import urlsplit

import h11
from msgspec import Struct, field

from navarch.errors import ConfigError
from navarch.peers.unanswered import Unanswered

BYTES_MAX: Final = 32 * 1024 * 1024
"""The longest answer that is read: a container is listed in about 2 KB."""

HEAD_BYTES_MAX: Final = 64 * 1024
"""What may come besides the content: the header, and the frames of a chunked answer, which are
counted at one byte in eight."""

READ_BYTES: Final = 64 * 1024


class Unsent(Unanswered):
    """Nothing was asked, because there was nobody to ask."""


class Reply(Struct, frozen=True):
    """What came back of a request, whatever its status says."""

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)
    """By name in lower case; of several of one name the last."""


class TlsFiles(Struct, frozen=True, kw_only=True):
    """Whom to trust and what to show, as files of PEM; read anew for each connection."""

    ca: str = ""
    """Certificates that vouch for the peer's own; empty: those of the system."""
    cert: str = ""
    """Our own certificate; empty: none is shown."""
    key: str = ""
    """Its key."""

    def context(self) -> ssl.SSLContext:
        """Read the files.

        :raises Unsent: one cannot be used
        """
        try:
            context = ssl.create_default_context(cafile=self.ca or None)
            if self.cert:
                context.load_cert_chain(self.cert, self.key or None)
        except (OSError, ValueError) as cause:
            why = getattr(cause, "strerror", None) or str(cause)
            raise Unsent(f"the certificates cannot be used: {why}") from cause
        return context


class SocketClient:
    """Asks one peer. Made outside of any event loop; holds nothing open between requests."""

    def __init__(
        self, address: str, *, tls: TlsFiles | None = None, bytes_max: int = BYTES_MAX
    ) -> None:
        """Speak to ``unix:///path`` or ``tcp://host:port``, the latter with `tls` if given.

        :raises ConfigError: `address` is none
        """
        try:
            parts = urlsplit(address)
            self._host, self._port = parts.hostname or "", parts.port or 0
        except ValueError as cause:
            raise ConfigError(f"{address!r} is no address: {cause}") from cause
        self._path = parts.path if parts.scheme == "unix" else ""
        is_path = parts.scheme == "unix" and not parts.netloc and len(self._path) > 1
        is_host = parts.scheme == "tcp" and self._host and self._port and not parts.path
        if not (is_path or is_host) or "\0" in address:
            expected = "expected unix:///path or tcp://host:port"
            raise ConfigError(f"{address!r} is no address: {expected}")
        self.address = address
        self._tls = tls
        self._bytes_max = bytes_max

    async def send(
        self,
        method: str,
        target: str,
        *,
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
        deadline: timedelta,
    ) -> Reply:
        """Make a request and return the whole answer, of any status.

        :raises Unsent: there is no such peer, or `target` cannot stand in a request
        :raises Unanswered: there was no whole answer within `deadline`, or too long a one
        """
        called = f"{self.address}: {method} {target}"
        speech = h11.Connection(h11.CLIENT, max_incomplete_event_size=HEAD_BYTES_MAX)
        said = self._written(speech, method, target, body, headers or {}, called)
        writer: asyncio.StreamWriter | None = None
        try:
            async with asyncio.timeout(deadline.total_seconds()):
                reader, writer = await self._connect()
                # Not waited for: a peer may refuse, and hang up, before it has read everything.
                writer.write(said)
                return await self._answer(speech, reader, called)
        except TimeoutError as cause:
            kind = Unanswered if writer else Unsent
            within = f"within {deadline.total_seconds():g} s"
            raise kind(f"{called}: no answer {within}") from cause
        except (OSError, h11.RemoteProtocolError) as cause:
            kind = Unanswered if writer else Unsent
            why = getattr(cause, "strerror", None) or str(cause) or type(cause).__name__
            raise kind(f"{called}: {why}") from cause
        finally:
            if writer is not None:
                writer.transport.abort()

    def _written(
        self,
        speech: h11.Connection,
        method: str,
        target: str,
        body: bytes,
        headers: Mapping[str, str],
        called: str,
    ) -> bytes:
        lines = {
            "host": self._host or "localhost",
            "connection": "close",
            "content-length": str(len(body)),
            **headers,
        }
        try:
            head = speech.send(h11.Request(method=method, target=target, headers=[*lines.items()]))
        except (h11.LocalProtocolError, UnicodeEncodeError) as cause:
            raise Unsent(f"{called}: {cause}") from cause
        parts = [head, speech.send(h11.Data(data=body)), speech.send(h11.EndOfMessage())]
        return b"".join(part for part in parts if part)

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self._path:
            return await asyncio.open_unix_connection(self._path)
        context = self._tls.context() if self._tls else None
        return await asyncio.open_connection(self._host, self._port, ssl=context)

    async def _answer(
        self, speech: h11.Connection, reader: asyncio.StreamReader, called: str
    ) -> Reply:
        """Read until the answer is whole; what comes before it (1xx) is passed over."""
        status, headers, content = 0, dict[str, str](), bytearray()
        received = 0
        while True:
            event = speech.next_event()
            match event:
                case h11.NEED_DATA:
                    arrived = await reader.read(READ_BYTES)
                    received += len(arrived)
                    if received > HEAD_BYTES_MAX + self._bytes_max + self._bytes_max // 8:
                        raise Unanswered(f"{called}: an answer above {self._bytes_max} bytes")
                    speech.receive_data(arrived)
                case h11.Response():
                    status = event.status_code
                    headers = {
                        name.decode("latin-1"): value.decode("latin-1")
                        for name, value in event.headers
                    }
                case h11.Data():
                    content += event.data
                    if len(content) > self._bytes_max:
                        raise Unanswered(f"{called}: an answer above {self._bytes_max} bytes")
                case h11.EndOfMessage():
                    return Reply(status, bytes(content), headers)
                case h11.InformationalResponse():
                    continue
                case _:
                    raise Unanswered(f"{called}: the peer wants to speak something else than HTTP")
