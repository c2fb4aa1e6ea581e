"""Several metrics sources as one: field by field, in an order that is declared.

Fleets have a scheduler that knows the queue, a monitoring that knows the GPUs, and both fail. This
file decides whose word counts for what, and what is said when nobody answers.

Rules that hold:

- For each field, the first source in its order with a fresh reading wins.
- A reading is fresh when it is OK and not older than `freshness`. A time ahead of ours by more
  than that is a wrong clock, and is not fresh.
- Nobody fresh: the last good value is served again, STALE, with its age and with what each source
  said. Nothing remembered: ERROR if anybody failed, else ABSENT. A value is never made up.
- All sources are asked at once. One that does not answer within `deadline` is left behind, and
  not asked again about that pool until its last question has ended.
- A source that raises is a source that failed: its fault is logged with the traceback.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from navarch.core.scaling.base import (
    PENDING_JOBS,
    QUEUE_DEPTH,
    UTILIZATION,
    PoolMetrics,
    Quality,
    Reading,
)
from navarch.errors import ConfigError
from navarch.metrics import base
from navarch.metrics.base import FIELDS, UNITS, UTILIZATION_HISTORY, MetricsSource
from navarch.telemetry.log import Log

POOLS_MAX: Final = 10_000
"""How many pools are remembered; the one asked about longest ago is forgotten first."""

log = Log(__name__)


class _Offer(Struct, frozen=True):
    """What one source says of one field, complete with its history where that is the field."""

    reading: Reading
    history: Sequence[float] = ()
    capacity: Sequence[float] = ()
    history_interval: timedelta | None = None


class MergedMetricsSource:
    """Asks several sources and takes the best reading of each field."""

    def __init__(
        self,
        sources: Sequence[MetricsSource],
        *,
        now: Callable[[], datetime],
        order: Mapping[str, Sequence[str]] | None = None,
        freshness: timedelta | Mapping[str, timedelta] = timedelta(minutes=2),
        deadline: timedelta = timedelta(seconds=20),
        name: str = "merged",
    ) -> None:
        """Merge `sources`, whose order counts for every field that `order` does not name.

        `order` gives, by field, the names of the sources that may answer it, best first; others
        are not asked about it. `freshness` is one age for all fields, or one by field; two minutes
        where it says nothing, which is four evaluations of a pool.

        :raises ConfigError: two sources of one name, or an unknown field or source
        """
        self.name = name
        self._sources = {source.name: source for source in sources}
        self._now = now
        self._deadline = deadline
        if len(self._sources) != len(sources) or not sources:
            raise ConfigError(f"{name}: give sources, at least one, each with a name of its own")
        self._order = {field: tuple(self._sources) for field in FIELDS}
        self._order.update({field: tuple(names) for field, names in (order or {}).items()})
        ages = freshness if isinstance(freshness, Mapping) else dict.fromkeys(FIELDS, freshness)
        self._freshness = dict.fromkeys(FIELDS, timedelta(minutes=2)) | dict(ages)
        self._demand_known()
        self._remembered: dict[str, dict[str, _Offer]] = {}
        self._asked: dict[tuple[str, str], asyncio.Task[PoolMetrics]] = {}

    def _demand_known(self) -> None:
        for field in {**self._order, **self._freshness}:
            if field not in FIELDS:
                raise ConfigError(f"{self.name}: no field {field!r}, expected one of {FIELDS}")
        for field, names in self._order.items():
            for source in names:
                if source not in self._sources:
                    known = ", ".join(self._sources)
                    raise ConfigError(f"{self.name}: {field}: no source {source!r} in {known}")

    async def get_pool_metrics(self, pool_name: str) -> PoolMetrics:
        """Ask everybody who may answer something, and merge. Comes within the deadline."""
        wanted = dict.fromkeys(name for names in self._order.values() for name in names)
        answers = await self._answers(pool_name, list(wanted))
        now = self._now()
        last_good = self._remembered.pop(pool_name, {})
        chosen: dict[str, _Offer] = {}
        for field, names in self._order.items():
            offers = [_offer(answers[name], field, name) for name in names]
            chosen[field] = self._choose(field, offers, last_good.get(field), now)
            if chosen[field].reading.quality is Quality.OK:
                last_good[field] = _dated(chosen[field], now)
        self._remember(pool_name, last_good)
        history = chosen[UTILIZATION_HISTORY]
        extra = {
            field: reading
            for name in reversed(wanted)
            for field, reading in answers[name].readings.items()
        }
        return base.pool_metrics(
            {**extra, **{field: offer.reading for field, offer in chosen.items()}},
            source=self.name,
            history=history.history,
            capacity=history.capacity,
            history_interval=history.history_interval,
        )

    def _choose(
        self, field: str, offers: Sequence[_Offer], last_good: _Offer | None, now: datetime
    ) -> _Offer:
        """Pick the offer that counts; `offers` are in the order of preference, maybe empty."""
        age_max = self._freshness[field]
        complaints = []
        old = [last_good] if last_good else []
        for offer in offers:
            reading = offer.reading
            complaint = _complaint(reading, now, age_max)
            if not complaint:
                return offer
            complaints.append(f"{reading.source}: {complaint}")
            if reading.quality in (Quality.OK, Quality.STALE) and reading.observed_at:
                old.append(offer)
        said = "; ".join(complaints) or "no source is asked for it"
        past = [offer for offer in old if _is_past(offer.reading, now, age_max)]
        if past:
            newest = max(past, key=lambda offer: offer.reading.observed_at or now)
            detail = f"{_age(newest.reading, now)}; {said}"
            reading = replace(newest.reading, quality=Quality.STALE, detail=detail)
            return replace(newest, reading=reading)
        failed = any(offer.reading.quality is not Quality.ABSENT for offer in offers)
        unknown = base.error if failed else base.absent
        return _Offer(unknown(field, said, self.name))

    def _remember(self, pool: str, last_good: dict[str, _Offer]) -> None:
        self._remembered[pool] = last_good
        while len(self._remembered) > POOLS_MAX:
            del self._remembered[next(iter(self._remembered))]

    async def _answers(self, pool: str, names: Sequence[str]) -> dict[str, PoolMetrics]:
        """Ask the named sources at once; each has an answer afterwards, of errors if need be."""
        asked = {name: self._ask(pool, name) for name in names}
        await self._wait(asked)
        return {name: self._answer(name, task) for name, task in asked.items()}

    def _ask(self, pool: str, name: str) -> asyncio.Task[PoolMetrics]:
        """Ask, or join whoever is just asking the same."""
        task = self._asked.get((pool, name))
        if task is None:
            question = _question(self._sources[name], pool)
            task = asyncio.create_task(question, name=f"{name}: {pool}")
            self._asked[pool, name] = task
            task.add_done_callback(lambda _: self._asked.pop((pool, name)))
        return task

    async def _wait(self, asked: Mapping[str, asyncio.Task[PoolMetrics]]) -> None:
        """Wait until all are done or the deadline has come; cancel what is not done by then."""
        pending = [task for task in asked.values() if not task.cancelling()]
        try:
            if pending:
                await asyncio.wait(pending, timeout=self._deadline.total_seconds())
        finally:
            for task in asked.values():
                task.cancel()

    def _answer(self, name: str, task: asyncio.Task[PoolMetrics]) -> PoolMetrics:
        if not task.done():
            within = f"{self._deadline.total_seconds():g} s"
            return base.unanswered(f"no answer within {within}", name)
        if task.cancelled():
            return base.unanswered("the question was cancelled", name)
        fault = task.exception()
        if fault is not None:
            log.error("plugin_broke", kind="metrics-source", plugin=name, raised=fault)
            return base.unanswered(f"{type(fault).__name__}: {fault}", name)
        return task.result()


async def _question(source: MetricsSource, pool: str) -> PoolMetrics:
    answer: object = await source.get_pool_metrics(pool)
    if not isinstance(answer, PoolMetrics):
        raise TypeError(f"get_pool_metrics gave a {type(answer).__name__}, expected PoolMetrics")
    return answer


def _offer(metrics: PoolMetrics, field: str, source: str) -> _Offer:
    """Take what a source says of a field; one without a reading counts as fresh."""
    plain: Mapping[str, float] = {
        UTILIZATION: metrics.utilization,
        PENDING_JOBS: metrics.pending_jobs,
        QUEUE_DEPTH: metrics.queue_depth,
        UTILIZATION_HISTORY: len(metrics.utilization_history),
    }
    reading = metrics.readings.get(field)
    if reading is None:
        if field == UTILIZATION_HISTORY and not metrics.utilization_history:
            return _Offer(base.absent(field, "no history", source))
        reading = Reading(plain[field], UNITS[field], metrics.observed_at)
    if reading.unit != UNITS[field]:
        wrong = f"the unit is {reading.unit}, expected {UNITS[field]}"
        return _Offer(base.error(field, wrong, source))
    judged = base.judged(field, replace(reading, source=reading.source or source))
    if field != UTILIZATION_HISTORY:
        return _Offer(judged)
    return _Offer(
        judged, metrics.utilization_history, metrics.capacity_history, metrics.history_interval
    )


def _dated(offer: _Offer, now: datetime) -> _Offer:
    """Give a reading that came without a time the present one, so that its age can be told."""
    if offer.reading.observed_at is not None:
        return offer
    return replace(offer, reading=replace(offer.reading, observed_at=now))


def _complaint(reading: Reading, now: datetime, age_max: timedelta) -> str:
    """Say why a reading does not count as fresh; empty when it does."""
    if reading.quality is not Quality.OK:
        return reading.detail or reading.quality.value
    if reading.observed_at is None:
        return ""
    if reading.observed_at - now > age_max:
        return f"its clock is {reading.observed_at - now} ahead of ours"
    if now - reading.observed_at > age_max:
        return f"{_age(reading, now)}, at most {age_max.total_seconds():g} s is fresh"
    return ""


def _is_past(reading: Reading, now: datetime, age_max: timedelta) -> bool:
    return reading.observed_at is not None and reading.observed_at - now <= age_max


def _age(reading: Reading, now: datetime) -> str:
    assert reading.observed_at is not None
    return f"{max((now - reading.observed_at).total_seconds(), 0):.0f} s old"
