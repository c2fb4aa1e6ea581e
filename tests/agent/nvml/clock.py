"""Time for the tests of this folder."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

START = datetime(2026, 1, 31, 12, tzinfo=UTC)


class Clock:
    """Time that passes when a test says so."""

    def __init__(self) -> None:
        """Begin at noon."""
        self.now = START

    def __call__(self) -> datetime:
        return self.now

    def wait(self, *, minutes: float) -> None:
        self.now += timedelta(minutes=minutes)
