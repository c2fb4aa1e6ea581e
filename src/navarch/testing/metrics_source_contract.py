"""What every source of a pool's demand must do, as checks that its author can run.

The fixture is `make_plugin`, as in every kit. Its far end must know `pool`, and not `unknown_pool`;
where there is none (`strict` is false), only how its absence is told is looked at.
"""

from __future__ import annotations

import asyncio
from typing import ClassVar, Final

from navarch.core.scaling.base import UTILIZATION, PoolMetrics, Quality
from navarch.metrics.base import PERCENT_MAX, MetricsSource, judged
from navarch.plugins.protocols import PluginKind
from navarch.testing.findings import Broken, checked, expect, not_shown, told
from navarch.testing.manners import Manners
from navarch.testing.metrics_provider_contract import HOSTILE

GOOD: Final = frozenset({Quality.OK, Quality.STALE})


class MetricsSourceContract(Manners):
    """The kit for metrics sources: add the fixture `make_plugin`."""

    kind: ClassVar[str] = PluginKind.METRICS_SOURCE
    has_priority: ClassVar[bool] = False

    pool: ClassVar[str] = "training"
    """A pool that its far end knows."""

    unknown_pool: ClassVar[str] = "nobody-has-this-pool"

    async def asked(self, plugin: MetricsSource, pool: str) -> PoolMetrics:
        """Ask; failing is an answer, so whatever is raised is wrong."""
        try:
            async with asyncio.timeout(self.patience.total_seconds()):
                answer = await plugin.get_pool_metrics(pool)
        except Exception as error:
            text = f"asked about {pool!r:.60}: {told(error)}; a source says so in its readings"
            raise Broken(text) from error
        if not isinstance(answer, PoolMetrics):
            raise Broken(f"asked about {pool!r:.60} it answers {answer!r:.60}")
        return answer

    @checked
    async def test_what_it_tells_can_be(self, plugin: MetricsSource) -> str:
        """A number that cannot be is an error, and no number."""
        answer = await self.asked(plugin, self.pool)
        expect(0 <= answer.utilization <= PERCENT_MAX, f"utilization is {answer.utilization}")
        expect(answer.pending_jobs >= 0, f"pending_jobs is {answer.pending_jobs}")
        expect(answer.queue_depth >= 0, f"queue_depth is {answer.queue_depth}")
        for name, reading in answer.readings.items():
            again = judged(name, reading)
            expect(again == reading, f"{name}: {again.detail}")
            late = reading.observed_at
            expect(late is None or late.tzinfo, f"{name} was seen at {late}, expected a time zone")
        return f"utilization {answer.utilization:g}, queue {answer.queue_depth}"

    @checked
    async def test_a_known_pool_has_a_fresh_value(self, plugin: MetricsSource) -> None:
        """At least one thing is known of a pool that is known."""
        if not self.strict:
            not_shown("nothing answers here")
        answer = await self.asked(plugin, self.pool)
        good = not answer.readings or any(
            reading.quality is Quality.OK for reading in answer.readings.values()
        )
        expect(good, f"nothing is known of {self.pool}: {_told(answer)}")

    @checked
    async def test_a_pool_that_nobody_knows_is_not_idle(self, plugin: MetricsSource) -> None:
        """Zero takes machines away; absent does not."""
        if not self.strict:
            not_shown("nothing answers here")
        answer = await self.asked(plugin, self.unknown_pool)
        good = {name for name, reading in answer.readings.items() if reading.quality in GOOD}
        fresh = {UTILIZATION, "pending_jobs", "queue_depth"} - answer.readings.keys() | good
        expect(not fresh, f"of {self.unknown_pool} it tells {', '.join(sorted(fresh))} as known")

    @checked
    async def test_a_pool_s_name_is_no_part_of_a_query(self, plugin: MetricsSource) -> None:
        """Whoever names a pool must not be able to ask for something else."""
        for hostile in HOSTILE:
            await self.asked(plugin, hostile)

    @checked
    async def test_calls_at_once_are_all_answered(self, plugin: MetricsSource) -> None:
        """All pools are read at the same time."""
        await asyncio.gather(*(self.asked(plugin, self.pool) for _ in range(8)))

    @checked
    async def test_a_call_that_is_cancelled_ends_and_can_be_repeated(
        self, plugin: MetricsSource
    ) -> None:
        """A slow source is given up."""
        for turns in (0, 1, 3):
            call = asyncio.ensure_future(plugin.get_pool_metrics(self.pool))
            for _ in range(turns):
                await asyncio.sleep(0)
            call.cancel()
            done, _ = await asyncio.wait([call], timeout=self.patience.total_seconds())
            expect(done, f"a cancelled call has not ended after {self.patience}")
            if not call.cancelled():
                call.exception()
        await self.asked(plugin, self.pool)


def _told(answer: PoolMetrics) -> str:
    return "; ".join(f"{name} {each.quality}" for name, each in answer.readings.items())
