"""Books: a second, independent account of what the journal says.

The checks must not believe the code that they check, so nothing here comes from the fleet or its
fold: what a fact means is written down once more, as plainly as it can be, and only as far as an
invariant needs it.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from msgspec import Struct

from navarch.core.model import events as ev
from navarch.core.model.command import CommandType
from navarch.core.model.node import Intent
from navarch.core.model.pool import PoolSpec
from navarch.core.model.report import Health
from navarch.errors import QuotaScope

WIDE = frozenset({"QuotaExceeded", "Unauthorized", "Throttled", "Unavailable"})
"""Refusals that concern all that a provider sells."""

QUOTA_MEMORY = timedelta(hours=1)
"""After how long a quota may be forgotten when another one of its provider is used up."""


def place_key(provider: str, region: str, zone: str, instance_type: str, *, spot: bool) -> str:
    """Name what is sold; a provider as a whole goes by its bare name."""
    key = f"{provider}/{region}/{zone}/{instance_type}"
    return f"{key}/spot" if spot else key


def place_of(fact: ev.LaunchRequested) -> str:
    """Name what a launch asks for."""
    return place_key(fact.provider, fact.region, fact.zone, fact.instance_type, spot=fact.spot)


def quota_key(provider: str, scope: QuotaScope) -> str:
    """Name a quota: whose, where, of what and of which kind."""
    return f"{provider}|{scope.region}|{'+'.join(scope.instance_types)}|{scope.spot}"


def is_counted(scope: QuotaScope, region: str, zone: str, kind: str, *, spot: bool) -> bool:
    """Whether a quota counts a machine; what is asked of no certain place may be there."""
    if scope.region and region != scope.region and (region or (zone and scope.region not in zone)):
        return False
    if scope.instance_types and kind and kind not in scope.instance_types:
        return False
    return scope.spot is None or scope.spot == spot


class Refusal(Struct, frozen=True):
    """The newest time that something could not be bought."""

    failure: str
    at: datetime
    retry_after: timedelta = timedelta()
    """How long the seller wanted to be left alone; zero: it did not say."""
    provider: str = ""
    """Whose quota it is, where it has a `scope`."""
    scope: QuotaScope | None = None
    """What the quota counts."""


class Bought(Struct):
    """One instance."""

    id: str
    pool: str
    provider: str
    requested_at: datetime
    place: str = ""
    """The key of what was asked for."""
    zone: tuple[str, str] = ("", "")
    """Its region and zone."""
    kind: str = ""
    """Its type."""
    spot: bool = False
    """Whether its seller may take it away again."""
    ref: str = ""
    launched_at: datetime | None = None
    registered: bool = False
    lost_at: datetime | None = None
    sick: bool = False
    condemned_at: datetime | None = None
    condemned_for: str = ""
    draining_since: datetime | None = None
    """Since when it is drained because its replacement serves."""
    interrupted_at: datetime | None = None
    """When its seller said that it will take it away."""
    interrupted_until: datetime | None = None
    releasing_since: datetime | None = None
    intent: Intent = Intent.IN_SERVICE
    uncordoned_by_hand: bool = False
    """Whether an operator asked for work on it after its release had begun."""
    ending: bool = False
    ended_at: datetime | None = None

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen to it."""
        return self.ended_at is not None

    @property
    def current(self) -> bool:
        """Whether it counts as a node of its pool, booting or not."""
        leaving = self.ended or self.ending or self.releasing_since is not None
        return not leaving and self.condemned_at is None and self.interrupted_at is None

    @property
    def serves(self) -> bool:
        """Whether it gives what it was bought for."""
        return self.current and self.registered and self.lost_at is None and not self.sick


class Wanted(Struct):
    """One pool."""

    spec: PoolSpec
    target: int
    target_changed_at: datetime | None = None
    paused: bool = False
    retired: bool = False


class Books:
    """What the facts so far come to."""

    def __init__(self) -> None:
        """Begin before the first fact."""
        self.instances: dict[str, Bought] = {}
        self.pools: dict[str, Wanted] = {}
        self.orphans: dict[tuple[str, str], None] = {}
        self.guests_ended: dict[str, datetime] = {}
        """Nodes that were not launched here: when they were told that they had ended."""
        self.commands_open: dict[str, str] = {}
        """Unfinished commands to their nodes."""
        self.refusals: dict[str, Refusal] = {}
        """By what was refused: a place, or a provider as a whole."""
        self.resumed_at: datetime | None = None

    def of_pool(self, pool: str) -> list[Bought]:
        """The instances of a pool that have not ended. Cost: O(instances)."""
        return [one for one in self.instances.values() if one.pool == pool and not one.ended]

    def everything(self) -> list[Bought]:
        """All instances that have not ended. Cost: O(instances)."""
        return [one for one in self.instances.values() if not one.ended]

    def current(self, pool: str) -> int:
        """How many nodes the pool has or will have. Cost: O(instances)."""
        return sum(one.current for one in self.of_pool(pool))

    def write(self, fact: ev.Event) -> None:
        """Take a fact down."""
        match fact:
            case ev.Resumed():
                self.resumed_at = fact.at
            case ev.PoolConfigured():
                self._configure(fact.spec)
            case ev.TargetChanged():
                self.pools[fact.pool].target = fact.target
                self.pools[fact.pool].target_changed_at = fact.at
            case ev.PoolPaused() | ev.PoolUnpaused():
                self.pools[fact.pool].paused = isinstance(fact, ev.PoolPaused)
            case ev.PoolRetired():
                self.pools[fact.pool].retired = True
            case ev.OrphanCondemned():
                self.orphans[fact.provider, fact.ref] = None
            case ev.OrphanRemoved():
                self.orphans.pop((fact.provider, fact.ref), None)
            case ev.NodeRetired():
                self.guests_ended[fact.node_id] = fact.at
            case ev.CommandIssued():
                self._write_about_command(fact)
            case ev.CommandFinished() if fact.state != "running":
                self.commands_open.pop(fact.command_id, None)
            case ev.LaunchRequested():
                place = place_of(fact)
                self.instances[fact.instance_id] = Bought(
                    fact.instance_id,
                    fact.pool,
                    fact.provider,
                    fact.at,
                    place,
                    (fact.region, fact.zone),
                    kind=fact.instance_type,
                    spot=fact.spot,
                )
            case _:
                self._write_about_instance(fact)

    def _configure(self, spec: PoolSpec) -> None:
        known = self.pools.get(spec.name)
        if known is None:
            self.pools[spec.name] = Wanted(spec, spec.min_nodes)
        else:
            target = known.target
            if target == known.spec.min_nodes:
                target = spec.min_nodes
            known.spec, known.retired = spec, False
            known.target = min(max(target, spec.min_nodes), spec.max_nodes)

    def _write_about_command(self, fact: ev.CommandIssued) -> None:
        self.commands_open[fact.command_id] = fact.node_id
        one = self.instances.get(fact.node_id)
        if one is not None and fact.type is CommandType.UNCORDON:
            one.uncordoned_by_hand = True

    def _write_about_instance(self, fact: ev.Event) -> None:
        id_ = getattr(fact, "instance_id", "") or getattr(fact, "node_id", "")
        one = self.instances.get(id_)
        if one is None:
            return
        match fact:
            case ev.InstanceLaunched():
                one.ref, one.launched_at = fact.ref, fact.at
                one.zone = (fact.region or one.zone[0], fact.zone or one.zone[1])
                self._forgive(one, one.provider, *self._quotas_of(one))
                if one.registered:
                    self._forgive(one, one.place)
            case ev.TerminationRequested():
                one.ending = True
            case ev.LaunchFailed():
                one.ended_at = fact.at
                self._refuse(one, fact)
            case ev.InstanceVanished() if not one.registered:
                one.ended_at = fact.at
                self.refusals[one.place] = Refusal("Vanished", fact.at)
            case ev.InstanceTerminated() | ev.InstanceVanished():
                one.ended_at = fact.at
            case ev.ReleaseRequested():
                one.releasing_since, one.uncordoned_by_hand = fact.at, False
            case ev.ReleaseRevoked():
                one.releasing_since = None
            case ev.IntentChanged():
                one.intent = fact.intent
            case ev.InstanceCondemned():
                one.condemned_at, one.condemned_for = fact.at, fact.cause
            case ev.InstanceReprieved():
                one.condemned_at = one.draining_since = None
            case ev.DrainBegun():
                one.draining_since, one.uncordoned_by_hand = fact.at, False
            case ev.RepairStarted():
                one.uncordoned_by_hand = False
            case ev.InterruptionNoticed():
                one.interrupted_at, one.interrupted_until = fact.at, fact.deadline
                one.uncordoned_by_hand = False
            case ev.NodeRegistered():
                if one.launched_at and not (one.registered or one.ending or one.ended):
                    self._forgive(one, one.place)
                one.registered = True
            case ev.NodeLost():
                one.lost_at = fact.at
            case ev.NodeReturned():
                one.lost_at = None
                if one.condemned_for == "silence":
                    one.condemned_at = one.draining_since = None
            case ev.HealthJudged():
                one.sick = fact.health is Health.UNHEALTHY
            case ev.HealthCleared():
                one.sick = False
            case _:
                pass

    def _refuse(self, one: Bought, fact: ev.LaunchFailed) -> None:
        """Hold a refusal against the place, its seller, or a quota of the seller's."""
        refusal = Refusal(fact.failure, fact.at, fact.retry_after, one.provider, fact.scope)
        if fact.scope is None:
            what = one.provider if fact.failure in WIDE else one.place
            self.refusals[what] = refusal
            return
        others = self.refusals.items()
        old = [
            what
            for what, each in others
            if each.scope and each.provider == one.provider and fact.at - each.at >= QUOTA_MEMORY
        ]
        for what in old:
            del self.refusals[what]
        self.refusals[quota_key(one.provider, fact.scope)] = refusal

    def _quotas_of(self, one: Bought) -> list[str]:
        """The quotas that count a machine."""
        return [
            what
            for what, each in self.refusals.items()
            if each.scope is not None
            and each.provider == one.provider
            and is_counted(each.scope, *one.zone, one.kind, spot=one.spot)
        ]

    def _forgive(self, one: Bought, *whats: str) -> None:
        """What was sold is no longer held against its seller, if it was asked for afterwards."""
        for what in whats:
            refusal = self.refusals.get(what)
            if refusal is not None and refusal.at < one.requested_at:
                del self.refusals[what]
