"""The provider `ssh` over a real sshd, held to the contract of all providers."""

from __future__ import annotations

import signal
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import ClassVar

import msgspec
import pytest

from navarch.errors import (
    InvalidRequest,
    NoCapacity,
    ProviderError,
    Unauthorized,
    Unavailable,
)
from navarch.providers.base import Provider
from navarch.testing import ProviderContract
from providers.ssh.rack import Rack

MANY = ("breaks_off", "launches_at_once", "cancelled_launch")
"""What the names of those tests hold that have more than two machines at a time."""


class TestSshProvider(ProviderContract):
    """Machines whose inventory is a command's."""

    patience = timedelta(seconds=6)
    cancel_steps = 2

    not_applicable: ClassVar[Mapping[str, str]] = {
        "test_provision_does_not_wait_for_the_machine": "a machine that is owned runs always",
        "test_a_stranger_is_not_listed": "whoever has a machine of the inventory has a lease",
        "test_a_list_shows_thousands": "there are no pages, and an inventory has its maximum",
        "test_a_used_up_quota_is_quota_exceeded": "there is no quota of what is owned",
        "test_too_many_calls_are_throttled": "a machine that has no room does not answer",
        "test_a_refusal_carries_its_cause": "that none is free is nobody's words but ours",
    }

    @pytest.fixture
    def make_provider(self, rack: Rack, request: pytest.FixtureRequest) -> Callable[[], Provider]:
        """Lend the same machines."""
        self.rack = rack
        self.count = 4 if any(word in request.node.name for word in MANY) else 2
        self.inventory = rack.root / "inventory.json"
        self.recover()
        deadline = timedelta(seconds=2 if "without_an_answer" in request.node.name else 15)
        command = ("cat", str(self.inventory))
        settings = rack.settings(machines=(), inventory_command=command, deadline=deadline)
        return lambda: rack.provider(settings)

    def recover(self) -> None:
        self.rack.hear()
        machines = [self.rack.machine(number) for number in range(self.count)]
        self.inventory.write_bytes(msgspec.json.encode(machines))
        for number in range(self.count):
            lease = self.rack.folder(number) / "lease"
            if lease.exists() and lease.read_text().startswith("of-somebody-else"):
                lease.unlink()

    def lose_next_answer(self) -> None:
        for number in range(self.count):
            self.rack.lose(number)

    def break_next_list(self) -> None:
        self.rack.mute(0)

    def fail_next(self, kind: type[ProviderError]) -> None:
        if kind is NoCapacity:
            for number in range(self.count):
                if not (self.rack.folder(number) / "lease").exists():
                    self.rack.take(number)
        elif kind is InvalidRequest:
            others = [self.rack.machine(0, instance_type="another-type")]
            self.inventory.write_bytes(msgspec.json.encode(others))
        elif kind is Unauthorized:
            self.rack.lock_out()
        else:
            assert kind is Unavailable, kind
            self.inventory.write_text("no inventory")

    def hang_next(self) -> None:
        self.rack.signal(signal.SIGSTOP)

    def secrets(self) -> Sequence[str]:
        return (self.rack.root / "client").read_text().splitlines()[1:-1]
