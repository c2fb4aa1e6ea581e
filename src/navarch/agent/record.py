"""Which commands this node has begun and what came of each, across restarts of the agent.

One line of JSON a step, appended and flushed to the disk: a start *before* the command is carried
out, an end after it. So a command is never carried out twice: one that was begun and has no end
was interrupted, and that is its result. A last line that a crash cut short counts as not written.

Commands that may be carried out again without harm are not in it: those about replicas and models.

A reboot has a step between the two, written before the machine is asked to go down: it is neither
interrupted nor ended until `navarch.agent.reboot` has looked which start of the machine this is.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

from navarch.agent.state import replace_file
from navarch.agent.turns import CommandFinished, Order
from navarch.core.model.command import CommandState
from navarch.errors import ConfigError

RESULTS_MAX: Final = 256
"""Results kept, as many as the duties know commands."""

LINES_MAX: Final = 4 * RESULTS_MAX
"""Lines after which the file is written anew. With the longest outputs it has 64 MiB then."""

INTERRUPTED: Final = "the agent was restarted while it ran"
"""What is said of a command that was begun and has no end."""


class _Started(Struct, frozen=True, tag_field="step", tag="started"):
    id: str
    type: str


class Rebooting(Struct, frozen=True, tag_field="step", tag="rebooting"):
    """The machine is asked to go down now, by this command."""

    id: str
    boot_id: str
    """The boot id of before: the same one later means that nothing has happened."""
    at: datetime


class _Finished(Struct, frozen=True, tag_field="step", tag="finished", omit_defaults=True):
    id: str
    state: CommandState
    message: str = ""
    output: str = ""


_Line = _Started | Rebooting | _Finished


class CommandRecord:
    """The file of begun and ended commands. Blocking; one thread uses it."""

    def __init__(self, path: Path) -> None:
        """Read what is there, and forget all but the newest results.

        Raises `ConfigError` when it cannot be read or written, or a line is no record: without
        the record nobody knows what was carried out, so a person has to look.
        """
        self._path = path
        self._results: dict[str, CommandFinished] = {}
        self._rebooting: Rebooting | None = None
        try:
            for line in _read(path):
                self._take(line)
            self._rewrite()
        except OSError as error:
            raise ConfigError(f"cannot be used: {error.strerror}", file=str(path)) from error

    @property
    def results(self) -> Iterable[CommandFinished]:
        """The newest results, oldest first."""
        return self._results.values()

    @property
    def awaited(self) -> Rebooting | None:
        """The reboot that was asked for and of which nobody knows the result; None without one."""
        return self._rebooting

    def started(self, order: Order) -> None:
        """Write that the command is about to be carried out.

        Raises `OSError` when that cannot be written; the command must not be carried out then.
        """
        self._append(_Started(order.id, order.type))

    def rebooting(self, asked: Rebooting) -> None:
        """Write that the machine is about to be asked to go down.

        Raises `OSError` when that cannot be written; it must not be asked then.
        """
        self._append(asked)

    def finished(self, result: CommandFinished) -> None:
        """Write what came of a command. Raises `OSError` when that cannot be written."""
        self._append(_Finished(result.id, result.state, result.message, result.output))

    def _append(self, line: _Line) -> None:
        with self._path.open("ab", buffering=0) as file:
            end = file.tell()
            try:
                file.write(msgspec.json.encode(line) + b"\n")
                os.fsync(file.fileno())
            except OSError:
                file.truncate(end)  # half a line would spoil the next one
                raise
        self._take(line)
        self._lines += 1
        if self._lines >= LINES_MAX:
            self._rewrite()

    def _take(self, line: _Line) -> None:
        self._results.pop(line.id, None)
        if self._rebooting is not None and self._rebooting.id == line.id:
            self._rebooting = None
        match line:
            case Rebooting():
                if self._rebooting is not None:  # its end could not be written
                    self._take(_Finished(self._rebooting.id, CommandState.FAILED, INTERRUPTED))
                self._rebooting = line
            case _Started():
                result = CommandFinished(line.id, CommandState.FAILED, INTERRUPTED)
                self._results[line.id] = result
            case _Finished():
                result = CommandFinished(line.id, line.state, line.message, line.output)
                self._results[line.id] = result
        while len(self._results) > RESULTS_MAX:
            del self._results[next(iter(self._results))]

    def _rewrite(self) -> None:
        lines: list[_Line] = [
            _Finished(result.id, result.state, result.message, result.output)
            for result in self._results.values()
        ]
        if self._rebooting is not None:
            lines.append(self._rebooting)
        content = b"".join(msgspec.json.encode(line) + b"\n" for line in lines)
        replace_file(self._path, content)
        self._lines = len(lines)


def _read(path: Path) -> Iterable[_Line]:
    """Decode the file, empty if missing; a last line without an end is left out."""
    if not path.exists():
        return []
    whole, _, _torn = path.read_bytes().rpartition(b"\n")
    lines: list[_Line] = []
    for number, text in enumerate(whole.splitlines(), start=1):
        try:
            lines.append(msgspec.json.decode(text, type=_Line))
        except msgspec.DecodeError as error:
            what = f"is no record of a command ({error}): repair the line, or remove it"
            raise ConfigError(what, file=str(path), line=number) from error
    return lines
