"""A file that is on its way: what has come of it, and the proof that it is what came.

::

    7.part    the content, at its places
    7.chunks  one record a chunk: number, CRC-32 of the content, where from, CRC-32 of the record

A chunk is recorded after it was written, by one small append, so a process that is killed loses
only what it had not recorded. Nothing rests on the order in which a disk keeps the two files: when
a part is opened, each recorded chunk is read back and held against its CRC, so content that a power
cut tore or lost is fetched again. A torn record at the end is cut off.
"""

from __future__ import annotations

import os
import struct
import threading
import zlib
from pathlib import Path
from typing import Final

CHUNK_BYTES: Final = 1024 * 1024
"""The unit of all records. Part of the format on disk, and of what peers tell each other."""

_RECORD: Final = struct.Struct("<IIII")
FROM_PEER: Final = 1


class Part:
    """One file that is on its way. Any number of threads may write to it."""

    def __init__(self, folder: Path, number: int, size: int, chunk: int = CHUNK_BYTES) -> None:
        """Open what is there, or begin. Blocks while what is there is read back.

        Raises `OSError`.
        """
        self.path = folder / f"{number}.part"
        self.size = size
        self.chunk = chunk
        self.count = chunks_of(size, chunk)
        self._log = folder / f"{number}.chunks"
        self._lock = threading.Lock()
        self._crcs: dict[int, tuple[int, int]] = {}
        """By number of the chunk: its CRC, and where it came from."""
        self._fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            self._log_fd = os.open(
                self._log, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644
            )
        except OSError:
            os.close(self._fd)
            raise
        try:
            self._recover()
        except OSError:
            self.close()
            raise

    @property
    def bytes_done(self) -> int:
        """How much has come."""
        with self._lock:
            return sum(self.length(number) for number in self._crcs)

    def length(self, number: int) -> int:
        """Bytes of a chunk; only the last one may be shorter."""
        return min(self.chunk, self.size - number * self.chunk)

    def missing(self) -> list[int]:
        """List the chunks that have not come, in order."""
        with self._lock:
            return [number for number in range(self.count) if number not in self._crcs]

    def has(self, number: int) -> bool:
        """Whether a chunk has come."""
        with self._lock:
            return number in self._crcs

    def crc(self, number: int) -> int:
        """Return the CRC of a chunk that has come."""
        with self._lock:
            return self._crcs[number][0]

    def from_peers(self) -> list[int]:
        """List the chunks that came from peers."""
        with self._lock:
            return [number for number, (_, origin) in self._crcs.items() if origin == FROM_PEER]

    def crcs(self) -> list[int]:
        """Return the CRC of each chunk; all must have come."""
        with self._lock:
            return [self._crcs[number][0] for number in range(self.count)]

    def write(self, number: int, content: memoryview, *, from_peer: bool = False) -> None:
        """Keep a chunk. Raises `OSError`, such as for a disk that is full."""
        assert len(content) == self.length(number), "a chunk is written as a whole"
        done = 0
        while done < len(content):
            done += os.pwrite(self._fd, content[done:], number * self.chunk + done)
        crc = zlib.crc32(content)
        origin = FROM_PEER if from_peer else 0
        record = _record(number, crc, origin)
        with self._lock:
            if os.write(self._log_fd, record) != len(record):
                raise OSError(f"{self._log}: a record was cut short")
            self._crcs[number] = (crc, origin)

    @property
    def whole(self) -> bool:
        """Whether all chunks have come."""
        with self._lock:
            return len(self._crcs) == self.count

    def read_into(self, number: int, buffer: memoryview) -> memoryview:
        """Read a chunk back and return it, as the disk has it. Raises `OSError`."""
        length = self.length(number)
        if os.preadv(self._fd, [buffer[:length]], number * self.chunk) != length:
            raise OSError(f"{self.path}: the disk does not give back what was written to it")
        return buffer[:length]

    def forget(self, numbers: list[int]) -> None:
        """Take chunks for not come."""
        with self._lock:
            for number in numbers:
                self._crcs.pop(number, None)
            self._rewrite()

    def sync(self) -> None:
        """Make content durable, then the records of it."""
        os.fdatasync(self._fd)
        os.fsync(self._log_fd)

    def close(self) -> None:
        """Let go of the files."""
        os.close(self._fd)
        os.close(self._log_fd)

    def remove_log(self) -> None:
        """Forget the records, when the content has gone where it belongs."""
        self._log.unlink(missing_ok=True)

    def _recover(self) -> None:
        log = os.pread(self._log_fd, os.fstat(self._log_fd).st_size, 0)
        buffer = memoryview(bytearray(self.chunk))
        for number, crc, origin in records(log):
            if number < self.count:
                self._crcs[number] = (crc, origin)
        kept = dict(self._crcs)
        for number in kept:
            if not self._is_there(number, buffer):
                del self._crcs[number]
        if len(log) != len(self._crcs) * _RECORD.size:  # torn, damaged, or with repetitions
            self._rewrite()
        os.ftruncate(self._fd, self.size)

    def _is_there(self, number: int, buffer: memoryview) -> bool:
        """Whether the disk has what was recorded of a chunk."""
        try:
            content = self.read_into(number, buffer)
        except OSError:
            return False
        return zlib.crc32(content) == self._crcs[number][0]

    def _rewrite(self) -> None:
        """Write the records anew. A crash in between costs content, never truth."""
        os.ftruncate(self._log_fd, 0)
        content = b"".join(_record(number, *each) for number, each in self._crcs.items())
        if os.write(self._log_fd, content) != len(content):
            raise OSError(f"{self._log}: the records were cut short")


def _record(number: int, crc: int, origin: int) -> bytes:
    head = _RECORD.pack(number, crc, origin, 0)[:12]
    return head + struct.pack("<I", zlib.crc32(head))


def records(log: bytes) -> list[tuple[int, int, int]]:
    """Read (number, CRC, origin) of each record, as far as they are whole."""
    found: list[tuple[int, int, int]] = []
    for start in range(0, len(log) - _RECORD.size + 1, _RECORD.size):
        number, crc, origin, own = _RECORD.unpack_from(log, start)
        if zlib.crc32(log[start : start + 12]) != own:
            break
        found.append((number, crc, origin))
    return found


def chunks_of(size: int, chunk: int) -> int:
    """Count the chunks of a file."""
    return -(-size // chunk)
