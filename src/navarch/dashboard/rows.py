"""Every machine as one row: what it is, where it is, its state in one word, and why.

A machine is an instance until its agent registers, and a node from then on, under the same id; one
that we did not launch is a node alone. Rows are kept and made anew only where a record is another
object than before, so that a fleet of ten thousand costs nothing while nothing happens.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from enum import StrEnum
from typing import Final

from msgspec import Struct

from navarch.core.model.fleet import Fleet
from navarch.core.model.instance import Instance, InstanceState
from navarch.core.model.node import Contact, Intent, Node, Phase
from navarch.core.model.report import Health

SUBJECTS_MAX: Final = 20_000
"""Ids that wait to be looked at; beyond, every machine is."""


class State(StrEnum):
    """How a machine stands, the gravest word first; `ORDER` has their order."""

    LOST = "lost"
    """Not heard for too long."""
    UNHEALTHY = "unhealthy"
    """Judged sick, and not under repair yet."""
    REPAIRING = "repairing"
    """A repair is under way here, or its replacement is bought."""
    DEGRADED = "degraded"
    """Works, with something against it."""
    DRAINING = "draining"
    """Work leaves it, by an operator's wish or because it is released."""
    CORDONED = "cordoned"
    """No work begins there, by an operator's wish."""
    TERMINATING = "terminating"
    """Its end was asked for."""
    BOOTING = "booting"
    """Bought, and not registered yet."""
    ACTIVE = "active"
    """Serves."""


ORDER: Final = tuple(State)
"""The gravest first."""
WRONG: Final = frozenset({State.LOST, State.UNHEALTHY, State.REPAIRING, State.DEGRADED})
"""States that somebody should know the reason of."""


class Row(Struct, frozen=True, omit_defaults=True):
    """One machine."""

    id: str
    state: State
    because: str
    """Why it is in this state."""
    since: datetime
    """Since when, as far as it is known."""
    born: datetime
    """When it was asked for, or first registered."""
    pool: str = ""
    provider: str = ""
    region: str = ""
    zone: str = ""
    rack: str = ""
    """Its label ``rack``."""
    type: str = ""
    """The kind of machine, in the provider's words."""
    gpus: int = 0
    spot: bool = False
    person: bool = False
    """Whether it waits for a person."""


class Rows:
    """The rows of one fleet."""

    def __init__(self, fleet: Fleet) -> None:
        """Follow this fleet. Cost of the first look: O(machines)."""
        self.fleet = fleet
        self._touched = fleet.follow()
        self._subjects: set[str] | None = None
        """Of instances, which nobody else follows; None: any may have changed."""
        self._kept: dict[str, tuple[Node | None, Instance | None, Row]] = {}
        self.version = 0
        """Grows whenever a row changes."""

    def __len__(self) -> int:
        """How many machines there are."""
        return len(self._kept)

    def all(self) -> list[Row]:
        """All rows, as they were at the last `refresh`."""
        return [row for _, _, row in self._kept.values()]

    def get(self, id_: str) -> Row | None:
        """The row of a machine; None: there is none of that id."""
        kept = self._kept.get(id_)
        return None if kept is None else kept[2]

    def note(self, subjects: Iterable[str]) -> None:
        """Look at these the next time: facts were about them."""
        if self._subjects is not None:
            self._subjects.update(subjects)
            if len(self._subjects) > SUBJECTS_MAX:
                self._subjects = None

    def note_all(self) -> None:
        """Look at every machine the next time."""
        self._subjects = None

    def refresh(self) -> tuple[list[Row], list[str]]:
        """Look at what may have changed; return the rows that did, and the ids that are gone.

        Cost: O(what may have changed).
        """
        fleet, touched, subjects = self.fleet, self._touched.take(), self._subjects
        self._subjects = set()
        if touched is None or subjects is None:
            looked_at = self._kept.keys() | fleet.nodes.keys() | fleet.instances.keys()
        else:
            looked_at = touched | subjects
        changed: list[Row] = []
        gone: list[str] = []
        for id_ in looked_at:
            node, instance = fleet.nodes.get(id_), fleet.instances.get(id_)
            kept = self._kept.get(id_)
            if kept is not None and kept[0] is node and kept[1] is instance:
                continue
            row = row_of(node, instance)
            if row is None:
                if self._kept.pop(id_, None) is not None:
                    gone.append(id_)
                continue
            self._kept[id_] = (node, instance, row)
            if kept is None or kept[2] != row:
                changed.append(row)
        if changed or gone:
            self.version += 1
        return changed, gone


def row_of(node: Node | None, instance: Instance | None) -> Row | None:
    """The row of a machine; None for one that has ended, or never was."""
    if node is not None:
        return None if node.phase is Phase.TERMINATED else _of_node(node, instance)
    if instance is None or instance.ended or instance.registered_at is not None:
        return None
    ends = instance.state is InstanceState.TERMINATING
    since = instance.terminating_since if ends else instance.launched_at
    return Row(
        id=instance.id,
        state=State.TERMINATING if ends else State.BOOTING,
        because=instance.because,
        since=since or instance.requested_at,
        born=instance.requested_at,
        pool=instance.pool,
        provider=instance.provider,
        region=instance.region,
        zone=instance.zone,
        rack=instance.labels.get("rack", ""),
        type=instance.instance_type,
        spot=instance.spot,
    )


def _of_node(node: Node, instance: Instance | None) -> Row:
    state, because, since = _standing(node, instance)
    labels = node.metadata.labels
    return Row(
        id=node.id,
        state=state,
        because=because or node.because,
        since=since or node.registered_at,
        born=node.registered_at if instance is None else instance.requested_at,
        pool=node.pool,
        provider=node.provider,
        region=node.region,
        zone=node.zone,
        rack=labels.get("rack", "")
        or ("" if instance is None else instance.labels.get("rack", "")),
        type=node.instance_type,
        gpus=len(node.gpus),
        spot=instance is not None and instance.spot,
        person=bool(node.handed_over),
    )


def _standing(node: Node, instance: Instance | None) -> tuple[State, str, datetime | None]:
    """A node's state, why, and since when; an empty reason is the node's own."""
    if node.phase is Phase.TERMINATING:
        ends = None if instance is None else instance.terminating_since
        return State.TERMINATING, "" if instance is None else instance.because, ends
    if node.contact is Contact.LOST:
        return State.LOST, node.lost_because, node.lost_at
    if node.repair is not None:
        return State.REPAIRING, node.repair.because, node.repair.begun_at
    if node.condemned and instance is not None:
        return State.REPAIRING, instance.condemned_because, instance.condemned_at
    if node.health is Health.UNHEALTHY:
        since = node.unhealthy_at[-1] if node.unhealthy_at else None
        return State.UNHEALTHY, node.handed_over or _finding(node, Health.UNHEALTHY), since
    if node.phase is Phase.LEAVING:
        since = None if instance is None else instance.releasing_since or instance.draining_since
        return State.DRAINING, "", since
    if node.intent is Intent.DRAINING:
        return State.DRAINING, "", node.drain_ordered_at
    if node.intent is not Intent.IN_SERVICE:
        return State.CORDONED, "", node.drained_at
    if node.health is Health.DEGRADED:
        found = [each.since for each in node.findings if each.status is Health.DEGRADED]
        return State.DEGRADED, _finding(node, Health.DEGRADED), found[0] if found else None
    return State.ACTIVE, "", None


def _finding(node: Node, status: Health) -> str:
    """What stands against a node, in the words of the rules that say so."""
    said = [
        f"{each.because} (rule {each.rule})"
        for each in node.findings
        if each.status is status and each.because
    ]
    return "; ".join(said[:3])
