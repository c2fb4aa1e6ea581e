"""The providers that come with us, each held to the contract that its authors are offered.

Clouds of others have a folder each in ``tests/providers``, with their classes of the same kind;
``harnesses.py`` gathers them all.
"""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from typing import ClassVar

import pytest

from machines import assert_no_process_is_left, sleeper
from navarch.errors import (
    NoCapacity,
    ProviderError,
    Unauthorized,
    Unavailable,
)
from navarch.providers.base import Provider, ProvisionRequest
from navarch.providers.fake import Call, FakeCloud, FakeProvider, ManualTime
from navarch.providers.local_process import AgentCommand
from navarch.providers.process import ProcessProvider
from navarch.testing import ProviderContract

CALLS: tuple[Call, ...] = ("launch", "terminate", "list")


class FakeHarness(ProviderContract):
    """A fake cloud that does what the suite's hooks want of it."""

    cancel_steps = 10
    not_applicable: ClassVar[Mapping[str, str]] = {
        "test_a_refusal_carries_its_cause": "no library below it has an error to be kept",
    }
    time: ManualTime
    cloud: FakeCloud

    def recover(self) -> None:
        self.cloud.heal()

    def hold_boot(self) -> None:
        self.cloud.boot_time = timedelta(days=1)

    def lose_next_answer(self) -> None:
        self.cloud.lose_answer()

    def make_stranger(self) -> str:
        return self.cloud.add_stranger(self.time.now())

    def make_many(self, count: int) -> Sequence[str]:
        for n in range(count):
            name = f"{self.name_prefix}-many-{n}"
            request = ProvisionRequest(
                name=name, instance_type=self.instance_type, labels=self.labels_of(name)
            )
            self.cloud.launch(request, self.time.now())
        return list(self.cloud.machines)

    def break_next_list(self) -> None:
        self.cloud.fail_next(Unavailable("the list broke off"), call="list")

    def fail_next(self, kind: type[ProviderError]) -> None:
        self.cloud.fail_next(kind("so it is written"))

    def hang_next(self) -> None:
        for call in CALLS:
            self.cloud.lose_request(call=call, times=100)

    def secrets(self) -> Sequence[str]:
        return ()


class TestFakeProvider(FakeHarness):
    """As it comes: at once, and with tokens."""

    @pytest.fixture
    def make_provider(self) -> Callable[[], Provider]:
        """Sell from one cloud, whose answers take a moment, so that somebody can be interrupted."""
        self.time = ManualTime()
        self.cloud = FakeCloud(answer_time=timedelta(milliseconds=1))
        return lambda: FakeProvider(cloud=self.cloud, now=self.time.now, sleep=self.time.sleep)


class TestFakeProviderOfASlowCloudWithoutTokens(FakeHarness):
    """As clouds are: late, forgetful, and slow to boot and to end."""

    @pytest.fixture
    def make_provider(self) -> Callable[[], Provider]:
        """Sell from one cloud, in one time that passes only when somebody waits."""
        self.time = ManualTime()
        self.cloud = FakeCloud(
            boot_time=timedelta(minutes=2),
            end_time=timedelta(minutes=1),
            answer_time=timedelta(seconds=3),
            list_lag=timedelta(seconds=30),
            remembers_ended=timedelta(minutes=10),
            honours_tokens=False,
        )
        return lambda: FakeProvider(cloud=self.cloud, now=self.time.now, sleep=self.time.sleep)

    async def pause(self, provider: Provider) -> None:
        """Let ten seconds pass."""
        await self.time.sleep(timedelta(seconds=10))


UNCOUNTED = "no call is counted, and none is refused for its pace"
ERRNO: Mapping[type[ProviderError], int] = {
    NoCapacity: errno.ENOSPC,
    Unauthorized: errno.EACCES,
    Unavailable: errno.EIO,
}


class TestProcessProvider(ProviderContract):
    """Real processes of this machine."""

    cancel_steps = 10
    not_applicable: ClassVar[Mapping[str, str]] = {
        "test_provision_does_not_wait_for_the_machine": "a process runs as soon as it is started",
        "test_a_stranger_is_not_listed": "the folder is for nobody but us",
        "test_a_list_shows_thousands": "there are no pages, and max_instances bounds it",
        "test_a_used_up_quota_is_quota_exceeded": "it follows from max_instances and no outsider",
        "test_too_many_calls_are_throttled": UNCOUNTED,
        "test_a_wrong_request_is_an_invalid_request": "it follows from the request alone",
    }

    @pytest.fixture
    def make_provider(self, tmp_path: Path) -> Iterator[Callable[[], Provider]]:
        """Start processes that sleep, remembered in one folder."""
        self.root = tmp_path / "root"
        self.root.mkdir()
        self.is_pid_lost = False
        self.refusal: type[ProviderError] | None = None
        time = ManualTime()
        with ExitStack() as self.held:

            def make() -> Provider:
                provider = ProcessProvider(self.root, self._command, now=time.now)
                provider.turn_timeout = timedelta(milliseconds=200)
                return provider

            yield make
        assert_no_process_is_left(tmp_path)
        shutil.rmtree(tmp_path)

    def _command(self, request: ProvisionRequest, folder: Path) -> AgentCommand:
        if self.refusal is not None:
            code = ERRNO[self.refusal]
            raise OSError(code, os.strerror(code))
        if self.is_pid_lost:
            # Where the pid is to be written there is a folder now, as if the disk had just failed.
            self.is_pid_lost = False
            (folder / "pid.new").mkdir()
            self.held.callback((folder / "pid.new").rmdir)
        return sleeper(request, folder)

    def recover(self) -> None:
        self.refusal = None
        self.is_pid_lost = False
        self.held.close()

    def lose_next_answer(self) -> None:
        self.is_pid_lost = True

    def break_next_list(self) -> None:
        """Let the folder be no folder, as one whose disk was taken away."""
        aside = self.root.with_name("aside")
        self.root.rename(aside)
        self.root.touch()

        def back() -> None:
            self.root.unlink()
            aside.rename(self.root)

        self.held.callback(back)

    def fail_next(self, kind: type[ProviderError]) -> None:
        self.refusal = kind

    def hang_next(self) -> None:
        """Hold the mutex, as a provider that was stopped in the middle of its work."""
        descriptor = os.open(self.root / ".mutex", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self.held.callback(os.close, descriptor)
        fcntl.flock(descriptor, fcntl.LOCK_EX)

    def secrets(self) -> Sequence[str]:
        return ()
