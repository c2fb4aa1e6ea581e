"""A provider whose machines are processes on this one.

It is what `navarch up` buys from: every instance is a real agent process, so one computer shows
the whole life of a fleet. All it knows is in a folder, so a provider that was killed is followed
by one that finds the same machines; none is a child that must be watched.

::

    ROOT/                   .mutex         held while anything is looked at or changed
    ├── ID/                 request.json   what was asked for; for the owner alone
    │                       lock           held exactly while the process lives
    │                       pid            its number, for speed: the lock finds it as well
    │                       agent.log      what it printed; cut from the front when it is long
    │                       terminating    since when its end is wanted
    │                       powered-off    it is to be started again, as the same instance
    └── ended/ID/           what is left of a machine that has gone; the newest ones are kept

Rules that hold:

- One process an instance, whatever crashes and whoever else asks: the lock is taken before the
  process begins and passes to it (`navarch.providers.local_process`).
- The id is ours: the name in the request. An id is used once; the folder in `ended` remembers.
- A machine whose process has died by itself is gone: it is not listed, what it had started is
  killed, and it is not started again. Its log is kept in `ended`.
- A folder with a request and no process, that never got as far as a pid, is a launch that was cut
  short. It is forgotten, and asking again launches.
"""

from __future__ import annotations

import asyncio
import errno
import os
import re
import shutil
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final, TypeAlias, TypeVar

import msgspec

from navarch.errors import (
    InvalidRequest,
    NoCapacity,
    NotFound,
    OutcomeUnknown,
    ProviderError,
    QuotaExceeded,
    Unauthorized,
    Unavailable,
)
from navarch.providers import local_process
from navarch.providers.base import (
    BOOTSTRAP_LOG_BYTES_MAX,
    Finding,
    Instance,
    Instances,
    InstanceStatus,
    InstanceType,
    ProvisionRequest,
    Wanted,
    log_tail,
)
from navarch.providers.local_process import AgentCommand

CommandFor: TypeAlias = Callable[[ProvisionRequest, Path], AgentCommand]
"""Makes the command of a machine from its request and its folder, at each start anew."""

T = TypeVar("T")

NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
"""What may be a machine's name, since it is also a folder's. `ended` is taken."""

ENDED: Final = "ended"
ENDED_KEPT: Final = 100
"""How many folders of machines that have gone are kept, the newest: to read their logs."""

POLL_INTERVAL: Final = timedelta(milliseconds=20)
"""How often a power cycle looks whether processes have ended."""

TURN_INTERVAL: Final = timedelta(milliseconds=2)
"""How often a call tries to get its turn at the mutex, which is held for milliseconds."""

DEATH_TIME_MAX: Final = timedelta(seconds=10)
"""How long a power cycle waits for the kernel to end what was killed; it needs milliseconds."""

KILL_PASSES_MAX: Final = 10
"""How often in a row killed processes are looked for again: dying takes them a moment."""

FULL: Final = frozenset(
    {errno.ENOSPC, errno.EDQUOT, errno.ENOMEM, errno.EAGAIN, errno.EMFILE, errno.ENFILE}
)
"""What the kernel says when this machine has no room: of disk, memory, processes or files."""

FORBIDDEN: Final = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})


class ProcessProvider:
    """`Provider`, `InstanceTypeLister`, `BootstrapLogReader` of local processes. Linux only."""

    list_lag: Final = timedelta(seconds=10)
    """A launch waits for its turn, and goes on in its thread when its caller gives up."""

    launches_at_once: Final = 4
    """They take turns anyway; more would only keep threads waiting."""

    honours_tokens: Final = True

    turn_timeout: timedelta = timedelta(seconds=30)
    """A call that gets no turn for so long, because another holds the folder, does nothing."""

    def __init__(
        self,
        root: Path,
        command: CommandFor,
        *,
        now: Callable[[], datetime],
        name: str = "process",
        gpu_count: int = 8,
        gpu_type: str = "",
        max_instances: int = 64,
        kill_after: timedelta = timedelta(seconds=10),
    ) -> None:
        """Sell processes that `command` starts, remembered under `root`, which may be missing.

        `gpu_count` and `gpu_type` are what each claims to have. `max_instances` may exist at
        once: a typing error must not fill the machine. A process that has not heeded SIGTERM
        for `kill_after` is killed by the next call that notices.
        """
        self.name = name
        self._root = root.absolute()
        self._command = command
        self._now = now
        self._gpu_count = gpu_count
        self._gpu_type = gpu_type
        self._max_instances = max_instances
        self._kill_after = kill_after

    async def close(self) -> None:
        """Do nothing, as often as it is called: nothing is open, and the machines live on."""

    async def provision(self, request: ProvisionRequest) -> Instance:
        """Start the process of a new machine; see `Provider.provision`.

        The name alone is the idempotency key: a machine of this name that lives is returned, and
        one that has ended, or was asked for with another token, is refused.

        :raises InvalidRequest: so it is, or the name cannot be a folder's
        :raises QuotaExceeded: `max_instances` exist
        :raises NoCapacity: no disk, memory, processes or files are left
        :raises Unauthorized: the folder or the program is forbidden to us
        :raises Unavailable: the program does not exist, or any other trouble
        :raises OutcomeUnknown: the process was started and could not be written down
        """
        return await self._with_the_mutex(lambda: self._provision(request))

    async def terminate(self, instance_id: str) -> None:
        """Tell the process to end, or kill it if it was told long ago; see `Provider.terminate`.

        All that it started is killed once it has ended.
        """
        await self._with_the_mutex(lambda: self._terminate(instance_id))

    async def list_instance_types(self) -> list[InstanceType]:
        """Show the one type sold; `provision` takes any name for it."""
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        kind = InstanceType(
            name=f"local-{self._gpu_count}gpu",
            gpu_count=self._gpu_count,
            gpu_type=self._gpu_type,
            memory_gb=memory // 1_000_000_000,
            vcpus=os.cpu_count() or 0,
            regions=("local",),
        )
        return [kind]

    async def bootstrap_log(self, instance_id: str) -> str:
        """Show the end of what the agent printed, of the newest that have gone too.

        There is no start-up script here; see `BootstrapLogReader`.
        """
        return await self._with_the_mutex(lambda: self._log(instance_id))

    async def power_off(self, *, deadline: timedelta = timedelta(seconds=10)) -> int:
        """Stop every process, and leave the instances for `power_on`; return how many.

        Told to stop with SIGTERM, killed after `deadline`; none lives afterwards, nor anything
        that they started. Machines that were being terminated are ended for good. Called again,
        it returns the same number. Whoever calls it asks for no new machines meanwhile.

        :raises Unavailable: the kernel cannot end one of them
        """
        stopped = await self._with_the_mutex(self._begin_power_off)
        await self._wait_until_still(deadline)
        await self._with_the_mutex(self._kill_what_is_off)
        return stopped

    async def power_on(self) -> int:
        """Start what `power_off` stopped, with the same ids; return how many.

        A process that survived a `power_off` cut short is started anew. Called again, none is.

        :raises ProviderError: one could not be started; it and those after it stay off
        """
        await self._with_the_mutex(self._kill_what_is_off)
        await self._wait_until_still(DEATH_TIME_MAX)
        return await self._with_the_mutex(self._start_what_is_off)

    async def examine_for(self, wanted: Sequence[Wanted]) -> Sequence[Finding]:
        """Say whether as many processes may exist as pools want, and how many do."""
        exist = len(await self.list())
        most = {each.pool: each.nodes for each in wanted}
        could = f"{sum(most.values())} could be wanted by {', '.join(most)}" if most else "no pool"
        text = f"{self._max_instances} processes are allowed, {exist} exist, {could}"
        return [("quota", sum(most.values()) <= self._max_instances, text)]

    async def list(self) -> Instances:
        """Show the machines that live, by name; see `Provider.list`.

        One that is powered off is ``provisioning``. One that has gone is not listed.
        """
        return await self._with_the_mutex(
            lambda: [self._instance(each) for each in self._existing()]
        )

    # What follows runs in a thread, with the mutex held.

    def _provision(self, request: ProvisionRequest) -> Instance:
        folder = self._folder(request.name)
        if folder is None:
            raise InvalidRequest(f"{self.name}: {request.name!r} cannot be the name of a folder")
        if folder.exists() and self._settle(folder):
            return self._launched_before(folder, request)
        if (self._root / ENDED / folder.name).exists():
            raise InvalidRequest(f"{self.name}: {request.name} has ended; ids are used once")
        if sum(1 for _ in self._existing()) >= self._max_instances:
            raise QuotaExceeded(f"{self.name}: at most {self._max_instances} machines at once")
        folder.mkdir(mode=0o700, exist_ok=True)
        local_process.write_whole(folder / "request.json", msgspec.json.encode(request))
        self._start(folder, request)
        return self._instance(folder)

    def _launched_before(self, folder: Path, request: ProvisionRequest) -> Instance:
        if (folder / "terminating").exists():
            raise InvalidRequest(f"{self.name}: {request.name} is ending; ids are used once")
        if _request(folder).token != request.token:
            raise InvalidRequest(f"{self.name}: {request.name} belongs to another token")
        return self._instance(folder)

    def _start(self, folder: Path, request: ProvisionRequest) -> None:
        command = self._command(request, folder)
        pid = local_process.start(command, lock=folder / "lock", log=folder / "agent.log")
        with self._after_the_deed(folder.name):
            local_process.write_whole(folder / "pid", str(pid).encode())

    def _terminate(self, instance_id: str) -> None:
        folder = self._folder(instance_id)
        if folder is None or not folder.exists() or not self._settle(folder):
            raise NotFound(f"{self.name}: there is no machine {instance_id}")
        mark = folder / "terminating"
        if mark.exists():
            return
        pid = _pid(folder)
        if pid is not None:
            # First the signal: a full disk must not keep a machine alive.
            local_process.send(pid, folder / "lock", signal.SIGTERM)
        with self._after_the_deed(instance_id):
            local_process.write_whole(mark, self._now().isoformat().encode())
        self._settle(folder)

    def _log(self, instance_id: str) -> str:
        folder = self._folder(instance_id)
        places = () if folder is None else (folder, self._root / ENDED / folder.name)
        for place in places:
            with suppress(FileNotFoundError):
                return log_tail(local_process.log_end(place / "agent.log", BOOTSTRAP_LOG_BYTES_MAX))
        raise NotFound(f"{self.name}: there is no machine {instance_id}")

    def _begin_power_off(self) -> int:
        stopped = 0
        for folder in self._existing():
            if not (folder / "terminating").exists():
                local_process.write_whole(folder / "powered-off", b"")
                stopped += 1
            pid = _pid(folder)
            if pid is not None:
                local_process.send(pid, folder / "lock", signal.SIGTERM)
        return stopped

    def _kill_what_is_off(self) -> None:
        for folder in self._existing():
            if (folder / "powered-off").exists():
                _kill_members(folder)

    def _start_what_is_off(self) -> int:
        started = 0
        for folder in self._existing():
            if (folder / "powered-off").exists():
                self._start(folder, _request(folder))
                (folder / "powered-off").unlink()
                started += 1
        return started

    def _existing(self) -> Iterator[Path]:
        """Yield the folder of each machine that exists, by name, having settled them all."""
        for folder in sorted(self._root.iterdir()):
            if self._folder(folder.name) is not None and folder.is_dir() and self._settle(folder):
                yield folder

    def _settle(self, folder: Path) -> bool:
        """Draw the consequences of what became of a machine; tell whether it still exists."""
        if _lives(folder):
            _recover_pid(folder)
            self._kill_if_overdue(folder)
            local_process.cut_log(folder / "agent.log")
            return True
        if (folder / "terminating").exists():
            self._bury(folder)
            return False
        if (folder / "powered-off").exists():
            return True
        if _pid_written(folder) is None:
            shutil.rmtree(folder)
        else:
            self._bury(folder)
        return False

    def _kill_if_overdue(self, folder: Path) -> None:
        try:
            since = datetime.fromisoformat((folder / "terminating").read_text())
        except FileNotFoundError:
            return
        if self._now() - since >= self._kill_after:
            _kill_members(folder)

    def _still_running(self, *, kill: bool) -> bool:
        """Tell whether a process lives that was told to stop; kill it if asked to."""
        running = False
        for folder in self._existing():
            is_told = _status(folder) is not InstanceStatus.RUNNING
            if is_told and _lives(folder):
                running = True
                if kill:
                    _kill_members(folder)
        return running

    def _bury(self, folder: Path) -> None:
        """Kill what the machine left running and put its folder among the ended."""
        _kill_members(folder)
        ended = self._root / ENDED
        ended.mkdir(mode=0o700, exist_ok=True)
        os.utime(folder)
        folder.rename(ended / folder.name)
        newest_first = sorted(ended.iterdir(), key=lambda each: -each.stat().st_mtime_ns)
        for old in newest_first[ENDED_KEPT:]:
            shutil.rmtree(old)

    def _instance(self, folder: Path) -> Instance:
        request = _request(folder)
        return Instance(
            id=folder.name,
            provider=self.name,
            name=folder.name,
            region=request.region,
            zone=request.zone,
            instance_type=request.instance_type,
            status=_status(folder),
            private_ip="127.0.0.1",
            gpu_count=self._gpu_count,
            gpu_type=self._gpu_type,
            labels=request.labels,
        )

    def _folder(self, name: str) -> Path | None:
        """Where a machine of this name lives; None if it cannot be a machine's name."""
        is_name = NAME.fullmatch(name) is not None and name != ENDED
        return self._root / name if is_name else None

    # How the work above is called.

    async def _with_the_mutex(self, work: Callable[[], T]) -> T:
        """Do the work in a thread, alone on this root, with the kernel's errors translated."""

        def alone() -> tuple[T] | None:
            with self._translated():
                self._root.mkdir(mode=0o700, parents=True, exist_ok=True)
                with local_process.exclusively(self._root / ".mutex") as is_ours:
                    return (work(),) if is_ours else None

        for _ in range(max(1, self.turn_timeout // TURN_INTERVAL)):
            done = await asyncio.to_thread(alone)
            if done is not None:
                return done[0]
            await asyncio.sleep(TURN_INTERVAL.total_seconds())
        raise Unavailable(f"{self.name}: another process keeps hold of {self._root / '.mutex'}")

    async def _wait_until_still(self, deadline: timedelta) -> None:
        """Wait until no process lives that was told to stop; kill those that outlive it."""
        if await self._ended_within(deadline, kill=False):
            return
        if not await self._ended_within(DEATH_TIME_MAX, kill=True):
            raise Unavailable(f"{self.name}: a process cannot be killed; see ps for state D")

    async def _ended_within(self, limit: timedelta, *, kill: bool) -> bool:
        try:
            async with asyncio.timeout(limit.total_seconds()):
                while True:
                    if not await self._with_the_mutex(lambda: self._still_running(kill=kill)):
                        return True
                    await asyncio.sleep(POLL_INTERVAL.total_seconds())
        except TimeoutError:
            return False

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            kind: type[ProviderError] = Unavailable
            if error.errno in FULL:
                kind = NoCapacity
            elif error.errno in FORBIDDEN:
                kind = Unauthorized
            raise kind(f"{self.name}: {error}") from error

    @contextmanager
    def _after_the_deed(self, instance_id: str) -> Iterator[None]:
        """From here on a failure no longer means that nothing was done."""
        try:
            yield
        except OSError as error:
            raise OutcomeUnknown(f"{self.name}: {instance_id}: {error}") from error


def _status(folder: Path) -> InstanceStatus:
    if (folder / "terminating").exists():
        return InstanceStatus.TERMINATING
    if (folder / "powered-off").exists():
        return InstanceStatus.PROVISIONING
    return InstanceStatus.RUNNING


def _request(folder: Path) -> ProvisionRequest:
    """Read what was asked for; where it was damaged, the name is left, enough to end it by."""
    try:
        content = (folder / "request.json").read_bytes()
        return msgspec.json.decode(content, type=ProvisionRequest)
    except (msgspec.DecodeError, FileNotFoundError):
        return ProvisionRequest(name=folder.name, instance_type="")


def _lives(folder: Path) -> bool:
    """Tell whether the machine's process lives; reap it if it is a child that does not."""
    pid = _pid_written(folder)
    return local_process.is_held(folder / "lock") or not (pid is None or local_process.reap(pid))


def _pid(folder: Path) -> int | None:
    """Tell which process is the machine's; None if it has none."""
    pid = _pid_written(folder)
    if pid is not None and local_process.belongs(pid, folder / "lock"):
        return pid
    return local_process.holder(folder / "lock")


def _pid_written(folder: Path) -> int | None:
    try:
        return int((folder / "pid").read_text())
    except FileNotFoundError:
        return None


def _recover_pid(folder: Path) -> None:
    """Write down the pid of a living process if a provider did not live to do so."""
    if _pid_written(folder) is not None:
        return
    found = local_process.holder(folder / "lock")
    if found is not None:
        # A full disk must not keep anybody from listing or ending machines, and the next look
        # tries again.
        with suppress(OSError):
            local_process.write_whole(folder / "pid", str(found).encode())


def _kill_members(folder: Path) -> None:
    """Kill the machine's process and all it has started, looking again for what they start."""
    lock = folder / "lock"
    for _ in range(KILL_PASSES_MAX):
        members = local_process.members(lock)
        if not members:
            return
        for pid in members:
            local_process.send(pid, lock, signal.SIGKILL)
