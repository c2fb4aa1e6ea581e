"""How single values are written for people."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from navarch.cli import output

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    "passed,expected",
    [
        (timedelta(seconds=-5), "0s ago"),
        (timedelta(seconds=3.9), "3s ago"),
        (timedelta(seconds=119), "119s ago"),
        (timedelta(minutes=2), "2m ago"),
        (timedelta(minutes=59, seconds=59), "59m ago"),
        (timedelta(hours=23), "23h ago"),
        (timedelta(days=400), "400d ago"),
    ],
)
def test_an_age_is_in_its_largest_unit(passed: timedelta, expected: str) -> None:
    assert output.age(NOW - passed, NOW) == expected


def test_what_never_was_has_no_age() -> None:
    assert output.age(None, NOW) == "never"
    assert output.stamp(None) == ""


@given(st.text())
def test_nothing_unprintable_reaches_a_terminal(text: str) -> None:
    shown = output.plain(text)
    assert shown.isprintable()
    assert text.isprintable() == (shown == text)


def test_columns_are_as_wide_as_their_widest_cell(capsys: pytest.CaptureFixture[str]) -> None:
    output.table(("A", "LONGER"), [("wide", ""), ("", "x")])
    assert capsys.readouterr().out == "A     LONGER\nwide  -\n-     x\n"
