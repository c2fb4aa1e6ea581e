"""Pool metrics from Prometheus, or whatever speaks its HTTP API: one PromQL expression a field.

It exists because most fleets measure already, and because which series means "busy" is theirs to
say. ``$pool`` in an expression stands for the pool's name.

Rules that hold:

- An expression gives one number. Nothing, or not-a-number, is ABSENT. Several series are an ERROR
  that names them: which of them was meant is not ours to guess.
- An answer that comes with a warning is an ERROR: part of it may be missing, and a part looks like
  less.
- The time of a value is the sample's. Prometheus stamps the *evaluation*, and looks five minutes
  back by itself; where that is too long, `times` asks for the true age in PromQL.

Read for this: "HTTP API" and "Querying basics" of the Prometheus documentation, November 2026.
"""

from __future__ import annotations

import asyncio
import math
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final

from msgspec import Struct

from navarch.core.scaling.base import UTILIZATION, PoolMetrics, Quality, Reading
from navarch.errors import ConfigError
from navarch.metrics import base, promql
from navarch.metrics.base import FIELDS, UTILIZATION_HISTORY
from navarch.metrics.promql import PromQL
from navarch.peers.endpoint import Credentials, Endpoint
from navarch.peers.unanswered import Unanswered

POOL: Final = re.compile(r"\$(?:\{pool\}|pool\b)")
"""What stands for the pool's name in an expression."""

NAME: Final = re.compile(r"[\w.:/@-]+")
"""The pool names that mean themselves both in a PromQL string and in a regular expression."""

SAMPLES_MAX: Final = 11_000
"""Prometheus refuses range queries that give more points a series."""


class History(Struct, frozen=True, kw_only=True):
    """How much of the past is asked for.

    :raises ConfigError: it is more values than Prometheus gives, or none apart
    """

    window: timedelta = timedelta(hours=1)
    """How far back it reaches; zero asks for none."""

    interval: timedelta = timedelta(minutes=1)
    """The time between two values, above zero."""

    def __post_init__(self) -> None:
        """Refuse what would be refused with each question."""
        if self.interval <= timedelta() or self.window / self.interval > SAMPLES_MAX:
            raise ConfigError(
                f"history of {self.window} each {self.interval}: expected an interval above zero "
                f"and at most {SAMPLES_MAX} of them"
            )


class PrometheusMetricsSource:
    """Asks Prometheus one question a field."""

    def __init__(
        self,
        url: str,
        queries: Mapping[str, str],
        *,
        now: Callable[[], datetime],
        times: Mapping[str, str] | None = None,
        history: History | None = None,
        deadline: timedelta = timedelta(seconds=10),
        credentials: Credentials | None = None,
        name: str = "prometheus",
    ) -> None:
        """Ask at `url`, the address that ``/api/v1/query`` stands below.

        `queries` has an expression for each field that is asked for; `times`, for those fields
        whose true age matters, one that gives the Unix time at which the value was true, such as
        ``min(timestamp(queue_jobs{pool="$pool"}))``. The `history` is that of the expression for
        ``utilization_history`` or else for ``utilization``.

        :raises ConfigError: an unknown field or an empty expression
        """
        self.name = name
        self._queries = dict(queries)
        self._times = dict(times or {})
        self._now = now
        self._history_asked = history or History()
        self._demand_sense(name)
        self._promql = PromQL(Endpoint(url, credentials=credentials), deadline)

    def _demand_sense(self, name: str) -> None:
        for field, expression in self._queries.items():
            if field not in FIELDS:
                raise ConfigError(f"{name}: no field {field!r}, expected one of {list(FIELDS)}")
            if not expression.strip():
                raise ConfigError(f"{name}: the query for {field} is empty")
        for field in self._times:
            if field not in self._queries:
                raise ConfigError(f"{name}: a time for {field}, which no query asks for")

    async def get_pool_metrics(self, pool_name: str) -> PoolMetrics:
        """Ask everything at once; the answer comes within the deadline."""
        if not NAME.fullmatch(pool_name):
            return base.unanswered(f"{pool_name!r} cannot stand in a PromQL string", self.name)
        asked = [field for field in self._queries if field != UTILIZATION_HISTORY]
        readings, history = await asyncio.gather(
            asyncio.gather(*(self._reading(field, pool_name) for field in asked)),
            self._history(pool_name),
        )
        values, reading = history
        return base.pool_metrics(
            {**dict(zip(asked, readings, strict=True)), UTILIZATION_HISTORY: reading},
            source=self.name,
            history=values,
            history_interval=self._history_asked.interval,
        )

    async def close(self) -> None:
        """Give up the connections."""
        await self._promql.close()

    async def _reading(self, field: str, pool: str) -> Reading:
        try:
            found = await self._promql.one(self._expression(self._queries[field], pool))
            if found is None:
                return base.absent(field, "the query gives nothing", self.name)
            observed_at, value = found
            if not math.isfinite(value):
                return base.absent(field, f"the query gives {value}", self.name)
            if field in self._times:
                stamped = await self._promql.one(self._expression(self._times[field], pool))
                if stamped is None or not math.isfinite(stamped[1]):
                    return base.absent(field, "the query for its time gives nothing", self.name)
                observed_at = promql.moment(stamped[1])
        except Unanswered as failure:
            return base.error(field, str(failure), self.name)
        return base.fresh(field, value, observed_at=observed_at, source=self.name)

    def _expression(self, template: str, pool: str) -> str:
        return POOL.sub(pool, template)

    async def _history(self, pool: str) -> tuple[tuple[float, ...], Reading]:
        """Ask for the history, on a grid of whole intervals so that two answers agree."""
        expression = self._queries.get(UTILIZATION_HISTORY) or self._queries.get(UTILIZATION)
        if expression is None or not self._history_asked.window:
            return (), base.absent(UTILIZATION_HISTORY, "not asked for", self.name)
        step = self._history_asked.interval.total_seconds()
        end = math.floor(self._now().timestamp() / step) * step
        query = {
            "query": self._expression(expression, pool),
            "start": f"{end - self._history_asked.window.total_seconds():.3f}",
            "end": f"{end:.3f}",
            "step": f"{step:.3f}",
        }
        try:
            series = await self._promql.matrix(query)
            promql.demand_one(series)
            values, observed_at = _unbroken(series[0].values if series else [], step)
        except Unanswered as failure:
            return (), base.error(UTILIZATION_HISTORY, str(failure), self.name)
        if observed_at is None:
            return (), base.absent(UTILIZATION_HISTORY, "the query gives nothing", self.name)
        count = float(len(values))
        return values, base.fresh(
            UTILIZATION_HISTORY, count, observed_at=observed_at, source=self.name
        )


def _unbroken(
    samples: Sequence[tuple[float, str]], step: float
) -> tuple[tuple[float, ...], datetime | None]:
    """Take the values since the last gap, oldest first, and the time of the newest.

    A forecast counts values as intervals, so that what stands before a gap would be read at the
    wrong time. Values that cannot be are gaps too.
    """
    values: list[float] = []
    newest = before = None
    for at, text in samples:
        value = promql.number(text)
        if base.judged(UTILIZATION, Reading(value, "percent")).quality is not Quality.OK:
            continue
        if before is not None and at - before > step * 1.5:
            values.clear()
        values.append(value)
        newest = before = at
    return tuple(values), None if newest is None else promql.moment(newest)
