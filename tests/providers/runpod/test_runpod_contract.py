"""RunPod's provider keeps the contract, against a double of the cloud on a real socket."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta

import pytest

from doubles.http_harness import DEADLINE, SHOWN_BY_THE_QUICK_CLOUD, HttpHarness
from doubles.runpod import (
    CREATE,
    KEY,
    KEY_ENV,
    LIST,
    PASSWORD,
    SOLD_OUT,
    Account,
    RunPodCloud,
    problem,
    settings_of,
)
from navarch.errors import (
    InvalidRequest,
    NoCapacity,
    QuotaExceeded,
    Throttled,
    Unauthorized,
    Unavailable,
)
from navarch.providers.base import Provider
from navarch.providers.fake import ManualTime
from navarch.providers.runpod import RunPodProvider, RunPodSettings


class TestRunPodProvider(HttpHarness):
    """A cloud that does everything at once."""

    instance_type = "NVIDIA A40"
    launch_call = CREATE
    list_call = LIST
    secrets_known = (KEY, PASSWORD)
    refusals = {  # noqa: RUF012 - as the suite has it
        NoCapacity: (CREATE, problem(400, SOLD_OUT)),
        QuotaExceeded: (CREATE, problem(400, "Your account balance is too low")),
        Throttled: (CREATE, problem(429, "rate limit exceeded", retry_after="9")),
        Unauthorized: (CREATE, problem(401, f"not {KEY}")),
        InvalidRequest: (CREATE, problem(422, "Request validation failed.", ("$: image",))),
        Unavailable: (LIST, problem(503, "try again")),
    }
    boot_time = timedelta()

    def account(self) -> Account:
        return Account()

    @pytest.fixture
    def make_provider(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], Provider]]:
        """Buy from one account, at the pace that RunPod documents."""
        monkeypatch.setenv(KEY_ENV, KEY)
        self.time = ManualTime()
        self.cloud = self.runpod = RunPodCloud(self.time.now, self.account())
        with self.cloud.serving() as url:
            settings = settings_of(
                url,
                request_interval=RunPodSettings(image="i").request_interval,
                timeout=DEADLINE,
                launch_timeout=DEADLINE,
            )
            yield lambda: RunPodProvider(settings, now=self.time.now, sleep=self.time.sleep)

    def recover(self) -> None:
        super().recover()
        self.runpod.account.boot_time = self.boot_time

    def hold_boot(self) -> None:
        self.runpod.account.boot_time = timedelta(days=1)

    def make_stranger(self) -> str:
        return self.runpod.add("stranger", {"JUPYTER_PASSWORD": PASSWORD})

    def make_many(self, count: int) -> Sequence[str]:
        names = [f"{self.name_prefix}-many-{number}" for number in range(count)]
        return [self.runpod.add_labelled(name, self.labels_of(name)) for name in names]


class TestRunPodProviderOfASlowCloud(TestRunPodProvider):
    """A cloud whose pods take their time, and which shows them after their end."""

    boot_time = timedelta(minutes=3)
    not_applicable = SHOWN_BY_THE_QUICK_CLOUD

    def account(self) -> Account:
        return Account(
            boot_time=self.boot_time,
            list_lag=timedelta(seconds=25),
            remembers_ended=timedelta(hours=1),
        )
