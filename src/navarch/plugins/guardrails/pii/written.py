"""What is found by its written form: addresses of people and machines, accounts, and secrets.

Each entry has a *hint*, which all go into one automaton that reads the text once and says which
entries are worth looking for, a *pattern* whose first group is the span, and a check that parses
or computes. RE2 matches in time proportional to the text, whatever the text is.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

from navarch.plugins.guardrails.linear import Pattern
from navarch.plugins.guardrails.pii import checksums, wallets
from navarch.plugins.guardrails.pii.hit import Hit

_FILES: Final = frozenset(
    ("png", "jpg", "jpeg", "gif", "svg", "webp", "css", "js", "ts", "py", "html", "json")
)
"""Endings of names such as ``icon@2x.png``, which are no addresses."""

_VERSIONS: Final = ("version", "release", "build", "upgrade", "firmware", "driver", "v.", "==")
_VERSION_WITHIN: Final = 24

Check = Callable[[str, int, int], "tuple[int, int, float, str] | None"]
"""From folded text and a span to the span, score and evidence; None where it is none."""


class Entry(NamedTuple):
    """One form."""

    type: str
    hint: str
    pattern: str
    check: Check


def _if(holds: Callable[[str], bool], score: float, evidence: str) -> Check:
    def check(text: str, start: int, end: int) -> tuple[int, int, float, str] | None:
        return (start, end, score, evidence) if holds(text[start:end]) else None

    return check


def _email(text: str, start: int, end: int) -> tuple[int, int, float, str] | None:
    while text[start] in ".-_%+":
        start += 1
    local, _, domain = text[start:end].partition("@")
    if not local or local == "git" or domain.rpartition(".")[2].lower() in _FILES:
        return None
    return start, end, 0.95, "address"


def _iban(text: str, start: int, head: int) -> tuple[int, int, float, str] | None:
    """Walk as many signs as the country's accounts have, over single spaces and hyphens.

    What has matched is only the `head`, up to its end.
    """
    length = checksums.IBAN_LENGTHS.get(text[start : start + 2].upper(), 0)
    signs = ""
    at = start
    while at < max(len(text), head) and len(signs) < length and at - start < 48:
        if text[at].isalnum():
            signs += text[at]
        elif text[at] not in " -" or text[at - 1] in " -":
            return None
        at += 1
    if not length or len(signs) < length or text[at : at + 1].isalnum():
        return None
    return (start, at, 0.98, "mod 97, length") if checksums.iban(signs.upper()) else None


def _ipv4(text: str, start: int, end: int) -> tuple[int, int, float, str] | None:
    try:
        address = ipaddress.IPv4Address(text[start:end])
    except ValueError:
        return None
    if address.is_unspecified or address.is_loopback:
        return None
    before = text[max(start - _VERSION_WITHIN, 0) : start].lower()
    if any(word in before for word in _VERSIONS):
        return start, end, 0.3, "perhaps a version"
    return start, end, 0.85, "parsed"


def _ipv6(text: str, start: int, end: int) -> tuple[int, int, float, str] | None:
    try:
        address = ipaddress.IPv6Address(text[start:end])
    except ValueError:
        return None
    groups = [group for group in text[start:end].split(":") if group]
    long = any(len(group) > 2 and not group.isalpha() for group in groups)
    if address.is_unspecified or address.is_loopback or not (len(groups) > 2 or long):
        return None  # two words with a double colon between are a name in a program
    return start, end, 0.9, "parsed"


def _mac(signs: str) -> bool:
    """Whether six bytes have one kind of separator, and are no broadcast."""
    bare = signs.replace(":", "").replace("-", "").replace(".", "").lower()
    kinds = {sign for sign in signs if sign in ":-."}
    return len(kinds) == 1 and len(bare) == 12 and bare not in {"0" * 12, "f" * 12}


def _key(signs: str) -> bool:
    """Whether a secret is mixed as chance mixes it, and is neither a placeholder nor a name."""
    if signs.startswith("sk-") and not any(map(str.isdigit, signs)):
        return False
    return len(set(signs[4:])) >= 8


_B: Final = r"(?:^|[^A-Za-z0-9_])"
"""A number or name begins: no sign of a word stands before it."""
_E: Final = r"(?:[^A-Za-z0-9_]|$)"

ENTRIES: Final = (
    Entry(
        "email",
        r"[A-Za-z0-9_%+.-]@[A-Za-z0-9]",
        r"(?:^|[^A-Za-z0-9._%+-])([A-Za-z0-9._%+-]{1,64}"
        r"@(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.){1,6}[A-Za-z]{2,24})"
        r"(?:[^A-Za-z0-9_]|$)",
        _email,
    ),
    Entry(
        "iban",
        r"(?:^|[^A-Za-z0-9])[A-Za-z]{2}[0-9]{2}[ -]?[A-Za-z0-9]{2}",
        _B + r"([A-Za-z]{2}[0-9]{2}[ -]?[A-Za-z0-9]{2})",
        _iban,
    ),
    Entry(
        "ip-address",
        r"[0-9]\.[0-9]{1,3}\.[0-9]{1,3}\.[0-9]",
        r"(?:^|[^A-Za-z0-9_.-])([0-9]{1,3}(?:\.[0-9]{1,3}){3})"
        r"(?:[^A-Za-z0-9_.]|[.](?:[^0-9]|$)|$)",
        _ipv4,
    ),
    Entry(
        "ip-address",
        r"[0-9A-Fa-f]:[0-9A-Fa-f]{0,4}:",
        r"(?:^|[^A-Za-z0-9_:.])([0-9A-Fa-f]{1,4}(?:::?[0-9A-Fa-f]{1,4}){1,7}(?:::)?)"
        r"(?:[^A-Za-z0-9_:]|$)",
        _ipv6,
    ),
    Entry(
        "mac-address",
        r"[0-9A-Fa-f]{2}[:-][0-9A-Fa-f]{2}[:-][0-9A-Fa-f]{2}[:-]|[0-9A-Fa-f]{4}\.[0-9A-Fa-f]{4}\.",
        r"(?:^|[^A-Za-z0-9_:.-])((?:[0-9A-Fa-f]{2}[:-]){5}[0-9A-Fa-f]{2}|(?:[0-9A-Fa-f]{4}\.){2}"
        r"[0-9A-Fa-f]{4})(?:[^A-Za-z0-9_:-]|$)",
        _if(_mac, 0.9, "parsed"),
    ),
    Entry(
        "crypto-address",
        r"[13][1-9A-HJ-NP-Za-km-z]{24}|(?i:bc1)[02-9A-Za-z]{8}|0x[0-9A-Fa-f]{40}",
        _B + r"((?:[13][1-9A-HJ-NP-Za-km-z]{24,34}|(?i:bc1)[02-9A-Za-z]{8,87}))" + _E,
        _if(wallets.bitcoin, 0.95, "checksum"),
    ),
    Entry(
        "crypto-address",
        r"0x[0-9A-Fa-f]{40}",
        _B + r"(0x[0-9A-Fa-f]{40})" + _E,
        _if(wallets.ethereum, 0.85, "eip-55"),
    ),
    Entry(
        "es-nif",
        r"[0-9]{7}-?[A-Z]",
        _B + r"([0-9]{8}-?[A-Z]|[XYZ]-?[0-9]{7}-?[A-Z])" + _E,
        _if(lambda signs: checksums.spanish(signs.replace("-", "")), 0.85, "mod 23"),
    ),
    Entry(
        "it-codice-fiscale",
        r"[A-Za-z]{6}[0-9]{2}[A-Za-z]",
        _B + r"([A-Za-z]{6}[0-9]{2}[A-EHLMPRSTa-ehlmprst][0-9]{2}[A-Za-z][0-9]{3}[A-Za-z])" + _E,
        _if(lambda signs: checksums.codice_fiscale(signs.upper()), 0.95, "mod 26"),
    ),
    Entry(
        "fi-hetu",
        r"[0-9]{6}[-+A-FU-Y][0-9]{3}[0-9A-Y]",
        _B + r"([0-9]{6}[-+A-FU-Y][0-9]{3}[0-9A-Y])" + _E,
        _if(checksums.hetu, 0.9, "mod 31, date"),
    ),
    Entry(
        "api-key",
        r"(?:AKIA|ASIA|AROA|AIDA)[A-Z2-7]{16}|gh[pousr]_[A-Za-z0-9]{10}|github_pat_"
        r"|AIza[0-9A-Za-z_-]{10}"
        r"|xox[abeoprs]-[0-9A-Za-z]|[srp]k_(?:live|test)_|sk-[A-Za-z0-9_-]{10}",
        r"(?:^|[^A-Za-z0-9_-])((?:AKIA|ASIA|AROA|AIDA)[A-Z2-7]{16}|gh[pousr]_[A-Za-z0-9]{36,200}"
        r"|github_pat_[A-Za-z0-9_]{22,200}|AIza[0-9A-Za-z_-]{35}|xox[abeoprs]-[0-9A-Za-z-]{10,200}"
        r"|[srp]k_(?:live|test)_[0-9A-Za-z]{16,200}|sk-[A-Za-z0-9_-]{20,200})(?:[^A-Za-z0-9_-]|$)",
        _if(_key, 0.95, "issuer's form"),
    ),
)


def spans(pattern: Pattern, content: bytes) -> Iterator[tuple[int, int]]:
    """Find the span that begins at each place, if any; one does not use up another's characters."""
    at = 0
    while match := pattern.search(content, at):
        start, end = match.span(1)
        yield start, end
        at = start if start > match.start() else start + 1


def find(entry: Entry, pattern: Pattern, text: str, content: bytes) -> Iterator[Hit]:
    """Find what one entry describes; `content` is the folded `text` in bytes."""
    for start, end in spans(pattern, content):
        found = entry.check(text, start, end)
        if found is not None:
            yield Hit(found[0], found[1], entry.type, found[2], found[3])
