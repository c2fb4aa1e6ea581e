"""How the bytes of a Linux kernel log become records, in whichever form the log is kept.

Pure and bounded: any bytes in any pieces give records, never an error, and a line of ten megabytes
costs no more memory than a short one.
"""

from __future__ import annotations

import re
from typing import Final

from msgspec import Struct

LINE_BYTES_MAX: Final = 8 * 1024
"""More of a line is not looked at. The kernel's own records are shorter (CONSOLE_EXT_LOG_MAX)."""


class Record(Struct, frozen=True):
    """One line of a kernel log, taken apart."""

    text: str
    """What the kernel said, without header; control characters made spaces."""
    level: int = -1
    """From 0, emergency, to 7, debug; -1 when the line does not say. The facility is dropped:
    what user space writes into the log is as good as what drivers write."""
    sequence: int = -1
    """The record's number since boot; -1 when the line has none."""
    microseconds: int = -1
    """Time since boot; -1 when the line has none."""


class LineCutter:
    """Cuts a stream of bytes into lines, wherever the stream was cut into pieces.

    A line counts when its newline is there: half a line could say XID 7 where XID 79 was meant.
    """

    def __init__(self) -> None:
        """Begin at the beginning of a line."""
        self._head = b""
        self._skipping = False
        self.unfinished_bytes = 0
        """The length of the line that has not ended yet, also of what was not kept of it."""

    def restart(self, *, inside_a_line: bool = False) -> None:
        """Forget the unfinished line. `inside_a_line` leaves out what comes before a newline."""
        self._head = b""
        self._skipping = inside_a_line
        self.unfinished_bytes = 0

    def cut(self, piece: bytes) -> list[bytes]:
        """Return the lines that end in this piece, each cut to `LINE_BYTES_MAX`, without newline.

        Cost: linear in the piece; at most `LINE_BYTES_MAX` bytes are kept for the next one.
        """
        first, *lines = piece.split(b"\n")
        self._head = (self._head + first)[:LINE_BYTES_MAX]
        self.unfinished_bytes += len(first)
        if not lines:
            return []
        finished = [] if self._skipping else [self._head]
        last = lines.pop()
        finished.extend(line[:LINE_BYTES_MAX] for line in lines)
        self._head, self.unfinished_bytes = last[:LINE_BYTES_MAX], len(last)
        self._skipping = False
        return finished


_KMSG_HEADER: Final = re.compile(rb"(\d{1,9}),(\d{1,19}),(\d{1,19}),[^;\n]{0,200};")
_KMSG_ESCAPE: Final = re.compile(rb"\\x([0-9a-fA-F]{2})")
_PLAIN_HEADER: Final = re.compile(
    rb"(?:<(\d{1,9})>)?"
    rb"(?:(?:(?:[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d|\d{4}-\d\d-\d\dT\S{1,40})"
    rb" \S{1,255} )?kernel: )?"
    rb"(?:\[[ \d.]{3,24}\](?:\[ *[CT]\d{1,9}\])? |\[[^\]]{10,40}\] )?"
)
_CONTROL: Final = dict.fromkeys([*range(32), *range(127, 160)], " ")


def parse_record(line: bytes) -> Record:
    r"""Take one line of a log apart, in whichever form it is; anything at all is a record.

    Forms: ``prio,sequence,microseconds,flags;text`` of /dev/kmsg, whose ``\xNN`` are decoded; a
    syslog line (``Jan 31 12:00:00 host kernel: text``); what dmesg prints (``[  12.345] text``,
    ``<4>text``); and bare text. Lines that begin with a space continue a record of /dev/kmsg with
    the names of its device: they are none of their own, and are left out beforehand.

    Source: Linux, Documentation/ABI/testing/dev-kmsg, as of November 2026.
    """
    line = line[:LINE_BYTES_MAX]
    if header := _KMSG_HEADER.match(line):
        said = _KMSG_ESCAPE.sub(lambda escape: bytes([int(escape[1], 16)]), line[header.end() :])
        return Record(_text(said), int(header[1]) & 7, int(header[2]), int(header[3]))
    plain = _PLAIN_HEADER.match(line)
    level = int(plain[1]) & 7 if plain and plain[1] else -1
    return Record(_text(line[plain.end() if plain else 0 :]), level)


def _text(said: bytes) -> str:
    return said.decode(errors="replace").translate(_CONTROL).rstrip()


def text_start(line: bytes) -> int:
    """Tell, quickly, where the text of a line begins. At most as far as `parse_record` finds it."""
    if b"," in line[:10] and line[:1].isdigit():
        return line.find(b";", 0, 260) + 1
    plain = _PLAIN_HEADER.match(line)
    return plain.end() if plain else 0


def sequence_of(line: bytes) -> int:
    """Read a record's number, quickly; -1 when the line has none."""
    parts = line[:64].split(b",", 2)
    return int(parts[1]) if len(parts) == 3 and parts[0].isdigit() and parts[1].isdigit() else -1


def bus_id(address: str) -> str:
    """Spell a PCI address in the one way that is used here, like ``0000:3b:00.0``.

    Takes 4 or 8 digits of domain or none, capital letters, and a missing function. Empty when it
    is no address.

    >>> bus_id("00000000:3B:00.0"), bus_id("3b:00"), bus_id("bus 3")
    ('0000:3b:00.0', '0000:3b:00.0', '')
    """
    match = _ADDRESS.fullmatch(address.strip())
    if not match:
        return ""
    domain = int(match[1] or "0", 16)
    return f"{domain:04x}:{match[2]}:{match[3]}.{match[4] or '0'}".lower()


_ADDRESS: Final = re.compile(
    r"(?:([0-9a-fA-F]{1,8}):)?([0-9a-fA-F]{2}):([0-9a-fA-F]{2})(?:\.([0-7]))?"
)
