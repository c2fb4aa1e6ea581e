"""What the catalogue knows of the code that an event carries: the variables ``known.…``.

A value is made once for each code, and for codes that have to be decoded once for each message.
Values are compared by identity, so that they are cheap parts of keys.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Final

from msgspec import Struct
from msgspec.structs import astuple

from navarch.core.model.report import HealthEvent
from navarch.policy import catalog, nvlink5, readings, recovery
from navarch.policy.catalog import CodeClass, Sxid, Xid
from navarch.policy.vocabulary import CODE_METRICS

REMEMBERED_MAX: Final = 2048
"""Values made from messages that are remembered; then all are forgotten and made anew."""
MESSAGE_MAX: Final = 512
"""Characters of a message that is remembered; longer ones are read each time."""


class Known(Struct, frozen=True, eq=False):
    """What is known of one event's code."""

    found: bool = False
    """Whether the catalogue has it, used or not."""
    code: int = -1
    """-1: the event carries none."""
    name: str = ""
    """NVIDIA's name."""
    text: str = ""
    """What it means, in a few words."""
    action: str = ""
    """The class of the code, a word of `CodeClass`; empty where the event is no XID or SXID."""
    severity: str = ""
    advice: str = ""
    """The catalogue's own words for what to do."""
    verdict: str = ""
    """Of XID 154: a word of `Recovery`. Of 144 to 150: ``ignore``, ``reset``, ``wait`` or
    ``undecoded``. Otherwise empty."""
    linked: bool = False
    """Whether an XID 154 may follow that says what to do."""
    fatal: bool = False
    """Of an SXID: whether it is fatal, by the line or else by the catalogue."""
    said: str = ""
    """A few words for people about code and verdict."""


_FIELDS: Final = tuple(
    (f"known.{field}", field) for field in Known.__struct_fields__ if field != "said"
)

NOTHING: Final = Known()
"""What is known of an event without a code."""


@lru_cache(maxsize=2 * REMEMBERED_MAX)
def variables_of(known: Known) -> Mapping[str, object]:
    """The variables of rules that hold what is known."""
    return {name: getattr(known, field) for name, field in _FIELDS}


class _Memory:
    """Values by what they were made from; forgets all of them when there are too many."""

    def __init__(self) -> None:
        self._values: dict[object, Known] = {}

    def recall(self, key: object, make: Callable[[], Known]) -> Known:
        value = self._values.get(key)
        if value is None:
            value = make()
            if len(self._values) >= REMEMBERED_MAX:
                self._values = {}
            self._values[key] = value
        return value


_plain = _Memory()
_decoded = _Memory()
_contents = _Memory()


def known_of(event: HealthEvent) -> Known:
    """What the catalogue knows of an event's code; the same value for the same facts."""
    metric = CODE_METRICS.get(event.event_type)
    if metric is None:
        return NOTHING
    code = event.metrics.get(metric)
    if code is None:
        return _NO_CODE
    kind = code.__class__
    if event.event_type == "sxid":
        return _known_sxid(code, event.metrics.get("severity"), event.message)
    if (kind is int or kind is str) and code not in _READ_ON:
        return _plain.recall((kind, code), lambda: _known_xid(code))
    return _known_read_on(code, event)


_NO_CODE: Final = Known(action=str(CodeClass.UNKNOWN), said="an error without a code")

_READ_ON: Final = frozenset(form for code in (*nvlink5.CODES, 154) for form in (code, str(code)))
"""XIDs that are known by their messages; a text like 0154 is among the others."""


def _number(code: object) -> int | None:
    number = readings.plain(code)
    if isinstance(number, float) and number.is_integer() and abs(number) < 1 << 53:
        number = int(number)
    return number if isinstance(number, int) and not isinstance(number, bool) else None


def _known_xid(code: object) -> Known:
    number = _number(code)
    if number is None:
        return Known(action=str(CodeClass.UNKNOWN), said="an XID whose code is no number")
    row = catalog.xids().get(number)
    if row is None:
        said = f"XID {number}, which no catalogue has"
        return Known(code=number, action=str(CodeClass.UNKNOWN), said=said)
    return _from_row(row)


def _from_row(row: Xid, verdict: str = "", more: str = "") -> Known:
    text = row.text if row.text != "unused" else f"{row.mnemonic}, marked unused"
    return Known(
        found=True,
        code=row.code,
        name=row.mnemonic,
        text=row.text,
        action=str(row.code_class),
        severity=row.severity,
        advice=row.advice,
        verdict=verdict,
        linked=row.linked,
        said=f"XID {row.code} ({text}{more})",
    )


def _known_read_on(code: object, event: HealthEvent) -> Known:
    """What is known of a code whose meaning is in the message or in other metrics."""
    number = _number(code)
    metrics: Mapping[str, object] = event.metrics
    if number == 154:
        action = metrics.get(recovery.NUMBER_METRIC)
        words = metrics.get(recovery.WORDS_METRIC)
        key: object = (number, event.message, readings.key(action), readings.key(words))
        return _from_message(key, event.message, lambda: _known_154(event.message, action, words))
    if number in nvlink5.CODES:
        parts = tuple(readings.key(metrics.get(name)) for name in nvlink5.METRICS)
        key = (number, event.message, parts)
        return _from_message(
            key, event.message, lambda: _known_link(number, event.message, metrics)
        )
    return _plain.recall(readings.key(code), lambda: _known_xid(code))


def _from_message(key: object, message: str, make: Callable[[], Known]) -> Known:
    """Make a value of a message; messages that say the same give the same value."""

    def made() -> Known:
        known = make()
        return _contents.recall(astuple(known), lambda: known)

    return made() if len(message) > MESSAGE_MAX else _decoded.recall(key, made)


def _known_154(message: str, action: object, words: object) -> Known:
    verdict = str(recovery.parse_recovery(readings.text(message), action, words))
    return _from_row(catalog.xids()[154], verdict, f": {verdict.replace('_', ' ')}")


def _known_link(code: int, message: str, metrics: Mapping[str, object]) -> Known:
    decoded = nvlink5.decode(code, readings.text(message), metrics)
    return _from_row(catalog.xids()[code], decoded.immediate, f": {decoded.said}")


# --- SXIDs ------------------------------------------------------------------------------------

_SEVERITIES: Final = {"fatal": True, "non-fatal": False}
_FATALITY = re.compile(r",\s*(Non-?fatal|Fatal)\b", re.IGNORECASE)


def _known_sxid(code: object, severity: object, message: str) -> Known:
    fatal = _SEVERITIES.get(severity) if isinstance(severity, str) else None
    if fatal is None and (found := _FATALITY.search(message[: readings.TEXT_MAX])):
        fatal = found[1].lower() == "fatal"
    return _plain.recall(("sxid", readings.key(code), fatal), lambda: _make_sxid(code, fatal))


def _make_sxid(code: object, fatal: bool | None) -> Known:  # noqa: FBT001  # None: unsaid
    number = _number(code)
    row: Sxid | None = catalog.sxids().get(number) if number is not None else None
    if number is None or row is None:
        said = "an SXID whose code is no number" if number is None else f"SXID {number}"
        return Known(
            code=-1 if number is None else number,
            action=str(CodeClass.UNKNOWN),
            fatal=fatal is True,
            said=said if number is None else f"{said}, which no catalogue has",
        )
    by_catalogue = row.fatal_to_fabric or row.gpud_event == "Fatal"
    return Known(
        found=True,
        code=number,
        name=row.name,
        text=row.name,
        action=str(row.code_class),
        severity="fabric_fatal" if row.fatal_to_fabric else row.gpud_event.lower(),
        advice=row.gpud_actions,
        fatal=row.fatal_to_fabric or (by_catalogue if fatal is None else fatal),
        said=f"SXID {number} ({row.name})",
    )
