"""A policy file as YAML nodes that know their places, down to each character of a text.

One document of UTF-8, at most `FILE_MAX` bytes and `DEPTH_MAX` levels; whatever the file holds, the
only exception that leaves is `PolicyError`.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import yaml

from navarch import documents
from navarch.errors import ConfigError

FILE_MAX: Final = 262_144
"""Bytes and characters of a policy. 500 rules of ordinary length fit in half of it."""
DEPTH_MAX: Final = 16
"""Levels of nesting. A policy has four; the YAML library would use up the stack."""
EXCERPT_MAX: Final = 100
"""Characters of a line that a mistake shows."""


class PolicyError(ConfigError):
    """A policy, or a file of cases for one, that cannot be used.

    As text: one line with file, line, column and what is wrong; below it the line of the file and a
    caret under the place, where there is one.
    """

    def __init__(
        self,
        message: str,
        *,
        file: str,
        line: int | None = None,
        column: int | None = None,
        key: str = "",
        excerpt: str = "",
    ) -> None:
        """Say what is wrong; `line` and `column` count from 1, `excerpt` is the line drawn."""
        super().__init__(message, file=file, line=line, key=key)
        self.column = column
        self.excerpt = excerpt

    @property
    def summary(self) -> str:
        """The one line, without the drawing."""
        place = ":".join(str(each) for each in (self.file, self.line, self.column) if each)
        return ": ".join(part for part in (place, self.key, self.message) if part)

    def __str__(self) -> str:
        return f"{self.summary}\n{self.excerpt}" if self.excerpt else self.summary


class Source:
    """The text of one file."""

    def __init__(self, text: str, *, file: str) -> None:
        """Hold `text`; `file` is for messages."""
        self.text = text.removeprefix("\ufeff")
        self.file = file

    def error(
        self,
        message: str,
        *,
        key: str = "",
        node: yaml.Node | None = None,
        index: int | None = None,
    ) -> PolicyError:
        """Make a mistake's message with its place: at a character, else where a node begins."""
        if index is None and node is not None:
            index = _index(node.start_mark)
        if index is None:
            return PolicyError(message, file=self.file, key=key)
        line, column = self.place(index)
        excerpt = self.excerpt(index)
        return PolicyError(
            message, file=self.file, line=line, column=column, key=key, excerpt=excerpt
        )

    def place(self, index: int) -> tuple[int, int]:
        """Line and column of a character, both from 1."""
        before = self.text[:index]
        breaks = list(_BREAK.finditer(before))
        begin = breaks[-1].end() if breaks else 0
        return len(breaks) + 1, index - begin + 1

    def excerpt(self, index: int) -> str:
        """The line around a character, and a caret under it; long lines are cut."""
        _, column = self.place(index)
        begin = index - column + 1
        end = _BREAK.search(self.text, begin)
        line = self.text[begin : end.start() if end else len(self.text)]
        cut = max(0, column - EXCERPT_MAX * 3 // 4)
        shown = "".join(sign if sign.isprintable() else " " for sign in line[cut:][:EXCERPT_MAX])
        return f"  {shown.rstrip()}\n  {' ' * (column - 1 - cut)}^"

    def root(self) -> yaml.Node:
        """Read the nodes of the only document.

        Raises `PolicyError`. Takes time in proportion to the text: 0.1 s for 10 KB.
        """
        if len(self.text) > FILE_MAX:
            raise self.error(f"has more than {FILE_MAX:,} characters, expected a policy")
        try:
            node = documents.compose(self.text, deepest=DEPTH_MAX)
        except documents.Unreadable as error:
            raise self.error(error.message, index=error.index) from error
        if node is None:
            raise self.error("is empty, expected a policy: version, metadata, rules")
        return node

    def places(self, node: yaml.ScalarNode) -> list[int]:
        """Where each character of a text stands in the file, quotes and folding undone.

        White space that YAML made out of line breaks stands where the text before it ends.
        """
        begin, end = _index(node.start_mark), _index(node.end_mark)
        found = _written(self.text[begin:end], node.style)
        places: list[int] = []
        at, last = 0, begin
        for sign in node.value:
            if not sign.isspace():
                while at < len(found) and found[at][1] != sign:
                    at += 1
                if at < len(found):
                    last = begin + found[at][0]
                    at += 1
                places.append(last)
                last += 1
            else:
                places.append(last)
        places.append(last)
        return places


def read_text(path: Path) -> str:
    """Read the text of a file; `PolicyError` says why not."""
    try:
        return documents.read_text(path, most=FILE_MAX, expected="a policy")
    except documents.Unreadable as error:
        raise PolicyError(error.message, file=str(path), line=error.line) from error


_BREAK = re.compile("\r\n|[\n\r\x85\u2028\u2029]")
_ESCAPE = re.compile(r"\\(?:x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|\r\n|.)", re.DOTALL)


def _index(mark: yaml.Mark) -> int:
    index: int = mark.index
    return index


def _written(raw: str, style: str | None) -> list[tuple[int, str]]:
    """The signs of a written text that are not white space, each with its place."""
    begin = 0
    if style in ("|", ">"):
        header = _BREAK.search(raw)
        begin = header.end() if header else len(raw)
    elif style in ('"', "'"):
        begin = 1
    found: list[tuple[int, str]] = []
    at = begin
    while at < len(raw):
        if style == '"' and (escape := _ESCAPE.match(raw, at)):
            sign = _escaped(escape[0])
            if sign and not sign.isspace():
                found.append((at, sign))
            at = escape.end()
            continue
        if not raw[at].isspace():
            found.append((at, raw[at]))
        at += 2 if style == "'" and raw[at : at + 2] == "''" else 1
    return found


def _escaped(escape: str) -> str:
    """The sign that an escape of YAML stands for; empty for none that shows."""
    if escape[1] in "xuU" and len(escape) > 2:
        return chr(int("0x" + escape[2:], 0))
    return (
        escape[1] if escape[1] in '"/\\' else {"0": "\0", "a": "\a", "b": "\b"}.get(escape[1], "")
    )
