"""Signals of agents from Prometheus: one expression a signal, all asked at once.

The expression of a signal that has none of its own is the documents' form,
``neuronetes_$metric{pool="$pool"}``. Several series become one value by the rule of the signal, so
that each replica may export its part.

The age of a value is that of its samples: Prometheus itself stamps the time of the evaluation, and
gives values that are five minutes old. So each question asks for ``timestamp(…)`` as well.
"""

from __future__ import annotations

import asyncio
import math
import re
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final

from navarch.core.model.resources import AgentPool
from navarch.core.scaling.base import Reading
from navarch.core.serving.scaling import signals
from navarch.core.serving.scaling.series import Sample
from navarch.errors import ConfigError
from navarch.metrics import promql
from navarch.metrics.promql import PromQL, Series
from navarch.peers.endpoint import Credentials, Endpoint
from navarch.peers.unanswered import Unanswered
from navarch.plugins.signals.base import single

TEMPLATE: Final = 'neuronetes_$metric{pool="$pool"}'
"""The documents' form of a query."""

PART: Final = "navarch_part"
"""The label that tells values from their times in an answer."""

ASKED_AT_ONCE: Final = 8
"""Questions of one pool that are on their way at the same time."""

_HOLE: Final = re.compile(r"\$(?:\{(\w+)\}|(\w+))")
_HOLES: Final = frozenset({"metric", "pool", "namespace"})


class PrometheusMetricsProvider:
    """Asks Prometheus, or whatever speaks its HTTP API."""

    name = "prometheus"

    def __init__(
        self,
        url: str,
        *,
        template: str = TEMPLATE,
        queries: Mapping[str, str] | None = None,
        units: Mapping[str, str] | None = None,
        metrics: Sequence[str] = (),
        sample_times: bool = True,
        deadline_seconds: float = 5,
        credentials: Mapping[str, str] | None = None,
    ) -> None:
        """Ask at `url`, the address that ``/api/v1/query`` stands below.

        In `template` and in `queries`, which has expressions for single signals, ``$metric`` is the
        signal in snake_case, ``$pool`` and ``$namespace`` are the pool's. `units` has the unit of
        a signal that is not exported in its base unit, such as ``ms``. `metrics` limits what is
        asked for; empty: the catalogue and `queries`. `sample_times`: whether the true age of
        samples is asked for; it has to be off for expressions that are no vectors. `credentials`
        has the keys of `navarch.peers.endpoint.Credentials`.

        :raises ConfigError: an expression with an unknown ``$name``, or a unit that disagrees
        """
        self._template = _holes_known(template, "template")
        self._queries = {
            signals.canonical(name): _holes_known(text, f"queries.{name}")
            for name, text in (queries or {}).items()
        }
        self._units = {
            signals.canonical(name): _agrees(name, unit) for name, unit in (units or {}).items()
        }
        self._metrics = signals.names(metrics) or signals.names(
            (*signals.CATALOGUE, *self._queries)
        )
        self._sample_times = sample_times
        try:
            access = Credentials(**(credentials or {}))
        except TypeError as cause:
            raise ConfigError(f"prometheus: credentials: {cause}") from cause
        self._promql = PromQL(
            Endpoint(url, credentials=access), timedelta(seconds=deadline_seconds)
        )

    async def get_samples(self, pool: AgentPool, metrics: Sequence[str]) -> Mapping[str, Sample]:
        """Ask for all of them at once; a question that fails leaves the others alone."""
        wanted = [name for name in signals.names(metrics) if name in self._metrics]
        gate = asyncio.Semaphore(ASKED_AT_ONCE)

        async def one(name: str) -> Sample:
            async with gate:
                return await self._sample(pool, name)

        found = await asyncio.gather(*(one(name) for name in wanted))
        return dict(zip(wanted, found, strict=True))

    async def get_metric(self, pool: AgentPool, metric_type: str) -> float:
        """Read one value; `LookupError` when there is none."""
        return await single(self, pool, metric_type)

    def list_metrics(self) -> list[str]:
        """The signals that are asked for."""
        return list(self._metrics)

    async def close(self) -> None:
        """Give up the connections."""
        await self._promql.close()

    def query(self, pool: AgentPool, metric: str) -> str:
        """Return the expression of a signal of a pool."""
        plain = signals.canonical(metric)
        filled = {
            "metric": _metric_name(plain),
            "pool": escaped(pool.name),
            "namespace": escaped(pool.metadata.namespace),
        }
        text = self._queries.get(plain, self._template)
        return _HOLE.sub(lambda found: filled[found.group(1) or found.group(2)], text)

    async def _sample(self, pool: AgentPool, name: str) -> Sample:
        expression = self.query(pool, name)
        try:
            if not self._sample_times:
                found = await self._promql.one(expression)
                pairs = [] if found is None else [found]
            else:
                pairs = _pairs(await self._promql.vector(_with_times(expression)))
        except Unanswered as failure:
            return signals.broken(name, str(failure), self.name)
        pairs = [pair for pair in pairs if not math.isnan(pair[1])]
        if not pairs:
            return signals.absent(name, f"{expression} gives nothing", self.name)
        value = signals.combined(name, [value for _, value in pairs])
        unit = self._units.get(name, signals.signal_of(name).unit)
        oldest = min(at for at, _ in pairs)
        return signals.judged(name, Reading(value, unit, oldest, source=self.name))


def escaped(text: str) -> str:
    """Write a text as it stands between double quotes in PromQL."""
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _metric_name(name: str) -> str:
    return re.sub(r"[^a-zA-Z0-9_:]", "_", signals.snake(name))


def _with_times(expression: str) -> str:
    """Ask for values and, marked by a label, for the times of their samples."""
    return (
        f'label_replace({expression}, "{PART}", "value", "", "") or '
        f'label_replace(timestamp({expression}), "{PART}", "time", "", "")'
    )


def _pairs(series: Sequence[Series]) -> list[tuple[datetime, float]]:
    """Bring the time and the value of each series together."""
    values: dict[frozenset[tuple[str, str]], float] = {}
    times: dict[frozenset[tuple[str, str]], datetime] = {}
    for one in series:
        if one.value is None:
            continue
        labels = frozenset(
            (key, text) for key, text in one.metric.items() if key not in (PART, "__name__")
        )
        number = promql.number(one.value[1])
        if one.metric.get(PART) == "time":
            times[labels] = promql.moment(number)
        else:
            values[labels] = number
    if values.keys() != times.keys():
        raise Unanswered("the query gives values without times, or several of one set of labels")
    return [(times[labels], value) for labels, value in values.items()]


def _holes_known(text: str, key: str) -> str:
    for found in _HOLE.finditer(text):
        if (found.group(1) or found.group(2)) not in _HOLES:
            raise ConfigError(
                f"prometheus: {key}: {found.group()} is not known, expected $metric, $pool or "
                "$namespace"
            )
    if not text.strip():
        raise ConfigError(f"prometheus: {key}: is empty, expected an expression")
    return text


def _agrees(name: str, unit: str) -> str:
    wanted = signals.signal_of(name).unit
    if signals.factor(unit, wanted) is None:
        raise ConfigError(f"prometheus: units.{name}: {unit} cannot become {wanted}")
    return unit
