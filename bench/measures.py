"""What it costs to count a fleet for ``/metrics``, and to be scraped.

    python bench/measures.py [--nodes 10000] [--runs 5] [--json FILE]

*scrape*: ``GET /metrics`` through the whole application, every node heard between two scrapes.
*sweep*: adding up the time of all GPUs and machines, every 15 s. *fact*: what a fact that is
written costs more, for all counts together, when a node falls silent and returns. *begin*: looking
at all of it once, when a control plane begins to lead. CPU time.
"""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Callable
from datetime import timedelta
from functools import partial

from figures import Figure, options, tell
from figures.asgi import asked
from figures.fleets import START, beats, facts, node_id

from navarch.controlplane.clock import FakeClock
from navarch.controlplane.control_plane import ControlPlane
from navarch.controlplane.server_config import ServerConfig
from navarch.core import fold
from navarch.core.model import events as ev
from navarch.core.model.messages import Tick
from navarch.stores.memory import MemoryStore

SCRAPES = 20
FACTS = 2_000


def spent(work: Callable[[], object]) -> float:
    """Do it, and return the seconds that it took."""
    begun = time.process_time()
    work()
    return time.process_time() - begun


class Bench:
    """A control plane with as many nodes as asked for."""

    def __init__(self, nodes: int, runs: int) -> None:
        """Prepare."""
        self.nodes, self.runs = nodes, runs
        self._turn = 0
        self._clock = FakeClock(START + timedelta(days=1))
        size = f"{nodes:,} nodes"
        self.scrape = Figure(f"GET /metrics, {size}", "ms")
        self.single = Figure(f"GET /metrics, {size}, 1,000 of them with series of their own", "ms")
        self.sweep = Figure(f"a sweep, {size}", "ms")
        self.fact = Figure(f"a fact about one of {size}", "µs")
        self.begin = Figure(f"to begin with {size}", "ms")

    async def run(self) -> None:
        """Measure everything."""
        store = MemoryStore()
        store.append_now(list(facts(self.nodes)), after=0)
        config = ServerConfig(clock=self._clock)
        async with ControlPlane(config, store) as plane:
            for _ in range(self.runs):
                await self._heard(plane)
                gc.collect()
                self.scrape.runs.append(await self._scrapes(plane))
                self.sweep.runs.append(await self._sweep(plane))
                self.fact.runs.append(self._facts(plane))
                begin = partial(plane.accounts.begin, plane.runtime.machine.fleet)
                self.begin.runs.append(spent(begin) * 1e3)
        with_nodes = ServerConfig(clock=self._clock, node_series_max=1_000)
        async with ControlPlane(with_nodes, store) as plane:
            await self._heard(plane)
            for _ in range(self.runs):
                self.single.runs.append(await self._scrapes(plane))

    async def _heard(self, plane: ControlPlane) -> None:
        """Have every node be heard, a moment later than before."""
        self._turn += 1
        self._clock.advance(timedelta(seconds=15))
        await plane.runtime.ask(beats(self.nodes, self._turn))

    async def _scrapes(self, plane: ControlPlane) -> float:
        application = plane.asgi_app
        await asked(application, "/metrics")  # labels are written once
        begun = time.process_time()
        for _ in range(SCRAPES):
            await asked(application, "/metrics")
        return (time.process_time() - begun) / SCRAPES * 1e3

    async def _sweep(self, plane: ControlPlane) -> float:
        self._clock.advance(timedelta(seconds=1))
        await plane.runtime.ask(Tick())  # so that nothing else is waiting for its turn
        begun = time.process_time()
        await plane.accounts.sweep()
        return (time.process_time() - begun) * 1e3

    def _facts(self, plane: ControlPlane) -> float:
        """Have nodes fall silent and return, folded and heard one by one."""
        fleet, now = plane.runtime.machine.fleet, self._clock.now()
        story: list[ev.Fact] = []
        for number in range(FACTS // 2):
            id_ = node_id(number % self.nodes)
            story += (ev.NodeLost(now, id_, "silent"), ev.NodeReturned(now, id_, "it speaks"))

        def told(hear: Callable[[ev.Fact], object]) -> None:
            for fact in story:
                fold.apply(fleet, fact)
                hear(fact)

        return (spent(lambda: told(plane.accounts.hear)) - spent(lambda: told(id))) / FACTS * 1e6


def main() -> None:
    """Measure and tell."""
    asked_for = options("what it costs to count a fleet")
    asked_for.add_argument("--nodes", type=int, default=10_000)
    given = asked_for.parse_args()
    bench = Bench(given.nodes, given.runs)
    asyncio.run(bench.run())
    figures = [bench.scrape, bench.single, bench.sweep, bench.fact, bench.begin]
    tell(figures, given.json)


if __name__ == "__main__":
    main()
