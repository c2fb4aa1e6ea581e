"""What a registry holds of a plugin, and what a configuration may say of one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Final

from msgspec import Struct

from navarch.plugins import checks
from navarch.plugins.protocols import PluginKind

REGISTERED: Final = "registered"
"""What `Entry.origin` says of a plugin that code has registered."""


class Entry(Struct, frozen=True, kw_only=True):
    """A plugin in the registry."""

    kind: PluginKind
    name: str
    plugin: object | None
    """None: it cannot be asked; `broken` says why."""
    priority: int = 0
    enabled: bool = True
    shadow: bool = False
    """Whether it is asked without effect."""
    origin: str = REGISTERED
    """Who brought it: ``built-in``, ``registered``, a package or an import path."""
    because: str = ""
    """Why an operator changed it at run time; empty: nobody did."""
    broken: str = ""
    """Why it cannot be asked; empty: it can."""
    factory: Callable[..., object] | None = None
    """What makes it; None: it was registered as an object, and cannot be configured."""
    config: Mapping[str, object] = {}
    on_error: str = ""
    """What becomes of a call that fails; empty: as its kind has it."""
    deadline: timedelta | None = None
    """How long a call may take; None: as its kind has it."""
    rank: int = 0
    """Its place in the configured order, among those of equal priority."""
    configured: bool = False
    """Whether the configuration names it."""

    @property
    def version(self) -> str:
        """The version that it names; empty where it names none."""
        return checks.version_of(self.plugin or self.factory)

    @property
    def summary(self) -> str:
        """The first line of what it says of itself."""
        about = self.factory if isinstance(self.factory, type) else self.plugin
        return "" if about is None else checks.summary_of(about)


class Configured(Struct, frozen=True, kw_only=True):
    """What a configuration says of one plugin."""

    config: Mapping[str, object] = {}
    enabled: bool = True
    priority: int | None = None
    """None: its own."""
    shadow: bool = False
    on_error: str = ""
    deadline: timedelta | None = None
    rank: int = 0
    """Its place in the list."""
