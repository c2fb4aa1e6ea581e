"""What stands in braces in a replica's command, and is filled in where the replica runs."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final

PLACEHOLDERS: Final = ("model_path", "port", "gpus", "replica", "pool")
"""All that there are."""

_PLACEHOLDER: Final = re.compile(r"\{([a-z][a-z0-9_]{0,31})\}")


def fault(command: Sequence[str], *, has_model: bool) -> str:
    """Say what a command asks for that nobody can fill in; "" when there is nothing."""
    for argument in command:
        for name in _PLACEHOLDER.findall(argument):
            if name not in PLACEHOLDERS:
                known = ", ".join(f"{{{each}}}" for each in PLACEHOLDERS)
                return f"{{{name}}} is not known, expected one of {known}"
            if name == "model_path" and not has_model:
                return "{model_path} needs a model, and the replica has none"
    return ""


def filled(command: Sequence[str], values: Mapping[str, str]) -> tuple[str, ...]:
    """Fill a command in. Braces around anything else, such as JSON, stay as they are."""
    return tuple(
        _PLACEHOLDER.sub(lambda found: values.get(found[1], found[0]), argument)
        for argument in command
    )
