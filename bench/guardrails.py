"""How long a check of personal numbers takes, and what a stream of tokens costs.

    python bench/guardrails.py

Budget: 0.1 ms for a message of 200 characters, CPU time, median of the medians of 5 runs. Beside it
stands Presidio's analyzer with its pattern recognizers, where it is installed.

Exits with 1 when the message is above the budget.
"""

from __future__ import annotations

import asyncio
import functools
import importlib.util
import statistics
import sys
import time
from collections.abc import Callable
from typing import Final

from navarch.core.model.resources import AgentClass, AgentClassSpec, GuardrailSpec, ObjectMeta
from navarch.plugins.guardrails import GuardrailEngine, ScanContext
from navarch.plugins.guardrails.heuristics import JailbreakDetection, PromptInjection
from navarch.plugins.guardrails.pii.plugin import PIIDetection
from navarch.plugins.protocols import GuardrailRequest

BUDGET_MS: Final = 0.1
RUNS: Final = 5
CALLS: Final = 400

MESSAGE: Final = (
    "Please send the invoice to alice.smith@example.com and call me on (415) 555-0132 tomorrow; "
    "the order 20394221 was paid with card 4111 1111 1111 1111 and shipped to the same address. "
    "Thanks and bye!!"
)
TEXTS: Final = {
    "message, 200 characters, 3 found": MESSAGE,
    "prose, 1 KB": ("The quick brown fox jumps over the lazy dog. " * 23)[:1024],
    "prose, 1 KB, not ASCII": ("Größere Füchse springen über müde Hunde. " * 25)[:1024],
    "digits, 1 KB": ("12345 67890 1234 5678 9012 3456 78 90 12-34-56 " * 22)[:1024],
    "one long number, 1 KB": ("4" * 1024),
    "code, 1 KB": ("total += items[0x1F].price * 1.19  # issue 4711\n" * 22)[:1024],
}


def median_ms(function: Callable[[], object]) -> float:
    """Return the median of several runs' medians."""
    runs = []
    for _ in range(RUNS):
        costs = []
        for _ in range(CALLS):
            started = time.perf_counter()
            function()
            costs.append(time.perf_counter() - started)
        runs.append(statistics.median(costs))
    return statistics.median(runs) * 1000


def stream_ms() -> float:
    """Return what one token of a stream costs, with redaction."""
    spec = GuardrailSpec(type="pii-detection", action="redact")
    engine = GuardrailEngine(
        AgentClass(metadata=ObjectMeta(name="c"), spec=AgentClassSpec(guardrails=(spec,)))
    )
    text = MESSAGE * 10
    tokens = [text[at : at + 4] for at in range(0, len(text), 4)]

    async def run() -> float:
        session = engine.session(GuardrailRequest(content="", direction="output"))
        started = time.perf_counter()
        for token in tokens:
            session.feed(token)
        await session.finish()
        return (time.perf_counter() - started) / len(tokens)

    return statistics.median(asyncio.run(run()) for _ in range(RUNS)) * 1000


def presidio_ms() -> float | None:
    """Return what Presidio's pattern recognizers take for the message; None without it."""
    if importlib.util.find_spec("presidio_analyzer") is None:
        return None
    predefined = importlib.import_module("presidio_analyzer.predefined_recognizers")
    names = ("CreditCardRecognizer", "EmailRecognizer", "IbanRecognizer", "IpRecognizer")
    recognizers = [getattr(predefined, name)() for name in (*names, "UsSsnRecognizer")]

    def analyzed() -> None:
        for recognizer in recognizers:
            recognizer.analyze(MESSAGE, recognizer.supported_entities, None)

    return median_ms(analyzed)


def main() -> int:
    """Print the table, and judge."""
    context = ScanContext()
    plugin = PIIDetection()
    print(f"{'pii-detection':<36} {'ms':>8}")
    costs = {}
    for name, text in TEXTS.items():
        costs[name] = median_ms(functools.partial(plugin.scan, text, context))
        print(f"{name:<36} {costs[name]:>8.4f}")
    print(f"{'a token of 4 characters in a stream':<36} {stream_ms():>8.4f}")
    for other in (PromptInjection(), JailbreakDetection()):
        cost = median_ms(functools.partial(other.scan, MESSAGE, context))
        print(f"{other.name + ', message':<36} {cost:>8.4f}")
    presidio = presidio_ms()
    said = "not installed" if presidio is None else f"{presidio:.4f}"
    print(f"{'presidio, 5 recognizers, message':<36} {said:>8}")
    message = next(iter(costs.values()))
    print(f"budget {BUDGET_MS} ms: {'met' if message <= BUDGET_MS else 'NOT met'}")
    return 0 if message <= BUDGET_MS else 1


if __name__ == "__main__":
    sys.exit(main())
