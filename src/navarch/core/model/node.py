"""A node: a machine whose agent has introduced itself.

What a node *is* has four independent axes. One word for all four is how an uncordon heals and a
registration un-drains; so the word that operators see is derived, never stored:

=========  =====================================  ==========================================
axis       values                                 who moves it
=========  =====================================  ==========================================
phase      active, leaving, terminating, ...      the life of its instance
health     unknown, healthy, degraded, unhealthy  verdicts over what the agent reported
intent     in_service, cordoned, draining, ...    operators, and nobody else
contact    connected, lost                        our own clock, by silence
=========  =====================================  ==========================================
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from msgspec import Struct, field

from navarch.core.model.gpu import GPU
from navarch.core.model.report import Health, HealthReport


class Phase(StrEnum):
    """Where the node is in its life."""

    ACTIVE = "active"
    LEAVING = "leaving"
    """It is drained because its pool shrinks; it may be called back."""
    TERMINATING = "terminating"
    TERMINATED = "terminated"


class Intent(StrEnum):
    """What operators want of the node."""

    IN_SERVICE = "in_service"
    CORDONED = "cordoned"
    DRAINING = "draining"
    DRAINED = "drained"


class Contact(StrEnum):
    """Whether we hear from the node."""

    CONNECTED = "connected"
    LOST = "lost"


class NodeStatus(StrEnum):
    """The one word shown to operators, derived from the four axes."""

    ACTIVE = "active"
    CORDONED = "cordoned"
    DRAINING = "draining"
    UNHEALTHY = "unhealthy"
    TERMINATED = "terminated"


class Metadata(Struct, frozen=True, omit_defaults=True):
    """What an agent says about its host."""

    hostname: str = ""
    internal_ip: str = ""
    external_ip: str = ""
    kernel_version: str = ""
    labels: dict[str, str] = field(default_factory=dict)


class Node(Struct, frozen=True, omit_defaults=True):
    """One registered machine."""

    id: str
    registered_at: datetime
    """When it first registered."""
    heard_at: datetime
    """When it last registered or came back: silence is counted from here or from a sighting."""
    provider: str = ""
    region: str = ""
    zone: str = ""
    instance_type: str = ""
    pool: str = ""
    """Empty for a node that belongs to no pool."""
    instance_id: str = ""
    """Empty for a machine that we did not launch."""
    gpus: tuple[GPU, ...] = ()
    metadata: Metadata = Metadata()
    phase: Phase = Phase.ACTIVE
    health: Health = Health.UNKNOWN
    intent: Intent = Intent.IN_SERVICE
    contact: Contact = Contact.CONNECTED
    because: str = ""
    """Why the axis that moved last is where it is."""
    lost_at: datetime | None = None
    """When it was declared lost; None while connected."""
    lost_because: str = ""
    """Why it was; empty while connected."""
    drained_at: datetime | None = None
    """When its agent last said that nothing runs there any more; None when something may."""
    ended_at: datetime | None = None
    """When its phase became terminated; None before."""
    report: HealthReport | None = None
    """The newest health report that told us anything; None before the first."""
    report_judged: bool = True
    """Whether a verdict over `report` has been given."""
    clean_reports: int = 0
    """Clean reports in a row since the last bad one."""

    @property
    def status(self) -> NodeStatus:
        """The operator's word: the gravest axis speaks."""
        if self.over:
            return NodeStatus.TERMINATED
        if self.health is Health.UNHEALTHY or self.contact is Contact.LOST:
            return NodeStatus.UNHEALTHY
        if self.phase is Phase.LEAVING:
            return NodeStatus.DRAINING
        match self.intent:
            case Intent.DRAINING:
                return NodeStatus.DRAINING
            case Intent.CORDONED | Intent.DRAINED:
                return NodeStatus.CORDONED
            case Intent.IN_SERVICE:
                return NodeStatus.ACTIVE

    @property
    def connected(self) -> bool:
        """Whether it is heard."""
        return self.contact is Contact.CONNECTED

    @property
    def over(self) -> bool:
        """Whether its end was asked for, or has come."""
        return self.phase in (Phase.TERMINATING, Phase.TERMINATED)

    @property
    def serving(self) -> bool:
        """Whether the node gives the capacity it was bought for."""
        return (
            self.phase is Phase.ACTIVE
            and self.contact is Contact.CONNECTED
            and self.health is not Health.UNHEALTHY
        )
