"""The control plane: the real machine and a journal, in a loop that can die at every boundary.

It does what the product's own loop does, in the same order: take what arrived, step, journal,
answer, perform. What is not the machine's or the store's is kept as small as it can be, and only
the journal outlives a crash: requests that waited get no reply, effects go on without anybody to
hear of them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Protocol, assert_never

from navarch.core import fold
from navarch.core.judging import HealthPolicy, Unjudged
from navarch.core.machine import Machine, Step
from navarch.core.model import events as ev
from navarch.core.model import fleet as fleets
from navarch.core.model import messages as msg
from navarch.core.model.actions import (
    Action,
    AskDrained,
    Launch,
    ListTypes,
    TakeInventory,
    Tell,
    Terminate,
)
from navarch.core.model.pool import PoolSpec
from navarch.core.selection import BUILT_IN
from navarch.core.selection.base import Ranker
from navarch.core.strategies import Strategies
from navarch.errors import JournalError
from navarch.simulator.clouds import Cloud
from navarch.simulator.crashes import Boundary, Crash, Crashes
from navarch.simulator.dice import Dice
from navarch.simulator.disks import Disk
from navarch.simulator.faults import Plan
from navarch.simulator.incidents import Incident, crash
from navarch.simulator.markets import SECOND, ZERO
from navarch.simulator.policies import TABLES
from navarch.simulator.timeline import EPOCH, Timeline
from navarch.simulator.workloads import Workloads
from navarch.stores.memory import MemoryStore

Reply = Callable[[msg.Answer | None], None]
"""Takes the answer to a request; None means that the connection broke."""

TAG = "sim0"
VERSION = "simulated"
PAUSE_MAX = timedelta(seconds=10)
"""A longer gap between two ticks is our own silence, and not that of the nodes."""


class Asked(Protocol):
    """Who asks the autoscaler of one pool."""

    def word(self, fleet: fleets.Fleet) -> msg.Recommended | None:
        """Ask for a proposal; None while there is none, or the pool is not configured."""
        ...


class Observer(Protocol):
    """Watches a control plane from outside, and may end the run."""

    def recovered(self, fleet: fleets.Fleet, store: MemoryStore) -> None:
        """The journal has been read, nothing was said yet."""

    def stepped(
        self, machine: Machine, messages: Sequence[msg.Message], step: Step, now: datetime
    ) -> None:
        """The facts of a step are safe; nobody was answered yet."""

    def terminating(self, action: Terminate, now: datetime) -> None:
        """A machine is about to be ended."""


class Server:
    """One control plane after another, over the same journal."""

    def __init__(
        self, plan: Plan, time: Timeline, dice: Dice, *, crashes: Crashes, checks: Observer
    ) -> None:
        """Be down; `start` begins."""
        self.store = Disk()
        self.machine: Machine | None = None
        self.clouds: dict[str, Cloud] = {}
        """By name; to be filled before the start."""
        self.scalers: Mapping[str, Asked] = {}
        """By pool; to be filled before the start."""
        self.rankers: Mapping[str, Ranker] = BUILT_IN
        """What pools' strategies may name."""
        self.launches_at_once: Mapping[str, int] = {}
        """By cloud, where launches are limited more tightly than other calls."""
        self.pools = plan.pools
        """What the configuration says."""
        self.policy: HealthPolicy = TABLES.get(plan.sickness.policy, Unjudged())
        """Who judges, by the configuration."""
        self.manager = Workloads(plan.sickness, plan.agents.drain_time, time, dice)
        self._plan = plan
        self._time = time
        self._rolls = dice.stream("server")
        self._patience = dice.stream("restarts")
        self._happened = dice.happened
        self.begun: Counter[str] = Counter()
        """Effects that were begun, by the kind of their action."""
        self._crashes = crashes
        self._checks = checks
        self._life = 0
        self._stands_until = EPOCH
        self._ticked_at = EPOCH
        self._inbox: list[tuple[msg.Message, Reply]] = []
        self._turn_waits = False
        self._seq = 0
        self._snapshot_seq = 0
        self._under_way: dict[str, tuple[str, type[Action]]] = {}

    # --- life and death --------------------------------------------------------------------

    def start(self) -> None:
        """Take up the journal."""
        self._life += 1
        self._inbox = []
        self._turn_waits = False
        self._under_way = {}
        self._stands_until = self._ticked_at = self._time.now
        loaded = self.store.load_now()
        fleet = fleets.Fleet()
        self._snapshot_seq = 0
        if loaded.snapshot is not None:
            fleet = fleets.decode(loaded.snapshot.state)
            self._snapshot_seq = loaded.snapshot.seq
        for recorded in loaded.events:
            fold.apply(fleet, recorded.event)  # type: ignore[arg-type]  # only facts are journaled
        self._seq = loaded.last_seq
        self._checks.recovered(fleet, self.store)
        self.machine = Machine(fleet, Strategies(self._plan.settings, self.policy, self.rankers))
        try:
            self._crashes.reach(Boundary.LOADED)
            self._step([(msg.Found(TAG), _nobody), (msg.Resume(VERSION), _nobody)])
        except (Crash, JournalError) as end:
            self._die(end)
        else:
            self.receive(msg.ConfigurePools(self.pools), _nobody)
            self._adopt()
            self._time.after(self._plan.tick_interval, self._tick, self._life)
            if self.scalers:
                self._time.after(self._plan.evaluation_interval, self._evaluate, self._life)

    def _die(self, end: Exception) -> None:
        """Break every connection, forget everything, and be started again later.

        What cannot be journaled ends the process as a crash does; its supervisor then has
        more patience.
        """
        if isinstance(end, Crash):
            self._happened[crash(self._crashes.passed[-1])] += 1
        waiting, self._inbox = self._inbox, []
        self.machine = None
        self._life += 1
        for _, reply in waiting:
            self._time.after(ZERO, reply, None)
        if isinstance(end, JournalError):
            self._happened[Incident.DISK_FULL] += 1
            downtime = self._patience.between(2 * SECOND, 20 * SECOND)
        else:
            downtime = self._rolls.between(timedelta(seconds=0.2), self._plan.restart_max)
        self._time.after(downtime, self.start)

    def fill_disk(self, lasts: timedelta) -> None:
        """Let the disk of the journal be full for a while."""
        self.store.is_full = True
        self._time.after(lasts, self.free_disk)

    def free_disk(self) -> None:
        """Make room on the disk of the journal."""
        self.store.is_full = False

    def configure(self, pools: tuple[PoolSpec, ...]) -> None:
        """Give it another configuration, now and for every start to come."""
        self.pools = pools
        self.receive(msg.ConfigurePools(pools), _nobody)

    def judge_by(self, policy: HealthPolicy) -> None:
        """Give it another policy, now and for every start to come."""
        self.policy = policy
        if self.machine is not None:
            self.machine.offer_policy(policy)
            self._adopt()

    def _adopt(self) -> None:
        if self.policy.digest:
            name, digest = self.policy.name, self.policy.digest
            self.receive(msg.AdoptPolicy(name, digest, "the configuration names it"), _nobody)

    def stall(self, lasts: timedelta) -> None:
        """Let the process stand still for a while, as under SIGSTOP or on a dying disk."""
        self._happened[Incident.STALLED] += 1
        self._stands_until = self._time.now + lasts

    def _stands_still(self, go_on: Callable[[int], None], life: int) -> bool:
        """Whether the process stands still; it goes on with what it was about to do afterwards."""
        left = self._stands_until - self._time.now
        if left > ZERO:
            self._time.after(left, go_on, life)
        return left > ZERO

    def _tick(self, life: int) -> None:
        if life != self._life or self._stands_still(self._tick, life):
            return
        now = self._time.now
        if now - self._ticked_at > self._plan.tick_interval + PAUSE_MAX:
            self.receive(msg.Resume(VERSION, "the same process, which stood still"), _nobody)
        self._ticked_at = now
        self.receive(msg.Tick(), _nobody)
        self._time.after(self._plan.tick_interval, self._tick, life)

    def _evaluate(self, life: int) -> None:
        """Ask every autoscaler, as the pool manager does."""
        if life != self._life or self._stands_still(self._evaluate, life):
            return
        assert self.machine is not None
        for scaler in self.scalers.values():
            word = scaler.word(self.machine.fleet)
            if word is not None:
                self.receive(word, _nobody)
        self._time.after(self._plan.evaluation_interval, self._evaluate, life)

    # --- its loop --------------------------------------------------------------------------

    def receive(self, message: msg.Message, reply: Reply) -> None:
        """Take a message in, or break the connection when there is no control plane."""
        if self.machine is None:
            reply(None)
            return
        self._inbox.append((message, reply))
        if not self._turn_waits:
            self._turn_waits = True
            self._time.after(self._plan.gather, self._turn, self._life)

    def _turn(self, life: int) -> None:
        if life != self._life or self._stands_still(self._turn, life):
            return
        self._turn_waits = False
        batch, self._inbox = (
            self._inbox[: self._plan.batch_max],
            self._inbox[self._plan.batch_max :],
        )
        if self._inbox:
            self._turn_waits = True
            self._time.after(self._plan.gather, self._turn, life)
        try:
            self._step(batch)
        except (Crash, JournalError) as end:
            self._inbox = batch + self._inbox
            self._die(end)

    def _step(self, batch: list[tuple[msg.Message, Reply]]) -> None:
        machine, now = self.machine, self._time.now
        assert machine is not None
        messages = [message for message, _ in batch]
        step = machine.step(messages, now)
        if step.facts:
            self._crashes.reach(Boundary.BEFORE_COMMIT)
            self._seq = self.store.append_now(step.facts, after=self._seq)
        self._checks.stepped(machine, messages, step, now)
        if step.facts:
            self._crashes.reach(Boundary.AFTER_COMMIT)
        for answer in step.answers:
            _, reply = batch.pop(0)  # who was answered no longer waits, should we die from here on
            reply(answer)
        self._perform(machine)
        if self._seq - self._snapshot_seq >= self._plan.snapshot_every:
            self._take_snapshot(machine)

    def _take_snapshot(self, machine: Machine) -> None:
        self._crashes.reach(Boundary.BEFORE_SNAPSHOT)
        self.store.snapshot_now(self._seq, fleets.encode(machine.fleet))
        self._snapshot_seq = self._seq
        self._crashes.reach(Boundary.AFTER_SNAPSHOT)

    def _perform(self, machine: Machine) -> None:
        for action in machine.owed(self._time.now):
            lane = (_where(action), type(action))
            limit = self._plan.effects_at_once
            if isinstance(action, Launch):
                limit = self.launches_at_once.get(action.provider, limit)
            is_full = list(self._under_way.values()).count(lane) >= limit
            if action.key in self._under_way or is_full:
                continue
            self._under_way[action.key] = lane
            self._begin(action)
            self._crashes.reach(Boundary.AFTER_EFFECT)

    def _begin(self, action: Action) -> None:
        tell = partial(self._told, self._life, action.key)
        self.begun[type(action).__name__] += 1
        match action:
            case Launch():
                self.clouds[action.provider].launch(action, TAG, tell)
            case Terminate():
                self._checks.terminating(action, self._time.now)
                self.clouds[action.provider].terminate(action, tell)
            case TakeInventory():
                self.clouds[action.provider].take_inventory(action, tell)
            case ListTypes():
                self.clouds[action.provider].list_types(action, tell)
            case Tell():
                self.manager.tell(action, tell)
            case AskDrained():
                self.manager.ask(action, tell)
            case _:
                assert_never(action)

    def _told(self, life: int, key: str, outcome: msg.Message) -> None:
        if life == self._life:
            self.receive(outcome, partial(self._heard, life, key))

    def _heard(self, life: int, key: str, _answer: msg.Answer | None) -> None:
        """An effect is under way until its outcome was looked at, or it would be begun twice."""
        if life == self._life:
            del self._under_way[key]


def _where(action: Action) -> str:
    """At whom an effect is under way."""
    return "" if isinstance(action, Tell | AskDrained) else action.provider


def _nobody(_answer: msg.Answer | None) -> None:
    """Hear the answer to a message of our own."""


def facts_of(store: MemoryStore) -> list[ev.Event]:
    """Every fact of a journal, decoded. Cost: O(facts)."""
    count = max(store.last_seq_now, 1)
    return [recorded.event for recorded in store.read_now(limit=count)]
