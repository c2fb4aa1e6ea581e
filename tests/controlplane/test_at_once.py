"""Signs of life between two steps: what is told then is in the journal."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import numpy as np

from factories import at
from navarch.controlplane.at_once import AtOnce
from navarch.controlplane.clock import FakeClock
from navarch.controlplane.runtime import Runtime
from navarch.core.model import messages as msg
from navarch.core.model.command import CommandType
from navarch.core.model.events import Event
from navarch.core.model.samples import Columns, Readings
from navarch.core.strategies import Strategies
from navarch.stores.memory import MemoryStore

_NONE = np.zeros(0, dtype=np.int64)
_OF_NONE = np.zeros((0, 0), dtype=np.int64)
_PARTS = np.zeros(0)
NOTHING = Readings(_PARTS, _PARTS, _NONE, _OF_NONE, _OF_NONE, _OF_NONE, np.zeros((0, 0)), _OF_NONE)
"""No samples."""
SAMPLE = Columns(1.0, 2.0, [0], [60], [400], [50.0], [1024])


class SlowStore(MemoryStore):
    """A journal whose disk takes its time."""

    def __init__(self) -> None:
        super().__init__()
        self.free = asyncio.Event()
        self.free.set()
        self.waits = asyncio.Event()

    async def append(self, events: Sequence[Event], *, after: int) -> int:
        """Append once the disk is free."""
        self.waits.set()
        await self.free.wait()
        self.waits.clear()
        return await super().append(events, after=after)


async def a_runtime(store: MemoryStore) -> tuple[Runtime, asyncio.Task[None]]:
    """Return a loop that runs, which knows two nodes."""
    await store.open()
    runtime = Runtime(store, {}, FakeClock(at()), Strategies())
    await runtime.recover("k3f9", "0.1.0", "a test")
    running = asyncio.create_task(runtime.run())
    for node_id in ("n1", "n2"):
        await runtime.ask(msg.RegisterNode(node_id))
    return runtime, running


def test_nobody_is_told_what_is_not_in_the_journal() -> None:
    async def scenario() -> None:
        store = SlowStore()
        runtime, running = await a_runtime(store)
        ear = AtOnce(runtime, works=lambda: True)
        assert ear.heartbeat("n1", SAMPLE) is False
        store.free.clear()
        store.waits.clear()
        issued = asyncio.create_task(runtime.ask(msg.IssueCommand("n1", CommandType.CORDON)))
        joined = asyncio.create_task(runtime.ask(msg.RegisterNode("n3")))
        await store.waits.wait()
        assert "n3" in runtime.machine.fleet.nodes  # folded, and not written yet
        assert ear.heartbeat("n1", SAMPLE) is None
        assert ear.heartbeat("n3", None) is None
        assert ear.heartbeats(frozenset({"n1", "n2"}), ([], NOTHING)) is None
        assert not ear.poll("n3")
        assert ear.heartbeat("n2", SAMPLE) is False  # of whom nothing is on its way
        assert ear.poll("n2")
        store.free.set()
        await asyncio.gather(issued, joined)
        assert ear.heartbeat("n1", SAMPLE) is True
        assert ear.heartbeat("n3", None) is False
        await runtime.stop("the test is over")
        await running

    asyncio.run(scenario())


def test_nothing_is_taken_by_a_control_plane_that_does_not_work() -> None:
    async def scenario() -> None:
        runtime, running = await a_runtime(MemoryStore())
        ear = AtOnce(runtime, works=lambda: not runtime.inbox.closed)
        beat = msg.Heartbeat("n1")
        assert ear.serving(beat) is None  # it says nothing of what runs there
        assert ear.poll("n1")
        await runtime.stop("the test is over")
        before = runtime.machine.sightings.heard.moments()
        assert ear.heartbeat("n1", SAMPLE) is None
        assert ear.serving(beat) is None
        assert ear.heartbeats(frozenset({"n1"}), ([], NOTHING)) is None
        assert not ear.poll("n1")
        assert runtime.machine.sightings.heard.moments() == before
        await running

    asyncio.run(scenario())
