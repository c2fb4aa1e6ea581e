"""Which kit of checks belongs to which kind of plugin."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from navarch.plugins.protocols import PluginKind
from navarch.testing.autoscaler_contract import AutoscalerContract
from navarch.testing.findings import PluginContract
from navarch.testing.guardrail_contract import GuardrailContract
from navarch.testing.metrics_provider_contract import MetricsProviderContract
from navarch.testing.metrics_source_contract import MetricsSourceContract
from navarch.testing.model_loader_contract import ModelLoaderContract
from navarch.testing.ranker_contract import RankerContract
from navarch.testing.replica_autoscaler_contract import ReplicaAutoscalerContract
from navarch.testing.scheduler_contract import SchedulerContract

SUITES: Final[Mapping[PluginKind, type[PluginContract]]] = MappingProxyType(
    {
        PluginKind.AUTOSCALER: AutoscalerContract,
        PluginKind.RANKER: RankerContract,
        PluginKind.METRICS_SOURCE: MetricsSourceContract,
        PluginKind.SCHEDULER: SchedulerContract,
        PluginKind.REPLICA_AUTOSCALER: ReplicaAutoscalerContract,
        PluginKind.MODEL_LOADER: ModelLoaderContract,
        PluginKind.METRICS_PROVIDER: MetricsProviderContract,
        PluginKind.GUARDRAIL: GuardrailContract,
    }
)
"""The kits that run without pytest."""

BY_PYTEST: Final[Mapping[PluginKind, str]] = MappingProxyType(
    {
        PluginKind.PROVIDER: "ProviderContract",
        PluginKind.NOTIFIER: "NotifierContract",
    }
)
"""Kits of kinds whose far end must be there: they are run by pytest alone."""
