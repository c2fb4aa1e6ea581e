"""The walk over a file's nodes that yields values, what was read where, and every mistake.

The walk is led by the shapes, never by the file, so it goes only as deep as the schema does. It
does not stop at the first mistake: a file with five gets five messages. The rules: unknown and
doubled keys are mistakes; types are never guessed, a number is no text; a value that came from the
environment is never shown, its reference is, and neither is one whose `Key` calls it a secret; the
whole walk looks at `VALUES_MAX` values, however often anchors repeat them, and goes at most
`DEPTH_MAX` levels deep, should one hold itself.
"""

from __future__ import annotations

import difflib
import json
import math
import re
from collections.abc import Mapping, Sequence
from enum import StrEnum

import yaml
from msgspec import Struct

from navarch.config import environment
from navarch.config.document import DEPTH_MAX
from navarch.config.key import Key
from navarch.config.shapes import Anything, Block, Choice, Items, Leaf, Named, Shape, Slot, Variants
from navarch.config.values import format_value, masked
from navarch.errors import ConfigError

VALUES_MAX = 200_000
"""Values in one walk. A file of 1 MiB without anchors holds about half of it at most."""
FAULTS_MAX = 100
"""Mistakes after which the walk gives up: nobody reads more."""
SHOWN_MAX = 60
"""Characters of a value that a message shows."""
HIDDEN = "***"
"""What stands in the place of a secret."""

_WHOLE = re.compile(r"-?(?:0|[1-9][0-9]{0,17})")
_DECIMAL = re.compile(r"-?(?:[0-9]{1,18}(?:\.[0-9]{0,18})?|\.[0-9]{1,18})(?:[eE][+-]?[0-9]{1,3})?")


class Tag(StrEnum):
    """What YAML takes an unquoted value for."""

    TEXT = "tag:yaml.org,2002:str"
    WHOLE = "tag:yaml.org,2002:int"
    DECIMAL = "tag:yaml.org,2002:float"
    SWITCH = "tag:yaml.org,2002:bool"
    NOTHING = "tag:yaml.org,2002:null"
    DATE = "tag:yaml.org,2002:timestamp"
    LIST = "tag:yaml.org,2002:seq"
    MAPPING = "tag:yaml.org,2002:map"


class Reading(Struct, frozen=True):
    """One effective value, and where it came from."""

    key: str
    """Dotted, as in ``pools.training.zones[0]``."""
    shown: str
    """The value for people, on one line; a reference in the place of what the environment says."""
    line: int | None
    """From 1; None for a default."""


class TooManyFaults(Exception):
    """The walk has seen enough."""


class Reader:
    """One walk over one file."""

    def __init__(
        self, *, file: str, environ: Mapping[str, str], fallbacks: Mapping[str, yaml.Node]
    ) -> None:
        """Start a walk; `fallbacks` maps a key, such as ``pools``, to what its entries inherit."""
        self.file = file
        self.environ = environ
        self.fallbacks = fallbacks
        self.faults: list[ConfigError] = []
        self.readings: dict[str, Reading] = {}
        self._values_left = VALUES_MAX
        self._depth = 0

    def read(self, shape: Shape, nodes: Sequence[yaml.Node], key: str) -> object:
        """Read one value; after a mistake, note it and return None.

        `nodes` holds what was written, then what is inherited; it is empty for an absent block.
        """
        self._depth += 1
        try:
            if self._depth > DEPTH_MAX:
                message = f"nested more than {DEPTH_MAX} levels deep; does an anchor hold itself?"
                raise self.fault(message, key="", node=nodes[0])
            return self._read(shape, nodes, key)
        except ConfigError as fault:
            self.note(fault)
            return None
        finally:
            self._depth -= 1

    def note(self, fault: ConfigError) -> None:
        """Keep a mistake; one that several pools inherit is kept once."""
        seen = {(kept.line, kept.message) for kept in self.faults}
        if (fault.line, fault.message) not in seen:
            self.faults.append(fault)
        if len(self.faults) >= FAULTS_MAX:
            raise TooManyFaults

    def fault(
        self, message: str, *, key: str, node: yaml.Node | None = None, line: int | None = None
    ) -> ConfigError:
        """Make a mistake's message with its place: of the node, else the line, else of `key`."""
        if node is not None:
            line = node.start_mark.line + 1
        elif line is None and key in self.readings:
            line = self.readings[key].line
        return ConfigError(message, file=self.file, line=line, key=key)

    def first_line(self, key: str) -> int | None:
        """Find the first line on which something of a key or below it stands; None: nowhere."""
        below = (f"{key}.", f"{key}[")
        lines = (
            one.line
            for one in self.readings.values()
            if one.line is not None and (one.key == key or one.key.startswith(below))
        )
        return min(lines, default=None)

    def _read(self, shape: Shape, nodes: Sequence[yaml.Node], key: str) -> object:
        match shape:
            case Leaf() | Choice():
                value = self._scalar(shape, nodes[0], key)
                self._keep(key, _shown(nodes[0], secret=_is_secret(shape)), nodes[0])
                return value
            case Items():
                return self._items(shape, nodes[0], key)
            case Named():
                return self._named(shape, nodes, key)
            case Block():
                return self._block(shape, nodes, key)
            case Variants():
                return self._variant(shape, nodes, key)
            case Anything():
                return self._anything(shape, nodes[0], key)

    def _keep(self, key: str, shown: str, node: yaml.Node | None) -> None:
        line = None if node is None else node.start_mark.line + 1
        self.readings[key] = Reading(key=key, shown=shown, line=line)

    # -- mappings and lists ---------------------------------------------------------------------

    def _block(self, block: Block, nodes: Sequence[yaml.Node], key: str) -> object:
        faults_before = len(self.faults)
        known = [*block.slots, *(["type"] if block.struct.__struct_config__.tag else [])]
        layers = [
            self._entries(node, block.expected, key, () if inherited else known)
            for inherited, node in enumerate(nodes)
        ]
        values = {}
        for name, slot in block.slots.items():
            written = [layer[name] for layer in layers if name in layer]
            values[slot.attribute] = self._slot(slot, written, _join(key, name), nodes)
        return block.struct(**values) if len(self.faults) == faults_before else None

    def _slot(
        self, slot: Slot, written: Sequence[yaml.Node], key: str, around: Sequence[yaml.Node]
    ) -> object:
        if written:
            return self.read(slot.shape, written, key)
        if slot.required:
            message = f"missing, expected {slot.shape.expected}: {slot.doc}"
            self.note(self.fault(message, key=key, node=around[0] if around else None))
            return None
        if isinstance(slot.shape, Block) and slot.default is not None:
            return self._block(slot.shape, (), key)
        self._keep(key, format_value(slot.default), None)
        return slot.default

    def _named(self, named: Named, nodes: Sequence[yaml.Node], key: str) -> object:
        entries: dict[str, list[yaml.Node]] = {}
        for node in nodes:
            for name, value in self._entries(node, named.expected, key).items():
                entries.setdefault(name, [value])
        limit = named.key.maximum
        if limit is not None and len(entries) > limit:
            message = f"expected at most {limit:,.0f} entries, got {len(entries):,}"
            raise self.fault(message, key=key, node=nodes[0])
        if not entries:
            self._keep(key, "{}", nodes[0])
        inherited = [self.fallbacks[key]] if key in self.fallbacks else []
        values = {}
        for name, written in entries.items():
            here = _join(key, name)
            if form := named.key.names:
                self._check_name(name, form.parse, form.expected, written[0], here)
            values[name] = self.read(named.value, [*written, *inherited], here)
        return values

    def _check_name(
        self, name: str, parse: object, expected: str, node: yaml.Node, key: str
    ) -> None:
        assert callable(parse)
        try:
            parse(name)
        except ValueError:
            message = f"expected {expected}, got {quoted(name)}"
            self.note(self.fault(message, key=key, node=node))

    def _variant(self, variants: Variants, nodes: Sequence[yaml.Node], key: str) -> object:
        entries = self._entries(nodes[0], variants.expected, key)
        here = _join(key, "type")
        if "type" not in entries:
            message = f"missing, expected {Choice(words=tuple(variants.blocks)).expected}"
            raise self.fault(message, key=here, node=nodes[0])
        word = self._read(Choice(words=tuple(variants.blocks)), [entries["type"]], here)
        return self._block(variants.blocks[str(word)], nodes, key)

    def _items(self, items: Items, node: yaml.Node, key: str) -> object:
        if not isinstance(node, yaml.SequenceNode) or node.tag != Tag.LIST:
            raise self._wrong(items.expected, node, key)
        self._spend(len(node.value), node)
        if not node.value:
            self._keep(key, "[]", node)
        return tuple(
            self.read(items.item, [child], f"{key}[{index}]")
            for index, child in enumerate(node.value)
        )

    def _entries(
        self, node: yaml.Node, expected: str, key: str, known: Sequence[str] = ()
    ) -> dict[str, yaml.Node]:
        """Read the keys of a mapping; note those that are no text, doubled, or not `known`.

        Without `known` every name is fine.
        """
        if not isinstance(node, yaml.MappingNode) or node.tag != Tag.MAPPING:
            raise self._wrong(expected, node, key)
        self._spend(len(node.value), node)
        entries: dict[str, yaml.Node] = {}
        places: dict[str, int] = {}
        for name_node, value in node.value:
            if name_node.tag == "tag:yaml.org,2002:merge":
                message = "merge keys are not read; write the keys, or use defaults"
                self.note(self.fault(message, key=_join(key, "<<"), node=name_node))
            elif not isinstance(name_node, yaml.ScalarNode) or name_node.tag != Tag.TEXT:
                message = f"expected a key that is text, got {got(name_node)}{_advice(name_node)}"
                self.note(self.fault(message, key=key, node=name_node))
            elif name_node.value in entries:
                message = f"written twice, first on line {places[name_node.value]}"
                here = _join(key, name_node.value)
                self.note(self.fault(message, key=here, node=name_node))
            elif known and name_node.value not in known:
                self.note(self._unknown(name_node, known, key))
            else:
                entries[name_node.value] = value
                places[name_node.value] = name_node.start_mark.line + 1
        return entries

    def _spend(self, count: int, node: yaml.Node) -> None:
        self._values_left -= count
        if self._values_left < 0:
            message = f"holds more than {VALUES_MAX:,} values, anchors counted where they are used"
            self.faults.append(self.fault(message, key="", node=node))
            raise TooManyFaults

    def _anything(self, shape: Anything, node: yaml.Node, key: str) -> object:
        match node:
            case yaml.MappingNode():
                entries = self._entries(node, shape.expected, key)
                return {
                    name: self.read(shape, [value], _join(key, name))
                    for name, value in entries.items()
                }
            case yaml.SequenceNode(tag=Tag.LIST):
                self._spend(len(node.value), node)
                return [
                    self.read(shape, [child], f"{key}[{index}]")
                    for index, child in enumerate(node.value)
                ]
            case _:
                pass
        kind = _KINDS.get(node.tag)
        if kind is None:
            raise self._wrong(shape.expected, node, key)
        value = self._scalar(Leaf(type=kind, key=Key("")), node, key)
        self._keep(key, _shown(node), node)
        return value

    # -- single values --------------------------------------------------------------------------

    def _scalar(self, shape: Leaf | Choice, node: yaml.Node, key: str) -> object:
        if not isinstance(node, yaml.ScalarNode) or node.tag == Tag.NOTHING:
            raise self._wrong(shape.expected, node, key)
        try:
            text = environment.expand(node.value, self.environ)
        except ValueError as error:
            raise self.fault(str(error), key=key, node=node) from None
        if not storable(text):
            message = "expected text without NUL and lone surrogates"
            raise self.fault(message, key=key, node=node)
        is_text = node.tag == Tag.TEXT
        if isinstance(shape, Choice):
            if text not in shape.words or not is_text:
                raise self._wrong(shape.expected, node, key, nearest(text, shape.words))
            return text
        bare = is_text and node.style is None and environment.mentions(node.value)
        match shape.type.__name__:
            case "str" if shape.key.form is not None:
                return self._formed(shape, text, node, key)
            case "str" if is_text:
                return self._short_enough(shape, text, node, key)
            case "bool" if (bare or node.tag == Tag.SWITCH) and text.lower() in _SWITCHES:
                return _SWITCHES[text.lower()]
            case "int" if (bare or node.tag == Tag.WHOLE) and _WHOLE.fullmatch(text):
                if _within(number := int(text), shape):
                    return number
            case "float" if (bare or node.tag in _NUMBERS) and _DECIMAL.fullmatch(text):
                if math.isfinite(decimal := float(text)) and _within(decimal, shape):
                    return decimal
            case _:
                pass
        raise self._wrong(shape.expected, node, key, secret=_is_secret(shape))

    def _short_enough(self, leaf: Leaf, text: str, node: yaml.Node, key: str) -> str:
        limit = leaf.key.maximum
        if limit is not None and len(text) > limit:
            message = f"expected at most {limit:,.0f} characters, got {len(text):,}"
            raise self.fault(message, key=key, node=node)
        return text

    def _formed(self, leaf: Leaf, text: str, node: yaml.ScalarNode, key: str) -> object:
        assert leaf.key.form is not None
        try:
            value = leaf.key.form.parse(text)
        except ValueError as error:
            # The reason may quote the text, which the environment must not reach.
            told = str(error) and not environment.mentions(node.value)
            reason = f"; {error}" if told else ""
            raise self._wrong(leaf.expected, node, key, reason, secret=leaf.key.secret) from None
        if node.tag != Tag.TEXT:
            raise self._wrong(leaf.expected, node, key, secret=leaf.key.secret)
        return value

    def _wrong(
        self,
        expected: str,
        node: yaml.Node,
        key: str,
        advice: str = "",
        *,
        secret: bool = False,
    ) -> ConfigError:
        if secret and isinstance(node, yaml.ScalarNode) and node.tag != Tag.NOTHING:
            message = f"expected {expected}, got something that is not shown{advice}"
            return self.fault(message, key=key, node=node)
        if not advice and expected.startswith(("text", "a name", "a label", "one of")):
            advice = _advice(node)
        if node.tag == Tag.NOTHING:
            advice = "; remove the key or give it a value"
        return self.fault(f"expected {expected}, got {got(node)}{advice}", key=key, node=node)

    def _unknown(self, node: yaml.ScalarNode, known: Sequence[str], key: str) -> ConfigError:
        place = f"under {key}" if key else "at the top"
        advice = nearest(node.value, known) or f"; expected one of {', '.join(known)}"
        message = f"unknown key {quoted(node.value)} {place}{advice}"
        return self.fault(message, key=_join(key, node.value), node=node)


_KINDS: Mapping[str, type] = {
    Tag.TEXT: str,
    Tag.WHOLE: int,
    Tag.DECIMAL: float,
    Tag.SWITCH: bool,
}
_SWITCHES = yaml.SafeLoader.bool_values
_PLAIN_TAGS = frozenset(Tag)
_QUOTABLE = frozenset([Tag.WHOLE, Tag.DECIMAL, Tag.SWITCH, Tag.DATE])
_NUMBERS = frozenset([Tag.WHOLE, Tag.DECIMAL])


def _within(number: float, leaf: Leaf) -> bool:
    low, high = leaf.key.minimum, leaf.key.maximum
    return (low is None or number >= low) and (high is None or number <= high)


def storable(text: str) -> bool:
    """Tell whether every store, and every peer, can take a text."""
    return "\0" not in text and not re.search("[\ud800-\udfff]", text)


def _join(key: str, name: str) -> str:
    shown = name if re.fullmatch(r"[\w./-]{1,64}", name) else quoted(name)
    return f"{key}.{shown}" if key else shown


def nearest(name: str, known: Sequence[str]) -> str:
    """Say which known word was probably meant; empty when none is near."""
    near = difflib.get_close_matches(name.lower()[:64], known, n=1)
    return f"; did you mean {near[0]}?" if near else ""


def quoted(text: str) -> str:
    """Put text on one line, in quotes, without control characters, at most `SHOWN_MAX` long."""
    text = masked(text)
    cut = text if len(text) <= SHOWN_MAX else text[: SHOWN_MAX - 3] + "..."
    between = json.dumps(cut, ensure_ascii=False)
    return "".join(sign if sign.isprintable() else ascii(sign)[1:-1] for sign in between)


def _is_secret(shape: Leaf | Choice) -> bool:
    return isinstance(shape, Leaf) and shape.key.secret


def _shown(node: yaml.Node, *, secret: bool = False) -> str:
    assert isinstance(node, yaml.ScalarNode)
    if secret:
        return HIDDEN
    plain = re.fullmatch(r"[\x21-\x7e][\x20-\x7e]{0,59}", node.value)
    return masked(node.value) if plain else quoted(node.value)


def got(node: yaml.Node) -> str:
    """Describe what stands there, in the words of people who write YAML."""
    if node.tag not in _PLAIN_TAGS:
        return f"the tag {quoted(node.tag)}"
    match node:
        case yaml.MappingNode():
            return "a mapping"
        case yaml.SequenceNode():
            return "a list"
        case yaml.ScalarNode(tag=Tag.NOTHING):
            return "nothing"
        case yaml.ScalarNode(tag=Tag.WHOLE | Tag.DECIMAL):
            return f"the number {_shown(node)}"
        case yaml.ScalarNode(tag=Tag.TEXT):
            return quoted(node.value)
        case _:
            return _shown(node)  # true, false, a date


def _advice(node: yaml.Node) -> str:
    """Tell how to write as text what YAML takes for something else."""
    if node.tag in _QUOTABLE and isinstance(node, yaml.ScalarNode):
        return f"; put it in quotes: {quoted(node.value)}"
    return ""
