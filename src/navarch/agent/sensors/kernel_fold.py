"""Faults of a kernel log on their way to events: those told twice, and those told too often.

Pure and bounded, however the log is flooded.
"""

from __future__ import annotations

from collections import deque
from datetime import datetime, timedelta
from typing import Final

from msgspec import Struct

from navarch.agent.sensors.kernel_lines import KernelFault, Metrics
from navarch.core.model.report import VOLATILE, HealthEvent

SHAPES_MAX: Final = 200
"""Shapes of events that one turn keeps apart; a report takes 500 events of all sensors."""

KINDS_MAX: Final = 100
"""Kinds of events that are kept apart once there are too many shapes."""

COUNT_MAX: Final = 2**31 - 1
"""What the wire can count."""

KIND_METRICS: Final = ("xid_code", "sxid_code", "reason", "severity", "recovery_action_code")
"""What is left of the metrics of an event whose shape is one too many."""

SINCE_BOOT_MAX: Final = 10**17
"""Microseconds: more than any machine runs, and a date that can still be written."""

ECHOES_MAX: Final = 16
"""First lines that are remembered."""

ECHO_MICROSECONDS: Final = 1_000_000
"""How far apart the two lines of one thing may be; the kernel writes them one after the other."""


class EchoMemory:
    """Recognises the second of two lines by which the kernel tells one thing.

    Linux names the victim of an OOM kill in two lines, and a PCI Express error in one of the port
    and one of the device. Either may be alone: some of them are rate-limited.
    """

    def __init__(self) -> None:
        """Begin with nothing told."""
        self._told: deque[tuple[tuple[str, ...], int]] = deque(maxlen=ECHOES_MAX)

    def echoed(self, told_by: tuple[str, ...], microseconds: int) -> bool:
        """Tell whether the other line was there just before; a line has one echo at most.

        `microseconds` is the time since boot, -1 where it is not known: then the order is enough.
        """
        if not told_by:
            return False
        for told, when in self._told:
            other = told[:-1] == told_by[:-1] and told[-1] != told_by[-1]
            timed = when >= 0 and microseconds >= 0
            if other and not (timed and abs(microseconds - when) > ECHO_MICROSECONDS):
                self._told.remove((told, when))
                return True
        self._told.append((told_by, microseconds))
        return False


class _Counted(Struct):
    """Events of one shape, of which the newest speaks."""

    index: int
    uuid: str
    fault: KernelFault
    microseconds: int
    kind: Metrics | None = None
    """What is left of the metrics; None where all are."""
    count: int = 0


class Fold:
    """Counts events of one shape, as `navarch.core.model.report.folded` would, in bounded memory.

    Shapes beyond `SHAPES_MAX` lose the metrics that few lines share, such as registers; of kinds
    beyond `KINDS_MAX` only the number is left. Cost of an event: constant.
    """

    def __init__(self) -> None:
        """Begin with nothing counted."""
        self._shapes: dict[tuple[object, ...], _Counted] = {}
        self._kinds: dict[tuple[object, ...], _Counted] = {}
        self._over = 0
        self.dropped = 0
        """How many events have ever been only counted."""

    def add(self, fault: KernelFault, index: int, uuid: str, microseconds: int) -> None:
        """Count an event about the GPU with this index and UUID; -1 and empty for the node.

        `microseconds` is its time since boot, -1 where the line does not say.
        """
        what = (item for item in fault.metrics.items() if item[0] not in VOLATILE)
        key = (fault.event_type, index, uuid, *what)
        counted = self._shapes.get(key)
        if counted is None and len(self._shapes) < SHAPES_MAX:
            counted = self._shapes[key] = _Counted(index, uuid, fault, microseconds)
        if counted is None:
            kind: Metrics = {
                name: fault.metrics[name] for name in KIND_METRICS if name in fault.metrics
            }
            key = (fault.event_type, index, uuid, *kind.items())
            counted = self._kinds.get(key)
            if counted is None and len(self._kinds) < KINDS_MAX:
                counted = self._kinds[key] = _Counted(index, uuid, fault, microseconds, kind)
        if counted is None:
            self._over += fault.count
            self.dropped += fault.count
            return
        counted.fault, counted.microseconds = fault, microseconds
        counted.count = min(counted.count + fault.count, COUNT_MAX)

    def take(self, now: datetime, booted: datetime | None) -> tuple[HealthEvent, ...]:
        """Return what was counted, by first appearance, and begin anew.

        `booted` is when the machine was; None where that is not known: then all happened now.
        """
        counted = (*self._shapes.values(), *self._kinds.values())
        events = [_event(one, now, booted) for one in counted]
        if self._over:
            events.append(
                HealthEvent(
                    "system",
                    metrics={"reason": "events_dropped"},
                    message=f"{self._over} events of too many kinds, dropped from the kernel log",
                    timestamp=now,
                    count=min(self._over, COUNT_MAX),
                )
            )
        self._shapes, self._kinds, self._over = {}, {}, 0
        return tuple(events)


def _event(counted: _Counted, now: datetime, booted: datetime | None) -> HealthEvent:
    at = now
    if booted is not None and counted.microseconds >= 0:
        # A record cannot be from the future, whatever it says and wherever it is from.
        at = min(now, booted + timedelta(microseconds=min(counted.microseconds, SINCE_BOOT_MAX)))
    return HealthEvent(
        event_type=counted.fault.event_type,
        gpu_index=counted.index,
        gpu_uuid=counted.uuid,
        system=counted.fault.system,
        metrics=counted.fault.metrics if counted.kind is None else counted.kind,
        message=counted.fault.message,
        timestamp=at,
        count=counted.count,
    )
