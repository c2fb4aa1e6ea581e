"""Time: the real one never runs backwards, the fake one moves only when it is told to."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta, timezone

import pytest

from navarch.controlplane.clock import FakeClock, RealClock, uptime
from pools import MONDAY, run

SECOND = timedelta(seconds=1)


def test_the_real_clock_is_aware_and_never_earlier_than_before() -> None:
    clock = RealClock()
    told = [clock.now() for _ in range(100)]
    assert told == sorted(told)
    assert {moment.tzinfo for moment in told} == {UTC}


def test_the_real_clock_does_not_wait_for_what_is_over() -> None:
    run(RealClock().sleep(-SECOND))


def test_a_fake_clock_stands_still() -> None:
    clock = FakeClock(MONDAY)
    assert [clock.now(), clock.now()] == [MONDAY, MONDAY]


def test_a_fake_clock_speaks_utc() -> None:
    berlin = timezone(timedelta(hours=2))
    clock = FakeClock(MONDAY.astimezone(berlin))
    assert (clock.now(), clock.now().tzinfo) == (MONDAY, UTC)


def test_a_fake_clock_needs_a_time_zone() -> None:
    with pytest.raises(ValueError, match="has no time zone"):
        FakeClock(datetime(2026, 5, 4))  # noqa: DTZ001 - the fault that is planted


def test_a_fake_clock_does_not_run_backwards() -> None:
    with pytest.raises(ValueError, match="time does not run backwards"):
        FakeClock(MONDAY).advance(-SECOND)


def test_sleepers_wake_in_the_order_of_their_times() -> None:
    clock = FakeClock(MONDAY)
    woken: list[str] = []

    async def sleeper(name: str, seconds: int) -> None:
        await clock.sleep(timedelta(seconds=seconds))
        woken.append(name)

    async def story() -> None:
        tasks = [asyncio.create_task(sleeper(*each)) for each in (("c", 3), ("a", 1), ("b", 2))]
        await asyncio.sleep(0)
        clock.advance(2 * SECOND)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert woken == ["a", "b"]
        clock.advance(SECOND)
        await asyncio.gather(*tasks)

    run(story())
    assert woken == ["a", "b", "c"]


def test_a_sleeper_that_left_is_not_woken() -> None:
    clock = FakeClock(MONDAY)

    async def story() -> None:
        sleeping = asyncio.create_task(clock.sleep(SECOND))
        await asyncio.sleep(0)
        sleeping.cancel()
        await asyncio.wait([sleeping])
        clock.advance(SECOND)

    run(story())
    assert clock.now() == MONDAY + SECOND


def test_the_uptime_only_grows() -> None:
    before = uptime()
    assert 0 < before <= uptime()
