"""Which plugin does which check of an agent class, and with what configuration."""

from __future__ import annotations

import math
from datetime import timedelta
from typing import Any, Final

from msgspec import Struct
from msgspec.structs import replace

from navarch.core.model.resources import AgentClass, GuardrailSpec
from navarch.errors import ConfigError, PluginError
from navarch.plugins import loading
from navarch.plugins.guardrails.contract import GRAVITY, Registered, Scanner
from navarch.plugins.protocols import PluginKind
from navarch.plugins.terms import Terms, TermsOf, unsaid
from navarch.telemetry.log import Log

log = Log(__name__)

_ACTIONS: Final = frozenset(GRAVITY) - {"allow"}


class Binding(Struct, frozen=True):
    """One check of an agent class."""

    spec: GuardrailSpec
    """What the class asks for, with what the plugin's terms add to it."""
    plugin: Any
    name: str
    """The plugin's."""
    scanner: Scanner | None
    """The plugin in its rich form; None where it has only the documents' form."""

    @property
    def span_max(self) -> int | None:
        """The longest span; None where the whole text is needed."""
        return None if self.scanner is None else self.scanner.span_max

    @property
    def look_behind(self) -> int:
        """Characters before a span that matter; at least one, since begins do."""
        return max(int(getattr(self.plugin, "look_behind", 0)), 1)

    @property
    def look_ahead(self) -> int:
        """Characters behind a span that matter; at least one, since ends do."""
        return max(int(getattr(self.plugin, "look_ahead", 0)), 1)

    @property
    def is_whole(self) -> bool:
        """Whether it can only look at a whole text."""
        return self.span_max is None

    @property
    def alters(self) -> bool:
        """Whether its findings change what goes out."""
        return self.spec.action in {"block", "redact"}

    @property
    def holds_all(self) -> bool:
        """Whether a stream must wait for it to the end."""
        return self.is_whole and self.alters and not getattr(self.plugin, "late", False)


def bound(agent_class: AgentClass, registry: Registered) -> tuple[Binding, ...]:
    """Find, check and configure the plugins of a class; cheap ones first, else as written.

    :raises ConfigError: a value of the class is out of range, no plugin has the type, or it does
        not understand its configuration
    """
    plugins = [_instance(each) for each in registry.guardrails]
    known_terms = getattr(registry, "terms", None)
    terms: TermsOf = unsaid if known_terms is None else known_terms(PluginKind.GUARDRAIL)
    watched = {each.type for each in _watching(registry)}
    bindings = []
    for place, spec in enumerate(agent_class.spec.guardrails):
        key = f"spec.guardrails[{place}]"
        where = f"AgentClass {agent_class.full_name}"
        _demand_sense(spec, where, key)
        plugin = next((each for each in plugins if each.type == spec.type), None)
        if plugin is None and spec.type in watched:
            continue  # an operator has taken its effect away
        if plugin is None:
            known = ", ".join(sorted({each.type for each in plugins})) or "none"
            raise ConfigError(
                f"no guardrail plugin has the type {spec.type!r}; there are: {known}",
                file=where,
                key=f"{key}.type",
            )
        effective = _agreed(spec, terms(plugin.name))
        bindings.append(_binding(plugin, effective, where, f"{key}.config"))
    return tuple(sorted(bindings, key=_cost))


def bound_in_shadow(agent_class: AgentClass, registry: Registered) -> tuple[Binding, ...]:
    """Do the same for the plugins in shadow; one that does not take a configuration is left out."""
    bindings = []
    where = f"AgentClass {agent_class.full_name}"
    for plugin in _watching(registry):
        for place, spec in enumerate(agent_class.spec.guardrails):
            if spec.type != plugin.type:
                continue
            try:
                effective = _agreed(spec, Terms())
                at = f"spec.guardrails[{place}].config"
                bindings.append(_binding(plugin, effective, where, at))
            except ConfigError as error:
                log.warning(
                    "shadow_not_asked", kind="guardrail", plugin=plugin.name, error=str(error)
                )
    return tuple(bindings)


def _watching(registry: Registered) -> list[Any]:
    """List the guardrails in shadow; a registry of another make has none."""
    shadows = getattr(registry, "shadows", None)
    return [] if shadows is None else [_instance(each) for each in shadows(PluginKind.GUARDRAIL)]


def _binding(plugin: Any, spec: GuardrailSpec, where: str, key: str) -> Binding:  # noqa: ANN401
    if spec.config:
        plugin = _configured(plugin, spec, where, key)
    scanner = plugin if callable(getattr(plugin, "scan", None)) else None
    return Binding(spec, plugin, plugin.name, scanner)


def _agreed(spec: GuardrailSpec, said: Terms) -> GuardrailSpec:
    """Settle what holds: the shorter deadline, and the class's word on failures before others."""
    deadline = spec.deadline if said.deadline is None else min(spec.deadline, said.deadline)
    on_error = spec.on_error or ("open" if said.on_error == "fail_open" else "closed")
    return replace(spec, deadline=deadline, on_error=on_error)


def _cost(binding: Binding) -> tuple[bool, bool]:
    """Order them: those of this process first, and of them those that need not wait."""
    return binding.scanner is None, binding.is_whole


def _demand_sense(spec: GuardrailSpec, where: str, key: str) -> None:
    if spec.action not in _ACTIONS:
        raise ConfigError(
            f"action {spec.action!r}, expected block, redact, warn or log",
            file=where,
            key=f"{key}.action",
        )
    if not (math.isfinite(spec.threshold) and 0 <= spec.threshold <= 1):
        raise ConfigError(
            f"threshold {spec.threshold}, expected 0 to 1", file=where, key=f"{key}.threshold"
        )
    if not timedelta() < spec.deadline <= timedelta(minutes=10):
        raise ConfigError(
            f"deadline {spec.deadline.total_seconds():g} s, expected more than 0 and at most 10m",
            file=where,
            key=f"{key}.deadline",
        )
    if spec.on_error not in {"open", "closed", ""}:
        raise ConfigError(
            f"onError {spec.on_error!r}, expected open or closed", file=where, key=f"{key}.onError"
        )


def _instance(registered: Any) -> Any:  # noqa: ANN401 - whatever somebody has registered
    return registered() if isinstance(registered, type) else registered


def _configured(plugin: Any, spec: GuardrailSpec, where: str, key: str) -> Any:  # noqa: ANN401
    """Make another one of the plugin's type, with this class's configuration."""
    factory = type(plugin)
    try:
        return loading.construct("guardrail", plugin.name, factory, spec.config)
    except PluginError as error:
        raise ConfigError(str(error), file=where, key=key) from error
