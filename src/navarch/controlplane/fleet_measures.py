"""The measures that tell how a fleet does: pools, purchases, health, and what it costs.

What is counted of nodes and machines is counted elsewhere, as they change; a scrape costs
O(pools), and O(nodes that changed since the last one).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from functools import partial
from itertools import islice, product
from typing import Final

from navarch.controlplane.accounts import Accounts
from navarch.controlplane.census import Mark
from navarch.controlplane.described import BOOT_BOUNDS, CALL_BOUNDS
from navarch.controlplane.measures import (
    Histograms,
    Measures,
    Names,
    Series,
    Values,
    by,
    from_zero,
    ordered,
)
from navarch.controlplane.runtime import Runtime
from navarch.controlplane.serving import ServingPlane
from navarch.controlplane.signal_ages import ages_of
from navarch.controlplane.tally import ERRORS, OUTCOMES, REPAIRS
from navarch.controlplane.timings import CALLS
from navarch.core.model.fleet import Fleet
from navarch.core.model.pool import TROUBLE_MEMORY, Pool
from navarch.core.repair import breaker, budget
from navarch.core.serving import balance
from navarch.plugins.histograms import Histogram
from navarch.wire.listing import Listing

AGENT_POOLS_MAX: Final = 200
"""Pools of agents that have series of their own; the others are one together."""

MARKS: Final = {
    "navarch_pool_booting_nodes": Mark.BOOTING,
    "navarch_pool_healthy_nodes": Mark.HEALTHY,
    "navarch_pool_degraded_nodes": Mark.DEGRADED,
    "navarch_pool_unhealthy_nodes": Mark.UNHEALTHY,
    "navarch_pool_lost_nodes": Mark.LOST,
    "navarch_pool_handed_over_nodes": Mark.HANDED_OVER,
}
"""What is counted of the machines of a pool as it stands."""


class Settled:
    """Shows the numbers of a fleet as they were when all of it was in the journal."""

    def __init__(self, measures: Measures, runtime: Callable[[], Runtime]) -> None:
        """Show them among `measures`."""
        self.measures = measures
        self._runtime = runtime

    def many(self, name: str, read: Callable[[], Series]) -> None:
        """Have numbers shown by their labels; while facts are written, those of before."""
        kept: list[tuple[Values, float]] = []

        def told() -> Series:
            nonlocal kept
            if self._runtime().is_settled:
                kept = list(read())
            return kept

        self.measures.many(name, told)


class Fleets:
    """Numbers of pools."""

    def __init__(self, runtime: Callable[[], Runtime], accounts: Accounts) -> None:
        """Read them here."""
        self._runtime = runtime
        self.accounts = accounts

    @property
    def fleet(self) -> Fleet:
        """All there is."""
        return self._runtime().machine.fleet

    @property
    def now(self) -> datetime:
        """The present."""
        return self._runtime().clock.now()

    def labels(self) -> set[str]:
        """The labels of all pools."""
        return {self.accounts.pools.label(name) for name in sorted(self.fleet.pools)}

    def pools(self, number: Callable[[Pool], float]) -> Series:
        """Give a number of each pool; those without a series of their own are added up."""
        counts: dict[str, float] = {}
        for name, pool in sorted(self.fleet.pools.items()):
            label = self.accounts.pools.label(name)
            counts[label] = counts.get(label, 0) + number(pool)
        return [((label,), count) for label, count in counts.items()]

    def marked(self, mark: Mark) -> Series:
        """Give of each pool for how many machines something holds; nothing where we do not lead."""
        census = self.accounts.census
        if census is None:
            return ()
        counts: Counter[str] = Counter()
        for name in sorted({"", *self.fleet.pools} if census.count("", mark) else self.fleet.pools):
            counts[self.accounts.pools.label(name)] += census.count(name, mark)
        return [((pool,), count) for pool, count in counts.items()]

    def allowed(self) -> Series:
        """Give the disruption budget of each pool."""
        census = self.accounts.census
        if census is None:
            return ()
        return self.pools(lambda pool: budget.allowed(pool, census.count(pool.name, Mark.RUNNING)))

    def used(self) -> Series:
        """Give how much of it is used."""
        census = self.accounts.census
        if census is None:
            return ()
        busy = (Mark.CONDEMNED, Mark.REPAIRING)
        return self.pools(lambda pool: sum(census.count(pool.name, mark) for mark in busy))


def measure_fleet(
    measures: Measures,
    runtime: Callable[[], Runtime],
    listing: Listing,
    accounts: Accounts,
    serving: ServingPlane,
    sellers: Callable[[], Iterable[str]],
) -> None:
    """Show all measures of a fleet; `sellers` are the providers of the configuration."""

    def providers() -> list[str]:
        return sorted({accounts.tally.providers.label(each) for each in sellers()})

    fleets = Fleets(runtime, accounts)
    settled = Settled(measures, runtime)
    settled.many("navarch_nodes", lambda: _nodes(fleets, listing))
    settled.many("navarch_instances", lambda: _awaited(fleets.fleet))
    settled.many(
        "navarch_instances_oldest_seconds", lambda: _oldest(fleets.fleet, runtime().clock.now())
    )
    _pools(settled, fleets)
    _scaling(measures, fleets)
    _providers(measures, runtime, accounts, providers)
    _health(settled, fleets)
    _cost(measures, fleets)
    _replicas(settled, fleets, lambda names: ages_of(serving.samples, names, runtime().clock.now()))


def _nodes(fleets: Fleets, listing: Listing) -> Series:
    """Count nodes by pool and status. Cost: O(nodes that changed since the last time + groups)."""
    counts: Counter[Values] = Counter()
    fleet, names = fleets.fleet, fleets.accounts.pools
    for group, count in listing.roster(fleet).counts().items():
        pool = names.label(group.pool if group.pool in fleet.pools else "")
        counts[pool, group.status.value] += count
    return ordered(counts)


def _awaited(fleet: Fleet) -> Series:
    return by(
        {
            "registration": len(fleet.booting),
            "end": len(fleet.ending),
            "certainty": len(fleet.uncertain),
            "replacement": len(fleet.condemned),
            "interruption": len(fleet.interrupted),
            "release": len(fleet.releasing),
        }
    )


OLDEST_MAX: Final = 1_000
"""Machines among which the oldest is looked for, those that wait longest by their order."""


def _oldest(fleet: Fleet, now: datetime) -> Series:
    """Give for how long the oldest machine waits; 0 where none does."""
    since: dict[str, tuple[Iterable[str], str]] = {
        "registration": (fleet.booting, "requested_at"),
        "end": (fleet.ending, "terminating_since"),
        "certainty": (fleet.uncertain, "uncertain_since"),
        "replacement": (fleet.condemned, "condemned_at"),
        "interruption": (fleet.interrupted, "interrupted_at"),
        "release": (fleet.releasing, "releasing_since"),
    }
    ages: dict[str, float] = {}
    for word, (ids, field) in since.items():
        found = (getattr(fleet.instances[id_], field) for id_ in islice(ids, OLDEST_MAX))
        oldest = min((at for at in found if at is not None), default=now)
        ages[word] = max((now - oldest).total_seconds(), 0.0)
    return by(ages)


def _pools(measures: Settled, fleets: Fleets) -> None:
    def current(pool: Pool) -> int:
        return len(fleets.fleet.current.get(pool.name, ()))

    def failures(pool: Pool) -> int:
        remembered = pool.failed_at is not None and fleets.now - pool.failed_at < TROUBLE_MEMORY
        return pool.failures if remembered else 0

    numbers: dict[str, Callable[[Pool], float]] = {
        "navarch_pool_target_nodes": lambda pool: pool.target,
        "navarch_pool_current_nodes": current,
        "navarch_pool_min_nodes": lambda pool: pool.spec.min_nodes,
        "navarch_pool_max_nodes": lambda pool: pool.spec.max_nodes,
        "navarch_pool_paused": lambda pool: pool.paused,
        "navarch_pool_launch_failures": failures,
    }
    for name, number in numbers.items():
        measures.many(name, partial(fleets.pools, number))
    for name, mark in MARKS.items():
        measures.many(name, partial(fleets.marked, mark))


def _scaling(measures: Measures, fleets: Fleets) -> None:
    accounts = fleets.accounts
    measures.many(
        "navarch_pool_utilization_ratio",
        lambda: [
            ((pool,), busy.utilization / 100 / busy.gpus)
            for pool, busy in sorted(accounts.usage.busy.items())
        ],
    )
    measures.many("navarch_pool_demand_jobs", accounts.signals.jobs)
    measures.many("navarch_signal_age_seconds", accounts.signals.ages)
    measures.many("navarch_signal_failures_total", lambda: ordered(accounts.signals.failures))
    measures.many(
        "navarch_scaling_decisions_total",
        lambda: from_zero(accounts.tally.scalings, product(fleets.labels(), ("down", "up"))),
    )


def _providers(
    measures: Measures,
    runtime: Callable[[], Runtime],
    accounts: Accounts,
    providers: Callable[[], list[str]],
) -> None:
    no_boots, no_calls = Histogram(BOOT_BOUNDS), Histogram(CALL_BOUNDS)

    def calls() -> Histograms:
        counted: dict[Values, Histogram] = dict.fromkeys(product(providers(), CALLS), no_calls)
        counted.update(runtime().effects.calls.durations)
        return sorted(counted.items())

    def boots() -> Histograms:
        counted: dict[Values, Histogram] = dict.fromkeys(product(providers()), no_boots)
        counted.update(accounts.tally.boots)
        return sorted(counted.items())

    measures.many(
        "navarch_provisions_total",
        lambda: from_zero(accounts.tally.provisions, product(providers(), OUTCOMES)),
    )
    measures.many(
        "navarch_interruptions_total",
        lambda: from_zero(accounts.tally.interruptions, product(providers())),
    )
    measures.many(
        "navarch_provider_call_failures_total",
        lambda: from_zero(runtime().effects.calls.failures, product(providers(), CALLS, ERRORS)),
    )
    measures.histograms("navarch_provider_call_duration_seconds", calls)
    measures.histograms("navarch_boot_duration_seconds", boots)


def _health(measures: Settled, fleets: Fleets) -> None:
    accounts = fleets.accounts
    measures.many("navarch_health_verdicts_total", lambda: ordered(accounts.tally.verdicts))
    measures.many(
        "navarch_nodes_lost_total",
        lambda: from_zero(accounts.tally.lost, product(fleets.labels())),
    )
    measures.many("navarch_repairs_total", lambda: from_zero(accounts.tally.repairs, REPAIRS))
    measures.many("navarch_disruption_budget_nodes", fleets.allowed)
    measures.many("navarch_disruption_budget_used_nodes", fleets.used)
    measures.many(
        "navarch_disruption_budget_hour_left_nodes",
        lambda: fleets.pools(lambda pool: max(budget.this_hour(pool, fleets.now), 0)),
    )
    measures.many("navarch_breaker_open", lambda: fleets.pools(_is_open))
    measures.many("navarch_breaker_half_open", lambda: fleets.pools(breaker.half_open))


def _is_open(pool: Pool) -> bool:
    return bool(pool.brake_because) and not breaker.half_open(pool)


def _cost(measures: Measures, fleets: Fleets) -> None:
    accounts = fleets.accounts

    def uses() -> Iterator[tuple[tuple[str, ...], float]]:
        for pool, spent in sorted(accounts.usage.gpu_seconds.items()):
            for use in ("good", "idle", "lost", "unknown"):
                yield (pool, use), getattr(spent, use)

    def unpriced() -> Series:
        found = Counter(accounts.usage.rates()[1])
        pools = fleets.labels() | found.keys()
        return [((pool,), found[pool]) for pool in sorted(pools)] if accounts.census else ()

    measures.many("navarch_gpu_seconds_total", uses)
    measures.many("navarch_cost_dollars_total", lambda: ordered(accounts.usage.dollars))
    measures.many("navarch_pool_cost_dollars_per_hour", lambda: by(accounts.usage.rates()[0]))
    measures.many("navarch_pool_unpriced_nodes", unpriced)


def _replicas(measures: Settled, fleets: Fleets, ages: Callable[[Names], Series]) -> None:
    names = Names(AGENT_POOLS_MAX)

    def states() -> Series:
        placed = sum(map(len, fleets.fleet.replicas_on.values()))
        return by({"pending": len(fleets.fleet.replicas_pending), "placed": placed})

    def of_pools(counts: Iterator[tuple[str, int]]) -> Series:
        added: Counter[str] = Counter()
        for pool, count in counts:
            added[names.label(pool)] += count
        return [((pool,), count) for pool, count in sorted(added.items())]

    def pending() -> Iterator[tuple[str, int]]:
        fleet = fleets.fleet
        yield from ((pool, 0) for pool, _ in balance.targets(fleet))
        yield from ((fleet.replicas[id_].agent_pool, 1) for id_ in fleet.replicas_pending)

    measures.many("navarch_replicas", states)
    measures.many(
        "navarch_agent_pool_replicas",
        lambda: of_pools((name, len(ids)) for name, ids in fleets.fleet.replicas_of.items()),
    )
    measures.many(
        "navarch_agent_pool_target_replicas", lambda: of_pools(balance.targets(fleets.fleet))
    )
    measures.many("navarch_agent_pool_pending_replicas", lambda: of_pools(pending()))
    measures.many("navarch_agent_pool_signal_age_seconds", lambda: ages(names))
