"""Checks: what must hold in every step of every run, whatever goes wrong in it.

They stand outside the code under test. What they know comes from three places that it cannot
bend: the journal (through `books`), the truth of the clouds, and what was really delivered to the
control plane. An invariant that does not hold ends the run with `Broken`, which carries all that
is needed to run it again.

===============  ==================================================================================
a run is ...     when
===============  ==================================================================================
``doubled``      two machines with one of our ids exist at one time
``leaked``       a machine of ours is at a cloud, and no live instance is it, when all has calmed
``lost``         something that was acknowledged is not so any more; a journal folds to another
                 fleet than the one that wrote it; a snapshot and its tail to another than both
``unsafe``       more was bought, repaired or given up than allowed, or something was destroyed,
                 repaired or written off without its witnesses, or a command ran twice
``opaque``       a fact has no reason, or a launch does not say whom it passed over, or deciding is
                 not idempotent, or not pure
``hoarded``      something is remembered of what is over for longer than it should be
``unconverged``  the healed fleet does not become what was asked for
===============  ==================================================================================

What is *allowed*, so that the above can be strict: a machine whose instance was written off on two
witnesses that were both wrong (its agent was cut off, and a list left it out against the cloud's
promise) lives on as an orphan. Until it is removed it does not count against its pool's maximum.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime

from navarch.core import fold
from navarch.core.decide import decide
from navarch.core.machine import Machine, Step
from navarch.core.model import events as ev
from navarch.core.model import fleet as fleets
from navarch.core.model import messages as msg
from navarch.core.model.actions import Terminate
from navarch.core.model.command import CommandType
from navarch.core.model.fleet import Fleet
from navarch.core.model.node import Intent, Phase
from navarch.core.model.report import Health
from navarch.core.settings import Settings
from navarch.providers.base import FLEET_LABEL, POOL_LABEL, Instance
from navarch.providers.fake import Machine as TrueMachine
from navarch.simulator import memory_rules, purchase_rules, scaling_rules, workload_rules
from navarch.simulator.autoscaling import Scaler
from navarch.simulator.books import Books, Bought
from navarch.simulator.broken import Broken
from navarch.simulator.clouds import Cloud
from navarch.simulator.operators import WISH, Operators, Promise
from navarch.simulator.policies import TABLES
from navarch.simulator.repair_books import RepairBooks
from navarch.simulator.repair_rules import RepairRules
from navarch.simulator.report_books import ReportBooks
from navarch.simulator.workloads import Workloads
from navarch.stores.memory import MemoryStore

PURITY_EVERY = 16
"""Steps of which one is checked for purity: it copies the whole fleet."""

UNASKED = Promise(frozenset({Intent.IN_SERVICE}))


class Checks:
    """Watches one run."""

    def __init__(self, settings: Settings) -> None:
        """Know how patient the control plane is told to be."""
        self.books = Books()
        self.repair_books = RepairBooks({each.digest: each for each in TABLES.values()})
        self.repairs = RepairRules(self.books, self.repair_books, settings)
        self.operators: Operators | None = None
        """To be set before the first step."""
        self.manager: Workloads | None = None
        """The workload manager; to be set likewise."""
        self.scalers: Mapping[str, Scaler] = {}
        """The autoscalers by pool; to be set likewise."""
        self.clouds: dict[str, Cloud] = {}
        """By name; to be filled before the first step."""
        self.clock: Callable[[], datetime] | None = None
        """Tells the true time; None: when a control plane began is only known by its word."""
        self._settings = settings
        self._begun_at: datetime | None = None
        self._words: dict[str, scaling_rules.Word] = {}
        self._asked: set[tuple[str, int]] = set()
        self._heard: dict[str, datetime] = {}
        self._reports = ReportBooks()
        self._lists: dict[str, msg.InventoryTaken] = {}
        self._stray_since: dict[tuple[str, str], datetime] = {}
        self._absent_since: dict[str, datetime] = {}
        self._steps = 0
        self._folded, self._folded_seq = Fleet(), 0

    # --- what the world reports ----------------------------------------------------------------

    def made(self, cloud: Cloud, ref: str) -> None:
        """Check a machine that was just made: it must be the only one of its id, and have room."""
        new = cloud.truth.machines[ref].instance
        alive = [machine for each in self.clouds.values() for machine in each.machines()]
        if ref in cloud.twins:
            return  # nobody here has asked for it
        twins = [
            machine
            for machine in alive
            if machine.instance.name == new.name and not self._is_twin(machine)
        ]
        if len(twins) > 1:
            raise Broken("doubled", f"{len(twins)} machines are called {new.name}")
        pool = new.labels.get(POOL_LABEL, "")
        wanted = self.books.pools[pool]
        there = [machine for machine in alive if self._counts(machine, pool)]
        if len(there) > wanted.spec.max_nodes:
            names = ", ".join(machine.instance.name for machine in there)
            raise Broken("unsafe", f"pool {pool} has {names}, at most {wanted.spec.max_nodes}")

    def _counts(self, machine: TrueMachine, pool: str) -> bool:
        instance = machine.instance
        if instance.labels.get(POOL_LABEL, "") != pool:
            return False
        hidden = instance.id in self.clouds[instance.provider].hidden
        return not hidden and not self._is_twin(machine)

    def _is_twin(self, machine: TrueMachine) -> bool:
        """Whether its cloud made it without being asked."""
        return machine.instance.id in self.clouds[machine.instance.provider].twins

    def may_hide(self, instance: Instance) -> bool:
        """Whether a list may leave this machine out: there must be a second witness for it."""
        owner = self.books.instances.get(instance.name)
        return owner is not None and owner.registered

    def terminating(self, action: Terminate, now: datetime) -> None:
        """Check that a machine which is about to be ended is ours and was given up."""
        machine = self.clouds[action.provider].truth.machines[action.ref]
        owner = self.books.instances.get(machine.instance.name)
        if owner is None:
            raise Broken("unsafe", f"{action.ref} is about to be ended and was never ours")
        orphaned = (action.provider, action.ref) in self.books.orphans
        if not orphaned and not (owner.ending and owner.ref == action.ref):
            raise Broken("unsafe", f"{owner.id} is about to be ended at {now}, and is wanted")

    def recovered(self, fleet: Fleet, store: MemoryStore) -> None:
        """Check that a fleet from snapshot and tail is the one that the whole journal gives."""
        self._begun_at = self.clock() if self.clock is not None else None
        self._reports.forget()
        self._fold_journal(store)
        if fleets.encode(fleet) != fleets.encode(self._folded):
            raise Broken("lost", "snapshot and tail give another fleet than the whole journal")
        for name in ("pools", "instances", "nodes", "commands", "pending", "orphans", "refusals"):
            if list(getattr(fleet, name)) != list(getattr(self._folded, name)):
                raise Broken("lost", f"a snapshot does not keep the order of the {name}")
        self._promises_kept(fleet)

    def _fold_journal(self, store: MemoryStore) -> None:
        """Fold what was journaled since the last time, from its bytes."""
        limit = max(store.last_seq_now, 1)
        for recorded in store.read_now(after=self._folded_seq, limit=limit):
            fold.apply(self._folded, recorded.event)  # type: ignore[arg-type]  # they are facts
            self._folded_seq = recorded.seq

    def stepped(
        self, machine: Machine, messages: Sequence[msg.Message], step: Step, now: datetime
    ) -> None:
        """Check a step whose facts have just been journaled."""
        self._steps += 1
        self._asked.clear()
        self._reports.begin_step()
        refused: list[ev.WorkloadRefused] = []
        for message, answer in zip(messages, step.answers, strict=True):
            self._delivered(message, answer, now)
        purchase_rules.refusals_are_heard(self.books, messages, step.facts)
        for fact in step.facts:
            if isinstance(fact, ev.WorkloadRefused):
                record = self.repair_books.of(fact.node_id)
                if workload_rules.is_about_a_wish(self.books, record, fact):
                    refused.append(fact)
            self._check(fact, now)
            self.books.write(fact)
            self.repair_books.write(fact, self._reports.before)
            self.repairs.check_written(fact)
            if isinstance(fact, ev.RepairEnded) and fact.node_id in self.books.instances:
                verdict = self.repair_books.of(fact.node_id).verdict
                self.books.instances[fact.node_id].sick = verdict is Health.UNHEALTHY
        workload_rules.are_taken_back(refused, step.facts)
        scaling_rules.targets_within_limits(self.books)
        for message in messages:
            if isinstance(message, msg.InventoryTaken):
                self._note_strays(message)
        looked = bool(step.facts) or any(isinstance(message, msg.Tick) for message in messages)
        if looked and self._steps % PURITY_EVERY == 0:
            self._decides_once(machine, now)
            self._promises_kept(machine.fleet)
            self._memory_holds(machine, now)

    def ended(self, machine: Machine, store: MemoryStore) -> None:
        """Check the end of a run: its journal gives its fleet, and promises are kept."""
        self._fold_journal(store)
        if fleets.encode(machine.fleet) != fleets.encode(self._folded):
            raise Broken("lost", "the journal gives another fleet than the one that wrote it")
        self._promises_kept(machine.fleet)

    # --- what was delivered --------------------------------------------------------------------

    def _delivered(self, message: msg.Message, answer: msg.Answer, now: datetime) -> None:
        if isinstance(message, msg.InventoryTaken):
            self._lists[message.provider] = message
            refs = {machine.ref for machine in message.machines}
            for one in self.books.instances.values():
                if one.provider == message.provider and one.ref in refs:
                    self._absent_since.pop(one.id, None)
                elif one.provider == message.provider and one.ref and not one.ended:
                    self._absent_since.setdefault(one.id, message.begun_at)
        elif isinstance(message, msg.Recommended):
            self._words[message.pool] = scaling_rules.Word(message, now)
        elif isinstance(message, msg.ScalePool) and not isinstance(answer, msg.Refused):
            self._asked.add((message.pool, message.target))
        elif isinstance(message, msg.ReportHealth) and not isinstance(answer, msg.Refused):
            self._heard[message.node_id] = now
            self._reports.count(message)
        elif isinstance(
            message, msg.Heartbeat | msg.RegisterNode | msg.PollCommands
        ) and not isinstance(answer, msg.Refused):
            self._heard[message.node_id] = now

    def _note_strays(self, taken: msg.InventoryTaken) -> None:
        seen = {(taken.provider, each.ref) for each in taken.machines if self._is_stray(each)}
        for key in [key for key in self._stray_since if key[0] == taken.provider]:
            if key not in seen:
                del self._stray_since[key]
        for each in taken.machines:
            if (taken.provider, each.ref) in seen:
                self._stray_since.setdefault((taken.provider, each.ref), taken.begun_at)

    def _is_stray(self, machine: msg.Machine) -> bool:
        owner = self.books.instances.get(machine.instance_id)
        if owner is None:
            return False  # not ours at all
        return owner.ended or (bool(owner.ref) and owner.ref != machine.ref)

    # --- facts -----------------------------------------------------------------------------------

    def _check(self, fact: ev.Event, now: datetime) -> None:
        if getattr(fact, "because", "-") == "":
            raise Broken("opaque", f"{ev.kind(fact)} has no reason")
        scaling_rules.lets_sleep(self.books, fact)
        self.repairs.check(fact, self._reports.counts)
        match fact:
            case ev.LaunchRequested():
                self._may_buy(fact)
                purchase_rules.may_buy(self.books, fact, self._settings)
            case ev.TargetChanged() if (fact.pool, fact.target) not in self._asked:
                word, scaler = self._words.get(fact.pool), self.scalers.get(fact.pool)
                scaling_rules.may_retarget(self.books, fact, word, scaler)
            case ev.ReleaseRevoked():
                scaling_rules.may_call_back(self.books.instances[fact.instance_id])
            case ev.ReleaseRequested():
                scaling_rules.may_let_go(self.books, self.books.instances[fact.instance_id])
            case ev.CommandIssued() if fact.reason != WISH and fact.type is CommandType.UNCORDON:
                scaling_rules.keeps_intent(self.books, fact)
            case ev.NodeLost():
                self._was_silent(fact.node_id, now)
            case ev.InstanceCondemned() if fact.cause == "silence":
                self._is_dead(self.books.instances[fact.instance_id], now)
            case ev.WorkloadTold() | ev.WorkloadRefused() | ev.NodeEmptied():
                assert self.manager is not None
                workload_rules.was_heard(self.manager, fact)
            case ev.IntentChanged() if fact.because.startswith("the workload manager refuses"):
                assert self.operators is not None
                workload_rules.may_take_back(self.repair_books.of(fact.node_id))
                self.operators.refused(fact.node_id, fact.intent)
            case ev.TerminationRequested():
                self._may_end(self.books.instances[fact.instance_id], now)
            case ev.InstanceVanished():
                self._has_vanished(self.books.instances[fact.instance_id], now)
            case ev.InstanceTerminated():
                self._has_ended(self.books.instances[fact.instance_id])
            case ev.OrphanCondemned():
                self._is_orphan(fact)
            case ev.NodeDismissed():
                self._was_told_to_go(fact.node_id)
            case ev.RecordsForgotten():
                self._may_forget(fact, now)
            case _:
                pass

    def _may_buy(self, fact: ev.LaunchRequested) -> None:
        wanted, there = self.books.pools[fact.pool], self.books.of_pool(fact.pool)
        if fact.instance_id in self.books.instances:
            raise Broken("doubled", f"the id {fact.instance_id} is given a second time")
        if self.books.current(fact.pool) >= wanted.target:
            text = f"{self.books.current(fact.pool)} nodes, {wanted.target} wanted: one more bought"
            raise Broken("unsafe", text)
        if len(there) >= wanted.spec.max_nodes:
            raise Broken("unsafe", f"{len(there)} machines in {fact.pool}, and one more bought")

    def _silent_since(self, node_id: str) -> datetime:
        """When a control plane that was there the whole time heard of it last."""
        moments = (self._heard.get(node_id), self.books.resumed_at, self._begun_at)
        return max(moment for moment in moments if moment is not None)

    def _was_silent(self, node_id: str, now: datetime) -> None:
        silence = now - self._silent_since(node_id)
        if silence < self._settings.silence_max:
            raise Broken("unsafe", f"{node_id} is called silent after {silence}")

    def _is_dead(self, one: Bought, now: datetime) -> None:
        """Check the two witnesses of a machine that is condemned for its silence."""
        counts_from = self._silent_since(one.id) + self._settings.silence_max
        if one.lost_at is None or now - counts_from < self._settings.lost_grace:
            raise Broken("unsafe", f"{one.id} is condemned, silent enough since {counts_from}")
        taken = self._lists.get(one.provider)
        if taken is None or taken.begun_at < counts_from:
            raise Broken("unsafe", f"{one.id} is condemned on the word of its silence alone")

    def _may_end(self, one: Bought, now: datetime) -> None:
        """A machine may be ended for five reasons, and one of them must be there."""
        assert self.operators is not None
        if one.id in self.operators.condemned or self._is_overdue(one, now):
            return
        is_empty = self.repairs.is_empty(one.id)
        if one.interrupted_at is not None:
            scaling_rules.may_end_interrupted(one, now, is_empty=is_empty)
        elif one.releasing_since is not None:
            scaling_rules.may_end_released(one, now, self._settings, is_empty=is_empty)
        elif one.condemned_at is not None:
            self._is_replaced(one, one.condemned_at)
            if one.lost_at is None:
                if one.draining_since is None:
                    raise Broken("unsafe", f"{one.id} is ended without having been drained")
                self.repairs.has_drained(one, one.draining_since, now)
        else:
            scaling_rules.may_end_unused(self.books, one)

    def _is_replaced(self, one: Bought, condemned_at: datetime) -> None:
        heard = self._heard.get(one.id)
        for_silence = one.condemned_for == "silence"
        if for_silence and heard is not None and heard >= condemned_at:
            raise Broken("unsafe", f"{one.id} is ended as silent, and spoke at {heard}")
        wanted, there = self.books.pools[one.pool], self.books.of_pool(one.pool)
        current = [each for each in there if each.current]
        serving = sum(each.serves for each in there)
        has_come = len(current) >= wanted.target and all(each.registered for each in current)
        no_room = wanted.target - len(current) > wanted.spec.max_nodes - len(there)
        gives_nothing = one.lost_at is not None or one.draining_since is not None
        no_room = no_room and (gives_nothing or wanted.spec.replace_in_place)
        if serving < wanted.target and not has_come and not no_room:
            text = f"{one.id} is ended before its replacement serves: {serving} serve"
            raise Broken("unsafe", text)

    def _is_overdue(self, one: Bought, now: datetime) -> bool:
        """Whether it had its time; while we were away, none of it passed."""
        if one.registered:
            return False
        limit = self._settings.registration_timeout
        since = one.launched_at
        if since is None:
            since, limit = one.requested_at, self._settings.provisioning_timeout
        if self.books.resumed_at is not None:
            since = max(since, self.books.resumed_at)
        return now - since >= limit

    def _has_vanished(self, one: Bought, now: datetime) -> None:
        if not self._machines_of(one):
            return
        # Both witnesses were wrong; but both must have been heard.
        self._was_hidden(one)
        if one.registered:
            self._was_silent(one.id, now)
            return
        absent_since = self._absent_since.get(one.id)
        taken = self._lists[one.provider]
        gap = self._settings.witness_gap
        if absent_since is None or taken.begun_at - absent_since < gap:
            raise Broken("unsafe", f"{one.id} is written off on the word of one list")

    def _has_ended(self, one: Bought) -> None:
        if self._machines_of(one):
            self._was_hidden(one)

    def _was_hidden(self, one: Bought) -> None:
        """A machine that is there may be missed only if the newest list has left it out."""
        hidden = self.clouds[one.provider].hidden
        shown = {each.ref for each in self._lists[one.provider].machines}
        if any(ref in shown or ref not in hidden for ref in self._machines_of(one)):
            raise Broken("unsafe", f"{one.id} is called gone, and its machine is there")

    def _machines_of(self, one: Bought) -> list[str]:
        """The cloud's ids of the machines that bear its name now: the truth.

        Of twins, of which the cloud has made one on its own, the one that we know counts.
        """
        cloud = self.clouds[one.provider]
        refs = [each.instance.id for each in cloud.machines() if each.instance.name == one.id]
        if one.ref and any(ref in cloud.twins for ref in (one.ref, *refs)):
            return [ref for ref in refs if ref == one.ref]
        return refs

    def _was_told_to_go(self, node_id: str) -> None:
        assert self.operators is not None
        if node_id not in self.operators.condemned:
            raise Broken("unsafe", f"{node_id} is dismissed, and nobody asked for it")

    def _may_forget(self, fact: ev.RecordsForgotten, now: datetime) -> None:
        assert self.operators is not None
        for node_id in dict.fromkeys((*fact.instances, *fact.nodes)):
            one = self.books.instances.get(node_id)
            ended_at = one.ended_at if one else self.books.guests_ended.get(node_id)
            if ended_at is None or now - ended_at < self._settings.retain_terminated:
                raise Broken("lost", f"{node_id} is forgotten, it ended at {ended_at}")
            self.operators.forget(node_id)
        for command_id in fact.commands:
            if command_id in self.books.commands_open:
                raise Broken("lost", f"{command_id} is forgotten, it has no result")

    def _is_orphan(self, fact: ev.OrphanCondemned) -> None:
        taken = self._lists[fact.provider]
        since = self._stray_since.get((fact.provider, fact.ref))
        if since is None or taken.begun_at - since < self._settings.witness_gap:
            raise Broken("unsafe", f"{fact.ref} is called an orphan on the word of one list")
        listed = next((each for each in taken.machines if each.ref == fact.ref), None)
        if listed is None or not self._is_stray(listed):
            raise Broken("unsafe", f"{fact.ref} is called an orphan, and it is wanted")

    # --- state -----------------------------------------------------------------------------------

    def _decides_once(self, machine: Machine, now: datetime) -> None:
        before = fleets.encode(machine.fleet)
        again = decide(machine.fleet, machine.sightings, now, machine.strategies)
        if again:
            raise Broken("opaque", f"deciding again brings {again[0]}")
        list(machine.owed(now))
        if fleets.encode(machine.fleet) != before:
            raise Broken("opaque", "deciding changed the fleet")

    def _memory_holds(self, machine: Machine, now: datetime) -> None:
        memory_rules.indexes_agree(machine.fleet)
        memory_rules.remembers_little(machine, now, self._settings)
        purchase_rules.memory_agrees(self.books, machine.fleet.refusals)

    def _promises_kept(self, fleet: Fleet) -> None:
        if self.operators is None:
            return
        for node in fleet.nodes.values():
            allowed = self.operators.intents.get(node.id, UNASKED).allowed
            if node.phase is Phase.ACTIVE and node.intent not in allowed:
                raise Broken("lost", f"{node.id} is {node.intent}, promised: {allowed}")
        for pool in fleet.pools.values():
            targets = self.operators.targets.get(pool.name)
            kept = self.operators.targets_hold and pool.name not in self.scalers
            if targets is not None and kept and pool.target not in targets.allowed:
                raise Broken("lost", f"target of {pool.name} is {pool.target}: {targets.allowed}")
            pauses = self.operators.pauses.get(pool.name)
            if pauses is not None and pool.paused not in pauses.allowed:
                raise Broken("lost", f"{pool.name} paused: {pool.paused}: {pauses.allowed}")
        for command_id in self.books.commands_open:
            if command_id not in fleet.commands:
                raise Broken("lost", f"command {command_id} was accepted and is not known")

    # --- at the end ------------------------------------------------------------------------------

    def unrest(self, machine: Machine) -> tuple[str, str]:
        """Say what keeps the healed fleet from being what was asked for; empty when nothing."""
        fleet = machine.fleet
        for pool in fleet.pools.values():
            there = self.books.of_pool(pool.name)
            serving = sum(one.serves for one in there)
            if pool.paused or pool.brake_because:
                return "unconverged", f"pool {pool.name} rests: {pool.brake_because or 'paused'}"
            if serving != pool.target or len(there) != pool.target:
                text = f"pool {pool.name} wants {pool.target} of {len(there)}, {serving} serve"
                return "unconverged", text
            word = self._words.get(pool.name)
            if word is not None and not scaling_rules.is_followed(self.books, word):
                return "unconverged", f"pool {pool.name} wants {pool.target}: {word.said.reason}"
        if fleet.orphans or fleet.pending:
            return "unconverged", f"still open: {[*fleet.orphans, *fleet.pending]}"
        if text := self.repairs.unrest():
            return "unconverged", text
        if self._settings.workload_manager and self.manager is not None:
            kind, text = workload_rules.disagreement(fleet, self.manager)
            if text:
                return kind, text
        return self._strangers(fleet)

    def _strangers(self, fleet: Fleet) -> tuple[str, str]:
        """Compare what the fleet believes with what there is."""
        for cloud in self.clouds.values():
            for machine in cloud.machines():
                owner = fleet.instances.get(machine.instance.name)
                is_ours = machine.instance.labels.get(FLEET_LABEL) == fleet.tag
                if is_ours and (owner is None or owner.ref != machine.instance.id):
                    return "leaked", f"{machine.instance.id} ({machine.instance.name}) is nobody's"
        for instance in fleet.instances.values():
            if instance.live and not instance.ref:
                return "unconverged", f"nobody knows the machine of {instance.id}"
            if instance.live and not self.clouds[instance.provider].alive(instance.ref):
                return "lost", f"{instance.id} has no machine"
        return "", ""
