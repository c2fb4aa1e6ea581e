"""What a metric is worth to a rule: numbers are numbers, also where they travelled as text.

Numeric text becomes a number, so that ``event.metrics.temperature >= 85`` means what it says.
Text that is no number stays text, and so do NaN and the infinities: comparing them with a number
fails loudly, where ``nan > 85`` would be quietly false.
"""

from __future__ import annotations

import math
import re
from typing import Final

METRICS_MAX: Final = 64
"""Metrics of one event that is judged, as many as the wire takes."""
TEXT_MAX: Final = 4096
"""Characters of one text that rules see; the wire takes as many bytes. What is beyond is cut."""
DIGITS_MAX: Final = 64
"""Characters of a text that is taken for a number: longer ones are ids."""

ABSENT: Final = object()
"""Stands for a metric that is not there, as part of a key."""

Plain = bool | int | float | str

_INT64: Final = 1 << 63
_WHOLE = re.compile(r"[+-]?[0-9]+")
_DECIMAL = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")


def plain(value: object) -> Plain:
    """What a rule sees of a metric's value.

    Whole numbers beyond 64 bits become decimals; what is neither a number nor text is shown as
    the name of its type, which no comparison takes for a number.
    """
    match value:
        case bool():
            return value
        case int():
            return _whole(int(value))
        case float():
            return float(value) if math.isfinite(value) else str(float(value))
        case str():
            return _number(str(value))
        case _:
            return f"<{type(value).__name__}>"


def text(value: str) -> str:
    """What a rule sees of a text: at most `TEXT_MAX` characters, none of which is half of one."""
    if len(value) > TEXT_MAX:
        value = value[:TEXT_MAX]
    if value.isascii():
        return value
    return value.encode("utf-8", "replace").decode()


def key(value: object) -> object:
    """What tells two values of a metric apart for every rule, as part of a key.

    1, 1.0 and True are equal in Python but not to a rule.
    """
    kind = value.__class__
    if kind is int:
        return value
    if kind is str:
        assert isinstance(value, str)
        return value if len(value) <= TEXT_MAX else value[:TEXT_MAX]
    if value is ABSENT:
        return value
    seen = plain(value)
    return (seen.__class__, repr(seen))


def _whole(value: int) -> Plain:
    if -_INT64 <= value < _INT64:
        return value
    try:
        return float(value)
    except OverflowError:
        return "<a number too large>"


def _number(value: str) -> Plain:
    if len(value) <= DIGITS_MAX:
        if _WHOLE.fullmatch(value):
            return _whole(int(value))
        if _DECIMAL.fullmatch(value):
            number = float(value)
            return number if math.isfinite(number) else value
    return text(value)
