"""From YAML or JSON to resources, or to every mistake in it with its place.

The walk is led by the shapes, never by the text, and does not stop at the first mistake. Types are
never guessed: a number is no text, and a duration has a unit. After a mistake a value counts as
absent, so that what follows is checked all the same. Whatever a text holds, nothing but a `Found`
comes of it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import yaml
from msgspec import Struct

from navarch import documents
from navarch.config.reading import Tag, got, quoted
from navarch.core.model import resources as res
from navarch.core.serving.scaling import signals
from navarch.errors import ConfigError
from navarch.plugins.resources import checks, quantities, scalars, shapes
from navarch.plugins.resources.rules import ENTRIES_MAX, Rule
from navarch.plugins.resources.shapes import Anything, Block, Choice, Items, Kind, Scalar, Shape

TEXT_BYTES_MAX: Final = 1024 * 1024
"""Bytes of a file."""
RESOURCES_MAX: Final = 1_000
"""Resources in one text."""
DEPTH_MAX: Final = 32
"""Levels of nesting; the resources use nine."""
VALUES_MAX: Final = 200_000
"""Values in one walk, those of anchors counted where they are used."""
FAULTS_MAX: Final = 100
"""Mistakes after which the walk gives up: nobody reads more."""

SERVED: Final = frozenset(
    {
        *("creationTimestamp", "deletionTimestamp", "finalizers", "generation", "managedFields"),
        *("ownerReferences", "resourceVersion", "selfLink", "uid"),
    }
)
"""Keys of ``metadata`` that a server adds: a document that came from one can be applied."""

META: Final = shapes.block(res.ObjectMeta)

_TOP: Final = ("apiVersion", "kind", "metadata", "spec", "status")


class Found(Struct, frozen=True):
    """What a text holds."""

    resources: tuple[res.Resource, ...] = ()
    """In the order of the text; empty when there is any mistake."""
    mistakes: tuple[ConfigError, ...] = ()
    """In the order of their lines."""
    notes: tuple[str, ...] = ()
    """What is fine, and probably not meant; one line each."""


def read_file(path: Path) -> Found:
    """Read the resources of a file."""
    try:
        text = documents.read_text(path, most=TEXT_BYTES_MAX, expected="resources")
    except documents.Unreadable as error:
        return Found(mistakes=(ConfigError(error.message, file=str(path), line=error.line),))
    return read(text, file=str(path))


def read(text: str, *, file: str) -> Found:
    """Read the resources of a text of one or several documents; `file` is for messages.

    Takes time in proportion to the text: 0.1 s for 10 KB.
    """
    walk = _Walk(file)
    try:
        for node in _documents(text):
            walk.document(node)
    except documents.Unreadable as error:
        walk.faults.append(ConfigError(error.message, file=file, line=error.line))
    except _TooManyFaults:
        walk.notes.append(f"{file}: has more mistakes than are shown")
    faults = sorted(walk.faults, key=lambda fault: fault.line or 0)
    found = () if faults else tuple(walk.resources)
    return Found(found, tuple(faults), tuple(walk.notes))


def _documents(text: str) -> list[yaml.Node]:
    """Read the nodes of a text. Raises `documents.Unreadable`."""
    if len(text) > TEXT_BYTES_MAX:
        raise documents.Unreadable(f"is larger than 1 MiB: {len(text):,} characters")
    nodes = documents.compose_all(text, deepest=DEPTH_MAX, most=RESOURCES_MAX)
    if not nodes:
        raise documents.Unreadable("is empty, expected at least one resource")
    return nodes


class _TooManyFaults(Exception):
    """The walk has seen enough."""


class _Absent:
    """What a value is after a mistake."""


_ABSENT: Final = _Absent()


class _Walk:
    """One walk over one text."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.faults: list[ConfigError] = []
        self.resources: list[res.Resource] = []
        self.notes: list[str] = []
        self.lines: dict[str, int] = {}
        """Of the resource that is read: on which line each key stands."""
        self._names: dict[tuple[str, str], int] = {}
        self._values_left = VALUES_MAX
        self._depth = 0

    # --- documents ---------------------------------------------------------------------------

    def document(self, node: yaml.Node, prefix: str = "") -> None:
        """Read one resource, or a list of them."""
        entries = self._entries(node, prefix, "a resource: a mapping with apiVersion and kind")
        if entries is None:
            return
        kind = self._kind(entries, node, prefix)
        if kind == "List" and not prefix:
            self._list(entries.get("items"), node)
        elif kind is not None:
            self._resource(res.KINDS[kind], kind, entries, node, prefix)

    def _list(self, items: yaml.Node | None, node: yaml.Node) -> None:
        if not isinstance(items, yaml.SequenceNode):
            found = "nothing" if items is None else got(items)
            self.note(f"expected a list of resources, got {found}", "items", items or node)
            return
        if len(items.value) > RESOURCES_MAX:
            self.note(f"holds more than {RESOURCES_MAX:,} resources", "items", items)
            return
        for index, item in enumerate(items.value):
            self.document(item, f"items[{index}].")

    def _kind(self, entries: dict[str, yaml.Node], node: yaml.Node, prefix: str) -> str | None:
        """Say of which kind a document is; None after a mistake."""
        written = entries.get("kind")
        known = [*res.KINDS, *([] if prefix else ["List"])]
        expected = f"expected one of {', '.join(res.KINDS)}"
        if written is None:
            self.note(f"missing, {expected}", f"{prefix}kind", node)
            return None
        kind = written.value if isinstance(written, yaml.ScalarNode) else ""
        if kind not in known:
            near = scalars.closest(kind, known) if kind else ""
            self.note(f"{expected}, got {got(written)}{near}", f"{prefix}kind", written)
            return None
        version = entries.get("apiVersion")
        wanted = "v1" if kind == "List" else res.API_VERSION
        if version is None:
            self.note(f"missing, expected {wanted}", f"{prefix}apiVersion", node)
        elif not isinstance(version, yaml.ScalarNode) or version.value != wanted:
            self.note(f"expected {wanted}, got {got(version)}", f"{prefix}apiVersion", version)
        return str(kind)

    def _resource(
        self,
        type_: type[res.AgentPool | res.AgentClass | res.Model | res.ToolBinding],
        kind: str,
        entries: dict[str, yaml.Node],
        node: yaml.Node,
        prefix: str,
    ) -> None:
        before, self.lines = len(self.faults), {prefix.rstrip("."): node.start_mark.line + 1}
        for name in (each for each in entries if each not in _TOP):
            near = scalars.closest(name, _TOP) or f"; expected one of {', '.join(_TOP)}"
            message = f"unknown key {quoted(name)} at the top{near}"
            self.note(message, _join(prefix.rstrip("."), name), entries[name])
        if "status" in entries:
            line = entries["status"].start_mark.line + 1
            self.notes.append(
                f"{self.file}:{line}: status is ignored: it follows from what happens"
            )
        metadata = self._block(META, entries.get("metadata"), f"{prefix}metadata", node, SERVED)
        spec = self._block(shapes.spec(type_), entries.get("spec"), f"{prefix}spec", node)
        resource = type_(metadata=metadata, spec=spec)
        if len(self.faults) == before or resource.name:
            self._check_name(resource, kind, node, prefix)
        self._check(resource, prefix, node, before)
        self.resources.append(resource)

    def _check_name(self, resource: res.Resource, kind: str, node: yaml.Node, prefix: str) -> None:
        line = self.lines.get(f"{prefix}metadata.name", node.start_mark.line + 1)
        first = self._names.setdefault((kind, resource.full_name), line)
        if first != line:
            message = f"{kind} {resource.full_name} is written twice, first on line {first}"
            self.note(message, f"{prefix}metadata.name", line=line)

    def _check(self, resource: res.Resource, prefix: str, node: yaml.Node, before: int) -> None:
        """Note what is wrong with values together, where none of them is wrong alone."""
        wrong = {fault.key for fault in self.faults[before:]}
        for broken in checks.broken(resource):
            keys = [f"{prefix}{key}" for key in broken.keys]
            if wrong.isdisjoint(keys):
                self.note(broken.message, keys[0], line=self._line(keys, node))
        for doubt in checks.doubts(resource):
            line = self._line([f"{prefix}{key}" for key in doubt.keys], node)
            self.notes.append(f"{self.file}:{line}: {prefix}{doubt.keys[0]}: {doubt.message}")

    def _line(self, keys: Iterable[str], node: yaml.Node) -> int:
        """Find the line of the first of the keys that is written, else of what is around it."""
        for key in keys:
            place = key
            while place:
                if place in self.lines:
                    return self.lines[place]
                place = place[: max(place.rfind("."), place.rfind("["), 0)]
        return node.start_mark.line + 1

    # --- mappings and lists --------------------------------------------------------------------

    def _block(
        self,
        block: Block,
        node: yaml.Node | None,
        key: str,
        around: yaml.Node,
        extra: frozenset[str] = frozenset(),
    ) -> Any:  # noqa: ANN401 - of the block's own type
        entries: dict[str, yaml.Node] = {}
        if node is not None:
            entries = self._entries(node, key, block.expected) or {}
            around = node
        known = list(block.slots)
        for name in (each for each in entries if each not in block.slots and each not in extra):
            near = scalars.closest(name, known) or f"; expected one of {', '.join(known)}"
            message = f"unknown key {quoted(name)} under {key}{near}"
            self.note(message, _join(key, name), line=self.lines.get(_join(key, name)))
        values = {}
        for name, slot in block.slots.items():
            here = f"{key}.{name}"
            value: object = _ABSENT
            if name in entries and slot.optional and _is_empty(entries[name]):
                value = slot.default
            elif name in entries:
                value = self.value(slot.shape, entries[name], here)
            elif slot.required:
                self.note(f"missing, expected {slot.shape.expected}", here, around)
            elif isinstance(slot.shape, Block) and slot.shape.demanding and not slot.shape.optional:
                value = self._block(slot.shape, None, here, around)
            values[slot.attribute] = slot.default if value is _ABSENT else value
        made = block.type(**values)
        if isinstance(made, res.MetricTarget) and "target" in entries:
            self._check_unit(made, entries["target"], f"{key}.target")
        return made

    def _check_unit(self, metric: res.MetricTarget, node: yaml.Node, key: str) -> None:
        """Refuse a time without unit, for 500 would be minutes, and a unit of what is no time."""
        text = scalars.text_of(node)
        if text is None or not metric.target:
            return
        bare = quantities.is_number(text)
        if bare and quantities.is_time(metric.type):
            advice = f"; {text}s means seconds, {text}ms milliseconds"
            self._wrong(f"a duration, as {metric.type} is a time", node, key, advice)
        elif not bare and signals.is_known(metric.type):
            unit = signals.signal_of(metric.type).unit
            if unit != ("percent" if text.endswith("%") else "seconds"):
                self._wrong(f"a number, as {metric.type} is in {unit}", node, key)

    def value(self, shape: Shape, node: yaml.Node, key: str) -> object:
        """Read one value; `_ABSENT` after a mistake."""
        self._depth += 1
        try:
            if self._depth > DEPTH_MAX:
                message = f"nested more than {DEPTH_MAX} levels deep; does an anchor hold itself?"
                return self.note(message, key, node)
            return self._value(shape, node, key)
        finally:
            self._depth -= 1

    def _value(self, shape: Shape, node: yaml.Node, key: str) -> object:
        match shape:
            case Block():
                return self._block(shape, node, key, node)
            case Items():
                return self._items(shape, node, key)
            case Anything():
                entries = self._entries(node, key, shape.expected)
                return _ABSENT if entries is None else self._anything(entries, key)
            case Choice() | Scalar():
                return self._single(shape, node, key)
            case _:
                return self._texts(shape.rule, node, key)

    def _items(self, items: Items, node: yaml.Node, key: str) -> object:
        if not isinstance(node, yaml.SequenceNode) or node.tag != Tag.LIST:
            return self._wrong(items.expected, node, key)
        self._spend(len(node.value), node)
        if len(node.value) > items.most:
            return self.note(f"expected at most {items.most} entries", key, node)
        read = [
            self.value(items.item, child, f"{key}[{at}]") for at, child in enumerate(node.value)
        ]
        return tuple(value for value in read if value is not _ABSENT)

    def _texts(self, rule: Rule, node: yaml.Node, key: str) -> object:
        entries = self._entries(node, key, "a mapping from names to texts")
        if entries is None:
            return _ABSENT
        if len(entries) > ENTRIES_MAX:
            return self.note(f"expected at most {ENTRIES_MAX} entries", key, node)
        texts: dict[str, str] = {}
        for name, child in entries.items():
            here = _join(key, name)
            if rule.keys is not None and not rule.keys.fits(name):
                self.note(f"expected {rule.keys.expected}, got {quoted(name)}", here, child)
            value = self._single(Scalar(Kind.TEXT, Rule(form=rule.form)), child, here)
            if isinstance(value, str):
                texts[name] = value
        return texts

    def _anything(self, entries: dict[str, yaml.Node], key: str) -> dict[str, object]:
        read = {name: self._thing(node, _join(key, name)) for name, node in entries.items()}
        return {name: value for name, value in read.items() if value is not _ABSENT}

    def _thing(self, node: yaml.Node, key: str) -> object:
        """Read what only somebody else understands: whatever JSON has."""
        if isinstance(node, yaml.MappingNode):
            self._depth += 1
            try:
                if self._depth > DEPTH_MAX:
                    return self.note(f"nested more than {DEPTH_MAX} levels deep", key, node)
                entries = self._entries(node, key, "a mapping")
                return _ABSENT if entries is None else self._anything(entries, key)
            finally:
                self._depth -= 1
        if isinstance(node, yaml.SequenceNode):
            self._depth += 1
            try:
                if self._depth > DEPTH_MAX:
                    return self.note(f"nested more than {DEPTH_MAX} levels deep", key, node)
                self._spend(len(node.value), node)
                things = [self._thing(child, f"{key}[{at}]") for at, child in enumerate(node.value)]
                return [thing for thing in things if thing is not _ABSENT]
            finally:
                self._depth -= 1
        match node.tag:
            case Tag.NOTHING:
                return None
            case Tag.SWITCH:
                return self._single(Scalar(Kind.SWITCH), node, key)
            case Tag.WHOLE if scalars.WHOLE.fullmatch(node.value):
                return int(node.value)
            case Tag.WHOLE | Tag.DECIMAL:
                return self._single(Scalar(Kind.DECIMAL), node, key)
            case _:
                return self._single(Scalar(Kind.TEXT), node, key)

    def _entries(self, node: yaml.Node, key: str, expected: str) -> dict[str, yaml.Node] | None:
        """Read the keys of a mapping; None, after a note, where it is none."""
        if not isinstance(node, yaml.MappingNode) or node.tag != Tag.MAPPING:
            self._wrong(expected, node, key)
            return None
        self._spend(len(node.value), node)
        entries: dict[str, yaml.Node] = {}
        for name_node, value in node.value:
            name = scalars.text_of(name_node)
            if name is None or name_node.tag == "tag:yaml.org,2002:merge":
                message = f"expected a key that is text, got {got(name_node)}"
                self.note(message, key, name_node)
            elif name in entries:
                first = self.lines.get(_join(key, name), name_node.start_mark.line + 1)
                self.note(f"written twice, first on line {first}", _join(key, name), name_node)
            else:
                entries[name] = value
                self.lines[_join(key, name)] = name_node.start_mark.line + 1
        return entries

    def _single(self, shape: Scalar | Choice, node: yaml.Node, key: str) -> object:
        try:
            return scalars.read(shape, node)
        except scalars.Unfit as unfit:
            return self.note(str(unfit), key, node)

    # --- mistakes ------------------------------------------------------------------------------

    def _wrong(self, expected: str, node: yaml.Node, key: str, advice: str = "") -> _Absent:
        return self.note(str(scalars.unfit(expected, node, advice)), key, node)

    def note(
        self, message: str, key: str, node: yaml.Node | None = None, *, line: int | None = None
    ) -> _Absent:
        """Keep a mistake at a node, else on a line."""
        if node is not None:
            line = node.start_mark.line + 1
        self.faults.append(ConfigError(message, file=self.file, line=line, key=key))
        if len(self.faults) >= FAULTS_MAX:
            raise _TooManyFaults
        return _ABSENT

    def _spend(self, count: int, node: yaml.Node) -> None:
        self._values_left -= count
        if self._values_left < 0:
            message = f"holds more than {VALUES_MAX:,} values, anchors counted where they are used"
            self.note(message, "", node)
            raise _TooManyFaults


def _is_empty(node: yaml.Node) -> bool:
    """Whether an empty text stands there: where that is the default, it says so."""
    return isinstance(node, yaml.ScalarNode) and node.tag == Tag.TEXT and not node.value


def _join(key: str, name: str) -> str:
    shown = name if re.fullmatch(r"[\w./-]{1,64}", name) else quoted(name)
    return f"{key}.{shown}" if key else shown
