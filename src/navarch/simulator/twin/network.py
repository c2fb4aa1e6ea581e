"""The network between a twin's nodes and its control plane: slow, lossy, or cut in places.

What a node says arrives late, twice, out of order or never, and so do the answers; a call that is
not answered in time is given up by the agent as in life. A node whose network is not well does not
rest, for then it matters what each of its messages goes through.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import timedelta
from statistics import NormalDist
from typing import Protocol

from msgspec import Struct

from navarch.simulator.dice import Stream
from navarch.simulator.timeline import EPOCH, Timeline

ZERO = timedelta()
MILLISECOND = timedelta(milliseconds=1)


class Quality(Struct, frozen=True):
    """How messages fare, each way for itself; the shares are from 0 to 1."""

    delay: timedelta = 40 * MILLISECOND
    """The median of the way, which is lognormal."""
    spread: float = 0.5
    """The standard deviation of its logarithm: the larger, the heavier the tail."""
    longest: timedelta = timedelta(minutes=1)
    """No message takes longer, but for being held up."""
    loss: float = 0.0
    """Which share never arrives."""
    doubled: float = 0.0
    """Which share of the calls arrives a second time, later."""
    held_up: float = 0.0
    """Which share is held up, so that later messages overtake it."""
    held_up_max: timedelta = timedelta(seconds=5)

    def __post_init__(self) -> None:
        """Raise `ValueError` when a value is out of its bounds."""
        shares = {"loss": self.loss, "doubled": self.doubled, "held_up": self.held_up}
        for name, share in shares.items():
            if not 0 <= share <= 1:
                raise ValueError(f"{name}: expected a share from 0 to 1, not {share:g}")
        if not 0 <= self.spread <= 5:
            raise ValueError(f"spread: expected a number from 0 to 5, not {self.spread:g}")
        times = {"delay": self.delay, "longest": self.longest, "held_up_max": self.held_up_max}
        for name, time in times.items():
            if time < ZERO:
                raise ValueError(f"{name}: expected a duration, not {time}")


class Placed(Protocol):
    """Something that is somewhere."""

    @property
    def id(self) -> str:
        """Its node's id."""
        ...

    @property
    def zone(self) -> str:
        """Empty when unknown."""
        ...

    @property
    def region(self) -> str:
        """Empty when unknown."""
        ...


class Reach(Struct, frozen=True):
    """Which nodes: those with one of these ids, zones or regions; nothing given: all."""

    nodes: tuple[str, ...] = ()
    zones: tuple[str, ...] = ()
    regions: tuple[str, ...] = ()

    def holds(self, node: Placed) -> bool:
        """Whether a node is among them."""
        if not (self.nodes or self.zones or self.regions):
            return True
        return node.id in self.nodes or node.zone in self.zones or node.region in self.regions


class Spell(Struct, frozen=True):
    """A time in which the network of some nodes is bad."""

    begins: timedelta
    """After the beginning of the run."""
    lasts: timedelta | None
    """None: until the end of the run."""
    reach: Reach = Reach()
    quality: Quality | None = None
    """None: nothing passes at all, as in a partition."""


class Network(Struct, frozen=True):
    """What the network is like."""

    quality: Quality | None = None
    """Where and while no spell reaches; None: quick, and nothing is lost."""
    spells: tuple[Spell, ...] = ()
    """Where two meet, a partition is one, and otherwise the later spell counts."""


PLAIN = Quality()
"""Stands for a network that is well; it is never rolled for."""


class Wires:
    """The network of one run."""

    def __init__(
        self, network: Network, time: Timeline, wake: Callable[[Callable[[Placed], bool]], None]
    ) -> None:
        """Be as the network is at first; `wake` lets nodes that are chosen speak for themselves."""
        self._network = network
        self._time = time
        self._wake = wake
        self._active: list[Spell] = []
        self._healed = False

    def begin(self) -> None:
        """Let spells begin at their times from now on."""
        since = self._time.now - EPOCH
        for spell in self._network.spells:
            self._time.after(max(spell.begins - since, ZERO), self.suffer, spell)

    def suffer(self, spell: Spell) -> None:
        """Let a spell begin now, whatever it says of its beginning."""
        if self._healed:
            return
        self._active.append(spell)
        self._wake(spell.reach.holds)
        if spell.lasts is not None:
            self._time.after(spell.lasts, self._end, spell)

    def heal(self) -> None:
        """Be well from now on, everywhere; no spell begins any more."""
        self._healed = True
        self._active.clear()

    def _end(self, spell: Spell) -> None:
        if not self._healed:
            self._active.remove(spell)

    def quality(self, node: Placed) -> Quality | None:
        """What a node's network is like now: `PLAIN` when well, None when nothing passes.

        Cost: O(spells that go on now).
        """
        found = PLAIN if self._healed else self._network.quality or PLAIN
        for spell in self._active:
            if spell.reach.holds(node):
                if spell.quality is None:
                    return None
                found = spell.quality
        return found

    def is_well(self, node: Placed) -> bool:
        """Whether nothing is wrong with a node's network."""
        return self.quality(node) is PLAIN

    def is_cut(self, node: Placed) -> bool:
        """Whether nothing passes between a node and the control plane."""
        return bool(self._active) and self.quality(node) is None


def way(quality: Quality, rolls: Stream) -> timedelta | None:
    """Roll how long a message is on its way, in milliseconds; None: it never arrives."""
    if rolls.chance(quality.loss):
        return None
    fraction = min(max(rolls.fraction(), 1e-9), 1 - 1e-9)
    factor = math.exp(quality.spread * NormalDist().inv_cdf(fraction))
    takes = min(round(quality.delay / MILLISECOND * factor) * MILLISECOND, quality.longest)
    if rolls.chance(quality.held_up):
        takes += rolls.between(ZERO, quality.held_up_max)
    return takes
