"""What the schema says about a key beyond its type, and the forms of names that it shares.

Every struct that is part of the schema marks its fields with a `Key`; see `schema`.
"""

from __future__ import annotations

from msgspec import Struct

from navarch.config.values import Form, named
from navarch.core.model.ids import POOL_NAME

NAME = named("a name of small letters, digits and -, from a letter on", POOL_NAME.pattern)
LABEL = named("a label of 1 to 253 characters without blanks and =", r"[^\s=]{1,253}")
VARIABLE = named("the name of an environment variable", r"[A-Za-z_][A-Za-z0-9_]*")
WORD = named("a name without blanks", r"[^\s]{1,253}")
PLUGIN = named(
    "a plugin's name, or where it is: package.module:Class",
    r"[A-Za-z0-9_.-]{1,253}(?::[A-Za-z_][A-Za-z0-9_.]{0,253})?",
)


class Key(Struct, frozen=True):
    """What the schema says about one key beyond its type."""

    doc: str
    """What it is for: one sentence, with its unit where it has one."""
    minimum: float | None = None
    """The least number; None: any."""
    maximum: float | None = None
    """The greatest number, or the most characters or entries; None: any."""
    form: Form | None = None
    """How a text is read; None where the text is meant as it stands."""
    names: Form | None = None
    """In a mapping: what its keys look like; None elsewhere."""
    secret: bool = False
    """Whether it may be a secret, so that no message and no list of values shows it."""
