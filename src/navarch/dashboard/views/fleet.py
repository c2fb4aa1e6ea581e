"""The fleet at a glance: every machine, in columns.

Columns and not rows, for ten thousand machines share few words: each column of texts has a list of
them, and which one each machine has. A whole fleet is some 800 kB so, and 60 kB compressed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Final

from msgspec import Struct

from navarch.dashboard.rows import ORDER, Row, Rows, State
from navarch.dashboard.seen import Seen
from navarch.errors import WireError

SLICE: Final = 1_000
"""Rows that are written before others get their turn: some 2 ms."""


class Texts(Struct):
    """A column of texts."""

    names: list[str]
    """The different ones."""
    of: list[int]
    """Which one each machine has."""


class Columns(Struct):
    """Every machine, in the order of their ids."""

    id: list[str]
    state: list[int]
    """The place of the state among `FleetView.states`."""
    since: list[int]
    """Since when it is in this state, in seconds since 1970; likewise `born`."""
    born: list[int]
    gpus: list[int]
    spot: list[int]
    person: list[int]
    """1 where a person is waited for; likewise `spot`."""
    because: Texts
    pool: Texts
    provider: Texts
    region: Texts
    zone: Texts
    rack: Texts
    type: Texts


class FleetView(Struct):
    """The whole fleet."""

    seq: int
    """The newest fact when this was written."""
    states: list[str]
    """All there are, the gravest first."""
    counts: dict[str, int]
    """How many machines are in each state."""
    machines: Columns


async def view(seen: Seen, below: str, query: Mapping[str, str]) -> FleetView:
    """Show every machine."""
    if below:
        raise WireError("not_found", "there is nothing below the fleet")
    if query:
        raise WireError("invalid_argument", "the fleet is shown as a whole")
    if seen.rows is None:
        seen.rows = Rows(seen.fleet)
        seen.rows.refresh()
    return await _written(seen, sorted(seen.rows.all(), key=lambda row: row.id))


async def _written(seen: Seen, rows: list[Row]) -> FleetView:
    writer = _Writer()
    for start in range(0, len(rows), SLICE):
        writer.write(rows[start : start + SLICE])
        await asyncio.sleep(0)
    counts = {state.value: 0 for state in ORDER}
    for place in writer.columns.state:
        counts[ORDER[place].value] += 1
    states = [state.value for state in ORDER]
    return FleetView(seen.seq, states, counts, writer.columns)


class _Writer:
    """Writes rows into columns."""

    _TEXTS: Final = ("because", "pool", "provider", "region", "zone", "rack", "type")

    def __init__(self) -> None:
        texts = {name: Texts([], []) for name in self._TEXTS}
        self.columns = Columns([], [], [], [], [], [], [], **texts)
        self._places: dict[str, dict[str, int]] = {name: {} for name in self._TEXTS}
        self._states: dict[State, int] = {state: place for place, state in enumerate(ORDER)}

    def write(self, rows: list[Row]) -> None:
        """Add some."""
        columns, states = self.columns, self._states
        columns.id.extend(row.id for row in rows)
        columns.state.extend(states[row.state] for row in rows)
        columns.since.extend(int(row.since.timestamp()) for row in rows)
        columns.born.extend(int(row.born.timestamp()) for row in rows)
        columns.gpus.extend(row.gpus for row in rows)
        columns.spot.extend(int(row.spot) for row in rows)
        columns.person.extend(int(row.person) for row in rows)
        for name in self._TEXTS:
            texts: Texts = getattr(columns, name)
            places = self._places[name]
            for row in rows:
                text = getattr(row, name)
                place = places.get(text)
                if place is None:
                    place = places[text] = len(texts.names)
                    texts.names.append(text)
                texts.of.append(place)
