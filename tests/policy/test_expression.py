"""Conditions in CEL: what the library gets wrong in silence must be loud here."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from navarch.policy.expression import Activation, Expression, Failure, compile_condition
from navarch.policy.mistakes import Mistakes

XID = {
    "event.event_type": "xid",
    "event.system": "",
    "event.gpu_index": 3,
    "event.gpu_uuid": "GPU-1",
    "event.message": "",
    "event.metrics": {"xid_code": 79, "temperature": 88.5, "word": "NaN"},
    "known.action": "reboot",
    "known.code": 79,
}


def ask(text: str, **changes: object) -> bool | Failure:
    values = {**XID, **{f"event.{name}": value for name, value in changes.items()}}
    return compile_condition(text).ask(Activation(values, {}))


def refused(text: str) -> str:
    with pytest.raises(Mistakes) as caught:
        compile_condition(text)
    return str(caught.value)


def why(answer: bool | Failure) -> str:  # noqa: FBT001  # it is what an expression says
    assert isinstance(answer, Failure), answer
    return answer.why


def test_a_condition_is_true_or_false() -> None:
    assert ask('event.event_type == "xid" && event.metrics.xid_code in [79, 74]') is True
    assert ask('event.event_type == "thermal"') is False


def test_an_error_value_is_truthy_in_the_library_and_a_failure_here() -> None:
    assert why(ask("event.metrics.power > 400")) == "there is no metric power"


def test_dividing_by_zero_is_a_failure() -> None:
    assert why(ask("1 / (event.gpu_index - 3) == 1")) == "divide by zero"


def test_an_error_hidden_by_a_decided_side_is_none() -> None:
    assert ask("event.metrics.power > 400 || true") is True
    assert ask("event.metrics.power > 400 && false") is False
    assert ask("false && event.metrics.power > 400") is False


def test_comparing_text_with_a_number_fails_loudly() -> None:
    assert why(ask("event.metrics.word > 85")) == "cannot apply _>_(string, int64)"


def test_whole_and_decimal_numbers_of_metrics_compare() -> None:
    assert ask("event.metrics.temperature >= 88") is True
    assert ask("event.metrics.temperature >= 88.6") is False
    assert ask("event.metrics.xid_code == 79.0") is True


@pytest.mark.parametrize(
    "text, said",
    [
        ("event.temperature > 85", "write event.metrics.temperature"),
        ("event.event_typ == 'xid'", "did you mean event.event_type?"),
        ("event_type == 'xid'", "did you mean event.event_type?"),
        ("known.acton == 'reset'", "did you mean known.action?"),
        ("cont('xid', '1h') > 1", "nothing is called cont; did you mean count?"),
        ("event.event_type == 79", "== cannot be applied to (string, int)"),
        ("event.message > 3", "> cannot be applied to (string, int)"),
        ("now() > event.timestamp", "nothing is called now"),
        ("event.gpu_index", "gives int, expected a condition"),
        ("event.metrics.flag", "gives dyn, expected a condition"),
        ("has(event.event_type)", "gives string, expected a condition"),
        ("event.event_type ==", "the expression ends too early"),
        ("event.event_type = 'xid'", "Syntax error"),
        ("event == 3", "expected one of its fields"),
        ("", "the expression ends too early"),
        ("'\ud800' == 'x'", "half a character"),
    ],
)
def test_a_mistake_is_told_when_the_condition_is_read(text: str, said: str) -> None:
    assert said in refused(text)


def test_a_mistake_has_its_place_in_code_points() -> None:
    text = '"é" == "é" && event.temperature > 85'
    with pytest.raises(Mistakes) as caught:
        compile_condition(text)
    [mistake] = caught.value.mistakes
    assert mistake.place == text.index("event.") + len("event")


def test_every_mistake_of_a_condition_is_told() -> None:
    with pytest.raises(Mistakes) as caught:
        compile_condition("event.one == 1\n&& event.two == 2")
    assert [mistake.place for mistake in caught.value.mistakes] == [5, 23]


def test_a_missing_timestamp_is_a_failure() -> None:
    text = 'event.timestamp > timestamp("2026-01-01T00:00:00Z")'
    assert why(ask(text)) == "the event has no timestamp"
    assert ask(text, timestamp=datetime(2400, 1, 1, tzinfo=UTC)) is True


def test_a_value_that_the_library_cannot_hold_is_a_failure() -> None:
    assert isinstance(ask("event.metrics.big > 1", metrics={"big": 2**70}), Failure)
    assert isinstance(ask("event.metrics.odd > 1", metrics={"odd": object()}), Failure)
    assert isinstance(ask("event.message == 'x'", message="\ud800"), Failure)
    assert isinstance(ask("event.message == 'x'", message=7), Failure)


def test_presence_is_asked_of_metrics() -> None:
    assert ask("has(event.metrics.xid_code)") is True
    assert ask("has(event.metrics.power)") is False
    assert ask('"power" in event.metrics') is False


# --- counts -----------------------------------------------------------------------------------


def counting(text: str, counted: dict[tuple[str, str, timedelta], int]) -> bool | Failure:
    return compile_condition(text).ask(Activation(XID, counted))


def test_counts_are_asked_with_text_or_a_duration() -> None:
    counted = {
        ("count", "ecc_sbe", timedelta(hours=1)): 3,
        ("node_count", "xid:48", timedelta(minutes=90)): 1,
    }
    assert counting('count("ecc_sbe", "1h") >= 3', counted) is True
    assert counting('count("ecc_sbe", duration("60m")) >= 4', counted) is False
    assert counting('node_count("xid:48", "1h30m") == 1', counted) is True


@pytest.mark.parametrize(
    "text, said",
    [
        ('count(event.event_type, "1h") > 1', "expected a kind in quotes"),
        ('count("xid", event.message) > 1', "expected a window in quotes"),
        ('count("ecc_sb", "1h") > 1', "did you mean ecc_sbe?"),
        ('count("sxid:20034", "1h") > 1', 'only XIDs are counted by code, as in "xid:48"'),
        ('count("xid:", "1h") > 1', "only XIDs are counted by code"),
        ('count("xid", "1 hour") > 1', "expected a length of time"),
        ('count("xid", "10s") > 1', "expected a window from 1m to 24h"),
        ('count("xid", "25h") > 1', "expected a window from 1m to 24h"),
        ('count("xid", duration("1d")) > 1', "duration() knows no days"),
        ('count("xid", "") > 1', "expected a length of time"),
        ('count("xid", "0m") > 1', "above zero"),
        ('count("xid", 3600) > 1', "count cannot be applied to (string, int)"),
    ],
)
def test_counts_say_what_they_count_in_so_many_words(text: str, said: str) -> None:
    assert said in refused(text)


# --- what a condition looks at ----------------------------------------------------------------


def reads(text: str) -> tuple[set[str], set[str], bool]:
    found = compile_condition(text).reads
    return set(found.fields), set(found.metrics), found.every_metric


@pytest.mark.parametrize(
    "text, fields, metrics, every",
    [
        ("true", set(), set(), False),
        ('event.message.matches("x")', {"event.message"}, set(), False),
        (".event.message == 'x'", {"event.message"}, set(), False),
        ("event.metrics.a > 1", set(), {"a"}, False),
        ('event.metrics["a b"] > 1', set(), {"a b"}, False),
        ("has(event.metrics.a)", set(), {"a"}, False),
        ('"a" in event.metrics', set(), {"a"}, False),
        ("event.metrics[event.system] > 1", {"event.system"}, set(), True),
        ("event.metrics.exists(k, k == 'a')", set(), set(), True),
        ("event.metrics.size() > 1", set(), set(), True),
        ("dyn(event.metrics).a == 1", set(), set(), True),
        (
            "event.metrics.a > 1 ? known.found : event.metrics.b == 2",
            {"known.found"},
            {"a", "b"},
            0,
        ),
        ('[{"metrics": 1}].all(event, event.metrics == 1)', set(), set(), False),
    ],
)
def test_what_is_looked_at_is_known(
    text: str,
    fields: set[str],
    metrics: set[str],
    every: bool,  # noqa: FBT001  # a parameter
) -> None:
    assert reads(text) == (fields, metrics, every)


def test_a_part_of_a_condition_can_be_asked_alone() -> None:
    from navarch.policy.expression import alone, conjuncts

    condition: Expression = compile_condition(
        'event.event_type == "xid" && (event.gpu_index > 5 || false) && known.code == 79'
    )
    variables = Activation(XID, {})
    parts = conjuncts(condition.tree.root)
    assert [alone(condition, part)(variables) for part in parts] == [True, False, True]
