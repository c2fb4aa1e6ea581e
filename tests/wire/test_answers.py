"""What operators and agents see of the core's values."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import msgspec

from navarch.core.model import events, messages
from navarch.core.model.command import Command, CommandType
from navarch.core.model.gpu import GPU
from navarch.core.model.instance import Instance, InstanceState
from navarch.core.model.node import Contact, Intent, Metadata, Node
from navarch.core.model.pool import Pool, PoolSpec
from navarch.core.model.report import Health
from navarch.core.settings import Settings
from navarch.wire import answers
from navarch.wire.asgi import JsonCodec
from navarch.wire.generated import navarch_pb2 as pb

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
NODE = Node(
    id="p-1",
    registered_at=NOON,
    heard_at=NOON,
    provider="fake",
    pool="p",
    instance_id="p-1",
    gpus=(GPU(0, uuid="GPU-0", memory_total=2**36),),
    metadata=Metadata(hostname="h", labels={"a": "b"}),
    intent=Intent.CORDONED,
    health=Health.DEGRADED,
    because="cordoned by ops",
)
INSTANCE = Instance(
    id="p-1", pool="p", provider="fake", state=InstanceState.RUNNING, requested_at=NOON,
    because="its agent registered", ref="i-42", registered_at=NOON,
)  # fmt: skip


def shown(message: object) -> object:
    return msgspec.json.decode(JsonCodec().encode(message))  # type: ignore[arg-type]  # a message


def test_a_node() -> None:
    assert shown(answers.node_info(NODE, NOON)) == {
        "nodeId": "p-1",
        "provider": "fake",
        "status": "NODE_STATUS_CORDONED",
        "healthStatus": "HEALTH_STATUS_DEGRADED",
        "lastHeartbeat": "2026-03-01T12:00:00Z",
        "gpus": [{"uuid": "GPU-0", "memoryTotal": "68719476736"}],
        "metadata": {"hostname": "h", "labels": {"a": "b"}},
        "pool": "p",
        "phase": "active",
        "intent": "cordoned",
        "contact": "connected",
        "because": "cordoned by ops",
        "instanceId": "p-1",
    }


def test_a_node_that_was_not_heard_has_no_last_heartbeat() -> None:
    assert not answers.node_info(NODE, None).HasField("last_heartbeat")


def test_an_instance() -> None:
    assert shown(answers.instance_info(INSTANCE)) == {
        "instanceId": "p-1",
        "provider": "fake",
        "state": "INSTANCE_STATE_RUNNING",
        "poolName": "p",
        "createdAt": "2026-03-01T12:00:00Z",
        "readyAt": "2026-03-01T12:00:00Z",
        "nodeId": "p-1",
        "statusMessage": "its agent registered",
        "providerRef": "i-42",
    }


def test_an_instance_that_is_being_replaced_says_why() -> None:
    condemned = msgspec.structs.replace(
        INSTANCE, condemned_at=NOON, condemned_because="silent for 90 s"
    )
    assert answers.instance_info(condemned).status_message == "silent for 90 s"
    ended = msgspec.structs.replace(condemned, state=InstanceState.TERMINATED, because="gone")
    assert answers.instance_info(ended).status_message == "gone"


def test_an_instance_that_never_registered_has_no_node() -> None:
    booting = msgspec.structs.replace(INSTANCE, registered_at=None)
    assert answers.instance_info(booting).node_id == ""


def member(number: int, node: Node | None, **changes: object) -> tuple[Instance, Node | None]:
    return msgspec.structs.replace(INSTANCE, id=f"p-{number}", **changes), node


def test_a_pool_counts_what_is_wanted() -> None:
    plain = msgspec.structs.replace(NODE, intent=Intent.IN_SERVICE)
    sick = msgspec.structs.replace(plain, health=Health.UNHEALTHY)
    lost = msgspec.structs.replace(plain, contact=Contact.LOST)
    pool = Pool(PoolSpec("p", "fake", min_nodes=1, max_nodes=9), target=5, target_because="min")
    info = answers.pool_info(
        pool,
        [
            member(1, plain),
            member(2, NODE),
            member(3, sick),
            member(4, lost),
            member(5, None, state=InstanceState.PROVISIONING),
            member(6, None, state=InstanceState.TERMINATED),
        ],
    )
    assert shown(info) == {
        "name": "p",
        "providers": ["fake"],
        "minNodes": 1,
        "maxNodes": 9,
        "targetNodes": 5,
        "currentNodes": 5,
        "readyNodes": 1,
        "healthyNodes": 2,
        "lostNodes": 1,
        "bootingNodes": 1,
        "because": "min",
    }


def test_a_pool_says_what_stands_in_its_way() -> None:
    pool = Pool(PoolSpec("p", "fake"), target=1, target_because="min", failure="no capacity")
    assert answers.pool_info(pool, []).because == "no capacity"
    braked = msgspec.structs.replace(pool, brake_because="5 of 6 silent")
    assert answers.pool_info(braked, []).because == "5 of 6 silent"
    assert answers.pool_info(braked, []).repair_paused
    paused = msgspec.structs.replace(braked, paused=True, paused_because="ops: moving")
    assert answers.pool_info(paused, []).because == "ops: moving"


def test_a_fact() -> None:
    fact = events.NodeLost(at=NOON, node_id="p-1", because="silent for 90 s")
    info = answers.event_info(7, fact, "p-1 is lost")
    assert shown(info) == {
        "seq": "7",
        "at": "2026-03-01T12:00:00Z",
        "kind": "node_lost",
        "subjects": ["p-1"],
        "text": "p-1 is lost",
        "because": "silent for 90 s",
        "payload": events.encode(fact).decode(),
    }
    assert events.decode(info.payload.encode()) == fact
    assert answers.explain_fact(7, fact, "p-1 is lost").because == "silent for 90 s"


def test_a_fact_that_was_only_observed_has_no_reason() -> None:
    fact = events.FleetFounded(at=NOON, tag="k3f9")
    assert answers.event_info(1, fact, "").because == ""


def test_answers_to_agents() -> None:
    settings = Settings(heartbeat_interval=timedelta(seconds=2))
    assert shown(answers.registered(settings)) == {
        "success": True,
        "message": "registered",
        "config": {
            "healthCheckIntervalSeconds": 60,
            "heartbeatIntervalSeconds": 2,
            "enabledHealthChecks": ["boot", "nvml", "xid"],
        },
    }
    pending = messages.HeartbeatAccepted(commands_pending=True)
    assert shown(answers.heartbeat(pending, settings)) == {
        "acknowledged": True,
        "commandsPending": True,
        "heartbeatIntervalSeconds": 2,
    }
    assert answers.report_health(NODE.status).node_status == pb.NODE_STATUS_CORDONED


def test_an_interval_below_a_second_is_told_as_one() -> None:
    hasty = Settings(heartbeat_interval=timedelta(milliseconds=100))
    assert answers.registered(hasty).config.heartbeat_interval_seconds == 1


def test_commands() -> None:
    command = Command(
        id="cmd-1", node_id="p-1", type=CommandType.DRAIN, issued_at=NOON, expires_at=NOON,
        parameters={"grace": "5m"},
    )  # fmt: skip
    assert shown(answers.commands(messages.CommandsHanded((command,)))) == {
        "commands": [
            {
                "commandId": "cmd-1",
                "type": "NODE_COMMAND_TYPE_DRAIN",
                "parameters": {"grace": "5m"},
                "issuedAt": "2026-03-01T12:00:00Z",
            }
        ]
    }
    issued = messages.CommandAccepted("cmd-1", NOON)
    assert shown(answers.command_issued(issued)) == {
        "commandId": "cmd-1",
        "issuedAt": "2026-03-01T12:00:00Z",
    }


def test_a_refusal_keeps_code_and_words() -> None:
    refused = messages.Refused(messages.Refusal.NOT_FOUND, "node p-9 is not known")
    error = answers.refusal(refused)
    assert (error.code, error.message) == ("not_found", "node p-9 is not known")
