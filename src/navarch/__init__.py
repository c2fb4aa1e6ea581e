"""Navarch keeps GPU capacity right-sized, healthy and useful, across clouds.

What is listed in `__all__` is the public surface. Each name is imported when it is first asked
for, so that ``import navarch`` costs next to nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from navarch.controlplane.clock import Clock, FakeClock, RealClock
    from navarch.controlplane.control_plane import ControlPlane
    from navarch.controlplane.demand import StoreMetricsSource
    from navarch.controlplane.instance_manager import InstanceManager, NodeHealthObserver
    from navarch.controlplane.pool import Pool, PoolConfig, PoolNode, ProviderConfig
    from navarch.controlplane.pool_manager import PoolManager
    from navarch.controlplane.server_config import ServerConfig
    from navarch.core.model.offer import Offer
    from navarch.core.model.pool import Disruption, PoolSpec
    from navarch.core.model.report import CheckResult, Health, HealthEvent
    from navarch.core.scaling.base import (
        Autoscaler,
        PoolMetrics,
        PoolState,
        Quality,
        Reading,
        ScaleRecommendation,
    )
    from navarch.core.scaling.composite import CompositeAutoscaler
    from navarch.core.scaling.predictive import PredictiveAutoscaler
    from navarch.core.scaling.queue_based import QueueBasedAutoscaler
    from navarch.core.scaling.reactive import ReactiveAutoscaler
    from navarch.core.scaling.scheduled import ScheduledAutoscaler, ScheduleEntry
    from navarch.core.selection.base import Market, Ranker
    from navarch.core.settings import Settings
    from navarch.errors import (
        ConfigError,
        JournalError,
        NavarchError,
        PartialScaleUp,
        PluginError,
        ProviderError,
        WireError,
    )
    from navarch.metrics.base import MetricsSource
    from navarch.metrics.kubernetes import KubernetesMetricsSource
    from navarch.metrics.merged import MergedMetricsSource
    from navarch.metrics.prometheus import PrometheusMetricsSource
    from navarch.metrics.slurm import SlurmMetricsSource
    from navarch.notifiers.base import Notifier
    from navarch.policy import HealthPolicy, Verdict
    from navarch.providers.base import (
        Instance,
        InstanceStatus,
        InstanceType,
        InstanceTypeLister,
        Provider,
        ProviderFacts,
        ProvisionRequest,
    )
    from navarch.stores.base import History, Journal
    from navarch.stores.memory import MemoryStore
    from navarch.version import VERSION as __version__  # noqa: N811 - the name Python expects

__all__ = [
    "Autoscaler",
    "CheckResult",
    "Clock",
    "CompositeAutoscaler",
    "ConfigError",
    "ControlPlane",
    "Disruption",
    "FakeClock",
    "Health",
    "HealthEvent",
    "HealthPolicy",
    "History",
    "Instance",
    "InstanceManager",
    "InstanceStatus",
    "InstanceType",
    "InstanceTypeLister",
    "Journal",
    "JournalError",
    "KubernetesMetricsSource",
    "Market",
    "MemoryStore",
    "MergedMetricsSource",
    "MetricsSource",
    "NavarchError",
    "NodeHealthObserver",
    "Notifier",
    "Offer",
    "PartialScaleUp",
    "PluginError",
    "Pool",
    "PoolConfig",
    "PoolManager",
    "PoolMetrics",
    "PoolNode",
    "PoolSpec",
    "PoolState",
    "PredictiveAutoscaler",
    "PrometheusMetricsSource",
    "Provider",
    "ProviderConfig",
    "ProviderError",
    "ProviderFacts",
    "ProvisionRequest",
    "Quality",
    "QueueBasedAutoscaler",
    "Ranker",
    "ReactiveAutoscaler",
    "Reading",
    "RealClock",
    "ScaleRecommendation",
    "ScheduleEntry",
    "ScheduledAutoscaler",
    "ServerConfig",
    "Settings",
    "SlurmMetricsSource",
    "StoreMetricsSource",
    "Verdict",
    "WireError",
    "__version__",
]

_HOMES = {
    "navarch.controlplane.clock": (
        "Clock",
        "FakeClock",
        "RealClock",
    ),
    "navarch.controlplane.control_plane": ("ControlPlane",),
    "navarch.controlplane.demand": ("StoreMetricsSource",),
    "navarch.controlplane.instance_manager": (
        "InstanceManager",
        "NodeHealthObserver",
    ),
    "navarch.controlplane.pool": (
        "Pool",
        "PoolConfig",
        "PoolNode",
        "ProviderConfig",
    ),
    "navarch.controlplane.pool_manager": ("PoolManager",),
    "navarch.controlplane.server_config": ("ServerConfig",),
    "navarch.core.model.offer": ("Offer",),
    "navarch.core.model.report": (
        "CheckResult",
        "Health",
        "HealthEvent",
    ),
    "navarch.core.model.pool": (
        "Disruption",
        "PoolSpec",
    ),
    "navarch.core.scaling.base": (
        "Autoscaler",
        "PoolMetrics",
        "PoolState",
        "Quality",
        "Reading",
        "ScaleRecommendation",
    ),
    "navarch.core.scaling.composite": ("CompositeAutoscaler",),
    "navarch.core.scaling.predictive": ("PredictiveAutoscaler",),
    "navarch.core.scaling.queue_based": ("QueueBasedAutoscaler",),
    "navarch.core.scaling.reactive": ("ReactiveAutoscaler",),
    "navarch.core.scaling.scheduled": (
        "ScheduleEntry",
        "ScheduledAutoscaler",
    ),
    "navarch.core.selection.base": (
        "Market",
        "Ranker",
    ),
    "navarch.core.settings": ("Settings",),
    "navarch.errors": (
        "ConfigError",
        "JournalError",
        "NavarchError",
        "PartialScaleUp",
        "PluginError",
        "ProviderError",
        "WireError",
    ),
    "navarch.metrics.base": ("MetricsSource",),
    "navarch.metrics.kubernetes": ("KubernetesMetricsSource",),
    "navarch.metrics.merged": ("MergedMetricsSource",),
    "navarch.metrics.prometheus": ("PrometheusMetricsSource",),
    "navarch.metrics.slurm": ("SlurmMetricsSource",),
    "navarch.notifiers.base": ("Notifier",),
    "navarch.policy": (
        "HealthPolicy",
        "Verdict",
    ),
    "navarch.providers.base": (
        "Instance",
        "InstanceStatus",
        "InstanceType",
        "InstanceTypeLister",
        "Provider",
        "ProviderFacts",
        "ProvisionRequest",
    ),
    "navarch.stores.base": (
        "History",
        "Journal",
    ),
    "navarch.stores.memory": ("MemoryStore",),
}
_HOME = {name: module for module, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:  # noqa: ANN401 - the type of whatever is asked for
    """Import a public name when it is first used (PEP 562)."""
    if name == "__version__":
        return importlib.import_module("navarch.version").VERSION
    if name not in _HOME:
        raise AttributeError(f"module 'navarch' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    """List the public names, imported or not."""
    return sorted(__all__)
