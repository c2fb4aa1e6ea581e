"""The providers that come with us, each held to the contract that its authors are offered."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from machines import assert_no_process_is_left, sleeper
from navarch.providers.base import Provider
from navarch.providers.fake import FakeCloud, FakeProvider, ManualTime
from navarch.providers.process import ProcessProvider
from navarch.testing import ProviderContract


class TestFakeProvider(ProviderContract):
    """As it comes: at once, and with tokens."""

    @pytest.fixture
    def make_provider(self) -> Callable[[], Provider]:
        """Sell from one cloud."""
        cloud = FakeCloud()
        return lambda: FakeProvider(cloud=cloud)


class TestFakeProviderOfASlowCloudWithoutTokens(ProviderContract):
    """As clouds are: late, forgetful, and slow to boot and to end."""

    @pytest.fixture
    def make_provider(self) -> Callable[[], Provider]:
        """Sell from one cloud, in one time that passes only when somebody waits."""
        self.time = ManualTime()
        cloud = FakeCloud(
            boot_time=timedelta(minutes=2),
            end_time=timedelta(minutes=1),
            answer_time=timedelta(seconds=3),
            list_lag=timedelta(seconds=30),
            remembers_ended=timedelta(minutes=10),
            honours_tokens=False,
        )
        return lambda: FakeProvider(cloud=cloud, now=self.time.now, sleep=self.time.sleep)

    async def pause(self, provider: Provider) -> None:
        """Let ten seconds pass."""
        await self.time.sleep(timedelta(seconds=10))


class TestProcessProvider(ProviderContract):
    """Real processes of this machine."""

    @pytest.fixture
    def make_provider(self, tmp_path: Path) -> Iterator[Callable[[], Provider]]:
        """Start processes that sleep, remembered in one folder."""
        time = ManualTime()
        yield lambda: ProcessProvider(tmp_path, sleeper, now=time.now)
        assert_no_process_is_left(tmp_path)
        shutil.rmtree(tmp_path)
