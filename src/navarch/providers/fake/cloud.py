"""A cloud in memory that does what a script tells it.

Rules that hold:

- Time is an argument and never runs backwards. Nothing happens between calls: what a machine is
  at a moment follows from the moments kept with it.
- There is no chance in it. Whoever wants any gives a `boot_time` that rolls dice of its own.
- `FakeCloud.machines` is the truth, for checkers; `FakeCloud.list` is what a client may know.
- Scripted entries are used in the order they were given, one for each call of that kind that gets
  past the limit of calls.
"""

from __future__ import annotations

import copy
import re
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, TypeAlias, TypeVar

from msgspec import Struct
from msgspec.structs import replace

from navarch.errors import (
    ConfigError,
    InvalidRequest,
    NoCapacity,
    NotFound,
    ProviderError,
    QuotaExceeded,
    Throttled,
)
from navarch.providers.base import (
    Instance,
    Instances,
    InstanceStatus,
    InstanceType,
    ProvisionRequest,
)
from navarch.providers.fake.limits import Quota, Rate, Shortage
from navarch.providers.fake.machines import ZERO, Answer, Call, Lost, Machine, Notice
from navarch.providers.pace import throttled

T = TypeVar("T")

Duration: TypeAlias = timedelta | Callable[[ProvisionRequest], timedelta]
"""A fixed time, or one for each launch, asked for once when it is made; never negative."""

PriceList: TypeAlias = list[InstanceType]
"""Named because inside the class `list` means the method."""

SPOT_NOTICE: Final = timedelta(minutes=2)
"""How long a spot machine lives on after its notice, as on EC2 (docs.aws.amazon.com/AWSEC2/latest/
UserGuide/spot-instance-termination-notices.html, read in November 2026)."""

GPUS_IN_NAME: Final = re.compile(r"fake-([0-9]{1,3})gpu")
"""Types whose name says how many GPUs they have, where the cloud has no price list."""


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
    """GPUs of a machine whose type neither is in `instance_types` nor is called ``fake-4gpu``."""

    gpu_type: str = "NVIDIA H100 80GB HBM3"
    """GPU model of a machine whose type is not in `instance_types`."""

    instance_types: tuple[InstanceType, ...] = ()
    """The types sold, with their prices. Empty: any type is sold, for nothing."""

    boot_time: Duration = ZERO
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

    shortages: tuple[Shortage, ...] = ()
    """What is sold out, where and when."""

    quotas: tuple[Quota, ...] = ()
    """More limits of the account, besides `quota`."""

    rate: Rate | None = None
    """How many calls it answers; None: any number."""

    on_notice: Callable[[Notice], None] | None = None
    """Told when a spot machine is taken away, in place of its metadata service: whoever runs the
    agents passes it on to the one on that machine."""

    machines: dict[str, Machine] = field(default_factory=dict, init=False)
    """Every machine ever made, by the cloud's id: the truth, for checkers. Never shrinks."""

    _calls: deque[datetime] = field(default_factory=deque, init=False, repr=False)
    """When the last calls were answered, as many as the rate lets through at once."""

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

    def interrupt(
        self, instance_id: str, now: datetime, *, notice: timedelta = SPOT_NOTICE
    ) -> None:
        """Take a spot machine away after a notice, of which `on_notice` hears at once.

        Until then it runs as ever, and no list shows what is coming; then it is terminated. Nothing
        happens to one that has gone, or has its notice.

        :raises KeyError: there never was such a machine
        :raises ValueError: it is not a spot machine, or `notice` is negative
        """
        machine = self.machines[instance_id]
        if not machine.is_spot or notice < ZERO:
            message = f"{instance_id}: only spot machines are taken away, with 0 or more of notice"
            raise ValueError(message)
        if machine.noticed_at is not None or not machine.is_alive(now):
            return
        gone_at = min(now + notice, machine.gone_at or now + notice)
        self.machines[instance_id] = replace(machine, noticed_at=now, gone_at=gone_at)
        if self.on_notice is not None:
            self.on_notice(Notice(instance=machine.instance, noticed_at=now, gone_at=gone_at))

    def add_stranger(self, now: datetime, *, instance_type: str = "fake-8gpu") -> str:
        """Let somebody else run a machine in the account, and return its id.

        It takes its part of stock and quotas; lists, which are of our machines, leave it out.
        """
        request = ProvisionRequest(name="", instance_type=instance_type)
        instance = self._build(request, now)
        self.machines[instance.id] = replace(self.machines[instance.id], is_stranger=True)
        return instance.id

    def heal(self) -> None:
        """Forget the script, the outages, the empty shelves and all limits; machines stay."""
        self._script.clear()
        self._outages.clear()
        self.stock.clear()
        self.quota = None
        self.shortages = ()
        self.quotas = ()
        self.rate = None

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

    def price_list(self, now: datetime) -> PriceList:
        """Show the types sold, for how much, and whether there is one left to sell somewhere.

        A cloud without `instance_types` shows the one that it makes of an unknown name.
        """
        sold = self.instance_types or (
            InstanceType(
                name=f"fake-{self.gpu_count}gpu", gpu_count=self.gpu_count, gpu_type=self.gpu_type
            ),
        )
        return [replace(each, available=self._has(each, now)) for each in sold]

    def cost(self, now: datetime) -> float:
        """Tell what our machines have cost so far, in US dollars. Costs O(all ever made)."""
        return sum(each.cost(now) for each in self.machines.values() if not each.is_stranger)

    def alive(self, now: datetime) -> Iterable[Machine]:
        """Yield the machines that exist now, oldest first: the truth, whatever lists say."""
        for instance_id in self._listable:
            machine = self.machines[instance_id]
            if machine.is_alive(now):
                yield machine

    def _answer(self, call: Call, now: datetime, act: Callable[[], T | ProviderError]) -> Answer[T]:
        refused = self._too_many_calls(now)
        if refused is not None:
            return Answer(result=refused, after=self.answer_time)
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

    def _too_many_calls(self, now: datetime) -> Throttled | None:
        """Count a call, or say that it is one too many, which is not counted."""
        if self.rate is None:
            return None
        since = now - self.rate.per
        while self._calls and self._calls[0] <= since:
            self._calls.popleft()
        if len(self._calls) < self.rate.calls:
            self._calls.append(now)
            return None
        wait = self._calls[0] - since
        return throttled(f"{self.name}: more than {self.rate.calls} calls in {self.rate.per}", wait)

    def _has(self, kind: InstanceType, now: datetime) -> bool:
        """Tell whether some machine of the type could be bought, by stock and shortages."""
        is_spot_too = kind.spot_price_per_hour > 0
        asked = [
            ProvisionRequest(name="", instance_type=kind.name, region=region, spot=is_spot)
            for region in kind.regions or ("",)
            for is_spot in (False, *(True,) * is_spot_too)
        ]
        is_short = all(any(each.is_met_by(one, now) for each in self.shortages) for one in asked)
        return kind.available and self.stock.get(kind.name, 1) > 0 and not is_short

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
        for quota in self.quotas:
            if self._is_used_up(quota, request, now):
                return QuotaExceeded(
                    f"{self.name}: the account may have {quota.limit} {quota.counts}",
                    scope=quota.scope,
                )
        stock = self.stock.get(request.instance_type)
        if stock is not None:
            kind = request.instance_type
            sold = sum(1 for each in self.alive(now) if each.instance.instance_type == kind)
            if sold >= stock:
                return NoCapacity(f"{self.name}: {kind} is sold out")
        if any(each.is_met_by(request, now) for each in self.shortages):
            place = request.zone or request.region or "any place"
            return NoCapacity(f"{self.name}: {request.instance_type} is sold out in {place}")
        return None

    def _is_used_up(self, quota: Quota, request: ProvisionRequest, now: datetime) -> bool:
        gpus, _ = self._gpus(request.instance_type)
        size = quota.size(request.instance_type, request.region, gpus, is_spot=request.spot)
        if size == 0:
            return False
        return sum(quota.size_of(each) for each in self.alive(now)) + size > quota.limit

    def _gpus(self, kind: str) -> tuple[int, str]:
        """Tell how many GPUs a machine of this type has, and of which model."""
        sold = self._type(kind)
        if sold is not None:
            return sold.gpu_count, sold.gpu_type
        named = GPUS_IN_NAME.fullmatch(kind)
        return int(named[1]) if named else self.gpu_count, self.gpu_type

    def _price(self, request: ProvisionRequest) -> float:
        """Tell what a machine costs an hour; spot without a price of its own costs the same."""
        sold = self._type(request.instance_type)
        if sold is None:
            return 0.0
        return (request.spot and sold.spot_price_per_hour) or sold.price_per_hour

    def _booting(self, request: ProvisionRequest) -> timedelta:
        took = self.boot_time(request) if callable(self.boot_time) else self.boot_time
        if took < ZERO:
            raise ConfigError(f"{self.name}: a boot_time of {took}: expected 0 or more")
        return took

    def _build(self, request: ProvisionRequest, now: datetime) -> Instance:
        serial = len(self.machines) + 1
        gpu_count, gpu_type = self._gpus(request.instance_type)
        running_at = now + self._booting(request)
        instance = Instance(
            id=f"{self.name}-{serial:06}",
            provider=self.name,
            name=request.name,
            region=request.region,
            zone=request.zone,
            instance_type=request.instance_type,
            private_ip=f"10.{serial >> 16 & 255}.{serial >> 8 & 255}.{serial & 255}",
            gpu_count=gpu_count,
            gpu_type=gpu_type,
            labels=dict(request.labels),
        )
        machine = Machine(
            instance=instance,
            token=request.token,
            made_at=now,
            running_at=running_at,
            is_spot=request.spot,
            price_per_hour=self._price(request),
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
            gone_at = min(now + self.end_time, machine.gone_at or now + self.end_time)
            self.machines[instance_id] = replace(machine, terminating_at=now, gone_at=gone_at)
        return None

    def _seen(self, now: datetime) -> Instances:
        at = now - self.list_lag
        seen = []
        for instance_id in tuple(self._listable):
            machine = self.machines[instance_id]
            if machine.is_stranger:
                continue
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
