"""What every provider must do, as tests that its author can run.

::

    class TestMyCloud(ProviderContract):
        @pytest.fixture
        def make_provider(self) -> Callable[[], Provider]:
            return lambda: MyCloud(api_key="...")

The prose of the contract is in `navarch.providers.base`; here is the part of it that can be seen
from outside. The control plane relies on each of these tests: a provider that fails one of them
loses, leaks or doubles machines.

So much is enough to begin with. Clouds fail, and how a provider bears that is seen only when its
cloud can be made to: a class that stands on a double, or on a recorded cloud, overrides *hooks*.
Each is a method, plain or `async`, of the class itself; the fixture leaves what they need in
`self`. A test whose hook is missing is skipped, and the skip says which one.

=======================  ==========================================================================
`hold_boot()`            machines bought from now on exist and do not run
`lose_next_answer()`     the next launch is carried out, and its answer never arrives
`make_stranger()`        a running machine without our labels is there; returns its id
`make_many(count)`       so many running ones with `labels_of(name)` are there; returns their ids
`break_next_list()`      the next list breaks off, after its first page where there are pages
`fail_next(kind)`        the next launch is refused, in the words for this class of `ProviderError`
`hang_next()`            nothing is answered until `recover`; give the provider a short deadline
`secrets()`              strings that must be seen nowhere; none is an answer too
`recover()`              undoes the above; called after each disturbed call, and at a test's end
`cancel_steps = 40`      a number and no method: cancel launches at their first so many waits
`pause(provider)`        lets a little time pass between two looks
=======================  ==========================================================================

"The next launch" is the next `provision` as a whole: where the provider tries again by itself, all
its tries. What a provider cannot do at all is said once, with the reason, and the table of all
providers (docs/providers/matrix.md) shows it::

    not_applicable = {"test_too_many_calls_are_throttled": "nobody throttles this machine"}

Rules that hold: a test ends what it began, whatever becomes of it, and closes every provider it
made; nothing but the protocol and the hooks is used, so that a recorded cloud, a double and a real
account can all be tested.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TypeAlias

import pytest

pytest.register_assert_rewrite(
    "navarch.testing.provider_trial", "navarch.testing.provider_troubles"
)

from navarch.errors import InvalidRequest, NotFound  # noqa: E402  # after the hook
from navarch.providers.base import Provider, ProvisionRequest  # noqa: E402  # as above
from navarch.testing import provider_trial  # noqa: E402  # as above
from navarch.testing.provider_trial import ALIVE, Trial, on_trial  # noqa: E402  # as above
from navarch.testing.provider_troubles import ProviderTroubles  # noqa: E402  # as above

MakeProvider: TypeAlias = provider_trial.MakeProvider
"""Makes a new provider object for one and the same account, inside the running loop."""

_on_trial = on_trial
"""The name that `on_trial` had before suites of others were built on it."""


class ProviderContract(ProviderTroubles):
    """The contract suite: subclass it and add the fixture `make_provider` (`MakeProvider`)."""

    @pytest.fixture(autouse=True)
    def _only_what_applies(self, request: pytest.FixtureRequest) -> None:
        """Skip, before anything is set up, what this harness cannot show, and say why."""
        unknown = [each for each in self.not_applicable if not hasattr(self, each)]
        assert unknown == [], f"not_applicable names tests that do not exist: {unknown}"
        name: str = request.node.originalname
        if reason := self.why_not(name):
            pytest.skip(reason)

    @classmethod
    def names_of_tests(cls) -> list[str]:
        """Name every test of the suite, in the order of its pages."""
        pages: tuple[type, ...] = (ProviderContract, ProviderTroubles)
        return [each for page in pages for each in vars(page) if each.startswith("test_")]

    @on_trial
    async def test_name_is_a_word(self, trial: Trial) -> None:
        """Configuration, labels and metrics name the provider."""
        assert trial.provider.name.split() == [trial.provider.name]
        assert isinstance(trial.provider, Provider)

    @on_trial
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

    @on_trial
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

    @on_trial
    async def test_a_machine_is_listed_as_it_was_described(self, trial: Trial) -> None:
        """The list is where a lost answer is looked up: by our name, with our labels."""
        bought = await trial.launch()

        (listed,) = await trial.wait_for_count(bought.name, 1)

        assert listed.id == bought.id
        assert listed.provider == bought.provider
        assert listed.instance_type == bought.instance_type
        assert bought.labels.items() <= listed.labels.items()
        assert listed.status in ALIVE

    @on_trial
    async def test_labels_come_back_as_they_were(self, trial: Trial) -> None:
        """Whatever may stand in a label comes back to the letter."""
        request = trial.request(self.odd_labels)

        await trial.provision(request)

        (listed,) = await trial.wait_for_count(request.name, 1)
        assert {key: listed.labels.get(key) for key in request.labels} == request.labels

    @on_trial
    async def test_asking_twice_buys_what_the_facts_say(self, trial: Trial) -> None:
        """One machine where tokens are honoured; where not, perhaps two, listed by our name."""
        request = trial.request()

        first = await trial.provision(request)
        second = await trial.provision(request)

        ids = sorted({first.id, second.id})
        assert not trial.facts.honours_tokens or len(ids) == 1
        listed = await trial.wait_for_count(request.name, len(ids))
        assert sorted(each.id for each in listed) == ids

    @on_trial
    async def test_asking_twice_at_once_buys_what_the_facts_say(self, trial: Trial) -> None:
        """A control plane that has just restarted may ask while its last question is open."""
        request = trial.request()
        other = trial.make_provider()

        first, second = await asyncio.gather(
            trial.provision(request), trial.provision(request, at=other)
        )

        ids = sorted({first.id, second.id})
        assert not trial.facts.honours_tokens or len(ids) == 1
        listed = await trial.wait_for_count(request.name, len(ids))
        assert sorted(each.id for each in listed) == ids

    @on_trial
    async def test_a_used_token_never_buys_a_second_machine(self, trial: Trial) -> None:
        """A late copy of a request must not bring back what has been ended.

        Without tokens nobody can tell once the cloud has forgotten the first; the answer is a
        refusal or another machine, never the one that has ended.
        """
        request = trial.request()
        first = await trial.provision(request)
        await trial.wait_until_gone(first.id)

        try:
            second = await trial.provision(request)
        except InvalidRequest:
            assert await trial.named(request.name) == []
        else:
            assert not trial.facts.honours_tokens
            assert second.id != first.id

    @on_trial
    async def test_launches_at_once_are_different_machines(self, trial: Trial) -> None:
        """As many launches at a time as the facts allow, up to eight."""
        requests = [trial.request() for _ in range(min(8, trial.facts.launches_at_once))]

        bought = await asyncio.gather(*map(trial.provision, requests))

        assert [each.name for each in bought] == [each.name for each in requests]
        assert len({each.id for each in bought}) == len(requests)
        for each in bought:
            (listed,) = await trial.wait_for_count(each.name, 1)
            assert listed.id == each.id

    @on_trial
    async def test_a_list_names_each_machine_once(self, trial: Trial) -> None:
        """Two looks at a world at rest show the same, whoever looks."""
        bought = [await trial.launch() for _ in range(2)]
        for each in bought:
            await trial.wait_for_count(each.name, 1)

        first = [each.id for each in await trial.provider.list()]
        second = [each.id for each in await trial.make_provider().list()]

        assert len(set(first)) == len(first)
        assert sorted(second) == sorted(first)

    @on_trial
    async def test_terminate_ends_one_machine_and_no_other(self, trial: Trial) -> None:
        """The neighbour stays as it was."""
        doomed, neighbour = await trial.launch(), await trial.launch()
        await trial.wait_for_count(neighbour.name, 1)

        await trial.provider.terminate(doomed.id)
        await trial.wait_until_gone(doomed.id)

        (listed,) = await trial.named(neighbour.name)
        assert listed.id == neighbour.id
        assert listed.status in ALIVE

    @on_trial
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

    @on_trial
    async def test_what_was_never_there_is_not_found(self, trial: Trial) -> None:
        """The error names what was looked for."""
        with pytest.raises(NotFound, match="no-such-machine"):
            await trial.provider.terminate("no-such-machine")

    @on_trial
    async def test_a_launch_without_a_name_is_refused(self, trial: Trial) -> None:
        """A machine without a name could never be found again."""
        nameless = ProvisionRequest(name="", instance_type=self.instance_type, region=self.region)

        with pytest.raises(InvalidRequest):
            await trial.provider.provision(nameless)

        assert await trial.named("") == []

    @on_trial
    async def test_a_new_provider_object_finds_and_ends_the_machine(self, trial: Trial) -> None:
        """The control plane restarts; the account remembers."""
        bought = await trial.launch()
        await trial.wait_for_count(bought.name, 1)

        trial.provider = trial.make_provider()

        (listed,) = await trial.named(bought.name)
        assert listed.id == bought.id
        await trial.wait_until_gone(listed.id)
