"""Inventories: what a provider's list teaches, and what it takes to believe it.

A machine is ours by *our* id, which it was labelled with at launch; the provider's own id only
tells two machines with one label apart. A list may lag behind (each provider says how far), so an
absence counts only in a list begun late enough. Nothing is destroyed or written off on the word
of a single witness:

===========================  ==================================================================
fact                         witnesses
===========================  ==================================================================
`InstanceVanished`           absent from the list, and its agent is silent; or, when it has no
                             agent yet, or too many are silent at once, absent from two lists
                             some time apart
`InstanceTerminated`         the provider agreed to end it, and a later list does not show it
`OrphanCondemned`            seen without an owner in two lists some time apart
===========================  ==================================================================
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Sequence
from datetime import datetime

from navarch.core import liveness
from navarch.core.model import events as ev
from navarch.core.model.fleet import Fleet
from navarch.core.model.instance import Instance, InstanceState
from navarch.core.model.messages import InventoryTaken, Machine
from navarch.core.model.node import Contact
from navarch.core.model.offer import VANISHED
from navarch.core.model.sightings import Inventory, Sightings
from navarch.core.settings import Settings


def learned(
    fleet: Fleet, sightings: Sightings, taken: InventoryTaken, now: datetime, settings: Settings
) -> Iterator[ev.Fact]:
    """Say what a new inventory teaches.

    Cost: O(machines) to find those that are where they should be, then O(all others).
    """
    known: dict[str, list[Machine]] = {}
    bought = fleet.bought_from.get(taken.provider, {})
    settled = set(_settled(fleet, taken).values())
    for machine in taken.machines:
        if machine.instance_id not in settled and machine.fleet == fleet.tag:
            known.setdefault(machine.instance_id, []).append(machine)
    for instance in (fleet.instances[id_] for id_ in bought if id_ not in settled):
        found = _machine_of(instance, known.get(instance.id, ()))
        if found is not None:
            if not instance.ref:
                yield _adopted(instance, found, now)
        elif instance.ref:
            yield from _absent(fleet, sightings, instance, taken, now, settings)
        else:
            yield from _looked_up_in_vain(fleet, sightings, instance, taken, now, settings)
    present = {machine.ref for machine in taken.machines}
    for orphan in fleet.orphans.values():
        if orphan.provider == taken.provider and orphan.ref not in present:
            yield ev.OrphanRemoved(now, orphan.provider, orphan.ref, "gone from the list")


def _settled(fleet: Fleet, taken: InventoryTaken) -> dict[str, str]:
    """Find the machines that are the known ones of live instances; their ids, by the machines' own.

    About those a list teaches nothing, and they are nearly all. Cost: O(machines).
    """
    bought = fleet.bought_from.get(taken.provider, {})
    instances, tag = fleet.instances, fleet.tag
    return {
        machine.ref: machine.instance_id
        for machine in taken.machines
        if machine.instance_id in bought
        and instances[machine.instance_id].ref == machine.ref
        and machine.fleet == tag
    }


def _machine_of(instance: Instance, candidates: Sequence[Machine]) -> Machine | None:
    if instance.ref:
        return next((machine for machine in candidates if machine.ref == instance.ref), None)
    return min(candidates, key=lambda machine: (machine.going, machine.ref), default=None)


def _adopted(instance: Instance, machine: Machine, now: datetime) -> ev.InstanceLaunched:
    return ev.InstanceLaunched(
        now,
        instance.id,
        machine.ref,
        because=f"found by our id in the list of {instance.provider}",
        public_ip=machine.public_ip,
        private_ip=machine.private_ip,
        region=machine.region,
        zone=machine.zone,
        on_trial=True,
    )


def _looked_up_in_vain(
    fleet: Fleet,
    sightings: Sightings,
    instance: Instance,
    taken: InventoryTaken,
    now: datetime,
    settings: Settings,
) -> Iterator[ev.Fact]:
    """A machine without a ref is absent: it does not exist, if the list is late enough."""
    since = instance.uncertain_since
    if since is None or since + taken.list_lag > taken.begun_at:
        return
    because = f"looked up: {instance.provider} does not have it"
    match instance.state:
        case InstanceState.PROVISIONING:
            yield ev.LaunchCleared(now, instance.id, because)
        case InstanceState.TERMINATING:
            yield ev.InstanceTerminated(now, instance.id, because)
        case _ if _is_silent(fleet, sightings, instance, now, settings):
            yield ev.InstanceVanished(now, instance.id, f"{because}, and its agent is silent")
        case _:
            return


def _absent(
    fleet: Fleet,
    sightings: Sightings,
    instance: Instance,
    taken: InventoryTaken,
    now: datetime,
    settings: Settings,
) -> Iterator[ev.Fact]:
    """A machine that the provider once had is absent from its list."""
    if (instance.launched_at or now) + taken.list_lag > taken.begun_at:
        return
    if instance.state is InstanceState.TERMINATING:
        accepted_at = instance.terminate_accepted_at
        if accepted_at is not None and accepted_at <= taken.begun_at:
            because = f"gone from the list of {instance.provider}"
            yield ev.InstanceTerminated(now, instance.id, because)
        return
    since = sightings.missing.get(instance.id)
    twice = since is not None and taken.begun_at - since >= settings.witness_gap
    if _is_silent(fleet, sightings, instance, now, settings):
        if twice or not _is_halted(fleet, instance):
            because = f"its agent is silent and {instance.provider} does not list it any more"
            yield ev.InstanceVanished(now, instance.id, because)
    elif twice and fleet.node_of(instance) is None:
        because = f"two lists of {instance.provider} do not show it, and it never registered"
        yield ev.InstanceVanished(now, instance.id, because, VANISHED)


def _is_halted(fleet: Fleet, instance: Instance) -> bool:
    """Whether so many are silent that silence is a weak witness: a second list must agree."""
    pool = fleet.pools.get(instance.pool)
    return pool is not None and bool(pool.brake_because)


def _is_silent(
    fleet: Fleet, sightings: Sightings, instance: Instance, now: datetime, settings: Settings
) -> bool:
    """Whether a machine's agent has been silent for too long while we were there to hear it."""
    node = fleet.node_of(instance)
    if node is None or node.contact is not Contact.LOST:
        return False
    return now - liveness.heard_last(fleet, sightings, node) >= settings.silence_max


def observe(fleet: Fleet, sightings: Sightings, taken: InventoryTaken, now: datetime) -> None:
    """Remember an inventory, and since when machines are missing from it or stray in it."""
    machines = {machine.ref: machine for machine in taken.machines}
    sightings.inventories[taken.provider] = Inventory(taken.begun_at, now, taken.list_lag, machines)
    sightings.asked[taken.provider] = now
    sightings.troubles.pop(taken.provider, None)
    _observe_missing(fleet, sightings, taken, machines)
    settled = _settled(fleet, taken)
    before = sightings.strays
    elsewhere = {key: at for key, at in before.items() if key[0] != taken.provider}
    here = {
        (taken.provider, machine.ref): before.get((taken.provider, machine.ref), taken.begun_at)
        for machine in taken.machines
        if machine.ref not in settled and is_stray(fleet, taken.provider, machine)
    }
    sightings.strays = elsewhere | here


def _observe_missing(
    fleet: Fleet, sightings: Sightings, taken: InventoryTaken, machines: Container[str]
) -> None:
    """Remember since when lists do not show an instance that has a machine."""
    bought = fleet.bought_from.get(taken.provider, {})
    instances = fleet.instances
    absent = {id_ for id_ in bought if (ref := instances[id_].ref) and ref not in machines}
    for id_ in [*sightings.missing]:
        known = instances.get(id_)
        if id_ not in absent and known is not None and known.provider == taken.provider:
            del sightings.missing[id_]
    for id_ in bought if absent else ():
        if id_ in absent:
            sightings.missing.setdefault(id_, taken.begun_at)


def is_stray(fleet: Fleet, provider: str, machine: Machine) -> bool:
    """Whether a machine carries our tag but no live instance of ours owns it."""
    if not fleet.tag or machine.fleet != fleet.tag or machine.going:
        return False
    owner = fleet.instances.get(machine.instance_id)
    if owner is None or owner.ended or owner.provider != provider:
        return True
    return bool(owner.ref) and owner.ref != machine.ref


def condemned_orphans(
    fleet: Fleet, sightings: Sightings, now: datetime, settings: Settings
) -> Iterator[ev.OrphanCondemned]:
    """Find the strays that two inventories have shown, far enough apart."""
    for (provider, ref), since in sightings.strays.items():
        inventory = sightings.inventories.get(provider)
        if inventory is None or f"{provider}/{ref}" in fleet.orphans:
            continue
        machine = inventory.machines.get(ref)
        if machine is None or inventory.begun_at - since < settings.witness_gap:
            continue
        if is_stray(fleet, provider, machine):
            because = (
                f"labelled {machine.instance_id or 'without an id'}, which no live instance owns, "
                f"in lists {(inventory.begun_at - since).total_seconds():.0f} s apart"
            )
            yield ev.OrphanCondemned(now, provider, ref, because)
