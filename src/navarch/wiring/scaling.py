"""Which pool is scaled by what: made from a configuration, put in place, and replaced by another.

Making and putting are two steps, so that a configuration of which one part cannot be made changes
nothing. What is the same in the new configuration stays as it is: its sources keep their
connections and what they remember.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from msgspec import Struct

from navarch.core.scaling.base import Autoscaler
from navarch.errors import ConfigError, PluginError
from navarch.metrics.base import MetricsSource
from navarch.wiring import autoscalers
from navarch.wiring.metrics import Sources

if TYPE_CHECKING:
    from navarch.config.autoscaling import Autoscaling
    from navarch.config.metrics import Metrics
    from navarch.config.schema import Config
    from navarch.controlplane.clock import Clock
    from navarch.controlplane.control_plane import ControlPlane


class Scaled(Struct, frozen=True):
    """What scales one pool, and what it was made of."""

    written: Autoscaling
    autoscaler: Autoscaler
    metrics: tuple[Metrics, ...]
    """What its sources are made of; none: the heartbeats."""


class Scaling(Struct, frozen=True):
    """Everything that a configuration says about scaling, made and ready."""

    pools: dict[str, Scaled] = {}
    sources: dict[tuple[str, ...], Sources] = {}
    """By what they are made of, so that pools with equal lists share them."""

    def source(self, pool: str) -> MetricsSource | None:
        """The metrics source of a pool; None where it names none."""
        metrics = self.pools[pool].metrics
        return self.sources[_key(metrics)].merged if metrics else None


class ScalingParts:
    """Makes what a configuration asks for, and keeps what is in place."""

    def __init__(self, control_plane: ControlPlane, clock: Clock) -> None:
        """Scale pools of this control plane. Nothing is in place yet."""
        self._control_plane = control_plane
        self._clock = clock
        self._placed = Scaling()

    def make(self, config: Config) -> Scaling:
        """Make what is new in a configuration; nothing is put in place.

        Raises `ConfigError` with the key of what cannot be made.
        """
        pools: dict[str, Scaled] = {}
        sources: dict[tuple[str, ...], Sources] = {}
        for name, written in config.autoscaling.items():
            metrics = config.metrics.get(name) or config.server.metrics
            pools[name] = self._scaled(name, written, metrics, config)
            if metrics and _key(metrics) not in sources:
                here = f"pools.{name}.metrics" if name in config.metrics else "server.metrics"
                sources[_key(metrics)] = self._sources(metrics, here, config)
        return Scaling(pools, sources)

    async def place(self, scaling: Scaling) -> None:
        """Scale by this from now on, and close the sources that nobody asks any more."""
        before, self._placed = self._placed, scaling
        manager = self._control_plane.pool_manager
        for name in before.pools.keys() - scaling.pools.keys():
            manager.leave(name)
        for name, scaled in scaling.pools.items():
            manager.scale(name, scaled.autoscaler, scaling.source(name))
        for key in before.sources.keys() - scaling.sources.keys():
            await before.sources[key].close()

    async def close(self) -> None:
        """Scale nothing any more."""
        await self.place(Scaling())

    def _scaled(
        self, name: str, written: Autoscaling, metrics: tuple[Metrics, ...], config: Config
    ) -> Scaled:
        placed = self._placed.pools.get(name)
        if placed is not None and placed.written == written:
            return Scaled(written, placed.autoscaler, metrics)
        try:
            return Scaled(written, autoscalers.autoscaler(written), metrics)
        except (PluginError, ValueError) as error:
            key = f"pools.{name}.autoscaling"
            raise ConfigError(str(error), file=str(config.file), key=key) from error

    def _sources(self, metrics: Sequence[Metrics], key: str, config: Config) -> Sources:
        placed = self._placed.sources.get(_key(metrics))
        if placed is not None:
            return placed
        store = self._control_plane.store_metrics
        try:
            return Sources(metrics, store=store, now=self._clock.now)
        except (PluginError, ConfigError) as error:
            raise ConfigError(str(error), file=str(config.file), key=key) from error


def _key(metrics: Sequence[Metrics]) -> tuple[str, ...]:
    """Name a list of sources by what it says; equal lists have equal names."""
    return tuple(map(repr, metrics))
