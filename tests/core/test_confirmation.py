"""Confirmation: one report is not enough, silence about a debt confirms it, a slip is none."""

from __future__ import annotations

from datetime import datetime

import pytest

from factories import BY_XID, a_fleet, a_spec, at, check, name, thermal, xid
from navarch.core import health
from navarch.core.machine import Machine
from navarch.core.model import events as ev
from navarch.core.model import messages as msg
from navarch.core.model.node import Node
from navarch.core.model.report import CheckResult, Health, HealthEvent
from navarch.core.strategies import Strategies

CLEAN = (check(),)


class World:
    """One node of three, minute by minute; the other two beat."""

    def __init__(self, after: int = 2) -> None:
        """Let so many reports confirm a verdict."""
        fleet = a_fleet(3, spec=a_spec(unhealthy_after=after))
        self.machine = Machine(fleet, Strategies(policy=BY_XID))
        self.minute = 0

    @property
    def now(self) -> datetime:
        """The time of the next report."""
        return at(minutes=self.minute)

    @property
    def node(self) -> Node:
        """The node that reports."""
        return self.machine.fleet.nodes[name(1)]

    def reports(self, *events: HealthEvent, results: tuple[CheckResult, ...] = CLEAN) -> list[str]:
        """Report, and return the kinds of facts but for those of reporting and judging."""
        batch: list[msg.Message] = [msg.Heartbeat(name(n)) for n in (1, 2, 3)]
        batch += [msg.ReportHealth(name(1), results, events), msg.Tick()]
        facts = self.machine.step(batch, self.now).facts
        self.minute += 1
        uninteresting = ("health_reported", "health_judged", "launch_requested")
        return [kind for fact in facts if (kind := ev.kind(fact)) not in uninteresting]

    @property
    def confirmed(self) -> bool:
        """Whether repair may act on the verdict."""
        return health.confirmed(self.machine.fleet, self.node)


def test_by_default_one_report_is_not_enough() -> None:
    world = World()
    assert world.reports(xid(79, timestamp=world.now)) == []
    assert (world.node.health, world.node.bad_reports, world.confirmed) == (
        Health.UNHEALTHY,
        1,
        False,
    )


def test_an_xid_that_happens_once_is_confirmed_by_the_clean_reports_that_follow() -> None:
    """The GPU idles cleanly afterwards; nobody has put it right."""
    world = World()
    assert world.reports(xid(79)) == []
    assert world.reports() == ["instance_condemned"]


@pytest.mark.parametrize("after", [1, 2, 3, 5])
def test_so_many_reports_as_the_pool_demands(after: int) -> None:
    world = World(after)
    kinds = [world.reports(xid(79))]
    kinds += [world.reports() for _ in range(after + 3)]
    assert kinds.index(["instance_condemned"]) == after - 1
    assert world.node.bad_reports >= after


def test_a_condition_that_ends_is_not_repaired() -> None:
    world = World()
    assert world.reports(thermal()) == []
    assert [world.reports() for _ in range(9)] == [[]] * 9
    assert world.node.health is Health.HEALTHY


def test_a_condition_that_lasts_is_confirmed() -> None:
    world = World()
    assert world.reports(thermal(timestamp=world.now)) == []
    assert world.reports(thermal(timestamp=world.now)) == ["instance_condemned"]


def test_reports_have_to_follow_each_other() -> None:
    world = World()
    for _ in range(3):
        assert world.reports(thermal(timestamp=world.now)) == []
        assert world.reports() == []
    assert world.node.bad_reports == 0


def test_a_check_that_fails_twice_is_confirmed() -> None:
    world = World()
    broken = (check(Health.UNHEALTHY, message="7 of 8 GPUs"),)
    assert world.reports(results=broken) == []
    assert world.reports(results=broken) == ["instance_condemned"]


def test_a_slip_of_a_sensor_is_none() -> None:
    world = World()
    assert world.reports(results=(check(Health.UNHEALTHY),)) == []
    assert [world.reports() for _ in range(3)] == [[]] * 3


@pytest.mark.parametrize("results", [CLEAN, ()])
def test_noise_of_an_application_confirms_nothing(results: tuple[CheckResult, ...]) -> None:
    world = World()
    world.reports(thermal())
    for _ in range(9):
        assert world.reports(xid(13, timestamp=world.now), results=results) == []
    assert not world.confirmed


def test_a_lighter_fault_does_not_confirm_a_condition() -> None:
    world = World()
    world.reports(thermal())
    assert [world.reports(xid(48, timestamp=world.now)) for _ in range(5)] == [[]] * 5
    assert (world.node.health, world.node.bad_reports) == (Health.UNHEALTHY, 0)


def test_the_sensor_that_is_still_dissatisfied_confirms_a_condition() -> None:
    """Heat is one event; while it lasts, the check of the sensor goes on saying so."""
    world = World()
    warm = (check(Health.DEGRADED, message="97 °C"),)
    assert world.reports(thermal(), results=warm) == []
    assert world.reports(results=warm) == ["instance_condemned"]


def test_noise_between_two_bad_reports_breaks_no_row() -> None:
    world = World()
    world.reports(thermal(timestamp=world.now))
    world.reports(xid(13), results=())
    assert world.node.bad_reports == 1
    assert world.reports(thermal(timestamp=world.now)) == ["instance_condemned"]


def test_reports_without_any_result_confirm_nothing_and_make_no_facts() -> None:
    world = World()
    world.reports(thermal())
    unknown = (check(Health.UNKNOWN, message="NVML hangs"),)
    before = world.node
    for results in ((), unknown):
        assert world.reports(results=results) == []
    assert world.node == before


def test_a_report_that_is_sent_again_confirms_nothing() -> None:
    """Its answer was lost: the very same checks, at the very same moment."""
    world = World()
    dated = (check(at=at(seconds=1)),)
    world.reports(xid(79, timestamp=at()), results=dated)
    for _ in range(5):
        assert world.reports(xid(79, timestamp=at()), results=dated) == []
    assert world.node.bad_reports == 1


def test_new_events_beside_old_results_are_heard() -> None:
    world = World()
    dated = (check(at=at(seconds=1)),)
    world.reports(xid(13, timestamp=at()), results=dated)
    world.reports(xid(79, timestamp=at()), results=dated)
    assert world.node.health is Health.UNHEALTHY


def test_a_node_that_nothing_can_change_any_more_makes_no_more_facts() -> None:
    """A debt, confirmed and with all the clean reports that could count: the journal is quiet."""
    world = World(after=3)
    world.machine.step([msg.PausePool("training", paused=True)], at())
    world.reports(xid(79))
    for _ in range(9):
        world.reports()
    before = world.node
    for _ in range(9):
        world.reports()
    assert world.node == before
