"""The rich form of guardrails, as its checks look at it: spans, and texts that are cut.

A scanner promises that a span depends on itself and on `look_behind` and `look_ahead` characters
around it. So whatever is found in a text must be found in every piece of it that holds so much,
and nothing else; that is what lets a host check a text that is still being written.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final, Protocol, TypeAlias

from navarch.plugins.protocols import GuardrailRequest, GuardrailResult
from navarch.testing.findings import Broken, expect
from navarch.testing.manners import is_number

PIECES_MAX: Final = 400
"""Pieces of one text that are tried."""


class Span(Protocol):
    """What a scanner finds."""

    start: int
    end: int
    type: str
    score: float
    evidence: str


Scanner: TypeAlias = Any
"""An object with `scan`, `span_max` and perhaps `look_behind` and `look_ahead`."""


def scanned(plugin: Scanner, request: GuardrailRequest) -> Sequence[Span]:
    """Ask for the spans of a text; the request itself says what may be known besides it."""
    found: object = plugin.scan(request.content, request)
    if not isinstance(found, list | tuple):
        raise Broken(f"scan answers {found!r:.80}, expected a list of findings")
    return found


def as_result(found: Sequence[Span]) -> GuardrailResult:
    """Say in the documents' form what was found, so that both forms are compared alike."""
    if not found:
        return GuardrailResult(passed=True)
    spans = sorted((each.start, each.end, each.type, each.score) for each in found)
    return GuardrailResult(
        passed=False,
        action="block",
        reason=f"{len(spans)} spans",
        metadata={"spans": " ".join(map(str, spans))},
    )


def expect_sound(plugin: Scanner, text: str, found: Span) -> None:
    """See that a span is one. Raises `Broken`."""
    shown = f"in a text of {len(text)} characters it finds {found!r:.100}"
    whole = type(found.start) is int and type(found.end) is int
    expect(whole and 0 <= found.start < found.end <= len(text), f"{shown}: no span of it")
    expect(is_number(found.score) and 0 <= found.score <= 1, f"{shown}: expected a score to 1")
    expect(found.type and found.type.split() == [found.type], f"{shown}: expected a word as type")
    longest = plugin.span_max
    size = found.end - found.start
    expect(longest is None or size <= longest, f"{shown}: longer than its span_max of {longest}")


def windows(plugin: Scanner, text: str) -> int:
    """Compare what is found in pieces of a text with what is found in all of it; count the pieces.

    Raises `Broken` at the first piece in which something is missing, or too much.
    """
    before, after = (getattr(plugin, name, 0) for name in ("look_behind", "look_ahead"))
    everything = _keys(plugin, text, 0)
    tried = 0
    for begin, end in _pieces(len(text)):
        tried += 1
        piece = _keys(plugin, text[begin:end], begin)
        for where, has, lacks in (("the whole", everything, piece), ("a piece", piece, everything)):
            for start, stop, kind, score in has - lacks:
                begins = begin == 0 or start - before >= begin
                ends = end == len(text) or stop + after <= end
                expect(
                    not (begins and ends and start >= begin and stop <= end),
                    f"{kind} at {start} to {stop} (score {score:g}) is found only in {where}, cut "
                    f"at {begin} and {end} of {len(text)} characters; it looks {before} characters "
                    f"behind and {after} ahead",
                )
    return tried


def _keys(plugin: Scanner, text: str, shift: int) -> set[tuple[int, int, str, float]]:
    found = scanned(plugin, GuardrailRequest(text))
    return {(each.start + shift, each.end + shift, each.type, each.score) for each in found}


def _pieces(length: int) -> Iterator[tuple[int, int]]:
    """Cut at every place where the text is short, at some where it is long."""
    step = max(1, 2 * length // PIECES_MAX)
    for cut in range(1, length, step):
        yield 0, cut
        yield cut, length
