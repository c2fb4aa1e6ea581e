"""Bad networks, bad agents and full disks, one at a time, in fleets in which all else is well."""

from __future__ import annotations

from datetime import timedelta

import pytest
from msgspec.structs import replace

from navarch.core.model import events as ev
from navarch.core.model.pool import PoolSpec
from navarch.core.settings import Settings
from navarch.errors import JournalError
from navarch.simulator.conduct import Conduct
from navarch.simulator.dice import Dice
from navarch.simulator.disks import Disk, FullDisk
from navarch.simulator.faults import AgentPlan, CloudPlan, Plan
from navarch.simulator.incidents import Incident
from navarch.simulator.markets import Habits
from navarch.simulator.networks import Network, NetworkPlan, Partition, Place, Scope, Way, place_of
from navarch.simulator.server import facts_of
from navarch.simulator.sick_faults import Sickness
from navarch.simulator.timeline import EPOCH
from navarch.simulator.world import World

MINUTE = timedelta(minutes=1)

PLAN = Plan(
    settings=Settings(),
    pools=(PoolSpec("train", "alpha", min_nodes=4, max_nodes=5),),
    clouds=(CloudPlan("alpha"),),
    agents=AgentPlan(),
    sickness=Sickness(policy="strict", gpus=2),
)


def facts(world: World, kind: type[ev.Event]) -> list[ev.Event]:
    return [fact for fact in facts_of(world.server.store) if isinstance(fact, kind)]


def lived(plan: Plan, seed: int = 1) -> World:
    world = World(seed, plan)
    world.run()
    return world


def parted(scope: Scope, *ways: Way, lasts: timedelta = 4 * MINUTE) -> Plan:
    partition = Partition(4 * MINUTE, lasts, scope, frozenset(ways))
    return replace(PLAN, network=NetworkPlan(partitions=(partition,)))


def test_a_node_that_is_parted_is_lost_and_one_that_hears_nothing_is_not() -> None:
    both = lived(parted(Scope.NODE, Way.UP, Way.DOWN))
    assert both.dice.happened[Incident.NODE_PARTED] == 1
    assert len(facts(both, ev.NodeLost)) == 1
    assert len(facts(lived(parted(Scope.NODE, Way.UP)), ev.NodeLost)) == 1
    deaf = lived(parted(Scope.NODE, Way.DOWN))
    assert deaf.dice.happened[Incident.DEAF] > 0
    assert facts(deaf, ev.NodeLost) == []


def test_a_parted_region_with_most_of_a_pool_in_it_costs_no_machine() -> None:
    world = lived(parted(Scope.REGION, Way.UP, Way.DOWN), seed=4)
    assert len(facts(world, ev.NodeLost)) >= 3
    assert facts(world, ev.TerminationRequested) == []


def test_calls_that_are_late_are_overtaken_and_change_nothing() -> None:
    slow = NetworkPlan(delayed=0.3, delay_min=timedelta(seconds=4))
    world = lived(replace(PLAN, network=slow))
    assert world.dice.happened[Incident.OVERTAKEN] > 5
    assert facts(world, ev.NodeLost) == []
    assert len(facts(world, ev.LaunchRequested)) == 4


def test_a_place_belongs_to_its_zone_and_region_and_is_apart_for_as_long_as_it_is_said() -> None:
    dice = Dice(3)
    network = Network(NetworkPlan(), dice)
    here = place_of("a-1", "alpha", "r1", "r1-b", dice.stream("place"))
    assert here == Place("a-1", "alpha/r1-b", "alpha/r1")
    there = place_of("b-1", "beta", "r2", "", dice.stream("place"))
    assert there == Place("b-1", "beta/r2-a", "beta/r2")
    partition = Partition(MINUTE, MINUTE, Scope.ZONE, frozenset({Way.UP}))
    network.part(partition, [here])
    assert not network.carries(here, Way.UP)
    assert network.carries(here, Way.DOWN)
    assert network.carries(there, Way.UP)
    network.join(partition)
    assert network.carries(here, Way.UP)


@pytest.mark.parametrize(
    "conduct",
    [
        Conduct(clock_off=1.0),
        Conduct(clock_jumps=1.0),
        Conduct(clock_drifts=1.0),
        Conduct(redescribed=1.0),
        Conduct(disk_full=1.0),
    ],
    ids=("wrong", "jumps", "drifts", "redescribed", "full"),
)
def test_what_is_wrong_with_agents_alone_costs_no_machine(conduct: Conduct) -> None:
    world = lived(replace(PLAN, conduct=conduct))
    kinds = (
        Incident.CLOCK_OFF,
        Incident.CLOCK_JUMPS,
        Incident.CLOCK_DRIFTS,
        Incident.REDESCRIBED,
        Incident.ITS_DISK_FULL,
    )
    assert sum(world.dice.happened[kind] for kind in kinds) == 4
    assert facts(world, ev.NodeLost) == []
    assert len(facts(world, ev.LaunchRequested)) == 4


def test_agents_that_lie_are_told_apart_from_those_that_they_name() -> None:
    world = lived(replace(PLAN, conduct=Conduct(lying=1.0)), seed=2)
    lies = (Incident.CONTRADICTION, Incident.FOREIGN_GPU, Incident.NO_SUCH_GPU)
    assert all(world.dice.happened[lie] for lie in lies)


def test_a_full_disk_ends_the_control_plane_until_there_is_room() -> None:
    full = FullDisk(6 * MINUTE, 2 * MINUTE)
    cut = Partition(5 * MINUTE, 4 * MINUTE, Scope.NODE, frozenset(Way))
    plan = replace(PLAN, full_disks=(full,), network=NetworkPlan(partitions=(cut,)))
    world = lived(plan)
    assert world.dice.happened[Incident.DISK_FULL] > 1
    resumed = [fact.at - EPOCH for fact in facts(world, ev.Resumed)]
    assert len(resumed) == 2
    assert resumed[1] >= full.begins + full.lasts
    during = [fact for fact in facts_of(world.server.store) if full_at(fact.at - EPOCH, full)]
    assert during == []


def full_at(moment: timedelta, full: FullDisk) -> bool:
    return full.begins < moment < full.begins + full.lasts


def test_a_disk_that_is_full_keeps_what_it_has_and_takes_nothing() -> None:
    disk = Disk()
    disk.append_now([ev.Resumed(EPOCH, "1")], after=0)
    disk.is_full = True
    with pytest.raises(JournalError, match="the disk is full, nothing was kept"):
        disk.append_now([ev.Resumed(EPOCH, "2")], after=1)
    with pytest.raises(JournalError, match="full"):
        disk.snapshot_now(1, b"{}")
    assert disk.last_seq_now == 1


def test_the_second_machine_of_one_launch_is_found_and_ended() -> None:
    habits = Habits(twins=1.0)
    world = lived(replace(PLAN, clouds=(CloudPlan("alpha", habits=habits),)))
    assert world.dice.happened[Incident.TWIN] == 4
    assert len(facts(world, ev.OrphanRemoved)) == 4
    assert len(facts(world, ev.LaunchRequested)) == 4


def test_quotas_rates_and_slow_boots_are_lived_with() -> None:
    habits = Habits(quota=2, calls_a_minute=4, boot_spread=1.0)
    world = lived(replace(PLAN, clouds=(CloudPlan("alpha", habits=habits),)))
    assert world.dice.happened[Incident.QUOTA] > 0
    assert world.dice.happened[Incident.RATE] > 0
