"""A pool of several providers: who is sold out is passed over, and the error says why.

Run it as ``python examples/multi_provider_pool.py``; it buys from two clouds in memory.
"""

from __future__ import annotations

import asyncio
from collections import Counter

from navarch import Clock, PartialScaleUp, Pool, PoolConfig, Provider, ProviderConfig, RealClock
from navarch.providers.fake import FakeProvider

LAMBDA_TYPE, GCP_TYPE = "gpu_8x_h100_sxm5", "a3-highgpu-8g"


def fungible_pool(lambda_: Provider, gcp: Provider, clock: Clock) -> Pool:
    """Describe a pool that takes H100 machines from wherever there are some."""
    return Pool(
        PoolConfig(name="fungible", min_nodes=4, max_nodes=32),
        providers=[
            ProviderConfig("lambda", lambda_, priority=1, instance_type=LAMBDA_TYPE),
            ProviderConfig("gcp", gcp, priority=2, instance_type=GCP_TYPE),
        ],
        strategy="priority",  # or "cost", "availability", "round-robin"
        clock=clock,
    )


async def main(clock: Clock) -> tuple[Counter[str], PartialScaleUp | None]:
    """Buy ten where the first has three and the second has five; return what came of it."""
    lambda_, gcp = FakeProvider(name="lambda"), FakeProvider(name="gcp")
    lambda_.cloud.stock[LAMBDA_TYPE] = 3
    gcp.cloud.stock[GCP_TYPE] = 5
    pool = fungible_pool(lambda_, gcp, clock)
    shortage = None
    try:
        await pool.scale_up(10)
    except PartialScaleUp as error:
        shortage = error
        print(f"only {len(error.bought)} of {error.wanted}: {error.because}")
    return Counter(node.provider for node in pool.nodes()), shortage


if __name__ == "__main__":
    print(dict(asyncio.run(main(RealClock()))[0]))
