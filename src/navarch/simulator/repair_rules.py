"""Rules of repair: what must hold whenever a machine is repaired, replaced or given up.

Who is repaired has a cause that the policy names, that enough different reports have confirmed,
and that its sensors really told; programs that crash are never such a cause. Budgets hold for
everything together, in place or not. Nothing happens while the breaker is open, and one thing at
a time afterwards. Whatever runs on a machine has ended, or has had its time, before it is reset,
rebooted or ended.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

from msgspec import Struct, field

from navarch.core.model import events as ev
from navarch.core.model.finding import Remedy
from navarch.core.model.pool import PoolSpec
from navarch.core.model.report import Health
from navarch.core.settings import Settings
from navarch.simulator.books import Books, Bought
from navarch.simulator.broken import Broken
from navarch.simulator.hardware import Hardware
from navarch.simulator.repair_books import TREATMENTS, Record, RepairBooks

HOUR = timedelta(hours=1)

MASS = 10
MASS_SHARE = 0.2
"""So many nodes, and at least this share, are no chance either where they are no majority."""


class Count(Struct):
    """What the run had of what is worth telling."""

    begun: dict[str, int] = field(default_factory=dict)
    """Repairs by what was begun."""
    ended: dict[str, int] = field(default_factory=dict)
    """Repairs in place by their outcome."""
    false_alarms: int = 0
    """Repairs of machines that were well, because their sensors claimed otherwise."""

    def add(self, counts: dict[str, int], what: str) -> None:
        """Count one more."""
        counts[what] = counts.get(what, 0) + 1


class RepairRules:
    """Checks everything that repair does in one run."""

    def __init__(self, books: Books, repairs: RepairBooks, settings: Settings) -> None:
        """Know the books."""
        self.count = Count()
        self.hardware_of: Callable[[str], Sequence[Hardware]] = lambda _node_id: ()
        """What the machines of a node are made of in truth; to be set before the first step."""
        self.others_gpus: Callable[[str], set[str]] = lambda _node_id: set()
        """The GPUs that the live machines of other nodes have and say so; to be set likewise."""
        self.is_empty: Callable[[str], bool] = lambda _node_id: False
        """Whether a node is drained in truth; to be set likewise."""
        self._books = books
        self._repairs = repairs
        self._settings = settings

    def check(self, fact: ev.Event, reports: dict[str, int]) -> None:
        """Check a fact that is about to be written down."""
        match fact:
            case ev.InstanceCondemned():
                self._may_condemn(fact, reports)
            case ev.RepairStarted():
                self._may_start(fact, reports)
            case ev.CommandIssued() if fact.type in TREATMENTS:
                self._may_treat(fact)
            case ev.RepairAdvanced() if fact.stage == "probation":
                self._was_done(fact)
            case ev.RepairEnded():
                self._may_end(fact)
            case ev.NodeHandedOver():
                self._needs_a_person(fact)
            case ev.RepairWithheld():
                if not self._spec_of(fact.node_id).dry_run:
                    raise Broken("unsafe", f"{fact.node_id} is not repaired, and its pool is")
            case ev.DrainBegun():
                self._is_condemned(fact)
            case ev.InterruptionNoticed():
                self._was_noticed(fact)
            case _:
                pass

    def check_written(self, fact: ev.Event) -> None:
        """Check a fact that was just written down."""
        if isinstance(fact, ev.HealthJudged):
            self._owes_nothing(fact)

    def _spec_of(self, node_id: str) -> PoolSpec:
        one = self._books.instances.get(node_id)
        if one is None:
            raise Broken("unsafe", f"{node_id} was not bought here, and is repaired")
        return self._books.pools[one.pool].spec

    # --- beginning --------------------------------------------------------------------------

    def _may_condemn(self, fact: ev.InstanceCondemned, reports: dict[str, int]) -> None:
        one = self._books.instances[fact.instance_id]
        record = self._repairs.of(one.id)
        self._may_begin(one, fact.at)
        match fact.cause:
            case "silence":
                self._is_not_rebooting(record)
            case "sickness":
                self._is_sick(one, record, reports)
                self._blames_nobody_else(fact)
                if Remedy.REPLACE not in self._spec_of(one.id).ladder:
                    raise Broken("unsafe", f"{one.id} is replaced, which its pool rules out")
            case "lemon" if not record.lemon:
                raise Broken("unsafe", f"{one.id} is called a lemon, and has no such GPU")
        self.count.add(self.count.begun, f"replace for {fact.cause}")

    def _blames_nobody_else(self, fact: ev.InstanceCondemned) -> None:
        """Check that no GPU is held responsible which sits in another machine."""
        blamed = set(fact.hardware) & self.others_gpus(fact.instance_id)
        if blamed:
            raise Broken("unsafe", f"{fact.instance_id} is sick, and {sorted(blamed)} is blamed")

    def _may_start(self, fact: ev.RepairStarted, reports: dict[str, int]) -> None:
        spec = self._spec_of(fact.node_id)
        one = self._books.instances[fact.node_id]
        record = self._repairs.of(one.id)
        self._may_begin(one, fact.at)
        self._is_sick(one, record, reports)
        if record.mending is not None or one.condemned_at is not None:
            raise Broken("unsafe", f"{one.id} is repaired twice at one time")
        if fact.rung not in spec.ladder or fact.rung not in TREATMENTS.values():
            raise Broken("unsafe", f"{one.id}: {fact.rung} is not on the ladder of its pool")
        window = self._settings.relapse_window
        tried = [
            each.rung
            for each in record.tried
            if each.outcome != "revoked" and fact.at - each.at < window
        ]
        if len(tried) >= self._settings.attempts_max or fact.rung in tried:
            raise Broken("unsafe", f"{one.id}: {fact.rung} after {tried} within {window}")
        self.count.add(self.count.begun, fact.rung.value)

    def _may_begin(self, one: Bought, now: datetime) -> None:
        """Check pool, breaker and budgets, which are the same for everything that is begun."""
        wanted = self._books.pools[one.pool]
        if wanted.paused or wanted.retired or wanted.spec.dry_run:
            raise Broken("unsafe", f"{one.id} is repaired in {one.pool}, which rests")
        if one.pool in self._repairs.open:
            raise Broken("unsafe", f"{one.id} is repaired while the breaker is open")
        self._is_within_budget(one, now)
        if not self._repairs.half_open.get(one.pool):
            self._is_no_mass(one)
            self._is_calm(one, now)

    def _is_within_budget(self, one: Bought, now: datetime) -> None:
        there = self._books.of_pool(one.pool)
        busy = [each for each in there if self._is_busy(each)]
        disruption = self._books.pools[one.pool].spec.disruption
        live = sum(each.registered and not each.ending for each in there)
        share = int(live * disruption.max_unavailable_percent / 100)
        allowed = max(disruption.max_unavailable, share)
        if one.pool in self._repairs.half_open:
            allowed = min(allowed, 1)
        others = [each for each in busy if each.id != one.id]
        if len(others) >= allowed:
            text = f"{one.id} is repaired beside {[each.id for each in others]}"
            raise Broken("unsafe", f"{text}: more than {allowed} at one time")
        beside = [each for each in others if each.zone == one.zone]
        per_zone = disruption.max_unavailable_per_zone
        if per_zone and len(beside) >= per_zone:
            text = f"{one.id} is repaired beside {[each.id for each in beside]}"
            raise Broken("unsafe", f"{text}: more than {per_zone} in zone {one.zone}")
        recent = sum(now - at < HOUR for at in self._repairs.begun.get(one.pool, ()))
        if recent >= disruption.max_replacements_per_hour:
            raise Broken("unsafe", f"{one.id} is repaired after {recent} within an hour")

    def _is_busy(self, one: Bought) -> bool:
        mending = self._repairs.of(one.id).mending is not None and not one.ending
        return one.condemned_at is not None or mending

    def _is_no_mass(self, one: Bought) -> None:
        """Where many are in trouble together nobody is repaired.

        Who is being repaired or replaced already, or waits for a person, is out of the count.
        """
        for where, together in (
            ("the pool", self._books.of_pool(one.pool)),
            ("the fleet", self._books.everything()),
        ):
            nodes = [each for each in together if each.registered and each.current]
            bad = sum(self._is_troubled(each) for each in nodes)
            many = bad * 2 > len(nodes) or (bad >= MASS and bad >= len(nodes) * MASS_SHARE)
            if bad > 1 and many:
                text = f"{one.id} is repaired while {bad} of {len(nodes)} nodes of {where}"
                raise Broken("unsafe", f"{text} are in trouble")

    def _is_calm(self, one: Bought, now: datetime) -> None:
        """As trouble ends, the last ones may be about to speak again."""
        ended_at = self._repairs.half_opened_at.get(one.pool)
        if ended_at is not None and now - ended_at < self._settings.lost_grace:
            raise Broken("unsafe", f"{one.id} is repaired as trouble ends, at {ended_at}")

    def _is_troubled(self, one: Bought) -> bool:
        record = self._repairs.of(one.id)
        ill = record.verdict is Health.UNHEALTHY
        return one.lost_at is not None or (
            ill and record.mending is None and not record.handed_over
        )

    def _is_not_rebooting(self, record: Record) -> None:
        mending = record.mending
        if mending is None or mending.rung is not Remedy.REBOOT or not mending.command_id:
            return
        if mending.on_probation_since is None:
            raise Broken("unsafe", f"{record.id} is called dead, and was told to reboot")

    # --- causes -----------------------------------------------------------------------------

    def _is_sick(self, one: Bought, record: Record, reports: dict[str, int]) -> None:
        """Check the verdict, its cause, its confirmation, and what is so in truth."""
        if record.verdict is not Health.UNHEALTHY:
            raise Broken("unsafe", f"{one.id} is repaired, and is {record.verdict}")
        if not record.has_cause:
            raise Broken("unsafe", f"{one.id} is repaired, and nothing stands against it")
        needed = self._books.pools[one.pool].spec.unhealthy_after
        confirmed = reports.get(one.id, 0) - record.reports_before
        if confirmed < needed:
            raise Broken("unsafe", f"{one.id} is repaired after {confirmed} of {needed} reports")
        machines = self.hardware_of(one.id)
        if not any(machine.was_sick or machine.cried_wolf for machine in machines):
            raise Broken("unsafe", f"{one.id} is repaired for what its programs have done")
        if not any(machine.was_sick for machine in machines):
            self.count.false_alarms += 1

    def _owes_nothing(self, fact: ev.HealthJudged) -> None:
        """Check that a verdict which gets better leaves no debt."""
        record = self._repairs.of(fact.node_id)
        if fact.health is Health.UNHEALTHY or record.unsure:
            return
        if record.debts:
            owed = ", ".join(f"{kind} of GPU {gpu}" for kind, gpu in record.debts)
            raise Broken("unsafe", f"{record.id} is called {fact.health}, and owes {owed}")

    def _needs_a_person(self, fact: ev.NodeHandedOver) -> None:
        """No rule here asks for a person, so only what a pool rules out may lead to one."""
        spec = self._spec_of(fact.node_id)
        if spec.auto_replace and Remedy.REPLACE in spec.ladder:
            raise Broken("unsafe", f"{fact.node_id} waits for a person, and may be replaced")

    # --- doing ------------------------------------------------------------------------------

    def _may_treat(self, fact: ev.CommandIssued) -> None:
        record = self._repairs.of(fact.node_id)
        mending = record.mending
        if mending is None or TREATMENTS[fact.type] is not mending.rung:
            raise Broken("unsafe", f"{record.id} gets {fact.type}, and is not repaired so")
        if mending.command_id:
            raise Broken("unsafe", f"{record.id} gets {fact.type} twice for one repair")
        one = self._books.instances[fact.node_id]
        self.has_drained(one, mending.begun_at, fact.at)

    def has_drained(self, one: Bought, since: datetime, now: datetime) -> None:
        """Check that nothing runs there any more, or that it has had its time."""
        resumed_at = self._books.resumed_at
        begun_at = max(since, resumed_at or since)
        late = now - begun_at > self._settings.drain_timeout
        late = late and self._settings.drain_overrun == "end"
        silent = one.lost_at is not None or not one.registered
        if not (silent or late or self.is_empty(one.id) or one.uncordoned_by_hand):
            raise Broken("unsafe", f"{one.id} is to go down, and may have work")

    def _was_done(self, fact: ev.RepairAdvanced) -> None:
        mending = self._repairs.of(fact.node_id).mending
        if mending is None or not mending.succeeded:
            raise Broken("unsafe", f"{fact.node_id} is on probation, and nothing was done")

    def _may_end(self, fact: ev.RepairEnded) -> None:
        mending = self._repairs.of(fact.node_id).mending
        if mending is None:
            raise Broken("unsafe", f"{fact.node_id} has no repair that could end")
        if fact.outcome == "revoked" and mending.command_id:
            raise Broken("unsafe", f"{fact.node_id} was repaired already: too late to revoke it")
        if fact.outcome == "succeeded":
            since = mending.on_probation_since
            if since is None or fact.at - since < self._settings.probation:
                raise Broken("unsafe", f"{fact.node_id} is called repaired without probation")
        self.count.add(self.count.ended, fact.outcome.value)

    def _is_condemned(self, fact: ev.DrainBegun) -> None:
        if self._books.instances[fact.instance_id].condemned_at is None:
            raise Broken("unsafe", f"{fact.instance_id} is drained to be replaced, and is not")

    def _was_noticed(self, fact: ev.InterruptionNoticed) -> None:
        """Check that the seller of a machine gave notice, and when it will be gone."""
        notices = [at for machine in self.hardware_of(fact.node_id) for at in machine.notices]
        if fact.deadline not in notices:
            raise Broken("unsafe", f"{fact.node_id} is taken away by {fact.deadline}: {notices}")

    # --- at the end -------------------------------------------------------------------------

    def unrest(self) -> str:
        """Say which repair has not come to its end; empty when all have."""
        for record in self._repairs.records.values():
            one = self._books.instances.get(record.id)
            if one is None or one.ending or one.ended:
                continue
            if record.mending is not None:
                return f"{record.id} is still being repaired: {record.mending.rung.value}"
            if record.lemon and self._may_go(one):
                return f"{record.id} serves with a GPU that made two machines sick before"
        return ""

    def _may_go(self, one: Bought) -> bool:
        """Whether the control plane may replace a machine without being asked."""
        wanted = self._books.pools[one.pool]
        spec = wanted.spec
        if not spec.auto_replace or spec.dry_run:
            return False
        has_room = len(self._books.of_pool(one.pool)) < spec.max_nodes
        return has_room or spec.replace_in_place or self._books.current(one.pool) > wanted.target

    def needs_help(self, node_id: str, now: datetime) -> bool:
        """Whether a sick node waits for somebody who sets it aside: repair may do nothing."""
        one = self._books.instances.get(node_id)
        record = self._repairs.of(node_id)
        if one is None or record.mending is not None or one.lost_at is not None or one.ending:
            return False
        spec = self._books.pools[one.pool].spec
        if one.condemned_at is not None:
            full = len(self._books.of_pool(one.pool)) >= spec.max_nodes
            return full and one.draining_since is None and not spec.replace_in_place
        if record.verdict is not Health.UNHEALTHY or not one.current:
            return False
        begun = self._repairs.begun.get(one.pool, ())
        spent = sum(now - at < HOUR for at in begun) >= spec.disruption.max_replacements_per_hour
        return spent or record.handed_over or not self._may_go(one)
