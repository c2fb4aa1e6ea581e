"""Values from the configuration: for fleets that never change, and for tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from navarch.core.model.resources import AgentPool
from navarch.core.serving.scaling import signals
from navarch.core.serving.scaling.series import Sample
from navarch.errors import ConfigError
from navarch.plugins.signals.base import single


class StaticMetricsProvider:
    """Gives the values that its configuration has."""

    name = "static"

    def __init__(
        self,
        *,
        values: Mapping[str, float] | None = None,
        pools: Mapping[str, Mapping[str, float]] | None = None,
    ) -> None:
        """Give `values` for every pool, and those of `pools` for the pool of that name.

        Signals may have any of their names, values are in base units. A pool is ``namespace/name``
        or a name in the namespace ``default``.

        :raises ConfigError: a value that cannot be
        """
        self._values = _checked(values or {}, "values")
        self._pools = {
            name if "/" in name else f"default/{name}": _checked(given, f"pools.{name}")
            for name, given in (pools or {}).items()
        }

    async def get_samples(self, pool: AgentPool, metrics: Sequence[str]) -> Mapping[str, Sample]:
        """Return what is configured of these signals; it is true at any time."""
        own = self._pools.get(pool.full_name, {})
        found = {**self._values, **own}
        return {name: found[name] for name in signals.names(metrics) if name in found}

    async def get_metric(self, pool: AgentPool, metric_type: str) -> float:
        """Read one value; `LookupError` when there is none."""
        return await single(self, pool, metric_type)

    def list_metrics(self) -> list[str]:
        """The signals that are configured for any pool."""
        own = (name for given in self._pools.values() for name in given)
        return sorted({*self._values, *own})


def _checked(values: Mapping[str, float], key: str) -> dict[str, Sample]:
    samples = {}
    for name, value in values.items():
        sample = signals.fresh(signals.canonical(name), value, "static")
        if sample.detail:
            raise ConfigError(f"static: {key}.{name}: {sample.detail}")
        samples[signals.canonical(name)] = sample
    return samples
