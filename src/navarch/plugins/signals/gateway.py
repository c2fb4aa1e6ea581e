"""What gateways and replicas push: the quickest way from a request to a replica.

Several sources see a part of a pool each, and their values become one by the rule of the signal. A
source that falls silent makes the whole stale, since a sum without it would look like less load;
after a while it is taken for gone. Everything is bounded: pools, signals and sources.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final

from msgspec import Struct

from navarch.core.model.resources import AgentPool
from navarch.core.scaling.base import Quality, Reading
from navarch.core.serving.scaling import signals
from navarch.core.serving.scaling.series import Sample
from navarch.errors import ConfigError
from navarch.plugins.signals.base import single

POOLS_MAX: Final = 10_000
"""Pools of which anything is kept."""
SIGNALS_MAX: Final = 64
"""Signals of a pool."""
SOURCES_MAX: Final = 1_000
"""Sources of a signal."""
SAMPLES_MAX: Final = 1_000
"""Samples that are taken at once."""
TEXT_MAX: Final = 253
"""Letters of a name."""
REFUSED_MAX: Final = 10
"""How many refusals are told of one push."""


class PushedSample(Struct, frozen=True):
    """One value that somebody saw."""

    agent_pool: str
    """``namespace/name``; a name alone is one of the namespace ``default``."""
    metric: str
    """Any of the signal's names."""
    value: float
    """In the base unit of the signal."""
    observed_at: datetime | None = None
    """None: now. One from the future counts as now."""
    source: str = ""
    """Who saw it, where several see a part each."""


class Pushed(Struct, frozen=True):
    """What became of a push."""

    accepted: int
    refused: tuple[str, ...] = ()
    """Why others were not taken, at most ten of them."""
    pools: frozenset[str] = frozenset()
    """``namespace/name`` of the pools that have news, so that they are looked at now."""


class _Part(Struct, frozen=True):
    """What one source saw."""

    value: float
    unit: str
    at: datetime
    source: str


class GatewayMetricsProvider:
    """Gives the values that gateways and replicas have pushed."""

    name = "gateway"

    def __init__(self, *, forget_after_seconds: float = 300) -> None:
        """Take a source that was silent for so long for gone.

        :raises ConfigError: it is not above 0
        """
        if not 0 < forget_after_seconds <= timedelta.max.total_seconds():
            text = f"forget_after_seconds {forget_after_seconds}: expected a number above 0"
            raise ConfigError(f"gateway: {text}")
        self._forget_after = timedelta(seconds=forget_after_seconds)
        self._pools: dict[str, dict[str, dict[str, _Part]]] = {}

    def push(self, samples: Sequence[PushedSample], now: datetime) -> Pushed:
        """Take what somebody saw. What is older than what is known of its source changes nothing.

        Cost: O(samples), and once in a while O(sources of a pool).
        """
        refused: list[str] = []
        news: set[str] = set()
        accepted = 0
        for sample in samples[:SAMPLES_MAX]:
            why = self._take(sample, now)
            if why:
                refused.append(why)
                continue
            accepted += 1
            news.add(_full(sample.agent_pool))
        if len(samples) > SAMPLES_MAX:
            refused.append(f"{len(samples)} samples at once, of which {SAMPLES_MAX} are taken")
        return Pushed(accepted, tuple(refused[:REFUSED_MAX]), frozenset(news))

    async def get_samples(self, pool: AgentPool, metrics: Sequence[str]) -> Mapping[str, Sample]:
        """Return one value of each signal, as old as the oldest part of it."""
        known = self._pools.get(pool.full_name, {})
        found = {name: known[name] for name in signals.names(metrics) if name in known}
        return {name: _one(name, parts) for name, parts in found.items()}

    async def get_metric(self, pool: AgentPool, metric_type: str) -> float:
        """Read one value; `LookupError` when there is none."""
        return await single(self, pool, metric_type)

    def list_metrics(self) -> list[str]:
        """The signals of the catalogue, and whatever else was pushed."""
        pushed = (name for known in self._pools.values() for name in known)
        return list(dict.fromkeys((*signals.CATALOGUE, *pushed)))

    def forget(self, pool: str) -> None:
        """Forget a pool, ``namespace/name``, that is no more."""
        self._pools.pop(pool, None)

    def _take(self, sample: PushedSample, now: datetime) -> str:
        """Keep one sample; say why not where it is refused."""
        pool, name = _full(sample.agent_pool), signals.canonical(sample.metric)
        if (
            not sample.agent_pool
            or not name
            or max(map(len, (pool, name, sample.source))) > TEXT_MAX
        ):
            return f"a sample of {pool[:TEXT_MAX]!r}: expected a pool and a metric with short names"
        judged = signals.fresh(name, sample.value, sample.source or self.name)
        if judged.quality is not Quality.OK:
            return f"{name} of {pool}: {judged.detail}"
        at = min(sample.observed_at or now, now)
        if now - at > self._forget_after:
            return f"{name} of {pool}: {(now - at).total_seconds():.0f} s old"
        room = self._room(pool, name, sample.source, now)
        if isinstance(room, str):
            return room
        before = room.get(sample.source)
        if before is None or before.at <= at:
            room[sample.source] = _Part(judged.value, judged.unit, at, sample.source or self.name)
        return ""

    def _room(self, pool: str, name: str, source: str, now: datetime) -> dict[str, _Part] | str:
        """Find where the sources of a signal are kept; say why there is no room for another."""
        known = self._pools.get(pool, {})
        parts = known.get(name, {})
        if parts and any(self._is_gone(part, now) for part in parts.values()):
            parts = {who: part for who, part in parts.items() if not self._is_gone(part, now)}
            known[name] = parts
        if source not in parts and len(parts) >= SOURCES_MAX:
            return f"{name} of {pool}: {SOURCES_MAX} sources already"
        if name not in known and len(known) >= SIGNALS_MAX:
            return f"{name} of {pool}: {SIGNALS_MAX} metrics already"
        if pool not in self._pools and len(self._pools) >= POOLS_MAX:
            self._forget_gone(now)
            if len(self._pools) >= POOLS_MAX:
                return f"{pool}: {POOLS_MAX} pools already"
        self._pools[pool] = known
        return known.setdefault(name, parts)

    def _forget_gone(self, now: datetime) -> None:
        """Forget the pools of which nobody has said anything for long."""
        for pool in list(self._pools):
            known = self._pools[pool]
            if all(self._is_gone(one, now) for parts in known.values() for one in parts.values()):
                del self._pools[pool]

    def _is_gone(self, part: _Part, now: datetime) -> bool:
        return now - part.at > self._forget_after


def _full(pool: str) -> str:
    return pool if "/" in pool else f"default/{pool}"


def _one(name: str, parts: Mapping[str, _Part]) -> Sample:
    oldest = min(parts.values(), key=lambda part: part.at)
    value = signals.combined(name, [part.value for part in parts.values()])
    source = oldest.source
    if len(parts) > 1:
        source = f"{len(parts)} sources, the oldest {oldest.source}"
    return Reading(value, oldest.unit, oldest.at, source=source)
