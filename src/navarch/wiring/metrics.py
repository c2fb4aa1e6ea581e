"""Metrics sources, made from what the configuration says under ``metrics``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final, Protocol, assert_never, runtime_checkable

from navarch.config import metrics as written
from navarch.core.scaling.base import PoolMetrics
from navarch.metrics.base import FIELDS, MetricsSource
from navarch.plugins.protocols import PluginKind
from navarch.telemetry.log import Log
from navarch.wiring import plugins

if TYPE_CHECKING:
    from navarch.peers.endpoint import Credentials

log = Log(__name__)

CUSTOM = plugins.kind(PluginKind.METRICS_SOURCE)

MERGE_DEADLINE: Final = timedelta(seconds=18)
"""How long sources are waited for: less than the 20 s that an evaluation has, so that the answers
of quick sources count although another one is slow."""


@runtime_checkable
class Closable(Protocol):
    """A source that holds connections."""

    @property
    def name(self) -> str:
        """What it is called."""
        ...

    async def close(self) -> None:
        """Give them up."""
        ...


class Sources:
    """The sources behind one ``metrics`` list, as one source."""

    def __init__(
        self,
        configs: Sequence[written.Metrics],
        *,
        store: MetricsSource,
        now: Callable[[], datetime],
    ) -> None:
        """Make them; `store` is what ``type: store`` stands for.

        Raises `ConfigError` or `PluginError` when one of them cannot be made.
        """
        from navarch.metrics.merged import MergedMetricsSource

        self._store = store
        self._now = now
        self._made = [self._make(config) for config in configs]
        named = [
            _Named(source, written.name_of(config))
            for source, config in zip(self._made, configs, strict=True)
        ]
        self.merged: MetricsSource = MergedMetricsSource(
            named, now=now, order=_order(configs), deadline=MERGE_DEADLINE
        )

    async def close(self) -> None:
        """Give up the connections of all of them; the store goes on."""
        for source in self._made:
            if source is self._store or not isinstance(source, Closable):
                continue
            try:
                await source.close()
            except Exception:  # the plugin guard: it is named, and the others are closed
                log.exception(
                    "plugin_broke", kind="metrics-source", plugin=source.name, point="close"
                )

    def _make(self, config: written.Metrics) -> MetricsSource:
        match config:
            case written.StoreMetrics():
                return self._store
            case written.PrometheusMetrics():
                return self._prometheus(config)
            case written.SlurmMetrics():
                return self._slurm(config)
            case written.KubernetesMetrics():
                return self._kubernetes(config)
            case written.CustomMetrics():
                made: MetricsSource = plugins.make(CUSTOM, config.use, config.config)
                return made
            case _:
                assert_never(config)

    def _prometheus(self, config: written.PrometheusMetrics) -> MetricsSource:
        from navarch.metrics.prometheus import History, PrometheusMetricsSource

        return PrometheusMetricsSource(
            config.url,
            config.queries,
            now=self._now,
            times=config.times,
            history=History(window=config.history.window, interval=config.history.interval),
            deadline=config.deadline,
            credentials=credentials_of(config.credentials),
            name=written.name_of(config),
        )

    def _slurm(self, config: written.SlurmMetrics) -> MetricsSource:
        from navarch.metrics.slurm import SlurmMetricsSource

        return SlurmMetricsSource(
            now=self._now,
            partition=config.partition or "",
            pool_to_partition=config.pool_to_partition,
            prefix=config.prefix,
            deadline=config.deadline,
            reuse=config.reuse,
            name=written.name_of(config),
        )

    def _kubernetes(self, config: written.KubernetesMetrics) -> MetricsSource:
        from navarch.metrics.kubernetes import KubernetesMetricsSource

        namespace = config.namespace or ""
        if config.url is None:
            return KubernetesMetricsSource.in_cluster(now=self._now, namespace=namespace)
        return KubernetesMetricsSource(
            config.url,
            now=self._now,
            namespace=namespace,
            credentials=credentials_of(config.credentials),
            deadline=config.deadline,
            name=written.name_of(config),
        )


class _Named:
    """A source under the name that the configuration gives it."""

    def __init__(self, source: MetricsSource, name: str) -> None:
        self._source = source
        self.name = name

    async def get_pool_metrics(self, pool_name: str) -> PoolMetrics:
        return await self._source.get_pool_metrics(pool_name)


def _order(configs: Sequence[written.Metrics]) -> dict[str, list[str]]:
    """Who may answer each field, in the order of the file."""
    return {
        field: [
            written.name_of(config)
            for config in configs
            if not config.fields or field in config.fields
        ]
        for field in FIELDS
    }


def credentials_of(config: written.Credentials) -> Credentials:
    """Say where the secrets of an API are, in the words of those who use them."""
    from navarch.peers.endpoint import Credentials

    return Credentials(
        token_env=config.token_env or "",
        token_file=str(config.token_file or ""),
        username=config.username or "",
        password_env=config.password_env or "",
        ca_file=str(config.ca_file or ""),
    )
