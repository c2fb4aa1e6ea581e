"""The tree of a checked expression, read from what the CEL library serializes.

The library compiles and evaluates, but shows nothing of what it understood. Its serialized form is
the public message ``cel.expr.CheckedExpr`` (cel-spec, ``checked.proto`` and ``syntax.proto``, read
November 2026) inside an ``Any``; this module reads as much of it as analysis needs, and can put
one part of a tree back into that form, so that a part can be evaluated alone.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final, Literal

from msgspec import Struct

_TYPE_URL: Final = b"type.googleapis.com/cel.expr.CheckedExpr"

Kind = Literal["constant", "name", "select", "call", "list", "map", "loop"]


class Part(Struct, frozen=True):
    """One node of the tree, and all below it."""

    kind: Kind
    number: int
    """The library's number of it, for `Tree.places`."""
    name: str = ""
    """Of a name, a selected field, a called function, or a loop's variable."""
    value: object = None
    """Of a constant: None, bool, int, float, str or bytes."""
    parts: tuple[Part, ...] = ()
    """What it is made of. Of a select: the operand. Of a call: the target, if any, and the
    arguments. Of a loop: range, start, condition, step, result."""
    asks: bool = False
    """Whether a select only asks for presence, as ``has()`` does."""
    encoded: bytes = b""

    @property
    def meaning(self) -> object:
        """What it says, without where it says it: equal for parts that ask the same."""
        value = (self.value.__class__, repr(self.value))
        parts = tuple(part.meaning for part in self.parts)
        return (self.kind, self.name, value, parts, self.asks)


class Tree(Struct, frozen=True):
    """One checked expression."""

    root: Part
    places: dict[int, int]
    """Numbers of parts to code points from the beginning of the text."""
    rest: bytes
    """All of the message but the root."""

    def alone(self, part: Part) -> bytes:
        """The serialized form of an expression that is only this part."""
        message = self.rest + _chunk(4, part.encoded)
        return _chunk(1, _TYPE_URL) + _chunk(2, message)


def parse_tree(serialized: bytes) -> Tree:
    """Read a serialized checked expression.

    Raises `ValueError` if it is none.
    """
    message = b"".join(_messages(serialized, 2))
    root: Part | None = None
    places: dict[int, int] = {}
    rest = b""
    for field, value in _fields(message):
        assert isinstance(value, bytes)
        if field == 4:
            root = _part(value)
            continue
        rest += _chunk(field, value)
        if field == 5:
            places = dict(_places(value))
    if root is None:
        raise ValueError("the serialized expression is not a checked one")
    return Tree(root, places, rest)


def walk(part: Part) -> Iterator[Part]:
    """Yield a part and all below it, parents first."""
    yield part
    for below in part.parts:
        yield from walk(below)


# --- the message ------------------------------------------------------------------------------


def _part(encoded: bytes) -> Part:
    """Read an ``Expr``."""
    number = 0
    found: tuple[int, bytes] = (0, b"")
    for field, value in _fields(encoded):
        if field == 2:
            assert isinstance(value, int)
            number = value
        else:
            assert isinstance(value, bytes)
            found = (field, value)
    field, content = found
    match field:
        case 3:
            return Part("constant", number, value=_constant(content), encoded=encoded)
        case 4:
            return Part("name", number, name=_text(content, 1), encoded=encoded)
        case 5:
            operand = tuple(_part(each) for each in _messages(content, 1))
            asks = any(number == 3 and value for number, value in _fields(content))
            return Part("select", number, _text(content, 2), None, operand, asks, encoded)
        case 6:
            target = [_part(each) for each in _messages(content, 1)]
            arguments = [_part(each) for each in _messages(content, 3)]
            return Part(
                "call", number, _text(content, 2), None, (*target, *arguments), encoded=encoded
            )
        case 7:
            elements = tuple(_part(each) for each in _messages(content, 1))
            return Part("list", number, parts=elements, encoded=encoded)
        case 8:
            entries = [
                _part(each)
                for entry in _messages(content, 2)
                for place in (3, 4)
                for each in _messages(entry, place)
            ]
            name = _text(content, 1)
            return Part("map", number, name, None, tuple(entries), encoded=encoded)
        case 9:
            parts = [_part(each) for place in (2, 4, 5, 6, 7) for each in _messages(content, place)]
            return Part("loop", number, _text(content, 1), None, tuple(parts), encoded=encoded)
        case _:
            raise ValueError(f"the serialized expression has a part of an unknown kind, {field}")


def _constant(content: bytes) -> object:
    for field, value in _fields(content):
        match field, value:
            case 1, _:
                return None
            case 2, int():
                return bool(value)
            case 3, int():
                return value - (1 << 64) if value >= 1 << 63 else value
            case 4, int():
                return value
            case 5, bytes():
                return struct.unpack("<d", value)[0]
            case 6, bytes():
                return value.decode(errors="replace")
            case 7, bytes():
                return value
            case _:
                raise ValueError(f"a constant of an unknown kind, {field}")
    return None


def _places(content: bytes) -> Iterator[tuple[int, int]]:
    """Read the map of a ``SourceInfo`` from parts to places."""
    for entry in _messages(content, 4):
        numbers = {field: value for field, value in _fields(entry) if isinstance(value, int)}
        yield numbers.get(1, 0), numbers.get(2, 0)


def _messages(content: bytes, wanted: int) -> Iterator[bytes]:
    for field, value in _fields(content):
        if field == wanted and isinstance(value, bytes):
            yield value


def _text(content: bytes, wanted: int) -> str:
    return b"".join(_messages(content, wanted)).decode(errors="replace")


def _fields(content: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Read the fields of a message, in their order: numbers, and bytes of whatever is inside."""
    at = 0
    while at < len(content):
        tag, at = _number(content, at)
        field, form = tag >> 3, tag & 7
        if form == 0:
            value, at = _number(content, at)
            yield field, value
            continue
        if form == 2:
            length, at = _number(content, at)
        elif form in (1, 5):
            length = 8 if form == 1 else 4
        else:
            raise ValueError(f"the serialized expression has a field of form {form}")
        if at + length > len(content):
            raise ValueError("the serialized expression is cut off")
        yield field, content[at : at + length]
        at += length


def _number(content: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if at >= len(content) or shift > 63:
            raise ValueError("the serialized expression is cut off")
        byte = content[at]
        at += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return value, at


def _chunk(field: int, content: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    digits = bytearray()
    while value > 0x7F:
        digits.append(value & 0x7F | 0x80)
        value >>= 7
    digits.append(value)
    return bytes(digits)
