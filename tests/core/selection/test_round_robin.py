"""In turns: smoothly by weight, and without beginning anew after a restart."""

from __future__ import annotations

import pytest

from factories import an_offer, at
from navarch.core.model.offer import Offer
from navarch.core.selection.base import Market
from navarch.core.selection.round_robin import RoundRobinRanker

RANKER = RoundRobinRanker()


def taken(offers: list[Offer], number: int, bought: dict[str, int] | None = None) -> str:
    """Buy so many machines, one after the other, and name the providers in their order."""
    bought = dict(bought or {})
    turns = []
    for _ in range(number):
        best = RANKER.rank(offers, Market(at(), bought=bought))[0].provider
        bought[best] = bought.get(best, 0) + 1
        turns.append(best)
    return "".join(turns)


def test_equal_weights_take_turns() -> None:
    assert taken([an_offer("a"), an_offer("b"), an_offer("c")], 7) == "abcabca"


@pytest.mark.parametrize(
    "weights,expected",
    [
        ({"a": 1}, "aaaaa"),
        ({"a": 2, "b": 1}, "abaaba"),
        ({"a": 1, "b": 3}, "babbbabb"),
        ({"a": 5, "b": 1, "c": 1}, "aabacaa"),
    ],
)
def test_turns_are_spread_by_weight(weights: dict[str, int], expected: str) -> None:
    offers = [an_offer(provider, weight=weight) for provider, weight in weights.items()]
    assert taken(offers, len(expected)) == expected


def test_each_has_its_share_in_the_long_run() -> None:
    weights = {"a": 7, "b": 2, "c": 1}
    turns = taken([an_offer(each, weight=weight) for each, weight in weights.items()], 100)
    assert {each: turns.count(each) for each in weights} == {"a": 70, "b": 20, "c": 10}


def test_nobody_is_ever_a_whole_turn_away_from_its_share() -> None:
    weights = {"a": 5, "b": 3, "c": 2}
    turns = taken([an_offer(each, weight=weight) for each, weight in weights.items()], 40)
    for number in range(1, 41):
        for each, weight in weights.items():
            assert abs(turns[:number].count(each) - number * weight / 10) < 1


def test_it_goes_on_where_it_was() -> None:
    offers = [an_offer("a", weight=2), an_offer("b")]
    whole = taken(offers, 9)
    first = whole[:4]
    bought = {"a": first.count("a"), "b": first.count("b")}
    assert first + taken(offers, 5, bought) == whole


def test_zones_do_not_add_to_the_weight_of_their_provider() -> None:
    offers = [an_offer("a", zone="x"), an_offer("a", zone="y"), an_offer("b")]
    assert taken(offers, 6) == "ababab"


def test_of_two_sources_of_a_provider_the_heavier_counts_wherever_it_stands() -> None:
    offers = [an_offer("a", zone="x", weight=2), an_offer("a", zone="y"), an_offer("b")]
    assert taken(offers, 6) == "abaaba"
    assert taken([offers[1], offers[0], offers[2]], 6) == "abaaba"


def test_what_others_sold_before_does_not_matter() -> None:
    assert taken([an_offer("a"), an_offer("b")], 4, {"gone": 500}) == "abab"


def test_its_reason_is_the_share() -> None:
    market = Market(at(), bought={"a": 3})
    expected = "its turn: weight 2, 3 asked of it so far"
    assert RANKER.because(an_offer("a", weight=2), market) == expected
    assert RANKER.because(an_offer("b"), market) == "its turn: weight 1, 0 asked of it so far"
