"""Cases for a policy: events, and what is expected to come of them.

::

    cases:
      - name: the third storm in an hour
        events:
          - {event_type: ecc_sbe, gpu_index: 3, metrics: {ecc_sbe_count: 120}}
        history:                          # optional: what the node reported before
          - {ago: 10m, event_type: ecc_sbe, gpu_index: 3, count: 2}
        expect: {status: degraded, rule: ecc-sbe-storm, repair: observe}
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

import yaml
from msgspec import Struct

from navarch.core.judging import UNJUDGED, Match, Verdict
from navarch.core.model.report import HealthEvent
from navarch.errors import ConfigError
from navarch.policy import document
from navarch.policy.document import PolicyError, Source
from navarch.policy.fields import DECIMAL, TEXT, WHOLE, Fields, TooMany, got, quoted
from navarch.policy.health_policy import HealthPolicy
from navarch.policy.readings import METRICS_MAX, TEXT_MAX
from navarch.policy.rules import NAME_MAX, REMEDIES, RESULTS
from navarch.policy.vocabulary import EVENT_TYPES, nearest
from navarch.policy.windows import parse_window

CASES_MAX: Final = 1000
"""Cases of one file."""
EVENTS_MAX: Final = 1000
"""Events of one case, and of its history; the wire takes as many in one report."""

_EVENT_KEYS: Final = (
    *("event_type", "gpu_index", "gpu_uuid", "system", "metrics", "message", "timestamp", "count"),
)


class CaseResult(Struct, frozen=True):
    """What came of one case."""

    name: str
    line: int
    """Where it stands in its file, from 1."""
    verdict: Verdict
    problems: tuple[str, ...] = ()
    """What differs from what was expected; empty if nothing does."""

    @property
    def passed(self) -> bool:
        """Whether the policy said what was expected."""
        return not self.problems


class CasesReport(Struct, frozen=True):
    """What came of a file of cases."""

    results: tuple[CaseResult, ...] = ()
    """One for each case, in their order; none when there are errors."""
    errors: tuple[ConfigError, ...] = ()
    """Mistakes of the file itself."""

    @property
    def passed(self) -> bool:
        """Whether every case did, and there was at least one."""
        return bool(self.results) and all(result.passed for result in self.results)


class _Case(Struct, frozen=True):
    """One case, read."""

    name: str
    line: int
    events: tuple[HealthEvent, ...]
    history: tuple[tuple[timedelta, HealthEvent], ...]
    expected: Mapping[str, str]


class _Past:
    """The counts of a node with a history; the events of the case are part of it."""

    def __init__(self, case: _Case) -> None:
        self._events = [(timedelta(0), event) for event in case.events]
        self._events += case.history

    def of(self, kind: str, gpu_index: int | None, window: timedelta) -> int:
        """Count events of a type or kind within the window, of one GPU or of all."""
        return sum(
            event.count
            for ago, event in self._events
            if ago < window
            and kind in (event.event_type, event.kind)
            and gpu_index in (None, event.gpu_index)
        )


def run_cases(policy: HealthPolicy, path: Path | str) -> CasesReport:
    """Try a policy on a file of cases; never raises for the sake of what the file holds."""
    try:
        text = document.read_text(Path(path))
    except ConfigError as error:
        return CasesReport(errors=(error,))
    return run_cases_text(policy, text, source=str(path))


def run_cases_text(policy: HealthPolicy, text: str, *, source: str) -> CasesReport:
    """Try a policy on cases that are at hand; `source` is what messages call them."""
    fields = Fields(Source(text, file=source))
    cases: list[_Case] = []
    try:
        cases = _cases(fields, fields.source.root(), [rule.name for rule in policy.rules])
    except PolicyError as error:
        fields.mistakes.append(error)
    except TooMany:
        cases = []
    if fields.mistakes:
        return CasesReport(errors=tuple(fields.mistakes))
    return CasesReport(tuple(_run(policy, case) for case in cases))


def _run(policy: HealthPolicy, case: _Case) -> CaseResult:
    verdict = policy.evaluate(case.events, _Past(case))
    spoke = _speaker(verdict)
    actual = {
        "status": str(verdict.status),
        "rule": verdict.rule,
        "repair": "none" if spoke is None else str(spoke.remedy),
    }
    problems = [
        f"{name}: expected {quoted(case.expected[name])}, got {quoted(got_instead)}"
        for name, got_instead in actual.items()
        if case.expected.get(name, got_instead) != got_instead
    ]
    if problems:
        problems += [
            f"rule failed for {match.event.described}: {failed}"
            for match in verdict.matches
            for failed in match.failed
        ]
    return CaseResult(case.name, case.line, verdict, tuple(problems))


def _speaker(verdict: Verdict) -> Match | None:
    """The match that made the verdict."""
    for match in verdict.matches:
        if match.event is verdict.event and match.rule == verdict.rule:
            return match
    return None


# --- reading ----------------------------------------------------------------------------------


def _cases(fields: Fields, root: yaml.Node, rules: Sequence[str]) -> list[_Case]:
    entries = fields.mapping(root, "", ("cases",), ("cases",))
    if "cases" not in entries:
        return []
    nodes = fields.items(entries["cases"], "cases", "cases", CASES_MAX)
    if not nodes and not fields.mistakes:
        fields.wrong("is empty, expected at least one case", "cases", entries["cases"])
    return [_case(fields, node, f"cases[{n}]", rules) for n, node in enumerate(nodes)]


def _case(fields: Fields, node: yaml.Node, key: str, rules: Sequence[str]) -> _Case:
    known = ("name", "events", "history", "expect")
    entries = fields.mapping(node, key, known, ("name", "events", "expect"))
    name = fields.text(entries["name"], f"{key}.name", 4 * NAME_MAX) if "name" in entries else ""
    events: list[HealthEvent] = []
    if "events" in entries:
        items = fields.items(entries["events"], f"{key}.events", "events", EVENTS_MAX)
        events = [
            _event(fields, each, f"{key}.events[{number}]")[1] for number, each in enumerate(items)
        ]
    history: list[tuple[timedelta, HealthEvent]] = []
    if "history" in entries:
        items = fields.items(entries["history"], f"{key}.history", "events", EVENTS_MAX)
        history = [
            _event(fields, each, f"{key}.history[{number}]", past=True)
            for number, each in enumerate(items)
        ]
    expected: dict[str, str] = {}
    if "expect" in entries:
        expected = _expected(fields, entries["expect"], f"{key}.expect", rules)
    line = node.start_mark.line + 1
    return _Case(name, line, tuple(events), tuple(history), expected)


def _expected(fields: Fields, node: yaml.Node, key: str, rules: Sequence[str]) -> dict[str, str]:
    entries = fields.mapping(node, key, ("status", "rule", "repair"))
    expected: dict[str, str] = {}
    for name, words in (("status", RESULTS), ("repair", REMEDIES)):
        if name in entries and (word := fields.word(entries[name], f"{key}.{name}", words)):
            expected[name] = word
    if "rule" in entries:
        rule = fields.text(entries["rule"], f"{key}.rule", NAME_MAX)
        if rule and rule not in (*rules, UNJUDGED):
            message = f"the policy has no rule {quoted(rule)}{nearest(rule, rules)}"
            fields.wrong(message, f"{key}.rule", entries["rule"])
        expected["rule"] = rule
    if not entries and isinstance(node, yaml.MappingNode):
        fields.wrong("expects nothing; say status, rule or repair", key, node)
    return expected


def _event(
    fields: Fields, node: yaml.Node, key: str, *, past: bool = False
) -> tuple[timedelta, HealthEvent]:
    known = (*_EVENT_KEYS, "ago") if past else _EVENT_KEYS
    required = ("event_type", "ago") if past else ("event_type",)
    entries = fields.mapping(node, key, known, required)

    def text(name: str) -> str:
        return fields.text(entries[name], f"{key}.{name}", TEXT_MAX) if name in entries else ""

    def number(name: str, default: int, limits: tuple[int, int]) -> int:
        if name not in entries:
            return default
        return fields.number(entries[name], f"{key}.{name}", limits) or 0

    event_type = text("event_type")
    if event_type and event_type not in EVENT_TYPES:
        advice = nearest(event_type, EVENT_TYPES) or f"; expected one of {', '.join(EVENT_TYPES)}"
        message = f"there is no event type {quoted(event_type)}{advice}"
        fields.wrong(message, f"{key}.event_type", entries["event_type"])
    ago = _ago(fields, entries["ago"], f"{key}.ago") if "ago" in entries else timedelta(0)
    event = HealthEvent(
        event_type,
        gpu_index=number("gpu_index", -1, (-1, 1_000)),
        gpu_uuid=text("gpu_uuid"),
        system=text("system"),
        metrics=_metrics(fields, entries["metrics"], f"{key}.metrics")
        if "metrics" in entries
        else {},
        message=text("message"),
        timestamp=_timestamp(fields, entries["timestamp"], f"{key}.timestamp")
        if "timestamp" in entries
        else None,
        count=number("count", 1, (1, 1_000_000_000)),
    )
    return ago, event


def _metrics(fields: Fields, node: yaml.Node, key: str) -> dict[str, str | int | float]:
    entries = fields.mapping(node, key, ())
    if len(entries) > METRICS_MAX:
        fields.wrong(f"has {len(entries)} entries, at most {METRICS_MAX} fit", key, node)
        return {}
    return {name: _metric(fields, value, f"{key}.{name}") for name, value in entries.items()}


def _metric(fields: Fields, node: yaml.Node, key: str) -> str | int | float:
    if isinstance(node, yaml.ScalarNode):
        if node.tag == TEXT:
            return fields.text(node, key, TEXT_MAX)
        if node.tag in (WHOLE, DECIMAL):
            word = node.value.lower().lstrip("+-.")
            if word in ("nan", "inf"):
                return float(node.value.lower().replace(".", ""))
            if len(node.value) <= 64:
                try:
                    return int(node.value, 10) if node.tag == WHOLE else float(node.value)
                except ValueError:
                    fields.wrong(f"expected a decimal number, got {got(node)}", key, node)
                    return 0
    fields.wrong(f"expected a number or text, got {got(node)}", key, node)
    return 0


def _ago(fields: Fields, node: yaml.Node, key: str) -> timedelta:
    try:
        return parse_window(fields.text(node, key, NAME_MAX))
    except ValueError as error:
        fields.wrong(str(error), key, node)
        return timedelta(0)


def _timestamp(fields: Fields, node: yaml.Node, key: str) -> datetime | None:
    value = node.value if isinstance(node, yaml.ScalarNode) else ""
    try:
        at = datetime.fromisoformat(value[:64])
    except ValueError:
        at = None
    if at is None or at.tzinfo is None:
        message = f"expected a moment such as 2026-01-31T12:00:00Z, got {got(node)}"
        fields.wrong(message, key, node)
    return at
