"""The suite finds what it is there to find: providers with one fault each, and what they fail."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import timedelta
from typing import TypeVar

import pytest

from contracts.test_provider_contract import FakeHarness
from navarch.errors import Unavailable
from navarch.providers.base import Instance, Instances, InstanceStatus, Provider, ProvisionRequest
from navarch.providers.fake import Answer, FakeCloud, FakeProvider, Lost, ManualTime
from navarch.testing.provider_trial import cut_short

T = TypeVar("T")

LOG = logging.getLogger("navarch.tests.contract")  # noqa: TID251 - it stands for a library


class Waiting(FakeProvider):
    """Waits until the machine runs."""

    async def provision(self, request: ProvisionRequest) -> Instance:
        while True:
            made = await super().provision(request)
            if made.status is InstanceStatus.RUNNING:
                return made
            await self._sleep(timedelta(hours=1))


class Repeating(FakeProvider):
    """Launches again under another token when it knows of no answer."""

    async def provision(self, request: ProvisionRequest) -> Instance:
        with suppress(Exception):
            return await super().provision(request)
        again = ProvisionRequest(
            name=request.name,
            instance_type=request.instance_type,
            labels=request.labels,
            token=f"{request.token}-again",
        )
        return await super().provision(again)


class Nosy(FakeProvider):
    """Lists whatever runs in the account."""

    async def list(self) -> Instances:
        await super().list()
        alive = self.cloud.alive(self._now())
        return [each.instance for each in alive]


class FirstPage(FakeProvider):
    """Lists the first page alone."""

    async def list(self) -> Instances:
        return (await super().list())[:1000]


class Hopeful(FakeProvider):
    """Takes a list that broke off for the whole of it."""

    async def list(self) -> Instances:
        try:
            return await super().list()
        except Unavailable:
            return []


class Vague(FakeProvider):
    """Says the same of every failure."""

    async def provision(self, request: ProvisionRequest) -> Instance:
        try:
            return await super().provision(request)
        except Exception as error:
            raise Unavailable(f"no luck: {error}") from error


class Chatty(FakeProvider):
    """Logs what it sends."""

    async def provision(self, request: ProvisionRequest) -> Instance:
        LOG.debug("sending %s", request.user_data)
        return await super().provision(request)


class Telltale(FakeProvider):
    """Shows a key."""

    def __repr__(self) -> str:
        return "Telltale(key='key-of-the-account')"


class Leaking(FakeProvider):
    """Leaves a task behind when it is interrupted."""

    async def provision(self, request: ProvisionRequest) -> Instance:
        self.forever = asyncio.create_task(asyncio.Event().wait())
        made = await super().provision(request)
        self.forever.cancel()
        return made


class Doubling(FakeProvider):
    """Asks twice, with another token, once it was interrupted."""

    async def provision(self, request: ProvisionRequest) -> Instance:
        try:
            return await super().provision(request)
        except asyncio.CancelledError:
            second = ProvisionRequest(name=request.name, instance_type="t", token="another")
            self.cloud.launch(second, self._now())
            raise


class Patient(FakeProvider):
    """Waits for ever."""

    async def _receive(self, answer: Answer[T], subject: str) -> T:
        if isinstance(answer.result, Lost):
            await asyncio.Event().wait()
        return await super()._receive(answer, subject)


class ClosedOnce(FakeProvider):
    """Cannot be closed again."""

    async def close(self) -> None:
        if self.is_closed:
            raise Unavailable("closed before")
        await super().close()


class Impatient(FakeHarness):
    """Waits in real time, and not for long."""

    patience = timedelta(milliseconds=100)

    def secrets(self) -> Sequence[str]:
        return ["key-of-the-account"]

    async def pause(self, provider: Provider) -> None:
        await asyncio.sleep(0.001)


def harness_of(kind: type[FakeProvider]) -> tuple[FakeHarness, Callable[[], Provider]]:
    """Make a harness, as pytest would, whose providers have this fault."""
    harness = Impatient()
    harness.time = ManualTime()
    harness.cloud = FakeCloud(answer_time=timedelta(milliseconds=1))
    return harness, lambda: kind(
        cloud=harness.cloud, now=harness.time.now, sleep=harness.time.sleep
    )


@pytest.mark.parametrize(
    "kind, test",
    [
        (Waiting, "test_provision_does_not_wait_for_the_machine"),
        (Repeating, "test_a_lost_launch_may_be_repeated"),
        (Repeating, "test_a_lost_launch_may_be_repeated_at_once"),
        (Repeating, "test_a_lost_launch_may_be_repeated_after_a_restart"),
        (Repeating, "test_a_launch_whose_answer_was_lost_is_found_by_name"),
        (Nosy, "test_a_stranger_is_not_listed"),
        (FirstPage, "test_a_list_shows_thousands"),
        (Hopeful, "test_a_list_that_breaks_off_is_an_error_and_never_a_part"),
        (Vague, "test_a_sold_out_type_is_no_capacity"),
        (Vague, "test_a_used_up_quota_is_quota_exceeded"),
        (Vague, "test_too_many_calls_are_throttled"),
        (Vague, "test_refused_credentials_are_unauthorized"),
        (Vague, "test_a_wrong_request_is_an_invalid_request"),
        (Repeating, "test_a_cloud_in_trouble_is_unavailable"),
        (FakeProvider, "test_a_refusal_carries_its_cause"),
        (Chatty, "test_secrets_are_seen_nowhere"),
        (Telltale, "test_secrets_are_seen_nowhere"),
        (Leaking, "test_a_cancelled_launch_leaves_no_task_and_at_most_one_machine"),
        (Doubling, "test_a_cancelled_launch_leaves_no_task_and_at_most_one_machine"),
        (Patient, "test_a_launch_without_an_answer_is_given_up"),
        (Patient, "test_a_list_without_an_answer_is_given_up"),
        (Patient, "test_an_end_without_an_answer_is_given_up"),
        (ClosedOnce, "test_close_may_be_repeated"),
    ],
)
def test_a_faulty_provider_fails_the_test_of_its_fault(kind: type[FakeProvider], test: str) -> None:
    harness, make_provider = harness_of(kind)

    with pytest.raises(
        (AssertionError, TimeoutError, Unavailable, pytest.fail.Exception)
    ) as caught:
        getattr(harness, test)(make_provider)

    assert "key-of-the-account" not in str(caught.value)


async def three_waits(seen: list[str]) -> str:
    for n in range(3):
        await asyncio.sleep(0)
        seen.append(f"woke {n}")
    return "done"


@pytest.mark.parametrize("step, woken", [(1, 0), (2, 1), (3, 2)])
def test_work_is_cut_at_the_wait_asked_for(step: int, woken: int) -> None:
    seen: list[str] = []

    result = asyncio.run(cut_short(three_waits(seen), step=step, is_late=False))

    assert result == (True, None)
    assert len(seen) == woken


def test_work_with_fewer_waits_is_not_cut() -> None:
    assert asyncio.run(cut_short(three_waits([]), step=4, is_late=False)) == (False, "done")


def test_a_late_cut_comes_when_the_answer_is_there_and_nobody_has_seen_it() -> None:
    async def scenario() -> None:
        answer: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_later(0.01, answer.set_result, "an answer")

        async def work() -> str:
            return await answer

        assert await cut_short(work(), step=1, is_late=True) == (True, None)
        assert answer.result() == "an answer"

    asyncio.run(scenario())


def test_work_that_swallows_its_cancellation_is_told_from_work_that_was_cut() -> None:
    async def stubborn() -> str:
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(60)
        return "went on"

    assert asyncio.run(cut_short(stubborn(), step=1, is_late=False)) == (True, "went on")
