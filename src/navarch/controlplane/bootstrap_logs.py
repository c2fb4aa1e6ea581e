"""What the start-up scripts of machines told: asked for, shown, and kept for when they are gone.

There are two ways to a log: over SSH, where the pool names a user and a key, and by the provider,
where it shows a console or a log. Both are tried side by side; what SSH brings comes first, since
the file on the machine holds more than a console.

Rules that hold:

- Asking never waits for long, and is never done twice at the same time for one machine.
- What was read is kept (`navarch.controlplane.kept_logs`). A log that says that everything is done
  is not asked for again.
- A machine that is given up before it registered is asked once more before it is ended, for
  `KEEP_TIME_MAX`.
- The node's own token is struck out, wherever it came from. Over SSH a log is believed only where
  it vouches for the host key (`navarch.bootstrap.host_keys`).
"""

from __future__ import annotations

import asyncio
import shlex
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Final, TypeVar

from msgspec import Struct
from msgspec.structs import replace

from navarch.bootstrap import COMPLETE_MARK, LINE_MARK, is_vouched_for
from navarch.controlplane.answering import Consoles, Now
from navarch.controlplane.kept_logs import BootstrapLog, KeptLogs
from navarch.core.model.actions import Terminate
from navarch.core.model.fleet import Fleet
from navarch.core.model.instance import Instance
from navarch.errors import NavarchError
from navarch.peers import ssh
from navarch.peers.unanswered import Unanswered
from navarch.providers.base import BOOTSTRAP_LOG_BYTES_MAX, log_tail
from navarch.telemetry.log import Log

log = Log(__name__)

T = TypeVar("T")

READ_TIME_MAX: Final = timedelta(seconds=10)
"""How long a machine or a provider may take to show a log."""

KEEP_TIME_MAX: Final = timedelta(seconds=5)
"""How long the end of a machine waits for its log."""

QUEUE_TIME_MAX: Final = timedelta(seconds=20)
"""How long whoever asks waits for an answer, turns included: a command line waits for 30 s."""

READS_AT_ONCE: Final = 16
"""How many logs are read at one time, whoever asks."""

GIVEN_UP_MAX: Final = 10_000
"""For how many machines it is remembered that their logs were asked for before their end."""

PROOFS_MAX: Final = 32
PROOF_BYTES_MAX: Final = 300

SHOW: Final = r"""
log=$1
as_owner() { "$@"; }
if [ ! -r "$log" ] && [ "$(id -u)" -ne 0 ]; then
  as_owner() { sudo -n "$@"; }
  as_owner true || exit 4
fi
as_owner test -e "$log" || exit 3
as_owner grep -a "$2" "$log" | tail -n "$3" | cut -c "1-$4"
echo ----
as_owner tail -c "$5" "$log"
"""
"""Shows which host keys the script vouches for, and the end of what it told."""

MISSING: Final = 3
NO_SUDO: Final = 4


class LogAccess(Struct, frozen=True, kw_only=True):
    """Where start-up logs are, and where they are kept."""

    folder: Path | None = None
    """Where logs are kept; None: nowhere."""
    path: str = "/var/log/navarch-bootstrap.log"
    """Where the script writes on machines: `BootstrapSettings.log`."""
    token_of: Callable[[str], str] | None = None
    """Makes the token of a node from its id; None: there are no tokens, and no logs over SSH."""
    over_ssh: frozenset[str] | None = None
    """The providers whose machines let people in by SSH at their addresses; None: all."""
    port: int = 22
    """Where they do."""


class BootstrapLogs:
    """The logs of one fleet's machines."""

    def __init__(
        self, access: LogAccess, effects: Consoles, fleet: Callable[[], Fleet], clock: Now
    ) -> None:
        """Ask the providers that `effects` knows, and the machines of `fleet`."""
        self._access = access
        self._effects = effects
        self._fleet = fleet
        self._clock = clock
        self._kept = None if access.folder is None else KeptLogs(access.folder)
        self._reading: dict[str, asyncio.Task[BootstrapLog]] = {}
        self._turns = asyncio.Semaphore(READS_AT_ONCE)
        self._given_up: deque[str] = deque(maxlen=GIVEN_UP_MAX)

    async def of(self, instance: Instance) -> BootstrapLog:
        """Return what an instance's script told, as fresh as can be had within 20 seconds."""
        kept = await self._get(instance.id)
        if kept is not None and (instance.ended or _is_complete(kept.text, instance.id)):
            return kept
        try:
            async with asyncio.timeout(QUEUE_TIME_MAX.total_seconds()):
                found = await asyncio.shield(self._begun(instance))
        except TimeoutError:
            found = BootstrapLog(problem="too many logs are being read: ask again")
        if kept is not None and not found.text:
            return replace(kept, problem=found.problem)
        return found

    async def before_end(self, action: Terminate) -> None:
        """Keep the log of a machine that is to end and never registered; once, and quickly."""
        instance = self._fleet().instances.get(action.instance_id)
        if instance is None or instance.registered_at is not None or self._kept is None:
            return
        ways = dict(self._ways(instance))
        if not ways or instance.id in self._given_up:
            return
        self._given_up.append(instance.id)
        found = await self._read(instance, ways, KEEP_TIME_MAX)
        if found.problem:
            log.warning("bootstrap_log_lost", instance=instance.id, error=found.problem)

    async def close(self) -> None:
        """Give up what is being read."""
        reading = list(self._reading.values())
        for each in reading:
            each.cancel()
        await asyncio.gather(*reading, return_exceptions=True)

    # --- reading -------------------------------------------------------------------------

    def _begun(self, instance: Instance) -> asyncio.Task[BootstrapLog]:
        """Begin to read a log, or join whoever reads it already."""
        task = self._reading.get(instance.id)
        if task is None:
            task = asyncio.create_task(self._in_turn(instance), name=f"log of {instance.id}")
            self._reading[instance.id] = task
            task.add_done_callback(lambda _: self._reading.pop(instance.id, None))
        return task

    async def _in_turn(self, instance: Instance) -> BootstrapLog:
        async with self._turns:
            return await self._read(instance, dict(self._ways(instance)), READ_TIME_MAX)

    def _ways(self, instance: Instance) -> Iterator[tuple[str, Callable[[], Awaitable[str]]]]:
        """Say by whom its log may be read, the best first."""
        if not instance.ref:
            return
        login = self._login(instance)
        if login is not None and not instance.ended:
            yield "ssh", lambda: self._over_ssh(login, instance.id)
        if self._effects.shows_logs(instance.provider):
            name, ref = instance.provider, instance.ref
            yield name, lambda: self._effects.bootstrap_log(name, ref)

    def _login(self, instance: Instance) -> ssh.Login | None:
        access = self._access
        pool = self._fleet().pools.get(instance.pool)
        host = instance.public_ip or instance.private_ip
        if pool is None or not host or access.token_of is None:
            return None
        if access.over_ssh is not None and instance.provider not in access.over_ssh:
            return None
        user, key = pool.spec.ssh_user, pool.spec.ssh_private_key_path
        if not user or not key:
            return None
        return ssh.Login(host=host, port=access.port, user=user, key_file=Path(key))

    async def _read(
        self,
        instance: Instance,
        ways: Mapping[str, Callable[[], Awaitable[str]]],
        within: timedelta,
    ) -> BootstrapLog:
        """Try all ways at once, and keep what the best of them brought."""
        answers = await asyncio.gather(*(_tried(name, way, within) for name, way in ways.items()))
        empty: BootstrapLog | None = None
        problems = []
        for name, answer in zip(ways, answers, strict=True):
            if isinstance(answer, _Failed):
                problems.append(answer.because)
                continue
            text = self._without_token(instance.id, log_tail(answer))
            found = BootstrapLog(text=text, source=name, read_at=self._clock.now())
            if text:
                await self._put(instance.id, found)
                return found
            empty = empty or found
        if empty is not None:
            return replace(empty, problem="; ".join(problems))
        return BootstrapLog(problem="; ".join(problems) or self._without_ways(instance))

    def _without_ways(self, instance: Instance) -> str:
        if not instance.ref:
            return "there is no machine that could tell"
        if instance.ended:
            return "the machine has ended, and its log was not kept"
        shows = f"provider {instance.provider} shows no logs"
        return f"{shows}, and pool {instance.pool} has no ssh_user and key to log in with"

    def _without_token(self, instance_id: str, text: str) -> str:
        if self._access.token_of is None:
            return text
        return text.replace(self._access.token_of(instance_id), "***")

    async def _over_ssh(self, login: ssh.Login, instance_id: str) -> str:
        """Read the file on the machine. Raises `Unanswered`."""
        access = self._access
        assert access.token_of is not None
        words = [access.path, LINE_MARK, str(PROOFS_MAX), str(PROOF_BYTES_MAX)]
        command = ["sh", "-c", SHOW, "navarch", *words, str(BOOTSTRAP_LOG_BYTES_MAX + 1)]
        bytes_max = BOOTSTRAP_LOG_BYTES_MAX + PROOFS_MAX * (PROOF_BYTES_MAX + 1) + 1024
        ran = await ssh.run(login, shlex.join(command), deadline=READ_TIME_MAX, bytes_max=bytes_max)
        called = f"{login.user}@{login.host}"
        if ran.status == MISSING:
            raise Unanswered(f"{called}: there is no {access.path}, or not yet")
        if ran.status == NO_SUDO:
            raise Unanswered(f"{called}: may not read {access.path}, and sudo -n does not let it")
        proofs, line, told = ran.printed.partition(b"----\n")
        if ran.status != 0 or not line:
            why = ran.complained or "no word"
            raise Unanswered(f"{called}: reading {access.path} ended with {ran.status}: {why}")
        vouched = proofs.decode(errors="replace")
        if not is_vouched_for(vouched, access.token_of(instance_id), ran.fingerprint):
            text = f"{called}: its host key {ran.fingerprint} is not the machine's"
            raise Unanswered(f"{text}: its start-up script does not vouch for it")
        return log_tail(told)

    # --- keeping -------------------------------------------------------------------------

    async def _get(self, instance_id: str) -> BootstrapLog | None:
        if self._kept is None:
            return None
        try:
            return await asyncio.to_thread(self._kept.get, instance_id)
        except OSError as error:
            log.warning("bootstrap_log_unreadable", instance=instance_id, error=str(error))
            return None

    async def _put(self, instance_id: str, found: BootstrapLog) -> None:
        if self._kept is None:
            return
        try:
            await asyncio.to_thread(self._kept.put, instance_id, found)
        except OSError as error:
            log.warning("bootstrap_log_not_kept", instance=instance_id, error=str(error))


class _Failed(Struct, frozen=True):
    """A way that led nowhere."""

    because: str


async def _tried(name: str, way: Callable[[], Awaitable[str]], within: timedelta) -> str | _Failed:
    try:
        async with asyncio.timeout(within.total_seconds()):
            return await way()
    except TimeoutError:
        return _Failed(f"{name}: no answer within {within.total_seconds():g} s")
    except NavarchError as error:
        text = " ".join(str(error).split())
        return _Failed(text if text.startswith(f"{name}:") else f"{name}: {text}")


def _is_complete(text: str, instance_id: str) -> bool:
    return f"{COMPLETE_MARK} node={instance_id}" in text
