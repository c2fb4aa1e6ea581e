"""What the GPUs of serving nodes were used for: looked at once a minute, kept in memory.

The journal knows which machines served, and not whether anything ran there. The newest samples of
the nodes do. Looking begins with the process; before that, serving GPUs are *not measured*.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Final

from msgspec import Struct

from navarch.controlplane.notes import Notes
from navarch.controlplane.usage import BUSY_PERCENT
from navarch.core.model.fleet import Fleet
from navarch.core.model.samples import Samples
from navarch.dashboard.past.lives import Stage, stage_of

EVERY: Final = timedelta(minutes=1)
"""How often somebody looks."""


class Use(Struct):
    """Serving GPUs at one moment."""

    good: int = 0
    """Busy, as ``navarch_gpu_seconds_total`` has it."""
    idle: int = 0
    """Not busy."""
    unknown: int = 0
    """Without a fresh sample."""

    @property
    def total(self) -> int:
        """All of them."""
        return self.good + self.idle + self.unknown


def look(
    fleet: Fleet, samples: Samples, now: datetime, fresh_for: timedelta
) -> Iterator[tuple[str, Use]]:
    """Count the serving GPUs of each pool by use, a pool at a time.

    A sample older than `fresh_for` says nothing. Cost: O(instances), some µs each.
    """
    for pool in list(fleet.pools):
        gpus: dict[str, int] = {}
        for instance in fleet.instances_of(pool):
            node = fleet.nodes.get(instance.id)
            if node is not None and stage_of(instance, node) is Stage.SERVING:
                gpus[node.id] = len(node.gpus)
        active, read, _ = samples.activity(list(gpus), now - fresh_for, BUSY_PERCENT)
        good, known = int(active.sum()), int(read.sum())
        yield pool, Use(good, known - good, max(sum(gpus.values()) - known, 0))


class Uses:
    """Shares of serving GPUs that were good, and idle, by pool and over time."""

    def __init__(self) -> None:
        """Begin with none."""
        self._notes = Notes(columns=2)

    def note(self, pool: str, at: datetime, use: Use) -> None:
        """Keep what was seen of a pool. Cost: O(1)."""
        total = use.total
        shares = (use.good / total, use.idle / total) if total else (math.nan, math.nan)
        self._notes.add(pool, at.timestamp(), shares)

    def shares(self, pool: str, moments: list[float]) -> list[tuple[float, float] | None]:
        """Shares that were good and idle at moments in order; None where nobody looked.

        A note holds for three times `EVERY`, where notes are further apart until the next one.
        """
        since = datetime.fromtimestamp(moments[0], UTC)
        notes = list(self._notes.of(pool, since - timedelta(minutes=15)))
        found: list[tuple[float, float] | None] = []
        index = 0
        for moment in moments:
            while index < len(notes) and notes[index][0] <= moment:
                index += 1
            if index == 0:
                found.append(None)
                continue
            at, (good, idle) = notes[index - 1]
            holds = 3 * EVERY.total_seconds()
            if index < len(notes):
                holds = max(holds, min(notes[index][0] - at, 1_300.0))
            known = not math.isnan(good) and moment - at <= holds
            found.append((good, idle) if known else None)
        return found

    def leave(self, pools: set[str]) -> None:
        """Forget all pools but these."""
        for name in self._notes.names():
            if name not in pools:
                self._notes.leave(name)
