"""The built-in autoscalers of replicas."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Final

from navarch.core.model.resources import AgentClass, AgentPool, MetricTarget
from navarch.core.scaling.base import Quality
from navarch.core.serving.scaling import laws, signals
from navarch.core.serving.scaling.proposal import (
    Demand,
    Proposal,
    configured,
    flaw,
    hold,
    of_metrics,
)
from navarch.core.serving.scaling.signals import (
    P95_LATENCY,
    QUEUE_DEPTH,
    QUEUE_TIME_P95,
    REQUESTS_PER_SECOND,
    SESSION_SPEED,
    TOKENS_PER_SECOND,
    TTFT_P95,
    Shape,
)

PRIORITY: Final = 100
"""Of every built-in one: what the documents give to one that is nothing special."""


class QueueDepthAutoscaler:
    """Wants one replica for each so many requests that wait."""

    name = "queue-depth"
    priority = PRIORITY

    @property
    def metric_names(self) -> list[str]:
        """The signals that it wants to see."""
        return [QUEUE_DEPTH]

    def applies(self, pool: AgentPool, agent_class: AgentClass | None) -> bool:
        """Whether the pool has a target for it."""
        return configured(pool, QUEUE_DEPTH) is not None

    def calculate_replicas(self, pool: AgentPool, current_metrics: Mapping[str, float]) -> int:
        """Propose a number of replicas of the newest values alone."""
        return self.propose(of_metrics(pool, current_metrics)).replicas

    def propose(self, demand: Demand) -> Proposal:
        """Divide the queue by its target, and round up."""
        metric = configured(demand.pool, QUEUE_DEPTH)
        if metric is None:
            return hold(demand, f"{QUEUE_DEPTH} has no target in this pool", by=self.name)
        return laws.by_target(demand, metric, by=self.name)


class TokenAwareAutoscaler:
    """Wants what the most demanding of a pool's token, session and latency targets needs."""

    name = "token-aware"
    priority = PRIORITY

    @property
    def metric_names(self) -> list[str]:
        """The signals that it wants to see."""
        return [name for name in signals.CATALOGUE if name != QUEUE_DEPTH]

    def applies(self, pool: AgentPool, agent_class: AgentClass | None) -> bool:
        """Whether the pool has a target for one of its signals that is not left to the promise."""
        return bool(_for_tokens(pool, agent_class))

    def calculate_replicas(self, pool: AgentPool, current_metrics: Mapping[str, float]) -> int:
        """Propose a number of replicas of the newest values alone."""
        return self.propose(of_metrics(pool, current_metrics)).replicas

    def propose(self, demand: Demand) -> Proposal:
        """Ask each target, and take the answer that wants most."""
        metrics = _for_tokens(demand.pool, demand.agent_class)
        if not metrics:
            return hold(demand, "no target for any of its signals in this pool", by=self.name)
        found = [laws.by_target(demand, metric, by=self.name) for metric in metrics]
        return laws.strictest(demand, found, self.name)


class SLOAutoscaler:
    """Wants what keeps the promises of the agent class, time in the queue included."""

    name = "slo"
    priority = PRIORITY

    def __init__(self, *, ttft_includes_queue: bool = True, gain: float = laws.GAIN) -> None:
        """`ttft_includes_queue`: whether ``ttft-p95`` is measured from a request's arrival.

        If not, ``queue-time-p95`` is added to it, and without it nothing is taken away. `gain`,
        above 0 and at most 1, is the part of an excess that is answered at once.

        :raises ValueError: `gain` is something else
        """
        if not 0 < gain <= 1:
            raise ValueError(f"gain {gain}: expected a number above 0 and at most 1")
        self._ttft_includes_queue = ttft_includes_queue
        self._gain = gain

    @property
    def metric_names(self) -> list[str]:
        """The signals that it wants to see."""
        spare = (QUEUE_TIME_P95, TOKENS_PER_SECOND)
        return list(dict.fromkeys((*PROMISED, *spare, *signals.WAITING)))

    def applies(self, pool: AgentPool, agent_class: AgentClass | None) -> bool:
        """Whether the pool lists a metric without a target that the class has a promise for."""
        promises = _promises(agent_class)
        return any(
            name in promises and (metric := configured(pool, name)) and metric.target == 0
            for name in PROMISED
        )

    def calculate_replicas(self, pool: AgentPool, current_metrics: Mapping[str, float]) -> int:
        """Propose a number of replicas of the newest values alone."""
        return self.propose(of_metrics(pool, current_metrics)).replicas

    def propose(self, demand: Demand) -> Proposal:
        """Hold every promise against what is measured, and take the answer that wants most."""
        promises = _promises(demand.agent_class)
        if not promises:
            return hold(demand, "its agent class promises nothing", by=self.name)
        found = [self._one(demand, name, target) for name, target in promises.items()]
        if all(one.held for one in found) and demand.idle():
            return laws.nobody(self.name, " and ".join(promises))
        return laws.strictest(demand, found, self.name)

    def _one(self, demand: Demand, name: str, target: float) -> Proposal:
        value, doubt = self._measured(demand, name)
        if value is None:
            if demand.idle():
                return laws.nobody(self.name, name)
            return hold(demand, doubt, by=self.name, signal=name)
        if demand.ready <= 0:
            text = f"{name} {value:.4g} with no replica that serves says nothing"
            return hold(demand, text, by=self.name, signal=name)
        signal = signals.signal_of(name)
        proposal = laws.delay(demand, signal, value, target, by=self.name, gain=self._gain)
        if doubt and proposal.replicas < demand.current:
            return hold(demand, doubt, by=self.name, signal=name)
        return proposal

    def _measured(self, demand: Demand, name: str) -> tuple[float | None, str]:
        """Return what users feel, and why it may be more; None: it is not known.

        Who waits is not yet in a percentile of those who were answered. By Little's law a queue of
        so many requests, at so many that arrive a second, is a wait of one over the other on
        average; where that is longer, it counts.
        """
        metric = configured(demand.pool, name)
        window = metric.averaging_window if metric else timedelta()
        reading = demand.reading(name, window)
        value = reading.value if reading.quality is Quality.OK else None
        doubt = "" if value is not None else f"{name} is {flaw(reading)}"
        if name == SESSION_SPEED:
            return self._speed(demand, value, doubt)
        if name == TTFT_P95 and not self._ttft_includes_queue:
            queue = demand.reading(QUEUE_TIME_P95, window)
            if queue.quality is not Quality.OK:
                doubt = doubt or f"{QUEUE_TIME_P95} is {flaw(queue)}"
            elif value is not None:
                value += queue.value
        waiting, arriving = demand.fresh(QUEUE_DEPTH), demand.fresh(REQUESTS_PER_SECOND)
        if waiting and arriving and (value is None or waiting / arriving > value):
            return waiting / arriving, doubt
        return value, doubt

    def _speed(self, demand: Demand, value: float | None, doubt: str) -> tuple[float | None, str]:
        """Take the speed of sessions from that of the pool where nobody measures it."""
        if value is not None:
            return value, ""
        speed = demand.fresh(TOKENS_PER_SECOND)
        sessions = demand.fresh(signals.CONCURRENT_SESSIONS)
        return (speed / sessions, "") if speed is not None and sessions else (None, doubt)


PROMISED: Final = (TTFT_P95, P95_LATENCY, SESSION_SPEED)
"""What an agent class may promise: a pool may leave the target of these to it."""


def _promises(agent_class: AgentClass | None) -> dict[str, float]:
    """Return what a class promises, by signal and in its unit."""
    if agent_class is None:
        return {}
    slo = agent_class.spec.slo
    values = (slo.ttft.total_seconds(), slo.p95_latency.total_seconds(), slo.tokens_per_second)
    return {name: value for name, value in zip(PROMISED, values, strict=True) if value > 0}


def _for_tokens(pool: AgentPool, agent_class: AgentClass | None) -> list[MetricTarget]:
    """Return the pool's targets that are neither the queue's nor left to the class's promise."""
    promises = _promises(agent_class)
    found: list[MetricTarget] = []
    for metric in pool.spec.autoscaling.metrics:
        name = signals.canonical(metric.type)
        if name == QUEUE_DEPTH or not signals.is_known(name):
            continue
        left = metric.target == 0 and name in promises
        if not (left and signals.CATALOGUE[name].shape is Shape.DELAY):
            found.append(metric)
    return found


BUILT_IN: Final = (QueueDepthAutoscaler, TokenAwareAutoscaler, SLOAutoscaler)
"""Every built-in autoscaler of replicas, to be constructed with its configuration."""
