"""Values of a mapping that somebody wrote, each with a clear refusal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from enum import StrEnum
from typing import TypeVar

from navarch.config.reading import nearest
from navarch.config.values import parse_duration
from navarch.errors import ConfigError
from navarch.simulator.loads.shapes import OutOfBounds

E = TypeVar("E", bound=StrEnum)

SHOWN_MAX = 60
"""Characters of a wrong value that an error shows."""


class Written:
    """One mapping, and which of its keys were read."""

    def __init__(self, values: object, where: str) -> None:
        """Read a mapping; `where` is its dotted place, for errors. Raises `ConfigError`."""
        if not isinstance(values, Mapping) or not all(isinstance(key, str) for key in values):
            raise ConfigError(f"expected a mapping, not {shown(values)}", key=where)
        self._values: Mapping[str, object] = values
        self._where = where
        self._read: dict[str, None] = {}

    def place(self, key: str) -> str:
        """The dotted place of one of its keys."""
        return ".".join(part for part in (self._where, key) if part)

    def refuse(self, key: str, text: str) -> ConfigError:
        """Make the error that says what is wrong with a key."""
        return ConfigError(text, key=self.place(key))

    def refuse_bounds(self, error: OutOfBounds) -> ConfigError:
        """Make the error that says which value is out of its bounds."""
        return self.refuse(error.key, error.text)

    def has(self, key: str) -> bool:
        """Whether a key is there with a value."""
        return self._values.get(key) is not None

    def value(self, key: str) -> object:
        """The value of a key; None without one."""
        self._read[key] = None
        return self._values.get(key)

    def _needed(self, key: str, expected: str) -> ConfigError:
        return self.refuse(key, f"is missing, expected {expected}")

    def number(self, key: str, default: float | None = None) -> float:
        """Read a number; without a default it has to be there."""
        value = self.value(key)
        if value is None:
            if default is None:
                raise self._needed(key, "a number")
            return default
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self.refuse(key, f"expected a number, not {shown(value)}")
        try:
            return float(value)
        except OverflowError:
            raise self.refuse(key, "expected a smaller number") from None

    def whole(self, key: str, default: int | None = None) -> int:
        """Read a whole number; without a default it has to be there."""
        value = self.value(key)
        if value is None:
            if default is None:
                raise self._needed(key, "a whole number")
            return default
        if isinstance(value, bool) or not isinstance(value, int):
            raise self.refuse(key, f"expected a whole number, not {shown(value)}")
        return value

    def flag(self, key: str) -> bool:
        """Read true or false; false without one."""
        value = self.value(key)
        if value is not None and not isinstance(value, bool):
            raise self.refuse(key, f"expected true or false, not {shown(value)}")
        return bool(value)

    def duration(self, key: str, default: timedelta | None = None) -> timedelta:
        """Read a duration such as ``30m``; without a default it has to be there."""
        value = self.value(key)
        if value is None:
            if default is None:
                raise self._needed(key, "a duration such as 30m")
            return default
        if isinstance(value, timedelta):
            return value
        if not isinstance(value, str):
            raise self.refuse(key, f"expected a duration such as 30m, not {shown(value)}")
        try:
            return parse_duration(value)
        except ValueError as error:
            text = f"expected a duration such as 30m, not {shown(value)}: {error}"
            raise self.refuse(key, text) from None

    def text(self, key: str, default: str | None = None) -> str:
        """Read a text; without a default it has to be there."""
        value = self.value(key)
        if value is None:
            if default is None:
                raise self._needed(key, "a text")
            return default
        if not isinstance(value, str):
            raise self.refuse(key, f"expected a text, not {shown(value)}")
        return value

    def word(self, key: str, words: type[E], default: E | None = None) -> E:
        """Read one of a few words; without a default it has to be there."""
        expected = "one of " + ", ".join(word.value for word in words)
        value = self.value(key)
        if value is None:
            if default is None:
                raise self._needed(key, expected)
            return default
        for word in words:
            if value == word.value:
                return word
        raise self.refuse(key, f"expected {expected}, not {shown(value)}")

    def items(self, key: str, most: int) -> Sequence[object]:
        """Read a list of at least one and at most so many things."""
        value = self.value(key)
        if isinstance(value, str | bytes) or not isinstance(value, Sequence) or not value:
            raise self.refuse(key, f"expected a list, not {shown(value)}")
        if len(value) > most:
            raise self.refuse(key, f"expected at most {most} entries, not {len(value)}")
        return value

    def done(self) -> None:
        """Raise `ConfigError` when there is a key that nobody has read."""
        for key in self._values:
            if key not in self._read:
                known = f", expected one of {', '.join(self._read)}"
                advice = nearest(key, tuple(self._read)) or known
                raise self.refuse(key, f"is unknown{advice}")


def shown(value: object) -> str:
    """Show a wrong value in an error, cut short."""
    text = "nothing" if value is None else repr(value)
    return text if len(text) <= SHOWN_MAX else text[: SHOWN_MAX - 1] + "…"
