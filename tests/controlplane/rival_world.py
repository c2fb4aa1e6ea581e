"""Several control planes over one journal and one cloud, in virtual time, with whatever may happen.

A *member* is one control plane process. It can be killed, stand still and go on, and be cut off
from the journal; when it ends by itself it is started again, as a supervisor would. Who is killed
stands still for ever: nobody outside can tell the difference. The world notes every effect that was
begun by one who does not lead by the journal's own clock.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any

from doubles.leased_store import LeasedJournal, LeasedMemoryStore
from navarch.controlplane.clock import FakeClock
from navarch.controlplane.control_plane import ControlPlane
from navarch.controlplane.server_config import ServerConfig
from navarch.core import fold
from navarch.core.model import events as ev
from navarch.core.model import fleet as fleets
from navarch.core.model import messages as msg
from navarch.core.settings import Settings
from navarch.errors import NavarchError, WireError
from navarch.providers.base import FLEET_LABEL, INSTANCE_LABEL, Instance, ProvisionRequest
from navarch.providers.fake import FakeCloud, FakeProvider
from navarch.providers.fake.limits import Rate
from navarch.simulator.dice import Dice
from pools import MONDAY, a_spec

STEP = timedelta(seconds=0.5)
TURNS = 40
"""How often everybody may run in a step: a fact passes through a dozen hands."""
LATENCY = timedelta(seconds=0.6)
"""How long a renewal is on its way: a leader counts its lease from when it was sent."""
STALLS = (1, 3, 7, 9, 12)
"""For how many seconds a process stands still: less than a lease, just longer, much longer."""
UNANSWERED = timedelta(seconds=20)
"""After so long whoever asked gives up, and does not know what came of it."""
SETTINGS = Settings(
    heartbeat_interval=timedelta(seconds=10),
    registration_timeout=timedelta(minutes=1),
    drain_timeout=timedelta(seconds=5),
    termination_retry=timedelta(seconds=5),
    inventory_interval=timedelta(seconds=4),
    inventory_interval_urgent=timedelta(seconds=1),
    witness_gap=timedelta(seconds=2),
    effect_retry=timedelta(seconds=2),
    retry_base=timedelta(seconds=1),
    retry_max=timedelta(seconds=5),
)


class MemberClock:
    """A process's own view of time: while the process stands still, none of its waits ends."""

    jumps = True

    def __init__(self, clock: FakeClock) -> None:
        self._clock = clock
        self.runs = asyncio.Event()
        self.runs.set()

    def now(self) -> datetime:
        return self._clock.now()

    async def sleep(self, duration: timedelta) -> None:
        await self._clock.sleep(duration)
        await self.runs.wait()


class WatchedProvider(FakeProvider):
    """Tells the world of every call that changes something, at the moment it is made."""

    def __init__(self, world: World, member: Member) -> None:
        clock = member.clock
        super().__init__(cloud=world.cloud, now=clock.now, sleep=clock.sleep)
        self._world = world
        self._member = member

    async def provision(self, request: ProvisionRequest) -> Instance:
        await self._begin(f"launch {request.name}")
        return await super().provision(request)

    async def terminate(self, instance_id: str) -> None:
        await self._begin(f"terminate {instance_id}")
        await super().terminate(instance_id)

    async def _begin(self, what: str) -> None:
        self._world.note_effect(self._member, what)
        await self._member.clock.runs.wait()  # it may stand still just before the call goes out


class Member:
    """One control plane process."""

    def __init__(self, world: World, name: str) -> None:
        self.name = name
        self.clock = MemberClock(world.clock)
        self.dead = False
        self.stalled_until = MONDAY
        self.store = LeasedMemoryStore(
            world.journal, holder=name, url=f"http://{name}:50051", clock=self.clock
        )
        config = ServerConfig(clock=self.clock, settings=SETTINGS)
        self.control_plane = ControlPlane(config, self.store)
        self.control_plane.register_provider(WatchedProvider(world, self))
        self.starting = asyncio.create_task(self._start(world.spec))

    async def _start(self, spec: object) -> None:
        await self.control_plane.start()
        await self.control_plane.configure_pools([spec])  # type: ignore[list-item]

    @property
    def up(self) -> bool:
        """Whether anybody gets an answer here."""
        started = self.starting.done() and self.starting.exception() is None
        return started and not self.dead and self.clock.runs.is_set()

    @property
    def failed(self) -> bool:
        """Whether the process has ended by itself."""
        if self.dead or not self.clock.runs.is_set():
            return False
        if self.starting.done() and self.starting.exception() is not None:
            return True
        return self.starting.done() and not self.control_plane.readiness().ready


class World:
    """All of it, from one seed."""

    def __init__(self, seed: int, members: int = 2) -> None:
        self.dice = Dice(seed).stream("two control planes")
        self.clock = FakeClock(MONDAY)
        self.journal = LeasedJournal(self.clock, latency=LATENCY)
        self.cloud = FakeCloud(
            boot_time=timedelta(seconds=2),
            answer_time=timedelta(seconds=1),
            honours_tokens=self.dice.chance(0.5),
        )
        if self.dice.chance(0.7):  # so that launches wait for their turn, and stand still there
            self.cloud.rate = Rate(calls=2, per=timedelta(seconds=3))
        self.spec = a_spec(min_nodes=1, max_nodes=8)
        self.restarts = True
        """Whether somebody starts a process again that has ended by itself."""
        self.violations: list[str] = []
        self.effects = 0
        self.acknowledged: list[str] = []
        self.refusals: list[str] = []
        self.ended: list[Member] = []
        self._serial = 0
        self._stall_next: Member | None = None
        self._asked: list[tuple[asyncio.Future[msg.Answer], str, Any]] = []
        self.members = [Member(self, f"cp{number}") for number in range(members)]

    # --- what happens ----------------------------------------------------------------------

    def note_effect(self, member: Member, what: str) -> None:
        """Count an effect that a member has begun; it must lead by the journal's own clock."""
        self.effects += 1
        leader = self.journal.leader
        if leader is None or (leader.holder, leader.term) != (member.name, member.store.term):
            self.violations.append(f"{member.name} began to {what} while {leader} led")

    def kill(self, place: int) -> None:
        """End a process without any warning, and start another in its place."""
        member = self.members[place]
        member.dead = True
        member.clock.runs.clear()
        self.ended.append(member)
        self.members[place] = Member(self, member.name)

    def chaos(self) -> None:
        """Let one thing happen, or none."""
        place = self.dice.integer(0, len(self.members) - 1)
        if self.dice.chance(0.5):  # rather to the one that leads: it has more to lose
            leading = [n for n, each in enumerate(self.members) if each.control_plane.leads]
            place = leading[0] if leading else place
        member = self.members[place]
        roll = self.dice.fraction()
        if roll < 0.03:
            self.kill(place)
        elif roll < 0.08:
            self.stall(member)
        elif roll < 0.12:
            member.store.reachable = False
        elif roll < 0.25:
            member.store.reachable = True
        elif roll < 0.45:
            self._serial += 1
            self.ask(member, msg.RegisterNode(f"lab-{self._serial}"), f"lab-{self._serial}")
        elif roll < 0.60:
            self.ask(member, msg.ScalePool("training", self.dice.integer(1, 8)), "")
            if self.dice.chance(0.3):  # with launches to come
                self._stall_next = member

    def stall(self, member: Member) -> None:
        """Let a process stand still for a while, as a busy host or a paused machine does."""
        member.clock.runs.clear()
        member.stalled_until = self.clock.now() + timedelta(seconds=self.dice.pick(STALLS))

    def heal(self) -> None:
        """Let everybody run and reach the journal."""
        for member in self.members:
            member.clock.runs.set()
            member.stalled_until = MONDAY
            member.store.reachable = True

    def ask(self, member: Member, message: msg.Message, note: str) -> None:
        """Ask a member, if it is up; what comes of it is seen later. `note` is remembered."""
        if not member.up:
            return
        asked = asyncio.ensure_future(member.control_plane.runtime.ask(message))
        self._asked.append((asked, note, self.clock.now()))

    # --- time ------------------------------------------------------------------------------

    async def step(self) -> None:
        """Let half a second pass: supervisors, machines and callers do what is theirs."""
        self.clock.advance(STEP)
        for _ in range(TURNS):
            await asyncio.sleep(0)
        self._answers()
        if self._stall_next is not None:
            self.stall(self._stall_next)
            self._stall_next = None
        for place, member in enumerate(self.members):
            if self.clock.now() >= member.stalled_until:
                member.clock.runs.set()
            if member.failed and self.restarts:
                self.members[place] = await self._restarted(member)
        self._agents()

    async def _restarted(self, member: Member) -> Member:
        with suppress(NavarchError):
            await member.control_plane.stop()
        return Member(self, member.name)

    def _answers(self) -> None:
        still = []
        for asked, note, since in self._asked:
            if not asked.done():
                if self.clock.now() - since < UNANSWERED:
                    still.append((asked, note, since))
                else:
                    asked.cancel()
                continue
            error = asked.exception()
            if error is None and note and isinstance(asked.result(), msg.Accepted):
                self.acknowledged.append(note)
            elif isinstance(error, WireError):
                self.refusals.append(f"{error.code}: {error.message}")
            elif error is not None:
                raise error
        self._asked = still

    def _agents(self) -> None:
        """Have every machine that runs register, or speak."""
        leading = next((each for each in self.members if each.control_plane.leads), None)
        if leading is None or not leading.up:
            return
        fleet = leading.control_plane.runtime.machine.fleet
        for id_ in self.instances():
            known = id_ in fleet.nodes
            self.ask(leading, msg.Heartbeat(id_) if known else msg.RegisterNode(id_), "")

    def instances(self) -> list[str]:
        """Our ids of the machines that exist, one for each, whatever anybody believes."""
        alive = self.cloud.alive(self.clock.now())
        labels = [machine.instance.labels for machine in alive]
        assert len({each[FLEET_LABEL] for each in labels}) < 2
        return [each[INSTANCE_LABEL] for each in labels]

    async def end(self) -> None:
        """End everybody."""
        self.heal()
        for member in self.members:
            with suppress(NavarchError):
                await member.starting
                await member.control_plane.stop()

    # --- what was kept ---------------------------------------------------------------------

    def folded(self) -> bytes:
        """The fleet that the whole journal makes."""
        fleet = fleets.Fleet()
        recorded = self.journal.facts.read_now(limit=1_000_000)
        assert [each.seq for each in recorded] == list(range(1, len(recorded) + 1))
        for each in recorded:
            fold.apply(fleet, each.event)  # type: ignore[arg-type]
        return fleets.encode(fleet)

    def facts(self, kind: type[ev.Fact]) -> list[Any]:
        """The facts of a kind, oldest first."""
        recorded = self.journal.facts.read_now(limit=1_000_000)
        return [each.event for each in recorded if isinstance(each.event, kind)]
