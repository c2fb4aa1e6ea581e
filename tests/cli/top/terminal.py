"""A real terminal with the program in it, as a person has one."""

from __future__ import annotations

import os
import pty
import re
import select
import struct
import sys
import termios
import time
from contextlib import suppress
from fcntl import ioctl

SECONDS = 40.0
"""How long is waited for what shall be seen: many times what it takes on an idle machine."""


class Terminal:
    """A real pseudo-terminal of 80 by 24 with the program in it."""

    def __init__(self, *words: str, **environ: str) -> None:
        """Run ``navarch`` with these words and variables."""
        self.text = ""
        self._pressed_at = 0
        self.pid, self._file = pty.fork()
        if self.pid == 0:  # the child becomes the program, or ends
            try:
                size = struct.pack("HHHH", 24, 80, 0, 0)
                ioctl(1, termios.TIOCSWINSZ, size)
                os.execve(  # noqa: S606 - a terminal is what is tested
                    sys.executable,
                    [sys.executable, "-m", "navarch", *words],
                    {**os.environ, "TERM": "xterm-256color", **environ},
                )
            finally:
                os._exit(127)

    def until(self, words: str) -> None:
        """Read until the screen was sent these words."""
        deadline = time.monotonic() + SECONDS  # noqa: TID251 - a real process is waited for
        while words not in self.plain:
            assert time.monotonic() < deadline, self.plain[-4000:]  # noqa: TID251 - as above
            if select.select([self._file], [], [], 0.2)[0]:
                self.text += os.read(self._file, 65536).decode(errors="replace")

    def rest(self, seconds: float) -> None:
        """Take what is drawn for a while, and look at none of it."""
        deadline = time.monotonic() + seconds  # noqa: TID251 - as above
        while time.monotonic() < deadline:  # noqa: TID251 - as above
            if select.select([self._file], [], [], 0.2)[0]:
                os.read(self._file, 65536)

    @property
    def plain(self) -> str:
        """What was sent since keys were last pressed, without colours and movements."""
        return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", self.text[self._pressed_at :])

    def press(self, keys: str) -> None:
        """Press keys. An escape has to be alone: with what follows it is another key."""
        self._pressed_at = len(self.text)
        os.write(self._file, keys.encode())

    def ended(self) -> int:
        """Wait for its end, and return its exit code."""
        with suppress(OSError):  # the other end is closed: EIO
            while more := os.read(self._file, 65536):
                self.text += more.decode(errors="replace")
        _, status = os.waitpid(self.pid, 0)
        os.close(self._file)
        return os.waitstatus_to_exitcode(status)
