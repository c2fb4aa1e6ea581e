"""Lines are written at once, or wait, or are dropped and counted; nobody waits for a reader."""

from __future__ import annotations

import asyncio
import fcntl
import json
import logging
import os
import threading
import time
from collections.abc import Iterator

import pytest

from navarch.telemetry import formats
from navarch.telemetry.outlet import BACKLOG_BYTES_MAX, PIECE_BYTES, Lines, Outlet

F_SETPIPE_SZ = 1031


class Pipe:
    """A pipe with little room, and what is read from it."""

    def __init__(self) -> None:
        self.read_end, self.write_end = os.pipe()
        fcntl.fcntl(self.write_end, F_SETPIPE_SZ, 8_192)
        self._outlets: list[Outlet] = []

    def outlet(self, backlog_bytes_max: int = BACKLOG_BYTES_MAX) -> Outlet:
        """Make an outlet that writes here."""
        outlet = Outlet(self.write_end, backlog_bytes_max=backlog_bytes_max)
        self._outlets.append(outlet)
        return outlet

    def read_until(self, last: bytes) -> list[bytes]:
        """Read lines until one begins so."""
        text = b""
        while not any(line.startswith(last) for line in text.split(b"\n")[:-1]):
            got = os.read(self.read_end, 65_536)
            assert got, text[-200:]
            text += got
        return text.split(b"\n")[:-1]

    def close(self) -> None:
        if self.read_end >= 0:
            os.close(self.read_end)
        # What still waits finds no reader. Later it would find whoever gets the same number next.
        assert all(outlet.flush() for outlet in self._outlets)
        os.close(self.write_end)


@pytest.fixture(name="pipe")
def _pipe() -> Iterator[Pipe]:
    pipe = Pipe()
    yield pipe
    pipe.close()


def test_where_there_is_room_a_line_is_there_at_once_and_no_thread_is_begun(pipe: Pipe) -> None:
    threads = threading.active_count()
    outlet = pipe.outlet()
    outlet.write(b"one\n")
    outlet.write(b"two\n")
    assert os.read(pipe.read_end, 100) == b"one\ntwo\n"
    assert threading.active_count() == threads


def test_a_reader_that_stands_still_stops_nobody_and_loses_nothing_that_fits(pipe: Pipe) -> None:
    outlet = pipe.outlet()
    began = time.thread_time()
    for number in range(3_000):
        outlet.write(b"%d %s\n" % (number, b"x" * 100))
    assert time.thread_time() - began < 1
    assert not outlet.flush(0.01)
    outlet.write(b"end\n")
    lines = pipe.read_until(b"end")
    assert [int(line.split()[0]) for line in lines[:-1]] == list(range(3_000))
    assert outlet.flush()
    assert outlet.dropped == 0


def test_the_loop_goes_on_while_nobody_reads(pipe: Pipe) -> None:
    handler = Lines(pipe.outlet(), formats.formatter("json", {}))

    async def story() -> float:
        loop = asyncio.get_running_loop()
        longest = 0.0
        for number in range(500):
            began = loop.time()
            handler.emit(logging.LogRecord("x", 20, "", 0, f"{number} {'x' * 200}", None, None))
            longest = max(longest, loop.time() - began)
            await asyncio.sleep(0)
        return longest

    assert asyncio.run(story()) < 1.0


def test_what_finds_no_room_is_dropped_and_the_gap_is_told(pipe: Pipe) -> None:
    outlet = pipe.outlet(backlog_bytes_max=20_000)
    handler = Lines(outlet, formats.formatter("json", {"service": "server"}))
    for _ in range(1_000):
        handler.emit(logging.LogRecord("x", 20, "", 0, "y" * 100, None, None))
    dropped = outlet.dropped
    assert 0 < dropped < 1_000
    text, told, gaps, others = b"", [], 0, 0
    while (gaps, others) != (dropped, 1_000 - dropped):
        text += os.read(pipe.read_end, 65_536)
        told = [json.loads(line) for line in text.split(b"\n")[:-1]]
        gaps = sum(each["count"] for each in told if each["event"] == "log_lines_dropped")
        others = sum(each["event"] == "library_message" for each in told)
    assert {each["level"] for each in told if "count" in each} == {"warning"}
    handler.emit(logging.LogRecord("x", 20, "", 0, "again", None, None))
    assert outlet.flush()
    assert b'"again"' in os.read(pipe.read_end, 1_000)


def test_a_line_that_no_pipe_takes_in_one_piece_comes_out_whole(pipe: Pipe) -> None:
    outlet = pipe.outlet()
    long = b"z" * (10 * PIECE_BYTES)
    outlet.write(b"%s\n" % long)
    outlet.write(b"end\n")
    assert pipe.read_until(b"end") == [long, b"end"]


def test_a_reader_that_is_gone_is_no_error(pipe: Pipe) -> None:
    os.close(pipe.read_end)
    pipe.read_end = -1
    outlet = pipe.outlet()
    outlet.write(b"one\n")
    outlet.write(b"%s\n" % (b"z" * 9_000))
    assert outlet.flush()
    assert outlet.dropped == 2


def test_a_pipe_that_somebody_made_non_blocking_loses_nothing(pipe: Pipe) -> None:
    os.set_blocking(pipe.write_end, False)
    outlet = pipe.outlet()
    for number in range(500):
        outlet.write(b"%d %s\n" % (number, b"x" * 100))
    outlet.write(b"end\n")
    assert len(pipe.read_until(b"end")) == 501
    assert outlet.dropped == 0


def test_the_last_words_of_a_process_are_written_before_it_goes_on(pipe: Pipe) -> None:
    handler = Lines(pipe.outlet(), formats.formatter("json", {}))
    for _ in range(200):
        handler.emit(logging.LogRecord("x", 20, "", 0, "y" * 100, None, None))
    reader = threading.Thread(target=pipe.read_until, args=(b'{"time":"2001-09-09',))
    reader.start()
    last = logging.LogRecord("x", logging.CRITICAL, "", 0, "the end", None, None)
    last.created = 1_000_000_000.0
    handler.emit(last)
    reader.join(5)
    assert not reader.is_alive()
