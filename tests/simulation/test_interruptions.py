"""Machines that their sellers take away: replaced at once, and nobody's repair."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import datetime, timedelta

import pytest

from navarch.core import interruption, purchase
from navarch.core.model import events as ev
from navarch.core.model.fleet import Fleet
from navarch.core.model.node import Node
from navarch.core.model.pool import Pool
from navarch.core.model.report import HealthEvent
from navarch.simulator.server import facts_of
from navarch.simulator.world import World
from simulation.sick_plans import notices
from simulation.sweeping import first_failure


def test_a_machine_that_is_taken_away_is_replaced_within_its_notice() -> None:
    world = World(1, notices())
    world.run()
    facts = facts_of(world.server.store)
    noticed = [fact for fact in facts if isinstance(fact, ev.InterruptionNoticed)]
    launched = {fact.at for fact in facts if isinstance(fact, ev.LaunchRequested)}
    assert len(noticed) >= 5
    assert {fact.at for fact in noticed} <= launched
    kinds = Counter(ev.kind(fact) for fact in facts)
    assert kinds["instance_condemned"] + kinds["repair_halted"] == 0
    ended = {
        fact.instance_id: fact.because
        for fact in facts
        if isinstance(fact, ev.TerminationRequested)
    }
    drained = [fact for fact in noticed if "drained" in ended.get(fact.node_id, "")]
    assert drained


def count_on_what_is_taken_away(patch: pytest.MonkeyPatch) -> None:
    """What is taken away is no node of its pool any more."""

    def noticed(
        _fleet: Fleet, node: Node, events: tuple[HealthEvent, ...], now: datetime
    ) -> Iterator[ev.InterruptionNoticed]:
        if events and node.instance_id and not node.over:
            yield ev.InterruptionNoticed(now, node.id, "it looks like it", now)

    patch.setattr(interruption, "noticed", noticed)


def end_without_draining(patch: pytest.MonkeyPatch) -> None:
    """Work has until the machine is gone."""
    patch.setattr(interruption, "_over_because", lambda *_: "it is lost anyway")


def buy_spot_only(patch: pytest.MonkeyPatch) -> None:
    """A pool says how many of its machines may be taken away."""
    original = purchase._Mix.of  # noqa: SLF001 - a mutant replaces the inside of the core

    def of(fleet: Fleet, pool: Pool) -> purchase._Mix:
        mix = original(fleet, pool)
        if mix.percent:
            mix.percent = 100.0
        return mix

    patch.setattr(purchase._Mix, "of", of)  # noqa: SLF001 - as above


MUTANTS = [count_on_what_is_taken_away, end_without_draining, buy_spot_only]


@pytest.mark.parametrize("mutate", MUTANTS)
def test_a_broken_rule_of_interruptions_is_found(
    mutate: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert callable(mutate)
    mutate(monkeypatch)
    drawn = mutate is buy_spot_only
    failed = first_failure(range(40 if drawn else 8), 4, None if drawn else notices())
    assert failed is not None
    assert failed.kind in {"unsafe", "opaque", "unconverged"}


def test_the_core_as_it_is_passes_the_same_runs() -> None:
    assert first_failure(range(4), 6, notices()) is None


def test_notice_is_given_in_time() -> None:
    world = World(2, notices())
    world.run()
    for fact in facts_of(world.server.store):
        if isinstance(fact, ev.InterruptionNoticed):
            assert fact.deadline is not None
            assert timedelta() < fact.deadline - fact.at <= timedelta(minutes=2)
