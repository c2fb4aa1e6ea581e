"""The application that uvicorn serves: health answers, and the calls behind them.

A request is looked at from the outside in, and each step refuses before the next costs anything:
the path, the HTTP method, the content type, the caller (`calls.Gate`), the size of the body while
it arrives, the message itself (`codec`). All refusals are JSON in the form of a Connect error, to
gRPC clients a status of theirs (`grpc_form`), and all are counted.

`/healthz` says that the process lives, `/readyz` that it can serve, `/leaderz` that it leads. All
are open to everyone, take constant time, and ask nothing of the fleet. Other pages are for viewers:
`navarch.wire.pages`.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final, Protocol

import msgspec
from connectrpc.code import Code
from connectrpc.errors import ConnectError
from google.protobuf import json_format
from google.protobuf.descriptor import Descriptor
from google.protobuf.message import Message
from msgspec import Struct

from navarch.errors import WireError
from navarch.wire import browsers, calls, hot_grpc, spans
from navarch.wire.admission import Admission, whole_seconds
from navarch.wire.auth import Authenticator, Principal
from navarch.wire.bodies import Body, Event, Receive, Replay, Send
from navarch.wire.connections import crowded
from navarch.wire.generated import navarch_pb2
from navarch.wire.generated.navarch_connect import (
    ControlPlaneService,
    ControlPlaneServiceASGIApplication,
)
from navarch.wire.grpc_form import GRPC, GRPC_WEB, content_type, in_form
from navarch.wire.hot import PASSED_ON, PATHS, Call, Hearing, HotPath
from navarch.wire.limits import DEFAULT, LimitExceeded, Limits
from navarch.wire.pages import Pages, status_of
from navarch.wire.prepared import BinaryCodec, Gzip, Prepared
from navarch.wire.request_log import HEADER, RequestLog
from navarch.wire.sessions import Sessions, cookie_name
from navarch.wire.standing import Alone, Stands
from navarch.wire.timing import Timing

if TYPE_CHECKING:
    # The fast implementation's descriptors behave like the plain ones and are no subclass.
    from google._upb._message import Descriptor as FastDescriptor

    _Descriptor = Descriptor | FastDescriptor

SERVICE: Final = navarch_pb2.DESCRIPTOR.services_by_name["ControlPlaneService"]
_PREFIX: Final = f"/{SERVICE.full_name}/"
_UNARY_TYPES: Final = frozenset({"application/json", "application/proto"}) | GRPC_WEB
_STREAM_TYPES: Final = (
    frozenset({"application/connect+json", "application/connect+proto"}) | GRPC_WEB
)


class Face(Protocol):
    """What people see in a browser, beside the calls."""

    def owns(self, path: str) -> bool:
        """Whether a path is answered here."""
        ...

    async def __call__(self, scope: Event, receive: Receive, send: Send) -> None:
        """Answer one request. `calls.visitor` says who calls, where a session says so."""
        ...


class Readiness(Struct, frozen=True):
    """Whether requests can be served."""

    ready: bool
    reason: str = ""
    """Why not; empty when ready."""
    role: str = "leader"
    """``leader``, or ``standby`` for one that serves reads only."""


class Application:
    """The control plane's whole HTTP surface, as an ASGI 3 application."""

    def __init__(  # noqa: PLR0913 - all that a server is made of
        self,
        service: ControlPlaneService,
        *,
        authenticator: Authenticator,
        ready: Callable[[], Readiness],
        limits: Limits = DEFAULT,
        pages: Pages | None = None,
        stands: Stands | None = None,
        admission: Admission | None = None,
        hearing: Hearing | None = None,
        sessions: Sessions | None = None,
    ) -> None:
        """Serve `service`; `ready` is asked on every ``/readyz`` and must not block.

        `pages` are served beside the calls; None: there are none. `stands` says whether this
        control plane leads, and is asked on every call; None: it does. `admission` says who is
        let in when not everybody can be; None: by the default rates. What `hearing` takes at once
        is answered without `service`; None: nothing is. `sessions` knows people at browsers; None:
        every caller shows a token, where one is needed.
        """
        self.sessions = sessions
        """The sessions of people at browsers; None: there are none."""
        self.face: Face | None = None
        """What people see in a browser; None: nothing."""
        self._stands: Stands = stands or Alone()
        self.admission = admission or Admission()
        """Who is let in when not everybody can be."""
        self.pages = pages or Pages()
        """The pages; more can be added at any time."""
        self._authenticator = authenticator
        self._ready = ready
        self._limits = limits
        self._log = RequestLog()
        self._refused: Counter[str] = Counter()
        self._answered: Counter[tuple[str, str]] = Counter()
        self._accounting = calls.Accounting(self._refused, self._answered, self._log)
        codecs = (BinaryCodec(), JsonCodec())
        self._calls = ControlPlaneServiceASGIApplication(
            service,
            interceptors=(
                *spans.interceptors(),
                self._accounting,
                calls.Gate(authenticator, self.admission),
                calls.Leading(self._stands),
                calls.NodeBinding(self.admission),
            ),
            read_max_bytes=limits.body_bytes,
            compressions=(Gzip(),),
            codecs=codecs,
        )
        self.hot: HotPath | None = None
        """Answers frequent calls; its `counts` say how many. None: `service` answers all."""
        if hearing is not None:
            self.hot = HotPath(hearing, authenticator, codecs, limits, self.admission.hears)
            self.hot.lag = self.admission.lag

    def timed_by(self, timing: Timing) -> None:
        """Tell `timing` from now on how long calls take, but for streams."""
        self._accounting.timing = timing
        if self.hot is not None:
            self.hot.timing = timing

    @property
    def refused(self) -> Mapping[str, int]:
        """How many requests were refused since the start, by reason.

        A reason is a Connect code such as ``not_found``, or the name of a field of `Limits`, or
        ``unknown_path``, ``http_method``, ``content_type`` or ``http_headers``.
        """
        return dict(self._refused)

    @property
    def answered(self) -> Mapping[tuple[str, str], int]:
        """How many calls were answered since the start, by method and how they ended.

        That is ``ok``, or a Connect code. Those of the hot path are not among them.
        """
        return dict(self._answered)

    def authenticate(self, authorization: str | None) -> Principal:
        """Tell who sends this header. Raises `WireError` with ``unauthenticated``."""
        return self._authenticator.authenticate(authorization)

    async def __call__(self, scope: Event, receive: Receive, send: Send) -> None:
        """Answer one request, or follow the server's start and stop."""
        if scope["type"] == "http":
            await self._answer(scope, receive, in_form(scope, send))
        else:
            await self._calls(scope, receive, send)

    async def refuse_crowd(self, scope: Event, receive: Receive, send: Send) -> None:
        """Answer a request of a connection that is one too many from its address."""
        self._refused["connections_per_address"] += 1
        body, headers = crowded(self.admission.rates.connections_per_address)
        status = int(HTTPStatus.TOO_MANY_REQUESTS)
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def _answer(self, scope: Event, receive: Receive, send: Send) -> None:
        path: str = scope["path"]
        call = self._hot_call(scope)
        if call is not None:
            await self._answer_at_once(call, scope, receive, send)
        elif path in ("/healthz", "/readyz", "/leaderz"):
            await self._answer_health(path, scope, send)
        elif not await self._is_let_in(scope, send):
            return
        elif path.startswith(_PREFIX):
            await self._answer_call(path.removeprefix(_PREFIX), scope, receive, send)
        elif self.face is not None and self.face.owns(path):
            await self.face(scope, receive, send)
        elif self.pages.has(path):
            await self._answer_page(path, scope, send)
        else:
            await self._refuse(
                send, HTTPStatus.NOT_FOUND, "unknown_path", f"no such path: {path[:200]}"
            )

    async def _is_let_in(self, scope: Event, send: Send) -> bool:
        """Look at what a browser adds to a request; answer one that a stranger's page has made."""
        method, headers = scope["method"], scope["headers"]
        try:
            open_ = self._authenticator.open
            scheme = scope.get("scheme", "http")
            browsers.check(method, headers, scheme=scheme, everybody=open_)
            if self.sessions is not None:
                name = cookie_name(scheme, (scope.get("server") or ("", 0))[1])
                visit = self.sessions.visit(method, headers, name)
                calls.visitor.set(None if visit is None else visit.principal)
        except WireError as error:
            self._refused[error.code] += 1
            body = msgspec.json.encode({"code": error.code, "message": error.message})
            await _send_json(send, status_of(error), body)
            return False
        return True

    def _hot_call(self, scope: Event) -> Call | None:
        """Return the request as `HotPath.answer` takes it; None where it can not be one."""
        method = PATHS.get(scope.get("raw_path") or b"")  # a server may leave it out
        if self.hot is None or method is None or scope["method"] != "POST" or PASSED_ON in scope:
            return None
        if self.admission.lag.refusing:  # what has to be refused is not read first
            return None
        if scope["query_string"] or scope["root_path"]:
            return None
        if not hot_grpc.is_grpc(scope["headers"]):
            return self.hot.prepare(method, scope["headers"])
        said = hot_grpc.as_connect(scope["headers"]) if scope["http_version"] == "2" else None
        return None if said is None else self.hot.prepare(method, said)

    async def _answer_at_once(self, call: Call, scope: Event, receive: Receive, send: Send) -> None:
        """Read the whole body and answer; where that can not be, do what is done with any call."""
        body = Body(scope, receive, self._limits)
        replay = Replay(body.receive)
        whole = await replay.whole()
        over_grpc = hot_grpc.is_grpc(scope["headers"])
        if whole is not None and over_grpc:
            whole = hot_grpc.message_of(whole)
        answer = None if whole is None or self.hot is None else self.hot.answer(call, whole)
        if answer is None:  # all that `_answer_call` looks at is right already
            calls.visitor.set(None)  # no browser's calls are hot
            await self._pass_on(scope, replay.receive, body.closing(send))
            return
        if over_grpc:
            await hot_grpc.send_answer(send, answer.body, gzip=call.gzip)
            return
        await send({"type": "http.response.start", "status": 200, "headers": list(answer.headers)})
        await send({"type": "http.response.body", "body": answer.body})

    async def _answer_page(self, path: str, scope: Event, send: Send) -> None:
        if scope["method"] not in ("GET", "HEAD"):
            await self._refuse_method(send, scope, "GET, HEAD")
            return
        headers = dict(scope["headers"])
        token = headers.get(b"authorization")
        try:
            said = None if token is None else token.decode("latin-1")
            known = calls.visitor.get()
            page = self.pages.page(path, scope["query_string"], said, self._authenticator, known)
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
        if scope.get("http_version") == "2":
            wanted |= GRPC
        if (given := content_type(scope)) not in wanted:
            await self._refuse_type(send, given, wanted)
            return
        if given in calls.CONNECT_UNARY:
            try:
                self.admission.check_lag(method)
                self.admission.check_crowd(method)
            except LimitExceeded as error:
                await self._refuse_busy(send, error, method)
                return
        body = Body(scope, receive, self._limits)
        await self._pass_on(scope, body.receive, body.closing(send))

    async def _pass_on(self, scope: Event, receive: Receive, send: Send) -> None:
        """Have the Connect library answer; a standby says what it is in all its answers."""
        if not self._stands.leads:
            send = _with_headers(send, self._stands.standing().headers)
        await self._calls(scope, receive, send)

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
        if given in GRPC:
            why = f"gRPC needs HTTP/2 (server.http2), and this is HTTP/1.1; {listed} are served"
        await self._refuse(
            send,
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            "content_type",
            why,
            (b"accept-post", listed.encode()),
        )

    def _tell_refused(self, code: str, message: str, method: str = "") -> tuple[bytes, bytes]:
        """Log a request that got no further, and return the header with its id."""
        request = self._log.id_of({})
        self._log.refused(request, method=method, code=code, caller="", error=message)
        return HEADER.encode(), request.encode()

    async def _refuse_busy(self, send: Send, error: LimitExceeded, method: str) -> None:
        """Answer in a fifth of the time that the way through the library takes."""
        self._refused[error.limit] += 1
        body = msgspec.json.encode({"code": error.code, "message": error.message})
        assert error.retry_after is not None
        seconds = str(whole_seconds(error.retry_after)).encode()
        told = self._tell_refused(error.code, error.message, method)
        await _send_json(send, HTTPStatus.TOO_MANY_REQUESTS, body, (b"retry-after", seconds), told)

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
        await _send_json(send, status, body, *headers, self._tell_refused(code, message))


class JsonCodec:
    """JSON as the protobuf JSON mapping writes it; unknown fields are ignored.

    There are no spaces, fields stand in the order of the definition, and the entries of a map in
    the order of their keys, so that equal messages give equal bytes.
    """

    def name(self) -> str:
        """The codec's name in content types."""
        return "json"

    def encode(self, message: Message | Prepared) -> bytes:
        """Write a message. A message that can not be written is our bug, and told so."""
        if isinstance(message, Prepared):
            return message.json()
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


def _is_text(raw: bytes) -> bool:
    try:
        raw.decode()
    except UnicodeDecodeError:
        return False
    return True
