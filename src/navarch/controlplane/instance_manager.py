"""The instance manager: instances as records, and callbacks for what happens to them.

A thin face over the core. A stale instance, one that never registered in time, is reported *and*
terminated by the core; nobody has to do it in a callback. Callbacks run after the fact is in the
journal, one after the other; one that raises is logged, and the others are called all the same.
One written with ``async def`` is awaited beside the loop, which does not wait for it.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from typing import Protocol, TypeVar

from navarch.controlplane.runtime import Runtime
from navarch.core.model import events as ev
from navarch.core.model.instance import Instance
from navarch.core.model.report import Health
from navarch.core.settings import Settings
from navarch.telemetry.log import Log

log = Log(__name__)

T = TypeVar("T")

OnInstance = Callable[[Instance], Awaitable[None] | None]
Instances = list[Instance]


class NodeHealthObserver(Protocol):
    """Hears of nodes that became unhealthy."""

    def on_node_unhealthy(self, node_id: str) -> Awaitable[None] | None:
        """A verdict made this node unhealthy. Called once each time it falls ill; be quick."""
        ...


class InstanceManager:
    """Looks instances up, and tells who asked about stale and failed ones."""

    def __init__(
        self, runtime: Callable[[], Runtime], settings: Settings, stale_check_interval: timedelta
    ) -> None:
        """Serve the runtime that `runtime` returns, which keeps to `settings`."""
        self.registration_timeout = settings.registration_timeout
        """How long a launched machine may take to register before it is stale."""
        self.retain_terminated = settings.retain_terminated
        """How long records of ended machines are kept."""
        self.stale_check_interval = stale_check_interval
        """How often stale machines are looked for."""
        self._runtime = runtime
        self._on_stale: list[OnInstance] = []
        self._on_failed: list[OnInstance] = []
        self._observer: NodeHealthObserver | None = None
        self._ill: set[str] = set()
        self._awaited: set[asyncio.Future[None]] = set()

    def list(self) -> Instances:
        """All instances that are kept, ended ones too, the oldest first."""
        return list(self._runtime().machine.fleet.instances.values())

    def get(self, instance_id: str) -> Instance | None:
        """One instance; None when it is not known, or no longer."""
        return self._runtime().machine.fleet.instances.get(instance_id)

    def on_stale_instance(self, call: OnInstance) -> None:
        """Call this with each machine that never registered in time."""
        self._on_stale.append(call)

    def on_failed_instance(self, call: OnInstance) -> None:
        """Call this with each machine that a provider refused to launch."""
        self._on_failed.append(call)

    def set_health_observer(self, observer: NodeHealthObserver | None) -> None:
        """Tell this one about unhealthy nodes, in place of the one before; None: nobody."""
        self._observer = observer

    async def stop(self) -> None:
        """Cancel the callbacks that are still awaited."""
        for each in self._awaited:
            each.cancel()
        await asyncio.gather(*self._awaited, return_exceptions=True)

    def hear(self, fact: ev.Fact) -> None:
        """Tell whoever wants to know; the runtime calls it with each journaled fact."""
        match fact:
            case ev.TerminationRequested(trouble=True):
                self._tell(self._on_stale, fact.instance_id)
            case ev.LaunchFailed():
                self._tell(self._on_failed, fact.instance_id)
            case ev.HealthJudged(health=Health.UNHEALTHY):
                node = self._runtime().machine.fleet.nodes.get(fact.node_id)
                fell_ill = node is not None and node.unhealthy_at[-1:] == (fact.at,)
                if self._observer is not None and fell_ill and fact.node_id not in self._ill:
                    self._call(self._observer.on_node_unhealthy, fact.node_id)
                self._ill.add(fact.node_id)
            case ev.HealthJudged() | ev.HealthCleared() | ev.RepairEnded():
                self._ill.discard(fact.node_id)
            case ev.RecordsForgotten():
                self._ill.difference_update(fact.nodes)
            case _:
                pass

    def _tell(self, calls: Sequence[OnInstance], instance_id: str) -> None:
        instance = self.get(instance_id)
        if instance is not None:
            for call in calls:
                self._call(call, instance)

    def _call(self, call: Callable[[T], Awaitable[None] | None], about: T) -> None:
        """Call somebody else's code: the plugin guard. A fault is theirs, and it is named."""
        try:
            answer = call(about)
        except Exception:
            log.exception("callback_broke", callback=repr(call))
            return
        if inspect.isawaitable(answer):
            waiting = asyncio.ensure_future(_awaited(call, answer))
            self._awaited.add(waiting)
            waiting.add_done_callback(self._awaited.discard)


async def _awaited(call: object, answer: Awaitable[None]) -> None:
    try:
        await answer
    except Exception:
        log.exception("callback_broke", callback=repr(call))
