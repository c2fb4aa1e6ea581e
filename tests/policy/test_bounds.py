"""Conditions that would take too long are refused when they are read."""

from __future__ import annotations

import time

import pytest

from navarch.policy.bounds import COST_MAX, PATTERN_WEIGHT_MAX, pattern_weight
from navarch.policy.expression import Activation, Failure, compile_condition
from navarch.policy.mistakes import Mistakes
from navarch.policy.readings import METRICS_MAX, TEXT_MAX

WORST = Activation(
    {
        "event.metrics": {f"metric{n}": n for n in range(METRICS_MAX)},
        "event.message": "ab" * (TEXT_MAX // 2),
    },
    {},
)


def refused(text: str) -> str:
    with pytest.raises(Mistakes) as caught:
        compile_condition(text)
    return str(caught.value)


@pytest.mark.parametrize(
    "text, said",
    [
        ("true " * 1000, "expected at most 4,096"),
        ("(" * 500 + "true" + ")" * 500, "more than 32 levels deep"),
        ("[" * 500 + "]" * 500 + " == []", "more than 32 levels deep"),
        ("true ? true : " * 200 + "true", "more than 32 levels deep"),
        ("event.metrics" + ".a" * 500 + " == 1", "more than 32 levels deep"),
        (" + ".join(["1"] * 1000) + " == 1", "more than 32 levels deep"),
        (
            "event.metrics.all(a, event.metrics.all(b, event.metrics.all(c, a != b)))",
            "times as long",
        ),
        (f"[{','.join(['1'] * 1900)}].map(x, x).size() == 1", "times as long"),
        ("event.metrics.map(a, [a, a]).all(b, b.all(c, c == 'x'))", "whose length cannot be told"),
        ("event.metrics.list.all(a, a == 1)", "whose length cannot be told"),
        ("[event.message]" + ".map(x, x + x)" * 10 + ".exists(x, x == 'a')", "may build a"),
        ("[[1, 2]]" + ".map(x, x + x)" * 22 + ".exists(x, x == [1])", "may build a"),
        ("event.metrics" + ".map(x, [x, x])" * 8 + ".size() == 1", "may build a"),
        (
            f"[event.message]{'.map(x, x + x)' * 5}.exists(x, (x + x).contains(x + 'b'))",
            "times as long",
        ),
        (f"({' + '.join(['event.message'] * 9)}).matches('(a?){{190}}b')", "times as long"),
        ("event.message.matches(event.system)", "expected the pattern in quotes"),
        ("event.message.matches('(')", "invalid regular expression"),
        ("event.message.matches('(a?){250}b')", "expected at most 200"),
        ("event.message.matches('(((a{9}){9}){9})')", "expected at most 200"),
        (f"event.message.matches('{'a' * 300}')", "at most 256 fit"),
        (f"event.message.matches(r'(?i){'.' * 50}')", "expected at most 200"),
    ],
)
def test_what_could_explode_is_refused(text: str, said: str) -> None:
    assert said in refused(text)


@pytest.mark.parametrize(
    "text",
    [
        "event.metrics.all(a, event.metrics.exists(b, a != b))",
        f"[{','.join(['1'] * 600)}].map(x, x).size() == 1",
        "event.message.matches('(a?){190}b')",
        "[event.message]" + ".map(x, x + x)" * 2 + ".exists(x, (x + x).contains(x + 'b'))",
        "event.metrics.map(x, event.metrics.exists(y, x == y)).size() == 1",
        "[event.message]" + ".map(x, x + x)" * 8 + ".exists(x, x == 'a')",
        "event.message.matches('(a|b)*a(a|b){50}c')",
        "event.message.matches(r'\\pL?\\pL?\\pL?\\pL?\\pL?z')",
        "[" + ",".join(["event.message.contains(event.message + 'x')"] * 50) + "].size() == 1",
        " || ".join(["event.metrics == {'a': 1}"] * 100),
    ],
)
def test_what_is_allowed_takes_a_bounded_time(text: str) -> None:
    condition = compile_condition(text)
    condition.ask(WORST)
    began = time.thread_time()
    answer = condition.ask(WORST)
    assert time.thread_time() - began < 0.1  # ten times what the bound promises, for slow machines
    assert answer is True or answer is False
    assert condition.cost <= COST_MAX


def test_the_library_itself_stops_endless_loops() -> None:
    """Should the bound of ours ever be too generous: 10,000 steps an evaluation."""
    from navarch.policy import expression

    program = expression._ENVIRONMENT.compile(  # noqa: SLF001  # below what is public
        "event.metrics.all(a, event.metrics.all(b, event.metrics.all(c, true)))"
    )
    answer = expression._asked(program, WORST)  # noqa: SLF001  # as above
    assert answer == Failure("loops take more than 10,000 steps")


@pytest.mark.parametrize(
    "pattern, weight",
    [
        ("abc", 3),
        ("a{10}", 10),
        ("a{2,10}", 10),
        ("a{10,}", 11),
        ("(ab){10}", 20),
        ("(?:ab){10}c", 21),
        ("((ab){3}c){4}", 28),
        ("a+b*c?", 3),
        (r"\d\.", 2),
        ("[abc]{5}", 10),
        ("(?i)abc", 10),
        ("row.?remap", 11),
        (")(", 1),
        ("(((", 0),
    ],
)
def test_the_weight_of_a_pattern(pattern: str, weight: int) -> None:
    assert pattern_weight(pattern) == weight


def test_a_class_of_unicode_is_heavy() -> None:
    assert pattern_weight(r"\pL{9}") > PATTERN_WEIGHT_MAX
