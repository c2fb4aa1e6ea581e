"""A policy file as YAML nodes that know their places, down to each character of a text.

Only structure is read: no object is built from a tag, nothing is merged. One document of UTF-8, at
most `FILE_MAX` bytes and `DEPTH_MAX` levels; whatever the file holds, the only exception that
leaves is `ConfigError`.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import yaml

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
            node = _Composer(self.text).get_single_node()
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            said = ", ".join(part for part in (error.context, error.problem) if part)
            index = None if mark is None else min(_index(mark), len(self.text))
            raise self.error(f"not valid YAML: {' '.join(said.split())}", index=index) from error
        except yaml.reader.ReaderError as error:
            message = f"character U+{ord(self.text[error.position]):04X} is not allowed in YAML"
            raise self.error(message, index=error.position) from error
        except (ValueError, OverflowError) as error:
            # The library hands the numbers of escapes and directives to chr() and int() unchecked.
            message = "not valid YAML: the number of an escape or a directive is too large"
            raise self.error(message) from error
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
    """Read the text of a file; `ConfigError` says why not."""
    file = str(path)
    try:
        with path.open("rb") as stream:
            content = stream.read(FILE_MAX + 1)
    except FileNotFoundError:
        raise PolicyError("there is no such file", file=file) from None
    except IsADirectoryError:
        raise PolicyError("this is a directory, expected a YAML file", file=file) from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise PolicyError(f"cannot be read: {reason}", file=file) from error
    if len(content) > FILE_MAX:
        raise PolicyError("is larger than 256 KiB, expected a policy", file=file)
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        message = f"byte 0x{content[error.start]:02x} is not UTF-8, expected UTF-8 text"
        raise PolicyError(message, file=file, line=line) from error


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


class _Composer(yaml.SafeLoader):
    """PyYAML's composer, with a floor under its recursion."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        """Compose one node and what is below it."""
        self.depth += 1
        if self.depth > DEPTH_MAX:
            mark = self.peek_event().start_mark  # type: ignore[no-untyped-call] # stubs lack it
            raise yaml.composer.ComposerError(
                problem=f"nested more than {DEPTH_MAX} levels deep", problem_mark=mark
            )
        try:
            return super().compose_node(parent, index)
        finally:
            self.depth -= 1
