"""What the registry of a process begins with: our own plugins, and those of installed packages.

Ours come through the same door as everybody's. A module of this package exports them as
``BUILT_IN``, a tuple of classes; it is imported when its kind is first asked for.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from typing import Final

from navarch.errors import PluginError
from navarch.plugins import loading
from navarch.plugins.candidates import BUILT_IN, Candidate
from navarch.plugins.kinds import KINDS, SERVING
from navarch.plugins.protocols import PluginKind

HOMES: Final[Mapping[PluginKind, str]] = {
    PluginKind.SCHEDULER: "navarch.plugins.scheduling",
    PluginKind.REPLICA_AUTOSCALER: "navarch.plugins.scaling",
    PluginKind.MODEL_LOADER: "navarch.plugins.loaders",
    PluginKind.METRICS_PROVIDER: "navarch.plugins.signals",
    PluginKind.GUARDRAIL: "navarch.plugins.guardrails",
}
"""The module whose ``BUILT_IN`` are the plugins of a kind."""


def candidates(kind: PluginKind) -> Iterator[Candidate]:
    """Name the plugins that there are before anybody registers one.

    An installed package's plugin that cannot be had is named with the reason: it must not keep the
    others from working.
    """
    home = HOMES.get(kind)
    if home is not None and find_spec(home) is not None:
        for factory in importlib.import_module(home).BUILT_IN:
            yield Candidate(factory, BUILT_IN)
    if kind not in SERVING and kind is not PluginKind.HEALTH_OBSERVER:
        return  # those are made for whoever names one in the configuration
    spec = KINDS[kind]
    wanted = loading.Wanted(spec.noun, spec.group, ())
    for point in loading.entry_points(spec.group):
        origin = point.package or point.value
        try:
            found = loading.locate(wanted, point.name)
        except PluginError as error:
            yield Candidate(None, origin, point.name, str(error))
        else:
            yield Candidate(found, origin, point.name)
