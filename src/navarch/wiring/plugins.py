"""Classes that a configuration names: of the registry, of an installed package, or by their place.

Those of pools of machines (autoscalers, rankers, metrics sources, providers, notifiers) are made
anew for everybody who names one, with the configuration that stands there. A name is looked up
among the plugins that were registered, then among the entry points of its kind;
``package.module:Class`` is imported as it stands.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from navarch.errors import PluginError
from navarch.plugins import checks, loading
from navarch.plugins import config as from_config
from navarch.plugins.kinds import KINDS
from navarch.plugins.loading import Wanted as Kind
from navarch.plugins.protocols import PluginKind
from navarch.plugins.registry import get_global_registry

if TYPE_CHECKING:
    from navarch.config.schema import Config
    from navarch.plugins.config import Prepared

__all__ = ["Kind", "hold", "kind", "make", "prepare"]


def kind(of: PluginKind) -> Kind:
    """What plugins of an extension point are called, where they are found and what they have."""
    spec = KINDS[of]
    return Kind(spec.noun, spec.group, tuple(method.name for method in spec.methods))


# The kind says which protocol it is; which one that is, only the caller's annotation can tell.
def make(kind: Kind, use: str, config: Mapping[str, object] | None = None) -> Any:  # noqa: ANN401
    """Find a class and make one of it, with `config` as keyword arguments.

    Raises `PluginError` that names the plugin, what is wrong and what was expected.
    """
    found = _registered(kind, use) or loading.locate(kind, use)
    if not isinstance(found, type):
        if config:
            message = "was registered as an object, which cannot be given a config"
            raise PluginError(f"{kind.noun} {use}: {message}")
        return found
    made = loading.construct(kind.noun, use, found, config)
    spec = next((each for each in KINDS.values() if each.group == kind.group), None)
    if spec is not None:
        try:
            checks.check(spec.kind, made)
        except PluginError as error:
            told = str(error).partition(": ")[2]
            raise PluginError(f"{kind.noun} {use}: {told}") from error
    return made


def prepare(config: Config | None) -> Prepared | None:
    """Make the plugins that a configuration names; None without a configuration.

    Raises `ConfigError` with the place of the first one that does not fit.
    """
    if config is None:
        return None
    said = from_config.written(config.plugins, config.file, config.lines)
    return from_config.prepare(said, get_global_registry())


def hold(prepared: Prepared | None) -> tuple[str, ...]:
    """Use them from now on; return which are used otherwise than before."""
    return () if prepared is None else from_config.hold(prepared, get_global_registry())


def _registered(kind: Kind, use: str) -> object | None:
    """What code has registered under this name: its class, else the object itself."""
    for spec in KINDS.values():
        if spec.group == kind.group and ":" not in use:
            entry = get_global_registry().find(spec.kind, use)
            return None if entry is None else entry.factory or entry.plugin
    return None
