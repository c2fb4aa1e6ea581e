"""Text made plain, sign for sign, so that offsets stay what they are in the original.

Digits of any script become 0 to 9, letters written wide become narrow, and every kind of space,
hyphen and dot becomes the plain one: a number copied from a web page or typed in Devanagari is
still the number. Other letters of alphabets become ``z``, everything else a sign that nothing looks
for. The result is ASCII of the same length, so that its bytes are its characters.
"""

from __future__ import annotations

import unicodedata
from typing import Final

NOTHING: Final = "\x01"
"""What stands where there is nothing to look for."""

_ALPHABETS_END: Final = 0x2000
"""Below are alphabets, whose letters may stand in an address; above, signs without spaces between
words, which must not hide the number beside them."""

_DASHES: Final = frozenset("\u2010\u2011\u2012\u2013\u2014\u2015\u2212\ufe58\ufe63\uff0d")


class _Folding(dict[int, str]):
    """What each sign becomes; remembers alphabets, and looks up the rest each time."""

    def __missing__(self, code: int) -> str:
        folded = _folded(chr(code))
        if code < _ALPHABETS_END:
            self[code] = folded
        return folded


def _folded(sign: str) -> str:
    if sign.isascii():
        return sign
    if sign in _DASHES:
        return "-"
    if sign.isspace():
        return " "
    digit = unicodedata.decimal(sign, None)
    if digit is not None:
        return str(digit)
    plain = unicodedata.normalize("NFKC", sign)
    if len(plain) == 1 and plain.isascii():
        return plain
    if sign.isalpha() and ord(sign) < _ALPHABETS_END:
        return "z"
    return NOTHING


_FOLDING: Final = _Folding()


def fold(text: str) -> str:
    """Make it plain; the same length, all ASCII."""
    return text if text.isascii() else text.translate(_FOLDING)
