"""Folding what launches taught about offers, providers and quotas: held against them, or forgiven.

A launch that worked forgives the provider at once: it had the quota, the credentials and the time.
Its offer is forgiven when the machine's agent registers. Before that a machine may be half-made, or
be taken away again, which would otherwise begin the count of failures anew each time.
"""

from __future__ import annotations

from msgspec.structs import replace

from navarch.core.model import events as ev
from navarch.core.model.fleet import Fleet
from navarch.core.model.instance import Instance
from navarch.core.model.offer import PROVIDER_WIDE, VANISHED, Refusals, offer_key, scope_key
from navarch.core.model.pool import HOUR
from navarch.errors import QuotaScope


def refused(fleet: Fleet, instance: Instance, event: ev.LaunchFailed) -> None:
    """Hold a refusal against the offer, its provider, or what the quota counts."""
    refusals = Refusals(1, event.at, event.failure, event.because, event.retry_after)
    if event.scope is not None:
        key = scope_key(instance.provider, event.scope)
        refusals = replace(refusals, provider=instance.provider, scope=event.scope)
        _drop_old_scopes(fleet, instance.provider, event)
    elif event.failure in PROVIDER_WIDE:
        key = instance.provider
    else:
        key = _offer_key(instance)
    _hold(fleet, key, instance, refusals)


def vanished(fleet: Fleet, instance: Instance, event: ev.InstanceVanished) -> None:
    """Hold a machine that was gone before it registered against its offer."""
    if event.failure:
        because = f"{instance.id} {event.because}"
        refusals = Refusals(1, event.at, VANISHED, because)
        _hold(fleet, _offer_key(instance), instance, refusals)


def launched(fleet: Fleet, instance: Instance, event: ev.InstanceLaunched) -> None:
    """Forgive the provider, and the offer as well where nothing more is waited for."""
    there = replace(
        instance, region=event.region or instance.region, zone=event.zone or instance.zone
    )
    keys = [instance.provider, *_scopes(fleet, there)]
    if not event.on_trial or instance.registered_at is not None:
        keys.append(_offer_key(instance))
    _forgive(fleet, instance, keys)


def registered(fleet: Fleet, instance: Instance) -> None:
    """Forgive the offer of a machine whose agent has spoken."""
    if instance.on_trial:
        _forgive(fleet, instance, [_offer_key(instance)])


def _offer_key(instance: Instance) -> str:
    return instance.offer or offer_key(
        instance.provider,
        instance.region,
        instance.zone,
        instance.instance_type,
        spot=instance.spot,
    )


def _scopes(fleet: Fleet, instance: Instance) -> list[str]:
    """The keys of the quotas that count such a machine. Cost: O(refusals)."""
    return [
        key
        for key, refusals in fleet.refusals.items()
        if refusals.provider == instance.provider
        and refusals.scope is not None
        and covers(refusals.scope, instance)
    ]


def covers(scope: QuotaScope, instance: Instance) -> bool:
    """Whether a quota counts such a machine."""
    return scope.covers(instance.region, instance.zone, instance.instance_type, spot=instance.spot)


def _forgive(fleet: Fleet, instance: Instance, keys: list[str]) -> None:
    """End what was held against them before the launch was asked for."""
    for key in keys:
        refusals = fleet.refusals.get(key)
        if refusals is not None and refusals.at < instance.requested_at:
            del fleet.refusals[key]


def _hold(fleet: Fleet, key: str, instance: Instance, refusals: Refusals) -> None:
    """Remember a refusal; launches that were asked for together count once."""
    before = fleet.refusals.get(key)
    if before is not None and refusals.at - before.at < HOUR:
        count = before.count + (instance.requested_at > before.at)
        refusals = replace(refusals, count=count)
    fleet.refusals[key] = refusals


def _drop_old_scopes(fleet: Fleet, provider: str, event: ev.LaunchFailed) -> None:
    """Forget the quotas of a provider that nothing was said of for an hour.

    Offers are limited by the configuration; how many quotas a provider names is limited here.
    """
    for key in list(fleet.refusals):
        refusals = fleet.refusals[key]
        is_old = event.at - refusals.at >= HOUR
        if is_old and refusals.scope is not None and refusals.provider == provider:
            del fleet.refusals[key]
