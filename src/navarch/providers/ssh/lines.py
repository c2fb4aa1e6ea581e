"""Connections to machines: whom they trust, how long they wait, and when they are given up.

A machine's line is opened when it is first asked something and kept for a while, since a handshake
costs far more than a question. It is closed when nobody has used it for two minutes, or when the
machine is not heard for 45 seconds; `Lines.close` and the end of the event loop close all of them.

Rules that hold:

- A host key is pinned, by its fingerprint or in a file of known hosts, or the machine is not spoken
  to. Nothing of the user's own configuration of SSH is read: no default keys, hosts or options.
- Whoever asks learns whether the question may have arrived: `NotReached` says surely not.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeAlias

from msgspec import Struct

from navarch.errors import Unauthorized
from navarch.peers.ssh import import_library, private_key, reason
from navarch.peers.unanswered import Unanswered
from navarch.providers.ssh.settings import SshMachine, SshSettings

if TYPE_CHECKING:
    from collections.abc import Sequence

    import asyncssh

IDLE_SECONDS: Final = 120.0
"""How long an unused line is kept: longer than the minute between two lists."""

SESSIONS_AT_ONCE: Final = 8
"""Questions at once on one line: sshd takes 10 sessions unless told otherwise (sshd_config(5),
MaxSessions, read 2026-11-22)."""

KEEPALIVE_SECONDS: Final = 15
COMPLAINT_BYTES: Final = 600
CHUNK_BYTES: Final = 1 << 16

Key: TypeAlias = tuple[str, str, int, str, str]


class NotReached(Exception):
    """The machine cannot be asked, and surely has not been."""

    def __init__(self, reason: str, *, refused: bool = False) -> None:
        """Say why; `refused` if it does not trust us, or we do not trust it."""
        self.reason = reason
        self.refused = refused
        super().__init__(reason)


class AnswerLost(Exception):
    """The machine was asked, or may have been, and no answer came back."""


class Answer(Struct, frozen=True):
    """What a command on a machine came to."""

    status: int
    printed: bytes
    complained: str
    """The beginning of its standard error, on one line."""


class _Line:
    def __init__(self, connection: asyncssh.SSHClientConnection) -> None:
        self.connection = connection
        self.room = asyncio.Semaphore(SESSIONS_AT_ONCE)
        self.users = 0
        self.is_fresh = True
        """Whether nobody has asked on it yet; an older one may have been cut since."""
        self.used = asyncio.Event()
        self.keeper: asyncio.Task[None] | None = None


class Lines:
    """The open lines of one provider."""

    def __init__(self, settings: SshSettings) -> None:
        """Open nothing yet."""
        self._settings = settings
        self._lines: dict[Key, _Line] = {}
        self._doors: dict[Key, asyncio.Lock] = {}

    async def ask(
        self, machine: SshMachine, command: str, payload: bytes = b"", *, bytes_max: int
    ) -> Answer:
        """Run a command there, with `payload` as its input, and return what came of it.

        Cancelled, it leaves nothing here; the command may go on there.

        :raises Unauthorized: our own key or the known hosts cannot be read
        :raises NotReached: the machine was surely not asked
        :raises AnswerLost: it may have been
        """
        begun = False
        try:
            async with asyncio.timeout(self._settings.deadline.total_seconds()):
                while True:
                    async with self._line(machine) as line:
                        is_fresh, line.is_fresh = line.is_fresh, False
                        begun = True
                        try:
                            return await _answer(line, command, payload, bytes_max)
                        except NotReached:
                            begun = False
                            await _end(line)
                            if is_fresh:
                                raise
        except TimeoutError as error:
            within = f"no answer within {self._settings.deadline.total_seconds():g} s"
            raise (AnswerLost(within) if begun else NotReached(within)) from error

    async def close(self) -> None:
        """Close every line."""
        keepers = [line.keeper for line in self._lines.values() if line.keeper is not None]
        for keeper in keepers:
            keeper.cancel()
        await asyncio.gather(*keepers, return_exceptions=True)

    @asynccontextmanager
    async def _line(self, machine: SshMachine) -> AsyncIterator[_Line]:
        """Have the machine's line, opened if need be; a line that fails is closed."""
        key = (machine.id, machine.host, machine.port, machine.user, machine.fingerprint)
        door = self._doors.setdefault(key, asyncio.Lock())
        async with door:
            line = self._lines.get(key)
            if line is None or line.connection.is_closed():
                line = _Line(await self._connect(machine))
                self._lines[key] = line
                line.keeper = asyncio.create_task(self._keep(key, line), name=f"ssh {machine.id}")
        line.users += 1
        line.used.set()
        try:
            async with line.room:
                yield line
        finally:
            line.users -= 1
            line.used.set()

    async def _keep(self, key: Key, line: _Line) -> None:
        """Close the line when nobody has used it for long, or when the event loop ends."""
        is_idle = False
        try:
            while not (is_idle and line.users == 0):
                line.used.clear()
                try:
                    async with asyncio.timeout(IDLE_SECONDS):
                        await line.used.wait()
                    is_idle = False
                except TimeoutError:
                    is_idle = True
        finally:
            if self._lines.get(key) is line:
                del self._lines[key]
                self._doors.pop(key, None)
            line.connection.abort()
            await line.connection.wait_closed()

    async def _connect(self, machine: SshMachine) -> asyncssh.SSHClientConnection:
        await asyncio.to_thread(import_library)
        import asyncssh  # noqa: PLC0415 - an SDK is imported where it is used

        settings = self._settings
        presented: list[str] = []

        class Pinned(asyncssh.SSHClient):
            def validate_host_public_key(
                self, host: str, addr: str, port: int, key: asyncssh.SSHKey
            ) -> bool:
                presented.append(key.get_fingerprint("sha256"))
                return presented[-1] == machine.fingerprint

        known_hosts = await asyncio.to_thread(_known_hosts, machine, settings)
        async with _keys(settings) as keys:
            try:
                return await asyncssh.connect(
                    machine.host,
                    machine.port,
                    username=machine.user,
                    client_keys=keys,
                    known_hosts=known_hosts,
                    client_factory=Pinned,
                    config=None,
                    agent_path=None,
                    gss_host=None,
                    preferred_auth="publickey",
                    keepalive_interval=KEEPALIVE_SECONDS,
                    login_timeout=settings.deadline.total_seconds(),
                )
            except asyncssh.PermissionDenied as error:
                raise NotReached(f"{machine.user} may not log in", refused=True) from error
            except asyncssh.HostKeyNotVerifiable as error:
                found = f", it shows {presented[-1]}" if presented else ""
                text = f"its host key is not the one that is pinned{found}"
                raise NotReached(text, refused=True) from error
            except Exception as error:
                # What a peer says, or is called, makes the library raise errors of many kinds.
                raise NotReached(reason(error)) from error


async def _end(line: _Line) -> None:
    """Give a line up, and wait for it: until it is closed it would be taken again, and again."""
    assert line.keeper is not None
    line.keeper.cancel()
    await asyncio.gather(line.keeper, return_exceptions=True)


async def _answer(line: _Line, command: str, payload: bytes, bytes_max: int) -> Answer:
    import asyncssh  # noqa: PLC0415 - an SDK is imported where it is used

    try:
        process = await line.connection.create_process(command, encoding=None)
    except asyncssh.ChannelOpenError as error:
        raise NotReached(reason(error)) from error
    except Exception as error:
        raise AnswerLost(reason(error)) from error
    try:
        # A command that has ended early takes no input; its status says why.
        with suppress(BrokenPipeError):
            process.stdin.write(payload)
            process.stdin.write_eof()
        printed, complained = await asyncio.gather(
            _read(process.stdout, bytes_max), _read(process.stderr, CHUNK_BYTES)
        )
        await process.wait_closed()
    except Exception as error:
        raise AnswerLost(reason(error)) from error
    finally:
        process.close()
    status = process.exit_status
    if status is None or status < 0:
        raise AnswerLost("the connection was lost")
    if len(printed) > bytes_max:
        raise AnswerLost(f"it printed more than {bytes_max} bytes")
    words = complained[:COMPLAINT_BYTES].decode(errors="replace").split()
    return Answer(status, printed, " ".join(words))


async def _read(reader: asyncssh.SSHReader[bytes], bytes_max: int) -> bytes:
    """Read to the end, for nobody shall wait for us; keep the beginning, and a little more."""
    content = bytearray()
    while chunk := await reader.read(CHUNK_BYTES):
        if len(content) <= bytes_max:
            content += chunk
    return bytes(content)


def _known_hosts(machine: SshMachine, settings: SshSettings) -> object:
    """Read whom we trust; nobody but the fingerprint where there is one."""
    import asyncssh  # noqa: PLC0415 - an SDK is imported where it is used

    if machine.fingerprint:
        return ([], [], [])
    assert settings.known_hosts_file is not None
    try:
        return asyncssh.read_known_hosts(str(settings.known_hosts_file))
    except (OSError, ValueError) as error:
        text = f"the known hosts {settings.known_hosts_file} cannot be read: {reason(error)}"
        raise Unauthorized(text) from error


@asynccontextmanager
async def _keys(settings: SshSettings) -> AsyncIterator[Sequence[object]]:
    """Have the keys that log in, for as long as it takes to do so."""
    import asyncssh  # noqa: PLC0415 - an SDK is imported where it is used

    keys: list[object] = []
    if settings.key_file is not None:
        keys.append(await asyncio.to_thread(_key, settings.key_file))
    if not settings.agent:
        yield keys
        return
    path = os.environ.get("SSH_AUTH_SOCK", "")
    try:
        agent = await asyncssh.connect_agent(path)
    except (asyncssh.Error, OSError) as error:
        raise Unauthorized(f"the SSH agent at {path!r} cannot be asked: {error}") from error
    try:
        yield [*keys, *await agent.get_keys()]
    finally:
        agent.close()
        await agent.wait_closed()


def _key(path: Path) -> asyncssh.SSHKey:
    try:
        return private_key(path)
    except Unanswered as error:
        raise Unauthorized(str(error)) from None
