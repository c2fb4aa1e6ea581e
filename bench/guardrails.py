"""How long a check of personal numbers takes, and what a stream of tokens costs.

    python bench/guardrails.py [--runs 5] [--json FILE]

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

from figures import Figure, options, write

from navarch.core.model.resources import AgentClass, AgentClassSpec, GuardrailSpec, ObjectMeta
from navarch.plugins.guardrails import GuardrailEngine, ScanContext
from navarch.plugins.guardrails.heuristics import JailbreakDetection, PromptInjection
from navarch.plugins.guardrails.pii.plugin import PIIDetection
from navarch.plugins.protocols import GuardrailRequest

BUDGET_MS: Final = 0.1
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


def costs_of(name: str, function: Callable[[], object], runs: int) -> Figure:
    """Measure calls: the median of each run, in milliseconds."""
    figure = Figure(name, "ms")
    for _ in range(runs):
        costs = []
        for _ in range(CALLS):
            started = time.process_time()
            function()
            costs.append(time.process_time() - started)
        figure.runs.append(statistics.median(costs) * 1000)
    print(f"{name:<40} {figure.value:>8.4f}")
    return figure


def stream(runs: int) -> Figure:
    """Measure what one token of a stream costs, with redaction."""
    spec = GuardrailSpec(type="pii-detection", action="redact")
    engine = GuardrailEngine(
        AgentClass(metadata=ObjectMeta(name="c"), spec=AgentClassSpec(guardrails=(spec,)))
    )
    text = MESSAGE * 10
    tokens = [text[at : at + 4] for at in range(0, len(text), 4)]

    async def run() -> float:
        session = engine.session(GuardrailRequest(content="", direction="output"))
        started = time.process_time()
        for token in tokens:
            session.feed(token)
        await session.finish()
        return (time.process_time() - started) / len(tokens)

    figure = Figure("a token of 4 characters in a stream", "ms")
    figure.runs = [asyncio.run(run()) * 1000 for _ in range(runs)]
    print(f"{figure.name:<40} {figure.value:>8.4f}")
    return figure


def presidio(runs: int) -> Figure | None:
    """Measure what Presidio's pattern recognizers take for the message; None without it."""
    if importlib.util.find_spec("presidio_analyzer") is None:
        return None
    predefined = importlib.import_module("presidio_analyzer.predefined_recognizers")
    names = ("CreditCardRecognizer", "EmailRecognizer", "IbanRecognizer", "IpRecognizer")
    recognizers = [getattr(predefined, name)() for name in (*names, "UsSsnRecognizer")]

    def analyzed() -> None:
        for recognizer in recognizers:
            recognizer.analyze(MESSAGE, recognizer.supported_entities, None)

    return costs_of("Presidio, 5 recognizers, message", analyzed, runs)


def main() -> int:
    """Print the table, and judge."""
    asked = options("how long a check of personal numbers takes")
    given = asked.parse_args()
    context = ScanContext()
    plugin = PIIDetection()
    print(f"{'pii-detection':<40} {'ms':>8}")
    figures = [
        costs_of(name, functools.partial(plugin.scan, text, context), given.runs)
        for name, text in TEXTS.items()
    ]
    message = figures[0].value
    figures.append(stream(given.runs))
    for other in (PromptInjection(), JailbreakDetection()):
        scan = functools.partial(other.scan, MESSAGE, context)
        figures.append(costs_of(f"{other.name}, message", scan, given.runs))
    beside = presidio(given.runs)
    if beside is None:
        print("Presidio: NOT MEASURED, presidio-analyzer is not installed")
    else:
        figures.append(beside)
    print(f"budget {BUDGET_MS} ms: {'met' if message <= BUDGET_MS else 'NOT met'}")
    write(figures, given.json)
    return 0 if message <= BUDGET_MS else 1


if __name__ == "__main__":
    sys.exit(main())
