"""Texts that stand for something else: durations, addresses, stores, paths.

They are apart from the schema so that the command line reads ``--since 10m`` by the same rules as
the configuration reads ``heartbeat_interval: 10m``. Each parser takes text and raises `ValueError`
with a reason that fits behind "expected X: "; each form carries the words and the pattern that
describe what its parser takes.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

from msgspec import Struct

DURATION_MAX = timedelta(days=3650)
"""Ten years: longer is a slip of the keyboard, and would overflow dates added to it."""

PORT_MAX = 65535

_UNITS = {
    "ms": timedelta(milliseconds=1),
    "s": timedelta(seconds=1),
    "m": timedelta(minutes=1),
    "h": timedelta(hours=1),
    "d": timedelta(days=1),
}
_DURATION = re.compile(r"([0-9]{1,12}(?:\.[0-9]{1,6})?)(ms|s|m|h|d)")
_ADDRESS = re.compile(r"(?:\[([0-9A-Fa-f:.]{2,45})\]|([A-Za-z0-9.-]{0,253})):([0-9]{1,5})")
_STORE = re.compile(r"memory://|sqlite:///(.+)|(postgres(?:ql)?://.+)")
_PASSWORD = re.compile(r"(?<=//)([^/?#@:]*):[^/?#]*@")


class Form(Struct, frozen=True):
    """One kind of text with a meaning."""

    expected: str
    """What to write, as it stands behind the word "expected"."""
    pattern: str
    """A regular expression for editors; the parser may be stricter."""
    parse: Callable[[str], object]
    """From text to value; raises `ValueError` with the reason."""


class Address(Struct, frozen=True):
    """Where a server listens."""

    host: str
    """A name or an address without brackets; empty means every interface."""
    port: int
    """From 0 to 65535; 0 means any free one."""

    def __str__(self) -> str:
        """Write it as it is written in the configuration."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


class Store(Struct, frozen=True):
    """Where the journal is kept."""

    path: Path | None = None
    """The SQLite file; None keeps the journal in memory, and loses it with the process."""
    url: str = ""
    """The PostgreSQL database, as it is written: it may hold a password. Empty: it is another."""

    def __str__(self) -> str:
        """Write it as it is written in the configuration, but no password."""
        if self.url:
            return masked(self.url)
        return "memory://" if self.path is None else f"sqlite:///{self.path}"

    def __repr__(self) -> str:
        return f"Store({str(self)!r})"


def masked(text: str) -> str:
    """Return `text` without the passwords of the URLs in it."""
    return _PASSWORD.sub(r"\1:***@", text)


def parse_duration(text: str) -> timedelta:
    """Read a duration such as ``500ms``, ``30s``, ``5m``, ``2h``, ``1d`` or ``1.5h``."""
    match = _DURATION.fullmatch(text)
    if match is None:
        if re.fullmatch(r"[0-9.]+", text):
            raise ValueError(f"it has no unit; {text}s means seconds")
        raise ValueError("it is one number and one unit")
    amount, unit = match.groups()
    if float(amount) * _UNITS[unit].total_seconds() > DURATION_MAX.total_seconds():
        raise ValueError(f"it is at most {format_duration(DURATION_MAX)}")
    return float(amount) * _UNITS[unit]


def parse_interval(text: str) -> timedelta:
    """Read a duration above zero."""
    duration = parse_duration(text)
    if not duration:
        raise ValueError
    return duration


def parse_seconds(text: str) -> timedelta:
    """Read a duration of whole seconds, at least one: what the wire can carry."""
    duration = parse_duration(text)
    if duration < timedelta(seconds=1) or duration % timedelta(seconds=1):
        raise ValueError("agents count in whole seconds, from 1s")
    return duration


def format_duration(duration: timedelta) -> str:
    """Write a duration in the largest unit that takes a whole number of it."""
    for unit in ("d", "h", "m", "s"):
        if duration and not duration % _UNITS[unit]:
            return f"{duration // _UNITS[unit]}{unit}"
    return f"{duration / _UNITS['ms']:g}ms" if duration else "0s"


def format_value(value: object) -> str:
    """Write a default as it would be written in the configuration; ``none`` for an absent one."""
    match value:
        case None:
            return "none"
        case bool():
            return str(value).lower()
        case timedelta():
            return format_duration(value)
        case tuple():
            return f"[{', '.join(map(format_value, value))}]"
        case dict():
            pairs = (f"{name}: {format_value(inner)}" for name, inner in value.items())
            return f"{{{', '.join(pairs)}}}"
        case "":
            return '""'
        case _:
            return str(value)


def parse_address(text: str) -> Address:
    """Read ``HOST:PORT``, ``:PORT`` or ``[IPV6]:PORT``."""
    match = _ADDRESS.fullmatch(text)
    if match is None:
        raise ValueError("a port stands behind the last colon, and IPv6 stands in brackets")
    ipv6, host, port = match.groups()
    if int(port) > PORT_MAX:
        raise ValueError(f"ports end at {PORT_MAX}")
    return Address(host=ipv6 or host or "", port=int(port))


def parse_store(text: str) -> Store:
    """Read ``sqlite:///FILE`` (a fourth slash makes FILE absolute) or ``memory://`` or a database.

    What stands in the URL of a database is for the store to judge.
    """
    match = _STORE.fullmatch(text)
    if match is None:
        raise ValueError(
            "stores are SQLite files, with three slashes, PostgreSQL databases or the memory"
        )
    path, url = match.groups()
    return Store(path=Path(path) if path else None, url=url or "")


def parse_path(text: str) -> Path:
    """Read a path; a leading ``~`` is not expanded, for daemons often have no home."""
    if not text:
        raise ValueError("it is empty")
    return Path(text)


def named(expected: str, pattern: str) -> Form:
    """Make the form of a text that only has to match `pattern` as a whole.

    Its parser gives no reason beyond `expected`: a pattern is none to most people.
    """
    compiled = re.compile(pattern)

    def parse(text: str) -> str:
        if compiled.fullmatch(text) is None:
            raise ValueError
        return text

    return Form(expected=expected, pattern=f"^(?:{pattern})$", parse=parse)


DURATION = Form(
    expected="a duration such as 500ms, 30s, 5m, 2h or 1d",
    pattern=f"^{_DURATION.pattern}$",
    parse=parse_duration,
)
INTERVAL = Form(
    expected="a duration above zero such as 500ms, 30s or 5m",
    pattern=f"^{_DURATION.pattern}$",
    parse=parse_interval,
)
SECONDS = Form(
    expected="a duration such as 30s, 5m or 2h",
    pattern=f"^{_DURATION.pattern}$",
    parse=parse_seconds,
)
ADDRESS = Form(
    expected='an address such as "127.0.0.1:50051", ":50051" or "[::1]:50051"',
    pattern=f"^{_ADDRESS.pattern}$",
    parse=parse_address,
)
STORE = Form(
    expected="sqlite:///PATH, postgresql://USER@HOST/DATABASE or memory://",
    pattern=f"^(?:{_STORE.pattern})$",
    parse=parse_store,
)
PATH = Form(expected="a path", pattern="^.+$", parse=parse_path)
