"""What Prometheus answers to an expression, as values: its HTTP API, decoded and doubted.

Rules that hold:

- An answer that comes with a warning is a failure: part of it may be missing, and a part looks like
  less.
- Several series where one was meant are a failure that names them.

Read for this: "HTTP API" of the Prometheus documentation, November 2026.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final, TypeVar

import msgspec
from msgspec import Struct

from navarch.peers.endpoint import Endpoint
from navarch.peers.unanswered import Unanswered

T = TypeVar("T")

NAMED_MAX: Final = 3
"""How many series an error names."""


class Series(Struct):
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


class PromQL:
    """Asks one server for the values of expressions, each within a deadline."""

    def __init__(self, endpoint: Endpoint, deadline: timedelta) -> None:
        """Ask at the endpoint that ``/api/v1/query`` stands below."""
        self._endpoint = endpoint
        self._deadline = deadline

    async def one(self, expression: str) -> tuple[datetime, float] | None:
        """Ask for one number and the time it is of; None when there is none.

        :raises Unanswered: there is no answer, or it is not one number
        """
        data = await self._ask("/api/v1/query", {"query": expression})
        if data.result_type == "scalar":
            return sample(_decode(data.result, tuple[float, str]))
        series = _vector(data)
        demand_one(series)
        if not series or series[0].value is None:
            return None
        return sample(series[0].value)

    async def vector(self, expression: str) -> list[Series]:
        """Ask for the present values of any number of series.

        :raises Unanswered: there is no answer, or it is something else
        """
        return _vector(await self._ask("/api/v1/query", {"query": expression}))

    async def matrix(self, query: Mapping[str, str]) -> list[Series]:
        """Ask for values over time: `query` has ``query``, ``start``, ``end`` and ``step``.

        :raises Unanswered: there is no answer, or it is something else
        """
        data = await self._ask("/api/v1/query_range", query)
        return _decode(data.result, list[Series])

    async def close(self) -> None:
        """Give up the connections."""
        await self._endpoint.close()

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


def demand_one(series: Sequence[Series]) -> None:
    """Refuse several series where one was meant.

    :raises Unanswered: there are several
    """
    if len(series) > 1:
        named = ", ".join(_label(one.metric) for one in series[:NAMED_MAX])
        more = ", …" if len(series) > NAMED_MAX else ""
        raise Unanswered(
            f"the query gives {len(series)} series ({named}{more}), expected one: "
            "aggregate them, as with avg(…) or sum(…)"
        )


def sample(pair: tuple[float, str]) -> tuple[datetime, float]:
    """Read a time and a number.

    :raises Unanswered: one of them is none
    """
    return moment(pair[0]), number(pair[1])


def moment(seconds: float) -> datetime:
    """Read a Unix time.

    :raises Unanswered: it is none
    """
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (OverflowError, ValueError, OSError) as cause:
        raise Unanswered(f"{seconds} is no time") from cause


def number(text: str) -> float:
    """Read a number as Prometheus writes it: ``NaN``, ``+Inf`` and ``-Inf`` included.

    :raises Unanswered: it is none
    """
    try:
        return float(text)
    except ValueError as cause:
        raise Unanswered(f"{text!r} is no number") from cause


def _vector(data: _Result) -> list[Series]:
    if data.result_type != "vector":
        raise Unanswered(f"the query gives a {data.result_type}, expected one number")
    return _decode(data.result, list[Series])


def _label(metric: Mapping[str, str]) -> str:
    labels = ",".join(f'{key}="{value}"' for key, value in metric.items() if key != "__name__")
    return f"{metric.get('__name__', '')}{{{labels}}}"


def _decode(body: bytes | msgspec.Raw, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.MsgspecError as cause:
        raise Unanswered(f"no answer of Prometheus: {cause}") from cause
