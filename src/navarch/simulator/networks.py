"""Networks: what may lie between agents and the control plane, drawn from a seed.

Most calls take milliseconds. Some take seconds, and a few of those minutes, so that a call which
its agent has long given up comes in after younger ones. A partition keeps one node, one zone or
one region apart, in both directions or in one of them: an agent that we hear, and that hears
nothing of us, is another trouble than one that is silent.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from enum import StrEnum

from msgspec import Struct

from navarch.simulator.dice import Dice, Stream
from navarch.simulator.incidents import Incident
from navarch.simulator.markets import MINUTE, SECOND, ZERO, ZONES


class Scope(StrEnum):
    """How much a partition keeps apart."""

    NODE = "node"
    ZONE = "zone"
    REGION = "region"


class Way(StrEnum):
    """A direction."""

    UP = "up"
    """From agents to the control plane."""
    DOWN = "down"


class Partition(Struct, frozen=True):
    """A time for which a place is apart."""

    begins: timedelta
    lasts: timedelta
    scope: Scope
    ways: frozenset[Way]
    """The directions in which nothing comes through."""


class NetworkPlan(Struct, frozen=True):
    """How the network of a run is."""

    delayed: float = 0.0
    """Share of requests and of answers that take longer than milliseconds, from 0 to 1."""
    delay_min: timedelta = SECOND
    """What those take at least. Half of them take twice that, a quarter four times, and so on."""
    delay_max: timedelta = 2 * MINUTE
    partitions: tuple[Partition, ...] = ()


CALM = NetworkPlan()


class Place(Struct, frozen=True):
    """Where an agent is."""

    node: str
    zone: str
    region: str

    def within(self, scope: Scope) -> str:
        """Name the node, the zone or the region."""
        return str(getattr(self, scope.value))


NOWHERE = Place("", "", "")


def place_of(ref: str, provider: str, region: str, zone: str, rolls: Stream) -> Place:
    """Say where a machine is; where nobody has asked for a zone, it stands in one all the same."""
    if not zone:
        zone = rolls.pick([each for each in ZONES if each.startswith(region)])
    return Place(ref, f"{provider}/{zone}", f"{provider}/{region or zone[:2]}")


PARTED = {
    Scope.NODE: Incident.NODE_PARTED,
    Scope.ZONE: Incident.ZONE_PARTED,
    Scope.REGION: Incident.REGION_PARTED,
}


class Network:
    """Which places are apart now, and how long calls take."""

    def __init__(self, plan: NetworkPlan, dice: Dice) -> None:
        """Carry everything at first."""
        self.healed = False
        self._plan = plan
        self._dice = dice
        self._rolls = dice.stream("partitions")
        self._apart: list[tuple[Partition, str]] = []

    @property
    def is_slow(self) -> bool:
        """Whether calls may take long now."""
        return not self.healed and self._plan.delayed > 0

    def heal(self) -> None:
        """Carry everything at once from now on; what is under way still takes its time."""
        self.healed = True
        self._apart = []

    def part(self, partition: Partition, places: Sequence[Place]) -> None:
        """Begin a partition of one of the places; nothing happens where there is none."""
        names = sorted({place.within(partition.scope) for place in places} - {""})
        if names and not self.healed:
            self._apart.append((partition, self._rolls.pick(names)))
            self._dice.happened[PARTED[partition.scope]] += 1

    def join(self, partition: Partition) -> None:
        """End a partition."""
        self._apart = [each for each in self._apart if each[0] is not partition]

    def carries(self, place: Place, way: Way) -> bool:
        """Whether anything comes through between a place and the control plane."""
        for partition, name in self._apart:
            if way in partition.ways and name == place.within(partition.scope):
                if len(partition.ways) == 1:
                    one_way = Incident.UNHEARD if way is Way.UP else Incident.DEAF
                    self._dice.happened[one_way] += 1
                return False
        return True

    def delay(self, rolls: Stream) -> timedelta:
        """Roll what one way takes on top of the milliseconds: mostly nothing."""
        if not rolls.chance(self._plan.delayed):
            return ZERO
        self._dice.happened[Incident.DELAYED] += 1
        longest = self._plan.delay_max / self._plan.delay_min
        return self._plan.delay_min * min(1 / (1 - rolls.fraction()), longest)


WAYS: tuple[frozenset[Way], ...] = (
    frozenset(Way),
    frozenset(Way),
    frozenset({Way.UP}),
    frozenset({Way.DOWN}),
)


def draw_network(rolls: Stream, lasts: timedelta) -> NetworkPlan:
    """Draw how the network of a run is; calm, in most."""
    delayed = rolls.pick((0.05, 0.2, 0.5)) if rolls.chance(0.2) else 0.0
    count = rolls.integer(1, 3) if rolls.chance(0.25) else 0
    return NetworkPlan(
        delayed=delayed,
        delay_min=rolls.pick((SECOND / 2, 2 * SECOND, 6 * SECOND)),
        partitions=tuple(
            Partition(
                begins=rolls.between(MINUTE, lasts),
                lasts=rolls.between(20 * SECOND, 6 * MINUTE),
                scope=rolls.pick(tuple(Scope)),
                ways=rolls.pick(WAYS),
            )
            for _ in range(count)
        ),
    )
