"""The shapes of resources, read off the types of `navarch.core.model.resources` and the rules.

They are made once, and lead everything that reads, writes and describes documents: the reader, the
writer, Kubernetes' manifests and the tables of the documentation.
"""

from __future__ import annotations

import functools
import types
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final, Literal, Union, get_args, get_origin, get_type_hints

import msgspec
from msgspec import Struct

from navarch.core.model import resources as res
from navarch.plugins.resources.quantities import DURATION, TARGET_EXPECTED
from navarch.plugins.resources.rules import ENTRIES_MAX, NAME, REFERENCES, RULES, WHOLE_MAX, Rule


class Kind(StrEnum):
    """What a single value is."""

    TEXT = "text"
    WHOLE = "whole"
    DECIMAL = "decimal"
    SWITCH = "switch"
    DURATION = "duration"
    SIZE = "size"
    TARGET = "target"
    GANG = "gang"
    MOMENT = "moment"


class Scalar(Struct, frozen=True):
    """One value."""

    kind: Kind
    rule: Rule = Rule()

    @property
    def expected(self) -> str:
        """What to write, as it stands behind the word "expected"."""
        rule = self.rule
        match self.kind:
            case Kind.TEXT:
                return rule.form.expected if rule.form else "text"
            case Kind.SWITCH:
                return "true or false"
            case Kind.DURATION:
                above = " above zero" if rule.above == 0 else ""
                return DURATION.expected.replace("a duration", f"a duration{above}")
            case Kind.SIZE:
                assert rule.quantity is not None
                return rule.quantity.expected
            case Kind.TARGET:
                return TARGET_EXPECTED
            case Kind.GANG:
                return "true, false or a whole number from 1"
            case Kind.MOMENT:
                return "a time"
            case Kind.WHOLE | Kind.DECIMAL:
                word = "a whole number" if self.kind is Kind.WHOLE else "a number"
                return f"{word}{_range(rule, self.kind)}"


def _range(rule: Rule, kind: Kind) -> str:
    above = "" if rule.above is None else f" above {rule.above:g}"
    least = -WHOLE_MAX if rule.minimum is None and kind is Kind.WHOLE else rule.minimum
    most = rule.maximum
    if above:
        return f"{above} and at most {most:,.0f}" if most is not None else above
    if least is not None and most is not None:
        return f" from {least:,.0f} to {most:,.0f}"
    return f" from {least:,.0f}" if least is not None and least > -WHOLE_MAX else ""


class Choice(Struct, frozen=True):
    """One of several words."""

    words: tuple[str, ...]

    @property
    def expected(self) -> str:
        """What to write, as it stands behind the word "expected"."""
        return f"one of {', '.join(word for word in self.words if word)}"


class Items(Struct, frozen=True):
    """A list."""

    item: Shape
    most: int = ENTRIES_MAX
    expected: str = "a list"


class Texts(Struct, frozen=True):
    """A mapping from texts to texts."""

    rule: Rule = Rule()
    expected: str = "a mapping from names to texts"


class Anything(Struct, frozen=True):
    """A mapping that only somebody else understands."""

    expected: str = "a mapping"


class Block(Struct, frozen=True):
    """A mapping with known keys."""

    type: type[res.Part]
    slots: dict[str, Slot]
    """By the key in documents."""
    optional: bool = False
    """Whether it may be absent, which is then None."""
    expected: str = "a mapping"

    @property
    def demanding(self) -> bool:
        """Whether something of it has to be written."""
        return any(
            slot.required or (isinstance(slot.shape, Block) and slot.shape.demanding)
            for slot in self.slots.values()
            if not (isinstance(slot.shape, Block) and slot.shape.optional)
        )


Shape = Scalar | Choice | Items | Texts | Anything | Block


class Slot(Struct, frozen=True):
    """One key of a mapping."""

    attribute: str
    """The field's name in the struct."""
    shape: Shape
    default: object
    required: bool

    @property
    def optional(self) -> bool:
        """Whether an empty text may stand there, and says nothing."""
        return self.default == "" and not self.required


@functools.cache
def block(type_: type[res.Part], *, required: bool = False, optional: bool = False) -> Block:
    """Make the shape of a part of a resource; `required` is for references: their name is."""
    hints = get_type_hints(type_)
    rules = RULES.get(type_, {})
    slots: dict[str, Slot] = {}
    for field in msgspec.structs.fields(type_):
        rule = rules.get(field.name, Rule())
        if type_ is res.Ref:
            rule = Rule(required=required, form=NAME)
        must = (type_, field.name) in REFERENCES
        shape = _shape(hints[field.name], rule, must=must)
        if (type_, field.name) == (res.MetricTarget, "target"):
            shape = Scalar(Kind.TARGET, rule)
        default = field.default
        if field.default_factory is not msgspec.NODEFAULT:
            default = field.default_factory()
        slots[field.encode_name] = Slot(field.name, shape, default, rule.required)
    return Block(type_, slots, optional)


def spec(type_: type[res.Document]) -> Block:
    """Make the shape of what is wanted of a kind of resource."""
    return block(get_type_hints(type_)["spec"])


def status(type_: type[res.Document]) -> Block:
    """Make the shape of how a kind of resource stands."""
    return block(get_type_hints(type_)["status"])


def _shape(hint: object, rule: Rule, *, must: bool = False) -> Shape:
    if hint == (bool | int):
        return Scalar(Kind.GANG, rule)
    origin, args = get_origin(hint), get_args(hint)
    if origin is Literal:
        return Choice(words=args)
    if origin in (Union, types.UnionType):
        inner = next(each for each in args if each is not type(None))
        if isinstance(inner, type) and issubclass(inner, res.Part):
            return block(inner, optional=True)
        return _shape(inner, rule)
    if origin is tuple:
        return Items(_shape(args[0], rule))
    if origin is dict:
        return Anything() if args[1] is object else Texts(rule)
    if isinstance(hint, type) and issubclass(hint, res.Part):
        return block(hint, required=must)
    if rule.quantity is not None:
        return Scalar(Kind.SIZE, rule)
    assert isinstance(hint, type)
    return Scalar(_KINDS[hint], rule)


_KINDS: Final[dict[type, Kind]] = {
    str: Kind.TEXT,
    int: Kind.WHOLE,
    float: Kind.DECIMAL,
    bool: Kind.SWITCH,
    timedelta: Kind.DURATION,
    datetime: Kind.MOMENT,
}
