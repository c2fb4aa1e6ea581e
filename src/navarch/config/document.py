"""A configuration's file as YAML nodes that know their lines, or a clear refusal.

One document of UTF-8, at most `FILE_MAX` bytes, at most `DEPTH_MAX` levels deep. Whatever the file
holds, the only exception that leaves is `ConfigError`.
"""

from __future__ import annotations

from pathlib import Path

import yaml

from navarch import documents
from navarch.errors import ConfigError

FILE_MAX = 1_048_576
"""Bytes. A thousand pools fit in a fifth of it."""
DEPTH_MAX = 32
"""Levels of nesting. The schema uses six; the YAML library would use up the stack."""


def read_text(path: Path) -> str:
    """Read the text of a file; `ConfigError` says why not."""
    try:
        return documents.read_text(path, most=FILE_MAX, expected="a configuration")
    except documents.Unreadable as error:
        raise ConfigError(error.message, file=str(path), line=error.line) from error


def compose(text: str, *, file: str) -> yaml.Node:
    """Read the nodes of the only document in `text`; `file` is for messages.

    Raises `ConfigError`. Takes time in proportion to the text: 0.1 s for 10 KB, 10 s for the
    largest file allowed.
    """
    try:
        node = documents.compose(text, deepest=DEPTH_MAX)
    except documents.Unreadable as error:
        raise ConfigError(error.message, file=file, line=error.line) from error
    if node is None:
        raise ConfigError("is empty, expected at least {}", file=file)
    return node
