"""What was seen last on each machine, for those that do not answer now.

A lease is on the machine's own disk. While nobody reaches the machine nobody ends the lease, so
what was seen last still holds: a machine that was lent is lent, one that was free is free. For a
machine of which nothing is remembered one question is left, whether it was lent before this memory
began. The memory is *whole* once every machine of the inventory has been seen by it: from then on,
a machine of which it knows nothing has never been lent by us, since what is about to be lent is
noted before.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct, field

from navarch.errors import Unavailable
from navarch.providers.ssh.lease import Lease, Sight, State

FILE_BYTES_MAX: Final = 256 * 1024 * 1024


class Seen(Struct, frozen=True, kw_only=True):
    """What a machine was when it last answered, or is about to become."""

    lease: Lease | None = None
    """None: it was free, or only claimed."""
    returning: bool = False


class _Content(Struct, kw_only=True):
    whole: bool = False
    machines: dict[str, Seen] = field(default_factory=dict)


class Memory:
    """The memory of one provider, and of nobody else's."""

    def __init__(self, file: Path | None) -> None:
        """Keep it in a file, or only for as long as this object lives."""
        self._file = file
        self._content: _Content | None = None
        self._writing = asyncio.Lock()
        self._notes = 0
        self._noted: dict[str, int] = {}

    async def load(self) -> None:
        """Read it, once.

        :raises Unavailable: it cannot be read
        """
        if self._content is not None:
            return
        if self._file is None:
            self._content = _Content()
            return
        content = await asyncio.to_thread(_read, self._file)
        if self._content is None:
            self._content = content

    @property
    def is_whole(self) -> bool:
        """Whether a machine that it does not know was never lent."""
        return self._loaded.whole

    def seen(self, machine: str) -> Seen | None:
        """What it was when it last answered; None if it never has."""
        return self._loaded.machines.get(machine)

    def mark(self) -> int:
        """Mark this moment, for a look that begins now."""
        return self._notes

    async def learn(
        self, sights: Mapping[str, Sight], inventory: Iterable[str], since: int
    ) -> None:
        """Take in what machines have told; forget those that were given up.

        What was noted since the look began, at the mark `since`, is newer than what it saw.

        :raises Unavailable: it cannot be written
        """
        known = set(inventory)
        machines = {name: each for name, each in self._loaded.machines.items() if name in known}
        for name, sight in sights.items():
            if self._noted.get(name, 0) <= since:
                machines[name] = seen_of(sight)
        self._noted = {name: at for name, at in self._noted.items() if name in known}
        whole = self._loaded.whole or known <= machines.keys()
        if (whole, machines) != (self._loaded.whole, self._loaded.machines):
            await self._replace(_Content(whole=whole, machines=machines))

    async def note(self, machine: str, seen: Seen) -> None:
        """Note what is about to be done.

        :raises Unavailable: it cannot be written
        """
        self._notes += 1
        self._noted[machine] = self._notes
        if self.seen(machine) != seen:
            machines = {**self._loaded.machines, machine: seen}
            await self._replace(_Content(whole=self._loaded.whole, machines=machines))

    @property
    def _loaded(self) -> _Content:
        assert self._content is not None
        return self._content

    async def _replace(self, content: _Content) -> None:
        self._content = content
        if self._file is None:
            return
        async with self._writing:
            # The newest is written, also by those who waited for their turn.
            await asyncio.to_thread(_write, self._file, msgspec.json.encode(self._loaded))


def seen_of(sight: Sight) -> Seen:
    """Say what a look has shown: a claim alone is nobody's machine."""
    if sight.state in {State.LENT, State.RETURNING}:
        return Seen(lease=sight.lease, returning=sight.state is State.RETURNING)
    return Seen()


def _read(path: Path) -> _Content:
    try:
        if path.stat().st_size > FILE_BYTES_MAX:
            raise Unavailable(f"{path} is too long to be a memory of machines")
        return msgspec.json.decode(path.read_bytes(), type=_Content)
    except FileNotFoundError:
        return _Content()
    except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
        text = f"{path}, the memory of machines, cannot be read: {error}"
        raise Unavailable(f"{text}; without it every machine has to answer once") from error


def _write(path: Path, content: bytes) -> None:
    """Put it in place whole or not at all."""
    draft = path.with_name(f"{path.name}.new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as opened:
            opened.write(content)
            opened.flush()
            os.fsync(descriptor)
        draft.replace(path)
    except OSError as error:
        raise Unavailable(f"{path}, the memory of machines: {error.strerror}") from error
