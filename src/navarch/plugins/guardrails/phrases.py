"""The guardrail ``content-filter``: words and patterns that a site does not want."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from msgspec import Struct

from navarch.errors import PluginError
from navarch.plugins.guardrails.contract import Finding, ScanContext, typed
from navarch.plugins.guardrails.linear import Encoded, Pattern, compiled, each_start
from navarch.plugins.guardrails.normal import Normal, normal
from navarch.plugins.protocols import GuardrailRequest, GuardrailResult

PHRASES_MAX = 5_000
PATTERNS_MAX = 500
PHRASE_LENGTH_MAX = 500


class ContentConfig(Struct, frozen=True):
    """What is not wanted."""

    phrases: tuple[str, ...] = ()
    """Words and phrases, found in any case, with any accents and with invisible signs between."""
    patterns: tuple[str, ...] = ()
    """Regular expressions in RE2 syntax, on the text as it is written; ``(?i)`` ignores case."""
    whole_words: bool = True
    """Whether a phrase must stand between signs that are no letters or digits."""
    pattern_span: int = 200
    """The longest match of a pattern in characters; a stream is held back by as much."""


class ContentFilter:
    """Finds the phrases and patterns of its configuration; without one, nothing."""

    name = "content-filter"
    type = "content-filter"
    priority = 100
    version = "1"
    Config = ContentConfig
    look_behind = 1
    look_ahead = 1

    def __init__(self, **settings: object) -> None:
        """Take the keys of `ContentConfig`.

        :raises PluginError: a phrase is empty or too long, a pattern is none, or there are too many
        """
        self.config = typed(ContentConfig, self.name, settings)
        if len(self.config.phrases) > PHRASES_MAX or len(self.config.patterns) > PATTERNS_MAX:
            raise PluginError(
                f"{self.name}: config: at most {PHRASES_MAX} phrases and {PATTERNS_MAX} patterns"
            )
        if not 1 <= self.config.pattern_span <= 10_000:
            raise PluginError(f"{self.name}: config: pattern_span must be from 1 to 10000")
        self._phrases = tuple(self._phrase(each) for each in self.config.phrases)
        self._patterns: tuple[Pattern, ...] = tuple(map(compiled, self.config.patterns))
        longest = max((len(phrase) for phrase in self._phrases), default=0)
        patterned = self.config.pattern_span if self._patterns else 0
        self.span_max: int | None = max(2 * longest, patterned, 1)

    def scan(self, text: str, context: ScanContext) -> Sequence[Finding]:
        """Find all of them."""
        found = list(self._of_phrases(text)) if self._phrases else []
        if self._patterns:
            encoded = Encoded(text)
            longest = self.config.pattern_span
            for place, pattern in enumerate(self._patterns):
                for start, end in each_start(pattern, encoded, lambda at: at + longest):
                    found.append(Finding(start, end, "pattern", 1.0, f"pattern {place + 1}"))
        return found

    async def check(self, request: GuardrailRequest) -> GuardrailResult:
        """Answer as the documents' form asks."""
        found = self.scan(request.content, ScanContext.of(request))
        if not found:
            return GuardrailResult(passed=True)
        return GuardrailResult(
            passed=False, action="block", reason=f"{len(found)} unwanted phrases or patterns"
        )

    def _of_phrases(self, text: str) -> Iterator[Finding]:
        whole = Normal(text)
        for place, phrase in enumerate(self._phrases):
            at = whole.text.find(phrase)
            while at >= 0:
                start, end = whole.span(at, at + len(phrase))
                if end - start <= (self.span_max or 0) and self._stands_alone(text, start, end):
                    yield Finding(start, end, "phrase", 1.0, f"phrase {place + 1}")
                at = whole.text.find(phrase, at + 1)

    def _stands_alone(self, text: str, start: int, end: int) -> bool:
        if not self.config.whole_words:
            return True
        before, after = text[start - 1 : start] if start else "", text[end : end + 1]
        return not (before.isalnum() or after.isalnum())

    def _phrase(self, phrase: str) -> str:
        plain = "".join(map(normal, phrase)).strip()
        if not 1 <= len(plain) <= PHRASE_LENGTH_MAX:
            raise PluginError(
                f"{self.name}: config: phrase {phrase!r}: expected 1 to {PHRASE_LENGTH_MAX} letters"
            )
        return plain
