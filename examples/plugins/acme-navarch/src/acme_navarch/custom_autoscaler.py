"""A replica autoscaler that follows the queue.

Bounds, windows and rates are the host's: a plugin that keeps within the pool's limits itself only
makes its reasons easier to read.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated

from msgspec import Meta, Struct

from navarch.core.model.resources import AgentPoolSpec
from navarch.plugins import AgentPool


class CustomAutoscaler:
    """Wants a replica for every so many requests that wait."""

    name = "custom-autoscaler"
    version = "1.0.0"
    priority = 150

    class Config(Struct, frozen=True):
        """How long the queue of a replica may be."""

        target_depth_per_replica: Annotated[float, Meta(gt=0)] = 10.0

    def __init__(self, config: Config | None = None) -> None:
        """Go by this depth."""
        self.config = config or self.Config()

    @property
    def metric_names(self) -> list[str]:
        """The signals that it wants to see."""
        return ["queue-depth"]

    def calculate_replicas(self, pool: AgentPool, current_metrics: Mapping[str, float]) -> int:
        """Propose a number. A missing signal is not an empty queue: then nothing changes."""
        depth = current_metrics.get("queue-depth")
        if depth is None or not math.isfinite(depth):
            return pool.status.replicas
        wanted = math.ceil(depth / self.config.target_depth_per_replica)
        return min(max(wanted, pool.spec.min_replicas, 0), max(pool.spec.max_replicas, 0))


def main() -> list[int]:
    """Ask about an empty, a short and a long queue."""
    scaler, pool = CustomAutoscaler(), AgentPool(spec=AgentPoolSpec(min_replicas=1, max_replicas=8))
    return [scaler.calculate_replicas(pool, {"queue-depth": depth}) for depth in (0, 31, 500)]


if __name__ == "__main__":
    print(*main())
