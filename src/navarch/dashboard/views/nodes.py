"""One machine: how it stands and why, what it reads, what happened to it, and what runs there.

A machine is found by its id in the fleet, and, when the fleet has let go of it, in the journal:
then its facts alone are told. One that nobody knows is an error that names those with ids like it.

What is no fact, such as samples, is asked for again with ``part=readings``; that costs little.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final

from msgspec import Struct

from navarch.core import explain_health
from navarch.core.model.finding import Finding
from navarch.core.model.gpu import GPU
from navarch.core.model.instance import Instance
from navarch.core.model.node import Node
from navarch.dashboard.lives import Life, Mark, Segment, fact_of, life_of, within
from navarch.dashboard.machines import (
    Commands,
    Machine,
    ServedHere,
    commands_of,
    gpus_of,
    machine_of,
    served_on,
)
from navarch.dashboard.names import nearest
from navarch.dashboard.readings import MemoryErrors, Readings, memory_errors, readings_of
from navarch.dashboard.rows import row_of
from navarch.dashboard.seen import Seen
from navarch.dashboard.stream import FactRow, fact_row
from navarch.errors import WireError
from navarch.stores.base import Recorded

FACTS_READ: Final = 500
"""The newest facts of a machine that are read."""
FACTS_SHOWN: Final = 50
"""Those that are told as they are."""
HOURS: Final = 24.0
"""How far back the time goes that is told, where nobody says."""
HOURS_MAX: Final = 24.0 * 366
NEAREST: Final = 5
LISTED: Final = 50
"""Ids that are listed where no machine is asked for."""
KEYS: Final = frozenset({"part", "hours", "like"})


class Axis(Struct, frozen=True):
    """Where a machine stands on one axis."""

    name: str
    value: str
    tone: str
    since: datetime | None = None
    """None: not known."""
    because: str = ""
    seq: int = 0
    """The fact that moved it there; 0: none that was read."""


class FindingRow(Struct, frozen=True):
    """Something that was concluded of a node."""

    rule: str
    status: str
    remedy: str
    means: str
    """What the remedy means, for people."""
    event: str
    """What happened; empty: a check said so."""
    message: str
    """The sensor's own words, such as the line of the kernel."""
    because: str
    since: datetime
    seen: datetime
    count: int
    lasting: bool
    seq: int
    """The fact that brought the event; 0: none that was read."""


class OtherwiseRow(Struct, frozen=True):
    """What would have to be different, and what then."""

    what: str
    then: str
    seq: int
    """The fact that it is about; 0: about none, or one that was not read."""


class LaneRow(Struct, frozen=True):
    """One axis over time."""

    name: str
    segments: Sequence[Segment]


class History(Struct, frozen=True):
    """What happened to a machine."""

    since: datetime
    """Where the time begins that is told."""
    until: datetime
    """Where it ends: the present, or a little after the machine's end."""
    lanes: Sequence[LaneRow]
    marks: Sequence[Mark]
    facts: list[FactRow]
    """The newest first."""
    whole: bool
    """Whether its first fact was read."""


class NodeView(Struct, frozen=True):
    """One machine."""

    seq: int
    now: datetime
    id: str
    known: str
    """``node``, ``instance`` (its agent has not registered), or ``journal`` (it is let go)."""
    state: str
    because: str
    since: datetime | None
    person: str
    """Why a person has to look; empty: nobody has to."""
    axes: list[Axis]
    lines: list[str]
    """Why it stands as it does, line by line."""
    otherwise: list[OtherwiseRow]
    findings: list[FindingRow]
    machine: Machine
    gpus: Sequence[GPU]
    readings: Readings
    memory_errors: list[MemoryErrors]
    history: History
    commands: Commands
    served: ServedHere


class ReadingsView(Struct, frozen=True):
    """What changes of a machine without a fact."""

    seq: int
    lines: list[str]
    """As in `NodeView`: they say how long ago things were."""
    readings: Readings
    served: ServedHere


class NodesView(Struct, frozen=True):
    """Ids of machines."""

    ids: list[str]
    count: int
    """How many there are."""


async def view(
    seen: Seen, below: str, query: Mapping[str, str]
) -> NodeView | ReadingsView | NodesView:
    """Show the machine of an id; without one, the ids that are like ``like``."""
    unknown = query.keys() - KEYS
    if unknown:
        raise WireError("invalid_argument", f"{min(unknown)[:40]!r}: not among {sorted(KEYS)}")
    if not below:
        ids = seen.fleet.nodes.keys() | seen.fleet.instances.keys()
        return NodesView(nearest(query.get("like", "")[:253], ids, LISTED), len(ids))
    match query.get("part", ""):
        case "":
            return await _whole(seen, below, _hours(query.get("hours", "")))
        case "readings":
            return _live(seen, below)
        case other:
            raise WireError("invalid_argument", f"part: {other[:40]!r} is none; there is: readings")


def _live(seen: Seen, id_: str) -> ReadingsView:
    node = seen.fleet.nodes.get(id_)
    if node is None and id_ not in seen.fleet.instances:
        raise _unknown(seen, id_)
    lines = list(seen.explain("instance" if node is None else "node", id_))
    readings = readings_of(seen, id_, [gpu.index for gpu in gpus_of(node)])
    return ReadingsView(seen.seq, lines, readings, served_on(seen, id_))


def _hours(text: str) -> float:
    """Read how far back to go, in hours; 0 is all."""
    if not text:
        return HOURS
    try:
        hours = float(text)
    except ValueError:
        hours = -1.0
    if not 0 <= hours <= HOURS_MAX:
        expected = f"expected a number from 0 (all) to {HOURS_MAX:g}"
        raise WireError("invalid_argument", f"hours: {text[:40]!r}: {expected}")
    return hours


def _unknown(seen: Seen, id_: str) -> WireError:
    ids = seen.fleet.nodes.keys() | seen.fleet.instances.keys()
    near = ", ".join(nearest(id_, ids, NEAREST))
    told = f"; nearest: {near}" if near else "; there is none at all"
    return WireError("not_found", f"no machine is called {id_[:253]!r}{told}")


class _Record(Struct):
    """What the fleet holds of a machine, all of one moment."""

    node: Node | None
    instance: Instance | None
    lines: list[str]
    otherwise: list[explain_health.Otherwise]


async def _whole(seen: Seen, id_: str, hours: float) -> NodeView:
    # Everything of the fleet is taken before the journal is waited for.
    record = _record(seen, id_)
    readings = readings_of(seen, id_, [gpu.index for gpu in gpus_of(record.node)])
    commands, served = commands_of(seen, id_), served_on(seen, id_)
    newest = await seen.journal.read(subject=id_, limit=FACTS_READ, newest_first=True)
    facts = newest[::-1]
    await asyncio.sleep(0)  # others get their turn between reading 500 facts and folding them
    life = life_of(id_, facts)
    known = "node" if record.node is not None else "instance"
    if record.node is None and record.instance is None:
        if life.node is None and life.instance is None:
            raise _unknown(seen, id_)
        known = "journal"
        record = _retold(id_, life)
    node = record.node
    state, because, since = _state(record, life)
    return NodeView(
        seq=seen.seq,
        now=seen.now,
        id=id_,
        known=known,
        state=state,
        because=because,
        since=since,
        person="" if node is None else node.handed_over,
        axes=_axes(record, life),
        lines=record.lines,
        otherwise=[
            OtherwiseRow(each.what, each.then, fact_of(each.number, facts))
            for each in record.otherwise
        ],
        findings=[] if node is None else [_finding(each, facts) for each in node.findings[::-1]],
        machine=machine_of(seen, node, record.instance),
        gpus=gpus_of(node),
        readings=readings,
        memory_errors=memory_errors(
            {} if node is None else node.tallies,
            facts,
            [gpu.index for gpu in gpus_of(node)],
            seen.now,
        ),
        history=_history(life, facts, seen.now, hours),
        commands=commands,
        served=served,
    )


def _record(seen: Seen, id_: str) -> _Record:
    fleet = seen.fleet
    node, instance = fleet.nodes.get(id_), fleet.instances.get(id_)
    if node is not None:
        found = explain_health.otherwise(fleet, seen.sightings, node, seen.now, seen.settings)
        return _Record(node, instance, list(seen.explain("node", id_)), list(found))
    lines = [] if instance is None else list(seen.explain("instance", id_))
    return _Record(None, instance, lines, [])


def _retold(id_: str, life: Life) -> _Record:
    """What the journal alone tells of a machine that the fleet has let go of."""
    last = [found for lane in life.lanes if (found := life.newest(lane.name)) is not None]
    lines = [f"{id_} has ended and is let go: what follows is told by its facts alone"]
    lines += [
        f"{lane.name} was {segment.state} in the end: {segment.because}"
        for lane, segment in zip(life.lanes, last, strict=False)
        if segment.state
    ]
    return _Record(life.node, life.instance, lines, [])


def _state(record: _Record, life: Life) -> tuple[str, str, datetime | None]:
    """A machine's state in one word, why, and since when."""
    row = row_of(record.node, record.instance)
    if row is not None:
        return row.state.value, row.because, row.since
    phase = life.newest("phase")
    either = record.instance or record.node
    assert either is not None, "neither a node nor an instance"
    ended = record.instance.ended_at if record.instance is not None else None
    if ended is None and record.node is not None:
        ended = record.node.ended_at
    failed = record.instance is not None and record.instance.state.value == "failed"
    since = ended if ended is not None else None if phase is None else phase.since
    return "failed" if failed else "terminated", either.because, since


def _axes(record: _Record, life: Life) -> list[Axis]:
    """Where it stands on each axis by the fleet, and why, by its facts."""
    node, instance = record.node, record.instance
    values: dict[str, str] = {}
    if node is not None:
        values = {
            "phase": node.phase.value,
            "health": node.health.value,
            "intent": node.intent.value,
            "contact": node.contact.value,
        }
    elif instance is not None:
        values = {"phase": instance.state.value}
    axes = []
    for name, value in values.items():
        newest = life.newest(name)
        if newest is None or newest.state != value:
            axes.append(Axis(name, value, "none"))
            continue
        axes.append(Axis(name, value, newest.tone, newest.since, newest.because, newest.seq))
    return axes


def _finding(finding: Finding, facts: Sequence[Recorded]) -> FindingRow:
    event = finding.event
    return FindingRow(
        finding.rule,
        finding.status.value,
        finding.remedy.value,
        explain_health.REMEDIES[finding.remedy],
        "" if event is None else event.described.partition(" ×")[0],
        "" if event is None else event.message,
        finding.because,
        finding.since,
        finding.seen,
        finding.count,
        finding.lasting,
        fact_of(finding.number, facts),
    )


def _history(life: Life, facts: Sequence[Recorded], now: datetime, hours: float) -> History:
    first = facts[0].event.at if facts else now
    phase = life.newest("phase")
    over = phase is not None and phase.state in ("terminated", "failed")
    ended = phase.since if phase is not None and over else now
    since = first if not hours else max(first, ended - timedelta(hours=hours))
    until = min(now, ended + max((ended - since) / 20, timedelta(minutes=1)))
    left = within(life, since)
    return History(
        since,
        until,
        [LaneRow(lane.name, lane.segments) for lane in left.lanes],
        left.marks,
        [fact_row(each) for each in facts[: -FACTS_SHOWN - 1 : -1]],
        life.whole,
    )
