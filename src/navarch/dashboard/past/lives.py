"""The stages of each machine's life, read off facts: who was in which of them, and when.

A fact moves one machine from one stage to another. Such *turns* are kept by the kind of machine,
and all else follows from them and from the present: how many machines of a pool booted at ten, what
they cost, how many GPU-hours gave nothing. Facts older than what was read are not known, so a
machine that is met in the middle of its life has the stage that its first fact implies.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from enum import StrEnum
from typing import Any, Final, NamedTuple

from msgspec import Struct, field

from navarch.core.model import events as ev
from navarch.core.model import ids
from navarch.core.model.fleet import Fleet
from navarch.core.model.instance import Instance, InstanceState
from navarch.core.model.ladder import Outcome
from navarch.core.model.node import Contact, Node, Phase
from navarch.core.model.report import Health


class Stage(StrEnum):
    """Where a machine is in its life, as a bill and a chart see it."""

    ORDERED = "ordered"
    """Asked for, and not known to exist: nobody pays for it yet."""
    BOOTING = "booting"
    """It exists, and its agent has not registered."""
    SERVING = "serving"
    SICK = "sick"
    """Unhealthy by verdict, and heard."""
    SILENT = "silent"
    """Declared lost."""
    LEAVING = "leaving"
    """Drained: it is too many, replaced, or its provider takes it away."""
    ENDING = "ending"
    """Its end was asked for, and it may still exist."""


LIVE: Final = frozenset(Stage) - {Stage.ENDING}
"""Stages of machines that are wanted, those on their way counted in."""
ON_THEIR_WAY: Final = frozenset({Stage.ORDERED, Stage.BOOTING})
"""Stages before an agent has registered."""
PAID: Final = frozenset(Stage) - {Stage.ORDERED}
"""Stages of machines that cost something."""
LOST: Final = PAID - {Stage.SERVING}
"""Stages of machines that cost something and give nothing."""


class Kind(Struct, frozen=True, order=True):
    """Machines that belong together: one pool's, of one seller, type, region, and spot or not."""

    pool: str
    provider: str
    instance_type: str = ""
    region: str = ""
    spot: bool = False


class Turn(NamedTuple):
    """A machine came from one stage into another; None: it did not exist."""

    at: float
    """Seconds since 1970."""
    before: Stage | None
    after: Stage | None


class _Life(Struct):
    """What is known of one machine that exists."""

    kind: Kind
    launched: bool = False
    registered: bool = False
    silent: bool = False
    sick: bool = False
    leaving: bool = False
    ending: bool = False
    condemned_for: str | None = None
    """The cause; None: it is not condemned."""

    @property
    def stage(self) -> Stage:
        if self.ending:
            return Stage.ENDING
        if not self.registered:
            return Stage.BOOTING if self.launched else Stage.ORDERED
        if self.silent:
            return Stage.SILENT
        if self.sick:
            return Stage.SICK
        return Stage.LEAVING if self.leaving else Stage.SERVING


def stage_of(instance: Instance, node: Node | None) -> Stage | None:
    """Say in which stage a machine is now; None: it has ended."""
    if instance.ended:
        return None
    if instance.state is InstanceState.TERMINATING:
        return Stage.ENDING
    if node is None or instance.registered_at is None:
        return Stage.ORDERED if instance.launched_at is None else Stage.BOOTING
    if node.contact is Contact.LOST:
        return Stage.SILENT
    if node.health is Health.UNHEALTHY:
        return Stage.SICK
    return Stage.LEAVING if node.phase is Phase.LEAVING else Stage.SERVING


def kind_of(instance: Instance) -> Kind:
    """Say with which machines an instance is counted."""
    region = instance.offer.split("/")[1] if instance.offer.count("/") > 1 else instance.region
    return Kind(
        instance.pool, instance.provider, instance.instance_type, region, spot=instance.spot
    )


class Counts(Struct):
    """How many machines were in each stage, at moments in order."""

    moments: list[float]
    by_stage: dict[Stage, list[int]]
    hours: dict[Stage, float]
    """Machine-hours in each stage, from the first moment to the last, of the turns themselves."""

    def of(self, stages: Iterable[Stage]) -> list[int]:
        """Add up some stages."""
        columns = [self.by_stage[stage] for stage in stages]
        return [sum(each) for each in zip(*columns, strict=True)]

    def hours_in(self, stages: Iterable[Stage]) -> float:
        """Add up the machine-hours in some stages."""
        return sum(self.hours[stage] for stage in stages)

    def add(self, other: Counts) -> None:
        """Count others in, at the same moments."""
        for stage, column in other.by_stage.items():
            mine = self.by_stage[stage]
            for place, number in enumerate(column):
                mine[place] += number
            self.hours[stage] += other.hours[stage]

    def spend(self, machines: Mapping[Stage, int], seconds: float) -> None:
        """Count the hours of these machines during some time."""
        for stage, number in machines.items():
            if number > 0:
                self.hours[stage] += number * seconds / 3600

    @classmethod
    def none(cls, moments: list[float]) -> Counts:
        """Count nobody."""
        columns = {stage: [0] * len(moments) for stage in Stage}
        return cls(moments, columns, dict.fromkeys(Stage, 0.0))


class Lives:
    """Turns by kind of machine, of the facts that were read."""

    def __init__(self) -> None:
        """Know nothing yet."""
        self._lives: dict[str, _Life] = {}
        self._touched: dict[str, float] = {}
        """Machines with facts since the last `settle`, and when the newest was taken."""
        self._turns: dict[Kind, list[Turn]] = {}
        self.gpus: dict[tuple[str, str], int] = {}
        """GPUs of a machine by provider and type, as the newest to register said."""

    def read(self, fact: ev.Event, fleet: Fleet) -> None:
        """Take the next fact; `fleet` says what was not read, and may be newer. Cost: O(1)."""
        move = _MOVES.get(type(fact))
        if move is None:
            return
        at = fact.at.timestamp()
        if isinstance(fact, ev.LaunchRequested):
            self._begin(fact, at)
            return
        id_: str = getattr(fact, "instance_id", "") or getattr(fact, "node_id", "")
        life = self._lives.get(id_) or self._met(id_, fact, fleet)
        if life is None:
            return
        if isinstance(fact, ev.NodeRegistered) and fact.gpus:
            self.gpus[life.kind.provider, life.kind.instance_type] = len(fact.gpus)
        before = life.stage
        goes_on = move(life, fact)
        self._touched[id_] = at
        after = life.stage if goes_on else None
        if after is None:
            del self._lives[id_]
        if after is not before:
            self._turns.setdefault(life.kind, []).append(Turn(at, before, after))

    def settle(self, fleet: Fleet) -> None:
        """Believe the fleet about those whose facts came last. Cost: O(machines touched)."""
        for id_, at in self._touched.items():
            life = self._lives.get(id_)
            instance = fleet.instances.get(id_)
            if life is None or instance is None:
                continue
            before, now = life.stage, stage_of(instance, fleet.nodes.get(id_))
            if before is now:
                continue
            self._turns.setdefault(life.kind, []).append(Turn(at, before, now))
            if now is None:
                del self._lives[id_]
            else:
                self._lives[id_] = _life_of(instance, fleet.nodes.get(id_))
        self._touched.clear()

    def forget(self, before: float) -> None:
        """Drop turns that are older. Cost: O(turns that are dropped + kinds)."""
        for kind, turns in list(self._turns.items()):
            old = bisect_left(turns, before, key=lambda turn: turn.at)
            if old:
                self._turns[kind] = turns[old:]
            if not self._turns[kind]:
                del self._turns[kind]

    def turns(self, kind: Kind) -> list[Turn]:
        """The turns of a kind, oldest first; not a copy."""
        return self._turns.get(kind, [])

    def kinds(self, pool: str | None = None) -> Iterator[Kind]:
        """Yield the kinds that had turns, of one pool or of all."""
        return (kind for kind in self._turns if pool is None or kind.pool == pool)

    def _begin(self, fact: ev.LaunchRequested, at: float) -> None:
        kind = Kind(fact.pool, fact.provider, fact.instance_type, fact.region, spot=fact.spot)
        self._lives[fact.instance_id] = _Life(kind)
        self._touched[fact.instance_id] = at
        self._turns.setdefault(kind, []).append(Turn(at, None, Stage.ORDERED))

    def _met(self, id_: str, fact: ev.Event, fleet: Fleet) -> _Life | None:
        """Begin to know a machine in the middle of its life; None for what is none of ours."""
        instance = fleet.instances.get(id_)
        if instance is None and not ids.is_instance_id(id_, fleet.tag):
            return None
        if instance is not None and instance.ended_at is not None and instance.ended_at < fact.at:
            return None
        life = _Life(_kind_met(id_, instance, fact, fleet), launched=True, registered=True)
        if isinstance(fact, _BEFORE_LAUNCH):
            life.launched = life.registered = False
        elif isinstance(fact, ev.NodeRegistered):
            registered_at = None if instance is None else instance.registered_at
            life.registered = registered_at is not None and registered_at < fact.at
        elif instance is not None and instance.registered_at is None:
            life.registered = False
        life.ending = isinstance(fact, ev.TerminationAccepted | ev.InstanceTerminated)
        life.silent = isinstance(fact, ev.NodeReturned)
        life.sick = isinstance(fact, ev.HealthCleared)
        life.leaving = isinstance(fact, ev.ReleaseRevoked)
        self._lives[id_] = life
        return life


def _kind_met(id_: str, instance: Instance | None, fact: ev.Event, fleet: Fleet) -> Kind:
    if instance is not None:
        return kind_of(instance)
    name = id_.rpartition(f"-{fleet.tag}-")[0]
    pool = fleet.pools.get(name)
    if isinstance(fact, ev.NodeRegistered):
        return Kind(fact.pool or name, fact.provider, fact.instance_type, fact.region)
    if pool is None:
        return Kind(name, "")
    source = pool.sources[0]
    return Kind(name, source.provider, source.instance_type or pool.spec.instance_type)


def _life_of(instance: Instance, node: Node | None) -> _Life:
    return _Life(
        kind_of(instance),
        launched=instance.launched_at is not None,
        registered=instance.registered_at is not None,
        silent=node is not None and node.contact is Contact.LOST,
        sick=node is not None and node.health is Health.UNHEALTHY,
        leaving=node is not None and node.phase is Phase.LEAVING,
        ending=instance.state is InstanceState.TERMINATING,
        condemned_for=instance.condemned_for if instance.condemned else None,
    )


# --- what each fact does -----------------------------------------------------------------------

_BEFORE_LAUNCH = (ev.InstanceLaunched, ev.LaunchFailed)


def _end(_life: _Life, _fact: object) -> bool:
    return False


def _set(**changes: bool) -> Callable[[_Life, Any], bool]:
    """Return what sets these fields, for a machine that lives on."""

    def change(life: _Life, _fact: object) -> bool:
        for name, value in changes.items():
            setattr(life, name, value)
        return True

    return change


def _register(life: _Life, _fact: object) -> bool:
    life.registered = life.registered or not life.ending
    life.launched = life.launched or life.registered
    return True


def _leave(life: _Life, _fact: object) -> bool:
    life.leaving = life.registered
    return True


def _judge(life: _Life, fact: ev.HealthJudged) -> bool:
    life.sick = fact.health is Health.UNHEALTHY
    return True


def _mend(life: _Life, fact: ev.RepairEnded) -> bool:
    life.sick = life.sick and fact.outcome is not Outcome.SUCCEEDED
    return True


def _condemn(life: _Life, fact: ev.InstanceCondemned) -> bool:
    life.condemned_for = fact.cause
    return True


def _reprieve(life: _Life, _fact: object) -> bool:
    life.condemned_for = None
    life.leaving = False
    return True


def _return(life: _Life, _fact: object) -> bool:
    life.silent = False
    if life.condemned_for in ("", "silence") and not life.ending:
        _reprieve(life, None)
    return True


_MOVES: Mapping[type[ev.Event], Callable[[_Life, Any], bool]] = {
    ev.LaunchRequested: _set(),
    ev.InstanceLaunched: _set(launched=True),
    ev.LaunchFailed: _end,
    ev.TerminationRequested: _set(ending=True),
    ev.TerminationAccepted: _set(),
    ev.InstanceTerminated: _end,
    ev.InstanceVanished: _end,
    ev.InstanceCondemned: _condemn,
    ev.InstanceReprieved: _reprieve,
    ev.DrainBegun: _leave,
    ev.ReleaseRequested: _leave,
    ev.ReleaseRevoked: _set(leaving=False),
    ev.InterruptionNoticed: _leave,
    ev.NodeRegistered: _register,
    ev.NodeLost: _set(silent=True),
    ev.NodeReturned: _return,
    ev.HealthJudged: _judge,
    ev.HealthCleared: _set(sick=False),
    ev.RepairEnded: _mend,
}


# --- counting ----------------------------------------------------------------------------------


PRESENT_SLICE: Final = 1_000
"""Machines that are counted before others get their turn: some 3 ms."""


class Present(Struct):
    """How many machines of each kind are in which stage now."""

    counts: dict[Kind, Counter[Stage]] = field(default_factory=dict)
    gpus: dict[tuple[str, str], int] = field(default_factory=dict)
    """GPUs of a machine, by provider and type, of those that have registered."""

    @classmethod
    async def of(cls, fleet: Fleet, pools: Iterable[str]) -> Present:
        """Count the machines of these pools. Cost: O(those), in slices."""
        present, kinds = cls(), dict[tuple[str, str, str, bool], Kind]()
        members = [instance for pool in pools for instance in fleet.instances_of(pool)]
        for start in range(0, len(members), PRESENT_SLICE):
            present._add(members[start : start + PRESENT_SLICE], fleet.nodes, kinds)
            await asyncio.sleep(0)
        return present

    def _add(
        self,
        instances: Iterable[Instance],
        nodes: Mapping[str, Node],
        kinds: dict[tuple[str, str, str, bool], Kind],
    ) -> None:
        """Count some; `kinds` are those that were met, since few machines are of a new one."""
        for instance in instances:
            node = nodes.get(instance.id)
            stage = stage_of(instance, node)
            if stage is None:
                continue
            key = (instance.pool, instance.offer, instance.region, instance.spot)
            kind = kinds.get(key)
            if kind is None:
                kind = kinds[key] = kind_of(instance)
                self.counts.setdefault(kind, Counter())
            self.counts[kind][stage] += 1
            if node is not None and node.gpus:
                self.gpus[kind.provider, kind.instance_type] = len(node.gpus)

    def of_pool(self, pool: str) -> Counter[Stage]:
        """Add up the kinds of one pool."""
        total: Counter[Stage] = Counter()
        for kind, stages in self.counts.items():
            if kind.pool == pool:
                total.update(stages)
        return total


def counted(turns: list[Turn], present: Mapping[Stage, int], moments: list[float]) -> Counts:
    """Count one kind's machines at moments in order, going back from the present.

    Cost: O(turns after the first moment + moments × stages).
    """
    counts = Counts.none(moments)
    now = {stage: present.get(stage, 0) for stage in Stage}
    index, reached = len(turns), moments[-1]
    for place in range(len(moments) - 1, -1, -1):
        while index and turns[index - 1].at > moments[place]:
            index -= 1
            at, before, after = turns[index]
            if at < reached:
                counts.spend(now, reached - at)
                reached = at
            if after is not None:
                now[after] -= 1
            if before is not None:
                now[before] += 1
        if reached > moments[place]:
            counts.spend(now, reached - moments[place])
            reached = moments[place]
        for stage, number in now.items():
            counts.by_stage[stage][place] = max(number, 0)
    return counts
