"""The journal, page by page, and one fact with all that is in it.

Searching reads the journal backwards, a bounded stretch at a time: each answer says how far it has
looked, and the next one goes on from there. So a search through ninety days is many short answers
and never one long one.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final

import msgspec
from msgspec import Struct

from navarch.core.model import events as ev
from navarch.dashboard.seen import Seen
from navarch.dashboard.stream import FactRow, fact_row
from navarch.errors import WireError
from navarch.stores.base import Recorded

PAGE: Final = 100
"""Facts of one answer."""
LOOKED_AT_MAX: Final = 5_000
"""Facts that one answer looks through at most."""
READ: Final = 500
"""Facts that are read at once."""
TEXT_MAX: Final = 200
"""Letters of what is searched for."""
KEYS: Final = frozenset({"text", "kind", "subject", "since", "before"})


class EventsView(Struct):
    """A stretch of the journal, the newest first."""

    now: datetime
    last_seq: int
    """The newest fact there is."""
    events: list[FactRow]
    before: int | None
    """Where to go on: only facts before this one were not looked at; None: that was all."""
    looked_at: int
    """How many facts were looked at for this answer."""
    kinds: list[str]
    """Every kind of fact there is."""


class EventView(Struct):
    """One fact."""

    event: FactRow
    payload: msgspec.Raw
    """The whole fact, as it stands in the journal."""


async def view(seen: Seen, below: str, query: Mapping[str, str]) -> EventsView | EventView:
    """Show one fact by its number, or those that a query wants: text, kind, subject, since."""
    if below:
        return await _one(seen, below)
    unknown = query.keys() - KEYS
    if unknown:
        raise WireError("invalid_argument", f"{min(unknown)[:40]!r}: not among {sorted(KEYS)}")
    text = query.get("text", "").strip().lower()
    if len(text) > TEXT_MAX:
        raise WireError("invalid_argument", f"text: has more than {TEXT_MAX} letters")
    kinds = frozenset(filter(None, query.get("kind", "").split(",")))
    since, subject = _moment(query.get("since", "")), query.get("subject", "")
    before = _number("before", query["before"]) if query.get("before") else None
    found: list[FactRow] = []
    looked_at = 0
    while looked_at < LOOKED_AT_MAX and len(found) < PAGE:
        recorded = await _read(seen, before, subject, since)
        for each in recorded:
            looked_at += 1
            before = each.seq
            if not kinds or ev.kind(each.event) in kinds:
                row = fact_row(each)
                if _has(row, text):
                    found.append(row)
            if len(found) == PAGE:
                break
        else:
            if len(recorded) < READ:
                before = None
                break
    return EventsView(seen.now, seen.seq, found, before, looked_at, KINDS)


async def _read(
    seen: Seen, before: int | None, subject: str, since: datetime | None
) -> list[Recorded]:
    """Read the newest facts before one, the newest first."""
    return await seen.journal.read(
        before=before, limit=READ, subject=subject or None, since=since, newest_first=True
    )


async def _one(seen: Seen, below: str) -> EventView:
    seq = _number("the number of a fact", below)
    recorded = await seen.journal.read(after=seq - 1, limit=1) if seq > 0 else []
    if not recorded or recorded[0].seq != seq:
        raise WireError("not_found", f"there is no fact {seq}, or no more")
    return EventView(fact_row(recorded[0]), msgspec.Raw(ev.encode(recorded[0].event)))


def _has(row: FactRow, text: str) -> bool:
    """Whether a fact has all words of a text in it."""
    if not text:
        return True
    said = f"{row.seq} {row.kind} {row.text} {row.because} {' '.join(row.subjects)}".lower()
    return all(word in said for word in text.split())


def _number(name: str, text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) <= 18):
        raise WireError("invalid_argument", f"{name}: {text[:40]!r} is no number")
    return int(text)


def _moment(text: str) -> datetime | None:
    if not text:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise WireError("invalid_argument", f"since: {text[:40]!r} is no time") from error
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


KINDS: Final = sorted(str(each.__struct_config__.tag) for each in ev.Fact.__args__)
