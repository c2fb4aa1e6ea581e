"""What views are shown in tests: a fleet of some facts, its journal, and what was sighted."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from typing import TypeVar

import msgspec
import pytest

from factories import SETTINGS, Facts, at, flat, fold_all
from navarch.core.model.fleet import Fleet
from navarch.core.model.sightings import Sightings
from navarch.dashboard.seen import Seen
from navarch.errors import WireError
from navarch.stores.memory import MemoryStore

_A = TypeVar("_A")
View = Callable[[Seen, str, Mapping[str, str]], Awaitable[_A]]


def seen_after(
    *facts: Facts,
    now: datetime | None = None,
    sightings: Sightings | None = None,
    fleet: Fleet | None = None,
) -> Seen:
    """Return what there is to see after these facts; `fleet` None: they alone have made it."""
    told = flat(*facts)
    store = MemoryStore()
    asyncio.run(store.open())
    seq = store.append_now(told, after=0)
    held = fold_all(told) if fleet is None else fleet
    return Seen(held, sightings or Sightings(), now or at(hours=1), SETTINGS, store, seq=seq)


def shown(view: View[_A], seen: Seen, below: str = "", **query: str) -> _A:
    """Ask a view; what it answers can be written as JSON."""

    async def ask() -> _A:
        return await view(seen, below, query)

    answer = asyncio.run(ask())
    msgspec.json.encode(answer)
    return answer


def refused(view: View[_A], seen: Seen, below: str = "", **query: str) -> WireError:
    """Ask a view for what it refuses, and return how."""
    with pytest.raises(WireError) as caught:
        shown(view, seen, below, **query)
    return caught.value
