"""Folding facts into the fleet: the only place where state changes.

Boring on purpose: each fact moves exactly the fields that it is about, whatever the rest looks
like, and asks no questions. Whether a fact makes sense was decided before it was taken. A journal
folded twice gives equal fleets.
"""

from __future__ import annotations

from typing import Final, assert_never

from msgspec.structs import replace

from navarch.core import fold_commands, fold_health, fold_refusals, fold_repair, fold_serving
from navarch.core.fold_repair import (
    count_replacement,
    lemon_because,
    remember_lemon,
)
from navarch.core.model import events as ev
from navarch.core.model.fleet import Fleet, Orphan
from navarch.core.model.instance import Instance, InstanceState
from navarch.core.model.ladder import Told
from navarch.core.model.node import Contact, Intent, Node, Phase
from navarch.core.model.offer import offer_key
from navarch.core.model.pool import TROUBLE_MEMORY, YOUNG, Pool
from navarch.core.model.report import Health


def apply(fleet: Fleet, event: ev.Fact) -> None:
    """Change `fleet` as the fact says. Cost: O(1), but for `Resumed` and `RecordsForgotten`."""
    if isinstance(event, ev.InstanceFact):
        _apply_to_instance(fleet, event)
    elif isinstance(event, ev.NodeFact):
        _apply_to_node(fleet, event)
    elif isinstance(event, ev.CommandFact):
        fold_commands.apply(fleet, event)
    elif isinstance(event, ev.PoolFact):
        _apply_to_pool(fleet, event)
    elif isinstance(event, ev.ServingFact):
        fold_serving.apply(fleet, event)
    else:
        _apply_to_fleet(fleet, event)


def _apply_to_fleet(fleet: Fleet, event: ev.FleetFact) -> None:
    match event:
        case ev.FleetFounded():
            fleet.tag = event.tag
        case ev.Resumed():
            _resume(fleet, event)
        case ev.PolicyAdopted():
            fleet.policy, fleet.policy_name = event.digest, event.name
            fleet.rule_failures.clear()  # those of another policy's rules
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


CLOSED_MAX: Final = 1_000
"""Forgotten machines of others that are known to be closed: as many as there may be of them."""


def _forget(fleet: Fleet, event: ev.RecordsForgotten) -> None:
    for node_id in event.nodes:
        node = fleet.nodes.get(node_id)
        if node is not None and not node.instance_id:
            _remember_closed(fleet, node)
    fleet.drop(event.instances, event.nodes)
    for command_id in event.commands:
        fleet.commands.pop(command_id, None)


def _remember_closed(fleet: Fleet, node: Node) -> None:
    """Know what the workload manager goes by, should a machine of others come back one day."""
    told = node.told if node.telling in (None, Told.OPEN) else node.telling
    if told is not Told.OPEN:
        fleet.closed[node.id] = told
        if len(fleet.closed) > CLOSED_MAX:
            del fleet.closed[next(iter(fleet.closed))]


# --- pools -----------------------------------------------------------------------------------


def _apply_to_pool(fleet: Fleet, event: ev.PoolFact) -> None:
    if isinstance(event, ev.PoolConfigured):
        fleet.pools[event.spec.name] = configured(fleet.pools.get(event.spec.name), event)
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
            pool = replace(
                pool,
                brake_because=event.because,
                brake_acknowledged=False,
                brake_half_open_at=None,
                brake_tolerated=0,
            )
        case ev.RepairAcknowledged():
            pool = replace(pool, brake_acknowledged=True)
        case ev.RepairHalfOpened():
            pool = replace(pool, brake_half_open_at=event.at, brake_tolerated=event.tolerated)
        case ev.RepairContinued():
            pool = replace(
                pool,
                brake_because="",
                brake_acknowledged=False,
                brake_half_open_at=None,
                brake_tolerated=0,
            )
        case _:
            assert_never(event)
    fleet.pools[event.pool] = pool


def configured(before: Pool | None, event: ev.PoolConfigured) -> Pool:
    """Return a pool as the configuration has it now; `before` None: it is new."""
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
        offer=offer_key(
            event.provider, event.region, event.zone, event.instance_type, spot=event.spot
        ),
    )
    fleet.put_instance(fleet.sparing.instance(instance))


def _apply_to_instance(fleet: Fleet, event: ev.InstanceFact) -> None:
    if isinstance(event, ev.LaunchRequested):
        _request(fleet, event)
        return
    before = fleet.instances[event.instance_id]
    match event:
        case ev.InstanceLaunched():
            after = _launched(before, event)
            fold_refusals.launched(fleet, before, event)
        case ev.LaunchFailed():
            after = replace(
                before,
                state=InstanceState.FAILED,
                because=event.because,
                ended_at=event.at,
                uncertain_since=None,
            )
            fold_refusals.refused(fleet, before, event)
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
            fold_refusals.vanished(fleet, before, event)
            if event.at - before.requested_at < YOUNG and not before.interrupted:
                _count_trouble(fleet, before, event, event.because)
        case ev.InstanceCondemned():
            after = _condemned(fleet, before, event)
        case ev.InstanceReprieved():
            after = _reprieved(fleet, before, event.because)
        case ev.DrainBegun():
            after = replace(before, draining_since=event.at)
            _move_node(fleet, before, Phase.LEAVING, event.because)
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
        on_trial=event.on_trial and before.registered_at is None,
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


def _condemned(fleet: Fleet, before: Instance, event: ev.InstanceCondemned) -> Instance:
    count_replacement(fleet, before.pool, event)
    for uuid in event.hardware:
        remember_lemon(fleet, uuid, event)
    node = fleet.nodes.get(before.id)
    if node is not None:
        fleet.put_node(replace(node, condemned=True))
    return replace(
        before,
        condemned_at=event.at,
        condemned_because=event.because,
        condemned_for=event.cause,
    )


def _reprieved(fleet: Fleet, before: Instance, because: str) -> Instance:
    node = fleet.nodes.get(before.id)
    if node is not None:
        phase = Phase.ACTIVE if node.phase is Phase.LEAVING else node.phase
        drained_at = None if phase is not node.phase else node.drained_at
        fleet.put_node(
            replace(node, condemned=False, phase=phase, because=because, drained_at=drained_at)
        )
    return replace(
        before,
        condemned_at=None,
        condemned_because="",
        condemned_for="",
        draining_since=None,
    )


def _move_node(fleet: Fleet, instance: Instance, phase: Phase, because: str) -> None:
    node = fleet.nodes.get(instance.id)
    if node is not None:
        fleet.put_node(
            replace(node, phase=phase, because=because, drained_at=None, emptied_at=None)
        )


# --- nodes -----------------------------------------------------------------------------------


def _register(fleet: Fleet, event: ev.NodeRegistered) -> None:
    instance = fleet.instances.get(event.instance_id)
    if instance is not None and instance.live and instance.registered_at is None:
        fold_refusals.registered(fleet, instance)
        fleet.put_instance(
            replace(
                instance,
                state=InstanceState.RUNNING,
                registered_at=event.at,
                on_trial=False,
                because="its agent registered",
            )
        )
    before = fleet.nodes.get(event.node_id)
    if before is None:
        told = fleet.closed.pop(event.node_id, Told.OPEN)
        before = Node(event.node_id, event.at, event.at, because="registered", told=told)
    distrusted = (lemon_because(fleet, gpu.uuid) for gpu in event.gpus)
    after = replace(
        before,
        lemon=next((because for because in distrusted if because), ""),
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
    fleet.put_node(fleet.sparing.node(after))


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
        case ev.InterruptionNoticed():
            after = _interrupted(fleet, before, event)
        case ev.NodeDismissed():
            after = replace(before, phase=Phase.TERMINATING, because=event.because)
        case ev.NodeRetired():
            after = _over(before, event)
        case ev.IntentChanged():
            after = replace(
                before,
                intent=event.intent,
                wished=event.wish,
                handed_over="" if event.intent is Intent.IN_SERVICE else before.handed_over,
                emptied_at=None if event.intent is Intent.DRAINING else before.emptied_at,
                refusal="",
                refused_at=None,
                because=event.because,
            )
        case ev.HealthReported() | ev.HealthJudged() | ev.HealthCleared():
            after = fold_health.applied(fleet, before, event)
        case (
            ev.RepairStarted()
            | ev.RepairAdvanced()
            | ev.RepairEnded()
            | ev.RepairWithheld()
            | ev.NodeHandedOver()
        ):
            after = fold_repair.applied(fleet, before, event)
        case ev.WorkloadTelling() | ev.WorkloadTold() | ev.WorkloadRefused() | ev.NodeEmptied():
            after = fold_repair.told(before, event)
        case _:
            assert_never(event)
    fleet.put_node(after)


def _interrupted(fleet: Fleet, before: Node, event: ev.InterruptionNoticed) -> Node:
    instance = fleet.instances.get(before.instance_id)
    if instance is not None:
        fleet.put_instance(
            replace(instance, interrupted_at=event.at, interrupted_until=event.deadline)
        )
    return replace(before, phase=Phase.LEAVING, because=event.because, drained_at=None)


def _over(
    before: Node, event: ev.NodeRetired | ev.InstanceTerminated | ev.InstanceVanished
) -> Node:
    return replace(before, phase=Phase.TERMINATED, because=event.because, ended_at=event.at)


def _returned(fleet: Fleet, before: Node, event: ev.NodeReturned) -> Node:
    """A node that was condemned for silence and speaks again is reprieved, if it still lives."""
    instance = fleet.instances.get(before.instance_id)
    for_silence = instance is not None and instance.condemned_for in ("", "silence")
    if instance is not None and instance.live and instance.condemned and for_silence:
        fleet.put_instance(_reprieved(fleet, instance, event.because))
        before = fleet.nodes[before.id]
    return replace(
        before,
        contact=Contact.CONNECTED,
        lost_at=None,
        lost_because="",
        withheld=before.withheld if before.health is Health.UNHEALTHY or before.lemon else "",
        heard_at=event.at,
        because=event.because,
    )
