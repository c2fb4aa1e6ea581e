"""Autoscaling from end to end: demand drives the target, and whatever is broken holds it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest
from msgspec.structs import replace

from navarch.controlplane.clock import FakeClock
from navarch.controlplane.control_plane import ControlPlane
from navarch.controlplane.server_config import ServerConfig
from navarch.core.model.messages import ScalePool
from navarch.core.model.pool import Pool
from navarch.core.scaling.base import (
    Autoscaler,
    PoolMetrics,
    PoolState,
    Quality,
    ScaleRecommendation,
)
from navarch.core.scaling.composite import CompositeAutoscaler
from navarch.core.scaling.queue_based import QueueBasedAutoscaler
from navarch.core.scaling.reactive import ReactiveAutoscaler
from navarch.errors import NavarchError, PluginError
from navarch.metrics.base import unanswered
from pools import (
    MONDAY,
    TYPE,
    Backwards,
    Scene,
    a_control_plane,
    a_spec,
    pass_time,
    register_all,
    run,
    running,
    until,
)

POOL = "training"
SECOND = timedelta(seconds=1)
QUEUE = QueueBasedAutoscaler(jobs_per_node=10)


class Demand:
    """A metrics source that says what it is told, or fails as it is told."""

    name = "demand"

    def __init__(self, **fields: object) -> None:
        self.metrics: object = PoolMetrics(**fields)  # type: ignore[arg-type] # as PoolMetrics has
        self.error: Exception | None = None
        self.asleep = False

    async def get_pool_metrics(self, pool_name: str) -> PoolMetrics:
        if self.asleep:
            await asyncio.Event().wait()
        if self.error is not None:
            raise self.error
        return self.metrics  # type: ignore[return-value] # nonsense is one of the cases


@asynccontextmanager
async def scaled(
    autoscaler: Autoscaler, demand: Demand, clock: FakeClock | None = None, **changes: object
) -> AsyncIterator[ControlPlane]:
    """Run a control plane whose one pool is scaled by that autoscaler on that demand."""
    async with a_control_plane(clock or FakeClock(MONDAY), a_spec(**changes)) as (plane, _):
        plane.pool_manager.deadline = timedelta(milliseconds=30)
        plane.pool_manager.metrics_deadline = timedelta(milliseconds=30)
        plane.pool_manager.scale(POOL, autoscaler, demand)
        yield plane


def pool_of(plane: ControlPlane) -> Pool:
    return plane.runtime.machine.fleet.pools[POOL]


# --- the way of a demand ---------------------------------------------------------------------


def test_demand_becomes_machines_and_idleness_lets_them_go() -> None:
    demand = Demand(queue_depth=45)
    clock = FakeClock(MONDAY)

    async def story() -> tuple[int, str, int]:
        async with scaled(QUEUE, demand, clock) as plane:
            await plane.pool_manager.evaluate(POOL)
            await register_all(plane, 5)
            grown, why = len(running(plane)), pool_of(plane).target_because
            demand.metrics = PoolMetrics(queue_depth=0)
            clock.advance(SECOND)
            await plane.pool_manager.evaluate(POOL)
            return grown, why, pool_of(plane).target

    grown, why, shrunk = run(story())
    assert grown == 5
    assert why.startswith("queue")
    assert "45" in why
    assert shrunk == 2


def test_the_interval_evaluates_by_itself() -> None:
    clock = FakeClock(MONDAY)

    async def story() -> list[int]:
        async with scaled(QUEUE, Demand(queue_depth=45), clock) as plane:
            targets = [pool_of(plane).target]
            await pass_time(clock, timedelta(seconds=29), SECOND)
            targets.append(pool_of(plane).target)
            await pass_time(clock, 2 * SECOND, SECOND)
            await until(lambda: pool_of(plane).target != 2)
            return [*targets, pool_of(plane).target]

    assert run(story()) == [2, 2, 5]


def test_the_autoscaler_sees_the_pool_as_it_is() -> None:
    async def story() -> tuple[PoolState, PoolState]:
        async with scaled(QUEUE, Demand(queue_depth=20)) as plane:
            await plane.pool_manager.evaluate(POOL)
            await register_all(plane, 2)
            await plane.pool_manager.evaluate(POOL)
            before, after = plane.pool_manager.traces
            return before.state, after.state

    booting, serving = run(story())
    assert (booting.current_nodes, booting.live_nodes, booting.unhealthy_nodes) == (2, 0, 0)
    assert (serving.current_nodes, serving.live_nodes, serving.unhealthy_nodes) == (2, 2, 0)
    assert (serving.min_nodes, serving.max_nodes, serving.now) == (2, 10, MONDAY)


def test_an_operators_later_word_stands_until_the_autoscaler_speaks_again() -> None:
    clock = FakeClock(MONDAY)

    async def story() -> list[int]:
        async with scaled(QUEUE, Demand(queue_depth=45), clock) as plane:
            await plane.pool_manager.evaluate(POOL)
            clock.advance(SECOND)
            await plane.runtime.ask(ScalePool(POOL, 9))
            said = pool_of(plane).target
            clock.advance(SECOND)
            await plane.pool_manager.evaluate(POOL)
            return [said, pool_of(plane).target]

    assert run(story()) == [9, 5]


def test_a_pool_that_is_left_keeps_its_target() -> None:
    async def story() -> int:
        async with scaled(QUEUE, Demand(queue_depth=45)) as plane:
            await plane.pool_manager.evaluate(POOL)
            plane.pool_manager.leave(POOL)
            assert plane.pool_manager.pools() == {}
            with pytest.raises(NavarchError, match="pool training has no autoscaler"):
                await plane.pool_manager.evaluate(POOL)
            return pool_of(plane).target

    assert run(story()) == 5


# --- broken metrics --------------------------------------------------------------------------


@pytest.mark.parametrize("death", ["raises", "hangs", "nonsense", "error", "stale"])
@pytest.mark.parametrize(
    "autoscaler",
    [
        QUEUE,
        ReactiveAutoscaler(80, 20),
        CompositeAutoscaler("min", [ReactiveAutoscaler(80, 20), QUEUE]),
    ],
    ids=["queue", "reactive", "composite"],
)
def test_a_dead_metrics_source_never_scales_down(death: str, autoscaler: Autoscaler) -> None:
    demand = Demand(queue_depth=45, utilization=95)
    clock = FakeClock(MONDAY)

    def die() -> None:
        demand.asleep = death == "hangs"
        demand.error = RuntimeError("gone") if death == "raises" else None
        if death == "nonsense":
            demand.metrics = {"queue_depth": 0}
        if death == "error":
            demand.metrics = unanswered("refused", "demand")
        if death == "stale":
            readings = unanswered("too old", "demand").readings
            stale = {name: replace(each, quality=Quality.STALE) for name, each in readings.items()}
            demand.metrics = PoolMetrics(readings=stale)

    async def story() -> tuple[int, int, bool]:
        async with scaled(autoscaler, demand, clock) as plane:
            await plane.pool_manager.evaluate(POOL)
            before = pool_of(plane).target
            await register_all(plane, before)
            die()
            for _ in range(3):
                clock.advance(SECOND)
                await plane.pool_manager.evaluate(POOL)
            return before, pool_of(plane).target, plane.pool_manager.traces[-1].recommendation.held

    before, after, held = run(story())
    assert (after, held) == (before, True)
    assert before > 2


@pytest.mark.parametrize(
    "metrics,error,fault",
    [
        (None, RuntimeError("gone"), "metrics source demand: RuntimeError: gone"),
        (17, None, "metrics source demand: answered int, expected PoolMetrics"),
    ],
)
def test_what_a_metrics_source_did_wrong_is_in_the_trace(
    metrics: object, error: Exception | None, fault: str
) -> None:
    demand = Demand()
    demand.metrics, demand.error = metrics, error

    async def story() -> str:
        async with scaled(QUEUE, demand) as plane:
            await plane.pool_manager.evaluate(POOL)
            return plane.pool_manager.traces[-1].fault

    assert run(story()) == fault


# --- broken autoscalers ----------------------------------------------------------------------


class Custom:
    """An autoscaler that somebody wrote, not well."""

    name = "custom"

    def __init__(self, answer: object = None) -> None:
        self.answer = answer
        self.let_go = threading.Event()
        self.asked = 0

    def recommend(self, state: PoolState) -> ScaleRecommendation:
        self.asked += 1
        if self.answer == "hangs":
            self.let_go.wait()
            return ScaleRecommendation(9, "at last")
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer  # type: ignore[return-value] # nonsense is one of the cases


@pytest.mark.parametrize(
    "answer,fault",
    [
        (ValueError("no model"), "ValueError: no model"),
        (StopIteration(), "RuntimeError: coroutine raised StopIteration"),
        (None, "answered NoneType, expected ScaleRecommendation"),
        (ScaleRecommendation(-1, "x"), "proposed -1 nodes, expected a whole number of at least 0"),
        (ScaleRecommendation(2.5, "x"), "proposed 2.5 nodes"),  # type: ignore[arg-type] # planted
        (ScaleRecommendation(True, "x"), "proposed True nodes"),  # noqa: FBT003 - planted
    ],
)
def test_an_autoscaler_that_is_wrong_is_traced_and_holds(answer: object, fault: str) -> None:
    async def story() -> tuple[str, str, int]:
        async with scaled(Custom(answer), Demand()) as plane:
            await plane.runtime.ask(ScalePool(POOL, 6))
            recommendation = await plane.pool_manager.evaluate(POOL)
            assert recommendation.held
            trace = plane.pool_manager.traces[-1]
            return trace.fault, recommendation.reason, pool_of(plane).target

    said, reason, target = run(story())
    assert said.startswith(fault)
    assert reason == f"custom failed ({said}): holding 6"
    assert target == 6


def test_an_autoscaler_that_blocks_is_left_behind_and_not_asked_again_meanwhile() -> None:
    slow = Custom("hangs")

    async def story() -> tuple[list[str], int, int]:
        async with scaled(slow, Demand()) as plane:
            for _ in range(3):
                await plane.pool_manager.evaluate(POOL)
            faults = [trace.fault for trace in plane.pool_manager.traces]
            asked = slow.asked
            slow.answer = ScaleRecommendation(7, "quick again")
            slow.let_go.set()
            async with asyncio.timeout(5):
                while pool_of(plane).target != 7:
                    await plane.pool_manager.evaluate(POOL)
            return faults, asked, pool_of(plane).target

    faults, asked, target = run(story())
    assert faults == [
        "no answer within 0:00:00.030000",
        "it still thinks about an earlier question",
        "it still thinks about an earlier question",
    ]
    assert (asked, target) == (1, 7)


class Asking:
    """An autoscaler that has to ask somebody else."""

    name = "asking"

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self.cancelled = False

    async def recommend(self, state: PoolState) -> ScaleRecommendation:
        try:
            await asyncio.sleep(self._seconds)
        except asyncio.CancelledError:
            self.cancelled = True
            raise
        return ScaleRecommendation(state.current_nodes + 1, "somebody said so")


def test_an_autoscaler_may_be_asynchronous_and_has_a_deadline() -> None:
    async def story(autoscaler: Asking) -> int:
        async with scaled(autoscaler, Demand()) as plane:
            await plane.pool_manager.evaluate(POOL)
            return pool_of(plane).target

    quick, slow = Asking(0), Asking(60)
    assert run(story(quick)) == 3
    assert run(story(slow)) == 2
    assert slow.cancelled


def test_one_broken_pool_does_not_keep_the_others_from_being_evaluated() -> None:
    clock = FakeClock(MONDAY)

    async def story() -> int:
        other = a_spec(name="other")
        async with a_control_plane(clock, a_spec(), other) as (plane, _):
            plane.pool_manager.scale(POOL, Custom(ValueError("no model")), Demand())
            plane.pool_manager.scale("forgotten", QUEUE, Demand())
            plane.pool_manager.scale("other", QUEUE, Demand(queue_depth=45))
            fleet = plane.runtime.machine.fleet
            await pass_time(clock, timedelta(seconds=31), SECOND)
            await until(lambda: fleet.pools["other"].target == 5)
            return fleet.pools[POOL].target

    assert run(story()) == 2


class Nameless:
    """No autoscaler and no metrics source: it has neither name nor method."""


def test_what_is_no_autoscaler_is_refused_at_the_door() -> None:
    manager = ControlPlane().pool_manager
    with pytest.raises(PluginError, match="autoscaler Nameless: name is None, expected a text"):
        manager.scale(POOL, Nameless())  # type: ignore[arg-type] # the planted fault
    with pytest.raises(PluginError, match="metrics source Backwards: it has no method get_pool"):
        manager.scale(POOL, QUEUE, Backwards())  # type: ignore[arg-type] # the planted fault
    assert manager.pools() == {}


# --- pools that programs make ----------------------------------------------------------------


@pytest.mark.parametrize("when", ["before the start", "after the start"])
def test_a_pool_of_a_program_is_run_by_the_control_plane(when: str) -> None:
    scene = Scene()
    scene.first.cloud.stock[TYPE] = 1
    pool = scene.wide_pool(min_nodes=1, cooldown_period=timedelta())

    async def story() -> tuple[list[str], str]:
        plane = ControlPlane(ServerConfig(clock=scene.clock))
        if when == "before the start":
            plane.pool_manager.add_pool(pool, QUEUE, Demand(queue_depth=25))
        async with plane:
            if when == "after the start":
                plane.pool_manager.add_pool(pool, QUEUE, Demand(queue_depth=25))
            await plane.pool_manager.evaluate(POOL)
            await register_all(plane, 3)
            return sorted(plane.providers), pool_of(plane).spec.strategy

    assert run(story()) == (["first", "second"], "priority")
    assert (len(scene.first.alive), len(scene.second.alive)) == (1, 2)
    with pytest.raises(NavarchError, match="is run by a control plane"):
        pool.nodes()


def test_a_strategy_that_nobody_registered_is_refused() -> None:
    scene = Scene()
    pool = scene.wide_pool(Backwards())
    plane = ControlPlane()
    with pytest.raises(PluginError, match="nobody has registered a ranker backwards"):
        plane.pool_manager.add_pool(pool, QUEUE)
    plane.register_ranker(Backwards())
    with pytest.raises(PluginError, match="ranker backwards is registered already"):
        plane.register_ranker(Backwards())


def test_two_providers_of_one_name_are_refused() -> None:
    scene, other = Scene(), Scene()
    plane = ControlPlane()
    plane.register_provider(other.first, "first")
    with pytest.raises(PluginError, match="provider first is registered already"):
        plane.pool_manager.add_pool(scene.pool(), QUEUE)
