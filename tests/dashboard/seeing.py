"""What views are given in tests: a fleet folded from facts, and the journal that has them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec

from factories import fold_all
from navarch.core.model import events as ev
from navarch.core.model.sightings import Sightings
from navarch.core.settings import Settings
from navarch.dashboard.past.kept import Past
from navarch.dashboard.seen import Seen
from navarch.dashboard.views import VIEWS
from navarch.stores.memory import MemoryStore


def journal(facts: Sequence[ev.Fact]) -> MemoryStore:
    """A journal that is open, and has these facts."""
    store = MemoryStore()

    async def fill() -> None:
        await store.open()
        await store.append(facts, after=0)

    asyncio.run(fill())
    return store


def seen(
    facts: Sequence[ev.Fact],
    now: datetime,
    sightings: Sightings | None = None,
    past: Past | None = None,
) -> Seen:
    """What there is to see of this fleet at this moment."""
    found = Seen(
        fold_all(*facts),
        sightings or Sightings(),
        now,
        Settings(),
        journal(facts),
        seq=len(facts),
    )
    if past is not None:
        found.past = past
    return found


def shown(what: Seen, view: str, below: str = "", **query: str) -> dict[str, Any]:
    """What a view answers, as it goes over the wire."""
    name, _, rest = view.partition("/")
    answer = asyncio.run(_asked(what, name, below or rest, query))
    decoded: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(answer))
    return decoded


async def _asked(what: Seen, name: str, below: str, query: dict[str, str]) -> object:
    return await VIEWS[name](what, below, query)
