"""How everything here logs: an event word, and fields.

    log = Log(__name__)
    log.warning("launch_failed", instance=action.instance_id, error=str(error))

An event is one word of small letters, in the past tense where something happened, and it means the
same wherever it is logged; docs/logs.md lists them all. What it was about stands
in the fields, never in the word. Below it is Python's own `logging`, so that whoever embeds this
package gets its events in the way that they get all others, and tests catch them as usual: the
message of a record is an `Event`.

What holds for a while is bound once (`bound`): all events of the task, those of libraries too,
carry it then. That is how an event tells which fact of the journal has caused it (`seq`), or which
command (`command`).
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from types import MappingProxyType
from typing import Final

_NOTHING: Final[Mapping[str, object]] = MappingProxyType({})
_bound: ContextVar[Mapping[str, object]] = ContextVar("navarch_log_fields", default=_NOTHING)


class Event:
    """What happened: the message of a log record."""

    __slots__ = ("fields", "word")

    def __init__(self, word: str, fields: Mapping[str, object]) -> None:
        """Hold the word, and the fields with those that were bound."""
        self.word = word
        self.fields = fields

    def __str__(self) -> str:
        """Write it as in a terminal's log: the word, then ``key=value``; secrets are left out."""
        # Now, for it needs msgspec, which the command line and its client do without.
        from navarch.telemetry.writing import pairs  # noqa: PLC0415 - as above

        return " ".join([self.word, *pairs(self.fields)])


class Log:
    """Logs events under one name, which is the module's as a rule."""

    __slots__ = ("_logger",)

    def __init__(self, name: str) -> None:
        """Log under this name, ``__name__`` as a rule."""
        self._logger = logging.getLogger(name)  # noqa: TID251 - the one place that makes them

    def tells(self, level: int) -> bool:
        """Whether events of this level, such as `logging.DEBUG`, are kept. Cost: 0.1 µs."""
        return self._logger.isEnabledFor(level)

    def debug(self, word: str, /, **fields: object) -> None:
        """Log what only helps to find a mistake."""
        if self._logger.isEnabledFor(logging.DEBUG):
            self._say(logging.DEBUG, word, fields)

    def info(self, word: str, /, **fields: object) -> None:
        """Log what happened."""
        if self._logger.isEnabledFor(logging.INFO):
            self._say(logging.INFO, word, fields)

    def warning(self, word: str, /, **fields: object) -> None:
        """Log what went wrong and is dealt with."""
        if self._logger.isEnabledFor(logging.WARNING):
            self._say(logging.WARNING, word, fields)

    def error(self, word: str, /, *, raised: BaseException | None = None, **fields: object) -> None:
        """Log what went wrong and should be looked at; of `raised` the traceback as well."""
        if self._logger.isEnabledFor(logging.ERROR):
            self._say(logging.ERROR, word, fields, raised)

    def exception(self, word: str, /, **fields: object) -> None:
        """Log, as an error, what is being caught right now, with its traceback."""
        if self._logger.isEnabledFor(logging.ERROR):
            self._say(logging.ERROR, word, fields, sys.exception())

    def critical(
        self, word: str, /, *, raised: BaseException | None = None, **fields: object
    ) -> None:
        """Log why the process ends."""
        if self._logger.isEnabledFor(logging.CRITICAL):
            self._say(logging.CRITICAL, word, fields, raised)

    def at(self, level: int, word: str, /, **fields: object) -> None:
        """Log at a level that is known only now."""
        if self._logger.isEnabledFor(level):
            self._say(level, word, fields)

    def _say(
        self,
        level: int,
        word: str,
        fields: dict[str, object],
        raised: BaseException | None = None,
    ) -> None:
        around = _bound.get()
        if around:
            fields = {**around, **fields}
        self._logger.log(level, Event(word, fields), exc_info=raised, stacklevel=3)


@contextmanager
def bound(**fields: object) -> Iterator[None]:
    """Add fields to every event of this task until the end, and of those that it starts.

    Where a name is bound already, the inner value counts. Cost: 1 µs.
    """
    token = _bound.set({**_bound.get(), **fields})
    try:
        yield
    finally:
        _bound.reset(token)


def bound_fields() -> Mapping[str, object]:
    """Return what is bound here."""
    return _bound.get()
