"""From an event to a rule: plainly, and quickly.

*Plainly* is the meaning: rules are asked in their order, the first whose condition is true speaks.
A rule that fails is noted and passed over, and after a failure nothing is healthy any more: what
would have been becomes degraded, `UNJUDGED`, for the failed rule might have said worse.

*Quickly* gives the same, which tests hold it to, with three observations:

- Many conditions look at nothing but the *head* of an event: its type, its code, and what is known
  of the code. A `Plan` is what is left of a policy for one head: rules that say no are gone (one
  false side of ``&&`` is enough, whatever the others do), and behind one that says yes nothing is
  asked. For most XIDs the plan is the answer.
- What is left looks at few things. Their values are the key to an answer given before; the values
  of counts are part of it, the message only if some rule reads it.
- Both memories are bounded: full, they are emptied.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, timedelta
from typing import Final

from msgspec import Struct

from navarch.core.judging import UNJUDGED, Counts, Match
from navarch.core.model.finding import Remedy
from navarch.core.model.report import Health, HealthEvent
from navarch.policy import expression, readings
from navarch.policy.expression import Activation, Expression, Failure
from navarch.policy.knowing import NOTHING, Known, known_of, variables_of
from navarch.policy.reads import Count, Reads, part_reads, union
from navarch.policy.rules import LASTING_TYPES, CompiledRule
from navarch.policy.syntax import Part
from navarch.policy.vocabulary import CODE_METRICS

PLANS_MAX: Final = 1024
"""Heads whose plans are remembered: there are 300 codes, and a few types."""
TYPES_MAX: Final = 64
"""Types of events for which the rules that matter are remembered."""
ANSWERS_MAX: Final = 16_384
"""Answers that are remembered, about 0.3 KB each."""
KEY_TEXT_MAX: Final = 512
"""Characters of text in the key to an answer that is remembered."""

_HEAD: Final = frozenset(
    ["event.event_type", *(name for name in expression.VARIABLES if name.startswith("known."))]
)
_TYPE: Final = frozenset(["event.event_type"])


class Answer(Struct, frozen=True, eq=False):
    """A match without its event."""

    rule: str
    status: Health
    remedy: Remedy
    because: str
    lasting: bool
    settles: bool
    failed: tuple[str, ...] = ()
    failures: tuple[str, ...] = ()
    """The names alone of the rules that failed."""

    def about(self, event: HealthEvent) -> Match:
        """The match of one event."""
        return Match(
            event,
            self.rule,
            self.status,
            self.remedy,
            self.because,
            self.lasting,
            self.settles,
            self.failed,
        )


def plainly(rules: Sequence[CompiledRule], event: HealthEvent, counts: Counts) -> Answer:
    """Judge one event by the rules as they are written. 2 µs, and 1.2 µs a rule."""
    if (answer := _refused(event)) is not None:
        return answer
    known = known_of(event)
    reads = union(each.condition.reads for each in rules)
    variables = _activation(event, known, reads, _counted(event, reads, counts))
    failed: list[tuple[str, str]] = []
    for each in rules:
        said = each.condition.ask(variables)
        if isinstance(said, Failure):
            failed.append((each.rule.name, said.why))
        elif said:
            return _answer(each, event.event_type, known, failed)
    return _answer(None, event.event_type, known, failed)


class Judge:
    """Judges events by one policy, quickly; give each thread its own."""

    def __init__(self, rules: Sequence[CompiledRule]) -> None:
        """Judge by these rules; takes 20 µs a rule."""
        meanings: dict[object, int] = {}
        self._rules = [_Split(each, meanings) for each in rules]
        self._by_type: dict[str, list[_Split]] = {}
        self._plans: dict[object, Plan] = {}
        self._answers = 0

    def answer(self, event: HealthEvent, counts: Counts) -> Answer:
        """Judge one event: 2 µs for one like another before."""
        metrics = event.metrics
        if len(metrics) > readings.METRICS_MAX:
            return _too_many(event)
        known = known_of(event)
        event_type = event.event_type
        head: object = event_type
        if known is not NOTHING:
            head = (
                event_type,
                known,
                readings.key(metrics.get(CODE_METRICS[event_type], readings.ABSENT)),
            )
        plan = self._plans.get(head)
        if plan is None:
            plan = self._remember_plan(head, event, known)
        if plan.answer is not None:
            return plan.answer
        counted = _counted(event, plan.reads, counts) if plan.reads.counts else {}
        key = plan.key(event, counted)
        answer = plan.answers.get(key)
        if answer is None:
            answer = self._remember_answer(plan, key, event, known, counted)
        return answer

    def _remember_plan(self, head: object, event: HealthEvent, known: Known) -> Plan:
        plan = _plan(self._for_type(event), event, known)
        if len(self._plans) >= PLANS_MAX:
            self.forget()
        self._plans[head] = plan
        return plan

    def _remember_answer(
        self, plan: Plan, key: object, event: HealthEvent, known: Known, counted: Counting
    ) -> Answer:
        answer = plan.asked(event, known, counted)
        if plan.key_text(event) <= KEY_TEXT_MAX:
            if self._answers >= ANSWERS_MAX:
                for each in self._plans.values():
                    each.answers.clear()
                self._answers = 0
            plan.answers[key] = answer
            self._answers += 1
        return answer

    def forget(self) -> None:
        """Empty the memory but for what the rules say of types; the answers stay the same."""
        self._plans.clear()
        self._answers = 0

    def _for_type(self, event: HealthEvent) -> list[_Split]:
        """The rules that can be true of events of one type."""
        rules = self._by_type.get(event.event_type)
        if rules is None:
            variables = Activation({"event.event_type": readings.text(event.event_type)}, {})
            said = _Said(variables)
            rules = [each for each in self._rules if not said.denied(each.of_type)]
            if len(self._by_type) >= TYPES_MAX:
                self._by_type.clear()
            self._by_type[event.event_type] = rules
        return rules


Counting = Mapping[tuple[str, str, timedelta], int]


class _Split:
    """A rule, and the sides of its condition that can be asked before the rest."""

    __slots__ = ("compiled", "of_head", "of_type")

    def __init__(self, compiled: CompiledRule, meanings: dict[object, int]) -> None:
        self.compiled = compiled
        condition = compiled.condition
        self.of_type: list[_Side] = []
        """Those that look at nothing but the type."""
        self.of_head: list[_Side] = []
        """Those that look at the type, at what is known, and at named metrics only."""
        for part in expression.conjuncts(condition.tree.root):
            reads = part_reads(part, condition.tree)
            if not reads.fields and not reads.metrics:
                continue
            if reads.within(_TYPE, frozenset()):
                self.of_type.append(_side(condition, part, reads, meanings))
            elif reads.within(_HEAD, frozenset(CODE_METRICS.values())):
                self.of_head.append(_side(condition, part, reads, meanings))


class _Side(Struct, frozen=True, eq=False):
    """One side of an ``&&``."""

    meaning: int
    """Equal for sides that ask the same: many rules ask for the same type."""
    reads: Reads
    ask: Callable[[Activation], bool | Failure]


def _side(condition: Expression, part: Part, reads: Reads, meanings: dict[object, int]) -> _Side:
    number = meanings.setdefault(part.meaning, len(meanings))
    return _Side(number, reads, expression.alone(condition, part))


class _Said:
    """What sides have said of one event; each that means the same is asked once."""

    def __init__(self, variables: Activation) -> None:
        self._variables = variables
        self._answers: dict[int, bool | Failure] = {}

    def denied(self, sides: Sequence[_Side]) -> bool:
        """Whether one of the sides, of which all have to be true, is false."""
        return any(self._ask(side) is False for side in sides)

    def _ask(self, side: _Side) -> bool | Failure:
        answer = self._answers.get(side.meaning)
        if answer is None:
            answer = self._answers[side.meaning] = side.ask(self._variables)
        return answer


# --- plans ------------------------------------------------------------------------------------


class Plan:
    """What is left of a policy for events of one head."""

    __slots__ = ("_event_type", "_fields", "_metrics", "_steps", "answer", "answers", "reads")

    def __init__(
        self,
        event_type: str,
        steps: Sequence[CompiledRule | tuple[str, str]],
        last: CompiledRule | None,
        known: Known,
    ) -> None:
        """Plan to ask `steps`, of which a pair is a rule that surely fails, and why.

        `last` is surely true.
        """
        self._event_type = event_type
        self._steps = (*steps, last)
        open_rules = [each for each in steps if isinstance(each, CompiledRule)]
        self.reads = union(each.condition.reads for each in open_rules)
        self._metrics = tuple(sorted(self.reads.metrics))
        self._fields = tuple(
            name.partition(".")[2] for name in sorted(self.reads.fields) if name in _KEYED
        )
        self.answers: dict[object, Answer] = {}
        self.answer: Answer | None = None
        """The answer, where nothing more has to be asked."""
        if not open_rules:
            failed = [each for each in steps if isinstance(each, tuple)]
            self.answer = _answer(last, event_type, known, failed)

    def key(self, event: HealthEvent, counted: Counting) -> object:
        """The values of all that is looked at."""
        metrics = event.metrics
        of = readings.key
        values: list[object] = [of(metrics.get(name, readings.ABSENT)) for name in self._metrics]
        if self.reads.every_metric:
            values.extend((name, of(value)) for name, value in metrics.items())
        if self._fields:
            values.extend(
                event.timestamp if name == "timestamp" else of(getattr(event, name))
                for name in self._fields
            )
        if counted:
            values.extend(counted.values())
        return tuple(values)

    def key_text(self, event: HealthEvent) -> int:
        """How many characters the key to an event may hold."""
        names = event.metrics if self.reads.every_metric else self._metrics
        texts = [str(name) for name in names]
        texts += [value for name in names if isinstance(value := event.metrics.get(name), str)]
        texts += [value for name in self._fields if isinstance(value := getattr(event, name), str)]
        return sum(map(len, texts))

    def asked(self, event: HealthEvent, known: Known, counted: Counting) -> Answer:
        """Ask what is left."""
        variables = _activation(event, known, self.reads, counted)
        failed: list[tuple[str, str]] = []
        for each in self._steps[:-1]:
            if isinstance(each, tuple):
                failed.append(each)
                continue
            assert each is not None
            said = each.condition.ask(variables)
            if isinstance(said, Failure):
                failed.append((each.rule.name, said.why))
            elif said:
                return _answer(each, self._event_type, known, failed)
        last = self._steps[-1]
        assert not isinstance(last, tuple)
        return _answer(last, self._event_type, known, failed)


_KEYED: Final = frozenset(
    f"event.{name}" for name in ("gpu_index", "gpu_uuid", "message", "system", "timestamp")
)
"""Fields that are not in the head."""


def _plan(rules: Sequence[_Split], event: HealthEvent, known: Known) -> Plan:
    """Ask of every rule what the head alone answers."""
    code = CODE_METRICS.get(event.event_type)
    named = frozenset([code]) if code is not None else frozenset()
    reads = Reads(_HEAD, named)
    head = _activation(event, known, reads, {})
    sides = _Said(head)
    steps: list[CompiledRule | tuple[str, str]] = []
    for each in rules:
        condition = each.compiled.condition
        if condition.reads.within(_HEAD, named):
            said = condition.ask(head)
            if isinstance(said, Failure):
                steps.append((each.compiled.rule.name, said.why))
            elif said:
                return Plan(event.event_type, steps, each.compiled, known)
            continue
        if not sides.denied([side for side in each.of_head if side.reads.metrics <= named]):
            steps.append(each.compiled)
    return Plan(event.event_type, steps, None, known)


# --- variables --------------------------------------------------------------------------------


def variables_of_event(event: HealthEvent, reads: Reads, counts: Counts) -> Activation:
    """The variables of an event that conditions with these reads look at."""
    return _activation(event, known_of(event), reads, _counted(event, reads, counts))


def _activation(event: HealthEvent, known: Known, reads: Reads, counted: Counting) -> Activation:
    """The variables that are looked at."""
    values: dict[str, object] = {}
    for name in reads.fields:
        if name in _FROM_EVENT:
            values[name] = _FROM_EVENT[name](event)
    if not reads.fields.isdisjoint(_KNOWN):
        values |= variables_of(known)
    if event.timestamp is None:
        values.pop("event.timestamp", None)
    if reads.every_metric:
        values["event.metrics"] = {
            readings.text(str(name)): readings.plain(value) for name, value in event.metrics.items()
        }
    elif reads.metrics:
        values["event.metrics"] = {
            name: readings.plain(event.metrics[name])
            for name in reads.metrics
            if name in event.metrics
        }
    return Activation(values, counted)


def _aware(event: HealthEvent) -> object:
    at = event.timestamp
    return at.replace(tzinfo=UTC) if at is not None and at.tzinfo is None else at


_KNOWN: Final = frozenset(name for name in _HEAD if name.startswith("known."))
_FROM_EVENT: Final[dict[str, Callable[[HealthEvent], object]]] = {
    "event.event_type": lambda event: readings.text(event.event_type),
    "event.system": lambda event: readings.text(event.system),
    "event.gpu_index": lambda event: event.gpu_index,
    "event.gpu_uuid": lambda event: readings.text(event.gpu_uuid),
    "event.message": lambda event: readings.text(event.message),
    "event.timestamp": _aware,
}


def _counted(event: HealthEvent, reads: Reads, counts: Counts) -> Counting:
    return {
        (each.function, each.kind, each.window): _count(each, event, counts)
        for each in sorted(reads.counts)
    }


def _count(count: Count, event: HealthEvent, counts: Counts) -> int:
    gpu = event.gpu_index if count.function == "count" else None
    return counts.of(count.kind, gpu, count.window)


# --- answers ----------------------------------------------------------------------------------


def _answer(
    matched: CompiledRule | None,
    event_type: str,
    known: Known,
    failed: Sequence[tuple[str, str]],
) -> Answer:
    failures = tuple(name for name, _ in failed)
    reasons = tuple(f"{name}: {why}" for name, why in failed)
    about = f"{known.said}: " if known.said else ""
    if matched is None:
        return _unjudged(event_type, f"{about}no rule matches it", reasons, failures)
    rule = matched.rule
    if failed and rule.result is Health.HEALTHY:
        said = f"{about}rule {rule.name} calls it healthy, but {failures[0]} before it failed"
        return _unjudged(event_type, said, reasons, failures)
    return Answer(
        rule.name,
        rule.result,
        rule.repair,
        f"{about}{rule.because}",
        rule.lasts(event_type),
        rule.settles,
        reasons,
        failures,
    )


def _unjudged(
    event_type: str,
    because: str,
    reasons: tuple[str, ...] = (),
    failures: tuple[str, ...] = (),
) -> Answer:
    lasting = event_type in LASTING_TYPES
    return Answer(
        UNJUDGED,
        Health.DEGRADED,
        Remedy.OBSERVE,
        because,
        lasting,
        settles=False,
        failed=reasons,
        failures=failures,
    )


def _refused(event: HealthEvent) -> Answer | None:
    return _too_many(event) if len(event.metrics) > readings.METRICS_MAX else None


def _too_many(event: HealthEvent) -> Answer:
    because = f"it has {len(event.metrics):,} metrics, at most {readings.METRICS_MAX} are judged"
    return _unjudged(event.event_type, because)
