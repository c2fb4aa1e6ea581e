"""Single values: from a node of YAML to a word, a number, a switch, a duration or a size.

Types are never guessed. What a value should have been, and what stands there, is the text of
`Unfit`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from typing import Final

import yaml

from navarch.config.reading import Tag, got, nearest, quoted, storable
from navarch.plugins.resources import quantities
from navarch.plugins.resources.rules import TEXT_MAX, WHOLE_MAX, Rule
from navarch.plugins.resources.shapes import Choice, Kind, Scalar

WHOLE: Final = re.compile(r"-?(?:0|[1-9][0-9]{0,17})")
_DECIMAL: Final = re.compile(
    r"-?(?:[0-9]{1,18}(?:\.[0-9]{0,18})?|\.[0-9]{1,18})(?:[eE][+-]?[0-9]{1,3})?"
)
_QUOTABLE: Final = frozenset({Tag.WHOLE, Tag.DECIMAL, Tag.SWITCH, Tag.DATE})


class Unfit(Exception):
    """A value is not what was expected; its text says what was."""


def unfit(expected: str, node: yaml.Node, advice: str = "") -> Unfit:
    """Make the error of a node that is not what was expected."""
    if node.tag == Tag.NOTHING:
        advice = "; remove the key or give it a value"
    return Unfit(f"expected {expected}, got {got(node)}{advice}")


def read(shape: Scalar | Choice, node: yaml.Node) -> object:
    """Read one value. Raises `Unfit`."""
    return _choice(shape, node) if isinstance(shape, Choice) else _scalar(shape, node)


def _choice(shape: Choice, node: yaml.Node) -> object:
    text = text_of(node)
    if text in shape.words and node.tag == Tag.TEXT:
        return text
    near = closest(text, shape.words) if text else ""
    raise unfit(shape.expected, node, near)


def _scalar(shape: Scalar, node: yaml.Node) -> object:
    text = text_of(node)
    if text is None or node.tag == Tag.NOTHING:
        raise unfit(shape.expected, node)
    number = _number(node, text)
    match shape.kind:
        case Kind.TEXT:
            return _words(shape, text, node)
        case Kind.SWITCH if node.tag == Tag.SWITCH:
            return bool(yaml.SafeLoader.bool_values[text.lower()])
        case Kind.GANG if node.tag == Tag.SWITCH:
            return bool(yaml.SafeLoader.bool_values[text.lower()])
        case Kind.GANG if number and WHOLE.fullmatch(text) and 1 <= int(text) <= WHOLE_MAX:
            return int(text)
        case Kind.WHOLE if number and WHOLE.fullmatch(text):
            if _within(int(text), shape.rule, least=-WHOLE_MAX, most=WHOLE_MAX):
                return int(text)
        case Kind.DECIMAL if number and _DECIMAL.fullmatch(text):
            if _within(float(text), shape.rule):
                return float(text)
        case Kind.TARGET | Kind.DURATION | Kind.SIZE:
            return _quantity(shape, text, node)
        case _:
            pass
    raise unfit(shape.expected, node)


def _words(shape: Scalar, text: str, node: yaml.Node) -> object:
    if node.tag != Tag.TEXT:
        quote = f"; put it in quotes: {quoted(text)}" if node.tag in _QUOTABLE else ""
        raise unfit(shape.expected, node, quote)
    if not storable(text):
        raise Unfit("expected text without NUL and lone surrogates")
    if len(text) > TEXT_MAX:
        message = f"expected at most {TEXT_MAX:,} characters, got {len(text):,}"
        raise Unfit(message)
    if shape.rule.form is not None and not shape.rule.form.fits(text):
        raise unfit(shape.expected, node)
    return text


def _quantity(shape: Scalar, text: str, node: yaml.Node) -> object:
    """Read a duration, a size, or the target of a metric."""
    if node.tag not in (Tag.TEXT, Tag.WHOLE, Tag.DECIMAL):
        raise unfit(shape.expected, node)
    try:
        value = _parser(shape)(text)
    except ValueError as error:
        raise unfit(shape.expected, node, f"; {error}" if str(error) else "") from None
    if shape.rule.above == 0 and not value:
        raise unfit(shape.expected, node)
    return value


def _parser(shape: Scalar) -> Callable[[str], object]:
    match shape.kind:
        case Kind.SIZE:
            assert shape.rule.quantity is not None
            return shape.rule.quantity.parse
        case Kind.TARGET:
            return quantities.parse_target
        case _:
            return quantities.parse_duration


def text_of(node: yaml.Node) -> str | None:
    """Read a scalar's text; JSON's pairs of surrogates are one character each. None: no scalar."""
    if not isinstance(node, yaml.ScalarNode):
        return None
    text = str(node.value)
    if text.isascii():
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")


def _number(node: yaml.Node, text: str) -> bool:
    """Whether an unquoted number stands there; JSON's ``1e3`` is text to YAML."""
    if node.tag in (Tag.WHOLE, Tag.DECIMAL):
        return True
    plain = isinstance(node, yaml.ScalarNode) and node.style is None and node.tag == Tag.TEXT
    return plain and _DECIMAL.fullmatch(text) is not None


def _within(number: float, rule: Rule, *, least: float = -math.inf, most: float = math.inf) -> bool:
    low = least if rule.minimum is None else rule.minimum
    high = most if rule.maximum is None else rule.maximum
    return (
        math.isfinite(number)
        and low <= number <= high
        and (rule.above is None or number > rule.above)
    )


def closest(name: str, known: Sequence[str]) -> str:
    """Say which known word was probably meant, whatever its capitals."""
    plain = {word.lower().replace("_", ""): word for word in known if word}
    near = nearest(name.lower().replace("_", ""), list(plain))
    meant = near.removeprefix("; did you mean ").removesuffix("?")
    return f"; did you mean {plain[meant]}?" if near else ""
