"""Folding facts into the fleet: the only place where state changes.

Boring on purpose: each fact moves exactly the fields that it is about, whatever the rest looks
like, and asks no questions. Whether a fact makes sense was decided before it was taken. A journal
folded twice gives equal fleets.
"""

from __future__ import annotations

from typing import assert_never

from msgspec.structs import replace

from navarch.core.model import events as ev
from navarch.core.model.command import Command, CommandState, CommandType
from navarch.core.model.fleet import Fleet, Orphan
from navarch.core.model.instance import Instance, InstanceState
from navarch.core.model.node import Contact, Node, Phase
from navarch.core.model.offer import PROVIDER_WIDE, Refusals, offer_key
from navarch.core.model.pool import HOUR, TROUBLE_MEMORY, YOUNG, Pool
from navarch.core.model.report import HealthReport


def apply(fleet: Fleet, event: ev.Fact) -> None:
    """Change `fleet` as the fact says. Cost: O(1), but for `Resumed` and `RecordsForgotten`."""
    if isinstance(event, ev.InstanceFact):
        _apply_to_instance(fleet, event)
    elif isinstance(event, ev.NodeFact):
        _apply_to_node(fleet, event)
    elif isinstance(event, ev.CommandFact):
        _apply_to_command(fleet, event)
    elif isinstance(event, ev.PoolFact):
        _apply_to_pool(fleet, event)
    else:
        _apply_to_fleet(fleet, event)


def _apply_to_fleet(fleet: Fleet, event: ev.FleetFact) -> None:
    match event:
        case ev.FleetFounded():
            fleet.tag = event.tag
        case ev.Resumed():
            _resume(fleet, event)
        case ev.RecordsForgotten():
            _forget(fleet, event)
        case ev.OrphanCondemned():
            orphan = Orphan(event.provider, event.ref, event.at, event.because)
            fleet.orphans[f"{event.provider}/{event.ref}"] = orphan
        case ev.OrphanRemoved():
            fleet.orphans.pop(f"{event.provider}/{event.ref}", None)
        case _:
            assert_never(event)


def _resume(fleet: Fleet, event: ev.Resumed) -> None:
    """Whatever was under way when the last process ended has an unknown outcome now."""
    fleet.resumed_at = event.at
    for instance in list(fleet.instances.values()):
        unknown = not instance.ended and not instance.ref and instance.uncertain_since is None
        if unknown:
            fleet.put_instance(replace(instance, uncertain_since=event.at))


def _forget(fleet: Fleet, event: ev.RecordsForgotten) -> None:
    fleet.drop(event.instances, event.nodes)
    for command_id in event.commands:
        fleet.commands.pop(command_id, None)


# --- pools -----------------------------------------------------------------------------------


def _apply_to_pool(fleet: Fleet, event: ev.PoolFact) -> None:
    if isinstance(event, ev.PoolConfigured):
        fleet.pools[event.spec.name] = _configured(fleet.pools.get(event.spec.name), event)
        return
    pool = fleet.pools[event.pool]
    match event:
        case ev.PoolRetired():
            pool = replace(pool, retired=True)
        case ev.TargetChanged():
            pool = replace(
                pool,
                target=event.target,
                target_because=event.because,
                target_changed_at=event.at,
            )
        case ev.PoolPaused():
            pool = replace(pool, paused=True, paused_because=event.because)
        case ev.PoolUnpaused():
            pool = replace(pool, paused=False, paused_because="")
        case ev.RepairHalted():
            pool = replace(pool, brake_because=event.because)
        case ev.RepairContinued():
            pool = replace(pool, brake_because="", brake_ended_at=event.at)
        case _:
            assert_never(event)
    fleet.pools[event.pool] = pool


def _configured(before: Pool | None, event: ev.PoolConfigured) -> Pool:
    spec = event.spec
    if before is None:
        return Pool(spec, spec.min_nodes, f"min_nodes is {spec.min_nodes}")
    if before.target == before.spec.min_nodes:  # it was at its minimum, and follows it
        target, because = spec.min_nodes, f"min_nodes is {spec.min_nodes}"
    else:
        target, because = before.target, before.target_because
    within = min(max(target, spec.min_nodes), spec.max_nodes)
    if within != target:
        target, because = within, f"configured for {spec.min_nodes} to {spec.max_nodes} nodes"
    return replace(before, spec=spec, target=target, target_because=because, retired=False)


def _count_trouble(fleet: Fleet, instance: Instance, event: ev.Event, failure: str) -> None:
    """Remember that a launch gave no lasting node; launches asked for together count once."""
    pool = fleet.pools.get(instance.pool)
    if pool is None:
        return
    failures = 1
    if pool.failed_at is not None and event.at - pool.failed_at < TROUBLE_MEMORY:
        is_another_round = instance.requested_at > pool.failed_at
        failures = pool.failures + is_another_round
    fleet.pools[pool.name] = replace(pool, failures=failures, failed_at=event.at, failure=failure)


# --- instances -------------------------------------------------------------------------------


def _request(fleet: Fleet, event: ev.LaunchRequested) -> None:
    fleet.serial += 1
    pool = fleet.pools.get(event.pool)
    if pool is not None:
        bought = {**pool.bought, event.provider: pool.bought.get(event.provider, 0) + 1}
        fleet.pools[pool.name] = replace(pool, bought=bought)
    instance = Instance(
        id=event.instance_id,
        pool=event.pool,
        provider=event.provider,
        state=InstanceState.PROVISIONING,
        requested_at=event.at,
        because=event.because,
        instance_type=event.instance_type,
        region=event.region,
        zone=event.zone,
        labels=event.labels,
        spot=event.spot,
    )
    fleet.put_instance(instance)


def _apply_to_instance(fleet: Fleet, event: ev.InstanceFact) -> None:
    if isinstance(event, ev.LaunchRequested):
        _request(fleet, event)
        return
    before = fleet.instances[event.instance_id]
    match event:
        case ev.InstanceLaunched():
            after = _launched(before, event)
            _forgive(fleet, before)
        case ev.LaunchFailed():
            after = replace(
                before,
                state=InstanceState.FAILED,
                because=event.because,
                ended_at=event.at,
                uncertain_since=None,
            )
            _remember_refusal(fleet, before, event)
        case ev.LaunchUncertain():
            after = replace(before, uncertain_since=event.at, because=event.because)
        case ev.LaunchCleared():
            after = replace(before, uncertain_since=None, because=event.because)
        case ev.TerminationRequested():
            after = _terminating(fleet, before, event)
        case ev.TerminationAccepted():
            after = replace(before, terminate_accepted_at=event.at)
        case ev.InstanceTerminated():
            after = _ended(fleet, before, event)
        case ev.InstanceVanished():
            after = _ended(fleet, before, event)
            if event.at - before.requested_at < YOUNG:
                _count_trouble(fleet, before, event, event.because)
        case ev.InstanceCondemned():
            after = replace(before, condemned_at=event.at, condemned_because=event.because)
            _count_replacement(fleet, before.pool, event)
        case ev.ReleaseRequested():
            after = replace(before, releasing_since=event.at, because=event.because)
            _move_node(fleet, before, Phase.LEAVING, event.because)
        case ev.ReleaseRevoked():
            after = replace(before, releasing_since=None, because=event.because)
            _move_node(fleet, before, Phase.ACTIVE, event.because)
        case _:
            assert_never(event)
    fleet.put_instance(after)


def _launched(before: Instance, event: ev.InstanceLaunched) -> Instance:
    state, because = before.state, before.because
    if state is InstanceState.PROVISIONING:
        state, because = InstanceState.PENDING_REGISTRATION, event.because
    return replace(
        before,
        state=state,
        because=because,
        ref=event.ref,
        uncertain_since=None,
        launched_at=event.at,
        public_ip=event.public_ip,
        private_ip=event.private_ip,
        region=event.region or before.region,
        zone=event.zone or before.zone,
    )


def _terminating(fleet: Fleet, before: Instance, event: ev.TerminationRequested) -> Instance:
    if event.trouble:
        _count_trouble(fleet, before, event, event.because)
    node = fleet.nodes.get(before.id)
    if node is not None:
        fleet.put_node(replace(node, phase=Phase.TERMINATING, because=event.because))
    return replace(
        before,
        state=InstanceState.TERMINATING,
        because=event.because,
        terminating_since=event.at,
    )


def _ended(
    fleet: Fleet, before: Instance, event: ev.InstanceTerminated | ev.InstanceVanished
) -> Instance:
    node = fleet.nodes.get(before.id)
    if node is not None:
        fleet.put_node(_over(node, event))
    return replace(
        before,
        state=InstanceState.TERMINATED,
        because=event.because,
        ended_at=event.at,
        uncertain_since=None,
    )


def _move_node(fleet: Fleet, instance: Instance, phase: Phase, because: str) -> None:
    node = fleet.nodes.get(instance.id)
    if node is not None:
        fleet.put_node(replace(node, phase=phase, because=because, drained_at=None))


def _offer_key(instance: Instance) -> str:
    return offer_key(
        instance.provider,
        instance.region,
        instance.zone,
        instance.instance_type,
        spot=instance.spot,
    )


def _forgive(fleet: Fleet, instance: Instance) -> None:
    """A launch that worked ends what was held against its offer before it was asked for."""
    for key in (_offer_key(instance), instance.provider):
        refusals = fleet.refusals.get(key)
        if refusals is not None and refusals.at < instance.requested_at:
            del fleet.refusals[key]


def _remember_refusal(fleet: Fleet, instance: Instance, event: ev.LaunchFailed) -> None:
    """Hold a refusal against the offer or its provider; launches asked together count once."""
    wide = event.failure in PROVIDER_WIDE
    key = instance.provider if wide else _offer_key(instance)
    before = fleet.refusals.get(key)
    count = 1
    if before is not None and event.at - before.at < HOUR:
        count = before.count + (instance.requested_at > before.at)
    fleet.refusals[key] = Refusals(count, event.at, event.failure, event.because)


def _count_replacement(fleet: Fleet, pool_name: str, event: ev.Event) -> None:
    pool = fleet.pools.get(pool_name)
    if pool is not None:
        recent = tuple(at for at in pool.replacements if event.at - at < HOUR)
        fleet.pools[pool_name] = replace(pool, replacements=(*recent, event.at))


# --- nodes -----------------------------------------------------------------------------------


def _register(fleet: Fleet, event: ev.NodeRegistered) -> None:
    instance = fleet.instances.get(event.instance_id)
    if instance is not None and instance.live and instance.registered_at is None:
        fleet.put_instance(
            replace(
                instance,
                state=InstanceState.RUNNING,
                registered_at=event.at,
                because="its agent registered",
            )
        )
    before = fleet.nodes.get(event.node_id)
    if before is None:
        before = Node(event.node_id, event.at, event.at, because="registered")
    after = replace(
        before,
        heard_at=event.at,
        provider=event.provider,
        region=event.region,
        zone=event.zone,
        instance_type=event.instance_type,
        pool=event.pool,
        instance_id=event.instance_id,
        gpus=event.gpus,
        metadata=event.metadata,
    )
    fleet.put_node(after)


def _apply_to_node(fleet: Fleet, event: ev.NodeFact) -> None:
    if isinstance(event, ev.NodeRegistered):
        _register(fleet, event)
        return
    before = fleet.nodes[event.node_id]
    match event:
        case ev.NodeLost():
            after = replace(
                before,
                contact=Contact.LOST,
                lost_at=event.at,
                because=event.because,
                lost_because=event.because,
            )
        case ev.NodeReturned():
            after = _returned(fleet, before, event)
        case ev.NodeDismissed():
            after = replace(before, phase=Phase.TERMINATING, because=event.because)
        case ev.NodeRetired():
            after = _over(before, event)
        case ev.IntentChanged():
            after = replace(before, intent=event.intent, because=event.because)
        case ev.HealthReported():
            report = HealthReport(event.at, event.results, event.events)
            clean = before.clean_reports + 1 if report.clean else 0
            after = replace(before, report=report, report_judged=False, clean_reports=clean)
        case ev.HealthJudged():
            after = replace(before, health=event.health, report_judged=True, because=event.because)
        case _:
            assert_never(event)
    fleet.put_node(after)


def _over(
    before: Node, event: ev.NodeRetired | ev.InstanceTerminated | ev.InstanceVanished
) -> Node:
    return replace(before, phase=Phase.TERMINATED, because=event.because, ended_at=event.at)


def _returned(fleet: Fleet, before: Node, event: ev.NodeReturned) -> Node:
    """A node that speaks again is reprieved, unless its end was already asked for."""
    instance = fleet.instances.get(before.instance_id)
    if instance is not None and instance.live and instance.condemned:
        fleet.put_instance(replace(instance, condemned_at=None, condemned_because=""))
    return replace(
        before,
        contact=Contact.CONNECTED,
        lost_at=None,
        lost_because="",
        heard_at=event.at,
        because=event.because,
    )


# --- commands --------------------------------------------------------------------------------


def _apply_to_command(fleet: Fleet, event: ev.CommandFact) -> None:
    if isinstance(event, ev.CommandIssued):
        _issue(fleet, event)
        return
    before = fleet.commands[event.command_id]
    match event:
        case ev.CommandDelivered():
            after = replace(
                before,
                state=CommandState.DELIVERED,
                delivered_at=event.at,
                acknowledges=event.acknowledges,
            )
        case ev.CommandFinished():
            after = _finished(fleet, before, event)
        case _:
            assert_never(event)
    fleet.commands[event.command_id] = after


def _issue(fleet: Fleet, event: ev.CommandIssued) -> None:
    fleet.command_serial += 1
    fleet.commands[event.command_id] = Command(
        id=event.command_id,
        node_id=event.node_id,
        type=event.type,
        issued_at=event.at,
        expires_at=event.expires_at,
        parameters=event.parameters,
        reason=event.reason,
    )
    fleet.pending[event.node_id] = (*fleet.pending.get(event.node_id, ()), event.command_id)


def _drained(fleet: Fleet, command: Command) -> bool:
    """Whether a command that ended has emptied its node; an older drain says nothing any more."""
    if command.type is not CommandType.DRAIN or command.state is not CommandState.SUCCEEDED:
        return False
    instance = fleet.instances.get(command.node_id)
    since = instance.releasing_since if instance is not None else None
    return since is None or command.issued_at >= since


def _finished(fleet: Fleet, before: Command, event: ev.CommandFinished) -> Command:
    after = replace(before, state=event.state, message=event.message, output=event.output)
    if not after.finished:
        return after
    node = fleet.nodes.get(before.node_id)
    if node is not None and _drained(fleet, after):
        fleet.put_node(replace(node, drained_at=event.at))
    left = tuple(id_ for id_ in fleet.pending.get(before.node_id, ()) if id_ != before.id)
    if left:
        fleet.pending[before.node_id] = left
    else:
        fleet.pending.pop(before.node_id, None)
    return replace(after, finished_at=event.at)
