"""What a line of a log looks like: JSON for programs, aligned words for people.

Either way an event is one line, whatever is in its fields: control characters and all that breaks
a line somewhere, or turns the order of letters round, is escaped. In a terminal's log the traceback
of an error follows, each line of it behind a bar, so that none can be taken for an event.

Fields come in this order: when, how grave, what; what is bound; what was given; where from. Names
that a line has itself get an underscore when a field is called the same.
"""

from __future__ import annotations

import logging
import re
import time
import traceback
from collections.abc import Mapping
from typing import Final, Literal

import msgspec

from navarch.telemetry import redaction, tracing
from navarch.telemetry.log import Event, bound_fields
from navarch.telemetry.values import Plain, plain, without_secrets_in
from navarch.telemetry.writing import escape, named, pairs, quoted

Format = Literal["json", "text"]

FIELDS_MAX: Final = 64
"""Fields of one event; more are left out, and counted in ``fields_left_out``."""
LINE_BYTES_MAX: Final = 32 * 1024
"""Bytes of all fields of one line together; those that do not fit are left out and counted."""
TRACEBACK_MAX: Final = 16 * 1024
"""Characters of a traceback; of a longer one the beginning is left out, for its end says more."""
LIBRARY: Final = "library_message"
"""The event of what libraries log, whose words we do not know."""

_LEVELS: Final = {
    logging.DEBUG: "debug",
    logging.INFO: "info",
    logging.WARNING: "warning",
    logging.ERROR: "error",
    logging.CRITICAL: "critical",
}
_UNSAFE: Final = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ud800-\udfff]"
)
"""Control characters, ends of lines beyond ASCII, and what is not seen or reorders."""
_encode: Final = msgspec.json.Encoder(enc_hook=str).encode


class Named(logging.Formatter):
    """A formatter that knows what its process is."""

    def __init__(self, always: Mapping[str, str]) -> None:
        """Say in each line what holds `always`: ``service``, and whose it is."""
        super().__init__()
        self.always = dict(always)
        """The fields that each line of JSON ends in."""


class JsonLines(Named):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        """Write a record. Never raises. Cost: 10 µs for an event of six fields."""
        word, fields = _told(record)
        line: dict[str, Plain] = {
            "time": _moment(record),
            "level": _LEVELS.get(record.levelno, record.levelname.lower()),
            "event": word,
        }
        _add(line, fields)
        if record.exc_info and record.exc_info[1] is not None:
            line.setdefault("error", plain(record.exc_info[1]))
            line["traceback"] = _traceback(record.exc_info[1])
        if tracing.active is not None and (ids := tracing.active.ids()) is not None:
            line["trace_id"], line["span_id"] = ids
        line["logger"] = record.name
        for name, value in self.always.items():
            line.setdefault(name, value)
        return _written(line)


class TextLines(Named):
    """One aligned line a record, and tracebacks below it; what holds always is left out."""

    def format(self, record: logging.LogRecord) -> str:
        """Write a record. Never raises."""
        word, fields = _told(record)
        line: dict[str, Plain] = {}
        _add(line, fields)
        raised = record.exc_info[1] if record.exc_info else None
        if raised is not None:
            line.setdefault("error", plain(raised))
        level = _LEVELS.get(record.levelno, record.levelname.lower()).upper()
        begin = f"{_moment(record)} {level:<8} {word:<28}"
        text = " ".join([begin, *pairs(line)]).rstrip()
        if word == LIBRARY:
            text += f" logger={quoted(record.name)}"
        if raised is not None:
            told = _escaped_lines(redaction.without_secrets(_traceback(raised)))
            text = "\n    | ".join([text, *told])
        return text


def _told(record: logging.LogRecord) -> tuple[str, Mapping[str, object]]:
    """The word and the fields of a record: ours, or a library's."""
    if isinstance(record.msg, Event):
        return record.msg.word, record.msg.fields
    try:
        message = record.getMessage()
    except Exception as error:  # noqa: BLE001 - the library's mistake is not the event's end
        message = f"{record.msg!s:.500} [its arguments do not fit: {type(error).__name__}]"
    return LIBRARY, {**bound_fields(), "message": message}


def _add(line: dict[str, Plain], fields: Mapping[str, object]) -> None:
    """Put fields into a line, for as long as there is room."""
    room, left_out = LINE_BYTES_MAX, 0
    for number, (name, value) in enumerate(fields.items()):
        key, is_secret = named(name)
        shown: Plain = redaction.HIDDEN if is_secret else plain(value)
        if isinstance(shown, str):
            room -= len(shown)
        elif isinstance(shown, (list, dict)):
            room -= len(_encode(shown))
        if number >= FIELDS_MAX or room < 0:
            left_out += 1
            continue
        line[key] = shown
    if left_out:
        line["fields_left_out"] = left_out


def _moment(record: logging.LogRecord) -> str:
    whole = int(record.created)
    at = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(whole))
    return f"{at}.{int((record.created - whole) * 1000):03d}Z"


def _written(line: dict[str, Plain]) -> str:
    """Encode a line; where it may hold a secret, look at each text in it."""
    text = _encode(line).decode()
    if redaction.is_suspect(text):
        text = _encode(without_secrets_in(line)).decode()
    if not text.isascii() or "\x7f" in text:  # below 0x20 the encoder has escaped all
        text = _UNSAFE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
    return text


def _traceback(raised: BaseException) -> str:
    try:
        text = "".join(traceback.format_exception(raised)).rstrip()
    except Exception as error:  # noqa: BLE001 - an exception whose text raises is told all the same
        return f"[not shown: {type(raised).__name__}, whose text raised {type(error).__name__}]"
    text = text.encode("utf-8", "backslashreplace").decode()
    if len(text) > TRACEBACK_MAX:
        text = redaction.without_secrets(text)
    if len(text) > TRACEBACK_MAX:
        text = f"[cut: {len(text)} characters in all] …{text[-TRACEBACK_MAX:]}"
    return text


def _escaped_lines(text: str) -> list[str]:
    return ["".join(c if c.isprintable() else escape(c) for c in line) for line in text.split("\n")]


def formatter(form: Format, always: Mapping[str, str]) -> Named:
    """Make the formatter of a format; `always` are the fields that hold for the process."""
    return JsonLines(always) if form == "json" else TextLines(always)
