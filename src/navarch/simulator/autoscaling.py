"""Autoscaling: loads that rise and fall, who watches them, and what they propose.

A pool is evaluated exactly as the product's `PoolManager` does it: metrics, `pool_state`, a real
autoscaler, a `Recommended` message. Only the load is made up, and its metrics go blind at times:
they are stale, absent or an error, and show a zero then that must never be believed.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from datetime import datetime, timedelta

from msgspec import Struct

from navarch.core.model.fleet import Fleet
from navarch.core.model.messages import Recommended
from navarch.core.model.pool import PoolSpec
from navarch.core.scaling import target
from navarch.core.scaling.base import (
    PENDING_JOBS,
    QUEUE_DEPTH,
    UTILIZATION,
    PoolMetrics,
    Quality,
    Reading,
    ScaleRecommendation,
)
from navarch.core.scaling.composite import CompositeAutoscaler
from navarch.core.scaling.queue_based import QueueBasedAutoscaler
from navarch.core.scaling.reactive import ReactiveAutoscaler
from navarch.core.scaling.scheduled import ScheduledAutoscaler, ScheduleEntry
from navarch.simulator.dice import Stream
from navarch.simulator.markets import MINUTE, SECOND, ZERO
from navarch.simulator.timeline import EPOCH

Simple = ReactiveAutoscaler | QueueBasedAutoscaler
BuiltIn = Simple | CompositeAutoscaler | ScheduledAutoscaler

SWINGS_MAX = 4
"""How often, of the proposals that are remembered, a direction may change before it swings."""

WORDS_KEPT = 32
"""Proposals whose metrics are remembered: more than can be under way at one time."""


class Burst(Struct, frozen=True):
    """Jobs that come together and stay for a while."""

    begins: timedelta
    lasts: timedelta
    jobs: int


class Load(Struct, frozen=True):
    """How many jobs want to run, over time: a wave, and bursts on top of it."""

    base: int
    wave: int = 0
    """What the crest of the wave adds."""
    period: timedelta = timedelta(hours=24)
    bursts: tuple[Burst, ...] = ()

    def jobs(self, since: timedelta) -> int:
        """Count the jobs at a time since the beginning."""
        crest = (1 - math.cos(2 * math.pi * (since / self.period))) / 2
        burst = sum(
            each.jobs for each in self.bursts if each.begins <= since < each.begins + each.lasts
        )
        return self.base + round(self.wave * crest) + burst


class Blindness(Struct, frozen=True):
    """A time in which one of the metrics cannot be had."""

    field: str
    begins: timedelta
    lasts: timedelta
    quality: Quality


class ScaledPool(Struct, frozen=True):
    """A pool with an autoscaler, and what it sees."""

    pool: str
    autoscaler: BuiltIn
    load: Load
    jobs_per_node: int
    """How many jobs keep a node busy."""
    blindness: tuple[Blindness, ...] = ()


class Scaler:
    """Asks the autoscaler of one pool."""

    def __init__(self, plan: ScaledPool, now: Callable[[], datetime]) -> None:
        """Have asked nothing yet."""
        self.plan = plan
        self._now = now
        self._healed_at: timedelta | None = None
        self._is_hushed = False
        self._last: dict[str, float] = {}
        self._words: deque[tuple[Recommended, PoolMetrics]] = deque(maxlen=WORDS_KEPT)

    def heal(self) -> None:
        """From now on the load stays as it is, and everybody sees it."""
        self._healed_at = self._now() - EPOCH

    @property
    def swings(self) -> bool:
        """Whether it proposes more and less in turns, for ever.

        The mean of one that keeps what is there between two limits, and of one that does not, may
        have no number of nodes at which it rests, under a load that rests.
        """
        autoscaler = self.plan.autoscaler
        if not isinstance(autoscaler, CompositeAutoscaler) or autoscaler.mode != "avg":
            return False
        targets = [said.target for said, _ in self._words]
        turns = sum(
            (after - now) * (now - before) < 0
            for before, now, after in zip(targets, targets[1:], targets[2:], strict=False)
        )
        return turns > SWINGS_MAX

    def hush(self) -> None:
        """Propose nothing any more."""
        self._is_hushed = True

    def word(self, fleet: Fleet) -> Recommended | None:
        """Ask for a proposal; None while the pool is not configured, and when it is hushed."""
        pool = fleet.pools.get(self.plan.pool)
        if pool is None or self._is_hushed:
            return None
        metrics = self._metrics(fleet)
        state = target.pool_state(fleet, pool, metrics, self._now())
        answer = self.plan.autoscaler.recommend(state)
        assert isinstance(answer, ScaleRecommendation)  # the built-in ones need not be awaited
        word = Recommended(
            pool.name,
            answer.target_nodes,
            answer.reason,
            self.plan.autoscaler.name,
            answer.held,
        )
        self._words.append((word, metrics))
        return word

    def may_lower(self, word: Recommended, wanted: int) -> bool:
        """Whether a proposal stood on readings that allow a lower target.

        Somebody must have read a fresh number, and nobody may hold for want of one. Not everybody
        needs a reading: one that counts sick nodes looks at none, and wants more. What a schedule
        allows at most is a wish, and needs no reading either.
        """
        metrics = next(metrics for said, metrics in self._words if said is word)
        fresh = [metrics.quality(name) is Quality.OK for name in _needed(self.plan.autoscaler)]
        if all(fresh) or (any(fresh) and " holds " not in word.reason):
            return True
        return wanted in _ceilings(self.plan.autoscaler)

    def _metrics(self, fleet: Fleet) -> PoolMetrics:
        since = self._now() - EPOCH
        jobs = self.plan.load.jobs(since if self._healed_at is None else self._healed_at)
        room = self._serving(fleet) * self.plan.jobs_per_node
        truth: dict[str, float | None] = {
            UTILIZATION: min(100.0, 100.0 * jobs / room) if room else None,
            PENDING_JOBS: max(jobs - room, 0),
            QUEUE_DEPTH: jobs,
        }
        readings = {name: self._reading(name, value, since) for name, value in truth.items()}
        return PoolMetrics(
            utilization=readings[UTILIZATION].value,
            pending_jobs=int(readings[PENDING_JOBS].value),
            queue_depth=int(readings[QUEUE_DEPTH].value),
            observed_at=self._now(),
            readings=readings,
        )

    def _serving(self, fleet: Fleet) -> int:
        nodes = (fleet.node_of(each) for each in fleet.instances_of(self.plan.pool))
        return sum(node is not None and node.serving for node in nodes)

    def _reading(self, name: str, value: float | None, since: timedelta) -> Reading:
        quality = Quality.ABSENT if value is None else self._quality(name, since)
        if quality is Quality.OK and value is not None:
            self._last[name] = value
        elif quality is Quality.STALE and name not in self._last:
            quality = Quality.ABSENT
        known = quality in (Quality.OK, Quality.STALE)
        return Reading(self._last[name] if known else 0.0, "", self._now(), quality)

    def _quality(self, name: str, since: timedelta) -> Quality:
        if self._healed_at is not None:
            return Quality.OK
        for each in self.plan.blindness:
            if each.field == name and each.begins <= since < each.begins + each.lasts:
                return each.quality
        return Quality.OK


def _ceilings(autoscaler: object) -> frozenset[int]:
    """What a schedule allows at most, at one time or another."""
    if not isinstance(autoscaler, ScheduledAutoscaler):
        return frozenset()
    return frozenset(entry.max_nodes for entry in autoscaler.schedule)


def _needed(autoscaler: object) -> frozenset[str]:
    """The readings of which an autoscaler needs one to lower anything."""
    match autoscaler:
        case QueueBasedAutoscaler():
            return frozenset({QUEUE_DEPTH})
        case CompositeAutoscaler():
            return frozenset().union(*(_needed(child) for child in autoscaler.autoscalers))
        case ScheduledAutoscaler():
            return _needed(autoscaler.autoscaler)
        case _:
            return frozenset({UTILIZATION})


# --- drawing ---------------------------------------------------------------------------------


def draw_scaled(
    rolls: Stream, pools: tuple[PoolSpec, ...], lasts: timedelta
) -> tuple[ScaledPool, ...]:
    """Draw which pools have an autoscaler, which one, and what it sees."""
    return tuple(_scaled(rolls, pool, lasts) for pool in pools if rolls.chance(0.5))


def _scaled(rolls: Stream, pool: PoolSpec, lasts: timedelta) -> ScaledPool:
    jobs_per_node = rolls.integer(2, 10)
    return ScaledPool(
        pool.name,
        _autoscaler(rolls, pool, jobs_per_node),
        _load(rolls, jobs_per_node * pool.max_nodes, lasts),
        jobs_per_node,
        tuple(_blindness(rolls, lasts) for _ in range(rolls.pick((0, 1, 3)))),
    )


def _load(rolls: Stream, most: int, lasts: timedelta) -> Load:
    return Load(
        base=rolls.integer(0, most),
        wave=rolls.integer(0, most),
        period=rolls.between(5 * MINUTE, 12 * MINUTE),
        bursts=_swings(rolls, most, lasts) if rolls.chance(0.25) else _bursts(rolls, most, lasts),
    )


def _bursts(rolls: Stream, most: int, lasts: timedelta) -> tuple[Burst, ...]:
    return tuple(
        Burst(
            rolls.between(ZERO, lasts),
            rolls.between(30 * SECOND, 4 * MINUTE),
            rolls.integer(1, most),
        )
        for _ in range(rolls.pick((0, 1, 3)))
    )


def _swings(rolls: Stream, most: int, lasts: timedelta) -> tuple[Burst, ...]:
    """Draw a load that goes up and down at nearly every look."""
    up, down = (30 * SECOND * rolls.integer(1, 2) for _ in range(2))
    times = int(lasts / (up + down)) + 1
    return tuple(Burst(number * (up + down), up, most) for number in range(times))


def _blindness(rolls: Stream, lasts: timedelta) -> Blindness:
    return Blindness(
        rolls.pick((UTILIZATION, QUEUE_DEPTH, QUEUE_DEPTH)),
        rolls.between(ZERO, lasts),
        rolls.between(30 * SECOND, 6 * MINUTE),
        rolls.pick((Quality.STALE, Quality.ABSENT, Quality.ERROR)),
    )


def _autoscaler(rolls: Stream, pool: PoolSpec, jobs_per_node: int) -> BuiltIn:
    reactive = ReactiveAutoscaler(
        scale_up_at=rolls.pick((70.0, 80.0)), scale_up_step=rolls.integer(1, 2)
    )
    queue = QueueBasedAutoscaler(jobs_per_node)
    options: tuple[Simple, ...] = (reactive, queue)
    either = rolls.pick(options)
    kind = rolls.fraction()
    if kind < 0.5:
        return either
    if kind < 0.75:
        return CompositeAutoscaler(rolls.pick(("max", "min", "avg")), (reactive, queue))
    low = rolls.integer(pool.min_nodes, pool.max_nodes)
    entry = ScheduleEntry(
        start_hour=rolls.pick((0, 1)), min_nodes=low, max_nodes=rolls.integer(low, pool.max_nodes)
    )
    return ScheduledAutoscaler((entry,), either)
