"""The page of the public names of Python: what `navarch`, its plugins and its testing export."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Mapping
from typing import Any, Final

from reference.marking import NOTICE
from reference.members import chapter

PAGE: Final = "python.md"

MODULES: Final = ("navarch", "navarch.plugins", "navarch.testing")
"""Whose ``__all__`` is a promise."""


def names(module: str) -> dict[str, Any]:
    """Return the public names of a module with what they stand for, in the order of names."""
    found = importlib.import_module(module)
    return {name: getattr(found, name) for name in sorted(found.__all__) if name != "__version__"}


def page(modules: Mapping[str, Mapping[str, Any]] | None = None) -> str:
    """Write the page."""
    parts = [
        NOTICE,
        "# Python\n",
        (
            "Every public name, with its signature and what its docstring says. What they are"
            " for is in [Navarch as a library](../library.md) and the [plugin"
            " guide](../plugin-guide.md); what is not here may change without notice.\n"
        ),
        "`navarch.__version__` is the version.\n",
    ]
    told: dict[int, str] = {}
    for module, found in (modules or {each: names(each) for each in MODULES}).items():
        parts += [f"## `{module}`\n", f"{_first_sentence(module)}\n"]
        for name, thing in found.items():
            if id(thing) in told:
                parts.append(f"### `{module}.{name}`\n\nThe same as `{told[id(thing)]}`.\n")
                continue
            told[id(thing)] = f"{module}.{name}"
            parts.append(chapter(name, thing))
    return "\n".join(parts)


def _first_sentence(module: str) -> str:
    doc = (sys.modules[module].__doc__ or "").strip()
    return " ".join(doc.partition("\n\n")[0].split())
