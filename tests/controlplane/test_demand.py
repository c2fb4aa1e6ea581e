"""Demand read off heartbeats: the mean of what live nodes say, and never an idle pool made up."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from factories import Facts, a_fleet, at, lost, name
from navarch.controlplane import demand
from navarch.controlplane.clock import FakeClock
from navarch.controlplane.demand import StoreMetricsSource
from navarch.core import fold
from navarch.core.machine import Machine
from navarch.core.model import events as ev
from navarch.core.model import messages as msg
from navarch.core.model.gpu import GPUSample, NodeSample
from navarch.core.model.replica import Blocker
from navarch.core.scaling.base import PENDING_JOBS, QUEUE_DEPTH, UTILIZATION, PoolMetrics, Quality
from pools import a_control_plane, a_spec, register_all, run

INTERVAL = timedelta(seconds=30)


class Bench:
    """A machine whose nodes send samples, and the source that reads it."""

    def __init__(self, nodes: int, *facts: Facts) -> None:
        self.machine = Machine(a_fleet(nodes, *facts))
        self.now: datetime = at()
        self.source = StoreMetricsSource(lambda: self.machine, lambda: self.now, INTERVAL)

    def beat(self, n: int, *loads: float) -> None:
        """Let node n say how busy its GPUs are."""
        gpus = tuple(GPUSample(i, utilization_percent=load) for i, load in enumerate(loads))
        self.machine.step([msg.Heartbeat(name(n), NodeSample(gpus=gpus))], self.now)

    def read(self) -> PoolMetrics:
        return run(self.source.get_pool_metrics("training"))


def test_utilization_is_the_mean_over_all_gpus_of_live_nodes() -> None:
    bench = Bench(2)
    bench.beat(1, 100.0)
    bench.beat(2, 20.0, 40.0, 60.0)
    metrics = bench.read()
    assert metrics.utilization == 55.0
    assert metrics.quality(UTILIZATION) is Quality.OK
    assert metrics.observed_at == at()


def test_queues_are_absent_and_not_empty() -> None:
    bench = Bench(1)
    bench.beat(1, 50.0)
    metrics = bench.read()
    assert metrics.quality(PENDING_JOBS) is Quality.ABSENT
    assert metrics.quality(QUEUE_DEPTH) is Quality.ABSENT


@pytest.mark.parametrize("nodes", [0, 2])
def test_without_samples_the_load_is_absent_and_not_zero(nodes: int) -> None:
    metrics = Bench(nodes).read()
    assert metrics.quality(UTILIZATION) is Quality.ABSENT
    assert metrics.readings[UTILIZATION].detail == f"none of {nodes} nodes sent a sample"
    assert metrics.utilization_history == ()


def test_a_sample_counts_for_as_long_as_its_node_is_heard() -> None:
    bench = Bench(2)
    bench.beat(1, 90.0)
    bench.now = at(seconds=60)
    bench.beat(2, 10.0)
    assert bench.read().utilization == 50.0
    bench.now = at(seconds=100)
    assert bench.read().utilization == 10.0


def test_lost_nodes_do_not_count() -> None:
    bench = Bench(2, lost(1, at()))
    bench.machine.sightings.samples.record(name(1), at(), NodeSample(gpus=(GPUSample(0),)))
    bench.machine.sightings.heard[name(1)] = at()  # its last words came just before
    bench.beat(2, 80.0)
    assert bench.read().utilization == 80.0


def test_the_history_has_one_value_an_interval_oldest_first() -> None:
    bench = Bench(1)
    for second in range(0, 121, 10):
        bench.now = at(seconds=second)
        bench.beat(1, second / 2)
        bench.read()
    metrics = bench.read()
    assert metrics.utilization_history == (0.0, 15.0, 30.0, 45.0, 60.0)
    assert metrics.capacity_history == (1.0, 1.0, 1.0, 1.0, 1.0)
    assert metrics.history_interval == INTERVAL


def test_the_history_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demand, "HISTORY_MAX", 3)
    bench = Bench(1)
    for n in range(10):
        bench.now = at() + n * INTERVAL
        bench.beat(1, float(n))
        bench.read()
    metrics = bench.read()
    assert metrics.utilization_history == (7.0, 8.0, 9.0)
    assert metrics.capacity_history == (1.0, 1.0, 1.0)


def test_heartbeats_reach_the_control_planes_own_source() -> None:
    clock = FakeClock(at())

    async def story() -> PoolMetrics:
        async with a_control_plane(clock, a_spec(min_nodes=1)) as (plane, _):
            [node_id] = await register_all(plane, 1)
            sample = NodeSample(gpus=(GPUSample(0, utilization_percent=75.0),))
            await plane.runtime.ask(msg.Heartbeat(node_id, sample))
            return await plane.store_metrics.get_pool_metrics("training")

    assert run(story()).utilization == 75.0


def test_replicas_that_wait_for_a_pool_and_run_in_it_are_its_queue() -> None:
    bench = Bench(1)
    fleet = bench.machine.fleet
    agents = "default/chat"
    for id_ in ("r1", "r2", "r3"):
        fold.apply(fleet, ev.ReplicaRequested(at(), id_, agents, "wanted"))
    assert bench.read().quality(QUEUE_DEPTH) is Quality.STALE  # which pool do they want?
    fold.apply(fleet, ev.ReplicaPlaced(at(), "r1", name(1), "fits", gpus=(0,)))
    for id_, pool in (("r2", "training"), ("r3", "other")):
        fold.apply(fleet, ev.ReplicaBlocked(at(), id_, Blocker("full", node_pool=pool)))
    metrics = bench.read()
    assert (metrics.pending_jobs, metrics.queue_depth) == (1, 2)
    assert metrics.quality(QUEUE_DEPTH) is Quality.OK


def test_nodes_that_are_about_to_end_do_not_count() -> None:
    bench = Bench(2)
    bench.beat(1, 100.0)
    bench.beat(2, 20.0)
    ending = ev.TerminationRequested(at(), name(1), because="a test ends it")
    fold.apply(bench.machine.fleet, ending)
    metrics = bench.read()
    assert metrics.utilization == 20.0
    assert metrics.capacity_history == (1.0,)
