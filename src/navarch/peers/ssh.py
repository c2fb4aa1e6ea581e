"""One command on a machine, over SSH, whose host key the caller judges afterwards.

The library, asyncssh, is imported at the first call (``navarch[ssh]``). Nothing of the user's own
configuration of SSH is read: no default keys, hosts, agents or options.

Rules that hold:

- Whoever answers is asked, and its key is returned with the answer. So the command must hold no
  secret, and the answer is worth nothing before the caller knows the key. Logging in by a key gives
  a stranger nothing to log in with elsewhere: the signature is bound to the connection.
- Not more is read than the limit; every failure is an `Unanswered`.
"""

from __future__ import annotations

import asyncio
import stat
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from navarch.peers.unanswered import Unanswered

if TYPE_CHECKING:
    import asyncssh

CHUNK_BYTES: Final = 1 << 16
COMPLAINT_BYTES: Final = 300


class Login(Struct, frozen=True, kw_only=True):
    """Where to log in, as whom, and by which key."""

    host: str
    port: int = 22
    user: str
    key_file: Path
    """A private key without a passphrase, for its owner alone to read; read anew when used."""


class Ran(Struct, frozen=True, kw_only=True):
    """What a command came to."""

    fingerprint: str
    """Of the host key that the machine has shown, as ``ssh-keygen -l`` prints it."""
    status: int
    printed: bytes
    complained: str
    """The beginning of its standard error, on one line."""


async def run(login: Login, command: str, *, deadline: timedelta, bytes_max: int) -> Ran:
    """Run a command without input on a machine, over a connection of its own.

    :raises Unanswered: the key cannot be used, the machine does not answer or does not let us in,
        it takes longer than `deadline`, or prints more than `bytes_max`
    """
    called = f"{login.user}@{login.host}"
    try:
        async with asyncio.timeout(deadline.total_seconds()):
            return await _ran(login, command, called, bytes_max)
    except TimeoutError as cause:
        within = f"{deadline.total_seconds():g} s"
        raise Unanswered(f"{called}: no answer within {within}") from cause


async def _ran(login: Login, command: str, called: str, bytes_max: int) -> Ran:
    await asyncio.to_thread(import_library, called)
    import asyncssh  # noqa: PLC0415 - an SDK is imported where it is used

    shown: list[str] = []

    class Noting(asyncssh.SSHClient):
        def validate_host_public_key(
            self, host: str, addr: str, port: int, key: asyncssh.SSHKey
        ) -> bool:
            shown.append(key.get_fingerprint("sha256"))
            return True

    key = await asyncio.to_thread(private_key, login.key_file)
    try:
        connection = await asyncssh.connect(
            login.host,
            login.port,
            username=login.user,
            client_keys=[key],
            known_hosts=([], [], []),
            client_factory=Noting,
            config=None,
            agent_path=None,
            gss_host=None,
            preferred_auth="publickey",
        )
    except asyncssh.PermissionDenied as cause:
        raise Unanswered(f"{called}: may not log in with {login.key_file}") from cause
    except Exception as cause:
        # What a peer says, or is called, makes the library raise errors of many kinds.
        raise Unanswered(f"{called}: {reason(cause)}") from cause
    try:
        return await _answer(connection, command, shown, bytes_max)
    except Unanswered as error:
        raise Unanswered(f"{called}: {error}") from error
    except Exception as cause:
        raise Unanswered(f"{called}: {reason(cause)}") from cause
    finally:
        connection.abort()
        await connection.wait_closed()


async def _answer(
    connection: asyncssh.SSHClientConnection, command: str, shown: list[str], bytes_max: int
) -> Ran:
    # Not closed by itself: that would wait for the other side, and the connection ends anyway.
    process = await connection.create_process(command, encoding=None)
    process.stdin.write_eof()
    printed, complained = await asyncio.gather(
        _read(process.stdout, bytes_max), _read(process.stderr, COMPLAINT_BYTES)
    )
    if len(printed) > bytes_max:
        raise Unanswered(f"it printed more than {bytes_max} bytes")
    await process.wait_closed()
    status = process.exit_status
    if status is None or status < 0:
        raise Unanswered("the connection was lost")
    words = complained[:COMPLAINT_BYTES].decode(errors="replace").split()
    return Ran(
        fingerprint=shown[-1] if shown else "",
        status=status,
        printed=printed,
        complained=" ".join(words),
    )


async def _read(reader: asyncssh.SSHReader[bytes], bytes_max: int) -> bytes:
    """Read to the end, for nobody shall wait for us; keep the beginning, and a little more."""
    content = bytearray()
    while chunk := await reader.read(CHUNK_BYTES):
        if len(content) <= bytes_max:
            content += chunk
    return bytes(content)


def import_library(called: str = "ssh") -> None:
    """Import asyncssh, which takes a third of a second, and have it log troubles alone.

    :raises Unanswered: it is not installed
    """
    try:
        import asyncssh  # noqa: PLC0415 - an SDK is imported where it is used
    except ImportError as cause:
        text = f"{called}: asyncssh is not installed: pip install 'navarch[ssh]'"
        raise Unanswered(text) from cause
    # It tells every connection and every command at the level of information.
    asyncssh.set_log_level("WARNING")


def private_key(path: Path) -> asyncssh.SSHKey:
    """Read a private key that only its owner may read.

    :raises Unanswered: others may read it, it is none, or it is locked by a passphrase
    """
    import asyncssh  # noqa: PLC0415 - an SDK is imported where it is used

    try:
        mode = stat.S_IMODE(path.stat().st_mode)
        if mode & 0o077:
            raise Unanswered(f"the key {path} may be read by others: chmod 600 it")
        return asyncssh.read_private_key(str(path))
    except (OSError, asyncssh.KeyImportError) as error:
        # The library's own words may quote the file.
        why = error.strerror if isinstance(error, OSError) else "no private key, or locked"
        raise Unanswered(f"the key {path} cannot be used: {why}") from None


def reason(error: Exception) -> str:
    """Say what is wrong, on one line of bounded length."""
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return " ".join((text or type(error).__name__).split())[:300]
