"""What machines cost in an hour, by the newest price lists of their providers.

The core reads price lists for pools that buy by price, and for no other. Costs are shown of all
pools: the lists of the others' providers are read here, rarely, and decide nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from typing import Final

from msgspec import Struct

from navarch.controlplane.census import Bought
from navarch.controlplane.clock import Clock
from navarch.controlplane.runtime import Runtime
from navarch.core.model.messages import Sold
from navarch.core.model.sightings import Catalog

LIST_AGE_MAX: Final = timedelta(hours=1)
"""After how long a list is read again: prices on demand change a few times a year."""
LOOK: Final = timedelta(minutes=1)
"""How often it is seen whose lists are missing."""
WANTED_FOR: Final = timedelta(minutes=10)
"""For how long the lists of sellers without any machine are read after somebody looked at them."""


class _List(Struct, frozen=True):
    """A price list, or that there was none."""

    read_at: datetime
    types: dict[str, Sold]


class Prices:
    """Prices of machines that are there."""

    def __init__(self, runtime: Callable[[], Runtime], clock: Clock) -> None:
        """Read the lists of the providers of `runtime`."""
        self._runtime = runtime
        self._clock = clock
        self._lists: dict[str, _List] = {}
        self._wanted: frozenset[str] = frozenset()
        self._wanted_at: datetime | None = None

    def catalogs(self) -> dict[str, Catalog]:
        """All lists that were read, by provider; where the core has one, that is the one."""
        own = {name: Catalog(each.read_at, each.types) for name, each in self._lists.items()}
        return {**own, **self._runtime().machine.sightings.catalogs}

    def want(self, providers: Iterable[str]) -> None:
        """Have the lists of these read for some minutes too: somebody looks at what they sell."""
        self._wanted, self._wanted_at = frozenset(providers), self._clock.now()

    def _wanted_now(self) -> frozenset[str]:
        at = self._wanted_at
        is_wanted = at is not None and self._clock.now() - at < WANTED_FOR
        return self._wanted if is_wanted else frozenset()

    def price(self, bought: Bought) -> float | None:
        """Say what a machine costs, in US dollars an hour; None: nobody knows. Cost: O(1)."""
        catalog = self._runtime().machine.sightings.catalogs.get(bought.provider)
        own = self._lists.get(bought.provider)
        types = catalog.types if catalog is not None else own.types if own is not None else {}
        sold = types.get(bought.instance_type)
        if sold is None:
            return None
        return sold.spot_price_usd_per_hour if bought.spot else sold.price_usd_per_hour

    async def run(self, providers: Callable[[], Iterable[str]]) -> None:
        """Read the lists of whoever `providers` names and the core does not ask, until cancelled.

        A list that cannot be read is tried again as late as one that can, and the one before stays.
        """
        while True:
            for provider in sorted({*providers(), *self._wanted_now()}):
                await self._refresh(provider)
            await self._clock.sleep(LOOK)

    async def _refresh(self, provider: str) -> None:
        runtime, now = self._runtime(), self._clock.now()
        known = self._lists.get(provider)
        fresh = known is not None and now - known.read_at < LIST_AGE_MAX
        if fresh or provider in runtime.machine.sightings.catalogs:
            return
        answer = await runtime.effects.types_of(provider)
        types = {} if known is None else known.types
        if answer.types is not None:
            types = {sold.name: sold for sold in answer.types}
        self._lists[provider] = _List(now, types)
