"""What a recorder makes of a run, against what was done to the run."""

from __future__ import annotations

from datetime import timedelta

import pytest
from msgspec.structs import replace

from navarch.core.model.finding import Remedy
from navarch.simulator.report.model import Chain, Report
from navarch.simulator.report.recorder import Recorder
from navarch.simulator.twin.blueprint import Owned
from navarch.simulator.twin.faults import Fault, FaultKind
from navarch.simulator.twin.twin import Twin
from simulation.report.lived import CALM, FALLEN, HARMLESS, HOUR, a_stormy_day

MINUTE = timedelta(minutes=1)


def a_twin() -> tuple[Twin, Recorder]:
    """Let the calm fleet boot."""
    twin = Twin(CALM, 1)
    recorder = Recorder(twin)
    twin.run_until(20 * MINUTE)
    return twin, recorder


def first(twin: Twin) -> str:
    """The id of one node."""
    return min(twin.nodes)


def ended(twin: Twin, recorder: Recorder) -> Report:
    """Live through the rest."""
    twin.run()
    return recorder.report()


def troubles(report: Report) -> list[Chain]:
    """The chains of troubles."""
    return [chain for chain in report.timeline.chains if chain.kind == "trouble"]


def kinds(report: Report, chain: Chain) -> list[str]:
    """The kinds of a chain's entries, in their order."""
    entries = {entry.number: entry for entry in report.timeline.entries}
    return [entries[number].kind for number in chain.steps]


@pytest.fixture
def stormy() -> Recorder:
    """Live through the stormy day, once in a process."""
    return a_stormy_day()


def test_a_calm_run_serves_all_the_time_but_while_it_boots() -> None:
    report = ended(*a_twin())
    (pool,) = report.pools
    hours = pool.gpu_hours
    assert pool.name == "train"
    assert pool.samples == 120
    assert pool.series.serving[-1] == pool.series.target[-1] == 6
    assert hours.lost == hours.lost_by.booting > 0
    assert hours.good + hours.lost == pytest.approx(6 * 8 * 2, rel=0.01)
    assert hours.idle == 0
    assert pool.first_full_seconds is not None
    assert 60 < pool.first_full_seconds < 600
    assert pool.availability == report.fleet.availability == 1
    assert pool.node_hours_wanted < 6 * 2
    assert report.troubles.count == report.repairs.replacements_right == 0
    assert troubles(report) == []


def test_the_cost_is_the_bill_of_the_clouds() -> None:
    twin, recorder = a_twin()
    report = ended(twin, recorder)
    (cost,) = report.costs
    series = report.fleet.series
    assert report.fleet.usd == pytest.approx(twin.cost())
    assert cost.usd == pytest.approx(cost.machine_hours * 20.0)
    assert series.usd[-1] == pytest.approx(twin.cost())
    assert series.usd_per_hour[-1] == pytest.approx(6 * 20.0)
    assert list(series.usd) == sorted(series.usd)


def test_a_broken_node_is_replaced_and_its_chain_tells_everything() -> None:
    twin, recorder = a_twin()
    assert twin.afflict(first(twin), FALLEN)
    report = ended(twin, recorder)
    found = report.troubles
    assert (found.count, found.detected, found.decided, found.replaced) == (1, 1, 1, 1)
    assert (found.too_late, found.never_decided, found.open) == (0, 0, 0)
    assert found.seconds_to_detect.p50 < 5
    assert 60 < found.seconds_to_repair.p50 < 600
    assert (report.repairs.replacements_right, report.repairs.replacements_wrong) == (1, 0)
    (chain,) = troubles(report)
    assert chain.title == f"xid 79 on {first(twin)}"
    assert chain.justified
    assert chain.outcome == "replaced"
    told = kinds(report, chain)
    telling = (
        "fault",
        "health_reported",
        "health_judged",
        "instance_condemned",
        "launch_requested",
        "instance_launched",
        "node_registered",
        "drain_begun",
        "command_issued",
        "termination_requested",
        "instance_terminated",
    )
    assert [kind for kind in dict.fromkeys(told) if kind in telling] == list(telling)
    assert chain.began == (20 * MINUTE).total_seconds()
    assert chain.noticed is not None
    assert chain.decided is not None
    assert chain.ended is not None
    assert chain.began < chain.noticed < chain.decided < chain.ended


def test_every_entry_follows_from_an_earlier_one_of_its_chain(stormy: Recorder) -> None:
    report = stormy.report()
    owner = {number: chain for chain in report.timeline.chains for number in chain.steps}
    assert sorted(owner) == [entry.number for entry in report.timeline.entries]
    for entry in report.timeline.entries:
        chain = owner[entry.number]
        assert all(number < entry.number for number in entry.after)
        if entry.number != chain.steps[0]:
            assert any(owner[number] is chain for number in entry.after), entry


def test_a_harmless_event_is_a_failure_and_no_trouble() -> None:
    twin, recorder = a_twin()
    twin.afflict(first(twin), HARMLESS)
    report = ended(twin, recorder)
    (failure,) = report.failures
    assert (failure.label, failure.count, failure.needing_repair) == ("xid 31", 1, 0)
    assert report.troubles.count == 0
    assert troubles(report) == []
    assert [rule.name for rule in report.rules] == ["application"]
    assert report.repairs.harmless_verdicts > 0


def test_a_replacement_for_a_cut_that_passes_was_not_needed() -> None:
    twin, recorder = a_twin()
    twin.afflict(first(twin), Fault(FaultKind.NETWORK, lasts=10 * MINUTE))
    report = ended(twin, recorder)
    assert (report.repairs.replacements_right, report.repairs.replacements_wrong) == (0, 1)
    (chain,) = troubles(report)
    assert chain.justified is False


def test_a_short_cut_of_the_network_is_over_before_anybody_notices() -> None:
    twin, recorder = a_twin()
    twin.afflict(first(twin), Fault(FaultKind.NETWORK, lasts=timedelta(seconds=40)))
    report = ended(twin, recorder)
    found = report.troubles
    assert (found.count, found.detected, found.recovered, found.open) == (1, 0, 1, 0)
    assert 30 <= found.seconds_to_repair.p50 <= 120
    (chain,) = troubles(report)
    assert chain.outcome == "passed unnoticed"
    assert kinds(report, chain) == ["fault", "recovery"]
    assert report.fleet.gpu_hours.lost_by.undetected > 0


def test_what_nobody_decides_about_is_never_and_still_out() -> None:
    spec = replace(CALM.pools[0], auto_replace=False)
    twin = Twin(replace(CALM, pools=(spec,)), 1)
    recorder = Recorder(twin)
    twin.run_until(20 * MINUTE)
    twin.afflict(first(twin), Fault(FaultKind.CRASH))
    report = ended(twin, recorder)
    assert (report.troubles.never_decided, report.troubles.open) == (1, 1)
    assert report.fleet.gpu_hours.lost_by.silent > 8
    (chain,) = troubles(report)
    assert chain.ended is None
    assert chain.outcome == ""


def test_a_repair_that_waits_for_the_budget_is_counted_once_and_its_hours_added() -> None:
    twin, recorder = a_twin()
    spec = CALM.pools[0]
    none = replace(spec, disruption=replace(spec.disruption, max_replacements_per_hour=0))
    twin.server.configure((none,))
    twin.run_until(21 * MINUTE)
    twin.afflict(first(twin), FALLEN)
    report = ended(twin, recorder)
    assert report.repairs.budget_hits == 1
    assert report.repairs.hours_waited == pytest.approx(98 / 60, rel=0.05)
    assert report.troubles.never_decided == 1


def test_refusals_are_counted_by_provider_and_reason(stormy: Recorder) -> None:
    report = stormy.report()
    purchases = {each.provider: each for each in report.purchases}
    assert purchases["beta"].refused["NoCapacity"] > 0
    for each in purchases.values():
        assert each.requested == each.launched + sum(each.refused.values())
    made = sum(each.machines for each in report.costs)
    assert made == sum(each.launched for each in report.purchases)


def test_spot_machines_that_are_taken_away_are_counted(stormy: Recorder) -> None:
    report = stormy.report()
    taken = sum(each.interrupted for each in report.costs)
    assert taken >= report.interruptions_noticed > 0
    assert any("will be taken away" in chain.title for chain in troubles(report))


def test_hours_and_samples_agree(stormy: Recorder) -> None:
    """Two ways of counting: hours by every fact, nodes by every sample."""
    report = stormy.report()
    for pool in (*report.pools, report.fleet):
        hours = pool.gpu_hours
        serving = sum(pool.series.serving) / len(pool.series.serving) * 12 * 8
        assert hours.good + hours.idle == pytest.approx(serving, rel=0.03)
        assert hours.lost == pytest.approx(hours.lost_by.total)
    assert sum(pool.usd for pool in report.pools) == pytest.approx(report.fleet.usd)
    assert sum(pool.gpu_hours.good for pool in report.pools) == pytest.approx(
        report.fleet.gpu_hours.good
    )


def test_the_census_agrees_with_the_fleet_after_any_day(stormy: Recorder) -> None:
    fleet = stormy.twin.fleet
    assert fleet is not None
    alive = {id_ for id_, one in fleet.instances.items() if not one.ended}
    owned = {id_ for id_, node in fleet.nodes.items() if not node.instance_id and not node.over}
    census = stormy._census  # noqa: SLF001  # a second account, which no report shows whole
    assert set(census.places) == alive | owned
    for name, count in census.pools.items():
        places = [place for place in census.places.values() if place.pool == name]
        assert sum(count.nodes) == len(places)
        assert sum(count.gpus) == sum(place.gpus for place in places)


def test_a_control_plane_that_dies_again_and_again_does_not_confuse_the_recorder() -> None:
    twin = Twin(CALM, 1, crashes=range(20, 400, 9))
    recorder = Recorder(twin)
    twin.run_until(20 * MINUTE)
    twin.afflict(first(twin), FALLEN)
    report = ended(twin, recorder)
    assert report.facts == len(twin.facts())
    assert report.fleet.series.serving[-1] == 6
    assert (report.troubles.replaced, report.troubles.open) == (1, 0)
    assert report.fleet.samples == 120


def test_nodes_that_nobody_buys_are_counted_and_cost_nothing() -> None:
    twin = Twin(replace(CALM, pools=(), sellers=()), 1)
    recorder = Recorder(twin)
    twin.welcome(Owned("mine-1", gpus=4))
    twin.run_until(30 * MINUTE)
    twin.afflict("mine-1", Fault(FaultKind.CRASH, lasts=HOUR))
    report = ended(twin, recorder)
    (pool,) = report.pools
    assert (pool.name, pool.usd, pool.most_nodes) == ("", 0, 1)
    assert pool.gpu_hours.good == pytest.approx(4, rel=0.1)


def test_a_reset_that_helps_is_a_repair_in_place() -> None:
    pool = replace(CALM.pools[0], ladder=(Remedy.RESET_GPU, Remedy.REPLACE))
    twin = Twin(replace(CALM, pools=(pool,)), 1)
    recorder = Recorder(twin)
    twin.run_until(20 * MINUTE)
    twin.afflict(first(twin), Fault(FaultKind.XID, xid=48, cure=Remedy.RESET_GPU))
    report = ended(twin, recorder)
    assert report.repairs.in_place_right == 1
    assert report.repairs.in_place_succeeded == 1
    assert report.troubles.recovered == 1
    assert report.repairs.replacements_right == 0


def test_a_node_that_is_to_stay_is_not_replaced_by_the_replacement_of_another() -> None:
    pool = replace(CALM.pools[0], min_nodes=6, max_nodes=6)
    twin = Twin(replace(CALM, pools=(pool,), lasts=4 * HOUR), 1)
    recorder = Recorder(twin)
    twin.run_until(20 * MINUTE)
    sick, dead = sorted(twin.nodes)[:2]
    assert twin.afflict(sick, FALLEN)  # it speaks, and there is no room for another
    twin.run_until(HOUR)
    assert twin.afflict(dead, Fault(FaultKind.VANISH))
    report = ended(twin, recorder)
    assert (report.troubles.replaced, report.troubles.open) == (1, 1)
    assert report.troubles.seconds_to_repair.longest < 900
    (still_out,) = [chain for chain in troubles(report) if not chain.outcome]
    assert still_out.subjects[0] == sick
