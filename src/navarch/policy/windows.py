"""Windows of time, as rules write them: ``"90s"``, ``"5m"``, ``"1h30m"``, ``"1d"``."""

from __future__ import annotations

import re
from datetime import timedelta
from functools import lru_cache
from typing import Final

WINDOW_MIN: Final = timedelta(minutes=1)
"""The shortest window: events are counted by the minute."""
WINDOW_MAX: Final = timedelta(hours=24)
"""The longest window: a node's counts are kept for a day."""

_FORM = re.compile(r"(?:(\d{1,5})d)?(?:(\d{1,6})h)?(?:(\d{1,6})m)?(?:(\d{1,7})s)?")


@lru_cache(maxsize=1024)
def parse_window(text: str) -> timedelta:
    """Read a length of time.

    Raises `ValueError` if it is none, or names nothing but zero.
    """
    found = _FORM.fullmatch(text)
    if found is None or not any(found.groups()):
        raise ValueError(f'expected a length of time such as "90s", "5m" or "1h", got "{text}"')
    days, hours, minutes, seconds = (int(each or 0) for each in found.groups())
    window = timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)
    if not window:
        raise ValueError(f'expected a length of time above zero, got "{text}"')
    return window
