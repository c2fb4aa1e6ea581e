"""Books of reports: how many different ones each node has sent, as they were really delivered."""

from __future__ import annotations

from navarch.core.model.messages import ReportHealth


class ReportBooks:
    """Counts different reports: one that comes again, whenever, has still said it once."""

    def __init__(self) -> None:
        """Have heard nothing."""
        self.counts: dict[str, int] = {}
        """By node."""
        self._before: dict[str, int] = {}
        self._known: dict[str, dict[int, ReportHealth]] = {}

    def begin_step(self) -> None:
        """Let what comes now be new, and all else be old."""
        self._before.clear()

    def forget(self) -> None:
        """Know no report any more: which have come before is known while a control plane lives."""
        self._known.clear()

    def count(self, report: ReportHealth) -> None:
        """Count a report that was delivered."""
        known = self._known.setdefault(report.node_id, {})
        if id(report) not in known:
            before = self.counts.get(report.node_id, 0)
            self._before.setdefault(report.node_id, before)
            self.counts[report.node_id] = before + 1
            known[id(report)] = report

    def before(self, node_id: str) -> int:
        """How many different reports a node had sent before this step, or before the newest."""
        newest = self.counts.get(node_id, 1) - 1
        return self._before.get(node_id, newest)
