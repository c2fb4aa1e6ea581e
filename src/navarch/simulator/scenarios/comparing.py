"""Numbers that are expected: ``5``, ``"5"``, ``">= 3"``, ``"< 10.5"``."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping

from msgspec import Struct

OPERATORS: Mapping[str, Callable[[float, float], bool]] = {
    "==": operator.eq,
    "!=": operator.ne,
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
}
_WRITTEN = re.compile(r"\s*(==|!=|>=|<=|>|<)?\s*([0-9]{1,12}(?:\.[0-9]{1,6})?)\s*%?\s*")


class Comparison(Struct, frozen=True):
    """What a number is held against."""

    sign: str
    number: float

    @classmethod
    def read(cls, expected: object, *, default: str = "==") -> Comparison:
        """Read what is written; `default` is the comparison of a bare number.

        Raises `ValueError` that says what was expected.
        """
        if not isinstance(expected, bool) and isinstance(expected, int | float):
            return cls(default, float(expected))
        match = _WRITTEN.fullmatch(expected) if isinstance(expected, str) else None
        if match is None:
            got = "nothing" if expected is None else str(expected)[:60]
            raise ValueError(f"expected a number, or a comparison such as '>= 3', got {got}")
        return cls(match[1] or default, float(match[2]))

    def holds(self, seen: float) -> bool:
        """Whether a number is as expected."""
        return OPERATORS[self.sign](seen, self.number)

    def __str__(self) -> str:
        """Say it; a bare number stands for itself."""
        number = f"{self.number:g}"
        return number if self.sign == "==" else f"{self.sign} {number}"
