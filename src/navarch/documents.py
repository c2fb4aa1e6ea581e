"""YAML as people write it: files of bounded size, nodes that know their places, clear refusals.

Only the structure is read: no object is built from a tag, nothing is merged or resolved. Whatever a
file holds, the only exception that leaves is `Unreadable`; what it becomes is for those to say who
know what kind of file it is.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import yaml

_Read = TypeVar("_Read")


class Unreadable(Exception):
    """A text that is not one document of YAML, or a file that is none."""

    def __init__(self, message: str, *, line: int | None = None, index: int | None = None) -> None:
        """Say what is wrong, and where: a line from 1, a character from 0, None if in no place."""
        super().__init__(message)
        self.message = message
        self.line = line
        self.index = index


def read_text(path: Path, *, most: int, expected: str) -> str:
    """Read the UTF-8 text of a file of at most `most` bytes; `expected` says what it should be.

    Raises `Unreadable`, with a line where a byte is wrong.
    """
    try:
        with path.open("rb") as stream:
            content = stream.read(most + 1)
    except FileNotFoundError:
        raise Unreadable("there is no such file") from None
    except IsADirectoryError:
        raise Unreadable("this is a directory, expected a YAML file") from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise Unreadable(f"cannot be read: {reason}") from error
    if len(content) > most:
        size = f"{most >> 20} MiB" if most >> 20 else f"{most >> 10} KiB"
        raise Unreadable(f"is larger than {size}, expected {expected}")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        message = f"byte 0x{content[error.start]:02x} is not UTF-8, expected UTF-8 text"
        raise Unreadable(message, line=line) from error


def compose(text: str, *, deepest: int) -> yaml.Node | None:
    """Read the nodes of the only document in `text`; None if it has none.

    `deepest` is how many levels may be nested. Raises `Unreadable`, with line and index where the
    mistake has a place. Takes time in proportion to the text: 0.1 s for 10 KB.
    """
    return _composed(text, lambda: _Composer(text, deepest).get_single_node())


def compose_all(text: str, *, deepest: int, most: int) -> list[yaml.Node]:
    """Read the nodes of every document in `text`, of at most `most`; empty ones are left out.

    Otherwise as `compose`.
    """

    def read() -> list[yaml.Node]:
        composer = _Composer(text, deepest)
        nodes: list[yaml.Node] = []
        while composer.check_node():
            node = composer.get_node()
            if node is None or _is_nothing(node):
                continue
            if len(nodes) == most:
                line = node.start_mark.line + 1
                raise Unreadable(f"holds more than {most:,} documents", line=line)
            nodes.append(node)
        return nodes

    return _composed(text, read)


def _is_nothing(node: yaml.Node) -> bool:
    """Whether nothing was written between two lines of dashes."""
    return isinstance(node, yaml.ScalarNode) and not node.value and node.style is None


def _composed(text: str, read: Callable[[], _Read]) -> _Read:
    """Have the library read, and tell in our words what it could not."""
    try:
        return read()
    except yaml.MarkedYAMLError as error:
        raise _explained(error, len(text)) from error
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        message = f"character U+{ord(text[error.position]):04X} is not allowed in YAML"
        raise Unreadable(message, line=line, index=error.position) from error
    except (ValueError, OverflowError) as error:
        # The library hands numbers to chr() and int() unchecked: of an escape such as
        # "\UFFFFFFFF", of a directive such as %YAML 1.999.
        message = "not valid YAML: the number of an escape or a directive is too large"
        raise Unreadable(message) from error


def _explained(error: yaml.MarkedYAMLError, length: int) -> Unreadable:
    """Say what the library could not read, and where that began."""
    mark = error.problem_mark or error.context_mark
    context = error.context or ""
    if context and error.context_mark and mark and error.context_mark.line != mark.line:
        context += f" from line {error.context_mark.line + 1}"
    problem = " ".join(", ".join(part for part in (context, error.problem) if part).split())
    message = f"not valid YAML: {problem}"
    if mark is None:
        return Unreadable(message)
    return Unreadable(message, line=mark.line + 1, index=min(mark.index, length))


class _Composer(yaml.SafeLoader):
    """PyYAML's composer, with a floor under its recursion."""

    def __init__(self, text: str, deepest: int) -> None:
        super().__init__(text)
        self.deepest = deepest
        self.depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        """Compose one node and what is below it."""
        self.depth += 1
        if self.depth > self.deepest:
            mark = self.peek_event().start_mark  # type: ignore[no-untyped-call] # stubs lack it
            raise yaml.composer.ComposerError(
                problem=f"nested more than {self.deepest} levels deep", problem_mark=mark
            )
        try:
            return super().compose_node(parent, index)
        finally:
            self.depth -= 1
