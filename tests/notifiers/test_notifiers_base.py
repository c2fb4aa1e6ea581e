"""What all notifiers share: times, lines, and what becomes of silence."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from navarch.errors import ConfigError, NavarchError
from navarch.notifiers import base
from navarch.notifiers.base import (
    Notifier,
    NotifierError,
    NotifierRefused,
    NotifierUnavailable,
    NotifierUnknownNode,
    Workload,
)
from navarch.notifiers.fake import FakeNotifier
from navarch.notifiers.noop import NoopNotifier
from navarch.peers.unanswered import Unanswered

NOW = datetime(2026, 5, 4, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    "header,seconds",
    [
        ("", None),
        ("7", 7.0),
        (" 0 ", 0.0),
        ("86400", 300.0),
        ("9" * 5_000, 300.0),
        ("-3", None),
        ("1.5", None),
        ("٣", None),
        ("soon", None),
        ("Mon, 04 May 2026 12:00:30 GMT", 30.0),
        ("Mon, 04 May 2026 12:00:30", 30.0),
        ("Mon, 04 May 2026 11:00:00 GMT", 0.0),
        ("Mon, 04 May 2099 11:00:00 GMT", 300.0),
        ("Mon, 99 May 2026 12:00:30 GMT", None),
    ],
)
def test_a_peer_may_ask_for_a_pause_but_not_for_a_day(header: str, seconds: float | None) -> None:
    assert base.retry_after(header, NOW) == seconds


@given(st.text())
def test_no_header_is_worse_than_none(header: str) -> None:
    pause = base.retry_after(header, NOW)
    assert pause is None or 0 <= pause <= 300


@given(st.text(), st.integers(1, 40))
def test_a_line_is_a_line_and_not_too_long(text: str, length_max: int) -> None:
    line = base.one_line(text, length_max)
    assert len(line) <= length_max
    assert line.isprintable()
    assert base.one_line(line, length_max) == line


def test_silence_and_failure_become_the_one_error_that_means_again() -> None:
    async def silent() -> None:
        async with base.speaking("peer", timedelta(milliseconds=10)):
            await asyncio.Event().wait()

    async def failing() -> None:
        async with base.speaking("peer", timedelta(seconds=10)):
            raise Unanswered("connection refused")

    with pytest.raises(NotifierUnavailable, match=r"^peer: no answer within 0\.01 s$") as failure:
        asyncio.run(silent())
    assert failure.value.retry_after is None
    with pytest.raises(NotifierUnavailable, match=r"^peer: connection refused$"):
        asyncio.run(failing())


def test_a_cancellation_from_outside_stays_one() -> None:
    async def story() -> None:
        async with base.speaking("peer", timedelta(seconds=10)):
            raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(story())


def test_the_errors_are_the_tree_that_is_drawn() -> None:
    assert issubclass(NotifierUnknownNode, NotifierRefused)
    assert issubclass(NotifierRefused, NotifierError)
    assert issubclass(NotifierUnavailable, NotifierError)
    assert issubclass(NotifierError, NavarchError)
    assert not issubclass(NotifierUnavailable, NotifierRefused)


def test_a_timeout_within_which_nobody_answers_is_refused() -> None:
    base.demand_positive(timedelta(milliseconds=1))
    for timeout in (timedelta(), timedelta(seconds=-1)):
        with pytest.raises(ConfigError, match="more than zero"):
            base.demand_positive(timeout)


def test_the_protocol_can_be_asked_for_at_run_time() -> None:
    assert isinstance(NoopNotifier(), Notifier)
    assert isinstance(FakeNotifier(), Notifier)
    assert not isinstance(object(), Notifier)


def test_the_one_that_tells_nobody_says_so() -> None:
    async def story() -> str:
        notifier = NoopNotifier()
        status = await notifier.drained(Workload(node_id="n1"))
        assert (status.done, status.remaining) == (True, None)
        return status.text

    assert "nobody was asked" in asyncio.run(story())
