"""One process of this machine: how it is started, recognised for certain, and ended.

A process id alone is a poor name: it is used again after the process has ended, and it is learned
only after the process has begun, so whoever is killed in between never knows it. This module gives
a process a name that has neither fault, a *lock file*:

- The lock is taken before the process begins and handed to it, so it is held from the first moment
  to the last and by nobody else. Held means that the process lives; a zombie holds nothing.
- The path of the lock is also in the process's environment, and in that of all it starts. Whoever
  holds the lock or carries its path *belongs* to it.
- Signals go through a descriptor of the process, opened before it is recognised: a process that
  was given an old number is never signalled.

Rules that hold: Linux only (`/proc`, `pidfd_open`); nothing here waits; `is_held` and `start` are
called by one party at a time, which `exclusively` sees to. Every function raises what the kernel
says, an `OSError`, unless it is a process's having ended, which is never an error.
"""

from __future__ import annotations

import fcntl
import os
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from msgspec import Struct

LOCK_VARIABLE: Final = "NAVARCH_PROCESS_LOCK"
"""The environment variable that carries the path of the lock."""

LOG_BYTES_MAX: Final = 8 * 1024 * 1024
"""A log is cut when it is longer: enough for weeks of a daemon that says little."""

LOG_BYTES_KEPT: Final = 1024 * 1024
"""How much of the end of a log is kept when it is cut."""

GONE: Final = (FileNotFoundError, ProcessLookupError)
"""What the kernel says about a process that ended while it was being looked at."""


class AgentCommand(Struct, frozen=True, kw_only=True):
    """How to start the program of one machine."""

    argv: tuple[str, ...]
    """The program, looked up in PATH if it has no slash, and its arguments.

    Everybody on the machine can read them: no secrets here.
    """

    env: Mapping[str, str]
    """The whole environment: nothing is inherited. The place for secrets.

    The program must leave descriptor 3 open: closing it says that the program has ended.
    """

    def __repr__(self) -> str:
        """Show the arguments and the names, but not the values, of the environment."""
        return f"AgentCommand(argv={self.argv!r}, env=<{', '.join(sorted(self.env))}>)"


@contextmanager
def exclusively(mutex: Path) -> Iterator[bool]:
    """Hold the mutex file for the block, and give it back, crash or not; tell whether it is ours.

    It excludes other processes and other threads. Never waits: False if one of them holds it.
    """
    descriptor = os.open(mutex, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        is_ours = True
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            is_ours = False
        yield is_ours
    finally:
        os.close(descriptor)


def is_held(lock: Path) -> bool:
    """Tell whether a process lives that was started with this lock."""
    try:
        descriptor = os.open(lock, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # Given back by name and not by closing alone: a process that another thread is just
        # starting may have a copy of the descriptor for a moment, and would keep the lock.
        fcntl.flock(descriptor, fcntl.LOCK_UN)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def start(command: AgentCommand, *, lock: Path, log: Path, mark: str = LOCK_VARIABLE) -> int:
    """Start a process that holds `lock`, in a session of its own, and return its id.

    It reads nothing, and what it prints is added to `log`; both files are made, for the owner
    alone, where they are missing. `mark` is the variable that carries the lock's path: processes
    within processes are told apart by it. There is no moment at which the process lives and the
    lock is free, wherever the caller is killed.

    :raises BlockingIOError: the lock is held: the process lives already
    :raises OSError: the program cannot be started; nothing was
    """
    with _opened(lock, os.O_RDWR) as held, _opened(log, os.O_WRONLY | os.O_APPEND) as output:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        try:
            return os.posix_spawnp(
                command.argv[0],
                list(command.argv),
                {**command.env, mark: str(lock)},
                file_actions=[
                    (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                    (os.POSIX_SPAWN_DUP2, output, 1),
                    (os.POSIX_SPAWN_DUP2, output, 2),
                    # Handed over under a number of its own: only the copy outlives `exec`.
                    (os.POSIX_SPAWN_DUP2, held, 3),
                ],
                setsid=True,
                setsigmask=(),
                # Python ignores these two for itself; a child would inherit that.
                setsigdef=(signal.SIGPIPE, signal.SIGXFSZ),
            )
        except OSError:
            fcntl.flock(held, fcntl.LOCK_UN)
            raise


@contextmanager
def _opened(path: Path, flags: int) -> Iterator[int]:
    """Open a file of the owner's alone under a number above those that `start` hands out."""
    low = os.open(path, flags | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        descriptor = fcntl.fcntl(low, fcntl.F_DUPFD_CLOEXEC, 10)
    finally:
        os.close(low)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def holds(pid: int, lock: Path) -> bool:
    """Tell whether this process holds the lock; False for one that has ended or is not ours."""
    try:
        wanted = lock.stat()
        for each in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(*GONE):
                if os.path.samestat(each.stat(), wanted):
                    return True
    except (*GONE, PermissionError):
        pass
    return False


def belongs(pid: int, lock: Path, mark: str = LOCK_VARIABLE) -> bool:
    """Tell whether this process holds the lock or was started by one that carried it."""
    carried = os.fsencode(f"{mark}={lock}")
    try:
        if carried in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
            return True
    except (*GONE, PermissionError):
        return False
    return holds(pid, lock)


def holder(lock: Path) -> int | None:
    """Find the process that holds the lock, the oldest if several do; None if nobody does.

    Costs a look at every process of the machine.
    """
    return next((pid for pid in _pids() if holds(pid, lock)), None)


def members(lock: Path, mark: str = LOCK_VARIABLE) -> list[int]:
    """Find every process that belongs to the lock, by ascending id.

    Costs a look at every process of the machine.
    """
    return [pid for pid in _pids() if belongs(pid, lock, mark)]


def _pids() -> list[int]:
    return sorted(int(each.name) for each in Path("/proc").iterdir() if each.name.isdecimal())


def send(pid: int, lock: Path, number: signal.Signals, mark: str = LOCK_VARIABLE) -> None:
    """Send a signal to a process if, and only if, it belongs to the lock."""
    with suppress(*GONE):
        descriptor = os.pidfd_open(pid)
        try:
            if belongs(pid, lock, mark):
                signal.pidfd_send_signal(descriptor, number)
        finally:
            os.close(descriptor)


def reap(pid: int) -> bool:
    """Let go of a child that has ended, so that no zombie stays; tell whether none is left.

    False: it is a child of ours and has not ended. A child gives its locks back a moment before
    it can be reaped. Only the leader of a session is reaped, as all that `start` starts are:
    somebody else in this process may be waiting for children of theirs.
    """
    try:
        return os.getsid(pid) != pid or os.waitpid(pid, os.WNOHANG)[0] == pid
    except (*GONE, ChildProcessError):
        return True


def cut_log(log: Path) -> None:
    """Keep the end of a log that is too long, in the same file, since its writer has it open.

    What is written at the same moment may be lost.
    """
    with log.open("r+b") as opened:
        if os.fstat(opened.fileno()).st_size > LOG_BYTES_MAX:
            opened.seek(-LOG_BYTES_KEPT, os.SEEK_END)
            tail = opened.read()
            opened.truncate(0)
            opened.seek(0)
            opened.write(tail)


def log_end(log: Path, bytes_max: int) -> bytes:
    """Read the end of a log, and a byte more where it is longer than `bytes_max`."""
    with log.open("rb") as opened:
        size = opened.seek(0, os.SEEK_END)
        opened.seek(max(0, size - bytes_max - 1))
        return opened.read(bytes_max + 1)


def write_whole(path: Path, content: bytes) -> None:
    """Put the content in place whole or not at all, for the owner alone to read."""
    new = path.with_name(f"{path.name}.new")
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as opened:
        opened.write(content)
        opened.flush()
        os.fsync(descriptor)
    new.replace(path)
