"""The application that uvicorn serves: health answers, and the calls behind them.

A request is looked at from the outside in, and each step refuses before the next costs anything:
the path, the HTTP method, the content type, the caller (`calls.Gate`), the size of the body while
it arrives, the message itself (`codec`). All refusals are JSON in the form of a Connect error,
and all are counted.

`/healthz` says that the process lives, `/readyz` that it can serve, `/leaderz` that it leads. All
are open to everyone, take constant time, and ask nothing of the fleet. Other pages are for viewers:
`navarch.wire.pages`.
"""

from __future__ import annotations

import asyncio
import functools
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

import msgspec
from connectrpc.code import Code
from connectrpc.compat import google_protobuf_binary_codec
from connectrpc.errors import ConnectError
from google.protobuf import json_format
from google.protobuf.descriptor import Descriptor
from google.protobuf.message import Message
from msgspec import Struct

from navarch.errors import WireError
from navarch.wire import calls
from navarch.wire.auth import Authenticator
from navarch.wire.generated import navarch_pb2
from navarch.wire.generated.navarch_connect import (
    ControlPlaneService,
    ControlPlaneServiceASGIApplication,
)
from navarch.wire.limits import DEFAULT, LimitExceeded, Limits
from navarch.wire.pages import Pages, status_of
from navarch.wire.standing import Alone, Stands

# ASGI passes plain dictionaries whose values depend on their "type" (ASGI 3.0, "Events").
Event = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Event]]
Send = Callable[[Event], Awaitable[None]]

if TYPE_CHECKING:
    # The fast implementation's descriptors behave like the plain ones and are no subclass.
    from google._upb._message import Descriptor as FastDescriptor

    _Descriptor = Descriptor | FastDescriptor

SERVICE: Final = navarch_pb2.DESCRIPTOR.services_by_name["ControlPlaneService"]
_PREFIX: Final = f"/{SERVICE.full_name}/"
_GRPC_WEB: Final = frozenset(f"application/grpc-web{form}" for form in ("", "+proto", "+json"))
_UNARY_TYPES: Final = frozenset({"application/json", "application/proto"}) | _GRPC_WEB
_STREAM_TYPES: Final = (
    frozenset({"application/connect+json", "application/connect+proto"}) | _GRPC_WEB
)
_DRAIN_FACTOR: Final = 4
"""How many times the limit is read and dropped before a sender that goes on is cut off.

A peer that is cut off while it sends sees a broken connection instead of our answer, so a body
that is too large by mistake is read to its end; one that never ends is not.
"""


class Readiness(Struct, frozen=True):
    """Whether requests can be served."""

    ready: bool
    reason: str = ""
    """Why not; empty when ready."""
    role: str = "leader"
    """``leader``, or ``standby`` for one that serves reads only."""


class Application:
    """The control plane's whole HTTP surface, as an ASGI 3 application."""

    def __init__(
        self,
        service: ControlPlaneService,
        *,
        authenticator: Authenticator,
        ready: Callable[[], Readiness],
        limits: Limits = DEFAULT,
        pages: Pages | None = None,
        stands: Stands | None = None,
    ) -> None:
        """Serve `service`; `ready` is asked on every ``/readyz`` and must not block.

        `pages` are served beside the calls; None: there are none. `stands` says whether this
        control plane leads, and is asked on every call; None: it does.
        """
        self._stands: Stands = stands or Alone()
        self._pages = pages or Pages()
        self._authenticator = authenticator
        self._ready = ready
        self._limits = limits
        self._refused: Counter[str] = Counter()
        self._calls = ControlPlaneServiceASGIApplication(
            service,
            interceptors=(
                calls.Accounting(self._refused),
                calls.Gate(authenticator),
                calls.Leading(self._stands),
                calls.NodeBinding(),
            ),
            read_max_bytes=limits.body_bytes,
            codecs=(google_protobuf_binary_codec(), JsonCodec()),
        )

    @property
    def refused(self) -> Mapping[str, int]:
        """How many requests were refused since the start, by reason.

        A reason is a Connect code such as ``not_found``, or the name of a field of `Limits`, or
        ``unknown_path``, ``http_method``, ``content_type`` or ``http_headers``.
        """
        return dict(self._refused)

    async def __call__(self, scope: Event, receive: Receive, send: Send) -> None:
        """Answer one request, or follow the server's start and stop."""
        if scope["type"] == "http":
            await self._answer(scope, receive, send)
        else:
            await self._calls(scope, receive, send)

    async def _answer(self, scope: Event, receive: Receive, send: Send) -> None:
        path: str = scope["path"]
        if path.startswith(_PREFIX):
            await self._answer_call(path.removeprefix(_PREFIX), scope, receive, send)
        elif path in ("/healthz", "/readyz", "/leaderz"):
            await self._answer_health(path, scope, send)
        elif self._pages.has(path):
            await self._answer_page(path, scope, send)
        else:
            await self._refuse(
                send, HTTPStatus.NOT_FOUND, "unknown_path", f"no such path: {path[:200]}"
            )

    async def _answer_page(self, path: str, scope: Event, send: Send) -> None:
        if scope["method"] not in ("GET", "HEAD"):
            await self._refuse_method(send, scope, "GET, HEAD")
            return
        headers = dict(scope["headers"])
        token = headers.get(b"authorization")
        try:
            said = None if token is None else token.decode("latin-1")
            page = self._pages.page(path, scope["query_string"], said, self._authenticator)
        except WireError as error:
            self._refused[error.code] += 1
            body = msgspec.json.encode({"code": error.code, "message": error.message})
            await _send_json(send, status_of(error), body)
            return
        length = str(len(page.body)).encode()
        told = [(b"content-type", page.content_type), (b"content-length", length)]
        await send({"type": "http.response.start", "status": int(page.status), "headers": told})
        await send({"type": "http.response.body", "body": page.body})

    async def _answer_health(self, path: str, scope: Event, send: Send) -> None:
        if scope["method"] not in ("GET", "HEAD"):
            await self._refuse_method(send, scope, "GET, HEAD")
        elif path == "/healthz":
            await _send_json(send, HTTPStatus.OK, b'{"status":"ok"}')
        elif path == "/leaderz":
            standing = self._stands.standing()
            await _send_json(send, standing.status, msgspec.json.encode(standing))
        else:
            readiness = self._ready()
            status = HTTPStatus.OK if readiness.ready else HTTPStatus.SERVICE_UNAVAILABLE
            await _send_json(send, status, msgspec.json.encode(readiness))

    async def _answer_call(self, method: str, scope: Event, receive: Receive, send: Send) -> None:
        described = SERVICE.methods_by_name.get(method)
        if described is None:
            await self._refuse(
                send, HTTPStatus.NOT_FOUND, "unknown_path", f"no such method: {method[:200]}"
            )
            return
        if scope["method"] != "POST":
            await self._refuse_method(send, scope, "POST")
            return
        if not all(_is_text(name) and _is_text(value) for name, value in scope["headers"]):
            problem = "a header is not UTF-8 text"
            await self._refuse(send, HTTPStatus.BAD_REQUEST, "http_headers", problem)
            return
        wanted = _STREAM_TYPES if described.server_streaming else _UNARY_TYPES
        if (given := _content_type(scope)) not in wanted:
            await self._refuse_type(send, given, wanted)
            return
        body = _Body(scope, receive, self._limits)
        if not self._stands.leads:
            send = _with_headers(send, self._stands.standing().headers)
        await self._calls(scope, body.receive, body.closing(send))

    async def _refuse_method(self, send: Send, scope: Event, allowed: str) -> None:
        await self._refuse(
            send,
            HTTPStatus.METHOD_NOT_ALLOWED,
            "http_method",
            f"{scope['method']} is not possible here, {allowed} is",
            (b"allow", allowed.encode()),
        )

    async def _refuse_type(self, send: Send, given: str, wanted: frozenset[str]) -> None:
        listed = ", ".join(sorted(wanted))
        why = f"content-type {given[:100]!r} is not served here; {listed} are"
        if given.startswith("application/grpc") and given not in _GRPC_WEB:
            why = f"gRPC needs HTTP/2, which is not served here; {listed} are"
        await self._refuse(
            send,
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            "content_type",
            why,
            (b"accept-post", listed.encode()),
        )

    async def _refuse(
        self,
        send: Send,
        status: HTTPStatus,
        reason: str,
        message: str,
        *headers: tuple[bytes, bytes],
    ) -> None:
        self._refused[reason] += 1
        # Never not_found: to an agent that would mean "register again".
        code = "invalid_argument" if status is HTTPStatus.BAD_REQUEST else "unimplemented"
        body = msgspec.json.encode({"code": code, "message": message})
        await _send_json(send, status, body, *headers)


class JsonCodec:
    """JSON as the protobuf JSON mapping writes it; unknown fields are ignored.

    There are no spaces, fields stand in the order of the definition, and the entries of a map in
    the order of their keys, so that equal messages give equal bytes.
    """

    def name(self) -> str:
        """The codec's name in content types."""
        return "json"

    def encode(self, message: Message) -> bytes:
        """Write a message. A message that can not be written is our bug, and told so."""
        try:
            value = json_format.MessageToDict(message)
            _sort_maps(value, message.DESCRIPTOR)
            return msgspec.json.encode(value)
        except (ValueError, json_format.Error) as error:
            raise ConnectError(Code.INTERNAL, "the answer could not be written") from error

    def decode(self, data: bytes | bytearray, message_class: type[Message]) -> Message:
        """Read a message.

        Raises `ConnectError` with ``invalid_argument``, naming the field or the position.
        """
        try:
            value = msgspec.json.decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise ConnectError(Code.INVALID_ARGUMENT, f"not JSON: {error}") from error
        if not isinstance(value, dict):
            raise ConnectError(Code.INVALID_ARGUMENT, "JSON: an object was expected")
        try:
            return json_format.ParseDict(value, message_class(), ignore_unknown_fields=True)
        # Besides its own error the library raises what a value of a wrong type makes Python raise.
        except (json_format.Error, ValueError, TypeError, AttributeError, OverflowError) as error:
            raise ConnectError(Code.INVALID_ARGUMENT, f"JSON: {error}") from error


def _sort_maps(value: dict[str, Any], descriptor: _Descriptor) -> None:
    """Sort the entries of every map in a message's JSON form; protobuf keeps no order."""
    for name, inner in _ways_to_maps(descriptor):
        found = value.get(name)
        if found is None:
            continue
        if inner is None:
            value[name] = dict(sorted(found.items()))
        else:
            for each in found if isinstance(found, list) else [found]:
                _sort_maps(each, inner)


@functools.cache
def _ways_to_maps(descriptor: _Descriptor) -> tuple[tuple[str, _Descriptor | None], ...]:
    """The fields that are maps, with None, and those that hold some, with what they hold."""
    ways: list[tuple[str, _Descriptor | None]] = []
    for field in descriptor.fields:
        inner = field.message_type
        if inner is None:
            continue
        if inner.GetOptions().map_entry:
            ways.append((field.json_name, None))
        elif _ways_to_maps(inner):
            ways.append((field.json_name, inner))
    return tuple(ways)


class _Body:
    """The body of one request, measured while it arrives."""

    def __init__(self, scope: Event, receive: Receive, limits: Limits) -> None:
        self._receive = receive
        self._limits = limits
        self._declared = _content_length(scope)
        self._bytes = 0
        self._complete = False
        self._refused = False
        self._deadline = asyncio.get_running_loop().time() + limits.body_timeout.total_seconds()

    async def receive(self) -> Event:
        """Pass the next part on.

        Raises `LimitExceeded` when the body is or will be too large, and `WireError` with
        ``deadline_exceeded`` when it takes too long.
        """
        if self._complete:  # What comes now is the news that the caller hung up: no hurry.
            return await self._receive()
        if self._declared > self._limits.body_bytes:
            await self._drain()
        event = await self._next()
        if self._bytes > self._limits.body_bytes:
            await self._drain()
        return event

    def closing(self, send: Send) -> Send:
        """Answer so that the connection ends where a refused body has not."""

        async def send_and_close(event: Event) -> None:
            if event["type"] == "http.response.start" and self._refused and not self._complete:
                event["headers"] = [*event["headers"], (b"connection", b"close")]
            await send(event)

        return send_and_close

    async def _next(self) -> Event:
        try:
            async with asyncio.timeout_at(self._deadline):
                event = await self._receive()
        except TimeoutError as error:
            self._refused = True
            seconds = self._limits.body_timeout.total_seconds()
            raise LimitExceeded(
                "body_timeout",
                f"the body did not arrive within {seconds:g} seconds",
                code="deadline_exceeded",
            ) from error
        if event["type"] == "http.request":
            self._bytes += len(event.get("body", b""))
            self._complete = not event.get("more_body", False)
        else:
            self._complete = True
        return event

    async def _drain(self) -> None:
        """Drop what is still to come, within reason, and refuse the request."""
        self._refused = True
        bytes_max = self._limits.body_bytes * _DRAIN_FACTOR
        while not self._complete and max(self._bytes, self._declared) <= bytes_max:
            await self._next()
        raise LimitExceeded(
            "body_bytes",
            f"the body is larger than {self._limits.body_bytes} bytes",
            code="resource_exhausted",
        )


def _with_headers(send: Send, headers: list[tuple[bytes, bytes]]) -> Send:
    """Add headers to the answer, whatever its protocol."""

    async def send_with_headers(event: Event) -> None:
        if event["type"] == "http.response.start":
            event["headers"] = [*event["headers"], *headers]
        await send(event)

    return send_with_headers


async def _send_json(
    send: Send, status: HTTPStatus, body: bytes, *headers: tuple[bytes, bytes]
) -> None:
    length = str(len(body)).encode()
    common = [(b"content-type", b"application/json"), (b"content-length", length)]
    await send(
        {"type": "http.response.start", "status": int(status), "headers": [*common, *headers]}
    )
    await send({"type": "http.response.body", "body": body})


def _header(scope: Event, wanted: bytes) -> str:
    """The value of a header, by its lower-case name; empty when absent."""
    return next((value.decode() for name, value in scope["headers"] if name == wanted), "")


def _content_type(scope: Event) -> str:
    return _header(scope, b"content-type").partition(";")[0].strip().lower()


def _content_length(scope: Event) -> int:
    """The length that was announced; 0 when none was."""
    text = _header(scope, b"content-length")
    return int(text) if text.isdecimal() else 0


def _is_text(raw: bytes) -> bool:
    try:
        raw.decode()
    except UnicodeDecodeError:
        return False
    return True
