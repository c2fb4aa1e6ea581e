"""The Prometheus source against scripted answers; a real one is in ``tests/integration``."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from factories import at
from http_double import Asked, Web, serving
from navarch.controlplane.clock import FakeClock
from navarch.core.scaling.base import (
    PENDING_JOBS,
    QUEUE_DEPTH,
    UTILIZATION,
    PoolMetrics,
    Quality,
    Reading,
)
from navarch.errors import ConfigError
from navarch.metrics.base import FIELDS, UTILIZATION_HISTORY
from navarch.metrics.prometheus import History, PrometheusMetricsSource

NONE = History(window=timedelta())


def answer(kind: str, result: object, **more: object) -> str:
    """Return an answer in the shape of Prometheus."""
    return json.dumps({"status": "success", "data": {"resultType": kind, "result": result}, **more})


def vector(*values: str, at_seconds: float = at().timestamp()) -> str:
    """Return the answer to an instant query: a series for each value."""
    return answer(
        "vector",
        [
            {"metric": {"__name__": "jobs", "queue": f"q{n}"}, "value": [at_seconds, value]}
            for n, value in enumerate(values)
        ],
    )


def ask(
    script: Callable[[Asked], None],
    pool: str = "h100",
    **more: Any,  # noqa: ANN401 - whatever the source takes
) -> tuple[PoolMetrics, Web]:
    settings = {"queries": {QUEUE_DEPTH: 'jobs{pool="$pool"}'}, "history": NONE, **more}

    async def story(url: str) -> PoolMetrics:
        source = PrometheusMetricsSource(url, now=FakeClock(at(seconds=7)).now, **settings)
        try:
            return await source.get_pool_metrics(pool)
        finally:
            await source.close()

    with serving(script) as web:
        return asyncio.run(story(web.url)), web


def reading(body: str, status: int = 200) -> Reading:
    metrics, _ = ask(lambda asked: asked.answer(body, status))
    return metrics.readings[QUEUE_DEPTH]


def test_a_number_is_read_with_the_time_of_its_sample() -> None:
    metrics, web = ask(lambda asked: asked.answer(vector("12")))
    assert (metrics.queue_depth, metrics.observed_at) == (12, at())
    assert metrics.readings[QUEUE_DEPTH] == Reading(12, "jobs", at(), source="prometheus")
    assert (web.asked[0].path, web.asked[0].query) == (
        "/api/v1/query",
        {"query": 'jobs{pool="h100"}'},
    )
    assert metrics.quality(PENDING_JOBS) is Quality.ABSENT


def test_a_scalar_is_a_number_too() -> None:
    assert reading(answer("scalar", [at().timestamp(), "3"])).value == 3


@pytest.mark.parametrize("body", [vector(), vector("NaN"), vector("+Inf"), vector("-Inf")])
def test_nothing_and_not_a_number_are_absent(body: str) -> None:
    assert reading(body).quality is Quality.ABSENT


@pytest.mark.parametrize(
    "body,words",
    [
        (vector("1", "2"), 'gives 2 series (jobs{queue="q0"}, jobs{queue="q1"}), expected one'),
        (vector(*"12345"), "…"),
        (vector("-1"), "cannot be"),
        (vector("twelve"), "'twelve' is no number"),
        (vector("1", at_seconds=1e300), "is no time"),
        (answer("matrix", []), "gives a matrix"),
        (answer("string", [1, "x"]), "gives a string"),
        (answer("vector", [], warnings=["store x is away"]), "may be a part: store x is away"),
        ('{"status": "error", "errorType": "timeout", "error": "too slow"}', "too slow"),
        ('{"status": "succ', "no answer of Prometheus"),
        ("<html>hello</html>", "no answer of Prometheus"),
        (answer("vector", [{"metric": {}, "value": ["x"]}]), "no answer of Prometheus"),
    ],
)
def test_what_is_no_number_is_an_error_that_says_why(body: str, words: str) -> None:
    found = reading(body)
    assert found.quality is Quality.ERROR
    assert words in found.detail


def test_a_refused_query_is_quoted_with_the_reason() -> None:
    found = reading('{"status":"error","error":"parse error: unclosed"}', 400)
    assert found.quality is Quality.ERROR
    assert "parse error: unclosed" in found.detail
    assert '(query jobs{pool="h100"})' in found.detail


def test_one_failing_query_leaves_the_others_alone() -> None:
    def script(asked: Asked) -> None:
        if asked.query["query"] == "good":
            asked.answer(vector("4"))
        else:
            asked.answer("away", 503)

    metrics, _ = ask(script, queries={PENDING_JOBS: "good", UTILIZATION: "bad"})
    assert (metrics.pending_jobs, metrics.quality(PENDING_JOBS)) == (4, Quality.OK)
    assert metrics.quality(UTILIZATION) is Quality.ERROR


def test_a_time_is_asked_for_where_the_evaluation_s_would_lie() -> None:
    def script(asked: Asked) -> None:
        is_time = asked.query["query"].startswith("min(timestamp")
        asked.answer(vector(str(at(minutes=-4).timestamp()) if is_time else "4"))

    times = {QUEUE_DEPTH: 'min(timestamp(jobs{pool="$pool"}))'}
    metrics, web = ask(script, times=times)
    assert metrics.readings[QUEUE_DEPTH].observed_at == at(minutes=-4)
    assert web.asked[1].query["query"] == 'min(timestamp(jobs{pool="h100"}))'
    metrics, _ = ask(
        lambda asked: asked.answer(vector() if "min" in asked.query["query"] else vector("4")),
        times=times,
    )
    assert metrics.quality(QUEUE_DEPTH) is Quality.ABSENT


def history(*samples: tuple[float, str]) -> tuple[PoolMetrics, Web]:
    """Ask for a history; each sample is minutes after the beginning, and a value."""

    def script(asked: Asked) -> None:
        if asked.path.endswith("_range"):
            values = [(at(minutes=minute).timestamp(), value) for minute, value in samples]
            series = [{"metric": {}, "values": values}] if samples else []
            asked.answer(answer("matrix", series))
        else:
            asked.answer(vector("50"))

    queries = {UTILIZATION: 'avg(load{pool="${pool}"})'}
    window = History(window=timedelta(minutes=5))
    return ask(script, queries=queries, history=window)


def test_the_history_is_the_utilization_s_own_on_a_grid() -> None:
    metrics, web = history((-2, "10"), (-1, "20"), (0, "30"))
    assert metrics.utilization_history == (10.0, 20.0, 30.0)
    assert metrics.history_interval == timedelta(minutes=1)
    found = metrics.readings[UTILIZATION_HISTORY]
    assert (found.value, found.observed_at, found.quality) == (3, at(), Quality.OK)
    [asked] = [asked for asked in web.asked if asked.path.endswith("_range")]
    assert asked.query == {
        "query": 'avg(load{pool="h100"})',
        "start": f"{at(minutes=-5).timestamp():.3f}",
        "end": f"{at().timestamp():.3f}",
        "step": "60.000",
    }


@pytest.mark.parametrize(
    "samples,expected",
    [
        ([(-4, "1"), (-3, "2"), (-1, "3"), (0, "4")], (3, 4)),
        ([(-3, "1"), (-2, "NaN"), (-1, "2")], (2,)),
        ([(-2, "1"), (-1, "900"), (0, "2")], (2,)),
    ],
)
def test_what_stands_before_a_gap_is_left_out(
    samples: list[tuple[float, str]], expected: tuple[float, ...]
) -> None:
    metrics, _ = history(*samples)
    assert metrics.utilization_history == expected


def test_no_history_is_absent() -> None:
    metrics, _ = history()
    assert metrics.quality(UTILIZATION_HISTORY) is Quality.ABSENT
    assert metrics.quality(UTILIZATION) is Quality.OK


def test_a_pool_s_name_cannot_change_the_query() -> None:
    metrics, web = ask(lambda asked: asked.answer(vector("1")), pool='x"} or vector(0) #')
    assert {metrics.quality(field) for field in FIELDS} == {Quality.ERROR}
    assert web.asked == []


def test_dollars_that_are_no_pool_stay() -> None:
    _, web = ask(
        lambda asked: asked.answer(vector("1")),
        queries={QUEUE_DEPTH: 'jobs{a=~"b$", pool=~"^$pool$", c="$pools"}'},
    )
    assert web.asked[0].query["query"] == 'jobs{a=~"b$", pool=~"^h100$", c="$pools"}'


@pytest.mark.parametrize(
    "make,words",
    [
        (lambda: source({"load": "x"}), "no field 'load'"),
        (lambda: source({UTILIZATION: " "}), "is empty"),
        (lambda: source({UTILIZATION: "x"}, times={PENDING_JOBS: "y"}), "which no query"),
        (lambda: History(interval=timedelta()), "expected an interval above zero"),
        (lambda: History(window=timedelta(days=90)), "at most 11000"),
    ],
)
def test_impossible_settings_are_refused(make: Callable[[], object], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        make()


def source(
    queries: dict[str, str],
    **more: Any,  # noqa: ANN401 - whatever the source takes
) -> PrometheusMetricsSource:
    return PrometheusMetricsSource("http://x", queries, now=FakeClock(at()).now, **more)
