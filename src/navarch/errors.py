"""Every exception that Navarch raises on purpose, in one tree.

Exceptions are for edges: a file that cannot be read, a cloud that refuses, a peer that speaks
nonsense. Expected outcomes inside the core are values, never exceptions.

::

    NavarchError
    ├── ConfigError            a configuration that cannot be used: file, line, key, expectation
    ├── ProviderError          a cloud's answer, translated at the provider's own edge
    │   ├── NoCapacity             none to sell now; another offer may have some
    │   ├── QuotaExceeded          the account may not have more until somebody raises a limit
    │   ├── Throttled              asked too often; the same request is fine later
    │   ├── Unauthorized           the credentials are refused
    │   ├── InvalidRequest         the request can never succeed as it is
    │   ├── NotFound               the thing named does not exist
    │   ├── Unavailable            the cloud is in trouble; surely nothing was done
    │   └── OutcomeUnknown         it may or may not have been done: look before repeating
    ├── PartialScaleUp         fewer machines could be bought than were asked for; carries them
    ├── JournalError           the durable record of facts
    │   ├── JournalConflict        somebody else has written, or holds the journal
    │   └── JournalCorrupt         a record is torn or damaged; carries its sequence number
    ├── WireError              a remote call was refused or did not arrive; carries the Connect code
    ├── ReportNotWritten       a folder did not take the report of a simulation
    ├── ModelError             weights cannot be found, brought, kept or removed
    │   ├── ModelChanged           they changed at their source while they were fetched
    │   └── CacheFull              there is no room for them, and what is there has to stay
    └── PluginError            a plugin does not fit its contract, or broke it

    InvariantBroken            a bug of ours; not a NavarchError, it ends the process
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from fnmatch import fnmatchcase
from typing import Protocol


class NavarchError(Exception):
    """The root of every error that a caller may want to handle."""


class ConfigError(NavarchError):
    """A configuration that cannot be used.

    The text of the error is one line: where, what is wrong, what was expected, what to do.
    """

    def __init__(
        self, message: str, *, file: str | None = None, line: int | None = None, key: str = ""
    ) -> None:
        """Say what is wrong; `file`, `line` (from 1) and the dotted `key` say where."""
        self.message = message
        self.file = file
        self.line = line
        self.key = key
        place = file or ""
        if file and line is not None:
            place = f"{file}:{line}"
        parts = [part for part in (place, key) if part]
        super().__init__(": ".join([*parts, message]))


class ProviderError(NavarchError):
    """A provider could not do what it was asked; the subclass says what that means for us."""


class NoCapacity(ProviderError):
    """The provider has none to sell now. Nothing was created."""


@dataclass(frozen=True)
class QuotaScope:
    """What a quota counts, and so what a used-up one keeps from being bought.

    What is left out holds for all; nothing said at all is the whole account.
    """

    region: str = ""
    """The region that it is of; empty: all of them."""
    instance_types: tuple[str, ...] = ()
    """Patterns of the provider's own type names, such as ``p5*``; none: all types."""
    spot: bool | None = None
    """True: spot machines alone; False: ordinary ones alone; None: both."""

    @property
    def is_everything(self) -> bool:
        """Whether it is the whole account."""
        return self == QuotaScope()

    def covers(self, region: str, zone: str, instance_type: str, *, spot: bool) -> bool:
        """Whether the quota counts such a machine. What is not known of it may be counted."""
        if self.spot is not None and self.spot is not spot:
            return False
        if self.region and region and region != self.region:
            return False
        if self.region and not region and not zone.startswith(self.region) and zone:
            return False
        if not self.instance_types or not instance_type:
            return True
        return any(fnmatchcase(instance_type, each) for each in self.instance_types)

    def __str__(self) -> str:
        """Name it for people: the types, the kind, and the place."""
        kind = {True: "spot", False: "on demand", None: ""}[self.spot]
        place = f"in {self.region}" if self.region else "in all regions"
        words = (" ".join(self.instance_types), kind, place)
        return " ".join(word for word in words if word)


class QuotaExceeded(ProviderError):
    """The account's limit is reached. Nothing was created, and retrying will not help."""

    def __init__(self, message: str = "", *, scope: QuotaScope | None = None) -> None:
        """Say what happened; `scope` is what the quota counts, None: the account, or not known."""
        self.scope = scope
        super().__init__(message)


class Throttled(ProviderError):
    """The provider wants fewer requests. Nothing was created; the same request is fine later."""

    def __init__(self, message: str = "", *, retry_after: timedelta | None = None) -> None:
        """Say what happened; `retry_after` is how long it wants to be left alone, None if any."""
        self.retry_after = retry_after
        super().__init__(message)


class Unauthorized(ProviderError):
    """The provider refuses our credentials. Nothing was created."""


class InvalidRequest(ProviderError):
    """The request itself is wrong and would be refused again. Nothing was created."""


class NotFound(ProviderError):
    """The thing named does not exist at the provider."""


class Unavailable(ProviderError):
    """The provider failed before doing anything. Nothing was created."""


class OutcomeUnknown(ProviderError):
    """The provider may or may not have done it: look it up before asking again."""


class Bought(Protocol):
    """What a `PartialScaleUp` carries: a `navarch.Instance` as a rule."""

    @property
    def id(self) -> str:
        """The provider's own id."""
        ...

    @property
    def name(self) -> str:
        """Our id."""
        ...

    @property
    def provider(self) -> str:
        """Who sold it."""
        ...


class PartialScaleUp(NavarchError):
    """Fewer machines could be bought than were asked for; those that were bought stay."""

    def __init__(self, pool: str, *, bought: Sequence[Bought], wanted: int, because: str) -> None:
        """Carry what was `bought`, possibly nothing, how many were `wanted`, and why not all."""
        self.pool = pool
        self.bought = tuple(bought)
        self.wanted = wanted
        self.because = because
        super().__init__(f"pool {pool}: {len(self.bought)} of {wanted} bought: {because}")


class JournalError(NavarchError):
    """The durable record of facts cannot be read or written."""


class JournalConflict(JournalError):
    """Another control plane holds the journal, or has written to it since we last did."""


class JournalCorrupt(JournalError):
    """A record of the journal is torn or damaged."""

    def __init__(self, message: str, *, seq: int) -> None:
        """Say what is damaged; `seq` is the first bad sequence number, 0 where it is unknown."""
        self.seq = seq
        super().__init__(message)


class WireError(NavarchError):
    """A remote call was refused or did not arrive."""

    def __init__(
        self,
        code: str,
        message: str,
        *,
        maybe_done: bool = False,
        leader: str = "",
        retry_after: timedelta | None = None,
    ) -> None:
        """Carry the Connect `code` (such as ``not_found``) and the peer's own words.

        `maybe_done` is for who asked: the request was sent, and nobody has said what came of it.
        `leader` is where a standby says that the leader is; empty: nobody says. `retry_after` is
        how long not to ask again, at least; None: nobody said.
        """
        self.code = code
        self.message = message
        self.maybe_done = maybe_done
        self.leader = leader
        self.retry_after = retry_after
        super().__init__(f"{code}: {message}")


class ReportNotWritten(NavarchError):
    """A folder did not take the files of a report; the text says which, and why."""


class ModelError(NavarchError):
    """Weights cannot be found, brought, kept or removed; the text says which, where and why."""

    def __init__(self, message: str, *, lasting: bool = False) -> None:
        """Say what happened; `lasting` means that asking again brings the same answer."""
        self.lasting = lasting
        super().__init__(message)


class ModelChanged(ModelError):
    """A file changed at its source while it was fetched; what was fetched of it is worthless."""


class CacheFull(ModelError):
    """There is no room for a model, and nothing that is there may go for it."""


class PluginError(NavarchError):
    """A plugin does not fit its contract, or broke it while running."""


class InvariantBroken(AssertionError):
    """A state that must be impossible was seen: a bug of ours, and the process must end."""
