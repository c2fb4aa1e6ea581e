"""The machine: the verbs in a row, and nothing else.

One writer owns it. It is fed batches of messages and the time; it answers with facts to journal
and with what to tell whoever asked. It performs nothing: what the world is owed is asked of it
after the facts are safe.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime

from msgspec import Struct
from msgspec.structs import replace

from navarch.core import fold, inventory, signs
from navarch.core.decide import decide
from navarch.core.interpret import Learned, interpret
from navarch.core.judging import HealthPolicy
from navarch.core.model import events as ev
from navarch.core.model import messages as msg
from navarch.core.model.actions import Action, ListTypes, Terminate
from navarch.core.model.command import Command, CommandState
from navarch.core.model.fleet import Fleet
from navarch.core.model.report import folded
from navarch.core.model.samples import Columns, Readings
from navarch.core.model.sightings import Catalog, Recommendation, Sightings
from navarch.core.owed import owed
from navarch.core.serving import resources
from navarch.core.strategies import Strategies


class Step(Struct):
    """What one step brought."""

    facts: list[ev.Fact]
    """To be journaled, in this order, before anything leaves the process."""
    answers: list[msg.Answer]
    """One for each message of the batch, in its order."""


class Machine:
    """A fleet, what was seen of it, and how to decide about it."""

    def __init__(self, fleet: Fleet | None = None, strategies: Strategies | None = None) -> None:
        """Take over a fleet as its journal left it; without one, begin with an empty one."""
        self.fleet = fleet or Fleet()
        self.sightings = Sightings()
        self.strategies = strategies or Strategies()
        self._offered: dict[str, HealthPolicy] = {}

    def offer_policy(self, policy: HealthPolicy) -> None:
        """Have a policy at hand; it judges from the moment when `AdoptPolicy` names its digest."""
        self._offered = {policy.digest: policy}

    def step(self, batch: Sequence[msg.Message], now: datetime) -> Step:
        """Learn from a batch of messages, decide, and fold all of it.

        Decides only when there is a reason to look: something was learned, or time has passed.
        """
        facts: list[ev.Fact] = []
        outcomes: list[tuple[msg.Message, Learned]] = []
        look = False
        for message in batch:
            learned = interpret(self.fleet, self.sightings, message, now, self.strategies.settings)
            outcomes.append((message, learned))
            if isinstance(learned, msg.Refused):
                continue
            self._fold(learned)
            facts += learned
            self._observe(message, learned, now)
            look = look or bool(learned) or isinstance(message, msg.Tick | msg.Recommended)
        if look:
            decided = decide(self.fleet, self.sightings, now, self.strategies)
            self._fold(decided)
            facts += decided
        return Step(facts, [self._answer(*outcome, now) for outcome in outcomes])

    def owed(self, now: datetime) -> Iterator[Action]:
        """Say what the world is owed. Ask only after the facts so far are in the journal."""
        return owed(self.fleet, self.sightings, now, self.strategies.settings)

    # --- signs of life, between two steps: see `navarch.core.signs` ------------------------

    def hear(
        self, node_id: str, sample: Columns | None, now: datetime, unsettled: frozenset[str]
    ) -> bool | None:
        """Mark a heartbeat that teaches nothing; say whether commands wait. None: step with it."""
        return signs.of_node(self.fleet, self.sightings, node_id, sample, now, unsettled)

    def hear_serving(
        self, heartbeat: msg.Heartbeat, now: datetime, unsettled: frozenset[str]
    ) -> bool | None:
        """Do the same for one that says what runs on its node."""
        settings = self.strategies.settings
        return signs.of_serving(self.fleet, self.sightings, heartbeat, now, settings, unsettled)

    def hear_many(
        self,
        node_ids: frozenset[str],
        readings: tuple[Sequence[str], Readings],
        now: datetime,
        unsettled: frozenset[str],
    ) -> list[str] | None:
        """Mark many; list those for whom commands wait. None: step with all of them."""
        return signs.of_many(self.fleet, self.sightings, node_ids, readings, now, unsettled)

    def hear_poll(self, node_id: str, now: datetime, unsettled: frozenset[str]) -> bool:
        """Mark a poll for which nothing waits; False: step with it."""
        return signs.of_poll(self.fleet, self.sightings, node_id, now, unsettled)

    def _fold(self, facts: Sequence[ev.Fact]) -> None:
        for fact in facts:
            fold.apply(self.fleet, fact)
            self._forget(fact)

    def _forget(self, fact: ev.Fact) -> None:
        """Drop what was seen of something that is over."""
        match fact:
            case ev.RecordsForgotten():
                for id_ in (*fact.instances, *fact.nodes):
                    self.sightings.forget(id_)
            case ev.HealthReported():
                self.sightings.held.pop(fact.node_id, None)
            case ev.InstanceTerminated() | ev.InstanceVanished() | ev.LaunchFailed():
                instance = self.fleet.instances[fact.instance_id]
                action = Terminate(instance.provider, instance.ref, instance.id)
                self.sightings.tried.pop(action.key, None)
            case ev.OrphanRemoved():
                self.sightings.tried.pop(Terminate(fact.provider, fact.ref).key, None)
            case _:
                pass

    def _handed_out(self, node_id: str) -> tuple[Command, ...]:
        """Unfinished commands that are marked as delivered; later ones wait for the next poll."""
        commands = self.fleet.commands_for(node_id)
        return tuple(each for each in commands if each.state is not CommandState.ISSUED)

    def _hear_report(self, message: msg.ReportHealth, learned: Sequence[ev.Fact]) -> None:
        said = (message.node_id, message.results, message.events)
        if not self.sightings.has_said(*said):
            self._hold(message, learned)
            self.sightings.remember_report(*said)

    def _hold(self, message: msg.ReportHealth, learned: Sequence[ev.Fact]) -> None:
        """Remember repetitions that have not become a fact yet."""
        told = any(isinstance(fact, ev.HealthReported) for fact in learned)
        node = self.fleet.nodes.get(message.node_id)
        if told or node is None or not message.events:
            return
        last = node.report.events if node.report else ()
        if last == folded(message.events) and all(event.timestamp for event in last):
            return  # the same events, sent again
        known = {event.shape for event in last}
        events = folded((*self.sightings.held.get(node.id, ()), *message.events))
        self.sightings.held[node.id] = tuple(event for event in events if event.shape in known)

    def _adopt(self, message: msg.AdoptPolicy) -> None:
        policy = self._offered.pop(message.digest, None)
        if policy is not None:
            self.strategies = replace(self.strategies, policy=policy)

    def _observe(self, message: msg.Message, learned: Sequence[ev.Fact], now: datetime) -> None:
        """Remember what only memory keeps."""
        match message:
            case msg.AdoptPolicy():
                self._adopt(message)
            case msg.WorkloadAnswered() if message.node_id in self.fleet.nodes:
                if message.error:
                    self.sightings.tried[f"tell {message.node_id}"] = now
                else:
                    self.sightings.tried.pop(f"tell {message.node_id}", None)
                self.sightings.heard_of_drain(message.node_id, message.error)
            case msg.DrainAnswered() if message.node_id in self.fleet.nodes:
                self.sightings.tried[f"drained {message.node_id}"] = now
                self.sightings.heard_of_drain(message.node_id, message.text)
            case msg.Heartbeat():
                signs.remember(self.sightings, message, now)
            case msg.HeartbeatBatch():
                self._observe_batch(message, now)
            case msg.ReportHealth():
                self.sightings.heard[message.node_id] = now
                self._hear_report(message, learned)
            case msg.RegisterNode() | msg.PollCommands() | msg.AckCommand():
                self.sightings.heard[message.node_id] = now
            case msg.InventoryTaken():
                inventory.observe(self.fleet, self.sightings, message, now)
            case msg.InventoryFailed():
                self.sightings.asked[message.provider] = now
                self.sightings.troubles[message.provider] = message.text
            case msg.Recommended():
                self.sightings.recommendations[message.pool] = Recommendation(
                    now, message.target, message.reason, message.by, message.held
                )
            case msg.TypesListed():
                self._observe_types(message, now)
            case msg.TerminateAnswered():
                self._observe_termination(message, now)
            case _:
                pass

    def _observe_batch(self, message: msg.HeartbeatBatch, now: datetime) -> None:
        """Mark everybody who speaks and is known, in one stroke."""
        strangers = self._strangers(message.node_ids)
        known = message.node_ids.difference(strangers) if strangers else message.node_ids
        self.sightings.heard.mark(known, now)
        for node_id, sample in message.samples.items():
            if node_id in known:
                self.sightings.samples.record(node_id, now, sample)
        for node_id, serving in message.serving.items():
            if node_id in known:
                self.sightings.serving[node_id] = serving

    def _strangers(self, node_ids: frozenset[str]) -> list[str]:
        """Find the nodes that may not speak: unknown ones, and those that have ended."""
        nodes, gone = self.fleet.nodes, self.fleet.gone
        if nodes.keys() >= node_ids and node_ids.isdisjoint(gone):
            return []  # as a rule
        unknown = node_ids - nodes.keys()
        return sorted(unknown | (node_ids & gone.keys()))

    def _observe_termination(self, message: msg.TerminateAnswered, now: datetime) -> None:
        """Remember a try for as long as somebody waits for that machine's end."""
        instance = self.fleet.instances.get(message.instance_id)
        is_ending = message.instance_id in self.fleet.ending
        awaited = is_ending and instance is not None and instance.ref == message.ref
        if awaited or f"{message.provider}/{message.ref}" in self.fleet.orphans:
            action = Terminate(message.provider, message.ref, message.instance_id)
            self.sightings.tried[action.key] = now

    def _observe_types(self, message: msg.TypesListed, now: datetime) -> None:
        """Keep a price list; one that could not be read leaves the older one, with its age."""
        self.sightings.tried[ListTypes(message.provider).key] = now
        if message.types is not None:
            types = {sold.name: sold for sold in message.types}
            self.sightings.catalogs[message.provider] = Catalog(now, types)

    def _answer(self, message: msg.Message, learned: Learned, now: datetime) -> msg.Answer:
        """Tell whoever asked how things stand after the whole step."""
        if isinstance(learned, msg.Refused):
            return learned
        match message:
            case msg.Heartbeat():
                return msg.HeartbeatAccepted(message.node_id in self.fleet.pending)
            case msg.HeartbeatBatch():
                waiting = sorted(message.node_ids & self.fleet.pending.keys())
                unknown = self._strangers(message.node_ids)
                return msg.HeartbeatBatchAccepted(tuple(waiting), tuple(unknown))
            case msg.PollCommands():
                return msg.CommandsHanded(self._handed_out(message.node_id))
            case msg.IssueCommand():
                issued = next(fact for fact in learned if isinstance(fact, ev.CommandIssued))
                return msg.CommandAccepted(issued.command_id, now)
            case msg.ApplyResources():
                return resources.answer(self.fleet, message, learned)
            case _:
                return msg.Accepted()
