"""What differs between two runs of a command, taken out of what it prints."""

from __future__ import annotations

import re

_TAG = re.compile(r"\b[a-z][a-z-]*-([0-9a-z]{4})-(?=\d{4}\b)")
_MASKS = (
    (re.compile(r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d(:\d\dZ|Z)"), "TIME"),
    (re.compile(r"\b\d\d-\d\d \d\d:\d\d\b"), "TIME"),
    (re.compile(r"\b[\d.]+ ?(ms|s|min) ago"), "AGE"),
    (re.compile(r"\b\d+d ago"), "AGE"),
    (re.compile(r"\b\d+(\.\d+)? (m?s)\b"), "TIME"),
    (re.compile(r"\b\d+\.\d+s\b"), "TIME"),
    (re.compile(r"\b[0-9a-f]{12}\b"), "DIGEST"),
    (re.compile(r"\bcmd-[0-9a-z]{4}-\d+"), "COMMAND"),
    (re.compile(r"\bevent \d+: "), "event N: "),
    (re.compile(r"127\.0\.0\.1:\d+"), "ADDRESS"),
    (re.compile(r"^ +\d+  (?=TIME)", re.MULTILINE), "SEQ "),
    (re.compile(r"-{3,}"), "---"),
    (re.compile(r"[ \t]{2,}"), "  "),
    (re.compile(r"[ \t]+$", re.MULTILINE), ""),
)


def tags(text: str) -> list[str]:
    """Name the tags of fleets that ids have, in their order, each once."""
    return list(dict.fromkeys(_TAG.findall(text)))


def masked(text: str) -> str:
    """Blank out times, ages, digests, tags, addresses, and the columns that follow from them."""
    text = _TAG.sub(lambda found: found[0].replace(f"-{found[1]}-", "-TAG-"), text)
    for pattern, mark in _MASKS:
        text = pattern.sub(mark, text)
    return text.strip()


def fits(printed: str, shown: str) -> bool:
    """Whether what was printed is what is shown; nothing shown fits anything."""
    if not shown.strip():
        return True
    parts = [
        re.escape(part.strip("\n"))
        for part in re.split(r"^\.\.\.$", masked(shown), flags=re.MULTILINE)
    ]
    return re.fullmatch(r"[\s\S]*".join(parts), masked(printed)) is not None
