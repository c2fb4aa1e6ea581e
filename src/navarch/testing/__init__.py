"""What authors of extensions import to test them: contract suites, run by pytest.

A suite is a class of tests. Subclass it in a test file of yours, give it the one fixture that its
docstring names, and your extension is held to what the built-in ones are held to. Whoever tests
what *uses* a notifier finds a workload system in memory here, which is held to it too.

The kits of pure plugins and of the serving plane (`SchedulerContract`, `GuardrailContract`, …) run
without pytest, too: `findings_of` answers with a `Finding` for each check, and `verify` does so in
a process of its own, as ``navarch plugin verify`` does.

Names are imported when they are first asked for: ``navarch plugin verify`` runs where there is no
pytest.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from navarch.notifiers.fake import FakeNotifier, FakeWorkloads, Quirk
    from navarch.testing.autoscaler_contract import AutoscalerContract
    from navarch.testing.findings import Finding, MakePlugin, PluginContract, checked, findings_of
    from navarch.testing.guardrail_contract import GuardrailContract
    from navarch.testing.metrics_provider_contract import MetricsProviderContract
    from navarch.testing.metrics_source_contract import MetricsSourceContract
    from navarch.testing.model_loader_contract import ModelLoaderContract
    from navarch.testing.notifier_contract import NotifierContract
    from navarch.testing.provider_contract import ProviderContract
    from navarch.testing.ranker_contract import RankerContract
    from navarch.testing.replica_autoscaler_contract import ReplicaAutoscalerContract
    from navarch.testing.scheduler_contract import SchedulerContract
    from navarch.testing.verification import Verdict, verify
    from navarch.testing.virtual_time import VirtualClock, VirtualLoop

__all__ = [
    "AutoscalerContract",
    "FakeNotifier",
    "FakeWorkloads",
    "Finding",
    "GuardrailContract",
    "MakePlugin",
    "MetricsProviderContract",
    "MetricsSourceContract",
    "ModelLoaderContract",
    "NotifierContract",
    "PluginContract",
    "ProviderContract",
    "Quirk",
    "RankerContract",
    "ReplicaAutoscalerContract",
    "SchedulerContract",
    "Verdict",
    "VirtualClock",
    "VirtualLoop",
    "checked",
    "findings_of",
    "verify",
]

_HOMES = {
    "navarch.notifiers.fake": ("FakeNotifier", "FakeWorkloads", "Quirk"),
    "navarch.testing.autoscaler_contract": ("AutoscalerContract",),
    "navarch.testing.findings": (
        *("Finding", "MakePlugin", "PluginContract", "checked", "findings_of"),
    ),
    "navarch.testing.guardrail_contract": ("GuardrailContract",),
    "navarch.testing.metrics_provider_contract": ("MetricsProviderContract",),
    "navarch.testing.metrics_source_contract": ("MetricsSourceContract",),
    "navarch.testing.model_loader_contract": ("ModelLoaderContract",),
    "navarch.testing.notifier_contract": ("NotifierContract",),
    "navarch.testing.provider_contract": ("ProviderContract",),
    "navarch.testing.ranker_contract": ("RankerContract",),
    "navarch.testing.replica_autoscaler_contract": ("ReplicaAutoscalerContract",),
    "navarch.testing.scheduler_contract": ("SchedulerContract",),
    "navarch.testing.verification": ("Verdict", "verify"),
    "navarch.testing.virtual_time": ("VirtualClock", "VirtualLoop"),
}
_HOME = {name: module for module, names in _HOMES.items() for name in names}
_ASSERTING = ("navarch.testing.notifier_contract", "navarch.testing.provider_contract")
"""Their failures are explained by pytest, which wants to see them before they are imported."""


def __getattr__(name: str) -> Any:  # noqa: ANN401 - the type of whatever is asked for
    """Import a public name when it is first used (PEP 562)."""
    if name not in _HOME:
        raise AttributeError(f"module 'navarch.testing' has no attribute {name!r}")
    module = _HOME[name]
    if module in _ASSERTING:
        import pytest  # noqa: PLC0415 - only whoever runs these has it

        pytest.register_assert_rewrite(module)
    return getattr(importlib.import_module(module), name)


def __dir__() -> list[str]:
    """List the public names, imported or not."""
    return sorted(__all__)
