"""What a daemon writes to its standard error: one line a record."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Mapping
from typing import Final

from navarch.errors import ConfigError

LEVELS: Final = ("debug", "info", "warning", "error")
"""What ``LOG_LEVEL`` may say."""


class Lines(logging.Formatter):
    """One line a record: time, level, where from, what, and the facts as key=value."""

    def format(self, record: logging.LogRecord) -> str:
        """Write a record; a traceback follows on lines of its own."""
        at = self.formatTime(record, "%Y-%m-%dT%H:%M:%S")
        line = f"{at}.{record.msecs:03.0f}Z {record.levelname:<7} {record.getMessage()}"
        fact = getattr(record, "fact", None)
        if fact is not None:
            line += f" fact={fact}"
        if record.exc_info:
            line += "\n" + self.formatException(record.exc_info)
        return line


def level_of(environ: Mapping[str, str]) -> int:
    """How much is logged: what ``LOG_LEVEL`` says, else info.

    Raises `ConfigError` when it is no level.
    """
    word = environ.get("LOG_LEVEL", "").strip().lower() or "info"
    if word not in LEVELS:
        message = f"LOG_LEVEL is {word[:40]!r}, expected one of {', '.join(LEVELS)}"
        raise ConfigError(message)
    return logging.getLevelNamesMapping()[word.upper()]


def to_stderr(environ: Mapping[str, str] = os.environ) -> None:
    """Send all logs of this process to its standard error, down to the level of ``LOG_LEVEL``.

    Libraries stay at info. Raises `ConfigError` when that is no level.
    """
    level = level_of(environ)
    formatter = Lines()
    formatter.converter = time.gmtime
    stderr = logging.StreamHandler()
    stderr.setFormatter(formatter)
    logging.basicConfig(level=max(level, logging.INFO), handlers=[stderr], force=True)
    logging.getLogger("navarch").setLevel(level)
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
