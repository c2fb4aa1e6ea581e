"""What a daemon writes to its standard error: one line a record."""

from __future__ import annotations

import logging
import time


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


def to_stderr() -> None:
    """Send all logs of this process to its standard error."""
    formatter = Lines()
    formatter.converter = time.gmtime
    stderr = logging.StreamHandler()
    stderr.setFormatter(formatter)
    logging.basicConfig(level=logging.INFO, handlers=[stderr], force=True)
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
