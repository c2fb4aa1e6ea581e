"""A control plane on a cloud's double, with the test in the place of the agents."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta

from msgspec.structs import replace

from clouds.faults import FLEET_HURRY, LIST_LAG, LOOK, NODES, SECONDS_MAX, Fault, Hurry, Stand
from navarch.controlplane.control_plane import ControlPlane
from navarch.controlplane.server_config import ServerConfig
from navarch.core.model import events as ev
from navarch.core.model.fleet import Fleet
from navarch.core.model.instance import InstanceState
from navarch.core.model.messages import Heartbeat, RegisterNode
from navarch.core.settings import Settings
from navarch.providers.base import Provider
from navarch.stores.base import Store

BEAT = 0.05
"""Seconds between two heartbeats of an agent."""

SETTINGS = Settings(
    # An interval of a second is the shortest there is: one second of silence is then a loss.
    missed_heartbeats=1,
    inventory_interval=timedelta(seconds=0.08),
    inventory_interval_urgent=timedelta(seconds=0.06),
    witness_gap=timedelta(seconds=0.1),
    effect_retry=timedelta(seconds=0.1),
    retry_base=timedelta(seconds=0.05),
    retry_max=timedelta(seconds=0.2),
    stock_out_base=timedelta(seconds=0.05),
    stock_out_max=timedelta(seconds=0.2),
    provider_block=timedelta(seconds=0.2),
)
"""Patience for a double: what the clouds need minutes for, it does at once."""

TIME = Hurry(FLEET_HURRY)
"""One for all lives: a control plane that starts again must not go back in time."""

CONFIG = ServerConfig(
    settings=SETTINGS,
    clock=TIME,
    heartbeat_interval_seconds=1,
    stale_check_interval=timedelta(seconds=0.02),
)


class Life:
    """One life of a control plane, from its start to its stop or its crash."""

    def __init__(self, stand: Stand, store: Store, list_lag: timedelta) -> None:
        self.stand = stand
        self.store = store
        self.provider: Provider = stand.provider(list_lag)
        self.control_plane = ControlPlane(CONFIG, store)
        self.control_plane.register_provider(self.provider, "cloud")
        self.heard: list[ev.Fact] = []
        """Every fact of this life but those of its first moment."""

    @property
    def fleet(self) -> Fleet:
        return self.control_plane.runtime.machine.fleet

    async def start(self) -> None:
        """Start, and hear every fact."""
        await self.control_plane.start()
        self.control_plane.runtime.hears.append(self.heard.append)

    async def want(self, nodes: int) -> None:
        """Let the pool have so many nodes."""
        await self.control_plane.configure_pools([replace(self.stand.pool, min_nodes=nodes)])

    async def crash(self) -> None:
        """End without a word, in the midst of everything: no task gets to finish anything.

        What the system does for a dead process is done here: the hold on the journal ends, and
        connections do.
        """
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for each in others:
            each.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        await self.store.close()

    async def close(self) -> None:
        """Give up the provider's connections."""
        await self.provider.close()  # type: ignore[attr-defined] # every cloud's has it

    def refusals(self) -> set[str]:
        """Name the kinds of refusal that were heard, and ``Uncertain`` for an unclear outcome."""
        failed = {each.failure for each in self.heard if isinstance(each, ev.LaunchFailed)}
        unclear = {"Uncertain" for each in self.heard if isinstance(each, ev.LaunchUncertain)}
        return failed | unclear

    def answered(self) -> list[str]:
        """Name the machines of which the fleet learned by the answer to their launch."""
        return [
            each.instance_id
            for each in self.heard
            if isinstance(each, ev.InstanceLaunched) and each.because.endswith(" launched it")
        ]

    def why_not_converged(self, nodes: int) -> str:
        """Say what keeps the fleet from being just what the cloud has; empty: nothing does."""
        machines = self.stand.machines
        fleet = self.fleet
        if len(machines) != nodes:
            return f"{len(machines)} machines at the cloud, {nodes} are wanted: {machines}"
        for name, ref in machines:
            instance = fleet.instances.get(name)
            if instance is None:
                return f"nobody knows {name} ({ref})"
            if instance.ref != ref or instance.state is not InstanceState.RUNNING:
                return f"{name} ({ref}) is {instance.state.value}, as {instance.ref or 'nothing'}"
        if left := [each.id for each in fleet.instances.values() if not each.ended]:
            stray = set(left) - {each.name for each in machines}
            if stray:
                return f"no machine of theirs is there: {sorted(stray)}"
        if fleet.orphans or fleet.uncertain:
            return f"orphans: {fleet.orphans}, uncertain: {fleet.uncertain}"
        target = fleet.pools[self.stand.pool.name].target
        return "" if target == nodes else f"the target is {target}"

    async def converged(self, nodes: int = NODES) -> None:
        """Wait until all is as it should be, and see that two more lists change nothing."""
        await self._until_converged(nodes)
        await more_lists(self.stand, 2)
        await self._until_converged(nodes)

    async def _until_converged(self, nodes: int) -> None:
        try:
            await until(self.stand, lambda: not self.why_not_converged(nodes))
        except TimeoutError:
            told = "\n".join(map(str, self.heard[-20:]))
            raise AssertionError(f"{self.why_not_converged(nodes)}; heard:\n{told}") from None


async def until(stand: Stand, holds: Callable[[], object]) -> None:
    """Look again and again, for as long as the case may take.

    Raises `TimeoutError` when that is over.
    """
    while not holds():
        stand.looks_left -= 1
        if stand.looks_left < 0:
            raise TimeoutError(f"it took more than {SECONDS_MAX:g} s")
        await asyncio.sleep(LOOK)


async def more_lists(stand: Stand, number: int) -> None:
    """Wait until so many more lists were asked for."""
    seen = stand.lists
    await until(stand, lambda: stand.lists >= seen + number)


async def _be_the_agents(life: Life) -> None:
    """Register each machine that runs, and let it beat for as long as it does."""
    while True:
        for name in life.stand.running:
            is_known = name in life.fleet.nodes
            await life.control_plane.runtime.ask(
                Heartbeat(name) if is_known else RegisterNode(name)
            )
        await asyncio.sleep(BEAT if life.stand.running else LOOK)


@asynccontextmanager
async def living(stand: Stand, store: Store, list_lag: timedelta = LIST_LAG) -> AsyncIterator[Life]:
    """Start a control plane and the agents; at the end, stop whatever has not crashed."""
    life = Life(stand, store, list_lag)
    try:
        await life.start()
        agents = asyncio.create_task(_be_the_agents(life), name="agents")
        try:
            yield life
        finally:
            has_crashed = agents.done()
            agents.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await agents
            if not has_crashed:
                await life.control_plane.stop()
    finally:
        await life.close()


REFUSED_AS = {
    Fault.STOCK_OUT: {"NoCapacity"},
    Fault.QUOTA: {"QuotaExceeded"},
    Fault.THROTTLED: {"Throttled"},
    Fault.TROUBLE: {"Unavailable", "Uncertain"},
    Fault.REVOKED: {"Unauthorized"},
}
"""By which word the fleet must have heard of a fault; several: by any of them."""
