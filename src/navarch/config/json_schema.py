"""The schema in the words of editors: JSON Schema, draft 2020-12.

Editors complete and check YAML by it. It allows slightly more than `load` does, which also knows
what keys mean together. Where an unquoted value may be a reference to the environment, a text of
that form is allowed.
"""

from __future__ import annotations

from collections.abc import Mapping

from navarch.config import shapes
from navarch.config.shapes import Anything, Block, Choice, Items, Leaf, Named, Shape, Slot, Variants
from navarch.config.values import format_value

Json = Mapping[str, object]

_REFERENCE: Json = {"type": "string", "pattern": r"\$\{[A-Za-z_][A-Za-z0-9_]*\}"}
_TYPES = {"str": "string", "int": "integer", "float": "number", "bool": "boolean"}


def json_schema() -> Json:
    """Describe a whole file. Blocks that may stand inside of themselves are under ``$defs``."""
    definitions: dict[str, Json] = {}
    described = _Describing(definitions).shape(shapes.document())
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Configuration of Navarch",
        **described,
        "$defs": dict(sorted(definitions.items())),
    }


class _Describing:
    """One walk over the shapes, which describes each block of `Variants` once."""

    def __init__(self, definitions: dict[str, Json]) -> None:
        self._definitions = definitions

    def shape(self, shape: Shape) -> Json:
        match shape:
            case Leaf():
                return _leaf(shape)
            case Choice(words=words):
                return {"enum": list(words)}
            case Items(item=item):
                return {"type": "array", "items": self.shape(item)}
            case Named():
                return self._named(shape)
            case Block():
                return self._block(shape, {})
            case Variants(blocks=blocks):
                return {"oneOf": [self._variant(tag, block) for tag, block in blocks.items()]}
            case Anything():
                return {}

    def _variant(self, tag: str, block: Block) -> Json:
        name = block.struct.__name__
        if name not in self._definitions:
            self._definitions[name] = {}  # it is being described, also while it is met again
            self._definitions[name] = self._block(block, {"type": {"const": tag}})
        return {"$ref": f"#/$defs/{name}"}

    def _named(self, named: Named) -> Json:
        described: dict[str, object] = {
            "type": "object",
            "additionalProperties": self.shape(named.value),
        }
        if named.key.names is not None:
            described["propertyNames"] = {"pattern": named.key.names.pattern}
        if named.key.maximum is not None:
            described["maxProperties"] = named.key.maximum
        return described

    def _block(self, block: Block, fixed: Json) -> Json:
        required = [*fixed, *(name for name, slot in block.slots.items() if slot.required)]
        described: dict[str, object] = {
            "type": "object",
            "description": block.doc,
            "properties": {
                **fixed,
                **{name: self._slot(slot) for name, slot in block.slots.items()},
            },
            "additionalProperties": False,
        }
        return described | ({"required": required} if required else {})

    def _slot(self, slot: Slot) -> Json:
        described = {**self.shape(slot.shape), "description": slot.doc}
        if isinstance(slot.shape, Leaf) and not slot.required and slot.default is not None:
            plain = isinstance(slot.default, str | int | float)
            described["default"] = slot.default if plain else format_value(slot.default)
        return described


def _leaf(leaf: Leaf) -> Json:
    key = leaf.key
    if key.form is not None:
        return {"type": "string", "anyOf": [{"pattern": key.form.pattern}, _REFERENCE]}
    if leaf.type is str:
        return {"type": "string"} | ({} if key.maximum is None else {"maxLength": key.maximum})
    limits = {"minimum": key.minimum, "maximum": key.maximum}
    known = {name: limit for name, limit in limits.items() if limit is not None}
    return {"anyOf": [{"type": _TYPES[leaf.type.__name__], **known}, _REFERENCE]}
