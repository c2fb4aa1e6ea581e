"""Python that pages show: it compiles, what it imports is there, and every name means something.

The blocks of a page are one story: a later one knows what an earlier one has made. What a reader is
to bring, a comment in front of the block names: ``<!-- given: provider, store -->``.
"""

from __future__ import annotations

import ast
import builtins
import importlib
import re
from collections.abc import Iterable

_BUILT_IN = frozenset(dir(builtins)) | {"__file__", "__name__", "__doc__"}
_GIVEN = re.compile(r"<!-- given: ([\w, ]+) -->\s*$")


def given(before: str) -> frozenset[str]:
    """Return the names that the text right before a block says a reader has."""
    found = _GIVEN.search(before)
    return frozenset(re.findall(r"\w+", found[1])) if found else frozenset()


def faults(code: str, known: Iterable[str]) -> tuple[list[str], set[str]]:
    """Name what is wrong with a block, and what those after it know."""
    try:
        tree = ast.parse(code)
        compile(code, "page", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
    except SyntaxError as error:
        return [f"line {error.lineno}: {error.msg}"], set()
    bound = _bound(tree)
    there = bound | _BUILT_IN | frozenset(known)
    wrong = [
        f"line {line}: nobody knows {name}"
        for name, line in _read(tree).items()
        if name not in there
    ]
    return [*wrong, *_imports(tree)], bound


def _read(tree: ast.AST) -> dict[str, int]:
    """Collect the names that a block reads, each with the last line that does."""
    found = {}
    for node in ast.walk(tree):
        match node:
            case ast.Name(id=name, ctx=ast.Load(), lineno=line):
                found[name] = line
            case _:
                continue
    return found


def _bound(tree: ast.AST) -> set[str]:
    """Collect what a block binds anywhere in it."""
    found: set[str] = set()
    for node in ast.walk(tree):
        match node:
            case ast.Name(id=name, ctx=ast.Store() | ast.Del()) | ast.arg(arg=name):
                found.add(name)
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                found.add(name)
            case ast.ClassDef(name=name) | ast.ExceptHandler(name=str(name)):
                found.add(name)
            case ast.Import(names=names) | ast.ImportFrom(names=names):
                found |= {each.asname or each.name.partition(".")[0] for each in names}
            case ast.MatchAs(name=str(name)) | ast.MatchStar(name=str(name)):
                found.add(name)
            case _:
                continue
    return found


def _imports(tree: ast.AST) -> list[str]:
    """Import what a block imports of ours and of what we depend on, and name what is not there."""
    wrong = []
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                for each in names:
                    wrong += _missing(each.name, [])
            case ast.ImportFrom(module=str(module), names=names, level=0):
                wrong += _missing(module, [each.name for each in names])
            case _:
                continue
    return wrong


def _missing(module: str, names: list[str]) -> list[str]:
    if module.partition(".")[0] in ("tin_cloud", "team_nodes"):
        return []  # the packages that tutorials write; their walks import them
    try:
        there = importlib.import_module(module)
    except ImportError:
        return [f"there is no module {module}"]
    return [f"{module} has no {name}" for name in names if not hasattr(there, name)]
