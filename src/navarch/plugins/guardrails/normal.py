"""Text in one case and one form, with the way back to the original's characters."""

from __future__ import annotations

import bisect
import unicodedata


class Normal:
    """A text without case, accents and invisible signs.

    Each character is changed by itself, so that what becomes of it does not depend on where a text
    is cut.
    """

    def __init__(self, text: str) -> None:
        """Normalise."""
        if text.isascii():
            self.text = text.lower().translate(_SPACES)
            self._places: list[int] | None = None
            return
        pieces = []
        places = []
        for place, sign in enumerate(text):
            plain = normal(sign)
            pieces.append(plain)
            places.extend([place] * len(plain))
        self.text = "".join(pieces)
        self._places = places

    def span(self, start: int, end: int) -> tuple[int, int]:
        """Say which characters of the original these are."""
        if self._places is None:
            return start, end
        return self._places[start], self._places[end - 1] + 1

    def limit(self, start: int, longest: int) -> int:
        """Say where `longest` characters of the original end that begin at a normalised one."""
        if self._places is None:
            return start + longest
        return bisect.bisect_left(self._places, self._places[start] + longest)


def normal(sign: str) -> str:
    """Give what one character becomes; nothing for accents and invisible signs."""
    if sign.isspace():
        return " "
    if sign.isascii():
        return sign.lower()
    plain = unicodedata.normalize("NFKD", sign).casefold()
    return "".join(part for part in plain if unicodedata.category(part) not in {"Mn", "Me", "Cf"})


_SPACES = str.maketrans("\t\n\r\x0b\x0c\x1c\x1d\x1e\x1f\x85", " " * 10)
