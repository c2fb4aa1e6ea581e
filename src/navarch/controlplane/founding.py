"""How a fleet begins, under a tag of its own, and what the process that runs it is called."""

from __future__ import annotations

import os
import secrets
import socket

TAG_LETTERS = "bcdfghjkmnpqrstvwxz23456789"
"""Letters of a fleet's tag: no vowels, so that no words arise, and none that look alike."""


def new_tag() -> str:
    """Draw a tag: the only chance in a fleet's life."""
    return "".join(secrets.choice(TAG_LETTERS) for _ in range(4))


def holder() -> str:
    """Name this process, for whoever finds the journal held."""
    return f"pid {os.getpid()} on {socket.gethostname()}"
