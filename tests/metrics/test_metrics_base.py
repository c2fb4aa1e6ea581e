"""How answers are made: what is missing is absent, what cannot be is an error."""

from __future__ import annotations

import math

import pytest

from factories import at
from navarch.core.scaling.base import PENDING_JOBS, QUEUE_DEPTH, UTILIZATION, Quality, Reading
from navarch.metrics import base
from navarch.metrics.base import FIELDS


def test_what_a_source_does_not_say_is_absent_and_not_fresh() -> None:
    reading = base.fresh(PENDING_JOBS, 3, observed_at=at(), source="queue")
    metrics = base.pool_metrics({PENDING_JOBS: reading}, source="queue")
    assert metrics.pending_jobs == 3
    assert {field: metrics.quality(field) for field in FIELDS} == {
        UTILIZATION: Quality.ABSENT,
        PENDING_JOBS: Quality.OK,
        QUEUE_DEPTH: Quality.ABSENT,
        base.UTILIZATION_HISTORY: Quality.ABSENT,
    }


def test_a_source_that_cannot_ask_has_an_error_everywhere() -> None:
    metrics = base.unanswered("the server is away", "queue")
    assert {metrics.quality(field) for field in FIELDS} == {Quality.ERROR}
    assert {reading.detail for reading in metrics.readings.values()} == {"the server is away"}
    assert metrics.observed_at is None


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, -1, 101, 5_000])
def test_a_utilization_that_cannot_be_is_an_error(value: float) -> None:
    reading = base.fresh(UTILIZATION, value, observed_at=at(), source="gpus")
    assert reading.quality is Quality.ERROR
    assert "cannot be" in reading.detail


@pytest.mark.parametrize("value", [0, 0.5, 100, 100.2])
def test_a_utilization_that_can_be_is_good(value: float) -> None:
    reading = base.fresh(UTILIZATION, value, observed_at=at(), source="gpus")
    assert (reading.quality, reading.value) == (Quality.OK, value)


def test_a_queue_may_be_longer_than_a_hundred() -> None:
    reading = base.fresh(QUEUE_DEPTH, 5_000, observed_at=at(), source="queue")
    assert reading.quality is Quality.OK


def test_a_part_of_a_job_counts_as_a_job() -> None:
    reading = base.fresh(QUEUE_DEPTH, 2.1, observed_at=at(), source="queue")
    assert base.pool_metrics({QUEUE_DEPTH: reading}, source="queue").queue_depth == 3


def test_a_stale_value_is_carried_and_an_error_s_is_not() -> None:
    stale = Reading(7, "jobs", at(), Quality.STALE)
    broken = Reading(7, "jobs", at(), Quality.ERROR)
    metrics = base.pool_metrics({PENDING_JOBS: stale, QUEUE_DEPTH: broken}, source="queue")
    assert (metrics.pending_jobs, metrics.queue_depth) == (7, 0)
