"""Machines that somebody owns already, lent and returned over SSH.

The truth about a lease is on the machine that is lent (`navarch.providers.ssh.remote`), so that a
provider that has just started, or another control plane with the same inventory, reads the same.
No two machines are ever lent for one name, whoever asks at once, and no part of that needs a clock:

1. Everybody who asks for a name tries the machines in the same order, drawn from the name.
2. A machine is *claimed* first, which only one can do. Then all others are looked at once more.
   Of two claims of one name the later one of that order is withdrawn, by whoever sees both; a
   claim that has been confirmed is never withdrawn, and the other one is.
3. Then the claim is confirmed, and with it the start-up script begins. Of two who claim, at least
   the later one sees the other's claim, so both are never confirmed.

A machine that does not answer is listed as it was seen last (`navarch.providers.ssh.memory`).
"""

from __future__ import annotations

import asyncio
import hashlib
import ipaddress
import secrets
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Final

from navarch.errors import (
    InvalidRequest,
    NoCapacity,
    NotFound,
    OutcomeUnknown,
    Unauthorized,
    Unavailable,
)
from navarch.providers.base import (
    Finding,
    Instance,
    Instances,
    InstanceStatus,
    InstanceType,
    ProvisionRequest,
    Wanted,
    log_tail,
)
from navarch.providers.ssh import remote
from navarch.providers.ssh.examining import examined
from navarch.providers.ssh.lease import LEASE_BYTES_MAX, NAME, Lease, State, written
from navarch.providers.ssh.lines import Answer, AnswerLost, Lines, NotReached
from navarch.providers.ssh.looking import Looking, View, first, named
from navarch.providers.ssh.memory import Memory, Seen, seen_of
from navarch.providers.ssh.settings import SshMachine, SshSettings, with_defaults

PROVISION_SECONDS_MAX: Final = 100.0
"""How long a launch may take in all: less than `SshProvider.list_lag`."""

ROUNDS_MAX: Final = 10
"""How often a launch begins anew because others have withdrawn its claim."""

SCRIPT_BYTES_MAX: Final = 4 * 1024 * 1024


class _Course:
    """How far one launch has come."""

    def __init__(self) -> None:
        self.doubt = ""
        """What may have been done although nobody said so; empty: nothing."""


class SshProvider:
    """The `Provider`, `InstanceTypeLister` and `BootstrapLogReader` of an inventory of machines."""

    list_lag: Final = timedelta(minutes=2)
    """A launch gives up after 100 seconds; its last word may be carried out a little later."""

    honours_tokens: Final = True

    def __init__(
        self,
        settings: SshSettings,
        *,
        now: Callable[[], datetime],
        sleep: Callable[[timedelta], Awaitable[None]],
        name: str = "ssh",
    ) -> None:
        """Lend the machines of an inventory. `now` is written into leases, for people to read."""
        self.name = name
        self.launches_at_once = min(4, len(settings.machines) or 4)
        """Each looks at all machines twice."""
        self.calls_per_second = 10.0
        self._settings = settings
        self._now = now
        self._sleep = sleep
        self._lines = Lines(settings)
        self._memory = Memory(settings.memory_file)
        self._looking = Looking(settings, self._lines, self._memory, name)

    async def close(self) -> None:
        """Close all connections. What goes on on the machines goes on."""
        await self._lines.close()

    async def list_instance_types(self) -> list[InstanceType]:
        """Show the types of the inventory; whether one is free, it does not say.

        Where machines of one type differ, the smallest number of GPUs and the highest price count.

        :raises Unavailable: the inventory cannot be had
        """
        machines = list((await self._looking.machines()).values())
        kinds = {each.instance_type: each for each in machines}
        return [
            InstanceType(
                name=kind,
                gpu_count=min(each.gpu_count for each in machines if each.instance_type == kind),
                gpu_type=kinds[kind].gpu_type,
                price_per_hour=max(
                    each.price_per_hour for each in machines if each.instance_type == kind
                ),
                regions=tuple(
                    sorted({each.region for each in machines if each.instance_type == kind} - {""})
                ),
            )
            for kind in sorted(kinds)
        ]

    async def list(self) -> Instances:
        """Show what is lent or being returned, by machine; see `Provider.list`.

        A machine that does not answer is shown as it was seen last: nobody can have ended its lease
        since. Cost: one command on each machine.

        :raises Unavailable: a machine does not answer and may have been lent before the memory
            began, or the inventory or the memory cannot be had
        :raises Unauthorized: no machine lets us in
        """
        view = await self._looking.at_all()
        unknown = self._looking.unknown(view)
        if unknown:
            text = f"{self.name}: never seen, and no answer: {named(unknown)}"
            text = f"{text}. Repair them, or take them out of the inventory"
            raise Unavailable(text) from first(unknown)
        shown: Instances = []
        for key, machine in sorted(view.machines.items()):
            sight = view.sights.get(key)
            seen = self._memory.seen(key)
            if sight is not None:
                seen = seen_of(sight)
            if seen is not None and seen.lease is not None:
                shown.append(self._instance(machine, seen.lease, is_returning=seen.returning))
        return shown

    async def provision(self, request: ProvisionRequest) -> Instance:
        """Lend a free machine of this type and place, and start its start-up script there.

        Returns as soon as the script has begun; what it tells is in `bootstrap_log`.

        :raises NoCapacity: no machine of this kind that answers is free
        :raises InvalidRequest: no machine of the inventory is of this kind, the name has been used,
            or the start-up script is none
        :raises Unavailable: a machine does not answer and may have this name, or the like of `list`
        :raises Unauthorized: no machine lets us in
        :raises OutcomeUnknown: the last word to a machine may not have arrived
        """
        script = self._checked(request)
        course = _Course()
        try:
            async with asyncio.timeout(PROVISION_SECONDS_MAX):
                for _ in range(ROUNDS_MAX):
                    instance = await self._try(request, script, course)
                    if instance is not None:
                        return instance
                    await self._sleep(timedelta(milliseconds=200))
        except TimeoutError as error:
            if course.doubt:
                raise OutcomeUnknown(f"{self.name}: {course.doubt}: not done in time") from error
            raise Unavailable(f"{self.name}: {request.name}: not done in time") from error
        raise Unavailable(f"{self.name}: {request.name}: others claim machines for it all the time")

    async def terminate(self, instance_id: str) -> None:
        """Have the machine return itself: agent ended, what was made removed, clean-up run.

        It is listed as ``terminating`` until all of that is done. What fails is in the log, and
        is tried again when this is called again.

        :raises NotFound: there is no such lease
        :raises Unavailable: the machine does not answer
        :raises OutcomeUnknown: it was asked, and has not answered
        """
        machine, name = await self._found(instance_id)
        settings = self._settings
        script = remote.release_script(settings.cleanup_commands, settings.cleanup_time_max)
        with self._in_doubt(f"{instance_id} may be ending"):
            answer = await self._ask(machine, remote.RELEASE, name, str(len(script)), stdin=script)
        if answer.status == remote.GONE:
            raise NotFound(f"{self.name}: there is no machine {instance_id}")
        self._expect_done(machine, answer)

    async def bootstrap_log(self, instance_id: str) -> str:
        """Fetch what the start-up script told, and then what the machine's return told.

        The last 64 KiB of both. It works for the newest hundred leases that a machine has seen
        ended, too; see `BootstrapLogReader`.

        :raises NotFound: the machine knows of no such lease
        :raises Unavailable: it does not answer
        """
        machine, name = await self._found(instance_id)
        try:
            answer = await self._ask(machine, remote.LOG, name, str(remote.LOG_BYTES_MAX))
        except AnswerLost as error:
            raise Unavailable(f"{self.name}: {machine.id}: {error}") from error
        if answer.status == remote.GONE:
            raise NotFound(f"{self.name}: {machine.id} knows of no lease {name}")
        self._expect_done(machine, answer)
        return log_tail(answer.printed)

    async def examine_for(self, wanted: Sequence[Wanted]) -> Sequence[Finding]:
        """Say of each machine whether it can be lent and who has it, and whether they suffice.

        :raises Unavailable: the inventory cannot be had
        :raises Unauthorized: our own key or the known hosts cannot be read
        """
        return examined(await self._looking.examined(), wanted)

    # Lending.

    def _checked(self, request: ProvisionRequest) -> bytes:
        """Return the start-up script, or refuse what could never be lent."""
        if NAME.fullmatch(request.name) is None:
            raise InvalidRequest(f"{self.name}: {request.name!r} cannot be the name of a lease")
        if request.spot:
            raise InvalidRequest(f"{self.name}: machines that are lent are not taken away again")
        if request.user_data and not request.user_data.startswith("#!"):
            raise InvalidRequest(f"{self.name}: the start-up script has to begin with #!")
        try:
            script = request.user_data.encode()
            length = len(written(self._lease(request)))
        except UnicodeEncodeError as error:
            raise InvalidRequest(f"{self.name}: {request.name}: not UTF-8") from error
        if len(script) > SCRIPT_BYTES_MAX or length > LEASE_BYTES_MAX:
            raise InvalidRequest(f"{self.name}: {request.name}: the script or labels are too long")
        return script

    async def _try(
        self, request: ProvisionRequest, script: bytes, course: _Course
    ) -> Instance | None:
        """Lend a machine, or find the one that is lent; None: others interfered, begin anew."""
        view = await self._looking.at_all(request.name)
        self._refuse_what_ended(view, request)
        self._refuse_what_is_unsure(view, request)
        held = sorted(view.held(request.name), key=lambda each: _rank(request.name, each[0]))
        confirmed = [(machine, lease) for machine, state, lease in held if state is State.LENT]
        if confirmed:
            return await self._start(*confirmed[0], script, course)
        if held:
            machine, _, lease = held[0]
        else:
            claimed = await self._claim(view, request)
            if claimed is None:
                return None
            machine, lease = claimed
        rival = await self._contest(machine, lease, request)
        if rival is not None:
            machine, lease = rival
        return await self._start(machine, lease, script, course)

    def _refuse_what_ended(self, view: View, request: ProvisionRequest) -> None:
        for _, state, lease in view.held(request.name):
            if not lease.is_of(request):
                raise InvalidRequest(f"{self.name}: {request.name} belongs to another token")
            if state is State.RETURNING:
                raise InvalidRequest(f"{self.name}: {request.name} is ending; names are used once")
        if view.has_ended:
            raise InvalidRequest(f"{self.name}: {request.name} has ended; names are used once")

    def _refuse_what_is_unsure(self, view: View, request: ProvisionRequest) -> None:
        """Lend no second machine while one that does not answer may have the name."""
        for key in view.silent:
            seen = self._memory.seen(key)
            if seen is not None and seen.lease is not None and seen.lease.name == request.name:
                text = f"{self.name}: {request.name} was lent {key}, which does not answer"
                raise OutcomeUnknown(f"{text}: {view.silent[key]}") from view.silent[key]
        unknown = self._looking.unknown(view)
        if unknown:
            text = f"{self.name}: never seen, and no answer: {named(unknown)}"
            text = f"{text}. Repair them, or take them out of the inventory"
            raise Unavailable(text) from first(unknown)

    async def _claim(
        self, view: View, request: ProvisionRequest
    ) -> tuple[SshMachine, Lease] | None:
        """Claim the first free machine of this kind; None: another has, for the same name."""
        wanted = [each for each in view.machines.values() if _fits(each, request)]
        if not wanted:
            kinds = ", ".join(sorted({each.instance_type for each in view.machines.values()}))
            text = f"{self.name}: no {request.instance_type!r} in {request.region or 'any region'}"
            raise InvalidRequest(
                f"{text}/{request.zone or 'any zone'}; there are: {kinds or 'none'}"
            )
        lease = self._lease(request)
        for machine in sorted(wanted, key=lambda each: _rank(request.name, each)):
            sight = view.sights.get(machine.id)
            if sight is None or sight.state not in {State.FREE, State.STALE}:
                continue
            try:
                answer = await self._ask_with(machine, remote.CLAIM, request.name, written(lease))
            except (Unavailable, Unauthorized):
                continue
            except AnswerLost as error:
                # A claim is nobody's machine: unconfirmed, it is free again in ten minutes.
                raise Unavailable(f"{self.name}: {machine.id}: {error}") from error
            if answer.status == remote.ENDED:
                raise InvalidRequest(f"{self.name}: {request.name} has ended; names are used once")
            if answer.status == remote.SAME:
                return None
            if answer.status != remote.TAKEN:
                self._expect_done(machine, answer)
                return machine, lease
        silent = sum(each.id in view.silent for each in wanted)
        text = f"{self.name}: none of {len(wanted)} {request.instance_type} is free"
        raise NoCapacity(f"{text}; {silent} of them do not answer")

    async def _contest(
        self, machine: SshMachine, lease: Lease, request: ProvisionRequest
    ) -> tuple[SshMachine, Lease] | None:
        """See to it that ours is the only claim of its name; return the one to confirm instead."""
        view = await self._looking.at_all(request.name)
        self._refuse_what_ended(view, request)
        for other, state, theirs in view.held(request.name):
            if other.id == machine.id:
                continue
            is_first = _rank(request.name, machine) < _rank(request.name, other)
            if state is not State.LENT and is_first:
                answer = await self._withdraw(other, theirs)
                if answer.status != remote.LENT:
                    continue
            await self._withdraw(machine, lease)
            return other, theirs
        return None

    async def _withdraw(self, machine: SshMachine, lease: Lease) -> Answer:
        try:
            answer = await self._ask(machine, remote.WITHDRAW, lease.name, lease.nonce)
        except AnswerLost as error:
            raise Unavailable(f"{self.name}: {machine.id}: {error}") from error
        if answer.status not in {remote.GONE, remote.LENT}:
            self._expect_done(machine, answer)
        return answer

    async def _start(
        self, machine: SshMachine, lease: Lease, script: bytes, course: _Course
    ) -> Instance | None:
        """Confirm a claim and start its script, if that was not done; None: it was withdrawn."""
        before = self._memory.seen(machine.id) or Seen()
        await self._memory.note(machine.id, Seen(lease=lease))
        course.doubt = f"{lease.name} may be lent {machine.id}"
        words = (lease.nonce, str(len(script)))
        try:
            with self._in_doubt(course.doubt):
                answer = await self._ask(machine, remote.START, lease.name, *words, stdin=script)
        except (Unavailable, Unauthorized):
            course.doubt = ""
            await self._memory.note(machine.id, before)
            raise
        course.doubt = ""
        if answer.status == remote.ENDED:
            raise InvalidRequest(f"{self.name}: {lease.name} is ending; names are used once")
        if answer.status == remote.GONE:
            await self._memory.note(machine.id, before)
            return None
        if answer.status != remote.DONE:
            text = f"{machine.id} ended with {answer.status}: {answer.complained}"
            raise OutcomeUnknown(f"{self.name}: {lease.name}: {text}")
        return self._instance(machine, lease, is_returning=False)

    def _lease(self, request: ProvisionRequest) -> Lease:
        return Lease(
            name=request.name,
            token=request.token,
            nonce=secrets.token_hex(8),
            instance_type=request.instance_type,
            region=request.region,
            zone=request.zone,
            labels=dict(request.labels),
            lent_at=self._now().isoformat(timespec="seconds"),
        )

    # Speaking to one machine.

    async def _found(self, instance_id: str) -> tuple[SshMachine, str]:
        """Find the machine of an id, and the name of its lease."""
        name, _, where = instance_id.partition("@")
        machine = (await self._looking.machines()).get(where)
        if machine is None or NAME.fullmatch(name) is None:
            raise NotFound(f"{self.name}: there is no machine {instance_id}")
        return machine, name

    async def _ask_with(self, machine: SshMachine, body: str, name: str, content: bytes) -> Answer:
        return await self._ask(machine, body, name, str(len(content)), stdin=content)

    async def _ask(
        self, machine: SshMachine, body: str, name: str, *words: str, stdin: bytes = b""
    ) -> Answer:
        """Run a body of `remote` there. Raises `AnswerLost` as it comes: what it means differs."""
        settings = self._settings
        command = remote.command(body, settings.folder, name, *words, sudo=settings.sudo)
        try:
            return await self._lines.ask(
                with_defaults(machine, settings), command, stdin, bytes_max=remote.OUTPUT_BYTES_MAX
            )
        except NotReached as error:
            kind = Unauthorized if error.refused else Unavailable
            raise kind(f"{self.name}: {machine.id}: {error.reason}") from error

    @contextmanager
    def _in_doubt(self, what: str) -> Iterator[None]:
        try:
            yield
        except AnswerLost as error:
            raise OutcomeUnknown(f"{self.name}: {what}: {error}") from error

    def _expect_done(self, machine: SshMachine, answer: Answer) -> None:
        if answer.status != remote.DONE:
            text = f"{machine.id} ended with {answer.status}: {answer.complained or 'no word'}"
            raise Unavailable(f"{self.name}: {text}")

    def _instance(self, machine: SshMachine, lease: Lease, *, is_returning: bool) -> Instance:
        address = _address(machine.host)
        is_private = address is not None and address.is_private
        return Instance(
            id=f"{lease.name}@{machine.id}",
            provider=self.name,
            name=lease.name,
            region=machine.region,
            zone=machine.zone,
            instance_type=machine.instance_type,
            status=InstanceStatus.TERMINATING if is_returning else InstanceStatus.RUNNING,
            public_ip=machine.host if address is not None and not is_private else "",
            private_ip=machine.host if is_private else "",
            gpu_count=machine.gpu_count,
            gpu_type=machine.gpu_type,
            labels={**machine.labels, **lease.labels},
        )


def _fits(machine: SshMachine, request: ProvisionRequest) -> bool:
    return (
        machine.instance_type == request.instance_type
        and request.region in {"", machine.region}
        and request.zone in {"", machine.zone}
    )


def _rank(name: str, machine: SshMachine) -> bytes:
    """Say where a machine stands among all for a name: the same for everybody who asks."""
    return hashlib.sha256(f"{name}\0{machine.id}".encode()).digest()


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None
