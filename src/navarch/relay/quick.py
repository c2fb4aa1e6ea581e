"""The quick way: heartbeats and polls that are answered as their last byte arrives.

It is to a relay what `navarch.wire.hot` is to a control plane, and sits behind the same lane of the
connection (`navarch.wire.hot_lane`): no task, no ASGI cycle. What it does not answer takes the
ordinary way through `navarch.relay.app`, and nothing was done.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from msgspec import Struct

from navarch.core.model import messages
from navarch.core.model.samples import Columns
from navarch.relay import gathering
from navarch.relay.answering import JSON, PROTO, acknowledged, nothing
from navarch.relay.counting import Counts
from navarch.relay.flushing import Flushing
from navarch.relay.gathering import Full, Gathering
from navarch.relay.roster import Roster, digest
from navarch.relay.verdicts import Reply
from navarch.wire import hot_reading
from navarch.wire.generated import navarch_pb2 as pb
from navarch.wire.hot import Answer
from navarch.wire.limits import DEFAULT, Limits

HEARTBEATS = frozenset({"Heartbeat", "SendHeartbeat"})
POLLS = frozenset({"PollCommands", "GetNodeCommands"})

_NOT_PLAIN = frozenset(
    {b"content-encoding", b"transfer-encoding", b"expect", b"upgrade", b"trailer"}
)


class QuickCall(Struct, frozen=True):
    """A request as far as its headers tell."""

    is_heartbeat: bool
    content_type: bytes
    credentials: bytes
    """The digest of what the caller shows."""


class QuickPath:
    """Answers what can be answered at once, as `HotLane` asks for it."""

    def __init__(
        self,
        flushing: Flushing,
        held: Gathering,
        roster: Roster,
        counts: Counts,
        limits: Limits = DEFAULT,
    ) -> None:
        """Share these with the `Application`."""
        self._flushing = flushing
        self._held = held
        self._roster = roster
        self._counts = counts
        self._limits = limits
        self._written: dict[Reply, Answer] = {}

    def prepare(self, method: str, headers: Iterable[tuple[bytes, bytes]]) -> QuickCall | None:
        """Look at a request's headers, whose names are in lower case; the HTTP method is POST.

        None: it takes the ordinary way.
        """
        if method not in HEARTBEATS and method not in POLLS:
            return None
        content_type: bytes | None = None
        authorization: bytes | None = None
        for name, value in headers:
            if name == b"content-type":
                content_type = value if content_type is None else b""
            elif name == b"authorization":
                if authorization is not None:
                    return None
                authorization = value
            elif name in _NOT_PLAIN or (name == b"connect-protocol-version" and value != b"1"):
                return None
        if content_type not in (JSON, PROTO):
            return None
        return QuickCall(method in HEARTBEATS, content_type, digest(authorization))

    def answer(self, call: QuickCall, body: bytes) -> Answer | None:
        """Answer a request, or do nothing and return None: then it takes the ordinary way."""
        now = asyncio.get_running_loop().time()
        if len(body) > self._limits.body_bytes or not self._flushing.works(now):
            return None
        reply = (
            self._heartbeat(call, body, now) if call.is_heartbeat else self._poll(call, body, now)
        )
        return None if reply is None else self._as_text(reply)

    def _heartbeat(self, call: QuickCall, body: bytes, now: float) -> Reply | None:
        is_json = call.content_type == JSON
        read = hot_reading.heartbeat_json if is_json else hot_reading.heartbeat
        said = read(body, self._limits)
        if said is None:
            return None
        node_id = said.node_id if isinstance(said, messages.Heartbeat) else said[0]
        if not self._roster.admits(node_id, call.credentials, now):
            return None
        if is_json:
            if isinstance(said, messages.Heartbeat):
                return None
            body = _as_protobuf(*said)
        if not gathering.fits(body):
            return None
        try:
            self._held.add(node_id, body, now)
        except Full:
            return None
        self._counts.heartbeats["gathered"] += 1
        if len(self._held) >= gathering.BATCH_HEARTBEATS_MAX:
            self._flushing.kick()
        pending = self._roster.is_pending(node_id)
        return acknowledged(call.content_type, self._roster.interval, pending=pending)

    def _poll(self, call: QuickCall, body: bytes, now: float) -> Reply | None:
        is_json = call.content_type == JSON
        node_id = hot_reading.poll_json(body) if is_json else hot_reading.poll(body)
        if (
            node_id is None
            or not self._roster.admits(node_id, call.credentials, now)
            or not self._roster.has_nothing(node_id, now)
        ):
            return None
        self._counts.polls_answered += 1
        return nothing(call.content_type)

    def _as_text(self, reply: Reply) -> Answer:
        """Write an answer as HTTP/1.1 has it; there are few different ones, each made once."""
        known = self._written.get(reply)
        if known is None:
            lines = b"".join(b"%b: %b\r\n" % header for header in reply.headers)
            known = Answer(reply.headers, reply.body, lines + b"\r\n" + reply.body)
            self._written[reply] = known
        return known


def _as_protobuf(node_id: str, sample: Columns | None) -> bytes:
    """Write a heartbeat that was read from JSON.

    When it was sent is left out: nobody reads that of a batch.
    """
    request = pb.HeartbeatRequest(node_id=node_id)
    if sample is not None:
        metrics = request.metrics
        metrics.SetInParent()
        metrics.cpu_usage_percent = sample.cpu_percent
        metrics.memory_usage_percent = sample.memory_percent
        metrics.gpu_metrics.extend(
            pb.GPUMetrics(
                gpu_index=index,
                temperature=celsius,
                power_usage=watts,
                utilization_percent=busy,
                memory_used=used,
            )
            for index, celsius, watts, busy, used in zip(
                sample.index,
                sample.temperature_celsius,
                sample.power_watts,
                sample.utilization_percent,
                sample.memory_used,
                strict=True,
            )
        )
    return request.SerializeToString()
