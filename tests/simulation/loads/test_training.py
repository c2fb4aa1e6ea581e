"""Training jobs on a twin: they die of what is true, and their load is what autoscalers see."""

from __future__ import annotations

from datetime import timedelta

import msgspec
import pytest
from msgspec.structs import replace

from navarch.core.model.command import CommandType
from navarch.core.model.finding import Remedy
from navarch.core.model.pool import Disruption, PoolSpec, Source
from navarch.core.scaling.queue_based import QueueBasedAutoscaler
from navarch.simulator.faults import CloudPlan
from navarch.simulator.loads import JobSpec, Training, TrainingReport
from navarch.simulator.loads.goodput import expected_goodput
from navarch.simulator.policies import TABLES
from navarch.simulator.twin.blueprint import (
    Blueprint,
    Hazard,
    Owned,
    Scaled,
    Seller,
    SpotMarket,
)
from navarch.simulator.twin.faults import Fault, FaultKind
from navarch.simulator.twin.network import Reach, Spell
from navarch.simulator.twin.twin import Twin

MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)

POLICY = next(iter(TABLES.values()))

JOB = JobSpec(
    "llm", "train", 4, 5 * HOUR, checkpoint=30 * MINUTE, checkpoint_cost=MINUTE, restart=5 * MINUTE
)


def pool_of(nodes: int) -> PoolSpec:
    return PoolSpec(
        "train",
        "alpha",
        instance_type="gpu",
        min_nodes=nodes,
        max_nodes=nodes + 3,
        disruption=Disruption(max_unavailable=2),
    )


def twin_with(
    *jobs: JobSpec, nodes: int = 5, seller: Seller | None = None, hazards: tuple[Hazard, ...] = ()
) -> tuple[Twin, Training]:
    training = Training(jobs)
    blueprint = Blueprint(
        pools=(pool_of(nodes),),
        sellers=(seller or Seller(CloudPlan("alpha")),),
        policy=POLICY,
        hazards=hazards,
    )
    twin = Twin(blueprint, 1)
    training.join(twin)
    return twin, training


def deaths(training: Training) -> dict[str, int]:
    return training.gangs.all[0].deaths


def test_a_job_starts_when_its_nodes_serve_and_ends_in_its_time() -> None:
    twin, training = twin_with(JOB)
    twin.run_until(HOUR)
    assert training.busy_nodes("train") == 4
    twin.run_until(8 * HOUR)
    report = training.report()
    (pool,), (job,) = report.pools, report.jobs
    assert job.done is not None
    assert job.waited == pytest.approx(4 / 60, abs=2 / 60)  # machines boot for some minutes
    assert pool.kept == 5 * 4 * 8
    assert pool.paid == pytest.approx(8 * 5 * 8, rel=0.001)
    assert pool.ettr == pytest.approx(pool.scheduling_goodput * pool.runtime_goodput)
    assert pool.goodput == pytest.approx(0.5, rel=0.01)
    used = pool.kept + pool.lost + pool.saving + pool.starting
    assert pool.idle == pytest.approx(pool.paid - used)
    assert msgspec.json.decode(msgspec.json.encode(report), type=TrainingReport) == report
    assert any("ETTR" in line for line in report.lines())


def test_a_host_that_goes_down_in_silence_kills_its_job_before_anybody_knows() -> None:
    twin, training = twin_with(JOB)
    twin.run_until(HOUR)
    victim = training.gangs.all[0].nodes[0]
    twin.afflict(victim, Fault(FaultKind.CRASH))
    assert deaths(training) == {"crash": 1}
    fleet = twin.fleet
    assert fleet is not None
    assert fleet.nodes[victim].serving, "the control plane has not noticed"
    assert training.busy_nodes("train") == 4, "it goes on with the spare"
    assert victim not in training.gangs.all[0].nodes
    twin.run_until(2 * HOUR)
    assert deaths(training) == {"crash": 1}


def test_an_error_of_an_application_kills_the_job_and_leaves_its_nodes() -> None:
    twin, training = twin_with(JOB, nodes=4)
    twin.run_until(HOUR)
    before = training.gangs.all[0].nodes
    twin.afflict(before[0], Fault(FaultKind.XID, xid=31))
    assert deaths(training) == {"xid 31": 1}
    assert sorted(training.gangs.all[0].nodes) == sorted(before)
    twin.afflict(before[0], Fault(FaultKind.XID, xid=63))
    twin.afflict(before[0], Fault(FaultKind.TEMPERATURE))
    twin.run_until(9 * HOUR)
    assert deaths(training) == {"xid 31": 1}
    assert training.gangs.all[0].done_at is not None


def test_a_broken_gpu_keeps_its_node_from_work_until_it_is_replaced() -> None:
    twin, training = twin_with(JOB, nodes=4)
    twin.run_until(HOUR)
    gang = training.gangs.all[0]
    victim = gang.nodes[1]
    twin.afflict(victim, Fault(FaultKind.XID, xid=48, cure=Remedy.REPLACE))
    assert deaths(training) == {"xid 48": 1}
    assert gang.nodes == ()
    twin.run_until(9 * HOUR)
    assert gang.done_at is not None
    assert deaths(training) == {"xid 48": 1}
    assert timedelta(minutes=3) < gang.waited - (gang.waited_first or gang.waited) < HOUR


def test_a_fault_that_passes_lets_the_node_work_again_without_a_fact() -> None:
    twin, training = twin_with(JOB, nodes=4)
    twin.run_until(HOUR)
    gang = training.gangs.all[0]
    twin.afflict(gang.nodes[0], Fault(FaultKind.CRASH, lasts=timedelta(seconds=20)))
    assert gang.nodes == ()
    twin.run_until(HOUR + 2 * MINUTE)
    assert len(gang.nodes) == 4


def test_a_node_that_operators_drain_loses_its_job_when_they_say_so() -> None:
    twin, training = twin_with(JOB)
    twin.run_until(HOUR)
    gang = training.gangs.all[0]
    victim = gang.nodes[0]
    twin.command(victim, CommandType.CORDON, {}, "a look at it", lambda _answer: None)
    twin.run_until(HOUR + MINUTE)
    assert victim in gang.nodes, "what runs there runs on"
    twin.command(victim, CommandType.DRAIN, {}, "maintenance", lambda _answer: None)
    twin.run_until(HOUR + 2 * MINUTE)
    assert victim not in gang.nodes
    assert deaths(training) == {"drained": 1}


def test_a_reboot_that_nobody_drained_for_kills_the_job() -> None:
    twin, training = twin_with(JOB)
    twin.run_until(HOUR)
    gang = training.gangs.all[0]
    twin.command(gang.nodes[0], CommandType.REBOOT, {}, "a try", lambda _answer: None)
    twin.run_until(HOUR + 5 * MINUTE)
    assert deaths(training) == {"reboot": 1}


def test_a_node_that_is_cut_off_is_given_up_when_it_is_lost() -> None:
    twin, training = twin_with(JOB)
    twin.run_until(HOUR)
    gang = training.gangs.all[0]
    victim = gang.nodes[0]
    twin.degrade(Spell(timedelta(), None, Reach(nodes=(victim,))))
    assert victim in gang.nodes, "its work needs no control plane"
    twin.run_until(2 * HOUR)
    assert deaths(training) == {"lost": 1}


def test_spot_machines_that_are_taken_away_are_counted_as_that() -> None:
    market = SpotMarket(mean_hours_to_interruption=6)
    seller = Seller(CloudPlan("alpha"), spot=market)
    training = Training((JOB,))
    spot = replace(pool_of(4), sources=(Source("alpha", spot=True),))
    twin = Twin(Blueprint(pools=(spot,), sellers=(seller,), policy=POLICY), 3)
    training.join(twin)
    twin.run_until(12 * HOUR)
    causes = deaths(training)
    assert set(causes) <= {"interrupted", "replaced", "terminated"}
    assert causes["interrupted"] >= 1


def test_an_autoscaler_sees_running_and_waiting_jobs_in_nodes() -> None:
    twin, training = twin_with(JOB, JobSpec("next", "train", 3, HOUR), nodes=5)
    demand = training.demand("train")
    assert demand.jobs_per_node == 1
    assert demand.jobs(timedelta()) == 0
    twin.run_until(HOUR)
    assert demand.jobs(HOUR) == 7
    twin.run_until(12 * HOUR)
    assert demand.jobs(12 * HOUR) == 0


def test_a_pool_grows_for_the_queue_and_shrinks_when_it_is_empty() -> None:
    training = Training((replace(JOB, arrives=HOUR),))
    pool = replace(pool_of(5), min_nodes=0, autoscaling="queue")
    scaled = Scaled("train", QueueBasedAutoscaler(1), training.demand("train"))
    blueprint = Blueprint(
        pools=(pool,), sellers=(Seller(CloudPlan("alpha")),), policy=POLICY, scaled=(scaled,)
    )
    twin = Twin(blueprint, 1)
    training.join(twin)
    twin.run_until(HOUR)
    fleet = twin.fleet
    assert fleet is not None
    assert len(fleet.nodes) == 0
    twin.run_until(2 * HOUR)
    assert training.busy_nodes("train") == 4
    twin.run_until(9 * HOUR)
    assert deaths(training) == {}
    assert training.gangs.all[0].done_at is not None
    assert fleet.pools["train"].target == 0


def long_twin(seed: int) -> tuple[Twin, Training]:
    """Eight nodes that nobody bought, under application errors that come by themselves."""
    job = JobSpec(
        "long",
        "",
        8,
        timedelta(days=3650),
        checkpoint=20 * MINUTE,
        checkpoint_cost=MINUTE,
        restart=5 * MINUTE,
    )
    owned = tuple(Owned(f"host-{number}") for number in range(8))
    hazard = Hazard(Fault(FaultKind.XID, xid=31), per_node_day=1.5)
    blueprint = Blueprint(
        owned=owned, hazards=(hazard,), policy=POLICY, tick_interval=timedelta(minutes=2)
    )
    twin = Twin(blueprint, seed)
    for each in owned:
        twin.welcome(each)
    training = Training((job,))
    training.join(twin)
    return twin, training


def test_goodput_of_a_twin_is_what_theory_expects_of_its_hazards() -> None:
    twin, training = long_twin(1)
    twin.run_until(timedelta(days=20))
    (pool,) = training.report().pools
    expected = expected_goodput(20 * MINUTE, MINUTE, 5 * MINUTE, 2 * HOUR)
    assert pool.restarts["xid 31"] == pytest.approx(240, rel=0.2)
    assert pool.goodput == pytest.approx(expected, rel=0.04)


def test_the_same_seed_gives_the_same_report_and_a_new_run_begins_anew() -> None:
    reports: list[TrainingReport] = []
    hazards = (
        Hazard(Fault(FaultKind.CRASH), 0.5, pools=("train",)),
        Hazard(Fault(FaultKind.XID, xid=31), 2.0),
    )
    training = Training((JOB, JobSpec("next", "train", 2, 3 * HOUR, priority=1)))
    for _ in range(2):
        twin = Twin(
            Blueprint(
                pools=(pool_of(5),),
                sellers=(Seller(CloudPlan("alpha")),),
                policy=POLICY,
                hazards=hazards,
            ),
            5,
        )
        training.join(twin)
        twin.run_until(timedelta(hours=12))
        reports.append(training.report())
        with pytest.raises(ValueError, match="has begun, expected a twin before its run"):
            training.join(twin)
    assert reports[0] == reports[1]
    assert sum(sum(job.restarts.values()) for job in reports[0].jobs) > 0
