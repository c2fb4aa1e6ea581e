"""The asynchronous `Provider` over a fake cloud, and a time that is moved by hand."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final, TypeVar

from msgspec.structs import replace

from navarch.errors import ConfigError, OutcomeUnknown, ProviderError
from navarch.providers.base import (
    Finding,
    Instance,
    Instances,
    InstanceType,
    ProviderFacts,
    ProvisionRequest,
    Wanted,
)
from navarch.providers.fake.cloud import FakeCloud
from navarch.providers.fake.machines import ZERO, Answer, Lost

T = TypeVar("T")

EPOCH: Final = datetime(2026, 1, 1, tzinfo=UTC)
"""Where the time of a `FakeProvider` begins that was given none."""


class ManualTime:
    """A time that stands still until it is moved; waiting for it moves it."""

    def __init__(self, start: datetime = EPOCH) -> None:
        """Begin at `start`, an aware UTC moment."""
        self._now = start

    def now(self) -> datetime:
        """Tell what time it is."""
        return self._now

    def advance(self, by: timedelta) -> None:
        """Move on by `by`, which must not be negative."""
        if by < ZERO:
            message = f"time does not run backwards: {by}"
            raise ValueError(message)
        self._now += by

    async def sleep(self, delay: timedelta) -> None:
        """Let others run, then make it at least `delay` later; waits at once do not add up."""
        wake_at = self._now + delay
        await asyncio.sleep(0)
        self._now = max(self._now, wake_at)


class FakeProvider:
    """The `Provider` and `InstanceTypeLister` of a `FakeCloud`."""

    launches_at_once: Final = 64
    """More than a real cloud bears: a fake one has no reason to be slow."""

    def __init__(
        self,
        gpu_count: int = 8,
        *,
        name: str = "fake",
        cloud: FakeCloud | None = None,
        now: Callable[[], datetime] | None = None,
        sleep: Callable[[timedelta], Awaitable[None]] | None = None,
        timeout: timedelta = timedelta(minutes=1),
    ) -> None:
        """Sell from `cloud`; None: a new cloud of this name whose machines have `gpu_count` GPUs.

        `now` and `sleep` are the time that passes; without them it stands still but for
        `advance`. `timeout` is how long an answer is waited for: one that is lost or later ends
        in `OutcomeUnknown`.

        :raises ConfigError: one of `now` and `sleep` is given without the other
        """
        if (now is None) is not (sleep is None):
            message = "a fake provider needs both now and sleep, or neither"
            raise ConfigError(message)
        self._own_time = ManualTime()
        self.name = name
        self.cloud = FakeCloud(name=name, gpu_count=gpu_count) if cloud is None else cloud
        self._now = now or self._own_time.now
        self._sleep = sleep or self._own_time.sleep
        self._timeout = timeout
        self.is_closed = False
        """Whether `close` was called. It goes on selling: nothing was open."""

    @property
    def list_lag(self) -> timedelta:
        """How late the cloud's lists are."""
        return self.cloud.list_lag

    @property
    def calls_per_second(self) -> float:
        """What the cloud bears, where it has a limit; else as for any provider."""
        rate = self.cloud.rate
        return ProviderFacts().calls_per_second if rate is None else rate.calls_per_second

    @property
    def honours_tokens(self) -> bool:
        """Whether the cloud does."""
        return self.cloud.honours_tokens

    def advance(self, by: timedelta) -> None:
        """Move this provider's own time on, where it was given no other."""
        self._own_time.advance(by)

    async def provision(self, request: ProvisionRequest) -> Instance:
        """Launch a machine; see `Provider.provision`."""
        answer = self.cloud.launch(request, self._now())
        return replace(await self._receive(answer, request.name), provider=self.name)

    async def terminate(self, instance_id: str) -> None:
        """End a machine; see `Provider.terminate`."""
        await self._receive(self.cloud.terminate(instance_id, self._now()), instance_id)

    async def list_instance_types(self) -> list[InstanceType]:
        """Show what the cloud sells, for how much, and whether there is one left to sell."""
        return self.cloud.price_list(self._now())

    async def examine_for(self, wanted: Sequence[Wanted]) -> Sequence[Finding]:
        """Say whether the cloud can have as many machines of each type as pools want."""
        most: dict[str, dict[str, int]] = {}
        for each in wanted:
            most.setdefault(each.instance_type, {})[each.pool] = each.nodes
        return [self._stock_of(kind, sum(pools.values())) for kind, pools in most.items()]

    def _stock_of(self, kind: str, nodes: int) -> Finding:
        has = self.cloud.stock.get(kind)
        if has is None:
            return "stock", True, f"{kind}: as many as anybody wants"
        return "stock", has >= nodes, f"{kind}: {has} machines, {nodes} could be wanted"

    async def close(self) -> None:
        """Note that it was called; may be repeated."""
        self.is_closed = True

    async def list(self) -> Instances:
        """Show the machines; see `Provider.list`."""
        seen = await self._receive(self.cloud.list(self._now()), "the list")
        return [replace(each, provider=self.name) for each in seen]

    async def _receive(self, answer: Answer[T], subject: str) -> T:
        """Wait as a client would, then return the result or raise it."""
        if isinstance(answer.result, Lost) or answer.after > self._timeout:
            await self._sleep(self._timeout)
            message = f"{self.name}: no answer about {subject} within {self._timeout}"
            raise OutcomeUnknown(message)
        if answer.after:
            await self._sleep(answer.after)
        if isinstance(answer.result, ProviderError):
            raise answer.result
        return answer.result
