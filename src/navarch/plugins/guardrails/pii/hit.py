"""What detectors of personal numbers give each other, and words that make a number likelier."""

from __future__ import annotations

import bisect
from collections.abc import Collection
from typing import Final, NamedTuple

BEHIND: Final = 96
"""How far before a span the text matters: a longer number that holds it, and the words before
that."""

AHEAD: Final = 64
"""How far behind a span the text matters: what holds it may end there, or a block of a key."""

HOLDER_MAX: Final = 50
"""Characters of the longest number that others may be parts of."""

WORDS_WITHIN: Final = 40
"""How far before a number a word may stand that says what it is."""

NEAR: Final = 14
"""How far before a number a word may stand that alone makes it a phone's."""

DOUBT_WITHIN: Final = 24
"""How far before a number a word may stand that says that it is something else."""

SURE: Final = 0.9
"""From here on words or a layout have said what a number is."""

MEANS: Final[dict[str, tuple[str, ...]]] = {
    "phone": (
        *("phone", "tel", "call", "mobile", "cell", "fax", "whatsapp", "sms", "dial"),
        *("reach me", "text me", "contact", "handy", "ring me"),
    ),
    "card": ("card", "visa", "mastercard", "amex", "maestro", "payment", "debit", "credit", "pan"),
    "us-ssn": ("ssn", "social security", "soc sec", "social sec"),
    "uk-nhs": ("nhs", "health service", "patient"),
    "in-aadhaar": ("aadhaar", "aadhar", "uidai"),
    "pl-pesel": ("pesel",),
    "de-tax-id": ("steuer", "tax id", "tax-id", "idnr", "tin"),
    "us-routing": ("routing", "aba", "rtn", "transit"),
    "br-cpf": ("cpf",),
    "nl-bsn": ("bsn", "burgerservice", "sofi"),
    "fr-nir": ("nir", "securite sociale", "curitz sociale", "insee"),
    "ca-sin": ("sin", "social insurance"),
}
"""Words that say what the number behind them is, in lower case."""

DOUBTS: Final = (
    *("order", "invoice", "ticket", "tracking", "build", "version", "isbn", "sku", "part"),
    *("serial", "batch", "lot ", "asset", "timestamp", "epoch", "sensor", "job ", "run "),
    *("parcel", "shipment", "commit", "offset", "bytes", "request id", "trace", "imei"),
)
"""Words that say that the number behind them is nobody's."""


class Hit(NamedTuple):
    """One span, as a detector sees it."""

    start: int
    end: int
    type: str
    score: float
    evidence: str


def without_parts(hits: list[Hit], types: Collection[str]) -> list[Hit]:
    """Leave out what is only a part of something surer, or the same with words against it.

    A card within an IBAN is none, a domestic number within an international one neither. Only
    hits of `types` make others parts: they are short, so that all of one is always seen.
    """
    holders = sorted(hit for hit in hits if hit.type in types)
    kept = []
    for hit in hits:
        first = bisect.bisect_left(holders, (hit.end - HOLDER_MAX,))
        after = bisect.bisect_left(holders, (hit.start + 1,))
        if not any(_is_part(hit, holder) for holder in holders[first:after]):
            kept.append(hit)
    return kept


def _is_part(hit: Hit, holder: Hit) -> bool:
    if holder.start > hit.start or holder.end < hit.end or holder.score < hit.score:
        return False
    if (holder.start, holder.end) == (hit.start, hit.end):
        return holder.score >= SURE > hit.score
    return True


class Words:
    """What stands before a number; read only when somebody asks."""

    __slots__ = ("_before", "_start", "_text")

    def __init__(self, text: str, start: int) -> None:
        """Look before `start` in folded text."""
        self._text = text
        self._start = start
        self._before: str | None = None

    def say(self, kind: str, *, within: int = WORDS_WITHIN) -> bool:
        """Whether they say that this kind of number follows, within so many characters."""
        before = self._lower[-within:]
        return any(word in before for word in MEANS[kind])

    @property
    def doubt(self) -> bool:
        """Whether they say that the number is something else."""
        before = self._lower[-DOUBT_WITHIN:]
        return any(word in before for word in DOUBTS)

    @property
    def _lower(self) -> str:
        if self._before is None:
            start = max(self._start - WORDS_WITHIN, 0)
            self._before = self._text[start : self._start].lower()
        return self._before
