"""Rules of health and repair that are broken on purpose: the sweep has to find each one.

As in `test_mutants`; the core as it is passes the very same runs in `test_crash_sweep`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from types import SimpleNamespace

import pytest
from msgspec.structs import replace

from navarch.core import concluding, fold, workload
from navarch.core.judging import Match
from navarch.core.model import events as ev
from navarch.core.model.finding import Finding, Remedy
from navarch.core.model.fleet import Fleet
from navarch.core.model.node import Node
from navarch.core.model.pool import Pool
from navarch.core.model.report import Health
from navarch.core.repair import (
    breaker,
    budget,
    candidates,
    in_place,
    ladder,
    replacing,
)
from navarch.core.settings import Settings
from navarch.simulator.faults import Plan
from simulation.sick_plans import a_moody_scheduler, crowded_zones, lemons, long_reboots
from simulation.sweeping import first_failure

POINTS = 6
"""Ways to crash for each seed."""

SEEDS = 40
"""Seeds within which each has to be found."""

Mutate = Callable[[pytest.MonkeyPatch], None]

HASTY = SimpleNamespace(over_because=lambda *_: "nobody likes to wait")


def never_open_the_breaker(patch: pytest.MonkeyPatch) -> None:
    """Many in trouble together are no reason to repair many."""
    patch.setattr(breaker, "turns", lambda *_: iter(()))


def let_all_through_when_half_open(patch: pytest.MonkeyPatch) -> None:
    """After trouble one repair is tried, and what comes of it decides."""
    patch.setattr(breaker, "half_open", lambda _pool: False)


def forgive_debts(patch: pytest.MonkeyPatch) -> None:
    """Clean reports do not end what lasts."""
    original = concluding.kept

    def kept(findings: Sequence[Finding], now: datetime, *, healed: bool) -> tuple[Finding, ...]:
        passing = [replace(finding, lasting=False) for finding in findings]
        return original(passing, now, healed=healed)

    patch.setattr(concluding, "kept", kept)


def repair_for_applications(patch: pytest.MonkeyPatch) -> None:
    """What applications do repairs no machine."""
    original = concluding._finding  # noqa: SLF001 - as above

    def finding(match: Match, number: int, now: datetime) -> Finding:
        if match.remedy is Remedy.RESTART_APP:
            match = replace(match, status=Health.UNHEALTHY, remedy=Remedy.RESET_GPU, lasting=True)
        return original(match, number, now)

    patch.setattr(concluding, "_finding", finding)


def ignore_the_driver(patch: pytest.MonkeyPatch) -> None:
    """The driver's own verdict settles what came before it."""
    patch.setattr(concluding, "_settle", lambda *_: None)


def act_on_one_report(patch: pytest.MonkeyPatch) -> None:
    """A verdict is confirmed by as many reports as its pool demands."""
    patch.setattr(candidates, "unconfirmed", lambda *_: "")


def replace_without_draining(patch: pytest.MonkeyPatch) -> None:
    """Whatever runs on a sick machine ends before the machine does."""
    patch.setattr(replacing, "drain", HASTY)


def reset_without_draining(patch: pytest.MonkeyPatch) -> None:
    """Whatever runs on a sick machine ends before it is reset or rebooted."""
    patch.setattr(in_place, "drain", HASTY)


def end_before_the_replacement_serves(patch: pytest.MonkeyPatch) -> None:
    """A replacement is bought, and serves, before the sick node is drained and ended."""
    patch.setattr(replacing, "_replaced_because", lambda *_: "nobody likes to wait")


def count_no_repair_in_place(patch: pytest.MonkeyPatch) -> None:
    """Resets and reboots need room in the budget as replacements do."""
    patch.setattr(budget, "_in_place", lambda *_: [])


def crowd_a_zone(patch: pytest.MonkeyPatch) -> None:
    """A zone may have a budget of its own."""
    patch.setattr(budget, "in_zone", lambda *_: 99)


def bury_the_rebooting(patch: pytest.MonkeyPatch) -> None:
    """A node that was told to reboot is silent for a good reason."""
    patch.setattr(candidates, "_reboots", lambda _node: False)


def repeat_what_failed(patch: pytest.MonkeyPatch) -> None:
    """What was tried lately is not tried again."""
    original = ladder.due

    def due(fleet: Fleet, pool: Pool, node: Node, now: datetime, settings: Settings) -> Remedy:
        return original(fleet, pool, node, now, replace(settings, relapse_window=timedelta()))

    patch.setattr(ladder, "due", due)


def act_in_a_dry_run(patch: pytest.MonkeyPatch) -> None:
    """In a dry run it is only said what would be done."""
    original = fold.configured

    def configured(before: Pool | None, event: ev.PoolConfigured) -> Pool:
        return original(before, replace(event, spec=replace(event.spec, dry_run=False)))

    patch.setattr(fold, "configured", configured)


def leave_a_refused_wish(patch: pytest.MonkeyPatch) -> None:
    """A cordon that does not hold must not look like one."""
    patch.setattr(workload, "_is_wish", lambda _node: False)


def trust_every_gpu(patch: pytest.MonkeyPatch) -> None:
    """A GPU that made two machines sick is known in the third."""
    patch.setattr(fold, "remember_lemon", lambda *_: None)


MUTANTS: dict[Mutate, Callable[[], Plan] | None] = {
    never_open_the_breaker: None,
    let_all_through_when_half_open: None,
    forgive_debts: None,
    repair_for_applications: None,
    ignore_the_driver: None,
    act_on_one_report: None,
    replace_without_draining: None,
    reset_without_draining: None,
    end_before_the_replacement_serves: None,
    count_no_repair_in_place: None,
    crowd_a_zone: crowded_zones,
    repeat_what_failed: None,
    act_in_a_dry_run: None,
    leave_a_refused_wish: a_moody_scheduler,
    bury_the_rebooting: long_reboots,
    trust_every_gpu: lemons,
}
"""Each to the plan of the runs that have to show it; None: what the seeds draw."""

FOUND_AS = frozenset({"unsafe", "opaque", "unconverged"})


@pytest.mark.parametrize("mutate", MUTANTS, ids=lambda mutate: mutate.__name__)
def test_a_broken_rule_of_repair_is_found(mutate: Mutate, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = MUTANTS[mutate]
    mutate(monkeypatch)
    failed = first_failure(range(SEEDS), POINTS, plan() if plan else None)
    assert failed is not None
    assert failed.kind in FOUND_AS


@pytest.mark.parametrize("plan", [long_reboots, lemons, crowded_zones])
def test_the_core_as_it_is_passes_the_same_plans(plan: Callable[[], Plan]) -> None:
    assert first_failure(range(3), POINTS, plan()) is None
