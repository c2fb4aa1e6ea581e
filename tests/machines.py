"""Machines that are processes, for tests: programs, a bench to run them on, a search for strays."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from navarch.providers.base import ProvisionRequest
from navarch.providers.fake import ManualTime
from navarch.providers.local_process import LOCK_VARIABLE, AgentCommand
from navarch.providers.process import CommandFor, ProcessProvider


def sleeper(request: ProvisionRequest, _folder: Path) -> AgentCommand:
    """Start a program that does nothing for longer than any test takes, and heeds SIGTERM."""
    return AgentCommand(argv=("sleep", "600"), env={"NODE": request.name})


def processes_of(root: Path) -> list[int]:
    """Find every living process that was started for a machine under `root`.

    One that has not got as far as its program yet is not found: it has no environment so far.
    """
    mark = os.fsencode(f"{LOCK_VARIABLE}={root}{os.sep}")
    found = []
    for each in Path("/proc").iterdir():
        try:
            if each.name.isdecimal() and mark in (each / "environ").read_bytes():
                found.append(int(each.name))
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue
    return sorted(found)


def environment(pid: int) -> list[bytes]:
    """Read the environment that a process was started with."""
    return Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")


def command(pid: int) -> str:
    """Read the name of the program; empty if the process has ended."""
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except (FileNotFoundError, ProcessLookupError):
        return ""


def zombies() -> list[int]:
    """Find our own children that led a session, have ended and were never reaped."""
    found = []
    for each in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, parent, _group, session = each.read_text().rsplit(")", 1)[1].split()[:4]
        except (FileNotFoundError, ProcessLookupError):
            continue
        if (state, parent, session) == ("Z", str(os.getpid()), each.parent.name):
            found.append(int(session))
    return found


def assert_no_process_is_left(root: Path) -> None:
    """Fail if a test left a process or a zombie behind; what it left is ended first."""
    dead = zombies()
    strays = processes_of(root)
    for pid in strays:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    for pid in [*dead, *strays]:
        with suppress(ChildProcessError):
            os.waitpid(pid, 0)
    assert strays == [], f"processes were left: {strays}"
    assert dead == [], f"zombies were left: {dead}"


PATIENCE = 10.0
"""Seconds after which a test gives up waiting for a process."""


def asking(name: str = "n-1", *, token: str | None = None) -> ProvisionRequest:
    """Make a request whose token is the name, as the control plane's are."""
    return ProvisionRequest(
        name=name,
        instance_type="local",
        labels={"a": "b"},
        token=name if token is None else token,
        user_data="secret",
    )


def shell(script: str) -> CommandFor:
    """Start a shell script, which says ``ready`` if `Bench.ready` is to wait for it."""
    return lambda _request, _folder: AgentCommand(argv=("sh", "-c", script), env={"PATH": "/bin"})


STUBBORN = shell('trap "" TERM; echo ready; while :; do sleep 600; done')
"""Ignores SIGTERM, and shares its lock with a child."""

PARENT = shell("setsid sleep 600 3>&- & echo ready; exec sleep 600")
"""Starts a process in another session, which does not hold the lock."""


class Bench:
    """A root folder, a time moved by hand, and providers for both."""

    def __init__(self, root: Path) -> None:
        """Begin with a root that need not exist."""
        self.root = root
        self.time = ManualTime()

    def provider(self, command: CommandFor = sleeper, *, max_instances: int = 8) -> ProcessProvider:
        """Make a provider, each time a new one as after a restart."""
        return ProcessProvider(self.root, command, now=self.time.now, max_instances=max_instances)

    def pid(self, name: str = "n-1") -> int:
        """Read the pid that is written down."""
        return int((self.root / name / "pid").read_text())

    async def until(self, holds: Callable[[], bool]) -> None:
        """Wait for something that other processes do."""
        async with asyncio.timeout(PATIENCE):
            while not holds():  # noqa: ASYNC110 # other processes set no event of ours
                await asyncio.sleep(0.005)

    async def ready(self, name: str = "n-1") -> None:
        """Wait until the program has said ``ready`` in its log."""
        log = self.root / name / "agent.log"
        await self.until(lambda: "ready" in log.read_text())

    async def sleepers(self, under: str, count: int) -> list[int]:
        """Wait until exactly so many processes run under this folder, all asleep; return them."""
        root = self.root / under
        await self.until(lambda: [command(pid) for pid in processes_of(root)] == ["sleep"] * count)
        return processes_of(root)

    async def until_gone(self, provider: ProcessProvider, name: str) -> None:
        """Wait until a machine is listed no more."""
        async with asyncio.timeout(PATIENCE):
            while True:
                if name not in [each.id for each in await provider.list()]:
                    return
                await asyncio.sleep(0.005)


async def end_all(provider: ProcessProvider) -> None:
    """Terminate every machine and wait until none is left."""
    for each in await provider.list():
        await provider.terminate(each.id)
    async with asyncio.timeout(PATIENCE):
        while True:
            if await provider.list() == []:
                return
            await asyncio.sleep(0.005)
