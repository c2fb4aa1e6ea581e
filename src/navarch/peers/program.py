"""Running a program that prints an answer: a deadline, a limit, and nothing left behind.

Slurm is spoken to through its own commands, which may sit behind ``ssh`` or a container's ``exec``;
so a whole process group is started, and a whole group is ended.
"""

from __future__ import annotations

import asyncio
import os
import signal
from asyncio import StreamReader
from asyncio.subprocess import PIPE, Process
from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta
from subprocess import DEVNULL
from typing import Final

from msgspec import Struct

from navarch.peers.unanswered import Unanswered

COMPLAINT_BYTES: Final = 300
"""How much of what a program complains is quoted."""

CHUNK_BYTES: Final = 1 << 16
"""How much is read at a time: what a pipe holds."""

PIPES_SECONDS: Final = 1.0
"""How long the pipes of a dead program are given to run dry."""


class Run(Struct, frozen=True):
    """What a program that has ended left behind."""

    status: int
    """0 for success; negative where a signal has ended it."""
    printed: bytes
    complained: str
    """The beginning of its standard error, on one line."""


async def output(command: Sequence[str], *, deadline: timedelta, bytes_max: int) -> bytes:
    """Run a program without input and return what it printed.

    :raises Unanswered: as for `run`, and if it fails; what it complained is in the text
    """
    ended = await run(command, deadline=deadline, bytes_max=bytes_max)
    if ended.status != 0:
        raise Unanswered(f"{command[0]} ended with {ended.status}: {ended.complained or 'no word'}")
    return ended.printed


async def run(command: Sequence[str], *, deadline: timedelta, bytes_max: int) -> Run:
    """Run a program without input until it ends, well or badly.

    Whatever happens, cancellation included, it and its children are gone afterwards.

    :raises Unanswered: it cannot be started, takes longer than `deadline`, or prints more than
        `bytes_max`
    """
    try:
        process = await asyncio.create_subprocess_exec(
            *command, stdin=DEVNULL, stdout=PIPE, stderr=PIPE, start_new_session=True
        )
    except OSError as cause:
        raise Unanswered(f"{command[0]} cannot be run: {cause.strerror}") from cause
    try:
        async with asyncio.timeout(deadline.total_seconds()):
            return await _answer(process, command[0], bytes_max)
    except TimeoutError as cause:
        within = f"{deadline.total_seconds():g} s"
        raise Unanswered(f"{' '.join(command)}: no answer within {within}") from cause
    finally:
        await _end(process)


async def _answer(process: Process, name: str, bytes_max: int) -> Run:
    assert process.stderr is not None
    printed, complained = await asyncio.gather(
        _printed(process, bytes_max), _complained(process.stderr)
    )
    if len(printed) > bytes_max:
        raise Unanswered(f"{name} printed more than {bytes_max} bytes")
    return Run(await process.wait(), printed, complained)


async def _printed(process: Process, bytes_max: int) -> bytes:
    """Read to the end, or to the limit and a little more; the program is ended there."""
    assert process.stdout is not None
    content = bytearray()
    while chunk := await process.stdout.read(CHUNK_BYTES):
        if len(content) <= bytes_max:
            content += chunk
        if len(content) > bytes_max:
            _kill(process)
    return bytes(content)


async def _complained(stream: StreamReader) -> str:
    """Read to the end, so that the program never waits for us, and keep the beginning."""
    start = bytearray()
    while chunk := await stream.read(CHUNK_BYTES):
        start += chunk[: COMPLAINT_BYTES - len(start)]
    return " ".join(start.decode(errors="replace").split())


async def _end(process: Process) -> None:
    """End the process and its children, unless it has ended by itself."""
    _kill(process)
    await process.wait()
    # What is left in the pipes must be read for them to close. A child that has left the group
    # may keep them open, and is not waited for.
    with suppress(TimeoutError):
        async with asyncio.timeout(PIPES_SECONDS):
            for stream in (process.stdout, process.stderr):
                while stream is not None and await stream.read(CHUNK_BYTES):
                    pass


def _kill(process: Process) -> None:
    if process.returncode is None:
        with suppress(ProcessLookupError):  # it has just ended by itself
            os.killpg(process.pid, signal.SIGKILL)
