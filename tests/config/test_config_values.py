"""Texts that stand for something else are read as people mean them, or refused with a reason."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from navarch.config import environment, values
from navarch.config.values import Address, Store


@pytest.mark.parametrize(
    "text,expected",
    [
        ("500ms", timedelta(milliseconds=500)),
        ("30s", timedelta(seconds=30)),
        ("5m", timedelta(minutes=5)),
        ("2h", timedelta(hours=2)),
        ("1d", timedelta(days=1)),
        ("1.5h", timedelta(minutes=90)),
        ("0s", timedelta()),
    ],
)
def test_durations_are_a_number_and_a_unit(text: str, expected: timedelta) -> None:
    assert values.parse_duration(text) == expected


@pytest.mark.parametrize("text", ["", "5", "m", "-5m", "5 m", "5M", "1h30m", "1e3s", "٣s", "9999d"])
def test_other_durations_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"unit|at most 3650d"):
        values.parse_duration(text)


@given(st.integers(0, 10**9))
def test_what_is_written_is_read_again(milliseconds: int) -> None:
    duration = timedelta(milliseconds=milliseconds)
    assert values.parse_duration(f"{milliseconds}ms") == duration
    text = values.format_duration(duration)
    if milliseconds % 1000 == 0:
        assert values.parse_duration(text) == duration


@pytest.mark.parametrize(
    "text,expected",
    [
        (":50051", Address(host="", port=50051)),
        ("localhost:1", Address(host="localhost", port=1)),
        ("[::1]:50051", Address(host="::1", port=50051)),
        ("10.0.0.1:0", Address(host="10.0.0.1", port=0)),
    ],
)
def test_addresses_are_a_host_and_a_port(text: str, expected: Address) -> None:
    assert values.parse_address(text) == expected
    assert str(expected) == text


@pytest.mark.parametrize("text", ["", "50051", "host", "::1:50051", "a:65536", "http://a:1", "a:"])
def test_other_addresses_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="port"):
        values.parse_address(text)


def test_stores_are_a_file_or_the_memory() -> None:
    assert values.parse_store("memory://") == Store(path=None)
    assert values.parse_store("sqlite:///a.db") == Store(path=Path("a.db"))
    assert values.parse_store("sqlite:////var/a.db") == Store(path=Path("/var/a.db"))
    assert str(Store(path=Path("/var/a.db"))) == "sqlite:////var/a.db"
    for text in ("sqlite:///", "sqlite://a.db", "memory://x", "postgresql:/x", "mysql://x"):
        with pytest.raises(ValueError, match="stores are"):
            values.parse_store(text)


def test_a_database_is_a_store_and_its_password_is_not_shown() -> None:
    store = values.parse_store("postgresql://ops:hunter2@db:5432/fleet?schema=east")
    assert store == Store(url="postgresql://ops:hunter2@db:5432/fleet?schema=east")
    assert str(store) == "postgresql://ops:***@db:5432/fleet?schema=east"
    assert "hunter2" not in repr(store)
    assert str(Store(url="postgres://ops@db/x")) == "postgres://ops@db/x"


def test_the_environment_is_expanded_once() -> None:
    environ = {"A": "1", "B": "${A}"}
    assert environment.expand("${A}-${B}-$A-$$-$${A}-$", environ) == "1-${A}-$A-$-${A}-$"


@pytest.mark.parametrize("text", ["${", "${}", "${A", "${1}", "${A B}", "a ${-}"])
def test_references_that_are_none_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="write"):
        environment.expand(text, {"A": "1"})


@given(st.text().filter(lambda text: "$" not in text))
def test_text_without_a_dollar_stays_as_it_is(text: str) -> None:
    assert environment.expand(text, {}) == text
    assert not environment.mentions(text)
