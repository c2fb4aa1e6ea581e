"""Registration by a call or a decorator: one function for each kind.

::

    @register_scheduler(priority=200)
    class PreferSsd:
        name = "prefer-ssd"
        ...

    register_guardrail(Toxicity(threshold=0.8))

Each of them takes an object or a class into the registry of the process, and returns what it was
given. A class that needs to be configured waits for the configuration.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar, overload

from navarch.plugins.protocols import PluginKind
from navarch.plugins.registry import get_global_registry

_T = TypeVar("_T")


class Registration:
    """Registers plugins of one kind; usable as a function and as a decorator."""

    def __init__(self, kind: PluginKind) -> None:
        """Register plugins of this kind."""
        self.kind = kind

    @overload
    def __call__(
        self,
        plugin: _T,
        *,
        priority: int | None = None,
        config: Mapping[str, object] | None = None,
        replace: bool = False,
    ) -> _T: ...

    @overload
    def __call__(
        self,
        plugin: None = None,
        *,
        priority: int | None = None,
        config: Mapping[str, object] | None = None,
        replace: bool = False,
    ) -> Callable[[_T], _T]: ...

    def __call__(
        self,
        plugin: _T | None = None,
        *,
        priority: int | None = None,
        config: Mapping[str, object] | None = None,
        replace: bool = False,
    ) -> _T | Callable[[_T], _T]:
        """Register an object or a class, or return a decorator that does.

        `priority` counts instead of the plugin's own, `config` is what a class is made with, and
        `replace` lets it take the place of one with the same name. Raises `PluginError` when it
        does not fit.
        """

        def enter(given: _T) -> _T:
            get_global_registry().register(
                self.kind, given, priority=priority, config=config, replace=replace
            )
            return given

        return enter if plugin is None else enter(plugin)


def register(
    kind: PluginKind,
    plugin: _T,
    *,
    priority: int | None = None,
    config: Mapping[str, object] | None = None,
    replace: bool = False,
) -> _T:
    """Register a plugin of any kind.

    Raises `PluginError` when it does not fit.
    """
    return Registration(kind)(plugin, priority=priority, config=config, replace=replace)


register_provider = Registration(PluginKind.PROVIDER)
register_pool_autoscaler = Registration(PluginKind.AUTOSCALER)
"""Of pools of nodes; `register_autoscaler` is that of replicas."""
register_ranker = Registration(PluginKind.RANKER)
register_metrics_source = Registration(PluginKind.METRICS_SOURCE)
register_health_observer = Registration(PluginKind.HEALTH_OBSERVER)
register_notifier = Registration(PluginKind.NOTIFIER)
register_scheduler = scheduler = Registration(PluginKind.SCHEDULER)
register_autoscaler = autoscaler = Registration(PluginKind.REPLICA_AUTOSCALER)
register_model_loader = model_loader = Registration(PluginKind.MODEL_LOADER)
register_metrics_provider = metrics_provider = Registration(PluginKind.METRICS_PROVIDER)
register_guardrail = guardrail = Registration(PluginKind.GUARDRAIL)
