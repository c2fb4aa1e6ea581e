"""What autoscalers of replicas are shown, and what they answer."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Final, Protocol

from msgspec import Struct, field

from navarch.core.model.resources import AgentClass, AgentPool, MetricTarget
from navarch.core.scaling.base import Quality, Reading
from navarch.core.serving.scaling import signals
from navarch.core.serving.scaling.series import Series, of_value

REPLICAS_MAX: Final = 1_000_000
"""More is never proposed, whatever a signal says."""

DIGITS: Final = 9
"""Behind the point, to which numbers of replicas are rounded before they are rounded up: 3 × 0.1
over 0.1 are three replicas, and not four."""


class Proposal(Struct, frozen=True):
    """How many replicas an autoscaler thinks right."""

    replicas: int
    reason: str
    """One sentence with the numbers in it."""
    by: str = ""
    """The autoscaler."""
    signal: str = ""
    """The signal that decided; empty: none did."""
    low: int = 0
    """Fewer are surely too few, whatever others propose."""
    high: int | None = None
    """More are surely too many; None: nobody knows. `low` wins over it."""
    held: bool = False
    """Whether it cannot know enough to take replicas away."""
    with_warm: bool = False
    """Whether those that are kept warm are counted already, so that the host adds none."""
    confidence: float = 1.0
    """From 0 to 1; told, not used."""


class Demand(Struct, frozen=True):
    """A pool of agents as its autoscalers see it."""

    pool: AgentPool
    agent_class: AgentClass | None = None
    current: int = 0
    """Replicas that are wanted now."""
    ready: int = 0
    """Those of them that serve."""
    series: Mapping[str, Series] = field(default_factory=dict)
    """By the signal's name in the catalogue."""
    now: datetime = datetime(1970, 1, 1, tzinfo=UTC)

    def reading(self, name: str, window: timedelta = timedelta()) -> Reading:
        """Return what is known of a signal, averaged over a window."""
        plain = signals.canonical(name)
        return self.series.get(plain, Series(plain)).reading(self.now, window)

    def fresh(self, name: str, window: timedelta = timedelta()) -> float | None:
        """Return a signal's value; None: it is not fresh."""
        found = self.reading(name, window)
        return found.value if found.quality is Quality.OK else None

    def waiting(self) -> str:
        """Say who is there to be served, in a few words; empty: nobody, as far as is known.

        What is stale counts too: somebody waited then, and nothing says that he went.
        """
        for name in signals.WAITING:
            found = self.reading(name)
            if found.quality in (Quality.OK, Quality.STALE) and found.value > 0:
                return f"{name} {found.value:g}"
        return ""

    def idle(self) -> bool:
        """Whether it is known that nobody is there to be served.

        That takes a fresh zero of who is being served, not only of who waits, and none of the
        signals that are there may say otherwise or be in doubt.
        """
        known = {name: self.reading(name) for name in signals.WAITING}
        served = (signals.CONCURRENT_SESSIONS, signals.REQUESTS_PER_SECOND)
        if all(known[name].quality is not Quality.OK for name in served):
            return False
        return all(
            reading.quality is Quality.ABSENT
            or (reading.quality is Quality.OK and reading.value == 0)
            for reading in known.values()
        )


class ReplicaAutoscaler(Protocol):
    """The rich form of an autoscaler. Pure: the same demand gives the same proposal."""

    name: str
    priority: int

    @property
    def metric_names(self) -> list[str]:
        """The signals that it wants to see."""
        ...

    def propose(self, demand: Demand) -> Proposal:
        """Propose a number of replicas; bounds, rates and windows are the host's."""
        ...


def ceiling(replicas: float) -> int:
    """Round up; anything above zero is at least one, and nothing is above `REPLICAS_MAX`."""
    if not replicas > 0:
        return 0
    if replicas >= REPLICAS_MAX:
        return REPLICAS_MAX
    return max(math.ceil(round(replicas, DIGITS)), 1)


def warmed(proposal: Proposal, percent: float) -> int:
    """Add the replicas that are kept warm to what a proposal needs."""
    if proposal.with_warm or not percent > 0:
        return min(proposal.replicas, REPLICAS_MAX)
    return ceiling(proposal.replicas * (100 + percent) / 100)


def hold(demand: Demand, reason: str, *, by: str = "", signal: str = "") -> Proposal:
    """Propose what there is, because more cannot be known.

    Somebody who waits in front of no replica at all gets one.
    """
    replicas = demand.current
    waiting = demand.waiting() if replicas == 0 else ""
    if waiting:
        return Proposal(
            1,
            f"{reason}; {waiting} and no replica: 1",
            by,
            signal,
            low=1,
            held=True,
            with_warm=True,
        )
    return Proposal(replicas, reason, by, signal, held=True, with_warm=True)


def flaw(reading: Reading) -> str:
    """Say what is wrong with a reading, in a few words."""
    return f"{reading.quality}" + (f" ({reading.detail})" if reading.detail else "")


def configured(pool: AgentPool, name: str) -> MetricTarget | None:
    """Find the pool's own target for a signal; None: it has none."""
    plain = signals.canonical(name)
    found = (one for one in pool.spec.autoscaling.metrics if signals.canonical(one.type) == plain)
    return next(found, None)


def of_metrics(pool: AgentPool, current_metrics: Mapping[str, float]) -> Demand:
    """Make the demand that the documents' form of an autoscaler is asked about."""
    now = datetime(1970, 1, 1, tzinfo=UTC)
    series = {
        signals.canonical(name): of_value(name, value, now)
        for name, value in current_metrics.items()
    }
    status = pool.status
    return Demand(pool, None, status.replicas, status.ready_replicas, series, now)
