"""Properties of verdicts: what any run of reports may make of a node, and what it may not."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from factories import BY_XID, a_fleet, a_spec, at, check, name, recovery, thermal, xid
from navarch.core import concluding
from navarch.core.decide import decide
from navarch.core.machine import Machine
from navarch.core.model import events as ev
from navarch.core.model import messages as msg
from navarch.core.model.finding import Remedy
from navarch.core.model.node import Node
from navarch.core.model.pool import Disruption
from navarch.core.model.report import CheckResult, Health, HealthEvent
from navarch.core.strategies import Strategies

EVERYTHING = a_spec(
    unhealthy_after=1,
    ladder=(Remedy.RESET_GPU, Remedy.REBOOT, Remedy.REPLACE),
    replace_in_place=True,
    disruption=Disruption(9, 100.0, 0, 99),
)
"""A pool that repairs whatever may be repaired, as fast as it can."""

seconds = st.sampled_from([0, 1, 5, 10, 31, 60, 60, 600])
indexes = st.integers(-1, 3)
applications = st.builds(
    lambda code, index, count: xid(code, gpu_index=index, count=count),
    st.sampled_from([13, 31]),
    indexes,
    st.integers(1, 100_000),
)
events = st.one_of(
    applications,
    st.builds(lambda index: thermal(gpu_index=index), indexes),
    st.builds(
        lambda code, index: xid(code, gpu_index=index),
        st.sampled_from([48, 63, 79, 95, 110, 119]),
        indexes,
    ),
    st.builds(
        lambda action, index: recovery(action, gpu_index=index),
        st.sampled_from(["none", "reset_gpu", "reboot"]),
        indexes,
    ),
)
good = st.sampled_from([(), (check(),), (check(Health.UNKNOWN),)])
results = st.sampled_from(
    [(), (check(),), (check(),), (check(Health.DEGRADED),), (check(Health.UNHEALTHY),)]
)


def reports(
    of: st.SearchStrategy[HealthEvent], checks: st.SearchStrategy[tuple[CheckResult, ...]]
) -> st.SearchStrategy[list[tuple[int, tuple[CheckResult, ...], list[HealthEvent]]]]:
    """Draw reports: how long after the one before, its checks and its events."""
    return st.lists(st.tuples(seconds, checks, st.lists(of, max_size=4)), max_size=15)


def run(
    said: list[tuple[int, tuple[CheckResult, ...], list[HealthEvent]]],
) -> tuple[Machine, list[ev.Fact]]:
    """Let node 1 of four report so, while the others beat; return all facts."""
    machine = Machine(a_fleet(4, spec=EVERYTHING), Strategies(policy=BY_XID))
    facts: list[ev.Fact] = []
    now = 0
    for wait, checks, happened in said:
        now += wait
        dated = tuple(replace(event, timestamp=at(seconds=now)) for event in happened)
        beats: list[msg.Message] = [msg.Heartbeat(id_) for id_ in machine.fleet.nodes]
        batch = [*beats, msg.ReportHealth(name(1), checks, dated), msg.Tick()]
        facts += machine.step(batch, at(seconds=now)).facts
        again = decide(machine.fleet, machine.sightings, at(seconds=now), machine.strategies)
        assert again == []
    return machine, facts


REPAIRS = (ev.InstanceCondemned, ev.RepairStarted, ev.NodeHandedOver, ev.RepairWithheld)


@given(reports(applications, good))
def test_noise_of_applications_never_repairs_a_node(
    said: list[tuple[int, tuple[CheckResult, ...], list[HealthEvent]]],
) -> None:
    machine, facts = run(said)
    assert not any(isinstance(fact, REPAIRS) for fact in facts)
    node = machine.fleet.nodes[name(1)]
    assert node.health in (Health.UNKNOWN, Health.HEALTHY)
    assert (node.bad_reports, node.unhealthy_at) == (0, ())


@given(reports(events, results))
def test_repairs_are_for_what_is_unhealthy_and_asks_for_one(
    said: list[tuple[int, tuple[CheckResult, ...], list[HealthEvent]]],
) -> None:
    _, facts = run(said)
    bad = any(check.status is Health.UNHEALTHY for _, checks, _ in said for check in checks) or any(
        event.kind not in ("xid:13", "xid:31", "xid:48", "xid:63")
        for _, _, happened in said
        for event in happened
    )
    assert bad or not any(isinstance(fact, REPAIRS) for fact in facts)


@given(reports(events, results))
def test_no_event_is_lost_or_counted_twice(
    said: list[tuple[int, tuple[CheckResult, ...], list[HealthEvent]]],
) -> None:
    """Whatever is gathered, held or folded; but for reports that say the same at one moment."""
    spaced = [(max(wait, 1), checks, happened) for wait, checks, happened in said]
    machine, facts = run(spaced)
    node = machine.fleet.nodes[name(1)]
    sent = sum(event.count for _, _, happened in spaced for event in happened)
    told = sum(
        event.count
        for fact in facts
        if isinstance(fact, ev.HealthReported)
        for event in fact.events
    )
    held = sum(event.count for event in machine.sightings.held.get(name(1), ()))
    assert told + held == sent
    assert sum(tally.count for of in node.tallies.values() for tally in of) == told
    assert machine.fleet.event_serial == sum(
        len(fact.events) for fact in facts if isinstance(fact, ev.HealthReported)
    )


@given(reports(events, results), st.integers(0, 40))
def test_the_counterfactual_is_never_worse(
    said: list[tuple[int, tuple[CheckResult, ...], list[HealthEvent]]], number: int
) -> None:
    node = run(said)[0].fleet.nodes[name(1)]
    order = list(Health)
    without = concluding.without(node.findings, number)
    worst = concluding.worst(node.findings)
    assert order.index(without) <= max(order.index(worst), order.index(Health.HEALTHY))


def _verdict(node: Node) -> object:
    """What the verdict over a node says, but for the numbers of its events."""
    findings = [replace(finding, number=0) for finding in node.findings]
    return (node.health, node.because, findings, node.clean_reports, node.bad_reports)


@given(
    st.lists(st.tuples(results, st.lists(events, max_size=3)), min_size=4, max_size=4),
    st.permutations([1, 2, 3, 4]),
)
def test_reports_of_different_nodes_may_come_in_any_order(
    said: list[tuple[tuple[CheckResult, ...], list[HealthEvent]]], order: list[int]
) -> None:
    verdicts = []
    for numbers in ([1, 2, 3, 4], order):
        machine = Machine(a_fleet(4, spec=EVERYTHING), Strategies(policy=BY_XID))
        batch = [msg.ReportHealth(name(n), said[n - 1][0], tuple(said[n - 1][1])) for n in numbers]
        machine.step(batch, at())
        verdicts.append([_verdict(machine.fleet.nodes[name(n)]) for n in (1, 2, 3, 4)])
    assert verdicts[0] == verdicts[1]
