"""Scaling by the calendar, on days when clocks change too."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from datetime import UTC, datetime, timedelta

import pytest

from navarch.core.scaling.queue_based import QueueBasedAutoscaler
from navarch.core.scaling.reactive import ReactiveAutoscaler
from navarch.core.scaling.scheduled import ScheduledAutoscaler, ScheduleEntry
from pool_states import NOON, Fixed, Slow, a_state, answer_of, busy, flawed

OFFICE = ScheduleEntry([0, 1, 2, 3, 4], 9, 17, 10, 50)
WEEKEND = ScheduleEntry([5, 6], 0, 24, 1, 5)
NIGHT = ScheduleEntry([4], 22, 6, 2, 3)


def utc(day: int, hour: int, minute: int = 0, month: int = 5) -> datetime:
    """Return a moment of 2026; May 4 is a Monday."""
    return datetime(2026, month, day, hour, minute, tzinfo=UTC)


def limits_at(moment: datetime, *schedule: ScheduleEntry, timezone: str = "UTC") -> tuple[int, int]:
    """Return the limits that the wrapped autoscaler is given."""
    child = Fixed(4)
    ScheduledAutoscaler(schedule, child, timezone).recommend(a_state(now=moment))
    (asked,) = child.asked
    return asked.min_nodes, asked.max_nodes


@pytest.mark.parametrize(
    "moment,expected",
    [
        (utc(4, 8, 59), (1, 10)),
        (utc(4, 9), (10, 50)),
        (utc(4, 16, 59), (10, 50)),
        (utc(4, 17), (1, 10)),
        (utc(9, 0), (1, 5)),
        (utc(10, 23, 59), (1, 5)),
        (utc(11, 0), (1, 10)),
    ],
)
def test_a_window_begins_with_its_first_hour_and_ends_before_its_last(
    moment: datetime, expected: tuple[int, int]
) -> None:
    assert limits_at(moment, OFFICE, WEEKEND) == expected


@pytest.mark.parametrize(
    "moment,expected",
    [
        (utc(8, 21, 59), (1, 10)),
        (utc(8, 22), (2, 3)),
        (utc(9, 5, 59), (2, 3)),
        (utc(9, 6), (1, 10)),
        (utc(8, 3), (1, 10)),
        (utc(9, 22), (1, 10)),
    ],
)
def test_a_window_across_midnight_belongs_to_the_day_on_which_it_starts(
    moment: datetime, expected: tuple[int, int]
) -> None:
    assert limits_at(moment, NIGHT) == expected


def test_a_window_across_midnight_wraps_around_the_week() -> None:
    assert limits_at(utc(4, 1), ScheduleEntry([6], 22, 6, 2, 3)) == (2, 3)


def test_no_days_are_every_day() -> None:
    entry = ScheduleEntry([], 12, 13, 7, 8)
    assert [limits_at(utc(day, 12), entry) for day in range(4, 11)] == [(7, 8)] * 7


def test_the_first_window_that_fits_counts() -> None:
    assert limits_at(NOON, ScheduleEntry((), 0, 24, 7, 8), OFFICE) == (7, 8)


def test_hours_are_those_of_the_time_zone() -> None:
    entry = ScheduleEntry([0], 9, 17, 7, 8)
    assert limits_at(utc(4, 0, 30), entry, timezone="Asia/Tokyo") == (7, 8)
    assert limits_at(utc(4, 8), entry, timezone="Asia/Tokyo") == (1, 10)


@pytest.mark.parametrize(
    "moment,expected",
    [
        # Berlin, 29 March 2026: 01:59 is followed by 03:00, at 01:00 UTC.
        (utc(29, 0, 59, month=3), (1, 10)),
        (utc(29, 1, 0, month=3), (7, 8)),
        (utc(29, 1, 59, month=3), (7, 8)),
        (utc(29, 2, 0, month=3), (1, 10)),
    ],
)
def test_in_spring_a_window_loses_the_hour_that_does_not_exist(
    moment: datetime, expected: tuple[int, int]
) -> None:
    assert limits_at(moment, ScheduleEntry([6], 2, 4, 7, 8), timezone="Europe/Berlin") == expected


@pytest.mark.parametrize(
    "moment,expected",
    [
        # Berlin, 25 October 2026: 02:00 to 02:59 comes twice, from 00:00 and from 01:00 UTC.
        (utc(24, 23, 59, month=10), (1, 10)),
        (utc(25, 0, 0, month=10), (7, 8)),
        (utc(25, 1, 59, month=10), (7, 8)),
        (utc(25, 2, 0, month=10), (1, 10)),
    ],
)
def test_in_autumn_a_window_holds_through_the_doubled_hour(
    moment: datetime, expected: tuple[int, int]
) -> None:
    assert limits_at(moment, ScheduleEntry([6], 2, 3, 7, 8), timezone="Europe/Berlin") == expected


@pytest.mark.parametrize("current,target", [(4, 10), (60, 50), (20, 20)])
def test_a_count_outside_of_the_window_goes_inside(current: int, target: int) -> None:
    scheduled = ScheduledAutoscaler([OFFICE], ReactiveAutoscaler(80, 20))
    state = a_state(current_nodes=current, metrics=busy(50))
    assert answer_of(scheduled, state).target_nodes == target


def test_even_an_autoscaler_that_ignores_limits_is_kept_inside() -> None:
    answer = answer_of(ScheduledAutoscaler([OFFICE], Fixed(99)), a_state())
    assert answer.target_nodes == 50
    assert answer.reason.endswith("as ever; the maximum is 50")


def test_the_wrapped_one_decides_within_the_window() -> None:
    scheduled = ScheduledAutoscaler([OFFICE], QueueBasedAutoscaler(10))
    answer = answer_of(scheduled, a_state(metrics=busy(0, queue_depth=301)))
    assert answer.target_nodes == 31
    assert answer.reason == (
        "schedule Mon Tue Wed Thu Fri 09-17 (UTC) allows 10-50: 301 jobs at 10 a node need 31 nodes"
    )


def test_without_a_clock_the_pool_s_own_limits_hold_and_the_reason_says_so() -> None:
    scheduled = ScheduledAutoscaler([OFFICE], ReactiveAutoscaler(80, 20))
    answer = answer_of(scheduled, a_state(now=None, metrics=busy(90)))
    assert answer.target_nodes == 5
    assert answer.reason.startswith(
        "no clock to follow the schedule by, so the pool's own limits 1-10: utilization 90.0%"
    )


def test_a_cooldown_comes_before_the_window() -> None:
    child = Fixed(9)
    state = a_state(last_scale_time=NOON, cooldown_period=timedelta(minutes=5))
    answer = answer_of(ScheduledAutoscaler([OFFICE], child), state)
    assert (answer.target_nodes, answer.held, child.asked) == (4, True, [])


def test_a_bad_reading_is_still_held_but_not_outside_of_the_window() -> None:
    scheduled = ScheduledAutoscaler([OFFICE], ReactiveAutoscaler(80, 20))
    metrics = busy(0, readings=flawed("utilization"))
    inside = answer_of(scheduled, a_state(current_nodes=20, metrics=metrics))
    outside = answer_of(scheduled, a_state(current_nodes=4, metrics=metrics))
    assert (inside.target_nodes, inside.held) == (20, True)
    assert (outside.target_nodes, outside.held) == (10, False)


def test_around_one_to_be_awaited_it_is_to_be_awaited() -> None:
    answer = ScheduledAutoscaler([OFFICE], Slow(99)).recommend(a_state())
    assert isinstance(answer, Awaitable)
    awaited = answer

    async def wait() -> int:
        return (await awaited).target_nodes

    assert asyncio.run(wait()) == 50


@pytest.mark.parametrize(
    "days,start,end,low,high,message",
    [
        ((7,), 0, 24, 0, 1, "days_of_week"),
        ((-1,), 0, 24, 0, 1, "days_of_week"),
        ((), 24, 6, 0, 1, "hours 24 to 6"),
        ((), 0, 25, 0, 1, "hours 0 to 25"),
        ((), 9, 9, 0, 1, "an empty window"),
        ((), 0, 24, 5, 4, "limits 5 to 4"),
        ((), 0, 24, -1, 4, "limits -1 to 4"),
    ],
)
def test_windows_that_make_no_sense_are_refused(
    days: tuple[int, ...], start: int, end: int, low: int, high: int, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        ScheduleEntry(days, start, end, low, high)


@pytest.mark.parametrize("timezone", ["Mars/Olympus", "", "../etc/passwd"])
def test_an_unknown_time_zone_is_refused(timezone: str) -> None:
    with pytest.raises(ValueError, match="is not known here"):
        ScheduledAutoscaler([], Fixed(1), timezone)


def test_lists_become_tuples_that_nobody_can_change() -> None:
    days = [4, 0]
    entry = ScheduleEntry(days, 0, 24, 0, 1)
    days.append(9)
    assert entry.days_of_week == (0, 4)
