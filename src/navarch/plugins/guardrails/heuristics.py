"""The guardrails ``prompt-injection`` and ``jailbreak-detection``: transparent rules with scores.

Each rule is a pattern on text without case, accents and invisible signs. Its score says how sure it
is alone. A rule that stands in a sentence about such texts (it is quoted, explained or asked about)
loses half. These rules catch the blunt attempts and miss the clever ones; docs/guardrails.md has
the numbers of both, and of harmless texts that are caught.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from msgspec import Struct

from navarch.plugins.guardrails.contract import Finding, ScanContext, typed
from navarch.plugins.guardrails.linear import Encoded, Hints, compiled, each_start
from navarch.plugins.guardrails.normal import Normal
from navarch.plugins.protocols import GuardrailRequest, GuardrailResult

SPAN_MAX: Final = 240
"""The longest match in characters."""
_ABOUT_WITHIN: Final = 60

_ABOUT: Final = (
    *("what does", "what is", "explain", "example of", "the phrase", "detect", "research"),
    *("article about", "how do i prevent", "defend against", "meaning of", "translate", "why do"),
    *("called", "blog post", "such as", "filter for", "test case", "the words"),
)
"""Words of those who write about such texts."""


class Rule(NamedTuple):
    """One sign of an attempt."""

    name: str
    pattern: str
    score: float


_EARLIER: Final = r"(?:previous|prior|earlier|above|preceding|foregoing|original|initial|system)"
_ORDERS: Final = (
    r"(?:instructions?|prompts?|rules?|directions?|guidelines?"
    r"|commands?)"
)

INJECTION: Final = (
    Rule(
        "override",
        r"\b(?:ignore|disregard|forget|override|bypass|skip)\b.{0,24}\b"
        + _EARLIER
        + r"\b.{0,16}\b"
        + _ORDERS,
        0.9,
    ),
    Rule(
        "override",
        r"\b(?:ignore|disregard|forget)\b.{0,12}\b(?:everything"
        r"|all)\b.{0,24}"
        r"\b(?:above|before|you were told|instructions?)\b",
        0.85,
    ),
    Rule("override", r"\b(?:do not|don't|stop) (?:follow|obey)(?:ing)?\b.{0,20}" + _ORDERS, 0.7),
    Rule(
        "new-orders",
        r"\b(?:your )?new (?:instructions?|task|orders|system prompt)"
        r"\b ?(?:(?:are|is) ?)?:",
        0.75,
    ),
    Rule("new-orders", r"\bfrom now on,? you (?:will|must|are|should|shall)\b", 0.6),
    Rule(
        "leak",
        r"\b(?:reveal|show|print|repeat|output|display|tell me"
        r"|leak|dump|give me)\b.{0,30}\b"
        r"(?:system|hidden|initial|secret|original|developer) ?"
        r"(?:prompt|instructions?|message|rules)",
        0.85,
    ),
    Rule("leak", r"\brepeat (?:everything|the text|all text|the words) above\b", 0.85),
    Rule(
        "forged-role",
        r"(?:^|[\n .])(?:<\|?(?:im_start|system|assistant)\|?>"
        r"|\[/?(?:inst|system)\]"
        r"|###? ?(?:system|instruction)s? ?:)",
        0.85,
    ),
    Rule(
        "to-the-machine",
        r"\b(?:ai|assistant|llm|language model|chatbot|agent"
        r"|gpt)s?\b.{0,30}"
        r"\b(?:must|should|please|has to|needs to)\b.{0,30}\b"
        r"(?:ignore|forward|send|email|delete|execute"
        r"|visit|call|transfer|recommend)\b",
        0.65,
    ),
    Rule(
        "exfiltrate",
        r"\b(?:send|forward|post|upload|email|exfiltrate)\b.{0,40}"
        r"\b(?:conversation|chat history"
        r"|credentials?|api keys?|passwords?|system prompt|secrets?)"
        r"\b.{0,24}\bto\b",
        0.7,
    ),
)

JAILBREAK: Final = (
    Rule(
        "persona",
        r"\b(?:you are|act as|pretend to be|become|simulate|roleplay as)"
        r"\b.{0,24}"
        r"\b(?:dan|stan|dude|aim|evil|unfiltered|uncensored|unrestricted"
        r"|jailbroken)\b",
        0.85,
    ),
    Rule("persona", r"\bdo anything now\b", 0.85),
    Rule(
        "no-limits",
        r"\b(?:without|no|free (?:of|from)|ignore|bypass|disable"
        r"|turn off|remove)\b.{0,20}\b(?:ethical|moral"
        r"|safety|content|openai|usage)\b.{0,16}\b(?:guidelines?"
        r"|restrictions?|filters?|polic(?:y|ies)"
        r"|limits?|limitations?|constraints?|rules)",
        0.75,
    ),
    Rule(
        "no-limits",
        r"\byou (?:have|are|can) (?:no|not bound|free of|ignore)"
        r"\b.{0,24}\b(?:restrictions?|rules|limits|filters?"
        r"|guidelines|policies)\b",
        0.75,
    ),
    Rule(
        "mode",
        r"\b(?:developer|god|debug|jailbreak|sudo|admin|unrestricted) mode"
        r"\b.{0,20}"
        r"\b(?:on|enabled?|activated?|engaged)\b",
        0.75,
    ),
    Rule(
        "mode",
        r"\b(?:enable|enter|activate|switch to|turn on)\b.{0,12}"
        r"\b(?:developer|god|jailbreak|sudo|dan|unrestricted) mode"
        r"\b",
        0.75,
    ),
    Rule(
        "no-refusal",
        r"\b(?:never|don't|do not|cannot|must not)\b.{0,12}\b"
        r"(?:refuse|decline|say no)\b.{0,12}\b(?:to|request|requests|user|me|answer|again)\b",
        0.6,
    ),
    Rule(
        "hypothetical",
        r"\b(?:hypothetically|in a fictional world|for a novel"
        r"|as a thought experiment)\b.{0,60}"
        r"\b(?:no laws|no rules|how to (?:make|build|hack|steal|kill))\b",
        0.65,
    ),
    Rule(
        "grandmother",
        r"\b(?:grandmother|grandma)\b.{0,60}\b(?:napalm|explosives?"
        r"|bomb|meth|recipe for)\b",
        0.7,
    ),
    Rule(
        "two-answers",
        r"\b(?:two|both) (?:responses|answers|replies)\b.{0,50}"
        r"\b(?:unfiltered|jailbroken|without (?:restrictions"
        r"|filters))\b",
        0.8,
    ),
)


class HeuristicsConfig(Struct, frozen=True):
    """Which rules are used."""

    without: tuple[str, ...] = ()
    """Names of rules that are not used."""


class _Rules:
    """What both guardrails share: rules, and how they are looked for."""

    name = ""
    priority = 100
    version = "1"
    Config = HeuristicsConfig
    span_max: int | None = SPAN_MAX
    look_behind = 2 * _ABOUT_WITHIN
    look_ahead = 2

    def __init__(self, rules: Sequence[Rule], settings: dict[str, object]) -> None:
        self.config = typed(HeuristicsConfig, self.name, settings)
        self._rules = tuple(each for each in rules if each.name not in self.config.without)
        self._patterns = tuple(compiled(each.pattern) for each in self._rules)
        self._hints = Hints([each.pattern for each in self._rules] or [r"$^"])

    def scan(self, text: str, context: ScanContext) -> Sequence[Finding]:
        """Find all signs of an attempt."""
        plain = Normal(text)
        hints = self._hints.among(plain.text) if self._rules else []
        if not hints:
            return ()
        encoded = Encoded(plain.text)
        found = []
        for hint in hints:
            rule = self._rules[hint]
            matches = each_start(
                self._patterns[hint], encoded, lambda at: plain.limit(at, SPAN_MAX)
            )
            for begin, stop in matches:
                start, end = plain.span(begin, stop)
                before = Normal(text[max(start - _ABOUT_WITHIN, 0) : start]).text
                about = any(word in before for word in _ABOUT) or before.endswith(
                    ('"', "'", "`", "“")
                )
                score = round(rule.score / 2, 3) if about else rule.score
                found.append(Finding(start, end, self.name, score, rule.name))
        return found

    async def check(self, request: GuardrailRequest) -> GuardrailResult:
        """Answer as the documents' form asks."""
        found = self.scan(request.content, ScanContext.of(request))
        surest = max(found, key=lambda each: each.score, default=None)
        if surest is None or surest.score < 0.5:
            return GuardrailResult(passed=True)
        return GuardrailResult(
            passed=False, action="block", reason=surest.evidence, confidence=surest.score
        )


class PromptInjection(_Rules):
    """Finds orders to a model in text that should only be read."""

    name = "prompt-injection"
    type = "prompt-injection"

    def __init__(self, **settings: object) -> None:
        """Take the keys of `HeuristicsConfig`."""
        super().__init__(INJECTION, settings)


class JailbreakDetection(_Rules):
    """Finds attempts to talk a model out of its limits."""

    name = "jailbreak-detection"
    type = "jailbreak-detection"

    def __init__(self, **settings: object) -> None:
        """Take the keys of `HeuristicsConfig`."""
        super().__init__(JAILBREAK, settings)
