"""Plugins as somebody else would write them, and some that do not fit."""

from __future__ import annotations

from collections.abc import Sequence

from navarch.core.model.offer import Offer
from navarch.core.scaling.base import PoolMetrics, PoolState, ScaleRecommendation
from navarch.core.selection.base import Market


class Steady:
    """Wants the same number whatever happens."""

    name = "steady"

    def __init__(self, nodes: int = 1) -> None:
        self.nodes = nodes

    def recommend(self, state: PoolState) -> ScaleRecommendation:
        return ScaleRecommendation(self.nodes, "it is told so")


class Tickets:
    """Knows how many tickets there are."""

    name = "tickets"

    def __init__(self, count: int = 0) -> None:
        self.count = count
        self.closed = False

    async def get_pool_metrics(self, pool_name: str) -> PoolMetrics:
        return PoolMetrics(queue_depth=self.count)

    async def close(self) -> None:
        self.closed = True


class Backwards:
    """Ranks offers from the last to the first."""

    name = "backwards"

    def rank(self, offers: Sequence[Offer], market: Market) -> Sequence[Offer]:
        return offers[::-1]

    def because(self, offer: Offer, market: Market) -> str:
        return "it came last"


class Nameless(Steady):
    """An autoscaler that reasons could not name."""

    name = ""


def not_a_class() -> Steady:
    return Steady()
