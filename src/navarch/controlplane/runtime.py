"""The loop: take what arrived, step the machine, journal the facts, answer, perform what is owed.

Nothing leaves the process before the facts behind it are in the journal: no answer, no effect, no
reading. If they can not be journaled, the loop ends and the process with it; whoever starts next
folds the journal and carries on.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta

from navarch.controlplane.causes import Causes
from navarch.controlplane.clock import Clock, stopwatch
from navarch.controlplane.described import COMMIT_BOUNDS
from navarch.controlplane.effects import Effects, always
from navarch.controlplane.fact_log import log_facts
from navarch.controlplane.inbox import Bounds, Envelope, Inbox
from navarch.controlplane.notices import Notices
from navarch.controlplane.projection import touched, whole
from navarch.core import fold
from navarch.core.machine import Machine
from navarch.core.model import events as ev
from navarch.core.model import fleet as fleets
from navarch.core.model import messages as msg
from navarch.core.model import snapshots
from navarch.core.model.actions import Notice, Purchase
from navarch.core.strategies import Strategies
from navarch.errors import JournalCorrupt, WireError
from navarch.notifiers.base import Notifier
from navarch.plugins.histograms import Histogram
from navarch.providers.base import Provider
from navarch.stores.base import ReadModels, Store
from navarch.telemetry import tracing
from navarch.telemetry.log import Log
from navarch.wire.admission import Admission

log = Log(__name__)

SNAPSHOT_EVERY = 5_000
"""Facts after which a snapshot is taken: so many are folded in about 50 ms at a restart.

Of large fleets one is taken after half as many facts as there are nodes: it costs as much as they.
"""
TICK = timedelta(milliseconds=500)
"""How often time alone makes the core look: half the shortest deadline that people notice."""
PAUSE_MAX = timedelta(seconds=10)
"""A longer gap between two ticks means that we were not running: it is our silence, not theirs.

Where nodes count as lost sooner, half of that time is long enough.
"""
FORGET_EVERY = timedelta(hours=1)
"""How often old facts are dropped from the journal."""
LINKS_MAX = 32
"""Causes of one step that its span names, besides the first."""
FOLLOW_PAGE = 1_000
"""Facts that a standby folds at once: 4 ms, so that readings do not wait for longer."""


class Runtime:
    """One writer, its machine and its journal."""

    def __init__(
        self,
        store: Store,
        providers: Mapping[str, Provider],
        clock: Clock,
        strategies: Strategies,
        *,
        tick: timedelta = TICK,
        notifier: Notifier | None = None,
        may_act: Callable[[], bool] = always,
        bounds: Bounds | None = None,
    ) -> None:
        """Work for the fleet in `store`, which is open.

        Time alone makes the core look every `tick`. `notifier` None: no workload manager is told.
        `may_act` is asked before each effect is begun; where it says no, the effect stays owed.
        `bounds` say how much may wait; None: as much as by default.

        Raises `PluginError` when a provider misstates its facts.
        """
        self.store = store
        self.clock = clock
        self.machine = Machine(strategies=strategies)
        self.inbox = Inbox(bounds)
        self.inbox.on_shed = self._hear_shed
        self.admission = Admission()
        """Who is let in when not everybody can be; it counts those whom nothing here hears of."""
        self.effects = Effects(providers, self.inbox.post, clock, may_act)
        self.notices = Notices(notifier, self.inbox.post, clock, may_act)
        self.causes = Causes()
        """Which facts have caused what is owed; for logs and traces."""
        self.effects.cause_of = self.notices.cause_of = self.causes.of
        self.seq = 0
        """The sequence number of the newest fact in the journal."""
        self.unsettled: frozenset[str] = frozenset()
        """Of whom the fleet shows facts that are not in the journal yet."""
        self.commits = Histogram(COMMIT_BOUNDS)
        """How long it took until the facts of a step were in the journal, in seconds."""
        self.hears: list[Callable[[ev.Fact], None]] = []
        """Who is called with each fact of ours once it is in the journal; they must not raise."""
        self.follows: list[Callable[[ev.Fact], None]] = []
        """Who is called also with the facts that another has written; they must not act on them."""
        self.retain = timedelta(days=90)
        """How old facts may get; older ones are dropped."""
        self._tables = store if isinstance(store, ReadModels) else None
        self._tick_every = tick
        self._version = ""
        self._forgotten_at = clock.now()
        self._snapshot_seq = 0
        self._snapshotting: asyncio.Task[None] | None = None
        self._settled = asyncio.Event()
        self._settled.set()
        self._readers = 0
        """Callers that wait for what the fleet shows to be in the journal."""
        self._appended = asyncio.Event()
        self._ticked_at: datetime | None = None
        self._tick_waits = False
        self._unheard = 0

    # --- beginning -----------------------------------------------------------------------

    async def recover(self, tag: str, version: str, holder: str) -> None:
        """Fold the journal, and take it up; an empty one begins a fleet under `tag`.

        Raises `JournalCorrupt` when a snapshot or a fact can not be read.
        """
        await self.load()
        await self.take_up(tag, version, holder)

    async def load(self) -> None:
        """Fold the journal as it is now, in the place of what was folded before.

        Raises `JournalCorrupt` when a snapshot or a fact can not be read.
        """
        loaded = await self.store.load()
        for seq in loaded.damaged_snapshots:
            log.warning("snapshot_damaged", seq=seq)
        fleet = fleets.Fleet()
        self._snapshot_seq = 0
        if loaded.snapshot is not None:
            fleet = _restored(loaded.snapshot.seq, loaded.snapshot.state)
            self._snapshot_seq = loaded.snapshot.seq
        for recorded in loaded.events:
            fold.apply(fleet, recorded.event)  # type: ignore[arg-type]
        self.machine.fleet = fleet
        self.machine.sightings.deaf = True
        self.seq = loaded.last_seq
        self.causes.learn([each.event for each in loaded.events], last_seq=self.seq)
        log.info("journal_folded", seq=self.seq, replayed=len(loaded.events))

    async def follow(self) -> int:
        """Fold what another has written since, without acting on it; return how many facts.

        Whoever watches facts sees them; whoever acts on them (`hears`) is not told. Raises
        `JournalCorrupt` when a fact can not be read, and `JournalError` when the store is away.
        """
        followed = 0
        while recorded := await self.store.read(after=self.seq, limit=FOLLOW_PAGE):
            if recorded[0].seq != self.seq + 1:  # what lies between was dropped: it is too old
                before = self.seq
                await self.load()
                self._woken()
                return followed + self.seq - before
            for each in recorded:
                fold.apply(self.machine.fleet, each.event)  # type: ignore[arg-type]
                self.seq = each.seq
                self.causes.learn((each.event,), last_seq=each.seq)
                for hear in self.follows:
                    hear(each.event)  # type: ignore[arg-type]
            followed += len(recorded)
            self._woken()
        return followed

    async def take_up(self, tag: str, version: str, holder: str) -> None:
        """Begin to write behind the last fact that was folded; silences are counted anew.

        An empty journal begins a fleet under `tag`. Raises `JournalConflict` when another has
        written meanwhile.
        """
        self._version = version
        self.machine.sightings.deaf = False
        await self._project_what_is_missing()
        await self._step([Envelope((msg.Found(tag), msg.Resume(version, holder)), None)])

    async def _project_what_is_missing(self) -> None:
        """Have the tables that people read show the fleet, where they are behind the journal."""
        if self._tables is not None and await self._tables.projected_seq() != self.seq:
            log.info("tables_rewritten", seq=self.seq)
            self._tables.stage(whole(self.machine.fleet))

    # --- asking --------------------------------------------------------------------------

    async def ask(self, message: msg.Message) -> msg.Answer:
        """Have one message looked at, and wait for the answer.

        Raises `WireError` when too much waits or the control plane is stopping.
        """
        return (await self.inbox.ask((message,)))[0]

    @property
    def is_settled(self) -> bool:
        """Whether all that the fleet shows is in the journal."""
        return self._settled.is_set()

    @property
    def snapshot_seq(self) -> int:
        """The newest fact that a snapshot holds; 0 without one."""
        return self._snapshot_seq

    async def settled(self) -> None:
        """Wait until all that the fleet shows is in the journal."""
        while not self._settled.is_set():
            self._readers += 1
            try:
                await self._settled.wait()
            finally:
                self._readers -= 1

    async def wait_appended(self, after: int) -> None:
        """Wait until the journal is longer than `after`."""
        while self.seq <= after:
            await self._appended.wait()

    # --- the loop ------------------------------------------------------------------------

    async def run(self) -> None:
        """Work until the inbox is closed and empty.

        Raises `JournalError` when the facts can not be journaled; the process must end then.
        Nothing is under way any more when it raises, and nobody waits for an answer.
        """
        ticking = asyncio.create_task(self._tick())
        batch: list[Envelope] = []
        try:
            while batch := await self.inbox.take():
                await self._step(batch)
                await self._keep_house()
            if self._snapshotting is not None:
                await self._snapshotting
        except BaseException:
            if self._snapshotting is not None:
                self._snapshotting.cancel()
            await self.stop(self.inbox.closed_because or "the journal has failed: see the log")
            _give_up(batch, WireError("unknown", "it may have been done: the journal has failed"))
            _give_up(self.inbox.drop(), WireError("unavailable", "the journal has failed"))
            raise
        finally:
            ticking.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await ticking

    async def stop(self, because: str) -> None:
        """Take no more requests and abandon the effects under way; `run` then ends by itself."""
        self.inbox.close(because)
        await self.effects.stop()
        await self.notices.stop()

    async def snapshot(self) -> None:
        """Keep the fleet as it is now, so that a restart has little to replay.

        It is written from a copy, in a thread; the loop may go on meanwhile.
        """
        seq = self.seq
        if seq > self._snapshot_seq:
            records = self.machine.fleet.frozen()
            await self.store.snapshot(seq, await asyncio.to_thread(snapshots.packed, records))
            self._snapshot_seq = seq

    async def _step(self, batch: list[Envelope]) -> None:
        now = self.clock.now()
        messages = [message for envelope in batch for message in envelope.messages]
        self._tick_waits = False
        began = 0 if tracing.active is None else tracing.active.now()
        step = self.machine.step(messages, now)
        self.effects.heard(messages)
        self.notices.heard(messages)
        if step.facts:
            with decided(batch, step.facts, after=self.seq, since=began):
                await self._append(step.facts)
        answers = iter(step.answers)
        for envelope in batch:
            answered = [next(answers) for _ in envelope.messages]
            if envelope.reply is not None and not envelope.reply.done():
                envelope.reply.set_result(answered)
        self._perform(now)

    def _perform(self, now: datetime) -> None:
        """Do what the world is owed: purchases by providers, notices by the workload manager."""
        purchases: list[Purchase] = []
        notices: list[Notice] = []
        for action in self.machine.owed(now):
            if isinstance(action, Notice):
                notices.append(action)
            else:
                purchases.append(action)
        self.effects.perform(self.machine.fleet.tag, purchases)
        self.notices.perform(self.machine.fleet, notices)

    async def _append(self, facts: Sequence[ev.Fact]) -> None:
        self._settled.clear()  # stays so when the append fails: then nothing may be shown
        self.unsettled = frozenset(id_ for fact in facts for id_ in ev.subjects(fact))
        if self._tables is not None:
            self._tables.stage(touched(facts, self.machine.fleet))
        began = stopwatch()
        with tracing.span("journal.commit", {"facts": len(facts), "seq": self.seq + len(facts)}):
            self.seq = await self.store.append(facts, after=self.seq)
        self.commits.add(stopwatch() - began)
        self.causes.learn(facts, last_seq=self.seq, origin=tracing.here())
        self.unsettled = frozenset()
        self._settled.set()
        self._woken()
        log_facts(log, facts, last_seq=self.seq)
        for fact in facts:
            for hear in (*self.follows, *self.hears):
                hear(fact)
        if self._readers:  # they read now, for the next append may begin at once, and so for ever
            await asyncio.sleep(0)

    def _woken(self) -> None:
        """Wake whoever waits for the journal to grow."""
        self._appended.set()
        self._appended = asyncio.Event()

    async def _keep_house(self) -> None:
        """Bound what a restart has to replay, and what the journal keeps."""
        if self._snapshotting is not None and self._snapshotting.done():
            snapshotting, self._snapshotting = self._snapshotting, None
            snapshotting.result()  # the end of us, where the journal did not take it
        due = max(SNAPSHOT_EVERY, len(self.machine.fleet.nodes) // 2)
        if self._snapshotting is None and self.seq - self._snapshot_seq >= due:
            self._snapshotting = asyncio.create_task(self.snapshot(), name="snapshot")
        now = self.clock.now()
        if now - self._forgotten_at >= FORGET_EVERY:
            self._forgotten_at = now
            forgotten = await self.store.forget(before=now - self.retain)
            log.info("facts_dropped", count=forgotten, older_than=self.retain)

    # --- time ----------------------------------------------------------------------------

    async def _tick(self) -> None:
        while True:
            await self.clock.sleep(self._tick_every)
            self._notice_pause(self.clock.now())
            self._notice_unheard(self.clock.now())
            if not self._tick_waits:  # one is enough, however slow the disk is
                self._tick_waits = True
                self.inbox.post(msg.Tick())

    def _notice_pause(self, now: datetime) -> None:
        before, self._ticked_at = self._ticked_at, now
        pause_max = min(PAUSE_MAX, self.machine.strategies.settings.silence_max / 2)
        if before is None or self.clock.jumps or now - before <= pause_max:
            return
        seconds = (now - before).total_seconds()
        log.warning("process_stood_still", seconds=round(seconds, 1))
        holder = f"the same process, which stood still for {seconds:.0f} s"
        self.inbox.post(msg.Resume(self._version, holder))

    def _hear_shed(self, envelope: Envelope) -> None:
        """Know that nodes live whose heartbeats had to make room; what else they said is lost."""
        fleet = self.machine.fleet
        for message in envelope.messages:
            match message:
                case msg.Heartbeat():
                    spoke = frozenset((message.node_id,))
                case msg.HeartbeatBatch():
                    spoke = message.node_ids
                case _:
                    continue
            known = (spoke & fleet.nodes.keys()) - fleet.gone.keys()
            self.machine.sightings.heard.mark(frozenset(known), self.clock.now())

    def _notice_unheard(self, now: datetime) -> None:
        """Whoever could not be heard for lack of room was not silent: begin anew in good time.

        Which nodes those are is not known where a heartbeat was refused before it was read, so
        all are given time, as after a restart. Nobody is lost while that goes on.
        """
        unheard = self.admission.unheard
        began = self.machine.fleet.resumed_at
        patience = self.machine.strategies.settings.silence_max / 2
        if unheard == self._unheard or (began is not None and now - began < patience):
            return
        count = unheard - self._unheard
        self._unheard = unheard
        log.warning("heartbeats_unheard", count=count)
        holder = f"the same process, which could not hear {count} heartbeats"
        self.inbox.post(msg.Resume(self._version, holder))


@contextlib.contextmanager
def decided(
    batch: Sequence[Envelope], facts: Sequence[ev.Fact], *, after: int, since: int
) -> Iterator[None]:
    """Trace a step that has made facts, from when it began until they are in the journal.

    It lies in the trace of the first who asked for something and waits for the answer, else of the
    first outcome that came back; the others are linked.
    """
    if tracing.active is None:
        yield
        return
    sent = sorted(batch, key=lambda each: each.reply is None)
    first, *others = [each.origin for each in sent if each.origin is not None] or [None]
    attributes: dict[str, tracing.Value] = {
        "seq": after + len(facts),
        "first_seq": after + 1,
        "facts": len(facts),
        "kinds": ",".join(dict.fromkeys(map(ev.kind, facts))),
    }
    if pools := dict.fromkeys(filter(None, (getattr(fact, "pool", "") for fact in facts))):
        attributes["pool"] = ",".join(pools)[:250]
    links = [each for each in others[:LINKS_MAX] if each is not None]
    with tracing.active.span("decide", attributes, within=first, links=links, since=since):
        yield


def _give_up(envelopes: Sequence[Envelope], because: WireError) -> None:
    """Tell whoever waits that there will be no answer."""
    for envelope in envelopes:
        if envelope.reply is not None and not envelope.reply.done():
            envelope.reply.set_exception(because)


def _restored(seq: int, state: bytes) -> fleets.Fleet:
    try:
        return fleets.decode(state)
    except ValueError as error:
        raise JournalCorrupt(
            f"the snapshot at {seq} is not a fleet of this version: {error}", seq=seq
        ) from error
