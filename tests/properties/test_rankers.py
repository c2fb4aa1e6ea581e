"""Rankers: total, stable and pure, whatever is for sale."""

from __future__ import annotations

import copy

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from factories import START
from navarch.core.model.offer import Offer
from navarch.core.model.sightings import Catalog
from navarch.core.selection import BUILT_IN
from navarch.core.selection.base import Market, Ranker
from strategies import PROVIDERS, offers, price_lists

RANKERS = pytest.mark.parametrize("ranker", BUILT_IN.values(), ids=list(BUILT_IN))

catalogs = st.builds(
    Catalog, st.just(START), price_lists.map(lambda sold: {each.name: each for each in sold})
)
markets = st.builds(
    Market,
    st.just(START),
    st.dictionaries(st.sampled_from(PROVIDERS), catalogs),
    st.dictionaries(st.sampled_from([*PROVIDERS, "gone"]), st.integers(0, 50)),
)
many = st.lists(offers, max_size=8)


@RANKERS
@given(for_sale=many, market=markets)
def test_every_offer_is_ranked_once(ranker: Ranker, for_sale: list[Offer], market: Market) -> None:
    ranked = list(ranker.rank(for_sale, market))
    assert sorted(map(repr, ranked)) == sorted(map(repr, for_sale))


@RANKERS
@given(for_sale=many, market=markets)
def test_the_same_is_ranked_the_same_and_nothing_is_changed(
    ranker: Ranker, for_sale: list[Offer], market: Market
) -> None:
    before = list(for_sale), copy.deepcopy(market)
    ranked = list(ranker.rank(for_sale, market))
    assert list(ranker.rank(tuple(for_sale), market)) == ranked
    assert (for_sale, market) == before


@RANKERS
@given(for_sale=many, market=markets)
def test_ranking_again_changes_nothing(
    ranker: Ranker, for_sale: list[Offer], market: Market
) -> None:
    ranked = ranker.rank(for_sale, market)
    assert list(ranker.rank(ranked, market)) == list(ranked)


@RANKERS
@given(for_sale=many, market=markets, data=st.data())
def test_equal_offers_keep_their_order(
    ranker: Ranker, for_sale: list[Offer], market: Market, data: st.DataObject
) -> None:
    """Offers that differ in nothing but a zone, which no ranker looks at, are equal."""
    twins = [replace(each, zone=f"{n}") for n, each in enumerate(for_sale) for _ in range(2)]
    shuffled = data.draw(st.permutations(twins))
    for each in for_sale:
        here = [twin for twin in shuffled if replace(twin, zone=each.zone) == each]
        ranked = [twin for twin in ranker.rank(shuffled, market) if twin in here]
        assert ranked == here


@RANKERS
@given(offer=offers, market=markets)
def test_every_offer_has_its_reason(ranker: Ranker, offer: Offer, market: Market) -> None:
    assert ranker.because(offer, market)


def test_every_ranker_goes_by_its_own_name() -> None:
    assert {name: ranker.name for name, ranker in BUILT_IN.items()} == {
        name: name for name in BUILT_IN
    }
