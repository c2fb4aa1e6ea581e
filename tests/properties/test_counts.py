"""What is counted for ``/metrics`` from fact to fact is what a count of everything would give."""

from __future__ import annotations

from collections import Counter

from navarch.controlplane.census import NOTHING, Census, Look, Mark
from navarch.controlplane.measures import Values
from navarch.controlplane.tally import Tally
from navarch.core import fold
from navarch.core.model.fleet import BOOTING, Fleet
from navarch.core.model.instance import InstanceState
from navarch.core.model.node import Contact
from navarch.core.model.report import Health
from navarch.core.repair import budget
from worlds import Run, in_every_run, played


class Followed:
    """A census, and what it told of each machine last."""

    def __init__(self, fleet: Fleet) -> None:
        self.looks: dict[str, Look] = {}
        self.census = Census(fleet, self.changed)

    def changed(self, id_: str, before: Look, after: Look) -> None:
        assert self.looks.pop(id_, NOTHING) == before
        assert before != after
        if after != NOTHING:
            self.looks[id_] = after


def counted(fleet: Fleet) -> Counter[tuple[str, Mark]]:
    """Count a fleet in one pass, in the words of its records."""
    counts: Counter[tuple[str, Mark]] = Counter()
    for instance in fleet.instances.values():
        if not instance.ended:
            pool = instance.pool if instance.pool in fleet.pools else ""
            counts[pool, Mark.BOOTING] += instance.state in BOOTING
            counts[pool, Mark.RUNNING] += instance.state is InstanceState.RUNNING
            counts[pool, Mark.CONDEMNED] += instance.condemned
    for node in fleet.nodes.values():
        bought = fleet.instances.get(node.id)
        name = node.pool if bought is None or bought.ended else bought.pool
        pool = name if name in fleet.pools else ""
        if not node.over:
            counts[pool, Mark.HEALTHY] += node.id in fleet.serving
            counts[pool, Mark.REPAIRING] += node.id in fleet.repairing
            counts[pool, Mark.LOST] += node.contact is Contact.LOST
            counts[pool, Mark.DEGRADED] += node.health is Health.DEGRADED
            counts[pool, Mark.UNHEALTHY] += node.health is Health.UNHEALTHY
            counts[pool, Mark.HANDED_OVER] += bool(node.handed_over)
    return +counts


def assert_budget(fleet: Fleet, census: Census) -> None:
    """The budget that is shown is the one that repair keeps to."""
    for pool in fleet.pools.values():
        allowed = budget.allowed(pool, census.count(pool.name, Mark.RUNNING))
        used = sum(census.count(pool.name, mark) for mark in (Mark.CONDEMNED, Mark.REPAIRING))
        assert allowed - used == budget.at_once(fleet, pool)


@in_every_run
def test_counts_are_those_that_follow_from_the_records(run: Run) -> None:
    """However often it looks: after each step, as a control plane does, and at the end alone."""
    followed: Followed | None = None
    for machine, step, _ in played(run):
        if followed is None:
            followed = Followed(machine.fleet)
        for fact in step.facts:
            followed.census.refresh(getattr(fact, "instance_id", ""))
        assert +followed.census.counts == counted(machine.fleet)
        assert_budget(machine.fleet, followed.census)
    assert followed is not None
    late = Followed(machine.fleet)
    assert +late.census.counts == +followed.census.counts
    # GPUs of machines that boot are known by those of their type that were there.
    now, then = (
        {id_: look._replace(gpus=0) for id_, look in each.looks.items()}
        for each in (late, followed)
    )
    assert now == then


@in_every_run
def test_a_tally_that_begins_late_counts_as_one_that_was_there_all_the_time(run: Run) -> None:
    """What it has to know of what came before follows from the fleet."""
    early = Tally()
    late: Tally | None = None
    before: dict[str, Counter[Values]] = {}
    fleet = Fleet()
    steps = [step.facts for _, step, _ in played(run)]
    for number, facts in enumerate(steps):
        if number == len(steps) // 2:
            late = Tally()
            late.begin(fleet)
            before = {table: Counter(getattr(early, table)) for table in TABLES}
        for fact in facts:
            fold.apply(fleet, fact)
            early.hear(fact, fleet)
            if late is not None:
                late.hear(fact, fleet)
    assert late is not None
    for table in TABLES:
        assert getattr(late, table) == getattr(early, table) - before[table], table


TABLES = ("facts", "provisions", "verdicts", "lost", "repairs", "scalings", "interruptions")
