"""Rates, lag and appointments: who is let in, and when the others come back."""

from __future__ import annotations

import asyncio
import timeit
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from navarch.wire.admission import (
    WAIT_MAX,
    WAIT_MIN,
    Admission,
    Appointments,
    LoopLag,
    RateLimits,
    Rates,
    measure,
    whole_seconds,
)
from navarch.wire.limits import LimitExceeded


def test_a_burst_is_let_in_and_then_the_rate_holds() -> None:
    limits = RateLimits(10.0, 5)
    assert [limits.admit("n1", 100.0) for _ in range(5)] == [0.0] * 5
    assert limits.admit("n1", 100.0) == pytest.approx(0.1)
    assert limits.refused == 1
    assert limits.admit("n1", 100.1) == 0.0
    assert limits.admit("n1", 100.1) == pytest.approx(0.1)


def test_one_caller_in_a_loop_takes_nothing_from_another() -> None:
    limits = RateLimits(10.0, 5)
    for _ in range(10_000):
        limits.admit("loop", 1.0)
    assert limits.admit("quiet", 1.0) == 0.0


@given(
    st.floats(0.1, 1_000),
    st.integers(1, 100),
    st.lists(st.floats(0, 2), min_size=1, max_size=100),
)
def test_no_caller_ever_gets_more_than_its_burst_and_rate(
    rate: float, burst: int, gaps: list[float]
) -> None:
    """Whoever waits as long as was said is let in; nobody gets more than the bucket holds."""
    limits = RateLimits(rate, burst)
    now, admitted, began = 50.0, 0, 50.0
    for gap in gaps:
        now += gap
        wait = limits.admit("n1", now)
        if wait == 0.0:
            admitted += 1
        else:
            now += wait
            assert limits.admit("n1", now) == 0.0
            admitted += 1
        assert admitted <= burst + (now - began) * rate + 1e-3


def test_the_buckets_are_bounded_and_those_beyond_share_one() -> None:
    limits = RateLimits(1.0, 2, callers_max=100)
    for number in range(100):
        assert limits.admit(f"n{number}", 5.0) == 0.0
    shared = [limits.admit(f"stranger{number}", 5.0) for number in range(50)]
    assert shared[:2] == [0.0, 0.0]
    assert all(wait > 0 for wait in shared[2:])
    assert len(limits) == 101
    assert limits.admit("n3", 5.0) == 0.0  # those who were there keep their own
    assert limits.admit("stranger7", 500.0) == 0.0  # full buckets are not kept
    assert len(limits) == 1


def test_a_bucket_costs_less_than_half_a_microsecond() -> None:
    limits = RateLimits(10.0, 50)
    keys = [f"node-{number:06}" for number in range(20_000)]

    def round_of_all() -> None:
        at = float(next(moments))
        for key in keys:
            limits.admit(key, at)

    moments = iter(range(10, 10_000, 10))
    best = min(timeit.repeat(round_of_all, number=1, repeat=5))
    assert best / len(keys) < 2e-6  # 0.2 µs where nothing else runs; tests share their machine


@pytest.mark.parametrize("rate, burst", [(0.0, 1), (-1.0, 1), (1.0, 0)])
def test_rates_that_let_nobody_in_are_refused(rate: float, burst: int) -> None:
    with pytest.raises(ValueError, match="above 0 expected"):
        RateLimits(rate, burst)


def test_appointments_follow_one_another_as_quickly_as_they_are_served() -> None:
    appointments = Appointments(100.0)
    waits = [appointments.wait(7.0).total_seconds() for _ in range(200)]
    assert waits == pytest.approx([WAIT_MIN + number / 100 for number in range(1, 201)])
    later = appointments.wait(8.5).total_seconds()
    assert later == pytest.approx(7.0 + waits[-1] + 0.01 - 8.5)


def test_more_than_can_be_served_are_spread_over_the_longest_waits() -> None:
    appointments = Appointments(10.0)
    waits = [appointments.wait(0.0).total_seconds() for _ in range(10_000)][290:]
    assert min(waits) >= WAIT_MAX / 2
    assert max(waits) <= WAIT_MAX
    tenths = [int((wait - WAIT_MAX / 2) / (WAIT_MAX / 20)) for wait in waits]
    counts = [tenths.count(number) for number in range(10)]
    assert max(counts) < 1.02 * min(counts)


@given(st.lists(st.tuples(st.floats(0, 100), st.integers(1, 10_000)), max_size=50))
def test_every_wait_is_within_its_bounds(calls: list[tuple[float, int]]) -> None:
    appointments, now = Appointments(50.0), 0.0
    for gap, weight in calls:
        now += gap
        assert WAIT_MIN <= appointments.wait(now, weight).total_seconds() <= WAIT_MAX + 1e-6


def test_a_wait_is_told_in_whole_seconds_and_at_least_one() -> None:
    waits = [0.0, 0.2, 1.0, 1.001, 29.5]
    assert [whole_seconds(timedelta(seconds=wait)) for wait in waits] == [1, 1, 1, 2, 30]


def test_heartbeats_are_refused_once_the_loop_was_late_for_a_while() -> None:
    admission = Admission()
    lag = admission.lag
    lag.note(1.5, 10.0)
    admission.check_lag("Heartbeat")  # one late moment is nothing
    lag.note(1.5, 11.5)
    lag.note(1.5, 13.0)
    for method in ("Heartbeat", "SendHeartbeat", "HeartbeatBatch"):
        with pytest.raises(LimitExceeded, match=r"is 1\.5 s late") as caught:
            admission.check_lag(method)
        assert caught.value.code == "resource_exhausted"
        assert caught.value.retry_after is not None
    for method in ("IssueCommand", "RegisterNode", "PollCommands", "AckCommand", "ListNodes"):
        admission.check_lag(method)
    lag.note(0.8, 14.0)  # not caught up yet
    assert lag.refusing
    lag.note(0.1, 15.0)
    admission.check_lag("Heartbeat")
    assert admission.refused == {"event_loop_lag": 3}
    assert admission.unheard == 3


def test_a_late_moment_in_between_begins_anew() -> None:
    lag = LoopLag()
    for number in range(20):
        lag.note(1.5 if number % 2 else 0.0, float(number))
    assert not lag.refusing


def test_the_lag_of_a_loop_that_stands_still_is_measured() -> None:
    async def story() -> LoopLag:
        lag = LoopLag(target=0.01, sustained=0.0)
        measuring = asyncio.create_task(measure(lag))
        await asyncio.sleep(0)
        loop = asyncio.get_running_loop()
        stuck_until = loop.time() + lag.EVERY + 0.1
        while loop.time() < stuck_until:
            sum(range(1_000))
        for _ in range(3):
            await asyncio.sleep(0)
        measuring.cancel()
        return lag

    assert 0.05 < asyncio.run(story()).seconds < 5


def test_watchers_are_bounded() -> None:
    admission = Admission(Rates(watchers=2))
    admission.begin_watch()
    admission.begin_watch()
    with pytest.raises(LimitExceeded, match="2 callers watch already") as caught:
        admission.begin_watch()
    assert caught.value.retry_after is not None
    admission.end_watch()
    admission.begin_watch()
    assert admission.refused == {"watchers": 1}


def test_a_caller_that_is_too_quick_is_told_so() -> None:
    admission = Admission(Rates(node_rate=2, node_burst=1, caller_rate=2, caller_burst=1))
    admission.check_node("n1", 3.0)
    admission.check_caller("ops", 3.0)
    with pytest.raises(LimitExceeded, match="node n1 calls too often: 2 calls a second"):
        admission.check_node("n1", 3.0)
    with pytest.raises(LimitExceeded, match="ops calls too often") as caught:
        admission.check_caller("ops", 3.1)
    assert caught.value.retry_after is not None
    assert caught.value.retry_after >= timedelta(seconds=0.4)
    assert admission.refused == {"node_rate": 1, "caller_rate": 1}
