"""What a provider of machines is, and the words it is spoken to in.

A provider sells instances: a cloud, a rack, this machine. The control plane knows all of them by
the one protocol below, so that a new cloud is one module and nothing else. Choosing a provider,
repeating a failed launch and paying attention to budgets are the control plane's business; a
provider does one thing when asked, says truthfully what became of it, and keeps no memory of its
own that a restart could lose.

Rules that hold:

- The control plane makes an id of its own before it asks. The id travels as the request's
  `name`, as its label `INSTANCE_LABEL` and as its `token`. The provider's id is learned later.
- Every failure is a `navarch.errors.ProviderError`, with the library's own error as its cause.
  All of them but `OutcomeUnknown` promise that *nothing was done*. Whoever is not sure says
  `OutcomeUnknown`; any other exception is read as that, and reported as a fault of the provider.
- Methods are quick: they start work and do not wait for a machine to boot or to die.
- Methods may be called again, at the same time, and from a process that has just started.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from enum import StrEnum
from typing import Final, Protocol, TypeAlias, runtime_checkable

from msgspec import Struct, field

from navarch.errors import PluginError

FLEET_LABEL: Final = "navarch.dev/fleet"
"""Which fleet bought the machine: an account may be shared, and strangers are left alone."""

INSTANCE_LABEL: Final = "navarch.dev/instance"
"""Our own id of the instance, for providers whose names are not unique or may be edited."""

POOL_LABEL: Final = "navarch.dev/pool"
"""The pool the machine was bought for."""


class InstanceStatus(StrEnum):
    """How far a machine has come, in four words that every cloud's own words map to."""

    PROVISIONING = "provisioning"
    """It exists, and does not run yet."""

    RUNNING = "running"
    """It runs. Whether its agent answers is not the provider's to say."""

    TERMINATING = "terminating"
    """Its end has begun and cannot be called back."""

    TERMINATED = "terminated"
    """It is gone. A provider may list it for a while, or not at all."""


class Instance(Struct, frozen=True, kw_only=True):
    """A machine as its provider describes it."""

    id: str
    """The provider's own id: what `Provider.terminate` takes. Not our id; that is the name."""

    provider: str
    """The `Provider.name` it was bought from."""

    name: str = ""
    """The name asked for, which is our id. Empty for a machine that somebody else made."""

    region: str = ""
    zone: str = ""
    instance_type: str = ""

    status: InstanceStatus = InstanceStatus.RUNNING

    public_ip: str = ""
    """Empty while there is none."""

    private_ip: str = ""
    """Empty while there is none."""

    gpu_count: int = 0
    """GPUs the provider sells with it; what is really there, the agent reports."""

    gpu_type: str = ""
    """The model in the provider's words, such as ``NVIDIA H100 80GB``."""

    labels: Mapping[str, str] = field(default_factory=dict)
    """The labels asked for; the provider may add its own."""

    @property
    def ip_address(self) -> str:
        """The public address if there is one, else the private one, else empty."""
        return self.public_ip or self.private_ip


class ProvisionRequest(Struct, frozen=True, kw_only=True):
    """What to buy."""

    name: str
    """Our id of the instance; never empty, never used for a second machine."""

    instance_type: str
    """The provider's own name of the type."""

    region: str = ""
    """Empty: the provider's default."""

    zone: str = ""
    """Empty: the provider chooses."""

    ssh_key_names: tuple[str, ...] = ()
    """Keys, known to the provider by these names, that may log in."""

    labels: Mapping[str, str] = field(default_factory=dict)

    user_data: str = ""
    """The start-up script (cloud-init). It may carry a node's secret, so `repr` leaves it out."""

    spot: bool = False
    """Whether a machine is asked for that the provider may take away again."""

    token: str = ""
    """Idempotency key: asking twice with one token buys one machine. Empty: each call buys."""

    def __repr__(self) -> str:
        """Show everything but the start-up script, whose length alone is shown."""
        return (
            f"ProvisionRequest(name={self.name!r}, instance_type={self.instance_type!r}, "
            f"region={self.region!r}, zone={self.zone!r}, ssh_key_names={self.ssh_key_names!r}, "
            f"labels={dict(self.labels)!r}, user_data=<{len(self.user_data)} characters>, "
            f"spot={self.spot!r}, token={self.token!r})"
        )


class InstanceType(Struct, frozen=True, kw_only=True):
    """One line of a provider's price list."""

    name: str
    gpu_count: int
    gpu_type: str
    memory_gb: int = 0
    """Main memory in GB; 0 when the provider does not say."""

    vcpus: int = 0
    """0 when the provider does not say."""

    price_per_hour: float = 0.0
    """US dollars for one machine for one hour, on demand; 0 when the provider does not say."""

    spot_price_per_hour: float = 0.0
    """The same for one that may be taken away; 0 when the provider sells none or does not say."""

    regions: tuple[str, ...] = ()
    """Where it is sold, whether or not there is one to sell now."""

    available: bool = True
    """Whether there is one to sell now, anywhere. True when the provider does not say."""


Instances: TypeAlias = list[Instance]
"""What `Provider.list` returns, named because inside that class `list` means the method."""


@runtime_checkable
class Provider(Protocol):
    """A seller of machines.

    Three facts about a provider may be given as attributes of the same names as the fields of
    `ProviderFacts`; what is not given has the default there. Read them with `facts_of`.
    """

    @property
    def name(self) -> str:
        """The identifier that configuration and labels use, such as ``lambda``; never empty."""
        ...

    async def provision(self, request: ProvisionRequest) -> Instance:
        """Begin to make one machine and return it as soon as it has an id.

        Quick: the machine may still be ``provisioning``. Called again with the same token, a
        provider that honours tokens returns the machine of the first call, or refuses with
        `InvalidRequest` once that machine has begun to end; it never makes a second. The request
        is not changed and not kept.

        Cancelling the call does not undo it: the outcome is then unknown.

        :raises NoCapacity: none to sell now; another offer may have some
        :raises QuotaExceeded: the account may not have more; its `scope` is what the quota counts,
            where it is less than all that the provider sells
        :raises Throttled: asked too often
        :raises Unauthorized: the credentials are refused
        :raises InvalidRequest: it would be refused again; an empty name is such a request
        :raises Unavailable: the provider is in trouble, and surely nothing was done
        :raises OutcomeUnknown: the only one after which a machine may exist
        """
        ...

    async def terminate(self, instance_id: str) -> None:
        """Begin to end the machine with this provider's id, and no other.

        Quick: it may be listed as ``terminating`` for a while afterwards. Called again while it
        is, nothing happens, or the provider presses harder. `NotFound` is therefore the good end
        of a repeated call, and the control plane reads it as "gone": a provider whose own
        reads may lag must be sure before it says so, and raise `Unavailable` while it is not.

        :raises NotFound: there is no such machine, or it has already gone
        :raises ProviderError: as for `provision`; the machine is then as it was before, unless
            the error is `OutcomeUnknown`
        """
        ...

    async def list(self) -> Instances:
        """Return every machine of this account, in any order, each once.

        Machines that ended may be missing or ``terminated``. It is all or an error, never a
        part: a machine not in the answer is taken as a witness that it does not exist. A machine
        that does exist is in every list that began `ProviderFacts.list_lag` or more after
        its `provision` began. Costs what the provider's own listing costs: O(machines).

        :raises ProviderError: there is no answer; nothing may be concluded
        """
        ...


@runtime_checkable
class InstanceTypeLister(Protocol):
    """A provider that can also show its price list."""

    async def list_instance_types(self) -> list[InstanceType]:
        """Return every type sold, each name once.

        :raises ProviderError: there is no answer
        """
        ...


BOOTSTRAP_LOG_BYTES_MAX: Final = 64 * 1024
"""How much is shown and kept of what a start-up script told: its end."""


@runtime_checkable
class BootstrapLogReader(Protocol):
    """A provider that can also show what the start-up script of a machine told."""

    async def bootstrap_log(self, instance_id: str) -> str:
        """Return the end of what the machine with this provider's id told; empty: nothing yet.

        At most `BOOTSTRAP_LOG_BYTES_MAX` bytes of UTF-8, cut with `log_tail`. It may hold whatever
        the pool's commands print, and what else a machine's console shows. Changes nothing.
        Quick: the control plane gives up after ten seconds.

        :raises NotFound: there is no such machine, or nothing is known of it any more
        :raises ProviderError: there is no answer
        """
        ...


class Wanted(Struct, frozen=True, kw_only=True):
    """What one pool may come to use of a provider, of one type in one place."""

    pool: str
    instance_type: str
    """The provider's own name of it; empty where the pool names none."""

    nodes: int
    """At most: the pool's maximum."""

    region: str = ""
    zone: str = ""
    spot: bool = False
    vcpus: int | None = None
    """Of one machine, as the price list or the catalogue says; None: neither does."""

    gpu_count: int | None = None
    """Likewise."""

    price_per_hour: float | None = None
    """In US dollars, as the provider's own price list says; None: it does not."""


Finding: TypeAlias = "tuple[str, bool | None, str]"
"""What was looked at, whether it is well (None: that cannot be told), and in which words."""


@runtime_checkable
class AccountExaminer(Protocol):
    """A provider that can look at its account for what pools want of it, and changes nothing."""

    async def examine_for(self, wanted: Sequence[Wanted]) -> Sequence[Finding]:
        """Say of rights, quotas and the like whether they suffice.

        What cannot be read is a finding without an answer, and not an error. Each request has the
        provider's own deadline.

        :raises ProviderError: nothing at all can be told
        """
        ...


def log_tail(text: str | bytes, bytes_max: int = BOOTSTRAP_LOG_BYTES_MAX) -> str:
    """Keep the end of a log, from the beginning of a line on unless that would lose half of it.

    What is no UTF-8 is marked as such.
    """
    content = text.encode(errors="replace") if isinstance(text, str) else text
    if len(content) <= bytes_max:
        return _fitting(content.decode(errors="replace"), bytes_max)
    cut = content[-bytes_max:]
    lines = cut.partition(b"\n")[2]
    kept = lines if len(lines) * 2 >= len(cut) else cut
    return _fitting(kept.decode(errors="replace"), bytes_max)


def _fitting(text: str, bytes_max: int) -> str:
    """Cut again what has grown: a mark takes three bytes in the place of one."""
    content = text.encode()
    return text if len(content) <= bytes_max else content[-bytes_max:].decode(errors="ignore")


class ProviderFacts(Struct, frozen=True, kw_only=True):
    """What the control plane must know of a provider before it relies on it."""

    list_lag: timedelta = timedelta(minutes=2)
    """How long after a launch began a list may still miss the machine; not negative.

    It covers a launch that the provider carries out late as well as a list that is served from an
    old copy. Two minutes by default: too long delays the repetition of a launch whose outcome is
    unknown, too short buys a machine twice.
    """

    launches_at_once: int = 8
    """How many `provision` calls may be under way at one time, at least 1.

    Eight by default: enough to fill a pool in minutes, too few to be throttled by any cloud.
    """

    calls_per_second: float = 10.0
    """How many calls of any kind it bears, on average; above 0.

    Ten by default: the big clouds allow more, and Lambda Cloud, which allows one, says so.
    """

    honours_tokens: bool = False
    """Whether one token buys one machine, however often and however concurrently it is asked.

    False by default: whoever is believed to honour tokens and does not, sells everything twice.
    """


def facts_of(provider: Provider) -> ProviderFacts:
    """Read the facts that a provider states as attributes, with defaults for the others.

    :raises PluginError: an attribute has the wrong type or an impossible value
    """
    default = ProviderFacts()
    list_lag: object = getattr(provider, "list_lag", default.list_lag)
    launches: object = getattr(provider, "launches_at_once", default.launches_at_once)
    calls: object = getattr(provider, "calls_per_second", default.calls_per_second)
    honours_tokens: object = getattr(provider, "honours_tokens", default.honours_tokens)
    if not isinstance(list_lag, timedelta) or list_lag < timedelta():
        raise _misstated(provider, "list_lag", "a timedelta of zero or more", list_lag)
    if not isinstance(launches, int) or isinstance(launches, bool) or launches < 1:
        raise _misstated(provider, "launches_at_once", "an int of 1 or more", launches)
    if not isinstance(calls, int | float) or isinstance(calls, bool) or not calls > 0:
        raise _misstated(provider, "calls_per_second", "a number above 0", calls)
    if not isinstance(honours_tokens, bool):
        raise _misstated(provider, "honours_tokens", "True or False", honours_tokens)
    return ProviderFacts(
        list_lag=list_lag,
        launches_at_once=launches,
        calls_per_second=float(calls),
        honours_tokens=honours_tokens,
    )


def _misstated(provider: Provider, attribute: str, expected: str, actual: object) -> PluginError:
    return PluginError(f"provider {provider.name}: {attribute} must be {expected}, not {actual!r}")
