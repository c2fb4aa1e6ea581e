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

from navarch.core.model.finding import Finding, Tally
from navarch.core.model.gpu import GPU
from navarch.core.model.ladder import Attempt, Outcome, Repair, Stage, Told
from navarch.core.model.report import Health, HealthReport


class Phase(StrEnum):
    """Where the node is in its life."""

    ACTIVE = "active"
    LEAVING = "leaving"
    """It is drained because its pool shrinks, or its replacement serves; it may be kept yet."""
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


class Metadata(Struct, frozen=True, gc=False, omit_defaults=True):
    """What an agent says about its host."""

    hostname: str = ""
    internal_ip: str = ""
    external_ip: str = ""
    kernel_version: str = ""
    labels: dict[str, str] = field(default_factory=dict)


class Node(Struct, frozen=True, gc=False, omit_defaults=True):
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
    drain_ordered_at: datetime | None = None
    """When its agent was last told to drain; None: never."""
    drained_at: datetime | None = None
    """When its agent last said that nothing runs there any more; None when something may."""
    ended_at: datetime | None = None
    """When its phase became terminated; None before."""
    report: HealthReport | None = None
    """The newest health report that told us anything; None before the first."""
    unjudged: tuple[HealthReport, ...] = ()
    """Reports that wait for a verdict, oldest first; `report` is the last of them."""
    report_judged: bool = True
    """Whether a verdict over `report` has been given."""
    clean_reports: int = 0
    """Clean reports in a row since the last bad one."""
    bad_reports: int = 0
    """Reports in a row that confirm an unhealthy verdict."""
    bad_at: datetime | None = None
    """When the last of them was counted; None: never."""
    findings: tuple[Finding, ...] = ()
    """What was concluded from its reports and is not over, oldest first."""
    tallies: dict[str, tuple[Tally, ...]] = field(default_factory=dict)
    """How often things happened within the last day, by kind of event, oldest first."""
    judged_by: str = ""
    """The digest of the policy that gave the last verdict; empty: none, or an old one."""
    failed_rules: tuple[str, ...] = ()
    """Rules that could not be evaluated in the last verdict, each as ``name: why``."""
    unhealthy_at: tuple[datetime, ...] = ()
    """When it became unhealthy within the last day, oldest first."""
    repair: Repair | None = None
    """The repair that is under way here; None: none."""
    attempts: tuple[Attempt, ...] = ()
    """Repairs that ended within the last day, oldest first."""
    condemned: bool = False
    """Whether a replacement is being bought for it."""
    withheld: str = ""
    """What would be done about it if its pool were not a dry run; empty: nothing."""
    handed_over: str = ""
    """Why a person has to look at it; empty while nobody has to."""
    lemon: str = ""
    """Why its hardware is distrusted; empty while it is not."""
    told: Told = Told.OPEN
    """What the workload manager was told last."""
    telling: Told | None = None
    """What it is being told, and may have heard already; None: nothing is on its way."""
    tellings: int = 0
    """How often it agreed to something about this node."""
    refusal: str = ""
    """Why the workload manager does not do what it was told; empty when it does."""
    refused_at: datetime | None = None
    """When it last said so."""
    emptied_at: datetime | None = None
    """When the workload manager said that nothing runs there any more; None while something may."""
    wished: bool = False
    """Whether operators want something that the workload manager has not agreed to yet."""

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
    def workload(self) -> Told:
        """What the workload manager is to know: whether work may begin here, or has to leave.

        A bad verdict alone changes nothing here. Repair acts within its budget, and only what it
        has taken on is kept from work: a wrong policy must not close a fleet.
        """
        if self.intent is Intent.DRAINING or self.phase is Phase.LEAVING:
            return Told.DRAINING
        if self.repair is not None:
            return Told.CORDONED if self.repair.stage is Stage.PROBATION else Told.DRAINING
        held = self.intent is not Intent.IN_SERVICE or self.condemned or bool(self.handed_over)
        return Told.CORDONED if held or self._awaits_repair else Told.OPEN

    @property
    def _awaits_repair(self) -> bool:
        """Whether a repair has failed and the next has not begun: it is still taken on."""
        failed = bool(self.attempts) and self.attempts[-1].outcome is Outcome.FAILED
        return failed and self.health is Health.UNHEALTHY

    @property
    def untold(self) -> bool:
        """Whether the workload manager has to be told something; a drained node is cordoned.

        A word that may have been heard counts: what was wanted before it has to be said again.
        """
        if self.over:
            return False
        drained = self.told is Told.DRAINING and self.workload is Told.CORDONED
        return self.telling is not None or not (self.told is self.workload or drained)

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
