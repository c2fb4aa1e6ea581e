"""The provider contract where clouds misbehave: tests that a harness takes part in by its hooks.

Each test names the hooks that it needs (`needing`); `navarch.testing.provider_contract` is the
guide to them. A harness without a hook skips the tests that need it, with a line that says so.
"""

from __future__ import annotations

import asyncio
import logging
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

import pytest

from navarch.errors import (
    InvalidRequest,
    NoCapacity,
    OutcomeUnknown,
    ProviderError,
    QuotaExceeded,
    Throttled,
    Unauthorized,
    Unavailable,
)
from navarch.providers.base import Instance, InstanceStatus, InstanceTypeLister
from navarch.testing.provider_trial import (
    ALIVE,
    ProviderHarness,
    Trial,
    closes,
    cut_short,
    done,
    needing,
    on_trial,
)

NODE_SECRET: Final = "contract-node-secret-7f3a"  # noqa: S105 - protects nothing
"""Stands in a start-up script as a node's token does."""

REFUSALS: Final[dict[type[ProviderError], str]] = {
    NoCapacity: "test_a_sold_out_type_is_no_capacity",
    QuotaExceeded: "test_a_used_up_quota_is_quota_exceeded",
    Throttled: "test_too_many_calls_are_throttled",
    Unauthorized: "test_refused_credentials_are_unauthorized",
    InvalidRequest: "test_a_wrong_request_is_an_invalid_request",
    Unavailable: "test_a_cloud_in_trouble_is_unavailable",
}
"""The kinds of refusal that promise that nothing was done, each with its test."""


PAGES: Final = 6
"""How much longer than for one answer a list of many pages may take."""


class ProviderTroubles(ProviderHarness):
    """Tests of what a provider says and leaves behind when its cloud fails it."""

    @needing("hold_boot")
    @on_trial
    async def test_provision_does_not_wait_for_the_machine(self, trial: Trial) -> None:
        """A machine that takes minutes to boot is returned, and listed, before it runs."""
        await done(self.hold_boot())

        bought = await trial.launch()

        (listed,) = await trial.wait_for_count(bought.name, 1)
        assert bought.status is InstanceStatus.PROVISIONING
        assert listed.status is InstanceStatus.PROVISIONING

    # Lost answers.

    @needing("lose_next_answer")
    @on_trial
    async def test_a_launch_whose_answer_was_lost_is_found_by_name(self, trial: Trial) -> None:
        """Nothing but `OutcomeUnknown` may be said, unless the provider itself finds it."""
        request = trial.request()
        await done(self.lose_next_answer())

        with suppress(OutcomeUnknown):
            await trial.provision(request)
        await trial.recover()

        (listed,) = await trial.wait_for_count(request.name, 1)
        assert listed.status in ALIVE

    @needing("lose_next_answer")
    @on_trial
    async def test_a_lost_launch_may_be_repeated(self, trial: Trial) -> None:
        """The first machine is the one that the repetition gives, where tokens are honoured."""
        request = trial.request()
        await done(self.lose_next_answer())
        with suppress(OutcomeUnknown):
            await trial.provision(request)
        await trial.recover()

        again = await trial.provision(request)

        await self._expect(trial, request.name, [again])

    @needing("lose_next_answer")
    @on_trial
    async def test_a_lost_launch_may_be_repeated_at_once(self, trial: Trial) -> None:
        """Four ask for it, at two provider objects, while the first still waits."""
        request = trial.request()
        other = trial.make_provider()
        await done(self.lose_next_answer())

        asked = [trial.provision(request, at=at) for at in (None, other) * 2]
        answers = await asyncio.gather(*asked, return_exceptions=True)
        await trial.recover()

        bought = [each for each in answers if isinstance(each, Instance)]
        failed = [each for each in answers if not isinstance(each, Instance | OutcomeUnknown)]
        assert failed == []
        await self._expect(trial, request.name, bought)

    @needing("lose_next_answer")
    @on_trial
    async def test_a_lost_launch_may_be_repeated_after_a_restart(self, trial: Trial) -> None:
        """What the first provider object knew is gone with it."""
        request = trial.request()
        await done(self.lose_next_answer())
        with suppress(OutcomeUnknown):
            await trial.provision(request)
        await trial.recover()
        await trial.close(trial.provider)
        trial.provider = trial.make_provider()

        again = await trial.provision(request)

        await self._expect(trial, request.name, [again])

    async def _expect(self, trial: Trial, name: str, bought: list[Instance]) -> None:
        """See that what was bought is listed, and is one machine where tokens are honoured."""
        ids = {each.id for each in bought}
        listed = await trial.wait_until_listed(name, ids)
        if trial.facts.honours_tokens:
            assert len(listed) == 1, f"one token has bought {[each.id for each in listed]}"

    # Lists.

    @needing("make_stranger")
    @on_trial
    async def test_a_stranger_is_not_listed(self, trial: Trial) -> None:
        """An account may be shared, and what others run there is nobody's orphan."""
        stranger = await done(self.make_stranger())
        ours = await trial.launch()
        await trial.wait_for_count(ours.name, 1)
        await self.pause(trial.provider)

        listed = [each.id for each in await trial.provider.list()]

        assert stranger
        assert stranger not in listed

    @needing("make_many")
    @on_trial
    async def test_a_list_shows_thousands(self, trial: Trial) -> None:
        """All pages, each machine once."""
        made = await done(self.make_many(self.many))
        async with asyncio.timeout(PAGES * self.patience.total_seconds()):
            while True:
                listed = [each.id for each in await trial.provider.list()]
                if len(listed) >= len(made):
                    break
                await self.pause(trial.provider)

        assert len(made) == self.many
        assert sorted(listed) == sorted(made)

    @needing("break_next_list")
    @on_trial
    async def test_a_list_that_breaks_off_is_an_error_and_never_a_part(self, trial: Trial) -> None:
        """A machine that a list leaves out is taken for gone: all, or an error."""
        bought = [await trial.launch() for _ in range(3)]
        for each in bought:
            await trial.wait_for_count(each.name, 1)
        await done(self.break_next_list())

        try:
            listed = {each.id for each in await trial.provider.list()}
        except ProviderError:
            listed = set()
        else:
            assert {each.id for each in bought} <= listed
        await trial.recover()

        assert {each.id for each in bought} <= {each.id for each in await trial.provider.list()}

    # Refusals.

    @needing("fail_next")
    @on_trial
    async def test_a_sold_out_type_is_no_capacity(self, trial: Trial) -> None:
        """Another offer is tried at once."""
        await self._expect_refusal(trial, NoCapacity)

    @needing("fail_next")
    @on_trial
    async def test_a_used_up_quota_is_quota_exceeded(self, trial: Trial) -> None:
        """Waiting does not help; somebody must raise a limit."""
        error = await self._expect_refusal(trial, QuotaExceeded)

        assert isinstance(error, QuotaExceeded)
        asked = trial.request()
        covered = error.scope is None or error.scope.covers(
            asked.region, asked.zone, asked.instance_type, spot=asked.spot
        )
        assert covered, f"what was refused is not of the quota that was named: {error.scope}"

    @needing("fail_next")
    @on_trial
    async def test_too_many_calls_are_throttled(self, trial: Trial) -> None:
        """The same request is fine later."""
        await self._expect_refusal(trial, Throttled)

    @needing("fail_next")
    @on_trial
    async def test_refused_credentials_are_unauthorized(self, trial: Trial) -> None:
        """An operator must put something right."""
        await self._expect_refusal(trial, Unauthorized)

    @needing("fail_next")
    @on_trial
    async def test_a_wrong_request_is_an_invalid_request(self, trial: Trial) -> None:
        """It is not repeated."""
        await self._expect_refusal(trial, InvalidRequest)

    @needing("fail_next")
    @on_trial
    async def test_a_cloud_in_trouble_is_unavailable(self, trial: Trial) -> None:
        """And surely nothing was done."""
        await self._expect_refusal(trial, Unavailable)

    @needing("fail_next")
    @on_trial
    async def test_a_refusal_carries_its_cause(self, trial: Trial) -> None:
        """The error of the library below is kept, for whoever reads the traceback."""
        for kind in self._refusals():
            error = await self._refused(trial, kind)
            assert error.__cause__ is not None, f"{kind.__name__} has no cause"

    def _refusals(self) -> list[type[ProviderError]]:
        """The kinds of refusal that this harness can bring about."""
        return [kind for kind, test in REFUSALS.items() if not self.why_not(test)]

    async def _refused(self, trial: Trial, kind: type[ProviderError]) -> ProviderError:
        """Ask for a machine that the cloud refuses in this way, and return the error."""
        await done(self.fail_next(kind))
        try:
            with pytest.raises(ProviderError) as caught:
                await trial.provider.provision(trial.request(user_data=_script()))
        finally:
            await trial.recover()
        return caught.value

    async def _expect_refusal(self, trial: Trial, kind: type[ProviderError]) -> ProviderError:
        """See that a refusal is of exactly this kind, and that nothing was made; return it."""
        request = trial.request()
        await done(self.fail_next(kind))

        with pytest.raises(ProviderError) as caught:
            await trial.provider.provision(request)
        await trial.recover()

        assert type(caught.value) is kind
        assert str(caught.value).strip()
        await self.pause(trial.provider)
        assert await trial.named(request.name) == []
        again = await trial.launch()
        await trial.wait_for_count(again.name, 1)
        return caught.value

    @needing("secrets")
    @on_trial
    async def test_secrets_are_seen_nowhere(self, trial: Trial) -> None:
        """Neither keys nor start-up scripts stand in an error, a repr or a log."""
        seen: list[str] = []
        with _all_logged(seen):
            request = trial.request(user_data=_script())
            seen += [repr(trial.provider), str(trial.provider), repr(request), str(request)]
            bought = await trial.provision(request)
            (listed,) = await trial.wait_for_count(request.name, 1)
            seen += [repr(bought), repr(listed)]
            for kind in self._refusals():
                error = await self._refused(trial, kind)
                seen += [repr(error), *traceback.format_exception(error)]
            with pytest.raises(ProviderError) as caught:
                await trial.provider.terminate("no-such-machine")
            seen += [repr(caught.value), *traceback.format_exception(caught.value)]
            await trial.wait_until_gone(bought.id)

        told = "\n".join(seen)
        for secret in (NODE_SECRET, *self.secrets()):
            # Where it stands is said, and the secret itself is not said once more.
            place = told.find(secret)
            assert place < 0, f"a secret stands after: {told[max(0, place - 200) : place]}"

    # Cancellation and silence.

    @needing("cancel_steps")
    @on_trial
    async def test_a_cancelled_launch_leaves_no_task_and_at_most_one_machine(
        self, trial: Trial
    ) -> None:
        """Cut at each of its waits, before the answer and after it, it can always be looked up."""
        cuts = 0
        for step in range(1, self.cancel_steps + 1):
            before_step = cuts
            for is_late in (False, True):
                cuts += await self._cut_one(trial, step, is_late=is_late)
            if cuts == before_step:
                break

        assert cuts > 0, "a launch never waited: there was nothing to cancel"

    async def _cut_one(self, trial: Trial, step: int, *, is_late: bool) -> bool:
        """Cancel one launch, see what it leaves, and tell whether it came to be cancelled."""
        request = trial.request()
        provider = trial.make_provider()
        before = asyncio.all_tasks()
        launch = trial.provision(request, at=provider)

        is_cut, _ = await cut_short(launch, step=step, is_late=is_late)

        await trial.close(provider)
        async with asyncio.timeout(self.patience.total_seconds()):
            while asyncio.all_tasks() - before:  # noqa: ASYNC110 - a leak sets no event
                await asyncio.sleep(0.001)
        if is_cut:
            found = await trial.settle(request)
            assert len(found) <= 1, f"cut at wait {step}, {len(found)} machines were made"
            for each in found:
                await trial.wait_until_gone(each.id)
        return is_cut

    @needing("hang_next")
    @on_trial
    async def test_a_launch_without_an_answer_is_given_up(self, trial: Trial) -> None:
        """The provider has a deadline of its own; nobody knows then, or nothing was done."""
        request = trial.request()
        await done(self.hang_next())

        async with asyncio.timeout(self.patience.total_seconds()):
            with pytest.raises((OutcomeUnknown, Unavailable)) as caught:
                await trial.provider.provision(request)
        await trial.recover()

        found = await trial.settle(request)
        assert len(found) <= 1
        # To ask again is what buys where tokens are honoured: then it proves nothing.
        if caught.type is Unavailable and not trial.facts.honours_tokens:
            assert found == []

    @needing("hang_next")
    @on_trial
    async def test_a_list_without_an_answer_is_given_up(self, trial: Trial) -> None:
        """And is an error, never an empty list."""
        await done(self.hang_next())

        async with asyncio.timeout(self.patience.total_seconds()):
            with pytest.raises((OutcomeUnknown, Unavailable)):
                await trial.provider.list()
        await trial.recover()

        assert await trial.provider.list() == []

    @needing("hang_next")
    @on_trial
    async def test_an_end_without_an_answer_is_given_up(self, trial: Trial) -> None:
        """It is repeated until the machine is gone."""
        bought = await trial.launch()
        await trial.wait_for_count(bought.name, 1)
        await done(self.hang_next())

        async with asyncio.timeout(self.patience.total_seconds()):
            with pytest.raises((OutcomeUnknown, Unavailable)):
                await trial.provider.terminate(bought.id)
        await trial.recover()

        await trial.wait_until_gone(bought.id)

    @on_trial
    async def test_close_may_be_repeated(self, trial: Trial) -> None:
        """Whoever shuts down does not keep a record of what has been closed."""
        if not closes(trial.provider):
            pytest.skip("not applicable: the provider has no close()")
        provider = trial.make_provider()
        bought = await trial.provision(trial.request(), at=provider)

        for _ in range(3):
            await trial.close(provider)

        (listed,) = await trial.wait_for_count(bought.name, 1)
        assert listed.id == bought.id

    @on_trial
    async def test_a_price_list_names_each_type_once(self, trial: Trial) -> None:
        """Holds for providers that have a price list at all."""
        if not isinstance(trial.provider, InstanceTypeLister):
            pytest.skip("not applicable: the provider has no price list")
        sold = await trial.provider.list_instance_types()

        names = [each.name for each in sold]
        assert len(set(names)) == len(names)
        assert [each for each in sold if not each.name or each.gpu_count < 0] == []
        assert [each for each in sold if each.price_per_hour < 0] == []


def _script() -> str:
    return f"#!/bin/sh\n# token: {NODE_SECRET}\n"


@contextmanager
def _all_logged(lines: list[str]) -> Iterator[None]:
    """Gather whatever anybody logs, at any level, as it would be printed."""
    formatter = logging.Formatter("%(levelname)s %(name)s %(message)s")

    class Gathering(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(formatter.format(record))

    handler = Gathering()
    root = logging.getLogger()  # noqa: TID251 - it listens, and logs nothing
    # A program that has set up its log may have told some loggers to be quiet.
    named = [each for each in root.manager.loggerDict.values() if isinstance(each, logging.Logger)]
    levels = [(each, each.level) for each in named if each.level] + [(root, root.level)]
    root.addHandler(handler)
    for logger, _ in levels:
        logger.setLevel(logging.DEBUG)
    try:
        yield
    finally:
        for logger, level in levels:
            logger.setLevel(level)
        root.removeHandler(handler)
