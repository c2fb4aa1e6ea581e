"""Facts about nodes."""

from __future__ import annotations

from datetime import datetime

from navarch.core.model.events.base import Event
from navarch.core.model.finding import Finding, Remedy
from navarch.core.model.gpu import GPU
from navarch.core.model.ladder import Outcome, Stage, Told
from navarch.core.model.node import Intent, Metadata
from navarch.core.model.report import CheckResult, Health, HealthEvent


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


class InterruptionNoticed(Event, frozen=True, tag="interruption_noticed"):
    """Its provider will take the machine away: it is drained, and another is bought at once."""

    node_id: str
    because: str
    deadline: datetime | None = None
    """When it will be gone, by the provider's word; None: it did not say."""


class IntentChanged(Event, frozen=True, tag="intent_changed"):
    """An operator wants something else of a node, or a drain is finished."""

    node_id: str
    intent: Intent
    because: str
    wish: bool = True
    """Whether an operator wants it so; otherwise it follows from what the workload manager says."""


class HealthReported(Event, frozen=True, tag="health_reported"):
    """A node's report said something new."""

    node_id: str
    results: tuple[CheckResult, ...] = ()
    events: tuple[HealthEvent, ...] = ()
    first_number: int = 0
    """The number of the first event in the fleet, from 1; the others follow. 0: no events."""


class HealthJudged(Event, frozen=True, tag="health_judged"):
    """The policy gave its verdict over a node's newest report."""

    node_id: str
    health: Health
    because: str
    findings: tuple[Finding, ...] = ()
    """All that stands against the node now, and what was looked at and found harmless."""
    clean_reports: int = -1
    """Clean reports in a row; -1 in journals of version 0.1: as the report itself says."""
    bad_reports: int = 0
    """Reports in a row that confirm an unhealthy verdict."""
    policy: str = ""
    """The digest of the policy."""
    failed: tuple[str, ...] = ()
    """Rules that could not be evaluated, each as ``name: why``."""


class HealthCleared(Event, frozen=True, tag="health_cleared"):
    """An operator set aside everything that stood against a node."""

    node_id: str
    because: str


class RepairStarted(Event, frozen=True, tag="repair_started"):
    """A node is drained, to be repaired where it is."""

    node_id: str
    rung: Remedy
    because: str


class RepairAdvanced(Event, frozen=True, tag="repair_advanced"):
    """A repair has come one stage further."""

    node_id: str
    stage: Stage
    because: str
    command_id: str = ""
    gpu: str = ""
    """Which GPU is reset, by its index, or ``all``; empty: it is no reset, or was begun before."""


class RepairEnded(Event, frozen=True, tag="repair_ended"):
    """A repair has helped, has not, or was not needed any more."""

    node_id: str
    outcome: Outcome
    because: str


class RepairWithheld(Event, frozen=True, tag="repair_withheld"):
    """This would be done about a sick or lost node, were its pool not a dry run."""

    node_id: str
    rung: Remedy
    because: str


class NodeHandedOver(Event, frozen=True, tag="node_handed_over"):
    """Nothing that repair may do is left to try: a person has to look at the node."""

    node_id: str
    because: str


class WorkloadTelling(Event, frozen=True, tag="workload_telling"):
    """From now on the workload manager is owed this word about a node, and may have heard it."""

    node_id: str
    told: Told
    because: str


class WorkloadTold(Event, frozen=True, tag="workload_told"):
    """The workload manager knows what to do with the node, and has agreed."""

    node_id: str
    told: Told
    because: str


class WorkloadRefused(Event, frozen=True, tag="workload_refused"):
    """The workload manager does not do what it was told about the node."""

    node_id: str
    told: Told
    because: str


class NodeEmptied(Event, frozen=True, tag="node_emptied"):
    """The workload manager says that nothing runs on the node any more."""

    node_id: str
    because: str
