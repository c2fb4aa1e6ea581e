"""gRPC and gRPC-Web: Google's client, and what others may send."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeAlias
from urllib.parse import unquote

import grpc
import pytest
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from navarch.wire import auth, calls, http2
from navarch.wire.admission import Rates
from navarch.wire.asgi import SERVICE
from navarch.wire.auth import Authenticator
from navarch.wire.generated import navarch_pb2 as pb
from navarch.wire.grpc_form import NUMBERS, Event, in_form
from navarch.wire.limits import Limits
from wire import http2_client, test_server
from wire.conftest import ADMIN, SECRET, TOKENS, VIEWER, LiveServer, SmallService, running

# What grpcio returns and takes has no types: answers are messages, or iterators of them.
Anything: TypeAlias = Any
Metadata: TypeAlias = Sequence[tuple[str, str]]

Status = grpc.StatusCode
AS_ADMIN = (("authorization", f"Bearer {ADMIN}"),)
AS_VIEWER = (("authorization", f"Bearer {VIEWER}"),)
AS_NODE = (("authorization", f"Bearer {auth.mint_node_token(SECRET, 'n1')}"),)
PATH = f"/{SERVICE.full_name}"


class Stub:
    """Calls methods by their names; the messages are those of the definition."""

    def __init__(self, channel: grpc.Channel) -> None:
        self.channel = channel

    def __call__(
        self,
        method: str,
        request: Message | bytes = b"",
        metadata: Metadata = AS_ADMIN,
        **how: Anything,
    ) -> Anything:
        described = SERVICE.methods_by_name[method]
        make = self.channel.unary_stream if described.server_streaming else self.channel.unary_unary
        call = make(
            f"{PATH}/{method}",
            request_serializer=lambda said: said if isinstance(said, bytes) else _bytes(said),
            response_deserializer=GetMessageClass(described.output_type).FromString,
        )
        return call(request, metadata=metadata, timeout=how.pop("timeout", 10), **how)


def _bytes(message: Message) -> bytes:
    return message.SerializeToString()


def refusal(call: Anything, *args: Anything, **how: Anything) -> tuple[Anything, str]:
    """The status with which a call fails."""
    with pytest.raises(grpc.RpcError) as caught:
        list(made) if hasattr(made := call(*args, **how), "__next__") else made
    error: Anything = caught.value
    return error.code(), error.details()


@pytest.fixture
def stub(both: LiveServer) -> Iterator[Stub]:
    with grpc.insecure_channel(f"127.0.0.1:{both.port}") as channel:
        yield Stub(channel)


class Agreeable(SmallService):
    """Answers every method with an empty message."""


def _agree(method: str) -> Anything:
    answer = GetMessageClass(SERVICE.methods_by_name[method].output_type)

    async def unary(self: SmallService, request: Message, ctx: calls.Context, /) -> Message:
        return answer()

    async def stream(
        self: SmallService, request: Message, ctx: calls.Context, /
    ) -> AsyncIterator[Message]:
        yield answer()

    return stream if SERVICE.methods_by_name[method].server_streaming else unary


for _name in SERVICE.methods_by_name:
    _snake = "".join(f"_{each.lower()}" if each.isupper() else each for each in _name)[1:]
    assert hasattr(SmallService, _snake), _snake
    setattr(Agreeable, _snake, _agree(_name))


# --- calls -----------------------------------------------------------------------------------


def test_every_method_of_the_service_is_served() -> None:
    with (
        running(Authenticator(), http2=True, service=Agreeable()) as live,
        grpc.insecure_channel(f"127.0.0.1:{live.port}") as channel,
    ):
        stub = Stub(channel)
        for name, described in SERVICE.methods_by_name.items():
            answer = stub(name, metadata=())
            heard = list(answer) if described.server_streaming else [answer]
            assert heard == [GetMessageClass(described.output_type)()], name


def test_a_call_a_stream_and_who_called(both: LiveServer, stub: Stub) -> None:
    assert stub("GetNode", pb.GetNodeRequest(node_id="n1")).node.node_id == "n1"
    facts = stub("WatchEvents", pb.WatchEventsRequest(after_seq=4), AS_VIEWER)
    assert [fact.event.seq for fact in facts] == [5, 6, 7]
    stub("RegisterNode", pb.RegisterNodeRequest(node_id="n1"), AS_NODE)
    assert both.service.callers[-1] == "n1"


def test_a_compressed_call(stub: Stub) -> None:
    request = pb.GetNodeRequest(node_id="n" * 10_000)
    answer = stub("GetNode", request, compression=grpc.Compression.Gzip)
    assert answer.node.node_id == request.node_id


def test_json_in_frames_of_grpc(both: LiveServer) -> None:
    body = json.dumps({"nodeId": "n1"}).encode()
    told = {"content-type": "application/grpc+json", "authorization": f"Bearer {ADMIN}"}
    answer = http2_client.ask(both.port, f"{PATH}/GetNode", told, framed(body))
    assert answer.trailers == {"grpc-status": "0"}
    assert json.loads(answer.body[5:])["node"]["nodeId"] == "n1"


def test_megabytes_there_and_back() -> None:
    with (
        running(Authenticator(), Limits(), http2=True) as live,
        grpc.insecure_channel(f"127.0.0.1:{live.port}") as channel,
    ):
        request = pb.GetNodeRequest(node_id="n" * 3_000_000)
        assert Stub(channel)("GetNode", request, ()).node.node_id == request.node_id


class Generous(SmallService):
    """Answers with more than it is asked for."""

    async def get_node(
        self, request: pb.GetNodeRequest, ctx: calls.Context, /
    ) -> pb.GetNodeResponse:
        return pb.GetNodeResponse(node=pb.NodeInfo(node_id="n" * GENEROUS))

    async def watch_events(
        self, request: pb.WatchEventsRequest, ctx: calls.Context, /
    ) -> AsyncIterator[pb.WatchEventsResponse]:
        for seq in range(1, MANY + 1):
            yield pb.WatchEventsResponse(event=pb.EventInfo(seq=seq))


GENEROUS = 32 * 2**20
MANY = 5_000


def test_readers_of_much_may_give_as_much_credit_as_it_takes() -> None:
    unlimited = [("grpc.max_receive_message_length", -1)]
    with (
        running(Authenticator(), http2=True, service=Generous()) as live,
        grpc.insecure_channel(f"127.0.0.1:{live.port}", unlimited) as channel,
    ):
        stub = Stub(channel)
        assert len(stub("GetNode", metadata=()).node.node_id) == GENEROUS
        assert [fact.event.seq for fact in stub("WatchEvents", metadata=())][-1] == MANY
        # 64 KiB of credit at a time, told about each part on stream and connection.
        told = {"content-type": "application/proto"}
        assert len(http2_client.ask(live.port, f"{PATH}/GetNode", told, b"").body) > GENEROUS


def test_a_stream_that_its_reader_leaves_is_left(both: LiveServer, stub: Stub) -> None:
    both.service.watchers_left.clear()
    facts = stub("WatchEvents", pb.WatchEventsRequest(subject="forever"))
    assert next(facts).event.seq == 1
    facts.cancel()
    assert both.service.watchers_left.wait(10)


def test_many_streams_at_once_on_one_connection(stub: Stub) -> None:
    open_ones = [stub("WatchEvents", pb.WatchEventsRequest(subject="forever")) for _ in range(100)]
    assert [next(facts).event.seq for facts in open_ones] == [1] * 100
    assert stub("GetNode", pb.GetNodeRequest(node_id="n1")).node.node_id == "n1"
    for facts in open_ones:
        facts.cancel()


def test_no_call_fails_while_connections_are_retired(
    stub: Stub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http2, "STREAMS_MAX", 40)
    monkeypatch.setattr(http2, "RETIRE_SECONDS", 0.05)

    def call(number: int) -> str:
        return str(stub("GetNode", pb.GetNodeRequest(node_id=f"n{number}")).node.node_id)

    with ThreadPoolExecutor(8) as several:
        assert list(several.map(call, range(800))) == [f"n{number}" for number in range(800)]


# --- refusals --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "method, request_, metadata, code, words",
    [
        ("GetNode", {}, (), Status.UNAUTHENTICATED, "a token is required"),
        ("GetNode", {}, (("authorization", "Bearer x"),), Status.UNAUTHENTICATED, "not valid"),
        ("Heartbeat", {"node_id": "n"}, AS_VIEWER, Status.PERMISSION_DENIED, "needs the role"),
        ("Heartbeat", {"node_id": "n2"}, AS_NODE, Status.PERMISSION_DENIED, "is for node 'n1'"),
        ("Heartbeat", {"node_id": "stranger"}, AS_ADMIN, Status.NOT_FOUND, "stranger is not reg"),
        ("Heartbeat", {"node_id": "a b"}, AS_ADMIN, Status.INVALID_ARGUMENT, "'a b' is no id"),
        ("GetNode", {"node_id": "n" * 99_000}, AS_ADMIN, Status.RESOURCE_EXHAUSTED, "larger"),
        ("GetNode", {"node_id": "n" * 999_000}, AS_ADMIN, Status.RESOURCE_EXHAUSTED, "larger"),
        ("Explain", {}, AS_ADMIN, Status.UNIMPLEMENTED, ""),
        ("GetNode", {"node_id": "broken"}, AS_ADMIN, Status.INTERNAL, "internal error "),
        ("WatchEvents", {"subject": "fails"}, AS_ADMIN, Status.FAILED_PRECONDITION, "no more f"),
        ("WatchEvents", {}, (), Status.UNAUTHENTICATED, "a token is required"),
    ],
)
def test_a_refusal_has_its_code(
    stub: Stub,
    method: str,
    request_: dict[str, Any],
    metadata: Metadata,
    code: Anything,
    words: str,
) -> None:
    message = GetMessageClass(SERVICE.methods_by_name[method].input_type)(**request_)
    refused, text = refusal(stub, method, message, metadata)
    assert refused is code
    assert words in text
    assert "hunter2" not in text


def test_bytes_that_are_no_message_are_an_invalid_argument(stub: Stub) -> None:
    assert refusal(stub, "Heartbeat", b"\xff\xff")[0] is Status.INVALID_ARGUMENT


@pytest.mark.parametrize("path", [f"{PATH}/Nope", "/grpc.health.v1.Health/Check", "/"])
def test_what_is_not_there_is_unimplemented(both: LiveServer, stub: Stub, path: str) -> None:
    before = both.refused("unknown_path")
    code, text = refusal(stub.channel.unary_unary(path), b"", metadata=AS_ADMIN, timeout=10)
    assert code is Status.UNIMPLEMENTED
    assert "no such" in text
    assert both.refused("unknown_path") == before + 1


def test_headers_that_are_too_large_are_exhausting(stub: Stub) -> None:
    large = (*AS_ADMIN, ("x-large", "v" * 40_000))
    code, text = refusal(stub, "GetNode", pb.GetNodeRequest(node_id="n1"), large)
    assert (code, text) == (Status.RESOURCE_EXHAUSTED, "more than 32768 bytes of headers")


def test_too_many_requests_are_unavailable() -> None:
    with (
        running(Authenticator(), http2=True, connections_max=1) as live,
        grpc.insecure_channel(f"127.0.0.1:{live.port}") as channel,
    ):
        code, text = refusal(Stub(channel), "GetNode", metadata=())
    assert (code, text) == (Status.UNAVAILABLE, "too many requests are under way")


def test_who_calls_too_often_is_told_when_to_call_again() -> None:
    rates = Rates(node_rate=0.1, node_burst=1)
    with (
        running(Authenticator(TOKENS, SECRET), rates=rates, http2=True) as live,
        grpc.insecure_channel(f"127.0.0.1:{live.port}") as channel,
    ):
        stub, request = Stub(channel), pb.HeartbeatRequest(node_id="n1")
        assert stub("Heartbeat", request, AS_NODE).acknowledged
        with pytest.raises(grpc.RpcError) as caught:
            stub("Heartbeat", request, AS_NODE)
    error: Anything = caught.value
    assert error.code() is Status.RESOURCE_EXHAUSTED
    told = dict([*error.initial_metadata(), *error.trailing_metadata()])
    assert 1 <= int(told["retry-after"]) <= 60


def test_a_connection_too_many_is_exhausting() -> None:
    with (
        running(Authenticator(), rates=Rates(connections_per_address=1), http2=True) as live,
        socket.create_connection(("127.0.0.1", live.port)) as first,
        grpc.insecure_channel(f"127.0.0.1:{live.port}") as channel,
    ):
        first.sendall(b"GET ")
        code, text = refusal(Stub(channel), "GetNode", metadata=())
    assert code is Status.RESOURCE_EXHAUSTED
    assert text == "more than 1 connections from one address"


@pytest.mark.parametrize("kind", ["application/grpc+thrift", "application/grpc-web-text"])
def test_an_encoding_that_is_not_served_is_unimplemented(both: LiveServer, kind: str) -> None:
    answer = http2_client.ask(both.port, f"{PATH}/GetNode", {"content-type": kind}, framed(b""))
    assert (answer.status, answer.headers["content-type"]) == (200, "application/grpc")
    assert answer.trailers["grpc-status"] == "12"
    assert f"content-type '{kind}' is not served here" in answer.trailers["grpc-message"]


@pytest.mark.parametrize(
    "header, kind", [("grpc-timeout", "application/grpc"), ("connect-timeout-ms", "")]
)
def test_the_server_keeps_the_caller_s_deadline(both: LiveServer, header: str, kind: str) -> None:
    told = {"authorization": f"Bearer {ADMIN}", "content-type": kind or "application/proto"}
    told[header] = "50m" if kind else "50"
    message = _bytes(pb.GetNodeRequest(node_id="slow"))
    body = framed(message) if kind else message
    answer = http2_client.ask(both.port, f"{PATH}/GetNode", told, body)
    if kind:
        assert answer.trailers["grpc-status"] == "4"
    else:
        assert answer.status == 504
        assert json.loads(answer.body)["code"] == "deadline_exceeded"


# --- gRPC-Web --------------------------------------------------------------------------------


def framed(message: bytes) -> bytes:
    return b"\0" + len(message).to_bytes(4) + message


@pytest.mark.parametrize(
    "method, token, status, message",
    [
        ("Nope", ADMIN, 12, "no such method: Nope"),
        ("GetNode", "x", 16, "the token is not valid"),
        ("Explain", ADMIN, 12, ""),
    ],
)
@pytest.mark.parametrize("version", ["1", "2"])
def test_a_web_client_is_told_why(
    both: LiveServer, version: str, method: str, token: str, status: int, message: str
) -> None:
    told = {"content-type": "application/grpc-web+proto", "authorization": f"Bearer {token}"}
    path, body = f"{PATH}/{method}", framed(b"")
    if version == "1":
        plain = test_server.ask(both, path, body, told)
        seen = (plain.status, plain.headers["content-type"], plain.body)
    else:
        answer = http2_client.ask(both.port, path, told, body)
        seen = (answer.status, answer.headers["content-type"], answer.body)
    assert seen[:2] == (200, "application/grpc-web+proto")
    assert (seen[2][0], int.from_bytes(seen[2][1:5])) == (0x80, len(seen[2]) - 5)
    lines = dict(line.split(": ", 1) for line in seen[2][5:].decode().split("\r\n") if line)
    assert lines["grpc-status"] == str(status)
    assert message in unquote(lines["grpc-message"])


# --- the form of refusals --------------------------------------------------------------------


def translated(kind: str, version: str, *events: Event) -> list[Event]:
    """What is sent in the place of these events."""
    sent: list[Event] = []

    async def send(event: Event) -> None:
        sent.append(event)

    async def run() -> None:
        scope = {"http_version": version, "headers": [(b"content-type", kind.encode())]}
        sending = in_form(scope, send)
        for event in events:
            await sending(event)

    asyncio.run(run())
    return sent


START = {
    "type": "http.response.start",
    "status": 429,
    "headers": [(b"content-type", b"application/json"), (b"retry-after", b"7")],
}
BODY = {
    "type": "http.response.body",
    "body": b'{"code":"resource_exhausted","message":"100% \xc3\xa4"}',
}


def test_what_else_a_refusal_says_is_kept() -> None:
    start, body, trailers = translated("application/grpc", "2", START, BODY)
    assert start["headers"] == [(b"retry-after", b"7"), (b"content-type", b"application/grpc")]
    assert body["body"] == b""
    assert trailers["headers"] == [(b"grpc-status", b"8"), (b"grpc-message", b"100%25 %C3%A4")]


def test_other_types_are_refused_as_ever() -> None:
    for kind, version in (("application/json", "2"), ("application/grpc", "1.1"), ("", "1.1")):
        assert translated(kind, version, START, BODY) == [START, BODY]


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"code":7}', b'{"code":"odd"}', b"\xff"])
def test_a_refusal_without_a_known_code_goes_by_its_status(body: bytes) -> None:
    events = ({**START, "status": 503}, {"type": "http.response.body", "body": body})
    trailers = translated("application/grpc", "2", *events)[-1]
    expected = NUMBERS["unknown" if b"odd" in body else "unavailable"]
    assert trailers["headers"][0] == (b"grpc-status", str(expected).encode())
