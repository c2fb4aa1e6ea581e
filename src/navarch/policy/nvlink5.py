"""XIDs 144 to 150, errors of NVLink 5, which mean nothing without their sub-code.

The kernel's line is ``Xid (PCI:…): 149, UNIT severity XC0 i0 Link NN (A B …)``: A is *intrinfo*, B
the *error status*, hexadecimal. A rule of the catalogue fits when code, unit and status do and
intrinfo has the bits of the mask of the driver's branch, which changed with R575. Sources: NVIDIA's
XID catalogue as NVSentinel ships it; the form of the line from gpud's tests (read November 2026).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from msgspec import Struct

from navarch.policy.catalog import LinkRule, link_rules

CODES: Final = frozenset(range(144, 151))
"""The XIDs that this is about."""
MASKS_CHANGED: Final = 575
"""The driver branch from which the second kind of mask holds."""

METRICS: Final = ("unit", "intrinfo", "error_status", "driver_version")
"""Metrics that say the same as the line, and the driver's version; they win over the line."""

_LINE = re.compile(
    r"Xid \([^()]{1,40}\): ?(?P<code>14[4-9]|150), "
    r"(?P<unit>[A-Za-z][\w ]{0,30}?)\s+(?:Link )?(?:Non-?)?[Ff]atal\b[^()\[\]]{0,80}"
    r"[(\[](?P<words>0x[0-9a-fA-F]{1,8}(?: 0x[0-9a-fA-F]{1,8}){0,15})[)\]]"
)


class Decoded(Struct, frozen=True):
    """What one error of NVLink 5 turned out to be."""

    immediate: str
    """``ignore``, ``reset``, ``wait`` for the driver's verdict, or ``undecoded``."""
    said: str
    """The same for people."""


def decode(code: int, message: str, metrics: Mapping[str, object]) -> Decoded:
    """Find out what an error asks for; ``undecoded`` where no rule fits, with the reason."""
    unit, intrinfo, status = _parts(code, message, metrics)
    if not unit or intrinfo is None:
        return Decoded("undecoded", "its line holds no unit and no intrinfo")
    rules = [
        rule
        for rule in link_rules()
        if rule.xid == code
        and unit.upper() in rule.units
        and (not rule.statuses or status in rule.statuses)
    ]
    for masks in _branches(metrics.get("driver_version")):
        for rule in rules:
            relevant, bits = getattr(rule, masks)
            if intrinfo & relevant == bits:
                return _decoded(rule, unit)
    return Decoded("undecoded", f"no rule fits {unit} with intrinfo 0x{intrinfo:08x}")


_IMMEDIATE: Final = {"IGNORE": "ignore", "RESET_GPU": "reset", "XID_154_EVAL": "wait"}


def _decoded(rule: LinkRule, unit: str) -> Decoded:
    said = f"{unit}: {rule.immediate}, {rule.severity}, investigate {rule.investigate}"
    return Decoded(_IMMEDIATE[rule.immediate], said)


def _branches(version: object) -> tuple[str, ...]:
    """Which masks to try, in order.

    Without a version the newer ones first, then the older: unit and status have to fit as well.
    """
    found = re.match(r"(\d{1,5})(?:\.|$)", str(version)[:32]) if version is not None else None
    if found is None:
        return ("mask_from_575", "mask_before_575")
    return ("mask_from_575",) if int(found[1]) >= MASKS_CHANGED else ("mask_before_575",)


def _parts(
    code: int, message: str, metrics: Mapping[str, object]
) -> tuple[str, int | None, int | None]:
    """Unit, intrinfo and error status, from the metrics or else from the line."""
    unit, intrinfo, status = "", None, None
    found = _LINE.search(message)
    if found is not None and int(found["code"]) == code:
        words = found["words"].split()
        unit = found["unit"]
        intrinfo = int(words[0], 16)
        status = int(words[1], 16) if len(words) > 1 else None
    if isinstance(metrics.get("unit"), str):
        unit = str(metrics["unit"])[:40]
    if "intrinfo" in metrics:
        intrinfo = _word(metrics["intrinfo"])
    if "error_status" in metrics:
        status = _word(metrics["error_status"])
    return unit, intrinfo, status


def _word(value: object) -> int | None:
    """Read 32 bits: a number, or text in hexadecimal or decimal."""
    if isinstance(value, str) and re.fullmatch(r"0[xX][0-9a-fA-F]{1,8}|[0-9]{1,10}", value):
        value = int(value, 16 if value[:2] in ("0x", "0X") else 10)
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 32:
        return value
    return None
