"""What answers from upstream mean."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from navarch.relay import verdicts
from navarch.relay.verdicts import Refusal, Reply, refusal, retry_after, tries_elsewhere, wait


def answer(status: int, body: bytes = b"", **headers: str) -> Reply:
    named = tuple(
        (name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()
    )
    return Reply(status, named, body)


def test_a_refusal_is_read_from_its_body_else_from_its_status() -> None:
    told = answer(404, b'{"code":"not_found","message":"register first"}')
    assert refusal(told) == Refusal("not_found", "register first")
    assert refusal(answer(503, b"<html>")) == Refusal("unavailable", "HTTP status 503")
    assert refusal(answer(418, b"{}")) == Refusal("unknown", "HTTP status 418")


@given(st.integers(min_value=201, max_value=599), st.binary(max_size=100))
def test_whatever_comes_is_a_refusal_with_a_code(status: int, body: bytes) -> None:
    told = refusal(answer(status, body))
    assert told.code
    assert told.message


@pytest.mark.parametrize(
    "reply, elsewhere",
    [
        (answer(200), False),
        (answer(503, b'{"code":"unavailable","message":"a standby"}'), True),
        (answer(504, b'{"code":"deadline_exceeded"}'), True),
        (answer(502), True),
        (answer(404, b'{"code":"not_found"}'), False),
        (answer(429, b'{"code":"resource_exhausted"}'), False),
        (answer(500, b'{"code":"internal"}'), False),
        (answer(401, b'{"code":"unauthenticated"}'), False),
    ],
)
def test_another_address_is_asked_only_where_it_may_do_better(
    reply: Reply, *, elsewhere: bool
) -> None:
    assert tries_elsewhere(reply) is elsewhere


def test_a_relay_stays_away_for_as_long_as_it_is_asked_to_within_reason() -> None:
    assert retry_after(answer(429, retry_after="3")) == 3.0
    assert retry_after(answer(429, retry_after="99999")) == verdicts.RETRY_AFTER_MAX
    assert retry_after(answer(429, retry_after="soon")) == 0.0
    assert retry_after(answer(429)) == 0.0


@given(st.integers(1, 10_000), st.floats(0, 1, exclude_max=True))
def test_waits_grow_within_bounds_and_differ_between_relays(failures: int, spread: float) -> None:
    seconds = wait(failures, spread)
    assert verdicts.RETRY_FIRST / 2 <= seconds <= verdicts.RETRY_MAX
    if failures > 4:
        assert seconds >= verdicts.RETRY_MAX / 2


def test_heartbeats_are_tried_several_times_before_they_are_old() -> None:
    tries = sum(wait(failures, 0.999) for failures in range(1, 7))
    assert tries < verdicts.AWAY_MAX
