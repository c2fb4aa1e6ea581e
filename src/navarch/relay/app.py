"""The HTTP surface of a relay, as agents see it: that of a control plane, as far as they use it.

A heartbeat of a node whose token was checked is answered here, and goes up with the next batch.
Everything else is passed on with the caller's own headers, and the answer with its own status, so
that an agent cannot tell a relay from a control plane. What cannot be read here is passed on too:
then the control plane says what is wrong with it.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta
from http import HTTPStatus
from typing import Final, TypeVar, cast

from connectrpc.errors import ConnectError
from google.protobuf.message import DecodeError, Message
from msgspec import Struct

from navarch.errors import WireError
from navarch.relay import counting, gathering
from navarch.relay.answering import (
    JSON,
    JSON_CODEC,
    PROTO,
    a_reply,
    acknowledged,
    as_json,
    nothing,
    refused,
    with_status,
)
from navarch.relay.counting import Counts
from navarch.relay.flushing import Flushing
from navarch.relay.gathering import Full, Gathering
from navarch.relay.quick import HEARTBEATS, POLLS, QuickPath
from navarch.relay.roster import Roster, digest
from navarch.relay.uplink import CALL_SECONDS_MAX, Away, Busy, Uplink
from navarch.relay.verdicts import Reply, refusal
from navarch.wire import codec
from navarch.wire.admission import Spread, whole_seconds
from navarch.wire.asgi import SERVICE
from navarch.wire.bodies import Event, Receive, Send
from navarch.wire.generated import navarch_pb2 as pb
from navarch.wire.limits import DEFAULT, Limits
from navarch.wire.pages import Lines

METHODS: Final = HEARTBEATS | POLLS | {"RegisterNode", "ReportHealth", "AckCommand"}
"""What agents call. Nothing else is passed on: operators call the control plane itself."""

_PREFIX: Final = f"/{SERVICE.full_name}/"
_PASSED_HEADERS: Final = frozenset(
    {
        *(b"authorization", b"content-type", b"content-encoding", b"user-agent", b"te"),
        *(b"connect-protocol-version", b"connect-timeout-ms", b"x-user-agent", b"x-grpc-web"),
        *(b"grpc-timeout", b"grpc-encoding", b"grpc-accept-encoding"),
    }
)
STRANGERS_MAX: Final = 32
"""Heartbeats that are passed on alone at one time. At 5 ms each, 6,000 nodes make themselves known
in a second; where the control plane is slower than that, more would only make it slower."""

LATER_MAX: Final = 10
"""Seconds over which nodes are spread that have to come back."""

_DRAIN_FACTOR: Final = 4
"""How many times the limit of a body is read and dropped before its sender is cut off."""

_Wire = TypeVar("_Wire", bound=Message)


class Call(Struct):
    """A call of an agent."""

    method: str
    body: bytes
    content_type: bytes
    """Without parameters."""
    authorization: bytes | None
    plain: bool
    """Whether it is one that can be answered here: a Connect call that is not compressed."""
    headers: list[tuple[str, str]]
    """Those that are passed on."""


class Application:
    """A relay, as an ASGI 3 application."""

    def __init__(
        self,
        uplink: Uplink,
        flushing: Flushing,
        held: Gathering,
        roster: Roster,
        counts: Counts,
        limits: Limits = DEFAULT,
    ) -> None:
        """Answer what can be, and pass on the rest by `uplink`."""
        self._uplink = uplink
        self._flushing = flushing
        self._held = held
        self._roster = roster
        self._counts = counts
        self._limits = limits
        self.hot = QuickPath(flushing, held, roster, counts, limits)
        """Asked first, at the connection."""
        self._strangers = 0
        self._waits = Spread()
        self.more_metrics: Lines = lambda: ()
        """What stands in ``/metrics`` as well."""

    async def __call__(self, scope: Event, receive: Receive, send: Send) -> None:
        """Answer one request, or follow the server's start and stop."""
        if scope["type"] == "lifespan":
            await _live(receive, send)
            return
        try:
            reply = await self._answer(scope, receive)
        except WireError as error:
            self._counts.refused[error.code] += 1
            after = 0 if error.retry_after is None else whole_seconds(error.retry_after)
            reply = refused(error.code, error.message, retry_after=after)
        await send(
            {"type": "http.response.start", "status": reply.status, "headers": reply.headers}
        )
        await send({"type": "http.response.body", "body": reply.body})

    async def _answer(self, scope: Event, receive: Receive) -> Reply:
        path: str = scope["path"]
        if not path.startswith(_PREFIX):
            return self._page(path, scope["method"])
        method = path.removeprefix(_PREFIX)
        if method not in METHODS:
            known = method in SERVICE.methods_by_name
            why = "a relay passes on what agents call; call the control plane itself"
            raise WireError(
                "unimplemented", f"{method}: {why}" if known else f"no such method: {method[:200]}"
            )
        if scope["method"] != "POST":
            return with_status(405, f"{scope['method']} is not possible here, POST is", b"POST")
        return await self._called(_call(method, scope, await self._body(scope, receive)))

    async def _called(self, call: Call) -> Reply:
        if call.method in HEARTBEATS:
            return await self._heartbeat(call)
        if call.method in POLLS:
            return await self._poll(call)
        if call.method == "AckCommand":
            result = _read(call, pb.AckCommandRequest)
            if result is not None and self._admits(result.node_id, call):
                await self._settle(result.node_id)
            return await self._passed(call)
        reply = await self._passed(call)
        if call.method == "RegisterNode" and reply.ok and call.plain:
            node = _read(call, pb.RegisterNodeRequest)
            if node is not None:
                self._admit(node.node_id, call)
            told = _told(call, reply, pb.RegisterNodeResponse)
            if told is not None:
                self._learn(told.config.heartbeat_interval_seconds)
        return reply

    # --- heartbeats --------------------------------------------------------------------------

    async def _heartbeat(self, call: Call) -> Reply:
        now = asyncio.get_running_loop().time()
        if not self._flushing.works(now):
            # Whoever cannot take a batch is not asked about each of its heartbeats either.
            self._counts.heartbeats["refused"] += 1
            problem = self._flushing.problem or "no batch was answered in time"
            raise WireError("unavailable", f"this relay cannot pass heartbeats on: {problem}")
        request = _read(call, pb.HeartbeatRequest)
        node_id = "" if request is None else _valid(request)
        if request is None or not node_id:
            return await self._alone(call, "")
        if not self._admits(node_id, call):
            return await self._alone(call, node_id)
        body = call.body if call.content_type == PROTO else request.SerializeToString()
        if not gathering.fits(body):
            return await self._alone(call, node_id)
        try:
            self._held.add(node_id, body, now)
        except Full as error:
            self._flushing.kick()
            self._counts.heartbeats["refused"] += 1
            raise WireError(
                "resource_exhausted", "too many heartbeats wait at this relay"
            ) from error
        self._counts.heartbeats["gathered"] += 1
        if len(self._held) >= gathering.BATCH_HEARTBEATS_MAX:
            self._flushing.kick()
        pending = self._roster.is_pending(node_id)
        return acknowledged(call.content_type, self._roster.interval, pending=pending)

    async def _alone(self, call: Call, node_id: str) -> Reply:
        """Pass a heartbeat on by itself; the answer says whether its sender may speak.

        After a restart of the relay that is so for every node, so few go at one time.
        """
        if self._strangers >= STRANGERS_MAX:
            self._counts.heartbeats["refused"] += 1
            text = "too many nodes make themselves known to this relay: try again in a moment"
            wait = timedelta(seconds=LATER_MAX * self._waits.roll())
            raise WireError("resource_exhausted", text, retry_after=wait)
        self._counts.heartbeats["passed"] += 1
        self._strangers += 1
        try:
            reply = await self._passed(call)
        finally:
            self._strangers -= 1
        if reply.ok and node_id:
            self._held.discard(node_id)  # an older one
            self._admit(node_id, call)
            told = _told(call, reply, pb.HeartbeatResponse)
            if told is not None:
                self._learn(told.heartbeat_interval_seconds)
        return reply

    def _learn(self, interval: int) -> None:
        """Take note of how often nodes shall speak, which no batch may have told yet."""
        self._roster.interval = interval or self._roster.interval

    def _admits(self, node_id: str, call: Call) -> bool:
        now = asyncio.get_running_loop().time()
        return self._roster.admits(node_id, digest(call.authorization), now)

    def _admit(self, node_id: str, call: Call) -> None:
        now = asyncio.get_running_loop().time()
        self._roster.admitted(node_id, digest(call.authorization), now)

    # --- commands ----------------------------------------------------------------------------

    async def _poll(self, call: Call) -> Reply:
        now = asyncio.get_running_loop().time()
        request = _read(call, pb.GetNodeCommandsRequest)
        node_id = "" if request is None else request.node_id
        if self._admits(node_id, call):
            if self._roster.has_nothing(node_id, now) and self._flushing.works(now):
                self._counts.polls_answered += 1
                return nothing(call.content_type)
            await self._settle(node_id)
        reply = await self._passed(call)
        if reply.ok and call.plain and node_id:
            self._roster.polled(node_id)
        return reply

    async def _settle(self, node_id: str) -> None:
        try:
            async with asyncio.timeout(CALL_SECONDS_MAX):
                await self._flushing.settled(node_id)
        except TimeoutError as error:
            raise WireError("deadline_exceeded", "the control plane did not answer") from error

    # --- passing on --------------------------------------------------------------------------

    async def _passed(self, call: Call) -> Reply:
        """Pass a call on. Raises `WireError` when nobody answers."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        code = "ok"
        try:
            reply = await self._uplink.call(call.method, call.headers, call.body)
            if not reply.ok:
                code = refusal(reply).code
            return reply
        except Away as error:
            code = "unavailable"
            raise WireError(code, f"this relay cannot reach the control plane: {error}") from error
        except Busy as error:
            code = "resource_exhausted"
            raise WireError(code, "too many calls are under way at this relay") from error
        finally:
            self._counts.passed[call.method, code] += 1
            self._counts.passed_seconds.add(loop.time() - began)

    # --- bodies and pages --------------------------------------------------------------------

    async def _body(self, scope: Event, receive: Receive) -> bytes:
        """Read a body, measured while it arrives.

        Raises `WireError` when it is too large or too slow.
        """
        event = await receive()
        if not event.get("more_body") and len(event.get("body", b"")) <= self._limits.body_bytes:
            return bytes(event.get("body", b""))
        bytes_max = self._limits.body_bytes
        seconds = self._limits.body_timeout.total_seconds()
        body, size = bytearray(), 0
        try:
            async with asyncio.timeout(seconds):
                while True:
                    part = event.get("body", b"")
                    size += len(part)
                    if size <= bytes_max:
                        body += part
                    if not event.get("more_body") or size > bytes_max * _DRAIN_FACTOR:
                        break
                    event = await receive()
        except TimeoutError as error:
            text = f"the body did not arrive within {seconds:g} seconds"
            raise WireError("deadline_exceeded", text) from error
        if size > bytes_max:
            text = f"the body is larger than {bytes_max} bytes"
            raise WireError("resource_exhausted", text)
        return bytes(body)

    def _page(self, path: str, method: str) -> Reply:
        if path not in ("/healthz", "/readyz", "/metrics"):
            raise WireError("unimplemented", f"no such path: {path[:200]}")
        if method not in ("GET", "HEAD"):
            return with_status(405, f"{method} is not possible here, GET, HEAD is", b"GET, HEAD")
        if path == "/healthz":
            return as_json(HTTPStatus.OK, {"status": "ok"})
        now = asyncio.get_running_loop().time()
        if path == "/readyz":
            ready = self._flushing.works(now)
            status = HTTPStatus.OK if ready else HTTPStatus.SERVICE_UNAVAILABLE
            reason = "" if ready else self._flushing.problem
            return as_json(status, {"ready": ready, "reason": reason, "role": "relay"})
        lines = counting.lines(
            self._counts,
            nodes=len(self._roster),
            waiting=len(self._held),
            waiting_bytes=self._held.size,
            age=now - self._flushing.taken_at,
            server=self._uplink.servers[self._uplink.chosen],
        )
        text = "".join(f"{line}\n" for line in (*lines, *self.more_metrics())).encode()
        return a_reply(HTTPStatus.OK, b"text/plain; version=0.0.4; charset=utf-8", text)


# --- requests ----------------------------------------------------------------------------------


def _call(method: str, scope: Event, body: bytes) -> Call:
    content_type, authorization, plain = b"", None, True
    passed = [("accept-encoding", "identity")]
    for name, value in scope["headers"]:
        if name not in _PASSED_HEADERS:
            continue
        passed.append((name.decode("latin-1"), value.decode("latin-1")))
        if name == b"content-type":
            content_type = value.partition(b";")[0].strip().lower()
        elif name == b"authorization":
            authorization = value
        elif name == b"content-encoding":
            plain = plain and value.strip().lower() in (b"", b"identity")
        elif name == b"connect-protocol-version":
            plain = plain and value == b"1"
    plain = plain and content_type in (JSON, PROTO)
    return Call(method, body, content_type, authorization, plain, passed)


def _read(call: Call, form: type[_Wire]) -> _Wire | None:
    """Read a request; None where the control plane shall say what is wrong with it."""
    return _decoded(call, call.body, form) if call.plain else None


def _told(call: Call, reply: Reply, form: type[_Wire]) -> _Wire | None:
    """Read an answer; None where it is not in the form of the request."""
    plain = reply.header(b"content-encoding") in ("", "identity")
    return _decoded(call, reply.body, form) if plain and call.plain else None


def _decoded(call: Call, body: bytes, form: type[_Wire]) -> _Wire | None:
    try:
        if call.content_type == PROTO:
            return form.FromString(body)
        return cast("_Wire", JSON_CODEC.decode(body, form))
    except (DecodeError, ConnectError):
        return None


def _valid(request: pb.HeartbeatRequest) -> str:
    """The node of a heartbeat that a control plane will take; empty for another."""
    try:
        return codec.heartbeat(request).node_id
    except WireError:
        return ""


async def _live(receive: Receive, send: Send) -> None:
    """Follow the server's start and stop, of which nothing depends here."""
    while True:
        event = await receive()
        await send({"type": f"{event['type']}.complete"})
        if event["type"] == "lifespan.shutdown":
            return
