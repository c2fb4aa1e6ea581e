"""The YAML file as a graph of nodes that know their lines, or a clear refusal.

Only the structure is read here: no object is built from a tag, nothing is merged or resolved. The
rules: one document of UTF-8, at most `FILE_MAX` bytes, at most `DEPTH_MAX` levels deep. Whatever
the file holds, the only exception that leaves is `ConfigError`.
"""

from __future__ import annotations

from pathlib import Path

import yaml

from navarch.errors import ConfigError

FILE_MAX = 1_048_576
"""Bytes. A thousand pools fit in a fifth of it."""
DEPTH_MAX = 32
"""Levels of nesting. The schema uses six; the YAML library would use up the stack."""


def read_text(path: Path) -> str:
    """Read the text of a file; `ConfigError` says why not."""
    file = str(path)
    try:
        with path.open("rb") as stream:
            content = stream.read(FILE_MAX + 1)
    except FileNotFoundError:
        raise ConfigError("there is no such file", file=file) from None
    except IsADirectoryError:
        raise ConfigError("this is a directory, expected a YAML file", file=file) from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise ConfigError(f"cannot be read: {reason}", file=file) from error
    if len(content) > FILE_MAX:
        raise ConfigError("is larger than 1 MiB, expected a configuration", file=file)
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        message = f"byte 0x{content[error.start]:02x} is not UTF-8, expected UTF-8 text"
        raise ConfigError(message, file=file, line=line) from error


def compose(text: str, *, file: str) -> yaml.Node:
    """Read the nodes of the only document in `text`; `file` is for messages.

    Takes time in proportion to the text: 0.1 s for 10 KB, 10 s for the largest file allowed.
    """
    try:
        node = _Composer(text).get_single_node()
    except yaml.MarkedYAMLError as error:
        raise _explained(error, file) from error
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        message = f"character U+{ord(text[error.position]):04X} is not allowed in YAML"
        raise ConfigError(message, file=file, line=line) from error
    except (ValueError, OverflowError) as error:
        # The library hands numbers to chr() and int() unchecked: of an escape such as
        # "\UFFFFFFFF", of a directive such as %YAML 1.999.
        message = "not valid YAML: the number of an escape or a directive is too large"
        raise ConfigError(message, file=file) from error
    if node is None:
        raise ConfigError("is empty, expected at least {}", file=file)
    return node


def _explained(error: yaml.MarkedYAMLError, file: str) -> ConfigError:
    """Say what the library could not read, and where that began."""
    mark = error.problem_mark or error.context_mark
    context = error.context or ""
    if context and error.context_mark and mark and error.context_mark.line != mark.line:
        context += f" from line {error.context_mark.line + 1}"
    problem = " ".join(", ".join(part for part in (context, error.problem) if part).split())
    line = mark.line + 1 if mark else None
    return ConfigError(f"not valid YAML: {problem}", file=file, line=line)


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
