"""A control plane with a fleet, behind its real ASGI application, and requests to break it.

Requests are made from the descriptors of the messages: valid ones of every method with ids that
exist, and then bytes, texts and headers that are wrong in every way that outsiders can think of.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import struct
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

import msgspec
from google.protobuf import json_format, message_factory
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import DecodeError, Message
from hypothesis import strategies as st
from msgspec import Struct

from navarch.controlplane.clock import FakeClock
from navarch.controlplane.control_plane import ControlPlane
from navarch.controlplane.server_config import ServerConfig
from navarch.core import fold
from navarch.core.model import fleet as fleets
from navarch.core.model import messages as msg
from navarch.core.model.command import CommandType
from navarch.core.model.fleet import Fleet
from navarch.providers.fake import FakeProvider
from navarch.wire import listener
from navarch.wire.admission import RateLimits
from navarch.wire.asgi import SERVICE, Application
from navarch.wire.auth import Authenticator, Role, StaticToken, mint_node_token
from pools import MONDAY, SETTINGS, a_spec, register_all

SECRET: Final = b"sixteen bytes and a few more"
TOKEN: Final = "admin-token"
METHODS: Final = sorted(SERVICE.methods_by_name)
CODES: Final = frozenset(
    [
        *("canceled", "unknown", "invalid_argument", "deadline_exceeded", "not_found"),
        *("already_exists", "permission_denied", "resource_exhausted", "failed_precondition"),
        *("aborted", "out_of_range", "unimplemented", "internal", "unavailable", "data_loss"),
        "unauthenticated",
    ]
)
"""Those of the Connect protocol."""
OURS_TO_BLAME: Final = frozenset({"internal", "unknown", "data_loss"})
"""Codes that no request may ever bring about."""
SECONDS_MAX: Final = 20.0
"""A request without an answer after that hangs. A busy machine is no fault of ours."""

IDS: Final = ["training", "n1", "n2", "ghost", "default/chat", "chat", "", "fake", TOKEN]


class Request(Struct, frozen=True):
    """What is sent."""

    method: str
    body: bytes
    headers: tuple[tuple[bytes, bytes], ...]
    parts: int = 1
    """In how many pieces the body arrives."""
    verb: str = "POST"
    path: str = ""
    """Another path than that of the method; empty: that."""


class Answer(Struct, frozen=True):
    """What came back."""

    status: int
    headers: dict[bytes, bytes]
    body: bytes


class World:
    """The control plane, and a caller without a network. One request at a time."""

    def __init__(self) -> None:
        self.runner = asyncio.Runner()
        self.clock = FakeClock(MONDAY)
        self.plane = ControlPlane(
            ServerConfig(clock=self.clock, settings=SETTINGS),
            authenticator=Authenticator([StaticToken("root", Role.ADMIN, TOKEN)], SECRET),
        )
        self.plane.register_provider(FakeProvider(now=self.clock.now, sleep=self.clock.sleep))
        self.application: Application = self.runner.run(self._begin())
        self._server: listener.EmbeddedServer | None = None
        self._serving: asyncio.Task[None] | None = None
        self._port = 0

    async def _begin(self) -> Application:
        await self.plane.start()
        await self.plane.configure_pools([a_spec()])
        known = await register_all(self.plane, 2)
        IDS.extend(each for each in known if each not in IDS)
        for node_id in ("n1", "n2"):
            await self.plane.runtime.ask(msg.RegisterNode(node_id, provider="own"))
        await self.plane.runtime.ask(msg.IssueCommand("n1", CommandType.CORDON, reason="a test"))
        # Requests come as quickly as a machine makes them: rates have tests of their own.
        application = self.plane.asgi_app
        application.admission.callers = RateLimits(1e9, 1_000)
        application.admission.nodes = RateLimits(1e9, 1_000)
        return application

    def close(self) -> None:
        """Stop everything."""
        self.runner.run(self._end())
        self.runner.close()

    async def _end(self) -> None:
        if self._server is not None and self._serving is not None:
            self._server.should_exit = True
            await self._serving
        await self.plane.stop()

    def send(self, request: Request) -> Answer:
        """Make a call, and hang up once it was answered; a stream is hung up on after a while."""
        return self.runner.run(self._send(request))

    async def _send(self, request: Request) -> Answer:
        async with asyncio.timeout(SECONDS_MAX):
            return await self._exchange(request)

    async def _exchange(self, request: Request) -> Answer:
        path = request.path or f"/{SERVICE.full_name}/{request.method}"
        scope: dict[str, Any] = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": request.verb,
            "scheme": "http",
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"",
            "root_path": "",
            "headers": list(request.headers),
            "client": ("127.0.0.1", 1),
            "server": ("127.0.0.1", 2),
        }
        size = max(1, -(-len(request.body) // request.parts))
        pieces = [request.body[at : at + size] for at in range(0, len(request.body), size)] or [b""]
        is_stream = request.method == "WatchEvents"
        sent: list[dict[str, Any]] = []
        enough = asyncio.Event()

        async def receive() -> dict[str, Any]:
            if pieces:
                body = pieces.pop(0)
                return {"type": "http.request", "body": body, "more_body": bool(pieces)}
            await enough.wait()
            return {"type": "http.disconnect"}

        async def send(event: dict[str, Any]) -> None:
            sent.append(event)
            if len(sent) > 20:
                enough.set()  # a stream: that will do
            if is_stream:
                await asyncio.sleep(0)

        async def patience() -> None:
            for _ in range(200):
                await asyncio.sleep(0)
            enough.set()

        watching = asyncio.create_task(patience()) if is_stream else None
        await self.application(scope, receive, send)  # type: ignore[arg-type]
        if watching is not None:
            await watching
        start = sent[0]
        body = b"".join(each.get("body", b"") for each in sent[1:])
        return Answer(start["status"], dict(start["headers"]), body)

    def send_bytes(self, data: bytes) -> bytes:
        """Write to a real socket of a real server, hang up, and return all that comes back."""
        return self.runner.run(self._send_bytes(data))

    async def _send_bytes(self, data: bytes) -> bytes:
        async with asyncio.timeout(SECONDS_MAX):
            if self._server is None:
                await self._serve()
            reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
            try:
                writer.write(data)
                writer.write_eof()
                return await reader.read()
            except ConnectionError:
                return b""
            finally:
                writer.close()
                with suppress(ConnectionError):
                    await writer.wait_closed()

    async def _serve(self) -> None:
        listening = listener.bind("127.0.0.1", 0)
        listening.listen()
        self._port = listening.getsockname()[1]
        started = asyncio.Event()
        server = listener.EmbeddedServer(listener.config(self.application), started.set)
        self._server = server
        self._serving = asyncio.create_task(server.serve(sockets=[listening]))
        await started.wait()

    # --- what must hold ------------------------------------------------------------------

    def check_answer(self, request: Request, answer: Answer) -> None:
        """An answer is one of the documented ones, in the form of the Connect protocol."""
        shown = (request, answer)
        form = answer.headers.get(b"content-type", b"").decode()
        if form.startswith(("application/grpc-web", "application/connect+")):
            assert answer.status == 200, shown
            assert b'"internal"' not in answer.body, shown
            # The compressed flag without an encoding is "internal" by gRPC's own word.
            if b"protocol%20error" not in answer.body:
                assert b"grpc-status: 13" not in answer.body, shown
            assert answer.headers.get(b"grpc-status") != b"13", shown
            return
        if answer.status != 200:
            if answer.status == 415 and not answer.body:
                return
            told = json.loads(answer.body)
            assert told["code"] in CODES - OURS_TO_BLAME, shown
            assert told["message"] or told["code"] == "canceled", shown
            assert answer.status < 500 or told["code"] in (
                *("unimplemented", "deadline_exceeded", "unavailable"),
            ), shown
            return
        made = message_factory.GetMessageClass(
            SERVICE.methods_by_name[request.method].output_type
        )()
        body = answer.body
        if answer.headers.get(b"content-encoding") == b"gzip":
            body = gzip.decompress(body)
        if form == "application/json":
            json_format.ParseDict(msgspec.json.decode(body), made)
        else:
            assert form == "application/proto", shown
            made.MergeFromString(body)

    def check_plane(self) -> None:
        """It lives, it answers, and its journal tells what its memory holds."""
        assert self.plane.readiness().ready
        beat = Request("Heartbeat", b'{"nodeId":"n1"}', headers_of("application/json"))
        assert self.send(beat).status in (200, 400)  # n1 may have been ended by an operator
        listing = Request("ListNodes", b"{}", headers_of("application/json"))
        assert self.send(listing).status == 200
        self.runner.run(self._check_journal())

    async def _check_journal(self) -> None:
        runtime = self.plane.runtime
        await runtime.settled()
        loaded = await self.plane.runtime.store.load()
        fleet = Fleet()
        if loaded.snapshot is not None:
            fleet = fleets.decode(loaded.snapshot.state)
        for recorded in loaded.events:
            fold.apply(fleet, recorded.event)  # type: ignore[arg-type]
        assert msgspec.json.decode(fleets.encode(fleet)) == msgspec.json.decode(
            fleets.encode(runtime.machine.fleet)
        )


def headers_of(content_type: str, token: str = TOKEN) -> tuple[tuple[bytes, bytes], ...]:
    """Return the headers of an ordinary request."""
    return (
        (b"host", b"x"),
        (b"content-type", content_type.encode()),
        (b"authorization", f"Bearer {token}".encode()),
    )


# --- requests --------------------------------------------------------------------------------

ODD_TEXTS: Final[list[str]] = [
    "\0",
    "\u202e",
    "é" * 200,
    "a" * 300,
    "x" * 5_000,
    "../..",
    "'; --",
    "\U0001f600",
    "1e9",
]
TEXTS: Final = st.deferred(
    lambda: st.sampled_from(IDS) | st.text(max_size=30) | st.sampled_from(ODD_TEXTS)
)
INTS: Final = st.integers(-1, 8) | st.sampled_from([2**31 - 1, -(2**31), 101, 104, 1_000])
SCALARS: Final[dict[int, st.SearchStrategy[Any]]] = {
    FieldDescriptor.TYPE_STRING: TEXTS,
    FieldDescriptor.TYPE_BOOL: st.booleans(),
    FieldDescriptor.TYPE_INT32: INTS,
    FieldDescriptor.TYPE_INT64: INTS | st.sampled_from([2**63 - 1, -(2**63)]),
    FieldDescriptor.TYPE_DOUBLE: st.floats() | st.floats(0, 100),
    FieldDescriptor.TYPE_ENUM: INTS,
}


def _values(field: FieldDescriptor) -> st.SearchStrategy[Any]:
    inner = field.message_type
    if inner is None:
        one = SCALARS[field.type]
    elif inner.GetOptions().map_entry:
        return st.dictionaries(TEXTS, TEXTS, max_size=3)
    else:
        one = message_of(inner)
    return st.lists(one, max_size=3) if field.is_repeated else one


def _later(field: FieldDescriptor) -> st.SearchStrategy[Any]:
    """The values of a field, found out when they are drawn: messages hold themselves."""
    return st.deferred(lambda: _values(field))


def message_of(descriptor: Any) -> st.SearchStrategy[Message]:  # noqa: ANN401 - two kinds of it
    """Any message of this type, its ids often those of something that is there."""
    made = message_factory.GetMessageClass(descriptor)

    def build(values: Mapping[str, Any]) -> Message:
        return made(**values)

    named = {
        field.name: st.sampled_from(IDS) if field.type == FieldDescriptor.TYPE_STRING else None
        for field in descriptor.fields
        if field.name.endswith(("_id", "pool_name", "name"))
    }
    usual = {
        name: values
        for name, values in named.items()
        if values is not None and not descriptor.fields_by_name[name].is_repeated
    }
    every = {field.name: _later(field) for field in descriptor.fields}
    plain = st.fixed_dictionaries({}, optional=every)
    likely = st.fixed_dictionaries(
        usual, optional={name: values for name, values in every.items() if name not in usual}
    )
    return (likely | plain).map(build)


def mutated(data: bytes) -> st.SearchStrategy[bytes]:
    """The same bytes with something cut off, doubled, changed or put in."""
    size = len(data)
    places = st.integers(0, max(0, size - 1))
    odd = st.sampled_from(
        [
            b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
            b"\0",
            b'"',
            b"{",
            b"\xed\xa0\x80",
            b"9" * 400,
        ]
    )
    return (
        places.map(lambda at: data[:at])
        | st.just(data + data)
        | st.tuples(places, st.integers(1, 255)).map(
            lambda how: bytes(
                byte ^ how[1] if number == how[0] else byte for number, byte in enumerate(data)
            )
        )
        | st.tuples(places, odd | st.binary(max_size=8)).map(
            lambda how: data[: how[0]] + how[1] + data[how[0] :]
        )
    )


ODD_BODIES: Final = [
    b"",
    b"null",
    b"[]",
    b'"text"',
    b"{" * 5_000,
    b'{"a":' * 2_000 + b"1" + b"}" * 2_000,
    b'{"node":' * 500 + b"{}" + b"}" * 500,
    b"[" * 100_000,
    b'{"nodeId":1e999}',
    b'{"nodeId":' + b"9" * 5_000 + b"}",
    b'{"nodeId":NaN}',
    b'{"nodeId":"\\ud800"}',
    b'{"nodeId":"n1","nodeId":"n2"}',
    b'{"nodeId":"n1","node_id":"n2"}',
    b'{"nodeId":["n1"]}',
    b'{"nodeId":{"nodeId":"n1"}}',
    b'\xef\xbb\xbf{"nodeId":"n1"}',
    b'{"nodeId":"n1"}\x00',
    b'{"commandType":"NO_SUCH","nodeId":"n1"}',
    b'{"commandType":999999999999,"nodeId":"n1"}',
    b'{"heartbeats":[null]}',
    b'{"heartbeats":[{"nodeId":"n1","timestamp":"9999-99-99T00:00:00Z"}]}',
    b'{"nodeId":"n1","timestamp":"0000-01-01T00:00:00Z"}',
    b'{"nodeId":"n1","timestamp":"9999-12-31T23:59:59.999999999Z"}',
    b'{"nodeId":"n1","events":[{"timestamp":"0001-01-01T00:00:00Z","eventType":1}]}',
    b'{"nodeId":"n1","metrics":{"gpuMetrics":[{"gpuIndex":-5,"memoryUsed":"-1"}]}}',
    b'{"nodeId":"n1","metrics":{"cpuUsagePercent":"Infinity"}}',
    b"\x0a\xff\xff\xff\xff\x0f",
    b"\x0a\x02n1" * 3_000,
    b"\x0b" * 2_000,
    b"\xff" * 1_000,
]
FORMS: Final = ["application/json", "application/proto"]
FORMS_WEB: Final = [f"application/grpc-web+{form}" for form in ("proto", "json")]
FORMS_STREAM: Final = [f"application/connect+{form}" for form in ("json", "proto")]
ODD_HEADERS: Final[Sequence[tuple[bytes, bytes]]] = [
    (b"connect-timeout-ms", b"1"),
    (b"connect-timeout-ms", b"-1"),
    (b"connect-timeout-ms", b"99999999999999999999"),
    (b"connect-timeout-ms", b"soon"),
    (b"connect-timeout-ms", "٣".encode()),
    (b"grpc-timeout", b"1n"),
    (b"grpc-timeout", b"x"),
    (b"connect-protocol-version", b"7"),
    (b"content-encoding", b"gzip"),
    (b"content-encoding", b"br"),
    (b"content-encoding", b"identity"),
    (b"accept-encoding", b"gzip"),
    (b"accept-encoding", b"br;q=1.0, *;q=0"),
    (b"content-length", b"5"),
    (b"content-length", "٣".encode()),
    (b"content-length", b"9" * 30),
    (b"content-length", b"99999999"),
    (b"authorization", b"Bearer wrong"),
    (b"authorization", b"Basic eA=="),
    (b"x-odd", b"\xff\xfe"),
    (b"x-odd", "ünï".encode()),
    (b"content-type", b"text/plain"),
    (b"content-type", b"application/grpc"),
    (b"content-type", b"application/json; charset=latin-1"),
    (b"expect", b"100-continue"),
]


def _envelope(body: bytes, flags: int = 0) -> bytes:
    return struct.pack(">BI", flags, len(body)) + body


@st.composite
def requests(draw: st.DrawFn) -> Request:
    """Any request: one in three is right in form, the others are wrong in one or more ways."""
    method = draw(st.sampled_from(METHODS))
    described = SERVICE.methods_by_name[method]
    wrong = draw(st.integers(0, 5))
    streams = bool(described.server_streaming)
    usual = FORMS_STREAM if streams else FORMS
    form = draw(st.sampled_from([*usual, *usual, *FORMS_WEB]))
    if wrong == 5:
        body = draw(st.sampled_from(ODD_BODIES) | st.binary(max_size=60))
    else:
        message = draw(message_of(described.input_type))
        if form.endswith("json"):
            body = json.dumps(_json(message)).encode()
        else:
            body = message.SerializeToString()
        if wrong in (3, 4):
            body = draw(mutated(body))
    if form not in FORMS:
        body = _envelope(body)
        if wrong == 4:
            body = draw(mutated(body))
    headers = list(headers_of(form))
    if draw(st.integers(0, 3)) == 3:
        name, value = draw(st.sampled_from(ODD_HEADERS))
        headers = [each for each in headers if each[0] != name] + [(name, value)]
    elif draw(st.integers(0, 9)) == 9:
        token = mint_node_token(SECRET, draw(st.sampled_from(["n1", "n2", "ghost"])))
        headers = list(headers_of(form, token))
    verb = draw(st.sampled_from(["POST"] * 12 + ["GET", "PUT"]))
    return Request(method, body, tuple(headers), draw(st.integers(1, 3)), verb)


@st.composite
def raw_requests(draw: st.DrawFn) -> bytes:
    """A request as it lies on the wire of HTTP/1.1, one in two damaged anywhere."""
    request = draw(requests())
    path = f"/{SERVICE.full_name}/{request.method}"
    lines = [f"{request.verb} {path} HTTP/1.1".encode()]
    lines += [name + b": " + value for name, value in request.headers]
    if draw(st.booleans()):
        lines.append(b"content-length: %d" % len(request.body))
        body = request.body
    else:
        lines.append(b"transfer-encoding: chunked")
        body = b"%x\r\n" % len(request.body) + request.body + b"\r\n0\r\n\r\n"
    data = b"\r\n".join(lines) + b"\r\n\r\n" + body
    return draw(mutated(data)) if draw(st.booleans()) else data


def _json(message: Message) -> Any:  # noqa: ANN401 - whatever JSON has
    """A message in JSON; one whose moments JSON can not write is sent without them."""
    try:
        return json_format.MessageToDict(message)
    except (ValueError, json_format.Error, DecodeError):
        return {"nodeId": "n1", "timestamp": "9999-12-31T23:59:59.999999999999Z"}
