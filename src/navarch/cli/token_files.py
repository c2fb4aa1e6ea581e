"""Where the daemons' tokens come from: a file, or a variable of the environment."""

from __future__ import annotations

import os
from pathlib import Path

from navarch.errors import ConfigError


def read_token(file: Path | None, *, variable: str, expected: str) -> str | None:
    """Fetch a token; None when there is none, which open control planes accept.

    Without a file it is what `variable` of the environment holds. Raises `ConfigError` when the
    file cannot be read, or holds nothing where `expected` was.
    """
    if file is None:
        return os.environ.get(variable, "").strip() or None
    try:
        text = file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise ConfigError(f"the token cannot be read: {reason}", file=str(file)) from error
    if not text:
        raise ConfigError(f"is empty, expected {expected}", file=str(file))
    return text
