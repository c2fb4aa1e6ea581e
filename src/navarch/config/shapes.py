"""What may stand where in the configuration, as a tree made from the structs of `schema`.

Structs are pleasant to write and to use; a tree of seven kinds of shape is what a reader, a printer
of JSON Schema and a list of effective values can walk. This module turns one into the other, so
that neither has to be kept in step by hand::

    Leaf      one value: text, a number, true or false, or a text with a form
    Choice    one of a few words
    Items     a list of one shape
    Named     a mapping from free names to one shape
    Block     a mapping with known keys, each with its own shape
    Variants  one of several blocks, told apart by the key ``type``
    Anything  any value: what the class of a plugin is called with

The blocks of `Variants` are made when they are asked for, since an autoscaler may hold others: the
tree has no end, and is only walked as deep as a file is.
"""

from __future__ import annotations

import functools
import operator
import types
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Literal, Union, get_args, get_origin

import msgspec
from msgspec import Struct

from navarch.config import schema
from navarch.config.key import Key


class Leaf(Struct, frozen=True):
    """One value."""

    type: type
    """`str`, `int`, `float` or `bool`: what stands in the file. A form reads `str` further."""
    key: Key

    @property
    def expected(self) -> str:
        """What to write, as it stands behind the word "expected"."""
        if self.key.form is not None:
            return self.key.form.expected
        match self.type.__name__:
            case "bool":
                return "true or false"
            case "str":
                return "text"
            case name:
                noun = "a whole number" if name == "int" else "a number"
                return noun + self._limits()

    def _limits(self) -> str:
        low, high = self.key.minimum, self.key.maximum
        if low is not None and high is not None:
            return f" from {low:,} to {high:,}"
        if low is not None:
            return f" of at least {low:,}"
        return "" if high is None else f" of at most {high:,}"


class Choice(Struct, frozen=True):
    """One of a few words."""

    words: tuple[str, ...]

    @property
    def expected(self) -> str:
        """What to write."""
        return "one of " + ", ".join(self.words)


class Items(Struct, frozen=True):
    """A list."""

    item: Shape
    expected: str = "a list"


class Named(Struct, frozen=True):
    """A mapping from free names."""

    value: Shape
    key: Key
    expected: str = "a mapping of names"


class Slot(Struct, frozen=True):
    """One key of a block."""

    shape: Shape
    doc: str
    required: bool
    default: object
    """Meaningless where it is required."""
    attribute: str = ""
    """What the field is called in the struct."""


class Block(Struct, frozen=True):
    """A mapping with known keys."""

    struct: type[Struct]
    slots: dict[str, Slot]
    doc: str

    @property
    def expected(self) -> str:
        """What to write."""
        return "a mapping with " + ", ".join(self.slots)


class Variants(Struct, frozen=True):
    """One of several blocks."""

    structs: tuple[type[Struct], ...]

    @property
    def blocks(self) -> dict[str, Block]:
        """The blocks, by the word under ``type``."""
        return {_tag(struct): block_of(struct) for struct in self.structs}

    @property
    def expected(self) -> str:
        """What to write."""
        return "a mapping with type: " + " or ".join(map(_tag, self.structs))


class Anything(Struct, frozen=True):
    """Any value."""

    expected: str = "text, a number, true or false, a list or a mapping"


Shape = Leaf | Choice | Items | Named | Block | Variants | Anything


@functools.cache
def document() -> Block:
    """Return the shape of a whole file."""
    return block_of(schema.Document)


@functools.cache
def block_of(struct: type[Struct]) -> Block:
    """Turn a struct into a block, field by field, in the order of the fields."""
    slots = {}
    for field in msgspec.structs.fields(struct):
        shape, key = shape_of(field.type)
        slots[field.encode_name] = Slot(
            shape=shape,
            doc=key.doc,
            required=field.required,
            default=_default(field),
            attribute=field.name,
        )
    doc = (struct.__doc__ or "").partition("\n")[0]
    return Block(struct=struct, slots=slots, doc=doc)


def shape_of(annotation: object) -> tuple[Shape, Key]:
    """Turn ``Annotated[TYPE, Key(...)]`` into a shape, and return the key beside it.

    Raises `TypeError` for a type that a file can not hold: a mistake in `schema`.
    """
    if get_origin(annotation) is not Annotated:
        raise TypeError(f"{annotation} has no Key")
    inner, key, *_ = get_args(annotation)
    assert isinstance(key, Key)
    return _bare_shape(_without_none(inner), key), key


def _bare_shape(kind: object, key: Key) -> Shape:
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Literal:
        return Choice(words=arguments)
    if origin is tuple:
        return Items(item=shape_of(arguments[0])[0])
    if origin is dict:
        return Named(value=shape_of(arguments[1])[0], key=key)
    if origin in {Union, types.UnionType}:
        return Variants(structs=arguments)
    if key.form is not None:
        return Leaf(type=str, key=key)
    if isinstance(kind, type) and issubclass(kind, Struct):
        return block_of(kind) if _tag(kind) == "" else Variants(structs=(kind,))
    if kind is object:
        return Anything()
    if isinstance(kind, type) and kind in {str, int, float, bool}:
        return Leaf(type=kind, key=key)
    forms = (timedelta, Path)
    hint = "; give it a form" if kind in forms else ""
    raise TypeError(f"a file can not hold {kind}{hint}")


def _without_none(kind: object) -> object:
    """Strip ``| None``: an absent key is the only way to write None."""
    if get_origin(kind) not in {Union, types.UnionType}:
        return kind
    members = [member for member in get_args(kind) if member is not type(None)]
    return functools.reduce(operator.or_, members)


def _tag(struct: type[Struct]) -> str:
    tag = struct.__struct_config__.tag
    return "" if tag is None else str(tag)


def _default(field: msgspec.structs.FieldInfo) -> object:
    if field.default_factory is not msgspec.NODEFAULT:
        return field.default_factory()
    return None if field.default is msgspec.NODEFAULT else field.default
