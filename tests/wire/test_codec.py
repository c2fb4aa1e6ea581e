"""Requests become messages of the core, or a clear refusal."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from connectrpc.code import Code
from connectrpc.errors import ConnectError
from google.protobuf.descriptor import Descriptor
from google.protobuf.message import DecodeError, Message
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import given
from hypothesis import strategies as st

from navarch.core.model import messages
from navarch.core.model.command import CommandState, CommandType
from navarch.core.model.gpu import GPU, GPUSample, NodeSample
from navarch.core.model.instance import InstanceState
from navarch.core.model.node import Metadata, NodeStatus
from navarch.core.model.report import CheckResult, Health, HealthEvent
from navarch.errors import WireError
from navarch.wire import codec, plugin_calls, serving_codec, words
from navarch.wire.asgi import SERVICE, JsonCodec
from navarch.wire.generated import navarch_pb2 as pb
from navarch.wire.limits import LimitExceeded
from navarch.wire.queries import (
    Configuration,
    EventQuery,
    NodeQuery,
    Page,
    Subject,
    SubjectKind,
    WatchQuery,
)
from wire.junk import messages_of

READERS: dict[type[Any], Callable[[Any], object]] = {
    pb.RegisterNodeRequest: codec.register_node,
    pb.HeartbeatRequest: codec.heartbeat,
    pb.HeartbeatBatchRequest: codec.heartbeats,
    pb.ReportHealthRequest: codec.report_health,
    pb.GetNodeCommandsRequest: lambda request: codec.poll_commands(request, acknowledges=True),
    pb.AckCommandRequest: codec.ack_command,
    pb.IssueCommandRequest: codec.issue_command,
    pb.ScalePoolRequest: codec.scale_pool,
    pb.PausePoolRequest: codec.pause_pool,
    pb.ClearHealthRequest: codec.clear_health,
    pb.ListNodesRequest: codec.node_query,
    pb.ListInstancesRequest: codec.instance_query,
    pb.ListEventsRequest: codec.event_query,
    pb.WatchEventsRequest: codec.watch_query,
    pb.ExplainRequest: codec.subject,
    pb.ApplyConfigRequest: codec.apply_config,
    pb.ApplyResourcesRequest: serving_codec.apply_resources,
    pb.ListResourcesRequest: serving_codec.resource_query,
    pb.DeleteResourceRequest: serving_codec.delete_resource,
    pb.ListReplicasRequest: serving_codec.replica_query,
    pb.PushMetricsRequest: serving_codec.pushed,
    pb.ListPluginsRequest: plugin_calls.plugin_kind,
    pb.SetPluginRequest: plugin_calls.set_plugin,
    pb.ListPluginTracesRequest: plugin_calls.trace_query,
}


def refused(reader: Callable[[Any], object], request: object) -> str:
    with pytest.raises(WireError) as caught:
        reader(request)
    assert caught.value.code == "invalid_argument"
    return caught.value.message


# --- whatever arrives ------------------------------------------------------------------------


def outcome(request: Message) -> object:
    """What a reader makes of a request: a value or a refusal, and never anything else."""
    try:
        return READERS[type(request)](request)
    except WireError as error:
        return error


def check_total(request: Message) -> None:
    """A reader returns something that the journal can hold, or names what is wrong."""
    read = outcome(request)
    if isinstance(read, WireError):
        assert read.code == "invalid_argument"
        assert read.message
        return
    for each in read if isinstance(read, tuple) else (read,):
        assert msgspec.json.decode(msgspec.json.encode(each), type=type(each)) == each


@pytest.mark.parametrize("kind", READERS, ids=lambda kind: kind.__name__)
@given(data=st.data())
def test_readers_are_total(kind: type[Any], data: st.DataObject) -> None:
    check_total(data.draw(messages_of(kind.DESCRIPTOR)))


@given(st.sampled_from(list(READERS)), st.binary())
def test_bytes_give_a_message_or_a_decode_error(kind: type[Any], raw: bytes) -> None:
    try:
        request = kind.FromString(raw)
    except DecodeError:
        return
    check_total(request)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


@given(data=st.data())
def test_json_gives_a_message_or_invalid_argument(data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from(list(READERS)))
    names = [field.json_name for field in kind.DESCRIPTOR.fields]
    value = data.draw(st.dictionaries(st.sampled_from([*names, "other"]), JSON) | JSON)
    raw = msgspec.json.encode(value)
    if data.draw(st.booleans()):
        raw = raw[: data.draw(st.integers(0, len(raw)))]
    try:
        request = JsonCodec().decode(raw, kind)
    except ConnectError as error:
        assert error.code is Code.INVALID_ARGUMENT  # noqa: PT017 -- either outcome is right
        return
    check_total(request)


def test_deep_json_is_refused_and_not_followed() -> None:
    with pytest.raises(ConnectError) as caught:
        JsonCodec().decode(b'{"metrics":' + b"[" * 100_000, pb.HeartbeatRequest)
    assert caught.value.code is Code.INVALID_ARGUMENT


def has_times(descriptor: Descriptor) -> bool:
    """Whether a message can hold a time: arbitrary ones have no JSON form."""
    return any(
        field.message_type is not None
        and (field.message_type.name == "Timestamp" or has_times(field.message_type))
        for field in descriptor.fields
    )


WITHOUT_TIMES = [
    descriptor
    for descriptor in pb.DESCRIPTOR.message_types_by_name.values()
    if not has_times(descriptor)
]


@given(st.sampled_from(WITHOUT_TIMES).flatmap(messages_of))
def test_json_goes_there_and_back(message: Message) -> None:
    once = JsonCodec().encode(message)
    assert JsonCodec().encode(JsonCodec().decode(once, type(message))) == once


def test_equal_messages_give_equal_json() -> None:
    names = [f"label-{number}" for number in range(20)]
    forward, backward = pb.ListNodesResponse(), pb.ListNodesResponse()
    forward.nodes.add().metadata.labels.update(dict.fromkeys(names, ""))
    backward.nodes.add().metadata.labels.update(dict.fromkeys(reversed(names), ""))
    assert JsonCodec().encode(forward) == JsonCodec().encode(backward)


# --- the JSON mapping ------------------------------------------------------------------------


def test_json_is_the_protobuf_mapping() -> None:
    info = pb.NodeInfo(
        node_id="n1",
        status=pb.NODE_STATUS_ACTIVE,
        gpus=[pb.GPUInfo(memory_total=80 * 2**30)],
        last_heartbeat=Timestamp(seconds=1_700_000_000),
    )
    assert JsonCodec().encode(info) == (
        b'{"nodeId":"n1","status":"NODE_STATUS_ACTIVE","lastHeartbeat":"2023-11-14T22:13:20Z",'
        b'"gpus":[{"memoryTotal":"85899345920"}]}'
    )


def test_json_is_read_in_both_spellings_and_unknown_fields_are_ignored() -> None:
    for raw in (b'{"nodeId":"n1","x":1}', b'{"node_id":"n1"}'):
        assert JsonCodec().decode(raw, pb.GetNodeRequest) == pb.GetNodeRequest(node_id="n1")


@pytest.mark.parametrize(
    "raw, message",
    [
        (b"", "not JSON: Input data was truncated"),
        (b"[]", "JSON: an object was expected"),
        (b'{"nodeId":7}', "nodeId"),
        (b'{"nodeId":"\xff"}', "not JSON: "),
        (b'{"timestamp":"yesterday"}', "timestamp"),
        (b'{"metrics":{"gpuMetrics":[{"temperature":"hot"}]}}', "temperature"),
    ],
)
def test_bad_json_says_what_is_wrong(raw: bytes, message: str) -> None:
    with pytest.raises(ConnectError) as caught:
        JsonCodec().decode(raw, pb.HeartbeatRequest)
    assert caught.value.code is Code.INVALID_ARGUMENT
    assert message in caught.value.message


# --- what is read ----------------------------------------------------------------------------


def test_a_registration() -> None:
    request = pb.RegisterNodeRequest(
        node_id="n1",
        provider="lambda",
        zone="z",
        gpus=[pb.GPUInfo(index=0, uuid="GPU-1", memory_total=5), pb.GPUInfo(index=1)],
        metadata=pb.NodeMetadata(hostname="h", labels={"a": "b"}),
    )
    assert codec.register_node(request) == messages.RegisterNode(
        node_id="n1",
        provider="lambda",
        zone="z",
        gpus=(GPU(0, uuid="GPU-1", memory_total=5), GPU(1)),
        metadata=Metadata(hostname="h", labels={"a": "b"}),
    )


def test_a_heartbeat() -> None:
    request = pb.HeartbeatRequest(
        node_id="n1",
        timestamp=Timestamp(seconds=86_400, nanos=1_999),
        metrics=pb.NodeMetrics(
            cpu_usage_percent=100.4,
            memory_usage_percent=-1,
            gpu_metrics=[pb.GPUMetrics(gpu_index=3, temperature=61, power_usage=300)],
        ),
    )
    assert codec.heartbeat(request) == messages.Heartbeat(
        "n1",
        NodeSample(100.0, 0.0, (GPUSample(3, temperature_celsius=61, power_watts=300),)),
        datetime(1970, 1, 2, 0, 0, 0, 1, tzinfo=UTC),
    )


def test_an_absent_reading_is_not_zero() -> None:
    assert codec.heartbeat(pb.HeartbeatRequest(node_id="n1")) == messages.Heartbeat("n1")
    read = codec.heartbeat(pb.HeartbeatRequest(node_id="n1", metrics=pb.NodeMetrics()))
    assert read.sample == NodeSample()


def test_a_health_report_speaks_the_words_of_policies() -> None:
    request = pb.ReportHealthRequest(
        node_id="n1",
        results=[pb.HealthCheckResult(check_name="nvml", status=pb.HEALTH_STATUS_HEALTHY)],
        events=[
            pb.HealthEvent(
                gpu_index=-1,
                system=pb.HEALTH_WATCH_SYSTEM_NVLINK,
                event_type=pb.HEALTH_EVENT_TYPE_ECC_DBE,
                metrics={"ecc_dbe_count": "1"},
            ),
            pb.HealthEvent.FromString(b"\x20\x57\x28\x57"),  # system and type 87: of a newer peer
        ],
    )
    assert codec.report_health(request) == messages.ReportHealth(
        "n1",
        (CheckResult("nvml", Health.HEALTHY),),
        (
            HealthEvent(
                "ecc_dbe", system="DCGM_HEALTH_WATCH_NVLINK", metrics={"ecc_dbe_count": "1"}
            ),
            HealthEvent("unknown", gpu_index=0),
        ),
    )


def test_the_outcome_of_a_command_keeps_the_tail_of_its_output() -> None:
    request = pb.AckCommandRequest(
        node_id="n1",
        command_id="cmd-1",
        status=pb.COMMAND_STATUS_FAILED,
        output="é" * 40_000 + "the end",
    )
    read = codec.ack_command(request)
    assert read.state is CommandState.FAILED
    assert len(read.output.encode()) <= 64 * 1024
    assert len(read.output.encode()) > 64 * 1024 - 2
    assert read.output.endswith("éthe end")


def test_a_command() -> None:
    request = pb.IssueCommandRequest(
        node_id="n1", command_type=pb.NODE_COMMAND_TYPE_GPU_RESET, parameters={"gpu": "3"}
    )
    assert codec.issue_command(request) == messages.IssueCommand(
        "n1", CommandType.GPU_RESET, {"gpu": "3"}
    )


def test_pools_are_scaled_to_zero_only_on_purpose() -> None:
    request = pb.ScalePoolRequest(pool_name="p", target_nodes=0, reason="weekend")
    assert codec.scale_pool(request) == messages.ScalePool("p", 0, "weekend")
    absent = refused(codec.scale_pool, pb.ScalePoolRequest(pool_name="p"))
    assert absent == "target_nodes: is required, also when it is 0"
    assert refused(codec.pause_pool, pb.PausePoolRequest(pool_name="p")).startswith("paused: ")


def test_a_configuration_may_be_longer_than_other_texts_but_not_endless() -> None:
    text = "#" * 1024 * 1024
    request = pb.ApplyConfigRequest(text=text, source="navarch.yaml")
    assert codec.apply_config(request) == Configuration(text, "navarch.yaml")
    assert codec.apply_config(pb.ApplyConfigRequest(text="{}")).source == "the configuration"
    longer = pb.ApplyConfigRequest(text=text + "#")
    assert refused(codec.apply_config, longer).startswith("text: 1048577 bytes, at most 1048576")
    assert refused(codec.apply_config, pb.ApplyConfigRequest()) == (
        "text: is required: a whole configuration"
    )


def test_queries() -> None:
    nodes = pb.ListNodesRequest(status=pb.NODE_STATUS_DRAINING, page_size=7, page_token="n3")
    assert codec.node_query(nodes) == NodeQuery(
        status=NodeStatus.DRAINING, page=Page(size=7, after="n3")
    )
    instances = pb.ListInstancesRequest(state=pb.INSTANCE_STATE_RUNNING, pool_name="p")
    assert codec.instance_query(instances).state is InstanceState.RUNNING
    assert codec.instance_query(instances).pool == "p"
    assert codec.event_query(pb.ListEventsRequest()) == EventQuery(limit=100)
    assert codec.watch_query(pb.WatchEventsRequest(after_seq=-1)) == WatchQuery(after_seq=None)
    explain = pb.ExplainRequest(kind=pb.SUBJECT_KIND_POOL, id="p")
    assert codec.subject(explain) == Subject(SubjectKind.POOL, "p")


# --- what is refused -------------------------------------------------------------------------

LONG = "x" * 4097


@pytest.mark.parametrize(
    "request_, message",
    [
        (pb.HeartbeatRequest(), "node_id: is required"),
        (
            pb.HeartbeatRequest(node_id="a b"),
            "node_id: 'a b' is no id: 1 to 253 letters, digits and . _ : / - are allowed",
        ),
        (
            pb.HeartbeatRequest(node_id="n1", metrics=pb.NodeMetrics(cpu_usage_percent=math.nan)),
            "metrics.cpu_usage_percent: nan is no percentage",
        ),
        (
            pb.HeartbeatRequest(node_id="n1", timestamp=Timestamp(seconds=2**60)),
            "timestamp: is no time between the years 1 and 9999",
        ),
        (
            pb.HeartbeatRequest(
                node_id="n1", metrics=pb.NodeMetrics(gpu_metrics=[pb.GPUMetrics(), pb.GPUMetrics()])
            ),
            "metrics.gpu_metrics: has 2 entries for 1 GPUs",
        ),
        (
            pb.HeartbeatBatchRequest(
                heartbeats=[pb.HeartbeatRequest(node_id="n1"), pb.HeartbeatRequest()]
            ),
            "heartbeats[1].node_id: is required",
        ),
        (
            pb.RegisterNodeRequest(node_id="n1", gpus=[pb.GPUInfo(index=64)]),
            "gpus[0].index: 64 is not from 0 to 63",
        ),
        (
            pb.RegisterNodeRequest(node_id="n1", gpus=[pb.GPUInfo(memory_total=-1)]),
            "gpus[0].memory_total: -1 is less than 0",
        ),
        (
            pb.ReportHealthRequest(node_id="n1", events=[pb.HealthEvent(gpu_index=-2)]),
            "events[0].gpu_index: -2 is not from -1 to 63",
        ),
        (
            pb.HeartbeatBatchRequest(
                heartbeats=[
                    pb.HeartbeatRequest(
                        node_id="n1",
                        metrics=pb.NodeMetrics(gpu_metrics=[pb.GPUMetrics(memory_used=-5)]),
                    )
                ]
            ),
            "heartbeats[0].metrics.gpu_metrics[0].memory_used: -5 is less than 0",
        ),
        (
            pb.ReportHealthRequest(node_id="n1", results=[pb.HealthCheckResult()]),
            "results[0].check_name: is required",
        ),
        (
            pb.AckCommandRequest(node_id="n1", command_id="c"),
            "status: is required",
        ),
        (
            pb.IssueCommandRequest.FromString(b"\x0a\x02n1\x10\x57"),
            "command_type: 87 is not known here",
        ),
        (
            pb.ScalePoolRequest(pool_name="p", target_nodes=-1),
            "target_nodes: -1 is less than 0",
        ),
        (pb.ListNodesRequest(page_size=1001), "page_size: 1001 is more than 1000"),
        (pb.ListNodesRequest(page_token="?"), "page_token: '?' is no id"),
        (pb.ListEventsRequest(limit=-1), "limit: -1 is less than 0"),
        (pb.WatchEventsRequest(after_seq=-2), "after_seq: -2 is less than -1"),
        (pb.ExplainRequest(id="n1"), "kind: is required"),
    ],
    ids=str,
)
def test_a_refusal_names_the_field(request_: Message, message: str) -> None:
    assert refused(READERS[type(request_)], request_).startswith(message)


@pytest.mark.parametrize(
    "request_, limit, message",
    [
        (
            pb.RegisterNodeRequest(node_id="n1", zone=LONG),
            "string_bytes",
            "zone: 4097 bytes, at most 4096 allowed",
        ),
        (
            pb.RegisterNodeRequest(node_id="n1", gpus=[pb.GPUInfo()] * 65),
            "gpus",
            "gpus: 65 entries, at most 64 allowed",
        ),
        (
            pb.RegisterNodeRequest(
                node_id="n1", metadata=pb.NodeMetadata(labels={str(n): "" for n in range(65)})
            ),
            "labels",
            "metadata.labels: 65 entries, at most 64 allowed",
        ),
        (
            pb.IssueCommandRequest(
                node_id="n1", command_type=pb.NODE_COMMAND_TYPE_DRAIN, parameters={"k": LONG}
            ),
            "string_bytes",
            "parameters['k']: 4097 bytes, at most 4096 allowed",
        ),
        (
            pb.ReportHealthRequest(node_id="n1", events=[pb.HealthEvent()] * 1001),
            "events",
            "events: 1001 entries, at most 1000 allowed",
        ),
        (
            pb.HeartbeatBatchRequest(heartbeats=[pb.HeartbeatRequest()] * 10_001),
            "heartbeats",
            "heartbeats: 10001 entries, at most 10000 allowed",
        ),
    ],
    ids=["string", "gpus", "labels", "map value", "events", "heartbeats"],
)
def test_a_limit_names_itself(request_: Message, limit: str, message: str) -> None:
    with pytest.raises(LimitExceeded) as caught:
        READERS[type(request_)](request_)
    assert (caught.value.limit, caught.value.message) == (limit, message)


def test_exactly_a_limit_is_fine() -> None:
    request = pb.RegisterNodeRequest(
        node_id="n" * 253,
        zone="é" * 2048,
        gpus=[pb.GPUInfo(index=index) for index in range(64)],
        metadata=pb.NodeMetadata(labels={str(n): "" for n in range(64)}),
    )
    assert len(codec.register_node(request).gpus) == 64
    batch = pb.HeartbeatBatchRequest(heartbeats=[pb.HeartbeatRequest(node_id="n1")] * 10_000)
    assert len(codec.heartbeats(batch)) == 10_000


def test_every_method_with_a_body_worth_reading_has_a_reader() -> None:
    plain = {"GetNodeRequest", "GetInstanceRequest", "GetPoolRequest", "ListPoolsRequest"}
    plain.add("GetBootstrapLogRequest")
    inputs = {method.input_type.name for method in SERVICE.methods}
    assert {kind.__name__ for kind in READERS} == inputs - plain


def test_every_number_of_the_wire_has_a_word() -> None:
    for table, enum in (
        (words.NODE_STATUS_OF, pb.NodeStatus),
        (words.INSTANCE_STATE_OF, pb.InstanceState),
        (words.COMMAND_TYPE_OF, pb.NodeCommandType),
        (words.COMMAND_STATE_OF, pb.CommandStatus),
        (words.SUBJECT_KIND_OF, pb.SubjectKind),
        (words.WATCH_SYSTEM_OF, pb.HealthWatchSystem),
    ):
        assert set(table) == set(enum.values()) - {0}
    assert set(words.HEALTH_OF) == set(pb.HealthStatus.values())
    assert set(words.EVENT_TYPE_OF) == set(pb.HealthEventType.values())
