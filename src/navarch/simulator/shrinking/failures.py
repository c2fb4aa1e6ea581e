"""Failures: what it means that two runs fail in the same way.

Of a broken invariant it is its kind and its sentence, without the words that hold digits: ids and
numbers differ from run to run. Of an assertion it is what is asserted, of whom, wherever it stands.
"""

from __future__ import annotations

import re

from msgspec import Struct

from navarch.simulator.scenarios.running import Check, Outcome
from navarch.simulator.scenarios.schema import Scenario

_NUMBERED = re.compile(r"[^\s,;()]*\d[^\s,;()]*")


class Failure(Struct, frozen=True):
    """One way to fail."""

    sort: str
    """``invariant``, ``liveness``, ``event``, ``assertion`` or ``error``."""
    words: tuple[str, ...]
    """What it is about."""

    @property
    def is_demand(self) -> bool:
        """Whether the scenario demands something that it does not get."""
        return self.sort in ("event", "assertion")


class Seen(Struct, frozen=True):
    """A failure as one run has shown it."""

    failure: Failure
    message: str
    seconds: float
    """When, after the beginning."""
    place: int = -1
    """Which of the events or assertions it is; -1: none of them."""

    @property
    def first_line(self) -> str:
        """What it says."""
        return self.message.split("\n", 1)[0]


def masked(text: str) -> str:
    """Leave only the words of a sentence that every run says alike.

    >>> masked("unsafe: train-sim0-0007 was ended, 3 of 5 serve")
    'unsafe: # was ended, # of # serve'
    """
    return _NUMBERED.sub("#", text)


def failures_of(outcome: Outcome, scenario: Scenario) -> list[Seen]:
    """Name the ways in which a run failed, in their order."""
    return [_seen(check, scenario) for check in outcome.failures]


def error(raised: Exception) -> Seen:
    """Name the failure of a run that ended with an exception."""
    text = str(raised).split("\n", 1)[0]
    words = (type(raised).__name__, masked(text))
    return Seen(Failure("error", words), f"{type(raised).__name__}: {text}", 0.0)


def _seen(check: Check, scenario: Scenario) -> Seen:
    seconds = check.at.total_seconds()
    first = check.message.split("\n", 1)[0]
    if check.line and check.line in scenario.assertion_lines:
        place = scenario.assertion_lines.index(check.line)
        asserted = scenario.written.assertions[place]
        about = (asserted.type, asserted.target, asserted.expected, asserted.status, asserted.match)
        return Seen(Failure("assertion", tuple(map(str, about))), check.message, seconds, place)
    if check.line and check.line in scenario.event_lines:
        place = scenario.event_lines.index(check.line)
        event = scenario.written.events[place]
        params = event.params
        said = (event.action, event.target, params.expected_status, params.expected_health)
        more = (params.match, params.failure_type, params.command_type, params.expect)
        return Seen(Failure("event", tuple(map(str, said + more))), check.message, seconds, place)
    if check.what.startswith("liveness"):
        return Seen(Failure("liveness", ()), check.message, seconds)
    return Seen(Failure("invariant", (masked(first),)), check.message, seconds)
