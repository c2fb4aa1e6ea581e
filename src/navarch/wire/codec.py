"""Requests on the wire become messages of the core.

What leaves a function of this module is valid: ids look like ids, counts and texts are within the
limits, numbers are numbers, times exist. So no later code checks again. Whatever a peer sends, a
function either returns or raises `WireError` with ``invalid_argument``, and the text of the error
begins with the name of the field.

Three choices worth knowing:

- An enum value that is unknown to us is read as "unknown" in reports, which may come from a newer
  agent, and refused where somebody wants something done.
- A percentage outside of 0 to 100 is moved to the nearer end: a rounding error of a sensor is no
  reason to ignore a sign of life. NaN and infinity are refused.
- Heartbeats come by the thousand, so a field of protobuf, which is slow to read, is read once, and
  the path to a field ("heartbeats[7].metrics...") is put together only when it is wrong: each
  function names what it reads, and `_each` and `_part` put the way there in front.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final, TypeVar

from google.protobuf.timestamp_pb2 import Timestamp

from navarch.core.model import messages
from navarch.core.model.gpu import GPU, GPUSample, NodeSample
from navarch.core.model.node import Metadata
from navarch.core.model.replica import ModelSeen, NodeServing, ReplicaSeen, ReplicaState
from navarch.core.model.report import CheckResult, Health, HealthEvent
from navarch.errors import WireError
from navarch.wire import words
from navarch.wire.generated import navarch_pb2 as pb
from navarch.wire.limits import (
    DEFAULT,
    Limits,
    check_count,
    check_id,
    check_map,
    check_text,
    inside,
    invalid,
    tail,
)
from navarch.wire.queries import (
    Configuration,
    EventQuery,
    InstanceQuery,
    NodeQuery,
    Page,
    Subject,
    WatchQuery,
)

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_SECONDS_MIN: Final = -62_135_596_800
"""The year 1, the first that both protobuf and Python know."""
_SECONDS_MAX: Final = 253_402_300_799
"""The end of the year 9999, the last one."""
_PORT_MAX: Final = 65_535
_EVENTS_LISTED: Final = 100
"""How many facts are listed when the caller does not say."""

_Word = TypeVar("_Word")
_Wire = TypeVar("_Wire")
_Value = TypeVar("_Value")

# --- from agents -----------------------------------------------------------------------------


def register_node(
    request: pb.RegisterNodeRequest, limits: Limits = DEFAULT
) -> messages.RegisterNode:
    """Read a registration. Raises `WireError`, also when two GPUs have one index."""
    check_count("gpus", request.gpus, "gpus", limits)
    gpus = _each("gpus", request.gpus, _gpu, limits)
    _check_distinct("gpus", gpus)
    return messages.RegisterNode(
        node_id=check_id("node_id", request.node_id),
        provider=check_text("provider", request.provider, limits),
        region=check_text("region", request.region, limits),
        zone=check_text("zone", request.zone, limits),
        instance_type=check_text("instance_type", request.instance_type, limits),
        gpus=gpus,
        metadata=_part("metadata", request.metadata, _metadata, limits),
    )


def heartbeat(request: pb.HeartbeatRequest, limits: Limits = DEFAULT) -> messages.Heartbeat:
    """Read a heartbeat. Raises `WireError`."""
    sample = None
    if request.HasField("metrics"):
        sample = _part("metrics", request.metrics, _sample, limits)
    sent_at = moment("timestamp", request.timestamp) if request.HasField("timestamp") else None
    serving = None
    if request.HasField("serving"):
        serving = _part("serving", request.serving, _serving, limits)
    return messages.Heartbeat(check_id("node_id", request.node_id), sample, sent_at, serving)


def heartbeats(
    request: pb.HeartbeatBatchRequest, limits: Limits = DEFAULT
) -> tuple[messages.Heartbeat, ...]:
    """Read a batch, in its order. One bad heartbeat spoils all. Raises `WireError`."""
    check_count("heartbeats", request.heartbeats, "heartbeats", limits)
    return _each("heartbeats", request.heartbeats, heartbeat, limits)


def report_health(
    request: pb.ReportHealthRequest, limits: Limits = DEFAULT
) -> messages.ReportHealth:
    """Read a health report. Raises `WireError`."""
    check_count("results", request.results, "events", limits)
    check_count("events", request.events, "events", limits)
    return messages.ReportHealth(
        node_id=check_id("node_id", request.node_id),
        results=_each("results", request.results, _check_result, limits),
        events=_each("events", request.events, _health_event, limits),
    )


def poll_commands(
    request: pb.GetNodeCommandsRequest, *, acknowledges: bool
) -> messages.PollCommands:
    """Read a poll; `acknowledges` tells PollCommands from GetNodeCommands. Raises `WireError`."""
    return messages.PollCommands(check_id("node_id", request.node_id), acknowledges)


def ack_command(request: pb.AckCommandRequest, limits: Limits = DEFAULT) -> messages.AckCommand:
    """Read the outcome of a command; of a long output the tail. Raises `WireError`."""
    return messages.AckCommand(
        node_id=check_id("node_id", request.node_id),
        command_id=check_id("command_id", request.command_id),
        state=_required("status", request.status, words.COMMAND_STATE_OF),
        message=check_text("message", request.message, limits),
        output=tail(request.output, limits),
    )


# --- from operators --------------------------------------------------------------------------


def issue_command(
    request: pb.IssueCommandRequest, limits: Limits = DEFAULT
) -> messages.IssueCommand:
    """Read a command for a node. Raises `WireError`."""
    return messages.IssueCommand(
        node_id=check_id("node_id", request.node_id),
        type=_required("command_type", request.command_type, words.COMMAND_TYPE_OF),
        parameters=check_map("parameters", request.parameters, limits),
        reason=check_text("reason", request.reason, limits),
    )


def scale_pool(request: pb.ScalePoolRequest, limits: Limits = DEFAULT) -> messages.ScalePool:
    """Read a wish for another target. Raises `WireError`, also when no target is given."""
    if not request.HasField("target_nodes"):
        raise invalid("target_nodes", "is required, also when it is 0")
    return messages.ScalePool(
        pool=check_id("pool_name", request.pool_name),
        target=_at_least("target_nodes", request.target_nodes, 0),
        reason=check_text("reason", request.reason, limits),
    )


def pause_pool(request: pb.PausePoolRequest, limits: Limits = DEFAULT) -> messages.PausePool:
    """Read a wish to stop a pool or to let it go on. Raises `WireError`, also without `paused`."""
    if not request.HasField("paused"):
        raise invalid("paused", "is required: true stops the pool, false lets it go on")
    return messages.PausePool(
        pool=check_id("pool_name", request.pool_name),
        paused=request.paused,
        reason=check_text("reason", request.reason, limits),
    )


def clear_health(request: pb.ClearHealthRequest, limits: Limits = DEFAULT) -> messages.ClearHealth:
    """Read a wish to set aside what stands against a node. Raises `WireError`."""
    return messages.ClearHealth(
        node_id=check_id("node_id", request.node_id),
        reason=check_text("reason", request.reason, limits),
    )


def apply_config(request: pb.ApplyConfigRequest, limits: Limits = DEFAULT) -> Configuration:
    """Read a configuration to use from now on. Raises `WireError`, also when it is empty."""
    if not request.text:
        raise invalid("text", "is required: a whole configuration")
    return Configuration(
        text=check_text("text", request.text, limits, "config_bytes"),
        source=check_text("source", request.source, limits) or "the configuration",
    )


def node_query(request: pb.ListNodesRequest, limits: Limits = DEFAULT) -> NodeQuery:
    """Read which nodes to list. Raises `WireError`."""
    return NodeQuery(
        provider=check_text("provider", request.provider, limits),
        region=check_text("region", request.region, limits),
        status=_wanted("status", request.status, words.NODE_STATUS_OF),
        pool=check_text("pool", request.pool, limits),
        page=page(request.page_size, request.page_token, limits),
    )


def instance_query(request: pb.ListInstancesRequest, limits: Limits = DEFAULT) -> InstanceQuery:
    """Read which instances to list. Raises `WireError`."""
    return InstanceQuery(
        provider=check_text("provider", request.provider, limits),
        region=check_text("region", request.region, limits),
        state=_wanted("state", request.state, words.INSTANCE_STATE_OF),
        pool=check_text("pool_name", request.pool_name, limits),
        page=page(request.page_size, request.page_token, limits),
    )


def event_query(request: pb.ListEventsRequest, limits: Limits = DEFAULT) -> EventQuery:
    """Read which facts to list. Raises `WireError`."""
    limit = _at_least("limit", request.limit, 0) or _EVENTS_LISTED
    if limit > limits.page_size:
        raise invalid("limit", f"{limit} is more than {limits.page_size}")
    return EventQuery(
        after_seq=_at_least("after_seq", request.after_seq, 0),
        limit=limit,
        subject=check_text("subject", request.subject, limits),
        since=moment("since", request.since) if request.HasField("since") else None,
        newest_first=request.newest_first,
    )


def watch_query(request: pb.WatchEventsRequest, limits: Limits = DEFAULT) -> WatchQuery:
    """Read which facts to follow. Raises `WireError`."""
    after_seq = _at_least("after_seq", request.after_seq, -1)
    return WatchQuery(
        after_seq=None if after_seq == -1 else after_seq,
        subject=check_text("subject", request.subject, limits),
    )


def subject(request: pb.ExplainRequest) -> Subject:
    """Read what to explain. Raises `WireError`."""
    kind = _required("kind", request.kind, words.SUBJECT_KIND_OF)
    return Subject(kind, check_id("id", request.id))


# --- parts -----------------------------------------------------------------------------------


def _part(
    field: str, wire: _Wire, read: Callable[[_Wire, Limits], _Value], limits: Limits
) -> _Value:
    """Read what is in a field. An error names the whole path."""
    try:
        return read(wire, limits)
    except WireError as error:
        raise inside(field, error) from error


def _each(
    field: str, wires: Iterable[_Wire], read: Callable[[_Wire, Limits], _Value], limits: Limits
) -> tuple[_Value, ...]:
    """Read what is in a repeated field. An error names the whole path, with the position."""
    values: list[_Value] = []
    for wire in wires:
        try:
            values.append(read(wire, limits))
        except WireError as error:
            raise inside(f"{field}[{len(values)}]", error) from error
    return tuple(values)


def _gpu(gpu: pb.GPUInfo, limits: Limits) -> GPU:
    return GPU(
        index=_gpu_index("index", gpu.index, 0, limits),
        uuid=check_text("uuid", gpu.uuid, limits),
        name=check_text("name", gpu.name, limits),
        pci_bus_id=check_text("pci_bus_id", gpu.pci_bus_id, limits),
        memory_total=_at_least("memory_total", gpu.memory_total, 0),
        driver_version=check_text("driver_version", gpu.driver_version, limits),
        cuda_version=check_text("cuda_version", gpu.cuda_version, limits),
    )


def _metadata(metadata: pb.NodeMetadata, limits: Limits) -> Metadata:
    return Metadata(
        hostname=check_text("hostname", metadata.hostname, limits),
        internal_ip=check_text("internal_ip", metadata.internal_ip, limits),
        external_ip=check_text("external_ip", metadata.external_ip, limits),
        kernel_version=check_text("kernel_version", metadata.kernel_version, limits),
        labels=check_map("labels", metadata.labels, limits),
    )


def _sample(metrics: pb.NodeMetrics, limits: Limits) -> NodeSample:
    read = metrics.gpu_metrics
    check_count("gpu_metrics", read, "gpus", limits)
    gpus = _each("gpu_metrics", read, _gpu_sample, limits)
    _check_distinct("gpu_metrics", gpus)
    return NodeSample(
        cpu_percent=_percent("cpu_usage_percent", metrics.cpu_usage_percent),
        memory_percent=_percent("memory_usage_percent", metrics.memory_usage_percent),
        gpus=gpus,
    )


def _gpu_sample(gpu: pb.GPUMetrics, limits: Limits) -> GPUSample:
    return GPUSample(
        _gpu_index("gpu_index", gpu.gpu_index, 0, limits),
        gpu.temperature,
        gpu.power_usage,
        _percent("utilization_percent", gpu.utilization_percent),
        _at_least("memory_used", gpu.memory_used, 0),
    )


def _serving(serving: pb.NodeServing, limits: Limits) -> NodeServing:
    check_count("replicas", serving.replicas, "replicas", limits)
    check_count("models", serving.models, "models", limits)
    replicas = _each("replicas", serving.replicas, _replica, limits)
    models = _each("models", serving.models, _model, limits)
    if len({replica.id for replica in replicas}) < len(replicas):
        raise invalid("replicas", "names a replica twice")
    if len({model.model for model in models}) < len(models):
        raise invalid("models", "names a model twice")
    return NodeServing(replicas, models)


def _replica(replica: pb.ReplicaStatus, limits: Limits) -> ReplicaSeen:
    if not 0 <= replica.port <= _PORT_MAX:
        raise invalid("port", f"{replica.port} is not from 0 to {_PORT_MAX}")
    return ReplicaSeen(
        id=check_id("replica_id", replica.replica_id),
        # A newer agent may know a state that we do not: it has a place and is not ready.
        state=words.REPLICA_STATE_OF.get(replica.state, ReplicaState.STARTING),
        port=replica.port,
        restarts=_at_least("restarts", replica.restarts, 0),
        message=check_text("message", replica.message, limits),
    )


def _model(model: pb.ModelStatus, limits: Limits) -> ModelSeen:
    return ModelSeen(
        model=check_id("model", model.model),
        digest=check_text("digest", model.digest, limits),
        bytes_done=_at_least("bytes_done", model.bytes_done, 0),
        bytes_total=_at_least("bytes_total", model.bytes_total, 0),
        complete=model.complete,
        problem=check_text("problem", model.problem, limits),
        bytes_per_second=_at_least("bytes_per_second", model.bytes_per_second, 0),
    )


def _check_result(result: pb.HealthCheckResult, limits: Limits) -> CheckResult:
    if not result.check_name:
        raise invalid("check_name", "is required")
    return CheckResult(
        check_name=check_text("check_name", result.check_name, limits),
        status=words.HEALTH_OF.get(result.status, Health.UNKNOWN),
        message=check_text("message", result.message, limits),
        at=moment("timestamp", result.timestamp) if result.HasField("timestamp") else None,
        details=check_map("details", result.details, limits),
    )


def _health_event(event: pb.HealthEvent, limits: Limits) -> HealthEvent:
    return HealthEvent(
        event_type=words.EVENT_TYPE_OF.get(event.event_type, "unknown"),
        gpu_index=_gpu_index("gpu_index", event.gpu_index, -1, limits),
        gpu_uuid=check_text("gpu_uuid", event.gpu_uuid, limits),
        system=words.WATCH_SYSTEM_OF.get(event.system, ""),
        metrics={**check_map("metrics", event.metrics, limits)},
        message=check_text("message", event.message, limits),
        timestamp=moment("timestamp", event.timestamp) if event.HasField("timestamp") else None,
        count=max(event.count, 1),
    )


def page(size: int, token: str, limits: Limits) -> Page:
    """Read which part of a listing is wanted. Raises `WireError`."""
    if _at_least("page_size", size, 0) > limits.page_size:
        raise invalid("page_size", f"{size} is more than {limits.page_size}")
    return Page(size=size, after=check_id("page_token", token) if token else "")


# --- single values ---------------------------------------------------------------------------


def moment(field: str, stamp: Timestamp) -> datetime:
    """Read a time, cut to microseconds, the finest that Python knows. Raises `WireError`."""
    seconds, nanos = stamp.seconds, stamp.nanos
    if not (_SECONDS_MIN <= seconds <= _SECONDS_MAX and 0 <= nanos <= 999_999_999):
        raise invalid(field, "is no time between the years 1 and 9999")
    return _EPOCH + timedelta(seconds=seconds, microseconds=nanos // 1000)


def _percent(field: str, value: float) -> float:
    if 0.0 <= value <= 100.0:
        return value
    if not math.isfinite(value):
        raise invalid(field, f"{value} is no percentage")
    return 0.0 if value < 0.0 else 100.0


def _at_least(field: str, value: int, least: int) -> int:
    if value < least:
        raise invalid(field, f"{value} is less than {least}")
    return value


def _gpu_index(field: str, index: int, least: int, limits: Limits) -> int:
    if not least <= index < limits.gpus:
        raise invalid(field, f"{index} is not from {least} to {limits.gpus - 1}")
    return index


def _check_distinct(field: str, gpus: Sequence[GPU | GPUSample]) -> None:
    seen = {gpu.index for gpu in gpus}
    if len(seen) < len(gpus):
        raise invalid(field, f"has {len(gpus)} entries for {len(seen)} GPUs")


def _wanted(field: str, number: int, known: Mapping[int, _Word]) -> _Word | None:
    """The word that a filter asks for; None when it does not filter."""
    return _required(field, number, known) if number else None


def _required(field: str, number: int, known: Mapping[int, _Word]) -> _Word:
    if not number:
        raise invalid(field, "is required")
    word = known.get(number)
    if word is None:
        raise invalid(field, f"{number} is not known here")
    return word
