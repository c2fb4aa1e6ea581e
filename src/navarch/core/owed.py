"""What the state owes the world.

A PROVISIONING machine owes a launch, a TERMINATING one an end, a provider a look at its list. No
outbox and no lock: after a crash, fold the journal and ask again. A launch whose outcome is
unknown is *not* owed; a look at the list is, and only that settles it.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from navarch.core import workload
from navarch.core.model.actions import Action, Launch, ListTypes, TakeInventory, Terminate
from navarch.core.model.fleet import Fleet
from navarch.core.model.instance import Instance, InstanceState
from navarch.core.model.sightings import Sightings
from navarch.core.selection import PRICELESS
from navarch.core.settings import Settings


def owed(fleet: Fleet, sightings: Sightings, now: datetime, settings: Settings) -> Iterator[Action]:
    """Yield what is to be done now: ends before launches, so that room comes before need.

    The same actions are yielded again until their outcome has come back as a message; whoever
    performs them leaves out those that are under way, by their `key`. Cost: O(instances).
    """
    yield from _terminations(fleet, sightings, now, settings)
    for instance_id in fleet.booting:
        instance = fleet.instances[instance_id]
        if _owes_launch(instance):
            yield _launch(fleet, instance)
    yield from _inventories(fleet, sightings, now, settings)
    yield from _price_lists(fleet, sightings, now, settings)
    if settings.workload_manager:
        yield from workload.owed(fleet, sightings, now, settings)


def _owes_launch(instance: Instance) -> bool:
    return (
        instance.state is InstanceState.PROVISIONING
        and not instance.ref
        and instance.uncertain_since is None
    )


def _launch(fleet: Fleet, instance: Instance) -> Launch:
    pool = fleet.pools.get(instance.pool)
    return Launch(
        provider=instance.provider,
        instance_id=instance.id,
        pool=instance.pool,
        instance_type=instance.instance_type,
        region=instance.region,
        zone=instance.zone,
        labels=instance.labels,
        ssh_key_names=pool.spec.ssh_key_names if pool else (),
        user_data=pool.spec.user_data if pool else "",
        spot=instance.spot,
    )


def _terminations(
    fleet: Fleet, sightings: Sightings, now: datetime, settings: Settings
) -> Iterator[Terminate]:
    for instance_id in fleet.ending:
        instance = fleet.instances[instance_id]
        if not instance.ref:
            continue
        accepted_at = instance.terminate_accepted_at
        if accepted_at is None or now - accepted_at >= settings.termination_retry:
            action = Terminate(instance.provider, instance.ref, instance.id)
            if _may_try(action, sightings, now, settings):
                yield action
    for orphan in fleet.orphans.values():
        action = Terminate(orphan.provider, orphan.ref)
        if _may_try(action, sightings, now, settings):
            yield action


def _may_try(action: Terminate, sightings: Sightings, now: datetime, settings: Settings) -> bool:
    tried_at = sightings.tried.get(action.key)
    return tried_at is None or now - tried_at >= settings.effect_retry


def _inventories(
    fleet: Fleet, sightings: Sightings, now: datetime, settings: Settings
) -> Iterator[TakeInventory]:
    urgent = _awaited(fleet, sightings)
    for provider in dict.fromkeys((*_providers(fleet), *urgent)):
        interval = settings.inventory_interval
        if provider in urgent:
            interval = settings.inventory_interval_urgent
        asked_at = sightings.asked.get(provider)
        if asked_at is None or now - asked_at >= interval:
            yield TakeInventory(provider)


def _providers(fleet: Fleet) -> list[str]:
    """Providers that have, or may have, something of ours. Cost: O(pools + providers)."""
    wanted = [
        source.provider
        for pool in fleet.pools.values()
        if not pool.retired
        for source in pool.sources
    ]
    return [*wanted, *(provider for provider, ids in fleet.bought_from.items() if ids)]


def _awaited(fleet: Fleet, sightings: Sightings) -> dict[str, None]:
    """Providers whose list somebody waits for."""
    awaited = dict.fromkeys(orphan.provider for orphan in fleet.orphans.values())
    awaited |= dict.fromkeys(provider for provider, _ in sightings.strays)
    for ids in (fleet.uncertain, fleet.ending, sightings.missing, fleet.lost):
        for id_ in ids:
            instance = fleet.instances.get(id_)
            if instance is not None and not instance.ended:
                awaited[instance.provider] = None
    return awaited


def _price_lists(
    fleet: Fleet, sightings: Sightings, now: datetime, settings: Settings
) -> Iterator[ListTypes]:
    """Price lists that are too old for the pools that go by them."""
    providers = dict.fromkeys(
        source.provider
        for pool in fleet.pools.values()
        if not pool.asleep and pool.spec.strategy not in PRICELESS
        for source in pool.sources
    )
    for provider in providers:
        catalog = sightings.catalogs.get(provider)
        if catalog is not None and now - catalog.at < settings.price_age_max:
            continue
        action = ListTypes(provider)
        tried_at = sightings.tried.get(action.key)
        if tried_at is None or now - tried_at >= settings.inventory_interval:
            yield action
