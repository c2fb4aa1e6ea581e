"""Patterns that match in time proportional to the text: RE2, typed."""

from __future__ import annotations

import bisect
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

import re2

from navarch.errors import PluginError

_MEMORY: int = 32 << 20
"""Bytes that a pattern and its automaton may take."""


class Match(Protocol):
    """One match."""

    def start(self, group: int = 0) -> int:
        """Where a group begins."""
        ...

    def span(self, group: int = 0) -> tuple[int, int]:
        """Where a group is; -1 and -1 where it took no part."""
        ...


class Pattern(Protocol):
    """A compiled pattern; bytes give offsets of bytes, text gives those of characters."""

    def search(self, text: str | bytes, pos: int = 0) -> Match | None:
        """Find the first match from `pos` on; what stands before is still seen."""
        ...

    def finditer(self, text: str | bytes) -> Iterator[Match]:
        """Find matches that do not overlap."""
        ...


def compiled(pattern: str, *, ignore_case: bool = False) -> Pattern:
    """Compile a pattern.

    :raises PluginError: it is none, or one that needs backtracking, such as a back reference
    """
    options = re2.Options()
    options.case_sensitive = not ignore_case
    options.log_errors = False
    options.max_mem = _MEMORY
    try:
        made: Pattern = re2.compile(pattern, options)
    except re2.error as error:
        why = error.args[0] if error.args else ""
        said = why.decode(errors="replace") if isinstance(why, bytes) else str(why)
        raise PluginError(f"pattern {pattern!r}: {said}; expected RE2 syntax") from error
    return made


class Encoded:
    """A text as the bytes that patterns match quickest on, and the way back to characters."""

    def __init__(self, text: str) -> None:
        """Encode it; half of a surrogate pair becomes ``?``, which is one character too."""
        self.content = text.encode("utf-8", "replace")
        self._begins: list[int] = []
        if not text.isascii():
            at = 0
            for sign in text:
                self._begins.append(at)
                code = ord(sign)
                lone = 0xD800 <= code < 0xE000
                at += (
                    1 if code < 0x80 or lone else 2 if code < 0x800 else 3 if code < 0x10000 else 4
                )

    def character(self, byte: int) -> int:
        """Say which character begins at a byte."""
        return bisect.bisect_left(self._begins, byte) if self._begins else byte

    def byte(self, character: int) -> int:
        """Say at which byte a character begins; the end for one behind the last."""
        if not self._begins:
            return min(character, len(self.content))
        return self._begins[character] if character < len(self._begins) else len(self.content)


def each_start(
    pattern: Pattern, text: Encoded, limit: Callable[[int], int]
) -> Iterator[tuple[int, int]]:
    """Find for each character the match that begins there and ends at `limit` of it or before.

    A match that needs more is none, and no match uses up the characters of another.
    """
    content = text.content
    at = 0
    while match := pattern.search(content, at):
        first = text.character(match.start())
        end = text.byte(limit(first))
        short = pattern.search(content[:end], match.start())
        if short is not None and short.start() == match.start():
            last = text.character(short.span()[1])
            if last > first:
                yield first, last
        at = text.byte(first + 1)
        if at <= match.start():
            return


class Hints:
    """Several patterns in one automaton, which says which of them occur in a text."""

    def __init__(self, patterns: Sequence[str]) -> None:
        """Compile them."""
        options = re2.Options()
        options.max_mem = _MEMORY
        self._set = re2.Set.SearchSet(options)
        for pattern in patterns:
            self._set.Add(pattern)
        self._set.Compile()

    def among(self, text: str) -> list[int]:
        """List the patterns that occur, by their places in the list."""
        content = text if text.isascii() else text.encode("utf-8", "replace")
        found: list[int] = self._set.Match(content)
        return found
