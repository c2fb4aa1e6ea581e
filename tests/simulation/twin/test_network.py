"""A bad network: what nodes say is late, twice, lost or cut off, and afterwards all is well."""

from __future__ import annotations

from datetime import timedelta

import pytest
from msgspec.structs import replace

from navarch.core.model import events as ev
from navarch.core.model.finding import Remedy
from navarch.core.model.node import Contact
from navarch.core.model.pool import Disruption, PoolSpec
from navarch.simulator.dice import Dice
from navarch.simulator.faults import CloudPlan
from navarch.simulator.policies import TABLES
from navarch.simulator.twin.blueprint import Blueprint, DiskFull, Hazard, Owned, Seller
from navarch.simulator.twin.faults import Fault, FaultKind
from navarch.simulator.twin.network import Network, Quality, Reach, Spell, way
from navarch.simulator.twin.twin import Twin

MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
POLICY = next(iter(TABLES.values()))
NODES = 6

POOL = PoolSpec(
    "train",
    "alpha",
    instance_type="gpu",
    region="here",
    zones=("a", "b"),
    min_nodes=NODES,
    max_nodes=NODES + 2,
    disruption=Disruption(max_unavailable=2, max_replacements_per_hour=20),
)

BLUEPRINT = Blueprint(pools=(POOL,), sellers=(Seller(CloudPlan("alpha")),), policy=POLICY)

BAD = Quality(
    delay=timedelta(seconds=1), spread=1.5, loss=0.2, doubled=0.2, held_up=0.3, longest=MINUTE
)


def converged(twin: Twin) -> None:
    """Check that the pool has its nodes, that all serve and rest, and no machine is left over."""
    fleet = twin.fleet
    assert fleet is not None
    nodes = [fleet.node_of(each) for each in fleet.instances_of("train")]
    assert [node is not None and node.serving for node in nodes] == [True] * NODES
    assert sorted(twin.herd.members) == sorted(node.id for node in nodes if node is not None)
    assert len(twin.clouds["alpha"].machines()) == NODES
    assert not fleet.pending
    assert not fleet.orphans


def kinds(twin: Twin) -> set[str]:
    return {ev.kind(fact) for fact in twin.facts()}


def first_node(twin: Twin) -> str:
    fleet = twin.fleet
    assert fleet is not None
    return next(iter(fleet.nodes))


def test_a_fleet_comes_up_over_a_bad_network_and_rests_when_it_is_well_again() -> None:
    spell = Spell(timedelta(), 2 * HOUR, quality=BAD)
    twin = Twin(replace(BLUEPRINT, network=Network(spells=(spell,))), 1)
    twin.run_until(HOUR)
    assert not twin.herd.members, "nobody rests over a bad network"
    fleet = twin.fleet
    assert fleet is not None
    assert sum(node.serving for node in fleet.nodes.values()) >= NODES - 2
    twin.run_until(4 * HOUR)
    converged(twin)


def test_a_network_that_is_always_slow_serves_without_rest() -> None:
    slow = Quality(delay=timedelta(seconds=1), loss=0.02)
    twin = Twin(replace(BLUEPRINT, network=Network(slow)), 1)
    twin.run_until(2 * HOUR)
    fleet = twin.fleet
    assert fleet is not None
    assert [node.serving for node in fleet.nodes.values()] == [True] * NODES
    assert "node_lost" not in kinds(twin)
    assert not twin.herd.members


@pytest.mark.parametrize(
    "choose", [lambda node: Reach(nodes=(node.id,)), lambda node: Reach(zones=(node.zone,))]
)
def test_a_partition_loses_whom_it_reaches_and_nobody_else(choose: object) -> None:
    assert callable(choose)
    twin = Twin(BLUEPRINT, 1)
    twin.run_until(HOUR)
    fleet = twin.fleet
    assert fleet is not None
    reach: Reach = choose(twin.nodes[first_node(twin)].described)
    cut = {id_ for id_ in fleet.nodes if reach.holds(twin.nodes[id_].described)}
    assert 0 < len(cut) < NODES or reach.zones
    twin.degrade(Spell(timedelta(), 20 * MINUTE, reach))
    twin.run_until(HOUR + 5 * MINUTE)
    lost = {id_ for id_, node in fleet.nodes.items() if node.contact is Contact.LOST}
    assert lost == cut
    twin.run_until(4 * HOUR)
    converged(twin)


def test_a_short_partition_of_a_region_is_forgiven() -> None:
    spell = Spell(HOUR, timedelta(seconds=25), Reach(regions=("here",)))
    twin = Twin(replace(BLUEPRINT, network=Network(spells=(spell,))), 1)
    twin.run_until(2 * HOUR)
    converged(twin)
    assert "node_lost" not in kinds(twin)


def test_a_partition_beats_a_slow_network_wherever_both_are() -> None:
    node = Owned("a", zone="z")
    spells = (Spell(timedelta(), HOUR), Spell(timedelta(), HOUR, quality=BAD))
    for order in (spells, spells[::-1]):
        twin = Twin(replace(BLUEPRINT, network=Network(spells=order)), 1)
        twin.run_until(MINUTE)
        assert twin.wires.is_cut(node)
        twin.run_until(2 * HOUR)
        assert twin.wires.is_well(node)


def test_the_way_is_as_long_and_as_lossy_as_it_says() -> None:
    rolls = Dice(1).stream("a way")
    quality = Quality(delay=timedelta(milliseconds=200), spread=1, loss=0.1)
    ways = [way(quality, rolls) for _ in range(4000)]
    came = sorted(each for each in ways if each is not None)
    assert 1 - len(came) / len(ways) == pytest.approx(0.1, abs=0.02)
    assert came[len(came) // 2] / timedelta(milliseconds=1) == pytest.approx(200, rel=0.1)
    assert came[int(len(came) * 0.99)] > 5 * came[len(came) // 2], "its tail is heavy"


@pytest.mark.parametrize(
    "values, text",
    [
        ({"loss": 1.1}, "loss: expected a share from 0 to 1, not 1.1"),
        ({"spread": -1}, "spread: expected a number from 0 to 5"),
        ({"delay": -MINUTE}, "delay: expected a duration"),
    ],
)
def test_a_quality_outside_its_bounds_is_refused(values: dict[str, float], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        Quality(**values)  # type: ignore[arg-type]  # any field


# --- agents and clocks ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fault, lost",
    [
        (Fault(FaultKind.FREEZE, lasts=10 * MINUTE), True),
        (Fault(FaultKind.FREEZE, lasts=timedelta(seconds=15)), False),
        (Fault(FaultKind.FREEZE), True),
        (Fault(FaultKind.FLAP, lasts=20 * MINUTE, every=10 * MINUTE), True),
        (Fault(FaultKind.FLAP, lasts=10 * MINUTE, every=timedelta(seconds=10)), False),
        (Fault(FaultKind.DRIFT, drift=3 * HOUR, lasts=30 * MINUTE), False),
        (Fault(FaultKind.DRIFT, drift=-3 * HOUR, lasts=30 * MINUTE), False),
        (Fault(FaultKind.REREGISTER), False),
    ],
    ids=lambda value: value.label if isinstance(value, Fault) else str(value),
)
def test_a_fleet_gets_over_what_happens_to_an_agent(
    fault: Fault,
    lost: bool,  # noqa: FBT001 - a parameter
) -> None:
    twin = Twin(BLUEPRINT, 1)
    twin.run_until(HOUR)
    victim = first_node(twin)
    assert twin.afflict(victim, fault)
    twin.run_until(HOUR + timedelta(seconds=1))
    assert victim not in twin.herd.members, "what it says matters now"
    twin.run_until(4 * HOUR)
    assert ("node_lost" in kinds(twin)) == lost
    converged(twin)


def test_a_sick_node_with_a_wrong_clock_is_still_repaired() -> None:
    twin = Twin(BLUEPRINT, 1)
    twin.run_until(HOUR)
    victim = first_node(twin)
    twin.afflict(victim, Fault(FaultKind.DRIFT, drift=-6 * HOUR))
    twin.afflict(victim, Fault(FaultKind.XID, xid=48, cure=Remedy.REPLACE))
    twin.run_until(3 * HOUR)
    fleet = twin.fleet
    assert fleet is not None
    assert fleet.instances[victim].ended
    converged(twin)


def test_what_is_wrong_with_an_agent_ends_when_it_is_put_right() -> None:
    for fault in (
        Fault(FaultKind.FLAP, every=timedelta(seconds=20)),
        Fault(FaultKind.FREEZE),
        Fault(FaultKind.DRIFT, drift=HOUR),
    ):
        twin = Twin(BLUEPRINT, 1)
        twin.run_until(HOUR)
        victim = first_node(twin)
        twin.afflict(victim, fault)
        twin.run_until(HOUR + timedelta(seconds=25))
        assert twin.recover(victim)
        twin.run_until(HOUR + 5 * MINUTE)
        assert victim in twin.herd.members
        assert "node_lost" not in kinds(twin)


# --- the control plane ---------------------------------------------------------------------------

SICK = (
    Hazard(Fault(FaultKind.XID, xid=48, cure=Remedy.REPLACE), 4.0),
    Hazard(Fault(FaultKind.CRASH), 4.0),
)


def test_a_full_disk_ends_the_control_plane_until_there_is_room() -> None:
    full = DiskFull(HOUR, 30 * MINUTE)
    twin = Twin(replace(BLUEPRINT, disk_full=(full,)), 1)
    twin.run_until(HOUR)
    twin.afflict(first_node(twin), Fault(FaultKind.CRASH))
    written = len(twin.facts())
    twin.run_until(HOUR + 29 * MINUTE)
    assert len(twin.facts()) == written
    twin.run_until(3 * HOUR)
    assert "resumed" in {ev.kind(fact) for fact in twin.facts()[written:]}
    converged(twin)


def test_a_control_plane_that_dies_and_stalls_all_the_time_still_repairs() -> None:
    troubled = replace(BLUEPRINT, crashes_per_day=400, stalls_per_day=100, stall_max=MINUTE)
    twin = Twin(troubled, 2)
    twin.run_until(HOUR)
    for fault in (Fault(FaultKind.CRASH), Fault(FaultKind.VANISH), SICK[0].fault):
        twin.run_until(twin.since + 30 * MINUTE)
        twin.afflict(list(twin.nodes)[-1], fault)
    twin.run_until(8 * HOUR)
    while twin.fleet is None:
        twin.run_until(twin.since + timedelta(seconds=5))
    facts = [ev.kind(fact) for fact in twin.facts()]
    assert facts.count("resumed") > 20
    assert facts.count("instance_condemned") + facts.count("instance_vanished") == 3
    nodes = [twin.fleet.node_of(each) for each in twin.fleet.instances_of("train")]
    assert [node is not None and node.serving for node in nodes] == [True] * NODES
    assert len(twin.clouds["alpha"].machines()) == NODES


def test_batches_of_nodes_at_rest_change_nothing_under_a_bad_network() -> None:
    spell = Spell(30 * MINUTE, 20 * MINUTE, Reach(zones=("a",)), BAD)
    flaps = Hazard(Fault(FaultKind.FLAP, lasts=5 * MINUTE), 6.0)
    drifts = Hazard(Fault(FaultKind.DRIFT, lasts=5 * MINUTE, drift=-HOUR), 6.0)
    journals = []
    for batched in (True, False):
        blueprint = replace(
            BLUEPRINT,
            hazards=(*SICK, flaps, drifts),
            network=Network(spells=(spell,)),
            batched=batched,
        )
        twin = Twin(blueprint, 3)
        twin.run_until(2 * HOUR)
        journals.append(twin.journal)
    assert journals[0] == journals[1]


def test_everything_at_once_is_the_same_run_for_the_same_seed() -> None:
    spells = (
        Spell(20 * MINUTE, HOUR, Reach(zones=("a",)), BAD),
        Spell(40 * MINUTE, 10 * MINUTE, Reach(zones=("b",))),
    )
    blueprint = replace(
        BLUEPRINT,
        hazards=(*SICK, Hazard(Fault(FaultKind.FLAP, lasts=5 * MINUTE), 4.0)),
        network=Network(spells=spells),
        crashes_per_day=100,
        stalls_per_day=50,
        disk_full=(DiskFull(90 * MINUTE, 3 * MINUTE),),
    )
    journals = []
    for _ in range(2):
        twin = Twin(blueprint, 7)
        twin.run_until(3 * HOUR)
        journals.append(twin.journal)
    assert journals[0] == journals[1]
    assert len(journals[0]) > 10_000
