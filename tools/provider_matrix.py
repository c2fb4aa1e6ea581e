"""Writes ``docs/providers/matrix.md``: which provider is held to which test of the contract.

Run it as ``python tools/provider_matrix.py`` after a provider's tests or the suite have changed. It
reads the test classes (``tests/contracts/harnesses.py``) and runs none of them: "yes" says that a
class runs the test, and the suite as a whole says that it passes.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

ROOT: Final = Path(__file__).resolve().parent.parent
PAGE: Final = ROOT / "docs" / "providers" / "matrix.md"

OPENING: Final = """\
# What each provider is held to

One row for each test of the contract (`navarch.testing.ProviderContract`), one column for each
provider. **yes**: the provider's tests run it, against the cloud itself or a double of it; a
letter: it means nothing there, for the reason below; **no**: nothing shows it, because the double
cannot yet misbehave in that way. Written by `python tools/provider_matrix.py`; a test sees that it
is up to date.
"""

NOT_APPLICABLE: Final = "not applicable: "


class Column(Protocol):
    """What the page needs to know of a provider."""

    @property
    def title(self) -> str:
        """Its name, for people."""
        ...

    def why_not(self, test: str) -> str:
        """Tell why it is not held to this test; empty: it is."""
        ...


def rendered(tests: Iterable[str], columns: Sequence[Column]) -> str:
    """Write the page: the table, and below it the reasons, each once."""
    notes: dict[str, str] = {}

    def cell(test: str, column: Column) -> str:
        reason = column.why_not(test)
        if not reason:
            return "yes"
        if not reason.startswith(NOT_APPLICABLE):
            return "no"
        return notes.setdefault(reason.removeprefix(NOT_APPLICABLE), f"({_letters(len(notes))})")

    lines = [OPENING, _row(["", *(each.title for each in columns)])]
    lines.append(_row(["---"] * (len(columns) + 1)))
    for test in tests:
        sentence = test.removeprefix("test_").replace("_", " ")
        lines.append(_row([sentence, *(cell(test, each) for each in columns)]))
    if notes:
        lines += ["", "Not applicable, because", ""]
        lines += [f"- {mark} {reason}" for reason, mark in notes.items()]
    return "\n".join(lines) + "\n"


def page() -> str:
    """Write the page for the providers that this tree has. Imports their tests."""
    folder = str(ROOT / "tests")
    if folder not in sys.path:
        sys.path.insert(0, folder)
    harnesses = importlib.import_module("contracts.harnesses")
    suite = importlib.import_module("navarch.testing").ProviderContract
    return rendered(suite.names_of_tests(), harnesses.columns())


def _letters(number: int) -> str:
    """Count in letters: a to z, then aa."""
    more, last = divmod(number, 26)
    return (_letters(more - 1) if more else "") + chr(ord("a") + last)


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def main() -> int:
    """Write the page, and say so."""
    PAGE.parent.mkdir(parents=True, exist_ok=True)
    PAGE.write_text(page())
    print(f"wrote {PAGE.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
