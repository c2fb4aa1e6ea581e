"""A ledger: the books of a run with running totals, so that no fact costs more in a larger fleet.

What a fact means is said by `navarch.simulator.books`, which is written independently of the fleet
and its fold. The totals here follow from it: of each pool, how many of its machines count as what.
"""

from __future__ import annotations

from collections import deque
from datetime import datetime

from msgspec import Struct, field

from navarch.core.model import events as ev
from navarch.core.model.pool import HOUR
from navarch.simulator.books import Books, Bought

Zone = tuple[str, str]


class Totals(Struct):
    """How many machines of a pool count as what."""

    there: int = 0
    """Not ended."""
    current: int = 0
    """Nodes that the pool has or will have."""
    registered: int = 0
    """Of those, the ones whose agents have spoken."""
    serving: int = 0
    running: int = 0
    """Registered, and nobody has asked for their end."""
    busy: int = 0
    """Being replaced or repaired."""
    busy_in: dict[Zone, int] = field(default_factory=dict)
    begun: deque[datetime] = field(default_factory=deque)
    """When repairs were begun within the last hour."""
    halted: bool = False
    half_open: bool = False


class Standing(Struct, frozen=True):
    """What one machine counts as."""

    there: bool = False
    current: bool = False
    registered: bool = False
    serving: bool = False
    running: bool = False
    busy: bool = False


NOWHERE = Standing()


class Ledger:
    """What the facts so far come to."""

    def __init__(self) -> None:
        """Begin before the first fact."""
        self.books = Books()
        self.totals: dict[str, Totals] = {}
        self.mending: dict[str, datetime] = {}
        """Nodes that are repaired where they are, and since when."""
        self.judged: dict[str, ev.HealthJudged] = {}
        """The newest verdict over each node."""
        self.told_to_end: dict[str, None] = {}
        """Nodes that somebody asked to be terminated."""

    def of(self, pool: str) -> Totals:
        """The totals of a pool."""
        return self.totals.setdefault(pool, Totals())

    def standing(self, one: Bought | None) -> Standing:
        """Say what a machine counts as."""
        if one is None or one.ended:
            return NOWHERE
        return Standing(
            there=True,
            current=one.current,
            registered=one.current and one.registered,
            serving=one.serves,
            running=one.registered and not one.ending,
            busy=one.condemned_at is not None or (one.id in self.mending and not one.ending),
        )

    def write(self, fact: ev.Event) -> None:
        """Take a fact down. Cost: O(1), but for facts about pools and forgotten records."""
        id_ = getattr(fact, "instance_id", "") or getattr(fact, "node_id", "")
        one = self.books.instances.get(id_)
        before, zone = self.standing(one), one.zone if one is not None else ("", "")
        self.books.write(fact)
        self._write(fact)
        one = self.books.instances.get(id_)
        if one is not None:
            self._count(one.pool, before, zone, -1)
            self._count(one.pool, self.standing(one), one.zone, 1)

    def settle(self, node_id: str, *, sick: bool) -> None:
        """Take down what a repair has made of a verdict."""
        one = self.books.instances.get(node_id)
        if one is not None:
            self._count(one.pool, self.standing(one), one.zone, -1)
            one.sick = sick
            self._count(one.pool, self.standing(one), one.zone, 1)

    def _count(self, pool: str, standing: Standing, zone: Zone, by: int) -> None:
        totals = self.of(pool)
        totals.there += by * standing.there
        totals.current += by * standing.current
        totals.registered += by * standing.registered
        totals.serving += by * standing.serving
        totals.running += by * standing.running
        if standing.busy:
            totals.busy += by
            totals.busy_in[zone] = totals.busy_in.get(zone, 0) + by

    def _write(self, fact: ev.Event) -> None:
        match fact:
            case ev.HealthJudged():
                self.judged[fact.node_id] = fact
            case ev.HealthCleared():
                self.judged.pop(fact.node_id, None)
            case ev.CommandIssued() if fact.type == "terminate":
                self.told_to_end[fact.node_id] = None
            case ev.InstanceCondemned():
                self._begun(fact.instance_id, fact.at)
            case ev.RepairStarted():
                self.mending[fact.node_id] = fact.at
                self._begun(fact.node_id, fact.at)
            case ev.RepairEnded():
                self.mending.pop(fact.node_id, None)
            case ev.RepairHalted():
                self.of(fact.pool).halted, self.of(fact.pool).half_open = True, False
            case ev.RepairHalfOpened():
                self.of(fact.pool).halted, self.of(fact.pool).half_open = False, True
            case ev.RepairContinued():
                self.of(fact.pool).halted = self.of(fact.pool).half_open = False
            case ev.RecordsForgotten():
                self._forget(fact)
            case _:
                pass

    def _begun(self, node_id: str, at: datetime) -> None:
        one = self.books.instances.get(node_id)
        begun = self.of("" if one is None else one.pool).begun
        while begun and at - begun[0] >= HOUR:
            begun.popleft()
        begun.append(at)

    def _forget(self, fact: ev.RecordsForgotten) -> None:
        for node_id in dict.fromkeys((*fact.instances, *fact.nodes)):
            self.books.instances.pop(node_id, None)
            self.books.guests_ended.pop(node_id, None)
            self.judged.pop(node_id, None)
            self.told_to_end.pop(node_id, None)
