"""What every provider must do, as tests that its author can run.

::

    class TestMyCloud(ProviderContract):
        @pytest.fixture
        def make_provider(self) -> Callable[[], Provider]:
            return lambda: MyCloud(api_key="...")

The prose of the contract is in `navarch.providers.base`; here is the part of it that can be seen
from outside. The control plane relies on each of these tests: a provider that fails one of them
loses, leaks or doubles machines.

Rules that hold: a test ends what it began, whatever becomes of it; nothing but the protocol is
used, so that a recorded cloud, a double and a real account can all be tested.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from datetime import timedelta
from typing import ClassVar, TypeAlias

import pytest

from navarch.errors import InvalidRequest, NotFound
from navarch.providers.base import (
    FLEET_LABEL,
    INSTANCE_LABEL,
    POOL_LABEL,
    Instance,
    Instances,
    InstanceStatus,
    InstanceType,
    InstanceTypeLister,
    Provider,
    ProvisionRequest,
    facts_of,
)

MakeProvider: TypeAlias = Callable[[], Provider]
"""Makes a new provider object for one and the same account, inside the running loop."""

ALIVE = frozenset({InstanceStatus.PROVISIONING, InstanceStatus.RUNNING})


class Trial:
    """One test's dealings with a provider: names what it buys, and ends it afterwards."""

    def __init__(self, contract: ProviderContract, make_provider: MakeProvider) -> None:
        """Begin with a provider made for this test."""
        self.contract = contract
        self.make_provider = make_provider
        self.provider = make_provider()
        self.facts = facts_of(self.provider)
        self._requested = 0
        self._bought: list[Instance] = []
        self._in_doubt: set[str] = set()

    def request(self, labels: Mapping[str, str] | None = None) -> ProvisionRequest:
        """Ask for a machine under a name of its own, as the control plane would."""
        self._requested += 1
        name = f"{self.contract.name_prefix}-{self._requested}"
        ours = {
            FLEET_LABEL: self.contract.name_prefix,
            INSTANCE_LABEL: name,
            POOL_LABEL: "contract",
        }
        return ProvisionRequest(
            name=name,
            instance_type=self.contract.instance_type,
            region=self.contract.region,
            labels={**ours, **(labels or {})},
            token=name,
        )

    async def provision(self, request: ProvisionRequest, *, at: Provider | None = None) -> Instance:
        """Buy what is asked for, here or at another provider object of the account."""
        self._in_doubt.add(request.name)
        instance = await (at or self.provider).provision(request)
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

    async def _terminate(self, instance_id: str) -> bool:
        try:
            await self.provider.terminate(instance_id)
        except NotFound:
            return False
        return True

    async def end_all(self) -> None:
        """End every machine that this test has bought or, where an answer failed, may have."""
        for name in self._in_doubt:
            with suppress(TimeoutError):
                self._bought += await self.wait_for_count(name, 1)
        for each in self._bought:
            await self.wait_until_gone(each.id)


def _on_trial(
    test: Callable[[ProviderContract, Trial], Awaitable[None]],
) -> Callable[[ProviderContract, MakeProvider], None]:
    """Make a plain test of an asynchronous one, with a trial that cleans up after it."""

    async def scenario(contract: ProviderContract, make_provider: MakeProvider) -> None:
        trial = Trial(contract, make_provider)
        try:
            await test(contract, trial)
        finally:
            await trial.end_all()

    def run(self: ProviderContract, make_provider: MakeProvider) -> None:
        asyncio.run(scenario(self, make_provider))

    run.__name__ = test.__name__
    run.__qualname__ = test.__qualname__
    run.__doc__ = test.__doc__
    return run


class ProviderContract:
    """The contract suite: subclass it and add the fixture `make_provider` (`MakeProvider`)."""

    instance_type: ClassVar[str] = "contract-test"
    """A type that the provider sells, the cheaper the better."""

    region: ClassVar[str] = ""

    name_prefix: ClassVar[str] = "contract"
    """Begins every machine's name. For a real account: different in every run."""

    patience: ClassVar[timedelta] = timedelta(seconds=5)
    """How long a machine may take to be listed, or to be gone."""

    odd_labels: ClassVar[Mapping[str, str]] = {
        "empty": "",
        "spaces": " two  words ",
        "signs": 'a=b,c;d:"e"/\\',
        "letters": "Größe 八",
    }
    """Labels that a careless provider mangles. Leave out what the cloud cannot store."""

    async def pause(self, provider: Provider) -> None:
        """Let a little time pass between two looks; a fake's own time is moved here."""
        await asyncio.sleep(0.02)

    @_on_trial
    async def test_name_is_a_word(self, trial: Trial) -> None:
        """Configuration, labels and metrics name the provider."""
        assert trial.provider.name.split() == [trial.provider.name]
        assert isinstance(trial.provider, Provider)

    @_on_trial
    async def test_provision_describes_the_machine_asked_for(self, trial: Trial) -> None:
        """The answer carries the provider's id and our name, labels, type and place."""
        request = trial.request()

        instance = await trial.provision(request)

        assert instance.id
        assert instance.provider == trial.provider.name
        assert instance.name == request.name
        assert instance.instance_type == request.instance_type
        assert request.labels.items() <= instance.labels.items()
        assert instance.status in ALIVE

    @_on_trial
    async def test_provision_leaves_the_request_alone(self, trial: Trial) -> None:
        """A request may be used again, for instance at another provider."""
        request = trial.request()
        before = ProvisionRequest(
            name=request.name,
            instance_type=request.instance_type,
            region=request.region,
            labels=dict(request.labels),
            token=request.token,
        )

        await trial.provision(request)

        assert request == before

    @_on_trial
    async def test_a_machine_is_listed_as_it_was_described(self, trial: Trial) -> None:
        """The list is where a lost answer is looked up: by our name, with our labels."""
        bought = await trial.launch()

        (listed,) = await trial.wait_for_count(bought.name, 1)

        assert listed.id == bought.id
        assert listed.provider == bought.provider
        assert listed.instance_type == bought.instance_type
        assert bought.labels.items() <= listed.labels.items()
        assert listed.status in ALIVE

    @_on_trial
    async def test_labels_come_back_as_they_were(self, trial: Trial) -> None:
        """Whatever may stand in a label comes back to the letter."""
        request = trial.request(self.odd_labels)

        await trial.provision(request)

        (listed,) = await trial.wait_for_count(request.name, 1)
        assert {key: listed.labels.get(key) for key in request.labels} == request.labels

    @_on_trial
    async def test_asking_twice_buys_what_the_facts_say(self, trial: Trial) -> None:
        """One machine where tokens are honoured; where not, both are listed under our name."""
        request = trial.request()

        first = await trial.provision(request)
        second = await trial.provision(request)

        ids = sorted({first.id, second.id})
        assert len(ids) == (1 if trial.facts.honours_tokens else 2)
        listed = await trial.wait_for_count(request.name, len(ids))
        assert sorted(each.id for each in listed) == ids

    @_on_trial
    async def test_asking_twice_at_once_buys_what_the_facts_say(self, trial: Trial) -> None:
        """A control plane that has just restarted may ask while its last question is open."""
        request = trial.request()
        other = trial.make_provider()

        first, second = await asyncio.gather(
            trial.provision(request), trial.provision(request, at=other)
        )

        ids = sorted({first.id, second.id})
        assert len(ids) == (1 if trial.facts.honours_tokens else 2)
        listed = await trial.wait_for_count(request.name, len(ids))
        assert sorted(each.id for each in listed) == ids

    @_on_trial
    async def test_a_used_token_never_buys_a_second_machine(self, trial: Trial) -> None:
        """A late copy of a request must not bring back what has been ended."""
        request = trial.request()
        first = await trial.provision(request)
        await trial.wait_until_gone(first.id)

        if trial.facts.honours_tokens:
            with pytest.raises(InvalidRequest):
                await trial.provider.provision(request)
            assert await trial.named(request.name) == []
        else:
            second = await trial.provision(request)
            assert second.id != first.id

    @_on_trial
    async def test_launches_at_once_are_different_machines(self, trial: Trial) -> None:
        """As many launches at a time as the facts allow, up to eight."""
        requests = [trial.request() for _ in range(min(8, trial.facts.launches_at_once))]

        bought = await asyncio.gather(*map(trial.provision, requests))

        assert [each.name for each in bought] == [each.name for each in requests]
        assert len({each.id for each in bought}) == len(requests)
        for each in bought:
            (listed,) = await trial.wait_for_count(each.name, 1)
            assert listed.id == each.id

    @_on_trial
    async def test_a_list_names_each_machine_once(self, trial: Trial) -> None:
        """Two looks at a world at rest show the same, whoever looks."""
        bought = [await trial.launch() for _ in range(2)]
        for each in bought:
            await trial.wait_for_count(each.name, 1)

        first = [each.id for each in await trial.provider.list()]
        second = [each.id for each in await trial.make_provider().list()]

        assert len(set(first)) == len(first)
        assert sorted(second) == sorted(first)

    @_on_trial
    async def test_terminate_ends_one_machine_and_no_other(self, trial: Trial) -> None:
        """The neighbour stays as it was."""
        doomed, neighbour = await trial.launch(), await trial.launch()
        await trial.wait_for_count(neighbour.name, 1)

        await trial.provider.terminate(doomed.id)
        await trial.wait_until_gone(doomed.id)

        (listed,) = await trial.named(neighbour.name)
        assert listed.id == neighbour.id
        assert listed.status in ALIVE

    @_on_trial
    async def test_terminate_may_be_called_again(self, trial: Trial) -> None:
        """At once it changes nothing or says gone; in the end it may say nothing but gone."""
        bought = await trial.launch()

        await trial.provider.terminate(bought.id)
        with suppress(NotFound):
            await trial.provider.terminate(bought.id)
        await trial.wait_until_gone(bought.id)
        with suppress(NotFound):
            await trial.provider.terminate(bought.id)

        assert await trial.named(bought.name) == []

    @_on_trial
    async def test_what_was_never_there_is_not_found(self, trial: Trial) -> None:
        """The error names what was looked for."""
        with pytest.raises(NotFound, match="no-such-machine"):
            await trial.provider.terminate("no-such-machine")

    @_on_trial
    async def test_a_launch_without_a_name_is_refused(self, trial: Trial) -> None:
        """A machine without a name could never be found again."""
        nameless = ProvisionRequest(name="", instance_type=self.instance_type, region=self.region)

        with pytest.raises(InvalidRequest):
            await trial.provider.provision(nameless)

        assert await trial.named("") == []

    @_on_trial
    async def test_a_new_provider_object_finds_and_ends_the_machine(self, trial: Trial) -> None:
        """The control plane restarts; the account remembers."""
        bought = await trial.launch()
        await trial.wait_for_count(bought.name, 1)

        trial.provider = trial.make_provider()

        (listed,) = await trial.named(bought.name)
        assert listed.id == bought.id
        await trial.wait_until_gone(listed.id)

    @_on_trial
    async def test_a_price_list_names_each_type_once(self, trial: Trial) -> None:
        """Holds for providers that have a price list at all."""
        sold: list[InstanceType] = []
        if isinstance(trial.provider, InstanceTypeLister):
            sold = await trial.provider.list_instance_types()

        names = [each.name for each in sold]
        assert len(set(names)) == len(names)
        assert [each for each in sold if not each.name or each.gpu_count < 0] == []
        assert [each for each in sold if each.price_per_hour < 0] == []
