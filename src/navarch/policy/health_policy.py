"""The health policy: a file of rules that judges events."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import resources
from pathlib import Path

from navarch.core.judging import Counts, Match, NothingBefore, Verdict, verdict_of
from navarch.core.model.report import HealthEvent
from navarch.policy import document, doubts, judging
from navarch.policy.document import Source
from navarch.policy.rules import Rule, Written, read_rules


class HealthPolicy:
    """Judges raw events by rules in CEL, first match per event, the worst over all.

    It fits the protocol `navarch.core.judging.HealthPolicy`. It is pure, but remembers answers:
    give each thread its own.
    """

    def __init__(self, written: Written) -> None:
        """Judge by what was written; made by `from_yaml`, `from_file` and `default`."""
        self._written = written
        self._judge = judging.Judge(written.rules)
        self._failures: Counter[str] = Counter()

    @classmethod
    def from_yaml(cls, text: str, source: str = "policy") -> HealthPolicy:
        """Read a policy from text; `source` is what messages call it.

        Raises `ConfigError` with file, line, column and a drawing of the first mistake;
        `check_file` tells all of them.
        """
        written, mistakes = read_rules(Source(text, file=source))
        if written is None:
            raise mistakes[0]
        return cls(written)

    @classmethod
    def from_file(cls, path: Path | str) -> HealthPolicy:
        """Read a policy file; raises `ConfigError` as `from_yaml` does, and if there is none."""
        return cls.from_yaml(document.read_text(Path(path)), str(path))

    @classmethod
    def default(cls) -> HealthPolicy:
        """The policy that comes with Navarch."""
        return cls(_default())

    @property
    def name(self) -> str:
        """What people call it."""
        return self._written.name

    @property
    def description(self) -> str:
        """What it is for."""
        return self._written.description

    @property
    def digest(self) -> str:
        """Short text that differs where rules or the catalogue differ: two of one judge alike."""
        return self._written.digest

    @property
    def rules(self) -> tuple[Rule, ...]:
        """The rules, in their order."""
        return tuple(each.rule for each in self._written.rules)

    @property
    def warnings(self) -> tuple[str, ...]:
        """What is probably not meant, though it is allowed."""
        return doubts.about(self._written)

    @property
    def failures(self) -> Mapping[str, int]:
        """How often each rule has failed for an event, since the policy was read."""
        return dict(self._failures)

    def evaluate(self, events: Sequence[HealthEvent], counts: Counts | None = None) -> Verdict:
        """Judge the events of one report; the worst speaks. No events are healthy.

        `counts` None means a node without a past. Never raises for the sake of an event.
        """
        past = NothingBefore(events) if counts is None else counts
        return verdict_of([self._match(event, past) for event in events])

    def forget(self) -> None:
        """Empty the memory of answers given; they stay the same, the next ones take longer."""
        self._judge.forget()

    def plainly(self, events: Sequence[HealthEvent], counts: Counts | None = None) -> Verdict:
        """Judge as `evaluate` does, by asking every rule in turn: slower, and easy to believe."""
        past = NothingBefore(events) if counts is None else counts
        rules = self._written.rules
        return verdict_of([judging.plainly(rules, event, past).about(event) for event in events])

    def _match(self, event: HealthEvent, counts: Counts) -> Match:
        answer = self._judge.answer(event, counts)
        if answer.failures:
            self._failures.update(answer.failures)
        return answer.about(event)


@cache
def _default() -> Written:
    text = resources.files("navarch.policy").joinpath("default.yaml").read_text(encoding="utf-8")
    written, mistakes = read_rules(Source(text, file="default.yaml"))
    if written is None:
        raise mistakes[0]
    return written
