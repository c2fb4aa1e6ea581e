"""Load over time: files that can be read, files that cannot, and weeks made from a seed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from navarch.simulator.load_trace import (
    START,
    TraceError,
    Week,
    made_up,
    parse_trace,
    read_trace,
)


def test_times_may_be_seconds_from_any_beginning() -> None:
    trace = parse_trace(["time,value", "0,3", "90.5,4.25"], "jobs")
    assert trace.times == (START, START + timedelta(seconds=90.5))
    assert (trace.values, trace.unit) == ((3.0, 4.25), "jobs")
    assert (trace.start, trace.end) == trace.times


def test_times_may_be_moments_and_columns_in_any_order() -> None:
    lines = ["value,note,time", "3,a,2026-01-05T01:00:00+01:00", "4,b,2026-01-05T00:01:00Z"]
    assert parse_trace(lines).times == (
        datetime(2026, 1, 5, tzinfo=UTC),
        datetime(2026, 1, 5, 0, 1, tzinfo=UTC),
    )


@pytest.mark.parametrize(
    "lines,message",
    [
        ([], "load.csv:1: no column time and value; expected a CSV file with the columns"),
        (["time,load", "0,1"], "load.csv:1: no column value"),
        (["time,value"], "load.csv:1: expected at least two rows"),
        (["time,value", "0,1"], "load.csv:2: expected at least two rows"),
        (["time,value", "0,1", "0,2"], "load.csv:3: time 0 is not later than the one before"),
        (["time,value", "0,1", "60,-2"], "load.csv:3: value '-2': expected a number from 0 on"),
        (["time,value", "0,1", "60,nan"], "load.csv:3: value 'nan'"),
        (["time,value", "0,1", "60,much"], "load.csv:3: value 'much'"),
        (["time,value", "0,1", "60"], "load.csv:3: value ''"),
        (["time,value", "noon,1"], "load.csv:2: time 'noon': expected seconds, or RFC 3339"),
        (["time,value", "nan,1"], "load.csv:2: time 'nan'"),
        (["time,value", "2026-01-05T00:00:00,1"], "load.csv:2: time '2026-01-05T00:00:00'"),
        (["time,value", "0,1", "2026-01-06T00:00:00Z,1"], "load.csv:3: times in seconds and"),
        (["time,value", '0,"1'], "load.csv:2: unexpected end of data"),
    ],
)
def test_a_file_that_is_no_trace_is_refused_with_its_line(lines: list[str], message: str) -> None:
    with pytest.raises(TraceError) as caught:
        parse_trace(lines, name="load.csv")
    assert str(caught.value).startswith(message)


def test_a_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "load.csv"
    path.write_bytes(b"\xef\xbb\xbftime,value\r\n0,1\r\n60,2\r\n")
    assert read_trace(path).values == (1.0, 2.0)


@pytest.mark.parametrize("content", [None, b"\xff\xfe\x00"])
def test_a_file_that_cannot_be_read_is_refused_by_name(
    tmp_path: Path, content: bytes | None
) -> None:
    path = tmp_path / "load.csv"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(TraceError, match=r"load\.csv: cannot be read .* expected a CSV file"):
        read_trace(path)


def test_equal_seeds_make_equal_loads_and_others_do_not() -> None:
    assert made_up(3) == made_up(3)
    assert made_up(3).values != made_up(4).values


def test_a_made_up_week_has_days_nights_and_a_weekend() -> None:
    trace = made_up(1)
    hours = [trace.values[index : index + 60] for index in range(0, 7 * 24 * 60, 60)]
    mean = [sum(hour) / 60 for hour in hours]
    nights, days = (
        [mean[24 * day + 4] for day in range(7)],
        [mean[24 * day + 13] for day in range(7)],
    )
    assert max(nights) < 8
    assert min(days[:5]) > 30
    assert 12 < min(days[5:]) <= max(days[5:]) < 28
    assert trace.end - trace.start == timedelta(days=7)


def test_a_week_may_be_longer_and_quieter() -> None:
    trace = made_up(1, Week(days=9, high=6.0, noise=0.0))
    assert set(trace.values) == {6.0}
    assert trace.end - trace.start == timedelta(days=9)
