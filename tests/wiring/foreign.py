"""Plugins as somebody else would write them, and some that do not fit."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from navarch.core.model.offer import Offer
from navarch.core.scaling.base import PoolMetrics, PoolState, ScaleRecommendation
from navarch.core.selection.base import Market
from navarch.errors import NotFound, Unauthorized
from navarch.providers.base import Instance, Instances, ProvisionRequest


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


class Rack:
    """A provider that somebody else would write: one machine, which is always there."""

    def __init__(self, name: str = "rack", *, list_lag: object = timedelta(seconds=5)) -> None:
        self.name = name
        self.list_lag = list_lag
        self.closed = 0

    async def provision(self, request: ProvisionRequest) -> Instance:
        return Instance(id="1", provider=self.name, name=request.name)

    async def terminate(self, instance_id: str) -> None:
        raise NotFound(f"{self.name}: there is no machine {instance_id}")

    async def list(self) -> Instances:
        return [Instance(id="1", provider=self.name)]

    async def examine(self) -> Sequence[tuple[str, bool | None, str]]:
        return [("quota", False, "0 of 8 GPUs are left"), ("rights", True, "may launch")]

    async def close(self) -> None:
        self.closed += 1


class Refusing(Rack):
    """One whose credentials have been taken away."""

    async def list(self) -> Instances:
        raise Unauthorized(f"{self.name}: the key is refused")
