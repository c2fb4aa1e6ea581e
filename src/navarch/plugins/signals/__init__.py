"""Metrics providers of pools of agents, and the chain that asks them.

Built in: ``gateway`` (what is pushed), ``store`` (the GPUs' load by heartbeats), ``prometheus`` and
``static``. The signals themselves are in `navarch.core.serving.scaling.signals`.
"""

from __future__ import annotations

from typing import Final

from navarch.plugins.signals.chain import ProviderChain
from navarch.plugins.signals.gateway import GatewayMetricsProvider, Pushed, PushedSample
from navarch.plugins.signals.prometheus import PrometheusMetricsProvider
from navarch.plugins.signals.static import StaticMetricsProvider
from navarch.plugins.signals.store import StoreMetricsProvider, gpu_load

__all__ = [
    "BUILT_IN",
    "GatewayMetricsProvider",
    "PrometheusMetricsProvider",
    "ProviderChain",
    "Pushed",
    "PushedSample",
    "StaticMetricsProvider",
    "StoreMetricsProvider",
    "gpu_load",
]

BUILT_IN: Final = (
    GatewayMetricsProvider,
    StoreMetricsProvider,
    PrometheusMetricsProvider,
    StaticMetricsProvider,
)
"""Every built-in metrics provider. ``store`` needs the control plane's own reading and
``prometheus`` an address, so these two are not made without."""
