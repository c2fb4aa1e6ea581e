"""What a plugin of each kind must have: its methods, how they are called, where it is found.

The one list of extension points. `navarch.plugins.checks` holds plugins against it when they are
registered, `navarch plugin list` prints it, and the documentation's table is compared with it.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

from msgspec import Struct

from navarch.errors import PluginError
from navarch.plugins.protocols import PluginKind


class Calling(StrEnum):
    """How a method is to be written."""

    PLAIN = "plain"
    """``def``: it answers at once."""
    ASYNC = "async"
    """``async def``."""
    EITHER = "either"


class Method(Struct, frozen=True):
    """A method that plugins of a kind have."""

    name: str
    arguments: tuple[str, ...] = ()
    """What it is called with, by position."""
    keywords: tuple[str, ...] = ()
    """What it is called with by name."""
    calling: Calling = Calling.PLAIN
    unless: str = ""
    """The method of the kind's richer form that makes this one unnecessary; empty: none."""

    def __str__(self) -> str:
        """Write it as its author would."""
        word = "async def" if self.calling is Calling.ASYNC else "def"
        named = ("*", *self.keywords) if self.keywords else ()
        return f"{word} {self.name}({', '.join(('self', *self.arguments, *named))})"


class KindSpec(Struct, frozen=True):
    """One extension point."""

    kind: PluginKind
    noun: str
    """What one is called in messages."""
    group: str
    """The group of its entry points."""
    methods: tuple[Method, ...]
    texts: tuple[str, ...] = ()
    """Attributes besides ``name`` that are a text which is not empty."""
    lists: tuple[str, ...] = ()
    """Attributes that are a list of texts."""
    has_priority: bool = False
    """Whether plugins say how early they are asked themselves."""
    on_error: tuple[str, ...] = ()
    """What may become of a call that fails, the default first."""
    key: str = ""
    """Its key under ``plugins`` in the configuration; empty: it is configured elsewhere."""
    summary: str = ""
    """What one of it does."""


_ASYNC, _EITHER = Calling.ASYNC, Calling.EITHER

_SPECS = (
    KindSpec(
        PluginKind.PROVIDER,
        "provider",
        "navarch.providers",
        (
            Method("provision", ("request",), calling=_ASYNC),
            Method("terminate", ("instance_id",), calling=_ASYNC),
            Method("list", calling=_ASYNC),
        ),
        summary="sells machines",
    ),
    KindSpec(
        PluginKind.AUTOSCALER,
        "autoscaler",
        "navarch.autoscalers",
        (Method("recommend", ("state",), calling=_EITHER),),
        summary="says how many nodes a pool should have",
    ),
    KindSpec(
        PluginKind.RANKER,
        "ranker",
        "navarch.rankers",
        (Method("rank", ("offers", "market")), Method("because", ("offer", "market"))),
        summary="puts offers in the order in which they are asked",
    ),
    KindSpec(
        PluginKind.METRICS_SOURCE,
        "metrics source",
        "navarch.metrics_sources",
        (Method("get_pool_metrics", ("pool_name",), calling=_ASYNC),),
        summary="knows the demand on pools of nodes",
    ),
    KindSpec(
        PluginKind.HEALTH_OBSERVER,
        "health observer",
        "navarch.health_observers",
        (Method("on_node_unhealthy", ("node_id",), calling=_EITHER),),
        summary="hears of nodes that fall ill",
    ),
    KindSpec(
        PluginKind.NOTIFIER,
        "notifier",
        "navarch.notifiers",
        (
            Method("cordon", ("node", "reason"), ("intent",), _ASYNC),
            Method("uncordon", ("node", "reason"), ("intent",), _ASYNC),
            Method("drain", ("node", "reason", "deadline"), ("intent",), _ASYNC),
            Method("drained", ("node",), calling=_ASYNC),
            Method("close", calling=_ASYNC),
        ),
        summary="tells workload systems of cordons and drains",
    ),
    KindSpec(
        PluginKind.SCHEDULER,
        "scheduler",
        "navarch.schedulers",
        (
            Method("filter", ("pod", "node", "pool"), unless="mask"),
            Method("score", ("pod", "node", "pool"), unless="mask"),
        ),
        has_priority=True,
        on_error=("fail_closed", "fail_open", "neutral"),
        key="scheduler-plugins",
        summary="chooses nodes for replicas",
    ),
    KindSpec(
        PluginKind.REPLICA_AUTOSCALER,
        "replica autoscaler",
        "navarch.replica_autoscalers",
        (Method("calculate_replicas", ("pool", "current_metrics"), unless="propose"),),
        lists=("metric_names",),
        has_priority=True,
        on_error=("hold", "neutral"),
        key="autoscaler-plugins",
        summary="says how many replicas a pool of agents should have",
    ),
    KindSpec(
        PluginKind.MODEL_LOADER,
        "model loader",
        "navarch.model_loaders",
        (
            Method("can_load", ("model",), unless="cost"),
            Method("load", ("model", "node"), calling=_ASYNC, unless="resolve"),
            Method("unload", ("model", "node"), calling=_ASYNC, unless="resolve"),
        ),
        has_priority=True,
        on_error=("neutral", "fail_closed"),
        key="model-loader-plugins",
        summary="brings weights to a node",
    ),
    KindSpec(
        PluginKind.METRICS_PROVIDER,
        "metrics provider",
        "navarch.metrics_providers",
        (
            Method("get_metric", ("pool", "metric_type"), calling=_ASYNC),
            Method("list_metrics"),
        ),
        on_error=("neutral", "hold"),
        key="metrics-provider-plugins",
        summary="reads the load on a pool of agents",
    ),
    KindSpec(
        PluginKind.GUARDRAIL,
        "guardrail",
        "navarch.guardrails",
        (Method("check", ("request",), calling=_ASYNC, unless="scan"),),
        texts=("type",),
        on_error=("fail_closed", "fail_open"),
        key="guardrail-plugins",
        summary="looks for what must not pass",
    ),
)

KINDS: Final[Mapping[PluginKind, KindSpec]] = {spec.kind: spec for spec in _SPECS}
"""Every extension point, in the order in which they are listed."""

SERVING: Final = tuple(spec.kind for spec in _SPECS if spec.key)
"""The kinds of the serving plane: those that ``plugins`` of the configuration names."""

_POOL_AUTOSCALER: Final = "pool-autoscaler"


def word_of(kind: PluginKind) -> str:
    """The word by which operators name a kind, in commands and paths.

    To them ``autoscaler`` is short for the one of replicas, as plugins' authors write it, so that
    the one of pools of machines is told as ``pool-autoscaler``.
    """
    return _POOL_AUTOSCALER if kind is PluginKind.AUTOSCALER else kind.value


def kind_of(word: str) -> PluginKind:
    """Find the kind that an operator names: ``model-loader``, ``model_loader``, ``model-loaders``.

    Raises `PluginError` that lists them.
    """
    told = word.strip().lower().replace("_", "-").removesuffix("s").removesuffix("-plugin")
    if told == PluginKind.AUTOSCALER:
        return PluginKind.REPLICA_AUTOSCALER
    for kind in PluginKind:
        if told == word_of(kind):
            return kind
    words = ", ".join(map(word_of, PluginKind))
    raise PluginError(f"no such kind of plugin: {word[:100]!r}; there are: {words}")
