"""Pools of agents, classes and demands for tests of scaling."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

from msgspec.structs import replace

from factories import START
from navarch.core.model.resources import (
    SLO,
    AgentClass,
    AgentClassSpec,
    AgentPool,
    AgentPoolSpec,
    Autoscaling,
    Behavior,
    MetricTarget,
    ObjectMeta,
    ScalingRules,
)
from navarch.core.scaling.base import Quality, Reading
from navarch.core.serving.scaling import signals
from navarch.core.serving.scaling.proposal import Demand
from navarch.core.serving.scaling.series import Series

AT_ONCE = Behavior(scale_down=ScalingRules())
"""No windows and no rates."""


def a_pool(
    targets: Mapping[str, float] | None = None,
    *,
    low: int = 0,
    high: int = 1000,
    prewarm: float = 0.0,
    **scaling: object,
) -> AgentPool:
    """Return a pool that is scaled by these targets, without windows unless they are given."""
    metrics = tuple(MetricTarget(name, target) for name, target in (targets or {}).items())
    autoscaling = replace(Autoscaling(metrics, AT_ONCE), **scaling)
    spec = AgentPoolSpec(
        min_replicas=low, max_replicas=high, prewarm_percent=prewarm, autoscaling=autoscaling
    )
    return AgentPool(ObjectMeta("chat"), spec=spec)


def a_class(ttft: float = 0, latency: float = 0, speed: float = 0) -> AgentClass:
    """Return a class with these promises, in seconds and tokens a second."""
    slo = SLO(timedelta(seconds=ttft), speed, timedelta(seconds=latency))
    return AgentClass(ObjectMeta("chat"), spec=AgentClassSpec(slo=slo))


def known(**values: float | Quality) -> dict[str, Series]:
    """Return series: of a fresh value, or of a sample of another quality, by snake_case name."""
    found = {}
    for name, value in values.items():
        plain = signals.canonical(name)
        unit = signals.signal_of(name).unit
        sample = (
            Reading(7.0, unit, START, value, "gateway", "why")
            if isinstance(value, Quality)
            else Reading(value, unit, START, source="gateway")
        )
        found[plain] = Series(plain, (sample,))
    return found


def a_demand(
    pool: AgentPool,
    values: Mapping[str, float | Quality] | None = None,
    *,
    current: int = 0,
    ready: int | None = None,
    agent_class: AgentClass | None = None,
    **more: float | Quality,
) -> Demand:
    """Return what an autoscaler is shown; all replicas serve unless `ready` says otherwise."""
    serving = current if ready is None else ready
    return Demand(pool, agent_class, current, serving, known(**(values or {}), **more), START)
