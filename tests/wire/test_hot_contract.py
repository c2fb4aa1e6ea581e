"""The quick path and the Connect library answer alike, and learn alike, whatever is sent.

Every request of this suite goes to two control planes that differ in nothing but the quick path.
"""

from __future__ import annotations

import gzip
import json
import struct
from collections.abc import Iterator
from typing import Any

import pytest
from google.protobuf.json_format import MessageToDict
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from navarch.wire.generated import navarch_pb2 as pb
from wire.hot_requests import batch, gpu, heartbeat
from wire.hot_twins import (
    BINARY,
    ENDED,
    JSON,
    LOST,
    OLD,
    ORDERED,
    PATH,
    QUIET,
    RELAY,
    VIEWER,
    Twins,
    token_of,
    twins,
)
from wire.junk import messages_of

QUICKLY = settings(
    max_examples=80,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@pytest.fixture(scope="module")
def both() -> Iterator[Twins]:
    """Two control planes; requests of one test are still known in the next."""
    with twins() as running:
        yield running
        assert running.quick.histories == running.plain.histories


# --- what is answered the quick way -----------------------------------------------------------

GOOD_BINARY = {
    "eight GPUs": heartbeat(),
    "no GPU": heartbeat(metrics=pb.NodeMetrics(cpu_usage_percent=99.9)),
    "nothing was read": heartbeat(metrics=pb.NodeMetrics()),
    "no metrics": pb.HeartbeatRequest(node_id="n2"),
    "no time": pb.HeartbeatRequest(node_id="n2", metrics=pb.NodeMetrics()),
    "a GPU of which nothing was read": heartbeat("n3", pb.GPUMetrics()),
    "GPUs in any order": heartbeat("n3", gpu(gpu_index=7), gpu(gpu_index=0), gpu(gpu_index=63)),
    "extreme readings": heartbeat(
        "n4", gpu(temperature=-(2**31), power_usage=2**31 - 1, memory_used=2**63 - 1)
    ),
    "as many GPUs as may be": heartbeat("n5", *(gpu(gpu_index=index) for index in range(64))),
    "the ends of a percentage": heartbeat("n6", gpu(utilization_percent=100.0)),
    "the first year": heartbeat(timestamp=Timestamp(seconds=-62_135_596_800)),
    "the last second": heartbeat(timestamp=Timestamp(seconds=253_402_300_799, nanos=999_999_999)),
    "a command waits": heartbeat(ORDERED),
    "it says that nothing runs": heartbeat(serving=pb.NodeServing()),
}


@pytest.mark.parametrize("name", GOOD_BINARY)
@pytest.mark.parametrize("method", ["Heartbeat", "SendHeartbeat"])
def test_plain_heartbeats_are_answered_quickly(both: Twins, name: str, method: str) -> None:
    before = both.served
    answer = both.ask(method, GOOD_BINARY[name].SerializeToString())
    assert answer.status == 200
    assert pb.HeartbeatResponse.FromString(answer.body).acknowledged
    assert both.served == before + 1


GOOD_JSON = {
    "eight GPUs": MessageToDict(heartbeat()),
    "numbers as numbers": {
        "nodeId": "n7",
        "metrics": {"gpuMetrics": [{"gpuIndex": 1, "memoryUsed": 12}, {"memoryUsed": 5}]},
    },
    "numbers as texts": {"nodeId": "n7", "metrics": {"gpuMetrics": [{"memoryUsed": "007"}]}},
    "no metrics": {"nodeId": "n8"},
    "what is null is absent": {"nodeId": "n8", "metrics": None, "timestamp": None},
    "nothing was read": {"nodeId": "n8", "metrics": {}},
    "whole percentages": {"nodeId": "n8", "metrics": {"cpuUsagePercent": 7}},
    "a time without a fraction": {"nodeId": "n8", "timestamp": "2026-05-01T10:00:00Z"},
    "a command waits": {"nodeId": ORDERED},
}


@pytest.mark.parametrize("name", GOOD_JSON)
def test_plain_heartbeats_in_json_are_answered_quickly(both: Twins, name: str) -> None:
    before = both.served
    answer = both.ask("Heartbeat", json.dumps(GOOD_JSON[name]).encode(), JSON)
    assert answer.status == 200
    assert json.loads(answer.body)["acknowledged"]
    assert both.served == before + 1


GOOD_BATCHES = {
    "one": batch(heartbeat()),
    "several": batch(*(heartbeat(node_id) for node_id in QUIET)),
    "some with samples": batch(pb.HeartbeatRequest(node_id="n1"), heartbeat("n2")),
    "none with a sample": batch(*(pb.HeartbeatRequest(node_id=node_id) for node_id in QUIET)),
    "samples without readings": batch(heartbeat("n1", metrics=pb.NodeMetrics())),
    "GPUs of which nothing was read": batch(heartbeat("n1", pb.GPUMetrics())),
    "different numbers of GPUs": batch(
        heartbeat("n1", gpu()),
        heartbeat("n2"),
        heartbeat("n3", metrics=pb.NodeMetrics()),
        heartbeat("n4", *(gpu(gpu_index=index) for index in range(64))),
    ),
    "GPUs in any order": batch(heartbeat("n5", gpu(gpu_index=9), gpu(gpu_index=2), gpu())),
    "numbers of every length": batch(
        *(
            heartbeat(
                node_id,
                *(
                    gpu(
                        gpu_index=index,
                        temperature=2**bits,
                        power_usage=2 ** (bits + 1) - 1,
                        memory_used=2 ** (bits * 2 - index - 1),
                    )
                    for index in range(4)
                ),
            )
            for bits, node_id in zip((3, 7, 13, 14, 21, 22, 27, 28), QUIET, strict=True)
        )
    ),
    "commands wait": batch(heartbeat(ORDERED), heartbeat("n1")),
}


@pytest.mark.parametrize("name", GOOD_BATCHES)
@pytest.mark.parametrize("form", [BINARY, JSON])
def test_plain_batches_are_answered_quickly(both: Twins, name: str, form: str) -> None:
    before, sent = both.served, GOOD_BATCHES[name]
    body = sent.SerializeToString() if form == BINARY else json.dumps(MessageToDict(sent)).encode()
    answer = both.ask("HeartbeatBatch", body, form)
    assert answer.status == 200
    assert both.served == before + 1


@pytest.mark.parametrize("method", ["PollCommands", "GetNodeCommands"])
def test_polls_for_which_nothing_waits_are_answered_quickly(both: Twins, method: str) -> None:
    before = both.served
    assert both.ask(method, pb.GetNodeCommandsRequest(node_id="n1").SerializeToString()).body == b""
    assert both.ask(method, b'{"nodeId":"n1"}', JSON).body == b"{}"
    assert both.served == before + 2


@pytest.mark.parametrize(
    "more",
    [
        [("Accept-Encoding", "gzip")],
        [("Accept-Encoding", "br, gzip;q=0, identity")],
        [("Accept-Encoding", "identity, gzip")],
        [("Accept-Encoding", "")],
        [("Connect-Protocol-Version", "1"), ("Connect-Timeout-Ms", "30000")],
        [("User-Agent", "navarch"), ("X-Anything", "at all")],
    ],
    ids=str,
)
def test_plain_headers_are_answered_quickly(both: Twins, more: list[tuple[str, str]]) -> None:
    before = both.served
    assert both.ask("Heartbeat", heartbeat().SerializeToString(), more=more).status == 200
    assert both.served == before + 1


def test_a_node_speaks_for_itself(both: Twins) -> None:
    before = both.served
    body = heartbeat("n2").SerializeToString()
    assert both.ask("Heartbeat", body, token=token_of("n2")).status == 200
    assert both.ask("Heartbeat", body, token=token_of("n2")).status == 200
    assert both.served == before + 2


# --- what takes the ordinary way --------------------------------------------------------------

ODD_BINARY: dict[str, bytes | pb.HeartbeatRequest] = {
    "an empty request": b"",
    "no node": heartbeat(""),
    "no id": heartbeat("a b"),
    "an unknown node": heartbeat("n99"),
    "an ended node": heartbeat(ENDED),
    "too long an id": heartbeat("n" * 300),
    "a percentage too high": heartbeat("n1", gpu(utilization_percent=100.5)),
    "a percentage too low": heartbeat("n1", gpu(utilization_percent=-0.5)),
    "no number": heartbeat("n1", gpu(utilization_percent=float("nan"))),
    "no number behind others": heartbeat(
        "n1", gpu(), gpu(gpu_index=4, utilization_percent=float("nan"))
    ),
    "no finite number": heartbeat("n1", gpu(utilization_percent=float("inf"))),
    "memory of the host": heartbeat(memory=float("nan")),
    "a negative index": heartbeat("n1", gpu(gpu_index=-1)),
    "an index too high": heartbeat("n1", gpu(gpu_index=64)),
    "a GPU twice": heartbeat("n1", gpu(), gpu()),
    "too many GPUs": heartbeat("n1", *(gpu(gpu_index=index % 64) for index in range(65))),
    "negative memory": heartbeat("n1", gpu(memory_used=-1)),
    "a time before all": heartbeat(timestamp=Timestamp(seconds=-62_135_596_801)),
    "a time after all": heartbeat(timestamp=Timestamp(seconds=253_402_300_800)),
    "negative nanoseconds": heartbeat(timestamp=Timestamp(nanos=-1)),
    "too many nanoseconds": heartbeat(timestamp=Timestamp(nanos=1_000_000_000)),
    "a replica without an id": heartbeat(
        serving=pb.NodeServing(replicas=[pb.ReplicaStatus(port=1)])
    ),
    "cut off": heartbeat().SerializeToString()[:-3],
    "no protobuf": b"\xff\xff\xff",
    "text that is none": b"\x0a\x02\xff\xfe",
}


@pytest.mark.parametrize("name", ODD_BINARY)
@pytest.mark.parametrize("batched", [False, True], ids=["alone", "in a batch"])
def test_odd_heartbeats_take_the_ordinary_way(both: Twins, name: str, *, batched: bool) -> None:
    before, sent = both.served, ODD_BINARY[name]
    body = sent if isinstance(sent, bytes) else sent.SerializeToString()
    if batched:
        rest = batch(heartbeat("n7"), heartbeat("n8")).SerializeToString()
        size = bytes([len(body) & 0x7F | 0x80, len(body) >> 7])
        both.ask("HeartbeatBatch", b"\x0a" + size + body + rest)
        body = rest + b"\x0a" + size + body
    both.ask("HeartbeatBatch" if batched else "Heartbeat", body)
    assert both.served == before


UNUSUAL = {
    "a field of a newer agent": heartbeat().SerializeToString() + b"\xc2\x3e\x01x",
    "the node said twice": b"\x0a\x02n3" + heartbeat().SerializeToString(),
    "metrics in two parts": heartbeat().SerializeToString()
    + b"\x1a\x09\x09"
    + struct.pack("<d", 5),
    "fields in another order": b"\x1a\x09\x11" + struct.pack("<d", 5) + b"\x0a\x02n3",
    "long numbers": b"\x0a\x82\x80\x00n4",
    "fields of another kind": b"\x0a\x02n5\x10\x05",
}


@pytest.mark.parametrize("name", UNUSUAL)
def test_unusual_bytes_mean_what_they_mean_to_protobuf(both: Twins, name: str) -> None:
    body = UNUSUAL[name]
    assert both.ask("Heartbeat", body).status == 200
    size = bytes([len(body) & 0x7F | 0x80, len(body) >> 7])
    assert both.ask("HeartbeatBatch", b"\x0a" + size + body).status == 200


def test_every_piece_of_a_heartbeat_is_told_from_the_whole(both: Twins) -> None:
    whole = heartbeat("n1", gpu(), gpu(gpu_index=4)).SerializeToString()
    together = batch(heartbeat("n1", gpu())).SerializeToString()
    for length in range(0, len(whole), 3):
        both.ask("Heartbeat", whole[:length])
    for length in range(0, len(together), 3):
        both.ask("HeartbeatBatch", together[:length])


ODD_JSON = [
    *("", "{", "[]", "null", '"n1"', "{}", "\ufeff{}", '{"nodeId":"n1",}', '{"nodeId":"\\ud800"}'),
    *('{"nodeId":1}', '{"nodeId":null}', '{"node_id":"n1"}', '{"nodeid":"n1"}'),
    *('{"nodeId":"n1","node_id":"n2"}', '{"nodeId":"n1","nodeId":"n2"}', '{"nodeId":"n99"}'),
    *('{"nodeId":"n1","newer":{"a":[1]}}', '{"nodeId":"n1","serving":null}'),
    '{"nodeId":"n1","serving":{"replicas":[]}}',
    *(f'{{"nodeId":"n1","timestamp":{value}}}' for value in ("1", '""', '"now"', "{}", "[]")),
    *(
        f'{{"nodeId":"n1","timestamp":"{value}"}}'
        for value in (
            *("2026-05-01T10:00:00", "2026-05-01T10:00:00+02:00", "2026-05-01 10:00:00Z"),
            *("2026-02-30T10:00:00Z", "2026-05-01T24:00:00Z", "2026-05-01T10:00:60Z"),
            *("2026-05-01t10:00:00z", "2026-05-01T10:00:00.123456789Z", "0000-01-01T00:00:00Z"),
            *("2026-05-01T10:00:00.Z", "2026-05-01T10:00:00.1234567890Z", "0001-01-01T00:00:00Z"),
        )
    ),
    *(f'{{"nodeId":"n1","metrics":{value}}}' for value in ("1", "[]", '""', '{"newer":1}')),
    *(
        f'{{"nodeId":"n1","metrics":{{"cpuUsagePercent":{value}}}}}'
        for value in ("-1", "101", '"5"', '"NaN"', "1e400", "true", "null", "1E1", "[]", "NaN")
    ),
    *(
        f'{{"nodeId":"n1","metrics":{{"gpuMetrics":{value}}}}}'
        for value in ("null", "{}", "[null]", "[1]", "[[]]", "[{},{}]")
    ),
    *(
        f'{{"nodeId":"n1","metrics":{{"gpuMetrics":[{{"gpuIndex":{value}}}]}}}}'
        for value in ("5.0", "5.5", "1e1", "true", '"5"', "-1", "64", "null", "99999999999999")
    ),
    *(
        f'{{"nodeId":"n1","metrics":{{"gpuMetrics":[{{"temperature":{value}}}]}}}}'
        for value in ("-2147483648", "-2147483649", "2147483647", "2147483648", "1e400")
    ),
    *(
        f'{{"nodeId":"n1","metrics":{{"gpuMetrics":[{{"memoryUsed":{value}}}]}}}}'
        for value in (
            *('"12"', '""', '" 5"', '"5 "', '"+5"', '"-5"', '"1_0"', '"0x5"', '"٣"', '"5.0"'),
            *("5.0", "1e3", "true", "null", "-1", "9223372036854775807", "9223372036854775808"),
            *('"9223372036854775807"', '"9223372036854775808"', '"1e3"', "99999999999999999999"),
            *('"00000000000000000000000005"', "-0", '"-0"'),
        )
    ),
    '{"nodeId":"n1","metrics":{"gpuMetrics":[{"gpuIndex":1,"memoryUsed":"1"},{"memoryUsed":2}]}}',
    '{"nodeId":"n1","metrics":{"gpuMetrics":[{"gpuIndex":1,"memoryUsed":1},{"memoryUsed":"2"}]}}',
]


@pytest.mark.parametrize("method", ["Heartbeat", "HeartbeatBatch"])
def test_json_of_any_form_means_the_same(both: Twins, method: str) -> None:
    for text in ODD_JSON:
        whole = text if method == "Heartbeat" else f'{{"heartbeats":[{text}]}}'
        both.ask(method, whole.encode(), JSON)
    both.ask(method, b'{"nodeId":"\xff"}', JSON)


def test_nodes_that_teach_something_take_the_ordinary_way(both: Twins) -> None:
    before = both.served
    for method in ("PollCommands", "GetNodeCommands"):
        polled = pb.GetNodeCommandsRequest(node_id=ORDERED).SerializeToString()
        assert both.ask(method, polled).status == 200
        for node_id, status in ((ENDED, 400), ("n99", 404), ("", 400)):
            body = pb.GetNodeCommandsRequest(node_id=node_id).SerializeToString()
            assert both.ask(method, body).status == status
        both.ask(method, b"\xff")
        both.ask(method, b'{"nodeId":5}', JSON)
    assert both.served == before
    assert both.ask("Heartbeat", heartbeat(OLD).SerializeToString()).status == 200
    assert both.ask("HeartbeatBatch", batch(heartbeat(LOST)).SerializeToString()).status == 200
    assert both.served == before
    for node_id in (OLD, LOST):  # what they have taught is known now
        assert both.ask("Heartbeat", heartbeat(node_id).SerializeToString()).status == 200
    assert both.served == before + 2


def test_odd_batches_take_the_ordinary_way(both: Twins) -> None:
    before = both.served
    for odd in (
        batch(),
        batch(heartbeat(), heartbeat()),
        batch(heartbeat(), heartbeat("n99")),
        batch(heartbeat(), heartbeat(ENDED)),
        batch(heartbeat(), heartbeat("n2", serving=pb.NodeServing())),
        batch(*(pb.HeartbeatRequest(node_id=f"n{number}") for number in range(10_001))),
    ):
        both.ask("HeartbeatBatch", odd.SerializeToString())
    assert both.served == before


@pytest.mark.parametrize("token", [None, "wrong", VIEWER, token_of("n2"), f" {RELAY}", f"{RELAY}x"])
def test_whoever_may_not_call_is_refused(both: Twins, token: str | None) -> None:
    before = both.served
    for method, body in (
        ("Heartbeat", heartbeat().SerializeToString()),
        ("HeartbeatBatch", batch(heartbeat()).SerializeToString()),
        ("PollCommands", pb.GetNodeCommandsRequest(node_id="n1").SerializeToString()),
    ):
        both.ask(method, body, token=token)
    assert both.served == before or token == f" {RELAY}"


@pytest.mark.parametrize(
    "headers",
    [
        [("Content-Type", "application/proto; charset=utf-8")],
        [("Content-Type", "application/json; charset=latin-1")],
        [("Content-Type", "APPLICATION/PROTO")],
        [("Content-Type", "application/x-protobuf")],
        [("Content-Type", "application/grpc-web+proto")],
        [("Content-Type", "application/grpc")],
        [("Content-Type", "application/connect+proto")],
        [("Content-Type", "text/plain")],
        [],
        [("Content-Type", BINARY), ("Content-Type", JSON)],
        [("Content-Type", BINARY), ("Content-Encoding", "identity")],
        [("Content-Type", BINARY), ("Content-Encoding", "br")],
        [("Content-Type", BINARY), ("Connect-Protocol-Version", "2")],
        [("Content-Type", BINARY), ("Connect-Timeout-Ms", "abc")],
        [("Content-Type", BINARY), ("Connect-Timeout-Ms", "99999999999")],
        [("Content-Type", BINARY), ("Authorization", "Bearer wrong")],
    ],
    ids=str,
)
def test_odd_headers_take_the_ordinary_way(both: Twins, headers: list[tuple[str, str]]) -> None:
    before = both.served
    known = [*headers, ("Authorization", f"Bearer {RELAY}")]
    both.tell(f"{PATH}Heartbeat", known, heartbeat().SerializeToString())
    assert both.served == before


def test_compressed_requests_take_the_ordinary_way(both: Twins) -> None:
    before = both.served
    more = [("Content-Encoding", "gzip")]
    squeezed = gzip.compress(heartbeat().SerializeToString())
    assert both.ask("Heartbeat", squeezed, more=more).status == 200
    assert both.ask("Heartbeat", heartbeat().SerializeToString(), more=more).status == 400
    assert both.served == before


@pytest.mark.parametrize("verb", ["GET", "HEAD", "PUT", "DELETE", "OPTIONS"])
def test_other_methods_of_http_take_the_ordinary_way(both: Twins, verb: str) -> None:
    before = both.served
    assert both.ask("Heartbeat", heartbeat().SerializeToString(), verb=verb).status == 405
    assert both.served == before


@pytest.mark.parametrize("path", ["Heartbeat?a=b", "Heartbeat/", "heartbeat", "%48eartbeat"])
def test_other_paths_take_the_ordinary_way(both: Twins, path: str) -> None:
    before = both.served
    both.ask(path, heartbeat().SerializeToString())
    assert both.served == before


# --- arbitrary requests -----------------------------------------------------------------------


HEARTBEATS: Any = messages_of(pb.HeartbeatRequest.DESCRIPTOR)  # type: ignore[arg-type]


@QUICKLY
@given(HEARTBEATS, st.sampled_from([[], [heartbeat("n8")]]))
def test_any_heartbeat_is_answered_alike(
    both: Twins, sent: pb.HeartbeatRequest, others: list[pb.HeartbeatRequest]
) -> None:
    batched = bool(others)
    body = (batch(sent, *others) if batched else sent).SerializeToString()
    both.ask("HeartbeatBatch" if batched else "Heartbeat", body)


@QUICKLY
@given(st.data())
def test_damaged_requests_are_answered_alike(both: Twins, data: st.DataObject) -> None:
    form = data.draw(st.sampled_from([BINARY, JSON]))
    method = data.draw(st.sampled_from(["Heartbeat", "HeartbeatBatch"]))
    good = heartbeat("n1", gpu(), gpu(gpu_index=4))
    sent = good if method == "Heartbeat" else batch(good, heartbeat("n2", gpu()))
    whole = sent.SerializeToString() if form == BINARY else json.dumps(MessageToDict(sent)).encode()
    body = bytearray(whole)
    for _ in range(data.draw(st.integers(1, 3))):
        where = data.draw(st.integers(0, len(body)))
        piece = data.draw(st.binary(max_size=2) | st.sampled_from([b"\x80", b"\x01", b'"', b"0"]))
        body[where : where + data.draw(st.integers(0, 2))] = piece
    both.ask(method, bytes(body), form)
