"""Whether each configured provider could be bought from, found out without buying anything.

A check is ``ok``, ``failed`` or ``unknown``; the last is what a cloud does not tell before a
launch, or not to us. A provider may know more about its own account than can be asked from here:
rights, quotas, room. It is told what pools may come to want of it (`AccountExaminer`), or just
asked (`SelfExamining`).
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Final, Literal, Protocol, runtime_checkable

from msgspec import Struct

from navarch.config import providers as written
from navarch.core.model.offer import offers
from navarch.core.model.pool import Pool
from navarch.errors import NavarchError, Unauthorized
from navarch.peers.endpoint import Endpoint
from navarch.peers.unanswered import Unanswered
from navarch.providers import catalog
from navarch.providers.base import (
    AccountExaminer,
    Finding,
    InstanceType,
    InstanceTypeLister,
    Wanted,
    facts_of,
)
from navarch.wiring import providers
from navarch.wiring.provider_types import ASK_TIME_MAX

if TYPE_CHECKING:
    from navarch.config.schema import Config
    from navarch.controlplane.clock import Clock
    from navarch.core.model.pool import PoolSpec
    from navarch.providers.base import Provider

SKEW_MAX: Final = timedelta(minutes=5)
"""How far our clock may be from a cloud's: signed requests have to reach AWS within five minutes of
their time stamp (IAM User Guide, "Elements of an AWS API request signature", read November 2026),
which is the strictest of them."""

DATE_TIME_MAX: Final = timedelta(seconds=10)
"""How long a cloud may take to say what time it is."""


Outcome = Literal["ok", "failed", "unknown"]
WORDS: Final[Mapping[bool | None, Outcome]] = {True: "ok", False: "failed", None: "unknown"}


class Check(Struct, frozen=True, kw_only=True):
    """One thing that was looked at."""

    provider: str
    what: str
    outcome: Outcome
    text: str


@runtime_checkable
class SelfExamining(Protocol):
    """A provider that can look at its account without changing anything: rights, quotas."""

    async def examine(self) -> Sequence[Finding]:
        """Say for each thing what it is, whether it is well (None: unknown), and in which words.

        :raises ProviderError: there is no answer
        """
        ...


async def examined(config: Config, clock: Clock, names: Sequence[str] = ()) -> list[Check]:
    """Check the providers called `names`, all without any, side by side; in the order of the file.

    Takes at most a few minutes, whatever they do. Raises `ConfigError` when the pools cannot be
    understood.
    """
    pools = providers.pools_of(config)
    wanted = [name for name in config.providers if not names or name in names]
    found = await asyncio.gather(*(_examined(name, config, pools, clock) for name in wanted))
    return [check for checks in found for check in checks]


async def _examined(
    name: str, config: Config, pools: Sequence[PoolSpec], clock: Clock
) -> list[Check]:
    settings = config.providers[name]
    around = providers.Surroundings(clock=clock, data=config.server.data)
    url = date_url(settings)
    asking = None if url is None else asyncio.create_task(_time(name, url, clock))
    checks = []
    try:
        provider = providers.make_provider(name, settings, around)
        facts_of(provider)
    except NavarchError as error:
        text = getattr(error, "message", "") or str(error)
        checks = [Check(provider=name, what="settings", outcome="failed", text=text)]
    else:
        checks = [Check(provider=name, what="settings", outcome="ok", text="it can be made")]
        try:
            checks += await _asked(name, written.kind_of(settings), provider, pools)
        finally:
            await providers.close_all([provider])
    return checks if asking is None else [await asking, *checks]


async def _asked(
    name: str, kind: str, provider: Provider, pools: Sequence[PoolSpec]
) -> list[Check]:
    """Ask what a provider answers without doing anything."""
    checks = [await _machines(name, provider)]
    if checks[0].outcome == "failed":
        return checks
    sold: dict[str, InstanceType] = {}
    if isinstance(provider, InstanceTypeLister):
        priced, sold = await _price_list(name, provider)
        checks.append(priced)
        if priced.outcome == "ok":
            checks += [
                _type(name, pool.name, kind_bought, sold.get(kind_bought))
                for pool in pools
                for kind_bought in _types_bought(pool, name)
                if kind_bought
            ]
    if isinstance(provider, AccountExaminer):
        wants = list(wanted(pools, name, kind, sold))
        checks += await _account(name, provider.examine_for(wants))
    elif isinstance(provider, SelfExamining):
        checks += await _account(name, provider.examine())
    else:
        text = "the provider does not tell: only a launch shows what the account may buy"
        checks.append(Check(provider=name, what="launches", outcome="unknown", text=text))
    return checks


def wanted(
    pools: Iterable[PoolSpec], provider: str, kind: str, sold: Mapping[str, InstanceType]
) -> Iterator[Wanted]:
    """Say what pools may come to want of a provider of a kind: each offer once, in order.

    Sizes are those of the price list, else of the catalogue.
    """
    for pool in pools:
        for offer in offers(Pool(spec=pool, target=0, target_because="")):
            if offer.provider != provider:
                continue
            listed = sold.get(offer.instance_type)
            entry = catalog.entry_of(kind, offer.instance_type)
            vcpus = entry.vcpus if entry is not None else None
            gpus = entry.gpu_count if entry is not None else None
            yield Wanted(
                pool=pool.name,
                instance_type=offer.instance_type,
                nodes=pool.max_nodes,
                region=offer.region,
                zone=offer.zone,
                spot=offer.spot,
                vcpus=(listed.vcpus or vcpus) if listed is not None else vcpus,
                gpu_count=listed.gpu_count if listed is not None else gpus,
                price_per_hour=(listed.price_per_hour or None) if listed is not None else None,
            )


def _types_bought(pool: PoolSpec, provider: str) -> list[str]:
    """Name the types that a pool buys of a provider, each once."""
    every = offers(Pool(spec=pool, target=0, target_because=""))
    return list(dict.fromkeys(each.instance_type for each in every if each.provider == provider))


async def _machines(name: str, provider: Provider) -> Check:
    try:
        async with asyncio.timeout(ASK_TIME_MAX.total_seconds()):
            machines = await provider.list()
    except Unauthorized as error:
        return Check(provider=name, what="credentials", outcome="failed", text=str(error))
    except (NavarchError, TimeoutError) as error:
        return Check(provider=name, what="machines", outcome="failed", text=_said(error))
    text = f"accepted; machines listed: {len(machines)}"
    return Check(provider=name, what="credentials", outcome="ok", text=text)


async def _price_list(
    name: str, lister: InstanceTypeLister
) -> tuple[Check, dict[str, InstanceType]]:
    try:
        async with asyncio.timeout(ASK_TIME_MAX.total_seconds()):
            sold = {one.name: one for one in await lister.list_instance_types()}
    except (NavarchError, TimeoutError) as error:
        return Check(provider=name, what="price list", outcome="failed", text=_said(error)), {}
    return Check(provider=name, what="price list", outcome="ok", text=f"{len(sold)} types"), sold


def _type(name: str, pool: str, kind: str, sold: InstanceType | None) -> Check:
    what = f"pool {pool}"
    if sold is None:
        text = f"{kind} is not in the price list, which may be shortened by the settings"
        return Check(provider=name, what=what, outcome="unknown", text=text)
    place = f" in {', '.join(sold.regions)}" if sold.regions else ""
    text = f"{kind} is sold{place}" if sold.available else f"{kind} is sold out everywhere now"
    return Check(provider=name, what=what, outcome="ok", text=text)


async def _account(name: str, asked: Awaitable[Sequence[Finding]]) -> list[Check]:
    try:
        async with asyncio.timeout(ASK_TIME_MAX.total_seconds()):
            found = await asked
    except (NavarchError, TimeoutError) as error:
        return [Check(provider=name, what="account", outcome="failed", text=_said(error))]
    return [
        Check(provider=name, what=what, outcome=WORDS[well], text=text)
        for what, well, text in found
    ]


def _said(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return f"no answer within {ASK_TIME_MAX.total_seconds():g} s"
    return f"{type(error).__name__}: {error}"


# --- clocks ----------------------------------------------------------------------------------


def date_url(settings: written.Provider) -> str | None:
    """Say which address tells a cloud's time; None where there is no such thing."""
    match settings:
        case written.LambdaProvider() | written.RunPodProvider() | written.GcpProvider():
            return settings.url
        case written.AwsProvider():
            region = settings.region or "".join(settings.regions[:1])
            address = settings.endpoint_url or "https://ec2.{region}.amazonaws.com"
            return address.replace("{region}", region)
        case _:
            return None


async def _time(name: str, url: str, clock: Clock) -> Check:
    """Compare our clock with the one that a cloud dates its answers by; no key is sent."""
    try:
        endpoint = Endpoint(url)
    except NavarchError as error:
        return Check(provider=name, what="clock", outcome="unknown", text=str(error))
    try:
        asked_at = clock.now()
        date = await endpoint.date(DATE_TIME_MAX)
        answered_at = clock.now()
    except Unanswered as error:
        return Check(provider=name, what="clock", outcome="unknown", text=str(error))
    finally:
        await endpoint.close()
    ahead = skew(date, asked_at, answered_at)
    if ahead is None:
        text = f"{url} does not say what time it is"
        return Check(provider=name, what="clock", outcome="unknown", text=text)
    return _clock(name, ahead)


def _clock(name: str, ahead: timedelta) -> Check:
    seconds = abs(math.trunc(ahead.total_seconds()))
    side = "ahead of" if ahead > timedelta() else "behind"
    if abs(ahead) <= SKEW_MAX:
        text = f"{seconds} s {side} theirs" if seconds else "as theirs"
        return Check(provider=name, what="clock", outcome="ok", text=text)
    text = f"{seconds} s {side} theirs: signed requests are refused; set this machine's clock"
    return Check(provider=name, what="clock", outcome="failed", text=text)


def skew(date: str, asked_at: datetime, answered_at: datetime) -> timedelta | None:
    """Say how far our clock is ahead of the one that wrote the header ``Date``, within a second.

    An answer was dated at any time between asking and reading: what lies within is no difference.
    None where the header is missing or is no date.
    """
    try:
        theirs = parsedate_to_datetime(date)
    except (TypeError, ValueError, IndexError, OverflowError):
        return None
    theirs = theirs if theirs.tzinfo else theirs.replace(tzinfo=UTC)
    second = timedelta(seconds=1)  # the header has no fractions
    at_least = asked_at - theirs - second
    return max(at_least, timedelta()) or min(answered_at - theirs, timedelta())
