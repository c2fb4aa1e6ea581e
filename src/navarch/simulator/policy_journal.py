"""Facts of a journal for a backtest: read from its file, piece by piece, while others write it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Final

from msgspec import DecodeError

from navarch.core.model import events as ev
from navarch.core.model import fleet as fleets
from navarch.core.model.fleet import Fleet
from navarch.errors import JournalError
from navarch.stores import faults, ledger
from navarch.stores.ledger import HistoryFile
from navarch.stores.rows import is_intact

PIECE: Final = 1_000
"""Facts read in one transaction: a question that takes long would hold the writer's log open."""

BUSY: Final = timedelta(seconds=5)
"""How long to wait for other programs that lock the file."""


class JournalReader:
    """One journal file, opened for reading; a control plane may be writing to it."""

    def __init__(self, path: Path) -> None:
        """Open the file. Raises `JournalError` when there is none, or it is no journal."""
        self.path = path.absolute()
        if not self.path.is_file():
            what = "is a folder" if self.path.is_dir() else "is not there"
            raise JournalError(f"journal {path} {what}: name the file of a journal")
        self._history = HistoryFile.open(self.path, busy=BUSY)
        try:
            self.last = self._history.last_seq()
            """The number of the newest fact when it was opened; later ones are not read."""
            oldest = self._history.read(
                after=0, limit=1, subject=None, since=None, newest_first=False
            )
        except BaseException:
            self._history.close()
            raise
        self.first = oldest[0].seq if oldest else 1
        """The number of the oldest fact that is still kept."""

    def close(self) -> None:
        """Close the file."""
        self._history.close()

    def facts(self) -> Iterator[ev.Event]:
        """Yield every fact, oldest first. Raises `JournalCorrupt` at the first damaged one."""
        after = self.first - 1
        while after < self.last:
            piece = self._history.read(
                after=after,
                limit=min(PIECE, self.last - after),
                subject=None,
                since=None,
                newest_first=False,
            )
            if not piece:  # retention was quicker than we are
                raise JournalError(
                    f"journal {self.path}: facts after {after} were removed while they were read; "
                    "try again"
                )
            yield from (recorded.event for recorded in piece)
            after = piece[-1].seq

    def known(self) -> Fleet | None:
        """Return the oldest fleet in a snapshot, for who was there before the oldest fact.

        None when the journal is whole, or no snapshot can be used. Raises `JournalError` when the
        file cannot be read.
        """
        if self.first <= 1:
            return None
        for _seq, state in self.snapshots():
            with contextlib.suppress(DecodeError):
                return fleets.decode(state)
        return None

    def snapshots(self) -> list[tuple[int, bytes]]:
        """Return the snapshots that are intact, each with the fact it was taken after.

        Raises `JournalError` when the file cannot be read.
        """
        with (
            faults.translated(self.path),
            contextlib.closing(ledger.connect(self.path, mode="ro", busy=BUSY)) as db,
        ):
            rows = db.execute("SELECT seq, crc, state FROM snapshot ORDER BY seq").fetchall()
        return [(seq, state) for seq, crc, state in rows if is_intact(crc, state, seq)]
