"""What every ranker must do: order all offers, the same way each time, looking at nothing else.

The fixture is `make_plugin`, as in every kit. It is asked about markets that know everything, some
prices and nothing at all.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import partial
from typing import ClassVar, Final

from navarch.core.model.messages import Sold
from navarch.core.model.offer import Offer
from navarch.core.model.sightings import Catalog
from navarch.core.selection.base import Market, Ranker
from navarch.plugins.protocols import PluginKind
from navarch.testing.findings import checked, expect
from navarch.testing.manners import Manners, orders, pure, same_twice, untouched

NOON: Final = datetime(2026, 5, 4, 12, tzinfo=UTC)

OFFERS: Final = tuple(
    Offer(provider, region, zone, "gpu_8x_h100", priority, weight, spot)
    for number, (provider, region, spot) in enumerate(
        itertools.product(("lambda", "gcp", "aws"), ("us-west-2", "eu-west-1"), (False, True))
    )
    for zone, priority, weight in ((f"z{number}", number % 3, number % 2 + 1),)
)


def _markets() -> Mapping[str, Market]:
    priced = Catalog(NOON, {"gpu_8x_h100": Sold("gpu_8x_h100", 23.5, 11.0)})
    return {
        "nothing is known": Market(NOON),
        "one provider has prices": Market(NOON, {"gcp": priced}, {"gcp": 3}),
        "all have prices": Market(
            NOON, dict.fromkeys(("lambda", "gcp", "aws"), priced), {"lambda": 7, "aws": 1}
        ),
    }


MARKETS: Final = _markets()


class RankerContract(Manners):
    """The kit for rankers: add the fixture `make_plugin`."""

    kind: ClassVar[str] = PluginKind.RANKER
    has_priority: ClassVar[bool] = False

    def ranked(self, plugin: Ranker, market: Market) -> list[Offer]:
        """Ask about all offers."""
        return list(plugin.rank(OFFERS, market))

    @checked
    def test_every_offer_is_in_the_answer_once(self, plugin: Ranker) -> None:
        """An offer that is left out is never bought, whatever else is sold out."""
        for when, market in MARKETS.items():
            for count in (0, 1, len(OFFERS)):
                answer = plugin.rank(OFFERS[:count], market)
                keys = sorted(offer.key for offer in answer)
                wanted = sorted(offer.key for offer in OFFERS[:count])
                expect(keys == wanted, f"of {count} offers it returns {len(keys)}, when {when}")

    @checked
    def test_the_same_question_has_the_same_answer(self, plugin: Ranker) -> None:
        """A purchase can be explained later."""
        for when, market in MARKETS.items():
            for again in (plugin, self.another()):
                same_twice(
                    f"the order when {when}",
                    partial(self.ranked, plugin, market),
                    partial(self.ranked, again, market),
                )

    @checked
    def test_equal_offers_keep_their_order(self, plugin: Ranker) -> None:
        """Two that are alike stand as they were given: first the configured first."""
        twins = [Offer("lambda", "us-west-2", zone, "gpu_8x_h100") for zone in "abcdef"]
        for order in orders(len(twins)):
            given = [twins[place] for place in order]
            answer = list(plugin.rank(given, MARKETS["nothing is known"]))
            expect(answer == given, "offers that differ in nothing but their zone change places")

    @checked
    def test_it_changes_nothing_that_it_is_given(self, plugin: Ranker) -> None:
        """All pools share one market."""
        for market in MARKETS.values():
            given = list(OFFERS)
            untouched("ranking", (given, market), partial(plugin.rank, given, market))

    @checked
    def test_it_uses_neither_clock_nor_chance_nor_network(self, plugin: Ranker) -> None:
        """The market says what time it is."""
        for market in MARKETS.values():
            pure("rank", partial(plugin.rank, OFFERS, market))
            pure("because", partial(plugin.because, OFFERS[0], market))

    @checked
    def test_it_says_why_an_offer_is_where_it_is(self, plugin: Ranker) -> str:
        """Every purchase carries this text."""
        texts = {plugin.because(offer, market) for offer in OFFERS for market in MARKETS.values()}
        odd: list[object] = [text for text in texts if str(text) != text or not text.strip()]
        expect(not odd, f"because answers {odd!r:.80}, expected a few words")
        return min(texts)
