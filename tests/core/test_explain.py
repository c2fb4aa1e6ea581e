"""Explanations: they tell the same story as the decisions, and name what stands in the way."""

from __future__ import annotations

from datetime import datetime

import pytest
from msgspec.structs import replace

from factories import (
    POOL,
    PROVIDER,
    SETTINGS,
    a_fleet,
    a_list,
    a_machine,
    a_spec,
    a_stranger,
    advised,
    at,
    condemned,
    ending,
    fold_all,
    issued,
    launched,
    lost,
    name,
    priced,
    refused,
    releasing,
    requested,
    sighted,
)
from navarch.core import explain, purchase
from navarch.core.model import events as ev
from navarch.core.model.command import CommandType
from navarch.core.model.fleet import Fleet
from navarch.core.model.messages import InventoryTaken, Sold
from navarch.core.model.pool import Disruption, Source
from navarch.core.model.sightings import Sightings
from navarch.errors import QuotaScope

NOW = at(minutes=5)


def of_pool(fleet: Fleet, seen: Sightings | None = None, now: datetime = NOW) -> list[str]:
    pool = fleet.pools[POOL]
    return list(explain.explain_pool(fleet, seen or Sightings(), pool, now, SETTINGS))


def of_node(fleet: Fleet, node_id: str = name(1), seen: Sightings | None = None) -> list[str]:
    node = fleet.nodes[node_id]
    return list(explain.explain_node(fleet, seen or Sightings(), node, NOW, SETTINGS))


def of_instance(fleet: Fleet, n: int = 1, seen: Sightings | None = None) -> list[str]:
    instance = fleet.instances[name(n)]
    return list(explain.explain_instance(seen or Sightings(), instance, NOW))


def said(lines: list[str], start: str) -> list[str]:
    """Return the lines that begin so."""
    return [line for line in lines if line.startswith(start)]


# --- pools -----------------------------------------------------------------------------------


def test_a_pool_that_has_what_it_wants() -> None:
    assert of_pool(a_fleet(2, requested(3), ending(1, at()), target=2)) == [
        "pool training wants 2 nodes, within 0 and 10: a test wants so many",
        "2 count: 1 serve, 1 boot; 3 machines may exist, ending and condemned ones included",
        "scaled by nobody; offers go by priority",
        "budget of pool training: 1 more may be replaced now, 6 more within the hour",
    ]


def test_a_pool_counts_the_machines_that_it_lets_go() -> None:
    fleet = a_fleet(4, releasing(1), releasing(2), ending(2, at()), target=2)
    assert said(of_pool(fleet), "1 are drained") == [
        "1 are drained to be ended, and may be called back"
    ]
    assert not any("drained" in line for line in of_pool(a_fleet(2)))


def test_a_pool_names_its_autoscalers_newest_word() -> None:
    lines = of_pool(a_fleet(0), advised(4, at(minutes=4)))
    assert "autoscaler queue proposed 4, 60 s ago: queue 12" in lines
    lines = of_pool(a_fleet(0), advised(4, at(minutes=4), held=True))
    assert "autoscaler queue holds at 4, 60 s ago: queue 12" in lines


def test_a_pool_names_the_offers_that_are_left_alone() -> None:
    fleet = a_fleet(0, requested(1), refused(1, when=at(minutes=4, seconds=50)), target=1)
    (line,) = said(of_pool(fleet), "left alone for ")
    seconds, rest = line.removeprefix("left alone for ").split(" ", 1)
    assert 20 <= int(seconds) <= 26
    assert rest == "s more: fake/us-west-2: NoCapacity 10 s ago"


def test_an_offer_is_left_alone_exactly_as_long_as_it_is_said() -> None:
    fleet = a_fleet(0, requested(1), refused(1), target=1)
    for second in range(60):
        now = at(seconds=second)
        left_alone = said(of_pool(fleet, now=now), "left alone for ")
        buys = list(purchase.launches(fleet, Sightings(), now, SETTINGS))
        assert bool(left_alone) != bool(buys)


@pytest.mark.parametrize("failure", ["QuotaExceeded", "Unauthorized"])
def test_a_pool_names_the_providers_that_wait_for_a_person(failure: str) -> None:
    spec = a_spec(sources=(Source("lambda"), Source(PROVIDER, 1)))
    elsewhere = replace(requested(2), provider="third")
    fleet = a_fleet(0, requested(1), elsewhere, target=1, spec=spec)
    fold_all(refused(1, failure, because="ask for more"), refused(2, "Unauthorized"), fleet=fleet)
    lines = of_pool(fleet)
    assert said(lines, f"{PROVIDER} needs somebody") == [
        f"{PROVIDER} needs somebody: {failure}: ask for more"
    ]
    assert not any("third" in line for line in lines)
    fold_all(requested(3, NOW), launched(3, NOW), fleet=fleet)
    assert said(of_pool(fleet), f"{PROVIDER} needs") == []


def test_a_pool_names_what_a_used_up_quota_counts() -> None:
    scope = QuotaScope(instance_types=("h100-*",), spot=False)
    fact = replace(refused(1, "QuotaExceeded", because="raise L-417A185B"), scope=scope)
    lines = of_pool(a_fleet(0, requested(1), fact, target=1, spec=a_spec(instance_type="h100-8x")))
    name = f"{PROVIDER} for h100-* on demand in all regions"
    assert f"{name} needs somebody: QuotaExceeded: raise L-417A185B" in lines
    [line] = said(lines, "left alone for ")
    assert "QuotaExceeded for h100-* on demand in all regions, " in line


def test_a_pool_that_goes_by_cost_tells_what_its_offers_cost_and_who_says_so() -> None:
    sources = (Source("a"), Source("b", 1), Source("c", 2), Source("d", 3))
    spec = a_spec(strategy="cost", sources=sources, instance_type="h100-8x")
    listed = Sold("h100-8x", 55.04, listed="us-east-1, 2026-11-09")
    catalogs = priced(NOW, a=[Sold("h100-8x", 20.0)], b=[listed], c=[Sold("h100-8x")])
    fleet, seen = a_fleet(0, target=0, spec=spec), Sightings(catalogs=catalogs)
    lines = list(explain.explain_pool(fleet, seen, fleet.pools[POOL], NOW, SETTINGS))
    assert [line for line in lines if "h100-8x: " in line] == [
        f"a/{spec.region} h100-8x: $20.00 an hour, 0 s old",
        f"b/{spec.region} h100-8x: $55.04 an hour, list price of us-east-1, 2026-11-09",
        f"c/{spec.region} h100-8x: price not known",
    ]


def test_a_pool_whose_machines_do_not_last_says_when_it_buys_again() -> None:
    gone = ev.TerminationRequested(
        at(minutes=4, seconds=59), name(1), "it never registered", trouble=True
    )
    again = replace(gone, instance_id=name(2), at=NOW)
    fleet = a_fleet(0, requested(1), gone, requested(2, NOW), again, target=1)
    expected = "buys again in 5 s after 2 failures, the last: it never registered"
    assert expected in of_pool(fleet)


def test_a_pool_names_the_sellers_that_can_not_be_asked() -> None:
    fleet = a_fleet(0, spec=a_spec(sources=(Source("a"), Source("b"), Source("a", 1))))
    lines = of_pool(fleet, Sightings(troubles={"a": "timeout", "c": "gone"}))
    assert lines[-1] == "a can not be asked: timeout"
    assert len(said(lines, "a can not")) == 1


@pytest.mark.parametrize(
    "fact,expected",
    [
        (
            ev.PoolPaused(at(), POOL, "maintenance"),
            "nothing is bought or repaired: it is paused: maintenance",
        ),
        (
            ev.PoolRetired(at(), POOL, "not in the file"),
            "nothing is bought or repaired: it is no longer in the configuration",
        ),
        (ev.RepairHalted(at(), POOL, "2 of 3 are silent"), "repair is halted: 2 of 3 are silent"),
    ],
)
def test_a_pool_that_stands_still_says_why(fact: ev.Fact, expected: str) -> None:
    assert expected in of_pool(a_fleet(0, fact))


# --- instances -------------------------------------------------------------------------------


def test_an_instance_says_what_it_waits_for() -> None:
    unknown = ev.LaunchUncertain(at(minutes=4), name(1), "fake: timeout")
    assert of_instance(a_fleet(0, requested(1), unknown)) == [
        f"instance {name(1)} of fake is provisioning: fake: timeout",
        "whether the machine exists is unknown since 60 s: it is looked up",
    ]
    fleet = a_fleet(1, ending(1, at()))
    seen = sighted(fleet, a_list(at(minutes=4)))
    assert of_instance(fleet, seen=replace(seen, troubles={PROVIDER: "timeout"})) == [
        f"instance {name(1)} of fake as m-1 is terminating: too many",
        "fake has not agreed to end it yet",
        "fake has not listed it for 60 s",
        "fake can not be asked: timeout",
    ]


def test_an_instance_that_is_replaced_or_released_says_so() -> None:
    assert of_instance(a_fleet(1, lost(1, at()), condemned(1, at())))[-1] == (
        "it will be replaced: silent for 91 s"
    )
    assert "too many" in of_instance(a_fleet(1, releasing(1)))[0]


# --- nodes -----------------------------------------------------------------------------------


def test_a_node_says_how_it_stands_on_each_axis() -> None:
    lines = of_node(a_fleet(1, issued(1, CommandType.REBOOT)))
    assert lines == [
        f"node {name(1)} is active: registered",
        "phase active, health unknown, intent in_service, contact connected",
        "heard 300.0 s ago; it counts as lost after 90 s",
        "command cmd-k3f9-000001 (reboot) is issued",
        f"instance {name(1)} of fake as m-1 is running: its agent registered",
    ]


def test_a_node_that_is_released_shows_as_draining() -> None:
    lines = of_node(a_fleet(1, releasing(1)))
    assert lines[:2] == [
        f"node {name(1)} is draining: too many",
        "phase leaving, health unknown, intent in_service, contact connected",
    ]


def test_a_stranger_is_watched_but_never_replaced() -> None:
    lines = of_node(a_fleet(0, a_stranger()), "lab-1")
    assert lines[-1] == "it was not launched here: it is watched, but never replaced"


def test_a_node_that_has_ended_is_not_listened_to() -> None:
    gone = ev.InstanceTerminated(at(), name(1), "gone")
    assert said(of_node(a_fleet(1, ending(1, at()), gone)), "heard") == []


LOST = lost(1, at(minutes=2))


@pytest.mark.parametrize(
    "facts,expected",
    [
        (
            [ev.PoolPaused(at(), POOL, "maintenance")],
            "not repaired yet (replace): pool training is paused: maintenance",
        ),
        (
            [ev.RepairHalted(at(), POOL, "2 of 3 are silent")],
            ("not repaired yet (replace): repair of pool training is halted: 2 of 3 are silent"),
        ),
        (
            [
                ev.RepairHalted(at(minutes=3), POOL, "2 of 3 are silent"),
                ev.RepairHalfOpened(at(minutes=4), POOL, "1 of 3 is silent"),
            ],
            ("not repaired yet (replace): repair of pool training was halted until a moment ago"),
        ),
        (
            [ev.PoolConfigured(at(), a_spec(auto_replace=False))],
            "not replaced: auto_replace is off in pool training",
        ),
        (
            [ev.Resumed(at(minutes=4), "0.1.0")],
            (
                "not repaired yet (replace): silent for less than 0:02:00, restarts of ours and a "
                "grace counted in"
            ),
        ),
        (
            [ev.PoolConfigured(at(), a_spec(disruption=Disruption(0)))],
            (
                "not repaired yet (replace): as many nodes of pool training as may be are under "
                "repair"
            ),
        ),
    ],
)
def test_a_lost_node_says_why_it_is_not_replaced(facts: list[ev.Fact], expected: str) -> None:
    fleet = a_fleet(3, LOST, *facts)
    assert expected in of_node(fleet, seen=sighted(fleet, a_list(NOW, a_machine(1))))


@pytest.mark.parametrize(
    "lists,expected",
    [
        ([], "not repaired yet (replace): no list of fake has been read since it counts as silent"),
        (
            [a_list(NOW)],
            "not repaired yet (replace): fake does not list it: waiting for that to be settled",
        ),
    ],
)
def test_a_lost_node_waits_for_its_second_witness(
    lists: list[InventoryTaken], expected: str
) -> None:
    fleet = a_fleet(3, LOST)
    assert expected in of_node(fleet, seen=sighted(fleet, *lists))
