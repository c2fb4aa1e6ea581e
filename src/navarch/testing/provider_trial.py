"""How a test of the provider contract deals with a provider, and what it may ask of its harness.

A *harness* is the class that an author derives from `navarch.testing.ProviderContract`: it names a
type to buy, makes provider objects, and, as far as it can, makes the cloud misbehave on demand. A
*trial* is one test's dealings with the provider: it names what it buys and ends it afterwards.
"""

from __future__ import annotations

import asyncio
import inspect
import types
from collections.abc import Awaitable, Callable, Coroutine, Generator, Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Any, ClassVar, Final, ParamSpec, Protocol, TypeAlias, TypeVar, cast

from navarch.errors import NotFound, OutcomeUnknown, ProviderError
from navarch.providers.base import (
    FLEET_LABEL,
    INSTANCE_LABEL,
    POOL_LABEL,
    Instance,
    Instances,
    InstanceStatus,
    Provider,
    ProvisionRequest,
    facts_of,
)

MakeProvider: TypeAlias = Callable[[], Provider]
"""Makes a new provider object for one and the same account, inside the running loop."""

Done: TypeAlias = Awaitable[None] | None
"""What a hook returns: nothing, at once or when it is awaited."""

ALIVE = frozenset({InstanceStatus.PROVISIONING, InstanceStatus.RUNNING})

LOOKS_TO_SETTLE: Final = 5
"""After so many pauses a machine that was made without an answer is expected in the list."""

T = TypeVar("T")
P = ParamSpec("P")
H = TypeVar("H", bound="ProviderHarness")


class ProviderHarness:
    """What the suite asks of a harness; `navarch.testing.provider_contract` is the guide."""

    instance_type: ClassVar[str] = "contract-test"
    """A type that the provider sells, the cheaper the better."""

    region: ClassVar[str] = ""

    name_prefix: ClassVar[str] = "contract"
    """Begins every machine's name. For a real account: different in every run."""

    patience: ClassVar[timedelta] = timedelta(seconds=5)
    """How long a machine may take to be listed, or to be gone, and a call to be given up."""

    odd_labels: ClassVar[Mapping[str, str]] = {
        "empty": "",
        "spaces": " two  words ",
        "signs": 'a=b,c;d:"e"/\\',
        "letters": "Größe 八",
    }
    """Labels that a careless provider mangles. Leave out what the cloud cannot store."""

    not_applicable: ClassVar[Mapping[str, str]] = {}
    """Tests that mean nothing for this provider, by name, each with its reason; skipped."""

    many: ClassVar[int] = 2500
    """How many machines `make_many` is asked for: more than any cloud shows on one page."""

    cancel_steps: ClassVar[int] = 0
    """At how many of the waits of one `provision` it is cancelled, at most. 0: not tried."""

    async def pause(self, provider: Provider) -> None:
        """Let a little time pass between two looks; a fake's own time is moved here."""
        await asyncio.sleep(0.02)

    def recover(self) -> Done:
        """Let everything go well again; called after a disturbed call, and at a test's end."""
        return None

    def hold_boot(self) -> Done:
        """Let machines bought from now on exist and not run, until the test ends."""
        raise NotImplementedError

    def lose_next_answer(self) -> Done:
        """Let the next launch be carried out, and its answer never arrive."""
        raise NotImplementedError

    def make_stranger(self) -> str | Awaitable[str]:
        """Put a running machine without our labels into the account; return the cloud's id."""
        raise NotImplementedError

    def make_many(self, count: int) -> Sequence[str] | Awaitable[Sequence[str]]:
        """Put so many running machines with `labels_of` into the account; return their ids."""
        raise NotImplementedError

    def break_next_list(self) -> Done:
        """Let the next list break off, after its first page where the cloud has pages."""
        raise NotImplementedError

    def fail_next(self, kind: type[ProviderError]) -> Done:
        """Let the cloud refuse the next launch, in the words that the provider reads as `kind`."""
        raise NotImplementedError

    def hang_next(self) -> Done:
        """Let whatever is asked from now on get no answer, until `recover`."""
        raise NotImplementedError

    def secrets(self) -> Sequence[str]:
        """Return what must be seen nowhere: keys, tokens, passwords; may be empty."""
        raise NotImplementedError

    def labels_of(self, name: str) -> dict[str, str]:
        """Return the labels that a machine of this name carries."""
        return {FLEET_LABEL: self.name_prefix, INSTANCE_LABEL: name, POOL_LABEL: "contract"}

    @classmethod
    def why_not(cls, test: str) -> str:
        """Tell why this test of the suite is not run for this harness; empty: it is."""
        if test in cls.not_applicable:
            return f"not applicable: {cls.not_applicable[test]}"
        needed: tuple[str, ...] = getattr(getattr(cls, test), "needs", ())
        missing = [each for each in needed if getattr(cls, each) == getattr(ProviderHarness, each)]
        return f"not shown: the harness has no {', '.join(missing)}" if missing else ""


class _Closing(Protocol):
    async def close(self) -> None: ...


class Trial:
    """One test's dealings with a provider: names what it buys, and ends it afterwards."""

    def __init__(self, contract: ProviderHarness, make_provider: MakeProvider) -> None:
        """Begin with a provider made for this test."""
        self.contract = contract
        self._make = make_provider
        self._made: list[Provider] = []
        self.provider = self.make_provider()
        self.facts = facts_of(self.provider)
        self._requested: list[str] = []
        self._bought: list[Instance] = []
        self._in_doubt: set[str] = set()

    def make_provider(self) -> Provider:
        """Make one more provider object for the account, as a control plane that restarts does."""
        self._made.append(self._make())
        return self._made[-1]

    def request(
        self, labels: Mapping[str, str] | None = None, *, user_data: str = ""
    ) -> ProvisionRequest:
        """Ask for a machine under a name of its own, as the control plane would."""
        name = f"{self.contract.name_prefix}-{len(self._requested) + 1}"
        self._requested.append(name)
        return ProvisionRequest(
            name=name,
            instance_type=self.contract.instance_type,
            region=self.contract.region,
            labels={**self.contract.labels_of(name), **(labels or {})},
            user_data=user_data,
            token=name,
        )

    async def provision(self, request: ProvisionRequest, *, at: Provider | None = None) -> Instance:
        """Buy what is asked for, here or at another provider object of the account."""
        self._in_doubt.add(request.name)
        try:
            instance = await (at or self.provider).provision(request)
        except ProviderError as error:
            if not isinstance(error, OutcomeUnknown):
                self._in_doubt.discard(request.name)
            raise
        self._in_doubt.discard(request.name)
        self._bought.append(instance)
        return instance

    async def launch(self) -> Instance:
        """Buy one machine."""
        return await self.provision(self.request())

    async def named(self, name: str) -> Instances:
        """Return the listed machines of this name that have not ended."""
        return [
            each
            for each in await self.provider.list()
            if each.name == name and each.status is not InstanceStatus.TERMINATED
        ]

    async def wait_for_count(self, name: str, count: int) -> Instances:
        """Wait until so many machines of this name are listed, and return them."""
        async with asyncio.timeout(self.contract.patience.total_seconds()):
            while True:
                found = await self.named(name)
                if len(found) == count:
                    return found
                await self.contract.pause(self.provider)

    async def wait_until_listed(self, name: str, ids: set[str]) -> Instances:
        """Wait until these machines are listed under this name, and return all of the name."""
        async with asyncio.timeout(self.contract.patience.total_seconds()):
            while True:
                found = await self.named(name)
                if found and ids <= {each.id for each in found}:
                    return found
                await self.contract.pause(self.provider)

    async def wait_until_gone(self, instance_id: str) -> None:
        """Terminate again and again, as the control plane does, until the machine is gone.

        Gone is what is listed as terminated, or not found and no longer listed.
        """
        async with asyncio.timeout(self.contract.patience.total_seconds()):
            while True:
                is_found = await self._terminate(instance_id)
                status = {each.id: each.status for each in await self.provider.list()}
                if status.get(instance_id) is InstanceStatus.TERMINATED:
                    return
                if not is_found and instance_id not in status:
                    return
                await self.contract.pause(self.provider)

    async def settle(self, request: ProvisionRequest) -> Instances:
        """Find out what became of a launch without an answer, and return its machines.

        Where tokens are honoured it is asked for again, which must give the one machine there is.
        """
        again = self.make_provider()
        if self.facts.honours_tokens:
            await self.provision(request, at=again)
            await self.wait_for_count(request.name, 1)
        for _ in range(LOOKS_TO_SETTLE):
            await self.contract.pause(again)
        found = await self.named(request.name)
        self._in_doubt.discard(request.name)
        return found

    async def recover(self) -> None:
        """Let everything go well again."""
        await done(self.contract.recover())

    async def close(self, provider: Provider) -> None:
        """Close a provider that can be closed."""
        if closes(provider):
            await cast("_Closing", provider).close()

    async def _terminate(self, instance_id: str) -> bool:
        try:
            await self.provider.terminate(instance_id)
        except NotFound:
            return False
        return True

    async def end_all(self) -> None:
        """End every machine that this test has bought or, where an answer failed, may have.

        Then close every provider.
        """
        await self.recover()
        for name in sorted(self._in_doubt):
            with suppress(TimeoutError):
                await self.wait_for_count(name, 1)
        ids = dict.fromkeys(each.id for each in self._bought)
        if self._requested:
            ours = frozenset(self._requested)
            seen = await self.provider.list()
            ids.update(dict.fromkeys(each.id for each in seen if each.name in ours))
        for instance_id in ids:
            await self.wait_until_gone(instance_id)
        for provider in self._made:
            await self.close(provider)


def closes(provider: Provider) -> bool:
    """Tell whether the provider has anything to close."""
    return callable(getattr(provider, "close", None))


async def done(result: T | Awaitable[T]) -> T:
    """Wait for what a hook returned, where there is something to wait for."""
    if inspect.isawaitable(result):
        return cast("T", await result)
    return result


def on_trial(
    test: Callable[[H, Trial], Awaitable[None]],
) -> Callable[[H, MakeProvider], None]:
    """Make a plain test of an asynchronous one, with a trial that cleans up after it."""

    async def scenario(contract: H, make_provider: MakeProvider) -> None:
        trial = Trial(contract, make_provider)
        try:
            await test(contract, trial)
        finally:
            await trial.end_all()

    def run(self: H, make_provider: MakeProvider) -> None:
        asyncio.run(scenario(self, make_provider))

    run.__name__ = test.__name__
    run.__qualname__ = test.__qualname__
    run.__doc__ = test.__doc__
    return run


def needing(*hooks: str) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """Mark a test that is run only where the harness has these hooks."""

    def marked(test: Callable[P, T]) -> Callable[P, T]:
        vars(test)["needs"] = hooks
        return test

    return marked


async def cut_short(
    work: Coroutine[Any, Any, T], *, step: int, is_late: bool
) -> tuple[bool, T | None]:
    """Do the work, cancelled at its wait number `step`, from 1; tell if it was, and the result.

    Early is when the wait begins; late is when what it waits for has come and was not looked at.
    """
    cut = _Cut(step, is_late=is_late)
    task = asyncio.create_task(cut.through(work))
    try:
        result = await task
    except asyncio.CancelledError:
        if not cut.is_made:
            raise
        return True, None
    return cut.is_made, result


class _Cut:
    """Counts the waits of a coroutine, and cancels its task at one of them."""

    def __init__(self, step: int, *, is_late: bool) -> None:
        self._step = step
        self._is_late = is_late
        self.is_made = False

    async def through(self, work: Coroutine[Any, Any, T]) -> T:
        return await self._counted(work)

    @types.coroutine
    def _counted(self, work: Coroutine[Any, Any, T]) -> Generator[Any, Any, T]:
        sent: object = None
        thrown: BaseException | None = None
        count = 0
        while True:
            try:
                waits_for = work.send(sent) if thrown is None else work.throw(thrown)
            except StopIteration as end:
                return cast("T", end.value)
            count += 1
            if count == self._step:
                self._cancel_at(waits_for)
            sent, thrown = None, None
            try:
                sent = yield waits_for
            except BaseException as error:  # noqa: BLE001 - handed on to the work, like any result
                thrown = error

    def _cancel_at(self, waits_for: asyncio.Future[Any] | None) -> None:
        self.is_made = True
        task = asyncio.current_task()
        assert task is not None, "the work runs in a task"
        if self._is_late and waits_for is not None:
            # Called before the task's own callback, which is added after this.
            waits_for.add_done_callback(lambda _: task.cancel())
        else:
            task.cancel()
