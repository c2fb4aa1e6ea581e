"""What must outlive the agent of each replica: what was wanted, and which process runs it.

::

    serving/replicas/<replica>/
        replica.json  what is wanted, and the newest run of its program
        lock          held by its program
        log           what its program prints; cut when it is long

`replica.json` is written before the program starts and again after it has, so that an agent that
is killed at any moment finds everything again: a program whose number was not written down yet is
found by its lock.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Final
from urllib.parse import quote

import msgspec
from msgspec import Struct

from navarch.agent.serving.processes import Trace
from navarch.agent.serving.wanted import Wanted
from navarch.agent.state import FOLDER_MODE, replace_file

FILE: Final = "replica.json"

NAME_MAX: Final = 200
"""Characters of a folder's name: file systems allow 255."""


class Run(Struct, frozen=True, omit_defaults=True):
    """One run of a replica's program."""

    port: int
    restarts: int = 0
    trace: Trace | None = None
    """None: it is about to be started, or was not looked at in time."""
    ready: bool = False
    """Whether it has become ready."""


class Kept(Struct, frozen=True, omit_defaults=True):
    """What is written down of a replica."""

    wanted: Wanted
    run: Run | None = None
    """None: its program was never started."""
    stopping: bool = False
    """Whether it was told to stop."""
    over: str = ""
    """Why it was given up; empty: it was not."""


class ReplicaFolder:
    """The folder of one replica. Blocking."""

    def __init__(self, path: Path) -> None:
        """Touch nothing yet."""
        self.path = path
        self.lock = path / "lock"
        self.log = path / "log"

    def read(self) -> Kept:
        """Return what is written. Raises `OSError` and `msgspec.MsgspecError`."""
        return msgspec.json.decode((self.path / FILE).read_bytes(), type=Kept)

    def write(self, kept: Kept) -> None:
        """Write it down, durably. Raises `OSError`; the old content then stays."""
        self.path.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
        replace_file(self.path / FILE, msgspec.json.encode(kept))

    def remove(self) -> None:
        """Remove all of it: first what makes it count. Raises `OSError`."""
        (self.path / FILE).unlink(missing_ok=True)
        shutil.rmtree(self.path)


def folder_of(root: Path, replica: str) -> ReplicaFolder:
    """Return the folder of a replica; its name is the id, as far as a file may be called that."""
    name = quote(replica, safe="")
    if len(name) > NAME_MAX:
        name = hashlib.sha256(replica.encode()).hexdigest()
    return ReplicaFolder(root / name)


def folders(root: Path) -> Iterator[ReplicaFolder]:
    """Yield the folders that there are, by name."""
    if root.is_dir():
        yield from (ReplicaFolder(path) for path in sorted(root.iterdir()) if path.is_dir())
