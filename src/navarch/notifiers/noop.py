"""The notifier for fleets whose workload system is not to be told: it agrees, and says so."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from navarch.notifiers.base import DrainStatus, Workload

TEXT: Final = "no workload system is configured: nobody was asked"


class NoopNotifier:
    """Tells nobody; every node is drained at once."""

    def __init__(self, *, name: str = "noop") -> None:
        """Be called `name`."""
        self.name = name

    async def cordon(self, node: Workload, reason: str, *, intent: int | None = None) -> None:
        """Agree."""

    async def uncordon(self, node: Workload, reason: str, *, intent: int | None = None) -> None:
        """Agree."""

    async def drain(
        self,
        node: Workload,
        reason: str,
        deadline: datetime | None,
        *,
        intent: int | None = None,
    ) -> None:
        """Agree."""

    async def drained(self, node: Workload) -> DrainStatus:
        """Call every node empty, and say that nobody was asked."""
        return DrainStatus(done=True, remaining=None, text=TEXT)

    async def close(self) -> None:
        """Have nothing to give up."""
