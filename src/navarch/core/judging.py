"""What a health policy is asked, and what it answers.

`navarch.policy` implements it in CEL; anything else with the same face will do. A policy is pure:
the same events with the same counts give the same verdict, for ever.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Protocol

from msgspec import Struct

from navarch.core.model.finding import Remedy
from navarch.core.model.report import GRAVITY, Health, HealthEvent

UNJUDGED = "unjudged"
"""The rule that is named where no rule could speak."""


class Match(Struct, frozen=True):
    """What a policy makes of one event."""

    event: HealthEvent
    rule: str
    status: Health
    remedy: Remedy = Remedy.OBSERVE
    because: str = ""
    """What the rule says, for people: its description, and whom it follows."""
    lasting: bool = False
    """Whether clean reports do not end it."""
    settles: bool = False
    """Whether it speaks for every earlier finding of its event type on the same GPU."""
    failed: tuple[str, ...] = ()
    """Rules that could not be evaluated for this event, each as ``name: why``."""


class Verdict(Struct, frozen=True):
    """What a policy makes of the events of one report."""

    status: Health
    """The worst of all matches; healthy without events."""
    rule: str = ""
    """The rule that gave it; empty without events."""
    event: HealthEvent | None = None
    """The event that it is about; None without events."""
    matches: tuple[Match, ...] = ()
    """One for each event, in their order."""


class Counts(Protocol):
    """How often things happened on one node lately."""

    def of(self, kind: str, gpu_index: int | None, window: timedelta) -> int:
        """Count events of a type such as ``ecc_sbe``, or of a kind such as ``xid:48``.

        `gpu_index` None counts those of the whole node, on whichever GPU. The newest report is
        included; time is the control plane's, in steps of a minute.
        """
        ...


class NothingBefore:
    """The counts of a node that has no past: each event counts for itself only."""

    def __init__(self, events: Sequence[HealthEvent] = ()) -> None:
        """Count these events and no others."""
        self._events = events

    def of(self, kind: str, gpu_index: int | None, window: timedelta) -> int:
        """Count the given events of this kind."""
        return sum(
            event.count
            for event in self._events
            if kind in (event.event_type, event.kind) and gpu_index in (None, event.gpu_index)
        )


class HealthPolicy(Protocol):
    """Judges raw events."""

    @property
    def name(self) -> str:
        """What people call it."""
        ...

    @property
    def digest(self) -> str:
        """Short text that differs where rules differ: two of one digest judge alike."""
        ...

    def evaluate(self, events: Sequence[HealthEvent], counts: Counts | None = None) -> Verdict:
        """Judge the events of one report; the worst speaks. No events are healthy.

        `counts` None means a node without a past. Never raises for the sake of an event.
        """
        ...


class Unjudged:
    """The policy of a control plane that has none: every event is news, none is a death."""

    name = "none"
    digest = ""

    def evaluate(self, events: Sequence[HealthEvent], counts: Counts | None = None) -> Verdict:
        """Call any event degraded, and say that nobody judged it."""
        because = "there is no policy to judge it"
        return verdict_of(
            tuple(Match(event, UNJUDGED, Health.DEGRADED, because=because) for event in events)
        )


def verdict_of(matches: Sequence[Match]) -> Verdict:
    """Let the worst match speak, the first of equals."""
    if not matches:
        return Verdict(Health.HEALTHY)
    worst = max(matches, key=lambda match: GRAVITY[match.status])
    return Verdict(worst.status, worst.rule, worst.event, tuple(matches))
