"""The serving plane: reads the load of agent pools, has replicas counted and placed, on time.

It asks outside of the core, as the pool manager does: metrics providers, autoscalers and schedulers
of others may be slow, may wait for somebody, and may be wrong. What they say becomes messages; the
core decides what they are worth. A pool of agents is looked at every second, and at once when
somebody pushes a sample or a replica loses its place.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final, Protocol

from msgspec import Struct

from navarch.controlplane.clock import Clock
from navarch.controlplane.effects import always
from navarch.controlplane.runtime import Runtime
from navarch.core.model import events as ev
from navarch.core.model import messages as msg
from navarch.core.model.replica import ReplicaSeen, ReplicaState
from navarch.core.model.resources import AgentPool
from navarch.core.scaling.base import Reading
from navarch.core.serving import balance
from navarch.errors import NavarchError
from navarch.plugins.calls import About, Failed
from navarch.plugins.protocols import PluginKind
from navarch.plugins.registry import Registry
from navarch.plugins.traces import Traced
from navarch.plugins.turns import Facts, Problem, Turns
from navarch.telemetry import tracing
from navarch.telemetry.log import Log, bound

log = Log(__name__)

INTERVAL: Final = timedelta(seconds=1)
"""How often pools of agents are looked at: a burst is answered within two seconds."""
PLAN_DEADLINE: Final = timedelta(seconds=10)
"""How long scheduler plugins of others may take for one turn."""
PODS_EVERY: Final = timedelta(seconds=5)
"""How often another system's account of replicas is read."""

_WAKING = (
    ev.ReplicaRequested,
    ev.ReplicaDisplaced,
    ev.ReplicaEnded,
    ev.NodeRegistered,
    ev.NodeReturned,
    ev.IntentChanged,
    ev.ResourceApplied,
)
"""Facts after which somebody may have a place."""


class Signals(Protocol):
    """Reads the load of a pool of agents."""

    async def read(self, pool: AgentPool, metrics: Sequence[str]) -> Mapping[str, Reading]:
        """Read these signals; it answers in time, whatever its providers do."""
        ...

    def forget(self, pool: str) -> None:
        """Forget a pool, ``namespace/name``, that is no more."""
        ...


class Elsewhere(Protocol):
    """Runs replicas on another system, such as Kubernetes."""

    async def turn(self, fleet_tag: str, now: datetime) -> Sequence[ReplicaSeen]:
        """Make what runs there be what is wanted, and say how it stands.

        Raises `NavarchError` when the other system could not be asked.
        """
        ...

    async def close(self) -> None:
        """Give up the connections; what runs there goes on."""
        ...


class ServingParts(Struct, frozen=True):
    """What a serving plane is made of, where it is not what everybody has."""

    plugins: Registry | None = None
    """None: those of the process."""
    machine_facts: Facts | None = None
    """What machines a pool would buy, so that one without any is known to fit replicas; None: only
    what pools have already is known."""
    elsewhere: Elsewhere | None = None
    """Runs replicas on Kubernetes; None: such replicas wait."""


class ServingPlane:
    """Takes turns, in real time."""

    def __init__(
        self,
        runtime: Callable[[], Runtime],
        clock: Clock,
        turns: Turns,
        signals: Signals,
        *,
        interval: timedelta = INTERVAL,
        evaluate: Callable[[str], Awaitable[object]] | None = None,
        elsewhere: Elsewhere | None = None,
        may_act: Callable[[], bool] = always,
    ) -> None:
        """Serve the runtime that `runtime` returns.

        `evaluate` has a pool of machines looked at now, since more or fewer replicas wait for it;
        None: it is looked at at its own interval. `elsewhere` runs the replicas that agents of
        ours do not; None: such replicas wait. `may_act` is asked before it is told anything.

        Raises `ValueError` when the interval is not positive.
        """
        if interval <= timedelta():
            raise ValueError(f"interval {interval} must be above zero")
        self.turns = turns
        self.plan_deadline = PLAN_DEADLINE
        """How long scheduler plugins of others may take for one turn."""
        self.pods_every = PODS_EVERY
        """How often another system's account of replicas is read."""
        self.samples: dict[str, Mapping[str, Reading]] = {}
        """What was read last of each pool of agents, by ``namespace/name`` and signal."""
        self._runtime = runtime
        self._clock = clock
        self._signals = signals
        self._interval = interval
        self._evaluate = evaluate
        self._elsewhere = elsewhere
        self._may_act = may_act
        self._woken = asyncio.Event()
        self._placed_at_seq = -1
        self._waiting: dict[str, int] = {}
        self._pods_at: datetime | None = None

    def hear(self, fact: ev.Fact) -> None:
        """Hear a fact of the journal; some make it look at once."""
        if isinstance(fact, ev.ResourceDeleted) and fact.resource_kind == "AgentPool":
            self._signals.forget(fact.name)
            self.samples.pop(fact.name, None)
            self.turns.forget(fact.name)
        if isinstance(fact, _WAKING):
            self._woken.set()

    def wake(self) -> None:
        """Look at everything now instead of at the next interval."""
        self._woken.set()

    async def run(self) -> None:
        """Take turns until cancelled."""
        while True:
            self._woken.clear()
            await self.turn()
            await self._wait()

    async def close(self) -> None:
        """Give up what it holds open; to be called when it does not run any more."""
        if self._elsewhere is not None:
            await self._elsewhere.close()

    async def turn(self) -> None:
        """Look once: how many, where, and what it means for pools of machines."""
        seq = self._runtime().seq
        with bound(seq=seq), tracing.span("serving.turn", {"seq": seq}):
            for step in (self.scale, self.place, self._run_elsewhere, self._tell_pools):
                try:
                    await step()
                except NavarchError as error:
                    log.warning("serving_turn_failed", error=str(error))

    async def scale(self) -> None:
        """Read the load of every pool of agents, and have its replicas counted."""
        names = balance.pools_of(self._runtime().machine.fleet)
        await asyncio.gather(*(self.scale_one(name) for name in names))

    async def scale_one(self, agent_pool: str) -> None:
        """Do the same for one pool, ``namespace/name``."""
        fleet = self._runtime().machine.fleet
        wanted = self.turns.signals_of(fleet, agent_pool)
        if wanted is None:
            return
        pool, names = wanted
        samples = await self._signals.read(pool, names) if names else {}
        now = self._clock.now()
        asked = self.turns.asking(self._runtime().machine.fleet, agent_pool, samples, now)
        if asked is None:
            return
        self.samples[agent_pool] = samples
        proposals = await self.turns.ask_in_time(asked, now)
        message = self.turns.recommended(asked, proposals, self._clock.now())
        held = self._runtime().machine.fleet.agent_pools.get(agent_pool)
        if held is None or (held.target, held.needed) != (message.target, message.needed):
            await self._runtime().ask(message)

    async def place(self) -> None:
        """Look for places, if anything has changed since the last time."""
        runtime = self._runtime()
        now = self._clock.now()
        if not runtime.machine.fleet.replicas_pending or not self._is_due(runtime, now):
            return
        seq = runtime.seq
        problem = self.turns.problem(runtime.machine.fleet, runtime.machine.sightings, now)
        self._placed_at_seq = seq
        if problem is None:
            return
        await runtime.ask(await self._planned(problem))

    def _is_due(self, runtime: Runtime, now: datetime) -> bool:
        fleet = runtime.machine.fleet
        if runtime.seq != self._placed_at_seq:
            return True
        waits = (fleet.replicas[id_] for id_ in fleet.replicas_pending)
        return any(
            each.blocker is None and each.retry_at is not None and each.retry_at <= now
            for each in waits
        )

    async def _planned(self, problem: Problem) -> msg.PlacementsProposed:
        """Plan in a thread: what plugins of others do there harms nobody but their own pods."""
        foreign = self.turns.foreign()
        caller = self.turns.caller
        if not foreign or not isinstance(caller, Traced):
            return await asyncio.to_thread(self.turns.plan, problem)
        about = About(PluginKind.SCHEDULER, ", ".join(foreign), "place", subject="all that wait")
        planned = await caller.call_in_thread(
            about, lambda: self.turns.plan(problem), self.plan_deadline
        )
        if not isinstance(planned, Failed):
            return planned
        text = f"scheduler plugin {planned.plugin} gave no answer: {planned.text}"
        return self.turns.unanswered(problem, text)

    async def _run_elsewhere(self) -> None:
        if self._elsewhere is None or not self._may_act():
            return
        runtime, now = self._runtime(), self._clock.now()
        known = any(
            each.runtime == "kubernetes" and each.state is not ReplicaState.ENDED
            for each in runtime.machine.fleet.replicas.values()
        )
        due = self._pods_at is None or now - self._pods_at >= self.pods_every
        if not known or not due:
            return
        self._pods_at = now
        seen = await self._elsewhere.turn(runtime.machine.fleet.tag, now)
        await runtime.ask(msg.ReplicasObserved("kubernetes", tuple(seen)))

    async def _tell_pools(self) -> None:
        """Have pools of machines looked at for which another number of replicas waits."""
        fleet = self._runtime().machine.fleet
        waiting: dict[str, int] = {}
        for id_ in fleet.replicas_pending:
            blocker = fleet.replicas[id_].blocker
            if blocker is not None and blocker.node_pool in fleet.pools:
                waiting[blocker.node_pool] = waiting.get(blocker.node_pool, 0) + 1
        changed = {
            name
            for name in waiting.keys() | self._waiting.keys()
            if waiting.get(name) != self._waiting.get(name)
        }
        self._waiting = waiting
        if self._evaluate is not None:
            for name in sorted(changed):
                await self._evaluate(name)

    async def _wait(self) -> None:
        """Wait for the interval, or until somebody wakes it; where nothing is served, for that."""
        fleet = self._runtime().machine.fleet
        if not fleet.replicas_of and not balance.pools_of(fleet):
            await self._woken.wait()
            return
        sleeping = asyncio.create_task(self._clock.sleep(self._interval))
        woken = asyncio.create_task(self._woken.wait())
        try:
            await asyncio.wait([sleeping, woken], return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (sleeping, woken):
                task.cancel()
