"""Finds the plugins that somebody means by a path, a module or a name, and says of which kind.

=============================  ============================================================
``package.module:Class``       that class, or that object
``package.module``             every plugin that the module defines
``plugin.py``                  every plugin that the file defines
a folder with pyproject.toml   every entry point that it declares in a group of ours
a folder that is a package     every plugin that its ``__init__`` defines or imports
any other word                 the installed entry point of that name
=============================  ============================================================

A kind is given by the group of an entry point, else by the methods. Importing runs foreign code:
who does not trust it does so in a process of its own.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import sys
import tomllib
from collections.abc import Iterator, Mapping
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Final

from msgspec import Struct

from navarch.errors import PluginError
from navarch.plugins import loading
from navarch.plugins.kinds import KINDS, KindSpec
from navarch.plugins.protocols import PluginKind

GROUPS: Final = {spec.group: kind for kind, spec in KINDS.items()}


class Found(Struct, frozen=True):
    """A plugin, before it is made."""

    label: str
    """What it is called in reports: where it stands."""
    kind: PluginKind
    factory: object
    """A class, or an object that is the plugin itself."""

    def make(self, config: Mapping[str, object] | None) -> object:
        """Make one; an object is what it is.

        Raises `PluginError` when it cannot be made so.
        """
        if not isinstance(self.factory, type):
            if config:
                raise PluginError(f"{self.label} is an object, expected a class to be configured")
            return self.factory
        return loading.construct(KINDS[self.kind].noun, self.label, self.factory, config)


def search(target: str, kind: PluginKind | None = None) -> list[Found]:
    """Find all that `target` means, of `kind` where that is given.

    Raises `PluginError` when nothing is found, or nobody can tell of which kind it is.
    """
    path = Path(target)
    if path.is_file() or target.endswith(".py"):
        return _in_file(path, kind)
    if path.is_dir():
        return _in_folder(path, kind)
    if ":" in target:
        return [_one(target, _imported(target), kind)]
    named = list(_entry_points(target, kind))
    if named:
        return named
    if "." in target:
        return _in_module(_module(target), target, kind)
    have = sorted({point.name for group in GROUPS for point in metadata.entry_points(group=group)})
    raise PluginError(
        f"{target}: no file, no folder and no entry point of this name; installed are: "
        f"{', '.join(have) or 'none'}"
    )


def kinds_of(candidate: object) -> list[PluginKind]:
    """List the kinds whose methods a class or object has."""
    return [kind for kind, spec in KINDS.items() if _fits(spec, candidate)]


def _fits(spec: KindSpec, candidate: object) -> bool:
    return all(
        callable(getattr(candidate, method.name, None))
        or (method.unless and callable(getattr(candidate, method.unless, None)))
        for method in spec.methods
    )


def _one(label: str, candidate: object, kind: PluginKind | None) -> Found:
    if kind is not None:
        return Found(label, kind, candidate)
    kinds = kinds_of(candidate)
    if len(kinds) == 1:
        return Found(label, kinds[0], candidate)
    if kinds:
        words = " and ".join(kinds)
        raise PluginError(f"{label} has the methods of {words}: say which it is with --kind")
    known = "; ".join(
        f"{each}: {', '.join(method.name for method in spec.methods)}"
        for each, spec in KINDS.items()
    )
    raise PluginError(f"{label} has the methods of no kind of plugin; there are {known}")


def _in_module(module: ModuleType, label: str, kind: PluginKind | None) -> list[Found]:
    own = [
        (name, member)
        for name, member in vars(module).items()
        if inspect.isclass(member)
        and not name.startswith("_")
        and not getattr(member, "_is_protocol", False)
        and member.__module__.split(".")[0] == module.__name__.split(".")[0]
    ]
    found = [
        _one(f"{label}:{name}", member, kind)
        for name, member in own
        if (kind in kinds_of(member) if kind else kinds_of(member))
    ]
    if not found:
        names = ", ".join(name for name, _ in own) or "none"
        wanted = f"a {KINDS[kind].noun}" if kind else "a plugin"
        raise PluginError(f"{label}: no class has the methods of {wanted}; its classes are {names}")
    return found


def _in_file(path: Path, kind: PluginKind | None) -> list[Found]:
    if not path.is_file():
        raise PluginError(f"{path}: there is no such file")
    if (path.parent / "__init__.py").is_file():  # its relative imports want the package
        folder = path.parent
        while (folder / "__init__.py").is_file():
            folder = folder.parent
        sys.path.insert(0, str(folder.resolve()))
        name = ".".join(path.relative_to(folder).with_suffix("").parts)
        return _in_module(_module(name), path.name, kind)
    sys.path.insert(0, str(path.parent.resolve()))
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise PluginError(f"{path}: no file of Python")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        told = f"{type(error).__name__}: {error}"
        raise PluginError(f"{path}: cannot be imported: {told}") from error
    return _in_module(module, path.name, kind)


def _in_folder(path: Path, kind: PluginKind | None) -> list[Found]:
    project = path / "pyproject.toml"
    if not project.is_file():
        if (path / "__init__.py").is_file():
            sys.path.insert(0, str(path.resolve().parent))
            return _in_module(_module(path.resolve().name), path.name, kind)
        raise PluginError(f"{path}: neither pyproject.toml nor __init__.py is there")
    try:
        declared = tomllib.loads(project.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise PluginError(f"{project}: {error}") from error
    groups = declared.get("project", {}).get("entry-points", {})
    for folder in (path / "src", path):
        sys.path.insert(0, str(folder.resolve()))
    found = [
        Found(f"{word}/{name}", word, _imported(str(value)))
        for group, points in groups.items()
        if (word := GROUPS.get(group)) is not None and kind in (None, word)
        for name, value in points.items()
    ]
    if not found:
        known = ", ".join(f'"{group}"' for group in GROUPS)
        raise PluginError(
            f"{project}: no entry points of a group of ours under [project.entry-points]: {known}"
        )
    return found


def _entry_points(name: str, kind: PluginKind | None) -> Iterator[Found]:
    for group, word in GROUPS.items():
        if kind in (None, word):
            for point in metadata.entry_points(group=group, name=name):
                yield Found(f"{word}/{name}", word, _imported(point.value))


def _imported(path: str) -> object:
    module, _, name = path.partition(":")
    found: object = _module(module)
    for part in name.split("."):
        if not hasattr(found, part):
            raise PluginError(f"{path}: {module} has no {name}")
        found = getattr(found, part)
    return found


def _module(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except Exception as error:
        told = f"{type(error).__name__}: {error}"
        raise PluginError(f"{name}: cannot be imported: {told}") from error
