"""A cloud in memory that does what a script tells it, and the provider that sells from it.

`FakeCloud` is a model of a cloud: synchronous, without a clock and without chance, so that the
simulator drives it in virtual time and the same calls give the same answers for ever. Whatever
real clouds do to a control plane can be scripted: slow boots, empty shelves, quotas, throttling,
outages, answers that are late or lost, machines that vanish, lists that show the past, tokens that
are ignored. `FakeProvider` is the asynchronous `Provider` over such a cloud, for tests and demos.

Rules that hold:

- Time is an argument and never runs backwards. Nothing happens between calls: what a machine is
  at a moment follows from the moments kept with it.
- `FakeCloud.machines` is the truth, for checkers; `FakeCloud.list` is what a client may know.
- Scripted entries are used in the order they were given, one for each call of that kind.
"""

from __future__ import annotations

import asyncio
import copy
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final, Generic, Literal, TypeAlias, TypeVar

from msgspec import Struct
from msgspec.structs import replace

from navarch.errors import (
    ConfigError,
    InvalidRequest,
    NoCapacity,
    NotFound,
    OutcomeUnknown,
    ProviderError,
    QuotaExceeded,
)
from navarch.providers.base import (
    Instance,
    Instances,
    InstanceStatus,
    InstanceType,
    ProvisionRequest,
)

Call: TypeAlias = Literal["launch", "terminate", "list"]
"""The calls that a script can disturb."""

T = TypeVar("T")

ZERO: Final = timedelta()
EPOCH: Final = datetime(2026, 1, 1, tzinfo=UTC)
"""Where the time of a `FakeProvider` begins that was given none."""


class Lost(Struct, frozen=True):
    """The result of a call whose answer never arrives."""


class Answer(Struct, Generic[T], frozen=True, kw_only=True):
    """What a call comes to: the cloud acts at once, the caller hears of it later."""

    result: T | ProviderError | Lost
    after: timedelta = ZERO
    """How long after the call it arrives; meaningless when it is lost."""


class Machine(Struct, frozen=True, kw_only=True):
    """A machine of the cloud, with the moments its life is made of."""

    instance: Instance
    """The machine as it is while it runs."""

    token: str
    made_at: datetime
    running_at: datetime
    terminating_at: datetime | None = None
    """When somebody asked for its end; None when nobody has."""

    gone_at: datetime | None = None
    """When it ends, which may lie ahead; None when no end is in sight."""

    vanished: bool = False
    """Whether it went without being asked to, and without a trace in any list."""

    def status_at(self, at: datetime) -> InstanceStatus | None:
        """Say how far it had come at that moment; None before it was made."""
        if at < self.made_at:
            return None
        if self.gone_at is not None and at >= self.gone_at:
            return InstanceStatus.TERMINATED
        if self.terminating_at is not None and at >= self.terminating_at:
            return InstanceStatus.TERMINATING
        if at < self.running_at:
            return InstanceStatus.PROVISIONING
        return InstanceStatus.RUNNING

    def is_alive(self, at: datetime) -> bool:
        """Tell whether it exists at that moment, and so costs money."""
        return self.status_at(at) not in {None, InstanceStatus.TERMINATED}


class _Quirk(Struct, frozen=True, kw_only=True):
    """How one scripted call differs from an ordinary one."""

    error: ProviderError | None = None
    acts: bool = True
    """False: the call does nothing, and its answer is the error or none."""

    after: timedelta | None = None
    """None: the cloud's ordinary answer time."""

    lost: bool = False


_ORDINARY: Final = _Quirk()


@dataclass(kw_only=True, eq=False)
class FakeCloud:
    """A cloud in memory. Every field below may be changed at any time, as clouds do."""

    name: str = "fake"
    """What its instances give as their provider."""

    gpu_count: int = 8
    """GPUs of a machine whose type is not in `instance_types`."""

    gpu_type: str = "NVIDIA H100 80GB HBM3"
    """GPU model of a machine whose type is not in `instance_types`."""

    instance_types: tuple[InstanceType, ...] = ()
    """The types sold. Empty: any type is sold, with `gpu_count` GPUs."""

    boot_time: timedelta = ZERO
    """From the launch until the machine runs; zero: it runs at once."""

    end_time: timedelta = ZERO
    """From the call to terminate until the machine is gone."""

    answer_time: timedelta = ZERO
    """From any call until its answer."""

    list_lag: timedelta = ZERO
    """How old the world is that a list shows."""

    remembers_ended: timedelta = ZERO
    """For how long a terminated machine is still listed; zero: not at all."""

    honours_tokens: bool = True
    """Whether one token buys one machine; if not, asking twice buys two."""

    quota: int | None = None
    """How many machines may exist at once; None: no limit."""

    stock: dict[str, int] = field(default_factory=dict)
    """How many of a type may exist at once, by type; a type not here is never sold out."""

    machines: dict[str, Machine] = field(default_factory=dict, init=False)
    """Every machine ever made, by the cloud's id: the truth, for checkers. Never shrinks."""

    _listable: dict[str, None] = field(default_factory=dict, init=False, repr=False)
    """The ids that a list may still have to show, oldest first."""

    _tokens: dict[str, str] = field(default_factory=dict, init=False, repr=False)
    """The machine that each token bought, for ever."""

    _script: dict[Call, deque[_Quirk]] = field(default_factory=dict, init=False, repr=False)
    _outages: dict[Call, tuple[ProviderError, datetime]] = field(
        default_factory=dict, init=False, repr=False
    )

    # The script: what is to go wrong.

    def fail_next(
        self,
        error: ProviderError,
        *,
        times: int = 1,
        call: Call = "launch",
        after: timedelta | None = None,
    ) -> None:
        """Let the next calls do nothing and answer with this error.

        `after` is how long the answer takes; None means the cloud's ordinary answer time.
        """
        self._plan(call, times, _Quirk(error=error, acts=False, after=after))

    def fail_until(self, error: ProviderError, until: datetime, *, call: Call = "launch") -> None:
        """Let every call before `until` do nothing and answer with this error.

        A second call replaces the first. Scripted entries come before it.
        """
        self._outages[call] = (error, until)

    def answer_after(self, delay: timedelta, *, times: int = 1, call: Call = "launch") -> None:
        """Let the next calls act at once and answer only after `delay`."""
        self._plan(call, times, _Quirk(after=delay))

    def lose_answer(self, *, times: int = 1, call: Call = "launch") -> None:
        """Let the next calls act, and their answers never arrive."""
        self._plan(call, times, _Quirk(lost=True))

    def lose_request(self, *, times: int = 1, call: Call = "launch") -> None:
        """Let the next calls never arrive: nothing is done, and there is no answer."""
        self._plan(call, times, _Quirk(acts=False, lost=True))

    def vanish(self, instance_id: str, now: datetime) -> None:
        """Take a machine away with no warning, as broken hardware and mistaken people do.

        Nothing happens to one that has already gone.

        :raises KeyError: there never was such a machine
        """
        machine = self.machines[instance_id]
        if machine.is_alive(now):
            self.machines[instance_id] = replace(machine, gone_at=now, vanished=True)

    def heal(self) -> None:
        """Forget the script, the outages, the empty shelves and the quota; machines stay."""
        self._script.clear()
        self._outages.clear()
        self.stock.clear()
        self.quota = None

    def _plan(self, call: Call, times: int, quirk: _Quirk) -> None:
        self._script.setdefault(call, deque()).extend([quirk] * times)

    # The calls that a client makes.

    def launch(self, request: ProvisionRequest, now: datetime) -> Answer[Instance]:
        """Make a machine, or say why not. Costs O(machines) where a quota or stock limits."""
        return self._answer("launch", now, lambda: self._make(request, now))

    def terminate(self, instance_id: str, now: datetime) -> Answer[None]:
        """Begin to end a machine; one that is ending goes on ending as it was."""
        return self._answer("terminate", now, lambda: self._end(instance_id, now))

    def list(self, now: datetime) -> Answer[Instances]:
        """Show the machines as they were `list_lag` ago, oldest first."""
        return self._answer("list", now, lambda: self._seen(now))

    def alive(self, now: datetime) -> Iterable[Machine]:
        """Yield the machines that exist now, oldest first: the truth, whatever lists say."""
        for instance_id in self._listable:
            machine = self.machines[instance_id]
            if machine.is_alive(now):
                yield machine

    def _answer(self, call: Call, now: datetime, act: Callable[[], T | ProviderError]) -> Answer[T]:
        planned = self._script.get(call)
        quirk = planned.popleft() if planned else self._outage(call, now)
        after = self.answer_time if quirk.after is None else quirk.after
        result: T | ProviderError | Lost = Lost()
        if quirk.acts:
            result = act()
        elif quirk.error is not None:
            # A copy, because raising an exception writes the traceback into it.
            result = copy.copy(quirk.error)
        return Answer(result=Lost() if quirk.lost else result, after=after)

    def _outage(self, call: Call, now: datetime) -> _Quirk:
        if call not in self._outages:
            return _ORDINARY
        error, until = self._outages[call]
        return _Quirk(error=error, acts=False) if now < until else _ORDINARY

    def _make(self, request: ProvisionRequest, now: datetime) -> Instance | ProviderError:
        if not request.name:
            return InvalidRequest(f"{self.name}: a launch needs a name, and this one has none")
        if self.instance_types and self._type(request.instance_type) is None:
            sold = ", ".join(each.name for each in self.instance_types)
            return InvalidRequest(f"{self.name}: no type {request.instance_type}; sold: {sold}")
        known = self._tokens.get(request.token) if self.honours_tokens else None
        if known is not None:
            return self._made_before(self.machines[known], now)
        return self._refusal(request, now) or self._build(request, now)

    def _made_before(self, machine: Machine, now: datetime) -> Instance | ProviderError:
        status = machine.status_at(now)
        if status in {InstanceStatus.PROVISIONING, InstanceStatus.RUNNING}:
            return replace(machine.instance, status=status)
        return InvalidRequest(
            f"{self.name}: token {machine.token} was used for {machine.instance.id}, "
            f"which is {status}"
        )

    def _refusal(self, request: ProvisionRequest, now: datetime) -> ProviderError | None:
        if self.quota is not None and sum(1 for _ in self.alive(now)) >= self.quota:
            return QuotaExceeded(f"{self.name}: the account may have {self.quota} machines")
        stock = self.stock.get(request.instance_type)
        if stock is not None:
            kind = request.instance_type
            sold = sum(1 for each in self.alive(now) if each.instance.instance_type == kind)
            if sold >= stock:
                return NoCapacity(f"{self.name}: {kind} is sold out")
        return None

    def _build(self, request: ProvisionRequest, now: datetime) -> Instance:
        serial = len(self.machines) + 1
        kind = self._type(request.instance_type)
        instance = Instance(
            id=f"{self.name}-{serial:06}",
            provider=self.name,
            name=request.name,
            region=request.region,
            zone=request.zone,
            instance_type=request.instance_type,
            private_ip=f"10.{serial >> 16 & 255}.{serial >> 8 & 255}.{serial & 255}",
            gpu_count=kind.gpu_count if kind else self.gpu_count,
            gpu_type=kind.gpu_type if kind else self.gpu_type,
            labels=dict(request.labels),
        )
        machine = Machine(
            instance=instance, token=request.token, made_at=now, running_at=now + self.boot_time
        )
        self.machines[instance.id] = machine
        self._listable[instance.id] = None
        if request.token:
            self._tokens[request.token] = instance.id
        status = machine.status_at(now)
        return instance if status is None else replace(instance, status=status)

    def _type(self, name: str) -> InstanceType | None:
        return next((each for each in self.instance_types if each.name == name), None)

    def _end(self, instance_id: str, now: datetime) -> ProviderError | None:
        machine = self.machines.get(instance_id)
        if machine is None or not machine.is_alive(now):
            return NotFound(f"{self.name}: there is no machine {instance_id}")
        if machine.terminating_at is None:
            self.machines[instance_id] = replace(
                machine, terminating_at=now, gone_at=now + self.end_time
            )
        return None

    def _seen(self, now: datetime) -> Instances:
        at = now - self.list_lag
        seen = []
        for instance_id in tuple(self._listable):
            machine = self.machines[instance_id]
            status = machine.status_at(at)
            if status is InstanceStatus.TERMINATED and self._is_forgotten(machine, at):
                del self._listable[instance_id]
            elif status is InstanceStatus.RUNNING:
                seen.append(machine.instance)
            elif status is not None:
                seen.append(replace(machine.instance, status=status))
        return seen

    def _is_forgotten(self, machine: Machine, at: datetime) -> bool:
        gone_at = machine.gone_at
        return machine.vanished or gone_at is None or at >= gone_at + self.remembers_ended


class ManualTime:
    """A time that stands still until it is moved; waiting for it moves it."""

    def __init__(self, start: datetime = EPOCH) -> None:
        """Begin at `start`, an aware UTC moment."""
        self._now = start

    def now(self) -> datetime:
        """Tell what time it is."""
        return self._now

    def advance(self, by: timedelta) -> None:
        """Move on by `by`, which must not be negative."""
        if by < ZERO:
            message = f"time does not run backwards: {by}"
            raise ValueError(message)
        self._now += by

    async def sleep(self, delay: timedelta) -> None:
        """Let others run, then make it at least `delay` later; waits at once do not add up."""
        wake_at = self._now + delay
        await asyncio.sleep(0)
        self._now = max(self._now, wake_at)


class FakeProvider:
    """The `Provider` and `InstanceTypeLister` of a `FakeCloud`."""

    launches_at_once: Final = 64
    """More than a real cloud bears: a fake one has no reason to be slow."""

    def __init__(
        self,
        gpu_count: int = 8,
        *,
        name: str = "fake",
        cloud: FakeCloud | None = None,
        now: Callable[[], datetime] | None = None,
        sleep: Callable[[timedelta], Awaitable[None]] | None = None,
        timeout: timedelta = timedelta(minutes=1),
    ) -> None:
        """Sell from `cloud`; None: a new cloud of this name whose machines have `gpu_count` GPUs.

        `now` and `sleep` are the time that passes; without them it stands still but for
        `advance`. `timeout` is how long an answer is waited for: one that is lost or later ends
        in `OutcomeUnknown`.

        :raises ConfigError: one of `now` and `sleep` is given without the other
        """
        if (now is None) is not (sleep is None):
            message = "a fake provider needs both now and sleep, or neither"
            raise ConfigError(message)
        self._own_time = ManualTime()
        self.name = name
        self.cloud = FakeCloud(name=name, gpu_count=gpu_count) if cloud is None else cloud
        self._now = now or self._own_time.now
        self._sleep = sleep or self._own_time.sleep
        self._timeout = timeout

    @property
    def list_lag(self) -> timedelta:
        """How late the cloud's lists are."""
        return self.cloud.list_lag

    @property
    def honours_tokens(self) -> bool:
        """Whether the cloud does."""
        return self.cloud.honours_tokens

    def advance(self, by: timedelta) -> None:
        """Move this provider's own time on, where it was given no other."""
        self._own_time.advance(by)

    async def provision(self, request: ProvisionRequest) -> Instance:
        """Launch a machine; see `Provider.provision`."""
        answer = self.cloud.launch(request, self._now())
        return replace(await self._receive(answer, request.name), provider=self.name)

    async def terminate(self, instance_id: str) -> None:
        """End a machine; see `Provider.terminate`."""
        await self._receive(self.cloud.terminate(instance_id, self._now()), instance_id)

    async def list_instance_types(self) -> list[InstanceType]:
        """Show what the cloud sells, and whether there is one left to sell."""
        cloud = self.cloud
        sold = cloud.instance_types or (
            InstanceType(
                name=f"fake-{cloud.gpu_count}gpu",
                gpu_count=cloud.gpu_count,
                gpu_type=cloud.gpu_type,
            ),
        )
        return [
            replace(each, available=each.available and cloud.stock.get(each.name, 1) > 0)
            for each in sold
        ]

    async def list(self) -> Instances:
        """Show the machines; see `Provider.list`."""
        seen = await self._receive(self.cloud.list(self._now()), "the list")
        return [replace(each, provider=self.name) for each in seen]

    async def _receive(self, answer: Answer[T], subject: str) -> T:
        """Wait as a client would, then return the result or raise it."""
        if isinstance(answer.result, Lost) or answer.after > self._timeout:
            await self._sleep(self._timeout)
            message = f"{self.name}: no answer about {subject} within {self._timeout}"
            raise OutcomeUnknown(message)
        if answer.after:
            await self._sleep(answer.after)
        if isinstance(answer.result, ProviderError):
            raise answer.result
        return answer.result
