"""Replaying: a fleet as it was at any fact of a journal, folded again and checked on the way.

A journal is ``journal.jsonl`` of a simulated run, the SQLite file of a control plane's store, or
the folder that holds either. A store is only read, and may be written to meanwhile.

What is checked: each fact decodes, folds, and says a number that follows; the fleet of each
snapshot on the way is the fleet that was folded; and the fleet at the end survives being written
down.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from types import MappingProxyType
from typing import Final

from msgspec import DecodeError, Struct

from navarch.core import fold
from navarch.core.model import events as ev
from navarch.core.model import fleet as fleets
from navarch.core.model.fleet import Fleet
from navarch.errors import JournalCorrupt, JournalError
from navarch.simulator.policy_journal import JournalReader

LINE_MAX: Final = 16_777_216
"""Bytes of one fact in a file of lines; the largest that is known has a few thousand."""

NAMES: Final = ("navarch.db", "journal.jsonl")
"""What the journal of a folder is called."""

MAGIC: Final = b"SQLite format 3\x00"

UNFOLDABLE: Final = (LookupError, ValueError, TypeError, AttributeError, AssertionError)
"""What folding a fact raises that speaks of things which are not there."""


class Limits(Struct, frozen=True):
    """How far to fold."""

    until: int | None
    at: datetime | None

    def passed(self, seq: int, fact: ev.Event) -> bool:
        """Whether a fact is beyond them."""
        is_later = self.until is not None and seq > self.until
        return is_later or (self.at is not None and fact.at > self.at)


class Replayed(Struct, frozen=True):
    """A fleet as it was after one fact."""

    journal: Path
    fleet: Fleet
    seq: int
    """The last fact that is folded, 0 where there is none."""
    at: datetime | None
    """When that was taken; None where there is none."""
    last: int
    """The newest fact that is known of the journal; later ones were not read."""
    facts: int
    """How many were folded."""
    first: int
    """The first of them; more than 1 where retention has dropped older ones."""
    snapshots: int
    """How many were met on the way, all of which agree."""


def find(path: Path) -> Path:
    """Find the journal that is meant by a file or a folder.

    Raises `JournalError` when there is none, or a folder has both kinds.
    """
    if not path.is_dir():
        if not path.exists():
            raise JournalError(f"journal {path} is not there: name a journal, or its folder")
        return path
    found = [path / name for name in NAMES if (path / name).is_file()]
    if len(found) != 1:
        has = "both" if found else "neither"
        raise JournalError(f"folder {path} has {has} of {' and '.join(NAMES)}: name the file")
    return found[0]


def replay(path: Path, *, until: int | None = None, at: datetime | None = None) -> Replayed:
    """Fold a journal up to a fact or a moment, both included; None: to its end.

    Raises `JournalError` when it cannot be read, when it begins after what is asked for, or with
    file and line when a fact is damaged or does not fold, or a snapshot disagrees. Cost: O(facts).
    """
    journal = find(path)
    if _is_sqlite(journal):
        with contextlib.closing(JournalReader(journal)) as reader:
            return _of_store(reader, Limits(until, at))
    return _folded(journal, _lines(journal), Limits(until, at))


def facts_about(path: Path, id_: str, *, until: int, most: int) -> list[tuple[int, ev.Event]]:
    """Find the newest facts about something, up to a fact, oldest first. Cost: O(facts)."""
    journal = find(path)
    found: list[tuple[int, ev.Event]] = []
    with contextlib.ExitStack() as stack:
        facts: Iterator[tuple[int, ev.Event]]
        if _is_sqlite(journal):
            reader = stack.enter_context(contextlib.closing(JournalReader(journal)))
            facts = enumerate(reader.facts(), reader.first)
        else:
            facts = _lines(journal)
        for seq, fact in facts:
            if seq > until:
                break
            if id_ in ev.subjects(fact):
                found = [*found[-(most - 1) :], (seq, fact)] if most > 1 else [(seq, fact)]
    return found


def _is_sqlite(journal: Path) -> bool:
    try:
        with journal.open("rb") as stream:
            return stream.read(len(MAGIC)) == MAGIC
    except OSError as error:
        reason = error.strerror or str(error)
        raise JournalError(f"journal {journal} cannot be read: {reason}") from error


def _lines(journal: Path) -> Iterator[tuple[int, ev.Event]]:
    """Yield the facts of a file of lines with their numbers."""
    try:
        with journal.open("rb") as stream:
            number = 0
            while line := stream.readline(LINE_MAX):
                number += 1
                try:
                    yield number, ev.decode(line)
                except DecodeError as error:
                    raise _damage(journal, number, f"is no fact: {error}") from error
    except OSError as error:
        reason = error.strerror or str(error)
        raise JournalError(f"journal {journal} cannot be read: {reason}") from error


def _of_store(reader: JournalReader, limits: Limits) -> Replayed:
    kept = reader.snapshots()
    fleet, begins = Fleet(), 1
    if reader.first > 1:
        base = next((each for each in kept if each[0] >= reader.first - 1), None)
        if base is None:
            text = f"its facts before {reader.first} were dropped, and no snapshot can be used"
            raise JournalError(f"journal {reader.path}: {text}")
        fleet, begins = _decoded(reader.path, *base), base[0] + 1
        if limits.until is not None and limits.until < base[0]:
            text = f"facts before {base[0]} were dropped, expected --until {base[0]} or later"
            raise JournalError(f"journal {reader.path}: {text}")
    facts = ((seq, fact) for seq, fact in enumerate(reader.facts(), reader.first) if seq >= begins)
    later = {seq: state for seq, state in kept if seq >= begins}
    return _folded(reader.path, facts, limits, (begins - 1, fleet), later, reader.last)


def _folded(
    journal: Path,
    facts: Iterator[tuple[int, ev.Event]],
    limits: Limits,
    base: tuple[int, Fleet] | None = None,
    snapshots: Mapping[int, bytes] = MappingProxyType({}),
    last: int = 0,
) -> Replayed:
    before, fleet = base or (0, Fleet())
    seq, newest, taken, agreed = before, before, None, 0
    for newest, fact in facts:
        if limits.passed(newest, fact):
            break
        try:
            fold.apply(fleet, fact)  # type: ignore[arg-type]  # only facts are journaled
        except UNFOLDABLE as error:
            what = f"{type(error).__name__}: {error}"
            raise _damage(journal, newest, f"{ev.kind(fact)} does not fold: {what}") from error
        seq, taken = newest, fact.at
        state = snapshots.get(seq)
        if state is not None:
            agreed += 1
            if _decoded(journal, seq, state) != fleet:
                raise _damage(journal, seq, "the snapshot here is another fleet than the facts'")
    if limits.until is not None and limits.until > newest:
        raise JournalError(f"journal {journal} ends at fact {newest}, not at {limits.until}")
    if _decoded(journal, seq, fleets.encode(fleet)) != fleet:
        raise _damage(journal, seq, "the fleet is another one once it is written down and read")
    return Replayed(journal, fleet, seq, taken, last or newest, seq - before, before + 1, agreed)


def _decoded(journal: Path, seq: int, state: bytes) -> Fleet:
    try:
        return fleets.decode(state)
    except DecodeError as error:
        raise _damage(journal, seq, f"the snapshot here is no fleet: {error}") from error


def _damage(journal: Path, seq: int, what: str) -> JournalCorrupt:
    return JournalCorrupt(f"{journal}:{seq}: {what}", seq=seq)
