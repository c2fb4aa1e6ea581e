"""The facts: everything that was ever learned or decided, in the past tense.

Facts are what the journal holds, and they decode forever: a field is only ever added, with a
default, and a tag is never given a new meaning. Decisions may change freely; facts may not.

Each fact carries the moment it was taken (by our clock), and each decision its reason.
"""

from __future__ import annotations

from typing import Any

import msgspec

from navarch.core.model.events.base import Event
from navarch.core.model.events.commands import CommandDelivered, CommandFinished, CommandIssued
from navarch.core.model.events.fleet import FleetFounded, PolicyAdopted, RecordsForgotten, Resumed
from navarch.core.model.events.instances import (
    DrainBegun,
    InstanceCondemned,
    InstanceLaunched,
    InstanceReprieved,
    InstanceTerminated,
    InstanceVanished,
    LaunchCleared,
    LaunchFailed,
    LaunchRequested,
    LaunchUncertain,
    ReleaseRequested,
    ReleaseRevoked,
    TerminationAccepted,
    TerminationRequested,
)
from navarch.core.model.events.nodes import (
    HealthCleared,
    HealthJudged,
    HealthReported,
    IntentChanged,
    InterruptionNoticed,
    NodeDismissed,
    NodeEmptied,
    NodeHandedOver,
    NodeLost,
    NodeRegistered,
    NodeRetired,
    NodeReturned,
    RepairAdvanced,
    RepairEnded,
    RepairStarted,
    RepairWithheld,
    WorkloadRefused,
    WorkloadTelling,
    WorkloadTold,
)
from navarch.core.model.events.orphans import OrphanCondemned, OrphanRemoved
from navarch.core.model.events.pools import (
    PoolConfigured,
    PoolPaused,
    PoolRetired,
    PoolUnpaused,
    RepairAcknowledged,
    RepairContinued,
    RepairHalfOpened,
    RepairHalted,
    TargetChanged,
)
from navarch.core.model.events.serving import (
    ConditionChanged,
    ModelCached,
    ModelDropped,
    PluginChanged,
    ReplicaAdvanced,
    ReplicaBlocked,
    ReplicaDisplaced,
    ReplicaEnded,
    ReplicaPlaced,
    ReplicaRequested,
    ReplicasForgotten,
    ReplicaStopping,
    ReplicasWanted,
    ResourceApplied,
    ResourceDeleted,
)

__all__ = [
    "CommandDelivered",
    "CommandFact",
    "CommandFinished",
    "CommandIssued",
    "ConditionChanged",
    "DrainBegun",
    "Event",
    "Fact",
    "FleetFact",
    "FleetFounded",
    "HealthCleared",
    "HealthJudged",
    "HealthReported",
    "InstanceCondemned",
    "InstanceFact",
    "InstanceLaunched",
    "InstanceReprieved",
    "InstanceTerminated",
    "InstanceVanished",
    "IntentChanged",
    "InterruptionNoticed",
    "LaunchCleared",
    "LaunchFailed",
    "LaunchRequested",
    "LaunchUncertain",
    "ModelCached",
    "ModelDropped",
    "NodeDismissed",
    "NodeEmptied",
    "NodeFact",
    "NodeHandedOver",
    "NodeLost",
    "NodeRegistered",
    "NodeRetired",
    "NodeReturned",
    "OrphanCondemned",
    "OrphanRemoved",
    "PluginChanged",
    "PolicyAdopted",
    "PoolConfigured",
    "PoolFact",
    "PoolPaused",
    "PoolRetired",
    "PoolUnpaused",
    "RecordsForgotten",
    "ReleaseRequested",
    "ReleaseRevoked",
    "RepairAcknowledged",
    "RepairAdvanced",
    "RepairContinued",
    "RepairEnded",
    "RepairHalfOpened",
    "RepairHalted",
    "RepairStarted",
    "RepairWithheld",
    "ReplicaAdvanced",
    "ReplicaBlocked",
    "ReplicaDisplaced",
    "ReplicaEnded",
    "ReplicaPlaced",
    "ReplicaRequested",
    "ReplicaStopping",
    "ReplicasForgotten",
    "ReplicasWanted",
    "ResourceApplied",
    "ResourceDeleted",
    "Resumed",
    "ServingFact",
    "TargetChanged",
    "TerminationAccepted",
    "TerminationRequested",
    "WorkloadRefused",
    "WorkloadTelling",
    "WorkloadTold",
    "decode",
    "encode",
    "kind",
    "subjects",
]

PoolFact = (
    PoolConfigured
    | PoolRetired
    | TargetChanged
    | PoolPaused
    | PoolUnpaused
    | RepairHalted
    | RepairAcknowledged
    | RepairHalfOpened
    | RepairContinued
)
"""Facts about a pool."""

InstanceFact = (
    LaunchRequested
    | InstanceLaunched
    | LaunchFailed
    | LaunchUncertain
    | LaunchCleared
    | TerminationRequested
    | TerminationAccepted
    | InstanceTerminated
    | InstanceVanished
    | InstanceCondemned
    | InstanceReprieved
    | DrainBegun
    | ReleaseRequested
    | ReleaseRevoked
)
"""Facts about an instance."""

NodeFact = (
    NodeRegistered
    | NodeLost
    | NodeReturned
    | NodeDismissed
    | NodeRetired
    | IntentChanged
    | InterruptionNoticed
    | HealthReported
    | HealthJudged
    | HealthCleared
    | RepairStarted
    | RepairAdvanced
    | RepairEnded
    | RepairWithheld
    | NodeHandedOver
    | WorkloadTelling
    | WorkloadTold
    | WorkloadRefused
    | NodeEmptied
)
"""Facts about a node."""

CommandFact = CommandIssued | CommandDelivered | CommandFinished
"""Facts about a command."""

FleetFact = (
    FleetFounded | Resumed | PolicyAdopted | RecordsForgotten | OrphanCondemned | OrphanRemoved
)
"""Facts about the fleet as a whole, and about machines that are nobody's."""

ServingFact = (
    ResourceApplied
    | ResourceDeleted
    | ConditionChanged
    | ReplicasWanted
    | ReplicaRequested
    | ReplicaPlaced
    | ReplicaBlocked
    | ReplicaAdvanced
    | ReplicaDisplaced
    | ReplicaStopping
    | ReplicaEnded
    | ReplicasForgotten
    | ModelCached
    | ModelDropped
    | PluginChanged
)
"""Facts of the serving plane."""

Fact = FleetFact | PoolFact | InstanceFact | NodeFact | CommandFact | ServingFact
"""Every kind of fact there is."""

_encoder = msgspec.json.Encoder(order="deterministic")
_decoder: msgspec.json.Decoder[Fact] = msgspec.json.Decoder(Fact)


def encode(event: Event) -> bytes:
    """Write a fact as JSON; equal facts give equal bytes."""
    return _encoder.encode(event)


def decode(raw: bytes) -> Fact:
    """Read a fact.

    Raises `msgspec.DecodeError` when the bytes are no JSON, and its subclass
    `msgspec.ValidationError` when they are no fact.
    """
    return _decoder.decode(raw)


_SUBJECT_FIELDS = (
    "instance_id",
    "node_id",
    "command_id",
    "pool",
    "replica_id",
    "agent_pool",
    "model",
)


def kind(event: Event) -> str:
    """The tag under which a fact is journaled, such as ``node_lost``."""
    tag: Any = type(event).__struct_config__.tag
    return str(tag)


def subjects(event: Event) -> tuple[str, ...]:
    """The ids that a fact is about, without repeats; empty for one about the whole fleet.

    A node that we launched has its instance's id, so a look-up finds the facts of both.
    """
    match event:
        case RecordsForgotten():
            return (*event.instances, *event.nodes, *event.commands)
        case PoolConfigured():
            return (event.spec.name,)
        case ReplicasForgotten():
            return event.replicas
        case ResourceApplied():
            return (event.resource.full_name,)
        case ResourceDeleted() | ConditionChanged():
            return (event.name,)
        case PluginChanged():
            return (f"{event.plugin_kind}/{event.name}",)
        case OrphanCondemned() | OrphanRemoved():
            return (f"{event.provider}/{event.ref}",)
        case _:
            named = (getattr(event, name, "") for name in _SUBJECT_FIELDS)
            return tuple(dict.fromkeys(name for name in named if name))
