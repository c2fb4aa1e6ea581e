"""The stretch of time that a page shows."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final

from msgspec import Struct

from navarch.dashboard.past import series
from navarch.dashboard.past.chronicle import Chronicle
from navarch.errors import WireError

DEFAULT: Final = "1h"
SHORTEST: Final = timedelta(minutes=5)
"""What is shown of a fleet that is younger than the window, at least."""


class Window(Struct):
    """From when to when, and since when anything is known."""

    name: str
    since: datetime
    until: datetime
    known_since: datetime
    """What happened before is not known here: it is too long ago, or too much."""

    @property
    def begins(self) -> datetime:
        """The first moment that is shown and known."""
        return min(max(self.since, self.known_since), self.until)

    def moments(self) -> list[float]:
        """The moments that are known, at equal distances."""
        return series.moments(self.begins, self.until)


def window_of(
    query: Mapping[str, str], chronicle: Chronicle, now: datetime, others: tuple[str, ...] = ()
) -> Window:
    """Read which window is asked for: ``window=1h`` and its like.

    Raises `WireError` with ``invalid_argument`` for another one, and for a key that is neither
    ``window`` nor one of `others`.
    """
    for key in query:
        if key != "window" and key not in others:
            raise WireError("invalid_argument", f"{key[:40]!r} is no part of this query")
    name = query.get("window", DEFAULT)
    if name not in series.WINDOWS:
        known = ", ".join(series.WINDOWS)
        raise WireError("invalid_argument", f"window: {name[:40]!r}, expected one of {known}")
    since = now - series.WINDOWS[name]
    if chronicle.began_at is not None:  # before it there was nothing
        since = min(max(since, chronicle.began_at), now - SHORTEST)
    return Window(name, since, now, chronicle.since or since)
