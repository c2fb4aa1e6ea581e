"""Offers: sources multiply into provider × region × zone × type, in the configuration's order."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from factories import PROVIDER, a_pool, a_spec, an_offer
from navarch.core.model.offer import Offer, offers
from navarch.core.model.pool import Source


def places(*sources: Source, region: str = "us-west-2", zones: tuple[str, ...] = ()) -> list[str]:
    spec = a_spec(region=region, zones=zones, sources=sources)
    return [f"{each.provider}:{each.region}:{each.zone}" for each in offers(a_pool(spec=spec))]


def test_a_pool_without_sources_has_one_offer() -> None:
    offer = Offer(PROVIDER, "us-west-2", instance_type="h100-8x")
    assert list(offers(a_pool())) == [offer]


def test_each_zone_is_an_offer() -> None:
    assert places(zones=("a", "b")) == ["fake:us-west-2:a", "fake:us-west-2:b"]


def test_a_source_has_its_own_words_for_everything() -> None:
    spec = a_spec(
        zones=("a",),
        sources=(
            Source("fake", 3, 2),
            Source("lambda", regions=("eu",), zones=("z",), instance_type="gpu_8x", spot=True),
        ),
    )
    assert list(offers(a_pool(spec=spec))) == [
        Offer("fake", "us-west-2", "a", "h100-8x", priority=3, weight=2),
        Offer("lambda", "eu", "z", "gpu_8x", spot=True),
    ]


def test_of_several_regions_each_has_the_zones_that_are_called_after_it() -> None:
    zones = ("us-east-1a", "us-east-1b", "us-west-2a")
    source = Source("aws", regions=("us-west-2", "us-east-1", "eu-north-1"), zones=zones)
    assert places(source) == [
        "aws:us-west-2:us-west-2a",
        "aws:us-east-1:us-east-1a",
        "aws:us-east-1:us-east-1b",
        "aws:eu-north-1:",
    ]


def test_offers_come_in_the_order_of_the_configuration() -> None:
    assert places(Source("b", 9), Source("a", 1), zones=("y", "x")) == [
        "b:us-west-2:y",
        "b:us-west-2:x",
        "a:us-west-2:y",
        "a:us-west-2:x",
    ]


@pytest.mark.parametrize(
    "changes,expected",
    [
        ({}, "fake"),
        ({"region": "us-west-2"}, "fake/us-west-2"),
        ({"region": "us-west-2", "zone": "us-west-2a"}, "fake/us-west-2a"),
        ({"spot": True}, "fake (spot)"),
        ({"zone": "a", "spot": True}, "fake/a (spot)"),
    ],
)
def test_an_offer_is_named_by_seller_and_place(changes: dict[str, object], expected: str) -> None:
    assert str(replace(an_offer(), **changes)) == expected


def test_offers_are_remembered_apart_by_all_that_is_sold_and_nothing_else() -> None:
    sold = [
        an_offer(),
        an_offer("lambda"),
        an_offer(region="r"),
        an_offer(zone="r"),
        an_offer(instance_type="a100-8x"),
        an_offer(spot=True),
    ]
    assert len({offer.key for offer in sold}) == len(sold)
    assert an_offer(priority=3, weight=2).key == an_offer().key


def test_no_offer_is_remembered_under_the_name_of_a_provider() -> None:
    assert an_offer().key != PROVIDER
    assert "/" in an_offer().key
