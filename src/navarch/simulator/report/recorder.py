"""The recorder: watches a run of a twin, and writes its report.

It costs O(1) for each fact, and O(pools and nodes in trouble) for each sample, and keeps a bounded
number of samples and entries, so that a month of a large fleet can be watched.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any

from msgspec import structs
from msgspec.structs import replace

from navarch.core.machine import Machine, Step
from navarch.core.model import events as ev
from navarch.core.model import messages as msg
from navarch.core.model.fleet import Fleet
from navarch.simulator.loads.training import Training
from navarch.simulator.report.census import ENDING, OPEN, SERVING, Census, Count
from navarch.simulator.report.chains import Chains
from navarch.simulator.report.costs import Meter, Paid, bills, by_provider
from navarch.simulator.report.ledger import Ledger
from navarch.simulator.report.model import Goodput, GpuHours, LostHours, Rate, Report, Scope, Series
from navarch.simulator.report.samples import STATES, Sample, Samples
from navarch.simulator.report.truth import Truth, needs_repair
from navarch.simulator.timeline import EPOCH
from navarch.simulator.twin.demand import Demand
from navarch.simulator.twin.faults import Fault
from navarch.simulator.twin.twin import Twin
from navarch.simulator.twin.watchers import Watcher
from navarch.version import VERSION

POINTS_MAX = 480
"""Points of a series in the report."""

SECOND = timedelta(seconds=1)


class Recorder(Watcher):
    """Watches one run from its beginning."""

    def __init__(
        self,
        twin: Twin,
        *,
        demands: Mapping[str, Demand] = MappingProxyType({}),
        training: Training | None = None,
    ) -> None:
        """Begin to watch a twin; to be made before it runs.

        `demands` are the loads of pools that nothing scales, `training` the jobs that joined it.
        """
        self.twin = twin
        self._training = training
        scaled = {each.pool: each.demand for each in twin.blueprint.scaled}
        self._demands: Mapping[str, Demand] = {**demands, **scaled}
        self._truth = Truth()
        self._census = Census(self._gpus, lambda id_: self._truth.is_out(id_, twin.time.now))
        self._ledger = Ledger(self._truth, twin.settings)
        self._chains = Chains(self._pool)
        self._samples: dict[str, Samples] = {}
        self._all = Samples()
        self._fresh: dict[str, datetime] = {}
        """Instances that have never been open for work: when they were asked for."""
        self._facts = 0
        self._sampled_at = EPOCH
        twin.watchers.all.append(self)

    # --- what it sees ----------------------------------------------------------------------

    def afflicted(self, node_id: str, fault: Fault, now: datetime) -> None:
        """Take down what went wrong in truth."""
        node = self.twin.nodes[node_id]
        counts = needs_repair(fault)
        self._chains.afflict(node_id, fault, now, counts=counts)
        self._truth.afflict(node, self._pool(node_id), fault, now)
        if counts:
            self._look(node_id, now)

    def stepped(
        self, machine: Machine, messages: Sequence[msg.Message], step: Step, now: datetime
    ) -> None:
        """Take the facts of a step down."""
        self._facts += len(step.facts)
        for fact in step.facts:
            id_ = next(iter(ev.subjects(fact)), "")
            if isinstance(fact, ev.CommandFact):
                id_ = fact.node_id
            if isinstance(fact, ev.LaunchRequested):
                self._fresh[fact.instance_id] = fact.at
            self._truth.hear(fact, id_)
            self._ledger.hear(fact)
            self._chains.hear(fact, id_)
            if isinstance(fact, ev.InstanceCondemned | ev.RepairStarted):
                self._chains.judge(id_, justified=self._truth.justifies(id_, now))
        for fact in step.facts:
            if isinstance(fact, ev.InstanceFact | ev.NodeFact) and not _teaches_nothing(fact):
                self._look(ev.subjects(fact)[0], now)

    def sampled(self, now: datetime) -> None:
        """Count the fleet."""
        for node_id in tuple(self._truth.open):
            self._look(node_id, now)
        machine = self.twin.server.machine
        if machine is not None:
            self._ledger.sample(machine, now, now - self._sampled_at)
        self._sampled_at = now
        fleet = self.twin.fleet
        parts = [self._sample(name, fleet, now) for name in self._names(fleet)]
        seconds = (now - EPOCH) / SECOND
        states = tuple(sum(column) for column in zip(*(p.states for p in parts), strict=True))
        self._all.add(
            Sample(
                seconds,
                states or (0,) * len(STATES),
                sum(part.target for part in parts),
                sum(part.demand for part in parts),
            ),
            parts,
        )

    def _names(self, fleet: Fleet | None) -> list[str]:
        """The pools there are or were."""
        named = dict.fromkeys((*self._samples, *self._census.pools))
        return list(named if fleet is None else {**dict.fromkeys(fleet.pools), **named})

    def _sample(self, name: str, fleet: Fleet | None, now: datetime) -> Sample:
        samples = self._samples.setdefault(name, Samples())
        count = self._census.pools.setdefault(name, Count())
        pool = None if fleet is None else fleet.pools.get(name)
        if pool is not None:
            target = pool.target
        elif not name:
            target = sum(count.nodes)  # nobody buys them: all that are there are wanted
        else:
            target = samples.last_target
        demand = self._demands.get(name)
        needed = float(target)
        if demand is not None:
            needed = demand.jobs(now - EPOCH) / demand.jobs_per_node
        count.advance(now)
        count.demand = needed
        sample = Sample((now - EPOCH) / SECOND, tuple(count.nodes), target, needed)
        sample = replace(sample, counts=samples.counts(sample))
        samples.add(sample)
        return sample

    # --- one machine -----------------------------------------------------------------------

    def _look(self, id_: str, now: datetime) -> None:
        """See where a machine stands now, and whether that ends a trouble."""
        fleet = self.twin.fleet
        if fleet is None:
            return
        before, after = self._census.look(fleet, id_, now)
        trouble = self._truth.open.get(id_)
        is_open = after is not None and after.state in OPEN
        if trouble is not None and is_open and not trouble.is_out(now):
            self._truth.end(id_, "recovered", now)
            self._chains.recover(id_, now)
            _, after = self._census.look(fleet, id_, now)
        if after is not None and after.state == SERVING and before != after:
            self._serves(id_, after.pool, fleet, now)
        if after is None:
            self._fresh.pop(id_, None)

    def _serves(self, id_: str, pool: str, fleet: Fleet, now: datetime) -> None:
        """See whose place a node takes that serves from now on."""
        requested = self._fresh.pop(id_, None)
        waiting = [
            each
            for each, trouble in self._truth.open.items()
            if trouble.pool == pool and self._is_out_of_work(each)
        ]
        if not waiting:
            return
        spec = fleet.pools.get(pool)
        if spec is not None and self._census.pools[pool].nodes[SERVING] >= spec.target:
            for each in waiting:
                self._truth.end(each, "replaced", now)
            return
        given_up = [each for each in waiting if self._is_given_up(each, fleet)]
        if given_up and requested is not None and self._truth.open[given_up[0]].began <= requested:
            self._truth.end(given_up[0], "replaced", now)

    def _is_out_of_work(self, id_: str) -> bool:
        place = self._census.places.get(id_)
        return place is None or place.state not in OPEN

    def _is_given_up(self, id_: str, fleet: Fleet) -> bool:
        """Whether a machine is gone or to go: nobody takes the place of one that is to stay."""
        place = self._census.places.get(id_)
        instance = fleet.instances.get(id_)
        is_condemned = instance is not None and instance.condemned
        return place is None or place.state == ENDING or is_condemned

    def _gpus(self, id_: str) -> int:
        node = self.twin.nodes.get(id_)
        return 0 if node is None else node.described.gpus

    def _pool(self, id_: str) -> str:
        fleet = self.twin.fleet
        instance = None if fleet is None else fleet.instances.get(id_)
        node = self.twin.nodes.get(id_)
        if instance is not None:
            return instance.pool
        return node.pool if node is not None else ""

    # --- the end ---------------------------------------------------------------------------

    def report(self) -> Report:
        """Sum up what has happened so far. Cost: O(machines ever bought and entries kept)."""
        now = self.twin.time.now
        blueprint = self.twin.blueprint
        for count in self._census.pools.values():
            count.advance(now)
        paid = bills(self.twin)
        return Report(
            navarch=VERSION,
            blueprint=blueprint.name,
            seed=self.twin.dice.seed,
            begins_at=EPOCH,
            seconds=(now - EPOCH) / SECOND,
            sample_seconds=blueprint.sample_every / SECOND,
            policy=self.twin.server.policy.name,
            policy_digest=self.twin.server.policy.digest,
            fleet=_scope(
                "",
                self._all,
                list(self._samples.values()),
                list(self._census.pools.values()),
                paid,
                now,
                has_load=bool(self._demands),
            ),
            pools=tuple(
                _scope(
                    name,
                    samples,
                    [samples],
                    [self._census.pools[name]],
                    [each for each in paid if each.pool == name],
                    now,
                    has_load=name in self._demands,
                )
                for name, samples in sorted(self._samples.items())
            ),
            costs=tuple(by_provider(paid, now)),
            purchases=tuple(self._ledger.purchases()),
            failures=tuple(self._truth.failures()),
            troubles=self._truth.troubles(now),
            repairs=self._ledger.repairs(self._chains.harmless),
            interruptions_noticed=self._ledger.interruptions,
            rules=tuple(self._ledger.rules()),
            rates=tuple(
                Rate(
                    label=hazard.fault.label,
                    per_node_day=hazard.per_node_day,
                    source=hazard.source,
                    pools=hazard.pools,
                )
                for hazard in blueprint.hazards
            ),
            facts=self._facts,
            timeline=self._chains.timeline(),
            goodput=() if self._training is None else tuple(_goodput(self._training)),
        )


def _teaches_nothing(fact: ev.Fact) -> bool:
    """Whether a fact leaves its machine where it was."""
    return isinstance(fact, ev.HealthReported | ev.WorkloadTelling | ev.WorkloadTold)


def _goodput(training: Training) -> Iterator[Goodput]:
    """Say what became of the jobs of each pool, rounded."""
    for pool in training.report().pools:
        numbers: dict[str, Any] = {
            name: round(value, 6) if isinstance(value, float) else value
            for name, value in structs.asdict(pool).items()
        }
        yield Goodput(**numbers)


def _scope(
    name: str,
    samples: Samples,
    parts: Sequence[Samples],
    counts: Sequence[Count],
    paid: Sequence[Paid],
    now: datetime,
    *,
    has_load: bool,
) -> Scope:
    return Scope(
        name=name,
        has_load=has_load,
        samples=samples.count,
        availability=round(samples.availability, 6),
        first_full_seconds=samples.first_full,
        node_hours_wanted=round(sum(part.wanted for part in parts) / 3600, 6),
        node_hours_delivered=round(sum(part.delivered for part in parts) / 3600, 6),
        gpu_hours=_gpu_hours(counts),
        usd=round(sum((each.machine.cost(now) for each in paid), 0.0), 6),
        most_nodes=samples.most_nodes,
        series=_series(samples, Meter(paid, now)),
    )


def _gpu_hours(counts: Sequence[Count]) -> GpuHours:
    summed = [sum(column) for column in zip(*(each.gpu_hours for each in counts), strict=True)]
    hours = [round(each, 6) for each in summed or [0.0] * len(STATES)]
    named = dict(zip(STATES, hours, strict=True))
    good = named.pop("serving")
    lost = LostHours(**named)
    return GpuHours(
        good=good,
        idle=round(sum((each.idle_hours for each in counts), 0.0), 6),
        lost=round(lost.total, 6),
        lost_by=lost,
    )


def _series(samples: Samples, meter: Meter) -> Series:
    points = samples.condensed(POINTS_MAX)
    seconds = [point.seconds for point in points]
    columns = {
        state: tuple(point.states[index] for point in points) for index, state in enumerate(STATES)
    }
    return Series(
        seconds=tuple(seconds),
        **columns,
        target=tuple(point.target for point in points),
        demand=tuple(round(point.demand, 6) for point in points),
        usd_per_hour=tuple(meter.rate(seconds)),
        usd=tuple(meter.spent(seconds)),
    )
