"""A guardrail that redacts what says who somebody is.

Every pattern has a bound on each repetition, so that no text takes long, and card numbers are
believed only when their check digit is right.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator

from msgspec import Struct

from navarch.plugins import GuardrailRequest, GuardrailResult

EMAIL = re.compile(
    r"(?<![A-Za-z0-9._%+-])[A-Za-z0-9._%+-]{1,64}@[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63}){1,8}"
)
CARD = re.compile(r"(?<![0-9])(?:[0-9][ -]?){11,18}[0-9](?![0-9])")
SSN = re.compile(r"(?<![0-9-])(?!000|666|9)[0-9]{3}-(?!00)[0-9]{2}-(?!0000)[0-9]{4}(?![0-9-])")


class PIIDetection:
    """Redacts card numbers, e-mail addresses and US social security numbers."""

    name = "acme-pii"
    type = "pii-detection"
    """What agent classes call it under ``guardrails``."""
    version = "1.0.0"
    priority = 200
    """Of several of one type the highest is used; the built-in one has 100."""

    class Config(Struct, frozen=True):
        """What stands where something was found."""

        mark: str = "[{kind}]"

    def __init__(self, config: Config | None = None) -> None:
        """Put this mark in the place of what is found."""
        self.config = config or self.Config()

    async def check(self, request: GuardrailRequest) -> GuardrailResult:
        """Look at a text; of what is found only the kinds and the number are told."""
        findings = merged(find(request.content))
        if not findings:
            return GuardrailResult(passed=True)
        clean, end = [], 0
        for start, stop, kind in findings:
            clean += [request.content[end:start], self.config.mark.format(kind=kind)]
            end = stop
        clean.append(request.content[end:])
        kinds = sorted({kind for _, _, kind in findings})
        return GuardrailResult(
            passed=False,
            action="redact",
            reason=f"found {len(findings)} PII instances: {', '.join(kinds)}",
            confidence=0.95,
            metadata={"redacted_content": "".join(clean), "pii_types": ",".join(kinds)},
        )


def find(text: str) -> Iterator[tuple[int, int, str]]:
    """Yield what is found as its begin, its end and its kind."""
    for kind, pattern in (("email", EMAIL), ("card", CARD), ("ssn", SSN)):
        for match in pattern.finditer(text):
            if kind != "card" or _passes_luhn(match[0]):
                yield match.start(), match.end(), kind


def merged(findings: Iterator[tuple[int, int, str]]) -> list[tuple[int, int, str]]:
    """Put findings in order, and make one of those that overlap."""
    kept: list[tuple[int, int, str]] = []
    for start, stop, kind in sorted(findings):
        if kept and start < kept[-1][1]:
            kept[-1] = (kept[-1][0], max(stop, kept[-1][1]), kept[-1][2])
        else:
            kept.append((start, stop, kind))
    return kept


def _passes_luhn(number: str) -> bool:
    """Check a card's last digit (ISO/IEC 7812-1, annex B); one repeated digit is no card."""
    digits = [int(sign) for sign in number if sign.isdigit()]
    doubled = (sum(divmod(2 * digit, 10)) for digit in digits[-2::-2])
    return len(set(digits)) > 1 and (sum(digits[-1::-2]) + sum(doubled)) % 10 == 0


def main() -> GuardrailResult:
    """Check a sentence."""
    text = "Card 4111 1111 1111 1111, write to jane.doe@example.org"
    return asyncio.run(PIIDetection().check(GuardrailRequest(text)))


if __name__ == "__main__":
    answer = main()
    print(answer.action, answer.reason, answer.metadata["redacted_content"], sep="\n")
