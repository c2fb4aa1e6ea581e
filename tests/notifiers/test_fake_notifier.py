"""The workload system in memory does what its script says."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import pytest

from navarch.errors import ConfigError
from navarch.notifiers.base import NotifierRefused, NotifierUnavailable, Workload
from navarch.notifiers.fake import Call, FakeNode, FakeNotifier, FakeWorkloads, Quirk

T = TypeVar("T")
NODE = Workload(node_id="n1")
DEADLINE = datetime(2026, 5, 4, 13, tzinfo=UTC)


def run(story: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(story)


def test_every_call_is_remembered_also_those_that_failed() -> None:
    workloads = FakeWorkloads()
    workloads.script("cordon", Quirk(error=NotifierRefused("not now")))
    notifier = FakeNotifier(workloads)
    with pytest.raises(NotifierRefused, match="not now"):
        run(notifier.cordon(NODE, "xid", intent=7))
    run(notifier.drain(NODE, "xid", DEADLINE))
    run(notifier.drained(NODE))
    run(notifier.uncordon(NODE, "fine"))
    assert list(workloads.calls) == [
        Call("cordon", "n1", "xid", None, 7),
        Call("drain", "n1", "xid", DEADLINE, None),
        Call("drained", "n1"),
        Call("uncordon", "n1", "fine"),
    ]


def test_a_refusal_changes_nothing_and_the_next_call_is_ordinary() -> None:
    workloads = FakeWorkloads()
    workloads.script("cordon", Quirk(error=NotifierRefused("no")))
    notifier = FakeNotifier(workloads)
    with pytest.raises(NotifierRefused):
        run(notifier.cordon(NODE, "xid"))
    assert workloads.node("n1").takes_work
    run(notifier.cordon(NODE, "xid"))
    assert not workloads.node("n1").takes_work


def test_an_answer_that_is_lost_was_heard() -> None:
    workloads = FakeWorkloads()
    workloads.script("drain", Quirk(error=NotifierUnavailable("reset"), acts=True))
    with pytest.raises(NotifierUnavailable, match="reset"):
        run(FakeNotifier(workloads).drain(NODE, "xid", None))
    assert workloads.node("n1") == FakeNode(0, "navarch", is_draining=True)


def test_a_slow_answer_takes_the_time_that_is_given_and_no_more_than_the_timeout() -> None:
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    workloads = FakeWorkloads()
    workloads.script("cordon", Quirk(after=timedelta(seconds=5)), Quirk(after=timedelta(hours=1)))
    notifier = FakeNotifier(workloads, sleep=sleep)
    run(notifier.cordon(NODE, "xid"))
    with pytest.raises(NotifierUnavailable, match="no answer within 30 s"):
        run(notifier.cordon(NODE, "xid"))
    assert slept == [5, 30]
    assert not workloads.node("n1").takes_work


def test_work_ends_while_it_is_looked_at() -> None:
    workloads = FakeWorkloads(["n1"], work=2)
    notifier = FakeNotifier(workloads)
    assert run(notifier.drained(NODE)).remaining == 2
    run(notifier.drain(NODE, "xid", None))
    statuses = [run(notifier.drained(NODE)) for _ in range(3)]
    assert [(status.done, status.remaining) for status in statuses] == [
        (False, 2),
        (False, 1),
        (True, 0),
    ]


def test_what_somebody_else_holds_is_not_given_back() -> None:
    workloads = FakeWorkloads(["n1"])
    workloads.node("n1").held_by = "ops"
    notifier = FakeNotifier(workloads)
    run(notifier.cordon(NODE, "xid"))
    run(notifier.uncordon(NODE, "fine"))
    assert workloads.node("n1").held_by == "ops"


def test_an_empty_node_that_takes_work_is_not_drained() -> None:
    assert not run(FakeNotifier().drained(NODE)).done


def test_closing_is_seen_and_nonsense_is_refused() -> None:
    notifier = FakeNotifier()
    run(notifier.close())
    assert notifier.is_closed
    with pytest.raises(ConfigError, match="0 or more"):
        FakeWorkloads(work=-1)
    with pytest.raises(ConfigError, match="timeout"):
        FakeNotifier(timeout=timedelta())
