"""Google Cloud, held to the contract of providers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Final

import pytest

from doubles.compute_engine_faults import Fail, Fault, HangUp, Refuse
from doubles.compute_engine_identity import key_pair
from doubles.gcp_bench import ZONE, Bench
from navarch.errors import (
    InvalidRequest,
    NoCapacity,
    ProviderError,
    QuotaExceeded,
    Throttled,
    Unauthorized,
    Unavailable,
)
from navarch.providers.base import Provider
from navarch.providers.gcp.labels import encoded
from navarch.testing import ProviderContract

REFUSALS: Final[dict[type[ProviderError], Fault]] = {
    NoCapacity: Fail("ZONE_RESOURCE_POOL_EXHAUSTED_WITH_DETAILS"),
    QuotaExceeded: Fail("QUOTA_EXCEEDED", 403),
    Throttled: Refuse(403, "rateLimitExceeded"),
    Unauthorized: Refuse(403, "forbidden"),
    InvalidRequest: Refuse(400, "invalid"),
    Unavailable: Refuse(400, "resourceNotReady"),
}

SHORT: Final = timedelta(milliseconds=150)
"""A deadline for answers that never come."""


class TestGcpProvider(ProviderContract):
    """Where the pool names a region, and the provider finds the zone."""

    instance_type = "a3-highgpu-8g"
    region = "us-central1"
    patience = timedelta(seconds=2)
    cancel_steps = 40

    @pytest.fixture
    def make_provider(
        self, bench: Bench, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
    ) -> Callable[[], Provider]:
        """Buy in one project, with a key only where it is looked for: signing takes its time."""
        self.double = bench.double
        self.patch = monkeypatch
        if request.node.originalname != "test_secrets_are_seen_nowhere":
            return bench.provider
        key_file = bench.key_file()
        return lambda: bench.provider(credentials_file=key_file, use_metadata_server=False)

    async def pause(self, provider: Provider) -> None:
        """The double goes on whenever it is looked at."""
        await asyncio.sleep(0.001)

    def recover(self) -> None:
        """Forget the scripts."""
        self.double.unscript()
        self.double.is_silent = False
        self.double.page = 500
        self.patch.undo()

    def hold_boot(self) -> None:
        """Let machines stop short of running."""
        self.double.status_when_made = "STAGING"

    def lose_next_answer(self) -> None:
        """Lose both answers: the provider asks twice."""
        self.double.script("insert", HangUp(is_done=True), HangUp(is_done=True))

    def make_stranger(self) -> str:
        """Put somebody's web server into the project."""
        self.double.put_by_hand(ZONE, "web-1", labels={"team": "web"})
        return f"{ZONE}/web-1"

    def make_many(self, count: int) -> Sequence[str]:
        """Put machines of ours into two zones."""
        ids = []
        for number in range(count):
            zone, name = (ZONE, "us-central1-b")[number % 2], f"many-{number}"
            self.double.put_by_hand(zone, name, labels=encoded(self.labels_of(name)))
            ids.append(f"{zone}/{name}")
        return ids

    def break_next_list(self) -> None:
        """Answer the first page and no second one."""
        self.double.page = 1
        self.double.script("list", None, HangUp(is_done=False))

    def fail_next(self, kind: type[ProviderError]) -> None:
        """Refuse in both zones that sell the type."""
        self.double.script("insert", REFUSALS[kind], REFUSALS[kind])

    def hang_next(self) -> None:
        """Answer nothing, and let nobody wait for long."""
        self.double.is_silent = True
        self.patch.setattr("navarch.providers.gcp.api.REQUEST_TIME_MAX", SHORT)
        self.patch.setattr("navarch.providers.gcp.tokens.TOKEN_TIME_MAX", SHORT)

    def secrets(self) -> Sequence[str]:
        """Name the tokens, and the lines of the key."""
        return [*self.double.identity.given, *key_pair()[0].splitlines()[1:-1]]
