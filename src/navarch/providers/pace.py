"""How fast a cloud may be asked: a token bucket that every caller of one account shares.

The control plane spaces its calls by what a provider states (`ProviderFacts.calls_per_second`). A
provider that makes two requests for one call, or whose launches have a limit of their own, needs
this bucket below that, so that whoever calls it, and however often, the cloud's limit is kept.

Rules that hold:

- Turns are given in the order of asking, and no two closer together than the interval, whatever is
  cancelled. A turn that is given up is lost, which only makes us slower.
- Nobody waits longer than `patience`: who would have to is told so at once (`Throttled`, with how
  long), before anything was asked of the cloud.
- When the cloud itself says "later" (`hold`), those who are waiting queue anew behind that.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import TypeAlias

from navarch.errors import Throttled

Now: TypeAlias = Callable[[], datetime]
"""Tells the present, aware and in UTC; never earlier than what it told before."""

Sleep: TypeAlias = Callable[[timedelta], Awaitable[None]]
"""Returns after so long."""


class Pace:
    """Lets callers through one by one."""

    def __init__(
        self,
        every: timedelta,
        *,
        now: Now,
        sleep: Sleep,
        burst: int = 1,
        patience: timedelta = timedelta(seconds=60),
    ) -> None:
        """Let one through `every` so long, or `burst` (1 or more) at once after a silence."""
        self._every = every
        self._slack = every * (burst - 1)
        self._patience = patience
        self._now = now
        self._sleep = sleep
        self._due = datetime.min.replace(tzinfo=UTC) + self._slack
        """When the bucket is full again if all turns taken so far are used."""
        self._used = self._due
        """The same, counting only the turns that were used."""
        self._held_until = self._due
        self._holds = 0

    async def turn(self, called: str) -> None:
        """Wait until the next request may go out; `called` says in an error who is asked.

        :raises Throttled: that would take longer than `patience`; no turn was taken
        """
        give_up_at = self._now() + self._patience
        while True:
            holds = self._holds
            wait = self._reserve(called, give_up_at)
            if wait > timedelta():
                await self._sleep(wait)
            if holds == self._holds:
                self._used = max(self._now(), self._used) + self._every
                return

    def hold(self, pause: timedelta) -> None:
        """Let nobody through for so long, and then one by one; a longer hold stays in force."""
        self._holds += 1  # whoever waits takes another turn, so the turns taken so far are void
        self._held_until = max(self._held_until, self._now() + pause)
        self._due = max(self._held_until + self._slack, self._used)

    def _reserve(self, called: str, give_up_at: datetime) -> timedelta:
        now = self._now()
        start = max(now, self._due - self._slack)
        if start > give_up_at:
            raise throttled(f"{called}: too many requests are waiting for their turn", start - now)
        self._due = max(now, self._due) + self._every
        return start - now


def throttled(text: str, wait: timedelta) -> Throttled:
    """Make the error that says `text`, and after how long asking again makes sense."""
    return Throttled(f"{text}; again in {wait.total_seconds():.0f} s", retry_after=wait)
