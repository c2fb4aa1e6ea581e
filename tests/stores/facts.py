"""Facts, moments and a way to run them, for the tests of stores.

The facts are of three sizes and about one, two or no subjects, so that rows differ as they do in a
real journal. Nothing here checks anything.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from navarch.core.model import events
from navarch.core.model.events import Event

START = datetime(2026, 5, 1, 12, 0, tzinfo=UTC)

_T = TypeVar("_T")


def run(work: Coroutine[Any, Any, _T]) -> _T:
    """Run `work` on a new event loop to its end."""
    return asyncio.run(work)


def at(minutes: int) -> datetime:
    """Return the moment of the fact with this number."""
    return START + timedelta(minutes=minutes)


def fact(number: int) -> Event:
    """Return the fact that the tests put in place `number`: one a minute, about node-<0..4>."""
    node = f"node-{number % 5}"
    if number % 7 == 0:
        return events.Resumed(at=at(number), version=f"0.{number}")
    if number % 3 == 0:
        return events.LaunchRequested(
            at=at(number),
            instance_id=node,
            pool="training",
            provider="fake",
            because=f"fact {number}: " + "a target above the count of nodes " * (number % 5),
        )
    return events.NodeLost(at=at(number), node_id=node, because=f"silent in minute {number}")


def facts(first: int, last: int) -> list[Event]:
    """Return the facts `first` to `last`, both included."""
    return [fact(number) for number in range(first, last + 1)]
