"""The facts: everything that was ever learned or decided, in the past tense.

Facts are what the journal holds, and they decode forever: a field is only ever added, with a
default, and a tag is never given a new meaning. Decisions may change freely; facts may not.

Each fact carries the moment it was taken (by our clock), and each decision its reason.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec
from msgspec import Struct, field

from navarch.core.model.command import CommandState, CommandType
from navarch.core.model.gpu import GPU
from navarch.core.model.node import Intent, Metadata
from navarch.core.model.pool import PoolSpec
from navarch.core.model.report import CheckResult, Health, HealthEvent


class Event(Struct, frozen=True, tag_field="kind", omit_defaults=True):
    """What all facts have: the moment, by the clock of the control plane that took them."""

    at: datetime


# --- the fleet and its control plane ---------------------------------------------------------


class FleetFounded(Event, frozen=True, tag="fleet_founded"):
    """The journal was begun; from now on ids carry this tag."""

    tag: str


class Resumed(Event, frozen=True, tag="resumed"):
    """A control plane took up the journal. Every silence is counted anew from here."""

    version: str
    holder: str = ""


class RecordsForgotten(Event, frozen=True, tag="records_forgotten"):
    """Ended records were kept long enough and left the fleet's memory; their facts stay."""

    because: str
    instances: tuple[str, ...] = ()
    nodes: tuple[str, ...] = ()
    commands: tuple[str, ...] = ()


# --- pools -----------------------------------------------------------------------------------


class PoolConfigured(Event, frozen=True, tag="pool_configured"):
    """The configuration has this pool, like so."""

    spec: PoolSpec


class PoolRetired(Event, frozen=True, tag="pool_retired"):
    """The configuration has this pool no longer."""

    pool: str
    because: str


class TargetChanged(Event, frozen=True, tag="target_changed"):
    """A pool wants another number of nodes."""

    pool: str
    target: int
    because: str


class PoolPaused(Event, frozen=True, tag="pool_paused"):
    """An operator stopped buying, repairing and scaling."""

    pool: str
    because: str


class PoolUnpaused(Event, frozen=True, tag="pool_unpaused"):
    """An operator let the pool go on."""

    pool: str
    because: str


class RepairHalted(Event, frozen=True, tag="repair_halted"):
    """Too much is silent at once: it is more likely our network than their hardware."""

    pool: str
    because: str


class RepairContinued(Event, frozen=True, tag="repair_continued"):
    """The silence ended; repair works again."""

    pool: str
    because: str


# --- instances -------------------------------------------------------------------------------


class LaunchRequested(Event, frozen=True, tag="launch_requested"):
    """A machine is wanted. From now on the provider is owed a launch under this id."""

    instance_id: str
    pool: str
    provider: str
    because: str
    instance_type: str = ""
    region: str = ""
    zone: str = ""
    labels: dict[str, str] = field(default_factory=dict)
    spot: bool = False


class InstanceLaunched(Event, frozen=True, tag="instance_launched"):
    """The provider has the machine, and this is what it calls it."""

    instance_id: str
    ref: str
    because: str
    public_ip: str = ""
    private_ip: str = ""
    region: str = ""
    zone: str = ""


class LaunchFailed(Event, frozen=True, tag="launch_failed"):
    """The provider refused, and surely made nothing."""

    instance_id: str
    failure: str
    """The kind of refusal, as a class name of the provider's errors."""
    because: str


class LaunchUncertain(Event, frozen=True, tag="launch_uncertain"):
    """The provider may or may not have made the machine."""

    instance_id: str
    because: str


class LaunchCleared(Event, frozen=True, tag="launch_cleared"):
    """The machine was looked up and does not exist: the launch may be repeated."""

    instance_id: str
    because: str


class TerminationRequested(Event, frozen=True, tag="termination_requested"):
    """The machine is not wanted any more. From now on the provider is owed its end."""

    instance_id: str
    because: str
    trouble: bool = False
    """Whether the launch counts as failed, and slows further launches of the pool down."""


class TerminationAccepted(Event, frozen=True, tag="termination_accepted"):
    """The provider agreed to end the machine, or does not know it any more."""

    instance_id: str
    because: str


class InstanceTerminated(Event, frozen=True, tag="instance_terminated"):
    """The machine is gone from the provider's list, as requested."""

    instance_id: str
    because: str


class InstanceVanished(Event, frozen=True, tag="instance_vanished"):
    """The machine is gone without our doing, by two witnesses."""

    instance_id: str
    because: str


class InstanceCondemned(Event, frozen=True, tag="instance_condemned"):
    """Repair will replace this machine: first buy, then end it."""

    instance_id: str
    because: str


class ReleaseRequested(Event, frozen=True, tag="release_requested"):
    """The machine is too many: it is drained, and ended when it is empty."""

    instance_id: str
    because: str


class ReleaseRevoked(Event, frozen=True, tag="release_revoked"):
    """The machine is wanted again before it was ended."""

    instance_id: str
    because: str


# --- machines that nobody owns ---------------------------------------------------------------


class OrphanCondemned(Event, frozen=True, tag="orphan_condemned"):
    """A machine carries our tag but belongs to no live instance, by two inventories."""

    provider: str
    ref: str
    because: str


class OrphanRemoved(Event, frozen=True, tag="orphan_removed"):
    """An orphan is gone from the provider's list."""

    provider: str
    ref: str
    because: str


# --- nodes -----------------------------------------------------------------------------------


class NodeRegistered(Event, frozen=True, tag="node_registered"):
    """An agent introduced its machine, or described it anew."""

    node_id: str
    provider: str = ""
    region: str = ""
    zone: str = ""
    instance_type: str = ""
    pool: str = ""
    instance_id: str = ""
    gpus: tuple[GPU, ...] = ()
    metadata: Metadata = Metadata()


class NodeLost(Event, frozen=True, tag="node_lost"):
    """A node was silent for too long, by our clock."""

    node_id: str
    because: str


class NodeReturned(Event, frozen=True, tag="node_returned"):
    """A lost node speaks again."""

    node_id: str
    because: str


class NodeDismissed(Event, frozen=True, tag="node_dismissed"):
    """A machine that we did not launch was told to end."""

    node_id: str
    because: str


class NodeRetired(Event, frozen=True, tag="node_retired"):
    """A machine that we did not launch was told to end, and has."""

    node_id: str
    because: str


class IntentChanged(Event, frozen=True, tag="intent_changed"):
    """An operator wants something else of a node, or a drain is finished."""

    node_id: str
    intent: Intent
    because: str


class HealthReported(Event, frozen=True, tag="health_reported"):
    """A node's report said something new."""

    node_id: str
    results: tuple[CheckResult, ...] = ()
    events: tuple[HealthEvent, ...] = ()


class HealthJudged(Event, frozen=True, tag="health_judged"):
    """The policy gave its verdict over a node's newest report."""

    node_id: str
    health: Health
    because: str


# --- commands --------------------------------------------------------------------------------


class CommandIssued(Event, frozen=True, tag="command_issued"):
    """An operator asked something of a node."""

    command_id: str
    node_id: str
    type: CommandType
    expires_at: datetime
    parameters: dict[str, str] = field(default_factory=dict)
    reason: str = ""


class CommandDelivered(Event, frozen=True, tag="command_delivered"):
    """The command was handed to the node's agent, for the first time."""

    command_id: str
    node_id: str
    acknowledges: bool = True


class CommandFinished(Event, frozen=True, tag="command_finished"):
    """The command has a result, or has progressed; `state` says which."""

    command_id: str
    node_id: str
    state: CommandState
    message: str = ""
    output: str = ""


PoolFact = (
    PoolConfigured
    | PoolRetired
    | TargetChanged
    | PoolPaused
    | PoolUnpaused
    | RepairHalted
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
    | HealthReported
    | HealthJudged
)
"""Facts about a node."""

CommandFact = CommandIssued | CommandDelivered | CommandFinished
"""Facts about a command."""

FleetFact = FleetFounded | Resumed | RecordsForgotten | OrphanCondemned | OrphanRemoved
"""Facts about the fleet as a whole, and about machines that are nobody's."""

Fact = FleetFact | PoolFact | InstanceFact | NodeFact | CommandFact
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


_SUBJECT_FIELDS = ("instance_id", "node_id", "command_id", "pool")


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
        case OrphanCondemned() | OrphanRemoved():
            return (f"{event.provider}/{event.ref}",)
        case _:
            named = (getattr(event, name, "") for name in _SUBJECT_FIELDS)
            return tuple(dict.fromkeys(name for name in named if name))
