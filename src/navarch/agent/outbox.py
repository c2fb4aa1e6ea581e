"""The health reports that the control plane has not taken yet, oldest first.

A report that was sent once is sent again unchanged until it is taken, so that the receiver can
tell a repetition. What is added to a full outbox is folded into the newest report: equal events
become one with a count. Only when even that does not fit is an event dropped, and then counted.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Final

from navarch.core.model import report
from navarch.core.model.messages import ReportHealth
from navarch.core.model.report import CheckResult, HealthEvent

REPORTS_MAX: Final = 32
"""Reports kept, at least 2: with one a minute, half an hour without a control plane in detail."""

EVENTS_MAX: Final = 500
"""Events a report. The wire allows 1,000 and 4 MiB: half of that leaves room for long messages."""

KEPT_EVENTS_MAX: Final = 2 * EVENTS_MAX
"""Events written down for the next run, the oldest first: a root cause comes before its flood."""

REFUSALS_MAX: Final = 20
"""How often one report may be refused, for whatever reason, before it is given up."""

REFUSED_FOR: Final = timedelta(minutes=10)
"""How long it is tried at least: a control plane with a full disk refuses everything."""


class Outbox:
    """What is still to be reported about one node."""

    def __init__(self, node_id: str, reports: Iterable[ReportHealth] = ()) -> None:
        """Begin with the reports of an earlier run, as many as there is room for."""
        self._node_id = node_id
        self._reports: deque[ReportHealth] = deque()
        for report_ in reports:
            if len(self._reports) < REPORTS_MAX:
                self._reports.append(report_)
        self._refusals = 0
        self._refused_since: datetime | None = None
        self.events_dropped = 0
        """How many events there was no room for."""
        self.version = 0
        """Grows whenever `lasting` may be another."""

    def __len__(self) -> int:
        """Count the reports."""
        return len(self._reports)

    @property
    def first(self) -> ReportHealth | None:
        """The report to send, until it is taken or given up; None when there is none."""
        return self._reports[0] if self._reports else None

    @property
    def lasting(self) -> tuple[ReportHealth, ...]:
        """The reports that the next run must know, oldest first: those with events.

        At most `KEPT_EVENTS_MAX` events. Checks are run anew anyway.
        """
        kept: list[ReportHealth] = []
        events = 0
        for waiting in self._reports:
            events += len(waiting.events)
            if events > KEPT_EVENTS_MAX:
                break
            if waiting.events:
                kept.append(waiting)
        return tuple(kept)

    def take_first(self) -> ReportHealth:
        """Remove the first report, for it was taken or can not be. There must be one."""
        self._refusals, self._refused_since = 0, None
        taken = self._reports.popleft()
        if taken.events:
            self.version += 1
        return taken

    def refused(self, now: datetime) -> bool:
        """Count a refusal of the first report; tell whether it is time to give it up."""
        self._refusals += 1
        self._refused_since = self._refused_since or now
        return self._refusals >= REFUSALS_MAX and now - self._refused_since >= REFUSED_FOR

    def add(self, results: tuple[CheckResult, ...], events: tuple[HealthEvent, ...]) -> None:
        """Keep what was found; nothing found is no report. Linear in the number of events."""
        events = report.folded(events)
        if events:
            self.version += 1
        while results or events:
            self._add(ReportHealth(self._node_id, results, events[:EVENTS_MAX]))
            results, events = (), events[EVENTS_MAX:]

    def _add(self, new: ReportHealth) -> None:
        if len(self._reports) < REPORTS_MAX:
            self._reports.append(new)
            return
        # The newest has never been sent: the first is another one, and only the first is sent.
        newest = self._reports.pop()
        results = {result.check_name: result for result in (*newest.results, *new.results)}
        events = report.folded((*newest.events, *new.events))
        self.events_dropped += sum(event.count for event in events[EVENTS_MAX:])
        merged = ReportHealth(self._node_id, tuple(results.values()), events[:EVENTS_MAX])
        self._reports.append(merged)
