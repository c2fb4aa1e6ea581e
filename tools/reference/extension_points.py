"""The page of extension points: what a plugin of each kind is, and what its host does with it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from navarch import plugins
from navarch.controlplane.instance_manager import NodeHealthObserver
from navarch.core.scaling.base import Autoscaler
from navarch.core.selection.base import Ranker
from navarch.core.serving.scaling.proposal import ReplicaAutoscaler
from navarch.core.serving.scheduling.batch import BatchScheduler
from navarch.metrics.base import MetricsSource
from navarch.notifiers.base import Notifier
from navarch.plugins.guardrails.contract import Scanner
from navarch.plugins.kinds import KINDS, KindSpec, word_of
from navarch.plugins.loaders.base import ModelSource
from navarch.plugins.protocols import PluginKind
from navarch.plugins.signals.base import SampleProvider
from navarch.providers.base import (
    AccountExaminer,
    BootstrapLogReader,
    InstanceTypeLister,
    Provider,
)
from navarch.testing.suites import BY_PYTEST, SUITES
from reference.marking import NOTICE, table
from reference.members import chapter

PAGE: Final = "extension-points.md"

PROTOCOLS: Final[Mapping[PluginKind, tuple[type[Any], ...]]] = {
    PluginKind.PROVIDER: (Provider, InstanceTypeLister, BootstrapLogReader, AccountExaminer),
    PluginKind.AUTOSCALER: (Autoscaler,),
    PluginKind.RANKER: (Ranker,),
    PluginKind.METRICS_SOURCE: (MetricsSource,),
    PluginKind.HEALTH_OBSERVER: (NodeHealthObserver,),
    PluginKind.NOTIFIER: (Notifier,),
    PluginKind.SCHEDULER: (plugins.SchedulerPlugin, BatchScheduler),
    PluginKind.REPLICA_AUTOSCALER: (plugins.AutoscalerPlugin, ReplicaAutoscaler),
    PluginKind.MODEL_LOADER: (plugins.ModelLoaderPlugin, ModelSource),
    PluginKind.METRICS_PROVIDER: (plugins.MetricsProviderPlugin, SampleProvider),
    PluginKind.GUARDRAIL: (plugins.GuardrailPlugin, Scanner),
}
"""Of each kind: what it has to be, and after that what it may be besides or instead."""


def page(kinds: Mapping[PluginKind, KindSpec] = KINDS) -> str:
    """Write the page. Raises `KeyError` for a kind that has no protocol here."""
    rows = [
        (f"[{spec.noun}](#{spec.noun.replace(' ', '-')})", f"`{spec.group}`", spec.summary)
        for spec in kinds.values()
    ]
    parts = [
        NOTICE,
        "# Extension points\n",
        (
            "What a plugin of each kind has, as the code states it. How plugins are found,"
            " configured and watched is in [plugins](../plugins.md), how one writes them in the"
            " [plugin guide](../plugin-guide.md).\n"
        ),
        table(("kind", "entry points", "does"), rows),
    ]
    return "\n".join([*parts, *(_chapter(spec) for spec in kinds.values())])


def _chapter(spec: KindSpec) -> str:
    noun = spec.noun[0].upper() + spec.noun[1:]
    facts = [f"`{word_of(spec.kind)}` to `navarch plugin`"]
    if spec.key:
        facts.append(f"`plugins.{spec.key}` in the configuration")
    if suite := _suite(spec.kind):
        facts.append(f"`navarch.testing.{suite}` tries one")
    if spec.on_error:
        facts.append(f"what becomes of a call that fails: {', '.join(map(_code, spec.on_error))}")
    methods = "; ".join(f"`{method}`" for method in spec.methods)
    parts = [
        f"## {noun}\n",
        f"It {spec.summary}. {'; '.join(facts)}.\n".replace(". `", ". Its name is `", 1),
        f"Called as: {methods}.\n",
    ]
    first, *others = PROTOCOLS[spec.kind]
    parts.append(chapter(first.__name__, first))
    parts += [f"Besides or instead it may be:\n\n{chapter(each.__name__, each)}" for each in others]
    return "\n".join(parts)


def _suite(kind: PluginKind) -> str:
    if kind in SUITES:
        return SUITES[kind].__name__
    return BY_PYTEST.get(kind, "")


def _code(word: str) -> str:
    return f"`{word}`"
