"""Explaining: why a node, an instance or a pool is as it is, and what happens next.

An explanation is read off the same state and the same functions that decide, so it can not tell
another story than the one that is acted on.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from navarch.core import capacity, explain_health, liveness
from navarch.core.model.fleet import Fleet
from navarch.core.model.instance import Instance, InstanceState
from navarch.core.model.node import Node, Phase
from navarch.core.model.offer import offers
from navarch.core.model.pool import Pool
from navarch.core.model.sightings import Sightings
from navarch.core.repair import breaker, budget
from navarch.core.selection import PRICELESS, memory
from navarch.core.selection.base import Market
from navarch.core.settings import Settings


def explain_node(
    fleet: Fleet, sightings: Sightings, node: Node, now: datetime, settings: Settings
) -> Iterator[str]:
    """Say how a node stands on each axis, and what will be done about it, line by line."""
    yield f"node {node.id} is {node.status.value}: {node.because}"
    yield (
        f"phase {node.phase.value}, health {node.health.value}, intent {node.intent.value}, "
        f"contact {node.contact.value}"
    )
    if node.phase is not Phase.TERMINATED:
        yield from _silence(fleet, sightings, node, now, settings)
    yield from explain_health.lines(fleet, node, now, settings)
    yield from explain_health.workload_lines(sightings, node)
    for command in fleet.commands_for(node.id):
        yield f"command {command.id} ({command.type.value}) is {command.state.value}"
    instance = fleet.instances.get(node.instance_id)
    if instance is None:
        yield "it was not launched here: it is watched, but never replaced"
        return
    if instance.live and not instance.condemned:
        yield from explain_health.prospects(fleet, sightings, node, now, settings)
    yield from explain_instance(sightings, instance, now)


def _silence(
    fleet: Fleet, sightings: Sightings, node: Node, now: datetime, settings: Settings
) -> Iterator[str]:
    if sightings.deaf:
        return
    silence = (now - liveness.heard_last(fleet, sightings, node)).total_seconds()
    limit = settings.silence_max.total_seconds()
    yield f"heard {silence:.1f} s ago; it counts as lost after {limit:g} s"


def _asleep_because(pool: Pool) -> str:
    if pool.retired:
        return "is no longer in the configuration"
    return f"is paused: {pool.paused_because}"


def _budget(fleet: Fleet, pool: Pool, now: datetime) -> Iterator[str]:
    at_once = budget.at_once(fleet, pool)
    this_hour = budget.this_hour(pool, now)
    yield (
        f"budget of pool {pool.name}: {max(at_once, 0)} more may be replaced now, "
        f"{max(this_hour, 0)} more within the hour"
    )


def explain_instance(sightings: Sightings, instance: Instance, now: datetime) -> Iterator[str]:
    """Say where an instance is in its life, and what it waits for, line by line."""
    name = f" as {instance.ref}" if instance.ref else ""
    yield (
        f"instance {instance.id} of {instance.provider}{name} is {instance.state.value}: "
        f"{instance.because}"
    )
    if instance.uncertain_since is not None:
        waited = (now - instance.uncertain_since).total_seconds()
        yield f"whether the machine exists is unknown since {waited:.0f} s: it is looked up"
    if instance.condemned and instance.live:
        yield f"it will be replaced: {instance.condemned_because}"
    if instance.interrupted and instance.live:
        until = instance.interrupted_until
        when = f"at {until:%H:%M:%S}" if until is not None else "soon"
        yield f"its provider takes it away {when}: it is drained, and another is bought"
    if instance.draining_since is not None and instance.live:
        waited = (now - instance.draining_since).total_seconds()
        yield f"its replacement serves; it is drained since {waited:.0f} s"
    if instance.state is InstanceState.TERMINATING and instance.terminate_accepted_at is None:
        yield f"{instance.provider} has not agreed to end it yet"
    missing_since = sightings.missing.get(instance.id)
    if missing_since is not None:
        waited = (now - missing_since).total_seconds()
        yield f"{instance.provider} has not listed it for {waited:.0f} s"
    trouble = sightings.troubles.get(instance.provider)
    if trouble:
        yield f"{instance.provider} can not be asked: {trouble}"


def explain_pool(
    fleet: Fleet, sightings: Sightings, pool: Pool, now: datetime, settings: Settings
) -> Iterator[str]:
    """Say what a pool wants, what it has, and what stands between the two, line by line."""
    spec = pool.spec
    yield (
        f"pool {pool.name} wants {pool.target} nodes, within {spec.min_nodes} and "
        f"{spec.max_nodes}: {pool.target_because}"
    )
    counted = capacity.count(fleet, pool)
    nodes = [node for i in fleet.current_of(pool.name) if (node := fleet.node_of(i)) is not None]
    serving = sum(node.serving for node in nodes)
    booting = counted.current - len(nodes)
    yield (
        f"{counted.current} count: {serving} serve, {booting} boot; {counted.existing} "
        f"machines may exist, ending and condemned ones included"
    )
    releasing = sum(i.releasing and i.live for i in fleet.instances_of(pool.name))
    if releasing:
        yield f"{releasing} are drained to be ended, and may be called back"
    if pool.asleep:
        yield f"nothing is bought or repaired: it {_asleep_because(pool)}"
    if breaker.half_open(pool):
        yield f"repair tries one node at a time, after it was halted: {pool.brake_because}"
    elif pool.brake_because:
        yield f"repair is halted: {pool.brake_because}"
        yield f"`navarch pool resume {pool.name}` says that you have looked"
    yield from explain_health.pool_lines(fleet, pool)
    scaled = f"scaled by {spec.autoscaling}" if spec.autoscaling else "scaled by nobody"
    yield f"{scaled}; offers go by {spec.strategy}"
    yield from _words_of_autoscaler(sightings, pool, now)
    yield from _prices(sightings, pool, now)
    yield from _market(fleet, pool, now, settings)
    retry_at = capacity.retry_at(pool, now, settings)
    if retry_at > now:
        wait = (retry_at - now).total_seconds()
        yield f"buys again in {wait:.0f} s after {pool.failures} failures, the last: {pool.failure}"
    yield from _budget(fleet, pool, now)
    for provider in dict.fromkeys(source.provider for source in pool.sources):
        trouble = sightings.troubles.get(provider)
        if trouble:
            yield f"{provider} can not be asked: {trouble}"


def _words_of_autoscaler(sightings: Sightings, pool: Pool, now: datetime) -> Iterator[str]:
    word = sightings.recommendations.get(pool.name)
    if word is None:
        return
    ago = (now - word.at).total_seconds()
    holds = "holds at" if word.held else "proposed"
    yield f"autoscaler {word.by} {holds} {word.target}, {ago:.0f} s ago: {word.reason}"


def _prices(sightings: Sightings, pool: Pool, now: datetime) -> Iterator[str]:
    """What the offers cost, where the strategy may look at it and a price list was read."""
    if pool.spec.strategy in PRICELESS:
        return
    market = Market(now, sightings.catalogs)
    for offer in offers(pool):
        if offer.provider in sightings.catalogs:
            kind = f" {offer.instance_type}" if offer.instance_type else ""
            yield f"{offer}{kind}: {market.price_because(offer)}"


def _market(fleet: Fleet, pool: Pool, now: datetime, settings: Settings) -> Iterator[str]:
    """Which offers are left alone, and which providers wait for a person."""
    for offer in offers(pool):
        blocked = memory.blocked_until(fleet, offer, now, settings)
        if blocked is not None:
            until, because = blocked
            wait = (until - now).total_seconds()
            yield f"left alone for {wait:.0f} s more: {because}"
    sellers = {source.provider for source in pool.sources}
    for key, text in memory.conditions(fleet).items():
        if memory.provider_of(fleet, key) in sellers:
            yield f"{key} needs somebody: {text}"
