"""Health in a whole control plane: from a report to a safely replaced node, in virtual time."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from msgspec.structs import replace

from navarch.controlplane.clock import FakeClock
from navarch.controlplane.control_plane import ControlPlane
from navarch.controlplane.server_config import ServerConfig
from navarch.core.judging import Counts, Match, Verdict, verdict_of
from navarch.core.model import messages as msg
from navarch.core.model.command import CommandType
from navarch.core.model.finding import Remedy
from navarch.core.model.instance import InstanceState
from navarch.core.model.node import Intent
from navarch.core.model.report import CheckResult, Health, HealthEvent
from navarch.notifiers.base import NotifierRefused, NotifierUnavailable
from navarch.notifiers.fake import FakeNotifier, FakeWorkloads, Quirk
from navarch.providers.fake import FakeProvider
from pools import MONDAY, SETTINGS, a_spec, pass_time, register_all, run, until

SECOND = timedelta(seconds=1)
FINE = (CheckResult("nvml", Health.HEALTHY),)


class Table:
    """A policy of one line: XID 79 is the end of a machine, any other is an application's."""

    def __init__(self, name: str = "table", *, fatal: str = "79") -> None:
        self.name = name
        self.digest = f"{name}-{fatal}"
        self._fatal = fatal

    def evaluate(self, events: Sequence[HealthEvent], counts: Counts | None = None) -> Verdict:
        return verdict_of([self._match(event) for event in events])

    def _match(self, event: HealthEvent) -> Match:
        if event.metrics.get("xid_code") == self._fatal:
            return Match(event, "fatal", Health.UNHEALTHY, Remedy.REPLACE, lasting=True)
        return Match(event, "application", Health.HEALTHY, Remedy.RESTART_APP)


class Scene:
    """A control plane with a workload manager, a pool of two, and the agents of its machines."""

    def __init__(self, *, work: int = 2) -> None:
        self.clock = FakeClock(MONDAY)
        self.workloads = FakeWorkloads(work=work)
        notifier = FakeNotifier(self.workloads, sleep=self._sleep)
        settings = replace(SETTINGS, drain_poll=SECOND, probation=10 * SECOND)
        config = ServerConfig(clock=self.clock, settings=settings)
        self.plane = ControlPlane(config, policy=Table(), notifier=notifier)
        self.plane.register_provider(FakeProvider(now=self.clock.now, sleep=self.clock.sleep))

    async def _sleep(self, seconds: float) -> None:
        await self.clock.sleep(timedelta(seconds=seconds))

    async def begin(self) -> list[str]:
        await self.plane.configure_pools([a_spec()])
        return await register_all(self.plane, 2)

    async def report(self, node_id: str, *codes: int) -> None:
        events = tuple(HealthEvent("xid", 3, metrics={"xid_code": str(code)}) for code in codes)
        await self.plane.runtime.ask(msg.ReportHealth(node_id, FINE, events))

    async def pass_time(self, seconds: float) -> None:
        await pass_time(self.clock, timedelta(seconds=seconds), SECOND)

    def state(self, instance_id: str) -> InstanceState:
        return self.plane.runtime.machine.fleet.instances[instance_id].state

    def told(self, node_id: str) -> list[str]:
        calls = self.workloads.calls
        return [call.action for call in calls if call.node_id == node_id]


def test_a_sick_node_is_replaced_first_then_drained_then_ended() -> None:
    async def story() -> None:
        scene = Scene()
        async with scene.plane:
            sick, well = await scene.begin()
            await scene.report(sick, 79)
            await scene.pass_time(11)
            assert scene.told(sick) == []
            await scene.report(sick)  # the next report is clean, and does not pay what is owed
            await scene.pass_time(2)
            assert scene.told(sick) == ["cordon"]
            assert scene.state(sick) is InstanceState.RUNNING
            await register_all(scene.plane, 3)
            await scene.pass_time(1)
            assert scene.told(sick)[:2] == ["cordon", "drain"]
            assert scene.state(sick) is InstanceState.RUNNING
            await scene.pass_time(6)
            assert scene.state(sick) in (InstanceState.TERMINATING, InstanceState.TERMINATED)
            assert scene.state(well) is InstanceState.RUNNING
            assert scene.told(well) == []

    run(story())


def test_an_applications_faults_replace_nothing_however_many() -> None:
    async def story() -> None:
        scene = Scene()
        async with scene.plane:
            node_id, _ = await scene.begin()
            for _ in range(20):
                await scene.report(node_id, 31)
                await scene.pass_time(15)
                await scene.plane.runtime.ask(msg.Heartbeat(node_id))
            node = scene.plane.runtime.machine.fleet.nodes[node_id]
            assert node.health is Health.HEALTHY
            assert [finding.rule for finding in node.findings] == ["application"]
            assert node.findings[0].count == 20
            assert scene.told(node_id) == []

    run(story())


def test_an_operators_cordon_that_is_refused_is_taken_back() -> None:
    async def story() -> None:
        scene = Scene()
        async with scene.plane:
            node_id, _ = await scene.begin()
            scene.workloads.script("cordon", Quirk(error=NotifierRefused("not on my watch")))
            await scene.plane.runtime.ask(msg.IssueCommand(node_id, CommandType.CORDON))
            fleet = scene.plane.runtime.machine.fleet
            assert fleet.nodes[node_id].intent is Intent.CORDONED
            await until(lambda: fleet.nodes[node_id].intent is Intent.IN_SERVICE)
            assert "not on my watch" in fleet.nodes[node_id].because

    run(story())


def test_a_drain_is_done_when_no_work_is_left_and_not_before() -> None:
    async def story() -> None:
        scene = Scene(work=3)
        async with scene.plane:
            node_id, _ = await scene.begin()
            await scene.plane.runtime.ask(msg.IssueCommand(node_id, CommandType.DRAIN))
            fleet = scene.plane.runtime.machine.fleet
            await scene.pass_time(1)
            assert fleet.nodes[node_id].intent is Intent.DRAINING
            await scene.pass_time(5)
            assert fleet.nodes[node_id].intent is Intent.DRAINED
            await scene.plane.runtime.ask(msg.IssueCommand(node_id, CommandType.UNCORDON))
            await scene.pass_time(2)
            assert scene.workloads.node(node_id).takes_work

    run(story())


def test_another_policy_judges_what_stands_anew() -> None:
    async def story() -> None:
        scene = Scene()
        async with scene.plane:
            node_id, _ = await scene.begin()
            fleet = scene.plane.runtime.machine.fleet
            await scene.report(node_id, 79)
            assert fleet.nodes[node_id].health is Health.UNHEALTHY
            await scene.plane.adopt_policy(Table("milder", fatal="48"), "a test wants it")
            assert fleet.policy == "milder-48"
            assert fleet.nodes[node_id].health is Health.HEALTHY
            assert "judged anew by policy milder" in fleet.nodes[node_id].because

    run(story())


def test_a_cordon_that_was_heard_though_its_answer_was_lost_is_undone_when_it_is_withdrawn() -> (
    None
):
    async def story() -> None:
        scene = Scene()
        async with scene.plane:
            node_id, _ = await scene.begin()
            lost = Quirk(error=NotifierUnavailable("reset by peer"), acts=True)
            scene.workloads.script("cordon", lost)
            await scene.plane.runtime.ask(msg.IssueCommand(node_id, CommandType.CORDON))
            await scene.pass_time(1)
            assert not scene.workloads.node(node_id).takes_work
            await scene.plane.runtime.ask(msg.IssueCommand(node_id, CommandType.UNCORDON))
            await scene.pass_time(15)
            assert scene.workloads.node(node_id).takes_work
            assert scene.plane.runtime.machine.fleet.nodes[node_id].untold is False

    run(story())
