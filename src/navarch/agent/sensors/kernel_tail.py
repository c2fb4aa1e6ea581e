"""Following a kernel log: the device, a file that is rotated, or a pipe.

::

    what             begins at                     comes back after
    /dev/kmsg        its oldest record             being away: at its oldest record
    a plain file     its end, or a kept place      being replaced or cut short: at its beginning
    a pipe (FIFO)    what is written from now on   being replaced: at once

A file that was not there is read from its beginning once it is. What was left unread in a file that
was moved away is read before the new one. A file that is cut short and grows beyond the old end
between two turns looks as if it had only grown: what was written into the gap is lost unseen.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from msgspec import Struct

from navarch.agent.sensors.kernel_records import LineCutter

PIECE_BYTES: Final = 16 * 1024
"""What is read at once; a read of /dev/kmsg fails if its record, of at most 8 KiB, does not fit."""

BACKLOG_BYTES_MAX: Final = 64 * 1024 * 1024
"""A file with more than this unread is read from this far before its end: several days of a usual
log, and what is left of a log that somebody floods."""

OVERRUNS_MAX: Final = 8
"""How often in a row the kernel may say that we were too slow, before a turn is given up."""


class Place(Struct, frozen=True):
    """Where in a plain file reading stopped."""

    device: int
    inode: int
    offset: int
    """Bytes from the beginning, where a line begins."""


class KernelTail:
    """Gives the lines that were added to one log since it was asked last."""

    def __init__(
        self,
        path: Path,
        *,
        kept: Place | None = None,
        read: Callable[[int, int], bytes] = os.read,
    ) -> None:
        """Open the log, if that is possible now; else each turn tries again.

        `kept` is the place where an earlier process stopped in a plain file.
        """
        self._path = path
        self._read = read
        self._cutter = LineCutter()
        self._file = -1
        self._mode = self._device = self._inode = 0
        self._offset = 0
        self._kept = kept
        self._from_beginning = False
        """Whether the next plain file is new: after one that was read, or after none was there."""
        self._path_trouble = self._read_trouble = ""
        self.opened = 0
        """How often the log was opened."""
        self.overruns = 0
        """How often the kernel said that records were overwritten before they were read."""
        self.bytes_skipped = 0
        """How much of a plain file was too much to be read."""
        self.look()

    @property
    def trouble(self) -> str:
        """Why the log cannot be read now, and what would help; empty when it can."""
        return self._path_trouble or self._read_trouble

    @property
    def numbered(self) -> bool:
        """Whether the log is the kernel's own, whose records have numbers without gaps."""
        return stat.S_ISCHR(self._mode)

    @property
    def place(self) -> Place | None:
        """Where the next unread line of a plain file begins; None for another log or none."""
        if self._file < 0 or not stat.S_ISREG(self._mode):
            return None
        offset = self._offset - self._cutter.unfinished_bytes
        return Place(self._device, self._inode, offset)

    def look(self) -> None:
        """Open the log if it is not, and see whether it is still there; reads nothing of it."""
        if self._file < 0:
            self._open()
        else:
            self._is_there()

    def skip_to_end(self) -> None:
        """Leave out what has not been read yet."""
        if self._file >= 0:
            os.lseek(self._file, 0, os.SEEK_END)

    def close(self) -> None:
        """Let go of the log; the next turn opens it anew."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def turn(self) -> Iterator[list[bytes]]:
        """Yield the lines that are there, piece by piece, until there are no more.

        The caller may stop earlier: the rest is for the next turn.
        """
        overruns = 0
        if self._file < 0 and not self._open():
            return
        self._skip_backlog()
        while self._file >= 0:
            try:
                piece = self._read(self._file, PIECE_BYTES)
            except BlockingIOError:
                piece = b""
            except BrokenPipeError:  # records were overwritten; the next read gives the oldest left
                overruns += 1
                self.overruns += 1
                if overruns >= OVERRUNS_MAX:
                    return
                continue
            except OSError as error:
                # Opening it anew is no proof that it can be read: only a reading is.
                self._read_trouble = self._explained(error)
                self._let_go()
                return
            self._read_trouble = ""
            if piece:
                overruns = 0
                self._offset += len(piece)
                yield self._cutter.cut(piece)
            elif not self._follow():
                return

    # --- opening -----------------------------------------------------------------------------

    def _open(self) -> bool:
        try:
            file = os.open(self._path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            self._fail(error)
            return False
        self._file = file
        status = os.fstat(file)
        self._mode, self._device, self._inode = status.st_mode, status.st_dev, status.st_ino
        self._offset = 0
        self._cutter.restart()
        try:
            if stat.S_ISDIR(self._mode):
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
            if stat.S_ISREG(self._mode):
                self._find_place()
        except OSError as error:
            self._fail(error)
            return False
        self._path_trouble = ""
        self.opened += 1
        self._kept = None
        self._from_beginning = True
        return True

    def _find_place(self) -> None:
        """Go to where reading begins in a plain file."""
        status = os.fstat(self._file)
        kept = self._kept
        if kept and (kept.device, kept.inode) == (status.st_dev, status.st_ino):
            # A file that is shorter than what was read of it was cut short, and begun anew.
            self._offset = kept.offset if 0 <= kept.offset <= status.st_size else 0
        elif not (self._from_beginning or kept):
            self._offset = status.st_size
        os.lseek(self._file, self._offset, os.SEEK_SET)
        self._cutter.restart(inside_a_line=self._inside_a_line())

    def _inside_a_line(self) -> bool:
        return self._offset > 0 and os.pread(self._file, 1, self._offset - 1) != b"\n"

    def _skip_backlog(self) -> None:
        if not stat.S_ISREG(self._mode):
            return
        unread = os.fstat(self._file).st_size - self._offset
        if unread > BACKLOG_BYTES_MAX:
            self.bytes_skipped += unread - BACKLOG_BYTES_MAX
            self._offset += unread - BACKLOG_BYTES_MAX
            os.lseek(self._file, self._offset, os.SEEK_SET)
            self._cutter.restart(inside_a_line=True)

    # --- what becomes of the path ------------------------------------------------------------

    def _follow(self) -> bool:
        """See what has become of the log when nothing is left; tell whether to read on."""
        there = self._is_there()
        if there is None:
            # What is open is kept: a file that is moved away may still grow for a moment.
            return False
        if (there.st_dev, there.st_ino) != (self._device, self._inode):
            self.close()
            return self._open()
        if stat.S_ISREG(self._mode) and there.st_size < self._offset:
            self._offset = os.lseek(self._file, 0, os.SEEK_SET)
            self._cutter.restart()
            return there.st_size > 0
        return False

    def _is_there(self) -> os.stat_result | None:
        try:
            there = self._path.stat()
        except OSError as error:
            self._path_trouble = self._explained(error)
            return None
        self._path_trouble = ""
        return there

    def _fail(self, error: OSError) -> None:
        self._path_trouble = self._explained(error)
        self._from_beginning = self._from_beginning or error.errno == errno.ENOENT
        self._let_go()

    def _let_go(self) -> None:
        """Close the log, but keep the place in it."""
        self._kept = self.place or self._kept
        self.close()

    def _explained(self, error: OSError) -> str:
        helps = {
            errno.ENOENT: "name the kernel's log; in a container, pass /dev/kmsg in",
            errno.EACCES: "run the agent as root, or give it CAP_SYSLOG",
            errno.EPERM: "run the agent as root, or give it CAP_SYSLOG",
        }.get(error.errno or 0, "name a device, a file or a pipe that can be read")
        return f"{self._path}: cannot be read: {error.strerror}: {helps}"
