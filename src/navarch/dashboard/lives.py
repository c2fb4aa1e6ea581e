"""The life of one machine, told by its facts: what it was on each axis, since when, and why.

The facts are folded by the same function that made the fleet, one by one, into a fleet that has
nothing else in it; where an axis has moved, the fact that moved it says why. So a life can tell no
other story than the one that was lived, also of a machine that the fleet has long forgotten.

Of a machine with more facts than were read the first ones are missing. Then each axis is not known
until a fact moves it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final, TypeGuard

from msgspec import Struct
from msgspec.structs import replace

from navarch.core import fold
from navarch.core.model import events as ev
from navarch.core.model.command import CommandState
from navarch.core.model.finding import Finding
from navarch.core.model.fleet import Fleet
from navarch.core.model.instance import Instance, InstanceState
from navarch.core.model.ladder import Outcome
from navarch.core.model.node import Contact, Intent, Node, Phase
from navarch.core.model.report import GRAVITY, Health
from navarch.core.sentences import sentence
from navarch.stores.base import Recorded

AXES: Final = ("phase", "health", "contact", "intent", "repair")
"""What is told of a machine, in this order; the last one only where there was one."""
SEGMENTS_MAX: Final = 100
"""Of one axis, the newest."""
MARKS_MAX: Final = 200
"""The newest."""

GOOD, WARN, BAD, ACT, NOTE, NONE = "good", "warn", "bad", "act", "note", "none"

_TONES: Final[Mapping[str, str]] = {
    InstanceState.PROVISIONING: WARN,
    InstanceState.PENDING_REGISTRATION: WARN,
    InstanceState.RUNNING: GOOD,
    InstanceState.FAILED: BAD,
    Phase.ACTIVE: GOOD,
    Phase.LEAVING: ACT,
    Phase.TERMINATING: ACT,
    Phase.TERMINATED: NONE,
    Health.UNKNOWN: NONE,
    Health.HEALTHY: GOOD,
    Health.DEGRADED: WARN,
    Health.UNHEALTHY: BAD,
    Contact.CONNECTED: GOOD,
    Contact.LOST: BAD,
    Intent.IN_SERVICE: GOOD,
    Intent.CORDONED: ACT,
    Intent.DRAINING: ACT,
    Intent.DRAINED: ACT,
}
"""By state; what is not here is something that is done about the machine."""


class Segment(Struct, frozen=True, omit_defaults=True):
    """A stretch of time in which an axis stood still."""

    since: datetime
    state: str
    """Empty: not known, for earlier facts were not read."""
    tone: str
    until: datetime | None = None
    """None: to the present."""
    because: str = ""
    seq: int = 0
    """The fact that began it; 0: none that was read."""
    rule: str = ""
    """The health rule that spoke; empty: none did."""
    event: str = ""
    """The health event that it spoke about."""
    event_seq: int = 0
    """The fact that brought the event; 0: none that was read."""


class Lane(Struct, frozen=True):
    """One axis over time, oldest first."""

    name: str
    segments: Sequence[Segment]


class Mark(Struct, frozen=True):
    """One fact."""

    at: datetime
    seq: int
    kind: str
    tone: str
    text: str


class Life(Struct, frozen=True):
    """What the facts tell of a machine."""

    lanes: Sequence[Lane]
    marks: Sequence[Mark]
    node: Node | None
    """As the facts leave it, or had left it when it was let go; None: it never registered."""
    instance: Instance | None
    """Likewise; None: it was not launched here."""
    whole: bool
    """Whether its first fact was read."""

    def newest(self, axis: str) -> Segment | None:
        """Where an axis stands at the end; None: nothing is told of it."""
        found = next((lane for lane in self.lanes if lane.name == axis), None)
        return found.segments[-1] if found is not None and found.segments else None


def life_of(machine: str, facts: Sequence[Recorded]) -> Life:
    """Tell a machine's life by the facts that name it, oldest first. Cost: O(facts).

    Of facts that name it and are about something else, such as a replica, only marks are made.
    """
    scratch = Fleet()
    whole = _is_whole(facts, machine)
    drafts: dict[str, list[Segment]] = {axis: [] for axis in AXES}
    brought = _brought_by(facts)
    before = _axes(scratch, machine)
    last: tuple[Node | None, Instance | None] = (None, None)
    for recorded in facts:
        event = recorded.event
        if isinstance(event, ev.RecordsForgotten) and machine in (*event.nodes, *event.instances):
            last = (scratch.nodes.get(machine), scratch.instances.get(machine))
            scratch.drop(event.instances, event.nodes)
            _end(drafts, event.at)
            before = {}
        if not _is_about(event, machine):
            continue
        if not whole:
            _supply(scratch, machine, event)
            before = before or _axes(scratch, machine)
        fold.apply(scratch, event)
        after = _axes(scratch, machine)
        for axis, state in after.items():
            if before.get(axis, "") != state:
                _move(drafts[axis], _segment(recorded, axis, state, brought, machine))
        before = after
    start = facts[0].event.at if facts else None
    lanes = [
        Lane(axis, tuple(_led_in(drafts[axis], start, whole=whole)[-SEGMENTS_MAX:]))
        for axis in AXES
        if axis != "repair" or drafts[axis]
    ]
    return Life(
        lanes,
        [_mark(each) for each in facts[-MARKS_MAX:]],
        scratch.nodes.get(machine) or last[0],
        scratch.instances.get(machine) or last[1],
        whole,
    )


def within(life: Life, since: datetime) -> Life:
    """Leave out what was over before a moment; stretches that reach into the time stay whole."""
    lanes = [
        Lane(
            lane.name,
            tuple(each for each in lane.segments if each.until is None or each.until > since),
        )
        for lane in life.lanes
    ]
    return replace(life, lanes=lanes, marks=[each for each in life.marks if each.at >= since])


def gravest(findings: Sequence[Finding]) -> Finding | None:
    """The finding that decides a verdict, the newest of the worst; None when nothing is wrong."""
    bad = [finding for finding in findings if finding.bad]
    return max(bad, key=lambda each: (GRAVITY[each.status], each.seen), default=None)


def fact_of(number: int, facts: Sequence[Recorded]) -> int:
    """Which fact brought the health event of this number; 0: none of these."""
    return _brought_by(facts).get(number, 0)


# --- folding ---------------------------------------------------------------------------------


def _is_whole(facts: Sequence[Recorded], machine: str) -> bool:
    """Whether a machine's first fact is among these: its launch, or that a stranger registered."""
    for recorded in facts:
        event = recorded.event
        if _is_about(event, machine):
            alone = isinstance(event, ev.NodeRegistered) and not event.instance_id
            return alone or isinstance(event, ev.LaunchRequested)
    return True


def _is_about(event: ev.Event, machine: str) -> TypeGuard[ev.InstanceFact | ev.NodeFact]:
    if isinstance(event, ev.InstanceFact):
        return event.instance_id == machine
    return isinstance(event, ev.NodeFact) and event.node_id == machine


def _supply(scratch: Fleet, machine: str, event: ev.Event) -> None:
    """Have a record there that earlier facts would have made."""
    if machine not in scratch.instances and not isinstance(event, ev.LaunchRequested):
        running = InstanceState.RUNNING
        scratch.put_instance(Instance(machine, "", "", running, event.at, ""))
    is_first = isinstance(event, ev.LaunchRequested | ev.NodeRegistered)
    if isinstance(event, ev.NodeFact) and not is_first and machine not in scratch.nodes:
        scratch.put_node(Node(machine, event.at, event.at))


def _axes(scratch: Fleet, machine: str) -> dict[str, str]:
    """Where a machine stands; an axis without a state is absent."""
    node, instance = scratch.nodes.get(machine), scratch.instances.get(machine)
    if node is None:
        return {} if instance is None else {"phase": instance.state.value}
    repair = node.repair
    mending = "" if repair is None else f"{repair.rung.value}: {repair.stage.value}"
    return {
        "phase": node.phase.value,
        "health": node.health.value,
        "contact": node.contact.value,
        "intent": node.intent.value,
        "repair": mending,
    }


def _brought_by(facts: Sequence[Recorded]) -> dict[int, int]:
    """By the number of a health event, the fact that brought it."""
    return {
        number: recorded.seq
        for recorded in facts
        if isinstance(recorded.event, ev.HealthReported) and recorded.event.first_number
        for number in range(
            recorded.event.first_number,
            recorded.event.first_number + len(recorded.event.events),
        )
    }


def _segment(
    recorded: Recorded, axis: str, state: str, brought: Mapping[int, int], machine: str
) -> Segment:
    event = recorded.event
    segment = Segment(
        event.at,
        state,
        _TONES.get(state, ACT if state else NONE),
        because=_because(event, machine),
        seq=recorded.seq,
    )
    finding = gravest(event.findings) if isinstance(event, ev.HealthJudged) else None
    if axis != "health" or finding is None:
        return segment
    what = "" if finding.event is None else finding.event.described.partition(" ×")[0]
    return replace(segment, rule=finding.rule, event=what, event_seq=brought.get(finding.number, 0))


def _because(event: ev.Event, machine: str) -> str:
    """Why an axis has moved: the fact's own reason, else the fact."""
    told = str(getattr(event, "because", ""))
    return told or sentence(event).removeprefix(f"node {machine} ")


def _move(segments: list[Segment], segment: Segment) -> None:
    """End the stretch before at the beginning of this one; one that ends nothing begins nothing."""
    if segments and segments[-1].until is None:
        segments[-1] = replace(segments[-1], until=segment.since)
    if segments or segment.state:
        segments.append(segment)


def _end(drafts: Mapping[str, list[Segment]], at: datetime) -> None:
    """End every stretch: the fleet has forgotten the machine, and its name may come again."""
    for segments in drafts.values():
        if segments and segments[-1].until is None:
            segments[-1] = replace(segments[-1], until=at)


def _led_in(segments: list[Segment], start: datetime | None, *, whole: bool) -> list[Segment]:
    """Say of the time before the first move that nothing is known of it, where that is so."""
    if whole or start is None:
        return segments
    until = segments[0].since if segments else None
    unknown = Segment(start, "", NONE, until, "earlier facts were not read")
    return [unknown, *segments]


# --- marks -----------------------------------------------------------------------------------


def _mark(recorded: Recorded) -> Mark:
    event = recorded.event
    return Mark(event.at, recorded.seq, ev.kind(event), _tone(event), sentence(event))


def _tone(event: ev.Event) -> str:
    match event:
        case ev.NodeLost() | ev.LaunchFailed() | ev.InstanceVanished() | ev.NodeHandedOver():
            return BAD
        case ev.InterruptionNoticed() | ev.WorkloadRefused() | ev.LaunchUncertain():
            return BAD
        case ev.NodeRegistered() | ev.NodeReturned() | ev.InstanceLaunched():
            return GOOD
        case ev.HealthJudged():
            return _TONES[event.health]
        case ev.RepairEnded():
            return BAD if event.outcome is Outcome.FAILED else GOOD
        case ev.CommandFinished(state=CommandState.FAILED | CommandState.REFUSED):
            return BAD
        case ev.CommandIssued() | ev.IntentChanged() | ev.HealthCleared() | ev.RepairStarted():
            return ACT
        case ev.TerminationRequested() | ev.DrainBegun() | ev.InstanceCondemned():
            return ACT
        case _:
            return NOTE
