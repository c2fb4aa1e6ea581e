"""The complete pool setup: two providers, a composite autoscaler and a control loop by hand.

Run it as ``python examples/control_loop.py``; it plays an afternoon in virtual time. With
`RealClock`, real providers and real metrics the loop is the same. A control plane does more: it
remembers, repairs and explains.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from navarch import (
    Clock,
    CompositeAutoscaler,
    FakeClock,
    PartialScaleUp,
    Pool,
    PoolConfig,
    PoolMetrics,
    Provider,
    ProviderConfig,
    QueueBasedAutoscaler,
    ReactiveAutoscaler,
    ScaleRecommendation,
)
from navarch.providers.fake import FakeProvider

log = logging.getLogger("control_loop")

AUTOSCALER = CompositeAutoscaler(
    "max", [ReactiveAutoscaler(70, 30), QueueBasedAutoscaler(jobs_per_node=100)]
)

AFTERNOON = [
    PoolMetrics(utilization=85, queue_depth=150),
    PoolMetrics(utilization=60, queue_depth=900),
    PoolMetrics(utilization=50, queue_depth=120),
    PoolMetrics(utilization=10, queue_depth=0),
]
"""What is measured at each turn of the loop."""


def inference_pool(lambda_: Provider, gcp: Provider, clock: Clock) -> Pool:
    """Describe a pool of A100 machines from two clouds."""
    return Pool(
        PoolConfig(
            name="inference",
            instance_type="a100-8x",
            min_nodes=2,
            max_nodes=50,
            cooldown_period=timedelta(minutes=5),
        ),
        providers=[
            ProviderConfig("lambda", lambda_, priority=1),
            ProviderConfig("gcp", gcp, priority=2),
        ],
        strategy="priority",
        clock=clock,
    )


async def control(pool: Pool, metrics: PoolMetrics) -> ScaleRecommendation:
    """Take one turn: ask the autoscaler, and do what it says."""
    state = pool.state(metrics)
    answer = AUTOSCALER.recommend(state)
    recommendation = answer if isinstance(answer, ScaleRecommendation) else await answer
    log.info("%d nodes (%s)", recommendation.target_nodes, recommendation.reason)
    missing = recommendation.target_nodes - state.current_nodes
    try:
        if missing > 0:
            await pool.scale_up(missing)
        elif missing < 0:
            await pool.scale_down(-missing)
    except PartialScaleUp as shortage:
        log.warning("%s", shortage)  # the next turn asks again
    return recommendation


async def main(measured: Iterable[PoolMetrics] = AFTERNOON) -> list[int]:
    """Run the loop, one turn every six minutes; return the number of nodes after each."""
    clock = FakeClock(datetime(2026, 5, 4, 12, tzinfo=UTC))
    lambda_, gcp = FakeProvider(name="lambda"), FakeProvider(name="gcp")
    lambda_.cloud.stock["a100-8x"] = 4
    pool = inference_pool(lambda_, gcp, clock)
    counts = []
    for metrics in measured:
        await control(pool, metrics)
        counts.append(len(pool.nodes()))
        clock.advance(timedelta(minutes=6))  # with a real clock: await clock.sleep(...)
    return counts


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(name)s: %(message)s")
    logging.getLogger("navarch").setLevel(logging.WARNING)
    print(asyncio.run(main()))
