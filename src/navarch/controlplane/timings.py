"""How long calls took that others make of us, and that we make of providers."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final

from navarch.controlplane.described import CALL_BOUNDS, REQUEST_BOUNDS
from navarch.controlplane.measures import Names, Values
from navarch.controlplane.tally import PROVIDERS_MAX, error_word
from navarch.errors import NotFound
from navarch.plugins.histograms import Histogram

CALLS: Final = ("provision", "terminate", "list", "list_types")
"""The kinds of calls of providers."""
METHODS_MAX: Final = 200
"""Methods of the service that are told apart: more than there are."""


class ProviderCalls:
    """Calls of providers by provider and kind: how long they took, and which failed."""

    def __init__(self, stopwatch: Callable[[], float]) -> None:
        """Begin with none; `stopwatch` tells seconds from some moment on."""
        self.durations: dict[Values, Histogram] = {}
        """By provider and call."""
        self.failures: Counter[Values] = Counter()
        """By provider, call and error."""
        self._stopwatch = stopwatch
        self._providers = Names(PROVIDERS_MAX)

    @asynccontextmanager
    async def timed(self, provider: str, call: str, seconds_max: float) -> AsyncIterator[None]:
        """Give a call so long, and measure it. One that is cancelled from outside is not counted.

        Raises `TimeoutError` when it takes longer. That something to be ended does not exist is no
        failure.
        """
        label = self._providers.label(provider)
        began = self._stopwatch()
        error = ""
        try:
            async with asyncio.timeout(seconds_max):
                yield
        except TimeoutError:
            error = "timed_out"
            raise
        except Exception as raised:
            if not (call == "terminate" and isinstance(raised, NotFound)):
                error = error_word(type(raised).__name__)
            raise
        finally:
            if not _is_cancelled():
                took = self._stopwatch() - began
                self.durations.setdefault((label, call), Histogram(CALL_BOUNDS)).add(took)
            if error:
                self.failures[label, call, error] += 1


def _is_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


class RequestTimes:
    """How long calls of the service took, by method."""

    def __init__(self, stopwatch: Callable[[], float]) -> None:
        """Begin with none; `stopwatch` tells seconds from some moment on."""
        self.durations: dict[Values, Histogram] = {}
        self.stopwatch = stopwatch
        self._methods = Names(METHODS_MAX)

    def took(self, method: str, seconds: float, times: int = 1) -> None:
        """Count a call, as so many like it."""
        label = (self._methods.label(method),)
        self.durations.setdefault(label, Histogram(REQUEST_BOUNDS)).add(seconds, times)
