"""One XID seen twice is one XID: by the driver's library, and as a line in the kernel log.

Both sensors report what they see. Where they speak of the same code on the same GPU at about the
same time, the line of the kernel log is kept, for it alone carries the driver's words: sub-codes,
processes, the recovery that the driver asks for. Nothing else is ever merged.

The library is asked now and then and does not tell when an XID happened: somewhere between the
look before and this one. A line of the kernel log from then is its twin.

Sightings are paired one to one, by their counts: three lines and two callbacks are three XIDs.
What was given is remembered for a while, for the two do not always come in one reading.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Final

from msgspec import Struct, structs

from navarch.core.model.report import HealthEvent

KERNEL: Final = "kernel_log"
"""The name of the sensor whose words win."""

APART_MAX: Final = timedelta(seconds=5)
"""How far apart two sightings of one XID may be, beyond what is between two looks."""

REMEMBERED: Final = timedelta(minutes=15)
"""For how long a given XID is remembered: a driver that hung for some minutes tells late."""

MEMORY_MAX: Final = 256
"""How many given XIDs are remembered; forgetting one may count it twice, never lose one."""

Batch = tuple[str, Sequence[HealthEvent]]
"""The name of a sensor, and what it has seen."""


class _Sighting(Struct):
    """An XID, and how much of its count has no twin yet."""

    event: HealthEvent
    by_kernel: bool
    since: datetime
    """It happened then at the earliest,"""
    at: datetime
    """and at the latest then: the time it tells; without one, when it came."""
    unpaired: int
    """0 after that: its twin takes its place."""


class Twins:
    """Pairs what sensors see; remembers what it gave."""

    def __init__(self) -> None:
        """Remember nothing yet."""
        self._given: deque[_Sighting] = deque(maxlen=MEMORY_MAX)
        self._looked: dict[str, datetime] = {}

    @property
    def remembered(self) -> int:
        """How many given XIDs are remembered."""
        return len(self._given)

    def lonely(self, batches: Iterable[Batch]) -> bool:
        """Tell whether an XID has no line of the kernel log, which may still be on its way."""
        lines = {_code(each.event) for each in self._given if each.by_kernel}
        others: set[str] = set()
        for name, events in batches:
            codes = {_code(event) for event in events if event.event_type == "xid"}
            if name == KERNEL:
                lines |= codes
            else:
                others |= codes
        return not others <= lines

    def merged(self, batches: Sequence[Batch], now: datetime) -> tuple[HealthEvent, ...]:
        """Give each thing that happened once: the sensors in their order, the oldest first.

        `batches` holds the sensors that were looked at, also those that had seen nothing.

        Costs at most as much as there are XIDs times those they might be twins of.
        """
        while self._given and now - self._given[0].at > REMEMBERED:
            self._given.popleft()
        seen = [[self._sighted(event, name, now) for event in events] for name, events in batches]
        self._looked.update((name, now) for name, _ in batches)
        xids = [each for batch in seen for each in batch if each.event.event_type == "xid"]
        lines = [each for each in xids if each.by_kernel]
        others = [each for each in xids if not each.by_kernel]
        earlier_lines = [each for each in self._given if each.by_kernel]
        earlier_others = [each for each in self._given if not each.by_kernel]
        told = {id(each): each.event.count for each in xids}
        for line in lines:
            told[id(line)] -= _pair(line, earlier_others)
        for other in others:
            told[id(other)] -= _pair(other, earlier_lines)
            told[id(other)] -= _pair(other, lines)
        self._given.extend(each for each in xids if told[id(each)])
        return tuple(
            structs.replace(each.event, count=count)
            for batch in seen
            for each in batch
            if (count := told.get(id(each), each.event.count))
        )

    def _sighted(self, event: HealthEvent, sensor: str, now: datetime) -> _Sighting:
        at = event.timestamp or now
        by_kernel = sensor == KERNEL
        since = at if by_kernel else min(self._looked.get(sensor, at), at)
        return _Sighting(event, by_kernel, since, at, event.count)


def _pair(one: _Sighting, those: Iterable[_Sighting]) -> int:
    """Find twins for as much of one as possible; return for how much. The line learns its GPU."""
    paired = 0
    for other in those:
        if not one.unpaired:
            break
        if not other.unpaired or not _is_twin(one, other):
            continue
        count = min(one.unpaired, other.unpaired)
        one.unpaired -= count
        other.unpaired -= count
        paired += count
        if other.by_kernel and other.event.gpu_index < 0:
            gpu = one.event
            other.event = structs.replace(
                other.event, gpu_index=gpu.gpu_index, gpu_uuid=gpu.gpu_uuid
            )
    return paired


def _is_twin(one: _Sighting, other: _Sighting) -> bool:
    if _code(one.event) != _code(other.event):
        return False
    if one.since - APART_MAX > other.at or other.since - APART_MAX > one.at:
        return False
    these, those = one.event, other.event
    if these.gpu_uuid and these.gpu_uuid == those.gpu_uuid:
        return True
    return these.gpu_index == those.gpu_index or -1 in (these.gpu_index, those.gpu_index)


def _code(event: HealthEvent) -> str:
    return str(event.metrics.get("xid_code", ""))
