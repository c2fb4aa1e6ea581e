"""Chaos: faults that come by themselves, lead to others, and end.

Faults come as one Poisson process over all places where a node may be, of which those count that
fall on a running node: exact for a fleet of any size, and free for nodes to which nothing happens.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from datetime import timedelta
from statistics import NormalDist

from msgspec import Struct

from navarch.simulator.dice import Stream
from navarch.simulator.scenarios import ailments
from navarch.simulator.scenarios.stress_schema import Cascading, Chaos, Recovery
from navarch.simulator.twin.clouds import waiting_time
from navarch.simulator.twin.faults import Fault, FaultKind
from navarch.simulator.twin.node import Node
from navarch.simulator.twin.twin import Twin

MINUTE = timedelta(minutes=1)
MILLISECOND = timedelta(milliseconds=1)
XIDS: Mapping[str, float] = dict.fromkeys(
    ("13", "31", "43", "48", "63", "74", "79", "94", "95"), 1.0
)
"""Which XIDs come where nothing says which: those that operators write about most."""
TRIES = 8
"""How often a neighbour is looked for that runs: most do."""
RECOVERED_AT_LEAST = timedelta(seconds=1)


class Had(Struct):
    """What has happened, for the report of a run."""

    faults: int = 0
    cascaded: int = 0
    recovered: int = 0


class Weighted:
    """Picks a word by its weight."""

    def __init__(self, weights: Mapping[str, float]) -> None:
        """Know the weights; all words are as likely where all are 0."""
        self._words = tuple(weights)
        total = sum(weights.values())
        parts = [weight if total else 1.0 for weight in weights.values()]
        whole = sum(parts)
        self._until = [sum(parts[: number + 1]) / whole for number in range(len(parts))]

    def pick(self, rolls: Stream) -> str:
        """Roll one."""
        roll = rolls.fraction()
        for word, until in zip(self._words, self._until, strict=True):
            if roll < until:
                return word
        return self._words[-1]


class Monkey:
    """Lets faults happen to the nodes of a twin."""

    def __init__(
        self, chaos: Chaos, twin: Twin, places: int, *, cured: Callable[[str], None]
    ) -> None:
        """Have done nothing yet; `places` is how many nodes there can be.

        `cured` hears of each node whose fault has ended by itself.
        """
        self.had = Had()
        self.on_strike: Callable[[str, Fault], None] = lambda _node_id, _fault: None
        """Hears of each fault, and of the node that has it."""
        self._chaos = chaos
        self._twin = twin
        self._places = max(places, 1)
        self._cured = cured
        self._rolls = twin.dice.stream("chaos")
        self._chains = twin.dice.stream("chaos", "cascades")
        self._ends = twin.dice.stream("chaos", "recovery")
        types: dict[str, float] = {each.type: each.weight for each in chaos.failure_types}
        self._types = Weighted(types or {"xid_error": 1.0})
        self._xids = Weighted(chaos.xid_distribution or XIDS)
        self.reached: dict[str, None] = {}
        """Nodes to which a fault of another has spread."""
        self._near: dict[str, list[Node]] = {}
        self._near_until = timedelta()
        self._stopped = False

    def begin(self) -> None:
        """Let faults come from now on."""
        if self._chaos.enabled and self._chaos.failure_rate > 0:
            self._wait()

    def stop(self) -> None:
        """Let no more faults come."""
        self._stopped = True

    def _wait(self) -> None:
        per_minute = self._chaos.failure_rate / 1000 * self._places
        self._twin.time.after(waiting_time(self._rolls, MINUTE / per_minute), self._come)

    def _come(self) -> None:
        if self._stopped:
            return
        node = self._twin.roster.at(self._rolls.integer(0, self._places - 1))
        kind, xid = self._types.pick(self._rolls), int(self._xids.pick(self._rolls))
        if node is not None and node.running:
            self.had.faults += 1
            self._strike(node, kind, xid, depth=0)
        self._wait()

    def _strike(self, node: Node, kind: str, xid: int, depth: int) -> None:
        lasts = self._lasts()
        fault = ailments.fault_of(kind, xid=xid, lasts=lasts)
        self._twin.afflict(node.node_id, fault)
        self.on_strike(node.node_id, fault)
        if lasts is not None and fault.kind is not FaultKind.VANISH:
            self._twin.time.after(lasts, self._over, node)
        cascading = self._chaos.cascading
        if cascading is not None and cascading.enabled:
            self._spread(cascading, node, kind, xid, depth)

    def _over(self, node: Node) -> None:
        if node.machine_is_alive():
            self.had.recovered += 1
            self._cured(node.node_id)

    def _lasts(self) -> timedelta | None:
        recovery = self._chaos.recovery
        if recovery is None or not recovery.enabled:
            return None
        ends = self._ends.chance(recovery.probability)
        lasts = _around(recovery, self._ends)
        return lasts if ends else None

    # --- cascades ------------------------------------------------------------------------------

    def _spread(self, cascading: Cascading, node: Node, kind: str, xid: int, depth: int) -> None:
        rolls = self._chains
        if depth >= cascading.max_depth or not rolls.chance(cascading.probability):
            return
        low = cascading.min_delay
        delay = rolls.between(low, max(cascading.max_delay, low))
        self._twin.time.after(delay, self._follow, cascading, node, kind, xid, depth + 1)

    def _follow(self, cascading: Cascading, node: Node, kind: str, xid: int, depth: int) -> None:
        limit = math.floor(len(self._twin.roster) * cascading.max_affected_percent / 100)
        if self._stopped or len(self.reached) >= limit:
            return
        next_one = self._neighbour(cascading.scope, node)
        if next_one is None:
            return
        self.reached[next_one.node_id] = None
        self.had.cascaded += 1
        self._strike(next_one, kind, xid, depth)

    def _neighbour(self, scope: str, node: Node) -> Node | None:
        """Pick a running node near to another; None where a few tries find none."""
        if self._twin.since >= self._near_until:
            self._near_until = self._twin.since + MINUTE
            self._near = {}
            for each in self._twin.roster.all():
                self._near.setdefault(_place(scope, each), []).append(each)
        place = _place(scope, node)
        near = self._near.get(place, []) if place else []
        for _ in range(TRIES if near else 0):
            other = self._chains.pick(near)
            if other is not node and other.running:
                return other
        return None


def _place(scope: str, node: Node) -> str:
    """What a node shares with those near to it; empty: nothing."""
    described = node.described
    match scope:
        case "rack":
            return described.labels.get("rack", "")
        case "zone":
            return f"{described.region}/{described.zone}"
        case "region":
            return described.region
        case "provider":
            return described.provider
        case _:
            return "*"


def _around(recovery: Recovery, rolls: Stream) -> timedelta:
    fraction = min(max(rolls.fraction(), 1e-9), 1 - 1e-9)
    off = NormalDist().inv_cdf(fraction) * (recovery.std_dev / MILLISECOND)
    count = round(recovery.mean_time / MILLISECOND + off)
    return max(count * MILLISECOND, RECOVERED_AT_LEAST)
