"""Coverage: what a sweep has really seen, and what it has never seen.

A sweep that finds nothing says little unless it is known what it has tried. Every run is looked at
once it has ended: its facts are folded again, and each kind of fact, each action, each move along
one of the axes of instances and nodes, and each incident is counted. The counts of many processes
are added up; what could have been seen and was not is listed by name.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from typing import get_args

from msgspec import Struct, field

from navarch.core import fold
from navarch.core.model import events as ev
from navarch.core.model.actions import Action
from navarch.core.model.fleet import Fleet
from navarch.core.model.instance import InstanceState as State
from navarch.core.model.node import Contact, Intent, Phase
from navarch.simulator.dice import Dice
from navarch.simulator.incidents import EVERY
from navarch.simulator.server import facts_of
from navarch.simulator.timeline import EPOCH
from navarch.simulator.world import Failed, World

NEW = "new"
"""Where everything comes from."""

CRASHES_MAX = 4
"""How often a control plane dies in one run of a soak."""

BOUNDARY_MAX = 240
"""Most runs pass as many boundaries; a crash behind the last one does not happen."""


def _moves(axis: str, *moves: tuple[str, str]) -> tuple[str, ...]:
    return tuple(_move(axis, before, after) for before, after in moves)


def _move(axis: str, before: str, after: str) -> str:
    return f"{axis}: {before} -> {after}"


def _may_follow(one: Intent, other: Intent) -> bool:
    """Whether an intent can become another: who is drained was draining before."""
    return one is not other and (other is not Intent.DRAINED or one is Intent.DRAINING)


POSSIBLE: dict[str, tuple[str, ...]] = {
    # What is served on nodes is simulated elsewhere: `navarch.simulator.serving_worlds`.
    "facts": tuple(
        str(each.__struct_config__.tag)
        for each in get_args(ev.Fact)
        if each not in get_args(ev.ServingFact)
    ),
    "actions": tuple(each.__name__ for each in get_args(Action)),
    "moves": (
        *_moves(
            "instance",
            (NEW, State.PROVISIONING),
            (State.PROVISIONING, State.PENDING_REGISTRATION),
            (State.PROVISIONING, State.RUNNING),
            (State.PROVISIONING, State.FAILED),
            (State.PROVISIONING, State.TERMINATING),
            (State.PENDING_REGISTRATION, State.RUNNING),
            (State.PENDING_REGISTRATION, State.TERMINATING),
            (State.PENDING_REGISTRATION, State.TERMINATED),
            (State.PENDING_REGISTRATION, State.FAILED),
            (State.RUNNING, State.TERMINATING),
            (State.RUNNING, State.TERMINATED),
            (State.TERMINATING, State.TERMINATED),
            (State.TERMINATING, State.FAILED),
        ),
        *_moves(
            "phase",
            (NEW, Phase.ACTIVE),
            (Phase.ACTIVE, Phase.LEAVING),
            (Phase.LEAVING, Phase.ACTIVE),
            (Phase.ACTIVE, Phase.TERMINATING),
            (Phase.LEAVING, Phase.TERMINATING),
            (Phase.ACTIVE, Phase.TERMINATED),
            (Phase.LEAVING, Phase.TERMINATED),
            (Phase.TERMINATING, Phase.TERMINATED),
        ),
        *_moves(
            "contact",
            (NEW, Contact.CONNECTED),
            (Contact.CONNECTED, Contact.LOST),
            (Contact.LOST, Contact.CONNECTED),
        ),
        *_moves(
            "intent",
            (NEW, Intent.IN_SERVICE),
            *((one, other) for one in Intent for other in Intent if _may_follow(one, other)),
        ),
    ),
    "incidents": EVERY,
}
"""What there is to be seen, by section."""


class Coverage(Struct):
    """What some runs have seen."""

    runs: int = 0
    simulated: timedelta = timedelta()
    counts: Counter[str] = field(default_factory=Counter)
    """How often each was seen, by its name; the sections share no names."""
    failures: list[tuple[str, str]] = field(default_factory=list)
    """(kind, text) of each run that broke an invariant."""

    def add(self, other: Coverage) -> None:
        """Take other runs in."""
        self.runs += other.runs
        self.simulated += other.simulated
        self.counts.update(other.counts)
        self.failures += other.failures

    def see(self, world: World) -> None:
        """Take in one run that has ended. Cost: O(facts)."""
        self.runs += 1
        self.simulated += world.time.now - EPOCH
        self.counts.update(world.dice.happened)
        self.counts.update(world.server.begun)
        fleet = Fleet()
        for fact in facts_of(world.server.store):
            self.counts[ev.kind(fact)] += 1
            id_ = getattr(fact, "instance_id", "") or getattr(fact, "node_id", "")
            before = _whereabouts(fleet, id_)
            fold.apply(fleet, fact)  # type: ignore[arg-type]  # only facts are journaled
            for axis, after in _whereabouts(fleet, id_).items():
                if before.get(axis, NEW) != after:
                    self.counts[_move(axis, before.get(axis, NEW), after)] += 1

    def uncovered(self) -> list[str]:
        """List what was never seen."""
        return [
            name for names in POSSIBLE.values() for name in names if not self.counts.get(name, 0)
        ]

    def surprises(self) -> list[str]:
        """List what was seen and is not known to be possible."""
        known = {name for names in POSSIBLE.values() for name in names}
        return sorted(name for name, count in self.counts.items() if count and name not in known)

    def report(self) -> Iterator[str]:
        """Say all of it, line by line."""
        for section, names in POSSIBLE.items():
            yield f"{section}:"
            yield from (f"{self.counts.get(name, 0):>10}  {name}" for name in names)
        days = self.simulated / timedelta(days=1)
        yield f"{self.runs} runs, {days:.1f} simulated days"
        yield f"never seen: {', '.join(self.uncovered()) or 'nothing'}"
        if surprises := self.surprises():
            yield f"seen, and not known to be possible: {', '.join(surprises)}"


def cover_seed(seed: int) -> Coverage:
    """Run one seed, with as many crashes as it draws, and see what it came through."""
    rolls = Dice(seed).stream("soak")
    count = rolls.integer(0, CRASHES_MAX)
    world = World(seed, crashes={rolls.integer(0, BOUNDARY_MAX) for _ in range(count)})
    coverage = Coverage()
    try:
        world.run()
    except Failed as failed:
        coverage.failures.append((failed.kind, str(failed)))
    coverage.see(world)
    return coverage


def _whereabouts(fleet: Fleet, id_: str) -> dict[str, str]:
    """Where an instance and its node are on each axis."""
    found: dict[str, str] = {}
    instance, node = fleet.instances.get(id_), fleet.nodes.get(id_)
    if instance is not None:
        found["instance"] = instance.state
    if node is not None:
        found |= {"phase": node.phase, "contact": node.contact, "intent": node.intent}
    return found
