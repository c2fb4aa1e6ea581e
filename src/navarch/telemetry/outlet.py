"""Where lines go: to a file descriptor that others may read slowly, or not at all.

A pipe whose reader stands still would stop whoever writes to it, the event loop too. So a line is
written directly only where that cannot wait: when nothing is behind, when it is no longer than
what a pipe takes in one piece, and when the system says that there is room. Otherwise it waits in
a queue of `BACKLOG_BYTES_MAX`, which a thread writes; and when that is full it is dropped, counted,
and the count is logged as soon as there is room again (``log_lines_dropped``). Order is kept.

At the end of the process what is queued is written for `FLUSH_SECONDS` at most.
"""

from __future__ import annotations

import atexit
import logging
import os
import select
import threading
from collections import deque
from collections.abc import Callable
from typing import Final

BACKLOG_BYTES_MAX: Final = 4 * 1024 * 1024
"""Bytes of lines that wait for a slow reader: some ten thousand lines."""
FLUSH_SECONDS: Final = 2.0
"""How long the end of a process waits for a slow reader of its log."""
PIECE_BYTES: Final = select.PIPE_BUF
"""What a pipe that has room at all takes without a wait (pipe(7), poll(2), read 2026)."""
_READY: Final = select.POLLOUT | select.POLLERR | select.POLLHUP | select.POLLNVAL


class Outlet:
    """Writes lines to a file descriptor, from any thread, and never waits for its reader."""

    def __init__(self, descriptor: int, *, backlog_bytes_max: int = BACKLOG_BYTES_MAX) -> None:
        """Write there. Nothing is begun before a line has to wait."""
        self._descriptor = descriptor
        self._backlog_bytes_max = backlog_bytes_max
        self._poll = select.poll()
        self._poll.register(descriptor, select.POLLOUT)
        self._changed = threading.Condition()
        self._backlog: deque[bytes] = deque()
        self._backlog_bytes = 0
        self._writing = False
        self._thread: threading.Thread | None = None
        self.dropped = 0
        """Lines that found no room, or that nobody could be given, since the start."""
        self._unsaid = 0
        self.tell_dropped: Callable[[int], bytes] | None = None
        """Makes the line that says how many lines were dropped; None: nothing says so."""

    def write(self, line: bytes) -> None:
        """Write a line, or let it wait, or drop it. Never raises. Cost: 2 µs to a pipe."""
        with self._changed:
            if self._backlog or self._writing:
                self._wait_for_room(line)
            elif len(line) <= PIECE_BYTES and self._has_room():
                self._write(line)
            else:
                self._wait_for_room(line)

    def flush(self, seconds: float = FLUSH_SECONDS) -> bool:
        """Wait until nothing waits any more; False when that takes longer than this."""
        with self._changed:
            return self._changed.wait_for(
                lambda: not self._backlog and not self._writing, timeout=seconds
            )

    def _has_room(self) -> bool:
        return any(state & _READY for _, state in self._poll.poll(0))

    def _wait_for_room(self, line: bytes) -> None:
        if self._backlog and self._backlog_bytes + len(line) > self._backlog_bytes_max:
            self.dropped += 1
            self._unsaid += 1
            return
        self._tell_gap()
        self._backlog.append(line)
        self._backlog_bytes += len(line)
        if self._thread is None:
            self._thread = threading.Thread(target=self._drain, name="log", daemon=True)
            self._thread.start()
        self._changed.notify_all()

    def _drain(self) -> None:
        while True:
            with self._changed:
                self._writing = False
                if not self._backlog:
                    self._tell_gap()
                self._changed.notify_all()
                while not self._backlog:
                    self._changed.wait()
                line = self._backlog.popleft()
                self._backlog_bytes -= len(line)
                self._writing = True
            self._write(line)

    def _tell_gap(self) -> None:
        """Have it said, where the lines that were dropped would stand, how many they were."""
        if self._unsaid and self.tell_dropped is not None:
            line = self.tell_dropped(self._unsaid)
            self._unsaid = 0
            self._backlog.append(line)
            self._backlog_bytes += len(line)

    def _write(self, line: bytes) -> None:
        """Write all of a line, however long that takes; what nobody can be given is dropped."""
        left = memoryview(line)
        while left:
            try:
                left = left[os.write(self._descriptor, left) :]
            except BlockingIOError:  # somebody made it non-blocking
                self._poll.poll()
            except OSError:  # the reader is gone, or the disk is full
                self.dropped += 1
                return


class Lines(logging.Handler):
    """Formats records and writes them to an outlet."""

    def __init__(self, outlet: Outlet, formatter: logging.Formatter) -> None:
        """Write to `outlet` in this form."""
        super().__init__()
        self.outlet = outlet
        self.setFormatter(formatter)
        outlet.tell_dropped = self._dropped
        atexit.register(outlet.flush)

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record. Of the last words of a process all is written before it goes on."""
        self.outlet.write(self.format(record).encode("utf-8", "backslashreplace") + b"\n")
        if record.levelno >= logging.CRITICAL:
            self.outlet.flush()

    def _dropped(self, count: int) -> bytes:
        from navarch.telemetry.log import Event  # noqa: PLC0415 - only where something is lost

        message = Event("log_lines_dropped", {"count": count})
        record = logging.LogRecord(
            __name__, logging.WARNING, __file__, 0, message, None, exc_info=None
        )
        return self.format(record).encode() + b"\n"
