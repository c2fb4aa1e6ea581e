"""What is allowed in a policy but probably not meant, as warnings."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from navarch.core.judging import NothingBefore
from navarch.core.model.finding import Remedy
from navarch.core.model.report import Health, HealthEvent
from navarch.policy import judging, readings
from navarch.policy.catalog import CodeClass
from navarch.policy.expression import Failure
from navarch.policy.recovery import Recovery
from navarch.policy.rules import CompiledRule, Rule, Written
from navarch.policy.syntax import Part, walk
from navarch.policy.vocabulary import EVENT_TYPES, SYSTEMS, nearest

DOUBTS_MAX: Final = 100
"""Warnings about one policy that are told."""

_WORDS: Final = {
    "event.event_type": ("event type", EVENT_TYPES),
    "event.system": ("watch system", SYSTEMS),
    "known.action": ("class of codes", tuple(str(each) for each in CodeClass)),
    "known.verdict": (
        "verdict",
        (*(str(each) for each in Recovery), *("ignore", "reset", "wait", "undecoded")),
    ),
}
"""Variables whose words are few, to what they are called and the words."""


def about(written: Written) -> tuple[str, ...]:
    """Say what is doubtful about a policy, in the order of its rules; 15 µs a rule."""
    found = [*_order(written.rules), *(each for rule in written.rules for each in _rule(rule))]
    return tuple(text for _, text in sorted(found, key=lambda each: each[0])[:DOUBTS_MAX])


Doubt = tuple[int, str]
"""The line, and what to say."""


def _order(rules: Sequence[CompiledRule]) -> Iterator[Doubt]:
    last = rules[-1].rule
    if not _always(rules[-1]):
        yield (
            last.line,
            (
                f"line {last.line}: the last rule, {last.name}, is not `true`: an event that no"
                " rule matches is degraded, and nobody says why; end with a rule that says so"
            ),
        )
    catches = next((n for n, each in enumerate(rules) if _always(each)), len(rules))
    conditions: dict[str, Rule] = {}
    for number, each in enumerate(rules):
        rule = each.rule
        text = " ".join(rule.condition.split())
        if number > catches:
            before = rules[catches].rule.name
            yield _doubt(rule, f"is never asked: {before}, which is always true, stands before it")
        elif text in conditions:
            same = conditions[text].name
            yield _doubt(rule, f"is never the first to be true: {same} has the same condition")
        conditions.setdefault(text, rule)


def _always(compiled: CompiledRule) -> bool:
    root = compiled.condition.tree.root
    return root.kind == "constant" and root.value is True


def _rule(compiled: CompiledRule) -> Iterator[Doubt]:
    rule = compiled.rule
    root = compiled.condition.tree.root
    if root.kind == "constant" and root.value is False:
        yield _doubt(rule, "is never true")
    for part in walk(root):
        for variable, word in _compared(part):
            what, words = _WORDS[variable]
            if word not in words:
                advice = nearest(word, words)
                yield _doubt(rule, f'there is no {what} "{word[:40]}"{advice}')
        yield from (_doubt(rule, text) for text in _text_for_number(part))
    if rule.result is Health.UNHEALTHY and rule.repair in (Remedy.NONE, Remedy.OBSERVE):
        yield _doubt(rule, f"calls a node unhealthy and repairs it with {rule.repair}: it stays so")
    if rule.result is Health.HEALTHY and rule.repair not in (Remedy.NONE, Remedy.RESTART_APP):
        yield _doubt(rule, f"calls a node healthy, so that {rule.repair} is never done")
    yield from _unguarded(compiled)


def _doubt(rule: Rule, text: str) -> Doubt:
    return rule.line, f"line {rule.line}: rule {rule.name}: {text}"


def _sides(part: Part) -> Iterator[tuple[Part, list[Part]]]:
    """The sides of ``x == y`` and ``x in [y, …]``, each with what it is compared with."""
    if part.kind == "call" and part.name in ("_==_", "_!=_"):
        left, right = part.parts
        yield left, [right]
        yield right, [left]
    elif part.kind == "call" and part.name == "@in":
        left, right = part.parts
        yield left, list(right.parts) if right.kind == "list" else []


def _compared(part: Part) -> Iterator[tuple[str, str]]:
    """Variables of `_WORDS`, with each constant text that they are compared with."""
    for side, others in _sides(part):
        if side.kind == "name" and side.name in _WORDS:
            for other in others:
                if isinstance(other.value, str):
                    yield side.name, other.value


def _text_for_number(part: Part) -> Iterator[str]:
    """Metrics that are compared with a text that is a number: they never are equal."""
    for side, others in _sides(part):
        operand = side.parts[0] if side.parts else None
        if operand is None or operand.kind != "name" or operand.name != "event.metrics":
            continue
        for other in others:
            if isinstance(other.value, str) and not isinstance(readings.plain(other.value), str):
                yield (
                    f'compares a metric with the text "{other.value[:20]}": numeric text in metrics'
                    " becomes a number, so write it without quotes"
                )


def _unguarded(compiled: CompiledRule) -> Iterator[Doubt]:
    """Rules that fail for most events, because they read a metric that only some events have."""
    condition = compiled.condition
    if not condition.reads.metrics:
        return
    failing = 0
    for event_type in EVENT_TYPES:
        event = HealthEvent(event_type)
        variables = judging.variables_of_event(event, condition.reads, NothingBefore([event]))
        failing += isinstance(condition.ask(variables), Failure)
    if failing > len(EVENT_TYPES) // 2:
        name = min(condition.reads.metrics)
        yield _doubt(
            compiled.rule,
            f"fails for every event without the metric {name}: ask for event.event_type, or for"
            f" has(event.metrics.{name}), first",
        )
