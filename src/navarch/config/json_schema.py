"""The schema in the words of editors: JSON Schema, draft 2020-12.

Editors complete and check YAML by it. It allows slightly more than `load` does, which also knows
what keys mean together. Where an unquoted value may be a reference to the environment, a text of
that form is allowed.
"""

from __future__ import annotations

from collections.abc import Mapping

from navarch.config import shapes
from navarch.config.shapes import Block, Choice, Items, Leaf, Named, Shape, Slot, Variants
from navarch.config.values import format_value

Json = Mapping[str, object]

_REFERENCE: Json = {"type": "string", "pattern": r"\$\{[A-Za-z_][A-Za-z0-9_]*\}"}
_TYPES = {"str": "string", "int": "integer", "float": "number", "bool": "boolean"}


def json_schema() -> Json:
    """Describe a whole file."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Configuration of Navarch",
        **_schema(shapes.document()),
    }


def _schema(shape: Shape) -> Json:
    match shape:
        case Leaf():
            return _leaf(shape)
        case Choice(words=words):
            return {"enum": list(words)}
        case Items(item=item):
            return {"type": "array", "items": _schema(item)}
        case Named():
            return _named(shape)
        case Block():
            return _block(shape, {})
        case Variants(blocks=blocks):
            kinds = [_block(block, {"type": {"const": tag}}) for tag, block in blocks.items()]
            return {"oneOf": kinds}


def _leaf(leaf: Leaf) -> Json:
    key = leaf.key
    if key.form is not None:
        return {"type": "string", "anyOf": [{"pattern": key.form.pattern}, _REFERENCE]}
    if leaf.type is str:
        return {"type": "string"} | ({} if key.maximum is None else {"maxLength": key.maximum})
    limits = {"minimum": key.minimum, "maximum": key.maximum}
    known = {name: limit for name, limit in limits.items() if limit is not None}
    return {"anyOf": [{"type": _TYPES[leaf.type.__name__], **known}, _REFERENCE]}


def _named(named: Named) -> Json:
    described: dict[str, object] = {
        "type": "object",
        "additionalProperties": _schema(named.value),
    }
    if named.key.names is not None:
        described["propertyNames"] = {"pattern": named.key.names.pattern}
    if named.key.maximum is not None:
        described["maxProperties"] = named.key.maximum
    return described


def _block(block: Block, fixed: Json) -> Json:
    required = [*fixed, *(name for name, slot in block.slots.items() if slot.required)]
    described: dict[str, object] = {
        "type": "object",
        "description": block.doc,
        "properties": {**fixed, **{name: _slot(slot) for name, slot in block.slots.items()}},
        "additionalProperties": False,
    }
    return described | ({"required": required} if required else {})


def _slot(slot: Slot) -> Json:
    described = {**_schema(slot.shape), "description": slot.doc}
    if isinstance(slot.shape, Leaf) and not slot.required and slot.default is not None:
        plain = isinstance(slot.default, str | int | float)
        described["default"] = slot.default if plain else format_value(slot.default)
    return described
