"""The workload manager: what it has to be told about nodes, and what its answers teach.

Slurm, Kubernetes or a webhook gives work to the nodes, so it is told to give none to those that
are cordoned, drained or repaired. What it was told and what it should know are two fields of a
node; while they differ, a word is owed. The word is written down before it is said: if no answer
comes it may have been heard, and when the wish is withdrawn meanwhile, that has to be said too.
If it refuses what an operator wanted, the wish is taken back: a cordon that does not hold must not
look like one.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from navarch.core.model import events as ev
from navarch.core.model import messages as msg
from navarch.core.model.actions import AskDrained, Notice, Tell
from navarch.core.model.fleet import Fleet
from navarch.core.model.ladder import Told
from navarch.core.model.node import Intent, Node
from navarch.core.model.sightings import Sightings
from navarch.core.settings import Settings


def chosen(fleet: Fleet, now: datetime, settings: Settings) -> Iterator[ev.WorkloadTelling]:
    """Choose the word for each node about which the workload manager knows something else."""
    if not settings.workload_manager:
        return
    for node_id in sorted(fleet.untold):
        node = fleet.nodes[node_id]
        if node.telling is not node.workload:
            yield ev.WorkloadTelling(now, node_id, node.workload, node.because)


def owed(fleet: Fleet, sightings: Sightings, now: datetime, settings: Settings) -> Iterator[Notice]:
    """Yield what the workload manager is to be told and asked. Cost: O(nodes it is about)."""
    for node_id in fleet.untold:
        node = fleet.nodes[node_id]
        if node.telling is node.workload and _may_tell(node, sightings, now, settings):
            yield _word(node, now, settings)
    for node_id in fleet.emptying:
        question = AskDrained(node_id)
        asked_at = sightings.tried.get(question.key)
        if asked_at is None or now - asked_at >= settings.drain_poll:
            yield question


def _may_tell(node: Node, sightings: Sightings, now: datetime, settings: Settings) -> bool:
    if node.refused_at is not None and now - node.refused_at < settings.refusal_retry:
        return False
    tried_at = sightings.tried.get(f"tell {node.id}")
    return tried_at is None or now - tried_at >= settings.effect_retry


def _word(node: Node, now: datetime, settings: Settings) -> Tell:
    deadline = None
    if node.workload is Told.DRAINING and settings.drain_overrun == "end":
        deadline = now + settings.drain_timeout
    return Tell(node.id, node.workload, node.because, deadline, node.tellings + 1)


def learned(
    fleet: Fleet, message: msg.WorkloadAnswered | msg.DrainAnswered, now: datetime
) -> list[ev.Fact]:
    """Say what an answer teaches; one that comes too late teaches nothing."""
    node = fleet.nodes.get(message.node_id)
    if node is None or node.over:
        return []
    if isinstance(message, msg.DrainAnswered):
        return _emptied(node, message, now)
    if message.error and not message.refused:
        return []  # it is told again
    if message.error:
        return _refused(node, message, now)
    if node.told is message.told and node.telling is not message.told and not node.refusal:
        return []
    return [ev.WorkloadTold(now, node.id, message.told, "the workload manager has agreed")]


def _emptied(node: Node, message: msg.DrainAnswered, now: datetime) -> list[ev.Fact]:
    if not message.done or node.told is not Told.DRAINING or node.emptied_at is not None:
        return []
    because = message.text or "the workload manager has nothing left on it"
    facts: list[ev.Fact] = [ev.NodeEmptied(now, node.id, because)]
    if node.intent is Intent.DRAINING:
        facts.append(ev.IntentChanged(now, node.id, Intent.DRAINED, because, wish=False))
    return facts


def _refused(node: Node, message: msg.WorkloadAnswered, now: datetime) -> list[ev.Fact]:
    """Take back an operator's wish that does not hold; what repair wants is asked for again."""
    because = f"the workload manager refuses: {message.error}"
    facts: list[ev.Fact] = [ev.WorkloadRefused(now, node.id, message.told, because)]
    if message.told is node.workload and _is_wish(node):
        facts.append(ev.IntentChanged(now, node.id, _before(node), because, wish=False))
    return facts


def _is_wish(node: Node) -> bool:
    """Whether it is for an operator, and nobody else, that the manager was told something."""
    ours = node.repair is not None or node.condemned or bool(node.handed_over)
    return node.wished and not ours and node.workload is _WISHES.get(node.intent)


_WISHES = {
    Intent.IN_SERVICE: Told.OPEN,
    Intent.CORDONED: Told.CORDONED,
    Intent.DRAINED: Told.CORDONED,
    Intent.DRAINING: Told.DRAINING,
}
"""What the workload manager is told for each wish."""


def _before(node: Node) -> Intent:
    """What holds instead: what the manager was told before."""
    match node.told:
        case Told.OPEN:
            return Intent.IN_SERVICE
        case Told.CORDONED:
            return Intent.CORDONED
        case Told.DRAINING if node.emptied_at is not None:
            return Intent.DRAINED
        case Told.DRAINING:
            return Intent.DRAINING
