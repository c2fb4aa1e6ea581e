"""What may be written under ``plugins``: which plugins are asked, how early, and how they are made.

The same may stand in a file of its own, plain or as a Kubernetes ConfigMap::

    apiVersion: v1
    kind: ConfigMap
    metadata:
      name: plugin-config
    data:
      scheduler-plugins: |
        - name: custom-scheduler
          priority: 200

The values below ``data`` are texts, each of which is the YAML of the key. Mistakes are told with
their line in the file either way.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Final, Literal

import yaml
from msgspec import Struct, field

from navarch.config.key import PLUGIN, Key
from navarch.config.values import INTERVAL, PATH, named

PRIORITY_MAX: Final = 1_000_000
PLUGINS_MAX: Final = 256
"""Plugins of one kind that a configuration may name."""

MODULE = named("the import path of a module", r"[A-Za-z_][A-Za-z0-9_.]{0,253}")


class PluginUse(Struct, frozen=True):
    """One plugin, and how it is used."""

    name: Annotated[
        str, Key("What it is called, or where its class is: package.module:Class.", form=PLUGIN)
    ]
    enabled: Annotated[bool, Key("Whether it is asked.")] = True
    priority: Annotated[
        int | None,
        Key(
            "Higher ones are asked first. Absent: its own.",
            minimum=-PRIORITY_MAX,
            maximum=PRIORITY_MAX,
        ),
    ] = None
    config: Annotated[
        dict[str, Annotated[object, Key("Anything.")]],
        Key("What it is made with, by the names that it gives them."),
    ] = field(default_factory=dict)
    on_error: Annotated[
        Literal["fail_open", "fail_closed", "hold", "neutral"] | None,
        Key("What becomes of a call that fails. Absent: as its kind has it."),
    ] = None
    deadline: Annotated[
        timedelta | None,
        Key("How long a call may take. Absent: as its kind has it.", form=INTERVAL),
    ] = None
    shadow: Annotated[
        bool, Key("Whether it is asked without effect, and held against what counts.")
    ] = False


Uses = tuple[Annotated[PluginUse, Key("One plugin.")], ...]


class Plugins(Struct, frozen=True):
    """Which plugins are used, and how."""

    modules: Annotated[
        tuple[Annotated[str, Key("A module that registers its plugins.", form=MODULE)], ...],
        Key("Modules that are imported first: they register plugins of any kind."),
    ] = ()
    file: Annotated[
        Path | None,
        Key("A file with these keys in their place, plain or a Kubernetes ConfigMap.", form=PATH),
    ] = None
    scheduler_plugins: Annotated[Uses, Key("Who chooses nodes for replicas.")] = field(
        default=(), name="scheduler-plugins"
    )
    autoscaler_plugins: Annotated[Uses, Key("Who says how many replicas there should be.")] = field(
        default=(), name="autoscaler-plugins"
    )
    model_loader_plugins: Annotated[Uses, Key("Who brings weights to nodes.")] = field(
        default=(), name="model-loader-plugins"
    )
    metrics_provider_plugins: Annotated[
        Uses, Key("Who reads the load, in the order of being asked.")
    ] = field(default=(), name="metrics-provider-plugins")
    guardrail_plugins: Annotated[Uses, Key("Who looks for what must not pass.")] = field(
        default=(), name="guardrail-plugins"
    )

    def uses(self) -> Mapping[str, Sequence[PluginUse]]:
        """The plugins by the key under which they are written."""
        return {
            "scheduler-plugins": self.scheduler_plugins,
            "autoscaler-plugins": self.autoscaler_plugins,
            "model-loader-plugins": self.model_loader_plugins,
            "metrics-provider-plugins": self.metrics_provider_plugins,
            "guardrail-plugins": self.guardrail_plugins,
        }


def nodes_of(root: yaml.Node) -> Mapping[str, yaml.Node]:
    """Find the values below ``data`` of a ConfigMap; none where the file is no ConfigMap."""
    top = _entries(root)
    kind, data = top.get("kind"), top.get("data")
    if not isinstance(kind, yaml.ScalarNode) or kind.value != "ConfigMap" or data is None:
        return {}
    return _entries(data)


def _entries(node: yaml.Node) -> dict[str, yaml.Node]:
    if not isinstance(node, yaml.MappingNode):
        return {}
    return {key.value: value for key, value in node.value if isinstance(key, yaml.ScalarNode)}
