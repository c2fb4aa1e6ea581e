"""Long secrets: signed tokens and blocks of private keys.

They are longer than a stream should be held back for, but few places can be the begin of one. So
they also say from where on a text is undecided.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from navarch.plugins.guardrails.linear import compiled
from navarch.plugins.guardrails.pii.hit import Hit

TOKEN_MAX: Final = 4096
"""Characters of the longest token, and of the longest run without spaces that is looked at."""
BLOCK_MAX: Final = 8192
"""Characters of the longest block; that of a key of 8,192 bits has 6,400."""

HINT_OF_TOKENS: Final = r"eyJ[A-Za-z0-9_-]{6}"
HINT_OF_BLOCKS: Final = r"-----BEGIN "
_HEAD_MAX: Final = 64

_TOKEN_BEGIN: Final = compiled(r"(?:^|[^A-Za-z0-9_.-])(eyJ)")
_TOKEN: Final = compiled(r"^(eyJ[A-Za-z0-9_-]{6,}\.[A-Za-z0-9_-]{6,}\.[A-Za-z0-9_-]*)")
_HEAD: Final = compiled(r"^(-----BEGIN (?:[A-Z0-9]{1,12} ){0,3}PRIVATE KEY(?: BLOCK)?-----)")
_TAIL: Final = compiled(r"(-----END [A-Z0-9 ]{0,48}-----)")
_BODY: Final = compiled(r"^((?:(?:\s|\\n|\\r)*[A-Za-z0-9+/=]{16,})*)")


def find_tokens(text: str) -> Iterator[Hit]:
    """Find JSON web tokens in folded text."""
    at = 0
    while begin := _TOKEN_BEGIN.search(text, at):
        start = begin.start(1)
        piece = text[start : start + TOKEN_MAX]
        found = _TOKEN.search(piece)
        if found is not None:
            yield Hit(start, start + found.span(1)[1], "jwt", 0.95, "three parts")
        at = start + 3


def find_blocks(text: str) -> Iterator[Hit]:
    """Find blocks of private keys in folded text; one without an end reaches as far as its lines.

    A block that somebody has cut off is a secret still.
    """
    start = text.find("-----BEGIN ")
    while start >= 0:
        end, _ = _block(text, start)
        if end:
            yield Hit(start, end, "private-key", 1.0, "pem")
        start = text.find("-----BEGIN ", start + 1)


def undecided(text: str) -> int:
    """Say where the first block begins that more text could change; the text's length if none."""
    start = text.find("-----BEGIN ", max(len(text) - BLOCK_MAX, 0))
    while start >= 0:
        _, is_whole = _block(text, start)
        if not is_whole:
            return start
        start = text.find("-----BEGIN ", start + 1)
    return len(text)


def _block(text: str, start: int) -> tuple[int, bool]:
    """Say where a block ends, 0 where it is no private key, and whether more text changes that."""
    piece = text[start : start + BLOCK_MAX]
    head = _HEAD.search(piece)
    if head is None:
        return 0, len(piece) > _HEAD_MAX
    length = head.span(1)[1]
    tail = _TAIL.search(piece, length)
    if tail is not None:
        return start + tail.span(1)[1], True
    body = _BODY.search(piece[length:])
    length += body.span(1)[1] if body is not None else 0
    return start + length, len(piece) == BLOCK_MAX
