"""Deciding: the whole state is looked at, and every wish is a fact with its reason.

Level-triggered: what woke us does not matter. The stages below come in the order of their
dependence; each sees the facts of those before it. Deciding changes nothing, and deciding again
right after folding its own facts yields nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime

from navarch.core import (
    capacity,
    drain,
    fold,
    health,
    interruption,
    inventory,
    lifecycle,
    liveness,
    purchase,
    workload,
)
from navarch.core.model import events as ev
from navarch.core.model.fleet import Fleet
from navarch.core.model.sightings import Sightings
from navarch.core.repair import beginning, breaker, in_place, replacing
from navarch.core.scaling import target
from navarch.core.serving import balance, conditions, gangs, preloading, upkeep
from navarch.core.strategies import Strategies

Stage = Callable[[Fleet, Sightings, datetime, Strategies], Iterator[ev.Fact]]

STAGES: tuple[Stage, ...] = (
    lambda fleet, seen, now, how: liveness.lost(fleet, seen, now, how.settings),
    lambda fleet, seen, now, how: health.gathered(fleet, seen, now, how.settings),
    lambda fleet, _seen, now, how: health.judge(fleet, now, how.policy, how.settings),
    lambda fleet, _seen, now, how: lifecycle.overdue(fleet, now, how.settings),
    lambda fleet, _seen, now, how: lifecycle.unanswered(fleet, now, how.settings),
    lambda fleet, _seen, now, _how: lifecycle.retired(fleet, now),
    lambda fleet, _seen, now, _how: lifecycle.settled_commands(fleet, now),
    lambda fleet, _seen, now, how: interruption.leaving(fleet, now, how.settings),
    lambda fleet, seen, now, how: inventory.condemned_orphans(fleet, seen, now, how.settings),
    lambda fleet, seen, now, _how: target.targets(fleet, seen, now),
    lambda fleet, _seen, now, how: replacing.reprieved(fleet, now, how.settings),
    lambda fleet, _seen, now, how: capacity.called_back(fleet, now, how.settings),
    lambda fleet, seen, now, how: capacity.surplus(fleet, seen, now, how.settings),
    lambda fleet, _seen, now, how: capacity.released(fleet, now, how.settings),
    lambda fleet, _seen, now, how: drain.ordered_again(fleet, now, how.settings),
    lambda fleet, _seen, now, how: in_place.advanced(fleet, now, how.settings),
    lambda fleet, _seen, now, how: breaker.turns(fleet, now, how.settings),
    lambda fleet, seen, now, how: beginning.begun(fleet, seen, now, how.settings),
    lambda fleet, _seen, now, how: capacity.called_back(fleet, now, how.settings),
    lambda fleet, _seen, now, how: breaker.turns(fleet, now, how.settings),
    lambda fleet, _seen, now, how: replacing.replaced(fleet, now, how.settings),
    lambda fleet, seen, now, how: purchase.launches(fleet, seen, now, how.settings, how.rankers),
    lambda fleet, _seen, now, how: workload.chosen(fleet, now, how.settings),
    lambda fleet, _seen, now, _how: upkeep.displaced(fleet, now),
    lambda fleet, _seen, now, how: gangs.parted(fleet, now, how.settings),
    lambda fleet, _seen, now, how: balance.balanced(fleet, now, how.settings),
    lambda fleet, seen, now, how: upkeep.ordered(fleet, seen, now, how.settings),
    lambda fleet, seen, now, how: preloading.preloaded(fleet, seen, now, how.settings),
    lambda fleet, _seen, now, how: upkeep.forgotten(fleet, now, how.settings),
    lambda fleet, _seen, now, how: lifecycle.forgotten(fleet, now, how.settings),
    lambda fleet, _seen, now, _how: conditions.changed(fleet, now),
)


def decide(
    fleet: Fleet, sightings: Sightings, now: datetime, strategies: Strategies
) -> list[ev.Fact]:
    """Say what we want, given everything known. Cost: O(pools × instances + nodes)."""
    plan = fleet
    facts: list[ev.Fact] = []
    for stage in STAGES:
        wanted = list(stage(plan, sightings, now, strategies))
        if not wanted:
            continue
        if plan is fleet:
            plan = fleet.copy()
        for fact in wanted:
            fold.apply(plan, fact)
        facts += wanted
    return facts
