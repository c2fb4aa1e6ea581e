"""The blocks of the pages: every one, as a reader of Markdown finds them.

A block is told by its language. What is behind that in the same line is an attribute, which both
the repository's own view and the site understand: ``title="navarch.yaml"`` says that the block is
the content of a file of that name.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import NamedTuple

from markdown_it import MarkdownIt

PROJECT = Path(__file__).resolve().parents[2]


class Fence(NamedTuple):
    """One block of code."""

    page: str
    """Where it is, from the project's folder."""
    line: int
    """Its first line in the page, from 1: that of the fence."""
    language: str
    """Empty: it has no fence, or one that says nothing."""
    title: str
    """The file that it is the content of; empty: none."""
    text: str

    def __str__(self) -> str:
        """Name it as an editor opens it."""
        return f"{self.page}:{self.line}"


def pages() -> list[Path]:
    """Every page that is held to this: all but the notes for a release, which are of the past."""
    return [
        PROJECT / "README.md",
        *sorted((PROJECT / "docs").rglob("*.md")),
        *sorted((PROJECT / "examples").rglob("*.md")),
    ]


def fences(text: str, page: str = "") -> list[Fence]:
    """Find the blocks of a page, in their order; indented ones too, for they are blocks as well."""
    found = []
    for token in MarkdownIt("commonmark").enable("table").parse(text):
        if token.type not in ("fence", "code_block"):
            continue
        assert token.map is not None
        language, _, attributes = token.info.strip().partition(" ")
        title = re.search(r'title="([^"]+)"', attributes)
        found.append(
            Fence(page, token.map[0] + 1, language, title[1] if title else "", token.content)
        )
    return found


@cache
def all_fences() -> tuple[Fence, ...]:
    """Find the blocks of all pages."""
    return tuple(
        fence
        for path in pages()
        for fence in fences(path.read_text(encoding="utf-8"), str(path.relative_to(PROJECT)))
    )


class Typed(NamedTuple):
    """A command of a block of the language ``console``."""

    command: str
    """Without the prompt; lines that a backslash continues are one."""
    output: str
    """What is shown below it; empty: it is not said."""


def typed(text: str) -> list[Typed]:
    """Part a session into its commands. What stands before the first prompt is dropped."""
    found = []
    for part in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
        lines = part.split("\n")
        command = lines.pop(0)
        while command.endswith("\\") and lines:
            command = f"{command[:-1].rstrip()} {lines.pop(0).strip()}"
        found.append(Typed(command, "\n".join(lines).strip("\n")))
    return found
