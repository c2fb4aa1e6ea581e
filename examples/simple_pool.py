"""A pool of one provider: buy, cordon, replace, let go.

Run it as ``python examples/simple_pool.py``; it buys from a cloud in memory.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta

from navarch import Clock, Pool, PoolConfig, Provider, RealClock
from navarch.providers.fake import FakeProvider


def training_pool(provider: Provider, clock: Clock) -> Pool:
    """Describe a pool of H100 machines; nothing is bought yet."""
    config = PoolConfig(
        name="training",
        instance_type="gpu_8x_h100_sxm5",
        region="us-west-2",
        min_nodes=2,
        max_nodes=20,
        cooldown_period=timedelta(minutes=5),
        unhealthy_threshold=2,
        auto_replace=True,
        labels={"workload": "training"},
    )
    return Pool.simple(config, provider, "lambda", clock=clock)


async def main(clock: Clock) -> list[str]:
    """Take a pool through a day, and return the ids of the nodes it has at the end."""
    pool = training_pool(FakeProvider(gpu_count=8), clock)
    nodes = await pool.scale_up(4)
    print(f"bought {', '.join(node.id for node in nodes)}")

    pool.cordon(nodes[0].id, reason="bad cable")
    replacement = await pool.replace(nodes[0].id)
    print(f"{nodes[0].id} was replaced by {replacement.id}")

    await pool.scale_down(2)
    return [node.id for node in pool.nodes()]


if __name__ == "__main__":
    print(f"left are {', '.join(asyncio.run(main(RealClock())))}")
