"""Our labels in the letters that Google allows, and back, to the letter.

Compute Engine takes 64 labels; keys and values are up to 63 lower-case letters, digits, ``_`` and
``-``, and a key begins with a letter ("Requirements for labels", cloud.google.com, read November
2026). They show up in bills, so a label stays a label of its own wherever it can:

==========================  ================================================================
``navarch.dev/pool``        ``navarch-dev-pool``
``team``, ``cost_center``   as they are
``Größe``, ``a.b/c``        other signs by number: ``_x47_r_xf6__xdf_e``, ``a_x2e_b_x2f_c``
too long, or not a key      packed together into ``navarch-packed-00`` and on, in base32
==========================  ================================================================
"""

from __future__ import annotations

import re
from base64 import b32decode, b32encode
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import msgspec

from navarch.errors import InvalidRequest
from navarch.providers.base import FLEET_LABEL

LABELS_MAX: Final = 64
LENGTH_MAX: Final = 63

OURS: Final = "navarch.dev/"
OURS_THERE: Final = "navarch-dev-"
PACKED: Final = "navarch-packed-"

MANAGED_BY: Final = ("managed-by", "navarch")
"""Says to people whose machine it is."""

FLEET_LABEL_THERE: Final = OURS_THERE + FLEET_LABEL.removeprefix(OURS)
"""The label that every machine of any fleet carries."""

KEY: Final = re.compile(r"[a-z][a-z0-9_-]{0,62}")
ESCAPED: Final = re.compile(r"_x([0-9a-f]{1,6})_")
NOT_PLAIN: Final = re.compile(r"_(?=x)|[^a-z0-9_-]")


def encoded(labels: Mapping[str, str]) -> dict[str, str]:
    """Write labels as Google's, ``managed-by`` among them.

    :raises InvalidRequest: they are no Unicode, or more than a machine can carry
    """
    written = dict([MANAGED_BY])
    packed: list[tuple[str, str]] = []
    for key, value in sorted(labels.items()):
        key_there, value_there = escaped_key(key), escaped(value)
        if KEY.fullmatch(key_there) and len(value_there) <= LENGTH_MAX:
            written[key_there] = value_there
        else:
            packed.append((key, value))
    try:
        written |= _pack(packed)
        "".join([*labels, *labels.values()]).encode()
    except UnicodeEncodeError as cause:
        raise InvalidRequest("a label is no Unicode") from cause
    if len(written) > LABELS_MAX:
        raise InvalidRequest(f"the labels need {len(written)} of Google's, expected {LABELS_MAX}")
    return written


def decoded(labels: Mapping[str, str]) -> dict[str, str]:
    """Read labels back; those of others, which look like none of ours, are left as they are."""
    packed = {key: value for key, value in labels.items() if key.startswith(PACKED)}
    read = {
        _read(key, unescaped_key, escaped_key): _read(value, unescaped, escaped)
        for key, value in labels.items()
        if key not in packed
    }
    return read | _unpack(packed)


def escaped(text: str) -> str:
    """Write what Google does not allow by its number in Unicode."""
    return NOT_PLAIN.sub(lambda sign: f"_x{ord(sign[0]):x}_", text)


def unescaped(text: str) -> str:
    """Undo `escaped`.

    :raises ValueError: a number that stands for nothing
    """
    return ESCAPED.sub(lambda number: chr(int(number[1], 16)), text)


def escaped_key(key: str) -> str:
    """Write a key so that it cannot be taken for one of another meaning."""
    if key.startswith(OURS):
        return OURS_THERE + escaped(key.removeprefix(OURS))
    key_there = escaped(key)
    if key_there.startswith((OURS_THERE, PACKED)):
        return key_there.replace("-", "_x2d_", 1)
    return key_there


def unescaped_key(key_there: str) -> str:
    """Undo `escaped_key`.

    :raises ValueError: a number that stands for nothing
    """
    if key_there.startswith(OURS_THERE):
        return OURS + unescaped(key_there.removeprefix(OURS_THERE))
    return unescaped(key_there)


def _read(there: str, back: Callable[[str], str], again: Callable[[str], str]) -> str:
    """Read one text if we could have written it, or else leave it."""
    try:
        text = back(there)
        text.encode()
    except ValueError:
        return there
    return text if again(text) == there else there


def _pack(pairs: Sequence[tuple[str, str]]) -> dict[str, str]:
    if not pairs:
        return {}
    text = b32encode(msgspec.json.encode(pairs)).decode().rstrip("=").lower()
    starts = range(0, len(text), LENGTH_MAX)
    return {f"{PACKED}{at // LENGTH_MAX:02}": text[at : at + LENGTH_MAX] for at in starts}


def _unpack(packed: Mapping[str, str]) -> dict[str, str]:
    text = "".join(packed[key] for key in sorted(packed)).upper()
    try:
        content = b32decode(text + "=" * (-len(text) % 8))
        return dict(msgspec.json.decode(content, type=list[tuple[str, str]])) if packed else {}
    except (ValueError, msgspec.MsgspecError):
        return dict(packed)  # somebody else's, or damaged by hand: shown as they are
