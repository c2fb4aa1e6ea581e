"""What may be written under ``network`` and ``outages``: what goes wrong around the nodes."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

from msgspec import Struct

from navarch.config.key import Key
from navarch.config.values import DURATION, INTERVAL
from navarch.simulator.twin import network as wires

SPELLS_MAX = 1_000
PER_DAY_MAX = 10_000
"""More would be one every nine seconds: nothing else would happen."""

Name = Annotated[str, Key("One of them.", maximum=253)]


class Quality(Struct, frozen=True, kw_only=True):
    """How messages fare, each way for itself."""

    delay: Annotated[timedelta, Key("The median of the way.", form=DURATION)] = wires.PLAIN.delay
    spread: Annotated[
        float,
        Key("How different ways are: the deviation of the logarithm.", minimum=0, maximum=5),
    ] = wires.PLAIN.spread
    longest: Annotated[
        timedelta, Key("What no way takes longer than, unless held up.", form=DURATION)
    ] = wires.PLAIN.longest
    loss: Annotated[float, Key("Which share never arrives.", minimum=0, maximum=1)] = 0.0
    doubled: Annotated[
        float, Key("Which share of the calls arrives twice.", minimum=0, maximum=1)
    ] = 0.0
    held_up: Annotated[
        float,
        Key("Which share is held up, so that later ones overtake it.", minimum=0, maximum=1),
    ] = 0.0
    held_up_max: Annotated[timedelta, Key("For how long at most.", form=DURATION)] = (
        wires.PLAIN.held_up_max
    )

    @property
    def meant(self) -> wires.Quality:
        """The same for a twin."""
        return wires.Quality(
            delay=self.delay,
            spread=self.spread,
            longest=self.longest,
            loss=self.loss,
            doubled=self.doubled,
            held_up=self.held_up,
            held_up_max=self.held_up_max,
        )


class Spell(Struct, frozen=True, kw_only=True):
    """A time in which the network is another."""

    begins: Annotated[timedelta, Key("When, after the beginning.", form=DURATION)] = timedelta()
    lasts: Annotated[timedelta | None, Key("For how long. Absent: to the end.", form=INTERVAL)] = (
        None
    )
    nodes: Annotated[tuple[Name, ...], Key("Whose, by id.")] = ()
    zones: Annotated[tuple[Name, ...], Key("Whose, by zone.")] = ()
    regions: Annotated[
        tuple[Name, ...], Key("Whose, by region. No nodes, zones and regions: everybody's.")
    ] = ()
    quality: Annotated[Quality | None, Key("What it is like. Absent: nothing passes.")] = None


class Network(Struct, frozen=True, kw_only=True):
    """What passes between nodes and control plane."""

    quality: Annotated[
        Quality | None, Key("What it is like otherwise. Absent: quick, and nothing is lost.")
    ] = None
    spells: Annotated[
        tuple[Annotated[Spell, Key("One of them.")], ...],
        Key("When it is another; where two meet, a cut counts, else the later."),
    ] = ()

    @property
    def meant(self) -> wires.Network:
        """The same for a twin."""
        return wires.Network(
            None if self.quality is None else self.quality.meant,
            tuple(
                wires.Spell(
                    each.begins,
                    each.lasts,
                    wires.Reach(each.nodes, each.zones, each.regions),
                    None if each.quality is None else each.quality.meant,
                )
                for each in self.spells
            ),
        )


class DiskFull(Struct, frozen=True, kw_only=True):
    """A time in which its disk is full."""

    begins: Annotated[timedelta, Key("When, after the beginning.", form=DURATION)]
    lasts: Annotated[timedelta, Key("For how long.", form=INTERVAL)]


class Outages(Struct, frozen=True, kw_only=True):
    """How the control plane itself fails."""

    crashes_per_day: Annotated[
        float, Key("How often it dies, on average.", minimum=0, maximum=PER_DAY_MAX)
    ] = 0.0
    stalls_per_day: Annotated[
        float, Key("How often it stands still, on average.", minimum=0, maximum=PER_DAY_MAX)
    ] = 0.0
    stall_max: Annotated[timedelta, Key("For how long at most.", form=INTERVAL)] = timedelta(
        minutes=2
    )
    disk_full: Annotated[
        tuple[Annotated[DiskFull, Key("One of them.")], ...],
        Key("When it cannot write its journal: it ends, until there is room."),
    ] = ()
