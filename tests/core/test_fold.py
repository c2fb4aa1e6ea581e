"""Folding: every fact moves the fields that it is about, and no other."""

from __future__ import annotations

from datetime import datetime

import pytest
from msgspec.structs import asdict, replace

from factories import (
    POOL,
    PROVIDER,
    TAG,
    a_fleet,
    a_spec,
    a_stranger,
    at,
    check,
    condemned,
    ending,
    fold_all,
    gpus,
    issued,
    launched,
    lost,
    name,
    refused,
    registered,
    releasing,
    requested,
    xid,
)
from navarch.core.model import events as ev
from navarch.core.model import fleet as fleets
from navarch.core.model.command import CommandState, CommandType
from navarch.core.model.fleet import Orphan
from navarch.core.model.instance import Instance, InstanceState
from navarch.core.model.node import Contact, Intent, Node, Phase
from navarch.core.model.offer import PROVIDER_WIDE, Refusals
from navarch.core.model.report import Health, HealthReport


def given_up(n: int, when: datetime) -> ev.TerminationRequested:
    """Return that machine n gave no node, which counts against its pool."""
    return ev.TerminationRequested(when, name(n), "it never registered", trouble=True)


def changed(before: Instance | Node, after: Instance | Node) -> set[str]:
    """Name the fields in which two records differ."""
    old, new = asdict(before), asdict(after)
    return {field for field in old if old[field] != new[field]}


# --- the fleet -------------------------------------------------------------------------------


def test_founding_gives_the_fleet_its_tag() -> None:
    assert fold_all(ev.FleetFounded(at(), TAG)).tag == TAG


def test_resuming_makes_every_launch_without_an_answer_uncertain() -> None:
    fleet = a_fleet(1, requested(2), ev.Resumed(at(minutes=1), "0.1.0"))
    assert fleet.resumed_at == at(minutes=1)
    assert fleet.instances[name(1)].uncertain_since is None
    assert fleet.instances[name(2)].uncertain_since == at(minutes=1)


def test_resuming_again_keeps_since_when_a_launch_is_uncertain() -> None:
    fleet = a_fleet(0, requested(1), *(ev.Resumed(at(minutes=n), "0.1.0") for n in (1, 2)))
    assert fleet.instances[name(1)].uncertain_since == at(minutes=1)


def test_resuming_leaves_ended_machines_alone() -> None:
    refused = ev.LaunchFailed(at(), name(1), "NoCapacity", "none left")
    fleet = a_fleet(0, requested(1), refused, ev.Resumed(at(minutes=1), "0.1.0"))
    assert fleet.instances[name(1)].uncertain_since is None


def test_forgetting_drops_records_and_keeps_the_serial_numbers() -> None:
    gone = ev.InstanceTerminated(at(), name(1), "gone")
    fleet = a_fleet(1, issued(1, CommandType.CORDON), gone)
    command_id = next(iter(fleet.commands))
    forgotten = ev.RecordsForgotten(at(), "old", (name(1),), (name(1),), (command_id,))
    fold_all(forgotten, fleet=fleet)
    assert (fleet.instances, fleet.nodes, fleet.commands, fleet.pending) == ({}, {}, {}, {})
    assert (fleet.serial, fleet.command_serial) == (1, 1)


def test_forgetting_what_is_not_there_changes_nothing() -> None:
    fleet = a_fleet(1)
    before = fleets.encode(fleet)
    fold_all(ev.RecordsForgotten(at(), "old", ("a",), ("b",), ("c",)), fleet=fleet)
    assert fleets.encode(fleet) == before


def test_an_orphan_is_kept_until_it_is_removed() -> None:
    fleet = a_fleet(0, ev.OrphanCondemned(at(), PROVIDER, "m-9", "nobody owns it"))
    assert fleet.orphans == {"fake/m-9": Orphan(PROVIDER, "m-9", at(), "nobody owns it")}
    fold_all(ev.OrphanRemoved(at(minutes=1), PROVIDER, "m-9", "gone"), fleet=fleet)
    assert fleet.orphans == {}


# --- pools -----------------------------------------------------------------------------------


def test_a_new_pool_wants_its_minimum() -> None:
    pool = fold_all(ev.PoolConfigured(at(), a_spec(min_nodes=2))).pools[POOL]
    assert (pool.target, pool.target_because) == (2, "min_nodes is 2")


@pytest.mark.parametrize(
    "low,high,expected", [(0, 10, 5), (0, 4, 4), (6, 10, 6), (5, 5, 5), (0, 0, 0)]
)
def test_configuring_a_pool_again_moves_its_target_only_into_the_limits(
    low: int, high: int, expected: int
) -> None:
    fleet = a_fleet(0, target=5)
    before = fleet.pools[POOL]
    fold_all(ev.PoolConfigured(at(), a_spec(min_nodes=low, max_nodes=high)), fleet=fleet)
    after = fleet.pools[POOL]
    assert after.target == expected
    assert (after.target_because == before.target_because) == (expected == 5)


def test_a_pool_at_its_minimum_follows_it() -> None:
    fleet = fold_all(ev.PoolConfigured(at(), a_spec(min_nodes=2)))
    targets = []
    for minimum in (4, 1):
        fold_all(ev.PoolConfigured(at(), a_spec(min_nodes=minimum)), fleet=fleet)
        targets.append(fleet.pools[POOL].target)
    assert targets == [4, 1]


def test_configuring_a_pool_again_undoes_no_pause_and_forgets_no_trouble() -> None:
    paused = ev.PoolPaused(at(), POOL, "maintenance")
    fleet = a_fleet(0, requested(1), given_up(1, at()), paused)
    fold_all(ev.PoolConfigured(at(minutes=1), a_spec(max_nodes=3)), fleet=fleet)
    pool = fleet.pools[POOL]
    assert (pool.paused, pool.failures, pool.failed_at) == (True, 1, at())
    assert pool.bought == {PROVIDER: 1}


def test_a_retired_pool_comes_back_when_it_is_configured_again() -> None:
    fleet = a_fleet(2, ev.PoolRetired(at(), POOL, "gone from the file"))
    assert fleet.pools[POOL].retired
    assert len(fleet.instances) == 2
    fold_all(ev.PoolConfigured(at(), a_spec()), fleet=fleet)
    assert not fleet.pools[POOL].retired


def test_pausing_and_unpausing() -> None:
    fleet = a_fleet(0, ev.PoolPaused(at(), POOL, "maintenance"))
    assert (fleet.pools[POOL].paused, fleet.pools[POOL].paused_because) == (True, "maintenance")
    fold_all(ev.PoolUnpaused(at(), POOL, "done"), fleet=fleet)
    assert (fleet.pools[POOL].paused, fleet.pools[POOL].paused_because) == (False, "")


def test_the_brake_is_on_as_long_as_it_has_a_reason() -> None:
    fleet = a_fleet(0, ev.RepairHalted(at(), POOL, "3 of 4 are silent"))
    assert fleet.pools[POOL].brake_because == "3 of 4 are silent"
    fold_all(ev.RepairContinued(at(), POOL, "none is silent"), fleet=fleet)
    assert fleet.pools[POOL].brake_because == ""


def test_failures_add_up_until_the_last_is_long_ago() -> None:
    fleet = a_fleet(0)
    counted = []
    for n, minutes in ((1, 0), (2, 1), (3, 15), (4, 31)):
        when = at(minutes=minutes)
        fold_all(requested(n, when), given_up(n, when), fleet=fleet)
        counted.append(fleet.pools[POOL].failures)
    assert counted == [1, 2, 3, 1]
    assert fleet.pools[POOL].failure == "it never registered"


def test_launches_that_were_asked_for_together_fail_once() -> None:
    given_up_soon = [given_up(n, at(seconds=n)) for n in (1, 2, 3)]
    fleet = a_fleet(0, [requested(n) for n in (1, 2, 3)], given_up_soon)
    assert (fleet.pools[POOL].failures, fleet.pools[POOL].failed_at) == (1, at(seconds=3))


def test_a_refusal_is_held_against_the_offer_and_not_against_the_pool() -> None:
    fleet = a_fleet(0, requested(1), refused(1))
    assert (fleet.pools[POOL].failures, fleet.pools[POOL].failed_at) == (0, None)
    refusals = Refusals(1, at(), "NoCapacity", "none left")
    assert fleet.refusals == {"fake/us-west-2//h100-8x": refusals}


@pytest.mark.parametrize("failure", sorted(PROVIDER_WIDE))
def test_a_refusal_of_the_provider_is_held_against_the_provider(failure: str) -> None:
    fleet = a_fleet(0, requested(1), refused(1, failure))
    assert fleet.refusals == {PROVIDER: Refusals(1, at(), failure, "none left")}


def test_launches_are_counted_by_provider() -> None:
    elsewhere = replace(requested(2), provider="lambda")
    fleet = a_fleet(0, requested(1), elsewhere, requested(3), refused(3))
    assert fleet.pools[POOL].bought == {PROVIDER: 2, "lambda": 1}


def test_a_change_of_the_target_is_remembered_with_its_time() -> None:
    fleet = fold_all(ev.PoolConfigured(at(), a_spec()))
    assert fleet.pools[POOL].target_changed_at is None
    fold_all(ev.TargetChanged(at(minutes=3), POOL, 4, "queue 12"), fleet=fleet)
    pool = fleet.pools[POOL]
    assert (pool.target, pool.target_because, pool.target_changed_at) == (
        4,
        "queue 12",
        at(minutes=3),
    )


def test_a_machine_that_vanishes_young_counts_as_a_failed_launch() -> None:
    fleet = a_fleet(2)
    fold_all(ev.InstanceVanished(at(minutes=9), name(1), "gone"), fleet=fleet)
    assert fleet.pools[POOL].failures == 1
    fold_all(ev.InstanceVanished(at(minutes=10), name(2), "gone"), fleet=fleet)
    assert fleet.pools[POOL].failures == 1


def test_only_a_termination_for_trouble_counts_as_a_failure() -> None:
    fleet = a_fleet(2, ending(1, at()))
    assert fleet.pools[POOL].failures == 0
    fold_all(ev.TerminationRequested(at(), name(2), "too slow", trouble=True), fleet=fleet)
    assert fleet.pools[POOL].failures == 1


def test_replacements_are_remembered_for_an_hour() -> None:
    fleet = a_fleet(3, *(condemned(n, at(minutes=m)) for n, m in ((1, 0), (2, 59), (3, 60))))
    assert fleet.pools[POOL].replacements == (at(minutes=59), at(minutes=60))


# --- instances -------------------------------------------------------------------------------


def test_a_machine_becomes_a_node_in_three_facts() -> None:
    fleet = a_fleet(0)
    states = []
    for fact in (requested(1), launched(1), registered(1)):
        fold_all(fact, fleet=fleet)
        states.append(fleet.instances[name(1)].state.value)
    assert states == ["provisioning", "pending_registration", "running"]
    assert fleet.node_of(fleet.instances[name(1)]) is not None


def test_an_agent_may_be_quicker_than_its_provider() -> None:
    fleet = a_fleet(0, requested(1), registered(1), launched(1, at(seconds=5)))
    instance = fleet.instances[name(1)]
    assert (instance.state, instance.ref) == (InstanceState.RUNNING, "m-1")
    assert instance.because == "its agent registered"


def test_a_launch_settles_its_uncertainty() -> None:
    unknown = ev.LaunchUncertain(at(), name(1), "the connection broke")
    fleet = a_fleet(0, requested(1), unknown)
    assert fleet.instances[name(1)].uncertain_since == at()
    fold_all(launched(1), fleet=fleet)
    assert fleet.instances[name(1)].uncertain_since is None


def test_a_cleared_launch_may_be_repeated() -> None:
    unknown = ev.LaunchUncertain(at(), name(1), "the connection broke")
    cleared = ev.LaunchCleared(at(minutes=1), name(1), "it does not exist")
    instance = a_fleet(0, requested(1), unknown, cleared).instances[name(1)]
    assert (instance.state, instance.uncertain_since) == (InstanceState.PROVISIONING, None)


def test_a_launch_that_comes_back_late_does_not_revive_an_ending_machine() -> None:
    fleet = a_fleet(0, requested(1), ending(1, at(minutes=1)), launched(1, at(minutes=2)))
    instance = fleet.instances[name(1)]
    assert (instance.state, instance.ref) == (InstanceState.TERMINATING, "m-1")
    assert instance.because == "too many"


def test_the_end_of_a_machine_whose_launch_is_under_way_waits_for_its_outcome() -> None:
    fleet = a_fleet(0, requested(1), ending(1, at(minutes=1)))
    assert fleet.instances[name(1)].uncertain_since is None


def test_the_end_of_a_machine_with_a_ref_is_no_riddle() -> None:
    fleet = a_fleet(1, ending(1, at(minutes=1)))
    assert fleet.instances[name(1)].uncertain_since is None


def test_a_node_ends_with_its_machine() -> None:
    fleet = a_fleet(1, ending(1, at(minutes=1)))
    phases = [fleet.nodes[name(1)].phase]
    accepted = ev.TerminationAccepted(at(minutes=2), name(1), "agreed")
    fold_all(accepted, ev.InstanceTerminated(at(minutes=3), name(1), "gone"), fleet=fleet)
    phases.append(fleet.nodes[name(1)].phase)
    assert phases == [Phase.TERMINATING, Phase.TERMINATED]
    instance = fleet.instances[name(1)]
    assert (instance.state, instance.ended_at) == (InstanceState.TERMINATED, at(minutes=3))
    assert instance.terminate_accepted_at == at(minutes=2)


def test_a_machine_is_released_and_called_back() -> None:
    fleet = a_fleet(1)
    before = fleet.instances[name(1)], fleet.nodes[name(1)]
    fold_all(releasing(1, at(minutes=1)), fleet=fleet)
    instance, node = fleet.instances[name(1)], fleet.nodes[name(1)]
    assert changed(before[0], instance) == {"releasing_since", "because"}
    assert changed(before[1], node) == {"phase", "because"}
    fold_all(ev.ReleaseRevoked(at(minutes=2), name(1), "wanted again"), fleet=fleet)
    assert changed(before[0], fleet.instances[name(1)]) == {"because"}
    assert changed(before[1], fleet.nodes[name(1)]) == {"because"}


def test_a_spot_machine_is_known_as_one() -> None:
    fleet = a_fleet(0, replace(requested(1), spot=True), requested(2))
    assert [fleet.instances[name(n)].spot for n in (1, 2)] == [True, False]


# --- nodes -----------------------------------------------------------------------------------


def test_registering_again_changes_only_the_description() -> None:
    verdict = ev.HealthJudged(at(), name(1), Health.UNHEALTHY, "XID 79")
    cordon = ev.IntentChanged(at(), name(1), Intent.CORDONED, "for a look")
    fleet = a_fleet(1, verdict, cordon)
    before, instance = fleet.nodes[name(1)], fleet.instances[name(1)]
    again = ev.NodeRegistered(
        at(minutes=1), name(1), PROVIDER, pool=POOL, instance_id=name(1), gpus=gpus(7)
    )
    fold_all(again, fleet=fleet)
    moved = changed(before, fleet.nodes[name(1)])
    assert moved == {"heard_at", "region", "instance_type", "gpus", "metadata"}
    assert fleet.instances[name(1)] == instance


def test_the_four_axes_of_a_node_do_not_move_each_other() -> None:
    fleet = a_fleet(1)
    moves: list[tuple[ev.Fact, set[str]]] = [
        (lost(1, at(minutes=2)), {"contact", "lost_at", "lost_because", "because"}),
        (ev.HealthJudged(at(), name(1), Health.DEGRADED, "hot"), {"health", "because"}),
        (ev.IntentChanged(at(), name(1), Intent.DRAINING, "so"), {"intent", "wished", "because"}),
        (releasing(1, at(minutes=3)), {"phase", "because"}),
        (ev.TerminationRequested(at(minutes=4), name(1), "drained"), {"phase", "because"}),
    ]
    for fact, expected in moves:
        before = fleet.nodes[name(1)]
        fold_all(fact, fleet=fleet)
        assert changed(before, fleet.nodes[name(1)]) == expected


def test_a_node_that_returns_is_reprieved() -> None:
    fleet = a_fleet(1, lost(1, at(minutes=2)), condemned(1, at(minutes=3)))
    assert fleet.instances[name(1)].condemned
    fold_all(ev.NodeReturned(at(minutes=4), name(1), "it speaks"), fleet=fleet)
    node = fleet.nodes[name(1)]
    assert (node.contact, node.lost_at, node.heard_at) == (Contact.CONNECTED, None, at(minutes=4))
    assert not fleet.instances[name(1)].condemned


def test_a_node_that_returns_too_late_is_not_reprieved() -> None:
    fleet = a_fleet(
        1, lost(1, at(minutes=2)), condemned(1, at(minutes=3)), ending(1, at(minutes=4))
    )
    fold_all(ev.NodeReturned(at(minutes=5), name(1), "it speaks"), fleet=fleet)
    instance = fleet.instances[name(1)]
    assert (instance.state, instance.condemned) == (InstanceState.TERMINATING, True)


def test_a_verdict_of_release_0_1_counts_clean_reports_by_the_report_itself() -> None:
    fleet = a_fleet(1)
    counts = []
    for minute, results in enumerate(((check(),), (check(),), (check(Health.DEGRADED),), ())):
        reported = ev.HealthReported(at(minutes=minute), name(1), results)
        judged = ev.HealthJudged(at(minutes=minute), name(1), Health.DEGRADED, "so it was")
        fold_all(reported, judged, fleet=fleet)
        counts.append(fleet.nodes[name(1)].clean_reports)
    assert counts == [1, 2, 0, 0]


def test_a_verdict_says_how_many_reports_were_clean() -> None:
    judged = ev.HealthJudged(at(), name(1), Health.HEALTHY, "fine", clean_reports=7, bad_reports=2)
    node = a_fleet(1, judged).nodes[name(1)]
    assert (node.clean_reports, node.bad_reports) == (7, 2)


def test_a_report_waits_for_its_verdict() -> None:
    fleet = a_fleet(1, ev.HealthReported(at(), name(1), (), (xid(79),)))
    node = fleet.nodes[name(1)]
    assert (node.report, node.report_judged) == (HealthReport(at(), (), (xid(79),)), False)
    fold_all(ev.HealthJudged(at(), name(1), Health.UNHEALTHY, "XID 79"), fleet=fleet)
    node = fleet.nodes[name(1)]
    assert (node.health, node.report_judged) == (Health.UNHEALTHY, True)


def test_a_stranger_is_dismissed_and_retired() -> None:
    fleet = a_fleet(0, a_stranger(), ev.NodeDismissed(at(), "lab-1", "not needed"))
    phases = [fleet.nodes["lab-1"].phase]
    fold_all(ev.NodeRetired(at(), "lab-1", "has ended"), fleet=fleet)
    phases.append(fleet.nodes["lab-1"].phase)
    assert phases == [Phase.TERMINATING, Phase.TERMINATED]


# --- commands --------------------------------------------------------------------------------


def test_a_command_is_pending_until_it_has_a_result() -> None:
    first, second = issued(1, CommandType.CORDON), issued(2, CommandType.REBOOT)
    fleet = a_fleet(1, first, second)
    assert fleet.pending == {name(1): (first.command_id, second.command_id)}
    running = ev.CommandFinished(at(), first.command_id, name(1), CommandState.RUNNING)
    fold_all(ev.CommandDelivered(at(), first.command_id, name(1)), running, fleet=fleet)
    assert [command.state for command in fleet.commands_for(name(1))] == [
        CommandState.RUNNING,
        CommandState.ISSUED,
    ]
    done = ev.CommandFinished(
        at(minutes=1), first.command_id, name(1), CommandState.SUCCEEDED, "ok", "out"
    )
    fold_all(done, fleet=fleet)
    assert fleet.pending == {name(1): (second.command_id,)}
    command = fleet.commands[first.command_id]
    assert (command.finished_at, command.message, command.output) == (at(minutes=1), "ok", "out")


def test_nothing_is_pending_after_the_last_result() -> None:
    command = issued(1, CommandType.CORDON)
    done = ev.CommandFinished(at(), command.command_id, name(1), CommandState.FAILED)
    assert a_fleet(1, command, done).pending == {}
