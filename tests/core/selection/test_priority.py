"""By priority: the lowest number first, whatever it costs."""

from __future__ import annotations

from factories import an_offer, at, priced
from navarch.core.model.messages import Sold
from navarch.core.selection.base import Market
from navarch.core.selection.priority import PriorityRanker

RANKER = PriorityRanker()


def test_the_lowest_number_comes_first() -> None:
    offers = [an_offer("a", priority=20), an_offer("b", priority=-1), an_offer("c", priority=3)]
    assert [each.provider for each in RANKER.rank(offers, Market(at()))] == ["b", "c", "a"]


def test_equal_offers_keep_the_order_of_the_configuration() -> None:
    offers = [an_offer(provider, priority=1) for provider in "dacb"]
    assert RANKER.rank(offers, Market(at())) == offers


def test_prices_and_stock_do_not_matter() -> None:
    dear, cheap = an_offer("a"), an_offer("b", priority=1)
    known = priced(a=[Sold("h100-8x", 99.0, available=False)], b=[Sold("h100-8x", 1.0)])
    assert RANKER.rank([cheap, dear], Market(at(), known)) == [dear, cheap]


def test_its_reason_is_the_priority() -> None:
    assert RANKER.because(an_offer(priority=7), Market(at())) == "priority 7"
