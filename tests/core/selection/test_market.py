"""The market: what a price list says about an offer, and what it leaves open."""

from __future__ import annotations

import pytest

from factories import PROVIDER, an_offer, at, priced
from navarch.core.model.messages import Sold
from navarch.core.selection.base import Market

KIND = an_offer().instance_type


def market(*sold: Sold) -> Market:
    return Market(at(seconds=90), priced(fake=sold))


def test_nothing_is_known_without_a_price_list() -> None:
    empty, offer = Market(at()), an_offer()
    assert (empty.sold(offer), empty.price(offer), empty.available(offer)) == (None, None, None)
    assert empty.age(offer) == "not known"


def test_a_line_of_the_price_list_tells_price_and_stock() -> None:
    line = Sold(KIND, 2.5, 0.9, available=False)
    assert market(line).sold(an_offer()) == line
    assert market(line).price(an_offer()) == 2.5
    assert market(line).price(an_offer(spot=True)) == 0.9
    assert market(line).available(an_offer()) is False
    assert market(line).age(an_offer()) == "90 s old"


def test_a_type_that_is_not_in_the_list_is_not_known() -> None:
    other = market(Sold("a100-8x", 1.0))
    assert (other.price(an_offer()), other.available(an_offer())) == (None, None)


@pytest.mark.parametrize("spot", [True, False])
def test_a_price_of_zero_is_no_price(*, spot: bool) -> None:
    assert market(Sold(KIND)).price(an_offer(spot=spot)) is None


@pytest.mark.parametrize(
    "region,price,available",
    [("us-west-2", 2.5, True), ("eu-north-1", None, False), ("", 2.5, True)],
)
def test_a_region_in_which_it_is_not_sold_has_none(
    region: str, price: float | None, *, available: bool
) -> None:
    known = market(Sold(KIND, 2.5, regions=("us-west-2", "us-east-1")))
    offer = an_offer(region=region)
    assert (known.price(offer), known.available(offer)) == (price, available)


def test_a_list_without_regions_holds_everywhere() -> None:
    assert market(Sold(KIND, 2.5)).price(an_offer(region="eu-north-1")) == 2.5


def test_the_list_of_another_provider_says_nothing() -> None:
    assert market(Sold(KIND, 2.5)).price(an_offer("lambda")) is None
    assert market(Sold(KIND, 2.5)).price(an_offer(PROVIDER)) == 2.5
