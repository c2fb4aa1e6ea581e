"""Invariants: what must hold in every step of a run, at a cost that no larger fleet makes larger.

`navarch.simulator.checks` knows more, and looks at the whole fleet for every fact; it is for
finding bugs in small worlds. What is here is watched in fleets of thousands:

==================  ==============================================================================
``doubled``         two machines of one id, or one id given twice
``leaked``          a machine of ours that nobody knows, at the end
``above_max``       more machines in a pool than it may have
``over_budget``     more repairs at one time, in one zone or in one hour than the pool allows,
                    or any while its breaker is open
``one_witness``     something is ended, condemned or written off on the word of one witness
``application``     a node is repaired for what its applications have done, and for nothing else
``not_replaced``    a sick node is ended before its replacement serves
``opaque``          a decision without a reason
==================  ==============================================================================
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from navarch.core.machine import Machine, Step
from navarch.core.model import events as ev
from navarch.core.model import messages as msg
from navarch.core.model.actions import Terminate
from navarch.core.model.ladder import Outcome
from navarch.core.model.pool import PoolSpec
from navarch.core.model.report import Health
from navarch.providers.base import FLEET_LABEL
from navarch.simulator import scaling_rules
from navarch.simulator.books import Bought
from navarch.simulator.broken import Broken
from navarch.simulator.clouds import Cloud
from navarch.simulator.server import TAG
from navarch.simulator.twin.ledger import Ledger
from navarch.simulator.twin.watchers import Watcher

if TYPE_CHECKING:
    from navarch.simulator.twin.twin import Twin

KINDS: Final = (
    *("doubled", "leaked", "above_max", "over_budget", "one_witness", "application"),
    *("not_replaced", "opaque"),
)
"""What can be broken; the table above says what each means."""

LISTS_MAX: Final = 16
"""Inventories of one provider that are remembered, to find the second witness of an orphan."""

BATCHES_MAX: Final = 64
"""Batches of heartbeats that are remembered: enough for any silence that counts."""

SETTLING: Final = timedelta(minutes=5)
"""How old a machine that nobody knows must be at the end to count as leaked."""


class Invariants(Watcher):
    """Watches one run, and ends it with `Broken` when something does not hold."""

    def __init__(
        self,
        twin: Twin,
        *,
        is_application: Callable[[int], bool],
        allowed: Collection[str] = (),
    ) -> None:
        """Watch `twin`; `allowed` names invariants that are not held against it."""
        self.ledger = Ledger()
        self._twin = twin
        self._settings = twin.settings
        self._is_application = is_application
        self._allowed = frozenset(allowed)
        self._heard: dict[str, datetime] = {}
        self._batches: deque[tuple[datetime, frozenset[str]]] = deque(maxlen=BATCHES_MAX)
        self._lists: dict[str, deque[msg.InventoryTaken]] = {}
        self._machines: dict[str, tuple[Cloud, str]] = {}

    # --- what it sees --------------------------------------------------------------------------

    def made(self, cloud: Cloud, ref: str) -> None:
        """Check that a new machine is the only one of its id."""
        name = cloud.truth.machines[ref].instance.name
        known = self._machines.get(name)
        self._machines[name] = cloud, ref
        if known is not None and known[0].alive(known[1]):
            self._break("doubled", f"{known[1]} and {ref} are both called {name}")

    def terminating(self, action: Terminate, now: datetime) -> None:
        """Check that a machine which is about to be ended is ours, and was given up."""
        machine = self._twin.clouds[action.provider].truth.machines[action.ref]
        owner = self.ledger.books.instances.get(machine.instance.name)
        orphaned = (action.provider, action.ref) in self.ledger.books.orphans
        given_up = owner is not None and owner.ending and owner.ref == action.ref
        if not (orphaned or given_up):
            text = f"{action.ref} ({machine.instance.name}) is about to be ended, and is wanted"
            self._break("one_witness", text)

    def stepped(
        self, machine: Machine, messages: Sequence[msg.Message], step: Step, now: datetime
    ) -> None:
        """Check the facts of a step. Cost: O(messages + facts)."""
        for message in messages:
            match message:
                case msg.HeartbeatBatch():
                    self._batches.append((now, message.node_ids))
                case msg.Heartbeat() | msg.RegisterNode() | msg.ReportHealth() | msg.PollCommands():
                    self._heard[message.node_id] = now
                case msg.InventoryTaken():
                    taken = self._lists.setdefault(message.provider, deque(maxlen=LISTS_MAX))
                    taken.append(message)
                case _:
                    pass
        for fact in step.facts:
            self._check(fact, now)
            self.ledger.write(fact)
            if isinstance(fact, ev.RepairEnded) and fact.outcome is Outcome.SUCCEEDED:
                sick = machine.fleet.nodes[fact.node_id].health is Health.UNHEALTHY
                self.ledger.settle(fact.node_id, sick=sick)
            if isinstance(fact, ev.RecordsForgotten):
                for node_id in (*fact.instances, *fact.nodes):
                    self._heard.pop(node_id, None)
                    self._machines.pop(node_id, None)

    def finished(self) -> None:
        """Check that every machine of ours belongs to somebody. Cost: O(machines)."""
        now = self._twin.time.now
        for cloud in self._twin.clouds.values():
            for machine in cloud.truth.alive(now):
                made = machine.instance
                if made.labels.get(FLEET_LABEL) != TAG or now - machine.made_at < SETTLING:
                    continue
                owner = self.ledger.books.instances.get(made.name)
                is_owned = owner is not None and not owner.ended and owner.ref in ("", made.id)
                if not is_owned and (cloud.name, made.id) not in self.ledger.books.orphans:
                    self._break("leaked", f"{made.id} ({made.name}) runs, and is nobody's")

    def _break(self, kind: str, text: str) -> None:
        if kind not in self._allowed:
            raise Broken(kind, text)

    # --- facts -----------------------------------------------------------------------------------

    def _check(self, fact: ev.Event, now: datetime) -> None:
        if getattr(fact, "because", "-") == "":
            self._break("opaque", f"{ev.kind(fact)} has no reason")
        match fact:
            case ev.LaunchRequested():
                self._may_buy(fact)
            case ev.InstanceCondemned():
                self._may_condemn(fact, now)
            case ev.RepairStarted():
                self._may_begin(self.ledger.books.instances[fact.node_id], fact.at)
                self._is_sick(fact.node_id)
            case ev.TerminationRequested():
                self._may_end(self.ledger.books.instances[fact.instance_id], now)
            case ev.InstanceVanished() | ev.InstanceTerminated():
                self._is_gone(self.ledger.books.instances[fact.instance_id])
            case ev.OrphanCondemned():
                self._is_orphan(fact)
            case ev.NodeDismissed() if fact.node_id not in self.ledger.told_to_end:
                self._break("one_witness", f"{fact.node_id} is dismissed, and nobody asked for it")
            case _:
                pass

    def _may_buy(self, fact: ev.LaunchRequested) -> None:
        wanted, totals = self.ledger.books.pools[fact.pool], self.ledger.of(fact.pool)
        if fact.instance_id in self.ledger.books.instances:
            self._break("doubled", f"the id {fact.instance_id} is given a second time")
        if totals.there >= wanted.spec.max_nodes:
            text = f"{totals.there} machines in {fact.pool}, and one more bought"
            self._break("above_max", f"{text}: at most {wanted.spec.max_nodes}")

    # --- repairs ---------------------------------------------------------------------------------

    def _may_condemn(self, fact: ev.InstanceCondemned, now: datetime) -> None:
        one = self.ledger.books.instances[fact.instance_id]
        self._may_begin(one, fact.at)
        if fact.cause == "silence":
            self._is_silent(one, now)
        elif fact.cause == "sickness":
            self._is_sick(one.id)

    def _may_begin(self, one: Bought, now: datetime) -> None:
        """Check breaker and budgets."""
        totals, disruption = self.ledger.of(one.pool), self._spec(one).disruption
        if totals.halted:
            self._break("over_budget", f"{one.id} is repaired while the breaker is open")
        share = int(totals.running * disruption.max_unavailable_percent / 100)
        allowed = max(disruption.max_unavailable, share)
        if totals.half_open:
            allowed = min(allowed, 1)
        is_counted = self.ledger.standing(one).busy
        if totals.busy - is_counted >= allowed:
            text = f"{one.id} is repaired beside {totals.busy - is_counted} others of {one.pool}"
            self._break("over_budget", f"{text}: more than {allowed} at one time")
        per_zone = disruption.max_unavailable_per_zone
        if per_zone and totals.busy_in.get(one.zone, 0) - is_counted >= per_zone:
            text = f"{one.id} is repaired, the zone {'/'.join(one.zone)} having enough"
            self._break("over_budget", f"{text}: more than {per_zone} at one time")
        recent = sum(now - at < timedelta(hours=1) for at in totals.begun)
        if recent >= disruption.max_replacements_per_hour:
            self._break("over_budget", f"{one.id} is repaired after {recent} within an hour")

    def _is_sick(self, node_id: str) -> None:
        """Check the two witnesses of a sickness: a verdict with a cause, and its confirmation."""
        judged = self.ledger.judged.get(node_id)
        if judged is None or judged.health is not Health.UNHEALTHY:
            self._break("one_witness", f"{node_id} is repaired, and its verdict is not unhealthy")
            return
        needed = self._spec(self.ledger.books.instances[node_id]).unhealthy_after
        if judged.bad_reports < needed:
            text = f"{node_id} is repaired after {judged.bad_reports} of {needed} reports"
            self._break("one_witness", text)
        causes = [each for each in judged.findings if each.status is Health.UNHEALTHY]
        codes = [_code(each.event.kind if each.event else "") for each in causes]
        if causes and all(code > 0 and self._is_application(code) for code in codes):
            text = f"{node_id} is repaired for XIDs that applications cause: {codes}"
            self._break("application", text)

    # --- ends ------------------------------------------------------------------------------------

    def _silent_since(self, node_id: str) -> datetime:
        resumed_at = self.ledger.books.resumed_at
        moments = [self._heard.get(node_id), resumed_at]
        moments += [next((at for at, ids in reversed(self._batches) if node_id in ids), None)]
        return max(moment for moment in moments if moment is not None)

    def _is_silent(self, one: Bought, now: datetime) -> None:
        """Check the two witnesses of a machine that is condemned: its silence, and a list."""
        counts_from = self._silent_since(one.id) + self._settings.silence_max
        if one.lost_at is None or now - counts_from < self._settings.lost_grace:
            text = f"{one.id} is condemned for silence, and was heard {self._silent_since(one.id)}"
            self._break("one_witness", text)
        taken = self._lists.get(one.provider)
        if not taken or taken[-1].begun_at < counts_from:
            self._break("one_witness", f"{one.id} is condemned on the word of its silence alone")

    def _may_end(self, one: Bought, now: datetime) -> None:
        if one.id in self.ledger.told_to_end or self._is_overdue(one, now):
            return
        node = self._twin.nodes.get(one.id)
        is_empty = node is not None and node.is_empty
        try:
            if one.interrupted_at is not None:
                scaling_rules.may_end_interrupted(one, now, is_empty=is_empty)
            elif one.releasing_since is not None:
                scaling_rules.may_end_released(one, now, self._settings, is_empty=is_empty)
            elif one.condemned_at is not None:
                self._is_replaced(one)
                self._has_drained(one, now, is_empty=is_empty)
            else:
                self._is_too_many(one)
        except Broken as broken:
            self._break(broken.kind if broken.kind in KINDS else "one_witness", broken.text)

    def _is_overdue(self, one: Bought, now: datetime) -> bool:
        if one.registered:
            return False
        since, limit = one.launched_at, self._settings.registration_timeout
        if since is None:
            since, limit = one.requested_at, self._settings.provisioning_timeout
        return now - max(since, self.ledger.books.resumed_at or since) >= limit

    def _is_too_many(self, one: Bought) -> None:
        totals, wanted = self.ledger.of(one.pool), self.ledger.books.pools[one.pool]
        if totals.current <= wanted.target:
            text = f"{one.id} is let go: {totals.current} nodes, {wanted.target} wanted"
            raise Broken("one_witness", text)
        if one.serves:
            raise Broken("one_witness", f"{one.id} is ended without having been drained")

    def _is_replaced(self, one: Bought) -> None:
        totals, wanted = self.ledger.of(one.pool), self.ledger.books.pools[one.pool]
        has_come = totals.current >= wanted.target and totals.registered == totals.current
        no_room = wanted.target - totals.current > wanted.spec.max_nodes - totals.there
        gives_nothing = one.lost_at is not None or one.draining_since is not None
        no_room = no_room and (gives_nothing or wanted.spec.replace_in_place)
        if totals.serving < wanted.target and not has_come and not no_room:
            text = f"{one.id} is ended before its replacement serves"
            raise Broken("not_replaced", f"{text}: {totals.serving} of {wanted.target} serve")

    def _has_drained(self, one: Bought, now: datetime, *, is_empty: bool) -> None:
        if one.lost_at is not None:
            return
        if one.draining_since is None:
            raise Broken("one_witness", f"{one.id} is ended without having been drained")
        since = max(one.draining_since, self.ledger.books.resumed_at or one.draining_since)
        is_late = now - since > self._settings.drain_timeout
        if not (is_empty or is_late or one.uncordoned_by_hand):
            raise Broken("one_witness", f"{one.id} is ended, and may have work")

    def _is_gone(self, one: Bought) -> None:
        cloud = self._twin.clouds[one.provider]
        if one.ref and cloud.alive(one.ref):
            self._break("one_witness", f"{one.id} is called gone, and {one.ref} is there")

    def _is_orphan(self, fact: ev.OrphanCondemned) -> None:
        seen = [
            taken.begun_at
            for taken in self._lists.get(fact.provider, ())
            if any(machine.ref == fact.ref for machine in taken.machines)
        ]
        if not seen or seen[-1] - seen[0] < self._settings.witness_gap:
            self._break("one_witness", f"{fact.ref} is called an orphan on the word of one list")

    def _spec(self, one: Bought) -> PoolSpec:
        return self.ledger.books.pools[one.pool].spec


def _code(kind: str) -> int:
    """The code of an XID; 0 of everything else."""
    name, _, code = kind.partition(":")
    return int(code) if name == "xid" and code.isdecimal() else 0
