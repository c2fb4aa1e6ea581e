"""The command line's only reading of time, for ages in tables and for waiting between attempts.

People read "3s ago" by the clock on their own wall, so the local clock is the right one here, and
nothing is decided by it.
"""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta


def now() -> datetime:
    """Return the time in UTC."""
    return datetime.now(UTC)


def wait(duration: timedelta) -> None:
    """Wait; Ctrl-C ends it."""
    threading.Event().wait(duration.total_seconds())
