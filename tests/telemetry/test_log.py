"""Events, and what is bound to them."""

from __future__ import annotations

import asyncio
import logging

import pytest

from navarch.telemetry.log import Event, Log, bound

log = Log("navarch.made.up")


def events(caplog: pytest.LogCaptureFixture) -> list[Event]:
    return [each.msg for each in caplog.records if isinstance(each.msg, Event)]


def test_an_event_is_a_word_and_fields(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        log.debug("a")
        log.info("node_lost", node="n7")
        log.at(logging.WARNING, "b", count=1)
        log.error("c", raised=ValueError("no"))
        log.critical("d", because="x y")
    assert [(each.levelname, each.getMessage()) for each in caplog.records] == [
        ("DEBUG", "a"),
        ("INFO", "node_lost node=n7"),
        ("WARNING", "b count=1"),
        ("ERROR", "c"),
        ("CRITICAL", 'd because="x y"'),
    ]
    assert dict(events(caplog)[1].fields) == {"node": "n7"}
    assert caplog.records[3].exc_info is not None
    assert caplog.records[0].filename == "test_log.py"


def test_what_is_not_told_costs_nothing(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        log.info("node_lost", node="n7")
        log.at(logging.DEBUG, "b")
        assert not log.tells(logging.INFO)
    assert caplog.records == []


def test_what_is_caught_is_told_with_its_traceback(caplog: pytest.LogCaptureFixture) -> None:
    try:
        dict[str, str]()["x"]
    except KeyError:
        log.exception("plugin_broke", plugin="p")
    (entry,) = caplog.records
    assert entry.exc_info is not None
    assert isinstance(entry.exc_info[1], KeyError)


def test_what_is_bound_stands_in_every_event_of_the_task(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def work(name: str) -> None:
        with bound(seq=name):
            await asyncio.sleep(0)
            log.warning("inside")
            await asyncio.create_task(deeper())
        log.warning("after")

    async def deeper() -> None:
        with bound(command="c1", seq=9):
            log.warning("deeper", seq="own")
        log.warning("deeper")

    async def both() -> None:
        await asyncio.gather(work("a"), work("b"))

    asyncio.run(both())
    told = sorted(str(each) for each in events(caplog))
    assert told == [
        "after",
        "after",
        "deeper seq=a",
        "deeper seq=b",
        "deeper seq=own command=c1",
        "deeper seq=own command=c1",
        "inside seq=a",
        "inside seq=b",
    ]


def test_an_event_shows_no_secret_wherever_it_is_written() -> None:
    said = str(Event("x", {"token": "abc", "url": "postgresql://me:hunter2@db/x"}))
    assert said == "x token=*** url=postgresql://me:***@db/x"
