"""Lines of logs: one for each event, whatever is in it."""

from __future__ import annotations

import json
import logging
import unicodedata
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as some

from navarch.core.model.gpu import NodeSample
from navarch.telemetry import formats
from navarch.telemetry.formats import FIELDS_MAX, LINE_BYTES_MAX, TRACEBACK_MAX
from navarch.telemetry.log import Event, bound
from navarch.telemetry.values import FIELD_BYTES_MAX

JSON = formats.formatter("json", {"service": "server"})
TEXT = formats.formatter("text", {"service": "server"})


class Colour(StrEnum):
    """A word of a closed list."""

    RED = "red"


class Stubborn:
    """Something that cannot even be shown."""

    def __str__(self) -> str:
        raise RuntimeError("no")

    __repr__ = __str__


def record(
    message: object, arguments: tuple[object, ...] = (), raised: BaseException | None = None
) -> logging.LogRecord:
    told = (type(raised), raised, raised.__traceback__) if raised is not None else None
    made = logging.LogRecord("navarch.x", logging.WARNING, "x.py", 1, message, arguments, told)
    made.created = 1_800_000_000.25
    return made


def as_json(**fields: object) -> dict[str, Any]:
    """What comes back of an event, between what every line has."""
    line = JSON.format(record(Event("node_lost", fields)))
    assert "\n" not in line
    told: dict[str, Any] = json.loads(line)
    for name in ("time", "level", "event", "logger", "service"):
        del told[name]
    return told


def as_text(**fields: object) -> str:
    line = TEXT.format(record(Event("node_lost", fields)))
    begin = "2027-01-15T08:00:00.250Z WARNING  node_lost                   "
    assert line.startswith(begin.rstrip())
    return line[len(begin) :].strip()


def test_a_line_says_when_how_grave_what_and_about_whom() -> None:
    line = JSON.format(record(Event("node_lost", {"node": "n7", "seq": 12})))
    assert line == (
        '{"time":"2027-01-15T08:00:00.250Z","level":"warning","event":"node_lost","node":"n7",'
        '"seq":12,"logger":"navarch.x","service":"server"}'
    )
    assert as_text(node="n7", seq=12, because="no sign of life") == (
        'node=n7 seq=12 because="no sign of life"'
    )


def test_what_programs_know_comes_out_as_they_know_it() -> None:
    fields = {
        "none": None,
        "on": True,
        "count": 3,
        "share": 0.5,
        "nan": float("nan"),
        "huge": 1 << 70,
        "colour": Colour.RED,
        "at": datetime(2026, 1, 2, 3, 4, 5, 678_901, UTC),
        "naive": datetime(2026, 1, 2),  # noqa: DTZ001 - that is the case
        "took": timedelta(seconds=1.5),
        "raw": b"\xffok",
        "nodes": ("a", "b"),
        "by": {"pool": {"a": 1}},
        "error": ValueError("no"),
        "lone": "\ud800",
        "sample": NodeSample(),
    }
    told = as_json(**fields)
    sample = told.pop("sample")
    assert isinstance(sample, dict)
    assert told == {
        "none": None,
        "on": True,
        "count": 3,
        "share": 0.5,
        "nan": "nan",
        "huge": "0x400000000000000000",
        "colour": "red",
        "at": "2026-01-02T03:04:05.678Z",
        "naive": "2026-01-02T00:00:00.000Z",
        "took": 1.5,
        "raw": "\\xffok",
        "nodes": ["a", "b"],
        "by": {"pool": {"a": 1}},
        "error": "ValueError: no",
        "lone": "\\ud800",
    }


def test_what_cannot_be_shown_does_not_raise() -> None:
    looped: list[object] = []
    looped.append(looped)
    told = as_json(stubborn=Stubborn(), looped=looped, held=[Stubborn()], mapped={Stubborn: 1})
    assert told["stubborn"] == "[not shown: Stubborn raised RuntimeError]"
    assert told["held"] == "[not shown: list raised RuntimeError]"
    assert told["looped"] == [[[["[[...]]"]]]]
    assert "stubborn=" in as_text(stubborn=Stubborn())


def test_a_field_that_is_too_long_is_cut_and_says_so() -> None:
    told = as_json(error="word " * 2_000, wide="é" * 3_000, many=list(range(2_000)))
    assert told["error"].startswith("word word ")
    assert told["error"].endswith("… [cut: 10000 characters in all]")
    assert told["wide"].endswith("… [cut: 3000 characters in all]")
    assert told["many"][:2] == [0, 1]
    assert told["many"][-1] == "[cut: 2000 entries in all]"
    assert all(len(str(each).encode()) <= FIELD_BYTES_MAX for each in told.values())
    deep = as_json(held=["x" * 3_000, "y" * 3_000])
    assert deep["held"].endswith("characters in all]")


def test_a_line_has_a_bound_and_says_what_it_leaves_out() -> None:
    told = as_json(**{f"f{number}": number for number in range(FIELDS_MAX + 3)})
    assert (len(told), told["fields_left_out"]) == (FIELDS_MAX + 1, 3)
    line = JSON.format(record(Event("x", {f"f{number}": "é" * 2_000 for number in range(60)})))
    assert len(line.encode()) <= 2 * LINE_BYTES_MAX + 1_000
    assert json.loads(line)["fields_left_out"] > 0


def test_fields_do_not_hide_what_a_line_says_itself() -> None:
    line = json.loads(
        JSON.format(record(Event("node_lost", {"event": "x", "time": 1, "service": "y"})))
    )
    assert (line["event"], line["service"]) == ("node_lost", "server")
    assert (line["event_"], line["time_"], line["service_"]) == ("x", 1, "y")


def test_what_libraries_log_comes_out_in_the_same_form() -> None:
    with bound(seq=3):
        line = json.loads(JSON.format(record("%s of %d", ("one", 2))))
        broken = json.loads(JSON.format(record("%d of %d", ("one",))))
    assert (line["event"], line["message"], line["seq"]) == ("library_message", "one of 2", 3)
    assert line["logger"] == "navarch.x"
    assert broken["message"] == "%d of %d [its arguments do not fit: TypeError]"
    assert TEXT.format(record("hello")).endswith(
        "library_message              message=hello logger=navarch.x"
    )


def test_a_traceback_is_one_field_or_stands_behind_bars() -> None:
    entry = record(Event("call_failed", {}), raised=ValueError("two\nlines \x1b[31m"))
    told = json.loads(JSON.format(entry))
    assert told["error"] == "ValueError: two\nlines \x1b[31m"
    assert told["traceback"].startswith("ValueError: two\nlines")
    first, *others = TEXT.format(entry).split("\n")
    assert first.endswith('error="ValueError: two\\nlines \\u001b[31m"')
    assert others
    assert all(each.startswith("    | ") and each.isprintable() for each in others)


def test_of_a_long_traceback_the_end_is_kept() -> None:
    entry = record(Event("call_failed", {}), raised=ValueError("x" * 50_000 + "the end"))
    told = json.loads(JSON.format(entry))["traceback"]
    assert told.endswith("the end")
    assert told.startswith("[cut: ")
    assert len(told) < TRACEBACK_MAX + 100


VALUES = some.recursive(
    some.none()
    | some.booleans()
    | some.integers()
    | some.floats()
    | some.text()
    | some.binary()
    | some.datetimes(),
    lambda inner: some.lists(inner) | some.dictionaries(some.text(), inner),
    max_leaves=10,
)


def is_unsafe(character: str) -> bool:
    """Whether a terminal or a reader of lines may take it for more than a letter."""
    turns = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}
    unsafe = unicodedata.category(character) in {"Cc", "Zl", "Zp", "Cs"}
    return unsafe or unicodedata.bidirectional(character) in turns


@settings(max_examples=40, deadline=None)
@given(
    fields=some.dictionaries(some.text(), VALUES, max_size=6),
    message=some.text(),
    why=some.text(),
)
@example(fields={"a\nb": 'x" y="z'}, message="\x85\u2028\x9b31m\x7f\u202e", why="\r\n\x1b]0;x\x07")
def test_nothing_from_outside_writes_a_second_line(
    fields: dict[str, object], message: str, why: str
) -> None:
    for entry in (
        record(Event("node_lost", fields), raised=ValueError(why)),
        record(message.replace("%", "")),
    ):
        line = JSON.format(entry)
        assert line.splitlines() == [line]
        assert not any(map(is_unsafe, line))
        json.loads(line.encode())
        first, *others = TEXT.format(entry).splitlines()
        assert first.isprintable()
        assert all(each.startswith("    | ") and each.isprintable() for each in others)


@pytest.mark.parametrize("fields", [{"because": "x event=node_lost seq=1"}, {"a b=c": "d"}])
def test_a_value_is_no_field_of_its_own(fields: dict[str, object]) -> None:
    assert as_text(**fields) in ('because="x event=node_lost seq=1"', "a_b_c=d")
