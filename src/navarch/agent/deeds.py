"""What a command is going to do: found out first, done afterwards."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import NamedTuple


class Unfit(Exception):
    """A command cannot be carried out as it was given, or not here; the text says why."""


class Deed(NamedTuple):
    """One command, in words that follow "would", and how it is done.

    `do` returns a sentence for people. It raises `Unfit` where nothing was done, and
    `NavarchError` or `OSError` where it went wrong.
    """

    would: str
    do: Callable[[], Awaitable[str]]
