"""Plugins: every extension point, and what authors of plugins import.

Names are imported when they are first asked for, so that an agent does not load what only a control
plane needs.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from navarch.core.model.resources import (
        AgentClass,
        AgentPool,
        Model,
        ToolBinding,
    )
    from navarch.core.serving.scaling.proposal import (
        Demand,
        Proposal,
    )
    from navarch.core.serving.scaling.series import (
        Sample,
        Series,
    )
    from navarch.core.serving.scheduling import (
        Batch,
        Running,
        Snapshot,
    )
    from navarch.core.serving.views import (
        Node,
        Placement,
        Pod,
    )
    from navarch.plugins.guardrails import (
        Finding,
        GuardrailEngine,
        ScanContext,
        Vault,
        Vaults,
    )
    from navarch.plugins.loaders.base import (
        Manifest,
        ModelFile,
        ModelSource,
        staging_folder,
    )
    from navarch.plugins.loaders.cache import (
        ModelCache,
    )
    from navarch.plugins.protocols import (
        AutoscalerPlugin,
        GuardrailPlugin,
        GuardrailRequest,
        GuardrailResult,
        MetricsProviderPlugin,
        ModelLoaderPlugin,
        PluginKind,
        SchedulerPlugin,
    )
    from navarch.plugins.registering import (
        autoscaler,
        guardrail,
        metrics_provider,
        model_loader,
        register,
        register_autoscaler,
        register_guardrail,
        register_health_observer,
        register_metrics_provider,
        register_metrics_source,
        register_model_loader,
        register_notifier,
        register_pool_autoscaler,
        register_provider,
        register_ranker,
        register_scheduler,
        scheduler,
    )
    from navarch.plugins.registry import (
        Registry,
        get_global_registry,
    )
    from navarch.plugins.scheduling import (
        Scheduler,
    )
    from navarch.plugins.scheduling_kubernetes import (
        node_from_kubernetes,
    )
    from navarch.plugins.signals import (
        GatewayMetricsProvider,
        ProviderChain,
        PushedSample,
    )

__all__ = [
    "AgentClass",
    "AgentPool",
    "AutoscalerPlugin",
    "Batch",
    "Demand",
    "Finding",
    "GatewayMetricsProvider",
    "GuardrailEngine",
    "GuardrailPlugin",
    "GuardrailRequest",
    "GuardrailResult",
    "Manifest",
    "MetricsProviderPlugin",
    "Model",
    "ModelCache",
    "ModelFile",
    "ModelLoaderPlugin",
    "ModelSource",
    "Node",
    "Placement",
    "PluginKind",
    "Pod",
    "Proposal",
    "ProviderChain",
    "PushedSample",
    "Registry",
    "Running",
    "Sample",
    "ScanContext",
    "Scheduler",
    "SchedulerPlugin",
    "Series",
    "Snapshot",
    "ToolBinding",
    "Vault",
    "Vaults",
    "autoscaler",
    "get_global_registry",
    "guardrail",
    "metrics_provider",
    "model_loader",
    "node_from_kubernetes",
    "register",
    "register_autoscaler",
    "register_guardrail",
    "register_health_observer",
    "register_metrics_provider",
    "register_metrics_source",
    "register_model_loader",
    "register_notifier",
    "register_pool_autoscaler",
    "register_provider",
    "register_ranker",
    "register_scheduler",
    "scheduler",
    "staging_folder",
]

_HOMES = {
    "navarch.core.model.resources": ("AgentClass", "AgentPool", "Model", "ToolBinding"),
    "navarch.core.serving.scaling.proposal": ("Demand", "Proposal"),
    "navarch.core.serving.scaling.series": ("Sample", "Series"),
    "navarch.core.serving.scheduling": ("Batch", "Running", "Snapshot"),
    "navarch.core.serving.views": ("Node", "Placement", "Pod"),
    "navarch.plugins.loaders.base": ("Manifest", "ModelFile", "ModelSource", "staging_folder"),
    "navarch.plugins.loaders.cache": ("ModelCache",),
    "navarch.plugins.guardrails": (
        "Finding",
        "GuardrailEngine",
        "ScanContext",
        "Vault",
        "Vaults",
    ),
    "navarch.plugins.protocols": (
        "AutoscalerPlugin",
        "GuardrailPlugin",
        "GuardrailRequest",
        "GuardrailResult",
        "MetricsProviderPlugin",
        "ModelLoaderPlugin",
        "PluginKind",
        "SchedulerPlugin",
    ),
    "navarch.plugins.registering": (
        "autoscaler",
        "guardrail",
        "metrics_provider",
        "model_loader",
        "register",
        "register_autoscaler",
        "register_guardrail",
        "register_health_observer",
        "register_metrics_provider",
        "register_metrics_source",
        "register_model_loader",
        "register_notifier",
        "register_pool_autoscaler",
        "register_provider",
        "register_ranker",
        "register_scheduler",
        "scheduler",
    ),
    "navarch.plugins.registry": ("Registry", "get_global_registry"),
    "navarch.plugins.scheduling": ("Scheduler",),
    "navarch.plugins.scheduling_kubernetes": ("node_from_kubernetes",),
    "navarch.plugins.signals": ("GatewayMetricsProvider", "ProviderChain", "PushedSample"),
}
_HOME = {name: module for module, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:  # noqa: ANN401 - the type of whatever is asked for
    """Import a public name when it is first used (PEP 562)."""
    if name not in _HOME:
        raise AttributeError(f"module 'navarch.plugins' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    """List the public names, imported or not."""
    return sorted(__all__)
