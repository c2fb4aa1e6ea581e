"""How a fleet begins: under a tag that no other fleet in the account is likely to have."""

from __future__ import annotations

import secrets

TAG_LETTERS = "bcdfghjkmnpqrstvwxz23456789"
"""Letters of a fleet's tag: no vowels, so that no words arise, and none that look alike."""


def new_tag() -> str:
    """Draw a tag: the only chance in a fleet's life."""
    return "".join(secrets.choice(TAG_LETTERS) for _ in range(4))
