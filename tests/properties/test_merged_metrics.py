"""However sources fail, a merged reading is what somebody said, and as good as it says it is."""

from __future__ import annotations

import asyncio
import math
from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from factories import at
from navarch.controlplane.clock import FakeClock
from navarch.core.scaling.base import QUEUE_DEPTH, PoolMetrics, Quality, Reading
from navarch.metrics import base
from navarch.metrics.merged import MergedMetricsSource

AGE_MAX = timedelta(minutes=2)

Said = tuple[Quality, int, int] | None
"""What a source says in one round: a quality, a value, and its age in seconds; None: it raises."""


class Scripted:
    """A source that says, in each round, what it was given."""

    def __init__(self, name: str, clock: FakeClock) -> None:
        self.name = name
        self.says: Said = None
        self._clock = clock

    async def get_pool_metrics(self, pool_name: str) -> PoolMetrics:
        if self.says is None:
            raise ConnectionError("away")
        quality, value, age = self.says
        is_told = quality in (Quality.OK, Quality.STALE)
        number = float(value) if is_told else math.nan
        observed_at = self._clock.now() - timedelta(seconds=age)
        reading = Reading(number, "jobs", observed_at if is_told else None, quality)
        return base.pool_metrics({QUEUE_DEPTH: reading}, source=self.name)


said = st.none() | st.tuples(st.sampled_from(Quality), st.integers(1, 1_000), st.integers(0, 600))
rounds = st.lists(st.tuples(said, said), min_size=1, max_size=8)


@given(rounds)
def test_a_reading_is_fresh_only_when_somebody_is_and_zero_only_when_somebody_says_so(
    script: list[tuple[Said, Said]],
) -> None:
    clock = FakeClock(at())
    sources = [Scripted("first", clock), Scripted("second", clock)]
    merged = MergedMetricsSource(sources, now=clock.now, freshness=AGE_MAX)

    async def story() -> None:
        ever: set[int] = set()
        for both in script:
            clock.advance(timedelta(seconds=45))
            for source, says in zip(sources, both, strict=True):
                source.says = says
            told = [says for says in both if says and says[0] in (Quality.OK, Quality.STALE)]
            fresh = [
                says[1]
                for says in told
                if says[0] is Quality.OK and timedelta(seconds=says[2]) <= AGE_MAX
            ]
            ever.update(says[1] for says in told)
            metrics = await merged.get_pool_metrics("h100")
            quality = metrics.quality(QUEUE_DEPTH)
            if fresh:
                assert (quality, metrics.queue_depth) == (Quality.OK, fresh[0])
            elif told:
                assert quality is Quality.STALE
                assert metrics.queue_depth in ever
            else:
                assert quality in (Quality.STALE, Quality.ABSENT, Quality.ERROR)
                assert quality is not Quality.STALE or metrics.queue_depth in ever

    asyncio.run(story())
