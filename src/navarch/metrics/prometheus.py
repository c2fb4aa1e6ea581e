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
from datetime import UTC, datetime, timedelta
from typing import Final, TypeVar

import msgspec
from msgspec import Struct

from navarch.core.scaling.base import UTILIZATION, PoolMetrics, Quality, Reading
from navarch.errors import ConfigError
from navarch.metrics import base
from navarch.metrics.base import FIELDS, UTILIZATION_HISTORY
from navarch.peers.endpoint import Credentials, Endpoint
from navarch.peers.unanswered import Unanswered

T = TypeVar("T")

POOL: Final = re.compile(r"\$(?:\{pool\}|pool\b)")
"""What stands for the pool's name in an expression."""

NAME: Final = re.compile(r"[\w.:/@-]+")
"""The pool names that mean themselves both in a PromQL string and in a regular expression."""

SAMPLES_MAX: Final = 11_000
"""Prometheus refuses range queries that give more points a series."""

NAMED_MAX: Final = 3
"""How many series an error names."""


class _Series(Struct):
    """One series of an answer; `value` in an instant query, `values` in a range query."""

    metric: dict[str, str]
    value: tuple[float, str] | None = None
    values: list[tuple[float, str]] = []


class _Result(Struct):
    result_type: str = msgspec.field(name="resultType", default="")
    result: msgspec.Raw = msgspec.Raw(b"[]")


class _Answer(Struct):
    status: str
    data: _Result = msgspec.field(default_factory=_Result)
    error: str = ""
    warnings: list[str] = []


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
        self._deadline = deadline
        self._demand_sense(name)
        self._endpoint = Endpoint(url, credentials=credentials)

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
        await self._endpoint.close()

    async def _reading(self, field: str, pool: str) -> Reading:
        try:
            found = await self._one(self._queries[field], pool)
            if found is None:
                return base.absent(field, "the query gives nothing", self.name)
            observed_at, value = found
            if not math.isfinite(value):
                return base.absent(field, f"the query gives {value}", self.name)
            if field in self._times:
                stamped = await self._one(self._times[field], pool)
                if stamped is None or not math.isfinite(stamped[1]):
                    return base.absent(field, "the query for its time gives nothing", self.name)
                observed_at = _moment(stamped[1])
        except Unanswered as failure:
            return base.error(field, str(failure), self.name)
        return base.fresh(field, value, observed_at=observed_at, source=self.name)

    async def _one(self, expression: str, pool: str) -> tuple[datetime, float] | None:
        """Ask for one number and the time it is of; None when there is none."""
        query = {"query": POOL.sub(pool, expression)}
        data = await self._ask("/api/v1/query", query)
        if data.result_type == "scalar":
            return _sample(_decode(data.result, tuple[float, str]))
        if data.result_type != "vector":
            raise Unanswered(f"the query gives a {data.result_type}, expected one number")
        series = _decode(data.result, list[_Series])
        _demand_one(series)
        if not series or series[0].value is None:
            return None
        return _sample(series[0].value)

    async def _history(self, pool: str) -> tuple[tuple[float, ...], Reading]:
        """Ask for the history, on a grid of whole intervals so that two answers agree."""
        expression = self._queries.get(UTILIZATION_HISTORY) or self._queries.get(UTILIZATION)
        if expression is None or not self._history_asked.window:
            return (), base.absent(UTILIZATION_HISTORY, "not asked for", self.name)
        step = self._history_asked.interval.total_seconds()
        end = math.floor(self._now().timestamp() / step) * step
        query = {
            "query": POOL.sub(pool, expression),
            "start": f"{end - self._history_asked.window.total_seconds():.3f}",
            "end": f"{end:.3f}",
            "step": f"{step:.3f}",
        }
        try:
            data = await self._ask("/api/v1/query_range", query)
            series = _decode(data.result, list[_Series])
            _demand_one(series)
            values, observed_at = _unbroken(series[0].values if series else [], step)
        except Unanswered as failure:
            return (), base.error(UTILIZATION_HISTORY, str(failure), self.name)
        if observed_at is None:
            return (), base.absent(UTILIZATION_HISTORY, "the query gives nothing", self.name)
        count = float(len(values))
        return values, base.fresh(
            UTILIZATION_HISTORY, count, observed_at=observed_at, source=self.name
        )

    async def _ask(self, path: str, query: Mapping[str, str]) -> _Result:
        try:
            body = await self._endpoint.get(path, query, self._deadline)
        except Unanswered as failure:
            if failure.status is None:
                raise
            raise Unanswered(f"{failure} (query {query['query']})") from failure
        answer = _decode(body, _Answer)
        if answer.status != "success":
            raise Unanswered(f"{self._endpoint.url}{path}: {answer.error or answer.status}")
        if answer.warnings:
            raise Unanswered(f"the answer may be a part: {'; '.join(answer.warnings)}")
        return answer.data


def _decode(body: bytes | msgspec.Raw, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.MsgspecError as cause:
        raise Unanswered(f"no answer of Prometheus: {cause}") from cause


def _demand_one(series: Sequence[_Series]) -> None:
    if len(series) > 1:
        named = ", ".join(_label(one.metric) for one in series[:NAMED_MAX])
        more = ", …" if len(series) > NAMED_MAX else ""
        raise Unanswered(
            f"the query gives {len(series)} series ({named}{more}), expected one: "
            "aggregate them, as with avg(…) or sum(…)"
        )


def _label(metric: Mapping[str, str]) -> str:
    labels = ",".join(f'{key}="{value}"' for key, value in metric.items() if key != "__name__")
    return f"{metric.get('__name__', '')}{{{labels}}}"


def _sample(sample: tuple[float, str]) -> tuple[datetime, float]:
    return _moment(sample[0]), _number(sample[1])


def _moment(seconds: float) -> datetime:
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (OverflowError, ValueError, OSError) as cause:
        raise Unanswered(f"{seconds} is no time") from cause


def _number(text: str) -> float:
    """Read a number as Prometheus writes it: ``NaN``, ``+Inf`` and ``-Inf`` included."""
    try:
        return float(text)
    except ValueError as cause:
        raise Unanswered(f"{text!r} is no number") from cause


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
        value = _number(text)
        if base.judged(UTILIZATION, Reading(value, "percent")).quality is not Quality.OK:
            continue
        if before is not None and at - before > step * 1.5:
            values.clear()
        values.append(value)
        newest = before = at
    return tuple(values), None if newest is None else _moment(newest)
