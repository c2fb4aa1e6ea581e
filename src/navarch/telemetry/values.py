"""Values of fields: made plain, and short.

Whatever is given comes out as what JSON knows. A value that cannot be shown does not raise: it is
said that it cannot. Nothing is longer than `FIELD_BYTES_MAX`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from enum import Enum
from typing import Final

import msgspec
from msgspec import Struct, structs

from navarch.telemetry import redaction

FIELD_BYTES_MAX: Final = 4096
"""Bytes of one field in UTF-8; what is longer is cut, and ends in how much was left out."""
ITEMS_MAX: Final = 100
"""Entries of a list or mapping that are shown."""
DEPTH_MAX: Final = 4
"""Levels of lists and mappings that are shown; what lies deeper becomes text."""
_NEVER_TOO_LONG: Final = FIELD_BYTES_MAX // 4
"""A character has four bytes at most."""
_WHOLE_MAX: Final = 2**63

Plain = str | int | float | bool | list["Plain"] | dict[str, "Plain"] | None
"""What JSON knows."""


def plain(value: object) -> Plain:
    """Make a value one that JSON knows, and no longer than a field may be. Never raises."""
    if isinstance(value, str) and type(value) is str:
        return cut(value)
    if value is None or isinstance(value, bool):
        return value
    try:
        found = _plain(value, DEPTH_MAX)
        if isinstance(found, (list, dict)):
            written = msgspec.json.encode(found)
            if len(written) > FIELD_BYTES_MAX:
                return cut(written.decode())
    except Exception as error:  # noqa: BLE001 - whatever a foreign value does, the event is told
        return f"[not shown: {type(value).__name__} raised {type(error).__name__}]"
    return found


def without_secrets_in(value: Plain) -> Plain:
    """Return a value with each text in it looked through."""
    match value:
        case str():
            return redaction.without_secrets(value)
        case list():
            return [without_secrets_in(each) for each in value]
        case dict():
            return {
                redaction.without_secrets(key): without_secrets_in(each)
                for key, each in value.items()
            }
        case _:
            return value


def cut(text: str) -> str:
    """Shorten a text that is too long for a field, and say so at its end.

    Lone surrogates are written as escapes. Secrets are taken out of what is cut, for one that lies
    across the cut is none any more to those who look later.
    """
    if len(text) <= _NEVER_TOO_LONG and text.isascii():
        return text
    raw = text[: 2 * FIELD_BYTES_MAX].encode("utf-8", "backslashreplace")
    if len(raw) <= FIELD_BYTES_MAX and len(text) <= 2 * FIELD_BYTES_MAX:
        return raw.decode()
    head = redaction.without_secrets(_whole_words(text[: 2 * FIELD_BYTES_MAX]))
    kept = head.encode("utf-8", "backslashreplace")[: FIELD_BYTES_MAX - 64].decode(errors="ignore")
    return f"{kept}… [cut: {len(text)} characters in all]"


def _whole_words(head: str) -> str:
    """Leave out the last word of a text that goes on; half of one that has no blanks."""
    end = max(head.rfind(blank) for blank in " \n\t\"'")
    return head[:end] if end > len(head) // 2 else head[: len(head) // 2]


def _plain(value: object, depth: int) -> Plain:
    match value:
        case None | bool():
            return value
        case Enum():
            return _plain(value.value, depth)
        case str():
            return cut(str(value))
        case int():
            return value if -_WHOLE_MAX <= value < _WHOLE_MAX else cut(hex(value))
        case float():
            return value if math.isfinite(value) else str(value)
        case datetime():
            return moment(value)
        case date():
            return value.isoformat()
        case timedelta():
            return value.total_seconds()
        case bytes() | bytearray() | memoryview():
            head = bytes(value[: 2 * FIELD_BYTES_MAX])
            return cut(head.decode("utf-8", "backslashreplace"))
        case BaseException():
            return cut(f"{type(value).__name__}: {value}")
        case _:
            return _holding(value, depth)


def _holding(value: object, depth: int) -> Plain:
    """Make a value plain that may hold others."""
    if depth == 0:
        return cut(str(value))
    if isinstance(value, Struct):
        value = structs.asdict(value)
    if isinstance(value, Mapping):
        return _mapping(value, depth)
    if isinstance(value, (list, tuple, set, frozenset)):
        some: list[Plain] = [
            _plain(each, depth - 1) for _, each in zip(range(ITEMS_MAX), value, strict=False)
        ]
        if len(value) > ITEMS_MAX:
            some.append(f"[cut: {len(value)} entries in all]")
        return some
    return cut(str(value))


def _mapping(value: Mapping[object, object], depth: int) -> dict[str, Plain]:
    shown: dict[str, Plain] = {}
    for number, (key, each) in enumerate(value.items()):
        if number == ITEMS_MAX:
            shown["[cut]"] = f"{len(value)} entries in all"
            break
        name = cut(str(key))
        shown[name] = redaction.HIDDEN if redaction.names_secret(name) else _plain(each, depth - 1)
    return shown


def moment(at: datetime) -> str:
    """Write a moment in UTC, to the millisecond; one without a zone is taken as UTC."""
    at = at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
