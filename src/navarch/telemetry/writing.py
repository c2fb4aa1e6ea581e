"""Fields as people read them: ``key=value``, in quotes where that is needed, on one line."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Iterator, Mapping
from typing import Final

import msgspec

from navarch.telemetry import redaction
from navarch.telemetry.values import plain, without_secrets_in

OWN: Final = frozenset({"time", "level", "event", "logger", "service", "trace_id", "span_id"})
"""Names that each line of JSON has itself."""

_NOT_IN_NAMES: Final = re.compile(r"[^A-Za-z0-9_.]")


def pairs(fields: Mapping[str, object]) -> Iterator[str]:
    """Write fields as ``key=value``, in quotes where they hold blanks; secrets are left out."""
    for name, value in fields.items():
        key, is_secret = named(name)
        if is_secret:
            yield f"{key}={redaction.HIDDEN}"
            continue
        shown = without_secrets_in(plain(value))
        text = shown if isinstance(shown, str) else msgspec.json.encode(shown).decode()
        yield f"{redaction.without_secrets(key)}={quoted(text)}"


@functools.lru_cache(maxsize=1024)
def named(name: str) -> tuple[str, bool]:
    """Tell what a field is called in a line, and whether its value is a secret."""
    key = _NOT_IN_NAMES.sub("_", name)[:64] or "_"
    return f"{key}_" if key in OWN else key, redaction.names_secret(name)


def quoted(text: str) -> str:
    """Write a value as it stands where it is one plain word, else in double quotes."""
    if text and text.isprintable() and not set(text) & set(' "=\\'):
        return text
    written = json.dumps(text, ensure_ascii=False)
    if written.isprintable():
        return written
    return "".join(c if c.isprintable() else escape(c) for c in written)


def escape(character: str) -> str:
    """Write a character that is not seen as it would stand in JSON."""
    code = ord(character)
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
