"""The views of pools: what they say of fleets of all kinds."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from dashboard import pool_world
from dashboard.seeing import seen, shown
from factories import (
    POOL,
    advised,
    at,
    condemned,
    flat,
    founded,
    launched,
    lost,
    name,
    priced,
    refused,
    requested,
    running,
    sick,
)
from navarch.core import purchase
from navarch.core.model import events as ev
from navarch.core.model.messages import Sold
from navarch.core.model.pool import Disruption, PoolSpec, Source
from navarch.core.model.sightings import Sightings
from navarch.core.scaling.base import PoolMetrics, PoolState, ScaleRecommendation
from navarch.dashboard.past.kept import Past
from navarch.errors import QuotaScope, WireError

SPEC = PoolSpec(
    POOL,
    "fake",
    instance_type="h100-8x",
    region="us-west-2",
    max_nodes=10,
    strategy="cost",
    sources=(Source("cheap"), Source("fake")),
)
LISTS = priced(at(), cheap=[Sold("h100-8x", 19.5)], fake=[Sold("h100-8x", 27.5)])


def pool(
    facts: list[ev.Fact],
    minutes: float = 60,
    sightings: Sightings | None = None,
    past: Past | None = None,
) -> dict[str, Any]:
    """What is shown of the pool so long after the beginning, six hours back."""
    what = seen(facts, at(minutes=minutes), sightings, past)
    return shown(what, f"pools/{POOL}", window="6h")


def test_a_pool_that_has_all_it_wants_has_no_troubles_and_says_why_its_target_is_so() -> None:
    view = pool(flat(founded(target=2), running(1), running(2)))
    row = view["pool"]
    assert row["troubles"] == []
    assert (row["target"], row["current"], row["healthy"], row["booting"]) == (2, 2, 2, 0)
    assert row["because"] == "a test wants so many"
    assert view["buying"]["because"].startswith("nothing is missing: 2 of 2")
    assert view["breaker"]["state"] == "closed"


def test_a_chart_shows_target_machines_and_each_decision_with_its_reason() -> None:
    facts = flat(
        founded(target=1),
        running(1),
        ev.TargetChanged(at(minutes=20), POOL, 2, "queue: 9 jobs wait"),
        requested(2, at(minutes=20)),
        lost(1, at(minutes=40)),
    )
    view = pool(facts)
    series = view["history"]["series"]
    assert [value for _, value in series["target"]][-2:] == [1, 2]
    assert series["actual"][-1][1] == 2
    assert series["booting"][-1][1] == 1
    assert series["lost"][-1][1] == 1
    assert series["healthy"][-1][1] == 0
    marks = [(mark["letter"], mark["title"], mark["because"]) for mark in view["history"]["marks"]]
    assert ("T", "target 1 → 2", "queue: 9 jobs wait") in marks
    assert ("B", "1 machine asked for at fake", "too few") in marks


def test_demand_is_drawn_as_it_was_noted_and_is_unknown_without_an_autoscaler() -> None:
    facts = flat(founded(target=1), running(1))
    silent = pool(facts)
    assert silent["history"]["demand_since"] is None
    assert silent["history"]["series"]["proposed"] == []
    past = Past()
    metrics = PoolMetrics(50.0, 7, 9)
    state = PoolState(POOL, current_nodes=1, healthy_nodes=1, metrics=metrics)
    past.demand.note(at(minutes=30), state, ScaleRecommendation(4, "9 jobs"))
    view = pool(facts, past=past, sightings=advised(4, at(minutes=30)))
    series = view["history"]["series"]
    assert [value for _, value in series["proposed"]] == [4]
    assert [value for _, value in series["busy"]] == [0.5]
    assert [value for _, value in series["pending"]] == [7]
    assert view["pool"]["pending"] == 7
    assert view["pool"]["word"]["target"] == 4


def test_offers_stand_in_the_order_of_the_strategy_with_price_and_refusal() -> None:
    facts = flat(
        founded(SPEC, target=3),
        ev.LaunchRequested(
            at(minutes=1), name(1), POOL, "cheap", "too few", "h100-8x", "us-west-2"
        ),
        refused(1, when=at(minutes=1, seconds=10)),
    )
    view = pool(facts, minutes=1.5, sightings=Sightings(catalogs=LISTS))
    cheap, dear = view["offers"]
    assert (cheap["rank"], cheap["offer"], cheap["price"]) == (1, "cheap/us-west-2", 19.5)
    assert cheap["refused_until"] is not None
    assert "NoCapacity" in cheap["refused_because"]
    assert dear["refused_until"] is None
    assert [each["offer"] for each in view["buying"]["next"]] == ["fake/us-west-2"] * 3
    assert "not cheap/us-west-2: NoCapacity" in view["buying"]["next"][0]["because"]
    assert view["buying"]["because"] == "3 missing: 3 will be asked for at the next look"


def test_what_would_be_bought_next_is_what_is_bought_at_the_next_look() -> None:
    facts = flat(founded(SPEC, target=2))
    what = seen(facts, at(minutes=1), Sightings(catalogs=LISTS))
    view = shown(what, f"pools/{POOL}")
    bought = list(purchase.launches(what.fleet, what.sightings, what.now, what.settings))
    assert [each.provider for each in bought] == ["cheap", "cheap"]
    said = [each["because"] for each in view["buying"]["next"][:2]]
    assert [each.because.endswith(words) for each, words in zip(bought, said, strict=True)] == [
        True,
        True,
    ]


def test_a_quota_that_only_a_person_can_lift_says_so() -> None:
    scope = QuotaScope(region="us-west-2")
    facts = flat(
        founded(target=1),
        requested(1, at(minutes=1)),
        ev.LaunchFailed(
            at(minutes=1), name(1), "QuotaExceeded", "64 vCPUs", timedelta(), scope=scope
        ),
    )
    view = pool(facts, minutes=2)
    assert view["offers"][0]["needs_person"] is True
    assert any("needs somebody" in each for each in view["pool"]["troubles"])
    assert view["buying"]["next"] == []
    assert "every offer has refused" in view["buying"]["because"]


def test_prices_that_nobody_knows_are_unknown_and_never_nothing() -> None:
    view = pool(flat(founded(target=1), running(1)))
    assert view["pool"]["dollars_per_hour"] is None
    assert view["pool"]["unpriced"] == 1
    assert view["offers"][0]["price"] is None
    assert view["offers"][0]["price_because"] == "price not known"
    empty = pool(flat(founded(target=0)))
    assert (empty["pool"]["dollars_per_hour"], empty["pool"]["unpriced"]) == (0, 0)


@pytest.mark.parametrize(
    "fact, words",
    [
        (ev.PoolPaused(at(minutes=5), POOL, "paused by an operator: upgrade"), "paused"),
        (ev.PoolRetired(at(minutes=5), POOL, "it is gone"), "no longer in the configuration"),
    ],
)
def test_nothing_is_bought_for_a_pool_that_sleeps(fact: ev.Fact, words: str) -> None:
    view = pool(flat(founded(target=3), fact))
    assert words in view["buying"]["because"]
    assert any(words in each for each in view["pool"]["troubles"])


def test_no_room_and_a_wait_after_failures_are_reasons_of_their_own() -> None:
    spec = PoolSpec(POOL, "fake", max_nodes=1)
    full = flat(founded(spec, target=1), running(1), condemned(1, at(minutes=1)))
    assert "no room" in pool(full)["buying"]["because"]
    rounds = [
        (
            requested(n, at(minutes=n)),
            launched(n, at(minutes=n)),
            ev.TerminationRequested(
                at(minutes=n, seconds=1), name(n), "it never registered", trouble=True
            ),
        )
        for n in (1, 2, 3)
    ]
    failing = flat(founded(target=1), *rounds)
    view = pool(failing, minutes=3.05)
    assert "buys again in" in view["buying"]["because"]
    assert view["buying"]["retry_at"] is not None
    assert any("3 failures" in each for each in view["pool"]["troubles"])


def test_budget_and_waiting_nodes_say_what_repair_waits_for() -> None:
    spec = PoolSpec(POOL, "fake", max_nodes=10, disruption=Disruption(2, 0.0, 0, 3))
    facts = flat(
        founded(spec, target=3),
        *(running(n) for n in (1, 2, 3)),
        condemned(1, at(minutes=59), "sickness"),
        sick(2, at(minutes=59), reports=1),
    )
    budget = pool(facts)["budget"]
    assert (budget["at_once"], budget["used"], budget["per_hour"], budget["this_hour"]) == (
        2,
        1,
        3,
        1,
    )
    assert budget["because"] == "1 more may be taken on now, 2 more within the hour"
    (waiting,) = budget["waiting"]
    assert (waiting["node"], waiting["remedy"]) == (name(2), "replace")
    assert waiting["because"] == "1 of 2 reports have confirmed it"


def test_a_breaker_tells_its_state_its_reason_and_what_moves_it() -> None:
    facts = flat(
        founded(target=2),
        running(1),
        running(2),
        ev.RepairHalted(at(minutes=10), POOL, "2 of 2 nodes of the pool are silent together"),
    )
    halted = pool(facts)
    assert halted["breaker"]["state"] == "open"
    assert halted["breaker"]["since"] == at(minutes=10).isoformat().replace("+00:00", "Z")
    assert "2 of 2 nodes" in halted["breaker"]["because"]
    assert halted["pool"]["breaker"] == "open"
    assert any(each.startswith("repair is halted") for each in halted["pool"]["troubles"])
    facts.append(ev.RepairAcknowledged(at(minutes=11), POOL, "acknowledged by an operator"))
    assert pool(facts)["breaker"]["acknowledged"] is True
    facts.append(ev.RepairHalfOpened(at(minutes=12), POOL, "a person has looked", tolerated=2))
    half = pool(facts)["breaker"]
    assert (half["state"], half["tolerated"]) == ("half_open", 2)
    facts.append(ev.RepairContinued(at(minutes=13), POOL, "one repair went well"))
    assert pool(facts)["breaker"]["state"] == "closed"


def test_nodes_are_counted_by_state_and_those_in_trouble_are_named_the_gravest_first() -> None:
    facts = flat(
        founded(target=3),
        *(running(n) for n in (1, 2, 3)),
        sick(1, at(minutes=5)),
        lost(2, at(minutes=6)),
    )
    nodes = pool(facts)["nodes"]
    assert nodes["counts"] == {"lost": 1, "unhealthy": 1, "active": 1}
    assert [each["id"] for each in nodes["wrong"]] == [name(2), name(1)]


def test_pools_with_troubles_are_listed_first() -> None:
    now = at(hours=6)
    facts = [*pool_world.past(now), ev.PoolPaused(now, "training", "by an operator")]
    view = shown(seen(facts, now), "pools")
    assert [each["name"] for each in view["pools"]] == ["training", "quiet"]
    assert view["left_out"] == 0


def test_a_fleet_that_is_younger_than_the_window_is_shown_from_its_beginning() -> None:
    view = pool(flat(founded(target=1), running(1)), minutes=30)["history"]
    assert view["since"] == at().isoformat().replace("+00:00", "Z")
    young = pool(flat(founded(target=1), running(1)), minutes=1)["history"]
    assert young["since"] == at(minutes=-4).isoformat().replace("+00:00", "Z")


def test_a_window_shorter_than_the_past_shows_only_what_is_within_it() -> None:
    facts = pool_world.past(at(hours=6))
    hour = shown(seen(facts, at(hours=6)), "pools/training", window="1h")["history"]
    day = shown(seen(facts, at(hours=6)), "pools/training", window="24h")["history"]
    assert len(hour["marks"]) < len(day["marks"])
    assert hour["series"]["target"][0][1] == 4
    assert all(mark["at"] >= hour["since"] for mark in hour["marks"])


@pytest.mark.parametrize(
    "path, query, code",
    [
        ("pools/nobody", {}, "not_found"),
        (f"pools/{POOL}", {"window": "1y"}, "invalid_argument"),
        (f"pools/{POOL}", {"windows": "1h"}, "invalid_argument"),
        ("pools", {"window": "1h"}, "invalid_argument"),
    ],
)
def test_what_means_nothing_is_refused(path: str, query: dict[str, str], code: str) -> None:
    with pytest.raises(WireError) as refusal:
        shown(seen(flat(founded()), at()), path, **query)
    assert refusal.value.code == code
