"""Every fact in one sentence, as an operator would say it."""

from __future__ import annotations

from typing import assert_never

from navarch.core import serving_sentences
from navarch.core.model import events as ev
from navarch.core.model.command import CommandState
from navarch.core.model.finding import Remedy
from navarch.core.model.ladder import Stage
from navarch.core.model.report import Health


def sentence(event: ev.Event) -> str:
    """Say a fact in one sentence, its reason included, without a full stop.

    Raises `TypeError` for an event that is not a fact of ours.
    """
    if isinstance(event, ev.InstanceFact):
        return _of_instance(event)
    if isinstance(event, ev.NodeFact):
        return _of_node(event)
    if isinstance(event, ev.CommandFact):
        return _of_command(event)
    if isinstance(event, ev.PoolFact):
        return _of_pool(event)
    if isinstance(event, ev.ServingFact):
        return serving_sentences.sentence(event)
    if isinstance(event, ev.FleetFact):
        return _of_fleet(event)
    raise TypeError(f"{type(event).__name__} is no fact")


def _of_fleet(event: ev.FleetFact) -> str:
    match event:
        case ev.FleetFounded():
            return f"the fleet {event.tag} was founded"
        case ev.Resumed():
            by = f" by {event.holder}" if event.holder else ""
            return f"the journal was taken up{by}; every silence is counted anew"
        case ev.PolicyAdopted():
            return f"policy {event.name} ({event.digest}) judges from now on: {event.because}"
        case ev.RecordsForgotten():
            number = len(event.instances) + len(event.nodes) + len(event.commands)
            return f"{_plural(number, 'ended record')} let go: {event.because}"
        case ev.OrphanCondemned():
            return (
                f"machine {event.provider}/{event.ref} is nobody's, and will end: {event.because}"
            )
        case ev.OrphanRemoved():
            return f"machine {event.provider}/{event.ref} is gone: {event.because}"
        case _:
            assert_never(event)


def _of_pool(event: ev.PoolFact) -> str:
    match event:
        case ev.PoolConfigured():
            spec = event.spec
            sellers = dict.fromkeys(source.provider for source in spec.sources) or [spec.provider]
            return (
                f"pool {spec.name} is configured for {spec.min_nodes} to {spec.max_nodes} nodes "
                f"of {', '.join(sellers)}"
            )
        case ev.PoolRetired():
            return f"pool {event.pool} is retired: {event.because}"
        case ev.TargetChanged():
            return f"pool {event.pool} wants {event.target} nodes: {event.because}"
        case ev.PoolPaused():
            return f"pool {event.pool} stands still: {event.because}"
        case ev.PoolUnpaused():
            return f"pool {event.pool} goes on: {event.because}"
        case ev.RepairHalted():
            return f"repair of pool {event.pool} is halted: {event.because}"
        case ev.RepairAcknowledged():
            return f"the halted repair of pool {event.pool} was looked at: {event.because}"
        case ev.RepairHalfOpened():
            return f"repair of pool {event.pool} may try one node: {event.because}"
        case ev.RepairContinued():
            return f"repair of pool {event.pool} goes on: {event.because}"
        case _:
            assert_never(event)


def _of_instance(event: ev.InstanceFact) -> str:
    name = f"instance {event.instance_id}"
    match event:
        case ev.LaunchRequested():
            return f"{name} is wanted from {event.provider}: {event.because}"
        case ev.InstanceLaunched():
            return f"{name} exists as {event.ref}: {event.because}"
        case ev.LaunchFailed():
            return f"{name} could not be launched ({event.failure}): {event.because}"
        case ev.LaunchUncertain():
            return f"{name} may or may not exist: {event.because}"
        case ev.LaunchCleared():
            return f"{name} does not exist and may be launched again: {event.because}"
        case ev.TerminationRequested():
            return f"{name} is to end: {event.because}"
        case ev.TerminationAccepted():
            return f"{name} is ending: {event.because}"
        case ev.InstanceTerminated():
            return f"{name} has ended: {event.because}"
        case ev.InstanceVanished():
            return f"{name} is gone by itself: {event.because}"
        case ev.InstanceCondemned():
            return f"{name} will be replaced: {event.because}"
        case ev.InstanceReprieved():
            return f"{name} will not be replaced after all: {event.because}"
        case ev.DrainBegun():
            return f"{name} is drained, for its replacement serves: {event.because}"
        case ev.ReleaseRequested():
            return f"{name} is drained to be ended: {event.because}"
        case ev.ReleaseRevoked():
            return f"{name} is kept after all: {event.because}"
        case _:
            assert_never(event)


def _of_node(event: ev.NodeFact) -> str:
    name = f"node {event.node_id}"
    match event:
        case ev.NodeRegistered():
            return f"{name} registered with {len(event.gpus)} GPUs"
        case ev.NodeLost():
            return f"{name} is lost: {event.because}"
        case ev.NodeReturned():
            return f"{name} is back: {event.because}"
        case ev.InterruptionNoticed():
            return f"{name} will be taken away: {event.because}"
        case ev.NodeDismissed():
            return f"{name} is to end: {event.because}"
        case ev.NodeRetired():
            return f"{name} has ended: {event.because}"
        case ev.IntentChanged():
            return f"{name} is {event.intent.value.replace('_', ' ')} by intent: {event.because}"
        case ev.HealthReported():
            bad = sum(result.status is not Health.HEALTHY for result in event.results)
            count = sum(each.count for each in event.events)
            return f"{name} reported {_plural(count, 'event')}, {_plural(bad, 'failed check')}"
        case ev.HealthJudged():
            return f"{name} is {event.health.value}: {event.because}"
        case ev.HealthCleared():
            return f"{name} starts over: {event.because}"
        case (
            ev.RepairStarted()
            | ev.RepairAdvanced()
            | ev.RepairEnded()
            | ev.RepairWithheld()
            | ev.NodeHandedOver()
        ):
            return f"{name} {_of_repair(event)}: {event.because}"
        case ev.WorkloadTelling():
            word = event.told.value
            return f"the workload manager is to know that {name} is {word}: {event.because}"
        case ev.WorkloadTold():
            return f"{name} is {event.told.value} for the workload manager: {event.because}"
        case ev.WorkloadRefused():
            return f"{name} can not be {event.told.value}: {event.because}"
        case ev.NodeEmptied():
            return f"{name} is empty: {event.because}"
        case _:
            assert_never(event)


_RUNGS = {
    Remedy.RESET_GPU: "have a GPU reset",
    Remedy.REBOOT: "be rebooted",
    Remedy.REPLACE: "be replaced",
    Remedy.INSPECT: "be handed to a person",
}


def _of_repair(
    event: ev.RepairStarted
    | ev.RepairAdvanced
    | ev.RepairEnded
    | ev.RepairWithheld
    | ev.NodeHandedOver,
) -> str:
    match event:
        case ev.RepairStarted():
            return f"is to {_RUNGS.get(event.rung, event.rung.value)}"
        case ev.RepairAdvanced(stage=Stage.ACTING):
            return "is being repaired"
        case ev.RepairAdvanced(stage=Stage.PROBATION):
            return "is on probation"
        case ev.RepairAdvanced():
            return f"is {event.stage.value}"
        case ev.RepairEnded():
            return f"was repaired: {event.outcome.value}"
        case ev.RepairWithheld():
            return f"would {_RUNGS.get(event.rung, event.rung.value)}"
        case ev.NodeHandedOver():
            return "needs a person"
        case _:
            assert_never(event)


_STATES = {
    CommandState.ISSUED: "was issued",
    CommandState.DELIVERED: "was delivered",
    CommandState.RUNNING: "is running",
    CommandState.SUCCEEDED: "succeeded",
    CommandState.FAILED: "failed",
    CommandState.REFUSED: "was refused",
    CommandState.EXPIRED: "expired",
}


def _plural(number: int, word: str) -> str:
    return f"{number} {word}" if number == 1 else f"{number} {word}s"


def _of_command(event: ev.CommandFact) -> str:
    name = f"command {event.command_id}"
    match event:
        case ev.CommandIssued():
            reason = f": {event.reason}" if event.reason else ""
            return f"{name} asks node {event.node_id} to {event.type.value}{reason}"
        case ev.CommandDelivered():
            return f"{name} was handed to node {event.node_id}"
        case ev.CommandFinished():
            message = f": {event.message}" if event.message else ""
            return f"{name} of node {event.node_id} {_STATES[event.state]}{message}"
        case _:
            assert_never(event)
