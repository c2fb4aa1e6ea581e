"""From events to verdicts: the meaning of rules, and that remembering changes none of it."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from navarch.core.judging import HealthPolicy as Judges
from navarch.core.judging import NothingBefore
from navarch.core.model.finding import Remedy
from navarch.core.model.report import Health
from navarch.policy import HealthEvent, HealthPolicy, judging
from policy.judged import (
    MANY_METRICS,
    NOW,
    Past,
    a_policy,
    a_rule,
    alike,
    an_xid,
    events,
    match,
    pasts,
    policies,
)

HOT = a_rule('event.event_type == "thermal" && event.metrics.temperature >= 95', name="hot")
REST_HEALTHY = a_rule("true", "healthy", name="rest")


# --- the meaning ------------------------------------------------------------------------------


def test_a_policy_fits_the_protocol_of_the_core() -> None:
    policy: Judges = HealthPolicy.default()
    assert policy.evaluate([]).status is Health.HEALTHY
    assert policy.name == "default"


def test_the_first_match_speaks_for_an_event() -> None:
    policy = a_policy(a_rule("true", "degraded", name="first"), a_rule("true", name="second"))
    assert match(policy, an_xid(79)).rule == "first"


def test_the_worst_speaks_for_a_report_and_every_event_has_a_match() -> None:
    policy = a_policy(HOT, REST_HEALTHY)
    reported = [an_xid(13), HealthEvent("thermal", 1, metrics={"temperature": 96}), an_xid(31)]
    verdict = policy.evaluate(reported)
    assert verdict.status is Health.UNHEALTHY
    assert verdict.rule == "hot"
    assert verdict.event is reported[1]
    assert [each.rule for each in verdict.matches] == ["rest", "hot", "rest"]
    assert [each.event for each in verdict.matches] == reported


def test_no_events_are_healthy() -> None:
    verdict = a_policy(HOT).evaluate([])
    assert (verdict.status, verdict.rule, verdict.matches) == (Health.HEALTHY, "", ())


def test_what_no_rule_matches_is_degraded_and_unjudged() -> None:
    found = match(a_policy(HOT), an_xid(79))
    assert (found.status, found.rule, found.remedy) == (
        Health.DEGRADED,
        "unjudged",
        Remedy.OBSERVE,
    )
    assert found.because == "XID 79 (GPU fell off the PCIe bus): no rule matches it"


def test_repair_follows_the_result_where_a_rule_does_not_say() -> None:
    for result, remedy in (("healthy", "none"), ("degraded", "observe"), ("unhealthy", "replace")):
        assert str(match(a_policy(a_rule("true", result)), an_xid(79)).remedy) == remedy
    asked = a_policy(a_rule("true", more=", repair: reset_gpu"))
    assert match(asked, an_xid(79)).remedy is Remedy.RESET_GPU


def test_errors_last_and_conditions_do_not_where_a_rule_does_not_say() -> None:
    policy = a_policy(a_rule("event.gpu_index == 3", "degraded"), REST_HEALTHY)
    assert match(policy, an_xid(79)).lasting
    assert match(policy, HealthEvent("sxid", 3)).lasting
    assert not match(policy, HealthEvent("thermal", 3)).lasting
    assert not match(policy, an_xid(79, 1)).lasting
    never = a_policy(a_rule("true", more=", lasting: false"))
    assert not match(never, an_xid(79)).lasting
    always = a_policy(a_rule("true", more=", lasting: true, settles: true"))
    assert match(always, HealthEvent("thermal")).lasting
    assert match(always, HealthEvent("thermal")).settles


def test_what_a_rule_says_names_the_code_and_whom_it_follows() -> None:
    policy = a_policy(a_rule("true", more=", description: gone, follows: NVIDIA"))
    said = "XID 79 (GPU fell off the PCIe bus): gone (follows NVIDIA)"
    assert match(policy, an_xid(79)).because == said
    assert match(policy, HealthEvent("power")).because == "gone (follows NVIDIA)"


# --- rules that fail --------------------------------------------------------------------------


def test_a_rule_that_fails_is_named_counted_and_passed_over() -> None:
    policy = a_policy(
        a_rule("event.metrics.power > 400", name="failing"), a_rule("true", name="next")
    )
    found = match(policy, an_xid(79))
    assert found.rule == "next"
    assert found.failed == ("failing: there is no metric power",)
    assert policy.failures == {"failing": 1}
    policy.evaluate([an_xid(79), an_xid(31)])
    assert policy.failures == {"failing": 3}


def test_a_failed_rule_is_never_read_as_healthy() -> None:
    policy = a_policy(a_rule("event.metrics.power > 400", name="failing"), REST_HEALTHY)
    found = match(policy, an_xid(79))
    assert (found.status, found.rule) == (Health.DEGRADED, "unjudged")
    assert "rule rest calls it healthy, but failing before it failed" in found.because
    assert found.failed == ("failing: there is no metric power",)


def test_a_side_that_fails_before_the_rest_is_asked_is_not_taken_for_a_no() -> None:
    policy = a_policy(
        a_rule("event.metrics.xid_code > 50 && event.gpu_index == 3", name="side"), REST_HEALTHY
    )
    assert match(policy, an_xid("many", 3)).failed == ("side: cannot apply _>_(string, int64)",)
    assert match(policy, an_xid("many", 4)).failed == ()
    assert match(policy, an_xid("many", 4)).rule == "rest"


def test_sides_that_look_alike_are_not_taken_for_one_another() -> None:
    value = a_rule("event.metrics.xid_code == true && event.gpu_index == 3", name="value")
    presence = a_rule("has(event.metrics.xid_code) == true && event.gpu_index == 3", name="there")
    assert match(a_policy(value, presence, REST_HEALTHY), an_xid(79, 3)).rule == "there"
    text = a_rule('event.metrics.xid_code == "79" && event.gpu_index == 3', name="text")
    number = a_rule("event.metrics.xid_code == 79 && event.gpu_index == 3", name="number")
    assert match(a_policy(text, number, REST_HEALTHY), an_xid(79, 3)).rule == "number"


def test_a_failure_behind_the_match_is_none() -> None:
    policy = a_policy(REST_HEALTHY, a_rule("event.metrics.power > 400", name="failing"))
    assert match(policy, an_xid(79)).failed == ()
    assert policy.failures == {}


def test_text_where_a_number_belongs_fails_loudly() -> None:
    policy = a_policy(HOT, REST_HEALTHY)
    for reading in ("NaN", float("nan"), "inf", "hot", "", "96 C", "1e999"):
        event = HealthEvent("thermal", metrics={"temperature": reading})
        found = match(policy, event)
        assert (found.status, found.rule) == (Health.DEGRADED, "unjudged"), reading
        assert found.failed, reading


def test_numbers_that_travel_as_text_are_numbers() -> None:
    policy = a_policy(HOT, REST_HEALTHY)
    for reading in ("96", "96.5", 96, 96.5, "+96", "9.6e1", "96."):
        assert match(policy, HealthEvent("thermal", metrics={"temperature": reading})).rule == "hot"
    for reading in ("94", 94.9, "-40", -40):
        found = match(policy, HealthEvent("thermal", metrics={"temperature": reading}))
        assert found.rule == "rest"


def test_an_event_with_too_many_metrics_is_not_judged() -> None:
    policy = a_policy(REST_HEALTHY)
    metrics: dict[str, str | int | float] = {f"m{n}": n for n in range(MANY_METRICS + 1)}
    found = match(policy, HealthEvent("xid", metrics=metrics))
    assert (found.status, found.rule) == (Health.DEGRADED, "unjudged")
    assert "at most 64 are judged" in found.because
    metrics.popitem()
    assert match(policy, HealthEvent("xid", metrics=metrics)).rule == "rest"


def test_only_the_beginning_of_a_long_message_is_looked_at() -> None:
    policy = a_policy(a_rule('event.message.contains("end")', name="end"), REST_HEALTHY)
    assert match(policy, an_xid(79, message="x" * 4093 + "end")).rule == "end"
    assert match(policy, an_xid(79, message="x" * 4094 + "end")).rule == "rest"


@settings(max_examples=150, deadline=None)
@given(given_events=st.lists(events, max_size=5))
def test_no_event_raises_or_is_lost(given_events: list[HealthEvent]) -> None:
    verdict = HealthPolicy.default().evaluate(given_events)
    assert len(verdict.matches) == len(given_events)
    assert verdict.status in (Health.HEALTHY, Health.DEGRADED, Health.UNHEALTHY)


# --- counts -----------------------------------------------------------------------------------


def test_counts_are_of_the_events_own_gpu_or_of_the_node() -> None:
    own = a_rule('count("xid:48", "1h") > 1', name="own")
    node = a_rule('node_count("xid:48", "10m") > 1', "degraded", name="node")
    policy = a_policy(own, node, REST_HEALTHY)
    past = Past({("xid:48", 3): 2, ("xid:48", None): 2})
    assert match(policy, an_xid(48, 3), past).rule == "own"
    assert match(policy, an_xid(48, 4), past).rule == "node"
    assert match(policy, an_xid(48, 4), Past({})).rule == "rest"
    assert ("xid:48", 3, timedelta(hours=1)) in past.asked
    assert ("xid:48", None, timedelta(minutes=10)) in past.asked


def test_without_a_past_the_report_itself_counts() -> None:
    policy = a_policy(a_rule('count("xid", "1h") >= 3', name="often"), REST_HEALTHY)
    assert [each.rule for each in policy.evaluate([an_xid(48)] * 2).matches] == ["rest"] * 2
    assert [each.rule for each in policy.evaluate([an_xid(48)] * 3).matches] == ["often"] * 3
    assert policy.evaluate([replace(an_xid(48), count=3)]).rule == "often"


def test_a_changed_count_is_another_question() -> None:
    policy = a_policy(a_rule('count("ecc_sbe", "1h") >= 3', name="storm"), REST_HEALTHY)
    event = HealthEvent("ecc_sbe", 3)
    rules = [policy.evaluate([event], Past({("ecc_sbe", 3): n})).rule for n in (1, 2, 3, 4, 2)]
    assert rules == ["rest", "rest", "storm", "storm", "rest"]


def test_counts_are_not_asked_for_events_that_no_counting_rule_can_match() -> None:
    policy = HealthPolicy.default()
    past = Past({})
    policy.evaluate([an_xid(79), an_xid(13), HealthEvent("power")], past)
    assert past.asked == []


# --- remembering ------------------------------------------------------------------------------


@settings(max_examples=200, deadline=None)
@given(policy=policies(), reported=alike(), past=pasts)
def test_remembering_changes_no_answer(
    policy: HealthPolicy, reported: list[HealthEvent], past: Past
) -> None:
    expected = policy.plainly(reported, past)
    assert policy.evaluate(reported, past) == expected
    assert policy.evaluate(reported, past) == expected
    alone = [policy.plainly([event], past).matches[0] for event in reversed(reported)]
    assert [policy.evaluate([event], past).matches[0] for event in reversed(reported)] == alone


SHARED = HealthPolicy.default()


@settings(max_examples=200, deadline=None)
@given(reported=st.one_of(alike(), st.lists(events, min_size=1, max_size=8)), past=pasts)
def test_the_default_policy_answers_the_same_with_a_full_memory(
    reported: list[HealthEvent], past: Past
) -> None:
    assert SHARED.evaluate(reported, past) == SHARED.plainly(reported, past)


def test_metrics_that_are_looked_at_without_a_name_are_part_of_the_question() -> None:
    text = "event.metrics.exists(name, event.metrics[name] == 7)"
    policy = a_policy(a_rule(text, name="seven"), REST_HEALTHY)
    for metrics, rule in (({"a": 6}, "rest"), ({"a": 7}, "seven"), ({"b": 6, "a": 7}, "seven")):
        assert match(policy, HealthEvent("thermal", metrics=dict(metrics))).rule == rule
    named = a_policy(a_rule("event.metrics[event.gpu_uuid] == 7", name="seven"), REST_HEALTHY)
    for uuid, value, rule in (("a", 7, "seven"), ("a", 6, "rest"), ("b", 7, "unjudged")):
        event = HealthEvent("thermal", gpu_uuid=uuid, metrics={"a": value})
        assert match(named, event).rule == rule


def test_the_same_code_in_another_form_is_another_question() -> None:
    policy = a_policy(a_rule("type(event.metrics.xid_code) == int", name="whole"), REST_HEALTHY)
    for code, rule in ((154, "whole"), (154.0, "rest"), ("154", "whole"), ("154.0", "rest")):
        assert match(policy, an_xid(code)).rule == rule


def test_values_that_are_equal_in_python_only_are_told_apart() -> None:
    policy = a_policy(a_rule("type(event.metrics.temperature) == int", name="whole"), REST_HEALTHY)
    rules = [
        match(policy, HealthEvent("thermal", metrics={"temperature": value})).rule
        for value in (True, 1, 1.0, "1", "1.0", "01", 1)
    ]
    assert rules == ["rest", "whole", "rest", "whole", "rest", "whole", "whole"]
    signs = a_policy(a_rule("1.0 / event.metrics.temperature > 0.0", name="plus"), REST_HEALTHY)
    zeros = [HealthEvent("thermal", metrics={"temperature": value}) for value in (0.0, -0.0)]
    assert [match(signs, zero).rule for zero in zeros] == ["plus", "rest"]


def test_the_message_is_part_of_the_question_only_if_a_rule_reads_it() -> None:
    blind = a_policy(HOT, REST_HEALTHY)
    blind.evaluate([an_xid(79, message=f"line {n}") for n in range(50)])
    assert len(blind._judge._plans) == 1  # noqa: SLF001  # the memory is what this is about
    reading = a_policy(a_rule('event.message.contains("7")', name="seven"), REST_HEALTHY)
    rules = [match(reading, an_xid(79, message=f"line {n}")).rule for n in (6, 7, 8)]
    assert rules == ["rest", "seven", "rest"]


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judging, "PLANS_MAX", 8)
    monkeypatch.setattr(judging, "ANSWERS_MAX", 16)
    policy = a_policy(HOT, a_rule("event.metrics.pid > 7", name="pid"), REST_HEALTHY)
    for number in range(100):
        policy.evaluate([an_xid(number, metrics={"pid": number})])
        policy.evaluate([HealthEvent(f"type{number}", metrics={"pid": number})])
        judge = policy._judge  # noqa: SLF001  # the memory is what this is about
        assert len(judge._plans) <= 8  # noqa: SLF001  # as above
        assert sum(len(plan.answers) for plan in judge._plans.values()) <= 16  # noqa: SLF001
        assert len(judge._by_type) <= judging.TYPES_MAX  # noqa: SLF001  # as above


def test_long_texts_are_not_remembered() -> None:
    policy = a_policy(a_rule('event.message.contains("7")', name="seven"), REST_HEALTHY)
    for number in range(20):
        policy.evaluate([an_xid(79, message=f"{number} " + "x" * 600)])
    plans = policy._judge._plans.values()  # noqa: SLF001  # the memory is what this is about
    assert sum(len(plan.answers) for plan in plans) == 0


def test_forgetting_changes_no_answer() -> None:
    policy = HealthPolicy.default()
    before = policy.evaluate([an_xid(79), an_xid(154)])
    policy.forget()
    assert policy.evaluate([an_xid(79), an_xid(154)]) == before


def test_timestamps_are_compared_and_never_doubted() -> None:
    text = 'event.timestamp > timestamp("2026-06-01T00:00:00Z")'
    policy = a_policy(a_rule(text, name="late"), REST_HEALTHY)
    assert match(policy, an_xid(79, timestamp=NOW)).rule == "late"
    assert match(policy, an_xid(79, timestamp=NOW - timedelta(days=9))).rule == "rest"
    assert match(policy, an_xid(79, timestamp=NOW + timedelta(days=40_000))).rule == "late"
    assert match(policy, an_xid(79, timestamp=NOW.replace(tzinfo=None))).rule == "late"
    assert match(policy, an_xid(79)).failed == ("late: the event has no timestamp",)


def test_the_digest_differs_where_rules_do() -> None:
    one = a_policy(HOT, REST_HEALTHY)
    assert one.digest == a_policy(HOT, REST_HEALTHY).digest
    others = [
        a_policy(REST_HEALTHY, HOT),
        a_policy(HOT),
        a_policy(HOT.replace("95", "96"), REST_HEALTHY),
        a_policy(HOT, a_rule("true", "degraded", name="rest")),
        a_policy(HOT, a_rule("true", "healthy", name="rest", more=", repair: restart_app")),
        a_policy(HOT, a_rule("true", "healthy", name="rest", more=", settles: true")),
    ]
    assert len({one.digest, *(each.digest for each in others)}) == len(others) + 1


def test_the_given_counts_are_used_and_not_those_of_the_report() -> None:
    policy = a_policy(a_rule('count("xid", "1h") >= 1', name="any"), REST_HEALTHY)
    assert policy.evaluate([an_xid(79)], Past({})).rule == "rest"
    assert policy.evaluate([an_xid(79)], NothingBefore([an_xid(79)])).rule == "any"
