"""By availability: who says that it has one, who does not say, who has none."""

from __future__ import annotations

from factories import an_offer, at, priced
from navarch.core.model.messages import Sold
from navarch.core.selection.availability import AvailabilityRanker
from navarch.core.selection.base import Market

RANKER = AvailabilityRanker()
MARKET = Market(
    at(minutes=5),
    priced(
        has=[Sold("h100-8x", 9.0)],
        none=[Sold("h100-8x", 1.0, available=False)],
        elsewhere=[Sold("h100-8x", 1.0, regions=("eu-north-1",))],
        also=[Sold("h100-8x", 5.0)],
    ),
)


def test_who_has_one_comes_first_and_who_has_none_last() -> None:
    offers = [an_offer(provider) for provider in ("none", "unknown", "has")]
    ranked = RANKER.rank(offers, MARKET)
    assert [each.provider for each in ranked] == ["has", "unknown", "none"]


def test_a_region_without_any_is_a_provider_without_any() -> None:
    offers = [an_offer("elsewhere", region="us-west-2"), an_offer("unknown")]
    assert RANKER.rank(offers, MARKET) == offers[::-1]


def test_of_those_that_have_one_the_priority_decides() -> None:
    offers = [an_offer("has", priority=2), an_offer("also", priority=1)]
    assert RANKER.rank(offers, MARKET) == offers[::-1]


def test_equal_offers_keep_the_order_of_the_configuration() -> None:
    offers = [an_offer("has"), an_offer("also"), an_offer("has", zone="b")]
    assert RANKER.rank(offers, MARKET) == offers


def test_its_reason_is_what_was_said_and_when() -> None:
    assert RANKER.because(an_offer("has"), MARKET) == "has capacity, 300 s old"
    assert RANKER.because(an_offer("none"), MARKET) == "says it has none, 300 s old"
