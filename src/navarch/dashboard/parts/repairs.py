"""What repair may do in a pool, what it waits for, and how its breaker stands."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from itertools import chain
from typing import Final

from msgspec import Struct

from navarch.core.model.finding import Remedy
from navarch.core.model.fleet import Fleet
from navarch.core.model.instance import InstanceState
from navarch.core.model.pool import Pool
from navarch.core.model.sightings import Sightings
from navarch.core.repair import beginning, breaker, budget, candidates
from navarch.core.settings import Settings
from navarch.dashboard.past.decisions import Decision

WAITING_MAX: Final = 50
"""Nodes that wait for repair and are named."""


class Waiting(Struct):
    """A node that ought to be repaired, and is not yet."""

    node: str
    remedy: str
    """What is due: ``reset_gpu``, ``reboot``, ``replace`` or ``inspect``."""
    because: str
    """What stands in the way; empty: it is begun at the next look."""


class Budget(Struct):
    """How many nodes a pool may lose to repair."""

    at_once: int
    """At one time."""
    used: int
    """How many are being repaired or replaced."""
    per_zone: int
    """At one time in one zone; 0: as many as in the pool."""
    per_hour: int
    """Within any hour."""
    this_hour: int
    """How many were begun within the last hour."""
    because: str
    """One sentence: how much room there is."""
    auto_replace: bool
    dry_run: bool
    ladder: list[str]
    waiting: list[Waiting]
    left_out: int
    """Nodes that wait and are not named."""


class Breaker(Struct):
    """Whether repair works at all."""

    state: str
    """``closed``: it does; ``open``: it does not; ``half_open``: one node at a time is tried."""
    because: str
    """Why it was opened; empty while it is closed."""
    since: datetime | None
    """Since when it is as it is; null: not known."""
    acknowledged: bool
    """Whether somebody has looked."""
    tolerated: int
    """Troubled nodes that are accepted while one repair is tried."""
    then: str
    """What would move it next."""


def budget_of(
    fleet: Fleet, sightings: Sightings, pool: Pool, now: datetime, settings: Settings
) -> Budget:
    """Say how much of its budget a pool has left, and who waits for it. Cost: O(instances)."""
    spec, disruption = pool.spec, pool.spec.disruption
    instances = fleet.instances_of(pool.name)
    running = sum(each.state is InstanceState.RUNNING for each in instances)
    at_once = budget.allowed(pool, running)
    left, hour_left = budget.at_once(fleet, pool), budget.this_hour(pool, now)
    waiting = list(_waiting(fleet, sightings, pool, now, settings))
    return Budget(
        at_once=at_once,
        used=at_once - left,
        per_zone=disruption.max_unavailable_per_zone,
        per_hour=disruption.max_replacements_per_hour,
        this_hour=disruption.max_replacements_per_hour - hour_left,
        because=(
            f"{max(left, 0)} more may be taken on now, {max(hour_left, 0)} more within the hour"
        ),
        auto_replace=spec.auto_replace,
        dry_run=spec.dry_run,
        ladder=[each.value for each in spec.ladder],
        waiting=waiting[:WAITING_MAX],
        left_out=max(len(waiting) - WAITING_MAX, 0),
    )


def _waiting(
    fleet: Fleet, sightings: Sightings, pool: Pool, now: datetime, settings: Settings
) -> Iterator[Waiting]:
    everyone = chain(candidates.lost(fleet), candidates.sick(fleet), candidates.distrusted(fleet))
    told: set[str] = set()
    for node in everyone:
        if node.pool != pool.name or node.id in told:
            continue
        told.add(node.id)
        rung = beginning.due(fleet, pool, node, now, settings)
        if rung is Remedy.NONE:
            yield Waiting(node.id, rung.value, "nothing is due: repair may not do it here")
            continue
        because = beginning.obstacle(fleet, sightings, node, now, settings)
        if not because and pool.spec.dry_run:
            because = f"pool {pool.name} is a dry run: repair only says what it would do"
        if not because and rung is Remedy.INSPECT:
            because = node.handed_over or "a person has to look"
        because = because or candidates.over_budget(fleet, pool, node, now)
        yield Waiting(node.id, rung.value, because)


def breaker_of(pool: Pool, decisions: list[Decision], settings: Settings) -> Breaker:
    """Say how a pool's breaker stands; `decisions` are the newest that are known of it."""
    turns = [each for each in decisions if each.kind == "breaker"]
    if not pool.brake_because:
        then = "opens when so many nodes are silent or ill together that it is no chance"
        since = turns[-1].at if turns else None
        return Breaker("closed", "", since, acknowledged=False, tolerated=0, then=then)
    halted = [each.at for each in turns if each.title.startswith("breaker opened")]
    if breaker.half_open(pool):
        patience = settings.silence_max.total_seconds()
        then = (
            f"closes when one repair goes well, or nothing is wrong for {patience:.0f} s; opens "
            "again when more is"
        )
        state, since = "half_open", pool.brake_half_open_at
    elif pool.brake_acknowledged:
        then = "one repair is tried at the next look: somebody has acknowledged it"
        state, since = "open", halted[-1] if halted else None
    else:
        then = "waits until the nodes are well again, or somebody acknowledges that they looked"
        state, since = "open", halted[-1] if halted else None
    return Breaker(
        state,
        pool.brake_because,
        since,
        acknowledged=pool.brake_acknowledged,
        tolerated=pool.brake_tolerated,
        then=then,
    )
