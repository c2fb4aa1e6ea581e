"""How the agent writes its log: one line for each thing that happened, for people and programs."""

from __future__ import annotations

import logging
from typing import Final

log = logging.getLogger("navarch.agent")

FACT_LENGTH_MAX: Final = 500
"""Characters of one fact in the log: some come from elsewhere."""


def say(what: str, level: int = logging.INFO, **facts: object) -> None:
    """Log one line: what happened, then facts as key=value, quoted where they hold spaces."""
    words = [f"{key}={_quoted(str(value))}" for key, value in facts.items()]
    log.log(level, "%s", " ".join([what, *words]))


def _quoted(text: str) -> str:
    text = text[:FACT_LENGTH_MAX]
    plain = text.isprintable() and text and not set(text) & set(' "=')
    return text if plain else repr(text)
