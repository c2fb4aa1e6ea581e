"""Navarch keeps GPU capacity right-sized, healthy and useful, across clouds.

What is listed in `__all__` is the public surface. Each name is imported when it is first asked
for, so that ``import navarch`` costs next to nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from navarch.controlplane.clock import Clock, FakeClock, RealClock
    from navarch.controlplane.control_plane import ControlPlane, ServerConfig
    from navarch.core.model.pool import Disruption, PoolSpec
    from navarch.core.settings import Settings
    from navarch.errors import (
        ConfigError,
        JournalError,
        NavarchError,
        PluginError,
        ProviderError,
        WireError,
    )
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
    "Clock",
    "ConfigError",
    "ControlPlane",
    "Disruption",
    "FakeClock",
    "History",
    "Instance",
    "InstanceStatus",
    "InstanceType",
    "InstanceTypeLister",
    "Journal",
    "JournalError",
    "MemoryStore",
    "NavarchError",
    "PluginError",
    "PoolSpec",
    "Provider",
    "ProviderError",
    "ProviderFacts",
    "ProvisionRequest",
    "RealClock",
    "ServerConfig",
    "Settings",
    "WireError",
    "__version__",
]

_HOMES = {
    "navarch.controlplane.clock": ("Clock", "FakeClock", "RealClock"),
    "navarch.controlplane.control_plane": ("ControlPlane", "ServerConfig"),
    "navarch.core.model.pool": ("Disruption", "PoolSpec"),
    "navarch.core.settings": ("Settings",),
    "navarch.errors": (
        "ConfigError",
        "JournalError",
        "NavarchError",
        "PluginError",
        "ProviderError",
        "WireError",
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
    "navarch.stores.base": ("History", "Journal"),
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
