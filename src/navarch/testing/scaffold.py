"""Writes the package that a new plugin begins as: its module, its tests, its packaging.

What is written installs, is found by its entry point, and passes its own tests as it stands; its
author changes it from there. The texts are the files of the folder ``templates``.
"""

from __future__ import annotations

import keyword
import re
import sys
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Final

from msgspec import Struct

from navarch.errors import PluginError
from navarch.plugins.kinds import KINDS
from navarch.plugins.protocols import PluginKind

NAME: Final = re.compile(r"[a-z][a-z0-9]*(?:-[a-z0-9]+)*")
NAME_MAX: Final = 50
"""Characters: it is part of paths, and of a name that an index knows."""

_FILES: Final = {
    "pyproject.toml": "pyproject.toml",
    "README.md": "README.md",
    "example.yaml": "$kind.example.yaml",
    "src/$package/__init__.py": "$kind.py",
    "src/$package/py.typed": "",
    "tests/test_$package.py": "$kind.test.py",
}
"""What is written, by path, and the template that it is made of; empty: nothing is in it."""

TEMPLATED: Final = (
    *(PluginKind.PROVIDER, PluginKind.AUTOSCALER, PluginKind.RANKER, PluginKind.METRICS_SOURCE),
    *(PluginKind.SCHEDULER, PluginKind.REPLICA_AUTOSCALER, PluginKind.MODEL_LOADER),
    *(PluginKind.METRICS_PROVIDER, PluginKind.GUARDRAIL),
)
"""Kinds for which there is a package to begin with."""


class Written(Struct, frozen=True):
    """A package that was written."""

    folder: Path
    paths: tuple[str, ...]
    """Relative to the folder."""
    use: str
    """Where the plugin is: ``package:Class``."""


def write_package(kind: PluginKind, name: str, parent: Path) -> Written:
    """Write a package of that name below `parent`; nothing that is there is changed.

    Raises `PluginError` when the name cannot be used, there is no template for the kind, the folder
    exists, or it cannot be written.
    """
    words = _words(kind, name)
    folder = parent / name
    texts = {
        Template(path).substitute(words): _filled(template, words)
        for path, template in _FILES.items()
    }
    try:
        folder.mkdir(parents=True)
    except FileExistsError:
        raise PluginError(f"{folder} exists already; nothing was written") from None
    except OSError as error:
        raise PluginError(f"{folder} cannot be made: {error.strerror or error}") from error
    for path, text in texts.items():
        target = folder / path
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text, encoding="utf-8")
        except OSError as error:
            raise PluginError(f"{target} cannot be written: {error.strerror or error}") from error
    return Written(folder, tuple(texts), f"{words['package']}:{words['class_name']}")


def _words(kind: PluginKind, name: str) -> dict[str, str]:
    """Say what stands in the templates.

    Raises `PluginError` when the name cannot be used, or there is no template for the kind.
    """
    if kind not in TEMPLATED:
        have = ", ".join(TEMPLATED)
        raise PluginError(f"there is no template of a {KINDS[kind].noun}; there are: {have}")
    if not NAME.fullmatch(name) or len(name) > NAME_MAX:
        raise PluginError(
            f"{name!r:.80} is no name for a plugin: expected small letters, digits and single "
            f"dashes, a letter first, at most {NAME_MAX}, such as prefer-ssd"
        )
    package = name.replace("-", "_")
    if keyword.iskeyword(package) or package in sys.stdlib_module_names:
        raise PluginError(f"{name} is a word of Python's own, expected another name")
    if package in {"navarch", "tests", "pytest", "msgspec"}:
        raise PluginError(f"{name} is the name of a package that this one needs")
    spec = KINDS[kind]
    return {
        "kind": kind,
        "noun": spec.noun,
        "group": spec.group,
        "name": name,
        "package": package,
        "class_name": "".join(word.capitalize() for word in name.split("-")),
        "summary": f"A {spec.noun} for Navarch: {spec.summary}.",
    }


def _filled(template: str, words: dict[str, str]) -> str:
    if not template:
        return ""
    path = Template(template).substitute(words)
    text = files("navarch.testing").joinpath("templates", f"{path}.txt").read_text("utf-8")
    return Template(text).substitute(words)
