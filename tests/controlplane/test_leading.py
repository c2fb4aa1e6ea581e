"""A leader and a standby over one journal, in virtual time: what each is, does, and refuses."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from datetime import timedelta
from typing import Any, TypeVar

import pytest

from controlplane.rival_world import STEP, World
from navarch.controlplane.control_plane import ControlPlane
from navarch.controlplane.service import Service
from navarch.core.model import events as ev
from navarch.core.model import fleet as fleets
from navarch.core.model import messages as msg
from navarch.errors import JournalConflict, WireError
from navarch.policy import HealthPolicy
from navarch.wire.generated import navarch_pb2 as pb
from pools import a_spec
from requests_of import get

T = TypeVar("T")


def told(story: Callable[[World], Coroutine[Any, Any, T]]) -> T:
    """Tell a story of two control planes of which the first leads; both end with it."""

    async def whole() -> T:
        async with asyncio.timeout(20):
            world = World(1)
            world.restarts = False
            try:
                await steps(world, 4)
                assert [each.control_plane.leads for each in world.members] == [True, False]
                return await story(world)
            finally:
                await world.end()

    return asyncio.run(whole())


async def steps(world: World, count: int) -> None:
    """Let half a second pass, so often."""
    for _ in range(count):
        await world.step()


async def steps_until(world: World, holds: Callable[[], bool], at_most: int) -> int:
    """Let time pass until something holds; return how many half seconds that took."""
    for taken in range(at_most):
        if holds():
            return taken
        await world.step()
    raise AssertionError(f"not within {at_most * STEP}")


def both(world: World) -> tuple[ControlPlane, ControlPlane]:
    """The leader and the standby."""
    first, second = world.members
    return first.control_plane, second.control_plane


def test_a_standby_shows_what_the_leader_has_written_within_a_moment() -> None:
    async def story(world: World) -> None:
        leader, standby = both(world)
        await leader.runtime.ask(msg.RegisterNode("lab-1"))
        await steps(world, 1)
        service = Service(standby.runtime)
        shown = await service.get_node(pb.GetNodeRequest(node_id="lab-1"), None)
        assert shown.node.node_id == "lab-1"
        assert not shown.node.HasField("last_heartbeat")
        listed = await service.list_events(pb.ListEventsRequest(limit=5), None)
        assert listed.last_seq == leader.runtime.seq == world.journal.facts.last_seq_now
        explained = await service.explain(
            pb.ExplainRequest(kind=pb.SUBJECT_KIND_NODE, id="lab-1"), None
        )
        assert "it hears no heartbeats" in explained.lines[0]
        assert not any("heard" in line and "ago" in line for line in explained.lines)

    told(story)


def test_only_the_leader_counts_what_is_written() -> None:
    """Else sums over both would count each fact twice."""

    async def story(world: World) -> None:
        leader, standby = both(world)
        for number in range(3):
            await leader.runtime.ask(msg.RegisterNode(f"lab-{number}"))
        await steps(world, 1)
        pages = [await get(each.asgi_app, "/metrics") for each in (leader, standby)]
        first, second = (page.decode().splitlines() for _, page in pages)
        written = len(leader.runtime.machine.fleet.nodes)
        registered = 'navarch_journal_facts_total{kind="node_registered"}'
        assert f"{registered} {written}" in first
        assert f"{registered} 0" in second
        assert "navarch_leader 1" in first
        assert "navarch_leader 0" in second
        nodes = 'navarch_nodes{pool="",status="active"} 3'
        assert nodes in first
        assert nodes in second
        assert any(line.startswith("navarch_pool_healthy_nodes{") for line in first)
        assert not any(line.startswith("navarch_pool_healthy_nodes{") for line in second)

    told(story)


def test_whoever_watches_at_a_standby_sees_each_fact() -> None:
    async def story(world: World) -> None:
        leader, standby = both(world)
        watching = Service(standby.runtime).watch_events(
            pb.WatchEventsRequest(subject="lab-1"), None
        )
        coming = asyncio.ensure_future(anext(watching))
        await steps(world, 1)
        assert not coming.done()
        await leader.runtime.ask(msg.RegisterNode("lab-1"))
        await steps(world, 1)
        assert (await coming).event.kind == "node_registered"

    told(story)


def test_a_standby_asks_for_nothing_evaluates_nothing_and_takes_no_message() -> None:
    async def story(world: World) -> None:
        _, standby = both(world)
        with pytest.raises(WireError) as caught:
            await standby.runtime.ask(msg.RegisterNode("lab-1"))
        assert caught.value.code == "unavailable"
        assert "a standby; the leader is http://cp0:50051" in caught.value.message
        await steps(world, 40)
        assert len(standby.runtime.effects) == len(standby.runtime.notices) == 0
        assert list(standby.pool_manager.traces) == []
        assert not world.violations

    told(story)


def test_what_each_says_of_itself() -> None:
    async def story(world: World) -> None:
        leader, standby = both(world)
        assert leader.readiness().role == leader.standing().role == "leader"
        assert standby.readiness().role == standby.standing().role == "standby"
        assert leader.readiness().ready
        assert standby.readiness().ready
        assert leader.standing().leader == standby.standing().leader == "http://cp0:50051"
        assert leader.standing().term == standby.standing().term == 1
        assert leader.standing().seq == standby.standing().seq > 0

    told(story)


def test_after_an_orderly_stop_the_standby_leads_within_a_second() -> None:
    async def story(world: World) -> None:
        leader, standby = both(world)
        await leader.runtime.ask(msg.RegisterNode("lab-1"))
        await leader.stop()
        took = await steps_until(world, lambda: standby.leads, 4)
        assert took * STEP <= timedelta(seconds=1)
        assert "lab-1" in standby.runtime.machine.fleet.nodes
        assert standby.standing().term == 2
        assert len(world.facts(ev.Resumed)) == 2
        await standby.runtime.ask(msg.RegisterNode("lab-2"))

    told(story)


def test_after_a_death_the_standby_leads_when_the_lease_has_run_out() -> None:
    async def story(world: World) -> None:
        world.members[0].clock.runs.clear()  # for ever: nobody can tell that from a death
        world.members[0].stalled_until += timedelta(days=1)
        _, standby = both(world)
        took = await steps_until(world, lambda: standby.leads, 20)
        assert timedelta(seconds=4) < took * STEP <= timedelta(seconds=7)

    told(story)


def test_whoever_is_cut_off_from_the_journal_ends_before_another_may_lead() -> None:
    async def story(world: World) -> None:
        leader, standby = both(world)
        told_at_once: list[bool] = []
        leader.on_lost = lambda: told_at_once.append(standby.leads)
        world.members[0].store.reachable = False
        failing = asyncio.create_task(leader.wait_failed())
        await steps_until(world, failing.done, 20)
        assert not standby.leads
        assert told_at_once == [False]  # once, and before another could lead
        assert world.journal.leader is None or world.journal.leader.holder == "cp0"
        assert isinstance(failing.exception(), JournalConflict)
        assert "the lease on the journal is lost" in str(failing.exception())
        assert not leader.readiness().ready
        assert len(leader.runtime.effects) == 0
        with pytest.raises(WireError, match="lease on the journal is lost"):
            await leader.runtime.ask(msg.RegisterNode("lab-1"))
        await steps_until(world, lambda: standby.leads, 6)

    told(story)


def test_one_who_stood_still_finds_that_another_leads_and_writes_nothing() -> None:
    async def story(world: World) -> None:
        leader, standby = both(world)
        sleeper = world.members[0]
        sleeper.clock.runs.clear()
        sleeper.stalled_until += timedelta(days=1)
        asked = asyncio.ensure_future(leader.runtime.ask(msg.RegisterNode("too-late")))
        await steps_until(world, lambda: standby.leads, 20)
        await standby.runtime.ask(msg.RegisterNode("in-time"))
        failing = asyncio.create_task(leader.wait_failed())
        sleeper.clock.runs.set()
        await steps_until(world, failing.done, 6)
        assert isinstance(failing.exception(), JournalConflict)
        with pytest.raises(WireError) as caught:
            await asked
        assert caught.value.code in ("unknown", "unavailable")
        registered = {fact.node_id for fact in world.facts(ev.NodeRegistered)}
        assert "in-time" in registered
        assert "too-late" not in registered
        assert not world.violations

    told(story)


def test_what_a_standby_is_configured_with_counts_when_it_leads() -> None:
    async def story(world: World) -> None:
        leader, standby = both(world)
        await standby.configure_pools([a_spec(min_nodes=2), a_spec(name="second")])
        await standby.adopt_policy(HealthPolicy.default(), "the file was read again")
        assert set(leader.runtime.machine.fleet.pools) == {"training"}
        await leader.stop()
        await steps_until(world, lambda: standby.leads, 4)
        await steps(world, 1)
        assert set(standby.runtime.machine.fleet.pools) == {"training", "second"}

    told(story)


def test_a_standby_that_cannot_read_for_long_is_not_ready() -> None:
    async def story(world: World) -> None:
        _, standby = both(world)
        world.members[1].store.reachable = False
        await steps(world, 10)
        assert standby.readiness().ready
        await steps(world, 14)
        assert "could not read the journal for" in standby.readiness().reason
        world.members[1].store.reachable = True
        await steps(world, 3)
        assert standby.readiness().ready

    told(story)


def test_a_standby_that_missed_facts_which_are_gone_loads_the_snapshot() -> None:
    async def story(world: World) -> None:
        leader, standby = both(world)
        world.members[1].store.reachable = False
        for number in range(5):
            await leader.runtime.ask(msg.RegisterNode(f"lab-{number}"))
        await leader.runtime.snapshot()
        await leader.runtime.ask(msg.RegisterNode("lab-5"))
        forgotten = await leader.runtime.store.forget(before=world.clock.now() + STEP)
        assert forgotten
        world.members[1].store.reachable = True
        await steps(world, 3)
        assert standby.runtime.seq == leader.runtime.seq
        fleet = standby.runtime.machine.fleet
        assert fleets.encode(fleet) == fleets.encode(leader.runtime.machine.fleet)
        assert "lab-5" in fleet.nodes

    told(story)
