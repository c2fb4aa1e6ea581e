"""Notices: every one ends in exactly one message, and a workload manager is never overrun."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import timedelta

import pytest

from factories import a_fleet, name
from navarch.controlplane.clock import FakeClock
from navarch.controlplane.notices import AT_ONCE, Notices
from navarch.core.model import messages as msg
from navarch.core.model.actions import AskDrained, Notice, Tell
from navarch.core.model.ladder import Told
from navarch.notifiers.base import NotifierRefused, NotifierUnavailable, NotifierUnknownNode
from navarch.notifiers.fake import FakeNotifier, FakeWorkloads, Quirk
from pools import MONDAY, run, until


class Bench:
    """Notices about a fleet of twenty nodes, and the messages they ended in."""

    def __init__(self) -> None:
        self.clock = FakeClock(MONDAY)
        self.fleet = a_fleet(20)
        self.workloads = FakeWorkloads()
        self.notifier = FakeNotifier(self.workloads, sleep=self._sleep)
        self.outcomes: list[msg.Message] = []
        self.notices = Notices(self.notifier, self.outcomes.append, self.clock)

    async def _sleep(self, seconds: float) -> None:
        await self.clock.sleep(timedelta(seconds=seconds))

    def perform(self, *notices: Notice) -> Sequence[msg.Message]:
        """Perform, wait until all have come to something, and return all outcomes."""

        async def story() -> None:
            due = len(self.outcomes) + len(notices)
            self.notices.perform(self.fleet, notices)
            await until(lambda: len(self.outcomes) == due)

        run(story())
        self.notices.heard(self.outcomes)
        assert len(self.notices) == 0
        return self.outcomes


def tell(told: Told = Told.CORDONED, n: int = 1) -> Tell:
    return Tell(name(n), told, "a test wants it", MONDAY, intent=4)


@pytest.mark.parametrize(
    "told,action",
    [(Told.OPEN, "uncordon"), (Told.CORDONED, "cordon"), (Told.DRAINING, "drain")],
)
def test_each_wish_has_its_call(told: Told, action: str) -> None:
    bench = Bench()
    assert bench.perform(tell(told)) == [msg.WorkloadAnswered(name(1), told)]
    (call,) = bench.workloads.calls
    assert (call.action, call.node_id, call.intent) == (action, name(1), 4)
    assert call.reason == "a test wants it"
    assert call.deadline == (MONDAY if told is Told.DRAINING else None)


@pytest.mark.parametrize(
    "error,expected,refused",
    [
        (NotifierRefused("no such right"), "no such right", True),
        (NotifierUnavailable("away"), "away", False),
        (NotifierUnknownNode("never heard of it"), "", False),
    ],
)
def test_errors_become_answers(error: Exception, expected: str, *, refused: bool) -> None:
    bench = Bench()
    bench.workloads.script("cordon", Quirk(error=error))  # type: ignore[arg-type]
    assert bench.perform(tell()) == [
        msg.WorkloadAnswered(name(1), Told.CORDONED, expected, refused=refused)
    ]


def test_a_notifier_that_breaks_is_an_answer_too() -> None:
    bench = Bench()

    async def broken(*_args: object, **_more: object) -> None:
        raise ZeroDivisionError("oh")

    bench.notifier.cordon = broken  # type: ignore[method-assign]
    answer = msg.WorkloadAnswered(name(1), Told.CORDONED, "ZeroDivisionError: oh")
    assert bench.perform(tell()) == [answer]


def test_a_drain_is_asked_about() -> None:
    bench = Bench()
    bench.workloads.node(name(1)).work = 1
    bench.perform(tell(Told.DRAINING))
    first, second = (bench.perform(AskDrained(name(1)))[-1] for _ in range(2))
    assert isinstance(first, msg.DrainAnswered)
    assert isinstance(second, msg.DrainAnswered)
    assert (first.done, second.done) == (False, True)


def test_a_question_without_an_answer_says_nothing() -> None:
    bench = Bench()
    bench.workloads.script("drained", Quirk(error=NotifierUnavailable("away")))
    assert bench.perform(AskDrained(name(1))) == [
        msg.DrainAnswered(name(1), done=False, text="away")
    ]


def test_one_word_at_a_time_about_a_node_and_so_many_in_all() -> None:
    bench = Bench()
    quirk = Quirk(acts=True, after=timedelta(seconds=5))
    bench.workloads.script("cordon", *[quirk] * 40)

    async def story() -> None:
        notices = [tell(n=n) for n in range(1, 21)]
        bench.notices.perform(bench.fleet, notices)
        bench.notices.perform(bench.fleet, notices)
        await asyncio.sleep(0)
        assert len(bench.notices) == AT_ONCE
        await bench.notices.stop()

    run(story())
    assert len(bench.workloads.calls) == AT_ONCE
    assert bench.notifier.is_closed


def test_a_pause_that_was_asked_for_is_kept() -> None:
    bench = Bench()
    bench.workloads.script("cordon", Quirk(error=NotifierUnavailable("busy", retry_after=30)))
    bench.perform(tell())
    bench.notices.perform(bench.fleet, [tell(n=2)])
    assert len(bench.notices) == 0
    bench.clock.advance(timedelta(seconds=31))
    assert bench.perform(tell(n=2))[-1] == msg.WorkloadAnswered(name(2), Told.CORDONED)
