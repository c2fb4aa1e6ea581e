"""Instances as records, and callbacks for what happens to them."""

from __future__ import annotations

import asyncio
import logging
from datetime import timedelta

import pytest

from navarch.controlplane.clock import FakeClock
from navarch.controlplane.control_plane import ControlPlane
from navarch.controlplane.server_config import ServerConfig
from navarch.core.model import messages as msg
from navarch.core.model.command import CommandState
from navarch.core.model.instance import Instance, InstanceState
from navarch.core.model.node import Node
from navarch.core.model.report import CheckResult, Health
from navarch.core.settings import Settings
from navarch.errors import NavarchError, NoCapacity
from navarch.providers.fake import FakeProvider
from pools import MONDAY, a_control_plane, a_spec, pass_time, register_all, run, running, until

SECOND = timedelta(seconds=1)
ONE = a_spec(min_nodes=1)


def test_records_are_listed_oldest_first_and_looked_up_by_our_id() -> None:
    async def story() -> tuple[list[str], list[str], Instance | None, Instance | None]:
        async with a_control_plane(FakeClock(MONDAY), a_spec()) as (plane, _):
            ids = await register_all(plane, 2)
            manager = plane.instance_manager
            listed = [each.id for each in manager.list()]
            return ids, listed, manager.get(ids[0]), manager.get("nobody")

    ids, listed, found, missing = run(story())
    assert listed == ids
    assert found is not None
    assert (found.id, found.state) == (ids[0], InstanceState.RUNNING)
    assert missing is None


def test_a_machine_that_never_registers_is_reported_and_terminated() -> None:
    clock = FakeClock(MONDAY)
    stale: list[Instance] = []

    async def story() -> list[str]:
        async with a_control_plane(clock, ONE) as (plane, provider):
            plane.instance_manager.on_stale_instance(stale.append)
            await until(lambda: len(provider.cloud.machines) == 1)
            await pass_time(clock, timedelta(seconds=130), SECOND)
            await until(lambda: "fake-000001" not in _alive(provider, clock))
            return _alive(provider, clock)

    alive = run(story())
    assert [each.ref for each in stale] == ["fake-000001"]
    assert stale[0].state is InstanceState.TERMINATING
    assert alive == ["fake-000002"]


def _alive(provider: FakeProvider, clock: FakeClock) -> list[str]:
    return [machine.instance.id for machine in provider.cloud.alive(clock.now())]


def test_a_machine_that_registers_in_time_is_not_stale() -> None:
    clock = FakeClock(MONDAY)
    stale: list[Instance] = []

    async def story() -> list[str]:
        async with a_control_plane(clock, ONE) as (plane, _):
            plane.instance_manager.on_stale_instance(stale.append)
            await pass_time(clock, timedelta(seconds=110), SECOND)
            [node_id] = await register_all(plane, 1)
            for _ in range(20):
                await plane.runtime.ask(msg.Heartbeat(node_id))
                await pass_time(clock, 10 * SECOND, SECOND)
            return running(plane)

    assert len(run(story())) == 1
    assert stale == []


def test_a_refused_launch_is_reported() -> None:
    failed: list[Instance] = []

    async def story() -> None:
        async with a_control_plane(FakeClock(MONDAY)) as (plane, provider):
            plane.instance_manager.on_failed_instance(failed.append)
            provider.cloud.fail_next(NoCapacity("none today"))
            await plane.configure_pools([ONE])
            await until(lambda: bool(failed))

    run(story())
    assert failed[0].state is InstanceState.FAILED
    assert "none today" in failed[0].because


def test_a_callback_that_breaks_is_named_and_the_others_are_called(
    caplog: pytest.LogCaptureFixture,
) -> None:
    heard: list[str] = []

    def broken(instance: Instance) -> None:
        raise ValueError("a fault of the caller's")

    async def later(instance: Instance) -> None:
        await asyncio.sleep(0)
        heard.append(f"later {instance.state}")

    async def later_broken(instance: Instance) -> None:
        await asyncio.sleep(0)
        raise ValueError("another fault of the caller's")

    async def story() -> None:
        async with a_control_plane(FakeClock(MONDAY)) as (plane, provider):
            for call in (broken, later_broken, later):
                plane.instance_manager.on_failed_instance(call)
            plane.instance_manager.on_failed_instance(lambda each: heard.append(each.pool))
            provider.cloud.fail_next(NoCapacity("none today"))
            await plane.configure_pools([ONE])
            await until(lambda: len(heard) == 2)

    with caplog.at_level(logging.ERROR):
        run(story())
    assert heard == ["training", "later failed"]
    told = [record.getMessage() for record in caplog.records]
    assert len(told) == 2
    assert "broken" in told[0]
    assert "later_broken" in told[1]


def test_a_callback_that_still_waits_is_cancelled_at_the_stop() -> None:
    begun: list[str] = []
    cancelled: list[str] = []

    async def patient(instance: Instance) -> None:
        begun.append(instance.pool)
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.append(instance.pool)
            raise

    async def story() -> None:
        async with a_control_plane(FakeClock(MONDAY)) as (plane, provider):
            plane.instance_manager.on_failed_instance(patient)
            provider.cloud.fail_next(NoCapacity("none today"))
            await plane.configure_pools([ONE])
            await until(lambda: bool(begun))

    run(story())
    assert cancelled == ["training"]


class Observer:
    """Remembers which nodes became unhealthy."""

    def __init__(self) -> None:
        self.heard: list[str] = []

    def on_node_unhealthy(self, node_id: str) -> None:
        self.heard.append(node_id)


def test_the_health_observer_hears_of_each_bad_verdict_once() -> None:
    first, second = Observer(), Observer()
    report = (CheckResult("nvml", Health.UNHEALTHY, "no driver"),)

    async def story() -> tuple[str, Node]:
        async with a_control_plane(FakeClock(MONDAY), ONE) as (plane, _):
            plane.set_health_observer(first)
            plane.set_health_observer(second)
            [node_id] = await register_all(plane, 1)
            for _ in range(2):
                await plane.runtime.ask(msg.ReportHealth(node_id, report))
            return node_id, plane.runtime.machine.fleet.nodes[node_id]

    node_id, node = run(story())
    assert node.health is Health.UNHEALTHY
    assert second.heard == [node_id]
    assert first.heard == []


def test_the_options_are_those_of_the_configuration() -> None:
    plane = ControlPlane(
        ServerConfig(
            registration_timeout=timedelta(minutes=3),
            stale_check_interval=timedelta(seconds=5),
            retain_terminated=timedelta(hours=1),
            evaluation_interval=timedelta(seconds=10),
        )
    )
    manager = plane.instance_manager
    assert manager.registration_timeout == timedelta(minutes=3)
    assert manager.stale_check_interval == timedelta(seconds=5)
    assert manager.retain_terminated == timedelta(hours=1)
    assert plane.pool_manager.evaluation_interval == timedelta(seconds=10)


def test_the_defaults_are_those_of_the_documents() -> None:
    config = ServerConfig()
    manager = ControlPlane(config).instance_manager
    assert (config.health_check_interval_seconds, config.heartbeat_interval_seconds) == (60, 30)
    assert tuple(config.enabled_health_checks) == ("boot", "nvml", "xid")
    assert config.evaluation_interval == timedelta(seconds=30)
    assert manager.registration_timeout == timedelta(minutes=10)
    assert manager.stale_check_interval == timedelta(minutes=1)
    assert manager.retain_terminated == timedelta(hours=24)


def test_settings_hold_where_the_configuration_says_nothing() -> None:
    settings = Settings(registration_timeout=timedelta(seconds=60))
    assert ServerConfig(settings=settings).effective() == settings
    said = ServerConfig(settings=settings, registration_timeout=timedelta(minutes=5)).effective()
    assert said.registration_timeout == timedelta(minutes=5)


@pytest.mark.parametrize(
    "changes,problem",
    [
        ({"heartbeat_interval_seconds": 0}, "heartbeat_interval_seconds is 0"),
        ({"health_check_interval_seconds": 0}, "health_check_interval_seconds is 0"),
        ({"stale_check_interval": timedelta()}, "stale_check_interval 0:00:00 must be above zero"),
        ({"evaluation_interval": timedelta()}, "evaluation_interval 0:00:00 must be above zero"),
    ],
)
def test_an_impossible_configuration_is_refused(changes: dict[str, object], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        ControlPlane(ServerConfig(**changes))  # type: ignore[arg-type] # each case fits


def test_ended_records_are_forgotten_after_a_while() -> None:
    clock = FakeClock(MONDAY)
    settings = Settings(heartbeat_interval=timedelta(days=10), retain_terminated=timedelta(hours=1))

    async def story() -> tuple[int, int]:
        spec = a_spec(min_nodes=0)
        async with a_control_plane(clock, spec, settings=settings) as (plane, _):
            await plane.runtime.ask(msg.ScalePool("training", 1))
            [node_id] = await register_all(plane, 1)
            await plane.runtime.ask(msg.ScalePool("training", 0))
            [drain] = plane.runtime.machine.fleet.commands_for(node_id)
            done = msg.AckCommand(node_id, drain.id, CommandState.SUCCEEDED)
            await plane.runtime.ask(done)
            await pass_time(clock, timedelta(minutes=5), 5 * SECOND)
            kept = len(plane.instance_manager.list())
            await pass_time(clock, timedelta(hours=2), timedelta(minutes=1))
            return kept, len(plane.instance_manager.list())

    assert run(story()) == (1, 0)


def test_nothing_can_be_asked_before_the_start() -> None:
    plane = ControlPlane()
    with pytest.raises(NavarchError, match="the control plane is not started"):
        plane.instance_manager.list()
    with pytest.raises(NavarchError, match="the control plane is not started"):
        plane.runtime.inbox.close("never")
    assert not plane.readiness().ready
