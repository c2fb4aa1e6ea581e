"""What a metrics source is, and how its answers are made.

A source is asked about one pool and answers with a `PoolMetrics` whose readings say of each field
how good it is. Autoscalers act on the quality as much as on the value, so the one thing that a
source must never do is to let silence look like an idle pool.

Rules that hold:

- A source answers every field of `FIELDS`. What it has no idea of is ABSENT; what it could not
  find out is ERROR; what was true too long ago is STALE. `pool_metrics` completes what is missing.
- A number that cannot be (not finite, negative, 130 percent) is ERROR, not a value.
- Failing is an answer: `get_pool_metrics` raises for a bug, not for a peer that is away.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Final, Protocol

from navarch.core.scaling.base import (
    PENDING_JOBS,
    QUEUE_DEPTH,
    UTILIZATION,
    PoolMetrics,
    Quality,
    Reading,
)

UTILIZATION_HISTORY: Final = "utilization_history"
"""The reading that speaks of `PoolMetrics.utilization_history`; its value is how many there are."""

UNITS: Final[Mapping[str, str]] = MappingProxyType(
    {
        UTILIZATION: "percent",
        PENDING_JOBS: "jobs",
        QUEUE_DEPTH: "jobs",
        UTILIZATION_HISTORY: "values",
    }
)
"""The unit of each field."""

FIELDS: Final = tuple(UNITS)
"""Every field that a source answers."""

PERCENT_MAX: Final = 100.5
"""The highest utilization that is believed: what rounding makes of 100, and no more."""


class MetricsSource(Protocol):
    """Knows the demand on pools, or asks somebody who does."""

    @property
    def name(self) -> str:
        """What it is called in reasons and in the order of several; never empty."""
        ...

    async def get_pool_metrics(self, pool_name: str) -> PoolMetrics:
        """Tell what is known of a pool now.

        A field without an entry in `PoolMetrics.readings` counts as fresh, so a source that cannot
        fail may fill in the plain fields alone. One that can fail says so in the readings and does
        not raise: whatever is raised is taken for a fault of the source, and makes every field
        ERROR. May be called for several pools at the same time, and is cancelled when it takes
        longer than its caller has.
        """
        ...


def judged(name: str, reading: Reading) -> Reading:
    """Return the reading, or an ERROR in its place where its number cannot be true."""
    if reading.quality not in (Quality.OK, Quality.STALE):
        return reading
    value = reading.value
    if not math.isfinite(value) or value < 0:
        return error(name, f"{value} cannot be, expected 0 or more", reading.source)
    if name == UTILIZATION and value > PERCENT_MAX:
        return error(name, f"{value:g} cannot be, expected a percentage to 100", reading.source)
    return reading


def fresh(
    name: str, value: float, *, observed_at: datetime | None, source: str, unit: str = ""
) -> Reading:
    """Make the reading of something that is known; `unit` is for what is none of `FIELDS`."""
    reading = Reading(value, unit or UNITS[name], observed_at=observed_at, source=source)
    return judged(name, reading)


def absent(name: str, detail: str, source: str) -> Reading:
    """Make the reading of a field that the source does not have; `detail` says why."""
    return Reading(0.0, UNITS[name], None, Quality.ABSENT, source, detail)


def error(name: str, detail: str, source: str) -> Reading:
    """Make the reading of a field that the source could not find out; `detail` says why."""
    return Reading(0.0, UNITS.get(name, ""), None, Quality.ERROR, source, detail)


def pool_metrics(
    readings: Mapping[str, Reading],
    *,
    source: str,
    history: Sequence[float] = (),
    capacity: Sequence[float] = (),
    history_interval: timedelta | None = None,
) -> PoolMetrics:
    """Make the answer of readings; fields of `FIELDS` without one become ABSENT.

    A `history` needs no reading of its own; `capacity` is how many nodes were live at each of its
    values, empty when nobody knows.

    The plain fields carry good and stale values, and zero for the others, which whoever looks at
    the quality never sees. Part of a job counts as a job.
    """
    missing = {name: absent(name, "not asked for", source) for name in FIELDS}
    if history:
        missing[UTILIZATION_HISTORY] = fresh(
            UTILIZATION_HISTORY, len(history), observed_at=None, source=source
        )
    complete = {**missing, **readings}
    values = {
        name: reading.value if reading.quality in (Quality.OK, Quality.STALE) else 0.0
        for name, reading in complete.items()
    }
    times = [reading.observed_at for reading in complete.values() if reading.observed_at]
    return PoolMetrics(
        utilization=values[UTILIZATION],
        pending_jobs=math.ceil(values[PENDING_JOBS]),
        queue_depth=math.ceil(values[QUEUE_DEPTH]),
        utilization_history=history,
        capacity_history=capacity,
        observed_at=max(times, default=None),
        readings=complete,
        history_interval=history_interval,
    )


def unanswered(detail: str, source: str) -> PoolMetrics:
    """Make the answer of a source that could not ask: every field is ERROR for the same reason."""
    return pool_metrics({name: error(name, detail, source) for name in FIELDS}, source=source)
