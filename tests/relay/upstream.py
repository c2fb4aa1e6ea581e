"""A control plane as an uplink sees it: it answers as it is told to."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence

import msgspec

from navarch.relay.uplink import Away, Uplink
from navarch.relay.verdicts import Reply
from navarch.wire.generated import navarch_pb2 as pb

Answer = Callable[[pb.HeartbeatBatchRequest], Reply]


def batch_answer(
    request: pb.HeartbeatBatchRequest,
    *,
    unknown: Sequence[str] = (),
    waiting: Sequence[str] = (),
    interval: int = 0,
) -> Reply:
    """The usual answer to a batch."""
    answer = pb.HeartbeatBatchResponse(
        acknowledged=len(request.heartbeats) - len(unknown),
        unknown_node_ids=unknown,
        commands_pending_node_ids=waiting,
        heartbeat_interval_seconds=interval,
    )
    return Reply(200, ((b"content-type", b"application/proto"),), answer.SerializeToString())


def refusing(status: int, code: str, **headers: str) -> Reply:
    """A refusal."""
    named = tuple(
        (name.replace("_", "-").encode(), text.encode()) for name, text in headers.items()
    )
    return Reply(status, named, msgspec.json.encode({"code": code, "message": "no"}))


class Upstream(Uplink):
    """Remembers what it was asked."""

    def __init__(self) -> None:
        self.servers = ("http://127.0.0.1:1",)
        self.chosen = 0
        self.batches: list[list[str]] = []
        self.calls: list[tuple[str, bytes]] = []
        self.heard: dict[str, bytes] = {}
        self.away = False
        self.answers: Answer = batch_answer
        self.reply = Reply(200, ((b"content-type", b"application/proto"),), b"")
        self.gate = asyncio.Event()
        self.gate.set()
        self.calls_gate = asyncio.Event()
        self.calls_gate.set()

    async def call(
        self,
        method: str,
        headers: Iterable[tuple[str, str]],
        body: bytes,
        *,
        always: bool = False,
    ) -> Reply:
        if method != "HeartbeatBatch":
            self.calls.append((method, body))
            await self.calls_gate.wait()
            if self.away:
                raise Away("nobody is there")
            return self.reply
        request = pb.HeartbeatBatchRequest.FromString(body)
        self.batches.append([each.node_id for each in request.heartbeats])
        await self.gate.wait()
        if self.away:
            raise Away("nobody is there")
        reply = self.answers(request)
        if reply.ok:
            self.heard.update(
                {each.node_id: each.SerializeToString() for each in request.heartbeats}
            )
        return reply
