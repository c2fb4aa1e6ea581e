"""Trying a policy on written cases."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from navarch.policy import HealthPolicy, run_cases
from navarch.policy.cases import run_cases_text
from policy.judged import a_policy, a_rule, text

DEFAULT = HealthPolicy.default()
GOOD = text("""
    cases:
      - name: a GPU is gone
        events:
          - event_type: xid
            gpu_index: 3
            metrics: {xid_code: 79, note: "79", share: 0.5}
            message: gone
            timestamp: 2026-06-01T12:00:00Z
            system: DCGM_HEALTH_WATCH_PCIE
            gpu_uuid: GPU-1
            count: 2
        expect: {status: unhealthy, rule: xid-reboot, repair: reboot}
      - name: nothing at all
        events: []
        expect: {status: healthy, repair: none}
    """)


def errors(yaml: str) -> list[str]:
    """The first lines of the mistakes of a file of cases."""
    report = run_cases_text(DEFAULT, text(yaml), source="c.yaml")
    assert report.results == ()
    assert not report.passed
    return [str(error).splitlines()[0] for error in report.errors]


def of_event(keys: str) -> str:
    """A file of one case with one event that has these keys."""
    return f"cases: [{{name: a, events: [{{event_type: xid, {keys}}}], expect: {{rule: unknown}}}}]"


def test_cases_that_fit_pass(tmp_path: Path) -> None:
    path = tmp_path / "cases.yaml"
    path.write_text(GOOD)
    report = run_cases(DEFAULT, path)
    assert report.errors == ()
    assert report.passed
    assert [(case.name, case.line) for case in report.results] == [
        ("a GPU is gone", 2),
        ("nothing at all", 13),
    ]


def test_a_case_that_does_not_fit_says_what_came_instead() -> None:
    changed = GOOD.replace("rule: xid-reboot, repair: reboot", "rule: xid-reset, repair: reset_gpu")
    report = run_cases_text(DEFAULT, changed, source="c.yaml")
    assert not report.passed
    assert report.results[0].problems == (
        'rule: expected "xid-reset", got "xid-reboot"',
        'repair: expected "reset_gpu", got "reboot"',
    )
    assert report.results[1].passed


def test_a_case_names_the_rules_that_failed() -> None:
    yaml = """
        cases:
          - name: a sensor that says nothing
            events: [{event_type: thermal, gpu_index: 3, metrics: {temperature: .nan}}]
            expect: {status: healthy}
        """
    [result] = run_cases_text(DEFAULT, text(yaml), source="c.yaml").results
    assert result.problems[0] == 'status: expected "healthy", got "degraded"'
    assert result.problems[1].startswith("rule failed for thermal on GPU 3: thermal-critical: ")


def test_history_counts_within_its_window_only() -> None:
    policy = a_policy(
        a_rule('count("xid:48", "1h") >= 3', name="often"), a_rule("true", "healthy", name="rest")
    )
    yaml = """
        cases:
          - name: case
            events: [{event_type: xid, gpu_index: 3, metrics: {xid_code: 48}}]
            history:
              - {ago: 59m, event_type: xid, gpu_index: 3, metrics: {xid_code: 48}}
              - {ago: AGO, event_type: xid, gpu_index: 3, metrics: {xid_code: 48}}
            expect: {rule: RULE}
        """
    for ago, rule in (("30m", "often"), ("60m", "rest"), ("1d", "rest")):
        written = text(yaml).replace("AGO", ago).replace("RULE", rule)
        assert run_cases_text(policy, written, source="c.yaml").passed, ago


@pytest.mark.parametrize(
    "yaml, expected",
    [
        ("", "c.yaml: is empty"),
        ("rules: []", 'c.yaml:1:1: unknown key "rules"'),
        ("cases: []", "c.yaml:1:8: cases: is empty, expected at least one case"),
        ("cases: [{}]", "c.yaml:1:9: cases[0]: the key name is missing"),
        ("cases: [{name: a, events: [], expect: {}}]", "expects nothing; say status, rule or rep"),
        ("cases: [{name: a, events: [], expect: {state: x}}]", "did you mean status?"),
        ("cases: [{name: a, events: [], expect: {status: ill}}]", "expected one of healthy, deg"),
        ("cases: [{name: a, events: [], expect: {rule: xid-rebot}}]", "did you mean xid-reboot?"),
        ("cases: [{name: a, events: [{}], expect: {status: healthy}}]", "event_type is missing"),
        (
            "cases: [{name: a, events: [{event_type: xidd}], expect: {status: healthy}}]",
            'there is no event type "xidd"; did you mean xid?',
        ),
        (
            "cases: [{name: a, events: [{event_type: xid, gpu: 3}], expect: {status: healthy}}]",
            "did you mean gpu_index?",
        ),
        (
            of_event("gpu_index: x"),
            "events[0].gpu_index: expected a number from -1 to 1000",
        ),
        (
            of_event("count: 0"),
            "events[0].count: expected a number from 1",
        ),
        (
            of_event("metrics: [1]"),
            "events[0].metrics: expected a mapping, got a list",
        ),
        (
            of_event("metrics: {a: {}}"),
            "events[0].metrics.a: expected a number or text",
        ),
        (
            of_event("metrics: {a: 0x1F}"),
            "events[0].metrics.a: expected a decimal number",
        ),
        (
            of_event("timestamp: now"),
            "expected a moment such as",
        ),
        (
            "cases: [{name: a, events: [], history: [{event_type: xid}], expect: {rule: unknown}}]",
            "the key ago is missing",
        ),
        (
            "cases: [{name: a, events: [], history: [{ago: x}], expect: {rule: unknown}}]",
            "expected a length of time such as",
        ),
        (
            of_event("ago: 1m"),
            'unknown key "ago"',
        ),
    ],
)
def test_a_file_that_holds_no_cases_is_refused(yaml: str, expected: str) -> None:
    found = errors(yaml)
    assert any(expected in error for error in found), found


def test_a_file_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    report = run_cases(DEFAULT, tmp_path / "missing.yaml")
    assert "there is no such file" in str(report.errors[0])


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.one_of(
            st.sampled_from(
                [
                    *("cases:\n", "  - name: a\n", "    events: ", "[]\n", "{", "}", "[", "]", ","),
                    *(
                        "event_type: ",
                        "xid",
                        "metrics: ",
                        "xid_code: ",
                        ".nan",
                        ".inf",
                        "0o7",
                        "1_0",
                    ),
                    *("expect: ", "status: ", "healthy", "\n", "    ", "ago: 1m", "- ", "'", '"'),
                    *("timestamp: 2026-01-01", "1:30", "~", "true", "\ud800", "*a", "&a "),
                ]
            ),
            st.text(max_size=3),
        ),
        max_size=20,
    ).map("".join)
)
def test_any_text_is_cases_or_clear_errors(anything: str) -> None:
    for written in (anything, GOOD.replace("79", anything, 1), GOOD.replace("gone", anything, 1)):
        report = run_cases_text(DEFAULT, written, source="c.yaml")
        assert bool(report.errors) is not bool(report.results)
