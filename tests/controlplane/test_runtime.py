"""The loop: nothing leaves before it is in the journal, and a failed append ends everything."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import timedelta

import pytest

from navarch.controlplane.clock import FakeClock
from navarch.controlplane.control_plane import ControlPlane
from navarch.controlplane.runtime import SNAPSHOT_EVERY, Runtime
from navarch.controlplane.server_config import ServerConfig
from navarch.core.model import messages as msg
from navarch.core.model.events import Event
from navarch.core.model.pool import PoolSpec
from navarch.core.strategies import Strategies
from navarch.errors import JournalCorrupt, JournalError, Unavailable
from navarch.providers.fake import FakeCloud, FakeProvider
from navarch.stores.memory import MemoryStore
from pools import MONDAY, a_control_plane, a_spec, pass_time, register_all, run, until

SECOND = timedelta(seconds=1)


class GatedStore(MemoryStore):
    """Appends when it is let, or fails."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = asyncio.Event()
        self.gate.set()
        self.fails = False

    async def append(self, events: Sequence[Event], *, after: int) -> int:
        await self.gate.wait()
        if self.fails:
            raise JournalError("the disk is full")
        return await super().append(events, after=after)


def a_runtime(store: MemoryStore, provider: FakeProvider, clock: FakeClock) -> Runtime:
    return Runtime(store, {"fake": provider}, clock, Strategies())


def test_nothing_is_answered_or_done_before_the_append() -> None:
    async def story() -> tuple[int, int, bool]:
        clock, provider, store = FakeClock(MONDAY), FakeProvider(), GatedStore()
        await store.open()
        runtime = a_runtime(store, provider, clock)
        await runtime.recover("k3f9", "0.1.0", "a test")
        looping = asyncio.create_task(runtime.run())
        store.gate.clear()
        asked = asyncio.create_task(runtime.ask(msg.ConfigurePools((a_spec(),))))
        for _ in range(50):
            await asyncio.sleep(0)
        before, answered = len(provider.cloud.machines), asked.done()
        settled = asyncio.create_task(runtime.settled())
        await asyncio.sleep(0)
        shown = settled.done()
        store.gate.set()
        await asked
        await settled
        await until(lambda: len(provider.cloud.machines) == 2)
        await runtime.stop("the test is over")
        await looping
        return before, int(answered), shown

    assert run(story()) == (0, 0, False)


class BriskStore(MemoryStore):
    """Appends in one turn of the event loop."""

    async def append(self, events: Sequence[Event], *, after: int) -> int:
        await asyncio.sleep(0)
        return await super().append(events, after=after)


def test_a_reader_is_not_kept_waiting_by_one_append_after_the_other() -> None:
    async def story() -> tuple[int, bool]:
        store = BriskStore()
        await store.open()
        runtime = a_runtime(store, FakeProvider(), FakeClock(MONDAY))
        await runtime.recover("k3f9", "0.1.0", "a test")
        looping = asyncio.create_task(runtime.run())
        seen: list[bool] = []

        async def read() -> None:
            await runtime.settled()
            seen.append(runtime.is_settled)

        reading: asyncio.Task[None] | None = None
        asked = []
        for number in range(200):  # there is always something that waits
            asked.append(asyncio.create_task(runtime.ask(msg.RegisterNode(f"n{number}"))))
            await asyncio.sleep(0)
            if reading is None and not runtime.is_settled:
                reading = asyncio.create_task(read())
            if seen:
                break
        waited = sum(each.done() for each in asked)
        await asyncio.gather(*asked)
        await runtime.stop("the test is over")
        await looping
        return waited, seen == [True]

    waited, was_settled = run(story())
    assert waited < 100
    assert was_settled


def test_what_comes_back_while_the_journal_is_written_is_not_done_twice() -> None:
    async def story() -> int:
        clock, store = FakeClock(MONDAY), GatedStore()
        cloud = FakeCloud(honours_tokens=False)
        provider = FakeProvider(cloud=cloud, now=clock.now, sleep=clock.sleep)
        cloud.fail_next(Unavailable("no lists today"), call="list", times=1_000)
        cloud.answer_after(SECOND)
        cloud.answer_after(2 * SECOND)
        await store.open()
        runtime = a_runtime(store, provider, clock)
        await runtime.recover("k3f9", "0.1.0", "a test")
        looping = asyncio.create_task(runtime.run())
        await runtime.ask(msg.ConfigurePools((a_spec(),)))
        await until(lambda: len(cloud.machines) == 2)
        store.gate.clear()
        await pass_time(clock, 3 * SECOND, SECOND)  # the second answer finds the journal busy
        store.gate.set()
        fleet = runtime.machine.fleet
        await until(lambda: all(each.ref for each in fleet.instances.values()))
        await pass_time(clock, 3 * SECOND, SECOND)
        await runtime.stop("the test is over")
        await looping
        return len(cloud.machines)

    assert run(story()) == 2


def test_a_failed_append_ends_the_loop() -> None:
    async def story() -> None:
        store = GatedStore()
        control_plane = ControlPlane(ServerConfig(clock=FakeClock(MONDAY)), store)
        await control_plane.start()
        store.fails = True
        asked = asyncio.create_task(control_plane.configure_pools([a_spec()]))
        with pytest.raises(JournalError, match="the disk is full"):
            await control_plane.wait_failed()
        assert not control_plane.readiness().ready
        asked.cancel()
        with pytest.raises(JournalError, match="the disk is full"):
            await control_plane.stop()

    run(story())


def test_a_restart_carries_on_with_the_same_fleet() -> None:
    store, clock, provider = MemoryStore(), FakeClock(MONDAY), FakeProvider()

    async def live(*specs: PoolSpec) -> list[str]:
        control_plane = ControlPlane(ServerConfig(clock=clock), store)
        control_plane.register_provider(provider)
        async with control_plane:
            if specs:
                await control_plane.configure_pools(specs)
            return await register_all(control_plane, 2)

    first = run(live(a_spec()))
    assert run(live()) == first
    assert len(provider.cloud.machines) == 2


def test_many_facts_leave_a_snapshot_behind() -> None:
    async def story() -> bool:
        store = MemoryStore()
        await store.open()
        runtime = a_runtime(store, FakeProvider(), FakeClock(MONDAY))
        await runtime.recover("k3f9", "0.1.0", "a test")
        looping = asyncio.create_task(runtime.run())
        names = [f"lab-{n}" for n in range(SNAPSHOT_EVERY)]
        for start in range(0, SNAPSHOT_EVERY, 500):
            await runtime.inbox.ask([msg.RegisterNode(name) for name in names[start : start + 500]])
        await runtime.ask(msg.Tick())
        await runtime.stop("the test is over")
        await looping
        return store.load_now().snapshot is not None

    assert run(story())


def test_a_snapshot_that_is_no_fleet_is_named() -> None:
    async def story() -> None:
        store = MemoryStore()
        await store.open()
        store.snapshot_now(0, b"{")
        runtime = a_runtime(store, FakeProvider(), FakeClock(MONDAY))
        await runtime.recover("k3f9", "0.1.0", "a test")

    with pytest.raises(JournalCorrupt, match="the snapshot at 0 is not a fleet"):
        run(story())


def test_time_alone_makes_the_core_look() -> None:
    clock = FakeClock(MONDAY)

    async def story() -> str:
        async with a_control_plane(clock, a_spec()) as (control_plane, _):
            [node_id, _] = await register_all(control_plane, 2)
            await pass_time(clock, timedelta(seconds=100), SECOND)
            return control_plane.runtime.machine.fleet.nodes[node_id].contact.value

    assert run(story()) == "lost"


def test_whoever_waits_for_the_journal_to_grow_is_woken() -> None:
    async def story() -> int:
        async with a_control_plane(FakeClock(MONDAY)) as (control_plane, _):
            runtime = control_plane.runtime
            before = runtime.seq
            waiting = asyncio.create_task(runtime.wait_appended(before))
            await runtime.ask(msg.RegisterNode("lab-1"))
            await waiting
            return runtime.seq - before

    assert run(story()) == 1
