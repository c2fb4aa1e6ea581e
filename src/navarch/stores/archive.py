"""A journal as one portable file: every fact, and the snapshots, in lines of JSON.

::

    {"format":"navarch-journal","version":1,"navarch":"0.1.0","first":1,"last":3}
    {"snapshot":2,"crc":1234567,"state":"eJyr..."}          base64 of zlib
    {"seq":1,"crc":890123,"fact":{"kind":"fleet_founded",...}}
    ...
    {"facts":3,"snapshots":1,"sha256":"9f86d0..."}           of every byte before this line

A file whose name ends in ``.gz`` is compressed. Nothing in a file is believed: each line has a
checksum, the last one counts them all, and a file that was cut short has no last one.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import zlib
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import BinaryIO, Final, Protocol, cast

import msgspec
from msgspec import DecodeError, Raw, Struct

from navarch.core.model import events
from navarch.errors import JournalCorrupt, JournalError
from navarch.stores.base import Kept, Recorded, Snapshot
from navarch.stores.rows import checksum
from navarch.version import VERSION

FORMAT: Final = "navarch-journal"
VERSION_NOW: Final = 1
PAGE_FACTS: Final = 5_000
"""Facts that are held at once."""
LINE_BYTES_MAX: Final = 2**30
"""The longest line that is read: a snapshot of a hundred thousand nodes has about 20 MB."""


class Source(Protocol):
    """A journal as whoever does not write to it reads it."""

    @property
    def name(self) -> str:
        """What people call it; no password."""
        ...

    async def close(self) -> None:
        """Let go of it."""
        ...

    async def read(self, *, after: int = 0, limit: int = 1000) -> list[Recorded]:
        """Return facts, oldest first; see `navarch.stores.base.History`."""
        ...

    async def last_seq(self) -> int:
        """Return the sequence number of the newest fact, 0 for an empty journal."""
        ...

    async def snapshots(self) -> list[Kept]:
        """Return all snapshots, the oldest first."""
        ...


class Head(Struct, forbid_unknown_fields=False):
    """The first line."""

    format: str
    version: int
    navarch: str = ""
    first: int = 1
    """The oldest fact in the file; above 1 where retention had removed older ones."""
    last: int = 0
    """The newest one; 0 or `first` - 1: there are none."""


class _Line(Struct):
    """Any later line: exactly one of the three kinds."""

    seq: int = 0
    crc: int = 0
    fact: Raw = Raw(b"")
    snapshot: int = -1
    state: str = ""
    facts: int = -1
    snapshots: int = 0
    sha256: str = ""


class _FactLine(Struct):
    seq: int
    crc: int
    fact: Raw


class _SnapshotLine(Struct):
    snapshot: int
    crc: int
    state: str


class _LastLine(Struct):
    facts: int
    snapshots: int
    sha256: str


_UNREADABLE = (DecodeError, ValueError, OSError, EOFError, zlib.error)
_head = msgspec.json.Decoder(Head)
_line = msgspec.json.Decoder(_Line)


# --- writing -----------------------------------------------------------------------------------


async def pages(source: Source, last: int) -> AsyncIterator[list[Recorded]]:
    """Yield all facts up to `last`, some at a time.

    Raises JournalCorrupt behind the last good fact before a damaged one, and JournalError when
    retention was quicker.
    """
    after = 0
    is_first = True
    while after < last:
        limit = min(PAGE_FACTS, last - after)
        try:
            page = await source.read(after=after, limit=limit)
        except JournalCorrupt as error:
            if error.seq > after + 1:
                yield await source.read(after=after, limit=error.seq - after - 1)
            raise
        page = [each for each in page if each.seq <= last]
        if not page and is_first:
            return
        if not page or not (is_first or page[0].seq == after + 1):
            raise JournalError(f"facts after {after} were removed while they were read: try again")
        yield page
        after = page[-1].seq
        is_first = False


async def write(source: Source, path: Path, tell: Callable[[int, int], None]) -> Head:
    """Write all of `source` to `path`, whole or not at all; return the first line.

    `tell` is called now and then with the facts that are written and those that there are.

    Raises JournalError when either cannot be used.
    """
    draft = path.with_name(f".{path.name}.part")
    try:
        with _opened(draft, "wb", packed=path.suffix == ".gz") as file:
            head = await _write(source, file, tell)
        draft.replace(path)
    except OSError as error:
        raise JournalError(f"{path} cannot be written: {error.strerror}") from error
    finally:
        draft.unlink(missing_ok=True)
    return head


async def _write(source: Source, file: BinaryIO, tell: Callable[[int, int], None]) -> Head:
    digest, encode = hashlib.sha256(), msgspec.json.encode

    def put(line: bytes) -> None:
        digest.update(line + b"\n")
        file.write(line + b"\n")

    last = await source.last_seq()
    oldest = await source.read(limit=1)
    first = oldest[0].seq if oldest else last + 1
    head = Head(FORMAT, VERSION_NOW, VERSION, first, last)
    put(encode(head))
    count = 0
    for kept in await source.snapshots():
        if kept.state is not None and first - 1 <= kept.seq <= last:
            state = base64.b64encode(zlib.compress(kept.state, 1)).decode()
            put(encode(_SnapshotLine(kept.seq, checksum(kept.state, kept.seq), state)))
            count += 1
    written = 0
    async for page in pages(source, last):
        for each in page:
            raw = events.encode(each.event)
            put(encode(_FactLine(each.seq, checksum(raw, each.seq), Raw(raw))))
        written += len(page)
        tell(written, last - first + 1)
    file.write(encode(_LastLine(written, count, digest.hexdigest())) + b"\n")
    return head


# --- reading -----------------------------------------------------------------------------------


class Archive:
    """A file as it is read: the head at once, the rest as it is asked for."""

    def __init__(self, path: Path) -> None:
        """Open `path` and read its head and its snapshots.

        Raises JournalError when it is no such file, or of a newer version.
        """
        self.path = path
        self._digest = hashlib.sha256()
        try:
            self._file = _opened(path, "rb", packed=path.suffix == ".gz").__enter__()
        except OSError as error:
            raise JournalError(f"{path} cannot be read: {error.strerror}") from error
        try:
            self.head = self._read_head()
            self.snapshots: tuple[Snapshot, ...] = tuple(self._read_snapshots())
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def pages(self) -> Iterator[list[Recorded]]:
        """Yield all facts, some at a time, and check the end. Once only.

        Raises JournalCorrupt, which names the first bad fact, or the line.
        """
        expected = self.head.first
        page: list[Recorded] = []
        line = self._ahead
        while line.facts < 0:
            page.append(self._fact(line, expected))
            expected += 1
            if len(page) == PAGE_FACTS:
                yield page
                page = []
            line = self._next(expected)
        if page:
            yield page
        self._check_end(line, expected)

    # --- inside --------------------------------------------------------------------------------

    def _read_head(self) -> Head:
        try:
            raw = self._raw_line()
            head = _head.decode(raw)
        except _UNREADABLE as error:
            raise JournalError(f"{self.path} is no export of a journal ({error})") from error
        if head.format != FORMAT:
            raise JournalError(f"{self.path} is no export of a journal")
        if not 1 <= head.version <= VERSION_NOW:
            raise JournalError(
                f"{self.path} has format {head.version} and this Navarch knows {VERSION_NOW}: it "
                "was written by a newer one; upgrade"
            )
        if head.first < 1 or head.last < head.first - 1:
            raise self._damage(head.first, "its first line makes no sense")
        return head

    def _read_snapshots(self) -> Iterator[Snapshot]:
        count = 0
        while (line := self._next(self.head.first)).snapshot >= 0:
            try:
                state = zlib.decompress(base64.b64decode(line.state, validate=True))
            except (ValueError, zlib.error) as error:
                raise self._damage(
                    line.snapshot, f"its snapshot is unreadable ({error})"
                ) from error
            if checksum(state, line.snapshot) != line.crc:
                raise self._damage(line.snapshot, "the checksum of its snapshot does not fit")
            count += 1
            yield Snapshot(line.snapshot, state)
        self._ahead = line
        self._snapshot_count = count

    def _next(self, expected: int) -> _Line:
        """Read the line of fact `expected`, or the last one."""
        self._before = self._digest.copy()
        try:
            return _line.decode(self._raw_line())
        except _UNREADABLE as error:
            raise self._damage(expected, f"its line cannot be read ({error})") from error

    def _raw_line(self) -> bytes:
        line = self._file.readline(LINE_BYTES_MAX)
        if not line.endswith(b"\n"):
            raise EOFError("the file is cut short")
        self._digest.update(line)
        return line

    def _fact(self, line: _Line, expected: int) -> Recorded:
        raw = bytes(line.fact)
        if line.seq != expected:
            raise self._damage(expected, "it is missing")
        if checksum(raw, line.seq) != line.crc:
            raise self._damage(expected, "its checksum does not fit")
        try:
            return Recorded(line.seq, events.decode(raw))
        except (DecodeError, ValueError) as error:
            raise self._damage(expected, f"this version cannot decode it ({error})") from error

    def _check_end(self, line: _Line, expected: int) -> None:
        if expected != self.head.last + 1 or line.facts != expected - self.head.first:
            raise self._damage(expected, "it is missing")
        if line.snapshots != self._snapshot_count or line.sha256 != self._before.hexdigest():
            raise self._damage(expected, "the digest of the file does not fit")
        if self._file.read(1):
            raise self._damage(expected, "something stands behind the last line")

    def _damage(self, seq: int, what: str) -> JournalCorrupt:
        return JournalCorrupt(f"{self.path} is damaged at fact {seq}: {what}", seq=seq)


def _opened(path: Path, mode: str, *, packed: bool) -> AbstractContextManager[BinaryIO]:
    if packed:
        return cast("AbstractContextManager[BinaryIO]", gzip.open(path, mode, compresslevel=6))
    return cast("AbstractContextManager[BinaryIO]", path.open(mode))


def check_restorable(archive: Archive) -> None:
    """Raise JournalError when the facts of `archive` cannot be folded: older ones are missing."""
    reaches = any(each.seq >= archive.head.first - 1 for each in archive.snapshots)
    if archive.head.first > 1 and not reaches:
        raise JournalError(
            f"{archive.path} begins at fact {archive.head.first} and has no snapshot of what was "
            "before: it cannot be imported"
        )
