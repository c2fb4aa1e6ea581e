"""Plans of runs in which one thing ails machines, and the rest is well."""

from __future__ import annotations

from datetime import timedelta

from msgspec.structs import replace

from navarch.core.model.finding import Remedy
from navarch.core.model.pool import Disruption, PoolSpec
from navarch.core.settings import Settings
from navarch.simulator.faults import AgentPlan, CloudPlan, Plan
from navarch.simulator.hardware import Kind
from navarch.simulator.sick_faults import Sickness

MINUTE = timedelta(minutes=1)
SECOND = timedelta(seconds=1)

LADDER = (Remedy.RESET_GPU, Remedy.REBOOT, Remedy.REPLACE)

SETTINGS = Settings(
    probation=3 * MINUTE,
    probation_max=8 * MINUTE,
    reset_timeout=2 * MINUTE,
    reboot_timeout=6 * MINUTE,
    drain_timeout=2 * MINUTE,
)
"""Waits are short, so that each ends within a run."""


def a_sick_plan(
    sickness: Sickness,
    *,
    nodes: int = 4,
    ladder: tuple[Remedy, ...] = LADDER,
    settings: Settings = SETTINGS,
    lasts: timedelta = 20 * MINUTE,
    max_unavailable: int = 1,
) -> Plan:
    return Plan(
        settings=settings,
        pools=(
            PoolSpec(
                "train",
                "alpha",
                min_nodes=nodes,
                max_nodes=nodes + 2,
                ladder=ladder,
                disruption=Disruption(
                    max_unavailable=max_unavailable, max_replacements_per_hour=20
                ),
            ),
        ),
        clouds=(CloudPlan("alpha"),),
        agents=AgentPlan(),
        sickness=sickness,
        faults_last=lasts,
    )


def lemons(lasts: timedelta = 90 * MINUTE) -> Plan:
    """A broken GPU comes back in every new machine that it can."""
    return a_sick_plan(
        Sickness(policy="strict", ailments=((Kind.BROKEN, 0.25),), gpus=2, lemons=1.0),
        nodes=6,
        ladder=(Remedy.REPLACE,),
        lasts=lasts,
        max_unavailable=2,
    )


def long_reboots() -> Plan:
    """GPUs fall off the bus, and machines take minutes to come back from a reboot."""
    return a_sick_plan(
        Sickness(policy="patient", ailments=((Kind.FALLEN, 0.4),), gpus=2, reboot_max=5 * MINUTE),
        nodes=5,
        max_unavailable=2,
    )


def a_moody_scheduler() -> Plan:
    """The workload manager says no, is away, or does what it is told without a word."""
    sickness = Sickness(manager_refuses=0.4, manager_mute=0.4)
    plan = a_sick_plan(
        sickness, settings=replace(SETTINGS, workload_manager=True, refusal_retry=MINUTE)
    )
    return replace(plan, requests=12)


def a_full_pool() -> Plan:
    """Machines are replaced while operators move the target up to the maximum and down again."""
    plan = a_sick_plan(
        Sickness(policy="strict", ailments=((Kind.BROKEN, 0.3),), gpus=2),
        ladder=(Remedy.REPLACE,),
        lasts=40 * MINUTE,
        max_unavailable=2,
    )
    pools = tuple(replace(pool, min_nodes=2, max_nodes=5) for pool in plan.pools)
    return replace(plan, pools=pools, requests=40, agents=AgentPlan(drain_time=100 * SECOND))


def restarts() -> Plan:
    """Agents freeze for a while, and lists leave machines out."""
    plan = a_sick_plan(Sickness())
    return replace(
        plan,
        clouds=(CloudPlan("alpha", hidden_share=0.3),),
        agents=AgentPlan(frozen=0.8, frozen_max=5 * MINUTE),
    )


def notices() -> Plan:
    """All machines are cheap, and most are taken away, with a word beforehand."""
    plan = a_sick_plan(Sickness(), nodes=5)
    pools = tuple(replace(pool, spot_percent=100.0, max_nodes=20) for pool in plan.pools)
    agents = AgentPlan(preempted=0.9, noticed=1.0, drain_time=45 * SECOND)
    return replace(plan, pools=pools, agents=agents)


def crowded_zones() -> Plan:
    """A pool may lose three nodes to repair at one time, and one in any one zone."""
    plan = a_sick_plan(
        Sickness(policy="strict", ailments=((Kind.SPENT, 0.4),), gpus=2), nodes=9, ladder=LADDER
    )
    disruption = Disruption(
        max_unavailable=3, max_unavailable_per_zone=1, max_replacements_per_hour=20
    )
    pools = tuple(
        replace(pool, region="r1", zones=("r1-a", "r1-b"), disruption=disruption)
        for pool in plan.pools
    )
    return replace(plan, pools=pools)
