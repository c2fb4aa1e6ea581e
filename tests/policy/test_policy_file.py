"""Reading a policy file: whatever is wrong is told with its place."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from navarch.core.model.finding import Remedy
from navarch.core.model.report import Health
from navarch.errors import ConfigError
from navarch.policy import HealthPolicy, PolicyError, check_file, check_text
from navarch.policy.rules import RULES_MAX
from policy.judged import a_rule, text

GOOD = text("""
    version: v1
    metadata:
      name: mine
      description: A policy of mine.
      team: gpu
    rules:
      - name: hot
        description: >-
          so hot
          that it hurts
        condition: event.event_type == "thermal" && event.metrics.temperature >= 95
        result: unhealthy
        repair: inspect
        lasting: false
        settles: false
        follows: nobody
      - name: rest
        condition: true
        result: healthy
    """)


def errors(yaml: str) -> list[str]:
    """The mistakes of a text, without their drawings."""
    report = check_text(text(yaml), source="p.yaml")
    assert report.policy is None
    return [error.summary for error in report.errors if isinstance(error, PolicyError)]


def test_a_policy_is_read() -> None:
    policy = HealthPolicy.from_yaml(GOOD)
    assert (policy.name, policy.description) == ("mine", "A policy of mine.")
    hot, rest = policy.rules
    assert hot.name == "hot"
    assert hot.result is Health.UNHEALTHY
    assert hot.repair is Remedy.INSPECT
    assert hot.because == "so hot that it hurts (follows nobody)"
    assert (hot.lasting, hot.settles, hot.line) == (False, False, 7)
    assert (rest.condition, rest.lasting, rest.repair) == ("true", None, Remedy.NONE)
    assert policy.warnings == ()


def test_a_policy_without_metadata_is_called_after_its_file(tmp_path: Path) -> None:
    path = tmp_path / "strict.yaml"
    path.write_text("version: v1\nrules: [{name: all, condition: 'true', result: degraded}]\n")
    assert HealthPolicy.from_file(path).name == "strict"
    assert HealthPolicy.from_file(str(path)).digest == HealthPolicy.from_file(path).digest


@pytest.mark.parametrize(
    "yaml, expected",
    [
        ("", "p.yaml: is empty, expected a policy: version, metadata, rules"),
        ("[]", "p.yaml:1:1: expected a mapping, got a list"),
        ("hello", 'p.yaml:1:1: expected a mapping, got "hello"'),
        ("a: [", "p.yaml:1:5: not valid YAML: while parsing a flow node, expected the node"),
        ("version: v1", "p.yaml:1:1: the key rules is missing"),
        ("version: v2\nrules: []", 'p.yaml:1:10: version: expected one of v1, got "v2"'),
        ("rules: []", "p.yaml:1:1: the key version is missing"),
        ("version: v1\nrules: []", "p.yaml:2:8: rules: is empty, expected at least one rule"),
        ("version: v1\nrules: {}", "p.yaml:2:8: rules: expected a list of rules, got a mapping"),
        ("version: v1\nrules:", "p.yaml:2:7: rules: expected a list of rules, got nothing"),
        ("version: v1\nrule: []", 'p.yaml:2:1: unknown key "rule"; did you mean rules?'),
        ("version: v1\nversion: v1", 'p.yaml:2:1: the key "version" is written twice'),
        ("a: &a [*a]", "p.yaml:1:1: unknown key"),
        ("x: " + "[" * 40, "not valid YAML: nested more than 16 levels deep"),
        ('a: "\\UFFFFFFFF"', "the number of an escape or a directive is too large"),
        ("a: \x00", "p.yaml:1:4: character U+0000 is not allowed in YAML"),
        ("a: 1\n---\nb: 2", "expected a single document in the stream"),
        ("x" * 300_000, "has more than 262,144 characters"),
    ],
)
def test_a_file_that_is_no_policy_is_refused(yaml: str, expected: str) -> None:
    assert any(error.startswith(expected) or expected in error for error in errors(yaml))


@pytest.mark.parametrize(
    "rule, expected",
    [
        ("{name: a, condition: 'true'}", "rules[0]: the key result is missing"),
        ("{condition: 'true', result: healthy}", "rules[0]: the key name is missing"),
        ("{name: a, result: healthy}", "rules[0]: the key condition is missing"),
        (
            "{name: a, condition: 'true', result: sick}",
            'rules[0].result: expected one of healthy, degraded, unhealthy, got "sick"',
        ),
        ("{name: a, condition: 'true', result: unhealty}", "did you mean unhealthy?"),
        ("{name: a, condition: 'true', result: unknown}", "expected one of healthy, degraded"),
        ("{name: a, condition: 'true', result: healthy, repair: reset}", "did you mean reset_gpu?"),
        ("{name: a, condition: 'true', result: healthy, lasting: maybe}", "expected true or false"),
        ("{name: a, condition: 'true', result: healthy, reslt: x}", "did you mean result?"),
        ("{name: a, condition: 'true', result: healthy, priority: 3}", "expected one of name,"),
        ("{name: '', condition: 'true', result: healthy}", "rules[0].name: is empty"),
        ('{name: "a\\nb", condition: "true", result: healthy}', "expected a name on one line"),
        ("{name: unjudged, condition: 'true', result: healthy}", "is a name of ours"),
        ("{name: 'check:x', condition: 'true', result: healthy}", "is a name of ours"),
        (f"{{name: {'a' * 65}, condition: 'true', result: healthy}}", "expected at most 64"),
        ("{name: a, condition: '', result: healthy}", "is empty, expected a condition"),
        ("{name: a, condition: , result: healthy}", "rules[0].condition: expected text, got noth"),
        ("{name: a, condition: [x], result: healthy}", "rules[0].condition: expected text, got a"),
        ("{name: a, condition: 3, result: healthy}", "rules[0].condition: gives int, expected"),
        ("hello", 'rules[0]: expected a mapping, got "hello"'),
    ],
)
def test_a_rule_that_is_none_is_refused(rule: str, expected: str) -> None:
    found = errors(f"version: v1\nrules:\n  - {rule}\n")
    assert any(expected in error for error in found), found
    assert all(error.startswith("p.yaml:3:") for error in found), found


def test_two_rules_of_one_name_are_refused() -> None:
    rules = a_rule("true", name="same") + a_rule("false", name="same")
    [error] = errors(f"version: v1\nrules:\n{rules}")
    assert 'rules[1].name: the name "same" is taken by the rule on line 3' in error


def test_too_many_rules_are_refused() -> None:
    rules = "".join(a_rule("true", name=f"rule{n}") for n in range(RULES_MAX + 1))
    [error] = errors(f"version: v1\nrules:\n{rules}")
    assert "has 501 rules, expected at most 500" in error


def test_rules_that_together_may_take_too_long_are_refused() -> None:
    slow = "event.metrics.all(a, event.metrics.exists(b, a != b))"
    rules = "".join(a_rule(f"{slow} || {n} == 1", name=f"rule{n}") for n in range(100))
    assert "all rules together may take too long" in errors(f"version: v1\nrules:\n{rules}")[-1]


def test_all_mistakes_are_told_in_the_order_of_the_lines() -> None:
    found = errors("""
        version: v3
        rules:
          - name: one
            condition: event.foo == 1
            result: bad
          - name: two
            condition: event.metrics.a >
            result: healthy
            extra: 1
        """)
    assert [error.split(":")[1] for error in found] == ["1", "4", "5", "7", "9"]


def test_reading_stops_when_nobody_would_read_on() -> None:
    rules = "".join(a_rule("nothing", name=f"rule{n}") for n in range(200))
    assert len(errors(f"version: v1\nrules:\n{rules}")) == 50


# --- where a mistake in a condition is --------------------------------------------------------


def drawing(yaml: str) -> tuple[int | None, int | None, str]:
    """The place of the first mistake of a rule, and its drawing."""
    with pytest.raises(PolicyError) as caught:
        HealthPolicy.from_yaml(text(yaml), "p.yaml")
    error = caught.value
    return error.line, error.column, error.excerpt


PLAIN = """
    version: v1
    rules:
      - name: a
        result: healthy
        condition: event.event_type == "xid" && event.foo > 1
    """
QUOTED = """
    version: v1
    rules:
      - {name: a, result: healthy, condition: 'event.system == ''x'' && event.foo > 1'}
    """
ESCAPED = r"""
    version: v1
    rules:
      - {name: a, result: healthy, condition: "event.system == \"\u00e9\t\" && event.foo > 1"}
    """
BLOCK = """
    version: v1
    rules:
      - name: a
        result: healthy
        condition: |
          event.event_type == "xid"

          && event.foo > 1
    """
FOLDED = """
    version: v1
    rules:
      - name: a
        result: healthy
        condition: >-
          event.event_type == "xid"
            && (true ||
          event.foo > 1)
    """
SPREAD = """
    version: v1
    rules:
      - name: a
        result: healthy
        condition: event.event_type == "xid"
          &&
          event.foo > 1
    """


@pytest.mark.parametrize("yaml", [PLAIN, QUOTED, ESCAPED, BLOCK, FOLDED, SPREAD])
def test_a_mistake_in_a_condition_is_drawn_where_it_stands_in_the_file(yaml: str) -> None:
    line, column, excerpt = drawing(yaml)
    lines = text(yaml).splitlines()
    expected = next(number for number, each in enumerate(lines, 1) if "event.foo" in each)
    assert line == expected
    assert column == lines[expected - 1].index("event.foo") + len("event") + 1
    shown, caret = excerpt.splitlines()
    assert shown[caret.index("^") :].startswith(".foo > 1")


def test_a_long_line_is_cut_around_the_mistake() -> None:
    long = " || ".join(["event.gpu_index == 1"] * 30)
    rule = a_rule(f"{long} || event.foo > 1", name="a")
    line, column, excerpt = drawing(f"version: v1\nrules:\n{rule}")
    shown, caret = excerpt.splitlines()
    assert line == 3
    assert column is not None
    assert column > 600
    assert len(shown) <= 102
    assert shown[caret.index("^") :].startswith(".foo > 1")


def test_the_text_of_a_mistake_has_its_place_first_and_a_drawing_below() -> None:
    with pytest.raises(ConfigError) as caught:
        HealthPolicy.from_yaml(text(PLAIN), "p.yaml")
    assert str(caught.value).splitlines() == [
        (
            "p.yaml:5:50: rules[0].condition: nothing is called event.foo;"
            " if it is a metric, write event.metrics.foo"
        ),
        '      condition: event.event_type == "xid" && event.foo > 1',
        "                                                   ^",
    ]
    assert (caught.value.file, caught.value.line) == ("p.yaml", 5)


def test_a_byte_order_mark_and_other_line_ends_move_no_place() -> None:
    for changed in ("\ufeff" + text(PLAIN), text(PLAIN).replace("\n", "\r\n")):
        with pytest.raises(PolicyError) as caught:
            HealthPolicy.from_yaml(changed, "p.yaml")
        assert (caught.value.line, caught.value.column) == (5, 50)


# --- files ------------------------------------------------------------------------------------


def test_a_file_that_cannot_be_read_is_an_error_of_the_report(tmp_path: Path) -> None:
    (tmp_path / "latin.yaml").write_bytes(b"version: v1\nname: \xe9\n")
    (tmp_path / "large.yaml").write_bytes(b"#" * 300_000)
    for name, said in (
        ("missing.yaml", "there is no such file"),
        ("", "this is a directory"),
        ("latin.yaml", "2: byte 0xe9 is not UTF-8"),
        ("large.yaml", "is larger than 256 KiB"),
    ):
        report = check_file(tmp_path / name)
        assert report.policy is None
        assert said in str(report.errors[0])
        with pytest.raises(ConfigError, match=said.split(": ")[-1]):
            HealthPolicy.from_file(tmp_path / name)


def test_a_good_file_has_a_policy_and_no_errors(tmp_path: Path) -> None:
    path = tmp_path / "good.yaml"
    path.write_text(GOOD)
    report = check_file(str(path))
    assert report.policy is not None
    assert (report.policy.name, report.errors, report.warnings) == ("mine", (), ())


# --- warnings ---------------------------------------------------------------------------------


def warnings(*rules: str) -> tuple[str, ...]:
    """What is doubtful about rules that begin on line 3."""
    report = check_text(f"version: v1\nrules:\n{''.join(rules)}", source="p.yaml")
    assert report.errors == ()
    return report.warnings


REST = a_rule("true", "degraded", name="rest")


def test_a_policy_without_a_last_rule_for_everything_is_doubtful() -> None:
    [warning] = warnings(a_rule('event.event_type == "xid"', name="xid"))
    assert warning.startswith("line 3: the last rule, xid, is not `true`")


@pytest.mark.parametrize(
    "rule, said",
    [
        (a_rule('event.event_type == "thermol"'), 'no event type "thermol"; did you mean thermal?'),
        (a_rule('event.event_type in ["xid", "xids"]'), 'no event type "xids"'),
        (a_rule('event.system == "PCIE"'), 'no watch system "PCIE"'),
        (a_rule('known.action == "rest"'), 'no class of codes "rest"; did you mean reset?'),
        (a_rule('known.verdict == "gpu-reset"'), "did you mean gpu_reset?"),
        (a_rule("false"), "is never true"),
        (
            a_rule('event.event_type == "xid" && event.metrics.xid_code == "79"'),
            'compares a metric with the text "79"',
        ),
        (a_rule("event.metrics.temperature > 95"), "fails for every event without the metric temp"),
        (a_rule('event.event_type == "xid"', more=", repair: none"), "it stays so"),
        (a_rule('event.event_type == "xid"', "healthy", more=", repair: reboot"), "never done"),
    ],
)
def test_what_is_probably_not_meant_is_told(rule: str, said: str) -> None:
    [warning] = warnings(rule, REST)
    assert warning.startswith("line 3: rule ")
    assert said in warning


def test_rules_that_are_never_asked_are_told() -> None:
    after = a_rule('event.event_type == "xid"', name="after")
    [one, two] = warnings(REST, after, a_rule("true", name="end"))
    assert one == "line 4: rule after: is never asked: rest, which is always true, stands before it"
    assert two.startswith("line 5: rule end: is never asked")


def test_rules_of_one_condition_are_told() -> None:
    first = a_rule('event.event_type == "xid"', name="first")
    [warning] = warnings(first, a_rule('event.event_type  ==  "xid"', name="again"), REST)
    assert "rule again: is never the first to be true: first has the same condition" in warning


@pytest.mark.parametrize(
    "condition",
    [
        'event.event_type == "thermal" && event.metrics.temperature > 95',
        'event.event_type in ["thermal", "power"] && event.metrics.temperature > 95',
        "has(event.metrics.temperature) && event.metrics.temperature > 95",
        'event.metrics.severity == "fatal" || true',
        'has(event.metrics.word) && event.metrics.word == "NaN"',
    ],
)
def test_what_is_probably_meant_is_not_doubted(condition: str) -> None:
    assert warnings(a_rule(condition), REST) == ()


# --- anything at all --------------------------------------------------------------------------

SCRAPS = st.sampled_from(
    [
        *("version: v1\n", "rules:\n", "metadata: {name: x}\n", "  - name: a\n", "    result: "),
        *("healthy\n", "    condition: ", "true\n", "event.metrics.x > 1\n", "|\n", ">-\n", "'"),
        *('"', "\\", "&a ", "*a", "{", "}", "[", "]", ": ", ",", "# ", "\n", "  ", "\t", "!!int "),
        *(
            "<<: ",
            "? ",
            "\ufeff",
            "\x85",
            "é",
            "\ud800",
            "%YAML 1.9\n",
            "---\n",
            "count('xid', '1h')",
        ),
    ]
)


@settings(max_examples=400, deadline=None)
@given(
    st.one_of(
        st.text(max_size=200),
        st.lists(SCRAPS, max_size=30).map("".join),
        st.lists(st.one_of(SCRAPS, st.text(max_size=3)), max_size=12).map(
            lambda scraps: GOOD.replace("95", "".join(scraps), 1)
        ),
    )
)
def test_any_text_is_a_policy_or_a_clear_error(anything: str) -> None:
    report = check_text(anything, source="p.yaml")
    if report.policy is None:
        assert report.errors
        assert all(str(error).startswith("p.yaml") for error in report.errors)
        with pytest.raises(ConfigError):
            HealthPolicy.from_yaml(anything, "p.yaml")
    else:
        assert report.errors == ()
        assert report.policy.evaluate([]).matches == ()


@settings(max_examples=300, deadline=None)
@given(
    condition=st.one_of(
        st.text(max_size=60),
        st.lists(
            st.sampled_from(
                [
                    *(
                        "event.",
                        "metrics",
                        ".x",
                        "known.code",
                        "==",
                        "!=",
                        "&&",
                        "||",
                        "!",
                        "(",
                        ")",
                    ),
                    *(
                        "[",
                        "]",
                        "{",
                        "}",
                        "'x'",
                        '"79"',
                        "1",
                        "0.5",
                        "true",
                        "null",
                        "in",
                        "?",
                        ":",
                    ),
                    *(
                        ".exists(k, k == ",
                        ".map(k, ",
                        "has(",
                        "matches('a+')",
                        "count(",
                        "duration(",
                    ),
                    *("size(", "+", "-", "/", "%", "b'x'", "r'\\d'", "1u", "dyn(", " "),
                ]
            ),
            max_size=16,
        ).map("".join),
    )
)
def test_any_condition_is_compiled_or_refused_with_a_place(condition: str) -> None:
    import json

    yaml = f"version: v1\nrules: [{{name: a, result: healthy, condition: {json.dumps(condition)}}}]"
    report = check_text(yaml, source="p.yaml")
    if report.policy is None:
        assert all(str(error).startswith("p.yaml:2:") for error in report.errors)
    else:
        report.policy.warnings  # noqa: B018  # told without an exception
