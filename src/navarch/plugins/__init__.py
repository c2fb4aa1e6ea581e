"""Plugins: every extension point, and what authors of plugins import.

Names are imported when they are first asked for, so that an agent does not load what only a control
plane needs.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from navarch.core.model.resources import AgentClass, AgentPool, Model, ToolBinding
    from navarch.core.serving.views import Node, Placement, Pod
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

__all__ = [
    "AgentClass",
    "AgentPool",
    "AutoscalerPlugin",
    "GuardrailPlugin",
    "GuardrailRequest",
    "GuardrailResult",
    "MetricsProviderPlugin",
    "Model",
    "ModelLoaderPlugin",
    "Node",
    "Placement",
    "PluginKind",
    "Pod",
    "SchedulerPlugin",
    "ToolBinding",
]

_HOMES = {
    "navarch.core.model.resources": ("AgentClass", "AgentPool", "Model", "ToolBinding"),
    "navarch.core.serving.views": ("Node", "Placement", "Pod"),
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
