"""Start-up logs that are kept: a bounded folder of text files, for machines that are gone.

::

    FOLDER/ID.log    a line "# read from SOURCE at TIME", then the end of the log

A file is replaced as a whole. Beyond `FILES_MAX` of them the oldest is removed. They are for their
owner alone to read, since pools' commands may print anything.
"""

from __future__ import annotations

import os
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Final
from urllib.parse import quote

from msgspec import Struct

FILES_MAX: Final = 200
"""How many logs are kept: at most 64 KiB each, so 13 MB."""

FILE_BYTES_MAX: Final = 128 * 1024
"""How much of a file is read: what we write is shorter."""

HEAD: Final = re.compile(r"# read from (\S{1,200}) at (\S{1,40})\n")


class BootstrapLog(Struct, frozen=True, kw_only=True):
    """What is known of a start-up log."""

    text: str = ""
    """Its end; empty where there is none."""
    source: str = ""
    """Who told it: ``ssh``, or the name of the provider."""
    read_at: datetime | None = None
    """When it was read; None where it was not."""
    problem: str = ""
    """Why it could not be read now, in one line; empty where it was, or nothing more can come."""


class KeptLogs:
    """The folder. Its methods do I/O, and raise `OSError` where that fails."""

    def __init__(self, folder: Path) -> None:
        """Keep logs under `folder`, which is made when the first is kept."""
        self._folder = folder

    def put(self, instance_id: str, log: BootstrapLog) -> None:
        """Keep a log in the place of an earlier one of this instance."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = self._path(instance_id)
        draft = path.with_suffix(f".{os.getpid()}")
        read_at = log.read_at or datetime.fromtimestamp(0, UTC)
        head = f"# read from {log.source} at {read_at.isoformat(timespec='seconds')}\n"
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as opened:
            opened.write((head + log.text).encode())
        draft.replace(path)
        self._prune()

    def get(self, instance_id: str) -> BootstrapLog | None:
        """Return what is kept of an instance; None: nothing."""
        try:
            with self._path(instance_id).open("rb") as opened:
                text = opened.read(FILE_BYTES_MAX).decode(errors="replace")
        except FileNotFoundError:
            return None
        head = HEAD.match(text)
        if head is None:  # somebody else wrote it; it is a log all the same
            return BootstrapLog(text=text, source="file")
        try:
            read_at = datetime.fromisoformat(head[2])
        except ValueError:
            read_at = None
        if read_at is not None and read_at.tzinfo is None:
            read_at = read_at.replace(tzinfo=UTC)
        return BootstrapLog(text=text[head.end() :], source=head[1], read_at=read_at)

    def _path(self, instance_id: str) -> Path:
        # An id may hold a slash, and has up to 253 signs.
        return self._folder / f"{quote(instance_id, safe='')[:240]}.log"

    def _prune(self) -> None:
        """Remove the oldest, and drafts that nobody finished."""
        found = [each for each in self._folder.iterdir() if each.is_file()]
        newest_first = sorted(found, key=lambda each: -each.stat().st_mtime_ns)
        for old in newest_first[FILES_MAX:]:
            old.unlink(missing_ok=True)
