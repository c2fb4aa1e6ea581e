"""What an agent sends is what the control plane reads, and the other way round."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest
from google.protobuf import json_format
from google.protobuf.message import Message

from navarch.agent import calls
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
from navarch.core.model.command import OUTPUT_BYTES_MAX, CommandState
from navarch.core.model.gpu import GPU, GPUSample, NodeSample
from navarch.core.model.messages import (
    AckCommand,
    Heartbeat,
    PollCommands,
    RegisterNode,
    ReportHealth,
)
from navarch.core.model.node import Metadata
from navarch.core.model.replica import ModelSeen, NodeServing, ReplicaSeen, ReplicaState
from navarch.core.model.report import CheckResult, Health, HealthEvent
from navarch.errors import WireError
from navarch.wire import codec
from navarch.wire.generated import navarch_pb2 as pb

NOW = datetime(2026, 1, 31, 12, 0, 0, 250_000, tzinfo=UTC)
METADATA = Metadata("host", "10.0.0.1", "1.2.3.4", "6.1.0", {"navarch.dev/pool": "training"})
GPUS = (GPU(0, "GPU-1", "H100", "0000:10:00.0", 80 * 1024**3, "570.1", "12.8"),)
SAMPLE = NodeSample(12.5, 30.0, (GPUSample(0, 41, 370, 50.5, 40 * 1024**3),))
RESULT = CheckResult("nvml", Health.DEGRADED, "hot", NOW, {"sensors": "injected"})
EVENT = HealthEvent(
    "ecc_dbe", 3, "GPU-4", "DCGM_HEALTH_WATCH_MEM", {"ecc_dbe_count": "2"}, "bad", NOW
)

READ: dict[str, tuple[type[Message], Callable[[Any], object]]] = {
    "RegisterNode": (pb.RegisterNodeRequest, codec.register_node),
    "Heartbeat": (pb.HeartbeatRequest, codec.heartbeat),
    "ReportHealth": (pb.ReportHealthRequest, codec.report_health),
    "PollCommands": (
        pb.GetNodeCommandsRequest,
        partial(codec.poll_commands, acknowledges=True),
    ),
    "AckCommand": (pb.AckCommandRequest, codec.ack_command),
}


SERVING = NodeServing(
    (
        ReplicaSeen("chat-1", ReplicaState.READY, 8000, 2, "it answers"),
        ReplicaSeen("chat-2", ReplicaState.STARTING),
    ),
    (ModelSeen("default/llama", "sha256:1", 2**40, 2**41, problem="no room", bytes_per_second=9),),
)


def as_received(request: Request) -> object:
    """Send a request the way it travels, and read it with the control plane's own reader."""
    method, body = calls.encode(request)
    kind, read = READ[method]
    return read(json_format.Parse(json.dumps(body), kind()))


@pytest.mark.parametrize(
    "request_sent",
    [
        RegisterNode("n1", "fake", "us-west-2", "a", "h100-8x", GPUS, METADATA),
        RegisterNode("n1"),
        Heartbeat("n1", SAMPLE, NOW),
        Heartbeat("n1", serving=NodeServing()),
        Heartbeat("n1", serving=SERVING),
        Heartbeat("n1"),
        ReportHealth("n1", (RESULT,), (EVENT, HealthEvent("xid"))),
        ReportHealth("n1", (CheckResult("boot"),)),
        PollCommands("n1"),
        AckCommand("n1", "c1", CommandState.FAILED, "no", "output\n"),
    ],
    ids=lambda request: type(request).__name__,
)
def test_the_control_plane_reads_what_was_meant(request_sent: Request) -> None:
    assert as_received(request_sent) == request_sent


def test_long_texts_are_cut_to_what_is_accepted() -> None:
    long = "é" * 10_000
    report = as_received(ReportHealth("n1", (CheckResult("boot", message=long),)))
    assert isinstance(report, ReportHealth)
    assert report.results[0].message == "é" * (calls.TEXT_BYTES_MAX // 2)
    result = as_received(AckCommand("n1", "c1", CommandState.FAILED, long, f"x{long * 10}"))
    assert isinstance(result, AckCommand)
    assert result.output == "é" * (OUTPUT_BYTES_MAX // 2)


def test_an_event_that_stands_for_many_says_so() -> None:
    report = as_received(ReportHealth("n1", (), (HealthEvent("xid", message="m", count=7),)))
    assert isinstance(report, ReportHealth)
    assert (report.events[0].count, report.events[0].message) == (7, "m")


CONFIG = {"heartbeatIntervalSeconds": 2, "healthCheckIntervalSeconds": "60"}


@pytest.mark.parametrize(
    "request_sent, answer, expected",
    [
        (
            RegisterNode("n1"),
            {"success": True, "config": {**CONFIG, "enabledHealthChecks": ["nvml"]}},
            RegisterAnswered(7, timedelta(seconds=2), timedelta(seconds=60), ("nvml",)),
        ),
        (RegisterNode("n1"), {}, RegisterAnswered(7)),
        (RegisterNode("n1"), {"config": {"heartbeatIntervalSeconds": -5}}, RegisterAnswered(7)),
        (Heartbeat("n1"), {"acknowledged": True}, HeartbeatAnswered(7)),
        (
            Heartbeat("n1"),
            {"commandsPending": True, "heartbeatIntervalSeconds": 9, "new": [1]},
            HeartbeatAnswered(7, commands_pending=True, heartbeat_interval=timedelta(seconds=9)),
        ),
        (ReportHealth("n1"), {"acknowledged": True}, HealthAnswered(7)),
        (PollCommands("n1"), {}, CommandsReceived(7)),
        (
            PollCommands("n1"),
            {
                "commands": [
                    {"commandId": "c1", "type": "NODE_COMMAND_TYPE_RUN_DIAGNOSTIC"},
                    {"commandId": "c2", "type": 999, "parameters": {"level": "3"}},
                ]
            },
            CommandsReceived(
                7, (Order("c1", "run_diagnostic"), Order("c2", "999", {"level": "3"}))
            ),
        ),
        (AckCommand("n1", "c1", CommandState.FAILED), {}, AckAnswered(7)),
    ],
)
def test_answers_are_read(request_sent: Request, answer: calls.Json, expected: Answer) -> None:
    assert calls.decode(request_sent, answer, call=7) == expected


@pytest.mark.parametrize(
    "request_sent, answer",
    [
        (RegisterNode("n1"), {"config": {"heartbeatIntervalSeconds": "soon"}}),
        (RegisterNode("n1"), {"config": [1]}),
        (Heartbeat("n1"), {"commandsPending": {}}),
        (PollCommands("n1"), {"commands": [{"type": "NODE_COMMAND_TYPE_CORDON"}]}),
        (PollCommands("n1"), {"commands": "all"}),
    ],
)
def test_an_answer_without_sense_is_an_error(request_sent: Request, answer: calls.Json) -> None:
    with pytest.raises(WireError, match="makes no sense"):
        calls.decode(request_sent, answer, call=7)
