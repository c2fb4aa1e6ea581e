"""What is kept of a check: types, places and scores, never a word of the text.

Not even the message of a plugin's exception is kept, since it may quote what the plugin has read.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final, Literal

from msgspec import Struct

from navarch.telemetry.log import Log

log = Log(__name__)

KEPT: Final = 1_000
"""Records that are kept in memory, the newest."""

LISTED: Final = 100
"""Findings that a record lists; the rest is only counted."""


class AuditedFinding(Struct, frozen=True):
    """One finding in a record."""

    type: str
    start: int
    end: int
    score: float
    plugin: str
    action: str


class CheckRun(Struct, frozen=True):
    """What became of one check."""

    plugin: str
    type: str
    outcome: Literal["scanned", "not_scanned", "skipped"]
    """``skipped``: another check had blocked already."""
    seconds: float
    """In the plugin; 0 where no event loop was running to measure by."""
    calls: int
    reason: str = ""
    """Why it was not scanned: a kind of failure, never its text."""
    on_error: str = ""
    """What that led to: ``open`` or ``closed``; empty where nothing failed."""


class AuditRecord(Struct, frozen=True):
    """What was checked, by whom, what was found, and what was done."""

    agent_class: str
    request_id: str
    session_id: str
    direction: str
    characters: int
    """As far as they were looked at."""
    streamed: bool
    passed: bool
    action: str
    scan: Literal["complete", "not_scanned"]
    """``not_scanned``: at least one check did not say anything."""
    findings: tuple[AuditedFinding, ...] = ()
    """At or above their threshold, the first hundred."""
    findings_total: int = 0
    below_threshold: int = 0
    redactions: int = 0
    checks: tuple[CheckRun, ...] = ()


Sink = Callable[[AuditRecord], None]


class AuditTrail:
    """The newest records, and whoever else wants them."""

    def __init__(self, sink: Sink | None = None, *, kept: int = KEPT) -> None:
        """Keep so many, and tell each to `sink`, which must be quick."""
        self._sink = sink
        self._records: deque[AuditRecord] = deque(maxlen=kept)
        self.untold = 0
        """Records that the sink did not take."""

    @property
    def records(self) -> tuple[AuditRecord, ...]:
        """The newest ones, oldest first."""
        return tuple(self._records)

    def add(self, record: AuditRecord) -> None:
        """Keep a record. What the sink raises is logged and counted: the check stands."""
        self._records.append(record)
        if self._sink is None:
            return
        try:
            self._sink(record)
        except Exception:
            self.untold += 1
            log.exception("audit_sink_broke")
