"""The guard around rankers of others: what breaks its contract is not followed, and is named."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from factories import an_offer, at
from navarch.core.model.offer import Offer
from navarch.core.selection.base import Market
from navarch.core.selection.guarded import GuardedRanker

MARKET = Market(at())
OFFERS = [an_offer("dear", priority=2), an_offer("near", priority=1)]


class Backwards:
    """A ranker that keeps its contract."""

    name = "backwards"

    def rank(self, offers: Sequence[Offer], market: Market) -> Sequence[Offer]:
        """Turn the order around."""
        del market
        return list(reversed(offers))

    def because(self, offer: Offer, market: Market) -> str:
        """Say so."""
        del market
        return f"{offer.provider} came last"


class Raises(Backwards):
    """A ranker that fails."""

    def rank(self, offers: Sequence[Offer], market: Market) -> Sequence[Offer]:
        """Fail."""
        raise OSError("no network in here")


class Drops(Backwards):
    """A ranker that leaves everything out."""

    def rank(self, offers: Sequence[Offer], market: Market) -> Sequence[Offer]:
        """Return nothing."""
        return []


class Mute(Backwards):
    """A ranker that cannot say why."""

    def because(self, offer: Offer, market: Market) -> str:
        """Fail."""
        raise KeyError("price")


def test_a_ranker_that_keeps_its_contract_is_followed() -> None:
    guarded = GuardedRanker(Backwards())
    assert list(guarded.rank(OFFERS, MARKET)) == OFFERS[::-1]
    assert guarded.because(OFFERS[0], MARKET) == "dear came last"
    assert guarded.name == "backwards"


@pytest.mark.parametrize(
    "ranker,fault",
    [
        (Raises(), "OSError: no network in here"),
        (Drops(), "it dropped or invented offers"),
    ],
)
def test_one_that_breaks_it_is_not_followed_and_named(ranker: Backwards, fault: str) -> None:
    guarded = GuardedRanker(ranker)
    assert [offer.provider for offer in guarded.rank(OFFERS, MARKET)] == ["near", "dear"]
    assert guarded.because(OFFERS[1], MARKET) == f"broken ({fault}), so by priority 1"


def test_one_that_cannot_say_why_is_followed_all_the_same() -> None:
    guarded = GuardedRanker(Mute())
    assert list(guarded.rank(OFFERS, MARKET)) == OFFERS[::-1]
    assert guarded.because(OFFERS[0], MARKET) == "broken (KeyError: 'price'), so by priority 2"
