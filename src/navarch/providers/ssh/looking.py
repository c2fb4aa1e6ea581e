"""Looking at all machines at once: what each tells, and what is known of the silent ones."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from typing import Final, TypeAlias

from msgspec import Struct, structs

from navarch.errors import Unauthorized, Unavailable
from navarch.providers.ssh import remote
from navarch.providers.ssh.lease import Lease, Sight, State, Unreadable, read_sight
from navarch.providers.ssh.lines import AnswerLost, Lines, NotReached
from navarch.providers.ssh.memory import Memory
from navarch.providers.ssh.settings import (
    SshMachine,
    SshSettings,
    inventory,
    with_defaults,
)
from navarch.telemetry.log import Log

log = Log(__name__)

LOOKS_AT_ONCE: Final = 64
LOOK_SECONDS_MAX: Final = 40.0
"""How long a look at all machines may take: a list has 60 seconds in all, the inventory's command
20 of them."""

Silence: TypeAlias = NotReached | AnswerLost | Unreadable
"""Why a machine told nothing of use."""

NAMED_MAX: Final = 5
"""How many machines an error names."""


class View(Struct, frozen=True, kw_only=True):
    """All machines of the inventory at one moment."""

    machines: dict[str, SshMachine]
    sights: dict[str, Sight]
    """What those told that answered."""
    silent: dict[str, Silence]
    """Why the others did not."""
    told: dict[str, remote.Told] = {}
    """What an examination told of those that answered; empty after a look."""

    def held(self, name: str) -> Iterator[tuple[SshMachine, State, Lease]]:
        """Say which machines answered that a lease of this name has them, or is about to."""
        for machine, sight in self.sights.items():
            if sight.lease is not None and sight.lease.name == name:
                yield self.machines[machine], sight.state, sight.lease

    @property
    def has_ended(self) -> bool:
        """Whether the name that was looked for has ended on a machine that answered."""
        return any(sight.has_ended for sight in self.sights.values())


class Looking:
    """How one provider looks at its machines."""

    def __init__(self, settings: SshSettings, lines: Lines, memory: Memory, name: str) -> None:
        """Look by these lines, and remember in this memory."""
        self._settings = settings
        self._lines = lines
        self._memory = memory
        self._name = name
        self._told: frozenset[str] = frozenset()

    async def machines(self) -> dict[str, SshMachine]:
        """Tell which machines there are, by name.

        :raises Unavailable: the inventory cannot be had
        """
        found = await inventory(self._settings)
        return {each.id: with_defaults(each, self._settings) for each in found}

    async def at_all(self, name: str = "") -> View:
        """Look at every machine; also for the end of a lease of this name.

        :raises Unauthorized: nobody answers, and somebody refuses us
        :raises Unavailable: nobody answers, which is rather our network than all their disks; or
            the inventory or the memory cannot be had
        """
        await self._memory.load()
        since = self._memory.mark()
        view = await self._once(name)
        self._tell(view)
        silent = view.silent
        if silent and not view.sights:
            is_refused = any(_is_refusal(each) for each in silent.values())
            kind = Unauthorized if is_refused else Unavailable
            raise kind(f"{self._name}: no machine answers: {named(silent)}") from first(silent)
        await self._memory.learn(view.sights, view.machines, since)
        return view

    async def examined(self) -> View:
        """Look at every machine and ask what leases take, concluding and remembering nothing.

        :raises Unavailable: the inventory cannot be had
        """
        told: dict[str, remote.Told] = {}
        view = await self._once("", told)
        return structs.replace(view, told=told)

    async def _once(self, name: str, told: dict[str, remote.Told] | None = None) -> View:
        machines = await self.machines()
        answers = await self._answers(machines, name, told)
        sights = {key: each for key, each in answers.items() if isinstance(each, Sight)}
        silent = {key: each for key, each in answers.items() if not isinstance(each, Sight)}
        return View(machines=machines, sights=sights, silent=silent)

    def unknown(self, view: View) -> dict[str, Silence]:
        """Say which machines are silent and may have been lent before the memory began."""
        if self._memory.is_whole:
            return {}
        return {name: why for name, why in view.silent.items() if self._memory.seen(name) is None}

    async def _answers(
        self, machines: dict[str, SshMachine], name: str, told: dict[str, remote.Told] | None
    ) -> dict[str, Sight | Silence]:
        room = asyncio.Semaphore(LOOKS_AT_ONCE)
        asked = [
            asyncio.create_task(self._answer(each, name, room, told)) for each in machines.values()
        ]
        try:
            return dict(zip(machines, await asyncio.gather(*asked), strict=True))
        finally:
            for task in asked:
                task.cancel()
            await asyncio.gather(*asked, return_exceptions=True)

    async def _answer(
        self,
        machine: SshMachine,
        name: str,
        room: asyncio.Semaphore,
        told: dict[str, remote.Told] | None,
    ) -> Sight | Silence:
        try:
            async with asyncio.timeout(LOOK_SECONDS_MAX), room:
                if told is None:
                    return await self.at(machine, name)
                sight, told[machine.id] = await self._examined_at(machine)
                return sight
        except TimeoutError:
            return NotReached("not asked in time: others take too long")
        except (NotReached, AnswerLost, Unreadable) as error:
            return error

    async def at(self, machine: SshMachine, name: str) -> Sight:
        """Look at one machine.

        :raises Unreadable: what it says is no sight of a lease
        :raises NotReached: it does not answer; `AnswerLost` says the same of a look
        """
        return read_sight(await self._printed(machine, remote.LOOK, name))

    async def _examined_at(self, machine: SshMachine) -> tuple[Sight, remote.Told]:
        sight, told = remote.told_apart(await self._printed(machine, remote.EXAMINE, ""))
        return read_sight(sight), told

    async def _printed(self, machine: SshMachine, body: str, name: str) -> bytes:
        settings = self._settings
        command = remote.command(body, settings.folder, name, sudo=settings.sudo)
        answer = await self._lines.ask(machine, command, bytes_max=remote.OUTPUT_BYTES_MAX)
        if answer.status != remote.DONE:
            raise Unreadable(f"the look ended with {answer.status}: {answer.complained}")
        return answer.printed

    def _tell(self, view: View) -> None:
        """Log who has fallen silent and who answers again, once each."""
        silent = frozenset(view.silent)
        for name in sorted(silent - self._told):
            log.warning(
                "machine_silent", provider=self._name, machine=name, error=view.silent[name]
            )
        for name in sorted((self._told - silent) & view.sights.keys()):
            log.info("machine_answers", provider=self._name, machine=name)
        self._told = silent


def _is_refusal(why: Exception) -> bool:
    return isinstance(why, NotReached) and why.refused


def first(silent: Mapping[str, Silence]) -> Silence:
    """Choose one of several causes: a refusal if there is one."""
    return min(silent.values(), key=lambda why: not _is_refusal(why))


def named(silent: Mapping[str, Silence]) -> str:
    """Name some machines, each with why it is silent."""
    some = [f"{name}: {why}" for name, why in sorted(silent.items())[:NAMED_MAX]]
    more = len(silent) - len(some)
    return "; ".join([*some, f"and {more} more"] if more else some)
