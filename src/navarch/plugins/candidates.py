"""What a registry is offered before anybody registers anything."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from msgspec import Struct

from navarch.plugins.protocols import PluginKind

BUILT_IN: Final = "built-in"
"""The origin of our own plugins."""


class Candidate(Struct, frozen=True):
    """A plugin that is to be registered when its kind is first asked for."""

    factory: Callable[..., object] | None
    """A class, or whatever makes one; None: it cannot be had."""
    origin: str
    name: str = ""
    """How it is called where it cannot be had."""
    broken: str = ""
    """Why it cannot be had; empty: it can."""


Filler = Callable[[PluginKind], Iterable[Candidate]]
"""Names the plugins of a kind."""
