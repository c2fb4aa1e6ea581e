"""The health reports that must outlive the agent: events are given once and exist nowhere else.

The file holds every report with events that the control plane has not taken, as it was or will be
sent, so that the receiver can tell a repetition. It is replaced whenever that changes, and is
bounded because the outbox is. What a crash can lose is what happens between a sensor's answer and
the next write to the disk: a moment, not the outage of a control plane.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec

from navarch.agent.state import replace_file
from navarch.core.model.messages import ReportHealth

FILE_NAME: Final = "reports.json"

DAMAGED_SUFFIX: Final = ".damaged"

FILE_BYTES_MAX: Final = 32 * 1024 * 1024
"""Far more than the events of an outbox need; what is larger was not written by us."""


class ReportFile:
    """The file of untaken reports. Blocking; one thread uses it."""

    def __init__(self, path: Path) -> None:
        """Read nothing yet."""
        self._path = path

    def read(self) -> tuple[tuple[ReportHealth, ...], str]:
        """Return the reports, oldest first, and what is wrong with the file; "" when nothing is.

        A damaged file is put aside under another name and counts as empty: an agent that does
        not start would lose more than the events in it. Raises `OSError` when there is one that
        cannot be read or put aside.
        """
        if not self._path.exists():
            return (), ""
        with self._path.open("rb") as file:
            content = file.read(FILE_BYTES_MAX)  # what is cut short makes no sense either
        try:
            return msgspec.json.decode(content, type=tuple[ReportHealth, ...]), ""
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            aside = self._path.with_name(self._path.name + DAMAGED_SUFFIX)
            self._path.replace(aside)
            return (), f"{self._path}: {error}; it is now {aside.name}"

    def write(self, reports: Sequence[ReportHealth]) -> None:
        """Keep these and no others, durably. Raises `OSError`; the old ones then stay."""
        if reports or self._path.exists():
            replace_file(self._path, msgspec.json.encode(reports))
