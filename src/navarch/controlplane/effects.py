"""Effects: asking providers for what the state owes the world.

Every effect ends in exactly one message, whatever happens to it: done, surely refused, or unknown.
Nothing is repeated here. What is still owed afterwards will be asked for again, by the state; until
the state has heard the outcome (`Effects.heard`), the effect counts as under way, or whatever
comes back while the journal is written would be done twice.
How many calls are under way, and how fast they follow one another, is bounded per provider, by
what the provider says it bears.
"""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping
from datetime import timedelta
from typing import assert_never

from msgspec import Struct

from navarch.controlplane import effect_log
from navarch.controlplane.causes import Cause, Causes
from navarch.controlplane.clock import Clock, stopwatch
from navarch.controlplane.timings import ProviderCalls
from navarch.core.model import messages as msg
from navarch.core.model.actions import Action, Launch, ListTypes, Purchase, TakeInventory, Terminate
from navarch.errors import (
    NavarchError,
    NotFound,
    OutcomeUnknown,
    ProviderError,
    QuotaExceeded,
    Unavailable,
)
from navarch.providers.base import (
    FLEET_LABEL,
    INSTANCE_LABEL,
    POOL_LABEL,
    BootstrapLogReader,
    Instance,
    InstanceStatus,
    InstanceType,
    InstanceTypeLister,
    Provider,
    ProviderFacts,
    ProvisionRequest,
    facts_of,
)
from navarch.telemetry.log import Log

log = Log(__name__)

LAUNCH_SECONDS_MAX = 300.0
"""How long a launch may take to answer; later its outcome is unknown."""
ASK_SECONDS_MAX = 60.0
"""How long a termination or a list may take to answer."""
TERMINATIONS_AT_ONCE = 8
"""How many terminations may be under way at one provider: as many as launches by default."""
BURST_SECONDS = 2.0
"""For how long a provider that was left in peace may be asked at once what its rate allows."""


BeforeEnd = Callable[[Terminate], Awaitable[None]]
"""What is done with a machine before it is ended; bounded in time. What it raises is logged."""
BootScript = Callable[[Launch], str]
"""Writes what a machine runs at its first boot. Raises `NavarchError` when it cannot."""


class ListPrice(Struct, frozen=True):
    """What a type once cost on demand, by somebody who wrote it down."""

    usd_per_hour: float
    """For the whole machine; above 0."""
    of: str
    """Of where and when it is, for people."""


ListPrices = Callable[[str], ListPrice | None]
"""Says what a type of a provider costs by a list, by the provider's own name of it."""


class _NotOurs(NavarchError):
    """We do not lead any more: whoever does will do it."""


def always() -> bool:
    """Act: nobody else writes to this journal."""
    return True


class Pace:
    """A token bucket: lets calls to one provider through no faster than it bears."""

    def __init__(self, calls_per_second: float, clock: Clock) -> None:
        """Begin with a full bucket."""
        self._rate = calls_per_second
        self._room = max(calls_per_second * BURST_SECONDS, 1.0)
        self._tokens = self._room
        self._clock = clock
        self._filled_at = clock.now()

    async def turn(self) -> None:
        """Wait until the next call may go out; in the order of asking."""
        now = self._clock.now()
        passed = (now - self._filled_at).total_seconds()
        self._tokens = min(self._room, self._tokens + passed * self._rate)
        self._filled_at = now
        self._tokens -= 1  # below zero it is a debt, which those who come later wait longer for
        if self._tokens < 0:
            await self._clock.sleep(timedelta(seconds=-self._tokens / self._rate))


class Effects:
    """Performs actions against the providers it knows, each one at most once at a time."""

    def __init__(
        self,
        providers: Mapping[str, Provider],
        post: Callable[[msg.Message], None],
        clock: Clock,
        may_act: Callable[[], bool] = always,
    ) -> None:
        """Know the providers by the names that pools use; `post` takes every outcome.

        `may_act` is asked right before each call of a provider that changes something; where it
        says no, another may lead by now, and the action is left to it.

        Raises `PluginError` when a provider misstates its facts.
        """
        self._providers: dict[str, Provider] = {}
        self._facts: dict[str, ProviderFacts] = {}
        self._paces: dict[str, Pace] = {}
        self._boots: dict[str, BootScript] = {}
        self.before_end: BeforeEnd | None = None
        """Called before each termination, if set."""
        self.cause_of: Callable[[Action], Cause] = Causes().of
        """Tells which fact has caused an action."""
        self._list_prices: dict[str, ListPrices] = {}
        self.calls = ProviderCalls(stopwatch)
        """How long calls of providers took, and which failed."""
        self._post = post
        self._clock = clock
        self._may_act = may_act
        self._under_way: dict[str, asyncio.Task[None]] = {}
        self._lanes: Counter[tuple[str, str]] = Counter()
        for name, provider in providers.items():
            self.add(name, provider)

    def add(
        self,
        name: str,
        provider: Provider,
        boot: BootScript | None = None,
        list_prices: ListPrices | None = None,
    ) -> None:
        """Know one more provider, under the name that pools use.

        `boot` writes what its machines run first; None: what the pool says, as it stands.
        `list_prices` are told where the provider itself names no price; None: nothing is. Raises
        `PluginError` when the provider misstates its facts.
        """
        facts = facts_of(provider)
        if boot is not None:
            self._boots[name] = boot
        if list_prices is not None:
            self._list_prices[name] = list_prices
        self._providers[name] = provider
        self._facts[name] = facts
        self._paces[name] = Pace(facts.calls_per_second, self._clock)

    def shows_logs(self, provider: str) -> bool:
        """Whether a provider can show what start-up scripts told."""
        return isinstance(self._providers.get(provider), BootstrapLogReader)

    async def bootstrap_log(self, provider: str, ref: str) -> str:
        """Return what the start-up script of a machine told, at the provider's pace.

        Raises `ProviderError`; whatever else a provider raises becomes `Unavailable`.
        """
        reader: object = self._providers.get(provider)
        if not isinstance(reader, BootstrapLogReader):
            raise Unavailable(f"provider {provider} shows no logs")
        await self._paces[provider].turn()
        try:
            return str(await reader.bootstrap_log(ref))
        except ProviderError:
            raise
        except Exception as error:
            log.exception("provider_broke", provider=provider, call="bootstrap_log", ref=ref)
            raise Unavailable(f"{provider}: {type(error).__name__}: {error}") from error

    async def types_of(self, provider: str) -> msg.TypesListed:
        """Read a provider's price list now, at its pace, beside what the state owes."""
        return await self._list_types(ListTypes(provider))

    def __len__(self) -> int:
        """How many effects are under way, those included whose outcome has not been heard yet."""
        return len(self._under_way)

    def perform(self, fleet_tag: str, actions: Iterable[Purchase]) -> None:
        """Begin the actions that are not under way and for which there is room.

        The others are simply left: they stay owed, and every outcome asks again.
        """
        if not self._may_act():
            return
        for action in actions:
            lane = (action.provider, type(action).__name__)
            if action.key in self._under_way or self._lanes[lane] >= self._room(action):
                continue
            self._lanes[lane] += 1
            doing = self._perform(action, fleet_tag, lane, self.cause_of(action))
            task = asyncio.create_task(doing, name=action.key)
            self._under_way[action.key] = task

    def heard(self, messages: Iterable[msg.Message]) -> None:
        """Know that the fleet has learned of these outcomes; messages of others are passed over."""
        for message in messages:
            self._under_way.pop(_key_of(message), None)

    def _room(self, action: Purchase) -> int:
        match action:
            case Launch():
                return self._facts.get(action.provider, ProviderFacts()).launches_at_once
            case Terminate():
                return TERMINATIONS_AT_ONCE
            case TakeInventory() | ListTypes():
                return 1
            case _:
                assert_never(action)

    async def stop(self) -> None:
        """Abandon what is under way. Its outcome is unknown, and a restart looks it up."""
        tasks = list(self._under_way.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _perform(
        self, action: Purchase, fleet_tag: str, lane: tuple[str, str], cause: Cause
    ) -> None:
        outcome: msg.Message | None = None
        began_at = self._clock.now()
        with effect_log.caused_by(cause, action) as span:
            try:
                outcome = await self._outcome(action, fleet_tag)
            except _NotOurs:
                log.warning("effect_left", action=action.key, because="we lead no more")
            finally:
                self._lanes[lane] -= 1
                if outcome is None:
                    del self._under_way[action.key]
                else:
                    self._post(outcome)
            if outcome is not None:
                seconds = (self._clock.now() - began_at).total_seconds()
                if error := effect_log.tell(log, action, outcome, seconds):
                    span.fail(error)

    async def _outcome(self, action: Purchase, fleet_tag: str) -> msg.Message:
        match action:
            case Launch():
                return await self._launch(action, fleet_tag)
            case Terminate():
                return await self._terminate(action)
            case TakeInventory():
                return await self._take_inventory(action)
            case ListTypes():
                return await self._list_types(action)
            case _:
                assert_never(action)

    async def _turn(self, provider: str) -> None:
        """Wait until the provider bears a call that changes something.

        Raises `_NotOurs` when we may not act any more.
        """
        await self._paces[provider].turn()
        if not self._may_act():
            raise _NotOurs

    async def _launch(self, action: Launch, fleet_tag: str) -> msg.Message:
        provider = self._providers.get(action.provider)
        if provider is None:
            text = f"no provider {action.provider!r} is configured"
            return msg.LaunchRefused(action.instance_id, "InvalidRequest", text)
        try:
            request = _request(action, fleet_tag, self._boots.get(action.provider))
        except NavarchError as error:
            return msg.LaunchRefused(action.instance_id, "InvalidRequest", str(error))
        await self._turn(action.provider)
        try:
            async with self.calls.timed(action.provider, "provision", LAUNCH_SECONDS_MAX):
                instance = await provider.provision(request)
        except OutcomeUnknown as error:
            return msg.LaunchLost(action.instance_id, str(error))
        except ProviderError as error:
            return refused(action.instance_id, error)
        except Exception as error:
            log.exception("provider_broke", provider=action.provider, call="provision")
            return msg.LaunchLost(action.instance_id, f"{type(error).__name__}: {error}")
        return msg.Launched(action.instance_id, machine_of(instance))

    async def _terminate(self, action: Terminate) -> msg.Message:
        error_text = ""
        provider = self._providers.get(action.provider)
        if provider is None:
            error_text = f"no provider {action.provider!r} is configured"
        else:
            await self._prepare_end(action)
            await self._turn(action.provider)
            try:
                async with self.calls.timed(action.provider, "terminate", ASK_SECONDS_MAX):
                    await provider.terminate(action.ref)
            except NotFound:
                log.info("machine_unknown", provider=action.provider, ref=action.ref)
            except ProviderError as error:
                error_text = f"{type(error).__name__}: {error}"
            except Exception as error:
                log.exception("provider_broke", provider=action.provider, call="terminate")
                error_text = f"{type(error).__name__}: {error}"
        return msg.TerminateAnswered(action.provider, action.ref, action.instance_id, error_text)

    async def _prepare_end(self, action: Terminate) -> None:
        """Do what is done before an end, which nothing may keep from happening."""
        if self.before_end is None:
            return
        try:
            await self.before_end(action)
        except Exception:
            log.exception("before_end_broke", ref=action.ref)

    async def _take_inventory(self, action: TakeInventory) -> msg.Message:
        provider = self._providers.get(action.provider)
        if provider is None:
            text = f"no provider {action.provider!r} is configured"
            return msg.InventoryFailed(action.provider, text)
        await self._paces[action.provider].turn()
        begun_at = self._clock.now()
        try:
            async with self.calls.timed(action.provider, "list", ASK_SECONDS_MAX):
                instances = await provider.list()
        except ProviderError as error:
            return msg.InventoryFailed(action.provider, f"{type(error).__name__}: {error}")
        except Exception as error:
            log.exception("provider_broke", provider=action.provider, call="list")
            return msg.InventoryFailed(action.provider, f"{type(error).__name__}: {error}")
        return msg.InventoryTaken(
            action.provider,
            begun_at,
            self._facts[action.provider].list_lag,
            machines=tuple(
                machine_of(each) for each in instances if each.status != InstanceStatus.TERMINATED
            ),
        )

    async def _list_types(self, action: ListTypes) -> msg.TypesListed:
        provider = self._providers.get(action.provider)
        if provider is None:
            return msg.TypesListed(action.provider, None)
        if not isinstance(provider, InstanceTypeLister):
            return msg.TypesListed(action.provider, ())
        await self._paces[action.provider].turn()
        try:
            async with self.calls.timed(action.provider, "list_types", ASK_SECONDS_MAX):
                types = await provider.list_instance_types()
        except ProviderError as error:
            log.warning("price_list_unreadable", provider=action.provider, error=str(error))
            return msg.TypesListed(action.provider, None)
        except Exception:
            log.exception("provider_broke", provider=action.provider, call="list_instance_types")
            return msg.TypesListed(action.provider, None)
        listed = self._list_prices.get(action.provider, _no_list)
        return msg.TypesListed(action.provider, tuple(_sold(each, listed) for each in types))


def _key_of(message: msg.Message) -> str:
    """The key of the action that an outcome answers; empty for what is no outcome."""
    match message:
        case msg.Launched() | msg.LaunchRefused() | msg.LaunchLost():
            return Launch("", message.instance_id, "").key
        case msg.TerminateAnswered():
            return Terminate(message.provider, message.ref).key
        case msg.InventoryTaken() | msg.InventoryFailed():
            return TakeInventory(message.provider).key
        case msg.TypesListed():
            return ListTypes(message.provider).key
        case _:
            return ""


def refused(instance_id: str, error: ProviderError) -> msg.LaunchRefused:
    """Say as an outcome how a provider refused a launch."""
    wait = getattr(error, "retry_after", None) or timedelta()
    scope = error.scope if isinstance(error, QuotaExceeded) else None
    return msg.LaunchRefused(instance_id, type(error).__name__, str(error), wait, scope)


def _no_list(_: str) -> None:
    return None


def _sold(line: InstanceType, listed: ListPrices) -> msg.Sold:
    """Put a line in the core's words; a list price stands in where the provider names none.

    There are no list prices of spot, which changes by the hour.
    """
    price = _known(line.price_per_hour)
    instead = listed(line.name) if price is None else None
    return msg.Sold(
        name=line.name,
        price_usd_per_hour=price if instead is None else instead.usd_per_hour,
        spot_price_usd_per_hour=_known(line.spot_price_per_hour),
        listed="" if instead is None else instead.of,
        regions=line.regions,
        available=line.available,
    )


def _known(price: float) -> float | None:
    """Read a price as a provider writes it: 0, or what is no price at all, is not known."""
    return price if 0 < price < math.inf else None


def _request(action: Launch, fleet_tag: str, boot: BootScript | None) -> ProvisionRequest:
    """Our id travels as the name, as a label and as the token.

    What the machine runs first may hold its secret: it is written now, and never in the journal.
    """
    ours = {
        FLEET_LABEL: fleet_tag,
        INSTANCE_LABEL: action.instance_id,
        POOL_LABEL: action.pool,
    }
    return ProvisionRequest(
        name=action.instance_id,
        instance_type=action.instance_type,
        region=action.region,
        zone=action.zone,
        ssh_key_names=action.ssh_key_names,
        labels={**action.labels, **ours},
        user_data=boot(action) if boot is not None else action.user_data,
        spot=action.spot,
        token=action.instance_id,
    )


def machine_of(instance: Instance) -> msg.Machine:
    """Say of a provider's instance what concerns the core."""
    return msg.Machine(
        ref=instance.id,
        fleet=instance.labels.get(FLEET_LABEL, ""),
        instance_id=instance.labels.get(INSTANCE_LABEL, ""),
        going=instance.status == InstanceStatus.TERMINATING,
        region=instance.region,
        zone=instance.zone,
        public_ip=instance.public_ip,
        private_ip=instance.private_ip,
    )
