"""Faults that the sweep once found: each has a run that shows it, and is put back to prove it.

A seed alone proves little: its run changes as the simulator grows, and one day passes for another
reason. So each fault is kept as a *relapse*, the old behaviour in a few lines, together with a run
that must fail with it and must pass without.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta

import msgspec
import pytest
from msgspec.structs import replace

from navarch.core import (
    capacity,
    drain,
    fold,
    fold_commands,
    fold_refusals,
    fold_repair,
    interpret,
    inventory,
    lifecycle,
    workload,
)
from navarch.core.machine import Machine
from navarch.core.model import events as ev
from navarch.core.model import fleet as fleets
from navarch.core.model import messages as msg
from navarch.core.model.actions import Terminate
from navarch.core.model.command import Command, CommandState, CommandType
from navarch.core.model.fleet import Fleet
from navarch.core.model.instance import Instance, InstanceState
from navarch.core.model.node import Contact, Intent, Node
from navarch.core.model.pool import Pool
from navarch.core.model.sightings import Sightings
from navarch.core.repair import beginning, breaker, budget, ladder, replacing
from navarch.core.scaling import target
from navarch.core.scaling.base import PoolMetrics, PoolState
from navarch.core.settings import Settings
from navarch.simulator.faults import Plan
from navarch.simulator.world import Failed, World
from simulation import sick_plans

Relapse = Callable[[pytest.MonkeyPatch], None]


def a_second_clean_report_is_a_repetition(patch: pytest.MonkeyPatch) -> None:
    """A sick node never healed: of three equal clean reports only the first one counted."""
    original = interpret._report  # noqa: SLF001 - a relapse replaces the inside of the core

    def report(
        fleet: Fleet,
        sightings: Sightings,
        message: msg.ReportHealth,
        now: datetime,
        settings: Settings,
    ) -> interpret.Learned:
        learned = original(fleet, sightings, message, now, settings)
        node = fleet.nodes.get(message.node_id)
        if isinstance(learned, msg.Refused) or node is None or node.report is None:
            return learned
        said = node.report.results
        if message.events or not interpret._agree(message.results, said):  # noqa: SLF001 - as above
            return learned
        return [fact for fact in learned if not isinstance(fact, ev.HealthReported)]

    patch.setattr(interpret, "_report", report)


def a_replacement_takes_the_last_room(patch: pytest.MonkeyPatch) -> None:
    """A lost node was ended before its replacement served, for the pool looked full then."""

    def in_the_way(pool: Pool, counted: capacity.Count) -> int:
        return int(counted.existing >= pool.spec.max_nodes)

    patch.setattr(replacing, "_in_the_way", in_the_way)


def a_stranger_ends_when_it_was_heard_last(patch: pytest.MonkeyPatch) -> None:
    """A stranger was forgotten in the step in which it retired, and came back in service."""

    def is_over(node: Node, ended: set[str], limit: datetime) -> bool:
        if node.instance_id:
            return node.instance_id in ended
        return node.ended_at is not None and node.heard_at < limit

    patch.setattr(lifecycle, "_is_over", is_over)


def a_list_may_be_older_than_the_machine(patch: pytest.MonkeyPatch) -> None:
    """A machine was called ended because a list showed the world before its launch."""
    original = inventory._absent  # noqa: SLF001 - as above

    def absent(
        fleet: Fleet,
        sightings: Sightings,
        instance: Instance,
        taken: msg.InventoryTaken,
        now: datetime,
        settings: Settings,
    ) -> Iterator[ev.Fact]:
        if instance.state is InstanceState.TERMINATING:
            taken = replace(taken, list_lag=timedelta())
        return original(fleet, sightings, instance, taken, now, settings)

    patch.setattr(inventory, "_absent", absent)


def a_node_lost_before_a_restart_is_silent_after_it(patch: pytest.MonkeyPatch) -> None:
    """A node was written off seconds after a restart, before it had a chance to speak."""

    def is_silent(fleet: Fleet, _seen: Sightings, instance: Instance, *_: object) -> bool:
        node = fleet.node_of(instance)
        return node is not None and node.contact is Contact.LOST

    patch.setattr(inventory, "_is_silent", is_silent)


def the_end_of_a_cut_condemns_the_last_ones(patch: pytest.MonkeyPatch) -> None:
    """As the first nodes spoke again after a cut, those about to speak were condemned."""

    def shut(pool: Pool, *_: object) -> str:
        return pool.brake_because if pool.brake_half_open_at is None else ""

    patch.setattr(breaker, "shut", shut)


def time_passes_while_we_are_away(patch: pytest.MonkeyPatch) -> None:
    """Booting machines that nobody could hear were ended right after a restart."""
    original = lifecycle._overdue_because  # noqa: SLF001 - as above

    def overdue_because(
        instance: Instance, _resumed_at: datetime | None, now: datetime, settings: Settings
    ) -> str:
        return original(instance, None, now, settings)

    patch.setattr(lifecycle, "_overdue_because", overdue_because)


def the_budget_is_free_once_the_end_has_begun(patch: pytest.MonkeyPatch) -> None:
    """The next lost node was condemned while the one before was still ending."""

    def at_once(fleet: Fleet, pool: Pool) -> int:
        live = [instance for instance in fleet.instances_of(pool.name) if instance.live]
        share = int(len(live) * pool.spec.disruption.max_unavailable_percent / 100)
        allowed = max(pool.spec.disruption.max_unavailable, share)
        return allowed - sum(instance.condemned for instance in live)

    patch.setattr(budget, "at_once", at_once)


def a_snapshot_is_sorted(patch: pytest.MonkeyPatch) -> None:
    """A fleet read back from a snapshot had another order, and so decided otherwise."""
    patch.setattr(fleets, "_encoder", msgspec.json.Encoder(order="deterministic"))


def a_wish_that_is_not_met_is_taken_back(patch: pytest.MonkeyPatch) -> None:
    """In a stock-out, an autoscaler that knew nothing "stayed" at the nodes that were there."""
    original = target.pool_state

    def pool_state(fleet: Fleet, pool: Pool, metrics: PoolMetrics, now: datetime) -> PoolState:
        current = capacity.count(fleet, pool).current
        return replace(original(fleet, pool, metrics, now), current_nodes=current)

    patch.setattr(target, "pool_state", pool_state)


def an_older_drain_empties_a_node(patch: pytest.MonkeyPatch) -> None:
    """A late result of a drain from before it was called back ended a node that worked again."""

    def drained(_fleet: Fleet, command: Command) -> bool:
        return command.type is CommandType.DRAIN and command.state is CommandState.SUCCEEDED

    patch.setattr(fold_commands, "_is_emptied_by", drained)


def calling_back_uncordons(patch: pytest.MonkeyPatch) -> None:
    """A node that was called back took work again, though an operator had it drained."""
    original = capacity.called_back

    def called_back(
        fleet: Fleet, now: datetime, settings: Settings
    ) -> Iterator[ev.ReleaseRevoked | ev.CommandIssued]:
        willing = fleet.copy()
        for node in list(willing.nodes.values()):
            willing.put_node(replace(node, intent=Intent.IN_SERVICE))
        return original(willing, now, settings)

    patch.setattr(capacity, "called_back", called_back)


def an_older_success_forgives(patch: pytest.MonkeyPatch) -> None:
    """A machine asked for before its seller refused was found later, and ended the wait."""

    def forgive(fleet: Fleet, _: Instance, keys: list[str]) -> None:
        for key in keys:
            fleet.refusals.pop(key, None)

    patch.setattr(fold_refusals, "_forgive", forgive)


def a_late_answer_is_remembered_for_ever(patch: pytest.MonkeyPatch) -> None:
    """Every second answer to a termination left its key behind, when the machine was gone."""

    def observe_termination(
        machine: Machine, message: msg.TerminateAnswered, now: datetime
    ) -> None:
        action = Terminate(message.provider, message.ref, message.instance_id)
        machine.sightings.tried[action.key] = now

    patch.setattr(Machine, "_observe_termination", observe_termination)


def a_report_that_comes_twice_confirms_itself(patch: pytest.MonkeyPatch) -> None:
    """A report whose answer was lost was sent again, and counted as another one that agrees."""
    patch.setattr(interpret, "_is_sent_again", lambda *_: False)
    patch.setattr(Sightings, "has_said", lambda *_: False)


def what_is_drained_waits_for_room(patch: pytest.MonkeyPatch) -> None:
    """A machine was drained for its replacement, the pool grew to its maximum, and it stayed."""
    original = replacing._dispensable  # noqa: SLF001 - as above

    def dispensable(fleet: Fleet, pool: Pool) -> list[tuple[Instance, str]]:
        return [
            (instance, because)
            for instance, because in original(fleet, pool)
            if "in place" not in because
            or pool.spec.replace_in_place
            or replacing._gives_nothing(fleet, instance)  # noqa: SLF001 - as above
        ]

    patch.setattr(replacing, "_dispensable", dispensable)


def one_more_is_condemned_than_there_is_room_for(patch: pytest.MonkeyPatch) -> None:
    """The last room of a pool was given twice: a sick node was condemned and kept, in turns."""

    def spare_room(fleet: Fleet, pool: Pool) -> int:
        return pool.spec.max_nodes - capacity.count(fleet, pool).existing

    patch.setattr(beginning, "_spare_room", spare_room)


def an_expired_drain_is_not_given_again(patch: pytest.MonkeyPatch) -> None:
    """A repair waited for ever for a drain of which the agent had long heard the last."""
    patch.setattr(drain, "ordered_again", lambda *_: iter(()))


def a_word_is_told_that_nobody_wrote_down(patch: pytest.MonkeyPatch) -> None:
    """The workload manager kept a node closed that it was told to, by somebody who then died."""
    original = fold_repair.told

    def told(before: Node, event: fold_repair.WorkloadFact) -> Node:
        if isinstance(event, ev.WorkloadRefused):
            before = replace(before, telling=None)
        return original(before, event)

    patch.setattr(fold_repair, "told", told)


def any_refusal_takes_a_wish_back(patch: pytest.MonkeyPatch) -> None:
    """A node that was called back was drained for good, for the manager did not open it."""

    def is_wish(node: Node) -> bool:
        return node.workload is workload._WISHES.get(node.intent)  # noqa: SLF001 - as above

    patch.setattr(workload, "_is_wish", is_wish)


def a_report_that_comes_late_confirms_the_younger_ones(patch: pytest.MonkeyPatch) -> None:
    """A call that its agent had given up came in after younger ones, and counted once more."""
    patch.setattr(Sightings, "has_said", lambda *_: False)


def a_node_blames_the_gpu_of_another(patch: pytest.MonkeyPatch) -> None:
    """A machine that named the GPU of another in its reports had that one called a lemon."""
    original = ladder.hardware

    def hardware(_fleet: Fleet, node: Node) -> tuple[str, ...]:
        return original(Fleet(), node)

    patch.setattr(ladder, "hardware", hardware)


def a_machine_that_comes_back_is_open(patch: pytest.MonkeyPatch) -> None:
    """A machine of others, drained and forgotten, came back and was kept from work for ever."""
    patch.setattr(fold, "_remember_closed", lambda *_: None)


def what_is_taken_away_anyway_is_ended_before(patch: pytest.MonkeyPatch) -> None:
    """A sick machine was ended seconds before its seller took it, in the middle of its work."""
    original = replacing.replaced

    def replaced(
        fleet: Fleet, now: datetime, settings: Settings
    ) -> Iterator[ev.DrainBegun | ev.TerminationRequested | ev.CommandIssued]:
        unnoticed = fleet.copy()
        for instance in list(unnoticed.instances.values()):
            unnoticed.put_instance(replace(instance, interrupted_until=None))
        return original(unnoticed, now, settings)

    patch.setattr(replacing, "replaced", replaced)


def the_sick_are_called_back(patch: pytest.MonkeyPatch) -> None:
    """A sick machine that was drained was called back, and replaced at the next look."""

    def may_stay(fleet: Fleet, instance: Instance) -> bool:
        node = fleet.node_of(instance)
        wanted = instance.releasing and instance.live and not instance.interrupted
        return wanted and node is not None and node.connected

    patch.setattr(capacity, "_may_stay", may_stay)


RELAPSES: dict[Relapse, tuple[int, tuple[int, ...], str]] = {
    a_second_clean_report_is_a_repetition: (1, (), "unconverged"),
    a_replacement_takes_the_last_room: (77, (), "unsafe"),
    a_stranger_ends_when_it_was_heard_last: (11, (), "lost"),
    a_list_may_be_older_than_the_machine: (795, (), "unsafe"),
    a_node_lost_before_a_restart_is_silent_after_it: (3, (30, 42, 49, 87), "unsafe"),
    the_end_of_a_cut_condemns_the_last_ones: (12, (), "unsafe"),
    time_passes_while_we_are_away: (15, (), "unsafe"),
    the_budget_is_free_once_the_end_has_begun: (1, (), "unsafe"),
    a_snapshot_is_sorted: (0, (111,), "lost"),
    a_wish_that_is_not_met_is_taken_back: (7, (), "unsafe"),
    an_older_drain_empties_a_node: (145, (), "unsafe"),
    calling_back_uncordons: (107, (), "lost"),
    an_older_success_forgives: (3, (), "lost"),
    a_late_answer_is_remembered_for_ever: (0, (), "hoarded"),
    a_report_that_comes_twice_confirms_itself: (20, (), "unsafe"),
    what_is_drained_waits_for_room: (19, (), "unconverged"),
    one_more_is_condemned_than_there_is_room_for: (115, (), "opaque"),
    an_expired_drain_is_not_given_again: (1144, (), "unconverged"),
    a_word_is_told_that_nobody_wrote_down: (1, (), "lost"),
    any_refusal_takes_a_wish_back: (258, (), "lost"),
    a_report_that_comes_late_confirms_the_younger_ones: (1691, (), "unsafe"),
    a_node_blames_the_gpu_of_another: (320, (), "unsafe"),
    what_is_taken_away_anyway_is_ended_before: (9396, (), "unsafe"),
    the_sick_are_called_back: (9289, (10, 38, 54, 202), "opaque"),
    a_machine_that_comes_back_is_open: (4106, (81, 146, 153, 207), "lost"),
}
"""Each to a run (seed, crashes) that shows it, and as what."""

PLANS: dict[Relapse, Callable[[], Plan]] = {
    a_node_lost_before_a_restart_is_silent_after_it: sick_plans.restarts,
    what_is_drained_waits_for_room: sick_plans.a_full_pool,
    a_word_is_told_that_nobody_wrote_down: sick_plans.a_moody_scheduler,
}
"""What happens in those runs that would have to be looked for among very many seeds."""


@pytest.mark.parametrize("relapse", RELAPSES, ids=lambda relapse: relapse.__name__)
def test_a_fault_that_was_found_stays_away(
    relapse: Relapse, monkeypatch: pytest.MonkeyPatch
) -> None:
    seed, crashes, kind = RELAPSES[relapse]
    plan = PLANS[relapse]() if relapse in PLANS else None
    World(seed, plan, crashes=crashes).run()
    relapse(monkeypatch)
    with pytest.raises(Failed) as caught:
        World(seed, plan, crashes=crashes).run()
    assert caught.value.kind == kind
