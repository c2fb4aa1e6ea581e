"""What may go wrong at a cloud, and what a cloud on trial must be able to do."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from enum import Enum
from types import MappingProxyType
from typing import Any, ClassVar, NamedTuple, TypeVar

from msgspec.structs import replace

from navarch.controlplane.clock import RealClock
from navarch.core.model.pool import PoolSpec
from navarch.providers.base import Instances, Provider

P = TypeVar("P", bound=Provider)

NODES = 3
"""How many machines every pool wants."""

MANY = 200
"""More calls than any case makes while a fault lasts."""

LIST_LAG = timedelta(seconds=0.8)
"""What the providers on trial state in the place of minutes. The doubles show at once what they
did, unless told otherwise, so that it is still honest, and is a wait that a test bears."""

LAGGING_LIST_LAG = timedelta(seconds=6)
"""The same where the double does lag: longer than it takes a busy machine to let it catch up."""

RESTART_LIST_LAG = timedelta(seconds=1)
"""The same for a control plane that was killed, and waits as long for what was never asked."""

LOOK = 0.01
"""Seconds between two looks of the test at what sets no event of its own."""

SECONDS_MAX = 3.0
"""How long one case may wait in all. Counted in looks, so that a busy machine is no fault."""

FLEET_HURRY = 2
"""How many times faster the control plane's time passes: some of its waits, such as the shortest
heartbeat and the shortest Retry-After, are a second. The lags above are in that time."""

CALLS_PER_SECOND = 200.0
"""At which pace a double may be called; the clouds' own paces have tests beside each provider."""


class Fault(Enum):
    """What goes wrong, as the page names it."""

    STOCK_OUT = "no capacity, then some"
    QUOTA = "quota used up, then raised"
    THROTTLED = "too many requests"
    TROUBLE = "launches and lists fail with 5xx"
    LOST_ANSWERS = "machines made, answers lost"
    SLOW_BOOT = "slow boot"
    LAGGING_LIST = "machines made, answers lost, lists that lag"
    BY_HAND = "a machine deleted by hand"
    REVOKED = "credentials revoked half-way, then restored"
    RESTART = "control plane killed with a launch under way, lists that lag"

    @property
    def slug(self) -> str:
        """The name in a test's id."""
        return self.name.lower().replace("_", "-")


class Machine(NamedTuple):
    """A machine that costs money now, by the double's own books."""

    name: str
    """Our id, which it was made with."""

    ref: str
    """The provider's id of it."""


class Hurry:
    """A time that passes faster: for whoever waits by the second for what a double does."""

    jumps = False

    def __init__(self, times: float) -> None:
        self._clock = RealClock()
        self._began_at = self._clock.now()
        self._times = times

    def now(self) -> datetime:
        return (self._began_at + (self._clock.now() - self._began_at) * self._times).astimezone(UTC)

    async def sleep(self, duration: timedelta) -> None:
        await self._clock.sleep(duration / self._times)


class Stand:
    """A cloud's double, the provider that buys there, and the double's own books.

    `begin` and `end` are called from the test; what they change lasts for all calls between them,
    and the machines that are there stay.
    """

    title: ClassVar[str]
    """The cloud's name on the page."""

    not_applicable: ClassVar[Mapping[Fault, str]] = MappingProxyType({})
    """Faults that the double cannot show, each with the reason."""

    pool: ClassVar[PoolSpec]
    """What is bought; the number is not decided yet."""

    looks_left = round(SECONDS_MAX / LOOK)
    """How often the case may look yet."""

    booting = False
    """Whether machines do not come to run."""

    def provider(self, list_lag: timedelta) -> Provider:
        """Make a provider as a process does that has just started."""
        raise NotImplementedError

    def begin(self, fault: Fault) -> None:
        """Let it go wrong from now on: this by itself, whatever else its story has."""
        raise NotImplementedError

    def end(self) -> None:
        """Let all be well again, and let go of whoever hangs."""
        raise NotImplementedError

    def delete_by_hand(self, machine: Machine) -> None:
        """Take a machine away behind our back."""
        raise NotImplementedError

    @property
    def machines(self) -> list[Machine]:
        """Every machine that exists, whether a list shows it or not, and whoever bought it."""
        raise NotImplementedError

    @property
    def made(self) -> int:
        """How many machines there ever were, those not counted that there was no room for."""
        raise NotImplementedError

    @property
    def lists(self) -> int:
        """How many lists were asked for."""
        raise NotImplementedError

    @property
    def running(self) -> list[str]:
        """The names of the machines that run: where an agent can speak."""
        return [] if self.booting else [each.name for each in self.machines]


def quick(provider: P, list_lag: timedelta) -> P:
    """Let a provider state other facts than its own, which are minutes and calls a second."""
    vars(provider).update(list_lag=list_lag, calls_per_second=CALLS_PER_SECOND)
    return provider


def counted(provider: P, lists: list[int]) -> P:
    """Count the lists that a provider is asked for, where what it asks itself tells them not."""
    ask = provider.list

    async def counting() -> Instances:
        lists[0] += 1
        return await ask()

    vars(provider)["list"] = counting
    return provider


def pool_of(**changes: Any) -> PoolSpec:  # noqa: ANN401 - any field
    """Return a pool that may have one machine more than it should, so that one too many is seen."""
    spec = PoolSpec("training", "cloud", max_nodes=NODES + 1, cooldown=timedelta())
    return replace(spec, **changes)
