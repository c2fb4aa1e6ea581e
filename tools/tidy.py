"""What a tidy tree looks like, and a command that names every place that is not.

The linters know Python; this file knows the habits of this project that they cannot express. It
exists so that such habits are checked by a machine and never argued about in a review. It reads
the files that git tracks or would track, and changes nothing.

Run it as ``python tools/tidy.py [ROOT]``. Each fault is one line, ``path:line: what, expected``.
It exits 0 when there is none, 1 when there are some and 2 when ROOT is no git work tree.

An exception is one line in `EXCEPTIONS`, with its reason.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

COLUMNS_MAX: Final = 100
FUNCTION_LINES_MAX: Final = 70
MODULE_LINES_MAX: Final = 500
FILE_BYTES_MAX: Final = 200_000

EMPTY_WORDS: Final = frozenset(
    [
        *("util", "utils", "helper", "helpers", "common", "misc", "shared"),
        *("manager", "handler", "processor", "impl", "data", "info"),
    ]
)
"""Words that say what kind of thing something is and not what it knows."""

CONTRACT_NAMES: Final = frozenset(
    [
        *("PoolManager", "InstanceManager", "PoolManagerConfig", "pool_manager"),
        *("SharedStore", "instance_manager", "GPUInfo", "NodeInfo", "InstanceInfo"),
        *("node_info", "gpu_info", "instance_info", "pool_info", "event_info"),
    ]
)
"""Names that the public contract fixes although they hold an empty word."""

ENTRY_POINTS: Final = frozenset(
    [
        *("navarch.__main__", "navarch.cli.main"),
        *("navarch.simulator.backtest", "navarch.simulator.sweep"),
    ]
)
"""Modules that start a program: nobody in `src` need import them."""

GENERATED: Final = ("src/navarch/wire/generated/",)
"""Written by protoc: its length, names and words are not ours."""

BANNED_TEXT: Final = (
    # Each pattern is written so that it does not match its own line.
    (re.compile(r"(?<![\w.-])/(?:work|home|root|Users)/\w"), "a path of one machine"),
    (re.compile(r"py[p]i\.org|pythonhoste[d]\.org|registry\.npmj[s]\."), "a package host"),
    (re.compile(r"--(?:extra-)?index-ur[l]|--find-link[s]|--trusted-hos[t]"), "a package source"),
)
"""What ties the tree to one workplace, and the words for it."""

TODO: Final = re.compile(r"\b(?:TODO|FIXME|XXX)\b(?!\(#\d+\)| #\d+)")

EXCEPTIONS: Final[dict[tuple[str, str], str]] = {
    ("src/navarch/wire/hot_lane.py", "name"): "asyncio and uvicorn have named what they call",
    ("src/navarch/telemetry/log.py", "name"): "levels are called as in every program's logs",
    ("tools/tidy.py", "todo"): "the rule about unnumbered notes has to name them",
    ("bench/scaling/swarm.py", "name"): "asyncio names what it overrides",
    ("bench/herd.py", "name"): "asyncio names what it overrides",
    ("tests/relay/test_uplink.py", "name"): "asyncio names what it overrides",
    ("src/navarch/wire/http2.py", "name"): "asyncio and uvicorn name what it overrides",
    ("tests/test_tidy.py", "todo"): "plants the fault that it looks for",
}
"""(path, rule) to the reason why the rule does not hold there."""


@dataclass(frozen=True)
class Fault:
    """One place that is not tidy."""

    path: str
    """Relative to the root of the tree, with forward slashes."""
    line: int
    """From 1; 1 also for a fault of the whole file."""
    rule: str
    """The rule's short name, as `EXCEPTIONS` uses it."""
    text: str
    """What is wrong, and what was expected."""

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.text} [{self.rule}]"


def faults_of_tree(root: Path) -> list[Fault]:
    """List every fault below `root`, sorted by place; empty if the tree is tidy.

    Raises `NotADirectoryError` if `root` is not inside a git work tree. Reads each file once.
    """
    files = listed_files(root)
    sources = {path: (root / path).read_text() for path in files if path.endswith(".py")}
    found = [*faults_of_files(root, files), *dead_modules(sources)]
    for path, source in sources.items():
        if not path.startswith(GENERATED):
            found.extend(faults_of_module(path, source))
    kept = {fault for fault in found if (fault.path, fault.rule) not in EXCEPTIONS}
    return sorted(kept, key=lambda fault: (fault.path, fault.line, fault.rule))


def listed_files(root: Path) -> list[str]:
    """List the files that git tracks, or would track if asked to add everything, by path."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    answer = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    if answer.returncode != 0:
        raise NotADirectoryError(f"{root} is not a git work tree: {answer.stderr.strip()}")
    return sorted(path for path in answer.stdout.split("\0") if path and (root / path).is_file())


def faults_of_files(root: Path, files: Sequence[str]) -> Iterator[Fault]:
    """Find what is wrong with files of any kind: their size and what ties them to a workplace."""
    for path in files:
        content = (root / path).read_bytes()
        if len(content) > FILE_BYTES_MAX and not path.endswith(".lock"):
            text = f"{len(content)} bytes, expected at most {FILE_BYTES_MAX}"
            yield Fault(path, 1, "size", text)
        yield from banned_text(path, content.decode(errors="replace"))


def banned_text(path: str, content: str) -> Iterator[Fault]:
    """Find text that only makes sense on one machine."""
    for number, line in enumerate(content.splitlines(), start=1):
        for pattern, what in BANNED_TEXT:
            if match := pattern.search(line):
                text = f"names {what} ({match.group()}), expected nothing of one workplace"
                yield Fault(path, number, "machine", text)


def faults_of_module(path: str, source: str) -> Iterator[Fault]:
    """Find what is wrong with one Python file of ours."""
    lines = source.splitlines()
    if len(lines) > MODULE_LINES_MAX:
        text = f"{len(lines)} lines, expected at most {MODULE_LINES_MAX}: split by what it knows"
        yield Fault(path, 1, "module", text)
    for number, line in enumerate(lines, start=1):
        if len(line) > COLUMNS_MAX:
            text = f"{len(line)} columns, expected at most {COLUMNS_MAX}"
            yield Fault(path, number, "columns", text)
        if TODO.search(line):
            yield Fault(path, number, "todo", "a note without a number, expected TODO(#123)")
    tree = ast.parse(source, filename=path)
    if not ast.get_docstring(tree):
        yield Fault(path, 1, "docstring", "no module docstring, expected what the module knows")
    yield from empty_names(path, tree)
    yield from long_functions(path, tree)


def long_functions(path: str, tree: ast.Module) -> Iterator[Fault]:
    """Find functions that are too long, decorators not counted."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            count = (node.end_lineno or node.lineno) - node.lineno + 1
            if count > FUNCTION_LINES_MAX:
                text = f"{node.name} has {count} lines, expected at most {FUNCTION_LINES_MAX}"
                yield Fault(path, node.lineno, "function", text)


def empty_names(path: str, tree: ast.Module) -> Iterator[Fault]:
    """Find modules, folders, classes and functions named for their kind."""
    for part in Path(path).with_suffix("").parts:
        if word := empty_word(part):
            yield Fault(path, 1, "name", f"{part} holds {word!r}, expected what it knows")
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            word = empty_word(node.name)
            if word:
                text = f"{node.name} holds {word!r}, expected a word of the field"
                yield Fault(path, node.lineno, "name", text)


def empty_word(name: str) -> str:
    """Tell which empty word `name` holds, or an empty string if none.

    >>> empty_word("StoreHelper"), empty_word("information"), empty_word("GPUInfo")
    ('helper', '', '')
    """
    if name in CONTRACT_NAMES:
        return ""
    words = re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", name)
    return next((word.lower() for word in words if word.lower() in EMPTY_WORDS), "")


def dead_modules(sources: dict[str, str]) -> Iterator[Fault]:
    """Find modules of `src` that nothing in `src` imports and that start nothing.

    A test does not keep a module alive: code that only tests use is not used.
    """
    modules = {module_name(path): path for path in sources if path.startswith("src/")}
    imported: set[str] = set()
    for name, path in modules.items():
        found = imported_names(ast.parse(sources[path], filename=path))
        imported.update(target for target in found if target != name)
    for name, path in modules.items():
        is_package = path.endswith("/__init__.py")
        starts = name in ENTRY_POINTS or path.startswith(GENERATED)
        if not is_package and not starts and name not in imported:
            yield Fault(path, 1, "dead", f"nobody in src imports {name}, expected a user or none")


def module_name(path: str) -> str:
    """Turn ``src/navarch/core/fold.py`` into ``navarch.core.fold``."""
    parts = Path(path).with_suffix("").parts[1:]
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported_names(tree: ast.Module) -> Iterator[str]:
    """Yield each name that may be a module: those of import statements, and those in text.

    Text counts because some modules are named before they are imported: the table of lazily
    imported public names, ``python -m navarch.x`` as a command, the programs that
    ``importlib.import_module`` brings in.
    """
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield from re.findall(r"^navarch(?:\.\w+)+", node.value)


def main(arguments: Sequence[str]) -> int:
    """Print each fault of the tree named by the only argument, by default this project's."""
    root = Path(arguments[0]) if arguments else Path(__file__).resolve().parent.parent
    try:
        found = faults_of_tree(root)
    except NotADirectoryError as error:
        print(f"tidy: {error}", file=sys.stderr)
        return 2
    for fault in found:
        print(fault)
    print(f"tidy: {len(found) or 'no'} faults", file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
