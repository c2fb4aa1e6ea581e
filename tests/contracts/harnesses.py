"""Every provider with the classes that hold it to the contract, for whoever wants to see them all.

Providers of this repository's own stand in ``test_provider_contract.py``; a cloud's classes are in
``tests/providers/<module of the provider>/test_*contract*.py``, and are found there. What a class
cannot show is read from its hooks (`ProviderHarness.why_not`), so that a "yes" here is a test that
the class runs.
"""

from __future__ import annotations

import importlib
import inspect
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Final

from navarch.testing import ProviderContract

TESTS: Final = Path(__file__).resolve().parent.parent

CLOUDS: Final = {
    "lambda_labs": "Lambda",
    "runpod": "RunPod",
    "gcp": "Google Cloud",
    "aws": "AWS",
    "ssh": "SSH",
    "docker": "Docker",
}
"""The provider's module in `navarch.providers`, and folder in ``tests/providers``; its title."""

OWN: Final = {"process": ("Process", "TestProcess"), "fake": ("Fake", "TestFake")}
"""The provider's module; its title, and how its classes in ``test_provider_contract.py`` begin."""

OPTIONAL: Final = {
    "test_close_may_be_repeated": ("close", "it has nothing to close"),
    "test_a_price_list_names_each_type_once": ("list_instance_types", "it has no price list"),
}
"""Tests of methods that a provider need not have: the method, and what is said without it."""


@dataclass(frozen=True)
class Column:
    """One provider."""

    title: str
    provider: type
    harnesses: tuple[type[ProviderContract], ...]
    """Not empty. A test holds if one of them runs it."""

    def why_not(self, test: str) -> str:
        """Tell why no class runs this test of the suite; empty: one does."""
        method, reason = OPTIONAL.get(test, ("", ""))
        if method and not hasattr(self.provider, method):
            return f"not applicable: {reason}"
        against = [each.why_not(test) for each in self.harnesses]
        return "" if "" in against else against[0]


def columns() -> list[Column]:
    """Gather the providers that exist, clouds first. Imports their tests, and starts nothing."""
    found = [Column(title, *parts) for name, title in CLOUDS.items() if (parts := _cloud(name))]
    own = importlib.import_module("contracts.test_provider_contract")
    for name, (title, prefix) in OWN.items():
        classes = tuple(each for each in classes_of(own) if each.__name__.startswith(prefix))
        found.append(Column(title, _provider(name), classes))
    return found


def classes_of(module: ModuleType) -> list[type[ProviderContract]]:
    """Return the test classes that the module itself defines, in its order."""
    return [
        each
        for each in vars(module).values()
        if inspect.isclass(each)
        and issubclass(each, ProviderContract)
        and each.__module__ == module.__name__
        and each.__name__.startswith("Test")
    ]


def _cloud(name: str) -> tuple[type, tuple[type[ProviderContract], ...]] | None:
    """Find a cloud's provider and its classes; None if there are none yet."""
    classes: list[type[ProviderContract]] = []
    for path in sorted((TESTS / "providers" / name).glob("test_*contract*.py")):
        classes += classes_of(importlib.import_module(f"providers.{name}.{path.stem}"))
    return (_provider(name), tuple(classes)) if classes else None


def _provider(name: str) -> type:
    """Find the provider's class: the one whose name ends so, with the protocol's methods."""
    module = importlib.import_module(f"navarch.providers.{name}")
    (found,) = {
        each
        for title, each in vars(module).items()
        if title.endswith("Provider") and title != "Provider" and inspect.isclass(each)
    }
    return found
