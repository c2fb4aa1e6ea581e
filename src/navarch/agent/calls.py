"""How an agent's requests look on the wire, and what the answers mean.

The form is the JSON mapping of protobuf, which `navarch.wire.client` speaks without protobuf:
camelCase names, 64-bit integers as text, enum values by name, zero fields may be left out. Texts
are cut to what a control plane accepts, so that a long kernel line cannot spoil its report.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple

import msgspec
from msgspec import Struct, field

from navarch.agent.turns import (
    AckAnswered,
    Answer,
    CommandsReceived,
    HealthAnswered,
    HeartbeatAnswered,
    Order,
    RegisterAnswered,
    Request,
)
from navarch.core.model.command import OUTPUT_BYTES_MAX
from navarch.core.model.gpu import GPU, GPUSample, NodeSample
from navarch.core.model.messages import (
    AckCommand,
    Heartbeat,
    PollCommands,
    RegisterNode,
    ReportHealth,
)
from navarch.core.model.node import Metadata
from navarch.core.model.replica import ModelSeen, NodeServing, ReplicaSeen
from navarch.core.model.report import CheckResult, HealthEvent
from navarch.errors import WireError

# Values are whatever JSON has, as the client takes and gives them.
Json = dict[str, Any]

TEXT_BYTES_MAX: Final = 1024
"""Bytes of a message in a health report or of a command's result.

The wire allows 4 KiB a text, but 500 events with that, escaped, would not fit its 4 MiB.
"""

SERVED_MAX: Final = 256
"""Replicas, and likewise models, of one heartbeat: the wire's rule."""


class Call(NamedTuple):
    """One call as the client makes it."""

    method: str
    body: Json


def encode(request: Request) -> Call:
    """Put a request into the form of the wire."""
    match request:
        case RegisterNode():
            return Call("RegisterNode", _registration(request))
        case Heartbeat():
            return Call("Heartbeat", _heartbeat(request))
        case ReportHealth():
            return Call("ReportHealth", _health_report(request))
        case PollCommands():
            return Call("PollCommands", {"nodeId": request.node_id})
        case AckCommand():
            return Call("AckCommand", _command_result(request))


def decode(request: Request, answer: Mapping[str, Any], *, call: int) -> Answer:
    """Read the answer to a request. Raises `WireError` (unknown) when it is not one."""
    try:
        match request:
            case RegisterNode():
                config = msgspec.convert(answer, _RegisterAnswer, strict=False).config
                return RegisterAnswered(
                    call,
                    heartbeat_interval=_interval(config.heartbeat_interval_seconds),
                    health_check_interval=_interval(config.health_check_interval_seconds),
                    enabled_checks=config.enabled_health_checks,
                )
            case Heartbeat():
                beat = msgspec.convert(answer, _HeartbeatAnswer, strict=False)
                interval = _interval(beat.heartbeat_interval_seconds)
                return HeartbeatAnswered(call, beat.commands_pending, interval)
            case ReportHealth():
                return HealthAnswered(call)
            case PollCommands():
                poll = msgspec.convert(answer, _PollAnswer, strict=False)
                return CommandsReceived(call, tuple(_order(command) for command in poll.commands))
            case AckCommand():
                return AckAnswered(call)
    except msgspec.ValidationError as error:
        text = f"the answer to {type(request).__name__} makes no sense: {error}"
        raise WireError("unknown", text) from error


# --- answers ---------------------------------------------------------------------------------


class _NodeConfig(Struct, rename="camel"):
    heartbeat_interval_seconds: int = 0
    health_check_interval_seconds: int = 0
    enabled_health_checks: tuple[str, ...] = ()


class _RegisterAnswer(Struct):
    config: _NodeConfig = field(default_factory=_NodeConfig)


class _HeartbeatAnswer(Struct, rename="camel"):
    commands_pending: bool = False
    heartbeat_interval_seconds: int = 0


class _Command(Struct, rename="camel"):
    command_id: str
    type: str | int = ""
    parameters: dict[str, str] = field(default_factory=dict)


class _PollAnswer(Struct):
    commands: tuple[_Command, ...] = ()


def _interval(seconds: int) -> timedelta | None:
    """Read an interval of the wire, where 0 means as before; no node lives a million seconds on."""
    return timedelta(seconds=min(seconds, 1_000_000)) if seconds > 0 else None


def _order(command: _Command) -> Order:
    word = str(command.type).removeprefix("NODE_COMMAND_TYPE_").lower()
    return Order(command.command_id, word, command.parameters)


# --- requests --------------------------------------------------------------------------------


def _registration(request: RegisterNode) -> Json:
    return {
        "nodeId": request.node_id,
        "provider": request.provider,
        "region": request.region,
        "zone": request.zone,
        "instanceType": request.instance_type,
        "gpus": [_gpu(gpu) for gpu in request.gpus],
        "metadata": _metadata(request.metadata),
    }


def _gpu(gpu: GPU) -> Json:
    return {
        "index": gpu.index,
        "uuid": gpu.uuid,
        "name": gpu.name,
        "pciBusId": gpu.pci_bus_id,
        "memoryTotal": str(gpu.memory_total),
        "driverVersion": gpu.driver_version,
        "cudaVersion": gpu.cuda_version,
    }


def _metadata(metadata: Metadata) -> Json:
    return {
        "hostname": metadata.hostname,
        "internalIp": metadata.internal_ip,
        "externalIp": metadata.external_ip,
        "kernelVersion": metadata.kernel_version,
        "labels": metadata.labels,
    }


def _heartbeat(request: Heartbeat) -> Json:
    body: Json = {"nodeId": request.node_id}
    if request.sent_at is not None:
        body["timestamp"] = _timestamp(request.sent_at)
    if request.sample is not None:
        body["metrics"] = _sample(request.sample)
    if request.serving is not None:
        body["serving"] = _serving(request.serving)
    return body


def _sample(sample: NodeSample) -> Json:
    return {
        "cpuUsagePercent": sample.cpu_percent,
        "memoryUsagePercent": sample.memory_percent,
        "gpuMetrics": [_gpu_sample(gpu) for gpu in sample.gpus],
    }


def _gpu_sample(gpu: GPUSample) -> Json:
    return {
        "gpuIndex": gpu.index,
        "temperature": gpu.temperature_celsius,
        "powerUsage": gpu.power_watts,
        "utilizationPercent": gpu.utilization_percent,
        "memoryUsed": str(gpu.memory_used),
    }


def _serving(serving: NodeServing) -> Json:
    """Name as much as a control plane takes; what is not named is not known to it."""
    return {
        "replicas": [_replica(each) for each in serving.replicas[:SERVED_MAX]],
        "models": [_model(each) for each in serving.models[:SERVED_MAX]],
    }


def _replica(replica: ReplicaSeen) -> Json:
    return {
        "replicaId": replica.id,
        "state": f"REPLICA_STATE_{replica.state.name}",
        "port": replica.port,
        "restarts": replica.restarts,
        "message": _head(replica.message),
    }


def _model(model: ModelSeen) -> Json:
    return {
        "model": model.model,
        "digest": model.digest,
        "bytesDone": str(model.bytes_done),
        "bytesTotal": str(model.bytes_total),
        "complete": model.complete,
        "problem": _head(model.problem),
        "bytesPerSecond": str(model.bytes_per_second),
    }


def _health_report(request: ReportHealth) -> Json:
    return {
        "nodeId": request.node_id,
        "results": [_check_result(result) for result in request.results],
        "events": [_health_event(event) for event in request.events],
    }


def _check_result(result: CheckResult) -> Json:
    body: Json = {
        "checkName": result.check_name,
        "status": f"HEALTH_STATUS_{result.status.name}",
        "message": _head(result.message),
        "details": {name: _head(text) for name, text in result.details.items()},
    }
    if result.at is not None:
        body["timestamp"] = _timestamp(result.at)
    return body


def _health_event(event: HealthEvent) -> Json:
    system = event.system.removeprefix("DCGM_HEALTH_WATCH_") or "UNKNOWN"
    body: Json = {
        "gpuIndex": event.gpu_index,
        "gpuUuid": event.gpu_uuid,
        "system": f"HEALTH_WATCH_SYSTEM_{system}",
        "eventType": f"HEALTH_EVENT_TYPE_{event.event_type.upper()}",
        "metrics": {name: str(value) for name, value in event.metrics.items()},
        "message": _head(event.message),
    }
    if event.count > 1:
        body["count"] = event.count
    if event.timestamp is not None:
        body["timestamp"] = _timestamp(event.timestamp)
    return body


def _command_result(request: AckCommand) -> Json:
    output = request.output.encode(errors="replace")[-OUTPUT_BYTES_MAX:]
    return {
        "nodeId": request.node_id,
        "commandId": request.command_id,
        "status": f"COMMAND_STATUS_{request.state.name}",
        "message": _head(request.message),
        "output": output.decode(errors="ignore"),
    }


def _head(text: str) -> str:
    """Keep as much of the beginning of a text as is allowed."""
    return text.encode(errors="replace")[:TEXT_BYTES_MAX].decode(errors="ignore")


def _timestamp(at: datetime) -> str:
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z")
