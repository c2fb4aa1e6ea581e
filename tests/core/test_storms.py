"""Storms: a node that reports one fault without end fills neither the journal nor the memory."""

from __future__ import annotations

from datetime import timedelta

import pytest

from factories import (
    BY_XID,
    SETTINGS,
    a_fleet,
    a_spec,
    at,
    check,
    fold_all,
    mending,
    name,
    sick,
    xid,
)
from navarch.core import fold_health
from navarch.core.judging import Unjudged
from navarch.core.machine import Machine
from navarch.core.model import events as ev
from navarch.core.model import messages as msg
from navarch.core.model.ladder import Stage
from navarch.core.model.report import CheckResult, Health, HealthEvent
from navarch.core.strategies import Strategies

CLEAN = (check(),)


def a_machine_that_judges(nodes: int = 3, *facts: ev.Fact) -> Machine:
    spec = a_spec(auto_replace=False, ladder=(), max_nodes=50)
    return Machine(a_fleet(nodes, *facts, spec=spec), Strategies(policy=BY_XID))


def says(
    machine: Machine,
    seconds: float,
    *events: HealthEvent,
    n: int = 1,
    results: tuple[CheckResult, ...] = CLEAN,
) -> list[ev.HealthReported]:
    """Report at this second, and return the reports that became facts."""
    report = msg.ReportHealth(name(n), results, events)
    return reports(machine, seconds, report)


def reports(machine: Machine, seconds: float, *batch: msg.Message) -> list[ev.HealthReported]:
    beats = [msg.Heartbeat(id_) for id_ in machine.fleet.nodes]
    facts = machine.step([*beats, *batch, msg.Tick()], at(seconds=seconds)).facts
    return [fact for fact in facts if isinstance(fact, ev.HealthReported)]


def dated(code: int, seconds: float, count: int = 1) -> HealthEvent:
    return xid(code, timestamp=at(seconds=seconds), count=count)


def counted(facts: list[ev.HealthReported]) -> int:
    return sum(event.count for fact in facts for event in fact.events)


@pytest.mark.parametrize("code", [13, 48, 79])
@pytest.mark.parametrize("events_a_report,rate", [(1_000, 100), (1, 100), (10_000, 10)])
def test_a_hundred_thousand_events_a_minute_are_seven_facts(
    code: int, events_a_report: int, rate: int
) -> None:
    """Whether they come in few reports or in many, and whatever they are."""
    machine = a_machine_that_judges()
    facts: list[ev.HealthReported] = []
    sent = 0
    for n in range(rate):
        seconds = 60 * n / rate
        facts += says(machine, seconds, dated(code, seconds, events_a_report))
        sent += events_a_report
    assert len(facts) <= 7
    facts += reports(machine, 70, msg.Tick())
    assert counted(facts) == sent
    node = machine.fleet.nodes[name(1)]
    assert sum(finding.count for finding in node.findings) == sent
    assert sum(tally.count for tally in node.tallies[f"xid:{code}"]) == sent
    assert machine.sightings.held == {}


def test_what_is_held_is_one_event_a_shape() -> None:
    machine = a_machine_that_judges()
    shapes = tuple(xid(48, gpu_index=n) for n in range(8))
    says(machine, 0, *shapes)
    for n in range(1, 90):
        stamped = [xid(48, gpu_index=g, timestamp=at(seconds=n / 10)) for g in range(8)]
        assert says(machine, n / 10, *stamped) == []
    held = machine.sightings.held[name(1)]
    assert [event.count for event in held] == [89] * 8


def test_they_become_one_fact_that_tells_which_gpu_and_when() -> None:
    machine = a_machine_that_judges()
    says(machine, 0, dated(48, 0))
    for second in (3, 6, 9):
        assert says(machine, second, dated(48, second)) == []
    (fact,) = reports(machine, 10)
    assert fact == ev.HealthReported(at(seconds=10), name(1), (), (dated(48, 9, count=3),), 2)


def test_what_is_held_is_told_with_the_next_report_that_says_something_else() -> None:
    machine = a_machine_that_judges()
    says(machine, 0, dated(48, 0))
    assert says(machine, 3, dated(48, 3)) == []
    (fact,) = says(machine, 5, dated(79, 5))
    assert fact.events == (dated(48, 3), dated(79, 5))
    assert machine.sightings.held == {}
    assert reports(machine, 60) == []


@pytest.mark.parametrize(
    "event",
    [
        xid(79),
        xid(48, gpu_index=1),
        xid(48, gpu_uuid="GPU-2"),
        xid(48, system="DCGM_HEALTH_WATCH_PCIE"),
        xid(48, metrics={"xid_code": "48", "address": "0x1"}),
        HealthEvent("thermal"),
    ],
)
def test_another_shape_is_never_held(event: HealthEvent) -> None:
    machine = a_machine_that_judges()
    says(machine, 0, xid(48))
    (fact,) = says(machine, 1, event)
    assert fact.events == (event,)


def test_who_suffered_makes_no_other_shape() -> None:
    machine = a_machine_that_judges()
    metrics: dict[str, str | int | float] = {"xid_code": "48", "pid": 17, "process": "python"}
    says(machine, 0, xid(48, metrics=metrics))
    assert says(machine, 1, xid(48, metrics={**metrics, "pid": 99, "process": "train"})) == []


def test_a_check_that_says_something_else_is_never_held() -> None:
    machine = a_machine_that_judges()
    says(machine, 0, dated(48, 0))
    bad = (check(Health.UNHEALTHY),)
    assert len(says(machine, 1, dated(48, 1), results=bad)) == 1


def test_what_comes_after_the_fold_is_no_storm() -> None:
    machine = a_machine_that_judges()
    fold = SETTINGS.report_fold.total_seconds()
    assert [len(says(machine, n * fold, dated(48, n * fold))) for n in range(4)] == [1] * 4


def test_a_report_that_is_sent_again_is_not_counted_again() -> None:
    machine = a_machine_that_judges()
    says(machine, 0, dated(48, 0, count=5))
    for second in (1, 2, 30):
        assert says(machine, second, dated(48, 0, count=5)) == []
    assert machine.sightings.held == {}


def test_a_storm_on_probation_is_a_storm() -> None:
    """Each report of a node on probation is waited for, but not each repetition."""
    advanced = ev.RepairAdvanced(at(), name(1), Stage.PROBATION, "reset", "cmd-1")
    machine = a_machine_that_judges(3, sick(1, at()), mending(1, at()), advanced)
    facts: list[ev.HealthReported] = []
    for n in range(600):
        facts += says(machine, 120 + n / 10, dated(13, 120 + n / 10))
    assert len(facts) <= 7


def test_a_storm_confirms_a_verdict_once_the_fold_is_over_and_not_before() -> None:
    machine = a_machine_that_judges()
    confirmed = []
    for n in range(120):
        says(machine, n / 10, dated(79, n / 10))
        confirmed.append(machine.fleet.nodes[name(1)].bad_reports)
    assert confirmed == [1] * 100 + [2] * 20


def test_a_crash_loses_counts_and_nothing_else() -> None:
    machine = a_machine_that_judges()
    says(machine, 0, dated(79, 0))
    for second in (1, 2, 3):
        says(machine, second, dated(79, second))
    restarted = Machine(machine.fleet, machine.strategies)
    assert reports(restarted, 20) == []
    node = restarted.fleet.nodes[name(1)]
    assert (node.health, [finding.count for finding in node.findings]) == (Health.UNHEALTHY, [1])


def test_many_nodes_at_a_time_are_numbered_apart() -> None:
    machine = a_machine_that_judges(3)
    for second in (0, 3):
        for n in (1, 2, 3):
            says(machine, second, dated(48, second), n=n)
    facts = reports(machine, 12)
    assert [fact.first_number for fact in facts] == [4, 5, 6]
    assert machine.fleet.event_serial == 6


def test_an_ended_node_is_forgotten_with_what_was_held_of_it() -> None:
    machine = a_machine_that_judges(3)
    says(machine, 0, dated(48, 0))
    says(machine, 1, dated(48, 1))
    gone = ev.InstanceTerminated(at(seconds=2), name(1), "gone")
    fold_all(ev.TerminationRequested(at(seconds=2), name(1), "so"), gone, fleet=machine.fleet)
    assert reports(machine, 60) == []
    days = SETTINGS.retain_terminated.total_seconds() + 60
    machine.step([msg.Tick()], at(seconds=days))
    assert name(1) not in machine.fleet.nodes
    assert machine.sightings.held == {}


# --- tallies ---------------------------------------------------------------------------------


def tallied(*batches: tuple[float, HealthEvent]) -> dict[str, list[tuple[int, int]]]:
    """Report at these minutes; return GPU and count of each tally by kind."""
    reported = [ev.HealthReported(at(minutes=when), name(1), (), (one,)) for when, one in batches]
    node = a_fleet(1, reported).nodes[name(1)]
    return {
        kind: [(tally.gpu_index, tally.count) for tally in tallies]
        for kind, tallies in node.tallies.items()
    }


def test_events_are_counted_by_kind_minute_and_gpu() -> None:
    assert tallied(
        (0, xid(48)),
        (0.5, xid(48, count=4)),
        (0.6, xid(48, gpu_index=3)),
        (1, xid(48)),
        (1, HealthEvent("ecc_sbe", 2, count=9)),
        (1, HealthEvent("thermal")),
    ) == {
        "xid:48": [(0, 5), (3, 1), (0, 1)],
        "ecc_sbe": [(2, 9)],
        "thermal": [(-1, 1)],
    }


def test_tallies_are_kept_for_a_day() -> None:
    day = 24 * 60
    assert tallied((0, xid(48)), (day - 1, xid(48)))["xid:48"] == [(0, 1), (0, 1)]
    assert tallied((0, xid(48)), (day, xid(48)))["xid:48"] == [(0, 1)]


def test_kinds_and_tallies_have_limits() -> None:
    many = [(n / 100, xid(1_000 + n)) for n in range(fold_health.KINDS_MAX + 20)]
    kept = tallied(*many)
    assert len(kept) == fold_health.KINDS_MAX
    assert "xid:1000" not in kept
    noisy = [(n / 8, xid(48, gpu_index=n % 64)) for n in range(2_000)]
    assert len(tallied(*noisy)["xid:48"]) <= 2 * fold_health.TALLIES_MAX


def test_minutes_of_long_ago_are_counted_by_the_hour() -> None:
    minutes = [(float(n), xid(48)) for n in range(fold_health.TALLIES_MAX + 20)]
    counts = [count for _, count in tallied(*minutes)["xid:48"]]
    assert sum(counts) == fold_health.TALLIES_MAX + 20
    assert max(counts) == 60
    assert len(counts) < fold_health.TALLIES_MAX


def test_reports_that_wait_for_a_verdict_have_a_limit() -> None:
    many = [
        ev.HealthReported(at(), name(1), (), (xid(n),)) for n in range(fold_health.REPORTS_MAX + 9)
    ]
    node = a_fleet(1, many).nodes[name(1)]
    assert len(node.unjudged) == fold_health.REPORTS_MAX
    assert node.unjudged[-1] == node.report


def test_without_a_policy_a_storm_is_a_storm_too() -> None:
    machine = Machine(a_fleet(1), Strategies(policy=Unjudged()))
    facts = [fact for n in range(600) for fact in says(machine, n / 10, dated(79, n / 10))]
    assert len(facts) <= 7
    assert timedelta(seconds=60) / SETTINGS.report_fold == 6
