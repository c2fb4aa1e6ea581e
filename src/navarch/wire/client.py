"""A small Connect client: JSON over HTTP/1.1, from the standard library alone.

The command line has to start in a tenth of a second and the agent has to stay small, so this
client knows no protobuf. Requests and answers are dictionaries in the form of the JSON mapping:
camelCase names, 64-bit integers as text, zero fields left out.

What can go wrong is one exception, `WireError`: the code and words of the control plane where it
answered, and where it did not:

=====================  ==============================================================
``unavailable``        nothing listens there, or the connection broke
``deadline_exceeded``  no answer within the time-out; the request may have been done
``invalid_argument``   the address is no URL, the token no text for a header
``unknown``            an answer came, but not from a control plane
=====================  ==============================================================

Where a control plane is too busy, the error says in `WireError.retry_after` when to ask again. A
request is sent once. Whether to send it again is for the caller to say, who knows if doing it
twice does harm; `WireError.maybe_done` says whether the first one may have been done.
`navarch.wire.servers` speaks to several control planes over one journal.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import select
import socket
import ssl
from collections.abc import Generator, Iterator, Mapping
from datetime import timedelta
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import SplitResult, urlsplit

from navarch.errors import WireError
from navarch.wire.trust import Trust

SERVICE: Final = "navarch.ControlPlaneService"

# Values are whatever JSON has; what is inside is for the caller to know.
Json = dict[str, Any]

_ANSWER_BYTES_MAX: Final = 256 * 1024 * 1024
"""Of one answer, and of one message of a stream: 100,000 nodes are about 200 MB of JSON."""

_CODES: Final = {
    401: "unauthenticated",
    403: "permission_denied",
    404: "unimplemented",
    429: "unavailable",
    502: "unavailable",
    503: "unavailable",
    504: "unavailable",
}
"""What an HTTP status means where the body is no Connect error (Connect protocol reference,
"HTTP to Error Code")."""

_SURELY_NOT_DONE: Final = frozenset({401, 403, 404, 429, 503})
"""Statuses by which whoever stands in between says that it has passed nothing on."""

_IN_DOUBT: Final = frozenset({"deadline_exceeded", "canceled", "aborted", "unknown", "internal"})
"""Codes after which a control plane itself does not say whether the request was done."""

ROLE_HEADER: Final = "navarch-role"
"""Set to ``standby`` in every answer of a control plane that does not lead."""
LEADER_HEADER: Final = "navarch-leader"
"""Where a standby says that the leader is."""
WAIT_MAX: Final = timedelta(hours=1)
"""No control plane may ask for more patience than this: a mistyped number must not silence us."""

_COMPRESSED: Final = 0b01
_END_OF_STREAM: Final = 0b10


class ConnectClient:
    """One connection to a control plane, opened by the first call and kept.

    It is for one thread at a time, and can be used with ``with``.
    """

    def __init__(
        self,
        url: str,
        token: str | None = None,
        *,
        timeout: float | None = 30.0,
        connect_timeout: float | None = None,
        tls: Trust | ssl.SSLContext | None = None,
    ) -> None:
        """Talk to the control plane at `url`, such as ``http://localhost:50051``.

        `timeout` is in seconds, for connecting and for each answer; None waits forever.
        `connect_timeout` is for connecting alone; None: as `timeout`. `tls` replaces the system's
        trusted certificates; a `Trust` is asked again for each connection. Nothing is connected
        yet. Raises `WireError` with ``invalid_argument``.
        """
        self.url = url
        self.standby = False
        """Whether the newest answer came from a standby, which knows no heartbeats."""
        self._timeout = timeout
        self._connect_timeout = timeout if connect_timeout is None else connect_timeout
        parts = _parse(url)
        self._root = parts.path.rstrip("/")
        self._headers = {"Connect-Protocol-Version": "1", "User-Agent": "navarch"}
        if token is not None:
            if not token or not token.isascii() or not token.isprintable():
                raise WireError("invalid_argument", "the token is empty or not plain ASCII")
            self._headers["Authorization"] = f"Bearer {token}"
        self._parts = parts
        self._trust = tls if isinstance(tls, Trust) else None
        self._context = tls.context() if isinstance(tls, Trust) else tls
        self._connection = _connection(parts, self._connect_timeout, self._context)

    def __enter__(self) -> Self:
        """Return the client itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the connection."""
        self.close()

    def close(self) -> None:
        """Close the connection. A later call opens another."""
        self._connection.close()

    def hang_up(self) -> None:
        """Break off what another thread waits for, which then fails with ``unavailable``.

        The only method that may be called beside another one. Without a connection it does nothing.
        """
        sock = self._connection.sock
        if sock is not None:
            with contextlib.suppress(OSError):  # it has just ended by itself
                # Not `sock.shutdown`: over TLS it takes the reader's state away as well.
                socket.socket.shutdown(sock, socket.SHUT_RDWR)

    def call(self, method: str, request: Mapping[str, Any] | None = None) -> Json:
        """Call a method and return its answer.

        Raises `WireError`. After ``deadline_exceeded`` and ``unavailable`` it is not known
        whether the request was done, unless nothing listened.
        """
        headers = {"Content-Type": "application/json"}
        if self._timeout is not None:
            headers["Connect-Timeout-Ms"] = str(max(1, int(self._timeout * 1000)))
        response = self._post(method, json.dumps(request or {}).encode(), headers)
        body = self._whole(response)
        if response.status != http.HTTPStatus.OK:
            raise self._refusal(response, body)
        return self._object(body)

    def page(self, path: str) -> tuple[int, Json]:
        """Fetch a page such as ``/leaderz``, and return its status and what it says.

        Raises `WireError` when nobody answers, or the answer is no JSON object.
        """
        response = self._send("GET", f"{self._root}{path}", None, {})
        return response.status, self._object(self._whole(response))

    def stream(
        self,
        method: str,
        request: Mapping[str, Any] | None = None,
        *,
        silence_max: float | None = None,
    ) -> Generator[Json, None, None]:
        """Call a streaming method and yield each message as it comes.

        `silence_max` is how many seconds may pass between two messages; None waits forever. A
        caller that stops reading closes the generator, and with it the connection. Raises
        `WireError`, while iterating.
        """
        body = json.dumps(request or {}).encode()
        envelope = b"\0" + len(body).to_bytes(4, "big") + body
        headers = {"Content-Type": "application/connect+json"}
        try:
            response = self._post(method, envelope, headers)
            if response.status != http.HTTPStatus.OK:
                raise self._refusal(response, self._whole(response))
            if self._connection.sock is not None:
                self._connection.sock.settimeout(silence_max)
            yield from self._messages(response)
        except (OSError, http.client.HTTPException) as error:
            raise self._broken(error) from error
        finally:
            self.close()

    def _whole(self, response: http.client.HTTPResponse) -> bytes:
        """The body of an answer. Raises `WireError` when it breaks off or never ends."""
        try:
            body = response.read(_ANSWER_BYTES_MAX + 1)
        except (OSError, http.client.HTTPException) as error:
            raise self._broken(error) from error
        if len(body) > _ANSWER_BYTES_MAX:
            self.close()
            raise self._strange("its answer is larger than 256 MiB")
        if response.length:  # how much was announced and has not come
            raise self._broken(http.client.IncompleteRead(body, response.length))
        return body

    def _messages(self, response: http.client.HTTPResponse) -> Iterator[Json]:
        while True:
            head = self._exactly(response, 5)
            size = int.from_bytes(head[1:], "big")
            if head[0] & _COMPRESSED or size > _ANSWER_BYTES_MAX:
                raise self._strange("its stream is not one of a control plane")
            message = self._object(self._exactly(response, size))
            if head[0] & _END_OF_STREAM:
                if message.get("error"):
                    wait = _wait(_trailer(message.get("metadata"), "retry-after"))
                    raise self._told(message["error"], "unknown", wait)
                return
            yield message

    def _exactly(self, response: http.client.HTTPResponse, size: int) -> bytes:
        """The next bytes of a stream. Raises `WireError` when it ends before."""
        read = response.read(size)
        if len(read) < size:
            raise WireError("unavailable", f"{self.url} ended the stream before its end")
        return read

    def _post(
        self, method: str, body: bytes, headers: Mapping[str, str]
    ) -> http.client.HTTPResponse:
        """Call a method and wait for the head of the answer."""
        return self._send("POST", f"{self._root}/{SERVICE}/{method}", body, headers)

    def _send(
        self, verb: str, path: str, body: bytes | None, headers: Mapping[str, str]
    ) -> http.client.HTTPResponse:
        """Send a request and wait for the head of the answer."""
        if self._connection.sock is not None and _hung_up(self._connection.sock):
            self._connection.close()
        if self._connection.sock is None:
            self._connect()
        connection = self._connection
        try:
            connection.request(verb, path, body, {**self._headers, **headers})
        except (BrokenPipeError, ConnectionResetError):
            pass  # Refused while we still sent: the reason may have arrived already.
        except (OSError, http.client.HTTPException) as error:
            raise self._broken(error) from error
        try:
            response = connection.getresponse()
        except (OSError, http.client.HTTPException) as error:
            raise self._broken(error) from error
        self.standby = response.headers.get(ROLE_HEADER) == "standby"
        return response

    def _connect(self) -> None:
        if self._trust is not None and self._trust.context() is not self._context:
            self._context = self._trust.context()
            self._connection = _connection(self._parts, self._connect_timeout, self._context)
        try:
            self._connection.connect()
            self._connection.sock.settimeout(self._timeout)
        except (OSError, UnicodeError) as error:
            self.close()
            raise WireError(
                "unavailable",
                f"cannot reach {self.url}: {_problem(error)}; is the server running?",
            ) from error

    def _broken(self, error: Exception) -> WireError:
        """What it means that a connection failed; it is closed."""
        self.close()
        if isinstance(error, TimeoutError):
            text = f"{self.url} did not answer in time"
            return WireError("deadline_exceeded", text, maybe_done=True)
        text = f"the connection to {self.url} broke: {_problem(error)}"
        return WireError("unavailable", text, maybe_done=True)

    def _refusal(self, response: http.client.HTTPResponse, body: bytes) -> WireError:
        """The error of an answer that is not 200."""
        status = response.status
        code = _CODES.get(status, "unknown")
        wait = _wait(response.headers.get("retry-after"))
        try:
            told = json.loads(body)
        except (ValueError, RecursionError):
            told = None
        leader = response.headers.get(LEADER_HEADER) or ""
        if isinstance(told, dict) and ("code" in told or "message" in told):
            refusal = self._told(told, code, wait)
            return WireError(
                refusal.code,
                refusal.message,
                maybe_done=refusal.code in _IN_DOUBT,
                leader=leader,
                retry_after=wait,
            )
        text = f"{self.url} answered with HTTP status {status}"
        maybe_done = status not in _SURELY_NOT_DONE
        return WireError(code, text, maybe_done=maybe_done, leader=leader, retry_after=wait)

    def _told(self, told: object, code: str, wait: timedelta | None) -> WireError:
        """The error in the form of the Connect protocol; `code` where it names none."""
        if not isinstance(told, dict):
            return self._strange("its error is not one of a control plane")
        text = str(told.get("message") or "no reason given")
        return WireError(str(told.get("code") or code), text, retry_after=wait)

    def _object(self, body: bytes) -> Json:
        try:
            value = json.loads(body)
        except (ValueError, RecursionError) as error:
            self.close()
            raise self._strange("its answer is not JSON") from error
        if not isinstance(value, dict):
            self.close()
            raise self._strange("its answer is not a JSON object")
        return value

    def _strange(self, what: str) -> WireError:
        return WireError(
            "unknown", f"{self.url} does not speak like a control plane of Navarch: {what}"
        )


def _parse(url: str) -> SplitResult:
    """The parts of a server's address. Raises `WireError` when it is none."""
    try:
        parts = urlsplit(url)
        usable = (
            parts.scheme in ("http", "https")
            and bool(parts.hostname)
            and parts.port != 0  # reading it raises ValueError when it is no port
            and not (parts.query or parts.fragment or parts.username or parts.password)
            and url.isascii()
            and url.isprintable()
            and " " not in url
        )
    except ValueError:
        usable = False
    if not usable:
        raise WireError(
            "invalid_argument",
            f"{url!r} is no address of a server; expected one such as http://localhost:50051",
        )
    return urlsplit(url)


def _connection(
    parts: SplitResult, timeout: float | None, tls: ssl.SSLContext | None
) -> http.client.HTTPConnection:
    host = parts.hostname or ""
    if parts.scheme == "https":
        return _WholeOverTls(host, parts.port, timeout=timeout, context=tls)
    return _Whole(host, parts.port, timeout=timeout)


class _Whole(http.client.HTTPConnection):
    """Sends the head and the body of a request together.

    The library sends each by itself. The server then reads twice, and a heartbeat costs it half as
    much again.
    """

    _held: bytearray | None = None

    def request(  # type: ignore[override]  # no chunks, which nobody here sends
        self, method: str, url: str, body: bytes | None, headers: Mapping[str, str]
    ) -> None:
        """Send a request."""
        self._held = held = bytearray()
        try:
            super().request(method, url, body, headers)
        finally:
            self._held = None
        self.send(held)

    def send(self, data: Any) -> None:  # noqa: ANN401 - whatever the library sends
        """Send bytes, or keep them until the request is whole."""
        if self._held is None:
            super().send(data)
        else:
            self._held += data


class _WholeOverTls(_Whole, http.client.HTTPSConnection):
    """The same, over TLS."""


def _hung_up(sock: socket.socket) -> bool:
    """Whether an idle connection has been closed by its peer: it then has an end to be read."""
    poll = select.poll()
    poll.register(sock, select.POLLIN)
    return bool(poll.poll(0))


def _wait(text: str | None) -> timedelta | None:
    """How long to wait by the header ``retry-after``; None where it says no number of seconds.

    Its other form, a date, is none of a control plane's.
    """
    if text is None or not (text.isascii() and text.strip().isdigit()) or len(text) > 9:
        return None
    return min(timedelta(seconds=int(text)), WAIT_MAX)


def _trailer(metadata: object, name: str) -> str | None:
    """The first value of a name, in what ends a stream."""
    if not isinstance(metadata, dict):
        return None
    for key, values in metadata.items():
        if str(key).lower() == name and isinstance(values, list) and values:
            return str(values[0])
    return None


def _problem(error: Exception) -> str:
    """What went wrong, in words such as "connection refused"."""
    if isinstance(error, TimeoutError):
        return "timed out"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {error.verify_message}"
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return text[:1].lower() + text[1:]
