"""Threads with deadlines: what has not left by then never does."""

from __future__ import annotations

import asyncio
import threading
import weakref
from collections.abc import Iterator
from datetime import timedelta

import pytest

from doubles.ec2_bench import until
from navarch.providers.aws.lanes import Abandoned, Closed, Errand, Lanes, TooLate

LONG = timedelta(seconds=20)
SHORT = timedelta(seconds=0.05)


@pytest.fixture
def lanes() -> Iterator[Lanes]:
    """Yield two threads."""
    made = Lanes("test lane", 2)
    yield made
    made.close()


class Hung:
    """A job that hangs until it is let go, and then sends, if it may."""

    def __init__(self, *, sends_first: bool) -> None:
        self.errand = Errand()
        self.sends_first = sends_first
        self.begun = threading.Event()
        self.goes_on = threading.Event()
        self.ended = threading.Event()
        self.sent_late = False

    def __call__(self) -> None:
        """Hang."""
        if self.sends_first:
            self.errand.sending()
        self.begun.set()
        self.goes_on.wait(20)
        try:
            self.errand.sending()
        except Abandoned:
            self.sent_late = False
        else:
            self.sent_late = True
        self.ended.set()

    def finish(self) -> bool:
        """Let it go on, and tell whether it could send something late."""
        self.goes_on.set()
        assert self.ended.wait(20)
        return self.sent_late


@pytest.mark.parametrize("sends_first", [True, False])
def test_the_deadline_tells_whether_anything_was_sent(lanes: Lanes, *, sends_first: bool) -> None:
    hung = Hung(sends_first=sends_first)

    with pytest.raises(TooLate) as late:
        asyncio.run(lanes.do(hung, hung.errand, SHORT))

    assert late.value.sent is sends_first
    assert not hung.finish()


def test_what_is_cancelled_sends_nothing_any_more(lanes: Lanes) -> None:
    hung = Hung(sends_first=False)

    async def cancel() -> None:
        task = asyncio.create_task(lanes.do(hung, hung.errand, LONG))
        await asyncio.to_thread(hung.begun.wait, 20)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancel())

    assert not hung.finish()


def test_a_job_that_found_no_thread_in_time_is_never_begun(lanes: Lanes) -> None:
    hung, begun = [Hung(sends_first=True), Hung(sends_first=True)], []

    async def crowd() -> None:
        waiting = [asyncio.create_task(lanes.do(each, each.errand, LONG)) for each in hung]
        await asyncio.to_thread(hung[1].begun.wait, 20)
        with pytest.raises(TooLate) as late:
            await lanes.do(lambda: begun.append(1), Errand(), SHORT)
        assert not late.value.sent
        for each in hung:
            each.goes_on.set()
        await asyncio.gather(*waiting)
        await lanes.do(lambda: None, Errand(), LONG)

    asyncio.run(crowd())

    assert begun == []


def test_there_are_never_more_threads_than_allowed(lanes: Lanes) -> None:
    both = threading.Barrier(2)

    def thread() -> int:
        both.wait(20)  # a job goes on only while another runs beside it
        return threading.get_ident()

    async def crowd() -> set[int]:
        return set(await asyncio.gather(*(lanes.do(thread, Errand(), LONG) for _ in range(30))))

    assert len(asyncio.run(crowd())) == 2


def test_an_error_travels_to_whoever_waits_and_the_thread_lives_on(lanes: Lanes) -> None:
    def fail() -> None:
        raise SystemExit(3)

    with pytest.raises(SystemExit):
        asyncio.run(lanes.do(fail, Errand(), LONG))
    assert asyncio.run(lanes.do(lambda: 7, Errand(), LONG)) == 7


class Result:
    """Something that can be watched."""


def test_an_idle_thread_holds_nothing_of_its_last_job(lanes: Lanes) -> None:
    seen = weakref.ref(asyncio.run(lanes.do(Result, Errand(), LONG)))

    asyncio.run(until(lambda: seen() is None, seconds=5))


def test_idle_threads_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("navarch.providers.aws.lanes.IDLE_SECONDS", 0.01)
    lanes = Lanes("short lane", 2)
    assert asyncio.run(lanes.do(lambda: 7, Errand(), LONG)) == 7
    (thread,) = (each for each in threading.enumerate() if each.name == "short lane")

    thread.join(timeout=20)

    assert not thread.is_alive()
    assert asyncio.run(lanes.do(lambda: 8, Errand(), LONG)) == 8
    lanes.close()


def test_closed_lanes_refuse_and_their_threads_end() -> None:
    lanes = Lanes("closed lane", 2)
    asyncio.run(lanes.do(lambda: 7, Errand(), LONG))
    threads = [each for each in threading.enumerate() if each.name == "closed lane"]

    lanes.close()

    with pytest.raises(Closed):
        asyncio.run(lanes.do(lambda: 8, Errand(), LONG))
    for each in threads:
        each.join(timeout=20)
    assert [each for each in threads if each.is_alive()] == []
