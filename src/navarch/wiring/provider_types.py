"""What the configured providers sell, in one list: their own prices, and the catalogue's.

A provider that shows its price list is asked; whatever it does not say of a type is filled in from
the catalogue, and each price says where it is from.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Final, Literal

from msgspec import Struct

from navarch.controlplane.effects import ListPrice
from navarch.errors import NavarchError
from navarch.providers import catalog
from navarch.providers.base import InstanceType, InstanceTypeLister

if TYPE_CHECKING:
    from navarch.controlplane.effects import ListPrices
    from navarch.providers.base import Provider

ASK_TIME_MAX: Final = timedelta(seconds=60)
"""How long a price list may take: as long as the control plane gives it."""


class Sold(Struct, frozen=True, kw_only=True):
    """One type of one provider. Texts are empty, and numbers None, where nobody says anything."""

    provider: str
    type: str
    abstract: str
    """The most precise abstract name of it."""
    gpu: str
    gpu_count: int
    gpu_memory_gb: int | None
    """Of one GPU."""
    vcpus: int | None
    memory_gb: int | None
    price_usd_per_hour: float | None
    """For the whole machine, on demand."""
    price_from: str
    """Who says so: ``provider``, or ``list price of`` the catalogue's place and day."""
    spot_price_usd_per_hour: float | None
    available: bool | None
    """Whether there is one to sell now."""
    regions: tuple[str, ...]
    note: str


class Failure(Struct, frozen=True):
    """A provider whose price list could not be had."""

    provider: str
    because: str


async def sold_by(
    providers: Mapping[str, Provider], kinds: Mapping[str, str]
) -> tuple[list[Sold], list[Failure]]:
    """Ask all providers at once that can show a price list; `kinds` are their types by name.

    One that fails, or does not answer within a minute, is a `Failure`, and the others are told.
    """
    listers = {name: one for name, one in providers.items() if isinstance(one, InstanceTypeLister)}
    answers = await asyncio.gather(*(_asked(name, one) for name, one in listers.items()))
    sold = [
        merged(name, kinds[name], each)
        for name, answer in zip(listers, answers, strict=True)
        if not isinstance(answer, Failure)
        for each in answer
    ]
    return sold, [answer for answer in answers if isinstance(answer, Failure)]


async def _asked(name: str, lister: InstanceTypeLister) -> list[InstanceType] | Failure:
    try:
        async with asyncio.timeout(ASK_TIME_MAX.total_seconds()):
            return await lister.list_instance_types()
    except TimeoutError:
        return Failure(name, f"no answer within {ASK_TIME_MAX.total_seconds():g} s")
    except NavarchError as error:
        return Failure(name, f"{type(error).__name__}: {error}")


def merged(provider: str, kind: str, one: InstanceType) -> Sold:
    """Put together what a provider says of a type and what the catalogue does."""
    known = catalog.entry_of(kind, one.name)
    price, price_from = _price(one, known)
    return Sold(
        provider=provider,
        type=one.name,
        abstract="" if known is None or not known.abstract else known.abstract[0],
        gpu=one.gpu_type or ("" if known is None else known.gpu),
        gpu_count=one.gpu_count,
        gpu_memory_gb=None if known is None else known.gpu_memory_gb,
        vcpus=one.vcpus or (None if known is None else known.vcpus),
        memory_gb=one.memory_gb or (None if known is None else known.memory_gb),
        price_usd_per_hour=price,
        price_from=price_from,
        spot_price_usd_per_hour=one.spot_price_per_hour or None,
        available=one.available,
        regions=one.regions or (() if known is None else known.regions),
        note="" if known is None else known.note,
    )


def _price(one: InstanceType, known: catalog.Entry | None) -> tuple[float | None, str]:
    """Prefer the provider's own price, which is 0 where it does not say."""
    if one.price_per_hour:
        return one.price_per_hour, "provider"
    if known is None or known.price_usd_per_hour is None:
        return None, ""
    return known.price_usd_per_hour, _from_catalogue(known)


def in_catalogue() -> list[Sold]:
    """Say what the catalogue has, under the names of the clouds."""
    return [
        Sold(
            provider=one.cloud,
            type=one.type,
            abstract=one.abstract[0] if one.abstract else "",
            gpu=one.gpu,
            gpu_count=one.gpu_count,
            gpu_memory_gb=one.gpu_memory_gb,
            vcpus=one.vcpus,
            memory_gb=one.memory_gb,
            price_usd_per_hour=one.price_usd_per_hour,
            price_from=_from_catalogue(one),
            spot_price_usd_per_hour=None,
            available=None,
            regions=one.regions,
            note=one.note,
        )
        for one in catalog.table()
    ]


def _from_catalogue(one: catalog.Entry) -> str:
    if one.price_usd_per_hour is None:
        return ""
    return f"list price of {_place_and_day(one)}"


def _place_and_day(one: catalog.Entry) -> str:
    where = "all regions" if one.price_where == "all" else one.price_where
    return f"{where}, {one.price_read}"


def list_prices(kind: str) -> ListPrices | None:
    """Return the catalogue's prices of a kind of provider; None where it has no table.

    They are told to the control plane where the provider's own answer has none.
    """
    if kind not in catalog.CLOUDS:
        return None

    def listed(name: str) -> ListPrice | None:
        known = catalog.entry_of(kind, name)
        if known is None or known.price_usd_per_hour is None:
            return None
        return ListPrice(known.price_usd_per_hour, _place_and_day(known))

    return listed


Order = Literal["price", "count", "name"]


def chosen(
    sold: Iterable[Sold], *, gpu: str = "", count: int | None = None, sort: Order = "price"
) -> list[Sold]:
    """Keep the types of a GPU and of a count, and put them in order; unknown prices come last.

    `gpu` is any part of the model's name or of the abstract name, such as ``h100``.
    """
    wanted = _plain(gpu)
    kept = [
        one
        for one in sold
        if (wanted in _plain(one.gpu) or wanted in _plain(one.abstract))
        and (count is None or one.gpu_count == count)
    ]
    kept.sort(key=lambda one: (one.provider, one.type))
    match sort:
        case "price":
            kept.sort(key=_by_price)
        case "count":
            kept.sort(key=lambda one: one.gpu_count)
        case "name":
            kept.sort(key=lambda one: one.type)
    return kept


def _by_price(one: Sold) -> tuple[bool, float]:
    price = one.price_usd_per_hour
    return price is None, price or 0.0


def _plain(text: str) -> str:
    """Write ``H100 SXM``, ``nvidia-h100-80gb`` and ``h100`` alike."""
    return "".join(sign for sign in text.lower() if sign.isalnum())
