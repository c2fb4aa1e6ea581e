"""What the remote calls need of a control plane, whoever runs it.

`navarch.controlplane.runtime.Runtime` is one; a control plane that lives in virtual time another.
"""

from __future__ import annotations

from datetime import datetime
from typing import Protocol

from navarch.core.machine import Machine
from navarch.core.model import messages as msg
from navarch.stores.base import History


class Now(Protocol):
    """Tells the time."""

    def now(self) -> datetime:
        """The present, aware and in UTC."""
        ...


class Consoles(Protocol):
    """Shows what start-up scripts told, as providers know it."""

    def shows_logs(self, provider: str) -> bool:
        """Whether a provider can."""
        ...

    async def bootstrap_log(self, provider: str, ref: str) -> str:
        """Return what the start-up script of a machine told.

        Raises `ProviderError`.
        """
        ...


class Answering(Protocol):
    """A machine that answers, and its journal."""

    @property
    def machine(self) -> Machine:
        """The machine; what its fleet shows is in the journal after `settled`.

        Raises `WireError` while there is none.
        """
        ...

    @property
    def seq(self) -> int:
        """The sequence number of the newest fact in the journal."""
        ...

    @property
    def store(self) -> History:
        """The journal, for readers."""
        ...

    @property
    def clock(self) -> Now:
        """The time by which the machine decides."""
        ...

    @property
    def effects(self) -> Consoles:
        """Whom start-up logs are asked of."""
        ...

    async def ask(self, message: msg.Message) -> msg.Answer:
        """Have one message looked at, and wait for the answer.

        Raises `WireError` when too much waits or nobody is there to look at it.
        """
        ...

    async def settled(self) -> None:
        """Wait until all that the fleet shows is in the journal."""
        ...

    async def wait_appended(self, after: int) -> None:
        """Wait until the journal is longer than `after`."""
        ...
