"""Which fact of the journal has caused what is done to the world.

A log tells of an effect, a notice or a call of a provider; the journal tells why it was wanted.
What joins the two is the sequence number of the fact by which the state came to owe it. It is
remembered here when the fact is written or folded, together with the place in the trace where that
happened.

What is asked in regular intervals, such as a provider's list, has no fact that caused it: its cause
is the newest fact there was then, `Causes.seq`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from msgspec import Struct

from navarch.core.model import events as ev
from navarch.core.model.actions import (
    Action,
    AskDrained,
    Launch,
    ListTypes,
    TakeInventory,
    Tell,
    Terminate,
)
from navarch.telemetry.tracing import Origin

REMEMBERED_MAX: Final = 200_000
"""Causes that are kept, in some 40 MB at the most; the oldest are forgotten."""


class Cause(Struct, frozen=True):
    """A fact that makes something be owed."""

    seq: int
    """Its place in the journal; 0 before the first fact."""
    origin: Origin | None = None
    """Where in a trace it was decided; None: nobody traces, or it was decided before a restart."""


class Causes:
    """The newest cause of each thing that may be owed."""

    def __init__(self) -> None:
        """Begin without any."""
        self.seq = 0
        """The newest fact that was learned."""
        self._by_key: dict[str, Cause] = {}

    def __len__(self) -> int:
        """How many are remembered."""
        return len(self._by_key)

    def learn(
        self, facts: Sequence[ev.Event], *, last_seq: int, origin: Origin | None = None
    ) -> None:
        """Learn facts in a row, the last of them at `last_seq`. Cost: 0.3 µs a fact."""
        for seq, fact in enumerate(facts, start=last_seq - len(facts) + 1):
            for key, owed in _marks(fact):
                self._by_key.pop(key, None)
                if owed:
                    self._by_key[key] = Cause(seq, origin)
        self.seq = last_seq
        while len(self._by_key) > REMEMBERED_MAX:
            del self._by_key[next(iter(self._by_key))]

    def of(self, action: Action) -> Cause:
        """Tell the cause of an action; where none is remembered, the newest fact there is."""
        return self._by_key.get(_key(action)) or Cause(self.seq)

    def is_known(self, action: Action) -> bool:
        """Whether the fact that caused an action is remembered."""
        return _key(action) in self._by_key


def _key(action: Action) -> str:
    match action:
        case Terminate() if action.instance_id:
            return f"end {action.instance_id}"
        case Terminate():
            return f"end {action.provider}/{action.ref}"
        case Launch() | TakeInventory() | ListTypes() | Tell() | AskDrained():
            return action.key


def _marks(fact: ev.Event) -> Iterator[tuple[str, bool]]:
    """What is owed because of a fact (True), and what no longer is (False)."""
    match fact:
        case ev.LaunchRequested() | ev.LaunchCleared():
            yield f"launch {fact.instance_id}", True
        case ev.TerminationRequested():
            yield f"launch {fact.instance_id}", False
            yield f"end {fact.instance_id}", True
        case ev.InstanceLaunched() | ev.LaunchUncertain():
            yield f"launch {fact.instance_id}", False
        case ev.InstanceTerminated() | ev.InstanceVanished() | ev.LaunchFailed():
            yield f"launch {fact.instance_id}", False
            yield f"end {fact.instance_id}", False
        case ev.OrphanCondemned():
            yield f"end {fact.provider}/{fact.ref}", True
        case ev.OrphanRemoved():
            yield f"end {fact.provider}/{fact.ref}", False
        case ev.WorkloadTelling():
            yield f"tell {fact.node_id}", True
        case ev.WorkloadTold():
            yield f"tell {fact.node_id}", False
            yield f"drained {fact.node_id}", True
        case ev.NodeEmptied():
            yield f"drained {fact.node_id}", False
        case ev.NodeRetired() | ev.NodeDismissed():
            yield f"tell {fact.node_id}", False
            yield f"drained {fact.node_id}", False
        case _:
            return
