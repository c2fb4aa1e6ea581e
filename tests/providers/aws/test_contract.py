"""EC2 as a provider like all others."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import timedelta
from typing import ClassVar

import pytest

from doubles.ec2 import Answer, Step, refusal
from doubles.ec2_bench import P5, SECRET, Bench
from navarch.errors import (
    InvalidRequest,
    NoCapacity,
    ProviderError,
    QuotaExceeded,
    Throttled,
    Unauthorized,
)
from navarch.providers.base import Provider
from navarch.testing import ProviderContract

CODES: dict[type[ProviderError], str] = {
    NoCapacity: "InsufficientInstanceCapacity",
    QuotaExceeded: "VcpuLimitExceeded",
    Throttled: "RequestLimitExceeded",
    Unauthorized: "AuthFailure",
    InvalidRequest: "InvalidParameterValue",
}
"""EC2's words for refusals."""


class TestAwsProvider(ProviderContract):
    """The contract, kept by the SDK against a server on a socket."""

    instance_type = P5
    patience = timedelta(seconds=3)
    many = 1200
    cancel_steps = 40
    not_applicable: ClassVar = {
        "test_a_cloud_in_trouble_is_unavailable": (
            "after trouble at EC2 the outcome is unknown; its tokens make asking again harmless"
        ),
    }

    @pytest.fixture
    def make_provider(self, bench: Bench, request: pytest.FixtureRequest) -> Callable[[], Provider]:
        """Buy from one account, with little patience where nothing is ever answered."""
        self.ec2, self.bench = bench.ec2, bench
        seconds = 0.5 if "without_an_answer" in request.node.name else 20
        return lambda: bench.provider(timeout=timedelta(seconds=seconds))

    def recover(self) -> None:
        """Let everything go well again."""
        self.ec2.heal()

    def hold_boot(self) -> None:
        """Keep machines pending."""
        self.ec2.boots = False

    def lose_next_answer(self) -> None:
        """Launch, and hang up."""
        self.ec2.next("RunInstances", Step(drops=True))

    def make_stranger(self) -> str:
        """Launch without tags."""
        return f"us-east-1/{self.bench.stranger()}"

    def make_many(self, count: int) -> list[str]:
        """Show a crowd."""
        self.ec2.crowd = count
        return [f"us-east-1/i-{number:017x}" for number in range(count)]

    def break_next_list(self) -> None:
        """Give a page that names a next one, and an error for that."""
        page = b"<x><reservationSet/><nextToken>more</nextToken></x>"
        lost = Step(answer=refusal("InternalError"))
        self.ec2.next("DescribeInstances", Step(answer=Answer(200, page)), lost)

    def fail_next(self, kind: type[ProviderError]) -> None:
        """Refuse as EC2 does."""
        self.ec2.fail_next(CODES[kind])

    def hang_next(self) -> None:
        """Answer nothing."""
        self.ec2.hangs = threading.Event()

    def secrets(self) -> list[str]:
        """The key that signs."""
        return [SECRET]
