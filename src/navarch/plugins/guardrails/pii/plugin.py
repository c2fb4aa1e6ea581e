"""The guardrail ``pii-detection``: who and what a text gives away."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from msgspec import Struct

from navarch.errors import PluginError
from navarch.plugins.guardrails.contract import Finding, ScanContext, typed
from navarch.plugins.guardrails.linear import Hints, compiled
from navarch.plugins.guardrails.pii import numbers, secrets, written
from navarch.plugins.guardrails.pii.folding import NOTHING, fold
from navarch.plugins.guardrails.pii.hit import AHEAD, BEHIND, Hit, without_parts
from navarch.plugins.guardrails.redaction import Redactor
from navarch.plugins.protocols import GuardrailRequest, GuardrailResult

NUMBER_TYPES: Final = (
    *("br-cpf", "ca-sin", "card", "de-tax-id", "fr-nir", "in-aadhaar", "nl-bsn", "phone"),
    *("pl-pesel", "uk-nhs", "us-routing", "us-ssn"),
)
HOLDERS: Final = frozenset([*NUMBER_TYPES, "iban"])
SECRET_TYPES: Final = ("jwt", "private-key")
TYPES: Final = tuple(
    sorted({*NUMBER_TYPES, *SECRET_TYPES, *(entry.type for entry in written.ENTRIES)})
)
"""Everything that can be found."""

_NUMBER_HINT: Final = r"[0-9](?:[ .\-/()]{0,3}[0-9]){7}"
_HINTS: Final = (
    *(entry.hint for entry in written.ENTRIES),
    *(_NUMBER_HINT, secrets.HINT_OF_TOKENS, secrets.HINT_OF_BLOCKS),
)
_NUMBERS, _TOKENS, _BLOCKS = (len(written.ENTRIES) + place for place in range(3))


class PIIConfig(Struct, frozen=True):
    """What is looked for."""

    types: tuple[str, ...] = TYPES
    """The types to find, as docs/guardrails.md lists them."""
    allow: tuple[str, ...] = ()
    """Values that are nobody's secret, such as the address of the help desk; as they are written,
    without regard to case."""


class PIIDetection:
    """Finds personal numbers, addresses and secrets by form, parsing and check digits."""

    name = "pii-detection"
    type = "pii-detection"
    priority = 100
    version = "1"
    Config = PIIConfig
    span_max: int | None = secrets.BLOCK_MAX
    look_behind = BEHIND
    look_ahead = AHEAD

    _hints = Hints(_HINTS)
    _patterns = tuple(compiled(entry.pattern) for entry in written.ENTRIES)

    def __init__(self, **settings: object) -> None:
        """Take the keys of `PIIConfig`.

        :raises PluginError: a key or a type is not known
        """
        self.config = typed(PIIConfig, self.name, settings)
        unknown = sorted(set(self.config.types) - set(TYPES))
        if unknown:
            expected = ", ".join(TYPES)
            raise PluginError(
                f"{self.name}: config: unknown type {unknown[0]!r}; expected: {expected}"
            )
        self._types = frozenset(self.config.types)
        self._allowed = frozenset(value.casefold() for value in self.config.allow)

    def scan(self, text: str, context: ScanContext) -> Sequence[Finding]:
        """Find all spans. 10 µs where there are none; about as much again for each that is."""
        folded = fold(text)
        hints = self._hints.among(folded)
        if not hints:
            return ()
        found = []
        hits = [hit for hit in self._hits(folded, hints) if hit.type in self._types]
        for hit in without_parts(hits, HOLDERS) if len(hits) > 1 else hits:
            if self._allowed and text[hit.start : hit.end].casefold() in self._allowed:
                continue
            found.append(Finding(hit.start, hit.end, hit.type, hit.score, hit.evidence))
        return found

    def settled(self, text: str) -> int:
        """Say up to where no span begins that more text could bring or change.

        That is some 50 characters from the end, the begin of the last word, or the begin of a block
        of a private key without its end, whatever comes first.
        """
        folded = fold(text)
        length = len(folded)
        run = max(folded.rfind(sign) for sign in (" ", "\n", "\t", "\r", NOTHING)) + 1
        run = max(run, length - secrets.TOKEN_MAX - numbers.AHEAD)
        safe = min(length - numbers.LONGEST - numbers.AHEAD, run)
        return max(min(safe, secrets.undecided(folded)), 0)

    async def check(self, request: GuardrailRequest) -> GuardrailResult:
        """Answer as the documents' form asks, for hosts that know no other."""
        found = self.scan(request.content, ScanContext.of(request))
        sure = [each for each in found if each.score >= 0.5]
        if not sure:
            return GuardrailResult(passed=True)
        types = sorted({each.type for each in sure})
        return GuardrailResult(
            passed=False,
            action="redact",
            reason=f"{len(sure)} found: {', '.join(types)}",
            confidence=max(each.score for each in sure),
            metadata={
                "pii_types": ",".join(types),
                "redacted_content": _redacted(request.content, sure),
            },
        )

    def _hits(self, folded: str, hints: Sequence[int]) -> list[Hit]:
        content = folded.encode("ascii")
        hits: list[Hit] = []
        for hint in hints:
            if hint == _NUMBERS:
                hits += numbers.find(folded)
            elif hint == _TOKENS:
                hits += secrets.find_tokens(folded)
            elif hint == _BLOCKS:
                hits += secrets.find_blocks(folded)
            else:
                entry = written.ENTRIES[hint]
                hits += written.find(entry, self._patterns[hint], folded, content)
        return hits


def _redacted(text: str, found: Sequence[Finding]) -> str:
    """Replace spans by their types, those that overlap as one."""
    redactor = Redactor(longest=None)
    for each in sorted(found):
        redactor.add(each)
    return redactor.rendered(text, 0, len(text), final=True)
