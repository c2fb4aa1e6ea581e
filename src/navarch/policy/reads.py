"""What a condition looks at, worked out from its tree.

Whatever cannot be told apart is counted as read, so that two events that agree in what is read
get the same answer: the cache of verdicts rests on this.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import timedelta

from msgspec import Struct

from navarch.policy.mistakes import Mistake, Mistakes
from navarch.policy.syntax import Part, Tree
from navarch.policy.vocabulary import EVENT_TYPES, FUNCTIONS, nearest
from navarch.policy.windows import WINDOW_MAX, WINDOW_MIN, parse_window

METRICS = "event.metrics"


class Count(Struct, frozen=True, order=True):
    """One count that a condition asks for."""

    function: str
    """``count``: on the event's own GPU; ``node_count``: on its node."""
    kind: str
    window: timedelta


class Reads(Struct, frozen=True):
    """What one or several conditions look at."""

    fields: frozenset[str] = frozenset()
    """Variables by full names, but for ``event.metrics``."""
    metrics: frozenset[str] = frozenset()
    """Metrics that are looked at by name."""
    every_metric: bool = False
    """Whether the names that are looked at cannot be told: then it is all of them."""
    counts: frozenset[Count] = frozenset()

    def within(self, fields: frozenset[str], metrics: frozenset[str]) -> bool:
        """Whether nothing but these is looked at."""
        return (
            not self.every_metric
            and not self.counts
            and self.fields <= fields
            and self.metrics <= metrics
        )


def union(reads: Iterable[Reads]) -> Reads:
    """What several conditions look at together."""
    fields: set[str] = set()
    metrics: set[str] = set()
    counts: set[Count] = set()
    every = False
    for each in reads:
        fields |= each.fields
        metrics |= each.metrics
        counts |= each.counts
        every = every or each.every_metric
    return Reads(frozenset(fields), frozenset(metrics), every, frozenset(counts))


def reads_of(tree: Tree) -> Reads:
    """Work out what a tree looks at.

    Raises `Mistakes` where it counts something that is not said in so many words.
    """
    return part_reads(tree.root, tree)


def part_reads(part: Part, tree: Tree) -> Reads:
    """Work out what a part of a tree looks at; raises as `reads_of` does."""
    fields: set[str] = set()
    metrics: set[str] = set()
    counts: set[Count] = set()
    every = False
    open_parts = [part]
    while open_parts:
        here = open_parts.pop()
        if here.kind == "name":
            if here.name == METRICS:
                every = True
            elif "." in here.name:
                fields.add(here.name.lstrip("."))
            continue
        named = _metric(here)
        if named is not None:
            metrics.add(named)
            continue
        if here.kind == "call" and here.name in FUNCTIONS:
            counts.add(_count(here, tree))
            continue
        open_parts.extend(here.parts)
    return Reads(frozenset(fields), frozenset(metrics), every, frozenset(counts))


def _metric(part: Part) -> str | None:
    """The metric that a part looks at by name: ``m.x``, ``has(m.x)``, ``m["x"]``, ``"x" in m``."""
    match part:
        case Part(kind="select", parts=(Part(kind="name", name="event.metrics"),)):
            return part.name
        case (
            Part(
                kind="call",
                name="_[_]",
                parts=(
                    Part(kind="name", name="event.metrics"),
                    Part(kind="constant", value=str(name)),
                ),
            )
            | Part(
                kind="call",
                name="@in",
                parts=(
                    Part(kind="constant", value=str(name)),
                    Part(kind="name", name="event.metrics"),
                ),
            )
        ):
            return name
        case _:
            return None


def _count(part: Part, tree: Tree) -> Count:
    """Read ``count("ecc_sbe", "1h")`` or ``count("xid:48", duration("1h"))``."""
    place = tree.places.get(part.number)
    kind, window = part.parts
    if not isinstance(kind.value, str) or kind.kind != "constant":
        raise Mistakes(
            [Mistake(f'{part.name}: expected a kind in quotes, such as "xid:48"', place)]
        )
    kind_type = kind.value.partition(":")[0]
    if kind_type not in EVENT_TYPES:
        advice = nearest(kind_type, EVENT_TYPES) or f"; expected one of {', '.join(EVENT_TYPES)}"
        message = f'{part.name}: there are no events of the kind "{kind.value[:40]}"{advice}'
        raise Mistakes([Mistake(message, place)])
    if ":" in kind.value and not re.fullmatch(r"xid:[0-9]{1,5}", kind.value):
        message = f'{part.name}: only XIDs are counted by code, as in "xid:48"'
        raise Mistakes([Mistake(message, place)])
    written = window
    as_duration = window.kind == "call" and window.name == "duration"
    if as_duration:
        written = window.parts[0]
    if not isinstance(written.value, str) or written.kind != "constant":
        message = f'{part.name}: expected a window in quotes, such as "1h"'
        raise Mistakes([Mistake(message, place)])
    if as_duration and "d" in written.value:
        message = f'{part.name}: duration() knows no days; write "{written.value}" alone'
        raise Mistakes([Mistake(message, place)])
    try:
        length = parse_window(written.value)
    except ValueError as error:
        raise Mistakes([Mistake(f"{part.name}: {error}", place)]) from error
    if not WINDOW_MIN <= length <= WINDOW_MAX:
        message = f'{part.name}: expected a window from 1m to 24h, got "{written.value}"'
        raise Mistakes([Mistake(message, place)])
    return Count(part.name, kind.value, length)
