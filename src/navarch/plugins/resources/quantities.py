"""Durations, sizes and rates as Kubernetes and Go write them: ``1h30m``, ``40Gi``, ``600GB/s``.

Each parser takes text and raises `ValueError` with a reason that fits behind "expected X". What is
written is what was read, in the shortest form: `parse(format(x)) == x`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from typing import Final

from msgspec import Struct

from navarch.core.serving.scaling import signals

_MICROSECOND: Final = timedelta(microseconds=1)
_DURATIONS: Final = {
    "d": 86_400_000_000,
    "h": 3_600_000_000,
    "m": 60_000_000,
    "s": 1_000_000,
    "ms": 1_000,
    "us": 1,
}
"""Microseconds."""
_PART: Final = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,6})?)(us|ms|s|m|h|d)")
_DURATION: Final = re.compile(r"(?:[0-9]{1,15}(?:\.[0-9]{1,6})?(?:us|ms|s|m|h|d)){1,6}")
_WRITTEN: Final = ("h", "m", "s", "ms", "us")
"""Units that are written, the largest first: Go knows no days."""
_YEARS: Final = timedelta(days=3650)
"""The longest duration: longer is a slip of the keyboard, and would overflow dates."""

_BINARY: Final = {f"{sign}i": 1024**power for power, sign in enumerate("KMGTP", 1)}
_DECIMAL: Final = {f"{sign}B": 1000**power for power, sign in enumerate("KMGTP", 1)}
_SIZES: Final = {
    "B": 1,
    "k": 1000,
    "kB": 1000,
    **_BINARY,
    **_DECIMAL,
    **{f"{sign}B": size for sign, size in _BINARY.items()},
    **{sign[0]: size for sign, size in _DECIMAL.items()},
}
_SIZE: Final = re.compile(r"([0-9]{1,18}(?:\.[0-9]{1,6})?)([KkMGTP]i?B?|B)")
SIZE_MAX: Final = 2**60
"""An exbibyte: more than any GPU, model or link has."""

_NUMBER: Final = re.compile(r"[0-9]{1,15}(?:\.[0-9]{1,15})?(?:[eE][+-]?[0-9]{1,2})?")
_TIMES: Final = re.compile(
    r"(?:ttft|tpot|itl|latency)(?:-.*)?|.*-(?:latency|time|duration)(?:-.*)?"
)


class Quantity(Struct, frozen=True):
    """One kind of text with a meaning."""

    expected: str
    """What to write, as it stands behind the word "expected"."""
    pattern: str
    """A regular expression that Go understands, too; the parser may be stricter."""
    parse: Callable[[str], object]
    """From text to value; raises `ValueError` with the reason."""
    write: Callable[[object], str]
    """From value to text."""


def parse_duration(text: str) -> timedelta:
    """Read a duration: numbers with units, such as ``500ms``, ``5m``, ``2h`` or ``1h30m``."""
    if _DURATION.fullmatch(text) is None:
        if _NUMBER.fullmatch(text):
            raise ValueError(f"it has no unit; {text}s means seconds")
        raise ValueError
    amount = sum(
        (Decimal(number) * _DURATIONS[unit] for number, unit in _PART.findall(text)), Decimal()
    )
    if amount > _YEARS // _MICROSECOND:
        raise ValueError("it is at most ten years")
    return timedelta(microseconds=round(amount))


def format_duration(duration: timedelta) -> str:
    """Write a duration in the largest unit that takes a whole number of it."""
    amount = duration // _MICROSECOND
    if not amount:
        return "0s"
    unit = next(each for each in _WRITTEN if not amount % _DURATIONS[each])
    return f"{amount // _DURATIONS[unit]}{unit}"


def parse_size(text: str) -> int:
    """Read a number of bytes such as ``40Gi``, ``140GB`` or ``512M``."""
    match = _SIZE.fullmatch(text)
    if match is None:
        if _NUMBER.fullmatch(text):
            raise ValueError(f"it has no unit; {text}Gi means gibibytes, {text}GB gigabytes")
        raise ValueError
    amount = Decimal(match[1]) * _SIZES[match[2]]
    if amount != int(amount):
        raise ValueError("it is no whole number of bytes")
    if amount > SIZE_MAX:
        raise ValueError("it is at most 1024Pi")
    return int(amount)


def format_size(size: int) -> str:
    """Write a size in the unit that makes its number the smallest."""
    whole = (
        (size // unit, sign)
        for sign, unit in (*_BINARY.items(), *_DECIMAL.items())
        if size and not size % unit
    )
    number, sign = min(whole, default=(size, "B"))
    return f"{number}{sign}"


def parse_rate(text: str) -> int:
    """Read a number of bytes a second such as ``600GB/s``."""
    if not text.endswith("/s"):
        raise ValueError(f"it is a rate; {text}/s means a second")
    return parse_size(text.removesuffix("/s"))


def is_time(metric: str) -> bool:
    """Tell whether a metric is a time: by the catalogue, of one that is not in it by its name."""
    if signals.is_known(metric):
        return signals.signal_of(metric).unit == "seconds"
    return _TIMES.fullmatch(signals.canonical(metric)) is not None


def is_number(text: str) -> bool:
    """Tell whether a text is a number without unit."""
    return _NUMBER.fullmatch(text) is not None


def parse_target(text: str) -> float:
    """Read what a metric should be: a number, percent, or a duration, which becomes seconds."""
    if is_number(text.removesuffix("%")):
        return float(text.removesuffix("%"))
    return parse_duration(text) / timedelta(seconds=1)


def format_target(target: float, metric: str) -> str | int:
    """Write what a metric should be, in a form that Kubernetes can store: no decimal number."""
    if is_time(metric):
        return format_duration(timedelta(seconds=target))
    whole = int(target)
    return whole if whole == target and whole < 2**31 else f"{target!r}"


def _written(format_: Callable[..., str]) -> Callable[[object], str]:
    """Forget of which type a writer's value is: whoever has the quantity has the value."""
    return format_


DURATION: Final = Quantity(
    "a duration such as 500ms, 30s, 5m, 2h or 1h30m",
    rf"^{_DURATION.pattern}$",
    parse_duration,
    _written(format_duration),
)
SIZE: Final = Quantity(
    "a size such as 40Gi or 140GB", rf"^{_SIZE.pattern}$", parse_size, _written(format_size)
)
RATE: Final = Quantity(
    "a rate such as 600GB/s",
    rf"^{_SIZE.pattern}/s$",
    parse_rate,
    _written(lambda size: f"{format_size(size)}/s"),
)
TARGET_PATTERN: Final = rf"^(?:{_NUMBER.pattern}%?|{_DURATION.pattern})$"
TARGET_EXPECTED: Final = "a number, or a duration such as 500ms where the metric is a time"
