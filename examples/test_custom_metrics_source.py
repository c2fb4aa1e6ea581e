"""What the author of the metrics source would test."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

from custom_metrics_source import JobQueueSource, main

from navarch import FakeClock, PoolMetrics, Quality


def ask(source: JobQueueSource, pool: str = "batch") -> PoolMetrics:
    """Ask about one pool."""
    return asyncio.run(source.get_pool_metrics(pool))


def test_waiting_jobs_are_the_queue() -> None:
    metrics = ask(JobQueueSource({"batch": 350}))
    assert (metrics.pending_jobs, metrics.queue_depth) == (350, 350)
    assert metrics.quality("queue_depth") is Quality.OK


def test_a_queue_that_does_not_answer_is_not_an_empty_one() -> None:
    source = JobQueueSource({"batch": 350})
    source.reachable = False
    assert ask(source).quality("queue_depth") is Quality.ERROR


def test_the_pool_holds_while_nobody_knows() -> None:
    clock = FakeClock(datetime(2026, 5, 4, 12, tzinfo=UTC))
    targets = [reason.split(":")[0] for reason in asyncio.run(main(clock))]
    assert targets == ["4", "4", "0"]
