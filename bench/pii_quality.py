"""How well `pii-detection` finds personal numbers in made-up messages, type by type.

    python bench/pii_quality.py [--json FILE]   prints the table
    python bench/pii_quality.py --write         writes it into docs/guardrails.md

A span counts as found when a finding of its type, at a score of 0.5 or more, shares at least nine
tenths of the characters of both. Every other finding counts as wrong, also one of another type on
a labelled span.

Exits with 1 when a type is below the floor.
"""

from __future__ import annotations

import random
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parent))

from figures import Figure, options, write
from pii_messages import MAKERS, Message, messages

from navarch.plugins.guardrails.contract import ScanContext
from navarch.plugins.guardrails.pii.plugin import PIIDetection

FLOOR: Final = 0.97
THRESHOLD: Final = 0.5
PAGE: Final = Path(__file__).resolve().parent.parent / "docs" / "guardrails.md"
BEGIN: Final = "<!-- pii quality: written by bench/pii_quality.py -->"
END: Final = "<!-- end of pii quality -->"


ALONE: Final = 200
"""How many of each type are also tried without a word beside them."""


class Score(NamedTuple):
    """How well one type is found."""

    right: int
    wrong: int
    missed: int

    @property
    def precision(self) -> float:
        """The share of findings that are right."""
        return self.right / max(self.right + self.wrong, 1)

    @property
    def recall(self) -> float:
        """The share of spans that are found."""
        return self.right / max(self.right + self.missed, 1)


def measured(made: Sequence[Message]) -> dict[str, Score]:
    """Scan all messages, and count."""
    plugin, context = PIIDetection(), ScanContext()
    right: Counter[str] = Counter()
    wrong: Counter[str] = Counter()
    missed: Counter[str] = Counter()
    for message in made:
        found = [each for each in plugin.scan(message.text, context) if each.score >= THRESHOLD]
        used = set()
        for start, end, kind in message.spans:
            hit = [
                each
                for each in found
                if each.type == kind and overlap(each.start, each.end, start, end) >= 0.9
            ]
            used.update(hit)
            right[kind] += bool(hit)
            missed[kind] += not hit
        wrong.update(each.type for each in found if each not in used)
    return {
        kind: Score(right[kind], wrong[kind], missed[kind])
        for kind in sorted({*right, *wrong, *missed})
    }


def found_alone() -> dict[str, float]:
    """Tell which share of the numbers is found in ``It is X, I think.``: no word helps."""
    dice = random.Random(11)  # noqa: S311 - reproducible
    plugin, context = PIIDetection(), ScanContext()
    shares = {}
    for kind, (make, _) in sorted(MAKERS.items()):
        hits = 0
        for _ in range(ALONE):
            found = plugin.scan(f"It is {make(dice)}, I think.", context)
            hits += any(each.type == kind and each.score >= THRESHOLD for each in found)
        shares[kind] = hits / ALONE
    return shares


def overlap(start: int, end: int, first: int, last: int) -> float:
    """Tell how much of both spans they share, from 0 to 1."""
    both = max(min(end, last) - max(start, first), 0)
    return both / (max(end, last) - min(start, first))


def table(scores: dict[str, Score], alone: dict[str, float], count: int) -> str:
    """Write it as it stands in the page."""
    lines = [
        f"{count:,} messages, {len(MAKERS)} types:",
        "",
        "| type | spans | precision | recall | recall without words |",
        "|---|---:|---:|---:|---:|",
    ]
    for kind, score in scores.items():
        spans = score.right + score.missed
        lines.append(
            f"| {kind} | {spans} | {score.precision:.3f} | {score.recall:.3f} "
            f"| {alone.get(kind, 0.0):.3f} |"
        )
    whole = Score(*map(sum, zip(*scores.values(), strict=True)))
    spans = whole.right + whole.missed
    lines.append(f"| **all** | {spans} | {whole.precision:.3f} | {whole.recall:.3f} | |")
    return "\n".join(lines)


def written(page: str, content: str) -> str:
    """Put the table into the text of the page."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n\n{content}\n\n{END}{after}"


def main() -> int:
    """Measure, print or write, and judge."""
    asked = options("how well personal numbers are found")
    asked.add_argument("--write", action="store_true", help="write the table into the page")
    given = asked.parse_args()
    made = messages()
    scores = measured(made)
    content = table(scores, found_alone(), len(made))
    if given.write:
        PAGE.write_text(written(PAGE.read_text(), content))
    print(content)
    low = [kind for kind, each in scores.items() if min(each.precision, each.recall) < FLOOR]
    for kind in low:
        print(f"below {FLOOR}: {kind}", file=sys.stderr)
    least = {
        "precision, the worst type": min(each.precision for each in scores.values()),
        "recall, the worst type": min(each.recall for each in scores.values()),
    }
    write([Figure(name, "share", [value]) for name, value in least.items()], given.json)
    return 1 if low else 0


if __name__ == "__main__":
    raise SystemExit(main())
