"""The program of one replica as a group of processes: started, found again, and ended whole.

Each has a lock file, which it holds from its first moment to its last, so that whoever comes after
a crash knows for certain whether it lives (`navarch.providers.local_process`). It is not told to
die with the agent (`PR_SET_PDEATHSIG`): an agent is restarted for an update while its replicas go
on serving, and the next one takes them over. The price is that an agent that never comes back
leaves them behind; whoever ends the machine, or the agent by command, ends them too.

What a program has started is recognised by the lock, by a variable in its environment, and, as
long as the program itself is not reaped, by its process group.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final

from msgspec import Struct

from navarch.agent.worker import Worker
from navarch.providers import local_process
from navarch.providers.local_process import AgentCommand

MARK: Final = "NAVARCH_REPLICA_LOCK"
"""The variable that carries the path of a replica's lock."""

PAUSE_FIRST: Final = 0.005
PAUSE_MAX: Final = 1.0
"""Seconds between two looks whether killed processes are gone."""

STUCK_AFTER: Final = 5.0
"""Seconds after which killed processes that live are worth a word: a driver may hold them."""

LAST_WORDS_MAX: Final = 300
"""Characters of a program's last line that are told."""


class Trace(Struct, frozen=True):
    """Which process it is: a number is used again, a number and a moment are not."""

    pid: int
    began: int
    """In ticks since the machine was booted."""
    boot_id: str


class Program:
    """A running program: a child of ours, or one that an earlier agent has started."""

    def __init__(self, pid: int, lock: Path, *, is_child: bool) -> None:
        """Hold on to a process. Raises `ProcessLookupError` when it has been reaped."""
        self.pid = pid
        self._lock = lock
        self._is_child = is_child
        self._descriptor = os.pidfd_open(pid)

    def trace(self, boot_id: str) -> Trace:
        """Say which process it is."""
        return Trace(self.pid, began(self.pid) or 0, boot_id)

    def close(self) -> None:
        """Let go of it, whether it runs or not."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    async def wait(self) -> str:
        """Wait for its end, and say how it ended. It stays unreaped until it is `cleared`."""
        gone = asyncio.Event()
        loop = asyncio.get_running_loop()
        loop.add_reader(self._descriptor, gone.set)
        try:
            await gone.wait()
        finally:
            loop.remove_reader(self._descriptor)
        if not self._is_child:
            return "ended"
        found = _outcome(self._descriptor)
        if found is None:
            return "ended"
        if found.si_code == os.CLD_EXITED:
            return f"ended with {found.si_status}"
        return f"was ended by signal {found.si_status}"

    def terminate(self) -> None:
        """Send SIGTERM to its whole group. Nothing happens when it has ended."""
        # The number is its own: it is our child and not reaped, or was found to be the right one.
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._descriptor, 0)
            os.killpg(self.pid, signal.SIGTERM)

    def kill(self) -> None:
        """Kill it and its group. What escapes from the group is left for `cleared`."""
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._descriptor, signal.SIGKILL)
            os.killpg(self.pid, signal.SIGKILL)

    async def cleared(self, reaper: Worker, stuck: Callable[[str], None]) -> None:
        """After its end, end all that it has left, however long that takes, and reap it.

        `stuck` is told where killed processes stay.
        """
        if self._is_child:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, signal.SIGKILL)  # the number is its own until it is reaped
        await end_all(self._lock, reaper, stuck)
        if self._is_child:
            with contextlib.suppress(ChildProcessError):
                _reap(self.pid)
        self.close()


def _outcome(descriptor: int) -> os.waitid_result | None:
    """Look how a child has ended, and leave it to be reaped."""
    return os.waitid(os.P_PIDFD, descriptor, os.WEXITED | os.WNOHANG | os.WNOWAIT)


def _reap(pid: int) -> None:
    os.waitpid(pid, 0)  # it has ended: this does not wait


async def end_all(lock: Path, reaper: Worker, stuck: Callable[[str], None]) -> None:
    """Kill every process that belongs to a lock, and wait until none is left."""
    loop = asyncio.get_running_loop()
    begun_at, pause, told = loop.time(), PAUSE_FIRST, False
    while left := await reaper.do(partial(_kill_members, lock)):
        if not told and loop.time() - begun_at >= STUCK_AFTER:
            told = True
            pids = ", ".join(map(str, left[:5]))
            stuck(f"{len(left)} processes do not end although they were killed: {pids}")
        await asyncio.sleep(pause)
        pause = min(pause * 2, PAUSE_MAX)


def _kill_members(lock: Path) -> list[int]:
    found = local_process.members(lock, MARK)
    for pid in found:
        with contextlib.suppress(PermissionError):
            local_process.send(pid, lock, signal.SIGKILL, MARK)
    return found


def start(
    arguments: tuple[str, ...], environment: dict[str, str], *, lock: Path, log: Path
) -> Program:
    """Start a program in a session of its own; what it prints goes to `log`.

    Raises `BlockingIOError` when one with this lock lives, and `OSError` when it cannot be started.
    """
    command = AgentCommand(argv=arguments, env=environment)
    pid = local_process.start(command, lock=lock, log=log, mark=MARK)
    return Program(pid, lock, is_child=True)


def found_again(trace: Trace | None, lock: Path, boot_id: str) -> Program | None:
    """Find the program that an earlier agent has started with this lock; None when it has ended.

    `trace` is what that agent wrote down; None when it was killed before it could.
    """
    pid = local_process.holder(lock) if local_process.is_held(lock) else None
    if pid is None and trace is not None and trace.boot_id == boot_id:
        pid = trace.pid  # it may have closed the lock
    if pid is None:
        return None
    try:
        program = Program(pid, lock, is_child=False)
    except ProcessLookupError:
        return None
    known = trace is not None and (pid, began(pid)) == (trace.pid, trace.began)
    # Whoever holds the lock without leading a group of its own is what a dead program has left.
    if known or (local_process.holds(pid, lock) and os.getpgid(pid) == pid):
        return program
    program.close()
    return None


def began(pid: int) -> int | None:
    """Tell when a process began, in ticks since the boot; None when there is none (proc(5))."""
    try:
        content = Path(f"/proc/{pid}/stat").read_bytes()
    except local_process.GONE:
        return None
    return int(content.rpartition(b")")[2].split()[19])


def last_words(log: Path) -> str:
    """Return the last line that a program has printed, shortened; "" when there is none."""
    try:
        end = local_process.log_end(log, 4 * LAST_WORDS_MAX)
    except OSError:
        return ""
    lines = [line.strip() for line in end.decode(errors="replace").splitlines()]
    line = next((line for line in reversed(lines) if line), "")
    return "".join(sign if sign.isprintable() else " " for sign in line)[-LAST_WORDS_MAX:]


# --- ports -----------------------------------------------------------------------------------


class PortTaken(Exception):
    """A replica must listen on a port that somebody else has."""


class Ports:
    """The ports of this node's replicas: none is given twice."""

    def __init__(self) -> None:
        """Know none yet."""
        self._used: set[int] = set()

    def take(self, port: int, *, must: bool) -> int:
        """Take this port, or another one that is free where it need not be this one.

        Nobody can keep a port free until a program listens on it: one that finds it taken ends,
        and gets another one. Raises `PortTaken`, and `OSError` when no port is free at all.
        """
        if port and port not in self._used and _is_free(port):
            self._used.add(port)
            return port
        if must:
            raise PortTaken(f"port {port} is taken")
        with contextlib.ExitStack() as stack:  # a port of ours may be offered: not twice
            while True:
                found = stack.enter_context(socket.socket())
                found.bind(("", 0))
                port = found.getsockname()[1]
                if port not in self._used:
                    self._used.add(port)
                    return port

    def keep(self, port: int) -> None:
        """Take a port that a program which was found listens on."""
        self._used.add(port)

    def give_back(self, port: int) -> None:
        """Take note that nobody of ours listens on it any more."""
        self._used.discard(port)


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # only who listens counts
        try:
            probe.bind(("", port))
        except OSError:
            return False
    return True
