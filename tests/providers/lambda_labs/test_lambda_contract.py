"""Lambda Cloud's provider keeps the contract, against a double of the cloud on a real socket."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta

import pytest

from doubles.http_harness import DEADLINE, SHOWN_BY_THE_QUICK_CLOUD, HttpHarness
from doubles.lambda_bench import KEY, KEY_ENV, LAUNCH, LIST, settings_of
from doubles.lambda_cloud import CLOUDFLARE_PAGE, JUPYTER, Account, LambdaCloud, fault_of
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
from navarch.providers.lambda_labs import LambdaProvider, LambdaSettings
from navarch.providers.lambda_labs.tags import tags_of

REAL = LambdaSettings()


class TestLambdaProvider(HttpHarness):
    """A cloud that does everything at once."""

    instance_type = "gpu_1x_a10"
    region = "us-west-1"
    launch_call = LAUNCH
    list_call = LIST
    secrets_known = (KEY, JUPYTER)
    refusals = {  # noqa: RUF012 - as the suite has it
        NoCapacity: (LAUNCH, fault_of(400, "instance-operations/launch/insufficient-capacity")),
        QuotaExceeded: (LAUNCH, fault_of(400, "global/quota-exceeded")),
        Throttled: (LAUNCH, CLOUDFLARE_PAGE),
        Unauthorized: (LAUNCH, fault_of(401, "global/invalid-api-key", f"not {KEY}")),
        InvalidRequest: (LAUNCH, fault_of(400, "global/invalid-parameters", "user_data")),
        Unavailable: (LIST, fault_of(503, "global/internal-error")),
    }
    boot_time = timedelta()

    def account(self) -> Account:
        return Account()

    @pytest.fixture
    def make_provider(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], Provider]]:
        """Buy from one account, at the pace that Lambda documents."""
        monkeypatch.setenv(KEY_ENV, KEY)
        self.time = ManualTime()
        self.cloud = self.lambda_cloud = LambdaCloud(self.time.now, self.account())
        with self.cloud.serving() as url:
            settings = settings_of(
                url,
                request_interval=REAL.request_interval,
                launch_interval=REAL.launch_interval,
                timeout=DEADLINE,
                launch_timeout=DEADLINE,
            )
            yield lambda: LambdaProvider(settings, now=self.time.now, sleep=self.time.sleep)

    def recover(self) -> None:
        super().recover()
        self.lambda_cloud.account.boot_time = self.boot_time

    def hold_boot(self) -> None:
        self.lambda_cloud.account.boot_time = timedelta(days=1)

    def make_stranger(self) -> str:
        return self.lambda_cloud.add("stranger", [{"key": "owner", "value": "somebody"}])

    def make_many(self, count: int) -> Sequence[str]:
        names = [f"{self.name_prefix}-many-{number}" for number in range(count)]
        return [self.lambda_cloud.add(name, tags_of(self.labels_of(name))) for name in names]


class TestLambdaProviderOfASlowCloud(TestLambdaProvider):
    """A cloud whose machines take their time, and which shows them after their end."""

    boot_time = timedelta(minutes=3)
    not_applicable = SHOWN_BY_THE_QUICK_CLOUD

    def account(self) -> Account:
        return Account(
            boot_time=self.boot_time,
            end_time=timedelta(minutes=1),
            list_lag=timedelta(seconds=25),
            remembers_ended=timedelta(hours=1),
        )
