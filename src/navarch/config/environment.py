"""How ``${NAME}`` in a value becomes what the environment says.

Only the form with braces is a reference: a lone dollar sign stands for itself, so that shell text
in ``user_data`` mostly passes unchanged; ``$$`` writes one dollar sign, so ``$${HOME}`` stays for
the shell. What comes out of the environment is not looked through again.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

_DOLLAR = re.compile(r"\$(?:(\$)|\{([^}]*)\}?)")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def expand(text: str, environ: Mapping[str, str]) -> str:
    """Put the environment's values into `text`.

    Raises `ValueError` that names the variable when it is not set, and that says what to write
    when a reference is malformed.
    """

    def replace(match: re.Match[str]) -> str:
        escaped, name = match.groups()
        if escaped:
            return "$"
        if not match.group().endswith("}") or not _NAME.fullmatch(name):
            raise ValueError("${ begins a reference such as ${NAME}; write $${ to mean the text")
        if name not in environ:
            raise ValueError(f"environment variable {name} is not set")
        return environ[name]

    return _DOLLAR.sub(replace, text)


def mentions(text: str) -> bool:
    """Tell whether `text` refers to the environment, so that its value must not be shown."""
    return any(match.group(2) is not None for match in _DOLLAR.finditer(text))
