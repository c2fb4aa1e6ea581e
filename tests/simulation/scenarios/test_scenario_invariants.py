"""Each invariant that a run is watched for is seen to break when it is broken."""

from __future__ import annotations

from datetime import timedelta

import pytest

from navarch.core.machine import Step
from navarch.core.model import events as ev
from navarch.core.model.command import CommandType
from navarch.core.model.finding import Finding, Remedy
from navarch.core.model.report import Health, HealthEvent
from navarch.providers.base import FLEET_LABEL, ProvisionRequest
from navarch.simulator.broken import Broken
from navarch.simulator.scenarios.running import Run
from simulation.scenarios.scenario_texts import pool

MINUTE = timedelta(minutes=1)


@pytest.fixture
def lived() -> Run:
    """Return a run in which three nodes serve."""
    run = pool("{at: 20m, action: log, params: {log_message: end}}")
    assert run.live().passed
    return run


def ids(run: Run) -> list[str]:
    """The instances of the pool."""
    assert run.twin.fleet is not None
    return [one.id for one in run.twin.fleet.instances_of("train")]


def feed(run: Run, *facts: ev.Fact) -> None:
    """Let the control plane have written these facts."""
    machine = run.twin.server.machine
    assert machine is not None
    run.invariants.stepped(machine, [], Step(list(facts), []), run.twin.time.now)


def breaks(run: Run, *facts: ev.Fact) -> str:
    """Say which invariant the last of some facts breaks; those before it must not."""
    feed(run, *facts[:-1])
    with pytest.raises(Broken) as caught:
        feed(run, facts[-1])
    return caught.value.kind


def judged(run: Run, node_id: str, code: int, reports: int = 2) -> ev.HealthJudged:
    """A verdict for an XID."""
    now = run.twin.time.now
    event = HealthEvent("xid", 0, metrics={"xid_code": code})
    finding = Finding("rule", Health.UNHEALTHY, Remedy.REPLACE, now, now, event)
    return ev.HealthJudged(
        now, node_id, Health.UNHEALTHY, "a rule", (finding,), bad_reports=reports
    )


def condemned(run: Run, node_id: str, cause: str = "sickness") -> ev.InstanceCondemned:
    """A condemnation."""
    return ev.InstanceCondemned(run.twin.time.now, node_id, "it is sick", cause)


def ended(run: Run, node_id: str) -> ev.TerminationRequested:
    """An end."""
    return ev.TerminationRequested(run.twin.time.now, node_id, "it is replaced")


def launched(run: Run, node_id: str) -> ev.LaunchRequested:
    """A purchase."""
    return ev.LaunchRequested(run.twin.time.now, node_id, "train", "fake", "one is missing")


def test_a_decision_without_a_reason_is_opaque(lived: Run) -> None:
    fact = ev.TargetChanged(lived.twin.time.now, "train", 4, "")
    assert breaks(lived, fact) == "opaque"


def test_an_id_that_is_given_twice_is_doubled(lived: Run) -> None:
    assert breaks(lived, launched(lived, ids(lived)[0])) == "doubled"


def test_two_machines_of_one_id_are_doubled(lived: Run) -> None:
    cloud, now = lived.twin.clouds["fake"], lived.twin.time.now
    cloud.truth.launch(ProvisionRequest(name=ids(lived)[0], instance_type="x"), now)
    with pytest.raises(Broken, match="doubled"):
        lived.invariants.made(cloud, next(reversed(cloud.truth.machines)))


def test_a_machine_above_the_maximum_is_seen(lived: Run) -> None:
    facts = [launched(lived, f"more-{number}") for number in range(3)]
    assert breaks(lived, *facts) == "above_max"


def test_two_repairs_in_a_budget_of_one_are_seen(lived: Run) -> None:
    first, second, _ = ids(lived)
    facts = (judged(lived, first, 79), condemned(lived, first), judged(lived, second, 79))
    assert breaks(lived, *facts, condemned(lived, second)) == "over_budget"


def test_a_repair_while_the_breaker_is_open_is_seen(lived: Run) -> None:
    first = ids(lived)[0]
    halted = ev.RepairHalted(lived.twin.time.now, "train", "many are silent")
    facts = (halted, judged(lived, first, 79), condemned(lived, first))
    assert breaks(lived, *facts) == "over_budget"


def test_more_repairs_in_an_hour_than_allowed_are_seen(lived: Run) -> None:
    first, now = ids(lived)[0], lived.twin.time.now
    feed(lived, judged(lived, first, 79))
    for _ in range(6):
        feed(lived, condemned(lived, first), ev.InstanceReprieved(now, first, "it is well"))
    assert breaks(lived, condemned(lived, first)) == "over_budget"


@pytest.mark.parametrize("code", [13, 31, 43, 45])
def test_a_node_that_is_replaced_for_its_applications_is_seen(lived: Run, code: int) -> None:
    first = ids(lived)[0]
    assert breaks(lived, judged(lived, first, code), condemned(lived, first)) == "application"


def test_a_verdict_that_one_report_confirms_is_one_witness(lived: Run) -> None:
    first = ids(lived)[0]
    fact = judged(lived, first, 79, reports=1)
    assert breaks(lived, fact, condemned(lived, first)) == "one_witness"


def test_a_node_that_speaks_and_is_called_dead_is_seen(lived: Run) -> None:
    first, now = ids(lived)[0], lived.twin.time.now
    lost = ev.NodeLost(now, first, "silent for 90 s")
    assert breaks(lived, lost, condemned(lived, first, "silence")) == "one_witness"


def test_an_end_before_the_replacement_serves_is_seen(lived: Run) -> None:
    first = ids(lived)[0]
    facts = (judged(lived, first, 79), condemned(lived, first), ended(lived, first))
    assert breaks(lived, *facts) == "not_replaced"


def test_an_end_that_nothing_asks_for_is_seen(lived: Run) -> None:
    assert breaks(lived, ended(lived, ids(lived)[0])) == "one_witness"


def test_an_operators_word_is_enough_for_an_end(lived: Run) -> None:
    first, now = ids(lived)[0], lived.twin.time.now
    feed(
        lived,
        ev.CommandIssued(now, "c-1", first, CommandType.TERMINATE, now + MINUTE),
        ended(lived, first),
    )
    assert lived.invariants.ledger.of("train").current == 2


@pytest.mark.parametrize("fact", [ev.InstanceVanished, ev.InstanceTerminated])
def test_a_machine_that_is_there_and_called_gone_is_seen(
    lived: Run, fact: type[ev.InstanceVanished | ev.InstanceTerminated]
) -> None:
    gone = fact(lived.twin.time.now, ids(lived)[0], "nobody lists it")
    assert breaks(lived, gone) == "one_witness"


def test_a_stranger_that_is_called_an_orphan_is_seen(lived: Run) -> None:
    fact = ev.OrphanCondemned(lived.twin.time.now, "fake", "fake-000099", "two lists")
    assert breaks(lived, fact) == "one_witness"


def test_a_machine_that_nobody_knows_at_the_end_is_leaked(lived: Run) -> None:
    cloud, now = lived.twin.clouds["fake"], lived.twin.time.now
    request = ProvisionRequest(name="who", instance_type="x", labels={FLEET_LABEL: "sim0"})
    cloud.truth.launch(request, now - 10 * MINUTE)
    with pytest.raises(Broken, match="leaked"):
        lived.invariants.finished()


def test_what_a_scenario_allows_breaks_nothing() -> None:
    run = pool("{at: 20m, action: log, params: {log_message: x}}", more="allow: [opaque]\n")
    assert run.live().passed
    feed(run, ev.TargetChanged(run.twin.time.now, "train", 4, ""))


def test_an_invariant_that_breaks_in_a_run_ends_it_with_its_seed_and_its_journal() -> None:
    run = pool("{at: 20m, action: log, params: {log_message: end}}")
    run.invariants.ledger.of("train").there = 5  # as if the pool were full already
    outcome = run.live()
    (failed,) = outcome.failures
    lines = failed.message.split("\n")
    assert lines[0].startswith("above_max: 5 machines in train, and one more bought")
    assert lines[1].startswith("pool, seed 1, at +0:00:00")
    assert '"kind":"launch_requested"' in lines[-1]


def test_totals_agree_with_a_count_of_everything() -> None:
    run = pool(
        "{at: 5m, action: inject_failure, target: 'pool:train', "
        "params: {failure_type: xid_error, xid_code: 79, count: 1}}",
        "{at: 8m, action: scale_pool, target: 'pool:train', params: {nodes: 4}}",
        "{at: 20m, action: scale_pool, target: 'pool:train', params: {nodes: 3}}",
    )
    assert run.live().passed
    ledger = run.invariants.ledger
    totals, there = ledger.of("train"), ledger.books.of_pool("train")
    assert totals.there == len(there) == 3
    assert totals.current == ledger.books.current("train")
    assert totals.serving == sum(one.serves for one in there)
    assert totals.busy == 0
    assert sum(totals.busy_in.values()) == 0
