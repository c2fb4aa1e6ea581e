"""Reports that come again after younger ones, and machines that come back after being forgotten."""

from __future__ import annotations

from datetime import datetime, timedelta

from factories import a_fleet, a_stranger, at, fold_all, name
from navarch.core import fold
from navarch.core.machine import Machine
from navarch.core.model import events as ev
from navarch.core.model import fleet as fleets
from navarch.core.model import messages as msg
from navarch.core.model.ladder import Told
from navarch.core.model.report import CheckResult, Health, HealthEvent
from navarch.core.model.sightings import SAID_MAX, Sightings
from navarch.core.strategies import Strategies

NOW = at(minutes=10)
SECOND = timedelta(seconds=1)


def report(sent_at: datetime | None, status: Health = Health.UNHEALTHY) -> msg.ReportHealth:
    return msg.ReportHealth(name(1), (CheckResult("nvml", status, at=sent_at),))


def told(machine: Machine, *reports: msg.ReportHealth) -> int:
    """Let reports come in, a second apart, and count those that became facts."""
    facts: list[ev.Fact] = []
    for number, each in enumerate(reports):
        facts += machine.step([each], NOW + number * SECOND).facts
    return sum(isinstance(fact, ev.HealthReported) for fact in facts)


def test_a_report_that_comes_after_a_younger_one_teaches_nothing() -> None:
    bad, good = report(NOW), report(NOW + SECOND, Health.HEALTHY)
    assert told(Machine(a_fleet(1)), bad, good) == 2
    assert told(Machine(a_fleet(1)), bad, good, bad) == 2
    assert told(Machine(a_fleet(1)), bad, good, report(NOW + 2 * SECOND)) == 3


def test_reports_without_a_date_are_never_taken_for_each_other() -> None:
    bad, good = report(None), report(None, Health.HEALTHY)
    assert told(Machine(a_fleet(1)), bad, good, bad) == 3


def test_an_event_that_comes_late_is_not_held_back_to_be_told_later() -> None:
    def xid(second: int) -> msg.ReportHealth:
        metrics: dict[str, str | int | float] = {"xid_code": "48"}
        event = HealthEvent("xid", 0, metrics=metrics, timestamp=NOW + second * SECOND)
        return msg.ReportHealth(name(1), (), (event,))

    machine = Machine(a_fleet(1), Strategies())
    assert told(machine, xid(0), xid(1), xid(0)) == 1
    assert machine.sightings.held[name(1)][0].count == 1


def test_the_reports_that_are_known_again_are_bounded_and_forgotten_with_their_node() -> None:
    sightings = Sightings()
    for second in range(3 * SAID_MAX):
        said = report(NOW + second * SECOND)
        sightings.remember_report(said.node_id, said.results, said.events)
        assert sightings.has_said(said.node_id, said.results, said.events)
    assert len(sightings.said[name(1)]) == SAID_MAX
    first = report(NOW)
    assert not sightings.has_said(first.node_id, first.results, first.events)
    sightings.forget(name(1))
    assert sightings.said == {}


def test_a_machine_of_others_that_comes_back_is_as_closed_as_it_was_left() -> None:
    stranger = a_stranger("guest")
    closed = ev.WorkloadTold(at(minutes=1), "guest", Told.DRAINING, "told")
    gone = ev.NodeRetired(at(minutes=2), "guest", "told to")
    forgotten = ev.RecordsForgotten(at(hours=30), "old", (), ("guest",))
    fleet = a_fleet(0, stranger, closed, gone, forgotten)
    assert fleet.closed == {"guest": Told.DRAINING}
    assert fleets.decode(fleets.encode(fleet)).closed == fleet.closed
    fold_all(stranger, fleet=fleet)
    assert (fleet.nodes["guest"].told, fleet.closed) == (Told.DRAINING, {})
    assert list(fleet.untold) == ["guest"]


def test_who_was_open_is_forgotten_entirely_and_the_others_are_bounded() -> None:
    fleet = a_fleet(0, a_stranger("guest"))
    fold_all(ev.RecordsForgotten(at(hours=30), "old", (), ("guest",)), fleet=fleet)
    assert fleet.closed == {}
    for number in range(fold.CLOSED_MAX + 2):
        id_ = f"guest-{number}"
        told_ = ev.WorkloadTold(at(), id_, Told.CORDONED, "told")
        forgotten = ev.RecordsForgotten(at(hours=30), "old", (), (id_,))
        fold_all(a_stranger(id_), told_, forgotten, fleet=fleet)
    assert len(fleet.closed) == fold.CLOSED_MAX
    assert "guest-0" not in fleet.closed
