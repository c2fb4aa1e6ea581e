"""Goodput: what became of the time of training jobs, and what theory expects of it.

The words are those of two sources, which mean the same two things:

- *ETTR*, the effective training time ratio of a job: its productive time divided by its time from
  submission to its end, queueing included; neither work that is done twice nor starting up is
  productive (Kokolis et al., "Revisiting Reliability in Large-Scale Machine Learning Research
  Clusters", HPCA 2025, arXiv 2410.21680; read November 2026).
- *Scheduling goodput* and *runtime goodput*: the share of a job's time in which it has all its
  nodes, and the share of that in which it makes progress that is kept (Google, "Introducing ML
  Productivity Goodput", 2024; read November 2026). Their product is the ETTR. The third factor
  there, program goodput, is a property of the program, which the twin knows nothing of.

*Goodput* without another word is of a pool: kept GPU time divided by all GPU time that was paid
for, idle and booting machines included.
"""

from __future__ import annotations

import math
from datetime import datetime, timedelta

from msgspec import Struct

from navarch.simulator.loads.gangs import ZERO, Gang, Spent

HOUR = timedelta(hours=1)


class JobReport(Struct, frozen=True):
    """One job, in hours of its wall clock unless it says otherwise."""

    name: str
    pool: str
    nodes: int
    arrived: float
    """After the beginning of the run."""
    done: float | None
    """After the beginning of the run; None: not yet."""
    waited: float
    """For nodes, at the first start and after each failure."""
    waited_first: float | None
    """Until its first start; None: it has not started."""
    starting: float
    kept: float
    at_risk: float
    """Done, and not saved yet."""
    lost: float
    saving: float
    ettr: float
    """The effective training time ratio, from 0 to 1; 1 for a job that has just arrived."""
    restarts: dict[str, int]
    """How often it was ended, by cause, sorted."""

    @property
    def allocated(self) -> float:
        """How long it had its nodes."""
        return self.starting + self.kept + self.at_risk + self.lost + self.saving

    @property
    def wall(self) -> float:
        """How long it has been there."""
        return self.allocated + self.waited


class PoolReport(Struct, frozen=True):
    """All jobs of one pool, in GPU hours unless it says otherwise."""

    pool: str
    jobs: int
    jobs_done: int
    paid: float
    """Of all machines, from the moment each was made until it was gone."""
    goodput: float
    """Kept time divided by paid time; 0 when nothing was paid for."""
    kept: float
    at_risk: float
    lost: float
    saving: float
    starting: float
    idle: float
    """Paid for while no job had it."""
    waited_hours: float
    """Hours that jobs waited for nodes, in sum."""
    restarts: dict[str, int]
    ettr: float
    """Of all jobs, weighted by their nodes and time."""
    scheduling_goodput: float
    runtime_goodput: float

    def lines(self) -> tuple[str, ...]:
        """Describe it, for people."""
        causes = ", ".join(f"{cause} {count}" for cause, count in self.restarts.items())
        wasted = f"{self.lost:.0f} lost, {self.saving:.0f} for checkpoints"
        factors = f"scheduling {self.scheduling_goodput:.1%} × runtime {self.runtime_goodput:.1%}"
        return (
            f"pool {self.pool or 'of nobody'}: {self.jobs_done} of {self.jobs} jobs done",
            f"goodput {self.goodput:.1%} of {self.paid:.0f} paid GPU hours",
            f"not kept: {wasted}, {self.starting:.0f} for starts, {self.idle:.0f} idle",
            f"ETTR {self.ettr:.1%}: {factors}",
            f"restarts: {causes or 'none'}; waited {self.waited_hours:.1f} h",
        )


class TrainingReport(Struct, frozen=True):
    """What became of all training jobs."""

    pools: tuple[PoolReport, ...]
    """By name."""
    jobs: tuple[JobReport, ...]
    """In the order of their arrival."""

    def goodput(self, pool: str | None = None) -> float:
        """Kept time divided by paid time, of one pool or of all; 0 when nothing was paid for."""
        chosen = [each for each in self.pools if pool is None or each.pool == pool]
        paid = sum(each.paid for each in chosen)
        return sum(each.kept for each in chosen) / paid if paid else 0.0

    def lines(self) -> tuple[str, ...]:
        """Describe it, for people."""
        return tuple(line for pool in self.pools for line in pool.lines())


def job_report(gang: Gang, now: datetime, begun: datetime) -> JobReport:
    """Say what became of one job's time until now."""
    spent, at_risk = Spent(), ZERO
    spent.add(gang.spent)
    if gang.began_at is not None:
        running, at_risk = gang.so_far(now)
        spent.add(running)
    waited = gang.waited
    if gang.waits_since is not None:
        waited += now - gang.waits_since
    allocated = spent.kept + spent.lost + spent.saving + spent.starting + at_risk
    wall = allocated + waited
    return JobReport(
        gang.spec.name,
        gang.spec.pool,
        gang.spec.nodes,
        arrived=(gang.arrived_at - begun) / HOUR,
        done=None if gang.done_at is None else (gang.done_at - begun) / HOUR,
        waited=waited / HOUR,
        waited_first=None if gang.waited_first is None else gang.waited_first / HOUR,
        starting=spent.starting / HOUR,
        kept=spent.kept / HOUR,
        at_risk=at_risk / HOUR,
        lost=spent.lost / HOUR,
        saving=spent.saving / HOUR,
        ettr=(spent.kept + at_risk) / wall if wall else 1.0,
        restarts=dict(sorted(gang.deaths.items())),
    )


def pool_report(pool: str, jobs: list[JobReport], *, paid: float, gpus: float) -> PoolReport:
    """Sum up the jobs of a pool; `paid` in GPU hours, `gpus` of one node."""
    restarts: dict[str, int] = {}
    for job in jobs:
        for cause, count in job.restarts.items():
            restarts[cause] = restarts.get(cause, 0) + count
    wall = sum(job.wall * job.nodes for job in jobs)
    allocated = sum(job.allocated * job.nodes for job in jobs)
    useful = sum((job.kept + job.at_risk) * job.nodes for job in jobs)
    kept = gpus * sum(job.kept * job.nodes for job in jobs)
    return PoolReport(
        pool,
        jobs=len(jobs),
        jobs_done=sum(job.done is not None for job in jobs),
        paid=paid,
        goodput=kept / paid if paid else 0.0,
        kept=kept,
        at_risk=gpus * sum(job.at_risk * job.nodes for job in jobs),
        lost=gpus * sum(job.lost * job.nodes for job in jobs),
        saving=gpus * sum(job.saving * job.nodes for job in jobs),
        starting=gpus * sum(job.starting * job.nodes for job in jobs),
        idle=max(paid - gpus * allocated, 0.0),
        waited_hours=sum(job.waited for job in jobs),
        restarts=dict(sorted(restarts.items())),
        ettr=useful / wall if wall else 1.0,
        scheduling_goodput=allocated / wall if wall else 1.0,
        runtime_goodput=useful / allocated if allocated else 1.0,
    )


# --- what theory expects -----------------------------------------------------------------------


def best_interval(cost: timedelta, mtbf: timedelta) -> timedelta:
    """The interval between checkpoints at which least time is wasted: √(2 × cost × MTBF).

    Young, "A first order approximation to the optimum checkpoint interval", Communications of the
    ACM 17 (9), 1974. It holds while the cost is small against the MTBF, which is the whole gang's.
    """
    return timedelta(seconds=math.sqrt(2 * cost.total_seconds() * mtbf.total_seconds()))


def expected_goodput(
    interval: timedelta, cost: timedelta, restart: timedelta, mtbf: timedelta
) -> float:
    """The share of its nodes' time that a long job keeps, when failures come at a constant rate.

    The work of one interval takes M × e^(R/M) × (e^((τ+δ)/M) − 1) on average, for an interval τ, a
    cost δ, a restart R and the gang's MTBF M; failures may also fall into restarts and checkpoints.
    (Daly, "A higher order estimate of the optimum checkpoint interval for restart dumps", Future
    Generation Computer Systems 22 (3), 2006.)
    """
    mean = mtbf.total_seconds()
    growth = math.expm1((interval + cost).total_seconds() / mean)
    takes = mean * math.exp(restart.total_seconds() / mean) * growth
    return interval.total_seconds() / takes
