"""Made-up loads: what they look like, and that they answer alike however they are asked."""

from __future__ import annotations

from datetime import timedelta
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from navarch.simulator.load_trace import TraceError
from navarch.simulator.loads.shapes import (
    Bursty,
    Constant,
    Diurnal,
    OutOfBounds,
    Ramp,
    Steps,
    Total,
    bursts_of,
)
from navarch.simulator.loads.traced import After, Unit, traced
from navarch.simulator.twin.demand import Demand

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)

SHAPES: tuple[Demand, ...] = (
    Constant(4),
    Ramp(1, 9, HOUR, HOUR),
    Steps((timedelta(), HOUR), (3, 1)),
    Diurnal(2, 10, weekend=0.5, noise=0.1, seed=3),
    Bursty(48, 2, base=1, seed=3),
    Total((Constant(4), Bursty(48, 2, seed=3))),
)


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: type(shape).__name__)
def test_a_load_answers_alike_in_any_order(shape: Demand) -> None:
    moments = [hours * HOUR for hours in range(0, 400, 3)]
    forwards = [shape.jobs(moment) for moment in moments]
    bursts_of.cache_clear()
    backwards = [shape.jobs(moment) for moment in reversed(moments)]
    assert forwards == backwards[::-1]
    assert min(forwards) >= 0
    assert str(shape)


def test_a_ramp_goes_evenly_and_stays() -> None:
    ramp = Ramp(2, 20, HOUR, 2 * HOUR)
    assert [ramp.jobs(hours * HOUR) for hours in range(5)] == [2, 2, 11, 20, 20]
    assert Ramp(2, 20, HOUR, timedelta()).jobs(HOUR) == 20


def test_a_step_holds_until_the_next() -> None:
    steps = Steps((HOUR, 3 * HOUR), (5, 2))
    assert [steps.jobs(hours * HOUR) for hours in range(5)] == [0, 5, 5, 2, 2]


def test_a_day_is_highest_at_its_peak_and_a_weekend_is_lower() -> None:
    shape = Diurnal(10, 40, weekend=0.4)  # the beginning is a Thursday
    assert shape.jobs(14 * HOUR) == pytest.approx(40)
    assert shape.jobs(2 * HOUR) == pytest.approx(10)
    assert shape.jobs(2 * DAY + 14 * HOUR) == pytest.approx(22)
    assert shape.jobs(4 * DAY + 14 * HOUR) == pytest.approx(40)
    values = [shape.jobs(minutes * timedelta(minutes=10)) for minutes in range(1000)]
    steps = [abs(a - b) for a, b in pairwise(values)]
    assert max(steps) < 2, "it jumps nowhere, not even where a weekend begins"


def test_noise_is_as_strong_as_it_says() -> None:
    shape = Diurnal(10, 10, noise=0.1, noise_lasts=timedelta(minutes=1), seed=1)
    values = [shape.jobs(minutes * timedelta(minutes=1)) for minutes in range(3000)]
    mean = sum(values) / len(values)
    deviation = (sum((value - mean) ** 2 for value in values) / len(values)) ** 0.5
    assert mean == pytest.approx(10, rel=0.02)
    assert deviation == pytest.approx(1, rel=0.1)


def test_bursts_are_as_many_and_as_large_as_they_say() -> None:
    shape = Bursty(48, 2, base=1, tail=2.5, lasts=timedelta(minutes=30), seed=5)
    minute = timedelta(minutes=1)
    values = [shape.jobs(count * 5 * minute) for count in range(12 * 24 * 200)]
    # At any moment 48 / 24 × 0.5 h of bursts on average, each of 2 × 2.5 / 1.5.
    assert sum(values) / len(values) == pytest.approx(1 + 2 * 2.5 / 1.5, rel=0.05)
    assert min(values) == 1
    assert max(values) > 10


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 20_000), min_size=1, max_size=20), st.integers(0, 3))
def test_what_was_asked_before_changes_no_burst(minutes: list[int], seed: int) -> None:
    shape = Bursty(30, 1, seed=seed)
    asked = {count: shape.jobs(count * timedelta(minutes=1)) for count in minutes}
    bursts_of.cache_clear()
    for count in sorted(asked):
        assert shape.jobs(count * timedelta(minutes=1)) == asked[count]


def test_loads_of_different_units_are_added_in_nodes() -> None:
    total = Total((Constant(8, jobs_per_node=4), Constant(3)))
    assert total.jobs_per_node == 4
    assert total.jobs(HOUR) == pytest.approx(20)  # 5 nodes' worth


def test_a_burst_is_cut_at_the_largest() -> None:
    shape = Bursty(2000, 1, tail=1.01, largest=5, lasts=timedelta(seconds=1), seed=2)
    values = [shape.jobs(count * timedelta(seconds=7)) for count in range(20_000)]
    assert max(values) <= 15  # three at once are rare enough


@pytest.mark.parametrize(
    "make, text",
    [
        (lambda: Constant(-1), "level: expected a number from 0"),
        (lambda: Constant(float("nan")), "level: expected a number from 0"),
        (lambda: Constant(1, jobs_per_node=0), "jobs_per_node: expected a number above 0"),
        (lambda: Diurnal(5, 4), "peak: expected a number from 5"),
        (lambda: Steps((HOUR, HOUR), (1, 2)), r"steps\[1\].at: expected a later time"),
        (lambda: Bursty(1, 1, tail=1), "tail: expected a number above 1"),
        (lambda: Total(()), "sum: expected a number from 1"),
    ],
)
def test_a_parameter_outside_its_bounds_is_refused(make: object, text: str) -> None:
    assert callable(make)
    with pytest.raises(OutOfBounds, match=text):
        make()


def test_a_trace_is_lived_through_in_its_unit(tmp_path: Path) -> None:
    path = tmp_path / "load.csv"
    path.write_text("time,value\n0,10\n60,50\n120,30\n")
    load = traced(path, Unit.REQUESTS, per_node=10, after=After.HOLD, scale=2)
    seconds = [timedelta(seconds=count) for count in (0, 59, 60, 119, 120, 500)]
    assert [load.jobs(moment) for moment in seconds] == [20, 20, 100, 100, 60, 60]
    assert load.jobs_per_node == 10
    assert str(load) == "load.csv: 3 values over 0:02:00, up to 50 times 2"


def test_a_trace_that_is_over_repeats_or_ends_as_asked(tmp_path: Path) -> None:
    path = tmp_path / "load.csv"
    path.write_text("time,value\n0,10\n60,50\n120,30\n")
    moment = timedelta(seconds=190)
    for after, value in ((After.HOLD, 30), (After.REPEAT, 50), (After.NOTHING, 0)):
        load = traced(path, Unit.NODES, per_node=1, after=after, scale=1)
        assert load.jobs(moment) == value


def test_a_trace_that_is_no_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TraceError, match="cannot be read"):
        traced(tmp_path / "none.csv", Unit.NODES, per_node=1, after=After.HOLD, scale=1)
