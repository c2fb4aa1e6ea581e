"""What a notifier is: it tells a workload system which node to empty, and asks whether it is.

The workload system (Slurm, Kubernetes, somebody's own scheduler behind a webhook) is told *first*:
a node counts as cordoned or draining when the system that fills it has agreed. Where it says no,
the intent is rolled back; where it does not answer, it is told again.

::

    NavarchError
    └── NotifierError
        ├── NotifierRefused         the system said no: do not repeat, take the intent back
        │   └── NotifierUnknownNode     it does not know the node: nothing of its work is there
        └── NotifierUnavailable     no answer, or none that makes sense: tell it again

Rules that hold for every notifier, and that `navarch.testing.NotifierContract` tries:

- Every call may be repeated: the second cordon, uncordon or drain changes nothing more.
- What is held is kept by the workload system, never in the notifier: a control plane that restarts
  can give back what it took before.
- A call that is refused has changed nothing: what it did before the refusal is undone.
- Only our own hold is given back. A node that somebody else has cordoned stays cordoned.
- Each call ends within the notifier's own timeout, and leaves nothing behind when it is cancelled.
  Whether a call that was cancelled or not answered was heard is not known; repeating it is safe.
- Nothing else than the errors above is raised, and no text of theirs holds a secret.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Final, Protocol, runtime_checkable

from msgspec import Struct, field

from navarch.errors import ConfigError, NavarchError
from navarch.peers.unanswered import Unanswered

TIMEOUT: Final = timedelta(seconds=30)
"""How long a call may take unless configured otherwise: three of Slurm's own tries of 9 s."""

REASON_MAX: Final = 500
"""How many characters of a reason are passed on."""

QUOTE_MAX: Final = 300
"""How many characters of somebody's answer are quoted in an error."""

RETRY_AFTER_MAX: Final = timedelta(minutes=5)
"""The longest pause that a peer can make us take: whoever asks for a day is asked sooner."""


class Workload(Struct, frozen=True, kw_only=True):
    """A node as a workload system may know it."""

    node_id: str
    """Our id."""
    hostname: str = ""
    """As the node's agent reports it; empty before it has registered."""
    internal_ip: str = ""
    pool: str = ""
    provider: str = ""
    labels: dict[str, str] = field(default_factory=dict)
    """The node's labels. Each system has one that names the node, where its hostname does not."""


class DrainStatus(Struct, frozen=True):
    """How far a node has been emptied."""

    done: bool
    """Whether no work is left, and none will come."""
    remaining: int | None = None
    """How many jobs or pods are left; None when the system does not say."""
    text: str = ""
    """The same for people, with what it waits for."""


class NotifierError(NavarchError):
    """A workload system could not be told."""


class NotifierRefused(NotifierError):
    """The workload system said no, and would say so again: the intent is to be rolled back."""


class NotifierUnknownNode(NotifierRefused):
    """The workload system does not know the node, so it has no work there."""


class NotifierUnavailable(NotifierError):
    """The workload system did not answer, or not with sense: tell it again."""

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        """Say what happened; `retry_after` is how many seconds it asks us to wait, None if any."""
        self.retry_after = retry_after
        super().__init__(message)


@runtime_checkable
class Notifier(Protocol):
    """Tells one workload system about nodes, and asks it about them.

    `intent` is the serial number of the wish that a call carries out, the same when the call is
    repeated and another one for the next wish. It lets a receiver know a repetition. None when the
    caller has none: then each call is a delivery of its own.
    """

    @property
    def name(self) -> str:
        """What it is called in reasons and logs; one word."""
        ...

    async def cordon(self, node: Workload, reason: str, *, intent: int | None = None) -> None:
        """Have no new work placed on the node; what runs goes on.

        :raises NotifierRefused: the system said no; `NotifierUnknownNode`, it has no such node
        :raises NotifierUnavailable: it is not known to have agreed
        """
        ...

    async def uncordon(self, node: Workload, reason: str, *, intent: int | None = None) -> None:
        """Give back our own cordon and drain; quiet where there is none, or no such node.

        :raises NotifierRefused: the system said no
        :raises NotifierUnavailable: it is not known to have agreed
        """
        ...

    async def drain(
        self,
        node: Workload,
        reason: str,
        deadline: datetime | None,
        *,
        intent: int | None = None,
    ) -> None:
        """Cordon the node and have its work moved away or ended; returns when that is accepted.

        `deadline` is when we shall stop waiting, None for never; systems that cannot use it do
        without.

        :raises NotifierRefused: the system said no; `NotifierUnknownNode`, it has no such node
        :raises NotifierUnavailable: it is not known to have agreed
        """
        ...

    async def drained(self, node: Workload) -> DrainStatus:
        """Ask how far the node has been emptied; where the system wants it, push on.

        A node that the system does not know is done. One that takes work again, because somebody
        else has given it back, is not, however empty.

        :raises NotifierRefused: we may not ask
        :raises NotifierUnavailable: there was no answer
        """
        ...

    async def close(self) -> None:
        """Give up connections; may be repeated. What is held stays held. No call after it."""
        ...


@asynccontextmanager
async def speaking(name: str, patience: timedelta) -> AsyncIterator[None]:
    """End what takes longer than `patience`, and make `NotifierUnavailable` of no answer."""
    try:
        async with asyncio.timeout(patience.total_seconds()):
            yield
    except TimeoutError as cause:
        within = f"{patience.total_seconds():g} s"
        raise NotifierUnavailable(f"{name}: no answer within {within}") from cause
    except Unanswered as failure:
        raise NotifierUnavailable(f"{name}: {failure}") from failure


def demand_positive(timeout: timedelta) -> None:
    """Refuse a timeout within which nobody can answer.

    :raises ConfigError: it is not above zero
    """
    if timeout <= timedelta():
        raise ConfigError(f"timeout is {timeout}, expected more than zero")


def one_line(text: str, length_max: int = QUOTE_MAX) -> str:
    r"""Make a line of whatever somebody wrote: no control characters, and not too long.

    >>> one_line("down\n  for\x1b[2J repair")
    'down for·[2J repair'
    """
    line = " ".join(text.split())
    line = "".join(letter if letter.isprintable() else "·" for letter in line)
    return line if len(line) <= length_max else f"{line[: length_max - 1]}…"


def retry_seconds(header: str) -> float | None:
    """Read a ``Retry-After`` of seconds; None for no header, or one that is something else.

    Returns from 0 to `RETRY_AFTER_MAX` (RFC 9110, 10.2.3, read November 2026).
    """
    text = header.strip()
    if not text.isascii() or not text.isdigit():
        return None
    return min(float(text[:9]), RETRY_AFTER_MAX.total_seconds())


def retry_after(header: str, now: datetime) -> float | None:
    """Read a ``Retry-After`` of seconds or of a date, as `retry_seconds` does."""
    seconds = retry_seconds(header)
    if seconds is not None:
        return seconds
    try:
        date = parsedate_to_datetime(header.strip())
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    aware = date if date.tzinfo else date.replace(tzinfo=UTC)
    return min(max((aware - now).total_seconds(), 0.0), RETRY_AFTER_MAX.total_seconds())
