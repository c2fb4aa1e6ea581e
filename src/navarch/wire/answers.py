"""Values of the core become answers on the wire.

These functions decide nothing and leave nothing out: what operators see is what the core holds.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from google.protobuf.timestamp_pb2 import Timestamp

from navarch.core.model import events, messages
from navarch.core.model.command import Command
from navarch.core.model.gpu import GPU
from navarch.core.model.instance import Instance
from navarch.core.model.node import Contact, Metadata, Node, NodeStatus
from navarch.core.model.pool import Pool
from navarch.core.settings import Settings
from navarch.errors import WireError
from navarch.wire import words
from navarch.wire.generated import navarch_pb2 as pb


def refusal(refused: messages.Refused) -> WireError:
    """The error that tells a caller why the core refused its request."""
    return WireError(refused.code.value, refused.text)


# --- to agents -------------------------------------------------------------------------------


def registered(settings: Settings) -> pb.RegisterNodeResponse:
    """The answer to a registration: how to behave from now on."""
    return pb.RegisterNodeResponse(
        success=True,
        message="registered",
        config=pb.NodeConfig(
            health_check_interval_seconds=_seconds(settings.health_check_interval),
            heartbeat_interval_seconds=_seconds(settings.heartbeat_interval),
            enabled_health_checks=settings.enabled_health_checks,
        ),
    )


def heartbeat(accepted: messages.HeartbeatAccepted, settings: Settings) -> pb.HeartbeatResponse:
    """The answer to a heartbeat."""
    return pb.HeartbeatResponse(
        acknowledged=True,
        commands_pending=accepted.commands_pending,
        heartbeat_interval_seconds=_seconds(settings.heartbeat_interval),
    )


def heartbeat_batch(
    accepted: messages.HeartbeatBatchAccepted,
    unknown: Sequence[str],
    acknowledged: int,
    settings: Settings,
) -> pb.HeartbeatBatchResponse:
    """The answer to a batch; `unknown` are the nodes that must register, in the batch's order."""
    return pb.HeartbeatBatchResponse(
        acknowledged=acknowledged,
        unknown_node_ids=unknown,
        commands_pending_node_ids=accepted.commands_pending,
        heartbeat_interval_seconds=_seconds(settings.heartbeat_interval),
    )


def report_health(status: NodeStatus) -> pb.ReportHealthResponse:
    """The answer to a health report: the node's status after it."""
    return pb.ReportHealthResponse(acknowledged=True, node_status=words.NODE_STATUS[status])


def commands(handed: messages.CommandsHanded) -> pb.GetNodeCommandsResponse:
    """The answer to a poll."""
    return pb.GetNodeCommandsResponse(commands=[node_command(each) for each in handed.commands])


def node_command(command: Command) -> pb.NodeCommand:
    """A command, as the node has to know it."""
    return pb.NodeCommand(
        command_id=command.id,
        type=words.COMMAND_TYPE[command.type],
        parameters=command.parameters,
        issued_at=_stamp(command.issued_at),
    )


# --- to operators ----------------------------------------------------------------------------


def command_issued(accepted: messages.CommandAccepted) -> pb.IssueCommandResponse:
    """The answer to a command that was recorded."""
    return pb.IssueCommandResponse(
        command_id=accepted.command_id, issued_at=_stamp(accepted.issued_at)
    )


def node_info(node: Node, heard_at: datetime | None) -> pb.NodeInfo:
    """A node; `heard_at` is its last sign of life, None when there was none since the start."""
    return pb.NodeInfo(
        node_id=node.id,
        provider=node.provider,
        region=node.region,
        zone=node.zone,
        instance_type=node.instance_type,
        status=words.NODE_STATUS[node.status],
        health_status=words.HEALTH[node.health],
        last_heartbeat=_stamp(heard_at),
        gpus=[gpu_info(gpu) for gpu in node.gpus],
        metadata=node_metadata(node.metadata),
        pool=node.pool,
        phase=node.phase.value,
        intent=node.intent.value,
        contact=node.contact.value,
        because=node.because,
        instance_id=node.instance_id,
    )


def gpu_info(gpu: GPU) -> pb.GPUInfo:
    """A GPU, as its driver describes it."""
    return pb.GPUInfo(
        index=gpu.index,
        uuid=gpu.uuid,
        name=gpu.name,
        pci_bus_id=gpu.pci_bus_id,
        memory_total=gpu.memory_total,
        driver_version=gpu.driver_version,
        cuda_version=gpu.cuda_version,
    )


def node_metadata(metadata: Metadata) -> pb.NodeMetadata:
    """What an agent says about its host."""
    return pb.NodeMetadata(
        hostname=metadata.hostname,
        internal_ip=metadata.internal_ip,
        external_ip=metadata.external_ip,
        kernel_version=metadata.kernel_version,
        labels=metadata.labels,
    )


def instance_info(instance: Instance) -> pb.InstanceInfo:
    """An instance. Its node has the instance's id, once it has registered."""
    condemned = instance.live and instance.condemned
    return pb.InstanceInfo(
        instance_id=instance.id,
        provider=instance.provider,
        region=instance.region,
        zone=instance.zone,
        instance_type=instance.instance_type,
        state=words.INSTANCE_STATE[instance.state],
        pool_name=instance.pool,
        created_at=_stamp(instance.requested_at),
        ready_at=_stamp(instance.registered_at),
        terminated_at=_stamp(instance.ended_at),
        node_id=instance.id if instance.registered_at is not None else "",
        status_message=instance.condemned_because if condemned else instance.because,
        labels=instance.labels,
        provider_ref=instance.ref,
        public_ip=instance.public_ip,
        private_ip=instance.private_ip,
    )


def bootstrap_log(
    text: str, source: str, read_at: datetime | None, problem: str
) -> pb.GetBootstrapLogResponse:
    """What a start-up script told, who says so, and why it could not be read now."""
    return pb.GetBootstrapLogResponse(
        text=text, source=source, read_at=_stamp(read_at), problem=problem
    )


def pool_info(pool: Pool, members: Iterable[tuple[Instance, Node | None]]) -> pb.PoolInfo:
    """A pool with its counts, from its live instances and the node of each, None while it boots.

    Instances that are not live are left out of the counts. Cost: O(members).
    """
    spec = pool.spec
    live = [node for instance, node in members if instance.live]
    nodes = [node for node in live if node is not None]
    return pb.PoolInfo(
        name=spec.name,
        providers=list(dict.fromkeys(source.provider for source in pool.sources)),
        instance_type=spec.instance_type,
        region=spec.region,
        zones=spec.zones,
        min_nodes=spec.min_nodes,
        max_nodes=spec.max_nodes,
        target_nodes=pool.target,
        current_nodes=len(live),
        ready_nodes=sum(node.status is NodeStatus.ACTIVE for node in nodes),
        healthy_nodes=sum(node.serving for node in nodes),
        lost_nodes=sum(node.contact is Contact.LOST for node in nodes),
        booting_nodes=len(live) - len(nodes),
        paused=pool.paused,
        repair_paused=bool(pool.brake_because),
        because=_pool_because(pool, len(live)),
        labels=spec.labels,
    )


def _pool_because(pool: Pool, current: int) -> str:
    """What stands in the pool's way, the hardest first; else why its target is what it is."""
    if pool.paused:
        return pool.paused_because
    if pool.brake_because:
        return pool.brake_because
    return pool.failure if pool.failure and current < pool.target else pool.target_because


def event_info(seq: int, event: events.Event, text: str) -> pb.EventInfo:
    """A fact; `seq` is its place in the journal and `text` says it in one sentence."""
    return pb.EventInfo(
        seq=seq,
        at=_stamp(event.at),
        kind=events.kind(event),
        subjects=events.subjects(event),
        text=text,
        because=_because(event),
        payload=events.encode(event).decode(),
    )


def explain_fact(seq: int, event: events.Event, text: str) -> pb.ExplainFact:
    """A fact on which an explanation rests."""
    return pb.ExplainFact(
        seq=seq,
        at=_stamp(event.at),
        kind=events.kind(event),
        because=_because(event),
        text=text,
    )


def explanation(lines: Sequence[str], facts: Iterable[pb.ExplainFact]) -> pb.ExplainResponse:
    """An explanation: the answer first, then what it rests on."""
    return pb.ExplainResponse(lines=lines, facts=facts)


def _because(event: events.Event) -> str:
    """The reason that a decision carries; empty for what was merely observed."""
    return str(getattr(event, "because", ""))


def _stamp(moment: datetime | None) -> Timestamp | None:
    if moment is None:
        return None
    stamp = Timestamp()
    stamp.FromDatetime(moment)
    return stamp


def _seconds(interval: timedelta) -> int:
    """Whole seconds for an agent, at least one: for zero would mean "as before"."""
    return max(1, round(interval.total_seconds()))
