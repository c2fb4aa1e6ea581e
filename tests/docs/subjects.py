"""What has to be documented, where, and how one more of each would be found.

Each subject is a function from what there is (a registry, a schema, a union, a folder's files) and
the words about it to the names that no word is about. `SUBJECTS` gives each what there really is,
and a copy of it with one thing planted.
"""

from __future__ import annotations

import ast
import copy
import re
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple, get_args

import click
import msgspec
from google.protobuf.descriptor_pb2 import FileDescriptorProto

from docs.fences import PROJECT
from navarch.cli.main import cli
from navarch.config.shapes import Block, Leaf, Slot
from navarch.controlplane import catalogue
from navarch.controlplane.described import Described
from navarch.core.model import events as ev
from navarch.monitoring import files, rules
from navarch.plugins.kinds import KINDS, KindSpec, Method
from navarch.wire.auth import ACCESS
from reference import calls, commands, configuration, environment, exits, python_names

PLANTED = "planted"


class Subject(NamedTuple):
    """One kind of thing that is documented."""

    missing: Callable[[], list[str]]
    """Name those of what there is that no word is about."""
    with_one_more: Callable[[], list[str]]
    """The same where something was planted."""
    planted: str
    """What was planted."""


@cache
def words(page: str) -> str:
    """Read a page, by its place below the project."""
    return (PROJECT / page).read_text(encoding="utf-8")


# --- the command line -------------------------------------------------------------------------


def undocumented_commands(root: click.Group) -> list[str]:
    """Name the commands without a chapter."""
    text = words("docs/reference/commands.md")
    there = set(re.findall(r"^#+ `(navarch[^`]*)`$", text, re.MULTILINE))
    return [path for path in commands.commands(root) if path not in there | {"navarch"}]


def undocumented_options(root: click.Group) -> list[str]:
    """Name the options without a row in the chapter of their command, or in that of all."""
    text = words("docs/reference/commands.md")
    shared = _rows(text.partition("\n## `")[0])
    found = []
    for path, command in commands.commands(root).items():
        chapter = re.split(r"\n#+ ", text.partition(f"# `{path}`\n")[2])[0]
        there = _rows(chapter) | shared
        found += [
            f"{path} {spelling}"
            for option in commands.options(command)
            if path != "navarch"
            for spelling in option.opts
            if spelling not in there
        ]
    return found


def _rows(text: str) -> set[str]:
    cells = re.findall(r"^\| `([^`]+)`", text, re.MULTILINE)
    return {word for cell in cells for word in re.findall(r"(?<![\w-])--?[a-z][\w-]*", cell)}


def _with_command() -> click.Group:
    group = copy.copy(cli)
    group.commands = {**cli.commands, PLANTED: click.Command(PLANTED)}
    return group


def _with_option() -> click.Group:
    group, planted = copy.copy(cli), copy.copy(cli.commands["cordon"])
    planted.params = [*planted.params, click.Option([f"--{PLANTED}"], help="Planted.")]
    group.commands = {**cli.commands, "cordon": planted}
    return group


def undocumented_codes(sources: Mapping[str, str]) -> list[str]:
    """Name the exit codes in the code of commands that the page has not."""
    there = {int(code) for code in re.findall(r"^\| `(\d+)`", words(_EXITS), re.MULTILINE)}
    used = {code for text in sources.values() for code in _codes(text)} | set(exits.codes())
    return sorted(map(str, used - there))


_EXITS = "docs/reference/exit-codes.md"


def _codes(text: str) -> Iterable[int]:
    for node in ast.walk(ast.parse(text)):
        match node:
            case ast.Call(func=ast.Attribute(attr="exit"), args=[given]):
                numbers = (each.value for each in ast.walk(given) if isinstance(each, ast.Constant))
                yield from (number for number in numbers if type(number) is int)
            case _:
                continue


@cache
def _sources() -> Mapping[str, str]:
    folder = PROJECT / "src" / "navarch" / "cli"
    return {path.name: path.read_text(encoding="utf-8") for path in folder.glob("*.py")}


# --- the configuration, the environment -----------------------------------------------------------


def undocumented_keys(blocks: Mapping[str, Block]) -> list[str]:
    """Name the keys without a row."""
    return configuration.undocumented(words("docs/configuration.md"), blocks)


def _with_key() -> Mapping[str, Block]:
    known = configuration.blocks()
    server = known["server"]
    slot = Slot(next(s for s in _leaves(server)), "Planted.", required=False, default=None)
    slots = {**server.slots, PLANTED: slot}
    return {**known, "server": msgspec.structs.replace(server, slots=slots)}


def _leaves(block: Block) -> Iterable[Leaf]:
    return (slot.shape for slot in block.slots.values() if isinstance(slot.shape, Leaf))


def undocumented_variables(more: str = "") -> list[str]:
    """Name the environment variables that code reads and the page has not."""
    text = words("docs/reference/environment.md")
    known = re.findall(r"^\| `([^`]+)` \|", text, re.MULTILINE)
    return environment.undocumented({*environment.found(), *environment.found_in(more)}, known)


# --- calls, facts, metrics, alerts ----------------------------------------------------------------


def undocumented_calls(file: FileDescriptorProto) -> list[str]:
    """Name the calls without a row, or without a comment that says what they do."""
    there = set(re.findall(r"^\| `(\w+)` \| \[", words("docs/reference/calls.md"), re.MULTILINE))
    names = [*calls.methods(file), *(name for name in ACCESS if name not in calls.methods(file))]
    return [name for name in names if name not in there] + calls.unsaid(calls.definition())


def _with_call() -> FileDescriptorProto:
    file = FileDescriptorProto()
    file.CopyFrom(calls.definition())
    file.service[0].method.add(name=PLANTED)
    return file


def undocumented_facts(kinds: Iterable[type[ev.Event]]) -> list[str]:
    """Name the kinds of facts, and their fields, that docs/events.md has not."""
    rows = re.findall(r"^\| `(\w+)` \| .+? \| (.*) \|$", words("docs/events.md"), re.MULTILINE)
    there = {kind: {"at", *re.findall(r"`(\w+)`", fields)} for kind, fields in rows}
    found = []
    for type_ in kinds:
        kind = str(type_.__struct_config__.tag)
        lacking = [each for each in type_.__struct_fields__ if each not in there.get(kind, ())]
        found += [kind] if kind not in there else [f"{kind}.{each}" for each in lacking]
    return found


def _with_fact() -> tuple[type[ev.Event], ...]:
    fields: list[Any] = [("at", str)]
    planted = msgspec.defstruct("Planted", fields, tag_field="kind", tag=PLANTED)
    return (*get_args(ev.Fact), planted)


def undocumented_metrics(known: Iterable[Described]) -> list[str]:
    """Name the metrics of the catalogue without a row, or without a word on what they are."""
    there = set(re.findall(r"^\| `([a-z_]+)` \|", words("docs/metrics.md"), re.MULTILINE))
    there |= set(re.findall(r"^\| `([a-z_]+)` \|", words("docs/plugins.md"), re.MULTILINE))
    return [each.name for each in known if each.name not in there or not each.about.strip()]


def _with_metric() -> tuple[Described, ...]:
    return (*catalogue.ALL, msgspec.structs.replace(catalogue.ALL[0], name=PLANTED))


def undocumented_alerts(names: Iterable[str]) -> list[str]:
    """Name the alerts without a runbook."""
    folder = PROJECT / "docs" / "runbooks"
    return [name for name in names if not (folder / f"{name}.md").exists()]


def _alerts() -> list[str]:
    return [alert.name for alert in rules.alerts_in(files.groups(rules.Chosen()))]


# --- plugins, names -------------------------------------------------------------------------------


def undocumented_hooks(kinds: Iterable[KindSpec]) -> list[str]:
    """Name the methods that plugins are asked by, and groups, that the page has not."""
    text = words("docs/reference/extension-points.md")
    found = []
    for spec in kinds:
        title = spec.noun[0].upper() + spec.noun[1:]
        chapter = re.split(r"^## ", text.partition(f"\n## {title}\n")[2], flags=re.MULTILINE)[0]
        told = re.findall(r"def (\w+)\(", chapter)
        found += [f"{spec.noun}.{each.name}" for each in spec.methods if each.name not in told]
        found += [spec.group] if f"`{spec.group}`" not in text else []
    return found


def _with_hook() -> list[KindSpec]:
    first, *others = KINDS.values()
    methods = (*first.methods, Method(PLANTED))
    return [msgspec.structs.replace(first, methods=methods), *others]


def undocumented_names(modules: Mapping[str, Iterable[str]]) -> list[str]:
    """Name the public names of Python without a chapter."""
    text = words("docs/reference/python.md")
    there: dict[str, set[str]] = {}
    for part in re.split(r"^## ", text, flags=re.MULTILINE)[1:]:
        module = part.partition("\n")[0].strip("`")
        headings = re.findall(r"^### `([\w.]+)`$", part, re.MULTILINE)
        there[module] = {heading.rpartition(".")[2] for heading in headings}
    return [
        f"{module}.{name}"
        for module, names in modules.items()
        for name in names
        if name not in there[module]
    ]


def _names() -> dict[str, list[str]]:
    return {module: list(python_names.names(module)) for module in python_names.MODULES}


# --- files ----------------------------------------------------------------------------------------


def undocumented_examples(names: Iterable[str]) -> list[str]:
    """Name the examples that no page speaks of, by their path, their file's name or their stem."""
    pages = [path for path in (PROJECT / "docs").rglob("*.md") if "decisions" not in path.parts]
    text = "\n".join(path.read_text(encoding="utf-8") for path in pages)
    text += "\n".join(path.read_text() for path in (PROJECT / "examples").rglob("README.md"))
    return [name for name in names if not _is_named(name, text)]


def _is_named(name: str, text: str) -> bool:
    path = Path(name)
    if path.parent.name == "scenarios" and f"`{path.stem}`" in text:
        return True
    return re.search(rf"(?<![\w-]){re.escape(path.name)}(?![\w-])", text) is not None


def examples() -> list[str]:
    """List the examples: files that stand alone, and packages as one."""
    root = PROJECT / "examples"
    singles = [*root.glob("*.py"), *root.glob("*/*.yaml"), *root.glob("serving/*.py")]
    folders = [*root.glob("plugins/*"), root / "serving" / "demo"]
    found = [each for each in (*singles, *folders) if not each.name.startswith("test_")]
    return sorted(str(each.relative_to(PROJECT)) for each in found)


def undocumented_decisions(names: Iterable[str]) -> list[str]:
    """Name the records that the list of decisions has not."""
    text = words("docs/decisions/README.md")
    return [name for name in names if f"({name})" not in text]


def _decisions() -> list[str]:
    return sorted(path.name for path in (PROJECT / "docs" / "decisions").glob("[0-9]*.md"))


_PLANTED_CODE = "import os\nos.environ.get('NAVARCH_PLANTED')\n"

SUBJECTS: Mapping[str, Subject] = {
    "commands": Subject(
        lambda: undocumented_commands(cli),
        lambda: undocumented_commands(_with_command()),
        f"navarch {PLANTED}",
    ),
    "options": Subject(
        lambda: undocumented_options(cli),
        lambda: undocumented_options(_with_option()),
        f"navarch cordon --{PLANTED}",
    ),
    "exit codes": Subject(
        lambda: undocumented_codes(_sources()),
        lambda: undocumented_codes({**_sources(), PLANTED: "context.exit(77)"}),
        "77",
    ),
    "keys": Subject(
        lambda: undocumented_keys(configuration.blocks()),
        lambda: undocumented_keys(_with_key()),
        f"server.{PLANTED}",
    ),
    "environment variables": Subject(
        undocumented_variables,
        lambda: undocumented_variables(_PLANTED_CODE),
        "NAVARCH_PLANTED",
    ),
    "calls": Subject(
        lambda: undocumented_calls(calls.definition()),
        lambda: undocumented_calls(_with_call()),
        PLANTED,
    ),
    "facts": Subject(
        lambda: undocumented_facts(get_args(ev.Fact)),
        lambda: undocumented_facts(_with_fact()),
        PLANTED,
    ),
    "metrics": Subject(
        lambda: undocumented_metrics(catalogue.ALL),
        lambda: undocumented_metrics(_with_metric()),
        PLANTED,
    ),
    "alerts": Subject(
        lambda: undocumented_alerts(_alerts()),
        lambda: undocumented_alerts([*_alerts(), PLANTED]),
        PLANTED,
    ),
    "hooks": Subject(
        lambda: undocumented_hooks(KINDS.values()),
        lambda: undocumented_hooks(_with_hook()),
        f"provider.{PLANTED}",
    ),
    "names of Python": Subject(
        lambda: undocumented_names(_names()),
        lambda: undocumented_names({**_names(), "navarch": [*_names()["navarch"], PLANTED]}),
        f"navarch.{PLANTED}",
    ),
    "examples": Subject(
        lambda: undocumented_examples(examples()),
        lambda: undocumented_examples([*examples(), f"examples/scenarios/{PLANTED}.yaml"]),
        f"examples/scenarios/{PLANTED}.yaml",
    ),
    "decisions": Subject(
        lambda: undocumented_decisions(_decisions()),
        lambda: undocumented_decisions([*_decisions(), f"{PLANTED}.md"]),
        f"{PLANTED}.md",
    ),
}
