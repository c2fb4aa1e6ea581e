"""How hosts call plugins: a failure is an answer, never an exception.

Engines of this package (placing, scaling, loading, screening) call plugins only through a `Caller`.
Which one it is decides what is remembered of a call; `Direct` remembers nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Protocol, TypeVar

from msgspec import Struct

from navarch.plugins.protocols import PluginKind
from navarch.telemetry.log import Log

log = Log(__name__)

_T = TypeVar("_T")


class Failed(Struct, frozen=True):
    """A plugin raised, or took too long."""

    plugin: str
    point: str
    """Which of its methods."""
    text: str
    """What went wrong, in one line."""
    timed_out: bool = False


class About(Struct, frozen=True):
    """What a call is about, for its trace."""

    kind: PluginKind
    plugin: str
    """The plugin's name."""
    point: str
    """Which of its methods."""
    pool: str = ""
    subject: str = ""
    """What it is asked about, in a few words."""


class Caller(Protocol):
    """Calls plugins."""

    def call(self, about: About, function: Callable[[], _T]) -> _T | Failed:
        """Call a plain method here and now, without a limit of time."""
        ...

    async def call_async(
        self, about: About, function: Callable[[], Awaitable[_T]], deadline: timedelta
    ) -> _T | Failed:
        """Await a method, for as long as `deadline` at most."""
        ...


class Direct:
    """Calls, and remembers nothing."""

    def call(self, about: About, function: Callable[[], _T]) -> _T | Failed:
        """Call a plain method here and now, without a limit of time."""
        try:
            return function()
        except Exception as error:  # noqa: BLE001 - the plugin guard: it is logged
            return _broke(about, error)

    async def call_async(
        self, about: About, function: Callable[[], Awaitable[_T]], deadline: timedelta
    ) -> _T | Failed:
        """Await a method, for as long as `deadline` at most."""
        limit = asyncio.timeout(deadline.total_seconds())
        try:
            async with limit:
                return await function()
        except TimeoutError as error:
            if not limit.expired():
                return _broke(about, error)
            text = f"no answer within {deadline.total_seconds():g} s"
            return Failed(about.plugin, about.point, text, timed_out=True)
        except Exception as error:  # noqa: BLE001 - the plugin guard: it is logged
            return _broke(about, error)


def _broke(about: About, error: Exception) -> Failed:
    return Failed(about.plugin, about.point, tell_failure(about, error))


def tell_failure(about: About, error: BaseException) -> str:
    """Log what a plugin raised, and say it in a line that may be kept and shown.

    Of a guardrail it is the exception's type and nothing else, without a traceback: its message may
    quote the text that was to be checked.
    """
    kind = type(error).__name__
    if about.kind is PluginKind.GUARDRAIL:
        log.error(
            "plugin_broke", kind=about.kind, plugin=about.plugin, point=about.point, error=kind
        )
        return kind
    log.error(
        "plugin_broke",
        kind=about.kind,
        plugin=about.plugin,
        point=about.point,
        pool=about.pool,
        raised=error,
    )
    return f"{kind}: {error}"
