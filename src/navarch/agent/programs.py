"""Programs that the agent starts for an operator: each has a limit, and leaves nothing behind."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shlex
import signal
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Final

from msgspec import Struct

from navarch.core.model.command import OUTPUT_BYTES_MAX

SECRETS: Final = frozenset({"NAVARCH_NODE_TOKEN", "NAVARCH_AUTH_TOKEN"})
"""Variables that no program started by the agent gets to see."""

PLACEHOLDER: Final = re.compile(r"\{([a-z][a-z0-9_]{0,31})\}")
"""What stands in a program's arguments for a parameter of the command."""

PLAIN: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.,:/=+-]{0,127}")
"""What may take a placeholder's place: it never begins like an option."""

LAST_WORDS: Final = 1.0
"""Seconds in which the output of a program that has ended arrives."""

Arguments = tuple[str, ...]


class Ending(Struct, frozen=True):
    """How a program ended."""

    program: str
    """Its first word."""
    code: int | None
    """Its exit code; below 0 the signal that ended it; None when it took too long."""
    output: str
    """The end of what it printed, at most `OUTPUT_BYTES_MAX`."""
    time_max: timedelta
    """How long it was allowed to take."""

    @property
    def good(self) -> bool:
        """Whether it ended by itself, and says that all is well."""
        return self.code == 0

    @property
    def described(self) -> str:
        """One clause, such as ``dcgmi ended with 3``."""
        if self.code is None:
            return f"{self.program} took longer than {self.time_max} and was ended"
        ending = (
            f"ended with {self.code}" if self.code >= 0 else f"was ended by signal {-self.code}"
        )
        return f"{self.program} {ending}"


async def run(
    arguments: Arguments,
    *,
    time_max: timedelta,
    parameters: Mapping[str, str] | None = None,
    leaves_processes: bool = False,
) -> Ending:
    """Run a program in a session of its own, and say how it ended.

    What it started is ended with it, unless it `leaves_processes`; all is ended when it takes
    longer than `time_max` or the caller is cancelled. A parameter x is NAVARCH_PARAMETER_X in its
    environment. Raises `OSError` when it cannot be started.
    """
    output = bytearray()
    read_end, write_end = os.pipe()
    with os.fdopen(read_end, "rb", buffering=0) as pipe:
        try:
            process = await asyncio.create_subprocess_exec(
                *arguments,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=write_end,
                stderr=asyncio.subprocess.STDOUT,
                env=_environment(os.environ, parameters or {}),
                start_new_session=True,
            )
        finally:
            os.close(write_end)
        spared = False
        try:
            async with _tail(pipe, output), asyncio.timeout(time_max.total_seconds()):
                code = await process.wait()
            spared = leaves_processes
        except TimeoutError:
            code = None
        finally:
            if not spared:
                await _end(process)
    return Ending(arguments[0], code, output.decode(errors="ignore"), time_max)


@contextlib.asynccontextmanager
async def _tail(pipe: object, output: bytearray) -> AsyncIterator[None]:
    """Keep the end of what comes through the pipe in `output`.

    The pipe is our own, for a program may leave others behind that hold it open: what they would
    still print is not waited for.
    """
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), pipe)
    reading = asyncio.create_task(_read(reader, output))
    try:
        yield
        await asyncio.wait((reading,), timeout=LAST_WORDS)
    finally:
        reading.cancel()
        transport.close()
        await asyncio.wait((reading,))


async def _read(reader: asyncio.StreamReader, output: bytearray) -> None:
    while chunk := await reader.read(OUTPUT_BYTES_MAX):
        output += chunk
        del output[:-OUTPUT_BYTES_MAX]


async def _end(process: asyncio.subprocess.Process) -> None:
    """Leave nothing behind that the program started in its session."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    await process.wait()


def _environment(ours: Mapping[str, str], parameters: Mapping[str, str]) -> dict[str, str]:
    """Give a program our variables but no secrets, and the parameters."""
    environment = {name: text for name, text in ours.items() if name not in SECRETS}
    for name, text in parameters.items():
        environment[f"NAVARCH_PARAMETER_{name.upper()}"] = text.replace("\0", "")
    return environment


# --- arguments -------------------------------------------------------------------------------


def placeholders(arguments: Sequence[str]) -> Iterator[str]:
    """Yield the names of the parameters that stand in a program's arguments."""
    for argument in arguments:
        yield from PLACEHOLDER.findall(argument)


def filled(arguments: Sequence[str], parameters: Mapping[str, str]) -> Arguments:
    """Put parameters where they belong.

    Raises `ValueError`, with a text for people, for one that is missing or is not plain.
    """
    for name in placeholders(arguments):
        if name not in parameters:
            raise ValueError(f"parameter {name!r} is missing: the program needs it")
        if PLAIN.fullmatch(parameters[name]) is None:
            text = f"{parameters[name][:60]!r} is no value of parameter {name!r}"
            raise ValueError(f"{text}: expected a plain word or number")
    return tuple(
        PLACEHOLDER.sub(lambda found: parameters[found[1]], argument) for argument in arguments
    )


def shown(arguments: Sequence[str]) -> str:
    """Write a program down as a person would type it."""
    return shlex.join(arguments)
