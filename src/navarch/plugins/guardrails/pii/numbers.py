"""Numbers made of groups of digits: cards, phones, and what states call their people.

All groups of digits are found first. Then each group is taken as the first of a number, alone and
together with those that follow, and every kind of number that this can be is judged by its layout,
its check digits and the words before it. Nothing is used up: a number that could be two things is
found twice, and the host merges.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final, NamedTuple

from navarch.plugins.guardrails.pii import checksums
from navarch.plugins.guardrails.pii.hit import NEAR, Hit, Words

LONGEST: Final = 48
"""Characters of the longest number with its separators."""
AHEAD: Final = 6
"""How many characters behind a number are looked at."""

_GROUP: Final = re.compile(r"[0-9]+")
_SEPARATORS: Final = frozenset((" ", "-", ".", "/", ") ", ")", ")-", " (", "-(", "("))
_GROUPS_MAX: Final = 8
_DIGITS_MAX: Final = 19

_COUNTRY_LENGTHS: Final = {
    "1": (11,),
    "7": (11,),
    "31": (11,),
    "33": (11,),
    "34": (11,),
    "44": (12, 13),
    "48": (11,),
    "61": (11,),
    "86": (13,),
    "91": (12,),
}
"""Digits of a number with its country code, for countries where all have as many (ITU E.164
national plans, read November 2026)."""

_TRUNK_LAYOUTS: Final = frozenset(
    [
        *((2, 2, 2, 2, 2), (5, 6), (3, 4, 4), (4, 3, 4), (5, 3, 3), (4, 7), (3, 8), (3, 7)),
        *((4, 6), (2, 4, 4), (4, 3, 3), (3, 3, 4), (4, 8), (5, 7), (3, 3, 2, 2), (3, 2, 2, 3)),
    ]
)
"""How numbers with a leading 0 are written in Britain, France, Germany, Australia and Turkey."""

_FRENCH_NIR: Final = frozenset([(15,), (13, 2), (1, 2, 2, 2, 3, 3, 2)])
_CARD_LAYOUTS: Final = frozenset([(4, 6, 5), (4, 6, 4)])


class _Number(NamedTuple):
    """Some groups that may be one number."""

    digits: str
    layout: tuple[int, ...]
    """Digits of each group."""
    between: frozenset[str]
    """What separates them."""
    opening: str
    """What stands before it: ``+``, ``(``, or nothing of that kind."""
    words: Words
    goes_on: bool
    """Whether four more digits stand beside it as its own groups do."""

    @property
    def bare(self) -> bool:
        """Whether it is one group."""
        return len(self.layout) == 1


def find(text: str) -> Iterator[Hit]:
    """Find all numbers in folded text."""
    groups = [match.span() for match in _GROUP.finditer(text)]
    for first, (start, _) in enumerate(groups):
        if not _may_begin(text, start):
            continue
        opening = text[start - 1] if start and text[start - 1] in "+(" else ""
        if opening == "(" and start > 1 and text[start - 2] == "+":
            opening = "+"
        words = Words(text, start)
        phone: Hit | None = None
        for number, end in _from(text, groups, first, opening, words):
            yield from _hits(number, start, end)
            score = _phone(number)
            if score:
                at = start - len(opening)
                phone = Hit(at, end, "phone", score[0], score[1])
        if phone is not None:
            yield phone


def _may_begin(text: str, start: int) -> bool:
    """Whether a number may begin here, and is not the rest of a longer thing."""
    if not start:
        return True
    before = text[start - 1]
    if before.isalnum() or before == "_":
        return False
    return not (before in "-./" and start > 1 and text[start - 2].isalnum())


def _may_end(text: str, end: int) -> bool:
    after = text[end : end + 2]
    if not after:
        return True
    if after[0].isalnum() or after[0] == "_":
        return False
    return not (after[0] in "-." and after[1:].isalnum())


def _goes_on(text: str, start: int, end: int, between: frozenset[str]) -> bool:
    """Whether it is a part of a longer number in groups of four."""
    for separator in between:
        before, after = text[max(start - 5, 0) : start], text[end : end + 5]
        if before.endswith(separator) and before[:4].isdigit() and len(before) == 5:
            return True
        if after.startswith(separator) and after[1:].isdigit() and len(after) == 5:
            return True
    return False


def _from(
    text: str, groups: list[tuple[int, int]], first: int, opening: str, words: Words
) -> Iterator[tuple[_Number, int]]:
    """Take a group alone, then with the next one, and so on while they belong together."""
    start = groups[first][0]
    digits = ""
    layout: tuple[int, ...] = ()
    between: frozenset[str] = frozenset()
    previous = start
    for begin, end in groups[first : first + _GROUPS_MAX]:
        if layout:
            separator = text[previous:begin]
            if separator not in _SEPARATORS:
                return
            between |= {separator}
        if end - start > LONGEST or len(digits) + end - begin > _DIGITS_MAX:
            return
        digits += text[begin:end]
        layout += (end - begin,)
        previous = end
        if len(digits) >= 8 and _may_end(text, end) and not checksums.repeated(digits):
            goes_on = _goes_on(text, start, end, between)
            yield _Number(digits, layout, between, opening, words, goes_on), end


def _hits(number: _Number, start: int, end: int) -> Iterator[Hit]:
    """Judge one number as everything but a phone's."""
    length = len(number.digits)
    if length >= 12 and number.opening != "+":
        score, why = _card(number)
        if score:
            yield Hit(start, end, "card", score, why)
    for kind, score, why in _of_states(number, length):
        doubtful = number.words.doubt and score < 0.9
        yield Hit(start, end, kind, round(score - 0.3, 2) if doubtful else score, why)


def _card(number: _Number) -> tuple[float, str]:
    """Judge it as a card's: no prefix is needed, a known one makes it surer."""
    digits, layout = number.digits, number.layout
    if not number.bare:
        in_fours = all(size == 4 for size in layout[:-1]) and layout[-1] <= 5
        if not (in_fours or layout in _CARD_LAYOUTS) or len(number.between) > 1:
            return 0.0, ""
        if not number.between <= {" ", "-"} or (len(digits) < 16 and number.goes_on):
            return 0.0, ""
    if not checksums.luhn(digits):
        return 0.0, ""
    brand = card_brand(digits)
    if number.words.say("card"):
        return 0.98, f"luhn, {brand or 'other issuer'}, words"
    score = 0.88 if brand else 0.7
    if not brand and len(digits) in {12, 13} and digits[0] == "1":
        score = 0.4  # milliseconds since 1970 look like this; no issuer's cards of this length do
    if number.words.doubt:
        score -= 0.45 if number.bare else 0.3
    return round(score, 2), f"luhn, {brand or 'other issuer'}"


def card_brand(digits: str) -> str:
    """Name the network by prefix and length, empty where none is known (ISO/IEC 7812 ranges)."""
    length, two, four = len(digits), int(digits[:2]), int(digits[:4])
    if digits[0] == "4" and length in {13, 16, 19}:
        return "visa"
    if length == 16 and (51 <= two <= 55 or 2221 <= four <= 2720):
        return "mastercard"
    if length == 15 and two in {34, 37}:
        return "amex"
    if length >= 16 and (four == 6011 or two in {64, 65}):
        return "discover"
    if length >= 14 and (two in {36, 38, 39} or 3000 <= four <= 3059):
        return "diners"
    if length >= 16 and 3528 <= four <= 3589:
        return "jcb"
    if length >= 16 and two == 62:
        return "unionpay"
    if two == 50 or 56 <= two <= 69:
        return "maestro"
    return ""


def _of_states(number: _Number, length: int) -> Iterator[tuple[str, float, str]]:
    """Judge it as what states and banks give out."""
    if number.opening == "+":
        return
    digits, layout, words = number.digits, number.layout, number.words
    dashed, spaced = number.between == {"-"}, number.between == {" "}
    if length == 9:
        yield from _of_nine(number, dashed=dashed, spaced=spaced)
    elif length == 10 and (number.bare or (layout == (3, 3, 4) and (spaced or dashed))):
        if checksums.nhs(digits):
            said = words.say("uk-nhs")
            free = 0.55 if spaced and not words.say("phone") else 0.35
            yield "uk-nhs", 0.95 if said else free, "mod 11"
    elif length == 11:
        if number.bare and checksums.pesel(digits):
            yield "pl-pesel", 0.95 if words.say("pl-pesel") else 0.6, "weights, date"
        grouped = layout == (2, 3, 3, 3) and (spaced or number.between == {"/"})
        if (number.bare or grouped) and checksums.german_tax_id(digits):
            said = words.say("de-tax-id") or grouped
            yield "de-tax-id", 0.95 if said else 0.6, "mod 11,10"
        pointed = layout == (3, 3, 3, 2) and number.between == {".", "-"}
        if (number.bare or pointed) and checksums.cpf(digits):
            yield "br-cpf", 0.95 if pointed or words.say("br-cpf") else 0.45, "two mod 11"
    elif length == 12 and (number.bare or (layout == (4, 4, 4) and (spaced or dashed))):
        if digits[0] > "1" and not number.goes_on and checksums.verhoeff(digits):
            said = words.say("in-aadhaar")
            free = 0.35 if number.bare else 0.7
            yield "in-aadhaar", 0.95 if said else free, "verhoeff"
    elif length == 15 and layout in _FRENCH_NIR and checksums.nir(digits):
        yield "fr-nir", 0.95 if words.say("fr-nir") else 0.75, "mod 97, date"


def _of_nine(number: _Number, *, dashed: bool, spaced: bool) -> Iterator[tuple[str, float, str]]:
    """Judge nine digits, which much can be: words or a layout must say which."""
    digits, layout, words = number.digits, number.layout, number.words
    if checksums.us_ssn(digits):
        if layout == (3, 2, 4) and (dashed or spaced):
            said = words.say("us-ssn")
            yield "us-ssn", 0.95 if said else (0.85 if dashed else 0.6), "ranges, layout"
        elif number.bare and words.say("us-ssn"):
            yield "us-ssn", 0.85, "ranges, words"
    if number.bare and checksums.aba(digits):
        yield "us-routing", 0.95 if words.say("us-routing") else 0.3, "weights, prefix"
    if number.bare and checksums.bsn(digits) and words.say("nl-bsn"):
        yield "nl-bsn", 0.95, "mod 11, words"
    canadian = layout == (3, 3, 3) and (dashed or spaced)
    if (canadian or number.bare) and digits[0] not in "08" and checksums.luhn(digits):
        said = words.say("ca-sin")
        if said or canadian:
            yield "ca-sin", 0.95 if said else 0.6, "luhn, layout"


def _phone(number: _Number) -> tuple[float, str] | None:
    """Judge it as a phone's."""
    digits, layout, words = number.digits, number.layout, number.words
    length = len(digits)
    if number.opening == "+":
        fits = digits[0] != "0" and 8 <= length <= 15
        expected = next((_COUNTRY_LENGTHS.get(digits[:size], ()) for size in (1, 2)
                         if digits[:size] in _COUNTRY_LENGTHS), ())  # fmt: skip
        return (0.9, "international") if fits and (not expected or length in expected) else None
    said = words.say("phone")
    score, why = 0.0, ""
    local = digits[1:] if length == 11 and digits[0] == "1" else digits
    if len(local) == 10 and local[0] > "1" and local[3] > "1":
        if layout[-3:] == (3, 3, 4) and len(layout) == (3 if length == 10 else 4):
            spaces = number.between == {" "} and not number.opening
            score, why = (0.6 if spaces else 0.8), "north american layout"
        elif number.bare and said:
            score, why = 0.7, "north american, words"
    if digits[0] == "0" and digits[1] != "0" and 10 <= length <= 12:
        if layout in _TRUNK_LAYOUTS and len(number.between) == 1:
            score, why = max(score, 0.65), "national layout"
        elif number.bare and (said or (digits[1] == "7" and length == 11)):
            score, why = max(score, 0.6), "national"
    loose = 8 <= length <= 13 and len(layout) <= 5 and number.between <= {" ", "-"}
    if not score and loose and not number.goes_on and words.say("phone", within=NEAR):
        score, why = 0.6, "words"
    if not score:
        return None
    if said:
        score = min(score + 0.15, 0.95)
    return (round(score - 0.3, 2) if words.doubt and not said else score), why
