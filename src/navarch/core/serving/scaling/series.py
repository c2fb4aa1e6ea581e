"""Samples of one signal over time, and what autoscalers make of them.

The newest sample decides how good the reading is: an average of good values does not make up for a
newest one that is stale. A sample that is told twice (the same time, from the same source) counts
once, however often a provider is asked.
"""

from __future__ import annotations

import math
from datetime import datetime, timedelta
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from navarch.core.scaling.base import Quality, Reading
from navarch.core.serving.scaling import signals

Sample = Reading
"""One value: what it is, its unit, when it was true, how good it is, and who said so."""

SAMPLES_MAX: Final = 600
"""How many samples a series keeps: ten minutes at one a second, longer windows more sparsely."""

FRESHNESS: Final = timedelta(minutes=2)
"""Older samples are stale, whatever was said of them when they came."""


class Series(Struct, frozen=True):
    """The samples of one signal of one pool, oldest first."""

    signal: str
    """Its name in the catalogue."""
    samples: tuple[Sample, ...] = ()

    def extended(self, sample: Sample, now: datetime, keep: timedelta = timedelta()) -> Series:
        """Return the series with one sample more and without those older than `keep`.

        The newest good one is kept in any case. Cost: O(samples kept).
        """
        dated = sample if sample.observed_at else replace(sample, observed_at=now)
        oldest = now - max(keep, timedelta())
        kept = [one for one in self.samples if _time(one, now) >= oldest and not _same(one, dated)]
        if not kept and dated.quality is not Quality.OK:
            kept = [one for one in self.samples[-2:] if one.quality is Quality.OK][-1:]
        spacing = 2 * keep / SAMPLES_MAX
        if (
            len(kept) > 1
            and kept[-1].quality is dated.quality
            and _time(dated, now) - _time(kept[-2], now) < spacing
        ):
            del kept[-1]
        return Series(self.signal, (*kept[-(SAMPLES_MAX - 1) :], dated))

    def reading(
        self, now: datetime, window: timedelta = timedelta(), freshness: timedelta = FRESHNESS
    ) -> Reading:
        """Return the mean of the good samples of a window, as good as the newest sample is.

        The window ends with the present. A window of zero is the newest sample alone.
        """
        if not self.samples:
            return signals.absent(self.signal, "nobody has said anything of it", "")
        newest = signals.judged(self.signal, self.samples[-1])
        if newest.quality is not Quality.OK:
            return newest
        age = now - _time(newest, now)
        if age > freshness:
            detail = f"{age.total_seconds():.0f} s old"
            return replace(newest, quality=Quality.STALE, detail=detail)
        if window <= timedelta() or len(self.samples) == 1:
            return newest
        oldest = now - window
        values = [
            good.value
            for one in self.samples[:-1]
            if _time(one, now) >= oldest
            and (good := signals.judged(self.signal, one)).quality is Quality.OK
        ]
        return replace(newest, value=math.fsum((*values, newest.value)) / (len(values) + 1))


def of_value(name: str, value: float, now: datetime) -> Series:
    """Make a series of one value that is true now."""
    plain = signals.canonical(name)
    return Series(plain, (signals.fresh(plain, value, "", observed_at=now),))


def _time(sample: Sample, now: datetime) -> datetime:
    return sample.observed_at or now


def _same(one: Sample, other: Sample) -> bool:
    return one.observed_at == other.observed_at and one.source == other.source
