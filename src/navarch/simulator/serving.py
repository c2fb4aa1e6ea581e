"""Serving: the product's own API over a simulated fleet, while its virtual time passes.

The calls are answered by the same service as those of a real control plane. What they ask enters
the inbox of the simulated one, and is answered when virtual time has processed it. One thread does
both: a slice of virtual time, then whatever calls came, so that no call ever sees half a step.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
from array import array
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from functools import partial
from socket import socket

from navarch.controlplane.clock import Clock
from navarch.controlplane.inbox import REQUESTS_MAX
from navarch.controlplane.service import Service
from navarch.core.machine import Machine, Step
from navarch.core.model import events as ev
from navarch.core.model import messages as msg
from navarch.errors import NavarchError, Unavailable, WireError
from navarch.simulator.scenarios.passing import Passing
from navarch.simulator.timeline import Timeline
from navarch.simulator.twin.twin import Twin
from navarch.simulator.twin.watchers import Watcher
from navarch.stores.base import Recorded
from navarch.stores.memory import MemoryStore
from navarch.wire import listener
from navarch.wire.asgi import Application, Readiness
from navarch.wire.auth import Authenticator

FRAME = timedelta(milliseconds=50)
"""How often a paced run catches up with the clock on the wall."""
BURST = timedelta(milliseconds=40)
"""How long virtual time passes at a stretch at most, while calls wait."""
QUICK, SLOW = BURST / 8, BURST / 2
"""Slices of virtual time grow while they take less, and shrink when they take more."""
SLICE_MIN, SLICE_MAX = timedelta(milliseconds=100), timedelta(hours=1)
LATE_MAX = timedelta(seconds=1)
"""By how much a run that cannot keep its pace may be behind; what is lost is not made up for."""
FACTS_MAX = 2_000_000
"""Facts that a served run keeps, about 1 GB: then time stands still."""


class Chronicle(Watcher):
    """The journal in memory as readers ask it, with an index of who it is about."""

    def __init__(self, store: MemoryStore) -> None:
        """Read `store`, and be told of every step."""
        self._store = store
        self._about: dict[str, array[int]] = {}

    def stepped(
        self, machine: Machine, messages: Sequence[msg.Message], step: Step, now: datetime
    ) -> None:
        """Note whom the new facts are about."""
        first = self._store.last_seq_now - len(step.facts) + 1
        for seq, fact in enumerate(step.facts, first):
            for subject in set(ev.subjects(fact)):
                self._about.setdefault(subject, array("q")).append(seq)

    async def read(
        self,
        *,
        after: int = 0,
        before: int | None = None,
        limit: int = 1000,
        subject: str | None = None,
        since: datetime | None = None,
        newest_first: bool = False,
    ) -> list[Recorded]:
        """Return up to `limit` facts; see `navarch.stores.base.History`."""
        if subject is None:
            return self._store.read_now(
                after=after,
                before=before,
                limit=limit,
                since=since,
                newest_first=newest_first,
            )
        found: list[Recorded] = []
        places = self._about.get(subject, array("q"))
        for seq in reversed(places) if newest_first else places:
            if seq <= after or (before is not None and seq >= before):
                continue
            found += self._store.read_now(after=seq - 1, limit=1, since=since)
            if len(found) == limit:
                break
        return found

    async def last_seq(self) -> int:
        """Return the sequence number of the newest fact."""
        return self._store.last_seq_now

    async def forget(self, *, before: datetime, keep_bytes: int | None = None) -> int:
        """Forget nothing: a simulated journal is kept whole."""
        del before, keep_bytes
        return 0


class VirtualClock:
    """The time of a simulation."""

    def __init__(self, time: Timeline) -> None:
        """Read this timeline."""
        self._time = time

    def now(self) -> datetime:
        """The virtual present."""
        return self._time.now


class NoConsoles:
    """Simulated machines run no start-up scripts."""

    def shows_logs(self, provider: str) -> bool:
        """No provider does."""
        del provider
        return False

    async def bootstrap_log(self, provider: str, ref: str) -> str:
        """There is none. Raises `Unavailable`."""
        raise Unavailable(f"machine {ref} of {provider} is simulated, and has no start-up log")


class Simulated:
    """A simulated control plane, as the service of the calls needs one."""

    def __init__(self, twin: Twin) -> None:
        """Answer for the control plane of `twin`, which has not begun."""
        self._twin = twin
        self.store = Chronicle(twin.server.store)
        self.clock = VirtualClock(twin.time)
        self.effects = NoConsoles()
        self._waiting: dict[asyncio.Future[msg.Answer | None], None] = {}
        self._appended = asyncio.Event()
        self._told_seq = 0
        self._closed_because = ""
        twin.watchers.all.append(self.store)

    @property
    def machine(self) -> Machine:
        """Its machine. Raises `WireError` while it is down."""
        machine = self._twin.server.machine
        if machine is None:
            raise WireError("unavailable", "the simulated control plane is down")
        return machine

    @property
    def seq(self) -> int:
        """The sequence number of the newest fact."""
        return self._twin.server.store.last_seq_now

    def readiness(self) -> Readiness:
        """Whether calls can be served."""
        is_up = self._twin.server.machine is not None
        return Readiness(ready=is_up, reason="" if is_up else "the simulated one is down")

    async def ask(self, message: msg.Message) -> msg.Answer:
        """Let a message wait in the virtual inbox, and wait until it was looked at.

        Raises `WireError`: ``unavailable`` when the control plane dies meanwhile or is down,
        ``resource_exhausted`` when too many wait, ``failed_precondition`` when time stands still.
        """
        if self._closed_because:
            raise WireError("failed_precondition", self._closed_because)
        if len(self._waiting) >= REQUESTS_MAX:
            text = f"{REQUESTS_MAX} requests wait already: try again later"
            raise WireError("resource_exhausted", text)
        future: asyncio.Future[msg.Answer | None] = asyncio.get_running_loop().create_future()
        self._waiting[future] = None
        try:
            self._twin.ask(message, partial(_hear, future))
            answer = await future
        finally:
            del self._waiting[future]
        if answer is None:
            raise WireError("unavailable", self._why_unanswered())
        return answer

    def _why_unanswered(self) -> str:
        return self._closed_because or "the simulated control plane went down: try again"

    async def settled(self) -> None:
        """Return at once: no call ever sees half a step. Raises `WireError` while it is down."""
        _ = self.machine

    async def wait_appended(self, after: int) -> None:
        """Wait until the journal is longer than `after`."""
        while self.seq <= after:
            await self._appended.wait()

    def moved(self) -> None:
        """Tell those who wait for facts that time has passed."""
        if self.seq > self._told_seq:
            self._told_seq = self.seq
            self._appended.set()
            self._appended = asyncio.Event()

    def close(self, because: str) -> None:
        """Let no message in any more, and let nobody wait for an answer that does not come."""
        self._closed_because = because
        for future in list(self._waiting):
            _hear(future, None)


def _hear(future: asyncio.Future[msg.Answer | None], answer: msg.Answer | None) -> None:
    if not future.done():
        future.set_result(answer)


class Pace:
    """Lets virtual time pass at a pace, and calls be answered in between."""

    def __init__(
        self,
        passing: Passing,
        simulated: Simulated,
        clock: Clock,
        *,
        speed: float,
        tell: Callable[[str], None],
    ) -> None:
        """`speed` is virtual time by time on the wall; infinite: as fast as it can.

        `tell` hears what people should know: that the scenario is over, that an invariant broke.
        After the end of the scenario an infinite speed becomes that of the wall.
        """
        self._passing = passing
        self._simulated = simulated
        self._clock = clock
        self._speed = speed
        self._tell = tell
        self._slice = timedelta(seconds=1)

    async def keep(self) -> None:
        """Let time pass until it stands still."""
        passing = self._passing
        began, base, was_judged = self._clock.now(), passing.since, False
        while not (because := self._stands_still()):
            at_most = math.isinf(self._speed)
            until = timedelta.max
            if not at_most:
                until = base + (self._clock.now() - began) * self._speed
            self._burst(until)
            self._simulated.moved()
            if passing.is_judged and not was_judged:
                was_judged = True
                self._told_of_end()
                began, base = self._clock.now(), passing.since
            elif not at_most and until - passing.since > LATE_MAX * self._speed:
                began, base = self._clock.now(), passing.since
            is_behind = passing.since < until
            await self._clock.sleep(timedelta() if is_behind else FRAME)
        self._simulated.close(f"time stands still: {because}")
        self._simulated.moved()
        self._tell(f"time stands still at +{passing.since}: {passing.broken or because}")

    def _burst(self, until: timedelta) -> None:
        """Let time pass, for as long as calls may wait."""
        passing = self._passing
        began = at = self._clock.now()
        was_judged = passing.is_judged
        while passing.since < until and at - began < BURST and not self._stands_still():
            passing.pass_until(min(passing.since + self._slice, until, self._next_end()))
            took, at = self._clock.now() - at, self._clock.now()
            if took < QUICK:
                self._slice = min(self._slice * 2, SLICE_MAX)
            elif took > SLOW:
                self._slice = max(self._slice / 2, SLICE_MIN)
            if passing.is_judged and not was_judged:
                return

    def _next_end(self) -> timedelta:
        """When the scenario ends, if it is not over."""
        lasts = self._passing.run.scenario.lasts
        return lasts if self._passing.since < lasts else timedelta.max

    def _stands_still(self) -> str:
        """Say why time does; empty where it does not."""
        if self._passing.broken:
            return self._passing.broken.split("\n", 1)[0]
        if self._simulated.seq >= FACTS_MAX:
            return f"the journal has {FACTS_MAX:,} facts, the most that a served run keeps"
        return ""

    def _told_of_end(self) -> None:
        failures = self._passing.run.so_far().failures
        for check in failures:
            self._tell(f"{check.what}: {check.message}")
        held = f"{len(failures)} checks failed" if failures else "all that it demands holds"
        self._tell(f"the scenario is over at +{self._passing.since}, {held}; time goes on")
        if math.isinf(self._speed):
            self._speed = 1.0


async def serve(
    passing: Passing,
    simulated: Simulated,
    clock: Clock,
    *,
    listening: socket,
    told: asyncio.Event,
    speed: float,
    tell: Callable[[str], None],
) -> None:
    """Serve the calls on a bound socket until `told`, while time passes.

    Callers need no token, as with ``navarch up``: the socket must be this machine's own. Raises
    `NavarchError` when the listener ends by itself.
    """
    application = Application(
        Service(simulated), authenticator=Authenticator(), ready=simulated.readiness
    )
    server = listener.EmbeddedServer(listener.config(application))
    listening.listen()
    serving = asyncio.create_task(server.serve(sockets=[listening]), name="serving")
    pace = Pace(passing, simulated, clock, speed=speed, tell=tell)
    living = asyncio.create_task(pace.keep(), name="virtual time")
    waiting = asyncio.create_task(told.wait(), name="told")
    try:
        ends: set[asyncio.Task[object]] = {serving, living, waiting}
        while True:
            done, ends = await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
            if waiting in done:
                break
            if serving in done:
                raise NavarchError("the listener has ended by itself")
    finally:
        simulated.close("the simulation is ending")
        for task in (living, waiting):
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        server.should_exit = True
        await serving
