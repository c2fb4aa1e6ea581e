"""Interpreting: saying what a message teaches.

Total: every message that decodes yields facts, or nothing, or a refusal with its reason, never an
exception. It chooses no policy: what to do about what was learned is decided elsewhere. Stale and
repeated messages teach nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import assert_never

from navarch.core import fold_refusals, health, interruption, inventory, requests, workload
from navarch.core.model import events as ev
from navarch.core.model import ids
from navarch.core.model import messages as msg
from navarch.core.model.command import Command, CommandState, CommandType
from navarch.core.model.fleet import Fleet
from navarch.core.model.instance import Instance, InstanceState
from navarch.core.model.node import Contact, Intent, Node, Phase
from navarch.core.model.offer import PATTERNS_MAX
from navarch.core.model.report import CheckResult, Health, HealthEvent, HealthReport, folded
from navarch.core.model.sightings import Sightings
from navarch.core.serving import accepting, hearing, resources
from navarch.core.settings import Settings
from navarch.errors import QuotaScope

REPORTABLE = frozenset(
    {
        CommandState.RUNNING,
        CommandState.SUCCEEDED,
        CommandState.FAILED,
        CommandState.REFUSED,
    }
)
"""What a node may say of a command; the other states are ours to give."""

RETRY_AFTER_MAX = timedelta(minutes=15)
"""The longest that a provider can make us wait: who asks for a day is asked sooner."""

Learned = Sequence[ev.Fact] | msg.Refused


def interpret(
    fleet: Fleet, sightings: Sightings, message: msg.Message, now: datetime, settings: Settings
) -> Learned:
    """Say what a message teaches; refused requests teach nothing and are told why."""
    if not fleet.tag and not isinstance(message, msg.Found):
        return msg.Refused(msg.Refusal.FAILED_PRECONDITION, "no fleet has been founded yet")
    match message:
        case msg.Heartbeat():
            return _heartbeat(fleet, message, now, settings)
        case msg.HeartbeatBatch():
            return _heartbeats(fleet, message, now, settings)
        case msg.RegisterNode():
            return _register(fleet, message, now, settings)
        case msg.ReportHealth():
            return _report(fleet, sightings, message, now, settings)
        case msg.PollCommands():
            return _poll(fleet, message, now)
        case msg.AckCommand():
            return _acknowledge(fleet, message, now, settings)
        case msg.IssueCommand() | msg.ScalePool() | msg.PausePool() | msg.ClearHealth():
            return requests.interpret(fleet, message, now, settings)
        case msg.ApplyResources() | msg.DeleteResource():
            return resources.learned(fleet, message, now)
        case msg.SetPlugin():
            return requests.set_plugin(fleet, message, now)
        case msg.WorkloadAnswered() | msg.DrainAnswered():
            return workload.learned(fleet, message, now)
        case msg.Found() | msg.Resume() | msg.ConfigurePools() | msg.AdoptPolicy():
            return _begin(fleet, message, now)
        case msg.Launched() | msg.LaunchRefused() | msg.LaunchLost():
            return _launch_answered(fleet, message, now)
        case msg.TerminateAnswered():
            return _terminate_answered(fleet, message, now)
        case msg.InventoryTaken():
            return list(inventory.learned(fleet, sightings, message, now, settings))
        case msg.Recommended():
            if message.pool in fleet.pools:
                return ()
            return msg.Refused(msg.Refusal.NOT_FOUND, f"pool {message.pool} is not configured")
        case msg.ReplicasRecommended():
            return list(accepting.target(fleet, message, now))
        case msg.PlacementsProposed():
            return list(accepting.placements(fleet, message, now))
        case msg.ReplicasObserved():
            return list(hearing.observed(fleet, message, now, settings))
        case msg.InventoryFailed() | msg.TypesListed() | msg.Tick():
            return ()
        case _:
            assert_never(message)


# --- agents ----------------------------------------------------------------------------------


def _known(fleet: Fleet, node_id: str) -> Node | msg.Refused:
    node = fleet.nodes.get(node_id)
    if node is None:
        return msg.Refused(
            msg.Refusal.NOT_FOUND, f"node {node_id} is not registered: register it first"
        )
    if node.phase is Phase.TERMINATED:
        return msg.Refused(
            msg.Refusal.FAILED_PRECONDITION, f"node {node_id} has ended: {node.because}"
        )
    return node


def _heartbeat(fleet: Fleet, message: msg.Heartbeat, now: datetime, settings: Settings) -> Learned:
    node = _known(fleet, message.node_id)
    if isinstance(node, msg.Refused):
        return node
    return [
        *_speaks_again(node, now),
        *_shown_done(fleet, node.id, now),
        *hearing.heard(fleet, node.id, message.serving, now, settings),
    ]


def _heartbeats(
    fleet: Fleet, message: msg.HeartbeatBatch, now: datetime, settings: Settings
) -> list[ev.Fact]:
    """Learn from many at once; a heartbeat teaches only of nodes of which more is expected.

    Cost: O(lost nodes, nodes with commands and nodes that serve), however many speak.
    """
    facts: list[ev.Fact] = []
    telling = fleet.lost.keys() | fleet.pending.keys() | message.serving.keys()
    for node_id in sorted(message.node_ids & telling):
        heartbeat = msg.Heartbeat(node_id, serving=message.serving.get(node_id))
        learned = _heartbeat(fleet, heartbeat, now, settings)
        if not isinstance(learned, msg.Refused):
            facts += learned
    return facts


def _speaks_again(node: Node, now: datetime) -> list[ev.Fact]:
    if node.contact is Contact.CONNECTED:
        return []
    silence = f" after {(now - node.lost_at).total_seconds():.0f} s" if node.lost_at else ""
    return [ev.NodeReturned(now, node.id, f"it speaks again{silence}")]


def _shown_done(fleet: Fleet, node_id: str, now: datetime) -> list[ev.Fact]:
    """Agents of the older protocol never acknowledge: that they live on has to do."""
    if node_id not in fleet.pending:
        return []
    return [
        ev.CommandFinished(
            now,
            command.id,
            node_id,
            CommandState.SUCCEEDED,
            "delivered; its agent does not acknowledge",
        )
        for command in fleet.commands_for(node_id)
        if command.state is CommandState.DELIVERED and not command.acknowledges
    ]


def _register(
    fleet: Fleet, message: msg.RegisterNode, now: datetime, settings: Settings
) -> Learned:
    refusal = _unwelcome(fleet, message.node_id, settings)
    if refusal is not None:
        return refusal
    described = _described(fleet, message, now)
    node = fleet.nodes.get(message.node_id)
    if node is None:
        return [described]
    facts = _speaks_again(node, now)
    if not _is_described_as(node, described):
        facts.append(described)
    return facts


def _unwelcome(fleet: Fleet, node_id: str, settings: Settings) -> msg.Refused | None:
    instance = fleet.instances.get(node_id)
    if instance is not None and not instance.live:
        return msg.Refused(
            msg.Refusal.FAILED_PRECONDITION,
            f"instance {node_id} is {instance.state.value}: {instance.because}",
        )
    node = fleet.nodes.get(node_id)
    if node is not None and node.over:
        return msg.Refused(
            msg.Refusal.FAILED_PRECONDITION, f"node {node_id} has ended: {node.because}"
        )
    if instance is None and ids.is_instance_id(node_id, fleet.tag):
        return msg.Refused(
            msg.Refusal.FAILED_PRECONDITION,
            f"{node_id} is the name of an instance of this fleet that does not exist",
        )
    if instance is None and node is None:
        foreign = len(fleet.foreign)
        if foreign >= settings.external_nodes_max:
            return msg.Refused(
                msg.Refusal.RESOURCE_EXHAUSTED,
                f"{foreign} machines that were not launched here are registered already, "
                f"at most {settings.external_nodes_max} may be",
            )
    return None


def _described(fleet: Fleet, message: msg.RegisterNode, now: datetime) -> ev.NodeRegistered:
    instance = fleet.instances.get(message.node_id)
    return ev.NodeRegistered(
        now,
        message.node_id,
        provider=instance.provider if instance else message.provider,
        region=message.region or (instance.region if instance else ""),
        zone=message.zone or (instance.zone if instance else ""),
        instance_type=message.instance_type or (instance.instance_type if instance else ""),
        pool=instance.pool if instance else "",
        instance_id=instance.id if instance else "",
        gpus=message.gpus,
        metadata=message.metadata,
    )


def _is_described_as(node: Node, described: ev.NodeRegistered) -> bool:
    return all(
        getattr(node, name) == getattr(described, name)
        for name in ("provider", "region", "zone", "instance_type", "pool", "gpus", "metadata")
    )


def _report(
    fleet: Fleet,
    sightings: Sightings,
    message: msg.ReportHealth,
    now: datetime,
    settings: Settings,
) -> Learned:
    """Learn from a report what it says that is new, or what a verdict still waits to hear."""
    node = _known(fleet, message.node_id)
    if isinstance(node, msg.Refused):
        return node
    events = folded(message.events)
    results = tuple(result for result in message.results if result.status is not Health.UNKNOWN)
    last = node.report
    again = sightings.has_said(node.id, message.results, message.events)
    if again or (last is not None and _is_sent_again(last, results, events)):
        return [*_speaks_again(node, now), *_shown_done(fleet, node.id, now)]
    repeated = last is not None and last.events == events and _agree(last.results, results)
    bad = bool(events) or any(result.status is not Health.HEALTHY for result in results)
    awaited = (bad or bool(results)) and health.awaits_report(fleet, node, settings, bad=bad)
    facts = [*_speaks_again(node, now), *interruption.noticed(fleet, node, events, now)]
    if awaited or (bad and not repeated):
        held = sightings.held.get(node.id, ())
        if not is_storm(node, results, events, now, settings):
            told = folded((*held, *events))
            number = fleet.event_serial + 1 if told else 0
            facts.append(ev.HealthReported(now, node.id, results, told, number))
    return [*facts, *_shown_done(fleet, node.id, now)]


def _is_sent_again(
    last: HealthReport, results: tuple[CheckResult, ...], events: tuple[HealthEvent, ...]
) -> bool:
    """Whether a report is the very one that came before: its answer was lost, or it came twice.

    What was sensed is dated by the sender; nothing else is sensed at the same moment.
    """
    if results != last.results and results:
        return False
    known = {(each.shape, each.timestamp) for each in last.events}
    if not all((each.shape, each.timestamp) in known for each in events):
        return False
    dated = (*(each.at for each in results), *(each.timestamp for each in events))
    return any(moment is not None for moment in dated)


def is_storm(
    node: Node,
    results: tuple[CheckResult, ...],
    events: tuple[HealthEvent, ...],
    now: datetime,
    settings: Settings,
) -> bool:
    """Whether a report only repeats what the last one said a moment ago: it is held back."""
    last = node.report
    if last is None or not events or now - last.received_at >= settings.report_fold:
        return False
    known = {event.shape for event in last.events}
    nothing_else = _agree(last.results, results) or all(
        result.status is Health.HEALTHY for result in results
    )
    return nothing_else and all(event.shape in known for event in events)


def _agree(these: tuple[CheckResult, ...], those: tuple[CheckResult, ...]) -> bool:
    """Whether checks said the same, whenever they said it. An event is another one each time."""
    said, says = (
        [(each.check_name, each.status, each.message, each.details) for each in results]
        for results in (these, those)
    )
    return said == says


def _poll(fleet: Fleet, message: msg.PollCommands, now: datetime) -> Learned:
    node = _known(fleet, message.node_id)
    if isinstance(node, msg.Refused):
        return node
    delivered = [
        ev.CommandDelivered(now, command.id, node.id, message.acknowledges)
        for command in fleet.commands_for(node.id)
        if command.state is CommandState.ISSUED
    ]
    return [*_speaks_again(node, now), *delivered]


def _acknowledge(
    fleet: Fleet, message: msg.AckCommand, now: datetime, settings: Settings
) -> Learned:
    command = fleet.commands.get(message.command_id)
    if command is None:
        return msg.Refused(msg.Refusal.NOT_FOUND, f"command {message.command_id} is not known")
    if command.node_id != message.node_id:
        return msg.Refused(
            msg.Refusal.PERMISSION_DENIED,
            f"command {command.id} was not given to node {message.node_id}",
        )
    if message.state not in REPORTABLE:
        return msg.Refused(
            msg.Refusal.INVALID_ARGUMENT, f"{message.state.value} is no state that a node reports"
        )
    facts: list[ev.Fact] = []
    node = fleet.nodes.get(command.node_id)
    if node is not None and node.phase is not Phase.TERMINATED:
        facts += _speaks_again(node, now)
    if not command.finished and command.state is not message.state:
        facts.append(
            ev.CommandFinished(
                now,
                command.id,
                command.node_id,
                message.state,
                message.message,
                message.output,
            )
        )
    elif command.state is not CommandState.EXPIRED:
        return facts  # heard before
    facts += hearing.answered(fleet, command, message, now, settings)
    return [*facts, *_consequence(fleet, command, message, now, settings)]


def _consequence(
    fleet: Fleet, command: Command, message: msg.AckCommand, now: datetime, settings: Settings
) -> list[ev.Fact]:
    node_id, type_ = command.node_id, command.type
    node = fleet.nodes.get(node_id)
    if node is None or message.state is not CommandState.SUCCEEDED:
        return []
    told_by_agent = not settings.workload_manager  # where there is one, it alone knows
    if type_ is CommandType.DRAIN and node.intent is Intent.DRAINING and told_by_agent:
        because = message.message or "its agent has drained it"
        return [ev.IntentChanged(now, node_id, Intent.DRAINED, because, wish=False)]
    if type_ is CommandType.TERMINATE and node.phase is Phase.TERMINATING and not node.instance_id:
        return [ev.NodeRetired(now, node_id, "its agent has ended as told")]
    return []


# --- the process itself ----------------------------------------------------------------------


def _begin(
    fleet: Fleet,
    message: msg.Found | msg.Resume | msg.ConfigurePools | msg.AdoptPolicy,
    now: datetime,
) -> Learned:
    match message:
        case msg.AdoptPolicy():
            if message.digest == fleet.policy and message.name == fleet.policy_name:
                return []
            because = message.because or "nobody said why"
            return [ev.PolicyAdopted(now, message.name, message.digest, because)]
        case msg.Found():
            return [] if fleet.tag else [ev.FleetFounded(now, message.tag)]
        case msg.Resume():
            return [ev.Resumed(now, message.version, message.holder)]
        case msg.ConfigurePools():
            return _configure(fleet, message, now)
        case _:
            assert_never(message)


def _configure(fleet: Fleet, message: msg.ConfigurePools, now: datetime) -> list[ev.Fact]:
    facts: list[ev.Fact] = []
    for spec in message.pools:
        pool = fleet.pools.get(spec.name)
        if pool is None or pool.retired or pool.spec != spec:
            facts.append(ev.PoolConfigured(now, spec))
    configured = {spec.name for spec in message.pools}
    because = "the configuration does not name it any more"
    facts += [
        ev.PoolRetired(now, pool.name, because)
        for pool in fleet.pools.values()
        if pool.name not in configured and not pool.retired
    ]
    return facts


# --- outcomes of effects ---------------------------------------------------------------------


def _launch_answered(
    fleet: Fleet, message: msg.Launched | msg.LaunchRefused | msg.LaunchLost, now: datetime
) -> Learned:
    instance = fleet.instances.get(message.instance_id)
    if instance is None:
        return ()  # a late answer; if it left a machine behind, an inventory will find it
    if isinstance(message, msg.LaunchRefused):
        return _launch_refused(fleet, instance, message, now)
    if instance.ended or instance.ref:
        return ()  # as above
    match message:
        case msg.Launched():
            machine = message.machine
            return [
                ev.InstanceLaunched(
                    now,
                    instance.id,
                    machine.ref,
                    because=f"{instance.provider} launched it",
                    public_ip=machine.public_ip,
                    private_ip=machine.private_ip,
                    region=machine.region,
                    zone=machine.zone,
                    on_trial=True,
                )
            ]
        case msg.LaunchLost():
            if instance.uncertain_since is not None:
                return ()
            because = f"{instance.provider}: {message.text}: looking it up"
            return [ev.LaunchUncertain(now, instance.id, because)]
        case _:
            assert_never(message)


def _launch_refused(
    fleet: Fleet, instance: Instance, message: msg.LaunchRefused, now: datetime
) -> Learned:
    """A refusal says that surely nothing was made, and only an agent that has spoken knows better.

    Lists may have shown the machine meanwhile, and show it no more: clouds give up launches
    half-way. Should one go on showing it, it is nobody's from now on, and is ended as such. Where
    we may have asked for its end ourselves, a refusal says nothing about the offer.
    """
    because = f"{instance.provider}: {message.text}"
    ending = instance.terminating_since is not None
    is_ours = ending and (bool(instance.ref) or instance.ended)
    if instance.state is InstanceState.FAILED or is_ours:
        return ()
    if fleet.node_of(instance) is not None or instance.registered_at is not None:
        if ending:
            return [ev.InstanceTerminated(now, instance.id, f"never launched: {because}")]
        return ()
    if instance.ref:
        because += f" (a list has shown it half-made, as {instance.ref})"
    wait = min(message.retry_after, RETRY_AFTER_MAX)
    scope = _usable(message.scope, instance)
    return [ev.LaunchFailed(now, instance.id, message.failure, because, wait, scope)]


def _usable(scope: QuotaScope | None, instance: Instance) -> QuotaScope | None:
    """Take what a quota is said to count; the whole provider where that cannot be right."""
    if scope is None or len(scope.instance_types) > PATTERNS_MAX or scope.is_everything:
        return None
    return scope if fold_refusals.covers(scope, instance) else None


def _terminate_answered(fleet: Fleet, message: msg.TerminateAnswered, now: datetime) -> Learned:
    if message.error:
        return ()
    because = f"{message.provider} agreed to end it"
    instance = fleet.instances.get(message.instance_id)
    if instance is not None:
        if instance.state is not InstanceState.TERMINATING or instance.ref != message.ref:
            return ()
        return [ev.TerminationAccepted(now, instance.id, because)]
    return ()
