"""What autoscalers are given, what they answer, and what they are.

Absent, stale and zero are three different readings, and only a fresh one may scale anything down.
A `PoolMetrics` made by hand counts as fresh; one that a metrics source made says of each field how
good its reading is.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Protocol

from msgspec import Struct, field


class Quality(StrEnum):
    """How good a reading is."""

    OK = "ok"
    STALE = "stale"
    """It was good once, too long ago."""
    ABSENT = "absent"
    """The source answered, and has no such value."""
    ERROR = "error"
    """The source could not be asked."""


class Reading(Struct, frozen=True):
    """One value that a source gave."""

    value: float
    """Meaningless when `quality` is absent or error."""
    unit: str
    """Such as ``percent`` or ``jobs``."""
    observed_at: datetime | None = None
    """When it was true, in UTC; None when the source does not say."""
    quality: Quality = Quality.OK
    source: str = ""
    """Who gave it; empty when it does not matter."""
    detail: str = ""
    """Why it is not good; empty when it is."""


UTILIZATION = "utilization"
UTILIZATION_HISTORY = "utilization_history"
PENDING_JOBS = "pending_jobs"
QUEUE_DEPTH = "queue_depth"


class PoolMetrics(Struct, frozen=True):
    """What is known about the demand on a pool."""

    utilization: float = 0.0
    """Mean over the GPUs of the pool's live nodes, from 0 to 100."""
    pending_jobs: int = 0
    """Jobs that wait to run."""
    queue_depth: int = 0
    """Jobs in all, waiting and running."""
    utilization_history: Sequence[float] = ()
    """Earlier values of `utilization`, oldest first, one an interval; they never change."""
    observed_at: datetime | None = None
    """When the newest of it was true; None: just now, as far as anybody knows."""
    readings: Mapping[str, Reading] = field(default_factory=dict)
    """The same values by field name with their quality; a field that is missing here is fresh."""
    history_interval: timedelta | None = None
    """The time between two values of the history; None when it is not known."""
    capacity_history: Sequence[float] = ()
    """The live nodes at each value of `utilization_history`, so that both give the demand.

    Of another length than that one: not known. Then the present number is taken for all of it.
    """

    def quality(self, name: str) -> Quality:
        """How good the reading of a field is."""
        reading = self.readings.get(name)
        return Quality.OK if reading is None else reading.quality


class PoolState(Struct, frozen=True):
    """A pool as an autoscaler sees it."""

    name: str = ""
    current_nodes: int = 0
    """Wanted machines, booting ones included."""
    healthy_nodes: int | None = None
    """Nodes that can take work; None: nobody counted, and all that are not booting count."""
    min_nodes: int = 0
    max_nodes: int = 0
    metrics: PoolMetrics = PoolMetrics()
    last_scale_time: datetime | None = None
    """When the target last changed; None: never."""
    cooldown_period: timedelta = timedelta()
    now: datetime | None = None
    """The present; None where the caller has no clock: then no cooldown and no schedule counts."""
    booting_nodes: int = 0
    """Machines among `current_nodes` that are still on their way."""

    @property
    def utilization(self) -> float:
        """Mean GPU utilization, from 0 to 100."""
        return self.metrics.utilization

    @property
    def pending_jobs(self) -> int:
        """Jobs that wait to run."""
        return self.metrics.pending_jobs

    @property
    def queue_depth(self) -> int:
        """Jobs in all."""
        return self.metrics.queue_depth

    @property
    def utilization_history(self) -> Sequence[float]:
        """Earlier utilization, oldest first."""
        return self.metrics.utilization_history

    @property
    def time_of_day(self) -> timedelta | None:
        """The time since midnight UTC; None without a clock."""
        if self.now is None:
            return None
        midnight = self.now.replace(hour=0, minute=0, second=0, microsecond=0)
        return self.now - midnight

    @property
    def day_of_week(self) -> int | None:
        """The day in UTC, 0 is Monday; None without a clock."""
        return None if self.now is None else self.now.weekday()

    @property
    def live_nodes(self) -> int:
        """Nodes that can take work now, at least 0."""
        known = self.healthy_nodes
        return max(self.current_nodes - self.booting_nodes if known is None else known, 0)

    @property
    def unhealthy_nodes(self) -> int:
        """Nodes that neither can take work nor are on their way, at least 0."""
        return max(self.current_nodes - self.booting_nodes - self.live_nodes, 0)

    @property
    def cooldown_left(self) -> timedelta:
        """How long the cooldown still lasts; zero when it is over.

        A last scaling in the future (a clock was set back) counts as just now.
        """
        if self.now is None or self.last_scale_time is None:
            return timedelta()
        elapsed = max(self.now - self.last_scale_time, timedelta())
        return max(self.cooldown_period - elapsed, timedelta())


class ScaleRecommendation(Struct, frozen=True):
    """What an autoscaler proposes."""

    target_nodes: int
    reason: str
    """One sentence with the numbers in it."""
    held: bool = False
    """Whether it proposes no change because it cannot know, or may not change yet."""
    faults: tuple[str, ...] = ()
    """What went wrong inside while this answer could still be given, for logs and counters."""


Answer = ScaleRecommendation | Awaitable[ScaleRecommendation]
"""What `Autoscaler.recommend` returns: the proposal, or one to be awaited."""


class Autoscaler(Protocol):
    """Says how many nodes a pool should have.

    `recommend` must be pure: the same state gives the same answer. One that has to ask somebody
    else is written with ``async def``; it is awaited outside of the core, with a deadline.
    """

    @property
    def name(self) -> str:
        """What it is called in reasons and traces; never empty."""
        ...

    def recommend(self, state: PoolState) -> Answer:
        """Propose a number of nodes. Raising is a fault: it is traced, and the pool holds."""
        ...


def revised(answer: Answer, revise: Callable[[ScaleRecommendation], ScaleRecommendation]) -> Answer:
    """Put an answer through `revise`: at once, or when it is awaited if it has to be awaited.

    This is how an autoscaler that wraps others stays a plain function around plain functions, and
    becomes one to be awaited only around one that is.
    """
    if isinstance(answer, Awaitable):
        return _revised_later(answer, revise)
    return revise(answer)


async def _revised_later(
    answer: Awaitable[ScaleRecommendation],
    revise: Callable[[ScaleRecommendation], ScaleRecommendation],
) -> ScaleRecommendation:
    return revise(await answer)
