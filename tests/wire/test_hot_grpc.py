"""Frequent calls over gRPC: the quick way and the ordinary one answer alike."""

from __future__ import annotations

import dataclasses
import gzip
from collections.abc import Iterator

import pytest

from navarch.wire.generated import navarch_pb2 as pb
from wire import http2_client
from wire.hot_requests import batch, heartbeat
from wire.hot_twins import ORDERED, PATH, RELAY, Twins, token_of, twins
from wire.http2_client import Answer
from wire.test_hot_contract import GOOD_BINARY


@pytest.fixture(scope="module")
def both() -> Iterator[Twins]:
    with twins() as running:
        yield running
        assert running.quick.histories == running.plain.histories


def framed(message: bytes, compressed: int = 0) -> bytes:
    return bytes([compressed]) + len(message).to_bytes(4) + message


def ask(
    both: Twins, method: str, body: bytes, *, token: str = RELAY, **headers: str
) -> tuple[Answer, int]:
    """Send a request to both, compare, and return the answer and how many were quick."""
    before = both.served
    told = {"content-type": "application/grpc", "authorization": f"Bearer {token}"}
    told |= {name.replace("_", "-"): text for name, text in headers.items()}
    mine, others = (
        http2_client.ask(world.port, f"{PATH}{method}", told, body)
        for world in (both.quick, both.plain)
    )
    for answer in (mine, others):
        answer.headers.pop("date")
        answer.headers.pop("x-request-id", None)  # each server counts its own
        if answer.body[:1] == b"\1":  # the header of gzip has the time of day
            answer.body = b"gzip: " + gzip.decompress(answer.body[5:])
    assert dataclasses.asdict(mine) == dataclasses.asdict(others)
    both.compare()
    return mine, both.served - before


@pytest.mark.parametrize("name", GOOD_BINARY)
def test_plain_heartbeats_are_answered_quickly(both: Twins, name: str) -> None:
    answer, quick = ask(both, "Heartbeat", framed(GOOD_BINARY[name].SerializeToString()))
    assert (answer.status, answer.trailers, quick) == (200, {"grpc-status": "0"}, 1)
    told = pb.HeartbeatResponse.FromString(answer.body[5:])
    assert told.acknowledged
    assert told.commands_pending is (GOOD_BINARY[name].node_id == ORDERED)


def test_batches_and_polls_are_answered_quickly(both: Twins) -> None:
    whole = batch(heartbeat("n1"), heartbeat("n2")).SerializeToString()
    answer, quick = ask(both, "HeartbeatBatch", framed(whole))
    assert (pb.HeartbeatBatchResponse.FromString(answer.body[5:]).acknowledged, quick) == (2, 1)
    poll = pb.GetNodeCommandsRequest(node_id="n1").SerializeToString()
    assert ask(both, "PollCommands", framed(poll))[1] == 1


@pytest.mark.parametrize(
    "headers",
    [
        {"grpc_timeout": "10S"},
        {"grpc_timeout": "29998m"},
        {"grpc_timeout": "1H"},
        {"grpc_encoding": "identity", "grpc_accept_encoding": "identity, deflate, gzip"},
        {"grpc_accept_encoding": "gzip", "accept_encoding": "identity"},
        {"content_type": "application/grpc+proto", "user_agent": "grpc-python/1.85.1"},
    ],
)
def test_what_clients_say_is_understood(both: Twins, headers: dict[str, str]) -> None:
    message = framed(heartbeat("n1").SerializeToString())
    assert ask(both, "Heartbeat", message, **headers)[1] == 1


WHOLE = heartbeat("n1").SerializeToString()


@pytest.mark.parametrize(
    "body, headers",
    [
        (b"", {}),
        (framed(WHOLE)[:3], {}),
        (framed(WHOLE)[:-1], {}),
        (framed(WHOLE) + b"\0", {}),
        (framed(WHOLE) * 2, {}),
        (framed(WHOLE, 2), {}),
        (framed(WHOLE, 1), {}),
        (framed(gzip.compress(WHOLE, mtime=0), 1), {"grpc_encoding": "gzip"}),
        (framed(WHOLE), {"grpc_encoding": "snappy"}),
        (framed(WHOLE), {"grpc_timeout": "9000000u"}),
        (framed(WHOLE), {"grpc_timeout": "123456789S"}),
        (framed(WHOLE), {"grpc_timeout": "S"}),
        (framed(WHOLE), {"grpc_timeout": "-1S"}),
        (framed(WHOLE), {"content_type": "application/grpc; charset=utf-8"}),
        (framed(b"\xff"), {}),
        (framed(heartbeat("stranger").SerializeToString()), {}),
        (framed(heartbeat("a b").SerializeToString()), {}),
        (framed(WHOLE), {"token": "nobody"}),
        (framed(WHOLE), {"token": token_of("n2")}),
    ],
)
def test_what_is_odd_or_wrong_takes_the_ordinary_way(
    both: Twins, body: bytes, headers: dict[str, str]
) -> None:
    assert ask(both, "Heartbeat", body, **headers)[1] == 0


def test_a_node_speaks_for_itself(both: Twins) -> None:
    answer, quick = ask(both, "Heartbeat", framed(WHOLE), token=token_of("n1"))
    assert (answer.trailers, quick) == ({"grpc-status": "0"}, 1)
