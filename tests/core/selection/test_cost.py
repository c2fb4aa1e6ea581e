"""By cost: known prices first, spot prices for spot machines, and the age of what is known."""

from __future__ import annotations

from factories import an_offer, at, priced
from navarch.core.model.messages import Sold
from navarch.core.selection.base import Market
from navarch.core.selection.cost import CostRanker

RANKER = CostRanker()
MARKET = Market(
    at(minutes=5),
    priced(
        a=[Sold("h100-8x", 24.0, 30.0)],
        b=[Sold("h100-8x", 16.0)],
        c=[Sold("h100-8x", 40.0, 8.0)],
        d=[Sold("a100-8x", 1.0)],
        f=[Sold("h100-8x", 20.0, listed="us-east-1, 2026-11-09")],
        g=[Sold("h100-8x")],
    ),
)


def order(*providers: str, spot: bool = False) -> str:
    offers = [an_offer(provider, spot=spot) for provider in providers]
    return "".join(each.provider for each in RANKER.rank(offers, MARKET))


def test_the_cheapest_comes_first_and_the_unknown_last() -> None:
    assert order("d", "e", "a", "c", "b") == "bacde"


def test_spot_machines_have_their_own_price() -> None:
    assert order("a", "b", "c", spot=True) == "cab"


def test_spot_and_on_demand_are_compared_by_what_each_costs() -> None:
    offers = [an_offer("b"), an_offer("c", spot=True), an_offer("c")]
    assert RANKER.rank(offers, MARKET) == [offers[1], offers[0], offers[2]]


def test_a_list_price_is_compared_and_named_as_one_and_says_nothing_of_spot() -> None:
    assert order("e", "a", "f", "b") == "bfae"
    because = "$20.00 an hour, list price of us-east-1, 2026-11-09"
    assert RANKER.because(an_offer("f"), MARKET) == because
    assert RANKER.because(an_offer("f", spot=True), MARKET) == "price not known"


def test_a_line_without_a_price_is_not_the_cheapest() -> None:
    assert order("g", "c") == "cg"
    assert RANKER.because(an_offer("g"), MARKET) == "price not known"


def test_equal_prices_go_by_priority_and_then_by_the_configuration() -> None:
    offers = [an_offer("b", zone="x", priority=2), an_offer("b", zone="y", priority=1)]
    offers += [an_offer("b", zone="z", priority=1)]
    assert [each.zone for each in RANKER.rank(offers, MARKET)] == ["y", "z", "x"]


def test_its_reason_is_the_price_and_how_old_it_is() -> None:
    assert RANKER.because(an_offer("b"), MARKET) == "$16.00 an hour, 300 s old"
    assert RANKER.because(an_offer("c", spot=True), MARKET) == "$8.00 an hour, 300 s old"
    assert RANKER.because(an_offer("e"), MARKET) == "price not known"
