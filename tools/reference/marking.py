"""How generated pages are written: cells, tables, and the notice at the top."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Final

NOTICE: Final = "<!-- written by tools/generate_docs.py from the code; do not edit -->\n"


def cell(text: str) -> str:
    """Write a text as the cell of a table: one line, nothing that Markdown takes for its own."""
    return re.sub(r"(?<!\\)\|", r"\\|", " ".join(text.split()))


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Write a table, or nothing where there are no rows."""
    lines = [f"| {' | '.join(map(cell, row))} |".replace("|  |", "| |") for row in rows]
    if not lines:
        return ""
    return "\n".join([f"| {' | '.join(head)} |", "|" + "---|" * len(head), *lines]) + "\n"


def prose(text: str) -> str:
    """Write a docstring as Markdown: reStructuredText's literals become code.

    Indented lines stay as they are, inside of a block; roles such as `Name` are code already.
    """
    text = re.sub(r"``([^`]+)``", r"`\1`", text.strip())
    return re.sub(r"<([a-z][\w-]*)>", r"\\<\1>", text)


def paragraphs(text: str) -> list[str]:
    """Part a docstring at its blank lines."""
    return [each for each in re.split(r"\n\s*\n", text.strip()) if each.strip()]


def block(language: str, text: str) -> str:
    """Write a fenced block."""
    return f"```{language}\n{text.rstrip()}\n```\n"
