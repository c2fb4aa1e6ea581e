"""The view of cost: what is known is summed up, and what is not is said."""

from __future__ import annotations

from typing import Any

import pytest

from dashboard.seeing import seen, shown
from factories import (
    POOL,
    a_spec,
    a_stranger,
    at,
    flat,
    founded,
    launched,
    lost,
    name,
    priced,
    registered,
    requested,
    running,
)
from navarch.core.model import events as ev
from navarch.core.model.messages import Sold
from navarch.core.model.sightings import Sightings
from navarch.dashboard.past.kept import Past
from navarch.dashboard.past.uses import Use
from navarch.errors import WireError

PRICED = Sightings(catalogs=priced(at(), fake=[Sold("h100-8x", 24.0)]))


def cost(
    facts: list[ev.Fact],
    hours: float = 2,
    sightings: Sightings = PRICED,
    past: Past | None = None,
    window: str = "6h",
) -> dict[str, Any]:
    """What is shown so long after the beginning."""
    return shown(seen(facts, at(hours=hours), sightings, past), "cost", window=window)


def measured(use: Use, minutes: int = 120, pool: str = POOL) -> Past:
    """What is kept where somebody looked once a minute."""
    past = Past()
    for minute in range(minutes + 1):
        past.uses.note(pool, at(minutes=minute), use)
    return past


def test_machines_cost_from_their_launch_until_they_are_gone() -> None:
    facts = flat(
        founded(target=1),
        requested(1, at()),
        launched(1, at(minutes=10)),
        registered(1, at(minutes=20)),
        ev.TerminationRequested(at(minutes=60), name(1), "too many"),
        ev.InstanceTerminated(at(minutes=70), name(1), "gone"),
    )
    view = cost(facts)
    total = view["total"]
    assert total["dollars"] == pytest.approx(24.0)
    assert total["machine_hours"] == pytest.approx(1.0)
    assert (total["machines"], total["dollars_per_hour"]) == (0, 0)
    lost_by = total["hours"]["lost_by"]
    assert lost_by == {
        "booting": pytest.approx(8 / 6, abs=1e-3),
        "ending": pytest.approx(8 / 6, abs=1e-3),
    }
    assert total["hours"]["unmeasured"] == pytest.approx(8 * 40 / 60, abs=1e-3)


def test_a_good_gpu_hour_costs_what_all_machines_cost_in_the_time_that_was_measured() -> None:
    facts = flat(founded(target=2), running(1), running(2))
    view = cost(facts, past=measured(Use(good=12, idle=4)))
    pool = view["pools"][0]
    assert pool["dollars_per_hour"] == 48.0
    assert pool["dollars_per_good_hour"] == pytest.approx(48 / 12, rel=0.02)
    assert pool["hours"]["good"] == pytest.approx(24, rel=0.03)
    assert pool["hours"]["idle"] == pytest.approx(8, rel=0.03)
    assert pool["because"] == ""


def test_what_was_not_measured_is_neither_good_nor_idle() -> None:
    facts = flat(founded(target=1), running(1))
    view = cost(facts)
    assert view["total"]["dollars_per_good_hour"] is None
    assert view["total"]["because"] == "what the GPUs did is not measured yet"
    assert view["total"]["hours"]["good"] == 0
    assert view["total"]["hours"]["unmeasured"] == pytest.approx(16)
    partly = cost(facts, past=measured(Use(good=8), minutes=60))
    assert "nobody looked" in partly["total"]["because"]
    assert partly["total"]["dollars_per_good_hour"] == pytest.approx(3.0, rel=0.02)


def test_a_price_that_nobody_knows_is_said_and_stands_in_no_sum() -> None:
    facts = flat(founded(target=2), running(1), running(2))
    view = cost(facts, sightings=Sightings(), past=measured(Use(good=16)))
    total = view["total"]
    assert (total["dollars_per_hour"], total["dollars"]) == (None, None)
    assert total["unpriced"] == 2
    assert total["unpriced_hours"] == pytest.approx(4.0)
    assert total["dollars_per_good_hour"] is None
    assert "price of" in total["because"]
    assert view["kinds"][0]["price"] is None
    assert view["kinds"][0]["price_because"] == "price not known"
    assert view["prices"] == [{"provider": "fake", "at": None, "types": 0}]
    assert view["series"]["dollars_per_hour"] == []
    assert view["series"]["unpriced"][-1][1] == 2


def test_one_pool_without_a_price_leaves_the_money_of_the_other_known() -> None:
    other = a_spec(name="other", instance_type="mystery")
    id_ = "other-k3f9-0002"
    facts = flat(
        founded(target=1),
        running(1),
        ev.PoolConfigured(at(), other),
        ev.LaunchRequested(at(), id_, "other", "fake", "too few", "mystery", "us-west-2"),
        ev.InstanceLaunched(at(), id_, "m-2", "fake launched it"),
    )
    view = cost(facts)
    bills = {bill["name"]: bill for bill in view["pools"]}
    assert bills[POOL]["dollars_per_hour"] == 24.0
    assert bills["other"]["dollars_per_hour"] is None
    assert view["total"]["dollars_per_hour"] == 24.0
    assert view["total"]["unpriced"] == 1
    assert view["total"]["hours"]["uncounted"] == pytest.approx(2.0)


def test_silent_machines_are_paid_for_and_lost() -> None:
    view = cost(flat(founded(target=1), running(1), lost(1, at(hours=1))))
    assert view["total"]["hours"]["lost_by"] == {"silent": pytest.approx(8)}
    assert view["total"]["dollars_per_hour"] == 24.0
    assert [value for _, value in view["series"]["lost"]][-1] == 8


def test_a_provider_pays_for_all_its_pools_and_spot_has_a_price_of_its_own() -> None:
    id_ = "training-k3f9-0002"
    facts = flat(
        founded(target=2),
        running(1),
        ev.LaunchRequested(at(), id_, POOL, "fake", "more", "h100-8x", "us-west-2", spot=True),
        ev.InstanceLaunched(at(), id_, "m-2", "fake launched it"),
    )
    line = Sold("h100-8x", 24.0, spot_price_usd_per_hour=8.0)
    sightings = Sightings(catalogs=priced(at(), fake=[line]))
    view = cost(facts, sightings=sightings)
    assert view["providers"][0]["dollars_per_hour"] == 32.0
    assert [(each["spot"], each["price"]) for each in view["kinds"]] == [(False, 24.0), (True, 8.0)]


def test_a_refused_launch_and_a_node_of_others_cost_nothing() -> None:
    facts = flat(
        founded(target=1),
        requested(1, at()),
        ev.LaunchFailed(at(minutes=5), name(1), "NoCapacity", "none left"),
        a_stranger(),
    )
    view = cost(facts)
    assert view["total"]["dollars"] == 0
    assert view["total"]["machine_hours"] == 0
    assert view["foreign"] == 1


def test_only_the_window_is_paid() -> None:
    facts = flat(founded(target=1), running(1))
    assert cost(facts, hours=30, window="1h")["total"]["dollars"] == pytest.approx(24.0)
    assert cost(facts, hours=30, window="24h")["total"]["dollars"] == pytest.approx(24 * 24.0)
    week = cost(facts, hours=24 * 8, window="7d")
    assert week["total"]["dollars"] == pytest.approx(7 * 24 * 24.0)


def test_nothing_lies_below_the_cost_and_a_wrong_window_is_refused() -> None:
    what = seen(flat(founded()), at())
    with pytest.raises(WireError, match="there is no"):
        shown(what, "cost", "training")
    with pytest.raises(WireError, match="expected one of 1h, 6h, 24h, 7d"):
        shown(what, "cost", window="2h")
