"""A bucket that callers share: in order, spaced, bounded, and held back by the cloud itself."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from navarch.controlplane.clock import FakeClock
from navarch.errors import Throttled
from navarch.providers.pace import Pace
from navarch.providers.rest import RETRY_AFTER_DEFAULT, RETRY_AFTER_MAX, retry_after

START = datetime(2026, 1, 1, tzinfo=UTC)
SECOND = timedelta(seconds=1)


class Road:
    """Callers that are let through, and when."""

    def __init__(
        self, every: timedelta, *, burst: int = 1, patience: timedelta = timedelta(hours=1)
    ) -> None:
        self.clock = FakeClock(START)
        self.pace = Pace(
            every, now=self.clock.now, sleep=self.clock.sleep, burst=burst, patience=patience
        )
        self.passed: list[tuple[str, float]] = []

    async def drive(self, name: str) -> None:
        await self.pace.turn("the cloud")
        self.passed.append((name, (self.clock.now() - START).total_seconds()))

    def depart(self, *names: str) -> list[asyncio.Task[None]]:
        return [asyncio.create_task(self.drive(name)) for name in names]

    async def wait(self, seconds: float) -> None:
        """Let time pass in steps of a tenth of a second."""
        await settle()
        for _ in range(round(seconds * 10)):
            self.clock.advance(timedelta(milliseconds=100))
            await settle()


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


def run(story: Callable[[], Awaitable[None]]) -> None:
    async def whole() -> None:
        await story()

    asyncio.run(whole())


def test_callers_go_one_by_one_in_the_order_of_asking() -> None:
    async def story() -> None:
        road = Road(SECOND)
        road.depart("a", "b", "c")
        await road.wait(2.5)
        road.depart("d")
        await road.wait(5)
        road.depart("e", "f")
        await road.wait(1)
        assert road.passed == [("a", 0), ("b", 1), ("c", 2), ("d", 3), ("e", 7.5), ("f", 8.5)]

    run(story)


def test_a_burst_is_let_through_after_a_silence_and_the_average_is_kept() -> None:
    async def story() -> None:
        road = Road(SECOND, burst=3)
        road.depart(*"abcde")
        await road.wait(10)
        assert road.passed == [("a", 0), ("b", 0), ("c", 0), ("d", 1), ("e", 2)]

    run(story)


def test_who_would_wait_too_long_is_told_at_once_and_takes_no_turn() -> None:
    async def story() -> None:
        road = Road(12 * SECOND, patience=timedelta(seconds=30))
        road.depart(*"abc")
        await settle()
        with pytest.raises(Throttled, match=r"the cloud: .* again in 36 s") as failure:
            await road.drive("d")
        assert failure.value.retry_after == timedelta(seconds=36)
        await road.wait(25)
        road.depart("e")
        await road.wait(12)
        assert road.passed == [("a", 0), ("b", 12), ("c", 24), ("e", 36)]

    run(story)


def test_a_caller_that_gives_up_lets_nobody_through_too_early() -> None:
    async def story() -> None:
        road = Road(SECOND)
        _, second, _ = road.depart(*"abc")
        await road.wait(0.5)
        second.cancel()
        road.depart("d")
        await road.wait(5)
        assert road.passed == [("a", 0), ("c", 2), ("d", 3)]

    run(story)


def test_a_hold_sends_those_who_wait_to_the_end_of_it() -> None:
    async def story() -> None:
        road = Road(SECOND)
        road.depart(*"abc")
        await road.wait(0.5)
        road.pace.hold(timedelta(seconds=10))
        road.pace.hold(timedelta(seconds=3))  # the longer one stays in force
        await road.wait(20)
        assert road.passed == [("a", 0), ("b", 10.5), ("c", 11.5)]

    run(story)


def test_a_short_hold_lets_nobody_through_too_early() -> None:
    async def story() -> None:
        road = Road(SECOND)
        road.depart("a")
        await road.wait(0.2)
        road.pace.hold(timedelta(milliseconds=100))
        road.depart("b")
        await road.wait(3)
        assert road.passed == [("a", 0), ("b", 1)]

    run(story)


def test_a_hold_that_lasts_too_long_ends_the_waiting() -> None:
    async def story() -> None:
        road = Road(SECOND, patience=timedelta(seconds=5))
        _, waiting = road.depart(*"ab")
        await road.wait(0.5)
        road.pace.hold(timedelta(minutes=1))
        await road.wait(1)
        with pytest.raises(Throttled, match="again in 60 s"):
            await waiting

    run(story)


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from([1, 1, 3]),
    st.lists(
        st.tuples(
            st.sampled_from(["go", "go", "go", "hold", "cancel"]),
            st.integers(min_value=0, max_value=30),
        ),
        max_size=15,
    ),
)
def test_no_more_go_in_any_while_than_the_rate_allows(
    burst: int, deeds: list[tuple[str, int]]
) -> None:
    async def story() -> None:
        road = Road(SECOND, burst=burst)
        tasks: list[asyncio.Task[None]] = []
        held: list[tuple[float, float]] = []
        for number, (deed, tenths) in enumerate(deeds):
            if deed == "go":
                tasks += road.depart(str(number))
            elif deed == "hold":
                begun = (road.clock.now() - START).total_seconds()
                road.pace.hold(timedelta(seconds=tenths / 10))
                held.append((begun, begun + tenths / 10))
            elif tasks:
                tasks[tenths % len(tasks)].cancel()
            await road.wait(tenths / 10)
        await road.wait(40)
        at = [moment for _, moment in road.passed]
        for first, begun in enumerate(at):
            for count, ended in enumerate(at[first:], start=1):
                assert count <= burst + (ended - begun) + 0.001
        assert [m for m in at for begun, end in held if begun + 0.001 < m < end - 0.001] == []
        assert all(task.done() for task in tasks)

    run(story)


@pytest.mark.parametrize(
    "header,pause",
    [
        ("7", timedelta(seconds=7)),
        ("0", RETRY_AFTER_DEFAULT),
        ("", RETRY_AFTER_DEFAULT),
        ("soon", RETRY_AFTER_DEFAULT),
        ("-3", RETRY_AFTER_DEFAULT),
        ("1e9", RETRY_AFTER_DEFAULT),
        ("99999999", RETRY_AFTER_MAX),
        ("Thu, 01 Jan 2026 00:02:00 GMT", timedelta(minutes=2)),
        ("Thu, 01 Jan 2026 00:02:00", timedelta(minutes=2)),
        ("Thu, 01 Jan 2026 00:02:00 -0000", timedelta(minutes=2)),
        ("Thu, 01 Jan 1970 00:00:00 GMT", RETRY_AFTER_DEFAULT),
        ("Thu, 99 Jan 2026 00:00:00 GMT", RETRY_AFTER_DEFAULT),
    ],
)
def test_a_clouds_wish_to_be_left_alone_is_understood(header: str, pause: timedelta) -> None:
    assert retry_after(header, START) == pause


@given(st.text(max_size=40))
def test_any_such_wish_is_a_bounded_pause(header: str) -> None:
    assert timedelta() < retry_after(header, START) <= RETRY_AFTER_MAX
