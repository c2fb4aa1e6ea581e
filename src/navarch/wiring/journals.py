"""What the commands `store check`, `store export` and `store import` do with a journal.

Checking and exporting only read, beside whoever writes: no hold and no lease is taken. Importing
takes both, and fills an empty store in one transaction.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

from msgspec import DecodeError, Struct

from navarch.core import fold
from navarch.core.model import fleet as fleets
from navarch.core.model.fleet import Fleet
from navarch.errors import ConfigError, JournalCorrupt
from navarch.stores import archive
from navarch.stores.archive import Archive, Head, Source
from navarch.stores.base import Kept, Recorded, Restorable
from navarch.wiring import parts

Tell = Callable[[int, int], None]
"""Called now and then with the facts that are done and those that there are."""


class Finding(Struct, frozen=True):
    """One thing that was looked at, and what was found."""

    what: str
    """``facts``, or ``snapshot`` and its number."""
    sound: bool
    text: str
    """In words, for people."""


class Checked(Struct, frozen=True):
    """What a check has found."""

    store: str
    facts: int
    """How many there are."""
    last: int
    """The number of the newest one."""
    findings: tuple[Finding, ...]

    @property
    def sound(self) -> bool:
        """Whether all is as it should be."""
        return all(each.sound for each in self.findings)


async def check(where: str, tell: Tell) -> Checked:
    """Read all of a journal, fold it from its beginning, and hold its snapshots against that.

    Raises JournalError when it cannot be read at all; damage is a finding.
    """
    async with _reading(where) as (source, name):
        last = await source.last_seq()
        folding = _Folding(await source.snapshots())
        try:
            async for page in archive.pages(source, last):
                folding.take(page)
                tell(folding.count, last - folding.first + 1)
            folding.end(last)
        except JournalCorrupt as error:
            folding.find("facts", sound=False, text=str(error))
        return Checked(name, folding.count, last, tuple(folding.findings))


async def export(where: str, path: Path, tell: Tell) -> Head:
    """Write a journal to one file, whole or not at all.

    Raises JournalError when either cannot be used, and JournalCorrupt at the first damaged fact.
    """
    async with _reading(where) as (source, _):
        return await archive.write(source, path, tell)


async def import_(where: str, path: Path, tell: Tell) -> int:
    """Fill an empty store from a file, whole or not at all; return the last sequence number.

    Raises JournalError when the file or the store cannot be used, or the store is not empty.
    """
    with contextlib.closing(Archive(path)) as file:
        archive.check_restorable(file)
        store = parts.open_store(where)
        if where == "memory" or not isinstance(store, Restorable):
            raise ConfigError("what is imported into memory is gone at once: name another store")
        await store.open()
        try:
            pages = _told(file, tell)
            return await store.restore(file.head.first, file.snapshots, pages)
        finally:
            await store.close()


class _Folding:
    """A journal's facts folded one after the other, and held against each snapshot."""

    def __init__(self, snapshots: list[Kept]) -> None:
        """Begin before the first fact."""
        self.findings: list[Finding] = []
        self.count = 0
        self.first = 1
        self._states = {each.seq: each.state for each in snapshots if each.state is not None}
        self._fleet: Fleet | None = None
        self._seq = 0
        for each in snapshots:
            if each.state is None:
                self.find(f"snapshot {each.seq}", sound=False, text="its bytes are damaged")

    def find(self, what: str, *, sound: bool, text: str) -> None:
        """Note a finding."""
        self.findings.append(Finding(what, sound, text))

    def take(self, page: list[Recorded]) -> None:
        """Fold some more facts."""
        if self.count == 0:
            self._begin(page[0].seq)
        self.count += len(page)
        for recorded in page:
            if self._fleet is None or recorded.seq <= self._seq:
                continue
            try:
                fold.apply(self._fleet, recorded.event)  # type: ignore[arg-type]
            except KeyError as error:
                text = f"fact {recorded.seq} is about {error}, which is not there"
                self.find("facts", sound=False, text=text)
                self._fleet = None
                continue
            self._seq = recorded.seq
            self._compare(recorded.seq, self._fleet)

    def end(self, last: int) -> None:
        """Say what all of them are, where nothing was wrong with them."""
        if self.count == 0:
            self.find("facts", sound=True, text="there are none")
        elif self._fleet is not None:
            told = f"{self.count:,} facts, {self.first} to {last}: whole, and they fold"
            self.find("facts", sound=True, text=told)

    def _begin(self, first: int) -> None:
        """Start with an empty fleet, or with the oldest snapshot where retention was there."""
        self.first = first
        if first == 1:
            self._fleet = Fleet()
            return
        reaching = [seq for seq in sorted(self._states) if seq >= first - 1]
        for seq in reaching:
            with contextlib.suppress(DecodeError):
                self._fleet, self._seq = fleets.decode(self._states[seq]), seq
                self.find(f"snapshot {seq}", sound=True, text="the facts are folded on from it")
                return
        text = f"those before {first} were removed, and no snapshot says what they came to"
        self.find("facts", sound=False, text=text)

    def _compare(self, seq: int, fleet: Fleet) -> None:
        """Hold the snapshot at `seq`, if there is one, against what the facts have come to."""
        if seq not in self._states:
            return
        what = f"snapshot {seq}"
        try:
            kept = fleets.decode(self._states[seq]).records()
        except DecodeError as error:
            self.find(what, sound=False, text=f"it is no fleet of this version ({error})")
            return
        folded = fleets.decode(fleets.encode(fleet)).records()
        differing = [
            name for name in kept.__struct_fields__ if getattr(kept, name) != getattr(folded, name)
        ]
        if differing:
            text = f"it is not what the facts come to: {', '.join(differing)} differ"
            self.find(what, sound=False, text=text)
        else:
            self.find(what, sound=True, text="it is what the facts come to")


@contextlib.asynccontextmanager
async def _reading(where: str) -> AsyncIterator[tuple[Source, str]]:
    """Open a store to read from it, beside whoever writes to it."""
    if where == "memory":
        raise ConfigError("a journal in memory belongs to one process: name another store")
    reading = await parts.read_store(where)
    try:
        yield reading, reading.name
    finally:
        await reading.close()


def _told(file: Archive, tell: Tell) -> Iterator[list[Recorded]]:
    done = 0
    for page in file.pages():
        yield page
        done += len(page)
        tell(done, file.head.last - file.head.first + 1)
