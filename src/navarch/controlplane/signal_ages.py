"""How old the signals are by which pools of machines are scaled, and what they last said.

An evaluation says what its metrics source gave. Here the newest good reading of each signal is
remembered, so that its age grows while the source fails or is silent.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Final

from msgspec import Struct

from navarch.controlplane.measures import Names, Series, Values
from navarch.controlplane.pool_manager import Trace
from navarch.core.scaling.base import (
    PENDING_JOBS,
    QUEUE_DEPTH,
    UTILIZATION,
    PoolMetrics,
    Quality,
    Reading,
)

SIGNALS: Final = (UTILIZATION, PENDING_JOBS, QUEUE_DEPTH)
SOURCES_MAX: Final = 100
"""Metrics sources that have series of their own."""


class _Good(Struct, frozen=True):
    """The newest good reading of a signal."""

    source: str
    observed_at: datetime


class SignalAges:
    """The newest good reading of each signal of each pool."""

    def __init__(self, pools: Names, now: Callable[[], datetime]) -> None:
        """Begin with none; `pools` says which pools have series of their own."""
        self.failures: Counter[Values] = Counter()
        """By pool and source."""
        self._pools = pools
        self._sources = Names(SOURCES_MAX)
        self._now = now
        self._good: dict[str, dict[str, _Good]] = {}
        self._jobs: dict[str, float | None] = {}

    def hear(self, trace: Trace) -> None:
        """Learn from an evaluation of a pool."""
        metrics = trace.state.metrics
        good = self._good.setdefault(trace.pool, {})
        failed: set[str] = set()
        for name in SIGNALS:
            reading = metrics.readings.get(name) or _plain(metrics)
            source = self._sources.label(reading.source)
            if reading.quality is not Quality.ABSENT:
                self.failures[self._pools.label(trace.pool), source] += 0
            if reading.quality is Quality.OK:
                good[name] = _Good(source, reading.observed_at or trace.at)
            elif reading.quality is not Quality.ABSENT:
                failed.add(source)
                known = good.get(name)
                said = reading.observed_at
                if said is not None and (known is None or said > known.observed_at):
                    good[name] = _Good(source, said)
        for source in failed:
            self.failures[self._pools.label(trace.pool), source] += 1
        jobs = metrics.readings.get(PENDING_JOBS) or _plain(metrics)
        self._jobs[trace.pool] = metrics.pending_jobs if jobs.quality is Quality.OK else None

    def keep(self, pools: Iterable[str]) -> None:
        """Forget all pools but these."""
        known = set(pools)
        for pool in [each for each in self._good if each not in known]:
            del self._good[pool]
            self._jobs.pop(pool, None)

    def ages(self) -> Series:
        """Give ages in seconds, by pool, signal and source; of several pools the oldest."""
        now = self._now()
        ages: dict[Values, float] = {}
        for pool, signals in sorted(self._good.items()):
            for name, good in signals.items():
                key = (self._pools.label(pool), name, good.source)
                age = max((now - good.observed_at).total_seconds(), 0.0)
                ages[key] = max(age, ages.get(key, 0.0))
        return sorted(ages.items())

    def jobs(self) -> Series:
        """Give the jobs that wait, by pool, where a fresh reading says so."""
        counts: Counter[str] = Counter()
        for pool, jobs in sorted(self._jobs.items()):
            if jobs is not None:
                counts[self._pools.label(pool)] += int(jobs)
        return [((pool,), number) for pool, number in counts.items()]


def ages_of(samples: Mapping[str, Mapping[str, Reading]], pools: Names, now: datetime) -> Series:
    """Give ages in seconds of what was read of pools of agents, by pool and signal.

    Where a signal has a good value no more, its last one counts. Of several pools the oldest.
    """
    ages: dict[Values, float] = {}
    for pool, signals in sorted(samples.items()):
        for name, sample in signals.items():
            good = sample.quality in (Quality.OK, Quality.STALE)
            if good and sample.observed_at is not None:
                key = (pools.label(pool), name)
                age = max((now - sample.observed_at).total_seconds(), 0.0)
                ages[key] = max(age, ages.get(key, 0.0))
    return sorted(ages.items())


def _plain(metrics: PoolMetrics) -> Reading:
    """Return what is known of a field without a reading of its own.

    It counts as fresh where a source has said nothing of any; else it was forgotten, and absent.
    """
    quality = Quality.ABSENT if metrics.readings else Quality.OK
    return Reading(0.0, "", metrics.observed_at, quality)
