"""What a guardrail plugin is in its rich form: it says what it found, and where, and nothing else.

A *scanner* looks at a piece of text at once and returns findings. What becomes of them is decided
by the agent class and done by the host: a scanner neither blocks nor redacts. It declares how much
of a text it has to see, and so the host can check a text that is still being written:

- `span_max`: no span is longer than this; None means that it needs the whole text.
- `look_behind`, `look_ahead`: how many characters beside a span may decide whether it is one.

**The promise of a scanner**: whether it finds a span depends on that span, on `look_behind`
characters before it and on `look_ahead` after it, and on nothing else, except that the begin and
the end of what it is given count as the begin and the end of the text. Each place where a span may
start is judged by itself: a span that starts earlier does not use up the characters of another.
A scanner that keeps the promise gives the same findings however a text is cut into pieces.

The documents' form (`navarch.plugins.GuardrailPlugin`) is a plugin with an asynchronous ``check``
of a whole text. The host takes its word as one finding as long as the text.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, Protocol, TypeVar, runtime_checkable

import msgspec
from msgspec import Struct, field

from navarch.errors import PluginError
from navarch.plugins.protocols import GuardrailPlugin, GuardrailRequest

Action = Literal["allow", "log", "warn", "redact", "block"]

GRAVITY: dict[str, int] = {"allow": 0, "log": 1, "warn": 2, "redact": 3, "block": 4}
"""Of several actions the gravest wins."""

_Config = TypeVar("_Config", bound=Struct)


class Finding(Struct, frozen=True, order=True):
    """A span that should perhaps not pass."""

    start: int
    """The first character, from 0."""
    end: int
    """The character after the last."""
    type: str
    """What it is, in lower case with hyphens, such as ``email``."""
    score: float = 1.0
    """How sure, from 0 to 1. It is compared with the threshold of the agent class."""
    evidence: str = ""
    """Why, such as ``luhn, visa``. Never the text itself: this is written into records."""


class ScanContext(Struct, frozen=True):
    """What a scanner may know besides the text."""

    direction: Literal["input", "output", "tool-call", "tool-result"] = "input"
    agent_class: str = ""
    session_id: str = ""
    request_id: str = ""
    metadata: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, request: GuardrailRequest) -> ScanContext:
        """Keep what is not the text."""
        return cls(
            direction=request.direction,
            agent_class=request.agent_class,
            session_id=request.session_id,
            request_id=request.request_id,
            metadata=request.metadata,
        )


@runtime_checkable
class Scanner(Protocol):
    """A guardrail plugin in its rich form.

    It may also have ``look_behind`` and ``look_ahead`` (0 where it has not), and
    ``settled(text) -> int``: such that no span that more text could bring or change starts before
    that character. Without it the host takes what follows from `span_max`. With it spans may be
    long and the text still flows, because few places can be the start of a long one.
    """

    name: str
    type: str
    span_max: int | None

    def scan(self, text: str, context: ScanContext) -> Sequence[Finding]:
        """Find all spans, overlapping ones too, in any order."""
        ...


class Registered(Protocol):
    """Where the engine gets its plugins."""

    @property
    def guardrails(self) -> Sequence[Any]:
        """Those that are enabled, highest priority first."""
        ...


Plugin = Scanner | GuardrailPlugin


def typed(config_type: type[_Config], plugin: str, config: dict[str, object]) -> _Config:
    """Check a plugin's configuration by its type; keys that are not known are an error.

    :raises PluginError: it does not fit; the text names the plugin and the key
    """
    known = config_type.__struct_fields__
    for key in config:
        if key not in known:
            expected = ", ".join(known) or "none"
            raise PluginError(f"{plugin}: unknown key {key!r} in its config; expected: {expected}")
    try:
        return msgspec.convert(config, config_type, strict=True)
    except msgspec.ValidationError as error:
        raise PluginError(f"{plugin}: config: {error}") from error
