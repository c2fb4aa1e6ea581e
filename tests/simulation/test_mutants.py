"""Rules that are broken on purpose: the sweep has to find each one, or it proves nothing.

A mutant replaces one function of the core. Each says within how many seeds it must be found; the
core as it is passes the very same runs: they are among those of `test_crash_sweep`, which says so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta

import pytest
from msgspec.structs import replace

from navarch.core import (
    capacity,
    drain,
    fold,
    fold_refusals,
    interpret,
    inventory,
    lifecycle,
    liveness,
    owed,
    purchase,
)
from navarch.core.interpret import Learned
from navarch.core.model import events as ev
from navarch.core.model import messages as msg
from navarch.core.model.fleet import Fleet
from navarch.core.model.instance import Instance, InstanceState
from navarch.core.model.messages import Machine
from navarch.core.model.node import Intent
from navarch.core.model.offer import Offer, Refusals
from navarch.core.model.pool import Pool
from navarch.core.model.sightings import Recommendation, Sightings
from navarch.core.repair import beginning, breaker, candidates, replacing
from navarch.core.scaling import limits, target
from navarch.core.selection import memory
from navarch.core.settings import Settings
from navarch.errors import QuotaScope
from simulation.sweeping import first_failure

POINTS = 12
"""Ways to crash for each seed."""

Mutate = Callable[[pytest.MonkeyPatch], None]


def match_by_provider_id(patch: pytest.MonkeyPatch) -> None:
    """Rule 2: machines are ours by our id."""

    def machine_of(instance: Instance, candidates: Sequence[Machine]) -> Machine | None:
        return next((each for each in candidates if each.ref == instance.ref), None)

    patch.setattr(inventory, "_machine_of", machine_of)


def forget_what_was_under_way(patch: pytest.MonkeyPatch) -> None:
    """Rule 3: after a restart the outcome of every launch under way is unknown."""

    def resume(fleet: Fleet, event: ev.Resumed) -> None:
        fleet.resumed_at = event.at

    patch.setattr(fold, "_resume", resume)


def repeat_without_looking(patch: pytest.MonkeyPatch) -> None:
    """Rule 3: a launch with an unknown outcome is looked up before it is repeated."""

    def owes_launch(instance: Instance) -> bool:
        return instance.state is InstanceState.PROVISIONING and not instance.ref

    patch.setattr(owed, "_owes_launch", owes_launch)


def believe_the_list_alone(patch: pytest.MonkeyPatch) -> None:
    """Rule 4: a machine is written off only if it is silent, too."""
    patch.setattr(inventory, "_is_silent", lambda *_: True)


def believe_the_silence_alone(patch: pytest.MonkeyPatch) -> None:
    """Rule 4: a silent node is condemned only with the provider's list at hand."""
    patch.setattr(candidates, "unwitnessed", lambda *_: "")


def orphan_at_first_sight(patch: pytest.MonkeyPatch) -> None:
    """Rule 4: an orphan must be seen in two inventories."""
    original = inventory.condemned_orphans

    def hasty(
        fleet: Fleet, sightings: Sightings, now: datetime, settings: Settings
    ) -> Iterator[ev.OrphanCondemned]:
        yield from original(fleet, sightings, now, replace(settings, witness_gap=timedelta()))

    patch.setattr(inventory, "condemned_orphans", hasty)


def take_a_restart_for_an_outage(patch: pytest.MonkeyPatch) -> None:
    """Rule 5: silence is counted anew after a restart."""
    patch.setattr(liveness, "counting_since", lambda _fleet: None)


def never_brake(patch: pytest.MonkeyPatch) -> None:
    """Rule 5: a silent majority is our network, not their hardware."""
    patch.setattr(breaker, "turns", lambda *_: iter(()))


def uncordon_by_registering(patch: pytest.MonkeyPatch) -> None:
    """Rule 7: registering again changes none of intent and verdict."""
    original = fold._register  # noqa: SLF001 - a mutant replaces the inside of the core

    def register(fleet: Fleet, event: ev.NodeRegistered) -> None:
        original(fleet, event)
        node = fleet.nodes[event.node_id]
        fleet.nodes[node.id] = replace(node, intent=Intent.IN_SERVICE)

    patch.setattr(fold, "_register", register)


def count_no_booting_machine(patch: pytest.MonkeyPatch) -> None:
    """Booting instances count as current nodes."""
    original = capacity.count

    def count(fleet: Fleet, pool: Pool) -> capacity.Count:
        counted = original(fleet, pool)
        current = fleet.current_of(pool.name)
        running = sum(each.state is InstanceState.RUNNING for each in current)
        return replace(counted, current=running)

    patch.setattr(capacity, "count", count)


def end_before_buying(patch: pytest.MonkeyPatch) -> None:
    """A replacement is bought, and serves, before the lost node is ended."""
    patch.setattr(replacing, "_replaced_because", lambda *_: "nobody likes to wait")


def spend_without_budget(patch: pytest.MonkeyPatch) -> None:
    """Repair works inside a budget."""
    patch.setattr(beginning, "_take", lambda *_: True)


def end_without_draining(patch: pytest.MonkeyPatch) -> None:
    """A machine that is too many is drained before it is ended."""
    patch.setattr(drain, "over_because", lambda *_: "nobody likes to wait")


def buy_before_calling_back(patch: pytest.MonkeyPatch) -> None:
    """A machine that is being drained is called back before another one is bought."""
    patch.setattr(capacity, "called_back", lambda *_: iter(()))


def ask_again_at_once(patch: pytest.MonkeyPatch) -> None:
    """Who refused a moment ago is left alone for a while."""
    patch.setattr(memory, "blocked_until", lambda *_: None)


def never_ask_again(patch: pytest.MonkeyPatch) -> None:
    """One refusal never jams a pool."""
    patch.setattr(memory, "wait", lambda *_: timedelta(days=1))


def forgive_everybody(patch: pytest.MonkeyPatch) -> None:
    """A success elsewhere never erases another's memory."""
    patch.setattr(fold_refusals, "_forgive", lambda fleet, *_: fleet.refusals.clear())


def trust_a_half_made_machine(patch: pytest.MonkeyPatch) -> None:
    """A refusal is heard although a list has shown the machine meanwhile."""
    original = interpret._launch_refused  # noqa: SLF001 - as above

    def launch_refused(
        fleet: Fleet, instance: Instance, message: msg.LaunchRefused, now: datetime
    ) -> Learned:
        return () if instance.ref else original(fleet, instance, message, now)

    patch.setattr(interpret, "_launch_refused", launch_refused)


def forget_who_never_spoke(patch: pytest.MonkeyPatch) -> None:
    """A machine that was gone before its agent spoke is held against its offer."""
    patch.setattr(fold_refusals, "vanished", lambda *_: None)


def block_all_for_one_quota(patch: pytest.MonkeyPatch) -> None:
    """A quota keeps from what it counts, and from nothing else of its provider."""
    patch.setattr(QuotaScope, "covers", lambda *_, **__: True)


def overlook_quotas_of_a_part(patch: pytest.MonkeyPatch) -> None:
    """What a used-up quota counts is left alone."""

    def held_against(fleet: Fleet, offer: Offer) -> Iterator[tuple[str, Refusals]]:
        known = ((key, fleet.refusals.get(key)) for key in (offer.provider, offer.key))
        return ((key, refusals) for key, refusals in known if refusals is not None)

    patch.setattr(memory, "held_against", held_against)


def pass_over_in_silence(patch: pytest.MonkeyPatch) -> None:
    """The reason of a launch names whom it was preferred to."""
    patch.setattr(purchase, "_because", lambda _ranker, best, *_: f"{best}, of course")


def take_absent_for_zero(patch: pytest.MonkeyPatch) -> None:
    """Rule 10: absent, stale and zero are three different readings."""
    patch.setattr(limits, "flaw", lambda *_: "")


def believe_any_number(patch: pytest.MonkeyPatch) -> None:
    """Targets stay within the limits of their pools, whatever autoscalers say."""

    def within_limits(pool: Pool, word: Recommendation) -> tuple[int, str]:
        return word.target + pool.spec.max_nodes, word.reason

    patch.setattr(target, "within_limits", within_limits)


def repeat_an_old_word(patch: pytest.MonkeyPatch) -> None:
    """An operator's later word stands until the autoscaler has spoken again."""
    patch.setattr(target, "_is_news", lambda *_: True)


def keep_every_record(patch: pytest.MonkeyPatch) -> None:
    """Records that ended are forgotten after a while."""
    patch.setattr(lifecycle, "forgotten", lambda *_: iter(()))


MUTANTS: dict[Mutate, tuple[int, frozenset[str]]] = {
    match_by_provider_id: (8, frozenset({"doubled", "leaked", "unsafe"})),
    forget_what_was_under_way: (8, frozenset({"doubled"})),
    repeat_without_looking: (8, frozenset({"doubled"})),
    believe_the_list_alone: (16, frozenset({"lost", "unsafe"})),
    believe_the_silence_alone: (16, frozenset({"unsafe"})),
    orphan_at_first_sight: (16, frozenset({"unsafe"})),
    take_a_restart_for_an_outage: (8, frozenset({"unsafe"})),
    never_brake: (16, frozenset({"unsafe"})),
    uncordon_by_registering: (16, frozenset({"lost"})),
    count_no_booting_machine: (3, frozenset({"unsafe"})),
    end_before_buying: (16, frozenset({"unsafe"})),
    spend_without_budget: (24, frozenset({"unsafe"})),
    end_without_draining: (16, frozenset({"opaque", "unsafe"})),
    buy_before_calling_back: (24, frozenset({"unsafe"})),
    ask_again_at_once: (8, frozenset({"unsafe"})),
    never_ask_again: (8, frozenset({"unconverged"})),
    forgive_everybody: (24, frozenset({"lost", "unsafe"})),
    trust_a_half_made_machine: (24, frozenset({"lost"})),
    forget_who_never_spoke: (24, frozenset({"lost", "unsafe"})),
    block_all_for_one_quota: (24, frozenset({"lost", "unsafe"})),
    overlook_quotas_of_a_part: (24, frozenset({"unsafe"})),
    pass_over_in_silence: (24, frozenset({"opaque"})),
    take_absent_for_zero: (24, frozenset({"unsafe"})),
    believe_any_number: (8, frozenset({"unsafe"})),
    repeat_an_old_word: (24, frozenset({"unsafe"})),
    keep_every_record: (8, frozenset({"hoarded"})),
}
"""Each to the seeds within which it must be found, and what it must be found as."""


@pytest.mark.parametrize("mutate", MUTANTS, ids=lambda mutate: mutate.__name__)
def test_a_broken_rule_is_found(mutate: Mutate, monkeypatch: pytest.MonkeyPatch) -> None:
    seeds, kinds = MUTANTS[mutate]
    mutate(monkeypatch)
    failed = first_failure(range(seeds), POINTS)
    assert failed is not None
    assert failed.kind in kinds
