"""Who holds a journal file, and how much of it has been promised.

Two control planes on one file would each act on half of the facts, so a small file beside the
journal carries an operating-system lock. The lock dies with its process, however that ends; the
text in the file is for people and for one check. It reads::

    00000000000000004711 facts acknowledged
    pid 4242 on host a since 2026-05-01T12:00:00Z

The first line is written after each durable append and before anyone is told of it. SQLite drops
a torn write-ahead log without a word; a journal that ends before this number has lost promised
facts, and the store says so instead of carrying on. The line is not flushed: after a power cut it
may be behind, never ahead. A holder that closes leaves only the first line.

Rules: the lock is taken without waiting; the file is never removed, because a lock on a removed
file guards nothing.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from navarch.errors import JournalConflict, JournalError

_DIGITS = 20
_FIRST_LINE_BYTES = len(b"%0*d facts acknowledged\n" % (_DIGITS, 0))
_TEXT_BYTES_MAX = 4096


class Hold:
    """The lock on one journal, from `take` until `free`."""

    def __init__(self, path: Path, fd: int, acknowledged: int) -> None:
        """Wrap a descriptor that carries the lock; use `take`."""
        self.path = path
        self.acknowledged = acknowledged
        """The highest sequence number that was ever acknowledged; 0 when nothing is known."""
        self._fd = fd

    @classmethod
    def take(cls, journal: Path, holder: str) -> Hold:
        """Lock `journal` for `holder`, a text that tells people who that is.

        Raises JournalConflict, naming the present holder, when it is held, and JournalError when
        the lock file cannot be written.
        """
        path = journal.with_name(journal.name + ".lock")
        try:
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            reason = error.strerror
            raise JournalError(
                f"journal {journal}: its lock file {path} cannot be opened: {reason}; make the "
                "folder and the file writable or use another --data"
            ) from error
        try:
            return cls._lock(journal, path, fd, holder)
        except BaseException:
            os.close(fd)
            raise

    @classmethod
    def _lock(cls, journal: Path, path: Path, fd: int, holder: str) -> Hold:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            text = os.pread(fd, _TEXT_BYTES_MAX, _FIRST_LINE_BYTES).decode(errors="replace")
            named = " ".join(text.split()) or "another process"
            raise JournalConflict(
                f"journal {journal} is held by {named}: stop it first or use another --data"
            ) from error
        except OSError as error:
            raise JournalError(
                f"journal {journal}: {path} cannot be locked: {error.strerror}; put the data on "
                "a file system with locks"
            ) from error
        hold = cls(path, fd, _acknowledged(os.pread(fd, _DIGITS, 0)))
        hold._write(holder + "\n")
        return hold

    def acknowledge(self, seq: int) -> None:
        """Note that facts up to `seq` are promised. Raises OSError when the disk refuses."""
        if seq > self.acknowledged:
            self.acknowledged = seq
            os.pwrite(self._fd, _first_line(seq), 0)

    def free(self) -> None:
        """Give the journal up. Once only: the descriptor is gone afterwards."""
        try:
            self._write("")
        finally:
            os.close(self._fd)

    def _write(self, text: str) -> None:
        content = _first_line(self.acknowledged) + text.encode()
        try:
            os.pwrite(self._fd, content, 0)
            os.ftruncate(self._fd, len(content))
        except OSError as error:
            raise JournalError(
                f"{self.path} cannot be written: {error.strerror}; free some space and start again"
            ) from error


def _first_line(seq: int) -> bytes:
    return b"%0*d facts acknowledged\n" % (_DIGITS, seq)


def _acknowledged(digits: bytes) -> int:
    """Read the first line's number; 0 for a new file, or one that a power cut left torn."""
    return int(digits) if len(digits) == _DIGITS and digits.isdigit() else 0
