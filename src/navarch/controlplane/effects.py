"""Effects: asking providers for what the state owes the world.

Every effect ends in exactly one message, whatever happens to it: done, surely refused, or unknown.
Nothing is repeated here. What is still owed afterwards will be asked for again, by the state.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import assert_never

from navarch.controlplane.clock import Clock
from navarch.core.model import messages as msg
from navarch.core.model.actions import Action, Launch, TakeInventory, Terminate
from navarch.errors import NotFound, OutcomeUnknown, ProviderError
from navarch.providers.base import (
    FLEET_LABEL,
    INSTANCE_LABEL,
    POOL_LABEL,
    Instance,
    InstanceStatus,
    Provider,
    ProviderFacts,
    ProvisionRequest,
    facts_of,
)

log = logging.getLogger(__name__)

LAUNCH_SECONDS_MAX = 300.0
"""How long a launch may take to answer; later its outcome is unknown."""
ASK_SECONDS_MAX = 60.0
"""How long a termination or a list may take to answer."""
TERMINATIONS_AT_ONCE = 8
"""How many terminations may be under way at one provider: as many as launches by default."""


class Effects:
    """Performs actions against the providers it knows, each one at most once at a time."""

    def __init__(
        self, providers: Mapping[str, Provider], post: Callable[[msg.Message], None], clock: Clock
    ) -> None:
        """Know the providers by the names that pools use; `post` takes every outcome.

        Raises `PluginError` when a provider misstates its facts.
        """
        self._providers = providers
        self._facts = {name: facts_of(provider) for name, provider in providers.items()}
        self._post = post
        self._clock = clock
        self._under_way: dict[str, asyncio.Task[None]] = {}
        self._lanes: Counter[tuple[str, str]] = Counter()

    def __len__(self) -> int:
        """How many effects are under way."""
        return len(self._under_way)

    def perform(self, fleet_tag: str, actions: Iterable[Action]) -> None:
        """Begin the actions that are not under way and for which there is room.

        The others are simply left: they stay owed, and every outcome asks again.
        """
        for action in actions:
            lane = (action.provider, type(action).__name__)
            if action.key in self._under_way or self._lanes[lane] >= self._room(action):
                continue
            self._lanes[lane] += 1
            task = asyncio.create_task(self._perform(action, fleet_tag, lane), name=action.key)
            self._under_way[action.key] = task

    def _room(self, action: Action) -> int:
        match action:
            case Launch():
                return self._facts.get(action.provider, ProviderFacts()).launches_at_once
            case Terminate():
                return TERMINATIONS_AT_ONCE
            case TakeInventory():
                return 1
            case _:
                assert_never(action)

    async def stop(self) -> None:
        """Abandon what is under way. Its outcome is unknown, and a restart looks it up."""
        tasks = list(self._under_way.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _perform(self, action: Action, fleet_tag: str, lane: tuple[str, str]) -> None:
        outcome: msg.Message | None = None
        try:
            match action:
                case Launch():
                    outcome = await self._launch(action, fleet_tag)
                case Terminate():
                    outcome = await self._terminate(action)
                case TakeInventory():
                    outcome = await self._take_inventory(action)
                case _:
                    assert_never(action)
        finally:
            del self._under_way[action.key]
            self._lanes[lane] -= 1
            if outcome is not None:
                self._post(outcome)

    async def _launch(self, action: Launch, fleet_tag: str) -> msg.Message:
        provider = self._providers.get(action.provider)
        if provider is None:
            text = f"no provider {action.provider!r} is configured"
            return msg.LaunchRefused(action.instance_id, "InvalidRequest", text)
        try:
            async with asyncio.timeout(LAUNCH_SECONDS_MAX):
                instance = await provider.provision(_request(action, fleet_tag))
        except OutcomeUnknown as error:
            return msg.LaunchLost(action.instance_id, str(error))
        except ProviderError as error:
            return msg.LaunchRefused(action.instance_id, type(error).__name__, str(error))
        except Exception as error:
            log.exception("launch of %s by %s broke", action.instance_id, action.provider)
            return msg.LaunchLost(action.instance_id, f"{type(error).__name__}: {error}")
        return msg.Launched(action.instance_id, machine_of(instance))

    async def _terminate(self, action: Terminate) -> msg.Message:
        error_text = ""
        provider = self._providers.get(action.provider)
        if provider is None:
            error_text = f"no provider {action.provider!r} is configured"
        else:
            try:
                async with asyncio.timeout(ASK_SECONDS_MAX):
                    await provider.terminate(action.ref)
            except NotFound:
                log.info("%s does not know %s any more", action.provider, action.ref)
            except ProviderError as error:
                error_text = f"{type(error).__name__}: {error}"
            except Exception as error:
                log.exception("termination of %s by %s broke", action.ref, action.provider)
                error_text = f"{type(error).__name__}: {error}"
        if error_text:
            log.warning("%s/%s could not be ended: %s", action.provider, action.ref, error_text)
        return msg.TerminateAnswered(action.provider, action.ref, action.instance_id, error_text)

    async def _take_inventory(self, action: TakeInventory) -> msg.Message:
        provider = self._providers.get(action.provider)
        if provider is None:
            text = f"no provider {action.provider!r} is configured"
            return msg.InventoryFailed(action.provider, text)
        begun_at = self._clock.now()
        try:
            async with asyncio.timeout(ASK_SECONDS_MAX):
                instances = await provider.list()
        except ProviderError as error:
            return msg.InventoryFailed(action.provider, f"{type(error).__name__}: {error}")
        except Exception as error:
            log.exception("the list of %s broke", action.provider)
            return msg.InventoryFailed(action.provider, f"{type(error).__name__}: {error}")
        return msg.InventoryTaken(
            action.provider,
            begun_at,
            self._facts[action.provider].list_lag,
            machines=tuple(
                machine_of(each) for each in instances if each.status != InstanceStatus.TERMINATED
            ),
        )


def _request(action: Launch, fleet_tag: str) -> ProvisionRequest:
    """Our id travels as the name, as a label and as the token."""
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
        user_data=action.user_data,
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
