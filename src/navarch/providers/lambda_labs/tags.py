"""Labels as the tags of Lambda Cloud, there and back.

A tag's key matches ``^[a-z][a-z0-9-:]+$`` (`RequestedTagEntry` in the OpenAPI document 1.10.0, read
November 2026), so that it cannot hold the dots and slashes of our labels. Values are any text.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Final

from navarch.providers.base import FLEET_LABEL, INSTANCE_LABEL, POOL_LABEL

MANAGED_BY: Final = ("managed-by", "navarch")
"""The tag of every machine that any fleet of Navarch has bought."""

OUR_TAGS: Final[Mapping[str, str]] = MappingProxyType(
    {
        FLEET_LABEL: "navarch:fleet",
        INSTANCE_LABEL: "navarch:instance",
        POOL_LABEL: "navarch:pool",
    }
)
"""Our labels, and the tags that carry them."""

LABEL_TAG: Final = "label:"
"""Begins the tags that carry other labels."""


def tags_of(labels: Mapping[str, str]) -> list[dict[str, str]]:
    """Write labels as tags, ours first."""
    tags = [dict(zip(("key", "value"), MANAGED_BY, strict=True))]
    for label, value in labels.items():
        tags.append({"key": OUR_TAGS.get(label) or f"{LABEL_TAG}{_escaped(label)}", "value": value})
    return tags


def labels_of(tags: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Read labels back. A tag that somebody else has added is a label of its own name."""
    ours = {tag: label for label, tag in OUR_TAGS.items()}
    theirs: dict[str, str] = {}
    labels: dict[str, str] = {}
    for key, value in tags:
        label = _unescaped(key.removeprefix(LABEL_TAG)) if key.startswith(LABEL_TAG) else None
        if key in ours:
            labels[ours[key]] = value
        elif label is not None:
            labels[label] = value
        elif (key, value) != MANAGED_BY:
            theirs[key] = value
    return {**theirs, **labels}


def _escaped(label: str) -> str:
    """Write what a tag's key may not hold as the hexadecimal bytes of its UTF-8, after colons."""
    return "".join(
        chr(byte) if chr(byte) in "abcdefghijklmnopqrstuvwxyz0123456789-" else f":{byte:02x}"
        for byte in label.encode(errors="surrogatepass")
    )


def _unescaped(text: str) -> str | None:
    """Undo `_escaped`; None for what it does not write."""
    if not re.fullmatch(r"(?:[a-z0-9-]|:[0-9a-f]{2})*", text):
        return None
    plain = re.sub(r":(..)|(.)", lambda m: m[1] or f"{ord(m[2]):02x}", text)
    try:
        return bytes.fromhex(plain).decode(errors="surrogatepass")
    except UnicodeDecodeError:
        return None
