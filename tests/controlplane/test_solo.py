"""A fleet run by hand: journal before effects, nothing left under way, nothing tried in vain."""

from __future__ import annotations

from datetime import timedelta

import pytest

from navarch.controlplane import solo as solo_module
from navarch.controlplane.clock import FakeClock
from navarch.controlplane.solo import SoloFleet
from navarch.core import fold
from navarch.core.model import events as ev
from navarch.core.model import messages as msg
from navarch.core.model.fleet import Fleet
from navarch.core.selection import BUILT_IN
from navarch.errors import NavarchError, Unavailable
from navarch.providers.base import Instance, ProvisionRequest
from pools import MONDAY, TellingProvider, a_spec, run

POOL = "training"


class Witness(TellingProvider):
    """Looks at the journal at the moment it is asked to launch."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__("fake", clock)
        self.solo: SoloFleet | None = None
        self.journaled: list[bool] = []

    async def provision(self, request: ProvisionRequest) -> Instance:
        assert self.solo is not None
        facts = [recorded.event for recorded in self.solo.journal.load_now().events]
        wanted = [fact.instance_id for fact in facts if isinstance(fact, ev.LaunchRequested)]
        self.journaled.append(request.name in wanted)
        return await super().provision(request)


def a_fleet() -> tuple[SoloFleet, Witness, FakeClock]:
    """Make a fleet with one pool of at most ten machines."""
    clock = FakeClock(MONDAY)
    provider = Witness(clock)
    solo = SoloFleet({"fake": provider}, clock, BUILT_IN)
    provider.solo = solo
    solo.tell(msg.ConfigurePools((a_spec(min_nodes=0),)))
    return solo, provider, clock


def test_the_wish_is_in_the_journal_before_a_provider_hears_of_it() -> None:
    solo, provider, _ = a_fleet()
    run(solo.settle(msg.ScalePool(POOL, 3)))
    assert provider.journaled == [True, True, True]


def test_the_journal_folds_to_the_fleet() -> None:
    solo, _, _ = a_fleet()
    run(solo.settle(msg.ScalePool(POOL, 3)))
    run(solo.settle(msg.ScalePool(POOL, 1)))
    folded = Fleet()
    for recorded in solo.journal.load_now().events:
        fold.apply(folded, recorded.event)  # type: ignore[arg-type] # every event is a fact
    assert folded == solo.fleet


def test_telling_asks_nobody() -> None:
    solo, provider, _ = a_fleet()
    solo.tell(msg.ScalePool(POOL, 3))
    assert provider.asked == []
    run(solo.settle())
    assert len(provider.alive) == 3


def test_settling_a_settled_fleet_changes_nothing() -> None:
    solo, provider, _ = a_fleet()
    run(solo.settle(msg.ScalePool(POOL, 2)))
    before = (solo.journal.raw, list(provider.asked))
    run(solo.settle())
    run(solo.settle(msg.Tick()))
    assert (solo.journal.raw, provider.asked) == before


def test_a_refused_message_is_an_error() -> None:
    solo, _, _ = a_fleet()
    with pytest.raises(NavarchError, match="target 11 is above max_nodes 10"):
        solo.tell(msg.ScalePool(POOL, 11))


def test_an_end_that_is_refused_is_tried_once_in_a_call() -> None:
    solo, provider, clock = a_fleet()
    run(solo.settle(msg.ScalePool(POOL, 1)))
    provider.cloud.fail_next(Unavailable("down"), call="terminate", times=3)
    run(solo.settle(msg.ScalePool(POOL, 0)))
    assert list(solo.failures.values()) == ["Unavailable: down"]
    assert sum(asked.startswith("terminate") for asked in provider.asked) == 1
    clock.advance(timedelta(minutes=1))
    run(solo.settle())
    assert sum(asked.startswith("terminate") for asked in provider.asked) == 2


def test_what_ended_long_ago_is_forgotten() -> None:
    solo, _, clock = a_fleet()
    run(solo.settle(msg.ScalePool(POOL, 3)))
    run(solo.settle(msg.ScalePool(POOL, 0)))
    clock.advance(timedelta(hours=25))
    run(solo.settle(msg.Tick()))
    assert (solo.fleet.instances, solo.fleet.nodes, solo.seen) == ({}, {}, {})


def test_the_journal_is_bounded_by_age(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(solo_module, "TIDIED_EVERY", 500)
    solo, _, clock = a_fleet()
    while solo.journal.last_seq_now < 2_500:
        run(solo.settle(msg.ScalePool(POOL, 10)))
        clock.advance(timedelta(days=9))
        run(solo.settle(msg.ScalePool(POOL, 0)))
    [oldest] = solo.journal.read_now(limit=1)
    assert oldest.event.at > MONDAY
    assert oldest.seq > 500
