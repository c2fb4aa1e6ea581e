"""The pool manager: asks each pool's autoscaler, on time, and passes its word on.

It asks outside of the core, because metrics sources and autoscalers of others may be slow, may wait
for somebody, and may be wrong. What it hears becomes a message; the core decides what it is worth.
An autoscaler that raises, takes too long or answers nonsense is traced, and its pool holds; so is a
metrics source, whose every reading is an error then.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from datetime import datetime, timedelta
from typing import Final, Protocol

from msgspec import Struct

from navarch.controlplane.asking import Asker
from navarch.controlplane.clock import Clock
from navarch.controlplane.demand_history import DemandHistory
from navarch.controlplane.runtime import Runtime
from navarch.core.model.messages import Recommended, Tick
from navarch.core.model.pool import Pool, PoolSpec
from navarch.core.scaling.base import Autoscaler, PoolMetrics, PoolState, ScaleRecommendation
from navarch.core.scaling.target import pool_state
from navarch.errors import NavarchError, PluginError
from navarch.metrics.base import MetricsSource, unanswered
from navarch.providers.base import Provider
from navarch.telemetry import tracing
from navarch.telemetry.log import Log, bound

log = Log(__name__)

DEADLINE: Final = timedelta(seconds=5)
"""How long an autoscaler may take: a sixth of the default interval."""
METRICS_DEADLINE: Final = timedelta(seconds=20)
"""How long metrics may take: squeue alone tries for 9 s to reach a controller that is away."""
TRACES_KEPT: Final = 200
"""Evaluations that are remembered, of all pools together."""


class Trace(Struct, frozen=True):
    """One evaluation of a pool."""

    at: datetime
    pool: str
    autoscaler: str
    state: PoolState
    recommendation: ScaleRecommendation
    took: timedelta
    fault: str = ""
    """What the autoscaler did wrong, or the metrics source; empty when nothing."""


class Scaled(Struct, frozen=True):
    """A pool that is scaled: by what, on whose word."""

    pool: str
    autoscaler: Autoscaler
    metrics: MetricsSource


class Declared(Protocol):
    """A pool made in a program, such as `navarch.Pool`."""

    @property
    def spec(self) -> PoolSpec:
        """What is wanted."""
        ...

    @property
    def providers(self) -> Mapping[str, Provider]:
        """Whom it may buy from, by the names that `spec` uses."""
        ...

    def hand_over(self) -> None:
        """Hear that a control plane runs it from now on.

        Raises `NavarchError` when that cannot be.
        """
        ...


class PoolManager:
    """Evaluates pools on an interval."""

    def __init__(
        self,
        runtime: Callable[[], Runtime],
        clock: Clock,
        metrics: MetricsSource,
        evaluation_interval: timedelta,
        declare: Callable[[PoolSpec, Mapping[str, Provider]], None],
    ) -> None:
        """Serve the runtime that `runtime` returns; `metrics` is for pools that name no source.

        `declare` makes a pool and its providers known to the control plane.

        Raises `ValueError` when the interval is not positive.
        """
        if evaluation_interval <= timedelta():
            raise ValueError(f"evaluation_interval {evaluation_interval} must be above zero")
        self.evaluation_interval = evaluation_interval
        self.deadline = DEADLINE
        """How long an autoscaler may take."""
        self.metrics_deadline = METRICS_DEADLINE
        """How long metrics may take, before."""
        self.traces: deque[Trace] = deque(maxlen=TRACES_KEPT)
        """The newest evaluations, the newest last."""
        self.demand = DemandHistory()
        """What evaluations knew of the demand on each pool, over a week."""
        self.hears: list[Callable[[Trace], None]] = [
            lambda trace: self.demand.note(trace.at, trace.state, trace.recommendation)
        ]
        """Who is called with each evaluation; they must not raise."""
        self._runtime = runtime
        self._clock = clock
        self._metrics = metrics
        self._declare = declare
        self._scaled: dict[str, Scaled] = {}
        self._asker = Asker()

    def add_pool(
        self, pool: Declared, autoscaler: Autoscaler, metrics: MetricsSource | None = None
    ) -> None:
        """Make a pool known, with its providers, and have it scaled.

        Raises `PluginError` when one of its providers has the name of another, when nobody knows
        its strategy, and when the autoscaler or the metrics source is none; `NavarchError` when
        the pool has bought machines by itself.
        """
        _check(autoscaler, metrics)
        pool.hand_over()
        self._declare(pool.spec, pool.providers)
        self.scale(pool.spec.name, autoscaler, metrics)

    def scale(
        self, pool: str, autoscaler: Autoscaler, metrics: MetricsSource | None = None
    ) -> None:
        """Have a pool scaled from the next evaluation on; what it had before is replaced.

        Raises `PluginError` when the autoscaler or the metrics source is none.
        """
        _check(autoscaler, metrics)
        self._scaled[pool] = Scaled(pool, autoscaler, metrics or self._metrics)

    def leave(self, pool: str) -> None:
        """Scale a pool no more; its target stays."""
        self._scaled.pop(pool, None)
        self.demand.leave(pool)

    def pools(self) -> Mapping[str, Scaled]:
        """The pools that are scaled, by name."""
        return dict(self._scaled)

    async def evaluate(self, name: str) -> ScaleRecommendation:
        """Ask a pool's autoscaler now, and pass its word on.

        Raises `NavarchError` when the pool is not scaled or not configured.
        """
        seq = self._runtime().seq
        with bound(seq=seq), tracing.span("pool.evaluate", {"pool": name, "seq": seq}) as span:
            recommendation = await self._evaluate(name)
            span.set(target=recommendation.target_nodes)
            return recommendation

    async def _evaluate(self, name: str) -> ScaleRecommendation:
        scaled = self._scaled.get(name)
        pool = await self._pool(name)
        if scaled is None or pool is None:
            raise NavarchError(f"pool {name} has no autoscaler, or is not configured")
        began_at = self._clock.now()
        metrics, broken = await self._ask_metrics(scaled)
        now = self._clock.now()
        state = pool_state(self._runtime().machine.fleet, pool, metrics, now)
        recommendation, fault = await self._ask_autoscaler(scaled, state)
        faults = "; ".join(text for text in (broken, fault) if text)
        now = self._clock.now()
        by = scaled.autoscaler.name
        trace = Trace(now, name, by, state, recommendation, now - began_at, faults)
        self.traces.append(trace)
        for hear in self.hears:
            hear(trace)
        if faults:
            log.warning("pool_evaluation_faulty", pool=name, by=by, error=faults)
        target, reason = recommendation.target_nodes, recommendation.reason
        await self._runtime().ask(Recommended(name, target, reason, by, recommendation.held))
        return recommendation

    async def _pool(self, name: str) -> Pool | None:
        """Find a pool; one that was added a moment ago waits in the inbox."""
        pools = self._runtime().machine.fleet.pools
        if name not in pools:
            await self._runtime().ask(Tick())
            pools = self._runtime().machine.fleet.pools
        return pools.get(name)

    async def run(self) -> None:
        """Evaluate all pools now and then each interval, until cancelled."""
        while True:
            await asyncio.gather(*(self._evaluate_guarded(name) for name in list(self._scaled)))
            await self._clock.sleep(self.evaluation_interval)

    async def _evaluate_guarded(self, name: str) -> None:
        try:
            await self.evaluate(name)
        except NavarchError as error:
            log.warning("pool_not_evaluated", pool=name, error=str(error))

    async def _ask_metrics(self, scaled: Scaled) -> tuple[PoolMetrics, str]:
        """Ask, and say what went wrong; what went wrong is an error of every reading."""
        name = scaled.metrics.name
        try:
            with _plugin_span("metrics-source", name, "get_pool_metrics", scaled.pool):
                async with asyncio.timeout(self.metrics_deadline.total_seconds()):
                    answer: object = await scaled.metrics.get_pool_metrics(scaled.pool)
        except TimeoutError:
            fault = f"no answer within {self.metrics_deadline}"
        except Exception as error:  # the plugin guard: it is named, and what it knew is an error
            log.exception("plugin_broke", kind="metrics-source", plugin=name, pool=scaled.pool)
            fault = f"{type(error).__name__}: {error}"
        else:
            if isinstance(answer, PoolMetrics):
                return answer, ""
            fault = f"answered {type(answer).__name__}, expected PoolMetrics"
        return unanswered(fault, name), f"metrics source {name}: {fault}"

    async def _ask_autoscaler(
        self, scaled: Scaled, state: PoolState
    ) -> tuple[ScaleRecommendation, str]:
        """Ask, and say what went wrong; what went wrong holds the pool where it is."""
        name = scaled.autoscaler.name
        try:
            with _plugin_span("autoscaler", name, "recommend", scaled.pool):
                answer = await self._asker.ask(scaled.autoscaler, state, self.deadline)
        except TimeoutError as error:
            fault = str(error)
        except Exception as error:  # the plugin guard: it is named, and its pool holds
            log.exception("plugin_broke", kind="autoscaler", plugin=name, pool=scaled.pool)
            fault = f"{type(error).__name__}: {error}"
        else:
            fault = _nonsense(answer)
            if not fault:
                return answer, "; ".join(answer.faults)
        reason = f"{name} failed ({fault}): holding {state.current_nodes}"
        return ScaleRecommendation(state.current_nodes, reason, held=True), fault


def _plugin_span(
    kind: str, plugin: str, point: str, pool: str
) -> AbstractContextManager[tracing.Span]:
    about = {"kind": kind, "plugin": plugin, "point": point, "pool": pool}
    return tracing.span(f"plugin {kind}.{point}", about)


def _check(autoscaler: object, metrics: object | None) -> None:
    """Refuse at the door what would fail at every evaluation."""
    _demand(autoscaler, "autoscaler", "recommend")
    if metrics is not None:
        _demand(metrics, "metrics source", "get_pool_metrics")


def _demand(plugin: object, kind: str, method: str) -> None:
    who = f"{kind} {type(plugin).__name__}"
    name: object = getattr(plugin, "name", None)
    if not isinstance(name, str) or not name:
        raise PluginError(f"{who}: name is {name!r}, expected a text that is not empty")
    if not callable(getattr(plugin, method, None)):
        raise PluginError(f"{who}: it has no method {method}")


def _nonsense(answer: object) -> str:
    """What is wrong with an answer; empty when nothing is."""
    if not isinstance(answer, ScaleRecommendation):
        return f"answered {type(answer).__name__}, expected ScaleRecommendation"
    target: object = answer.target_nodes  # whatever the plugin put there
    if not isinstance(target, int) or isinstance(target, bool) or target < 0:
        return f"proposed {target!r} nodes, expected a whole number of at least 0"
    return ""
