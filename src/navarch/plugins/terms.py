"""What holds for the calls of one plugin: how long they may take, and what a failure means.

Hosts that are given plugins, and not a registry, are given a `TermsOf` beside them.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

from msgspec import Struct


class Terms(Struct, frozen=True):
    """What was said of one plugin; each host has its own word where nothing was."""

    on_error: str = ""
    """What becomes of a call that fails, in the configuration's words; empty: nothing was said."""
    deadline: timedelta | None = None
    """How long a call may take; None: nothing was said."""


TermsOf = Callable[[str], Terms]
"""Says what holds for the plugin of that name."""

_NOTHING = Terms()


def unsaid(name: str) -> Terms:  # noqa: ARG001 - it is the same for all
    """Say nothing of any plugin: hosts do what is usual for the kind."""
    return _NOTHING
